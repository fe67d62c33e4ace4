//! `compile`: what came of a model, and how long each pass took.

use crate::args::{CompileArgs, Format};
use crate::compiled::prepare;
use crate::exit::{Exit, Failure, OrExit};
use crate::output::{out, outln};
use crate::table::{Align, render};
use serde_json::json;

/// Runs the subcommand.
pub fn compile(args: &CompileArgs) -> Result<(), Failure> {
    let prepared = prepare(&args.model, &args.target)?;
    let c = &prepared.compiled;
    let flops: u64 = c.lowered.tasks.kernels.iter().map(|k| c.lowered.tasks.tasks[k.task].flops).sum();
    let parameters: usize = prepared
        .described
        .graph
        .params()
        .iter()
        .filter_map(|&p| prepared.described.graph.ty(p).extents())
        .map(|s| s.iter().product::<usize>())
        .sum();
    match args.format {
        Format::Json => {
            let passes: serde_json::Map<String, serde_json::Value> =
                c.passes.iter().map(|p| (p.name.to_string(), json!(p.seconds))).collect();
            let document = json!({
                "schema": 1, "model": prepared.described.graph.name, "target": prepared.target.key(), "threads": args.target.threads, "batch": args.target.batch,
                "nodes": c.lowered.graph.nodes.len(), "kernel_calls": c.plan.calls.len(), "distinct_kernels": c.plan.kernels.len(),
                "flops": flops, "parameters": parameters, "arena_bytes": c.plan.arena * 4,
                "seconds": c.seconds(), "pass_seconds": passes, "rewriting": c.lowered.report,
            });
            outln!("{}", serde_json::to_string_pretty(&document).or_exit(Exit::Internal)?);
        }
        Format::Text => {
            outln!(
                "{} for {}, batch {}, {} thread(s)",
                prepared.described.graph.name,
                prepared.target.key(),
                args.target.batch,
                args.target.threads
            );
            outln!("  {} parameters, {:.2} MFLOP", parameters, flops as f64 / 1e6);
            outln!(
                "  {} graph nodes → {} kernel calls of {} kernels",
                c.lowered.graph.nodes.len(),
                c.plan.calls.len(),
                c.plan.kernels.len()
            );
            outln!("  arena {:.1} KiB", c.plan.arena as f64 * 4.0 / 1024.0);
            if let Some(report) = &c.lowered.report {
                outln!("  rewriting: {report}");
            }
            let rows: Vec<Vec<String>> = c
                .passes
                .iter()
                .map(|p| vec![p.name.to_string(), format!("{:.2}", 1e3 * p.seconds)])
                .chain([vec!["total".to_string(), format!("{:.2}", 1e3 * c.seconds())]])
                .collect();
            out!("\n{}", render(&[("pass", Align::Left), ("ms", Align::Right)], &rows));
        }
    }
    Ok(())
}
