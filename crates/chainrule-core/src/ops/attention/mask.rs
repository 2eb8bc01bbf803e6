//! What queries do not see.

use super::problem::{Heads, Problem};
use super::tile::{PIECE, Part, Tile};
use crate::array::Array;
use crate::dtype::DType;
use crate::float::Float;
use crate::gemm::Matrix;
use crate::simd::{Simd, Vector};
use std::f64::consts::LOG2_E;

/// The masks of all heads.
pub(super) struct Masks<T> {
    given: Option<Given<T>>,
    causal: Option<usize>,
}

enum Given<T> {
    /// 0 hides.
    Boolean(Heads<u8>),
    /// Is added.
    Additive(Heads<T>),
}

impl<T: Float> Masks<T> {
    pub fn new(problem: &Problem) -> Masks<T> {
        let given = |mask: &Array| match mask.dtype() {
            DType::U8 => Given::Boolean(Heads::of(mask)),
            _ => Given::Additive(Heads::of(mask)),
        };
        Masks { given: problem.mask.as_ref().map(given), causal: problem.causal }
    }

    /// Masks the scores of a part.
    #[inline(always)]
    pub fn apply<S: Simd>(&self, part: &Part, tile: &mut Tile<T>) {
        match &self.given {
            None => {}
            Some(Given::Boolean(mask)) => {
                let mask = mask.matrix(part.head).from(part.queries.start, part.keys.start);
                let read = |x: u8| if x == 0 { T::neg_infinity() } else { T::zero() };
                combine::<S, T, u8>(mask, part, tile, read, |x, mask| if mask == T::zero() { x } else { mask });
            }
            Some(Given::Additive(mask)) => {
                let mask = mask.matrix(part.head).from(part.queries.start, part.keys.start);
                // A finite number stays finite: the lowest one is a common way to hide.
                let scaled = |x: T| {
                    let y = x * T::from_f64(LOG2_E);
                    if x.is_finite() { y.max(T::min_value()).min(T::max_value()) } else { y }
                };
                combine::<S, T, T>(mask, part, tile, scaled, |x, mask| x + mask);
            }
        }
        // The first query that sees a key is `key - past`.
        let Some(past) = self.causal else { return };
        let seen_by_all = past.saturating_add(part.queries.start).saturating_add(1).max(part.keys.start);
        for key in seen_by_all..part.keys.end {
            let hidden = (key - past - part.queries.start).min(part.queries.len());
            tile.row(key - part.keys.start).as_flattened_mut()[..hidden].fill(T::neg_infinity());
        }
    }
}

/// Changes the scores of a part by a mask, whose elements are read square by square and then turned, because a tile has a row for each key.
#[inline(always)]
fn combine<S: Simd, T: Float, M: Copy>(mask: Matrix<M>, part: &Part, tile: &mut Tile<T>, read: impl Fn(M) -> T, change: impl Fn(T, T) -> T) {
    let lanes = T::Vector::<S>::LANES;
    let (mut square, mut turned) = ([[T::zero(); PIECE]; PIECE], [[T::zero(); PIECE]; PIECE]);
    for left in (0..part.queries.len()).step_by(PIECE) {
        for top in (0..part.keys.len()).step_by(PIECE) {
            let (width, height) = ((part.queries.len() - left).min(PIECE), (part.keys.len() - top).min(PIECE));
            for (i, row) in square.iter_mut().enumerate().take(width) {
                let from = mask.from(left + i, top);
                for (j, x) in row.iter_mut().enumerate().take(height) {
                    // SAFETY: the mask has been stretched to all queries and keys.
                    *x = read(unsafe { *from.start.wrapping_offset(j as isize * from.column) });
                }
            }
            for (i, j) in (0..PIECE).step_by(lanes).flat_map(|i| (0..PIECE).step_by(lanes).map(move |j| (i, j))) {
                // SAFETY: the level is checked; this part of the square is as large as what is written.
                unsafe { T::Vector::<S>::transpose(square.as_ptr().cast::<T>().add(i * PIECE + j), PIECE, lanes, lanes, turned.as_mut_ptr().cast()) };
                for (key, turned) in (top + j..part.keys.len()).zip(turned.as_flattened().chunks_exact(lanes)).take(lanes) {
                    for (x, mask) in tile.piece(key, left / PIECE)[i..i + lanes].iter_mut().zip(turned) {
                        *x = change(*x, *mask);
                    }
                }
            }
        }
    }
}
