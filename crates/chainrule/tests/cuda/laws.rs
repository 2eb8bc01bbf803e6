//! What nn, optim, finetune and train promise holds on a GPU as on the CPU.

mod adapters;
mod keeping;
mod layers;
mod optimizers;
#[allow(dead_code, reason = "nn's own tests ask for more")]
#[path = "../../../chainrule-nn/tests/layers/table.rs"]
mod table;
