//! Every tile of the kernels against the CPU, on a GPU or the one made of software.

use super::super::{Conv2d, convolution, convolution_input_gradient, convolution_weight_gradient};
use super::*;
use crate::device::Device;
use crate::dtype::DType;
use crate::random::{Rng, normal};
use std::cell::Cell;

thread_local! {
    static FORCED: Cell<Option<Tile>> = const { Cell::new(None) };
}

pub(super) fn forced() -> Option<Tile> {
    FORCED.get()
}

fn noise(dims: &[usize], seed: u64) -> Array {
    normal(dims, 0.0, 1.0, DType::F32, &mut Rng::seeded(seed)).unwrap()
}

#[test]
fn every_tile_convolves() {
    let Ok(gpu) = Device::cuda(0) else { return };
    let windows = [
        ([2, 3, 9, 8], [130, 3, 3, 3], Conv2d { padding: [1, 1], ..Conv2d::default() }),
        ([3, 6, 7, 9], [20, 3, 3, 2], Conv2d { stride: [2, 3], padding: [2, 0], dilation: [1, 2], groups: 2 }),
    ];
    for (x_dims, w_dims, window) in windows {
        let (x, w, bias) = (noise(&x_dims, 1), noise(&w_dims, 2), noise(&w_dims[..1], 3));
        let all = |x: &Array, w: &Array, bias: &Array, dy: Option<&Array>| {
            let y = convolution(x, w, Some(bias), Activation::LeakyRelu(0.5), &window).unwrap();
            let dy = dy.unwrap_or(&y);
            [convolution_input_gradient(dy, w, &x_dims, &window).unwrap(), convolution_weight_gradient(x, dy, &w_dims, &window).unwrap(), y]
        };
        let expected = all(&x, &w, &bias, None);
        let [x, w, bias, dy] = [&x, &w, &bias, &expected[2]].map(|x| x.to(&gpu).unwrap());
        for tile in Tile::ALL {
            FORCED.set(Some(tile));
            let got = all(&x, &w, &bias, Some(&dy));
            FORCED.set(None);
            for (place, (got, expected)) in got.iter().zip(&expected).enumerate() {
                let numbers = |x: &Array| x.to_vec::<f32>().unwrap();
                for (i, (g, e)) in numbers(got).into_iter().zip(numbers(expected)).enumerate() {
                    assert!((g - e).abs() < 1e-4 * (1.0 + e.abs()), "{tile:?} result {place} of {window:?}, element {i}: {g} {e}");
                }
            }
        }
    }
}
