//! Verifier of tile programs, and what memory they touch.

use super::{MAX_REGISTERS, VerifyError};
use crate::scalar::UnaryOp;
use crate::tile::{Addr, Inst, Ptr, Reg, Tile, TileStmt};
use std::collections::BTreeSet;
use thiserror::Error;

/// Why a tile is not well-formed.
#[derive(Clone, Debug, Error, PartialEq)]
pub enum TileProblem {
    /// No instruction set has vectors of this width.
    #[error("a vector has 4, 8 or 16 lanes, not {0}")]
    Lanes(usize),
    /// The tail is not shorter than a vector.
    #[error("a tail of {tail} lanes is not shorter than a vector of {lanes}")]
    Tail {
        /// Lanes of the tail.
        tail: usize,
        /// Lanes of a vector.
        lanes: usize,
    },
    /// Too many pointers.
    #[error("{0} pointers are more than {max}", max = Tile::MAX_POINTERS)]
    Pointers(usize),
    /// A pointer that the caller does not pass.
    #[error("there is no pointer {0}")]
    NoPointer(Ptr),
    /// Loops nest too deep.
    #[error("loops nest more than {max} deep", max = Tile::MAX_DEPTH)]
    Depth,
    /// A loop that does not run.
    #[error("a loop runs 0 times")]
    EmptyLoop,
    /// A masked instruction in a tile without a tail.
    #[error("`{0}` is masked, but the tile has no tail")]
    Masked(Inst),
    /// A distance that does not fit into an instruction.
    #[error("{0} elements are further than 32-bit byte offsets reach")]
    Offset(i32),
    /// A register with too large a number.
    #[error("the number of register {0} is not below {MAX_REGISTERS}")]
    Register(Reg),
    /// A unary function that not every instruction set has.
    #[error("there is no vector instruction for {0}")]
    Unary(UnaryOp),
    /// A register is read before it is written.
    #[error("register {0} is read before it is written")]
    Undefined(Reg),
    /// Registers would have to be spilled.
    #[error("{live} registers are live at `{inst}`, but there are {available}")]
    Pressure {
        /// How many are live.
        live: usize,
        /// Where.
        inst: Inst,
        /// How many there are.
        available: usize,
    },
}

/// Checks that a tile is well-formed.
pub fn tile(tile: &Tile) -> Result<(), VerifyError> {
    check(tile).map_err(|problem| VerifyError::Tile { name: tile.name.clone(), problem })
}

fn check(tile: &Tile) -> Result<(), TileProblem> {
    let &Tile { lanes, tail, pointers, .. } = tile;
    if ![4, 8, 16].contains(&lanes) {
        return Err(TileProblem::Lanes(lanes));
    }
    if tail >= lanes {
        return Err(TileProblem::Tail { tail, lanes });
    }
    if pointers > Tile::MAX_POINTERS {
        return Err(TileProblem::Pointers(pointers));
    }
    check_block(tile, &tile.body, 0)?;
    check_registers(tile)
}

/// Checks what concerns each statement by itself, below `depth` loops.
fn check_block(tile: &Tile, body: &[TileStmt], depth: usize) -> Result<(), TileProblem> {
    body.iter().try_for_each(|stmt| match stmt {
        TileStmt::Loop { trips: 0, .. } => Err(TileProblem::EmptyLoop),
        TileStmt::Loop { .. } if depth == Tile::MAX_DEPTH => Err(TileProblem::Depth),
        TileStmt::Loop { body, .. } => check_block(tile, body, depth + 1),
        TileStmt::Advance { ptr, by } => check_addr(tile, Addr { ptr: *ptr, offset: *by }),
        TileStmt::Inst(inst) => check_inst(tile, inst),
    })
}

fn check_inst(tile: &Tile, inst: &Inst) -> Result<(), TileProblem> {
    match *inst {
        Inst::Load { masked: true, .. } | Inst::Store { masked: true, .. } if tile.tail == 0 => {
            return Err(TileProblem::Masked(*inst));
        }
        Inst::Unary { op: op @ (UnaryOp::Exp | UnaryOp::Log | UnaryOp::Rsqrt | UnaryOp::Recip), .. }
        | Inst::Unary { op: op @ (UnaryOp::Tanh | UnaryOp::Sigmoid), .. } => return Err(TileProblem::Unary(op)),
        _ => {}
    }
    if let Some(addr) = address(inst) {
        check_addr(tile, addr)?;
    }
    match reads(inst).chain(writes(inst)).find(|reg| reg.0 >= MAX_REGISTERS) {
        Some(reg) => Err(TileProblem::Register(reg)),
        None => Ok(()),
    }
}

fn check_addr(tile: &Tile, addr: Addr) -> Result<(), TileProblem> {
    if addr.ptr.0 as usize >= tile.pointers {
        return Err(TileProblem::NoPointer(addr.ptr));
    }
    match addr.offset.checked_mul(size_of::<f32>() as i32) {
        None => Err(TileProblem::Offset(addr.offset)),
        Some(_) => Ok(()),
    }
}

/// The registers that an instruction reads.
fn reads(inst: &Inst) -> impl Iterator<Item = Reg> {
    let registers = match *inst {
        Inst::Const { .. } | Inst::Load { .. } | Inst::Broadcast { .. } => [None; 3],
        Inst::Store { src, .. } => [Some(src), None, None],
        Inst::Unary { a, .. } => [Some(a), None, None],
        Inst::Binary { a, b, .. } => [Some(a), Some(b), None],
        Inst::Fma { acc, a, b } => [Some(acc), Some(a), Some(b)],
        Inst::FmaBroadcast { acc, b, .. } => [Some(acc), Some(b), None],
    };
    registers.into_iter().flatten()
}

/// The register that an instruction writes.
fn writes(inst: &Inst) -> Option<Reg> {
    match *inst {
        Inst::Const { dst, .. }
        | Inst::Load { dst, .. }
        | Inst::Broadcast { dst, .. }
        | Inst::Unary { dst, .. }
        | Inst::Binary { dst, .. } => Some(dst),
        Inst::Fma { acc, .. } | Inst::FmaBroadcast { acc, .. } => Some(acc),
        Inst::Store { .. } => None,
    }
}

/// The address that an instruction touches.
fn address(inst: &Inst) -> Option<Addr> {
    match *inst {
        Inst::Load { addr, .. } | Inst::Broadcast { addr, .. } | Inst::Store { addr, .. } | Inst::FmaBroadcast { addr, .. } => {
            Some(addr)
        }
        Inst::Const { .. } | Inst::Unary { .. } | Inst::Binary { .. } | Inst::Fma { .. } => None,
    }
}

/// Checks that no register is live at the start, and never too many are.
fn check_registers(tile: &Tile) -> Result<(), TileProblem> {
    let mut liveness = Liveness { lanes: tile.lanes, live: BTreeSet::new(), worst: None };
    liveness.backwards(&tile.body);
    if let Some(&reg) = liveness.live.first() {
        return Err(TileProblem::Undefined(reg));
    }
    let available = Tile::registers(tile.lanes);
    match liveness.worst {
        Some((live, inst)) if live > available => Err(TileProblem::Pressure { live, inst, available }),
        _ => Ok(()),
    }
}

/// A walk from the end of a tile to its start.
struct Liveness {
    lanes: usize,
    /// Registers whose present value is still read.
    live: BTreeSet<Reg>,
    /// The most registers that an instruction needs, and that instruction.
    worst: Option<(usize, Inst)>,
}

impl Liveness {
    fn backwards(&mut self, body: &[TileStmt]) {
        for stmt in body.iter().rev() {
            match stmt {
                TileStmt::Loop { trips, body } => {
                    let after = self.live.clone();
                    self.backwards(body);
                    if *trips > 1 {
                        // What the start of an iteration needs, the end of the one before leaves.
                        self.live.extend(after);
                        self.backwards(body);
                    }
                }
                TileStmt::Advance { .. } => {}
                TileStmt::Inst(inst) => self.inst(inst),
            }
        }
    }

    fn inst(&mut self, inst: &Inst) {
        self.live.extend(writes(inst));
        let after = self.live.len();
        if let Some(written) = writes(inst) {
            self.live.remove(&written);
        }
        self.live.extend(reads(inst));
        let broadcast = usize::from(self.lanes < 16 && matches!(inst, Inst::FmaBroadcast { .. }));
        let needed = after.max(self.live.len()) + broadcast;
        if self.worst.is_none_or(|(worst, _)| needed > worst) {
            self.worst = Some((needed, *inst));
        }
    }
}

/// Elements that a tile touches, relative to where one of its pointers starts.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Footprint {
    /// The first and the last one that is read or written, if any is.
    pub(super) touched: Option<(i64, i64)>,
    /// Whether any is written.
    pub(super) written: bool,
}

/// The footprint of each pointer of a well-formed tile.
pub(super) fn footprints(tile: &Tile) -> Vec<Footprint> {
    let mut traces = vec![Trace::default(); tile.pointers];
    trace(tile, &tile.body, &mut traces);
    traces.into_iter().map(|trace| trace.footprint).collect()
}

/// What a pointer did since the start of a block.
#[derive(Clone, Copy, Default)]
struct Trace {
    /// Where it is now.
    at: i64,
    footprint: Footprint,
}

fn trace(tile: &Tile, body: &[TileStmt], traces: &mut [Trace]) {
    for stmt in body {
        match stmt {
            TileStmt::Loop { trips, body } => {
                let mut once = vec![Trace::default(); traces.len()];
                trace(tile, body, &mut once);
                for (trace, once) in traces.iter_mut().zip(once) {
                    trace.repeat(once, i64::from(*trips));
                }
            }
            TileStmt::Advance { ptr, by } => {
                let trace = &mut traces[ptr.0 as usize];
                trace.at = trace.at.saturating_add(i64::from(*by));
            }
            TileStmt::Inst(inst) => {
                if let Some(addr) = address(inst) {
                    let trace = &mut traces[addr.ptr.0 as usize];
                    let first = trace.at.saturating_add(i64::from(addr.offset));
                    trace.touch(first, first.saturating_add(elements(tile, inst) - 1));
                    trace.footprint.written |= matches!(inst, Inst::Store { .. });
                }
            }
        }
    }
}

/// How many elements an instruction touches in memory.
fn elements(tile: &Tile, inst: &Inst) -> i64 {
    match inst {
        Inst::Load { masked, .. } | Inst::Store { masked, .. } => (if *masked { tile.tail } else { tile.lanes }) as i64,
        _ => 1,
    }
}

impl Trace {
    fn touch(&mut self, first: i64, last: i64) {
        let (low, high) = self.footprint.touched.unwrap_or((first, last));
        self.footprint.touched = Some((low.min(first), high.max(last)));
    }

    /// Goes on with what a block does, `trips` times.
    fn repeat(&mut self, block: Trace, trips: i64) {
        if let Some((low, high)) = block.footprint.touched {
            for moved in [0, block.at.saturating_mul(trips - 1)] {
                let start = self.at.saturating_add(moved);
                self.touch(start.saturating_add(low), start.saturating_add(high));
            }
        }
        self.footprint.written |= block.footprint.written;
        self.at = self.at.saturating_add(block.at.saturating_mul(trips));
    }
}
