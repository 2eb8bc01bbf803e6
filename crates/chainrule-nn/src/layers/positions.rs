//! Positions for attention, which by itself does not know the order of a sequence.

use crate::{Constant, Layer, Module, observed};
use chainrule_autograd::{DType, Error, Result, Rotary, Tensor};

/// Adds sinusoids of the position: `[.., T, D] -> [.., T, D]`, `x + P` with `P(t, 2i) = sin(t base^(-2i/D))`, `P(t, 2i+1) = cos(…)` (Vaswani et al. 2017).
/// ```
/// # use chainrule_autograd::{DType, Tensor};
/// # use chainrule_nn::{Layer, SinusoidalPositions};
/// let positions = SinusoidalPositions::new(100, 4)?;
/// let y = positions.run(&Tensor::zeros(&[2, 1, 4], DType::F32)?)?;
/// assert_eq!(y.to_vec::<f32>()?, [0.0, 1.0, 0.0, 1.0, 0.0, 1.0, 0.0, 1.0]);
/// # Ok::<(), chainrule_nn::Error>(())
/// ```
#[derive(Module, Clone, Debug)]
pub struct SinusoidalPositions {
    /// `[T, D]` in f64; it follows from the settings, and so is not saved.
    table: Constant,
}

impl SinusoidalPositions {
    /// For at most `positions` positions and `features` features, base 10000.
    ///
    /// # Errors
    /// No memory.
    pub fn new(positions: usize, features: usize) -> Result<SinusoidalPositions> {
        Ok(SinusoidalPositions { table: Constant(Tensor::sinusoids(positions, features, 10000.0, DType::F64)?.into_array()) })
    }

    /// The same for steps of which the first has number `past`.
    ///
    /// # Errors
    /// More positions than there are; another number of features.
    pub fn after(&self, past: usize, x: &Tensor) -> Result<Tensor> {
        const OP: &str = "sinusoidal_positions";
        let (positions, features) = (self.table.0.dims()[0], self.table.0.dims()[1]);
        let &[.., steps, width] = x.dims() else {
            return Err(Error::shape(OP, format!("the input has shape {:?}, expected [.., T, {features}]", x.shape())));
        };
        if width != features || past.checked_add(steps).is_none_or(|end| end > positions) {
            let message = format!("the input has shape {:?} and begins at {past}; expected [.., T, {features}] that ends at {positions}", x.shape());
            return Err(Error::shape(OP, message));
        }
        Ok(observed(self, x.add(&Tensor::from(&self.table.0).narrow(0, past, steps)?.cast(x.dtype())?)?))
    }
}

impl Layer for SinusoidalPositions {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        self.after(0, x)
    }
}

/// Turns pairs of features by angles that grow with the position: `[.., T, W] -> [.., T, W]`, so that products of queries and keys depend on their distance (Su et al. 2021, "RoFormer").
/// ```
/// # use chainrule_autograd::{DType, Tensor};
/// # use chainrule_nn::{Layer, RotaryPositions};
/// let rotary = RotaryPositions::new(100, 4)?;
/// let x = Tensor::ones(&[2, 1, 4], DType::F32)?;
/// assert_eq!(rotary.run(&x)?.to_vec::<f32>()?, x.to_vec::<f32>()?); // position 0 stays
/// # Ok::<(), chainrule_nn::Error>(())
/// ```
#[derive(Module, Clone, Debug)]
pub struct RotaryPositions {
    /// The angles; they follow from the settings, and so are not saved.
    #[module(skip)]
    rotary: Rotary,
}

impl RotaryPositions {
    /// For at most `positions` positions and the first `features` features, the pairs in halves (GPT-NeoX, LLaMA), base 10000.
    ///
    /// # Errors
    /// An odd number of features; no memory.
    pub fn new(positions: usize, features: usize) -> Result<RotaryPositions> {
        RotaryPositions::with_base(positions, features, 10000.0)
    }
    /// The same with another base.
    ///
    /// # Errors
    /// As for [`new`](RotaryPositions::new); a base that is not a positive number.
    pub fn with_base(positions: usize, features: usize, base: f64) -> Result<RotaryPositions> {
        Ok(RotaryPositions { rotary: Rotary::new(positions, features, base)? })
    }
    /// Neighbours as pairs (RoFormer, GPT-J).
    pub fn interleaved(self) -> RotaryPositions {
        RotaryPositions { rotary: self.rotary.interleaved() }
    }

    /// The same for steps of which the first has number `past`.
    ///
    /// # Errors
    /// More positions than there are; too few features.
    pub fn after(&self, past: usize, x: &Tensor) -> Result<Tensor> {
        Ok(observed(self, x.rope(&self.rotary, past)?))
    }
}

impl Layer for RotaryPositions {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        self.after(0, x)
    }
}
