//! The text form of graphs: what is printed is parsed back, and what is wrong is said where it is wrong.

use expect_test::{Expect, expect};
use miette::{GraphicalReportHandler, GraphicalTheme};
use proptest::prelude::*;
use sonar_ir::graph::{Conv2dAttrs, PoolAttrs};
use sonar_ir::space::Space;
use sonar_ir::text::{Error, parse_graph};
use sonar_ir::{BinaryOp, Dim, Graph, Init, NodeId, Op, ReduceOp, TensorType, Term, UnaryOp};
use std::path::PathBuf;

/// Every file of `ir-examples`, with its name.
fn examples() -> Vec<(String, String)> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../ir-examples");
    let mut files = Vec::new();
    for folder in ["kernels", "models", "rewrites", "spaces"] {
        for entry in std::fs::read_dir(root.join(folder)).expect("the examples are part of the repository") {
            let path = entry.expect("the folder can be listed").path();
            if path.extension().is_some_and(|e| e == "sonar") {
                files.push((path.display().to_string(), std::fs::read_to_string(&path).expect("the file can be read")));
            }
        }
    }
    files.sort();
    files
}

fn parsed(text: &str) -> Graph {
    parse_graph(text).unwrap_or_else(|error| panic!("{}\nin\n{text}", rendered(&error)))
}

fn rendered(error: &Error) -> String {
    let mut text = String::new();
    let handler = GraphicalReportHandler::new_themed(GraphicalTheme::none()).with_width(100);
    handler.render_report(&mut text, error).expect("a report can be written to a string");
    let (line, column) = error.line_column();
    let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
    format!("line {line}, column {column}\n{}\n", lines.join("\n"))
}

fn check_print(text: &str, expect: Expect) {
    let graph = parsed(text);
    expect.assert_eq(&graph.to_string());
    assert_eq!(parsed(&graph.to_string()), graph);
}

fn check_error(text: &str, expect: Expect) {
    let error = parse_graph(text).expect_err("the text is wrong");
    expect.assert_eq(&rendered(&error));
}

/// The fault of a body, whose graph has an image `%x` and a weight `%w`.
fn check_body_error(body: &str, expect: Expect) {
    check_error(&format!("graph @g(%x: f32[N,8,8,4], param %w: f32[3,3,4,6] = he) {{\n  {body}\n}}\n"), expect);
}

#[test]
fn examples_parse_and_print() {
    for (name, text) in examples() {
        let space = Space::parse(&text).unwrap_or_else(|error| panic!("{name}: {}", rendered(&error)));
        space.check().unwrap_or_else(|error| panic!("{name}: {}", rendered(&error)));
        let candidate = space.nth(0).expect("a space has a candidate");
        let graph = space.instantiate(&candidate).unwrap_or_else(|error| panic!("{name}: {}", rendered(&error)));
        assert_eq!(parsed(&graph.to_string()), graph, "{name}");
    }
}

#[test]
fn graph_prints_flat() {
    check_print(
        "graph @dense(%x: f32[N,256], param %w: f32[256,128] = he, param %b: f32[128] = zeros) {
           %0 = matmul %x, %w : f32[N,128]
           %1 = add %0, %b    // a name that is a number only serves to refer to the value
           %out = relu(%1)
           return %out, zeros_like(%out)
         }",
        expect![[r#"
            graph @dense(%x: f32[N,256], param %w: f32[256,128] = he, param %b: f32[128] = zeros) {
              %3 = matmul %x, %w : f32[N,128]
              %4 = add %3, %b : f32[N,128]
              %out = relu %4 : f32[N,128]
              %6 = splat {value=0.0, shape=[N,128]} : f32[N,128]
              return %out, %6
            }
        "#]],
    );
}

#[test]
fn attributes_print_in_full_and_defaults_not_at_all() {
    check_print(
        r#"graph @"odd name"(%"in/put:0": f32[N,8,8,4], param %"3": f32[3,3,4,6] = uniform, %r: f32[N,8,8,6]) {
             %0 = conv2d(%"in/put:0", %"3") {stride=[1,1], pad=same, groups=1}
             %1 = conv2d(%"in/put:0", %"3") {stride=2, pad=[1,2], dilation=2}
             %2 = avg_pool(%1) {kernel=2, count_include_pad}
             %3 = fused_sum(%"in/put:0", %"3", %r) {terms=[conv2d(relu, pad=same), add], relu=true}
             %4 = reduce_sum(%3) {axes=[1,2], keep=false}
             return %2, add(%0, %3, %r), %4
           }"#,
        expect![[r#"
            graph @"odd name"(%"in/put:0": f32[N,8,8,4], param %"3": f32[3,3,4,6] = uniform, %r: f32[N,8,8,6]) {
              %3 = conv2d %"in/put:0", %"3" {pad=[1,1,1,1]} : f32[N,8,8,6]
              %4 = conv2d %"in/put:0", %"3" {stride=[2,2], pad=[1,2,1,2], dilation=[2,2]} : f32[N,3,4,6]
              %5 = avg_pool %4 {kernel=[2,2], count_include_pad} : f32[N,2,3,6]
              %6 = fused_sum %"in/put:0", %"3", %r {terms=[conv2d(relu, pad=[1,1,1,1]),add], relu} : f32[N,8,8,6]
              %7 = reduce_sum %6 {axes=[1,2]} : f32[N,6]
              %8 = add %3, %6 : f32[N,8,8,6]
              %9 = add %8, %r : f32[N,8,8,6]
              return %5, %9, %7
            }
        "#]],
    );
}

#[test]
fn names_that_clash_are_told_apart() {
    let mut graph = Graph::new("clash");
    let x = graph.input("x", TensorType::fixed(&[2]));
    for _ in 0..2 {
        let id = graph.push(Op::Unary(UnaryOp::Relu), &[x]).expect("relu applies to anything");
        graph.nodes[id].name = Some("y".into());
        graph.outputs.push(id);
    }
    expect![[r#"
        graph @clash(%x: f32[2]) {
          %y = relu %x : f32[2]
          %2 = relu %x : f32[2]
          return %y, %2
        }
    "#]]
    .assert_eq(&graph.to_string());
}

#[test]
fn missing_punctuation() {
    check_error(
        "graph @g(%x: f32[N,8] {\n  return %x\n}\n",
        expect![[r#"
            line 1, column 23
              x expected `,` or `)`, found `{`
               ,-[input:1:23]
             1 | graph @g(%x: f32[N,8] {
               :                       |
               :                       `-- expected `,` or `)`
             2 |   return %x
               `----
        "#]],
    );
}

#[test]
fn unexpected_end() {
    check_error(
        "graph @g(%x: f32[N,8]) {\n  %y = relu %x\n",
        expect![[r#"
        line 3, column 1
          x expected `%name = …`, `param`, `let`, `repeat` or `return`, found the end of the text
           ,-[input:3:1]
         2 |   %y = relu %x
           `----
    "#]],
    );
    check_error(
        "graph @g(%x: f32[N,8]) {\n  %y = relu %x\n}\n",
        expect![[r#"
        line 3, column 1
          x expected `return`, found `}`
           ,-[input:3:1]
         2 |   %y = relu %x
         3 | }
           : |
           : `-- expected `return`
           `----
          help: a graph ends with `return` and its results
    "#]],
    );
    check_error(
        "",
        expect![[r#"
        line 1, column 1
          x expected a graph, found the end of the text
           ,-[input:1:1]
           `----
          help: a file holds at least one `graph @name(…) { … }`
    "#]],
    );
}

#[test]
fn unexpected_character() {
    check_error(
        "graph @g(%x: f32[N,8]) {\n  return %x; \n}\n",
        expect![[r#"
        line 2, column 12
          x unexpected character ';'
           ,-[input:2:12]
         1 | graph @g(%x: f32[N,8]) {
         2 |   return %x;
           :            |
           :            `-- here
         3 | }
           `----
    "#]],
    );
    check_error(
        "graph @g(%\"x: f32[N,8]) {\n",
        expect![[r#"
        line 1, column 10
          x a quoted name is not closed
           ,-[input:1:10]
         1 | graph @g(%"x: f32[N,8]) {
           :          ^^^^^^^^|^^^^^^^^
           :                  `-- here
           `----
          help: add the closing `"`
    "#]],
    );
}

#[test]
fn unknown_names() {
    check_body_error(
        "return rellu(%x)",
        expect![[r#"
        line 2, column 10
          x unknown operator `rellu`
           ,-[input:2:10]
         1 | graph @g(%x: f32[N,8,8,4], param %w: f32[3,3,4,6] = he) {
         2 |   return rellu(%x)
           :          ^^|^^
           :            `-- here
         3 | }
           `----
          help: did you mean `relu`?
    "#]],
    );
    check_body_error(
        "%image = relu %x\n  return add(%imgae, %x)",
        expect![[r#"
        line 3, column 14
          x `%imgae` is not defined
           ,-[input:3:14]
         2 |   %image = relu %x
         3 |   return add(%imgae, %x)
           :              ^^^|^^
           :                 `-- here
         4 | }
           `----
          help: did you mean `%image`?
    "#]],
    );
    check_body_error(
        "return @cell(%x)",
        expect![[r#"
        line 2, column 10
          x no graph `@cell` is defined above
           ,-[input:2:10]
         1 | graph @g(%x: f32[N,8,8,4], param %w: f32[3,3,4,6] = he) {
         2 |   return @cell(%x)
           :          ^^|^^
           :            `-- here
         3 | }
           `----
          help: a graph may call the graphs that are defined before it
    "#]],
    );
    check_body_error(
        "return conv2d(%x, %w) {strid=2}",
        expect![[r#"
        line 2, column 26
          x `conv2d` has no attribute `strid`
           ,-[input:2:26]
         1 | graph @g(%x: f32[N,8,8,4], param %w: f32[3,3,4,6] = he) {
         2 |   return conv2d(%x, %w) {strid=2}
           :                          ^^^|^^^
           :                             `-- here
         3 | }
           `----
          help: expected one of `stride`, `dilation`, `pad`, `groups`; braces belong to the operator right
                before them
    "#]],
    );
    check_body_error(
        "return conv2d(%x, %w) {stride=$s}",
        expect![[r#"
        line 2, column 33
          x `$s` is not defined
           ,-[input:2:33]
         1 | graph @g(%x: f32[N,8,8,4], param %w: f32[3,3,4,6] = he) {
         2 |   return conv2d(%x, %w) {stride=$s}
           :                                 ^|
           :                                  `-- here
         3 | }
           `----
          help: define it with `let`, or as an argument of the graph
    "#]],
    );
}

#[test]
fn annotation_differs_from_the_type() {
    check_body_error(
        "%y = conv2d %x, %w {pad=same} : f32[N,8,8,8]\n  return %y",
        expect![[r#"
        line 2, column 35
          x expected f32[N,8,8,6], found f32[N,8,8,8]
           ,-[input:2:35]
         1 | graph @g(%x: f32[N,8,8,4], param %w: f32[3,3,4,6] = he) {
         2 |   %y = conv2d %x, %w {pad=same} : f32[N,8,8,8]
           :                                   ^^^^^^|^^^^^
           :                                         `-- expected f32[N,8,8,6]
         3 |   return %y
           `----
    "#]],
    );
}

#[test]
fn operands_do_not_fit() {
    check_body_error(
        "return matmul(%x, %w)",
        expect![[r#"
        line 2, column 10
          x matmul: the leading axes of f32[N,8,8,4] and f32[3,3,4,6] differ
           ,-[input:2:10]
         1 | graph @g(%x: f32[N,8,8,4], param %w: f32[3,3,4,6] = he) {
         2 |   return matmul(%x, %w)
           :          ^^^|^^ ^|  ^|
           :             |    |   `-- this is f32[3,3,4,6]
           :             |    `-- this is f32[N,8,8,4]
           :             `-- here
         3 | }
           `----
    "#]],
    );
    check_body_error(
        "return relu(%x, %w)",
        expect![[r#"
        line 2, column 10
          x relu: expected 1 operand, found 2
           ,-[input:2:10]
         1 | graph @g(%x: f32[N,8,8,4], param %w: f32[3,3,4,6] = he) {
         2 |   return relu(%x, %w)
           :          ^^|^ ^|  ^|
           :            |   |   `-- this is f32[3,3,4,6]
           :            |   `-- this is f32[N,8,8,4]
           :            `-- here
         3 | }
           `----
    "#]],
    );
}

#[test]
fn wrong_attributes() {
    check_body_error(
        "return max_pool(%x)",
        expect![[r#"
        line 2, column 10
          x `max_pool` needs the attribute `kernel`
           ,-[input:2:10]
         1 | graph @g(%x: f32[N,8,8,4], param %w: f32[3,3,4,6] = he) {
         2 |   return max_pool(%x)
           :          ^^^^|^^^
           :              `-- here
         3 | }
           `----
          help: write `max_pool … {kernel=…}`
    "#]],
    );
    check_body_error(
        "return max_pool(%x) {kernel=[1,2,3]}",
        expect![[r#"
        line 2, column 24
          x expected one number or two for `kernel`, found `[1,2,3]`
           ,-[input:2:24]
         1 | graph @g(%x: f32[N,8,8,4], param %w: f32[3,3,4,6] = he) {
         2 |   return max_pool(%x) {kernel=[1,2,3]}
           :                        ^^^^^^^|^^^^^^
           :                               `-- expected one number or two for `kernel`
         3 | }
           `----
    "#]],
    );
    check_body_error(
        "return max_pool(%x) {kernel=-1}",
        expect![[r#"
        line 2, column 24
          x expected a number from 0 to 2^31 for `kernel`, found `-1`
           ,-[input:2:24]
         1 | graph @g(%x: f32[N,8,8,4], param %w: f32[3,3,4,6] = he) {
         2 |   return max_pool(%x) {kernel=-1}
           :                        ^^^^|^^^^
           :                            `-- expected a number from 0 to 2^31 for `kernel`
         3 | }
           `----
    "#]],
    );
    check_body_error(
        "return max_pool(%x) {kernel=2, pad=same}",
        expect![[r#"
        line 2, column 34
          x `pad=same` needs an odd kernel, found 2 by 2
           ,-[input:2:34]
         1 | graph @g(%x: f32[N,8,8,4], param %w: f32[3,3,4,6] = he) {
         2 |   return max_pool(%x) {kernel=2, pad=same}
           :                                  ^^^^|^^^
           :                                      `-- here
         3 | }
           `----
    "#]],
    );
    check_body_error(
        "return reshape(%x) {shape=[N,0]}",
        expect![[r#"
        line 2, column 23
          x expected an extent of at least 1, or `N`, found `0`
           ,-[input:2:23]
         1 | graph @g(%x: f32[N,8,8,4], param %w: f32[3,3,4,6] = he) {
         2 |   return reshape(%x) {shape=[N,0]}
           :                       ^^^^^|^^^^^
           :                            `-- expected an extent of at least 1, or `N`
         3 | }
           `----
    "#]],
    );
    check_body_error(
        "return softmax(max_pool(%x)) {kernel=2}",
        expect![[r#"
        line 2, column 18
          x `max_pool` needs the attribute `kernel`
           ,-[input:2:18]
         1 | graph @g(%x: f32[N,8,8,4], param %w: f32[3,3,4,6] = he) {
         2 |   return softmax(max_pool(%x)) {kernel=2}
           :                  ^^^^|^^^
           :                      `-- here
         3 | }
           `----
          help: write `max_pool … {kernel=…}`
    "#]],
    );
}

#[test]
fn defined_twice() {
    check_body_error(
        "%y = relu %x\n  %y = relu %y\n  return %y",
        expect![[r#"
        line 3, column 3
          x `%y` is defined twice
           ,-[input:3:3]
         2 |   %y = relu %x
         3 |   %y = relu %y
           :   ^|
           :    `-- here
         4 |   return %y
           `----
          help: only a `repeat` block may define a tensor from outside of it again
    "#]],
    );
}

#[test]
fn return_in_a_repetition() {
    check_body_error(
        "repeat 2 { return %x }\n  return %x",
        expect![[r#"
        line 2, column 14
          x a `repeat` block has no `return`
           ,-[input:2:14]
         1 | graph @g(%x: f32[N,8,8,4], param %w: f32[3,3,4,6] = he) {
         2 |   repeat 2 { return %x }
           :              ^^^|^^
           :                 `-- here
         3 |   return %x
           `----
    "#]],
    );
}

#[test]
fn tensors_of_absurd_size() {
    check_error(
        "graph @g(%x: f32[N,65536,65536]) { return %x }",
        expect![[r#"
        line 1, column 14
          x f32[N,65536,65536] is too large
           ,-[input:1:14]
         1 | graph @g(%x: f32[N,65536,65536]) { return %x }
           :              ^^^^^^^^^|^^^^^^^^
           :                       `-- here
           `----
          help: a tensor has less than 2^31 elements
    "#]],
    );
    check_error(
        "graph @g(%x: f32[99999999999999999999]) { return %x }",
        expect![[r#"
        line 1, column 18
          x this number is too large
           ,-[input:1:18]
         1 | graph @g(%x: f32[99999999999999999999]) { return %x }
           :                  ^^^^^^^^^^|^^^^^^^^^
           :                            `-- here
           `----
          help: a whole number is at most 9223372036854775807
    "#]],
    );
    check_body_error(
        "return broadcast(slice(%x) {axis=3, start=0, end=1}) {shape=[N,8,8,1000000000]}",
        expect![[r#"
        line 2, column 57
          x f32[N,8,8,1000000000] is too large
           ,-[input:2:57]
         1 | graph @g(%x: f32[N,8,8,4], param %w: f32[3,3,4,6] = he) {
         2 |   return broadcast(slice(%x) {axis=3, start=0, end=1}) {shape=[N,8,8,1000000000]}
           :                                                         ^^^^^^^^^^^^|^^^^^^^^^^^
           :                                                                     `-- here
         3 | }
           `----
          help: a tensor has less than 2^31 elements
    "#]],
    );
}

#[test]
fn space_where_a_graph_is_expected() {
    check_error(
        "let $c in {1, 2}\ngraph @g(%x: f32[N,$c]) { return %x }",
        expect![[r#"
        line 1, column 5
          x expected a graph, found a search space
           ,-[input:1:5]
         1 | let $c in {1, 2}
           :     ^|
           :      `-- here
         2 | graph @g(%x: f32[N,$c]) { return %x }
           `----
          help: this is a decision: a graph file has none
    "#]],
    );
}

#[test]
fn faults_in_called_graphs_show_the_call() {
    check_error(
        "graph @half(%x: f32[N,$c]) {\n  return reshape(%x) {shape=[N,$c/2]}\n}\ngraph @g(%x: f32[N,8]) {\n  return @half(%x)\n}\n",
        expect![[r#"
            line 2, column 10
              x reshape: f32[N,8] cannot be reshaped to f32[N,4]
               ,-[input:2:10]
             1 | graph @half(%x: f32[N,$c]) {
             2 |   return reshape(%x) {shape=[N,$c/2]}
               :          ^^^|^^^ ^|
               :             |     `-- this is f32[N,8]
               :             `-- here
             3 | }
             4 | graph @g(%x: f32[N,8]) {
             5 |   return @half(%x)
               :          ^^^^|^^^^
               :              `-- in this call
             6 | }
               `----
        "#]],
    );
}

/// Texts that are deep, long or large must end in an error or a graph, soon, and without a crash.
#[test]
fn hostile_texts_end() {
    let deep = 200_000;
    let body = |body: String| format!("graph @g(%x: f32[N,8,8,4], param %w: f32[3,3,4,4]) {{ {body} return %x }}");
    let calls: String = (1..3000).map(|i| format!("graph @g{i}(%x) {{ return @g{}(%x) }}\n", i - 1)).collect();
    let doubling: String =
        (1..64).map(|i| format!("graph @g{i}(%x) {{ %a = @g{}(%x) return @g{}(%a) }}\n", i - 1, i - 1)).collect();
    let texts = [
        format!("graph @g(%x: f32[{}1{}]) {{ return %x }}", "(".repeat(deep), ")".repeat(deep)),
        format!("graph @g(%x: f32[{}1]) {{ return %x }}", "-".repeat(deep)),
        format!("graph @g(%x: f32[1{}]) {{ return %x }}", "+1".repeat(deep)),
        format!("graph @g(%x: f32[{}]) {{ return %x }}", "1,".repeat(deep)),
        body(format!("%y = {}%x{}", "relu(".repeat(deep), ")".repeat(deep))),
        body(format!("%y = add {}%x", "%x,".repeat(deep))),
        body(format!("%y = softmax %x {{a={}1{}}}", "[".repeat(deep), "]".repeat(deep))),
        body(format!("%y = softmax %x {{a={}}}", "f(a=".repeat(deep))),
        body(format!("{} %y = relu %x {}", "repeat 1 {".repeat(deep), "}".repeat(deep))),
        body(format!("{} %y = relu %x {}", "repeat 9 {".repeat(40), "}".repeat(40))),
        body("repeat 9223372036854775807 { %x = relu %x }".into()),
        body("repeat 9223372036854775807 { }".into()),
        body("let $m = -(-9223372036854775807 - 1)".into()),
        body("let $m = (-9223372036854775807 - 1) / (0 - 1)".into()),
        body("let $m = 1 / 0".into()),
        body("let $m = 4611686018427387904 * 4".into()),
        body("%y = conv2d %x, %w {pad=2147483647}".into()),
        body("%y = conv2d %x, %w {dilation=2147483647, pad=same}".into()),
        body("%y = conv2d %x, %w {stride=0}".into()),
        body("%y = conv2d %x, %w {groups=2147483647}".into()),
        body("%y = conv2d %x, %w {groups=0}".into()),
        body("%y = conv2d_grad_input %x, %w {size=2147483647, groups=2147483647}".into()),
        body("%y = pad %x {pads=[[0,0],[2147483647,2147483647],[0,0],[0,0]]}".into()),
        body("%y = reshape %x {shape=[N,2147483647,2147483647,2147483647]}".into()),
        body("%y = transpose %x {perm=[0,0,0,0]}".into()),
        body("%y = slice %x {axis=9, start=5, end=1}".into()),
        body("%y = slice %x {axis=0, start=0, end=1}".into()),
        body("%y = max_pool %x {kernel=0}".into()),
        body("%y = splat {value=1e99999, shape=[1]}".into()),
        format!("graph @g0(%x) {{ return relu(%x) }}\n{calls}graph @g(%x: f32[1]) {{ return @g2999(%x) }}"),
        format!("graph @g0(%x) {{ return relu(%x) }}\n{doubling}graph @g(%x: f32[1]) {{ return @g63(%x) }}"),
        format!("graph @g0(%x) {{ return %x }}\n{doubling}graph @g(%x: f32[1]) {{ return @g63(%x) }}"),
    ];
    for text in texts {
        if let Err(error) = parse_graph(&text) {
            error.line_column();
        }
    }
}

/// Builds a graph from bytes: each operator is tried on operands that exist, and left out where it does not apply.
fn graph_from(bytes: &[u8], names: &[String]) -> Graph {
    let mut bytes = bytes.iter().copied();
    let mut graph = Graph::new(names.first().cloned().unwrap_or_default());
    let image = TensorType { shape: vec![Dim::Batch, Dim::Fixed(6), Dim::Fixed(5), Dim::Fixed(4)] };
    graph.input("x", image);
    graph.param("w", &[3, 3, 4, 4], Init::He);
    graph.param("m", &[4, 4], Init::Uniform);
    for _ in 0..4 {
        graph.param(format!("c{}", graph.nodes.len()), &[4], Init::Ones);
    }
    let mut names = names.iter().enumerate().skip(1);
    while let Some(kind) = bytes.next() {
        let mut byte = || usize::from(bytes.next().unwrap_or(0));
        let attrs = Conv2dAttrs {
            stride: [1 + byte() % 2, 1 + byte() % 2],
            pad: [byte() % 3, 1, byte() % 2, 1],
            dilation: [1 + byte() % 2, 1],
            groups: 1 + 3 * (byte() % 2),
        };
        let pool = PoolAttrs {
            kernel: [1 + byte() % 3, 2],
            stride: attrs.stride,
            pad: [0, byte() % 2, 0, 1],
            count_include_pad: byte() % 2 == 0,
        };
        let number = f32::from_bits(u32::from_le_bytes([0, 0, 0, 0].map(|_: u8| byte() as u8)));
        let number = if number.is_nan() { 0.1 } else { number };
        let operands: Vec<NodeId> = (0..5).map(|_| NodeId((byte() % graph.nodes.len()) as u32)).collect();
        let shape = graph.ty(operands[0]).shape.clone();
        let rank = shape.len().max(1);
        let terms = [Term::Conv2d { attrs, relu: byte() % 2 == 0 }, Term::Add, Term::MatMul { relu: byte() % 2 == 0 }];
        let op = match kind % 30 {
            0 => Op::Splat(number, shape),
            1 => Op::Conv2d(attrs),
            2 => Op::Conv2dGradInput(attrs, [6, 5]),
            3 => Op::Conv2dGradWeight(attrs, [3, 3]),
            4 => Op::MatMul,
            5 => Op::BatchNorm { eps: number },
            6 => Op::BatchNormTrain { eps: 1e-5 },
            7 => Op::Unary(UnaryOp::ALL[byte() % UnaryOp::ALL.len()]),
            8 | 9 => Op::Binary(BinaryOp::ALL[byte() % BinaryOp::ALL.len()]),
            10 => Op::MaxPool(pool),
            11 => Op::MaxPoolGrad(pool),
            12 => Op::AvgPool(pool),
            13 => Op::AvgPoolGrad(pool, [6, 5]),
            14 => Op::GlobalAvgPool,
            15 => Op::Reshape(shape.into_iter().chain([Dim::Fixed(1)]).collect()),
            16 => Op::Transpose((0..rank).map(|i| if i == 0 || byte() % 2 == 0 { i } else { rank - i }).collect()),
            17 => Op::Concat { axis: byte() % rank },
            18 => Op::Slice { axis: byte() % rank, start: byte() % 2, end: 2 + byte() % 2 },
            19 => Op::Pad((0..rank).map(|i| if i == 0 { (0, 0) } else { (byte() % 2, byte() % 3) }).collect()),
            20 => Op::Softmax,
            21 => Op::LogSoftmax,
            22 | 23 => Op::Reduce { op: ReduceOp::ALL[byte() % 4], axes: vec![byte() % rank], keep: byte() % 2 == 0 },
            24 => Op::Broadcast([Dim::Fixed(2)].into_iter().chain(shape).collect()),
            25 => Op::FusedSum { terms: terms[..1 + byte() % 3].to_vec(), relu: byte() % 2 == 0 },
            26 => Op::LayerNorm { eps: number },
            27 => Op::Attention { heads: 1 + byte() % 2, scale: number },
            28 => {
                if let Some((i, name)) = names.next() {
                    graph.param(format!("{name}/{i}"), &[3, 3, 1, 4], Init::Zeros);
                }
                continue;
            }
            _ => {
                graph.input(format!("input.{}", graph.nodes.len()), TensorType::fixed(&[4, 4]));
                continue;
            }
        };
        let arity = (0..=5).find(|&n| graph.clone().push(op.clone(), &operands[..n]).is_ok());
        if let Some(arity) = arity
            && let Ok(id) = graph.push(op, &operands[..arity])
        {
            if byte() % 3 == 0 {
                graph.nodes[id].name = Some(format!("value{}", id.0));
            }
            if byte() % 3 == 0 {
                graph.outputs.push(id);
            }
        }
    }
    graph
}

const WORDS: [&str; 44] = [
    "graph", "@g", "@h", "(", ")", "{", "}", "[", "]", ",", ":", "=", "=>", "+", "-", "*", "/", "%x", "%w", "%0", "$c", "$d",
    "param", "f32", "N", "8", "2", "1.5", "let", "in", "choose", "repeat", "as", "return", "input", "relu", "add", "conv2d",
    "stride", "pad", "same", "he", "baseline", "topology",
];

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn printed_graphs_parse_back(bytes in prop::collection::vec(any::<u8>(), 0..1500), names in prop::collection::vec(any::<String>(), 0..8)) {
        let graph = graph_from(&bytes, &names);
        prop_assert_eq!(parsed(&graph.to_string()), graph);
    }

    #[test]
    fn random_text_never_panics(text in any::<String>()) {
        let _ = Space::parse(&text);
    }

    #[test]
    fn random_words_never_panic(words in prop::collection::vec(prop::sample::select(&WORDS[..]), 0..60)) {
        let _ = Space::parse(&format!("graph @h(%x: f32[N,8]) {{ return %x }} {}", words.join(" ")));
        let _ = Space::parse(&format!("graph @g(%x: f32[N,8,8,2], param %w: f32[3,3,2,2], $c=2) {{ {} return %x }}", words.join(" ")));
    }

    #[test]
    fn damaged_examples_never_panic(
        file in any::<prop::sample::Index>(),
        keep in 0.0..1.0f64,
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
    ) {
        let files = examples();
        let mut bytes = file.get(&files).1.clone().into_bytes();
        for (place, byte) in damage {
            let place = place.index(bytes.len());
            bytes[place] = byte;
        }
        bytes.truncate((bytes.len() as f64 * (1.5 * keep).min(1.0)) as usize);
        let _ = Space::parse(&String::from_utf8_lossy(&bytes));
    }
}
