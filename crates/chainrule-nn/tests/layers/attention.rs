//! Attention layers: masks, projections, caches, adapters.

use chainrule_autograd::{Array, DType, Error, Result, Rng, Tape, Tensor};
use chainrule_nn::*;

fn noise(dims: &[usize], seed: u64) -> Tensor {
    Tensor::uniform(dims, -1.0, 1.0, DType::F64, &mut Rng::seeded(seed)).unwrap()
}

/// In f64, no parameter being special.
fn drawn<M: Module>(mut module: M) -> M {
    to_dtype(&mut module, DType::F64).unwrap();
    params_mut(&mut module, |path, param| {
        param.initialise(Init::Normal { mean: 0.1, deviation: 0.6 }, &mut Rng::seeded(path.len() as u64)).unwrap();
    });
    module
}

fn assert_near(a: &Tensor, b: &Tensor, tolerance: f64) {
    assert_eq!(a.dims(), b.dims());
    let distance = a.sub(b).unwrap().abs().unwrap().max_over(&[], false).unwrap().item().unwrap();
    assert!(distance <= tolerance, "{distance}");
}

fn truth(values: &[u8], dims: &[usize]) -> Option<Tensor> {
    Some(Tensor::from_slice(values, dims).unwrap())
}

/// 0 where seen, -infinity where not.
fn added(mask: &Tensor) -> Option<Tensor> {
    Some(Tensor::zeros(mask.dims(), DType::F64).unwrap().masked_fill(&mask.logical_not().unwrap(), f64::NEG_INFINITY).unwrap())
}

#[test]
fn joint_and_separate_projections_agree() {
    let joint = drawn(MultiheadAttention::new(6, 3, &mut Rng::seeded(0)).unwrap());
    let mut separate = drawn(MultiheadAttention::with_widths(6, 3, 6, 6, &mut Rng::seeded(0)).unwrap());
    let (InProjection::Joint(from), InProjection::Separate(to)) = (&joint.in_proj, &mut separate.in_proj) else { panic!() };
    for (i, to) in [&mut to.q_proj_weight, &mut to.k_proj_weight, &mut to.v_proj_weight].into_iter().enumerate() {
        to.value = from.weight.value.narrow(0, 6 * i, 6).unwrap().contiguous().unwrap();
    }
    to.in_proj_bias = from.bias.clone();
    separate.out_proj = joint.out_proj.clone();
    let (x, key, value) = (noise(&[2, 4, 6], 1), noise(&[2, 5, 6], 2), noise(&[2, 5, 6], 3));
    let run = |layer: &MultiheadAttention| layer.attend(&x, &key, &value, &Masks::default()).unwrap();
    assert_near(&run(&joint), &run(&separate), 1e-13);
    let one = |x: &Tensor| x.select(0, 1).unwrap();
    assert_near(&one(&run(&joint)), &joint.attend(&one(&x), &one(&key), &one(&value), &Masks::default()).unwrap(), 1e-13);
    let narrow = drawn(MultiheadAttention::with_widths(6, 2, 3, 4, &mut Rng::seeded(0)).unwrap());
    assert_eq!(narrow.attend(&x, &noise(&[2, 5, 3], 2), &noise(&[2, 5, 4], 3), &Masks::default()).unwrap().dims(), [2, 4, 6]);
}

#[test]
fn hidden_keys_might_as_well_not_be_there() {
    let layer = drawn(MultiheadAttention::new(4, 2, &mut Rng::seeded(0)).unwrap());
    let (x, memory) = (noise(&[2, 3, 4], 1), noise(&[2, 5, 4], 2));
    let keys = truth(&[1, 1, 1, 0, 0].repeat(2), &[2, 5]);
    let got = layer.attend(&x, &memory, &memory, &Masks { keys: keys.clone(), ..Masks::default() }).unwrap();
    let short = memory.narrow(1, 0, 3).unwrap();
    assert_near(&got, &layer.attend(&x, &short, &short, &Masks::default()).unwrap(), 1e-13);
    assert_near(&got, &layer.attend(&x, &memory, &memory, &Masks { keys: added(&keys.unwrap()), ..Masks::default() }).unwrap(), 1e-13);
}

#[test]
fn masks_of_all_kinds_join() {
    let layer = drawn(MultiheadAttention::new(4, 2, &mut Rng::seeded(0)).unwrap());
    let x = noise(&[2, 3, 4], 1);
    let attention = truth(&[1, 0, 0, 1, 1, 0, 1, 1, 1], &[3, 3]).unwrap();
    let keys = truth(&[1, 1, 0, 1, 1, 1], &[2, 3]).unwrap();
    let run = |masks: Masks| layer.attend(&x, &x, &x, &masks).unwrap();
    let both = |attention: &Tensor, keys: &Tensor| run(Masks { attention: Some(attention.clone()), keys: Some(keys.clone()), causal: false });
    let (attention_added, keys_added) = (added(&attention).unwrap(), added(&keys).unwrap());
    let expected = run(Masks { keys: Some(keys.clone()), ..Masks::causal() });
    for got in [both(&attention, &keys), both(&attention_added, &keys), both(&attention, &keys_added), both(&attention_added, &keys_added)] {
        assert_near(&got, &expected, 1e-13);
    }
    assert_near(&run(Masks { attention: Some(attention), ..Masks::default() }), &run(Masks::causal()), 1e-13);
}

/// Step by step with caches as at once, with positions that turn.
#[test]
fn generation_with_caches_equals_that_without() {
    let rng = &mut Rng::seeded(4);
    let rotary = RotaryPositions::new(40, 4).unwrap();
    let encoder = TransformerEncoder::new(2, || Ok(TransformerEncoderLayer::new(8, 2, 16, rng)?.norm_first().activation(Gelu).rotary(rotary.clone())));
    let encoder = encoder.unwrap().norm(LayerNorm::new(&[8]).unwrap());
    let decoder = TransformerDecoder::new(2, || TransformerDecoderLayer::new(8, 2, 16, rng)).unwrap();
    let single = |x: Tensor| x.cast(DType::F32).unwrap();
    let (x, memory, all) = (single(noise(&[3, 37, 8], 1)), single(noise(&[3, 5, 8], 2)), Masks::default());
    let whole = [encoder.masked(&x, &Masks::causal()).unwrap(), decoder.decode(&x, &memory, &Masks::causal(), &all).unwrap()];
    let mut caches = [vec![KeyValueCache::new(); 2], vec![KeyValueCache::new(); 2]];
    let mut start = 0;
    for steps in [5, 1, 1, 18, 1, 11] {
        let part = x.narrow(1, start, steps).unwrap();
        let got = [encoder.continued(&part, &mut caches[0]).unwrap(), decoder.continued(&part, &memory, &all, &mut caches[1]).unwrap()];
        for (got, whole) in got.iter().zip(&whole) {
            assert_near(got, &whole.narrow(1, start, steps).unwrap(), 1e-5);
        }
        start += steps;
    }
    // Back to the first twelve steps: another continuation.
    caches[0].iter_mut().for_each(|cache| cache.truncate(12));
    assert_near(&encoder.continued(&x.narrow(1, 12, 3).unwrap(), &mut caches[0]).unwrap(), &whole[0].narrow(1, 12, 3).unwrap(), 1e-5);
    // Errors leave the caches as they were.
    assert!(encoder.continued(&x, &mut caches[0]).unwrap_err().to_string().contains("40"), "positions end");
    assert!(encoder.continued(&x.narrow(0, 0, 2).unwrap().narrow(1, 0, 6).unwrap(), &mut caches[0]).unwrap_err().to_string().contains("[3, 2, 6, 4]"));
    assert!(encoder.continued(&x, &mut caches[0][..1]).unwrap_err().to_string().contains("1 caches"));
    assert!(caches[0].iter().all(|cache| cache.len() == 15));
}

#[test]
fn a_cache_refuses_what_it_would_lose() {
    let (mut cache, step) = (KeyValueCache::new(), Tensor::ones(&[2, 3, 4], DType::F32).unwrap());
    let tape = Tape::training(&mut Rng::seeded(0));
    assert!(cache.append(&tape.watch(&step), &step).unwrap_err().to_string().contains("gradient"));
    assert!(cache.append(&step, &step.narrow(1, 0, 2).unwrap()).unwrap_err().to_string().contains("[2, 2, 4]"));
    cache.append(&step, &step).unwrap();
    assert!(cache.append(&step.cast(DType::F64).unwrap(), &step).unwrap_err().to_string().contains("f64"));
    assert!(!cache.is_empty() && cache.len() == 3);
    let (keys, _) = cache.append(&step.mul_scalar(2.0).unwrap(), &step).unwrap();
    assert_eq!(keys.sum().unwrap().item().unwrap(), 24.0 + 48.0);
}

/// `y = W x + b + B A x`
#[derive(Module, Clone)]
struct LowRank {
    a: Param,
    b: Param,
}

impl Adapter for LowRank {
    fn adapt(&self, x: &Tensor, site: &Site) -> Result<Tensor> {
        site.forward(x)?.add(&x.linear(&self.a.on(x)?, None)?.linear(&self.b.on(x)?, None)?)
    }
    fn merged(&self, weight: &Tensor) -> Result<Tensor> {
        weight.add(&self.b.on(weight)?.matmul(&self.a.on(weight)?)?)
    }
}

#[test]
fn the_joint_projection_takes_an_adapter() {
    let mut layer = drawn(MultiheadAttention::new(4, 2, &mut Rng::seeded(0)).unwrap());
    freeze(&mut layer, "*").unwrap();
    let (x, memory) = (noise(&[2, 3, 4], 1), noise(&[2, 5, 4], 2));
    let attend = |layer: &MultiheadAttention, x: &Tensor, memory: &Tensor| layer.attend(x, memory, memory, &Masks::default()).unwrap();
    let run = |layer: &MultiheadAttention, x: &Tensor| attend(layer, x, &memory);
    let before = run(&layer, &x);
    let (a, b) = (noise(&[2, 4], 3).into_array(), noise(&[12, 2], 4).into_array());
    let InProjection::Joint(joint) = &mut layer.in_proj else { panic!() };
    joint.adapter = Some(Box::new(LowRank { a: Param::new(a), b: Param::new(Array::zeros(&[12, 2], DType::F64).unwrap()) }));
    assert_near(&run(&layer, &x), &before, 1e-13);
    params_mut(&mut layer, |path, param| {
        if path == "in_proj.b" {
            param.value = b.clone();
        }
    });
    let tape = Tape::training(&mut Rng::seeded(0));
    let y = attend(&layer, &tape.input(&x), &tape.input(&memory));
    assert_eq!(y.sum().unwrap().backward().unwrap().len(), 2);
    // Merged, the weight does the same.
    let mut merged = layer.clone();
    let InProjection::Joint(joint) = &mut merged.in_proj else { panic!() };
    let adapter = joint.adapter.take().unwrap();
    joint.weight.value = adapter.merged(&Tensor::from(&joint.weight.value)).unwrap().into_array();
    assert_near(&run(&merged, &x), &run(&layer, &x), 1e-12);
}

#[test]
fn errors_name_the_place() {
    assert!(MultiheadAttention::new(5, 2, &mut Rng::seeded(0)).err().unwrap().to_string().contains("5 features"));
    assert!(MultiheadAttention::new(4, 0, &mut Rng::seeded(0)).is_err());
    let model = Transformer::new(4, 2, [1, 2], 8, &mut Rng::seeded(0)).unwrap();
    let (x, wide) = (Tensor::ones(&[2, 3, 4], DType::F32).unwrap(), Tensor::ones(&[2, 3, 5], DType::F32).unwrap());
    let located = |error: Error| locate(&model, error).to_string();
    let error = located(model.encoder.forward(&wide).unwrap_err());
    assert!(error.starts_with("encoder.layers.0.self_attn: linear: "), "{error}");
    let error = located(model.decoder.decode(&x, &wide, &Masks::default(), &Masks::default()).unwrap_err());
    assert!(error.starts_with("decoder.layers.0.multihead_attn: linear: "), "{error}");
    let masks = Masks { keys: truth(&[1; 8], &[2, 4]), ..Masks::default() };
    let error = located(model.encoder.masked(&x, &masks).unwrap_err());
    assert!(error.contains("[2, 1, 1, 4]"), "{error}");
    assert!(model.encoder.forward(&Tensor::ones(&[4], DType::F32).unwrap()).is_err());
    assert!(model.encoder.forward(&Tensor::ones(&[], DType::F32).unwrap()).is_err());
}

#[test]
fn a_transformer_has_the_keys_of_pytorch() {
    let model = Transformer::new(4, 2, [1, 2], 8, &mut Rng::seeded(0)).unwrap();
    let mut expected = vec![];
    let mut both = |name: String| expected.extend([format!("{name}.weight"), format!("{name}.bias")]);
    for (part, layers, norms) in [("encoder", 1, 2), ("decoder", 2, 3)] {
        for layer in 0..layers {
            let path = format!("{part}.layers.{layer}");
            ["self_attn.out_proj", "linear1", "linear2"].iter().for_each(|name| both(format!("{path}.{name}")));
            (1..=norms).for_each(|n| both(format!("{path}.norm{n}")));
            if part == "decoder" {
                both(format!("{path}.multihead_attn.out_proj"));
            }
        }
        both(format!("{part}.norm"));
    }
    for path in [
        "encoder.layers.0.self_attn",
        "decoder.layers.0.self_attn",
        "decoder.layers.0.multihead_attn",
        "decoder.layers.1.self_attn",
        "decoder.layers.1.multihead_attn",
    ] {
        expected.extend(["weight", "bias"].map(|kind| format!("{path}.in_proj_{kind}")));
    }
    expected.sort();
    assert_eq!(state_dict(&model).unwrap().into_keys().collect::<Vec<_>>(), expected);
}
