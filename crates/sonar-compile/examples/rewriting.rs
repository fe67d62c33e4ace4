//! Times graphs at every level of rewriting, in turns, and prints a line of JSON for each: what `cargo xtask experiment rewriting`
//! makes its tables from.
//!
//! ```text
//! rewriting [--without RULE,…] [--seconds S] [--records FILE] cells COUNT SEED    sampled cells of NAS-Bench-201
//! rewriting [--without RULE,…] [--seconds S] [--records FILE] models FILE…        descriptions
//! ```
//!
//! The levels called `…_direct` have direct kernels only; all others may use Winograd's filtering, as schedules choose it.
//! `full` is what `tune` does before it searches schedules: kernels that could win are timed, and the fastest extraction is kept.
//! With `--without`, it is also done without these rules, under the name `ablated`. All schedules are the analytic ones.

use anyhow::{Context as _, Result, bail};
use rand::SeedableRng;
use rand::rngs::StdRng;
use rand::seq::index::sample;
use serde_json::json;
use sonar_ir::space::Space;
use sonar_ir::{Graph, Values, init};
use sonar_measure::process::{WorkerMeasurer, WorkerOptions};
use sonar_measure::{Budget, Records, Summary, SystemClock};
use sonar_rewrite::{RULES, Rule};
use sonar_tune::{CompileOptions, Context, Level, Lowered, Target, Tuner, TunerOptions};
use sonar_tune::{generate, lower, measure_models, network, plan};
use std::collections::BTreeMap;
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
    let without = flag("--without")?;
    let seconds: f64 = flag("--seconds")?.map_or(Ok(0.3), |seconds| seconds.parse())?;
    let records = flag("--records")?;
    let without: Vec<&str> = without.iter().flat_map(|names| names.split(',')).collect();
    let rest: Vec<Rule> = RULES.iter().filter(|rule| !without.contains(&rule.name)).copied().collect();
    if RULES.len() - rest.len() != without.len() {
        bail!("not all of these are rules: {}", without.join(", "));
    }

    let target = Target::native()?;
    let worker = WorkerMeasurer::new(WorkerOptions::current_executable()?);
    let records = records.map_or_else(Records::in_memory, |path| Records::open(Path::new(&path)))?;
    let tuner = Tuner::new(TunerOptions::new(target.clone()), Box::new(worker), records, Box::new(SystemClock::default()));
    let mut bench = Bench { target: &target, tuner, budget: Budget { samples: 200, seconds } };
    let ablated = (!without.is_empty()).then_some(&rest[..]);
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["cells", count, seed] => {
            let space = Space::parse(include_str!("../../../ir-examples/spaces/nas-bench-201.sonar"))?;
            let all = space.count() as usize;
            for index in sample(&mut StdRng::seed_from_u64(seed.parse()?), all, count.parse::<usize>()?.min(all)) {
                let assignment = space.nth(index as u128).context("the space is that large")?;
                bench.time(&space.instantiate(&assignment)?, &format!("cell {index}"), ablated)?;
            }
        }
        ["models", ref files @ ..] => {
            for file in files {
                let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {file}"))?;
                let space = Space::parse(&text).with_context(|| format!("in {file}"))?;
                let assignment = space.baseline().cloned().or_else(|| space.nth(0)).context("an empty space")?;
                let name = Path::new(file).file_stem().unwrap_or_default().to_string_lossy().into_owned();
                bench.time(&space.instantiate(&assignment)?, &name, ablated)?;
            }
        }
        _ => bail!("say `cells COUNT SEED` or `models FILE…`"),
    }
    Ok(())
}

struct Bench<'a> {
    target: &'a Target,
    tuner: Tuner,
    budget: Budget,
}

impl Bench<'_> {
    fn time(&mut self, graph: &Graph, name: &str, ablated: Option<&[Rule]>) -> Result<()> {
        let options = CompileOptions::new(self.target);
        let values = init::randomise(graph, 0);
        let mut lowered: BTreeMap<&str, Lowered> = BTreeMap::new();
        for (level, rewrite) in [("unfused", Level::Unfused), ("written", Level::Written), ("fusion", Level::Fusion)] {
            lowered.insert(level, lower(graph, &CompileOptions { rewrite, ..options })?);
        }
        let begun = Instant::now();
        let estimated = lower(graph, &options)?;
        let rewriting = begun.elapsed().as_secs_f64();
        lowered.insert("estimated", estimated);
        lowered.insert("full", self.fastest(graph, &values, &options)?);
        if let Some(rules) = ablated {
            lowered.insert("ablated", self.fastest(graph, &values, &CompileOptions { rules, ..options })?);
        }
        let direct = CompileOptions { tolerance: 0.0, ..options };
        let mut models: Vec<Context> = Vec::new();
        let mut names: Vec<&str> = Vec::new();
        for (level, lowered) in &lowered {
            models.push(self.ready(lowered, &values, &options)?);
            names.push(level);
        }
        let levels = [("unfused_direct", Level::Unfused), ("written_direct", Level::Written), ("fusion_direct", Level::Fusion)];
        for (name, rewrite) in levels {
            let exact = lower(graph, &CompileOptions { rewrite, ..direct })?;
            models.push(self.ready(&exact, &values, &direct)?);
            names.push(name);
        }

        let samples = measure_models(&mut models, self.budget, 0)?;
        let mut line = json!({ "name": name, "nodes": graph.nodes.len(), "rewriting_s": rewriting });
        for (level, samples) in names.iter().zip(&samples) {
            let summary = Summary::of(samples).context("there are samples")?;
            let kernels = lowered.get(level).map(|lowered| lowered.tasks.kernels.len());
            line[*level] = json!({
                "us": summary.median / 1e3, "low": summary.interval.0 / 1e3, "high": summary.interval.1 / 1e3, "kernels": kernels,
            });
        }
        println!("{line}");
        Ok(())
    }

    /// The fastest of the graphs that a graph may be rewritten to.
    fn fastest(&mut self, graph: &Graph, values: &Values, options: &CompileOptions<'_>) -> Result<Lowered> {
        let candidates = network::candidates(graph, options, &mut self.tuner, KERNELS, &mut |_| ControlFlow::Continue(()))?;
        Ok(network::fastest(candidates, options, values, None, 0)?.swap_remove(0))
    }

    fn ready(&self, lowered: &Lowered, values: &Values, options: &CompileOptions<'_>) -> Result<Context> {
        Ok(generate(plan(lowered.clone(), options)?, options)?.load(values)?.context()?)
    }
}
