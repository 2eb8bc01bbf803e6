//! Prompts on a small encoder that has a place for one.

use chainrule_autograd::{Array, Attention, DType, Rng, Tape, Tensor};
use chainrule_finetune::{Adapted, Lora, Method, PTuning, PrefixTuning, PromptStart, PromptTuning, Result, prompt_embeddings};
use chainrule_nn::{Embedding, Layer, LayerNorm, Linear, Module, PromptSite, PromptSlot, Virtual, params, params_mut, state_dict};

const D: usize = 8;
const HEADS: usize = 2;

#[derive(Module, Clone)]
struct Attending {
    query: Linear,
    key: Linear,
    value: Linear,
    norm: LayerNorm,
}

/// `[N, T]` tokens to `[N, 3]`: what the places of the tokens come to, virtual ones included.
#[derive(Module, Clone)]
struct Encoder {
    #[module(flatten)]
    prompt: PromptSlot,
    words: Embedding,
    layer: Vec<Attending>,
    classifier: Linear,
}

fn encoder() -> Encoder {
    let rng = &mut Rng::seeded(1);
    let linear = |rng: &mut Rng| Linear::new(D, D, rng).unwrap();
    let layer = (0..2).map(|_| Attending { query: linear(rng), key: linear(rng), value: linear(rng), norm: LayerNorm::new(&[D]).unwrap() }).collect();
    let prompt = PromptSlot::new(PromptSite { layers: 2, heads: HEADS, features: D });
    Encoder { prompt, words: Embedding::new(11, D, rng).unwrap(), layer, classifier: Linear::new(D, 3, rng).unwrap() }
}

impl Layer for Encoder {
    fn forward(&self, tokens: &Tensor) -> chainrule_autograd::Result<Tensor> {
        let mut x = self.words.forward(tokens)?;
        let n = x.dims()[0];
        let batched = |x: &Tensor| x.broadcast_to(&[n, x.dims()[0], D]);
        let mut states = Vec::new();
        match self.prompt.virtual_tokens(tokens)? {
            Some(Virtual::Tokens(prompt)) => x = Tensor::concatenate(&[&batched(&prompt)?, &x], 1)?,
            Some(Virtual::States(of_layers)) => states = of_layers,
            None => {}
        }
        for (i, layer) in self.layer.iter().enumerate() {
            let [query, mut key, mut value] = [layer.query.forward(&x)?, layer.key.forward(&x)?, layer.value.forward(&x)?];
            if let Some([keys, values]) = states.get(i) {
                key = Tensor::concatenate(&[&batched(keys)?, &key], 1)?;
                value = Tensor::concatenate(&[&batched(values)?, &value], 1)?;
            }
            let by_head = |x: &Tensor| x.reshape(&[n, x.dims()[1], HEADS, D / HEADS])?.transpose(1, 2);
            let gathered = by_head(&query)?.scaled_dot_product_attention(&by_head(&key)?, &by_head(&value)?, &Attention::default())?;
            x = layer.norm.forward(&x.add(&gathered.transpose(1, 2)?.reshape(x.dims())?)?)?;
        }
        self.classifier.forward(&x.mean_over(&[1], false)?)
    }
}

fn tokens() -> Tensor {
    Tensor::from_slice(&[1i64, 5, 2, 9, 0, 3], &[2, 3]).unwrap()
}

fn numbers(x: &Tensor) -> Vec<f32> {
    x.to_vec().unwrap()
}

fn held(x: &Array) -> Vec<f32> {
    x.to_vec().unwrap()
}

type Add = Box<dyn Fn(&mut Adapted<Encoder>, &mut Rng) -> Result<()>>;

fn methods() -> Vec<Add> {
    fn boxed(method: impl Method + Clone + 'static) -> Add {
        Box::new(move |model, rng| model.add("prompt", method.clone(), rng))
    }
    vec![
        boxed(PromptTuning::tokens(4)),
        boxed(PTuning::tokens(4).hidden(6)),
        boxed(PTuning::tokens(4).lstm(2)),
        boxed(PrefixTuning::tokens(4)),
        boxed(PrefixTuning::tokens(4).projection(6)),
    ]
}

/// The prompt that stands in the model.
fn embeddings(model: &Adapted<Encoder>) -> Array {
    prompt_embeddings(&**model.prompt.prompt.as_ref().unwrap()).unwrap()
}

#[test]
fn prompts_learn_alone_and_go_without_a_trace() -> Result<()> {
    let (base, x) = (encoder(), tokens());
    let target = Tensor::from_slice(&[0i64, 2], &[2])?;
    for add in methods() {
        let rng = &mut Rng::seeded(7);
        let mut model = Adapted::new(base.clone());
        add(&mut model, rng)?;
        let loss = |model: &Adapted<Encoder>, x: &Tensor| model.forward(x)?.cross_entropy(&target);
        let before = loss(&model, &x)?.item()?;
        assert_ne!(numbers(&model.forward(&x)?), numbers(&base.forward(&x)?));
        let mut trained = 0;
        for _ in 0..20 {
            let tape = Tape::training(rng);
            let gradients = loss(&model, &tape.input(&x))?.backward()?;
            trained = gradients.len();
            params_mut(&mut model, |_, param| {
                if let Some(gradient) = gradients.get(param.id) {
                    param.value = Tensor::from(&param.value).sub(&Tensor::from(gradient).mul_scalar(0.3).unwrap()).unwrap().into_array();
                }
            });
        }
        let after = loss(&model, &x)?.item()?;
        assert!(after < before - 0.05, "{before} {after}");
        let mut own = 0;
        params(&model, |path, _| own += (path.starts_with("prompt_e")) as usize);
        assert_eq!(trained, own);

        // What a file holds makes the same outputs.
        let file = embeddings(&model);
        let tuned = numbers(&model.forward(&x)?);
        let mut read = Adapted::new(base.clone());
        match file.dims()[1] {
            D => read.add("plain", PromptTuning::tokens(4).start(PromptStart::Rows(file)), rng)?,
            _ => read.add("plain", PrefixTuning::tokens(4).start(PromptStart::Rows(file)), rng)?,
        }
        assert_eq!(numbers(&read.forward(&x)?), tuned);
        assert!(state_dict(&read)?.contains_key("prompt_embeddings"));

        // Switched with another adapter, and off.
        model.add("low rank", Lora::rank(2).targets(["query"]), rng)?;
        assert_eq!(numbers(&model.forward(&x)?), numbers(&base.forward(&x)?));
        model.activate("prompt")?;
        assert_eq!(numbers(&model.forward(&x)?), tuned);
        assert!(model.activate_mixed(&[("prompt", 0.5), ("low rank", 0.5)]).unwrap_err().to_string().contains("prompts cannot be mixed"));
        assert_eq!(model.active(), ["prompt"]);
        let after = state_dict(&model.into_base())?;
        for (path, value) in state_dict(&base)? {
            assert_eq!(held(&after[&path]), held(&value), "{path}");
        }
        assert_eq!(after.len(), state_dict(&base)?.len());
    }
    Ok(())
}

#[test]
fn keys_stand_before_values_layer_by_layer() -> Result<()> {
    let rows = Array::from_index(&[3, 2 * 2 * D], DType::F32, |i| i as f64).unwrap();
    let site = PromptSite { layers: 2, heads: HEADS, features: D };
    let prompt = PrefixTuning::tokens(3).start(PromptStart::Rows(rows)).prompt(site, &mut Rng::seeded(0))?.unwrap();
    let Virtual::States(states) = prompt.virtual_tokens(&tokens())? else { panic!("expected keys and values") };
    assert_eq!(states.len(), 2);
    for (layer, [keys, values]) in states.iter().enumerate() {
        for (which, matrix) in [keys, values].into_iter().enumerate() {
            let expected = (0..3).flat_map(|p| (0..D).map(move |d| (p * 4 * D + (2 * layer + which) * D + d) as f32)).collect::<Vec<_>>();
            assert_eq!(numbers(matrix), expected);
        }
    }
    Ok(())
}

#[test]
fn prompts_begin_as_they_are_told() -> Result<()> {
    let (site, words) = (PromptSite { layers: 2, heads: HEADS, features: D }, encoder().words.weight.value);
    let rng = &mut Rng::seeded(3);
    let table = held(&words);
    let row = |i: usize| &table[i * D..(i + 1) * D];
    let text = Tensor::from(&words).index_select(0, &Tensor::from_slice(&[4i64, 2], &[2])?)?.into_array();
    let begun = |start: PromptStart, rng: &mut Rng| -> Result<Vec<f32>> {
        Ok(held(&prompt_embeddings(&PromptTuning::tokens(3).start(start).prompt(site, rng)?.unwrap())?))
    };
    assert_eq!(begun(PromptStart::Rows(text), rng)?, [row(4), row(2), row(4)].concat());
    assert_eq!(begun(PromptStart::Rows(words.clone()), rng)?, [row(0), row(1), row(2)].concat());
    assert_eq!(begun(PromptStart::Zeros, rng)?, [0.0; 3 * D]);
    let drawn = begun(PromptStart::Drawn(words), rng)?;
    assert!(drawn.chunks(D).all(|own| table.chunks(D).any(|row| row == own)));
    Ok(())
}

#[test]
fn prompts_that_cannot_be_are_refused() {
    let rng = &mut Rng::seeded(0);
    let narrow = PromptStart::Rows(Array::zeros(&[2, D - 1], DType::F32).unwrap());
    let mut model = Adapted::new(encoder());
    let refused = |error: Result<()>, expected: &str| {
        let error = error.unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    };
    refused(model.add("a", PromptTuning::tokens(0), rng), "prompt_tuning: got 0 virtual tokens");
    refused(model.add("a", PromptTuning::tokens(2).start(narrow), rng), "expected floats [rows, 8]");
    refused(model.add("a", PTuning::tokens(2).hidden(0), rng), "p_tuning: got a network of 0 units");
    refused(model.add("a", PTuning::tokens(2).lstm(0), rng), "got 0 layers");
    refused(model.add("a", PTuning::tokens(2).saving(["clasifier"]), rng), "near it are \"classifier\"");
    refused(model.add("a", PrefixTuning::tokens(2).projection(0), rng), "prefix_tuning: got a projection through 0 units");
    assert!(model.names().is_empty() && model.active().is_empty());

    let mut without_place = Adapted::new(Linear::new(2, 2, rng).unwrap());
    refused(without_place.add("a", PromptTuning::tokens(2), rng), "prompt_tuning finds nothing to adapt in this model");
    let prefix = PrefixTuning::tokens(2).prompt(PromptSite { layers: 0, heads: 1, features: 2 }, rng);
    assert!(prefix.map(|_| ()).unwrap_err().to_string().contains("no layer of this model attends"));
}
