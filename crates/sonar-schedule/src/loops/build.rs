//! Builds loop programs: buffers, variables and nests, with addresses from shapes.

use sonar_ir::entity::EntityVec;
use sonar_ir::loops::{Access, Affine, BufId, Buffer, BufferKind, Expr, LoopKind, Program, Stmt, Update, Var};
use sonar_ir::{BinaryOp, ReduceOp, UnaryOp};

use crate::loops::visit;
use std::sync::Arc;

/// A program under construction.
pub(crate) struct Builder {
    program: Program,
}

impl Builder {
    /// An empty program.
    pub(crate) fn new(name: &str) -> Self {
        Builder {
            program: Program {
                name: name.to_owned(),
                buffers: EntityVec::new(),
                vars: EntityVec::new(),
                setup: vec![],
                body: vec![],
                tiles: EntityVec::new(),
            },
        }
    }

    /// A new buffer. If the name is taken, it gets a number.
    pub(crate) fn buffer(&mut self, name: &str, len: usize, kind: BufferKind) -> BufId {
        fresh_buffer(&mut self.program, name, len, kind)
    }

    /// One loop variable per axis of a shape. An axis of extent 1 needs no variable and has index 0.
    pub(crate) fn axes(&mut self, names: &[&str], shape: &[usize]) -> Axes {
        axes(&mut self.program, names, shape)
    }

    /// Appends a statement to the body.
    pub(crate) fn push(&mut self, stmt: Stmt) {
        self.program.body.push(stmt);
    }

    /// Appends a statement to the setup, which runs once before the first call.
    pub(crate) fn push_setup(&mut self, stmt: Stmt) {
        self.program.setup.push(stmt);
    }

    /// The program so far.
    pub(crate) fn program_mut(&mut self) -> &mut Program {
        &mut self.program
    }

    /// The finished program, with its buffers in the order inputs, outputs, others.
    pub(crate) fn finish(self) -> Program {
        let mut program = self.program;
        let rank = |kind| match kind {
            BufferKind::Input => 0,
            BufferKind::Output => 1,
            BufferKind::Temp => 2,
            BufferKind::Packed => 3,
        };
        let mut order: Vec<BufId> = program.buffers.keys().collect();
        order.sort_by_key(|&id| rank(program.buffers[id].kind));
        let mut renamed = EntityVec::filled(BufId(0), order.len());
        for (new, &old) in program.buffers.keys().zip(&order) {
            renamed[old] = new;
        }
        program.buffers = order.iter().map(|&id| program.buffers[id].clone()).collect();
        for stmts in [&mut program.setup, &mut program.body] {
            visit::accesses_mut(stmts, &mut |access| access.buffer = renamed[access.buffer]);
        }
        program
    }
}

/// Loops over the axes of a shape, and the index of each axis in these loops.
#[derive(Clone)]
pub(crate) struct Axes {
    /// `(variable, extent)`, outermost first.
    pub(crate) loops: Vec<(Var, usize)>,
    /// One index for each axis.
    pub(crate) index: Vec<Affine>,
}

/// A new buffer. If the name is taken, it gets a number.
pub(crate) fn fresh_buffer(program: &mut Program, name: &str, len: usize, kind: BufferKind) -> BufId {
    let name = unique(name, |name| program.buffers.iter().any(|b| b.name == name));
    program.buffers.push(Buffer { name, len, kind })
}

/// One loop per axis of a shape, and its index. An axis of extent 1 needs no loop and has index 0.
pub(crate) fn axes(program: &mut Program, names: &[&str], shape: &[usize]) -> Axes {
    let mut axes = Axes { loops: vec![], index: vec![] };
    for (name, &extent) in names.iter().zip(shape) {
        if extent == 1 {
            axes.index.push(Affine::default());
        } else {
            let var = fresh_var(program, name);
            axes.loops.push((var, extent));
            axes.index.push(Affine::var(var, 1));
        }
    }
    axes
}

/// A variable with a unique name.
pub(crate) fn fresh_var(program: &mut Program, name: &str) -> Var {
    let name = unique(name, |name| program.vars.iter().any(|v| v == name));
    program.vars.push(name)
}

fn unique(name: &str, taken: impl Fn(&str) -> bool) -> String {
    if !taken(name) {
        return name.to_owned();
    }
    (1..).map(|i| format!("{name}{i}")).find(|name| !taken(name)).unwrap_or_default()
}

/// Puts `stmts` inside of serial loops, outermost first.
pub(crate) fn nest(loops: &[(Var, usize)], stmts: Vec<Stmt>) -> Vec<Stmt> {
    loops.iter().rev().fold(stmts, |body, &(var, extent)| vec![Stmt::For { var, extent, kind: LoopKind::Serial, body }])
}

/// The row-major address of an index in a shape.
pub(crate) fn flat(shape: &[usize], index: &[Affine]) -> Affine {
    let mut stride = 1;
    let mut sum = Affine::default();
    for (&extent, index) in shape.iter().zip(index).rev() {
        sum = sum.add(&index.scale(stride));
        stride *= extent as i64;
    }
    sum
}

/// An access.
pub(crate) fn at(buffer: BufId, index: Affine) -> Access {
    Access { buffer, index }
}

/// A load.
pub(crate) fn load(buffer: BufId, index: Affine) -> Expr {
    Expr::Load(at(buffer, index))
}

/// A unary application.
pub(crate) fn unary(op: UnaryOp, a: Expr) -> Expr {
    Expr::Unary(op, Arc::new(a))
}

/// A binary application.
pub(crate) fn binary(op: BinaryOp, a: Expr, b: Expr) -> Expr {
    Expr::Binary(op, Arc::new(a), Arc::new(b))
}

/// `a + b`, or the other operand if one is the constant 0.
pub(crate) fn add(a: Expr, b: Expr) -> Expr {
    match (a, b) {
        (Expr::Const(0.0), x) | (x, Expr::Const(0.0)) => x,
        (a, b) => binary(BinaryOp::Add, a, b),
    }
}

/// `a · b`, or the other operand if one is the constant 1.
pub(crate) fn mul(a: Expr, b: Expr) -> Expr {
    match (a, b) {
        (Expr::Const(1.0), x) | (x, Expr::Const(1.0)) => x,
        (a, b) => binary(BinaryOp::Mul, a, b),
    }
}

/// `Σ a · b` over the loops.
pub(crate) fn product(loops: Vec<(Var, usize)>, a: Expr, b: Expr) -> Update {
    Update { loops, op: ReduceOp::Sum, value: binary(BinaryOp::Mul, a, b) }
}
