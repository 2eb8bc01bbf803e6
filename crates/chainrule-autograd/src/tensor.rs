//! [`Tensor`]: an array, and where it stands: off the tape, or on a tape in training or inference mode.

use crate::recorder::Recorder;
use crate::recording::{NodeId, ParamId};
use crate::{Array, DType, Device, Element, Result, Shape, Stream, Update};
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
    pub fn random_stream(&self) -> Option<Stream> {
        self.recorder().map(|r| r.stream())
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
