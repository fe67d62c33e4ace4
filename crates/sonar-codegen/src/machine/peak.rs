//! How fast a core computes on registers.

use crate::error::CodegenError;
use crate::module::Code;
use crate::target::Target;
use sonar_ir::machine::Peak;
use sonar_ir::tile::{Inst, Reg, Tile, TileStmt};
use std::time::Instant;

/// Iterations of one run, and number of runs; the fastest counts.
const TRIPS: u32 = 20_000;
const RUNS: usize = 15;

/// Multiply-adds per second of one core on registers only, as 10⁹ floating-point operations (two each).
pub fn peak_gflops(target: &Target) -> Result<f64, CodegenError> {
    Ok(peak(target)?.gflops)
}

/// Measures how fast one core computes with the vectors of a target, in a few milliseconds.
pub(super) fn peak(target: &Target) -> Result<Peak, CodegenError> {
    let lanes = target.lanes();
    let chains = Tile::registers(lanes) as u32 - 2;
    let [all, one] = [seconds_of_a_trip(target, chains)?, seconds_of_a_trip(target, 1)?];
    Ok(Peak { lanes, gflops: 2.0 * f64::from(chains) * lanes as f64 / all / 1e9, latency: one / f64::from(UNROLLED) })
}

/// Links of a single chain in one iteration, so that the overhead of the loop does not count.
const UNROLLED: u32 = 4;

/// Seconds of one iteration over `chains` independent chains. It computes one link of each; if there is only one chain, several links.
fn seconds_of_a_trip(target: &Target, chains: u32) -> Result<f64, CodegenError> {
    let links = if chains == 1 { UNROLLED } else { 1 };
    let body = multiply_adds(chains, links, TRIPS);
    let tile = Tile { name: "peak".into(), lanes: target.lanes(), tail: 0, pointers: 0, body };
    let (code, id) = Code::build(target, |definitions| definitions.tile(&tile))?;
    let entry = code.tile_entry(id);
    let mut seconds = f64::INFINITY;
    for _ in 0..RUNS {
        let start = Instant::now();
        // SAFETY: the tile uses no pointers, and the code is alive.
        unsafe { entry(std::ptr::null()) };
        seconds = seconds.min(start.elapsed().as_secs_f64());
    }
    Ok(seconds / f64::from(TRIPS))
}

/// Chains of `x = x + x · c`, which no compiler can shorten, with `links` links in each iteration.
fn multiply_adds(chains: u32, links: u32, trips: u32) -> Vec<TileStmt> {
    let factor = Reg(chains);
    let constants = (0..=chains).map(|r| TileStmt::Inst(Inst::Const { dst: Reg(r), value: 0.0 }));
    let chain = (0..chains).map(|r| TileStmt::Inst(Inst::Fma { acc: Reg(r), a: Reg(r), b: factor }));
    let body = (0..links).flat_map(|_| chain.clone()).collect();
    constants.chain([TileStmt::Loop { trips, body }]).collect()
}
