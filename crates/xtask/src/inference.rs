//! Latency of every model of the zoo, tuned and untuned, compared with other engines.

use crate::figures::{geometric_mean, number};
use crate::peers::{Harness, Model, Timing};
use crate::{Options, kernels, machine, program, publish};
use anyhow::{Context, Result, bail};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

/// Our two engines: with tuning records and without.
const TUNED: &str = "sonar";
const UNTUNED: &str = "sonar-untuned";

/// Runs the experiment.
pub fn run(options: &Options) -> Result<()> {
    let Some(harness) = Harness::find(options)? else {
        bail!("the other engines are not set up below {}: there are no models to measure", options.peers.display());
    };
    let program = program()?;
    let zoo = harness.models()?;
    let models: Vec<String> = zoo.keys().filter(|m| options.models.is_empty() || options.models.contains(m)).cloned().collect();
    let threads: &[usize] = if options.quick { &[1] } else { &[1, 2] };
    let records = harness.folder().join("records.db");
    if !options.quick {
        for model in &models {
            for &threads in threads {
                eprintln!("tuning {model} on {threads} threads");
                tune(&program, &harness.file(model), threads, options.tune, &records)?;
            }
        }
    }
    let serve = |records: &Path| {
        let (program, records) = (program.display(), records.display());
        format!("{program} bench \"$1\" --serve --input \"$2\" --output \"$3\" --threads \"$4\" --records {records}")
    };
    let none = harness.folder().join("none.db");
    let ours = [(TUNED, serve(&records)), (UNTUNED, serve(&none))];
    let timings = harness.run(&models, threads, &ours, options.quick)?;

    let table = Table { timings: &timings, models: &models, zoo: &zoo };
    let (one, two) = (table.speedups(1, TUNED), table.speedups(2, TUNED));
    let keys = [
        ("geomean", number(geometric_mean(one.iter().copied()), 2)),
        ("worst", number(one.iter().copied().reduce(f64::min), 2)),
        ("threads2", number(geometric_mean(two.iter().copied()), 2)),
        ("untuned", number(geometric_mean(table.speedups(1, UNTUNED).into_iter()), 2)),
    ];
    let mut page = table.page(threads, options);
    page.push_str("## Kernels below 70% of the FMA peak\n\nOne thread, those that take a hundredth of the time or more. A kernel's floor is the larger of its operations over the \
         measured FMA peak and its bytes over the measured bandwidth of the cache level that they fit in; `of roofline` is the floor over the \
         time. What is bound by memory cannot reach the peak; what is bound by computing does other work than multiply-adds, \
         or less of it than a vector has lanes for.\n\n");
    page.push_str(kernels::HEAD);
    for model in &models {
        page.push_str(&kernels::lines(&program, model, &harness.file(model), &records)?);
    }
    publish("inference", &page, &keys)
}

/// Tunes a model and adds to the records.
fn tune(program: &Path, model: &Path, threads: usize, seconds: u64, records: &Path) -> Result<()> {
    let (threads, time) = (threads.to_string(), format!("{seconds}s"));
    let mut command = Command::new(program);
    command.arg("tune").arg(model).args(["--threads", &threads, "--time", &time, "--quiet"]).arg("--records").arg(records);
    let status = command.stdout(Stdio::null()).status().context("the program cannot be run")?;
    if !status.success() {
        bail!("{} cannot be tuned", model.display());
    }
    Ok(())
}

struct Table<'a> {
    timings: &'a [Timing],
    models: &'a [String],
    zoo: &'a BTreeMap<String, Model>,
}

impl Table<'_> {
    fn time(&self, peer: &str, model: &str, threads: usize) -> Option<f64> {
        self.timings.iter().find(|t| t.peer == peer && t.model == model && t.threads == threads)?.valid()
    }

    /// The engines with any measurements, ours last.
    fn engines(&self) -> Vec<&str> {
        let mut engines: Vec<&str> = Vec::new();
        for timing in self.timings.iter().filter(|t| t.median_us.is_some()) {
            if !engines.contains(&timing.peer.as_str()) {
                engines.push(&timing.peer);
            }
        }
        engines.sort_by_key(|engine| (engine.starts_with(TUNED), engine.len()));
        engines
    }

    /// The fastest of the other engines.
    fn fastest(&self, model: &str, threads: usize) -> Option<(&str, f64)> {
        let others = self.engines().into_iter().filter(|engine| !engine.starts_with(TUNED));
        let times = others.filter_map(|engine| Some((engine, self.time(engine, model, threads)?)));
        times.min_by(|a, b| a.1.total_cmp(&b.1))
    }

    /// For each model, the ratio of the fastest other engine's time to ours.
    fn speedups(&self, threads: usize, ours: &str) -> Vec<f64> {
        let speedup = |model: &String| Some(self.fastest(model, threads)?.1 / self.time(ours, model, threads)?);
        self.models.iter().filter_map(speedup).collect()
    }

    fn page(&self, threads: &[usize], options: &Options) -> String {
        let mut page = String::from(
            "# Inference beside other engines\n\nMedian latency of one inference in µs, batch 1 where the model does not say otherwise: the best of the rounds, the engines \
             taking turns, pinned. `sonar` is tuned, `sonar-untuned` takes the analytic schedules; the ratio is the time of the \
             fastest other engine over that of `sonar`. A model is compared where the largest error is below a thousandth of the largest output.\n\n",
        );
        let flags = if options.quick { " --quick".to_string() } else { format!(" --tune {}", options.tune) };
        let _ = writeln!(page, "`cargo xtask experiment inference{flags}` on {}.\n", machine());
        for &threads in threads {
            let engines = self.engines();
            let _ = writeln!(page, "## {threads} thread{}\n", if threads == 1 { "" } else { "s" });
            let _ = writeln!(page, "| model | MMAC | {} | ratio | error | ready, ms |", engines.join(" | "));
            let _ = writeln!(page, "|---|---:|{}---:|---:|---:|", "---:|".repeat(engines.len()));
            for model in self.models {
                let cell = |engine: &&str| self.time(engine, model, threads).map_or("–".to_string(), |us| format!("{us:.1}"));
                let times: Vec<String> = engines.iter().map(cell).collect();
                let ratio = self.fastest(model, threads).zip(self.time(TUNED, model, threads)).map(|(best, ours)| best.1 / ours);
                let ours = self.timings.iter().find(|t| t.peer == TUNED && t.model == *model && t.threads == threads);
                let error = ours.and_then(|t| t.max_rel_err.as_f64()).map_or("–".to_string(), |e| format!("{e:.1e}"));
                let ready = ours.and_then(|t| t.compile_s).map_or("–".to_string(), |s| format!("{:.0}", s * 1e3));
                let work = self.zoo.get(model).map_or(0.0, |m| m.macs / 1e6);
                let (times, ratio) = (times.join(" | "), number(ratio, 2));
                let _ = writeln!(page, "| {model} | {work:.1} | {times} | {ratio} | {error} | {ready} |");
            }
            page.push('\n');
        }
        for timing in self.timings.iter().filter(|t| t.error.is_some() && t.peer.starts_with(TUNED)) {
            let error = timing.error.as_deref().unwrap_or_default();
            let _ = writeln!(page, "{} fails on {}: {error}\n", timing.peer, timing.model);
        }
        page
    }
}
