//! From a path, an architecture and shapes on the command line to a graph.

use crate::args::{ModelArgs, TargetArgs};
use crate::exit::{Exit, Failure, OrExit, Report, fail};
use sonar_files::Seems;
use sonar_ir::space::{Assignment, Space};
use sonar_ir::{Graph, Values};
use sonar_onnx::{ImportError, ImportOptions, Imported};
use sonar_rewrite::{RULES, Rule, RuleError};
use sonar_train::TrainConfig;
use sonar_train::step::training_step;
use sonar_tune::RewriteLevel;
use std::path::Path;
use std::time::Instant;

/// The largest description that is accepted, in bytes.
const MAX_TEXT: u64 = 64 << 20;

/// A model from a file.
pub struct Described {
    /// The graph.
    pub graph: Graph,
    /// The values of its parameters, if the file contains them, as ONNX files do.
    pub weights: Option<Values>,
    /// The input names of an ONNX file.
    pub inputs: Option<Vec<String>>,
    /// The output names of an ONNX file.
    pub outputs: Option<Vec<String>>,
    /// Seconds of reading it.
    pub seconds: f64,
}

/// The model of the arguments, or its training step. `batch` replaces a symbolic batch of an ONNX file or of a step. In a `.sonar`
/// file the batch stays symbolic.
pub fn model(args: &ModelArgs, batch: usize) -> Result<Described, Failure> {
    let start = Instant::now();
    let mut described = if is_onnx(&args.model)? {
        let Imported { graph, weights, inputs, outputs } = onnx(args, batch)?;
        Described { graph, weights: Some(weights), inputs: Some(inputs), outputs: Some(outputs), seconds: 0.0 }
    } else {
        Described { graph: graph(args)?, weights: None, inputs: None, outputs: None, seconds: 0.0 }
    };
    if args.train {
        let step = training_step(&described.graph, batch, &TrainConfig::default().optimizer).or_exit(Exit::BadInput)?;
        described = Described { graph: step.graph, weights: None, inputs: None, outputs: None, seconds: 0.0 };
    }
    described.seconds = start.elapsed().as_secs_f64();
    Ok(described)
}

/// Whether a file is an ONNX file, by its name or by its first byte. That byte introduces the format version and occurs in no
/// text.
pub fn is_onnx(path: &Path) -> Result<bool, Failure> {
    const VERSION_FIELD: u8 = 0x08;
    if path.extension().is_some_and(|e| e.eq_ignore_ascii_case("onnx")) {
        return Ok(true);
    }
    // Something else than a file, such as a pipe, can be read only once.
    if !path.is_file() {
        return Ok(false);
    }
    let first = sonar_files::read_head(path, 1).or_exit(Exit::BadInput)?;
    Ok(first == [VERSION_FIELD])
}

/// Imports an ONNX file. Options that do not apply to it are refused.
pub fn onnx(args: &ModelArgs, batch: usize) -> Result<Imported, Failure> {
    if args.arch.is_some() || !args.set.is_empty() {
        return Err(fail(Exit::Usage, "--arch and --set choose in a space; an ONNX file is one model"));
    }
    let path = args.model.display();
    let options = ImportOptions { shapes: args.shapes.iter().cloned().collect(), batch };
    let imported = sonar_onnx::import(&args.model, &options).map_err(|error| match error {
        // This error contains the file name.
        ImportError::Read(error) => fail(Exit::BadInput, error),
        error => fail(Exit::BadInput, format!("{path}: {error}")),
    })?;
    let batches = |id| imported.graph.ty(id).extents().is_some_and(|shape| shape.first() == Some(&batch));
    if batch != 1 && !imported.graph.inputs().into_iter().any(batches) {
        return Err(fail(Exit::BadInput, format!("--batch {batch} means nothing here: {path} fixes the shapes of its inputs")));
    }
    Ok(imported)
}

/// Reads a text file. The error for a file that is not text guesses its format.
pub fn text(path: &Path) -> Result<String, Failure> {
    let bytes = sonar_files::read(path, MAX_TEXT).or_exit(Exit::BadInput)?;
    match sonar_files::seems(&bytes, bytes.len() as u64) {
        None | Some(Seems::Sonar | Seems::LinkText | Seems::Empty) => {}
        Some(seems) => return Err(fail(Exit::BadInput, format!("{}: {seems}", path.display()))),
    }
    String::from_utf8(bytes).map_err(|_| fail(Exit::BadInput, format!("{} is not a text in UTF-8", path.display())))
}

/// An error that shows the position in the source.
pub fn source(error: sonar_ir::text::Error, path: &Path) -> Failure {
    Failure {
        exit: Exit::BadInput,
        report: Report::Source(Box::new(miette::Report::new(error.in_file(path.display().to_string())))),
    }
}

/// The built-in rewrite rules and those of the file of `--rules`. Each rule of the file is checked.
pub fn rules(options: &TargetArgs) -> Result<Vec<Rule>, Failure> {
    let mut rules = RULES.to_vec();
    if let Some(path) = &options.rules {
        if options.level() != RewriteLevel::Full {
            return Err(fail(Exit::Usage, "--rules is of use only where the graph is rewritten by all rules: --rewrite full"));
        }
        let stated = sonar_rewrite::rules::load(&text(path)?).map_err(|error| match error {
            RuleError::Syntax(error) => source(error, path),
            error => fail(Exit::BadInput, format!("{}: {error}", path.display())),
        })?;
        rules.extend(stated);
    }
    Ok(rules)
}

/// The `NAME=VALUE` pairs of `--set`.
pub fn settings(set: &[String]) -> Result<Vec<(&str, &str)>, Failure> {
    let pair = |s: &String| format!("`--set {s}`: expected NAME=VALUE, such as c=16");
    set.iter().map(|s| s.split_once('=').ok_or_else(|| fail(Exit::Usage, pair(s)))).collect()
}

/// The space in a file. A plain model is a space without decisions.
pub fn space(path: &Path, set: &[String]) -> Result<Space, Failure> {
    let text = text(path)?;
    if let Some(found) = sonar_files::seems(text.as_bytes(), text.len() as u64).filter(|found| *found != Seems::Sonar) {
        return Err(fail(Exit::BadInput, format!("{} is not a description; {found}", path.display())));
    }
    Space::parse_with(&text, &settings(set)?).map_err(|e| source(e, path))
}

/// The graph of the arguments in a `.sonar` file.
pub fn graph(args: &ModelArgs) -> Result<Graph, Failure> {
    if let Some((name, _)) = args.shapes.first() {
        return Err(fail(Exit::Usage, format!("--shape {name}: shapes are given to ONNX files; `.sonar` files have --batch")));
    }
    let space = space(&args.model, &args.set)?;
    let assignment = assignment(&space, args.arch.as_deref())?;
    space.instantiate(&assignment).map_err(|e| source(e, &args.model))
}

/// The architecture that `--arch` names.
pub fn assignment(space: &Space, arch: Option<&str>) -> Result<Assignment, Failure> {
    match arch {
        None if space.decisions().is_empty() => Ok(Assignment(Vec::new())),
        None => {
            let names: Vec<String> =
                space.decisions().iter().map(|d| format!("{}={}", d.name, d.choices.first().map_or("", |c| c))).collect();
            Err(fail(
                Exit::Usage,
                format!("this is a search space: choose an architecture with --arch baseline, or --arch \"{}\"", names.join(" ")),
            ))
        }
        Some("baseline") => {
            space.baseline().cloned().ok_or_else(|| fail(Exit::BadInput, "this space names no baseline architecture"))
        }
        Some(text) => space.parse_assignment(text).map_err(|e| Failure {
            exit: Exit::Usage,
            report: Report::Source(Box::new(miette::Report::new(e.in_file("--arch")))),
        }),
    }
}
