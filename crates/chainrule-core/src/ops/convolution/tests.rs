//! Convolution in one to three dimensions against loops over single products.

use super::*;
use crate::dtype::DType;
use crate::ops::testing::*;

/// Calls `term(y index, x index, w index)` for every product of a convolution in up to three dimensions, each with its `[size, kernel, stride, padding, dilation, output]`.
fn products([batch, channels, outputs, groups]: [usize; 4], axes: &[[usize; 6]], mut term: impl FnMut(usize, usize, usize)) {
    let count = |which: usize| axes.iter().map(|axis| axis[which]).product::<usize>();
    let (pixels, taps, sizes) = (count(5), count(1), count(0));
    let group_channels = channels / groups;
    for (n, o) in (0..batch).flat_map(|n| (0..outputs).map(move |o| (n, o))) {
        for (c, i, k) in (0..group_channels).flat_map(|c| (0..pixels).flat_map(move |i| (0..taps).map(move |k| (c, i, k)))) {
            let (mut i_left, mut k_left, mut at, mut unit) = (i, k, Some(0), 1);
            for &[size, kernel, stride, padding, dilation, output] in axes.iter().rev() {
                let place = (i_left % output * stride + k_left % kernel * dilation).checked_sub(padding).filter(|place| *place < size);
                at = at.zip(place).map(|(at, place)| at + place * unit);
                (i_left, k_left, unit) = (i_left / output, k_left / kernel, unit * size);
            }
            if let Some(at) = at {
                let channel = o / (outputs / groups) * group_channels + c;
                term((n * outputs + o) * pixels + i, (n * channels + channel) * sizes + at, (o * group_channels + c) * taps + k);
            }
        }
    }
}

fn check<const N: usize>(batch: usize, channels: usize, outputs: usize, input: [usize; N], kernel: [usize; N], window: Convolution<N>) {
    let x_dims = [&[batch, channels][..], &input].concat();
    let w_dims = [&[outputs, channels / window.groups][..], &kernel].concat();
    let sizes = window.sizes("conv", &x_dims, &w_dims).unwrap();
    let axes: Vec<[usize; 6]> = (0..N).map(|d| [input[d], kernel[d], window.stride[d], window.padding[d], window.dilation[d], sizes.output[d]]).collect();
    at_every_level(|dtype, tolerance| {
        let (x, w, dy) = (noise(&x_dims, 1, dtype), noise(&w_dims, 2, dtype), noise(&sizes.output_shape().unwrap(), 3, dtype));
        let (bias, shift) = (noise(&[outputs], 4, dtype), noise(&[channels], 5, dtype));
        let [xs, ws, dys, biases, shifts] = [&x, &w, &dy, &bias, &shift].map(doubles);
        let pixels = sizes.output.iter().product::<usize>();
        let mut y: Vec<f64> = (0..dys.len()).map(|i| biases[i / pixels % outputs]).collect();
        let area = input.iter().product::<usize>();
        let (mut dx, mut dw) = (vec![0.0; xs.len()], vec![0.0; ws.len()]);
        products([batch, channels, outputs, window.groups], &axes, |i, j, k| {
            y[i] += xs[j] * ws[k];
            dx[j] += dys[i] * ws[k];
            dw[k] += dys[i] * xs[j];
        });
        let (what, tolerance) = (format!("{dtype} {x_dims:?} {w_dims:?} {window:?}"), 20.0 * tolerance);
        assert_close(&what, &convolution(&x, &w, Some(&bias), Activation::None, &window).unwrap(), &y, tolerance);
        assert_close(&what, &convolution_input_gradient(&dy, &w, &x_dims, &window).unwrap(), &dx, tolerance);
        assert_close(&what, &convolution_weight_gradient(&x, &dy, &w_dims, &window).unwrap(), &dw, tolerance);
        // Without the batch, and as a view.
        let one = x.select(0, batch - 1).unwrap().flip(&[-1]).unwrap().contiguous().unwrap().flip(&[-1]).unwrap();
        assert_close(&what, &convolution(&one, &w, Some(&bias), Activation::None, &window).unwrap(), &y[(batch - 1) * outputs * pixels..], tolerance);
        let Convolution { stride, padding, dilation, groups } = window;
        let natural =
            TransposedConvolution { stride, padding, dilation, groups, ..TransposedConvolution::default() }.output_size(sizes.output, kernel).unwrap();
        let output_padding = std::array::from_fn(|d| input[d] - natural[d]);
        let spreading = TransposedConvolution { stride, padding, output_padding, dilation, groups };
        let shifted: Vec<f64> = dx.iter().enumerate().map(|(i, dx)| dx + shifts[i / area % channels]).collect();
        assert_close(&what, &transposed_convolution(&dy, &w, Some(&shift), &spreading).unwrap(), &shifted, tolerance);
    });
}

#[test]
fn sequences_equal_single_products() {
    check(2, 3, 4, [9], [3], Conv1d::default());
    check(3, 4, 6, [11], [3], Conv1d { stride: [2], padding: [1], dilation: [2], groups: 2 });
    check(1, 1, 1, [1], [1], Conv1d::default());
    check(17, 5, 5, [40], [4], Conv1d { stride: [3], padding: [2], groups: 5, ..Conv1d::default() });
    check(2, 33, 20, [130], [9], Conv1d { padding: [4], ..Conv1d::default() });
}

#[test]
fn volumes_equal_single_products() {
    check(1, 2, 3, [4, 5, 6], [2, 3, 3], Conv3d { padding: [1; 3], ..Conv3d::default() });
    check(2, 4, 6, [5, 4, 7], [3, 1, 2], Conv3d { stride: [2, 1, 3], padding: [2, 0, 1], dilation: [1, 2, 3], groups: 2 });
    check(2, 3, 3, [7, 3, 3], [2, 3, 3], Conv3d { stride: [3, 1, 2], padding: [0, 1, 1], dilation: [3, 1, 1], groups: 3 });
    check(1, 1, 1, [1, 1, 1], [1, 1, 1], Conv3d::default());
    check(2, 9, 17, [3, 8, 8], [3, 3, 3], Conv3d { padding: [1; 3], ..Conv3d::default() });
}

#[test]
fn images_equal_single_products() {
    check(2, 4, 6, [5, 7], [3, 2], Conv2d { stride: [2, 3], padding: [2, 1], dilation: [1, 2], groups: 2 });
    // Steps wider than the kernel leave outputs of the transpose that nothing reaches but the bias.
    check(2, 3, 4, [9, 8], [2, 1], Conv2d { stride: [4, 3], padding: [0, 0], ..Conv2d::default() });
}

#[test]
fn the_same_bits_for_any_number_of_threads() {
    let (x, w) = (noise(&[3, 8, 6, 13, 11], 1, DType::F32), noise(&[12, 4, 3, 3, 2], 2, DType::F32));
    let window = Conv3d { stride: [2, 1, 1], padding: [1, 1, 0], groups: 2, ..Conv3d::default() };
    assert_same_bits("conv3d", || {
        let y = convolution(&x, &w, None, Activation::None, &window).unwrap();
        let dx = convolution_input_gradient(&y, &w, x.dims(), &window).unwrap();
        let dw = convolution_weight_gradient(&x, &y, w.dims(), &window).unwrap();
        vec![y, dx, dw]
    });
}

#[test]
fn nothing_in_nothing_out() {
    let zeros = |dims: &[usize]| Array::zeros(dims, DType::F32).unwrap();
    let bias = Array::ones(&[2], DType::F32).unwrap();
    assert_eq!(convolution(&zeros(&[0, 3, 5]), &zeros(&[2, 3, 2]), None, Activation::None, &Conv1d::default()).unwrap().dims(), [0, 2, 4]);
    assert_eq!(convolution(&zeros(&[0, 3, 5, 4, 4]), &zeros(&[2, 3, 2, 1, 1]), None, Activation::None, &Conv3d::default()).unwrap().dims(), [0, 2, 4, 4, 4]);
    assert_eq!(transposed_convolution(&zeros(&[0, 3, 5]), &zeros(&[3, 2, 2]), Some(&bias), &ConvTranspose1d::default()).unwrap().dims(), [0, 2, 6]);
    // No input channels: what is left is the bias.
    let y = transposed_convolution(&zeros(&[1, 0, 2]), &zeros(&[0, 2, 2]), Some(&bias), &ConvTranspose1d::default()).unwrap();
    assert_eq!(doubles(&y), [1.0; 6]);
    assert_eq!(doubles(&convolution(&zeros(&[1, 0, 3]), &zeros(&[2, 0, 2]), Some(&bias), Activation::None, &Conv1d::default()).unwrap()), [1.0; 4]);
}

#[test]
fn sizes_that_do_not_fit_are_named() {
    let zeros = |dims: &[usize]| Array::zeros(dims, DType::F32).unwrap();
    let window = Conv2d::default();
    let message = |x: &[usize], w: &[usize], window: &Conv2d| convolution(&zeros(x), &zeros(w), None, Activation::None, window).unwrap_err().to_string();
    let text = message(&[64, 3, 28, 28], &[6, 1, 5, 5], &window);
    assert_eq!(text, "conv2d: input [64, 3, 28, 28] has 3 channels, weight [6, 1, 5, 5] expects 1 (groups = 1)");
    assert!(message(&[28, 28], &[6, 3, 5, 5], &window).contains("[N, C, H, W]"));
    assert!(message(&[1, 3, 4, 28], &[6, 3, 5, 5], &window).contains("(height); pad more"));
    assert!(message(&[1, 4, 8, 8], &[6, 1, 5, 5], &Conv2d { groups: 4, ..window }).contains("does not divide"));
    assert!(message(&[1, 1, 8, 8], &[6, 1, 5, 5], &Conv2d { stride: [0, 1], ..window }).contains("at least 1"));
    assert!(message(&[1, 1, 8, 8], &[6, 1, 5, 5], &Conv2d { padding: [usize::MAX, 1], ..window }).contains("larger"));
    assert!(convolution(&zeros(&[1, 1, 8, 8]), &zeros(&[2, 1, 3, 3]), Some(&zeros(&[3])), Activation::None, &window).is_err());
    assert!(convolution_input_gradient(&zeros(&[1, 2, 5, 5]), &zeros(&[2, 1, 3, 3]), &[1, 1, 8, 8], &window).is_err());
    assert!(convolution_bias_gradient(&zeros(&[2, 3]), 2).is_err());
}

#[test]
fn transposed_sizes_that_do_not_fit_are_named() {
    let zeros = |dims: &[usize]| Array::zeros(dims, DType::F32).unwrap();
    let message = |x: &[usize], w: &[usize], spreading: &ConvTranspose1d| {
        let bias = zeros(&[2]);
        transposed_convolution(&zeros(x), &zeros(w), Some(&bias), spreading).unwrap_err().to_string()
    };
    let plain = ConvTranspose1d::default();
    assert_eq!(message(&[1, 3, 5], &[4, 2, 3], &plain), "conv_transpose1d: input [1, 3, 5] has 3 channels, weight [4, 2, 3] expects 4");
    assert!(message(&[1, 3, 5], &[3, 2, 3], &ConvTranspose1d { groups: 2, ..plain }).contains("groups = 2"));
    assert!(message(&[1, 3, 5], &[3, 2, 3], &ConvTranspose1d { output_padding: [1], ..plain }).contains("output padding"));
    assert!(message(&[1, 3, 2], &[3, 2, 3], &ConvTranspose1d { padding: [4], ..plain }).contains("pad less"));
    assert!(message(&[1, 3, 2], &[3, 2, 3], &ConvTranspose1d { stride: [0], ..plain }).contains("at least 1"));
    assert!(message(&[3], &[3, 2, 3], &plain).contains("[N, C, L]"));
    assert!(message(&[1, 3, 5], &[3, 1, 3], &plain).contains("bias"));
    assert!(message(&[1, 3, 5], &[3, 2, 3], &ConvTranspose1d { stride: [usize::MAX], ..plain }).contains("no output"));
}
