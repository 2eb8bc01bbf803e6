//! Backward: the keys of a head, in a few chunks, meet all blocks of queries.

use super::Options;
use super::problem::{Heads, Joined, KEYS, Problem, QUERIES};
use super::product::{Band, Bands, Held, product};
use super::scratch::{Scratch, copy, is_ready, padded, put, read, turn};
use super::tile::{Column, Differentiate, Part, Scores, Tile};
use crate::array::Array;
use crate::error::Result;
use crate::float::{Float, with_float};
use crate::gemm::{Matrix, MatrixMut};
use crate::ops::on_cpu;
use crate::ops::{expect_shape, row, same_dtype};
use crate::shape::Shape;
use crate::simd::{Kernel, Simd};
use std::f64::consts::LOG2_E;
use std::ops::Range;

/// As many tasks as there should be at least. Where there are fewer heads their keys are divided, and each chunk has a sum of its own for the gradient of the queries.
const TASKS: usize = 16;
/// Keys whose gradients a task sums up in its own memory at once, in tiles of [`KEYS`].
const SPAN: usize = 256;

/// The gradients of query, key and value, those that are `needed`, from that of [`super::attention`]'s output, the output and `log2_sum`; the rest of the arguments as there.
/// Each lies in memory as the output does; where queries, keys and values are consecutive heads of one array, their gradients are too. Additive masks get no gradient here.
///
/// # Errors
/// As for [`super::attention`]; a gradient, output or `log2_sum` of another shape or type than there.
#[allow(clippy::too_many_arguments)] // what the forward pass had and what it gave
pub fn attention_backward(
    grad: &Array,
    query: &Array,
    key: &Array,
    value: &Array,
    mask: Option<&Array>,
    output: &Array,
    log2_sum: &Array,
    options: &Options,
    needed: [bool; 3],
) -> Result<[Option<Array>; 3]> {
    const OP: &str = "scaled_dot_product_attention_backward";
    on_cpu!(OP, [grad, query, key, value, output, log2_sum; mask]);
    let problem = Problem::new(OP, query, key, value, mask, options)?;
    let rank = query.rank();
    let rows = if rank == 2 { problem.rows().without(0) } else { problem.rows() };
    let shape = rows.pushed(problem.value_width);
    for (what, array, dims) in [("the gradient", grad, &shape), ("the output", output, &shape), ("log2_sum", log2_sum, &rows)] {
        same_dtype(OP, array, query)?;
        expect_shape(OP, what, array, dims)?;
    }
    with_float!(OP, query.dtype(), T => {
        let backward = Backward::<T>::new(&problem, grad, output, log2_sum)?;
        let mut gradients = backward.run(needed)?;
        if rank == 2 {
            for gradient in gradients.iter_mut().flatten() {
                *gradient = gradient.squeeze(0)?;
            }
        }
        Ok(gradients)
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
    log2_sum: Array,
    /// Held for the addresses above.
    _dense: [Array; 2],
}

/// Where tasks write: gradients of queries (all of them for each chunk of keys), keys and values.
struct Gradients<T> {
    query: Option<Joined<T>>,
    key: Option<Joined<T>>,
    value: Option<Joined<T>>,
}

/// A task's own memory.
struct Room<T> {
    weights: MatrixMut<T>,
    slopes: MatrixMut<T>,
    /// Queries and gradients of outputs, a column each.
    turned: [MatrixMut<T>; 2],
    /// Copies of queries, gradients of outputs and keys, where products cannot read those in place.
    copies: [MatrixMut<T>; 3],
    /// Sums of the gradients of queries, keys and values.
    sums: [MatrixMut<T>; 3],
    _scratch: Scratch<T>,
}

impl<T: Float> Room<T> {
    fn take(problem: &Problem) -> Room<T> {
        let Problem { width, value_width, .. } = *problem;
        let (wide, value_wide) = (padded(width), padded(value_width));
        let count = 2 * KEYS * QUERIES + QUERIES * (width + value_width + 2 * wide + value_wide) + SPAN * (2 * wide + value_wide);
        let mut scratch = Scratch::take(count);
        let mut matrix = |rows, columns| scratch.matrix(rows, columns);
        Room {
            weights: matrix(KEYS, QUERIES),
            slopes: matrix(KEYS, QUERIES),
            turned: [matrix(width, QUERIES), matrix(value_width, QUERIES)],
            copies: [matrix(QUERIES, width), matrix(QUERIES, value_width), matrix(SPAN, width)],
            sums: [matrix(QUERIES, width), matrix(SPAN, width), matrix(SPAN, value_width)],
            _scratch: scratch,
        }
    }
}

/// `x` as products read B: in place, or as a copy at `to`.
///
/// # Safety
/// As for [`copy`].
unsafe fn ready<T: Float>(x: Matrix<T>, sizes: [usize; 2], to: MatrixMut<T>) -> Matrix<T> {
    if is_ready(x, sizes[1]) {
        return x;
    }
    // SAFETY: the caller's promise.
    unsafe { copy(x, sizes, to) };
    read(to)
}

impl<'a, T: Float> Backward<'a, T> {
    fn new(problem: &'a Problem, grad: &Array, output: &Array, log2_sum: &Array) -> Result<Backward<'a, T>> {
        let dense = [super::problem::rows(grad)?, super::problem::rows(output)?];
        Ok(Backward {
            problem,
            scores: Scores::new(problem),
            query: Heads::of(&problem.query),
            key: Heads::of(&problem.key),
            value: Heads::of(&problem.value),
            grad: Heads::of(&dense[0]),
            output: Heads::of(&dense[1]),
            log2_sum: log2_sum.contiguous()?,
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
        let gradients = match self.together(needed, [heads, shared]).filter(|_| chunks == 1) {
            Some(all) => {
                let all = Joined::<T>::new(&problem.batch, [all, problem.keys, problem.width])?;
                let part = |start: usize, heads: usize| Some(all.part(start..start + heads));
                Gradients { query: part(0, heads), key: part(heads, shared), value: part(heads + shared, shared) }
            }
            None => {
                let joined = |needed: bool, batch: &Shape, sizes: [usize; 3]| if needed { Joined::<T>::new(batch, sizes).map(Some) } else { Ok(None) };
                // As one dimension: eight are all there can be.
                let chunked = Shape::trusted(&[chunks * problem.batch.count()]);
                let by_query = if chunks > 1 { &chunked } else { &problem.batch };
                Gradients {
                    query: joined(needed[0], by_query, [heads, problem.queries, problem.width])?,
                    key: joined(needed[1], &problem.batch, [shared, problem.keys, problem.width])?,
                    value: joined(needed[2], &problem.batch, [shared, problem.keys, problem.value_width])?,
                }
            }
        };
        problem.spread(stacks * chunks, problem.group * problem.queries, 5, |task| {
            let (stack, chunk) = (task / chunks, task % chunks);
            let cut = |i: usize| (tiles * i / chunks * KEYS).min(problem.keys);
            self.chunk(&gradients, stack, chunk, cut(chunk)..cut(chunk + 1));
        });
        let Gradients { query, key, value } = gradients;
        let query = if chunks > 1 { query.map(|query| query.summed(&problem.batch)).transpose()? } else { query };
        let [query, key, value] = [query, key, value].map(|joined| joined.map(|joined| joined.finish(3)).transpose());
        Ok([query?, key?, value?])
    }

    /// How many heads there are in all, if queries, keys and values are consecutive heads of one array that a product has written; their gradients then are to be parts of one too.
    fn together(&self, needed: [bool; 3], [heads, shared]: [usize; 2]) -> Option<usize> {
        let Problem { query, key, value, .. } = self.problem;
        let all = Array::spanning(&[query, key, value], query.rank() - 3)?.transpose(-2, -3).ok()?;
        (needed == [true; 3] && all.is_contiguous()).then_some(heads + 2 * shared)
    }

    /// The keys of one chunk of a stack, against all queries of the heads that share it.
    fn chunk(&self, gradients: &Gradients<T>, stack: usize, chunk: usize, keys: Range<usize>) {
        let problem = self.problem;
        let Problem { width, value_width, .. } = *problem;
        let room = Room::take(problem);
        let by_query = gradients.query.as_ref();
        // Where there are no keys, the gradients of queries are still to be cleared.
        for span in 0..keys.len().div_ceil(SPAN).max(1) {
            let start = keys.start + span * SPAN;
            let span = start..(start + SPAN).min(keys.end);
            let [_, by_key, by_value] = room.sums;
            // SAFETY: the keys lie in the array; copies and sums have room for a span.
            let key = unsafe {
                for sum in [by_key, by_value] {
                    std::slice::from_raw_parts_mut(sum.start, span.len() * sum.row as usize).fill(T::zero());
                }
                ready(self.key.matrix(stack).from(start, 0), [span.len(), width], room.copies[2])
            };
            for head in stack * problem.group..(stack + 1) * problem.group {
                for first in (0..problem.queries).step_by(QUERIES) {
                    let queries = first..(first + QUERIES).min(problem.queries);
                    let part = Part { head, keys: start..problem.visible(queries.end).min(span.end), queries };
                    let rows = part.queries.len();
                    let factor = if part.keys.is_empty() { 0.0 } else { problem.scale };
                    if !part.keys.is_empty() {
                        self.block(gradients, &room, key, stack, &part);
                    }
                    if let Some(by_query) = by_query {
                        let to = by_query.matrix(chunk * problem.heads + head).from(first, 0);
                        // SAFETY: only this task has the chunk's rows of these queries.
                        unsafe { put(room.sums[0], [rows, width], &[T::from_f64(factor)], start > keys.start, to) };
                    }
                }
            }
            let finished = [(&gradients.key, by_key, width, problem.scale), (&gradients.value, by_value, value_width, 1.0)];
            for (joined, sum, columns, factor) in finished {
                let Some(joined) = joined else { continue };
                // SAFETY: only this task has the rows of these keys.
                unsafe { put(sum, [span.len(), columns], &[T::from_f64(factor)], false, joined.matrix(stack).from(start, 0)) };
            }
        }
    }

    /// A block of queries against some keys of a span: their part of the sums, whole for the queries.
    fn block(&self, gradients: &Gradients<T>, room: &Room<T>, key: Matrix<T>, stack: usize, part: &Part) {
        let Problem { width, value_width, scale, .. } = *self.problem;
        let (head, rows, span) = (part.head, part.queries.len(), part.keys.start);
        let (log2_sum, mean) = self.columns(head, part.queries.clone());
        let [query, grad] = [&self.query, &self.grad].map(|heads| heads.matrix(head).from(part.queries.start, 0));
        let [by_query, by_key, by_value] = room.sums;
        let [turned, turned_grad] = room.turned;
        // SAFETY: the part lies inside all arrays, and each matrix of the room has room for it.
        unsafe {
            turn(query, [rows, width], T::from_f64(scale * LOG2_E), turned);
            turn(grad, [rows, value_width], T::one(), turned_grad);
            let query = ready(query, [rows, width], room.copies[0]);
            let grad = ready(grad, [rows, value_width], room.copies[1]);
            for first in part.keys.clone().step_by(KEYS) {
                let part = Part { keys: first..(first + KEYS).min(part.keys.end), ..part.clone() };
                let (at, keys) = (first - span, part.keys.len());
                let value = self.value.matrix(stack).from(first, 0);
                let bands = Bands::of(self.problem, first, part.queries.start);
                product([keys, rows, width], key.from(at, 0), read(turned), room.weights, Held::Dropped, bands.result);
                product([keys, rows, value_width], value, read(turned_grad), room.slopes, Held::Dropped, Band::Full);
                let (weights, slopes) = (Tile(room.weights), Tile(room.slopes));
                T::run(Differentiate { scores: &self.scores, part: &part, weights, slopes, log2_sum: &log2_sum, mean: &mean });
                if gradients.value.is_some() {
                    product([keys, value_width, rows], read(room.weights), grad, by_value.from(at, 0), Held::Added, bands.left);
                }
                if gradients.key.is_some() {
                    product([keys, width, rows], read(room.slopes), query, by_key.from(at, 0), Held::Added, bands.left);
                }
                if gradients.query.is_some() {
                    let held = if at == 0 { Held::Dropped } else { Held::Added };
                    product([rows, width, keys], read(room.slopes).transposed(), key.from(at, 0), by_query, held, bands.right);
                }
            }
        }
    }

    /// `log2_sum` and `sum dO O` of each query of a block.
    fn columns(&self, head: usize, queries: Range<usize>) -> (Column<T>, Column<T>) {
        let (mut log2_sum, mut mean) = ([T::zero(); QUERIES], [T::zero(); QUERIES]);
        let start = head * self.problem.queries + queries.start;
        log2_sum[..queries.len()].copy_from_slice(&self.log2_sum.slice::<T>()[start..][..queries.len()]);
        let matrices = [self.grad.matrix(head), self.output.matrix(head)].map(|matrix| matrix.from(queries.start, 0));
        T::run(Means { matrices, columns: self.problem.value_width, means: &mut mean[..queries.len()] });
        (log2_sum, mean)
    }
}

/// The products of two matrices' rows.
struct Means<'a, T> {
    matrices: [Matrix<T>; 2],
    columns: usize,
    means: &'a mut [T],
}

impl<T: Float> Kernel for Means<'_, T> {
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
