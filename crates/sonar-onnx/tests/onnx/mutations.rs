//! Files with bytes changed, cut out or put in: they are imported or refused, and nothing else happens.
//!
//! `SONAR_ONNX_MUTATIONS` sets how many there are, `SONAR_ONNX_SEED` from which on.

use super::support::*;
use prost::Message;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use sonar_onnx::proto::*;
use sonar_onnx::{ImportOptions, import_model};
use std::path::Path;
use std::time::{Duration, Instant};

/// Mutations in an ordinary run of the tests.
const MUTATIONS: u64 = 100_000;

/// No file may take longer than this.
const LIMIT: Duration = Duration::from_secs(1);

/// No process may have taken more than this, in kibibytes.
const MEMORY: u64 = 1 << 20;

/// Small models that between them have every kind of field.
fn originals() -> Vec<Vec<u8>> {
    let integers = |name: &str, data: &[i64]| TensorProto {
        name: name.into(),
        dims: vec![data.len() as i64],
        data_type: DataType::Int64 as i32,
        int64_data: data.to_vec(),
        ..Default::default()
    };
    let raw = |name: &str, shape: &[i64], count: usize| TensorProto {
        name: name.into(),
        dims: shape.to_vec(),
        data_type: DataType::Float as i32,
        raw_data: (0..count).flat_map(|i| (i as f32 * 0.25).to_le_bytes()).collect::<Vec<u8>>().into(),
        ..Default::default()
    };
    let network = model(
        13,
        &[("x", &[1, 3, 8, 8])],
        vec![raw("w", &[4, 3, 3, 3], 108), raw("b", &[4], 4), raw("m", &[4, 5], 20)],
        vec![
            node("Conv", &[ints("pads", &[1, 1, 1, 1]), ints("strides", &[2, 2])], &["x", "w", "b"], &["c"]),
            node("Relu", &[], &["c"], &["r"]),
            node("MaxPool", &[ints("kernel_shape", &[2, 2]), text("auto_pad", "SAME_UPPER")], &["r"], &["p"]),
            node("GlobalAveragePool", &[], &["p"], &["g"]),
            node("Flatten", &[int("axis", 1)], &["g"], &["f"]),
            node("MatMul", &[], &["f", "m"], &["y"]),
        ],
        &["y"],
    );
    let shapes = model(
        13,
        &[("x", &[2, 3, 4])],
        vec![integers("i", &[0, 2]), integers("two", &[2]), integers("pads", &[0, 1, 0, 0, 1, 0])],
        vec![
            node("Shape", &[], &["x"], &["s"]),
            node("Gather", &[int("axis", 0)], &["s", "i"], &["t"]),
            node("Mul", &[], &["t", "two"], &["u"]),
            node("Concat", &[int("axis", 0)], &["u", "two"], &["v"]),
            node("ConstantOfShape", &[], &["v"], &["z"]),
            node("Pad", &[text("mode", "reflect")], &["x", "pads"], &["p"]),
            node("Range", &[], &["two", "two", "two"], &["range"]),
            node("Tile", &[], &["x", "v"], &["tiled"]),
            node("Transpose", &[ints("perm", &[2, 0, 1])], &["p"], &["y"]),
        ],
        &["y", "z"],
    );
    let resized = model(
        13,
        &[("x", &[1, 2, 4, 4])],
        vec![constant("scales", &tensor(&[4], &[1.0, 1.0, 1.5, 2.0])), integers("steps", &[-1, 2])],
        vec![
            node("Resize", &[text("mode", "linear")], &["x", "", "scales"], &["r"]),
            node("Slice", &[], &["r", "steps", "steps", "steps", "steps"], &["s"]),
            node(
                "AveragePool",
                &[ints("kernel_shape", &[3, 3]), ints("dilations", &[2, 1]), int("ceil_mode", 1)],
                &["r"],
                &["a"],
            ),
            node("ReduceMean", &[ints("axes", &[2, 3]), int("keepdims", 0)], &["a"], &["m"]),
            node("Softmax", &[int("axis", -1)], &["m"], &["y"]),
        ],
        &["y"],
    );
    let recurrent = model(
        14,
        &[("x", &[3, 1, 2])],
        vec![raw("w", &[1, 8, 2], 16), raw("r", &[1, 8, 2], 16), raw("b", &[1, 16], 16)],
        vec![node(
            "LSTM",
            &[int("hidden_size", 2), texts("activations", &["Sigmoid", "Tanh", "Tanh"])],
            &["x", "w", "r", "b"],
            &["y", "h", "c"],
        )],
        &["y", "c"],
    );
    let transposed = model(
        11,
        &[("x", &[1, 2, 3, 3])],
        vec![raw("w", &[2, 1, 3, 3], 18), constant("slope", &tensor(&[2, 1, 1], &[0.5, 0.25]))],
        vec![
            node(
                "ConvTranspose",
                &[ints("strides", &[2, 2]), ints("output_padding", &[1, 1]), int("group", 2)],
                &["x", "w"],
                &["t"],
            ),
            node("PRelu", &[], &["t", "slope"], &["p"]),
            node("Split", &[int("axis", 1)], &["p"], &["a", "b"]),
            node("Gemm", &[float("alpha", 0.5)], &["a", "b"], &["none"]),
            node("Sum", &[], &["a", "b"], &["y"]),
        ],
        &["y"],
    );
    let mut sparse = model(
        17,
        &[("x", &[1, 6])],
        vec![],
        vec![node("MatMul", &[], &["x", "s"], &["p"]), node("Softmax", &[], &["p"], &["y"])],
        &["y"],
    );
    let graph = sparse.graph.as_mut().expect("a model has a graph");
    graph.sparse_initializer.push(SparseTensorProto {
        values: Some(constant("s", &tensor(&[3], &[1.0, 2.0, 3.0]))),
        indices: Some(TensorProto { dims: vec![3, 2], ..integers("", &[0, 1, 2, 2, 5, 3]) }),
        dims: vec![6, 4],
    });
    graph.value_info.push(info("p", Some(&[1, 4])));
    [network, shapes, resized, recurrent, transposed, sparse].iter().map(Message::encode_to_vec).collect()
}

/// Changes a few bytes, cuts some off or out, or puts in some of the same file or another.
fn mutate(r: &mut StdRng, originals: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = originals[r.random_range(0..originals.len())].clone();
    for _ in 0..r.random_range(1..5) {
        if bytes.is_empty() {
            break;
        }
        let at = r.random_range(0..bytes.len());
        match r.random_range(0..8) {
            0 | 1 => bytes[at] ^= 1 << r.random_range(0..8),
            2 | 3 => bytes[at] = [0, 1, 2, 0x7f, 0x80, 0xff, b'0', r.random()][r.random_range(0..8)],
            4 => bytes.truncate(at),
            5 => {
                let end = r.random_range(at..bytes.len().min(at + 16)) + 1;
                bytes.drain(at..end);
            }
            6 => {
                let other = &originals[r.random_range(0..originals.len())];
                let from = r.random_range(0..other.len());
                let part = &other[from..other.len().min(from + r.random_range(1..64))];
                bytes.splice(at..at, part.iter().copied());
            }
            // A number of many bytes, such as an extent or a length.
            _ => {
                let mut number: Vec<u8> = (0..r.random_range(1..9)).map(|_| 0x80 | r.random::<u8>()).collect();
                number.push(r.random_range(0..128));
                let end = bytes.len().min(at + r.random_range(0..number.len() + 1));
                bytes.splice(at..end, number);
            }
        }
    }
    bytes
}

/// Changes a few numbers, names or operators, so that a file stays one, but means something else.
fn distort(r: &mut StdRng, model: &mut ModelProto, operators: &[String]) {
    let Some(graph) = &mut model.graph else { return };
    let odd = |r: &mut StdRng| match r.random_range(0..3) {
        0 => r.random_range(-3..9),
        1 => [1 << 20, 1 << 31, 1 << 33, 1 << 62, i64::MAX, i64::MIN, -(1 << 31), 4097][r.random_range(0..8)],
        _ => r.random_range(0..64),
    };
    for _ in 0..r.random_range(1..4) {
        let (nodes, tensors) = (graph.node.len(), graph.initializer.len());
        match r.random_range(0..10) {
            0 if tensors > 0 => {
                let tensor = &mut graph.initializer[r.random_range(0..tensors)];
                for list in [&mut tensor.int64_data, &mut tensor.dims] {
                    if !list.is_empty() && r.random() {
                        let at = r.random_range(0..list.len());
                        list[at] = odd(r);
                    }
                }
                for value in &mut tensor.float_data {
                    *value = [0.0, -1.0, 1e-9, 1e9, f32::NAN, f32::INFINITY, 1.0, 0.3][r.random_range(0..8)];
                }
            }
            1 | 2 if nodes > 0 => {
                let attributes = &mut graph.node[r.random_range(0..nodes)].attribute;
                let count = attributes.len();
                if count > 0 {
                    let attribute = &mut attributes[r.random_range(0..count)];
                    attribute.i = odd(r);
                    if attribute.ints.is_empty() || r.random_range(0..4) == 0 {
                        attribute.ints.push(odd(r));
                    } else {
                        let at = r.random_range(0..attribute.ints.len());
                        attribute.ints[at] = odd(r);
                    }
                }
            }
            3 if nodes > 0 => {
                graph.node[r.random_range(0..nodes)].op_type = operators[r.random_range(0..operators.len())].clone()
            }
            4 if nodes > 0 => {
                // Another argument, one more or one fewer.
                let names: Vec<String> = graph.node.iter().flat_map(|n| n.input.iter().chain(&n.output)).cloned().collect();
                let inputs = &mut graph.node[r.random_range(0..nodes)].input;
                let name = names[r.random_range(0..names.len())].clone();
                match r.random_range(0..3) {
                    0 => inputs.push(name),
                    1 => drop(inputs.pop()),
                    _ => inputs.iter_mut().take(1).for_each(|input| *input = name.clone()),
                }
            }
            5 => {
                for info in &mut graph.input {
                    let tensor = info.r#type.as_mut().and_then(|t| t.tensor_type.as_mut());
                    for dim in tensor.into_iter().flat_map(|t| &mut t.shape).flat_map(|s| &mut s.dim) {
                        if r.random() {
                            dim.value = Some(Dimension::DimValue(odd(r)));
                        }
                    }
                }
            }
            6 if nodes > 0 => {
                // Another order, or a name that something else has.
                let (from, to) = (r.random_range(0..nodes), r.random_range(0..nodes));
                match r.random_range(0..3) {
                    0 => graph.node.swap(from, to),
                    1 => graph.node[to].output = graph.node[from].output.clone(),
                    _ => graph.node[to].output = graph.node[from].input.clone(),
                }
            }
            7 if nodes > 0 => {
                let name = graph.node[r.random_range(0..nodes)].output.first().cloned().unwrap_or_default();
                let shape: Vec<usize> = (0..r.random_range(0..4)).map(|_| r.random_range(0..5)).collect();
                graph.value_info.push(info(&name, Some(&shape)));
            }
            8 => {
                for sparse in &mut graph.sparse_initializer {
                    let list = match &mut sparse.indices {
                        Some(indices) if r.random() => &mut indices.int64_data,
                        _ => &mut sparse.dims,
                    };
                    list.iter_mut().for_each(|v| *v = odd(r));
                }
            }
            _ => model.opset_import.iter_mut().for_each(|opset| opset.version = r.random_range(9..24)),
        }
    }
}

/// Operators that some file may be changed to have.
const OPERATORS: &[&str] = &[
    "Add",
    "Div",
    "Pow",
    "Concat",
    "Split",
    "Slice",
    "Reshape",
    "Flatten",
    "Squeeze",
    "Unsqueeze",
    "Transpose",
    "Expand",
    "Tile",
    "Pad",
    "Gather",
    "Resize",
    "Upsample",
    "Softmax",
    "LayerNormalization",
    "InstanceNormalization",
    "BatchNormalization",
    "ReduceSum",
    "ReduceMean",
    "ReduceProd",
    "Cast",
    "Shape",
    "Size",
    "ConstantOfShape",
    "Constant",
    "Range",
    "Where",
    "Equal",
    "Mod",
    "GRU",
    "RNN",
    "LSTM",
    "Conv",
    "ConvTranspose",
    "MaxPool",
    "AveragePool",
    "GlobalMaxPool",
    "GlobalAveragePool",
    "Gemm",
    "MatMul",
    "Clip",
    "PRelu",
    "Dropout",
    "DepthToSpace",
    "SpaceToDepth",
    "Sum",
    "Max",
    "Not",
    "And",
    "Sign",
    "Floor",
    "Identity",
];

/// Time that this thread has computed for, as far as the system tells: others may compute on the same cores.
fn computed(since: Instant) -> Duration {
    let told = std::fs::read_to_string("/proc/thread-self/schedstat").ok();
    let nanoseconds = told.and_then(|text| text.split_whitespace().next()?.parse().ok());
    nanoseconds.map_or_else(|| since.elapsed(), Duration::from_nanos)
}

/// The most memory that this process had at once, in kibibytes.
fn peak() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?.trim().trim_end_matches(" kB").parse().ok()
}

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name}: `{text}` is no number")))
}

#[test]
fn mutated_files_do_no_harm() {
    let originals = originals();
    let operators: Vec<String> = OPERATORS.iter().map(ToString::to_string).collect();
    let (first, count) = (setting("SONAR_ONNX_SEED", 0), setting("SONAR_ONNX_MUTATIONS", MUTATIONS));
    let begin = Instant::now();
    let (mut valid, mut slowest) = (0, Duration::ZERO);
    for seed in first..first + count {
        let mut r = StdRng::seed_from_u64(seed);
        let bytes = if seed.is_multiple_of(2) {
            mutate(&mut r, &originals)
        } else {
            let original = &originals[r.random_range(0..originals.len())];
            let mut model = ModelProto::decode(&original[..]).expect("an original is a model");
            distort(&mut r, &mut model, &operators);
            model.encode_to_vec()
        };
        let start = computed(begin);
        if let Ok(model) = ModelProto::decode(&bytes[..])
            && import_model(&model, Path::new("/nonexistent"), &ImportOptions::default()).is_ok()
        {
            valid += 1;
        }
        let took = computed(begin).saturating_sub(start);
        assert!(took < LIMIT, "seed {seed} took {took:?}");
        slowest = slowest.max(took);
        if let Some(peak) = peak().filter(|_| seed.is_multiple_of(64) || took > LIMIT / 10) {
            assert!(peak < MEMORY, "the process has taken {peak} KiB by seed {seed}");
        }
    }
    // Some change nothing that matters, and most matter: else this tests nothing.
    assert!(valid > count / 100 && valid < count, "{valid} of {count} mutated files are valid");
    println!("{count} mutations, {valid} of them valid; the slowest took {slowest:?}; peak memory {:?} KiB", peak());
}
