//! Every file under `ir-examples/` on the reference interpreter and as compiled code of every target this machine runs,
//! as it is written and rewritten: they must agree. Of a space, the baseline and random candidates are taken.
//!
//! Files may contain the expected outputs or the expected error: see `tests/filetests/README.md`.

mod support;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use sonar_ir::graph::interp;
use sonar_ir::text::parse_graph;
use sonar_ir::{Graph, Tensor, Values};
use sonar_tune::RewriteLevel;
use support::answer::Answer;
use support::bless;
use support::command::sonar;
use support::directive::{BATCH, Directive, Run};
use support::examples::{Example, FOLDERS, examples, files};
use support::stated::{Kind, corrected};
use support::{Variant, run_compiled, targets};

/// Random candidates of a space.
const SAMPLES: usize = 4;

/// The stages that `inspect` prints.
const STAGES: [&str; 7] = ["graph", "egraph", "rewritten", "loops", "schedule", "clif", "asm"];

/// The graphs that a file stands for: itself, or the baseline and random candidates.
fn graphs(example: &Example) -> Vec<Graph> {
    let space = &example.space;
    let mut rng = StdRng::seed_from_u64(example.directive.seed);
    let random = (0..SAMPLES).filter_map(|_| space.nth(rng.random_range(0..space.count())));
    let mut candidates: Vec<_> = space.baseline().cloned().into_iter().chain(random).collect();
    candidates.dedup();
    let graph = |c| space.instantiate(c).unwrap_or_else(|e| panic!("{}: {e}", example.path.display()));
    candidates.iter().map(graph).collect()
}

/// Compiles and runs a graph for every target and rewrite level; `error` gives the relative error of an output.
fn check(example: &Example, graph: &Graph, values: &Values, error: impl Fn(usize, &Tensor) -> f64) {
    let Example { path, directive, .. } = example;
    let targets = targets();
    let widest = targets.last().expect("this machine runs some target");
    let one_thread = targets.iter().flat_map(|target| [(target, RewriteLevel::Full, 1), (target, RewriteLevel::Written, 1)]);
    let two_threads = [RewriteLevel::Full, RewriteLevel::Written].map(|level| (widest, level, 2));
    for (target, rewrite, threads) in one_thread.chain(two_threads).chain([(widest, RewriteLevel::Unfused, 1)]) {
        let found = run_compiled(graph, values, &Variant::new(target, rewrite, threads));
        assert_eq!(found.len(), graph.outputs.len());
        for (output, found) in found.iter().enumerate() {
            let error = error(output, found);
            assert!(
                error <= directive.rtol,
                "{}: {target}, {rewrite:?}, threads {threads}: output {output} is off by {error:e}\n{graph}",
                path.display()
            );
        }
    }
}

/// Compares compiled code of a graph with the interpreter.
fn check_random(example: &Example, graph: &Graph) {
    let graph = graph.specialise(BATCH);
    let values = example.directive.random(&graph);
    let expected = interp::run(&graph, &values).expect("the graph is valid");
    check(example, &graph, &values, |output, found| found.relative_error(&expected[output]));
}

/// Compares compiled code with the answers of a run.
fn check_run(example: &Example, run: &Run) {
    let fail = |e: String| -> ! { panic!("{}: {e}", example.path.display()) };
    let (graph, values) = run.bind(&example.graph(), &example.directive).unwrap_or_else(|e| fail(e));
    let answers = run.answers.iter().map(|answer| Answer::parse(answer).unwrap_or_else(|e| fail(e)));
    let answers: Vec<Answer> = answers.collect();
    check(example, &graph, &values, |output, found| answers[output].error(found));
}

/// Checks or rewrites the expectations in the files of a folder. Answers come from the interpreter.
fn check_stated(folder: &str) {
    let variable = |name: &str| std::env::var(name).ok();
    let bless = bless::blessing(variable("SONAR_BLESS").as_deref(), variable("CI").as_deref()).unwrap_or_else(|e| panic!("{e}"));
    let wrong: Vec<String> = files(folder).iter().filter_map(|path| bless::check_stated(path, bless).err()).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn check_folder(folder: &str) {
    check_stated(folder);
    for example in examples(folder) {
        graphs(&example).iter().for_each(|graph| check_random(&example, graph));
        example.directive.runs.iter().for_each(|run| check_run(&example, run));
    }
}

#[test]
fn kernels_compute_what_the_interpreter_computes() {
    check_folder("ir-examples/kernels");
}

#[test]
fn models_compute_what_the_interpreter_computes() {
    check_folder("ir-examples/models");
}

#[test]
fn what_rewriting_is_shown_on_computes_what_the_interpreter_computes() {
    check_folder("ir-examples/rewrites");
}

#[test]
fn candidates_of_spaces_compute_what_the_interpreter_computes() {
    check_folder("ir-examples/spaces");
}

#[test]
fn small_programs_give_their_answers() {
    check_folder("tests/filetests/runs");
}

#[test]
fn errors_are_reported_on_their_lines() {
    check_stated("tests/filetests/errors");
    for path in files("tests/filetests/errors") {
        let text = std::fs::read_to_string(&path).expect("the file can be read");
        assert!(text.contains("// error:"), "{}: nothing is wrong here", path.display());
    }
}

#[test]
fn what_is_printed_reads_back() {
    for example in FOLDERS.into_iter().flat_map(examples) {
        let path = &example.path;
        for graph in graphs(&example) {
            let text = graph.to_string();
            let again = parse_graph(&text).unwrap_or_else(|e| panic!("{}: {e}\n{text}", path.display()));
            assert_eq!(again, graph, "{}", path.display());
            assert_eq!(again.to_string(), text, "{}", path.display());
        }
    }
}

#[test]
fn every_stage_of_every_file_can_be_printed() {
    for example in FOLDERS.into_iter().flat_map(examples) {
        let named = example.arguments();
        for stage in STAGES {
            let mut args = vec!["inspect", "--stage", stage];
            args.extend(named.iter().map(String::as_str));
            let text = sonar(&args).succeeds();
            assert!(text.lines().count() > 1, "{args:?} prints nothing");
        }
    }
}

#[test]
fn directives() {
    let read = |line: &str| Directive::parse(&format!("// A file.\n// test: {line}\n"));
    let directive = |seed, rtol, settings: &[(&str, &str)]| {
        let settings = settings.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
        Ok(Directive { seed, rtol, settings, runs: Vec::new() })
    };
    assert_eq!(read("run"), directive(0, 1e-4, &[]));
    assert_eq!(read("run seed=7 rtol=1e-5"), directive(7, 1e-5, &[]));
    assert_eq!(read("run seed=7\n// test: set height=32 act=relu"), directive(7, 1e-4, &[("height", "32"), ("act", "relu")]));
    for wrong in ["run sed=7", "run seed", "run seed=x", "run rtol=small", "set height", "walk"] {
        let last = wrong.split(' ').next_back().expect("a word");
        assert!(read(wrong).unwrap_err().contains(last));
    }
}

/// All expectations are correct. Differences within the tolerance, whitespace and a missing last newline must be kept.
const RIGHT: &str = "\
// A graph.
// test: run rtol=1e-3
graph @g(%x: f32[N,2], param %w: f32[2,20]) {
  return neg(%x), matmul(%x, %w)\t
}
// run: w=1 x=[[1, -inf], [NaN, 2]]
// => [[-1, inf], [NaN, -2.001]]
// => f32[2,20] first [-inf, -inf, -inf, -inf] last [NaN, NaN, NaN, NaN] mean NaN min -inf max -inf
// run: w=1 x=[3, 4]
// => [[-3, -4]]
// => f32[1,20] first [7, 7, 7, 7] last [7, 7, 7, 7] mean 7 min 7 max 7
// The end.";

fn right(text: &str) -> String {
    corrected(text, Kind::Space).unwrap_or_else(|e| panic!("{e}\n{text}"))
}

#[test]
fn wrong_answers_are_found_and_corrected() {
    assert_eq!(right(RIGHT), RIGHT);
    for (from, to) in [
        ("[[-3, -4]]", "[[-3, -4.1]]"),
        ("[[-3, -4]]", "[[-3, NaN]]"),
        ("[[-3, -4]]", "[[-3], [-4]]"),
        ("[[-3, -4]]", "[[-3, -4, -5]]"),
        ("[[-3, -4]]", "[[-3, -4]] and more"),
        ("[[-3, -4]]", "nonsense"),
        ("f32[1,20]", "f32[20,1]"),
        ("first [7, 7, 7, 7]", "first [7, 7, 7, 6]"),
        ("last [7, 7, 7, 7]", "last [8, 7, 7, 7]"),
        ("mean 7", "mean 7.1"),
        ("min 7", "min -inf"),
        ("max 7", "max 8"),
        ("// => [[-3, -4]]\n", ""),
        ("// => [[-3, -4]]\n", "// => [[-3, -4]]\n// => [[-3, -4]]\n"),
    ] {
        let wrong = RIGHT.replacen(from, to, 1);
        assert_ne!(wrong, RIGHT, "{from} is not in the text");
        assert_eq!(right(&wrong), RIGHT, "{to} is corrected");
    }
    assert!(right(&RIGHT.replace("-2.001", "-2.01")).contains("// => [[-1, inf], [NaN, -2]]\n"));
}

#[test]
fn errors_on_wrong_lines_are_found_and_corrected() {
    let text = "graph @g(%x: f32[N,2]) {\r\n  %y = tanh %x\r\n  return rellu(%y) // error: unknown operator\r\n}\r\n";
    assert_eq!(right(text), text);
    let full = text.replace("unknown operator", "unknown operator `rellu`");
    let bare = text.replace(" // error: unknown operator", "");
    for wrong in [
        bare.clone(),
        text.replace("unknown operator", ""),
        text.replace("unknown operator", "an unknown operator"),
        bare.replace("tanh %x", "tanh %x // error: unknown operator `rellu`"),
        full.replace("tanh %x", "tanh %x // error: unknown operator `rellu`"),
    ] {
        assert_eq!(right(&wrong), full, "{wrong}");
    }
    // Nothing is wrong.
    assert_eq!(right(&text.replace("rellu", "relu")), bare.replace("rellu", "relu"));
    // The text ends too early, or is empty.
    assert!(right("graph @g(").starts_with("graph @g( // error: expected"));
    assert_eq!(right(""), "// error: expected a graph, found the end of the text\n");
    // Errors of rules.
    let rules = "rule @right exact: neg(neg(%x)) => %x\nrule @wrong exact: neg(%x) => %x\n";
    let found = corrected(rules, Kind::Rules).expect("rules have no directives");
    assert!(found.contains("neg(%x) => %x // error: rule `wrong` is wrong: "), "{found}");
}

#[test]
fn a_blessed_file_passes() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("g.sonar");
    let wrong = RIGHT.replace("[[-3, -4]]", "[[-3, -5]]");
    std::fs::write(&path, &wrong).expect("the file can be written");
    let read = || std::fs::read_to_string(&path).expect("the file can be read");

    let refused = bless::check_stated(&path, false).expect_err("an answer is wrong");
    assert!(refused.ends_with("- 10: // => [[-3, -5]]\n+ 10: // => [[-3, -4]]\n"), "{refused}");
    assert_eq!(read(), wrong);

    bless::check_stated(&path, true).expect("the file is rewritten");
    assert_eq!(read(), RIGHT);
    bless::check_stated(&path, false).expect("nothing is wrong any more");
    assert_eq!(std::fs::read_dir(folder.path()).expect("the folder can be read").count(), 1);
}

#[test]
fn blessing_is_refused_in_ci() {
    assert_eq!(bless::blessing(None, Some("1")), Ok(false));
    assert_eq!(bless::blessing(Some("1"), None), Ok(true));
    assert_eq!(bless::blessing(Some("0"), Some("true")), Ok(false));
    assert!(bless::blessing(Some("1"), Some("true")).is_err());
}

#[test]
fn wrong_directives_are_refused() {
    for (given, part) in [
        ("y=1", "no input or parameter `y`"),
        ("x=[1, 2, 3]", "2 elements for each of the batch, not 3"),
        ("w=[1, 2]", "`w` has the shape [2, 20], not [2]"),
        ("x=[1, [2]]", "differ in shape"),
        ("x=[1, 2", "expected `,` or `]`"),
        ("x=one", "`one` is not a number"),
        ("x", "expected NAME=VALUE"),
    ] {
        let text = RIGHT.replace("w=1 x=[3, 4]", given);
        let error = corrected(&text, Kind::Space).expect_err(given);
        assert!(error.starts_with("line 9: ") && error.contains(part), "{error}");
    }
    let lost = RIGHT.replace("// The end.", "\n// => 1");
    assert!(corrected(&lost, Kind::Space).expect_err("no run").contains("right below its run"));
}
