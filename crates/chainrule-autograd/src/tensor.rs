//! [`Tensor`]: an array, and where it stands: off the tape, or on a tape in training or inference mode.

use crate::recorder::Recorder;
use crate::recording::{NodeId, ParamId};
use crate::{Array, DType, Device, Element, Error, Gradients, Result, Shape, Update};
use std::sync::Arc;

/// An array that may lie on a [`Tape`](crate::Tape).
///
/// Cloning shares the numbers. Operations are methods that return `Result`; the operators `+ - * /` are sugar that panics on mismatch.
#[derive(Clone)]
pub struct Tensor {
    pub(crate) array: Array,
    pub(crate) place: Place,
}

/// Where a tensor stands.
#[derive(Clone)]
pub(crate) enum Place {
    /// Nothing is recorded. `trainable`: a trainable parameter took part, whose gradient would be lost if this met a tape.
    Off { trainable: bool },
    /// On a tape; a constant there without `node`.
    On { recorder: Arc<Recorder>, node: Option<NodeId>, training: bool },
}

impl Tensor {
    pub(crate) fn off(array: Array) -> Tensor {
        Tensor { array, place: Place::Off { trainable: false } }
    }

    pub(crate) fn on(array: Array, recorder: &Arc<Recorder>, node: Option<NodeId>, training: bool) -> Tensor {
        Tensor { array, place: Place::On { recorder: recorder.clone(), node, training } }
    }

    /// The numbers.
    /// ```
    /// # use chainrule_autograd::{DType, Tensor};
    /// assert_eq!(Tensor::ones(&[2], DType::F32)?.array().to_vec::<f32>()?, [1.0, 1.0]);
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    #[inline]
    pub fn array(&self) -> &Array {
        &self.array
    }
    /// The numbers, without the place on a tape.
    /// ```
    /// # use chainrule_autograd::{DType, Tensor};
    /// assert_eq!(Tensor::ones(&[2], DType::F32)?.into_array().dims(), [2]);
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    #[inline]
    pub fn into_array(self) -> Array {
        self.array
    }
    /// The extents, outermost first.
    /// ```
    /// # use chainrule_autograd::{DType, Tensor};
    /// assert_eq!(*Tensor::zeros(&[2, 3], DType::F32)?.shape(), [2, 3]);
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    #[inline]
    pub fn shape(&self) -> &Shape {
        self.array.shape()
    }
    /// The extents as a slice.
    /// ```
    /// # use chainrule_autograd::{DType, Tensor};
    /// assert_eq!(Tensor::zeros(&[2, 3], DType::F32)?.dims(), [2, 3]);
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    #[inline]
    pub fn dims(&self) -> &[usize] {
        self.array.dims()
    }
    /// The number of dimensions.
    /// ```
    /// # use chainrule_autograd::{DType, Tensor};
    /// assert_eq!(Tensor::zeros(&[2, 3], DType::F32)?.rank(), 2);
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    #[inline]
    pub fn rank(&self) -> usize {
        self.array.rank()
    }
    /// The number of elements.
    /// ```
    /// # use chainrule_autograd::{DType, Tensor};
    /// assert_eq!(Tensor::zeros(&[2, 3], DType::F32)?.count(), 6);
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    #[inline]
    pub fn count(&self) -> usize {
        self.array.count()
    }
    /// The element type.
    /// ```
    /// # use chainrule_autograd::{DType, Tensor};
    /// assert_eq!(Tensor::zeros(&[2, 3], DType::F32)?.dtype(), DType::F32);
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    #[inline]
    pub fn dtype(&self) -> DType {
        self.array.dtype()
    }
    /// Where the numbers stand.
    /// ```
    /// # use chainrule_autograd::{DType, Device, Tensor};
    /// assert_eq!(Tensor::zeros(&[2], DType::F32)?.device(), Device::Cpu);
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    #[inline]
    pub fn device(&self) -> Device {
        self.array.device()
    }

    /// The numbers in row-major order.
    /// ```
    /// # use chainrule_autograd::{DType, Tensor};
    /// assert_eq!(Tensor::ones(&[2], DType::F64)?.to_vec::<f64>()?, [1.0, 1.0]);
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// Another element type than `T`.
    pub fn to_vec<T: Element>(&self) -> Result<Vec<T>> {
        Ok(self.array.to_vec()?)
    }

    /// The only number of a tensor of one element.
    /// ```
    /// # use chainrule_autograd::Tensor;
    /// assert_eq!(Tensor::from_slice(&[2f32, 3.0], &[2])?.sum()?.item()?, 5.0);
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// More or fewer elements than one.
    pub fn item(&self) -> Result<f64> {
        Ok(self.array.item()?)
    }

    /// Whether operations on this tensor go to a tape.
    /// ```
    /// # use chainrule_autograd::{DType, Rng, Tape, Tensor};
    /// let (x, tape) = (Tensor::ones(&[2], DType::F32)?, Tape::inference(&mut Rng::seeded(0)));
    /// assert!(!x.is_on_tape() && tape.input(&x).is_on_tape());
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    #[inline]
    pub fn is_on_tape(&self) -> bool {
        matches!(self.place, Place::On { .. })
    }

    /// Whether it is on a tape in training mode: dropout drops, batch norm uses the statistics of the batch.
    /// ```
    /// # use chainrule_autograd::{DType, Rng, Tape, Tensor};
    /// let tape = Tape::training(&mut Rng::seeded(0));
    /// assert!(tape.input(Tensor::ones(&[2], DType::F32)?).is_training());
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    #[inline]
    pub fn is_training(&self) -> bool {
        matches!(self.place, Place::On { training: true, .. })
    }

    /// Whether a gradient will flow to or through this tensor.
    /// ```
    /// # use chainrule_autograd::{DType, Rng, Tape, Tensor};
    /// let (x, tape) = (Tensor::ones(&[2], DType::F32)?, Tape::training(&mut Rng::seeded(0)));
    /// assert!(tape.watch(&x).needs_gradient() && !tape.input(&x).needs_gradient());
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    #[inline]
    pub fn needs_gradient(&self) -> bool {
        self.node().is_some()
    }

    #[inline]
    pub(crate) fn node(&self) -> Option<NodeId> {
        match self.place {
            Place::On { node, .. } => node,
            Place::Off { .. } => None,
        }
    }

    pub(crate) fn recorder(&self) -> Option<&Arc<Recorder>> {
        match &self.place {
            Place::On { recorder, .. } => Some(recorder),
            Place::Off { .. } => None,
        }
    }

    /// As a constant of another recorder; what is off the tape stays off.
    pub(crate) fn as_constant_of(&self, recorder: &Arc<Recorder>) -> Tensor {
        match &self.place {
            Place::On { training, .. } => Tensor::on(self.array.clone(), recorder, None, *training),
            Place::Off { .. } => self.clone(),
        }
    }

    /// The same numbers as a constant: on the same tape in the same mode, but no gradient flows further back (PyTorch's `detach`).
    /// ```
    /// # use chainrule_autograd::{Rng, Tape, Tensor};
    /// let tape = Tape::training(&mut Rng::seeded(0));
    /// let x = tape.watch(Tensor::from_slice(&[3f64], &[1])?);
    /// let y = x.mul(&x.detach())?.sum()?; // the second factor is a constant
    /// assert_eq!(y.backward()?.wrt(&x).unwrap().to_vec::<f64>()?, [3.0]);
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    pub fn detach(&self) -> Tensor {
        match &self.place {
            Place::On { recorder, training, .. } => Tensor::on(self.array.clone(), recorder, None, *training),
            Place::Off { .. } => Tensor::off(self.array.clone()),
        }
    }

    /// Runs `f` on this tensor in inference mode, still recorded: no dropout, running statistics, no buffer updates. So part of a model infers inside a training step.
    /// ```
    /// # use chainrule_autograd::{Result, Rng, Tape, Tensor};
    /// let tape = Tape::training(&mut Rng::seeded(0));
    /// let x = tape.input(Tensor::from_slice(&[1f32, 2.0], &[2])?);
    /// let y = x.inferring(|x| x.dropout(0.5))?;
    /// assert_eq!(y.to_vec::<f32>()?, [1.0, 2.0]);
    /// assert!(y.is_training());
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// Those of `f`.
    pub fn inferring(&self, f: impl FnOnce(&Tensor) -> Result<Tensor>) -> Result<Tensor> {
        Ok(f(&self.clone().with_mode(false))?.with_mode(self.is_training()))
    }

    fn with_mode(mut self, to: bool) -> Tensor {
        if let Place::On { training, .. } = &mut self.place {
            *training = to;
        }
        self
    }

    /// A model's parameter where this tensor stands: on a tape a leaf (a constant when not `trainable`), off the tape a value that remembers whether it was trainable.
    /// What [`Tape::bind`](crate::Tape::bind) put in the parameter's place comes instead of `value`.
    /// ```
    /// # use chainrule_autograd::{ParamId, Rng, Tape, Tensor};
    /// let (tape, weight) = (Tape::training(&mut Rng::seeded(0)), Tensor::from_slice(&[3f64], &[1])?);
    /// let (x, id) = (tape.input(Tensor::from_slice(&[2f64], &[1])?), ParamId::fresh());
    /// let y = x.mul(&x.parameter(id, weight.array(), true)?)?.sum()?;
    /// assert_eq!(y.backward()?.get(id).unwrap().to_vec::<f64>()?, [2.0]);
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// The parameter was read with another value on this tape.
    pub fn parameter(&self, id: ParamId, value: &Array, trainable: bool) -> Result<Tensor> {
        match &self.place {
            Place::Off { .. } => Ok(Tensor { array: value.clone(), place: Place::Off { trainable: trainable && value.dtype().is_float() } }),
            Place::On { recorder, training, .. } => recorder.parameter(id, value, trainable, *training),
        }
    }

    /// Leaves an update of a model's buffer on the tape, for the optimizer to apply; nothing where this tensor is not in training mode.
    /// ```
    /// # use chainrule_autograd::{ParamId, Rng, Tape, Tensor, Update};
    /// let (tape, id) = (Tape::training(&mut Rng::seeded(0)), ParamId::fresh());
    /// let x = tape.watch(Tensor::from_slice(&[2f64], &[1])?);
    /// x.update_buffer(id, Update::new(0.9, x.array().clone()))?;
    /// assert_eq!(x.sum()?.backward()?.updates().count(), 1);
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// An earlier update of the same buffer on this tape has another shape or element type.
    pub fn update_buffer(&self, id: ParamId, update: Update) -> Result<()> {
        match &self.place {
            Place::On { recorder, training: true, .. } => recorder.update(id, update),
            _ => Ok(()),
        }
    }

    /// The next random stream of this tensor's tape; `None` off the tape.
    /// The n-th request of a tape gets its n-th stream, whether or not anything is recorded, so freezing a layer changes no random number.
    /// ```
    /// # use chainrule_autograd::{DType, Rng, Tape, Tensor};
    /// let (x, tape) = (Tensor::ones(&[2], DType::F32)?, Tape::training(&mut Rng::seeded(0)));
    /// let x_on_tape = tape.input(&x);
    /// assert_ne!(x_on_tape.random_stream(), x_on_tape.random_stream());
    /// assert_eq!(x.random_stream(), None);
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    pub fn random_stream(&self) -> Option<u64> {
        self.recorder().map(|r| r.stream())
    }

    /// The gradients of this scalar by all parameters and watched tensors it depends on. Releases the recording: the tape is spent afterwards, and operations on it are constants.
    /// ```
    /// # use chainrule_autograd::{Rng, Tape, Tensor};
    /// let tape = Tape::training(&mut Rng::seeded(0));
    /// let x = tape.watch(Tensor::from_slice(&[1f64, 2.0], &[2])?);
    /// let gradients = x.square()?.sum()?.backward()?;
    /// assert_eq!(gradients.wrt(&x).unwrap().to_vec::<f64>()?, [2.0, 4.0]);
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// Not a scalar; not on a tape, or a spent one; nothing to differentiate by; an operation without a derivative.
    pub fn backward(&self) -> Result<Gradients> {
        self.run_backward("backward", true)
    }

    /// The same, but the recording stays, for another pass over it.
    /// ```
    /// # use chainrule_autograd::{Rng, Tape, Tensor};
    /// let tape = Tape::training(&mut Rng::seeded(0));
    /// let x = tape.watch(Tensor::from_slice(&[1f64, 2.0], &[2])?);
    /// let y = x.square()?.sum()?;
    /// let (first, second) = (y.backward_keeping()?, y.backward()?);
    /// assert_eq!(first.wrt(&x).unwrap().to_vec::<f64>()?, second.wrt(&x).unwrap().to_vec::<f64>()?);
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// As for [`backward`](Tensor::backward).
    pub fn backward_keeping(&self) -> Result<Gradients> {
        self.run_backward("backward_keeping", false)
    }

    /// The gradients of the sum of this tensor's elements times those of `gradient`: a backward pass that begins with a gradient from elsewhere (PyTorch's `backward(gradient)`).
    /// ```
    /// # use chainrule_autograd::{Array, Rng, Tape, Tensor};
    /// let tape = Tape::training(&mut Rng::seeded(0));
    /// let x = tape.watch(Tensor::from_slice(&[2f64, 3.0], &[2])?);
    /// let gradients = x.square()?.backward_from(&Array::from_slice(&[1f64, 10.0], &[2])?)?;
    /// assert_eq!(gradients.wrt(&x).unwrap().to_vec::<f64>()?, [4.0, 60.0]);
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// A gradient of another shape or element type; otherwise as for [`backward`](Tensor::backward).
    pub fn backward_from(&self, gradient: &Array) -> Result<Gradients> {
        const OP: &str = "backward_from";
        let recorder = self.on_recorder(OP)?;
        if gradient.dims() != self.dims() || gradient.dtype() != self.dtype() {
            let (got, expected) = ((gradient.dtype(), gradient.shape()), (self.dtype(), self.shape()));
            return Err(Error::shape(OP, format!("the gradient is {} {:?}, expected {} {:?}", got.0, got.1, expected.0, expected.1)));
        }
        crate::scan::backward(OP, recorder, self.node(), gradient.clone(), true)
    }

    fn run_backward(&self, op: &'static str, release: bool) -> Result<Gradients> {
        let recorder = self.on_recorder(op)?;
        self.expect_scalar(op)?;
        crate::scan::backward(op, recorder, self.node(), Array::ones(self.dims(), self.dtype())?, release)
    }

    /// The gradients of this scalar by the given tensors of its tape, recorded themselves, so that they can be differentiated again.
    /// ```
    /// # use chainrule_autograd::{Rng, Tape, Tensor};
    /// let tape = Tape::inference(&mut Rng::seeded(0));
    /// let x = tape.watch(Tensor::from_slice(&[2f64], &[1])?);
    /// let slope = &x.powf(3.0)?.sum()?.gradients_of(&[&x])?[0]; // 3 x²
    /// let bend = slope.sum()?.backward()?; // 6 x
    /// assert_eq!(bend.wrt(&x).unwrap().to_vec::<f64>()?, [12.0]);
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// As for [`backward`](Tensor::backward); a tensor that this one does not depend on; an operation whose derivative cannot be differentiated.
    pub fn gradients_of(&self, tensors: &[&Tensor]) -> Result<Vec<Tensor>> {
        const OP: &str = "gradients_of";
        let recorder = self.on_recorder(OP)?;
        self.expect_scalar(OP)?;
        for tensor in tensors {
            if !Arc::ptr_eq(tensor.on_recorder(OP)?, recorder) {
                return Err(Error::TwoTapes { op: OP });
            }
        }
        crate::scan::gradients_of(recorder, self.node(), Array::ones(self.dims(), self.dtype())?, tensors)
    }

    fn on_recorder(&self, op: &'static str) -> Result<&Arc<Recorder>> {
        self.recorder().ok_or(Error::OffTape { op })
    }

    fn expect_scalar(&self, op: &'static str) -> Result<()> {
        if self.count() == 1 {
            return Ok(());
        }
        Err(Error::shape(op, format!("shape {:?} has {} elements, expected 1; reduce it first, with sum or mean", self.shape(), self.count())))
    }
}

impl From<Array> for Tensor {
    fn from(array: Array) -> Tensor {
        Tensor::off(array)
    }
}
impl From<&Array> for Tensor {
    fn from(array: &Array) -> Tensor {
        Tensor::off(array.clone())
    }
}
impl From<&Tensor> for Tensor {
    fn from(tensor: &Tensor) -> Tensor {
        tensor.clone()
    }
}
impl From<Tensor> for Array {
    fn from(tensor: Tensor) -> Array {
        tensor.array
    }
}
impl From<&Tensor> for Array {
    fn from(tensor: &Tensor) -> Array {
        tensor.array.clone()
    }
}

impl std::fmt::Debug for Tensor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}", self.array)?;
        match &self.place {
            Place::Off { .. } => Ok(()),
            Place::On { node, training, .. } => {
                let mode = if *training { "training" } else { "inference" };
                write!(f, " on a tape ({mode}{})", if node.is_some() { ", needs gradient" } else { "" })
            }
        }
    }
}
