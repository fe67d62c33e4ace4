//! The measured gain of equality saturation: the networks of the papers on TASO and Tensat, sampled cells of NAS-Bench-201, and
//! each family of rules left out in turn.

use crate::figures::{geometric_mean, mean, number};
use crate::peers::Harness;
use crate::serve::pinned;
use crate::{Options, example, machine, publish, root};
use anyhow::{Context, Result, bail};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::process::Stdio;

/// The networks with their keys and the speed-up over the unoptimised graph that the Tensat paper reports, if any, in per cent.
const MODELS: [(&str, Option<f64>); 12] = [
    ("nasrnn", Some(68.9)),
    ("bert_layer", Some(9.2)),
    ("bert", Some(9.2)),
    ("resnext50", Some(8.8)),
    ("nasnet_a", Some(7.3)),
    ("squeezenet", Some(24.5)),
    ("vgg19", Some(8.9)),
    ("inception_v3", Some(10.0)),
    ("nb201_conv3x3", None),
    ("nb201_resnet", None),
    ("nb201_conv1x1", None),
    ("nb201_poolskip", None),
];

/// Number of sampled cells with `--quick`.
const CELLS_QUICK: usize = 12;
/// Seed of the sample.
const SEED: usize = 2026;
/// A larger difference than this counts as a gain or a loss.
const NOISE: f64 = 0.01;

/// A line that the example `rewriting` prints.
#[derive(Deserialize)]
struct Line {
    name: String,
    nodes: usize,
    kernels: usize,
    us: f64,
    rewriting_s: f64,
    stop: String,
    ratios: BTreeMap<String, Variant>,
    ablation: BTreeMap<String, Ablated>,
}

#[derive(Deserialize)]
struct Variant {
    ratio: f64,
    kernels: usize,
}

#[derive(Deserialize)]
struct Ablated {
    ratio: f64,
    differs: bool,
}

/// Runs the experiment.
pub fn run(options: &Options) -> Result<()> {
    let program = example("rewriting")?;
    let folder = tempfile::tempdir().context("no temporary folder")?;
    let records = folder.path().join("records.db");
    let quick: &[&str] =
        if options.quick { &["--estimated", "--seconds", "0.02", "--only", "written_direct"] } else { &["--ablation"] };

    let files: Vec<(&str, Option<f64>)> =
        MODELS.into_iter().filter(|(name, _)| options.models.is_empty() || options.models.iter().any(|m| m == name)).collect();
    // The zoo contains graphs that were written by other programs.
    let zoo = Harness::find(options)?.map_or(Ok(Vec::new()), |harness| -> Result<Vec<String>> {
        let wanted = |name: &String| !options.quick && (options.models.is_empty() || options.models.contains(name));
        Ok(harness.models()?.keys().filter(|name| wanted(name)).map(|name| harness.file(name).display().to_string()).collect())
    })?;
    let paths = files.iter().map(|(name, _)| root().join(format!("ir-examples/models/{name}.sonar")).display().to_string());
    let small = if options.quick || !options.models.is_empty() { Vec::new() } else { small_graphs()? };
    let models: Vec<String> = std::iter::once("models".to_string()).chain(paths).chain(small).chain(zoo).collect();
    let models = measure(&program, &records, quick, &models)?;
    let count = if options.quick { CELLS_QUICK } else { options.cells };
    let quick: &[&str] = if options.quick {
        &["--estimated", "--seconds", "0.02", "--only", "unfused,fusion,unfused_direct,fusion_direct"]
    } else {
        &["--ablation", "--seconds", "0.06"]
    };
    let cells = measure(&program, &records, quick, &["cells".to_string(), count.to_string(), SEED.to_string()])?;
    // Cells whose output does not depend on the image take no time.
    let cells: Vec<Line> = cells.into_iter().filter(|line| line.us > 1.0).collect();

    let mean_of = |variant: &str| mean(cells.iter().filter_map(|line| Some(line.ratios.get(variant)?.ratio)));
    let mut keys: Vec<(&str, String)> = vec![
        ("unfused", number(mean_of("unfused_direct"), 3)),
        ("fusion", number(mean_of("fusion_direct"), 3)),
        ("unfused_same_kernels", number(mean_of("unfused"), 3)),
        ("fusion_same_kernels", number(mean_of("fusion"), 3)),
    ];
    for line in &models {
        let known = MODELS.iter().find(|(name, _)| *name == line.name).map(|(name, _)| *name);
        keys.extend(known.map(|name| (name, number(line.ratios.get("written_direct").map(|variant| variant.ratio), 3))));
    }
    let mut page = introduction(options);
    networks(&mut page, &models);
    sample(&mut page, &cells);
    if !options.quick {
        ablation(&mut page, &models, &cells);
    }
    publish("rewriting", &page, &keys)
}

/// Runs the example, pinned to one processor, and reads its output.
fn measure(program: &Path, records: &Path, options: &[&str], what: &[String]) -> Result<Vec<Line>> {
    let mut command = pinned(program);
    command.args(options).arg("--records").arg(records).args(what).stderr(Stdio::inherit());
    let output = command.output().context("the example cannot be run")?;
    if !output.status.success() {
        bail!("the example failed on {}", what.join(" "));
    }
    let text = String::from_utf8(output.stdout).context("the example's output")?;
    text.lines().map(|line| serde_json::from_str(line).with_context(|| format!("not a measurement: {line}"))).collect()
}

/// Small graphs, each for one family of rules.
fn small_graphs() -> Result<Vec<String>> {
    let entries = std::fs::read_dir(root().join("ir-examples/rewrites")).context("the examples of rewriting cannot be read")?;
    let mut files: Vec<String> = entries.map(|entry| Ok(entry?.path().display().to_string())).collect::<Result<_>>()?;
    files.sort();
    Ok(files)
}

fn introduction(options: &Options) -> String {
    let flags = if options.quick { " --quick" } else { "" };
    format!(
        "# What rewriting saves\n\nMeasured times, one thread, batch 1; a speed-up is the time of a variant over that of the graph that equality saturation \
         with all rules gives, both run in turns. Its kernels are timed where they could win, and the fastest of its extractions is \
         kept; fusion alone is one of them. No schedule is tuned.\n\n\
         - *one kernel per operator*: nothing is fused;\n\
         - *as written*: activations and other elementwise operators are fused into the kernels of their neighbours;\n\
         - *fusion alone*: constants are folded as well (batch normalisation into weights, biases, residuals);\n\
         - *direct* kernels compute every product of a convolution, and are what a graph as written has; *the same kernels* are those \
         that the rewritten graph may use, too: Winograd's filtering where it is estimated to be faster. Choosing another algorithm \
         is one of the rewrites, so the main figures compare with direct kernels.\n\n\
         Beside the networks stand small graphs (`ir-examples/rewrites`), which show what some families are for, and the model zoo \
         as other programs wrote it (`.onnx`).\n\n\
         `cargo xtask experiment rewriting{flags}` on {}.\n\n",
        machine()
    )
}

fn networks(page: &mut String, models: &[Line]) {
    page.push_str(
        "## Networks\n\nTensat's figures are its speed-ups over the unoptimised graph on a graphics card (Yang et al., 2021).\n\n\
         | network | nodes | µs | kernels, as written | kernels | over as written, direct | over as written, the same kernels | over fusion alone, the same kernels | \
         Tensat | rewriting, ms | saturation |\n|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---|\n",
    );
    for line in models {
        let tensat = MODELS.iter().find(|(name, _)| *name == line.name).and_then(|(_, tensat)| *tensat);
        let ratio = |variant: &str| line.ratios.get(variant).map_or("–".into(), |v| format!("{:.3}", v.ratio));
        let _ = writeln!(
            page,
            "| {} | {} | {:.1} | {} | {} | {} | {} | {} | {} | {:.0} | {} |",
            line.name,
            line.nodes,
            line.us,
            line.ratios.get("written").map_or("–".into(), |v| v.kernels.to_string()),
            line.kernels,
            ratio("written_direct"),
            ratio("written"),
            ratio("fusion"),
            tensat.map_or("–".into(), |percent| format!("{:.3}", 1.0 + percent / 100.0)),
            1e3 * line.rewriting_s,
            line.stop.to_lowercase(),
        );
    }
}

fn sample(page: &mut String, cells: &[Line]) {
    let _ = writeln!(
        page,
        "\n## {} cells of NAS-Bench-201\n\nSampled with seed {SEED}; those whose output does not depend on the image are left out.\n\n\
         | over | mean | geometric mean | smallest | median | largest | faster in | slower in |\n|---|---:|---:|---:|---:|---:|---:|---:|",
        cells.len()
    );
    let names = [
        ("unfused_direct", "one kernel per operator, direct"),
        ("written_direct", "as written, direct"),
        ("fusion_direct", "fusion alone, direct"),
        ("unfused", "one kernel per operator, the same kernels"),
        ("written", "as written, the same kernels"),
        ("fusion", "fusion alone, the same kernels"),
    ];
    for (variant, text) in names {
        let mut ratios: Vec<f64> = cells.iter().filter_map(|line| Some(line.ratios.get(variant)?.ratio)).collect();
        ratios.sort_by(f64::total_cmp);
        let (Some(least), Some(most)) = (ratios.first(), ratios.last()) else { continue };
        let share =
            |which: &dyn Fn(f64) -> bool| 100.0 * ratios.iter().filter(|r| which(**r)).count() as f64 / ratios.len() as f64;
        let _ = writeln!(
            page,
            "| {text} | {} | {} | {least:.2} | {:.2} | {most:.2} | {:.0}% | {:.0}% |",
            number(mean(ratios.iter().copied()), 3),
            number(geometric_mean(ratios.iter().copied()), 3),
            ratios[ratios.len() / 2],
            share(&|ratio| ratio > 1.0 + NOISE),
            share(&|ratio| ratio < 1.0 - NOISE),
        );
    }
    let slowest = cells.iter().map(|line| line.rewriting_s).fold(0.0, f64::max);
    let total: f64 = cells.iter().map(|line| line.rewriting_s).sum();
    let stopped = cells.iter().filter(|line| line.stop != "Saturated").count();
    let _ = writeln!(
        page,
        "\nFaster and slower: by more than {:.0}%. Rewriting a network, with lowering, takes {:.1} ms in the mean and {:.1} ms at most; {stopped} hit a limit.",
        100.0 * NOISE,
        1e3 * total / cells.len().max(1) as f64,
        1e3 * slowest
    );
}

fn ablation(page: &mut String, models: &[Line], cells: &[Line]) {
    page.push_str(
        "\n## Ablation\n\nEach family of rules left out in turn: the time without it over the time with it, of the cheapest extraction by estimated costs. \
         Only graphs in which one of its rules fires are counted, and means are over those that it changes.\n\n\
         | family | networks changed | mean | largest gain | largest loss | cells changed | mean | largest gain | largest loss |\n|---|---:|---:|---|---|---:|---:|---:|---:|\n",
    );
    let families: std::collections::BTreeSet<&String> =
        models.iter().chain(cells).flat_map(|line| line.ablation.keys()).collect();
    for family in families {
        let changed = |lines: &[Line]| -> Vec<(f64, String)> {
            let of = |line: &Line| Some((line.ablation.get(family).filter(|a| a.differs)?.ratio, line.name.clone()));
            let mut changed: Vec<(f64, String)> = lines.iter().filter_map(of).collect();
            changed.sort_by(|a, b| a.0.total_cmp(&b.0));
            changed
        };
        let (networks, cells) = (changed(models), changed(cells));
        let named = |entry: Option<&(f64, String)>| entry.map_or("–".into(), |(ratio, name)| format!("{ratio:.2} ({name})"));
        let plain = |entry: Option<&(f64, String)>| entry.map_or("–".into(), |(ratio, _)| format!("{ratio:.2}"));
        let _ = writeln!(
            page,
            "| {family} | {} | {} | {} | {} | {} | {} | {} | {} |",
            networks.len(),
            number(geometric_mean(networks.iter().map(|entry| entry.0)), 3),
            named(networks.last()),
            named(networks.first()),
            cells.len(),
            number(geometric_mean(cells.iter().map(|entry| entry.0)), 3),
            plain(cells.last()),
            plain(cells.first()),
        );
    }
}
