//! A search holds its memory: how much it takes at once does not depend on the number of candidates. The one test of this
//! file has the process to itself, whose largest size it looks at.

use sonar_ir::machine::Machine;
use sonar_ir::space::Space;
use sonar_measure::{LocalMeasurer, Records, SystemClock};
use sonar_nas::candidates::describe::{describe, sketch};
use sonar_nas::config::NAS_BENCH_201;
use sonar_nas::executors::TuneJob;
use sonar_nas::executors::real::RealEvaluator;
use sonar_nas::executors::training::Training;
use sonar_nas::executors::tuning::{LoweredCandidates, TOGETHER, Tuning};
use sonar_nas::{Candidate, CandidateId, Evaluator};
use sonar_train::TrainConfig;
use sonar_train::data::{FASHION_MNIST, load};
use sonar_tune::{JitBackend, Target, Tuner, TunerOptions};
use std::ops::ControlFlow;
use std::path::Path;
use std::time::Duration;

/// The smallest networks of the default space.
const SETTINGS: [(&str, &str); 5] = [("height", "8"), ("width", "8"), ("in", "1"), ("channels", "2"), ("cells", "1")];

/// By how many bytes the process may grow for candidates that came before others: less than a few models take. Verdicts about kernels
/// are kept.
const SLACK: usize = 4 << 20;

fn evaluator(dir: &Path) -> RealEvaluator {
    let target = Target::native().expect("this machine is supported");
    let records = Records::open(&dir.join("records.db")).expect("there is room");
    let measurer = Box::new(LocalMeasurer::default());
    let clock = Box::new(SystemClock::default());
    RealEvaluator {
        space: Space::parse_with(NAS_BENCH_201, &SETTINGS).expect("the built-in space is valid"),
        training: Training {
            data: load(FASHION_MNIST, 0.2).expect("the data set is built in").into(),
            config: TrainConfig::default(),
            checkpoints: dir.join("checkpoints"),
        },
        backend: Box::new(JitBackend::native(1).expect("this machine is supported")),
        threads: 1,
        tuning: Tuning {
            lowered: LoweredCandidates::new(TOGETHER),
            tuner: Tuner::new(TunerOptions::new(target.clone()), measurer, records, clock),
            machine: Machine::usual(target.lanes()),
            target,
            threads: 1,
            settling: Duration::ZERO,
            seed: 0,
        },
    }
}

/// The largest size that this process has had, in bytes.
fn peak() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux tells");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("Linux tells the peak");
    line.trim().trim_end_matches(" kB").parse::<usize>().expect("a number of KiB") << 10
}

#[test]
fn memory_does_not_grow_with_the_number_of_candidates() {
    let dir = tempfile::tempdir().expect("there is a place for temporary files");
    let mut evaluator = evaluator(dir.path());
    // The same architecture again and again, so that the kernels, which are kept on purpose, do not become more.
    let assignment = evaluator.space.baseline().cloned().expect("the space has a baseline");
    let sketch = sketch(&evaluator.space, &assignment).expect("the baseline is valid");
    let description = describe(&evaluator.space, &sketch).expect("the baseline is valid");
    let candidate = |id| Candidate { id: CandidateId(id), assignment: assignment.clone(), description: description.clone() };
    let candidates: Vec<Candidate> = (0..2 * TOGETHER as u32).map(candidate).collect();
    let mut work = |count: usize| {
        let group: Vec<_> = candidates[..count].iter().map(|candidate| (candidate, None)).collect();
        let job = TuneJob { candidates: group.clone(), to: 1, seconds: None };
        let mut latencies = 0;
        let mut report = |timed: sonar_nas::executors::Timed| {
            latencies += timed.latencies.len();
            ControlFlow::Continue(())
        };
        evaluator.tune(&job, &mut report).expect("the baseline can be tuned");
        assert_eq!(latencies, 2 * count, "each is timed before and after");
        let tuned = peak();
        let timed = evaluator.measure(&group).expect("the baseline can be timed");
        assert_eq!(timed.latencies.len(), count);
        [tuned, peak()]
    };
    let [few_tuned, _] = work(2);
    let [_, few_timed] = work(TOGETHER);
    let [many_tuned, many_timed] = work(candidates.len());
    assert!(many_tuned < few_timed.max(few_tuned) + SLACK, "tuning: {few_tuned} bytes become {many_tuned}");
    assert!(many_timed < few_timed + SLACK, "timing: {few_timed} bytes become {many_timed}");
}
