//! Adversarial examples, to train against: inputs moved a little where the loss rises most.
//!
//! FGSM: Goodfellow, Shlens and Szegedy 2014, "Explaining and Harnessing Adversarial Examples". PGD: Madry et al. 2017, "Towards Deep Learning Models Resistant to Adversarial Attacks". On embeddings: Miyato, Dai and Goodfellow 2017, "Adversarial Training Methods for Semi-Supervised Text Classification".

use crate::anchor::wide;
use chainrule_autograd::{Error, Result, Rng, Tape, Tensor};

/// How an input may be moved: `x ← project(x + size · direction(∂loss/∂x))`, so many times, the projection being to the ball of radius ε around the input and to the range of valid numbers.
///
/// In the norm L∞ the direction is the gradient's sign, in L2 the gradient over its length, for every sample of the first dimension alone.
/// ```
/// # use chainrule_autograd::{DType, Rng, Tape, Tensor};
/// # use chainrule_finetune::Attack;
/// # use chainrule_nn::{Layer, Linear, frozen};
/// let mut rng = Rng::seeded(0);
/// let model = Linear::new(4, 3, &mut rng)?;
/// let (x, labels) = (Tensor::uniform(&[2, 4], 0.0, 1.0, DType::F32, &mut rng)?, Tensor::from_slice(&[0i64, 2], &[2])?);
///
/// let attack = Attack::pgd(0.1, 5).range(0.0, 1.0);
/// let fixed = frozen(&model); // the weights need no gradient here
/// let worse = attack.perturb(&x, &mut rng, |x| fixed.forward(x)?.cross_entropy(&labels))?;
///
/// let tape = Tape::training(&mut rng); // and then a step on it
/// let loss = model.forward(&tape.input(&worse))?.cross_entropy(&labels)?;
/// assert!(loss.item()? > model.forward(&x)?.cross_entropy(&labels)?.item()?);
/// # Ok::<(), chainrule_autograd::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Attack {
    /// How far a sample may be moved.
    pub epsilon: f64,
    /// How many steps are taken.
    pub steps: usize,
    /// How long each of them is.
    pub step_size: f64,
    /// The range of valid inputs.
    pub range: Option<(f64, f64)>,
    /// Whether the first step starts from a random place within reach.
    pub random_start: bool,
    /// Whether lengths are Euclidean, and not the largest of the numbers.
    pub euclidean: bool,
}

const OP: &str = "attack";

impl Attack {
    /// One step as far as may be: the fast gradient sign method.
    pub fn fgsm(epsilon: f64) -> Attack {
        Attack { epsilon, steps: 1, step_size: epsilon, range: None, random_start: false, euclidean: false }
    }
    /// Projected gradient: steps of `2.5 ε / steps` from a random start.
    pub fn pgd(epsilon: f64, steps: usize) -> Attack {
        Attack { epsilon, steps, step_size: 2.5 * epsilon / steps as f64, range: None, random_start: true, euclidean: false }
    }
    /// With Euclidean lengths: L2 in place of L∞.
    #[must_use]
    pub fn euclidean(self) -> Attack {
        Attack { euclidean: true, ..self }
    }
    /// With steps of this length.
    #[must_use]
    pub fn step_size(self, step_size: f64) -> Attack {
        Attack { step_size, ..self }
    }
    /// With inputs that stay within a range, such as that of pixels.
    #[must_use]
    pub fn range(self, low: f64, high: f64) -> Attack {
        Attack { range: Some((low, high)), ..self }
    }
    /// With or without a random start.
    #[must_use]
    pub fn random_start(self, random_start: bool) -> Attack {
        Attack { random_start, ..self }
    }

    /// The moved input, off the tape. `loss` gets inputs on a tape of its own, in inference mode; let it use a [`frozen`](chainrule_nn::frozen) copy of the model, so that no weight's gradient is computed.
    ///
    /// # Errors
    /// Those of `loss`; settings out of range; an input that is not floating-point or has no samples (of token numbers the embeddings can be moved); a gradient that is not there or not finite.
    pub fn perturb<E: From<Error>>(&self, x: &Tensor, rng: &mut Rng, mut loss: impl FnMut(&Tensor) -> Result<Tensor, E>) -> Result<Tensor, E> {
        self.check(x)?;
        let x = x.detach().into_array().into();
        let mut moved = if self.random_start { self.within(&x, &self.random(&x, rng)?)? } else { x.clone() };
        for _ in 0..self.steps {
            let tape = Tape::inference(rng);
            let watched = tape.watch(&moved);
            let gradients = loss(&watched)?.backward()?;
            let gradient = gradients.wrt(&watched).ok_or_else(|| Error::value(OP, "the loss does not depend on the input that it was given"))?;
            let step = self.direction(&Tensor::from(gradient))?.mul_scalar(self.step_size)?;
            moved = self.within(&x, &moved.add(&step)?.sub(&x)?)?;
        }
        Ok(moved)
    }

    fn check(&self, x: &Tensor) -> Result<()> {
        let number = |name: &str, value: f64| {
            let fits = value >= 0.0 && value.is_finite();
            if fits { Ok(()) } else { Err(Error::value(OP, format!("{name} is {value}, expected a number of at least 0"))) }
        };
        number("epsilon", self.epsilon)?;
        number("the step size", self.step_size)?;
        if self.steps == 0 {
            return Err(Error::value(OP, "got 0 steps, expected at least 1"));
        }
        if let Some((low, high)) = self.range.filter(|(low, high)| low.is_nan() || high.is_nan() || low > high) {
            return Err(Error::value(OP, format!("the range is {low} to {high}, expected the lower bound first")));
        }
        if !x.dtype().is_float() {
            return Err(Error::value(OP, format!("got an input of {}, expected floating-point numbers; move the embeddings of tokens", x.dtype())));
        }
        if x.rank() == 0 {
            return Err(Error::shape(OP, "got a single number, expected samples in the first dimension"));
        }
        Ok(())
    }

    /// The longest step of length 1 that the gradient suggests.
    fn direction(&self, gradient: &Tensor) -> Result<Tensor> {
        if gradient.is_finite()?.all(&[], false)?.item()? == 0.0 {
            return Err(Error::value(OP, "the gradient of the input is not finite"));
        }
        if !self.euclidean {
            return gradient.sign();
        }
        // Over its largest number first, so that no square vanishes; a gradient of zeros has no direction.
        let flat = wide(&samples(gradient)?)?;
        let largest = flat.abs()?.max_over(&[1], true)?.clamp(f64::from(f32::MIN_POSITIVE), f64::INFINITY)?;
        flat.div(&largest)?.normalize(2.0, &[1], 1e-30)?.reshape(gradient.dims())?.cast(gradient.dtype())
    }

    /// `x` moved by as much of `shift` as is allowed.
    fn within(&self, x: &Tensor, shift: &Tensor) -> Result<Tensor> {
        let shift = if self.euclidean {
            let flat = samples(shift)?;
            let flat = wide(&flat)?;
            let length = flat.norm(2.0, &[1], true)?.clamp(1e-30, f64::INFINITY)?;
            flat.mul(&length.reciprocal()?.mul_scalar(self.epsilon)?.clamp(0.0, 1.0)?)?.reshape(x.dims())?.cast(x.dtype())?
        } else {
            shift.clamp(-self.epsilon, self.epsilon)?
        };
        let moved = x.add(&shift)?;
        self.range.map_or(Ok(moved.clone()), |(low, high)| moved.clamp(low, high))
    }

    /// A shift uniform in the ball.
    fn random(&self, x: &Tensor, rng: &mut Rng) -> Result<Tensor> {
        if !self.euclidean {
            return Tensor::uniform(x.dims(), -self.epsilon, self.epsilon, x.dtype(), rng)?.to(&x.device());
        }
        // Of n numbers the share u^(1/n) of the radius has as much volume within as u says.
        let flat = samples(&Tensor::normal(x.dims(), 0.0, 1.0, x.dtype(), rng)?)?;
        let radius = Tensor::uniform(&[flat.dims()[0], 1], 0.0, 1.0, x.dtype(), rng)?.powf(1.0 / flat.dims()[1].max(1) as f64)?;
        flat.normalize(2.0, &[1], 1e-30)?.mul(&radius.mul_scalar(self.epsilon)?)?.reshape(x.dims())?.to(&x.device())
    }
}

/// `[N, ..] -> [N, n]`
fn samples(x: &Tensor) -> Result<Tensor> {
    let count = x.dims().first().copied().unwrap_or(1);
    x.reshape(&[count, x.count().checked_div(count).unwrap_or(0)])
}
