//! Batch normalisation (PyTorch's `BatchNorm1d`, `BatchNorm2d`, `BatchNorm3d`; Ioffe and Szegedy 2015).
//!
//! In training `y = (x - mean) / sqrt(variance + eps) · weight + bias` with the batch's mean and (biased) variance of each channel, and the running statistics follow:
//! `running <- (1 - momentum) running + momentum · batch`, with the unbiased variance. In inference the running statistics stand for the batch's.
//! When weight and bias are frozen the layer infers in training too, and its statistics stay as they are; without weight and bias, let its input infer ([`Tensor::inferring`]).

use crate::{Buffer, Layer, Module, Param, observed};
use chainrule_autograd::{Array, DType, Error, Result, Tensor};

/// What the layers hold.
struct State<'a> {
    op: &'static str,
    params: [Option<&'a Param>; 2],
    /// Running mean, running variance, number of batches.
    buffers: Option<[&'a Buffer; 3]>,
    momentum: Option<f64>,
    eps: f64,
}

impl State<'_> {
    fn frozen(&self) -> bool {
        let mut params = self.params.iter().flatten().peekable();
        params.peek().is_some() && params.all(|p| !p.trainable)
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let [weight, bias] = self.params.map(|p| p.map(|p| p.on(x)).transpose());
        let (weight, bias) = (weight?, bias?);
        let (weight, bias) = (weight.as_ref(), bias.as_ref());
        let batch = x.is_training() && !self.frozen();
        if let (Some([mean, variance, _]), false) = (self.buffers, batch) {
            return x.batch_norm_inference(&mean.value, &variance.value, weight, bias, self.eps);
        }
        let channels = x.dims()[1];
        let size = x.count().checked_div(channels).unwrap_or(0);
        if size < 2 && channels > 0 {
            let message = format!("input {:?} has {size} numbers a channel, expected at least 2 to take their variance; use larger batches", x.shape());
            return Err(Error::shape(self.op, message));
        }
        let (y, mean, variance) = x.batch_norm(weight, bias, self.eps)?;
        if let (Some(buffers), true) = (self.buffers, batch) {
            self.follow(x, buffers, &mean, &variance, size as f64)?;
        }
        Ok(y)
    }

    /// Lets the running statistics follow those of a batch with `size` numbers a channel.
    fn follow(&self, x: &Tensor, [running_mean, running_var, batches]: [&Buffer; 3], mean: &Array, variance: &Array, size: f64) -> Result<()> {
        let momentum = match self.momentum {
            Some(momentum) => momentum,
            None => 1.0 / (batches.value.item()? + 1.0),
        };
        running_mean.update_scaled(x, 1.0 - momentum, momentum, mean.clone())?;
        running_var.update_scaled(x, 1.0 - momentum, momentum * size / (size - 1.0), variance.clone())?;
        batches.update(x, 1.0, Array::ones(&[], DType::I64)?)
    }
}

/// A batch norm for inputs of certain ranks.
macro_rules! batch_norm {
    ($(#[$doc:meta])* $layer:ident, $op:literal, $ranks:pat, $expected:literal) => {
        $(#[$doc])*
        #[derive(Module, Clone)]
        pub struct $layer {
            /// `[C]`
            pub weight: Option<Param>,
            /// `[C]`
            pub bias: Option<Param>,
            /// `[C]`
            pub running_mean: Option<Buffer>,
            /// `[C]`
            pub running_var: Option<Buffer>,
            /// How many batches the running statistics have seen: i64, `[]`.
            pub num_batches_tracked: Option<Buffer>,
            /// By how much the running statistics follow a batch's; `None` for the plain mean over all batches.
            pub momentum: Option<f64>,
            /// Keeps the divisor from 0.
            pub eps: f64,
            /// C
            pub channels: usize,
        }

        impl $layer {
            /// For so many channels: weight 1, bias 0, momentum 0.1, eps 1e-5, f32.
            ///
            /// # Errors
            /// No memory.
            pub fn new(channels: usize) -> Result<$layer> {
                let ones = || Array::ones(&[channels], DType::F32);
                let zeros = || Array::zeros(&[channels], DType::F32);
                Ok($layer {
                    weight: Some(Param::new(ones()?)),
                    bias: Some(Param::new(zeros()?)),
                    running_mean: Some(Buffer::new(zeros()?)),
                    running_var: Some(Buffer::new(ones()?)),
                    num_batches_tracked: Some(Buffer::new(Array::zeros(&[], DType::I64)?)),
                    momentum: Some(0.1),
                    eps: 1e-5,
                    channels,
                })
            }
            /// By how much the running statistics follow a batch's.
            pub fn momentum(self, momentum: f64) -> $layer {
                $layer { momentum: Some(momentum), ..self }
            }
            /// The running statistics become the plain mean over all batches (PyTorch's `momentum=None`).
            pub fn cumulative(self) -> $layer {
                $layer { momentum: None, ..self }
            }
            /// What is added to the variance.
            pub fn eps(self, eps: f64) -> $layer {
                $layer { eps, ..self }
            }
            /// Without weight and bias (PyTorch's `affine=False`).
            pub fn without_affine(self) -> $layer {
                $layer { weight: None, bias: None, ..self }
            }
            /// Without running statistics: the batch's are used in inference too (PyTorch's `track_running_stats=False`).
            pub fn without_running_statistics(self) -> $layer {
                $layer { running_mean: None, running_var: None, num_batches_tracked: None, ..self }
            }
        }

        impl Layer for $layer {
            fn forward(&self, x: &Tensor) -> Result<Tensor> {
                let state = State {
                    op: $op,
                    params: [self.weight.as_ref(), self.bias.as_ref()],
                    buffers: match (&self.running_mean, &self.running_var, &self.num_batches_tracked) {
                        (Some(mean), Some(variance), Some(batches)) => Some([mean, variance, batches]),
                        _ => None,
                    },
                    momentum: self.momentum,
                    eps: self.eps,
                };
                let y = if matches!(x.rank(), $ranks) && x.dims()[1] == self.channels {
                    state.forward(x)
                } else {
                    Err(Error::shape($op, format!("the input has shape {:?}, expected {} with C = {}", x.shape(), $expected, self.channels)))
                };
                let y = match (&self.weight, &self.bias, &self.running_mean) {
                    (Some(param), ..) | (None, Some(param), _) => param.at(y)?,
                    (None, None, Some(buffer)) => y.map_err(|e| e.at(buffer.id))?,
                    (None, None, None) => y?,
                };
                Ok(observed(self, y))
            }
        }
    };
}

batch_norm! {
    /// Batch normalisation of features: `[N, C]` or `[N, C, L]`, result alike.
    /// ```
    /// # use chainrule_autograd::{DType, Tensor};
    /// # use chainrule_nn::{BatchNorm1d, Layer};
    /// let norm = BatchNorm1d::new(3)?;
    /// assert_eq!(norm.run(&Tensor::ones(&[8, 3], DType::F32)?)?.dims(), [8, 3]);
    /// # Ok::<(), chainrule_nn::Error>(())
    /// ```
    BatchNorm1d, "batch_norm1d", 2 | 3, "[N, C] or [N, C, L]"
}

batch_norm! {
    /// Batch normalisation of images: `[N, C, H, W]`, result alike.
    /// ```
    /// # use chainrule_autograd::{DType, Rng, Tape, Tensor};
    /// # use chainrule_nn::{BatchNorm2d, Layer};
    /// let norm = BatchNorm2d::new(3)?.momentum(0.01);
    /// let tape = Tape::training(&mut Rng::seeded(0));
    /// let x = tape.input(Tensor::ones(&[8, 3, 4, 4], DType::F32)?);
    /// let gradients = norm.run(&x)?.sum()?.backward()?;
    /// assert_eq!(gradients.updates().count(), 3); // running mean, variance, and the number of batches
    /// # Ok::<(), chainrule_nn::Error>(())
    /// ```
    BatchNorm2d, "batch_norm2d", 4, "[N, C, H, W]"
}

batch_norm! {
    /// Batch normalisation of volumes: `[N, C, D, H, W]`, result alike.
    /// ```
    /// # use chainrule_autograd::{DType, Tensor};
    /// # use chainrule_nn::{BatchNorm3d, Layer};
    /// let norm = BatchNorm3d::new(2)?;
    /// assert_eq!(norm.run(&Tensor::ones(&[1, 2, 3, 4, 5], DType::F32)?)?.dims(), [1, 2, 3, 4, 5]);
    /// # Ok::<(), chainrule_nn::Error>(())
    /// ```
    BatchNorm3d, "batch_norm3d", 5, "[N, C, D, H, W]"
}
