//! Products in narrow precision: what is rounded, and what is not.

use chainrule_autograd::{Array, DType, Result, Rng, Tape, Tensor};

fn uniform(dims: &[usize], seed: u64) -> Tensor {
    Tensor::uniform(dims, -1.0, 1.0, DType::F32, &mut Rng::seeded(seed)).unwrap()
}

/// Loss and gradients of a linear layer in the given precision, off by hand.
#[test]
fn a_linear_layer_rounds_what_autocast_rounds() -> Result<()> {
    for narrow in [DType::BF16, DType::F16] {
        let (x, w, b, g) = (uniform(&[5, 7], 1), uniform(&[3, 7], 2), uniform(&[3], 3), uniform(&[5, 3], 4));
        let round = |t: &Tensor| t.round_to(narrow).unwrap();
        let tape = Tape::training(&mut Rng::seeded(0)).precision(narrow)?;
        let (tx, tw, tb) = (tape.watch(&x), tape.watch(&w), tape.watch(&b));
        let y = tx.linear(&tw, Some(&tb))?;
        assert_eq!(y.to_vec::<f32>()?, round(&round(&x).linear(&round(&w), Some(&round(&b)))?).to_vec::<f32>()?);
        let gradients = y.backward_from(g.array())?;
        let rounded = round(&g);
        let expected = [rounded.matmul(&round(&w))?, rounded.transpose(0, 1)?.matmul(&round(&x))?, rounded.sum_over(&[0], false)?];
        for (tensor, expected) in [&tx, &tw, &tb].into_iter().zip(expected) {
            assert_eq!(gradients.wrt(tensor).unwrap().to_vec::<f32>()?, round(&expected).to_vec::<f32>()?);
        }
    }
    Ok(())
}

#[test]
fn other_operations_stay_as_they_are() -> Result<()> {
    let x = uniform(&[4, 6], 1);
    let run = |tape: Tape| -> Result<Vec<f32>> {
        let x = tape.watch(&x);
        x.softmax(-1)?.layer_norm(1, None, None, 1e-5)?.exp()?.mean()?.backward()?.wrt(&x).unwrap().to_vec::<f32>().map_err(Into::into)
    };
    assert_eq!(run(Tape::training(&mut Rng::seeded(0)).precision(DType::BF16)?)?, run(Tape::training(&mut Rng::seeded(0)))?);
    Ok(())
}

#[test]
fn small_gradients_vanish_in_f16_and_stay_in_bf16() -> Result<()> {
    let gradient = |narrow: DType| -> Result<f32> {
        let tape = Tape::training(&mut Rng::seeded(0)).precision(narrow)?;
        let x = tape.watch(Array::ones(&[1, 1], DType::F32)?);
        let w = Tensor::from_slice(&[1f32], &[1, 1])?;
        let gradients = x.matmul(&w)?.mul_scalar(1e-9)?.sum()?.backward()?;
        Ok(gradients.wrt(&x).unwrap().to_vec::<f32>()?[0])
    };
    assert_eq!(gradient(DType::F16)?, 0.0);
    assert!((gradient(DType::BF16)? - 1e-9).abs() < 1e-11);
    Ok(())
}

#[test]
fn precision_is_set_before_the_first_input() -> Result<()> {
    let tape = Tape::training(&mut Rng::seeded(0));
    assert!(tape.precision(DType::I64).unwrap_err().to_string().contains("bf16"));
    let tape = Tape::training(&mut Rng::seeded(0));
    let _x = tape.input(Array::ones(&[1], DType::F32)?);
    assert!(tape.precision(DType::BF16).unwrap_err().to_string().contains("before the first input"));
    Ok(())
}

#[test]
fn a_checkpoint_computes_in_the_tapes_precision() -> Result<()> {
    let (x, w) = (uniform(&[4, 6], 1), uniform(&[6, 6], 2));
    let run = |checkpoint: bool| -> Result<Vec<f32>> {
        let tape = Tape::training(&mut Rng::seeded(0)).precision(DType::BF16)?;
        let (x, w) = (tape.watch(&x), tape.watch(&w));
        let f = |x: &[Tensor]| Ok(vec![x[0].matmul(&x[1])?.tanh()?.matmul(&x[1])?]);
        let y = if checkpoint { Tensor::checkpoint_many(&[&x, &w], f)? } else { f(&[x.clone(), w.clone()])? };
        Ok(y[0].square()?.sum()?.backward()?.wrt(&w).unwrap().to_vec()?)
    };
    assert_eq!(run(true)?, run(false)?);
    Ok(())
}

/// Products that end in an activation give the same bits as both one after the other, also where products are rounded.
#[test]
fn an_activation_in_the_same_pass_changes_no_bits() -> Result<()> {
    use chainrule_autograd::{Activation, Conv2d};
    for narrow in [None, Some(DType::BF16), Some(DType::F16)] {
        for activation in [Activation::Relu, Activation::LeakyRelu(0.2)] {
            let run = |fused: bool, convolution: bool| -> Result<Vec<Vec<f32>>> {
                let tape = Tape::training(&mut Rng::seeded(0));
                let tape = if let Some(narrow) = narrow { tape.precision(narrow)? } else { tape };
                let (x, w, b) = if convolution {
                    (uniform(&[2, 3, 6, 6], 1), uniform(&[4, 3, 3, 3], 2), uniform(&[4], 3))
                } else {
                    (uniform(&[5, 7], 1), uniform(&[4, 7], 2), uniform(&[4], 3))
                };
                let (x, w, b) = (tape.watch(x), tape.watch(w), tape.watch(b));
                let window = Conv2d::default();
                let y = match (fused, convolution) {
                    (true, true) => x.conv2d_activated(&w, Some(&b), activation, &window)?,
                    (false, true) => x.conv2d(&w, Some(&b), &window)?.activated(activation)?,
                    (true, false) => x.linear_activated(&w, Some(&b), activation)?,
                    (false, false) => x.linear(&w, Some(&b))?.activated(activation)?,
                };
                let gradients = y.backward_from(uniform(y.dims(), 4).array())?;
                let mut all = vec![y.to_vec::<f32>()?];
                for input in [&x, &w, &b] {
                    all.push(gradients.wrt(input).unwrap().to_vec::<f32>()?);
                }
                Ok(all)
            };
            for convolution in [false, true] {
                assert_eq!(run(true, convolution)?, run(false, convolution)?, "{narrow:?} {activation:?}");
            }
        }
    }
    Ok(())
}
