//! Adapters that Python's `peft` saved: loaded, merged, saved again. `scripts/peft` makes more of them, and reads what is saved here.
//!
//!     CHAINRULE_PEFT=FOLDER CHAINRULE_PEFT_OUT=FOLDER cargo test --release -p chainrule --test peft -- --nocapture
#![cfg(all(feature = "finetune", feature = "models"))]

mod replay;

use chainrule::finetune::Adapted;
use chainrule::models::{BertConfig, BertForSequenceClassification, Pooling};
use replay::{Line, TOLERANCE};
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
        println!("SKIPPED: make further adapters by scripts/peft/more.py, and name their folder by CHAINRULE_PEFT");
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

fn tiny() -> BertForSequenceClassification {
    let base = cases().join("base");
    let config = BertConfig::from_file(base.join("config.json")).expect("a configuration");
    let rng = &mut chainrule::Rng::seeded(0);
    BertForSequenceClassification::open(&config, base.join("model.safetensors"), config.num_labels, Pooling::First, rng).expect("a base")
}
