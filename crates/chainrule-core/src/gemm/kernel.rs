//! The micro-kernel: a tile of C in registers, one step of k after the other.

use super::{Activation, Bias, Finish, Matrix, MatrixMut, Number};
use crate::simd::Vector;

/// A place in C: the tile whose first element is (`i`, `j`), `columns` wide.
pub(super) struct Tile<T> {
    pub c: MatrixMut<T>,
    pub i: usize,
    pub j: usize,
    pub columns: usize,
}

/// The first `count` lanes, without a mask where that is all.
#[inline(always)]
unsafe fn load<V: Vector>(at: *const V::Element, count: usize) -> V {
    // SAFETY: the caller vouches for `count` elements.
    unsafe { if count == V::LANES { V::load(at) } else { V::load_first(at, count) } }
}

/// The tile `tile` of C from `ROWS` rows of A and `VECTORS` registers a row of B: element (i, j) ← finish(Σₚ A(i, p)·B(p, j)).
///
/// # Safety
/// The level of V must be checked. A must be readable for `ROWS` x `k`, B for `k` rows of `VECTORS` registers, with column stride 1; C must have column stride 1,
/// and `tile.columns` must reach into the last register.
#[inline(always)]
unsafe fn tile<T: Number, V: Vector<Element = T>, const ROWS: usize, const VECTORS: usize>(
    k: usize,
    a: Matrix<T>,
    b: Matrix<T>,
    tile: Tile<T>,
    finish: &Finish<T>,
) {
    // SAFETY: the caller's promises: the loop over p reads A and B inside `ROWS` x `k` and `k` x `VECTORS` registers,
    // the rest touches C and the bias inside the tile, whose last register is masked to `last` lanes.
    unsafe {
        let mut sums = [[V::splat(T::zero()); VECTORS]; ROWS];
        let (mut a_at, mut b_at) = (a.start, b.start);
        for _ in 0..k {
            let mut right = [V::splat(T::zero()); VECTORS];
            for (v, right) in right.iter_mut().enumerate() {
                *right = V::load(b_at.add(v * V::LANES));
            }
            for (i, sums) in sums.iter_mut().enumerate() {
                let left = V::splat(*a_at.wrapping_offset(i as isize * a.row));
                for (sum, right) in sums.iter_mut().zip(right) {
                    *sum = left.mul_add(right, *sum);
                }
            }
            a_at = a_at.wrapping_offset(a.column);
            b_at = b_at.wrapping_offset(b.row);
        }

        let last = tile.columns - (VECTORS - 1) * V::LANES;
        if finish.beta != T::zero() {
            let beta = V::splat(finish.beta);
            for (i, sums) in sums.iter_mut().enumerate() {
                for (v, sum) in sums.iter_mut().enumerate() {
                    *sum = beta.mul_add(load::<V>(tile.c.at(i, 0).add(v * V::LANES), if v + 1 < VECTORS { V::LANES } else { last }), *sum);
                }
            }
        }
        match finish.epilogue.bias {
            Bias::None => {}
            Bias::PerColumn(values) => {
                for v in 0..VECTORS {
                    let bias = load::<V>(values.as_ptr().add(tile.j + v * V::LANES), if v + 1 < VECTORS { V::LANES } else { last });
                    for sums in &mut sums {
                        sums[v] = sums[v].add(bias);
                    }
                }
            }
            Bias::PerRow(values) => {
                for (i, sums) in sums.iter_mut().enumerate() {
                    let bias = V::splat(*values.as_ptr().add(tile.i + i));
                    for sum in sums {
                        *sum = sum.add(bias);
                    }
                }
            }
        }
        if finish.epilogue.activation == Activation::Relu {
            let zero = V::splat(T::zero());
            for sum in sums.as_flattened_mut() {
                // In this order a NaN comes through.
                *sum = zero.max(*sum);
            }
        }
        for (i, sums) in sums.iter().enumerate() {
            for (v, sum) in sums.iter().enumerate() {
                let at = tile.c.at(i, 0).add(v * V::LANES);
                if v + 1 < VECTORS || last == V::LANES {
                    sum.store(at);
                } else {
                    sum.store_first(at, last);
                }
            }
        }
    }
}

/// How many registers wide a tile of `rows` rows may be where B is read in place.
#[inline(always)]
pub(super) fn widest<V: Vector>(rows: usize) -> usize {
    match rows {
        1 => 8,
        2 | 3 => 4,
        _ => V::TILE_VECTORS,
    }
}

/// [`tile`] for `rows` x `vectors`, each compiled exactly.
///
/// # Safety
/// As for [`tile`]; `rows <= TILE_ROWS`, and `vectors` is 1, `TILE_VECTORS` = 2 or [`widest`].
#[inline(always)]
pub(super) unsafe fn exact<T: Number, V: Vector<Element = T>>(
    (rows, vectors): (usize, usize),
    k: usize,
    a: Matrix<T>,
    b: Matrix<T>,
    at: Tile<T>,
    finish: &Finish<T>,
) {
    macro_rules! dispatch {
        ($($rows:literal)*) => {
            // SAFETY: the caller's promises.
            unsafe {
                match (rows, vectors) {
                    $(
                        ($rows, 1) if $rows <= V::TILE_ROWS => tile::<T, V, $rows, 1>(k, a, b, at, finish),
                        ($rows, 2) if $rows <= V::TILE_ROWS => tile::<T, V, $rows, 2>(k, a, b, at, finish),
                    )*
                    (1, 8) => tile::<T, V, 1, 8>(k, a, b, at, finish),
                    (2, 4) => tile::<T, V, 2, 4>(k, a, b, at, finish),
                    (3, 4) => tile::<T, V, 3, 4>(k, a, b, at, finish),
                    _ => unreachable!("no kernel for {rows} rows and {vectors} registers"),
                }
            }
        };
    }
    const { assert!(V::TILE_ROWS <= 14 && V::TILE_VECTORS == 2) };
    dispatch!(14 13 12 11 10 9 8 7 6 5 4 3 2 1);
}
