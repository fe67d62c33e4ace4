//! Models handed over to C: compiled to files, linked by a C compiler, run, and compared with the interpreter. Code for other
//! architectures runs in an emulator.
//!
//! The tools that a test needs must be there if `CI` is set; elsewhere a test without its tools says so and does nothing.

mod support;

use serde_json::Value;
use sonar_ir::graph::{init, interp};
use sonar_ir::space::Space;
use sonar_ir::{Graph, Tensor};
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use support::command::sonar;
use tempfile::TempDir;

/// What the functions of every model here begin with.
const NAME: &str = "m";

/// A model, small enough for an emulator, and the arguments that name it.
struct Example {
    args: Vec<String>,
    graph: Graph,
}

fn example(path: &str, settings: &[(&str, &str)]) -> Example {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../ir-examples").join(path);
    let text = std::fs::read_to_string(&path).expect("examples are text");
    let space = Space::parse_with(&text, settings).expect("examples parse");
    let candidate = space.baseline().cloned().or_else(|| space.nth(0)).expect("there is a candidate");
    let mut args = vec![path.display().to_string()];
    if !space.decisions().is_empty() {
        args.push("--arch=baseline".to_string());
    }
    args.extend(settings.iter().map(|(name, value)| format!("--set={name}={value}")));
    Example { args, graph: space.instantiate(&candidate).expect("examples are valid").specialise(1) }
}

fn mlp() -> Example {
    example("models/mlp.sonar", &[])
}

fn small_resnet() -> Example {
    example("spaces/nas-bench-201.sonar", &[("channels", "8"), ("cells", "1")])
}

/// Whether programs can be started. If not, the test cannot be done here; where tests must be done, that is a failure.
fn has(tools: &[&str]) -> bool {
    let missing: Vec<&&str> = tools.iter().filter(|tool| Command::new(tool).arg("--version").output().is_err()).collect();
    if missing.is_empty() {
        return true;
    }
    assert!(std::env::var_os("CI").is_none(), "{missing:?} are missing: .ci/run installs them");
    eprintln!("\n*** NOT TESTED: {missing:?} are missing; .ci/run installs them ***\n");
    false
}

/// Runs a program to its end, which must be a good one.
#[track_caller]
fn succeeds(command: &mut Command) {
    let output = command.output().unwrap_or_else(|e| panic!("{command:?} does not start: {e}"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?} ends with {}: {said}", output.status);
}

/// A model as files in a folder of its own.
struct Files {
    folder: TempDir,
    manifest: Value,
}

impl Files {
    fn emit(example: &Example, target: &[&str], kinds: &str) -> Files {
        let folder = TempDir::new().expect("a folder");
        let stem = folder.path().join("files/model").display().to_string();
        let mut args: Vec<&str> = vec!["compile"];
        args.extend(example.args.iter().map(String::as_str));
        args.extend(target);
        args.extend(["--emit", kinds, "--emit", "header,manifest", "--out", &stem, "--name", NAME, "--format", "json"]);
        let document = sonar(&args).json();
        for file in document["files"].as_array().expect("a list of files") {
            assert!(Path::new(file.as_str().expect("a path")).exists(), "{file} was not written");
        }
        let manifest = std::fs::read_to_string(format!("{stem}.json")).expect("a manifest");
        Files { folder, manifest: serde_json::from_str(&manifest).expect("the manifest is JSON") }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join("files").join(name)
    }

    /// Compiles the C program that runs the model with one of its files.
    fn build(&self, compiler: &[&str], file: &str) -> PathBuf {
        let count = |what: &str| self.manifest[what].as_array().map_or(0, Vec::len);
        std::fs::write(self.path("main.c"), program(count("inputs"), count("outputs"))).expect("it is written");
        let program = self.path("program");
        let mut command = Command::new(compiler[0]);
        command.args(&compiler[1..]).args(["-std=c99", "-O1", "-Wall", "-Wextra", "-Werror", "-pedantic", "-pthread", "-o"]);
        command.arg(&program).arg(self.path("main.c")).arg(self.path(file));
        command.arg(format!("-Wl,-rpath,{}", self.path("").display()));
        if self.manifest["needs_libm"] == true {
            command.arg("-lm");
        }
        succeeds(&mut command);
        program
    }

    /// Runs the program and compares what it writes with the interpreter.
    #[track_caller]
    fn check(&self, example: &Example, emulator: &[&str], program: &Path) {
        let graph = &example.graph;
        let mut values = init::randomise(graph, 0);
        values.extend(init::inputs(graph, 0));
        let names = graph.inputs().into_iter().filter_map(|id| graph.node(id).name.clone());
        let input: Vec<u8> = names.flat_map(|name| values[&name].data.clone()).flat_map(f32::to_le_bytes).collect();
        std::fs::write(self.path("input"), input).expect("it is written");
        let mut command: Vec<String> = emulator.iter().map(ToString::to_string).collect();
        command.push(program.display().to_string());
        succeeds(Command::new(&command[0]).args(&command[1..]).args([self.path("input"), self.path("output")]));

        let output = std::fs::read(self.path("output")).expect("the program writes");
        let mut output = output.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]));
        for expected in interp::run(graph, &values).expect("the graph is valid") {
            let found = Tensor::new(expected.shape.clone(), output.by_ref().take(expected.data.len()).collect());
            let error = found.relative_error(&expected);
            assert!(error <= 1e-4, "{}: off by {error:e}", graph.name);
        }
        assert_eq!(output.next(), None, "there is more output than expected");
    }
}

/// A C program that reads inputs from one file and writes outputs to another. It calls the model on two threads at the same
/// time, which must agree.
fn program(inputs: usize, outputs: usize) -> String {
    let mut tensors = String::new();
    let mut arrays = [String::new(), String::new()];
    let (mut reads, mut writes) = (String::new(), String::new());
    for i in 0..inputs {
        let _ = writeln!(tensors, "static float x{i}[M_INPUT_{i}_ELEMENTS];");
        let _ = write!(arrays[0], "x{i}, ");
        let _ =
            writeln!(reads, "    if (fread(x{i}, sizeof(float), M_INPUT_{i}_ELEMENTS, in) != M_INPUT_{i}_ELEMENTS) return 11;");
    }
    for i in 0..outputs {
        let _ = writeln!(tensors, "static float y{i}[M_OUTPUT_{i}_ELEMENTS], z{i}[M_OUTPUT_{i}_ELEMENTS];");
        let _ = write!(arrays[1], "y{i}, ");
        let _ = writeln!(writes, "    if (memcmp(y{i}, z{i}, sizeof y{i}) != 0) return 12;");
        let _ = writeln!(
            writes,
            "    if (fwrite(y{i}, sizeof(float), M_OUTPUT_{i}_ELEMENTS, out) != M_OUTPUT_{i}_ELEMENTS) return 13;"
        );
    }
    let second = arrays[1].replace('y', "z");
    let [first_inputs, first_outputs] = arrays;
    format!(
        r#"#include "model.h"
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

{tensors}
static const float *const inputs[M_INPUTS] = {{ {first_inputs} }};
static float *const outputs[M_OUTPUTS] = {{ {first_outputs} }};
static float *const again[M_OUTPUTS] = {{ {second} }};

static void *run(void *results) {{
    /* One byte more, so that the workspace is as little aligned as can be. */
    char *memory = malloc(m_workspace_size() + 1);
    int result = memory == NULL || m_run(inputs, results, memory + 1) != 0;
    result |= m_run(inputs, results, memory + 1);
    free(memory);
    return result == 0 ? NULL : results;
}}

int main(int count, char **names) {{
    const size_t shape[M_INPUT_0_RANK] = M_INPUT_0_SHAPE;
    FILE *in = count == 3 ? fopen(names[1], "rb") : NULL;
    FILE *out = count == 3 ? fopen(names[2], "wb") : NULL;
    pthread_t thread;
    void *failure;
    if (in == NULL || out == NULL) return 10;
{reads}
    if (shape[0] == 0 || m_workspace_size() != M_WORKSPACE_BYTES) return 14;
    if (m_run(inputs, outputs, NULL) != 1 || m_run(NULL, outputs, names) != 1) return 15;
    if (!m_supported()) return 16;
    if (pthread_create(&thread, NULL, run, (void *)again) != 0) return 17;
    if (run((void *)outputs) != NULL) return 18;
    if (pthread_join(thread, &failure) != 0 || failure != NULL) return 19;
{writes}
    return fclose(out) == 0 ? 0 : 20;
}}
"#
    )
}

#[test]
fn c_programs_run_models() {
    if !has(&["cc"]) {
        return;
    }
    let resnet = example("models/nb201_resnet.sonar", &[]);
    for example in [mlp(), resnet, example("kernels/attention.sonar", &[]), example("kernels/elementwise.sonar", &[])] {
        let files = Files::emit(&example, &[], "object,static-lib,shared-lib");
        for file in ["model.o", "model.a", "model.so"] {
            let program = files.build(&["cc"], file);
            files.check(&example, &[], &program);
        }
    }
}

#[test]
fn every_level_of_the_architecture_can_be_handed_over() {
    if !has(&["cc"]) {
        return;
    }
    for cpu in ["x86-64-v2", "x86-64-v3", "x86-64-v4"] {
        let example = small_resnet();
        let files = Files::emit(&example, &["--target", "x86_64-unknown-linux-gnu", "--cpu", cpu], "static-lib");
        let program = files.build(&["cc"], "model.a");
        if support::targets().iter().any(|target| target.cpu() == cpu) {
            files.check(&example, &[], &program);
        }
    }
}

/// Code for another architecture, linked statically and with a shared library.
fn check_cross(target: &[&str], architecture: &str, emulator_flags: &[&str]) {
    let (compiler, emulator) = (format!("{architecture}-linux-gnu-gcc"), format!("qemu-{architecture}"));
    if !has(&[&compiler, &emulator]) {
        return;
    }
    let root = format!("/usr/{architecture}-linux-gnu");
    let emulator = [&[emulator.as_str(), "-L", &root], emulator_flags].concat();
    for example in [mlp(), small_resnet(), example("kernels/attention.sonar", &[])] {
        let files = Files::emit(&example, target, "static-lib,shared-lib");
        let program = files.build(&[&compiler, "-static"], "model.a");
        files.check(&example, &emulator, &program);
        let program = files.build(&[&compiler], "model.so");
        files.check(&example, &emulator, &program);
    }
}

#[test]
fn aarch64_code_runs() {
    check_cross(&["--target", "aarch64-unknown-linux-gnu"], "aarch64", &[]);
}

#[test]
fn riscv64_code_runs() {
    check_cross(&["--target", "riscv64gc-unknown-linux-gnu"], "riscv64", &[]);
}

#[test]
fn riscv64_code_with_vectors_runs() {
    let target = ["--target", "riscv64gc-unknown-linux-gnu", "--cpu", "rv64gcv"];
    check_cross(&target, "riscv64", &["-cpu", "rv64,v=true,vext_spec=v1.0"]);
}

#[test]
fn the_header_is_one_for_cpp_too() {
    if !has(&["c++"]) {
        return;
    }
    let files = Files::emit(&mlp(), &[], "object");
    let source = "#include \"model.h\"\n#include \"model.h\"\nint main() { return m_supported() ? M_INPUTS - 1 : 2; }\n";
    std::fs::write(files.path("main.cpp"), source).expect("it is written");
    let program = files.path("program");
    let mut compiler = Command::new("c++");
    compiler.args(["-Wall", "-Wextra", "-Werror", "-pedantic", "-o"]).arg(&program);
    succeeds(compiler.arg(files.path("main.cpp")).arg(files.path("model.o")));
    succeeds(&mut Command::new(program));
}

#[test]
fn the_manifest_describes_the_files() {
    let target = ["--target", "x86_64-unknown-linux-gnu", "--cpu", "x86-64-v3"];
    let Files { manifest, .. } = Files::emit(&mlp(), &target, "object");
    assert_eq!(manifest["schema"], 1);
    assert_eq!(manifest["model"], "mlp");
    assert_eq!(manifest["cpu"], "x86-64-v3");
    assert!(manifest["cpu_features"].as_array().is_some_and(|features| features.contains(&"avx2".into())));
    assert_eq!(manifest["threads"], 1);
    assert_eq!(manifest["inputs"], serde_json::json!([{ "name": "image", "shape": [1, 784], "type": "f32" }]));
    assert_eq!(manifest["outputs"][0]["shape"], serde_json::json!([1, 10]));
    // 784·512 + 512·256 + 256·10 weights and 512 + 256 + 10 biases, in lines of 16.
    let weights = 4 * (784 * 512 + 512 * 256 + 256 * 10 + 512 + 256 + 16);
    assert_eq!(manifest["weights_bytes"], weights);
    assert!(manifest["workspace_bytes"].as_u64().is_some_and(|bytes| bytes < 8 * 1024));
    let flops = manifest["kernels"].as_array().expect("kernels").iter().map(|k| k["flops"].as_u64().zip(k["calls"].as_u64()));
    let flops: u64 = flops.map(|pair| pair.map_or(0, |(flops, calls)| flops * calls)).sum();
    assert_eq!(manifest["flops"], flops);
    assert!(flops >= 2 * 535_000, "{flops}");
}

#[test]
fn weights_come_from_a_file() {
    if !has(&["cc"]) {
        return;
    }
    let (example, zeros) = (mlp(), TempDir::new().expect("a folder"));
    let weights = zeros.path().join("weights.f32");
    std::fs::write(&weights, vec![0; 4 * (784 * 512 + 512 + 512 * 256 + 256 + 256 * 10 + 10)]).expect("it is written");
    let files = Files::emit(&example, &["--weights", &weights.display().to_string()], "static-lib");
    let program = files.build(&["cc"], "model.a");
    std::fs::write(files.path("input"), [0; 4 * 784]).expect("it is written");
    succeeds(Command::new(program).args([files.path("input"), files.path("output")]));
    assert_eq!(std::fs::read(files.path("output")).expect("an output"), [0; 4 * 10]);
}

#[test]
fn what_cannot_be_handed_over_is_refused() {
    let path = mlp().args.remove(0);
    let folder = TempDir::new().expect("a folder");
    let out = folder.path().join("model").display().to_string();
    let refuse = |args: &[&str], code, parts: &[&str]| {
        sonar(&[&["compile", path.as_str(), "--out", &out], args].concat()).fails(code, parts);
    };
    refuse(&["--emit", "object", "--threads", "2"], 2, &["--threads"]);
    refuse(&["--emit", "tarball"], 2, &["tarball"]);
    refuse(&["--emit", "object", "--cpu", "x86-64-v9"], 3, &["x86-64-v9", "x86-64-v3"]);
    refuse(&["--emit", "object", "--target", "aarch64-unknown-linux-gnu", "--cpu", "x86-64-v3"], 3, &["generic"]);
    refuse(&["--emit", "object", "--target", "sparc-sun-solaris"], 3, &["sparc-sun-solaris"]);
    refuse(&["--target", "aarch64-unknown-linux-gnu"], 3, &["--emit"]);
    sonar(&["compile", &path, "--emit", "object", "--out", ".."]).fails(2, &["--out ..", "a folder"]);
    let without = support::command::command(&["compile", &path, "--emit", "shared-lib", "--out", &out])
        .env("CC", "no-such-compiler")
        .output()
        .expect("it starts");
    support::command::ran(&[], without).fails(3, &["no-such-compiler", "static-lib"]);
    assert_eq!(std::fs::read_dir(folder.path()).expect("a folder").count(), 0, "nothing is left behind");
}
