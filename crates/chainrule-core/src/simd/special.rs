//! Special functions in f64, one number at a time: the error function's kin, and the gamma function's logarithm with its derivatives. Relative errors are below 1e-11, those of the logarithm of Γ and its first derivative away from their zeros.

use super::math::erf_f64;
use std::f64::consts::{FRAC_2_SQRT_PI, PI};

/// From here on the asymptotic series below are exact to the last bits.
const FAR: f64 = 15.0;

/// The Bernoulli numbers B2, B4, … B16.
const BERNOULLI: [f64; 8] = [1.0 / 6.0, -1.0 / 30.0, 1.0 / 42.0, -1.0 / 30.0, 5.0 / 66.0, -691.0 / 2730.0, 7.0 / 6.0, -3617.0 / 510.0];

/// 1 - erf x, by the continued fraction where the difference would cancel.
pub(crate) fn erfc(x: f64) -> f64 {
    if x < 2.0 || x.is_nan() {
        return 1.0 - erf_f64(x);
    }
    // erfc x = exp(-x²)/sqrt(pi) · 1/(x + (1/2)/(x + 1/(x + (3/2)/(x + …)))), evaluated from the far end.
    let fraction = (1..=60).rev().fold(x, |fraction, k| x + 0.5 * k as f64 / fraction);
    (-x * x).exp() / (PI.sqrt() * fraction)
}

/// The number whose erf is y: Winitzki's approximation, then three of Halley's steps.
pub(crate) fn erfinv(y: f64) -> f64 {
    let a = y.abs();
    if a >= 1.0 || y.is_nan() {
        return if a == 1.0 { f64::INFINITY.copysign(y) } else { f64::NAN };
    }
    if a == 0.0 {
        return y;
    }
    const FIT: f64 = 0.147;
    // The logarithm of 1 - a², which rounding must not make positive.
    let log = ((-a).ln_1p() + a.ln_1p()).min(-f64::MIN_POSITIVE);
    let half = 2.0 / (PI * FIT) + 0.5 * log;
    // The root of half² - log/fit, less half, without the cancellation of small y.
    let mut x = (-log / FIT / ((half * half - log / FIT).sqrt() + half)).sqrt();
    for _ in 0..3 {
        let apart = if a < 0.5 { erf_f64(x) - a } else { (1.0 - a) - erfc(x) };
        let step = apart / (FRAC_2_SQRT_PI * (-x * x).exp());
        x -= step / (1.0 + x * step);
    }
    x.copysign(y)
}

/// ln |Γ(x)|: Stirling's series beyond `FAR`, `Γ(x + 1) = x Γ(x)` below, reflection below 0.
pub(crate) fn lgamma(x: f64) -> f64 {
    if x.is_infinite() {
        return f64::INFINITY;
    }
    if x <= 0.0 {
        // sin of the distance to the nearest integer, exact for large x.
        return (PI / (PI * (x - x.round())).sin().abs()).ln() - lgamma(1.0 - x);
    }
    let (mut z, mut product) = (x, 1.0);
    while z < FAR {
        product *= z;
        z += 1.0;
    }
    let series = series(z, |k| 1.0 / (2.0 * k * (2.0 * k - 1.0))) * z;
    (z - 0.5) * z.ln() - z + 0.918_938_533_204_672_8 + series - product.ln()
}

/// The derivative of ln Γ.
pub(crate) fn digamma(x: f64) -> f64 {
    if x == 0.0 {
        return f64::NEG_INFINITY.copysign(-x);
    }
    if x < 0.0 {
        return if x == x.floor() { f64::NAN } else { digamma(1.0 - x) - PI / (PI * (x - x.round())).tan() };
    }
    let (z, sum) = lifted(x, |z| 1.0 / z);
    z.ln() - 0.5 / z - series(z, |k| 1.0 / (2.0 * k)) - sum
}

/// The second derivative of ln Γ.
pub(crate) fn trigamma(x: f64) -> f64 {
    if x <= 0.0 {
        return (PI / (PI * (x - x.round())).sin()).powi(2) - trigamma(1.0 - x);
    }
    let (z, sum) = lifted(x, |z| 1.0 / (z * z));
    (1.0 + 0.5 / z + series(z, |_| 1.0)) / z + sum
}

/// The third derivative of ln Γ.
pub(crate) fn tetragamma(x: f64) -> f64 {
    if x <= 0.0 {
        let angle = PI * (x - x.round());
        return tetragamma(1.0 - x) - 2.0 * PI.powi(3) * angle.cos() / angle.sin().powi(3);
    }
    let (z, sum) = lifted(x, |z| -2.0 / (z * z * z));
    -(1.0 + 1.0 / z + series(z, |k| 2.0 * k + 1.0)) / (z * z) + sum
}

/// x raised by ones until it is `FAR`, and the sum of `f` on the way.
fn lifted(x: f64, f: impl Fn(f64) -> f64) -> (f64, f64) {
    let (mut z, mut sum) = (x, 0.0);
    while z < FAR {
        sum += f(z);
        z += 1.0;
    }
    (z, sum)
}

/// `Σ_k B_2k scale(k) / z^2k`
fn series(z: f64, scale: impl Fn(f64) -> f64) -> f64 {
    let inverse = 1.0 / (z * z);
    let terms = BERNOULLI.iter().enumerate().rev();
    terms.fold(0.0, |sum, (i, b)| (sum + b * scale(i as f64 + 1.0)) * inverse)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn assert_near(name: &str, f: fn(f64) -> f64, floor: f64, values: &[(f64, f64)]) {
        for &(x, y) in values {
            assert!((f(x) - y).abs() <= 1e-11 * (floor + y.abs()), "{name}({x}) is {}, expected {y}", f(x));
        }
    }

    #[test]
    fn known_values() {
        assert_near(
            "erfc",
            erfc,
            0.0,
            &[
                (-3.0, 1.9999779095030015),
                (-0.5, 1.5204998778130465),
                (0.0, 1.0),
                (0.3, 0.6713732405408726),
                (1.0, 0.15729920705028513),
                (2.5, 0.0004069520174449589),
                (2.99, 2.3525603080640195e-05),
                (3.5, 7.430983723414128e-07),
                (6.0, 2.1519736712498913e-17),
                (10.0, 2.088487583762545e-45),
            ],
        );
        assert_near(
            "erfinv",
            erfinv,
            0.0,
            &[
                (1e-20, 8.86226925452758e-21),
                (1e-10, 8.862269254527581e-11),
                (-0.999, -2.3267537655135246),
                (-0.5, -0.4769362762044699),
                (1e-06, 8.8622692545299e-07),
                (0.1, 0.08885599049425769),
                (0.3, 0.2724627147267543),
                (0.5, 0.4769362762044699),
                (0.7, 0.7328690779592167),
                (0.9, 1.1630871536766743),
                (0.99, 1.8213863677184494),
                (0.999999, 3.458910737275499),
            ],
        );
        assert_near(
            "lgamma",
            lgamma,
            1e-3,
            &[
                (0.1, 2.252712651734206),
                (0.5, 0.5723649429247001),
                (1.0, 0.0),
                (1.5, -0.12078223763524522),
                (2.0, 0.0),
                (3.25, 0.9358019311087253),
                (7.5, 7.534364236758733),
                (14.9, 24.924132002217277),
                (40.0, 106.63176026064346),
                (-0.3, 1.4648400508576025),
                (-1.75, 1.0160888092144358),
                (-6.4, -6.14549330051391),
                (0.001, 6.907178885383853),
            ],
        );
        assert_near(
            "digamma",
            digamma,
            1e-3,
            &[
                (0.1, -10.423754940411076),
                (0.5, -1.9635100260214235),
                (1.0, -0.5772156649015329),
                (1.5, 0.03648997397857652),
                (2.0, 0.42278433509846713),
                (3.25, 1.016990911068179),
                (7.5, 1.9467574842460869),
                (14.9, 2.6674289762160424),
                (40.0, 3.676327374034843),
                (-0.3, 2.113309779635399),
                (-1.75, -2.322691628614361),
                (-6.4, 2.9531587265759227),
                (0.001, -1000.5755719318103),
            ],
        );
        assert_near(
            "trigamma",
            trigamma,
            0.0,
            &[
                (0.1, 101.43329915079275),
                (0.5, 4.934802200544679),
                (1.0, 1.6449340668482264),
                (1.5, 0.9348022005446793),
                (2.0, 0.6449340668482264),
                (3.25, 0.3597982903095799),
                (7.5, 0.1426158966967038),
                (14.9, 0.06941658320709579),
                (40.0, 0.02531510384129103),
                (-0.3, 13.945160267805722),
                (-1.75, 19.301637544529786),
                (-6.4, 10.766890561831588),
                (0.001, 1000001.6425331958),
            ],
        );
        assert_near(
            "tetragamma",
            tetragamma,
            0.0,
            &[
                (0.1, -2001.8614573783436),
                (0.5, -16.82879664423432),
                (1.0, -2.4041138063191885),
                (1.5, -0.82879664423432),
                (2.0, -0.4041138063191886),
                (3.25, -0.12815694713911513),
                (7.5, -0.020305252536644666),
                (14.9, -0.004816732932829049),
                (40.0, -0.0006408202718352986),
                (-0.3, 67.63908119988317),
                (-1.75, -124.21382135423057),
                (-6.4, 22.25540206652459),
                (0.001, -2000000002.3976321),
            ],
        );
    }

    #[test]
    fn edges() {
        assert!(lgamma(0.0) == f64::INFINITY && lgamma(-3.0) == f64::INFINITY && lgamma(f64::INFINITY) == f64::INFINITY);
        assert!(digamma(-2.0).is_nan() && digamma(0.0) == f64::NEG_INFINITY && digamma(-0.0) == f64::INFINITY);
        assert!(erfinv(1.0) == f64::INFINITY && erfinv(-1.0) == f64::NEG_INFINITY && erfinv(1.5).is_nan() && erfinv(0.0) == 0.0);
        assert!(erfc(f64::INFINITY) == 0.0 && erfc(f64::NEG_INFINITY) == 2.0);
        for f in [erfc, erfinv, lgamma, digamma, trigamma, tetragamma] {
            assert!(f(f64::NAN).is_nan());
        }
    }
}
