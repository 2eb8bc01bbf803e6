//! Products of tiles that lie in a task's scratch memory: C ← A·B, C + A·B or each row of C times a factor of its own + A·B.
//!
//! B and C have rows of whole registers, so that no kernel masks; A is read number by number, in place and with any strides.

use super::problem::Problem;
use super::scratch::REGISTERS;
use crate::float::Float;
use crate::gemm::{Matrix, MatrixMut};
use crate::simd::{Kernel, Simd, Vector};
use std::hint::black_box;

/// What becomes of the numbers that C holds.
#[derive(Clone, Copy)]
pub(super) enum Held<T> {
    Dropped,
    Added,
    /// Added, row i times the factor that lies `i` from here.
    Scaled(*const T),
}

/// Which numbers of a triangle need no work: `shift` is the place in row 0 from which row i is i further on.
#[derive(Clone, Copy)]
pub(super) enum Band {
    /// None.
    Full,
    /// Those of C to the left of its row's place; they become anything.
    Result(isize),
    /// Those of A to the left, which are 0.
    Left(isize),
    /// Those of A from the place on, which are 0.
    Right(isize),
}

/// The bands that a causal mask leaves of a part's scores, which lie with keys down.
#[derive(Clone, Copy)]
pub(super) struct Bands {
    /// Of scores as C.
    pub result: Band,
    /// Of weights and slopes as A.
    pub left: Band,
    /// Of their transposes as A.
    pub right: Band,
}

impl Bands {
    /// For the part from this key and query on.
    pub fn of(problem: &Problem, key: usize, query: usize) -> Bands {
        // What is past is seen by all; the first query that sees a key is `key - past`.
        let Some(past) = problem.causal.filter(|&past| past < problem.keys) else { return Bands { result: Band::Full, left: Band::Full, right: Band::Full } };
        let shift = key as isize - past as isize - query as isize;
        Bands { result: Band::Result(shift), left: Band::Left(shift), right: Band::Right(1 - shift) }
    }
}

/// C `[m, n]` from A `[m, k]` and B `[k, n]`; `sizes` = \[m, n, k\]. Rows of B and C have room for `n` rounded up to [`REGISTERS`].
///
/// # Safety
/// A, B and the factors must be readable, C writable and readable unless what it holds is dropped, and nothing else uses C meanwhile.
pub(super) unsafe fn product<T: Float>(sizes: [usize; 3], a: Matrix<T>, b: Matrix<T>, c: MatrixMut<T>, held: Held<T>, band: Band) {
    debug_assert!(b.column == 1 && c.column == 1);
    T::run(Product { sizes, a, b, c, held, band });
}

/// The work of [`product`], whose promises hold for whoever makes one.
struct Product<T> {
    sizes: [usize; 3],
    a: Matrix<T>,
    b: Matrix<T>,
    c: MatrixMut<T>,
    held: Held<T>,
    band: Band,
}

impl<T: Float> Kernel for Product<T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self) {
        let Product { sizes: [m, n, k], a, b, c, held, band } = self;
        const { assert!(REGISTERS.is_multiple_of(T::Vector::<S>::LANES)) };
        let (lanes, most) = (T::Vector::<S>::LANES, T::Vector::<S>::TILE_ROWS);
        let registers = n.div_ceil(lanes);
        let panels = registers.div_ceil(if most == 12 { 4 } else { 2 });
        for panel in 0..panels {
            let first = registers * panel / panels;
            let vectors = registers * (panel + 1) / panels - first;
            let (b, c) = (b.from(0, first * lanes), c.from(0, first * lanes));
            let mut top = 0;
            while top < m {
                let rows = match m - top {
                    left if left >= (2 * most / vectors).min(most) => (2 * most / vectors).min(most),
                    left if left >= 4 => 4,
                    left => left.min(2),
                };
                let held = if let Held::Scaled(factors) = held { Held::Scaled(factors.wrapping_add(top)) } else { held };
                let place = |shift: isize, row: usize, most: usize| (shift + row as isize).clamp(0, most as isize) as usize;
                let (left, steps) = match band {
                    Band::Left(shift) => (place(shift, top, k), k),
                    Band::Right(shift) => (0, place(shift, top + rows - 1, k)),
                    Band::Full | Band::Result(_) => (0, k),
                };
                let unseen = if let Band::Result(shift) = band { (place(shift, top, n) / lanes).saturating_sub(first).min(vectors) } else { 0 };
                if unseen < vectors {
                    let (a, b, c) = (a.from(top, left), b.from(left, unseen * lanes), c.from(top, unseen * lanes));
                    // SAFETY: the strip lies in the product, and the level is checked.
                    unsafe { strip::<S, T>((rows, vectors - unseen), Strip { k: steps - left, a, b, c, held }) };
                }
                top += rows;
            }
        }
    }
}

/// Some rows of C, held in registers.
struct Strip<T, const ROWS: usize, const VECTORS: usize> {
    k: usize,
    a: Matrix<T>,
    b: Matrix<T>,
    c: MatrixMut<T>,
    held: Held<T>,
}

impl<T> Strip<T, 0, 0> {
    fn sized<const ROWS: usize, const VECTORS: usize>(self) -> Strip<T, ROWS, VECTORS> {
        Strip { k: self.k, a: self.a, b: self.b, c: self.c, held: self.held }
    }
}

/// The strip of `rows` x `vectors`, each size compiled exactly, as a function of its own.
///
/// # Safety
/// As for [`product`], at a level that is checked.
#[inline(always)]
unsafe fn strip<S: Simd, T: Float>((rows, vectors): (usize, usize), strip: Strip<T, 0, 0>) {
    macro_rules! dispatch {
        ($($rows:literal $vectors:literal),*) => {
            // SAFETY: the caller's promises.
            unsafe {
                match (rows, vectors) {
                    $(
                        ($rows, $vectors) if $rows <= T::Vector::<S>::TILE_ROWS && $rows * $vectors <= 2 * T::Vector::<S>::TILE_ROWS => {
                            S::apart(strip.sized::<$rows, $vectors>())
                        }
                    )*
                    _ => unreachable!("no kernel for {rows} rows and {vectors} registers"),
                }
            }
        };
    }
    dispatch!(6 4, 6 3, 6 2, 6 1, 8 3, 8 2, 8 1, 12 2, 12 1, 4 4, 4 3, 4 2, 4 1, 2 4, 2 3, 2 2, 2 1, 1 4, 1 3, 1 2, 1 1);
}

impl<T: Float, const ROWS: usize, const VECTORS: usize> Kernel for Strip<T, ROWS, VECTORS> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self) {
        // SAFETY: the level is checked, and the maker vouches for the matrices.
        unsafe { self.compute::<T::Vector<S>>() }
    }
}

impl<T: Float, const ROWS: usize, const VECTORS: usize> Strip<T, ROWS, VECTORS> {
    /// # Safety
    /// The level of V must be checked, and the promises of [`product`] hold.
    #[inline(always)]
    unsafe fn compute<V: Vector<Element = T>>(self) {
        let Strip { k, a, b, c, held } = self;
        // SAFETY: the caller's promises: the loop reads `ROWS` x `k` of A and `k` x `VECTORS` registers of B, the rest touches as many of C.
        unsafe {
            let mut sums = [[V::splat(T::zero()); VECTORS]; ROWS];
            // A row's place by threes, each a pointer plus 0, 1 or 2 strides. `black_box` keeps the compiler from seeing one chain of additions in them.
            let mut groups = [a.start; 4];
            for (g, group) in groups.iter_mut().enumerate().take(ROWS.div_ceil(3)) {
                *group = a.start.wrapping_offset(3 * g as isize * black_box(a.row));
            }
            let mut right_at = b.start;
            for _ in 0..k {
                let mut right = [V::splat(T::zero()); VECTORS];
                for (v, right) in right.iter_mut().enumerate() {
                    *right = V::load(right_at.add(v * V::LANES));
                }
                for (i, sums) in sums.iter_mut().enumerate() {
                    let left = V::splat(*groups[i / 3].wrapping_offset((i % 3) as isize * a.row));
                    for (sum, right) in sums.iter_mut().zip(right) {
                        *sum = left.mul_add(right, *sum);
                    }
                }
                for group in &mut groups {
                    *group = group.wrapping_offset(a.column);
                }
                right_at = right_at.wrapping_offset(b.row);
            }
            let place = |i: usize, v: usize| c.start.wrapping_offset(i as isize * c.row).wrapping_add(v * V::LANES);
            for (i, sums) in sums.iter_mut().enumerate() {
                for (v, sum) in sums.iter_mut().enumerate() {
                    match held {
                        Held::Dropped => {}
                        Held::Added => *sum = sum.add(V::load(place(i, v))),
                        Held::Scaled(factors) => *sum = V::splat(*factors.add(i)).mul_add(V::load(place(i, v)), *sum),
                    }
                    sum.store(place(i, v));
                }
            }
        }
    }
}
