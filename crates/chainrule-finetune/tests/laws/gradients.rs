//! Gradients against differences, in f64.

use super::model::{everything, labels, numbers, shaken, tokens};
use super::table::ROWS;
use chainrule_autograd::{DType, GradCheck, Rng, Tape, Tensor};
use chainrule_finetune::{Adapted, DoraAdapter, Lora, LoraAdapter, LowRank, Result};
use chainrule_nn::{Adapter, Layer, Linear, Module, Param, Site, gradcheck_model, to_dtype};
use std::any::Any;

#[test]
fn gradients_are_differences() -> Result<()> {
    differences(0)
}

#[test]
fn gradients_of_the_others_are_differences() -> Result<()> {
    differences(1)
}

/// Of every second row, so that both halves run at one time.
fn differences(first: usize) -> Result<()> {
    for row in ROWS.iter().skip(first).step_by(2).filter(|row| !row.partial) {
        let mut base = everything();
        // The row of the padding gets no gradient on purpose.
        base.embedding.padding = None;
        to_dtype(&mut base, DType::F64)?;
        let mut model = Adapted::new(base);
        (row.add)(&mut model, &mut Rng::seeded(2))?;
        shaken(&mut model, 3);
        let (settings, some) = (GradCheck { training: true, ..GradCheck::default() }, tokens().narrow(0, 0, 2)?.narrow(1, 0, 3)?);
        gradcheck_model(&settings, &model, |model, tape| model.forward(&tape.input(&some))?.cross_entropy(&labels().narrow(0, 0, 2)?))
            .unwrap_or_else(|error| panic!("{}: {error}", row.name));
    }
    Ok(())
}

/// DoRA with norms that stay what they are.
#[derive(Module, Clone)]
struct Fixed {
    #[module(flatten)]
    lora: LoraAdapter,
    lora_magnitude_vector: Param,
    #[module(skip)]
    norms: Tensor,
}

impl Adapter for Fixed {
    fn adapt(&self, x: &Tensor, site: &Site) -> chainrule_autograd::Result<Tensor> {
        let weight = self.lora.merged(&site.weight.on(x)?)?;
        let weight = weight.mul(&self.lora_magnitude_vector.on(x)?.div(&self.norms)?.unsqueeze(1)?)?;
        x.linear(&weight, site.bias.map(|bias| bias.on(x)).transpose()?.as_ref())
    }
}

/// The norms of DoRA are constants to its backward pass, so differences would tell of something else.
#[test]
fn gradients_of_dora_are_those_with_constant_norms() -> Result<()> {
    let rng = &mut Rng::seeded(0);
    let mut base = Linear::new(5, 4, rng)?;
    to_dtype(&mut base, DType::F64)?;
    let mut model = Adapted::new(std::collections::BTreeMap::from([("layer".to_string(), base.clone())]));
    model.add("a", Lora::rank(2).alpha(3.0).dora().targets(["layer"]), rng)?;
    shaken(&mut model, 1);
    let Some(adapter) = model["layer"].adapter.clone() else { panic!() };
    let adapter: Box<dyn Any> = adapter;
    let Ok(dora) = adapter.downcast::<DoraAdapter>() else { panic!() };
    let LowRank::Matrices(pair) = &dora.lora.low else { panic!() };
    let delta = Tensor::from(&pair.lora_b.value).matmul(&Tensor::from(&pair.lora_a.value))?.mul_scalar(1.5)?;
    let norms = Tensor::from(&base.weight.value).add(&delta)?.norm(2.0, &[1], false)?;
    let mut fixed = model.model().clone();
    let twin = Fixed { lora: dora.lora.clone(), lora_magnitude_vector: dora.lora_magnitude_vector.clone(), norms };
    fixed.get_mut("layer").unwrap().adapter = Some(Box::new(twin));

    let x = Tensor::linspace(-1.0, 1.0, 15, DType::F64)?.reshape(&[3, 5])?;
    gradcheck_model(&GradCheck::default(), &fixed["layer"], |layer, tape| layer.forward(&tape.input(&x))?.tanh()).unwrap();
    let gradients = |layer: &Linear| {
        let tape = Tape::training(&mut Rng::seeded(0));
        let gradients = layer.forward(&tape.input(&x)).unwrap().tanh().unwrap().sum().unwrap().backward().unwrap();
        [&pair.lora_a, &pair.lora_b, &dora.lora_magnitude_vector].map(|param| numbers(&gradients.get(param.id).unwrap().into()))
    };
    for (got, expected) in gradients(&model["layer"]).iter().zip(gradients(&fixed["layer"])) {
        assert!(got.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-12));
    }
    Ok(())
}
