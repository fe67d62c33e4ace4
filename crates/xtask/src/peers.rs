//! The other engines: a benchmark harness outside of the repository. It times them and external programs in one run, in
//! alternating slices, each one pinned and alone. Its README describes the protocol.

use crate::Options;
use anyhow::{Context, Result, bail};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The engines to compare with, if they are installed.
const ENGINES: [&str; 6] = ["ort", "openvino", "torch", "tvmms", "iree", "tract"];

/// The harness with its settings.
pub struct Harness {
    script: PathBuf,
    python: PathBuf,
    installed: PathBuf,
    folder: tempfile::TempDir,
}

/// The data of a model of the zoo.
#[derive(Deserialize)]
pub struct Model {
    /// Multiply-accumulates of one inference.
    pub macs: f64,
}

/// One measurement.
#[derive(Clone, Deserialize)]
pub struct Timing {
    /// The engine.
    pub peer: String,
    /// The model.
    pub model: String,
    /// Threads of one inference.
    pub threads: usize,
    /// Median of the best round. `None` if the engine failed.
    pub median_us: Option<f64>,
    /// Seconds until the model was ready.
    pub compile_s: Option<f64>,
    /// Largest error over the largest output, compared with an unoptimised run. A word if the shapes differ.
    #[serde(default)]
    pub max_rel_err: serde_json::Value,
    /// Why there is no time.
    pub error: Option<String>,
}

impl Timing {
    /// The time in microseconds, if the output was correct.
    pub fn valid(&self) -> Option<f64> {
        self.max_rel_err.as_f64().filter(|error| *error < 1e-3).and(self.median_us)
    }
}

impl Harness {
    /// The harness, if it is available.
    pub fn find(options: &Options) -> Result<Option<Harness>> {
        let installed = options.installed();
        let script = options.peers.join("bench_peers.py");
        let python = installed.join("venv/bin/python");
        if !script.exists() || !python.exists() || !installed.join("models/index.json").exists() {
            return Ok(None);
        }
        Ok(Some(Harness { script, python, installed, folder: tempfile::tempdir().context("no temporary folder")? }))
    }

    /// The models of the zoo.
    pub fn models(&self) -> Result<BTreeMap<String, Model>> {
        let path = self.installed.join("models/index.json");
        let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        serde_json::from_str(&text).with_context(|| format!("{} is not an index", path.display()))
    }

    /// The file of a model.
    pub fn file(&self, model: &str) -> PathBuf {
        self.installed.join("models").join(format!("{model}.onnx"))
    }

    /// The folder for intermediate files.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Measures `models` with every engine and with `ours`: names, each with the command line that serves a model. In the
    /// command line, `$1` is the model, `$2` its input, `$3` the file for its output, and `$4` the number of threads.
    pub fn run(&self, models: &[String], threads: &[usize], ours: &[(&str, String)], quick: bool) -> Result<Vec<Timing>> {
        let mut external = Vec::new();
        for (name, command) in ours {
            let path = self.folder.path().join(name);
            std::fs::write(&path, format!("#!/bin/sh\nexec {command}\n"))?;
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755))?;
            external.push(format!("{name}={}", path.display()));
        }
        let out = self.folder.path().join("timings.json");
        let threads: Vec<String> = threads.iter().map(usize::to_string).collect();
        let engines: Vec<&str> = ENGINES.into_iter().chain(ours.iter().map(|(name, _)| *name)).collect();
        let mut command = Command::new(&self.python);
        command.arg(&self.script).args([
            "--models",
            &models.join(","),
            "--peers",
            &engines.join(","),
            "--threads",
            &threads.join(","),
        ]);
        command.arg("--out").arg(&out).env("PEERS_EXTERNAL", external.join(",")).env("PEERS_DIR", &self.installed);
        if quick {
            command.args(["--rounds", "2", "--slice", "0.2"]);
        }
        let output = command.output().context("the harness cannot be run")?;
        if !output.status.success() {
            bail!("the harness failed: {}", String::from_utf8_lossy(&output.stderr));
        }
        let text = std::fs::read_to_string(&out).context("the harness left no timings")?;
        serde_json::from_str(&text).context("the harness's timings cannot be read")
    }
}
