//! `compile`: what came of a model, and how long each pass took.

use crate::args::{CompileArgs, Format};
use crate::compiled::prepare;
use crate::exit::{Exit, Failure, OrExit};
use crate::output::{out, outln};
use crate::table::{Align, render};
use serde_json::json;
use sonar_ir::loops::BufferKind;
use sonar_ir::plan::{Plan, Slot, SlotKind};

/// Runs the subcommand.
pub fn compile(args: &CompileArgs) -> Result<(), Failure> {
    let mut prepared = prepare(&args.model, &args.target)?;
    // Packing weights runs code of the target.
    if prepared.target.runs_here() {
        prepared.load(0, None, None)?;
    }
    let c = &prepared.compiled;
    let memory = Memory::of(&c.plan);
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
                prepared.passes.iter().map(|p| (p.name.to_string(), json!(p.seconds))).collect();
            let document = json!({
                "schema": 1, "model": prepared.described.graph.name, "target": prepared.target.key(), "threads": args.target.threads, "batch": args.target.batch,
                "nodes": c.lowered.graph.nodes.len(), "kernel_calls": c.plan.calls.len(), "distinct_kernels": c.plan.kernels.len(),
                "flops": flops, "parameters": parameters, "arena_bytes": memory.arena, "weight_bytes": memory.weights, "packed_bytes": memory.packed,
                "seconds": prepared.seconds(), "pass_seconds": passes, "rewriting": c.lowered.report,
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
            let kib = |bytes: usize| bytes as f64 / 1024.0;
            outln!(
                "  arena {:.1} KiB, weights {:.1} KiB, packed for kernels {:.1} KiB",
                kib(memory.arena),
                kib(memory.weights),
                kib(memory.packed)
            );
            if let Some(report) = &c.lowered.report {
                outln!("  rewriting: {report}");
            }
            let row = |name: &str, seconds: f64| vec![name.to_string(), format!("{:.2}", 1e3 * seconds)];
            let passes = prepared.passes.iter().map(|p| row(p.name, p.seconds));
            let rows: Vec<Vec<String>> = passes.chain([row("ready", prepared.seconds())]).collect();
            out!("\n{}", render(&[("pass", Align::Left), ("ms", Align::Right)], &rows));
        }
    }
    Ok(())
}

/// What a model occupies, in bytes.
struct Memory {
    /// What kernels hand each other.
    arena: usize,
    /// Parameters and constants.
    weights: usize,
    /// Parameters once more, in the order in which kernels read them.
    packed: usize,
}

impl Memory {
    fn of(plan: &Plan) -> Memory {
        let constant = |slot: &&Slot| matches!(slot.kind, SlotKind::Param(_) | SlotKind::Const(_));
        let weights: usize = plan.slots.iter().filter(constant).map(Slot::len).sum();
        let buffers = plan.calls.iter().flat_map(|call| &plan.kernels[call.kernel].buffers);
        let packed: usize = buffers.filter(|b| b.kind == BufferKind::Packed).map(|b| b.len).sum();
        Memory { arena: plan.arena * 4, weights: weights * 4, packed: packed * 4 }
    }
}
