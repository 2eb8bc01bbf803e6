//! Scaled dot-product attention: one fused kernel that keeps no weights; where the pass is recorded, or an additive mask needs its gradient, the formula in operations on tensors.
//!
//! With W the weights, `dA = W ∘ (dW - sum dW W)` for `dW = dO Vᵀ`: `dV = Wᵀ dO`, `dQ = scale · dA K`, `dK = scale · dAᵀ Q`, and `dA` is the gradient of the mask.
//! Dropout stands between W and V, and so between `dO Vᵀ` and `dW`.

use super::precision::product;
use crate::{Array, DType, Error, Keep, Pass, Result, Tensor};
use chainrule_core::ops::attention::{self, Attended, Options};
use chainrule_core::ops::elementwise::{Comparison, compare};
use chainrule_core::ops::reduce;

/// How queries attend to keys, for [`Tensor::scaled_dot_product_attention`]. By default all to all.
#[derive(Clone, Debug, Default)]
pub struct Attention {
    /// With `Some(past)`, query `i` sees only the keys `j <= past + i`; `past` counts the keys from before the first query, as in a cache. `Some(0)` is PyTorch's `is_causal`.
    pub causal: Option<usize>,
    /// Of u8: 0 hides a key from a query. Of the queries' type: is added to the scores. Broadcasts to `[.., H, L, S]`.
    pub mask: Option<Tensor>,
    /// The factor of the scores, `1/sqrt(E)` unless given.
    pub scale: Option<f64>,
    /// The rate at which weights are dropped in training.
    pub dropout: f64,
}

impl Tensor {
    /// `softmax(scale · Q Kᵀ + mask) V` of these queries: `[.., H, L, E], [.., H, S, E], [.., H, S, V] -> [.., H, L, V]` (PyTorch's `scaled_dot_product_attention`).
    /// Keys and values may have fewer heads than queries, each of which then serves as many queries' heads in a row (PyTorch's `enable_gqa`).
    ///
    /// Memory is linear in L and S (Dao et al. 2022, "FlashAttention"). A query that sees no key gets zeros.
    /// ```
    /// # use chainrule_autograd::{Attention, DType, Tensor};
    /// let (q, k, v) = (Tensor::ones(&[1, 2, 4], DType::F32)?, Tensor::ones(&[1, 2, 4], DType::F32)?, Tensor::arange(0.0, 2.0, 1.0, DType::F32)?.reshape(&[1, 2, 1])?);
    /// let causal = Attention { causal: Some(0), ..Attention::default() };
    /// assert_eq!(q.scaled_dot_product_attention(&k, &v, &causal)?.to_vec::<f32>()?, [0.0, 0.5]);
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// Shapes that do not fit; different element types, or other ones than f32 and f64; a dropout rate outside 0 to 1.
    pub fn scaled_dot_product_attention(&self, key: &Tensor, value: &Tensor, how: &Attention) -> Result<Tensor> {
        product([self, key, value], |[query, key, value]| query.attend(key, value, how))
    }

    fn attend(&self, key: &Tensor, value: &Tensor, how: &Attention) -> Result<Tensor> {
        const OP: &str = "scaled_dot_product_attention";
        if !(0.0..=1.0).contains(&how.dropout) {
            return Err(Error::value(OP, format!("the dropout rate is {}, expected 0 to 1", how.dropout)));
        }
        let stream = if how.dropout > 0.0 && self.is_training() { self.random_stream() } else { None };
        let options = Options { causal: how.causal, scale: how.scale, dropout: stream.map(|stream| (how.dropout, stream.word())) };
        let mask = how.mask.as_ref();
        let Attended { output, log2_sum } = attention::attention(&self.array, &key.array, &value.array, mask.map(|m| &m.array), &options)?;
        let all = [self, key, value, mask.unwrap_or(value)];
        let masked = mask.is_some();
        Tensor::record_many("scaled_dot_product_attention", &all[..3 + masked as usize], Keep::INPUTS.and(Keep::OUTPUT), output, move |pass, out| {
            if pass.recorded() || pass.needs(3) {
                for (slot, gradient) in out.iter_mut().zip(composed(pass, masked, &options)?) {
                    *slot = gradient;
                }
                return Ok(());
            }
            let [query, key, value] = [pass.input_array(0)?, pass.input_array(1)?, pass.input_array(2)?];
            let mask = if masked { Some(pass.input_array(3)?) } else { None };
            let needed = [0, 1, 2].map(|i| pass.needs(i));
            let gradients = attention::attention_backward(&pass.grad().array, query, key, value, mask, pass.output_array()?, &log2_sum, &options, needed)?;
            for (slot, gradient) in out.iter_mut().zip(gradients) {
                *slot = gradient.map(Tensor::off);
            }
            Ok(())
        })
    }
}

/// The gradients of query, key, value and mask.
fn composed(pass: &Pass, masked: bool, options: &Options) -> Result<[Option<Tensor>; 4]> {
    let [query, key, value] = [pass.input(0)?, pass.input(1)?, pass.input(2)?];
    let mask = if masked { Some(pass.input(3)?) } else { None };
    let heads = Heads::of(&query, &key);
    let scale = options.scale.unwrap_or_else(|| 1.0 / (query.dims()[query.rank() - 1].max(1) as f64).sqrt());
    let (query, key, value, grad) = (heads.split(&query)?, heads.shared(&key)?, heads.shared(&value)?, heads.split(pass.grad())?);

    let scores = heads.joined(&query.matmul(&key.transpose(-1, -2)?)?)?.mul_scalar(scale)?;
    let weights = softmax(scores, mask.as_ref(), options.causal)?;
    let by_weights = dropped(&heads.joined(&grad.matmul(&value.transpose(-1, -2)?)?)?, options)?;
    let by_scores = weights.mul(&by_weights.sub(&by_weights.mul(&weights)?.sum_over(&[-1], true)?)?)?;

    let by_products = heads.split(&by_scores.mul_scalar(scale)?)?;
    Ok([
        pass.when(0, || heads.joined(&by_products.matmul(&key)?))?,
        pass.when(1, || heads.summed(&by_products.transpose(-1, -2)?.matmul(&query)?))?,
        pass.when(2, || heads.summed(&heads.split(&dropped(&weights, options)?)?.transpose(-1, -2)?.matmul(&grad)?))?,
        pass.when(3, || by_scores.sum_to(pass.input_dims(3)))?,
    ])
}

/// The softmax of scores `[.., H, L, S]` under the mask; zeros in rows that see nothing.
fn softmax(mut scores: Tensor, mask: Option<&Tensor>, causal: Option<usize>) -> Result<Tensor> {
    let lowest = f64::NEG_INFINITY;
    match mask {
        Some(mask) if mask.dtype() == DType::U8 => scores = scores.masked_fill(&mask.logical_not()?, lowest)?,
        Some(mask) => scores = scores.add(mask)?,
        None => {}
    }
    let &[.., queries, keys] = scores.dims() else { return scores.softmax(-1) };
    if let Some(past) = causal {
        let hidden = Array::from_index(&[queries, keys], DType::U8, |i| (i % keys > (i / keys).saturating_add(past)) as u8 as f64)?.to(&scores.device())?;
        scores = scores.masked_fill(&hidden.into(), lowest)?;
    }
    if scores.count() == 0 {
        return scores.softmax(-1);
    }
    let (most, _) = reduce::max(&scores.array, -1, true)?;
    let blind = Tensor::from(compare(Comparison::Equal, &most, &Array::scalar(lowest, most.dtype())?)?);
    scores.masked_fill(&blind, 0.0)?.softmax(-1)?.masked_fill(&blind, 0.0)
}

/// Linear in the weights, and so its own rule.
fn dropped(weights: &Tensor, options: &Options) -> Result<Tensor> {
    let Some((rate, stream)) = options.dropout else { return Ok(weights.clone()) };
    let y = attention::drop_weights(&weights.array, rate, stream)?;
    let options = *options;
    Tensor::record("attention_dropout", [weights], Keep::NONE, y, move |pass| Ok([Some(dropped(pass.grad(), &options)?)]))
}

/// Which heads of queries share one head of keys and values.
struct Heads {
    shared: usize,
    group: usize,
}

impl Heads {
    fn of(query: &Tensor, key: &Tensor) -> Heads {
        let heads = |x: &Tensor| x.rank().checked_sub(3).map_or(1, |at| x.dims()[at]);
        let shared = heads(key);
        Heads { shared, group: heads(query).checked_div(shared).unwrap_or(1) }
    }
    /// `[.., H, rows, columns] -> [.., H/group, group, rows, columns]`
    fn split(&self, x: &Tensor) -> Result<Tensor> {
        match x.dims() {
            [batch @ .., _, rows, columns] if self.group > 1 => x.reshape(&[batch, &[self.shared, self.group, *rows, *columns]].concat()),
            _ => Ok(x.clone()),
        }
    }
    /// `[.., H/group, rows, columns] -> [.., H/group, 1, rows, columns]`
    fn shared(&self, x: &Tensor) -> Result<Tensor> {
        if self.group > 1 { x.unsqueeze(-3) } else { Ok(x.clone()) }
    }
    /// Undoes [`split`](Heads::split).
    fn joined(&self, x: &Tensor) -> Result<Tensor> {
        match x.dims() {
            [batch @ .., _, _, rows, columns] if self.group > 1 => x.reshape(&[batch, &[self.shared * self.group, *rows, *columns]].concat()),
            _ => Ok(x.clone()),
        }
    }
    /// `[.., H/group, group, rows, columns] -> [.., H/group, rows, columns]`, added up over the heads that share.
    fn summed(&self, x: &Tensor) -> Result<Tensor> {
        if self.group > 1 { x.sum_over(&[-3], false) } else { Ok(x.clone()) }
    }
}
