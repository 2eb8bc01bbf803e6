//! Gradual unfreezing and discriminative learning rates (ULMFiT: Howard and Ruder 2018, "Universal Language Model Fine-tuning for Text Classification"). The third of its means, the slanted triangular rate, is [`Schedule::slanted_triangular`](chainrule_optim::Schedule::slanted_triangular).

use chainrule_nn::{Module, Pattern, Result, params, params_mut, report};
use chainrule_optim::{Optimizer, Rule};

/// A model's parts from the top down, each as a pattern of its parameters: numbered layers, and what stands up to two names below the root (those of [`report`]). The top is what the model holds last.
/// ```
/// # use chainrule_autograd::Rng;
/// # use chainrule_finetune::groups_by_depth;
/// # use chainrule_nn::{Linear, Sequential};
/// let rng = &mut Rng::seeded(0);
/// let model = Sequential::new().add(Linear::new(4, 8, rng)?).add(Linear::new(8, 2, rng)?);
/// assert_eq!(groups_by_depth(&model), ["{1.weight,1.bias}", "{0.weight,0.bias}"]);
/// # Ok::<(), chainrule_nn::Error>(())
/// ```
pub fn groups_by_depth(model: &dyn Module) -> Vec<String> {
    report(model).parts.iter().rev().map(|part| format!("{{{}}}", part.paths.join(","))).collect()
}

/// Which groups of parameters are thawed when: first the top one alone, later the next below with it, and so on.
/// ```
/// # use chainrule_autograd::Rng;
/// # use chainrule_finetune::{GradualUnfreezing, groups_by_depth};
/// # use chainrule_nn::{Linear, Sequential, count};
/// let rng = &mut Rng::seeded(0);
/// let mut model = Sequential::new().add(Linear::new(4, 8, rng)?).add(Linear::new(8, 2, rng)?);
/// let plan = GradualUnfreezing::new(&groups_by_depth(&model))?;
/// let trained = [0, 1, 2].map(|epoch| plan.apply(&mut model, epoch).map(|_| count(&model).trainable));
/// assert_eq!(trained, [Ok(18), Ok(58), Ok(58)]);
/// # Ok::<(), chainrule_nn::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct GradualUnfreezing {
    /// From the top down, and from when on each is trained.
    groups: Vec<(Pattern, u64)>,
}

impl GradualUnfreezing {
    /// A plan for groups of parameters from the top down, each by its [`Pattern`]: the first is trained from epoch 0 on, each further one an epoch later. A parameter that several match belongs to the first of them; one that none matches stays as it is.
    ///
    /// # Errors
    /// A pattern that cannot be read.
    pub fn new<S: AsRef<str>>(groups: &[S]) -> Result<GradualUnfreezing> {
        let groups = groups.iter().zip(0..).map(|(text, start)| Ok((Pattern::new(text.as_ref())?, start)));
        Ok(GradualUnfreezing { groups: groups.collect::<Result<_>>()? })
    }

    /// The same, where each group is trained from an epoch of its own on.
    ///
    /// # Errors
    /// A pattern that cannot be read.
    pub fn at<S: AsRef<str>>(groups: &[(S, u64)]) -> Result<GradualUnfreezing> {
        let groups = groups.iter().map(|(text, start)| Ok((Pattern::new(text.as_ref())?, *start)));
        Ok(GradualUnfreezing { groups: groups.collect::<Result<_>>()? })
    }

    /// With so many epochs, or steps where steps are counted, from one thaw to the next.
    #[must_use]
    pub fn every(mut self, epochs: u64) -> GradualUnfreezing {
        self.groups.iter_mut().zip(0..).for_each(|((_, start), i)| *start = epochs.saturating_mul(i));
        self
    }

    /// Freezes and unfreezes the model as the plan says for this epoch. Returns how many parameters changed.
    ///
    /// # Errors
    /// A group that matches no parameter; nothing is changed then.
    pub fn apply(&self, model: &mut dyn Module, epoch: u64) -> Result<usize> {
        let mut paths = Vec::new();
        params(model, |path, _| paths.push(path.to_string()));
        for (pattern, _) in &self.groups {
            pattern.check_matches("gradual unfreezing", "parameter", &paths)?;
        }
        let mut changed = 0;
        params_mut(model, |path, param| {
            if let Some((_, start)) = self.groups.iter().find(|(pattern, _)| pattern.matches(path)) {
                let trainable = *start <= epoch;
                changed += (param.trainable != trainable) as usize;
                param.trainable = trainable;
            }
        });
        Ok(changed)
    }
}

/// Lets the learning rate fall with depth: that of the i-th group from the top is the optimizer's over `divisor^i`. ULMFiT takes 2.6. A parameter that several groups match belongs to the first of them.
///
/// They are groups of the optimizer's like others: a group declared later that sets `learning_rate_scale` for the same parameters holds in their place.
/// ```
/// # use chainrule_finetune::discriminative;
/// use chainrule_optim::{AdamW, Schedule};
/// let adam = AdamW::new(2e-3).schedule(Schedule::slanted_triangular(1000, 0.1, 32.0));
/// let adam = discriminative(adam, &["classifier.*", "encoder.layer.1.*", "encoder.layer.0.*", "embeddings.*"], 2.6);
/// ```
///
/// A pattern that cannot be read, or that matches no parameter, is an error of the optimizer's first step, and so is a divisor that makes rates negative or infinite.
#[must_use]
pub fn discriminative<R: Rule, S: AsRef<str>>(optimizer: Optimizer<R>, groups: &[S], divisor: f64) -> Optimizer<R> {
    // Of two groups the last declared one holds, and that is to be the upper one.
    let factors = std::iter::successors(Some(1.0), |factor| Some(factor / divisor));
    let groups: Vec<(&S, f64)> = groups.iter().zip(factors).collect();
    groups.into_iter().rev().fold(optimizer, |optimizer, (pattern, factor)| optimizer.group(pattern.as_ref(), move |group| group.learning_rate_scale(factor)))
}
