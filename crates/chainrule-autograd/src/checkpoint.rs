//! Gradient checkpointing: part of a model is computed again in the backward pass instead of being kept (Chen et al. 2016; PyTorch's `torch.utils.checkpoint`).
//!
//! The first run stands on a recorder of its own, whose parameters, random streams and buffer updates are those of the outer tape, and on which everything is a constant, so that nothing is kept.
//! The second run is recorded on a tape that has the outer one's streams again. Its backward sweep starts from the gradients that the outer one has gathered, and so adds up in the same order: the same bits as without.

use crate::gradients::Gradients;
use crate::recorder::Recorder;
use crate::recording::{Kind, NodeId};
use crate::scan::{Scan, Slots, sweep};
use crate::{Array, DType, Error, ParamId, Result, Tensor};
use std::sync::Arc;

/// What is run again.
type Function = dyn Fn(&[Tensor]) -> Result<Vec<Tensor>> + Send + Sync;

/// What a second run needs.
pub(crate) struct Replay {
    function: Box<Function>,
    /// With the mode of those that are on the tape.
    inputs: Vec<(Array, Option<bool>)>,
    /// The parameters, in order of use: they follow the inputs among the node's sources.
    parameters: Vec<(ParamId, Array)>,
    /// The tape's key, and how many of its streams had been used.
    streams: (u64, u64),
    training: bool,
    precision: Option<DType>,
}

impl Tensor {
    /// `f` of this tensor, keeping nothing of what happens inside for the backward pass, which runs `f` again: memory for time. Values and gradients have the same bits as those of `f(x)`.
    ///
    /// `f` must do the same both times, must not capture tensors of the tape (they come by [`checkpoint_many`](Tensor::checkpoint_many)), and should own what it uses: a clone of a layer shares its numbers.
    /// Second derivatives do not pass. Off the tape it is `f` alone.
    /// ```
    /// # use chainrule_autograd::{Rng, Tape, Tensor};
    /// let tape = Tape::training(&mut Rng::seeded(0));
    /// let x = tape.watch(Tensor::from_slice(&[1f64, 2.0], &[2])?);
    /// let y = x.checkpoint(|x| x.exp()?.tanh()?.sin())?;
    /// assert_eq!(tape.operations(), ["watch", "checkpoint", "checkpoint"]); // the operation and its output
    /// let with = y.sum()?.backward()?.wrt(&x).unwrap().to_vec::<f64>()?;
    /// # let tape = Tape::training(&mut Rng::seeded(0));
    /// # let x = tape.watch(Tensor::from_slice(&[1f64, 2.0], &[2])?);
    /// # assert_eq!(x.exp()?.tanh()?.sin()?.sum()?.backward()?.wrt(&x).unwrap().to_vec::<f64>()?, with);
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// Those of `f`, in either run.
    pub fn checkpoint(&self, f: impl Fn(&Tensor) -> Result<Tensor> + Send + Sync + 'static) -> Result<Tensor> {
        let mut outputs = Tensor::checkpoint_many(&[self], move |x| Ok(vec![f(&x[0])?]))?;
        outputs.pop().ok_or_else(|| Error::value(OP, "the function gave no output"))
    }

    /// The same for any number of inputs and outputs.
    ///
    /// # Errors
    /// Those of `f`, in either run; inputs of two tapes.
    pub fn checkpoint_many(inputs: &[&Tensor], f: impl Fn(&[Tensor]) -> Result<Vec<Tensor>> + Send + Sync + 'static) -> Result<Vec<Tensor>> {
        let Some(outer) = Tensor::tape_of(OP, inputs)? else {
            return f(&inputs.iter().map(|&x| x.clone()).collect::<Vec<_>>());
        };
        let streams = outer.streams();
        let inside = Recorder::inside(outer);
        let run_on: Vec<Tensor> = inputs.iter().map(|x| x.as_constant_of(&inside)).collect();
        let outputs = f(&run_on)?;
        let (ids, parameters): (Vec<ParamId>, Vec<Tensor>) = inside.used().into_iter().unzip();
        let sources: Vec<&Tensor> = inputs.iter().copied().chain(&parameters).collect();
        let replay = Replay {
            function: Box::new(f),
            inputs: inputs.iter().map(|x| (x.array.clone(), x.is_on_tape().then(|| x.is_training()))).collect(),
            parameters: ids.into_iter().zip(parameters.iter().map(|p| p.array.clone())).collect(),
            streams,
            training: outer.training,
            precision: outer.precision,
        };
        let arrays = outputs.into_iter().map(Tensor::into_array).collect();
        Tensor::enter_outputs(OP, &sources, crate::Keep::NONE, arrays, |outputs| Kind::Checkpoint(Box::new(replay), outputs))
    }
}

pub(crate) const OP: &str = "checkpoint";

impl Replay {
    /// Runs again, recorded, and sweeps back from the gradients of the outputs; those of inputs and parameters are added up in the slots of the node's sources.
    pub(crate) fn backward(&self, grads: Vec<Option<Tensor>>, sources: &[Option<NodeId>], outer: &mut Slots) -> Result<()> {
        let recorder = Replaying(Recorder::replaying(self.streams, self.training, self.precision));
        let recorder = &recorder.0;
        let mut leaves = Vec::with_capacity(sources.len());
        let (of_inputs, of_parameters) = sources.split_at(self.inputs.len());
        let mut inputs = Vec::with_capacity(self.inputs.len());
        for ((array, training), source) in self.inputs.iter().zip(of_inputs) {
            let leaf = source.and_then(|_| recorder.checkpoint_input(array));
            leaves.push(leaf);
            inputs.push(match training {
                Some(training) => Tensor::on(array.clone(), recorder, leaf, *training),
                None => Tensor::off(array.clone()),
            });
        }
        for ((id, value), source) in self.parameters.iter().zip(of_parameters) {
            let leaf = source.and_then(|_| recorder.checkpoint_input(value));
            leaves.push(leaf);
            recorder.bind(*id, leaf, value);
        }
        let outputs = (self.function)(&inputs)?;
        let (recording, _) = recorder.take(OP, true)?;
        let mut scan = Scan { recorder, recording };
        let mut slots = std::mem::take(&mut scan.recording.slots).cleared(scan.recording.nodes.len());
        if outputs.len() != grads.len() {
            let (got, expected) = (outputs.len(), grads.len());
            return Err(Error::shape(OP, format!("the second run gave {got} outputs, the first {expected}; is the function the same both times?")));
        }
        let pairs = || leaves.iter().zip(sources).filter_map(|(leaf, source)| Some((leaf.as_ref()?.index(), source.as_ref()?.index())));
        for (leaf, source) in pairs() {
            if let Some(earlier) = outer.take(source) {
                slots.put(leaf, Some(earlier));
            }
        }
        let mut root = None;
        for (output, grad) in outputs.iter().zip(grads) {
            let (Some(node), Some(grad)) = (output.node(), grad) else { continue };
            if output.dims() != grad.dims() {
                let (got, expected) = (output.shape(), grad.shape());
                return Err(Error::shape(
                    OP,
                    format!("an output has shape {got:?} in the second run, expected {expected:?} as in the first; is the function the same both times?"),
                ));
            }
            slots.add(node.index(), &mut Some(grad), false)?;
            root = root.max(Some(node.index()));
        }
        if let Some(root) = root {
            let mut others = Gradients::default();
            sweep(recorder, &mut scan.recording, root, true, &mut slots, &mut others)?;
            if !others.is_empty() {
                return Err(Error::value(OP, "the second run read parameters that the first did not; is the function the same both times?"));
            }
        }
        for (leaf, source) in pairs() {
            let mut gradient = slots.take(leaf);
            if gradient.is_some() {
                outer.add(source, &mut gradient, false)?;
            }
        }
        scan.recording.slots = slots;
        Ok(())
    }
}

/// The recorder of a second run, whose memory is for the next one, whatever happens.
struct Replaying(Arc<Recorder>);

impl Drop for Replaying {
    fn drop(&mut self) {
        self.0.close();
    }
}
