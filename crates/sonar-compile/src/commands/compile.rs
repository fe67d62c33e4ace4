//! `compile`: a summary of the compiled model, with the time of each pass.

use crate::args::{CompileArgs, Format};
use crate::emit::{self, Interface, names};
use crate::exit::{Exit, Failure, OrExit, fail};
use crate::model::compiled::{Draft, draft, passes, prepare, target, tune_failure, weights};
use crate::terminal::output::{out, outln};
use crate::terminal::table::{Align, render};
use serde_json::json;
use sonar_codegen::Target;
use sonar_ir::Graph;
use sonar_tune::{Pass, Planned};
use std::path::PathBuf;
use std::time::Instant;

/// Runs the subcommand.
pub fn compile(args: &CompileArgs) -> Result<(), Failure> {
    if !args.emit.is_empty() {
        return hand_over(args);
    }
    let target = target(&args.target)?;
    if !target.runs_here() {
        let message = format!("code for {target} does not run here: say with --emit what to write");
        return Err(fail(Exit::BadInput, message));
    }
    let mut prepared = prepare(&args.model, &args.target)?;
    let weights = prepared.load(0, &[], None)?.context.model().weight_bytes();
    report(args, &prepared.described.graph, &target, &prepared.compiled, weights, &prepared.passes, &[])
}

/// Writes the files of `--emit`.
fn hand_over(args: &CompileArgs) -> Result<(), Failure> {
    if args.target.threads != 1 {
        return Err(fail(Exit::Usage, "what --emit writes runs on the thread that calls it: leave --threads out"));
    }
    let stem = names::stem(args)?;
    let prefix = names::prefix(args, &stem)?;
    let Draft { mut described, target, planned } = draft(&args.model, &args.target)?;
    let values = weights(&planned.lowered.graph, described.weights.take(), args.seed, args.weights.as_deref())?;
    let start = Instant::now();
    let object = planned.object(&values, &target, &prefix).map_err(tune_failure)?;
    let mut passes = passes(&described, &planned);
    passes.push(Pass { name: "object", seconds: start.elapsed().as_secs_f64() });
    let files = emit::write(&Interface::new(prefix, &target, &planned, &object), &args.emit, &stem)?;
    report(args, &described.graph, &target, &planned, object.weight_bytes, &passes, &files)
}

/// Prints a summary of the compiled model.
fn report(
    args: &CompileArgs,
    graph: &Graph,
    target: &Target,
    c: &Planned,
    weight_bytes: usize,
    passes: &[Pass],
    files: &[PathBuf],
) -> Result<(), Failure> {
    let seconds: f64 = passes.iter().map(|pass| pass.seconds).sum();
    let flops: u64 = c.lowered.tasks.kernels.iter().map(|k| c.lowered.tasks.tasks[k.task].flops).sum();
    let parameters: usize =
        graph.params().iter().filter_map(|&p| graph.ty(p).extents()).map(|s| s.iter().product::<usize>()).sum();
    match args.format {
        Format::Json => {
            let pass_seconds: serde_json::Map<String, serde_json::Value> =
                passes.iter().map(|p| (p.name.to_string(), json!(p.seconds))).collect();
            let document = json!({
                "schema": 1, "model": graph.name, "target": target.key(), "threads": args.target.threads, "batch": args.target.batch,
                "nodes": c.lowered.graph.nodes.len(), "kernel_calls": c.plan.calls.len(), "distinct_kernels": c.plan.kernels.len(),
                "flops": flops, "parameters": parameters, "arena_bytes": c.plan.arena * 4, "weight_bytes": weight_bytes,
                "largest_live_bytes": c.plan.largest_live_set() * 4,
                "seconds": seconds, "pass_seconds": pass_seconds, "rewriting": c.lowered.report, "files": files,
            });
            outln!("{}", serde_json::to_string_pretty(&document).or_exit(Exit::Internal)?);
        }
        Format::Text => {
            outln!("{} for {}, batch {}, {} thread(s)", graph.name, target.key(), args.target.batch, args.target.threads);
            outln!("  {} parameters, {:.2} MFLOP", parameters, flops as f64 / 1e6);
            outln!(
                "  {} graph nodes → {} kernel calls of {} kernels",
                c.lowered.graph.nodes.len(),
                c.plan.calls.len(),
                c.plan.kernels.len()
            );
            let kib = |bytes: usize| bytes as f64 / 1024.0;
            outln!("  arena {:.1} KiB, weights as kernels read them {:.1} KiB", kib(c.plan.arena * 4), kib(weight_bytes));
            if let Some(report) = &c.lowered.report {
                outln!("  rewriting: {report}");
            }
            let row = |name: &str, seconds: f64| vec![name.to_string(), format!("{:.2}", 1e3 * seconds)];
            let passes = passes.iter().map(|p| row(p.name, p.seconds));
            let rows: Vec<Vec<String>> = passes.chain([row("ready", seconds)]).collect();
            for file in files {
                outln!("  wrote {}", file.display());
            }
            out!("\n{}", render(&[("pass", Align::Left), ("ms", Align::Right)], &rows));
        }
    }
    Ok(())
}
