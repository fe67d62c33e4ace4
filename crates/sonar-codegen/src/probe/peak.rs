//! The speed that a core cannot exceed.

use crate::error::CodegenError;
use crate::module::Code;
use crate::target::Target;
use sonar_ir::tile::{Inst, Reg, Tile, TileStmt};
use std::time::Instant;

/// Multiply-adds per second of one core in registers alone, as 10⁹ floating-point operations (two each).
///
/// It is the fastest of several runs of a few milliseconds in all, so that interruptions do not count.
pub fn peak_gflops(target: &Target) -> Result<f64, CodegenError> {
    const TRIPS: u32 = 20_000;
    const RUNS: usize = 15;
    let lanes = target.lanes();
    let chains = Tile::registers(lanes) as u32 - 2;
    let tile = Tile { name: "peak".into(), lanes, tail: 0, pointers: 0, body: multiply_adds(chains, TRIPS) };
    let (code, id) = Code::build(target, |definitions| definitions.tile(&tile))?;
    let entry = code.tile_entry(id);
    let mut seconds = f64::INFINITY;
    for _ in 0..RUNS {
        let start = Instant::now();
        // SAFETY: the tile uses no pointers, and the code is alive.
        unsafe { entry(std::ptr::null()) };
        seconds = seconds.min(start.elapsed().as_secs_f64());
    }
    let operations = 2.0 * f64::from(chains) * lanes as f64 * f64::from(TRIPS);
    Ok(operations / seconds / 1e9)
}

/// Chains of `x = x + x · c`, which no compiler can shorten, enough of them to hide their latency.
fn multiply_adds(chains: u32, trips: u32) -> Vec<TileStmt> {
    let factor = Reg(chains);
    let constants = (0..=chains).map(|r| TileStmt::Inst(Inst::Const { dst: Reg(r), value: 0.0 }));
    let body = (0..chains).map(|r| TileStmt::Inst(Inst::Fma { acc: Reg(r), a: Reg(r), b: factor })).collect();
    constants.chain([TileStmt::Loop { trips, body }]).collect()
}
