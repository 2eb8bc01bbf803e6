//! Optimizer steps on one parameter in place, each in a single pass over memory; and the questions asked of gradients before them.
//!
//! A rule writes its formula once, for one number, as a [`Formula`]; [`update`] runs it over the parameter, its gradient and what the rule keeps beside it, vectorised for every CPU level and split over threads by size.

mod factored;
#[cfg(feature = "cuda")]
mod fused;
mod measure;
mod rules;

pub use crate::simd::Real;
pub use factored::{Factored, factored_update};
#[cfg(feature = "cuda")]
pub use fused::{Following, Part, Status, Stepper};
pub use measure::{Term, all_finite, sum_of_squares, sum_of_squares_of};

pub use rules::{Fused, Limits, Setting};

use crate::array::Array;
use crate::error::{Error, Result};
use crate::float::Float;
use crate::float::with_float;
use crate::ops::{expect_shape, on_cpu, same_dtype};
use crate::parallel::{self, Target};
use crate::simd::{Kernel, Simd};

/// How one number of a parameter, and the `N` numbers that a rule keeps beside it, change by one number of the gradient.
///
/// The fields are the step's constants, worked out once in double precision. `next` must be `#[inline(always)]`, so that it takes on the instructions of the CPU level; where it must choose, `if c { a } else { b }` of finished values keeps the loop vectorised.
/// ```
/// use chainrule_core::{Array, DType};
/// use chainrule_core::ops::update::{Formula, Gradient, Real, update};
///
/// /// Heavy ball: `b = keep · b + g`, `p += step · b`
/// #[derive(Clone, Copy)]
/// struct HeavyBall { keep: f64, step: f64 }
///
/// impl Formula<1> for HeavyBall {
///     #[inline(always)]
///     fn next<R: Real>(self, p: R, g: R, [b]: [R; 1]) -> (R, [R; 1]) {
///         let b = b * R::of(self.keep) + g;
///         (p + b * R::of(self.step), [b])
///     }
/// }
/// let (mut p, mut state) = (Array::zeros(&[3], DType::F32)?, [Array::ones(&[3], DType::F32)?]);
/// let gradient = Gradient { numbers: &Array::ones(&[3], DType::F32)?, scale: 1.0, decay: 0.0 };
/// update("heavy_ball", &mut p, gradient, &mut state, HeavyBall { keep: 0.5, step: -2.0 })?;
/// assert_eq!(p.to_vec::<f32>()?, [-3.0; 3]);
/// # Ok::<(), chainrule_core::Error>(())
/// ```
pub trait Formula<const N: usize>: Copy + Send + Sync {
    /// The parameter's new number, and the new numbers beside it.
    fn next<R: Real>(self, p: R, g: R, state: [R; N]) -> (R, [R; N]);
}

/// The gradient as a formula sees it: `scale · g + decay · p`.
#[derive(Clone, Copy, Debug)]
pub struct Gradient<'a> {
    /// What the backward pass gave, of the parameter's shape and element type.
    pub numbers: &'a Array,
    /// Clipping, and the sign of a climb.
    pub scale: f64,
    /// The share of the parameter that an L2 penalty adds.
    pub decay: f64,
}

/// One step of a formula. Nothing is written before all is checked and all memory is there.
///
/// # Errors
/// A gradient or a state of another shape or element type than the value, or one other than f32 and f64; other than `N` states; no memory, where something else holds the value or a state.
pub fn update<const N: usize, F: Formula<N>>(op: &'static str, value: &mut Array, gradient: Gradient, states: &mut [Array], formula: F) -> Result<()> {
    let Gradient { numbers, scale, decay } = gradient;
    on_cpu!(op, [value, numbers; states.first()]);
    let numbers = matching(op, "the gradient", value, numbers)?;
    let got = states.len();
    let states: &mut [Array; N] = states.try_into().map_err(|_| Error::value(op, format!("got {got} state arrays, expected {N}")))?;
    for state in states.iter_mut() {
        matching(op, "a state", value, state)?;
        state.own()?;
    }
    value.own()?;
    with_float!(op, value.dtype(), T => {
        let gradient = numbers.slice::<T>();
        let (value, states) = (Target::new(value.slice_mut::<T>()), states.each_mut().map(|state| Target::new(state.slice_mut::<T>())));
        parallel::ranges(gradient.len(), parallel::GRAIN, |start, end| {
            // SAFETY: ranges do not overlap, and the arrays are different owners of memory.
            let (value, states) = unsafe { (value.slice(start, end), states.map(|state| state.slice(start, end))) };
            T::run(Pass { formula, scale, decay, value, states, gradient: &gradient[start..end] });
        });
        Ok(())
    })
}

/// The dense form of an array that has the value's shape and element type.
fn matching(op: &'static str, what: &str, value: &Array, other: &Array) -> Result<Array> {
    same_dtype(op, value, other)?;
    expect_shape(op, what, other, value.dims())?;
    other.contiguous()
}

/// A formula over a value, its states and its gradient.
struct Pass<'a, F, T, const N: usize> {
    formula: F,
    scale: f64,
    decay: f64,
    value: &'a mut [T],
    states: [&'a mut [T]; N],
    gradient: &'a [T],
}

impl<T: Float, F: Formula<N>, const N: usize> Kernel for Pass<'_, F, T, N> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self) {
        let wrap = T::Real::<S>::wrap;
        let (scale, decay) = (T::Real::<S>::of(self.scale), T::Real::<S>::of(self.decay));
        let count = self.gradient.len();
        // Slices of one length, so that the loop needs no checks.
        let (value, mut states) = (&mut self.value[..count], self.states.map(|state| &mut state[..count]));
        for (i, (value, g)) in value.iter_mut().zip(self.gradient).enumerate() {
            let p = wrap(*value);
            let g = decay.mul_add(p, wrap(*g) * scale);
            let (p, new) = self.formula.next(p, g, std::array::from_fn(|k| wrap(states[k][i])));
            *value = p.number();
            for (state, new) in states.iter_mut().zip(new) {
                state[i] = new.number();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dtype::DType;
    use crate::ops::testing::*;

    const SIZES: [usize; 5] = [0, 1, 37, 1000, 70_001];

    /// `a = a / 2 + g`, `b = max(b, |a|)`, `p -= a / (√b + 1)`
    #[derive(Clone, Copy)]
    struct Example {
        half: f64,
    }

    impl Formula<2> for Example {
        #[inline(always)]
        fn next<R: Real>(self, p: R, g: R, [a, b]: [R; 2]) -> (R, [R; 2]) {
            let a = a.mul_add(R::of(self.half), g);
            let b = Real::max(b, a.abs());
            (p - a / (b.sqrt() + R::one()), [a, b])
        }
    }

    /// `p += g`
    #[derive(Clone, Copy)]
    struct Add;

    impl Formula<0> for Add {
        #[inline(always)]
        fn next<R: Real>(self, p: R, g: R, []: [R; 0]) -> (R, [R; 0]) {
            (p + g, [])
        }
    }

    fn step(value: &mut Array, numbers: &Array, states: &mut [Array]) -> Result<()> {
        update("example", value, Gradient { numbers, scale: -2.0, decay: 0.25 }, states, Example { half: 0.5 })
    }

    #[test]
    fn a_formula_meets_every_number() {
        at_every_level(|dtype, tolerance| {
            for count in SIZES {
                let mut value = noise(&[count], 1, dtype);
                let mut states = [2, 3].map(|seed| noise(&[count], seed, dtype));
                let (mut p, mut a, mut b) = (doubles(&value), doubles(&states[0]), doubles(&states[1]));
                for round in 0..3 {
                    let gradient = noise(&[count], 4 + round, dtype);
                    for (i, g) in doubles(&gradient).into_iter().enumerate() {
                        a[i] = a[i] / 2.0 - 2.0 * g + 0.25 * p[i];
                        b[i] = b[i].max(a[i].abs());
                        p[i] -= a[i] / (b[i].sqrt() + 1.0);
                    }
                    step(&mut value, &gradient, &mut states).unwrap();
                }
                for (what, got, want) in [("p", &value, &p), ("a", &states[0], &a), ("b", &states[1], &b)] {
                    assert_close(&format!("{what} {dtype} {count}"), got, want, tolerance);
                }
            }
        });
    }

    #[test]
    fn others_that_share_the_value_keep_theirs() {
        let mut value = noise(&[20, 3], 1, DType::F32);
        let (snapshot, before) = (value.clone(), doubles(&value));
        update("add", &mut value, Gradient { numbers: &snapshot, scale: -1.0, decay: 0.0 }, &mut [], Add).unwrap();
        assert_eq!((doubles(&snapshot), doubles(&value)), (before, vec![0.0; 60]));
    }

    #[test]
    fn any_number_of_threads_gives_the_same_bits() {
        let (x, g) = (noise(&[300_007], 4, DType::F32), noise(&[300_007], 5, DType::F32));
        assert_same_bits("update", || {
            let (mut value, mut states) = (x.clone(), [g.clone(), x.clone()]);
            step(&mut value, &g, &mut states).unwrap();
            [vec![value], states.to_vec()].concat()
        });
    }

    #[test]
    fn misuse_is_an_error_and_writes_nothing() {
        let (mut p, g) = (noise(&[4], 1, DType::F32), noise(&[4], 2, DType::F32));
        let before = doubles(&p);
        let mut refused = |gradient: &Array, states: &mut [Array]| step(&mut p, gradient, states).unwrap_err().to_string();
        assert!(refused(&g, &mut [g.clone()]).contains("got 1 state arrays, expected 2"));
        assert!(refused(&noise(&[2, 2], 2, DType::F32), &mut [g.clone(), g.clone()]).contains("[2, 2]"));
        assert!(refused(&g, &mut [g.clone(), noise(&[5], 2, DType::F32)]).contains("[5]"));
        assert!(refused(&g.cast(DType::F64).unwrap(), &mut [g.clone(), g.clone()]).contains("f64"));
        assert_eq!(doubles(&p), before);
        let whole = noise(&[4], 1, DType::I64);
        assert!(step(&mut whole.clone(), &whole, &mut [whole.clone(), whole.clone()]).unwrap_err().to_string().contains("f32 or f64"));
    }
}
