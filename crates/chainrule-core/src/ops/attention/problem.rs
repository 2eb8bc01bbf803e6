//! What is attended to: shapes, checked, and where the matrices of each head stand.

use super::{Options, check_rate};
use crate::array::Array;
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::gemm::{Matrix, MatrixMut};
use crate::ops::same_dtype;
use crate::parallel::{self, Target};
use crate::random;
use crate::shape::Shape;
use std::ops::Range;

/// Queries of a block: as many as there are random words in a group.
pub(super) const QUERIES: usize = random::GROUP;
/// Keys of a tile.
pub(super) const KEYS: usize = 128;

/// Multiplications that are worth a task of their own.
const GRAIN: usize = 1 << 18;

/// Operands as `[.., H, L, E]`, `[.., H/group, S, E]`, `[.., H/group, S, V]`, and a mask stretched to `[.., H, L, S]`; rows have neighbouring elements.
pub(super) struct Problem {
    pub query: Array,
    pub key: Array,
    pub value: Array,
    pub mask: Option<Array>,
    /// All leading dimensions but the heads'.
    pub batch: Shape,
    /// Heads of queries, over all batches, and how many of them share keys and values.
    pub heads: usize,
    pub group: usize,
    pub queries: usize,
    pub keys: usize,
    pub width: usize,
    pub value_width: usize,
    pub scale: f64,
    pub causal: Option<usize>,
    pub dropout: Option<(f64, u64)>,
}

impl Problem {
    pub fn new(op: &'static str, query: &Array, key: &Array, value: &Array, mask: Option<&Array>, options: &Options) -> Result<Problem> {
        same_dtype(op, query, key)?;
        same_dtype(op, query, value)?;
        let shapes = || format!("query {:?}, key {:?} and value {:?}", query.shape(), key.shape(), value.shape());
        let unfit = |what: &str| Error::shape(op, format!("{} {what}", shapes()));
        if query.rank() < 2 || key.rank() != query.rank() || value.rank() != query.rank() {
            return Err(unfit("expected to have as many dimensions each, two or more: [.., H, L, E], [.., H, S, E], [.., H, S, V]"));
        }
        let [query, key, value] = [rows(query)?, rows(key)?, rows(value)?];
        let rank = query.rank();
        let (q, k, v) = (query.dims(), key.dims(), value.dims());
        if k[rank - 1] != q[rank - 1] {
            return Err(unfit("have queries and keys of different widths"));
        }
        if v[..rank - 1] != k[..rank - 1] {
            return Err(unfit("have keys and values that differ in more than their width"));
        }
        let (heads, shared) = (q[rank - 3], k[rank - 3]);
        if q[..rank - 3] != k[..rank - 3] || (heads != shared && (shared == 0 || heads % shared != 0)) {
            return Err(unfit("differ in their leading dimensions; expected the same, or heads of queries that are a multiple of the heads of keys"));
        }
        if let Some((rate, _)) = options.dropout {
            check_rate(op, rate)?;
        }
        let batch = Shape::trusted(&q[..rank - 3]);
        let scale = options.scale.unwrap_or_else(|| 1.0 / (q[rank - 1].max(1) as f64).sqrt());
        let mask = mask.map(|mask| stretched(op, mask, &query, k[rank - 2])).transpose()?;
        Ok(Problem {
            heads: batch.count() * heads,
            group: heads.checked_div(shared).unwrap_or(1),
            queries: q[rank - 2],
            keys: k[rank - 2],
            width: q[rank - 1],
            value_width: v[rank - 1],
            causal: options.causal,
            dropout: options.dropout.filter(|(rate, _)| *rate > 0.0),
            batch,
            scale,
            mask,
            query,
            key,
            value,
        })
    }

    /// How many of the first keys the queries before `end` see.
    pub fn visible(&self, end: usize) -> usize {
        self.causal.map_or(self.keys, |past| end.saturating_add(past).min(self.keys))
    }

    /// Runs `body` for `count` tasks, each of which forms `products` times the scores of `queries` queries; small ones are taken together.
    pub fn spread(&self, count: usize, queries: usize, products: usize, body: impl Fn(usize) + Sync) {
        let work = (queries * products).saturating_mul(self.keys).saturating_mul(self.width.max(self.value_width));
        let group = (GRAIN / work.max(1)).max(1);
        parallel::run(count.div_ceil(group), |task| (task * group..((task + 1) * group).min(count)).for_each(&body));
    }

    /// The shape `[.., H, L]`.
    pub fn rows(&self) -> Shape {
        let dims = self.query.dims();
        Shape::trusted(&dims[..dims.len() - 1])
    }
}

/// At least three dimensions, the last with stride 1.
pub(super) fn rows(x: &Array) -> Result<Array> {
    let x = if x.rank() == 2 { x.unsqueeze(0)? } else { x.clone() };
    if x.strides().last() == Some(&1) || x.dims().last() == Some(&1) { Ok(x) } else { x.contiguous() }
}

/// The mask as a view `[.., H, L, S]`.
fn stretched(op: &'static str, mask: &Array, query: &Array, keys: usize) -> Result<Array> {
    if mask.dtype() != DType::U8 && mask.dtype() != query.dtype() {
        let message = format!("the mask is {}, expected u8 (1: may attend) or {}, which is added to the scores", mask.dtype(), query.dtype());
        return Err(Error::value(op, message));
    }
    let dims = query.shape().with(query.rank() - 1, keys);
    let unfit = |_| Error::shape(op, format!("the mask has shape {:?}, which does not broadcast to {dims:?}", mask.shape()));
    mask.broadcast_to(dims.dims()).map_err(unfit)
}

/// The matrices `[rows, columns]` of an array of three or more dimensions, one a head.
#[derive(Clone, Copy)]
pub(super) struct Heads<T> {
    start: *const T,
    leading: Shape,
    strides: crate::shape::Strides,
    row: isize,
    column: isize,
}

// SAFETY: an address, from which tasks only read while the array is borrowed.
unsafe impl<T: Sync> Send for Heads<T> {}
// SAFETY: as above.
unsafe impl<T: Sync> Sync for Heads<T> {}

impl<T: Copy> Heads<T> {
    pub fn of(array: &Array) -> Heads<T> {
        let leading = array.rank() - 2;
        let [row, column] = [array.strides()[leading], array.strides()[leading + 1]];
        Heads { start: array.pointer(), leading: Shape::trusted(&array.dims()[..leading]), strides: *array.all_strides(), row, column }
    }

    /// The matrix of head `index`, counted over all leading dimensions.
    pub fn matrix(&self, mut index: usize) -> Matrix<T> {
        let mut start = self.start;
        for (&extent, &stride) in self.leading.iter().zip(&self.strides).rev() {
            start = start.wrapping_offset((index % extent) as isize * stride);
            index /= extent;
        }
        Matrix { start, row: self.row, column: self.column }
    }
}

/// Heads of an array `[.., H, rows, columns]` that lies in memory as `[.., rows, H, columns]`, so that heads that are joined to one dimension need no copy.
#[derive(Clone)]
pub(super) struct Joined<T> {
    memory: Array,
    target: Target<T>,
    /// Which heads of those in memory.
    heads: Range<usize>,
}

impl<T: crate::dtype::Element> Joined<T> {
    /// All heads of a new array.
    pub fn new(batch: &Shape, [heads, rows, columns]: [usize; 3]) -> Result<Joined<T>> {
        let mut shape = *batch;
        for extent in [rows, heads, columns] {
            shape = shape.pushed(extent);
        }
        let mut memory = Array::stale(Shape::new(shape.dims())?, T::DTYPE)?;
        let target = Target::new(memory.slice_mut());
        Ok(Joined { memory, target, heads: 0..heads })
    }

    /// Some of these heads.
    pub fn part(&self, heads: Range<usize>) -> Joined<T> {
        Joined { heads: self.heads.start + heads.start..self.heads.start + heads.end, ..self.clone() }
    }

    /// The matrix of head `index`, counted over all batches.
    pub fn matrix(&self, index: usize) -> MatrixMut<T> {
        let dims = &self.memory.dims()[self.memory.rank() - 3..];
        let (rows, heads, columns) = (dims[0], dims[1], dims[2]);
        let (batch, head) = (index / self.heads.len(), index % self.heads.len() + self.heads.start);
        let start = self.target.pointer().wrapping_add((batch * rows * heads + head) * columns);
        MatrixMut { start, row: (heads * columns) as isize, column: 1 }
    }

    /// The sum over chunks, in order, each of which is a whole `batch`.
    pub fn summed(self, batch: &Shape) -> Result<Joined<T>> {
        let matrices = &self.memory.dims()[self.memory.rank() - 3..];
        let mut sum = Array::stale(Shape::joined([batch, matrices, &[]])?, T::DTYPE)?;
        let (size, target) = (sum.count(), Target::new(sum.slice_mut::<T>()));
        let parts = self.memory.slice::<T>();
        parallel::ranges(size, parallel::GRAIN, |start, end| {
            // SAFETY: ranges do not overlap.
            let sum = unsafe { target.slice(start, end) };
            sum.copy_from_slice(&parts[start..end]);
            for part in parts.chunks_exact(size).skip(1) {
                for (sum, x) in sum.iter_mut().zip(&part[start..end]) {
                    *sum = *sum + *x;
                }
            }
        });
        Ok(Joined { memory: sum, target, heads: self.heads })
    }

    /// The array, of `rank` dimensions: two if there are no heads.
    pub fn finish(self, rank: usize) -> Result<Array> {
        let array = self.memory.transpose(-2, -3)?.narrow(-3, self.heads.start, self.heads.len())?;
        if rank == 2 { array.squeeze(0) } else { Ok(array) }
    }
}
