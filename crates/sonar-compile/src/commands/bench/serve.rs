//! `bench --serve`: timings on demand, for external programs.

use super::Subject;
use crate::exit::{Exit, Failure, fail};
use serde_json::json;
use std::io::{BufRead, Write};

/// Prints the seconds until the model was ready. Then answers each line `W N` with the nanoseconds of N runs after W untimed
/// ones.
pub fn serve(subject: &mut Subject) -> Result<(), Failure> {
    let mut out = std::io::stdout();
    let cannot = |what: &str, error: std::io::Error| fail(Exit::BadInput, format!("cannot {what}: {error}"));
    let mut say = |line: String| {
        writeln!(out, "{line}").and_then(|()| out.flush()).map_err(|error| cannot("write to standard output", error))
    };
    say(json!({ "compile_s": subject.prepared.seconds() }).to_string())?;
    for line in std::io::stdin().lock().lines() {
        let line = line.map_err(|error| cannot("read from standard input", error))?;
        let numbers: Vec<usize> = line.split_whitespace().map(str::parse).collect::<Result<_, _>>().unwrap_or_default();
        let [warmup, runs] = numbers[..] else {
            return Err(fail(Exit::Usage, format!("expected two numbers, warm-up and timed runs; found `{line}`")));
        };
        subject.time(warmup)?;
        let samples: Vec<u64> = subject.time(runs)?.into_iter().map(|ns| ns as u64).collect();
        say(json!(samples).to_string())?;
    }
    Ok(())
}
