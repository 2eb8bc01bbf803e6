//! What a step with low-rank adapters holds: nothing of the size of a frozen weight, neither its gradient nor a dense delta. One test, because the counters are the process's.

use chainrule_autograd::{DType, Rng, Tape, Tensor};
use chainrule_core::memory;
use chainrule_finetune::{Adapted, Lora, Method, Result};
use chainrule_nn::{Conv2d, Embedding, Layer, Linear, MultiheadAttention, params};

/// What is allocated at most beyond what is live before: in the forward pass, and in the backward pass.
fn peaks(model: &impl Layer, x: &Tensor) -> [usize; 2] {
    let beyond = |f: &mut dyn FnMut()| {
        let before = memory::statistics().live;
        memory::reset_peak();
        f();
        memory::statistics().peak - before
    };
    let tape = Tape::training(&mut Rng::seeded(0));
    let mut loss = None;
    let forward = beyond(&mut || loss = Some(model.forward(&tape.input(x)).unwrap().square().unwrap().mean().unwrap()));
    let mut gradients = None;
    let backward = beyond(&mut || gradients = loss.take().map(|loss| loss.backward().unwrap()));
    [forward, backward]
}

fn check<M: Layer + Clone>(name: &str, base: M, x: &Tensor, method: impl Method + 'static) -> Result<()> {
    let mut weight = 0;
    params(&base, |_, param| weight = weight.max(param.value.count() * 4));
    let [_, whole] = peaks(&base, x);
    assert!(whole >= weight, "{name}: training all of it takes {whole} bytes, expected at least the {weight} of the gradient");
    let mut model = Adapted::new(base);
    let label = method.name();
    model.add("a", method, &mut Rng::seeded(1))?;
    for (pass, peak) in ["forward", "backward"].iter().zip(peaks(&model, x)) {
        assert!(peak < weight / 2, "{label}, {name}, {pass}: {peak} bytes, and the weight has {weight}");
    }
    Ok(())
}

#[test]
fn nothing_of_a_frozen_weights_size_is_ever_allocated() -> Result<()> {
    let rng = &mut Rng::seeded(0);
    let rows = Tensor::ones(&[4, 512], DType::F32)?;
    let (linear, image) = (Linear::new(512, 512, rng)?, Tensor::ones(&[1, 128, 4, 4], DType::F32)?);
    let (conv, tokens) = (Conv2d::new(128, 128, 3, rng)?.padding(1), Tensor::from_slice(&[5i64, 7, 5, 0], &[2, 2])?);
    let (embedding, attention) = (Embedding::new(4096, 128, rng)?, MultiheadAttention::new(256, 4, rng)?);
    let steps = Tensor::ones(&[1, 4, 256], DType::F32)?;
    for dora in [false, true] {
        let method = |target: &str| Lora { dora, ..Lora::rank(2).targets(target) };
        check("linear", linear.clone(), &rows, method("*"))?;
        check("conv2d", conv.clone(), &image, method("*"))?;
        check("embedding", embedding.clone(), &tokens, method("*"))?;
        check("attention", attention.clone(), &steps, method("*"))?;
    }
    Ok(())
}
