//! L2-SP: decay towards the pretrained weights instead of towards 0 (Li, Grandvalet and Davoine 2018, "Explicit Inductive Bias for Transfer Learning with Convolutional Networks").

use crate::anchor::{Anchors, expect_strength, squared_distance};
use chainrule_autograd::Tensor;
use chainrule_nn::{Module, Result};

/// `α/2 Σ (θ - θ⁰)² + β/2 Σ θ²`: the first sum over the trainable parameters that the pretrained model had, the second over those that came new, such as a replaced head. The paper takes β = 0.01 and α from 0.001 to 1.
/// ```
/// # use chainrule_autograd::{DType, Rng, Tape, Tensor};
/// # use chainrule_finetune::L2Sp;
/// # use chainrule_nn::{Layer, Linear};
/// let mut rng = Rng::seeded(0);
/// let model = Linear::new(4, 2, &mut rng)?;
/// let near = L2Sp::new(&model, 0.1, 0.01)?; // before training
///
/// let tape = Tape::training(&mut rng);
/// let loss = model.run(&tape.input(Tensor::ones(&[1, 4], DType::F32)?))?.square()?.mean()?;
/// let loss = loss.add(&near.penalty(&model, &loss)?)?;
/// assert_eq!(loss.backward()?.len(), 2);
/// # Ok::<(), chainrule_nn::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct L2Sp {
    start: Anchors,
    alpha: f64,
    beta: f64,
}

const OP: &str = "l2sp";

impl L2Sp {
    /// Takes down the pretrained model; its numbers are shared, and copied only when training first writes to them.
    ///
    /// # Errors
    /// A strength below 0 or not finite.
    pub fn new(pretrained: &dyn Module, alpha: f64, beta: f64) -> Result<L2Sp> {
        expect_strength(OP, "alpha", alpha)?;
        expect_strength(OP, "beta", beta)?;
        Ok(L2Sp { start: Anchors::of(pretrained), alpha, beta })
    }

    /// The penalty of a model, where `at` stands: on its tape, in its element type. Parameters belong together by identity, as those of a model and its clones do.
    ///
    /// # Errors
    /// A model that shares no parameter with the pretrained one; a parameter of another shape than it had.
    pub fn penalty(&self, model: &dyn Module, at: &Tensor) -> Result<Tensor> {
        self.start.sum(OP, model, at, |_, value, start| {
            Ok(Some(match start {
                Some(start) => squared_distance(value, start)?.mul_scalar(self.alpha / 2.0)?,
                None => value.square()?.sum()?.mul_scalar(self.beta / 2.0)?,
            }))
        })
    }
}
