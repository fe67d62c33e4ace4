//! Kernels by themselves, one thread, untuned: GFLOP/s, GB/s, and the share of the processor's measured peak.
//!
//! `cargo bench -p sonar-compile --bench kernels`

mod support;

use criterion::{Criterion, Throughput};
use sonar_codegen::{Target, peak_gflops, pin_to_one_processor};
use sonar_ir::{Graph, text};
use std::time::{Duration, Instant};
use support::Runnable;

/// A convolution of a square image with a bias and a ReLU.
fn conv(size: usize, channels: usize, out: usize, kernel: usize, attributes: &str) -> String {
    let stride = if attributes.contains("stride=2") { 2 } else { 1 };
    let result = size / stride;
    format!(
        "graph @conv(%x: f32[1,{size},{size},{channels}]) {{
           param %w: f32[{kernel},{kernel},{channels},{out}] = he
           param %b: f32[{out}] = zeros
           %y = conv2d %x, %w {{{attributes}}} : f32[1,{result},{result},{out}]
           return relu(add(%y, %b))
         }}"
    )
}

fn depthwise(size: usize, channels: usize) -> String {
    format!(
        "graph @depthwise(%x: f32[1,{size},{size},{channels}]) {{
           param %w: f32[3,3,1,{channels}] = he
           return conv2d(%x, %w) {{pad=same, groups={channels}}}
         }}"
    )
}

fn matmul(m: usize, k: usize, n: usize) -> String {
    format!("graph @matmul(%a: f32[{m},{k}], param %b: f32[{k},{n}]) {{ return matmul(%a, %b) }}")
}

fn unary(size: usize, channels: usize, body: &str) -> String {
    format!("graph @kernel(%x: f32[1,{size},{size},{channels}], %y: f32[1,{size},{size},{channels}]) {{ return {body} }}")
}

fn kernels() -> Vec<(&'static str, String)> {
    vec![
        ("conv3x3 32×32×16", conv(32, 16, 16, 3, "pad=same")),
        ("conv3x3 16×16×32", conv(16, 32, 32, 3, "pad=same")),
        ("conv3x3 8×8×64", conv(8, 64, 64, 3, "pad=same")),
        ("conv3x3 28×28×8", conv(28, 8, 8, 3, "pad=same")),
        ("conv3x3/2 32×32×16→32", conv(32, 16, 32, 3, "stride=2, pad=1")),
        ("conv5x5 16×16×32", conv(16, 32, 32, 5, "pad=same")),
        ("conv1x1 32×32×16", conv(32, 16, 16, 1, "")),
        ("conv1x1 14×14×96→24", conv(14, 96, 24, 1, "")),
        ("depthwise3x3 32×32×32", depthwise(32, 32)),
        ("matmul 128", matmul(128, 128, 128)),
        ("matmul 512", matmul(512, 512, 512)),
        ("matmul 127×65×33", matmul(127, 65, 33)),
        ("matmul 1×784×512", matmul(1, 784, 512)),
        ("avg_pool3x3 32×32×16", unary(32, 16, "avg_pool(%x) {kernel=3, stride=1, pad=1}, %y")),
        ("max_pool2x2 32×32×16", unary(32, 16, "max_pool(%x) {kernel=2, stride=2}, %y")),
        ("add+relu 32×32×16", unary(32, 16, "relu(add(%x, %y))")),
        ("add+relu 16×16×32", unary(16, 32, "relu(add(%x, %y))")),
        ("global_avg_pool 8×8×64", unary(8, 64, "global_avg_pool(%x), %y")),
    ]
}

/// Of one kernel: its name, operations, bytes and fastest seconds.
struct Row(&'static str, f64, f64, f64);

fn main() {
    if !pin_to_one_processor() {
        eprintln!("warning: not pinned to a processor");
    }
    let mut criterion = Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_millis(600))
        .configure_from_args();
    let mut group = criterion.benchmark_group("kernels");
    let mut rows = Vec::new();
    for (name, source) in kernels() {
        let graph: Graph = text::parse_graph(&source).unwrap_or_else(|e| panic!("{name}: {e}"));
        let mut kernel = Runnable::new(&graph, 1, true);
        let mut fastest = f64::INFINITY;
        group.throughput(Throughput::Elements(kernel.flops().max(1)));
        group.bench_function(name, |bencher| {
            bencher.iter_custom(|runs| {
                let start = Instant::now();
                (0..runs).for_each(|_| kernel.run());
                let elapsed = start.elapsed();
                fastest = fastest.min(elapsed.as_secs_f64() / runs as f64);
                elapsed
            });
        });
        if fastest.is_finite() {
            rows.push(Row(name, kernel.flops() as f64, kernel.bytes() as f64, fastest));
        }
    }
    group.finish();
    criterion.final_summary();
    let peak = peak_gflops(&Target::native().expect("this machine is supported")).expect("the peak can be measured");
    println!("peak of one core: {peak:.0} GFLOP/s\n{:<26}{:>9}{:>9}{:>9}{:>8}", "kernel", "µs", "GFLOP/s", "of peak", "GB/s");
    for Row(name, flops, bytes, seconds) in rows {
        let rate = flops / seconds / 1e9;
        let share = format!("{:.0}%", 100.0 * rate / peak);
        println!("{name:<26}{:>9.2}{rate:>9.1}{share:>9}{:>8.1}", seconds * 1e6, bytes / seconds / 1e9);
    }
}
