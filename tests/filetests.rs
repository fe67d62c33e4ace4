//! Every file under `ir-examples/` on the reference interpreter and as compiled code of every target this machine runs,
//! as it is written and rewritten: they must agree. Of a space, the baseline and random candidates are taken.
//!
//! A comment `// test: run KEY=VALUE …` at the head of a file says how. The keys are `seed`, of weights, inputs and random
//! candidates (0 if it is left out), and `rtol`, the share of the largest output that compiled code may be off (1e-4).

mod support;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use sonar_ir::space::Space;
use sonar_ir::text::parse_graph;
use sonar_ir::{Graph, init, interp};
use sonar_tune::Level;
use std::fs;
use std::path::Path;
use support::command::sonar;
use support::{Variant, examples, run_compiled, targets};

/// What the symbolic batch is bound to.
const BATCH: usize = 2;

/// Random candidates of a space.
const SAMPLES: usize = 4;

/// The stages that `inspect` prints.
const STAGES: [&str; 7] = ["graph", "egraph", "rewritten", "loops", "schedule", "clif", "asm"];

/// How a file is run.
#[derive(Clone, Debug, PartialEq)]
struct Directive {
    seed: u64,
    rtol: f64,
}

impl Directive {
    /// What the comment in `text` says, or what is wrong with it.
    fn parse(text: &str) -> Result<Directive, String> {
        let mut directive = Directive { seed: 0, rtol: 1e-4 };
        for pair in text.lines().filter_map(|line| line.strip_prefix("// test: run")).flat_map(str::split_whitespace) {
            let wrong = || format!("cannot understand `{pair}` in a test directive");
            match pair.split_once('=') {
                Some(("seed", value)) => directive.seed = value.parse().map_err(|_| wrong())?,
                Some(("rtol", value)) => directive.rtol = value.parse().map_err(|_| wrong())?,
                _ => return Err(wrong()),
            }
        }
        Ok(directive)
    }
}

/// A file with its directive and the graphs it stands for: itself, or the baseline and random candidates.
fn graphs(path: &Path) -> (Directive, Vec<Graph>) {
    let text = fs::read_to_string(path).expect("examples are text");
    let fail = |what: String| -> ! { panic!("{}: {what}", path.display()) };
    let directive = Directive::parse(&text).unwrap_or_else(|e| fail(e));
    let space = Space::parse(&text).unwrap_or_else(|e| fail(e.to_string()));
    let mut rng = StdRng::seed_from_u64(directive.seed);
    let random = (0..SAMPLES).filter_map(|_| space.nth(rng.random_range(0..space.count())));
    let mut candidates: Vec<_> = space.baseline().cloned().into_iter().chain(random).collect();
    candidates.dedup();
    let graphs = candidates.iter().map(|c| space.instantiate(c).unwrap_or_else(|e| fail(e.to_string()))).collect();
    (directive, graphs)
}

/// Compares compiled code of a graph with the interpreter.
fn check(path: &Path, graph: &Graph, directive: &Directive) {
    let graph = graph.specialise(BATCH);
    let mut values = init::randomise(&graph, directive.seed);
    values.extend(init::inputs(&graph, directive.seed));
    let expected = interp::run(&graph, &values).expect("the graph is valid");
    let targets = targets();
    let widest = targets.last().expect("this machine runs some target");
    let one_thread = targets.iter().flat_map(|target| [(target, Level::Full, 1), (target, Level::Written, 1)]);
    let two_threads = [Level::Full, Level::Written].map(|level| (widest, level, 2));
    for (target, rewrite, threads) in one_thread.chain(two_threads).chain([(widest, Level::Unfused, 1)]) {
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
    for path in examples(folder) {
        let (directive, graphs) = graphs(&path);
        graphs.iter().for_each(|graph| check(&path, graph, &directive));
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
fn candidates_of_spaces_compute_what_the_interpreter_computes() {
    check_folder("spaces");
}

#[test]
fn what_is_printed_reads_back() {
    for path in ["kernels", "models", "spaces"].into_iter().flat_map(examples) {
        let (_, graphs) = graphs(&path);
        for graph in graphs {
            let text = graph.to_string();
            let again = parse_graph(&text).unwrap_or_else(|e| panic!("{}: {e}\n{text}", path.display()));
            assert_eq!(again, graph, "{}", path.display());
            assert_eq!(again.to_string(), text, "{}", path.display());
        }
    }
}

#[test]
fn every_stage_of_every_file_can_be_printed() {
    for path in ["kernels", "models", "spaces"].into_iter().flat_map(examples) {
        let path = path.to_string_lossy();
        for stage in STAGES {
            let mut args = vec!["inspect", &path, "--stage", stage];
            if path.contains("/spaces/") {
                args.extend(["--arch", "baseline"]);
            }
            let text = sonar(&args).succeeds();
            assert!(text.lines().count() > 1, "{args:?} prints nothing");
        }
    }
}

#[test]
fn directives() {
    let read = |line: &str| Directive::parse(&format!("// A file.\n// test: run {line}\n"));
    assert_eq!(read(""), Ok(Directive { seed: 0, rtol: 1e-4 }));
    assert_eq!(read("seed=7 rtol=1e-5"), Ok(Directive { seed: 7, rtol: 1e-5 }));
    for wrong in ["sed=7", "seed", "seed=x", "rtol=small"] {
        assert!(read(wrong).unwrap_err().contains(wrong));
    }
}
