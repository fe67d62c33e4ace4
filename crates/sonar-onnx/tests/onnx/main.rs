//! Import against what ONNX's operators mean, on the interpreter; and of files that are wrong.

mod declared;
mod elementwise;
mod export;
mod external;
mod files;
mod inputs;
mod movement;
mod mutations;
mod names;
mod normalise;
mod opsets;
mod random;
mod recurrent;
mod resize;
mod sparse;
mod special;
mod support;
mod windows;
