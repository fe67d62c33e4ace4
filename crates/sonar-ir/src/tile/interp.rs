//! The reference interpreter of tile programs.
//!
//! Every instruction rounds to `f32`, as vector instructions do; a multiply-add rounds once. A pointer is a buffer and a
//! position in it, so an address can never refer to another buffer.

use crate::entity::{Entity, EntityVec};
use crate::loops::BufId;
use crate::scalar::BinaryOp;
use crate::tile::{Addr, Inst, Ptr, Reg, Tile, TileStmt};
use crate::verify::{self, VerifyError};
use thiserror::Error;

/// Where a pointer points: an element of one of the buffers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Address {
    /// The buffer.
    pub buffer: BufId,
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
    NoBuffer(BufId),
    /// An instruction touches memory outside its buffer.
    #[error("`{inst}` touches elements {first}..{end} of buffer {buffer}, which has {len}", end = first + *count as i64)]
    OutOfBounds {
        /// The instruction.
        inst: String,
        /// The buffer.
        buffer: BufId,
        /// The first element touched.
        first: i64,
        /// How many are touched.
        count: usize,
        /// Elements of the buffer.
        len: usize,
    },
}

/// Runs a tile whose pointers start at `pointers`, on `memory`.
pub fn run(tile: &Tile, memory: &mut EntityVec<BufId, Vec<f32>>, pointers: &[Address]) -> Result<(), TileError> {
    verify::tile(tile)?;
    run_verified(tile, memory, pointers)
}

/// The same for a tile that the verifier has passed.
pub(crate) fn run_verified(tile: &Tile, memory: &mut EntityVec<BufId, Vec<f32>>, pointers: &[Address]) -> Result<(), TileError> {
    if pointers.len() != tile.pointers {
        let (expected, found) = (tile.pointers, pointers.len());
        return Err(TileError::Pointers { tile: tile.name.clone(), expected, found });
    }
    if let Some(address) = pointers.iter().find(|address| address.buffer.index() >= memory.len()) {
        return Err(TileError::NoBuffer(address.buffer));
    }
    Interpreter { tile, memory, pointers: pointers.to_vec().into(), registers: EntityVec::new() }.block(&tile.body)
}

type Vector = [f32; MAX_LANES];

/// Lanes of the widest vector.
const MAX_LANES: usize = 16;

struct Interpreter<'a> {
    tile: &'a Tile,
    memory: &'a mut EntityVec<BufId, Vec<f32>>,
    pointers: EntityVec<Ptr, Address>,
    registers: EntityVec<Reg, Vector>,
}

impl Interpreter<'_> {
    fn block(&mut self, body: &[TileStmt]) -> Result<(), TileError> {
        for stmt in body {
            match stmt {
                TileStmt::Loop { trips, body } => {
                    for _ in 0..*trips {
                        self.block(body)?;
                    }
                }
                TileStmt::Advance { ptr, by } => {
                    let element = &mut self.pointers[*ptr].element;
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
            Inst::Copy { dst, a } => {
                let vector = self.get(a);
                self.set(dst, vector);
            }
            Inst::Unary { op, dst, a } => {
                let vector = self.get(a).map(|a| op.eval(f64::from(a)) as f32);
                self.set(dst, vector);
            }
            Inst::Binary { op, dst, a, b } => {
                let (a, b) = (self.get(a), self.get(b));
                self.set(dst, std::array::from_fn(|i| binary(op, a[i], b[i])));
            }
            Inst::Bits { op, dst, a, constant } => {
                let vector = self.get(a).map(|a| op.eval(a, constant));
                self.set(dst, vector);
            }
            Inst::Or { dst, a, b } => {
                let (a, b) = (self.get(a), self.get(b));
                self.set(dst, std::array::from_fn(|i| f32::from_bits(a[i].to_bits() | b[i].to_bits())));
            }
            Inst::Fill { dst, a, value } => {
                let (vector, tail) = (self.get(a), self.tile.tail);
                self.set(dst, std::array::from_fn(|i| if i < tail { vector[i] } else { value }));
            }
            Inst::Swap { dst, a, distance } => {
                let vector = self.get(a);
                self.set(dst, std::array::from_fn(|i| vector[i ^ distance as usize]));
            }
            Inst::StoreFirst { src, addr } => {
                let first = self.get(src)[0];
                self.elements(inst, addr, 1)?[0] = first;
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
        self.registers.get(reg).copied().unwrap_or([0.0; MAX_LANES])
    }

    fn set(&mut self, reg: Reg, vector: Vector) {
        while self.registers.len() <= reg.index() {
            self.registers.push([0.0; MAX_LANES]);
        }
        self.registers[reg] = vector;
    }

    /// `count` elements of memory, if they exist.
    fn elements(&mut self, inst: &Inst, addr: Addr, count: usize) -> Result<&mut [f32], TileError> {
        let Address { buffer, element } = self.pointers[addr.ptr];
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

/// One lane of a binary instruction. For two `f32` operands, rounding the exact result first to double and then to single
/// precision gives the same as rounding it once.
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tile::Ptr;
    use expect_test::expect;

    fn at(ptr: u32, offset: i32) -> Addr {
        Addr { ptr: Ptr(ptr), offset }
    }

    /// `y = relu(Σ a[k] · b[k])` for one row `y` of a full vector and a tail, over 3 rows `b` that are 6 elements apart.
    fn row() -> Tile {
        let (sums, b) = ([Reg(0), Reg(1)], Reg(2));
        let mut body = Vec::new();
        body.extend(sums.map(|dst| TileStmt::Inst(Inst::Const { dst, value: 0.0 })));
        let mut step = Vec::new();
        for (i, acc) in sums.into_iter().enumerate() {
            step.push(TileStmt::Inst(Inst::Load { dst: b, addr: at(1, 4 * i as i32), masked: i == 1 }));
            step.push(TileStmt::Inst(Inst::FmaBroadcast { acc, addr: at(0, 0), b }));
        }
        step.push(TileStmt::Advance { ptr: Ptr(0), by: 1 });
        step.push(TileStmt::Advance { ptr: Ptr(1), by: 6 });
        body.push(TileStmt::Loop { trips: 3, body: step });
        body.push(TileStmt::Inst(Inst::Const { dst: b, value: 0.0 }));
        for (i, src) in sums.into_iter().enumerate() {
            body.push(TileStmt::Inst(Inst::Binary { op: BinaryOp::Max, dst: src, a: b, b: src }));
            body.push(TileStmt::Inst(Inst::Store { src, addr: at(2, 4 * i as i32), masked: i == 1 }));
        }
        Tile { name: "row".to_string(), lanes: 4, tail: 2, pointers: 3, body }
    }

    #[test]
    fn tiles_print_one_instruction_a_line() {
        expect![[r#"
            tile @row lanes=4 tail=2 pointers=3 {
              v0 = const 0.0
              v1 = const 0.0
              loop 3 {
                v2 = load p1[0]
                v0 += p0[0] * v2
                v2 = load.masked p1[4]
                v1 += p0[0] * v2
                p0 += 1
                p1 += 6
              }
              v2 = const 0.0
              v0 = max v2, v0
              store p2[0], v0
              v1 = max v2, v1
              store.masked p2[4], v1
            }
        "#]]
        .assert_eq(&row().to_string());
    }

    #[test]
    fn loops_pointers_and_masks() {
        let b: Vec<f32> = (0..18).map(|i| i as f32 - 3.0).collect();
        let mut memory = vec![vec![9.0, -40.0, 10.0, -1.0], b, vec![7.0; 8]].into();
        let address = |buffer, element| Address { buffer: BufId(buffer), element };
        run(&row(), &mut memory, &[address(0, 1), address(1, 0), address(2, 1)]).unwrap();
        // -40 (i - 3) + 10 (i + 3) - (i + 9) is 141 - 31 i, which is negative in the last column.
        let expected = [141.0, 110.0, 79.0, 48.0, 17.0, 0.0];
        assert_eq!(memory[BufId(2)], [&[7.0][..], &expected[..], &[7.0]].concat());
    }

    #[test]
    fn memory_that_is_not_there_is_not_touched() {
        let mut memory = vec![vec![0.0; 3], vec![0.0; 18], vec![0.0; 6]].into();
        let address = |buffer, element| Address { buffer: BufId(buffer), element };
        let pointers = |y| [address(0, 0), address(1, 0), address(2, y)];
        assert_eq!(run(&row(), &mut memory, &pointers(0)), Ok(()));
        let inst = "store.masked p2[4], v1".to_string();
        let expected = TileError::OutOfBounds { inst, buffer: BufId(2), first: 5, count: 2, len: 6 };
        assert_eq!(run(&row(), &mut memory, &pointers(1)), Err(expected.clone()));
        assert_eq!(expected.to_string(), "`store.masked p2[4], v1` touches elements 5..7 of buffer b2, which has 6");
        assert!(matches!(run(&row(), &mut memory, &pointers(-1)), Err(TileError::OutOfBounds { first: -1, .. })));
        assert_eq!(run(&row(), &mut memory, &[address(3, 0); 3]), Err(TileError::NoBuffer(BufId(3))));
        assert!(matches!(run(&row(), &mut memory, &[]), Err(TileError::Pointers { expected: 3, found: 0, .. })));
    }

    #[test]
    fn max_and_min_give_the_right_operand_if_either_is_not_a_number() {
        for (a, b, max) in [(1.0, f32::NAN, f32::NAN), (f32::NAN, 1.0, 1.0), (2.0, 1.0, 2.0)] {
            assert_eq!(binary(BinaryOp::Max, a, b).to_bits(), f32::to_bits(max));
        }
        assert_eq!(binary(BinaryOp::Min, f32::NAN, 1.0), 1.0);
    }
}
