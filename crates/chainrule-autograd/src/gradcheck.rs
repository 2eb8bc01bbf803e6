//! Derivatives against central differences in f64, by random projection: `d/dx sum(r · f(x))` for fixed random `r` checks all outputs at once.

use crate::{Array, DType, Error, Result, Rng, Tape, Tensor};

/// Checks the gradient of `f` by every element of its f64 inputs. Inputs of other types are passed on as they are.
/// ```
/// # use chainrule_autograd::{Tensor, gradcheck};
/// let (x, w) = (Tensor::from_slice(&[0.3, -0.7], &[1, 2])?, Tensor::from_slice(&[1.0, 2.0], &[2, 1])?);
/// gradcheck(&[x, w], |t| t[0].matmul(&t[1])?.tanh())?;
/// # Ok::<(), chainrule_autograd::Error>(())
/// ```
///
/// # Errors
/// [`Error::Mismatch`], which names input, element, analytic and numeric value; those of `f`; an input of f32, which is too coarse.
pub fn gradcheck(inputs: &[Tensor], f: impl Fn(&[Tensor]) -> Result<Tensor>) -> Result<()> {
    GradCheck::default().first(inputs, f)
}

/// Checks the second derivatives of `f`: the gradient of a projection of its gradient. Checks the recorded gradient against the unrecorded one as well.
///
/// # Errors
/// As for [`gradcheck`]; an operation without a second derivative.
pub fn gradcheck_second(inputs: &[Tensor], f: impl Fn(&[Tensor]) -> Result<Tensor>) -> Result<()> {
    GradCheck::default().second(inputs, f)
}

/// [`gradcheck`] with other settings.
#[derive(Clone, Copy, Debug)]
pub struct GradCheck {
    /// Half the distance of the two points of a difference.
    pub step: f64,
    /// The largest difference, over 1 + the numeric value's size.
    pub tolerance: f64,
    /// Whether the tapes are in training mode; every run gets the same random streams.
    pub training: bool,
    /// From which the projections and the tapes' streams follow.
    pub seed: u64,
}

impl Default for GradCheck {
    fn default() -> GradCheck {
        GradCheck { step: 1e-5, tolerance: 1e-6, training: false, seed: 0 }
    }
}

impl GradCheck {
    /// As [`gradcheck`].
    ///
    /// # Errors
    /// As for [`gradcheck`].
    pub fn first(&self, inputs: &[Tensor], f: impl Fn(&[Tensor]) -> Result<Tensor>) -> Result<()> {
        for (i, input) in inputs.iter().enumerate() {
            if input.dtype().is_float() && input.dtype() != DType::F64 {
                return Err(Error::Mismatch(format!("input {i} is {}, expected f64: differences need its precision", input.dtype())));
            }
        }
        let analytic = self.analytic(inputs, &f)?;
        for (i, gradient) in analytic.iter().enumerate() {
            let Some(gradient) = gradient else { continue };
            let values = inputs[i].to_vec::<f64>()?;
            for (element, &analytic) in gradient.to_vec::<f64>()?.iter().enumerate() {
                let at = |shift: f64| {
                    let mut values = values.clone();
                    values[element] += shift;
                    self.value(inputs, i, &Tensor::from_slice(&values, inputs[i].dims())?, &f)
                };
                let numeric = (at(self.step)? - at(-self.step)?) / (2.0 * self.step);
                self.compare(i, position(element, inputs[i].dims()), analytic, numeric)?;
            }
        }
        Ok(())
    }

    /// As [`gradcheck_second`].
    ///
    /// # Errors
    /// As for [`gradcheck_second`].
    pub fn second(&self, inputs: &[Tensor], f: impl Fn(&[Tensor]) -> Result<Tensor>) -> Result<()> {
        let unrecorded = self.analytic(inputs, &f)?;
        let tape = self.tape();
        let (watched, loss) = self.run(&tape, inputs, &f)?;
        for (i, unrecorded) in unrecorded.iter().enumerate() {
            let (Some(unrecorded), Some(recorded)) = (unrecorded, gradient_by(&loss, &watched[i])?) else { continue };
            for (element, (a, b)) in recorded.to_vec::<f64>()?.into_iter().zip(unrecorded.to_vec::<f64>()?).enumerate() {
                self.compare(i, position(element, inputs[i].dims()), a, b)?;
            }
        }
        self.first(inputs, |x| {
            // Numeric points are constants of their tape; here they need gradients themselves.
            let tape = self.tape();
            let on_tape = x.iter().any(Tensor::needs_gradient);
            let x: Vec<Tensor> = if on_tape { x.to_vec() } else { x.iter().map(|x| tape.watch(x)).collect() };
            let loss = self.project(&f(&x)?, self.seed)?;
            let mut total = Tensor::scalar(0.0, DType::F64)?;
            for (i, x) in x.iter().enumerate() {
                if let Some(gradient) = gradient_by(&loss, x)? {
                    total = total.add(&self.project(&gradient, self.seed + 1 + i as u64)?)?;
                }
            }
            Ok(total)
        })
    }

    fn tape(&self) -> Tape {
        let mut rng = Rng::seeded(self.seed);
        if self.training { Tape::training(&mut rng) } else { Tape::inference(&mut rng) }
    }

    fn run(&self, tape: &Tape, inputs: &[Tensor], f: impl Fn(&[Tensor]) -> Result<Tensor>) -> Result<(Vec<Tensor>, Tensor)> {
        // As views, where inputs are views.
        let watched: Vec<Tensor> = inputs.iter().map(|x| tape.watch(x)).collect();
        let loss = self.project(&f(&watched)?, self.seed)?;
        Ok((watched, loss))
    }

    /// The gradient by each f64 input.
    fn analytic(&self, inputs: &[Tensor], f: impl Fn(&[Tensor]) -> Result<Tensor>) -> Result<Vec<Option<Array>>> {
        let tape = self.tape();
        let (watched, loss) = self.run(&tape, inputs, f)?;
        // A result that depends on no input has the gradient zero.
        let gradients = if loss.needs_gradient() { Some(loss.backward()?) } else { None };
        let by = |x: &Tensor| match gradients.as_ref().and_then(|g| g.wrt(x)) {
            Some(gradient) => Ok(gradient.clone()),
            None => Ok(Array::zeros(x.dims(), DType::F64)?),
        };
        watched.iter().map(|x| if x.dtype().is_float() { by(x).map(Some) } else { Ok(None) }).collect()
    }

    /// The projected result with input `i` replaced.
    fn value(&self, inputs: &[Tensor], i: usize, replacement: &Tensor, f: impl Fn(&[Tensor]) -> Result<Tensor>) -> Result<f64> {
        let tape = self.tape();
        let inputs: Vec<Tensor> = inputs.iter().enumerate().map(|(j, x)| tape.input(if i == j { replacement } else { x })).collect();
        self.project(&f(&inputs)?, self.seed)?.item()
    }

    fn project(&self, y: &Tensor, seed: u64) -> Result<Tensor> {
        let mut rng = Rng::seeded(seed ^ 0x9e37_79b9);
        let direction = Tensor::uniform(y.dims(), 0.5, 1.5, DType::F64, &mut rng)?;
        y.mul(&direction)?.sum()
    }

    fn compare(&self, input: usize, element: Vec<usize>, analytic: f64, numeric: f64) -> Result<()> {
        if (analytic - numeric).abs() <= self.tolerance * (1.0 + numeric.abs()) {
            return Ok(());
        }
        let (step, tolerance) = (self.step, self.tolerance);
        Err(Error::Mismatch(format!("input {input}, element {element:?}: analytic {analytic}, numeric {numeric} (step {step}, tolerance {tolerance})")))
    }
}

/// The recorded gradient, `None` where there is no dependence.
fn gradient_by(loss: &Tensor, x: &Tensor) -> Result<Option<Tensor>> {
    if !loss.needs_gradient() || !x.needs_gradient() {
        return Ok(None);
    }
    match loss.gradients_of(&[x]) {
        Ok(mut gradients) => Ok(gradients.pop()),
        Err(Error::Unreached { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

fn position(mut element: usize, dims: &[usize]) -> Vec<usize> {
    let mut index = vec![0; dims.len()];
    for (i, &extent) in dims.iter().enumerate().rev() {
        index[i] = element % extent;
        element /= extent;
    }
    index
}
