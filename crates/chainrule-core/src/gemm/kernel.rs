//! The micro-kernel: a tile of C in registers, one step of k after the other.

use super::{Bias, Finish, Matrix, MatrixMut, Number};
use crate::simd::{Kernel, Simd, Vector};
use std::hint::black_box;

/// Threes in the largest number of rows.
const GROUPS: usize = 4;

/// How many rows ahead a panel is asked for while it is copied: its rows may lie pages apart, which the CPU does not foresee.
const AHEAD: isize = 24;

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

/// A tile of C from `ROWS` rows of A and `VECTORS` registers a row of B: element (i, j) ← finish(Σₚ A(i, p)·B(p, j)).
///
/// Whoever makes one vouches that A is readable for `ROWS` x `k`, B for `k` rows of `at.columns` numbers with column stride 1 (all of `VECTORS` registers with a copy), that C has column stride 1,
/// and that `at.columns` reaches into the last register.
struct Exact<'a, T, const ROWS: usize, const VECTORS: usize, const COPY: bool> {
    k: usize,
    a: Matrix<T>,
    b: Matrix<T>,
    copy: *mut T,
    at: Tile<T>,
    finish: &'a Finish<'a, T>,
}

impl<T: Number, const ROWS: usize, const VECTORS: usize, const COPY: bool> Kernel for Exact<'_, T, ROWS, VECTORS, COPY> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self) {
        // SAFETY: the level is checked, and the maker vouches for the matrices.
        unsafe { tile::<T, T::Vector<S>, ROWS, VECTORS, COPY>(self.k, self.a, self.b, self.copy, self.at, self.finish) }
    }
}

/// The work of [`Exact`].
///
/// # Safety
/// The level of V must be checked, and the promises of [`Exact`] hold.
#[inline(always)]
unsafe fn tile<T: Number, V: Vector<Element = T>, const ROWS: usize, const VECTORS: usize, const COPY: bool>(
    k: usize,
    a: Matrix<T>,
    b: Matrix<T>,
    mut copy: *mut T,
    tile: Tile<T>,
    finish: &Finish<T>,
) {
    // SAFETY: the caller's promises: the loop over p reads A and B inside `ROWS` x `k` and `k` x `VECTORS` registers,
    // the rest touches C and the bias inside the tile, whose last register is masked to `last` lanes.
    unsafe {
        if finish.beta != T::zero() {
            // C is far away by now; it comes while the sums are made.
            for i in 0..ROWS {
                for v in 0..VECTORS {
                    V::prefetch(tile.c.at(i, 0).wrapping_add(v * V::LANES));
                }
                V::prefetch(tile.c.at(i, 0).wrapping_add(tile.columns - 1));
            }
        }
        let last = tile.columns - (VECTORS - 1) * V::LANES;
        let mut sums = [[V::splat(T::zero()); VECTORS]; ROWS];
        // A row's place by threes, each a pointer plus 0, 1 or 2 strides. `black_box` keeps the compiler from seeing one chain of additions in them, which would take longer than the products.
        let mut groups = [a.start; GROUPS];
        for (g, group) in groups.iter_mut().enumerate().take(ROWS.div_ceil(3)) {
            *group = a.start.wrapping_offset(3 * g as isize * black_box(a.row));
        }
        let mut b_at = b.start;
        for _ in 0..k {
            let mut right = [V::splat(T::zero()); VECTORS];
            for (v, right) in right.iter_mut().enumerate() {
                *right = if COPY || v + 1 < VECTORS { V::load(b_at.add(v * V::LANES)) } else { V::load_first(b_at.add(v * V::LANES), last) };
                if COPY {
                    V::prefetch(b_at.wrapping_offset(AHEAD * b.row).wrapping_add(v * V::LANES));
                    right.store(copy.add(v * V::LANES));
                }
            }
            for (i, sums) in sums.iter_mut().enumerate() {
                let left = V::splat(*groups[i / 3].wrapping_offset((i % 3) as isize * a.row));
                for (sum, right) in sums.iter_mut().zip(right) {
                    *sum = left.dot(right, *sum);
                }
            }
            for group in &mut groups {
                *group = group.wrapping_offset(a.column);
            }
            b_at = b_at.wrapping_offset(b.row);
            if COPY {
                copy = copy.add(VECTORS * V::LANES);
            }
        }

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
        finish.epilogue.activation.of_all::<T, V>(sums.as_flattened_mut());
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
        2 => 4,
        3..=6 if V::TILE_ROWS == 12 => 4,
        _ => V::TILE_VECTORS,
    }
}

/// The tile of `rows` x `vectors`, each size compiled exactly, as a function of its own. With a `copy`, which takes two registers, the panel of B is also written there, row by row.
///
/// # Safety
/// As for [`Exact`]; `rows <= TILE_ROWS`, and `vectors` is 1, `TILE_VECTORS` = 2 or [`widest`].
#[inline(always)]
pub(super) unsafe fn exact<S: Simd, T: Number>(
    (rows, vectors): (usize, usize),
    k: usize,
    a: Matrix<T>,
    b: Matrix<T>,
    copy: *mut T,
    at: Tile<T>,
    finish: &Finish<T>,
) {
    const { assert!(T::Vector::<S>::TILE_ROWS <= 12 && T::Vector::<S>::TILE_VECTORS == 2) };
    macro_rules! dispatch {
        ($($rows:literal)*) => {
            // SAFETY: the caller's promises.
            unsafe {
                match (rows, vectors, copy.is_null()) {
                    $(
                        ($rows, 1, true) if $rows <= T::Vector::<S>::TILE_ROWS => S::apart(Exact::<T, $rows, 1, false> { k, a, b, copy, at, finish }),
                        ($rows, 2, true) if $rows <= T::Vector::<S>::TILE_ROWS => S::apart(Exact::<T, $rows, 2, false> { k, a, b, copy, at, finish }),
                        ($rows, 2, false) if $rows <= T::Vector::<S>::TILE_ROWS => S::apart(Exact::<T, $rows, 2, true> { k, a, b, copy, at, finish }),
                    )*
                    (1, 8, true) => S::apart(Exact::<T, 1, 8, false> { k, a, b, copy, at, finish }),
                    (2, 4, true) => S::apart(Exact::<T, 2, 4, false> { k, a, b, copy, at, finish }),
                    (3, 4, true) if T::Vector::<S>::TILE_ROWS == 12 => S::apart(Exact::<T, 3, 4, false> { k, a, b, copy, at, finish }),
                    (4, 4, true) if T::Vector::<S>::TILE_ROWS == 12 => S::apart(Exact::<T, 4, 4, false> { k, a, b, copy, at, finish }),
                    (5, 4, true) if T::Vector::<S>::TILE_ROWS == 12 => S::apart(Exact::<T, 5, 4, false> { k, a, b, copy, at, finish }),
                    (6, 4, true) if T::Vector::<S>::TILE_ROWS == 12 => S::apart(Exact::<T, 6, 4, false> { k, a, b, copy, at, finish }),
                    _ => unreachable!("no kernel for {rows} rows and {vectors} registers"),
                }
            }
        };
    }
    dispatch!(12 11 10 9 8 7 6 5 4 3 2 1);
}
