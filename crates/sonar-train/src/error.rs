//! Everything that can go wrong while a network is differentiated, trained or fed.

use sonar_ir::TensorType;
use sonar_ir::infer::TypeError;
use std::path::PathBuf;
use thiserror::Error;

/// Why a gradient, a training step, a data set or a checkpoint could not be had.
#[derive(Debug, Error)]
pub enum TrainError {
    /// An operator has no derivative rule.
    #[error("the gradient of `{0}` is not defined")]
    NotDifferentiable(String),
    /// Only a single number can be differentiated.
    #[error("the loss must be a single number, found {0}")]
    NotScalar(TensorType),
    /// Differentiation counts elements, so every extent must be known.
    #[error("the batch must be bound before differentiation, found {0}")]
    SymbolicBatch(TensorType),
    /// The graph is not a classifier that can be trained.
    #[error("this network cannot be trained: {0}")]
    Model(String),
    /// The settings contradict the data or one another.
    #[error("{0}")]
    Config(String),
    /// A node could not be built; the network is unusual in a way that no other variant names.
    #[error(transparent)]
    Type(#[from] TypeError),
    /// The backend could not compile or run a graph.
    #[error("the backend failed: {0}")]
    Backend(Box<dyn std::error::Error + Send + Sync>),
    /// A file could not be read or written.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// A file is not the data that it should be.
    #[error("{path}: {problem}")]
    Data {
        /// The file or folder.
        path: PathBuf,
        /// What is wrong with it.
        problem: DataProblem,
    },
    /// A checkpoint cannot be used.
    #[error("{path}: {problem}")]
    Checkpoint {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: CheckpointProblem,
    },
}

/// What is wrong with a data file.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum DataProblem {
    /// No known format.
    #[error("not a data set: expected a folder with IDX files or CIFAR-10 batches, or a CIFAR-10 batch")]
    Unknown,
    /// The gzip stream is damaged.
    #[error("damaged gzip data")]
    Gzip,
    /// The first bytes are those of another format.
    #[error("expected the magic number {expected:#010x}, found {found:#010x}")]
    Magic {
        /// What the format demands.
        expected: u32,
        /// What the file has.
        found: u32,
    },
    /// The length contradicts the header or the record size.
    #[error("expected {expected} bytes, found {found}")]
    Length {
        /// What the format demands.
        expected: u64,
        /// What the file has.
        found: u64,
    },
    /// The header promises more than can be addressed.
    #[error("the header describes more data than fits into memory")]
    TooLarge,
    /// Images and labels do not pair up.
    #[error("found {images} images but {labels} labels")]
    Count {
        /// Number of images.
        images: usize,
        /// Number of labels.
        labels: usize,
    },
    /// A label does not name a class.
    #[error("label {label} of image {index} is out of range: there are {classes} classes")]
    Label {
        /// Which image.
        index: usize,
        /// Its label.
        label: u8,
        /// Labels must be smaller than this.
        classes: usize,
    },
    /// Test images have another shape than training images.
    #[error("expected images of {expected:?} (height, width, channels), found {found:?}")]
    Shape {
        /// Shape of the training images.
        expected: [usize; 3],
        /// Shape found.
        found: [usize; 3],
    },
    /// There is nothing to learn from.
    #[error("the data set is empty")]
    Empty,
}

/// What is wrong with a checkpoint.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum CheckpointProblem {
    /// The file is no checkpoint, or one of another version.
    #[error("not a checkpoint of this version")]
    Format,
    /// The file is truncated or damaged.
    #[error("the checkpoint is truncated or damaged")]
    Damaged,
    /// The checkpoint is of another network, data set or configuration.
    #[error("the checkpoint belongs to another training run")]
    OtherRun,
}
