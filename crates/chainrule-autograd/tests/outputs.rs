//! Operations of several outputs, and passes that begin with a gradient from elsewhere.

use chainrule_autograd::{Array, DType, Keep, Result, Rng, Tape, Tensor};

#[test]
fn outputs_that_nothing_depends_on_pass_zeros_back() -> Result<()> {
    let tape = Tape::training(&mut Rng::seeded(0));
    let x = tape.watch(Tensor::from_slice(&[1f64, 2.0, 3.0, 4.0, 5.0], &[5])?);
    let parts = x.split(&[2, 1, 2], 0)?;
    assert_eq!(tape.operations(), ["watch", "split", "split", "split", "split"]);
    assert!(x.chunk(3, 0)?.iter().all(Tensor::needs_gradient));
    let loss = parts[2].square()?.sum()?;
    // Parts are tensors like others: a gradient can be asked for by them, with a second derivative.
    let slope = &loss.gradients_of(&[&parts[2]])?[0];
    assert_eq!(slope.to_vec::<f64>()?, [8.0, 10.0]);
    let bend = slope.square()?.sum()?.gradients_of(&[&x])?; // (2 x)², by x: 8 x
    assert_eq!(bend[0].to_vec::<f64>()?, [0.0, 0.0, 0.0, 32.0, 40.0]);
    let gradients = loss.add(&parts[0].sum()?)?.backward()?;
    assert_eq!(gradients.wrt(&x).unwrap().to_vec::<f64>()?, [1.0, 1.0, 0.0, 8.0, 10.0]);
    Ok(())
}

#[test]
fn a_part_can_be_the_root() -> Result<()> {
    let tape = Tape::training(&mut Rng::seeded(0));
    let x = tape.watch(Tensor::from_slice(&[1f64, 2.0, 3.0], &[3])?);
    let parts = x.square()?.split(&[1, 2], 0)?;
    let gradients = parts[1].backward_from(&Array::from_slice(&[1f64, 10.0], &[2])?)?;
    assert_eq!(gradients.wrt(&x).unwrap().to_vec::<f64>()?, [0.0, 4.0, 60.0]);
    let error = parts[0].backward_from(&Array::ones(&[2], DType::F64)?).unwrap_err().to_string();
    assert!(error.contains("backward_from") && error.contains("[2]") && error.contains("[1]"), "{error}");
    Ok(())
}

#[test]
fn integers_among_outputs_are_constants() -> Result<()> {
    let tape = Tape::training(&mut Rng::seeded(0));
    let x = tape.watch(Tensor::from_slice(&[1.5f64, 2.5], &[2])?);
    let outputs = vec![x.array().clone(), x.array().cast(DType::I64)?];
    let y = Tensor::record_outputs("parts", &[&x], Keep::NONE, outputs, |_, gradients, out| {
        assert!(gradients[1].is_none());
        out[0] = gradients[0].clone();
        Ok(())
    })?;
    assert!(y[0].needs_gradient() && !y[1].needs_gradient());
    assert_eq!(y[0].sum()?.backward()?.wrt(&x).unwrap().to_vec::<f64>()?, [1.0, 1.0]);
    Ok(())
}
