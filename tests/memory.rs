//! Memory of whole models: the arena is little larger than what has to be alive at once, and weights are kept once.

mod support;

use sonar_ir::Graph;
use sonar_ir::graph::init;
use sonar_tune::{CompileOptions, RewriteLevel, Target, compile, lower, plan};
use support::examples::{Example, FOLDERS, examples};

/// The graphs of a folder of examples; of a space, the baseline.
fn graphs(folder: &str) -> Vec<Graph> {
    examples(folder).iter().map(Example::graph).collect()
}

#[test]
fn arenas_are_little_larger_than_the_largest_live_set() {
    let mut worst = 0.0f64;
    for graph in FOLDERS.into_iter().flat_map(graphs) {
        for name in ["x86-64-v2", "x86-64-v3", "x86-64-v4"] {
            let target = Target::parse(name).expect("a known target");
            for (rewrite, batch, threads) in
                [(RewriteLevel::Full, 1, 1), (RewriteLevel::Full, 3, 2), (RewriteLevel::Written, 1, 1)]
            {
                let options = CompileOptions { rewrite, batch, threads, ..CompileOptions::new(&target) };
                let plan = plan(lower(&graph, &options).expect("it lowers"), &options).expect("it plans").plan;
                // Tensors begin on cache lines, which counts where all of them are small.
                let lines = 16 * plan.slots.len().min(8);
                let live = plan.largest_live_set();
                assert!(plan.arena <= live * 6 / 5 + lines, "{}, {name}: {} for {live}", graph.name, plan.arena);
                if live > 10_000 {
                    worst = worst.max(plan.arena as f64 / live as f64);
                }
            }
        }
    }
    assert!((1.0..=1.2).contains(&worst), "the largest arena is {worst} of what is alive");
}

#[test]
fn a_loaded_model_keeps_each_weight_once() {
    let target = Target::native().expect("a known target");
    for graph in graphs("ir-examples/models") {
        // Transformed filters of Winograd's algorithm are larger than what they come from.
        let options = CompileOptions { max_rounding: 2e-6, ..CompileOptions::new(&target) };
        let compiled = compile(&graph, &options).expect("it compiles");
        let model = compiled.load(&init::randomise(&compiled.lowered.graph, 1)).expect("the weights fit");
        let main = &compiled.lowered.folded.main;
        let lengths =
            main.params().into_iter().filter_map(|id| main.ty(id).extents()).map(|shape| shape.iter().product::<usize>());
        let bytes: usize = lengths.map(|len| 4 * len.next_multiple_of(16)).sum();
        // Average poolings keep tables of shares beside the weights.
        let kept = model.weight_bytes();
        assert!((bytes..=bytes * 21 / 20).contains(&kept), "{}: {kept} bytes for weights of {bytes}", graph.name);
        let workspace = model.context().expect("threads start").workspace_bytes();
        let live = 4 * compiled.plan.largest_live_set();
        assert!(workspace <= live * 6 / 5 + 512, "{}: a workspace of {workspace} bytes for {live}", graph.name);
    }
}

/// Two kernels that read other rows, and pack one weight in the same way.
#[test]
fn a_weight_that_several_kernels_pack_alike_is_kept_once() {
    let text = "graph @rows(%x: f32[2,256], param %w: f32[256,256]) {
  %0 = slice %x {axis=0, start=0, end=1} : f32[1,256]
  %1 = slice %x {axis=0, start=1, end=2} : f32[1,256]
  %2 = matmul %0, %w : f32[1,256]
  %3 = tanh %2 : f32[1,256]
  %4 = mul %3, %1 : f32[1,256]
  %5 = matmul %4, %w : f32[1,256]
  %6 = matmul %1, %w : f32[1,256]
  return %5, %6
}
";
    let graph = sonar_ir::text::parse_graph(text).expect("it is well-formed");
    let target = Target::native().expect("a known target");
    let options = CompileOptions { rewrite: RewriteLevel::Written, ..CompileOptions::new(&target) };
    let compiled = compile(&graph, &options).expect("it compiles");
    assert!(compiled.plan.kernels.len() > 1, "the kernels differ");
    let model = compiled.load(&init::randomise(&graph, 1)).expect("the weights fit");
    assert_eq!(model.weight_bytes(), 4 * 256 * 256);
}
