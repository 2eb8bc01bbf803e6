//! P-tuning (Liu et al. 2021, "GPT Understands, Too"; PEFT's `PromptEncoderConfig`).

use crate::peft::Config;
use crate::{Method, PromptStart, Selection};
use chainrule_autograd::{Error, Result, Rng, Tensor};
use chainrule_nn::{BoxedPrompt, Layer, Linear, Lstm, Module, Operation, Param, Prompt, PromptSite, Relu, Sequential, Virtual};

/// Virtual tokens `[P, D]` in front of the others, made by a small network from trained embeddings of the same shape, which ties them together while they are trained. Files hold the result alone, which
/// [`PromptTuning`](crate::PromptTuning) makes a prompt of again.
///
/// Like other prompts it does not begin as the identity.
/// ```
/// # use chainrule_autograd::Rng;
/// use chainrule_finetune::{Method, PTuning, PromptStart, PromptTuning, prompt_embeddings};
/// use chainrule_nn::PromptSite;
/// let (site, rng) = (PromptSite { layers: 2, heads: 4, features: 16 }, &mut Rng::seeded(0));
/// let made = prompt_embeddings(&PTuning::tokens(5).hidden(32).lstm(2).prompt(site, rng)?.unwrap())?;
/// assert_eq!(made.dims(), [5, 16]);
/// let plain = PromptTuning::tokens(5).start(PromptStart::Rows(made.clone())).prompt(site, rng)?.unwrap();
/// assert_eq!(prompt_embeddings(&plain)?.to_vec::<f32>()?, made.to_vec::<f32>()?);
/// # Ok::<(), chainrule_autograd::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct PTuning {
    /// What is trained whole.
    pub selection: Selection,
    /// P
    pub tokens: usize,
    /// H, the width inside the network; D unless given (PEFT's `encoder_hidden_size`).
    pub hidden: Option<usize>,
    /// Which network.
    pub encoder: Reparameterisation,
    /// What its input begins as.
    pub start: PromptStart,
}

/// The network that makes virtual tokens (PEFT's `encoder_reparameterization_type`).
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Reparameterisation {
    /// Three linear layers, `D -> H -> H -> D`, with ReLU between.
    Mlp,
    /// An LSTM of H units in both directions along the tokens, then two linear layers, `2 H -> 2 H -> D`, with ReLU between.
    Lstm {
        /// How many layers (PEFT's `encoder_num_layers`).
        layers: usize,
        /// The rate of dropout between them (PEFT's `encoder_dropout`).
        dropout: f64,
    },
}

impl PTuning {
    /// So many virtual tokens, made by an MLP.
    pub fn tokens(tokens: usize) -> PTuning {
        PTuning { selection: Selection::none(), tokens, hidden: None, encoder: Reparameterisation::Mlp, start: PromptStart::Normal }
    }
    /// The width inside the network.
    pub fn hidden(self, hidden: usize) -> PTuning {
        PTuning { hidden: Some(hidden), ..self }
    }
    /// Made by an LSTM of so many layers.
    pub fn lstm(self, layers: usize) -> PTuning {
        PTuning { encoder: Reparameterisation::Lstm { layers, dropout: 0.0 }, ..self }
    }
    /// What the network's input begins as.
    pub fn start(self, start: PromptStart) -> PTuning {
        PTuning { start, ..self }
    }
    /// Trains these modules whole and stores them with the prompt: a new head.
    pub fn saving<const N: usize>(mut self, modules: [&str; N]) -> PTuning {
        self.selection.save = modules.map(str::to_string).to_vec();
        self
    }
}

impl Method for PTuning {
    fn name(&self) -> &'static str {
        "p_tuning"
    }
    fn selection(&self) -> &Selection {
        &self.selection
    }
    fn prompt(&self, site: PromptSite, rng: &mut Rng) -> Result<Option<BoxedPrompt>> {
        let (width, hidden) = (site.features, self.hidden.unwrap_or(site.features));
        if hidden == 0 || hidden.checked_mul(2).is_none() {
            return Err(Error::value(self.name(), format!("got a network of {hidden} units, expected at least 1, and not more than can be counted")));
        }
        let embedding = self.start.param(self.name(), self.tokens, width, rng)?;
        let (lstm_head, mlp_head) = match self.encoder {
            Reparameterisation::Mlp => {
                let first = Sequential::new().add(Linear::new(width, hidden, rng)?).add(Relu);
                (None, first.add(Linear::new(hidden, hidden, rng)?).add(Relu).add(Linear::new(hidden, width, rng)?))
            }
            Reparameterisation::Lstm { layers, dropout } => {
                let lstm = Lstm::bidirectional(width, hidden, layers, rng)?.dropout(dropout);
                let both = 2 * hidden;
                (Some(lstm), Sequential::new().add(Linear::new(both, both, rng)?).add(Relu).add(Linear::new(both, width, rng)?))
            }
        };
        Ok(Some(Box::new(PromptEncoder { embedding, lstm_head, mlp_head })))
    }
    fn to_peft(&self, _: &[(String, Operation)], config: &mut Config) -> crate::Result<()> {
        crate::peft::write::p_tuning(self, config);
        Ok(())
    }
}

/// What P-tuning puts into a slot.
#[derive(Module, Clone)]
pub struct PromptEncoder {
    /// `[P, D]`
    #[module(name = "prompt_encoder.embedding.weight")]
    pub embedding: Param,
    /// `[P, D] -> [P, 2 H]`
    #[module(name = "prompt_encoder.lstm_head")]
    pub lstm_head: Option<Lstm>,
    /// `[P, D]` or `[P, 2 H]` to `[P, D]`
    #[module(name = "prompt_encoder.mlp_head")]
    pub mlp_head: Sequential,
}

impl Prompt for PromptEncoder {
    fn virtual_tokens(&self, x: &Tensor) -> Result<Virtual> {
        let embedded = self.embedding.on(x)?;
        let encoded = match &self.lstm_head {
            Some(lstm) => lstm.sequence(&embedded, None, None)?.0,
            None => embedded,
        };
        Ok(Virtual::Tokens(self.mlp_head.forward(&encoded)?))
    }
}
