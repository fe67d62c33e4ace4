//! Refuses tiles that the emitter cannot express, and splits instructions that the instruction set lacks.

use super::encoding::Width;
use super::unsupported;
use crate::emit::registers::register_count;
use crate::error::CodegenError;
use sonar_ir::entity::Entity;
use sonar_ir::scalar::BinaryOp;
use sonar_ir::tile::{Inst, Ptr, Reg, Tile, TileStmt};

/// Refuses a block that the emitter cannot express.
pub(super) fn check(tile: &Tile, block: &[TileStmt], depth: usize) -> Result<(), CodegenError> {
    if tile.tail >= tile.lanes || tile.pointers > Tile::MAX_POINTERS || depth > Tile::MAX_DEPTH {
        return Err(unsupported(tile, format!("tail {}, {} pointers, loop depth {depth}", tile.tail, tile.pointers)));
    }
    for stmt in block {
        match stmt {
            TileStmt::Loop { trips: 0, .. } => return Err(unsupported(tile, "a loop of no iterations")),
            TileStmt::Loop { body, .. } => check(tile, body, depth + 1)?,
            TileStmt::Advance { ptr, .. } => check_pointer(tile, *ptr)?,
            TileStmt::Inst(inst) => {
                if let Some(addr) = inst.address() {
                    check_pointer(tile, addr.ptr)?;
                }
                if matches!(inst, Inst::Load { masked: true, .. } | Inst::Store { masked: true, .. }) && tile.tail == 0 {
                    return Err(unsupported(tile, "a masked instruction without a tail"));
                }
            }
        }
    }
    Ok(())
}

fn check_pointer(tile: &Tile, ptr: Ptr) -> Result<(), CodegenError> {
    if ptr.index() < tile.pointers { Ok(()) } else { Err(unsupported(tile, format!("no pointer {}", ptr.0))) }
}

/// Splits instructions that the instruction set lacks: AVX2 cannot broadcast a memory operand within a multiply-add, and its
/// comparison needs another register.
pub(super) fn legalise(tile: &Tile, width: Width) -> Tile {
    fn block(stmts: &[TileStmt], temporary: Reg) -> Vec<TileStmt> {
        let mut result = Vec::with_capacity(stmts.len());
        for stmt in stmts {
            match stmt {
                TileStmt::Loop { trips, body } => {
                    result.push(TileStmt::Loop { trips: *trips, body: block(body, temporary) });
                }
                TileStmt::Inst(Inst::FmaBroadcast { acc, addr, b }) => {
                    result.push(TileStmt::Inst(Inst::Broadcast { dst: temporary, addr: *addr }));
                    result.push(TileStmt::Inst(Inst::Fma { acc: *acc, a: temporary, b: *b }));
                }
                TileStmt::Inst(Inst::Binary { op: BinaryOp::Gate, dst, a, b }) if dst == a => {
                    result.push(TileStmt::Inst(Inst::Copy { dst: temporary, a: *a }));
                    result.push(TileStmt::Inst(Inst::Binary { op: BinaryOp::Gate, dst: *dst, a: temporary, b: *b }));
                }
                other => result.push(other.clone()),
            }
        }
        result
    }
    match width {
        Width::Avx512 => tile.clone(),
        Width::Avx2 => Tile { body: block(&tile.body, Reg(register_count(&tile.body) as u32)), ..tile.clone() },
    }
}
