//! Adapters that Python's `peft` saved: loaded, merged, saved again. `scripts/peft` makes more of them, and reads what is saved here.
//!
//!     CHAINRULE_PEFT=FOLDER CHAINRULE_PEFT_OUT=FOLDER cargo test --release -p chainrule --test peft -- --nocapture
#![cfg(all(feature = "finetune", feature = "models"))]

mod own;
mod replay;

use chainrule::finetune::Adapted;
use chainrule::models::{BertConfig, BertForSequenceClassification, Pooling};
use chainrule::nn::{load_state_dict, safetensors, state_dict};
use chainrule::{Array, DType, Rng, Tensor};
use replay::{Cases, Line, TOLERANCE};
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};

fn cases() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/cases/peft")
}

/// Where a group is saved again, if the environment says so.
fn out(group: &str) -> Option<PathBuf> {
    let folder = PathBuf::from(std::env::var_os("CHAINRULE_PEFT_OUT")?).join(group);
    std::fs::create_dir_all(&folder).expect("a folder that can be written to");
    Some(folder)
}

fn expect_near(group: &str, lines: Vec<Line>) {
    let mut wrong = vec![];
    for Line { name, outcome } in &lines {
        match outcome {
            Ok(off) => println!("{group}/{name}: off by {off:.1e}"),
            Err(why) => println!("{group}/{name}: {why}"),
        }
        if !outcome.as_ref().is_ok_and(|off| *off <= TOLERANCE) {
            wrong.push(name);
        }
    }
    println!("{group}: {} passed, {} failed", lines.len() - wrong.len(), wrong.len());
    assert!(wrong.is_empty() && !lines.is_empty(), "{group}: {wrong:?}");
}

#[test]
fn golden_adapters_give_their_logits() {
    let lines = replay::folder(&cases(), out("golden").as_deref()).expect("golden cases");
    assert!(lines.len() >= 14, "{} cases", lines.len());
    expect_near("golden", lines);
}

/// Adapters that `scripts/peft/more.py` made, if the environment names their folder.
#[test]
fn further_adapters_give_their_logits() {
    let Some(folder) = std::env::var_os("CHAINRULE_PEFT").map(PathBuf::from) else {
        skipped("make further adapters by scripts/peft/more.py, and name their folder by CHAINRULE_PEFT");
        return;
    };
    let mut failed = vec![];
    for group in ["sequence", "token", "image"] {
        let lines = replay::folder(&folder.join(group), out(group).as_deref()).expect(group);
        failed.extend(std::panic::catch_unwind(|| expect_near(group, lines)).err().map(|_| group));
    }
    for entry in std::fs::read_dir(folder.join("refused")).expect("refused") {
        let refused = entry.expect("a folder").path();
        let mut model = Adapted::new(tiny());
        let error = model.load("a", &refused).expect_err("a configuration that is not supported").to_string();
        println!("refused/{}: {error}", refused.file_name().unwrap().display());
        assert!(error.contains("adapter_config.json has \"") && error.contains("expected"), "{error}");
        assert!(model.names().is_empty());
    }
    assert!(failed.is_empty(), "{failed:?}");
}

/// Said past the test's capture of what is printed.
fn skipped(why: &str) {
    let _ = writeln!(std::io::stderr(), "SKIPPED: {why}");
}

/// A folder beside the project, or another that the environment names; `None` is said aloud.
fn beside(variable: &str, default: &str, inside: &str) -> Option<PathBuf> {
    let default = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared").join(default);
    let found = std::env::var_os(variable).map_or_else(default, PathBuf::from).join(inside);
    if !found.exists() {
        skipped(&format!("{} is not there; name the folder by {variable}", found.display()));
        return None;
    }
    Some(found)
}

/// A list of lists, row by row.
fn array(value: &Value, dtype: DType) -> Array {
    let rows: Vec<&Vec<Value>> = value.as_array().expect("rows").iter().map(|row| row.as_array().expect("a row")).collect();
    let numbers: Vec<f64> = rows.iter().flat_map(|row| row.iter().map(|x| x.as_f64().expect("a number"))).collect();
    Array::from_slice(&numbers, &[rows.len(), rows[0].len()]).and_then(|array| array.cast(dtype)).expect("an array")
}

#[test]
fn adapters_of_minilm_give_their_logits() {
    let Some(data) = beside("CHAINRULE_DATA", "data", "minilm") else { return };
    let Some(folder) = beside("CHAINRULE_FIXTURES", "fixtures", "golden/peft_minilm") else { return };
    let golden: Value = serde_json::from_slice(&std::fs::read(folder.join("golden.json")).expect("golden.json")).expect("JSON");
    let config = BertConfig::from_file(data.join("config.json")).expect("a configuration");
    let open = BertForSequenceClassification::open(&config, data.join("model_f16.safetensors"), 2, Pooling::First, &mut Rng::seeded(0));
    let mut model = open.expect("MiniLM");
    let mut state = state_dict(&model).expect("paths");
    state.extend(safetensors::read(folder.join("base_classifier_seed7.safetensors")).expect("the base's head"));
    let _complete = load_state_dict(&mut model, &state).expect("a head that fits");

    let mut logits = BTreeMap::from([("base".to_string(), array(&golden["base_logits"], DType::F32))]);
    for (name, case) in golden["cases"].as_object().expect("cases") {
        let recorded = array(&case["logits"], DType::F32);
        if case.get("merged_max_abs_diff").is_some() {
            logits.insert(format!("merged.{name}"), recorded.clone());
        }
        logits.insert(name.clone(), recorded);
    }
    let (input, mask) = (array(&golden["input_ids"], DType::I64), array(&golden["attention_mask"], DType::U8));
    let cases = Cases { folder, input: Tensor::from(input), mask: Some(Tensor::from(mask)), logits };
    expect_near("minilm", cases.replay(model, out("minilm").as_deref()).expect("cases"));
}

fn tiny() -> BertForSequenceClassification {
    let base = cases().join("base");
    let config = BertConfig::from_file(base.join("config.json")).expect("a configuration");
    let rng = &mut chainrule::Rng::seeded(0);
    BertForSequenceClassification::open(&config, base.join("model.safetensors"), config.num_labels, Pooling::First, rng).expect("a base")
}
