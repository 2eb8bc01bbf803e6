//! Methods of configurations, and configurations of methods.

use super::config::{Config, Reader};
use super::given::RankAt;
use super::layout::{escaped, expression};
use crate::{BitFit, Ia3, LayerNormTuning, Lora, LoraBias, LoraInit, Method, PTuning, PrefixTuning, PromptTuning, Reparameterisation, Result, Selection, Targets};
use chainrule_nn::Operation;
use chainrule_nn::Pattern;
use chainrule_nn::source::Entry;
use std::collections::BTreeMap;
use std::sync::Arc;

/// What PEFT has no name for.
pub(crate) const BITFIT: &str = "CHAINRULE_BITFIT";

/// Entries of every configuration that say where it comes from, and nothing of what the model gives.
const ORIGIN: [&str; 8] = ["auto_mapping", "base_model_name_or_path", "inference_mode", "peft_type", "peft_version", "revision", "runtime_config", "task_type"];

/// What a configuration comes to.
pub(super) struct Described {
    pub method: Arc<dyn Method>,
    /// The rank of each layer, for methods with matrices of one.
    pub rank: Option<RankAt>,
}

impl Described {
    fn plain(method: impl Method + 'static) -> Described {
        Described { method: Arc::new(method), rank: None }
    }
}

/// The method of a configuration, whose numbers the file holds.
pub(super) fn read(reader: &mut Reader, contents: &BTreeMap<String, Entry>) -> Result<Described> {
    reader.pass_over(&ORIGIN);
    match reader.word("peft_type", &["", "LORA", "IA3", "LN_TUNING", "PROMPT_TUNING", "P_TUNING", "PREFIX_TUNING", BITFIT])? {
        "LORA" => lora(reader),
        "IA3" => ia3(reader),
        "LN_TUNING" => Ok(Described::plain(LayerNormTuning { selection: selection(reader)? })),
        BITFIT => Ok(Described::plain(BitFit { selection: selection(reader)? })),
        "PREFIX_TUNING" => {
            reader.pass_over(&["encoder_hidden_size", "prefix_projection", "init_weights"]);
            let (selection, tokens) = prompt(reader, contents)?;
            Ok(Described::plain(PrefixTuning { selection, ..PrefixTuning::tokens(tokens) }))
        }
        "PROMPT_TUNING" | "P_TUNING" => {
            reader.pass_over(&["encoder_hidden_size", "encoder_num_layers", "encoder_dropout", "encoder_reparameterization_type"]);
            reader.pass_over(&["prompt_tuning_init", "prompt_tuning_init_text", "tokenizer_name_or_path", "tokenizer_kwargs"]);
            let (selection, tokens) = prompt(reader, contents)?;
            Ok(Described::plain(PromptTuning { selection, ..PromptTuning::tokens(tokens) }))
        }
        _ => Err(reader.wrong("peft_type", "the type of an adapter")),
    }
}

/// What a configuration selects.
fn selection(reader: &mut Reader) -> Result<Selection> {
    let targets = reader.targets("target_modules")?;
    let (layers, lists) = (reader.counts("layers_to_transform")?.filter(|layers| !layers.is_empty()), reader.names("layers_pattern")?);
    let targets = match (targets, layers) {
        (Some(Targets::Names(names)), Some(layers)) => Some(Targets::InLayers { names, layers, lists }),
        (_, Some(_)) => return Err(reader.wrong("target_modules", "a list of names where \"layers_to_transform\" is given")),
        (targets, None) => targets,
    };
    let exclude = reader.targets("exclude_modules")?;
    for (key, targets) in [("target_modules", &targets), ("exclude_modules", &exclude)] {
        if let Some(Targets::Paths(expression)) = targets {
            Pattern::new(expression).map_err(|error| reader.wrong(key, &format!("a regular expression: {error}")))?;
        }
    }
    if reader.flag("fan_in_fan_out", false)? {
        reader.warn("\"fan_in_fan_out\" says that the base keeps its weights the other way round; here none does, so it changes nothing".to_string());
    }
    Ok(Selection { targets, exclude, save: reader.names("modules_to_save")? })
}

fn lora(reader: &mut Reader) -> Result<Described> {
    reader.refuse(&["use_qalora", "layer_replication", "target_parameters", "alora_invocation_tokens", "megatron_config", "trainable_token_indices"])?;
    reader.refuse(&["arrow_config", "use_bdlora", "kasa_config", "monteclora_config", "ensure_weight_tying", "lora_bias"])?;
    reader.pass_over(&["eva_config", "loftq_config", "corda_config", "lora_ga_config", "velora_config", "qalora_group_size", "megatron_core"]);
    let init = match reader.word("init_lora_weights", &["true", "gaussian", "eva", "orthogonal", "mica"]) {
        Ok("gaussian") => LoraInit::Gaussian,
        Ok(_) => LoraInit::Kaiming,
        // What else there is changes the base's weights before training, and again at every loading.
        Err(error) => reader.flag("init_lora_weights", true).map_err(|_| error).map(|_| LoraInit::Kaiming)?,
    };
    let bias = match reader.word("bias", &["none", "all", "lora_only"])? {
        "all" => LoraBias::All,
        "lora_only" => LoraBias::LoraOnly,
        _ => LoraBias::None,
    };
    let lora = Lora {
        selection: selection(reader)?,
        rank: reader.count("r", Some(8))?,
        alpha: reader.number("lora_alpha", 8.0)?,
        dropout: reader.number("lora_dropout", 0.0)?,
        rank_pattern: patterns(reader, "rank_pattern", |rank| (rank.fract() == 0.0 && (1.0..1e15).contains(&rank)).then_some(rank as usize))?,
        alpha_pattern: patterns(reader, "alpha_pattern", Some)?,
        rank_stabilized: reader.flag("use_rslora", false)?,
        bias,
        dora: reader.flag("use_dora", false)?,
        init,
    };
    let own = lora.clone();
    Ok(Described { method: Arc::new(lora), rank: Some(Box::new(move |path| own.rank_at(path))) })
}

/// PEFT's patterns for single layers: regular expressions of the whole path, or of its end after a dot.
fn patterns<T>(reader: &mut Reader, key: &'static str, value: impl Fn(f64) -> Option<T>) -> Result<Vec<(String, T)>> {
    let mut all = Vec::new();
    for (pattern, number) in reader.patterns(key)? {
        let whole = format!("regex:(?:.*\\.)?(?:{pattern})");
        Pattern::new(&whole).and(Pattern::regex(&pattern)).map_err(|error| reader.wrong(key, &format!("regular expressions: {error}")))?;
        let number = value(number).ok_or_else(|| reader.wrong(key, "whole numbers above 0"))?;
        all.push((whole, number));
    }
    Ok(all)
}

fn ia3(reader: &mut Reader) -> Result<Described> {
    reader.pass_over(&["init_ia3_weights"]);
    let feedforward = match reader.targets("feedforward_modules")? {
        // Here PEFT takes any end of a path.
        Some(Targets::Names(names)) => Some(Targets::Paths(format!("regex:.*(?:{})", expression(&names)))),
        other => other,
    };
    Ok(Described::plain(Ia3 { selection: selection(reader)?, feedforward }))
}

/// What is selected beside a prompt, and how many virtual tokens it has.
fn prompt(reader: &mut Reader, contents: &BTreeMap<String, Entry>) -> Result<(Selection, usize)> {
    reader.pass_over(&["num_attention_heads", "num_layers", "token_dim"]);
    if reader.count("num_transformer_submodules", Some(1))? > 1 {
        return Err(reader.wrong("num_transformer_submodules", "1: prompts for an encoder and a decoder at once are not supported"));
    }
    let tokens = reader.count("num_virtual_tokens", None)?;
    let held = contents.get("prompt_embeddings").map_or(tokens, |entry| entry.dims().first().copied().unwrap_or(0));
    if tokens != held || !contents.contains_key("prompt_embeddings") {
        let found = contents.get("prompt_embeddings").map_or("is missing".to_string(), |entry| format!("has shape {:?}", entry.dims()));
        return Err(reader.wrong("num_virtual_tokens", &format!("the rows of \"prompt_embeddings\", which {found}")));
    }
    Ok((Selection { targets: None, exclude: None, save: reader.names("modules_to_save")? }, tokens))
}

/// The settings of LoRA; ranks and alphas by whole paths.
pub(crate) fn write_lora(lora: &Lora, layers: &[(String, Operation)], config: &mut Config) {
    config.set("peft_type", "LORA");
    config.set("r", lora.rank);
    config.set("lora_alpha", lora.alpha);
    config.set("lora_dropout", lora.dropout);
    config.set("use_rslora", lora.rank_stabilized);
    config.set("use_dora", lora.dora);
    config.set("bias", match lora.bias {
        LoraBias::None => "none",
        LoraBias::All => "all",
        LoraBias::LoraOnly => "lora_only",
    });
    match lora.init {
        LoraInit::Kaiming => config.set("init_lora_weights", true),
        LoraInit::Gaussian => config.set("init_lora_weights", "gaussian"),
    }
    let paths = || layers.iter().map(|(path, _)| (format!("^{}", escaped(path)), path.as_str()));
    let ranks = paths().map(|(pattern, path)| (pattern, lora.rank_at(path))).filter(|(_, rank)| *rank != lora.rank).collect::<Vec<_>>();
    let alphas = paths().map(|(pattern, path)| (pattern, lora.alpha_at(path))).filter(|(_, alpha)| *alpha != lora.alpha).collect::<Vec<_>>();
    config.set("rank_pattern", ranks);
    config.set("alpha_pattern", alphas);
}

/// The settings of (IA)³.
pub(crate) fn write_ia3(ia3: &Ia3, layers: &[(String, Operation)], config: &mut Config) -> Result<()> {
    config.set("peft_type", "IA3");
    let mut feedforward = Vec::new();
    for (path, operation) in layers {
        if let Some(targets) = &ia3.feedforward
            && targets.match_path(path, Some(*operation))?
        {
            feedforward.push(path.clone());
        }
    }
    // As a list it would have to be one of target_modules' names.
    match feedforward.is_empty() {
        true => config.set("feedforward_modules", feedforward),
        false => config.set("feedforward_modules", expression(&feedforward)),
    }
    Ok(())
}

/// The settings of prompt tuning.
pub(crate) fn write_prompt(prompt: &PromptTuning, config: &mut Config) {
    config.set("peft_type", "PROMPT_TUNING");
    config.set("prompt_tuning_init", "RANDOM");
    config.set("num_virtual_tokens", prompt.tokens);
}

/// The settings of P-tuning; the network itself is not in the file.
pub(crate) fn write_p_tuning(prompt: &PTuning, config: &mut Config) {
    config.set("peft_type", "P_TUNING");
    config.set("num_virtual_tokens", prompt.tokens);
    if let Some(hidden) = prompt.hidden {
        config.set("encoder_hidden_size", hidden);
    }
    match prompt.encoder {
        Reparameterisation::Mlp => config.set("encoder_reparameterization_type", "MLP"),
        Reparameterisation::Lstm { layers, dropout } => {
            config.set("encoder_reparameterization_type", "LSTM");
            config.set("encoder_num_layers", layers);
            config.set("encoder_dropout", dropout);
        }
    }
}

/// The settings of prefix tuning; a projection itself is not in the file.
pub(crate) fn write_prefix(prefix: &PrefixTuning, config: &mut Config) {
    config.set("peft_type", "PREFIX_TUNING");
    config.set("num_virtual_tokens", prefix.tokens);
    config.set("prefix_projection", prefix.projection.is_some());
    if let Some(hidden) = prefix.projection {
        config.set("encoder_hidden_size", hidden);
    }
}
