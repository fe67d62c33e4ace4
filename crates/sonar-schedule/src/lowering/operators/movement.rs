//! Operators that only move data.

use sonar_ir::NodeId;
use sonar_ir::loops::{Affine, Expr, Stmt};

use super::Lower;
use crate::loops::build::{at, nest};
use crate::lowering::stage::TaskKind;

impl Lower<'_> {
    pub(super) fn transpose(&mut self, anchor: NodeId, perm: &[usize]) {
        let x = self.operand(anchor, 0);
        self.gather(anchor, x, &|index| {
            let mut source = vec![Affine::default(); index.len()];
            for (i, &axis) in perm.iter().enumerate() {
                source[axis] = index[i].clone();
            }
            source
        });
    }

    pub(super) fn slice(&mut self, anchor: NodeId, axis: usize, start: usize) {
        let x = self.operand(anchor, 0);
        self.gather(anchor, x, &|index| {
            let mut source = index.to_vec();
            source[axis] = source[axis].clone().shift(start as i64);
            source
        });
    }

    /// `out[i] = epilogue(x[source(i)])`.
    fn gather(&mut self, anchor: NodeId, x: NodeId, source: &dyn Fn(&[Affine]) -> Vec<Affine>) {
        let shape = self.shape(anchor);
        let axes = self.axes_of(&shape);
        let element = self.value(x, &source(&axes.index));
        let value = self.epilogue(anchor, element, &axes.index);
        let target = at(self.output(), self.place(&axes.index));
        self.emit_flat(&axes, vec![Stmt::Store { target, value }]);
        self.end(TaskKind::Movement);
    }

    /// Copies the operands to their positions, except operands that are already there. If some are, each copy is a kernel of
    /// its own.
    pub(super) fn concat(&mut self, anchor: NodeId, axis: usize) {
        let operands = self.graph.node(anchor).operands.clone();
        let is_placed = |position: usize| self.parts.destination[operands[position]] == Some((anchor, position));
        let placed: Vec<bool> = (0..operands.len()).map(is_placed).collect();
        if !placed.contains(&true) {
            return self.concat_at_once(anchor, axis);
        }
        let mut start = 0;
        for (x, placed) in operands.into_iter().zip(placed) {
            let part = self.shape(x);
            if !placed {
                let out = self.output();
                let mut offset = vec![0; part.len()];
                offset[axis] = start;
                self.place_part(anchor, out, &part, &offset, &|lower, index| lower.value(x, index));
                self.end(TaskKind::Movement);
            }
            start += part[axis] as i64;
        }
    }

    /// One nest per operand, inside of common loops over leading axes. The common loops give work to threads, and each nest
    /// keeps two axes.
    fn concat_at_once(&mut self, anchor: NodeId, axis: usize) {
        let shape = self.shape(anchor);
        let out = self.output();
        let common = axis.min(shape.len().saturating_sub(2));
        let names: Vec<String> = (0..shape.len()).map(|i| format!("i{i}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let outer = self.builder.axes(&names[..common], &shape[..common]);
        let mut start = 0;
        let mut body = Vec::new();
        for x in self.graph.node(anchor).operands.clone() {
            let part = self.shape(x);
            let inner = self.builder.axes(&names[common..], &part[common..]);
            let index: Vec<Affine> = outer.index.iter().chain(&inner.index).cloned().collect();
            let mut target = index.clone();
            target[axis] = target[axis].clone().shift(start);
            let value = self.value(x, &index);
            let value = self.epilogue(anchor, value, &target);
            body.extend(nest(&inner.loops, vec![Stmt::Store { target: at(out, self.place(&target)), value }]));
            start += part[axis] as i64;
        }
        self.emit(nest(&outer.loops, body));
        self.end(TaskKind::Movement);
    }

    /// Fills the output with zeros, then copies the operand to its position.
    pub(super) fn pad(&mut self, anchor: NodeId, pads: &[(usize, usize)]) {
        let (x, shape) = (self.operand(anchor, 0), self.shape(anchor));
        let out = self.output();
        if pads.iter().any(|&(before, after)| before + after > 0) {
            self.place_part(anchor, out, &shape, &vec![0; shape.len()], &|_, _| Expr::Const(0.0));
        }
        let offset: Vec<i64> = pads.iter().map(|pad| pad.0 as i64).collect();
        let part = self.shape(x);
        self.place_part(anchor, out, &part, &offset, &|lower, index| lower.value(x, index));
        self.end(TaskKind::Movement);
    }

    fn place_part(
        &mut self,
        anchor: NodeId,
        out: sonar_ir::loops::BufId,
        part: &[usize],
        offset: &[i64],
        element: &dyn Fn(&mut Self, &[Affine]) -> Expr,
    ) {
        let axes = self.axes_of(part);
        let target: Vec<Affine> = axes.index.iter().zip(offset).map(|(index, &by)| index.clone().shift(by)).collect();
        let value = element(self, &axes.index);
        let value = self.epilogue(anchor, value, &target);
        self.emit_flat(&axes, vec![Stmt::Store { target: at(out, self.place(&target)), value }]);
    }
}
