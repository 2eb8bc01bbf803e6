//! Attention: PyTorch's functions and modules to ours. A module's parameters are inputs of its case, by name.

use crate::case::Case;
use chainrule::nn::{AnyLayer, Gelu, Layer, Masks, Module, MultiheadAttention, Relu, Silu, TransformerDecoderLayer, TransformerEncoderLayer, params};
use chainrule::options::{Attention, Rotary};
use chainrule::{Result, Rng, Tape, Tensor};

/// The outputs of the case's operation; `None` when it is not of this family.
pub fn run(case: &Case, x: &[Tensor], tape: &Tape) -> Option<Result<Vec<Tensor>>> {
    let y = match case.op.as_str() {
        "sdpa" | "sdpa_masked" => attend(case, x),
        "multihead_attention" => multihead_attention(case, x, tape),
        "encoder_layer" => encoder_layer(case, x, tape),
        "decoder_layer" => decoder_layer(case, x, tape),
        "rope_half" => rope(case, x, false),
        "rope_interleaved" => rope(case, x, true),
        _ => return None,
    };
    Some(y.map(|y| vec![y]))
}

fn attend(case: &Case, x: &[Tensor]) -> Result<Tensor> {
    let mask = x.get(3).map(|mask| if mask.dtype().is_float() { Ok(mask.clone()) } else { mask.greater(&Tensor::scalar(0.0, mask.dtype())?) });
    let how = Attention {
        causal: (case.flag("causal") || case.flag("is_causal")).then_some(0),
        mask: mask.transpose()?,
        scale: case.has("scale").then(|| case.float("scale")),
        dropout: case.float_or("dropout_p", 0.0),
    };
    Ok(x[0].scaled_dot_product_attention(&x[1], &x[2], &how)?)
}

fn rope(case: &Case, x: &[Tensor], interleaved: bool) -> Result<Tensor> {
    let (steps, width) = (x[0].dims()[x[0].rank() - 2], x[0].dims()[x[0].rank() - 1]);
    let rotary = Rotary::new(steps, width, case.float_or("base", 10000.0))?;
    Ok(x[0].rope(&if interleaved { rotary.interleaved() } else { rotary }, 0)?)
}

/// The names of the inputs.
fn names(case: &Case) -> Vec<&str> {
    case.arguments["input_names"].as_array().map(|names| names.iter().filter_map(|name| name.as_str()).collect()).unwrap_or_default()
}

/// Reads the inputs in place of the module's parameters.
fn bind(module: &dyn Module, case: &Case, x: &[Tensor], tape: &Tape) -> Result<()> {
    let names = names(case);
    let mut result = Ok(());
    params(module, |path, param| {
        let at = names.iter().position(|name| *name == path).unwrap_or_else(|| panic!("{}: no input for {path}", case.name));
        if let Err(error) = tape.bind(param.id, &x[at]) {
            result = Err(error.into());
        }
    });
    result
}

fn masks(causal: bool) -> Masks {
    if causal { Masks::causal() } else { Masks::default() }
}

/// Whether the module has biases.
fn biased(case: &Case) -> bool {
    names(case).iter().any(|name| name.ends_with("bias"))
}

fn multihead_attention(case: &Case, x: &[Tensor], tape: &Tape) -> Result<Tensor> {
    let rng = &mut Rng::seeded(0);
    let (dim, heads, names) = (case.size("dim"), case.size("heads"), names(case));
    let width = |name: &str| names.iter().position(|n| *n == name).map(|at| x[at].dims()[1]);
    let layer = match (width("k_proj_weight"), width("v_proj_weight")) {
        (Some(key), Some(value)) => MultiheadAttention::with_widths(dim, heads, key, value, rng)?,
        _ => MultiheadAttention::new(dim, heads, rng)?,
    };
    let layer = if biased(case) { layer } else { layer.without_bias() };
    bind(&layer, case, x, tape)?;
    let inputs = names.iter().take_while(|name| name.starts_with('x')).count();
    let (key, value) = (&x[1.min(inputs - 1)], &x[2.min(inputs - 1)]);
    Ok(layer.attend(&x[0], key, value, &masks(case.flag("causal")))?)
}

fn encoder_layer(case: &Case, x: &[Tensor], tape: &Tape) -> Result<Tensor> {
    let layer = TransformerEncoderLayer::new(case.size("dim"), case.size("heads"), case.size("ff"), &mut Rng::seeded(0))?;
    let mut layer = layer.dropout(0.0).eps(case.float_or("layer_norm_eps", 1e-5));
    (layer.activation, layer.norm_first) = (activation(case), case.flag("norm_first"));
    let layer = if biased(case) { layer } else { layer.without_bias() };
    bind(&layer, case, x, tape)?;
    Ok(if case.flag("causal") { layer.masked(&x[0], &Masks::causal())? } else { layer.forward(&x[0])? })
}

fn decoder_layer(case: &Case, x: &[Tensor], tape: &Tape) -> Result<Tensor> {
    let layer = TransformerDecoderLayer::new(case.size("dim"), case.size("heads"), case.size("ff"), &mut Rng::seeded(0))?;
    let mut layer = layer.dropout(0.0).eps(case.float_or("layer_norm_eps", 1e-5));
    (layer.activation, layer.norm_first) = (activation(case), case.flag("norm_first"));
    let layer = if biased(case) { layer } else { layer.without_bias() };
    bind(&layer, case, x, tape)?;
    Ok(layer.decode(&x[0], &x[1], &masks(case.flag("causal")), &Masks::default())?)
}

fn activation(case: &Case) -> Box<dyn AnyLayer> {
    match case.text("activation") {
        "gelu" => Box::new(Gelu),
        "silu" => Box::new(Silu),
        _ => Box::new(Relu),
    }
}
