//! [`BertConfig`]: the sizes and rates of a BERT, from Hugging Face's `config.json`.

use chainrule_autograd::{Activation, Result as TensorResult, Tensor};
use chainrule_nn::{Error, Layer, Linear, Result};
use serde_json::{Map, Value, json};
use std::path::Path;

/// What `config.json` says of a BERT; the fields have its names.
/// ```
/// # use chainrule_models::BertConfig;
/// let text = r#"{"vocab_size": 100, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4,
///                "intermediate_size": 64, "max_position_embeddings": 40, "layer_norm_eps": 1e-12, "use_cache": true}"#;
/// let config = BertConfig::from_json(text)?;
/// assert_eq!((config.hidden_size, config.type_vocab_size, config.hidden_dropout_prob), (32, 2, 0.1));
///
/// let error = BertConfig::from_json(&text.replace("32", "-1")).unwrap_err().to_string();
/// assert_eq!(error, "config.json has \"hidden_size\": -1, expected a positive integer");
/// # Ok::<(), chainrule_nn::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct BertConfig {
    /// V, how many tokens there are.
    pub vocab_size: usize,
    /// D
    pub hidden_size: usize,
    /// How many layers there are.
    pub num_hidden_layers: usize,
    /// H
    pub num_attention_heads: usize,
    /// The width between the two linear layers.
    pub intermediate_size: usize,
    /// What stands between the two linear layers.
    pub hidden_act: HiddenActivation,
    /// The rate of dropout, but for that of the attention's weights.
    pub hidden_dropout_prob: f64,
    /// The rate at which weights of attention are dropped.
    pub attention_probs_dropout_prob: f64,
    /// The rate before a classifier, if it is another than the others'.
    pub classifier_dropout: Option<f64>,
    /// The longest sequence.
    pub max_position_embeddings: usize,
    /// How many token types there are.
    pub type_vocab_size: usize,
    /// The deviation of a new model's weights.
    pub initializer_range: f64,
    /// What is added to variances.
    pub layer_norm_eps: f64,
    /// The token that fills up short sequences, and learns nothing.
    pub pad_token_id: Option<usize>,
    /// How many classes a head tells apart (`num_labels`, or the entries of `id2label`).
    pub num_labels: usize,
}

/// What stands between the two linear layers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum HiddenActivation {
    /// `gelu`: x Φ(x).
    #[default]
    Gelu,
    /// `gelu_new`, `gelu_pytorch_tanh`: the same with Φ approximated by tanh.
    GeluTanh,
    /// `relu`
    Relu,
    /// `silu`, `swish`: x σ(x).
    Silu,
}

impl HiddenActivation {
    /// What the linear layer gives, and then the activation.
    pub(crate) fn after(self, linear: &Linear, x: &Tensor) -> TensorResult<Tensor> {
        match self {
            HiddenActivation::Gelu => linear.forward(x)?.gelu(),
            HiddenActivation::GeluTanh => linear.forward(x)?.gelu_tanh(),
            HiddenActivation::Relu => linear.forward_activated(x, Activation::Relu),
            HiddenActivation::Silu => linear.forward(x)?.silu(),
        }
    }

    fn name(self) -> &'static str {
        match self {
            HiddenActivation::Gelu => "gelu",
            HiddenActivation::GeluTanh => "gelu_new",
            HiddenActivation::Relu => "relu",
            HiddenActivation::Silu => "silu",
        }
    }
}

impl BertConfig {
    /// Sizes of a model's own, and otherwise what a `config.json` without an entry means.
    pub fn new(vocab_size: usize, hidden_size: usize, layers: usize, heads: usize, intermediate_size: usize) -> BertConfig {
        BertConfig {
            vocab_size,
            hidden_size,
            num_hidden_layers: layers,
            num_attention_heads: heads,
            intermediate_size,
            hidden_act: HiddenActivation::Gelu,
            hidden_dropout_prob: 0.1,
            attention_probs_dropout_prob: 0.1,
            classifier_dropout: None,
            max_position_embeddings: 512,
            type_vocab_size: 2,
            initializer_range: 0.02,
            layer_norm_eps: 1e-12,
            pad_token_id: Some(0),
            num_labels: 2,
        }
    }

    /// Reads a `config.json`.
    ///
    /// # Errors
    /// A file that cannot be read; as for [`from_json`](BertConfig::from_json).
    pub fn from_file(file: impl AsRef<Path>) -> Result<BertConfig> {
        let file = file.as_ref();
        let text = std::fs::read_to_string(file).map_err(|error| Error::file(file, format!("cannot be read: {error}")))?;
        BertConfig::parse(&text, file)
    }

    /// Reads the text of a `config.json`. Keys that say nothing of the architecture are passed over; rates, norms and labels have Hugging Face's defaults.
    ///
    /// # Errors
    /// A size that is missing; an entry of the wrong kind; another architecture than BERT's.
    pub fn from_json(text: &str) -> Result<BertConfig> {
        BertConfig::parse(text, Path::new("config.json"))
    }

    fn parse(text: &str, file: &Path) -> Result<BertConfig> {
        let entries: Map<String, Value> = serde_json::from_str(text).map_err(|error| Error::file(file, format!("is no JSON object: {error}")))?;
        let read = Entries { entries: &entries, file };
        for (key, expected) in [("model_type", "bert"), ("position_embedding_type", "absolute")] {
            if entries.get(key).is_some_and(|value| !value.is_null() && value != expected) {
                return Err(read.wrong(key, &format!("\"{expected}\"")));
            }
        }
        for key in ["is_decoder", "add_cross_attention"] {
            if entries.get(key).is_some_and(|value| !value.is_null() && value != false) {
                return Err(read.wrong(key, "false"));
            }
        }
        let labels = match entries.get("id2label") {
            Some(Value::Object(labels)) => labels.len(),
            _ => 2,
        };
        let config = BertConfig {
            vocab_size: read.size("vocab_size", None)?,
            hidden_size: read.size("hidden_size", None)?,
            num_hidden_layers: read.size("num_hidden_layers", None)?,
            num_attention_heads: read.size("num_attention_heads", None)?,
            intermediate_size: read.size("intermediate_size", None)?,
            hidden_act: read.activation("hidden_act")?,
            hidden_dropout_prob: read.rate("hidden_dropout_prob")?.unwrap_or(0.1),
            attention_probs_dropout_prob: read.rate("attention_probs_dropout_prob")?.unwrap_or(0.1),
            classifier_dropout: read.rate("classifier_dropout")?,
            max_position_embeddings: read.size("max_position_embeddings", None)?,
            type_vocab_size: read.size("type_vocab_size", Some(2))?,
            initializer_range: read.rate("initializer_range")?.unwrap_or(0.02),
            layer_norm_eps: read.rate("layer_norm_eps")?.unwrap_or(1e-12),
            pad_token_id: match entries.get("pad_token_id") {
                None => Some(0),
                Some(Value::Null) => None,
                Some(id) => Some(id.as_u64().and_then(|id| usize::try_from(id).ok()).ok_or_else(|| read.wrong("pad_token_id", "an integer from 0 on"))?),
            },
            num_labels: read.size("num_labels", Some(labels.max(1)))?,
        };
        if !config.hidden_size.is_multiple_of(config.num_attention_heads) {
            return Err(read.wrong("num_attention_heads", &format!("a divisor of \"hidden_size\", which is {}", config.hidden_size)));
        }
        if config.pad_token_id.is_some_and(|id| id >= config.vocab_size) {
            return Err(read.wrong("pad_token_id", &format!("a number below \"vocab_size\", which is {}", config.vocab_size)));
        }
        Ok(config)
    }

    /// The text of a `config.json` that says the same.
    pub fn to_json(&self) -> String {
        let entries = json!({
            "model_type": "bert",
            "vocab_size": self.vocab_size,
            "hidden_size": self.hidden_size,
            "num_hidden_layers": self.num_hidden_layers,
            "num_attention_heads": self.num_attention_heads,
            "intermediate_size": self.intermediate_size,
            "hidden_act": self.hidden_act.name(),
            "hidden_dropout_prob": self.hidden_dropout_prob,
            "attention_probs_dropout_prob": self.attention_probs_dropout_prob,
            "classifier_dropout": self.classifier_dropout,
            "max_position_embeddings": self.max_position_embeddings,
            "type_vocab_size": self.type_vocab_size,
            "initializer_range": self.initializer_range,
            "layer_norm_eps": self.layer_norm_eps,
            "pad_token_id": self.pad_token_id,
            "id2label": (0..self.num_labels).map(|i| (i.to_string(), json!(format!("LABEL_{i}")))).collect::<Map<_, _>>(),
        });
        format!("{entries:#}")
    }

    /// How many numbers the parameters of the base hold, without a pooler; `None` if they cannot be counted.
    pub(super) fn parameters(&self) -> Option<usize> {
        let (d, f) = (self.hidden_size, self.intermediate_size);
        let rows = self.vocab_size.checked_add(self.max_position_embeddings)?.checked_add(self.type_vocab_size)?;
        let layer = d.checked_mul(d)?.checked_mul(4)?.checked_add(d.checked_mul(f)?.checked_mul(2)?)?;
        rows.checked_mul(d)?.checked_add(layer.checked_mul(self.num_hidden_layers)?)
    }
}

/// Reads entries of a file, and names them where they are wrong.
struct Entries<'a> {
    entries: &'a Map<String, Value>,
    file: &'a Path,
}

impl Entries<'_> {
    fn wrong(&self, key: &str, expected: &str) -> Error {
        match self.entries.get(key) {
            Some(value) => Error::file(self.file, format!("has \"{key}\": {value}, expected {expected}")),
            None => Error::file(self.file, format!("lacks \"{key}\", expected {expected}")),
        }
    }

    fn size(&self, key: &str, default: Option<usize>) -> Result<usize> {
        let value = match (self.entries.get(key), default) {
            (None | Some(Value::Null), Some(default)) => return Ok(default),
            (value, _) => value.and_then(Value::as_u64).and_then(|n| usize::try_from(n).ok()),
        };
        value.filter(|n| *n > 0).ok_or_else(|| self.wrong(key, "a positive integer"))
    }

    /// A number from 0 to 1; `None` where the file has none.
    fn rate(&self, key: &str) -> Result<Option<f64>> {
        match self.entries.get(key) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => value.as_f64().filter(|rate| (0.0..=1.0).contains(rate)).map(Some).ok_or_else(|| self.wrong(key, "a number from 0 to 1")),
        }
    }

    fn activation(&self, key: &str) -> Result<HiddenActivation> {
        Ok(match self.entries.get(key).map(Value::as_str) {
            None | Some(Some("gelu")) => HiddenActivation::Gelu,
            Some(Some("gelu_new" | "gelu_pytorch_tanh")) => HiddenActivation::GeluTanh,
            Some(Some("relu")) => HiddenActivation::Relu,
            Some(Some("silu" | "swish")) => HiddenActivation::Silu,
            Some(_) => return Err(self.wrong(key, "gelu, gelu_new, relu or silu")),
        })
    }
}
