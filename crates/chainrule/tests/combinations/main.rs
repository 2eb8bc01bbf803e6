//! The combinations that break elsewhere: {checkpointing, bf16, freeze, second order, resume} × every layer.
//!
//! The layers are those of the laws in `chainrule-nn`. A cell passes, or its reason stands in [`EXCUSED`]; the table is printed.

#[path = "../../../chainrule-nn/tests/layers/table.rs"]
#[allow(dead_code, reason = "the laws read more of it")]
mod table;

use chainrule::nn::{
    Bilinear, BoxedLayer, GruCell, Init, Layer, LayerNorm, Linear, LstmCell, Masks, Module, RnnCell, Transformer, TransformerDecoder, TransformerDecoderLayer,
    TransformerMasks, count, freeze, load_state_dict, params, params_mut, state_dict, to_dtype,
};
use chainrule::optim::{Adam, State};
use chainrule::{Array, DType, GradCheck, Gradients, Rng, Tape, Tensor, TensorError};
use table::{Case, cases};

/// Why a cell cannot be: the layer, the column, the reason.
const EXCUSED: &[(&str, &str, &str)] = &[
    ("Checkpointed", "second order", "a checkpoint has no second derivative: its second run is recorded on a tape of its own"),
    ("Embedding", "second order", "the input is integer; by the weight the layer is linear"),
    ("EmbeddingBag", "second order", "the input is integer; by the weight the layer is linear or, at maxima, linear in pieces"),
];

type Verdict = Result<(), String>;
type Column = (&'static str, fn(&Case) -> Verdict);

const COLUMNS: [Column; 5] = [("checkpointing", checkpointing), ("bf16", bf16), ("freeze", freezing), ("second order", second_order), ("resume", resume)];

fn bits(array: &Array) -> Vec<u64> {
    Tensor::from(array).cast(DType::F64).expect("numbers").to_vec::<f64>().expect("f64").into_iter().map(f64::to_bits).collect()
}

fn same(what: &str, a: &Array, b: &Array) -> Verdict {
    if bits(a) == bits(b) { Ok(()) } else { Err(format!("{what}: other bits")) }
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

/// Weights without a pattern: fresh ones of 1 and 0 would hide mistakes.
fn filled(case: &Case) -> BoxedLayer {
    let mut layer = case.layer.clone();
    params_mut(&mut layer, |path, param| {
        let rng = &mut Rng::seeded(path.len() as u64);
        param.initialise(Init::Uniform { low: 0.2, high: 0.9 }, rng).expect("numbers");
    });
    layer
}

struct Run {
    output: Array,
    gradients: Gradients,
    by_input: Option<Array>,
}

/// Forward and backward in training, on a tape made the same way each time.
fn run(layer: &BoxedLayer, input: &Tensor, precision: Option<DType>, checkpointed: bool) -> Result<Option<Run>, String> {
    let mut tape = Tape::training(&mut Rng::seeded(3));
    if let Some(precision) = precision {
        tape = tape.precision(precision).map_err(text)?;
    }
    let x = tape.watch(input);
    let copy = layer.clone();
    let y = if checkpointed { x.checkpoint(move |x| copy.forward(x)) } else { layer.forward(&x) }.map_err(text)?;
    if !y.needs_gradient() {
        return Ok(None);
    }
    // Not the mean square: behind a norm it hardly changes, and its gradient is what rounding leaves.
    let along = Tensor::uniform(y.dims(), -1.0, 1.0, y.dtype(), &mut Rng::seeded(8)).map_err(text)?;
    let gradients = y.mul(&along).and_then(|y| y.mean()).and_then(|loss| loss.backward()).map_err(text)?;
    let by_input = gradients.wrt(&x).cloned();
    Ok(Some(Run { output: y.into_array(), gradients, by_input }))
}

/// Layers with products, whose results bf16 changes; all others must have the same bits in bf16.
const PRODUCTS: &[&str] = &[
    "Linear",
    "Bilinear",
    "Conv1d",
    "Conv2d",
    "Conv3d",
    "ConvTranspose1d",
    "ConvTranspose2d",
    "ConvTranspose3d",
    "MultiheadAttention",
    "TransformerEncoderLayer",
    "TransformerEncoder",
    "TransformerDecoderLayer",
    "TransformerDecoder",
    "Transformer",
    "Rnn",
    "Lstm",
    "Gru",
    "RnnCell",
    "LstmCell",
    "GruCell",
    "Sequential",
    "Checkpointed",
    "WeightNorm",
    "SpectralNorm",
];

/// What takes more than one input, or gives more than one output, as a layer of one.
macro_rules! of_one_input {
    ($($wrapper:ident($inner:ty): |$layer:ident, $x:ident| $forward:expr;)*) => { $(
        #[derive(Module, Clone)]
        struct $wrapper {
            #[module(flatten)]
            layer: $inner,
        }
        impl Layer for $wrapper {
            fn forward(&self, $x: &Tensor) -> Result<Tensor, TensorError> {
                let $layer = &self.layer;
                $forward
            }
        }
    )* };
}
of_one_input! {
    Pairing(Bilinear): |layer, x| layer.forward(x, &x.sin()?);
    Decoding(TransformerDecoderLayer): |layer, x| layer.decode(x, &x.sin()?, &Masks::causal(), &Masks::default());
    DecodingAll(TransformerDecoder): |layer, x| layer.decode(x, &x.sin()?, &Masks::causal(), &Masks::default());
    Translating(Transformer): |layer, x| layer.translate(&x.sin()?, x, &TransformerMasks::default());
    RnnStep(RnnCell): |layer, x| Ok(layer.step(x, None)?[0].clone());
    LstmStep(LstmCell): |layer, x| { let [h, c] = layer.step(x, None)?; h.add(&c) };
    GruStep(GruCell): |layer, x| Ok(layer.step(x, None)?[0].clone());
}

/// The layers of the laws, and those that no law of one input and output holds for.
fn all_cases() -> Vec<Case> {
    let rng = &mut Rng::seeded(2);
    let mut all = cases();
    let mut add = |name: &'static str, layer: Result<BoxedLayer, TensorError>, input: &[usize]| {
        let input = Tensor::uniform(input, -2.0, 2.0, DType::F32, &mut Rng::seeded(5)).expect("numbers");
        all.push(Case { name, layer: layer.expect("a layer"), input, output: vec![], wrong: None, keys: vec![] });
    };
    add("Bilinear", Bilinear::new(3, 3, 2, rng).map(|layer| Box::new(Pairing { layer }) as BoxedLayer), &[4, 3]);
    add("TransformerDecoderLayer", TransformerDecoderLayer::new(4, 2, 3, rng).map(|layer| Box::new(Decoding { layer }) as BoxedLayer), &[2, 3, 4]);
    let decoder = TransformerDecoder::new(1, || TransformerDecoderLayer::new(4, 2, 3, &mut Rng::seeded(3))).and_then(|d| Ok(d.norm(LayerNorm::new(&[4])?)));
    add("TransformerDecoder", decoder.map(|layer| Box::new(DecodingAll { layer }) as BoxedLayer), &[2, 3, 4]);
    add("Transformer", Transformer::new(4, 2, [1, 1], 3, rng).map(|layer| Box::new(Translating { layer }) as BoxedLayer), &[2, 3, 4]);
    add("RnnCell", RnnCell::new(3, 4, rng).map(|layer| Box::new(RnnStep { layer }) as BoxedLayer), &[2, 3]);
    add("LstmCell", LstmCell::new(3, 4, rng).map(|layer| Box::new(LstmStep { layer }) as BoxedLayer), &[2, 3]);
    add("GruCell", GruCell::new(3, 4, rng).map(|layer| Box::new(GruStep { layer }) as BoxedLayer), &[2, 3]);
    all
}

/// The same bits with and without: output, gradients, buffer updates.
fn checkpointing(case: &Case) -> Verdict {
    let layer = filled(case);
    let (Some(plain), Some(other)) = (run(&layer, &case.input, None, false)?, run(&layer, &case.input, None, true)?) else { return Ok(()) };
    same("output", &plain.output, &other.output)?;
    if let (Some(a), Some(b)) = (&plain.by_input, &other.by_input) {
        same("gradient by the input", a, b)?;
    }
    let mut verdict = Ok(());
    params(&layer, |path, param| {
        if let Some(gradient) = plain.gradients.get(param.id) {
            let other = other.gradients.get(param.id).ok_or(format!("{path}: no gradient"));
            verdict = verdict.clone().and_then(|()| same(path, gradient, other?));
        }
    });
    verdict?;
    let updates = |gradients: &Gradients| gradients.updates().map(|(id, update)| (id, bits(update.addend()))).collect::<Vec<_>>();
    if updates(&plain.gradients) == updates(&other.gradients) { Ok(()) } else { Err("buffer updates differ".into()) }
}

/// Near the result in f32, with the same gradients' shapes and types; master weights stay f32.
fn bf16(case: &Case) -> Verdict {
    let layer = filled(case);
    let (Some(full), Some(narrow)) = (run(&layer, &case.input, None, false)?, run(&layer, &case.input, Some(DType::BF16), false)?) else { return Ok(()) };
    let near = |what: &str, a: &Array, b: &Array| -> Verdict {
        if a.dtype() != b.dtype() || a.dims() != b.dims() {
            return Err(format!("{what}: {} {:?} and {} {:?}", a.dtype(), a.shape(), b.dtype(), b.shape()));
        }
        let (a, b) = (a.to_vec::<f32>().map_err(text)?, b.to_vec::<f32>().map_err(text)?);
        let size = a.iter().fold(0f32, |m, x| m.max(x.abs()));
        let miss = a.iter().zip(&b).fold(0f32, |m, (a, b)| m.max((a - b).abs()));
        if miss.is_finite() && miss <= 0.05 * size + 1e-6 { Ok(()) } else { Err(format!("{what}: off by {miss} of {size}")) }
    };
    if PRODUCTS.contains(&case.name) == (bits(&full.output) == bits(&narrow.output)) {
        return Err(if PRODUCTS.contains(&case.name) { "nothing was rounded" } else { "something was rounded that is no product" }.into());
    }
    near("output", &full.output, &narrow.output)?;
    if let (Some(a), Some(b)) = (&full.by_input, &narrow.by_input) {
        near("gradient by the input", a, b)?;
    }
    let mut verdict = Ok(());
    params(&layer, |path, param| {
        if let (Ok(()), Some(gradient)) = (&verdict, full.gradients.get(param.id)) {
            verdict = narrow.gradients.get(param.id).ok_or(format!("{path}: no gradient")).and_then(|narrow| near(path, gradient, narrow));
        }
    });
    verdict
}

/// Behind a trainable layer, a frozen one lets the gradient through, gets none, and keeps its bits through a step.
fn freezing(case: &Case) -> Verdict {
    let mut layer = filled(case);
    if count(&layer).all > 0 {
        freeze(&mut layer, "*").map_err(text)?;
    }
    let before = state_dict(&layer).map_err(text)?;
    if !case.input.dtype().is_float() {
        let tape = Tape::training(&mut Rng::seeded(0));
        let y = layer.forward(&tape.input(&case.input)).map_err(text)?;
        return if y.needs_gradient() { Err("needs a gradient".into()) } else { Ok(()) };
    }
    let width = *case.input.dims().last().ok_or("an input without dimensions")?;
    let mut first = Linear::new(width, width, &mut Rng::seeded(1)).map_err(text)?;
    let tape = Tape::training(&mut Rng::seeded(0));
    let y = layer.forward(&first.forward(&tape.input(&case.input)).map_err(text)?).map_err(text)?;
    if !y.needs_gradient() {
        return Ok(());
    }
    let gradients = y.square().and_then(|y| y.mean()).and_then(|loss| loss.backward()).map_err(text)?;
    let mut verdict = Ok(());
    params(&layer, |path, param| {
        if gradients.get(param.id).is_some() {
            verdict = Err(format!("{path} is frozen and got a gradient"));
        }
    });
    verdict?;
    let start = first.weight.value.clone();
    Adam::new(0.1).step(&mut first, &gradients).map_err(text)?;
    if bits(&start) == bits(&first.weight.value)
        && bits(gradients.get(first.weight.id).ok_or("no gradient before the frozen layer")?).iter().any(|b| *b << 1 != 0)
    {
        return Err("the layer before did not move".into());
    }
    let after = state_dict(&layer).map_err(text)?;
    before.iter().try_for_each(|(path, array)| same(path, array, &after[path]))
}

fn doubled(case: &Case) -> Result<(BoxedLayer, Tensor), String> {
    let mut layer = filled(case);
    to_dtype(&mut layer, DType::F64).map_err(text)?;
    Ok((layer, case.input.cast(DType::F64).map_err(text)?))
}

/// The gradient of the gradient by the input, against differences.
fn second_order(case: &Case) -> Verdict {
    if !case.input.dtype().is_float() {
        return Err("the input is integer; by the weight the layer is linear".into());
    }
    let (layer, x) = doubled(case)?;
    [false, true].into_iter().try_for_each(|training| {
        let check = GradCheck { training, ..GradCheck::default() };
        check.second(std::slice::from_ref(&x), |x| layer.forward(&x[0])).map_err(|e| format!("training {training}: {e}"))
    })
}

/// Four steps, and two, saved, loaded into a fresh layer and optimizer, and two: the same bits.
fn resume(case: &Case) -> Verdict {
    let train = |layer: &mut BoxedLayer, adam: &mut Adam, steps: std::ops::Range<u64>| -> Verdict {
        for step in steps {
            let tape = Tape::training(&mut Rng::seeded(step));
            let x = if case.input.dtype().is_float() { tape.watch(&case.input) } else { tape.input(&case.input) };
            let y = layer.forward(&x).map_err(text)?;
            if !y.needs_gradient() {
                return Ok(());
            }
            adam.step(layer, &y.square().and_then(|y| y.mean()).and_then(|loss| loss.backward()).map_err(text)?).map_err(text)?;
        }
        Ok(())
    };
    let (mut whole, mut adam) = (filled(case), Adam::new(0.01));
    train(&mut whole, &mut adam, 0..4)?;
    let (mut half, mut adam) = (filled(case), Adam::new(0.01));
    train(&mut half, &mut adam, 0..2)?;
    let (saved, arrays) = (state_dict(&half).map_err(text)?, adam.state(&half).to_arrays().map_err(text)?);
    let (mut fresh, mut adam) = (case.layer.clone(), Adam::new(0.01));
    assert!(load_state_dict(&mut fresh, &saved).map_err(text)?.is_complete());
    adam.load_state(&fresh, &State::from_arrays(&arrays).map_err(text)?).map_err(text)?;
    train(&mut fresh, &mut adam, 2..4)?;
    let (whole, fresh) = (state_dict(&whole).map_err(text)?, state_dict(&fresh).map_err(text)?);
    whole.iter().try_for_each(|(path, array)| same(path, array, &fresh[path]))
}

#[test]
fn every_layer_in_every_combination() {
    let (mut passed, mut wrong) = (0, vec![]);
    let mut used = vec![false; EXCUSED.len()];
    let mut rows: Vec<(String, String)> = vec![];
    for case in all_cases() {
        let mut row = String::new();
        for (column, check) in COLUMNS {
            let excuse = EXCUSED.iter().position(|(layer, c, _)| *layer == case.name && *c == column);
            row += match (check(&case), excuse) {
                (Ok(()), _) => {
                    passed += 1;
                    " passes |"
                }
                (Err(_), Some(excuse)) => {
                    used[excuse] = true;
                    " cannot be |"
                }
                (Err(why), None) => {
                    wrong.push(format!("{} × {column}: {why}", case.name));
                    " FAILS |"
                }
            };
        }
        rows.push((case.name.to_string(), row));
    }
    println!("| layer | {} |", COLUMNS.map(|(name, _)| name).join(" | "));
    rows.dedup();
    rows.iter().for_each(|(name, row)| println!("| {name} |{row}"));
    EXCUSED.iter().for_each(|(layer, column, reason)| println!("{layer} × {column}: {reason}"));
    println!("combinations: {passed} pass, {} fail", wrong.len());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(used.iter().all(|u| *u), "an excuse that no layer needs");
    assert!(passed > 600, "{passed}");
}
