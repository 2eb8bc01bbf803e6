//! Scaled dot-product attention in tiles: the weights `[L, S]` never exist as a whole.
//!
//! With queries Q `[L, E]`, keys K `[S, E]` and values V `[S, V]` of one head, and a mask M that is added to the scores:
//! `O = softmax(scale · Q Kᵀ + M) V`, of shape `[L, V]`. The softmax runs along the tiles of keys with a running maximum and sum; of the forward pass only O and the
//! logarithm of the sum (to base 2) are kept, `[L]`, from which the backward pass computes the weights anew, tile by tile:
//! with W the weights, `D_i = sum_v dO_iv O_iv` and `dA = W ∘ (dO Vᵀ - D)`: `dV = Wᵀ dO`, `dQ = scale · dA K`, `dK = scale · dAᵀ Q` (Dao et al. 2022, "FlashAttention").
//!
//! A tile of scores lies with keys down and queries across, so that maxima and sums run along registers and keys and values are read where they lie;
//! only queries are turned, a block at a time. Sums of gradients stand in a task's own memory until they are whole.
//! A causal mask costs nothing where it hides all, and inside a tile the products leave out what it hides.
//! A query that sees no key gets zeros, and gives no gradient, as in PyTorch.

mod backward;
mod forward;
mod mask;
mod problem;
mod product;
mod scratch;
#[cfg(test)]
mod tests;
mod tile;

pub use backward::attention_backward;
pub use forward::{Attended, attention};

use crate::array::Array;
use crate::error::{Error, Result};
use crate::float::{Float, with_float};
use crate::ops::on_cpu;
use crate::random;
use problem::QUERIES;

/// How queries attend to keys.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Options {
    /// With `Some(past)`, query `i` sees only the keys `j <= past + i`; `past` counts the keys that came before the first query, as in a cache.
    pub causal: Option<usize>,
    /// The factor of the scores, `1/sqrt(E)` unless given.
    pub scale: Option<f64>,
    /// The rate at which weights are dropped, and the random stream that says which.
    pub dropout: Option<(f64, u64)>,
}

/// `weights [.., H, L, S]` with those dropped that [`attention`] with the same rate and stream drops, the others divided by `1 - rate`. Its own backward pass.
///
/// # Errors
/// A rate outside 0 to 1; fewer than two dimensions; an element type other than f32 and f64.
pub fn drop_weights(weights: &Array, rate: f64, stream: u64) -> Result<Array> {
    const OP: &str = "attention_dropout";
    on_cpu!(OP, [weights]);
    check_rate(OP, rate)?;
    let &[.., queries, keys] = weights.dims() else {
        return Err(Error::shape(OP, format!("the weights have shape {:?}, expected [.., L, S]", weights.shape())));
    };
    let weights = weights.contiguous()?;
    let mut out = Array::stale(*weights.shape(), weights.dtype())?;
    with_float!(OP, weights.dtype(), T => {
        drop_all::<T>(weights.slice(), out.slice_mut(), [queries, keys], rate, stream);
        Ok(out)
    })
}

fn drop_all<T: Float>(weights: &[T], out: &mut [T], [queries, keys]: [usize; 2], rate: f64, stream: u64) {
    let (threshold, scale) = random::threshold_and_scale(rate);
    let scale = T::from_f64(scale);
    let size = (queries * keys).max(1);
    for (head, (weights, out)) in weights.chunks_exact(size).zip(out.chunks_exact_mut(size)).enumerate() {
        for first in (0..queries).step_by(QUERIES) {
            for key in 0..keys {
                let words = random::words(stream, 0, dropout_group(head, first, key, [queries, keys]));
                for (query, word) in (first..queries).zip(words) {
                    let at = query * keys + key;
                    out[at] = if (word as u64) < threshold { T::zero() } else { weights[at] * scale };
                }
            }
        }
    }
}

/// The group of random words that decides on the weights of one key for a block of queries from `first` on.
#[inline(always)]
fn dropout_group(head: usize, first: usize, key: usize, [queries, keys]: [usize; 2]) -> usize {
    (head * queries.div_ceil(QUERIES) + first / QUERIES) * keys + key
}

fn check_rate(op: &'static str, rate: f64) -> Result<()> {
    if (0.0..=1.0).contains(&rate) {
        return Ok(());
    }
    Err(Error::value(op, format!("the dropout rate is {rate}, expected 0 to 1")))
}
