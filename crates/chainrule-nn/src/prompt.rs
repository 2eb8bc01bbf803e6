//! [`Prompt`]: what stands in front of every sequence that a model reads: virtual tokens, or keys and values of each layer.

use crate::{Kind, Module, Path, Visitor, VisitorMut};
use chainrule_autograd::{Result, Tensor};
use std::any::Any;

/// What a prompt puts in front of a sequence.
#[derive(Clone, Debug)]
pub enum Virtual {
    /// Embeddings `[P, D]` before those of the tokens (prompt tuning, P-tuning).
    Tokens(Tensor),
    /// Keys and values `[P, D]` of each layer's attention, before its own (prefix tuning).
    States(Vec<[Tensor; 2]>),
}

/// A small module in the prompt slot of a model, trained in place of the model's own parameters.
pub trait Prompt: Module + Send + Sync {
    /// What to put in front, where `x` stands: on its tape, or off it.
    ///
    /// # Errors
    /// No memory; numbers that do not fit.
    fn virtual_tokens(&self, x: &Tensor) -> Result<Virtual>;
}

/// A prompt that can be cloned in a box. Implementing [`Prompt`] and `Clone` is all it takes.
pub trait AnyPrompt: Prompt + Any {
    /// A copy in a box.
    fn clone_box(&self) -> BoxedPrompt;
}

/// A prompt of any type.
pub type BoxedPrompt = Box<dyn AnyPrompt>;

impl<P: Prompt + Clone + Any> AnyPrompt for P {
    fn clone_box(&self) -> BoxedPrompt {
        Box::new(self.clone())
    }
}

impl Clone for BoxedPrompt {
    fn clone(&self) -> BoxedPrompt {
        (**self).clone_box()
    }
}

impl<P: Prompt + ?Sized> Prompt for Box<P> {
    fn virtual_tokens(&self, x: &Tensor) -> Result<Virtual> {
        (**self).virtual_tokens(x)
    }
}

/// The sizes that a prompt must have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PromptSite {
    /// How many layers attend.
    pub layers: usize,
    /// How many heads each has.
    pub heads: usize,
    /// D, the width of an embedding.
    pub features: usize,
}

/// A model's place for a prompt; walks show it, and the prompt's contents at its path. A field of the model, best with `#[module(flatten)]`.
#[derive(Clone)]
pub struct PromptSlot {
    /// The sizes that a prompt must have.
    pub site: PromptSite,
    /// What stands there.
    pub prompt: Option<BoxedPrompt>,
}

impl PromptSlot {
    /// An empty place.
    pub fn new(site: PromptSite) -> PromptSlot {
        PromptSlot { site, prompt: None }
    }

    /// What stands in front where `x` stands; `None` for an empty place.
    ///
    /// # Errors
    /// As for [`Prompt::virtual_tokens`].
    pub fn virtual_tokens(&self, x: &Tensor) -> Result<Option<Virtual>> {
        self.prompt.as_ref().map(|prompt| prompt.virtual_tokens(x)).transpose()
    }
}

impl Module for PromptSlot {
    fn visit(&self, path: &mut Path, visitor: &mut dyn Visitor) {
        visitor.module(path.as_str(), Kind::of(self));
        visitor.prompt(path.as_str(), self.site, self.prompt.as_deref());
        self.prompt.visit(path, visitor);
    }
    fn visit_mut(&mut self, path: &mut Path, visitor: &mut dyn VisitorMut) {
        visitor.prompt(path.as_str(), self.site, &mut self.prompt);
        self.prompt.visit_mut(path, visitor);
    }
}
