//! Rows of the table: layers that look at neighbours in one to three dimensions.

use chainrule_autograd::{PadMode, Rng};
use chainrule_nn::*;

/// Adds a row: name, layer, shapes of input and output, a shape that does not fit, keys.
type Add<'a> = dyn FnMut(&'static str, BoxedLayer, &[usize], &[usize], Option<&[usize]>, &[&'static str]) + 'a;

pub fn add(rng: &mut Rng, add: &mut Add) {
    convolutions(rng, add);
    pools(add);
    rims(add);
    grids(add);
}

fn convolutions(rng: &mut Rng, add: &mut Add) {
    let affine = ["bias", "weight"];
    let conv = Conv1d::grouped(4, 6, 3, 2, rng).unwrap().stride(2).padding(1).dilation(2);
    add("Conv1d", Box::new(conv), &[2, 4, 9], &[2, 6, 4], Some(&[2, 2, 9]), &affine);
    let conv = Conv1d::new(2, 3, 4, rng).unwrap().same().without_bias();
    add("Conv1d", Box::new(conv), &[2, 7], &[3, 7], Some(&[2]), &["weight"]);
    let conv = Conv2d::new(2, 3, [2, 3], rng).unwrap().same().dilation([3, 1]).padding_mode(PadMode::Reflect);
    add("Conv2d", Box::new(conv), &[2, 2, 5, 4], &[2, 3, 5, 4], Some(&[2]), &affine);
    let conv = Conv2d::new(2, 3, [2, 3], rng).unwrap().padding([1, 2]).stride([2, 1]).padding_mode(PadMode::Circular);
    add("Conv2d", Box::new(conv), &[2, 2, 5, 4], &[2, 3, 3, 6], Some(&[2]), &affine);
    let conv = Conv3d::new(2, 3, (1, 2, 3), rng).unwrap().padding((0, 1, 1)).padding_mode(PadMode::Replicate);
    add("Conv3d", Box::new(conv), &[1, 2, 2, 3, 4], &[1, 3, 2, 4, 4], Some(&[4, 2]), &affine);
    add("Conv3d", Box::new(Conv3d::new(1, 2, 2, rng).unwrap().stride(2)), &[1, 4, 3, 2], &[2, 2, 1, 1], Some(&[2, 4, 3, 2]), &affine);
    let conv = ConvTranspose1d::new(2, 3, 4, rng).unwrap().stride(2).padding(1);
    add("ConvTranspose1d", Box::new(conv), &[2, 2, 5], &[2, 3, 10], Some(&[2, 3, 5]), &affine);
    let conv = ConvTranspose2d::grouped(4, 6, [3, 2], 2, rng).unwrap().stride([2, 3]).output_padding([1, 2]).dilation([1, 2]).without_bias();
    add("ConvTranspose2d", Box::new(conv), &[2, 4, 2, 3], &[2, 6, 6, 11], Some(&[2, 2, 2, 3]), &["weight"]);
    let conv = ConvTranspose3d::new(2, 1, 2, rng).unwrap().stride((1, 2, 1));
    add("ConvTranspose3d", Box::new(conv), &[1, 2, 2, 2, 2], &[1, 1, 3, 4, 3], Some(&[1, 3, 2, 2, 2]), &affine);
}

fn pools(add: &mut Add) {
    add("MaxPool1d", Box::new(MaxPool1d::new(3).stride(2).padding(1).dilation(2)), &[2, 2, 9], &[2, 2, 4], Some(&[4]), &[]);
    add("MaxPool3d", Box::new(MaxPool3d::new((2, 1, 3)).stride(2).ceil_mode()), &[1, 2, 3, 4, 4], &[1, 2, 2, 2, 2], Some(&[4, 4]), &[]);
    add("AvgPool1d", Box::new(AvgPool1d::new(3).stride(2).padding(1).without_padding_count()), &[2, 2, 7], &[2, 2, 4], Some(&[4]), &[]);
    add("AvgPool3d", Box::new(AvgPool3d::new(2).divisor(3)), &[1, 2, 4, 3, 2], &[1, 2, 2, 1, 1], Some(&[4, 4]), &[]);
    add("LPPool1d", Box::new(LPPool1d::new(2.0, 3).stride(2)), &[2, 7], &[2, 3], Some(&[4]), &[]);
    add("LPPool2d", Box::new(LPPool2d::new(2.0, [2, 3])), &[1, 2, 4, 3], &[1, 2, 2, 1], Some(&[4]), &[]);
    add("LPPool3d", Box::new(LPPool3d::new(4.0, 2)), &[2, 2, 3, 2], &[2, 1, 1, 1], Some(&[4]), &[]);
    add("AdaptiveAvgPool1d", Box::new(AdaptiveAvgPool1d::new(3)), &[2, 2, 5], &[2, 2, 3], Some(&[4]), &[]);
    add("AdaptiveAvgPool3d", Box::new(AdaptiveAvgPool3d::new([2, 3, 1])), &[1, 2, 3, 4, 2], &[1, 2, 2, 3, 1], Some(&[4]), &[]);
    add("AdaptiveMaxPool1d", Box::new(AdaptiveMaxPool1d::new(2)), &[2, 5], &[2, 2], Some(&[4]), &[]);
    add("AdaptiveMaxPool3d", Box::new(AdaptiveMaxPool3d::new([2, 3, 1])), &[1, 2, 3, 4, 2], &[1, 2, 2, 3, 1], Some(&[4]), &[]);
}

fn rims(add: &mut Add) {
    macro_rules! rims {
        ($($one:ident $two:ident $three:ident;)*) => { $(
            add(stringify!($one), Box::new($one::new((2, 1))), &[2, 4], &[2, 7], Some(&[]), &[]);
            add(stringify!($two), Box::new($two::new([(1, 2), (-1, 0)])), &[2, 3, 4], &[2, 6, 3], Some(&[4]), &[]);
            add(stringify!($three), Box::new($three::new(1)), &[1, 2, 3, 2], &[1, 4, 5, 4], Some(&[4, 2]), &[]);
        )* };
    }
    rims! {
        ZeroPad1d ZeroPad2d ZeroPad3d;
        ReflectionPad1d ReflectionPad2d ReflectionPad3d;
        ReplicationPad1d ReplicationPad2d ReplicationPad3d;
        CircularPad1d CircularPad2d CircularPad3d;
    }
    add("ConstantPad1d", Box::new(ConstantPad1d::new((2, 1), 0.5)), &[2, 4], &[2, 7], Some(&[]), &[]);
    add("ConstantPad2d", Box::new(ConstantPad2d::new([(1, 2), (-1, 0)], 0.5)), &[2, 3, 4], &[2, 6, 3], Some(&[4]), &[]);
    add("ConstantPad3d", Box::new(ConstantPad3d::new(1, -1.0)), &[1, 2, 3, 2], &[1, 4, 5, 4], Some(&[4, 2]), &[]);
}

fn grids(add: &mut Add) {
    add("Upsample", Box::new(Upsample::factor([2.5])), &[1, 2, 3], &[1, 2, 7], Some(&[]), &[]);
    add("Upsample", Box::new(Upsample::size([5, 3]).linear().align_corners()), &[1, 2, 3, 4], &[1, 2, 5, 3], Some(&[4]), &[]);
    add("Upsample", Box::new(Upsample::size([3, 4, 2]).cubic()), &[1, 1, 2, 3, 4], &[1, 1, 3, 4, 2], Some(&[4, 2]), &[]);
    add("PixelShuffle", Box::new(PixelShuffle::new(2)), &[1, 4, 2, 3], &[1, 1, 4, 6], Some(&[1, 3, 2, 2]), &[]);
    add("PixelUnshuffle", Box::new(PixelUnshuffle::new(2)), &[1, 1, 4, 6], &[1, 4, 2, 3], Some(&[1, 1, 3, 2]), &[]);
    add("ChannelShuffle", Box::new(ChannelShuffle::new(3)), &[2, 6, 2], &[2, 6, 2], Some(&[2, 4]), &[]);
    add("Unfold", Box::new(Unfold::new([2, 3]).padding((1, 0)).stride((2, 1)).dilation((1, 2))), &[1, 2, 3, 6], &[1, 12, 4], Some(&[4]), &[]);
    add("Fold", Box::new(Fold::new([4, 5], [2, 3]).padding([0, 1])), &[1, 6, 15], &[1, 1, 4, 5], Some(&[1, 7, 15]), &[]);
    add("LocalResponseNorm", Box::new(LocalResponseNorm { alpha: 0.5, ..LocalResponseNorm::new(3) }), &[2, 4, 3], &[2, 4, 3], Some(&[4]), &[]);
}
