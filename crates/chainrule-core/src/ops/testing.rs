//! What tests of kernels share: noise, comparison with f64 references, every SIMD level, any number of threads, numerical gradients.

use crate::array::Array;
use crate::dtype::DType;
use crate::{parallel, simd};

/// Numbers in [-1, 1) that f32 represents, the same for the same seed.
pub(crate) fn noise(dims: &[usize], seed: u64, dtype: DType) -> Array {
    Array::from_index(dims, dtype, |i| {
        let mut z = (i as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(seed.wrapping_mul(0xd1b5_4a32_d192_ed03));
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 41) as f64 / (1u64 << 22) as f64 - 1.0
    })
    .unwrap()
}

/// The elements as doubles.
pub(crate) fn doubles(x: &Array) -> Vec<f64> {
    x.cast(DType::F64).unwrap().to_vec().unwrap()
}

/// Asserts |got - want| <= tolerance (1 + |want|) element by element; NaN meets NaN.
pub(crate) fn assert_close(what: &str, got: &Array, want: &[f64], tolerance: f64) {
    let got = doubles(got);
    assert_eq!(got.len(), want.len(), "{what}: count");
    for (i, (&g, &w)) in got.iter().zip(want).enumerate() {
        let good = (g.is_nan() && w.is_nan()) || g == w || (g - w).abs() <= tolerance * (1.0 + w.abs());
        assert!(good, "{what}: element {i} is {g}, expected {w}");
    }
}

/// Runs the body at every SIMD level of this machine, with the tolerances of f32 and f64.
pub(crate) fn at_every_level(body: impl Fn(DType, f64)) {
    let _alone = simd::alone();
    for level in simd::Level::available() {
        simd::set_level(level);
        body(DType::F32, 2e-6);
        body(DType::F64, 1e-13);
    }
}

/// Asserts that 1 to 4 threads compute the same bits.
pub(crate) fn assert_same_bits(what: &str, compute: impl Fn() -> Vec<Array>) {
    let _alone = simd::alone();
    let bits = |arrays: Vec<Array>| arrays.iter().map(|a| doubles(a).iter().map(|x| x.to_bits()).collect::<Vec<_>>()).collect::<Vec<_>>();
    parallel::set_threads(1);
    let expected = bits(compute());
    for threads in 2..=4 {
        parallel::set_threads(threads);
        assert!(bits(compute()) == expected, "{what}: {threads} threads give other bits than one");
    }
}

/// Asserts that `gradient` is the derivative of `loss` at `x`, by central differences in f64.
pub(crate) fn assert_gradient(what: &str, x: &Array, gradient: &Array, loss: impl Fn(&Array) -> f64) {
    const STEP: f64 = 1e-5;
    let (values, gradient) = (x.to_vec::<f64>().unwrap(), gradient.to_vec::<f64>().unwrap());
    assert_eq!(values.len(), gradient.len(), "{what}: count");
    for i in 0..values.len() {
        let at = |step: f64| {
            let mut moved = values.clone();
            moved[i] += step;
            loss(&Array::from_slice(&moved, x.dims()).unwrap())
        };
        let slope = (at(STEP) - at(-STEP)) / (2.0 * STEP);
        assert!((slope - gradient[i]).abs() <= 1e-7 * (1.0 + slope.abs()), "{what}: element {i} is {}, expected {slope}", gradient[i]);
    }
}

/// sum x y, the loss whose gradient by `x` is `y`.
pub(crate) fn weighted(x: &Array, y: &Array) -> f64 {
    doubles(x).iter().zip(doubles(y)).map(|(x, y)| x * y).sum()
}
