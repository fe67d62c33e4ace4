//! Every claim has a command: `cargo xtask experiment NAME [--quick]` measures what the documentation claims, writes
//! `docs/experiments/NAME.md`, and prints one last line `NAME: key=value …`.

mod conformance;
mod figures;
mod inference;
mod kernels;
mod peers;
mod rewriting;
mod serve;
mod tuning;
mod tvm;

use anyhow::{Context, Result, bail};
use clap::{Args, Parser, Subcommand};
use std::path::{Path, PathBuf};
use std::process::Command;

#[derive(Parser)]
#[command(name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Measure what the documentation claims
    #[command(subcommand)]
    Experiment(Experiment),
    /// Run the node tests of the `onnx` package, and write docs/onnx-conformance.md
    OnnxConformance(conformance::Options),
}

#[derive(Subcommand)]
enum Experiment {
    /// Latency of inference, compared with other engines
    Inference(Options),
    /// Speed-up by equality saturation, and the contribution of each family of rules
    Rewriting(Options),
    /// How fast tuning finds good kernels, compared with TVM, and whether its measurements are reliable
    Tuning(Options),
}

/// Options of every experiment.
#[derive(Args)]
pub struct Options {
    /// Finish within a minute, with fewer samples
    #[arg(long)]
    pub quick: bool,
    /// Folder with the benchmark harness of the other engines
    #[arg(long, default_value = "../shared/peers")]
    pub peers: PathBuf,
    /// Where the engines and their models are installed [default: ~/.cache/sonar-peers]
    #[arg(long, env = "PEERS_DIR")]
    pub installed: Option<PathBuf>,
    /// Only these models, separated by commas
    #[arg(long, value_delimiter = ',')]
    pub models: Vec<String>,
    /// Seconds of tuning for each model and number of threads
    #[arg(long, default_value_t = 60)]
    pub tune: u64,
    /// Seconds of tuning after which no more gain is expected
    #[arg(long, default_value_t = 1200)]
    pub long: u64,
    /// Cells of NAS-Bench-201 to sample
    #[arg(long, default_value_t = 500)]
    pub cells: usize,
    /// Trials of TVM for each convolution
    #[arg(long, default_value_t = 64)]
    pub tvm_trials: usize,
    /// Most convolutions that are compared with TVM
    #[arg(long, default_value_t = usize::MAX, hide_default_value = true)]
    pub convolutions: usize,
}

impl Options {
    /// Where the other engines are installed.
    pub fn installed(&self) -> PathBuf {
        let home = std::env::var_os("HOME").map(PathBuf::from).unwrap_or_default();
        self.installed.clone().unwrap_or_else(|| home.join(".cache/sonar-peers"))
    }
}

fn main() -> Result<()> {
    match Cli::parse().task {
        Task::Experiment(Experiment::Inference(options)) => inference::run(&options),
        Task::Experiment(Experiment::Rewriting(options)) => rewriting::run(&options),
        Task::Experiment(Experiment::Tuning(options)) => tuning::run(&options),
        Task::OnnxConformance(options) => conformance::run(&options),
    }
}

/// The root of the workspace.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Builds the program in release mode and returns its path.
pub fn program() -> Result<PathBuf> {
    build(&[], "sonar-compile")
}

/// Builds an example of the program's crate in release mode and returns its path.
pub fn example(name: &str) -> Result<PathBuf> {
    build(&["--example", name], &format!("examples/{name}"))
}

fn build(what: &[&str], file: &str) -> Result<PathBuf> {
    let status = Command::new(env!("CARGO"))
        .args(["build", "--release", "--quiet", "--package", "sonar-compile"])
        .args(what)
        .current_dir(root())
        .status()
        .context("cargo cannot be run")?;
    if !status.success() {
        bail!("the program does not build");
    }
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from);
    Ok(target.join("release").join(file))
}

/// Writes an experiment's page and prints its last line.
pub fn publish(name: &str, page: &str, keys: &[(&str, String)]) -> Result<()> {
    let folder = root().join("docs/experiments");
    std::fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let path = folder.join(format!("{name}.md"));
    std::fs::write(&path, page).with_context(|| format!("cannot write {}", path.display()))?;
    let keys: Vec<String> = keys.iter().map(|(key, value)| format!("{key}={value}")).collect();
    println!("{name}: {}", keys.join(" "));
    Ok(())
}

/// The processor name from the system.
pub fn machine() -> String {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let value = |key: &str| info.lines().find(|l| l.starts_with(key)).and_then(|l| Some(l.split_once(':')?.1.trim().to_string()));
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    format!("{}, {cores} cores", value("model name").unwrap_or_else(|| "unknown processor".to_string()))
}
