//! Rewriting with measured costs: kernels that could win are timed, and what is found is remembered.

use sonar_codegen::Target;
use sonar_ir::graph::init;
use sonar_ir::{Graph, text};
use sonar_measure::{FakeClock, FakeMeasurer, Job, MeasureError, Measurer, Outcome, Records, SystemClock};
use sonar_tune::networks::NativeModels;
use sonar_tune::{CompileOptions, RewriteLevel, Tuner, TunerOptions, lower, networks, recorded};
use std::cell::Cell;
use std::ops::ControlFlow;
use std::rc::Rc;
use std::time::Duration;

/// Two convolutions of one image that may become one, and a pooling that may move.
const NETWORK: &str = "graph @network(
  %x: f32[1,8,8,16],
  param %v: f32[3,3,16,16],
  param %w: f32[1,1,16,16],
  param %u: f32[1,1,16,16]
) {
  %0 = conv2d %x, %v {pad=1} : f32[1,8,8,16]
  %1 = conv2d %x, %w : f32[1,8,8,16]
  %2 = add %0, %1 : f32[1,8,8,16]
  %3 = avg_pool %2 {kernel=3, pad=1} : f32[1,8,8,16]
  %4 = conv2d %3, %u : f32[1,8,8,16]
  return %4
}
";

/// One time for every kernel, and how often it was asked for.
struct Invented(Rc<Cell<usize>>);

impl Measurer for Invented {
    fn measure(&mut self, _: &Job) -> Result<Outcome, MeasureError> {
        self.0.set(self.0.get() + 1);
        Ok(Outcome::Ok(vec![5_000.0; 5]))
    }

    fn compare(&mut self, jobs: &[Job]) -> Result<Vec<Outcome>, MeasureError> {
        jobs.iter().map(|job| self.measure(job)).collect()
    }
}

fn graph() -> Graph {
    text::parse_graph(NETWORK).expect("it is well-formed")
}

#[test]
fn kernels_that_could_win_are_timed_once() {
    let target = Target::parse("x86-64-v3").expect("a known target");
    let asked = Rc::new(Cell::new(0));
    let records = Records::in_memory().expect("memory is there");
    let measurer = Box::new(Invented(Rc::clone(&asked)));
    let mut tuner = Tuner::new(TunerOptions::new(target.clone()), measurer, records, Box::new(FakeClock::default()));
    let options = CompileOptions::new(&target);
    let mut find = || {
        let report = &mut |_: &_| ControlFlow::Continue(());
        networks::candidates(&graph(), &options, &mut tuner, Duration::from_secs(60), report).expect("it rewrites")
    };
    let candidates = find();
    let timed = asked.get();
    assert!(timed >= 3, "{timed} kernels were timed");
    // What was timed is not timed again.
    assert_eq!(find().len(), candidates.len());
    assert_eq!(asked.get(), timed);
}

#[test]
fn the_fastest_network_is_remembered() {
    let target = Target::native().expect("this machine is supported");
    let records = Records::in_memory().expect("memory is there");
    let clock = FakeClock::default();
    let measurer = Box::new(FakeMeasurer::new(1, clock.clone()));
    let tuned = Records::in_memory().expect("memory is there");
    let mut tuner = Tuner::new(TunerOptions::new(target.clone()), measurer, tuned, Box::new(clock));
    let options = CompileOptions::new(&target);
    let graph = graph();
    let report = &mut |_: &_| ControlFlow::Continue(());
    let candidates = networks::candidates(&graph, &options, &mut tuner, Duration::from_secs(60), report).expect("it rewrites");
    let fusion = lower(&graph, &CompileOptions { rewrite: RewriteLevel::Fusion, ..options }).expect("it lowers").rewritten;
    assert!(candidates.iter().any(|lowered| lowered.rewritten == fusion), "fusion alone is one of the candidates");

    assert_eq!(recorded::network(&records, &graph, &options).expect("it can be read"), None);
    let models = &mut NativeModels::new(init::randomise(&graph, 0), 0);
    let go_on = &mut || ControlFlow::Continue(());
    let clock = SystemClock::default();
    let order = networks::fastest(candidates.clone(), &options, models, &clock, Duration::MAX, go_on).expect("they run");
    assert_eq!(order.len(), candidates.len());
    recorded::add_networks(&records, &order, &options).expect("there is room");
    let known = recorded::network(&records, &graph, &options).expect("it can be read").expect("it is recorded");
    assert_eq!(known, order[0].lowered.rewritten);

    // The compiler takes it from there, for this graph and these options only.
    let networks = |graph: &Graph| recorded::network(&records, graph, &options);
    let lowered = lower(&graph, &CompileOptions { networks: &networks, ..options }).expect("it lowers");
    assert_eq!(lowered.rewritten, known);
    assert!(lowered.report.is_none());
    let exact = CompileOptions { max_rounding: 0.0, ..options };
    assert_eq!(recorded::network(&records, &graph, &exact).expect("it can be read"), None);
}
