//! Learning, end to end: a network of the NAS-Bench-201 space, trained by compiled code, recognises images that it has not seen.

use sonar_ir::space::Space;
use sonar_nas::config::NAS_BENCH_201;
use sonar_train::data::{FASHION_MNIST, load};
use sonar_train::{Outcome, Part, TrainConfig, Trainer};
use sonar_tune::JitBackend;

/// The smallest skeleton of the space: one cell a stage.
const SETTINGS: [(&str, &str); 5] = [("height", "28"), ("width", "28"), ("in", "1"), ("channels", "8"), ("cells", "1")];

/// Share of the test images that must be classified rightly.
const ACCURACY: f64 = 0.85;

#[test]
fn the_resnet_like_network_learns_fashion_mnist() {
    let space = Space::parse_with(NAS_BENCH_201, &SETTINGS).expect("the built-in space is valid");
    let graph = space.instantiate(space.baseline().expect("the space has a baseline")).expect("the baseline is valid");
    let data = load(FASHION_MNIST, 0.0).expect("the data set is built in");
    let backend = JitBackend::native(2).expect("this machine is supported");
    let config = TrainConfig { epochs: 8, batch: 64, ..TrainConfig::default() };

    let mut trainer = Trainer::new(&graph, data.into(), config, &backend).expect("the network can be trained");
    while !trainer.finished() {
        let outcome = trainer.train_epoch().expect("compiled code runs");
        assert!(matches!(outcome, Outcome::Completed(_)), "training broke down: {outcome:?}");
    }
    let test = trainer.evaluate(Part::Test).expect("compiled code runs");
    assert!(test.accuracy >= ACCURACY, "{:.1}% of {} test images are classified rightly", 100.0 * test.accuracy, test.images);
}
