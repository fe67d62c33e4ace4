//! The operations and the memory footprint of one iteration of each loop of a program.
//!
//! Addresses are affine, so the elements that one iteration of a loop touches are known: variables of outer loops are fixed,
//! variables of inner loops and of the loops of tiles take all their values. Each element is counted exactly once, however
//! often it is touched. There are two exceptions. An element that a guard skips counts if the buffer contains it. If a set is
//! spread over more than [`MAX_CELLS`], everything between its first and its last element counts.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use sonar_ir::entity::EntityVec;
use sonar_ir::loops::{Access, BufId, Buffer, Program, Reduce, Stmt, TileId, Var};
use sonar_ir::tile::{Inst, Ptr, Tile, TileStmt};

use crate::footprints::bitset::Bits;
use crate::footprints::flops;
use crate::loops::visit;

/// Most cells of a set of elements.
const MAX_CELLS: i64 = 1 << 28;
/// The number of a tile as a whole. Loops of tiles have larger numbers, loops of programs smaller ones.
const TILES: usize = 1 << 32;
/// The number of the loops of reductions, which are inside of all other loops.
const INNERMOST: usize = usize::MAX;

/// A loop, or a tile as a whole.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LoopCost {
    /// How often its body runs in one run of the program. A guarded statement counts with the share of the iterations that its
    /// guard accepts. Loops of the setup have 0 runs, because the setup runs before.
    pub runs: f64,
    /// Floating-point operations of one iteration, or of one call of a tile, on average. All lanes of a vector count.
    pub flops: f64,
    /// Distinct bytes that one iteration in the middle of the loops touches. For a tile: that its first call touches.
    pub bytes: u64,
}

/// The loops of the setup, then those of the body, then each tile with its loops. This is the order of their lines in the text,
/// in which [`Program::annotated`] takes comments.
///
/// ```
/// use sonar_ir::{Graph, Init, Op, TensorType};
/// use sonar_schedule::{TaskId, loop_costs, tasks};
///
/// let mut graph = Graph::new("dense");
/// let x = graph.input("x", TensorType::fixed(&[8, 64]));
/// let w = graph.param("w", &[64, 32], Init::He);
/// let y = graph.push(Op::MatMul, &[x, w]).unwrap();
/// graph.outputs = vec![y];
///
/// let costs = loop_costs(&tasks(&graph).unwrap().tasks[TaskId(0)].program);
/// // A row: its 64 elements, all weights, and 32 elements of the result.
/// assert_eq!((costs[0].runs, costs[0].flops, costs[0].bytes), (8.0, 4096.0, 4 * (64 + 64 * 32 + 32)));
/// // An element: the row, a column of the weights, and the element.
/// assert_eq!((costs[1].runs, costs[1].flops, costs[1].bytes), (256.0, 128.0, 4 * (64 + 64 + 1)));
/// ```
pub fn loop_costs(program: &Program) -> Vec<LoopCost> {
    let mut walk = Walk::new(program);
    walk.block(&program.setup, 0.0);
    walk.block(&program.body, 1.0);
    let cost = |found: &Found, touches: &[Touch]| found.cost(touches, &program.buffers);
    let mut costs: Vec<LoopCost> = walk.found.iter().map(|found| cost(found, &walk.touches)).collect();
    for (id, tile) in program.tiles.entries() {
        let mut inside = TileWalk::new(tile, walk.pointers[id].clone());
        inside.block(&tile.body, walk.calls[id]);
        let whole = Found { number: TILES, runs: walk.calls[id], flops: walk.flops[id] as f64, touches: 0..inside.touches.len() };
        costs.extend([&whole].into_iter().chain(&inside.found).map(|found| cost(found, &inside.touches)));
    }
    costs
}

/// The elements that a statement touches: `width` elements from `start` on, and all positions that the steps reach from there.
#[derive(Clone)]
struct Touch {
    buffer: BufId,
    start: i64,
    width: i64,
    steps: Vec<Step>,
}

/// How far one iteration of a loop moves an address.
#[derive(Clone, Copy)]
struct Step {
    /// The number of the loop. Loops inside of it have larger numbers.
    number: usize,
    stride: i64,
    extent: i64,
}

/// A loop and the touches inside of it.
struct Found {
    number: usize,
    runs: f64,
    flops: f64,
    touches: Range<usize>,
}

impl Found {
    fn cost(&self, touches: &[Touch], buffers: &EntityVec<BufId, Buffer>) -> LoopCost {
        let elements = distinct(&touches[self.touches.clone()], self.number, buffers);
        LoopCost { runs: self.runs, flops: self.flops, bytes: 4 * elements }
    }
}

/// Collects the loops of a program.
struct Walk<'a> {
    program: &'a Program,
    /// Operations of one call of each tile.
    flops: EntityVec<TileId, u64>,
    loops: Vec<(Var, usize)>,
    numbers: Vec<usize>,
    found: Vec<Found>,
    touches: Vec<Touch>,
    /// How often each tile is called, and its pointers at the first call.
    calls: EntityVec<TileId, f64>,
    pointers: EntityVec<TileId, EntityVec<Ptr, Touch>>,
}

impl<'a> Walk<'a> {
    fn new(program: &'a Program) -> Self {
        let tiles = program.tiles.len();
        Walk {
            program,
            flops: program.tiles.iter().map(|tile| flops::tile_flops(&tile.body, tile.lanes as u64)).collect(),
            loops: Vec::new(),
            numbers: Vec::new(),
            found: Vec::new(),
            touches: Vec::new(),
            calls: EntityVec::filled(0.0, tiles),
            pointers: EntityVec::filled(EntityVec::new(), tiles),
        }
    }

    /// Visits statements that run `runs` times.
    fn block(&mut self, stmts: &[Stmt], runs: f64) {
        for stmt in stmts {
            match stmt {
                Stmt::For { var, extent, body, .. } => {
                    let number = self.found.len();
                    self.loops.push((*var, *extent));
                    self.numbers.push(number);
                    let runs = runs * *extent as f64;
                    let flops = flops::flops(body, &self.flops, &mut self.loops);
                    let first = self.touches.len();
                    self.found.push(Found { number, runs, flops, touches: first..first });
                    self.block(body, runs);
                    self.found[number].touches.end = self.touches.len();
                    self.loops.pop();
                    self.numbers.pop();
                }
                Stmt::If { bounds, body } => {
                    let extent = |var| self.loops.iter().find(|l| l.0 == var).map_or(1, |l| l.1);
                    let share: f64 = bounds.iter().map(|bound| flops::share(bound, extent)).product();
                    self.block(body, runs * share);
                }
                Stmt::Reduce(reduce) => self.reduce(reduce),
                Stmt::Store { .. } => {
                    let mut touches = Vec::new();
                    visit::accesses(std::slice::from_ref(stmt), &mut |access, _| touches.push(self.touch(access, &[])));
                    self.touches.append(&mut touches);
                }
                Stmt::Call { tile, args } => {
                    let pointers: EntityVec<Ptr, Touch> = args.iter().map(|access| self.touch(access, &[])).collect();
                    if let (Some(called), Some(first)) = (self.program.tiles.get(*tile), self.pointers.get_mut(*tile)) {
                        if first.is_empty() {
                            *first = pointers.clone();
                        }
                        self.calls[*tile] += runs;
                        let mut inside = TileWalk::new(called, pointers);
                        inside.block(&called.body, runs);
                        self.touches.append(&mut inside.touches);
                    }
                }
            }
        }
    }

    fn reduce(&mut self, reduce: &Reduce) {
        let mut touches = vec![self.touch(&reduce.target, &[])];
        for expr in [&reduce.init, &reduce.finish] {
            visit::reads(expr, &mut |access| touches.push(self.touch(access, &[])));
        }
        for update in &reduce.updates {
            visit::reads(&update.value, &mut |access| touches.push(self.touch(access, &update.loops)));
        }
        self.touches.append(&mut touches);
    }

    /// The element of an access inside of the current loops, and of some loops of a reduction.
    fn touch(&self, access: &Access, reduced: &[(Var, usize)]) -> Touch {
        let outer = self.loops.iter().copied().zip(self.numbers.iter().copied());
        let loops = outer.chain(reduced.iter().map(|&reduced| (reduced, INNERMOST)));
        let step = |((var, extent), number)| Step { number, stride: access.index.coefficient(var), extent: extent as i64 };
        Touch { buffer: access.buffer, start: access.index.offset, width: 1, steps: loops.map(step).collect() }
    }
}

/// Collects the loops of a tile, given the start of each pointer.
struct TileWalk<'a> {
    tile: &'a Tile,
    pointers: EntityVec<Ptr, Touch>,
    found: Vec<Found>,
    touches: Vec<Touch>,
}

impl<'a> TileWalk<'a> {
    fn new(tile: &'a Tile, pointers: EntityVec<Ptr, Touch>) -> Self {
        TileWalk { tile, pointers, found: Vec::new(), touches: Vec::new() }
    }

    fn block(&mut self, body: &[TileStmt], runs: f64) {
        for stmt in body {
            match stmt {
                TileStmt::Advance { ptr, by } => {
                    if let Some(pointer) = self.pointers.get_mut(*ptr) {
                        pointer.start += i64::from(*by);
                    }
                }
                TileStmt::Inst(inst) => {
                    let width = width(inst, self.tile);
                    let Some(addr) = inst.address() else { continue };
                    let Some(pointer) = self.pointers.get(addr.ptr) else { continue };
                    self.touches.push(Touch { start: pointer.start + i64::from(addr.offset), width, ..pointer.clone() });
                }
                TileStmt::Loop { trips, body } => self.repeat(*trips, body, runs),
            }
        }
    }

    fn repeat(&mut self, trips: u32, body: &[TileStmt], runs: f64) {
        let number = TILES + 1 + self.found.len();
        let runs = runs * f64::from(trips);
        let moved = self.pointers.map(|(pointer, _)| moved(body, pointer));
        for (pointer, &stride) in self.pointers.iter_mut().zip(&moved) {
            pointer.steps.push(Step { number, stride, extent: i64::from(trips) });
        }
        let flops = flops::tile_flops(body, self.tile.lanes as u64) as f64;
        let (index, first) = (self.found.len(), self.touches.len());
        self.found.push(Found { number, runs, flops, touches: first..first });
        self.block(body, runs);
        self.found[index].touches.end = self.touches.len();
        for (pointer, stride) in self.pointers.iter_mut().zip(moved) {
            pointer.steps.pop();
            // One iteration has already moved it.
            pointer.start += stride * (i64::from(trips) - 1);
        }
    }
}

/// How far statements of a tile move a pointer.
fn moved(body: &[TileStmt], pointer: Ptr) -> i64 {
    let each = body.iter().map(|stmt| match stmt {
        TileStmt::Advance { ptr, by } if *ptr == pointer => i64::from(*by),
        TileStmt::Loop { trips, body } => i64::from(*trips) * moved(body, pointer),
        TileStmt::Advance { .. } | TileStmt::Inst(_) => 0,
    });
    each.sum()
}

/// Number of elements that an instruction touches.
fn width(inst: &Inst, tile: &Tile) -> i64 {
    match inst {
        Inst::Load { masked: true, .. } | Inst::Store { masked: true, .. } => tile.tail as i64,
        Inst::Load { .. } | Inst::Store { .. } => tile.lanes as i64,
        _ => 1,
    }
}

/// For each list of strides with extents: the first elements and widths that move with them.
type Runs = BTreeMap<Vec<(i64, i64)>, BTreeSet<(i64, i64)>>;

/// Number of elements that are touched if loops with a number above `fixed` run and the other loops are in the middle.
fn distinct(touches: &[Touch], fixed: usize, buffers: &EntityVec<BufId, Buffer>) -> u64 {
    let mut by_buffer: BTreeMap<BufId, Runs> = BTreeMap::new();
    for touch in touches {
        let mut start = touch.start;
        let mut moving = Vec::new();
        for step in touch.steps.iter().filter(|step| step.stride != 0 && step.extent > 1) {
            if step.number <= fixed {
                start += step.stride * (step.extent / 2);
            } else {
                // A negative stride runs backwards from the last element, which is the same as forwards from the first.
                start += step.stride.min(0) * (step.extent - 1);
                moving.push((step.stride.abs(), step.extent));
            }
        }
        moving.sort_unstable();
        by_buffer.entry(touch.buffer).or_default().entry(moving).or_default().insert((start, touch.width));
    }
    let len = |buffer: BufId| buffers.get(buffer).map_or(0, |buffer| buffer.len as i64);
    by_buffer.iter().map(|(&buffer, runs)| elements(runs, len(buffer))).sum()
}

/// Number of elements of the runs that are inside of a buffer of this length.
fn elements(runs: &Runs, len: i64) -> u64 {
    let reach = |steps: &[(i64, i64)]| steps.iter().map(|&(stride, extent)| stride * (extent - 1)).sum::<i64>();
    let each = || runs.iter().flat_map(|(steps, starts)| starts.iter().map(move |start| (steps, *start)));
    let low = each().map(|(_, (start, _))| start).min().unwrap_or(0);
    let high = each().map(|(steps, (start, width))| start + width + reach(steps)).max().unwrap_or(0);
    // All starts, strides and widths are multiples of the grain, so the sets consist of cells with this many elements.
    let strides = runs.keys().flatten().map(|step| step.0);
    let grain = strides.chain(each().flat_map(|(_, (start, width))| [start - low, width])).fold(0, gcd).max(1);
    let cells = (high - low) / grain;
    if cells > MAX_CELLS {
        return high.min(len).saturating_sub(low.max(0)).max(0) as u64;
    }
    let mut all = Bits::new(cells as usize);
    for (steps, starts) in runs {
        let mut own = Bits::new(cells as usize);
        for (start, width) in starts {
            own.set(((start - low) / grain) as usize, (width / grain) as usize);
        }
        for &(stride, extent) in steps {
            own.repeat((stride / grain) as usize, extent as usize);
        }
        all.unite(&own);
    }
    let cell = |element: i64| ((element - low).max(0) as u64).div_ceil(grain as u64) as usize;
    let inside = all.count(cell(0)..cell(len).min(cells as usize)) as u64 * grain as u64;
    inside.min(len as u64)
}

fn gcd(a: i64, b: i64) -> i64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Options, TaskId, default_program, tasks};
    use sonar_ir::graph::Conv2dAttrs;
    use sonar_ir::{Graph, Init, Op, TensorType};
    use std::collections::HashSet;

    /// The footprint of each loop by direct enumeration of the addresses, in the order of [`loop_costs`] without tiles.
    fn counted(program: &Program) -> Vec<u64> {
        let mut found = Vec::new();
        let mut values = EntityVec::filled(0, program.vars.len());
        count(&program.body, program, &mut values, &mut found);
        found
    }

    /// Marks the elements that statements touch, ignoring guards, by running them.
    fn count(stmts: &[Stmt], program: &Program, values: &mut EntityVec<Var, i64>, found: &mut Vec<u64>) {
        for stmt in stmts {
            if let Stmt::For { var, extent, body, .. } = stmt {
                values[*var] = *extent as i64 / 2;
                let mut touched = HashSet::new();
                run(body, program, &mut values.clone(), &mut touched);
                found.push(4 * touched.len() as u64);
                count(body, program, values, found);
            }
            if let Stmt::If { body, .. } = stmt {
                count(body, program, values, found);
            }
        }
    }

    /// Adds an element to the touched ones if it is inside of its buffer.
    fn touch(access: &Access, program: &Program, values: &EntityVec<Var, i64>, touched: &mut HashSet<(BufId, i64)>) {
        let element = access.index.eval(|var| values[var]);
        if (0..program.buffers[access.buffer].len as i64).contains(&element) {
            touched.insert((access.buffer, element));
        }
    }

    fn run(stmts: &[Stmt], program: &Program, values: &mut EntityVec<Var, i64>, touched: &mut HashSet<(BufId, i64)>) {
        for stmt in stmts {
            match stmt {
                Stmt::For { var, extent, body, .. } => {
                    for value in 0..*extent {
                        values[*var] = value as i64;
                        run(body, program, values, touched);
                    }
                }
                Stmt::Reduce(reduce) => {
                    touch(&reduce.target, program, values, touched);
                    for update in &reduce.updates {
                        let points: usize = update.loops.iter().map(|l| l.1).product();
                        for mut point in 0..points {
                            for &(var, extent) in &update.loops {
                                values[var] = (point % extent) as i64;
                                point /= extent;
                            }
                            visit::reads(&update.value, &mut |access| touch(access, program, values, touched));
                        }
                    }
                    for expr in [&reduce.init, &reduce.finish] {
                        visit::reads(expr, &mut |access| touch(access, program, values, touched));
                    }
                }
                Stmt::Store { .. } => {
                    visit::accesses(std::slice::from_ref(stmt), &mut |access, _| touch(access, program, values, touched));
                }
                Stmt::If { body, .. } => run(body, program, values, touched),
                Stmt::Call { .. } => panic!("there are no tiles here"),
            }
        }
    }

    fn convolution() -> Graph {
        let mut graph = Graph::new("conv");
        let x = graph.input("x", TensorType::fixed(&[1, 9, 7, 6]));
        let w = graph.param("w", &[3, 3, 6, 32], Init::He);
        let attributes = Conv2dAttrs { stride: [2, 1], pad: [1; 4], dilation: [1, 1], groups: 1 };
        let y = graph.push(Op::Conv2d(attributes), &[x, w]).expect("the shapes fit");
        graph.outputs = vec![y];
        graph
    }

    #[test]
    fn footprints_are_those_of_the_loops_when_they_run() {
        let program = &tasks(&convolution()).expect("it can be lowered").tasks[TaskId(0)].program;
        let bytes: Vec<u64> = loop_costs(program).iter().map(|cost| cost.bytes).collect();
        assert!(program.setup.is_empty() && bytes.len() > 3, "{program}");
        assert_eq!(bytes, counted(program), "{program}");
    }

    #[test]
    fn tiles_compute_and_touch_what_the_loops_around_them_do() {
        let mut graph = Graph::new("dense");
        let x = graph.input("x", TensorType::fixed(&[8, 64]));
        let w = graph.param("w", &[64, 32], Init::He);
        let y = graph.push(Op::MatMul, &[x, w]).expect("the shapes fit");
        graph.outputs = vec![y];
        let task = &tasks(&graph).expect("it can be lowered").tasks[TaskId(0)];
        let program = default_program(task, &Options::new(16)).1;
        let costs = loop_costs(&program);
        assert!(!program.tiles.is_empty());
        // All operations are in the single tile.
        let mut outside = 0;
        for stmts in [&program.setup, &program.body] {
            visit::loops(stmts, &mut |_, _| outside += 1);
        }
        assert_eq!((program.tiles.len(), costs[outside].runs * costs[outside].flops), (1, task.flops as f64));
        // No loop touches more than the task has, and one loop touches all rows, weights and results.
        assert!(costs.iter().all(|cost| cost.bytes > 0 && cost.bytes <= task.bytes), "{costs:?}\n{program}");
        // One line of the text per loop.
        let notes: Vec<String> = (0..costs.len()).map(|i| format!("cost {i}")).collect();
        let text = program.annotated(&notes);
        assert!(notes.iter().all(|note| text.lines().filter(|line| line.ends_with(note.as_str())).count() == 1), "{text}");
        assert!(text.lines().all(|line| !line.ends_with('{') || line.contains("program") || line.contains("setup {")), "{text}");
    }

    #[test]
    fn runs_that_overlap_count_once() {
        let runs = |steps: &[(i64, i64)], starts: &[(i64, i64)]| Runs::from([(steps.to_vec(), starts.iter().copied().collect())]);
        // Windows of three elements with stride two: 0..=2, 2..=4, 4..=6.
        assert_eq!(elements(&runs(&[(1, 3), (2, 3)], &[(0, 1)]), 100), 7);
        // Vectors of 16 with gaps of 16. The last one is outside of the buffer.
        assert_eq!(elements(&runs(&[(32, 4)], &[(0, 16)]), 96), 48);
        // Elements before the start of the buffer do not count.
        assert_eq!(elements(&runs(&[(1, 10)], &[(-4, 1)]), 100), 6);
        assert_eq!(elements(&runs(&[], &[(3, 1), (3, 1), (4, 2)]), 100), 3);
    }
}
