//! From a path and an architecture on the command line to a graph.

use crate::args::ModelArgs;
use crate::exit::{Exit, Failure, OrExit, Report, fail};
use anyhow::Context;
use sonar_ir::Graph;
use sonar_ir::space::{Assignment, Space};
use std::path::Path;

/// The largest description that is read, in bytes.
const MAX_TEXT: u64 = 64 << 20;

/// Reads a text file, refusing absurd ones.
pub fn text(path: &Path) -> Result<String, Failure> {
    let size = std::fs::metadata(path).with_context(|| format!("cannot read {}", path.display())).or_exit(Exit::BadInput)?.len();
    if size > MAX_TEXT {
        return Err(fail(Exit::BadInput, format!("{} has {size} bytes; a description has at most {MAX_TEXT}", path.display())));
    }
    std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display())).or_exit(Exit::BadInput)
}

/// A failure that shows the place in the source.
pub fn source(error: sonar_ir::text::Error, path: &Path) -> Failure {
    Failure {
        exit: Exit::BadInput,
        report: Report::Source(Box::new(miette::Report::new(error.in_file(path.display().to_string())))),
    }
}

/// `NAME=VALUE` pairs of `--set`.
pub fn settings(set: &[String]) -> Result<Vec<(&str, &str)>, Failure> {
    let pair = |s: &String| format!("`--set {s}`: expected NAME=VALUE, such as c=16");
    set.iter().map(|s| s.split_once('=').ok_or_else(|| fail(Exit::Usage, pair(s)))).collect()
}

/// The space that a file describes; a plain model is a space without decisions.
pub fn space(path: &Path, set: &[String]) -> Result<Space, Failure> {
    let text = text(path)?;
    Space::parse_with(&text, &settings(set)?).map_err(|e| source(e, path))
}

/// The graph that the arguments name.
pub fn graph(args: &ModelArgs) -> Result<Graph, Failure> {
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
