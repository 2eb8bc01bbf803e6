//! The walk over all windows of some planes, in pieces whose numbers stand side by side in registers.

use super::{Planes, Pool2d};
use crate::float::Float;

/// Windows of a piece.
pub(super) const PIECE: usize = 16;

/// The most taps of a window that is taken in pieces.
const TAPS: usize = 256;

/// A position of a window: its distance from the window's start in memory, and its place in the window.
pub(super) type Tap = (usize, usize);

/// What is done with windows. Windows are counted over all planes.
pub(super) trait Reduce<T: Float> {
    /// Takes `count <= PIECE` windows from `at` on, `STRIDE` numbers apart, the first of which starts with `x`. All have all the taps.
    /// `SPAN = STRIDE · PIECE` numbers are read at each tap; false, and nothing done, if memory ends before.
    fn piece<const STRIDE: usize, const SPAN: usize>(&mut self, x: &[T], taps: &[Tap], at: usize, count: usize) -> bool;
    /// What a window gathers that is taken tap by tap, and its start.
    type State;
    fn start() -> Self::State;
    /// Takes the number `x` at a place of the window.
    fn take(state: &mut Self::State, x: T, place: usize);
    /// Ends window `at`.
    fn end(&mut self, state: Self::State, at: usize);
}

/// `PIECE` numbers `STRIDE` apart, read as whole registers.
#[inline(always)]
pub(super) fn spaced<T: Float, const STRIDE: usize, const SPAN: usize>(x: &[T], at: usize) -> Option<[T; PIECE]> {
    let x = *x.get(at..)?.first_chunk::<SPAN>()?;
    Some(std::array::from_fn(|k| x[k * STRIDE]))
}

/// Puts `count` windows of a piece in their place. A whole piece is written where there is room: what it writes beyond its windows, the walk, which goes forward, writes again.
#[inline(always)]
pub(super) fn put<T: Copy>(piece: [T; PIECE], to: &mut [T], count: usize) {
    match to.first_chunk_mut::<PIECE>() {
        Some(to) => *to = piece,
        None => to.iter_mut().zip(piece).take(count).for_each(|(to, x)| *to = x),
    }
}

/// Walks over the windows of the planes that `x` holds.
#[inline(always)]
pub(super) fn walk<T: Float, R: Reduce<T>>(pool: &Pool2d, planes: Planes, x: &[T], reduce: &mut R) {
    let Planes { input: [height, width], output: [rows, columns], .. } = planes;
    let (stride, inside) = (pool.stride[1], pool.inside(width, columns));
    let (mut taps, mut count) = ([Tap::default(); TAPS], 0);
    // Larger windows are taken tap by tap.
    let inside = if pool.kernel[0].saturating_mul(pool.kernel[1]) > TAPS { inside.start..inside.start } else { inside };
    for row in 0..x.len() / (height * width) * rows {
        let (plane, first) = (&x[row / rows * height * width..], row * columns);
        let lines = pool.taps(0, row % rows, height).map(|i| (i, pool.start(0, row % rows, i)));
        let mut done = inside.start;
        if !inside.is_empty() {
            let all = lines.clone().flat_map(|(i, line)| (0..pool.kernel[1]).map(move |j| (line * width + j * pool.dilation[1], i * pool.kernel[1] + j)));
            count = 0;
            for (tap, place) in taps.iter_mut().zip(all) {
                *tap = place;
                count += 1;
            }
        }
        while done < inside.end {
            let (x, pieces, taps) = (&plane[pool.start(1, done, 0)..], PIECE.min(inside.end - done), &taps[..count]);
            let taken = match stride {
                1 => reduce.piece::<1, PIECE>(x, taps, first + done, pieces),
                2 => reduce.piece::<2, { 2 * PIECE }>(x, taps, first + done, pieces),
                3 => reduce.piece::<3, { 3 * PIECE }>(x, taps, first + done, pieces),
                _ => false,
            };
            if !taken {
                break;
            }
            done += pieces;
        }
        for o in (0..inside.start).chain(done..columns) {
            let across = pool.taps(1, o, width);
            let mut state = R::start();
            for (i, line) in lines.clone() {
                for j in across.clone() {
                    R::take(&mut state, plane[line * width + pool.start(1, o, j)], i * pool.kernel[1] + j);
                }
            }
            reduce.end(state, first + o);
        }
    }
}
