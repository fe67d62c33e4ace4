//! The files that are tested. Their comments say how: see `directive.rs`.

use super::directive::Directive;
use sonar_ir::Graph;
use sonar_ir::space::{Assignment, Space};
use std::path::{Path, PathBuf};

/// A file that is tested.
pub struct Example {
    /// Where it is.
    pub path: PathBuf,
    /// How it is tested.
    pub directive: Directive,
    /// What it describes, with the settings of its directive.
    pub space: Space,
}

/// The folders of `ir-examples/`.
pub const FOLDERS: [&str; 4] = ["ir-examples/kernels", "ir-examples/models", "ir-examples/rewrites", "ir-examples/spaces"];

/// The examples in a folder of the repository, in the order of their names.
pub fn examples(folder: &str) -> Vec<Example> {
    files(folder).into_iter().map(Example::read).collect()
}

/// The files with graphs, spaces or rules in a folder of the repository, in the order of their names.
pub fn files(folder: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(folder);
    let entries = std::fs::read_dir(&folder).expect("the folder is part of the repository");
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.expect("the folder can be read").path()).collect();
    files.retain(|path| path.extension().is_some_and(|e| e == "sonar" || e == "rules"));
    files.sort();
    assert!(!files.is_empty(), "{} holds no example", folder.display());
    files
}

/// The one candidate of a model; of a space, the baseline or else the first.
pub fn candidate(space: &Space) -> Assignment {
    space.baseline().cloned().or_else(|| space.nth(0)).unwrap_or_default()
}

impl Example {
    /// Reads a file, which must be right.
    fn read(path: PathBuf) -> Example {
        let text = std::fs::read_to_string(&path).expect("examples are text");
        let fail = |what: String| -> ! { panic!("{}: {what}", path.display()) };
        let directive = Directive::parse(&text).unwrap_or_else(|e| fail(e));
        let space = Space::parse_with(&text, &directive.settings()).unwrap_or_else(|e| fail(e.to_string()));
        Example { path, directive, space }
    }

    /// The graph of a model; of a space, that of its baseline or else its first candidate.
    pub fn graph(&self) -> Graph {
        self.space.instantiate(&candidate(&self.space)).unwrap_or_else(|e| panic!("{}: {e}", self.path.display()))
    }

    /// The arguments of the program that name that graph.
    pub fn arguments(&self) -> Vec<String> {
        let mut args = vec![self.path.to_string_lossy().into_owned()];
        if !self.space.decisions().is_empty() {
            args.push(format!("--arch={}", self.space.show(&candidate(&self.space))));
        }
        args.extend(self.directive.settings.iter().map(|(name, value)| format!("--set={name}={value}")));
        args
    }
}
