//! The one-dimensional transforms of minimal filters: four neighbouring sums of products each from six products (three taps) or five (two taps), in registers.
//!
//! A polynomial is known from its values at as many points as it has coefficients. `y = Aᵀ[(G w) ⊙ (Bᵀ x)]` for numbers x, weights w and four results y; the transposes of the three maps make the gradients.
//! The points `0, ±5/8, ±3/2, ∞` and `0, ±3/4, 2, ∞` keep f32 within a few roundings of the direct sum, unlike the integers of Lavin and Gray's paper (three times their error).

use super::super::Number;
use crate::simd::Vector;

/// A filter with four results. Of the arrays only the first `SIZE` values, `TAPS` weights and four results count.
///
/// # Safety
/// The level of the vectors must be checked, for all methods.
pub(super) trait Filter: Sync {
    /// Values of a tile along one side.
    const SIZE: usize;
    const TAPS: usize;
    /// The distance of the taps in the kernel, whose other taps are filters of their own.
    const STRIDE: usize;
    /// Bᵀ: neighbouring numbers to their values.
    unsafe fn of_input<T: Number, V: Vector<Element = T>>(x: [V; 6]) -> [V; 6];
    /// Aᵀ: values to four results.
    unsafe fn to_output<T: Number, V: Vector<Element = T>>(v: [V; 6]) -> [V; 4];
    /// A: four gradients to values.
    unsafe fn of_gradient<T: Number, V: Vector<Element = T>>(y: [V; 6]) -> [V; 6];
    /// G: weights to values.
    unsafe fn of_weights<T: Number, V: Vector<Element = T>>(w: [V; 3]) -> [V; 6];
    /// Gᵀ: values to gradients of weights.
    unsafe fn to_weights<T: Number, V: Vector<Element = T>>(v: [V; 6]) -> [V; 3];
}

/// `x · factor + addend` for a constant.
#[inline(always)]
unsafe fn scaled<T: Number, V: Vector<Element = T>>(x: V, factor: f64, addend: V) -> V {
    // SAFETY: the caller's promise.
    unsafe { x.mul_add(V::splat(T::from_f64(factor)), addend) }
}

#[inline(always)]
unsafe fn times<T: Number, V: Vector<Element = T>>(x: V, factor: f64) -> V {
    // SAFETY: the caller's promise.
    unsafe { x.mul(V::splat(T::from_f64(factor))) }
}

/// `x + y` and `x - y`.
#[inline(always)]
unsafe fn both<T: Number, V: Vector<Element = T>>(x: V, y: V) -> (V, V) {
    // SAFETY: the caller's promise.
    unsafe { (x.add(y), scaled(y, -1.0, x)) }
}

/// F(4, 3): a kernel of three taps at stride 1.
pub(super) struct Three;

impl Three {
    const A: f64 = 0.625;
    const B: f64 = 1.5;
    const AA: f64 = Self::A * Self::A;
    const BB: f64 = Self::B * Self::B;
    /// What Lagrange's polynomials are divided by.
    const AT_0: f64 = Self::AA * Self::BB;
    const AT_A: f64 = 2.0 * Self::AA * (Self::AA - Self::BB);
    const AT_B: f64 = 2.0 * Self::BB * (Self::BB - Self::AA);
}

impl Filter for Three {
    const SIZE: usize = 6;
    const TAPS: usize = 3;
    const STRIDE: usize = 1;
    #[inline(always)]
    unsafe fn of_input<T: Number, V: Vector<Element = T>>(x: [V; 6]) -> [V; 6] {
        // SAFETY: the caller's promise.
        unsafe {
            let (even_a, odd_a) = (scaled(x[2], -Self::BB, x[4]), scaled(x[1], -Self::BB, x[3]));
            let (even_b, odd_b) = (scaled(x[2], -Self::AA, x[4]), scaled(x[1], -Self::AA, x[3]));
            [
                scaled(x[0], Self::AA * Self::BB, scaled(x[2], -(Self::AA + Self::BB), x[4])),
                scaled(odd_a, Self::A, even_a),
                scaled(odd_a, -Self::A, even_a),
                scaled(odd_b, Self::B, even_b),
                scaled(odd_b, -Self::B, even_b),
                scaled(x[1], Self::AA * Self::BB, scaled(x[3], -(Self::AA + Self::BB), x[5])),
            ]
        }
    }

    #[inline(always)]
    unsafe fn to_output<T: Number, V: Vector<Element = T>>(v: [V; 6]) -> [V; 4] {
        // SAFETY: the caller's promise.
        unsafe {
            let ((sum_a, difference_a), (sum_b, difference_b)) = (both(v[1], v[2]), both(v[3], v[4]));
            [
                v[0].add(sum_a).add(sum_b),
                scaled(difference_a, Self::A, times(difference_b, Self::B)),
                scaled(sum_a, Self::AA, times(sum_b, Self::BB)),
                scaled(difference_a, Self::A * Self::AA, scaled(difference_b, Self::B * Self::BB, v[5])),
            ]
        }
    }

    #[inline(always)]
    unsafe fn of_gradient<T: Number, V: Vector<Element = T>>(y: [V; 6]) -> [V; 6] {
        // SAFETY: the caller's promise.
        unsafe {
            let (even_a, odd_a) = (scaled(y[2], Self::AA, y[0]), scaled(y[3], Self::AA, y[1]));
            let (even_b, odd_b) = (scaled(y[2], Self::BB, y[0]), scaled(y[3], Self::BB, y[1]));
            [y[0], scaled(odd_a, Self::A, even_a), scaled(odd_a, -Self::A, even_a), scaled(odd_b, Self::B, even_b), scaled(odd_b, -Self::B, even_b), y[3]]
        }
    }

    #[inline(always)]
    unsafe fn of_weights<T: Number, V: Vector<Element = T>>(w: [V; 3]) -> [V; 6] {
        // SAFETY: the caller's promise.
        unsafe {
            let (plus_a, minus_a) = both(scaled(w[2], Self::AA / Self::AT_A, times(w[0], 1.0 / Self::AT_A)), times(w[1], Self::A / Self::AT_A));
            let (plus_b, minus_b) = both(scaled(w[2], Self::BB / Self::AT_B, times(w[0], 1.0 / Self::AT_B)), times(w[1], Self::B / Self::AT_B));
            [times(w[0], 1.0 / Self::AT_0), plus_a, minus_a, plus_b, minus_b, w[2]]
        }
    }

    #[inline(always)]
    unsafe fn to_weights<T: Number, V: Vector<Element = T>>(v: [V; 6]) -> [V; 3] {
        // SAFETY: the caller's promise.
        unsafe {
            let ((sum_a, difference_a), (sum_b, difference_b)) = (both(v[1], v[2]), both(v[3], v[4]));
            [
                scaled(v[0], 1.0 / Self::AT_0, scaled(sum_a, 1.0 / Self::AT_A, times(sum_b, 1.0 / Self::AT_B))),
                scaled(difference_a, Self::A / Self::AT_A, times(difference_b, Self::B / Self::AT_B)),
                scaled(sum_a, Self::AA / Self::AT_A, scaled(sum_b, Self::BB / Self::AT_B, v[5])),
            ]
        }
    }
}

/// F(4, 2): the even or odd taps of a kernel of three or four at stride 2.
pub(super) struct Two;

impl Two {
    const A: f64 = 0.75;
    const B: f64 = 2.0;
    const AA: f64 = Self::A * Self::A;
    const BB: f64 = Self::B * Self::B;
    /// What Lagrange's polynomials are divided by.
    const AT_0: f64 = Self::AA * Self::B;
    const AT_PLUS: f64 = 2.0 * Self::AA * (Self::A - Self::B);
    const AT_MINUS: f64 = -2.0 * Self::AA * (Self::A + Self::B);
    const AT_B: f64 = Self::B * (Self::BB - Self::AA);
}

impl Filter for Two {
    const SIZE: usize = 5;
    const TAPS: usize = 2;
    const STRIDE: usize = 2;
    #[inline(always)]
    unsafe fn of_input<T: Number, V: Vector<Element = T>>(x: [V; 6]) -> [V; 6] {
        // SAFETY: the caller's promise.
        unsafe {
            // All but the value at b have the factor x - b.
            let (first, second) = (scaled(x[0], -Self::B, x[1]), scaled(x[1], -Self::B, x[2]));
            let (third, fourth) = (scaled(x[2], -Self::B, x[3]), scaled(x[3], -Self::B, x[4]));
            let at_b = scaled(x[1], -Self::AA, x[3]);
            [scaled(first, -Self::AA, third), scaled(second, Self::A, third), scaled(second, -Self::A, third), at_b, scaled(second, -Self::AA, fourth), at_b]
        }
    }

    #[inline(always)]
    unsafe fn to_output<T: Number, V: Vector<Element = T>>(v: [V; 6]) -> [V; 4] {
        // SAFETY: the caller's promise.
        unsafe {
            let (sum, difference) = both(v[1], v[2]);
            [
                v[0].add(sum).add(v[3]),
                scaled(difference, Self::A, times(v[3], Self::B)),
                scaled(sum, Self::AA, times(v[3], Self::BB)),
                scaled(difference, Self::A * Self::AA, scaled(v[3], Self::B * Self::BB, v[4])),
            ]
        }
    }

    #[inline(always)]
    unsafe fn of_gradient<T: Number, V: Vector<Element = T>>(y: [V; 6]) -> [V; 6] {
        // SAFETY: the caller's promise.
        unsafe {
            let (even, odd) = (scaled(y[2], Self::AA, y[0]), scaled(y[3], Self::AA, y[1]));
            let at_b = scaled(scaled(scaled(y[3], Self::B, y[2]), Self::B, y[1]), Self::B, y[0]);
            [y[0], scaled(odd, Self::A, even), scaled(odd, -Self::A, even), at_b, y[3], y[3]]
        }
    }

    #[inline(always)]
    unsafe fn of_weights<T: Number, V: Vector<Element = T>>(w: [V; 3]) -> [V; 6] {
        // SAFETY: the caller's promise.
        unsafe {
            [
                times(w[0], 1.0 / Self::AT_0),
                scaled(w[1], Self::A / Self::AT_PLUS, times(w[0], 1.0 / Self::AT_PLUS)),
                scaled(w[1], -Self::A / Self::AT_MINUS, times(w[0], 1.0 / Self::AT_MINUS)),
                scaled(w[1], Self::B / Self::AT_B, times(w[0], 1.0 / Self::AT_B)),
                w[1],
                w[1],
            ]
        }
    }

    #[inline(always)]
    unsafe fn to_weights<T: Number, V: Vector<Element = T>>(v: [V; 6]) -> [V; 3] {
        // SAFETY: the caller's promise.
        unsafe {
            let (plus, minus, at_b) = (times(v[1], 1.0 / Self::AT_PLUS), times(v[2], 1.0 / Self::AT_MINUS), times(v[3], 1.0 / Self::AT_B));
            let (sum, difference) = both(plus, minus);
            let last = scaled(difference, Self::A, scaled(at_b, Self::B, v[4]));
            [scaled(v[0], 1.0 / Self::AT_0, sum.add(at_b)), last, last]
        }
    }
}
