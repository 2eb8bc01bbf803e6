//! Elementary functions in f32 as branch-free polynomials, so that loops over them vectorise; and erf in f64, which the standard library lacks.
//!
//! The coefficients were fitted for this library (weighted minimax on Chebyshev nodes). Errors against f64, in units in the last place (ULP), are asserted by the test below:
//! exp, exp2_falling, ln, sigmoid 2 ULP; tanh, ln_1p, exp_m1, softplus 4 ULP; erf 8 ULP. The errors of the normal distribution grow with x² from 2 to 24 ULP where it falls to 1e-7.

use super::Real;

/// Numbers of f32, which compare and show their bits.
pub(super) trait Single: Real<Element = f32, Condition = bool> + PartialOrd {}
impl<R: Real<Element = f32, Condition = bool> + PartialOrd> Single for R {}

/// Horner's scheme, highest coefficient first.
#[inline(always)]
fn polynomial<R: Real, const N: usize>(x: R, coefficients: [f64; N]) -> R {
    let mut sum = R::of(coefficients[0]);
    for c in &coefficients[1..] {
        sum = sum.mul_add(x, R::of(*c));
    }
    sum
}

/// 1.5 · 2^23: adding it rounds to an integer that stands in the low bits.
const ROUND: f32 = 12_582_912.0;

/// 2^n for an integral n in -126..=127, made from the exponent bits.
#[inline(always)]
fn power_of_two<R: Single>(n: i32) -> R {
    R::wrap(f32::from_bits((n.wrapping_add(127) << 23) as u32))
}

/// n and r of x = n ln 2 + r, |r| <= ln 2 / 2, for x within the range of i32.
#[inline(always)]
fn reduced<R: Single>(x: R) -> (i32, R) {
    let shifted = x.mul_add(R::of(std::f64::consts::LOG2_E), R::wrap(ROUND));
    let k = shifted - R::wrap(ROUND);
    let r = k.mul_add(R::of(-0.693_359_375), x);
    (shifted.number().to_bits().wrapping_sub(ROUND.to_bits()) as i32, k.mul_add(R::of(2.121_944_400_546_905_8e-4), r))
}

/// exp(r) - 1 for |r| <= ln 2 / 2
#[inline(always)]
fn exp_m1_reduced<R: Single>(r: R) -> R {
    let p = polynomial(r, [0.001_395_048_820_259_66, 0.008_368_887_667_285_165, 0.041_666_205_846_187_33, 0.166_665_188_536_586_4, 0.500_000_009_517_160_2]);
    (p * r).mul_add(r, r)
}

/// x, or the nearer bound; NaN stays.
#[inline(always)]
fn within<R: Single>(x: R, low: f64, high: f64) -> R {
    let (low, high) = (R::of(low), R::of(high));
    let x = if x < low { low } else { x };
    if x > high { high } else { x }
}

/// exp(x) = 2^n exp(r) with r = x - n ln 2, |r| <= ln 2 / 2. Overflows to infinity, underflows through denormals to 0.
#[inline(always)]
pub(super) fn exp<R: Single>(x: R) -> R {
    let (n, r) = reduced(within(x, -104.0, 89.0));
    let y = exp_m1_reduced(r) + R::one();
    // In two halves, so that results beyond the normal range come out as infinity, denormals or zero. A NaN makes n meaningless, but stays a NaN in y.
    let half = n >> 1;
    y * power_of_two(half) * power_of_two(n.wrapping_sub(half))
}

/// 2^x for x that is not positive, rounding aside: 2^n 2^r with r = x - n, |r| <= 1/2. Below 2^-126.5 it is 0.
#[inline(always)]
pub(super) fn exp2_falling<R: Single>(x: R) -> R {
    const ROUND: f32 = 12_582_912.0 + 127.0; // adding it rounds to n, and leaves the exponent of 2^n in the low bits
    let low = R::of(-127.0);
    let x = if x < low { low } else { x };
    let shifted = x + R::wrap(ROUND);
    let r = x - (shifted - R::wrap(ROUND));
    let p = polynomial(r, [0.001_326_472_706_549_390_6, 0.009_671_512_648_928_67, 0.055_507_337_436_905_224, 0.240_222_420_851_728_2, 0.693_146_977_598_858_3]);
    p.mul_add(r, R::one()) * R::wrap(f32::from_bits(shifted.number().to_bits() << 23))
}

/// exp(x) - 1 = 2^n (exp(r) - 1) + (2^n - 1), exact near 0, where n is 0. In halves of the result, so that 2^n does not overflow before it.
#[inline(always)]
pub(super) fn exp_m1<R: Single>(x: R) -> R {
    let (n, r) = reduced(within(x, -25.0, 89.0));
    let half = power_of_two::<R>(n.wrapping_sub(1));
    let y = exp_m1_reduced(r).mul_add(half, half - R::of(0.5));
    y + y
}

/// ln(x) = e ln 2 + ln(1 + f), 1 + f in [sqrt(1/2), sqrt(2)). Negative: NaN; 0: -infinity.
#[inline(always)]
pub(super) fn ln<R: Single>(x: R) -> R {
    const DENORMAL: f32 = 1.175_494_4e-38;
    let small = x.number() < DENORMAL;
    let scaled = if small { x.number() * 8_388_608.0 } else { x.number() };
    let offset = if small { -23 } else { 0 };
    // Subtracting the bits of sqrt(1/2) splits off the exponent such that the mantissa lies in [sqrt(1/2), sqrt(2)).
    let bits = scaled.to_bits().wrapping_sub(0x3f35_04f3);
    let e = R::wrap((((bits as i32) >> 23) + offset) as f32);
    let f = R::wrap(f32::from_bits((bits & 0x007f_ffff).wrapping_add(0x3f35_04f3))) - R::one();
    let p = polynomial(
        f,
        [
            -0.076_344_963_614_536_71,
            0.127_615_768_931_504_73,
            -0.131_601_823_911_707_06,
            0.142_017_580_223_771_92,
            -0.166_233_573_464_854_84,
            0.200_012_268_753_166_74,
            -0.250_008_210_342_433_1,
            0.333_333_317_077_120_66,
        ],
    );
    let ff = f * f;
    let tail = (p * f).mul_add(ff, e.mul_add(R::of(-2.121_944_400_546_905_8e-4), ff * R::of(-0.5)));
    let y = e.mul_add(R::of(0.693_359_375), f + tail);
    let y = if x.number() == f32::INFINITY { x } else { y };
    let y = if x == R::zero() { R::wrap(f32::NEG_INFINITY) } else { y };
    if x >= R::zero() { y } else { R::wrap(f32::NAN) }
}

/// ln(1 + x), exact near 0 (after W. Kahan: the rounding of u = 1 + x cancels in ln(u) x / (u - 1)).
#[inline(always)]
pub(super) fn ln_1p<R: Single>(x: R) -> R {
    let u = x + R::one();
    let y = ln(u);
    let near = y * x / (u - R::one());
    let near = if u == R::one() { x } else { near };
    if x.number().abs() < 1e6 { near } else { y }
}

/// tanh x = u / (u + 2) with u = exp(2x) - 1, of |x|.
#[inline(always)]
pub(super) fn tanh<R: Single>(x: R) -> R {
    let a = within(x.abs(), 0.0, 10.0);
    let u = exp_m1(a + a);
    let y = u / (u + R::of(2.0));
    if x < R::zero() { -y } else { y }
}

/// ln(1 + exp(x)) = max(x, 0) + 2 artanh(u / (2 + u)) with u = exp(-|x|).
#[inline(always)]
pub(super) fn softplus<R: Single>(x: R) -> R {
    let u = exp(-x.abs());
    let s = u / (u + R::of(2.0));
    let p = polynomial(s * s, [0.140_122_328_298_463_97, 0.139_995_697_020_276_92, 0.200_108_495_944_633_34, 0.333_332_065_648_027_4]);
    let tail = (p * (s * s)).mul_add(s, s);
    let positive = if x < R::zero() { R::zero() } else { x };
    tail + tail + positive
}

/// The normal distribution function and its density, which share exp(-x²/2): Φ(-a) = exp(-a²/2) R(a), and R (1 + 0.34 a) is a polynomial in a / (1 + 0.34 a), within 3e-8 of itself up to a = 13.2.
#[inline(always)]
pub(super) fn gaussian<R: Single>(x: R) -> (R, R) {
    const EXPONENT: f64 = -0.5 * std::f64::consts::LOG2_E;
    const LOW: f64 = EXPONENT - (EXPONENT as f32) as f64;
    // Beyond, both are below the smallest normal number.
    let far = x.abs() > R::of(13.1);
    let a = within(x.abs(), 0.0, 13.1);
    let t = R::one() / a.mul_add(R::of(0.34), R::one());
    let square = a * a;
    // exp(-a²/2) = 2^(n + r)
    let shifted = square.mul_add(R::of(EXPONENT), R::wrap(ROUND));
    let k = shifted - R::wrap(ROUND);
    let r = square.mul_add(R::of(LOW), square.mul_add(R::of(EXPONENT), -k));
    let p = polynomial(
        r,
        [
            1.535_335_854_274_486_7e-4,
            0.001_339_887_480_936_462_2,
            0.009_618_437_374_418_608,
            0.055_503_324_698_520_58,
            0.240_226_479_134_336_73,
            0.693_147_202_855_871_8,
        ],
    );
    let power = p.mul_add(r, R::one()).number().to_bits().wrapping_add(shifted.number().to_bits() << 23);
    let power = if far { R::zero() } else { R::wrap(f32::from_bits(power)) };
    // In a t, which is exact near 0.
    let p = polynomial(
        a * t,
        [
            -4.7365676245914035e-06,
            3.718405436416161e-05,
            -4.604374261799049e-05,
            -0.000131113455918163,
            -0.0010323393425887336,
            0.003329726611333315,
            0.036518504014415275,
            -0.22894247678350985,
            0.5000000121406956,
        ],
    );
    let tail = p * t * power;
    let distribution = if x > R::zero() { R::one() - tail } else { tail };
    (distribution, power * R::of(0.398_942_280_401_432_7))
}

/// erf: x P(x²) below 1, 1 - exp(-Q(|x|)) above, where Q approximates -ln(erfc).
#[inline(always)]
pub(super) fn erf<R: Single>(x: R) -> R {
    let a = x.abs();
    let xx = x * x;
    let small = x * polynomial(
        xx,
        [
            7.889_123_012_675_523e-5,
            -0.000_802_084_232_178_012,
            0.005_189_535_456_260_64,
            -0.026_854_444_652_338_834,
            0.112_836_001_776_680_82,
            -0.376_126_271_360_861_1,
            1.128_379_165_913_768,
        ],
    );
    let c = if a > R::of(4.0) { R::of(4.0) } else { a };
    let q = polynomial(
        c,
        [
            2.168_676_600_712_386e-5,
            -0.000_441_335_330_300_958_9,
            0.004_204_556_388_604_949,
            -0.025_208_241_076_544_416,
            0.108_418_551_012_130_78,
            0.633_219_919_138_854_3,
            1.129_578_410_198_495_8,
            -0.000_188_037_030_618_204_43,
        ],
    );
    let large = R::one() - exp(-q);
    let large = if x < R::zero() { -large } else { large };
    let y = if a < R::one() { small } else { large };
    if x.is_nan() { x } else { y }
}

/// erf in f64: the Maclaurin series below 3, erfc's continued fraction above; within 1e-15.
pub(super) fn erf_f64(x: f64) -> f64 {
    let a = x.abs();
    if a.is_nan() {
        return x;
    }
    if a < 3.0 {
        // erf x = 2/sqrt(pi) exp(-x²) sum_k 2^k x^(2k+1) / (1·3·…·(2k+1)): all terms positive, so nothing cancels.
        let (mut term, mut sum, mut k) = (x, x, 0.0);
        while term.abs() > 1e-17 * sum.abs() {
            k += 1.0;
            term *= 2.0 * x * x / (2.0 * k + 1.0);
            sum += term;
        }
        return std::f64::consts::FRAC_2_SQRT_PI * (-x * x).exp() * sum;
    }
    if a > 6.0 {
        return 1f64.copysign(x);
    }
    (1.0 - super::special::erfc(a)).copysign(x)
}

#[cfg(test)]
mod tests {
    use super::super::real::{Fused, Plain};
    use super::super::special;
    use super::*;
    use std::f64::consts::FRAC_1_SQRT_2;

    /// The largest error in units in the last place over a dense walk through [low, high].
    fn ulp<R: Single>(f: impl Fn(R) -> R, exact: impl Fn(f64) -> f64, low: f32, high: f32) -> f64 {
        let steps = 400_000;
        let mut worst = 0.0f64;
        for i in 0..=steps {
            let x = low + (high - low) * (i as f32 / steps as f32);
            let (got, want) = (f(R::wrap(x)).number() as f64, exact(x as f64));
            let unit = (want.abs() as f32).max(f32::MIN_POSITIVE);
            let unit = (f32::from_bits(unit.to_bits() + 1) - unit) as f64;
            worst = worst.max((got - want).abs() / unit);
        }
        worst
    }

    fn errors<R: Single>(slack: f64) {
        #[allow(clippy::type_complexity)]
        let table: [(&str, fn(R) -> R, fn(f64) -> f64, f32, f32, f64); 14] = [
            ("exp2 falling", exp2_falling, f64::exp2, -125.9, 0.0, 2.0),
            ("exp", exp, f64::exp, -87.0, 88.7, 2.0),
            ("exp small", exp, f64::exp, -1.0, 1.0, 2.0),
            ("ln", ln, f64::ln, 1e-30, 100.0, 2.0),
            ("ln_1p", ln_1p, f64::ln_1p, -0.9, 20.0, 4.0),
            ("exp_m1", exp_m1, f64::exp_m1, -10.0, 10.0, 4.0),
            ("tanh", tanh, f64::tanh, -10.0, 10.0, 4.0),
            ("sigmoid", R::sigmoid, |x| 1.0 / (1.0 + (-x).exp()), -80.0, 20.0, 4.0),
            ("erf", erf, erf_f64, -5.0, 5.0, 8.0),
            ("softplus", softplus, |x| x.max(0.0) + (-x.abs()).exp().ln_1p(), -80.0, 80.0, 4.0),
            ("normal above", |x| gaussian(x).0, |x| 0.5 * special::erfc(-x * FRAC_1_SQRT_2), -1.0, 6.0, 4.0),
            ("normal below", |x| gaussian(x).0, |x| 0.5 * special::erfc(-x * FRAC_1_SQRT_2), -5.0, 0.0, 24.0),
            ("density", |x| gaussian(x).1, |x| (-0.5 * x * x).exp() / std::f64::consts::TAU.sqrt(), -5.0, 5.0, 24.0),
            ("ln wide", ln, f64::ln, 1.0, 3e38, 2.0),
        ];
        for (name, f, exact, low, high, most) in table {
            let worst = ulp(f, exact, low, high);
            assert!(worst <= most + slack, "{name}: {worst} ULP, expected at most {most}");
        }
    }

    #[test]
    fn errors_are_as_stated() {
        errors::<Fused>(0.0);
        errors::<Plain>(2.0);
    }

    #[test]
    fn edges() {
        let f = |g: fn(Fused) -> Fused, x: f32| g(Fused::wrap(x)).number();
        assert_eq!(f(exp, f32::INFINITY), f32::INFINITY);
        assert_eq!(f(exp, f32::NEG_INFINITY), 0.0);
        assert_eq!(f(exp, 0.0), 1.0);
        assert_eq!(f(exp, 100.0), f32::INFINITY);
        assert!((f(exp, -100.0) as f64 - (-100f64).exp()).abs() < 2e-45);
        assert_eq!(f(ln, 0.0), f32::NEG_INFINITY);
        assert_eq!(f(ln, f32::INFINITY), f32::INFINITY);
        assert!(f(ln, -1.0).is_nan());
        assert!((f(ln, 1e-40) as f64 - (1e-40f32 as f64).ln()).abs() < 1e-5);
        assert_eq!(f(tanh, f32::INFINITY), 1.0);
        assert_eq!(f(erf, f32::NEG_INFINITY), -1.0);
        assert_eq!(f(exp_m1, f32::INFINITY), f32::INFINITY);
        assert_eq!(f(exp_m1, -200.0), -1.0);
        assert_eq!(f(ln_1p, f32::INFINITY), f32::INFINITY);
        assert_eq!([0.0, -1.0, -126.0, -127.0, -1e9, f32::NEG_INFINITY].map(|x| f(exp2_falling, x)), [1.0, 0.5, f32::MIN_POSITIVE, 0.0, 0.0, 0.0]);
        assert_eq!((f(softplus, f32::INFINITY), f(softplus, f32::NEG_INFINITY)), (f32::INFINITY, 0.0));
        for x in [f32::INFINITY, 20.0, f32::MAX] {
            assert_eq!(gaussian(Fused::wrap(x)).0.number(), 1.0);
            assert_eq!((gaussian(Fused::wrap(-x)).0.number(), gaussian(Fused::wrap(-x)).1.number()), (0.0, 0.0));
        }
        for g in [exp::<Fused>, exp2_falling, ln, tanh, erf, exp_m1, ln_1p, softplus, |x| gaussian(x).0, |x| gaussian(x).1] {
            assert!(f(g, f32::NAN).is_nan());
        }
    }

    #[test]
    fn erf_in_f64_meets_known_values() {
        // Abramowitz and Stegun, table 7.1, and erf(3.5) from its tail.
        for (x, y) in [(0.5, 0.520_499_877_813_046_5), (1.0, 0.842_700_792_949_714_9), (2.0, 0.995_322_265_018_952_7), (3.5, 0.999_999_256_901_627_7)] {
            assert!((erf_f64(x) - y).abs() < 2e-15, "{x}: {}", erf_f64(x));
        }
    }
}
