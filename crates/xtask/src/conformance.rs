//! Conformance to ONNX: runs the node tests of the `onnx` package, each in its own process, on the interpreter and compiled for
//! this machine. Writes the results to the page `docs/onnx-conformance.md`.

use crate::{example, machine, root};
use anyhow::{Context, Result, bail};
use clap::Args;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The package with the tests.
const PACKAGE: &str = "onnx==1.17.0";

/// The operators that the importer should support.
const OPERATORS: &[&str] = &[
    "Conv",
    "ConvTranspose",
    "Gemm",
    "MatMul",
    "BatchNormalization",
    "Relu",
    "LeakyRelu",
    "PRelu",
    "Clip",
    "Sigmoid",
    "HardSigmoid",
    "HardSwish",
    "Tanh",
    "Gelu",
    "Elu",
    "Erf",
    "Exp",
    "Log",
    "Sqrt",
    "Pow",
    "Abs",
    "Neg",
    "Reciprocal",
    "Add",
    "Sub",
    "Mul",
    "Div",
    "Min",
    "Max",
    "Sum",
    "MaxPool",
    "AveragePool",
    "GlobalAveragePool",
    "GlobalMaxPool",
    "Concat",
    "Split",
    "Slice",
    "Reshape",
    "Flatten",
    "Squeeze",
    "Unsqueeze",
    "Transpose",
    "Expand",
    "Pad",
    "Gather",
    "Resize",
    "Softmax",
    "LogSoftmax",
    "LayerNormalization",
    "InstanceNormalization",
    "ReduceMean",
    "ReduceSum",
    "ReduceMax",
    "ReduceMin",
    "Cast",
    "Shape",
    "Constant",
    "ConstantOfShape",
    "Identity",
    "Dropout",
    "Where",
    "Equal",
    "Range",
    "LSTM",
    "GRU",
];

/// Options of the command.
#[derive(Args)]
pub struct Options {
    /// Where to install the package [default: ~/.cache/sonar/onnx]
    #[arg(long, env = "SONAR_ONNX_CACHE")]
    cache: Option<PathBuf>,
    /// The Python that creates the environment for the package
    #[arg(long, default_value = "python3")]
    python: PathBuf,
    /// Run only tests with this text in their names; the page is not changed
    #[arg(long)]
    only: Option<String>,
}

/// The result of one test, as the example `onnx_node` prints it.
#[derive(Deserialize)]
struct Outcome {
    op: Vec<String>,
    float: bool,
    interpreter: String,
    compiled: String,
    bound: u8,
    reason: Option<String>,
}

/// Runs the command.
pub fn run(options: &Options) -> Result<()> {
    let tests = tests(options)?;
    let runner = example("onnx_node")?;
    let mut outcomes = BTreeMap::new();
    for folder in tests {
        let name = folder.file_name().context("a test without a name")?.to_string_lossy().into_owned();
        let wanted = options.only.as_ref().is_none_or(|only| name.contains(only));
        // The package repeats some tests with the operator expanded to its function.
        if !wanted || name.contains("_expanded") {
            continue;
        }
        let outcome = outcome(&runner, &folder, &name)?;
        if let [op] = &outcome.op[..]
            && OPERATORS.contains(&op.as_str())
        {
            if outcome.compiled != "passed" {
                eprintln!("{name}: {} ({})", outcome.compiled, outcome.reason.as_deref().unwrap_or_default());
            }
            outcomes.insert(name, outcome);
        }
    }
    let table = Table(outcomes);
    if table.0.is_empty() {
        bail!("there are no such tests");
    }
    if options.only.is_none() {
        let path = root().join("docs/onnx-conformance.md");
        std::fs::write(&path, table.page()).with_context(|| format!("cannot write {}", path.display()))?;
    }
    let (all, passed) = (table.count(|_| true), table.count(|o| o.compiled == "passed"));
    let (refused, wrong) = (table.count(|o| o.compiled == "refused"), table.count(|o| o.wrong()));
    let (float, float_passed) = (table.count(|o| o.float), table.count(|o| o.float && o.compiled == "passed"));
    let share = 100.0 * float_passed as f64 / float.max(1) as f64;
    println!(
        "onnx-conformance: tests={all} passed={passed} refused={refused} wrong={wrong} float={float} float_passed={share:.1}%"
    );
    if wrong > 0 {
        bail!("{wrong} tests are wrong");
    }
    Ok(())
}

/// The folders of the package's node tests. Installs the package if it is missing.
fn tests(options: &Options) -> Result<Vec<PathBuf>> {
    let home = std::env::var_os("HOME").map(PathBuf::from).unwrap_or_default();
    let cache = options.cache.clone().unwrap_or_else(|| home.join(".cache/sonar/onnx"));
    let python = cache.join("venv/bin/python");
    let locate = || {
        let script = "import onnx, os; print(onnx.__version__); print(os.path.dirname(onnx.__file__))";
        let output = Command::new(&python).args(["-c", script]).output().ok().filter(|o| o.status.success())?;
        let text = String::from_utf8(output.stdout).ok()?;
        let (version, path) = text.trim().split_once('\n')?;
        PACKAGE.ends_with(version).then(|| Path::new(path).join("backend/test/data/node"))
    };
    let folder = match locate() {
        Some(folder) => folder,
        None => {
            std::fs::create_dir_all(&cache).with_context(|| format!("cannot make {}", cache.display()))?;
            finish(Command::new(&options.python).args(["-m", "venv"]).arg(cache.join("venv")))?;
            finish(Command::new(&python).args(["-m", "pip", "install", "--quiet", PACKAGE]))?;
            locate().context("the package was installed, but is not found")?
        }
    };
    let entries = std::fs::read_dir(&folder).with_context(|| format!("cannot read {}", folder.display()))?;
    let mut folders: Vec<PathBuf> = entries.map(|e| Ok(e?.path())).collect::<Result<_>>()?;
    folders.sort();
    Ok(folders)
}

fn finish(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("{:?} cannot be run", command.get_program()))?;
    if !status.success() {
        bail!("{command:?} failed");
    }
    Ok(())
}

/// Runs one test. A crash of the runner counts as a wrong result.
fn outcome(runner: &Path, folder: &Path, name: &str) -> Result<Outcome> {
    let output = Command::new(runner).arg(folder).output().context("the runner cannot be run")?;
    if let Ok(outcome) = serde_json::from_slice(&output.stdout)
        && output.status.success()
    {
        return Ok(outcome);
    }
    let said = String::from_utf8_lossy(&output.stderr).trim().to_string();
    if output.status.code() == Some(1) && !said.contains("panicked") {
        // The model itself cannot be read: some inputs and outputs are not tensors.
        let reason = Some(said.lines().next().unwrap_or_default().to_string());
        let refused = || "refused".to_string();
        return Ok(Outcome { op: vec![], float: false, interpreter: refused(), compiled: refused(), bound: 0, reason });
    }
    bail!("{name} crashed: {said}");
}

impl Outcome {
    fn wrong(&self) -> bool {
        self.interpreter == "wrong" || self.compiled == "wrong"
    }
}

struct Table(BTreeMap<String, Outcome>);

impl Table {
    fn count(&self, which: impl Fn(&Outcome) -> bool) -> usize {
        self.0.values().filter(|o| which(o)).count()
    }

    fn page(&self) -> String {
        let mut page = format!(
            "# Conformance to ONNX\n\nThe single-node tests of the Python package `{PACKAGE}` for the operators that Sonar imports, on the \
             interpreter and compiled for this machine: `cargo xtask onnx-conformance` on {}.\n\n\
             A test passes if every element of every output is within `1e-7 + 1e-3 · |expected|` of the expected one, the bounds of \
             ONNX's own runner (`1/128` instead of `1e-3` for outputs of type `bfloat16`, to which Sonar does not round). A test is a float one if its outputs are floating-point tensors. Inputs of integers and truth values \
             become constants of the model, since shapes and indices are fixed at import; *constants* are tests in which further inputs \
             had to.\n\n",
            machine()
        );
        page.push_str("| operator | tests | float | interpreter | compiled | float, compiled | constants | refused | wrong |\n");
        page.push_str("|---|---:|---:|---:|---:|---:|---:|---:|---:|\n");
        let mut row = |name: &str, of: &dyn Fn(&Outcome) -> bool| {
            let count = |which: &dyn Fn(&Outcome) -> bool| self.count(|o| of(o) && which(o));
            let compiled = |o: &Outcome| o.compiled == "passed";
            let _ = writeln!(
                page,
                "| {name} | {} | {} | {} | {} | {} | {} | {} | {} |",
                count(&|_| true),
                count(&|o| o.float),
                count(&|o| o.interpreter == "passed"),
                count(&compiled),
                count(&|o| o.float && compiled(o)),
                count(&|o| o.bound > 0),
                count(&|o| o.compiled == "refused"),
                count(&Outcome::wrong),
            );
        };
        let mut names = OPERATORS.to_vec();
        names.sort_unstable();
        for op in names {
            row(op, &|o| o.op[0] == op);
        }
        row("**all**", &|_| true);
        page.push_str("\n## What does not pass\n\n| test | result | reason |\n|---|---|---|\n");
        for (name, outcome) in self.0.iter().filter(|(_, o)| o.compiled != "passed" || o.wrong()) {
            let result = if outcome.wrong() { "wrong" } else { "refused" };
            let _ = writeln!(page, "| {name} | {result} | {} |", outcome.reason.as_deref().unwrap_or_default());
        }
        page
    }
}
