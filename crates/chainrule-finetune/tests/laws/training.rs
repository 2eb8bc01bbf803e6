//! Only the adapter is trained, by every way of training.

use super::model::{Everything, bits, labels, shaken, tokens};
use super::table::{ROWS, Row, adapted};
use chainrule_autograd::{Gradients, Rng, Tape, Tensor};
use chainrule_finetune::{Adapted, Result};
use chainrule_nn::{Layer, load_state_dict, params, state_dict};
use chainrule_optim::{AdamW, Optimizer};

fn gradients(model: &Adapted<Everything>, x: &Tensor, y: &Tensor, seed: u64) -> Gradients {
    let tape = Tape::training(&mut Rng::seeded(seed));
    model.forward(&tape.input(x)).unwrap().cross_entropy(y).unwrap().backward().unwrap()
}

fn steps(model: &mut Adapted<Everything>, optimizer: &mut Optimizer<impl chainrule_optim::Rule>, count: u64) {
    for step in 0..count {
        let gradients = gradients(model, &tokens(), &labels(), step);
        optimizer.step(model, &gradients).unwrap();
    }
}

/// The trained parameters' gradients, by path.
fn by_path(row: &Row, model: &Adapted<Everything>, gradients: &Gradients) -> Vec<(String, Vec<f32>)> {
    let mut all = Vec::new();
    params(model, |path, param| match gradients.get(param.id) {
        Some(gradient) => all.push((path.to_string(), gradient.to_vec().unwrap())),
        None => assert!(!param.trainable, "{}: {path} has no gradient", row.name),
    });
    all
}

#[test]
fn only_the_adapter_changes() -> Result<()> {
    for row in ROWS {
        let (base, mut model) = adapted(row, 2);
        let (mut before, untouched) = (Vec::new(), bits(&base));
        params(&model, |path, param| before.push((path.to_string(), param.trainable, param.value.to_vec::<f32>().unwrap())));
        steps(&mut model, &mut AdamW::new(0.05), 20);
        let mut at = 0;
        params(&model, |path, param| {
            let (name, trainable, value) = &before[at];
            assert_eq!(path, name);
            assert_eq!(*trainable, *value != param.value.to_vec::<f32>().unwrap(), "{}: {path}", row.name);
            at += 1;
        });
        model.deactivate();
        assert_eq!(bits(&model), untouched, "{}", row.name);
    }
    Ok(())
}

#[test]
fn checkpoints_give_the_same_gradients() -> Result<()> {
    for row in ROWS {
        let (_, mut model) = adapted(row, 2);
        shaken(&mut model, 3);
        let plain = gradients(&model, &tokens(), &labels(), 0);
        let (tape, part) = (Tape::training(&mut Rng::seeded(0)), model.clone());
        let logits = tape.input(tokens()).checkpoint(move |x| part.forward(x))?;
        let again = logits.cross_entropy(&labels())?.backward()?;
        assert_eq!(by_path(row, &model, &plain), by_path(row, &model, &again), "{}", row.name);
    }
    Ok(())
}

#[test]
fn gradients_of_parts_add_up() -> Result<()> {
    for row in ROWS {
        let (_, mut model) = adapted(row, 2);
        shaken(&mut model, 3);
        // A batch norm that is trained sees the batch as a whole, and dropout draws for each part.
        if ["bitfit", "lora on all linear layers", "lora with dropout", "dora with dropout"].contains(&row.name) {
            continue;
        }
        let whole = gradients(&model, &tokens(), &labels(), 0);
        let mut sum = Gradients::default();
        for (x, y) in tokens().chunk(2, 0)?.iter().zip(labels().chunk(2, 0)?) {
            sum = sum.add(gradients(&model, x, &y, 0))?;
        }
        let (whole, parts) = (by_path(row, &model, &whole), by_path(row, &model, &sum.scale(0.5)?));
        for ((path, a), (_, b)) in whole.iter().zip(&parts) {
            assert!(a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-5), "{}: {path}: {a:?} {b:?}", row.name);
        }
    }
    Ok(())
}

#[test]
fn training_goes_on_where_it_stopped() -> Result<()> {
    for row in ROWS {
        let (_, mut model) = adapted(row, 2);
        let mut optimizer = AdamW::new(0.02);
        steps(&mut model, &mut optimizer, 3);
        let (numbers, state) = (state_dict(&model)?, optimizer.state(&model).to_arrays().unwrap());
        steps(&mut model, &mut optimizer, 3);

        let (_, mut resumed) = adapted(row, 7);
        let mut optimizer = AdamW::new(0.02);
        assert!(load_state_dict(&mut resumed, &numbers)?.is_complete());
        optimizer.load_state(&resumed, &chainrule_optim::State::from_arrays(&state).unwrap()).unwrap();
        steps(&mut resumed, &mut optimizer, 3);
        assert_eq!(bits(&model), bits(&resumed), "{}", row.name);
    }
    Ok(())
}
