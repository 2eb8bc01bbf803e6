//! Prompt tuning (Lester et al. 2021, "The Power of Scale for Parameter-Efficient Prompt Tuning"; PEFT's `PromptTuningConfig`).

use crate::peft::Config;
use crate::{Method, Selection};
use chainrule_autograd::{Array, DType, Error, Result, Rng, Tensor};
use chainrule_nn::init::Init;
use chainrule_nn::{BoxedPrompt, Module, Operation, Param, Prompt, PromptSite, Virtual};

/// Trained embeddings `[P, D]` in front of those of the tokens: `[p₁ … p_P, x₁ … x_T]`.
///
/// Virtual tokens change what a model gives from the first step on: unlike other methods, prompts do not begin as the identity.
/// A model has a place for them if it has a [`PromptSlot`](chainrule_nn::PromptSlot).
/// ```
/// use chainrule_autograd::{DType, Error, Rng, Tensor};
/// use chainrule_finetune::{Adapted, PromptTuning};
/// use chainrule_nn::{Layer, Linear, Module, PromptSite, PromptSlot, Virtual, count};
///
/// /// The mean of what a linear layer makes of all embeddings: `[T, 4] -> [2]`.
/// #[derive(Module, Clone)]
/// struct Model { #[module(flatten)] prompt: PromptSlot, head: Linear }
/// impl Layer for Model {
///     fn forward(&self, x: &Tensor) -> chainrule_autograd::Result<Tensor> {
///         let x = match self.prompt.virtual_tokens(x)? {
///             Some(Virtual::Tokens(tokens)) => &Tensor::concatenate(&[&tokens, x], 0)?,
///             Some(Virtual::States(_)) => return Err(Error::value("model", "nothing attends here")),
///             None => x,
///         };
///         self.head.forward(x)?.mean_over(&[0], false)
///     }
/// }
/// let rng = &mut Rng::seeded(0);
/// let site = PromptSite { layers: 1, heads: 1, features: 4 };
/// let mut model = Adapted::new(Model { prompt: PromptSlot::new(site), head: Linear::new(4, 2, rng)? });
/// model.add("mine", PromptTuning::tokens(5), rng)?;
/// assert_eq!(count(&model).trainable, 5 * 4);
/// assert_eq!(model.forward(&Tensor::ones(&[3, 4], DType::F32)?)?.dims(), [2]);
/// # Ok::<(), chainrule_finetune::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct PromptTuning {
    /// What is trained whole.
    pub selection: Selection,
    /// P
    pub tokens: usize,
    /// What they begin as.
    pub start: PromptStart,
}

/// What virtual tokens begin as.
#[derive(Clone, Debug)]
pub enum PromptStart {
    /// Numbers from a normal distribution, mean 0, deviation 1.
    Normal,
    /// Zeros.
    Zeros,
    /// These rows, from the first again where they are fewer (PEFT's `TEXT`, for the embeddings of a text's tokens).
    Rows(Array),
    /// Rows of this table, drawn at random (PEFT's `SAMPLE_VOCAB`, for the model's table of embeddings).
    Drawn(Array),
}

impl PromptStart {
    /// Numbers `[P, width]` to begin with.
    pub(crate) fn param(&self, op: &'static str, tokens: usize, width: usize, rng: &mut Rng) -> Result<Param> {
        if tokens == 0 {
            return Err(Error::value(op, "got 0 virtual tokens, expected at least 1"));
        }
        let rows = match self {
            PromptStart::Normal => return Init::Normal { mean: 0.0, deviation: 1.0 }.array(&[tokens, width], DType::F32, rng).map(Param::new),
            PromptStart::Zeros => return Ok(Param::new(Array::zeros(&[tokens, width], DType::F32)?)),
            PromptStart::Rows(rows) | PromptStart::Drawn(rows) => rows,
        };
        let count = match rows.dims() {
            [count, own] if *own == width && *count > 0 && rows.dtype().is_float() => *count,
            _ => {
                let (dtype, shape) = (rows.dtype(), rows.shape());
                return Err(Error::shape(op, format!("virtual tokens begin as rows of {dtype} {shape:?}, expected floats [rows, {width}], at least one row")));
            }
        };
        let drawn = matches!(self, PromptStart::Drawn(_));
        let indices: Vec<i64> = (0..tokens).map(|i| if drawn { rng.below(count) as i64 } else { (i % count) as i64 }).collect();
        Ok(Param::new(Tensor::from(rows).index_select(0, &Tensor::from_slice(&indices, &[tokens])?.to(&rows.device())?)?.into_array()))
    }
}

impl PromptTuning {
    /// So many virtual tokens, which begin at random.
    pub fn tokens(tokens: usize) -> PromptTuning {
        PromptTuning { selection: Selection::none(), tokens, start: PromptStart::Normal }
    }
    /// What they begin as.
    pub fn start(self, start: PromptStart) -> PromptTuning {
        PromptTuning { start, ..self }
    }
    /// Trains these modules whole and stores them with the prompt: a new head.
    pub fn saving<const N: usize>(mut self, modules: [&str; N]) -> PromptTuning {
        self.selection.save = modules.map(str::to_string).to_vec();
        self
    }
}

impl Method for PromptTuning {
    fn name(&self) -> &'static str {
        "prompt_tuning"
    }
    fn selection(&self) -> &Selection {
        &self.selection
    }
    fn prompt(&self, site: PromptSite, rng: &mut Rng) -> Result<Option<BoxedPrompt>> {
        let prompt_embeddings = self.start.param(self.name(), self.tokens, site.features, rng)?;
        Ok(Some(Box::new(TokenPrompt { prompt_embeddings })))
    }
    fn to_peft(&self, _: &[(String, Operation)], config: &mut Config) -> crate::Result<()> {
        crate::peft::write::prompt(self, config);
        Ok(())
    }
}

/// What prompt tuning puts into a slot.
#[derive(Module, Clone)]
pub struct TokenPrompt {
    /// `[P, D]`
    pub prompt_embeddings: Param,
}

impl Prompt for TokenPrompt {
    fn virtual_tokens(&self, x: &Tensor) -> Result<Virtual> {
        Ok(Virtual::Tokens(self.prompt_embeddings.on(x)?))
    }
}

/// What a prompt comes to, whatever made it: `[P, D]` for tokens, `[P, L 2 D]` for the keys and values of L layers, those of a layer side by side. PEFT's files hold this as `prompt_embeddings`, and
/// [`PromptStart::Rows`] makes a prompt of it again.
///
/// # Errors
/// No memory; a prompt whose numbers do not fit each other.
pub fn prompt_embeddings(prompt: &dyn Prompt) -> Result<Array> {
    match prompt.virtual_tokens(&Tensor::zeros(&[0], DType::F32)?)? {
        Virtual::Tokens(tokens) => Ok(tokens.into_array()),
        Virtual::States(states) => Ok(Tensor::concatenate(&states.iter().flatten().collect::<Vec<_>>(), 1)?.into_array()),
    }
}
