//! Conditions. A condition is evaluated in the outermost loop that knows all of its variables. It is not evaluated at all if the
//! extents of its variables decide it.

use super::{Binding, Emitter};
use crate::error::CodegenError;
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::types::I64;
use cranelift_codegen::ir::{InstBuilder, Value};
use sonar_ir::loops::{Affine, Bound, Var};

/// The truth of a conjunction.
pub(super) enum Condition {
    Always,
    Never,
    When(Value),
}

impl Emitter<'_> {
    pub(super) fn condition(&mut self, bounds: &[Bound]) -> Result<Condition, CodegenError> {
        let mut all = Condition::Always;
        for bound in bounds {
            let Some(bound) = self.resolve(bound) else {
                return Err(self.unsupported("a condition uses a variable outside its loop"));
            };
            let one = match self.decide(&bound) {
                Some(true) => continue,
                Some(false) => return Ok(Condition::Never),
                None => self.evaluate(&bound),
            };
            all = Condition::When(match all {
                Condition::When(others) => self.builder.ins().band(others, one),
                _ => one,
            });
        }
        Ok(all)
    }

    /// A bound in terms of variables at run time, if every variable of it is in scope.
    pub(super) fn resolve(&self, bound: &Bound) -> Option<Bound> {
        let (offset, complete) = self.constant_part(&bound.expr);
        let expr = Affine { terms: self.dynamic_terms(&bound.expr), offset };
        complete.then_some(Bound { expr, low: bound.low, high: bound.high })
    }

    /// Whether the extents of the variables decide a bound.
    pub(super) fn decide(&self, bound: &Bound) -> Option<bool> {
        let (mut least, mut most) = (bound.expr.offset, bound.expr.offset);
        for &(var, coefficient) in &bound.expr.terms {
            let Binding::Dynamic(_, extent) = self.binding(var) else { return None };
            let reach = coefficient * (extent.max(1) as i64 - 1);
            least += reach.min(0);
            most += reach.max(0);
        }
        if least >= bound.low && most < bound.high {
            Some(true)
        } else if most < bound.low || least >= bound.high {
            Some(false)
        } else {
            None
        }
    }

    /// Evaluates a bound on entry to the loop of `var`, if all of its other variables are known already.
    pub(super) fn evaluate_early(&mut self, bound: &Bound, var: Var) {
        if let Some(bound) = self.resolve(bound)
            && bound.expr.coefficient(var) != 0
            && self.decide(&bound).is_none()
        {
            let value = self.evaluate(&bound);
            if let Some(scope) = self.scopes.last_mut() {
                scope.conditions.insert(bound, value);
            }
        }
    }

    /// The truth of a resolved bound. It is computed here unless an enclosing loop has it.
    pub(super) fn evaluate(&mut self, bound: &Bound) -> Value {
        if let Some(value) = self.scopes.iter().rev().find_map(|scope| scope.conditions.get(bound)) {
            return *value;
        }
        let mut value = self.builder.ins().iconst(I64, bound.expr.offset - bound.low);
        for &(var, coefficient) in &bound.expr.terms {
            if let Binding::Dynamic(counter, _) = self.binding(var) {
                let term = self.builder.ins().imul_imm_s(counter, coefficient);
                value = self.builder.ins().iadd(value, term);
            }
        }
        // One comparison checks both sides: a value below `low` is a large unsigned number.
        let size = (bound.high - bound.low).max(0);
        let size = self.builder.ins().iconst(I64, size);
        self.builder.ins().icmp(IntCC::UnsignedLessThan, value, size)
    }
}
