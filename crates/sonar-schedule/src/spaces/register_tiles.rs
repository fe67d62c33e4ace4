//! Register tiles and block sizes to try.

use sonar_ir::machine::Core;
use sonar_ir::tile::Tile;

use crate::microkernels::{Panels, RegisterTile};
use crate::spaces::innermost::Leaf;

/// Numbers of rows of register tiles to try.
const ROWS: [usize; 14] = [1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 16, 20, 28];
/// Numbers of vectors in a row of register tiles to try.
const VECTORS: [usize; 6] = [1, 2, 3, 4, 6, 8];
/// Unroll factors of the reduction loop to try.
pub(crate) const UNROLLS: [usize; 4] = [1, 2, 4, 8];
/// Unroll factor of the innermost reduction loop without measurements.
pub(crate) const UNROLL: usize = 4;
/// Most block sizes of a loop to try.
const MOST_BLOCKS: usize = 8;

/// Register tiles for the matrix products of transformed Winograd tiles.
pub(crate) fn filter_tiles(lanes: usize) -> impl Iterator<Item = RegisterTile> {
    let tiles = ROWS.into_iter().flat_map(|mr| VECTORS.into_iter().map(move |nv| RegisterTile { mr, nv, unroll: 1 }));
    tiles.filter(move |tile| filter_tile_fits(tile, lanes))
}

/// Whether the accumulators of such a product, a row of the weight and an element of the image fit the registers.
pub(crate) fn filter_tile_fits(tile: &RegisterTile, lanes: usize) -> bool {
    tile.mr * tile.nv + tile.nv + 1 < Tile::registers(lanes)
}

/// The register tiles that fit the registers.
pub(crate) fn fitting_tiles(leaf: &Leaf, lanes: usize) -> Vec<RegisterTile> {
    let Some((nest, candidate)) = leaf.candidate() else { return vec![] };
    let most_rows = nest.rows.map_or(1, |rows| rows.1);
    let most_vectors = nest.cols.1.div_ceil(lanes);
    if candidate.is_bundle() {
        let single = RegisterTile { mr: 1, nv: 1, unroll: 1 };
        return if candidate.fits(single, lanes) { vec![single] } else { vec![] };
    }
    let mut tiles = Vec::new();
    for mr in ROWS.into_iter().filter(|&mr| mr <= most_rows) {
        for nv in VECTORS.into_iter().filter(|&nv| nv <= most_vectors) {
            let widest = RegisterTile { mr, nv, unroll: UNROLLS[UNROLLS.len() - 1] };
            if candidate.fits(widest, lanes) {
                tiles.push(RegisterTile { mr, nv, unroll: 1 });
            }
        }
    }
    tiles
}

/// Divisors of the extent of the loop that is split into blocks, largest first. Columns are only split into whole vectors.
pub(crate) fn block_sizes(leaf: &Leaf, lanes: usize) -> Vec<usize> {
    let nest = leaf.nest_loops();
    let Some(position) = leaf.block_loop() else { return vec![] };
    let extent = nest[position].1;
    let whole = if nest.len() == 1 { lanes } else { 1 };
    let divisors = (1..extent).rev().filter(|d| extent.is_multiple_of(*d) && d.is_multiple_of(whole));
    let all: Vec<usize> = divisors.collect();
    let step = all.len().div_ceil(MOST_BLOCKS).max(1);
    all.into_iter().step_by(step).collect()
}

/// The register tile with the smallest estimated time, for a nest without panels.
pub(crate) fn best_tile(leaf: &Leaf, core: &Core) -> Option<RegisterTile> {
    let (_, candidate) = leaf.candidate()?;
    let tiles = fitting_tiles(leaf, core.lanes).into_iter().map(|tile| RegisterTile { unroll: UNROLL, ..tile });
    let panels = Panels { between: 0.0, packed: false };
    tiles.map(|tile| (candidate.seconds(tile, panels, core), tile)).min_by(|a, b| a.0.total_cmp(&b.0)).map(|best| best.1)
}
