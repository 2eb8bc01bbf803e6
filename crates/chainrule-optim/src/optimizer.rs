//! [`Optimizer`]: a rule at work on a model.

use crate::group::Groups;
use crate::{Group, Rule, Schedule};
use chainrule_autograd::ParamId;
use chainrule_core::Array;
use chainrule_nn::Pattern;
use std::collections::{HashMap, VecDeque};

/// A rule at work: its hyper-parameters, parameter groups, clipping, schedule, and the state of every parameter. [`Adam`](crate::Adam), [`Sgd`](crate::Sgd) and so on are optimizers.
///
/// It is a value like a model: clones are cheap, share their arrays until one of them steps, and can be kept to return to.
#[derive(Clone)]
pub struct Optimizer<R: Rule> {
    pub(crate) base: Group<R>,
    pub(crate) groups: Groups<R>,
    pub(crate) missing_as_zero: Vec<chainrule_nn::Result<Pattern>>,
    pub(crate) clip_norm: Option<f64>,
    pub(crate) clip_value: Option<f64>,
    pub(crate) skip_non_finite: bool,
    pub(crate) maximize: bool,
    /// Whether every pattern has been found to match.
    pub(crate) patterns_checked: bool,
    /// Set while the program runs, and so part of the state.
    pub(crate) set_rate: Option<f64>,
    pub(crate) factor: f64,
    pub(crate) steps: u64,
    pub(crate) slots: HashMap<ParamId, Slots>,
    /// The latest updates applied to every buffer, by [`stamp`](chainrule_autograd::Update::stamps).
    pub(crate) applied: HashMap<ParamId, VecDeque<u64>>,
}

/// What a rule keeps for one parameter.
#[derive(Clone, Debug)]
pub(crate) struct Slots {
    pub(crate) step: u64,
    pub(crate) names: &'static [&'static str],
    pub(crate) arrays: Vec<Array>,
}

impl<R: Rule> Optimizer<R> {
    /// A rule at work, with no weight decay. The library's rules have constructors of their own: `Adam::new(1e-3)`.
    pub fn from_rule(rule: R, learning_rate: f64) -> Optimizer<R> {
        Optimizer {
            base: Group { learning_rate, learning_rate_scale: 1.0, weight_decay: 0.0, schedule: None, rule },
            groups: Groups::new(),
            missing_as_zero: Vec::new(),
            clip_norm: None,
            clip_value: None,
            skip_non_finite: false,
            maximize: false,
            patterns_checked: false,
            set_rate: None,
            factor: 1.0,
            steps: 0,
            slots: HashMap::new(),
            applied: HashMap::new(),
        }
    }

    /// Sets the weight decay of all parameters.
    #[must_use]
    pub fn weight_decay(mut self, weight_decay: f64) -> Self {
        self.base.weight_decay = weight_decay;
        self
    }

    /// Sets what multiplies the learning rate step by step.
    #[must_use]
    pub fn schedule(mut self, schedule: Schedule) -> Self {
        self.base.schedule = Some(schedule);
        self
    }

    /// Sets apart the parameters that match a [`Pattern`]. Groups apply in order of declaration: of two that set the same thing for a parameter, the last one holds.
    ///
    /// A pattern that cannot be read, or that matches no parameter, is an error of the first step.
    #[must_use]
    pub fn group(mut self, pattern: &str, change: impl Fn(Group<R>) -> Group<R> + Send + Sync + 'static) -> Self {
        self.groups.declare(pattern, change);
        self.patterns_checked = false;
        self
    }

    /// Scales all gradients down together where their Euclidean norm, over all trainable parameters of the model, exceeds `most`: by `most / (norm + 1e-6)`, as PyTorch's `clip_grad_norm_`.
    #[must_use]
    pub fn clip_norm(mut self, most: f64) -> Self {
        self.clip_norm = Some(most);
        self
    }

    /// Limits every number of a gradient to `-most ..= most`, as PyTorch's `clip_grad_value_`; before [`clip_norm`](Optimizer::clip_norm), when both are set.
    #[must_use]
    pub fn clip_value(mut self, most: f64) -> Self {
        self.clip_value = Some(most);
        self
    }

    /// Takes the gradient as zero for parameters that match the pattern and got none: experts that no example was sent to. Weight decay and momentum still move them.
    #[must_use]
    pub fn missing_as_zero(mut self, pattern: &str) -> Self {
        self.missing_as_zero.push(Pattern::new(pattern));
        self.patterns_checked = false;
        self
    }

    /// Passes over a step whose gradients are not finite, and says so in its [`report`](crate::StepReport); otherwise it is an error.
    #[must_use]
    pub fn skip_non_finite(mut self) -> Self {
        self.skip_non_finite = true;
        self
    }

    /// Climbs instead of descending: rewards, likelihoods.
    #[must_use]
    pub fn maximize(mut self) -> Self {
        self.maximize = true;
        self
    }

    /// How many steps have been taken; those passed over don't count.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// The learning rate of the next step, where no group says otherwise.
    pub fn learning_rate(&self) -> f64 {
        self.base_now().rate(self.steps) * self.factor
    }

    /// Sets the learning rate that the schedule multiplies. It does not reach groups that set their own; see [`set_factor`](Optimizer::set_factor).
    pub fn set_learning_rate(&mut self, learning_rate: f64) {
        self.set_rate = Some(learning_rate);
    }

    /// Sets what multiplies the learning rate of every group, beside the schedule: 1 unless set. A [`Plateau`](crate::Plateau) gives such factors.
    pub fn set_factor(&mut self, factor: f64) {
        self.factor = factor;
    }

    /// The rule's hyper-parameters, for a change while training.
    pub fn rule_mut(&mut self) -> &mut R {
        &mut self.base.rule
    }

    /// The settings outside all groups, as they are now.
    pub(crate) fn base_now(&self) -> Group<R> {
        let mut base = self.base.clone();
        base.learning_rate = self.set_rate.unwrap_or(base.learning_rate);
        base
    }
}

impl<R: Rule> std::fmt::Debug for Optimizer<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Optimizer { base, clip_norm, clip_value, steps, .. } = self;
        f.debug_struct(R::NAME).field("base", base).field("clip_norm", clip_norm).field("clip_value", clip_value).field("steps", steps).finish_non_exhaustive()
    }
}
