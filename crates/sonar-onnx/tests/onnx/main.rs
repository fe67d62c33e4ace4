//! Import against what ONNX's operators mean, on the interpreter; and of files that are wrong.

mod elementwise;
mod export;
mod external;
mod files;
mod movement;
mod mutations;
mod normalise;
mod opsets;
mod random;
mod recurrent;
mod resize;
mod support;
mod windows;
