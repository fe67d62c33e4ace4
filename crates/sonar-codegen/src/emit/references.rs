//! The buffers, conditions, functions and tiles that statements refer to.

use sonar_ir::loops::{Access, Bound, BufId, Expr, Stmt};
use sonar_ir::scalar::UnaryOp;

/// References of some statements, in the order of the text.
#[derive(Default)]
pub(crate) struct References<'p> {
    pub accesses: Vec<&'p Access>,
    pub bounds: Vec<&'p Bound>,
    pub functions: Vec<UnaryOp>,
    /// Whether the statements call tiles.
    pub tiles: bool,
}

impl<'p> References<'p> {
    pub(crate) fn of(stmts: &'p [Stmt]) -> Self {
        let mut uses = References::default();
        uses.block(stmts);
        uses
    }

    pub(crate) fn of_expr(expr: &'p Expr) -> Self {
        let mut uses = References::default();
        uses.expr(expr);
        uses
    }

    /// Whether the statements read or write a buffer.
    pub(crate) fn touches(&self, buffer: BufId) -> bool {
        self.accesses.iter().any(|access| access.buffer == buffer)
    }

    fn block(&mut self, stmts: &'p [Stmt]) {
        for stmt in stmts {
            match stmt {
                Stmt::For { body, .. } => self.block(body),
                Stmt::If { bounds, body } => {
                    self.bounds.extend(bounds);
                    self.block(body);
                }
                Stmt::Store { target, value } => {
                    self.accesses.push(target);
                    self.expr(value);
                }
                Stmt::Reduce(reduce) => {
                    self.accesses.push(&reduce.target);
                    self.expr(&reduce.init);
                    reduce.updates.iter().for_each(|update| self.expr(&update.value));
                    self.expr(&reduce.finish);
                }
                Stmt::Call { args, .. } => {
                    self.tiles = true;
                    self.accesses.extend(args);
                }
            }
        }
    }

    fn expr(&mut self, expr: &'p Expr) {
        match expr {
            Expr::Const(_) | Expr::Acc => {}
            Expr::Load(access) => self.accesses.push(access),
            Expr::Unary(op, a) => {
                self.functions.push(*op);
                self.expr(a);
            }
            Expr::Binary(_, a, b) => {
                self.expr(a);
                self.expr(b);
            }
            Expr::Guard { bounds, value, .. } => {
                self.bounds.extend(bounds);
                self.expr(value);
            }
            Expr::Select { left, right, value, otherwise } => {
                [left, right, value, otherwise].into_iter().for_each(|e| self.expr(e));
            }
        }
    }
}
