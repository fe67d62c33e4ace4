//! Keeps the house as `docs/ARCHITECTURE.md` describes it: which crate may know which, where `unsafe` may stand,
//! and what source files must have.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

/// For each crate, the other Sonar crates that it may depend on, tests included.
const MAY_USE: &[(&str, &[&str])] = &[
    ("sonar-ir", &[]),
    ("sonar-files", &[]),
    ("sonar-onnx", &["sonar-ir", "sonar-files"]),
    ("sonar-rewrite", &["sonar-ir"]),
    ("sonar-schedule", &["sonar-ir"]),
    ("sonar-codegen", &["sonar-ir"]),
    ("sonar-measure", &["sonar-ir", "sonar-codegen"]),
    ("sonar-train", &["sonar-ir", "sonar-files"]),
    ("sonar-tune", &["sonar-ir", "sonar-rewrite", "sonar-schedule", "sonar-codegen", "sonar-measure", "sonar-train"]),
    ("sonar-nas", &["sonar-ir", "sonar-files", "sonar-rewrite", "sonar-tune", "sonar-train", "sonar-measure"]),
    ("workspace-hack", &[]),
    ("xtask", &[]),
];

/// The crates that may use a third-party crate which belongs to one layer.
const OWNERS: &[(&str, &[&str])] = &[
    ("egg", &["sonar-rewrite"]),
    ("cranelift-", &["sonar-codegen"]),
    ("iced-x86", &["sonar-codegen"]),
    ("ar_archive_writer", &["sonar-codegen"]),
    ("prost", &["sonar-onnx"]),
    ("zip", &["sonar-files"]),
    ("safetensors", &["sonar-files"]),
    ("clap", &["sonar-compile", "xtask"]),
    ("anyhow", &["sonar-compile", "xtask"]),
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().expect("the workspace root exists")
}

/// Names of the dependencies in a crate's manifest, development ones included.
fn dependencies(manifest: &str) -> BTreeSet<String> {
    let mut inside = false;
    let mut names = BTreeSet::new();
    for line in manifest.lines() {
        if line.starts_with('[') {
            inside = line.contains("dependencies");
        } else if inside && let Some((name, _)) = line.split_once(['.', ' ', '=']) {
            names.insert(name.trim().to_string());
        }
    }
    names
}

fn manifests() -> BTreeMap<String, BTreeSet<String>> {
    let crates = std::fs::read_dir(root().join("crates")).expect("crates/ can be read");
    crates
        .map(|entry| {
            let path = entry.expect("an entry of crates/").path();
            let name = path.file_name().expect("a folder name").to_string_lossy().into_owned();
            let text = std::fs::read_to_string(path.join("Cargo.toml")).expect("a manifest");
            (name, dependencies(&text))
        })
        .collect()
}

/// Every Rust source file below a folder.
fn sources(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).expect("a readable folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.push(path);
        }
    }
}

#[test]
fn crates_know_only_whom_they_may() {
    for (name, dependencies) in manifests() {
        if name == "sonar-compile" {
            continue;
        }
        let allowed = MAY_USE.iter().find(|(n, _)| *n == name).unwrap_or_else(|| panic!("{name} is not in the table")).1;
        for dependency in dependencies.iter().filter(|d| d.starts_with("sonar-")) {
            assert!(allowed.contains(&dependency.as_str()), "{name} may not use {dependency}");
        }
    }
}

#[test]
fn each_foreign_library_has_one_home() {
    // The crate that only names features uses none of what it names.
    for (name, dependencies) in manifests().into_iter().filter(|(name, _)| name != "workspace-hack") {
        for dependency in dependencies {
            for (prefix, owners) in OWNERS {
                if dependency.starts_with(prefix) && dependency != "clap_complete" {
                    assert!(owners.contains(&name.as_str()), "{name} may not use {dependency}");
                }
            }
        }
    }
}

#[test]
fn unsafe_stands_only_in_codegen() {
    let mut files = Vec::new();
    sources(&root().join("crates"), &mut files);
    for file in files.iter().filter(|f| !f.components().any(|c| c.as_os_str() == "sonar-codegen")) {
        let text = std::fs::read_to_string(file).expect("a source file");
        for (i, line) in text.lines().enumerate() {
            let code = line.split("//").next().unwrap_or("");
            assert!(!code.contains("unsafe "), "{}:{}: unsafe outside sonar-codegen", file.display(), i + 1);
        }
    }
}

#[test]
fn every_source_file_says_what_it_is() {
    let mut files = Vec::new();
    for dir in ["crates", "tests", "benches"] {
        sources(&root().join(dir), &mut files);
    }
    for file in files {
        let text = std::fs::read_to_string(&file).expect("a source file");
        assert!(text.starts_with("//!"), "{} does not begin with a module comment", file.display());
        assert!(text.lines().count() <= 1000, "{} is longer than a thousand lines: it does more than one thing", file.display());
    }
}

/// The features of each package in a kind of build.
fn features(arguments: &[&str]) -> BTreeMap<String, BTreeSet<String>> {
    let cargo = std::env::var_os("CARGO").expect("cargo runs the tests");
    let tree = ["tree", "--locked", "--prefix", "none", "--format", "{p}|{f}"];
    let output = Command::new(cargo).args(tree).args(arguments).current_dir(root()).output().expect("cargo can be started");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut found: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    // Kinds of dependencies are told apart by lines such as `[dev-dependencies]` and by empty ones.
    for line in String::from_utf8(output.stdout).expect("cargo writes UTF-8").lines().filter(|line| line.contains('|')) {
        let (package, features) = line.trim_end_matches(" (*)").split_once('|').expect("the format has a bar");
        let package = package.split(" (").next().unwrap_or(package);
        found.entry(package.to_string()).or_default().insert(features.to_string());
    }
    found
}

#[test]
fn all_kinds_of_build_ask_for_the_same_features() {
    let all = features(&["--workspace", "--edges", "normal,build,dev"]);
    let mut kinds: Vec<Vec<&str>> = vec![vec!["--edges", "normal,build"]];
    // Nobody builds the crate without code by itself.
    let names: Vec<String> = manifests().into_keys().filter(|name| name != "workspace-hack").collect();
    kinds.extend(names.iter().map(|name| vec!["--edges", "normal,build,dev", "--package", name]));
    for kind in kinds {
        for (package, features) in features(&kind) {
            assert_eq!(features, all[&package], "{kind:?} builds {package} again: add its features to crates/workspace-hack");
        }
    }
}
