//! Checkpoints change no bits: values, gradients, random numbers, buffer updates.

use chainrule_autograd::{Array, DType, Error, Gradients, ParamId, Result, Rng, Tape, Tensor, Update};

#[derive(Clone)]
struct Weight {
    id: ParamId,
    value: Array,
}
impl Weight {
    fn new(dims: &[usize], seed: u64) -> Weight {
        Weight { id: ParamId::fresh(), value: Tensor::uniform(dims, -1.0, 1.0, DType::F32, &mut Rng::seeded(seed)).unwrap().into() }
    }
    fn on(&self, x: &Tensor) -> Result<Tensor> {
        x.parameter(self.id, &self.value, true)
    }
}

fn bits(array: &Array) -> Vec<u32> {
    array.to_vec::<f32>().unwrap().into_iter().map(f32::to_bits).collect()
}

/// A block in which the input is used three times, with dropout and a buffer update.
fn block(x: &Tensor, w: &Weight, shared: &Weight, buffer: ParamId) -> Result<Tensor> {
    let (w, shared) = (w.on(x)?, shared.on(x)?);
    let (q, k, v) = (x.matmul(&w)?.tanh()?, x.matmul(&shared)?, x.mul(&x.dropout(0.4)?)?);
    x.update_buffer(buffer, Update::new(0.5, v.array().clone()))?;
    q.mul(&k)?.add(&v)?.dropout(0.2)
}

struct Model {
    first: Weight,
    second: Weight,
    shared: Weight,
    buffer: ParamId,
}

#[derive(Clone, Copy, PartialEq)]
enum How {
    Plain,
    Checkpointed,
    Nested,
}

impl Model {
    fn new() -> Model {
        Model { first: Weight::new(&[4, 4], 1), second: Weight::new(&[4, 4], 2), shared: Weight::new(&[4, 4], 3), buffer: ParamId::fresh() }
    }

    fn run(&self, how: How) -> Result<(Vec<u32>, Gradients, Tensor)> {
        let tape = Tape::training(&mut Rng::seeded(5));
        let x = tape.watch(Tensor::uniform(&[3, 4], -1.0, 1.0, DType::F32, &mut Rng::seeded(4))?);
        let part = |x: &Tensor, w: &Weight, how: How| -> Result<Tensor> {
            let (w, shared, buffer) = (w.clone(), self.shared.clone(), self.buffer);
            match how {
                How::Plain => block(x, &w, &shared, buffer),
                _ => x.checkpoint(move |x| block(x, &w, &shared, buffer)),
            }
        };
        // The input of each part is used outside it too, as in residual blocks.
        let y = x.add(&part(&x, &self.first, how)?)?;
        let z = if how == How::Nested {
            let (second, shared, buffer) = (self.second.clone(), self.shared.clone(), self.buffer);
            y.checkpoint(move |y| {
                let (second, shared) = (second.clone(), shared.clone());
                y.checkpoint(move |y| block(y, &second, &shared, buffer))?.exp()?.dropout(0.5)
            })?
        } else {
            part(&y, &self.second, how)?.exp()?.dropout(0.5)?
        };
        let loss = y.mul(&z)?.matmul(&self.shared.on(&y)?)?.dropout(0.1)?.square()?.mean()?;
        let value = bits(loss.array());
        Ok((value, loss.backward()?, x))
    }
}

#[test]
fn the_same_bits_as_without() -> Result<()> {
    let model = Model::new();
    let (value, plain, x) = model.run(How::Plain)?;
    for how in [How::Checkpointed, How::Nested] {
        let (other_value, other, other_x) = model.run(how)?;
        assert_eq!(other_value, value);
        assert_eq!(bits(other.wrt(&other_x).unwrap()), bits(plain.wrt(&x).unwrap()));
        for id in [model.first.id, model.second.id, model.shared.id] {
            assert_eq!(bits(other.get(id).unwrap()), bits(plain.get(id).unwrap()), "{id}");
        }
        let (a, b) = (other.update(model.buffer).unwrap(), plain.update(model.buffer).unwrap());
        assert_eq!((a.decay(), bits(a.addend())), (b.decay(), bits(b.addend())));
        assert_eq!(a.stamps().len(), 2, "every update once, though the parts ran twice");
    }
    Ok(())
}

#[test]
fn frozen_parts_are_not_run_again() -> Result<()> {
    use std::sync::{Arc, atomic::AtomicUsize, atomic::Ordering::Relaxed};
    let runs = Arc::new(AtomicUsize::new(0));
    let counted = runs.clone();
    let tape = Tape::training(&mut Rng::seeded(0));
    let x = tape.input(Array::ones(&[2], DType::F32)?);
    let y = x.checkpoint(move |x| {
        counted.fetch_add(1, Relaxed);
        x.exp()
    })?;
    assert!(!y.needs_gradient() && tape.operations().is_empty());
    let w = Weight::new(&[2], 0);
    y.mul(&w.on(&y)?)?.sum()?.backward()?;
    assert_eq!(runs.load(Relaxed), 1);
    Ok(())
}

#[test]
fn several_inputs_and_outputs() -> Result<()> {
    let run = |checkpoint: bool| -> Result<(Vec<f64>, Vec<f64>)> {
        let tape = Tape::inference(&mut Rng::seeded(0));
        let (a, b) = (tape.watch(Tensor::from_slice(&[1f64, 2.0], &[2])?), tape.watch(Tensor::from_slice(&[0.5f64, -1.0], &[2])?));
        let f = |x: &[Tensor]| Ok(vec![x[0].mul(&x[1])?, x[1].exp()?, x[0].square()?]);
        let y = if checkpoint { Tensor::checkpoint_many(&[&a, &b], f)? } else { f(&[a.clone(), b.clone()])? };
        // Nothing depends on the last output.
        let gradients = y[0].sum()?.add(&y[1].mul_scalar(3.0)?.sum()?)?.backward()?;
        Ok((gradients.wrt(&a).unwrap().to_vec()?, gradients.wrt(&b).unwrap().to_vec()?))
    };
    assert_eq!(run(true)?, run(false)?);
    Ok(())
}

#[test]
fn a_bound_tensor_is_seen_inside() -> Result<()> {
    let w = Weight::new(&[2], 0);
    let run = |checkpoint: bool| -> Result<Vec<u32>> {
        let tape = Tape::training(&mut Rng::seeded(0));
        let x = tape.watch(Array::ones(&[2], DType::F32)?);
        tape.bind(w.id, &x.mul_scalar(3.0)?)?;
        let w = w.clone();
        let f = move |x: &Tensor| x.mul(&w.on(x)?)?.tanh();
        let y = if checkpoint { x.checkpoint(f)? } else { f(&x)? };
        Ok(bits(y.sum()?.backward()?.wrt(&x).unwrap()))
    };
    assert_eq!(run(true)?, run(false)?);
    Ok(())
}

#[test]
fn a_parameter_bound_to_a_constant_is_that_constant_in_both_runs() -> Result<()> {
    let w = Weight::new(&[2], 0);
    let tape = Tape::training(&mut Rng::seeded(0));
    let x = tape.watch(Tensor::from_slice(&[2f32, 3.0], &[2])?);
    tape.bind(w.id, &tape.input(Array::full(&[2], 5.0, DType::F32)?))?;
    let copy = w.clone();
    let y = x.checkpoint(move |x| x.mul(&copy.on(x)?))?;
    assert_eq!(y.to_vec::<f32>()?, [10.0, 15.0]);
    let gradients = y.sum()?.backward()?;
    assert_eq!(gradients.wrt(&x).unwrap().to_vec::<f32>()?, [5.0, 5.0]);
    assert!(gradients.get(w.id).is_none());
    Ok(())
}

#[test]
fn an_output_that_is_an_input_adds_its_gradient() -> Result<()> {
    let tape = Tape::training(&mut Rng::seeded(0));
    let x = tape.watch(Array::ones(&[2], DType::F32)?);
    let y = x.checkpoint(|x| Ok(x.clone()))?;
    assert_eq!(x.add(&y)?.sum()?.backward()?.wrt(&x).unwrap().to_vec::<f32>()?, [2.0, 2.0]);
    Ok(())
}

#[test]
fn a_parameter_bound_to_its_own_numbers_is_frozen_in_both_runs() -> Result<()> {
    let w = Weight::new(&[2], 0);
    let tape = Tape::training(&mut Rng::seeded(0));
    let x = tape.watch(Array::ones(&[2], DType::F32)?);
    tape.bind(w.id, &tape.input(&w.value))?;
    let copy = w.clone();
    let gradients = x.checkpoint(move |x| x.mul(&copy.on(x)?))?.sum()?.backward()?;
    assert_eq!(bits(gradients.wrt(&x).unwrap()), bits(&w.value));
    assert!(gradients.get(w.id).is_none());
    Ok(())
}

#[test]
fn a_second_run_that_reads_other_parameters_is_an_error() -> Result<()> {
    let (first, second) = (Weight::new(&[2], 0), Weight::new(&[2], 1));
    let tape = Tape::training(&mut Rng::seeded(0));
    let x = tape.watch(Array::ones(&[2], DType::F32)?);
    let again = std::sync::atomic::AtomicBool::new(false);
    let y = x.checkpoint(move |x| x.mul(&if again.swap(true, std::sync::atomic::Ordering::Relaxed) { &second } else { &first }.on(x)?))?;
    let error = y.sum()?.backward().unwrap_err();
    assert!(error.to_string().contains("the same both times"), "{error}");
    Ok(())
}

#[test]
fn what_cannot_be_is_an_error() -> Result<()> {
    let tape = Tape::training(&mut Rng::seeded(0));
    let x = tape.watch(Array::ones(&[2], DType::F32)?);
    let captured = x.clone();
    let error = x.checkpoint(move |x| x.mul(&captured)).unwrap_err();
    assert!(matches!(error, Error::TwoTapes { .. }), "{error}");
    let y = x.checkpoint(|x| x.exp())?;
    let error = y.sum()?.gradients_of(&[&x]).unwrap_err();
    assert!(error.to_string().contains("second derivative"), "{error}");

    let second = std::sync::atomic::AtomicBool::new(false);
    let y = x.checkpoint(move |x| if second.swap(true, std::sync::atomic::Ordering::Relaxed) { x.narrow(0, 0, 1) } else { x.exp() })?;
    let error = y.sum()?.backward_keeping().unwrap_err();
    assert!(error.to_string().contains("the same both times"), "{error}");
    // The tape is whole: a pass that avoids it works.
    assert!(x.exp()?.sum()?.backward()?.wrt(&x).is_some());
    Ok(())
}
