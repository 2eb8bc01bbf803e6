//! LoRA (Hu et al. 2021, "LoRA: Low-Rank Adaptation of Large Language Models"; PEFT's `LoraConfig`).

use super::low_rank::{LowRank, expect_dropout};
use super::{DoraAdapter, expect_finite, is_bias, selecting};
use crate::peft::Config;
use crate::targets::ends_with;
use crate::{Method, Selection, Targets};
use chainrule_autograd::{Error, Result, Rng, Tensor};
use chainrule_nn::{Adapter, BoxedAdapter, Module, Operation, Pattern, Site};

/// `y = x Wᵀ + b + (alpha / r) · dropout(x) Aᵀ Bᵀ`, for A `[r, In]` and B `[Out, r]`.
///
/// The product B A is never formed: the path goes through the r numbers in the middle, and the frozen weight gets no gradient. B begins as zero, so a new adapter changes nothing.
///
/// | layer | A | B | the path |
/// |---|---|---|---|
/// | linear, attention's projections | `[r, In]` | `[Out, r]` | two products |
/// | embedding | `[r, V]` | `[D, r]` | columns of A by index, and a product |
/// | convolution | `[r, IC, K..]` | `[OC, r/groups, 1..]` | a convolution with the layer's window to r channels, and one of a single tap |
/// | recurrent weight | `[r, In]` | `[Out, r]` | `W + (alpha / r) B A`, once for all steps |
///
/// A recurrent layer runs all its steps as one operation that reads one weight, so no path can go beside it: `W + (alpha / r) B A` is formed once a call.
/// That costs what r rows of input cost in the layer's own product, so `r / (N · T)` of it for N sequences of T steps. On the way back the sum's gradient is formed once and handed on to A and B; W itself keeps none.
///
/// Transposed convolutions are refused. Of a convolution in groups the path reads all channels, as PEFT's does, and cannot be merged.
/// ```
/// # use chainrule_autograd::{DType, Rng, Tensor};
/// # use chainrule_finetune::{Adapted, Lora};
/// # use chainrule_nn::{Layer, Linear, Sequential, count};
/// let rng = &mut Rng::seeded(0);
/// let mut model = Adapted::new(Sequential::new().add(Linear::new(64, 32, rng)?));
/// model.add("mine", Lora::rank(8).alpha(16.0).targets("all-linear"), rng)?;
/// assert_eq!(count(&model).trainable, 8 * 64 + 32 * 8);
/// assert_eq!(model.run(&Tensor::ones(&[1, 64], DType::F32)?)?.dims(), [1, 32]);
/// # Ok::<(), chainrule_finetune::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Lora {
    /// What is adapted, and what is trained whole.
    pub selection: Selection,
    /// r (PEFT's `r`)
    pub rank: usize,
    /// alpha; the path's factor is alpha / r (PEFT's `lora_alpha`).
    pub alpha: f64,
    /// The probability with which a number of the input is left out of the low-rank path in training (PEFT's `lora_dropout`).
    pub dropout: f64,
    /// Other ranks for some layers: by the end of a path after a dot, or by a [`Pattern`] of it; the first that fits counts (PEFT's `rank_pattern`).
    pub rank_pattern: Vec<(String, usize)>,
    /// Other alphas for some layers, likewise (PEFT's `alpha_pattern`).
    pub alpha_pattern: Vec<(String, f64)>,
    /// Whether the factor is alpha / √r, which lets higher ranks learn as fast as lower ones (Kalajdzievski 2023; PEFT's `use_rslora`).
    pub rank_stabilized: bool,
    /// Which biases of the base are trained too (PEFT's `bias`).
    pub bias: LoraBias,
    /// Whether magnitude and direction are trained apart: see [`DoraAdapter`] (PEFT's `use_dora`).
    pub dora: bool,
    /// Whether a bias stands behind B (PEFT's `lora_bias`).
    pub bias_of_b: bool,
    /// How A begins (PEFT's `init_lora_weights`).
    pub init: LoraInit,
}

/// Which biases of the base are trained in a copy of the adapter's own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LoraBias {
    /// None.
    #[default]
    None,
    /// All of the model.
    All,
    /// Those of adapted layers.
    LoraOnly,
}

/// How A begins; B begins as zero. Of embeddings A begins as zero, and B normal with deviation 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LoraInit {
    /// Uniform within `±1/sqrt(fan_in)` (PEFT's `true`).
    #[default]
    Kaiming,
    /// Normal with deviation 1 / r (PEFT's `"gaussian"`).
    Gaussian,
}

impl Lora {
    /// Of this rank, on all linear layers, with alpha = r and without dropout.
    pub fn rank(rank: usize) -> Lora {
        Lora {
            selection: Selection::of(Targets::AllLinear),
            rank,
            alpha: rank as f64,
            dropout: 0.0,
            rank_pattern: Vec::new(),
            alpha_pattern: Vec::new(),
            rank_stabilized: false,
            bias: LoraBias::None,
            dora: false,
            bias_of_b: false,
            init: LoraInit::Kaiming,
        }
    }
    /// The factor of the path times r.
    pub fn alpha(self, alpha: f64) -> Lora {
        Lora { alpha, ..self }
    }
    /// With dropout of the low-rank path's input.
    pub fn dropout(self, probability: f64) -> Lora {
        Lora { dropout: probability, ..self }
    }
    /// With another rank for these layers.
    pub fn rank_of(mut self, layers: &str, rank: usize) -> Lora {
        self.rank_pattern.push((layers.to_string(), rank));
        self
    }
    /// With another alpha for these layers.
    pub fn alpha_of(mut self, layers: &str, alpha: f64) -> Lora {
        self.alpha_pattern.push((layers.to_string(), alpha));
        self
    }
    /// With the factor alpha / √r.
    pub fn rank_stabilized(self) -> Lora {
        Lora { rank_stabilized: true, ..self }
    }
    /// Trains these biases of the base too.
    pub fn bias(self, bias: LoraBias) -> Lora {
        Lora { bias, ..self }
    }
    /// With magnitude and direction apart: [`DoraAdapter`].
    pub fn dora(self) -> Lora {
        Lora { dora: true, ..self }
    }
    /// With a bias behind B.
    pub fn bias_of_b(self) -> Lora {
        Lora { bias_of_b: true, ..self }
    }
    /// With A drawn so.
    pub fn init(self, init: LoraInit) -> Lora {
        Lora { init, ..self }
    }
}

selecting!(Lora);

/// Whether `layers` means the layer at this path: by its end after a dot, or as a pattern of it.
fn means(layers: &str, path: &str) -> bool {
    let matches = |text: &str| Pattern::new(text).is_ok_and(|pattern| pattern.matches(path));
    // An expression means whole paths.
    ends_with(path, layers) || matches(layers) || (!layers.starts_with("regex:") && matches(&format!("*.{layers}")))
}

/// What is said of the layer at this path, or else the general value.
fn of_layer<T: Copy>(path: &str, pattern: &[(String, T)], general: T) -> T {
    pattern.iter().find(|(layers, _)| means(layers, path)).map_or(general, |(_, value)| *value)
}

impl Lora {
    /// r of the layer at this path.
    pub(crate) fn rank_at(&self, path: &str) -> usize {
        of_layer(path, &self.rank_pattern, self.rank)
    }
    /// alpha of the layer at this path.
    pub(crate) fn alpha_at(&self, path: &str) -> f64 {
        of_layer(path, &self.alpha_pattern, self.alpha)
    }
}

impl Method for Lora {
    fn name(&self) -> &'static str {
        if self.dora { "dora" } else { "lora" }
    }
    fn selection(&self) -> &Selection {
        &self.selection
    }
    fn prepare(&self, layers: &[(String, Vec<usize>)]) -> chainrule_nn::Result<()> {
        let named = self.rank_pattern.iter().map(|(named, _)| named).chain(self.alpha_pattern.iter().map(|(named, _)| named));
        for named in named {
            if !layers.iter().any(|(path, _)| means(named, path)) {
                let paths: Vec<String> = layers.iter().map(|(path, _)| path.clone()).collect();
                return Err(Pattern::new(named)?.no_match(self.name(), "layer that is adapted", &paths));
            }
        }
        Ok(())
    }
    fn adapter(&self, path: &str, site: &Site, rng: &mut Rng) -> Result<Option<BoxedAdapter>> {
        let (rank, alpha) = (self.rank_at(path), self.alpha_at(path));
        expect_finite(self.name(), "alpha", alpha)?;
        expect_dropout(self.name(), site, self.dropout)?;
        let low = LowRank::new(self.name(), site, rank, self.init, rng)?;
        if self.bias_of_b && self.dora {
            return Err(Error::value(self.name(), "got a bias behind B, which has no place where magnitude and direction are apart"));
        }
        let low = if self.bias_of_b { low.with_bias(self.name(), site)? } else { low };
        let scale = alpha / if self.rank_stabilized { (rank as f64).sqrt() } else { rank as f64 };
        let lora = LoraAdapter { low, scale, dropout: self.dropout };
        Ok(Some(if self.dora { Box::new(DoraAdapter::new(lora, site)?) } else { Box::new(lora) }))
    }
    fn trains(&self, path: &str, targeted: bool) -> bool {
        match self.bias {
            LoraBias::None => false,
            LoraBias::All => is_bias(path),
            LoraBias::LoraOnly => targeted && is_bias(path),
        }
    }
    fn to_peft(&self, layers: &[(String, Operation)], config: &mut Config) -> crate::Result<()> {
        crate::peft::write::lora(self, layers, config);
        Ok(())
    }
}

/// What LoRA puts into a slot.
#[derive(Module, Clone)]
pub struct LoraAdapter {
    /// A and B.
    #[module(flatten)]
    pub low: LowRank,
    /// alpha / r, or alpha / √r
    pub scale: f64,
    /// The probability with which a number of the input is left out of the low-rank path in training.
    pub dropout: f64,
}

impl LoraAdapter {
    /// The path's own input.
    pub(super) fn dropped(&self, x: &Tensor, site: &Site) -> Result<Tensor> {
        // Indices are not dropped.
        let indices = matches!(site.operation, Operation::Embedding { .. });
        if indices || self.dropout == 0.0 { Ok(x.clone()) } else { x.dropout(self.dropout) }
    }
}

impl Adapter for LoraAdapter {
    fn adapt(&self, x: &Tensor, site: &Site) -> Result<Tensor> {
        self.low.added(site.forward(x)?, &self.dropped(x, site)?, site.operation, self.scale)
    }

    fn merged(&self, weight: &Tensor) -> Result<Tensor> {
        weight.add(&self.low.delta(weight, self.scale)?)
    }
    fn merged_bias(&self, bias: &Tensor) -> Result<Tensor> {
        self.low.merged_bias(bias, self.scale)
    }
}
