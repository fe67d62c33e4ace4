//! Rewrites every cell of NAS-Bench-201, and some whole networks of it, and says how long that takes and what it gains.
//!
//! `cargo run --release -p sonar-rewrite --example nas_cells [CELLS]` takes the first `CELLS` cells in a shuffled order.

#[path = "../src/tests/build.rs"]
#[allow(dead_code, missing_docs)]
mod build;

use build::{Builder, cell_ops};
use sonar_rewrite::{Options, Report, StopReason, rewrite};
use std::time::{Duration, Instant};

const CELLS: usize = 15_625;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let count = std::env::args().nth(1).map_or(Ok(CELLS), |count| count.parse())?;
    let options = Options::default();

    let mut cells = Summary::default();
    for i in 0..count {
        let mut b = Builder::new();
        let x = b.input(&[1, 32, 32, 16]);
        let y = b.cell(x, cell_ops(i * 7_919 % CELLS));
        let graph = b.finish(&[y]);
        let started = Instant::now();
        let rewritten = rewrite(&graph, &options)?;
        cells.add(i * 7_919 % CELLS, started.elapsed(), &rewritten.report);
    }
    cells.print("cells");

    let mut networks = Summary::default();
    for i in 0..count.div_ceil(50) {
        let index = i * 7_919 % CELLS;
        let graph = Builder::network(1, 32, 16, 5, cell_ops(index));
        let started = Instant::now();
        let rewritten = rewrite(&graph, &options)?;
        networks.add(index, started.elapsed(), &rewritten.report);
    }
    networks.print("networks");
    Ok(())
}

#[derive(Default)]
struct Summary {
    times: Vec<(Duration, usize)>,
    limits: usize,
    enodes: Vec<usize>,
    cost: f64,
    fusion_cost: f64,
}

impl Summary {
    fn add(&mut self, index: usize, time: Duration, report: &Report) {
        self.times.push((time, index));
        self.limits += usize::from(report.stop != StopReason::Saturated);
        self.enodes.push(report.enodes);
        self.cost += report.cost;
        self.fusion_cost += report.fusion_cost;
    }

    fn print(mut self, what: &str) {
        self.times.sort_unstable();
        let total: Duration = self.times.iter().map(|(time, _)| time).sum();
        let count = self.times.len();
        let at = |share: f64| self.times.get((share * (count as f64 - 1.0)) as usize).copied().unwrap_or_default();
        println!("{count} {what} in {:.1} s, {} hit a limit", total.as_secs_f64(), self.limits);
        for (name, share) in [("median", 0.5), ("99%", 0.99), ("slowest", 1.0)] {
            let (time, index) = at(share);
            println!("  {name:<8} {:>7.2} ms (cell {index})", time.as_secs_f64() * 1e3);
        }
        let enodes: usize = self.enodes.iter().sum();
        println!("  e-nodes: {} on average, at most {}", enodes / count.max(1), self.enodes.iter().max().unwrap_or(&0));
        println!("  cost: {:.4} of fusion alone", self.cost / self.fusion_cost);
    }
}
