//! Files of adapters that lie, lack something or would lose something: errors that name it, and nothing changes.

use chainrule_autograd::{Array, DType, Rng, Tensor};
use chainrule_finetune::{Adapted, Bottleneck, Ia3, Lora, PrefixTuning, PromptTuning, Quantisation, Result, Targets, Vera, quantise};
use chainrule_nn::{Layer, Linear, Module, PromptSite, PromptSlot, Relu, Sequential, load_state_dict, params_mut, safetensors, state_dict, to_dtype};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

fn base() -> Result<Sequential> {
    let rng = &mut Rng::seeded(1);
    Ok(Sequential::new().add(Linear::new(6, 8, rng)?).add(Relu).add(Linear::new(8, 3, rng)?))
}

fn outputs(model: &impl Layer) -> Result<Vec<f32>> {
    Ok(model.forward(&Tensor::arange(0.0, 12.0, 1.0, DType::F32)?.reshape(&[2, 6])?)?.to_vec()?)
}

/// A folder that goes with the test.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Folder {
        static COUNTER: AtomicUsize = AtomicUsize::new(0);
        let folder = std::env::temp_dir().join(format!("chainrule-peft-files-{}-{}", std::process::id(), COUNTER.fetch_add(1, Relaxed)));
        fs::create_dir_all(&folder).unwrap();
        Folder(folder)
    }
    fn config(&self) -> PathBuf {
        self.0.join("adapter_config.json")
    }
    fn numbers(&self) -> PathBuf {
        self.0.join("adapter_model.safetensors")
    }
    /// Changes the text of the configuration.
    fn edit(&self, from: &str, to: &str) {
        let text = fs::read_to_string(self.config()).unwrap();
        assert!(text.contains(from), "{text}");
        fs::write(self.config(), text.replace(from, to)).unwrap();
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A folder with a LoRA of rank 2 on the first layer, and the second whole.
fn saved() -> Result<Folder> {
    let (mut model, folder) = (Adapted::new(base()?), Folder::new());
    model.add("a", Lora::rank(2).targets(["0"]).saving(["2"]), &mut Rng::seeded(2))?;
    params_mut(&mut model, |_, param| param.value = param.value.cast(DType::F32).unwrap());
    model.save("a", &folder.0)?;
    Ok(folder)
}

/// What loading says, after which nothing may be different.
fn refused(folder: &Path) -> Result<String> {
    let mut model = Adapted::new(base()?);
    model.add("own", Lora::rank(1).targets(["2"]), &mut Rng::seeded(3))?;
    let before = outputs(&model)?;
    let error = model.load("a", folder).expect_err("an error").to_string();
    assert_eq!((model.names(), model.active(), outputs(&model)?), (vec!["own"], vec!["own"], before), "{error}");
    Ok(error)
}

#[test]
fn a_head_that_would_be_lost_is_refused() -> Result<()> {
    let (rng, folder) = (&mut Rng::seeded(0), Folder::new());
    let mut loaded = base()?;
    let _complete = load_state_dict(&mut loaded, &state_dict(&base()?)?)?;
    let without_head = Lora::rank(2).targets(["0"]);

    let mut model = Adapted::new(loaded.clone());
    model.add("a", without_head.clone(), rng)?;
    model.save("a", &folder.0)?; // all of the base came from a file

    let mut new_head = loaded.clone();
    params_mut(&mut new_head, |path, param| param.loaded &= !path.starts_with("2."));
    let mut model = Adapted::new(new_head);
    model.add("a", without_head.clone(), rng)?;
    let error = model.save("a", &folder.0).unwrap_err().to_string();
    assert!(error.starts_with(r#"save: ["2.weight", "2.bias"] are new in a model"#) && error.ends_with(r#"with .saving(["2"])"#), "{error}");
    model.add("b", without_head.clone().saving(["2"]), rng)?;
    model.save("b", &folder.0)?;

    let mut model = Adapted::new(loaded);
    model.add("a", without_head, rng)?;
    params_mut(&mut model, |path, param| param.trainable |= path == "2.bias");
    let error = model.save("a", &folder.0).unwrap_err().to_string();
    assert!(error.contains(r#"["2.bias"] of the base are trained"#), "{error}");
    Ok(())
}

#[test]
fn entries_that_are_not_known_are_warned_of_and_kept() -> Result<()> {
    let folder = saved()?;
    folder.edit("{\n", "{\n  \"from_the_future\": {\"depth\": 3}, \"another\": null, \"nothing\": [],\n");
    let mut model = Adapted::new(base()?);
    let report = model.load("a", &folder.0)?;
    assert_eq!(report.warnings.len(), 1, "{report}");
    assert!(report.warnings[0].contains("\"from_the_future\": {\"depth\":3}"), "{report}");
    model.annotate("a", "base_model_name_or_path", "somebody/small")?;
    let again = Folder::new();
    model.save("a", &again.0)?;
    let text = fs::read_to_string(again.config()).unwrap();
    assert!(text.contains("\"depth\": 3") && text.contains("\"base_model_name_or_path\": \"somebody/small\""), "{text}");
    Ok(())
}

#[test]
fn hostile_configurations_are_errors_that_name_the_entry() -> Result<()> {
    let cases = [
        ("\"r\": 2", "\"r\": 1000000000000000000", "0.lora_A.weight: got f32 [2, 6], expected f32 [1000000000000000000, 6]"),
        ("\"r\": 2", "\"r\": 3", "0.lora_A.weight: got f32 [2, 6], expected f32 [3, 6]"),
        ("\"r\": 2", "\"r\": 2.5", "has \"r\": 2.5, expected a whole number above 0"),
        ("\"rank_pattern\": {}", "\"rank_pattern\": {\"0\": 1e14}", "expected f32 [100000000000000, 6]"),
        ("\"rank_pattern\": {}", "\"rank_pattern\": {\"(\": 1}", "has \"rank_pattern\""),
        ("\"lora_alpha\": 2", "\"lora_alpha\": \"much\"", "has \"lora_alpha\": \"much\""),
        ("\"lora_dropout\": 0", "\"lora_dropout\": 1.5", "dropout of 1.5"),
        ("\"peft_type\": \"LORA\"", "\"peft_type\": \"ADALORA\"", "has \"peft_type\": \"ADALORA\", expected one of"),
        ("\"peft_type\": \"LORA\"", "\"peft_type\": null", "has \"peft_type\": null"),
        ("\"peft_type\": \"LORA\"", "\"peft_type\": \"LORA\", \"use_qalora\": true", "has \"use_qalora\": true, expected none"),
        ("\"peft_type\": \"LORA\"", "\"peft_type\": \"LORA\", \"layer_replication\": [[0, 1]]", "has \"layer_replication\""),
        ("\"peft_type\": \"LORA\"", "\"peft_type\": \"PROMPT_TUNING\", \"num_virtual_tokens\": 1000000000000", "has \"num_virtual_tokens\""),
        ("\"init_lora_weights\": true", "\"init_lora_weights\": \"pissa\"", "has \"init_lora_weights\": \"pissa\""),
        ("\"bias\": \"none\"", "\"bias\": \"some\"", "has \"bias\": \"some\""),
    ];
    for (from, to, expected) in cases {
        let folder = saved()?;
        folder.edit(from, to);
        let error = refused(&folder.0)?;
        assert!(error.contains(expected), "{to}: {error}");
    }
    let targets = [("(", "regular expression"), ("((a{99}){99}){99}", "regular expression"), ("qurey", "matches no layer that it can adapt")];
    for (expression, expected) in targets {
        let folder = saved()?;
        folder.edit("\"target_modules\": [\n    \"0\"\n  ]", &format!("\"target_modules\": \"{expression}\""));
        let error = refused(&folder.0)?;
        assert!(error.contains(expected), "{expression}: {error}");
    }
    for (text, expected) in
        [("", "is not JSON"), ("[1]", "expected an object"), (&"[".repeat(100_000), "is not JSON"), (&" ".repeat(2 << 20), "more than 1048576 bytes")]
    {
        let folder = saved()?;
        fs::write(folder.config(), text).unwrap();
        let error = refused(&folder.0)?;
        assert!(error.contains("adapter_config.json") && error.contains(expected), "{error}");
    }
    Ok(())
}

/// A model with a place for a prompt.
#[derive(Module, Clone)]
struct Prompted {
    #[module(flatten)]
    prompt: PromptSlot,
    head: Linear,
}

#[test]
fn prompts_and_projections_are_made_of_what_the_file_holds() -> Result<()> {
    let site = PromptSite { layers: 1, heads: 1, features: 4 };
    let plain = Prompted { prompt: PromptSlot::new(site), head: Linear::new(4, 2, &mut Rng::seeded(0))? };
    for prefix in [false, true] {
        let (folder, mut model) = (Folder::new(), Adapted::new(plain.clone()));
        match prefix {
            false => model.add("a", PromptTuning::tokens(2), &mut Rng::seeded(1))?,
            true => model.add("a", PrefixTuning::tokens(2), &mut Rng::seeded(1))?,
        }
        model.save("a", &folder.0)?;
        let _report = Adapted::new(plain.clone()).load("a", &folder.0)?;
        // More numbers than any memory holds, of which the file has none.
        folder.edit("\"num_virtual_tokens\": 2", "\"num_virtual_tokens\": 1000000000000");
        let state = [("prompt_embeddings".to_string(), Tensor::zeros(&[1_000_000_000_000, 0], DType::F32)?.into_array())].into();
        safetensors::write(folder.numbers(), &state, &Default::default())?;
        let error = Adapted::new(plain.clone()).load("a", &folder.0).unwrap_err().to_string();
        assert!(error.contains("prompt_embeddings: got f32 [1000000000000, 0]"), "{error}");
    }
    let (folder, mut model) = (Folder::new(), Adapted::new(base()?));
    model.add("a", Vera::rank(2).targets(["0"]), &mut Rng::seeded(1))?;
    model.save("a", &folder.0)?;
    folder.edit("\"save_projection\": true", "\"save_projection\": false");
    folder.edit("\"r\": 2", "\"r\": 30000000");
    let error = refused(&folder.0)?;
    assert!(error.contains("has \"r\": 30000000, expected the length of a \"vera_lambda_d\""), "{error}");
    Ok(())
}

#[test]
fn modules_whose_paths_end_alike() -> Result<()> {
    let rng = &mut Rng::seeded(1);
    let mut wide = Sequential::new().add(Linear::new(6, 8, rng)?).add(Relu).add(Linear::new(8, 8, rng)?);
    for _ in 3..12 {
        wide = wide.add(Relu);
    }
    let wide = wide.add(Linear::new(8, 3, rng)?);
    let (mut model, folder) = (Adapted::new(wide.clone()), Folder::new());
    model.add("one", Lora::rank(2).targets(["0"]).saving(["2"]), rng)?;
    let error = model.save("one", &folder.0).unwrap_err().to_string();
    assert!(error.contains(r#"["2"] for ["12"] too"#) && error.ends_with(r#".saving(["2", "12"])"#), "{error}");
    model.add("both", Lora::rank(2).targets(["0"]).saving(["2", "12"]), rng)?;
    model.save("both", &folder.0)?;
    assert_eq!(Adapted::new(wide.clone()).load("a", &folder.0)?.numbers.loaded.len(), 6);
    // A file without numbers of the other leaves it as the base has it.
    let mut state = safetensors::read(folder.numbers())?;
    state.retain(|name, _| !name.contains(".12."));
    safetensors::write(folder.numbers(), &state, &Default::default())?;
    folder.edit("\n    \"2\",\n    \"12\"\n", "\"2\"");
    let mut again = Adapted::new(wide.clone());
    assert_eq!(again.load("a", &folder.0)?.numbers.loaded.len(), 4);
    let other = |model: &dyn Module| state_dict(model).unwrap()["12.weight"].to_vec::<f32>().unwrap();
    assert_eq!(other(&again), other(&wide));
    Ok(())
}

#[test]
fn what_says_how_numbers_are_meant_is_not_annotated() -> Result<()> {
    let (mut model, folder) = (Adapted::new(base()?), saved()?);
    let _report = model.load("a", &folder.0)?;
    let config = fs::read_to_string(folder.config()).unwrap();
    let origin = ["auto_mapping", "base_model_name_or_path", "inference_mode", "revision", "task_type"];
    for key in config.lines().filter_map(|line| line.strip_prefix("  \"")?.split('"').next()) {
        assert_eq!(model.annotate("a", key, "somebody").is_ok(), origin.contains(&key), "{key}");
    }
    let mut model = Adapted::new(base()?);
    for targets in [Targets::from("all-linear"), Targets::from("*")] {
        let error = model.add("b", Lora::rank(1).targets(targets.in_layers([0])), &mut Rng::seeded(1)).unwrap_err().to_string();
        assert!(error.contains("in_layers: got numbers of layers"), "{error}");
    }
    Ok(())
}

#[test]
fn numbers_that_do_not_fit_are_errors_that_name_them() -> Result<()> {
    let changed = |change: &dyn Fn(&mut chainrule_nn::StateDict)| -> Result<String> {
        let folder = saved()?;
        let mut state = safetensors::read(folder.numbers())?;
        change(&mut state);
        safetensors::write(folder.numbers(), &state, &Default::default())?;
        refused(&folder.0)
    };
    let b = "base_model.model.0.lora_B.weight";
    let missing = changed(&|state| drop(state.remove(b)))?;
    assert!(missing.contains(&format!("missing: {b}")), "{missing}");
    let misnamed = changed(&|state| {
        let array = state.remove(b).unwrap();
        state.insert("base_model.model.0.lora_b.weight".into(), array);
    })?;
    assert!(misnamed.contains(&format!("missing: {b} (near it: base_model.model.0.lora_b.weight)")), "{misnamed}");
    let surplus = changed(&|state| drop(state.insert("base_model.model.2.lora_A.weight".into(), state[b].clone())))?;
    assert!(surplus.contains("unexpected: base_model.model.2.lora_A.weight"), "{surplus}");
    let headless = changed(&|state| drop(state.remove("base_model.model.2.bias")))?;
    assert!(headless.contains("missing: base_model.model.2.bias"), "{headless}");

    let folder = saved()?;
    let bytes = fs::read(folder.numbers()).unwrap();
    for length in [0, 7, 8, 40, bytes.len() - 1] {
        fs::write(folder.numbers(), &bytes[..length]).unwrap();
        assert!(refused(&folder.0)?.contains("adapter_model.safetensors"));
    }
    fs::remove_file(folder.numbers()).unwrap();
    assert!(refused(&folder.0)?.contains("adapter_model.safetensors cannot be read"));
    fs::write(folder.0.join("adapter_model.bin"), "").unwrap();
    assert!(refused(&folder.0)?.contains("safe_serialization"));
    Ok(())
}

#[test]
fn saving_replaces_both_files_or_none() -> Result<()> {
    let (folder, rng) = (saved()?, &mut Rng::seeded(4));
    let mut model = Adapted::new(base()?);
    model.add("other", Ia3::outputs(["0"]), rng)?;
    model.add("prompt", PromptTuning::tokens(2), rng).expect_err("no place for a prompt");
    let numbers = fs::read(folder.numbers()).unwrap();
    assert!(model.save("absent", &folder.0).is_err());
    assert_eq!(fs::read(folder.numbers()).unwrap(), numbers);
    model.save("other", &folder.0)?;
    let mut files: Vec<_> = fs::read_dir(&folder.0).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    files.sort();
    assert_eq!(files, ["adapter_config.json", "adapter_model.safetensors"]);
    let mut again = Adapted::new(base()?);
    assert_eq!(again.load("a", &folder.0)?.numbers.loaded, ["base_model.model.0.ia3_l"]);

    // A folder where a file must go: what is there stays, and no draft is left.
    let blocked = saved()?;
    let config = fs::read(blocked.config()).unwrap();
    fs::remove_file(blocked.numbers()).unwrap();
    fs::create_dir_all(blocked.numbers().join("in the way")).unwrap();
    assert!(model.save("other", &blocked.0).is_err());
    assert_eq!((fs::read_dir(&blocked.0).unwrap().count(), fs::read(blocked.config()).unwrap()), (2, config));
    Ok(())
}

#[test]
fn numbers_keep_their_type_and_become_the_models() -> Result<()> {
    let (folder, mut half) = (Folder::new(), base()?);
    to_dtype(&mut half, DType::BF16)?;
    let mut model = Adapted::new(half);
    model.add("a", Lora::rank(2).targets(["0"]), &mut Rng::seeded(5))?;
    params_mut(&mut model, |path, param| {
        if path.contains("lora_B") {
            param.value = Tensor::ones(param.value.dims(), DType::BF16).unwrap().into_array();
        }
    });
    model.save("a", &folder.0)?;
    assert!(safetensors::read(folder.numbers())?.values().all(|array| array.dtype() == DType::BF16));
    let mut single = Adapted::new(base()?);
    let _report = single.load("a", &folder.0)?;
    let (ours, halved) = (state_dict(&single)?, state_dict(&model)?);
    for name in ["0.lora_A.weight", "0.lora_B.weight"] {
        assert_eq!(ours[name].dtype(), DType::F32);
        let numbers = |array: &Array| array.cast(DType::F32).unwrap().to_vec::<f32>().unwrap();
        assert_eq!(numbers(&ours[name]), numbers(&halved[name]));
    }
    Ok(())
}

#[test]
fn weights_of_the_base_in_a_file_are_the_adapters_own() -> Result<()> {
    // As PEFT stores embeddings that were resized.
    let folder = saved()?;
    let mut state = safetensors::read(folder.numbers())?;
    state.insert("base_model.model.0.base_layer.weight".into(), Tensor::ones(&[8, 6], DType::F32)?.into_array());
    safetensors::write(folder.numbers(), &state, &Default::default())?;
    let (mut model, plain) = (Adapted::new(base()?), base()?);
    let _report = model.load("a", &folder.0)?;
    assert_ne!(outputs(&model)?, outputs(&plain)?);
    model.deactivate();
    assert_eq!(outputs(&model)?, outputs(&plain)?);
    Ok(())
}

#[test]
fn methods_that_peft_has_not_have_types_of_their_own() -> Result<()> {
    let (folder, mut model) = (Folder::new(), Adapted::new(base()?));
    model.add("a", Bottleneck::houlsby().targets(["0"]).width(2), &mut Rng::seeded(6))?;
    model.save("a", &folder.0)?;
    assert!(fs::read_to_string(folder.config()).unwrap().contains("\"peft_type\": \"CHAINRULE_BOTTLENECK\""));
    folder.edit("\"width\": 2", "\"width\": 1000000000000");
    assert!(refused(&folder.0)?.contains("expected f32 [1000000000000, 8]"));
    Ok(())
}

#[test]
fn adapters_of_a_quantised_base_are_files_as_others() -> Result<()> {
    let (folder, mut packed) = (Folder::new(), base()?);
    let _complete = load_state_dict(&mut packed, &state_dict(&base()?)?)?;
    quantise(&mut packed, Quantisation::nf4().block(8), "all-linear")?;
    let mut model = Adapted::new(packed.clone());
    model.add("a", Lora::rank(2).targets(["0", "2"]), &mut Rng::seeded(7))?;
    params_mut(&mut model, |path, param| {
        if path.contains("lora_B") {
            param.value = Tensor::ones(param.value.dims(), DType::F32).unwrap().into_array();
        }
    });
    model.save("a", &folder.0)?;
    let (mut again, mut dense) = (Adapted::new(packed), Adapted::new(base()?));
    assert_eq!(again.load("a", &folder.0)?.numbers.loaded.len(), 4);
    assert_eq!(outputs(&again)?, outputs(&model)?);
    assert_eq!(dense.load("a", &folder.0)?.numbers.loaded.len(), 4);
    Ok(())
}
