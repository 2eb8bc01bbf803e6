//! The named workloads: one call of a kernel, one training step, one inference, each as a value that can be timed, counted and compared.
#![forbid(unsafe_code)]

pub mod counters;
mod dcgan;
mod encoder;
pub mod gpu;
mod inference;
mod kernels;
pub mod measure;
mod models;
mod recurrent;
mod resnet;
pub mod scaling;
mod training;
mod vgg;
pub mod workload;

use workload::Workload;

/// All workloads, in their order.
pub fn workloads() -> impl Iterator<Item = &'static Workload> {
    [kernels::WORKLOADS, training::WORKLOADS, dcgan::WORKLOADS, inference::WORKLOADS].into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The names, which the peers' programs share.
    const NAMES: [&str; 36] = [
        "gemm_64",
        "gemm_256",
        "gemm_1024",
        "linear_fwd_bwd_512x1024x1024",
        "conv3x3_fwd_bwd_32x64x32x32",
        "conv5x5_fwd_bwd_64x6x14x14",
        "depthwise3x3_fwd_bwd_16x128x28x28",
        "conv1x1_fwd_bwd_16x256x14x14",
        "maxpool2_fwd_bwd_64x32x28x28",
        "batchnorm_fwd_bwd_32x64x32x32",
        "layernorm_fwd_bwd_4096x512",
        "softmax_fwd_bwd_4096x512",
        "gelu_fwd_bwd_4M",
        "add_bcast_4096x1024",
        "sum_axis0_4096x1024",
        "transpose_copy_2048",
        "embedding_fwd_bwd_8192x256_2048",
        "attention_fwd_bwd_8x8x256x64",
        "attention_causal_fwd_1x8x2048x64",
        "adam_step_10M",
        "mlp_train_b64",
        "lenet_train_b64",
        "mnist_cnn_train_b64",
        "resnet18_cifar_train_b16",
        "vgg16_frozen_train_b4_64px",
        "lstm_lm_train_b32_t64",
        "gru_lm_train_b32_t64",
        "bilstm_cls_train_b32_t100",
        "encoder_train_b16_t128",
        "encoder_lora_train_b16_t128",
        "dcgan_train_b64",
        "mlp_infer_b1",
        "lenet_infer_b1",
        "resnet18_cifar_infer_b1",
        "encoder_infer_b1_t128",
        "lstm_infer_b1_t64",
    ];

    #[test]
    fn every_workload_is_there() {
        assert!(workloads().map(|workload| workload.name).eq(NAMES));
    }
}
