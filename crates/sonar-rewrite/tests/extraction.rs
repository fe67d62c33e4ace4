//! What extraction finds is what integer linear programming finds.

mod support;

use sonar_ir::Graph;
use sonar_rewrite::Options;
use sonar_rewrite::instances::instances;

/// Problems with more alternatives are left to the example `extraction`: the solver can take minutes for one.
const ALTERNATIVES: usize = 140;

/// How many problems of the graphs are solved to the optimum, of how many.
fn tied(graphs: impl Iterator<Item = Graph>) -> (usize, usize) {
    let (mut tied, mut count) = (0, 0);
    for graph in graphs {
        for instance in instances(&graph, &Options::default()).expect("the graph is well-formed") {
            if instance.alternatives.iter().map(Vec::len).sum::<usize>() > ALTERNATIVES {
                continue;
            }
            let optimum = support::optimum(&instance);
            let found = instance.found * 1e6;
            assert!(found >= optimum * (1.0 - 1e-6), "{found} is less than the optimum, {optimum}");
            count += 1;
            tied += usize::from(found <= optimum * (1.0 + 1e-6));
        }
    }
    (tied, count)
}

#[test]
fn cells_are_solved_to_the_optimum() {
    let space = support::cells();
    let (tied, count) = tied((0..15).map(|i| support::cell(&space, i * 1_039)));
    assert!(count >= 15);
    assert_eq!(tied, count);
}

#[test]
fn random_graphs_are_solved_to_the_optimum() {
    let (tied, count) = tied((0..25).map(support::random_graph));
    assert!(count >= 25);
    assert_eq!(tied, count);
}
