//! Tuning of a whole network on invented times: what it finds, how long it takes, and where it stops.

use sonar_codegen::Target;
use sonar_ir::{Graph, text};
use sonar_measure::{Budget, Cache, Cause, Clock, FakeClock, FakeMeasurer, Job, MeasureError, Measurer, Outcome, Records, stats};
use sonar_tune::networks::{GoOn, ModelMeasurer, NetworkEvent, Stage};
use sonar_tune::{
    CompileOptions, NetworkOptions, Planned, RewriteLevel, StopReason, TuneError, TunedNetwork, Tuner, TunerOptions, recorded,
    tune_network,
};
use std::ops::ControlFlow;
use std::path::Path;
use std::time::Duration;

const TIME: Duration = Duration::from_secs(20);

/// Two convolutions of one image that may become one, and a product.
const NETWORK: &str = "graph @network(
  %x: f32[1,8,8,16],
  param %v: f32[3,3,16,16],
  param %w: f32[1,1,16,16],
  param %u: f32[16,8]
) {
  %0 = conv2d %x, %v {pad=1} : f32[1,8,8,16]
  %1 = conv2d %x, %w : f32[1,8,8,16]
  %2 = add %0, %1 : f32[1,8,8,16]
  %3 = matmul %2, %u : f32[1,8,8,8]
  return %3
}
";

/// Networks whose kernels take the times that a [`FakeMeasurer`] invents. Timing moves the clock.
struct FakeModels {
    measurer: FakeMeasurer,
    clock: FakeClock,
    target: Target,
    loading: Duration,
}

impl ModelMeasurer for FakeModels {
    /// Nanoseconds of each kernel call.
    type Model = Vec<f64>;

    fn load(&mut self, planned: Planned, options: &CompileOptions<'_>) -> Result<Vec<f64>, TuneError> {
        self.clock.advance(self.loading);
        let time = |kernel: &sonar_schedule::Kernel| {
            let (task, schedule) = (&planned.lowered.tasks.tasks[kernel.task], &planned.schedules[kernel.task]);
            let key = recorded::key(task, &self.target, options.threads, Cache::default());
            self.measurer.time(&key.task, schedule)
        };
        Ok(planned.lowered.tasks.kernels.iter().map(time).collect())
    }

    fn compare(&mut self, models: &mut [Vec<f64>], budget: Budget, go_on: &mut GoOn<'_>) -> Result<Vec<Vec<f64>>, TuneError> {
        let mut samples = vec![Vec::new(); models.len()];
        for _ in 0..Budget::MIN_TURNS {
            if go_on().is_break() {
                break;
            }
            for (model, samples) in models.iter().zip(&mut samples) {
                self.clock.advance(Duration::from_secs_f64(budget.seconds / Budget::MIN_TURNS as f64));
                samples.push(model.iter().sum());
            }
        }
        Ok(samples)
    }

    fn profile(&mut self, model: &mut Vec<f64>, runs: usize) -> Result<Vec<f64>, TuneError> {
        self.clock.advance(Duration::from_millis(runs as u64));
        Ok(model.clone())
    }
}

struct Bench {
    tuner: Tuner,
    models: FakeModels,
    clock: FakeClock,
    target: Target,
    graph: Graph,
    stages: Vec<Stage>,
}

impl Bench {
    fn new(records: Records, measurer: impl Fn(FakeMeasurer) -> Box<dyn Measurer>) -> Bench {
        let target = Target::parse("x86-64-v3").expect("a known target");
        let clock = FakeClock::default();
        let fake = FakeMeasurer::new(1, clock.clone());
        let tuner = Tuner::new(TunerOptions::new(target.clone()), measurer(fake.clone()), records, Box::new(clock.clone()));
        let models =
            FakeModels { measurer: fake, clock: clock.clone(), target: target.clone(), loading: Duration::from_millis(50) };
        let graph = text::parse_graph(NETWORK).expect("it is well-formed");
        Bench { tuner, models, clock, target, graph, stages: Vec::new() }
    }

    fn in_memory() -> Bench {
        Bench::new(Records::in_memory().expect("memory is there"), |fake| Box::new(fake))
    }

    /// Tunes; the observer breaks after `events` of them.
    fn tune(&mut self, trials: usize, events: usize) -> Result<TunedNetwork, TuneError> {
        let compile = CompileOptions { rewrite: RewriteLevel::Full, ..CompileOptions::new(&self.target) };
        let options = NetworkOptions { compile, time: TIME, trials, patience: None };
        let (stages, mut seen) = (&mut self.stages, 0);
        tune_network(&self.graph, &mut self.tuner, &mut self.models, &options, &mut |event| {
            if let NetworkEvent::Stage(stage) = event {
                stages.push(*stage);
            }
            seen += 1;
            if seen > events { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })
    }
}

#[test]
fn a_network_becomes_faster_within_its_time_and_the_same_each_time() {
    let run = || {
        let mut bench = Bench::in_memory();
        let tuned = bench.tune(40, usize::MAX).expect("it is tuned");
        assert_eq!(bench.stages, [Stage::Graphs, Stage::Comparison, Stage::Search, Stage::Confirmation]);
        assert!(bench.clock.now() <= TIME, "{:?}", bench.clock.now());
        assert_eq!(tuned.stop, StopReason::Finished);
        assert!(tuned.graphs > 1 && tuned.failures.is_empty(), "{} graphs", tuned.graphs);
        let schedules: Vec<_> = tuned.tasks.iter().map(|&id| bench.tuner.best(id).expect("each kernel was timed")).collect();
        (tuned.lowered.rewritten, schedules, tuned.untuned, tuned.tuned)
    };
    let (graph, schedules, untuned, tuned) = run();
    assert!(stats::median(&tuned) < stats::median(&untuned), "{tuned:?} {untuned:?}");
    assert_eq!(run(), (graph, schedules, untuned, tuned));
}

#[test]
fn the_time_ends_a_search_that_is_not_through() {
    let mut bench = Bench::in_memory();
    let tuned = bench.tune(1_000_000, usize::MAX).expect("it is tuned");
    assert_eq!(tuned.stop, StopReason::Time);
    // One trial and one comparison may be under way when a share of the time ends.
    assert!(bench.clock.now() <= TIME + Duration::from_secs(2), "{:?}", bench.clock.now());
    assert!(bench.clock.now() >= TIME / 2);
}

#[test]
fn slow_compilation_leaves_time_for_what_comes_after_the_search() {
    let mut bench = Bench::in_memory();
    bench.models.loading = Duration::from_secs(1);
    let tuned = bench.tune(1_000_000, usize::MAX).expect("it is tuned");
    assert!(!tuned.tuned.is_empty());
    assert!(bench.clock.now() <= TIME + Duration::from_secs(6), "{:?}", bench.clock.now());
}

#[test]
fn it_is_interrupted_anywhere_and_goes_on_from_there() {
    let whole = Bench::in_memory().tune(10, usize::MAX).expect("it is tuned");
    let folder = tempfile::tempdir().expect("there is a place for temporary files");
    let open = |path: &Path| Records::open(path).expect("it can be opened");
    let path = folder.path().join("records.db");
    for events in [0, 1, 5, 25, 40, 60] {
        let mut part = Bench::new(open(&path), |fake| Box::new(fake));
        let before = part.tuner.records().count().expect("it can be read");
        match part.tune(10, events) {
            Err(TuneError::Interrupted) => {}
            Ok(_) => assert!(events > 25, "{events} events are not all"),
            Err(error) => panic!("{error}"),
        }
        assert!(part.tuner.records().count().expect("it can be read") >= before);
    }
    let mut rest = Bench::new(open(&path), |fake| Box::new(fake));
    let tuned = rest.tune(10, usize::MAX).expect("it is tuned");
    assert_eq!(tuned.lowered.rewritten, whole.lowered.rewritten);
    assert_eq!(stats::median(&tuned.tuned), stats::median(&whole.tuned));
}

/// Fails every candidate.
struct Refusing;

impl Measurer for Refusing {
    fn measure(&mut self, _: &Job) -> Result<Outcome, MeasureError> {
        Ok(Outcome::Failed(Cause::Segfault))
    }

    fn compare(&mut self, jobs: &[Job]) -> Result<Vec<Outcome>, MeasureError> {
        Ok(vec![Outcome::Failed(Cause::Segfault); jobs.len()])
    }
}

#[test]
fn a_network_without_a_sound_kernel_says_why() {
    let mut bench = Bench::new(Records::in_memory().expect("memory is there"), |_| Box::new(Refusing));
    let Err(error) = bench.tune(1_000_000, usize::MAX) else { panic!("nothing can be timed") };
    assert!(matches!(&error, TuneError::NoSchedule(failures) if failures.of("segmentation fault") > 0), "{error}");
    assert!(error.to_string().contains("× segmentation fault"), "{error}");
}
