//! Methods of configurations, and configurations of methods.

use super::config::Reader;
use super::given::Expected;
use super::layout::{Layout, expression};
use super::names::{Cleaned, is_within};
use super::twister::Twister;
use super::{BITFIT, BOTTLENECK};
use crate::{
    BitFit, Bottleneck, BottleneckActivation, BottleneckWidth, Ia3, LayerNormTuning, Lora, LoraBias, LoraInit, Method, PrefixTuning, PromptTuning, Result,
    Selection, Targets, Vera,
};
use chainrule_autograd::DType;
use chainrule_nn::source::Source;
use chainrule_nn::{LoadReport, Mismatch, Operation, Pattern, PromptSite, Site};
use std::sync::Arc;

/// Entries of every configuration that say where it comes from, and nothing of what the model gives.
const ORIGIN: [&str; 8] = ["auto_mapping", "base_model_name_or_path", "inference_mode", "peft_type", "peft_version", "revision", "runtime_config", "task_type"];

/// Entries that say how an adapter's numbers are meant: what the methods write and what is asked for here, so that nobody else may set them.
pub(super) const SETTINGS: [&str; 51] = [
    "activation",
    "alora_invocation_tokens",
    "alpha_pattern",
    "arrow_config",
    "bias",
    "d_initial",
    "encoder_dropout",
    "encoder_hidden_size",
    "encoder_num_layers",
    "encoder_reparameterization_type",
    "ensure_weight_tying",
    "exclude_modules",
    "fan_in_fan_out",
    "feedforward_modules",
    "init_lora_weights",
    "init_weights",
    "kasa_config",
    "layer_replication",
    "layers_pattern",
    "layers_to_transform",
    "lora_alpha",
    "lora_bias",
    "lora_dropout",
    "megatron_config",
    "modules_to_save",
    "monteclora_config",
    "norm",
    "num_attention_heads",
    "num_layers",
    "num_transformer_submodules",
    "num_virtual_tokens",
    "parallel",
    "peft_type",
    "prefix_projection",
    "projection_prng_key",
    "prompt_tuning_init",
    "r",
    "rank_pattern",
    "reduction_factor",
    "save_projection",
    "scale",
    "target_modules",
    "target_parameters",
    "token_dim",
    "trainable_token_indices",
    "use_bdlora",
    "use_dora",
    "use_qalora",
    "use_rslora",
    "vera_dropout",
    "width",
];

/// What a configuration comes to.
pub(super) struct Described {
    pub method: Arc<dyn Method>,
    /// What the file must have for each layer, for methods whose settings are sizes.
    pub expected: Option<Expected>,
}

impl Described {
    fn plain(method: impl Method + 'static) -> Described {
        Described { method: Arc::new(method), expected: None }
    }
}

/// The types that are read.
const TYPES: [&str; 9] = ["LORA", "IA3", "LN_TUNING", "VERA", "PROMPT_TUNING", "P_TUNING", "PREFIX_TUNING", BITFIT, BOTTLENECK];

/// The method of a configuration for this base, whose numbers the file holds.
pub(super) fn read(reader: &mut Reader, source: &mut Cleaned, layout: &Layout) -> Result<Described> {
    reader.pass_over(&ORIGIN);
    if !reader.has("peft_type") {
        return Err(reader.wrong("peft_type", &format!("one of {TYPES:?}")));
    }
    match reader.word("peft_type", &TYPES)? {
        "LORA" => lora(reader),
        "VERA" => vera(reader, source, layout),
        BOTTLENECK => bottleneck(reader),
        "IA3" => ia3(reader),
        "LN_TUNING" => Ok(Described::plain(LayerNormTuning { selection: selection(reader)? })),
        BITFIT => Ok(Described::plain(BitFit { selection: selection(reader)? })),
        "PREFIX_TUNING" => {
            reader.pass_over(&["encoder_hidden_size", "prefix_projection", "init_weights"]);
            let (selection, tokens) = prompt(reader, source, layout, |site| site.layers.saturating_mul(2).saturating_mul(site.features))?;
            Ok(Described::plain(PrefixTuning { selection, ..PrefixTuning::tokens(tokens) }))
        }
        "PROMPT_TUNING" | "P_TUNING" => {
            reader.pass_over(&["encoder_hidden_size", "encoder_num_layers", "encoder_dropout", "encoder_reparameterization_type"]);
            reader.pass_over(&["prompt_tuning_init", "prompt_tuning_init_text", "tokenizer_name_or_path", "tokenizer_kwargs"]);
            let (selection, tokens) = prompt(reader, source, layout, |site| site.features)?;
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
    reader.refuse(&["arrow_config", "use_bdlora", "kasa_config", "monteclora_config", "ensure_weight_tying"])?;
    reader.pass_over(&["eva_config", "loftq_config", "corda_config", "lora_ga_config", "velora_config", "qalora_group_size", "megatron_core"]);
    let init = match reader.word("init_lora_weights", &["", "gaussian", "eva", "orthogonal", "mica"]) {
        Ok("gaussian") => LoraInit::Gaussian,
        Ok(_) => LoraInit::Kaiming,
        Err(_) if reader.flag("init_lora_weights", true).is_ok() => LoraInit::Kaiming,
        Err(_) => {
            let expected = "true, false, \"gaussian\", \"eva\", \"orthogonal\" or \"mica\": others change the base's weights too; let PEFT convert the adapter to LoRA (path_initial_model_for_weight_conversion)";
            return Err(reader.wrong("init_lora_weights", expected));
        }
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
        bias_of_b: reader.flag("lora_bias", false)?,
        init,
    };
    let own = lora.clone();
    Ok(Described { method: Arc::new(lora), expected: Some(Box::new(move |path, site| first_matrix(site, own.rank_at(path)))) })
}

/// The name and extents of LoRA's A.
fn first_matrix(site: &Site, rank: usize) -> (&'static str, Vec<usize>) {
    let dims = site.weight.value.dims();
    let groups = match site.operation {
        Operation::Embedding { .. } => return ("lora_embedding_A", vec![rank, dims.first().copied().unwrap_or(0)]),
        Operation::Conv1d(window) => window.groups,
        Operation::Conv2d(window) => window.groups,
        Operation::Conv3d(window) => window.groups,
        _ => 1,
    };
    let mut own = vec![rank];
    own.extend(dims.get(1).map(|inputs| inputs.saturating_mul(groups)));
    own.extend(dims.iter().skip(2));
    ("lora_A.weight", own)
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

/// What is selected beside a prompt, and how many virtual tokens it has; the file holds so many rows of the width that the model has for them.
fn prompt(reader: &mut Reader, source: &Cleaned, layout: &Layout, width: impl Fn(PromptSite) -> usize) -> Result<(Selection, usize)> {
    reader.pass_over(&["num_attention_heads", "num_layers", "token_dim"]);
    if reader.count("num_transformer_submodules", Some(1))? > 1 {
        return Err(reader.wrong("num_transformer_submodules", "1: prompts for an encoder and a decoder at once are not supported"));
    }
    let (tokens, contents) = (reader.count("num_virtual_tokens", None)?, source.contents());
    let held = contents.get("prompt_embeddings").map_or(tokens, |entry| entry.dims().first().copied().unwrap_or(0));
    if tokens != held || !contents.contains_key("prompt_embeddings") {
        let found = contents.get("prompt_embeddings").map_or("is missing".to_string(), |entry| format!("has shape {:?}", entry.dims()));
        return Err(reader.wrong("num_virtual_tokens", &format!("the rows of \"prompt_embeddings\", which {found}")));
    }
    if let (Some(site), Some(entry)) = (layout.prompt, contents.get("prompt_embeddings"))
        && entry.dims() != [tokens, width(site)]
    {
        let (got, expected) = ((entry.type_name().to_string(), entry.dims().to_vec()), (DType::F32, vec![tokens, width(site)]));
        let mismatched = vec![Mismatch { path: "prompt_embeddings".to_string(), got, expected }];
        return Err(chainrule_nn::Error::Load(Box::new(LoadReport { mismatched, ..LoadReport::default() })).into());
    }
    Ok((Selection { targets: None, exclude: None, save: reader.names("modules_to_save")? }, tokens))
}

/// So many numbers a projection that is drawn may have at most; the file does not bound them.
const LARGEST_PROJECTION: usize = 1 << 28;

fn vera(reader: &mut Reader, source: &mut Cleaned, layout: &Layout) -> Result<Described> {
    reader.pass_over(&["init_weights"]);
    // A bias that is trained is found in the file.
    reader.word("bias", &["none", "all", "vera_only"])?;
    let (rank, key) = (reader.count("r", Some(256))?, reader.key("projection_prng_key")?);
    let selection = selection(reader)?;
    let projections = match reader.flag("save_projection", true)? {
        true => ["base_model.vera_A", "base_model.vera_B"].map(|name| source.take(name)),
        false => {
            // Numbers that are in the file for each rank.
            if !source.contents().iter().any(|(name, entry)| name.ends_with(".vera_lambda_d") && entry.dims() == [rank]) {
                return Err(reader.wrong("r", "the length of a \"vera_lambda_d\" in the file"));
            }
            let [outputs, inputs] = widest(&selection, layout)?;
            if rank.saturating_mul(outputs.max(inputs)) > LARGEST_PROJECTION {
                return Err(
                    reader.wrong("r", &format!("at most {}, for projections that are not in the file", LARGEST_PROJECTION / outputs.max(inputs).max(1)))
                );
            }
            let mut twister = Twister::seeded(key);
            [twister.kaiming(rank, inputs).map(Some), twister.kaiming(outputs, rank).map(Some)]
        }
    };
    let [Some(a), Some(b)] = [projections[0].clone()?, projections[1].clone()?] else {
        return Err(reader.wrong("save_projection", "false, since the file has no \"base_model.vera_A\" and \"base_model.vera_B\""));
    };
    if a.dims().first() != Some(&rank) {
        return Err(reader.wrong("r", &format!("that of \"base_model.vera_A\", which has shape {:?}", a.dims())));
    }
    let settings = Vera::rank(rank).dropout(reader.number("vera_dropout", 0.0)?).initial(reader.number("d_initial", 0.1)?).seed(key);
    let mut vera = settings.with_projections(a, b)?;
    vera.selection = selection;
    Ok(Described::plain(vera))
}

/// The extents of the widest of the linear layers that are meant.
fn widest(selection: &Selection, layout: &Layout) -> Result<[usize; 2]> {
    let mut widest = [0, 0];
    for ((path, operation), dims) in layout.layers.iter().zip(&layout.weights) {
        let means = |targets: &Option<Targets>| targets.as_ref().map_or(Ok(false), |targets| targets.match_path(path, Some(*operation)));
        let saved = selection.save.iter().any(|name| path.ends_with(name.as_str())) || is_within(&format!("{path}."), &selection.save);
        if let ([outputs, inputs], Operation::Linear) = (&dims[..], operation)
            && !saved
            && means(&selection.targets)?
            && !means(&selection.exclude)?
        {
            widest = [widest[0].max(*outputs), widest[1].max(*inputs)];
        }
    }
    Ok(widest)
}

fn bottleneck(reader: &mut Reader) -> Result<Described> {
    let width = match reader.has("width") {
        true => BottleneckWidth::Features(reader.count("width", None)?),
        false => BottleneckWidth::Reduction(reader.count("reduction_factor", Some(16))?),
    };
    reader.pass_over(&["width", "reduction_factor"]);
    let activation = match reader.word("activation", &["gelu", "relu", "silu", "tanh"])? {
        "relu" => BottleneckActivation::Relu,
        "silu" => BottleneckActivation::Silu,
        "tanh" => BottleneckActivation::Tanh,
        _ => BottleneckActivation::Gelu,
    };
    let norm = reader.flag("norm", false)?;
    let beside = match reader.flag("parallel", false)? {
        true => Some(reader.number("scale", 1.0)?),
        false => None,
    };
    let bottleneck = Bottleneck { selection: selection(reader)?, width, activation, norm, beside };
    let expected: Expected = Box::new(move |_, site| {
        let [outputs, inputs] = [0, 1].map(|axis| site.weight.value.dims().get(axis).copied().unwrap_or(0));
        let features = match width {
            BottleneckWidth::Features(features) => features,
            BottleneckWidth::Reduction(factor) => (outputs / factor.max(1)).max(1),
        };
        ("adapter_down.weight", vec![features, if beside.is_some() { inputs } else { outputs }])
    });
    Ok(Described { method: Arc::new(bottleneck), expected: Some(expected) })
}
