//! Cross-entropy of logits against class labels, fused with log-softmax: the probabilities are never stored.
//!
//! With `n_i = ln sum_c exp(x_ic)`, class weights `w`, label smoothing `s` and label `y` of row `i` (PyTorch's `torch.nn.functional.cross_entropy`):
//! `loss_i = (1 - s) w_y (n_i - x_iy) + s/C sum_c w_c (n_i - x_ic)`; logits `[N, C]`, labels i64 `[N]`, losses `[N]`.

#[cfg(feature = "cuda")]
mod cuda;

use crate::array::Array;
use crate::dtype::{DType, Element};
use crate::error::{Error, Result};
use crate::float::Float;
use crate::float::with_float;
use crate::ops::row::{self, Terms};
use crate::ops::{expect_shape, on_device, same_dtype};
use crate::parallel::{self, Target};
use crate::shape::Shape;
use crate::simd::{Kernel, Real, Simd, Vector};

/// What [`cross_entropy`] computes for each row of the logits.
#[derive(Clone, Debug)]
pub struct CrossEntropy {
    /// The losses `[N]`, 0 where the label is ignored.
    pub losses: Array,
    /// `ln sum_c exp(x_ic)`, `[N]`; kept for [`cross_entropy_backward`].
    pub log_normaliser: Array,
    /// The weight of each row's label, `[N]`, 0 where it is ignored. PyTorch's "mean" divides the sum of the losses by the sum of these.
    pub weights: Array,
}

/// The loss of each row.
///
/// `weight` `[C]` weighs the classes; rows whose label is `ignore_index` count for nothing; `label_smoothing` in 0..=1 is spread over all classes.
///
/// On the GPU labels cannot be looked at before the kernel runs: a row whose label is out of range has a loss of NaN there, and a weight of 0.
///
/// # Errors
/// Logits that are not `[N, C]`; labels that are not i64 `[N]`; a label that is neither in `0..C` nor `ignore_index`; a smoothing outside 0..=1; weights of another shape or element type.
pub fn cross_entropy(logits: &Array, labels: &Array, weight: Option<&Array>, ignore_index: Option<i64>, label_smoothing: f64) -> Result<CrossEntropy> {
    const OP: &str = "cross_entropy";
    check(OP, logits, labels, weight, label_smoothing)?;
    on_device!(OP, [logits, labels; weight], |gpu| {
        cuda::Arguments::new(OP, logits, labels, weight, ignore_index, label_smoothing)?.forward(gpu, OP)
    });
    let call = Call::new(OP, logits, labels, weight, ignore_index, label_smoothing)?;
    let vector = || Array::stale(Shape::trusted(&[call.rows]), logits.dtype());
    let mut out = CrossEntropy { losses: vector()?, log_normaliser: vector()?, weights: vector()? };
    with_float!(OP, logits.dtype(), T => {
        let terms = call.terms::<T>();
        let targets = [&mut out.losses, &mut out.log_normaliser, &mut out.weights].map(|a| Target::new(a.slice_mut::<T>()));
        parallel::items(call.rows, call.classes, |start, end| {
            // SAFETY: ranges do not overlap.
            let [losses, log_normaliser, weights] = targets.map(|t| unsafe { t.slice(start, end) });
            T::run(Forward { terms, start, losses, log_normaliser, weights })
        });
        Ok(out)
    })
}

/// The gradient `[N, C]` of `sum_i row_scale_i loss_i` by the logits:
/// `row_scale_i (a p_ic - (1 - s) w_y [c = y] - s/C w_c)` with `p = exp(x - log_normaliser)` and `a = (1 - s) w_y + s/C sum_c w_c`; 0 in ignored rows.
///
/// On the GPU labels cannot be looked at before the kernel runs: a row whose label is out of range has a gradient of NaN there.
///
/// # Errors
/// As for [`cross_entropy`]; a normaliser or row scale that is not `[N]` of the logits' element type.
#[allow(clippy::too_many_arguments)]
pub fn cross_entropy_backward(
    logits: &Array,
    labels: &Array,
    log_normaliser: &Array,
    weight: Option<&Array>,
    ignore_index: Option<i64>,
    label_smoothing: f64,
    row_scale: &Array,
) -> Result<Array> {
    const OP: &str = "cross_entropy_backward";
    let [rows, _] = check(OP, logits, labels, weight, label_smoothing)?;
    for (what, vector) in [("the normaliser", log_normaliser), ("the row scale", row_scale)] {
        same_dtype(OP, logits, vector)?;
        expect_shape(OP, what, vector, &[rows])?;
    }
    on_device!(OP, [logits, labels, log_normaliser, row_scale; weight], |gpu| {
        cuda::Arguments::new(OP, logits, labels, weight, ignore_index, label_smoothing)?.backward(gpu, OP, log_normaliser, row_scale)
    });
    let call = Call::new(OP, logits, labels, weight, ignore_index, label_smoothing)?;
    let (log_normaliser, row_scale) = (log_normaliser.contiguous()?, row_scale.contiguous()?);
    let mut out = Array::stale(*logits.shape(), logits.dtype())?;
    with_float!(OP, logits.dtype(), T => {
        let terms = call.terms::<T>();
        let target = Target::new(out.slice_mut::<T>());
        parallel::items(call.rows, call.classes, |start, end| {
            // SAFETY: ranges of rows do not overlap.
            let out = unsafe { target.slice(start * call.classes, end * call.classes) };
            T::run(Backward { terms, start, log_normaliser: log_normaliser.slice(), row_scale: row_scale.slice(), out })
        });
        Ok(out)
    })
}

/// N and C of arguments that fit each other, whatever the labels say.
fn check(op: &'static str, logits: &Array, labels: &Array, weight: Option<&Array>, smoothing: f64) -> Result<[usize; 2]> {
    let &[rows, classes] = logits.dims() else {
        return Err(Error::shape(op, format!("logits have shape {:?}, expected [N, C]; move the classes last and flatten the rest", logits.shape())));
    };
    if labels.dtype() != DType::I64 {
        return Err(Error::DType { op, got: labels.dtype(), expected: "i64 labels" });
    }
    expect_shape(op, "the labels", labels, &[rows])?;
    if !(0.0..=1.0).contains(&smoothing) {
        return Err(Error::value(op, format!("label smoothing is {smoothing}, expected 0 to 1")));
    }
    if let Some(weight) = weight {
        same_dtype(op, logits, weight)?;
        expect_shape(op, "the class weight", weight, &[classes])?;
    }
    Ok([rows, classes])
}

/// The checked arguments, dense.
struct Call {
    logits: Array,
    labels: Array,
    weight: Option<Array>,
    /// The sum of the class weights.
    total: f64,
    ignore: Option<i64>,
    smoothing: f64,
    rows: usize,
    classes: usize,
}

impl Call {
    /// Of arguments that were checked; the labels are looked at here.
    fn new(op: &'static str, logits: &Array, labels: &Array, weight: Option<&Array>, ignore: Option<i64>, smoothing: f64) -> Result<Call> {
        let [rows, classes] = [logits.dims()[0], logits.dims()[1]];
        let labels = labels.contiguous()?;
        let outside = |&(_, &label): &(usize, &i64)| Some(label) != ignore && !(0..classes as i64).contains(&label);
        if let Some((row, label)) = labels.slice::<i64>().iter().enumerate().find(outside) {
            let ignored = ignore.map_or(String::new(), |i| format!(" or {i}, which is ignored"));
            return Err(Error::value(op, format!("row {row} has label {label}, expected 0 to C - 1 of C = {classes} classes{ignored}")));
        }
        let weight = weight.map(|w| w.contiguous()).transpose()?;
        let total = match &weight {
            Some(weight) => with_float!(op, weight.dtype(), T => Ok(weight.slice::<T>().iter().map(|w| (*w).to_f64()).sum()))?,
            None => classes as f64,
        };
        Ok(Call { logits: logits.contiguous()?, labels, weight, total, ignore, smoothing, rows, classes })
    }

    fn terms<T: Float>(&self) -> Loss<'_, T> {
        Loss {
            logits: self.logits.slice(),
            labels: self.labels.slice(),
            weight: self.weight.as_ref().map(|w| w.slice()),
            total: self.total,
            ignore: self.ignore,
            smoothing: self.smoothing,
            classes: self.classes,
        }
    }
}

#[derive(Clone, Copy)]
struct Loss<'a, T> {
    logits: &'a [T],
    labels: &'a [i64],
    weight: Option<&'a [T]>,
    total: f64,
    ignore: Option<i64>,
    smoothing: f64,
    classes: usize,
}

impl<'a, T: Float> Loss<'a, T> {
    /// The logits of row `i`, and its label and the label's weight unless ignored.
    #[inline(always)]
    fn row(&self, i: usize) -> (&'a [T], Option<(usize, f64)>) {
        let label = self.labels[i];
        let kept = (Some(label) != self.ignore).then_some(label as usize);
        let weight = |label: usize| self.weight.map_or(1.0, |w| w[label].to_f64());
        (&self.logits[i * self.classes..(i + 1) * self.classes], kept.map(|label| (label, weight(label))))
    }
}

/// sum w (shift - x), with weights of 1 if there are none
struct Distances<'a, T>(&'a [T], Option<&'a [T]>, [T; 16]);
impl<T: Float> Terms<T, 1> for Distances<'_, T> {
    #[inline(always)]
    unsafe fn add<S: Simd>(&self, [sum]: [T::Vector<S>; 1], at: usize, count: usize) -> [T::Vector<S>; 1] {
        // SAFETY: the caller's promise; no level has more than 16 lanes. Lanes beyond `count` are zero in both operands.
        unsafe {
            let minus = T::Vector::<S>::splat(-T::one());
            let distance = row::load::<S, T>(self.0, at, count).mul_add(minus, row::load::<S, T>(&self.2, 0, count));
            [match self.1 {
                Some(weight) => distance.mul_add(row::load::<S, T>(weight, at, count), sum),
                None => sum.add(distance),
            }]
        }
    }
}

struct Forward<'a, T> {
    terms: Loss<'a, T>,
    start: usize,
    losses: &'a mut [T],
    log_normaliser: &'a mut [T],
    weights: &'a mut [T],
}

impl<T: Float> Kernel for Forward<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self) {
        let smoothing = self.terms.smoothing;
        for i in 0..self.losses.len() {
            let (x, label) = self.terms.row(self.start + i);
            // SAFETY: the kernel runs inside `simd::run`.
            unsafe {
                let most = row::max::<S, T>(x);
                // Distances are taken from the maximum, so that large logits lose nothing to the rounding of the normaliser.
                let ln = row::exponential_sum::<S, T>(x, most).ln();
                self.log_normaliser[i] = T::from_f64(most.to_f64() + ln);
                self.losses[i] = T::from_f64(label.map_or(0.0, |(label, weight)| {
                    let mut loss = (1.0 - smoothing) * weight * (most.to_f64() - x[label].to_f64() + ln);
                    if smoothing > 0.0 {
                        let distances = row::fold::<S, T, 1>(x.len(), Distances(x, self.terms.weight, [most; 16]))[0];
                        loss += smoothing / x.len() as f64 * (distances + self.terms.total * ln);
                    }
                    loss
                }));
                self.weights[i] = T::from_f64(label.map_or(0.0, |(_, weight)| weight));
            }
        }
    }
}

struct Backward<'a, T> {
    terms: Loss<'a, T>,
    start: usize,
    log_normaliser: &'a [T],
    row_scale: &'a [T],
    out: &'a mut [T],
}

impl<T: Float> Kernel for Backward<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self) {
        let real = T::Real::<S>::wrap;
        let Loss { smoothing, classes, total, weight: weights, .. } = self.terms;
        if classes == 0 {
            return;
        }
        for (i, out) in (self.start..).zip(self.out.chunks_exact_mut(classes)) {
            let (x, Some((label, weight))) = self.terms.row(i) else {
                out.fill(T::zero());
                continue;
            };
            let (scale, spread) = (self.row_scale[i].to_f64(), smoothing / classes as f64);
            row::exponentials::<S, T>(x, self.log_normaliser[i], out);
            let factor = real(T::from_f64(scale * ((1.0 - smoothing) * weight + spread * total)));
            let even = real(T::from_f64(-scale * spread));
            match weights.filter(|_| smoothing > 0.0) {
                Some(weights) => out.iter_mut().zip(weights).for_each(|(dx, w)| *dx = real(*dx).mul_add(factor, real(*w) * even).number()),
                None if smoothing > 0.0 => out.iter_mut().for_each(|dx| *dx = real(*dx).mul_add(factor, even).number()),
                None => out.iter_mut().for_each(|dx| *dx = (real(*dx) * factor).number()),
            }
            out[label] = out[label] - T::from_f64(scale * (1.0 - smoothing) * weight);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::elementwise::{Binary, binary};
    use crate::ops::testing::*;

    fn labels(rows: usize, classes: usize, ignored: Option<i64>) -> Array {
        let label = |i: usize| if i % 5 == 3 { ignored.unwrap_or(0) } else { (i * 7 % classes) as i64 };
        Array::from_slice(&(0..rows).map(label).collect::<Vec<i64>>(), &[rows]).unwrap()
    }

    fn class_weight(classes: usize, dtype: DType) -> Array {
        Array::from_index(&[classes], dtype, |c| 0.25 + (c % 4) as f64 * 0.5).unwrap()
    }

    /// The definition, written out in f64.
    fn reference(x: &Array, labels: &Array, weight: Option<&Array>, ignored: Option<i64>, s: f64) -> Vec<f64> {
        let (classes, x) = (x.dims()[1], doubles(x));
        let weight = weight.map_or(vec![1.0; classes], doubles);
        let row = |(i, &label): (usize, &i64)| {
            if Some(label) == ignored {
                return 0.0;
            }
            let x = &x[i * classes..(i + 1) * classes];
            let n = x.iter().map(|x| x.exp()).sum::<f64>().ln();
            let smooth: f64 = x.iter().zip(&weight).map(|(x, w)| w * (n - x)).sum();
            (1.0 - s) * weight[label as usize] * (n - x[label as usize]) + s / classes as f64 * smooth
        };
        labels.to_vec::<i64>().unwrap().iter().enumerate().map(row).collect()
    }

    #[test]
    fn agrees_with_the_definition() {
        at_every_level(|dtype, tolerance| {
            for (rows, classes) in [(1, 1), (7, 10), (64, 16), (5, 77), (3, 5003), (0, 4)] {
                for (weighed, ignored, s) in [(false, None, 0.0), (true, Some(-100), 0.0), (false, Some(2), 0.1), (true, None, 0.3), (true, Some(0), 1.0)] {
                    let x = binary(Binary::Mul, &noise(&[rows, classes], 1, dtype), &Array::scalar(6.0, dtype).unwrap()).unwrap();
                    let (labels, weight) = (labels(rows, classes, ignored), class_weight(classes, dtype));
                    let weight = weighed.then_some(&weight);
                    let what = format!("{dtype} {rows} {classes} {weighed} {ignored:?} {s}");
                    let out = cross_entropy(&x, &labels, weight, ignored, s).unwrap();
                    assert_close(&what, &out.losses, &reference(&x, &labels, weight, ignored, s), tolerance);
                    let all = weight.map_or(vec![1.0; classes], doubles);
                    let expected: Vec<f64> = labels.to_vec::<i64>().unwrap().iter().map(|&l| if Some(l) == ignored { 0.0 } else { all[l as usize] }).collect();
                    assert_close(&what, &out.weights, &expected, 0.0);
                    // Against the same in f64, whose slope is checked below.
                    let scale = noise(&[rows], 2, dtype);
                    let dx = cross_entropy_backward(&x, &labels, &out.log_normaliser, weight, ignored, s, &scale).unwrap();
                    let wide = |a: &Array| a.cast(DType::F64).unwrap();
                    let weight = weight.map(wide);
                    let exact = cross_entropy(&wide(&x), &labels, weight.as_ref(), ignored, s).unwrap().log_normaliser;
                    let exact = cross_entropy_backward(&wide(&x), &labels, &exact, weight.as_ref(), ignored, s, &wide(&scale)).unwrap();
                    assert_close(&what, &dx, &doubles(&exact), tolerance);
                }
            }
        });
    }

    #[test]
    fn gradients_are_slopes() {
        let (x, scale, weight) = (noise(&[6, 19], 3, DType::F64), noise(&[6], 4, DType::F64), class_weight(19, DType::F64));
        for (weight, ignored, s) in
            [(None, None, 0.0), (Some(&weight), Some(-1), 0.0), (None, Some(-1), 0.2), (Some(&weight), None, 0.4), (Some(&weight), None, 1.0)]
        {
            let labels = labels(6, 19, ignored);
            let normaliser = cross_entropy(&x, &labels, weight, ignored, s).unwrap().log_normaliser;
            let dx = cross_entropy_backward(&x, &labels, &normaliser, weight, ignored, s, &scale).unwrap();
            assert_gradient("cross_entropy", &x, &dx, |x| weighted(&cross_entropy(x, &labels, weight, ignored, s).unwrap().losses, &scale));
        }
    }

    #[test]
    fn large_logits_keep_their_losses() {
        let x = Array::from_slice(&[1e4f32, 1e4 - 1.0, 0.0, -1e30], &[1, 4]).unwrap();
        let loss = |label: i64| cross_entropy(&x, &Array::from_slice(&[label], &[1]).unwrap(), None, None, 0.0).unwrap().losses.item().unwrap();
        assert!((loss(1) - 1.313_261_687_518_222_8).abs() < 1e-6);
        assert!((loss(3) - 1e30).abs() < 1e23);
        let nothing = Array::from_slice(&[f32::NEG_INFINITY; 3], &[1, 3]).unwrap();
        assert!(cross_entropy(&nothing, &Array::from_slice(&[0i64], &[1]).unwrap(), None, None, 0.0).unwrap().losses.item().unwrap().is_nan());
    }

    #[test]
    fn ignored_labels_cost_nothing() {
        let x = noise(&[4, 3], 5, DType::F32);
        let labels = Array::from_slice(&[-100i64; 4], &[4]).unwrap();
        let out = cross_entropy(&x, &labels, None, Some(-100), 0.1).unwrap();
        assert_eq!((doubles(&out.losses), doubles(&out.weights)), (vec![0.0; 4], vec![0.0; 4]));
        let dx = cross_entropy_backward(&x, &labels, &out.log_normaliser, None, Some(-100), 0.1, &Array::full(&[4], f64::NAN, DType::F32).unwrap()).unwrap();
        assert_eq!(doubles(&dx), vec![0.0; 12]);
    }

    #[test]
    fn any_number_of_threads_gives_the_same_bits() {
        let (x, scale, labels) = (noise(&[700, 130], 6, DType::F32), noise(&[700], 7, DType::F32), labels(700, 130, None));
        assert_same_bits("cross_entropy", || {
            let out = cross_entropy(&x, &labels, None, None, 0.1).unwrap();
            vec![cross_entropy_backward(&x, &labels, &out.log_normaliser, None, None, 0.1, &scale).unwrap(), out.losses, out.log_normaliser]
        });
    }

    #[test]
    fn misuse_is_an_error() {
        let x = noise(&[3, 4], 8, DType::F32);
        let message =
            |labels: &[i64], ignored, s| cross_entropy(&x, &Array::from_slice(labels, &[labels.len()]).unwrap(), None, ignored, s).unwrap_err().to_string();
        let outside = message(&[0, 4, 1], Some(-100), 0.0);
        assert!(outside.contains("row 1 has label 4") && outside.contains("C = 4"), "{outside}");
        assert!(message(&[0, 1, -100], None, 0.0).contains("label -100"));
        assert!(message(&[0, 1], None, 0.0).contains("[3]"));
        assert!(message(&[0, 1, 2], None, 1.5).contains("1.5"));
        assert!(cross_entropy(&x, &x, None, None, 0.0).is_err());
    }
}
