//! Search spaces: decisions, parameters, names, and the two spaces that are shipped.

use expect_test::{Expect, expect};
use sonar_ir::space::canonical;
use sonar_ir::space::{Assignment, Space};
use sonar_ir::text::parse_graph;
use sonar_ir::{Dim, Graph, NodeId, Op};
use std::collections::HashSet;

const NAS_BENCH_201: &str = include_str!("../../../ir-examples/spaces/nas-bench-201.sonar");
const WIDTH_KERNEL: &str = include_str!("../../../ir-examples/spaces/width-kernel.sonar");

fn space(text: &str) -> Space {
    Space::parse(text).unwrap_or_else(|error| panic!("{:?}", miette::Report::new(error)))
}

fn tiny_nas_bench_201() -> Space {
    let settings = [("channels", "4"), ("cells", "1"), ("height", "8"), ("width", "8"), ("in", "1")];
    Space::parse_with(NAS_BENCH_201, &settings).expect("the shipped space is right")
}

fn baseline(space: &Space) -> Graph {
    space.instantiate(space.baseline().expect("the space has a baseline")).expect("the baseline is a graph")
}

fn count_params(graph: &Graph) -> usize {
    let elements = |id| graph.ty(id).extents().map_or(0, |extents| extents.iter().product());
    graph.params().into_iter().map(elements).sum::<usize>()
}

fn count_ops(graph: &Graph, test: impl Fn(&Op) -> bool) -> usize {
    graph.without_dead_nodes().nodes.iter().filter(|n| test(&n.op)).count()
}

fn check_graph(text: &str, assignment: &str, expect: Expect) {
    let space = space(text);
    let candidate = space.parse_assignment(assignment).expect("the assignment fits");
    expect.assert_eq(&space.instantiate(&candidate).expect("the candidate is a graph").to_string());
}

fn check_error(result: Result<impl Sized, sonar_ir::text::Error>, expect: Expect) {
    use miette::Diagnostic;
    let Err(error) = result else { panic!("expected an error") };
    let (line, column) = error.line_column();
    let help = error.help().map_or(String::new(), |help| format!("\nhelp: {help}"));
    expect.assert_eq(&format!("{line}:{column}: {error}{help}"));
}

#[test]
fn numbers_words_and_arithmetic() {
    check_graph(
        "let $c = 4
         let $twice = 2*$c
         let $width in {$c, $twice + 1, 3*$c - 2*($c - 1)}
         let $act in {relu, tanh}
         graph @g(%x: f32[N,$c]) {
           param %w: f32[$c,$width] = uniform
           let $parts = $width / 2
           %y = slice(matmul(%x, %w)) {axis=1, start=0, end=$parts}
           return choose $act { relu => relu(%y), tanh => tanh(%y) }
         }",
        "width=9 act=tanh",
        expect![[r#"
            graph @g(%x: f32[N,4], param %w: f32[4,9] = uniform) {
              %2 = matmul %x, %w : f32[N,9]
              %y = slice %2 {axis=1, start=0, end=4} : f32[N,4]
              %4 = tanh %y : f32[N,4]
              return %4
            }
        "#]],
    );
}

#[test]
fn repetition_carries_tensors_and_names_parameters() {
    check_graph(
        "let $n in {0, 2}
         graph @dense(%x: f32[N,$in], $out) {
           param %w: f32[$in,$out]
           return matmul(%x, %w)
         }
         graph @g(%x: f32[N,4]) {
           repeat $n as $layer {
             %active = relu %x
             %x = @dense(%active, 4 + $layer)
           }
           repeat 2 { %x = @dense(%x, 3) }
           %head = add @dense(%x, 5), @dense(%x, $out=5)
           return @dense(%head, 1)
         }",
        "n=2",
        expect![[r#"
            graph @g(%x: f32[N,4]) {
              %1 = relu %x : f32[N,4]
              param %layer0.w: f32[4,4] = he
              %3 = matmul %1, %layer0.w : f32[N,4]
              %4 = relu %3 : f32[N,4]
              param %layer1.w: f32[4,5] = he
              %6 = matmul %4, %layer1.w : f32[N,5]
              param %0.w: f32[5,3] = he
              %8 = matmul %6, %0.w : f32[N,3]
              param %1.w: f32[3,3] = he
              %10 = matmul %8, %1.w : f32[N,3]
              param %head.w: f32[3,5] = he
              %12 = matmul %10, %head.w : f32[N,5]
              param %head.w.2: f32[3,5] = he
              %14 = matmul %10, %head.w.2 : f32[N,5]
              %head = add %12, %14 : f32[N,5]
              param %w: f32[5,1] = he
              %17 = matmul %head, %w : f32[N,1]
              return %17
            }
        "#]],
    );
}

#[test]
fn weights_are_shared_where_they_are_passed() {
    check_graph(
        "graph @twice(%x, %w) { return matmul(matmul(%x, %w), %w) }
         graph @g(%x: f32[N,4], param %w: f32[4,4] = he) { return @twice(%x, %w) }",
        "",
        expect![[r#"
            graph @g(%x: f32[N,4], param %w: f32[4,4] = he) {
              %2 = matmul %x, %w : f32[N,4]
              %3 = matmul %2, %w : f32[N,4]
              return %3
            }
        "#]],
    );
}

#[test]
fn assignments_print_and_parse() {
    let space = space(WIDTH_KERNEL);
    for rank in [0, 1, 12_345, space.count() - 1] {
        let candidate = space.nth(rank).expect("the rank is in range");
        assert_eq!(space.parse_assignment(&space.show(&candidate)).expect("what is shown is read"), candidate);
    }
    assert_eq!(space.nth(space.count()), None);
    let baseline = space.baseline().expect("the space has a baseline");
    expect!["width1=16 width2=32 width3=64 kernel1=3 kernel2=3 kernel3=3 conv1=full conv2=full conv3=full residual1=yes residual2=yes residual3=yes"].assert_eq(&space.show(baseline));
    let commas = space.show(baseline).replace(' ', ", $");
    assert_eq!(space.parse_assignment(&commas).as_ref().ok(), Some(baseline));
}

#[test]
fn wrong_assignments() {
    let text = "let $k in {1, 3}\nlet $op in {skip, conv}\ngraph @g(%x: f32[N,$k]) { return %x }";
    let space = space(text);
    check_error(space.parse_assignment("k=1"), expect!["1:4: no value for `op`"]);
    check_error(space.parse_assignment("k=2 op=skip"), expect!["1:3: expected one of `1`, `3`, found `2`"]);
    check_error(space.parse_assignment("k=1 op=skip k=3"), expect!["1:13: `k` is given twice"]);
    check_error(
        space.parse_assignment("k=1 ops=skip"),
        expect![[r#"
        1:5: there is no decision `ops`
        help: did you mean `op`?"#]],
    );
    check_error(space.parse_assignment("k=1 op"), expect!["1:7: expected `=`, found the end of the text"]);
    check_error(space.instantiate(&Assignment(vec![0])), expect!["1:1: expected 2 choices, found 1"]);
    check_error(space.instantiate(&Assignment(vec![0, 7])), expect!["2:5: the choice for `$op` is out of range"]);
}

#[test]
fn settings() {
    let text = "let $c = 4\nlet $k in {1, 3}\ngraph @g(%x: f32[N,$c,$k]) { return %x }\nbaseline $k=3";
    let set = |settings: &[(&str, &str)]| Space::parse_with(text, settings);
    let fixed = set(&[("c", "8"), ("k", "1")]).expect("both can be set");
    assert_eq!((fixed.count(), fixed.decisions().len()), (1, 0));
    assert_eq!(fixed.parameters()[0].value, "8");
    let graph = fixed.instantiate(&Assignment::default()).expect("there is nothing to decide");
    assert_eq!(graph.ty(NodeId(0)).shape, [Dim::Batch, Dim::Fixed(8), Dim::Fixed(1)]);
    check_error(
        set(&[("d", "8")]),
        expect![[r#"
        1:1: there is no parameter `d`
        help: did you mean `c`?"#]],
    );
    check_error(set(&[("c", "many")]), expect!["1:1: expected a number for `c`, found `many`"]);
    check_error(set(&[("c", "-1")]), expect!["3:14: expected an extent of at least 1, or `N`, found `-1`"]);
    check_error(set(&[("c", "1 2")]), expect!["1:3: expected the end of the text, found `2`"]);
    check_error(set(&[("k", "2")]), expect!["2:5: expected one of `1`, `3` for `$k`, found `2`"]);
}

#[test]
fn faults_of_spaces() {
    let graph = "graph @g(%x: f32[N,4]) { return %x }";
    check_error(Space::parse(&format!("let $a in {{}}\n{graph}")), expect!["1:5: `$a` has no choices"]);
    check_error(Space::parse(&format!("let $a in {{1, 1}}\n{graph}")), expect!["1:15: `1` is among the choices twice"]);
    check_error(
        Space::parse(&format!("let $a in {{1}}\nlet $b in {{$a}}\n{graph}")),
        expect![[r#"
        2:12: `$a` is not defined
        help: choices may depend on parameters defined above, and on nothing else"#]],
    );
    check_error(Space::parse(&format!("let $a = 1\nlet $a = 2\n{graph}")), expect!["2:5: `$a` is defined twice"]);
    check_error(
        Space::parse(&format!("let $a in {{1, 2}}\n{graph}\nbaseline $b=1")),
        expect![[r#"
        3:10: there is no decision `b`
        help: did you mean `a`?"#]],
    );
    check_error(Space::parse(&format!("let $a, $b in {{1, 2}}\n{graph}\nbaseline $a=1")), expect!["3:1: no value for `b`"]);
    check_error(
        Space::parse(&format!("{graph}\ntopology @cell")),
        expect![[r#"
        2:10: no graph `@cell` is defined above
        help: a graph may call the graphs that are defined before it"#]],
    );
    let call = |arguments: &str| {
        let text = format!("graph @f(%x: f32[N,$c], $k) {{ return %x }}\ngraph @g(%x: f32[N,4]) {{ return @f({arguments}) }}");
        Space::parse(&text)
    };
    check_error(call("%x"), expect!["2:33: `@f` needs a value for `$k`"]);
    check_error(call("$k=1"), expect!["2:33: `@f` needs a value for `%x`"]);
    check_error(
        call("%x, 1, 2"),
        expect![[r#"
        2:43: `@f` takes no such argument
        help: tensors are for the inputs and numbers for the `$` names of the signature, in order"#]],
    );
    check_error(
        call("%x, $d=2"),
        expect![[r#"
        2:40: `@f` takes no such argument
        help: tensors are for the inputs and numbers for the `$` names of the signature, in order"#]],
    );
    check_error(
        call("%x, %x, 1"),
        expect![[r#"
        2:40: `@f` takes no such argument
        help: tensors are for the inputs and numbers for the `$` names of the signature, in order"#]],
    );
    check_error(call("reshape(%x) {shape=[N,2,2]}, 1"), expect!["2:36: expected %x of type f32[N,$c], found f32[N,2,2]"]);
}

#[test]
fn check_finds_faults_beyond_the_baseline() {
    let text = "let $op in {a, b}\ngraph @g(%x: f32[N,4]) { return choose $op { a => %x, c => %x } }";
    check_error(
        space(text).check(),
        expect![[r#"
        2:40: `choose` has no arm for `b`
        help: its arms are `a`, `c`"#]],
    );
}

#[test]
fn nas_bench_201_is_the_published_space() {
    let space = space(NAS_BENCH_201);
    assert_eq!(space.count(), 15_625);
    let choices = ["none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3"];
    assert!(space.decisions().iter().all(|d| d.choices == choices));
    let graph = baseline(&space);
    assert_eq!(graph.ty(graph.outputs[0]).shape, [Dim::Batch, Dim::Fixed(10)]);
    // Stem, two convolutions in each of 15 cells, three in each of 2 residual blocks.
    assert_eq!(count_ops(&graph, |op| matches!(op, Op::Conv2d(_))), 1 + 2 * 15 + 3 * 2);
    assert_eq!(count_ops(&graph, |op| matches!(op, Op::AvgPool(_))), 2);
    let names: HashSet<_> = graph.nodes.iter().filter_map(|n| n.name.as_deref()).collect();
    assert!(names.contains("stage1.cell0.e01.w") && names.contains("stage3.cell4.e12.gamma"));
    // As published for the cell of 3×3 convolutions on all edges but one: 0.802426 million, without the statistics.
    let text = "e01=nor_conv_3x3 e02=nor_conv_3x3 e12=avg_pool_3x3 e03=skip_connect e13=nor_conv_3x3 e23=skip_connect";
    let candidate = space.parse_assignment(text).expect("the assignment fits");
    let live = space.instantiate(&candidate).expect("the candidate is a graph").without_dead_nodes();
    let is_statistic = |name: &str| name.ends_with("mean") || name.ends_with("var");
    let statistics = live.params().into_iter().filter(|&id| is_statistic(live.node(id).name.as_deref().unwrap_or_default()));
    let statistics: usize = statistics.filter_map(|id| live.ty(id).extents()).map(|e| e.iter().product::<usize>()).sum();
    assert_eq!(count_params(&live) - statistics, 802_426);
}

#[test]
fn nas_bench_201_takes_images_of_other_sizes() {
    for (size, sizes) in [("32", [32, 16, 8]), ("28", [28, 14, 7]), ("15", [15, 8, 4])] {
        let settings = [("height", size), ("width", size), ("in", "1"), ("channels", "4"), ("cells", "1")];
        let space = Space::parse_with(NAS_BENCH_201, &settings).expect("the size is allowed");
        let graph = baseline(&space);
        let heights: HashSet<_> =
            graph.nodes.iter().filter(|n| n.op == Op::Unary(sonar_ir::UnaryOp::Relu)).map(|n| n.ty.shape[1]).collect();
        assert_eq!(heights, sizes.map(Dim::Fixed).into());
    }
}

/// 15,625 cells are 6,466 by the published text. As functions they are 5,485 (counted independently by comparing the cells under
/// all renamings of their weights): fewer, for zeros that vanish from sums, although shared weights and the shift of a batch
/// normalisation of zeros keep cells apart that the published text does not.
#[test]
fn nas_bench_201_counts() {
    let space = tiny_nas_bench_201();
    let mut published = HashSet::new();
    let mut functions = HashSet::new();
    for candidate in space.assignments() {
        published.insert(space.topology(&candidate).expect("the cell has a text").expect("the file names the cell"));
        functions.insert(canonical::key(&space.instantiate(&candidate).expect("every candidate is a graph")));
    }
    assert_eq!((published.len(), functions.len()), (6_466, 5_485));
}

#[test]
fn topology_is_the_published_text() {
    let space = tiny_nas_bench_201();
    let text = "e01=nor_conv_3x3 e02=nor_conv_3x3 e12=avg_pool_3x3 e03=skip_connect e13=nor_conv_3x3 e23=skip_connect";
    let candidate = space.parse_assignment(text).expect("the assignment fits");
    expect!["((0)@nor_conv_3x3)@avg_pool_3x3+(0)@nor_conv_3x3+((0)@nor_conv_3x3)@nor_conv_3x3+0"]
        .assert_eq(&space.topology(&candidate).expect("the cell has a text").unwrap_or_default());
}

#[test]
fn models_are_candidates_of_the_space() {
    let space = space(NAS_BENCH_201);
    let edges = ["e01", "e02", "e12", "e03", "e13", "e23"];
    let models = [
        (include_str!("../../../ir-examples/models/nb201_conv3x3.sonar"), [3, 3, 3, 1, 3, 3]),
        (include_str!("../../../ir-examples/models/nb201_resnet.sonar"), [3, 0, 3, 1, 0, 1]),
        (include_str!("../../../ir-examples/models/nb201_conv1x1.sonar"), [2, 2, 2, 2, 2, 2]),
        (include_str!("../../../ir-examples/models/nb201_poolskip.sonar"), [4, 1, 4, 1, 4, 1]),
    ];
    assert!(space.decisions().iter().map(|d| d.name.as_str()).eq(edges));
    for (text, choices) in models {
        let model = parse_graph(text).expect("the model is a graph");
        let candidate = space.instantiate(&Assignment(choices.to_vec())).expect("the candidate is a graph");
        assert_eq!(canonical::key(&model), canonical::key(&candidate), "{}", model.name);
    }
}

#[test]
fn width_kernel_space() {
    let space = space(WIDTH_KERNEL);
    assert_eq!(space.count(), 4 * 4 * 4 * 27 * 8 * 8);
    space.check().expect("every choice gives a graph");
    for size in ["28", "32"] {
        let space =
            Space::parse_with(WIDTH_KERNEL, &[("height", size), ("width", size), ("in", "1")]).expect("the size is allowed");
        assert_eq!(baseline(&space).outputs.len(), 1);
    }
}
