//! Models whose weights are in few bits: the same results as with the weights that the bits stand for.

use chainrule_autograd::{Array, DType, Rng, Tape, Tensor};
use chainrule_finetune::{Adapted, Lora, Quantisation, Result, dequantise, quantise};
use chainrule_nn::{
    Conv2d, ConvTranspose1d, Embedding, Gru, Layer, Linear, Module, Relu, Sequential, load, load_state_dict, params, params_mut, save, state_dict, to_dtype,
};
use std::collections::BTreeMap;

fn base() -> Sequential {
    let rng = &mut Rng::seeded(1);
    Sequential::new().add(Linear::new(66, 20, rng).unwrap()).add(Relu).add(Linear::new(20, 3, rng).unwrap())
}

fn input(dims: &[usize]) -> Tensor {
    Tensor::normal(dims, 0.0, 1.0, DType::F32, &mut Rng::seeded(2)).unwrap()
}

fn numbers(x: &Tensor) -> Vec<f64> {
    x.cast(DType::F64).unwrap().to_vec().unwrap()
}

fn contents(model: &dyn Module) -> Vec<(String, Vec<f64>)> {
    state_dict(model).unwrap().into_iter().map(|(path, array)| (path, numbers(&array.into()))).collect()
}

/// The result and the gradients of the input and of all that is trained.
fn run<L: Layer>(model: &L, x: &Tensor) -> Vec<Vec<f64>> {
    let tape = Tape::training(&mut Rng::seeded(0));
    let x = if x.dtype().is_float() { tape.watch(x) } else { tape.input(x) };
    let y = model.forward(&x).unwrap();
    let mut all = vec![numbers(&y)];
    if y.needs_gradient() {
        let gradients = y.square().unwrap().sum().unwrap().backward().unwrap();
        all.extend(gradients.wrt(&x).map(|g| numbers(&g.clone().into())));
        params(model, |_, param| all.extend(gradients.get(param.id).map(|g| numbers(&g.clone().into()))));
    }
    all
}

/// Quantised, and the same with the dense weights that the bits stand for; each with `x`.
fn as_dense<L: Layer + Clone>(layer: L, x: &Tensor, trained: usize) {
    for how in [Quantisation::nf4().block(8), Quantisation::int8()] {
        for dtype in [DType::F32, DType::F64] {
            let mut packed = layer.clone();
            to_dtype(&mut packed, dtype).unwrap();
            let x = if x.dtype().is_float() { &x.cast(dtype).unwrap() } else { x };
            assert_eq!(quantise(&mut packed, how, "*").unwrap(), 1);
            let mut dense = packed.clone();
            assert_eq!(dequantise(&mut dense).unwrap(), 1);
            params_mut(&mut dense, |path, param| param.trainable = path == "bias");
            let [got, expected] = [run(&packed, x), run(&dense, x)];
            assert_eq!((got.len(), &got), (1 + trained, &expected), "{how:?} {dtype}");
        }
    }
}

#[test]
fn every_layer_computes_as_with_the_dense_weight() -> Result<()> {
    let rng = &mut Rng::seeded(3);
    as_dense(Linear::new(10, 4, rng)?, &input(&[3, 2, 10]), 2);
    as_dense(Linear::new(10, 4, rng)?.without_bias(), &input(&[3, 10]), 1);
    as_dense(Embedding::new(5, 12, rng)?, &Tensor::from_slice(&[4i64, 0, 4, 1], &[2, 2])?, 0);
    as_dense(Conv2d::new(3, 4, [3, 3], rng)?, &input(&[2, 3, 5, 6]), 2);
    as_dense(ConvTranspose1d::new(3, 4, 3, rng)?, &input(&[2, 3, 5]), 2);
    Ok(())
}

#[test]
fn the_bits_are_saved_and_loaded_and_dense_weights_are_not() -> Result<()> {
    let x = input(&[4, 66]);
    let (mut model, dense) = (base(), base());
    quantise(&mut model, Quantisation::nf4(), "*")?;
    let paths: Vec<String> = state_dict(&model)?.into_keys().collect();
    let of = |layer: usize| ["bias", "weight.codes", "weight.scale_offset", "weight.scale_steps", "weight.scales"].map(|name| format!("{layer}.{name}"));
    assert_eq!(paths, [of(0), of(2)].concat());

    let file = std::env::temp_dir().join(format!("chainrule-quantised-{}.safetensors", std::process::id()));
    save(&model, &file)?;
    let rng = &mut Rng::seeded(9);
    let mut other = Sequential::new().add(Linear::new(66, 20, rng)?).add(Relu).add(Linear::new(20, 3, rng)?);
    quantise(&mut other, Quantisation::nf4(), "*")?;
    assert_ne!(numbers(&other.forward(&x)?), numbers(&model.forward(&x)?));
    let report = load(&mut other, &file)?;
    assert_eq!((report.loaded.len(), numbers(&other.forward(&x)?)), (10, numbers(&model.forward(&x)?)));
    let wrong_bits = load(&mut { quantise_fresh(Quantisation::int8()) }, &file).unwrap_err().to_string();
    assert!(wrong_bits.contains("0.weight.codes"), "{wrong_bits}");
    std::fs::remove_file(&file).unwrap();

    let before = contents(&other);
    let error = load_state_dict(&mut other, &state_dict(&dense)?).unwrap_err().to_string();
    assert!(error.contains("0.weight.codes") && error.contains("0.weight"), "{error}");
    assert_eq!(contents(&other), before);
    Ok(())
}

fn quantise_fresh(how: Quantisation) -> Sequential {
    let mut model = base();
    quantise(&mut model, how, "*").unwrap();
    model
}

#[test]
fn low_rank_above_learns_and_leaves_the_bits_alone() -> Result<()> {
    let (x, target) = (input(&[12, 66]), Tensor::from_slice(&[0i64, 1, 2, 0, 1, 2, 0, 1, 2, 0, 1, 2], &[12])?);
    let rng = &mut Rng::seeded(4);
    let base = quantise_fresh(Quantisation::nf4());
    let mut model = Adapted::new(base.clone());
    model.add("mine", Lora::rank(4), rng)?;
    assert_eq!(numbers(&model.forward(&x)?), numbers(&base.forward(&x)?));
    let before: BTreeMap<_, _> = contents(&base).into_iter().collect();
    let mut losses = Vec::new();
    for _ in 0..20 {
        let tape = Tape::training(rng);
        let loss = model.forward(&tape.input(&x))?.cross_entropy(&target)?;
        losses.push(loss.item()?);
        let gradients = loss.backward()?;
        assert_eq!(gradients.len(), 4);
        params_mut(&mut model, |_, param| {
            if let Some(gradient) = gradients.get(param.id) {
                param.value = Tensor::from(&param.value).sub(&Tensor::from(gradient).mul_scalar(0.5).unwrap()).unwrap().into_array();
            }
        });
    }
    assert!(losses[19] < 0.7 * losses[0], "{losses:?}");
    assert!(contents(&model).iter().filter(|(path, _)| !path.contains("lora")).all(|(path, numbers)| before[path] == *numbers));

    // Merged it is dense; unmerged it is in few bits again.
    let adapted = numbers(&model.forward(&x)?);
    assert!(model.merge(|model| model.forward(&x))? < 1e-5);
    assert_eq!(state_dict(&model)?.into_keys().collect::<Vec<_>>(), state_dict(&self::base())?.into_keys().collect::<Vec<_>>());
    model.unmerge();
    assert_eq!(numbers(&model.forward(&x)?), adapted);

    // Below an adapter that is there already.
    let mut late = model.clone();
    assert_eq!(dequantise(&mut late)?, 2);
    let close = |model: &Adapted<Sequential>| numbers(&model.forward(&x).unwrap()).iter().zip(&adapted).all(|(a, b)| (a - b).abs() < 1e-5);
    assert!(close(&late) && state_dict(&late)?.contains_key("0.weight") && state_dict(&late)?.contains_key("0.lora_A.weight"));
    assert_eq!(quantise(&mut late, Quantisation::nf4().double(false), ["0"])?, 1);
    assert!(state_dict(&late)?.contains_key("0.weight.codes") && state_dict(&late)?.contains_key("0.lora_A.weight"));
    late.deactivate();
    assert!(state_dict(&late)?.contains_key("0.weight.codes") && !state_dict(&late)?.contains_key("0.lora_A.weight"));

    let merged = model.clone().into_merged(|model| model.forward(&x))?;
    let mut all = 0;
    params(&merged, |_, param| all += param.trainable as usize);
    assert_eq!(all, 4);
    assert_eq!(contents(&model.into_base()), contents(&base));
    Ok(())
}

#[derive(Module, Clone)]
struct Reader {
    words: Embedding,
    steps: Gru,
    head: Linear,
}

#[test]
fn what_cannot_be_is_refused_and_changes_nothing() -> Result<()> {
    let rng = &mut Rng::seeded(0);
    let mut model = Reader { words: Embedding::new(9, 8, rng)?, steps: Gru::new(8, 4, 1, rng)?, head: Linear::new(4, 2, rng)? };
    let refused = |model: &mut dyn Module, targets: &[&str], expected: &str| {
        let targets: Vec<String> = targets.iter().map(|name| name.to_string()).collect();
        let before = contents(model);
        let error = quantise(model, Quantisation::nf4(), targets).unwrap_err().to_string();
        assert!(error.contains(expected) && contents(model) == before, "{error}");
    };
    refused(&mut model, &["haed"], "near it are \"head\"");
    assert_eq!(quantise(&mut model, Quantisation::nf4(), ["words"])?, 1);
    refused(&mut model, &["head", "words"], "words: quantise: the weight is held in another form already");
    model.head.weight.value = Array::full(&[2, 4], f64::INFINITY, DType::F32).unwrap();
    refused(&mut model, &["head"], "head: quantise: the weight [2, 4] holds numbers that are not finite");
    assert_eq!(dequantise(&mut model)?, 1);
    assert_eq!(dequantise(&mut model)?, 0);

    let mut base = base();
    assert!(quantise(&mut base, Quantisation::nf4().block(3), "*").unwrap_err().to_string().contains("got blocks of 3"));
    quantise(&mut base, Quantisation::nf4(), "*")?;
    let wrong = base.run(&input(&[2, 5])).unwrap_err().to_string();
    assert!(wrong.contains("linear"), "{wrong}");
    let mut adapted = Adapted::new(base);
    let error = adapted.add("head", Lora::rank(1).targets(["0"]).saving(["2"]), rng).unwrap_err().to_string();
    assert!(error.contains("2 is to be trained whole, but its weight is quantised"), "{error}");
    Ok(())
}
