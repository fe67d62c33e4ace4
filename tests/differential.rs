//! Random graphs on the interpreter and as compiled code of every target: they must agree.
//!
//! Every graph has a seed of its own. A failure tells it, with the command that repeats it. For a longer run,
//! `SONAR_FUZZ_GRAPHS` is the number of graphs and `SONAR_FUZZ_SEED` the seed of the first.

mod support;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use sonar_ir::entity::EntityVec;
use sonar_ir::graph::{init, interp};
use sonar_ir::{BinaryOp, Graph, Init, NodeId, Op, Tensor, TensorType, Term, Values};
use sonar_tune::RewriteLevel;
use std::panic::{AssertUnwindSafe, catch_unwind};
use support::random::{Operators, random_graph};
use support::{LEVELS, Variant, run_compiled, targets};

/// Share of the largest output that compiled code may be off.
const CHECK_TOLERANCE: f64 = 1e-4;

/// Graphs of a run that does not ask for another number.
const GRAPHS: u64 = 1200;

/// Tests that share the graphs, so that they run side by side.
const PARTS: u64 = 4;

/// How far each operand is off, of which a graph may make this much before it is too sensitive to be compared.
const NOISE: f64 = 2e-7;
const SENSITIVE: f64 = 1e-5;

/// Of so many graphs, one is given numbers that are not finite, not normal or huge.
const SPECIAL_EVERY: u64 = 4;

/// The largest number of which squares and sums are finite in single precision.
const SQUARES: f64 = 1e18;

/// The number in an environment variable.
fn number(variable: &str, otherwise: u64) -> u64 {
    let given = std::env::var(variable).ok();
    given.map_or(otherwise, |text| text.parse().unwrap_or_else(|e| panic!("{variable} is `{text}`: {e}")))
}

/// The largest error of outputs.
fn error(found: &[Tensor], expected: &[Tensor]) -> f64 {
    assert_eq!(found.len(), expected.len());
    found.iter().zip(expected).map(|(found, expected)| found.relative_error(expected)).fold(0.0, f64::max)
}

fn check(part: u64) {
    let (first, graphs) = (number("SONAR_FUZZ_SEED", 0), number("SONAR_FUZZ_GRAPHS", GRAPHS));
    let (targets, mut wrongs, mut sensitive) = (targets(), 0, 0);
    for seed in (first..first.saturating_add(graphs)).filter(|seed| (seed - first) % PARTS == part) {
        // Padding times a gradient that is not finite depends on how padding is made, so there are no gradients then.
        let special = seed % SPECIAL_EVERY == SPECIAL_EVERY - 1;
        let graph = random_graph(seed, if special { Operators::Inference } else { Operators::All });
        let mut values = init::randomise(&graph, seed);
        values.extend(init::inputs(&graph, seed));
        if special {
            make_special(&graph, &mut values, seed);
            if overflows_within(&graph, &values) {
                continue;
            }
        }
        let expected = interp::run(&graph, &values).unwrap_or_else(|e| panic!("seed {seed}: {e}\n{graph}"));
        let mut random = StdRng::seed_from_u64(!seed);
        for target in &targets {
            let variant = Variant {
                target,
                // Rules of real arithmetic may change what is not finite.
                rewrite: if special {
                    EXACT[random.random_range(0..EXACT.len())]
                } else {
                    LEVELS[random.random_range(0..LEVELS.len())]
                },
                threads: random.random_range(1..3),
                max_rounding: if !special && random.random() { 1e-4 } else { 0.0 },
                schedules: if random.random_range(0..3) == 0 { Some(seed) } else { None },
            };
            let wrong = match catch_unwind(AssertUnwindSafe(|| run_compiled(&graph, &values, &variant))) {
                Ok(found) => Some(error(&found, &expected)).filter(|&e| e > CHECK_TOLERANCE).map(|e| format!("off by {e:e}")),
                Err(_) => Some("a panic".to_string()),
            };
            let Some(wrong) = wrong else { continue };
            if wrong != "a panic" && is_sensitive(&graph, &values, &expected, seed) {
                sensitive += 1;
                continue;
            }
            wrongs += 1;
            eprintln!(
                "{wrong}: {:?}, threads {}, rounding of up to {}, {}, {target}; repeat it with\n\
                 SONAR_FUZZ_SEED={seed} SONAR_FUZZ_GRAPHS=1 cargo test --test differential\n{graph}",
                variant.rewrite,
                variant.threads,
                variant.max_rounding,
                if variant.schedules.is_some() { "random schedules" } else { "default schedules" },
            );
        }
    }
    assert_eq!(wrongs, 0, "compiled code is wrong: see above");
    assert!(sensitive <= graphs / 100, "{sensitive} of {graphs} graphs are too sensitive to rounding to be compared");
}

/// Levels of rewriting that keep every operator as it is written.
const EXACT: [RewriteLevel; 2] = [RewriteLevel::Unfused, RewriteLevel::Written];

/// Puts a few numbers of one kind into the inputs, except those that are weights of convolutions: there the products with padding
/// depend on how padding is made.
fn make_special(graph: &Graph, values: &mut Values, seed: u64) {
    const KINDS: [&[f32]; 4] =
        [&[f32::NAN], &[f32::INFINITY, f32::NEG_INFINITY], &[1e-40, -1e-40, f32::MIN_POSITIVE, -0.0], &[1e12, -1e12, 1e18]];
    let mut random = StdRng::seed_from_u64(seed ^ 0x5eed);
    let kind = KINDS[random.random_range(0..KINDS.len())];
    let weights: Vec<NodeId> = graph.nodes.iter().flat_map(convolution_weights).collect();
    for id in graph.inputs().into_iter().filter(|id| !weights.contains(id)) {
        let name = graph.node(id).name.as_ref().expect("inputs have names");
        let data = &mut values.get_mut(name).expect("every input has a value").data;
        for _ in 0..random.random_range(1..5) {
            let i = random.random_range(0..data.len());
            data[i] = kind[random.random_range(0..kind.len())];
        }
    }
}

/// The weights of the convolutions of a node.
fn convolution_weights(node: &sonar_ir::Node) -> Vec<NodeId> {
    match &node.op {
        Op::Conv2d(_) => vec![node.operands[1]],
        Op::FusedSum { terms, .. } => {
            let mut rest = node.operands.as_slice();
            let mut weights = Vec::new();
            for term in terms {
                let (mine, others) = rest.split_at(term.arity());
                weights.extend(mine.get(1).filter(|_| matches!(term, Term::Conv2d { .. })));
                rest = others;
            }
            weights
        }
        _ => vec![],
    }
}

/// Whether a finite value within the graph is so large that parts of an operator may overflow although its result does not.
fn overflows_within(graph: &Graph, values: &Values) -> bool {
    let all = Graph { outputs: (0..graph.nodes.len() as u32).map(NodeId).collect(), ..graph.clone() };
    let results = interp::run(&all, values).expect("the graph is valid");
    let large = |v: &f32| v.is_finite() && f64::from(*v).abs() > SQUARES;
    graph.nodes.iter().zip(&results).any(|(node, result)| !matches!(node.op, Op::Input) && result.data.iter().any(large))
}

/// Whether the rounding of operands alone, in the interpreter, changes what a graph gives by far more than it is.
/// Differences of equal numbers and functions that jump are like that.
fn is_sensitive(graph: &Graph, values: &Values, expected: &[Tensor], seed: u64) -> bool {
    let noisy = with_noise(graph);
    (0..8).any(|attempt| {
        let mut random = StdRng::seed_from_u64(seed ^ attempt << 32);
        let noise = noisy.params().into_iter().filter_map(|id| {
            let name = noisy.node(id).name.clone().filter(|name| name.starts_with("noise"))?;
            let shape = noisy.ty(id).extents()?;
            let data = (0..shape.iter().product()).map(|_| 1.0 + random.random_range(-NOISE..NOISE) as f32).collect();
            Some((name, Tensor::new(shape, data)))
        });
        let values = values.clone().into_iter().chain(noise).collect();
        let found = interp::run(&noisy, &values).expect("a graph with noise is valid");
        error(&found, expected) > SENSITIVE
    })
}

/// The same graph with every operand, and every output, multiplied by a parameter of its own, named `noise…`.
fn with_noise(graph: &Graph) -> Graph {
    let mut noisy = Graph::new(graph.name.clone());
    let mut renamed: EntityVec<NodeId, NodeId> = EntityVec::new();
    fn multiplied(noisy: &mut Graph, id: NodeId) -> NodeId {
        let shape = noisy.ty(id).extents().expect("the batch is bound");
        let name = format!("noise{}", noisy.nodes.len());
        let noise = noisy.param(name, &shape, Init::Ones);
        noisy.push(Op::Binary(BinaryOp::Mul), &[id, noise]).expect("equal shapes multiply")
    }
    for node in &graph.nodes {
        let name = node.name.clone().unwrap_or_default();
        let shape = node.ty.extents().expect("the batch is bound");
        renamed.push(match node.op {
            Op::Input => noisy.input(name, TensorType::fixed(&shape)),
            Op::Param(init) => noisy.param(name, &shape, init),
            _ => {
                let operands: Vec<NodeId> = node.operands.iter().map(|id| renamed[*id]).collect();
                let operands: Vec<NodeId> = operands.into_iter().map(|id| multiplied(&mut noisy, id)).collect();
                noisy.push(node.op.clone(), &operands).expect("the types are the same")
            }
        });
    }
    noisy.outputs = graph.outputs.iter().map(|id| renamed[*id]).collect();
    noisy.outputs = noisy.outputs.clone().into_iter().map(|id| multiplied(&mut noisy, id)).collect();
    noisy
}

#[test]
fn random_graphs_a() {
    check(0);
}

#[test]
fn random_graphs_b() {
    check(1);
}

#[test]
fn random_graphs_c() {
    check(2);
}

#[test]
fn random_graphs_d() {
    check(3);
}
