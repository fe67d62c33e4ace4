//! Reads and writes files of other programs.
//!
//! | module | what it does |
//! |---|---|
//! | `array` | an array as NumPy saves it: shape, element type and bytes; conversion to other element types |
//! | `lock` | a file that one process at a time holds |
//! | `npy` | one array in a `.npy` file |
//! | `npz` | arrays by name in a `.npz` file |
//! | `safetensors` | arrays by name in a `.safetensors` file |
//! | `read` | the bytes of a file, up to a maximum number |
//! | `replace` | writes a file as a whole: never half of one |
//! | `seems` | guesses the format of a file that is not the expected one |
//!
//! ```
//! use sonar_files::{Array, npy};
//!
//! let array = Array::from_f32(vec![2, 2], &[1.0, 2.0, 3.0, 4.0]);
//! let back = npy::parse(&npy::format(&array))?;
//! assert_eq!(back.to_f32()?, [1.0, 2.0, 3.0, 4.0]);
//! # Ok::<(), sonar_files::ArrayError>(())
//! ```

mod array;
mod lock;
pub mod npy;
pub mod npz;
mod read;
mod replace;
pub mod safetensors;
mod seems;

pub use array::{Array, ArrayError, Element};
pub use lock::lock;
pub use read::{ReadError, read, read_head};
pub use replace::replace;
pub use seems::{Seems, seems};
