//! A folder of adapters that Python's `peft` saved for one base, and the logits with each: loaded, compared, merged, saved, loaded again.

use chainrule::finetune::Adapted;
use chainrule::models::{BertConfig, BertForSequenceClassification, BertForTokenClassification, Pooling, Tokens};
use chainrule::nn::{BatchNorm2d, Conv1d, Conv2d, Layer, Linear, Module, load, safetensors};
use chainrule::{Array, DType, Rng, Tensor};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// How near is right.
pub const TOLERANCE: f64 = 1e-4;

type Outcome<T> = Result<T, String>;

/// A base, and how it computes logits.
pub trait Base: Module + Clone {
    fn logits(&self, input: &Tensor, mask: Option<&Tensor>) -> chainrule::Result<Tensor>;
}

fn tokens(input: &Tensor, mask: Option<&Tensor>) -> Tokens {
    let tokens = Tokens::new(input);
    match mask {
        Some(mask) => tokens.mask(mask),
        None => tokens,
    }
}

impl Base for BertForSequenceClassification {
    fn logits(&self, input: &Tensor, mask: Option<&Tensor>) -> chainrule::Result<Tensor> {
        Ok(BertForSequenceClassification::logits(self, &tokens(input, mask))?)
    }
}
impl Base for BertForTokenClassification {
    fn logits(&self, input: &Tensor, mask: Option<&Tensor>) -> chainrule::Result<Tensor> {
        Ok(BertForTokenClassification::logits(self, &tokens(input, mask))?)
    }
}

/// The network of `scripts/peft/more.py`.
#[derive(Module, Clone)]
struct Net {
    conv1: Conv2d,
    norm: BatchNorm2d,
    conv2: Conv2d,
    conv3: Conv1d,
    head: Linear,
}

impl Net {
    fn new(rng: &mut Rng) -> chainrule::Result<Net> {
        Ok(Net {
            conv1: Conv2d::new(3, 8, 3, rng)?.padding(1),
            norm: BatchNorm2d::new(8)?,
            conv2: Conv2d::new(8, 12, 3, rng)?.stride(2).without_bias(),
            conv3: Conv1d::new(12, 6, 2, rng)?,
            head: Linear::new(6, 3, rng)?,
        })
    }
}

impl Base for Net {
    fn logits(&self, x: &Tensor, _: Option<&Tensor>) -> chainrule::Result<Tensor> {
        let x = self.norm.forward(&self.conv1.forward(x)?)?.relu()?;
        let x = self.conv2.forward(&x)?.relu()?.flatten(2, -1)?;
        Ok(self.head.forward(&self.conv3.forward(&x)?.relu()?.mean_over(&[2], false)?)?)
    }
}

/// What is known of a folder's adapters.
pub struct Cases {
    pub folder: PathBuf,
    pub input: Tensor,
    pub mask: Option<Tensor>,
    /// By the adapter's name, and `merged.NAME`.
    pub logits: BTreeMap<String, Array>,
}

/// What came of an adapter: the largest difference, or why there is none.
pub struct Line {
    pub name: String,
    pub outcome: Outcome<f64>,
}

/// Replays a folder with `base/`, `logits.safetensors` and a folder for each adapter. What is saved again goes below `out`, with our logits.
pub fn folder(folder: &Path, out: Option<&Path>) -> Outcome<Vec<Line>> {
    let mut logits = safetensors::read(folder.join("logits.safetensors")).map_err(text)?;
    let input = Tensor::from(logits.remove("input").ok_or("no input")?);
    let cases = Cases { folder: folder.to_path_buf(), input, mask: None, logits };
    let (config, file) = (folder.join("base/config.json"), folder.join("base/model.safetensors"));
    let rng = &mut Rng::seeded(0);
    if !config.exists() {
        let mut net = Net::new(rng).map_err(text)?;
        let _complete = load(&mut net, file).map_err(text)?;
        return cases.replay(net, out);
    }
    let of_tokens = std::fs::read_to_string(&config).map_err(text)?.contains("ForTokenClassification");
    let config = BertConfig::from_file(config).map_err(text)?;
    if of_tokens {
        cases.replay(BertForTokenClassification::open(&config, file, config.num_labels, rng).map_err(text)?, out)
    } else {
        cases.replay(BertForSequenceClassification::open(&config, file, config.num_labels, Pooling::First, rng).map_err(text)?, out)
    }
}

impl Cases {
    pub fn replay<M: Base>(&self, base: M, out: Option<&Path>) -> Outcome<Vec<Line>> {
        let mut lines = vec![];
        let mut ours = BTreeMap::new();
        if let Some(expected) = self.logits.get("base") {
            let outcome = base.logits(&self.input, self.mask.as_ref()).map_err(text).and_then(|got| difference(&got, expected));
            lines.push(Line { name: "base".into(), outcome });
        }
        for (name, expected) in self.logits.iter().filter(|(name, _)| *name != "base" && !name.starts_with("merged.")) {
            let outcome = self.adapter(&base, name, expected, out, &mut ours);
            lines.push(Line { name: name.clone(), outcome });
            if let Some(expected) = self.logits.get(&format!("merged.{name}")) {
                lines.push(Line { name: format!("merged.{name}"), outcome: self.merged(&base, name, expected) });
            }
        }
        if let Some(out) = out {
            ours.insert("input".to_string(), self.input.array().clone());
            ours.extend(self.mask.as_ref().map(|mask| ("mask".to_string(), mask.array().clone())));
            safetensors::write(out.join("logits.safetensors"), &ours, &BTreeMap::new()).map_err(text)?;
        }
        Ok(lines)
    }

    fn logits<M: Base>(&self, model: &M) -> Outcome<Tensor> {
        model.logits(&self.input, self.mask.as_ref()).map_err(text)
    }

    fn adapter<M: Base>(&self, base: &M, name: &str, expected: &Array, out: Option<&Path>, ours: &mut BTreeMap<String, Array>) -> Outcome<f64> {
        let mut model = Adapted::new(base.clone());
        let report = model.load(name, self.folder.join(name)).map_err(text)?;
        report.warnings.iter().for_each(|warning| println!("{name}: {warning}"));
        let got = self.logits(model.model())?;
        let off = difference(&got, expected)?;

        let own = std::env::temp_dir().join(format!("chainrule-peft-{}-{name}", std::process::id()));
        let folder = out.map_or(own.clone(), |out| out.join(name));
        let again = model.save(name, &folder).map_err(text).and_then(|()| {
            let mut again = Adapted::new(base.clone());
            let loaded = again.load("again", &folder).map_err(text)?.numbers.loaded;
            if let Some(lost) = report.numbers.loaded.iter().find(|name| !loaded.contains(name)) {
                return Err(format!("{lost} is lost by saving"));
            }
            self.logits(again.model())
        });
        if out.is_none() {
            // It is not there if saving failed.
            let _ = std::fs::remove_dir_all(&own);
        }
        if difference(&again?, got.array())? != 0.0 {
            return Err("saved and loaded again it gives other logits".to_string());
        }
        ours.insert(name.to_string(), got.into_array());
        model.deactivate();
        let expected = self.logits(base)?;
        if difference(&self.logits(model.model())?, expected.array())? != 0.0 {
            return Err("without it the base is another".to_string());
        }
        Ok(off)
    }

    fn merged<M: Base>(&self, base: &M, name: &str, expected: &Array) -> Outcome<f64> {
        let mut model = Adapted::new(base.clone());
        let _loaded = model.load(name, self.folder.join(name)).map_err(text)?;
        model
            .merge(|model| model.logits(&self.input, self.mask.as_ref()).map_err(|error| chainrule::finetune::Error::adapter("logits", error.to_string())))
            .map_err(text)?;
        difference(&self.logits(model.model())?, expected)
    }
}

/// The largest difference.
pub fn difference(got: &Tensor, expected: &Array) -> Outcome<f64> {
    if got.dims() != expected.dims() {
        return Err(format!("logits of shape {:?}, expected {:?}", got.shape(), expected.shape()));
    }
    let numbers = |array: &Array| array.cast(DType::F64).and_then(|array| array.to_vec::<f64>()).map_err(text);
    let pairs = numbers(got.array())?.into_iter().zip(numbers(expected)?);
    Ok(pairs.fold(0.0, |most, (g, e)| if (g - e).is_nan() { f64::INFINITY } else { most.max((g - e).abs()) }))
}

pub fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}
