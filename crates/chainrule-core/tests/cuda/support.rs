//! Arrays to compare with, and the comparison.

use chainrule_core::random::{normal, uniform};
use chainrule_core::{Array, DType, Device, Result, Rng};

/// The GPU, if there is one.
pub fn gpu() -> Option<Device> {
    static SAID: std::sync::Once = std::sync::Once::new();
    match Device::cuda(0) {
        Ok(device) => Some(device),
        Err(error) => {
            SAID.call_once(|| println!("SKIPPED: tests on a GPU: {error}"));
            None
        }
    }
}

/// Normal numbers.
pub fn noise(dims: &[usize], seed: u64) -> Array {
    normal(dims, 0.0, 1.0, DType::F32, &mut Rng::seeded(seed)).unwrap()
}

/// Uniform numbers.
pub fn between(low: f64, high: f64, dims: &[usize], seed: u64) -> Array {
    uniform(dims, low, high, DType::F32, &mut Rng::seeded(seed)).unwrap()
}

/// Whole numbers below `end`.
pub fn indices(end: usize, dims: &[usize], seed: u64) -> Array {
    let mut rng = Rng::seeded(seed);
    let numbers: Vec<i64> = (0..dims.iter().product()).map(|_| rng.below(end) as i64).collect();
    Array::from_slice(&numbers, dims).unwrap()
}

/// Computes on the CPU and on the GPU and holds the results against each other: `|gpu - cpu| <= tolerance · (1 + |cpu|)`, 0 for the same bits. Infinite and NaN numbers must be the same.
#[track_caller]
pub fn agree<const N: usize>(what: &str, tolerance: f64, inputs: [&Array; N], compute: impl Fn([&Array; N]) -> Result<Vec<Array>>) {
    let Some(gpu) = gpu() else { return };
    let expected = compute(inputs).unwrap_or_else(|e| panic!("{what} on the CPU: {e}"));
    let moved = inputs.map(|x| x.to(&gpu).unwrap());
    let got = compute(std::array::from_fn(|i| &moved[i])).unwrap_or_else(|e| panic!("{what} on the GPU: {e}"));
    assert_eq!(expected.len(), got.len());
    for (place, (expected, got)) in expected.iter().zip(&got).enumerate() {
        assert_eq!(got.device(), gpu, "{what}: result {place} stands on the CPU");
        assert_eq!((expected.dims(), expected.dtype()), (got.dims(), got.dtype()), "{what}: result {place}");
        let numbers = |x: &Array| x.cast(DType::F64).and_then(|x| x.to_vec::<f64>()).unwrap_or_else(|e| panic!("{what}: result {place}: {e}"));
        let got = got.to(&Device::Cpu).unwrap_or_else(|e| panic!("{what}: result {place}: {e}"));
        for (i, (e, g)) in numbers(expected).into_iter().zip(numbers(&got)).enumerate() {
            let same = e == g || (e.is_nan() && g.is_nan()) || (e - g).abs() <= tolerance * (1.0 + e.abs());
            assert!(same, "{what}: result {place} {:?}, element {i}: {g:e} on the GPU, {e:e} on the CPU", expected.dims());
        }
    }
}
