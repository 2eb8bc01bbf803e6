//! Freezing by pattern, number and function; what comes back; heads; the report.

use crate::{Result, *};
use chainrule_autograd::{Gradients, Tape};
use chainrule_finetune::*;
use chainrule_nn::{BatchNorm1d, Conv2d, Layer, Trainability, buffers, count, params_mut};
use chainrule_optim::{Adam, Sgd};

#[derive(Module, Clone)]
struct Model {
    embeddings: Linear,
    layer: Vec<Linear>,
    head: Linear,
}

fn model() -> Model {
    let rng = &mut Rng::seeded(0);
    let mut linear = || Linear::new(3, 3, rng).unwrap();
    Model { embeddings: linear(), layer: (0..12).map(|_| linear()).collect(), head: linear() }
}

#[test]
fn by_pattern() -> Result {
    let mut model = model();
    assert_eq!(freeze(&mut model, "*")?, 28);
    assert_eq!(unfreeze(&mut model, r"regex:layer\.(1|11)\.(weight|bias)")?, 4);
    assert_eq!(trainable(&model), ["layer.1.weight", "layer.1.bias", "layer.11.weight", "layer.11.bias"]);
    assert_eq!(freeze(&mut model, "layer.*.bias")?, 12);
    let before = trainable(&model);
    for (wrong, near) in [("haed.weight", "head"), (r"regex:haed\.weight", "head"), ("regex:layer", r"regex:(?:layer)\..*"), ("regex:(", "regular")] {
        let error = freeze(&mut model, wrong).unwrap_err().to_string();
        assert!(error.contains(wrong) && error.contains(near), "{error}");
    }
    assert_eq!(trainable(&model), before);
    Ok(())
}

#[test]
fn by_number_and_by_function() -> Result {
    let mut model = model();
    assert_eq!(freeze_layers(&mut model, "layer", ..6)?, 12);
    assert!(!model.layer[5].weight.trainable && model.layer[6].weight.trainable && model.embeddings.weight.trainable);
    assert_eq!(unfreeze_layers(&mut model, "layer", 4..=5)?, 4);
    assert!(model.layer[5].weight.trainable && !model.layer[3].weight.trainable);
    assert_eq!(freeze_layers(&mut model, "layer", ..)?, 24);
    let before = trainable(&model);
    let refused = |path: &str, result: chainrule_nn::Result<usize>, words: &str| {
        let error = result.unwrap_err().to_string();
        assert!(error.contains(words), "{path}: {error}");
    };
    refused("beyond", unfreeze_layers(&mut model, "layer", ..13), "0..13 of \"layer\", which are 0..12");
    refused("empty", unfreeze_layers(&mut model, "layer", 3..3), "3..3");
    refused("huge", unfreeze_layers(&mut model, "layer", 1..=usize::MAX), "0..12");
    refused("near", unfreeze_layers(&mut model, "layr", ..2), "near it are \"layer\"");
    refused("none", unfreeze_layers(&mut model, "head", ..2), "near it are \"layer\"");
    refused("predicate", unfreeze_where(&mut model, |_, _| false), "none of the 28 parameters");
    refused("activation", freeze_layers(&mut network([2, 3, 2], 0), "", 1..2), "no parameters");
    assert_eq!(trainable(&model), before);
    assert_eq!(freeze_where(&mut model, |path, param| path.starts_with("head") && param.value.rank() == 1)?, 1);
    assert!(!model.head.bias.as_ref().is_some_and(|bias| bias.trainable));
    Ok(())
}

/// Gradients of ones, so that only the optimizer speaks.
fn ones(model: &dyn Module) -> Gradients {
    let mut gradients = Gradients::default();
    params(model, |_, param| gradients.insert(param.id, Array::ones(param.value.dims(), param.value.dtype()).unwrap()));
    gradients
}

#[test]
fn unfreezing_brings_everything_back() -> Result {
    let mut model = model();
    freeze(&mut model, "embeddings.*")?;
    let (before, bits_before) = (Trainability::of(&model), bits(&model));
    freeze(&mut model, "*")?;
    unfreeze(&mut model, "embeddings.*")?;
    assert_ne!(Trainability::of(&model), before);
    before.restore(&mut model)?;
    assert_eq!((Trainability::of(&model), bits(&model)), (before.clone(), bits_before));
    let mut other = model.clone();
    other.layer.truncate(11);
    let states = trainable(&other);
    let error = before.restore(&mut other).unwrap_err().to_string();
    assert!(error.contains("\"head.weight\" where it had \"layer.11.weight\""), "{error}");
    assert_eq!(trainable(&other), states);
    Ok(())
}

#[test]
fn moments_go_on_where_they_stopped() -> Result {
    // Two twins: one is frozen for three steps, the other just does not take them. Then both go on.
    let (mut paused, mut other) = (model(), model());
    let (mut adam, mut twin) = (Adam::new(0.1), Adam::new(0.1));
    let gradients = (ones(&paused), ones(&other));
    for _ in 0..3 {
        adam.step(&mut paused, &gradients.0)?;
        twin.step(&mut other, &gradients.1)?;
    }
    let (trained, kept) = (Trainability::of(&paused), adam.state(&paused));
    freeze(&mut paused, "layer.*")?;
    for _ in 0..3 {
        adam.step(&mut paused, &gradients.0)?;
    }
    assert_eq!(adam.state(&paused).parameters.len(), 4, "frozen parameters have no state");
    trained.restore(&mut paused)?;
    assert_eq!(adam.rejoin(&paused, &kept)?, 24);
    assert_eq!(adam.rejoin(&paused, &kept)?, 0, "what is kept is not overwritten");
    for _ in 0..2 {
        adam.step(&mut paused, &gradients.0)?;
        twin.step(&mut other, &gradients.1)?;
    }
    assert_eq!(bits(&paused.layer), bits(&other.layer));
    assert_ne!(bits(&paused.head), bits(&other.head));
    assert!(adam.rejoin(&paused, &Sgd::new(0.1).state(&paused)).is_err());
    Ok(())
}

#[test]
fn frozen_batch_norm_uses_and_keeps_its_statistics() -> Result {
    let rng = &mut Rng::seeded(0);
    let mut model = Sequential::new().add(Linear::new(4, 5, rng)?).add(BatchNorm1d::new(5)?).add(Linear::new(5, 2, rng)?);
    let x = noise(&[8, 4], 1).cast(DType::F32)?;
    let train = |model: &mut Sequential, rng: &mut Rng| -> Result<Tensor> {
        let tape = Tape::training(rng);
        let y = model.forward(&tape.input(&x))?;
        let output = y.detach();
        Sgd::new(0.1).step(model, &y.square()?.mean()?.backward()?)?;
        Ok(Tensor::from(output.into_array()))
    };
    let _ = train(&mut model, rng)?;
    freeze_layers(&mut model, "", ..2)?;
    let statistics = |model: &Sequential| {
        let mut all = Vec::new();
        buffers(model, |_, buffer| all.extend(numbers(&Tensor::from(&buffer.value))));
        all
    };
    let (before, inferred) = (statistics(&model), numbers(&model.forward(&x)?));
    assert_ne!(before, statistics(&Sequential::new().add(BatchNorm1d::new(5)?)), "they have moved before");
    assert_eq!(numbers(&train(&mut model, rng)?), inferred, "in training it infers");
    assert_eq!(statistics(&model), before);
    unfreeze(&mut model, "1.*")?;
    assert_ne!(numbers(&train(&mut model, rng)?), inferred);
    assert_ne!(statistics(&model), before);
    Ok(())
}

#[test]
fn heads_are_replaced_in_one_call() -> Result {
    let rng = &mut Rng::seeded(0);
    let mut model = model();
    freeze(&mut model, "*")?;
    let old = model.head.clone();
    replace_head(&mut model.head, 7, rng)?;
    assert_eq!((model.head.weight.value.dims(), trainable(&model)), (&[7, 3][..], vec!["head.weight".to_string(), "head.bias".to_string()]));
    assert_ne!(model.head.weight.id, old.weight.id);

    let mut half = Linear::new(3, 2, rng)?.without_bias();
    chainrule_nn::to_dtype(&mut half, DType::F64)?;
    replace_head(&mut half, 4, rng)?;
    assert!(half.bias.is_none() && half.weight.value.dtype() == DType::F64);

    let mut conv = Conv2d::grouped(4, 6, (3, 1), 2, rng)?.stride(2).padding(1).without_bias();
    replace_head(&mut conv, 8, rng)?;
    assert_eq!((conv.weight.value.dims(), conv.window.groups, conv.window.stride), (&[8, 2, 3, 1][..], 2, [2, 2]));
    let before = bits(&conv);
    for wrong in [0, 3] {
        assert!(replace_head(&mut conv, wrong, rng).is_err(), "{wrong}");
    }
    assert_eq!(bits(&conv), before);

    // The last layer with parameters, nested, with something behind it.
    let inner = Sequential::new().add(Linear::new(3, 4, rng)?).add(Linear::new(4, 2, rng)?).add(Relu);
    let mut nested = Sequential::new().add(Linear::new(3, 3, rng)?).add(inner).add(Relu);
    let first = nested[0].clone_box();
    replace_head(&mut nested, 9, rng)?;
    assert_eq!(nested.run(&Tensor::ones(&[1, 3], DType::F32)?)?.dims(), [1, 9]);
    assert_eq!(bits(&*first), bits(&nested[0].clone_box()));
    let mut none = Sequential::new().add(Relu);
    assert!(replace_head(&mut none, 2, rng).unwrap_err().to_string().contains("holds parameters"));
    let mut other = Sequential::new().add(BatchNorm1d::new(3)?);
    assert!(replace_head(&mut other, 2, rng).unwrap_err().to_string().contains("Box::new"));
    Ok(())
}

#[test]
fn the_report_counts_by_part() -> Result {
    let mut model = model();
    freeze(&mut model, "embeddings.*")?;
    freeze_layers(&mut model, "layer", ..10)?;
    let report = report(&model);
    let all = count(&model);
    assert_eq!((report.parameters, report.trainable, report.bytes), (all.all, all.trainable, 4 * all.all));
    assert_eq!(report.parts.len(), 14);
    let text = report.to_string();
    let lines: Vec<&str> = text.lines().map(|line| line.split_whitespace().next().unwrap_or("")).collect();
    assert_eq!([lines[0], lines[2], lines[3], lines[4], lines[5], lines[7]], ["part", "embeddings", "layer.0", "layer.10", "head", "all"], "{text}");
    assert!(text.contains("layer.0 .. 9") && text.contains("10 x 12") && text.contains("21.43"), "{text}");
    let nothing = chainrule_finetune::report(&Relu);
    assert_eq!((nothing.parts.len(), nothing.parameters), (0, 0));
    assert!(nothing.to_string().ends_with("0.00      0"), "{nothing}");
    params_mut(&mut model, |_, param| param.trainable = true);
    assert!(chainrule_finetune::report(&model).to_string().contains("layer.0 .. 11"));
    Ok(())
}
