//! The schedules that are worth trying for a task, as a small space of named knobs.
//!
//! A schedule is put together for the nest in which the program spends its time, from these knobs:
//!
//! | knob | meaning |
//! |---|---|
//! | `fuse` | how many loops outside of the rows become one loop with them, where addresses allow it |
//! | `block` | how many iterations of the loop outside of the tile make a block; temporaries are filled for each block |
//! | `tile` | rows and vectors of the register tile |
//! | `unroll` | copies of the innermost reduction loop's body |
//! | `order` | whether all rows of a block are computed for one panel of columns before the next panel |
//! | `pack` | whether weights are stored in panels |
//! | `parallel` | whether blocks run on several threads |
//! | `algorithm` | whether convolutions are computed directly or by Winograd's filtering with tiles of 2 or 4 |
//! | `strip` | for Winograd's filtering, rows of tiles at most that are transformed and multiplied at once |
//! | `parts` | for the same on several threads, parts of the output channels that each transform the image |
//!
//! Other nests (fills of temporaries, copies) get micro-kernels of a fixed shape. Every point is legal: a step that does not
//! apply to the program is left out of the schedule.

use sonar_ir::loops::Program;
use sonar_ir::schedule::{Schedule, Step};
use sonar_ir::tile::Tile;

use crate::leaf::{Leaf, leaves, main_leaf};
use crate::primitives::{PART, STRIP, apply_step, filterable};
use crate::task::Task;
use crate::tilegen::TileShape;
use crate::walk;

/// Rows of register tiles that are tried.
const ROWS: [usize; 14] = [1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 16, 20, 28];
/// Vectors in a row of register tiles that are tried.
const VECTORS: [usize; 6] = [1, 2, 3, 4, 6, 8];
/// Copies of the reduction loop's body that are tried.
const UNROLLS: [usize; 4] = [1, 2, 4, 8];
/// Blocks of a loop that are tried at most.
const MOST_BLOCKS: usize = 8;

/// Tiles of Winograd's filtering, with the largest error over the largest output after 25 layers of it, what a bound on the
/// error must leave room for; and with the vector registers that their transforms need.
const FILTERS: [(usize, f64, usize); 2] = [(2, 4e-6, Tile::REGISTERS_256), (4, 1e-5, Tile::REGISTERS_512)];
/// Rows of tiles in a strip that are tried.
const STRIPS: [usize; 6] = [1, 2, 4, 7, 8, 14];
/// Parts of the output channels that are tried.
const PARTS: [usize; 3] = [1, 2, 4];

/// For what schedules are made.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Options {
    /// Elements of a vector register.
    pub lanes: usize,
    /// Threads of one run.
    pub threads: usize,
    /// The largest error of a network's output that rounding may cause, over the largest output; 0 forbids algorithms that
    /// round more than sums of products in any order do.
    pub tolerance: f64,
}

impl Options {
    /// One thread, and a tolerance of 1e-4.
    pub fn new(lanes: usize) -> Self {
        Options { lanes, threads: 1, tolerance: 1e-4 }
    }
}

/// The tiles that convolutions may be filtered with.
fn allowed(options: &Options) -> impl Iterator<Item = usize> + use<> {
    let Options { lanes, tolerance, .. } = *options;
    let fits = move |&(_, error, registers): &(usize, f64, usize)| error <= tolerance && registers <= Tile::registers(lanes);
    FILTERS.into_iter().filter(fits).map(|(tile, ..)| tile)
}

/// The largest tile that convolutions may be filtered with, if they may be.
pub fn largest_filter(options: &Options) -> Option<usize> {
    allowed(options).max()
}

/// Whether a schedule rounds within a tolerance, as [`Options::tolerance`] has it.
pub fn allows(schedule: &Schedule, tolerance: f64) -> bool {
    let error = |tile: usize| FILTERS.iter().find(|filter| filter.0 == tile).map_or(f64::INFINITY, |filter| filter.1);
    schedule.steps.iter().all(|step| !matches!(step, Step::Winograd { tile, .. } if error(*tile) > tolerance))
}

/// A named choice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Knob {
    /// What it is about.
    pub name: &'static str,
    /// What can be chosen, as text.
    pub choices: Vec<String>,
}

/// A choice for each knob, by index.
pub type Point = Vec<usize>;

/// The schedules of a task.
#[derive(Clone, Debug)]
pub struct ScheduleSpace {
    program: Program,
    weights: Vec<String>,
    options: Options,
    knobs: Vec<Knob>,
    tiles: Vec<TileShape>,
    blocks: Vec<usize>,
    filters: Vec<usize>,
}

/// The values of the knobs at a point.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Choice {
    pub(crate) fuse: usize,
    /// Iterations of the block loop in a block; 0 for all.
    pub(crate) block: usize,
    pub(crate) tile: TileShape,
    pub(crate) order: bool,
    pub(crate) pack: bool,
    pub(crate) parallel: bool,
    pub(crate) filter: Option<Filter>,
}

/// Winograd's filtering.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Filter {
    /// Rows and columns of a tile.
    pub(crate) tile: usize,
    /// Rows of tiles in a strip, at most.
    pub(crate) rows: usize,
    /// Parts of the output channels.
    pub(crate) parts: usize,
}

/// The space of a task.
pub fn space(task: &Task, options: &Options) -> ScheduleSpace {
    let lanes = options.lanes;
    let program = task.program.clone();
    let inputs = program.buffers.iter().zip(&task.weights);
    let weights: Vec<String> = inputs.filter(|(_, weight)| **weight).map(|(buffer, _)| buffer.name.clone()).collect();
    let fusions = fusions(&program);
    let mut tiles = Vec::new();
    let mut blocks = vec![0];
    for fuse in 0..=fusions {
        let mut replay = Replay::new(&program, lanes);
        replay.fuse(fuse);
        let Some(leaf) = main_leaf(&replay.program) else { continue };
        for tile in fitting_tiles(&leaf, lanes) {
            if !tiles.contains(&tile) {
                tiles.push(tile);
            }
        }
        for block in block_sizes(&leaf, lanes) {
            if !blocks.contains(&block) {
                blocks.push(block);
            }
        }
    }
    blocks.sort_unstable();
    let filters: Vec<usize> = allowed(options).filter(|&tile| !strips(&program, &weights, tile).is_empty()).collect();
    if !filters.is_empty() {
        for tile in filter_tiles(lanes) {
            if !tiles.contains(&tile) {
                tiles.push(tile);
            }
        }
    }
    let flag = || vec!["no".to_owned(), "yes".to_owned()];
    let mut knobs = vec![
        Knob { name: "fuse", choices: (0..=fusions).map(|n| n.to_string()).collect() },
        Knob { name: "block", choices: blocks.iter().map(|b| if *b == 0 { "all".to_owned() } else { b.to_string() }).collect() },
    ];
    let reduces = main_leaf(&program).is_some_and(|leaf| matches!(leaf.stmts[..], [sonar_ir::loops::Stmt::Reduce(_)]));
    if tiles.is_empty() {
        tiles.push(TileShape { mr: 1, nv: 1, unroll: 1 });
    }
    knobs.push(Knob { name: "tile", choices: tiles.iter().map(|t| format!("{}x{}", t.mr, t.nv)).collect() });
    let unrolls = if reduces { UNROLLS.as_slice() } else { &UNROLLS[..1] };
    knobs.push(Knob { name: "unroll", choices: unrolls.iter().map(usize::to_string).collect() });
    let no = || vec!["no".to_owned()];
    knobs.push(Knob { name: "order", choices: if reduces { flag() } else { no() } });
    knobs.push(Knob { name: "pack", choices: if reduces && !weights.is_empty() { flag() } else { no() } });
    knobs.push(Knob { name: "parallel", choices: flag() });
    let algorithms = filters.iter().map(|tile| format!("winograd{tile}"));
    knobs.push(Knob { name: "algorithm", choices: std::iter::once("direct".to_owned()).chain(algorithms).collect() });
    let strips = if filters.is_empty() { &STRIPS[..1] } else { &STRIPS };
    knobs.push(Knob { name: "strip", choices: strips.iter().map(usize::to_string).collect() });
    let parts = if filters.is_empty() || options.threads == 1 { &PARTS[..1] } else { &PARTS };
    knobs.push(Knob { name: "parts", choices: parts.iter().map(usize::to_string).collect() });
    ScheduleSpace { program, weights, options: *options, knobs, tiles, blocks, filters }
}

impl ScheduleSpace {
    /// The knobs, in the order of a point's entries.
    pub fn knobs(&self) -> &[Knob] {
        &self.knobs
    }

    /// How many points there are; some give the same schedule.
    pub fn len(&self) -> usize {
        self.knobs.iter().map(|knob| knob.choices.len()).product()
    }

    /// Whether there are no points; there is always one.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The point with a number below [`len`](Self::len).
    pub fn point(&self, mut number: usize) -> Point {
        let digits = self.knobs.iter().map(|knob| {
            let digit = number % knob.choices.len();
            number /= knob.choices.len();
            digit
        });
        digits.collect()
    }

    /// The points that differ from this one in one knob; numeric knobs move by up to two places.
    pub fn neighbours(&self, point: &Point) -> Vec<Point> {
        let mut neighbours = Vec::new();
        for (i, knob) in self.knobs.iter().enumerate() {
            for choice in 0..knob.choices.len() {
                if choice != point[i] && (knob.name == "tile" || choice.abs_diff(point[i]) <= 2) {
                    let mut neighbour = point.clone();
                    neighbour[i] = choice;
                    neighbours.push(neighbour);
                }
            }
        }
        neighbours
    }

    /// The schedule at a point. Choices beyond the last of a knob count as the last.
    pub fn schedule(&self, point: &Point) -> Schedule {
        self.scheduled(point).0
    }

    /// The same with the program that it gives.
    pub fn scheduled(&self, point: &Point) -> (Schedule, Program) {
        compose(&self.program, &self.weights, self.choice(point), self.options.lanes)
    }

    fn choice(&self, point: &Point) -> Choice {
        let at = |i: usize| point.get(i).copied().unwrap_or(0).min(self.knobs[i].choices.len() - 1);
        let tile = TileShape { unroll: UNROLLS[at(3)], ..self.tiles[at(2)] };
        let filter = |i: usize| Filter { tile: self.filters[i], rows: STRIPS[at(8)], parts: PARTS[at(9)] };
        let filter = at(7).checked_sub(1).map(filter);
        let [order, pack, parallel] = [4, 5, 6].map(|i| at(i) == 1);
        Choice { fuse: at(0), block: self.blocks[at(1)], tile, order, pack, parallel, filter }
    }

    /// The point of some choices; what cannot be chosen is left at the first choice.
    pub(crate) fn point_of(&self, choice: Choice) -> Point {
        let block = self.blocks.iter().position(|&block| block == choice.block);
        let tile = self.tiles.iter().position(|t| (t.mr, t.nv) == (choice.tile.mr, choice.tile.nv));
        let unroll = UNROLLS.iter().position(|&unroll| unroll == choice.tile.unroll);
        let flags = [choice.order, choice.pack, choice.parallel].map(usize::from);
        let mut point = vec![choice.fuse, block.unwrap_or(0), tile.unwrap_or(0), unroll.unwrap_or(0)];
        point.extend(flags);
        let algorithm = choice.filter.and_then(|filter| self.filters.iter().position(|&tile| tile == filter.tile));
        let strip = choice.filter.and_then(|filter| STRIPS.iter().position(|&rows| rows == filter.rows));
        let parts = choice.filter.and_then(|filter| PARTS.iter().position(|&parts| parts == filter.parts));
        point.extend([algorithm.map_or(0, |i| i + 1), strip.unwrap_or(0), parts.unwrap_or(0)]);
        for (entry, knob) in point.iter_mut().zip(&self.knobs) {
            *entry = if *entry < knob.choices.len() { *entry } else { 0 };
        }
        point
    }

    /// The program of some choices, before nests become micro-kernels.
    pub(crate) fn outline(&self, choice: Choice) -> Program {
        outline(&self.program, &self.weights, choice, self.options.lanes).program
    }

    /// For what the schedules are.
    pub(crate) fn options(&self) -> &Options {
        &self.options
    }

    /// Every way to filter.
    pub(crate) fn filters(&self) -> impl Iterator<Item = Filter> + '_ {
        let parts = &PARTS[..self.knobs[9].choices.len()];
        let strips = || STRIPS.into_iter().flat_map(|rows| parts.iter().map(move |&parts| (rows, parts)));
        self.filters.iter().flat_map(move |&tile| strips().map(move |(rows, parts)| Filter { tile, rows, parts }))
    }

    /// Names of the inputs that are weights.
    pub(crate) fn weights(&self) -> &[String] {
        &self.weights
    }

    /// The register tiles.
    pub(crate) fn tiles(&self) -> &[TileShape] {
        &self.tiles
    }

    /// The block sizes.
    pub(crate) fn blocks(&self) -> &[usize] {
        &self.blocks
    }

    /// The unscheduled program.
    pub(crate) fn program(&self) -> &Program {
        &self.program
    }
}

/// A schedule that grows step by step with the program it gives.
pub(crate) struct Replay {
    pub(crate) program: Program,
    steps: Vec<Step>,
    lanes: usize,
}

impl Replay {
    pub(crate) fn new(program: &Program, lanes: usize) -> Self {
        Replay { program: program.clone(), steps: vec![], lanes }
    }

    /// Takes a step if it is legal.
    fn step(&mut self, step: Step) -> bool {
        match apply_step(&self.program, &step, self.lanes) {
            Ok(program) => {
                self.program = program;
                self.steps.push(step);
                true
            }
            Err(_) => false,
        }
    }

    fn name(&self, var: sonar_ir::loops::Var) -> String {
        self.program.vars[var.0 as usize].clone()
    }

    /// Fuses the rows of the main nest with up to `times` loops around them.
    pub(crate) fn fuse(&mut self, times: usize) -> usize {
        for done in 0..times {
            let Some(leaf) = main_leaf(&self.program) else { return done };
            let nest = leaf.nest_loops();
            let Some(outer) = nest.len().checked_sub(3) else { return done };
            let (outer, inner) = (self.name(nest[outer].0), self.name(nest[outer + 1].0));
            if !self.step(Step::Fuse { outer, inner }) {
                return done;
            }
        }
        times
    }
}

/// Heights of strips of a program for filtering with tiles of some size; none if it cannot be computed so.
fn strips(program: &Program, weights: &[String], tile: usize) -> Vec<usize> {
    let known = |inputs: &[String]| inputs.iter().all(|input| weights.contains(input));
    filterable(program, tile).filter(|conv| known(&conv.weights)).map_or(vec![], |conv| {
        let down = conv.result[0].div_ceil(tile);
        (1..=down).filter(|rows| down.is_multiple_of(*rows)).collect()
    })
}

/// Register tiles of the products of transformed tiles, which are matrices.
fn filter_tiles(lanes: usize) -> impl Iterator<Item = TileShape> {
    let tiles = ROWS.into_iter().flat_map(|mr| VECTORS.into_iter().map(move |nv| TileShape { mr, nv, unroll: 1 }));
    tiles.filter(move |tile| filter_tile_fits(tile, lanes))
}

/// Whether the accumulators of such a product, a row of the weight and an element of the image fit the registers.
pub(crate) fn filter_tile_fits(tile: &TileShape, lanes: usize) -> bool {
    tile.mr * tile.nv + tile.nv + 1 < Tile::registers(lanes)
}

/// How many loops can be fused with the rows of the main nest.
fn fusions(program: &Program) -> usize {
    Replay::new(program, 16).fuse(usize::MAX)
}

/// The register tiles that fit the registers.
fn fitting_tiles(leaf: &Leaf, lanes: usize) -> Vec<TileShape> {
    let Some((nest, candidate)) = leaf.candidate() else { return vec![] };
    let most_rows = nest.rows.map_or(1, |rows| rows.1);
    let most_vectors = nest.cols.1.div_ceil(lanes);
    if candidate.is_bundle() {
        let single = TileShape { mr: 1, nv: 1, unroll: 1 };
        return if candidate.fits(single, lanes) { vec![single] } else { vec![] };
    }
    let mut tiles = Vec::new();
    for mr in ROWS.into_iter().filter(|&mr| mr <= most_rows) {
        for nv in VECTORS.into_iter().filter(|&nv| nv <= most_vectors) {
            let widest = TileShape { mr, nv, unroll: UNROLLS[UNROLLS.len() - 1] };
            if candidate.fits(widest, lanes) {
                tiles.push(TileShape { mr, nv, unroll: 1 });
            }
        }
    }
    tiles
}

/// Divisors of the extent of the loop that is cut into blocks, largest first; columns only into whole vectors.
fn block_sizes(leaf: &Leaf, lanes: usize) -> Vec<usize> {
    let nest = leaf.nest_loops();
    let Some(position) = leaf.block_loop() else { return vec![] };
    let extent = nest[position].1;
    let whole = if nest.len() == 1 { lanes } else { 1 };
    let divisors = (1..extent).rev().filter(|d| extent.is_multiple_of(*d) && d.is_multiple_of(whole));
    let all: Vec<usize> = divisors.collect();
    let step = all.len().div_ceil(MOST_BLOCKS).max(1);
    all.into_iter().step_by(step).collect()
}

/// Puts a schedule together; steps that are not legal are left out.
fn compose(program: &Program, weights: &[String], choice: Choice, lanes: usize) -> (Schedule, Program) {
    let mut replay = outline(program, weights, choice, lanes);
    tensorize_all(&mut replay, choice);
    (Schedule { steps: replay.steps }, replay.program)
}

/// All steps of a schedule but the micro-kernels.
fn outline(program: &Program, weights: &[String], choice: Choice, lanes: usize) -> Replay {
    if let Some(filtered) = choice.filter.and_then(|filter| filtered(program, weights, filter, choice, lanes)) {
        return filtered;
    }
    let mut replay = Replay::new(program, lanes);
    replay.fuse(choice.fuse);
    let inner = main_leaf(&replay.program).and_then(|leaf| block(&mut replay, &leaf, choice));
    if let Some(leaf) = main_leaf(&replay.program) {
        panels(&mut replay, &leaf, inner, weights, choice);
    }
    if choice.parallel {
        parallelise(&mut replay, choice.tile);
    }
    replay
}

/// The same by Winograd's filtering, in the highest strips that are allowed; nothing if that is not possible.
fn filtered(program: &Program, weights: &[String], filter: Filter, choice: Choice, lanes: usize) -> Option<Replay> {
    let rows = strips(program, weights, filter.tile).into_iter().filter(|&rows| rows <= filter.rows).max()?;
    let mut replay = Replay::new(program, lanes);
    let Filter { tile, parts, .. } = filter;
    if !replay.step(Step::Winograd { tile, rows, width: choice.tile.nv * lanes, parts }) {
        return None;
    }
    for buffer in temporaries(program) {
        let mut at = |name: &str| replay.step(Step::ComputeAt { buffer: buffer.clone(), r#loop: name.to_owned() });
        let _ = at(STRIP) || at(PART);
    }
    if choice.parallel {
        parallelise(&mut replay, choice.tile);
    }
    Some(replay)
}

/// Names of the temporaries of a program.
fn temporaries(program: &Program) -> Vec<String> {
    let temporaries = program.buffers.iter().filter(|b| b.kind == sonar_ir::loops::BufferKind::Temp);
    temporaries.map(|b| b.name.clone()).collect()
}

/// Cuts the loop outside of the tile into blocks and fills temporaries for each; gives the loop within a block.
fn block(replay: &mut Replay, leaf: &Leaf, choice: Choice) -> Option<String> {
    let nest = leaf.nest_loops();
    let position = leaf.block_loop()?;
    let (var, extent) = nest[position];
    let name = replay.name(var);
    let cut = choice.block > 0 && choice.block < extent && extent % choice.block == 0;
    let cut = cut && replay.step(Step::Split { r#loop: name.clone(), factor: choice.block });
    let home = if cut { Some(format!("{name}.o")) } else { position.checked_sub(1).map(|i| replay.name(nest[i].0)) };
    if let Some(home) = home {
        for buffer in temporaries(&replay.program) {
            replay.step(Step::ComputeAt { buffer, r#loop: home.clone() });
        }
    }
    (nest.len() > 2).then(|| if cut { format!("{name}.i") } else { name })
}

/// Cuts the columns into panels, stores weights in panels, and puts the loop over panels outside of a block's rows.
fn panels(replay: &mut Replay, leaf: &Leaf, inner: Option<String>, weights: &[String], choice: Choice) {
    let Some(tile) = leaf.tile_loops() else { return };
    let width = choice.tile.nv * replay.lanes;
    let (cols, extent) = tile.cols;
    let last = leaf.nest_loops().last().map(|l| l.0);
    if !(choice.order || choice.pack) || extent <= width || extent % width > 0 || last != Some(cols) {
        return;
    }
    let (rows, cols) = (tile.rows.map(|rows| replay.name(rows.0)), replay.name(cols));
    if !replay.step(Step::Split { r#loop: cols.clone(), factor: width }) {
        return;
    }
    let (panel, column) = (format!("{cols}.o"), format!("{cols}.i"));
    // A single row walks through the panels as they lie.
    if let Some(rows) = rows {
        let mut loops = vec![panel];
        if choice.order {
            loops.extend(inner);
        }
        loops.extend([rows, column]);
        replay.step(Step::Reorder { loops });
    }
    if choice.pack {
        for buffer in weights {
            replay.step(Step::Pack { buffer: buffer.clone(), width });
        }
    }
}

/// Runs the outermost loop on several threads, if it is the whole body and not a part of the micro-kernel, which loses nothing
/// by a loop over single rows.
fn parallelise(replay: &mut Replay, tile: TileShape) {
    let in_tile = main_leaf(&replay.program).and_then(|leaf| {
        let (nest, _) = leaf.candidate()?;
        Some((nest.cols.0, nest.rows.map(|rows| rows.0)))
    });
    let mut outermost = None;
    walk::loops(&replay.program.body, &mut |var, extent| {
        outermost.get_or_insert((var, extent));
    });
    if let Some((var, extent)) = outermost
        && extent > 1
        && in_tile.is_none_or(|(cols, rows)| var != cols && (tile.mr == 1 || Some(var) != rows))
    {
        let r#loop = replay.name(var);
        replay.step(Step::Parallel { r#loop });
    }
}

/// Replaces every nest that can be one by micro-kernels: the main one in the chosen shape.
fn tensorize_all(replay: &mut Replay, choice: Choice) {
    let all = leaves(&replay.program.body);
    let main = all.iter().map(Leaf::work).max().unwrap_or(0);
    let setup = leaves(&replay.program.setup);
    let main = |leaf: &Leaf| leaf.work() == main;
    for (leaf, main) in all.iter().map(|leaf| (leaf, main(leaf))).chain(setup.iter().map(|leaf| (leaf, false))) {
        if let (2.., Some(nest)) = (leaf.stmts.len(), leaf.tile_loops()) {
            // There is only one shape for several stores, and the step is refused if it does not fit.
            let rows = nest.rows.map_or("-".to_owned(), |rows| replay.name(rows.0));
            replay.step(Step::Tensorize { rows, cols: replay.name(nest.cols.0), mr: 1, nv: 1, unroll: 1 });
            continue;
        }
        let Some((nest, candidate)) = leaf.candidate() else { continue };
        let shape = if main { choice.tile } else { side_tile(leaf, replay.lanes) };
        if !candidate.fits(shape, replay.lanes) {
            continue;
        }
        let rows = nest.rows.map_or("-".to_owned(), |rows| replay.name(rows.0));
        let cols = replay.name(nest.cols.0);
        if nest.across {
            replay.step(Step::TensorizeAcross { rows, over: cols, mr: shape.mr, unroll: shape.unroll });
            continue;
        }
        replay.step(Step::Tensorize { rows, cols, mr: shape.mr, nv: shape.nv, unroll: shape.unroll });
    }
}

/// The register tile of a nest in which little time is spent: the best of the model.
fn side_tile(leaf: &Leaf, lanes: usize) -> TileShape {
    best_tile(leaf, lanes).unwrap_or(TileShape { mr: 1, nv: 1, unroll: 1 })
}

/// The register tile with the fewest cycles by the model.
pub(crate) fn best_tile(leaf: &Leaf, lanes: usize) -> Option<TileShape> {
    let (_, candidate) = leaf.candidate()?;
    let tiles = fitting_tiles(leaf, lanes).into_iter().map(|tile| TileShape { unroll: 4, ..tile });
    tiles.map(|tile| (candidate.cycles(tile, lanes), tile)).min_by(|a, b| a.0.total_cmp(&b.0)).map(|best| best.1)
}
