//! The files of a training. Each is replaced as a whole, so a kill leaves no half of one.

use super::document::Document;
use super::settings::Settings;
use crate::exit::{Exit, Failure, OrExit, fail};
use crate::model::tensors::{self, Role};
use sonar_files::{Array, safetensors};
use sonar_ir::{Graph, Tensor, Values};
use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// The names of the files.
const BEST: &str = "best.safetensors";
const LAST: &str = "last.safetensors";
const CHECKPOINT: &str = "checkpoint";
const DOCUMENT: &str = "train.json";
const CURVE: &str = "curve.svg";
const ONNX: &str = "model.onnx";
const LOCK: &str = "lock";

/// The directory of a training. It belongs to one process at a time.
pub struct Folder {
    path: PathBuf,
    /// Held until the process ends.
    _lock: File,
}

impl Folder {
    /// Opens the directory of a training, to begin it or to go on with it. An earlier training with other settings is refused, or
    /// deleted if `fresh`.
    pub fn open(path: &Path, settings: &Settings, fresh: bool) -> Result<Folder, Failure> {
        let shown = path.display();
        let failed = |e: &dyn std::fmt::Display| fail(Exit::BadInput, format!("cannot write {shown}: {e}"));
        fs::create_dir_all(path).map_err(|e| failed(&e))?;
        let in_use = || {
            let message = format!("{shown} is in use by another process; wait for it, or choose another directory with --out");
            fail(Exit::BadInput, message)
        };
        let lock = sonar_files::lock(&path.join(LOCK)).map_err(|e| failed(&e))?.ok_or_else(in_use)?;
        let folder = Folder { path: path.to_path_buf(), _lock: lock };
        if fresh {
            for name in [DOCUMENT, CHECKPOINT, BEST, LAST, CURVE, ONNX] {
                match fs::remove_file(path.join(name)) {
                    Err(e) if e.kind() != ErrorKind::NotFound => return Err(failed(&e)),
                    _ => {}
                }
            }
        }
        if folder.document().exists() {
            settings.check_equal(&folder.document())?;
        }
        Ok(folder)
    }

    /// The whole state of the training after its last saved step.
    pub fn checkpoint(&self) -> PathBuf {
        self.path.join(CHECKPOINT)
    }

    /// The description of the training.
    pub fn document(&self) -> PathBuf {
        self.path.join(DOCUMENT)
    }

    /// The files that users read, by what they hold.
    pub fn files(&self) -> [(&'static str, PathBuf); 5] {
        [("best", BEST), ("last", LAST), ("onnx", ONNX), ("curve", CURVE), ("document", DOCUMENT)]
            .map(|(what, name)| (what, self.path.join(name)))
    }

    /// Writes the weights after the last epoch.
    pub fn write_last(&self, weights: &Values) -> Result<(), Failure> {
        self.write_weights(LAST, weights)
    }

    /// Writes the weights of the best epoch so far.
    pub fn write_best(&self, weights: &Values) -> Result<(), Failure> {
        self.write_weights(BEST, weights)
    }

    /// Reads the weights of the best epoch.
    pub fn read_best(&self, graph: &Graph) -> Result<Values, Failure> {
        let ports = tensors::ports(graph, &graph.params(), None);
        let data = tensors::read_all(&self.path.join(BEST), &ports, Role::Parameter)?;
        Ok(ports.into_iter().zip(data).map(|(port, data)| (port.name, Tensor::new(port.shape, data))).collect())
    }

    /// Writes the trained model.
    pub fn write_onnx(&self, graph: &Graph, weights: &Values) -> Result<(), Failure> {
        self.write(ONNX, &sonar_onnx::export(graph, weights).or_exit(Exit::BadInput)?)
    }

    /// Writes the description of the training and its learning curve.
    pub fn write_document(&self, document: &Document<'_>) -> Result<(), Failure> {
        self.write(CURVE, document.curve_svg().as_bytes())?;
        self.write(DOCUMENT, &serde_json::to_vec_pretty(document).or_exit(Exit::Internal)?)
    }

    fn write_weights(&self, name: &str, weights: &Values) -> Result<(), Failure> {
        let arrays: Vec<(&str, Array)> =
            weights.iter().map(|(name, tensor)| (name.as_str(), Array::from_f32(tensor.shape.clone(), &tensor.data))).collect();
        let bytes = safetensors::format(arrays.iter().map(|(name, array)| (*name, array))).or_exit(Exit::Internal)?;
        self.write(name, &bytes)
    }

    fn write(&self, name: &str, bytes: &[u8]) -> Result<(), Failure> {
        let path = self.path.join(name);
        sonar_files::replace(&path, bytes).map_err(|e| fail(Exit::BadInput, format!("cannot write {}: {e}", path.display())))
    }
}
