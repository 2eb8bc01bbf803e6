//! Ten training steps of a CNN, an LSTM and an encoder layer, against PyTorch's losses: forward, backward and optimizer together.
//!
//! `losses.safetensors` is made by `scripts/fixtures/training.py`.

use chainrule::nn::{BatchNorm2d, Conv2d, Embedding, Gelu, Layer, Linear, Lstm, Module, TransformerEncoderLayer, params_mut, state_dict, to_dtype};
use chainrule::optim::{Adam, AdamW, Optimize, Sgd};
use chainrule::options::Pool2d;
use chainrule::{Array, DType, Result, Rng, Tape, Tensor, TensorError};
use safetensors::{Dtype, SafeTensors};
use std::collections::BTreeMap;

type Fixture = BTreeMap<String, Array>;

fn fixture() -> Fixture {
    let bytes = include_bytes!("losses.safetensors");
    let file = SafeTensors::deserialize(bytes).expect("a safetensors file");
    let read = |(name, view): (String, safetensors::tensor::TensorView)| {
        let (data, dims) = (view.data(), view.shape());
        let array = match view.dtype() {
            Dtype::F32 => Array::from_slice(&data.as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect::<Vec<_>>(), dims),
            Dtype::F64 => Array::from_slice(&data.as_chunks::<8>().0.iter().map(|b| f64::from_le_bytes(*b)).collect::<Vec<_>>(), dims),
            Dtype::I64 => Array::from_slice(&data.as_chunks::<8>().0.iter().map(|b| i64::from_le_bytes(*b)).collect::<Vec<_>>(), dims),
            other => panic!("{name}: {other:?}"),
        };
        (name, array.expect("an array"))
    };
    file.tensors().into_iter().map(read).collect()
}

#[derive(Module, Clone)]
struct Cnn {
    conv1: Conv2d,
    bn1: BatchNorm2d,
    conv2: Conv2d,
    bn2: BatchNorm2d,
    fc: Linear,
}
impl Layer for Cnn {
    fn forward(&self, x: &Tensor) -> Result<Tensor, TensorError> {
        let x = self.bn1.forward(&self.conv1.forward(x)?)?.relu()?.max_pool2d(&Pool2d::new([2, 2]))?;
        let x = self.bn2.forward(&self.conv2.forward(&x)?)?.gelu()?;
        let x = x.avg_pool2d(&Pool2d { stride: [1, 1], padding: [1, 1], ..Pool2d::new([2, 2]) }, true, None)?;
        self.fc.forward(&x.flatten(1, -1)?)
    }
}

#[derive(Module, Clone)]
struct BiLstm {
    emb: Embedding,
    rnn: Lstm,
    out: Linear,
}
impl Layer for BiLstm {
    fn forward(&self, x: &Tensor) -> Result<Tensor, TensorError> {
        self.out.forward(&self.rnn.forward(&self.emb.forward(x)?)?.mean_over(&[1], false)?)
    }
}

#[derive(Module, Clone)]
struct Encoder {
    emb: Embedding,
    layer: TransformerEncoderLayer,
    out: Linear,
}
impl Layer for Encoder {
    fn forward(&self, x: &Tensor) -> Result<Tensor, TensorError> {
        self.out.forward(&self.layer.forward(&self.emb.forward(x)?)?.select(1, 0)?)
    }
}

/// Trains from PyTorch's weights on its batches, and compares the losses.
fn follows<L: Layer>(name: &str, mut model: L, mut optimizer: Box<dyn Optimize>, dtype: DType, tolerance: f64) -> Result<()> {
    let fixture = fixture();
    let own: Vec<String> = state_dict(&model)?.into_keys().map(|key| format!("{name}.param.{key}")).collect();
    let theirs: Vec<&String> = fixture.keys().filter(|key| key.starts_with(&format!("{name}.param."))).collect();
    assert_eq!(own.iter().collect::<Vec<_>>(), theirs, "the keys of the state dict");
    params_mut(&mut model, |path, param| param.value = fixture[&format!("{name}.param.{path}")].clone());
    to_dtype(&mut model, dtype)?;
    let (inputs, labels) = (Tensor::from(&fixture[&format!("{name}.x")]), Tensor::from(&fixture[&format!("{name}.y")]));
    let inputs = if inputs.dtype().is_float() { inputs.cast(dtype)? } else { inputs };
    let mut rng = Rng::seeded(0);
    for (step, expected) in fixture[&format!("{name}.loss")].to_vec::<f64>()?.into_iter().enumerate() {
        let tape = Tape::training(&mut rng);
        let loss = model.run(&tape.input(inputs.select(0, step)?))?.cross_entropy(&labels.select(0, step)?)?;
        let got = loss.item()?;
        assert!((got - expected).abs() <= tolerance * expected.abs(), "{name} in {dtype}, step {step}: the loss is {got}, PyTorch's {expected}");
        optimizer.step(&mut model, &loss.backward()?)?;
    }
    Ok(())
}

const PRECISIONS: [(DType, f64); 2] = [(DType::F64, 1e-9), (DType::F32, 1e-4)];

#[test]
fn a_cnn_follows_pytorch() -> Result<()> {
    let rng = &mut Rng::seeded(0);
    let cnn = Cnn {
        conv1: Conv2d::new(2, 6, 3, rng)?.padding(1),
        bn1: BatchNorm2d::new(6)?,
        conv2: Conv2d::grouped(6, 8, 3, 2, rng)?.stride(2).padding(1).without_bias(),
        bn2: BatchNorm2d::new(8)?,
        fc: Linear::new(72, 5, rng)?,
    };
    for (dtype, tolerance) in PRECISIONS {
        follows("cnn", cnn.clone(), Box::new(Sgd::new(0.1).momentum(0.9).nesterov(true).weight_decay(1e-3)), dtype, tolerance)?;
    }
    Ok(())
}

#[test]
fn an_lstm_follows_pytorch() -> Result<()> {
    let rng = &mut Rng::seeded(0);
    let lstm = BiLstm { emb: Embedding::new(11, 6, rng)?, rnn: Lstm::bidirectional(6, 7, 2, rng)?, out: Linear::new(14, 5, rng)? };
    for (dtype, tolerance) in PRECISIONS {
        follows("lstm", lstm.clone(), Box::new(Adam::new(1e-2)), dtype, tolerance)?;
    }
    Ok(())
}

#[test]
fn an_encoder_layer_follows_pytorch() -> Result<()> {
    let rng = &mut Rng::seeded(0);
    let encoder = Encoder {
        emb: Embedding::new(11, 8, rng)?,
        layer: TransformerEncoderLayer::new(8, 2, 16, rng)?.activation(Gelu).dropout(0.0),
        out: Linear::new(8, 5, rng)?,
    };
    for (dtype, tolerance) in PRECISIONS {
        follows("encoder", encoder.clone(), Box::new(AdamW::new(3e-3).weight_decay(0.1)), dtype, tolerance)?;
    }
    Ok(())
}
