//! Errors of differentiation, training and data sets.

use crate::data::part::Part;
use sonar_ir::TensorType;
use sonar_ir::graph::infer::TypeError;
use std::path::PathBuf;
use thiserror::Error;

/// Why a gradient, a training step, a data set or a checkpoint is not available.
#[derive(Debug, Error)]
pub enum TrainError {
    /// An operator has no derivative rule.
    #[error("the gradient of `{0}` is not defined")]
    NotDifferentiable(String),
    /// Only a single number can be differentiated.
    #[error("the loss must be a single number, found {0}")]
    NotScalar(TensorType),
    /// Differentiation needs the number of elements, so every extent must be known.
    #[error("the batch must be bound before differentiation, found {0}")]
    SymbolicBatch(TensorType),
    /// The graph is not a classifier that can be trained.
    #[error("this network cannot be trained: {0}")]
    Model(String),
    /// The settings contradict the data or each other.
    #[error("{0}")]
    Config(String),
    /// A parameter has no initial weight.
    #[error("there is no weight `{0}`")]
    MissingWeight(String),
    /// An initial weight does not have the shape of its parameter.
    #[error("the weight `{name}` has the shape {found:?}; the network's has {expected:?}")]
    WeightShape {
        /// Its name.
        name: String,
        /// The shape of the parameter.
        expected: Vec<usize>,
        /// The shape of the weight.
        found: Vec<usize>,
    },
    /// A node could not be built, for a reason that no other variant covers.
    #[error(transparent)]
    Type(#[from] TypeError),
    /// The backend could not compile or run a graph.
    #[error("the backend failed: {0}")]
    Backend(Box<dyn std::error::Error + Send + Sync>),
    /// A file could not be read or written.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// The action: `read` or `write`.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The error of the operating system.
        source: std::io::Error,
    },
    /// A file does not contain the expected data.
    #[error("{}: {problem}", path.display())]
    Data {
        /// The file or folder.
        path: PathBuf,
        /// What is wrong with it.
        problem: DataProblem,
    },
    /// A checkpoint cannot be used.
    #[error("{}: {problem}", path.display())]
    Checkpoint {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: CheckpointProblem,
    },
}

/// Problems of a data file or of a folder of data files.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum DataProblem {
    /// No file has the name of a known format.
    #[error(
        "not a data set: expected a folder with IDX files such as train-images-idx3-ubyte, or with the binary batches of CIFAR-10 or \
         CIFAR-100{}",
        holding(holds)
    )]
    Unknown {
        /// Names of the first few files, or empty if there are no files.
        holds: String,
    },
    /// The files contain pickled Python objects.
    #[error("this is the version for Python: expected the binary version, such as cifar-10-binary.tar.gz, unpacked")]
    Python,
    /// The folder holds pictures.
    #[error("pictures such as {} are not read: convert them to IDX files", example.display())]
    Pictures {
        /// One of them, relative to the folder.
        example: PathBuf,
    },
    /// A folder holds data sets of different formats.
    #[error("the folder mixes data sets of different formats: give each a folder of its own")]
    Mixed,
    /// Two files have the same role.
    #[error("there are two files of {what}, {first} and {second}: give each data set a folder of its own")]
    Two {
        /// The content of both files.
        what: &'static str,
        /// The name of the first file.
        first: String,
        /// The name of the second file.
        second: String,
    },
    /// A file of the data set is missing.
    #[error("there are no {what}: expected {expected}, or the same packed as {expected}.gz")]
    Missing {
        /// The content of the missing file.
        what: &'static str,
        /// Its usual name.
        expected: String,
    },
    /// A single file of an IDX data set was given.
    #[error("this is one of the four files of an IDX data set: give the folder that holds them")]
    OneFile,
    /// A single file does not have the length of a batch.
    #[error(
        "not a data set: a file must be one binary batch of CIFAR-10 or CIFAR-100, which are records of 3073 or 3074 bytes; this one \
         has {found} bytes"
    )]
    NoBatch {
        /// The length of the file.
        found: u64,
    },
    /// The gzip stream is damaged.
    #[error("damaged gzip data")]
    Gzip,
    /// The first bytes do not belong to this format.
    #[error("not an IDX file: its first bytes are {found:02x?}, expected [00, 00, 08, ..]")]
    NotIdx {
        /// The first bytes of the file.
        found: [u8; 4],
    },
    /// The elements are not bytes.
    #[error("its elements have the IDX type {found:#04x}: only bytes, type 0x08, are read")]
    Elements {
        /// The type.
        found: u8,
    },
    /// The number of axes is wrong.
    #[error("expected {what} with {expected} axes, found {found}")]
    Axes {
        /// The expected content of the file.
        what: &'static str,
        /// The expected number of axes.
        expected: &'static str,
        /// The number of axes of the file.
        found: usize,
    },
    /// No axis can be the channels.
    #[error("no axis holds the channels: the extents are {extents:?}, and the second or the last must be 1, 3 or 4")]
    Channels {
        /// The extents of the file.
        extents: Vec<usize>,
    },
    /// The length contradicts the header.
    #[error("expected {expected} bytes by its header, found {found}")]
    Length {
        /// The number of bytes according to the header.
        expected: u64,
        /// The number of bytes in the file.
        found: u64,
    },
    /// The file ends in the middle of a record.
    #[error("expected records of {record} bytes, found {found} bytes, which is no whole number of them")]
    Records {
        /// Bytes of one record.
        record: u64,
        /// The number of bytes in the file.
        found: u64,
    },
    /// The header describes more data than fits into memory.
    #[error("the header describes more data than fits into memory")]
    TooLarge,
    /// The numbers of images and labels differ.
    #[error("found {images} images but {labels} labels")]
    Count {
        /// Number of images.
        images: usize,
        /// Number of labels.
        labels: usize,
    },
    /// A label is not a class.
    #[error(
        "label {label} of {} image {index}, counted from 0, is out of range: {classes} classes have labels {first} to {}",
        part.name(), usize::from(*first) + classes - 1
    )]
    Label {
        /// The part that the image belongs to.
        part: Part,
        /// Index of the image in the file.
        index: usize,
        /// Its label.
        label: u8,
        /// The smallest label.
        first: u8,
        /// How many labels there are.
        classes: usize,
    },
    /// Test images and training images have different shapes.
    #[error("expected images of {expected:?} (height, width, channels) as the training images are, found {found:?}")]
    Shape {
        /// Shape of the training images.
        expected: [usize; 3],
        /// Shape found.
        found: [usize; 3],
    },
    /// There are no images.
    #[error("there are no images")]
    Empty,
}

/// The content of a folder, for a message.
fn holding(names: &str) -> String {
    if names.is_empty() { "; the folder is empty".to_string() } else { format!("; this folder holds {names}") }
}

/// Problems of a checkpoint.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum CheckpointProblem {
    /// The file is not a checkpoint, or has another version.
    #[error("not a checkpoint of this version")]
    Format,
    /// The file is truncated or damaged.
    #[error("the checkpoint is truncated or damaged")]
    Damaged,
    /// The checkpoint belongs to another network, data set or configuration.
    #[error("the checkpoint belongs to another training run")]
    OtherRun,
}
