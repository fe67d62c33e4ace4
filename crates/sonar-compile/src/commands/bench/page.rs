//! `bench --html`: collects the content of the page about a model's kernels.

use super::{Subject, Timed};
use crate::exit::{Exit, Failure, OrExit};
use crate::report::dag;
use crate::report::page::{Page, PageKernel, Roof, html};
use crate::roofline::Roofline;
use crate::roofline::annotate::{Caches, annotate};
use sonar_codegen::Target;
use sonar_ir::entity::Entity;

/// The page of a model whose kernels were timed.
pub fn page(subject: &Subject, target: &Target, roofline: &Roofline, result: &Timed) -> Result<String, Failure> {
    let compiled = &subject.prepared.compiled;
    let caches = Caches::new(true);
    let all: f64 = result.kernels.iter().map(|kernel| kernel.seconds).sum();
    let tasks = &compiled.lowered.tasks;
    let mut kernels = Vec::with_capacity(result.kernels.len());
    for kernel in &result.kernels {
        let planned = tasks.kernels.iter().zip(&compiled.plan.calls).find(|(k, _)| k.task == kernel.number);
        let Some((_, call)) = planned else { continue };
        let program = &compiled.plan.kernels[call.kernel];
        kernels.push(PageKernel {
            number: kernel.number.index(),
            name: tasks.tasks[kernel.number].program.name.clone(),
            calls: kernel.calls,
            seconds: kernel.seconds,
            share: kernel.seconds / all,
            flops: kernel.flops,
            bytes: kernel.bytes,
            roofline: kernel.floor() / kernel.seconds,
            bound: super::print::bound(kernel),
            schedule: compiled.schedules[kernel.number].to_string(),
            loops: annotate(program, &caches, Some((roofline, kernel.seconds / kernel.calls as f64))),
            assembly: sonar_codegen::asm(program, target).or_exit(Exit::Internal)?,
        });
    }
    Ok(html(&Page {
        model: result.name.clone(),
        facts: facts(target, roofline, result, &caches),
        peak: roofline.peak,
        roofs: roofs(roofline, &caches),
        graph: dag::svg(&compiled.lowered.rewritten),
        kernels,
    }))
}

/// Facts about the model and the machine, as names and values.
fn facts(target: &Target, roofline: &Roofline, result: &Timed, caches: &Caches) -> Vec<(&'static str, String)> {
    let shapes: Vec<String> = result.inputs.iter().map(|shape| format!("{shape:?}")).collect();
    let (low, high) = result.summary.interval;
    let share = 100.0 * result.gflops() / roofline.peak;
    let [median, low, high] = [result.summary.median, low, high].map(|nanoseconds| nanoseconds / 1e3);
    vec![
        ("input", shapes.join(", ")),
        ("target", format!("{}, {} thread(s)", target.key(), roofline.threads)),
        ("caches of a core", caches.describe()),
        ("one inference", format!("{median:.1} µs, 95% interval {low:.1} to {high:.1} µs, {} runs", result.summary.count)),
        (
            "arithmetic",
            format!("{:.1} MFLOP, {:.0} GFLOP/s, {share:.0}% of the peak", result.flops as f64 / 1e6, result.gflops()),
        ),
    ]
}

/// The bandwidth of each cache with all threads, measured with half of its capacity, and the bandwidth of main memory.
fn roofs(roofline: &Roofline, caches: &Caches) -> Vec<Roof> {
    let inside = caches.sizes().iter().enumerate().map(|(i, &size)| (format!("L{}", i + 1), size as u64 / 2));
    // The largest measured size. If the last cache is at least that large, the bandwidth of main memory is unknown.
    let most = roofline.machine.bandwidths.last().map_or(0, |level| level.bytes as u64);
    let behind = (caches.sizes().iter().all(|&size| (size as u64) < most)).then(|| ("memory".to_string(), most));
    let roof = |(name, bytes)| Roof { name, gigabytes: roofline.bandwidth_of(bytes) * roofline.threads as f64 };
    inside.chain(behind).map(roof).collect()
}
