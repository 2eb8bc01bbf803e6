//! Fine-tuning on the GPU: every method that has kernels, from attaching to files.

use crate::support::*;
use chainrule::finetune::{Adapted, BitFit, Bottleneck, BottleneckActivation, Ia3, LayerNormTuning, Lora, LoraBias, Quantisation, Vera, quantise};
use chainrule::nn::{BatchNorm2d, Conv2d, Embedding, Layer, LayerNorm, Linear, Module, params_mut, state_dict};
use chainrule::optim::{AdamW, CapturedStep};
use chainrule::{DType, Device, Rng, Tape, Tensor, TensorError};

/// i64 `[N, T] -> [N, 3]`
#[derive(Module, Clone)]
pub struct Reader {
    embedding: Embedding,
    conv: Conv2d,
    batch_norm: BatchNorm2d,
    intermediate: Linear,
    output: Linear,
    norm: LayerNorm,
    classifier: Linear,
}

impl Layer for Reader {
    fn forward(&self, x: &Tensor) -> Result<Tensor, TensorError> {
        let x = self.conv.forward(&self.embedding.forward(x)?.unsqueeze(1)?)?;
        let x = self.batch_norm.forward(&x)?.transpose(1, 2)?.flatten(2, 3)?;
        let x = self.norm.forward(&x.add(&self.output.forward(&self.intermediate.forward(&x)?.gelu()?)?)?)?;
        self.classifier.forward(&x.mean_over(&[1], false)?)
    }
}

pub fn reader(device: &Device) -> Reader {
    let rng = &mut Rng::seeded(1);
    let mut model = Reader {
        embedding: Embedding::new(11, 4, rng).unwrap().padding(0).unwrap(),
        // The gradient of a bias before a batch norm would be nothing but rounding.
        conv: Conv2d::new(1, 2, 3, rng).unwrap().padding(1).without_bias(),
        batch_norm: BatchNorm2d::new(2).unwrap(),
        intermediate: Linear::new(8, 6, rng).unwrap(),
        output: Linear::new(6, 8, rng).unwrap(),
        norm: LayerNorm::new(&[8]).unwrap(),
        classifier: Linear::new(8, 3, rng).unwrap(),
    };
    model.to(device).unwrap();
    model
}

pub fn tokens(device: &Device) -> Tensor {
    let tokens: Vec<i64> = (0..20).map(|i| (i * i + 3 * i) % 11).collect();
    Tensor::from_slice(&tokens, &[4, 5]).unwrap().to(device).unwrap()
}

pub fn labels(device: &Device) -> Tensor {
    Tensor::from_slice(&[0i64, 2, 1, 2], &[4]).unwrap().to(device).unwrap()
}

pub fn numbers(x: &Tensor) -> Vec<f64> {
    x.cast(DType::F64).unwrap().to_vec().unwrap()
}

pub fn bits(model: &dyn Module) -> Vec<(String, Vec<u64>)> {
    let dict = state_dict(model).unwrap();
    dict.into_iter().map(|(path, array)| (path, numbers(&array.into()).into_iter().map(f64::to_bits).collect())).collect()
}

#[track_caller]
pub fn expect_close(what: &str, got: &[f64], expected: &[f64], tolerance: f64) {
    let worst = difference(got, expected);
    assert!(worst <= tolerance, "{what}: off by {worst:e}\n{got:?}\n{expected:?}");
}

/// Random numbers in all that is trained, about those that were there.
fn shaken(model: &mut dyn Module) {
    let rng = &mut Rng::seeded(3);
    params_mut(model, |_, param| {
        if param.trainable {
            let noise = Tensor::normal(param.value.dims(), 0.0, 0.3, param.value.dtype(), rng).unwrap().to(&param.value.device()).unwrap();
            param.value = Tensor::from(&param.value).add(&noise).unwrap().into_array();
        }
    });
}

struct Row {
    name: &'static str,
    add: fn(&mut Adapted<Reader>, &mut Rng) -> chainrule::finetune::Result<()>,
    merges: bool,
}

const LAYERS: [&str; 4] = ["embedding", "conv", "intermediate", "output"];

const ROWS: &[Row] = &[
    Row { name: "lora", add: |m, rng| m.add("a", Lora::rank(2).alpha(3.0).targets(LAYERS).saving(["classifier"]), rng), merges: true },
    Row { name: "lora with biases and dropout", add: |m, rng| m.add("a", Lora::rank(2).dropout(0.3).targets(LAYERS).bias(LoraBias::All), rng), merges: true },
    Row { name: "dora", add: |m, rng| m.add("a", Lora::rank(2).dora().targets(LAYERS), rng), merges: true },
    Row { name: "dora with dropout", add: |m, rng| m.add("a", Lora::rank(2).dropout(0.3).dora().targets(["conv", "output"]), rng), merges: true },
    Row { name: "ia3", add: |m, rng| m.add("a", Ia3::new(["conv", "intermediate", "output"], ["output"]), rng), merges: true },
    Row { name: "vera", add: |m, rng| m.add("a", Vera::rank(6).targets(["intermediate", "output"]), rng), merges: true },
    Row { name: "bottleneck", add: |m, rng| m.add("a", Bottleneck::houlsby().targets(["output"]).width(2).saving(["classifier"]), rng), merges: false },
    Row {
        name: "bottleneck beside, with a norm",
        add: |m, rng| m.add("a", Bottleneck::parallel().targets(["output"]).reduction(2).norm().activation(BottleneckActivation::Tanh), rng),
        merges: false,
    },
    Row { name: "bitfit", add: |m, rng| m.add("a", BitFit::new(), rng), merges: true },
    Row { name: "layer norm tuning", add: |m, rng| m.add("a", LayerNormTuning::new(), rng), merges: true },
];

fn adapted(row: &Row, device: &Device) -> Adapted<Reader> {
    let mut model = Adapted::new(reader(device));
    (row.add)(&mut model, &mut Rng::seeded(2)).unwrap_or_else(|error| panic!("{}: {error}", row.name));
    model
}

fn everything_on(model: &dyn Module, device: &Device) -> bool {
    state_dict(model).unwrap().values().all(|array| array.device() == *device)
}

#[test]
fn an_adapter_stands_beside_its_layer_and_begins_as_nothing() {
    let Some(turn) = gpu() else { return };
    let x = tokens(&turn.device);
    let base = numbers(&reader(&turn.device).forward(&x).unwrap());
    for row in ROWS {
        let mut model = adapted(row, &turn.device);
        assert!(everything_on(&model, &turn.device), "{}", row.name);
        assert_eq!(numbers(&model.forward(&x).unwrap()), base, "{}", row.name);
        // The same adapter as on the CPU, whose numbers are drawn there.
        let (there, here) = (numbers_of(&model), numbers_of(&adapted(row, &Device::Cpu)));
        expect_close(row.name, &there, &here, 1e-6);
        // Detached it is the base to the bit.
        shaken(&mut model);
        assert!(numbers(&model.forward(&x).unwrap()) != base, "{}: it changes nothing", row.name);
        model.deactivate();
        assert_eq!(bits(&model), bits(&reader(&turn.device)), "{}", row.name);
        model.activate("a").unwrap();
        assert_eq!(bits(&model.into_base()), bits(&reader(&turn.device)), "{}", row.name);
    }
}

fn numbers_of(model: &dyn Module) -> Vec<f64> {
    state_dict(model).unwrap().into_values().flat_map(|array| numbers(&array.into())).collect()
}

#[test]
fn merged_is_adapted() {
    let Some(turn) = gpu() else { return };
    let x = tokens(&turn.device);
    for row in ROWS {
        let mut model = adapted(row, &turn.device);
        shaken(&mut model);
        let (before, expected) = (bits(&model), numbers(&model.forward(&x).unwrap()));
        let merged = model.merge(|model| model.forward(&x));
        assert_eq!(merged.is_ok(), row.merges, "{}: {merged:?}", row.name);
        assert!(everything_on(&model, &turn.device), "{}", row.name);
        expect_close(row.name, &numbers(&model.forward(&x).unwrap()), &expected, 1e-5);
        model.unmerge();
        assert!(bits(&model) == before, "{}", row.name);
    }
}

fn loss(model: &Adapted<Reader>, tape: &Tape, inputs: &[Tensor]) -> Result<Tensor, TensorError> {
    model.forward(&tape.input(&inputs[0]))?.cross_entropy(&inputs[1])
}

#[test]
fn training_is_the_cpus_as_written_and_captured() {
    let Some(turn) = gpu() else { return };
    for row in ROWS {
        let run = |device: &Device, captured: bool| {
            let (mut model, mut rng, mut adam) = (adapted(row, device), Rng::seeded(5), AdamW::new(0.02));
            let (x, y) = (tokens(device), labels(device));
            let mut step = CapturedStep::new(loss);
            let mut losses = Vec::new();
            for _ in 0..5 {
                if captured {
                    losses.push(step.run(&mut model, &mut adam, &mut rng, &[&x, &y]).unwrap().item().unwrap());
                    continue;
                }
                let tape = Tape::training(&mut rng);
                let loss = loss(&model, &tape, &[x.clone(), y.clone()]).unwrap();
                losses.push(loss.item().unwrap());
                adam.step(&mut model, &loss.backward().unwrap()).unwrap();
            }
            if captured {
                step.finish(&model, &mut adam).unwrap();
            }
            assert!(everything_on(&model, device), "{}", row.name);
            (losses, model)
        };
        let (expected, here) = run(&Device::Cpu, false);
        assert!(expected.last() < expected.first(), "{} learns nothing: {expected:?}", row.name);
        for (s, captured) in seeds().flat_map(|s| [(s, false), (s, true)]).take(4) {
            seed(s);
            let (losses, mut there) = run(&turn.device, captured);
            expect_close(&format!("{}, captured {captured}", row.name), &losses, &expected, 1e-4);
            expect_close(row.name, &numbers_of(&there), &numbers_of(&here), 1e-4);
            there.deactivate();
            assert_eq!(bits(&there), bits(&Adapted::new(reader(&Device::Cpu))), "{}: the base was trained", row.name);
        }
    }
}

#[test]
fn files_go_from_one_device_to_the_other() {
    let Some(turn) = gpu() else { return };
    for (i, row) in ROWS.iter().enumerate() {
        for (from, to) in [(turn.device, Device::Cpu), (Device::Cpu, turn.device)] {
            let mut model = adapted(row, &from);
            shaken(&mut model);
            let folder = std::env::temp_dir().join(format!("chainrule-cuda-adapters-{}-{i}", std::process::id()));
            model.save("a", &folder).unwrap();
            let mut other = Adapted::new(reader(&to));
            let loaded = other.load("b", &folder);
            std::fs::remove_dir_all(&folder).unwrap();
            assert!(loaded.unwrap_or_else(|error| panic!("{}: {error}", row.name)).warnings.is_empty(), "{}", row.name);
            assert!(everything_on(&other, &to), "{}", row.name);
            assert_eq!(bits(&other), bits(&model), "{}", row.name);
            let answers = |model: &Adapted<Reader>, device: &Device| numbers(&model.forward(&tokens(device)).unwrap());
            expect_close(row.name, &answers(&other, &to), &answers(&model, &from), 1e-5);
            // And the model moves with its adapter.
            other.to(&from).unwrap();
            expect_close(row.name, &answers(&other, &from), &answers(&model, &from), 1e-5);
        }
    }
}

#[test]
fn adapters_take_turns() {
    let Some(turn) = gpu() else { return };
    let run = |device: &Device| {
        let (mut model, rng, x) = (Adapted::new(reader(device)), &mut Rng::seeded(2), tokens(device));
        model.add("one", Lora::rank(2).targets(["conv", "output"]), rng).unwrap();
        shaken(&mut model);
        model.add("two", Ia3::new(["output", "intermediate"], ["output"]).saving(["classifier"]), rng).unwrap();
        shaken(&mut model);
        let mut answers = Vec::new();
        for name in ["one", "two", "one"] {
            model.activate(name).unwrap();
            answers.extend(numbers(&model.forward(&x).unwrap()));
        }
        assert!(answers[..12] == answers[24..] && answers[..12] != answers[12..24]);
        model.activate_mixed(&[("one", 0.5), ("two", 0.25)]).unwrap();
        assert!(everything_on(&model, device));
        answers.extend(numbers(&model.forward(&x).unwrap()));
        answers.extend(numbers(&model.view("two").unwrap().forward(&x).unwrap()));
        answers
    };
    expect_close("turns", &run(&turn.device), &run(&Device::Cpu), 1e-5);
}

#[test]
fn who_waits_aside_follows() {
    let Some(turn) = gpu() else { return };
    let (mut model, rng) = (Adapted::new(reader(&Device::Cpu)), &mut Rng::seeded(2));
    model.add("one", Lora::rank(2).targets(["conv", "output"]).saving(["classifier"]), rng).unwrap();
    shaken(&mut model);
    model.add("two", Bottleneck::houlsby().targets(["output"]).width(2), rng).unwrap();
    shaken(&mut model);
    let mut expected = model.clone();
    model.to(&turn.device).unwrap();
    for name in ["one", "two"] {
        model.activate(name).unwrap();
        expected.activate(name).unwrap();
        assert!(everything_on(&model, &turn.device), "{name}");
        let (got, expected) = (numbers(&model.forward(&tokens(&turn.device)).unwrap()), numbers(&expected.forward(&tokens(&Device::Cpu)).unwrap()));
        expect_close(name, &got, &expected, 1e-5);
    }
    // Mixed or merged, the base's own numbers wait aside too.
    let x = |device: &Device| tokens(device);
    model.activate_mixed(&[("one", 0.5), ("two", 0.25)]).unwrap();
    let mixed = numbers(&model.forward(&x(&turn.device)).unwrap());
    model.to(&Device::Cpu).unwrap();
    expect_close("mixed", &numbers(&model.forward(&x(&Device::Cpu)).unwrap()), &mixed, 1e-5);
    model.activate("one").unwrap();
    model.merge(|model| model.forward(&x(&Device::Cpu))).unwrap();
    model.to(&turn.device).unwrap();
    model.unmerge();
    assert!(everything_on(&model, &turn.device));
    model.deactivate();
    assert!(everything_on(&model, &turn.device));
    assert_eq!(bits(&model), bits(&reader(&Device::Cpu)));
}

#[test]
fn a_quantised_base_has_no_kernel() {
    let Some(turn) = gpu() else { return };
    let how = Quantisation::nf4().block(8);
    let error = quantise(&mut reader(&turn.device), how, "output").unwrap_err().to_string();
    assert!(error.contains("quantise: there is no kernel for cuda"), "{error}");
    // Quantised on the CPU, it moves, and says so when it is asked.
    let mut base = reader(&Device::Cpu);
    quantise(&mut base, how, "output").unwrap();
    base.to(&turn.device).unwrap();
    let error = base.forward(&tokens(&turn.device)).unwrap_err().to_string();
    assert!(error.contains("there is no kernel for cuda"), "{error}");
    let mut model = Adapted::new(base);
    model.add("a", Lora::rank(2).targets(["output"]), &mut Rng::seeded(0)).unwrap();
    let error = model.forward(&tokens(&turn.device)).unwrap_err().to_string();
    assert!(error.contains("there is no kernel for cuda"), "{error}");
    model.to(&Device::Cpu).unwrap();
    model.forward(&tokens(&Device::Cpu)).unwrap();
}
