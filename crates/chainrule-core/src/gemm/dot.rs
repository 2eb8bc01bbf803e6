//! Few rows of A against the columns of a B that is stored by columns: dot products along k, nothing is packed.

use super::{Number, Product};
use crate::simd::{Simd, Vector};
use std::ops::Range;

/// The most rows for which this is faster than packing B.
pub(super) const ROWS: usize = 16;

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
    // SAFETY: the caller's promises. A tile has one sum a lane, so one row takes `LANES` columns, two take half, four a quarter.
    unsafe {
        match rows.len() {
            1 => tiles::<T, V, LANES, 1>(product, rows, columns),
            2 => tiles::<T, V, LANES, 2>(product, rows, columns),
            _ if LANES >= 8 => tiles::<T, V, LANES, 4>(product, rows, columns),
            _ => tiles::<T, V, LANES, 2>(product, rows, columns),
        }
    }
}

#[inline(always)]
unsafe fn tiles<T: Number, V: Vector<Element = T>, const LANES: usize, const HEIGHT: usize>(product: &Product<T>, rows: Range<usize>, columns: Range<usize>) {
    let width = LANES / HEIGHT;
    let k = product.sizes[2];
    for left in columns.clone().step_by(width) {
        for top in rows.clone().step_by(HEIGHT) {
            // Past the edge the last row or column is computed again and not written.
            let a: [*const T; HEIGHT] = std::array::from_fn(|i| product.a.at((top + i).min(rows.end - 1), 0));
            let b: [*const T; LANES] = std::array::from_fn(|j| product.b.at(0, (left + j % width).min(columns.end - 1)));
            // SAFETY: A's rows and B's columns have k neighbouring elements; the elements written lie in the block.
            unsafe {
                let mut results = [T::zero(); LANES];
                dots::<T, V, LANES, HEIGHT>(k, a, b).store(results.as_mut_ptr());
                for i in 0..HEIGHT.min(rows.end - top) {
                    for j in 0..width.min(columns.end - left) {
                        product.finish.element(product.c.at(top + i, left + j), top + i, left + j, results[i * width + j]);
                    }
                }
            }
        }
    }
}

/// All products of `HEIGHT` rows with `LANES / HEIGHT` columns, the first row's first.
#[inline(always)]
unsafe fn dots<T: Number, V: Vector<Element = T>, const LANES: usize, const HEIGHT: usize>(k: usize, a: [*const T; HEIGHT], b: [*const T; LANES]) -> V {
    let width = LANES / HEIGHT;
    // SAFETY: the caller vouches for k elements behind every pointer.
    unsafe {
        let mut sums = [V::splat(T::zero()); LANES];
        let whole = k - k % LANES;
        let mut p = 0;
        while p < whole {
            let mut left = [V::splat(T::zero()); HEIGHT];
            for i in 0..HEIGHT {
                left[i] = V::load(a[i].add(p));
            }
            for j in 0..width {
                let right = V::load(b[j].add(p));
                for i in 0..HEIGHT {
                    sums[i * width + j] = left[i].mul_add(right, sums[i * width + j]);
                }
            }
            p += LANES;
        }
        if p < k {
            let mut left = [V::splat(T::zero()); HEIGHT];
            for i in 0..HEIGHT {
                left[i] = V::load_first(a[i].add(p), k - p);
            }
            for j in 0..width {
                let right = V::load_first(b[j].add(p), k - p);
                for i in 0..HEIGHT {
                    sums[i * width + j] = left[i].mul_add(right, sums[i * width + j]);
                }
            }
        }
        total(sums)
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
