//! Text of tile programs, one instruction a line.
//!
//! ```text
//! tile @row lanes=16 tail=0 pointers=3 {
//!   v0 = const 0.0
//!   loop 9 {
//!     v1 = load p1[0]
//!     v0 += p0[0] * v1
//!     p1 += 16
//!   }
//!   store p2[0], v0
//! }
//! ```

use super::{Notes, opening};
use crate::tile::{Addr, Inst, Tile, TileStmt};
use std::fmt::{self, Display, Formatter};

/// Writes a tile: `name` before it on the first line, and the lines after that indented by `depth` steps.
pub(super) fn write(f: &mut Formatter<'_>, name: &str, tile: &Tile, depth: usize, notes: Option<&Notes<'_>>) -> fmt::Result {
    let Tile { lanes, tail, pointers, .. } = tile;
    opening(f, 0, &format!("{name}tile @{} lanes={lanes} tail={tail} pointers={pointers} {{", tile.name), notes)?;
    block(f, &tile.body, depth + 1, notes)?;
    writeln!(f, "{}}}", "  ".repeat(depth))
}

impl Display for Tile {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write(f, "", self, 0, None)
    }
}

fn block(f: &mut Formatter<'_>, body: &[TileStmt], depth: usize, notes: Option<&Notes<'_>>) -> fmt::Result {
    let indent = "  ".repeat(depth);
    for stmt in body {
        match stmt {
            TileStmt::Loop { trips, body } => {
                opening(f, 0, &format!("{indent}loop {trips} {{"), notes)?;
                block(f, body, depth + 1, notes)?;
                writeln!(f, "{indent}}}")?;
            }
            TileStmt::Advance { ptr, by } => writeln!(f, "{indent}{ptr} += {by}")?,
            TileStmt::Inst(inst) => writeln!(f, "{indent}{inst}")?,
        }
    }
    Ok(())
}

impl Display for Inst {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let mask = |masked: bool| if masked { ".masked" } else { "" };
        match self {
            Inst::Const { dst, value } => write!(f, "{dst} = const {value:?}"),
            Inst::Load { dst, addr, masked } => write!(f, "{dst} = load{} {addr}", mask(*masked)),
            Inst::Broadcast { dst, addr } => write!(f, "{dst} = broadcast {addr}"),
            Inst::Store { src, addr, masked } => write!(f, "store{} {addr}, {src}", mask(*masked)),
            Inst::Copy { dst, a } => write!(f, "{dst} = {a}"),
            Inst::Unary { op, dst, a } => write!(f, "{dst} = {op} {a}"),
            Inst::Binary { op, dst, a, b } => write!(f, "{dst} = {op} {a}, {b}"),
            Inst::Bits { op, dst, a, constant } => write!(f, "{dst} = {op}.bits {a}, {constant:#x}"),
            Inst::Or { dst, a, b } => write!(f, "{dst} = or {a}, {b}"),
            Inst::Fill { dst, a, value } => write!(f, "{dst} = fill {a}, {value:?}"),
            Inst::Swap { dst, a, distance } => write!(f, "{dst} = swap {a}, {distance}"),
            Inst::StoreFirst { src, addr } => write!(f, "store.first {addr}, {src}"),
            Inst::Fma { acc, a, b } => write!(f, "{acc} += {a} * {b}"),
            Inst::FmaBroadcast { acc, addr, b } => write!(f, "{acc} += {addr} * {b}"),
        }
    }
}

impl Display for Addr {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}[{}]", self.ptr, self.offset)
    }
}
