//! The networks of the literature among `ir-examples/models`: sizes are those that were published.

use sonar_ir::text::parse_graph;
use sonar_ir::{Graph, NodeId, Op};

fn extents(graph: &Graph, id: NodeId) -> Vec<usize> {
    graph.ty(id).extents().expect("the batch is bound")
}

/// Parameters and multiply-adds of convolutions and products, for one image or sequence.
fn size(text: &str) -> (usize, usize) {
    let graph = parse_graph(text).unwrap_or_else(|e| panic!("{:?}", miette::Report::new(e))).specialise(1);
    assert_eq!(graph, graph.without_dead_nodes(), "{}: every node leads to the output", graph.name);
    let elements = |id| extents(&graph, id).iter().product::<usize>();
    let products = |(id, node): (NodeId, &sonar_ir::Node)| match node.op {
        Op::Conv2d(_) => elements(id) * extents(&graph, node.operands[1])[..3].iter().product::<usize>(),
        Op::MatMul => elements(id) * extents(&graph, node.operands[0]).last().expect("a matrix"),
        _ => 0,
    };
    (graph.params().into_iter().map(elements).sum(), graph.iter().map(products).sum())
}

macro_rules! model {
    ($name:literal) => {
        size(include_str!(concat!("../../../ir-examples/models/", $name, ".sonar")))
    };
}

/// Parameters of image classifiers as implementations report them, and the means and variances of their batch normalisations,
/// which are parameters here and are not counted there.
#[test]
fn image_classifiers_have_the_published_sizes() {
    assert_eq!(model!("vgg19"), (143_667_240, 19_632_062_464));
    assert_eq!(model!("squeezenet"), (1_248_424, 832_667_936));
    assert_eq!(model!("resnext50"), (25_028_904 + 2 * 34_112, 4_230_479_872));
    assert_eq!(model!("inception_v3"), (23_834_568 + 2 * 17_216, 5_713_216_096));
    // The paper gives 5.3 million and 564 million.
    assert_eq!(model!("nasnet_a"), (5_326_716, 563_638_816));
}

/// Per layer: four projections, two of the feed-forward network, two normalisations; all positions attend to all.
#[test]
fn encoders_have_the_size_of_berts_layers() {
    let (length, hidden, inner) = (64, 1024, 4096);
    let params = 4 * (hidden + 1) * hidden + (hidden + 1) * inner + (inner + 1) * hidden + 4 * hidden;
    let products = length * (4 * hidden * hidden + 2 * hidden * inner) + 2 * length * length * hidden;
    assert_eq!(model!("bert_layer"), (params, products));
    assert_eq!(model!("bert"), (8 * params, 8 * products));
}

/// Eight sums of two products; the weights are shared by the five steps.
#[test]
fn the_recurrent_network_shares_its_weights() {
    assert_eq!(model!("nasrnn"), (16 * 512 * 512, 5 * 16 * 512 * 512));
}
