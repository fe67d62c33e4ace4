//! Files for using a model in programs without Sonar: objects, libraries, a header, a manifest.

mod header;
mod link;
mod manifest;
pub mod names;

use crate::args::Emit;
use crate::exit::{Exit, Failure, OrExit, fail};
use crate::terminal::output::save;
use sonar_codegen::{ObjectFile, Target, archive};
use sonar_ir::{Graph, NodeId};
use sonar_tune::Planned;
use std::path::{Path, PathBuf};

/// The interface of a model in an object file.
pub struct Interface<'a> {
    /// The prefix of its function names.
    pub name: String,
    /// The target machine.
    pub target: &'a Target,
    /// The planned model.
    pub planned: &'a Planned,
    /// The file.
    pub object: &'a ObjectFile,
    /// The inputs, in the order of their pointers.
    pub inputs: Vec<Port>,
    /// The outputs, in the order of their pointers.
    pub outputs: Vec<Port>,
}

/// An input or output tensor: 32-bit floating point, row-major.
pub struct Port {
    /// Its name, if it has one.
    pub name: Option<String>,
    /// Its shape.
    pub shape: Vec<usize>,
}

impl<'a> Interface<'a> {
    /// The interface of an object.
    pub fn new(name: String, target: &'a Target, planned: &'a Planned, object: &'a ObjectFile) -> Self {
        let graph = &planned.lowered.graph;
        let (inputs, outputs) = (ports(graph, &graph.inputs()), ports(graph, &graph.outputs));
        Interface { name, target, planned, object, inputs, outputs }
    }
}

fn ports(graph: &Graph, ids: &[NodeId]) -> Vec<Port> {
    let port = |&id| Port { name: graph.node(id).name.clone(), shape: graph.ty(id).extents().unwrap_or_default() };
    ids.iter().map(port).collect()
}

impl Port {
    /// Number of elements.
    pub fn elements(&self) -> usize {
        self.shape.iter().product()
    }
}

/// Writes the requested files and returns their paths.
pub fn write(interface: &Interface<'_>, kinds: &[Emit], stem: &Path) -> Result<Vec<PathBuf>, Failure> {
    let file_name = names::file_name(stem)?;
    if let Some(folder) = stem.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        std::fs::create_dir_all(folder).map_err(|e| fail(Exit::BadInput, format!("cannot create {}: {e}", folder.display())))?;
    }
    let mut files = Vec::new();
    for (i, &kind) in kinds.iter().enumerate() {
        if kinds[..i].contains(&kind) {
            continue;
        }
        let path = stem.with_file_name(format!("{file_name}.{}", ending(kind)));
        match kind {
            Emit::Object => save(&path, &interface.object.bytes)?,
            Emit::StaticLib => {
                let member = format!("{file_name}.{}", ending(Emit::Object));
                save(&path, &archive(&member, &interface.object.bytes).or_exit(Exit::Internal)?)?;
            }
            Emit::SharedLib => link::shared_library(interface, &path)?,
            Emit::Header => save(&path, header::text(interface).as_bytes())?,
            Emit::Manifest => {
                let text = serde_json::to_string_pretty(&manifest::document(interface)).or_exit(Exit::Internal)?;
                save(&path, format!("{text}\n").as_bytes())?;
            }
        }
        files.push(path);
    }
    Ok(files)
}

/// The file extension of this kind.
fn ending(kind: Emit) -> &'static str {
    match kind {
        Emit::Object => "o",
        Emit::StaticLib => "a",
        Emit::SharedLib => "so",
        Emit::Header => "h",
        Emit::Manifest => "json",
    }
}
