//! Text of loop programs.
//!
//! ```text
//! program @dense {
//!   input x[256]
//!   input w[32768]
//!   output y[128]
//!   parallel o in 0..128 {
//!     y[o] = reduce from 0.0 {
//!       sum k in 0..256: x[k] * w[128*k + o]
//!     } then max(acc, 0.0)
//!   }
//! }
//! ```

use super::{Notes, opening, tile};
use crate::entity::EntityVec;
use crate::loops::*;
use crate::scalar::BinaryOp;
use std::cell::Cell;
use std::fmt::{self, Display, Formatter, Write};
use std::sync::Arc;

/// The names of buffers and variables; those after the end of a list are printed as their number.
#[derive(Clone, Copy)]
struct Names<'a> {
    buffers: &'a EntityVec<BufId, Buffer>,
    vars: &'a EntityVec<Var, String>,
    notes: Option<&'a Notes<'a>>,
}

/// Names for values that are printed outside their program.
const NUMBERS: Names<'static> = Names { buffers: &EntityVec::new(), vars: &EntityVec::new(), notes: None };

impl Program {
    /// The text without names. The names of the program and its tiles are left out; buffers are numbered in their order and
    /// variables in the order in which loops declare them. Programs that differ only in names have equal canonical texts.
    pub fn canonical_text(&self) -> String {
        canonical(self).to_string()
    }

    /// The text of the setup, with the tiles that it calls and the sizes of the buffers that it touches. It does not depend on the
    /// body. Programs with equal setup texts pack their weights in the same way.
    pub fn setup_text(&self) -> String {
        let names = Names { buffers: &self.buffers, vars: &self.vars, notes: None };
        let mut text = fmt::from_fn(|f| names.block(f, &self.setup, 0)).to_string();
        let touched = self.buffers.iter().filter(|buffer| text.contains(&format!("{}[", buffer.name)));
        let sizes: String = touched.map(|buffer| format!("{} {}[{}]\n", buffer.kind, buffer.name, buffer.len)).collect();
        // Tiles of the body may stand before those of the setup.
        let mut called = 0;
        for (id, tile) in self.tiles.entries() {
            let call = format!("call {id}(");
            if text.contains(&call) {
                text = text.replace(&call, &format!("call s{called}("));
                let _ = write!(text, "s{called} = {tile:?}");
                called += 1;
            }
        }
        sizes + &text
    }

    /// The text with a comment after each line that opens a loop or a tile. The order of `notes` is the order of these lines: loops
    /// of the setup, loops of the body, tiles and loops of tiles. An empty or missing note gives no comment.
    pub fn annotated(&self, notes: &[String]) -> String {
        Annotated { program: self, notes: Some(&Notes { texts: notes, next: Cell::new(0) }) }.to_string()
    }
}

/// A program with comments on its loops.
struct Annotated<'a> {
    program: &'a Program,
    notes: Option<&'a Notes<'a>>,
}

impl Display for Program {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        Annotated { program: self, notes: None }.fmt(f)
    }
}

impl Display for Annotated<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Annotated { program, notes } = *self;
        let names = Names { buffers: &program.buffers, vars: &program.vars, notes };
        writeln!(f, "program @{} {{", program.name)?;
        for buffer in &program.buffers {
            writeln!(f, "  {} {}[{}]", buffer.kind, buffer.name, buffer.len)?;
        }
        if !program.setup.is_empty() {
            writeln!(f, "  setup {{")?;
            names.block(f, &program.setup, 2)?;
            writeln!(f, "  }}")?;
        }
        names.block(f, &program.body, 1)?;
        for (id, tile) in program.tiles.entries() {
            tile::write(f, &format!("  {id} = "), tile, 1, notes)?;
        }
        f.write_str("}\n")
    }
}

/// An access with the names of its program.
pub(crate) fn access(program: &Program, access: &Access) -> String {
    struct Named<'a>(Names<'a>, &'a Access);
    impl Display for Named<'_> {
        fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
            self.0.access(f, self.1)
        }
    }
    Named(Names { buffers: &program.buffers, vars: &program.vars, notes: None }, access).to_string()
}

impl Display for Stmt {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        NUMBERS.stmt(f, self, 0)
    }
}

impl Display for Expr {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        NUMBERS.expr(f, self, 0)
    }
}

impl Display for Access {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        NUMBERS.access(f, self)
    }
}

impl Display for Affine {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        NUMBERS.affine(f, self)
    }
}

impl Display for Bound {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        NUMBERS.bound(f, self)
    }
}

impl Display for BufferKind {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            BufferKind::Input => "input",
            BufferKind::Output => "output",
            BufferKind::Temp => "temp",
            BufferKind::Packed => "packed",
        })
    }
}

impl Display for LoopKind {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            LoopKind::Serial => "for",
            LoopKind::Parallel => "parallel",
            LoopKind::Unrolled => "unroll",
        })
    }
}

impl Names<'_> {
    fn block(self, f: &mut Formatter<'_>, body: &[Stmt], depth: usize) -> fmt::Result {
        body.iter().try_for_each(|stmt| self.stmt(f, stmt, depth))
    }

    fn stmt(self, f: &mut Formatter<'_>, stmt: &Stmt, depth: usize) -> fmt::Result {
        let indent = "  ".repeat(depth);
        f.write_str(&indent)?;
        match stmt {
            Stmt::For { var, extent, kind, body } => {
                let name = self.vars.get(*var).cloned().unwrap_or_else(|| var.to_string());
                opening(f, indent.len(), &format!("{kind} {name} in 0..{extent} {{"), self.notes)?;
                self.block(f, body, depth + 1)?;
                writeln!(f, "{indent}}}")
            }
            Stmt::If { bounds, body } => {
                f.write_str("if ")?;
                self.bounds(f, bounds)?;
                f.write_str(" {\n")?;
                self.block(f, body, depth + 1)?;
                writeln!(f, "{indent}}}")
            }
            Stmt::Store { target, value } => {
                self.access(f, target)?;
                f.write_str(" = ")?;
                self.expr(f, value, 0)?;
                f.write_char('\n')
            }
            Stmt::Reduce(reduce) => self.reduce(f, reduce, &indent),
            Stmt::Call { tile, args } => {
                write!(f, "call {tile}(")?;
                for (i, arg) in args.iter().enumerate() {
                    f.write_str(if i == 0 { "" } else { ", " })?;
                    self.access(f, arg)?;
                }
                f.write_str(")\n")
            }
        }
    }

    fn reduce(self, f: &mut Formatter<'_>, reduce: &Reduce, indent: &str) -> fmt::Result {
        self.access(f, &reduce.target)?;
        f.write_str(" = reduce from ")?;
        self.expr(f, &reduce.init, 0)?;
        f.write_str(" {\n")?;
        for update in &reduce.updates {
            write!(f, "{indent}  {}", update.op)?;
            for (i, &(var, extent)) in update.loops.iter().enumerate() {
                f.write_str(if i == 0 { " " } else { ", " })?;
                self.var(f, var)?;
                write!(f, " in 0..{extent}")?;
            }
            f.write_str(": ")?;
            self.expr(f, &update.value, 0)?;
            f.write_char('\n')?;
        }
        write!(f, "{indent}}} then ")?;
        self.expr(f, &reduce.finish, 0)?;
        f.write_char('\n')
    }

    /// Writes an expression, in parentheses if its operator has a lower precedence than `level`: 0 is a whole expression, 1 an
    /// operand of a sum, 2 an operand of a product, 3 an atom.
    fn expr(self, f: &mut Formatter<'_>, expr: &Expr, level: u8) -> fmt::Result {
        match expr {
            Expr::Const(value) => write!(f, "{value:?}"),
            Expr::Load(access) => self.access(f, access),
            Expr::Acc => f.write_str("acc"),
            Expr::Unary(op, a) => {
                write!(f, "{op}(")?;
                self.expr(f, a, 0)?;
                f.write_char(')')
            }
            Expr::Binary(op, a, b) => self.binary(f, *op, a, b, level),
            Expr::Guard { bounds, value, otherwise } => {
                f.write_char('(')?;
                self.bounds(f, bounds)?;
                f.write_str(" ? ")?;
                self.expr(f, value, 0)?;
                write!(f, " : {otherwise:?})")
            }
            Expr::Select { left, right, value, otherwise } => {
                f.write_char('(')?;
                self.expr(f, left, 0)?;
                f.write_str(" > ")?;
                self.expr(f, right, 0)?;
                f.write_str(" ? ")?;
                self.expr(f, value, 0)?;
                f.write_str(" : ")?;
                self.expr(f, otherwise, 0)?;
                f.write_char(')')
            }
        }
    }

    fn binary(self, f: &mut Formatter<'_>, op: BinaryOp, a: &Expr, b: &Expr, level: u8) -> fmt::Result {
        let (sign, mine) = match op {
            BinaryOp::Add => ('+', 1),
            BinaryOp::Sub => ('-', 1),
            BinaryOp::Mul => ('*', 2),
            BinaryOp::Div => ('/', 2),
            BinaryOp::Max | BinaryOp::Min | BinaryOp::Gate => {
                write!(f, "{op}(")?;
                self.expr(f, a, 0)?;
                f.write_str(", ")?;
                self.expr(f, b, 0)?;
                return f.write_char(')');
            }
        };
        let parentheses = mine < level;
        f.write_str(if parentheses { "(" } else { "" })?;
        self.expr(f, a, mine)?;
        write!(f, " {sign} ")?;
        self.expr(f, b, mine + 1)?;
        f.write_str(if parentheses { ")" } else { "" })
    }

    fn bounds(self, f: &mut Formatter<'_>, bounds: &[Bound]) -> fmt::Result {
        for (i, bound) in bounds.iter().enumerate() {
            f.write_str(if i == 0 { "" } else { " and " })?;
            self.bound(f, bound)?;
        }
        Ok(())
    }

    fn bound(self, f: &mut Formatter<'_>, bound: &Bound) -> fmt::Result {
        write!(f, "{} <= ", bound.low)?;
        self.affine(f, &bound.expr)?;
        write!(f, " < {}", bound.high)
    }

    fn access(self, f: &mut Formatter<'_>, access: &Access) -> fmt::Result {
        match self.buffers.get(access.buffer) {
            Some(buffer) => f.write_str(&buffer.name)?,
            None => write!(f, "{}", access.buffer)?,
        }
        f.write_char('[')?;
        self.affine(f, &access.index)?;
        f.write_char(']')
    }

    fn affine(self, f: &mut Formatter<'_>, affine: &Affine) -> fmt::Result {
        for (i, &(var, coefficient)) in affine.terms.iter().enumerate() {
            f.write_str(match (i, coefficient < 0) {
                (0, false) => "",
                (0, true) => "-",
                (_, false) => " + ",
                (_, true) => " - ",
            })?;
            if coefficient.unsigned_abs() != 1 {
                write!(f, "{}*", coefficient.unsigned_abs())?;
            }
            self.var(f, var)?;
        }
        match affine.offset {
            offset if affine.terms.is_empty() => write!(f, "{offset}"),
            0 => Ok(()),
            offset if offset < 0 => write!(f, " - {}", offset.unsigned_abs()),
            offset => write!(f, " + {offset}"),
        }
    }

    fn var(self, f: &mut Formatter<'_>, var: Var) -> fmt::Result {
        match self.vars.get(var) {
            Some(name) => f.write_str(name),
            None => write!(f, "{var}"),
        }
    }
}

/// The program with its names replaced by numbers, and its variables numbered in the order of their declarations.
fn canonical(program: &Program) -> Program {
    let mut order = Vec::new();
    for stmt in program.setup.iter().chain(&program.body) {
        declarations(stmt, &mut order);
    }
    let mut numbers = EntityVec::filled(None, program.vars.len());
    for (number, var) in order.iter().enumerate() {
        if let Some(slot) = numbers.get_mut(*var) {
            slot.get_or_insert(Var(number as u32));
        }
    }
    let rename = |var: Var| numbers.get(var).copied().flatten().unwrap_or(var);
    let block = |body: &[Stmt]| body.iter().map(|stmt| rename_stmt(stmt, &rename)).collect();
    Program {
        name: "_".to_string(),
        buffers: program.buffers.map(|(id, buffer)| Buffer { name: id.to_string(), ..buffer.clone() }),
        vars: EntityVec::new(),
        setup: block(&program.setup),
        body: block(&program.body),
        tiles: program.tiles.iter().map(|t| crate::tile::Tile { name: "_".to_string(), ..t.clone() }).collect(),
    }
}

fn declarations(stmt: &Stmt, order: &mut Vec<Var>) {
    match stmt {
        Stmt::For { var, body, .. } => {
            order.push(*var);
            body.iter().for_each(|stmt| declarations(stmt, order));
        }
        Stmt::If { body, .. } => body.iter().for_each(|stmt| declarations(stmt, order)),
        Stmt::Reduce(reduce) => order.extend(reduce.updates.iter().flat_map(|u| &u.loops).map(|l| l.0)),
        Stmt::Store { .. } | Stmt::Call { .. } => {}
    }
}

fn rename_stmt(stmt: &Stmt, rename: &impl Fn(Var) -> Var) -> Stmt {
    let block = |body: &[Stmt]| body.iter().map(|stmt| rename_stmt(stmt, rename)).collect();
    match stmt {
        Stmt::For { var, extent, kind, body } => Stmt::For { var: rename(*var), extent: *extent, kind: *kind, body: block(body) },
        Stmt::If { bounds, body } => Stmt::If { bounds: rename_bounds(bounds, rename), body: block(body) },
        Stmt::Store { target, value } => Stmt::Store { target: rename_access(target, rename), value: rename_expr(value, rename) },
        Stmt::Reduce(reduce) => Stmt::Reduce(Reduce {
            target: rename_access(&reduce.target, rename),
            init: rename_expr(&reduce.init, rename),
            updates: reduce.updates.iter().map(|update| rename_update(update, rename)).collect(),
            finish: rename_expr(&reduce.finish, rename),
        }),
        Stmt::Call { tile, args } => {
            Stmt::Call { tile: *tile, args: args.iter().map(|arg| rename_access(arg, rename)).collect() }
        }
    }
}

fn rename_update(update: &Update, rename: &impl Fn(Var) -> Var) -> Update {
    Update {
        loops: update.loops.iter().map(|&(var, extent)| (rename(var), extent)).collect(),
        op: update.op,
        value: rename_expr(&update.value, rename),
    }
}

fn rename_expr(expr: &Expr, rename: &impl Fn(Var) -> Var) -> Expr {
    let boxed = |expr: &Expr| Arc::new(rename_expr(expr, rename));
    match expr {
        Expr::Const(_) | Expr::Acc => expr.clone(),
        Expr::Load(access) => Expr::Load(rename_access(access, rename)),
        Expr::Unary(op, a) => Expr::Unary(*op, boxed(a)),
        Expr::Binary(op, a, b) => Expr::Binary(*op, boxed(a), boxed(b)),
        Expr::Guard { bounds, value, otherwise } => {
            Expr::Guard { bounds: rename_bounds(bounds, rename), value: boxed(value), otherwise: *otherwise }
        }
        Expr::Select { left, right, value, otherwise } => {
            Expr::Select { left: boxed(left), right: boxed(right), value: boxed(value), otherwise: boxed(otherwise) }
        }
    }
}

fn rename_bounds(bounds: &[Bound], rename: &impl Fn(Var) -> Var) -> Vec<Bound> {
    bounds.iter().map(|b| Bound { expr: rename_affine(&b.expr, rename), low: b.low, high: b.high }).collect()
}

fn rename_access(access: &Access, rename: &impl Fn(Var) -> Var) -> Access {
    Access { buffer: access.buffer, index: rename_affine(&access.index, rename) }
}

fn rename_affine(affine: &Affine, rename: &impl Fn(Var) -> Var) -> Affine {
    let start = Affine::constant(affine.offset);
    affine.terms.iter().fold(start, |sum, &(var, coefficient)| sum.plus(rename(var), coefficient))
}
