//! Normalisation by mean and variance: over the batch, or over the last dimensions.
//!
//! One fused kernel backward; when the pass is recorded, the same formula in operations on tensors:
//! with `z = (x - mean) rstd`, `g = dy w` and means over what is normalised, `dx = rstd (g - mean(g) - z mean(g z))`, `dw = sum dy z`, `db = sum dy`.

use crate::{Array, Keep, Pass, Result, Tensor};
use chainrule_core::ops::norm;

impl Tensor {
    /// Every channel of `[N, C, ..]` by its own mean and variance: `(x - mean) / sqrt(variance + eps) · weight + bias`, weight and bias `[C]` (PyTorch's `batch_norm` in training; Ioffe and Szegedy 2015).
    /// Returns the result, and the mean and biased variance of each channel, `[C]`, for a layer's running statistics.
    ///
    /// # Errors
    /// Fewer than two dimensions; parameters of another shape or element type; an `eps` below 0; an element type other than f32 and f64.
    pub fn batch_norm(&self, weight: Option<&Tensor>, bias: Option<&Tensor>, eps: f64) -> Result<(Tensor, Array, Array)> {
        let out = norm::batch_norm(&self.array, weight.map(|w| &w.array), bias.map(|b| &b.array), eps)?;
        let (mean, rstd) = (out.mean.clone(), out.rstd);
        let rule = Normalisation::over_batch(self, weight, bias, eps);
        let fused = move |pass: &Pass, x: &Array, weight: Option<&Array>| Ok(norm::batch_norm_backward(&pass.grad().array, x, &mean, &rstd, weight)?);
        let y = rule.record("batch_norm", self, weight, bias, out.y, fused)?;
        Ok((y, out.mean, out.variance))
    }

    /// Every channel of `[N, C, ..]` by a given mean and variance, `[C]`, which are constants (PyTorch's `batch_norm` in evaluation).
    ///
    /// # Errors
    /// As for [`batch_norm`](Tensor::batch_norm); statistics of another shape or element type.
    pub fn batch_norm_inference(&self, mean: &Array, variance: &Array, weight: Option<&Tensor>, bias: Option<&Tensor>, eps: f64) -> Result<Tensor> {
        let y = norm::batch_norm_inference(&self.array, mean, variance, weight.map(|w| &w.array), bias.map(|b| &b.array), eps)?;
        let rule = Normalisation { given: Some((mean.clone(), variance.clone())), ..Normalisation::over_batch(self, weight, bias, eps) };
        let (mean, variance) = (mean.clone(), variance.clone());
        let fused = move |pass: &Pass, x: &Array, weight: Option<&Array>| {
            Ok(norm::batch_norm_inference_backward(&pass.grad().array, x, &mean, &variance, weight, eps)?)
        };
        rule.record("batch_norm_inference", self, weight, bias, y, fused)
    }

    /// The last `dimensions` dimensions, taken together, by their own mean and variance; weight and bias have their extents (PyTorch's `layer_norm`; Ba, Kiros and Hinton 2016).
    /// ```
    /// # use chainrule_autograd::Tensor;
    /// let y = Tensor::from_slice(&[1f64, 3.0], &[1, 2])?.layer_norm(1, None, None, 0.0)?;
    /// assert_eq!(y.to_vec::<f64>()?, [-1.0, 1.0]);
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// More dimensions than there are, or none; parameters of another shape or element type; an `eps` below 0; an element type other than f32 and f64.
    pub fn layer_norm(&self, dimensions: usize, weight: Option<&Tensor>, bias: Option<&Tensor>, eps: f64) -> Result<Tensor> {
        let out = norm::layer_norm(&self.array, dimensions, weight.map(|w| &w.array), bias.map(|b| &b.array), eps)?;
        let (mean, rstd) = (out.mean, out.rstd);
        let shaped = self.dims()[self.rank() - dimensions..].to_vec();
        let axes = (1..=dimensions as isize).map(|a| -a).collect();
        let rule = Normalisation {
            axes,
            parameter: shaped.clone(),
            shaped,
            weight: weight.map(|_| 1),
            bias: bias.map(|_| 1 + weight.is_some() as usize),
            eps,
            given: None,
        };
        let fused = move |pass: &Pass, x: &Array, weight: Option<&Array>| Ok(norm::layer_norm_backward(&pass.grad().array, x, &mean, &rstd, weight)?);
        rule.record("layer_norm", self, weight, bias, out.y, fused)
    }
}

/// What is normalised, and which inputs beside x there are.
struct Normalisation {
    /// The dimensions that are normalised together.
    axes: Vec<isize>,
    /// The extents of weight and bias, and those under which they broadcast with x.
    parameter: Vec<usize>,
    shaped: Vec<usize>,
    /// The places of weight and bias among the inputs.
    weight: Option<usize>,
    bias: Option<usize>,
    eps: f64,
    /// Mean and variance that are not x's own.
    given: Option<(Array, Array)>,
}

impl Normalisation {
    fn over_batch(x: &Tensor, weight: Option<&Tensor>, bias: Option<&Tensor>, eps: f64) -> Normalisation {
        let axes: Vec<isize> = (0..x.rank() as isize).filter(|&a| a != 1).collect();
        let channels = x.dims().get(1).copied().unwrap_or(0);
        let mut shaped = vec![1; x.rank().max(2) - 1];
        shaped[0] = channels;
        Normalisation {
            axes,
            parameter: vec![channels],
            shaped,
            weight: weight.map(|_| 1),
            bias: bias.map(|_| 1 + weight.is_some() as usize),
            eps,
            given: None,
        }
    }

    fn record(
        self,
        name: &'static str,
        x: &Tensor,
        weight: Option<&Tensor>,
        bias: Option<&Tensor>,
        y: Array,
        fused: impl Fn(&Pass, &Array, Option<&Array>) -> Result<(Array, Array, Array)> + Send + Sync + 'static,
    ) -> Result<Tensor> {
        let inputs: Vec<&Tensor> = [x].into_iter().chain(weight).chain(bias).collect();
        // With given statistics x matters to the weight alone.
        let keep_x = self.given.is_none() || weight.is_some_and(Tensor::needs_gradient);
        let keep = Keep::FIRST.when(keep_x).and(self.weight.map_or(Keep::NONE, Keep::input));
        Tensor::record_many(name, &inputs, keep, y, move |pass, out| {
            let (dx, dw, db) = if keep_x && !pass.recorded() {
                let weight = self.weight.map(|at| pass.input_array(at)).transpose()?;
                let (dx, dw, db) = fused(pass, pass.input_array(0)?, weight)?;
                (Some(dx.into()), Some(dw.into()), Some(db.into()))
            } else {
                self.composed(pass)?
            };
            out[0] = dx;
            for (at, gradient) in [(self.weight, dw), (self.bias, db)] {
                if let (Some(slot), Some(gradient)) = (at.and_then(|at| out.get_mut(at)), gradient) {
                    *slot = Some(gradient.reshape(&self.parameter)?);
                }
            }
            Ok(())
        })
    }

    fn composed(&self, pass: &Pass) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let grad = pass.grad();
        let needs = |at: Option<usize>| at.is_some_and(|at| pass.needs(at));
        let mean = |x: &Tensor| x.mean_over(&self.axes, true);
        let weighted = || match self.weight {
            Some(at) => grad.mul(&pass.input(at)?.reshape(&self.shaped)?),
            None => Ok(grad.clone()),
        };
        let (dx, z) = if let Some((mean, variance)) = &self.given {
            let rstd = Tensor::from(variance.reshape(&self.shaped)?).add_scalar(self.eps)?.rsqrt()?;
            let centred = || pass.input(0)?.sub(&mean.reshape(&self.shaped)?.into());
            (pass.when(0, || weighted()?.mul(&rstd))?, if needs(self.weight) { Some(centred()?.mul(&rstd)?) } else { None })
        } else {
            let x = pass.input(0)?;
            let centred = x.sub(&mean(&x)?)?;
            let rstd = mean(&centred.square()?)?.add_scalar(self.eps)?.rsqrt()?;
            let z = centred.mul(&rstd)?;
            let by_input = || {
                let g = weighted()?;
                g.sub(&mean(&g)?)?.sub(&z.mul(&mean(&g.mul(&z)?)?)?)?.mul(&rstd)
            };
            (pass.when(0, by_input)?, Some(z))
        };
        let dw = z.filter(|_| needs(self.weight)).map(|z| grad.mul(&z)?.sum_to(&self.shaped)).transpose()?;
        let db = if needs(self.bias) { Some(grad.sum_to(&self.shaped)?) } else { None };
        Ok((dx, dw, db))
    }
}
