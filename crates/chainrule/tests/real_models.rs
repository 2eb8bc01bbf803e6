//! Published models against what PyTorch computed with them. Reads the folder that `CHAINRULE_DATA` names, else `../shared/data`; without it the tests say that they are skipped.
#![cfg(feature = "models")]

use chainrule::models::{BertConfig, BertForSequenceClassification, Pooling, SentenceEncoder, Tokens};
use chainrule::nn::{load_state_dict, safetensors, state_dict};
use chainrule::{DType, Result, Rng, Tensor};
use serde_json::Value;
use std::io::Write;
use std::path::{Path, PathBuf};

/// A file or folder of the data; `None` is said aloud, past the test's capture of what is printed.
fn data(name: &str) -> Option<PathBuf> {
    let default = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data");
    let file = std::env::var_os("CHAINRULE_DATA").map_or_else(default, PathBuf::from).join(name);
    if !file.exists() {
        let _ = writeln!(std::io::stderr(), "SKIPPED: {} is not there; name the folder of data by CHAINRULE_DATA", file.display());
        return None;
    }
    Some(file)
}

fn cases() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/cases")
}

fn golden(file: &str) -> Value {
    serde_json::from_str(&std::fs::read_to_string(cases().join(file)).expect("golden cases")).expect("JSON")
}

/// A list of lists, row by row.
fn numbers(value: &Value) -> Vec<f64> {
    match value {
        Value::Array(list) => list.iter().flat_map(numbers).collect(),
        number => vec![number.as_f64().expect("a number")],
    }
}

fn integers(value: &Value) -> (Vec<i64>, [usize; 2]) {
    let all: Vec<i64> = numbers(value).into_iter().map(|x| x as i64).collect();
    let rows = value.as_array().expect("rows").len();
    let dims = [rows, all.len() / rows];
    (all, dims)
}

fn near(what: &str, got: &Tensor, expected: &[f64], tolerance: f64) {
    let got = got.cast(DType::F64).and_then(|x| x.to_vec::<f64>()).expect("numbers");
    assert_eq!(got.len(), expected.len(), "{what}");
    let error = got.iter().zip(expected).fold(0f64, |error, (g, e)| error.max((g - e).abs()));
    println!("{what}: off by {error:.1e}");
    assert!(error <= tolerance, "{what} is off by {error:.2e}");
}

#[test]
fn minilm_embeds_sentences_as_pytorch_does() -> Result<()> {
    let Some(minilm) = data("minilm") else { return Ok(()) };
    let (config, file) = (minilm.join("config.json"), minilm.join("model_f16.safetensors"));
    let golden = &golden("real_models.json")["minilm_f16file_upcast"];
    let (ids, dims) = integers(&golden["input_ids"]);
    let mask: Vec<u8> = ids.iter().map(|&id| (id != 0) as u8).collect();
    let tokens = Tokens::new(Tensor::from_slice(&ids, &dims)?).mask(Tensor::from_slice(&mask, &dims)?);

    let encoder = SentenceEncoder::open(&BertConfig::from_file(config)?, file)?;
    let vectors = encoder.embed(&tokens)?;
    near("embeddings", &vectors.narrow(1, 0, 8)?, &numbers(&golden["emb_first8"]), 1e-4);
    near("cosines", &vectors.matmul(&vectors.transpose(0, 1)?)?, &numbers(&golden["cos"]), 1e-4);
    Ok(())
}

#[cfg(feature = "tokenizers")]
#[test]
fn minilm_cuts_texts_as_its_own_tokenizer_does() -> Result<()> {
    use chainrule::models::Tokenizer;
    let Some(file) = data("minilm/tokenizer.json") else { return Ok(()) };
    let golden = &golden("real_models.json")["minilm_f16file_upcast"];
    let sentences: Vec<&str> = golden["sentences"].as_array().expect("sentences").iter().map(|s| s.as_str().expect("a sentence")).collect();
    let tokenizer = Tokenizer::from_file(&file)?;
    let (ids, dims) = integers(&golden["input_ids"]);
    let tokens = tokenizer.batch(&sentences)?;
    assert_eq!((tokens.ids.dims(), tokens.ids.to_vec::<i64>()?), (&dims[..], ids));

    assert_eq!(tokenizer.clone().truncated(5)?.ids(sentences[1])?, [101, 1037, 2158, 2003, 102]);
    assert!(tokenizer.clone().truncated(2).is_err() && tokenizer.clone().truncated(3)?.pairs(&[["food", "a meal"]]).is_err());
    assert_eq!(tokenizer.clone().truncated(4)?.pairs(&[["food", "a meal"]])?.ids.dims(), [1, 4]);
    let pair = tokenizer.pairs(&[["food", "a meal"]])?;
    assert_eq!(pair.types.expect("types").to_vec::<i64>()?, [0, 0, 0, 1, 1, 1]);
    let (ids, words) = tokenizer.words(&["someone", "eats"])?;
    assert_eq!((ids.len(), words.first(), words.last()), (4, Some(&None), Some(&None)));
    assert!(Tokenizer::from_file(file.with_file_name("config.json")).is_err());
    Ok(())
}

#[test]
fn minilm_classifies_as_transformers_does() -> Result<()> {
    let Some(minilm) = data("minilm") else { return Ok(()) };
    let (config, file) = (minilm.join("config.json"), minilm.join("model_f16.safetensors"));
    let golden = golden("peft_minilm/golden.json");
    let [(ids, dims), (mask, _)] = ["input_ids", "attention_mask"].map(|key| integers(&golden[key]));
    let mut model = BertForSequenceClassification::open(&BertConfig::from_file(config)?, file, 2, Pooling::First, &mut Rng::seeded(0))?;
    let mut state = state_dict(&model.classifier)?;
    for (name, array) in safetensors::read(cases().join("peft_minilm/base_classifier_seed7.safetensors"))? {
        state.insert(name.trim_start_matches("classifier.").to_string(), array);
    }
    let _ = load_state_dict(&mut model.classifier, &state)?;
    let logits = model.logits(&Tokens::new(Tensor::from_slice(&ids, &dims)?).mask(Tensor::from_slice(&mask, &dims)?))?;
    near("logits", &logits, &numbers(&golden["base_logits"]), 1e-4);
    Ok(())
}

#[test]
fn mobilenet_sees_what_pytorch_sees() -> Result<()> {
    use chainrule::models::MobileNetV2;
    use chainrule::nn::{Layer, count};
    let Some(file) = data("mobilenet_v2/mobilenet_v2-b0353104.pth") else { return Ok(()) };
    let golden = &golden("real_models.json")["mobilenet_v2"];
    let mut model = MobileNetV2::new(1000, &mut Rng::seeded(0))?;
    let report = model.load(file)?;
    assert!(report.is_complete() && count(&model).all == 3_504_872, "{report}");

    let numbers_of = (0..3 * 224 * 224).map(|i| (0.01 * i as f32).sin()).collect::<Vec<_>>();
    let image = Tensor::from_slice(&numbers_of, &[1, 3, 224, 224])?;
    let pooled = model.pooled(&image)?;
    near("features", &pooled.narrow(1, 0, 5)?, &numbers(&golden["features_gap_first5"]), 1e-3);
    let logits = model.forward(&image)?;
    near("logits", &logits.narrow(1, 0, 10)?, &numbers(&golden["logits_first10"]), 1e-3);
    assert_eq!(logits.argmax(-1, false)?.to_vec::<i64>()?, [golden["argmax"].as_i64().expect("a class")]);
    near("sum of logits", &logits.sum()?.reshape(&[1])?, &numbers(&golden["logits_sum"]), 1e-2);
    Ok(())
}
