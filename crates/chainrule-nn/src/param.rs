//! [`Param`], [`Buffer`] and [`Constant`]: what a model holds beside its structure.

use chainrule_autograd::{Array, Error, ParamId, Result, Tensor, Update};

/// A parameter: numbers that training changes.
///
/// Clones share identity and numbers; writing to one copies the numbers first.
/// ```
/// use chainrule_autograd::{Array, DType, Rng, Tape, Tensor};
/// use chainrule_nn::Param;
/// let scale = Param::new(Array::full(&[2], 3.0, DType::F32)?);
/// let tape = Tape::training(&mut Rng::seeded(0));
/// let x = tape.input(Tensor::from_slice(&[1f32, 2.0], &[2])?);
/// let y = x.mul(&scale.on(&x)?)?;
/// assert_eq!(y.sum()?.backward()?.get(scale.id).unwrap().to_vec::<f32>()?, [1.0, 2.0]);
/// # Ok::<(), chainrule_autograd::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Param {
    /// Which parameter: gradients and optimizer states go by it.
    pub id: ParamId,
    /// Its numbers.
    pub value: Array,
    /// Whether it is to get gradients. One that is not enters the graph as a constant and costs nothing.
    pub trainable: bool,
    /// Whether the numbers came from a state dict or file. A parameter without this in a model of others that have it is new: a file of adapters must hold it.
    pub loaded: bool,
}

impl Param {
    /// A trainable parameter of a new identity.
    pub fn new(value: Array) -> Param {
        Param { id: ParamId::fresh(), value, trainable: true, loaded: false }
    }

    /// The parameter where `x` stands: a leaf of its tape, a constant there when frozen, a plain value off the tape.
    ///
    /// # Errors
    /// The tape has read this parameter with another value.
    pub fn on(&self, x: &Tensor) -> Result<Tensor> {
        self.at(x.parameter(self.id, &self.value, self.trainable))
    }

    /// Puts this parameter's identity into an error, by which [`locate`](crate::locate) finds the path. An error that has a place keeps it.
    ///
    /// # Errors
    /// That of `result`.
    pub fn at<T>(&self, result: Result<T>) -> Result<T> {
        result.map_err(|error| match error {
            Error::At { .. } => error,
            error => error.at(self.id),
        })
    }
}

/// Numbers that belong to a model and are saved with it, but get no gradient: running statistics, counters.
/// ```
/// use chainrule_autograd::{Array, DType, Rng, Tape, Tensor};
/// use chainrule_nn::Buffer;
/// let mean = Buffer::new(Array::zeros(&[2], DType::F32)?);
/// let tape = Tape::training(&mut Rng::seeded(0));
/// let x = tape.watch(Tensor::from_slice(&[1f32, 2.0], &[2])?);
/// mean.update(&x, 0.9, x.array().clone())?; // an optimizer applies it: 0.9 mean + x
/// assert!(x.sum()?.backward()?.update(mean.id).is_some());
/// # Ok::<(), chainrule_autograd::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Buffer {
    /// Which buffer: updates go by it.
    pub id: ParamId,
    /// Its numbers.
    pub value: Array,
}

impl Buffer {
    /// A buffer of a new identity.
    pub fn new(value: Array) -> Buffer {
        Buffer { id: ParamId::fresh(), value }
    }

    /// Leaves the update `value <- decay · value + add` on the tape of `x`, for the optimizer to apply. Nothing happens where `x` is not in training mode.
    ///
    /// # Errors
    /// An addend of another shape or element type than the buffer.
    pub fn update(&self, x: &Tensor, decay: f64, add: Array) -> Result<()> {
        self.update_scaled(x, decay, 1.0, add)
    }

    /// The same for `value <- decay · value + scale · add`.
    ///
    /// # Errors
    /// An addend of another shape or element type than the buffer.
    pub fn update_scaled(&self, x: &Tensor, decay: f64, scale: f64, add: Array) -> Result<()> {
        if add.dims() != self.value.dims() || add.dtype() != self.value.dtype() {
            let (got, expected) = ((add.dtype(), add.shape()), (self.value.dtype(), self.value.shape()));
            return Err(Error::shape("buffer update", format!("got {} {:?}, expected {} {:?}", got.0, got.1, expected.0, expected.1)).at(self.id));
        }
        x.update_buffer(self.id, Update::scaled(decay, scale, add)).map_err(|e| e.at(self.id))
    }
}

/// Numbers that follow from a model's settings: they move with it to another device, and are neither trained nor saved (PyTorch's buffers that are not persistent).
/// ```
/// use chainrule_autograd::{DType, Device, Tensor};
/// use chainrule_nn::{Constant, Module, state_dict};
/// let mut table = Constant(Tensor::arange(0.0, 5.0, 1.0, DType::F32)?.into_array());
/// assert!(state_dict(&table)?.is_empty());
/// table.to(&Device::best())?;
/// assert_eq!(table.0.device(), Device::best());
/// # Ok::<(), chainrule_nn::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Constant(pub Array);
