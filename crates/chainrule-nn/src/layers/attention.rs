//! Attention of several heads (PyTorch's `MultiheadAttention`; Vaswani et al. 2017).

use super::cache::KeyValueCache;
use super::{Linear, RotaryPositions};
use crate::adapter::{BoxedAdapter, Operation, Site, SiteMut, held, visit_weight, visit_weight_mut};
use crate::init::Init;
use crate::{Adapter, Kind, Layer, Module, Param, Path, Visitor, VisitorMut, observed};
use chainrule_autograd::{Array, Attention, DType, Error, Result, Rng, Tensor};
use std::ops::Range;

/// Which keys a query sees. By default all.
///
/// In masks of u8 a 1 stands for what is seen, as in [`Attention`]; PyTorch's `MultiheadAttention` has a 1 for what is hidden. Other masks are added to the scores, as there.
#[derive(Clone, Debug, Default)]
pub struct Masks {
    /// Query `i` sees the keys up to `i` only.
    pub causal: bool,
    /// What query sees what key; broadcasts to `[N, H, L, S]` (PyTorch's `attn_mask`).
    pub attention: Option<Tensor>,
    /// What keys are seen by any query, `[N, S]` (PyTorch's `key_padding_mask`).
    pub keys: Option<Tensor>,
}

impl Masks {
    /// Query `i` sees the keys up to `i` only.
    pub fn causal() -> Masks {
        Masks { causal: true, ..Masks::default() }
    }

    /// Both masks as one that broadcasts to `[N, H, L, S]`.
    fn together(&self) -> Result<Option<Tensor>> {
        const HIDDEN: f64 = f64::NEG_INFINITY;
        let keys = self.keys.as_ref().map(|keys| keys.unsqueeze(-2)?.unsqueeze(-2)).transpose()?;
        let (Some(attention), Some(keys)) = (&self.attention, &keys) else { return Ok(keys.or_else(|| self.attention.clone())) };
        let both = match [attention, keys].map(|mask| mask.dtype() == DType::U8) {
            [true, true] => attention.masked_fill(&keys.logical_not()?, 0.0)?,
            [false, true] => attention.masked_fill(&keys.logical_not()?, HIDDEN)?,
            [true, false] => keys.masked_fill(&attention.logical_not()?, HIDDEN)?,
            [false, false] => attention.add(keys)?,
        };
        Ok(Some(both))
    }
}

/// `out_proj(concat_h softmax(Q_h K_hᵀ / sqrt(E)) V_h)` with `Q, K, V = in_proj(query, key, value)`, cut into H heads of E = D/H features: `[N, L, D], [N, S, D], [N, S, D] -> [N, L, D]`; N may lack.
///
/// The batch comes first (PyTorch's `batch_first=True`). As a [`Layer`] a sequence attends to itself. Weights of attention are never formed as a whole, and so not returned;
/// PyTorch's `bias_k`, `bias_v` and `add_zero_attn` are left out.
/// ```
/// # use chainrule_autograd::{DType, Rng, Tensor};
/// # use chainrule_nn::{Layer, Masks, MultiheadAttention};
/// let attention = MultiheadAttention::new(8, 2, &mut Rng::seeded(0))?;
/// let (x, memory) = (Tensor::ones(&[3, 5, 8], DType::F32)?, Tensor::ones(&[3, 7, 8], DType::F32)?);
/// assert_eq!(attention.run(&x)?.dims(), [3, 5, 8]);
/// assert_eq!(attention.attend(&x, &memory, &memory, &Masks::default())?.dims(), [3, 5, 8]);
/// # Ok::<(), chainrule_nn::Error>(())
/// ```
#[derive(Module, Clone)]
pub struct MultiheadAttention {
    /// What makes queries, keys and values; its parameters stand at this layer's own path.
    #[module(flatten)]
    pub in_proj: InProjection,
    /// `[D, D]`
    pub out_proj: Linear,
    /// H
    pub heads: usize,
    /// The rate at which weights of attention are dropped in training.
    pub dropout: f64,
    /// Turns queries and keys by their position.
    pub rotary: Option<RotaryPositions>,
}

/// How queries, keys and values are made.
#[derive(Module, Clone)]
#[allow(clippy::large_enum_variant, reason = "a layer has one")]
pub enum InProjection {
    /// From inputs of one width.
    Joint(JointProjection),
    /// From keys and values of other widths.
    Separate(SeparateProjections),
}

/// One matrix for all three: PyTorch's `in_proj_weight` and `in_proj_bias`.
#[derive(Clone)]
pub struct JointProjection {
    /// `[3 D, D]`: for queries, keys and values, one below the other.
    pub weight: Param,
    /// `[3 D]`
    pub bias: Option<Param>,
    /// What changes the result without touching the weight; its contents stand at `in_proj`.
    pub adapter: Option<BoxedAdapter>,
}

/// A matrix each.
#[derive(Clone)]
pub struct SeparateProjections {
    /// `[D, D]`
    pub q_proj_weight: Param,
    /// `[D, K]`, K being the width of keys.
    pub k_proj_weight: Param,
    /// `[D, V]`, V being the width of values.
    pub v_proj_weight: Param,
    /// `[3 D]`
    pub in_proj_bias: Option<Param>,
    /// What changes the products of queries, keys and values, before the bias is added; their contents stand at `q_proj`, `k_proj` and `v_proj`.
    pub adapters: [Option<BoxedAdapter>; 3],
}

impl MultiheadAttention {
    /// A layer of f32 for inputs of D = `features`: matrices uniform after Xavier, biases 0.
    ///
    /// # Errors
    /// Features that the heads do not divide; no memory.
    pub fn new(features: usize, heads: usize, rng: &mut Rng) -> Result<MultiheadAttention> {
        let weight = Param::new(xavier(&[features.saturating_mul(3), features], rng)?);
        let bias = Some(Param::new(Array::zeros(&[features.saturating_mul(3)], DType::F32)?));
        MultiheadAttention::around(InProjection::Joint(JointProjection { weight, bias, adapter: None }), features, heads, rng)
    }

    /// The same for keys and values of other widths (PyTorch's `kdim` and `vdim`).
    ///
    /// # Errors
    /// As for [`new`](MultiheadAttention::new).
    pub fn with_widths(features: usize, heads: usize, key_width: usize, value_width: usize, rng: &mut Rng) -> Result<MultiheadAttention> {
        let mut weight = |width: usize| Ok::<_, Error>(Param::new(xavier(&[features, width], rng)?));
        let separate = SeparateProjections {
            q_proj_weight: weight(features)?,
            k_proj_weight: weight(key_width)?,
            v_proj_weight: weight(value_width)?,
            in_proj_bias: Some(Param::new(Array::zeros(&[features.saturating_mul(3)], DType::F32)?)),
            adapters: [None, None, None],
        };
        MultiheadAttention::around(InProjection::Separate(separate), features, heads, rng)
    }

    fn around(in_proj: InProjection, features: usize, heads: usize, rng: &mut Rng) -> Result<MultiheadAttention> {
        if heads == 0 || !features.is_multiple_of(heads) {
            return Err(Error::value("multihead_attention", format!("{features} features cannot be divided among {heads} heads")));
        }
        let mut out_proj = Linear::new(features, features, rng)?;
        out_proj.bias = Some(Param::new(Array::zeros(&[features], DType::F32)?));
        Ok(MultiheadAttention { in_proj, out_proj, heads, dropout: 0.0, rotary: None })
    }

    /// Drops weights of attention in training.
    pub fn dropout(self, rate: f64) -> MultiheadAttention {
        MultiheadAttention { dropout: rate, ..self }
    }
    /// Turns queries and keys by their position before they meet.
    pub fn rotary(self, rotary: RotaryPositions) -> MultiheadAttention {
        MultiheadAttention { rotary: Some(rotary), ..self }
    }
    /// Without biases.
    pub fn without_bias(mut self) -> MultiheadAttention {
        match &mut self.in_proj {
            InProjection::Joint(joint) => joint.bias = None,
            InProjection::Separate(separate) => separate.in_proj_bias = None,
        }
        MultiheadAttention { out_proj: self.out_proj.without_bias(), ..self }
    }

    /// What the queries gather from keys and values: `[N, L, D], [N, S, K], [N, S, V] -> [N, L, D]`.
    ///
    /// # Errors
    /// Inputs or masks that do not fit.
    pub fn attend(&self, query: &Tensor, key: &Tensor, value: &Tensor, masks: &Masks) -> Result<Tensor> {
        let [query, key, value] = self.projected([query, key, value], 0)?;
        let how = Attention { causal: masks.causal.then_some(0), mask: masks.together()?, dropout: self.dropout, scale: None };
        self.gathered(&query, &key, &value, &how)
    }

    /// What new steps `[N, T, D]` gather from themselves and all earlier ones, each from those up to itself; the cache keeps their keys and values for the next call.
    /// ```
    /// # use chainrule_autograd::{DType, Rng, Tensor};
    /// # use chainrule_nn::{KeyValueCache, MultiheadAttention};
    /// let attention = MultiheadAttention::new(8, 2, &mut Rng::seeded(0))?;
    /// let mut cache = KeyValueCache::new();
    /// for steps in [3, 1, 1] {
    ///     attention.continued(&Tensor::ones(&[1, steps, 8], DType::F32)?, &mut cache)?;
    /// }
    /// assert_eq!(cache.len(), 5);
    /// # Ok::<(), chainrule_nn::Error>(())
    /// ```
    ///
    /// # Errors
    /// Inputs that do not fit, or do not fit those before; keys or values that need a gradient.
    pub fn continued(&self, x: &Tensor, cache: &mut KeyValueCache) -> Result<Tensor> {
        let past = cache.len();
        let [query, key, value] = self.projected([x, x, x], past)?;
        let (keys, values) = cache.append(&key, &value)?;
        self.gathered(&query, &keys, &values, &Attention { causal: Some(past), ..Attention::default() })
    }

    /// Queries, keys and values by head, `[N, H, L, E]`.
    fn projected(&self, inputs: [&Tensor; 3], past: usize) -> Result<[Tensor; 3]> {
        let [query, key, value] = match &self.in_proj {
            InProjection::Joint(joint) => joint.project(inputs, self.heads)?,
            InProjection::Separate(separate) => {
                let [query, key, value] = separate.project(inputs)?.map(|x| by_head(&x, self.heads));
                [query?, key?, value?]
            }
        };
        match &self.rotary {
            Some(rotary) => Ok([rotary.after(past, &query)?, rotary.after(past, &key)?, value]),
            None => Ok([query, key, value]),
        }
    }

    fn gathered(&self, query: &Tensor, key: &Tensor, value: &Tensor, how: &Attention) -> Result<Tensor> {
        let y = query.scaled_dot_product_attention(key, value, how)?.transpose(-2, -3)?;
        Ok(observed(self, self.out_proj.forward(&y.flatten(-2, -1)?)?))
    }
}

impl Layer for MultiheadAttention {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        self.attend(x, x, x, &Masks::default())
    }
}

fn xavier(dims: &[usize], rng: &mut Rng) -> Result<Array> {
    Init::XavierUniform { gain: 1.0 }.array(dims, DType::F32, rng)
}

/// `[.., L, D] -> [.., H, L, E]`, a view.
fn by_head(x: &Tensor, heads: usize) -> Result<Tensor> {
    let [leading @ .., features] = x.dims() else { return Err(Error::shape("multihead_attention", "the input is a scalar, expected [N, L, D]")) };
    x.reshape(&[leading, &[heads, features.checked_div(heads).unwrap_or(0)]].concat())?.transpose(-2, -3)
}

/// Some of three parts, one below the other.
fn parts(whole: &Param, x: &Tensor, parts: &Range<usize>) -> Result<Tensor> {
    let (whole, rows) = (whole.on(x)?, whole.value.dims().first().map_or(0, |rows| rows / 3));
    if *parts == (0..3) { Ok(whole) } else { whole.narrow(0, parts.start * rows, parts.len() * rows) }
}

impl JointProjection {
    /// The operation and parameters, as an adapter sees them.
    pub fn site(&self) -> Site<'_> {
        Site::new(Operation::Linear, &self.weight, self.bias.as_ref())
    }

    /// Queries, keys and values by head, `[N, H, L, E]`: one product for all that are made of the same input.
    fn project(&self, inputs: [&Tensor; 3], heads: usize) -> Result<[Tensor; 3]> {
        let mut all = Vec::with_capacity(3);
        for run in [0, 1, 2].chunk_by(|&a, &b| std::ptr::eq::<Tensor>(inputs[a], inputs[b])) {
            all.extend(self.weight.at(self.run(inputs[run[0]], run[0]..run[0] + run.len(), heads))?);
        }
        <[Tensor; 3]>::try_from(all).map_err(|_| Error::value("multihead_attention", "the projection has not three parts"))
    }

    fn run(&self, x: &Tensor, run: Range<usize>, heads: usize) -> Result<Vec<Tensor>> {
        let features = self.weight.value.dims().first().map_or(0, |rows| rows / 3);
        let y = match &self.adapter {
            Some(adapter) => adapter.adapt(x, &self.site())?.narrow(-1, run.start * features, run.len() * features)?,
            None => x.linear(&parts(&self.weight, x, &run)?, self.bias.as_ref().map(|bias| parts(bias, x, &run)).transpose()?.as_ref())?,
        };
        by_head(&y, run.len() * heads)?.split(&vec![heads; run.len()], -3)
    }
}

impl Module for JointProjection {
    fn visit(&self, path: &mut Path, visitor: &mut dyn Visitor) {
        visitor.module(path.as_str(), Kind::of(self));
        if !held(&self.adapter) {
            path.within("in_proj_weight", |path| self.weight.visit(path, visitor));
        }
        path.within("in_proj_bias", |path| self.bias.visit(path, visitor));
        path.within("in_proj", |path| {
            visitor.adapter(path.as_str(), self.site(), self.adapter.as_deref());
            self.adapter.visit(path, visitor);
        });
    }
    fn visit_mut(&mut self, path: &mut Path, visitor: &mut dyn VisitorMut) {
        if !held(&self.adapter) {
            path.within("in_proj_weight", |path| self.weight.visit_mut(path, visitor));
        }
        path.within("in_proj_bias", |path| self.bias.visit_mut(path, visitor));
        path.within("in_proj", |path| {
            let (operation, bias) = (Operation::Linear, self.bias.as_mut());
            visitor.adapter(path.as_str(), SiteMut { operation, weight: &mut self.weight, bias, adapter: &mut self.adapter });
            self.adapter.visit_mut(path, visitor);
        });
    }
}

/// The names of the three.
const PROJECTIONS: [&str; 3] = ["q_proj", "k_proj", "v_proj"];

impl SeparateProjections {
    fn weights(&self) -> [&Param; 3] {
        [&self.q_proj_weight, &self.k_proj_weight, &self.v_proj_weight]
    }

    fn project(&self, inputs: [&Tensor; 3]) -> Result<[Tensor; 3]> {
        let part = |part: usize| {
            let (x, weight) = (inputs[part], self.weights()[part]);
            let bias = self.in_proj_bias.as_ref().map(|bias| parts(bias, x, &(part..part + 1))).transpose()?;
            weight.at(match (&self.adapters[part], &bias) {
                (None, _) => x.linear(&weight.on(x)?, bias.as_ref()),
                (Some(adapter), None) => adapter.adapt(x, &Site::new(Operation::Linear, weight, None)),
                (Some(adapter), Some(bias)) => adapter.adapt(x, &Site::new(Operation::Linear, weight, None))?.add(bias),
            })
        };
        Ok([part(0)?, part(1)?, part(2)?])
    }
}

impl Module for SeparateProjections {
    fn visit(&self, path: &mut Path, visitor: &mut dyn Visitor) {
        visitor.module(path.as_str(), Kind::of(self));
        for ((name, weight), adapter) in PROJECTIONS.iter().zip(self.weights()).zip(&self.adapters) {
            if !held(adapter) {
                path.within(format_args!("{name}_weight"), |path| weight.visit(path, visitor));
            }
            path.within(name, |path| visit_weight(path, visitor, Operation::Linear, weight, adapter));
        }
        path.within("in_proj_bias", |path| self.in_proj_bias.visit(path, visitor));
    }
    fn visit_mut(&mut self, path: &mut Path, visitor: &mut dyn VisitorMut) {
        let weights = [&mut self.q_proj_weight, &mut self.k_proj_weight, &mut self.v_proj_weight];
        for ((name, weight), adapter) in PROJECTIONS.iter().zip(weights).zip(&mut self.adapters) {
            if !held(adapter) {
                path.within(format_args!("{name}_weight"), |path| weight.visit_mut(path, visitor));
            }
            path.within(name, |path| visit_weight_mut(path, visitor, Operation::Linear, weight, adapter));
        }
        path.within("in_proj_bias", |path| self.in_proj_bias.visit_mut(path, visitor));
    }
}
