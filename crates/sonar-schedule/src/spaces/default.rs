//! The schedule to use without measurements.
//!
//! The choices are made one after the other: first the fusion of rows and the register tile, then the blocks of the image or
//! Winograd's filtering. Each choice has the smallest estimated time.

use sonar_ir::loops::{BufferKind, LoopKind, Program, Stmt};
use sonar_ir::machine::{Core, is_gain};
use sonar_ir::schedule::Schedule;

use crate::lowering::Task;
use crate::microkernels::{CALL, Nest, Panels, RegisterTile, product_block, split};
use crate::primitives::filterable;
use crate::spaces::compose::{Choice, Filter, Replay};
use crate::spaces::estimate::parallel;
use crate::spaces::innermost::{Leaf, leaves, main_leaf};
use crate::spaces::register_tiles::{UNROLL, filter_tile_fits};
use crate::spaces::space::{Options, Point, ScheduleSpace, space};

/// The share of a cache that one buffer may fill, so that the other data used with it also stay.
const SHARE: f64 = 2.0 / 3.0;
/// The share of a convolution's time in which elements of its image are read for the first time.
const FIRST_READS: f64 = 0.05;
/// Cost of the transforms for each element of a Winograd tile, in units of half a vector operation. It includes the transforms
/// of rows and columns and all loads and stores; parts of an image are loaded more than once.
const TRANSFORMS: [(usize, f64, f64); 2] = [(2, 1.2, 1.2), (4, 2.4, 1.9)];

/// The schedule with the smallest estimated time.
pub fn default_schedule(task: &Task, options: &Options) -> Schedule {
    default_program(task, options).0
}

/// The same with the program that it gives.
pub fn default_program(task: &Task, options: &Options) -> (Schedule, Program) {
    let space = space(task, options);
    space.scheduled(&default_point(&space))
}

/// The point of a space with the smallest estimated time: that of the [`default_schedule`].
pub fn default_point(space: &ScheduleSpace) -> Point {
    let core = space.options().core();
    let (fuse, tile) = best_tile(space, &core);
    let mut choice =
        Choice { fuse, block: 0, tile, order: false, pack: true, parallel: space.options().threads > 1, filter: None };
    choice.order = panels_matter(space, &core);
    let blocks = space.blocks().iter().map(|&block| {
        let choice = Choice { block, ..choice };
        (outline_seconds(space, choice, &core), choice)
    });
    let filters = filters(space, &core).map(|(seconds, filter, tile)| (seconds, Choice { filter: Some(filter), tile, ..choice }));
    let best = blocks.chain(filters).min_by(|a, b| a.0.total_cmp(&b.0)).map_or(choice, |best| best.1);
    space.point_of(best)
}

/// The number of fused loops and the register tile for which the main nest has the smallest estimated time.
fn best_tile(space: &ScheduleSpace, core: &Core) -> (usize, RegisterTile) {
    let fusions = space.fusions();
    let mut best = (fusions, space.tiles()[0]);
    let mut least = f64::INFINITY;
    for fuse in (0..=fusions).rev() {
        let mut replay = Replay::new(space.program(), core.lanes);
        replay.fuse(fuse);
        let Some(leaf) = main_leaf(&replay.program) else { continue };
        let Some((nest, candidate)) = leaf.candidate() else { continue };
        let outside = outside(&leaf, &nest);
        for &tile in space.tiles() {
            let tile = RegisterTile { unroll: UNROLL, ..tile };
            let seconds = outside * candidate.seconds(tile, panels(space, &nest, tile, outside, core), core);
            // A choice must have a clear gain. If times are about equal, the first one stays.
            if is_gain(seconds, least) && candidate.fits(tile, core.lanes) {
                (best, least) = ((fuse, tile), seconds);
            }
        }
    }
    best
}

/// How the weights of the main nest are read if it runs `runs` times. It assumes packed weights, with panels outside of rows if
/// that matters.
fn panels(space: &ScheduleSpace, nest: &Nest<'_>, tile: RegisterTile, runs: f64, core: &Core) -> Panels {
    let width = tile.nv * core.lanes;
    let whole = nest.cols.1.is_multiple_of(width) || nest.cols.1 <= width;
    let divided = whole && nest.cols.1 > width;
    let outside = divided && panels_matter(space, core);
    let between = match runs > 1.0 {
        true if outside => 0.0,
        true => weights(space) as f64,
        // All other data that a run of the network touches.
        false => space.options().footprint.max(weights(space)) as f64,
    };
    Panels { between, packed: whole }
}

/// How often a nest runs.
fn outside(leaf: &Leaf, nest: &Nest<'_>) -> f64 {
    let reduced = if nest.across { 1 } else { nest.cols.1 };
    leaf.trips() as f64 / (nest.rows.map_or(1, |rows| rows.1) * reduced) as f64
}

/// Every way to compute a convolution with Winograd's filtering, with its seconds and its best register tile.
fn filters<'a>(space: &'a ScheduleSpace, core: &'a Core) -> impl Iterator<Item = (f64, Filter, RegisterTile)> + 'a {
    let &Options { lanes, threads, .. } = space.options();
    space.filters().filter_map(move |filter| {
        let conv = filterable(space.program(), filter.tile)?;
        let [down, across] = conv.result.map(|extent| extent.div_ceil(filter.tile));
        let rows = (1..=filter.rows.min(down)).rev().find(|rows| down.is_multiple_of(*rows))?;
        let (strips, tiles) = (down / rows * conv.images, rows * across);
        let [outputs, inputs] = conv.channels;
        // Mostly empty vectors take as long as full ones in every step.
        if 2 * outputs.min(inputs) < lanes {
            return None;
        }
        let vectors = |channels: usize| channels.div_ceil(lanes) as f64;
        let side = filter.tile + 2;
        let matrices = (side * side) as f64;
        let &(_, image, result) = TRANSFORMS.iter().find(|transform| transform.0 == filter.tile)?;
        let elements = matrices * (image * vectors(inputs) + result * vectors(outputs / filter.parts));
        let arithmetic = tiles as f64 * elements * 2.0 * core.operation;
        let weights = matrices * (inputs * outputs * 4) as f64;
        // Transformed images and products are written and read again, in addition to the weights.
        let moved = matrices * (tiles * (inputs + outputs / filter.parts) * 4) as f64;
        let footprint = moved + weights / filter.parts as f64;
        let moving = moved * (core.machine.write(footprint) + core.machine.read(footprint));
        let transforms = arithmetic.max(moving);
        // The weights are read again for each strip, and nothing is prefetched.
        let away = weights.max(space.options().footprint as f64);
        let reading = weights * (core.machine.read(away) + (strips - 1) as f64 * core.machine.read(weights.max(moved)));
        let outputs = outputs / filter.parts;
        // The image part of one matrix, which is read again for each panel.
        let matrix = (4 * tiles * inputs) as f64;
        let product = |tile: &RegisterTile| {
            let panels = outputs.div_ceil(tile.nv * lanes) as f64;
            let products = split(tiles, tile.mr).map(|(mr, blocks)| {
                let block = RegisterTile { mr, unroll: UNROLL, ..*tile };
                blocks as f64 * product_block(block, inputs, matrix, core)
            });
            let products: f64 = products.sum();
            matrices * panels * (products + CALL * core.cycle)
        };
        let shapes = space.tiles().iter().filter(|tile| tile.mr <= tiles && (tile.nv - 1) * lanes < outputs);
        let whole = |nv: usize| filter.parts == 1 || outputs.is_multiple_of(nv * lanes);
        let shapes = shapes.filter(move |tile| whole(tile.nv));
        let shapes = shapes.filter(|tile| filter_tile_fits(tile, lanes));
        let (product, tile) = shapes.map(|tile| (product(tile), *tile)).min_by(|a, b| a.0.total_cmp(&b.0))?;
        let total = (filter.parts * strips) as f64 * (transforms + product + (2 * rows) as f64 * CALL * core.cycle) + reading;
        let pieces = if filter.parts > 1 {
            filter.parts
        } else if conv.images > 1 {
            conv.images
        } else {
            down / rows
        };
        let total = if threads > 1 { parallel(total, pieces, threads, core) } else { total };
        Some((total, filter, RegisterTile { unroll: UNROLL, ..tile }))
    })
}

/// Whether the weights of the main nest do not fit the first-level cache. Every row of the result reads all of them.
fn panels_matter(space: &ScheduleSpace, core: &Core) -> bool {
    weights(space) as f64 > SHARE * core.machine.cache(1) as f64
}

/// Bytes of the largest weight.
fn weights(space: &ScheduleSpace) -> usize {
    let buffers = space.program().buffers.iter().filter(|buffer| space.weights().contains(&buffer.name));
    buffers.map(|buffer| buffer.len * 4).max().unwrap_or(0)
}

/// Seconds of a whole program before nests become micro-kernels.
fn outline_seconds(space: &ScheduleSpace, choice: Choice, core: &Core) -> f64 {
    let program = space.outline(choice);
    let main = main_leaf(&program).map_or(0.0, |leaf| match leaf.candidate() {
        Some((nest, candidate)) => {
            let outside = outside(&leaf, &nest);
            let panels = panels(space, &nest, choice.tile, outside, core);
            outside * candidate.seconds(choice.tile, panels, core)
        }
        None => leaf.work() as f64 * core.cycle,
    });
    let temporaries: usize = program.buffers.iter().filter(|b| b.kind == BufferKind::Temp).map(|b| b.len * 4).sum();
    // They share a cache with their source data.
    let footprint = temporaries as f64 / SHARE;
    let (near, far) = (core.machine.read(0.0), core.machine.read(footprint));
    let read = 1.0 + FIRST_READS * (far / near - 1.0);
    let all = leaves(&program.body);
    let most = all.iter().map(Leaf::work).max().unwrap_or(0);
    let side: f64 = all
        .iter()
        .filter(|leaf| leaf.work() < most)
        .map(|leaf| {
            let inner = leaf.loops.last().map_or(1, |l| l.1);
            let calls = leaf.trips() as f64 / inner as f64;
            4.0 * leaf.trips() as f64 * core.machine.write(footprint) + calls * CALL * core.cycle
        })
        .sum();
    let main_loops = all.iter().find(|leaf| leaf.work() == most).map_or(0, |leaf| leaf.loops.len().saturating_sub(2));
    let calls: usize = all
        .iter()
        .filter(|leaf| leaf.work() == most)
        .map(|leaf| leaf.loops.iter().take(main_loops).map(|l| l.1).product::<usize>())
        .sum();
    let total = main * read + side + calls as f64 * CALL * core.cycle;
    match program.body.as_slice() {
        [Stmt::For { extent, kind: LoopKind::Parallel, .. }] => parallel(total, *extent, space.options().threads, core),
        _ => total,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lowering::tasks;
    use crate::spaces::estimate::estimate;
    use sonar_ir::graph::Conv2dAttrs;
    use sonar_ir::machine::{Bandwidth, Machine, Peak};
    use sonar_ir::{Graph, Init, Op, TensorType};

    /// A convolution of a square image with a square kernel.
    fn conv(side: usize, channels: [usize; 2], kernel: usize) -> Task {
        let mut graph = Graph::new("conv");
        let x = graph.input("x", TensorType::fixed(&[1, side, side, channels[0]]));
        let w = graph.param("w", &[kernel, kernel, channels[0], channels[1]], Init::He);
        let attributes = Conv2dAttrs { pad: [kernel / 2; 4], ..Conv2dAttrs::default() };
        let y = graph.push(Op::Conv2d(attributes), &[x, w]).expect("the shapes fit");
        graph.outputs = vec![y];
        tasks(&graph).expect("it can be lowered").tasks[crate::TaskId(0)].clone()
    }

    fn leaked(machine: Machine) -> &'static Machine {
        Box::leak(Box::new(machine))
    }

    /// A machine that is faster by this factor in everything.
    fn faster(machine: &Machine, times: f64) -> &'static Machine {
        let peak = |peak: &Peak| Peak { gflops: peak.gflops * times, latency: peak.latency / times, ..*peak };
        let at = |at: &Bandwidth| Bandwidth { read: at.read * times, write: at.write * times, copy: at.copy * times, ..*at };
        leaked(Machine {
            peaks: machine.peaks.iter().map(peak).collect(),
            bandwidths: machine.bandwidths.iter().map(at).collect(),
            call: machine.call / times,
            fork: machine.fork / times,
            ..machine.clone()
        })
    }

    /// A machine with this bandwidth in GB/s for data larger than this many bytes.
    fn starved(machine: &Machine, bytes: usize, gigabytes: f64) -> &'static Machine {
        let mut starved = machine.clone();
        for at in starved.bandwidths.iter_mut().filter(|at| at.bytes > bytes) {
            *at = Bandwidth { bytes: at.bytes, read: gigabytes, write: gigabytes, copy: gigabytes };
        }
        leaked(starved)
    }

    #[test]
    fn a_machine_that_is_twice_as_fast_takes_half_the_time_and_the_same_schedules() {
        for task in [conv(16, [32, 32], 3), conv(13, [256, 100], 1), conv(32, [3, 16], 3), conv(7, [64, 256], 1)] {
            for threads in [1, 2] {
                let slow = Options { threads, ..Options::new(16) };
                let fast = Options { machine: faster(slow.machine, 2.0), ..slow };
                let [one, other] = [slow, fast].map(|options| default_schedule(&task, &options));
                assert_eq!(one, other);
                let [one, other] = [slow, fast].map(|options| estimate(&task, &one, &options).expect("it fits"));
                assert!(one > 0.0 && (one / other - 2.0).abs() < 1e-9, "{one} {other}");
            }
        }
    }

    #[test]
    fn weights_that_come_from_far_are_not_made_larger() {
        let task = conv(8, [64, 64], 3);
        let alone = Options { machine: starved(Machine::usual(16), 4 << 20, 2.0), ..Options::new(16) };
        let within = Options { footprint: 100 << 20, ..alone };
        let filters = |options| default_schedule(&task, &options).to_string().contains("winograd tile=4");
        assert!(filters(alone) && !filters(within));
    }

    #[test]
    fn panels_that_are_far_are_read_seldom() {
        // If panels are in a near cache, few rows per reading of a panel are as good as many rows. If panels are far, they are
        // not.
        let task = conv(14, [512, 512], 1);
        let rows = |machine| {
            let space = space(&task, &Options { machine, ..Options::new(16) });
            best_tile(&space, &machine.core(16)).1.mr
        };
        let usual = Machine::usual(16);
        assert!(rows(starved(usual, 16 << 10, 20.0)) > rows(usual).min(8), "{}", rows(usual));
    }

    #[test]
    fn strips_keep_their_matrices_close() {
        // Transformed images of 64 channels exceed the second-level cache unless a strip has few rows.
        let task = conv(56, [64, 64], 3);
        let schedule = default_schedule(&task, &Options::new(16)).to_string();
        let rows = schedule.split("rows=").nth(1).and_then(|rest| rest.split(' ').next()?.parse::<usize>().ok());
        assert!(schedule.contains("winograd tile=4") && rows.is_some_and(|rows| rows <= 4), "{schedule}");
    }
}
