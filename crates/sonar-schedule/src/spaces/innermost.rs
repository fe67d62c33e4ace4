//! The innermost statements of a program and the loops around them.

use sonar_ir::loops::{LoopKind, Program, Stmt, Var};

use crate::footprints::flops;
use crate::microkernels::{Nest, NestShape};

/// Operations counted for each of several stores.
const SHARED: u64 = 5;

/// A reduction, a store, or the stores in the body of a loop, with the surrounding loops.
#[derive(Clone, Debug)]
pub(crate) struct Leaf {
    /// Loops around it, outermost first.
    pub(crate) loops: Vec<(Var, usize)>,
    /// How many of the inner loops are perfectly nested around it.
    pub(crate) perfect: usize,
    /// The statements.
    pub(crate) stmts: Vec<Stmt>,
}

/// Every leaf in some statements, in order.
pub(crate) fn leaves(stmts: &[Stmt]) -> Vec<Leaf> {
    let mut leaves = Vec::new();
    collect(stmts, &mut vec![], 0, &mut leaves);
    leaves
}

/// The leaf that takes most of a program's time: the one with the most operations, or the last one if several are equal.
pub(crate) fn main_leaf(program: &Program) -> Option<Leaf> {
    leaves(&program.body).into_iter().max_by_key(Leaf::work)
}

fn collect(stmts: &[Stmt], loops: &mut Vec<(Var, usize)>, perfect: usize, leaves: &mut Vec<Leaf>) {
    let single = stmts.len() == 1;
    if stmts.len() > 1 && stmts.iter().all(|stmt| matches!(stmt, Stmt::Store { .. })) {
        return leaves.push(Leaf { loops: loops.clone(), perfect, stmts: stmts.to_vec() });
    }
    for stmt in stmts {
        let perfect = if single { perfect } else { 0 };
        match stmt {
            Stmt::For { var, extent, kind, body } => {
                loops.push((*var, *extent));
                collect(body, loops, if *kind == LoopKind::Serial { perfect + 1 } else { 0 }, leaves);
                loops.pop();
            }
            Stmt::If { body, .. } => collect(body, loops, 0, leaves),
            Stmt::Store { .. } | Stmt::Reduce(_) => {
                leaves.push(Leaf { loops: loops.clone(), perfect, stmts: vec![stmt.clone()] });
            }
            Stmt::Call { .. } => {}
        }
    }
}

impl Leaf {
    /// How often the statements run.
    pub(crate) fn trips(&self) -> u64 {
        self.loops.iter().map(|l| l.1 as u64).product()
    }

    /// Number of operations. A copied element counts as one. Several stores share most of their computation, so each store
    /// counts as a few operations.
    pub(crate) fn work(&self) -> u64 {
        let once = if self.stmts.len() > 1 { SHARED * self.stmts.len() as u64 } else { 1 + flops::of(&self.stmts) };
        self.trips() * once
    }

    /// The perfectly nested loops, outermost first.
    pub(crate) fn nest_loops(&self) -> &[(Var, usize)] {
        &self.loops[self.loops.len() - self.perfect..]
    }

    /// The position, among the perfectly nested loops, of the loop that is split into blocks: the one outside of the two loops
    /// of the tile, or the outermost if there are no more.
    pub(crate) fn block_loop(&self) -> Option<usize> {
        Some(self.perfect.checked_sub(1)?.saturating_sub(2))
    }

    /// The nest that becomes a tile, with its analysis. Its columns are consecutive elements of the target. If that is not
    /// possible, they are the elements that a reduction walks over.
    pub(crate) fn candidate(&self) -> Option<(Nest<'_>, NestShape)> {
        let along = self.tile_loops().and_then(|nest| Some((nest, NestShape::new(nest)?)));
        along.or_else(|| {
            let nest = Nest::across(&self.stmts, self.nest_loops().last().copied())?;
            Some((nest, NestShape::new(nest)?))
        })
    }

    /// From the two innermost loops: the loop over consecutive elements of the target, and the loop over rows next to it.
    pub(crate) fn tile_loops(&self) -> Option<Nest<'_>> {
        let target = match self.stmts.first()? {
            Stmt::Store { target, .. } => target,
            Stmt::Reduce(reduce) => &reduce.target,
            _ => return None,
        };
        let nest = self.nest_loops();
        let last = *nest.last()?;
        let before = nest.len().checked_sub(2).map(|i| nest[i]);
        let unit = |l: (Var, usize)| target.index.coefficient(l.0) == 1;
        let (rows, cols) = match before {
            _ if unit(last) => (before, last),
            Some(before) if unit(before) => (Some(last), before),
            _ => return None,
        };
        Some(Nest { stmts: &self.stmts, rows, cols, across: false })
    }
}
