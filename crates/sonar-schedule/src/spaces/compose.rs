//! From choices to a schedule: the steps are applied one after the other, and illegal steps are left out.

use sonar_ir::loops::{BufferKind, Program, Var};
use sonar_ir::machine::Core;
use sonar_ir::schedule::{Schedule, Step};

use crate::loops::visit;
use crate::microkernels::RegisterTile;
use crate::primitives::{PART, STRIP, apply_step, filterable};
use crate::spaces::innermost::{Leaf, leaves, main_leaf};
use crate::spaces::knobs;
use crate::spaces::register_tiles::best_tile;

/// The values of the knobs at a point.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Choice {
    pub(crate) fuse: usize,
    /// Block size in iterations of the block loop. 0 means all iterations.
    pub(crate) block: usize,
    pub(crate) tile: RegisterTile,
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
    /// Most rows of tiles in a strip.
    pub(crate) rows: usize,
    /// Number of parts of the output channels.
    pub(crate) parts: usize,
}

/// A schedule under construction, with the program that it gives.
pub(crate) struct Replay {
    pub(crate) program: Program,
    steps: Vec<Step>,
    lanes: usize,
    /// Names of knobs whose choice could not be applied.
    pub(crate) refused: Vec<&'static str>,
}

impl Replay {
    pub(crate) fn new(program: &Program, lanes: usize) -> Self {
        Replay { program: program.clone(), steps: vec![], lanes, refused: vec![] }
    }

    /// Notes that the choice of a knob has no effect, if there was a choice.
    fn refuse(&mut self, knob: &'static str, chosen: bool) {
        if chosen {
            self.refused.push(knob);
        }
    }

    /// Applies a step if it is legal.
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

    fn name(&self, var: Var) -> String {
        self.program.vars[var].clone()
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

/// The possible strip heights of a program with Winograd tiles of some size. Empty if Winograd's filtering is not possible.
pub(crate) fn strips(program: &Program, weights: &[String], tile: usize) -> Vec<usize> {
    let known = |inputs: &[String]| inputs.iter().all(|input| weights.contains(input));
    filterable(program, tile).filter(|conv| known(&conv.weights)).map_or(vec![], |conv| {
        let down = conv.result[0].div_ceil(tile);
        (1..=down).filter(|rows| down.is_multiple_of(*rows)).collect()
    })
}

/// Number of loops that can be fused with the rows of the main nest.
pub(crate) fn fusions(program: &Program) -> usize {
    Replay::new(program, 16).fuse(usize::MAX)
}

/// Builds a schedule. Illegal steps are left out.
pub(crate) fn compose(program: &Program, weights: &[String], choice: Choice, core: &Core) -> (Schedule, Program) {
    let mut replay = outline(program, weights, choice, core.lanes);
    tensorize_all(&mut replay, choice, core);
    (Schedule { steps: replay.steps }, replay.program)
}

/// All steps of a schedule except the micro-kernels.
pub(crate) fn outline(program: &Program, weights: &[String], choice: Choice, lanes: usize) -> Replay {
    if let Some(filtered) = choice.filter.and_then(|filter| filtered(program, weights, filter, choice, lanes)) {
        return filtered;
    }
    let mut replay = Replay::new(program, lanes);
    replay.refuse(knobs::ALGORITHM, choice.filter.is_some());
    let fused = replay.fuse(choice.fuse);
    replay.refuse(knobs::FUSE, fused < choice.fuse);
    let inner = main_leaf(&replay.program).and_then(|leaf| block(&mut replay, &leaf, choice));
    let cut = replay.steps.iter().any(|step| matches!(step, Step::Split { .. }));
    replay.refuse(knobs::BLOCK, choice.block > 0 && !cut);
    let before = replay.steps.len();
    if let Some(leaf) = main_leaf(&replay.program) {
        panels(&mut replay, &leaf, inner, weights, choice);
    }
    let whole = replay.steps.len() == before;
    replay.refuse(knobs::ORDER, choice.order && whole);
    replay.refuse(knobs::PACK, choice.pack && whole);
    if choice.parallel {
        parallelise(&mut replay, choice.tile);
    }
    replay
}

/// The same with Winograd's filtering, in the highest strips that are allowed. `None` if that is not possible.
fn filtered(program: &Program, weights: &[String], filter: Filter, choice: Choice, lanes: usize) -> Option<Replay> {
    let rows = strips(program, weights, filter.tile).into_iter().filter(|&rows| rows <= filter.rows).max()?;
    let mut replay = Replay::new(program, lanes);
    let Filter { tile, parts, .. } = filter;
    let idle = [(knobs::FUSE, choice.fuse > 0), (knobs::BLOCK, choice.block > 0), (knobs::ORDER, choice.order)];
    for (knob, chosen) in idle.into_iter().chain([(knobs::PACK, choice.pack)]) {
        replay.refuse(knob, chosen);
    }
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
    let temporaries = program.buffers.iter().filter(|b| b.kind == BufferKind::Temp);
    temporaries.map(|b| b.name.clone()).collect()
}

/// Splits the loop outside of the tile into blocks and fills temporaries in each block. Returns the name of the loop within a
/// block.
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

/// Splits the columns into panels, stores weights in panels, and moves the loop over panels outside of a block's rows.
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
    // A single row reads the panels in memory order.
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

/// Runs the outermost loop on several threads. It must be the whole body and not a part of the micro-kernel. A loop over single
/// rows may be taken from the micro-kernel, because that loses nothing.
fn parallelise(replay: &mut Replay, tile: RegisterTile) {
    let in_tile = main_leaf(&replay.program).and_then(|leaf| {
        let (nest, _) = leaf.candidate()?;
        Some((nest.cols.0, nest.rows.map(|rows| rows.0)))
    });
    let mut outermost = None;
    visit::loops(&replay.program.body, &mut |var, extent| {
        outermost.get_or_insert((var, extent));
    });
    if let Some((var, extent)) = outermost
        && extent > 1
        && in_tile.is_none_or(|(cols, rows)| var != cols && (tile.mr == 1 || Some(var) != rows))
    {
        let r#loop = replay.name(var);
        replay.step(Step::Parallel { r#loop });
    }
    let parallel = replay.steps.iter().any(|step| matches!(step, Step::Parallel { .. }));
    replay.refuse(knobs::PARALLEL, !parallel);
}

/// The knobs whose choices are illegal or without effect in this combination.
pub(crate) fn refused(program: &Program, weights: &[String], choice: Choice, lanes: usize) -> Vec<&'static str> {
    let replay = outline(program, weights, choice, lanes);
    let fits = main_leaf(&replay.program)
        .is_none_or(|leaf| leaf.candidate().is_none_or(|(_, candidate)| candidate.fits(choice.tile, lanes)));
    let tile = (!fits).then_some(knobs::TILE);
    replay.refused.into_iter().chain(tile).collect()
}

/// Replaces every possible nest by micro-kernels, the main nest with the chosen tile.
fn tensorize_all(replay: &mut Replay, choice: Choice, core: &Core) {
    let all = leaves(&replay.program.body);
    let main = all.iter().map(Leaf::work).max().unwrap_or(0);
    let setup = leaves(&replay.program.setup);
    let main = |leaf: &Leaf| leaf.work() == main;
    for (leaf, main) in all.iter().map(|leaf| (leaf, main(leaf))).chain(setup.iter().map(|leaf| (leaf, false))) {
        if let (2.., Some(nest)) = (leaf.stmts.len(), leaf.tile_loops()) {
            // There is only one shape for several stores. The step is refused if it does not fit.
            let rows = nest.rows.map_or("-".to_owned(), |rows| replay.name(rows.0));
            replay.step(Step::Tensorize { rows, cols: replay.name(nest.cols.0), mr: 1, nv: 1, unroll: 1 });
            continue;
        }
        let Some((nest, candidate)) = leaf.candidate() else { continue };
        let shape = if main { choice.tile } else { side_tile(leaf, core) };
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

/// The register tile of a nest that takes little time: the best one of the model.
fn side_tile(leaf: &Leaf, core: &Core) -> RegisterTile {
    best_tile(leaf, core).unwrap_or(RegisterTile { mr: 1, nv: 1, unroll: 1 })
}
