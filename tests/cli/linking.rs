//! Several models in one C program. The C compiler is the one that links Rust programs as well, so it is always there.

use crate::Scratch;
use crate::command::sonar;
use std::process::Command;

/// Two models with the same name and the same shapes that compute different things: the result tells which one was called.
fn model(times: usize) -> String {
    let sum = (1..times).fold("%x".to_string(), |sum, _| format!("add({sum}, %x)"));
    format!("graph @main_graph(%x: f32[1,4]) {{ return {sum} }}")
}

/// Writes the files of a model at a stem and gives what `compile` says.
fn emit(scratch: &Scratch, model: &str, stem: &str, more: &[&str]) {
    let out = scratch.arg(stem);
    let kinds = "object,static-lib,shared-lib,header,manifest";
    sonar(&[&["compile", model, "--emit", kinds, "--out", &out], more].concat()).succeeds();
}

/// A program that calls models by the prefixes of their functions and prints what each gives for ones.
fn program(headers: &[&str], prefixes: &[&str]) -> String {
    let includes: String = headers.iter().map(|header| format!("#include \"{header}\"\n")).collect();
    let calls: String = prefixes
        .iter()
        .map(|prefix| {
            let upper = prefix.to_uppercase();
            format!(
                "    {{
        void *workspace = malloc({prefix}_workspace_size());
        if (!{prefix}_supported() || {upper}_INPUT_0_ELEMENTS != 4 || {prefix}_run(inputs, outputs, workspace) != 0) return 1;
        printf(\"%g\\n\", (double)y[0]);
        free(workspace);
    }}\n"
            )
        })
        .collect();
    format!(
        "{includes}#include <stdio.h>\n#include <stdlib.h>\n
int main(void) {{
    static const float x[4] = {{1, 1, 1, 1}};
    static float y[4];
    const float *const inputs[1] = {{x}};
    float *const outputs[1] = {{y}};
{calls}    return 0;\n}}\n"
    )
}

/// What the C compiler makes of a program and files of models: the compiler's complaints, or what the program prints.
fn build_and_run(scratch: &Scratch, source: &str, files: &[&str]) -> Result<String, String> {
    let (main, program) = (scratch.file("main.c", source), scratch.arg("program"));
    let mut compiler = Command::new("cc");
    compiler.args(["-std=c99", "-Wall", "-Wextra", "-Werror", "-pedantic", "-I", &scratch.arg(""), "-o", &program, &main]);
    compiler.args(files.iter().map(|file| scratch.arg(file))).arg("-lm");
    for file in files {
        let folder = scratch.path(file).parent().expect("a file is in a folder").display().to_string();
        compiler.arg(format!("-Wl,-rpath,{folder}"));
    }
    let built = compiler.output().expect("there is a C compiler");
    if !built.status.success() {
        return Err(String::from_utf8_lossy(&built.stderr).into_owned());
    }
    let ran = Command::new(program).output().expect("it starts");
    assert!(ran.status.success(), "{ran:?}");
    Ok(String::from_utf8_lossy(&ran.stdout).into_owned())
}

#[test]
fn two_models_of_one_name_live_in_one_program() {
    let scratch = Scratch::new();
    let (double, triple) = (scratch.file("a.sonar", model(2)), scratch.file("b.sonar", model(3)));
    emit(&scratch, &double, "first", &[]);
    emit(&scratch, &triple, "second", &[]);
    let source = program(&["first.h", "second.h"], &["first", "second"]);
    for ending in ["o", "a", "so"] {
        let files = [format!("first.{ending}"), format!("second.{ending}")];
        let printed = build_and_run(&scratch, &source, &files.each_ref().map(String::as_str));
        assert_eq!(printed.as_deref(), Ok("2\n3\n"), "{ending}");
    }
}

#[test]
fn two_models_of_one_prefix_are_kept_apart_or_refused() {
    let scratch = Scratch::new();
    let (double, triple) = (scratch.file("a.sonar", model(2)), scratch.file("b.sonar", model(3)));
    emit(&scratch, &double, "one/net", &[]);
    emit(&scratch, &triple, "two/net", &[]);
    // Both headers in one file of a program.
    let both = program(&["one/net.h", "two/net.h"], &["net", "net"]);
    let refused = build_and_run(&scratch, &both, &["one/net.a", "two/net.a"]).expect_err("the headers contradict");
    assert!(refused.contains("two models are called net") && refused.contains("--symbol-prefix"), "{refused}");
    // A header and another model's library.
    let one = program(&["one/net.h"], &["net"]);
    assert_eq!(build_and_run(&scratch, &one, &["one/net.a"]).as_deref(), Ok("2\n"));
    for other in ["two/net.o", "two/net.a", "two/net.so"] {
        let refused = build_and_run(&scratch, &one, &[other]).expect_err("it is another model");
        assert!(refused.contains("net_run"), "{refused}");
    }
    // Objects that are both linked: a name defined twice.
    assert!(build_and_run(&scratch, &one, &["one/net.o", "two/net.o"]).is_err());
    // The other library comes first, and is not called.
    assert_eq!(build_and_run(&scratch, &one, &["two/net.a", "one/net.a"]).as_deref(), Ok("2\n"));
    // A prefix of its own.
    emit(&scratch, &triple, "two/net", &["--symbol-prefix", "other"]);
    let both = program(&["one/net.h", "two/net.h"], &["net", "other"]);
    assert_eq!(build_and_run(&scratch, &both, &["one/net.a", "two/net.a"]).as_deref(), Ok("2\n3\n"));
}

#[test]
fn names_that_c_does_not_know_become_names() {
    let scratch = Scratch::new();
    let model = scratch.file("a.sonar", model(2));
    for (stem, prefix) in
        [("2net", "model_2net"), ("my-net.v1", "my_net_v1"), ("while", "while"), ("größe", "gr__e"), ("_x", "model__x")]
    {
        emit(&scratch, &model, stem, &[]);
        let manifest = std::fs::read_to_string(scratch.path(&format!("{stem}.json"))).expect("a manifest");
        let manifest: serde_json::Value = serde_json::from_str(&manifest).expect("JSON");
        assert_eq!(manifest["functions"]["run"], format!("{prefix}_run"), "{stem}");
        let source = program(&[&format!("{stem}.h")], &[prefix]);
        assert_eq!(build_and_run(&scratch, &source, &[&format!("{stem}.o")]).as_deref(), Ok("2\n"), "{stem}");
    }
    sonar(&["compile", &model, "--emit", "object", "--out", &scratch.arg("m"), "--symbol-prefix", "2x"])
        .fails(2, &["--symbol-prefix 2x", "model_2x"]);
    sonar(&["compile", &model, "--emit", "object", "--out", &format!("{}/", scratch.arg(""))])
        .fails(2, &["a folder", "DIR/STEM"]);
}

#[test]
fn files_are_called_as_their_users_say() {
    let scratch = Scratch::new();
    let model = scratch.file("my net.sonar", model(2));
    let document = sonar(&["compile", &model, "--emit", "object", "--out", &scratch.arg("net.o"), "--format", "json"]).json();
    assert_eq!(document["files"], serde_json::json!([scratch.arg("net.o")]));
    // Without --out, files are called like the model's, in the folder where the program runs.
    let output = crate::command::command(&["compile", &model, "--emit", "object,header"])
        .current_dir(scratch.path(""))
        .output()
        .expect("the program starts");
    crate::command::ran(&[], output).succeeds();
    let header = std::fs::read_to_string(scratch.path("my net.h")).expect("a header");
    assert!(header.contains("my_net_run") && scratch.path("my net.o").exists(), "{header}");
}

#[test]
fn nothing_but_three_functions_is_visible() {
    let scratch = Scratch::new();
    let model =
        scratch.file("a.sonar", "graph @main_graph(%x: f32[1,8]) { param %w: f32[8,8] = he\n return relu(matmul(%x, %w)) }");
    emit(&scratch, &model, "net", &[]);
    let manifest = std::fs::read_to_string(scratch.path("net.json")).expect("a manifest");
    let manifest: serde_json::Value = serde_json::from_str(&manifest).expect("JSON");
    let fingerprint = manifest["fingerprint"].as_str().expect("a fingerprint");
    let mut expected = Vec::new();
    for function in ["run", "supported", "workspace_size"] {
        expected.extend([format!("net_{function}"), format!("net_{function}_{fingerprint}")]);
    }
    expected.sort();
    for (file, flags) in [("net.o", &["-g"][..]), ("net.so", &["-g", "-D"])] {
        let listed = Command::new("nm").args(["--defined-only", "-P"]).args(flags).arg(scratch.path(file)).output();
        let listed = listed.expect("nm comes with the C compiler");
        let text = String::from_utf8_lossy(&listed.stdout).into_owned();
        // Some linkers mark the ends of sections by symbols that begin with `_`.
        let name = |line: &str| line.split_whitespace().next().filter(|name| !name.starts_with('_')).map(String::from);
        let mut names: Vec<String> = text.lines().filter_map(name).collect();
        names.sort();
        assert_eq!(names, expected, "{file}: {text}");
    }
}
