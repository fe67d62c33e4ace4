//! How fast a core moves data that fits one of its caches, or none of them.

use crate::error::CodegenError;
use crate::memory::buffer::AlignedBuffer;
use crate::module::Code;
use crate::target::Target;
use sonar_ir::machine::Bandwidth;
use sonar_ir::scalar::BinaryOp;
use sonar_ir::tile::{Addr, Inst, Ptr, Reg, Tile, TileStmt};
use std::time::Instant;

/// Vectors that one iteration moves.
const UNROLLED: u32 = 8;
/// The least number of bytes that one timing moves: enough for the resolution of the clock.
const MOVED: usize = 1 << 20;
/// Timings of each size. The fastest counts, so interruptions have no effect. Small sizes are timed more often, as they take less time.
const RUNS: usize = 12;
const RUNS_OF_LARGE: usize = 3;
const LARGE: usize = 4 << 20;
/// The smallest and the largest footprint, in bytes.
const SIZES: std::ops::RangeInclusive<usize> = 16 << 10..=32 << 20;

/// Measures bandwidths for growing footprints, from one that fits every first-level cache to one that fits few caches.
pub(super) fn bandwidths(target: &Target) -> Result<Vec<Bandwidth>, CodegenError> {
    let lanes = target.lanes();
    let step = UNROLLED as usize * lanes;
    // Also one and a half times each power of two: some caches have such sizes.
    let powers = std::iter::successors(Some(*SIZES.start()), |&bytes| Some(2 * bytes));
    let sizes: Vec<usize> = powers.flat_map(|bytes| [bytes, bytes + bytes / 2]).take_while(|b| SIZES.contains(b)).collect();
    let tiles: Vec<[Tile; 3]> =
        sizes.iter().map(|&bytes| [reading(lanes, bytes / 4), writing(lanes, bytes / 4), copying(lanes, bytes / 8)]).collect();
    let (code, ids) = Code::build(target, |definitions| {
        tiles.iter().flatten().map(|tile| definitions.tile(tile)).collect::<Result<Vec<_>, _>>()
    })?;

    // Copies go to the second half, and sums are stored after it.
    let half = SIZES.end() / 8;
    let mut buffer = AlignedBuffer::new(2 * half + step);
    // Pages that were never written may all be the same physical page.
    for offset in (0..2 * half).step_by(1 << 20) {
        buffer.write(offset, &vec![1.0; (1 << 20).min(2 * half - offset)]);
    }
    let mut result = Vec::with_capacity(sizes.len());
    for (&bytes, ids) in sizes.iter().zip(ids.chunks(3)) {
        let moved = (bytes * repeats(bytes / 4) as usize) as f64;
        let mut gigabytes = ids.iter().zip([2 * half, 0, bytes / 8]).map(|(&id, other)| {
            let entry = code.tile_entry(id);
            let pointers = [buffer.at(0), buffer.at(other)];
            let mut fastest = f64::INFINITY;
            for _ in 0..if bytes < LARGE { RUNS } else { RUNS_OF_LARGE } {
                let start = Instant::now();
                // SAFETY: the tile stays within `bytes / 4` elements after the first pointer, or within half as many after each of
                // the two, or within `step` after the second. The buffer has all these elements, and the code is alive.
                unsafe { entry(pointers.as_ptr()) };
                fastest = fastest.min(start.elapsed().as_secs_f64());
            }
            // All sizes are multiples of the bytes of an iteration, so all tiles move the same number of bytes.
            moved / fastest / 1e9
        });
        let mut next = || gigabytes.next().unwrap_or_default();
        result.push(Bandwidth { bytes, read: next(), write: next(), copy: next() });
    }
    for i in (1..result.len()).rev() {
        let (below, at) = (result[i - 1], result[i]);
        let [read, write, copy] = [below.read.max(at.read), below.write.max(at.write), below.copy.max(at.copy)];
        result[i - 1] = Bandwidth { bytes: below.bytes, read, write, copy };
    }
    Ok(result)
}

/// How often a tile repeats its pass over `elements`.
fn repeats(elements: usize) -> u32 {
    MOVED.div_ceil(4 * elements) as u32
}

/// Adds up `elements` after the first pointer, many times, and stores the sums after the second.
fn reading(lanes: usize, elements: usize) -> Tile {
    let sums = 0..UNROLLED;
    let zero = sums.clone().map(|i| TileStmt::Inst(Inst::Const { dst: Reg(i), value: 0.0 }));
    let body = sums.clone().flat_map(|i| {
        let (sum, element) = (Reg(i), Reg(UNROLLED + i));
        let load = Inst::Load { dst: element, addr: address(0, i, lanes), masked: false };
        [load, Inst::Binary { op: BinaryOp::Add, dst: sum, a: sum, b: element }].map(TileStmt::Inst)
    });
    let stores = sums.clone().map(|i| TileStmt::Inst(Inst::Store { src: Reg(i), addr: address(1, i, lanes), masked: false }));
    let over = over_and_over(lanes, elements, repeats(elements), &[Ptr(0)], body.collect());
    let body = zero.chain([over]).chain(stores).collect();
    Tile { name: "reading".into(), lanes, tail: 0, pointers: 2, body }
}

/// Writes `elements` after the first pointer, many times.
fn writing(lanes: usize, elements: usize) -> Tile {
    let value = TileStmt::Inst(Inst::Const { dst: Reg(0), value: 1.0 });
    let stores = (0..UNROLLED).map(|i| Inst::Store { src: Reg(0), addr: address(0, i, lanes), masked: false });
    let over = over_and_over(lanes, elements, repeats(elements), &[Ptr(0)], stores.map(TileStmt::Inst).collect());
    Tile { name: "writing".into(), lanes, tail: 0, pointers: 2, body: vec![value, over] }
}

/// Copies `elements` from after the first pointer to after the second, many times.
fn copying(lanes: usize, elements: usize) -> Tile {
    let loads = (0..UNROLLED).map(|i| Inst::Load { dst: Reg(i), addr: address(0, i, lanes), masked: false });
    let stores = (0..UNROLLED).map(|i| Inst::Store { src: Reg(i), addr: address(1, i, lanes), masked: false });
    let body = loads.chain(stores).map(TileStmt::Inst).collect();
    // Every element is moved twice: it is read and written.
    let over = over_and_over(lanes, elements, repeats(2 * elements), &[Ptr(0), Ptr(1)], body);
    Tile { name: "copying".into(), lanes, tail: 0, pointers: 2, body: vec![over] }
}

fn address(pointer: u32, vector: u32, lanes: usize) -> Addr {
    Addr { ptr: Ptr(pointer), offset: (vector as usize * lanes) as i32 }
}

/// A loop with `body` over all elements, repeated `times` times.
fn over_and_over(lanes: usize, elements: usize, times: u32, pointers: &[Ptr], mut body: Vec<TileStmt>) -> TileStmt {
    let step = UNROLLED as usize * lanes;
    let trips = elements / step;
    body.extend(pointers.iter().map(|&ptr| TileStmt::Advance { ptr, by: step as i32 }));
    let mut once = vec![TileStmt::Loop { trips: trips as u32, body }];
    once.extend(pointers.iter().map(|&ptr| TileStmt::Advance { ptr, by: -((trips * step) as i32) }));
    TileStmt::Loop { trips: times, body: once }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sonar_ir::loops::BufId;
    use sonar_ir::tile::interp::{self, Address};

    /// Elements of three iterations with four lanes.
    const ELEMENTS: usize = 3 * UNROLLED as usize * 4;

    /// Runs a tile on the data and on as many zeros, and returns both.
    fn run(tile: &Tile) -> (Vec<f32>, Vec<f32>) {
        let data: Vec<f32> = (0..ELEMENTS).map(|i| (i % 7) as f32).collect();
        let mut memory = vec![data, vec![0.0; ELEMENTS]].into();
        let pointers = [0, 1].map(|buffer| Address { buffer: BufId(buffer), element: 0 });
        interp::run(tile, &mut memory, &pointers).expect("the tile is valid and stays within its data");
        (memory[BufId(0)].clone(), memory[BufId(1)].clone())
    }

    #[test]
    fn every_element_is_read() {
        let (data, sums) = run(&reading(4, ELEMENTS));
        assert_eq!(sums.iter().sum::<f32>(), data.iter().sum::<f32>() * repeats(ELEMENTS) as f32);
    }

    #[test]
    fn every_element_is_copied() {
        let (data, copy) = run(&copying(4, ELEMENTS));
        assert_eq!(data, copy);
    }

    #[test]
    fn every_element_is_written() {
        let (data, other) = run(&writing(4, ELEMENTS));
        assert_eq!((data, other), (vec![1.0; ELEMENTS], vec![0.0; ELEMENTS]));
    }
}
