//! Kernels by themselves, one thread, default schedules. After the run a table tells how each compares with the processor:
//! GFLOP/s and the share of the measured multiply-add peak for kernels that compute, GB/s for those that move data.
//!
//! `cargo bench -p sonar-compile --bench kernels`; some of them only: `cargo bench -p sonar-compile --bench kernels -- matmul`

mod support;

use criterion::{Criterion, Throughput};
use sonar_codegen::peak_gflops;
use sonar_ir::text::parse_graph;
use std::time::Duration;
use support::Runnable;

/// Of one kernel: its work and its shortest time.
struct Row {
    name: &'static str,
    flops: f64,
    bytes: f64,
    seconds: f64,
}

fn main() {
    support::pin();
    let mut criterion = Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_millis(600))
        .configure_from_args();
    let (rows, peak) = measure(&mut criterion);
    criterion.final_summary();
    if !rows.is_empty() {
        print(&rows, peak);
    }
}

/// Measures all kernels, and the peak next to each of them, for the clock of a processor changes with time: the highest
/// one found is what they are compared with.
fn measure(criterion: &mut Criterion) -> (Vec<Row>, f64) {
    let target = support::native();
    let mut peak: f64 = 0.0;
    let mut group = criterion.benchmark_group("kernels");
    let mut rows = Vec::new();
    for (name, source) in kernels() {
        let graph = parse_graph(&source).unwrap_or_else(|e| panic!("{name}: {e}"));
        let mut kernel = Runnable::new(&graph);
        assert_eq!(kernel.kernels(), 1, "{name} is more than one kernel");
        let mut seconds = f64::INFINITY;
        peak = peak.max(peak_gflops(&target).expect("the peak can be measured"));
        group.throughput(Throughput::Elements(kernel.flops()));
        group.bench_function(name, |bencher| {
            bencher.iter_custom(|runs| {
                let elapsed = kernel.time(runs);
                // A single run is cold; with `--test` there is no other.
                if runs > 1 {
                    seconds = seconds.min(elapsed.as_secs_f64() / runs as f64);
                }
                elapsed
            });
        });
        if seconds.is_finite() {
            rows.push(Row { name, flops: kernel.flops() as f64, bytes: kernel.bytes() as f64, seconds });
        }
    }
    group.finish();
    (rows, peak)
}

fn print(rows: &[Row], peak: f64) {
    println!("multiply-add peak of one core: {peak:.0} GFLOP/s");
    println!("{:<24}{:>9}{:>9}{:>9}{:>8}", "kernel", "µs", "GFLOP/s", "of peak", "GB/s");
    for Row { name, flops, bytes, seconds } in rows {
        let rate = flops / seconds / 1e9;
        let share = format!("{:.0}%", 100.0 * rate / peak);
        println!("{name:<24}{:>9.2}{rate:>9.1}{share:>9}{:>8.1}", seconds * 1e6, bytes / seconds / 1e9);
    }
}

/// The kernels that the example spaces are made of, by name, and products of matrices of regular and of odd extents.
fn kernels() -> Vec<(&'static str, String)> {
    vec![
        ("conv3x3 32×32×16", conv([32, 32, 16], 16, 3, 1)),
        ("conv3x3 16×16×32", conv([16, 16, 32], 32, 3, 1)),
        ("conv3x3 8×8×64", conv([8, 8, 64], 64, 3, 1)),
        ("conv3x3 28×28×8", conv([28, 28, 8], 8, 3, 1)),
        ("conv3x3 stem 32×32×3→16", conv([32, 32, 3], 16, 3, 1)),
        ("conv3x3/2 32×32×16→32", conv([32, 32, 16], 32, 3, 2)),
        ("conv3x3/2 16×16×32→64", conv([16, 16, 32], 64, 3, 2)),
        ("conv5x5 16×16×32", conv([16, 16, 32], 32, 5, 1)),
        ("conv1x1 32×32×16", conv([32, 32, 16], 16, 1, 1)),
        ("conv1x1 16×16×32", conv([16, 16, 32], 32, 1, 1)),
        ("conv1x1 8×8×64", conv([8, 8, 64], 64, 1, 1)),
        ("depthwise3x3 32×32×32", depthwise([32, 32, 32])),
        ("matmul 128", matmul(128, 128, 128)),
        ("matmul 256", matmul(256, 256, 256)),
        ("matmul 512", matmul(512, 512, 512)),
        ("matmul 127×65×33", matmul(127, 65, 33)),
        ("matmul 1×784×512", matmul(1, 784, 512)),
        ("avg_pool3x3 32×32×16", image([32, 32, 16], "avg_pool(%x) {kernel=3, stride=1, pad=1}")),
        ("avg_pool3x3 8×8×64", image([8, 8, 64], "avg_pool(%x) {kernel=3, stride=1, pad=1}")),
        ("max_pool2x2 32×32×16", image([32, 32, 16], "max_pool(%x) {kernel=2, stride=2}")),
        ("global_avg_pool 8×8×64", image([8, 8, 64], "global_avg_pool(%x)")),
        ("add+relu 32×32×16", residual([32, 32, 16])),
        ("add+relu 8×8×64", residual([8, 8, 64])),
    ]
}

/// A convolution with a bias and a ReLU, padded so that stride alone makes the image smaller.
fn conv([h, w, c]: [usize; 3], out: usize, kernel: usize, stride: usize) -> String {
    format!(
        "graph @conv(%x: f32[1,{h},{w},{c}]) {{
           param %w: f32[{kernel},{kernel},{c},{out}] = he
           param %b: f32[{out}] = zeros
           return relu(add(conv2d(%x, %w) {{stride={stride}, pad=same}}, %b))
         }}"
    )
}

/// A depthwise 3×3 convolution.
fn depthwise([h, w, c]: [usize; 3]) -> String {
    format!(
        "graph @depthwise(%x: f32[1,{h},{w},{c}]) {{
           param %w: f32[3,3,1,{c}] = he
           return conv2d(%x, %w) {{pad=same, groups={c}}}
         }}"
    )
}

/// The product of an input of `m` rows with a weight.
fn matmul(m: usize, k: usize, n: usize) -> String {
    format!("graph @matmul(%a: f32[{m},{k}], param %b: f32[{k},{n}]) {{ return matmul(%a, %b) }}")
}

/// An operator on the image `%x`.
fn image([h, w, c]: [usize; 3], operator: &str) -> String {
    format!("graph @image(%x: f32[1,{h},{w},{c}]) {{ return {operator} }}")
}

/// The end of a residual block.
fn residual([h, w, c]: [usize; 3]) -> String {
    format!("graph @residual(%x: f32[1,{h},{w},{c}], %y: f32[1,{h},{w},{c}]) {{ return relu(add(%x, %y)) }}")
}
