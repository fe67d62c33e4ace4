//! Records outlive the process that writes them, however it ends.

use sonar_measure::{Key, Outcome, Records, Trial};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

const FILE: &str = "SONAR_TEST_RECORDS";

fn trial(number: usize) -> Trial {
    let key = Key { task: format!("task {}", number % 3), target: "test".into(), threads: 1, compiler: "1".into() };
    let outcome = Outcome::Ok(vec![number as f64 + 1.0]);
    Trial { key, schedule: format!("schedule {number}"), outcome, confirmed: false, seconds: 0.0, at: 0.0 }
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
fn what_was_acknowledged_survives_a_kill() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("records.db");
    let mut acknowledged = 0;
    for round in 0..5 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "writer", "--nocapture"])
            .env(FILE, &path)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let numbers = lines.filter_map(|line| line.strip_prefix("acknowledged ")?.parse::<usize>().ok());
        for number in numbers.take(20 + 13 * round) {
            acknowledged = number + 1;
        }
        child.kill().unwrap();
        child.wait().unwrap();

        let records = Records::open(&path).unwrap();
        assert!(records.count().unwrap() >= acknowledged);
        let schedules: Vec<String> =
            (0..3).flat_map(|task| records.trials(&trial(task).key).unwrap()).map(|t| t.schedule).collect();
        assert!((0..acknowledged).all(|number| schedules.contains(&trial(number).schedule)));
    }
    assert!(acknowledged > 100);
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
