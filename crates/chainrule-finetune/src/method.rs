//! [`Method`]: a way of fine-tuning, as data: what it puts into which slots, and which parameters it trains as they are.

use crate::peft::Config;
use crate::{Error, Targets};
use chainrule_autograd::{Array, Result, Rng};
use chainrule_nn::{BoxedAdapter, BoxedPrompt, Operation, PromptSite, Site};
use std::fmt;

/// Which parts of a model a method is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selection {
    /// The layers that are adapted. `None` for methods that need no such choice.
    pub targets: Option<Targets>,
    /// Layers that are not, although `targets` means them (PEFT's `exclude_modules`).
    pub exclude: Option<Targets>,
    /// Modules that are trained whole and stored with the adapter, by PEFT's rule for names: a new head (PEFT's `modules_to_save`).
    pub save: Vec<String>,
}

impl Selection {
    /// These layers, and no module whole.
    pub fn of(targets: impl Into<Targets>) -> Selection {
        Selection { targets: Some(targets.into()), exclude: None, save: Vec::new() }
    }
    /// No layers.
    pub fn none() -> Selection {
        Selection { targets: None, exclude: None, save: Vec::new() }
    }
}

/// A way of fine-tuning. [`Adapted::add`](crate::Adapted::add) walks the model and asks.
///
/// A new method is a struct with its settings, `selection`, and one of the other three.
pub trait Method: fmt::Debug + Send + Sync {
    /// The method's name, for messages.
    fn name(&self) -> &'static str;

    /// What it is for.
    fn selection(&self) -> &Selection;

    /// Is told the slots that the selection means, with the shapes of their weights, before the first adapter is made.
    ///
    /// # Errors
    /// Settings that name layers which are not among them; settings that make no sense; no memory.
    fn prepare(&self, layers: &[(String, Vec<usize>)]) -> chainrule_nn::Result<()> {
        let _ = layers;
        Ok(())
    }

    /// The adapter for a slot that the selection means; `None` for methods that adapt no slots. It must begin as the identity.
    ///
    /// # Errors
    /// A layer to which the method cannot be applied; settings that make no sense; no memory.
    fn adapter(&self, path: &str, site: &Site, rng: &mut Rng) -> Result<Option<BoxedAdapter>> {
        let _ = (path, site, rng);
        Ok(None)
    }

    /// Whether a parameter is trained in a copy of its own; `targeted` says whether the selection means the module that it belongs to.
    fn trains(&self, path: &str, targeted: bool) -> bool {
        let _ = (path, targeted);
        false
    }

    /// The prompt for a model with this place for one; `None` for methods that have none.
    ///
    /// # Errors
    /// Settings that make no sense; no memory.
    fn prompt(&self, site: PromptSite, rng: &mut Rng) -> Result<Option<BoxedPrompt>> {
        let _ = (site, rng);
        Ok(None)
    }

    /// Arrays that all layers share, by the names that files have for them; known when an adapter is made.
    fn shared(&self) -> Vec<(&'static str, Array)> {
        Vec::new()
    }

    /// Writes the settings as PEFT's `adapter_config.json` has them, `peft_type` among them; `layers` are those that are adapted. What is selected is there already.
    ///
    /// # Errors
    /// A method that has no form in files, which is so unless this is implemented.
    fn to_peft(&self, layers: &[(String, Operation)], config: &mut Config) -> Result<(), Error> {
        let _ = (layers, config);
        Err(Error::adapter("save", format!("{} has no form in files", self.name())))
    }
}
