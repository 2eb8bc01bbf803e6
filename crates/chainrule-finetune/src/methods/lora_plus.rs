//! LoRA+ (Hayou et al. 2024, "LoRA+: Efficient Low Rank Adaptation of Large Models"; PEFT's `create_loraplus_optimizer`).

/// The parameters that learn faster, as a pattern of their paths, and how much faster: B at `ratio` times the learning rate of A. The paper has about 16.
///
/// As a group of an optimizer:
/// ```
/// use chainrule_autograd::{DType, Rng, Tape, Tensor};
/// use chainrule_finetune::{Adapted, Lora, lora_plus};
/// use chainrule_nn::{Layer, Linear, Sequential};
/// use chainrule_optim::AdamW;
///
/// let rng = &mut Rng::seeded(0);
/// let mut model = Adapted::new(Sequential::new().add(Linear::new(8, 4, rng)?));
/// model.add("mine", Lora::rank(2), rng)?;
///
/// let (fast, ratio) = lora_plus(16.0);
/// let mut optimizer = AdamW::new(1e-3).group(fast, move |group| group.learning_rate_scale(ratio));
/// let tape = Tape::training(rng);
/// let loss = model.forward(&tape.input(Tensor::ones(&[2, 8], DType::F32)?))?.square()?.mean()?;
/// optimizer.step(&mut model, &loss.backward()?)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn lora_plus(ratio: f64) -> (&'static str, f64) {
    ("*lora_B.weight", ratio)
}
