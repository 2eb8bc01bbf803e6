//! BERT against PyTorch, and its ways with files.

mod formula;

use chainrule_autograd::{Rng, Tape, Tensor};
use chainrule_core::DType;
use chainrule_models::{BertConfig, BertForSequenceClassification, BertForTokenClassification, BertModel, Pooling, SentenceEncoder, Tokens};
use chainrule_nn::{Error, Layer, Module, Param, Prompt, StateDict, Virtual, count, params, safetensors, save, state_dict};
use std::path::PathBuf;

fn config() -> BertConfig {
    BertConfig { max_position_embeddings: 40, ..BertConfig::new(100, 32, 2, 4, 64) }
}

fn rng() -> Rng {
    Rng::seeded(3)
}

/// A folder of this test's own.
fn folder(name: &str) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("chainrule-bert-{name}-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    folder
}

#[test]
fn it_computes_what_transformers_computes() {
    let ids = formula::tokens(100, &[2, 9]);
    for (dtype, tolerance) in [(DType::F64, 1e-9), (DType::F32, 1e-4)] {
        let mut model = BertForSequenceClassification::new(&config(), 3, Pooling::First, &mut rng()).expect("a model");
        formula::replay("bert_classify", &mut model, &ids, dtype, tolerance, |model, ids| model.forward(ids));
        let mut model = BertForTokenClassification::new(&config(), 3, &mut rng()).expect("a model");
        formula::replay("bert_tokens", &mut model, &ids, dtype, tolerance, |model, ids| model.forward(ids));
    }
}

#[test]
fn padding_changes_nothing() -> chainrule_nn::Result<()> {
    let bert = BertModel::new(&config(), &mut rng())?;
    let alone = bert.encode(&Tokens::padded(&[[5, 6, 7]], 0)?)?.to_vec::<f32>()?;
    for mask in [DType::U8, DType::F32, DType::I64] {
        let mut tokens = Tokens::padded(&[vec![5, 6, 7], vec![8; 9]], 0)?;
        tokens.mask = tokens.mask.map(|m| m.cast(mask)).transpose()?;
        let padded = bert.encode(&tokens)?.narrow(0, 0, 1)?.narrow(1, 0, 3)?.to_vec::<f32>()?;
        assert!(alone.iter().zip(&padded).all(|(a, b)| (a - b).abs() < 1e-5));
    }
    let model = SentenceEncoder::around(bert);
    let vectors = model.embed(&Tokens::padded(&[vec![5, 6, 7], vec![8; 9]], 0)?)?.narrow(0, 0, 1)?.to_vec::<f32>()?;
    let alone = model.run(&Tensor::from_slice(&[5i64, 6, 7], &[1, 3])?)?.to_vec::<f32>()?;
    assert!(alone.iter().zip(&vectors).all(|(a, b)| (a - b).abs() < 1e-5));
    Ok(())
}

#[test]
fn types_and_positions_given_are_those_assumed() -> chainrule_nn::Result<()> {
    let bert = BertModel::new(&config(), &mut rng())?;
    let ids = Tensor::from_slice(&[5i64, 6, 7, 8, 9, 1], &[2, 3])?;
    let assumed = bert.encode(&Tokens::new(ids.clone()))?.to_vec::<f32>()?;
    let positions = Tensor::from_slice(&[0i64, 1, 2, 0, 1, 2], &[2, 3])?;
    let given = Tokens::new(ids).types(Tensor::zeros(&[2, 3], DType::I64)?).positions(positions);
    assert_eq!(bert.encode(&given)?.to_vec::<f32>()?, assumed);
    let other = Tokens { types: Some(Tensor::ones(&[2, 3], DType::I64)?), ..given };
    assert_ne!(bert.encode(&other)?.to_vec::<f32>()?, assumed);
    Ok(())
}

#[test]
fn paths_are_those_of_published_files() -> chainrule_nn::Result<()> {
    let mut paths = vec![];
    params(&BertForSequenceClassification::new(&config(), 2, Pooling::First, &mut rng())?, |path, _| paths.push(path.to_string()));
    for expected in [
        "bert.embeddings.word_embeddings.weight",
        "bert.embeddings.LayerNorm.bias",
        "bert.encoder.layer.0.attention.self.query.weight",
        "bert.encoder.layer.1.attention.output.LayerNorm.weight",
        "bert.encoder.layer.1.intermediate.dense.bias",
        "bert.encoder.layer.1.output.dense.weight",
        "bert.pooler.dense.weight",
        "classifier.bias",
    ] {
        assert!(paths.iter().any(|path| path == expected), "{expected} is not among {paths:?}");
    }
    Ok(())
}

#[test]
fn files_load_with_and_without_prefix_and_head() -> chainrule_nn::Result<()> {
    let folder = folder("files");
    let base = BertModel::new(&config(), &mut rng())?;
    let (plain, whole) = (folder.join("base.safetensors"), folder.join("whole.safetensors"));
    save(&base, &plain)?;
    let classifier = BertForSequenceClassification::around(base.clone(), &config(), 3, Pooling::First, &mut rng())?;
    save(&classifier, &whole)?;
    let ids = Tensor::from_slice(&[5i64, 6, 7], &[1, 3])?;
    let expected = base.forward(&ids)?.to_vec::<f32>()?;
    for file in [&plain, &whole] {
        assert_eq!(BertModel::open(&config(), file)?.forward(&ids)?.to_vec::<f32>()?, expected);
    }
    let again = BertForSequenceClassification::open(&config(), &whole, 3, Pooling::First, &mut rng())?;
    assert_eq!(again.forward(&ids)?.to_vec::<f32>()?, classifier.forward(&ids)?.to_vec::<f32>()?);

    // The head that a file has not stays, and is named.
    let mut other = BertForSequenceClassification::new(&config(), 5, Pooling::First, &mut Rng::seeded(9))?;
    let head = other.classifier.weight.value.clone();
    let report = other.load(&plain)?;
    assert!(other.classifier.weight.value.is_same(&head));
    assert_eq!(report.kept, ["classifier.bias", "classifier.weight"]);

    // Names of the oldest files, heads of pre-training, buffers of ids.
    let mut state: StateDict = state_dict(&base)?.into_iter().map(|(name, array)| (old(&name), array)).collect();
    state.insert("cls.predictions.bias".to_string(), Tensor::zeros(&[100], DType::F32)?.into_array());
    state.insert("bert.embeddings.position_ids".to_string(), Tensor::zeros(&[1, 40], DType::I64)?.into_array());
    safetensors::write(folder.join("old.safetensors"), &state, &Default::default())?;
    assert_eq!(BertModel::open(&config(), folder.join("old.safetensors"))?.forward(&ids)?.to_vec::<f32>()?, expected);

    // A file without pooler makes a model without.
    state.retain(|name, _| !name.contains("pooler"));
    safetensors::write(folder.join("old.safetensors"), &state, &Default::default())?;
    let without = BertModel::open(&config(), folder.join("old.safetensors"))?;
    assert!(without.pooler.is_none() && without.pooled(&without.forward(&ids)?).is_err());
    std::fs::remove_dir_all(folder).expect("removed");
    Ok(())
}

fn old(name: &str) -> String {
    format!("bert.{name}").replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta")
}

#[test]
fn what_does_not_fit_is_an_error_and_changes_nothing() -> chainrule_nn::Result<()> {
    let folder = folder("errors");
    let file = folder.join("model.safetensors");
    let base = BertModel::new(&config(), &mut rng())?;
    let mut state = state_dict(&base)?;
    if let Some(array) = state.remove("encoder.layer.1.attention.self.query.weight") {
        state.insert("encoder.layer.1.attention.self.qurey.weight".to_string(), array);
    }
    safetensors::write(&file, &state, &Default::default())?;
    let mut model = BertForSequenceClassification::new(&config(), 2, Pooling::Mean, &mut Rng::seeded(8))?;
    let before = model.bert.embeddings.word_embeddings.weight.value.clone();
    let error = model.load(&file).unwrap_err();
    let Error::Load(report) = &error else { panic!("{error}") };
    assert_eq!(report.missing[0].nearest.as_deref(), Some("bert.encoder.layer.1.attention.self.qurey.weight"));
    assert!(model.bert.embeddings.word_embeddings.weight.value.is_same(&before));

    // Half a pooler or head is none that is missing.
    let whole = state_dict(&BertForSequenceClassification::new(&config(), 2, Pooling::First, &mut rng())?)?;
    for half in ["bert.pooler.dense.weight", "classifier.weight"] {
        let mut state = whole.clone();
        state.remove(half);
        safetensors::write(&file, &state, &Default::default())?;
        let opened = BertForSequenceClassification::open(&config(), &file, 2, Pooling::First, &mut rng());
        let Some(Error::Load(report)) = opened.err() else { panic!("{half} was made up") };
        assert_eq!(report.missing.iter().map(|missing| missing.name.as_str()).collect::<Vec<_>>(), [half]);
    }

    // Sizes that a file cannot fill are no reason to ask for the memory.
    let thin = BertConfig { num_hidden_layers: 1000, ..BertConfig::new(10, 1, 2, 1, 1) };
    for vast in [BertConfig { vocab_size: 1 << 50, ..config() }, thin] {
        assert!(BertModel::open(&vast, &file).err().is_some_and(|e| e.to_string().contains("the configuration describes many more")));
    }

    assert!(base.encode(&Tokens::padded(&[[5; 41]], 0)?).is_err());
    assert!(base.encode(&Tokens::padded(&[[100; 3]], 0)?).is_err());
    assert!(base.encode(&Tokens::padded(&[[5; 3]], 0)?.mask(Tensor::ones(&[1, 2], DType::U8)?)).is_err());
    assert!(base.run(&Tensor::zeros(&[3], DType::I64)?).is_err());
    assert!(Tokens::padded::<Vec<i64>>(&[], 0).is_err());
    std::fs::remove_dir_all(folder).expect("removed");
    Ok(())
}

#[test]
fn wrong_configurations_name_the_key() {
    let text = config().to_json();
    assert_eq!(BertConfig::from_json(&text).expect("its own text"), config());
    for (from, to, expected) in [
        ("\"vocab_size\"", "\"vocab\"", "lacks \"vocab_size\", expected a positive integer"),
        ("\"gelu\"", "\"softmax\"", "has \"hidden_act\": \"softmax\""),
        ("\"num_attention_heads\": 4", "\"num_attention_heads\": 5", "has \"num_attention_heads\": 5, expected a divisor"),
        ("\"hidden_dropout_prob\": 0.1", "\"hidden_dropout_prob\": \"a\"", "has \"hidden_dropout_prob\": \"a\", expected a number from 0 to 1"),
        ("\"bert\"", "\"gpt2\"", "has \"model_type\": \"gpt2\", expected \"bert\""),
        ("{", "{\"is_decoder\": true, ", "has \"is_decoder\": true, expected false"),
        ("{", "{\"add_cross_attention\": true, ", "has \"add_cross_attention\": true, expected false"),
        ("{", "[", "is no JSON object"),
    ] {
        let error = BertConfig::from_json(&text.replacen(from, to, 1)).expect_err(expected).to_string();
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn the_head_is_replaced_and_the_rest_stays() -> chainrule_nn::Result<()> {
    let mut model = BertForTokenClassification::new(&config(), 3, &mut rng())?;
    let before = count(&model).all;
    let old = model.replace_head(13, &mut rng())?;
    assert_eq!((old.weight.value.dims(), model.classifier.weight.value.dims()), (&[3, 32][..], &[13, 32][..]));
    assert_eq!(count(&model).all, before + 10 * 33);
    Ok(())
}

/// Virtual tokens, or keys and values for each layer, that are numbers of its own.
#[derive(Module, Clone)]
struct Fixed {
    tokens: Param,
    states: bool,
}

impl Prompt for Fixed {
    fn virtual_tokens(&self, x: &Tensor) -> chainrule_autograd::Result<Virtual> {
        let tokens = self.tokens.on(x)?;
        Ok(if self.states { Virtual::States(vec![[tokens.clone(), tokens.clone()], [tokens.clone(), tokens]]) } else { Virtual::Tokens(tokens) })
    }
}

#[test]
fn virtual_tokens_are_like_real_ones() -> chainrule_nn::Result<()> {
    let mut bert = BertModel::new(&config(), &mut rng())?;
    let whole = bert.encode(&Tokens::padded(&[vec![50, 51, 5, 6, 7], vec![50, 51, 8]], 0)?)?;
    let rows = bert.embeddings.word_embeddings.forward(&Tensor::from_slice(&[50i64, 51], &[2])?)?.into_array();
    bert.prompt.prompt = Some(Box::new(Fixed { tokens: Param::new(rows), states: false }));
    let tokens = Tokens::padded(&[vec![5, 6, 7], vec![8]], 0)?;
    // The last two tokens of the last row are padding, of which nothing is said.
    let real = |x: Tensor| x.to_vec::<f32>().map(|numbers| numbers[..numbers.len() - 2 * 32].to_vec());
    assert_eq!(real(bert.encode_with_prompt(&tokens)?)?, real(whole.clone())?);
    assert_eq!(real(bert.encode(&tokens)?)?, real(whole.narrow(1, 2, 3)?)?);
    let typed = tokens.clone().types(Tensor::zeros(&[2, 3], DType::I64)?);
    assert_eq!(bert.encode(&typed)?.to_vec::<f32>()?, bert.encode(&tokens)?.to_vec::<f32>()?);
    assert!(bert.encode(&tokens.clone().positions(Tensor::zeros(&[2, 3], DType::I64)?)).is_err());
    Ok(())
}

#[test]
fn keys_and_values_in_front_are_seen_and_learn() -> chainrule_nn::Result<()> {
    let mut bert = BertModel::new(&config(), &mut rng())?;
    let tokens = Tokens::padded(&[vec![5, 6, 7], vec![8]], 0)?;
    let alone = bert.encode(&tokens)?.to_vec::<f32>()?;
    let prompt = Fixed { tokens: Param::new(Tensor::ones(&[4, 32], DType::F32)?.into_array()), states: true };
    let id = prompt.tokens.id;
    bert.prompt.prompt = Some(Box::new(prompt.clone()));
    let tape = Tape::training(&mut rng());
    let hidden = bert.encode(&tokens.on(&tape))?;
    assert_eq!(hidden.dims(), [2, 3, 32]);
    assert_ne!(bert.encode(&tokens)?.to_vec::<f32>()?, alone);
    assert!(hidden.square()?.sum()?.backward()?.get(id).is_some());
    bert.encoder.layer.pop();
    assert!(bert.encode(&tokens).is_err());
    Ok(())
}
