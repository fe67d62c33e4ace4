//! Verifier of tile programs, and the memory that they touch.

use super::{MAX_REGISTERS, VerifyError};
use crate::entity::{Entity, EntityVec};
use crate::scalar::UnaryOp;
use crate::tile::{Addr, BitsOp, Inst, Ptr, Reg, Tile, TileStmt};
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
    /// A shift by more bits than there are, or a swap of lanes that do not exist.
    #[error("`{0}` goes beyond a lane or a vector")]
    Distance(Inst),
    /// A register is read before it is written.
    #[error("register {0} is read before it is written")]
    Undefined(Reg),
    /// Registers would have to be spilled.
    #[error("{live} registers are live at `{inst}`, but there are {available}")]
    Pressure {
        /// How many are live.
        live: usize,
        /// The instruction that needs them.
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

/// Checks each statement separately, below `depth` loops.
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
        Inst::Load { masked: true, .. } | Inst::Store { masked: true, .. } | Inst::Fill { .. } if tile.tail == 0 => {
            return Err(TileProblem::Masked(*inst));
        }
        Inst::Unary { op, .. } if !matches!(op, UnaryOp::Neg | UnaryOp::Step | UnaryOp::Abs | UnaryOp::Sqrt) => {
            return Err(TileProblem::Unary(op));
        }
        Inst::Bits { op: BitsOp::Shl | BitsOp::Shr, constant: 32.., .. } => return Err(TileProblem::Distance(*inst)),
        Inst::Swap { distance, .. } if !distance.is_power_of_two() || distance as usize >= tile.lanes => {
            return Err(TileProblem::Distance(*inst));
        }
        _ => {}
    }
    if let Some(addr) = inst.address() {
        check_addr(tile, addr)?;
    }
    match inst.reads().chain(inst.writes()).find(|reg| reg.0 >= MAX_REGISTERS) {
        Some(reg) => Err(TileProblem::Register(reg)),
        None => Ok(()),
    }
}

fn check_addr(tile: &Tile, addr: Addr) -> Result<(), TileProblem> {
    if addr.ptr.index() >= tile.pointers {
        return Err(TileProblem::NoPointer(addr.ptr));
    }
    match addr.offset.checked_mul(size_of::<f32>() as i32) {
        None => Err(TileProblem::Offset(addr.offset)),
        Some(_) => Ok(()),
    }
}

/// Checks that no register is live at the start, and that never too many are live.
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
                        // A register that the start of an iteration needs is live at the end of the previous iteration.
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
        self.live.extend(inst.writes());
        let after = self.live.len();
        if let Some(written) = inst.writes() {
            self.live.remove(&written);
        }
        self.live.extend(inst.reads());
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
    /// The first and the last element that is read or written, if any is.
    pub(super) touched: Option<(i64, i64)>,
    /// Whether any is written.
    pub(super) written: bool,
}

/// The footprint of each pointer of a well-formed tile.
pub(super) fn footprints(tile: &Tile) -> EntityVec<Ptr, Footprint> {
    let mut traces = EntityVec::filled(Trace::default(), tile.pointers);
    trace(tile, &tile.body, &mut traces);
    traces.into_iter().map(|trace| trace.footprint).collect()
}

/// What a pointer has done since the start of a block.
#[derive(Clone, Copy, Default)]
struct Trace {
    /// Where it is now.
    at: i64,
    footprint: Footprint,
}

fn trace(tile: &Tile, body: &[TileStmt], traces: &mut EntityVec<Ptr, Trace>) {
    for stmt in body {
        match stmt {
            TileStmt::Loop { trips, body } => {
                let mut once = EntityVec::filled(Trace::default(), traces.len());
                trace(tile, body, &mut once);
                for (trace, once) in traces.iter_mut().zip(once) {
                    trace.repeat(once, i64::from(*trips));
                }
            }
            TileStmt::Advance { ptr, by } => {
                let trace = &mut traces[*ptr];
                trace.at = trace.at.saturating_add(i64::from(*by));
            }
            TileStmt::Inst(inst) => {
                if let Some(addr) = inst.address() {
                    let trace = &mut traces[addr.ptr];
                    let first = trace.at.saturating_add(i64::from(addr.offset));
                    trace.touch(first, first.saturating_add(elements(tile, inst) - 1));
                    trace.footprint.written |= matches!(inst, Inst::Store { .. } | Inst::StoreFirst { .. });
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

    /// Continues with the effect of a block that runs `trips` times.
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

/// Elements that instructions access through a pointer: `width` from `start` on, relative to the pointer's start, and the same
/// elements moved by each iteration of the loops.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Touch {
    pub(super) written: bool,
    pub(super) start: i64,
    pub(super) width: i64,
    /// By how much an iteration of each loop around the instruction moves the pointer, and how many iterations there are.
    pub(super) steps: Vec<(i64, i64)>,
}

/// What the instructions of a well-formed tile access through each pointer.
pub(super) fn touches(tile: &Tile) -> EntityVec<Ptr, Vec<Touch>> {
    let mut touches = EntityVec::filled(Vec::new(), tile.pointers);
    let mut pointers = EntityVec::filled((0, Vec::new()), tile.pointers);
    collect(tile, &tile.body, &mut pointers, &mut touches);
    touches
}

/// Where a pointer is, and for each loop around it: by how much it moves the pointer, and how often.
type Position = (i64, Vec<(i64, i64)>);

/// Adds the accesses of a block. `pointers` holds each pointer's position and the steps of the loops around the block.
fn collect(tile: &Tile, body: &[TileStmt], pointers: &mut EntityVec<Ptr, Position>, touches: &mut EntityVec<Ptr, Vec<Touch>>) {
    for stmt in body {
        match stmt {
            TileStmt::Advance { ptr, by } => pointers[*ptr].0 = pointers[*ptr].0.saturating_add(i64::from(*by)),
            TileStmt::Loop { trips, body } => {
                let trips = i64::from(*trips);
                let mut once = EntityVec::filled(Trace::default(), tile.pointers);
                trace(tile, body, &mut once);
                for (pointer, once) in pointers.iter_mut().zip(&once) {
                    pointer.1.push((once.at, trips));
                }
                collect(tile, body, pointers, touches);
                for (pointer, once) in pointers.iter_mut().zip(&once) {
                    pointer.1.pop();
                    // The first iteration has already moved it.
                    pointer.0 = pointer.0.saturating_add(once.at.saturating_mul(trips - 1));
                }
            }
            TileStmt::Inst(inst) => {
                let Some(addr) = inst.address() else { continue };
                let (at, steps) = &pointers[addr.ptr];
                let written = matches!(inst, Inst::Store { .. } | Inst::StoreFirst { .. });
                let start = at.saturating_add(i64::from(addr.offset));
                touches[addr.ptr].push(Touch { written, start, width: elements(tile, inst), steps: steps.clone() });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scalar::BinaryOp;

    fn at(ptr: u32, offset: i32) -> Addr {
        Addr { ptr: Ptr(ptr), offset }
    }

    fn constant(reg: u32) -> TileStmt {
        TileStmt::Inst(Inst::Const { dst: Reg(reg), value: 0.0 })
    }

    fn load(reg: u32, offset: i32) -> TileStmt {
        TileStmt::Inst(Inst::Load { dst: Reg(reg), addr: at(0, offset), masked: false })
    }

    fn store(reg: u32, offset: i32) -> TileStmt {
        TileStmt::Inst(Inst::Store { src: Reg(reg), addr: at(1, offset), masked: false })
    }

    fn with_body(lanes: usize, body: Vec<TileStmt>) -> Tile {
        Tile { name: "test".to_string(), lanes, tail: 0, pointers: 2, body }
    }

    #[track_caller]
    fn refused(tile: &Tile, expected: &str) {
        assert_eq!(check(tile).unwrap_err().to_string(), expected);
    }

    #[test]
    fn ill_formed_tiles_are_refused() {
        let tile = with_body(4, vec![]);
        assert_eq!(check(&tile), Ok(()));
        refused(&with_body(5, vec![]), "a vector has 4, 8 or 16 lanes, not 5");
        refused(&Tile { tail: 4, ..tile.clone() }, "a tail of 4 lanes is not shorter than a vector of 4");
        refused(&Tile { pointers: 13, ..tile }, "13 pointers are more than 12");
        refused(&with_body(4, vec![TileStmt::Advance { ptr: Ptr(2), by: 1 }]), "there is no pointer p2");
        refused(&with_body(4, vec![TileStmt::Loop { trips: 0, body: vec![] }]), "a loop runs 0 times");
        refused(&with_body(4, vec![load(0, 1 << 30)]), "1073741824 elements are further than 32-bit byte offsets reach");
        refused(&with_body(4, vec![constant(1 << 16)]), "the number of register v65536 is not below 65536");
        let masked = TileStmt::Inst(Inst::Load { dst: Reg(0), addr: at(0, 0), masked: true });
        refused(&with_body(4, vec![masked]), "`v0 = load.masked p0[0]` is masked, but the tile has no tail");
        let exp = TileStmt::Inst(Inst::Unary { op: UnaryOp::Exp, dst: Reg(0), a: Reg(0) });
        refused(&with_body(4, vec![constant(0), exp]), "there is no vector instruction for exp");
        let nest = (0..5).fold(vec![], |body, _| vec![TileStmt::Loop { trips: 2, body }]);
        refused(&with_body(4, nest), "loops nest more than 4 deep");
    }

    #[test]
    fn registers_are_written_before_they_are_read() {
        refused(&with_body(4, vec![store(0, 0), constant(0)]), "register v0 is read before it is written");
        // A write in an earlier iteration of a loop does not help the first iteration.
        let body = vec![store(0, 0), constant(0)];
        refused(&with_body(4, vec![TileStmt::Loop { trips: 2, body }]), "register v0 is read before it is written");
        let body = vec![TileStmt::Loop { trips: 1, body: vec![constant(0)] }, store(0, 0)];
        assert_eq!(check(&with_body(4, body)), Ok(()));
    }

    #[test]
    fn tiles_that_would_spill_are_refused() {
        // `count` accumulators that are live over a loop; the loop loads one more vector and multiplies it by an element.
        let accumulate = |lanes: usize, count: u32| {
            let mut step = vec![load(count, 0)];
            step.extend(
                (0..count).map(|i| TileStmt::Inst(Inst::FmaBroadcast { acc: Reg(i), addr: at(0, i as i32), b: Reg(count) })),
            );
            let mut body: Vec<TileStmt> = (0..count).map(constant).collect();
            body.push(TileStmt::Loop { trips: 9, body: step });
            body.extend((0..count).map(|i| store(i, 0)));
            with_body(lanes, body)
        };
        assert_eq!(check(&accumulate(16, 31)), Ok(()));
        refused(&accumulate(16, 32), "33 registers are live at `v31 += p0[31] * v32`, but there are 32");
        // With fewer lanes the element needs a register too.
        assert_eq!(check(&accumulate(8, 14)), Ok(()));
        refused(&accumulate(8, 15), "17 registers are live at `v14 += p0[14] * v15`, but there are 16");
        // Registers that are dead again do not count.
        let body: Vec<TileStmt> = (0..100).flat_map(|i| [load(i, 0), store(i, 0)]).collect();
        assert_eq!(check(&with_body(4, body)), Ok(()));
    }

    #[test]
    fn footprints_follow_the_pointers() {
        let advance = |ptr, by| TileStmt::Advance { ptr: Ptr(ptr), by };
        let inner = vec![load(0, 2), advance(0, 10)];
        let sum = TileStmt::Inst(Inst::Binary { op: BinaryOp::Add, dst: Reg(0), a: Reg(0), b: Reg(0) });
        let outer = vec![TileStmt::Loop { trips: 3, body: inner }, sum, store(0, 0), advance(0, -50), advance(1, 4)];
        let tile = with_body(4, vec![TileStmt::Loop { trips: 2, body: outer }]);
        // The inner loop touches 2..26 and leaves the pointer at 30, the second time from 30 - 50 = -20 on.
        let expected =
            [Footprint { touched: Some((-18, 25)), written: false }, Footprint { touched: Some((0, 7)), written: true }];
        assert_eq!(footprints(&tile).to_vec(), expected);
    }
}
