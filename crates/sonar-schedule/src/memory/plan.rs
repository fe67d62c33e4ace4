//! Scheduled kernels with their memory: the plan that is compiled and run.

use sonar_ir::Op;
use sonar_ir::entity::EntityVec;
use sonar_ir::loops::{BufferKind, Program};
use sonar_ir::plan::{KernelCall, KernelId, Plan, Slot, SlotId, SlotKind};
use std::collections::HashMap;
use std::collections::hash_map::Entry;

use crate::lowering::{Kernel, TaskId, Tasks, Value};
use crate::memory::arena::{self, ALIGNMENT, Lifetime};

/// Plans the memory of all tensors and temporaries of a graph, given the scheduled program of each task.
///
/// Tensors between kernels share one arena. The place of a tensor is free again after the last kernel that reads it.
pub fn plan(tasks: &Tasks, programs: EntityVec<TaskId, Program>) -> Plan {
    let mut kernels: EntityVec<KernelId, Program> = EntityVec::new();
    let mut kernel_of_task: EntityVec<TaskId, KernelId> = EntityVec::new();
    for program in programs {
        let known = kernels.find(|kernel| same(kernel, &program));
        kernel_of_task.push(known.unwrap_or_else(|| kernels.push(program)));
    }

    let mut slots: EntityVec<SlotId, Slot> = EntityVec::new();
    let mut slot_of: HashMap<Value, SlotId> = HashMap::new();
    let mut input = 0;
    for (id, node) in tasks.graph.iter() {
        let kind = match &node.op {
            Op::Input => {
                input += 1;
                SlotKind::Input(input - 1)
            }
            Op::Param(_) => SlotKind::Param(node.name.clone().unwrap_or_default()),
            _ => continue,
        };
        slot_of.insert(Value::Node(id), slots.push(Slot { shape: node.ty.extents().unwrap_or_default(), kind }));
    }
    for (i, (&value, &node)) in tasks.outputs.iter().zip(&tasks.graph.outputs).enumerate() {
        let shape = tasks.graph.ty(node).extents().unwrap_or_default();
        slot_of.insert(value, slots.push(Slot { shape, kind: SlotKind::Output(i) }));
    }

    let mut tensors = Tensors::default();
    for (step, kernel) in tasks.kernels.iter().enumerate() {
        if let Entry::Vacant(entry) = slot_of.entry(kernel.output) {
            let slot = slots.push(Slot { shape: shape_of(tasks, kernel.output), kind: SlotKind::Arena { offset: 0 } });
            entry.insert(slot);
            tensors.slots.insert(slot, tensors.lifetimes.len());
            tensors.lifetimes.push(Lifetime { first: step, last: step, len: tasks.len_of(kernel.output) });
        }
        for value in kernel.inputs.iter().chain([&kernel.output]) {
            if let Some(&tensor) = tensors.slots.get(&slot_of[value]) {
                tensors.lifetimes[tensor].last = step;
            }
        }
        let len = scratch_len(&kernels[kernel_of_task[kernel.task]]);
        tensors.scratch.push(tensors.lifetimes.len());
        tensors.lifetimes.push(Lifetime { first: step, last: step, len });
    }
    let (offsets, arena) = arena::place(&tensors.lifetimes);
    for (&slot, &tensor) in &tensors.slots {
        slots[slot].kind = SlotKind::Arena { offset: offsets[tensor] };
    }
    let call = |(kernel, &scratch): (&Kernel, &usize)| KernelCall {
        kernel: kernel_of_task[kernel.task],
        args: kernel.inputs.iter().chain([&kernel.output]).map(|value| slot_of[value]).collect(),
        scratch: offsets[scratch],
    };
    let calls = tasks.kernels.iter().zip(&tensors.scratch).map(call).collect();
    Plan { name: tasks.graph.name.clone(), kernels, slots, calls, arena }
}

/// Whether two programs are equal except for their names.
fn same(a: &Program, b: &Program) -> bool {
    (&a.buffers, &a.vars, &a.tiles) == (&b.buffers, &b.vars, &b.tiles) && (&a.setup, &a.body) == (&b.setup, &b.body)
}

/// What is placed in the arena: tensors between kernels, and the temporaries of each call.
#[derive(Default)]
struct Tensors {
    lifetimes: Vec<Lifetime>,
    /// Slots in the arena, with the index of their lifetime.
    slots: HashMap<SlotId, usize>,
    /// For each call, the index of its temporaries' lifetime.
    scratch: Vec<usize>,
}

fn shape_of(tasks: &Tasks, value: Value) -> Vec<usize> {
    match value {
        Value::Node(id) => tasks.graph.ty(id).extents().unwrap_or_default(),
        Value::Internal(i) => vec![tasks.internals[i]],
    }
}

/// Total number of elements of a kernel's temporaries, each rounded up to the alignment.
fn scratch_len(program: &Program) -> usize {
    let temporaries = program.buffers.iter().filter(|buffer| buffer.kind == BufferKind::Temp);
    temporaries.map(|buffer| buffer.len.next_multiple_of(ALIGNMENT)).sum()
}
