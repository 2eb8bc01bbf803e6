//! Positions in a sequence: sinusoids that are added, and angles by which pairs of features are turned.

use crate::array::Array;
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::float::{Float, with_float};
use crate::ops::on_cpu;
use crate::ops::{expect_shape, same_dtype};
use crate::parallel::{self, Target};
use crate::simd::{Kernel, Real, Simd};

/// The angle of pair `i` of `width / 2` at position `t`: `t · base^(-2 i / width)`.
fn angle(position: usize, pair: usize, width: usize, base: f64) -> f64 {
    position as f64 * base.powf(-2.0 * pair as f64 / width as f64)
}

/// `[T, D]` with `sin(t base^(-2i/D))` at feature 2i and the cosine of the same at 2i + 1 (Vaswani et al. 2017, where the base is 10000).
///
/// # Errors
/// A base that is not a positive number; no memory.
pub fn sinusoids(positions: usize, width: usize, base: f64, dtype: DType) -> Result<Array> {
    check_base("sinusoids", base)?;
    Array::from_index(&[positions, width], dtype, |i| {
        let (position, feature) = (i / width, i % width);
        let angle = angle(position, feature / 2, width, base);
        if feature % 2 == 0 { angle.sin() } else { angle.cos() }
    })
}

/// Cosines and sines, `[T, D/2]` each, of the angles by which [`rotate`] turns (Su et al. 2021, "RoFormer", where the base is 10000).
///
/// # Errors
/// An odd D; a base that is not a positive number; no memory.
pub fn rotations(positions: usize, width: usize, base: f64, dtype: DType) -> Result<[Array; 2]> {
    check_base("rotations", base)?;
    if !width.is_multiple_of(2) {
        return Err(Error::value("rotations", format!("{width} features cannot be taken in pairs; expected an even number")));
    }
    let pairs = width / 2;
    let table = |f: fn(f64) -> f64| Array::from_index(&[positions, pairs], dtype, |i| f(angle(i / pairs, i % pairs, width, base)));
    Ok([table(f64::cos)?, table(f64::sin)?])
}

fn check_base(op: &'static str, base: f64) -> Result<()> {
    if base > 0.0 && base.is_finite() {
        return Ok(());
    }
    Err(Error::value(op, format!("the base is {base}, expected a positive number")))
}

/// Which features make a pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pairs {
    /// `i` and `i + D/2`, as in GPT-NeoX and LLaMA.
    Halves,
    /// `2i` and `2i + 1`, as in RoFormer and GPT-J.
    Neighbours,
}

/// Turns pair `i` of the features at position `t` by the angle of the table: `(a, b) -> (a cos - b sin, b cos + a sin)`; `x [.., T, W] -> [.., T, W]`, tables `[T, D/2]`.
/// The features from D on stay. With `back`, by the negative angle, which undoes it and is its gradient.
///
/// # Errors
/// Tables of other shapes, or for more features than there are; different element types, or other ones than f32 and f64.
pub fn rotate(x: &Array, cos: &Array, sin: &Array, pairs: Pairs, back: bool) -> Result<Array> {
    const OP: &str = "rope";
    on_cpu!(OP, [x, cos, sin]);
    same_dtype(OP, x, cos)?;
    same_dtype(OP, x, sin)?;
    let (&[.., positions, width], &[rows, count]) = (x.dims(), cos.dims()) else {
        return Err(Error::shape(OP, format!("the input has shape {:?} and the table {:?}, expected [.., T, W] and [T, D/2]", x.shape(), cos.shape())));
    };
    expect_shape(OP, "the table of sines", sin, cos.dims())?;
    if rows != positions || 2 * count > width {
        return Err(Error::shape(OP, format!("the input has shape {:?}, the table {:?} is for [.., {rows}, {} or more]", x.shape(), cos.shape(), 2 * count)));
    }
    let [x, cos, sin] = [x.contiguous()?, cos.contiguous()?, sin.contiguous()?];
    let mut out = Array::stale(*x.shape(), x.dtype())?;
    with_float!(OP, x.dtype(), T => {
        let (from, cos, sin) = (x.slice::<T>(), cos.slice::<T>(), sin.slice::<T>());
        let target = Target::new(out.slice_mut::<T>());
        let rows = from.len().checked_div(width).unwrap_or(0);
        parallel::items(rows, width, |start, end| {
            // SAFETY: ranges of rows do not overlap.
            let out = unsafe { target.slice(start * width, end * width) };
            T::run(Turn { x: &from[start * width..end * width], cos, sin, out, first: start, positions, width, count, pairs, back });
        });
        Ok(out)
    })
}

/// Rows of `width` features, the first of them number `first` of all.
struct Turn<'a, T> {
    x: &'a [T],
    cos: &'a [T],
    sin: &'a [T],
    out: &'a mut [T],
    first: usize,
    positions: usize,
    width: usize,
    count: usize,
    pairs: Pairs,
    back: bool,
}

impl<T: Float> Kernel for Turn<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self) {
        let real = T::Real::<S>::wrap;
        let sign = T::Real::<S>::of(if self.back { -1.0 } else { 1.0 });
        let turn = |a: T, b: T, cos: T, sin: T| {
            let (a, b, cos, sin) = (real(a), real(b), real(cos), real(sin) * sign);
            (a.mul_add(cos, -(b * sin)).number(), b.mul_add(cos, a * sin).number())
        };
        for (row, (x, out)) in self.x.chunks_exact(self.width).zip(self.out.chunks_exact_mut(self.width)).enumerate() {
            let at = (self.first + row) % self.positions * self.count;
            let (cos, sin) = (&self.cos[at..][..self.count], &self.sin[at..][..self.count]);
            let (x, rest) = x.split_at(2 * self.count);
            let (out, out_rest) = out.split_at_mut(2 * self.count);
            out_rest.copy_from_slice(rest);
            match self.pairs {
                Pairs::Halves => {
                    let ((a, b), (out_a, out_b)) = (x.split_at(self.count), out.split_at_mut(self.count));
                    for i in 0..self.count {
                        (out_a[i], out_b[i]) = turn(a[i], b[i], cos[i], sin[i]);
                    }
                }
                Pairs::Neighbours => {
                    for (i, (x, out)) in x.as_chunks::<2>().0.iter().zip(out.as_chunks_mut::<2>().0).enumerate() {
                        (out[0], out[1]) = turn(x[0], x[1], cos[i], sin[i]);
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::testing::*;

    #[test]
    fn agrees_with_the_formula() {
        at_every_level(|dtype, tolerance| {
            for (dims, count) in [(&[2usize, 3, 8][..], 4), (&[5, 7], 3), (&[2, 1, 2], 1), (&[3, 0, 4], 2), (&[2, 3, 4], 0), (&[300, 70], 35)] {
                let x = noise(dims, 1, dtype);
                let (positions, width) = (dims[dims.len() - 2], dims[dims.len() - 1]);
                let [cos, sin] = rotations(positions, 2 * count, 50.0, dtype).unwrap();
                for pairs in [Pairs::Halves, Pairs::Neighbours] {
                    let mut want = doubles(&x);
                    let from = want.clone();
                    for (row, i) in (0..x.count() / width).flat_map(|row| (0..count).map(move |i| (row, i))) {
                        let (a, b) = if pairs == Pairs::Halves { (i, i + count) } else { (2 * i, 2 * i + 1) };
                        let angle = (row % positions) as f64 * 50f64.powf(-2.0 * i as f64 / (2 * count) as f64);
                        want[row * width + a] = from[row * width + a] * angle.cos() - from[row * width + b] * angle.sin();
                        want[row * width + b] = from[row * width + b] * angle.cos() + from[row * width + a] * angle.sin();
                    }
                    let y = rotate(&x, &cos, &sin, pairs, false).unwrap();
                    assert_close(&format!("{dtype} {dims:?} {pairs:?}"), &y, &want, tolerance);
                    assert_close("back", &rotate(&y, &cos, &sin, pairs, true).unwrap(), &from, tolerance);
                }
            }
        });
    }

    #[test]
    fn any_number_of_threads_gives_the_same_bits() {
        let (x, [cos, sin]) = (noise(&[40, 30, 64], 1, DType::F32), rotations(30, 64, 1e4, DType::F32).unwrap());
        assert_same_bits("rope", || vec![rotate(&x, &cos, &sin, Pairs::Halves, false).unwrap()]);
    }

    #[test]
    fn sinusoids_take_turns() {
        let table = sinusoids(3, 5, 100.0, DType::F64).unwrap();
        let want = |t: f64, i: f64| t * 100f64.powf(-i / 5.0);
        let row = |t: f64| [want(t, 0.0).sin(), want(t, 0.0).cos(), want(t, 2.0).sin(), want(t, 2.0).cos(), want(t, 4.0).sin()];
        assert_close("sinusoids", &table, &[row(0.0), row(1.0), row(2.0)].concat(), 1e-15);
    }

    #[test]
    fn misuse_is_an_error() {
        let x = noise(&[3, 4], 1, DType::F32);
        let [cos, sin] = rotations(3, 4, 1e4, DType::F32).unwrap();
        assert!(rotations(3, 5, 1e4, DType::F32).unwrap_err().to_string().contains("5 features"));
        assert!(rotations(3, 4, f64::NAN, DType::F32).is_err() && sinusoids(3, 4, -1.0, DType::F32).is_err());
        assert!(rotate(&noise(&[2, 4], 1, DType::F32), &cos, &sin, Pairs::Halves, false).unwrap_err().to_string().contains("[2, 4]"));
        assert!(rotate(&noise(&[3, 3], 1, DType::F32), &cos, &sin, Pairs::Halves, false).is_err());
        assert!(rotate(&x, &cos, &sin.narrow(0, 0, 2).unwrap(), Pairs::Halves, false).is_err());
        assert!(rotate(&x.cast(DType::F64).unwrap(), &cos, &sin, Pairs::Halves, false).is_err());
        assert!(rotate(&noise(&[3], 1, DType::F32), &cos, &sin, Pairs::Halves, false).is_err());
    }
}
