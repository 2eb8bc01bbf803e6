//! Running sums, products and extremes along a dimension, and products of whole lines. Running values of f32 are held in double, so that long lines keep their digits.

use crate::array::Array;
use crate::dtype::{DType, Element, with_element};
use crate::error::{Error, Result};
use crate::float::with_float;
use crate::ops::lines::{self, Lines};
use crate::ops::on_cpu;
use crate::ops::{expect_shape, same_dtype};
use crate::parallel::Target;

/// `out[k] = fold(out[k - 1], x[k])` for f32, f64 and i64.
fn running(op: &'static str, x: &Array, axis: isize, float: impl Fn(f64, f64) -> f64 + Sync, integer: impl Fn(i64, i64) -> i64 + Sync) -> Result<Array> {
    let at = x.shape().axis(op, axis)?;
    if x.dtype() == DType::I64 {
        return lines::map(x, at, x.dims()[at], |line, out| accumulate(line, out, &integer, |n| n, |n| n));
    }
    with_float!(op, x.dtype(), T => lines::map(x, at, x.dims()[at], |line: &[T], out| accumulate(line, out, &float, |n| n.to_f64(), T::from_f64)))
}

fn accumulate<T: Copy, W: Copy>(line: &[T], out: &mut [T], fold: impl Fn(W, W) -> W, widen: impl Fn(T) -> W, narrow: impl Fn(W) -> T) {
    let mut so_far = None;
    for (number, out) in line.iter().zip(out) {
        let number = widen(*number);
        let value = so_far.map_or(number, |so_far| fold(so_far, number));
        (so_far, *out) = (Some(value), narrow(value));
    }
}

/// The running sum along `axis`: `out[k] = x[0] + … + x[k]` (PyTorch's `cumsum`).
///
/// # Errors
/// A dimension out of range; element types other than f32, f64 and i64.
pub fn cumsum(x: &Array, axis: isize) -> Result<Array> {
    on_cpu!("cumsum", [x]);
    running("cumsum", x, axis, |a, b| a + b, i64::wrapping_add)
}

/// The running product along `axis`: `out[k] = x[0] · … · x[k]` (PyTorch's `cumprod`).
///
/// # Errors
/// As for [`cumsum`].
pub fn cumprod(x: &Array, axis: isize) -> Result<Array> {
    on_cpu!("cumprod", [x]);
    running("cumprod", x, axis, |a, b| a * b, i64::wrapping_mul)
}

/// `out[k] = ln(exp(x[0]) + … + exp(x[k]))` without overflow (PyTorch's `logcumsumexp`).
///
/// # Errors
/// A dimension out of range; element types other than f32 and f64.
pub fn logcumsumexp(x: &Array, axis: isize) -> Result<Array> {
    const OP: &str = "logcumsumexp";
    on_cpu!(OP, [x]);
    if !x.dtype().is_float() {
        return Err(Error::DType { op: OP, got: x.dtype(), expected: "f32 or f64" });
    }
    let add = |a: f64, b: f64| {
        let (large, small) = if a > b { (a, b) } else { (b, a) };
        // Of two equal infinities the difference is no number.
        if a == b && a.is_infinite() { a } else { large + (small - large).exp().ln_1p() }
    };
    running(OP, x, axis, add, |a, _| a)
}

/// The linear recurrence `out[k] = decay[k] · out[k - 1] + x[k]` along `axis`, with `out[-1] = 0`.
///
/// # Errors
/// A dimension out of range; different shapes or element types; element types other than f32 and f64.
pub fn recurrence(x: &Array, decay: &Array, axis: isize) -> Result<Array> {
    const OP: &str = "recurrence";
    on_cpu!(OP, [x, decay]);
    let at = x.shape().axis(OP, axis)?;
    same_dtype(OP, x, decay)?;
    expect_shape(OP, "the decay", decay, x.dims())?;
    let (x, decay) = (x.contiguous()?, decay.contiguous()?);
    let mut out = Array::stale(*x.shape(), x.dtype())?;
    let lines = Lines::new(x.shape(), at);
    with_float!(OP, x.dtype(), T => {
        let (numbers, decays, target) = (x.slice::<T>(), decay.slice::<T>(), Target::new(out.slice_mut::<T>()));
        let extent = x.dims()[at];
        lines.ranges(|start, end| {
            let (mut read, mut factors) = (Vec::new(), Vec::new());
            for i in start..end {
                lines.read(i, numbers, &mut read);
                lines.read(i, decays, &mut factors);
                for (line, factors) in read.chunks_mut(extent.max(1)).zip(factors.chunks(extent.max(1))) {
                    let mut last = 0f64;
                    for (number, decay) in line.iter_mut().zip(factors) {
                        last = decay.to_f64() * last + number.to_f64();
                        *number = T::from_f64(last);
                    }
                }
                // SAFETY: ranges of bundles do not overlap.
                unsafe { lines.write(i, &read, target) };
            }
        });
        Ok(out)
    })
}

/// The largest number so far along `axis`, and where it stood (i64): the last of equals; NaN stays, as in PyTorch's `cummax`.
///
/// # Errors
/// A dimension out of range.
pub fn cummax(x: &Array, axis: isize) -> Result<(Array, Array)> {
    on_cpu!("cummax", [x]);
    with_element!(x.dtype(), T => running_extreme("cummax", x, axis, |a: T, b: T| a >= b))
}

/// The smallest number so far along `axis`; as [`cummax`].
///
/// # Errors
/// A dimension out of range.
pub fn cummin(x: &Array, axis: isize) -> Result<(Array, Array)> {
    on_cpu!("cummin", [x]);
    with_element!(x.dtype(), T => running_extreme("cummin", x, axis, |a: T, b: T| a <= b))
}

#[allow(clippy::eq_op)]
fn running_extreme<T: Element>(op: &'static str, x: &Array, axis: isize, as_good: impl Fn(T, T) -> bool + Sync) -> Result<(Array, Array)> {
    let at = x.shape().axis(op, axis)?;
    lines::map_with_places(x, at, x.dims()[at], x.dims()[at], |line: &[T], values, places| {
        let Some(&(mut best)) = line.first() else { return };
        let mut place = 0;
        for (((number, k), value), to) in line.iter().zip(0..).zip(values).zip(places) {
            if number != number || as_good(*number, best) {
                (best, place) = (*number, k);
            }
            (*value, *to) = (best, place);
        }
    })
}

/// The product along `axis`; of no numbers it is 1.
///
/// # Errors
/// A dimension out of range; element types other than f32, f64 and i64.
pub fn prod(x: &Array, axis: isize, keep: bool) -> Result<Array> {
    const OP: &str = "prod";
    on_cpu!(OP, [x]);
    let at = x.shape().axis(OP, axis)?;
    let out = if x.dtype() == DType::I64 {
        lines::map(x, at, 1, |line: &[i64], out| out[0] = line.iter().fold(1, |product, n| product.wrapping_mul(*n)))?
    } else {
        with_float!(OP, x.dtype(), T => lines::map(x, at, 1, |line: &[T], out| out[0] = T::from_f64(line.iter().map(|n| n.to_f64()).product())))?
    };
    if keep { Ok(out) } else { out.squeeze(axis) }
}

/// The product along `axis` of all numbers but the one at each place, without division, so that zeros are no trouble: the slope of [`prod`].
///
/// # Errors
/// A dimension out of range; element types other than f32 and f64.
pub fn prod_of_others(x: &Array, axis: isize) -> Result<Array> {
    const OP: &str = "prod_of_others";
    on_cpu!(OP, [x]);
    let at = x.shape().axis(OP, axis)?;
    with_float!(OP, x.dtype(), T => lines::map(x, at, x.dims()[at], |line: &[T], out| {
        // First the products of what comes after each place, then those of what comes before.
        let mut after = 1.0;
        for (out, number) in out.iter_mut().zip(line).rev() {
            *out = after;
            after *= number;
        }
        let mut before = 1.0;
        for (out, number) in out.iter_mut().zip(line) {
            *out *= before;
            before *= number;
        }
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::testing::{assert_close, assert_same_bits, doubles, noise};

    /// The operation on each line by itself, in double.
    fn by_line(x: &Array, f: impl Fn(&[f64]) -> Vec<f64>) -> Vec<f64> {
        let (numbers, [outer, extent, inner]) = (doubles(x), [x.dims()[0], x.dims()[1], x.dims()[2]]);
        let mut out = vec![0.0; numbers.len()];
        for (o, i) in (0..outer).flat_map(|o| (0..inner).map(move |i| (o, i))) {
            let at = |k: usize| (o * extent + k) * inner + i;
            let line: Vec<f64> = (0..extent).map(|k| numbers[at(k)]).collect();
            f(&line).iter().enumerate().for_each(|(k, y)| out[at(k)] = *y);
        }
        out
    }

    /// `f` of every beginning of the line.
    fn prefixes(f: impl Fn(&[f64]) -> f64) -> impl Fn(&[f64]) -> Vec<f64> {
        move |line| (1..=line.len()).map(|k| f(&line[..k])).collect()
    }

    #[test]
    fn running_values_meet_their_definitions() {
        for dtype in [DType::F32, DType::F64] {
            let tolerance = if dtype == DType::F32 { 2e-6 } else { 1e-13 };
            for dims in [[2usize, 5, 3], [3, 7, 1], [1, 1, 4], [2, 0, 3], [0, 3, 2], [2, 900, 33]] {
                let x = noise(&dims, 7, dtype);
                assert_close("cumsum", &cumsum(&x, 1).unwrap(), &by_line(&x, prefixes(|l| l.iter().sum())), tolerance);
                assert_close("cumprod", &cumprod(&x, 1).unwrap(), &by_line(&x, prefixes(|l| l.iter().product())), tolerance);
                assert_close("logcumsumexp", &logcumsumexp(&x, 1).unwrap(), &by_line(&x, prefixes(|l| l.iter().map(|x| x.exp()).sum::<f64>().ln())), tolerance);
                assert_close("cummax", &cummax(&x, -2).unwrap().0, &by_line(&x, prefixes(|l| l.iter().fold(f64::MIN, |m, x| m.max(*x)))), 0.0);
                assert_close("cummin", &cummin(&x, -2).unwrap().0, &by_line(&x, prefixes(|l| l.iter().fold(f64::MAX, |m, x| m.min(*x)))), 0.0);
                let decay = noise(&dims, 8, dtype);
                let y = recurrence(&x, &decay, 1).unwrap();
                let (y, x, a) = (doubles(&y), doubles(&x), doubles(&decay));
                for (i, y_i) in y.iter().enumerate() {
                    let first = i / dims[2] % dims[1] == 0;
                    let expected = x[i] + if first { 0.0 } else { a[i] * y[i - dims[2]] };
                    assert!((y_i - expected).abs() <= 2e-6, "recurrence {dims:?}: {y_i} against {expected}");
                }
            }
        }
    }

    #[test]
    fn ties_nan_infinities_and_integers() {
        let x = Array::from_slice(&[1f32, 3.0, 3.0, f32::NAN, 5.0, f32::NAN], &[6]).unwrap();
        assert_eq!(cummax(&x, 0).unwrap().1.to_vec::<i64>().unwrap(), [0, 1, 2, 3, 3, 5]);
        let low = Array::from_slice(&[f64::NEG_INFINITY, f64::NEG_INFINITY, 2.0, f64::INFINITY, f64::INFINITY], &[5]).unwrap();
        assert_eq!(logcumsumexp(&low, 0).unwrap().to_vec::<f64>().unwrap(), [f64::NEG_INFINITY, f64::NEG_INFINITY, 2.0, f64::INFINITY, f64::INFINITY]);
        let whole = Array::from_slice(&[2i64, 3, 4], &[3]).unwrap();
        assert_eq!(cumsum(&whole, 0).unwrap().to_vec::<i64>().unwrap(), [2, 5, 9]);
        assert_eq!(cumprod(&whole, 0).unwrap().to_vec::<i64>().unwrap(), [2, 6, 24]);
        assert_eq!(prod(&whole, 0, false).unwrap().to_vec::<i64>().unwrap(), [24]);
        assert!(logcumsumexp(&whole, 0).is_err() && cumsum(&whole, 1).is_err() && recurrence(&low, &low.narrow(0, 0, 2).unwrap(), 0).is_err());
    }

    #[test]
    fn products_of_lines() {
        let x = Array::from_slice(&[2f64, 0.0, 3.0, 4.0, 5.0, 6.0], &[2, 3]).unwrap();
        assert_eq!(prod(&x, 1, false).unwrap().to_vec::<f64>().unwrap(), [0.0, 120.0]);
        assert_eq!(prod_of_others(&x, 1).unwrap().to_vec::<f64>().unwrap(), [0.0, 6.0, 0.0, 30.0, 24.0, 20.0]);
        assert_eq!(prod(&Array::zeros(&[2, 0], DType::F32).unwrap(), 1, true).unwrap().to_vec::<f32>().unwrap(), [1.0, 1.0]);
    }

    #[test]
    fn threads_change_nothing() {
        let x = noise(&[70, 300, 5], 9, DType::F32);
        assert_same_bits("scans", || vec![cumsum(&x, 1).unwrap(), logcumsumexp(&x, 0).unwrap(), cummax(&x, 1).unwrap().1]);
    }
}
