//! Compiles a graph, checks it against the interpreter, tunes its kernels, and compiles it again:
//!
//! ```text
//! cargo run --release -p sonar-tune --example tune -- ir-examples/models/nb201_resnet.sonar [TRIALS [THREADS]]
//! ```

use sonar_codegen::Target;
use sonar_ir::{Graph, Tensor, init, interp, text};
use sonar_measure::{Budget, Records, Summary, SystemClock, WorkerMeasurer, WorkerOptions, worker};
use sonar_tune::{CompileOptions, Compiled, Limits, TaskId, Tuner, TunerOptions, compile, measure_models};
use std::error::Error;
use std::ops::ControlFlow;

const SEED: u64 = 7;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let path = arguments.first().ok_or("which graph?")?;
    if path == "worker" {
        return Ok(worker::serve(std::io::stdin(), std::io::stdout())?);
    }
    let trials: usize = arguments.get(1).map_or(Ok(200), |text| text.parse())?;
    let threads: usize = arguments.get(2).map_or(Ok(1), |text| text.parse())?;

    let graph = text::parse_graph(&std::fs::read_to_string(path)?)?;
    let target = Target::native()?;
    let options = CompileOptions { threads, ..CompileOptions::new(&target) };
    let mut before = ready(&graph, &options)?;
    for pass in &before.passes {
        println!("{:>12} {:8.2} ms", pass.name, pass.seconds * 1e3);
    }
    println!("{:>12} {:8.2} ms", "total", before.seconds() * 1e3);

    let mut tuner = Tuner::new(
        TunerOptions { threads, ..TunerOptions::new(target.clone()) },
        Box::new(WorkerMeasurer::new(WorkerOptions { pin: threads == 1, ..WorkerOptions::current_executable()? })),
        Records::in_memory()?,
        Box::new(SystemClock::default()),
    );
    let weights = weights(&mut tuner, &before)?;
    println!("{} kernels of {} tasks", weights.iter().map(|w| w.1).sum::<f64>(), weights.len());
    let reason =
        tuner.tune(&weights, Limits { trials: Some(trials), ..Limits::default() }, &mut |_| ControlFlow::Continue(()))?;
    println!("tuning ended: {reason:?}");
    for &(id, count) in &weights {
        let (schedule, time) = tuner.best(id).ok_or("a task has no time")?;
        let first = tuner.curve(id).iter().find_map(|progress| progress.best).unwrap_or(time);
        let gflops = tuner.task(id).flops as f64 / time;
        let (name, schedule) = (&tuner.task(id).program.name, schedule.to_string().replace('\n', "; "));
        println!(
            "{:>9.2} -> {:>9.2} µs × {count} {gflops:6.1} GFLOP/s {:>3} trials {name}: {schedule}",
            first / 1e3,
            time / 1e3,
            tuner.trials(id)
        );
    }

    let schedules = |task: &_| tuner.schedule(task);
    let mut after = ready(&graph, &CompileOptions { schedules: &schedules, ..options })?;
    let samples = measure_models(&mut [&mut before, &mut after], Budget { samples: 200, seconds: 2.0 }, SEED)?;
    for (name, samples) in ["before", "after"].iter().zip(&samples) {
        let summary = Summary::of(samples).ok_or("no samples")?;
        let (low, high) = summary.interval;
        println!(
            "{name}: {:.1} µs ({:.1} to {:.1}; least {:.1})",
            summary.median / 1e3,
            low / 1e3,
            high / 1e3,
            summary.min / 1e3
        );
    }
    println!("sum of kernels: {:.1} µs", tuner.latency(&weights).unwrap_or(f64::NAN) / 1e3);
    Ok(())
}

/// A compiled model with random parameters, checked.
fn ready(graph: &Graph, options: &CompileOptions<'_>) -> Result<Compiled, Box<dyn Error>> {
    let mut model = compile(graph, options)?;
    let bound = &model.lowered.graph;
    let params = init::randomise(bound, SEED);
    let mut values = init::inputs(bound, SEED);
    let names = bound.inputs().into_iter().filter_map(|id| bound.node(id).name.clone());
    let inputs: Vec<Vec<f32>> = names.filter_map(|name| Some(values.get(&name)?.data.clone())).collect();
    values.extend(params.clone());
    let expected = interp::run(bound, &values)?;

    model.load(&params)?;
    let mut outputs: Vec<Vec<f32>> = expected.iter().map(|tensor| vec![0.0; tensor.data.len()]).collect();
    let inputs: Vec<&[f32]> = inputs.iter().map(Vec::as_slice).collect();
    model.run(&inputs, &mut outputs.iter_mut().map(Vec::as_mut_slice).collect::<Vec<_>>())?;
    for (output, expected) in outputs.into_iter().zip(&expected) {
        let error = Tensor::new(expected.shape.clone(), output).relative_error(expected);
        println!("relative error to the interpreter: {error:.1e}");
    }
    Ok(model)
}

/// The tasks of a model, and how often it runs each.
fn weights(tuner: &mut Tuner, model: &Compiled) -> Result<Vec<(TaskId, f64)>, Box<dyn Error>> {
    let tasks = &model.lowered.tasks;
    let count = |task: usize| tasks.kernels.iter().filter(|kernel| kernel.task == task).count() as f64;
    tasks.tasks.iter().enumerate().map(|(index, task)| Ok((tuner.add(task)?, count(index)))).collect()
}
