//! A tile of scores: computed, scaled, masked, turned into weights, forward and backward.

use super::dropout_group;
use super::problem::{Heads, KEYS, Problem, QUERIES};
use crate::dtype::DType;
use crate::float::Float;
use crate::gemm::{Matrix, MatrixMut, Number, gemm_tile};
use crate::random;
use crate::simd::{Kernel, Real, Simd};
use std::ops::Range;

/// The width of the pieces in which a row is computed; a level's register holds all of it or an even part.
const PIECE: usize = 16;

/// Numbers of a tile, a row a key and a column a query.
#[derive(Clone)]
#[repr(align(64))]
pub(super) struct Tile<T>([T; KEYS * QUERIES]);

impl<T: Float> Tile<T> {
    pub fn new() -> Tile<T> {
        Tile([T::zero(); KEYS * QUERIES])
    }
    pub fn read(&self) -> Matrix<T> {
        Matrix { start: self.0.as_ptr(), row: QUERIES as isize, column: 1 }
    }
    pub fn write(&mut self) -> MatrixMut<T> {
        MatrixMut { start: self.0.as_mut_ptr(), row: QUERIES as isize, column: 1 }
    }
    /// Row `key`, in pieces that cover `queries` columns. What stands beyond is without meaning.
    #[inline(always)]
    fn pieces(&mut self, key: usize, queries: usize) -> &mut [[T; PIECE]] {
        let (pieces, _) = self.0[key * QUERIES..][..QUERIES].as_chunks_mut();
        &mut pieces[..queries.div_ceil(PIECE)]
    }
}

/// A number for each query of a block.
pub(super) type Column<T> = [T; QUERIES];

/// The mask of a head.
enum Mask<T> {
    /// 0 hides.
    Boolean(Heads<u8>),
    /// Is added.
    Additive(Heads<T>),
}

/// What is done to the products of queries and keys, which are `query` and `key`.
pub(super) struct Scores<T> {
    query: Heads<T>,
    key: Heads<T>,
    mask: Option<Mask<T>>,
    group: usize,
    sizes: [usize; 2],
    width: usize,
    scale: f64,
    causal: Option<usize>,
    dropout: Option<Dropout>,
}

/// Random words below `threshold` of `stream` drop a weight, the others multiply it by `scale`.
#[derive(Clone, Copy)]
struct Dropout {
    stream: u64,
    threshold: u64,
    scale: f64,
}

/// The scores of these queries and keys of a head.
#[derive(Clone)]
pub(super) struct Part {
    pub head: usize,
    pub queries: Range<usize>,
    pub keys: Range<usize>,
}

impl<T: Number> Scores<T> {
    pub fn new(problem: &Problem) -> Scores<T> {
        let mask = |mask: &crate::array::Array| match mask.dtype() {
            DType::U8 => Mask::Boolean(Heads::of(mask)),
            _ => Mask::Additive(Heads::of(mask)),
        };
        let dropout = problem.dropout.map(|(rate, stream)| {
            let (threshold, scale) = random::threshold_and_scale(rate);
            Dropout { stream, threshold, scale }
        });
        Scores {
            query: Heads::of(&problem.query),
            key: Heads::of(&problem.key),
            mask: problem.mask.as_ref().map(mask),
            group: problem.group,
            sizes: [problem.queries, problem.keys],
            width: problem.width,
            scale: problem.scale,
            causal: problem.causal,
            dropout,
        }
    }

    /// Fills the tile with the products of keys and queries.
    pub fn products(&self, part: &Part, tile: &mut Tile<T>) {
        let keys = self.key.matrix(part.head / self.group).from(part.keys.start, 0);
        let queries = self.query.matrix(part.head).from(part.queries.start, 0).transposed();
        // SAFETY: the part lies inside the arrays, and inside the tile, which is at least as large as a part.
        unsafe { gemm_tile([part.keys.len(), part.queries.len(), self.width], keys, queries, T::zero(), tile.write()) };
    }

    /// The products with one key as scores: scaled and masked.
    #[inline(always)]
    fn finish<S: Simd>(&self, part: &Part, key: usize, row: &mut [[T; PIECE]]) {
        let scale = T::Real::<S>::of(self.scale);
        for piece in row.iter_mut() {
            for x in piece {
                *x = (T::Real::<S>::wrap(*x) * scale).number();
            }
        }
        let row = &mut row.as_flattened_mut()[..part.queries.len()];
        match &self.mask {
            None => {}
            Some(Mask::Boolean(mask)) => {
                let mask = mask.matrix(part.head).from(part.queries.start, key);
                if mask.row == 0 {
                    // SAFETY: the mask has been stretched to all queries and keys.
                    if unsafe { *mask.start } == 0 {
                        row.fill(T::neg_infinity());
                    }
                } else {
                    for (i, x) in row.iter_mut().enumerate() {
                        // SAFETY: as above.
                        let hidden = unsafe { *mask.start.wrapping_offset(i as isize * mask.row) } == 0;
                        *x = if hidden { T::neg_infinity() } else { *x };
                    }
                }
            }
            Some(Mask::Additive(mask)) => {
                let mask = mask.matrix(part.head).from(part.queries.start, key);
                for (i, x) in row.iter_mut().enumerate() {
                    // SAFETY: as above.
                    *x = *x + unsafe { *mask.start.wrapping_offset(i as isize * mask.row) };
                }
            }
        }
        if let Some(past) = self.causal {
            // The first query that sees this key is `key - past`.
            let hidden = key.saturating_sub(past).saturating_sub(part.queries.start).min(row.len());
            row[..hidden].fill(T::neg_infinity());
        }
    }

    /// The factors of one key's weights: 0 or 1 / (1 - rate) under dropout, else 1.
    #[inline(always)]
    fn factors(&self, part: &Part, key: usize) -> Option<Column<T>> {
        let Dropout { stream, threshold, scale } = self.dropout?;
        let words = random::words(stream, 0, dropout_group(part.head, part.queries.start, key, self.sizes));
        Some(words.map(|word| if (word as u64) < threshold { T::zero() } else { T::from_f64(scale) }))
    }
}

/// The softmax of a block of queries so far: `sum` is that of the exponentials of the scores minus `most`.
pub(super) struct Progress<T> {
    pub most: Column<T>,
    pub sum: Column<f64>,
    /// By what earlier results are to be multiplied after a step.
    pub correction: Column<T>,
}

impl<T: Float> Progress<T> {
    pub fn new() -> Progress<T> {
        Progress { most: [T::neg_infinity(); QUERIES], sum: [0.0; QUERIES], correction: [T::one(); QUERIES] }
    }
}

/// One step of the softmax: products become `exp(score - most)`, with dropout if there is any.
pub(super) struct Advance<'a, T> {
    pub scores: &'a Scores<T>,
    pub part: &'a Part,
    pub tile: &'a mut Tile<T>,
    pub progress: &'a mut Progress<T>,
}

impl<T: Number> Kernel for Advance<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self) {
        let Advance { scores, part, tile, progress } = self;
        let real = T::Real::<S>::wrap;
        let (queries, keys) = (part.queries.len(), part.keys.len());
        let before = progress.most;
        let (most, _) = progress.most.as_chunks_mut::<PIECE>();
        for key in 0..keys {
            let row = tile.pieces(key, queries);
            scores.finish::<S>(part, part.keys.start + key, row);
            for (most, row) in most.iter_mut().zip(row) {
                for (m, x) in most.iter_mut().zip(row) {
                    *m = if *x > *m { *x } else { *m };
                }
            }
        }
        // Of a query that has seen no key yet: exp(-infinity - 0) is 0.
        let shift: Column<T> = progress.most.map(|m| if m == T::neg_infinity() { T::zero() } else { m });
        let mut sums = [T::zero(); QUERIES];
        let (shifts, _) = shift.as_chunks::<PIECE>();
        let (pieces, _) = sums.as_chunks_mut::<PIECE>();
        for key in 0..keys {
            for ((row, shift), sum) in tile.pieces(key, queries).iter_mut().zip(shifts).zip(pieces.iter_mut()) {
                for i in 0..PIECE {
                    row[i] = (real(row[i]) - real(shift[i])).exp().number();
                    sum[i] = sum[i] + row[i];
                }
            }
        }
        for i in 0..QUERIES {
            progress.correction[i] = (real(before[i]) - real(shift[i])).exp().number();
            progress.sum[i] = progress.sum[i] * progress.correction[i].to_f64() + sums[i].to_f64();
        }
        for key in 0..keys {
            let Some(factors) = scores.factors(part, part.keys.start + key) else { break };
            for (x, factor) in tile.pieces(key, queries).as_flattened_mut().iter_mut().zip(factors) {
                *x = *x * factor;
            }
        }
    }
}

/// Products become weights `exp(score - ln sum)`, and the gradients of weights become those of products:
/// `slopes <- scale · weights ∘ (slopes - mean)`. Under dropout both sides of the weights are dropped alike.
pub(super) struct Differentiate<'a, T> {
    pub scores: &'a Scores<T>,
    pub part: &'a Part,
    pub weights: &'a mut Tile<T>,
    pub slopes: &'a mut Tile<T>,
    /// The logarithm of the sum of exponentials of each query, and sum dO O.
    pub ln_sum: &'a Column<T>,
    pub mean: &'a Column<T>,
}

impl<T: Number> Kernel for Differentiate<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self) {
        let Differentiate { scores, part, weights, slopes, ln_sum, mean } = self;
        let real = T::Real::<S>::wrap;
        let scale = T::Real::<S>::of(scores.scale);
        let queries = part.queries.len();
        let ((ln_sums, _), (means, _)) = (ln_sum.as_chunks::<PIECE>(), mean.as_chunks::<PIECE>());
        for key in 0..part.keys.len() {
            let (row, slopes) = (weights.pieces(key, queries), slopes.pieces(key, queries));
            scores.finish::<S>(part, part.keys.start + key, row);
            if let Some(factors) = scores.factors(part, part.keys.start + key) {
                let (factors, _) = factors.as_chunks::<PIECE>();
                for ((((row, slopes), ln_sum), mean), factors) in row.iter_mut().zip(slopes).zip(ln_sums).zip(means).zip(factors) {
                    for i in 0..PIECE {
                        let (weight, factor) = ((real(row[i]) - real(ln_sum[i])).exp(), real(factors[i]));
                        row[i] = (weight * factor).number();
                        slopes[i] = (weight * (real(slopes[i]) * factor - real(mean[i])) * scale).number();
                    }
                }
            } else {
                for (((row, slopes), ln_sum), mean) in row.iter_mut().zip(slopes).zip(ln_sums).zip(means) {
                    for i in 0..PIECE {
                        let weight = (real(row[i]) - real(ln_sum[i])).exp();
                        row[i] = weight.number();
                        slopes[i] = (weight * (real(slopes[i]) - real(mean[i])) * scale).number();
                    }
                }
            }
        }
    }
}
