//! One operation each. `fwd_bwd`: forward, then the gradients of every input from a given upstream gradient.

use crate::workload::{Show, Step, Workload};
use chainrule::nn::{BatchNorm2d, Layer, LayerNorm, Param};
use chainrule::options::{Attention, Conv2d, Pool2d};
use chainrule::{DType, Gradients, Result, Rng, Tape, Tensor, TensorError, optim::Adam};

/// In their order.
pub const WORKLOADS: &[Workload] = &[
    Workload::new("gemm_64", |rng| gemm(64, rng)),
    Workload::new("gemm_256", |rng| gemm(256, rng)),
    Workload::new("gemm_1024", |rng| gemm(1024, rng)),
    Workload::new("linear_fwd_bwd_512x1024x1024", |rng| fwd_bwd(&[&[512, 1024], &[1024, 1024], &[1024]], rng, |x| x[0].linear(&x[1], Some(&x[2])))),
    Workload::new("conv3x3_fwd_bwd_32x64x32x32", |rng| conv(&[32, 64, 32, 32], &[64, 64, 3, 3], 1, 1, rng)),
    Workload::new("conv5x5_fwd_bwd_64x6x14x14", |rng| conv(&[64, 6, 14, 14], &[16, 6, 5, 5], 0, 1, rng)),
    Workload::new("depthwise3x3_fwd_bwd_16x128x28x28", |rng| conv(&[16, 128, 28, 28], &[128, 1, 3, 3], 1, 128, rng)),
    Workload::new("conv1x1_fwd_bwd_16x256x14x14", |rng| conv(&[16, 256, 14, 14], &[256, 256, 1, 1], 0, 1, rng)),
    Workload::new("maxpool2_fwd_bwd_64x32x28x28", |rng| fwd_bwd(&[&[64, 32, 28, 28]], rng, |x| x[0].max_pool2d(&Pool2d::new([2, 2])))),
    Workload::new("batchnorm_fwd_bwd_32x64x32x32", |rng| {
        let norm = BatchNorm2d::new(64)?;
        fwd_bwd(&[&[32, 64, 32, 32]], rng, move |x| norm.forward(&x[0]))
    }),
    Workload::new("layernorm_fwd_bwd_4096x512", |rng| {
        let norm = LayerNorm::new(&[512])?;
        fwd_bwd(&[&[4096, 512]], rng, move |x| norm.forward(&x[0]))
    }),
    Workload::new("softmax_fwd_bwd_4096x512", |rng| fwd_bwd(&[&[4096, 512]], rng, |x| x[0].softmax(-1))),
    Workload::new("gelu_fwd_bwd_4M", |rng| fwd_bwd(&[&[1 << 22]], rng, |x| x[0].gelu())),
    Workload::new("add_bcast_4096x1024", |rng| forward(&[&[4096, 1024], &[1024]], rng, |x| x[0].add(&x[1]))),
    Workload::new("sum_axis0_4096x1024", |rng| forward(&[&[4096, 1024]], rng, |x| x[0].sum_over(&[0], false))),
    Workload::new("transpose_copy_2048", |rng| forward(&[&[2048, 2048]], rng, |x| Ok(x[0].transpose(0, 1)?.array().contiguous()?.into()))),
    Workload::new("embedding_fwd_bwd_8192x256_2048", |rng| {
        let tokens = integers(&[16, 128], 8192, rng)?;
        fwd_bwd(&[&[8192, 256]], rng, move |weight| weight[0].embedding(&tokens, None))
    }),
    Workload::new("attention_fwd_bwd_8x8x256x64", |rng| fwd_bwd(&[&[8, 8, 256, 64][..]; 3], rng, |x| attend(x, None))),
    Workload::new("attention_causal_fwd_1x8x2048x64", |rng| forward(&[&[1, 8, 2048, 64][..]; 3], rng, |x| attend(x, Some(0)))),
    Workload::new("adam_step_10M", adam_step),
];

/// Standard normal numbers.
pub fn normal(dims: &[usize], rng: &mut Rng) -> Result<Tensor> {
    Ok(Tensor::normal(dims, 0.0, 1.0, DType::F32, rng)?)
}

/// Whole numbers below `end`.
pub fn integers(dims: &[usize], end: usize, rng: &mut Rng) -> Result<Tensor> {
    let numbers: Vec<i64> = (0..dims.iter().product()).map(|_| rng.below(end) as i64).collect();
    Ok(Tensor::from_slice(&numbers, dims)?)
}

fn gemm(n: usize, rng: &mut Rng) -> Result<Step> {
    forward(&[&[n, n], &[n, n]], rng, |x| x[0].matmul(&x[1]))
}

fn conv(input: &[usize], weight: &[usize], padding: usize, groups: usize, rng: &mut Rng) -> Result<Step> {
    let window = Conv2d { padding: [padding; 2], groups, ..Conv2d::default() };
    fwd_bwd(&[input, weight], rng, move |x| x[0].conv2d(&x[1], None, &window))
}

/// Scaled dot-product attention of query, key and value.
pub fn attend(x: &[Tensor], causal: Option<usize>) -> Result<Tensor, TensorError> {
    x[0].scaled_dot_product_attention(&x[1], &x[2], &Attention { causal, ..Attention::default() })
}

fn draw(shapes: &[&[usize]], rng: &mut Rng) -> Result<Vec<Tensor>> {
    shapes.iter().map(|dims| normal(dims, rng)).collect()
}

/// The operation alone, off the tape.
fn forward(shapes: &[&[usize]], rng: &mut Rng, op: impl Fn(&[Tensor]) -> Result<Tensor, TensorError> + 'static) -> Result<Step> {
    let inputs = draw(shapes, rng)?;
    Ok(Box::new(move |show| {
        show(op(&inputs)?.array());
        Ok(())
    }))
}

/// The operation, and the gradients of every input from a given upstream gradient.
pub fn fwd_bwd(shapes: &[&[usize]], rng: &mut Rng, op: impl Fn(&[Tensor]) -> Result<Tensor, TensorError> + 'static) -> Result<Step> {
    let inputs = draw(shapes, rng)?;
    let upstream = normal(op(&inputs)?.dims(), rng)?;
    let (mut rng, mut watched) = (rng.split(), vec![]);
    Ok(Box::new(move |show| forward_backward(&inputs, &upstream, &op, &mut rng, &mut watched, show)))
}

fn forward_backward(
    inputs: &[Tensor],
    upstream: &Tensor,
    op: impl Fn(&[Tensor]) -> Result<Tensor, TensorError>,
    rng: &mut Rng,
    watched: &mut Vec<Tensor>,
    show: Show,
) -> Result<()> {
    watched.clear(); // before the new tape, which takes over the old one's memory
    let tape = Tape::training(rng);
    watched.extend(inputs.iter().map(|x| tape.watch(x)));
    let y = op(watched)?;
    show(y.array());
    let gradients = y.backward_from(upstream.array())?;
    drop(y);
    watched.iter().filter_map(|x| gradients.wrt(x)).for_each(show);
    Ok(())
}

fn adam_step(rng: &mut Rng) -> Result<Step> {
    let dims = [10_000_000];
    let mut model = vec![Param::new(normal(&dims, rng)?.into_array())];
    let mut gradients = Gradients::default();
    gradients.insert(model[0].id, normal(&dims, rng)?.into_array());
    let mut adam = Adam::new(1e-3);
    Ok(Box::new(move |show| {
        adam.step(&mut model, &gradients)?;
        show(&model[0].value);
        Ok(())
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_shows_the_output_and_the_gradient_of_every_input() -> Result<()> {
        let mut rng = Rng::seeded(1);
        let (inputs, upstream) = (draw(&[&[3, 4], &[2, 4], &[2]], &mut rng)?, normal(&[3, 2], &mut rng)?);
        let op = |x: &[Tensor]| x[0].linear(&x[1], Some(&x[2]));
        let mut shown = vec![];
        forward_backward(&inputs, &upstream, op, &mut rng, &mut vec![], &mut |result| shown.push(result.to_vec::<f32>()))?;

        let tape = Tape::training(&mut rng);
        let watched: Vec<Tensor> = inputs.iter().map(|x| tape.watch(x)).collect();
        let y = op(&watched)?;
        let gradients = y.mul(&upstream)?.sum()?.backward()?;
        assert_eq!(shown.len(), 4);
        let expected = [y.array()].into_iter().chain(watched.iter().filter_map(|x| gradients.wrt(x)));
        for (got, expected) in shown.into_iter().zip(expected) {
            assert_eq!(got?, expected.to_vec::<f32>()?);
        }
        Ok(())
    }
}
