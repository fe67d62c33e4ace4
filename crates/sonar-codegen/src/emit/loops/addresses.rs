//! Addresses as running pointers. Each part of an affine address is computed at the outermost loop where it is known.

use super::{Binding, Emitter, Moving};
use crate::error::CodegenError;
use cranelift_codegen::ir::{InstBuilder, Value};
use sonar_ir::loops::{Access, Affine, Var};

impl Emitter<'_> {
    /// The terms of an access whose variables are in scope and have no constant value.
    pub(super) fn moving(&self, access: &Access) -> Moving {
        (access.buffer, self.dynamic_terms(&access.index))
    }

    pub(super) fn dynamic_terms(&self, affine: &Affine) -> Vec<(Var, i64)> {
        affine.terms.iter().copied().filter(|(v, _)| matches!(self.binding(*v), Binding::Dynamic(..))).collect()
    }

    /// The constant part of an affine function, and whether every variable of it is in scope.
    pub(super) fn constant_part(&self, affine: &Affine) -> (i64, bool) {
        let mut offset = affine.offset;
        let mut complete = true;
        for &(var, coefficient) in &affine.terms {
            match self.binding(var) {
                Binding::Unbound => complete = false,
                Binding::Dynamic(..) => {}
                Binding::Constant(value) => offset += coefficient * value,
            }
        }
        (offset, complete)
    }

    /// The pointer of a moving address. It is computed here unless an enclosing loop carries it.
    pub(super) fn pointer(&mut self, moving: &Moving) -> Result<Value, CodegenError> {
        if let Some(pointer) = self.scopes.iter().rev().find_map(|scope| scope.pointers.get(moving)) {
            return Ok(*pointer);
        }
        let Some(mut pointer) = self.buffers.get(moving.0).copied() else {
            return Err(self.unsupported(format!("no buffer {}", moving.0.0)));
        };
        for &(var, coefficient) in &moving.1 {
            if let Binding::Dynamic(value, _) = self.binding(var) {
                pointer = self.advance(pointer, value, coefficient);
            }
        }
        Ok(pointer)
    }

    /// `pointer + by · elements`.
    pub(super) fn advance(&mut self, pointer: Value, by: Value, elements: i64) -> Value {
        let bytes = self.builder.ins().imul_imm_s(by, 4 * elements);
        self.builder.ins().iadd(pointer, bytes)
    }

    /// A base address and a displacement in bytes.
    pub(super) fn address(&mut self, access: &Access) -> Result<(Value, i32), CodegenError> {
        let (offset, complete) = self.constant_part(&access.index);
        if !complete {
            return Err(self.unsupported("an address uses a variable outside its loop"));
        }
        let pointer = self.pointer(&self.moving(access))?;
        match i32::try_from(4 * offset) {
            Ok(displacement) => Ok((pointer, displacement)),
            Err(_) => Ok((self.builder.ins().iadd_imm_s(pointer, 4 * offset), 0)),
        }
    }
}
