//! Instance normalisation (PyTorch's `InstanceNorm1d`, `InstanceNorm2d`, `InstanceNorm3d`; Ulyanov, Vedaldi and Lempitsky 2016).
//!
//! `y = (x - mean) / sqrt(variance + eps) · weight + bias` with the mean and (biased) variance of each channel of each sample, in training and in inference.
//! With running statistics, which [`BatchNorm2d`](crate::BatchNorm2d) explains, inference uses those; they follow the mean over the batch of the samples' statistics.

use crate::{Buffer, Layer, Module, Param, observed};
use chainrule_autograd::{Array, DType, Error, Result, Tensor};

/// What the layers hold.
struct State<'a> {
    op: &'static str,
    params: [Option<&'a Param>; 2],
    /// Running mean and running variance.
    buffers: Option<[&'a Buffer; 2]>,
    momentum: f64,
    eps: f64,
}

impl State<'_> {
    /// `x` is `[N, C, ..]`.
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let [weight, bias] = self.params.map(|p| p.map(|p| p.on(x)).transpose());
        let (weight, bias) = (weight?, bias?);
        let (weight, bias) = (weight.as_ref(), bias.as_ref());
        let frozen = self.params.iter().any(Option::is_some) && self.params.iter().flatten().all(|p| !p.trainable);
        let follows = x.is_training() && !frozen;
        if let (Some([mean, variance]), false) = (self.buffers, follows) {
            return x.batch_norm_inference(&mean.value, &variance.value, weight, bias, self.eps);
        }
        let size: usize = x.dims()[2..].iter().product();
        if size < 2 && x.count() > 0 {
            let message = format!("input {:?} has {size} number a channel and sample, expected at least 2 to take their variance", x.shape());
            return Err(Error::shape(self.op, message));
        }
        let (y, mean, variance) = x.instance_norm(weight, bias, self.eps)?;
        if let (Some([running_mean, running_var]), true) = (self.buffers, x.dims()[0] > 0) {
            let share = |each: Array, scale: f64| Ok::<_, Error>(Tensor::from(each).mean_over(&[0], false)?.mul_scalar(self.momentum * scale)?.into_array());
            running_mean.update(x, 1.0 - self.momentum, share(mean, 1.0)?)?;
            running_var.update(x, 1.0 - self.momentum, share(variance, size as f64 / (size as f64 - 1.0))?)?;
        }
        Ok(y)
    }
}

/// An instance norm for inputs of one rank, or one less without N.
macro_rules! instance_norm {
    ($(#[$doc:meta])* $layer:ident, $op:literal, $rank:literal, $expected:literal) => {
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
            /// Stands in PyTorch's files, and is 0 there: i64, `[]`.
            pub num_batches_tracked: Option<Buffer>,
            /// By how much the running statistics follow a batch's.
            pub momentum: f64,
            /// Keeps the divisor from 0.
            pub eps: f64,
            /// C
            pub channels: usize,
        }

        impl $layer {
            /// For so many channels, without parameters and running statistics; momentum 0.1, eps 1e-5.
            ///
            /// # Errors
            /// None today.
            pub fn new(channels: usize) -> Result<$layer> {
                Ok($layer { weight: None, bias: None, running_mean: None, running_var: None, num_batches_tracked: None, momentum: 0.1, eps: 1e-5, channels })
            }
            /// With weight 1 and bias 0, f32 (PyTorch's `affine=True`).
            ///
            /// # Errors
            /// No memory.
            pub fn affine(self) -> Result<$layer> {
                let (weight, bias) = (Array::ones(&[self.channels], DType::F32)?, Array::zeros(&[self.channels], DType::F32)?);
                Ok($layer { weight: Some(Param::new(weight)), bias: Some(Param::new(bias)), ..self })
            }
            /// With running statistics, which inference uses (PyTorch's `track_running_stats=True`).
            ///
            /// # Errors
            /// No memory.
            pub fn running_statistics(self) -> Result<$layer> {
                let (mean, variance) = (Array::zeros(&[self.channels], DType::F32)?, Array::ones(&[self.channels], DType::F32)?);
                let batches = Buffer::new(Array::zeros(&[], DType::I64)?);
                Ok($layer { running_mean: Some(Buffer::new(mean)), running_var: Some(Buffer::new(variance)), num_batches_tracked: Some(batches), ..self })
            }
            /// By how much the running statistics follow a batch's.
            pub fn momentum(self, momentum: f64) -> $layer {
                $layer { momentum, ..self }
            }
            /// What is added to the variance.
            pub fn eps(self, eps: f64) -> $layer {
                $layer { eps, ..self }
            }
        }

        impl Layer for $layer {
            fn forward(&self, x: &Tensor) -> Result<Tensor> {
                let state = State {
                    op: $op,
                    params: [self.weight.as_ref(), self.bias.as_ref()],
                    buffers: self.running_mean.as_ref().zip(self.running_var.as_ref()).map(|(mean, variance)| [mean, variance]),
                    momentum: self.momentum,
                    eps: self.eps,
                };
                let y = match x.rank() {
                    $rank if x.dims()[1] == self.channels => state.forward(x),
                    rank if rank + 1 == $rank && x.dims()[0] == self.channels => x.unsqueeze(0).and_then(|x| state.forward(&x)?.squeeze(0)),
                    _ => Err(Error::shape($op, format!("the input has shape {:?}, expected {} with C = {}", x.shape(), $expected, self.channels))),
                };
                let y = match (self.weight.as_ref().or(self.bias.as_ref()), &self.running_mean) {
                    (Some(param), _) => param.at(y)?,
                    (None, Some(buffer)) => y.map_err(|e| e.at(buffer.id))?,
                    (None, None) => y?,
                };
                Ok(observed(self, y))
            }
        }
    };
}

instance_norm! {
    /// Instance normalisation of sequences: `[N, C, L]` or `[C, L]`, result alike.
    /// ```
    /// # use chainrule_autograd::{DType, Tensor};
    /// # use chainrule_nn::{InstanceNorm1d, Layer};
    /// let norm = InstanceNorm1d::new(3)?.affine()?;
    /// assert_eq!(norm.run(&Tensor::ones(&[8, 3, 5], DType::F32)?)?.dims(), [8, 3, 5]);
    /// # Ok::<(), chainrule_nn::Error>(())
    /// ```
    InstanceNorm1d, "instance_norm1d", 3, "[N, C, L] or [C, L]"
}

instance_norm! {
    /// Instance normalisation of images: `[N, C, H, W]` or `[C, H, W]`, result alike.
    /// ```
    /// # use chainrule_autograd::{DType, Tensor};
    /// # use chainrule_nn::{InstanceNorm2d, Layer};
    /// let norm = InstanceNorm2d::new(3)?.affine()?.running_statistics()?;
    /// assert_eq!(norm.run(&Tensor::ones(&[3, 4, 4], DType::F32)?)?.dims(), [3, 4, 4]);
    /// # Ok::<(), chainrule_nn::Error>(())
    /// ```
    InstanceNorm2d, "instance_norm2d", 4, "[N, C, H, W] or [C, H, W]"
}

instance_norm! {
    /// Instance normalisation of volumes: `[N, C, D, H, W]` or `[C, D, H, W]`, result alike.
    /// ```
    /// # use chainrule_autograd::{DType, Tensor};
    /// # use chainrule_nn::{InstanceNorm3d, Layer};
    /// assert_eq!(InstanceNorm3d::new(2)?.run(&Tensor::ones(&[1, 2, 3, 4, 5], DType::F32)?)?.dims(), [1, 2, 3, 4, 5]);
    /// # Ok::<(), chainrule_nn::Error>(())
    /// ```
    InstanceNorm3d, "instance_norm3d", 5, "[N, C, D, H, W] or [C, D, H, W]"
}
