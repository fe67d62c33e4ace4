//! A run directory outlives whatever ends the process that works on it, and belongs to one process at a time.

use crate::command::{Ran, command, ran};
use crate::{SPACE, Scratch, data};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use sonar_nas::SearchResult;
use sonar_nas::results::CandidateRecord;
use sonar_nas::search::result;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A search of a second or so, whose learning curves are the same whenever it is repeated.
struct Search {
    scratch: Scratch,
    args: Vec<String>,
}

impl Search {
    fn new() -> Search {
        let scratch = Scratch::new();
        let (space, data) = (scratch.file("space.sonar", SPACE), data(&scratch));
        let config = scratch.file("config.toml", "epochs = 100\ntrials = 12\ncandidates = 3\n[training]\nbatch = 8\n");
        let args = ["search", &space, "--data", &data, "--config", &config, "--algorithm", "brute-force", "--threads", "1"];
        Search { args: args.map(String::from).to_vec(), scratch }
    }

    /// Its arguments, for a run directory.
    fn args(&self, run: &str) -> Vec<String> {
        [&self.args[..], &["--out".to_string(), self.scratch.arg(run)]].concat()
    }

    fn start(&self, run: &str) -> Child {
        let args = self.args(run);
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        command(&args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the program starts")
    }

    fn end(&self, run: &str, child: Child) -> Ran {
        let args = self.args(run);
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        ran(&args, child.wait_with_output().expect("it can be waited for"))
    }

    fn finish(&self, run: &str) -> Ran {
        self.end(run, self.start(run))
    }

    /// What is on disk: nothing before the run has begun.
    fn read(&self, run: &str) -> Option<SearchResult> {
        result(&self.scratch.path(run)).unwrap_or_else(|e| panic!("{e}"))
    }

    /// Waits until at least so many epochs are on disk.
    fn wait_for(&self, run: &str, epochs: usize) {
        let begun = Instant::now();
        while self.read(run).map_or(0, |r| measurements(&r)[0]) < epochs {
            assert!(begun.elapsed() < Duration::from_secs(60), "the search does not begin");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

/// How many epochs, tuned latencies and final latencies are known.
fn measurements(result: &SearchResult) -> [usize; 3] {
    let sum = |count: &dyn Fn(&CandidateRecord) -> usize| result.candidates.iter().map(count).sum();
    [sum(&|c| c.curve.len()), sum(&|c| c.tuning.len()), sum(&|c| usize::from(c.measured.is_some()))]
}

/// What a search knows of a candidate that does not depend on time.
#[derive(Debug, PartialEq)]
struct Learnt {
    architecture: String,
    assignment: Vec<usize>,
    /// Loss and accuracy of each epoch.
    curve: Vec<(f64, f64)>,
}

fn learnt(result: &SearchResult) -> Vec<Learnt> {
    let one = |c: &CandidateRecord| Learnt {
        architecture: c.architecture.clone(),
        assignment: c.assignment.clone(),
        curve: c.curve.iter().map(|e| (e.train_loss, e.accuracy)).collect(),
    };
    result.candidates.iter().map(one).collect()
}

/// Asserts that nothing known earlier is lost or different later.
pub fn assert_goes_on(earlier: &SearchResult, later: &SearchResult) {
    let (before, after) = (learnt(earlier), learnt(later));
    assert!(before.len() <= after.len());
    for (before, after) in before.iter().zip(&after) {
        assert_eq!((&before.architecture, &before.assignment), (&after.architecture, &after.assignment));
        assert!(after.curve.starts_with(&before.curve), "{}", before.architecture);
    }
}

/// Sends a signal, such as `-INT`.
pub fn signal(child: &Child, name: &str) {
    let sent = Command::new("sh").args(["-c", &format!("kill {name} {}", child.id())]).status().expect("there is a shell");
    assert!(sent.success());
}

#[test]
fn a_killed_search_loses_nothing() {
    let search = Search::new();
    let begun = Instant::now();
    search.finish("whole").succeeds();
    let duration = begun.elapsed();
    let whole = search.read("whole").expect("it is over");

    let mut rng = StdRng::seed_from_u64(3);
    let (mut kills, mut known) = (0, [0; 3]);
    while kills < 10 {
        let mut child = search.start("killed");
        // Early, so that ten moments fit into one search.
        std::thread::sleep(duration.mul_f64(rng.random_range(0.04..0.2)));
        let over = child.try_wait().expect("it can be waited for").is_some();
        child.kill().expect("it can be killed");
        search.end("killed", child);
        let now = search.read("killed").map_or([0; 3], |r| measurements(&r));
        assert!(now.iter().zip(known).all(|(now, before)| *now >= before), "{now:?} of {known:?} are left after {kills} kills");
        (kills, known) = (kills + 1, now);
        if over {
            break;
        }
    }
    search.finish("killed").succeeds();
    let resumed = search.read("killed").expect("it is over");
    assert_eq!(learnt(&resumed), learnt(&whole));
    assert_eq!(measurements(&resumed), measurements(&whole));
    assert!(resumed.sessions > 3, "{kills} kills, but only {} sessions", resumed.sessions);
}

#[test]
fn an_interrupted_search_saves_and_goes_on() {
    let search = Search::new();
    let child = search.start("run");
    search.wait_for("run", 5);
    signal(&child, "-INT");
    search.end("run", child).fails(130, &["interrupted", "goes on"]);
    let stopped = search.read("run").expect("it has begun");
    assert!(stopped.stop.is_none());

    search.finish("run").succeeds();
    let whole = search.read("run").expect("it is over");
    assert_eq!(whole.sessions, 2);
    assert_goes_on(&stopped, &whole);
}

#[test]
fn a_run_directory_belongs_to_one_process() {
    let search = Search::new();
    let child = search.start("run");
    search.wait_for("run", 1);
    search.finish("run").fails(3, &["is in use by another process", "choose another directory"]);
    signal(&child, "-TERM");
    search.end("run", child).fails(130, &["interrupted"]);
    search.finish("run").succeeds();
}
