//! The plan of a correlation: the arrangement of its vectors, its blocks, and the tables that its kernels follow.

use super::axis::Axis;
use super::layout::{Arrangement, Layout, Places, Window};
use std::cell::RefCell;
use std::ops::Range;

/// One step of a sum of products: offsets into a block of channels of the buffer and of the weights.
#[derive(Clone, Copy, Debug)]
pub(super) struct Step {
    pub x: u32,
    pub w: u32,
}

/// One vector of results: where its first step reads the buffer, where it is stored, and how many of its lanes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Position {
    pub x: u32,
    pub out: u32,
    pub count: u32,
}

/// Vectors that take the same steps.
#[derive(Clone, Copy, Debug)]
pub(super) struct Section {
    pub pass: usize,
    /// Where its steps begin, and how many a channel has.
    pub steps: usize,
    pub taps: usize,
    pub positions: usize,
    pub count: usize,
}

/// Outputs every `step`-th row and column, from `first` on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pass {
    pub first: [usize; 2],
    pub step: [usize; 2],
    pub rows: usize,
    pub columns: usize,
    pub places: Places,
}

/// The sizes of a correlation: `out[n][g][m] = Σ_c Σ_taps w[g][m][c][tap] · source[n][g][c]`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sizes {
    pub batch: usize,
    pub groups: usize,
    /// Channels of the source and of the output in one group.
    pub channels: usize,
    pub outputs: usize,
    /// Distances in the weights between outputs and between channels.
    pub output_weights: usize,
    pub channel_weights: usize,
}

#[derive(Default)]
pub(super) struct Tables {
    pub steps: Vec<Step>,
    pub positions: Vec<Position>,
    pub sections: Vec<Section>,
    pub passes: Vec<Pass>,
    /// The split planes that some step reads.
    pub phases: Vec<[usize; 2]>,
}

pub(super) struct Plan {
    pub sizes: Sizes,
    pub axes: [Axis; 2],
    pub layout: Layout,
    /// Images of a block, rows (of the first pass) of a band, channels of a block.
    pub images: usize,
    pub band: usize,
    pub channels: usize,
    /// Vectors of a pass in a block, at most.
    pub vectors: usize,
    /// Results go straight to the output.
    pub direct: bool,
    skipping: bool,
    pub tables: Tables,
}

thread_local! {
    static TABLES: RefCell<Tables> = RefCell::default();
}

/// Elements of the padded copy of a block of channels: well inside the second-level cache.
const BUFFER: usize = 80 * 1024;
/// Steps between loading and storing accumulators.
const STEPS: usize = 576;
/// Taps up to which tables of the taps inside are worth their size.
const SKIPPING: usize = 64;

impl Plan {
    /// For a `correlation`, unlike dot products, idle lanes may read anything, and where lanes are images pixels leave out the taps that would read padding.
    pub fn new(sizes: Sizes, axes: [Axis; 2], lanes: usize, correlation: bool) -> Plan {
        let skipping = correlation && axes[0].kernel * axes[1].kernel <= SKIPPING;
        let taps = axes[0].kernel * axes[1].kernel;
        let choice = Self::choose(sizes, axes, lanes, skipping);
        let images = match choice {
            Arrangement::Rows => 1,
            Arrangement::Flat => Self::side_by_side(sizes, axes, lanes),
            Arrangement::Images => lanes,
        };
        // Short bands cost halo rows, few channels at a time cost passes over the results.
        let (wanted, least) = (sizes.channels.min((STEPS / taps).max(1)), sizes.channels.min(16));
        let too_long = |band: usize, plane: usize| (band > 8 && plane * wanted > BUFFER) || (band > 1 && plane * least > BUFFER);
        let mut band = axes[0].count(0);
        let mut layout = Self::layout(choice, axes, images, band, lanes);
        while choice == Arrangement::Rows && too_long(band, layout.plane) {
            band = band.div_ceil(2);
            layout = Self::layout(choice, axes, images, band, lanes);
        }
        let channels = (STEPS / taps).min(BUFFER / layout.plane).clamp(1, sizes.channels.max(1));
        let channels = sizes.channels.div_ceil(sizes.channels.div_ceil(channels).max(1)).max(1);
        let tables = TABLES.take();
        let direct = choice == Arrangement::Rows && axes.iter().all(|axis| axis.passes() == 1);
        let mut plan = Plan { sizes, axes, layout, images, band, channels, vectors: 0, direct, skipping: skipping && choice == Arrangement::Images, tables };
        plan.fill_tables(lanes);
        plan
    }

    /// The arrangement of least work: vectors an output pixel, and the cost of bringing images into it and results out of it.
    fn choose(sizes: Sizes, axes: [Axis; 2], lanes: usize, skipping: bool) -> Arrangement {
        let [rows, columns] = axes.map(|axis| axis.count(0));
        let taps = (axes[0].kernel * axes[1].kernel) as f64 / (axes[0].passes() * axes[1].passes()) as f64;
        let copies = |inward: f64, outward: f64| 1.0 + inward / (sizes.outputs as f64 * taps) + outward / (sizes.channels as f64 * taps);
        let pixels = (rows * columns) as f64;
        let strided = axes.iter().any(|axis| axis.stride > 1);
        let in_rows = (rows * columns.div_ceil(lanes) * lanes) as f64 / pixels * copies(if strided { 16.0 } else { 4.0 }, if strided { 16.0 } else { 0.0 });
        let images = Self::side_by_side(sizes, axes, lanes);
        let flat = Self::layout(Arrangement::Flat, axes, images, rows, lanes);
        let vectors = ((images - 1) * flat.image + (rows - 1) * flat.pitch + columns).div_ceil(lanes) * sizes.batch.div_ceil(images);
        let flat = (vectors * lanes) as f64 / (pixels * sizes.batch as f64) * copies(if strided { 16.0 } else { 4.0 }, if strided { 16.0 } else { 8.0 });
        let inside = if skipping { axes[0].share_inside() * axes[1].share_inside() } else { 1.0 };
        let over_images = (sizes.batch.div_ceil(lanes) * lanes) as f64 / sizes.batch as f64 * (inside + copies(12.0, 12.0) - 1.0);
        let fits = Self::layout(Arrangement::Images, axes, lanes, rows, lanes).plane * sizes.channels.min(16) <= 2 * BUFFER;
        let over_images = if fits { over_images } else { f64::INFINITY };
        if in_rows <= flat && in_rows <= over_images {
            Arrangement::Rows
        } else if flat <= over_images {
            Arrangement::Flat
        } else {
            Arrangement::Images
        }
    }

    /// How many images side by side keep the last vector's idle lanes few.
    fn side_by_side(sizes: Sizes, axes: [Axis; 2], lanes: usize) -> usize {
        let pixels = axes[0].count(0) * axes[1].count(0);
        (32 * lanes).div_ceil(pixels).clamp(1, sizes.batch)
    }

    fn layout(arrangement: Arrangement, axes: [Axis; 2], images: usize, band: usize, lanes: usize) -> Layout {
        let over_images = arrangement == Arrangement::Images;
        let split = axes.map(|axis| if over_images { 1 } else { axis.step() });
        let outputs = [band, axes[1].count(0)];
        // All places that outputs read, and the pitch when the zeros after a row serve as the zeros before the next.
        let full = [0, 1].map(|i| (outputs[i] - 1) * (axes[i].step() / split[i]) + (axes[i].span - 1) / split[i] + 1);
        let shared = [0, 1].map(|i| {
            let before = axes[i].lead.max(0) as usize;
            let data = (axes[i].lead + axes[i].source as isize).max(0) as usize;
            if arrangement == Arrangement::Flat && split[i] == 1 { full[i].min(data.max(full[i].saturating_sub(before))).max(outputs[i]) } else { full[i] }
        });
        let mut layout = Layout {
            arrangement,
            source: axes.map(|axis| axis.source),
            lead: axes.map(|axis| axis.lead),
            split,
            rows: shared[0],
            pitch: shared[1],
            image: shared[0] * shared[1],
            phase: 0,
            plane: 0,
        };
        // An odd number of cache lines spreads the channels over the cache's sets.
        let odd = |elements: usize| (elements.div_ceil(16) | 1) * 16;
        if over_images {
            layout.plane = odd(full[0] * full[1] * lanes);
        } else {
            layout.phase = images * layout.image + (full[0] - shared[0]) * shared[1] + full[1] - shared[1] + lanes;
            layout.plane = odd(split[0] * split[1] * layout.phase);
        }
        layout
    }

    fn fill_tables(&mut self, lanes: usize) {
        let Plan { layout, axes: [rows, columns], .. } = *self;
        let tables = &mut self.tables;
        tables.steps.clear();
        tables.positions.clear();
        tables.sections.clear();
        tables.passes.clear();
        tables.phases.clear();
        for a in 0..layout.split[0] {
            let used = |axis: Axis, split: usize, phase: usize| (0..axis.passes()).any(|pass| axis.taps(pass).any(|(_, at)| at % split == phase));
            if used(rows, layout.split[0], a) {
                tables.phases.extend((0..layout.split[1]).filter(|&b| used(columns, layout.split[1], b)).map(|b| [a, b]));
            }
        }
        for (a, b) in (0..rows.passes()).flat_map(|a| (0..columns.passes()).map(move |b| (a, b))) {
            let (pass_rows, pass_columns) = (rows.count(a), columns.count(b));
            let places = match layout.arrangement {
                Arrangement::Rows if self.direct => Places { image: 0, row: pass_columns, column: 1 },
                Arrangement::Rows => Places { image: 0, row: pass_columns.next_multiple_of(lanes), column: 1 },
                Arrangement::Flat => Places { image: layout.image, row: layout.pitch, column: 1 },
                Arrangement::Images => Places { image: 1, row: pass_columns * lanes, column: lanes },
            };
            self.tables.passes.push(Pass { first: [a, b], step: [rows.passes(), columns.passes()], rows: pass_rows, columns: pass_columns, places });
            if !self.skipping {
                self.add_section([a, b], 0..pass_rows.min(self.band), 0..pass_columns, lanes);
                continue;
            }
            let mut top = 0;
            while top < pass_rows {
                let bottom = rows.run(a, top);
                let mut left = 0;
                while left < pass_columns {
                    let right = columns.run(b, left);
                    self.add_section([a, b], top..bottom, left..right, lanes);
                    left = right;
                }
                top = bottom;
            }
        }
        let tables = &self.tables;
        self.vectors = (0..tables.passes.len())
            .map(|pass| tables.sections.iter().filter(|section| section.pass == pass).map(|section| section.count).sum())
            .max()
            .unwrap_or(0);
    }

    /// Adds the steps and positions of some outputs of the last pass, which have the same taps.
    fn add_section(&mut self, [a, b]: [usize; 2], pass_rows: Range<usize>, pass_columns: Range<usize>, lanes: usize) {
        let Plan { layout, sizes, axes: [rows, columns], skipping, .. } = *self;
        let over_images = layout.arrangement == Arrangement::Images;
        let unit = if over_images { lanes } else { 1 };
        let Tables { steps, positions, sections, passes, .. } = &mut self.tables;
        let (first_step, first_position) = (steps.len(), positions.len());
        let row_taps = || rows.taps(a).filter(|&(_, at)| !skipping || rows.is_inside(at, pass_rows.start));
        let column_taps = || columns.taps(b).filter(|&(_, at)| !skipping || columns.is_inside(at, pass_columns.start));
        for (kernel_row, at_row) in row_taps() {
            for (kernel_column, at_column) in column_taps() {
                let phase = at_row % layout.split[0] * layout.split[1] + at_column % layout.split[1];
                let place = at_row / layout.split[0] * layout.pitch + at_column / layout.split[1];
                steps.push(Step { x: (phase * layout.phase + place * unit) as u32, w: (kernel_row * columns.kernel + kernel_column) as u32 });
            }
        }
        let taps = steps.len() - first_step;
        for channel in 1..self.channels {
            for tap in 0..taps {
                let Step { x, w } = steps[first_step + tap];
                steps.push(Step { x: x + (channel * layout.plane) as u32, w: w + (channel * sizes.channel_weights) as u32 });
            }
        }
        let pass = passes.len() - 1;
        let places = passes[pass].places;
        match layout.arrangement {
            Arrangement::Rows => {
                for (row, column) in pass_rows.flat_map(|row| pass_columns.clone().step_by(lanes).map(move |column| (row, column))) {
                    let (x, out) = (row * layout.pitch + column, row * places.row + column);
                    positions.push(Position { x: x as u32, out: out as u32, count: lanes.min(pass_columns.end - column) as u32 });
                }
            }
            Arrangement::Flat => {
                for at in (0..self.images * layout.image).step_by(lanes) {
                    positions.push(Position { x: at as u32, out: at as u32, count: lanes as u32 });
                }
            }
            Arrangement::Images => {
                for (row, column) in pass_rows.flat_map(|row| pass_columns.clone().map(move |column| (row, column))) {
                    let (x, out) = ((row * rows.step() * layout.pitch + column * columns.step()) * lanes, row * places.row + column * lanes);
                    positions.push(Position { x: x as u32, out: out as u32, count: lanes as u32 });
                }
            }
        }
        sections.push(Section { pass, steps: first_step, taps, positions: first_position, count: positions.len() - first_position });
    }

    /// Blocks of images times bands of rows: independent pieces of work, numbered band after band.
    pub fn blocks(&self) -> usize {
        self.sizes.batch.div_ceil(self.images) * self.bands()
    }

    pub fn bands(&self) -> usize {
        self.axes[0].count(0).div_ceil(self.band)
    }

    /// The first image, the number of images, and the first row (of a pass) of a block.
    pub fn block(&self, block: usize) -> (usize, usize, usize) {
        let image = block / self.bands() * self.images;
        (image, self.images.min(self.sizes.batch - image), block % self.bands() * self.band)
    }

    /// Rows of a pass in a block.
    pub fn rows(&self, pass: &Pass, first_row: usize) -> usize {
        self.band.min(pass.rows.saturating_sub(first_row))
    }

    /// The vectors of a section in a block.
    pub fn positions(&self, section: &Section, images: usize, first_row: usize) -> &[Position] {
        let pass = &self.tables.passes[section.pass];
        let rows = self.rows(pass, first_row);
        let positions = &self.tables.positions[section.positions..][..section.count];
        let count = match self.layout.arrangement {
            Arrangement::Rows => section.count / self.band.min(pass.rows) * rows,
            Arrangement::Flat => ((images - 1) * self.layout.image + (rows - 1) * self.layout.pitch + pass.columns).div_ceil(positions[0].count as usize),
            Arrangement::Images => section.count,
        };
        &positions[..count]
    }

    /// Where in the output the results of a pass from `first_row` on go.
    pub fn window(&self, pass: &Pass, first_row: usize, rows: usize) -> Window {
        Window {
            first: [pass.first[0] + first_row * pass.step[0], pass.first[1]],
            step: pass.step,
            rows,
            columns: pass.columns,
            width: self.axes[1].outputs,
            image: self.sizes.groups * self.sizes.outputs * self.pixels(),
        }
    }

    /// Pixels of an output channel.
    pub fn pixels(&self) -> usize {
        self.axes[0].outputs * self.axes[1].outputs
    }

    /// Weights of one group.
    pub fn group_weights(&self) -> usize {
        self.sizes.outputs * self.sizes.channels * self.axes[0].kernel * self.axes[1].kernel
    }

    /// Rows of the buffer (after splitting) between neighbouring rows of a pass.
    pub fn row_step(&self) -> usize {
        self.axes[0].step() / self.layout.split[0]
    }
}

impl Drop for Plan {
    fn drop(&mut self) {
        TABLES.set(std::mem::take(&mut self.tables));
    }
}
