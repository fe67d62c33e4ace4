//! Models in their own processes that are timed in turns: the program's `bench --serve`.

use crate::figures::median;
use anyhow::{Context, Result, bail};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// Untimed runs before each timed slice.
const WARMUP: usize = 2;

/// A model that is ready to be timed.
pub struct Served {
    process: Child,
    requests: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Served {
    /// Starts the program with a model and returns when it is ready. Pinned to the second processor if `taskset` allows it.
    pub fn start(program: &Path, model: &Path, options: &[&str], records: &Path) -> Result<Served> {
        let mut command = pinned(program);
        command.arg("bench").arg(model).arg("--serve").args(options).arg("--records").arg(records);
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().context("the program cannot be run")?;
        let (Some(requests), Some(answers)) = (process.stdin.take(), process.stdout.take()) else { bail!("no pipes") };
        let mut served = Served { process, requests, answers: BufReader::new(answers) };
        served.answer().with_context(|| format!("{} is not served", model.display()))?;
        Ok(served)
    }

    /// Nanoseconds of each of `runs` runs.
    pub fn time(&mut self, runs: usize) -> Result<Vec<f64>> {
        writeln!(self.requests, "{WARMUP} {runs}")?;
        serde_json::from_str(&self.answer()?).context("not a list of times")
    }

    fn answer(&mut self) -> Result<String> {
        let mut line = String::new();
        if self.answers.read_line(&mut line)? == 0 {
            bail!("the program ended early: {}", self.process.wait()?);
        }
        Ok(line)
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        // The process ends by itself when its input ends, but nothing waits for that.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A command that runs only on the second processor, if this machine has `taskset` and a second processor.
pub fn pinned(program: &Path) -> Command {
    let several = std::thread::available_parallelism().is_ok_and(|n| n.get() > 1);
    if !several || Command::new("taskset").arg("--version").stdout(Stdio::null()).status().is_err() {
        return Command::new(program);
    }
    let mut command = Command::new("taskset");
    command.args(["-c", "1"]).arg(program);
    command
}

/// The medians of models that are timed in turns, in nanoseconds: `rounds` slices of about `milliseconds` each.
pub fn in_turns(models: &mut [Served], rounds: usize, milliseconds: f64) -> Result<Vec<f64>> {
    let mut samples: Vec<Vec<f64>> = vec![Vec::new(); models.len()];
    let mut runs = vec![1; models.len()];
    for _ in 0..=rounds {
        for ((model, samples), runs) in models.iter_mut().zip(&mut samples).zip(&mut runs) {
            let times = model.time(*runs)?;
            let typical = median(&times).unwrap_or(1.0).max(1.0);
            *runs = ((milliseconds * 1e6 / typical) as usize).clamp(1, 10_000);
            samples.extend(times);
        }
    }
    samples.iter().map(|samples| median(samples).context("no samples")).collect()
}
