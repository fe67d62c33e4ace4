//! Every file under `ir-examples/` on the reference interpreter and as compiled code of every target this machine runs,
//! as it is written and rewritten: they must agree. Of a space, the baseline and random candidates are taken.
//!
//! How a file is run stands at its head: see `support/examples.rs`.

mod support;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use sonar_ir::Graph;
use sonar_ir::graph::{init, interp};
use sonar_ir::text::parse_graph;
use sonar_tune::RewriteLevel;
use support::command::sonar;
use support::examples::{Directive, Example, examples};
use support::{Variant, run_compiled, targets};

/// What the symbolic batch is bound to.
const BATCH: usize = 2;

/// Random candidates of a space.
const SAMPLES: usize = 4;

/// The stages that `inspect` prints.
const STAGES: [&str; 7] = ["graph", "egraph", "rewritten", "loops", "schedule", "clif", "asm"];

/// The graphs that a file stands for: itself, or the baseline and random candidates.
fn graphs(example: &Example) -> Vec<Graph> {
    let space = &example.space;
    let mut rng = StdRng::seed_from_u64(example.directive.seed);
    let random = (0..SAMPLES).filter_map(|_| space.nth(rng.random_range(0..space.count())));
    let mut candidates: Vec<_> = space.baseline().cloned().into_iter().chain(random).collect();
    candidates.dedup();
    let graph = |c| space.instantiate(c).unwrap_or_else(|e| panic!("{}: {e}", example.path.display()));
    candidates.iter().map(graph).collect()
}

/// Compares compiled code of a graph with the interpreter.
fn check(example: &Example, graph: &Graph) {
    let Example { path, directive, .. } = example;
    let graph = graph.specialise(BATCH);
    let mut values = init::randomise(&graph, directive.seed);
    values.extend(init::inputs(&graph, directive.seed));
    let expected = interp::run(&graph, &values).expect("the graph is valid");
    let targets = targets();
    let widest = targets.last().expect("this machine runs some target");
    let one_thread = targets.iter().flat_map(|target| [(target, RewriteLevel::Full, 1), (target, RewriteLevel::Written, 1)]);
    let two_threads = [RewriteLevel::Full, RewriteLevel::Written].map(|level| (widest, level, 2));
    for (target, rewrite, threads) in one_thread.chain(two_threads).chain([(widest, RewriteLevel::Unfused, 1)]) {
        let found = run_compiled(&graph, &values, &Variant::new(target, rewrite, threads));
        assert_eq!(found.len(), expected.len());
        for (output, (found, expected)) in found.iter().zip(&expected).enumerate() {
            let error = found.relative_error(expected);
            assert!(
                error <= directive.rtol,
                "{}: {target}, {rewrite:?}, threads {threads}: output {output} is off by {error:e}\n{graph}",
                path.display()
            );
        }
    }
}

fn check_folder(folder: &str) {
    for example in examples(folder) {
        graphs(&example).iter().for_each(|graph| check(&example, graph));
    }
}

#[test]
fn kernels_compute_what_the_interpreter_computes() {
    check_folder("kernels");
}

#[test]
fn models_compute_what_the_interpreter_computes() {
    check_folder("models");
}

#[test]
fn what_rewriting_is_shown_on_computes_what_the_interpreter_computes() {
    check_folder("rewrites");
}

#[test]
fn candidates_of_spaces_compute_what_the_interpreter_computes() {
    check_folder("spaces");
}

#[test]
fn what_is_printed_reads_back() {
    for example in ["kernels", "models", "rewrites", "spaces"].into_iter().flat_map(examples) {
        let path = &example.path;
        for graph in graphs(&example) {
            let text = graph.to_string();
            let again = parse_graph(&text).unwrap_or_else(|e| panic!("{}: {e}\n{text}", path.display()));
            assert_eq!(again, graph, "{}", path.display());
            assert_eq!(again.to_string(), text, "{}", path.display());
        }
    }
}

#[test]
fn every_stage_of_every_file_can_be_printed() {
    for example in ["kernels", "models", "rewrites", "spaces"].into_iter().flat_map(examples) {
        let named = example.arguments();
        for stage in STAGES {
            let mut args = vec!["inspect", "--stage", stage];
            args.extend(named.iter().map(String::as_str));
            let text = sonar(&args).succeeds();
            assert!(text.lines().count() > 1, "{args:?} prints nothing");
        }
    }
}

#[test]
fn directives() {
    let read = |line: &str| Directive::parse(&format!("// A file.\n// test: {line}\n"));
    let directive = |seed, rtol, settings: &[(&str, &str)]| {
        let settings = settings.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
        Ok(Directive { seed, rtol, settings })
    };
    assert_eq!(read("run"), directive(0, 1e-4, &[]));
    assert_eq!(read("run seed=7 rtol=1e-5"), directive(7, 1e-5, &[]));
    assert_eq!(read("run seed=7\n// test: set height=32 act=relu"), directive(7, 1e-4, &[("height", "32"), ("act", "relu")]));
    for wrong in ["run sed=7", "run seed", "run seed=x", "run rtol=small", "set height", "walk"] {
        let last = wrong.split(' ').next_back().expect("a word");
        assert!(read(wrong).unwrap_err().contains(last));
    }
}
