//! Register pressure of a tile.

use sonar_ir::tile::{Reg, TileStmt};
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
                // Registers that an iteration reads are live at the end of the previous iteration.
                let entry = live_before(body, live.clone(), most);
                live.extend(entry);
                live = live_before(body, live, most);
            }
            TileStmt::Inst(inst) => {
                if let Some(write) = inst.writes() {
                    live.insert(write);
                    *most = (*most).max(live.len());
                    live.remove(&write);
                }
                live.extend(inst.reads());
                *most = (*most).max(live.len());
            }
        }
    }
    live
}
