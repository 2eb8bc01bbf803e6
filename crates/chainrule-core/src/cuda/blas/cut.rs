//! How kernels of ours cut a product: tiles of the result, and parts of a long k where tiles are few.

use super::{Finish, own};
use crate::cuda::{Gpu, Grid};
use crate::error::Result;
use crate::memory::Shared;

/// The tile of a block; those of `tile.cuh`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tile {
    Wide,
    Middle,
    Small,
    Flat,
}

impl Tile {
    #[cfg(test)]
    pub(crate) const ALL: [Tile; 4] = [Tile::Wide, Tile::Middle, Tile::Small, Tile::Flat];

    /// Rows and columns of the result, and what a slab takes of k.
    pub(crate) fn sizes(self) -> [usize; 3] {
        match self {
            Tile::Wide => [128, 128, 8],
            Tile::Middle => [64, 64, 16],
            Tile::Small => [32, 32, 32],
            Tile::Flat => [16, 128, 16],
        }
    }

    pub(crate) fn threads(self) -> u32 {
        if self == Tile::Flat { 128 } else { 256 }
    }

    /// The tiles that cover a result.
    pub(crate) fn count(self, m: usize, n: usize) -> usize {
        let [rows, columns, _] = self.sizes();
        m.div_ceil(rows) * n.div_ceil(columns)
    }

    /// The largest tile that leaves enough blocks to fill a GPU, those that a long k is cut into included.
    pub(crate) fn choose([m, n, k]: [usize; 3], batch: usize) -> Tile {
        let fills = |tile: Tile, blocks: usize| {
            // Longer parts than the shortest, so that adding them up costs little.
            let parts = Cut::most(k / 2, tile.sizes()[2]).max(1);
            tile.count(m, n).saturating_mul(batch).saturating_mul(parts) >= blocks
        };
        if m <= 16 && n >= 64 {
            Tile::Flat
        } else if m > 64 && n > 64 && fills(Tile::Wide, 128) {
            Tile::Wide
        } else if m > 32 && n > 32 && fills(Tile::Middle, 96) {
            Tile::Middle
        } else {
            Tile::Small
        }
    }
}

/// The blocks that a cut aims at: one or two for each multiprocessor of a large GPU. The same for every GPU, so that sums are too.
const BLOCKS: usize = 256;

/// The parts of k, each but the last of `part`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cut {
    pub part: usize,
    pub parts: usize,
}

impl Cut {
    /// For a k that `blocks` blocks walk in slabs.
    pub(crate) fn new(blocks: usize, k: usize, slab: usize) -> Cut {
        Cut::into_parts((BLOCKS / blocks.max(1)).min(Cut::most(k, slab)), k, slab)
    }

    /// The most parts: each is at least so long that its sums are worth their way to memory and back.
    fn most(k: usize, slab: usize) -> usize {
        const SLABS: usize = 8;
        (k / (SLABS * slab)).min(128)
    }

    /// Into about so many parts of whole slabs.
    pub(crate) fn into_parts(wanted: usize, k: usize, slab: usize) -> Cut {
        let part = k.div_ceil(wanted.max(1)).max(1).next_multiple_of(slab);
        Cut { part, parts: k.div_ceil(part).max(1) }
    }

    /// Memory for the sums of all parts, `count` results each; none where there is only one part.
    pub(crate) fn workspace(&self, gpu: &'static Gpu, count: usize) -> Result<Option<Parts>> {
        if self.parts == 1 {
            return Ok(None);
        }
        Ok(Some(Parts(gpu.pool().allocate(count.saturating_mul(4 * self.parts))?)))
    }

    /// Adds the parts up and finishes the results, which are `count` and dense; the bias of number i is that of `(i / inner) % channels`.
    pub(crate) fn sum(&self, gpu: &'static Gpu, parts: &Parts, to: u64, count: usize, [inner, channels]: [usize; 2], finish: &Finish) -> Result<()> {
        let numbers = [count, self.parts, inner.max(1), channels.max(1)].map(|number| number as u32);
        let [count, parts_count, inner, channels] = &numbers;
        own::KERNELS.launch(gpu, "sum_parts", Grid::blocks(count.div_ceil(32), 256), &[&parts.address(), &to, count, parts_count, inner, channels, finish])
    }
}

/// Sums of parts, which stand as the results do, one part after the other.
pub(crate) struct Parts(Shared);

impl Parts {
    pub(crate) fn address(&self) -> u64 {
        self.0.start().addr() as u64
    }
}
