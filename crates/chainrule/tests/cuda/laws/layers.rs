//! Every layer of nn's table, moved to the GPU: outputs, gradients, buffers, moves, files, freezing; or the operation that has no kernel yet.

use super::table::{Case, cases};
use crate::support::*;
use chainrule::nn::{
    BoxedAdapter, BoxedLayer, Conv2d, Flatten, Init, Layer, Linear, Sequential, SpectralNorm, StateDict, WeightNorm, freeze, initialise, load, params,
    params_mut, replace_head, save, state_dict, to_device,
};
use chainrule::optim::Sgd;
use chainrule::{DType, Device, Rng, Tape, Tensor, TensorError};
use std::collections::BTreeSet;

/// Layers that a GPU cannot compute yet, and the operation that lacks a kernel.
const WITHOUT_KERNEL: [(&str, &str); 13] = [
    ("Conv3d", "conv3d"),
    ("ConvTranspose3d", "conv_transpose3d"),
    ("Fold", "fold"),
    ("Gru", "gru"),
    ("Lstm", "lstm"),
    ("MultiheadAttention", "rope"),
    ("MultiheadAttention", "scaled_dot_product_attention"),
    ("Rnn", "rnn"),
    ("RotaryPositions", "rope"),
    ("TransformerEncoder", "scaled_dot_product_attention"),
    ("TransformerEncoderLayer", "scaled_dot_product_attention"),
    ("Unfold", "unfold"),
    ("Upsample", "interpolate"),
];

fn lacks(layer: &str) -> impl Iterator<Item = &'static (&'static str, &'static str)> {
    WITHOUT_KERNEL.iter().filter(move |(name, _)| *name == layer)
}

/// The table's layers with numbers that hide no mistakes, as weights of one and biases of zero would.
fn shaken() -> Vec<Case> {
    let mut cases = cases();
    for case in &mut cases {
        params_mut(&mut case.layer, |path, param| {
            let rng = &mut Rng::seeded(path.len() as u64);
            param.initialise(Init::Uniform { low: 0.5, high: 1.5 }, rng).unwrap();
        });
    }
    cases
}

fn there(layer: &BoxedLayer, device: &Device) -> BoxedLayer {
    let mut layer = layer.clone();
    to_device(&mut layer, device).unwrap();
    layer
}

fn numbers(array: &Tensor) -> Vec<f64> {
    array.cast(DType::F64).unwrap().to_vec().unwrap()
}

fn all(dict: StateDict) -> Vec<(String, DType, Vec<u64>)> {
    dict.into_iter().map(|(path, array)| (path, array.dtype(), numbers(&array.into()).into_iter().map(f64::to_bits).collect())).collect()
}

type Seen = Vec<(String, Vec<f64>)>;

/// Output, gradients, and what stands in the layer after a step of plain descent.
fn seen(layer: &BoxedLayer, x: &Tensor, training: bool, device: &Device) -> Result<Seen, TensorError> {
    let (mut layer, x) = (there(layer, device), x.to(device)?);
    let rng = &mut Rng::seeded(4);
    let tape = if training { Tape::training(rng) } else { Tape::inference(rng) };
    let x = if x.dtype().is_float() { tape.watch(x) } else { tape.input(x) };
    let y = layer.forward(&x)?;
    assert_eq!(y.device(), *device);
    let weights = Tensor::uniform(y.dims(), -1.0, 1.0, y.dtype(), &mut Rng::seeded(6))?.to(device)?;
    let mut seen = vec![("output".to_string(), numbers(&y))];
    let loss = y.mul(&weights)?.sum()?;
    if !loss.needs_gradient() {
        return Ok(seen);
    }
    let gradients = loss.backward()?;
    if let Some(gradient) = gradients.wrt(&x) {
        assert_eq!(gradient.device(), *device);
        seen.push(("input's gradient".to_string(), numbers(&gradient.into())));
    }
    params(&layer, |path, param| {
        if let Some(gradient) = gradients.get(param.id) {
            assert_eq!(gradient.device(), *device, "{path}");
            seen.push((format!("{path}'s gradient"), numbers(&gradient.into())));
        }
    });
    Sgd::new(0.1).step(&mut layer, &gradients).unwrap();
    for (path, array) in state_dict(&layer).unwrap() {
        assert_eq!(array.device(), *device, "{path}");
        seen.push((format!("{path} after a step"), numbers(&array.into())));
    }
    Ok(seen)
}

/// What a comparison over many layers has found.
#[derive(Default)]
struct Findings {
    compared: usize,
    worst: f64,
    refused: BTreeSet<(&'static str, &'static str)>,
    wrong: Vec<String>,
}

impl Findings {
    fn refusal(&mut self, name: &str, error: &str) {
        match lacks(name).find(|(_, op)| error.contains(&format!("{op}: there is no kernel for cuda"))) {
            Some(known) => drop(self.refused.insert(*known)),
            None => self.wrong.push(format!("{name}: {error}")),
        }
    }

    fn compare(&mut self, name: &str, got: &Seen, expected: &Seen) {
        assert_eq!(got.len(), expected.len(), "{name}");
        for ((what, got), (_, expected)) in got.iter().zip(expected) {
            let largest = expected.iter().fold(0.01, |m: f64, x| m.max(x.abs()));
            let off = difference(got, expected) / largest;
            (self.compared, self.worst) = (self.compared + got.len(), self.worst.max(off));
            if off > 1e-4 {
                self.wrong.push(format!("{name}: {what} is off by {off:e}: {got:?}, expected {expected:?}"));
            }
        }
    }
}

#[test]
fn outputs_gradients_and_buffers_are_the_cpus() {
    let Some(turn) = gpu() else { return };
    let mut findings = Findings::default();
    for Case { name, layer, input, .. } in shaken() {
        for training in [true, false] {
            let expected = seen(&layer, &input, training, &Device::Cpu).unwrap();
            for s in seeds() {
                seed(s);
                match seen(&layer, &input, training, &turn.device) {
                    Ok(got) => findings.compare(&format!("{name}, training {training}, seed {s}"), &got, &expected),
                    Err(error) => findings.refusal(name, &error.to_string()),
                }
            }
        }
    }
    let Findings { compared, worst, refused, wrong } = findings;
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(refused.into_iter().collect::<Vec<_>>(), WITHOUT_KERNEL, "what has got a kernel leaves the list");
    println!("{compared} numbers of the layers, off by at most {worst:.1e} of the largest");
}

#[test]
fn moves_and_files_keep_the_bits() {
    let Some(turn) = gpu() else { return };
    let folder = std::env::temp_dir().join(format!("chainrule-cuda-laws-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    for (i, Case { name, layer, .. }) in shaken().into_iter().enumerate() {
        let expected = all(state_dict(&layer).unwrap());
        let moved = there(&layer, &turn.device);
        assert!(state_dict(&moved).unwrap().values().all(|array| array.device() == turn.device), "{name}");
        assert_eq!(all(state_dict(&there(&moved, &Device::Cpu)).unwrap()), expected, "{name}");
        // Saved on one device, loaded on the other.
        for (from, to) in [(&moved, Device::Cpu), (&layer, turn.device)] {
            let file = folder.join(format!("{i}-{}.safetensors", to.is_cuda()));
            save(from, &file).unwrap();
            let mut other = layer.clone();
            params_mut(&mut other, |_, param| param.initialise(Init::Constant(9.0), &mut Rng::seeded(0)).unwrap());
            to_device(&mut other, &to).unwrap();
            assert!(load(&mut other, &file).unwrap().is_complete(), "{name}");
            let loaded = state_dict(&other).unwrap();
            assert!(loaded.values().all(|array| array.device() == to), "{name}");
            assert_eq!(all(loaded), expected, "{name}");
        }
    }
    std::fs::remove_dir_all(&folder).unwrap();
}

/// Numbers are drawn on the CPU, whatever the device, and go where they belong.
#[test]
fn what_is_made_for_a_model_stands_there() {
    let Some(turn) = gpu() else { return };
    let run = |device: &Device| {
        let rng = &mut Rng::seeded(1);
        let mut model = Sequential::new().add(Conv2d::new(2, 3, 2, rng).unwrap()).add(Flatten::new()).add(Linear::new(12, 4, rng).unwrap());
        to_device(&mut model, device).unwrap();
        initialise(&mut model, "0.*", Init::Uniform { low: 0.5, high: 1.5 }, rng).unwrap();
        params_mut(&mut model[2], |_, param| param.initialise(Init::Normal { mean: 0.0, deviation: 1.0 }, rng).unwrap());
        replace_head(&mut model, 5, rng).unwrap();
        let mut linear = Linear::new(4, 3, rng).unwrap();
        to_device(&mut linear, device).unwrap();
        let adapters: [BoxedAdapter; 2] =
            [Box::new(SpectralNorm::of(&linear.weight, rng).unwrap()), Box::new(WeightNorm::of(&linear.weight, Some(0)).unwrap())];
        let mut dicts = vec![state_dict(&model).unwrap()];
        for adapter in adapters {
            linear.adapter = Some(adapter);
            dicts.push(state_dict(&linear).unwrap());
        }
        assert!(dicts.iter().flat_map(|dict| dict.values()).all(|array| array.device() == *device));
        dicts.into_iter().flat_map(|dict| dict.into_values()).flat_map(|array| numbers(&array.into())).collect::<Vec<_>>()
    };
    assert!(difference(&run(&turn.device), &run(&Device::Cpu)) <= 1e-5);
}

#[test]
fn what_is_frozen_there_gets_no_gradient_and_stays() {
    let Some(turn) = gpu() else { return };
    let mut tried = 0;
    for Case { name, layer, input, keys, .. } in shaken().into_iter().filter(|case| lacks(case.name).next().is_none() && case.keys.contains(&"weight")) {
        let mut layer = there(&layer, &turn.device);
        freeze(&mut layer, "weight").unwrap();
        let before = all(state_dict(&layer).unwrap());
        let tape = Tape::training(&mut Rng::seeded(4));
        let loss = layer.forward(&tape.input(input.to(&turn.device).unwrap())).unwrap().sum().unwrap();
        if loss.needs_gradient() {
            let gradients = loss.backward().unwrap();
            params(&layer, |path, param| assert_eq!(gradients.get(param.id).is_some(), param.trainable, "{name} {path}"));
            Sgd::new(0.1).step(&mut layer, &gradients).unwrap();
        }
        let after = all(state_dict(&layer).unwrap());
        let at = keys.iter().position(|key| *key == "weight").unwrap();
        assert_eq!(after[at], before[at], "{name}");
        tried += 1;
    }
    assert!(tried >= 10, "{tried}");
}
