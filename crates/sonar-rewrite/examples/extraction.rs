//! Compares extraction with the optimum that integer linear programming finds, on 300 graphs: 150 cells of NAS-Bench-201 and 150
//! random graphs with residuals and values of several users. A graph is tied if all its segments are.
//!
//! `cargo run --release -p sonar-rewrite --example extraction [GRAPHS]`

#[path = "../tests/support/mod.rs"]
mod support;

use sonar_rewrite::Options;
use sonar_rewrite::instances::instances;
use std::time::{Duration, Instant};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let count: u64 = std::env::args().nth(1).map_or(Ok(300), |count| count.parse())?;
    let space = support::cells();
    let (mut tied, mut largest) = (0, 0);
    let (mut ours, mut theirs) = (Duration::ZERO, Duration::ZERO);
    for i in 0..count {
        let cell = i % 2 == 0;
        // A prime that does not divide the number of cells spreads them.
        let graph = if cell { support::cell(&space, u128::from(i) * 7_919) } else { support::random_graph(i) };
        let started = Instant::now();
        let problems = instances(&graph, &Options::default())?;
        ours += started.elapsed();
        let mut all = true;
        for problem in &problems {
            largest = largest.max(problem.alternatives.iter().map(Vec::len).sum());
            let started = Instant::now();
            let optimum = support::optimum(problem);
            theirs += started.elapsed();
            if problem.found * 1e6 > optimum * (1.0 + 1e-6) {
                all = false;
                let kind = if cell { "cell" } else { "random graph" };
                println!("{kind} {i}: {:.3} instead of {optimum:.3} µs", problem.found * 1e6);
            }
        }
        tied += usize::from(all);
    }
    println!("at most {largest} e-nodes; {:.2} s to rewrite, {:.1} s to solve", ours.as_secs_f64(), theirs.as_secs_f64());
    println!("tied {tied} of {count}");
    Ok(())
}
