//! Configurations of methods.

use super::layout::{escaped, expression};
use super::{BITFIT, BOTTLENECK, Config};
use crate::{
    Bottleneck, BottleneckActivation, BottleneckWidth, Ia3, Lora, LoraBias, LoraInit, PTuning, PrefixTuning, PromptTuning, Reparameterisation, Result, Vera,
};
use chainrule_nn::Operation;

/// The settings of LoRA; ranks and alphas by whole paths.
pub(crate) fn lora(lora: &Lora, layers: &[(String, Operation)], config: &mut Config) {
    config.set("peft_type", "LORA");
    config.set("r", lora.rank);
    config.set("lora_alpha", lora.alpha);
    config.set("lora_dropout", lora.dropout);
    config.set("use_rslora", lora.rank_stabilized);
    config.set("use_dora", lora.dora);
    config.set("lora_bias", lora.bias_of_b);
    config.set(
        "bias",
        match lora.bias {
            LoraBias::None => "none",
            LoraBias::All => "all",
            LoraBias::LoraOnly => "lora_only",
        },
    );
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
pub(crate) fn ia3(ia3: &Ia3, layers: &[(String, Operation)], config: &mut Config) -> Result<()> {
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
pub(crate) fn prompt(prompt: &PromptTuning, config: &mut Config) {
    config.set("peft_type", "PROMPT_TUNING");
    config.set("prompt_tuning_init", "RANDOM");
    config.set("num_virtual_tokens", prompt.tokens);
}

/// The settings of P-tuning; the network itself is not in the file.
pub(crate) fn p_tuning(prompt: &PTuning, config: &mut Config) {
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
pub(crate) fn prefix(prefix: &PrefixTuning, config: &mut Config) {
    config.set("peft_type", "PREFIX_TUNING");
    config.set("num_virtual_tokens", prefix.tokens);
    config.set("prefix_projection", prefix.projection.is_some());
    if let Some(hidden) = prefix.projection {
        config.set("encoder_hidden_size", hidden);
    }
}

/// The settings of VeRA; the projections are in the file.
pub(crate) fn vera(vera: &Vera, config: &mut Config) {
    config.set("peft_type", "VERA");
    config.set("r", vera.rank);
    config.set("vera_dropout", vera.dropout);
    config.set("d_initial", vera.initial);
    config.set("projection_prng_key", vera.seed as usize);
    config.set("save_projection", true);
}

/// The settings of bottleneck adapters, which PEFT has not.
pub(crate) fn bottleneck(bottleneck: &Bottleneck, config: &mut Config) {
    config.set("peft_type", BOTTLENECK);
    match bottleneck.width {
        BottleneckWidth::Features(features) => config.set("width", features),
        BottleneckWidth::Reduction(factor) => config.set("reduction_factor", factor),
    }
    config.set(
        "activation",
        match bottleneck.activation {
            BottleneckActivation::Gelu => "gelu",
            BottleneckActivation::Relu => "relu",
            BottleneckActivation::Silu => "silu",
            BottleneckActivation::Tanh => "tanh",
        },
    );
    config.set("norm", bottleneck.norm);
    config.set("parallel", bottleneck.beside.is_some());
    if let Some(scale) = bottleneck.beside {
        config.set("scale", scale);
    }
}

/// BitFit, which PEFT has not by itself.
pub(crate) fn bitfit(config: &mut Config) {
    config.set("peft_type", BITFIT);
}
