//! TVM's MetaSchedule on single convolutions, with the harness of the other engines.

use crate::Options;
use anyhow::{Context, Result, bail};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A convolution with bias and ReLU on a square image: image side, input channels, output channels, kernel side, stride.
#[derive(Clone, Copy)]
pub struct Convolution {
    /// Side of the image.
    pub side: usize,
    /// Input channels.
    pub inputs: usize,
    /// Output channels.
    pub outputs: usize,
    /// Side of the kernel.
    pub window: usize,
    /// Stride in both directions.
    pub stride: usize,
}

/// The result of TVM.
pub struct Tuned {
    /// Wall-clock seconds of its search.
    pub seconds: f64,
    /// The time of its fastest kernel in microseconds, measured by TVM.
    pub microseconds: f64,
}

/// Writes a model of one convolution. The arguments are the file, and the numbers of a [`Convolution`].
const MODEL: &str = "
import sys, numpy as np, onnx
from onnx import helper, numpy_helper, TensorProto
path, (h, c, o, k, s) = sys.argv[1], map(int, sys.argv[2:7])
rng, p = np.random.default_rng(0), k // 2
w = numpy_helper.from_array((rng.standard_normal((o, c, k, k)) * (2 / (c * k * k)) ** 0.5).astype(np.float32), 'w')
b = numpy_helper.from_array(rng.standard_normal(o).astype(np.float32), 'b')
out = (h + 2 * p - k) // s + 1
conv = helper.make_node('Conv', ['x', 'w', 'b'], ['y'], kernel_shape=[k, k], strides=[s, s], pads=[p] * 4)
relu = helper.make_node('Relu', ['y'], ['z'])
value = lambda name, shape: helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
graph = helper.make_graph([conv, relu], 'convolution', [value('x', [1, c, h, h])], [value('z', [1, o, out, out])], [w, b])
onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid('', 17)], ir_version=8), path)
";

/// The harness with TVM installed.
pub struct Tvm {
    script: PathBuf,
    python: PathBuf,
    folder: PathBuf,
}

impl Tvm {
    /// TVM, if it is installed with the other engines. `folder` is used for models and records.
    pub fn find(options: &Options, folder: &Path) -> Result<Option<Tvm>> {
        let installed = options.installed();
        let script = options.peers.join("bench_peers.py").canonicalize();
        let (Ok(script), true) = (script, installed.join("venv_tvm/bin/python").exists()) else { return Ok(None) };
        std::fs::create_dir_all(folder.join("models"))?;
        std::fs::write(folder.join("bench.lock"), "")?;
        for name in ["venv", "venv_tvm"] {
            let link = folder.join(name);
            if !link.exists() {
                std::os::unix::fs::symlink(installed.join(name), link)?;
            }
        }
        Ok(Some(Tvm { script, python: installed.join("venv_tvm/bin/python"), folder: folder.to_path_buf() }))
    }

    /// Writes the model of a convolution.
    pub fn model(&self, convolution: &Convolution) -> Result<PathBuf> {
        let path = self.folder.join("models").join(format!("{}.onnx", convolution.name()));
        let Convolution { side, inputs, outputs, window, stride } = *convolution;
        let numbers = [side, inputs, outputs, window, stride].map(|n| n.to_string());
        let status = Command::new(&self.python).args(["-c", MODEL]).arg(&path).args(numbers).status();
        if !status.context("Python cannot be run")?.success() {
            bail!("the model of a convolution cannot be written");
        }
        Ok(path)
    }

    /// Tunes a convolution for one thread. An earlier result with at least as many trials is reused.
    pub fn tune(&self, convolution: &Convolution, trials: usize) -> Result<Tuned> {
        let name = convolution.name();
        let records = self.folder.join("tvm_tune").join(format!("{name}_t1"));
        match self.read(&records)? {
            Some((known, tuned)) if known >= trials => return Ok(tuned),
            Some(_) => std::fs::remove_dir_all(&records).context("earlier records cannot be removed")?,
            None => {}
        }
        let mut command = Command::new(&self.python);
        command.arg(&self.script).args(["--tune", &name, "1", &trials.to_string()]);
        command.env("PEERS_DIR", &self.folder).env("MS_PER_ITER", "16").env("MS_PER_TASK", trials.to_string());
        let status = command.stdout(Stdio::null()).stderr(Stdio::null()).status().context("TVM cannot be run")?;
        if !status.success() {
            bail!("TVM cannot tune {name}");
        }
        Ok(self.read(&records)?.with_context(|| format!("TVM left no records of {name}"))?.1)
    }

    /// The result of a finished search in a folder, with its number of trials.
    fn read(&self, records: &Path) -> Result<Option<(usize, Tuned)>> {
        let Ok(summary) = std::fs::read_to_string(records.join("tune.json")) else { return Ok(None) };
        let summary: serde_json::Value = serde_json::from_str(&summary)?;
        let lines = std::fs::read_to_string(records.join("database_tuning_record.json")).context("TVM left no records")?;
        let mut best = f64::INFINITY;
        for line in lines.lines() {
            // A record is [workload, [trace, seconds of the runs, target, arguments]].
            let record: serde_json::Value = serde_json::from_str(line)?;
            let runs: Vec<f64> = record[1][1].as_array().into_iter().flatten().filter_map(serde_json::Value::as_f64).collect();
            if !runs.is_empty() {
                best = best.min(runs.iter().sum::<f64>() / runs.len() as f64);
            }
        }
        if !best.is_finite() {
            bail!("TVM measured nothing in {}", records.display());
        }
        let seconds = summary["wall_s"].as_f64().context("TVM's summary has no time")?;
        let trials = summary["trials"].as_u64().context("TVM's summary has no number of trials")?;
        Ok(Some((trials as usize, Tuned { seconds, microseconds: best * 1e6 })))
    }
}

impl Convolution {
    /// A name with all parameters.
    pub fn name(&self) -> String {
        let Convolution { side, inputs, outputs, window, stride } = self;
        format!("conv{window}x{window}_{side}_{inputs}_{outputs}_s{stride}")
    }
}
