//! What else finetune and train compute: penalties, distillation, contrasts, attacks, soups, probes, prompts, `Personalise`, metrics. Each gives the CPU's numbers on the GPU.

use super::adapters::{expect_close, numbers};
use crate::support::*;
use chainrule::finetune::*;
use chainrule::nn::{BatchNorm1d, Layer, Linear, Module, PromptSite, PromptSlot, Relu, Sequential, Virtual, independent, params_mut, state_dict};
use chainrule::optim::{Adam, Sgd};
use chainrule::train::{Mean, accuracy, correct};
use chainrule::{DType, Device, Rng, Tape, Tensor};

fn network(seed: u64, device: &Device) -> Sequential {
    let rng = &mut Rng::seeded(seed);
    let mut model = Sequential::new().add(Linear::new(4, 6, rng).unwrap()).add(Relu).add(Linear::new(6, 3, rng).unwrap()).add(BatchNorm1d::new(3).unwrap());
    model.to(device).unwrap();
    model
}

fn noise(dims: &[usize], seed: u64, device: &Device) -> Tensor {
    Tensor::normal(dims, 0.0, 1.0, DType::F32, &mut Rng::seeded(seed)).unwrap().to(device).unwrap()
}

fn labels(device: &Device) -> Tensor {
    Tensor::from_slice(&[0i64, 1, 2, 1, 0, 2], &[6]).unwrap().to(device).unwrap()
}

/// All numbers of a model, which must stand there.
fn all(model: &dyn Module, device: &Device) -> Vec<f64> {
    let dict = state_dict(model).unwrap();
    assert!(dict.values().all(|array| array.device() == *device));
    dict.into_values().flat_map(|array| numbers(&array.into())).collect()
}

/// A loss of one tensor, and its gradient.
fn with_gradient(x: &Tensor, loss: impl FnOnce(&Tensor) -> Tensor) -> Vec<f64> {
    let tape = Tape::training(&mut Rng::seeded(0));
    let x = tape.watch(x);
    let loss = loss(&x);
    let gradients = loss.backward().unwrap();
    [numbers(&loss), numbers(&gradients.wrt(&x).unwrap().into())].concat()
}

/// A penalty, and the model after a step down it.
fn stepped(mut model: Sequential, device: &Device, penalty: impl FnOnce(&Sequential, &Tensor) -> Tensor) -> Vec<f64> {
    let tape = Tape::training(&mut Rng::seeded(0));
    let loss = penalty(&model, &tape.input(noise(&[1], 0, device)));
    let value = numbers(&loss);
    Sgd::new(0.1).missing_as_zero("*").step(&mut model, &loss.backward().unwrap()).unwrap();
    [value, all(&model, device)].concat()
}

fn moved(start: &Sequential, device: &Device) -> Sequential {
    let mut model = start.clone();
    params_mut(&mut model, |path, param| {
        let shift = noise(param.value.dims(), path.len() as u64 + param.value.count() as u64, device);
        param.value = Tensor::from(&param.value).add(&shift).unwrap().into_array();
    });
    model
}

type Computed = fn(&Device) -> Vec<f64>;

const COMPUTED: &[(&str, Computed)] = &[
    ("L2-SP", |device| {
        let start = network(1, device);
        let penalty = L2Sp::new(&start, 0.3, 0.05).unwrap();
        stepped(moved(&start, device), device, |model, at| penalty.penalty(model, at).unwrap())
    }),
    // What was taken down on the CPU holds for the model that has moved since.
    ("L2-SP from the CPU", |device| {
        let start = network(1, &Device::Cpu);
        let penalty = L2Sp::new(&start, 0.3, 0.05).unwrap();
        let mut model = moved(&start, &Device::Cpu);
        model.to(device).unwrap();
        stepped(model, device, |model, at| penalty.penalty(model, at).unwrap())
    }),
    ("EWC", |device| {
        let start = network(1, device);
        let samples: Vec<(Tensor, Tensor)> = (0..3).map(|i| (noise(&[1, 4], i, device), labels(device).narrow(0, i as usize, 1).unwrap())).collect();
        let loss = |model: &Sequential, tape: &Tape, (x, y): (Tensor, Tensor)| model.forward(&tape.input(x))?.cross_entropy(&y);
        let empirical = fisher_empirical(&start, samples.clone(), loss).unwrap();
        let exact = fisher_true(&start, samples, |model: &Sequential, tape, (x, _)| model.forward(&tape.input(x))).unwrap();
        let known: Vec<f64> = empirical.values().chain(exact.values()).flat_map(|array| numbers(&array.into())).collect();
        // As a file would give it.
        let here = exact.iter().map(|(path, array)| (path.clone(), array.to(&Device::Cpu).unwrap())).collect();
        let ewc = Ewc::new(&start, &here, 5.0).unwrap();
        [known, stepped(moved(&start, device), device, |model, at| ewc.penalty(model, at).unwrap())].concat()
    }),
    ("distillation", |device| {
        let (student, teacher, y) = (noise(&[6, 3], 1, device), noise(&[6, 3], 2, device), labels(device));
        let mut all = with_gradient(&student, |x| distillation(x, &teacher, 2.0).unwrap());
        all.extend(with_gradient(&student, |x| distillation_with_labels(x, &teacher, &y, 2.0, 0.3).unwrap()));
        all.extend(with_gradient(&student, |x| learning_without_forgetting(x, &teacher, 2.0).unwrap()));
        all.extend(with_gradient(&student, |x| hint(x, &teacher).unwrap()));
        all.extend(with_gradient(&noise(&[2, 3, 4], 3, device), |x| attention_transfer(x, &noise(&[2, 5, 4], 4, device)).unwrap()));
        all
    }),
    ("contrasts", |device| {
        let (a, b, y) = (noise(&[6, 3], 1, device), noise(&[6, 3], 2, device), labels(device));
        let mut all = with_gradient(&a, |x| multiple_negatives_ranking(x, &b, Some(&noise(&[2, 3], 3, device)), 0.5).unwrap());
        all.extend(with_gradient(&a, |x| symmetric_info_nce(x, &b, 0.5).unwrap()));
        all.extend(with_gradient(&a, |x| simcse(x, 0.5, |x| x.dropout(0.3)).unwrap()));
        all.extend(with_gradient(&a, |x| batch_hard_triplet(x, &y, 0.5).unwrap()));
        all
    }),
    ("attacks", |device| {
        let (x, weights) = (noise(&[5, 4], 1, device), noise(&[5, 4], 2, device));
        let attacks = [Attack::fgsm(0.2), Attack::fgsm(0.2).euclidean(), Attack::pgd(0.2, 3), Attack::pgd(0.2, 3).euclidean().range(-1.0, 1.0)];
        let moved = |attack: Attack| attack.perturb(&x, &mut Rng::seeded(3), |x| x.mul(&weights)?.sum()).unwrap();
        attacks.map(|attack| numbers(&moved(attack))).concat()
    }),
    ("soups, interpolation, ensembles", |device| {
        let models = [1, 2, 3].map(|seed| network(seed, device));
        let mut all_of = all(&soup(&models).unwrap(), device);
        let mut mixed = independent(&models[0]);
        interpolate(&mut mixed, &models[1], 0.3).unwrap();
        all_of.extend(all(&mixed, device));
        for probabilities in [false, true] {
            let ensemble = Ensemble { members: models.to_vec(), probabilities };
            all_of.extend(numbers(&ensemble.forward(&noise(&[6, 4], 1, device)).unwrap()));
        }
        all_of
    }),
    ("probes and prototypes", |device| {
        let (x, y) = (noise(&[6, 4], 1, device), labels(device));
        let probe = linear_probe(&x, &y, 3, 0.1).unwrap();
        let prototypes = Prototypes::of(&x, &y, 3).unwrap();
        let linear = prototypes.to_linear().unwrap();
        [all(&probe, device), all(&linear, device), numbers(&prototypes.logits(&x).unwrap())].concat()
    }),
    ("pseudo labels", |device| {
        let x = noise(&[6, 3], 1, device);
        let chosen = PseudoLabels::above(0.4).select(&x.mul_scalar(3.0).unwrap()).unwrap();
        let rows = x.index_select(0, &chosen.indices).unwrap();
        [numbers(&rows), numbers(&chosen.labels), chosen.confidence, numbers(&rows.cross_entropy(&chosen.labels).unwrap())].concat()
    }),
    ("gradual unfreezing", |device| {
        let (mut model, groups) = (network(1, device), ["2.*", "0.*"]);
        let plan = GradualUnfreezing::new(&groups).unwrap();
        let mut sgd = discriminative(Sgd::new(0.1), &groups, 2.6);
        for epoch in 0..2 {
            params_mut(&mut model[3], |_, param| param.trainable = false);
            plan.apply(&mut model, epoch).unwrap();
            let tape = Tape::training(&mut Rng::seeded(0));
            let loss = model.forward(&tape.input(noise(&[6, 4], epoch, device))).unwrap().cross_entropy(&labels(device)).unwrap();
            sgd.step(&mut model, &loss.backward().unwrap()).unwrap();
        }
        all(&model, device)
    }),
    ("metrics", |device| {
        let (x, y) = (noise(&[6, 3], 1, device), labels(device));
        let mut mean = Mean::default();
        mean.add(x.cross_entropy(&y).unwrap().item().unwrap(), 6);
        vec![correct(&x, &y).unwrap() as f64, accuracy(&x, &y).unwrap(), mean.value()]
    }),
];

#[test]
fn what_is_computed_is_the_cpus() {
    let Some(turn) = gpu() else { return };
    for (what, computed) in COMPUTED {
        expect_close(what, &computed(&turn.device), &computed(&Device::Cpu), 1e-4);
    }
}

#[test]
fn personalise_adapts_and_leaves_the_base_alone() {
    let Some(turn) = gpu() else { return };
    type Sample = (Tensor, i64);
    let run = |device: &Device| {
        let samples = |count: u64, seed: u64| -> Vec<Sample> {
            let sample = |i| {
                let x = noise(&[4], 1000 * seed + i, device);
                let positive = x.sum().unwrap().item().unwrap() > 0.0;
                (x, positive as i64)
            };
            (0..count).map(sample).collect()
        };
        let batch = |samples: &[&Sample]| {
            let (x, y): (Vec<&Tensor>, Vec<i64>) = samples.iter().map(|(x, y)| (x, *y)).unzip();
            (Tensor::stack(&x, 0).unwrap(), Tensor::from_slice(&y, &[y.len()]).unwrap().to(device).unwrap())
        };
        let base = Adapted::new(network(1, device));
        let before = all(&base, device);
        let personalise = Personalise::new(Lora::rank(2).targets(["0"]).saving(["2"])).learning_rate(0.05).epochs(4).memory(64 << 20);
        let outcome = personalise.run(
            &base,
            "mine",
            &samples(24, 1),
            &samples(16, 2),
            |model: &Sequential, tape, samples: &[&Sample]| -> chainrule::Result<Tensor> {
                let (x, y) = batch(samples);
                Ok(model.forward(&tape.input(x))?.cross_entropy(&y)?)
            },
            |model: &Sequential, held: &[Sample]| -> chainrule::Result<f64> {
                let (x, y) = batch(&held.iter().collect::<Vec<_>>());
                Ok(accuracy(&model.forward(&x)?, &y)?)
            },
        );
        let outcome = outcome.unwrap();
        assert_eq!(all(&base, device), before);
        let figures = *outcome.figures();
        assert!(figures.memory > 0, "what stands on {device} is counted: {outcome}");
        assert!(outcome.reason().is_none(), "on {device}: {outcome}");
        let Some(model) = outcome.accepted() else { unreachable!() };
        [vec![figures.before, figures.after, figures.steps as f64], all(&model, device)].concat()
    };
    expect_close("personalise", &run(&turn.device), &run(&Device::Cpu), 1e-3);
}

/// Words with virtual tokens before them: `[N, T] -> [N, 4]`
#[derive(Module, Clone)]
struct Prompted {
    #[module(flatten)]
    prompt: PromptSlot,
    words: chainrule::nn::Embedding,
}

impl Layer for Prompted {
    fn forward(&self, tokens: &Tensor) -> std::result::Result<Tensor, chainrule::TensorError> {
        let x = self.words.forward(tokens)?;
        match self.prompt.virtual_tokens(tokens)? {
            Some(Virtual::Tokens(prompt)) => {
                let prompt = prompt.broadcast_to(&[x.dims()[0], prompt.dims()[0], prompt.dims()[1]])?;
                Tensor::concatenate(&[&prompt, &x], 1)?.tanh()?.mean_over(&[1], false)
            }
            _ => x.tanh()?.mean_over(&[1], false),
        }
    }
}

#[test]
fn prompts_stand_where_the_model_stands() {
    let Some(turn) = gpu() else { return };
    let run = |device: &Device| {
        let prompt = PromptSlot::new(PromptSite { layers: 2, heads: 1, features: 4 });
        let mut base = Prompted { prompt, words: chainrule::nn::Embedding::new(7, 4, &mut Rng::seeded(1)).unwrap() };
        base.to(device).unwrap();
        let words = base.words.weight.value.clone();
        let tokens = Tensor::from_slice(&[1i64, 2, 6, 0, 3, 3], &[2, 3]).unwrap().to(device).unwrap();
        let mut seen = Vec::new();
        let (normal, drawn) = (PromptTuning::tokens(3), PromptTuning::tokens(3).start(PromptStart::Drawn(words)));
        for method in [normal, drawn] {
            let (mut model, mut adam) = (Adapted::new(base.clone()), Adam::new(0.01));
            model.add("a", method, &mut Rng::seeded(2)).unwrap();
            for _ in 0..3 {
                let tape = Tape::training(&mut Rng::seeded(0));
                let loss = model.forward(&tape.input(&tokens)).unwrap().square().unwrap().sum().unwrap();
                adam.step(&mut model, &loss.backward().unwrap()).unwrap();
            }
            seen.extend(all(&model, device));
            seen.extend(numbers(&model.forward(&tokens).unwrap()));
        }
        let mut reparameterised = Adapted::new(base);
        reparameterised.add("a", PTuning::tokens(3), &mut Rng::seeded(2)).unwrap();
        seen.extend(all(&reparameterised, device));
        seen.extend(numbers(&reparameterised.forward(&tokens).unwrap()));
        seen
    };
    expect_close("prompts", &run(&turn.device), &run(&Device::Cpu), 1e-4);
}
