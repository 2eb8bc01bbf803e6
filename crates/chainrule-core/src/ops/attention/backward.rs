//! Backward: the keys of a head, in a few chunks, meet all blocks of queries.

use super::Options;
use super::problem::{Heads, Joined, KEYS, Problem, QUERIES};
use super::tile::{Column, Differentiate, Part, Scores, Tile};
use crate::array::Array;
use crate::error::Result;
use crate::float::with_float;
use crate::gemm::{Matrix, Number, gemm_tile};
use crate::ops::elementwise::{Binary, binary};
use crate::ops::{expect_shape, row, same_dtype};
use crate::simd::{Kernel, Simd};
use std::ops::Range;

/// As many tasks as there should be at least. Where there are fewer heads their keys are divided, and each chunk has a sum of its own for the gradient of the queries.
const TASKS: usize = 16;

/// The gradients of query, key and value, those that are `needed`, from that of [`super::attention`]'s output, the output and `ln_sum`; the rest of the arguments as there.
/// Each lies in memory as the output does. Additive masks get no gradient here.
///
/// # Errors
/// As for [`super::attention`]; a gradient, output or `ln_sum` of another shape or type than there.
#[allow(clippy::too_many_arguments)] // what the forward pass had and what it gave
pub fn attention_backward(
    grad: &Array,
    query: &Array,
    key: &Array,
    value: &Array,
    mask: Option<&Array>,
    output: &Array,
    ln_sum: &Array,
    options: &Options,
    needed: [bool; 3],
) -> Result<[Option<Array>; 3]> {
    const OP: &str = "scaled_dot_product_attention_backward";
    let problem = Problem::new(OP, query, key, value, mask, options)?;
    let rank = query.rank();
    let rows = if rank == 2 { problem.rows().without(0) } else { problem.rows() };
    let shape = rows.pushed(problem.value_width);
    for (what, array, dims) in [("the gradient", grad, &shape), ("the output", output, &shape), ("ln_sum", ln_sum, &rows)] {
        same_dtype(OP, array, query)?;
        expect_shape(OP, what, array, dims)?;
    }
    with_float!(OP, query.dtype(), T => {
        let backward = Backward::<T>::new(&problem, grad, output, ln_sum)?;
        let gradients = backward.run(needed)?;
        let mut finished = [None, None, None];
        for (to, from) in finished.iter_mut().zip(gradients) {
            *to = from.map(|array| if rank == 2 { array.squeeze(0) } else { Ok(array) }).transpose()?;
        }
        Ok(finished)
    })
}

struct Backward<'a, T> {
    problem: &'a Problem,
    scores: Scores<T>,
    query: Heads<T>,
    key: Heads<T>,
    value: Heads<T>,
    grad: Heads<T>,
    output: Heads<T>,
    ln_sum: Array,
    /// Held for the addresses above.
    _dense: [Array; 2],
}

/// Where a task writes: gradients of queries (one for each chunk of keys), keys and values.
struct Gradients<T> {
    query: Option<Vec<Joined<T>>>,
    key: Option<Joined<T>>,
    value: Option<Joined<T>>,
}

impl<'a, T: Number> Backward<'a, T> {
    fn new(problem: &'a Problem, grad: &Array, output: &Array, ln_sum: &Array) -> Result<Backward<'a, T>> {
        let dense = [super::problem::rows(grad)?, super::problem::rows(output)?];
        Ok(Backward {
            problem,
            scores: Scores::new(problem),
            query: Heads::of(&problem.query),
            key: Heads::of(&problem.key),
            value: Heads::of(&problem.value),
            grad: Heads::of(&dense[0]),
            output: Heads::of(&dense[1]),
            ln_sum: ln_sum.contiguous()?,
            _dense: dense,
        })
    }

    fn run(&self, needed: [bool; 3]) -> Result<[Option<Array>; 3]> {
        let problem = self.problem;
        let last = problem.query.rank() - 3;
        let (heads, shared) = (problem.query.dims()[last], problem.key.dims()[last]);
        let stacks = problem.batch.count() * shared;
        let tiles = problem.keys.div_ceil(KEYS);
        let chunks = if stacks == 0 { 1 } else { TASKS.div_ceil(stacks).min(tiles).max(1) };
        let joined = |needed: bool, heads: usize, rows: usize, columns: usize| {
            if needed { Joined::<T>::new(&problem.batch, [heads, rows, columns]).map(Some) } else { Ok(None) }
        };
        let by_query = || (0..chunks).map(|_| Joined::new(&problem.batch, [heads, problem.queries, problem.width])).collect::<Result<Vec<_>>>();
        let gradients = Gradients {
            query: if needed[0] { Some(by_query()?) } else { None },
            key: joined(needed[1], shared, problem.keys, problem.width)?,
            value: joined(needed[2], shared, problem.keys, problem.value_width)?,
        };
        problem.spread(stacks * chunks, problem.group * problem.queries, 5, |task| {
            let (stack, chunk) = (task / chunks, task % chunks);
            let cut = |i: usize| (tiles * i / chunks * KEYS).min(problem.keys);
            self.chunk(&gradients, stack, chunk, cut(chunk)..cut(chunk + 1));
        });
        let whole = |joined: Joined<T>| joined.finish(3);
        let mut by_query = None;
        for part in gradients.query.into_iter().flatten() {
            let part = whole(part)?;
            by_query = Some(match by_query {
                None => part,
                Some(sum) => binary(Binary::Add, &sum, &part)?,
            });
        }
        Ok([by_query, gradients.key.map(whole).transpose()?, gradients.value.map(whole).transpose()?])
    }

    /// The keys of one chunk of a stack, against all queries of the heads that share it.
    fn chunk(&self, gradients: &Gradients<T>, stack: usize, chunk: usize, keys: Range<usize>) {
        let problem = self.problem;
        for joined in [&gradients.key, &gradients.value].into_iter().flatten() {
            // SAFETY: the rows lie in the gradient, and only this task touches them.
            unsafe { joined.clear(stack, keys.clone()) };
        }
        let (mut weights, mut slopes) = (Tile::new(), Tile::new());
        for head in stack * problem.group..(stack + 1) * problem.group {
            for first in (0..problem.queries).step_by(QUERIES) {
                let queries = first..(first + QUERIES).min(problem.queries);
                let by_query = gradients.query.as_ref().map(|chunks| &chunks[chunk]);
                let visible = problem.visible(queries.end).min(keys.end);
                if visible <= keys.start {
                    if let Some(joined) = by_query {
                        // SAFETY: as above.
                        unsafe { joined.clear(head, queries) };
                    }
                    continue;
                }
                let (ln_sum, mean) = self.columns(head, queries.clone());
                for start in (keys.start..visible).step_by(KEYS) {
                    let part = Part { head, queries: queries.clone(), keys: start..(start + KEYS).min(visible) };
                    self.scores.products(&part, &mut weights);
                    self.slopes(&part, &mut slopes);
                    T::run(Differentiate { scores: &self.scores, part: &part, weights: &mut weights, slopes: &mut slopes, ln_sum: &ln_sum, mean: &mean });
                    self.accumulate(gradients, by_query, stack, &part, &weights, &slopes, start == keys.start);
                }
            }
        }
    }

    /// `ln_sum` and `sum dO O` of each query of a block.
    fn columns(&self, head: usize, queries: Range<usize>) -> (Column<T>, Column<T>) {
        let (mut ln_sum, mut mean) = ([T::zero(); QUERIES], [T::zero(); QUERIES]);
        let start = head * self.problem.queries + queries.start;
        ln_sum[..queries.len()].copy_from_slice(&self.ln_sum.slice::<T>()[start..][..queries.len()]);
        let matrices = [self.grad.matrix(head), self.output.matrix(head)].map(|matrix| matrix.from(queries.start, 0));
        T::run(Means { matrices, columns: self.problem.value_width, means: &mut mean[..queries.len()] });
        (ln_sum, mean)
    }

    /// The gradients of the weights of a part: `V dOᵀ`.
    fn slopes(&self, part: &Part, to: &mut Tile<T>) {
        let value = self.value.matrix(part.head / self.problem.group).from(part.keys.start, 0);
        let grad = self.grad.matrix(part.head).from(part.queries.start, 0).transposed();
        // SAFETY: the part lies inside the arrays and the tile.
        unsafe { gemm_tile([part.keys.len(), part.queries.len(), self.problem.value_width], value, grad, T::zero(), to.write()) };
    }

    #[allow(clippy::too_many_arguments)] // all that a tile leaves behind
    fn accumulate(&self, gradients: &Gradients<T>, by_query: Option<&Joined<T>>, stack: usize, part: &Part, weights: &Tile<T>, slopes: &Tile<T>, first: bool) {
        let Problem { width, value_width, .. } = *self.problem;
        let (queries, keys) = (part.queries.len(), part.keys.len());
        // SAFETY: the part lies inside all arrays; rows of keys belong to this task alone, and rows of queries in the sum of its chunk.
        unsafe {
            if let Some(value) = &gradients.value {
                let grad = self.grad.matrix(part.head).from(part.queries.start, 0);
                gemm_tile([keys, value_width, queries], weights.read(), grad, T::one(), value.matrix(stack).from(part.keys.start, 0));
            }
            if let Some(key) = &gradients.key {
                let query = self.query.matrix(part.head).from(part.queries.start, 0);
                gemm_tile([keys, width, queries], slopes.read(), query, T::one(), key.matrix(stack).from(part.keys.start, 0));
            }
            if let Some(query) = by_query {
                let key = self.key.matrix(stack).from(part.keys.start, 0);
                let beta = if first { T::zero() } else { T::one() };
                gemm_tile([queries, width, keys], slopes.read().transposed(), key, beta, query.matrix(part.head).from(part.queries.start, 0));
            }
        }
    }
}

/// The products of two matrices' rows.
struct Means<'a, T> {
    matrices: [Matrix<T>; 2],
    columns: usize,
    means: &'a mut [T],
}

impl<T: Number> Kernel for Means<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self) {
        for (i, mean) in self.means.iter_mut().enumerate() {
            // SAFETY: rows have `columns` neighbouring elements; the kernel runs inside `simd::run`.
            unsafe {
                let [a, b] = self.matrices.map(|m| std::slice::from_raw_parts(m.start.wrapping_offset(i as isize * m.row), self.columns));
                *mean = T::from_f64(row::dot::<S, T>(a, b));
            }
        }
    }
}
