//! Tiles of 4 lanes to Cranelift IR, for every target.
//!
//! The function has the same interface as those of [`crate::emit::x86`]. A virtual register is one 128-bit vector, or
//! four scalars on a target without vectors; every operation is applied to each of these parts.
//!
//! If a tile never stores through a pointer, its loads through this pointer may be moved. So a tile must not write memory that it
//! reads later through another pointer.

use crate::emit::registers::register_count;
use crate::error::CodegenError;
use cranelift_codegen::ir::condcodes::{FloatCC, IntCC};
use cranelift_codegen::ir::types::{F32, F32X4, I32, I32X4, I64};
use cranelift_codegen::ir::{Block, BlockArg, Endianness, Function, InstBuilder, MemFlagsData, Type, Value};
use cranelift_codegen::isa::TargetFrontendConfig;
use cranelift_frontend::{FunctionBuilder, FunctionBuilderContext, Variable};
use sonar_ir::entity::EntityVec;
use sonar_ir::scalar::{BinaryOp, UnaryOp};
use sonar_ir::tile::{Addr, BitsOp, Inst, Ptr, Reg, Tile, TileStmt};

/// The instructions that the target has.
#[derive(Clone, Copy)]
pub(crate) struct Features {
    /// 128-bit vectors.
    pub vectors: bool,
    /// Fused multiply-add.
    pub fma: bool,
}

/// Fills `func`, whose signature takes the array of pointers, with the code of a tile of 4 lanes.
pub(crate) fn emit(
    tile: &Tile,
    features: Features,
    func: &mut Function,
    context: &mut FunctionBuilderContext,
    config: TargetFrontendConfig,
) -> Result<(), CodegenError> {
    if tile.lanes != LANES || tile.tail >= LANES {
        return Err(unsupported(tile, format!("{} lanes, tail {}", tile.lanes, tile.tail)));
    }
    let mut builder = FunctionBuilder::new(func, context);
    let entry = builder.create_block();
    builder.append_block_params_for_function_params(entry);
    builder.switch_to_block(entry);
    let arguments = builder.block_params(entry)[0];

    let mut stored = EntityVec::filled(false, tile.pointers);
    mark_stored(&tile.body, &mut stored);
    let mut pointers = EntityVec::new();
    for i in 0..tile.pointers {
        let variable = builder.declare_var(I64);
        let value = builder.ins().load(I64, MemFlagsData::trusted().with_readonly(), arguments, 8 * i as i32);
        builder.def_var(variable, value);
        pointers.push(variable);
    }
    let (ty, parts) = if features.vectors { (F32X4, 1) } else { (F32, LANES) };
    let registers = EntityVec::filled(None, register_count(&tile.body));
    let mut emitter = Emitter { tile, features, builder, pointers, registers, stored, ty, parts };
    emitter.block(&tile.body)?;
    emitter.builder.ins().return_(&[]);
    emitter.builder.seal_all_blocks();
    emitter.builder.finalize(config);
    Ok(())
}

const LANES: usize = 4;

fn unsupported(tile: &Tile, reason: impl Into<String>) -> CodegenError {
    CodegenError::Unsupported { name: tile.name.clone(), reason: reason.into() }
}

fn mark_stored(block: &[TileStmt], stored: &mut EntityVec<Ptr, bool>) {
    for stmt in block {
        match stmt {
            TileStmt::Loop { body, .. } => mark_stored(body, stored),
            TileStmt::Inst(Inst::Store { addr, .. } | Inst::StoreFirst { addr, .. }) => {
                if let Some(stored) = stored.get_mut(addr.ptr) {
                    *stored = true;
                }
            }
            _ => {}
        }
    }
}

struct Emitter<'a> {
    tile: &'a Tile,
    features: Features,
    builder: FunctionBuilder<'a>,
    pointers: EntityVec<Ptr, Variable>,
    /// The parts of each virtual register that was written so far.
    registers: EntityVec<Reg, Option<Vec<Variable>>>,
    stored: EntityVec<Ptr, bool>,
    /// Type of a part.
    ty: Type,
    /// Parts of a virtual register.
    parts: usize,
}

impl Emitter<'_> {
    fn block(&mut self, block: &[TileStmt]) -> Result<(), CodegenError> {
        for stmt in block {
            match stmt {
                TileStmt::Loop { trips: 0, .. } => return Err(unsupported(self.tile, "a loop of no iterations")),
                TileStmt::Loop { trips: 1, body } => self.block(body)?,
                TileStmt::Loop { trips, body } => self.repeat(*trips, body)?,
                TileStmt::Advance { ptr, by } => {
                    let variable = self.pointer(*ptr)?;
                    let value = self.builder.use_var(variable);
                    let moved = self.builder.ins().iadd_imm_s(value, 4 * i64::from(*by));
                    self.builder.def_var(variable, moved);
                }
                TileStmt::Inst(inst) => self.inst(inst)?,
            }
        }
        Ok(())
    }

    fn repeat(&mut self, trips: u32, body: &[TileStmt]) -> Result<(), CodegenError> {
        let b = &mut self.builder;
        let (head, exit): (Block, Block) = (b.create_block(), b.create_block());
        let counter = b.append_block_param(head, I64);
        let trips = b.ins().iconst(I64, i64::from(trips));
        b.ins().jump(head, &[BlockArg::from(trips)]);
        b.switch_to_block(head);
        self.block(body)?;
        let b = &mut self.builder;
        let left = b.ins().iadd_imm_s(counter, -1);
        let more = b.ins().icmp_imm_s(IntCC::NotEqual, left, 0);
        b.ins().brif(more, head, &[BlockArg::from(left)], exit, &[]);
        b.switch_to_block(exit);
        Ok(())
    }

    fn pointer(&self, ptr: Ptr) -> Result<Variable, CodegenError> {
        self.pointers.get(ptr).copied().ok_or_else(|| unsupported(self.tile, format!("no pointer {}", ptr.0)))
    }

    fn read(&mut self, reg: Reg) -> Result<Vec<Value>, CodegenError> {
        match &self.registers[reg] {
            Some(parts) => Ok(parts.iter().map(|part| self.builder.use_var(*part)).collect()),
            None => Err(unsupported(self.tile, format!("register {} is read before it is written", reg.0))),
        }
    }

    fn write(&mut self, reg: Reg, values: &[Value]) {
        let parts = self.registers[reg].get_or_insert_with(|| values.iter().map(|_| self.builder.declare_var(self.ty)).collect());
        for (part, value) in parts.iter().zip(values) {
            self.builder.def_var(*part, *value);
        }
    }

    fn load(&mut self, ty: Type, addr: Addr, lane: usize) -> Result<Value, CodegenError> {
        let base = self.pointer(addr.ptr)?;
        let base = self.builder.use_var(base);
        let offset = self.offset(addr, lane)?;
        let flags = MemFlagsData::new().with_notrap();
        let flags = if self.stored[addr.ptr] { flags } else { flags.with_readonly().with_can_move() };
        Ok(self.builder.ins().load(ty, flags, base, offset))
    }

    fn offset(&self, addr: Addr, lane: usize) -> Result<i32, CodegenError> {
        let elements = addr.offset.checked_add(lane as i32);
        let bytes = elements.and_then(|elements| elements.checked_mul(4));
        bytes.ok_or_else(|| unsupported(self.tile, format!("an offset of {} elements", addr.offset)))
    }

    fn splat(&mut self, value: f32) -> Value {
        let scalar = self.builder.ins().f32const(value);
        if self.ty == F32X4 { self.builder.ins().splat(F32X4, scalar) } else { scalar }
    }

    fn inst(&mut self, inst: &Inst) -> Result<(), CodegenError> {
        match *inst {
            Inst::Const { dst, value } => {
                let value = self.splat(value);
                self.write(dst, &vec![value; self.parts]);
            }
            Inst::Load { dst, addr, masked } => {
                let values = self.load_register(addr, if self.masked(masked)? { self.tile.tail } else { LANES })?;
                self.write(dst, &values);
            }
            Inst::Store { src, addr, masked } => {
                let values = self.read(src)?;
                self.store_register(&values, addr, if self.masked(masked)? { self.tile.tail } else { LANES })?;
            }
            Inst::Broadcast { dst, addr } => {
                let value = self.broadcast(addr)?;
                self.write(dst, &vec![value; self.parts]);
            }
            Inst::Copy { dst, a } => {
                let values = self.read(a)?;
                self.write(dst, &values);
            }
            Inst::Unary { op, dst, a } => {
                let a = self.read(a)?;
                let values = a.into_iter().map(|a| self.unary(op, a)).collect::<Result<Vec<_>, _>>()?;
                self.write(dst, &values);
            }
            Inst::Binary { op, dst, a, b } => {
                let (a, b) = (self.read(a)?, self.read(b)?);
                let values: Vec<Value> = a.into_iter().zip(b).map(|(a, b)| self.binary(op, a, b)).collect();
                self.write(dst, &values);
            }
            Inst::Bits { op, dst, a, constant } => {
                let a = self.read(a)?;
                let values: Vec<Value> = a.into_iter().map(|a| self.bits(op, a, constant)).collect();
                self.write(dst, &values);
            }
            Inst::Or { dst, a, b } => {
                let (a, b) = (self.read(a)?, self.read(b)?);
                let values: Vec<Value> = a.into_iter().zip(b).map(|(a, b)| self.or(a, b)).collect();
                self.write(dst, &values);
            }
            Inst::Fill { dst, a, value } => {
                let tail = if self.masked(true)? { self.tile.tail } else { LANES };
                let lanes = self.lanes(a)?;
                let value = self.builder.ins().f32const(value);
                let lanes = lanes.into_iter().take(tail).chain(std::iter::repeat(value)).take(LANES).collect();
                self.write_lanes(dst, lanes);
            }
            Inst::Swap { dst, a, distance } => {
                let lanes = self.lanes(a)?;
                let lanes = (0..LANES).map(|lane| lanes[(lane ^ distance as usize) % LANES]).collect();
                self.write_lanes(dst, lanes);
            }
            Inst::StoreFirst { src, addr } => {
                let values = self.read(src)?;
                self.store_register(&values, addr, 1)?;
            }
            Inst::Fma { acc, a, b } => {
                let a = self.read(a)?;
                self.fma(acc, &a, b)?;
            }
            Inst::FmaBroadcast { acc, addr, b } => {
                let a = self.broadcast(addr)?;
                self.fma(acc, &vec![a; self.parts], b)?;
            }
        }
        Ok(())
    }

    /// Each lane of a register as a scalar.
    fn lanes(&mut self, reg: Reg) -> Result<Vec<Value>, CodegenError> {
        let parts = self.read(reg)?;
        if self.ty == F32 {
            return Ok(parts);
        }
        Ok((0..LANES as u8).map(|lane| self.builder.ins().extractlane(parts[0], lane)).collect())
    }

    fn write_lanes(&mut self, dst: Reg, lanes: Vec<Value>) {
        if self.ty == F32 {
            return self.write(dst, &lanes);
        }
        let first = self.builder.ins().splat(F32X4, lanes[0]);
        let insert = |vector, (lane, value)| self.builder.ins().insertlane(vector, value, lane as u8);
        let vector = lanes.into_iter().enumerate().skip(1).fold(first, insert);
        self.write(dst, &[vector]);
    }

    fn bits(&mut self, op: BitsOp, a: Value, constant: u32) -> Value {
        let little = MemFlagsData::new().with_endianness(Endianness::Little);
        let integer = if self.ty == F32X4 { I32X4 } else { I32 };
        let a = self.builder.ins().bitcast(integer, little, a);
        let scalar = self.builder.ins().iconst(I32, i64::from(constant));
        let result = match op {
            BitsOp::Shl => self.builder.ins().ishl(a, scalar),
            BitsOp::Shr => self.builder.ins().ushr(a, scalar),
            BitsOp::And | BitsOp::Or => {
                let constant = if integer == I32 { scalar } else { self.builder.ins().splat(I32X4, scalar) };
                if op == BitsOp::And { self.builder.ins().band(a, constant) } else { self.builder.ins().bor(a, constant) }
            }
        };
        self.builder.ins().bitcast(self.ty, little, result)
    }

    fn or(&mut self, a: Value, b: Value) -> Value {
        let little = MemFlagsData::new().with_endianness(Endianness::Little);
        let integer = if self.ty == F32X4 { I32X4 } else { I32 };
        let [a, b] = [a, b].map(|value| self.builder.ins().bitcast(integer, little, value));
        let either = self.builder.ins().bor(a, b);
        self.builder.ins().bitcast(self.ty, little, either)
    }

    fn masked(&self, masked: bool) -> Result<bool, CodegenError> {
        match masked && self.tile.tail == 0 {
            true => Err(unsupported(self.tile, "a masked instruction without a tail")),
            false => Ok(masked),
        }
    }

    /// The first `count` lanes from memory, the others 0.
    fn load_register(&mut self, addr: Addr, count: usize) -> Result<Vec<Value>, CodegenError> {
        if self.ty == F32X4 && count == LANES {
            return Ok(vec![self.load(F32X4, addr, 0)?]);
        }
        let lanes = (0..count).map(|lane| self.load(F32, addr, lane)).collect::<Result<Vec<_>, _>>()?;
        let zero = self.splat(0.0);
        if self.ty == F32X4 {
            let insert = |vector, (lane, value)| self.builder.ins().insertlane(vector, value, lane as u8);
            return Ok(vec![lanes.into_iter().enumerate().fold(zero, insert)]);
        }
        Ok(lanes.into_iter().chain(std::iter::repeat(zero)).take(LANES).collect())
    }

    fn store_register(&mut self, values: &[Value], addr: Addr, count: usize) -> Result<(), CodegenError> {
        let flags = MemFlagsData::new().with_notrap();
        let base = self.pointer(addr.ptr)?;
        let base = self.builder.use_var(base);
        if self.ty == F32X4 && count == LANES {
            let offset = self.offset(addr, 0)?;
            self.builder.ins().store(flags, values[0], base, offset);
            return Ok(());
        }
        for lane in 0..count {
            let offset = self.offset(addr, lane)?;
            let value = if self.ty == F32X4 { self.builder.ins().extractlane(values[0], lane as u8) } else { values[lane] };
            self.builder.ins().store(flags, value, base, offset);
        }
        Ok(())
    }

    fn broadcast(&mut self, addr: Addr) -> Result<Value, CodegenError> {
        let scalar = self.load(F32, addr, 0)?;
        Ok(if self.ty == F32X4 { self.builder.ins().splat(F32X4, scalar) } else { scalar })
    }

    fn fma(&mut self, acc: Reg, a: &[Value], b: Reg) -> Result<(), CodegenError> {
        let (old, b) = (self.read(acc)?, self.read(b)?);
        let mut new = Vec::with_capacity(old.len());
        for ((acc, a), b) in old.into_iter().zip(a).zip(b) {
            new.push(if self.features.fma {
                self.builder.ins().fma(*a, b, acc)
            } else {
                let product = self.builder.ins().fmul(*a, b);
                self.builder.ins().fadd(acc, product)
            });
        }
        self.write(acc, &new);
        Ok(())
    }

    fn unary(&mut self, op: UnaryOp, a: Value) -> Result<Value, CodegenError> {
        Ok(match op {
            UnaryOp::Neg => self.builder.ins().fneg(a),
            UnaryOp::Abs => self.builder.ins().fabs(a),
            UnaryOp::Sqrt => self.builder.ins().sqrt(a),
            UnaryOp::Step => {
                let one = self.splat(1.0);
                self.binary(BinaryOp::Gate, one, a)
            }
            _ => return Err(unsupported(self.tile, format!("`{op}` is not a vector instruction"))),
        })
    }

    fn binary(&mut self, op: BinaryOp, a: Value, b: Value) -> Value {
        match op {
            BinaryOp::Add => self.builder.ins().fadd(a, b),
            BinaryOp::Sub => self.builder.ins().fsub(a, b),
            BinaryOp::Mul => self.builder.ins().fmul(a, b),
            BinaryOp::Div => self.builder.ins().fdiv(a, b),
            BinaryOp::Max => self.select(FloatCC::LessThan, b, a, a, b),
            BinaryOp::Min => self.select(FloatCC::LessThan, a, b, a, b),
            BinaryOp::Gate => {
                let zero = self.splat(0.0);
                // Not `b` itself: without AVX, Cranelift lets the comparison read an unaligned operand from memory.
                let positive = self.binary(BinaryOp::Max, b, zero);
                self.select(FloatCC::GreaterThan, positive, zero, a, zero)
            }
        }
    }

    /// `yes` in the lanes where the comparison `condition` of `left` and `right` holds, else `no`. Cranelift turns the forms of `max` and
    /// `min` into single instructions.
    fn select(&mut self, condition: FloatCC, left: Value, right: Value, yes: Value, no: Value) -> Value {
        let flag = self.builder.ins().fcmp(condition, left, right);
        if self.ty == F32 {
            return self.builder.ins().select(flag, yes, no);
        }
        let little = MemFlagsData::new().with_endianness(Endianness::Little);
        debug_assert_eq!(self.builder.func.dfg.value_type(flag).lane_type(), I32);
        let mask = self.builder.ins().bitcast(F32X4, little, flag);
        self.builder.ins().bitselect(mask, yes, no)
    }
}
