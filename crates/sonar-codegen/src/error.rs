//! Errors of compiling and running a program.

use sonar_ir::verify::VerifyError;
use thiserror::Error;

/// Any failure of this crate.
#[derive(Debug, Error)]
pub enum CodegenError {
    /// An unknown name of a target.
    #[error("unknown target `{0}`; expected `native`, `x86-64-v2`, `x86-64-v3`, `x86-64-v4`, or one of the triples {1}")]
    UnknownTarget(String, &'static str),
    /// An unknown name of a processor for its architecture.
    #[error("unknown processor `{cpu}` of {triple}; expected `{known}`")]
    UnknownCpu {
        /// The name.
        cpu: String,
        /// The architecture.
        triple: &'static str,
        /// The known processors.
        known: String,
    },
    /// `native` was requested on a processor that no target describes.
    #[error("this processor is not supported: {0}")]
    UnsupportedHost(String),
    /// Code for this target cannot be run on this machine.
    #[error("code for {0} does not run on this machine")]
    NotRunnable(String),
    /// The vectors of a tile are wider than those of the target.
    #[error("tile `{tile}` has {lanes} lanes, which {target} does not support")]
    UnsupportedLanes {
        /// Name of the tile.
        tile: String,
        /// Its width.
        lanes: usize,
        /// The target.
        target: String,
    },
    /// More vector registers are live at once than the target has.
    #[error("tile `{tile}` keeps more than {available} vector registers alive")]
    TooManyRegisters {
        /// Name of the tile.
        tile: String,
        /// How many there are.
        available: usize,
    },
    /// A program, tile or plan breaks an invariant of its language.
    #[error(transparent)]
    Invalid(#[from] VerifyError),
    /// A program or tile that cannot be expressed in machine code.
    #[error("`{name}` cannot be compiled: {reason}")]
    Unsupported {
        /// Name of the program or tile.
        name: String,
        /// Why.
        reason: String,
    },
    /// The constants of a model are too large for the addresses in an object file.
    #[error("the weights of the model take {bytes} bytes; an object file can hold {limit}")]
    TooLarge {
        /// Bytes of the constants.
        bytes: usize,
        /// The most that an object file can hold.
        limit: usize,
    },
    /// The compiled function takes another number of arguments.
    #[error("expected {expected} {what}, found {found}")]
    ArgumentCount {
        /// Inputs, outputs or buffers.
        what: &'static str,
        /// The number that the function takes.
        expected: usize,
        /// The number given.
        found: usize,
    },
    /// An argument has the wrong number of elements.
    #[error("{what} {index} has {found} elements, expected {expected}")]
    ArgumentLength {
        /// Input, output or buffer.
        what: &'static str,
        /// Its index.
        index: usize,
        /// The number of elements that the function takes.
        expected: usize,
        /// The number of elements given.
        found: usize,
    },
    /// A parameter of the model was not given.
    #[error("no value for parameter `{0}`")]
    MissingParam(String),
    /// A parameter was given with another shape.
    #[error("parameter `{name}` has shape {found:?}, expected {expected:?}")]
    ParamShape {
        /// Name of the parameter.
        name: String,
        /// Shape in the plan.
        expected: Vec<usize>,
        /// Shape given.
        found: Vec<usize>,
    },
    /// A thread of the pool could not be started.
    #[error("could not start a thread: {0}")]
    Thread(#[from] std::io::Error),
    /// Cranelift refused the code; always a bug of this crate.
    #[error("code generation failed: {0}")]
    Backend(String),
}

impl From<cranelift_module::ModuleError> for CodegenError {
    fn from(error: cranelift_module::ModuleError) -> Self {
        match error {
            cranelift_module::ModuleError::Compilation(inner) => CodegenError::Backend(format!("{inner:?}")),
            other => CodegenError::Backend(other.to_string()),
        }
    }
}

impl From<iced_x86::IcedError> for CodegenError {
    fn from(error: iced_x86::IcedError) -> Self {
        CodegenError::Backend(error.to_string())
    }
}
