//! A small model of all kinds of layers that methods adapt.

use chainrule_autograd::{DType, Result, Rng, Tensor};
use chainrule_nn::{BatchNorm2d, Conv2d, Embedding, Gru, Layer, LayerNorm, Linear, Lstm, Masks, Module, MultiheadAttention, StateDict, params_mut, state_dict};

/// i64 `[N, T] -> [N, 3]`
#[derive(Module, Clone)]
pub struct Everything {
    pub embedding: Embedding,
    pub conv: Conv2d,
    pub batch_norm: BatchNorm2d,
    pub lstm: Lstm,
    pub gru: Gru,
    pub attention: MultiheadAttention,
    pub cross: MultiheadAttention,
    pub intermediate: Linear,
    pub output: Linear,
    pub norm: LayerNorm,
    pub classifier: Linear,
}

pub fn everything() -> Everything {
    let rng = &mut Rng::seeded(1);
    let mut model = Everything {
        embedding: Embedding::new(11, 4, rng).unwrap().padding(0).unwrap(),
        conv: Conv2d::new(1, 2, 3, rng).unwrap().padding(1),
        batch_norm: BatchNorm2d::new(2).unwrap(),
        lstm: Lstm::bidirectional(8, 3, 1, rng).unwrap(),
        gru: Gru::new(6, 4, 1, rng).unwrap(),
        attention: MultiheadAttention::new(4, 2, rng).unwrap(),
        cross: MultiheadAttention::with_widths(4, 2, 6, 6, rng).unwrap(),
        intermediate: Linear::new(4, 6, rng).unwrap(),
        output: Linear::new(6, 4, rng).unwrap(),
        norm: LayerNorm::new(&[4]).unwrap(),
        classifier: Linear::new(4, 3, rng).unwrap(),
    };
    let statistics = |low: f64, rng: &mut Rng| Tensor::uniform(&[2], low, 1.5, DType::F32, rng).unwrap().into_array();
    model.batch_norm.running_mean.as_mut().unwrap().value = statistics(-1.0, rng);
    model.batch_norm.running_var.as_mut().unwrap().value = statistics(0.5, rng);
    model
}

impl Layer for Everything {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let x = self.conv.forward(&self.embedding.forward(x)?.unsqueeze(1)?)?;
        let x = self.batch_norm.forward(&x)?.transpose(1, 2)?.flatten(2, 3)?;
        let memory = self.lstm.forward(&x)?;
        let x = self.gru.forward(&memory)?;
        let x = x.add(&self.attention.forward(&x)?)?;
        let x = x.add(&self.cross.attend(&x, &memory, &memory, &Masks::default())?)?;
        let x = self.norm.forward(&x.add(&self.output.forward(&self.intermediate.forward(&x)?.gelu()?)?)?)?;
        self.classifier.forward(&x.mean_over(&[1], false)?)
    }
}

/// Four sequences, with an index that stands for nothing.
pub fn tokens() -> Tensor {
    let tokens: Vec<i64> = (0..20).map(|i| (i * i + 3 * i) % 11).collect();
    Tensor::from_slice(&tokens, &[4, 5]).unwrap()
}

pub fn labels() -> Tensor {
    Tensor::from_slice(&[0i64, 2, 1, 2], &[4]).unwrap()
}

/// Random numbers in all that is trained, about those that were there.
pub fn shaken(model: &mut dyn Module, seed: u64) {
    let rng = &mut Rng::seeded(seed);
    params_mut(model, |_, param| {
        if param.trainable {
            let noise = Tensor::normal(param.value.dims(), 0.0, 0.3, param.value.dtype(), rng).unwrap();
            param.value = Tensor::from(&param.value).add(&noise).unwrap().into_array();
        }
    });
}

/// Every number, by path.
pub fn bits(model: &dyn Module) -> Vec<(String, Vec<u64>)> {
    let dict: StateDict = state_dict(model).unwrap();
    dict.iter().map(|(path, array)| (path.clone(), array.cast(DType::F64).unwrap().to_vec::<f64>().unwrap().iter().map(|x| x.to_bits()).collect())).collect()
}

pub fn numbers(x: &Tensor) -> Vec<f64> {
    x.cast(DType::F64).unwrap().to_vec().unwrap()
}
