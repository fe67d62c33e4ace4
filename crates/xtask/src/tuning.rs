//! How fast tuning finds good kernels, how good untuned kernels are, how they compare with TVM's, and whether measurements are
//! reliable.

use crate::figures::number;
use crate::peers::Harness;
use crate::serve::{Served, in_turns, pinned};
use crate::tvm::{Convolution, Tvm};
use crate::{Options, machine, program, publish, root};
use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// The networks of this experiment: those of the repository, and those of the model zoo.
const OURS: [&str; 4] = ["nb201_conv3x3", "nb201_resnet", "nb201_conv1x1", "nb201_poolskip"];
const ZOO: [&str; 3] = ["resnet18", "mobilenetv2", "encoder"];

/// The convolutions of the NAS-Bench-201 networks and of ResNet-18, each once.
const CONVOLUTIONS: [[usize; 5]; 21] = [
    [32, 16, 16, 3, 1],
    [16, 32, 32, 3, 1],
    [8, 64, 64, 3, 1],
    [32, 16, 16, 1, 1],
    [16, 32, 32, 1, 1],
    [8, 64, 64, 1, 1],
    [56, 64, 64, 3, 1],
    [28, 128, 128, 3, 1],
    [14, 256, 256, 3, 1],
    [7, 512, 512, 3, 1],
    [32, 16, 32, 3, 2],
    [16, 16, 32, 1, 1],
    [16, 32, 64, 3, 2],
    [8, 32, 64, 1, 1],
    [32, 3, 16, 3, 1],
    [224, 3, 64, 7, 2],
    [56, 64, 128, 3, 2],
    [56, 64, 128, 1, 2],
    [28, 128, 256, 3, 2],
    [14, 256, 512, 3, 2],
    [14, 256, 512, 1, 2],
];

/// Runs the experiment.
pub fn run(options: &Options) -> Result<()> {
    let program = program()?;
    let folder = tempfile::tempdir().context("no temporary folder")?;
    let mut page = introduction(options);

    let reached = reach(&program, options, folder.path(), &mut page)?;
    let vs_tvm = tvm(&program, options, folder.path(), &mut page)?;
    let aa_false = same_against_same(&program, options, &mut page)?;
    let worst = |share: fn(&Reached) -> f64| reached.iter().map(share).reduce(f64::min);
    let keys = [
        ("reach_60s", number(worst(|reached| reached.long / reached.short), 3)),
        ("untuned", number(worst(|reached| reached.long.min(reached.short) / reached.untuned), 3)),
        ("vs_tvm", number(vs_tvm, 3)),
        ("aa_false", number(aa_false, 3)),
    ];
    publish("tuning", &page, &keys)
}

fn introduction(options: &Options) -> String {
    let mut flags = format!(" --tune {} --long {} --tvm-trials {}", options.tune, options.long, options.tvm_trials);
    if options.convolutions < CONVOLUTIONS.len() {
        let _ = write!(flags, " --convolutions {}", options.convolutions);
    }
    let flags = if options.quick { " --quick" } else { flags.as_str() };
    format!("# Tuning\n\nOne thread, batch 1. `cargo xtask experiment tuning{flags}` on {}.\n\n", machine())
}

/// Times of a network in nanoseconds: untuned, after a short search and after a long search.
struct Reached {
    untuned: f64,
    short: f64,
    long: f64,
}

fn reach(program: &Path, options: &Options, folder: &Path, page: &mut String) -> Result<Vec<Reached>> {
    let (short, long) = if options.quick { (2, 4) } else { (options.tune, options.long) };
    let mut networks: Vec<(&str, PathBuf)> =
        OURS.iter().map(|name| (*name, root().join(format!("ir-examples/models/{name}.sonar")))).collect();
    match Harness::find(options)? {
        Some(harness) => networks.extend(ZOO.iter().map(|name| (*name, harness.file(name)))),
        None => page.push_str("The model zoo is not set up: its networks are missing.\n\n"),
    }
    networks.retain(|(name, _)| options.models.is_empty() || options.models.iter().any(|model| model == name));
    if options.quick {
        networks.truncate(2);
    }
    let _ = writeln!(
        page,
        "## How soon it is good\n\nEach network is tuned for {short} s, and by the same search, going on from there, for {long} s in all; then the untuned \
         and both tuned networks run in turns. `reached` is the speed after {short} s over that after {long} s.\n\n\
         | network | untuned, µs | after {short} s | after {long} s | reached | untuned over tuned |\n|---|---:|---:|---:|---:|---:|"
    );
    let mut all = Vec::new();
    for (name, model) in networks {
        eprintln!("tuning {name}");
        let (early, late) = (folder.join(format!("{name}-short.db")), folder.join(format!("{name}-long.db")));
        tune(program, &model, short as f64, &early)?;
        std::fs::copy(&early, &late).context("the records cannot be copied")?;
        tune(program, &model, (long - short) as f64, &late)?;
        let none = folder.join("none.db");
        let mut served = [&none, &early, &late].map(|records| Served::start(program, &model, &[], records)).into_iter();
        let mut served: Vec<Served> = served.by_ref().collect::<Result<_>>()?;
        let times = in_turns(&mut served, if options.quick { 5 } else { 15 }, 50.0)?;
        let [untuned, short, long] = times[..] else { bail!("three models have three times") };
        let _ = writeln!(
            page,
            "| {name} | {:.1} | {:.1} | {:.1} | {:.0}% | {:.0}% |",
            untuned / 1e3,
            short / 1e3,
            long / 1e3,
            100.0 * long / short,
            100.0 * long.min(short) / untuned
        );
        all.push(Reached { untuned, short, long });
    }
    page.push('\n');
    Ok(all)
}

/// Tunes a model and adds to the records. Returns the program's report.
fn tune(program: &Path, model: &Path, seconds: f64, records: &Path) -> Result<Value> {
    let time = format!("{:.2}s", seconds.max(0.5));
    let mut command = pinned(program);
    command.arg("tune").arg(model).args(["--time", &time, "--trials", "100000", "--quiet", "--format", "json"]);
    let output = command.arg("--records").arg(records).output().context("the program cannot be run")?;
    if !output.status.success() {
        bail!("{} cannot be tuned: {}", model.display(), String::from_utf8_lossy(&output.stderr));
    }
    serde_json::from_slice(&output.stdout).context("the report of tuning")
}

/// Compares kernels with TVM's. Returns the smallest ratio of TVM's time to ours.
fn tvm(program: &Path, options: &Options, folder: &Path, page: &mut String) -> Result<Option<f64>> {
    page.push_str("## Beside TVM\n\n");
    let Some(tvm) = Tvm::find(options, &options.installed().join("sonar-convolutions"))? else {
        page.push_str("TVM is not installed.\n\n");
        return Ok(None);
    };
    let trials = if options.quick { 16 } else { options.tvm_trials };
    let count = if options.quick { 1 } else { options.convolutions };
    let _ = writeln!(
        page,
        "Convolutions of NAS-Bench-201 and ResNet-18 with bias and ReLU: MetaSchedule (LLVM, {trials} trials) and this program, which has a tenth of the \
         time that TVM took. TVM's time is that of its fastest kernel as it measured it; ours is that of the kernel in the end, \
         which was timed in turns with others.\n\n| convolution | TVM, s | TVM, µs | ours, s | ours, µs | ratio |\n|---|---:|---:|---:|---:|---:|"
    );
    let mut worst: Option<f64> = None;
    for [side, inputs, outputs, window, stride] in CONVOLUTIONS.into_iter().take(count) {
        let convolution = Convolution { side, inputs, outputs, window, stride };
        let name = convolution.name();
        eprintln!("TVM tunes {name}");
        let model = tvm.model(&convolution)?;
        let theirs = tvm.tune(&convolution, trials)?;
        let seconds = theirs.seconds / 10.0;
        let report = tune(program, &model, seconds, &folder.join(format!("{name}.db")))?;
        let kernels = report["kernels"].as_array().context("the report lists kernels")?;
        // The other kernels convert images from planes to pixels.
        let contraction = kernels.iter().filter(|kernel| kernel["gflops"].as_f64() > Some(0.0));
        let ours = contraction.filter_map(|kernel| kernel["best_us"].as_f64()).fold(0.0, f64::max);
        if ours <= 0.0 {
            bail!("{name} was not timed");
        }
        let ratio = theirs.microseconds / ours;
        worst = Some(worst.map_or(ratio, |worst| worst.min(ratio)));
        let _ = writeln!(
            page,
            "| {name} | {:.0} | {:.1} | {seconds:.1} | {ours:.1} | {ratio:.2} |",
            theirs.seconds, theirs.microseconds
        );
    }
    page.push('\n');
    Ok(worst)
}

/// The share of comparisons of a kernel with itself that report a difference.
fn same_against_same(program: &Path, options: &Options, page: &mut String) -> Result<Option<f64>> {
    let pairs = if options.quick { "8" } else { "50" };
    let output =
        pinned(program).args(["doctor", "--aa", pairs, "--format", "json"]).output().context("`doctor` cannot be run")?;
    if !output.status.success() {
        bail!("`doctor --aa` failed: {}", String::from_utf8_lossy(&output.stderr));
    }
    let findings: Value = serde_json::from_slice(&output.stdout).context("`doctor` does not answer in JSON")?;
    let share = findings["aa_false"].as_f64().context("no share of false differences")?;
    let _ = writeln!(
        page,
        "## The same kernel twice\n\nOf {pairs} kernels entered under two names, {:.0}% were called different.",
        100.0 * share
    );
    Ok(Some(share))
}
