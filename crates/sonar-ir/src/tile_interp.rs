//! The reference interpreter of tile programs.
//!
//! Every instruction rounds to `f32`, as vector instructions do; a multiply-add rounds once. A pointer is a buffer and a
//! position in it, so that no address can leave the memory it was made for.

use crate::scalar::BinaryOp;
use crate::tile::{Addr, Inst, Reg, Tile, TileStmt};
use crate::verify::{self, VerifyError};
use thiserror::Error;

/// Where a pointer points: an element of one of the buffers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Address {
    /// Index of the buffer.
    pub buffer: usize,
    /// Element of it. A pointer may leave its buffer as long as nothing is read or written there.
    pub element: i64,
}

/// Why a tile cannot be run.
#[derive(Clone, Debug, Error, PartialEq)]
pub enum TileError {
    /// The tile is not well-formed.
    #[error(transparent)]
    Invalid(#[from] VerifyError),
    /// The tile takes another number of pointers.
    #[error("tile `{tile}` takes {expected} pointers, but {found} are given")]
    Pointers {
        /// Name of the tile.
        tile: String,
        /// How many it takes.
        expected: usize,
        /// How many are given.
        found: usize,
    },
    /// A pointer into a buffer that does not exist.
    #[error("there is no buffer {0}")]
    NoBuffer(usize),
    /// An instruction touches memory outside its buffer.
    #[error("`{inst}` touches elements {first}..{end} of buffer {buffer}, which has {len}", end = first + *count as i64)]
    OutOfBounds {
        /// The instruction.
        inst: String,
        /// Index of the buffer.
        buffer: usize,
        /// The first element touched.
        first: i64,
        /// How many are touched.
        count: usize,
        /// Elements of the buffer.
        len: usize,
    },
}

/// Runs a tile whose pointers start at `pointers`, on `memory`.
pub fn run(tile: &Tile, memory: &mut [Vec<f32>], pointers: &[Address]) -> Result<(), TileError> {
    verify::tile(tile)?;
    run_verified(tile, memory, pointers)
}

/// The same for a tile that the verifier has passed.
pub(crate) fn run_verified(tile: &Tile, memory: &mut [Vec<f32>], pointers: &[Address]) -> Result<(), TileError> {
    if pointers.len() != tile.pointers {
        let (expected, found) = (tile.pointers, pointers.len());
        return Err(TileError::Pointers { tile: tile.name.clone(), expected, found });
    }
    if let Some(address) = pointers.iter().find(|address| address.buffer >= memory.len()) {
        return Err(TileError::NoBuffer(address.buffer));
    }
    Machine { tile, memory, pointers: pointers.to_vec(), registers: Vec::new() }.block(&tile.body)
}

type Vector = [f32; MAX_LANES];

/// Lanes of the widest vector.
const MAX_LANES: usize = 16;

struct Machine<'a> {
    tile: &'a Tile,
    memory: &'a mut [Vec<f32>],
    pointers: Vec<Address>,
    registers: Vec<Vector>,
}

impl Machine<'_> {
    fn block(&mut self, body: &[TileStmt]) -> Result<(), TileError> {
        for stmt in body {
            match stmt {
                TileStmt::Loop { trips, body } => {
                    for _ in 0..*trips {
                        self.block(body)?;
                    }
                }
                TileStmt::Advance { ptr, by } => {
                    let element = &mut self.pointers[ptr.0 as usize].element;
                    *element = element.saturating_add(i64::from(*by));
                }
                TileStmt::Inst(inst) => self.inst(inst)?,
            }
        }
        Ok(())
    }

    fn inst(&mut self, inst: &Inst) -> Result<(), TileError> {
        match *inst {
            Inst::Const { dst, value } => self.set(dst, [value; MAX_LANES]),
            Inst::Load { dst, addr, masked } => {
                let count = self.count(masked);
                let mut vector = [0.0; MAX_LANES];
                vector[..count].copy_from_slice(self.elements(inst, addr, count)?);
                self.set(dst, vector);
            }
            Inst::Broadcast { dst, addr } => {
                let value = self.elements(inst, addr, 1)?[0];
                self.set(dst, [value; MAX_LANES]);
            }
            Inst::Store { src, addr, masked } => {
                let (count, vector) = (self.count(masked), self.get(src));
                self.elements(inst, addr, count)?.copy_from_slice(&vector[..count]);
            }
            Inst::Unary { op, dst, a } => {
                let vector = self.get(a).map(|a| op.eval(f64::from(a)) as f32);
                self.set(dst, vector);
            }
            Inst::Binary { op, dst, a, b } => {
                let (a, b) = (self.get(a), self.get(b));
                self.set(dst, std::array::from_fn(|i| binary(op, a[i], b[i])));
            }
            Inst::Fma { acc, a, b } => {
                let (sum, a, b) = (self.get(acc), self.get(a), self.get(b));
                self.set(acc, std::array::from_fn(|i| a[i].mul_add(b[i], sum[i])));
            }
            Inst::FmaBroadcast { acc, addr, b } => {
                let a = self.elements(inst, addr, 1)?[0];
                let (sum, b) = (self.get(acc), self.get(b));
                self.set(acc, std::array::from_fn(|i| a.mul_add(b[i], sum[i])));
            }
        }
        Ok(())
    }

    fn count(&self, masked: bool) -> usize {
        if masked { self.tile.tail } else { self.tile.lanes }
    }

    fn get(&self, reg: Reg) -> Vector {
        self.registers.get(reg.0 as usize).copied().unwrap_or([0.0; MAX_LANES])
    }

    fn set(&mut self, reg: Reg, vector: Vector) {
        let index = reg.0 as usize;
        if self.registers.len() <= index {
            self.registers.resize(index + 1, [0.0; MAX_LANES]);
        }
        self.registers[index] = vector;
    }

    /// `count` elements of memory, if they exist.
    fn elements(&mut self, inst: &Inst, addr: Addr, count: usize) -> Result<&mut [f32], TileError> {
        let Address { buffer, element } = self.pointers[addr.ptr.0 as usize];
        let first = element.saturating_add(i64::from(addr.offset));
        let memory = &mut self.memory[buffer];
        let len = memory.len();
        let range = usize::try_from(first).ok().and_then(|start| Some(start..start.checked_add(count)?));
        range.and_then(|range| memory.get_mut(range)).ok_or_else(|| TileError::OutOfBounds {
            inst: inst.to_string(),
            buffer,
            first,
            count,
            len,
        })
    }
}

/// One lane of a binary instruction: rounding the exact result of two `f32` twice gives what rounding it once gives.
fn binary(op: BinaryOp, a: f32, b: f32) -> f32 {
    match op {
        BinaryOp::Max => {
            if a > b {
                a
            } else {
                b
            }
        }
        BinaryOp::Min => {
            if a < b {
                a
            } else {
                b
            }
        }
        _ => op.eval(f64::from(a), f64::from(b)) as f32,
    }
}
