//! Sums, maxima and exponentials of one dense row, for kernels that reduce.
//!
//! Every sum has a fixed tree: blocks of [`BLOCK`] numbers are added in four registers, and blocks in order in f64. So a row has one sum at a level, whoever computes it,
//! and the rounding error does not grow with its length.

use crate::float::Float;
use crate::simd::{Real, Simd, Vector};

/// The numbers that are added in the element type before the sum is carried on in f64.
const BLOCK: usize = 4096;

/// The width of the pieces in which exponentials are computed.
const PIECE: usize = 16;

/// What [`fold`] adds up: `N` sums that are formed side by side.
pub(crate) trait Terms<T: Float, const N: usize> {
    /// Adds the terms `at .. at + count` to the sums; `count` is the number of lanes, or fewer at the end of a row.
    ///
    /// # Safety
    /// Runs inside [`crate::simd::run`], for terms that lie inside the rows.
    unsafe fn add<S: Simd>(&self, sums: [T::Vector<S>; N], at: usize, count: usize) -> [T::Vector<S>; N];
}

/// `count <= LANES` numbers from `at` on, the other lanes zero.
///
/// # Safety
/// Runs inside [`crate::simd::run`]; the numbers lie inside the row.
#[inline(always)]
pub(crate) unsafe fn load<S: Simd, T: Float>(x: &[T], at: usize, count: usize) -> T::Vector<S> {
    debug_assert!(at + count <= x.len());
    // SAFETY: the caller's promise.
    unsafe {
        let from = x.as_ptr().add(at);
        if count == T::Vector::<S>::LANES { T::Vector::<S>::load(from) } else { T::Vector::<S>::load_first(from, count) }
    }
}

/// Puts `count <= LANES` numbers from `at` on.
///
/// # Safety
/// As for [`load`].
#[inline(always)]
pub(crate) unsafe fn store<S: Simd, T: Float>(value: T::Vector<S>, x: &mut [T], at: usize, count: usize) {
    debug_assert!(at + count <= x.len());
    // SAFETY: the caller's promise.
    unsafe {
        let to = x.as_mut_ptr().add(at);
        if count == T::Vector::<S>::LANES { value.store(to) } else { value.store_first(to, count) }
    }
}

/// The sums over `count` terms.
///
/// # Safety
/// Runs inside [`crate::simd::run`]; `count` is within the rows that the terms read.
#[inline(always)]
pub(crate) unsafe fn fold<S: Simd, T: Float, const N: usize>(count: usize, terms: impl Terms<T, N>) -> [f64; N] {
    let lanes = T::Vector::<S>::LANES;
    let mut totals = [0.0; N];
    let mut start = 0;
    while start < count {
        let end = (start + BLOCK).min(count);
        // SAFETY: the caller's promise; terms stay below `end`.
        unsafe {
            let mut sums = [[T::Vector::<S>::splat(T::zero()); N]; 4];
            let mut at = start;
            while at + 4 * lanes <= end {
                for (k, sums) in sums.iter_mut().enumerate() {
                    *sums = terms.add::<S>(*sums, at + k * lanes, lanes);
                }
                at += 4 * lanes;
            }
            while at + lanes <= end {
                sums[0] = terms.add::<S>(sums[0], at, lanes);
                at += lanes;
            }
            if at < end {
                sums[1] = terms.add::<S>(sums[1], at, end - at);
            }
            for (n, total) in totals.iter_mut().enumerate() {
                *total += sums[0][n].add(sums[1][n]).add(sums[2][n].add(sums[3][n])).sum().to_f64();
            }
        }
        start = end;
    }
    totals
}

struct Plain<'a, T>(&'a [T]);
impl<T: Float> Terms<T, 1> for Plain<'_, T> {
    #[inline(always)]
    unsafe fn add<S: Simd>(&self, [sum]: [T::Vector<S>; 1], at: usize, count: usize) -> [T::Vector<S>; 1] {
        // SAFETY: the caller's promise.
        unsafe { [sum.add(load::<S, T>(self.0, at, count))] }
    }
}

/// sum x
///
/// # Safety
/// Runs inside [`crate::simd::run`].
#[inline(always)]
pub(crate) unsafe fn sum<S: Simd, T: Float>(x: &[T]) -> f64 {
    // SAFETY: the terms lie inside `x`.
    unsafe { fold::<S, T, 1>(x.len(), Plain(x))[0] }
}

struct Products<'a, T>(&'a [T], &'a [T]);
impl<T: Float> Terms<T, 1> for Products<'_, T> {
    #[inline(always)]
    unsafe fn add<S: Simd>(&self, [sum]: [T::Vector<S>; 1], at: usize, count: usize) -> [T::Vector<S>; 1] {
        // SAFETY: the caller's promise.
        unsafe { [load::<S, T>(self.0, at, count).mul_add(load::<S, T>(self.1, at, count), sum)] }
    }
}

/// sum x y over rows of one length
///
/// # Safety
/// Runs inside [`crate::simd::run`].
#[inline(always)]
pub(crate) unsafe fn dot<S: Simd, T: Float>(x: &[T], y: &[T]) -> f64 {
    // SAFETY: the terms lie inside both rows.
    unsafe { fold::<S, T, 1>(x.len().min(y.len()), Products(x, y))[0] }
}

struct Distances<'a, T>(&'a [T], [T; 16]);
impl<T: Float> Terms<T, 2> for Distances<'_, T> {
    #[inline(always)]
    unsafe fn add<S: Simd>(&self, [sum, squares]: [T::Vector<S>; 2], at: usize, count: usize) -> [T::Vector<S>; 2] {
        // SAFETY: the caller's promise; no level has more than 16 lanes. Lanes beyond `count` are zero in both operands.
        unsafe {
            let minus = T::Vector::<S>::splat(-T::one());
            let distance = load::<S, T>(&self.1, 0, count).mul_add(minus, load::<S, T>(self.0, at, count));
            [sum.add(distance), distance.mul_add(distance, squares)]
        }
    }
}

/// sum (x - centre) and sum (x - centre)²
///
/// # Safety
/// Runs inside [`crate::simd::run`].
#[inline(always)]
pub(crate) unsafe fn distances<S: Simd, T: Float>(x: &[T], centre: T) -> [f64; 2] {
    // SAFETY: the terms lie inside `x`.
    unsafe { fold::<S, T, 2>(x.len(), Distances(x, [centre; 16])) }
}

/// The largest number, NaN left out; -infinity for an empty row.
///
/// # Safety
/// Runs inside [`crate::simd::run`].
#[inline(always)]
pub(crate) unsafe fn max<S: Simd, T: Float>(x: &[T]) -> T {
    let lanes = T::Vector::<S>::LANES;
    let larger = |a: T, b: T| if b > a { b } else { a };
    if x.len() < lanes {
        return x.iter().copied().fold(T::neg_infinity(), larger);
    }
    let last = x.len() - lanes;
    let mut found = [T::neg_infinity(); 16];
    // SAFETY: loads end at the row's end at the latest; no level has more than 16 lanes. The last load may overlap: a maximum can be taken twice.
    unsafe {
        let mut most = [T::Vector::<S>::splat(T::neg_infinity()); 4];
        let mut at = 0;
        while at + 4 * lanes <= x.len() {
            for (k, most) in most.iter_mut().enumerate() {
                *most = load::<S, T>(x, at + k * lanes, lanes).max(*most);
            }
            at += 4 * lanes;
        }
        while at < last {
            most[0] = load::<S, T>(x, at, lanes).max(most[0]);
            at += lanes;
        }
        most[1] = load::<S, T>(x, last, lanes).max(most[1]);
        most[0].max(most[1]).max(most[2].max(most[3])).store(found.as_mut_ptr());
    }
    let mut half = lanes / 2;
    while half > 0 {
        (0..half).for_each(|i| found[i] = larger(found[i], found[i + half]));
        half /= 2;
    }
    found[0]
}

/// out = exp(x - shift); the rows have one length
#[inline(always)]
pub(crate) fn exponentials<S: Simd, T: Float>(x: &[T], shift: T, out: &mut [T]) {
    let shift = T::Real::<S>::wrap(shift);
    let length = x.len();
    let (x, rest) = x.as_chunks::<PIECE>();
    let (out, rest_out) = out.as_chunks_mut::<PIECE>();
    for (x, out) in x.iter().zip(out) {
        // Rows mostly follow one another: meanwhile memory brings the next.
        T::Vector::<S>::prefetch(x.as_ptr().wrapping_add(length));
        T::Vector::<S>::prefetch(out.as_ptr().wrapping_add(length));
        for i in 0..PIECE {
            out[i] = (T::Real::<S>::wrap(x[i]) - shift).exp().number();
        }
    }
    if !rest.is_empty() {
        // A padded piece costs one vector computation; the rest of the row one by one would cost up to fifteen scalar ones.
        let mut piece = [T::zero(); PIECE];
        piece[..rest.len()].copy_from_slice(rest);
        for x in &mut piece {
            *x = (T::Real::<S>::wrap(*x) - shift).exp().number();
        }
        rest_out.copy_from_slice(&piece[..rest.len()]);
    }
}

/// sum exp(x - shift)
///
/// # Safety
/// Runs inside [`crate::simd::run`].
#[inline(always)]
pub(crate) unsafe fn exponential_sum<S: Simd, T: Float>(x: &[T], shift: T) -> f64 {
    let mut kept = [T::zero(); 16 * PIECE];
    let mut total = 0.0;
    for x in x.chunks(16 * PIECE) {
        let kept = &mut kept[..x.len()];
        exponentials::<S, T>(x, shift, kept);
        // SAFETY: the caller's promise.
        total += unsafe { sum::<S, T>(kept) };
    }
    total
}
