//! A tile of scores: masked, turned into weights, forward and backward.
//!
//! Scores are in units of ln 2, so that weights are powers of two.

use super::dropout_group;
use super::mask::Masks;
use super::problem::{Problem, QUERIES};
use crate::float::Float;
use crate::gemm::MatrixMut;
use crate::random;
use crate::simd::{Kernel, Real, Simd};
use std::ops::Range;

/// The width of the pieces in which a row is computed; a level's register holds all of it or an even part.
pub(super) const PIECE: usize = 16;
const PIECES: usize = QUERIES / PIECE;

/// A number for each query of a block.
pub(super) type Column<T> = [T; QUERIES];

/// What is done to the products of queries and keys.
pub(super) struct Scores<T> {
    masks: Masks<T>,
    sizes: [usize; 2],
    dropout: Option<Dropout>,
}

/// Random words up to `last` of `stream` drop a weight, the others multiply it by `scale`.
#[derive(Clone, Copy)]
struct Dropout {
    stream: u64,
    last: u32,
    scale: f64,
}

/// The scores of these queries and keys of a head.
#[derive(Clone)]
pub(super) struct Part {
    pub head: usize,
    pub queries: Range<usize>,
    pub keys: Range<usize>,
}

/// Numbers of a tile in scratch memory, a row a key and a column a query, [`QUERIES`] apart. Beyond the part's queries they are without meaning.
///
/// Whoever makes one vouches that it holds the rows of the part, and that nothing else uses them.
pub(super) struct Tile<T>(pub MatrixMut<T>);

impl<T: Float> Tile<T> {
    #[inline(always)]
    pub fn row(&mut self, key: usize) -> &mut [[T; PIECE]; PIECES] {
        debug_assert!(self.0.row == QUERIES as isize);
        // SAFETY: the maker's promise.
        unsafe { &mut *self.0.start.add(key * QUERIES).cast() }
    }
    #[inline(always)]
    pub fn piece(&mut self, key: usize, piece: usize) -> &mut [T; PIECE] {
        &mut self.row(key)[piece]
    }
}

impl<T: Float> Scores<T> {
    pub fn new(problem: &Problem) -> Scores<T> {
        let dropout = problem.dropout.and_then(|(rate, stream)| {
            let (threshold, scale) = random::threshold_and_scale(rate);
            Some(Dropout { stream, last: threshold.checked_sub(1)? as u32, scale })
        });
        Scores { masks: Masks::new(problem), sizes: [problem.queries, problem.keys], dropout }
    }

    /// The factors of one key's weights under dropout: 0 or 1 / (1 - rate).
    #[inline(always)]
    fn factors(&self, Dropout { stream, last, scale }: Dropout, part: &Part, key: usize) -> Column<T> {
        let words = random::words(stream, 0, dropout_group(part.head, part.queries.start, key, self.sizes));
        words.map(|word| if word <= last { T::zero() } else { T::from_f64(scale) })
    }
}

/// The softmax of a block of queries so far: `sum` is that of the powers of the scores minus `most`.
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

/// One step of the softmax: scores become `2^(score - most)`, with dropout if there is any.
pub(super) struct Advance<'a, T> {
    pub scores: &'a Scores<T>,
    pub part: &'a Part,
    pub tile: Tile<T>,
    pub progress: &'a mut Progress<T>,
}

impl<T: Float> Kernel for Advance<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self) {
        let Advance { scores, part, mut tile, progress } = self;
        let real = T::Real::<S>::wrap;
        let (queries, keys) = (part.queries.len(), part.keys.len());
        scores.masks.apply::<S>(part, &mut tile);
        let (most_pieces, _) = progress.most.as_chunks_mut::<PIECE>();
        let (sum_pieces, _) = progress.sum.as_chunks_mut::<PIECE>();
        let (corrections, _) = progress.correction.as_chunks_mut::<PIECE>();
        for piece in 0..queries.div_ceil(PIECE) {
            let before = most_pieces[piece];
            // A few maxima side by side, which need not wait for each other.
            let mut side = [before; 4];
            for key in (0..keys).step_by(4) {
                for (j, most) in side.iter_mut().enumerate() {
                    for (m, x) in most.iter_mut().zip(tile.piece((key + j).min(keys - 1), piece)) {
                        *m = if *x > *m { *x } else { *m };
                    }
                }
            }
            let [mut most, others @ ..] = side;
            for other in others {
                for (m, x) in most.iter_mut().zip(other) {
                    *m = if x > *m { x } else { *m };
                }
            }
            // Of a query that has seen no key yet: 2^(-infinity - 0) is 0.
            let shift = most.map(|m| if m == T::neg_infinity() { T::zero() } else { m });
            let mut sums = [T::zero(); PIECE];
            for key in 0..keys {
                let row = tile.piece(key, piece);
                for i in 0..PIECE {
                    row[i] = (real(row[i]) - real(shift[i])).exp2_falling().number();
                    sums[i] = sums[i] + row[i];
                }
            }
            for i in 0..PIECE {
                let correction = (real(before[i]) - real(shift[i])).exp2_falling().number();
                corrections[piece][i] = correction;
                sum_pieces[piece][i] = sum_pieces[piece][i] * correction.to_f64() + sums[i].to_f64();
            }
            most_pieces[piece] = most;
        }
        if let Some(dropout) = scores.dropout {
            for key in 0..keys {
                let factors = scores.factors(dropout, part, part.keys.start + key);
                for (x, factor) in tile.row(key).as_flattened_mut().iter_mut().zip(factors) {
                    *x = *x * factor;
                }
            }
        }
    }
}

/// Scores become weights `2^(score - log2_sum)`, and the gradients of weights become those of scores: `slopes <- weights ∘ (slopes - mean)`.
/// Under dropout both sides of the weights are dropped alike.
pub(super) struct Differentiate<'a, T> {
    pub scores: &'a Scores<T>,
    pub part: &'a Part,
    pub weights: Tile<T>,
    pub slopes: Tile<T>,
    /// The logarithm of the sum of each query's powers, and sum dO O.
    pub log2_sum: &'a Column<T>,
    pub mean: &'a Column<T>,
}

impl<T: Float> Kernel for Differentiate<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self) {
        let Differentiate { scores, part, mut weights, mut slopes, log2_sum, mean } = self;
        let real = T::Real::<S>::wrap;
        let pieces = part.queries.len().div_ceil(PIECE);
        scores.masks.apply::<S>(part, &mut weights);
        let ((log2_sums, _), (means, _)) = (log2_sum.as_chunks::<PIECE>(), mean.as_chunks::<PIECE>());
        for key in 0..part.keys.len() {
            let rows = weights.row(key).iter_mut().zip(slopes.row(key)).zip(log2_sums).zip(means).take(pieces);
            if let Some(dropout) = scores.dropout {
                let factors = scores.factors(dropout, part, part.keys.start + key);
                let (factors, _) = factors.as_chunks::<PIECE>();
                for ((((row, slopes), log2_sum), mean), factors) in rows.zip(factors) {
                    for i in 0..PIECE {
                        let (weight, factor) = ((real(row[i]) - real(log2_sum[i])).exp2_falling(), real(factors[i]));
                        row[i] = (weight * factor).number();
                        slopes[i] = (weight * (real(slopes[i]) * factor - real(mean[i]))).number();
                    }
                }
            } else {
                for (((row, slopes), log2_sum), mean) in rows {
                    for i in 0..PIECE {
                        let weight = (real(row[i]) - real(log2_sum[i])).exp2_falling();
                        row[i] = weight.number();
                        slopes[i] = (weight * (real(slopes[i]) - real(mean[i]))).number();
                    }
                }
            }
        }
    }
}
