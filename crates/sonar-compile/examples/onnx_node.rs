//! Runs one test of the kind that comes with the `onnx` package: a folder with `model.onnx` and, in `test_data_set_*`, files
//! of inputs and of the outputs expected. Prints what came of it as one line of JSON.
//!
//! Inputs of integers and truth values are made constants of the model, since Sonar fixes shapes and indices at import. If
//! the model is refused all the same, so are all inputs but the first, and at last all of them; the line tells which.

use anyhow::{Context, Result, bail};
use serde_json::json;
use sonar_codegen::Target;
use sonar_ir::graph::interp;
use sonar_ir::{Tensor, Values};
use sonar_onnx::proto::{DataType, ModelProto, TensorProto, ValueInfoProto};
use sonar_onnx::{ImportError, ImportOptions, Imported, Problem, import_model, read_model, read_tensor, values};
use sonar_tune::CompileOptions;
use std::path::{Path, PathBuf};

/// Bounds of `|found - expected| ≤ ABSOLUTE + RELATIVE · |expected|`, those of ONNX's own runner.
const RELATIVE: f64 = 1e-3;
const ABSOLUTE: f64 = 1e-7;

/// The relative bound for outputs of type `bfloat16`, one unit in their last place: Sonar computes with 32 bits throughout.
const RELATIVE_BFLOAT16: f64 = 1.0 / 128.0;

/// How many inputs became constants.
#[derive(Clone, Copy, PartialEq, PartialOrd)]
enum Bound {
    Integers,
    AllButFirst,
    All,
}

/// What came of one test.
struct Outcome {
    /// `passed`, `refused` or `wrong`.
    interpreter: &'static str,
    compiled: &'static str,
    bound: Bound,
    /// Why not.
    reason: Option<String>,
}

fn main() -> Result<()> {
    let folder = PathBuf::from(std::env::args().nth(1).context("expected the folder of a test")?);
    let model = read_model(&folder.join("model.onnx"))?;
    let graph = model.graph.clone().context("the model has no graph")?;
    let mut sets: Vec<PathBuf> = std::fs::read_dir(&folder)?.map(|e| Ok(e?.path())).collect::<Result<_>>()?;
    sets.retain(|p| p.file_name().is_some_and(|n| n.to_string_lossy().starts_with("test_data_set_")));
    sets.sort();
    if sets.is_empty() {
        bail!("{} has no test data", folder.display());
    }
    let mut worst: Option<Outcome> = None;
    for set in &sets {
        let outcome = run(&model, set);
        let rank = |o: &Outcome| ["passed", "refused", "wrong"].iter().position(|w| *w == o.compiled);
        if worst.as_ref().is_none_or(|w| rank(w) < rank(&outcome)) {
            worst = Some(outcome);
        }
    }
    let outcome = worst.context("no test data")?;
    let float = |ty: Option<i32>| {
        let ty = ty.and_then(|ty| DataType::try_from(ty).ok());
        matches!(ty, Some(DataType::Float | DataType::Double | DataType::Float16 | DataType::Bfloat16))
    };
    println!(
        "{}",
        json!({
            "op": graph.node.iter().map(|n| n.op_type.as_str()).collect::<Vec<_>>(),
            "float": graph.output.iter().all(|o| float(element(o))),
            "interpreter": outcome.interpreter,
            "compiled": outcome.compiled,
            "bound": match outcome.bound { Bound::Integers => 0, Bound::AllButFirst => 1, Bound::All => 2 },
            "reason": outcome.reason,
        })
    );
    Ok(())
}

fn run(model: &ModelProto, set: &Path) -> Outcome {
    let refused = |bound, reason: String| Outcome { interpreter: "refused", compiled: "refused", bound, reason: Some(reason) };
    let (given, returned) = model.graph.as_ref().map(|g| (&g.input[..], &g.output[..])).unwrap_or_default();
    let inputs = match tensors(set, "input", given) {
        Ok(inputs) => inputs,
        Err(error) => return refused(Bound::Integers, format!("{error:#}")),
    };
    let expected: Vec<Tensor> =
        match tensors(set, "output", returned).and_then(|all| all.iter().map(|t| Ok(values(t)?)).collect()) {
            Ok(expected) => expected,
            Err(error) => return refused(Bound::Integers, format!("{error:#}")),
        };
    let mut reason = String::new();
    for bound in [Bound::Integers, Bound::AllButFirst, Bound::All] {
        match import_model(&with_constants(model, &inputs, bound), set, &ImportOptions::default()) {
            Ok(imported) => {
                let short = |info: &ValueInfoProto| element(info) == Some(DataType::Bfloat16 as i32);
                let relative = if returned.iter().any(short) { RELATIVE_BFLOAT16 } else { RELATIVE };
                return compare(&imported, &inputs, &expected, bound, relative);
            }
            Err(ImportError::Problems(problems)) if reason.is_empty() => {
                reason = problems.causes.iter().map(|p: &Problem| p.reason.to_string()).collect::<Vec<_>>().join("; ");
            }
            Err(error) if reason.is_empty() => reason = error.to_string(),
            Err(_) => {}
        }
    }
    refused(Bound::Integers, reason)
}

/// The tensors in files such as `input_0.pb`, in order. The tests hold 16-bit numbers that their writer has no type for as
/// integers: it is the model that tells.
fn tensors(set: &Path, what: &str, infos: &[ValueInfoProto]) -> Result<Vec<TensorProto>> {
    let paths = (0..).map(|i| set.join(format!("{what}_{i}.pb"))).take_while(|p| p.exists());
    let mut tensors: Vec<TensorProto> =
        paths.map(|p| read_tensor(&p).with_context(|| format!("{}", p.display()))).collect::<Result<_>>()?;
    for (tensor, info) in tensors.iter_mut().zip(infos) {
        if element(info) == Some(DataType::Bfloat16 as i32) && tensor.data_type == DataType::Uint16 as i32 {
            tensor.data_type = DataType::Bfloat16 as i32;
        }
    }
    Ok(tensors)
}

/// The element type that a model declares.
fn element(info: &ValueInfoProto) -> Option<i32> {
    info.r#type.as_ref()?.tensor_type.as_ref().map(|t| t.elem_type)
}

/// The model with some of its inputs as constants.
fn with_constants(model: &ModelProto, inputs: &[TensorProto], bound: Bound) -> ModelProto {
    let mut model = model.clone();
    if let Some(graph) = &mut model.graph {
        let named: Vec<(String, &TensorProto)> = graph.input.iter().map(|i| i.name.clone()).zip(inputs).collect();
        for (index, (name, tensor)) in named.into_iter().enumerate() {
            let ty = DataType::try_from(tensor.data_type).unwrap_or(DataType::Undefined);
            let float = matches!(ty, DataType::Float | DataType::Double | DataType::Float16 | DataType::Bfloat16);
            let constant = !float || bound == Bound::All || (bound == Bound::AllButFirst && index > 0);
            if constant {
                graph.input.retain(|i| i.name != name);
                graph.initializer.push(TensorProto { name, ..tensor.clone() });
            }
        }
    }
    model
}

fn compare(imported: &Imported, inputs: &[TensorProto], expected: &[Tensor], bound: Bound, relative: f64) -> Outcome {
    let attempt = |result: Result<Vec<Tensor>>| match result {
        Err(error) => ("refused", Some(format!("{error:#}"))),
        Ok(found) => match difference(&found, expected, relative) {
            None => ("passed", None),
            Some(difference) => ("wrong", Some(difference)),
        },
    };
    let given = match given(imported, inputs) {
        Ok(given) => given,
        Err(error) => return Outcome { interpreter: "refused", compiled: "refused", bound, reason: Some(format!("{error:#}")) },
    };
    let (interpreter, first) = attempt(interpreted(imported, &given));
    let (compiled, second) = attempt(compiled(imported, &given));
    Outcome { interpreter, compiled, bound, reason: first.or(second) }
}

/// The inputs that are left, by the names of the graph.
fn given(imported: &Imported, inputs: &[TensorProto]) -> Result<Values> {
    let graph = &imported.graph;
    let mut given = Values::new();
    for (id, name) in graph.inputs().into_iter().zip(&imported.inputs) {
        let tensor = inputs.iter().find(|t| t.name == *name).with_context(|| format!("no data for {name}"))?;
        given.insert(graph.node(id).name.clone().unwrap_or_default(), values(tensor)?);
    }
    Ok(given)
}

fn interpreted(imported: &Imported, given: &Values) -> Result<Vec<Tensor>> {
    let mut all = imported.weights.clone();
    all.extend(given.clone());
    Ok(interp::run(&imported.graph, &all)?)
}

fn compiled(imported: &Imported, given: &Values) -> Result<Vec<Tensor>> {
    let target = Target::native()?;
    let graph = &imported.graph;
    let model = sonar_tune::compile(graph, &CompileOptions::new(&target))?.load(&imported.weights)?;
    let names = graph.inputs().into_iter().map(|id| graph.node(id).name.clone().unwrap_or_default());
    let inputs: Vec<&[f32]> = names.map(|name| given[&name].data.as_slice()).collect();
    let shapes = graph.outputs.iter().map(|&id| graph.ty(id).extents().context("the batch is bound"));
    let mut outputs = shapes.map(|shape| Ok(Tensor::full(shape?, f32::NAN))).collect::<Result<Vec<_>>>()?;
    let mut slices: Vec<&mut [f32]> = outputs.iter_mut().map(|t| t.data.as_mut_slice()).collect();
    model.context()?.run(&inputs, &mut slices)?;
    Ok(outputs)
}

/// The first difference beyond the bounds.
fn difference(found: &[Tensor], expected: &[Tensor], relative: f64) -> Option<String> {
    if found.len() != expected.len() {
        return Some(format!("{} outputs, {} expected", found.len(), expected.len()));
    }
    for (output, (found, expected)) in found.iter().zip(expected).enumerate() {
        if found.shape != expected.shape {
            return Some(format!("output {output} has shape {:?}, {:?} expected", found.shape, expected.shape));
        }
        for (i, (&f, &e)) in found.data.iter().zip(&expected.data).enumerate() {
            let (found, expected) = (f64::from(f), f64::from(e));
            let equal = found == expected || (found.is_nan() && expected.is_nan());
            let near = (found - expected).abs() <= ABSOLUTE + relative * expected.abs();
            if !equal && !near {
                return Some(format!("element {i} of output {output} is {found}, {expected} expected"));
            }
        }
    }
    None
}
