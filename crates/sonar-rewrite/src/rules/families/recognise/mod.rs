//! Rules that recognise an operator of the IR in a program that writes it as several others.

mod activation;
mod attention;
mod normalise;
mod polynomial;

pub use activation::{gelu, hard_swish, silu};
pub use attention::attention;
pub use normalise::{layer_norm, scale_of_layer_norm, shift_of_layer_norm, softmax};
