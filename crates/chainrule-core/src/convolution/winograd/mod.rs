//! 3×3 kernels at stride 1 with a quarter of the multiplications, and 4×4 kernels at stride 2 with two fifths: Winograd's minimal filters F(4×4, 3×3) and F(4×4, 2×2).
//!
//! `y = Aᵀ[(G w Gᵀ) ⊙ (Bᵀ x B)]A` for a tile of 4×4 results (Lavin and Gray 2015, "Fast Algorithms for Convolutional Neural Networks"); the products of all tiles, channels and outputs are matrix products.
//! The input gradient is the same over turned kernels, the weight gradient its transpose: `dw = Gᵀ[(A dy Aᵀ) ⊙ (Bᵀ x B)]G`.
//!
//! A number that is not finite makes not only the results that depend on it NaN but all of its tile; sums are rounded about three times as coarsely as direct ones.

mod correlation;
mod gather;
mod gradient;
mod scatter;
mod tiles;
mod transform;
mod weights;

pub(super) use correlation::Correlation;
pub(super) use gradient::WeightGradient;

use super::Geometry;
use tiles::Tiles;

/// The extents that are cut into tiles: those of the output, or of what lies behind each of its phases in the input.
fn tiled(g: &Geometry, turned: bool) -> [usize; 2] {
    match (turned, g.stride) {
        (false, _) => [g.out_height, g.out_width],
        (true, [1, 1]) => [g.height, g.width],
        (true, _) => [0, 1].map(|i| ([g.height, g.width][i] - 1 + g.padding[i]) / 2 + 1),
    }
}

/// What a transform is for.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Pass {
    Forward,
    InputGradient,
    WeightGradient,
}

/// Whether a pass of this geometry is worth transforming: where a fair part of the multiplications goes, which tiles beyond the image use up.
/// Double precision is left to the plain sums: it serves proofs. Channels pay for the transforms of the tiles, tiles for those of the weights.
pub(super) fn wins<T>(g: &Geometry, pass: Pass, lanes: usize) -> bool {
    let whole = (g.in_channels | g.out_channels).is_multiple_of(lanes);
    // Values of a tile, in all phases.
    let values = match (g.kernel, g.stride) {
        ([3, 3], [1, 1]) => 36,
        ([4, 4], [2, 2]) if whole => 4 * 25,
        _ => return false,
    };
    if size_of::<T>() != 4 || (g.dilation, g.groups) != ([1, 1], 1) || lanes < 8 || g.in_channels.min(g.out_channels) < CHANNELS {
        return false;
    }
    if pass != Pass::WeightGradient && values * g.in_channels * g.out_channels > MOST_WEIGHTS {
        return false;
    }
    let tiles = Tiles::new(g.batch, tiled(g, pass == Pass::InputGradient)).count();
    let least = if pass == Pass::WeightGradient { 2 * TILES } else { TILES };
    tiles >= least && 5 * g.batch * g.out_pixels() * g.taps() >= 8 * tiles * values
}

/// The fewest channels and tiles.
const CHANNELS: usize = 16;
const TILES: usize = 4;
/// The most numbers of transformed weights, which a thread keeps: 128 MiB.
const MOST_WEIGHTS: usize = 1 << 25;
