//! Values: loads, arithmetic, and scalar functions.

use super::Emitter;
use super::conditions::Condition;
use super::math::MathFunction;
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
            Expr::Binary(op @ (BinaryOp::Max | BinaryOp::Min), number, other)
            | Expr::Binary(op @ (BinaryOp::Max | BinaryOp::Min), other, number)
                if matches!(**number, Expr::Const(value) if !value.is_nan()) =>
            {
                let (number, other) = (self.expr(number, acc)?, self.expr(other, acc)?);
                Ok(self.instruction(*op, number, other))
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

    fn guard(&mut self, bounds: &[Bound], value: &Expr, otherwise: f32, acc: Option<Value>) -> Result<Value, CodegenError> {
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

    fn unary(&mut self, op: UnaryOp, a: Value) -> Result<Value, CodegenError> {
        Ok(match op {
            UnaryOp::Neg => self.builder.ins().fneg(a),
            UnaryOp::Abs => self.builder.ins().fabs(a),
            UnaryOp::Sqrt => self.builder.ins().sqrt(a),
            UnaryOp::Relu => self.relu(a),
            UnaryOp::Step => {
                let one = self.number(1.0);
                self.binary(BinaryOp::Gate, one, a)
            }
            UnaryOp::Recip => {
                let one = self.number(1.0);
                self.builder.ins().fdiv(one, a)
            }
            UnaryOp::Rsqrt => {
                let one = self.number(1.0);
                let root = self.builder.ins().sqrt(a);
                self.builder.ins().fdiv(one, root)
            }
            // 1 / (1 + e) above 0 and e / (1 + e) below. Here e is exp(-|a|), which does not overflow.
            UnaryOp::Sigmoid => {
                let (zero, one) = (self.number(0.0), self.number(1.0));
                let size = self.builder.ins().fabs(a);
                let negative = self.builder.ins().fneg(size);
                let power = self.call_math(MathFunction::Exp, negative)?;
                let above = self.builder.ins().fcmp(FloatCC::GreaterThan, a, zero);
                let numerator = self.builder.ins().select(above, one, power);
                let denominator = self.builder.ins().fadd(one, power);
                self.builder.ins().fdiv(numerator, denominator)
            }
            UnaryOp::Exp => self.call_math(MathFunction::Exp, a)?,
            UnaryOp::Expm1 => self.call_math(MathFunction::Expm1, a)?,
            UnaryOp::Log => self.call_math(MathFunction::Log, a)?,
            UnaryOp::Log1p => self.call_math(MathFunction::Log1p, a)?,
            UnaryOp::Tanh => self.call_math(MathFunction::Tanh, a)?,
            UnaryOp::Erf => self.call_math(MathFunction::Erf, a)?,
            // max(a, 0) - |a| erfc(|a| / √2) / 2, with |a| clamped to finite values.
            UnaryOp::Gelu => {
                let (half, end) = (self.number(0.5), self.number(16.0));
                let scale = self.number(std::f32::consts::FRAC_1_SQRT_2);
                let size = self.builder.ins().fabs(a);
                let size = self.instruction(BinaryOp::Min, end, size);
                let scaled = self.builder.ins().fmul(size, scale);
                let rest = self.call_math(MathFunction::Erfc, scaled)?;
                let rest = self.builder.ins().fmul(rest, half);
                let lost = self.builder.ins().fmul(size, rest);
                let positive = self.relu(a);
                self.builder.ins().fsub(positive, lost)
            }
            UnaryOp::GeluTanh => {
                let slope = 2.0 * std::f64::consts::FRAC_2_PI.sqrt();
                let (linear, cubic) = (self.number(slope as f32), self.number((slope * UnaryOp::GELU_CUBIC) as f32));
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
                let (half, one, sixth) = (self.number(0.5), self.number(1.0), self.number(1.0 / 6.0));
                let line = self.builder.ins().fmul(a, sixth);
                let line = self.builder.ins().fadd(line, half);
                let gate = self.relu(line);
                let gate = self.instruction(BinaryOp::Min, one, gate);
                self.builder.ins().fmul(a, gate)
            }
        })
    }

    fn number(&mut self, value: f32) -> Value {
        self.builder.ins().f32const(value)
    }

    fn relu(&mut self, a: Value) -> Value {
        let zero = self.number(0.0);
        self.instruction(BinaryOp::Max, zero, a)
    }

    fn call_math(&mut self, function: MathFunction, a: Value) -> Result<Value, CodegenError> {
        let callee = self.callees.math.iter().find(|(known, _)| *known == function).map(|(_, callee)| *callee);
        let callee = callee.ok_or_else(|| CodegenError::Backend(format!("`{}` is not declared", function.symbol())))?;
        let call = self.builder.ins().call(callee, &[a]);
        Ok(self.builder.inst_results(call)[0])
    }

    /// `max` and `min` as processors compute them: they give `b` if `a` or `b` is NaN. Cranelift turns the
    /// selections into single instructions. If `a` is a number, the result is that of [`BinaryOp`], at a third of the cost.
    fn instruction(&mut self, op: BinaryOp, a: Value, b: Value) -> Value {
        let (left, right) = if op == BinaryOp::Max { (b, a) } else { (a, b) };
        let flag = self.builder.ins().fcmp(FloatCC::LessThan, left, right);
        self.builder.ins().select(flag, a, b)
    }

    pub(super) fn binary(&mut self, op: BinaryOp, a: Value, b: Value) -> Value {
        match op {
            BinaryOp::Add => self.builder.ins().fadd(a, b),
            BinaryOp::Sub => self.builder.ins().fsub(a, b),
            BinaryOp::Mul => self.builder.ins().fmul(a, b),
            BinaryOp::Div => self.builder.ins().fdiv(a, b),
            BinaryOp::Max => self.builder.ins().fmax(a, b),
            BinaryOp::Min => self.builder.ins().fmin(a, b),
            BinaryOp::Gate => {
                let zero = self.number(0.0);
                let above = self.builder.ins().fcmp(FloatCC::GreaterThan, b, zero);
                self.builder.ins().select(above, a, zero)
            }
        }
    }
}
