//! Tile programs: what a micro-kernel does, as counted loops around straight-line vector code.
//!
//! A tile works on virtual vector registers of `lanes` `f32` each and on a few pointers. There is one generator (it lives
//! in `sonar-schedule`, from an inner loop nest to a tile) and one emitter for each instruction set (in `sonar-codegen`).
//!
//! Invariants, checked by the verifier:
//! - a register is written before it is read, on every path (loops run at least once);
//! - the registers that are live at one point number at most [`Tile::REGISTERS_512`] (lanes = 16) or
//!   [`Tile::REGISTERS_256`] (fewer lanes): a tile that would spill is illegal;
//! - `masked` and `fill` instructions appear only if `tail` is in `1..lanes`;
//! - loops nest at most [`Tile::MAX_DEPTH`] deep, and pointers number at most [`Tile::MAX_POINTERS`].

pub mod interp;

use crate::entity::entity;
use crate::scalar::{BinaryOp, UnaryOp, any_f32, named_ops};
use serde::{Deserialize, Serialize};
use std::fmt;

/// A micro-kernel.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Tile {
    /// A name for people; tiles that differ only in their name are the same tile.
    pub name: String,
    /// Lanes of a vector register: 4, 8 or 16.
    pub lanes: usize,
    /// Lanes that `masked` instructions touch; 0 if there are none.
    pub tail: usize,
    /// How many pointers the caller passes.
    pub pointers: usize,
    /// The code.
    pub body: Vec<TileStmt>,
}

entity! {
    /// A virtual vector register.
    Reg, "v"
}

entity! {
    /// A pointer that the caller passes.
    Ptr, "p"
}

/// `pointer + offset` elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Addr {
    /// The pointer.
    pub ptr: Ptr,
    /// Elements after it; its byte value fits 32 bits.
    pub offset: i32,
}

/// A statement of a tile.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum TileStmt {
    /// `body`, `trips` times (at least once).
    Loop {
        /// Number of iterations.
        trips: u32,
        /// The body.
        body: Vec<TileStmt>,
    },
    /// Moves a pointer by a number of elements.
    Advance {
        /// The pointer.
        ptr: Ptr,
        /// Number of elements.
        by: i32,
    },
    /// One vector instruction.
    Inst(Inst),
}

named_ops! {
    /// A function of the 32 bits of a number, and of a constant of 32 bits.
    BitsOp {
        /// Shifted left; zeros come in.
        Shl = "shl",
        /// Shifted right; zeros come in.
        Shr = "shr",
        /// The bits that are set in both.
        And = "and",
        /// The bits that are set in either.
        Or = "or",
    }
}

impl BitsOp {
    /// The value. A shift must be by less than 32.
    pub fn eval(self, x: f32, constant: u32) -> f32 {
        let bits = x.to_bits();
        f32::from_bits(match self {
            BitsOp::Shl => bits << (constant & 31),
            BitsOp::Shr => bits >> (constant & 31),
            BitsOp::And => bits & constant,
            BitsOp::Or => bits | constant,
        })
    }
}

/// A vector instruction. `masked` ones touch only the first `tail` lanes of memory; lanes not loaded are 0.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum Inst {
    /// All lanes are `value`.
    Const {
        /// Result.
        dst: Reg,
        /// The number.
        #[serde(with = "any_f32")]
        value: f32,
    },
    /// Consecutive elements.
    Load {
        /// Result.
        dst: Reg,
        /// Address to load from.
        addr: Addr,
        /// Whether only the first `tail` lanes.
        masked: bool,
    },
    /// One element in every lane.
    Broadcast {
        /// Result.
        dst: Reg,
        /// Address to load from.
        addr: Addr,
    },
    /// Consecutive elements.
    Store {
        /// The register to store.
        src: Reg,
        /// Address to store to.
        addr: Addr,
        /// Whether only the first `tail` lanes.
        masked: bool,
    },
    /// The same value in another register.
    Copy {
        /// Result.
        dst: Reg,
        /// Operand.
        a: Reg,
    },
    /// A function of each lane: neg, step, abs or sqrt.
    Unary {
        /// The function.
        op: UnaryOp,
        /// Result.
        dst: Reg,
        /// Operand.
        a: Reg,
    },
    /// A function of two lanes. `max` and `min` follow processors, not [`BinaryOp`]: if either operand is NaN they give `b`.
    /// So if `a` is a number, a NaN in `b` stays NaN.
    Binary {
        /// The function.
        op: BinaryOp,
        /// Result.
        dst: Reg,
        /// Left operand.
        a: Reg,
        /// Right operand.
        b: Reg,
    },
    /// A function of the bits of each lane.
    Bits {
        /// The function.
        op: BitsOp,
        /// Result.
        dst: Reg,
        /// Operand.
        a: Reg,
        /// The constant; less than 32 for a shift.
        constant: u32,
    },
    /// The bits that are set in either register.
    Or {
        /// Result.
        dst: Reg,
        /// Left operand.
        a: Reg,
        /// Right operand.
        b: Reg,
    },
    /// The first `tail` lanes of `a`, and `value` in the others.
    Fill {
        /// Result.
        dst: Reg,
        /// Operand.
        a: Reg,
        /// The value of the other lanes.
        #[serde(with = "any_f32")]
        value: f32,
    },
    /// Lane `i` is lane `i xor distance` of `a`.
    Swap {
        /// Result.
        dst: Reg,
        /// Operand.
        a: Reg,
        /// A power of two below the number of lanes.
        distance: u32,
    },
    /// Stores the first lane only.
    StoreFirst {
        /// The register to store.
        src: Reg,
        /// Address to store to.
        addr: Addr,
    },
    /// `acc = acc + a · b`, rounded once where the target has a fused multiply-add.
    Fma {
        /// Read and written.
        acc: Reg,
        /// Left factor.
        a: Reg,
        /// Right factor.
        b: Reg,
    },
    /// `acc = acc + element · b` with the element broadcast from memory; a plain `Broadcast` and `Fma` in one.
    FmaBroadcast {
        /// Read and written.
        acc: Reg,
        /// The factor that is one element.
        addr: Addr,
        /// The factor that is a vector.
        b: Reg,
    },
}

impl Inst {
    /// The registers that it reads; an accumulator is one of them.
    pub fn reads(&self) -> impl Iterator<Item = Reg> + use<> {
        let registers = match *self {
            Inst::Const { .. } | Inst::Load { .. } | Inst::Broadcast { .. } => [None; 3],
            Inst::Store { src, .. } | Inst::StoreFirst { src, .. } => [Some(src), None, None],
            Inst::Copy { a, .. } | Inst::Unary { a, .. } => [Some(a), None, None],
            Inst::Bits { a, .. } | Inst::Fill { a, .. } | Inst::Swap { a, .. } => [Some(a), None, None],
            Inst::Binary { a, b, .. } | Inst::Or { a, b, .. } => [Some(a), Some(b), None],
            Inst::Fma { acc, a, b } => [Some(acc), Some(a), Some(b)],
            Inst::FmaBroadcast { acc, b, .. } => [Some(acc), Some(b), None],
        };
        registers.into_iter().flatten()
    }

    /// The register that it writes.
    pub fn writes(&self) -> Option<Reg> {
        match *self {
            Inst::Const { dst, .. } | Inst::Load { dst, .. } | Inst::Broadcast { dst, .. } => Some(dst),
            Inst::Copy { dst, .. } | Inst::Unary { dst, .. } | Inst::Binary { dst, .. } => Some(dst),
            Inst::Bits { dst, .. } | Inst::Or { dst, .. } | Inst::Fill { dst, .. } | Inst::Swap { dst, .. } => Some(dst),
            Inst::Fma { acc, .. } | Inst::FmaBroadcast { acc, .. } => Some(acc),
            Inst::Store { .. } | Inst::StoreFirst { .. } => None,
        }
    }

    /// The address that it touches.
    pub fn address(&self) -> Option<Addr> {
        match *self {
            Inst::Load { addr, .. } | Inst::Broadcast { addr, .. } | Inst::FmaBroadcast { addr, .. } => Some(addr),
            Inst::Store { addr, .. } | Inst::StoreFirst { addr, .. } => Some(addr),
            _ => None,
        }
    }
}

impl Tile {
    /// Vector registers with 512-bit vectors.
    pub const REGISTERS_512: usize = 32;
    /// Vector registers with 256-bit and 128-bit vectors.
    pub const REGISTERS_256: usize = 16;
    /// How deep loops may nest.
    pub const MAX_DEPTH: usize = 4;
    /// How many pointers a tile may take.
    pub const MAX_POINTERS: usize = 12;

    /// Whether two tiles are equal except for their names.
    pub fn same_code(&self, other: &Tile) -> bool {
        (self.lanes, self.tail, self.pointers) == (other.lanes, other.tail, other.pointers) && self.body == other.body
    }

    /// Vector registers that the instruction set with this many lanes has.
    pub fn registers(lanes: usize) -> usize {
        if lanes == 16 { Self::REGISTERS_512 } else { Self::REGISTERS_256 }
    }
}
