//! Times graphs rewritten by all rules against the same graphs rewritten less, and prints a line of JSON for each: what
//! `cargo xtask experiment rewriting` makes its tables from.
//!
//! ```text
//! rewriting [OPTIONS] cells COUNT SEED    sampled cells of NAS-Bench-201
//! rewriting [OPTIONS] models FILE…        descriptions and ONNX files
//!
//! --only VARIANT,…   of the variants, only these
//! --estimated        the best by estimated costs, with no kernel timed
//! --ablation         also without each family of rules
//! --seconds S        time of one comparison, for each side
//! --records FILE     where times of kernels are kept
//! ```
//!
//! The best that all rules give is found as `tune` finds it before it searches schedules: kernels that could win are timed, and
//! the fastest extraction is kept. All schedules are the analytic ones. The variants called `…_direct` have direct kernels only,
//! the others may use Winograd's filtering where that is estimated to be faster. A ratio is the time of a variant over that of the
//! best, both run in turns; an ablation's is that of the cheapest extraction by estimated costs, without and with the family.

use anyhow::{Context as _, Result, bail};
use rand::SeedableRng;
use rand::rngs::StdRng;
use rand::seq::index::sample;
use serde_json::{Map, json};
use sonar_ir::graph::init;
use sonar_ir::space::Space;
use sonar_ir::{Graph, Values};
use sonar_measure::{Budget, Records, SystemClock, stats};
use sonar_measure::{WorkerMeasurer, WorkerOptions};
use sonar_onnx::ImportOptions;
use sonar_rewrite::{RULES, Rule};
use sonar_tune::networks::NativeModels;
use sonar_tune::{CompileOptions, Context, Lowered, RewriteLevel, Target, Tuner, TunerOptions};
use sonar_tune::{lower, measure_models, networks};
use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::path::Path;
use std::time::{Duration, Instant};

/// Time for the kernels of the graphs that one graph could be rewritten to.
const KERNELS: Duration = Duration::from_secs(20);

fn main() -> Result<()> {
    let mut arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.first().is_some_and(|first| first == "worker") {
        return Ok(sonar_measure::worker::serve(std::io::stdin(), std::io::stdout())?);
    }
    let mut flag = |name: &str| -> Result<Option<String>> {
        let Some(at) = arguments.iter().position(|argument| argument == name) else { return Ok(None) };
        if at + 1 == arguments.len() {
            bail!("{name} wants a value");
        }
        arguments.remove(at);
        Ok(Some(arguments.remove(at)))
    };
    let seconds: f64 = flag("--seconds")?.map_or(Ok(0.2), |seconds| seconds.parse())?;
    let only = flag("--only")?.map(|names| names.split(',').map(str::to_string).collect());
    let records = flag("--records")?;
    let mut given = |name: &str| arguments.iter().position(|argument| argument == name).map(|at| arguments.remove(at)).is_some();
    let (ablation, estimated) = (given("--ablation"), given("--estimated"));

    let target = Target::native()?;
    let worker = WorkerMeasurer::new(WorkerOptions::current_executable(1)?);
    let records = records.map_or_else(Records::in_memory, |path| Records::open(Path::new(&path)))?;
    let tuner = Tuner::new(TunerOptions::new(target.clone()), Box::new(worker), records, Box::new(SystemClock::default()));
    let mut bench = Bench { target: &target, tuner, budget: Budget { samples: 200, seconds }, only, ablation, estimated };
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["cells", count, seed] => {
            let space = Space::parse(include_str!("../../../ir-examples/spaces/nas-bench-201.sonar"))?;
            let all = space.count() as usize;
            for index in sample(&mut StdRng::seed_from_u64(seed.parse()?), all, count.parse::<usize>()?.min(all)) {
                let assignment = space.nth(index as u128).context("the space is that large")?;
                bench.time(&space.instantiate(&assignment)?, &format!("cell {index}"))?;
            }
        }
        ["models", ref files @ ..] => {
            for file in files {
                let path = Path::new(file);
                let name = path.file_name().unwrap_or_default().to_string_lossy();
                bench.time(&read(path)?, name.trim_end_matches(".sonar"))?;
            }
        }
        _ => bail!("say `cells COUNT SEED` or `models FILE…`"),
    }
    Ok(())
}

/// The graph of an ONNX file, or what a description says if nothing is chosen.
fn read(file: &Path) -> Result<Graph> {
    if file.extension().is_some_and(|extension| extension == "onnx") {
        return Ok(sonar_onnx::import(file, &ImportOptions::default())?.graph);
    }
    let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    let space = Space::parse(&text).with_context(|| format!("in {}", file.display()))?;
    let assignment = space.baseline().cloned().or_else(|| space.nth(0)).context("an empty space")?;
    Ok(space.instantiate(&assignment)?)
}

/// How a graph is compiled, beside the best that all rules give.
const VARIANTS: [(&str, RewriteLevel, bool); 6] = [
    ("unfused", RewriteLevel::Unfused, false),
    ("written", RewriteLevel::Written, false),
    ("fusion", RewriteLevel::Fusion, false),
    ("unfused_direct", RewriteLevel::Unfused, true),
    ("written_direct", RewriteLevel::Written, true),
    ("fusion_direct", RewriteLevel::Fusion, true),
];

struct Bench<'a> {
    target: &'a Target,
    tuner: Tuner,
    budget: Budget,
    only: Option<Vec<String>>,
    ablation: bool,
    estimated: bool,
}

impl Bench<'_> {
    fn time(&mut self, graph: &Graph, name: &str) -> Result<()> {
        let options = CompileOptions::new(self.target);
        let values = init::randomise(graph, 0);
        let begun = Instant::now();
        let estimated = lower(graph, &options)?;
        let seconds = begun.elapsed().as_secs_f64();
        let report = estimated.report.as_ref().context("it is rewritten")?;
        let full = if self.estimated { estimated.clone() } else { self.fastest(graph, &values, &options)? };
        let running = full.ready(&options, &values)?;
        let mut pair = Pair { running: Some(running), budget: self.budget };

        let mut ratios = Map::new();
        for (variant, rewrite, direct) in VARIANTS {
            if self.only.as_ref().is_some_and(|only| !only.iter().any(|name| name == variant)) {
                continue;
            }
            let options = CompileOptions { rewrite, max_rounding: if direct { 2e-6 } else { options.max_rounding }, ..options };
            let lowered = lower(graph, &options)?;
            let same = !direct && rewrite != RewriteLevel::Unfused && lowered.rewritten == full.rewritten;
            let ratio = if same { 1.0 } else { pair.ratio(lowered.ready(&options, &values)?)? };
            ratios.insert(variant.into(), json!({ "ratio": ratio, "kernels": lowered.tasks.kernels.len() }));
        }
        let mut ablation = Map::new();
        let fired = |rule: &&Rule| report.fired.iter().any(|(name, count)| *name == rule.name && *count > 0);
        let families: BTreeSet<&str> = RULES.iter().filter(fired).map(|rule| rule.family).collect();
        let best = if self.ablation { Some(estimated.ready(&options, &values)?) } else { None };
        if best.is_some() {
            pair.running = best;
            for family in families {
                let rules: Vec<Rule> = RULES.iter().filter(|rule| rule.family != family).cloned().collect();
                let lowered = lower(graph, &CompileOptions { rules: &rules, ..options })?;
                let same = lowered.rewritten == estimated.rewritten;
                let ratio = if same { 1.0 } else { pair.ratio(lowered.ready(&options, &values)?)? };
                ablation.insert(family.into(), json!({ "ratio": ratio, "differs": !same }));
            }
        }
        let line = json!({
            "name": name, "nodes": graph.nodes.len(), "rewriting_s": seconds, "stop": report.stop,
            "kernels": full.tasks.kernels.len(), "us": pair.microseconds()?, "ratios": ratios, "ablation": ablation,
        });
        println!("{line}");
        Ok(())
    }

    /// The fastest of the graphs that a graph may be rewritten to.
    fn fastest(&mut self, graph: &Graph, values: &Values, options: &CompileOptions<'_>) -> Result<Lowered> {
        let candidates = networks::candidates(graph, options, &mut self.tuner, KERNELS, &mut |_| ControlFlow::Continue(()))?;
        let mut models = NativeModels::new(values.clone(), 0);
        let go_on = &mut || ControlFlow::Continue(());
        let order = networks::fastest(candidates, options, &mut models, self.tuner.clock(), KERNELS, go_on)?;
        order.into_iter().next().map(|ranked| ranked.lowered).context("there is a graph")
    }
}

/// A model that others are timed against, one at a time.
struct Pair {
    running: Option<Context>,
    budget: Budget,
}

impl Pair {
    /// The time of another model over that of this one.
    fn ratio(&mut self, other: Context) -> Result<f64> {
        let mut models: Vec<Context> = self.running.take().into_iter().chain([other]).collect();
        let samples = measure_models(&mut models, self.budget, 0)?;
        self.running = Some(models.swap_remove(0));
        Ok(stats::median(&samples[1]) / stats::median(&samples[0]))
    }

    /// The time of this model alone.
    fn microseconds(&mut self) -> Result<f64> {
        let samples = measure_models(self.running.as_mut_slice(), self.budget, 0)?;
        Ok(stats::median(samples.first().context("there is a model")?) / 1e3)
    }
}
