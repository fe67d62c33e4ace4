//! Rules of a user: `--rules`.

use crate::command::sonar;
use crate::{Scratch, example};

const MODEL: &str = "graph @model(%x: f32[N,8], %y: f32[N,8]) { return relu(max(%x, %y)) }\n";

#[test]
fn a_good_rule_fires() {
    let scratch = Scratch::new();
    let model = scratch.file("model.sonar", MODEL);
    let rules = scratch.file(
        "my.rules",
        "// Activations before a maximum.\nrule @inwards exact: relu(max(%x, %y)) => max(relu(%x), relu(%y))\n",
    );
    let report = sonar(&["inspect", &model, "--stage", "egraph", "--rules", &rules]).succeeds();
    assert!(report.lines().any(|line| line.trim_start().starts_with("inwards ")), "{report}");
    let compiled = sonar(&["compile", &model, "--rules", &rules, "--format", "json"]).json();
    let fired = compiled["rewriting"]["fired"].as_array().expect("rules are counted");
    assert!(fired.iter().any(|rule| rule[0] == "inwards" && rule[1].as_u64() > Some(0)), "{compiled:#}");
    sonar(&["run", &model, "--rules", &rules, "--check"]).succeeds();
    sonar(&["bench", &model, "--rules", &rules, "--runs", "2", "--warmup", "1"]).succeeds();
    sonar(&["run", &model, "--rules", &rules, "--no-rewrite"]).fails(2, &["--rewrite full"]);

    // A rule that makes the graph smaller wins.
    let twice =
        scratch.file("twice.sonar", "graph @twice(%x: f32[3,8]) { return transpose(transpose(%x) {perm=[1,0]}) {perm=[1,0]} }");
    let rules = scratch
        .file("my.rules", "rule @twice exact: transpose(transpose(%x) {perm=[1,0]}) {perm=[1,0]} => %x where rank(%x) == 2");
    let rewritten = sonar(&["inspect", &twice, "--stage", "rewritten", "--rules", &rules]).succeeds();
    assert!(!rewritten.contains("transpose"), "{rewritten}");
}

#[test]
fn a_bad_rule_is_refused() {
    let scratch = Scratch::new();
    let model = scratch.file("model.sonar", MODEL);
    let refused = |text: &str, said: &[&str]| {
        let rules = scratch.file("my.rules", text);
        for command in ["compile", "run", "bench", "tune"] {
            sonar(&[command, &model, "--rules", &rules]).fails(3, said);
        }
        sonar(&["inspect", &model, "--stage", "rewritten", "--rules", &rules]).fails(3, said);
    };
    let wrong = "\nrule @wrong real: relu(neg(%x)) => neg(relu(%x))";
    refused(wrong, &["my.rules", "line 2", "rule `wrong` is wrong", "on the left side", "%x = f32["]);
    refused("rule @none exact: matmul(%x) => %x", &["can never be used"]);
    refused("rule @typo exact: relu(%x) =>\n  reluu(%x)", &["my.rules:2:3", "unknown operator `reluu`", "did you mean `relu`?"]);
    refused("rule @open exact: relu(%x => %x", &["my.rules:1:", "expected"]);
    sonar(&["run", &model, "--rules", &scratch.arg("none.rules")]).fails(3, &["cannot read"]);
}

#[test]
fn a_proof_is_printed() {
    let scratch = Scratch::new();
    let block = example("kernels/residual_block.sonar");
    let proof = sonar(&["inspect", &block, "--stage", "rewritten", "--explain"]).succeeds();
    for said in ["whole graph, ", "segment 1: ", "fuse-epilogue (exact)", "\nproof checked: "] {
        assert!(proof.contains(said), "{said}:\n{proof}");
    }
    let without = sonar(&["inspect", &block, "--stage", "rewritten"]).succeeds();
    assert!(proof.starts_with(&without), "the graph is the same, whether its proof is printed or not");

    // A rule of a user is a step like any other.
    let model = "graph @model(%a: f32[N,8], %b: f32[N,8]) { return min(neg(%a), neg(%b)) }";
    let model = scratch.file("model.sonar", model);
    let rules = scratch.file("my.rules", "rule @outwards exact: min(neg(%x), neg(%y)) => neg(max(%x, %y))");
    let proof = sonar(&["inspect", &model, "--stage", "egraph", "--explain", "--rules", &rules]).succeeds();
    assert!(proof.contains("outwards (exact): min(neg(%x), neg(%y)) => neg(max(%x, %y))"), "{proof}");
    sonar(&["inspect", &model, "--explain"]).fails(2, &["--explain goes with"]);
}
