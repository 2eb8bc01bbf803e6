//! What a training step leaves behind: nothing. One test, because the figures are the whole process's.

use chainrule_autograd::{Array, Attention, DType, Keep, ParamId, Result, Rng, Tape, Tensor};
use chainrule_core::memory::{reset_peak, statistics};

#[test]
fn live_bytes_return_to_the_baseline() -> Result<()> {
    let mut rng = Rng::seeded(1);
    let v = Array::ones(&[16], DType::F32)?;
    let deep = |x: Tensor| -> Result<Tensor> {
        let mut x = x;
        for _ in 0..50_000 {
            x = x.mul(&x)?.mul_scalar(0.9)?;
        }
        x.sum()
    };
    let baseline = statistics().live;
    // 100,000 operations: dropped without a backward pass, after one, and after several over the same recording.
    {
        let tape = Tape::training(&mut rng);
        let loss = deep(tape.watch(&v))?;
        assert!(statistics().live > baseline + 40_000 * 64);
        drop(tape);
        assert!(statistics().live <= baseline + 256, "a tensor that outlives its tape holds its own numbers only");
        drop(loss);
        assert_eq!(statistics().live, baseline);
    }
    {
        let tape = Tape::training(&mut rng);
        let loss = deep(tape.watch(&v))?;
        let gradients = loss.backward()?;
        assert!(statistics().live <= baseline + 1024, "backward releases what was kept");
        drop((tape, loss, gradients));
        assert_eq!(statistics().live, baseline);
    }
    {
        let tape = Tape::training(&mut rng);
        let loss = deep(tape.watch(&v))?;
        loss.backward_keeping()?;
        drop((loss, tape));
        assert_eq!(statistics().live, baseline);
    }
    // A rule that captures a tensor of its own tape, and backward never called.
    {
        let tape = Tape::training(&mut rng);
        let x = tape.watch(&v);
        let saved = x.clone();
        let y = Tensor::record("careless", [&x], Keep::NONE, x.array().clone(), move |pass| Ok([Some(pass.grad().mul(&saved)?)]))?;
        drop((tape, x, y));
        assert_eq!(statistics().live, baseline);
    }
    // Parameters are free for writing in place once backward has run.
    {
        let mut value = Array::ones(&[64], DType::F32)?;
        let (id, tape) = (ParamId::fresh(), Tape::training(&mut rng));
        let x = tape.input(Array::ones(&[64], DType::F32)?);
        let loss = x.mul(&x.parameter(id, &value, true)?)?.sum()?;
        assert!(!value.is_unique());
        let mut gradients = loss.backward()?;
        assert!(value.is_unique() && gradients.remove(id).is_some_and(|mut g| g.is_unique()));
    }
    // A steady state asks the system for no arrays.
    let step = |rng: &mut Rng| -> Result<()> {
        let tape = Tape::training(rng);
        tape.watch(&v).square()?.sin()?.sum()?.backward()?;
        Ok(())
    };
    step(&mut rng)?;
    let before = statistics().system_allocations;
    for _ in 0..10 {
        step(&mut rng)?;
    }
    assert_eq!(statistics().system_allocations, before);
    a_checkpoint_keeps_nothing_between_its_runs()?;
    attention_is_linear_in_the_sequence()
}

fn a_checkpoint_keeps_nothing_between_its_runs() -> Result<()> {
    let bytes = |checkpoint: bool| -> Result<usize> {
        let tape = Tape::training(&mut Rng::seeded(0));
        let x = tape.watch(Array::ones(&[1 << 18], DType::F32)?);
        let before = statistics().live;
        let f = |x: &Tensor| x.exp()?.tanh()?.sin()?.exp()?.tanh()?.sin();
        let y = if checkpoint { x.checkpoint(f)? } else { f(&x)? };
        let kept = statistics().live - before;
        y.sum()?.backward()?;
        Ok(kept)
    };
    let (with, without) = (bytes(true)?, bytes(false)?);
    assert!(with <= (1 << 20) + 4096 && without >= 5 << 20, "{with} bytes with, {without} without");
    Ok(())
}

/// Twice the sequence takes twice the memory, forward and backward, from where the keys of so few heads are cut into as many chunks as there ever are; all weights of 4096 queries and keys alone would take 64 MiB a head.
fn attention_is_linear_in_the_sequence() -> Result<()> {
    let peak = |steps: usize| -> Result<usize> {
        let inputs = [1, 2, 3].map(|seed| Tensor::uniform(&[2, steps, 16], -1.0, 1.0, DType::F32, &mut Rng::seeded(seed)));
        let tape = Tape::training(&mut Rng::seeded(0));
        let before = statistics().live;
        reset_peak();
        let [query, key, value] = inputs.map(|x| x.map(|x| tape.watch(x)));
        let how = Attention { causal: Some(0), dropout: 0.1, ..Attention::default() };
        query?.scaled_dot_product_attention(&key?, &value?, &how)?.sum()?.backward()?;
        Ok(statistics().peak - before)
    };
    let (short, long) = (peak(2048)?, peak(4096)?);
    assert!(long <= 2 * short + 65536 && long < 16 << 20, "{short} bytes for 2048 steps, {long} for 4096");
    Ok(())
}
