//! How many registers of a tile are live at once.

use sonar_ir::tile::{Inst, Reg, TileStmt};
use std::collections::HashSet;

/// The largest number of registers that are live at one point.
pub(crate) fn pressure(body: &[TileStmt]) -> usize {
    let mut most = 0;
    live_before(body, HashSet::new(), &mut most);
    most
}

/// The registers that are live before some statements, given those that are live after.
fn live_before(stmts: &[TileStmt], mut live: HashSet<Reg>, most: &mut usize) -> HashSet<Reg> {
    for stmt in stmts.iter().rev() {
        match stmt {
            TileStmt::Advance { .. } => {}
            TileStmt::Loop { body, .. } => {
                // What an iteration needs is live at the end of the one before.
                let entry = live_before(body, live.clone(), most);
                live.extend(entry);
                live = live_before(body, live, most);
            }
            TileStmt::Inst(inst) => {
                let (reads, write) = registers(inst);
                if let Some(write) = write {
                    live.insert(write);
                    *most = (*most).max(live.len());
                    live.remove(&write);
                }
                live.extend(reads);
                *most = (*most).max(live.len());
            }
        }
    }
    live
}

/// The registers that an instruction reads, and the one that it writes.
fn registers(inst: &Inst) -> (Vec<Reg>, Option<Reg>) {
    match *inst {
        Inst::Const { dst, .. } | Inst::Load { dst, .. } | Inst::Broadcast { dst, .. } => (vec![], Some(dst)),
        Inst::Store { src, .. } | Inst::StoreFirst { src, .. } => (vec![src], None),
        Inst::Unary { dst, a, .. } | Inst::Bits { dst, a, .. } | Inst::Fill { dst, a, .. } | Inst::Swap { dst, a, .. } => {
            (vec![a], Some(dst))
        }
        Inst::Binary { dst, a, b, .. } => (vec![a, b], Some(dst)),
        Inst::Fma { acc, a, b } => (vec![acc, a, b], Some(acc)),
        Inst::FmaBroadcast { acc, b, .. } => (vec![acc, b], Some(acc)),
    }
}
