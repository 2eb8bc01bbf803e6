//! Connectionist temporal classification (Graves et al. 2006; PyTorch's `ctc_loss`): the negative log-probability that a sequence of frames spells a sequence of labels, over all alignments.
//!
//! With `l'` the labels with a blank before, between and after them (S' = 2S + 1), and `y` the log-probabilities `[T, N, C]`, in log space:
//! `α_t(s) = y_t(l'_s) + ln (e^α_{t-1}(s) + e^α_{t-1}(s-1) + [l'_s ≠ l'_{s-2}] e^α_{t-1}(s-2))`, `loss = -ln (e^α_T(S') + e^α_T(S'-1))`;
//! β is the same from the end. The gradient by `y_t(c)` is minus the probability that an alignment passes through c at t: `-Σ_{s: l'_s = c} e^(α_t(s) + β_t(s) - y_t(c) + loss)`.
//! PyTorch adds `e^y`, which takes a softmax before for granted; behind a log-softmax both give the same.

use crate::array::Array;
use crate::dtype::{DType, Element};
use crate::error::{Error, Result};
use crate::float::with_float;
use crate::ops::on_cpu;
use crate::ops::{Float, expect_shape, same_dtype};
use crate::parallel::{self, Target};

/// The sequences of a batch: which labels, and how long.
#[derive(Clone, Debug)]
pub struct Sequences {
    /// i64, `[N, S]` with anything behind a sequence's end, or all sequences joined, `[sum of the lengths]`.
    pub labels: Array,
    /// How many labels each sequence has, `[N]`.
    pub lengths: Vec<usize>,
    /// How many frames belong to each, `[N]`.
    pub frames: Vec<usize>,
    /// The class that stands for no label.
    pub blank: usize,
}

/// What [`ctc`] computes.
#[derive(Clone, Debug)]
pub struct Ctc {
    /// The loss of each sequence, `[N]`; infinite where the frames are too few for the labels.
    pub losses: Array,
    /// α, f64 `[N, T, 2S + 1]`; kept for [`ctc_backward`].
    pub forward: Array,
}

/// The loss of each sequence; `log_probabilities` is `[T, N, C]`.
///
/// # Errors
/// Log-probabilities that are not `[T, N, C]` of f32 or f64; labels that are not i64, or of another shape than [`Sequences`] says; lengths that are not N, or beyond what there is; a blank or label outside `0..C`; a label that is the blank.
pub fn ctc(log_probabilities: &Array, sequences: &Sequences) -> Result<Ctc> {
    const OP: &str = "ctc";
    on_cpu!(OP, [log_probabilities, sequences.labels]);
    let call = Call::new(OP, log_probabilities, sequences)?;
    let x = log_probabilities.contiguous()?;
    let mut losses = Array::stale(crate::shape::Shape::trusted(&[call.batch]), x.dtype())?;
    let mut forward = Array::full(&[call.batch, call.steps, call.width], f64::NEG_INFINITY, DType::F64)?;
    with_float!(OP, x.dtype(), T => {
        let (x, each, all) = (x.slice::<T>(), Target::new(losses.slice_mut::<T>()), Target::new(forward.slice_mut::<f64>()));
        parallel::ranges(call.batch, call.grain(), |start, end| {
            for n in start..end {
                // SAFETY: each sequence is visited once.
                let (loss, alpha) = unsafe { (each.slice(n, n + 1), all.slice(n * call.plane(), (n + 1) * call.plane())) };
                loss[0] = T::from_f64(call.sequence(n).forward(&call, x, alpha));
            }
        });
        Ok(Ctc { losses, forward })
    })
}

/// The gradient `[T, N, C]` of `sum_n scale_n loss_n` by the log-probabilities; `out` is what [`ctc`] returned. Sequences whose loss is infinite have the gradient NaN, or 0 if `zero_infinity`.
///
/// # Errors
/// As for [`ctc`]; a scale that is not `[N]` of the same element type.
pub fn ctc_backward(log_probabilities: &Array, sequences: &Sequences, out: &Ctc, scale: &Array, zero_infinity: bool) -> Result<Array> {
    const OP: &str = "ctc_backward";
    on_cpu!(OP, [log_probabilities, sequences.labels, out.losses, out.forward, scale]);
    let call = Call::new(OP, log_probabilities, sequences)?;
    same_dtype(OP, log_probabilities, scale)?;
    expect_shape(OP, "the scale", scale, &[call.batch])?;
    expect_shape(OP, "the losses", &out.losses, &[call.batch])?;
    expect_shape(OP, "α", &out.forward, &[call.batch, call.steps, call.width])?;
    let (x, scale, alpha, losses) = (log_probabilities.contiguous()?, scale.contiguous()?, out.forward.contiguous()?, out.losses.contiguous()?);
    let mut dx = Array::zeros(x.dims(), x.dtype())?;
    with_float!(OP, x.dtype(), T => {
        let (x, scale, losses, alpha) = (x.slice::<T>(), scale.slice::<T>(), losses.slice::<T>(), alpha.slice::<f64>());
        let target = Target::new(dx.slice_mut::<T>());
        parallel::ranges(call.batch, call.grain(), |start, end| {
            for n in start..end {
                // SAFETY: tasks write the rows of their own sequences only.
                let row = |t: usize| unsafe { target.slice(call.row(t, n), call.row(t, n) + call.classes) };
                let sequence = call.sequence(n);
                if losses[n].to_f64() == f64::INFINITY {
                    let filled = T::from_f64(if zero_infinity { 0.0 } else { f64::NAN });
                    (0..sequence.frames).for_each(|t| row(t).fill(filled));
                } else {
                    sequence.backward(&call, x, &alpha[n * call.plane()..(n + 1) * call.plane()], scale[n], row);
                }
            }
        });
        Ok(dx)
    })
}

/// The checked extents.
struct Call<'a> {
    steps: usize,
    batch: usize,
    classes: usize,
    /// 2S + 1 of the longest sequence.
    width: usize,
    labels: Array,
    /// Where each sequence's labels begin.
    starts: Vec<usize>,
    sequences: &'a Sequences,
}

/// One sequence of the batch.
struct Sequence<'a> {
    n: usize,
    labels: &'a [i64],
    frames: usize,
    blank: usize,
}

impl Call<'_> {
    fn new<'a>(op: &'static str, x: &Array, sequences: &'a Sequences) -> Result<Call<'a>> {
        let &[steps, batch, classes] = x.dims() else {
            return Err(Error::shape(op, format!("log-probabilities have shape {:?}, expected [T, N, C]", x.shape())));
        };
        let Sequences { labels, lengths, frames, blank } = sequences;
        if labels.dtype() != DType::I64 {
            return Err(Error::DType { op, got: labels.dtype(), expected: "i64 labels" });
        }
        if lengths.len() != batch || frames.len() != batch {
            return Err(Error::shape(op, format!("{} label lengths and {} frame counts for a batch of {batch}", lengths.len(), frames.len())));
        }
        if *blank >= classes {
            return Err(Error::value(op, format!("the blank is {blank}, expected a class below C = {classes}")));
        }
        if let Some(n) = (0..batch).find(|&n| frames[n] > steps) {
            return Err(Error::value(op, format!("sequence {n} has {} frames, but the log-probabilities {steps}", frames[n])));
        }
        let joined = lengths.iter().try_fold(0usize, |all, &length| all.checked_add(length));
        let starts: Vec<usize> = match *labels.dims() {
            [rows, width] if rows == batch => {
                if let Some(n) = (0..batch).find(|&n| lengths[n] > width) {
                    return Err(Error::value(op, format!("sequence {n} has {} labels, but its row holds {width}", lengths[n])));
                }
                (0..batch).map(|n| n * width).collect()
            }
            [all] if joined == Some(all) => lengths.iter().scan(0, |at, length| Some(std::mem::replace(at, *at + length))).collect(),
            _ => {
                let joined = joined.unwrap_or(usize::MAX);
                return Err(Error::shape(
                    op,
                    format!("labels have shape {:?}, expected [{batch}, S], or [{joined}] with all sequences joined", labels.shape()),
                ));
            }
        };
        let width = 2 * lengths.iter().copied().max().unwrap_or(0) + 1;
        let call = Call { steps, batch, classes, width, labels: labels.contiguous()?, starts, sequences };
        for n in 0..batch {
            let wrong = |&label: &i64| !(0..classes as i64).contains(&label) || label == *blank as i64;
            if let Some(label) = call.sequence(n).labels.iter().copied().find(wrong) {
                return Err(Error::value(
                    op,
                    format!("sequence {n} has the label {label}, expected 0 to C - 1 of C = {classes} classes, and not the blank {blank}"),
                ));
            }
        }
        Ok(call)
    }

    fn sequence(&self, n: usize) -> Sequence<'_> {
        let labels = &self.labels.slice::<i64>()[self.starts[n]..][..self.sequences.lengths[n]];
        Sequence { n, labels, frames: self.sequences.frames[n], blank: self.sequences.blank }
    }
    /// Where the scores of sequence `n` at step `t` begin.
    fn row(&self, t: usize, n: usize) -> usize {
        (t * self.batch + n) * self.classes
    }
    /// Numbers of α a sequence.
    fn plane(&self) -> usize {
        self.steps * self.width
    }
    /// Sequences that make a task: a number of α costs as much as about sixteen of a sum.
    fn grain(&self) -> usize {
        (parallel::GRAIN / (16 * self.plane().max(1))).max(1)
    }
}

impl Sequence<'_> {
    /// S'
    fn extent(&self) -> usize {
        2 * self.labels.len() + 1
    }
    /// `l'_s`
    fn label(&self, s: usize) -> usize {
        if s.is_multiple_of(2) { self.blank } else { self.labels[s / 2] as usize }
    }
    /// Whether an alignment may go from `s - 2` to `s`.
    fn skips(&self, s: usize) -> bool {
        s >= 3 && !s.is_multiple_of(2) && self.labels[s / 2] != self.labels[s / 2 - 1]
    }

    /// Fills α and gives the loss.
    fn forward<T: Float>(&self, call: &Call, x: &[T], alpha: &mut [f64]) -> f64 {
        let extent = self.extent();
        let Some(last) = self.frames.checked_sub(1) else { return if self.labels.is_empty() { 0.0 } else { f64::INFINITY } };
        for t in 0..=last {
            let scores = &x[call.row(t, self.n)..][..call.classes];
            let (before, now) = alpha[t.saturating_sub(1) * call.width..].split_at_mut(if t == 0 { 0 } else { call.width });
            for s in 0..extent {
                let paths = match t {
                    0 => {
                        if s < 2 {
                            0.0
                        } else {
                            f64::NEG_INFINITY
                        }
                    }
                    _ => sum([before[s], previous(before, s, 1), if self.skips(s) { before[s - 2] } else { f64::NEG_INFINITY }]),
                };
                now[s] = paths + scores[self.label(s)].to_f64();
            }
        }
        let end = &alpha[last * call.width..][..extent];
        -sum([end[extent - 1], previous(end, extent - 1, 1), f64::NEG_INFINITY])
    }

    /// Writes the gradient, walking β from the end.
    fn backward<'a, T: Float>(&self, call: &Call, x: &[T], alpha: &[f64], scale: T, row: impl Fn(usize) -> &'a mut [T]) {
        let extent = self.extent();
        let Some(last) = self.frames.checked_sub(1) else { return };
        let end = &alpha[last * call.width..][..extent];
        let loss = -sum([end[extent - 1], previous(end, extent - 1, 1), f64::NEG_INFINITY]);
        // β without the score of its own step: what the steps after it add.
        let mut after = vec![f64::NEG_INFINITY; extent];
        after[extent.saturating_sub(2)..].fill(0.0);
        let mut beta = vec![0.0; extent];
        for t in (0..=last).rev() {
            let (scores, out) = (&x[call.row(t, self.n)..][..call.classes], row(t));
            for (s, after) in after.iter().enumerate() {
                let passing = (alpha[t * call.width + s] + after + loss).exp();
                let out = &mut out[self.label(s)];
                *out = *out - T::from_f64(passing) * scale;
                beta[s] = after + scores[self.label(s)].to_f64();
            }
            for (s, after) in after.iter_mut().enumerate() {
                let next = |distance: usize| beta.get(s + distance).copied().unwrap_or(f64::NEG_INFINITY);
                *after = sum([beta[s], next(1), if s + 2 < extent && self.skips(s + 2) { next(2) } else { f64::NEG_INFINITY }]);
            }
        }
    }
}

/// The number `distance` places before `s`, -infinity before the first.
fn previous(values: &[f64], s: usize, distance: usize) -> f64 {
    s.checked_sub(distance).map_or(f64::NEG_INFINITY, |s| values[s])
}

/// `ln (e^a + e^b + e^c)`
fn sum([a, b, c]: [f64; 3]) -> f64 {
    let most = a.max(b).max(c);
    // All are -infinity, or NaN, which `max` passes over.
    if most == f64::NEG_INFINITY { a + b + c } else { most + ((a - most).exp() + (b - most).exp() + (c - most).exp()).ln() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::softmax::log_softmax;
    use crate::ops::testing::*;

    fn sequences(labels: &[i64], dims: &[usize], lengths: &[usize], frames: &[usize], blank: usize) -> Sequences {
        Sequences { labels: Array::from_slice(labels, dims).unwrap(), lengths: lengths.to_vec(), frames: frames.to_vec(), blank }
    }

    /// The sum over all `C^T` paths that collapse to the labels.
    fn by_enumeration(x: &[f64], batch: usize, classes: usize, n: usize, labels: &[i64], frames: usize, blank: usize) -> f64 {
        let mut total = 0.0;
        for path in 0..classes.pow(frames as u32) {
            let steps: Vec<usize> = (0..frames).map(|t| path / classes.pow(t as u32) % classes).collect();
            let mut spelt: Vec<usize> = steps.clone();
            spelt.dedup();
            spelt.retain(|c| *c != blank);
            if spelt.iter().map(|c| *c as i64).eq(labels.iter().copied()) {
                total += steps.iter().enumerate().map(|(t, c)| x[(t * batch + n) * classes + c]).sum::<f64>().exp();
            }
        }
        -total.ln()
    }

    #[test]
    fn agrees_with_all_paths() {
        at_every_level(|dtype, tolerance| {
            for blank in [0usize, 2] {
                let (steps, batch, classes) = (5, 4, 3);
                let x = log_softmax(&noise(&[steps, batch, classes], 1, dtype), -1).unwrap();
                let (a, b) = if blank == 0 { (1i64, 2i64) } else { (0, 1) };
                let rows = [vec![a, b], vec![a, a], vec![], vec![b]];
                let (lengths, frames): (Vec<usize>, _) = (rows.iter().map(Vec::len).collect(), [5, 4, 3, 1]);
                let padded: Vec<i64> = rows.iter().flat_map(|r| r.iter().copied().chain(vec![-7; 2 - r.len()])).collect();
                let want: Vec<f64> = (0..batch).map(|n| by_enumeration(&doubles(&x), batch, classes, n, &rows[n], frames[n], blank)).collect();
                for (labels, dims) in [(padded, vec![4, 2]), (rows.concat(), vec![5])] {
                    let out = ctc(&x, &sequences(&labels, &dims, &lengths, &frames, blank)).unwrap();
                    assert_close(&format!("{dtype} {blank} {dims:?}"), &out.losses, &want, 4.0 * tolerance);
                }
            }
        });
    }

    #[test]
    fn gradients_are_slopes() {
        let x = noise(&[6, 3, 4], 2, DType::F64);
        let sequences = sequences(&[1, 1, 2, 3, 1, 0, 0, 0, 0], &[3, 3], &[3, 2, 0], &[6, 4, 5], 0);
        let scale = noise(&[3], 3, DType::F64);
        let out = ctc(&x, &sequences).unwrap();
        let dx = ctc_backward(&x, &sequences, &out, &scale, false).unwrap();
        assert_gradient("log-probabilities", &x, &dx, |x| weighted(&ctc(x, &sequences).unwrap().losses, &scale));
        assert!(doubles(&dx.narrow(0, 5, 1).unwrap())[4..].iter().all(|g| *g == 0.0));
    }

    #[test]
    fn too_few_frames_and_none() {
        let x = log_softmax(&noise(&[3, 4, 3], 1, DType::F32), -1).unwrap();
        let sequences = sequences(&[1, 1, 1, 2, 1, 0, 0, 0], &[4, 2], &[2, 2, 1, 0], &[2, 3, 0, 0], 0);
        let out = ctc(&x, &sequences).unwrap();
        let losses = doubles(&out.losses);
        assert!(losses[0] == f64::INFINITY && losses[1].is_finite() && losses[2] == f64::INFINITY && losses[3] == 0.0, "{losses:?}");
        let scale = Array::ones(&[4], DType::F32).unwrap();
        let of = |zero| doubles(&ctc_backward(&x, &sequences, &out, &scale, zero).unwrap());
        assert!(of(true)[..3].iter().all(|g| *g == 0.0) && of(false)[..3].iter().all(|g| g.is_nan()));
        assert!(of(true).iter().all(|g| g.is_finite()) && of(true)[3..6].iter().any(|g| *g != 0.0));
        // NaN stays NaN: it is no sequence that does not fit.
        let nan = Array::full(&[3, 4, 3], f64::NAN, DType::F32).unwrap();
        assert!(doubles(&ctc(&nan, &sequences).unwrap().losses)[1].is_nan());
        let endless = Sequences { lengths: vec![usize::MAX, 2, 1, 0], labels: Array::zeros(&[8], DType::I64).unwrap(), ..sequences };
        assert!(ctc(&x, &endless).is_err());
        let none = Sequences { labels: Array::zeros(&[0], DType::I64).unwrap(), lengths: vec![], frames: vec![], blank: 0 };
        assert_eq!(ctc(&noise(&[3, 0, 2], 1, DType::F32), &none).unwrap().losses.dims(), [0]);
    }

    #[test]
    fn threads_give_the_same_bits() {
        let x = log_softmax(&noise(&[50, 9, 20], 1, DType::F32), -1).unwrap();
        let labels: Vec<i64> = (0..90).map(|i| 1 + i * 7 % 19).collect();
        let sequences = sequences(&labels, &[9, 10], &[10, 9, 8, 7, 6, 5, 4, 3, 0], &[50, 40, 30, 50, 50, 50, 20, 10, 5], 0);
        let scale = noise(&[9], 2, DType::F32);
        assert_same_bits("ctc", || {
            let out = ctc(&x, &sequences).unwrap();
            vec![out.losses.clone(), ctc_backward(&x, &sequences, &out, &scale, false).unwrap()]
        });
    }

    #[test]
    fn misuse() {
        let x = noise(&[3, 2, 4], 1, DType::F32);
        let error = |labels: &[i64], dims: &[usize], lengths: &[usize], frames: &[usize], blank| {
            ctc(&x, &sequences(labels, dims, lengths, frames, blank)).unwrap_err().to_string()
        };
        assert!(error(&[1, 4], &[2, 1], &[1, 1], &[3, 3], 0).contains("sequence 1 has the label 4"));
        assert!(error(&[1, 0], &[2, 1], &[1, 1], &[3, 3], 0).contains("not the blank 0"));
        assert!(error(&[1, 1], &[2, 1], &[1, 1], &[3, 4], 0).contains("4 frames"));
        assert!(error(&[1, 1], &[2, 1], &[2, 1], &[3, 3], 0).contains("its row holds 1"));
        assert!(error(&[1, 1], &[2, 1], &[1], &[3, 3], 0).contains("batch of 2"));
        assert!(error(&[1, 1, 1], &[3], &[1, 1], &[3, 3], 0).contains("[2] with all sequences joined"));
        assert!(error(&[1, 1], &[2, 1], &[1, 1], &[3, 3], 4).contains("the blank is 4"));
        assert!(ctc(&noise(&[3, 2], 1, DType::F32), &sequences(&[1], &[1, 1], &[1], &[1], 0)).is_err());
    }
}
