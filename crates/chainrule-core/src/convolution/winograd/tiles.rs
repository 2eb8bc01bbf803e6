//! Images as tiles: where they lie, and where their transformed values stand.

use super::transform::Filter;

/// Results of a tile along each side.
pub(super) const SIDE: usize = 4;
/// Tiles side by side that are transformed together, at most: their rows stay in the first-level cache.
pub(super) const RUN: usize = 8;

/// The tiles of a batch of images, in units: some neighbours of a row of tiles. Units that follow each other lie below each other, as long as the image lasts.
#[derive(Clone, Copy)]
pub(super) struct Tiles {
    pub batch: usize,
    /// Height and width of what is cut into tiles.
    pub outputs: [usize; 2],
    /// Rows of tiles, units side by side, tiles of a unit (but for the last).
    down: usize,
    across: usize,
    pub run: usize,
}

/// The neighbouring tiles of a unit.
#[derive(Clone, Copy, PartialEq)]
pub(super) struct Unit {
    pub image: usize,
    /// The first row and column of results.
    pub row: usize,
    pub column: usize,
    pub tiles: usize,
}

impl Tiles {
    pub fn new(batch: usize, outputs: [usize; 2]) -> Tiles {
        let [down, columns] = outputs.map(|size| size.div_ceil(SIDE));
        let across = columns.div_ceil(RUN);
        let run = columns.div_ceil(across.max(1)).max(1);
        Tiles { batch, outputs, down, across: columns.div_ceil(run), run }
    }

    pub fn units(&self) -> usize {
        self.batch * self.down * self.across
    }

    /// All tiles.
    pub fn count(&self) -> usize {
        self.batch * self.down * self.outputs[1].div_ceil(SIDE)
    }

    pub fn unit(&self, unit: usize) -> Unit {
        let (row, unit) = (unit % self.down, unit / self.down);
        let (segment, image) = (unit % self.across, unit / self.across);
        let first = segment * self.run;
        Unit { image, row: row * SIDE, column: first * SIDE, tiles: self.run.min(self.outputs[1].div_ceil(SIDE) - first) }
    }
}

/// The distances of an array `[value][tile][channel]` of transformed tiles.
#[derive(Clone, Copy)]
pub(super) struct Values {
    pub values: usize,
    pub value: usize,
    pub tile: usize,
}

impl Values {
    /// Of `tiles` tiles and `channels` channels. Values lie an odd number of lines apart, or they would share few lines of the first-level cache.
    pub fn new<F: Filter>(tiles: usize, channels: usize) -> Values {
        Values { values: F::SIZE * F::SIZE, value: ((tiles * channels).div_ceil(16) | 1) * 16, tile: channels }
    }

    pub fn count(&self) -> usize {
        self.values * self.value
    }
}
