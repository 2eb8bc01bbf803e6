//! Forward: a block of queries walks along the tiles of keys.

use super::Options;
use super::problem::{Heads, Joined, KEYS, Problem, QUERIES};
use super::tile::{Advance, Column, Part, Progress, Scores, Tile};
use crate::array::Array;
use crate::error::Result;
use crate::float::with_float;
use crate::gemm::{Number, gemm_tile};
use crate::parallel::Target;
use crate::simd::{Kernel, Real, Simd};

/// What [`attention`] gives.
pub struct Attended {
    /// `[.., H, L, V]`, a view of memory in the order `[.., L, H, V]`.
    pub output: Array,
    /// The logarithm of the sum of the exponentials of each query's scores, `[.., H, L]`, which the backward pass needs; +infinity for a query that sees no key.
    pub ln_sum: Array,
}

/// `softmax(scale · Q Kᵀ + mask) V`: `[.., H, L, E], [.., H, S, E], [.., H, S, V] -> [.., H, L, V]` (PyTorch's `scaled_dot_product_attention`).
///
/// The heads of queries may be a multiple of the heads of keys and values, each of which then serves as many in a row (grouped-query attention).
/// A mask broadcasts to `[.., H, L, S]`: of u8, 0 hides a key from a query; of the queries' type, it is added to the scores.
///
/// # Errors
/// Shapes that do not fit; different element types, or other ones than f32 and f64; a dropout rate outside 0 to 1.
pub fn attention(query: &Array, key: &Array, value: &Array, mask: Option<&Array>, options: &Options) -> Result<Attended> {
    const OP: &str = "scaled_dot_product_attention";
    let problem = Problem::new(OP, query, key, value, mask, options)?;
    with_float!(OP, query.dtype(), T => forward::<T>(&problem, query.rank()))
}

fn forward<T: Number>(problem: &Problem, rank: usize) -> Result<Attended> {
    let heads = problem.query.dims()[problem.query.rank() - 3];
    let output = Joined::<T>::new(&problem.batch, [heads, problem.queries, problem.value_width])?;
    let mut ln_sum = Array::stale(problem.rows(), T::DTYPE)?;
    let target = Target::new(ln_sum.slice_mut::<T>());
    let (scores, value) = (Scores::new(problem), Heads::of(&problem.value));
    let blocks = problem.queries.div_ceil(QUERIES);
    problem.spread(problem.heads * blocks, problem.queries.min(QUERIES), 2, |task| {
        let (head, first) = (task / blocks, task % blocks * QUERIES);
        let end = (first + QUERIES).min(problem.queries);
        let progress = walk(problem, &scores, &value, &output, head, first..end);
        let at = head * problem.queries;
        // SAFETY: blocks of queries do not overlap.
        let ln_sum = unsafe { target.slice(at + first, at + end) };
        for (i, ln_sum) in ln_sum.iter_mut().enumerate() {
            let sum = progress.sum[i];
            *ln_sum = if sum == 0.0 { T::infinity() } else { progress.most[i] + T::from_f64(sum.ln()) };
        }
    });
    let ln_sum = if rank == 2 { ln_sum.squeeze(0)? } else { ln_sum };
    Ok(Attended { output: output.finish(rank)?, ln_sum })
}

/// The output of a block of queries.
fn walk<T: Number>(problem: &Problem, scores: &Scores<T>, value: &Heads<T>, output: &Joined<T>, head: usize, queries: std::ops::Range<usize>) -> Progress<T> {
    let (mut tile, mut progress) = (Tile::new(), Progress::new());
    let visible = problem.visible(queries.end);
    let value = value.matrix(head / problem.group);
    for first in (0..visible).step_by(KEYS) {
        let part = Part { head, queries: queries.clone(), keys: first..(first + KEYS).min(visible) };
        scores.products(&part, &mut tile);
        T::run(Advance { scores, part: &part, tile: &mut tile, progress: &mut progress });
        if first > 0 {
            T::run(Rescale { output, part: &part, factors: &progress.correction });
        }
        let beta = if first > 0 { T::one() } else { T::zero() };
        let sizes = [queries.len(), problem.value_width, part.keys.len()];
        // SAFETY: the part lies inside the values and the tile; no other task writes the rows of these queries.
        unsafe { gemm_tile(sizes, tile.read().transposed(), value.from(first, 0), beta, output.matrix(head).from(queries.start, 0)) };
    }
    let factors = progress.sum.map(|sum| T::from_f64(if sum == 0.0 { 0.0 } else { 1.0 / sum }));
    let part = Part { head, queries, keys: 0..visible };
    T::run(Rescale { output, part: &part, factors: &factors });
    progress
}

/// Multiplies the rows of a part's queries; by 0 means that nothing was written yet, or nothing that counts.
struct Rescale<'a, T> {
    output: &'a Joined<T>,
    part: &'a Part,
    factors: &'a Column<T>,
}

impl<T: Number> Kernel for Rescale<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self) {
        for (query, &factor) in self.part.queries.clone().zip(self.factors) {
            // SAFETY: the row lies in the output, and only this task touches it.
            let row = unsafe { self.output.row(self.part.head, query) };
            if factor == T::zero() {
                row.fill(T::zero());
            } else if factor != T::one() {
                let factor = T::Real::<S>::wrap(factor);
                row.iter_mut().for_each(|x| *x = (T::Real::<S>::wrap(*x) * factor).number());
            }
        }
    }
}
