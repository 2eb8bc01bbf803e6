//! [`Trainability`]: which parameters were trained, to come back to.

use crate::{Error, Module, Result, params, params_mut};

/// Which of a model's parameters are trainable, taken down and put back, whatever was frozen and unfrozen between.
///
/// Freezing changes no numbers, so that with this the model is what it was. An optimizer drops what it kept of a parameter with the first step that finds it frozen; take its `state` too, and give that back with `rejoin`.
/// ```
/// # use chainrule_autograd::Rng;
/// # use chainrule_nn::{Linear, Trainability, count, freeze};
/// let mut linear = Linear::new(4, 3, &mut Rng::seeded(0))?;
/// freeze(&mut linear, "bias")?;
/// let before = Trainability::of(&linear);
/// freeze(&mut linear, "*")?;
/// assert_eq!(before.restore(&mut linear)?, 1);
/// assert_eq!(count(&linear).trainable, 12);
/// # Ok::<(), chainrule_nn::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trainability(Vec<(String, bool)>);

impl Trainability {
    /// That of a model as it is.
    pub fn of(model: &dyn Module) -> Trainability {
        let mut states = Vec::new();
        params(model, |path, param| states.push((path.to_string(), param.trainable)));
        Trainability(states)
    }

    /// Puts it back. Returns how many parameters were changed by that.
    ///
    /// # Errors
    /// A model of other paths, as after an adapter was attached; nothing is changed then.
    pub fn restore(&self, model: &mut dyn Module) -> Result<usize> {
        let now = Trainability::of(model);
        if now.0.len() != self.0.len() || now.0.iter().zip(&self.0).any(|(now, then)| now.0 != then.0) {
            return Err(self.differs(&now));
        }
        let (mut states, mut changed) = (self.0.iter(), 0);
        params_mut(model, |_, param| {
            if let Some((_, trainable)) = states.next() {
                changed += (param.trainable != *trainable) as usize;
                param.trainable = *trainable;
            }
        });
        Ok(changed)
    }

    #[cold]
    fn differs(&self, now: &Trainability) -> Error {
        let at = self.0.iter().zip(&now.0).take_while(|(then, now)| then.0 == now.0).count();
        let name = |states: &Trainability| states.0.get(at).map_or("nothing".to_string(), |(path, _)| format!("\"{path}\""));
        let message = format!("the model has {} where it had {}; bring it back to the parts that it had, then restore", name(now), name(self));
        chainrule_autograd::Error::value("trainability", message).into()
    }
}
