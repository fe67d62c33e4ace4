//! Scheduled kernels with their memory: what is compiled and run.

use sonar_ir::Op;
use sonar_ir::loops::{BufferKind, Program};
use sonar_ir::plan::{KernelCall, Plan, Slot, SlotKind};
use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};

use crate::task::{Tasks, Value};

/// Offsets and sizes in the arena are multiples of this many elements: a cache line.
const ALIGNMENT: usize = 16;

/// Plans the memory of all tensors and temporaries of a graph, given the scheduled program of each task.
///
/// Tensors between kernels live in one arena; a tensor's place is free again after the last kernel that reads it.
pub fn plan(tasks: &Tasks, programs: Vec<Program>) -> Plan {
    let mut kernels: Vec<Program> = Vec::new();
    let mut kernel_of_task = Vec::new();
    for program in programs {
        let position = kernels.iter().position(|kernel| same(kernel, &program)).unwrap_or(kernels.len());
        if position == kernels.len() {
            kernels.push(program);
        }
        kernel_of_task.push(position);
    }

    let mut slots: Vec<Slot> = Vec::new();
    let mut slot_of: HashMap<Value, usize> = HashMap::new();
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
        slot_of.insert(Value::Node(id), slots.len());
        slots.push(Slot { shape: node.ty.extents().unwrap_or_default(), kind });
    }
    for (i, (&value, &node)) in tasks.outputs.iter().zip(&tasks.graph.outputs).enumerate() {
        slot_of.insert(value, slots.len());
        slots.push(Slot { shape: tasks.graph.ty(node).extents().unwrap_or_default(), kind: SlotKind::Output(i) });
    }

    let last_use = last_uses(tasks);
    let mut arena = Arena::default();
    let mut calls = Vec::new();
    for (step, kernel) in tasks.kernels.iter().enumerate() {
        if let Entry::Vacant(entry) = slot_of.entry(kernel.output) {
            let offset = arena.take(tasks.len_of(kernel.output));
            entry.insert(slots.len());
            slots.push(Slot { shape: shape_of(tasks, kernel.output), kind: SlotKind::Arena { offset } });
        }
        let index = kernel_of_task[kernel.task];
        let scratch_len = scratch_len(&kernels[index]);
        let scratch = arena.take(scratch_len);
        arena.give(scratch, scratch_len);
        let args = kernel.inputs.iter().chain([&kernel.output]).map(|value| slot_of[value]).collect();
        calls.push(KernelCall { kernel: index, args, scratch });
        let mut read: Vec<Value> = kernel.inputs.iter().chain([&kernel.output]).copied().collect();
        read.sort_unstable();
        read.dedup();
        for value in read {
            if let SlotKind::Arena { offset } = slots[slot_of[&value]].kind
                && last_use.get(&value).is_none_or(|&last| last <= step)
            {
                arena.give(offset, tasks.len_of(value));
            }
        }
    }
    Plan { name: tasks.graph.name.clone(), kernels, slots, calls, arena: arena.size }
}

/// Whether two programs differ in nothing but their names.
fn same(a: &Program, b: &Program) -> bool {
    (&a.buffers, &a.vars, &a.tiles) == (&b.buffers, &b.vars, &b.tiles) && (&a.setup, &a.body) == (&b.setup, &b.body)
}

/// The last kernel that reads each value.
fn last_uses(tasks: &Tasks) -> HashMap<Value, usize> {
    let mut last = HashMap::new();
    for (step, kernel) in tasks.kernels.iter().enumerate() {
        for &value in &kernel.inputs {
            last.insert(value, step);
        }
    }
    last
}

fn shape_of(tasks: &Tasks, value: Value) -> Vec<usize> {
    match value {
        Value::Node(id) => tasks.graph.ty(id).extents().unwrap_or_default(),
        Value::Internal(i) => vec![tasks.internals[i]],
    }
}

/// Elements of a kernel's temporaries, laid end to end.
fn scratch_len(program: &Program) -> usize {
    let temporaries = program.buffers.iter().filter(|buffer| buffer.kind == BufferKind::Temp);
    temporaries.map(|buffer| buffer.len.next_multiple_of(ALIGNMENT)).sum()
}

/// Free ranges of an arena that grows as needed: first fit, with neighbouring free ranges joined.
#[derive(Default)]
struct Arena {
    size: usize,
    /// Start and length of each free range.
    free: BTreeMap<usize, usize>,
}

impl Arena {
    /// The start of a range that is now taken.
    fn take(&mut self, len: usize) -> usize {
        let len = len.next_multiple_of(ALIGNMENT);
        if len == 0 {
            return 0;
        }
        if let Some((&start, &found)) = self.free.iter().find(|(_, found)| **found >= len) {
            self.free.remove(&start);
            if found > len {
                self.free.insert(start + len, found - len);
            }
            return start;
        }
        // A free range at the end can grow.
        let start = match self.free.last_key_value() {
            Some((&start, &found)) if start + found == self.size => {
                self.free.remove(&start);
                start
            }
            _ => self.size,
        };
        self.size = start + len;
        start
    }

    /// Makes a range free again.
    fn give(&mut self, start: usize, len: usize) {
        let mut len = len.next_multiple_of(ALIGNMENT);
        if len == 0 {
            return;
        }
        let mut start = start;
        if let Some((&before, &found)) = self.free.range(..start).next_back()
            && before + found == start
        {
            self.free.remove(&before);
            start = before;
            len += found;
        }
        if let Some(found) = self.free.remove(&(start + len)) {
            len += found;
        }
        self.free.insert(start, len);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_reused_and_joined() {
        let mut arena = Arena::default();
        let (a, b, c) = (arena.take(20), arena.take(16), arena.take(5));
        assert_eq!((a, b, c, arena.size), (0, 32, 48, 64));
        arena.give(a, 20);
        arena.give(b, 16);
        assert_eq!(arena.take(48), 0);
        arena.give(c, 5);
        assert_eq!(arena.take(40), 48);
        assert_eq!(arena.size, 96);
    }
}
