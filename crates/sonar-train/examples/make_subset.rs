//! Makes the data set that is part of the program: the first thousand training images and the first two hundred test images of each class
//! of Fashion-MNIST, in their order, in the format they came in.
//!
//!     cargo run --release -p sonar-train --example make_subset -- /usr/share/datasets/fashion-mnist data/fashion-mnist-subset

use flate2::{Compression, GzBuilder};
use sonar_train::data::idx;
use std::error::Error;
use std::fs::File;
use std::io::Write;
use std::path::Path;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [from, to] = &arguments[..] else { return Err("usage: make_subset FULL_FOLDER SUBSET_FOLDER".into()) };
    for (prefix, per_class) in [("train", 1000), ("t10k", 200)] {
        let file = |what: &str| Path::new(from).join(format!("{prefix}-{what}-ubyte.gz"));
        let ([height, width, _], images) = idx::read(&file("images-idx3"), &file("labels-idx1"))?;
        let mut taken = [0; 256];
        let (mut pixels, mut labels) = (Vec::new(), Vec::new());
        for (image, &label) in images.pixels.chunks_exact(height * width).zip(&images.labels) {
            if taken[usize::from(label)] < per_class {
                taken[usize::from(label)] += 1;
                pixels.extend_from_slice(image);
                labels.push(label);
            }
        }
        let folder = Path::new(to);
        let packed_images = idx::format_images(labels.len(), height, width, &pixels);
        pack(&folder.join(format!("{prefix}-images-idx3-ubyte.gz")), &packed_images)?;
        pack(&folder.join(format!("{prefix}-labels-idx1-ubyte.gz")), &idx::format_labels(&labels))?;
    }
    Ok(())
}

fn pack(path: &Path, bytes: &[u8]) -> Result<(), Box<dyn Error>> {
    let mut file = GzBuilder::new().write(File::create(path)?, Compression::best());
    file.write_all(bytes)?;
    file.finish()?.sync_all()?;
    Ok(())
}
