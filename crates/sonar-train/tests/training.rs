//! Training on the reference interpreter: steps, epochs, divergence, checkpoints.

use sonar_ir::graph::{Conv2dAttrs, Graph, NodeId, Op, PoolAttrs, TensorType};
use sonar_ir::graph::{init, interp};
use sonar_ir::{BinaryOp, Dim, Init, Tensor, UnaryOp, Values};
use sonar_train::data::Images;
use sonar_train::data::augment::Augment;
use sonar_train::rng::Rng;
use sonar_train::step::{evaluation, training_step};
use sonar_train::{CheckpointProblem, Dataset, Interpreter, Optimizer, Outcome, Part, TrainConfig, TrainError, Trainer};
use std::fs;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

const SGD: Optimizer = Optimizer::Sgd { momentum: 0.0, nesterov: false, weight_decay: 0.0 };

/// A small network of the kind that is searched: stem, a cell of a convolution, a pooling and a skip, and a linear classifier.
fn network(image: [usize; 3], classes: usize) -> Graph {
    network_with(UnaryOp::Relu, image, classes)
}

fn network_with(activation: UnaryOp, image: [usize; 3], classes: usize) -> Graph {
    let mut g = Graph::new("small");
    let fixed = |n: usize| Dim::Fixed(n);
    let ty = TensorType { shape: vec![Dim::Batch, fixed(image[0]), fixed(image[1]), fixed(image[2])] };
    let x = g.input("image", ty);
    let stem = conv_bn(&mut g, "stem", x, [image[2], 4]);
    let relu = g.push(Op::Unary(activation), &[stem]).expect("well typed");
    let conv = conv_bn(&mut g, "cell", relu, [4, 4]);
    let pool = PoolAttrs { kernel: [3, 3], stride: [1, 1], pad: [1; 4], count_include_pad: false };
    let pool = g.push(Op::AvgPool(pool), &[stem]).expect("well typed");
    let sum = g.push(Op::Binary(BinaryOp::Add), &[conv, pool]).expect("well typed");
    let sum = g.push(Op::Binary(BinaryOp::Add), &[sum, stem]).expect("well typed");
    let sum = g.push(Op::Unary(activation), &[sum]).expect("well typed");
    let pooled = g.push(Op::GlobalAvgPool, &[sum]).expect("well typed");
    let w = g.param("head.weight", &[4, classes], Init::Uniform);
    let b = g.param("head.bias", &[classes], Init::Zeros);
    let y = g.push(Op::MatMul, &[pooled, w]).expect("well typed");
    g.outputs = vec![g.push(Op::Binary(BinaryOp::Add), &[y, b]).expect("well typed")];
    g
}

fn conv_bn(g: &mut Graph, name: &str, x: NodeId, [from, to]: [usize; 2]) -> NodeId {
    let w = g.param(format!("{name}.weight"), &[3, 3, from, to], Init::He);
    let y = g.push(Op::Conv2d(Conv2dAttrs { pad: [1; 4], ..Conv2dAttrs::default() }), &[x, w]).expect("well typed");
    let starts = [("gamma", Init::Ones), ("beta", Init::Zeros), ("mean", Init::Zeros), ("variance", Init::Ones)];
    let [gamma, beta, mean, variance] = starts.map(|(part, start)| g.param(format!("{name}.{part}"), &[to], start));
    g.push(Op::BatchNorm { eps: 1e-5 }, &[y, gamma, beta, mean, variance]).expect("well typed")
}

/// Noisy 6×6 images: in class 0 the left half is bright, in class 1 the upper half, in class 2 neither.
fn stripes(count: usize) -> Arc<Dataset> {
    let make = |count: usize, seed: u64| {
        let mut rng = Rng::new(&[seed]);
        let mut images = Images::default();
        for i in 0..count {
            let class = i % 3;
            for pixel in 0..36 {
                let bright = (class == 0 && pixel % 6 < 3) || (class == 1 && pixel / 6 < 3);
                images.pixels.push(if bright { 150 } else { 50 } + rng.below(60) as u8);
            }
            images.labels.push(class as u8);
        }
        images
    };
    Arc::new(Dataset::new("stripes", [6, 6, 1], make(count, 1), make(30, 2), 0.25).expect("a good data set"))
}

fn config() -> TrainConfig {
    let augment = Augment { flip: false, crop: 1, cutout: 0 };
    TrainConfig { epochs: 8, batch: 12, learning_rate: 0.2, seed: 3, augment, ..TrainConfig::default() }
}

fn trainer(config: TrainConfig) -> Trainer {
    Trainer::new(&network([6, 6, 1], 3), stripes(120), config, &Interpreter).expect("network and data fit")
}

fn train(trainer: &mut Trainer, epochs: usize) {
    for _ in 0..epochs {
        let outcome = trainer.train_epoch().expect("the interpreter runs");
        assert!(matches!(outcome, Outcome::Completed(_)), "{outcome:?}");
    }
}

fn checkpoint_problem(path: &Path) -> CheckpointProblem {
    match trainer(config()).restore(path) {
        Err(TrainError::Checkpoint { problem, .. }) => problem,
        other => panic!("expected a bad checkpoint, found {other:?}"),
    }
}

/// Random values for the inputs of a training step, with parameters as they start.
fn step_values(model: &Graph, step: &Graph, rate: f32) -> Values {
    let mut values = init::inputs(step, 5);
    values.extend(init::randomise(model, 6));
    let rows = values["train.labels"].shape[0];
    let labels = (0..rows * 3).map(|i| f32::from(u8::from(i % 3 == i / 3 % 3))).collect();
    values.insert("train.labels".into(), Tensor::new(vec![rows, 3], labels));
    values.insert("train.learning_rate".into(), Tensor::full(vec![], rate));
    values
}

#[test]
fn a_plain_step_moves_every_weight_along_the_slope_of_the_loss() {
    // Smooth, for the kinks of many ReLUs would blur the difference quotient.
    let model = network_with(UnaryOp::Tanh, [6, 6, 1], 3);
    let step = training_step(&model, 4, &SGD).expect("a trainable network");
    let values = step_values(&model, &step.graph, 1.0);
    let loss = |values: &Values| interp::run_unrounded(&step.graph, values).expect("the step runs")[0][0];
    let after = interp::run(&step.graph, &values).expect("the step runs");
    let mut rng = Rng::new(&[11]);
    let learnt = ["stem.weight", "stem.gamma", "stem.beta", "cell.weight", "cell.gamma", "cell.beta", "head.weight", "head.bias"];
    for (tensor, after) in step.state.iter().zip(&after[2..]).filter(|(t, _)| learnt.contains(&t.name.as_str())) {
        let before = &values[&tensor.name];
        let direction: Vec<f32> = before.data.iter().map(|_| rng.unit() as f32 - 0.5).collect();
        let slope: f64 = (0..direction.len()).map(|i| f64::from(before.data[i] - after.data[i]) * f64::from(direction[i])).sum();
        let shifted = |h: f32| {
            let mut values = values.clone();
            let moved = before.data.iter().zip(&direction).map(|(&w, &d)| w + h * d).collect();
            values.insert(tensor.name.clone(), Tensor::new(before.shape.clone(), moved));
            loss(&values)
        };
        let numeric = (shifted(1e-2) - shifted(-1e-2)) / 2e-2;
        let close = (slope - numeric).abs() < 1e-3 * numeric.abs() + 2e-5;
        assert!(close, "{}: the step says {slope}, differences say {numeric}", tensor.name);
    }
}

#[test]
fn running_statistics_follow_the_batch() {
    let mut model = Graph::new("normalise");
    let x = model.input("x", TensorType { shape: [Dim::Batch, Dim::Fixed(1), Dim::Fixed(1), Dim::Fixed(1)].into() });
    let params = ["gamma", "beta", "mean", "variance"].map(|name| model.param(name, &[1], Init::Ones));
    let y = model.push(Op::BatchNorm { eps: 0.0 }, &[x, params[0], params[1], params[2], params[3]]).expect("well typed");
    model.outputs = vec![model.push(Op::GlobalAvgPool, &[y]).expect("well typed")];

    let step = training_step(&model, 4, &SGD).expect("a trainable network");
    let mut values: Values = step.state.iter().map(|t| (t.name.clone(), Tensor::full(t.shape.clone(), 1.0))).collect();
    values.insert("x".into(), Tensor::new(vec![4, 1, 1, 1], vec![1.0, 2.0, 3.0, 6.0]));
    values.insert("train.labels".into(), Tensor::full(vec![4, 1], 1.0));
    values.insert("train.learning_rate".into(), Tensor::full(vec![], 0.0));
    let after = interp::run(&step.graph, &values).expect("the step runs");
    let of = |name: &str| after[2 + step.state.iter().position(|t| t.name == name).expect("it is there")].data[0];
    // Mean 3; squared differences 4, 1, 0, 9 over 4 - 1.
    assert!((of("mean") - (0.9 + 0.1 * 3.0)).abs() < 1e-6);
    assert!((of("variance") - (0.9 + 0.1 * 14.0 / 3.0)).abs() < 1e-6);
    assert_eq!((of("gamma"), of("beta")), (1.0, 1.0));
}

/// Two steps of an optimiser on the loss `-log softmax([w·1, 0])`, from `w = 0.5`, against the update rule written out.
fn check_optimizer(optimizer: Optimizer, mut rule: impl FnMut(usize, f64, f64) -> f64) {
    let mut model = Graph::new("one");
    let x = model.input("x", TensorType { shape: [Dim::Batch, Dim::Fixed(1), Dim::Fixed(1), Dim::Fixed(1)].into() });
    let x = model.push(Op::GlobalAvgPool, &[x]).expect("well typed");
    let w = model.param("w", &[1, 1], Init::Ones);
    let y = model.push(Op::MatMul, &[x, w]).expect("well typed");
    model.outputs = vec![model.push(Op::Pad(vec![(0, 0), (0, 1)]), &[y]).expect("well typed")];

    let step = training_step(&model, 1, &optimizer).expect("a trainable network");
    let mut values: Values =
        step.state.iter().map(|t| (t.name.clone(), Tensor::full(t.shape.clone(), t.start.unwrap_or(0.5)))).collect();
    values.insert("x".into(), Tensor::full(vec![1, 1, 1, 1], 1.0));
    values.insert("train.labels".into(), Tensor::new(vec![1, 2], vec![1.0, 0.0]));
    values.insert("train.learning_rate".into(), Tensor::full(vec![], 0.1));
    let mut expected = 0.5f64;
    for t in 1..=2 {
        let slope = 1.0 / (1.0 + (-expected).exp()) - 1.0;
        expected = rule(t, expected, slope);
        let after = interp::run(&step.graph, &values).expect("the step runs");
        for (tensor, value) in step.state.iter().zip(after.into_iter().skip(2)) {
            values.insert(tensor.name.clone(), value);
        }
        let found = f64::from(values["w"].data[0]);
        assert!((found - expected).abs() < 1e-6, "step {t}: expected {expected}, found {found}");
    }
}

#[test]
fn sgd_follows_its_rule() {
    for nesterov in [false, true] {
        let mut m = 0.0;
        check_optimizer(Optimizer::Sgd { momentum: 0.9, nesterov, weight_decay: 0.01 }, |_, w, g| {
            let g = g + 0.01 * w;
            m = 0.9 * m + g;
            w - 0.1 * if nesterov { g + 0.9 * m } else { m }
        });
    }
}

#[test]
fn adamw_follows_its_rule() {
    let [mut m, mut v] = [0.0; 2];
    check_optimizer(Optimizer::AdamW { betas: [0.9, 0.99], eps: 1e-8, weight_decay: 0.01 }, |t, w, g| {
        m = 0.9 * m + 0.1 * g;
        v = 0.99 * v + 0.01 * g * g;
        let (mean, spread) = (m / (1.0 - 0.9f64.powi(t as i32)), v / (1.0 - 0.99f64.powi(t as i32)));
        w - 0.1 * (mean / (spread.sqrt() + 1e-8) + 0.01 * w)
    });
}

#[test]
fn the_evaluation_graph_is_the_classifier() {
    let model = network([6, 6, 1], 3);
    let graph = evaluation(&model, 4).expect("a classifier");
    let mut values = init::inputs(&model.specialise(4), 1);
    values.extend(init::randomise(&model, 2));
    assert!(graph.params().is_empty());
    let expected = interp::run(&model.specialise(4), &values).expect("it runs");
    assert_eq!(interp::run(&graph, &values).expect("it runs"), expected);
}

#[test]
fn a_small_network_learns() {
    let mut trainer = trainer(config());
    train(&mut trainer, 8);
    assert!(trainer.finished());
    let curve = trainer.curve();
    assert!(curve[7].loss < 0.5 * curve[0].loss, "{curve:?}");
    let test = trainer.evaluate(Part::Test).expect("there are test images");
    assert!(test.accuracy > 0.9, "{test:?}");
    let validation = trainer.evaluate(Part::Validation).expect("there are validation images");
    assert_eq!(trainer.curve()[7].validation, Some(validation.accuracy));
    assert_eq!(validation.images, 30);
}

#[test]
fn adamw_learns_too() {
    let optimizer = Optimizer::AdamW { betas: [0.9, 0.999], eps: 1e-8, weight_decay: 1e-2 };
    let mut trainer = trainer(TrainConfig { optimizer, learning_rate: 0.03, ..config() });
    train(&mut trainer, 8);
    assert!(trainer.evaluate(Part::Test).expect("there are test images").accuracy > 0.9);
}

#[test]
fn a_resumed_run_is_bit_equal_to_an_uninterrupted_one() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("run.checkpoint");
    let config = TrainConfig { images_per_epoch: Some(50), ..config() };
    let mut whole = trainer(config.clone());
    train(&mut whole, 3);

    let mut first = trainer(config.clone());
    train(&mut first, 1);
    first.save(&path).expect("saved");
    drop(first);
    let mut second = trainer(config);
    second.restore(&path).expect("restored");
    train(&mut second, 1);
    second.save(&path).expect("saved over the first");
    second.restore(&path).expect("restored");
    train(&mut second, 1);

    assert_eq!(whole.weights(), second.weights());
    let losses = |t: &Trainer| t.curve().iter().map(|e| (e.number, e.learning_rate, e.loss, e.accuracy)).collect::<Vec<_>>();
    assert_eq!(losses(&whole), losses(&second));
    assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 1, "no temporary file is left");
}

#[test]
fn bad_checkpoints_are_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("run.checkpoint");
    let missing = trainer(config()).restore(&path);
    assert!(matches!(missing, Err(TrainError::Io { .. })));
    trainer(config()).save(&path).expect("saved");
    let good = fs::read(&path).expect("it is there");
    for length in [0, 4, 8, 20, 100, good.len() - 1] {
        fs::write(&path, &good[..length]).expect("written");
        assert_eq!(checkpoint_problem(&path), CheckpointProblem::Damaged, "{length} bytes are left");
    }
    for at in [9, 50, good.len() / 2, good.len() - 1] {
        let mut bad = good.clone();
        bad[at] ^= 1;
        fs::write(&path, bad).expect("written");
        assert_eq!(checkpoint_problem(&path), CheckpointProblem::Damaged, "byte {at} is wrong");
    }
    fs::write(&path, "something else entirely").expect("written");
    assert_eq!(checkpoint_problem(&path), CheckpointProblem::Format);
    trainer(TrainConfig { seed: 4, ..config() }).save(&path).expect("saved");
    assert_eq!(checkpoint_problem(&path), CheckpointProblem::OtherRun);
    let nowhere = trainer(config()).save(&folder.path().join("missing/run.checkpoint"));
    assert!(matches!(nowhere, Err(TrainError::Io { .. })));
}

#[test]
fn divergence_is_an_outcome() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("run.checkpoint");
    let hopeless = TrainConfig { learning_rate: 1e30, ..config() };
    let mut run = trainer(hopeless.clone());
    let outcome = run.train_epoch().expect("the interpreter runs");
    assert!(matches!(outcome, Outcome::Diverged(d) if d.epoch == 1 && d.step > 1), "{outcome:?}");
    assert!(run.finished() && run.curve().is_empty());
    run.save(&path).expect("saved");
    let mut resumed = trainer(hopeless);
    resumed.restore(&path).expect("restored");
    assert_eq!(resumed.train_epoch().expect("nothing is run"), outcome);
}

#[test]
fn what_does_not_fit_is_refused() {
    let new = |model: &Graph, config: TrainConfig| Trainer::new(model, stripes(24), config, &Interpreter).err();
    let model = network([6, 6, 1], 3);
    assert!(new(&model, config()).is_none());
    for (model, config) in [
        (network([6, 7, 1], 3), config()),
        (network([6, 6, 1], 4), config()),
        (model.clone(), TrainConfig { batch: 0, ..config() }),
        (model.clone(), TrainConfig { batch: 19, ..config() }),
        (model.clone(), TrainConfig { images_per_epoch: Some(11), ..config() }),
        (model.clone(), TrainConfig { epochs: 0, ..config() }),
        (model.clone(), TrainConfig { learning_rate: f64::NAN, ..config() }),
    ] {
        let error = new(&model, config);
        assert!(matches!(error, Some(TrainError::Config(_))), "{error:?}");
    }
    let mut two = model.clone();
    two.outputs.push(two.outputs[0]);
    let mut frozen = Graph::new("frozen");
    let x = frozen.input("x", TensorType { shape: vec![Dim::Batch, Dim::Fixed(6), Dim::Fixed(6), Dim::Fixed(3)] });
    frozen.outputs = vec![frozen.push(Op::GlobalAvgPool, &[x]).expect("well typed")];
    for model in [two, frozen, Graph::new("empty")] {
        let error = training_step(&model, 4, &SGD);
        assert!(matches!(error, Err(TrainError::Model(_))), "{error:?}");
    }
}

#[test]
fn the_rate_falls_along_half_a_cosine() {
    let config = TrainConfig { epochs: 4, learning_rate: 0.8, ..TrainConfig::default() };
    let close = |a: f64, b: f64| assert!((a - b).abs() < 1e-12, "{a} and {b}");
    close(config.learning_rate_at(0, 0, 10), 0.8);
    close(config.learning_rate_at(2, 0, 10), 0.4);
    close(config.learning_rate_at(1, 5, 15), 0.4 * (1.0 + (std::f64::consts::PI / 3.0).cos()));
    close(config.learning_rate_at(4, 0, 10), 0.0);
}

#[test]
fn what_is_judged_is_the_average_of_the_weights() {
    let weights_after = |ema_decay, epochs| {
        let config = TrainConfig { ema_decay, ..config() };
        let mut trainer = Trainer::new(&network([6, 6, 1], 3), stripes(96), config, &Interpreter).unwrap();
        for _ in 0..epochs {
            trainer.train_epoch().unwrap();
        }
        trainer.weights()
    };
    let distance = |a: &Values, b: &Values| -> f32 {
        a.iter().map(|(name, x)| x.data.iter().zip(&b[name].data).map(|(x, y)| (x - y).abs()).sum::<f32>()).sum()
    };
    let (start, own, averaged) = (weights_after(0.99, 0), weights_after(0.0, 2), weights_after(0.99, 2));
    assert!(distance(&own, &averaged) > 0.0);
    assert!(distance(&start, &averaged) < distance(&start, &own), "an average lags behind");
}

#[test]
fn an_epoch_that_was_stopped_goes_on_from_its_step() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("run.checkpoint");
    let mut whole = trainer(config());
    train(&mut whole, 2);

    let mut first = trainer(config());
    train(&mut first, 1);
    let mut asked = 0;
    let stopped = first.train_epoch_while(&mut |partial| {
        assert_eq!((partial.steps, partial.of), (asked, 7));
        asked += 1;
        if asked > 3 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    assert_eq!(stopped.expect("the interpreter runs"), Outcome::Stopped);
    first.save(&path).expect("saved");
    let mut second = trainer(config());
    second.restore(&path).expect("restored");
    train(&mut second, 1);
    assert_eq!(whole.weights(), second.weights());
    let results = |t: &Trainer| t.curve().iter().map(|e| (e.number, e.loss, e.accuracy)).collect::<Vec<_>>();
    assert_eq!(results(&whole), results(&second));
}

#[test]
fn training_starts_from_given_weights() {
    let mut first = trainer(config());
    train(&mut first, 1);
    let weights = first.weights();
    let started = trainer(config()).start_from(&weights).expect("all weights are given");
    assert_eq!(started.weights(), weights);
    let accuracy = |t: &mut Trainer, weights: &Values| t.evaluate_weights(weights, Part::Test).expect("there are test images");
    let own = first.evaluate(Part::Test).expect("there are test images");
    assert_eq!(accuracy(&mut trainer(config()), &weights).loss, own.loss);

    // Another start is another run.
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("run.checkpoint");
    started.save(&path).expect("saved");
    assert_eq!(checkpoint_problem(&path), CheckpointProblem::OtherRun);
    let mut fewer = weights.clone();
    fewer.remove("head.bias");
    assert!(matches!(trainer(config()).start_from(&fewer), Err(TrainError::MissingWeight(name)) if name == "head.bias"));
    let mut other = weights;
    other.insert("head.bias".into(), Tensor::full(vec![4], 0.0));
    assert!(matches!(trainer(config()).start_from(&other), Err(TrainError::WeightShape { expected, .. }) if expected == [3]));
}

#[test]
fn smoothed_labels_keep_the_loss_above_their_entropy() {
    let smoothing = 0.3;
    let mut trainer = trainer(TrainConfig { label_smoothing: smoothing, ..config() });
    train(&mut trainer, 8);
    let [high, low] = [1.0 - smoothing + smoothing / 3.0, smoothing / 3.0];
    let entropy = -high * high.ln() - 2.0 * low * low.ln();
    let loss = trainer.curve().last().expect("an epoch").loss;
    assert!(loss > entropy && loss < entropy + 0.2, "{loss}, {entropy}");
}

#[test]
fn augmentations_are_written_as_they_are_read() {
    for text in ["none", "flip", "flip,crop=4", "crop=2,cutout=8"] {
        assert_eq!(text.parse::<Augment>().expect("an augmentation").to_string(), text);
    }
    for text in ["", "turn", "flip=1", "crop", "crop=", "crop=-1", "flip,,crop=1", "none,flip"] {
        assert!(text.parse::<Augment>().is_err(), "{text} was accepted");
    }
}
