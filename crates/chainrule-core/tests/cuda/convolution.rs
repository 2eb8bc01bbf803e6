//! Convolution, its gradients and its transpose.

use crate::matmul::{on_both_products, rounding};
use crate::support::*;
use chainrule_core::ops::convolution::*;
use chainrule_core::ops::matmul::Activation;
use chainrule_core::{Array, DType};

fn check<const N: usize>(x: &[usize], weight: &[usize], window: Convolution<N>) {
    let what = format!("{x:?} {weight:?} {window:?}");
    let (x_dims, w_dims) = (x, weight);
    let (x, w, bias) = (noise(x, 1), noise(weight, 2), noise(&weight[..1], 3));
    // The longest sum: over a kernel, or over all places of all images.
    let longest = |all: &[&Array]| all.iter().map(|x| x.count() / x.dims()[1]).max().unwrap_or(1);
    let dy = noise(convolution(&x, &w, None, Activation::None, &window).unwrap().dims(), 4);
    agree(&what, rounding(longest(&[&dy, &w])), [&x, &w, &bias, &dy], |[x, w, bias, dy]| {
        Ok(vec![
            convolution(x, w, None, Activation::None, &window)?,
            convolution(x, w, Some(bias), Activation::Relu, &window)?,
            convolution_input_gradient(dy, w, x_dims, &window)?,
            convolution_weight_gradient(x, dy, w_dims, &window)?,
        ])
    });
}

fn image(stride: [usize; 2], padding: [usize; 2], dilation: [usize; 2], groups: usize) -> Conv2d {
    Conv2d { stride, padding, dilation, groups }
}

#[test]
fn windows_of_all_kinds() {
    for stride in [[1, 1], [2, 2], [3, 1]] {
        for padding in [[0, 0], [1, 2]] {
            for dilation in [[1, 1], [2, 1], [2, 3]] {
                for groups in [1, 2] {
                    check(&[2, 4, 8, 9], &[6, 4 / groups, 3, 2], image(stride, padding, dilation, groups));
                }
                check(&[2, 4, 8, 9], &[4, 1, 3, 2], image(stride, padding, dilation, 4));
            }
        }
    }
    // Steps that share a divisor with the dilation, wider than the kernel, and wider than the image.
    check(&[1, 3, 11, 10], &[2, 3, 3, 3], image([4, 6], [3, 2], [2, 3], 1));
    check(&[2, 2, 9, 8], &[3, 2, 2, 1], image([4, 3], [0, 0], [1, 1], 1));
    check(&[2, 2, 3, 3], &[3, 2, 2, 2], image([7, 5], [0, 1], [1, 1], 1));
}

#[test]
fn channels_of_all_numbers() {
    check(&[3, 1, 12, 12], &[6, 1, 5, 5], image([1, 1], [2, 2], [1, 1], 1));
    check(&[2, 6, 9, 9], &[16, 6, 5, 5], image([1, 1], [0, 0], [1, 1], 1));
    check(&[1, 3, 16, 15], &[20, 3, 7, 7], image([2, 2], [3, 3], [1, 1], 1));
    check(&[2, 33, 5, 4], &[35, 33, 3, 3], image([1, 1], [1, 1], [1, 1], 1));
    check(&[2, 40, 4, 4], &[72, 20, 3, 3], image([1, 1], [1, 1], [1, 1], 2));
    check(&[1, 1, 1, 1], &[1, 1, 1, 1], image([1, 1], [0, 0], [1, 1], 1));
}

#[test]
fn long_sums_are_cut() {
    // Over channels forward, over channels backward, over places.
    check(&[1, 60, 3, 3], &[3, 60, 3, 3], image([1, 1], [1, 1], [1, 1], 1));
    check(&[1, 3, 4, 4], &[150, 3, 3, 2], image([2, 1], [1, 1], [1, 1], 1));
    check(&[8, 2, 9, 9], &[4, 1, 2, 2], image([1, 1], [0, 0], [1, 1], 2));
    check(&[8, 1, 9, 9], &[2, 1, 2, 2], image([1, 1], [0, 0], [1, 1], 1));
}

#[test]
fn depthwise_kernels() {
    check(&[2, 5, 9, 8], &[5, 1, 3, 3], image([1, 1], [1, 1], [1, 1], 5));
    check(&[3, 3, 7, 11], &[6, 1, 3, 2], image([2, 3], [1, 0], [2, 1], 3));
    // Long enough to be cut.
    check(&[5, 2, 32, 31], &[4, 1, 3, 3], image([1, 1], [1, 1], [1, 1], 2));
}

#[test]
fn kernels_of_one_place_are_products() {
    on_both_products(|| {
        check(&[3, 5, 4, 6], &[7, 5, 1, 1], Conv2d::default());
        check(&[2, 5, 7, 5], &[7, 5, 1, 1], image([2, 2], [0, 0], [1, 1], 1));
    });
}

#[test]
fn sequences() {
    check(&[3, 4, 11], &[6, 2, 3], Conv1d { stride: [2], padding: [1], dilation: [2], groups: 2 });
    check(&[2, 3, 40], &[8, 3, 9], Conv1d { padding: [4], ..Conv1d::default() });
    check(&[4, 6, 20], &[6, 1, 4], Conv1d { stride: [3], padding: [2], groups: 6, ..Conv1d::default() });
}

#[test]
fn transposes() {
    let (x, w, bias) = (noise(&[2, 4, 5, 6], 1), noise(&[4, 3, 3, 4], 2), noise(&[6], 3));
    for (stride, dilation) in [([1, 1], [1, 1]), ([2, 2], [1, 1]), ([3, 2], [2, 3])] {
        let spread = ConvTranspose2d { stride, padding: [1, 2], output_padding: [stride[0] - 1, 0], dilation, groups: 2 };
        agree(&format!("{spread:?}"), rounding(48), [&x, &w, &bias], |[x, w, bias]| {
            Ok(vec![transposed_convolution(x, w, Some(bias), &spread)?, transposed_convolution(&x.select(0, 1)?, w, None, &spread)?])
        });
    }
    let (x, w) = (noise(&[2, 3, 9], 4), noise(&[3, 1, 4], 5));
    let spread = ConvTranspose1d { stride: [2], groups: 3, ..ConvTranspose1d::default() };
    agree("of sequences", rounding(4), [&x, &w, &bias], |[x, w, bias]| Ok(vec![transposed_convolution(x, w, Some(&bias.narrow(0, 0, 3)?), &spread)?]));
}

#[test]
fn views_and_single_examples() {
    let (x, w) = (noise(&[3, 4, 8, 6], 1), noise(&[5, 3, 3, 3], 2));
    agree("views", rounding(72), [&x, &w], |[x, w]| {
        let window = Conv2d::default();
        let part = x.narrow(1, 1, 3)?.transpose(2, 3)?;
        let turned = w.flip(&[2])?;
        let y = convolution(&part, &turned, None, Activation::LeakyRelu(0.25), &window)?;
        let dy = y.flip(&[3])?;
        Ok(vec![
            convolution_weight_gradient(&part, &dy, w.dims(), &window)?,
            convolution_input_gradient(&dy, &turned, part.dims(), &window)?,
            convolution(&part.select(0, 2)?, &turned, None, Activation::None, &window)?,
            y,
        ])
    });
}

#[test]
fn nothing_in_nothing_out() {
    let zeros = |dims: &[usize]| Array::zeros(dims, DType::F32).unwrap();
    let (none, no_channels, w, bias) = (zeros(&[0, 3, 5, 5]), zeros(&[1, 0, 3, 4]), noise(&[2, 3, 2, 2], 1), noise(&[2], 2));
    agree("empty", 0.0, [&none, &w], |[x, w]| {
        let y = convolution(x, w, None, Activation::None, &Conv2d::default())?;
        Ok(vec![convolution_input_gradient(&y, w, x.dims(), &Conv2d::default())?, convolution_weight_gradient(x, &y, w.dims(), &Conv2d::default())?, y])
    });
    agree("no channels", 0.0, [&no_channels, &bias], |[x, bias]| {
        let w = Array::zeros(&[2, 0, 2, 2], DType::F32)?.to(&x.device())?;
        Ok(vec![convolution(x, &w, Some(bias), Activation::None, &Conv2d::default())?])
    });
}

#[test]
fn the_same_bits_every_time() {
    let Some(gpu) = gpu() else { return };
    let (x, dy) = (noise(&[4, 3, 14, 14], 1).to(&gpu).unwrap(), noise(&[4, 6, 12, 12], 2).to(&gpu).unwrap());
    let bits = || {
        convolution_weight_gradient(&x, &dy, &[6, 3, 3, 3], &Conv2d::default())
            .unwrap()
            .to_vec::<f32>()
            .unwrap()
            .into_iter()
            .map(f32::to_bits)
            .collect::<Vec<_>>()
    };
    let first = bits();
    assert!((0..3).all(|_| bits() == first));
}

#[test]
fn volumes_have_no_kernel_yet() {
    let Some(gpu) = gpu() else { return };
    let there = |dims: &[usize]| Array::ones(dims, DType::F32).unwrap().to(&gpu).unwrap();
    let error = convolution(&there(&[1, 1, 3, 3, 3]), &there(&[1, 1, 2, 2, 2]), None, Activation::None, &Conv3d::default()).unwrap_err().to_string();
    assert!(error.contains("kernel"), "{error}");
}
