//! An evaluator with invented results and an invented clock. Searches in tests take no time, repeat exactly, and can be stopped
//! at every step.
//!
//! The space has four decisions with four choices each. A larger choice makes a network more accurate, with diminishing
//! returns, and needs more operations. The efficiency of the compiled code differs from choice to choice, so operation counts
//! do not predict latencies well. If the first decision takes its first choice, the second decision has no effect.

use crate::candidates::draw::{Architectures, Sketch};
use crate::candidates::measured::{Cost, Epoch, Latency, Probe};
use crate::candidates::{Candidate, CandidateId, Description};
use crate::error::EvaluateError;
use crate::executors::{Evaluator, Timed, TrainJob, TuneJob, Watch};
use crate::pareto::Point;
use sonar_ir::Graph;
use sonar_ir::space::Assignment;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::rc::Rc;

/// Choices of each decision.
const CHOICES: [usize; 4] = [4; 4];
/// Seconds from a description to a first latency.
const COMPILE_SECONDS: f64 = 0.25;
/// Seconds of one trial of one kernel.
const TRIAL_SECONDS: f64 = 0.05;
/// Seconds of one epoch of the largest network.
const EPOCH_SECONDS: f64 = 4.0;

/// One kernel: a decision and its choice. Candidates with the same choice share its kernel.
type Task = (usize, usize);

/// What survives the process: the trials of each kernel.
pub type Disk = Rc<RefCell<BTreeMap<Task, usize>>>;

/// The made-up evaluator.
pub struct FakeEvaluator {
    /// The architecture to compare with.
    pub baseline: Option<Assignment>,
    /// Architectures, as in [`all`], whose loss becomes NaN in their second epoch.
    pub diverging: Vec<Assignment>,
    /// Architectures, as in [`all`], that cannot be compiled.
    pub uncompilable: Vec<Assignment>,
    /// Largest error of an accuracy and relative error of a latency.
    pub noise: f64,
    /// The factor by which epochs take longer than the probe says.
    pub slowdown: f64,
    /// Called before every step at which the process may be killed, with the number of steps before it.
    pub before_step: Box<dyn FnMut(u64)>,
    disk: Disk,
    clock: Rc<Cell<f64>>,
    steps: u64,
}

impl FakeEvaluator {
    /// An evaluator with a clock at 0. `disk` holds what earlier processes stored.
    pub fn new(disk: Disk) -> Self {
        FakeEvaluator {
            baseline: Some(Assignment(vec![2, 1, 2, 1])),
            diverging: Vec::new(),
            uncompilable: Vec::new(),
            noise: 0.0,
            slowdown: 1.0,
            before_step: Box::new(|_| {}),
            disk,
            clock: Rc::new(Cell::new(0.0)),
            steps: 0,
        }
    }

    /// The made-up clock, in seconds.
    pub fn clock(&self) -> impl Fn() -> f64 + use<> {
        let clock = Rc::clone(&self.clock);
        move || clock.get()
    }

    fn spend(&mut self, seconds: f64) {
        self.clock.set(self.clock.get() + seconds);
    }

    fn step(&mut self) {
        (self.before_step)(self.steps);
        self.steps += 1;
    }

    fn latency(&self, assignment: &Assignment) -> Latency {
        let disk = self.disk.borrow();
        let done = |task: &Task| disk.get(task).copied().unwrap_or(0);
        let tasks = tasks(assignment);
        let ns: f64 = tasks.iter().map(|task| kernel_ns(*task, done(task))).sum();
        let trials = tasks.iter().map(done).min().unwrap_or(0);
        let median_ns = ns * (1.0 + self.noise * centred(assignment, trials));
        Latency { median_ns, low_ns: median_ns * 0.99, high_ns: median_ns * 1.01, trials }
    }
}

impl Architectures for FakeEvaluator {
    fn choices(&self) -> Vec<usize> {
        CHOICES.to_vec()
    }

    fn baseline(&self) -> Option<Assignment> {
        self.baseline.clone()
    }

    fn sketch(&self, assignments: &[Assignment]) -> Vec<Result<Sketch, EvaluateError>> {
        let sketch = |assignment: &Assignment| Sketch {
            assignment: assignment.clone(),
            structure: format!("{assignment:?}"),
            graph: Graph::new("made-up"),
        };
        assignments.iter().map(|assignment| Ok(sketch(assignment))).collect()
    }

    fn describe(&self, sketches: &[Sketch]) -> Vec<Result<Description, EvaluateError>> {
        let describe = |Sketch { assignment, .. }: &Sketch| {
            let canonical = canonical(assignment);
            let names = canonical.0.iter().enumerate();
            Description {
                key: format!("{canonical:?}"),
                parameters: flops(assignment) as u64 / 100,
                flops: flops(assignment) as u64,
                decisions: names.map(|(i, choice)| (format!("$d{i}"), format!("choice{choice}"))).collect(),
            }
        };
        sketches.iter().map(|sketch| Ok(describe(sketch))).collect()
    }
}

impl Evaluator for FakeEvaluator {
    fn probe(&mut self, candidate: &Candidate) -> Result<(Probe, Cost), EvaluateError> {
        self.step();
        let probe = Probe { epoch: epoch_seconds(&candidate.assignment), latency: COMPILE_SECONDS };
        let cost = Cost { training: probe.epoch, compiling: probe.latency, ..Cost::default() };
        self.spend(cost.total());
        Ok((probe, cost))
    }

    fn train(
        &mut self,
        job: &TrainJob<'_>,
        watch: &Watch<'_>,
        report: &mut dyn FnMut(Epoch, Cost) -> ControlFlow<()>,
    ) -> Result<(), EvaluateError> {
        let assignment = &job.candidate.assignment;
        for epoch in job.from + 1..=job.to {
            self.step();
            let seconds = epoch_seconds(assignment) * self.slowdown;
            self.spend(seconds);
            if watch().is_break() {
                return Ok(());
            }
            let diverges = epoch > 1 && self.diverging.contains(&canonical(assignment));
            let train_loss = if diverges { f64::NAN } else { 2.3 / (1.0 + epoch as f64) };
            let accuracy = accuracy(assignment, epoch) + self.noise * centred(assignment, epoch);
            let cost = Cost { training: seconds, ..Cost::default() };
            let flow = report(Epoch { epoch, train_loss, accuracy, seconds }, cost);
            self.step();
            if flow.is_break() {
                break;
            }
        }
        Ok(())
    }

    fn tune(&mut self, job: &TuneJob<'_>, report: &mut dyn FnMut(Timed) -> ControlFlow<()>) -> Result<(), EvaluateError> {
        let begun = self.clock.get();
        let mut trials: Vec<Option<usize>> = job.candidates.iter().map(|(_, trials)| *trials).collect();
        let step = (job.to / 16).max(1);
        for target in (0..job.to).step_by(step).chain([job.to]) {
            if trials.iter().all(|trials| trials.is_some_and(|trials| trials >= target)) {
                continue;
            }
            self.step();
            let mut timed = Timed::default();
            let mut changed = self.disk.borrow().clone();
            for (at, (candidate, _)) in job.candidates.iter().enumerate() {
                if trials[at].is_some_and(|trials| trials >= target) {
                    continue;
                }
                if self.uncompilable.contains(&canonical(&candidate.assignment)) {
                    timed.failures.push((candidate.id, "no register is left".to_string()));
                    trials[at] = Some(job.to);
                    continue;
                }
                if trials[at].is_none() {
                    timed.cost.compiling += COMPILE_SECONDS * 0.8;
                    timed.cost.rewriting += COMPILE_SECONDS * 0.2;
                }
                for task in tasks(&candidate.assignment) {
                    let done = changed.entry(task).or_insert(0);
                    timed.cost.tuning += target.saturating_sub(*done) as f64 * TRIAL_SECONDS;
                    *done = target.max(*done);
                }
            }
            self.spend(timed.cost.total());
            let before = self.disk.replace(changed);
            for (at, (candidate, _)) in job.candidates.iter().enumerate() {
                let failed = timed.failures.iter().any(|(id, _)| *id == candidate.id);
                let latency = self.latency(&candidate.assignment);
                if !failed && trials[at].is_none_or(|trials| trials < target.min(latency.trials)) {
                    trials[at] = Some(latency.trials);
                    timed.latencies.push((candidate.id, latency));
                }
            }
            if timed.latencies.is_empty() && timed.failures.is_empty() {
                continue;
            }
            // If the process is killed here, the round is lost on disk, just as it is lost in the store.
            let after = self.disk.replace(before);
            self.step();
            let flow = report(timed);
            self.disk.replace(after);
            self.step();
            let over = job.seconds.is_some_and(|seconds| self.clock.get() - begun >= seconds);
            if flow.is_break() || over {
                break;
            }
        }
        Ok(())
    }

    fn measure(&mut self, candidates: &[(&Candidate, Option<usize>)]) -> Result<Timed, EvaluateError> {
        self.step();
        let cost = Cost { tuning: candidates.len() as f64 * COMPILE_SECONDS, ..Cost::default() };
        self.spend(cost.total());
        let latencies = candidates.iter().map(|(c, _)| (c.id, self.latency(&c.assignment))).collect();
        Ok(Timed { latencies, failures: Vec::new(), cost })
    }

    fn forget(&mut self, _candidate: CandidateId, _horizon: usize) {}
}

/// The objectives of an architecture after `epochs` and `trials`, without noise.
pub fn truth(assignment: &Assignment, epochs: usize, trials: usize) -> Point {
    let cost = tasks(assignment).into_iter().map(|task| kernel_ns(task, trials)).sum();
    Point { accuracy: accuracy(assignment, epochs), cost }
}

/// Every architecture of the space, one for each function.
pub fn all() -> Vec<Assignment> {
    let mut all: Vec<Assignment> = (0..CHOICES.iter().product())
        .map(|index: usize| Assignment((0..4).map(|i| index / 4usize.pow(i) % 4).collect()))
        .filter(|assignment| *assignment == canonical(assignment))
        .collect();
    all.sort();
    all
}

/// The architecture of [`all`] that computes the same function.
pub fn canonical(assignment: &Assignment) -> Assignment {
    let mut canonical = assignment.clone();
    if canonical.0[0] == 0 {
        canonical.0[1] = 0;
    }
    canonical
}

fn tasks(assignment: &Assignment) -> Vec<Task> {
    canonical(assignment).0.into_iter().enumerate().collect()
}

fn flops(assignment: &Assignment) -> f64 {
    let choices = canonical(assignment).0;
    choices.iter().enumerate().map(|(i, &c)| 2e5 + (c * c) as f64 * (1.0 + i as f64 / 2.0) * 1e5).sum()
}

fn epoch_seconds(assignment: &Assignment) -> f64 {
    let largest = flops(&Assignment(CHOICES.iter().map(|c| c - 1).collect()));
    EPOCH_SECONDS * (0.3 + 0.7 * flops(assignment) / largest)
}

/// Approaches its limit exponentially. Better networks learn more slowly.
fn accuracy(assignment: &Assignment, epochs: usize) -> f64 {
    let choices = canonical(assignment).0;
    let capacity: f64 = choices.iter().enumerate().map(|(i, &c)| (c as f64).sqrt() * (0.3 + 0.4 * hash(&[i, c]))).sum();
    let limit = 0.95 - 0.4 * (-capacity).exp();
    limit - 0.4 * (-(epochs as f64) / (1.0 + capacity / 2.0)).exp()
}

/// The time of a kernel: its operations over its efficiency. The default schedule is up to three times slower.
fn kernel_ns((decision, choice): Task, trials: usize) -> f64 {
    let operations = 2e5 + (choice * choice) as f64 * (1.0 + decision as f64 / 2.0) * 1e5;
    let efficiency = 20.0 + 80.0 * hash(&[decision, choice, 1]);
    let untuned = 1.0 + 2.0 * hash(&[decision, choice, 2]) * (-(trials as f64) / 6.0).exp();
    operations / efficiency * untuned
}

/// In `-1..1`, the same for the same arguments.
fn centred(assignment: &Assignment, salt: usize) -> f64 {
    let mut values = canonical(assignment).0;
    values.push(salt + 17);
    2.0 * hash(&values) - 1.0
}

/// In `0..1`, the same for the same values (FNV-1a, its upper bits).
fn hash(values: &[usize]) -> f64 {
    let mix = |hash: u64, &value: &usize| (hash ^ value as u64).wrapping_mul(0x0000_0100_0000_01b3).rotate_left(29);
    let mixed = values.iter().fold(0xcbf2_9ce4_8422_2325, mix).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed >> 11) as f64 / (1u64 << 53) as f64
}
