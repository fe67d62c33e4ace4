//! Random graphs on the interpreter and as compiled code of every target: they must agree.

mod support;

use sonar_ir::{init, interp};
use support::{random_graph, run_compiled, targets};

/// Share of the largest output that compiled code may be off.
const TOLERANCE: f64 = 1e-4;

fn check(seeds: std::ops::Range<u64>) {
    let targets = targets();
    for seed in seeds {
        let graph = random_graph(seed);
        let mut values = init::randomise(&graph, seed);
        values.extend(init::inputs(&graph, seed));
        let expected = interp::run(&graph, &values).expect("the graph is valid");
        for (i, target) in targets.iter().enumerate() {
            let (rewrite, threads) = (seed % 2 == 0, 1 + (seed as usize + i) / 2 % 2);
            let found = run_compiled(&graph, &values, target, rewrite, threads);
            for (output, (found, expected)) in found.iter().zip(&expected).enumerate() {
                let error = found.relative_error(expected);
                assert!(
                    error <= TOLERANCE,
                    "seed {seed}, {target}, rewrite {rewrite}, threads {threads}: output {output} is off by {error:e}\n{graph}"
                );
            }
        }
    }
}

// Four parts, so that they run side by side.
#[test]
fn random_graphs_a() {
    check(0..75);
}

#[test]
fn random_graphs_b() {
    check(75..150);
}

#[test]
fn random_graphs_c() {
    check(150..225);
}

#[test]
fn random_graphs_d() {
    check(225..300);
}
