//! Forward: a few blocks of queries walk along the tiles of keys together.

use super::Options;
use super::problem::{Heads, Joined, KEYS, Problem, QUERIES};
use super::product::{Bands, Held, product};
use super::scratch::{Scratch, copy, is_ready, padded, put, read, turn};
use super::tile::{Advance, Column, Part, Progress, Scores, Tile};
use crate::array::Array;
use crate::error::Result;
use crate::float::{Float, with_float};
use crate::gemm::MatrixMut;
use crate::ops::on_cpu;
use crate::parallel::Target;
use std::f64::consts::LOG2_E;
use std::ops::Range;

/// Blocks of queries that share the tiles of keys as they come by, at most.
const BLOCKS: usize = 4;
/// As many tasks as there should be at least.
const TASKS: usize = 16;

/// What [`attention`] gives.
pub struct Attended {
    /// `[.., H, L, V]`, a view of memory in the order `[.., L, H, V]`.
    pub output: Array,
    /// The logarithm to base 2 of the sum of the exponentials of each query's scores, `[.., H, L]`, which the backward pass needs; +infinity for a query that sees no key.
    pub log2_sum: Array,
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
    on_cpu!(OP, [query, key, value; mask]);
    let problem = Problem::new(OP, query, key, value, mask, options)?;
    with_float!(OP, query.dtype(), T => forward::<T>(&problem, query.rank()))
}

fn forward<T: Float>(problem: &Problem, rank: usize) -> Result<Attended> {
    let heads = problem.query.dims()[problem.query.rank() - 3];
    let output = Joined::<T>::new(&problem.batch, [heads, problem.queries, problem.value_width])?;
    let mut log2_sum = Array::stale(problem.rows(), T::DTYPE)?;
    let forward = Forward {
        problem,
        scores: Scores::new(problem),
        query: Heads::of(&problem.query),
        key: Heads::of(&problem.key),
        value: Heads::of(&problem.value),
        output: &output,
        log2_sum: Target::new(log2_sum.slice_mut::<T>()),
    };
    let blocks = problem.queries.div_ceil(QUERIES);
    let groups = blocks.div_ceil(BLOCKS).max(TASKS.div_ceil(problem.heads.max(1)).min(blocks));
    problem.spread(problem.heads * groups, problem.queries.div_ceil(groups.max(1)), 2, |task| {
        // The last queries first: with a causal mask they see the most keys.
        let (head, group) = (task / groups, groups - 1 - task % groups);
        let cut = |i: usize| (blocks * i / groups * QUERIES).min(problem.queries);
        forward.group(head, cut(group)..cut(group + 1));
    });
    let log2_sum = if rank == 2 { log2_sum.squeeze(0)? } else { log2_sum };
    Ok(Attended { output: output.finish(rank)?, log2_sum })
}

struct Forward<'a, T> {
    problem: &'a Problem,
    scores: Scores<T>,
    query: Heads<T>,
    key: Heads<T>,
    value: Heads<T>,
    output: &'a Joined<T>,
    log2_sum: Target<T>,
}

/// A block of queries on its way.
struct Block<T> {
    queries: Range<usize>,
    /// The queries, a column each.
    turned: MatrixMut<T>,
    output: MatrixMut<T>,
    progress: Progress<T>,
}

impl<T: Float> Forward<'_, T> {
    /// The output of these queries of a head, [`BLOCKS`] blocks at most.
    fn group(&self, head: usize, queries: Range<usize>) {
        let Problem { width, value_width, group, .. } = *self.problem;
        let (key, value) = (self.key.matrix(head / group), self.value.matrix(head / group));
        let (tile, values) = (KEYS * QUERIES, KEYS * padded(value_width));
        let mut scratch = Scratch::take(tile + values + BLOCKS * QUERIES * (width + padded(value_width)));
        let (tile, values) = (scratch.matrix(KEYS, QUERIES), scratch.matrix(KEYS, value_width));
        let mut blocks: [_; BLOCKS] = std::array::from_fn(|i| {
            let queries = queries.start + i * QUERIES..(queries.start + (i + 1) * QUERIES).min(queries.end);
            (!queries.is_empty()).then(|| self.start(head, queries, &mut scratch))
        });
        let visible = self.problem.visible(queries.end);
        for first in (0..visible).step_by(KEYS) {
            let end = (first + KEYS).min(visible);
            let mut right = value.from(first, 0);
            if !is_ready(value, value_width) {
                // SAFETY: the keys lie in the values, and the copy is as large as a tile.
                unsafe { copy(right, [end - first, value_width], values) };
                right = read(values);
            }
            for block in blocks.iter_mut().flatten() {
                let part = Part { head, queries: block.queries.clone(), keys: first..end.min(self.problem.visible(block.queries.end)) };
                if part.keys.is_empty() {
                    continue;
                }
                let (rows, keys) = (part.queries.len(), part.keys.len());
                let bands = Bands::of(self.problem, first, block.queries.start);
                // SAFETY: the part lies inside keys, values and queries; tile and output are this task's and large enough.
                unsafe {
                    product([keys, rows, width], key.from(first, 0), read(block.turned), tile, Held::Dropped, bands.result);
                    T::run(Advance { scores: &self.scores, part: &part, tile: Tile(tile), progress: &mut block.progress });
                    let held = if first == 0 { Held::Dropped } else { Held::Scaled(block.progress.correction.as_ptr()) };
                    product([rows, value_width, keys], read(tile).transposed(), right, block.output, held, bands.right);
                }
            }
        }
        blocks.iter().flatten().for_each(|block| self.finish(head, block));
    }

    fn start(&self, head: usize, queries: Range<usize>, scratch: &mut Scratch<T>) -> Block<T> {
        let (turned, output) = (scratch.matrix(self.problem.width, QUERIES), scratch.matrix(QUERIES, self.problem.value_width));
        let factor = T::from_f64(self.problem.scale * LOG2_E);
        // SAFETY: the queries lie in the array, and the copy has a column for each.
        unsafe { turn(self.query.matrix(head).from(queries.start, 0), [queries.len(), self.problem.width], factor, turned) };
        Block { queries, turned, output, progress: Progress::new() }
    }

    fn finish(&self, head: usize, block: &Block<T>) {
        let Progress { most, sum, .. } = &block.progress;
        let (rows, at) = (block.queries.len(), head * self.problem.queries + block.queries.start);
        let factors: Column<T> = sum.map(|sum| T::from_f64(if sum == 0.0 { 0.0 } else { 1.0 / sum }));
        let to = self.output.matrix(head).from(block.queries.start, 0);
        // SAFETY: no other task has these queries.
        let log2_sum = unsafe {
            put(block.output, [rows, self.problem.value_width], &factors, false, to);
            self.log2_sum.slice(at, at + rows)
        };
        for (i, log2_sum) in log2_sum.iter_mut().enumerate() {
            *log2_sum = if sum[i] == 0.0 { T::infinity() } else { most[i] + T::from_f64(sum[i].log2()) };
        }
    }
}
