//! All layers, with settings that tell their parameters apart.

#[path = "windows.rs"]
mod windows;

use chainrule_autograd::{DType, Rng, Tensor};
use chainrule_nn::*;

pub struct Case {
    pub name: &'static str,
    pub layer: BoxedLayer,
    pub input: Tensor,
    pub output: Vec<usize>,
    /// A shape that does not fit, where there is one.
    pub wrong: Option<Vec<usize>>,
    /// The paths of its parameters and buffers, as PyTorch's state dict has them.
    pub keys: Vec<&'static str>,
}

/// Both a layer and where it gets its numbers from are fresh in every call.
pub fn cases() -> Vec<Case> {
    let rng = &mut Rng::seeded(11);
    let mut cases = Vec::new();
    let mut add = |name: &'static str, layer: BoxedLayer, input: &[usize], output: &[usize], wrong: Option<&[usize]>, keys: &[&'static str]| {
        let input = Tensor::uniform(input, -2.0, 2.0, DType::F32, &mut Rng::seeded(5)).unwrap();
        cases.push(Case { name, layer, input, output: output.to_vec(), wrong: wrong.map(<[usize]>::to_vec), keys: keys.to_vec() });
    };
    let affine = ["bias", "weight"];
    let tracked = ["bias", "num_batches_tracked", "running_mean", "running_var", "weight"];

    add("Linear", Box::new(Linear::new(3, 4, rng).unwrap()), &[2, 5, 3], &[2, 5, 4], Some(&[2, 4]), &affine);
    add("Linear", Box::new(Linear::new(3, 4, rng).unwrap().without_bias()), &[2, 3], &[2, 4], Some(&[2, 4]), &["weight"]);
    add("Conv2d", Box::new(Conv2d::new(2, 3, 3, rng).unwrap()), &[2, 2, 5, 4], &[2, 3, 3, 2], Some(&[2, 3, 5, 4]), &affine);
    let conv = Conv2d::grouped(4, 6, [3, 2], 2, rng).unwrap().stride([2, 1]).padding((1, 2)).dilation([1, 2]).without_bias();
    add("Conv2d", Box::new(conv), &[2, 4, 6, 5], &[2, 6, 3, 7], Some(&[2, 4, 6]), &["weight"]);
    add("BatchNorm1d", Box::new(BatchNorm1d::new(3).unwrap()), &[4, 3], &[4, 3], Some(&[4, 2]), &tracked);
    add("BatchNorm1d", Box::new(BatchNorm1d::new(3).unwrap().without_affine().cumulative()), &[2, 3, 5], &[2, 3, 5], Some(&[2, 3, 5, 1]), &tracked[1..4]);
    add("BatchNorm2d", Box::new(BatchNorm2d::new(2).unwrap().momentum(0.3).eps(1e-3)), &[2, 2, 3, 2], &[2, 2, 3, 2], Some(&[2, 3, 3, 2]), &tracked);
    add("BatchNorm2d", Box::new(BatchNorm2d::new(2).unwrap().without_running_statistics()), &[2, 2, 3, 2], &[2, 2, 3, 2], Some(&[2, 2]), &affine);
    add("BatchNorm3d", Box::new(BatchNorm3d::new(2).unwrap()), &[2, 2, 2, 1, 3], &[2, 2, 2, 1, 3], Some(&[2, 2, 3]), &tracked);
    add("GroupNorm", Box::new(GroupNorm::new(2, 4).unwrap().eps(1e-3)), &[2, 4, 3], &[2, 4, 3], Some(&[2, 2, 3]), &affine);
    add("GroupNorm", Box::new(GroupNorm::new(1, 4).unwrap().without_affine()), &[2, 4, 1, 2], &[2, 4, 1, 2], Some(&[4]), &[]);
    let instance = InstanceNorm1d::new(3).unwrap().affine().unwrap().eps(1e-3);
    add("InstanceNorm1d", Box::new(instance), &[2, 3, 4], &[2, 3, 4], Some(&[2, 4, 3]), &affine);
    add("InstanceNorm1d", Box::new(InstanceNorm1d::new(3).unwrap()), &[3, 4], &[3, 4], Some(&[2, 3, 1]), &[]);
    let instance = InstanceNorm2d::new(2).unwrap().affine().unwrap().running_statistics().unwrap().momentum(0.3);
    add("InstanceNorm2d", Box::new(instance), &[2, 2, 3, 2], &[2, 2, 3, 2], Some(&[2, 3, 3, 2]), &tracked);
    let instance = InstanceNorm3d::new(2).unwrap().running_statistics().unwrap();
    add("InstanceNorm3d", Box::new(instance), &[2, 1, 3, 2], &[2, 1, 3, 2], Some(&[2, 2]), &tracked[1..4]);
    add("RmsNorm", Box::new(RmsNorm::new(&[3, 2]).unwrap().eps(1e-3)), &[4, 3, 2], &[4, 3, 2], Some(&[4, 2, 3]), &["weight"]);
    add("RmsNorm", Box::new(RmsNorm::new(&[3]).unwrap().without_affine()), &[2, 3], &[2, 3], Some(&[2, 2]), &[]);
    let mut weighted = Linear::new(3, 4, rng).unwrap();
    weighted.adapter = Some(Box::new(WeightNorm::of(&weighted.weight, Some(0)).unwrap()));
    add("WeightNorm", Box::new(weighted), &[2, 3], &[2, 4], Some(&[2, 4]), &["bias", "weight", "weight_g"]);
    let mut weighted = Conv2d::new(2, 3, [1, 2], rng).unwrap();
    // Its vectors are constants to the backward pass, which is the derivative once they have settled.
    let settled = SpectralNorm { iterations: 200, ..SpectralNorm::of(&weighted.weight, rng).unwrap() };
    weighted.adapter = Some(Box::new(settled));
    add("SpectralNorm", Box::new(weighted), &[2, 2, 1, 3], &[2, 3, 1, 2], Some(&[2, 3, 1, 3]), &["bias", "weight", "weight_u", "weight_v"]);
    add("LayerNorm", Box::new(LayerNorm::new(&[3, 2]).unwrap().eps(1e-3)), &[4, 3, 2], &[4, 3, 2], Some(&[4, 2, 3]), &affine);
    add("LayerNorm", Box::new(LayerNorm::new(&[3]).unwrap().without_bias()), &[2, 3], &[2, 3], Some(&[3, 2]), &["weight"]);
    add("LayerNorm", Box::new(LayerNorm::new(&[3]).unwrap().without_affine()), &[2, 3], &[2, 3], None, &[]);
    add("MaxPool2d", Box::new(MaxPool2d::new([3, 2]).stride([1, 2]).padding([1, 1]).dilation([2, 1])), &[2, 2, 5, 4], &[2, 2, 3, 3], Some(&[4]), &[]);
    add("MaxPool2d", Box::new(MaxPool2d::new(2).ceil_mode()), &[1, 2, 5, 4], &[1, 2, 3, 2], Some(&[4]), &[]);
    add("AvgPool2d", Box::new(AvgPool2d::new([3, 2]).stride(2).padding([1, 0]).without_padding_count()), &[2, 2, 5, 4], &[2, 2, 3, 2], Some(&[4]), &[]);
    add("AvgPool2d", Box::new(AvgPool2d::new(2).divisor(3)), &[2, 2, 5, 4], &[2, 2, 2, 2], Some(&[4]), &[]);
    add("AdaptiveAvgPool2d", Box::new(AdaptiveAvgPool2d::new([2, 3])), &[2, 2, 5, 4], &[2, 2, 2, 3], Some(&[4]), &[]);
    add("AdaptiveMaxPool2d", Box::new(AdaptiveMaxPool2d::new([2, 3])), &[2, 2, 5, 4], &[2, 2, 2, 3], Some(&[4]), &[]);
    windows::add(rng, &mut add);
    add("Flatten", Box::new(Flatten::new()), &[2, 3, 2], &[2, 6], None, &[]);
    add("Flatten", Box::new(Flatten::between(0, 1)), &[2, 3, 2], &[6, 2], Some(&[3]), &[]);
    add("Unflatten", Box::new(Unflatten::new(-1, &[3, 2])), &[2, 6], &[2, 3, 2], Some(&[2, 5]), &[]);
    add("Dropout", Box::new(Dropout::new(0.4)), &[3, 5], &[3, 5], None, &[]);
    let shared = ["in_proj_bias", "in_proj_weight", "out_proj.bias", "out_proj.weight"];
    let attention = MultiheadAttention::new(4, 2, rng).unwrap().dropout(0.3).rotary(RotaryPositions::with_base(5, 2, 100.0).unwrap());
    add("MultiheadAttention", Box::new(attention), &[2, 3, 4], &[2, 3, 4], Some(&[2, 3, 5]), &shared);
    let attention = MultiheadAttention::with_widths(4, 1, 4, 4, rng).unwrap().without_bias();
    let separate = ["k_proj_weight", "out_proj.weight", "q_proj_weight", "v_proj_weight"];
    add("MultiheadAttention", Box::new(attention), &[3, 4], &[3, 4], None, &separate);
    let layer = || TransformerEncoderLayer::new(4, 2, 3, &mut Rng::seeded(3));
    let bare = layer().unwrap().activation(Gelu).norm_first().without_bias();
    let unbiased = ["linear1.weight", "linear2.weight", "norm1.weight", "norm2.weight", "self_attn.in_proj_weight", "self_attn.out_proj.weight"];
    add("TransformerEncoderLayer", Box::new(bare), &[2, 3, 4], &[2, 3, 4], None, &unbiased);
    let encoder = TransformerEncoder::new(1, layer).unwrap().norm(LayerNorm::new(&[4]).unwrap());
    let keys = [
        "layers.0.linear1.bias",
        "layers.0.linear1.weight",
        "layers.0.linear2.bias",
        "layers.0.linear2.weight",
        "layers.0.norm1.bias",
        "layers.0.norm1.weight",
        "layers.0.norm2.bias",
        "layers.0.norm2.weight",
        "layers.0.self_attn.in_proj_bias",
        "layers.0.self_attn.in_proj_weight",
        "layers.0.self_attn.out_proj.bias",
        "layers.0.self_attn.out_proj.weight",
        "norm.bias",
        "norm.weight",
    ];
    add("TransformerEncoder", Box::new(encoder), &[2, 3, 4], &[2, 3, 4], None, &keys);
    add("SinusoidalPositions", Box::new(SinusoidalPositions::new(5, 4).unwrap()), &[2, 3, 4], &[2, 3, 4], Some(&[2, 6, 4]), &[]);
    add("RotaryPositions", Box::new(RotaryPositions::new(5, 4).unwrap().interleaved()), &[2, 3, 6], &[2, 3, 6], None, &[]);
    add("Dropout1d", Box::new(Dropout1d::new(0.4)), &[3, 5], &[3, 5], Some(&[3]), &[]);
    add("Dropout2d", Box::new(Dropout2d::new(0.4)), &[2, 3, 2, 2], &[2, 3, 2, 2], Some(&[3]), &[]);
    add("Dropout3d", Box::new(Dropout3d::new(0.4)), &[2, 3, 2, 1, 2], &[2, 3, 2, 1, 2], Some(&[3, 2]), &[]);
    add("AlphaDropout", Box::new(AlphaDropout::new(0.4)), &[3, 5], &[3, 5], None, &[]);
    add("DropPath", Box::new(DropPath::new(0.4)), &[3, 5], &[3, 5], Some(&[]), &[]);
    add("Prelu", Box::new(Prelu::new(3).unwrap()), &[2, 3, 4], &[2, 3, 4], Some(&[2, 4]), &["weight"]);
    add("Glu", Box::new(Glu::new(1)), &[2, 4, 3], &[2, 2, 3], Some(&[2, 3]), &[]);
    add("SwiGlu", Box::new(SwiGlu::new(-1)), &[2, 4], &[2, 2], Some(&[2, 3]), &[]);
    add("GeGlu", Box::new(GeGlu::new(-1)), &[2, 4], &[2, 2], Some(&[2, 3]), &[]);
    add("ReGlu", Box::new(ReGlu::new(-1)), &[2, 4], &[2, 2], Some(&[2, 3]), &[]);
    add("Softmax2d", Box::new(Softmax2d), &[2, 3, 2, 2], &[2, 3, 2, 2], Some(&[2, 3]), &[]);
    add("Identity", Box::new(Identity), &[3], &[3], None, &[]);
    let sequential = Sequential::new().add(Linear::new(3, 4, rng).unwrap()).add(Tanh).add(Linear::new(4, 2, rng).unwrap());
    add("Sequential", Box::new(sequential), &[2, 3], &[2, 2], Some(&[2, 4]), &["0.bias", "0.weight", "2.bias", "2.weight"]);
    let checkpointed = Sequential::new().add(Linear::new(3, 4, rng).unwrap()).add(Dropout::new(0.3)).add(Linear::new(4, 2, rng).unwrap());
    add("Checkpointed", Box::new(Checkpointed::new(checkpointed)), &[2, 3], &[2, 2], Some(&[2, 4]), &["0.bias", "0.weight", "2.bias", "2.weight"]);

    let lstm = [
        "bias_hh_l0",
        "bias_hh_l0_reverse",
        "bias_ih_l0",
        "bias_ih_l0_reverse",
        "weight_hh_l0",
        "weight_hh_l0_reverse",
        "weight_ih_l0",
        "weight_ih_l0_reverse",
    ];
    let stacked = ["bias_hh_l0", "bias_hh_l1", "bias_ih_l0", "bias_ih_l1", "weight_hh_l0", "weight_hh_l1", "weight_ih_l0", "weight_ih_l1"];
    add("Rnn", Box::new(Rnn::new(3, 4, 1, rng).unwrap().without_bias()), &[2, 5, 3], &[2, 5, 4], Some(&[2, 5, 4]), &["weight_hh_l0", "weight_ih_l0"]);
    add("Rnn", Box::new(Rnn::new(3, 4, 2, rng).unwrap().relu().dropout(0.3)), &[5, 3], &[5, 4], Some(&[5, 2]), &stacked);
    add("Lstm", Box::new(Lstm::bidirectional(3, 2, 1, rng).unwrap()), &[2, 4, 3], &[2, 4, 4], Some(&[2, 4, 2]), &lstm);
    add("Gru", Box::new(Gru::new(3, 2, 2, rng).unwrap().dropout(0.5)), &[2, 4, 3], &[2, 4, 2], Some(&[4]), &stacked);

    macro_rules! activations {
        ($($layer:ident $value:expr;)*) => { $(add(stringify!($layer), Box::new($value), &[3, 4], &[3, 4], None, &[]);)* };
    }
    activations! {
        Relu Relu; Relu6 Relu6; Selu Selu; Gelu Gelu; GeluTanh GeluTanh; Silu Silu; Mish Mish; Sigmoid Sigmoid; LogSigmoid LogSigmoid; Tanh Tanh;
        Hardswish Hardswish; Hardsigmoid Hardsigmoid; LeakyRelu LeakyRelu::new(0.2); Elu Elu::new(0.7); Softplus Softplus::new(2.0, 1.5);
        Hardtanh Hardtanh::new(-0.8, 0.5); Softmax Softmax::new(0); Softmin Softmin::new(0);
        Celu Celu::new(0.7); Hardshrink Hardshrink::new(0.4); Softshrink Softshrink::new(0.4); Tanhshrink Tanhshrink; Softsign Softsign; Threshold Threshold::new(0.3, -2.0); Rrelu Rrelu::default();
        LogSoftmax LogSoftmax::default();
    }
    let bag = EmbeddingBag::new(5, 3, rng).unwrap().padding(1).unwrap();
    cases.push(Case {
        name: "EmbeddingBag",
        layer: Box::new(bag),
        input: Tensor::from_slice(&[4i64, 2, 0, 4], &[2, 2]).unwrap(),
        output: vec![2, 3],
        wrong: None,
        keys: vec!["weight"],
    });
    let embedding = Embedding::new(5, 3, rng).unwrap();
    cases.push(Case {
        name: "Embedding",
        layer: Box::new(embedding),
        input: Tensor::from_slice(&[4i64, 1, 0, 4], &[2, 2]).unwrap(),
        output: vec![2, 2, 3],
        wrong: None,
        keys: vec!["weight"],
    });
    cases
}

/// The layers that the sources define.
#[test]
fn the_table_holds_every_layer() {
    // Also run from beside the facade's tests.
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../chainrule-nn/src/layers");
    let (mut found, mut missing) = (0, Vec::new());
    let names: Vec<&str> = cases().iter().map(|c| c.name).collect();
    for file in std::fs::read_dir(folder).unwrap() {
        let text = std::fs::read_to_string(file.unwrap().path()).unwrap();
        let lines = text.lines().map(str::trim_start);
        let named = lines.filter_map(|line| {
            let activation = line.split_once(", \"").and_then(|(head, _)| head.split(' ').next()).filter(|_| line.ends_with("\";"));
            ["impl Layer for ", "adapted!("].iter().find_map(|start| line.strip_prefix(start)).or(activation)
        });
        for name in named.map(|rest| rest.split(|c: char| !c.is_alphanumeric()).next().unwrap()).filter(|name| !name.is_empty()) {
            found += 1;
            if !names.contains(&name) {
                missing.push(name.to_string());
            }
        }
    }
    assert!(found > 30, "{found}");
    assert_eq!(missing, Vec::<String>::new(), "layers that tests/layers/table.rs lacks");
}
