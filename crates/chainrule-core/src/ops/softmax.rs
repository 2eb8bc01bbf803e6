//! Softmax and its logarithm along one axis.
//!
//! `softmax: y_i = exp(x_i - m) / sum_j exp(x_j - m)`, `log_softmax: y_i = x_i - m - ln sum_j exp(x_j - m)`, with `m = max x`; shapes stay.
//! As in PyTorch (`torch.nn.functional.softmax`), a row with a NaN, with +infinity, or of -infinity alone gives NaN.

#[cfg(feature = "cuda")]
mod cuda;
#[cfg(feature = "cuda")]
pub(crate) use cuda::{grid_of_rows, row_length};

use crate::array::Array;
use crate::error::Result;
use crate::float::Float;
use crate::float::with_float;
use crate::ops::{expect_shape, on_device, row, same_dtype};
use crate::parallel::{self, Target};
use crate::simd::{Kernel, Real, Simd};

/// Columns that are reduced side by side when the axis is not the last.
const WIDTH: usize = 64;

/// The probabilities `exp(x) / sum exp(x)` along `axis`, counted from the end when negative (PyTorch's `softmax`).
///
/// # Errors
/// An axis that the array has not; an element type other than f32 and f64.
pub fn softmax(x: &Array, axis: isize) -> Result<Array> {
    along("softmax", Form::Softmax, [x, x], axis)
}

/// `dx = y (dy - sum dy y)` along `axis`, where `y` is what [`softmax`] returned.
///
/// # Errors
/// As for [`softmax`]; different shapes or element types.
pub fn softmax_backward(dy: &Array, y: &Array, axis: isize) -> Result<Array> {
    backward("softmax_backward", Form::SoftmaxBackward, dy, y, axis)
}

/// `x - ln sum exp(x)` along `axis`, without overflow (PyTorch's `log_softmax`).
///
/// # Errors
/// As for [`softmax`].
pub fn log_softmax(x: &Array, axis: isize) -> Result<Array> {
    along("log_softmax", Form::LogSoftmax, [x, x], axis)
}

/// `dx = dy - exp(y) sum dy` along `axis`, where `y` is what [`log_softmax`] returned.
///
/// # Errors
/// As for [`softmax_backward`].
pub fn log_softmax_backward(dy: &Array, y: &Array, axis: isize) -> Result<Array> {
    backward("log_softmax_backward", Form::LogSoftmaxBackward, dy, y, axis)
}

#[derive(Clone, Copy, PartialEq)]
enum Form {
    Softmax,
    LogSoftmax,
    SoftmaxBackward,
    LogSoftmaxBackward,
}

fn backward(op: &'static str, form: Form, dy: &Array, y: &Array, axis: isize) -> Result<Array> {
    same_dtype(op, dy, y)?;
    expect_shape(op, "the gradient", dy, y.dims())?;
    along(op, form, [y, dy], axis)
}

/// One form along an axis. `inputs` are x twice, or y and dy.
fn along(op: &'static str, form: Form, inputs: [&Array; 2], axis: isize) -> Result<Array> {
    let [a, b] = inputs;
    let at = a.shape().axis(op, axis)?;
    on_device!(op, [a, b], |gpu| cuda::along(gpu, op, form, inputs, at));
    let (n, inner) = (a.dims()[at], a.dims()[at + 1..].iter().product::<usize>());
    if inner > 1 && inner < WIDTH / 4 {
        // So few columns would leave most of a register empty: rows of a transposed copy fill it.
        let moved = |x: &Array| x.transpose(at as isize, -1).and_then(|x| x.contiguous());
        let first = moved(a)?;
        let second = if a.is_same(b) { first.clone() } else { moved(b)? };
        return along(op, form, [&first, &second], -1)?.transpose(at as isize, -1)?.contiguous();
    }
    let (a, b) = (a.contiguous()?, b.contiguous()?);
    let mut out = Array::stale(*a.shape(), a.dtype())?;
    with_float!(op, a.dtype(), T => {
        let (a, b) = (a.slice::<T>(), b.slice::<T>());
        let target = Target::new(out.slice_mut::<T>());
        if a.is_empty() {
        } else if inner == 1 {
            parallel::items(a.len() / n, n, |start, end| {
                let (start, end) = (start * n, end * n);
                // SAFETY: ranges of rows do not overlap.
                let out = unsafe { target.slice(start, end) };
                T::run(Rows { form, a: &a[start..end], b: &b[start..end], out, n })
            });
        } else {
            let strips = inner.div_ceil(WIDTH);
            parallel::items(a.len() / (n * inner) * strips, n * WIDTH, |start, end| {
                for task in start..end {
                    let left = task % strips * WIDTH;
                    let columns = Columns { form, a, b, out: target, n, inner, start: task / strips * n * inner + left, width: WIDTH.min(inner - left) };
                    T::run(columns);
                }
            });
        }
        Ok(out)
    })
}

/// Rows of `n` numbers each, the axis innermost.
struct Rows<'a, T> {
    form: Form,
    a: &'a [T],
    b: &'a [T],
    out: &'a mut [T],
    n: usize,
}

impl<T: Float> Kernel for Rows<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self) {
        let real = T::Real::<S>::wrap;
        let n = self.n;
        for start in (0..self.a.len()).step_by(n) {
            let (a, b, out) = (&self.a[start..start + n], &self.b[start..start + n], &mut self.out[start..start + n]);
            // SAFETY: the kernel runs inside `simd::run`.
            unsafe {
                match self.form {
                    Form::Softmax => {
                        row::exponentials::<S, T>(a, row::max::<S, T>(a), out);
                        let scale = real(T::from_f64(1.0 / row::sum::<S, T>(out)));
                        out.iter_mut().for_each(|y| *y = (real(*y) * scale).number());
                    }
                    Form::LogSoftmax => {
                        let most = row::max::<S, T>(a);
                        let ln = real(T::from_f64(row::exponential_sum::<S, T>(a, most).ln()));
                        let most = real(most);
                        out.iter_mut().zip(a).for_each(|(y, x)| *y = (real(*x) - most - ln).number());
                    }
                    Form::SoftmaxBackward => {
                        let mean = real(T::from_f64(row::dot::<S, T>(a, b)));
                        out.iter_mut().zip(a).zip(b).for_each(|((dx, y), dy)| *dx = (real(*y) * (real(*dy) - mean)).number());
                    }
                    Form::LogSoftmaxBackward => {
                        let sum = real(T::from_f64(row::sum::<S, T>(b)));
                        row::exponentials::<S, T>(a, T::zero(), out);
                        out.iter_mut().zip(b).for_each(|(dx, dy)| *dx = (-real(*dx)).mul_add(sum, real(*dy)).number());
                    }
                }
            }
        }
    }
}

/// A strip of `width` columns, `n` numbers each, `inner` apart.
struct Columns<'a, T> {
    form: Form,
    a: &'a [T],
    b: &'a [T],
    out: Target<T>,
    n: usize,
    inner: usize,
    start: usize,
    width: usize,
}

impl<T: Float> Kernel for Columns<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self) {
        let Columns { form, a, b, out, n, inner, start, width } = self;
        let real = T::Real::<S>::wrap;
        let part = |k: usize| start + k * inner..start + k * inner + width;
        // SAFETY: strips do not overlap, and lie inside the output as they lie inside the input.
        let out = |k: usize| unsafe { out.slice(part(k).start, part(k).end) };
        let mut sums = [0f64; WIDTH];
        let mut scales = [T::zero(); WIDTH];
        if matches!(form, Form::Softmax | Form::LogSoftmax) {
            let mut most = [T::neg_infinity(); WIDTH];
            for k in 0..n {
                most.iter_mut().zip(&a[part(k)]).for_each(|(m, x)| *m = if *x > *m { *x } else { *m });
            }
            for k in 0..n {
                let out = out(k);
                out.iter_mut().zip(&a[part(k)]).zip(&most).for_each(|((y, x), m)| *y = (real(*x) - real(*m)).exp().number());
                sums.iter_mut().zip(&*out).for_each(|(sum, y)| *sum += (*y).to_f64());
            }
            let log = form == Form::LogSoftmax;
            scales.iter_mut().zip(sums).for_each(|(scale, sum)| *scale = T::from_f64(if log { sum.ln() } else { 1.0 / sum }));
            for k in 0..n {
                if log {
                    out(k).iter_mut().zip(&a[part(k)]).zip(&most).zip(&scales).for_each(|(((y, x), m), ln)| *y = *x - *m - *ln);
                } else {
                    out(k).iter_mut().zip(&scales).for_each(|(y, scale)| *y = *y * *scale);
                }
            }
            return;
        }
        let log = form == Form::LogSoftmaxBackward;
        for k in 0..n {
            let pairs = sums.iter_mut().zip(&a[part(k)]).zip(&b[part(k)]);
            pairs.for_each(|((sum, y), dy)| *sum += if log { (*dy).to_f64() } else { (*y).to_f64() * (*dy).to_f64() });
        }
        scales.iter_mut().zip(sums).for_each(|(scale, sum)| *scale = T::from_f64(sum));
        for k in 0..n {
            let triples = out(k).iter_mut().zip(&a[part(k)]).zip(&b[part(k)]).zip(&scales);
            if log {
                triples.for_each(|(((dx, y), dy), sum)| *dx = (-real(*y).exp()).mul_add(real(*sum), real(*dy)).number());
            } else {
                triples.for_each(|(((dx, y), dy), mean)| *dx = *y * (*dy - *mean));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dtype::DType;
    use crate::ops::testing::*;

    /// Shapes and axes whose rows are empty, single, shorter and longer than a register, and strided.
    const CASES: [(&[usize], isize); 14] = [
        (&[5, 1], -1),
        (&[3, 10], 1),
        (&[2, 16], -1),
        (&[4, 77], -1),
        (&[2, 5003], 1),
        (&[7, 3], 0),
        (&[2, 9, 5], 1),
        (&[3, 11, 130], 1),
        (&[40, 16], 0),
        (&[2, 3, 4, 17], -3),
        (&[0, 4], 1),
        (&[4, 0], 1),
        (&[4, 0], 0),
        (&[9], 0),
    ];

    /// ln softmax of every row in f64, and the rows as lists of positions.
    fn reference(x: &Array, axis: isize) -> (Vec<f64>, Vec<Vec<usize>>) {
        let at = x.shape().axis("test", axis).unwrap();
        let (n, inner): (usize, usize) = (x.dims()[at], x.dims()[at + 1..].iter().product());
        let rows = if x.count() == 0 { 0 } else { x.count() / n };
        let rows: Vec<Vec<usize>> = (0..rows).map(|r| (0..n).map(|k| r / inner * n * inner + k * inner + r % inner).collect()).collect();
        let values = doubles(x);
        let mut y = values.clone();
        for row in &rows {
            let most = row.iter().map(|&i| values[i]).fold(f64::NEG_INFINITY, f64::max);
            let ln = row.iter().map(|&i| (values[i] - most).exp()).sum::<f64>().ln();
            row.iter().for_each(|&i| y[i] = values[i] - most - ln);
        }
        (y, rows)
    }

    #[test]
    fn agrees_with_the_definition() {
        at_every_level(|dtype, tolerance| {
            for (dims, axis) in CASES {
                let x =
                    crate::ops::elementwise::binary(crate::ops::elementwise::Binary::Mul, &noise(dims, 1, dtype), &Array::scalar(8.0, dtype).unwrap()).unwrap();
                let dy = noise(dims, 2, dtype);
                let (ln, rows) = reference(&x, axis);
                let what = format!("{dtype} {dims:?} {axis}");
                let (y, log_y) = (softmax(&x, axis).unwrap(), log_softmax(&x, axis).unwrap());
                assert_close(&what, &y, &ln.iter().map(|y| y.exp()).collect::<Vec<_>>(), tolerance);
                assert_close(&what, &log_y, &ln, tolerance);
                let (dys, ys) = (doubles(&dy), doubles(&y));
                let (mut dx, mut log_dx) = (dys.clone(), dys.clone());
                for row in rows {
                    let (mean, sum): (f64, f64) = (row.iter().map(|&i| dys[i] * ys[i]).sum(), row.iter().map(|&i| dys[i]).sum());
                    for i in row {
                        dx[i] = ys[i] * (dys[i] - mean);
                        log_dx[i] = dys[i] - ln[i].exp() * sum;
                    }
                }
                assert_close(&what, &softmax_backward(&dy, &y, axis).unwrap(), &dx, 4.0 * tolerance);
                assert_close(&what, &log_softmax_backward(&dy, &log_y, axis).unwrap(), &log_dx, 4.0 * tolerance);
            }
        });
    }

    #[test]
    fn gradients_are_slopes() {
        for (dims, axis) in [(&[3usize, 7][..], -1), (&[4, 3], 0), (&[2, 5, 18], 1)] {
            let (x, dy) = (noise(dims, 3, DType::F64), noise(dims, 4, DType::F64));
            let dx = softmax_backward(&dy, &softmax(&x, axis).unwrap(), axis).unwrap();
            assert_gradient("softmax", &x, &dx, |x| weighted(&softmax(x, axis).unwrap(), &dy));
            let dx = log_softmax_backward(&dy, &log_softmax(&x, axis).unwrap(), axis).unwrap();
            assert_gradient("log_softmax", &x, &dx, |x| weighted(&log_softmax(x, axis).unwrap(), &dy));
        }
    }

    #[test]
    fn any_number_of_threads_gives_the_same_bits() {
        let (rows, columns) = (noise(&[3000, 33], 5, DType::F32), noise(&[8, 40, 1000], 6, DType::F32));
        assert_same_bits("softmax", || {
            let (y, z) = (softmax(&rows, -1).unwrap(), log_softmax(&columns, 1).unwrap());
            vec![softmax_backward(&rows, &y, -1).unwrap(), log_softmax_backward(&columns, &z, 1).unwrap(), y, z]
        });
    }

    #[test]
    fn infinities_as_in_pytorch() {
        let (low, nan) = (f32::NEG_INFINITY, f32::NAN);
        let rows = [[low, low, low], [low, 0.0, low], [1.0, nan, 2.0], [f32::INFINITY, 0.0, 0.0], [1e30, 1e30, -1e30]];
        let x = Array::from_slice(rows.as_flattened(), &[5, 3]).unwrap();
        let expected = [[nan; 3], [0.0, 1.0, 0.0], [nan; 3], [nan; 3], [0.5, 0.5, 0.0]].as_flattened().iter().map(|&x| x as f64).collect::<Vec<_>>();
        assert_close("rows", &softmax(&x, 1).unwrap(), &expected, 1e-7);
        // The same rows as columns, once few and once many.
        assert_close("few", &softmax(&x.transpose(0, 1).unwrap(), 0).unwrap().transpose(0, 1).unwrap(), &expected, 1e-7);
        let wide = x.transpose(0, 1).unwrap().unsqueeze(-1).unwrap().broadcast_to(&[3, 5, 20]).unwrap();
        assert_close("many", &softmax(&wide, 0).unwrap().select(2, 7).unwrap().transpose(0, 1).unwrap(), &expected, 1e-7);
        let log = log_softmax(&x, 1).unwrap().to_vec::<f32>().unwrap();
        assert_eq!((log[3], log[4]), (low, 0.0));
    }

    #[test]
    fn misuse_is_an_error() {
        let x = noise(&[2, 3], 7, DType::F32);
        assert!(softmax(&x, 2).unwrap_err().to_string().contains("axis 2"));
        assert!(softmax_backward(&x, &noise(&[3, 2], 7, DType::F32), 0).unwrap_err().to_string().contains("[2, 3]"));
        assert!(softmax(&x.cast(DType::I64).unwrap(), 0).is_err());
    }
}
