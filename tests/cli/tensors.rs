//! Files of tensors: inputs, outputs and weights as `.npy`, as `.npz`, and raw.

use crate::Scratch;
use crate::command::sonar;
use crate::onnx_file::{batched, file, file_of, input, node, weight};
use sonar_files::{Array, Element, npy, npz};
use std::fs;

/// `first = a - b.c` and `second = a + b.c`, for any number of rows of three.
fn two() -> Vec<u8> {
    let nodes = vec![node("Sub", &["a", "b.c"], "first"), node("Add", &["a", "b.c"], "out/second")];
    file_of(nodes, vec![batched("a", "N", &[3]), batched("b.c", "N", &[3])], &["first", "out/second"], vec![])
}

/// `-x` for any number of rows of two.
fn negated() -> Vec<u8> {
    file(vec![node("Neg", &["x"], "y")], vec![input("x", &[0, 2])], "y", vec![])
}

fn array(shape: &[usize], data: &[f32]) -> Array {
    Array::from_f32(shape.to_vec(), data)
}

fn raw(data: &[f32]) -> Vec<u8> {
    data.iter().flat_map(|v| v.to_le_bytes()).collect()
}

fn read_npy(path: &str) -> Array {
    npy::parse(&fs::read(path).expect("the output is written")).expect("it is an array")
}

fn read_npz(path: &str) -> Vec<(String, Array)> {
    npz::parse(&fs::read(path).expect("the output is written")).expect("it is an archive")
}

#[test]
fn one_array() {
    let scratch = Scratch::new();
    let model = scratch.file("m.onnx", negated());
    let x = scratch.file("x.npy", npy::format(&array(&[1, 2], &[1.5, -2.0])));
    let output = scratch.arg("y.npy");
    for command in ["run", "bench"] {
        sonar(&[command, &model, "--input", &x, "--output", &output]).succeeds();
        assert_eq!(read_npy(&output), array(&[1, 2], &[-1.5, 2.0]));
        sonar(&[command, &model, "--input", &format!("x={x}"), "--output", &format!("y={output}")]).succeeds();
        assert_eq!(read_npy(&output), array(&[1, 2], &[-1.5, 2.0]));
    }
    // The contents tell what a file is, where its name says nothing; raw files still are.
    let unnamed = scratch.file("x.bin", npy::format(&array(&[1, 2], &[3.0, 4.0])));
    let (plain, bytes) = (scratch.file("x.f32", raw(&[3.0, 4.0])), scratch.arg("y.f32"));
    for x in [unnamed, plain] {
        sonar(&["run", &model, "--input", &x, "--output", &bytes, "--output", &output]).succeeds();
        assert_eq!(fs::read(&bytes).expect("it is written"), raw(&[-3.0, -4.0]));
        assert_eq!(read_npy(&output), array(&[1, 2], &[-3.0, -4.0]));
    }
    let several = scratch.file("three.npy", npy::format(&array(&[3, 2], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0])));
    sonar(&["run", &model, "--batch", "3", "--input", &several, "--output", &output]).succeeds();
    assert_eq!(read_npy(&output), array(&[3, 2], &[-1.0, -2.0, -3.0, -4.0, -5.0, -6.0]));
}

#[test]
fn arrays_by_name() {
    let scratch = Scratch::new();
    let model = scratch.file("m.onnx", two());
    let (a, b) = (array(&[1, 3], &[1.0, 2.0, 3.0]), array(&[1, 3], &[10.0, 20.0, 30.0]));
    let (first, second) = (array(&[1, 3], &[-9.0, -18.0, -27.0]), array(&[1, 3], &[11.0, 22.0, 33.0]));
    let expected = [("first".to_string(), first.clone()), ("out/second".to_string(), second.clone())];
    let together = scratch.file("in.npz", npz::format([("b.c", &b), ("a", &a)]).expect("it can be written"));
    let (just_a, just_b) = (scratch.file("a.npy", npy::format(&a)), scratch.file("b.f32", raw(&[10.0, 20.0, 30.0])));
    let both = scratch.file("both.f32", raw(&[1.0, 2.0, 3.0, 10.0, 20.0, 30.0]));
    let only = scratch.file("only.npz", npz::format([("whatever", &b)]).expect("it can be written"));
    let output = scratch.arg("out.npz");
    let ways: [&[&str]; 5] = [
        &["--input", &together],
        &["--input", &format!("a={just_a}"), "--input", &format!("b.c={just_b}")],
        &["--input", &format!("b.c={only}"), "--input", &format!("a={together}")],
        &["--input", &both],
        &["--input", &format!("b.c={just_b}"), "--input", &format!("a={just_a}")],
    ];
    for way in ways {
        sonar(&[&["run", &model, "--output", &output], way].concat()).succeeds();
        assert_eq!(read_npz(&output), expected);
    }
    let (one, two) = (scratch.arg("first.npy"), scratch.arg("second.f32"));
    let named = [format!("first={one}"), format!("out/second={two}")];
    sonar(&["run", &model, "--input", &together, "--output", &named[0], "--output", &named[1]]).succeeds();
    assert_eq!((read_npy(&one), fs::read(&two).expect("it is written")), (first, second.bytes));
    // One output of an archive, and a description in text.
    sonar(&["run", &model, "--input", &together, "--output", &format!("first={output}")]).succeeds();
    assert_eq!(read_npz(&output), expected[..1]);
    let text = "graph @f(%x: f32[N,2], %z: f32[N,2]) {\n  %sum = add(%x, %z)\n  return %sum, neg(%x)\n}";
    let text = scratch.file("m.sonar", text);
    let given = [("x", &array(&[1, 2], &[1.0, 2.0])), ("z", &array(&[1, 2], &[3.0, 4.0]))];
    let given = scratch.file("text.npz", npz::format(given).expect("it can be written"));
    sonar(&["run", &text, "--rewrite", "unfused", "--input", &given, "--output", &output]).succeeds();
    let found = read_npz(&output);
    assert_eq!(found.iter().map(|(_, array)| array.to_f32().expect("numbers")).collect::<Vec<_>>(), [[4.0, 6.0], [-1.0, -2.0]]);
    // Weights too.
    let linear =
        file(vec![node("MatMul", &["x", "w"], "y")], vec![input("x", &[1, 2])], "y", vec![weight("w", &[2, 1], &[1.0, 2.0])]);
    let linear = scratch.file("linear.onnx", linear);
    let weights = scratch.file("w.npz", npz::format([("w", &array(&[2, 1], &[5.0, 7.0]))]).expect("it can be written"));
    let x = scratch.file("x.npy", npy::format(&array(&[1, 2], &[1.0, 10.0])));
    let y = scratch.arg("y.npy");
    sonar(&["run", &linear, "--weights", &weights, "--input", &x, "--output", &y]).succeeds();
    assert_eq!(read_npy(&y), array(&[1, 1], &[75.0]));
}

#[test]
fn other_types_of_elements() {
    let scratch = Scratch::new();
    let (model, output) = (scratch.file("m.onnx", negated()), scratch.arg("y.npy"));
    let typed = |element, bytes: Vec<u8>| npy::format(&Array { shape: vec![1, 2], element, bytes });
    let accepted = [
        typed(Element::F64, [3f64, -4f64].map(f64::to_le_bytes).concat()),
        typed(Element::I64, [3i64, -4].map(i64::to_le_bytes).concat()),
        typed(Element::I8, vec![3, 252]),
        typed(Element::F16, vec![0x00, 0x42, 0x00, 0xc4]),
    ];
    for x in accepted {
        sonar(&["run", &model, "--input", &scratch.file("x.npy", x), "--output", &output]).succeeds();
        assert_eq!(read_npy(&output), array(&[1, 2], &[-3.0, 4.0]));
    }
    let large = typed(Element::I64, [0i64, 16_777_217].map(i64::to_le_bytes).concat());
    sonar(&["run", &model, "--input", &scratch.file("x.npy", large)])
        .fails(3, &["x.npy, for the input `x`", "element 1 is 16777217, which is not exact in 32-bit floating point"]);
}

#[test]
fn files_that_do_not_fit() {
    let scratch = Scratch::new();
    let (one, several) = (scratch.file("one.onnx", negated()), scratch.file("two.onnx", two()));
    let refused = |model: &str, input: &[&str], code: i32, parts: &[&str]| {
        let options: Vec<&str> = input.iter().flat_map(|file| ["--input", file]).collect();
        for command in ["run", "bench"] {
            sonar(&[&[command, model], &options[..]].concat()).fails(code, parts);
        }
    };
    let npy_of = |name: &str, shape: &[usize]| scratch.file(name, npy::format(&array(shape, &vec![0.0; shape.iter().product()])));
    let (pair, batch, flat) = (npy_of("pair.npy", &[1, 3]), npy_of("batch.npy", &[4, 2]), npy_of("flat.npy", &[2]));
    refused(&one, &[&pair], 3, &["pair.npy", "shape [1, 3]", "the input `x` has the shape [1, 2]"]);
    refused(&one, &[&batch], 3, &["batch.npy", "[4, 2]", "`x`", "[1, 2]", "--batch 4"]);
    refused(&one, &[&flat], 3, &["flat.npy", "[2]", "`x`", "[1, 2]"]);
    refused(&several, &[&pair], 3, &["pair.npy is for one input", "`a`, `b.c`", "NAME="]);
    refused(&several, &[&format!("a={pair}")], 3, &["no file gives the input `b.c`", "--input b.c=FILE"]);
    refused(&several, &[&format!("c={pair}")], 3, &["no input `c`", "`a`, `b.c`"]);
    refused(&several, &[&format!("a={pair}"), &format!("a={pair}")], 2, &["the input `a` twice"]);
    refused(&one, &[&scratch.arg("none.npy")], 3, &["cannot read", "none.npy", "No such file"]);
    refused(&one, &[&scratch.file("short.f32", raw(&[0.0]))], 3, &["short.f32 holds 1 numbers", "inputs have 2"]);
    let named = format!("x={}", scratch.arg("short.f32"));
    refused(&one, &[&named], 3, &["short.f32 holds 1 numbers", "the input `x` of shape [1, 2] has 2"]);
    let pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 136\n";
    refused(&one, &[&scratch.file("lfs.npy", pointer)], 3, &["lfs.npy", "not a .npy file", "Git-LFS"]);
    refused(&one, &[&scratch.file("lfs.npz", pointer)], 3, &["lfs.npz", "not a readable .npz file", "Git-LFS"]);
    refused(&one, &[&scratch.file("lfs.f32", pointer)], 3, &["lfs.f32", "Git-LFS"]);
    let whole = npy::format(&array(&[1, 2], &[0.0; 2]));
    refused(&one, &[&scratch.file("cut.npy", &whole[..whole.len() - 4])], 3, &["cut.npy", "4 bytes of elements", "takes 8"]);

    let a = array(&[1, 3], &[0.0; 3]);
    let archive =
        |arrays: &[(&str, &Array)]| scratch.file("in.npz", npz::format(arrays.iter().copied()).expect("it can be written"));
    refused(&several, &[&archive(&[("a", &a), ("B", &a)])], 3, &["in.npz has no array `b.c`", "`a`, `B`"]);
    let ran = sonar(&["run", &several, "--input", &archive(&[("a", &a), ("b.c", &a), ("label", &a)])]);
    assert!(ran.code == Some(0) && ran.stderr.contains("the array `label` is not used"), "{ran:#?}");

    let images = file(vec![node("Neg", &["image"], "y")], vec![input("image", &[1, 3, 4, 5])], "y", vec![]);
    let channels_last = npy_of("nhwc.npy", &[1, 4, 5, 3]);
    refused(&scratch.file("image.onnx", images), &[&channels_last], 3, &["[1, 4, 5, 3]", "[1, 3, 4, 5]", "another order"]);

    let y = scratch.arg("y.npy");
    sonar(&["run", &several, "--output", &y]).fails(3, &["y.npy is for one output", "`first`, `out/second`", "--output NAME="]);
    sonar(&["run", &several, "--output", &format!("third={y}")]).fails(3, &["no output `third`", "`first`, `out/second`"]);
    sonar(&["run", &one, "--output", &scratch.arg("no/y.npz")]).fails(3, &["cannot write", "no/y.npz"]);
}

#[test]
fn help_says_the_layout() {
    for command in ["run", "bench"] {
        let help = sonar(&[command, "--help"]).succeeds();
        let help = help.split_whitespace().collect::<Vec<_>>().join(" ");
        for part in ["[NAME=]FILE", ".npy", ".npz", "little-endian", "NCHW", "32-bit floating point", "last axis fastest"] {
            assert!(help.contains(part), "`{part}` is not in the help of {command}: {help}");
        }
    }
}
