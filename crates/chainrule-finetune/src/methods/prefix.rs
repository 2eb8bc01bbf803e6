//! Prefix tuning (Li and Liang 2021, "Prefix-Tuning: Optimizing Continuous Prompts for Generation"; PEFT's `PrefixTuningConfig`).

use crate::peft::Config;
use crate::{Method, PromptStart, Selection};
use chainrule_autograd::{Error, Result, Rng, Tensor};
use chainrule_nn::{BoxedPrompt, Layer, Linear, Module, Operation, Param, Prompt, PromptSite, Sequential, Tanh, Virtual};

/// Trained keys and values `[P, D]` in front of each layer's own: attention gives `softmax(Q [K_p; K]ᵀ / √E) [V_p; V]`.
///
/// All of them are one matrix `[P, L 2 D]`: for each layer its keys, then its values, each of D numbers, those of the first head first.
/// With a projection they are what two linear layers with a tanh between make of `[P, D]`, which trains more steadily; files hold the result alone.
/// Like other prompts it does not begin as the identity, not even from zeros: a key of zeros takes its part of the weights.
/// ```
/// # use chainrule_autograd::Rng;
/// use chainrule_finetune::{Method, PrefixTuning, prompt_embeddings};
/// use chainrule_nn::PromptSite;
/// let site = PromptSite { layers: 2, heads: 4, features: 16 };
/// let prompt = PrefixTuning::tokens(5).projection(32).prompt(site, &mut Rng::seeded(0))?;
/// assert_eq!(prompt_embeddings(&prompt.unwrap())?.dims(), [5, 2 * 2 * 16]);
/// # Ok::<(), chainrule_autograd::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct PrefixTuning {
    /// What is trained whole.
    pub selection: Selection,
    /// P
    pub tokens: usize,
    /// How many units the projection has in the middle, if there is one (PEFT's `prefix_projection` and `encoder_hidden_size`).
    pub projection: Option<usize>,
    /// What the keys and values begin as; below a projection, what its input begins as.
    pub start: PromptStart,
}

impl PrefixTuning {
    /// So many keys and values in front, which begin at random.
    pub fn tokens(tokens: usize) -> PrefixTuning {
        PrefixTuning { selection: Selection::none(), tokens, projection: None, start: PromptStart::Normal }
    }
    /// Through a projection with so many units in the middle.
    pub fn projection(self, hidden: usize) -> PrefixTuning {
        PrefixTuning { projection: Some(hidden), ..self }
    }
    /// What they begin as.
    pub fn start(self, start: PromptStart) -> PrefixTuning {
        PrefixTuning { start, ..self }
    }
    /// Trains these modules whole and stores them with the prefix: a new head.
    pub fn saving<const N: usize>(mut self, modules: [&str; N]) -> PrefixTuning {
        self.selection.save = modules.map(str::to_string).to_vec();
        self
    }
}

impl Method for PrefixTuning {
    fn name(&self) -> &'static str {
        "prefix_tuning"
    }
    fn selection(&self) -> &Selection {
        &self.selection
    }
    fn prompt(&self, site: PromptSite, rng: &mut Rng) -> Result<Option<BoxedPrompt>> {
        let (op, layers) = (self.name(), site.layers);
        if layers == 0 {
            return Err(Error::value(op, "no layer of this model attends, so there are no keys and values to put a prefix to"));
        }
        let Some(width) = layers.checked_mul(2).and_then(|matrices| matrices.checked_mul(site.features)) else {
            return Err(Error::value(op, format!("{layers} layers of {} features are more than can be counted", site.features)));
        };
        Ok(Some(match self.projection {
            None => Box::new(PrefixPrompt { prompt_embeddings: self.start.param(op, self.tokens, width, rng)?, layers }),
            Some(0) => return Err(Error::value(op, "got a projection through 0 units, expected at least 1")),
            Some(hidden) => {
                let embedding = self.start.param(op, self.tokens, site.features, rng)?;
                let transform = Sequential::new().add(Linear::new(site.features, hidden, rng)?).add(Tanh).add(Linear::new(hidden, width, rng)?);
                Box::new(PrefixEncoder { embedding, transform, layers })
            }
        }))
    }
    fn to_peft(&self, _: &[(String, Operation)], config: &mut Config) -> crate::Result<()> {
        crate::peft::write::prefix(self, config);
        Ok(())
    }
}

/// What prefix tuning puts into a slot.
#[derive(Module, Clone)]
pub struct PrefixPrompt {
    /// `[P, L 2 D]`
    pub prompt_embeddings: Param,
    /// L
    pub layers: usize,
}

impl Prompt for PrefixPrompt {
    fn virtual_tokens(&self, x: &Tensor) -> Result<Virtual> {
        self.prompt_embeddings.at(states(&self.prompt_embeddings.on(x)?, self.layers))
    }
}

/// What prefix tuning with a projection puts into a slot.
#[derive(Module, Clone)]
pub struct PrefixEncoder {
    /// `[P, D]`
    #[module(name = "prompt_encoder.embedding.weight")]
    pub embedding: Param,
    /// `[P, D] -> [P, L 2 D]`
    #[module(name = "prompt_encoder.transform")]
    pub transform: Sequential,
    /// L
    pub layers: usize,
}

impl Prompt for PrefixEncoder {
    fn virtual_tokens(&self, x: &Tensor) -> Result<Virtual> {
        states(&self.transform.forward(&self.embedding.on(x)?)?, self.layers)
    }
}

/// `[P, L 2 D]` by layer.
fn states(prefix: &Tensor, layers: usize) -> Result<Virtual> {
    let width = prefix.dims().get(1).copied().unwrap_or(0);
    let matrices = layers.saturating_mul(2);
    if prefix.rank() != 2 || matrices == 0 || !width.is_multiple_of(matrices) {
        return Err(Error::shape("prefix_tuning", format!("the prefix has shape {:?}, expected [P, L 2 D] of L = {layers} layers", prefix.shape())));
    }
    let mut parts = prefix.split(&vec![width / matrices; matrices], 1)?.into_iter();
    Ok(Virtual::States(std::iter::from_fn(|| Some([parts.next()?, parts.next()?])).collect()))
}
