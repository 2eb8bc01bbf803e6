//! [`State`]: what an optimizer remembers, as a tree by parameter path.

use crate::optimizer::Slots;
use crate::step::describe;
use crate::{Error, Optimizer, Result, Rule};
use chainrule_core::{Array, DType};
use chainrule_nn::{Module, params};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// All that a later run needs to go on with the same bits, beside the model and the program itself: hyper-parameters, groups and schedule are the program's.
///
/// It goes to and from a map of named arrays: `fc1.weight.exp_avg` and `fc1.weight.step` by parameter, `rule`, `steps`, `factor`, and `learning_rate` where one was set while running.
/// ```
/// use chainrule_autograd::{Array, DType, Gradients};
/// use chainrule_nn::Param;
/// use chainrule_optim::{Adam, State};
/// let mut model = [Param::new(Array::ones(&[2], DType::F32)?)];
/// let mut gradients = Gradients::default();
/// gradients.insert(model[0].id, Array::ones(&[2], DType::F32)?);
/// let mut adam = Adam::new(1e-3);
/// adam.step(&mut model, &gradients)?;
///
/// let arrays = adam.state(&model).to_arrays()?;
/// assert_eq!(arrays.keys().collect::<Vec<_>>(), ["0.exp_avg", "0.exp_avg_sq", "0.step", "factor", "rule", "steps"]);
/// let mut resumed = Adam::new(1e-3);
/// resumed.load_state(&model, &State::from_arrays(&arrays)?)?;
/// assert_eq!(resumed.steps(), 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct State {
    /// The rule's name.
    pub rule: String,
    /// How many steps have been taken.
    pub steps: u64,
    /// The learning rate, if one was set while running.
    pub learning_rate: Option<f64>,
    /// What multiplies the learning rate of every group.
    pub factor: f64,
    /// What is kept for parameters, by path.
    pub parameters: BTreeMap<String, ParameterState>,
}

/// What an optimizer keeps for one parameter.
#[derive(Clone, Debug)]
pub struct ParameterState {
    /// How many steps it has taken.
    pub step: u64,
    /// The rule's arrays, by name.
    pub arrays: BTreeMap<String, Array>,
}

impl<R: Rule> Optimizer<R> {
    /// What the optimizer remembers of this model's parameters. The arrays are shared, not copied.
    pub fn state(&self, model: &dyn Module) -> State {
        let mut parameters = BTreeMap::new();
        params(model, |path, param| {
            if let Some(slots) = self.slots.get(&param.id) {
                let arrays = slots.names.iter().map(|name| name.to_string()).zip(slots.arrays.iter().cloned()).collect();
                parameters.insert(path.to_string(), ParameterState { step: slots.step, arrays });
            }
        });
        State { rule: R::NAME.to_string(), steps: self.steps, learning_rate: self.set_rate, factor: self.factor, parameters }
    }

    /// Goes on from a state: the next step has the bits that it would have had without the interruption, if the program is the same. What the optimizer kept before is dropped.
    ///
    /// What was kept on another device moves to where its parameter stands. Parameters must be frozen as they were; freeze and unfreeze others afterwards.
    ///
    /// # Errors
    /// The state of another rule; a parameter that the model lacks; a trainable parameter that the state lacks, once steps have been taken; arrays of other names, shapes or element types. Nothing has changed then.
    pub fn load_state(&mut self, model: &dyn Module, state: &State) -> Result<()> {
        expect_rule::<R>(state)?;
        let mut trainable = Vec::new();
        let mut known = BTreeSet::new();
        params(model, |path, param| {
            known.insert(path.to_string());
            if param.trainable {
                trainable.push((path.to_string(), param.clone()));
            }
        });
        if let Some(path) = state.parameters.keys().find(|path| !known.contains(*path)) {
            return Err(Error::State(format!("the state has \"{path}\", which the model lacks")));
        }
        let classes: Vec<usize> = trainable.iter().map(|(path, param)| self.groups.class(param.id, path)).collect();
        let groups = self.groups.resolve(&self.base_now());
        let mut slots = HashMap::new();
        for ((path, param), class) in trainable.iter().zip(classes) {
            let rule = &groups[class].rule;
            match state.parameters.get(path) {
                Some(saved) => drop(slots.insert(param.id, restore(path, rule, &param.value, saved)?)),
                None if state.steps == 0 => {}
                None => return Err(Error::State(format!("the state lacks \"{path}\", which is trainable; unfreeze it after loading if it joins now"))),
            }
        }
        (self.slots, self.steps, self.set_rate, self.factor) = (slots, state.steps, state.learning_rate, state.factor);
        Ok(())
    }

    /// Gives back what a state holds of trainable parameters of which the optimizer keeps nothing: those that were frozen for a while and are trained again. Returns how many there are.
    ///
    /// A parameter's moments, and the count of its own steps, go on as if the steps between had not been. The optimizer's count of steps, and so its schedule, stay as they are.
    /// ```
    /// use chainrule_autograd::{Array, DType, Gradients};
    /// use chainrule_nn::{Param, freeze, unfreeze};
    /// use chainrule_optim::Adam;
    /// let mut model = [Param::new(Array::ones(&[2], DType::F32)?), Param::new(Array::ones(&[2], DType::F32)?)];
    /// let mut gradients = Gradients::default();
    /// for param in &model {
    ///     gradients.insert(param.id, Array::ones(&[2], DType::F32)?);
    /// }
    /// let mut adam = Adam::new(1e-3);
    /// adam.step(&mut model, &gradients)?;
    ///
    /// let before = adam.state(&model);
    /// freeze(&mut model, "0")?;
    /// adam.step(&mut model, &gradients)?; // what was kept of the first is dropped
    /// assert_eq!(adam.state(&model).parameters.len(), 1);
    /// unfreeze(&mut model, "0")?;
    /// assert_eq!(adam.rejoin(&model, &before)?, 1);
    /// assert_eq!(adam.state(&model).parameters["0"].step, 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// The state of another rule; arrays of other names, shapes or element types. Nothing has changed then.
    pub fn rejoin(&mut self, model: &dyn Module, state: &State) -> Result<usize> {
        expect_rule::<R>(state)?;
        let mut joining = Vec::new();
        params(model, |path, param| {
            if param.trainable && !self.slots.contains_key(&param.id) && state.parameters.contains_key(path) {
                joining.push((path.to_string(), param.clone()));
            }
        });
        let classes: Vec<usize> = joining.iter().map(|(path, param)| self.groups.class(param.id, path)).collect();
        let groups = self.groups.resolve(&self.base_now());
        let mut slots = HashMap::new();
        for ((path, param), class) in joining.iter().zip(classes) {
            if let Some(saved) = state.parameters.get(path) {
                slots.insert(param.id, restore(path, &groups[class].rule, &param.value, saved)?);
            }
        }
        let joined = slots.len();
        self.slots.extend(slots);
        Ok(joined)
    }
}

fn expect_rule<R: Rule>(state: &State) -> Result<()> {
    if state.rule == R::NAME {
        return Ok(());
    }
    Err(Error::State(format!("got a state of the rule \"{}\", expected \"{}\"", state.rule, R::NAME)))
}

fn restore<R: Rule>(path: &str, rule: &R, value: &Array, saved: &ParameterState) -> Result<Slots> {
    let names = rule.slots(value);
    if let Some(other) = saved.arrays.keys().find(|name| !names.contains(&name.as_str())) {
        return Err(Error::State(format!("\"{path}\" has \"{other}\", expected {names:?} (has a hyper-parameter changed?)")));
    }
    let mut arrays = Vec::with_capacity(names.len());
    for &name in names {
        let array = saved.arrays.get(name).ok_or_else(|| Error::State(format!("\"{path}\" lacks \"{name}\" (has a hyper-parameter changed?)")))?;
        let expected = rule.init(name, value).map_err(|source| Error::At { path: path.to_string(), source })?;
        if array.dims() != expected.dims() || array.dtype() != expected.dtype() {
            return Err(Error::State(format!("\"{path}.{name}\" is {}, expected {}", describe(array), describe(&expected))));
        }
        arrays.push(array.to(&expected.device()).map_err(|source| Error::At { path: path.to_string(), source })?);
    }
    Ok(Slots { step: saved.step, names, arrays })
}

/// The names of what is kept once.
const WHOLE: [&str; 4] = ["rule", "steps", "factor", "learning_rate"];

impl State {
    /// The state as named arrays, ready for a file.
    ///
    /// # Errors
    /// No memory.
    pub fn to_arrays(&self) -> chainrule_core::Result<BTreeMap<String, Array>> {
        let count = |n: u64| Array::from_slice(&[n as i64], &[]);
        let mut arrays = BTreeMap::new();
        arrays.insert("rule".to_string(), Array::from_slice(self.rule.as_bytes(), &[self.rule.len()])?);
        arrays.insert("steps".to_string(), count(self.steps)?);
        arrays.insert("factor".to_string(), Array::scalar(self.factor, DType::F64)?);
        if let Some(rate) = self.learning_rate {
            arrays.insert("learning_rate".to_string(), Array::scalar(rate, DType::F64)?);
        }
        for (path, parameter) in &self.parameters {
            arrays.insert(format!("{path}.step"), count(parameter.step)?);
            for (name, array) in &parameter.arrays {
                arrays.insert(format!("{path}.{name}"), array.clone());
            }
        }
        Ok(arrays)
    }

    /// The state that [`to_arrays`](State::to_arrays) made into named arrays.
    ///
    /// # Errors
    /// Arrays that are missing, of no parameter, or no counts.
    pub fn from_arrays(arrays: &BTreeMap<String, Array>) -> Result<State> {
        let wrong =
            |name: &str, expected: &str| Error::State(format!("\"{name}\" is {}, expected {expected}", arrays.get(name).map_or("missing".into(), describe)));
        let count = |name: &str| -> Result<u64> {
            let number = arrays.get(name).filter(|a| a.dtype() == DType::I64 && a.count() == 1).and_then(|a| a.to_vec::<i64>().ok());
            number.and_then(|n| u64::try_from(n[0]).ok()).ok_or_else(|| wrong(name, "a count: one i64 of at least 0"))
        };
        let number = |name: &str| -> Result<f64> {
            arrays.get(name).filter(|a| a.dtype() == DType::F64).and_then(|a| a.item().ok()).ok_or_else(|| wrong(name, "one f64"))
        };
        let rule = arrays.get("rule").and_then(|a| a.to_vec::<u8>().ok()).and_then(|bytes| String::from_utf8(bytes).ok());
        let mut state = State {
            rule: rule.ok_or_else(|| wrong("rule", "the rule's name as bytes"))?,
            steps: count("steps")?,
            learning_rate: arrays.contains_key("learning_rate").then(|| number("learning_rate")).transpose()?,
            factor: number("factor")?,
            parameters: BTreeMap::new(),
        };
        for (name, array) in arrays {
            // A path may be empty, but the dot after it stays.
            let Some((path, slot)) = name.rsplit_once('.') else {
                if WHOLE.contains(&name.as_str()) {
                    continue;
                }
                return Err(Error::State(format!("got \"{name}\", expected one of {WHOLE:?} or the path of a parameter, a dot and a name")));
            };
            if !state.parameters.contains_key(path) {
                let step = count(&format!("{path}.step"))?;
                state.parameters.insert(path.to_string(), ParameterState { step, arrays: BTreeMap::new() });
            }
            if slot != "step"
                && let Some(parameter) = state.parameters.get_mut(path)
            {
                parameter.arrays.insert(slot.to_string(), array.clone());
            }
        }
        Ok(state)
    }
}
