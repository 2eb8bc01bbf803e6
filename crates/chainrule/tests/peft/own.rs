//! Adapters that are made and trained here: saved, loaded again, and left for Python's `peft` to read.

use super::{out, tiny};
use chainrule::finetune::{
    Adapted, BitFit, Bottleneck, Ia3, LayerNormTuning, Lora, LoraBias, LoraInit, Method, PTuning, PrefixTuning, PromptTuning, Targets, Vera,
};
use chainrule::models::{BertForSequenceClassification, Tokens};
use chainrule::nn::safetensors;
use chainrule::optim::AdamW;
use chainrule::{Array, Rng, Tape, Tensor};
use std::collections::BTreeMap;

type Model = Adapted<BertForSequenceClassification>;
type Add = Box<dyn Fn(&mut Model, &mut Rng)>;

fn with(method: impl Method + Clone + 'static) -> Add {
    Box::new(move |model, rng| model.add("own", method.clone(), rng).expect("an adapter"))
}

/// What PEFT knows, and what it does not.
fn table() -> Vec<(&'static str, bool, Add)> {
    let head = ["classifier"];
    let lora = || Lora::rank(4).alpha(6.0).targets(["query", "value"]).saving(head);
    let patterns = lora().rank_of("value", 2).rank_of("*.layer.1.*query", 3).alpha_of("layer.0.attention.self.query", 9.0);
    let encoder = Targets::from(["dense", "key"]).in_layers([1]);
    vec![
        ("lora_patterns", true, with(patterns)),
        ("lora_glob", true, with(lora().targets("*.{query,output.dense}").excluding(["layer.0.output.dense"]))),
        ("lora_expression", true, with(lora().targets(r"regex:.*layer\.\d\..*(key|dense)").init(LoraInit::Gaussian))),
        ("lora_in_layers", true, with(lora().targets(encoder).dropout(0.1))),
        ("lora_all_linear", true, with(lora().targets("all-linear"))),
        ("lora_head", true, with(Lora::rank(2).targets(["query", "classifier"]))),
        ("rslora", true, with(lora().rank_stabilized().rank_of("value", 9))),
        ("dora", true, with(lora().targets("all-linear").dora())),
        ("rslora_dora", true, with(lora().rank_stabilized().dora())),
        ("embeddings", true, with(lora().targets(["word_embeddings", "position_embeddings", "key"]))),
        ("dora_embeddings", true, with(lora().targets(["word_embeddings", "key"]).dora())),
        ("bias_all", true, with(lora().bias(LoraBias::All))),
        ("bias_lora_only", true, with(lora().bias(LoraBias::LoraOnly))),
        ("bias_of_b", true, with(lora().targets(["query", "dense"]).bias_of_b())),
        ("two_modules", true, with(lora().saving(["pooler", "classifier"]))),
        ("ia3", true, with(Ia3::new(["key", "value", "output.dense"], ["output.dense"]).saving(head))),
        ("ia3_part", true, with(Ia3::new("*.{key,dense}", ["layer.1.output.dense", "intermediate.dense"]).saving(head))),
        ("ia3_outputs", true, with(Ia3::outputs(["query"]).saving(head))),
        ("layer_norm", true, with(LayerNormTuning::new().saving(head))),
        ("layer_norm_part", true, with(LayerNormTuning::new().targets(["attention.output.LayerNorm"]).saving(head))),
        ("vera", true, with(Vera::rank(16).targets(["query", "intermediate.dense", "output.dense"]).seed(3).saving(head))),
        ("prompt", true, with(PromptTuning::tokens(3).saving(head))),
        ("prefix", true, with(PrefixTuning::tokens(3).saving(head))),
        ("prefix_projection", true, with(PrefixTuning::tokens(3).projection(12).saving(head))),
        ("p_tuning", true, with(PTuning::tokens(3).hidden(20).saving(head))),
        ("p_tuning_lstm", true, with(PTuning::tokens(3).hidden(10).lstm(2).saving(head))),
        ("bitfit", false, with(BitFit::new().saving(head))),
        ("bitfit_part", false, with(BitFit::new().targets(["query", "LayerNorm"]).saving(head))),
        ("bottleneck", false, with(Bottleneck::houlsby().width(4).norm().saving(head))),
        ("bottleneck_beside", false, with(Bottleneck::parallel().reduction(8).saving(head))),
    ]
}

fn trained(add: &Add, tokens: &Tokens) -> chainrule::Result<Model> {
    let rng = &mut Rng::seeded(7);
    let mut model = Adapted::new(tiny());
    add(&mut model, rng);
    let mut optimizer = AdamW::new(3e-2);
    for _ in 0..5 {
        let tape = Tape::training(rng);
        let loss = model.logits(&tokens.on(&tape))?.cross_entropy(&Tensor::from_slice(&[2i64, 0], &[2])?)?;
        optimizer.step(&mut model, &loss.backward()?)?;
    }
    Ok(model)
}

#[test]
fn trained_adapters_are_saved_and_loaded() -> chainrule::Result<()> {
    let input = Tensor::from_slice(&[5i64, 17, 80, 3, 99, 42, 7, 61, 30, 2, 11, 54, 76, 8], &[2, 7])?;
    let tokens = Tokens::new(&input);
    let mut logits: BTreeMap<String, Array> = [("input".to_string(), input.array().clone())].into();
    let (python, own) = (out("own"), std::env::temp_dir().join(format!("chainrule-peft-own-{}", std::process::id())));
    for (name, known, add) in table() {
        let mut model = trained(&add, &tokens)?;
        // For that task PEFT saves the head whole, which cannot be adapted then.
        if name != "lora_head" {
            model.annotate("own", "task_type", "SEQ_CLS").expect("an adapter");
        }
        let folder = python.as_ref().filter(|_| known).unwrap_or(&own).join(name);
        model.save("own", &folder).unwrap_or_else(|error| panic!("{name}: {error}"));

        let mut again = Adapted::new(tiny());
        let report = again.load("again", &folder).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(report.warnings.is_empty() && report.numbers.is_complete(), "{name}: {report}");
        assert!(!again.is_trained("again").expect("an adapter"));
        let (ours, base) = (model.logits(&tokens)?, tiny().logits(&tokens)?);
        assert_eq!(ours.to_vec::<f32>()?, again.logits(&tokens)?.to_vec::<f32>()?, "{name}");
        assert_ne!(ours.to_vec::<f32>()?, base.to_vec::<f32>()?, "{name} was not trained");
        if known {
            logits.insert(name.to_string(), ours.into_array());
        }
        println!("own/{name}: {} tensors", report.numbers.loaded.len());
    }
    if let Some(python) = python {
        safetensors::write(python.join("logits.safetensors"), &logits, &BTreeMap::new())?;
    }
    // It is not there if all went to Python's folder.
    let _ = std::fs::remove_dir_all(own);
    Ok(())
}
