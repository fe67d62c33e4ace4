//! How long a file of a million records takes to open, and to tell the best schedules of a task: prints
//! `records=… open_ms=… top_ms=… top_of_largest_ms=…`. A number of records and a path may be given; the file is removed at the end.

use sonar_measure::{Cache, Key, MeasureError, Outcome, Records, Trial};
use std::io::{BufReader, Read};
use std::path::PathBuf;
use std::time::Instant;

/// Every task but one has about so many trials; the first one has ten times as many.
const TRIALS_OF_A_TASK: usize = 1000;

fn trial(number: usize) -> Trial {
    let task = match number / TRIALS_OF_A_TASK {
        0..10 => 0,
        task => task,
    };
    let key = Key {
        task: sonar_measure::records::digest(&format!("task {task}")),
        target: "x86-64-v4 (some processor, family 6, model 143, stepping 8, caches 48K+2048K+32768K, vectors 01234567)".into(),
        threads: 1,
        compiler: "1".into(),
        cache: Cache::Warm,
    };
    // A fifth of the schedules were timed more than once.
    let variant = number * 7919 % (TRIALS_OF_A_TASK * 4 / 5 * if task == 0 { 10 } else { 1 });
    let text = format!("split row 8\nsplit column {variant}\nreorder row column\nunroll column.i\nparallel row\n");
    let schedule = text.parse().expect("it is well-formed");
    let time = 1e4 + (number * 104_729 % 99_991) as f64;
    let outcome = Outcome::Ok((0..20).map(|i| time * (1.0 + 0.001 * f64::from(i))).collect());
    Trial { key, schedule, outcome, seconds: 0.05, at: 1e9 + number as f64 }
}

/// Lines of JSON, made as they are read.
struct Lines {
    next: usize,
    count: usize,
    line: Vec<u8>,
}

impl Read for Lines {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        if self.line.is_empty() && self.next < self.count {
            self.line = serde_json::to_vec(&trial(self.next))?;
            self.line.push(b'\n');
            self.next += 1;
        }
        let taken = self.line.len().min(buffer.len());
        buffer[..taken].copy_from_slice(&self.line[..taken]);
        self.line.drain(..taken);
        Ok(taken)
    }
}

fn main() -> Result<(), MeasureError> {
    let mut args = std::env::args().skip(1);
    let count = args.next().and_then(|count| count.parse().ok()).unwrap_or(1_000_000);
    let path =
        args.next().map_or_else(|| std::env::temp_dir().join(format!("sonar-million-{}.db", std::process::id())), PathBuf::from);
    Records::open(&path)?.import(&mut BufReader::new(Lines { next: 0, count, line: Vec::new() }))?;

    let milliseconds = |start: Instant| 1e3 * start.elapsed().as_secs_f64();
    let start = Instant::now();
    let records = Records::open(&path)?;
    let open = milliseconds(start);
    let top = |number: usize| {
        let start = Instant::now();
        let top = records.top(&trial(number).key, 10)?;
        assert_eq!(top.len(), 10);
        Ok::<f64, MeasureError>(milliseconds(start))
    };
    println!("records={} open_ms={open:.1} top_ms={:.1} top_of_largest_ms={:.1}", records.count()?, top(count - 1)?, top(0)?);
    drop(records);
    for end in ["", "-wal", "-shm"] {
        let _ = std::fs::remove_file(format!("{}{end}", path.display()));
    }
    Ok(())
}
