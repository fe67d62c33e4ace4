//! The loop IR: what one kernel does, in order, over flat `f32` buffers.
//!
//! Every address is an [`Affine`] function of the loop variables, in elements. Variables count from 0 to their extent
//! in steps of 1 and have unique names within a program: schedule steps refer to loops by these names.
//!
//! Invariants, checked by the verifier:
//! - a variable is used only below the loop that declares it;
//! - every address is within its buffer for all values of the variables that satisfy its guards;
//! - [`Expr::Acc`] occurs only in [`Reduce::finish`];
//! - a buffer of kind [`BufferKind::Input`] is never written.

pub mod interp;

use crate::entity::{EntityVec, entity};
use crate::scalar::{BinaryOp, ReduceOp, UnaryOp, any_f32};
use crate::tile::Tile;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// One kernel.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Program {
    /// A name for people; not part of a task's identity.
    pub name: String,
    /// Arguments first, in the order in which the caller passes them, then temporaries.
    pub buffers: EntityVec<BufId, Buffer>,
    /// Names of the loop variables.
    pub vars: EntityVec<Var, String>,
    /// Run once when the weights are known: fills buffers of kind [`BufferKind::Packed`]. Often empty.
    pub setup: Vec<Stmt>,
    /// Run at every call.
    pub body: Vec<Stmt>,
    /// The micro-kernels that `body` calls.
    pub tiles: EntityVec<TileId, Tile>,
}

/// A flat array of `f32`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Buffer {
    /// A name for people, unique in the program.
    pub name: String,
    /// Number of elements.
    pub len: usize,
    /// Who owns it.
    pub kind: BufferKind,
}

/// Who owns a buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum BufferKind {
    /// An argument that the kernel reads.
    Input,
    /// An argument that the kernel writes. It may be part of a larger result: the kernel leaves the other elements unchanged.
    Output,
    /// Scratch memory of one call; its content is undefined before.
    Temp,
    /// Filled by `setup` once and kept: a weight in another layout.
    Packed,
}

entity! {
    /// A buffer of its program.
    BufId, "b"
}

entity! {
    /// A loop variable of its program.
    Var, "i"
}

entity! {
    /// A tile of its program.
    TileId, "t"
}

/// `Σ coefficient · variable + offset`; terms are sorted by variable, without zeros.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Affine {
    /// `(variable, coefficient)`.
    pub terms: Vec<(Var, i64)>,
    /// The constant.
    pub offset: i64,
}

/// An element of a buffer.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Access {
    /// Which buffer.
    pub buffer: BufId,
    /// Which element.
    pub index: Affine,
}

/// A statement.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Stmt {
    /// `for var in 0..extent`.
    For {
        /// The variable.
        var: Var,
        /// How many iterations.
        extent: usize,
        /// How the iterations run.
        kind: LoopKind,
        /// The body.
        body: Vec<Stmt>,
    },
    /// `body` where every bound holds.
    If {
        /// All must hold.
        bounds: Vec<Bound>,
        /// The guarded statements.
        body: Vec<Stmt>,
    },
    /// `target = value`.
    Store {
        /// The element to write.
        target: Access,
        /// The value to write.
        value: Expr,
    },
    /// One element of a reduction, from its start to its last use.
    Reduce(Reduce),
    /// A micro-kernel; one address for each of its pointers.
    Call {
        /// The tile.
        tile: TileId,
        /// Address that each pointer of the tile starts from.
        args: Vec<Access>,
    },
}

/// `acc = init; for each update, for each point of its loops: acc = op(acc, value); target = finish(acc)`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reduce {
    /// Where the result goes.
    pub target: Access,
    /// First value of the accumulator.
    pub init: Expr,
    /// Run one after another.
    pub updates: Vec<Update>,
    /// The result, in terms of [`Expr::Acc`].
    pub finish: Expr,
}

/// One reduction nest into an accumulator.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Update {
    /// `(variable, extent)`, outermost first.
    pub loops: Vec<(Var, usize)>,
    /// [`ReduceOp::Sum`], [`ReduceOp::Max`] or [`ReduceOp::Min`].
    pub op: ReduceOp,
    /// What is combined into the accumulator.
    pub value: Expr,
}

/// How a loop runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum LoopKind {
    /// In order.
    Serial,
    /// Iterations are independent and may run on several threads. Only the outermost loop of a kernel's body.
    Parallel,
    /// Copied out.
    Unrolled,
}

/// `low <= expr < high`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Bound {
    /// The function with the bound.
    pub expr: Affine,
    /// The first value that holds.
    pub low: i64,
    /// The first value above that does not.
    pub high: i64,
}

/// A value of type `f32`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Expr {
    /// A number.
    Const(#[serde(with = "any_f32")] f32),
    /// An element of a buffer.
    Load(Access),
    /// The accumulator of the enclosing [`Reduce`].
    Acc,
    /// A function of one value.
    Unary(UnaryOp, Arc<Expr>),
    /// A function of two values.
    Binary(BinaryOp, Arc<Expr>, Arc<Expr>),
    /// `value` where every bound holds, else `otherwise`. The loads in `value` are executed only if every bound holds.
    Guard {
        /// All must hold.
        bounds: Vec<Bound>,
        /// The value inside.
        value: Arc<Expr>,
        /// The value outside.
        #[serde(with = "any_f32")]
        otherwise: f32,
    },
    /// `value` where `left > right`, else `otherwise`.
    Select {
        /// Left side of the comparison.
        left: Arc<Expr>,
        /// Right side of the comparison.
        right: Arc<Expr>,
        /// The value if it holds.
        value: Arc<Expr>,
        /// The value if it does not hold.
        otherwise: Arc<Expr>,
    },
}

impl Expr {
    /// The expressions that it is made of, from left to right.
    pub fn children(&self) -> impl Iterator<Item = &Expr> {
        let children: [Option<&Arc<Expr>>; 4] = match self {
            Expr::Const(_) | Expr::Load(_) | Expr::Acc => [None; 4],
            Expr::Unary(_, a) => [Some(a), None, None, None],
            Expr::Binary(_, a, b) => [Some(a), Some(b), None, None],
            Expr::Guard { value, .. } => [Some(value), None, None, None],
            Expr::Select { left, right, value, otherwise } => [Some(left), Some(right), Some(value), Some(otherwise)],
        };
        children.into_iter().flatten().map(|child| &**child)
    }

    /// [`Expr::children`], to change them. Those that other expressions share are copied.
    pub fn children_mut(&mut self) -> impl Iterator<Item = &mut Expr> {
        let children: [Option<&mut Arc<Expr>>; 4] = match self {
            Expr::Const(_) | Expr::Load(_) | Expr::Acc => [None, None, None, None],
            Expr::Unary(_, a) => [Some(a), None, None, None],
            Expr::Binary(_, a, b) => [Some(a), Some(b), None, None],
            Expr::Guard { value, .. } => [Some(value), None, None, None],
            Expr::Select { left, right, value, otherwise } => [Some(left), Some(right), Some(value), Some(otherwise)],
        };
        children.into_iter().flatten().map(Arc::make_mut)
    }
}

impl Stmt {
    /// The statements of its body: none unless it is a loop or a condition.
    pub fn children(&self) -> &[Stmt] {
        match self {
            Stmt::For { body, .. } | Stmt::If { body, .. } => body,
            Stmt::Store { .. } | Stmt::Reduce(_) | Stmt::Call { .. } => &[],
        }
    }

    /// [`Stmt::children`], to change them.
    pub fn children_mut(&mut self) -> &mut [Stmt] {
        match self {
            Stmt::For { body, .. } | Stmt::If { body, .. } => body,
            Stmt::Store { .. } | Stmt::Reduce(_) | Stmt::Call { .. } => &mut [],
        }
    }

    /// The expressions that it computes itself, in their order: none of its children's.
    pub fn exprs(&self) -> Vec<&Expr> {
        match self {
            Stmt::For { .. } | Stmt::If { .. } | Stmt::Call { .. } => vec![],
            Stmt::Store { value, .. } => vec![value],
            Stmt::Reduce(Reduce { init, updates, finish, .. }) => {
                let values = updates.iter().map(|update| &update.value);
                std::iter::once(init).chain(values).chain([finish]).collect()
            }
        }
    }

    /// [`Stmt::exprs`], to change them.
    pub fn exprs_mut(&mut self) -> Vec<&mut Expr> {
        match self {
            Stmt::For { .. } | Stmt::If { .. } | Stmt::Call { .. } => vec![],
            Stmt::Store { value, .. } => vec![value],
            Stmt::Reduce(Reduce { init, updates, finish, .. }) => {
                let values = updates.iter_mut().map(|update| &mut update.value);
                std::iter::once(init).chain(values).chain([finish]).collect()
            }
        }
    }

    /// The addresses that it writes, or that the tile of a call may write.
    pub fn targets(&self) -> &[Access] {
        match self {
            Stmt::For { .. } | Stmt::If { .. } => &[],
            Stmt::Store { target, .. } | Stmt::Reduce(Reduce { target, .. }) => std::slice::from_ref(target),
            Stmt::Call { args, .. } => args,
        }
    }

    /// [`Stmt::targets`], to change them.
    pub fn targets_mut(&mut self) -> &mut [Access] {
        match self {
            Stmt::For { .. } | Stmt::If { .. } => &mut [],
            Stmt::Store { target, .. } | Stmt::Reduce(Reduce { target, .. }) => std::slice::from_mut(target),
            Stmt::Call { args, .. } => args,
        }
    }
}

impl Affine {
    /// A constant.
    pub fn constant(offset: i64) -> Self {
        Affine { terms: Vec::new(), offset }
    }

    /// `coefficient · var`.
    pub fn var(var: Var, coefficient: i64) -> Self {
        Affine::constant(0).plus(var, coefficient)
    }

    /// This plus `coefficient · var`.
    #[must_use]
    pub fn plus(mut self, var: Var, coefficient: i64) -> Self {
        match self.terms.binary_search_by_key(&var, |t| t.0) {
            Ok(i) => {
                self.terms[i].1 += coefficient;
                if self.terms[i].1 == 0 {
                    self.terms.remove(i);
                }
            }
            Err(i) if coefficient != 0 => self.terms.insert(i, (var, coefficient)),
            Err(_) => {}
        }
        self
    }

    /// This plus another.
    #[must_use]
    pub fn add(&self, other: &Affine) -> Self {
        let mut sum = self.clone();
        sum.offset += other.offset;
        for &(var, coefficient) in &other.terms {
            sum = sum.plus(var, coefficient);
        }
        sum
    }

    /// This times a constant.
    #[must_use]
    pub fn scale(&self, by: i64) -> Self {
        if by == 0 {
            return Affine::default();
        }
        Affine { terms: self.terms.iter().map(|&(v, c)| (v, c * by)).collect(), offset: self.offset * by }
    }

    /// This plus a constant.
    #[must_use]
    pub fn shift(mut self, by: i64) -> Self {
        self.offset += by;
        self
    }

    /// The coefficient of a variable.
    pub fn coefficient(&self, var: Var) -> i64 {
        self.terms.binary_search_by_key(&var, |t| t.0).map_or(0, |i| self.terms[i].1)
    }

    /// This with a variable replaced.
    #[must_use]
    pub fn substitute(&self, var: Var, by: &Affine) -> Self {
        let coefficient = self.coefficient(var);
        self.clone().plus(var, -coefficient).add(&by.scale(coefficient))
    }

    /// The value, given that of each variable.
    pub fn eval(&self, value: impl Fn(Var) -> i64) -> i64 {
        self.terms.iter().map(|&(v, c)| c * value(v)).sum::<i64>() + self.offset
    }
}
