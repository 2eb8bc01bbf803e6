//! Whole models as PyTorch computes them, under weights that a formula gives: every number follows from its tensor's name.
//!
//! `state` begins as FNV-1a 64 of the name; each number adds 0x9E3779B97F4A7C15 to it and mixes (SplitMix64), which gives u in -1..1.
//! Variances are 1 + u/2, means u/10, other vectors 1 + u/10 (`*weight`) or u/10, matrices and kernels u sqrt(3 / fan_in).
#![allow(dead_code, reason = "each test uses its part")]

use chainrule_autograd::{Array, Rng, Tape, Tensor};
use chainrule_core::DType;
use chainrule_nn::{Module, StateDict, count, load_state_dict, path_of, safetensors, state_dict, to_dtype};
use std::path::Path;

/// u of a name.
fn stream(name: &str, count: usize) -> Vec<f32> {
    let mut state = name.bytes().fold(0xCBF29CE484222325u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100000001B3));
    let mut next = || {
        state = state.wrapping_add(0x9E3779B97F4A7C15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58476D1CE4E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D049BB133111EB);
        (((z ^ (z >> 31)) >> 40) as f64 / (1u64 << 23) as f64 - 1.0) as f32
    };
    (0..count).map(|_| next()).collect()
}

fn fill(model: &mut dyn Module) {
    let mut filled = StateDict::new();
    for (path, value) in state_dict(model).expect("a state") {
        let dims = value.dims().to_vec();
        if !value.dtype().is_float() {
            filled.insert(path, value);
            continue;
        }
        let fan = (3.0 / (value.count() as f64 / dims[0] as f64)).sqrt() as f32;
        let number = |u: f32| match dims.len() {
            _ if path.ends_with("running_var") => 1.0 + 0.5 * u,
            _ if path.ends_with("running_mean") => 0.1 * u,
            1 if path.ends_with("weight") => 1.0 + 0.1 * u,
            1 => 0.1 * u,
            _ => u * fan,
        };
        let numbers: Vec<f32> = stream(&path, value.count()).into_iter().map(number).collect();
        filled.insert(path, Array::from_slice(&numbers, &dims).expect("an array"));
    }
    let _ = load_state_dict(model, &filled).expect("it fits");
}

/// `[N, C, H, W]`
pub fn image(dims: &[usize]) -> Tensor {
    Tensor::from_slice(&stream("input", dims.iter().product()), dims).expect("an image")
}

/// `[N, T]`
pub fn tokens(vocabulary: usize, dims: &[usize]) -> Tensor {
    let id = |u: f32| (((f64::from(u) + 1.0) / 2.0 * vocabulary as f64).floor() as i64).min(vocabulary as i64 - 1);
    let ids: Vec<i64> = stream("input", dims.iter().product()).into_iter().map(id).collect();
    Tensor::from_slice(&ids, dims).expect("ids")
}

/// Compares the count of parameters, the logits, and the recorded norms of gradients of the mean cross-entropy, in inference mode.
pub fn replay<M: Module>(
    name: &str,
    model: &mut M,
    input: &Tensor,
    dtype: DType,
    tolerance: f64,
    logits: impl Fn(&M, &Tensor) -> chainrule_autograd::Result<Tensor>,
) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../chainrule/tests/golden/cases/models.safetensors");
    let metadata = safetensors::Safetensors::open(&file).expect("golden cases").metadata()[name].clone();
    let golden = safetensors::read(&file).expect("golden cases");
    let entry = |key: &str| metadata.split_once(&format!("\"{key}\": ")).and_then(|(_, rest)| rest.split([',', '}']).next()?.parse::<usize>().ok()).expect(key);
    assert_eq!(count(model).all, entry("parameters"), "{name}: parameters");

    fill(model);
    to_dtype(model, dtype).expect("a type");
    let input = if input.dtype().is_float() { input.cast(dtype).expect("a type") } else { input.clone() };
    let tape = Tape::inference(&mut Rng::seeded(0));
    let got = logits(model, &tape.input(&input)).expect("logits");
    near(&format!("{name}/logits"), got.array(), &golden, tolerance);

    let classes = entry("classes");
    let flat = got.reshape(&[got.count() / classes, classes]).expect("[.., V]");
    let labels: Vec<i64> = (0..flat.dims()[0]).map(|i| (i % classes) as i64).collect();
    let loss = flat.cross_entropy(&Tensor::from_slice(&labels, &[labels.len()]).expect("labels")).expect("a loss");
    let gradients = loss.backward().expect("gradients");
    let mut watched = 0;
    for (id, gradient) in gradients.iter() {
        let key = format!("{name}/grad_norm.{}", path_of(model, id).expect("a parameter"));
        if golden.contains_key(&key) {
            let norm = Tensor::from(gradient).norm(2.0, &(0..gradient.dims().len() as isize).collect::<Vec<_>>(), false).expect("a norm");
            near(&key, norm.reshape(&[1]).expect("[1]").array(), &golden, tolerance);
            watched += 1;
        }
    }
    assert_eq!(watched, golden.keys().filter(|key| key.starts_with(&format!("{name}/grad_norm."))).count(), "{name}: gradients");
}

fn near(name: &str, got: &Array, golden: &StateDict, tolerance: f64) {
    let numbers = |array: &Array| array.cast(DType::F64).and_then(|a| a.to_vec::<f64>()).expect("numbers");
    let (got, expected) = (numbers(got), numbers(&golden[name]));
    assert_eq!(got.len(), expected.len(), "{name}");
    let most = expected.iter().fold(0f64, |most, x| most.max(x.abs()));
    let error = got.iter().zip(&expected).fold(0f64, |error, (g, e)| error.max((g - e).abs())) / (1.0 + most);
    assert!(error <= tolerance, "{name} is off by {error:.2e}: {got:?}, expected {expected:?}");
}
