//! Verifier of loop programs.

use super::bounds::Scope;
use super::races::dependence;
use super::tile::{Footprint, footprints};
use super::{MAX_ELEMENTS, VerifyError};
use crate::entity::{Entity, EntityVec};
use crate::loops::*;
use crate::scalar::ReduceOp;
use crate::tile::Ptr;
use std::collections::BTreeSet;
use thiserror::Error;

/// Why a loop program is not well-formed.
#[derive(Clone, Debug, Error, PartialEq)]
pub enum ProgramProblem {
    /// An argument comes after a temporary.
    #[error("argument `{0}` comes after a buffer that is none")]
    ArgumentOrder(String),
    /// Two buffers or two variables share a name.
    #[error("the name `{0}` is used twice")]
    DuplicateName(String),
    /// A buffer is too long.
    #[error("buffer `{0}` has too many elements")]
    TooLong(String),
    /// A buffer that does not exist.
    #[error("there is no buffer {0}")]
    NoBuffer(BufId),
    /// A tile that does not exist.
    #[error("there is no tile {0}")]
    NoTile(TileId),
    /// A call with another number of pointers than the tile takes.
    #[error("tile `{tile}` takes {expected} pointers, but {found} are passed")]
    Pointers {
        /// Name of the tile.
        tile: String,
        /// How many it takes.
        expected: usize,
        /// How many are passed.
        found: usize,
    },
    /// A variable outside the loop that declares it.
    #[error("variable `{0}` is used outside its loop")]
    Undeclared(String),
    /// A loop over a variable that an enclosing loop declares.
    #[error("variable `{0}` is declared within its own loop")]
    Redeclared(String),
    /// A loop that does not run.
    #[error("the loop over `{0}` runs 0 times")]
    EmptyLoop(String),
    /// A parallel loop that is not outermost in the body.
    #[error("the parallel loop over `{0}` is not outermost in the body")]
    NestedParallel(String),
    /// A parallel loop whose iterations are not independent.
    #[error("iterations of the parallel loop over `{var}` may depend on each other through `{buffer}`")]
    Dependent {
        /// Name of the variable.
        var: String,
        /// Name of the buffer.
        buffer: String,
    },
    /// An affine function that breaks the rules of its type.
    #[error("`{0}` is not sorted by variable and without zeros, or too large")]
    Affine(Affine),
    /// The accumulator is used outside the end of a reduction.
    #[error("the accumulator is used outside the end of a reduction")]
    Accumulator,
    /// A reduction whose accumulator is not a single number.
    #[error("an update cannot combine by {0}")]
    Update(ReduceOp),
    /// A buffer is written where it may not be.
    #[error("the {part} writes the {kind} buffer `{buffer}`")]
    Written {
        /// Name of the buffer.
        buffer: String,
        /// Its kind.
        kind: BufferKind,
        /// Where: `setup` or `body`.
        part: &'static str,
    },
    /// An address that may be outside its buffer.
    #[error("`{access}` may be outside `{buffer}`, which has {len} elements (touched: {touched:?} relative to the address)")]
    OutOfBounds {
        /// Name of the buffer.
        buffer: String,
        /// Its length.
        len: usize,
        /// The address.
        access: String,
        /// The first and the last element touched, relative to the address.
        touched: (i64, i64),
    },
}

/// Checks that a loop program is well-formed.
pub fn program(program: &Program) -> Result<(), VerifyError> {
    program.tiles.iter().try_for_each(super::tile)?;
    check(program).map_err(|problem| VerifyError::Program { name: program.name.clone(), problem })
}

fn check(program: &Program) -> Result<(), ProgramProblem> {
    check_declarations(program)?;
    let scope = Scope::new(program.vars.len());
    let mut checker = Checker { program, footprints: program.tiles.iter().map(footprints).collect(), scope, part: "setup" };
    checker.block(&program.setup)?;
    checker.part = "body";
    for stmt in &program.body {
        match stmt {
            Stmt::For { var, extent, kind, body } => {
                checker.with_loop(*var, *extent, |c| c.block(body))?;
                if *kind == LoopKind::Parallel
                    && let Some(buffer) = dependence(program, *var, *extent, body)
                {
                    let buffer = program.buffers[buffer].name.clone();
                    return Err(ProgramProblem::Dependent { var: checker.name(*var), buffer });
                }
            }
            _ => checker.stmt(stmt)?,
        }
    }
    Ok(())
}

fn check_declarations(program: &Program) -> Result<(), ProgramProblem> {
    let is_argument = |buffer: &Buffer| matches!(buffer.kind, BufferKind::Input | BufferKind::Output);
    let temporaries = program.buffers.iter().skip_while(|buffer| is_argument(buffer));
    if let Some(buffer) = temporaries.clone().find(|buffer| is_argument(buffer)) {
        return Err(ProgramProblem::ArgumentOrder(buffer.name.clone()));
    }
    if let Some(buffer) = program.buffers.iter().find(|buffer| buffer.len > MAX_ELEMENTS) {
        return Err(ProgramProblem::TooLong(buffer.name.clone()));
    }
    let buffers: Vec<&String> = program.buffers.iter().map(|buffer| &buffer.name).collect();
    for names in [buffers, program.vars.iter().collect()] {
        let mut seen = BTreeSet::new();
        if let Some(name) = names.into_iter().find(|name| !seen.insert(*name)) {
            return Err(ProgramProblem::DuplicateName(name.clone()));
        }
    }
    Ok(())
}

struct Checker<'a> {
    program: &'a Program,
    /// For each tile, the footprint of each of its pointers.
    footprints: EntityVec<TileId, EntityVec<Ptr, Footprint>>,
    scope: Scope,
    /// `setup` or `body`.
    part: &'static str,
}

type Check = Result<(), ProgramProblem>;

impl Checker<'_> {
    fn block(&mut self, body: &[Stmt]) -> Check {
        body.iter().try_for_each(|stmt| self.stmt(stmt))
    }

    fn stmt(&mut self, stmt: &Stmt) -> Check {
        match stmt {
            Stmt::For { var, kind: LoopKind::Parallel, .. } => Err(ProgramProblem::NestedParallel(self.name(*var))),
            Stmt::For { var, extent, body, .. } => self.with_loop(*var, *extent, |checker| checker.block(body)),
            Stmt::If { bounds, body } => self.with_bounds(bounds, |checker| checker.block(body)),
            Stmt::Store { target, value } => {
                self.store(target)?;
                self.expr(value, false)
            }
            Stmt::Reduce(reduce) => {
                self.store(&reduce.target)?;
                self.expr(&reduce.init, false)?;
                reduce.updates.iter().try_for_each(|update| self.update(update, &update.loops))?;
                self.expr(&reduce.finish, true)
            }
            Stmt::Call { tile, args } => self.call(*tile, args),
        }
    }

    fn call(&mut self, tile: TileId, args: &[Access]) -> Check {
        let footprints = self.footprints.get(tile).cloned().ok_or(ProgramProblem::NoTile(tile))?;
        if footprints.len() != args.len() {
            let name = self.program.tiles[tile].name.clone();
            return Err(ProgramProblem::Pointers { tile: name, expected: footprints.len(), found: args.len() });
        }
        for (arg, footprint) in args.iter().zip(footprints) {
            if footprint.written {
                self.check_writable(arg.buffer)?;
            }
            self.affine(&arg.index)?;
            match footprint.touched {
                Some(touched) => self.access(arg, touched)?,
                None => _ = self.buffer(arg.buffer)?,
            }
        }
        Ok(())
    }

    /// Checks the update below `loops`, which are the loops of its nest that are not in scope yet.
    fn update(&mut self, update: &Update, loops: &[(Var, usize)]) -> Check {
        match loops.split_first() {
            Some((&(var, extent), inner)) => self.with_loop(var, extent, |checker| checker.update(update, inner)),
            None if update.op == ReduceOp::Mean => Err(ProgramProblem::Update(update.op)),
            None => self.expr(&update.value, false),
        }
    }

    fn expr(&mut self, expr: &Expr, in_finish: bool) -> Check {
        match expr {
            Expr::Const(_) => Ok(()),
            Expr::Load(access) => self.access(access, (0, 0)),
            Expr::Acc if in_finish => Ok(()),
            Expr::Acc => Err(ProgramProblem::Accumulator),
            Expr::Unary(_, a) => self.expr(a, in_finish),
            Expr::Binary(_, a, b) => {
                self.expr(a, in_finish)?;
                self.expr(b, in_finish)
            }
            Expr::Guard { bounds, value, .. } => self.with_bounds(bounds, |checker| checker.expr(value, in_finish)),
            Expr::Select { left, right, value, otherwise } => {
                [left, right, value, otherwise].into_iter().try_for_each(|expr| self.expr(expr, in_finish))
            }
        }
    }

    fn with_loop(&mut self, var: Var, extent: usize, check: impl FnOnce(&mut Self) -> Check) -> Check {
        if var.index() >= self.program.vars.len() {
            return Err(ProgramProblem::Undeclared(self.name(var)));
        }
        if self.scope.extent(var).is_some() {
            return Err(ProgramProblem::Redeclared(self.name(var)));
        }
        if extent == 0 {
            return Err(ProgramProblem::EmptyLoop(self.name(var)));
        }
        self.scope.set_extent(var, Some(extent));
        check(self)?;
        self.scope.set_extent(var, None);
        Ok(())
    }

    fn with_bounds(&mut self, bounds: &[Bound], check: impl FnOnce(&mut Self) -> Check) -> Check {
        bounds.iter().try_for_each(|bound| self.affine(&bound.expr))?;
        self.scope.assume(bounds);
        check(self)?;
        self.scope.retract(bounds);
        Ok(())
    }

    fn store(&mut self, target: &Access) -> Check {
        self.check_writable(target.buffer)?;
        self.access(target, (0, 0))
    }

    fn check_writable(&self, buffer: BufId) -> Check {
        let Buffer { name, kind, .. } = self.buffer(buffer)?;
        match (self.part, kind) {
            (_, BufferKind::Temp) | ("setup", BufferKind::Packed) | ("body", BufferKind::Output) => Ok(()),
            (part, &kind) => Err(ProgramProblem::Written { buffer: name.clone(), kind, part }),
        }
    }

    /// Checks that the elements `touched`, relative to an address, are within its buffer.
    fn access(&self, access: &Access, touched: (i64, i64)) -> Check {
        self.affine(&access.index)?;
        let Buffer { name, len, .. } = self.buffer(access.buffer)?;
        let (low, high) = (-i128::from(touched.0), *len as i128 - i128::from(touched.1));
        if self.scope.within(&access.index, low, high) {
            return Ok(());
        }
        let access = crate::print::access(self.program, access);
        Err(ProgramProblem::OutOfBounds { buffer: name.clone(), len: *len, access, touched })
    }

    fn affine(&self, affine: &Affine) -> Check {
        let mut size = u128::from(affine.offset.unsigned_abs());
        for &(var, coefficient) in &affine.terms {
            let extent = self.scope.extent(var).ok_or_else(|| ProgramProblem::Undeclared(self.name(var)))?;
            let term = u128::from(coefficient.unsigned_abs()).saturating_mul(extent as u128);
            size = size.saturating_add(term);
        }
        let sorted = affine.terms.windows(2).all(|pair| pair[0].0 < pair[1].0);
        if !sorted || affine.terms.iter().any(|term| term.1 == 0) || size >= 1 << 62 {
            return Err(ProgramProblem::Affine(affine.clone()));
        }
        Ok(())
    }

    fn buffer(&self, id: BufId) -> Result<&Buffer, ProgramProblem> {
        self.program.buffers.get(id).ok_or(ProgramProblem::NoBuffer(id))
    }

    fn name(&self, var: Var) -> String {
        self.program.vars.get(var).cloned().unwrap_or_else(|| var.to_string())
    }
}
