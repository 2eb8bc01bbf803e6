//! The methods, each with settings that touch as many kinds of layers as it can adapt.

use super::model::{Everything, everything};
use chainrule_autograd::Rng;
use chainrule_finetune::{Adapted, BitFit, Bottleneck, BottleneckActivation, Ia3, LayerNormTuning, Lora, LoraBias, LoraInit, Result, Vera};

pub struct Row {
    pub name: &'static str,
    pub add: fn(&mut Adapted<Everything>, &mut Rng) -> Result<()>,
    /// Whether it is a change of weights.
    pub merges: bool,
    /// Whether its gradients leave something out on purpose.
    pub partial: bool,
}

/// All layers that LoRA adapts.
pub const LAYERS: [&str; 14] = [
    "embedding",
    "conv",
    "lstm.weight_ih_l0",
    "lstm.weight_hh_l0",
    "lstm.weight_hh_l0_reverse",
    "gru.weight_ih_l0",
    "gru.weight_hh_l0",
    "attention.in_proj",
    "attention.out_proj",
    "cross.q_proj",
    "cross.k_proj",
    "cross.v_proj",
    "intermediate",
    "output",
];

pub const ROWS: &[Row] = &[
    Row { name: "lora", add: |m, rng| m.add("a", Lora::rank(2).alpha(3.0).targets(LAYERS).saving(["classifier"]), rng), merges: true, partial: false },
    Row {
        name: "lora with patterns, biases and normal A",
        add: |m, rng| {
            let lora = Lora::rank(2).rank_stabilized().rank_of("weight_hh_l0", 1).alpha_of("*.q_proj", 5.0).init(LoraInit::Gaussian);
            m.add("a", lora.targets(LAYERS).bias(LoraBias::LoraOnly), rng)
        },
        merges: true,
        partial: false,
    },
    Row { name: "lora on all linear layers", add: |m, rng| m.add("a", Lora::rank(2).bias(LoraBias::All), rng), merges: true, partial: false },
    Row { name: "dora", add: |m, rng| m.add("a", Lora::rank(2).dora().targets(LAYERS).saving(["classifier"]), rng), merges: true, partial: true },
    Row {
        name: "lora with dropout",
        add: |m, rng| m.add("a", Lora::rank(2).dropout(0.3).targets(["embedding", "conv", "in_proj", "output"]), rng),
        merges: true,
        partial: false,
    },
    Row {
        name: "dora with dropout",
        add: |m, rng| m.add("a", Lora::rank(2).dropout(0.3).dora().targets(["embedding", "conv", "in_proj", "output"]), rng),
        merges: true,
        partial: true,
    },
    Row {
        name: "ia3",
        add: |m, rng| m.add("a", Ia3::new(["conv", "in_proj", "k_proj", "v_proj", "intermediate", "output"], ["output", "conv"]), rng),
        merges: true,
        partial: false,
    },
    Row { name: "ia3 by outputs", add: |m, rng| m.add("a", Ia3::outputs(["conv", "output"]).saving(["classifier"]), rng), merges: true, partial: false },
    Row { name: "vera", add: |m, rng| m.add("a", Vera::rank(6).targets(["in_proj", "q_proj", "intermediate", "output"]), rng), merges: true, partial: false },
    Row {
        name: "bottleneck",
        add: |m, rng| m.add("a", Bottleneck::houlsby().targets(["out_proj", "output"]).width(2).saving(["classifier"]), rng),
        merges: false,
        partial: false,
    },
    Row {
        name: "bottleneck beside, with a norm",
        add: |m, rng| m.add("a", Bottleneck::parallel().targets(["output"]).reduction(2).norm().activation(BottleneckActivation::Tanh), rng),
        merges: false,
        partial: false,
    },
    Row { name: "bitfit", add: |m, rng| m.add("a", BitFit::new(), rng), merges: true, partial: false },
    Row { name: "bitfit on some", add: |m, rng| m.add("a", BitFit::new().targets(["output", "lstm"]), rng), merges: true, partial: false },
    Row { name: "layer norm tuning", add: |m, rng| m.add("a", LayerNormTuning::new(), rng), merges: true, partial: false },
];

/// A new adapter of this row, and the base it is of.
pub fn adapted(row: &Row, seed: u64) -> (Everything, Adapted<Everything>) {
    let base = everything();
    let mut model = Adapted::new(base.clone());
    (row.add)(&mut model, &mut Rng::seeded(seed)).unwrap_or_else(|error| panic!("{}: {error}", row.name));
    (base, model)
}
