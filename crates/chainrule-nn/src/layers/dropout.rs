//! Dropout of channels, of samples, and for self-normalising networks. [`Dropout`](crate::Dropout) drops elements.

use crate::{Layer, Module, observed};
use chainrule_autograd::{Error, Result, Tensor};

/// A layer that drops at a rate: its input, and the method.
macro_rules! dropping {
    ($($(#[$doc:meta])* $layer:ident |$x:ident, $rate:ident| $forward:expr;)*) => { $(
        $(#[$doc])*
        #[derive(Module, Clone, Copy, Debug, PartialEq)]
        pub struct $layer {
            /// The probability, 0 to 1.
            pub rate: f64,
        }

        impl $layer {
            /// Drops at this probability.
            pub fn new(rate: f64) -> $layer {
                $layer { rate }
            }
        }

        impl Layer for $layer {
            fn forward(&self, $x: &Tensor) -> Result<Tensor> {
                let $rate = self.rate;
                Ok(observed(self, $forward?))
            }
        }
    )* };
}

dropping! {
    /// In training each channel of `[N, C, L]` or `[C, L]` becomes 0 at probability `rate`, and the others are divided by `1 - rate` (Tompson et al. 2015, PyTorch's `Dropout1d`).
    /// ```
    /// # use chainrule_autograd::{DType, Tensor};
    /// # use chainrule_nn::{Dropout1d, Layer};
    /// assert_eq!(Dropout1d::new(0.5).run(&Tensor::ones(&[2, 3, 4], DType::F32)?)?.dims(), [2, 3, 4]);
    /// # Ok::<(), chainrule_nn::Error>(())
    /// ```
    Dropout1d |x, rate| channels("dropout1d", x, rate, 3, 2);

    /// In training each channel of `[N, C, H, W]` (or, as in PyTorch, of `[N, C, L]`) becomes 0 at probability `rate`, and the others are divided by `1 - rate` (Tompson et al. 2015, PyTorch's `Dropout2d`).
    /// ```
    /// # use chainrule_autograd::{DType, Tensor};
    /// # use chainrule_nn::{Dropout2d, Layer};
    /// assert_eq!(Dropout2d::new(0.5).run(&Tensor::ones(&[2, 3, 4, 4], DType::F32)?)?.dims(), [2, 3, 4, 4]);
    /// # Ok::<(), chainrule_nn::Error>(())
    /// ```
    Dropout2d |x, rate| match x.rank() {
        3 => x.dropout_channels(rate),
        _ => channels("dropout2d", x, rate, 4, 4),
    };

    /// In training each channel of `[N, C, D, H, W]` or `[C, D, H, W]` becomes 0 at probability `rate`, and the others are divided by `1 - rate` (Tompson et al. 2015, PyTorch's `Dropout3d`).
    /// ```
    /// # use chainrule_autograd::{DType, Tensor};
    /// # use chainrule_nn::{Dropout3d, Layer};
    /// assert_eq!(Dropout3d::new(0.5).run(&Tensor::ones(&[3, 2, 2, 2], DType::F32)?)?.dims(), [3, 2, 2, 2]);
    /// # Ok::<(), chainrule_nn::Error>(())
    /// ```
    Dropout3d |x, rate| channels("dropout3d", x, rate, 5, 4);

    /// In training each element becomes SELU's limit at probability `rate`, and all are scaled and shifted so that mean and variance stay (Klambauer et al. 2017, PyTorch's `AlphaDropout`).
    /// ```
    /// # use chainrule_autograd::{DType, Tensor};
    /// # use chainrule_nn::{AlphaDropout, Layer};
    /// assert_eq!(AlphaDropout::new(0.5).run(&Tensor::ones(&[2], DType::F32)?)?.to_vec::<f32>()?, [1.0, 1.0]);
    /// # Ok::<(), chainrule_nn::Error>(())
    /// ```
    AlphaDropout |x, rate| x.alpha_dropout(rate);

    /// In training each sample of `[N, ..]` becomes 0 at probability `rate`, and the others are divided by `1 - rate`: at the end of a residual branch it skips the branch (stochastic depth, Huang et al. 2016; timm's `DropPath`).
    /// ```
    /// # use chainrule_autograd::{DType, Rng, Tape, Tensor};
    /// # use chainrule_nn::{DropPath, Layer};
    /// let tape = Tape::training(&mut Rng::seeded(0));
    /// let y = DropPath::new(0.5).run(&tape.input(Tensor::ones(&[2, 3], DType::F32)?))?.to_vec::<f32>()?;
    /// assert!(y.chunks(3).all(|sample| sample == [0.0; 3] || sample == [2.0; 3]));
    /// # Ok::<(), chainrule_nn::Error>(())
    /// ```
    DropPath |x, rate| x.drop_path(rate);
}

/// Channels of inputs of rank `batched`, or of rank `single` without the batch.
fn channels(op: &'static str, x: &Tensor, rate: f64, batched: usize, single: usize) -> Result<Tensor> {
    match x.rank() {
        rank if rank == batched => x.dropout_channels(rate),
        rank if rank == single => x.unsqueeze(0)?.dropout_channels(rate)?.squeeze(0),
        _ => Err(Error::shape(op, format!("the input has shape {:?}, expected {batched} dimensions, or {single} without the batch", x.shape()))),
    }
}
