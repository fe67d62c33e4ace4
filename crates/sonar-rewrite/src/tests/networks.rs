//! NAS-Bench-201 cells and networks.

use super::build::{Builder, cell_ops};
use super::{check, check_rules, compare, fused, kernels, random_values};
use crate::{Options, RULES, StopReason, rewrite};
use sonar_ir::graph::Graph;
use sonar_ir::interp;

fn cell(index: usize) -> Graph {
    let mut b = Builder::new();
    let x = b.input(&[2, 5, 4, 3]);
    let y = b.cell(x, cell_ops(index));
    b.finish(&[y])
}

#[test]
fn sampled_cells() {
    // A stride without a common factor with 5 reaches all operations on all edges.
    for index in (0..15_625).step_by(199) {
        let results = check_rules(&cell(index), RULES).unwrap_or_else(|problem| panic!("cell {index}: {problem}"));
        let report = &results[0].report;
        assert_eq!(report.stop, StopReason::Saturated, "cell {index}: {report}");
        assert!(report.cost <= report.fusion_cost, "cell {index}: {report}");
    }
}

#[test]
fn cells_without_convolutions_are_small() {
    // skip, pool, pool, none, skip, skip: pools merge and the dead edge vanishes.
    let rewritten = check(&cell(1 + 4 * 5 + 4 * 25 + 625 + 3125));
    assert!(kernels(&rewritten.graph) <= 4, "{:?}", rewritten.graph);
    // Nothing reaches the output: what is left is no kernel at all.
    let rewritten = check(&cell(0));
    assert_eq!(kernels(&rewritten.graph), 0);
}

#[test]
fn networks() {
    for index in [11_718, 7_812, 15_624, 3_906, 14_321] {
        let graph = Builder::network(1, 8, 2, 4, cell_ops(index));
        let rewritten = check(&graph);
        let report = rewritten.report;
        assert_eq!(report.stop, StopReason::Saturated, "{index}: {report}");
        assert!(report.distinct_segments < report.segments, "{index}: {report}");
    }
}

#[test]
fn the_residual_cell_is_two_kernels() {
    // conv3x3 from 0 to 1, conv3x3 from 1 to 3, skip from 0 to 3.
    let ops = [3, 0, 0, 1, 3, 0];
    let graph = Builder::network(1, 8, 2, 2, ops);
    let rewritten = check(&graph);
    // Stem, six cells of two kernels, two reductions of three (the shortcut's pool cannot be folded), and the head: the scale of
    // the last cell's skip (all else of the last batch normalisation folds into the cell), mean, linear layer.
    assert_eq!(kernels(&rewritten.graph), 1 + 6 * 2 + 2 * 3 + 3, "{:?}", rewritten.graph);
    assert_eq!(fused(&rewritten.graph).len(), 1 + 6 * 2 + 2 * 2 + 1);
}

#[test]
fn rewriting_twice_changes_nothing_more() {
    let graph = Builder::network(1, 8, 2, 1, cell_ops(11_718));
    let options = Options::default();
    let once = rewrite(&graph, &options).expect("the graph is well-formed");
    let twice = rewrite(&once.graph, &options).expect("the graph is well-formed");
    assert!(twice.report.cost <= once.report.cost * (1.0 + 1e-9), "{}\n{}", once.report, twice.report);
    let values = random_values(&graph, 3);
    let expected = interp::run(&graph, &values).expect("the values fit");
    compare(&twice.graph, &values, &expected).expect("the graph computes the same");
}

#[test]
fn equal_seeds_give_equal_graphs() {
    let graph = Builder::network(1, 8, 2, 1, cell_ops(14_321));
    let [one, other] = [(); 2].map(|()| rewrite(&graph, &Options::default()).expect("the graph is well-formed"));
    assert_eq!(one.candidates, other.candidates);
    assert_eq!(one.report, other.report);
}
