//! Physical vector registers for a tile.
//!
//! The allocator renames the registers of a tile so that they are numbered `0..available`. It walks the tile once in
//! program order and frees a register at the last use of its value. A value that a loop carries from one iteration
//! to the next (an accumulator) keeps one register for the whole loop. There is no spilling: a tile that needs more
//! registers than the target has is refused.

use crate::error::CodegenError;
use sonar_ir::entity::{Entity, EntityVec};
use sonar_ir::scalar::BinaryOp;
use sonar_ir::tile::{Inst, Reg, Tile, TileStmt};

/// The tile with physical registers.
pub(crate) fn allocate(tile: &Tile, available: usize) -> Result<Tile, CodegenError> {
    let count = register_count(&tile.body);
    let nodes = backward(&tile.body, &mut EntityVec::filled(false, count));
    let mut forward = Forward {
        tile,
        available,
        home: EntityVec::filled(None, count),
        carried: EntityVec::filled(0, count),
        free: (0..available as u32).rev().collect(),
    };
    let body = forward.block(&nodes)?;
    Ok(Tile { body, ..tile.clone() })
}

/// One more than the largest register number.
pub(crate) fn register_count(body: &[TileStmt]) -> usize {
    body.iter()
        .map(|stmt| match stmt {
            TileStmt::Loop { body, .. } => register_count(body),
            TileStmt::Advance { .. } => 0,
            TileStmt::Inst(inst) => inst.writes().into_iter().chain(inst.reads()).map(|r| r.index() + 1).max().unwrap_or(0),
        })
        .max()
        .unwrap_or(0)
}

/// A statement and the registers whose values are not read after it.
enum Node<'a> {
    Inst { inst: &'a Inst, dead: Vec<Reg> },
    Loop { trips: u32, body: Vec<Node<'a>>, carried: Vec<Reg>, dead: Vec<Reg> },
    Other(&'a TileStmt),
}

/// Annotates a block. `live` is the set of registers that are read after the block; it becomes the set before the block.
fn backward<'a>(block: &'a [TileStmt], live: &mut EntityVec<Reg, bool>) -> Vec<Node<'a>> {
    let mut nodes = Vec::with_capacity(block.len());
    for stmt in block.iter().rev() {
        nodes.push(match stmt {
            TileStmt::Advance { .. } => Node::Other(stmt),
            TileStmt::Inst(inst) => {
                let mut dead: Vec<Reg> = inst.writes().into_iter().chain(inst.reads()).filter(|r| !live[*r]).collect();
                dead.sort_unstable();
                dead.dedup();
                if let Some(dst) = inst.writes() {
                    live[dst] = false;
                }
                for source in inst.reads() {
                    live[source] = true;
                }
                Node::Inst { inst, dead }
            }
            TileStmt::Loop { trips, body } => {
                let mut carried = EntityVec::filled(false, live.len());
                read_first(body, &mut EntityVec::filled(false, live.len()), &mut carried);
                let carried: Vec<Reg> = live.keys().filter(|r| carried[*r]).collect();
                let dead = carried.iter().copied().filter(|r| !live[*r]).collect();
                for r in &carried {
                    live[*r] = true;
                }
                let body = backward(body, live);
                Node::Loop { trips: *trips, body, carried, dead }
            }
        });
    }
    nodes.reverse();
    nodes
}

/// Marks the registers that a block reads before it writes them.
fn read_first(block: &[TileStmt], written: &mut EntityVec<Reg, bool>, reads: &mut EntityVec<Reg, bool>) {
    for stmt in block {
        match stmt {
            TileStmt::Advance { .. } => {}
            TileStmt::Loop { body, .. } => read_first(body, written, reads),
            TileStmt::Inst(inst) => {
                for source in inst.reads() {
                    reads[source] |= !written[source];
                }
                if let Some(dst) = inst.writes() {
                    written[dst] = true;
                }
            }
        }
    }
}

/// State of the walk in program order.
struct Forward<'t> {
    tile: &'t Tile,
    available: usize,
    /// Where the value of each register of the tile is now.
    home: EntityVec<Reg, Option<u32>>,
    /// How many of the enclosing loops carry each register.
    carried: EntityVec<Reg, u32>,
    free: Vec<u32>,
}

impl Forward<'_> {
    fn block(&mut self, nodes: &[Node<'_>]) -> Result<Vec<TileStmt>, CodegenError> {
        let mut block = Vec::with_capacity(nodes.len());
        for node in nodes {
            block.push(match node {
                Node::Other(stmt) => (*stmt).clone(),
                Node::Inst { inst, dead } => TileStmt::Inst(self.inst(inst, dead)?),
                Node::Loop { trips, body, carried, dead } => {
                    for r in carried {
                        self.read(*r)?;
                        self.carried[*r] += 1;
                    }
                    let body = self.block(body)?;
                    for r in carried {
                        self.carried[*r] -= 1;
                    }
                    self.release(dead);
                    TileStmt::Loop { trips: *trips, body }
                }
            });
        }
        Ok(block)
    }

    fn inst(&mut self, inst: &Inst, dead: &[Reg]) -> Result<Inst, CodegenError> {
        let mut renamed = *inst;
        match &mut renamed {
            Inst::Const { dst, .. } | Inst::Load { dst, .. } | Inst::Broadcast { dst, .. } => *dst = self.write(*dst)?,
            Inst::Store { src, .. } | Inst::StoreFirst { src, .. } => *src = self.read(*src)?,
            Inst::Copy { dst, a } | Inst::Unary { dst, a, .. } => {
                *a = self.read(*a)?;
                self.release_sources(*dst, dead);
                *dst = self.write(*dst)?;
            }
            Inst::Bits { dst, a, .. } | Inst::Fill { dst, a, .. } | Inst::Swap { dst, a, .. } => {
                *a = self.read(*a)?;
                self.release_sources(*dst, dead);
                *dst = self.write(*dst)?;
            }
            // The comparison is written to the result before `a` is read.
            Inst::Binary { op: BinaryOp::Gate, dst, a, b } => {
                let source = *a;
                (*a, *b) = (self.read(*a)?, self.read(*b)?);
                let early: Vec<Reg> = dead.iter().copied().filter(|r| *r != source).collect();
                self.release_sources(*dst, &early);
                *dst = self.write(*dst)?;
            }
            Inst::Binary { dst, a, b, .. } | Inst::Or { dst, a, b } => {
                (*a, *b) = (self.read(*a)?, self.read(*b)?);
                self.release_sources(*dst, dead);
                *dst = self.write(*dst)?;
            }
            Inst::Fma { acc, a, b } => (*acc, *a, *b) = (self.read(*acc)?, self.read(*a)?, self.read(*b)?),
            Inst::FmaBroadcast { acc, b, .. } => (*acc, *b) = (self.read(*acc)?, self.read(*b)?),
        }
        self.release(dead);
        Ok(renamed)
    }

    fn read(&self, r: Reg) -> Result<Reg, CodegenError> {
        self.home[r].map(Reg).ok_or_else(|| CodegenError::Unsupported {
            name: self.tile.name.clone(),
            reason: format!("register {} is read before it is written", r.0),
        })
    }

    fn write(&mut self, r: Reg) -> Result<Reg, CodegenError> {
        if let Some(home) = self.home[r] {
            return Ok(Reg(home));
        }
        match self.free.pop() {
            Some(home) => {
                self.home[r] = Some(home);
                Ok(Reg(home))
            }
            None => Err(CodegenError::TooManyRegisters { tile: self.tile.name.clone(), available: self.available }),
        }
    }

    /// Frees operands that are not read later, so that the result may take their register.
    fn release_sources(&mut self, dst: Reg, dead: &[Reg]) {
        for r in dead.iter().filter(|r| **r != dst) {
            self.release(&[*r]);
        }
    }

    fn release(&mut self, dead: &[Reg]) {
        for &r in dead {
            if self.carried[r] == 0
                && let Some(home) = self.home[r].take()
            {
                self.free.push(home);
            }
        }
    }
}
