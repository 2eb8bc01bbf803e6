//! All methods above a quantised base: they begin as the identity, learn, leave the bits alone, and merge into dense weights.

use chainrule_autograd::{Rng, Tape, Tensor};
use chainrule_finetune::{Adapted, BitFit, Bottleneck, Ia3, Lora, LoraBias, Quantisation, Result, Vera, quantise};
use chainrule_nn::{Embedding, Layer, Linear, Module, params_mut, state_dict};
use std::collections::BTreeMap;

/// `[N, T]` words to `[N, 2]`.
#[derive(Module, Clone)]
struct Reader {
    words: Embedding,
    up: Linear,
    down: Linear,
    head: Linear,
}

impl Layer for Reader {
    fn forward(&self, words: &Tensor) -> chainrule_autograd::Result<Tensor> {
        let x = self.words.forward(words)?;
        let x = x.add(&self.down.forward(&self.up.forward(&x)?.gelu()?)?)?;
        self.head.forward(&x.mean_over(&[1], false)?)
    }
}

fn base() -> Reader {
    let rng = &mut Rng::seeded(1);
    let [up, down, head] = [(16, 40), (40, 16), (16, 2)].map(|(inputs, outputs)| Linear::new(inputs, outputs, rng).unwrap());
    let mut base = Reader { words: Embedding::new(12, 16, rng).unwrap(), up, down, head };
    quantise(&mut base, Quantisation::nf4(), ["words", "up", "down"]).unwrap();
    base
}

fn contents(model: &dyn Module) -> BTreeMap<String, Vec<f64>> {
    let doubles = |array| Tensor::from(array).cast(chainrule_autograd::DType::F64).unwrap().to_vec().unwrap();
    state_dict(model).unwrap().into_iter().map(|(path, array)| (path, doubles(array))).collect()
}

type Add = fn(&mut Adapted<Reader>, &mut Rng) -> Result<()>;

#[test]
fn every_method_works_above_a_quantised_base() -> Result<()> {
    let methods: [(&str, bool, Add); 8] = [
        ("lora", true, |m, rng| m.add("a", Lora::rank(2).targets(["words", "up", "down"]).saving(["head"]), rng)),
        ("lora with biases", true, |m, rng| m.add("a", Lora::rank(2).targets(["up", "down"]).bias(LoraBias::All), rng)),
        ("dora", true, |m, rng| m.add("a", Lora::rank(2).dora().targets(["words", "up", "down"]), rng)),
        ("ia3", true, |m, rng| m.add("a", Ia3::new(["up", "down"], ["down"]), rng)),
        ("vera", true, |m, rng| m.add("a", Vera::rank(4).targets(["up"]), rng)),
        ("bottleneck", false, |m, rng| m.add("a", Bottleneck::houlsby().targets(["down"]).width(3), rng)),
        ("parallel bottleneck", false, |m, rng| m.add("a", Bottleneck::parallel().targets(["down"]).width(3), rng)),
        ("bitfit", true, |m, rng| m.add("a", BitFit::new(), rng)),
    ];
    let words = Tensor::from_slice(&[1i64, 5, 11, 0, 3, 3, 7, 2], &[4, 2])?;
    let labels = Tensor::from_slice(&[0i64, 1, 1, 0], &[4])?;
    for (name, merges, add) in methods {
        let (before, rng) = (base(), &mut Rng::seeded(2));
        let mut model = Adapted::new(before.clone());
        add(&mut model, rng)?;
        let numbers = |model: &Adapted<Reader>| model.forward(&words).unwrap().to_vec::<f32>().unwrap();
        let start = before.forward(&words)?.to_vec::<f32>()?;
        assert!(numbers(&model).iter().zip(&start).all(|(a, b)| (a - b).abs() < 1e-6), "{name}");
        let mut losses = Vec::new();
        for _ in 0..20 {
            let tape = Tape::training(rng);
            let loss = model.forward(&tape.input(&words))?.cross_entropy(&labels)?;
            losses.push(loss.item()?);
            let gradients = loss.backward()?;
            params_mut(&mut model, |_, param| {
                if let Some(gradient) = gradients.get(param.id) {
                    param.value = Tensor::from(&param.value).sub(&Tensor::from(gradient).mul_scalar(0.2).unwrap()).unwrap().into_array();
                }
            });
        }
        assert!(losses[19] < losses[0] - 1e-3, "{name}: {losses:?}");
        let (all, own) = (contents(&before), contents(&model));
        assert!(all.iter().filter(|(path, _)| path.contains(".weight.")).all(|(path, numbers)| own[path] == *numbers), "{name}");

        let (adapted, state) = (numbers(&model), contents(&model));
        match model.merge(|model| model.forward(&words)) {
            Ok(difference) => assert!(merges && difference < 1e-5, "{name}"),
            Err(error) => assert!(!merges && error.to_string().contains("cannot be merged"), "{name}: {error}"),
        }
        assert_eq!(model.is_merged(), merges);
        if ["lora", "dora", "ia3", "vera"].contains(&name) {
            // A merged model's adapter is saved as it was, and loads above another base of the same bits.
            let folder = std::env::temp_dir().join(format!("chainrule-quantised-{name}-{}", std::process::id()));
            model.save("a", &folder)?;
            let mut other = Adapted::new(before.clone());
            assert!(other.load("b", &folder)?.numbers.is_complete());
            assert_eq!(numbers(&other), adapted, "{name}");
            std::fs::remove_dir_all(&folder).unwrap();
        }
        model.unmerge();
        assert!(numbers(&model) == adapted && contents(&model) == state, "{name}");
        assert_eq!(contents(&model.into_base()), all, "{name}");
    }
    Ok(())
}
