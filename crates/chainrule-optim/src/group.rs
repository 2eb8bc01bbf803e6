//! [`Group`]: hyper-parameters of some parameters, selected by path.

use crate::rule::check_not_negative;
use crate::{Error, Result, Rule, Schedule};
use chainrule_autograd::ParamId;
use chainrule_nn::{Module, Pattern, params};
use std::collections::HashMap;
use std::sync::Arc;

/// All that can differ between the parameters of one optimizer. A closure gets the optimizer's own and returns what is to hold for the parameters that a pattern selects.
/// ```
/// use chainrule_optim::{AdamW, Schedule};
/// let adam = AdamW::new(1e-3)
///     .group("encoder.*", |g| g.learning_rate_scale(0.1))
///     .group("*.bias", |g| g.weight_decay(0.0).betas(0.9, 0.99))
///     .group("head.*", |g| g.schedule(Schedule::linear(1.0, 0.0, 1000)));
/// ```
#[derive(Clone, Debug)]
pub struct Group<R> {
    /// The length of a step.
    pub learning_rate: f64,
    /// What the learning rate is multiplied by, whatever set it.
    pub learning_rate_scale: f64,
    /// How much of a parameter decays; the rule says in what way.
    pub weight_decay: f64,
    /// What multiplies the learning rate step by step.
    pub schedule: Option<Schedule>,
    /// The rule's own hyper-parameters.
    pub rule: R,
}

impl<R: Rule> Group<R> {
    /// Sets the learning rate.
    #[must_use]
    pub fn learning_rate(mut self, learning_rate: f64) -> Self {
        self.learning_rate = learning_rate;
        self
    }
    /// Sets what the learning rate is multiplied by: 1 unless set.
    #[must_use]
    pub fn learning_rate_scale(mut self, factor: f64) -> Self {
        self.learning_rate_scale = factor;
        self
    }
    /// Sets the weight decay.
    #[must_use]
    pub fn weight_decay(mut self, weight_decay: f64) -> Self {
        self.weight_decay = weight_decay;
        self
    }
    /// Sets the schedule in place of the optimizer's.
    #[must_use]
    pub fn schedule(mut self, schedule: Schedule) -> Self {
        self.schedule = Some(schedule);
        self
    }

    /// The learning rate of the step with this number, counted from 0.
    pub(crate) fn rate(&self, step: u64) -> f64 {
        let scheduled = self.schedule.as_ref().map_or(1.0, |s| s.at(step));
        self.learning_rate * self.learning_rate_scale * scheduled
    }

    pub(crate) fn check(&self, rate: f64, step: u64) -> Result<()> {
        let rate = check_not_negative("learning_rate", rate).map_err(|message| match &self.schedule {
            Some(schedule) => format!("{message} (at step {step} of {schedule:?})"),
            None => message,
        });
        let all = rate.and(check_not_negative("weight_decay", self.weight_decay)).and(self.rule.check());
        all.map_err(|message| Error::Setting { rule: R::NAME, message })
    }
}

type Change<R> = Arc<dyn Fn(Group<R>) -> Group<R> + Send + Sync>;

/// The groups of an optimizer, and which of them each kind of parameter belongs to.
#[derive(Clone)]
pub(crate) struct Groups<R> {
    /// A pattern that cannot be read is reported by the first step, so that builders need no `?`.
    declared: Vec<(Result<Pattern, chainrule_nn::Error>, Change<R>)>,
    /// Every combination of groups that some parameter belongs to.
    classes: Vec<Vec<usize>>,
    /// The class of every parameter met so far, and its path.
    known: HashMap<ParamId, (String, usize)>,
}

impl<R: Rule> Groups<R> {
    pub(crate) fn new() -> Groups<R> {
        Groups { declared: Vec::new(), classes: Vec::new(), known: HashMap::new() }
    }

    pub(crate) fn declare(&mut self, pattern: &str, change: impl Fn(Group<R>) -> Group<R> + Send + Sync + 'static) {
        self.declared.push((Pattern::new(pattern), Arc::new(change)));
        self.classes.clear();
        self.known.clear();
    }

    /// The class of a parameter: a place in what [`resolve`](Groups::resolve) returns.
    pub(crate) fn class(&mut self, id: ParamId, path: &str) -> usize {
        if let Some((known, class)) = self.known.get(&id)
            && known == path
        {
            return *class;
        }
        let class = self.find(path);
        self.known.insert(id, (path.to_string(), class));
        class
    }

    fn find(&mut self, path: &str) -> usize {
        let belongs = |(pattern, _): &(Result<Pattern, _>, _)| pattern.as_ref().is_ok_and(|p| p.matches(path));
        let class: Vec<usize> = self.declared.iter().enumerate().filter(|(_, group)| belongs(group)).map(|(i, _)| i).collect();
        self.classes.iter().position(|known| *known == class).unwrap_or_else(|| {
            self.classes.push(class);
            self.classes.len() - 1
        })
    }

    /// The settings of every class. Groups change them in order of declaration, so of two that set the same thing the last one holds.
    pub(crate) fn resolve(&self, base: &Group<R>) -> Vec<Group<R>> {
        let resolved = |class: &Vec<usize>| class.iter().fold(base.clone(), |group, &i| (self.declared[i].1)(group));
        self.classes.iter().map(resolved).collect()
    }

    /// An error for the first pattern that cannot be read or selects none of the model's parameters.
    pub(crate) fn check(&self, model: &dyn Module, others: &[Result<Pattern, chainrule_nn::Error>]) -> Result<()> {
        for pattern in self.declared.iter().map(|(pattern, _)| pattern).chain(others) {
            let pattern = pattern.as_ref().map_err(Clone::clone)?;
            let mut paths = Vec::new();
            params(model, |path, _| paths.push(path.to_string()));
            pattern.check_matches("step", "parameter", &paths)?;
        }
        Ok(())
    }
}
