//! Optimizer steps on one parameter in place, each in a single pass over memory; and the questions asked of gradients before them.
//!
//! `SGD` (PyTorch's `torch.optim.SGD`): `g += wd p; b = mu b + (1 - damping) g` (the first time `b = g`); `p -= lr b`, or `lr (g + mu b)` with Nesterov's momentum.
//! `Adam` (Kingma and Ba, 2015; PyTorch's `Adam`, `AdamW`): `m += (1 - b1)(g - m); v = b2 v + (1 - b2) g²; p -= lr / (1 - b1^t) · m / (sqrt(v / (1 - b2^t)) + eps)`.

mod measure;

pub use measure::{all_finite, sum_of_squares};

use crate::array::Array;
use crate::error::{Error, Result};
use crate::float::Float;
use crate::float::with_float;
use crate::ops::{expect_shape, same_dtype};
use crate::parallel::{self, Target};
use crate::simd::{Kernel, Real, Simd};

/// The hyper-parameters of stochastic gradient descent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sgd {
    /// The length of a step.
    pub learning_rate: f64,
    /// The share of the last step's direction that is kept; 0 for none.
    pub momentum: f64,
    /// What momentum takes off the new gradient.
    pub dampening: f64,
    /// Whether the step looks ahead along the momentum.
    pub nesterov: bool,
    /// The factor of the parameter that is added to its gradient.
    pub weight_decay: f64,
}

/// The hyper-parameters of Adam and AdamW.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Adam {
    /// The length of a step.
    pub learning_rate: f64,
    /// The decay of the mean gradient.
    pub beta1: f64,
    /// The decay of the mean squared gradient.
    pub beta2: f64,
    /// Added to the divisor.
    pub eps: f64,
    /// The factor of the parameter that is added to its gradient or, if decoupled, taken off the parameter.
    pub weight_decay: f64,
    /// Whether the decay bypasses the moments: AdamW (Loshchilov and Hutter, 2019).
    pub decoupled: bool,
    /// The number of this step, from 1 on; it corrects the moments' bias.
    pub step: u64,
}

/// A step of SGD with the gradient times `gradient_scale`. With momentum the buffer is needed; the `first` step fills it, whatever it held.
///
/// # Errors
/// Different shapes or element types, or one other than f32 and f64; momentum without a buffer. Nothing is written then.
pub fn sgd_update(value: &mut Array, gradient: &Array, momentum_buffer: Option<&mut Array>, first: bool, sgd: &Sgd, gradient_scale: f64) -> Result<()> {
    const OP: &str = "sgd_update";
    let gradient = matching(OP, "the gradient", value, gradient)?;
    let Sgd { learning_rate, momentum, dampening, nesterov, weight_decay } = *sgd;
    with_float!(OP, value.dtype(), T => {
        if momentum == 0.0 {
            let step = Plain { scale: gradient_scale, decay: weight_decay, step: -learning_rate };
            return spread::<T, 0>(value, [], &gradient, |value, [], gradient| T::run(Pass(step, value, [], gradient)));
        }
        let Some(buffer) = momentum_buffer else {
            return Err(Error::value(OP, format!("momentum is {momentum}, and there is no buffer to keep it in")));
        };
        matching(OP, "the momentum buffer", value, buffer)?;
        if first {
            buffer.as_mut_slice::<T>()?.fill(0.0);
        }
        let step = Momentum {
            scale: gradient_scale,
            decay: weight_decay,
            keep: momentum,
            take: if first { 1.0 } else { 1.0 - dampening },
            by_gradient: if nesterov { -learning_rate } else { 0.0 },
            by_buffer: if nesterov { -learning_rate * momentum } else { -learning_rate },
        };
        spread(value, [buffer], &gradient, |value: &mut [T], states, gradient| T::run(Pass(step, value, states, gradient)))
    })
}

/// A step of Adam with the gradient times `gradient_scale`; `m` and `v` are the moments, zeros before the first step. With `maximum_v` (AMSGrad) the largest `v` so far divides.
///
/// # Errors
/// Different shapes or element types, or one other than f32 and f64; a step of 0. Nothing is written then.
pub fn adam_update(
    value: &mut Array,
    gradient: &Array,
    m: &mut Array,
    v: &mut Array,
    maximum_v: Option<&mut Array>,
    adam: &Adam,
    gradient_scale: f64,
) -> Result<()> {
    const OP: &str = "adam_update";
    let gradient = matching(OP, "the gradient", value, gradient)?;
    matching(OP, "the first moment", value, m)?;
    matching(OP, "the second moment", value, v)?;
    if adam.step == 0 {
        return Err(Error::value(OP, "the step is 0, expected to count from 1"));
    }
    let correction = |beta: f64| 1.0 - beta.powf(adam.step as f64);
    let step = Moments {
        scale: gradient_scale,
        decay: if adam.decoupled { 0.0 } else { adam.weight_decay },
        shrink: if adam.decoupled { 1.0 - adam.learning_rate * adam.weight_decay } else { 1.0 },
        take_m: 1.0 - adam.beta1,
        keep_v: adam.beta2,
        take_v: 1.0 - adam.beta2,
        step: -adam.learning_rate / correction(adam.beta1),
        root: 1.0 / correction(adam.beta2).sqrt(),
        eps: adam.eps,
    };
    with_float!(OP, value.dtype(), T => match maximum_v {
        None => spread(value, [m, v], &gradient, |value: &mut [T], states, gradient| T::run(Pass(step, value, states, gradient))),
        Some(maximum) => {
            matching(OP, "the maximum of the second moment", value, maximum)?;
            spread(value, [m, v, maximum], &gradient, |value: &mut [T], states, gradient| T::run(Pass(step, value, states, gradient)))
        }
    })
}

/// The dense form of an array that has the value's shape and element type.
fn matching(op: &'static str, what: &str, value: &Array, other: &Array) -> Result<Array> {
    same_dtype(op, value, other)?;
    expect_shape(op, what, other, value.dims())?;
    other.contiguous()
}

/// Runs `body` over ranges of a value, its states and its gradient. All are made ready for writing before any is written.
fn spread<T: Float, const N: usize>(
    value: &mut Array,
    states: [&mut Array; N],
    gradient: &Array,
    body: impl Fn(&mut [T], [&mut [T]; N], &[T]) + Sync,
) -> Result<()> {
    let mut all = states;
    for array in all.iter_mut() {
        array.own()?;
    }
    value.own()?;
    let gradient = gradient.slice::<T>();
    let (value, states) = (Target::new(value.slice_mut::<T>()), all.map(|state| Target::new(state.slice_mut::<T>())));
    parallel::ranges(gradient.len(), parallel::GRAIN, |start, end| {
        // SAFETY: ranges do not overlap, and the arrays are different owners of memory.
        unsafe { body(value.slice(start, end), states.map(|state| state.slice(start, end)), &gradient[start..end]) }
    });
    Ok(())
}

/// A step's formula over a value, its states and its gradient.
struct Pass<'a, F, T, const N: usize>(F, &'a mut [T], [&'a mut [T]; N], &'a [T]);

/// p += step (scale g + decay p)
#[derive(Clone, Copy)]
struct Plain {
    scale: f64,
    decay: f64,
    step: f64,
}

impl<T: Float> Kernel for Pass<'_, Plain, T, 0> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self) {
        let (wrap, of) = (T::Real::<S>::wrap, T::Real::<S>::of);
        let Plain { scale, decay, step } = self.0;
        let (scale, decay, step) = (of(scale), of(decay), of(step));
        for (value, g) in self.1.iter_mut().zip(self.3) {
            let p = wrap(*value);
            let g = decay.mul_add(p, wrap(*g) * scale);
            *value = g.mul_add(step, p).number();
        }
    }
}

/// b = keep b + take g, p += by_gradient g + by_buffer b
#[derive(Clone, Copy)]
struct Momentum {
    scale: f64,
    decay: f64,
    keep: f64,
    take: f64,
    by_gradient: f64,
    by_buffer: f64,
}

impl<T: Float> Kernel for Pass<'_, Momentum, T, 1> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self) {
        let (wrap, of) = (T::Real::<S>::wrap, T::Real::<S>::of);
        let Momentum { scale, decay, keep, take, by_gradient, by_buffer } = self.0;
        let [scale, decay, keep, take, by_gradient, by_buffer] = [scale, decay, keep, take, by_gradient, by_buffer].map(of);
        let [buffer] = self.2;
        for ((value, buffer), g) in self.1.iter_mut().zip(buffer).zip(self.3) {
            let p = wrap(*value);
            let g = decay.mul_add(p, wrap(*g) * scale);
            let b = take.mul_add(g, wrap(*buffer) * keep);
            *buffer = b.number();
            *value = (by_gradient.mul_add(g, b * by_buffer) + p).number();
        }
    }
}

/// The moments' step; see [`adam_update`].
#[derive(Clone, Copy)]
struct Moments {
    scale: f64,
    decay: f64,
    shrink: f64,
    take_m: f64,
    keep_v: f64,
    take_v: f64,
    step: f64,
    root: f64,
    eps: f64,
}

impl Moments {
    /// The new (value, m, v); the divisor comes from what `largest` makes of v.
    #[inline(always)]
    fn apply<R: Real>(self, [p, g, m, v]: [R; 4], largest: impl FnOnce(R) -> R) -> [R; 3] {
        let of = R::of;
        let g = of(self.decay).mul_add(p, g * of(self.scale));
        let m = of(self.take_m).mul_add(g - m, m);
        let v = (of(self.take_v) * g).mul_add(g, v * of(self.keep_v));
        let divisor = largest(v).sqrt().mul_add(of(self.root), of(self.eps));
        [(of(self.step) * m / divisor) + p * of(self.shrink), m, v]
    }
}

impl<T: Float> Kernel for Pass<'_, Moments, T, 2> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self) {
        let wrap = T::Real::<S>::wrap;
        let [m, v] = self.2;
        for (((value, m), v), g) in self.1.iter_mut().zip(m).zip(v).zip(self.3) {
            let new = self.0.apply([*value, *g, *m, *v].map(wrap), |v| v);
            [*value, *m, *v] = new.map(|x| x.number());
        }
    }
}

impl<T: Float> Kernel for Pass<'_, Moments, T, 3> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self) {
        let wrap = T::Real::<S>::wrap;
        let [m, v, maximum] = self.2;
        for ((((value, m), v), maximum), g) in self.1.iter_mut().zip(m).zip(v).zip(maximum).zip(self.3) {
            let mut most = wrap(*maximum);
            let new = self.0.apply([*value, *g, *m, *v].map(wrap), |v| {
                most = Real::max(most, v);
                most
            });
            [*value, *m, *v] = new.map(|x| x.number());
            *maximum = most.number();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dtype::DType;
    use crate::ops::testing::*;

    const SIZES: [usize; 5] = [0, 1, 37, 1000, 70_001];

    #[test]
    fn sgd_follows_the_formula() {
        at_every_level(|dtype, tolerance| {
            for (count, (momentum, dampening, nesterov, weight_decay)) in
                SIZES.into_iter().zip([(0.0, 0.0, false, 0.1), (0.9, 0.0, false, 0.0), (0.9, 0.25, false, 0.01), (0.8, 0.0, true, 0.1), (0.0, 0.0, false, 0.0)])
            {
                let sgd = Sgd { learning_rate: 0.1, momentum, dampening, nesterov, weight_decay };
                let mut value = noise(&[count], 1, dtype);
                // What the buffer holds before the first step is of no account.
                let mut buffer = Array::full(&[count], f64::NAN, dtype).unwrap();
                let (mut p, mut b) = (doubles(&value), vec![0.0; count]);
                for step in 0..4 {
                    let gradient = noise(&[count], 2 + step, dtype);
                    for (i, g) in doubles(&gradient).into_iter().enumerate() {
                        let g = 0.5 * g + weight_decay * p[i];
                        b[i] = if step == 0 { g } else { momentum * b[i] + (1.0 - dampening) * g };
                        p[i] -= 0.1
                            * if momentum == 0.0 {
                                g
                            } else if nesterov {
                                g + momentum * b[i]
                            } else {
                                b[i]
                            };
                    }
                    sgd_update(&mut value, &gradient, (momentum != 0.0).then_some(&mut buffer), step == 0, &sgd, 0.5).unwrap();
                }
                assert_close(&format!("{dtype} {count} {sgd:?}"), &value, &p, tolerance);
            }
        });
    }

    #[test]
    fn adam_follows_the_formula() {
        at_every_level(|dtype, tolerance| {
            for (count, (decoupled, amsgrad, weight_decay)) in
                SIZES.into_iter().zip([(false, false, 0.0), (true, false, 0.1), (false, true, 0.1), (true, true, 0.01), (false, false, 0.1)])
            {
                let (mut value, mut m, mut v, mut most) =
                    (noise(&[count], 1, dtype), noise(&[count], 0, dtype), noise(&[count], 0, dtype), noise(&[count], 0, dtype));
                for state in [&mut m, &mut v, &mut most] {
                    *state = Array::zeros(&[count], dtype).unwrap();
                }
                let (mut p, mut em, mut ev, mut emost) = (doubles(&value), vec![0.0; count], vec![0.0; count], vec![0f64; count]);
                for step in 1..5 {
                    let adam = Adam { learning_rate: 0.01, beta1: 0.9, beta2: 0.99, eps: 1e-3, weight_decay, decoupled, step };
                    let gradient = noise(&[count], 2 + step, dtype);
                    for (i, g) in doubles(&gradient).into_iter().enumerate() {
                        let mut g = 2.0 * g / step as f64;
                        if decoupled {
                            p[i] *= 1.0 - 0.01 * weight_decay;
                        } else {
                            g += weight_decay * p[i];
                        }
                        em[i] = 0.9 * em[i] + 0.1 * g;
                        ev[i] = 0.99 * ev[i] + 0.01 * g * g;
                        emost[i] = emost[i].max(ev[i]);
                        let v = if amsgrad { emost[i] } else { ev[i] } / (1.0 - 0.99f64.powi(step as i32));
                        p[i] -= 0.01 * em[i] / (1.0 - 0.9f64.powi(step as i32)) / (v.sqrt() + 1e-3);
                    }
                    adam_update(&mut value, &gradient, &mut m, &mut v, amsgrad.then_some(&mut most), &adam, 2.0 / step as f64).unwrap();
                }
                let what = format!("{dtype} {count} {decoupled} {amsgrad}");
                assert_close(&what, &value, &p, tolerance);
                assert_close(&what, &m, &em, tolerance);
                assert_close(&what, &v, &ev, tolerance);
                if amsgrad {
                    assert_close(&what, &most, &emost, tolerance);
                }
            }
        });
    }

    #[test]
    fn others_that_share_the_value_keep_theirs() {
        let mut value = noise(&[20, 3], 1, DType::F32);
        let (snapshot, before) = (value.clone(), doubles(&value));
        let sgd = Sgd { learning_rate: 1.0, momentum: 0.0, dampening: 0.0, nesterov: false, weight_decay: 0.0 };
        sgd_update(&mut value, &snapshot, None, true, &sgd, 1.0).unwrap();
        assert_eq!((doubles(&snapshot), doubles(&value)), (before, vec![0.0; 60]));
    }

    #[test]
    fn any_number_of_threads_gives_the_same_bits() {
        let (x, g) = (noise(&[300_007], 4, DType::F32), noise(&[300_007], 5, DType::F32));
        assert_same_bits("update", || {
            let (mut p, mut m, mut v) = (x.clone(), g.clone(), x.clone());
            v.as_mut_slice::<f32>().unwrap().iter_mut().for_each(|v| *v = v.abs());
            adam_update(
                &mut p,
                &g,
                &mut m,
                &mut v,
                None,
                &Adam { learning_rate: 0.1, beta1: 0.9, beta2: 0.999, eps: 1e-8, weight_decay: 0.0, decoupled: true, step: 3 },
                1.0,
            )
            .unwrap();
            vec![p, m, v]
        });
    }

    #[test]
    fn misuse_is_an_error_and_writes_nothing() {
        let (mut p, before) = (noise(&[4], 1, DType::F32), doubles(&noise(&[4], 1, DType::F32)));
        let sgd = Sgd { learning_rate: 0.1, momentum: 0.9, dampening: 0.0, nesterov: false, weight_decay: 0.0 };
        let g = noise(&[4], 2, DType::F32);
        assert!(sgd_update(&mut p, &g, None, true, &sgd, 1.0).unwrap_err().to_string().contains("no buffer"));
        assert!(sgd_update(&mut p, &noise(&[2, 2], 2, DType::F32), Some(&mut g.clone()), true, &sgd, 1.0).unwrap_err().to_string().contains("[2, 2]"));
        assert!(sgd_update(&mut p, &g.cast(DType::F64).unwrap(), Some(&mut g.clone()), true, &sgd, 1.0).is_err());
        let adam = Adam { learning_rate: 0.1, beta1: 0.9, beta2: 0.999, eps: 1e-8, weight_decay: 0.0, decoupled: false, step: 0 };
        assert!(adam_update(&mut p, &g, &mut g.clone(), &mut g.clone(), None, &adam, 1.0).unwrap_err().to_string().contains("step"));
        assert_eq!(doubles(&p), before);
    }
}
