//! The backward pass: one reverse scan over the recording.

use crate::gradients::Gradients;
use crate::pass::Pass;
use crate::recorder::Recorder;
use crate::recording::{Kind, NodeId, Recording};
use crate::{Array, Error, Result, Tensor};
use chainrule_core::ops::elementwise::{Binary, binary};
use std::sync::Arc;

/// The recording in the hands of a pass. Whatever happens, also when a rule panics, it goes back to its tape.
pub(crate) struct Scan<'a> {
    pub(crate) recorder: &'a Recorder,
    pub(crate) recording: Recording,
}

impl Drop for Scan<'_> {
    fn drop(&mut self) {
        self.recorder.restore(std::mem::take(&mut self.recording));
    }
}

/// The gradients of `root` by all leaves. With `release`, nodes are freed as the scan passes them.
pub(crate) fn backward(op: &'static str, recorder: &Arc<Recorder>, root: Option<NodeId>, seed: Array, release: bool) -> Result<Gradients> {
    recorder.check_open(op)?;
    let root = root.ok_or(Error::Constant { op })?;
    let (recording, updates) = recorder.take(op, release)?;
    let mut scan = Scan { recorder, recording };
    let mut gradients = Gradients::with_updates(updates);
    let mut slots = std::mem::take(&mut scan.recording.slots).cleared(root.index() + 1);
    slots.put(root.index(), Some(Tensor::off(seed)));
    sweep(recorder, &mut scan.recording, root.index(), release, &mut slots, &mut gradients)?;
    scan.recording.slots = slots;
    Ok(gradients)
}

/// From node `root` back to the first. With `release`, nodes are freed on the way.
pub(crate) fn sweep(recorder: &Recorder, recording: &mut Recording, root: usize, release: bool, slots: &mut Slots, gradients: &mut Gradients) -> Result<()> {
    let mut out = std::mem::take(&mut recording.out);
    for i in (0..=root).rev() {
        match &recording.nodes[i].kind {
            Kind::Parameter(id) => {
                if let Some(grad) = slots.take(i) {
                    gradients.insert(*id, grad.array.contiguous()?);
                }
            }
            Kind::Watched => {
                if let Some(grad) = slots.take(i) {
                    gradients.insert_watched((recorder.serial, i), grad.array.contiguous()?);
                }
            }
            Kind::Operation(_) | Kind::Several(..) | Kind::Checkpoint(..) => step(recording, i, None, slots, &mut out)?,
            Kind::Output | Kind::Input => {}
        }
        if release {
            recording.truncate(i);
        }
    }
    out.clear();
    recording.out = out;
    Ok(())
}

/// The gradients of `root` by `tensors`, recorded behind the forward pass.
pub(crate) fn gradients_of(recorder: &Arc<Recorder>, root: Option<NodeId>, seed: Array, tensors: &[&Tensor]) -> Result<Vec<Tensor>> {
    const OP: &str = "gradients_of";
    recorder.check_open(OP)?;
    let root = root.ok_or(Error::Constant { op: OP })?;
    let targets = tensors.iter().map(|t| t.node().ok_or(Error::Constant { op: OP })).collect::<Result<Vec<_>>>()?;
    let (recording, _) = recorder.take(OP, false)?;
    let scan = Scan { recorder, recording };
    let wanted = leading_to(&scan.recording, root, &targets);
    let mut slots = Slots::default().cleared(root.index() + 1);
    slots.put(root.index(), Some(Tensor::on(seed, recorder, None, recorder.training)));
    let mut found: Vec<Option<Tensor>> = targets.iter().map(|_| None).collect();
    let mut out = Vec::new();
    for i in (0..=root.index()).rev().filter(|&i| wanted[i]) {
        for (found, _) in found.iter_mut().zip(&targets).filter(|(_, target)| target.index() == i) {
            *found = slots.get(i).cloned();
        }
        step(&scan.recording, i, Some((recorder, &wanted)), &mut slots, &mut out)?;
    }
    found.into_iter().enumerate().map(|(position, f)| f.ok_or(Error::Unreached { position })).collect()
}

/// Which nodes up to `root` are targets or depend on one.
fn leading_to(recording: &Recording, root: NodeId, targets: &[NodeId]) -> Vec<bool> {
    let mut wanted = vec![false; root.index() + 1];
    for target in targets {
        if let Some(slot) = wanted.get_mut(target.index()) {
            *slot = true;
        }
    }
    for (i, node) in recording.nodes[..=root.index()].iter().enumerate() {
        let sources = &recording.sources[node.first_source..][..node.inputs as usize];
        wanted[i] |= sources.iter().flatten().any(|s| wanted[s.index()]);
        if let (Kind::Several(_, outputs) | Kind::Checkpoint(_, outputs), true) = (&node.kind, wanted[i]) {
            wanted[i + 1..].iter_mut().take(*outputs as usize).for_each(|w| *w = true);
        }
    }
    wanted
}

/// Runs the rule of node `i`, if it is an operation and a gradient reached it, and adds what it returns to the gradients of its inputs.
fn step(recording: &Recording, i: usize, recorded: Option<(&Arc<Recorder>, &[bool])>, slots: &mut Slots, out: &mut Vec<Option<Tensor>>) -> Result<()> {
    let node = &recording.nodes[i];
    let (rule, grad, grads) = match &node.kind {
        Kind::Operation(rule) => (rule, slots.take(i), Vec::new()),
        Kind::Several(rule, outputs) => {
            let grads = slots.of_outputs(i, *outputs);
            (rule, grads.iter().flatten().next().cloned(), grads)
        }
        Kind::Checkpoint(replay, outputs) => {
            let grads = slots.of_outputs(i, *outputs);
            if grads.iter().all(Option::is_none) {
                return Ok(());
            }
            if recorded.is_some() {
                return Err(Error::NotDifferentiable { op: node.name, reason: "a checkpoint has no second derivative; leave it out where one is needed" });
            }
            return replay.backward(grads, &recording.sources[node.first_source..][..node.inputs as usize], slots);
        }
        Kind::Parameter(_) | Kind::Watched | Kind::Output | Kind::Input => return Ok(()),
    };
    let (Some(grad), Some(id)) = (grad, NodeId::new(i)) else { return Ok(()) };
    let (recorder, wanted) = recorded.unzip();
    let pass = &Pass { grad: &grad, grads: &grads, recording, id, recorder, wanted };
    out.clear();
    out.resize_with(node.inputs as usize, || None);
    rule(pass, out)?;
    for (i, gradient) in out.iter_mut().enumerate() {
        let Some(source) = pass.source(i).filter(|_| pass.needs(i)) else { continue };
        fit(pass, i, source, gradient)?;
        slots.add(source.index(), gradient, pass.recorded())?;
    }
    Ok(())
}

/// Checks a gradient against its input; the one place where broadcasting is undone.
fn fit(pass: &Pass, i: usize, source: NodeId, slot: &mut Option<Tensor>) -> Result<()> {
    let (node, input) = (&pass.recording.nodes[pass.id.index()], &pass.recording.nodes[source.index()]);
    let lost = |reason| Error::NotDifferentiable { op: node.name, reason };
    let Some(gradient) = slot else {
        return Err(lost("its rule returned no gradient for an input that needs one; detach the input if that is meant"));
    };
    if gradient.is_on_tape() != pass.recorded() {
        let reason = "its rule computes with arrays, so it has no second derivative; write the rule in operations on the pass's tensors";
        return Err(if pass.recorded() { lost(reason) } else { Error::Captured { op: node.name } });
    }
    if gradient.dims() == input.shape.dims() && gradient.dtype() == input.dtype {
        return Ok(());
    }
    if node.broadcasts && gradient.dtype() == input.dtype {
        *slot = Some(gradient.sum_to(input.shape.dims())?);
        return Ok(());
    }
    let (got, expected) = (format!("{} {:?}", gradient.dtype(), gradient.shape()), format!("{} {:?}", input.dtype, input.shape));
    Err(Error::Gradient { op: node.name, input: i, got, expected })
}

/// Gradients on their way: few at a time, so they stand close together, and nodes hold numbers.
#[derive(Default)]
pub(crate) struct Slots {
    /// For each node the place of its gradient, 0 for none.
    places: Vec<u32>,
    tensors: Vec<Option<Tensor>>,
    free: Vec<u32>,
}

impl Slots {
    /// None for any of `nodes` nodes, in the same memory.
    pub(crate) fn cleared(mut self, nodes: usize) -> Slots {
        self.places.clear();
        self.places.resize(nodes, 0);
        self.tensors.clear();
        self.tensors.push(None);
        self.free.clear();
        self
    }

    /// Of an operation with several outputs, which stand behind it.
    fn of_outputs(&mut self, operation: usize, outputs: u32) -> Vec<Option<Tensor>> {
        (1..=outputs as usize).map(|k| self.take(operation + k)).collect()
    }

    fn get(&self, node: usize) -> Option<&Tensor> {
        self.tensors[self.places[node] as usize].as_ref()
    }

    /// A node behind the root has none.
    pub(crate) fn take(&mut self, node: usize) -> Option<Tensor> {
        let place = std::mem::take(self.places.get_mut(node)?);
        if place == 0 {
            return None;
        }
        self.free.push(place);
        self.tensors[place as usize].take()
    }

    pub(crate) fn put(&mut self, node: usize, gradient: Option<Tensor>) {
        let place = self.free.pop().unwrap_or_else(|| {
            self.tensors.push(None);
            self.tensors.len() as u32 - 1
        });
        self.tensors[place as usize] = gradient;
        self.places[node] = place;
    }

    /// Adds a gradient to the node's.
    pub(crate) fn add(&mut self, node: usize, gradient: &mut Option<Tensor>, recorded: bool) -> Result<()> {
        if self.places[node] == 0 {
            self.put(node, gradient.take());
            return Ok(());
        }
        let sum = match (self.take(node), gradient.take()) {
            (Some(earlier), Some(gradient)) if recorded => Some(earlier.add(&gradient)?),
            (Some(earlier), Some(gradient)) => Some(Tensor::off(add_into(earlier.array, gradient.array)?)),
            (earlier, gradient) => earlier.or(gradient),
        };
        self.put(node, sum);
        Ok(())
    }
}

/// `a + b`, in the memory of whichever nobody else holds.
pub(crate) fn add_into(mut a: Array, mut b: Array) -> Result<Array> {
    if !a.is_unique() && b.is_unique() {
        std::mem::swap(&mut a, &mut b);
    }
    if a.is_unique() && b.is_contiguous() && a.dims() == b.dims() && a.dtype() == b.dtype() {
        if let (Ok(a), Ok(b)) = (a.as_mut_slice::<f32>(), b.as_slice::<f32>()) {
            a.iter_mut().zip(b).for_each(|(a, b)| *a += b);
        } else if let (Ok(a), Ok(b)) = (a.as_mut_slice::<f64>(), b.as_slice::<f64>()) {
            a.iter_mut().zip(b).for_each(|(a, b)| *a += b);
        } else {
            return Ok(binary(Binary::Add, &a, &b)?);
        }
        return Ok(a);
    }
    Ok(binary(Binary::Add, &a, &b)?)
}
