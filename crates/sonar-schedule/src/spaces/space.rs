//! The schedules that are worth trying for a task: a small space of the named [knobs](crate::spaces::knobs).
//!
//! A schedule is built for the nest that takes most of the program's time. Other nests (fills of temporaries, copies) get
//! micro-kernels of a fixed shape. Every point gives a correct schedule: a step that does not apply to the program is left out.
//! A point is legal if all its choices apply.

use sonar_ir::loops::{Program, Stmt};
use sonar_ir::machine::{Core, Machine};
use sonar_ir::schedule::{Schedule, Step};
use sonar_ir::tile::Tile;

use crate::lowering::Task;
use crate::microkernels::RegisterTile;
use crate::spaces::compose::{self, Choice, Filter, Replay};
use crate::spaces::innermost::main_leaf;
use crate::spaces::knobs::{self, Facts, KNOBS, PARTS_TRIED, STRIPS, Value};
use crate::spaces::register_tiles::{block_sizes, filter_tiles, fitting_tiles};

/// Tiles of Winograd's filtering. For each: its size, the largest error over the largest output after 25 such layers (for
/// comparison with the error bound), and the number of vector registers that its transforms need.
const FILTERS: [(usize, f64, usize); 2] = [(2, 4e-6, Tile::REGISTERS_256), (4, 1e-5, Tile::REGISTERS_512)];

/// Options for making schedules.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Options {
    /// Elements of a vector register.
    pub lanes: usize,
    /// The machine parameters for time estimates.
    pub machine: &'static Machine,
    /// Number of threads of one run.
    pub threads: usize,
    /// Bytes that a run of the network touches between two calls of the kernel, which evict its weights. 0 for a kernel by
    /// itself.
    pub footprint: usize,
    /// The largest rounding error of a network's output, over the largest output. 0 forbids algorithms that round more than
    /// sums of products in any order.
    pub max_rounding: f64,
}

impl Options {
    /// One thread, rounding up to 1e-4, a common machine with this vector length, and a kernel by itself.
    pub fn new(lanes: usize) -> Self {
        Options { lanes, machine: Machine::usual(lanes), threads: 1, footprint: 0, max_rounding: 1e-4 }
    }
}

impl Options {
    /// The parameters of a core with this vector length.
    pub(crate) fn core(&self) -> Core {
        self.machine.core(self.lanes)
    }
}

/// The tile sizes that are allowed for Winograd's filtering.
fn allowed(options: &Options) -> impl Iterator<Item = usize> + use<> {
    let Options { lanes, max_rounding, .. } = *options;
    let fits = move |&(_, error, registers): &(usize, f64, usize)| error <= max_rounding && registers <= Tile::registers(lanes);
    FILTERS.into_iter().filter(fits).map(|(tile, ..)| tile)
}

/// The largest tile size that is allowed for Winograd's filtering, or `None` if it is not allowed.
pub fn largest_filter(options: &Options) -> Option<usize> {
    allowed(options).max()
}

/// Whether the rounding of a schedule is allowed by [`Options::max_rounding`].
pub fn allows(schedule: &Schedule, max_rounding: f64) -> bool {
    let error = |tile: usize| FILTERS.iter().find(|filter| filter.0 == tile).map_or(f64::INFINITY, |filter| filter.1);
    schedule.steps.iter().all(|step| !matches!(step, Step::Winograd { tile, .. } if error(*tile) > max_rounding))
}

/// A knob with its choices for a task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Knob {
    /// Its name: one of the [`KNOBS`].
    pub name: &'static str,
    /// The choices.
    pub choices: Vec<Value>,
}

/// One choice for each knob, by index.
pub type Point = Vec<usize>;

/// The schedules of a task.
#[derive(Clone, Debug)]
pub struct ScheduleSpace {
    program: Program,
    weights: Vec<String>,
    options: Options,
    knobs: Vec<Knob>,
    facts: Facts,
}

/// The space of a task.
pub fn space(task: &Task, options: &Options) -> ScheduleSpace {
    let program = task.program.clone();
    let inputs = program.buffers.iter().zip(&task.weights);
    let weights: Vec<String> = inputs.filter(|(_, weight)| **weight).map(|(buffer, _)| buffer.name.clone()).collect();
    let facts = facts(&program, &weights, options);
    let knobs = KNOBS.iter().map(|knob| Knob { name: knob.name, choices: (knob.choices)(&facts) }).collect();
    ScheduleSpace { program, weights, options: *options, knobs, facts }
}

/// The properties that determine the knobs of a program's space.
fn facts(program: &Program, weights: &[String], options: &Options) -> Facts {
    let lanes = options.lanes;
    let fusions = compose::fusions(program);
    let mut tiles = Vec::new();
    let mut blocks = vec![0];
    for fuse in 0..=fusions {
        let mut replay = Replay::new(program, lanes);
        replay.fuse(fuse);
        let Some(leaf) = main_leaf(&replay.program) else { continue };
        tiles.extend(fitting_tiles(&leaf, lanes));
        blocks.extend(block_sizes(&leaf, lanes));
    }
    let filters: Vec<usize> = allowed(options).filter(|&tile| !compose::strips(program, weights, tile).is_empty()).collect();
    if !filters.is_empty() {
        tiles.extend(filter_tiles(lanes));
    }
    if tiles.is_empty() {
        tiles.push(RegisterTile { mr: 1, nv: 1, unroll: 1 });
    }
    let mut distinct = Vec::with_capacity(tiles.len());
    for tile in tiles {
        if !distinct.contains(&tile) {
            distinct.push(tile);
        }
    }
    blocks.sort_unstable();
    blocks.dedup();
    let reduces = main_leaf(program).is_some_and(|leaf| matches!(leaf.stmts[..], [Stmt::Reduce(_)]));
    Facts { fusions, blocks, tiles: distinct, reduces, weighted: !weights.is_empty(), filters, threads: options.threads }
}

impl ScheduleSpace {
    /// The knobs, in the order of a point's entries.
    pub fn knobs(&self) -> &[Knob] {
        &self.knobs
    }

    /// The index of a knob in a point.
    pub fn position(&self, knob: &str) -> Option<usize> {
        self.knobs.iter().position(|k| k.name == knob)
    }

    /// The choice of a point for a knob. An index beyond the last choice counts as the last.
    pub fn value(&self, point: &[usize], knob: &str) -> Option<Value> {
        let position = self.position(knob)?;
        let choices = &self.knobs[position].choices;
        let index = point.get(position).copied().unwrap_or(0).min(choices.len().checked_sub(1)?);
        Some(choices[index])
    }

    /// Number of points. Some points give the same schedule.
    pub fn len(&self) -> usize {
        self.knobs.iter().map(|knob| knob.choices.len()).product()
    }

    /// Always false: there is at least one point.
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

    /// The schedule at a point. An index beyond the last choice of a knob counts as the last.
    pub fn schedule(&self, point: &Point) -> Schedule {
        self.scheduled(point).0
    }

    /// The same with the scheduled program.
    pub fn scheduled(&self, point: &Point) -> (Schedule, Program) {
        compose::compose(&self.program, &self.weights, self.choice(point), &self.options.core())
    }

    /// The knobs whose choices at a point are illegal or without effect in this combination. Empty if the point is legal.
    pub fn refused(&self, point: &Point) -> Vec<&'static str> {
        let choice = self.choice(point);
        let mut refused = compose::refused(&self.program, &self.weights, choice, self.options.lanes);
        if choice.filter.is_none() {
            let chosen = |knob: &str| self.position(knob).is_some_and(|i| point.get(i).is_some_and(|&choice| choice > 0));
            refused.extend([knobs::STRIP, knobs::PARTS].into_iter().filter(|knob| chosen(knob)));
        }
        refused
    }

    fn choice(&self, point: &Point) -> Choice {
        let value = |knob| self.value(point, knob);
        let number = |knob| if let Some(Value::Number(n)) = value(knob) { n } else { 0 };
        let flag = |knob| value(knob) == Some(Value::Flag(true));
        let unroll = number(knobs::UNROLL);
        let tile = match value(knobs::TILE) {
            Some(Value::Tile { mr, nv }) => RegisterTile { mr, nv, unroll },
            _ => RegisterTile { mr: 1, nv: 1, unroll },
        };
        let filter = match value(knobs::ALGORITHM) {
            Some(Value::Winograd(tile)) => Some(Filter { tile, rows: number(knobs::STRIP), parts: number(knobs::PARTS) }),
            _ => None,
        };
        Choice {
            fuse: number(knobs::FUSE),
            block: number(knobs::BLOCK),
            tile,
            order: flag(knobs::ORDER),
            pack: flag(knobs::PACK),
            parallel: flag(knobs::PARALLEL),
            filter,
        }
    }

    /// The point of some choices. If a choice is not available, the first choice is used.
    pub(crate) fn point_of(&self, choice: Choice) -> Point {
        let number = |n: usize| Some(Value::Number(n));
        let filter = choice.filter;
        let wanted = |knob: &str| match knob {
            knobs::FUSE => number(choice.fuse),
            knobs::BLOCK if choice.block > 0 => number(choice.block),
            knobs::TILE => Some(Value::Tile { mr: choice.tile.mr, nv: choice.tile.nv }),
            knobs::UNROLL => number(choice.tile.unroll),
            knobs::ORDER => Some(Value::Flag(choice.order)),
            knobs::PACK => Some(Value::Flag(choice.pack)),
            knobs::PARALLEL => Some(Value::Flag(choice.parallel)),
            knobs::ALGORITHM => filter.map(|filter| Value::Winograd(filter.tile)),
            knobs::STRIP => filter.and_then(|filter| number(filter.rows)),
            knobs::PARTS => filter.and_then(|filter| number(filter.parts)),
            _ => None,
        };
        let index = |knob: &Knob| wanted(knob.name).and_then(|value| knob.choices.iter().position(|&choice| choice == value));
        self.knobs.iter().map(|knob| index(knob).unwrap_or(0)).collect()
    }

    /// The program of some choices, before nests become micro-kernels.
    pub(crate) fn outline(&self, choice: Choice) -> Program {
        compose::outline(&self.program, &self.weights, choice, self.options.lanes).program
    }

    /// The options for the schedules.
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// All parameters of Winograd's filtering.
    pub(crate) fn filters(&self) -> impl Iterator<Item = Filter> + '_ {
        let parts = if self.options.threads > 1 { PARTS_TRIED.as_slice() } else { &PARTS_TRIED[..1] };
        let strips = || STRIPS.into_iter().flat_map(|rows| parts.iter().map(move |&parts| (rows, parts)));
        self.facts.filters.iter().flat_map(move |&tile| strips().map(move |(rows, parts)| Filter { tile, rows, parts }))
    }

    /// Names of the inputs that are weights.
    pub(crate) fn weights(&self) -> &[String] {
        &self.weights
    }

    /// Number of loops that can be fused with the rows of the main nest.
    pub(crate) fn fusions(&self) -> usize {
        self.facts.fusions
    }

    /// The register tiles.
    pub(crate) fn tiles(&self) -> &[RegisterTile] {
        &self.facts.tiles
    }

    /// The block sizes.
    pub(crate) fn blocks(&self) -> &[usize] {
        &self.facts.blocks
    }

    /// The unscheduled program.
    pub(crate) fn program(&self) -> &Program {
        &self.program
    }
}
