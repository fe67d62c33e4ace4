//! Which parts of the schedule search pay: variants of it, on kernels of which every schedule is timed at most once.
//!
//! `cargo run --release -p sonar-tune --example replay -- TABLE [SEEDS] [SECONDS]`
//!
//! A schedule is timed natively when the first variant asks for it, and its time is a line of the file `TABLE` from then on; so all
//! variants meet the same times, and a second run needs no time at all. After `SECONDS` nothing more is timed, and a variant that
//! asks for a new schedule moves on to its next one.

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::json;
use sonar_codegen::Target;
use sonar_ir::schedule::Schedule;
use sonar_ir::{Graph, text};
use sonar_measure::{Budget, Cache, Job, LocalMeasurer, Measurer, Outcome, stats};
use sonar_schedule::knobs::Value;
use sonar_schedule::{Options, ScheduleSpace, Task, estimate_program};
use sonar_tune::schedules::descent::{Descent, Point};
use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::error::Error;
use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// The kernels: convolutions of NAS-Bench-201, ResNet-18 and MobileNetV2, and those of a transformer's encoder.
const KERNELS: &[(&str, &str)] = &[
    ("3x3 32²·16", "(%x: f32[1,32,32,16], param %w: f32[3,3,16,16], param %b: f32[16]) relu(add(conv2d(%x, %w) {pad=1}, %b))"),
    ("3x3 16²·32", "(%x: f32[1,16,16,32], param %w: f32[3,3,32,32], param %b: f32[32]) relu(add(conv2d(%x, %w) {pad=1}, %b))"),
    ("3x3 8²·64", "(%x: f32[1,8,8,64], param %w: f32[3,3,64,64], param %b: f32[64]) relu(add(conv2d(%x, %w) {pad=1}, %b))"),
    ("3x3 56²·64", "(%x: f32[1,56,56,64], param %w: f32[3,3,64,64], param %b: f32[64]) relu(add(conv2d(%x, %w) {pad=1}, %b))"),
    (
        "3x3 14²·256",
        "(%x: f32[1,14,14,256], param %w: f32[3,3,256,256], param %b: f32[256]) relu(add(conv2d(%x, %w) {pad=1}, %b))",
    ),
    (
        "3x3/2 56²·64",
        "(%x: f32[1,56,56,64], param %w: f32[3,3,64,128], param %b: f32[128]) relu(add(conv2d(%x, %w) {pad=1, stride=2}, %b))",
    ),
    ("1x1 32²·16", "(%x: f32[1,32,32,16], param %w: f32[1,1,16,16], param %b: f32[16]) relu(add(conv2d(%x, %w), %b))"),
    ("1x1 28²·144·32", "(%x: f32[1,28,28,144], param %w: f32[1,1,144,32], param %b: f32[32]) add(conv2d(%x, %w), %b)"),
    (
        "depthwise 28²·144",
        "(%x: f32[1,28,28,144], param %w: f32[3,3,1,144], param %b: f32[144]) relu(add(conv2d(%x, %w) {pad=1, groups=144}, %b))",
    ),
    ("product 64·128·512", "(%x: f32[64,128], param %w: f32[128,512], param %b: f32[512]) relu(add(matmul(%x, %w), %b))"),
    ("softmax 256·64", "(%x: f32[256,64]) softmax(%x)"),
    ("layer norm 64·128", "(%x: f32[64,128], param %g: f32[128], param %b: f32[128]) layer_norm(%x, %g, %b)"),
    (
        "attention 64·128",
        "(%q: f32[1,64,128], %k: f32[1,64,128], %v: f32[1,64,128]) attention(%q, %k, %v) {heads=4, scale=0.176776695}",
    ),
];

/// Trials of one search.
const TRIALS: usize = 80;
/// After how many trials the best is looked at.
const LOOKS: [usize; 4] = [10, 20, 40, TRIALS];
/// Points that are ranked for the first trials, and how many of them are.
const SEEDS: (usize, usize) = (32, 3);
/// Points that are ranked where nothing but the analytic model decides.
const RANKED: usize = 400;
/// How long to time one schedule.
const BUDGET: Budget = Budget { samples: 6, seconds: 0.02 };

/// A way to search.
#[derive(Clone, Copy, Default)]
struct Variant {
    name: &'static str,
    /// Points in random order.
    random: bool,
    /// Points in the order of the analytic model.
    ranking: bool,
    /// Begins with the analytic default and the best of a sample.
    seeds: bool,
    /// Takes legal points only.
    legal: bool,
    /// Begins with the best schedules of the nearest kernels.
    transfer: bool,
}

const TODAY: Variant =
    Variant { name: "descent with seeds", random: false, ranking: false, seeds: true, legal: false, transfer: false };

/// All of them. The trials of the first one are what `transfer` begins with.
const VARIANTS: &[Variant] = &[
    TODAY,
    Variant { name: "random", random: true, seeds: false, ..TODAY },
    Variant { name: "analytic ranking", ranking: true, seeds: false, ..TODAY },
    Variant { name: "descent without seeds", seeds: false, ..TODAY },
    Variant { name: "seeds, legal points", legal: true, ..TODAY },
    Variant { name: "seeds, transfer", transfer: true, ..TODAY },
];

/// What is known of a point.
struct Known {
    schedule: Schedule,
    cycles: f64,
    legal: bool,
}

/// A kernel, its schedules, and their times.
struct Bench {
    name: &'static str,
    task: Task,
    space: ScheduleSpace,
    points: RefCell<HashMap<Point, Rc<Known>>>,
    /// Nanoseconds by schedule; infinite if it failed.
    times: RefCell<HashMap<String, f64>>,
    /// The best of the kernels that are like this one, nearest first.
    nearest: Vec<usize>,
}

/// Trials of a search, in order.
type Trials = Vec<(Point, f64)>;

impl Bench {
    fn new(name: &'static str, text: &str) -> Result<Bench, Box<dyn Error>> {
        let (arguments, result) = text.split_once(") ").ok_or("no arguments")?;
        let graph: Graph = text::parse_graph(&format!("graph @kernel{arguments}) {{\n  return {result}\n}}\n"))?;
        let task = sonar_schedule::tasks(&graph)?.tasks.into_iter().max_by_key(|task| task.flops).ok_or("no kernel")?;
        let space = sonar_schedule::space(&task, &Options::new(Target::native()?.lanes()));
        Ok(Bench { name, task, space, points: RefCell::default(), times: RefCell::default(), nearest: Vec::new() })
    }

    fn known(&self, point: &[usize]) -> Rc<Known> {
        let mut points = self.points.borrow_mut();
        let known = points.entry(point.to_vec()).or_insert_with_key(|point| {
            let (schedule, program) = self.space.scheduled(point);
            let cycles = estimate_program(&program, self.space.options());
            Rc::new(Known { schedule, cycles, legal: self.space.refused(point).is_empty() })
        });
        Rc::clone(known)
    }

    /// How unlike two kernels are.
    fn distance(&self, other: &Bench) -> f64 {
        let log = |a: u64, b: u64| (a.max(1) as f64 / b.max(1) as f64).ln().abs();
        log(self.task.flops, other.task.flops) + log(self.task.bytes, other.task.bytes)
    }

    /// The point that chooses what a point of another kernel does, or the nearest that there is.
    fn translated(&self, other: &Bench, point: &[usize]) -> Point {
        let size = |value: Value| match value {
            Value::Number(n) => n as f64,
            Value::All => 1e9,
            Value::Flag(yes) => f64::from(yes),
            Value::Tile { mr, nv } => (mr * 100 + nv) as f64,
            Value::Direct => 0.0,
            Value::Winograd(tile) => tile as f64,
        };
        let nearest = |knob: &sonar_schedule::Knob| {
            let wanted = size(other.space.value(point, knob.name)?);
            let distance = |&i: &usize| (size(knob.choices[i]) - wanted).abs();
            (0..knob.choices.len()).min_by(|a, b| distance(a).total_cmp(&distance(b)))
        };
        self.space.knobs().iter().map(|knob| nearest(knob).unwrap_or(0)).collect()
    }
}

/// Times schedules and remembers them in a file.
struct Table {
    file: std::fs::File,
    measurer: LocalMeasurer,
    target: Target,
    until: Instant,
    timed: usize,
}

impl Table {
    /// The time of a point; nothing if it is not known and there is no time left.
    fn time(&mut self, bench: &Bench, point: &Point, schedule: &Schedule) -> Result<Option<f64>, Box<dyn Error>> {
        let text = schedule.to_string();
        if let Some(&time) = bench.times.borrow().get(&text) {
            return Ok(Some(time));
        }
        if Instant::now() > self.until {
            return Ok(None);
        }
        let best = bench.times.borrow().values().copied().fold(f64::INFINITY, f64::min);
        let job = Job {
            task: bench.name.into(),
            schedule: schedule.clone(),
            reference: bench.task.program.clone(),
            candidate: bench.space.scheduled(point).1,
            target: self.target.to_string(),
            threads: 1,
            seed: 0,
            check_tolerance: 1e-4,
            incumbent: best.is_finite().then_some(best),
            budget: BUDGET,
            cache: Cache::Warm,
            fault: None,
        };
        let outcome = self.measurer.measure(&job)?;
        if let Outcome::Failed(cause) = &outcome {
            eprintln!("{}: {cause}: {schedule}", bench.name);
        }
        let time = outcome.samples().map_or(f64::INFINITY, |samples| samples.iter().copied().fold(f64::INFINITY, f64::min));
        let line = json!({ "kernel": bench.name, "schedule": text, "ns": time.is_finite().then_some(time) });
        writeln!(self.file, "{line}")?;
        bench.times.borrow_mut().insert(text, time);
        self.timed += 1;
        Ok(Some(time))
    }
}

/// One search of a kernel. `experience` are the trials of all kernels.
fn search(
    variant: &Variant,
    benches: &[Bench],
    index: usize,
    seed: u64,
    experience: &[Trials],
    table: &mut Table,
) -> Result<Trials, Box<dyn Error>> {
    let bench = &benches[index];
    let mut rng = StdRng::seed_from_u64(seed);
    let space = &bench.space;
    let draw = |rng: &mut StdRng| space.point(rng.random_range(0..space.len()));
    let mut trials: Trials = Vec::new();
    let mut seen = HashSet::new();
    let mut listed: Vec<Point> = Vec::new();
    if variant.random {
        listed = (0..20_000).map(|_| draw(&mut rng)).collect();
    } else if variant.ranking {
        listed = (0..RANKED).map(|_| draw(&mut rng)).collect();
        listed.sort_by(|a, b| bench.known(a).cycles.total_cmp(&bench.known(b).cycles));
    }
    let mut listed = listed.into_iter();

    let mut seeds = Vec::new();
    if variant.seeds {
        seeds.push(sonar_schedule::default_point(space));
    }
    if variant.transfer {
        for &near in bench.nearest.iter().take(2) {
            let mut best: Vec<&(Point, f64)> = experience[near].iter().collect();
            best.sort_by(|a, b| a.1.total_cmp(&b.1));
            seeds.extend(best.into_iter().take(2).map(|(point, _)| bench.translated(&benches[near], point)));
        }
    }
    if variant.seeds {
        let mut sample: Vec<Point> = (0..SEEDS.0 * 30)
            .map(|_| draw(&mut rng))
            .filter(|point| !variant.legal || bench.known(point).legal)
            .take(SEEDS.0)
            .collect();
        sample.sort_by(|a, b| bench.known(a).cycles.total_cmp(&bench.known(b).cycles));
        sample.dedup();
        sample.truncate(SEEDS.1);
        seeds.extend(sample);
    } else {
        seeds.push(draw(&mut rng));
    }
    let mut descent = Descent::new(space.knobs().iter().map(|knob| knob.choices.len()).collect(), seeds, seed);

    while trials.len() < TRIALS {
        let estimate = |point: &[usize]| {
            let known = bench.known(point);
            (known.legal || !variant.legal).then_some(known.cycles)
        };
        let point = if variant.random || variant.ranking { listed.next() } else { descent.ask(&estimate) };
        let Some(point) = point else { break };
        let schedule = bench.known(&point).schedule.clone();
        if !seen.insert(schedule.clone()) {
            continue;
        }
        let Some(time) = table.time(bench, &point, &schedule)? else { continue };
        descent.tell(&point, time.is_finite().then_some(time));
        trials.push((point, time));
    }
    Ok(trials)
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let path = arguments.next().ok_or("replay TABLE [SEEDS] [SECONDS]")?;
    let seeds: u64 = arguments.next().map_or(Ok(10), |text| text.parse())?;
    let seconds: u64 = arguments.next().map_or(Ok(600), |text| text.parse())?;

    let mut benches = KERNELS.iter().map(|(name, text)| Bench::new(name, text)).collect::<Result<Vec<_>, _>>()?;
    for i in 0..benches.len() {
        let bench = &benches[i];
        let mut near: Vec<usize> = (0..benches.len()).filter(|&j| j != i && benches[j].task.kind == bench.task.kind).collect();
        near.sort_by(|&a, &b| bench.distance(&benches[a]).total_cmp(&bench.distance(&benches[b])));
        eprintln!("{}: {} points, {}; near {near:?}", bench.name, bench.space.len(), bench.task.program.name);
        benches[i].nearest = near;
    }
    if Path::new(&path).exists() {
        for line in std::fs::read_to_string(&path)?.lines() {
            let line: serde_json::Value = serde_json::from_str(line)?;
            let kernel = benches.iter().find(|bench| line["kernel"] == bench.name);
            if let (Some(bench), Some(schedule)) = (kernel, line["schedule"].as_str()) {
                bench.times.borrow_mut().insert(schedule.into(), line["ns"].as_f64().unwrap_or(f64::INFINITY));
            }
        }
    }
    let file = OpenOptions::new().create(true).append(true).open(&path)?;
    let until = Instant::now() + Duration::from_secs(seconds);
    let mut table = Table { file, measurer: LocalMeasurer::default(), target: Target::native()?, until, timed: 0 };

    let start = Instant::now();
    let mut found: Vec<Vec<Vec<Trials>>> = VARIANTS.iter().map(|_| Vec::new()).collect();
    for seed in 0..seeds {
        let mut experience: Vec<Trials> = Vec::new();
        for (variant, found) in VARIANTS.iter().zip(&mut found) {
            let trials = (0..benches.len())
                .map(|index| search(variant, &benches, index, seed, &experience, &mut table))
                .collect::<Result<Vec<Trials>, _>>()?;
            if experience.is_empty() {
                experience.clone_from(&trials);
            }
            found.push(trials);
        }
        eprintln!("seed {seed}: {} timed after {:.0} s", table.timed, start.elapsed().as_secs_f64());
    }

    let best: Vec<f64> =
        benches.iter().map(|bench| bench.times.borrow().values().copied().fold(f64::INFINITY, f64::min)).collect();
    // The speed of the best of the first trials over that of the best that any search found.
    let reached = |trials: &Trials, task: usize, look: usize| {
        best[task] / trials.iter().take(look).map(|trial| trial.1).fold(f64::INFINITY, f64::min)
    };
    println!("| search | {} |", LOOKS.map(|look| format!("{look} trials")).join(" | "));
    println!("|---|{}", "--:|".repeat(LOOKS.len()));
    for (variant, found) in VARIANTS.iter().zip(&found) {
        let cells = LOOKS.map(|look| {
            let all: Vec<f64> = found
                .iter()
                .flat_map(|tasks| tasks.iter().enumerate().map(|(task, trials)| reached(trials, task, look)))
                .collect();
            let mean = (all.iter().map(|share| share.ln()).sum::<f64>() / all.len() as f64).exp();
            format!("{:.1}% ({:.1}%)", 100.0 * mean, 100.0 * stats::quantile(&all, 0.1))
        });
        println!("| {} | {} |", variant.name, cells.join(" | "));
    }
    println!("\n| kernel | schedules timed | best, µs | {} |", VARIANTS.iter().map(|v| v.name).collect::<Vec<_>>().join(" | "));
    println!("|---|--:|--:|{}", "--:|".repeat(VARIANTS.len()));
    for (task, bench) in benches.iter().enumerate() {
        let cells = found.iter().map(|found| {
            let shares: Vec<f64> = found.iter().map(|tasks| reached(&tasks[task], task, 40)).collect();
            format!("{:.1}%", 100.0 * stats::median(&shares))
        });
        println!(
            "| {} | {} | {:.2} | {} |",
            bench.name,
            bench.times.borrow().len(),
            best[task] / 1e3,
            cells.collect::<Vec<_>>().join(" | ")
        );
    }
    Ok(())
}
