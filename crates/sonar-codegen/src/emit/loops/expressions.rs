//! Values: loads, arithmetic, and scalar functions.

use super::Emitter;
use super::conditions::Condition;
use crate::error::CodegenError;
use cranelift_codegen::ir::condcodes::FloatCC;
use cranelift_codegen::ir::types::F32;
use cranelift_codegen::ir::{InstBuilder, Value};
use sonar_ir::loops::{Bound, Expr};
use sonar_ir::scalar::{BinaryOp, UnaryOp};

impl Emitter<'_> {
    pub(super) fn expr(&mut self, expr: &Expr, acc: Option<Value>) -> Result<Value, CodegenError> {
        match expr {
            Expr::Const(value) => Ok(self.builder.ins().f32const(*value)),
            Expr::Load(access) => self.load(access),
            Expr::Acc => acc.ok_or_else(|| self.unsupported("an accumulator outside a reduction")),
            Expr::Unary(op, a) => {
                let a = self.expr(a, acc)?;
                self.unary(*op, a)
            }
            Expr::Binary(op, a, b) => {
                let (a, b) = (self.expr(a, acc)?, self.expr(b, acc)?);
                Ok(self.binary(*op, a, b))
            }
            Expr::Guard { bounds, value, otherwise } => self.guard(bounds, value, *otherwise, acc),
            Expr::Select { left, right, value, otherwise } => {
                let (left, right) = (self.expr(left, acc)?, self.expr(right, acc)?);
                let (value, otherwise) = (self.expr(value, acc)?, self.expr(otherwise, acc)?);
                let flag = self.builder.ins().fcmp(FloatCC::GreaterThan, left, right);
                Ok(self.builder.ins().select(flag, value, otherwise))
            }
        }
    }

    pub(super) fn guard(
        &mut self,
        bounds: &[Bound],
        value: &Expr,
        otherwise: f32,
        acc: Option<Value>,
    ) -> Result<Value, CodegenError> {
        let condition = match self.condition(bounds)? {
            Condition::Always => return self.expr(value, acc),
            Condition::Never => return Ok(self.builder.ins().f32const(otherwise)),
            Condition::When(condition) => condition,
        };
        let otherwise = self.builder.ins().f32const(otherwise);
        let (inside, after) = (self.builder.create_block(), self.builder.create_block());
        let result = self.builder.append_block_param(after, F32);
        self.builder.ins().brif(condition, inside, &[], after, &[otherwise.into()]);
        self.builder.switch_to_block(inside);
        self.guards += 1;
        let value = self.expr(value, acc)?;
        self.guards -= 1;
        self.builder.ins().jump(after, &[value.into()]);
        self.builder.switch_to_block(after);
        Ok(result)
    }

    pub(super) fn unary(&mut self, op: UnaryOp, a: Value) -> Result<Value, CodegenError> {
        let number = |e: &mut Self, value: f32| e.builder.ins().f32const(value);
        Ok(match op {
            UnaryOp::Neg => self.builder.ins().fneg(a),
            UnaryOp::Abs => self.builder.ins().fabs(a),
            UnaryOp::Sqrt => self.builder.ins().sqrt(a),
            UnaryOp::Relu => {
                let zero = number(self, 0.0);
                self.binary(BinaryOp::Max, a, zero)
            }
            UnaryOp::Step => {
                let (zero, one) = (number(self, 0.0), number(self, 1.0));
                let flag = self.builder.ins().fcmp(FloatCC::GreaterThan, a, zero);
                self.builder.ins().select(flag, one, zero)
            }
            UnaryOp::Recip => {
                let one = number(self, 1.0);
                self.builder.ins().fdiv(one, a)
            }
            UnaryOp::Rsqrt => {
                let one = number(self, 1.0);
                let root = self.builder.ins().sqrt(a);
                self.builder.ins().fdiv(one, root)
            }
            UnaryOp::Sigmoid => {
                let negative = self.builder.ins().fneg(a);
                let power = self.function(UnaryOp::Exp, negative)?;
                let one = number(self, 1.0);
                let sum = self.builder.ins().fadd(one, power);
                self.builder.ins().fdiv(one, sum)
            }
            UnaryOp::Exp | UnaryOp::Log | UnaryOp::Tanh | UnaryOp::Erf => self.function(op, a)?,
            UnaryOp::Gelu => {
                // max(a, 0) - |a| (1 - erf(|a| / √2)) / 2, of an |a| that is not infinite.
                let (zero, half, one) = (number(self, 0.0), number(self, 0.5), number(self, 1.0));
                let (end, scale) = (number(self, 16.0), number(self, std::f32::consts::FRAC_1_SQRT_2));
                let size = self.builder.ins().fabs(a);
                let size = self.binary(BinaryOp::Min, end, size);
                let scaled = self.builder.ins().fmul(size, scale);
                let erf = self.function(UnaryOp::Erf, scaled)?;
                let rest = self.builder.ins().fsub(one, erf);
                let rest = self.builder.ins().fmul(rest, half);
                let lost = self.builder.ins().fmul(size, rest);
                let positive = self.binary(BinaryOp::Max, a, zero);
                self.builder.ins().fsub(positive, lost)
            }
            UnaryOp::GeluTanh => {
                let slope = 2.0 * std::f64::consts::FRAC_2_PI.sqrt();
                let (linear, cubic) = (number(self, slope as f32), number(self, (slope * UnaryOp::GELU_CUBIC) as f32));
                let square = self.builder.ins().fmul(a, a);
                let slope = self.builder.ins().fmul(square, cubic);
                let slope = self.builder.ins().fadd(slope, linear);
                let argument = self.builder.ins().fmul(slope, a);
                let gate = self.unary(UnaryOp::Sigmoid, argument)?;
                self.builder.ins().fmul(a, gate)
            }
            UnaryOp::Silu => {
                let gate = self.unary(UnaryOp::Sigmoid, a)?;
                self.builder.ins().fmul(a, gate)
            }
            UnaryOp::HardSwish => {
                let (zero, half, one) = (number(self, 0.0), number(self, 0.5), number(self, 1.0));
                let sixth = number(self, 1.0 / 6.0);
                let line = self.builder.ins().fmul(a, sixth);
                let line = self.builder.ins().fadd(line, half);
                let gate = self.binary(BinaryOp::Max, line, zero);
                let gate = self.binary(BinaryOp::Min, gate, one);
                self.builder.ins().fmul(a, gate)
            }
        })
    }

    pub(super) fn function(&mut self, op: UnaryOp, a: Value) -> Result<Value, CodegenError> {
        let callee = self.callees.math.iter().find(|(known, _)| *known == op).map(|(_, callee)| *callee);
        let callee = callee.ok_or_else(|| CodegenError::Backend(format!("`{op}` has no implementation")))?;
        let call = self.builder.ins().call(callee, &[a]);
        Ok(self.builder.inst_results(call)[0])
    }

    /// Cranelift turns the selections into single instructions; like those, they give `b` where `a` or `b` is not a number.
    pub(super) fn binary(&mut self, op: BinaryOp, a: Value, b: Value) -> Value {
        match op {
            BinaryOp::Add => self.builder.ins().fadd(a, b),
            BinaryOp::Sub => self.builder.ins().fsub(a, b),
            BinaryOp::Mul => self.builder.ins().fmul(a, b),
            BinaryOp::Div => self.builder.ins().fdiv(a, b),
            BinaryOp::Max => {
                let flag = self.builder.ins().fcmp(FloatCC::LessThan, b, a);
                self.builder.ins().select(flag, a, b)
            }
            BinaryOp::Min => {
                let flag = self.builder.ins().fcmp(FloatCC::LessThan, a, b);
                self.builder.ins().select(flag, a, b)
            }
        }
    }
}
