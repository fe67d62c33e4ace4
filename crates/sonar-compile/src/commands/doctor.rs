//! `doctor`: describes this machine, and tells whether its timings are reliable.

use crate::args::{DoctorArgs, Format};
use crate::exit::{Exit, Failure, OrExit, fail};
use crate::machine;
use crate::model::compiled::tune_failure;
use crate::roofline::annotate::bytes;
use crate::terminal::output::outln;
use serde::Serialize;
use sonar_codegen::{Target, pin_to_one_processor};
use sonar_ir::machine::Machine;
use sonar_measure::machine::Loaded;
use sonar_measure::race::{Difference, difference};
use sonar_measure::{Budget, Cache, Job, Measurer, records};
use sonar_measure::{WorkerMeasurer, WorkerOptions};
use sonar_tune::{CompileOptions, lower};
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// How long the machine is observed.
const WATCH: Duration = Duration::from_millis(1500);
/// The part of it during which the clock frequency is assumed constant.
const WINDOW: Duration = Duration::from_millis(75);
/// The kernel that is compared with itself.
const KERNEL: &str = "graph @same(%x: f32[1,16,16,32]) {
  param %w: f32[3,3,32,32] = he
  return relu(conv2d(%x, %w) {pad=same})
}
";

/// The facts found about the machine.
#[derive(Serialize)]
struct Findings {
    target: String,
    lanes: usize,
    cores: usize,
    peak_gflops: f64,
    /// The machine parameters for time estimates.
    machine: Machine,
    /// The file that stores them.
    machine_file: Option<PathBuf>,
    /// Whether they were measured just now.
    machine_measured: bool,
    timer_resolution_ns: f64,
    /// Whether a thread can be pinned to one processor.
    pinning: bool,
    /// The ratio of the slowest to the fastest of equal pieces of work, without the slowest twentieth.
    jitter: f64,
    /// The same ratio for the fastest piece of each time window: the effect of a changing clock frequency.
    frequency_drift: f64,
    /// Share of CPU time that the host took away (steal) while the machine was observed.
    steal: Option<f64>,
    /// Number of processors that other programs used at the same time.
    others: Option<f64>,
    load: Option<f64>,
    /// Share of the comparisons of a kernel with itself that reported a difference.
    #[serde(skip_serializing_if = "Option::is_none")]
    aa_false: Option<f64>,
    /// Whether any of this makes timings unreliable.
    noisy: bool,
    warnings: Vec<String>,
}

/// Runs the subcommand.
pub fn doctor(args: &DoctorArgs) -> Result<(), Failure> {
    let findings = examine(args)?;
    match args.format {
        Format::Json => outln!("{}", serde_json::to_string_pretty(&findings).or_exit(Exit::Internal)?),
        Format::Text => print(&findings),
    }
    Ok(())
}

fn examine(args: &DoctorArgs) -> Result<Findings, Failure> {
    let native = Target::native().or_exit(Exit::BadInput)?;
    let Loaded { machine, file, measured, .. } = machine::record(native.lanes(), args.measure)?;
    let cores = std::thread::available_parallelism().map_or(1, |n| n.get());
    let timer_resolution_ns = timer_resolution();
    // On a separate thread, so that no other thread gets pinned.
    let pinning = std::thread::spawn(pin_to_one_processor).join().unwrap_or(false);
    let before = Ticks::now();
    let pieces = watch();
    let ticks = before.and_then(|before| Some(Ticks::now()?.since(&before)));
    let (steal, others) = (ticks.as_ref().map(Ticks::steal), ticks.as_ref().map(|ticks| ticks.others(cores)));
    let (jitter, frequency_drift) = (spread(pieces.iter().flatten().copied()), drift(&pieces));
    let aa_false = args.aa.map(|count| compare_with_itself(&native, count)).transpose()?;

    let mut warnings = Vec::new();
    if jitter > 1.5 {
        warnings.push(format!("equal pieces of work differ in time by a factor of {jitter:.1}: other programs are running, or the clock frequency changes"));
    }
    if frequency_drift > 1.05 {
        warnings
            .push(format!("the clock frequency, or what the host grants, changes by {:.0}%", 100.0 * (frequency_drift - 1.0)));
    }
    if steal.is_some_and(|s| s > 0.02) {
        warnings.push("the host takes processor time away: timings are those of a shared machine".to_string());
    }
    if let Some(others) = others.filter(|&others| others > 0.25) {
        warnings.push(format!("other programs keep {others:.1} of {cores} processors busy: tuning will be misled"));
    }
    if !pinning {
        warnings.push("threads cannot be kept on one processor".to_string());
    }
    if timer_resolution_ns > 1000.0 {
        warnings.push(format!("the timer moves in steps of {timer_resolution_ns:.0} ns"));
    }
    if let Some(share) = aa_false.filter(|&share| share > 0.05) {
        warnings.push(format!("{:.0}% of the comparisons of a kernel with itself found a difference", 100.0 * share));
    }
    Ok(Findings {
        target: native.key(),
        lanes: native.lanes(),
        cores,
        peak_gflops: machine.peak(native.lanes()).gflops,
        machine,
        machine_file: file,
        machine_measured: measured,
        timer_resolution_ns,
        pinning,
        jitter,
        frequency_drift,
        steal,
        others,
        load: load(),
        aa_false,
        noisy: !warnings.is_empty(),
        warnings,
    })
}

/// The smallest observed step of the clock, in nanoseconds.
fn timer_resolution() -> f64 {
    let mut least = f64::INFINITY;
    for _ in 0..1000 {
        let start = Instant::now();
        let mut step = start.elapsed();
        while step.is_zero() {
            step = start.elapsed();
        }
        least = least.min(step.as_secs_f64() * 1e9);
    }
    least
}

/// Seconds of equal pieces of work, grouped by time window.
fn watch() -> Vec<Vec<f64>> {
    let begin = Instant::now();
    let mut windows = Vec::new();
    while begin.elapsed() < WATCH {
        let (window, mut pieces) = (Instant::now(), Vec::new());
        while window.elapsed() < WINDOW {
            let start = Instant::now();
            let mut x = 1u64;
            for _ in 0..200_000 {
                x = std::hint::black_box(x.wrapping_mul(6364136223846793005).wrapping_add(1));
            }
            pieces.push(start.elapsed().as_secs_f64());
        }
        windows.push(pieces);
    }
    windows
}

/// The ratio of the slowest to the fastest, without the slowest twentieth.
fn spread(times: impl Iterator<Item = f64>) -> f64 {
    let mut times: Vec<f64> = times.collect();
    times.sort_by(f64::total_cmp);
    match times.as_slice() {
        [] => 1.0,
        times => times[(times.len() - 1) * 95 / 100] / times[0],
    }
}

/// The same ratio for the fastest piece of each window, which was not interrupted.
fn drift(windows: &[Vec<f64>]) -> f64 {
    spread(windows.iter().map(|pieces| pieces.iter().copied().fold(f64::INFINITY, f64::min)))
}

/// CPU time so far, in clock ticks.
struct Ticks {
    busy: f64,
    steal: f64,
    all: f64,
    own: f64,
}

impl Ticks {
    /// The current times. `None` on systems other than Linux.
    fn now() -> Option<Ticks> {
        let stat = std::fs::read_to_string("/proc/stat").ok()?;
        let all: Vec<f64> = stat.lines().next()?.split_whitespace().skip(1).filter_map(|t| t.parse().ok()).collect();
        let [user, nice, system, _idle, _wait, hard, soft, steal, ..] = all.as_slice() else { return None };
        // The name of the program may contain any character, but it ends at the last parenthesis.
        let own = std::fs::read_to_string("/proc/self/stat").ok()?;
        let fields: Vec<&str> = own.rsplit_once(')')?.1.split_whitespace().collect();
        let own = |field: usize| fields.get(field)?.parse::<f64>().ok();
        Some(Ticks {
            busy: user + nice + system + hard + soft,
            steal: *steal,
            all: all.iter().take(8).sum(),
            own: own(11)? + own(12)?,
        })
    }

    fn since(&self, before: &Ticks) -> Ticks {
        Ticks {
            busy: self.busy - before.busy,
            steal: self.steal - before.steal,
            all: (self.all - before.all).max(1.0),
            own: self.own - before.own,
        }
    }

    fn steal(&self) -> f64 {
        self.steal / self.all
    }

    /// How many of `cores` processors were busy with other programs.
    fn others(&self, cores: usize) -> f64 {
        ((self.busy - self.own) / self.all * cores as f64).max(0.0)
    }
}

/// Mean number of running processes over the last minute.
fn load() -> Option<f64> {
    std::fs::read_to_string("/proc/loadavg").ok()?.split_whitespace().next()?.parse().ok()
}

/// Compares one kernel with itself under two names, repeatedly. Returns the share of reported differences.
fn compare_with_itself(target: &Target, count: usize) -> Result<f64, Failure> {
    let graph = sonar_ir::text::parse_graph(KERNEL).or_exit(Exit::Internal)?;
    let tasks = lower(&graph, &CompileOptions::new(target)).map_err(tune_failure)?.tasks.tasks;
    let [task] = &*tasks else { return Err(fail(Exit::Internal, "the kernel is not one task")) };
    let options = sonar_schedule::Options { max_rounding: 0.0, ..sonar_schedule::Options::new(target.lanes()) };
    let (schedule, candidate) = sonar_schedule::default_program(task, &options);
    let job = Job {
        task: records::digest(&task.key),
        schedule,
        reference: task.program.clone(),
        candidate,
        target: target.to_string(),
        threads: 1,
        seed: 0,
        check_tolerance: 1e-4,
        incumbent: None,
        budget: Budget::default(),
        cache: Cache::default(),
        fault: None,
    };
    let options = WorkerOptions::current_executable(1).or_exit(Exit::Internal)?;
    let mut worker = WorkerMeasurer::new(options);
    let mut different = 0;
    for _ in 0..count {
        let outcomes = worker.compare(&[job.clone(), job.clone()]).or_exit(Exit::Internal)?;
        let samples: Vec<&[f64]> = outcomes.iter().filter_map(|outcome| outcome.samples()).collect();
        let [one, other] = samples.as_slice() else { return Err(fail(Exit::Internal, "the kernel could not be timed")) };
        different += usize::from(difference(one, other) != Difference::Same);
    }
    Ok(different as f64 / count.max(1) as f64)
}

fn print(f: &Findings) {
    let percent = |share: f64| format!("{:.1}%", 100.0 * share);
    outln!("processor          {}", f.target);
    outln!("cores              {}", f.cores);
    outln!("vector width       {} × f32", f.lanes);
    outln!("FMA peak, one core {:.0} GFLOP/s", f.peak_gflops);
    for peak in &f.machine.peaks {
        let latency = peak.latency * 1e9;
        outln!("  {:>2} × f32         {:.0} GFLOP/s, a result after {latency:.2} ns", peak.lanes, peak.gflops);
    }
    outln!("data caches        {}", f.machine.caches.iter().map(|&size| bytes(size as u64)).collect::<Vec<_>>().join(", "));
    outln!("bandwidth, one core, of data of a size: GB/s reading, writing, copying");
    for at in &f.machine.bandwidths {
        outln!("  {:>8}  {:>6.0} {:>6.0} {:>6.0}", bytes(at.bytes as u64), at.read, at.write, at.copy);
    }
    outln!("kernel call        {:.0} ns", f.machine.call * 1e9);
    outln!("work of a thread   begins and ends in {:.1} µs", f.machine.fork * 1e6);
    let origin = if f.machine_measured { "measured now" } else { "measured earlier; --measure measures anew" };
    match &f.machine_file {
        Some(file) => outln!("these are          {origin}, kept in {}", file.display()),
        None => {
            outln!("these are          {}", if f.machine_measured { "measured now, kept nowhere" } else { "those of --machine" })
        }
    }
    outln!("timer step         {:.0} ns", f.timer_resolution_ns);
    outln!("pinning            {}", if f.pinning { "works" } else { "does not work" });
    outln!("jitter             {:.2}×", f.jitter);
    outln!("frequency drift    {}", percent(f.frequency_drift - 1.0));
    if let Some(steal) = f.steal {
        outln!("stolen by host     {}", percent(steal));
    }
    if let Some(others) = f.others {
        outln!("load of others     {others:.2} processors");
    }
    if let Some(share) = f.aa_false {
        outln!("false differences  {}", percent(share));
    }
    outln!("{}", if f.noisy { "this machine is noisy" } else { "ready to measure" });
    for warning in &f.warnings {
        outln!("warning: {warning}");
    }
}
