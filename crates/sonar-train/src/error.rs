//! Everything that can go wrong while a network is differentiated, trained or fed.

use crate::data::part::Part;
use sonar_ir::TensorType;
use sonar_ir::graph::infer::TypeError;
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
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried: `read` or `write`.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// A file is not the data that it should be.
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

/// What is wrong with a data file or a folder of them.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum DataProblem {
    /// No file has the name of a known format.
    #[error(
        "not a data set: expected a folder with IDX files such as train-images-idx3-ubyte, or with the binary batches of CIFAR-10 or \
         CIFAR-100{}",
        holding(holds)
    )]
    Unknown {
        /// Names of the first few files, empty if there is none.
        holds: String,
    },
    /// The files are pickled objects of Python.
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
    /// Two files claim to be the same.
    #[error("there are two files of {what}, {first} and {second}: give each data set a folder of its own")]
    Two {
        /// What they hold.
        what: &'static str,
        /// The name of one.
        first: String,
        /// The name of the other.
        second: String,
    },
    /// A file of the data set is not there.
    #[error("there are no {what}: expected {expected}, or the same packed as {expected}.gz")]
    Missing {
        /// What it would hold.
        what: &'static str,
        /// Its usual name.
        expected: String,
    },
    /// A single file of an IDX data set was given.
    #[error("this is one of the four files of an IDX data set: give the folder that holds them")]
    OneFile,
    /// The length of a single file is not that of any batch.
    #[error(
        "not a data set: a file must be one binary batch of CIFAR-10 or CIFAR-100, which are records of 3073 or 3074 bytes; this one \
         has {found} bytes"
    )]
    NoBatch {
        /// What the file has.
        found: u64,
    },
    /// The gzip stream is damaged.
    #[error("damaged gzip data")]
    Gzip,
    /// The first bytes are those of another format.
    #[error("not an IDX file: its first bytes are {found:02x?}, expected [00, 00, 08, ..]")]
    NotIdx {
        /// What the file has.
        found: [u8; 4],
    },
    /// The elements are no bytes.
    #[error("its elements have the IDX type {found:#04x}: only bytes, type 0x08, are read")]
    Elements {
        /// The type.
        found: u8,
    },
    /// The file has the number of axes of something else.
    #[error("expected {what} with {expected} axes, found {found}")]
    Axes {
        /// What the file should hold.
        what: &'static str,
        /// How many axes that has.
        expected: &'static str,
        /// How many the file has.
        found: usize,
    },
    /// None of the axes is one of channels.
    #[error("no axis holds the channels: the extents are {extents:?}, and the second or the last must be 1, 3 or 4")]
    Channels {
        /// The extents of the file.
        extents: Vec<usize>,
    },
    /// The length contradicts the header.
    #[error("expected {expected} bytes by its header, found {found}")]
    Length {
        /// What the header says.
        expected: u64,
        /// What the file has.
        found: u64,
    },
    /// The file ends within a record.
    #[error("expected records of {record} bytes, found {found} bytes, which is no whole number of them")]
    Records {
        /// Bytes of one record.
        record: u64,
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
    #[error(
        "label {label} of {} image {index}, counted from 0, is out of range: {classes} classes have labels {first} to {}",
        part.name(), usize::from(*first) + classes - 1
    )]
    Label {
        /// Which images.
        part: Part,
        /// Which of the images in the file.
        index: usize,
        /// Its label.
        label: u8,
        /// The smallest label.
        first: u8,
        /// How many labels there are.
        classes: usize,
    },
    /// Test images have another shape than training images.
    #[error("expected images of {expected:?} (height, width, channels) as the training images are, found {found:?}")]
    Shape {
        /// Shape of the training images.
        expected: [usize; 3],
        /// Shape found.
        found: [usize; 3],
    },
    /// There is nothing to learn from.
    #[error("there are no images")]
    Empty,
}

/// What a folder holds, for a message.
fn holding(names: &str) -> String {
    if names.is_empty() { "; the folder is empty".to_string() } else { format!("; this folder holds {names}") }
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
