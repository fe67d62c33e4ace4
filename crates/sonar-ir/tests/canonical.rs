//! Which graphs have the same canonical form, and which do not.

use proptest::prelude::*;
use sonar_ir::space::canonical::key;
use sonar_ir::text::parse_graph;
use sonar_ir::{Graph, Op};

/// A graph on a 4×4 matrix `%x` and three such weights.
fn graph(body: &str) -> Graph {
    let params = ["u", "v", "w"].map(|w| format!("param %{w}: f32[4,4] = he")).join(", ");
    parse_graph(&format!("graph @g(%x: f32[4,4], {params}) {{ {body} }}")).unwrap_or_else(|error| panic!("{error} in {body}"))
}

fn check_same(a: &str, b: &str) {
    assert_eq!(key(&graph(a)), key(&graph(b)), "{a} and {b}");
}

fn check_different(a: &str, b: &str) {
    assert_ne!(key(&graph(a)), key(&graph(b)), "{a} and {b}");
}

#[test]
fn names_and_order_do_not_matter() {
    check_same("%a = matmul %x, %u return relu(%a)", "%b = matmul %x, %w return relu(%b)");
    check_same("return add(matmul(%x, %u), relu(%x))", "return add(relu(%x), matmul(%x, %v))");
    check_same("return mul(%x, exp(%x))", "return mul(exp(%x), %x)");
    check_different("return sub(%x, exp(%x))", "return sub(exp(%x), %x)");
    check_different("return %x, relu(%x)", "return relu(%x), %x");
}

#[test]
fn sums_are_flat_and_counted() {
    check_same("return add(add(%u, %v), add(%w, %x))", "return add(%x, add(%v, add(%u, %w)))");
    check_same("return add(%x, add(%x, %x))", "return add(%x, %x, %x)");
    check_different("return add(%x, %x)", "return add(%x, %x, %x)");
    check_different("return add(%x, %x)", "return %x");
}

#[test]
fn zeros_vanish() {
    check_same("return add(%x, zeros_like(%x))", "return %x");
    check_same("return add(%x, matmul(relu(zeros_like(%x)), %u))", "return %x");
    check_same("return mul(%x, zeros_like(%x))", "return zeros_like(%x)");
    check_same("return sub(%x, zeros_like(%x))", "return %x");
    check_different("return exp(zeros_like(%x))", "return zeros_like(%x)");
    check_different("return sub(zeros_like(%x), %x)", "return %x");
}

#[test]
fn operators_without_effect_vanish() {
    check_same("return transpose(reshape(%x) {shape=[4,4]}) {perm=[0,1]}", "return %x");
    check_same("return pad(slice(%x) {axis=0, start=0, end=4}) {pads=[[0,0],[0,0]]}", "return %x");
    check_different("return transpose(%x) {perm=[1,0]}", "return %x");
}

#[test]
fn dead_and_repeated_work_vanishes() {
    check_same("%dead = matmul %x, %u return relu(%x)", "return relu(%x)");
    check_same("return add(exp(%x), exp(%x))", "%e = exp %x return add(%e, %e)");
}

#[test]
fn sharing_of_weights_matters() {
    check_different("return add(matmul(%x, %u), matmul(%x, %u))", "return add(matmul(%x, %u), matmul(%x, %v))");
    check_different(
        "%a = matmul %x, %u return add(%a, matmul(%a, %v))",
        "%a = matmul %x, %u return add(matmul(%x, %w), matmul(%a, %v))",
    );
}

#[test]
fn initialisers_and_types_matter() {
    let text = |init: &str, n: usize| format!("graph @g(%x: f32[4], param %w: f32[{n}] = {init}) {{ return %x, relu(%w) }}");
    let parse = |text: String| parse_graph(&text).expect("the text is a graph");
    assert_ne!(key(&parse(text("he", 4))), key(&parse(text("zeros", 4))));
    assert_ne!(key(&parse(text("he", 4))), key(&parse(text("he", 5))));
}

/// Branches that refinement cannot tell apart: whichever is singled out first, the form is the same.
#[test]
fn interchangeable_branches() {
    check_same(
        "%a = matmul %x, %u %b = matmul %x, %v return add(relu(%a), relu(%b), mul(%a, %w), mul(%b, %w))",
        "%b = matmul %x, %v %a = matmul %x, %u return add(mul(%a, %w), relu(%b), mul(%b, %w), relu(%a))",
    );
    check_different(
        "%a = matmul %x, %u %b = matmul %x, %v return add(relu(%a), relu(%b), mul(%a, %w), mul(%b, %w))",
        "%a = matmul %x, %u %b = matmul %x, %v return add(relu(%a), relu(%b), mul(%a, %w), mul(%a, %w))",
    );
}

#[test]
fn doubling_does_not_explode() {
    let mut graph = graph("return %x");
    for _ in 0..200 {
        let last = graph.outputs[0];
        let id = graph.push(Op::Binary(sonar_ir::BinaryOp::Add), &[last, last]).expect("the operands fit");
        graph.outputs = vec![id];
    }
    assert_eq!(key(&graph).len(), 32);
}

/// Expressions over `%x` and three weights, as text in a given spelling.
fn expression() -> impl Strategy<Value = Tree> {
    let leaf = prop_oneof![Just(Tree::Leaf("%x")), Just(Tree::Leaf("%u")), Just(Tree::Leaf("%v")), Just(Tree::Zero)];
    leaf.prop_recursive(5, 24, 2, |inner| {
        prop_oneof![
            (inner.clone(), inner.clone()).prop_map(|(a, b)| Tree::Commutes("add", Box::new(a), Box::new(b))),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| Tree::Commutes("mul", Box::new(a), Box::new(b))),
            inner.prop_map(|a| Tree::Relu(Box::new(a))),
        ]
    })
}

#[derive(Clone, Debug)]
enum Tree {
    Leaf(&'static str),
    Zero,
    Relu(Box<Tree>),
    Commutes(&'static str, Box<Tree>, Box<Tree>),
}

impl Tree {
    /// The text, with commutative operands swapped, zeros added and weights exchanged where the bits say so.
    fn spelled(&self, bits: &mut u64) -> String {
        *bits = bits.rotate_right(1);
        let change = *bits & 1 == 1;
        match self {
            Tree::Leaf(name) if change => format!("add(zeros_like(%x), {name})"),
            Tree::Leaf(name) => name.to_string(),
            Tree::Zero => "zeros_like(%x)".to_string(),
            Tree::Relu(inner) => format!("relu({})", inner.spelled(bits)),
            Tree::Commutes(op, a, b) => {
                let (a, b) = (a.spelled(bits), b.spelled(bits));
                if change { format!("{op}({b}, {a})") } else { format!("{op}({a}, {b})") }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn spelling_does_not_matter(tree in expression(), bits in any::<u64>()) {
        let plain = tree.spelled(&mut 0);
        let other = tree.spelled(&mut bits.clone()).replace("%u", "%t").replace("%v", "%u").replace("%t", "%v");
        prop_assert_eq!(key(&graph(&format!("return {plain}"))), key(&graph(&format!("return {other}"))));
    }
}
