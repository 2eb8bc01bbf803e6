//! Normalisation by mean and variance: over the batch, over groups of channels, or over the last dimensions.
//!
//! One fused kernel backward; when the pass is recorded, the same formula in operations on tensors:
//! with `z = (x - mean) rstd`, `g = dy w` and means over what is normalised, `dx = rstd (g - mean(g) - z mean(g z))`, `dw = sum dy z`, `db = sum dy`. Without centring (RMS norm) the mean is 0, and the term `mean(g)` is absent.

use crate::{Array, Error, Keep, Pass, Result, Tensor};
use chainrule_core::ops::norm;

impl Tensor {
    /// Every channel of `[N, C, ..]` by its own mean and variance: `(x - mean) / sqrt(variance + eps) · weight + bias`, weight and bias `[C]` (PyTorch's `batch_norm` in training; Ioffe and Szegedy 2015).
    /// Returns the result, and the mean and biased variance of each channel, `[C]`, for a layer's running statistics.
    /// ```
    /// # use chainrule_autograd::Tensor;
    /// let x = Tensor::from_slice(&[1f64, 10.0, 3.0, 10.0], &[2, 2])?;
    /// let (y, mean, variance) = x.batch_norm(None, None, 0.0001)?;
    /// assert_eq!((mean.to_vec::<f64>()?, variance.to_vec::<f64>()?), (vec![2.0, 10.0], vec![1.0, 0.0]));
    /// assert!((y.to_vec::<f64>()?[2] - 1.0).abs() < 1e-4);
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// Fewer than two dimensions; parameters of another shape or element type; an `eps` below 0; an element type other than f32 and f64.
    pub fn batch_norm(&self, weight: Option<&Tensor>, bias: Option<&Tensor>, eps: f64) -> Result<(Tensor, Array, Array)> {
        let out = norm::batch_norm(&self.array, weight.map(|w| &w.array), bias.map(|b| &b.array), eps)?;
        let (mean, rstd) = (out.mean.clone(), out.rstd);
        let rule = Normalisation::new(Over::Batch, weight, bias, eps);
        let fused = move |pass: &Pass, x: &Array, weight: Option<&Array>| with_bias(norm::batch_norm_backward(&pass.grad().array, x, &mean, &rstd, weight)?);
        let y = rule.record("batch_norm", self, weight, bias, out.y, fused)?;
        Ok((y, out.mean, out.variance))
    }

    /// Every channel of `[N, C, ..]` by a given mean and variance, `[C]`, which are constants (PyTorch's `batch_norm` in evaluation).
    /// ```
    /// # use chainrule_autograd::{Array, DType, Tensor};
    /// let (mean, variance) = (Array::ones(&[2], DType::F32)?, Array::ones(&[2], DType::F32)?);
    /// let y = Tensor::from_slice(&[1f32, 3.0], &[1, 2])?.batch_norm_inference(&mean, &variance, None, None, 0.0)?;
    /// assert_eq!(y.to_vec::<f32>()?, [0.0, 2.0]);
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// As for [`batch_norm`](Tensor::batch_norm); statistics of another shape or element type.
    pub fn batch_norm_inference(&self, mean: &Array, variance: &Array, weight: Option<&Tensor>, bias: Option<&Tensor>, eps: f64) -> Result<Tensor> {
        let y = norm::batch_norm_inference(&self.array, mean, variance, weight.map(|w| &w.array), bias.map(|b| &b.array), eps)?;
        let rule =
            Normalisation { statistics: Statistics::Given(Box::new([mean.clone(), variance.clone()])), ..Normalisation::new(Over::Batch, weight, bias, eps) };
        let (mean, variance) = (mean.clone(), variance.clone());
        let fused = move |pass: &Pass, x: &Array, weight: Option<&Array>| {
            with_bias(norm::batch_norm_inference_backward(&pass.grad().array, x, &mean, &variance, weight, eps)?)
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
        let rule = Normalisation::new(Over::Last(dimensions), weight, bias, eps);
        let fused = move |pass: &Pass, x: &Array, weight: Option<&Array>| with_bias(norm::layer_norm_backward(&pass.grad().array, x, &mean, &rstd, weight)?);
        rule.record("layer_norm", self, weight, bias, out.y, fused)
    }

    /// The last `dimensions` dimensions, taken together, over the root of their mean square: `x / sqrt(mean(x²) + eps) · weight`; the weight has their extents (PyTorch's `rms_norm`; Zhang and Sennrich 2019).
    /// ```
    /// # use chainrule_autograd::Tensor;
    /// let y = Tensor::from_slice(&[1f64, 7.0], &[1, 2])?.rms_norm(1, None, 0.0)?;
    /// assert!((y.to_vec::<f64>()?[1] - 1.4).abs() < 1e-12);
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// As for [`layer_norm`](Tensor::layer_norm).
    pub fn rms_norm(&self, dimensions: usize, weight: Option<&Tensor>, eps: f64) -> Result<Tensor> {
        let out = norm::rms_norm(&self.array, dimensions, weight.map(|w| &w.array), eps)?;
        let rule = Normalisation { statistics: Statistics::MeanSquare, ..Normalisation::new(Over::Last(dimensions), weight, None, eps) };
        let fused = move |pass: &Pass, x: &Array, weight: Option<&Array>| {
            let (dx, dweight) = norm::rms_norm_backward(&pass.grad().array, x, &out.rstd, weight)?;
            Ok((dx, dweight, None))
        };
        rule.record("rms_norm", self, weight, None, out.y, fused)
    }

    /// The channels of `[N, C, ..]` in `groups` groups, each group of each sample by its own mean and variance; weight and bias are `[C]` (PyTorch's `group_norm`; Wu and He 2018).
    /// ```
    /// # use chainrule_autograd::Tensor;
    /// let y = Tensor::from_slice(&[1f64, 3.0, 10.0, 30.0], &[1, 4])?.group_norm(2, None, None, 0.0)?;
    /// assert_eq!(y.to_vec::<f64>()?, [-1.0, 1.0, -1.0, 1.0]);
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// Fewer than two dimensions; channels that do not divide into the groups; parameters of another shape or element type; an `eps` below 0; an element type other than f32 and f64.
    pub fn group_norm(&self, groups: usize, weight: Option<&Tensor>, bias: Option<&Tensor>, eps: f64) -> Result<Tensor> {
        Ok(grouped("group_norm", self, groups, weight, bias, eps)?.0)
    }

    /// Each channel of each sample of `[N, C, ..]` by its own mean and variance; weight and bias are `[C]` (PyTorch's `instance_norm` with its own statistics; Ulyanov, Vedaldi and Lempitsky 2016).
    /// Returns the result, and the mean and biased variance of each channel of each sample, `[N, C]`, for a layer's running statistics. By given statistics it is [`batch_norm_inference`](Tensor::batch_norm_inference).
    /// ```
    /// # use chainrule_autograd::Tensor;
    /// let (y, mean, _) = Tensor::from_slice(&[1f64, 3.0, 10.0, 30.0], &[1, 2, 2])?.instance_norm(None, None, 0.0)?;
    /// assert_eq!((y.to_vec::<f64>()?, mean.to_vec::<f64>()?), (vec![-1.0, 1.0, -1.0, 1.0], vec![2.0, 20.0]));
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// As for [`group_norm`](Tensor::group_norm).
    pub fn instance_norm(&self, weight: Option<&Tensor>, bias: Option<&Tensor>, eps: f64) -> Result<(Tensor, Array, Array)> {
        // Of no channels any number of groups is as good.
        let channels = self.dims().get(1).copied().unwrap_or(1).max(1);
        grouped("instance_norm", self, channels, weight, bias, eps)
    }

    /// `x / max(|x|, eps)` with the p-norm over `axes`, all when empty (PyTorch's `normalize`, whose p is 2, axis 1 and eps 1e-12 unless given).
    /// ```
    /// # use chainrule_autograd::Tensor;
    /// let y = Tensor::from_slice(&[3f64, 4.0], &[1, 2])?.normalize(2.0, &[1], 1e-12)?;
    /// assert_eq!(y.to_vec::<f64>()?, [0.6, 0.8]);
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// A dimension named twice or out of range; an element type other than f32 and f64.
    pub fn normalize(&self, p: f64, axes: &[isize], eps: f64) -> Result<Tensor> {
        self.div(&self.norm(p, axes, true)?.clamp(eps, f64::INFINITY)?)
    }

    /// Each slice of dimension `axis` whose p-norm is above `most` shortened to it, the others as they are (PyTorch's `renorm`, which adds 1e-7 to the norms as here).
    /// ```
    /// # use chainrule_autograd::Tensor;
    /// let y = Tensor::from_slice(&[3f64, 4.0, 0.3, 0.4], &[2, 2])?.renorm(2.0, 0, 1.0)?.to_vec::<f64>()?;
    /// assert!((y[0] - 0.6).abs() < 1e-6 && y[2..] == [0.3, 0.4]);
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// Fewer than two dimensions; a dimension out of range; a bound below 0; an element type other than f32 and f64.
    pub fn renorm(&self, p: f64, axis: isize, most: f64) -> Result<Tensor> {
        const OP: &str = "renorm";
        let kept = self.shape().axis(OP, axis)?;
        if self.rank() < 2 {
            return Err(Error::shape(OP, format!("the input has shape {:?}, expected at least two dimensions", self.shape())));
        }
        if most.is_nan() || most < 0.0 {
            return Err(Error::value(OP, format!("the largest norm is {most}, expected at least 0")));
        }
        let others: Vec<isize> = (0..self.rank()).filter(|&a| a != kept).map(|a| a as isize).collect();
        let length = self.norm(p, &others, true)?;
        let short = length.less_equal(&Tensor::scalar(most, self.dtype())?)?;
        self.mul(&length.add_scalar(1e-7)?.reciprocal()?.mul_scalar(most)?.masked_fill(&short, 1.0)?)
    }

    /// `magnitude · v / |v|` where these are the directions v: the Euclidean norm is taken over all dimensions but `axis`, over all for `None` (PyTorch's `weight_norm`, whose axis is 0 unless given; Salimans and Kingma 2016).
    /// The magnitude broadcasts with the directions: `[OC, 1, ..]` for axis 0, `[]` for `None`.
    /// ```
    /// # use chainrule_autograd::Tensor;
    /// let (v, g) = (Tensor::from_slice(&[3f64, 4.0], &[1, 2])?, Tensor::from_slice(&[10f64], &[1, 1])?);
    /// assert_eq!(v.weight_norm(&g, Some(0))?.to_vec::<f64>()?, [6.0, 8.0]);
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// A dimension out of range; a magnitude that does not broadcast; different element types, or other ones than f32 and f64.
    pub fn weight_norm(&self, magnitude: &Tensor, axis: Option<isize>) -> Result<Tensor> {
        let kept = axis.map(|axis| self.shape().axis("weight_norm", axis)).transpose()?;
        let others: Vec<isize> = (0..self.rank()).filter(|&a| Some(a) != kept).map(|a| a as isize).collect();
        // Over no dimensions the norm is the absolute value.
        let length = if others.is_empty() { self.abs()? } else { self.norm(2.0, &others, true)? };
        self.mul(&magnitude.div(&length)?)
    }
}

/// Group and instance norm, with the statistics of each group.
fn grouped(name: &'static str, x: &Tensor, groups: usize, weight: Option<&Tensor>, bias: Option<&Tensor>, eps: f64) -> Result<(Tensor, Array, Array)> {
    let out = norm::group_norm(&x.array, groups, weight.map(|w| &w.array), bias.map(|b| &b.array), eps)?;
    let (mean, rstd) = (out.mean.clone(), out.rstd);
    let rule = Normalisation::new(Over::Groups(groups), weight, bias, eps);
    let fused = move |pass: &Pass, x: &Array, weight: Option<&Array>| with_bias(norm::group_norm_backward(&pass.grad().array, x, &mean, &rstd, weight)?);
    Ok((rule.record(name, x, weight, bias, out.y, fused)?, out.mean, out.variance))
}

/// Gradients of x, weight and bias.
type Gradients<T> = (T, T, Option<T>);

fn with_bias((dx, dweight, dbias): (Array, Array, Array)) -> Result<Gradients<Array>> {
    Ok((dx, dweight, Some(dbias)))
}

/// What is normalised, and which inputs beside x there are.
struct Normalisation {
    over: Over,
    /// The places of weight and bias among the inputs.
    weight: Option<usize>,
    bias: Option<usize>,
    eps: f64,
    statistics: Statistics,
}

/// What has one centre and spread.
#[derive(Clone, Copy)]
enum Over {
    /// A channel of the batch.
    Batch,
    /// So many last dimensions.
    Last(usize),
    /// One of so many groups of channels of a sample.
    Groups(usize),
}

impl Over {
    /// The shape under which x is normalised, its dimensions that are normalised together, and the extents under which weight and bias broadcast with it.
    fn extents(self, x: &[usize]) -> (Vec<usize>, Vec<isize>, Vec<usize>) {
        match self {
            Over::Batch => {
                let mut shaped = vec![1; x.len().max(2) - 1];
                shaped[0] = x.get(1).copied().unwrap_or(0);
                (x.to_vec(), (0..x.len() as isize).filter(|&a| a != 1).collect(), shaped)
            }
            Over::Last(dimensions) => (x.to_vec(), (1..=dimensions as isize).map(|a| -a).collect(), x[x.len() - dimensions..].to_vec()),
            // As `[N, G, C/G, L]`.
            Over::Groups(groups) => {
                let width = x[1] / groups;
                (vec![x[0], groups, width, x[2..].iter().product()], vec![2, 3], vec![groups, width, 1])
            }
        }
    }
}

/// Where centre and spread come from.
enum Statistics {
    /// x's own mean and variance.
    Own,
    /// Zero and x's own mean square.
    MeanSquare,
    /// Given mean and variance.
    Given(Box<[Array; 2]>),
}

impl Normalisation {
    fn new(over: Over, weight: Option<&Tensor>, bias: Option<&Tensor>, eps: f64) -> Normalisation {
        let (weight, bias) = (weight.map(|_| 1), bias.map(|_| 1 + weight.is_some() as usize));
        Normalisation { over, weight, bias, eps, statistics: Statistics::Own }
    }

    fn record(
        self,
        name: &'static str,
        x: &Tensor,
        weight: Option<&Tensor>,
        bias: Option<&Tensor>,
        y: Array,
        fused: impl Fn(&Pass, &Array, Option<&Array>) -> Result<Gradients<Array>> + Send + Sync + 'static,
    ) -> Result<Tensor> {
        let all = [x, weight.or(bias).unwrap_or(x), bias.unwrap_or(x)];
        let inputs = &all[..1 + weight.is_some() as usize + bias.is_some() as usize];
        // With given statistics x matters to the weight alone.
        let keep_x = !matches!(self.statistics, Statistics::Given(..)) || weight.is_some_and(Tensor::needs_gradient);
        let keep = Keep::FIRST.when(keep_x).and(self.weight.map_or(Keep::NONE, Keep::input));
        Tensor::record_many(name, inputs, keep, y, move |pass, out| {
            let (dx, dw, db) = if keep_x && !pass.recorded() {
                let weight = self.weight.map(|at| pass.input_array(at)).transpose()?;
                let (dx, dw, db) = fused(pass, pass.input_array(0)?, weight)?;
                (Some(dx.into()), Some(dw.into()), db.map(Tensor::from))
            } else {
                self.composed(pass)?
            };
            out[0] = dx;
            for (at, gradient) in [(self.weight, dw), (self.bias, db)] {
                if let (Some(at), Some(gradient)) = (at.filter(|&at| pass.needs(at)), gradient) {
                    out[at] = Some(gradient.reshape(pass.input_dims(at))?);
                }
            }
            Ok(())
        })
    }

    fn composed(&self, pass: &Pass) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let (dims, axes, shaped) = self.over.extents(pass.input_dims(0));
        let grad = pass.grad().reshape(&dims)?;
        let input = || pass.input(0)?.reshape(&dims);
        let needs = |at: Option<usize>| at.is_some_and(|at| pass.needs(at));
        let mean = |x: &Tensor| x.mean_over(&axes, true);
        let weighted = || match self.weight {
            Some(at) => grad.mul(&pass.input(at)?.reshape(&shaped)?),
            None => Ok(grad.clone()),
        };
        let over_root = |spread: Tensor| spread.add_scalar(self.eps)?.rsqrt();
        let (dx, z) = match &self.statistics {
            Statistics::Given(given) => {
                let [mean, variance] = given.as_ref();
                let rstd = over_root(variance.reshape(&shaped)?.into())?;
                let centred = || input()?.sub(&mean.reshape(&shaped)?.into());
                (pass.when(0, || weighted()?.mul(&rstd))?, if needs(self.weight) { Some(centred()?.mul(&rstd)?) } else { None })
            }
            Statistics::Own => {
                let x = input()?;
                let centred = x.sub(&mean(&x)?)?;
                let rstd = over_root(mean(&centred.square()?)?)?;
                let z = centred.mul(&rstd)?;
                let by_input = || {
                    let g = weighted()?;
                    g.sub(&mean(&g)?)?.sub(&z.mul(&mean(&g.mul(&z)?)?)?)?.mul(&rstd)
                };
                (pass.when(0, by_input)?, Some(z))
            }
            Statistics::MeanSquare => {
                let x = input()?;
                let rstd = over_root(mean(&x.square()?)?)?;
                let z = x.mul(&rstd)?;
                let by_input = || {
                    let g = weighted()?;
                    g.sub(&z.mul(&mean(&g.mul(&z)?)?)?)?.mul(&rstd)
                };
                (pass.when(0, by_input)?, Some(z))
            }
        };
        let dx = dx.map(|dx| dx.reshape(pass.input_dims(0))).transpose()?;
        let dw = z.filter(|_| needs(self.weight)).map(|z| grad.mul(&z)?.sum_to(&shaped)).transpose()?;
        let db = if needs(self.bias) { Some(grad.sum_to(&shaped)?) } else { None };
        Ok((dx, dw, db))
    }
}
