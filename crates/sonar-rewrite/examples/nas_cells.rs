//! Reads every cell of NAS-Bench-201 from text, rewrites it, and says how long that takes and what it gains; then the same
//! for some of the whole networks. Every cell is rewritten once more with tiny images, and all that comes of it compared with
//! the interpreter.
//!
//! `cargo run --release -p sonar-rewrite --example nas_cells [CELLS [NETWORKS]]`

use sonar_ir::graph::{init, interp};
use sonar_ir::space::Space;
use sonar_ir::text::parse_graph;
use sonar_rewrite::{Options, Report, StopReason, rewrite};
use std::time::{Duration, Instant};

const SPACE: &str = include_str!("../../../ir-examples/spaces/nas-bench-201.sonar");

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1).map(|count| count.parse::<usize>());
    let cells = arguments.next().transpose()?.unwrap_or(15_625);
    let networks = arguments.next().transpose()?.unwrap_or(300);

    let (graphs, _) = SPACE.split_once("graph @stage").ok_or("the space has stages of cells")?;
    let cell = format!("{graphs}\ngraph @one_cell(%x: f32[N,32,32,16]) {{ return @cell(%x) }}\n");
    run("cells", &Space::parse(&cell)?, cells)?;
    run("networks", &Space::parse(SPACE)?, networks)?;
    let tiny = format!("{graphs}\ngraph @one_cell(%x: f32[N,5,4,3]) {{ return @cell(%x) }}\n");
    check(&Space::parse(&tiny)?, cells)
}

/// Compares all graphs that come of some candidates, spread over all of the space, with the interpreter on random values.
fn check(space: &Space, count: usize) -> Result<(), Box<dyn std::error::Error>> {
    let (mut worst, mut graphs) = (0.0f64, 0);
    for i in 0..count as u128 {
        let rank = i * 7_919 % space.count();
        let candidate = space.nth(rank).ok_or("the rank is less than the number of candidates")?;
        let graph = space.instantiate(&candidate)?.specialise(2);
        let mut values = init::randomise(&graph, rank as u64);
        values.extend(init::inputs(&graph, rank as u64));
        let expected = interp::run(&graph, &values)?;
        for rewritten in rewrite(&graph, &Options::default())?.candidates {
            let found = interp::run(&rewritten, &values)?;
            let error = found.iter().zip(&expected).map(|(a, b)| a.relative_error(b)).fold(0.0, f64::max);
            if error > 2e-6 || found.len() != expected.len() {
                return Err(format!("candidate {rank} is off by {error:.1e}:\n{rewritten}").into());
            }
            worst = worst.max(error);
            graphs += 1;
        }
    }
    println!("{count} cells compute the same in all of {graphs} graphs: relative error at most {worst:.1e}");
    Ok(())
}

/// Parses and rewrites some candidates of a space, spread over all of it.
fn run(what: &str, space: &Space, count: usize) -> Result<(), Box<dyn std::error::Error>> {
    let mut times: Vec<(Duration, u128)> = Vec::new();
    let mut parsing = Duration::ZERO;
    let mut reports: Vec<Report> = Vec::new();
    for i in 0..count as u128 {
        // A prime that does not divide the number of candidates reaches each of them once.
        let rank = i * 7_919 % space.count();
        let candidate = space.nth(rank).ok_or("the rank is less than the number of candidates")?;
        let text = space.instantiate(&candidate)?.to_string();
        let started = Instant::now();
        let graph = parse_graph(&text)?.specialise(1);
        parsing += started.elapsed();
        let started = Instant::now();
        reports.push(rewrite(&graph, &Options::default())?.report);
        times.push((started.elapsed(), rank));
    }
    times.sort_unstable();

    let total: Duration = times.iter().map(|(time, _)| time).sum();
    let limits = reports.iter().filter(|report| report.stop != StopReason::Saturated).count();
    println!(
        "{count} {what}: {:.1} s to parse, {:.1} s to rewrite, {limits} hit a limit",
        parsing.as_secs_f64(),
        total.as_secs_f64()
    );
    for (name, share) in [("median", 0.5), ("99%", 0.99), ("slowest", 1.0)] {
        if let Some((time, rank)) = times.get((share * times.len().saturating_sub(1) as f64) as usize) {
            println!("  {name:<8} {:>7.2} ms (candidate {rank})", time.as_secs_f64() * 1e3);
        }
    }
    let enodes = reports.iter().map(|report| report.enodes);
    println!("  e-nodes: {} on average, at most {}", enodes.clone().sum::<usize>() / count.max(1), enodes.max().unwrap_or(0));
    let cost = |of: fn(&Report) -> f64| reports.iter().map(of).sum::<f64>();
    println!("  cost: {:.4} of fusion alone", cost(|report| report.cost) / cost(|report| report.fusion_cost));
    Ok(())
}
