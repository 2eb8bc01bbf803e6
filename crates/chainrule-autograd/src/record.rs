//! How every operation, the library's or a user's, enters the tape.

use crate::pass::{Keep, Pass};
use crate::recorder::Recorder;
use crate::recording::{Kind, NodeId, Rule};
use crate::tensor::Place;
use crate::{Array, Error, Result, Tensor};
use std::sync::Arc;

impl Tensor {
    /// Records an operation whose rule is written in operations on tensors, so that second derivatives come free.
    ///
    /// `output` has been computed from the arrays of `inputs`. The rule returns a gradient for each input that needs one ([`Pass::needs`]), of the input's shape.
    /// It must not capture tensors: what it reads is listed in `keep`. Nothing is recorded when no input needs a gradient, or the output is of an integer type.
    /// ```
    /// # use chainrule_autograd::{Array, Keep, Result, Rng, Tape, Tensor};
    /// /// x³
    /// fn cube(x: &Tensor) -> Result<Tensor> {
    ///     let values: Vec<f64> = x.to_vec::<f64>()?.iter().map(|x| x * x * x).collect();
    ///     Tensor::record("cube", [x], Keep::FIRST, Array::from_slice(&values, x.dims())?, |pass| {
    ///         Ok([Some(pass.grad().mul(&pass.input(0)?.square()?.mul_scalar(3.0)?)?)])
    ///     })
    /// }
    /// let tape = Tape::training(&mut Rng::seeded(0));
    /// let x = tape.watch(Tensor::from_slice(&[2f64], &[1])?);
    /// assert_eq!(cube(&x)?.sum()?.backward()?.wrt(&x).unwrap().to_vec::<f64>()?, [12.0]);
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// Inputs of two tapes; an input computed from trainable parameters off the tape beside one on it.
    #[inline]
    pub fn record<const N: usize>(
        name: &'static str,
        inputs: [&Tensor; N],
        keep: Keep,
        output: Array,
        rule: impl Fn(&Pass) -> Result<[Option<Tensor>; N]> + Send + Sync + 'static,
    ) -> Result<Tensor> {
        enter(name, &inputs, keep, false, output, || boxed(rule))
    }

    /// Records an operation whose rule is one fused kernel: it gets the gradient and returns those of the inputs as arrays. A second derivative through it is an error.
    /// ```
    /// # use chainrule_autograd::{Keep, Result, Rng, Tape, Tensor};
    /// fn double(x: &Tensor) -> Result<Tensor> {
    ///     let y = x.mul_scalar(2.0)?.into_array();
    ///     Tensor::record_fused("double", [x], Keep::NONE, y, |gradient, _| Ok([Some(Tensor::from(gradient).mul_scalar(2.0)?.into_array())]))
    /// }
    /// let tape = Tape::training(&mut Rng::seeded(0));
    /// let x = tape.watch(Tensor::from_slice(&[1f64], &[1])?);
    /// assert_eq!(double(&x)?.sum()?.backward()?.wrt(&x).unwrap().to_vec::<f64>()?, [2.0]);
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// As for [`record`](Tensor::record).
    pub fn record_fused<const N: usize>(
        name: &'static str,
        inputs: [&Tensor; N],
        keep: Keep,
        output: Array,
        rule: impl Fn(&Array, &Pass) -> Result<[Option<Array>; N]> + Send + Sync + 'static,
    ) -> Result<Tensor> {
        enter(name, &inputs, keep, false, output, || {
            boxed(move |pass: &Pass| {
                if pass.recorded() {
                    return Err(Error::NotDifferentiable { op: pass.name(), reason: "its rule is one fused kernel, which has no second derivative" });
                }
                Ok(rule(pass.grad().array(), pass)?.map(|g| g.map(Tensor::off)))
            })
        })
    }

    /// Records an operation of any number of inputs; the rule writes their gradients into the slots. See [`record`](Tensor::record).
    /// ```
    /// # use chainrule_autograd::{Keep, Result, Rng, Tape, Tensor};
    /// fn total(parts: &[&Tensor]) -> Result<Tensor> {
    ///     let sum = parts[1..].iter().try_fold(parts[0].clone(), |sum, part| sum.add(part))?;
    ///     Tensor::record_many("total", parts, Keep::NONE, sum.into_array(), |pass, out| {
    ///         out.fill(Some(pass.grad().clone()));
    ///         Ok(())
    ///     })
    /// }
    /// let tape = Tape::training(&mut Rng::seeded(0));
    /// let x = tape.watch(Tensor::from_slice(&[1f64], &[1])?);
    /// assert_eq!(total(&[&x, &x, &x])?.sum()?.backward()?.wrt(&x).unwrap().to_vec::<f64>()?, [3.0]);
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// As for [`record`](Tensor::record).
    pub fn record_many(
        name: &'static str,
        inputs: &[&Tensor],
        keep: Keep,
        output: Array,
        rule: impl Fn(&Pass, &mut [Option<Tensor>]) -> Result<()> + Send + Sync + 'static,
    ) -> Result<Tensor> {
        enter(name, inputs, keep, false, output, || Box::new(rule))
    }

    /// Records an operation of several outputs. The rule gets their gradients, `None` for an output that nothing depended on, and writes those of the inputs into the slots.
    ///
    /// [`Keep::OUTPUT`] is not for it: the rule captures the arrays of the outputs it reads. Outputs of an integer type are constants.
    /// ```
    /// # use chainrule_autograd::{Array, Keep, Result, Rng, Tape, Tensor};
    /// /// (2 x, 3 x)
    /// fn multiples(x: &Tensor) -> Result<Vec<Tensor>> {
    ///     let outputs = vec![x.mul_scalar(2.0)?.into_array(), x.mul_scalar(3.0)?.into_array()];
    ///     Tensor::record_outputs("multiples", &[x], Keep::NONE, outputs, |_, gradients, out| {
    ///         for (gradient, factor) in gradients.iter().zip([2.0, 3.0]) {
    ///             let Some(gradient) = gradient else { continue };
    ///             let part = gradient.mul_scalar(factor)?;
    ///             out[0] = Some(match out[0].take() {
    ///                 Some(sum) => sum.add(&part)?,
    ///                 None => part,
    ///             });
    ///         }
    ///         Ok(())
    ///     })
    /// }
    /// let tape = Tape::training(&mut Rng::seeded(0));
    /// let x = tape.watch(Tensor::from_slice(&[1f64], &[1])?);
    /// let y = multiples(&x)?;
    /// assert_eq!(y[0].add(&y[1])?.sum()?.backward()?.wrt(&x).unwrap().to_vec::<f64>()?, [5.0]);
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// As for [`record`](Tensor::record).
    pub fn record_outputs(
        name: &'static str,
        inputs: &[&Tensor],
        keep: Keep,
        outputs: Vec<Array>,
        rule: impl Fn(&Pass, &[Option<Tensor>], &mut [Option<Tensor>]) -> Result<()> + Send + Sync + 'static,
    ) -> Result<Vec<Tensor>> {
        Tensor::enter_outputs(name, inputs, keep, outputs, |outputs| Kind::Several(Box::new(move |pass, out| rule(pass, pass.grads, out)), outputs))
    }

    pub(crate) fn enter_outputs(
        name: &'static str,
        inputs: &[&Tensor],
        keep: Keep,
        outputs: Vec<Array>,
        kind: impl FnOnce(u32) -> Kind,
    ) -> Result<Vec<Tensor>> {
        let meeting = meet(name, inputs)?;
        let nodes = match meeting.recorder {
            Some(recorder) if meeting.needs_gradient => recorder.record_outputs(name, inputs, keep, &outputs, kind(outputs.len() as u32))?,
            _ => vec![None; outputs.len()],
        };
        Ok(outputs.into_iter().zip(nodes).map(|(output, node)| meeting.place(output, node)).collect())
    }

    /// The one tape on which inputs lie.
    pub(crate) fn tape_of<'a>(name: &'static str, inputs: &[&'a Tensor]) -> Result<Option<&'a Arc<Recorder>>> {
        Ok(meet(name, inputs)?.recorder)
    }

    /// Records an operation that has no derivative: backward through it is an error, never a gradient lost in silence.
    /// ```
    /// # use chainrule_autograd::{Rng, Tape, Tensor};
    /// let tape = Tape::training(&mut Rng::seeded(0));
    /// let x = tape.watch(Tensor::from_slice(&[1.7f64], &[1])?);
    /// let y = Tensor::record_without_rule("cut", [&x], x.floor()?.into_array())?;
    /// assert!(y.sum()?.backward().unwrap_err().to_string().starts_with("cut: no gradient passes here"));
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// As for [`record`](Tensor::record).
    pub fn record_without_rule<const N: usize>(name: &'static str, inputs: [&Tensor; N], output: Array) -> Result<Tensor> {
        enter(name, &inputs, Keep::NONE, false, output, || {
            Box::new(|pass, _| Err(Error::NotDifferentiable { op: pass.name(), reason: "the operation has no derivative; detach its result if that is meant" }))
        })
    }

    /// The same as [`record`](Tensor::record) for operations whose inputs broadcast: gradients come in the output's shape and are summed to the inputs' shapes.
    #[inline]
    pub(crate) fn record_broadcast<const N: usize>(
        name: &'static str,
        inputs: [&Tensor; N],
        keep: Keep,
        output: Array,
        rule: impl Fn(&Pass) -> Result<[Option<Tensor>; N]> + Send + Sync + 'static,
    ) -> Result<Tensor> {
        enter(name, &inputs, keep, true, output, || boxed(rule))
    }
}

fn boxed<const N: usize>(rule: impl Fn(&Pass) -> Result<[Option<Tensor>; N]> + Send + Sync + 'static) -> Rule {
    Box::new(move |pass, out| {
        for (slot, gradient) in out.iter_mut().zip(rule(pass)?) {
            *slot = gradient;
        }
        Ok(())
    })
}

/// Where the result of an operation on `inputs` stands. Inference wins where modes meet.
struct Meeting<'a> {
    recorder: Option<&'a Arc<Recorder>>,
    training: bool,
    needs_gradient: bool,
    trainable_off: bool,
}

impl Meeting<'_> {
    #[inline]
    fn place(&self, output: Array, node: Option<NodeId>) -> Tensor {
        match self.recorder {
            Some(recorder) => Tensor::on(output, recorder, node, self.training),
            None => {
                let trainable = self.trainable_off && output.dtype().is_float();
                Tensor { array: output, place: Place::Off { trainable } }
            }
        }
    }
}

#[inline]
fn meet<'a>(name: &'static str, inputs: &[&'a Tensor]) -> Result<Meeting<'a>> {
    let mut meeting = Meeting { recorder: None, training: true, needs_gradient: false, trainable_off: false };
    for input in inputs {
        match &input.place {
            Place::Off { trainable } => meeting.trainable_off |= trainable,
            Place::On { recorder, node, training } => {
                match meeting.recorder {
                    Some(other) if !Arc::ptr_eq(other, recorder) => return Err(Error::TwoTapes { op: name }),
                    _ => meeting.recorder = Some(recorder),
                }
                meeting.training &= training;
                meeting.needs_gradient |= node.is_some();
            }
        }
    }
    if meeting.recorder.is_some() && meeting.trainable_off {
        return Err(Error::OffTapeGradient { op: name });
    }
    Ok(meeting)
}

#[inline(always)]
fn enter(name: &'static str, inputs: &[&Tensor], keep: Keep, broadcasts: bool, output: Array, rule: impl FnOnce() -> Rule) -> Result<Tensor> {
    let meeting = meet(name, inputs)?;
    let node = match meeting.recorder {
        Some(recorder) if meeting.needs_gradient && output.dtype().is_float() => recorder.record(name, inputs, keep, broadcasts, &output, rule())?,
        _ => None,
    };
    Ok(meeting.place(output, node))
}
