//! Records outlive the process that writes them, however it ends.

use sonar_ir::schedule::Schedule;
use sonar_measure::{Cache, Key, Outcome, Records, Trial};
use std::collections::HashSet;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

const FILE: &str = "SONAR_TEST_RECORDS";

fn trial(number: usize) -> Trial {
    let key =
        Key { task: format!("task {}", number % 3), target: "test".into(), threads: 1, compiler: "1".into(), cache: Cache::Warm };
    let outcome = Outcome::Ok(vec![number as f64 + 1.0]);
    let schedule = format!("unroll l{number}").parse().expect("it is well-formed");
    Trial { key, schedule, outcome, seconds: 0.0, at: 0.0 }
}

/// Not a test of its own: the process that the next test kills. It says each number once it is safe.
#[test]
fn writer() {
    let Ok(path) = std::env::var(FILE) else { return };
    let records = Records::open(Path::new(&path)).unwrap();
    for number in records.count().unwrap().. {
        records.insert(&trial(number)).unwrap();
        println!("\nacknowledged {number}");
    }
}

#[test]
fn what_was_acknowledged_survives_fifty_kills() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("records.db");
    let mut acknowledged = 0;
    let mut random = 9u64;
    for _ in 0..50 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "writer", "--nocapture"])
            .env(FILE, &path)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let mut numbers = lines.filter_map(|line| line.strip_prefix("acknowledged ")?.parse::<usize>().ok());
        random = random.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        for number in numbers.by_ref().take(1 + (random >> 59) as usize) {
            acknowledged = number + 1;
        }
        // Not at the moment of the acknowledgement, but at some moment of the next ones.
        std::thread::sleep(Duration::from_micros(random >> 54));
        child.kill().unwrap();
        child.wait().unwrap();
        // What it said until then.
        acknowledged = numbers.last().map_or(acknowledged, |number| number + 1);
        assert!(Records::open(&path).unwrap().count().unwrap() >= acknowledged);
    }
    assert!(acknowledged > 50);
    let records = Records::open(&path).unwrap();
    records.check().unwrap();
    let schedules: HashSet<Schedule> =
        (0..3).flat_map(|task| records.trials(&trial(task).key).unwrap()).map(|t| t.schedule).collect();
    assert!((0..acknowledged).all(|number| schedules.contains(&trial(number).schedule)));
}

#[test]
fn two_processes_write_to_one_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("records.db");
    let write = |from: usize| {
        let path = path.clone();
        std::thread::spawn(move || {
            let records = Records::open(&path).unwrap();
            for number in from..from + 200 {
                records.insert(&trial(number)).unwrap();
            }
        })
    };
    let writers = [write(0), write(1000)];
    for writer in writers {
        writer.join().unwrap();
    }
    assert_eq!(Records::open(&path).unwrap().count().unwrap(), 400);
}
