//! Few rows of A against the columns of a B that is stored by columns: dot products along k, nothing is packed, B is read once.

use super::{Bias, MatrixMut, Number, Product};
use crate::simd::{Simd, Vector};
use std::ops::Range;

/// The most rows for which this is faster than packing B.
pub(super) const ROWS: usize = 16;

/// Columns of B that are read side by side: more streams than this are more than the CPU fetches ahead.
const STREAMS: usize = 4;

/// The elements `rows` x `columns` of C.
///
/// # Safety
/// The level of S must be checked; the ranges are not empty and lie in C; A has column stride 1 and B row stride 1.
#[inline(always)]
pub(super) unsafe fn compute<S: Simd, T: Number>(product: &Product<T>, rows: Range<usize>, columns: Range<usize>) {
    // SAFETY: the caller's promises.
    unsafe {
        match T::Vector::<S>::LANES {
            16 => block::<T, T::Vector<S>, 16>(product, rows, columns),
            8 => block::<T, T::Vector<S>, 8>(product, rows, columns),
            4 => block::<T, T::Vector<S>, 4>(product, rows, columns),
            _ => block::<T, T::Vector<S>, 2>(product, rows, columns),
        }
    }
}

#[inline(always)]
unsafe fn block<T: Number, V: Vector<Element = T>, const LANES: usize>(product: &Product<T>, rows: Range<usize>, columns: Range<usize>) {
    // A tile has one sum a lane, so one row takes `LANES` columns, two take half, four a quarter.
    for left in columns.clone().step_by(LANES) {
        let columns = left..columns.end.min(left + LANES);
        let mut top = rows.start;
        while top < rows.end {
            // SAFETY: the caller's promises.
            top += unsafe {
                match rows.end - top {
                    1 => strip::<T, V, LANES, 1>(product, top, rows.end, columns.clone()),
                    2 => strip::<T, V, LANES, 2>(product, top, rows.end, columns.clone()),
                    _ if LANES >= 8 => strip::<T, V, LANES, 4>(product, top, rows.end, columns.clone()),
                    _ => strip::<T, V, LANES, 2>(product, top, rows.end, columns.clone()),
                }
            };
        }
    }
}

/// `HEIGHT` rows from `top` on; rows past `bottom` are the last one again and not written.
#[inline(always)]
unsafe fn strip<T: Number, V: Vector<Element = T>, const LANES: usize, const HEIGHT: usize>(
    product: &Product<T>,
    top: usize,
    bottom: usize,
    columns: Range<usize>,
) -> usize {
    let (k, width) = (product.sizes[2], LANES / HEIGHT);
    let a: [*const T; HEIGHT] = std::array::from_fn(|i| product.a.at((top + i).min(bottom - 1), 0));
    for left in columns.clone().step_by(width) {
        let (down, across) = (HEIGHT.min(bottom - top), width.min(columns.end - left));
        // SAFETY: A's rows and B's columns have k neighbouring elements; the elements written lie in the block.
        unsafe {
            let c = product.c.from(top, left);
            let old = before::<T, V, LANES, HEIGHT>(product, c, [top, left], [down, across]);
            let mut sums = [V::splat(T::zero()); LANES];
            for first in (0..across).step_by(STREAMS.min(width)) {
                let b: [*const T; STREAMS] = std::array::from_fn(|j| product.b.at(0, (left + first + j).min(columns.end - 1)));
                dots::<T, V, LANES, HEIGHT>(k, a, b, first, &mut sums);
            }
            let mut all = [total(sums).add(old)];
            product.finish.epilogue.activation.of_all(&mut all);
            if HEIGHT == 1 && c.column == 1 {
                all[0].store_first(c.start, across);
                continue;
            }
            let mut results = [T::zero(); LANES];
            all[0].store(results.as_mut_ptr());
            for i in 0..down {
                if c.column == 1 && across == width {
                    std::ptr::copy_nonoverlapping(results.as_ptr().add(i * width), c.at(i, 0), width);
                    continue;
                }
                for j in 0..across {
                    c.at(i, j).write(results[i * width + j]);
                }
            }
        }
    }
    HEIGHT
}

/// What is added to the sums of a tile: β·C and the bias.
#[inline(always)]
unsafe fn before<T: Number, V: Vector<Element = T>, const LANES: usize, const HEIGHT: usize>(
    product: &Product<T>,
    c: MatrixMut<T>,
    [top, left]: [usize; 2],
    [down, across]: [usize; 2],
) -> V {
    let (finish, width) = (&product.finish, LANES / HEIGHT);
    // SAFETY: the caller's tile lies in C, and a bias is as long as C's side.
    unsafe {
        let mut old = [T::zero(); LANES];
        match finish.epilogue.bias {
            _ if finish.beta != T::zero() => {}
            Bias::None => return V::splat(T::zero()),
            Bias::PerColumn(values) if HEIGHT == 1 => return V::load_first(values.as_ptr().add(left), across),
            Bias::PerColumn(values) if across == width => {
                for row in old.chunks_exact_mut(width) {
                    std::ptr::copy_nonoverlapping(values.as_ptr().add(left), row.as_mut_ptr(), width);
                }
                return V::load(old.as_ptr());
            }
            _ => {}
        }
        for i in 0..down {
            for j in 0..across {
                let bias = match finish.epilogue.bias {
                    Bias::None => T::zero(),
                    Bias::PerColumn(values) => values[left + j],
                    Bias::PerRow(values) => values[top + i],
                };
                old[i * width + j] = if finish.beta == T::zero() { bias } else { finish.beta * c.at(i, j).read() + bias };
            }
        }
        V::load(old.as_ptr())
    }
}

/// The products of `HEIGHT` rows with up to [`STREAMS`] columns, in registers whose lanes are still to be added; `sums` has a row's columns side by side, these from `first` on.
#[inline(always)]
unsafe fn dots<T: Number, V: Vector<Element = T>, const LANES: usize, const HEIGHT: usize>(
    k: usize,
    a: [*const T; HEIGHT],
    b: [*const T; STREAMS],
    first: usize,
    sums: &mut [V; LANES],
) {
    let width = LANES / HEIGHT;
    let streams = STREAMS.min(width);
    // So many steps of k at once that all `LANES` registers have a part of the work.
    let steps = width / streams;
    let at = |i: usize, j: usize, step: usize| (i * streams + j) * steps + step;
    // SAFETY: the caller vouches for k elements behind every pointer.
    unsafe {
        let mut parts = [V::splat(T::zero()); LANES];
        let mut p = 0;
        while p + steps * LANES <= k {
            for step in 0..steps {
                let mut left = [V::splat(T::zero()); HEIGHT];
                for i in 0..HEIGHT {
                    left[i] = V::load(a[i].add(p + step * LANES));
                }
                for j in 0..streams {
                    let right = V::load(b[j].add(p + step * LANES));
                    for i in 0..HEIGHT {
                        parts[at(i, j, step)] = left[i].dot(right, parts[at(i, j, step)]);
                    }
                }
            }
            p += steps * LANES;
        }
        while p < k {
            let count = LANES.min(k - p);
            let mut left = [V::splat(T::zero()); HEIGHT];
            for i in 0..HEIGHT {
                left[i] = V::load_first(a[i].add(p), count);
            }
            for j in 0..streams {
                let right = V::load_first(b[j].add(p), count);
                for i in 0..HEIGHT {
                    parts[at(i, j, 0)] = left[i].dot(right, parts[at(i, j, 0)]);
                }
            }
            p += LANES;
        }
        for i in 0..HEIGHT {
            for j in 0..streams {
                let mut sum = parts[at(i, j, 0)];
                for step in 1..steps {
                    sum = sum.add(parts[at(i, j, step)]);
                }
                sums[i * width + first + j] = sum;
            }
        }
    }
}

/// The sum over the lanes of register i in lane i: rounds of zipping the halves and adding, which is a transpose that adds on the way.
#[inline(always)]
unsafe fn total<V: Vector, const N: usize>(mut sums: [V; N]) -> V {
    let mut half = N / 2;
    while half > 0 {
        for i in 0..half {
            // SAFETY: the caller has checked the level.
            sums[i] = unsafe {
                let (low, high) = sums[i].zip(sums[i + half]);
                low.add(high)
            };
        }
        half /= 2;
    }
    sums[0]
}
