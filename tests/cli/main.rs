//! The program as a user meets it: what it answers, what it refuses and how, and what a search survives.

mod bench;
#[path = "../support/command.rs"]
mod command;
mod commands;
mod db;
mod faults;
mod imports;
mod inputs;
mod interrupt;
mod linking;
mod machine;
mod mistakes;
mod numbers;
mod onnx;
#[path = "../support/onnx_file.rs"]
mod onnx_file;
mod readable;
mod rounding;
mod rules;
mod runs;
mod tensors;
mod terminal;
mod train;

use std::fs;
use std::path::{Path, PathBuf};

/// A file of this repository.
fn repository(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(name)
}

/// A file of `ir-examples/`, as an argument.
fn example(name: &str) -> String {
    repository("ir-examples").join(name).to_str().expect("the path of the repository is text").to_string()
}

/// An empty directory, removed at the end, and a way to name files in it.
struct Scratch(tempfile::TempDir);

impl Scratch {
    fn new() -> Scratch {
        Scratch(tempfile::tempdir().expect("there is a place for temporary files"))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// The path of a file in it, as an argument.
    fn arg(&self, name: &str) -> String {
        self.path(name).to_str().expect("temporary paths are text").to_string()
    }

    /// Writes a file and gives its path as an argument.
    fn file(&self, name: &str, content: impl AsRef<[u8]>) -> String {
        fs::write(self.path(name), content).expect("temporary files can be written");
        self.arg(name)
    }
}

/// A space of four networks for the images of [`data`], its baseline among them.
const SPACE: &str = "
    let $width in {2, 4}
    let $kernel in {1, 3}
    graph @network(%image: f32[N,8,8,1]) {
      param %stem: f32[$kernel,$kernel,1,$width] = he
      param %head: f32[$width,2] = uniform
      %x = relu(conv2d(%image, %stem) {pad=same})
      return matmul(global_avg_pool(%x), %head)
    }
    baseline $width=2, $kernel=3
";

/// Writes a data set of 64 training and 32 test images of 8×8, which are bright on one side or on the other, and gives its folder.
fn data(scratch: &Scratch) -> String {
    for (part, count) in [("train", 64), ("t10k", 32)] {
        let labels: Vec<u8> = (0..count).map(|i| (i % 2) as u8).collect();
        let pixel = |i: usize| {
            let (image, column) = (i / 64, i % 8);
            let bright = (column < 4) == (labels[image] == 0);
            (i * 37 % 61) as u8 + if bright { 128 } else { 0 }
        };
        let pixels: Vec<u8> = (0..64 * count).map(pixel).collect();
        write_images(scratch, part, count, &pixels);
        write_labels(scratch, part, &labels);
    }
    scratch.arg("")
}

fn write_images(scratch: &Scratch, part: &str, count: usize, pixels: &[u8]) {
    let file = sonar_train::data::idx::format_images(count, 8, 8, pixels);
    scratch.file(&format!("{part}-images-idx3-ubyte"), file);
}

fn write_labels(scratch: &Scratch, part: &str, labels: &[u8]) {
    scratch.file(&format!("{part}-labels-idx1-ubyte"), sonar_train::data::idx::format_labels(labels));
}
