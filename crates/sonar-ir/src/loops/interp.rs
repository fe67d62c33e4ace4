//! The reference interpreter of loop programs.
//!
//! Expressions and accumulators are computed in double precision, within the range of single precision, and rounded to `f32`
//! where they are stored. Micro-kernels run on [`crate::tile::interp`]. Memory that a program must write before it reads it
//! starts as NaN.

use crate::entity::EntityVec;
use crate::loops::*;
use crate::scalar::in_f32_range;
use crate::tile::interp::{Address, TileError, run_verified};
use crate::verify::{self, VerifyError};
use thiserror::Error;

/// Why a loop program cannot be run.
#[derive(Clone, Debug, Error, PartialEq)]
pub enum LoopsError {
    /// The program is not well-formed.
    #[error(transparent)]
    Invalid(#[from] VerifyError),
    /// The program takes another number of arguments.
    #[error("`{program}` takes {expected} arguments, but {found} are given")]
    Arguments {
        /// Name of the program.
        program: String,
        /// How many it takes.
        expected: usize,
        /// How many are given.
        found: usize,
    },
    /// An argument has another length.
    #[error("`{buffer}` has {expected} elements, but {found} are given")]
    Length {
        /// Name of the buffer.
        buffer: String,
        /// Its length.
        expected: usize,
        /// The length given.
        found: usize,
    },
    /// A load or a store is outside its buffer.
    #[error("element {index} of `{buffer}` does not exist: it has {len}")]
    OutOfBounds {
        /// Name of the buffer.
        buffer: String,
        /// The element.
        index: i64,
        /// Elements of the buffer.
        len: usize,
    },
    /// A micro-kernel failed.
    #[error("in tile `{tile}`: {error}")]
    Tile {
        /// Name of the tile.
        tile: String,
        /// The error of the tile.
        error: TileError,
    },
}

/// Runs a program, its setup first. `args` are the buffers of kind input and output, in order. Elements of an output that the
/// program does not write stay unchanged.
///
/// ```
/// use sonar_ir::loops::*;
/// use sonar_ir::loops::interp;
///
/// // for i in 0..3: y[i] = x[2 - i]
/// let (x, y, i) = (BufId(0), BufId(1), Var(0));
/// let load = Expr::Load(Access { buffer: x, index: Affine::var(i, -1).shift(2) });
/// let store = Stmt::Store { target: Access { buffer: y, index: Affine::var(i, 1) }, value: load };
/// let buffer = |name: &str, kind| Buffer { name: name.to_string(), len: 3, kind };
/// let program = Program {
///     name: "reverse".to_string(),
///     buffers: vec![buffer("x", BufferKind::Input), buffer("y", BufferKind::Output)].into(),
///     vars: vec!["i".to_string()].into(),
///     setup: vec![],
///     body: vec![Stmt::For { var: i, extent: 3, kind: LoopKind::Serial, body: vec![store] }],
///     tiles: vec![].into(),
/// };
/// let mut args = [vec![1.0, 2.0, 3.0], vec![0.0; 3]];
/// interp::run(&program, &mut args)?;
/// assert_eq!(args[1], [3.0, 2.0, 1.0]);
/// # Ok::<(), interp::LoopsError>(())
/// ```
pub fn run(program: &Program, args: &mut [Vec<f32>]) -> Result<(), LoopsError> {
    verify::program(program)?;
    let arguments = check_arguments(program, args)?;
    let mut memory = program.buffers.map(|(_, buffer)| vec![f32::NAN; buffer.len]);
    for (&buffer, arg) in arguments.iter().zip(&mut *args) {
        std::mem::swap(&mut memory[buffer], arg);
    }
    let mut interpreter = Interpreter { program, memory, vars: EntityVec::filled(0, program.vars.len()) };
    let result = interpreter.block(&program.setup).and_then(|()| interpreter.block(&program.body));
    for (&buffer, arg) in arguments.iter().zip(args) {
        *arg = std::mem::take(&mut interpreter.memory[buffer]);
    }
    result
}

/// Indices of the buffers that are arguments, if `args` fit them.
fn check_arguments(program: &Program, args: &[Vec<f32>]) -> Result<Vec<BufId>, LoopsError> {
    let is_argument = |buffer: &Buffer| matches!(buffer.kind, BufferKind::Input | BufferKind::Output);
    let arguments: Vec<BufId> = program.buffers.keys().filter(|&id| is_argument(&program.buffers[id])).collect();
    if arguments.len() != args.len() {
        let (expected, found) = (arguments.len(), args.len());
        return Err(LoopsError::Arguments { program: program.name.clone(), expected, found });
    }
    for (&i, arg) in arguments.iter().zip(args) {
        let Buffer { name, len, .. } = &program.buffers[i];
        if *len != arg.len() {
            return Err(LoopsError::Length { buffer: name.clone(), expected: *len, found: arg.len() });
        }
    }
    Ok(arguments)
}

struct Interpreter<'a> {
    program: &'a Program,
    /// One for each buffer.
    memory: EntityVec<BufId, Vec<f32>>,
    /// The current value of each variable.
    vars: EntityVec<Var, i64>,
}

impl Interpreter<'_> {
    fn block(&mut self, body: &[Stmt]) -> Result<(), LoopsError> {
        body.iter().try_for_each(|stmt| self.stmt(stmt))
    }

    fn stmt(&mut self, stmt: &Stmt) -> Result<(), LoopsError> {
        match stmt {
            Stmt::For { var, extent, body, .. } => {
                for i in 0..*extent {
                    self.vars[*var] = i as i64;
                    self.block(body)?;
                }
                Ok(())
            }
            Stmt::If { bounds, body } => {
                if self.hold(bounds) {
                    self.block(body)?;
                }
                Ok(())
            }
            Stmt::Store { target, value } => {
                let value = self.value(value, f64::NAN)?;
                self.store(target, value)
            }
            Stmt::Reduce(reduce) => {
                let mut acc = self.value(&reduce.init, f64::NAN)?;
                for update in &reduce.updates {
                    acc = self.update(update, &update.loops, acc)?;
                }
                let value = self.value(&reduce.finish, acc)?;
                self.store(&reduce.target, value)
            }
            Stmt::Call { tile, args } => {
                let address = |arg: &Access| Address { buffer: arg.buffer, element: self.index(arg) };
                let pointers: Vec<Address> = args.iter().map(address).collect();
                let tile = &self.program.tiles[*tile];
                run_verified(tile, &mut self.memory, &pointers)
                    .map_err(|error| LoopsError::Tile { tile: tile.name.clone(), error })
            }
        }
    }

    /// The accumulator after all points of `loops`, which are the loops of the update that have not run yet.
    fn update(&mut self, update: &Update, loops: &[(Var, usize)], acc: f64) -> Result<f64, LoopsError> {
        let Some((&(var, extent), inner)) = loops.split_first() else {
            let value = self.value(&update.value, f64::NAN)?;
            return Ok(update.op.combine().eval(acc, value));
        };
        (0..extent).try_fold(acc, |acc, i| {
            self.vars[var] = i as i64;
            self.update(update, inner, acc)
        })
    }

    /// The value of an expression whose accumulator is `acc`.
    fn value(&self, expr: &Expr, acc: f64) -> Result<f64, LoopsError> {
        match expr {
            Expr::Const(value) => Ok(f64::from(*value)),
            Expr::Load(access) => {
                let index = self.index(access);
                let memory = &self.memory[access.buffer];
                let element = usize::try_from(index).ok().and_then(|i| memory.get(i));
                element.map(|&v| f64::from(v)).ok_or_else(|| self.out_of_bounds(access, index))
            }
            Expr::Acc => Ok(acc),
            Expr::Unary(op, a) => Ok(in_f32_range(op.eval(self.value(a, acc)?))),
            Expr::Binary(op, a, b) => Ok(in_f32_range(op.eval(self.value(a, acc)?, self.value(b, acc)?))),
            Expr::Guard { bounds, value, .. } if self.hold(bounds) => self.value(value, acc),
            Expr::Guard { otherwise, .. } => Ok(f64::from(*otherwise)),
            Expr::Select { left, right, value, otherwise } => {
                let holds = self.value(left, acc)? > self.value(right, acc)?;
                self.value(if holds { value } else { otherwise }, acc)
            }
        }
    }

    fn store(&mut self, target: &Access, value: f64) -> Result<(), LoopsError> {
        let index = self.index(target);
        let memory = &mut self.memory[target.buffer];
        match usize::try_from(index).ok().and_then(|i| memory.get_mut(i)) {
            Some(element) => *element = value as f32,
            None => return Err(self.out_of_bounds(target, index)),
        }
        Ok(())
    }

    fn index(&self, access: &Access) -> i64 {
        self.affine(&access.index)
    }

    fn affine(&self, affine: &Affine) -> i64 {
        affine.eval(|var| self.vars[var])
    }

    fn hold(&self, bounds: &[Bound]) -> bool {
        bounds.iter().all(|bound| (bound.low..bound.high).contains(&self.affine(&bound.expr)))
    }

    fn out_of_bounds(&self, access: &Access, index: i64) -> LoopsError {
        let Buffer { name, len, .. } = &self.program.buffers[access.buffer];
        LoopsError::OutOfBounds { buffer: name.clone(), index, len: *len }
    }
}

#[cfg(test)]
mod tests;
