//! NAS-Bench-201 cells and networks.

use super::{check, check_rules, compare, fused, kernels, network, patient, random_values, real_outputs};
use crate::{RULES, StopReason, rewrite};
use sonar_ir::graph::Graph;
use sonar_ir::space::Space;

fn cells() -> Space {
    let text = include_str!("../../../../ir-examples/spaces/nas-bench-201.sonar");
    let (graphs, _) = text.split_once("graph @stage").expect("cells are defined before stages");
    let text = format!("{graphs}\ngraph @one_cell(%x: f32[N,5,4,3]) {{ return @cell(%x) }}\n");
    Space::parse(&text).expect("the space is well-formed")
}

fn cell(space: &Space, rank: u128) -> Graph {
    let candidate = space.nth(rank).expect("there are more candidates");
    space.instantiate(&candidate).expect("the candidate is one of the space's").specialise(2)
}

#[test]
fn sampled_cells() {
    let space = cells();
    // The step and 5 have no common factor, so it reaches all operations on all edges.
    for rank in (0..space.count()).step_by(199) {
        let results = check_rules(&cell(&space, rank), RULES).unwrap_or_else(|problem| panic!("cell {rank}: {problem}"));
        let report = &results[0].report;
        assert_eq!(report.stop, StopReason::Saturated, "cell {rank}: {report}");
        assert!(report.cost <= report.fusion_cost, "cell {rank}: {report}");
    }
}

#[test]
fn a_share_of_all_cells() {
    let space = cells();
    for rank in (0..space.count()).step_by(23) {
        let graph = cell(&space, rank);
        let rewritten = rewrite(&graph, &patient()).expect("the graph is well-formed");
        let values = random_values(&graph, rank as u64);
        let expected = real_outputs(&graph, &values).expect("the values fit");
        for candidate in &rewritten.candidates {
            compare(candidate, &values, &expected).unwrap_or_else(|problem| panic!("cell {rank}: {problem}"));
        }
    }
}

#[test]
fn nothing_is_left_of_a_cell_without_edges() {
    let rewritten = check(&cell(&cells(), 0));
    assert_eq!(kernels(&rewritten.graph), 0);
}

#[test]
fn networks() {
    for ops in [[3, 3, 3, 3, 3, 3], [2, 2, 2, 2, 2, 2], [4, 4, 4, 4, 4, 4], [1, 1, 1, 1, 1, 1], [0, 4, 2, 3, 1, 4]] {
        let rewritten = check(&network(ops, 1, "4"));
        let report = rewritten.report;
        assert_eq!(report.stop, StopReason::Saturated, "{ops:?}: {report}");
        assert!(report.distinct_segments < report.segments, "{ops:?}: {report}");
    }
}

#[test]
fn the_residual_cell_is_two_kernels() {
    let rewritten = check(&network([3, 0, 3, 1, 0, 1], 1, "2"));
    // Stem, six cells of two kernels, two reductions of three (the shortcut's pool cannot be folded), and the head: the scale of
    // the last cell's skip (all else of the last batch normalisation folds into the cell), mean, linear layer.
    assert_eq!(kernels(&rewritten.graph), 1 + 6 * 2 + 2 * 3 + 3, "{:?}", rewritten.graph);
    assert_eq!(fused(&rewritten.graph).len(), 1 + 6 * 2 + 2 * 2 + 1);
}

#[test]
fn rewriting_twice_changes_nothing_more() {
    let graph = network([3, 3, 3, 3, 3, 3], 2, "1");
    let options = patient();
    let once = rewrite(&graph, &options).expect("the graph is well-formed");
    let twice = rewrite(&once.graph, &options).expect("the graph is well-formed");
    assert!(twice.report.cost <= once.report.cost * (1.0 + 1e-9), "{}\n{}", once.report, twice.report);
    let values = random_values(&graph, 3);
    let expected = real_outputs(&graph, &values).expect("the values fit");
    compare(&twice.graph, &values, &expected).expect("the graph computes the same");
}

#[test]
fn equal_seeds_give_equal_graphs() {
    let graph = network([2, 4, 3, 1, 2, 3], 2, "1");
    let [one, other] = [(); 2].map(|()| rewrite(&graph, &patient()).expect("the graph is well-formed"));
    assert_eq!(one.candidates, other.candidates);
    assert_eq!(one.report, other.report);
}
