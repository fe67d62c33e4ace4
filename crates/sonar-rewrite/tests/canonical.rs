//! Which architectures share a canonical key.

use sonar_ir::graph::{init, interp};
use sonar_ir::space::canonical;
use sonar_ir::space::{Assignment, Space};
use sonar_ir::tensor::{Tensor, Values};
use sonar_ir::text::parse_graph;
use sonar_ir::{Graph, NodeId};
use sonar_rewrite::canonical::normal_form;
use sonar_rewrite::canonical_key;
use std::collections::{BTreeMap, HashMap};

const OPERATIONS: &str = "ns13p";

/// Cells of small images.
fn cells() -> Space {
    let text = include_str!("../../../ir-examples/spaces/nas-bench-201.sonar");
    let (graphs, _) = text.split_once("graph @stage").expect("cells are defined before stages");
    let text = format!("{graphs}\ngraph @one_cell(%x: f32[N,4,5,3]) {{ return @cell(%x) }}\n");
    Space::parse(&text).expect("the space is well-formed")
}

/// The cell of these operations on the edges 0→1, 0→2, 1→2, 0→3, 1→3 and 2→3: (n)one, (s)kip, a (1)x1 or a (3)x3 convolution, or a (p)ool.
fn cell(space: &Space, operations: &str) -> Graph {
    let choices = operations.chars().map(|op| OPERATIONS.find(op).expect("an operation")).collect();
    space.instantiate(&Assignment(choices)).expect("the assignment fits").specialise(2)
}

fn key(graph: &Graph) -> String {
    canonical_key(graph).expect("the graph is well-formed")
}

/// What a graph computes when the parameters of the i-th of `edges` are those of number `numbers[i]`.
fn run(graph: &Graph, edges: &[String], numbers: &[usize]) -> Tensor {
    let mut values = Values::new();
    values.extend(init::inputs(graph, 1));
    for (edge, &number) in edges.iter().zip(numbers) {
        let own = |id: &&NodeId| graph.node(**id).name.as_ref().is_some_and(|name| name.starts_with(edge.as_str()));
        let params: Vec<NodeId> = graph.params();
        let mut part = Graph::new("parameters");
        for id in params.iter().filter(own) {
            let node = graph.node(*id);
            let (name, shape) = (node.name.clone().unwrap_or_default(), node.ty.extents().expect("parameters have shapes"));
            let sonar_ir::Op::Param(init) = node.op else { continue };
            // Random numbers depend on the name.
            part.param(name.replacen(edge.as_str(), "edge", 1), &shape, init);
        }
        for (name, tensor) in init::randomise(&part, number as u64) {
            values.insert(name.replacen("edge", edge, 1), tensor);
        }
    }
    interp::run(graph, &values).expect("the values fit").swap_remove(0)
}

/// The edges with parameters, each with the operation on it.
fn edges(graph: &Graph) -> Vec<String> {
    let mut names: Vec<String> = graph
        .params()
        .iter()
        .filter_map(|id| graph.node(*id).name.as_ref()?.split_once('.').map(|(edge, _)| edge.to_string()))
        .collect();
    names.sort();
    names.dedup();
    names
}

fn permutations(n: usize) -> Vec<Vec<usize>> {
    if n == 0 {
        return vec![vec![]];
    }
    let shorter = permutations(n - 1);
    shorter.iter().flat_map(|rest| (0..n).map(move |at| [&rest[..at], &[n - 1], &rest[at..]].concat())).collect()
}

/// Whether two cells compute the same for some renaming of the parameters.
fn same_function(a: &Graph, b: &Graph) -> bool {
    let (of_a, of_b) = (edges(a), edges(b));
    let order: Vec<usize> = (0..of_a.len()).collect();
    let expected = run(a, &of_a, &order);
    let mut longer = permutations(of_a.len().max(of_b.len()));
    longer.iter_mut().for_each(|numbers| numbers.truncate(of_b.len()));
    longer.iter().any(|numbers| run(b, &of_b, numbers).relative_error(&expected) < 1e-5)
}

#[test]
fn pairs_that_share_a_key() {
    let space = cells();
    for (a, b) in [
        // A pooling of a sum: of a convolution and a shift, of twice the input, of the input and its pooling.
        ("n1nn1p", "n11nnp"),
        ("sssssp", "ssspps"),
        ("sspspp", "psspps"),
        // Behind a dead edge, neither the kernel nor a pooling of the shift matters.
        ("n3n11n", "n3n13n"),
        ("nnnsn1", "nn1snp"),
        // A convolution of a convolution along two ways.
        ("1n1nns", "1nnn1n"),
    ] {
        let (one, other) = (cell(&space, a), cell(&space, b));
        assert_eq!(key(&one), key(&other), "{a} and {b}");
        assert!(same_function(&one, &other), "{a} and {b}");
    }
}

#[test]
fn pairs_that_do_not() {
    let space = cells();
    for (a, b) in [
        // One convolution used twice, and two convolutions.
        ("1nssns", "11snns"),
        // Another residual.
        ("1nnsnn", "1nnsss"),
        // A kernel of another size; a pooling more; a shift behind a dead edge, and none.
        ("nnn1nn", "nnn3nn"),
        ("nnnpnn", "pnnnpn"),
        ("nnnsnn", "nnnsn1"),
        // Poolings do not pass an activation.
        ("pnnn1n", "1nnnpn"),
    ] {
        assert_ne!(key(&cell(&space, a)), key(&cell(&space, b)), "{a} and {b}");
    }
}

#[test]
fn laws_beyond_cells() {
    let of = |body: &str| {
        let text = format!(
            "graph @g(%x: f32[N,6,6,4], %y: f32[N,6,6,4], param %w: f32[1,1,4,4], param %s: f32[4], param %t: f32[4]) {{\n{body}\n}}"
        );
        key(&parse_graph(&text).expect("the text is a graph"))
    };
    let pooled = "avg_pool(conv2d(%x, %w)) {kernel=3, pad=1}";
    assert_eq!(of(&format!("return {pooled}")), of("return conv2d(avg_pool(%x) {kernel=3, pad=1}, %w)"));
    assert_eq!(of("return mul(add(%x, %y), %s)"), of("return add(mul(%y, %s), mul(%x, %s))"));
    assert_ne!(of("return mul(add(%x, %y), %s)"), of("return add(mul(%y, %s), mul(%x, %t))"));
    assert_eq!(of("return mul(conv2d(%x, %w), %s)"), of("return conv2d(%x, mul(%w, %s))"));
    // Where padding counts, a mean of equal numbers is another one.
    let counted = "{kernel=3, pad=1, count_include_pad=true}";
    assert_ne!(of(&format!("return avg_pool(add(%x, %s)) {counted}")), of(&format!("return add(avg_pool(%x) {counted}, %s)")));
    let plain = "{kernel=3, pad=1}";
    assert_eq!(of(&format!("return avg_pool(add(%x, %s)) {plain}")), of(&format!("return add(avg_pool(%x) {plain}, %s)")));
}

#[test]
fn the_normal_form_computes_the_same() {
    let space = cells();
    for rank in (0..space.count()).step_by(131) {
        let candidate = space.nth(rank).expect("there are more candidates");
        let graph = space.instantiate(&candidate).expect("the candidate is one of the space's").specialise(2);
        let mut values = init::randomise(&graph, 1);
        values.extend(init::inputs(&graph, 1));
        let normal = normal_form(&graph).expect("the graph is well-formed");
        let expected = interp::run(&graph, &values).expect("the values fit");
        let found = interp::run(&normal, &values).expect("the values fit");
        assert!(found[0].relative_error(&expected[0]) < 1e-5, "cell {rank}");
        assert_eq!(key(&normal), key(&graph), "cell {rank}");
    }
}

/// Of the cells with up to three convolutions, those of one key are one function after a renaming of
/// parameters, and those of different keys are not.
#[test]
fn equal_keys_are_equal_functions() {
    let space = cells();
    let mut classes: BTreeMap<String, HashMap<String, Graph>> = BTreeMap::new();
    for candidate in space.assignments().step_by(7) {
        let graph =
            space.instantiate(&candidate).expect("the candidate is one of the space's").specialise(1).without_dead_nodes();
        if edges(&graph).len() <= 3 {
            classes.entry(key(&graph)).or_default().entry(canonical::key(&graph)).or_insert(graph);
        }
    }
    let mut pairs = 0;
    for class in classes.values().filter(|class| class.len() > 1) {
        let mut graphs: Vec<(&String, &Graph)> = class.iter().collect();
        graphs.sort_by_key(|(structure, _)| *structure);
        for (_, other) in &graphs[1..] {
            assert!(same_function(graphs[0].1, other), "{}\n{}", graphs[0].1, other);
            pairs += 1;
        }
    }
    assert!(pairs > 10, "{pairs}");
    let firsts: Vec<&Graph> = classes.values().filter_map(|class| class.iter().min_by_key(|(s, _)| *s).map(|(_, g)| g)).collect();
    for pair in firsts.windows(2) {
        assert!(!same_function(pair[0], pair[1]), "{}\n{}", pair[0], pair[1]);
    }
}

#[test]
fn nas_bench_201_has_5234_functions() {
    let space = cells();
    let mut structures: BTreeMap<String, Graph> = BTreeMap::new();
    for candidate in space.assignments() {
        let graph = space.instantiate(&candidate).expect("the candidate is one of the space's");
        structures.entry(canonical::key(&graph)).or_insert(graph);
    }
    let keys: std::collections::HashSet<String> = structures.values().map(key).collect();
    assert_eq!((structures.len(), keys.len()), (5_485, 5_234));
}
