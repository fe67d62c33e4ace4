//! What `--tolerance` permits, seen from outside: values that a graph rounds on purpose, and values that are no numbers.

use crate::Scratch;
use crate::command::sonar;

const LEVELS: [&str; 4] = ["unfused", "written", "fusion", "full"];

/// The output of a graph for an input of 64 elements.
fn outputs(scratch: &Scratch, graph: &str, x: &[f32], options: &[&str]) -> Vec<f32> {
    let model = scratch.file("model.sonar", graph);
    let input = scratch.path("x.f32");
    std::fs::write(&input, x.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>()).expect("the file can be written");
    let (input, output) = (scratch.arg("x.f32"), scratch.arg("y.f32"));
    let records = scratch.arg("records.db");
    let run = ["run", &model, "--input", &input, "--output", &output, "--records", &records];
    sonar(&[&run[..], options].concat()).succeeds();
    let bytes = std::fs::read(output).expect("there is an output");
    bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect()
}

/// Runs a graph at every level and with every tolerance given, which must give the same bits; a NaN is any NaN.
fn gives(graph: &str, x: &[f32], tolerances: &[&str], expected: impl Fn(f32) -> f32) {
    let scratch = Scratch::new();
    let expected: Vec<f32> = x.iter().map(|&x| expected(x)).collect();
    for level in LEVELS {
        for tolerance in tolerances {
            let found = outputs(&scratch, graph, x, &["--rewrite", level, "--tolerance", tolerance]);
            let same = |(a, b): (&f32, &f32)| a.to_bits() == b.to_bits() || (a.is_nan() && b.is_nan());
            let at = expected.iter().zip(&found).position(|pair| !same(pair));
            assert_eq!(at, None, "{level}, {tolerance}: {found:?} instead of {expected:?} for\n{graph}");
        }
    }
}

fn graph(body: &str, result: &str) -> String {
    format!("graph @g(%x: f32[N,64]) {{\n{body}  return %{result}\n}}\n")
}

#[test]
fn rounding_on_purpose_is_kept() {
    const MAGIC: f32 = 12_582_912.0;
    let constants = "  %s = splat {value=0.1, shape=[1]} : f32[1]\n  %c = splat {value=12582912, shape=[1]} : f32[1]\n";
    // Every fifth product is half-way between two integers once it is rounded.
    let x: Vec<f32> = (0..64).map(|i| i as f32).collect();
    let quantised = graph(
        &format!(
            "{constants}  %a = mul %x, %s : f32[N,64]\n  %b = add %a, %c : f32[N,64]\n  %d = sub %b, %c : f32[N,64]\n  %e = mul %d, %s : f32[N,64]\n"
        ),
        "e",
    );
    gives(&quantised, &x, &["exact", "1e-4", "1"], |x| ((x * 0.1 + MAGIC) - MAGIC) * 0.1);
    // After a product with a matrix: 64 · 0.25 · x is exact.
    let product = graph(
        &format!(
            "{constants}  %w = splat {{value=0.25, shape=[64,64]}} : f32[64,64]\n  %m = matmul %x, %w : f32[N,64]\n  %a = mul %m, %s : f32[N,64]\n  %b = add %a, %c : f32[N,64]\n  %d = sub %b, %c : f32[N,64]\n"
        ),
        "d",
    );
    let total: f32 = x.iter().sum::<f32>() * 0.25;
    gives(&product, &x, &["exact"], |_| (total * 0.1 + MAGIC) - MAGIC);
}

#[test]
fn exact_keeps_what_only_looks_simple() {
    let mut x: Vec<f32> = (0..64).map(|i| (i as f32 - 30.0) * 0.37).collect();
    x[..6].copy_from_slice(&[f32::NAN, f32::INFINITY, f32::NEG_INFINITY, -0.0, 1e-40, 3e38]);
    let constant = |value: &str| format!("  %c = splat {{value={value}, shape=[1]}} : f32[1]\n");
    gives(&graph(&format!("{}  %y = mul %x, %c : f32[N,64]\n", constant("0")), "y"), &x, &["exact"], |x| x * 0.0);
    gives(&graph("  %y = sub %x, %x : f32[N,64]\n", "y"), &x, &["exact"], |x| x - x);
    let twice = "  %a = add %x, %c : f32[N,64]\n  %y = sub %a, %c : f32[N,64]\n";
    gives(&graph(&format!("{}{twice}", constant("0.7")), "y"), &x, &["exact"], |x| (x + 0.7) - 0.7);
    let scaled = "  %a = mul %x, %c : f32[N,64]\n  %y = mul %a, %c : f32[N,64]\n";
    gives(&graph(&format!("{}{scaled}", constant("1e30")), "y"), &x, &["exact"], |x| (x * 1e30) * 1e30);
    // A product is rounded before it is added.
    let fused = "  %a = mul %x, %c : f32[N,64]\n  %y = add %a, %x : f32[N,64]\n";
    gives(&graph(&format!("{}{fused}", constant("0.1")), "y"), &x, &["exact"], |x| x * 0.1 + x);
    // The error of a sum, as compensated summation needs it.
    let error = "  %a = add %x, %c : f32[N,64]\n  %b = sub %a, %x : f32[N,64]\n  %y = sub %b, %c : f32[N,64]\n";
    gives(&graph(&format!("{}{error}", constant("0.3")), "y"), &x, &["exact"], |x| ((x + 0.3) - x) - 0.3);
}
