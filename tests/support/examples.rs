//! The files of `ir-examples/`, and how they are tested: as their directives say.
//!
//! A comment `// test: run KEY=VALUE …` at the head of a file gives `seed`, of weights, inputs and random candidates (0 if it is
//! left out), and `rtol`, the share of the largest output that compiled code may be off (1e-4). A comment
//! `// test: set NAME=VALUE …` gives parameters of the file other values, so that a network of full size is tested as a small one.

use sonar_ir::Graph;
use sonar_ir::space::{Assignment, Space};
use std::path::{Path, PathBuf};

/// How a file is tested.
#[derive(Clone, Debug, PartialEq)]
pub struct Directive {
    /// Of weights, inputs and random candidates.
    pub seed: u64,
    /// The share of the largest output that compiled code may be off.
    pub rtol: f64,
    /// Parameters of the file with the values that they have in tests.
    pub settings: Vec<(String, String)>,
}

/// A file that is tested.
pub struct Example {
    /// Where it is.
    pub path: PathBuf,
    /// How it is tested.
    pub directive: Directive,
    /// What it describes, with the settings of its directive.
    pub space: Space,
}

/// The files of a folder of `ir-examples/`, in the order of their names.
pub fn examples(folder: &str) -> Vec<Example> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../ir-examples").join(folder);
    let entries = std::fs::read_dir(&folder).expect("the folder is part of the repository");
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.expect("the folder can be read").path()).collect();
    files.retain(|path| path.extension().is_some_and(|e| e == "sonar"));
    files.sort();
    assert!(!files.is_empty(), "{} holds no example", folder.display());
    files.into_iter().map(Example::read).collect()
}

impl Directive {
    /// What the comments in `text` say, or what is wrong with them.
    pub fn parse(text: &str) -> Result<Directive, String> {
        let mut directive = Directive { seed: 0, rtol: 1e-4, settings: Vec::new() };
        for line in text.lines().filter_map(|line| line.strip_prefix("// test:")) {
            let wrong = |what: &str| format!("cannot understand `{what}` in a test directive");
            let mut words = line.split_whitespace();
            let kind = words.next().unwrap_or_default();
            for pair in words {
                match (kind, pair.split_once('=')) {
                    ("run", Some(("seed", value))) => directive.seed = value.parse().map_err(|_| wrong(pair))?,
                    ("run", Some(("rtol", value))) => directive.rtol = value.parse().map_err(|_| wrong(pair))?,
                    ("set", Some((name, value))) => directive.settings.push((name.to_string(), value.to_string())),
                    _ => return Err(wrong(pair)),
                }
            }
            if !["run", "set"].contains(&kind) {
                return Err(wrong(line));
            }
        }
        Ok(directive)
    }
}

impl Example {
    /// Reads a file, which must be right.
    fn read(path: PathBuf) -> Example {
        let text = std::fs::read_to_string(&path).expect("examples are text");
        let fail = |what: String| -> ! { panic!("{}: {what}", path.display()) };
        let directive = Directive::parse(&text).unwrap_or_else(|e| fail(e));
        let settings: Vec<_> = directive.settings.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let space = Space::parse_with(&text, &settings).unwrap_or_else(|e| fail(e.to_string()));
        Example { path, directive, space }
    }

    /// The one candidate of a model; of a space, the baseline or else the first.
    fn candidate(&self) -> Assignment {
        self.space.baseline().cloned().or_else(|| self.space.nth(0)).expect("there is a candidate")
    }

    /// The graph of a model; of a space, that of its baseline or else its first candidate.
    pub fn graph(&self) -> Graph {
        self.space.instantiate(&self.candidate()).unwrap_or_else(|e| panic!("{}: {e}", self.path.display()))
    }

    /// The arguments of the program that name that graph.
    pub fn arguments(&self) -> Vec<String> {
        let mut args = vec![self.path.to_string_lossy().into_owned()];
        if !self.space.decisions().is_empty() {
            args.push(format!("--arch={}", self.space.show(&self.candidate())));
        }
        args.extend(self.directive.settings.iter().map(|(name, value)| format!("--set={name}={value}")));
        args
    }
}
