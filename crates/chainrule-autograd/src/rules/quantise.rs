//! Products with a quantised weight, which is a constant. It is made dense for a moment, in the pass and again on the way back, so that a tape holds it in few bits alone.

use crate::rules::precision::{precision, product};
use crate::{Array, Keep, Pass, Quantisation, Result, Tensor};
use chainrule_core::ops::matmul::{self, Activation};
use chainrule_core::ops::quantise::Quantised;

impl Tensor {
    /// `x Wᵀ + b`, with a quantised weight `W [Out, In]` and bias `b [Out]`: `[.., In] -> [.., Out]`.
    /// ```
    /// # use chainrule_autograd::{Quantisation, Tensor};
    /// let weight = Tensor::from_slice(&[3f32, -3.0], &[1, 2])?.quantise(&Quantisation::int8())?;
    /// let x = Tensor::from_slice(&[1f32, 2.0], &[1, 2])?;
    /// assert_eq!(x.linear_quantised(&weight, None)?.to_vec::<f32>()?, [-3.0]);
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// Extents that do not fit; another element type than the weight's; a weight whose arrays do not fit each other.
    pub fn linear_quantised(&self, weight: &Quantised, bias: Option<&Tensor>) -> Result<Tensor> {
        match bias {
            None => product([self], |[x]| x.by_quantised(weight, None)),
            Some(bias) => product([self, bias], |[x, bias]| x.by_quantised(weight, Some(bias))),
        }
    }

    fn by_quantised(&self, weight: &Quantised, bias: Option<&Tensor>) -> Result<Tensor> {
        let (weight, narrow) = (weight.clone(), precision(&[self]));
        let dense = move || -> Result<Array> {
            let dense = Tensor::from(weight.dequantise()?);
            Ok(narrow.map_or(Ok(dense.clone()), |narrow| dense.round_to(narrow))?.into_array())
        };
        let y = matmul::linear(&self.array, &dense()?, bias.map(|bias| &bias.array), Activation::None)?;
        let by_input = move |pass: &Pass| pass.grad().matmul(&pass.constant(dense()?));
        match bias {
            None => Tensor::record("linear_quantised", [self], Keep::NONE, y, move |pass| Ok([Some(by_input(pass)?)])),
            Some(bias) => Tensor::record("linear_quantised_bias", [self, bias], Keep::NONE, y, move |pass| {
                Ok([pass.when(0, || by_input(pass))?, pass.when(1, || pass.grad().sum_to(pass.input_dims(1)))?])
            }),
        }
    }

    /// Rows of a quantised weight `[V, D]` by these indices `[..]`: `[.., D]`. The other rows stay as they are, in few bits.
    /// ```
    /// # use chainrule_autograd::{Quantisation, Tensor};
    /// let weight = Tensor::from_slice(&[1f32, -1.0, 4.0, 4.0], &[2, 2])?.quantise(&Quantisation::int8())?;
    /// assert_eq!(Tensor::from_slice(&[1i64], &[1])?.embedding_quantised(&weight)?.to_vec::<f32>()?, [4.0, 4.0]);
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// An index outside `0..V`; indices that are not i64; a weight of other than two dimensions.
    pub fn embedding_quantised(&self, weight: &Quantised) -> Result<Tensor> {
        Tensor::record_without_rule("embedding_quantised", [self], weight.rows(&self.array)?)
    }

    /// The numbers in few bits, as a constant. See [`Quantisation`].
    /// ```
    /// # use chainrule_autograd::{Quantisation, Tensor};
    /// let weight = Tensor::from_slice(&[0.5f32, -1.0, 0.0, 0.25], &[1, 4])?.quantise(&Quantisation::nf4())?;
    /// assert_eq!(weight.dequantise()?.to_vec::<f32>()?, [0.44070983, -1.0, 0.0, 0.2461123]);
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// A scalar; numbers that are not floats, or not finite; blocks of an odd number, or of none; no memory.
    pub fn quantise(&self, how: &Quantisation) -> Result<Quantised> {
        Ok(chainrule_core::ops::quantise::quantise(&self.array, how)?)
    }
}
