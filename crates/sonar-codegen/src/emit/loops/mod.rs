//! Loop programs to Cranelift IR.
//!
//! The function is `fn(args: *const *mut f32, low: i64, high: i64)`. `args` has the addresses of all buffers of the program in
//! order. If the outermost loop is parallel, `low..high` are the iterations to run (see [`parallel_extent`]).
//!
//! Addresses are running pointers. Each loop carries and increments one pointer for every address below it that moves with the
//! loop. Accesses to one buffer that differ by a constant share a pointer. So each part of an affine address is computed at the
//! outermost loop where it is known. Conditions are evaluated in the same way.

mod addresses;
mod conditions;
mod expressions;
pub(crate) mod math;

use crate::emit::references::References;
use crate::error::CodegenError;
use conditions::Condition;
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::types::{F32, I64};
use cranelift_codegen::ir::{BlockArg, FuncRef, Function, InstBuilder, MemFlagsData, StackSlot};
use cranelift_codegen::ir::{StackSlotData, StackSlotKind, Value};
use cranelift_codegen::isa::TargetFrontendConfig;
use cranelift_frontend::{FunctionBuilder, FunctionBuilderContext};
use math::MathFunction;
use sonar_ir::entity::EntityVec;
use sonar_ir::loops::{Access, Bound, BufId, BufferKind, LoopKind, Program, Reduce, Stmt, TileId, Update, Var};
use sonar_ir::scalar::ReduceOp;
use std::collections::HashMap;

/// Functions that a program calls.
pub(crate) struct Callees {
    /// The tiles of the program.
    pub tiles: EntityVec<TileId, FuncRef>,
    /// Functions of the C library that the statements call.
    pub math: Vec<(MathFunction, FuncRef)>,
}

/// The number of iterations that may be divided between threads, if the body is one parallel loop.
pub(crate) fn parallel_extent(program: &Program) -> Option<usize> {
    match program.body.as_slice() {
        [Stmt::For { extent, kind: LoopKind::Parallel, .. }] => Some(*extent),
        _ => None,
    }
}

/// Fills `func` with `stmts`, the setup or the body of `program`. With `divided`, the only statement is a loop, and the arguments
/// `low` and `high` are its range.
pub(crate) fn emit(
    program: &Program,
    stmts: &[Stmt],
    divided: bool,
    callees: &Callees,
    func: &mut Function,
    context: &mut FunctionBuilderContext,
    config: TargetFrontendConfig,
) -> Result<(), CodegenError> {
    let mut builder = FunctionBuilder::new(func, context);
    let entry = builder.create_block();
    builder.append_block_params_for_function_params(entry);
    builder.switch_to_block(entry);
    let params = builder.block_params(entry).to_vec();
    let flags = MemFlagsData::trusted().with_readonly().with_can_move();
    let buffers = (0..program.buffers.len()).map(|i| builder.ins().load(I64, flags, params[0], 8 * i as i32)).collect();
    let mut emitter = Emitter {
        program,
        callees,
        builder,
        buffers,
        bindings: EntityVec::filled(Binding::Unbound, program.vars.len()),
        scopes: Vec::new(),
        guards: 0,
        arguments: None,
        packing: std::ptr::eq(stmts, program.setup.as_slice()) && !program.setup.is_empty(),
    };
    match stmts {
        [Stmt::For { var, body, extent, .. }] if divided => {
            let range = Range { low: params[1], high: params[2], extent: *extent, may_be_empty: true };
            emitter.repeat(*var, range, References::of(body), vec![], |e, _| {
                e.block(body)?;
                Ok(vec![])
            })?;
        }
        _ => emitter.block(stmts)?,
    }
    emitter.builder.ins().return_(&[]);
    emitter.builder.seal_all_blocks();
    emitter.builder.finalize(config);
    Ok(())
}

/// The value of a loop variable.
#[derive(Clone, Copy)]
enum Binding {
    /// Outside of its loop.
    Unbound,
    /// The value at run time, and the number of different values.
    Dynamic(Value, usize),
    /// The value in this copy of an unrolled body.
    Constant(i64),
}

/// The moving part of an address.
type Moving = (BufId, Vec<(Var, i64)>);

/// Values that the enclosing loop computes.
#[derive(Default)]
struct Scope {
    pointers: HashMap<Moving, Value>,
    conditions: HashMap<Bound, Value>,
}

/// Iterations of a loop at run time.
struct Range {
    low: Value,
    high: Value,
    /// The most iterations there can be.
    extent: usize,
    may_be_empty: bool,
}

struct Emitter<'a> {
    program: &'a Program,
    callees: &'a Callees,
    builder: FunctionBuilder<'a>,
    buffers: EntityVec<BufId, Value>,
    bindings: EntityVec<Var, Binding>,
    scopes: Vec<Scope>,
    /// How many conditions enclose the current statement.
    guards: usize,
    /// The stack slot for the pointers that tiles take.
    arguments: Option<StackSlot>,
    /// Whether packed buffers are written.
    packing: bool,
}

impl<'a> Emitter<'a> {
    fn unsupported(&self, reason: impl Into<String>) -> CodegenError {
        CodegenError::Unsupported { name: self.program.name.clone(), reason: reason.into() }
    }

    fn block(&mut self, stmts: &'a [Stmt]) -> Result<(), CodegenError> {
        stmts.iter().try_for_each(|stmt| self.stmt(stmt))
    }

    fn stmt(&mut self, stmt: &'a Stmt) -> Result<(), CodegenError> {
        match stmt {
            Stmt::For { extent: 0, .. } => Ok(()),
            Stmt::For { var, extent, kind: LoopKind::Unrolled, body } => self.unroll(*var, *extent, body),
            Stmt::For { var, extent: 1, body, .. } => self.unroll(*var, 1, body),
            Stmt::For { var, extent, body, .. } => {
                let range = self.whole(*extent);
                self.repeat(*var, range, References::of(body), vec![], |e, _| {
                    e.block(body)?;
                    Ok(vec![])
                })?;
                Ok(())
            }
            Stmt::If { bounds, body } => self.guarded(bounds, body),
            Stmt::Store { target, value } => {
                let value = self.expr(value, None)?;
                self.store(target, value)
            }
            Stmt::Reduce(reduce) => self.reduce(reduce),
            Stmt::Call { tile, args } => self.call(*tile, args),
        }
    }

    fn unroll(&mut self, var: Var, extent: usize, body: &'a [Stmt]) -> Result<(), CodegenError> {
        for i in 0..extent as i64 {
            self.bind(var, Binding::Constant(i))?;
            self.block(body)?;
        }
        self.bind(var, Binding::Unbound)
    }

    fn guarded(&mut self, bounds: &[Bound], body: &'a [Stmt]) -> Result<(), CodegenError> {
        let condition = match self.condition(bounds)? {
            Condition::Always => return self.block(body),
            Condition::Never => return Ok(()),
            Condition::When(condition) => condition,
        };
        let (inside, after) = (self.builder.create_block(), self.builder.create_block());
        self.builder.ins().brif(condition, inside, &[], after, &[]);
        self.builder.switch_to_block(inside);
        self.guards += 1;
        self.block(body)?;
        self.guards -= 1;
        self.builder.ins().jump(after, &[]);
        self.builder.switch_to_block(after);
        Ok(())
    }

    fn reduce(&mut self, reduce: &'a Reduce) -> Result<(), CodegenError> {
        let mut acc = self.expr(&reduce.init, None)?;
        for update in &reduce.updates {
            acc = self.update(update, &update.loops, acc)?;
        }
        let result = self.expr(&reduce.finish, Some(acc))?;
        self.store(&reduce.target, result)
    }

    /// The accumulator after an update; `loops` are the loops of the update that are not emitted yet.
    fn update(&mut self, update: &'a Update, loops: &'a [(Var, usize)], acc: Value) -> Result<Value, CodegenError> {
        let Some(&(var, extent)) = loops.first() else {
            let value = self.expr(&update.value, None)?;
            return match update.op {
                ReduceOp::Mean => Err(self.unsupported("a reduction by mean")),
                op => Ok(self.binary(op.combine(), acc, value)),
            };
        };
        match extent {
            0 => Ok(acc),
            1 => {
                self.bind(var, Binding::Constant(0))?;
                let acc = self.update(update, &loops[1..], acc)?;
                self.bind(var, Binding::Unbound)?;
                Ok(acc)
            }
            _ => {
                let range = self.whole(extent);
                let uses = References::of_expr(&update.value);
                let carried = self
                    .repeat(var, range, uses, vec![acc], |e, carried| Ok(vec![e.update(update, &loops[1..], carried[0])?]))?;
                Ok(carried[0])
            }
        }
    }

    fn whole(&mut self, extent: usize) -> Range {
        let low = self.builder.ins().iconst(I64, 0);
        let high = self.builder.ins().iconst(I64, extent as i64);
        Range { low, high, extent, may_be_empty: false }
    }

    /// A counted loop. It carries its variable, the pointers that move with it, and `carried`. Returns the values of `carried` at the
    /// end.
    fn repeat(
        &mut self,
        var: Var,
        range: Range,
        uses: References<'_>,
        carried: Vec<Value>,
        body: impl FnOnce(&mut Self, &[Value]) -> Result<Vec<Value>, CodegenError>,
    ) -> Result<Vec<Value>, CodegenError> {
        let (head, exit) = (self.builder.create_block(), self.builder.create_block());
        let counter = self.builder.append_block_param(head, I64);
        self.bind(var, Binding::Dynamic(counter, range.extent))?;

        let mut scope = Scope::default();
        let mut moving: Vec<(Value, i64)> = Vec::new();
        let mut entry: Vec<BlockArg> = vec![range.low.into()];
        for access in uses.accesses {
            let key = self.moving(access);
            let Some(&(_, step)) = key.1.iter().find(|(v, _)| *v == var) else { continue };
            if scope.pointers.contains_key(&key) {
                continue;
            }
            let outer: Moving = (key.0, key.1.iter().copied().filter(|(v, _)| *v != var).collect());
            let start = self.pointer(&outer)?;
            let start = if range.may_be_empty { self.advance(start, range.low, step) } else { start };
            entry.push(start.into());
            let pointer = self.builder.append_block_param(head, I64);
            moving.push((pointer, 4 * step));
            scope.pointers.insert(key, pointer);
        }
        let inside: Vec<Value> = carried
            .iter()
            .map(|value| {
                let ty = self.builder.func.dfg.value_type(*value);
                self.builder.append_block_param(exit, ty);
                self.builder.append_block_param(head, ty)
            })
            .collect();
        let leave: Vec<BlockArg> = carried.iter().map(|v| (*v).into()).collect();
        entry.extend(&leave);
        if range.may_be_empty {
            let any = self.builder.ins().icmp(IntCC::SignedLessThan, range.low, range.high);
            self.builder.ins().brif(any, head, &entry, exit, &leave);
        } else {
            self.builder.ins().jump(head, &entry);
        }

        self.builder.switch_to_block(head);
        self.scopes.push(scope);
        for bound in uses.bounds {
            self.evaluate_early(bound, var);
        }
        let results = body(self, &inside)?;
        self.scopes.pop();
        self.bind(var, Binding::Unbound)?;

        let next = self.builder.ins().iadd_imm_s(counter, 1);
        let mut again: Vec<BlockArg> = vec![next.into()];
        for (pointer, step) in moving {
            again.push(self.builder.ins().iadd_imm_s(pointer, step).into());
        }
        let leave: Vec<BlockArg> = results.iter().map(|v| (*v).into()).collect();
        again.extend(&leave);
        let more = self.builder.ins().icmp(IntCC::SignedLessThan, next, range.high);
        self.builder.ins().brif(more, head, &again, exit, &leave);
        self.builder.switch_to_block(exit);
        Ok(self.builder.block_params(exit).to_vec())
    }

    fn bind(&mut self, var: Var, binding: Binding) -> Result<(), CodegenError> {
        match self.bindings.get_mut(var) {
            Some(slot) => {
                *slot = binding;
                Ok(())
            }
            None => Err(self.unsupported(format!("no variable {}", var.0))),
        }
    }

    fn binding(&self, var: Var) -> Binding {
        self.bindings.get(var).copied().unwrap_or(Binding::Unbound)
    }

    fn load(&mut self, access: &Access) -> Result<Value, CodegenError> {
        let (pointer, displacement) = self.address(access)?;
        let kind = self.program.buffers[access.buffer].kind;
        let constant = kind == BufferKind::Input || (kind == BufferKind::Packed && !self.packing);
        let flags = MemFlagsData::trusted();
        // A load that may move can be hoisted above the conditions that guard its address.
        let flags = if constant && self.guards == 0 { flags.with_readonly().with_can_move() } else { flags };
        Ok(self.builder.ins().load(F32, flags, pointer, displacement))
    }

    fn store(&mut self, target: &Access, value: Value) -> Result<(), CodegenError> {
        let (pointer, displacement) = self.address(target)?;
        self.builder.ins().store(MemFlagsData::trusted(), value, pointer, displacement);
        Ok(())
    }

    fn call(&mut self, tile: TileId, args: &[Access]) -> Result<(), CodegenError> {
        let Some(&callee) = self.callees.tiles.get(tile) else {
            return Err(self.unsupported(format!("no tile {tile}")));
        };
        if self.program.tiles[tile].pointers != args.len() {
            return Err(self.unsupported(format!("tile {tile} is called with {} pointers", args.len())));
        }
        let most = self.program.tiles.iter().map(|t| t.pointers).max().unwrap_or(0);
        let slot = *self.arguments.get_or_insert_with(|| {
            let data = StackSlotData::new(StackSlotKind::ExplicitSlot, 8 * most as u32, 3);
            self.builder.create_sized_stack_slot(data)
        });
        for (i, access) in args.iter().enumerate() {
            let (pointer, displacement) = self.address(access)?;
            let pointer = match displacement {
                0 => pointer,
                _ => self.builder.ins().iadd_imm_s(pointer, i64::from(displacement)),
            };
            self.builder.ins().stack_store(I64, pointer, slot, 8 * i as i32);
        }
        let array = self.builder.ins().stack_addr(I64, slot, 0);
        self.builder.ins().call(callee, &[array]);
        Ok(())
    }
}
