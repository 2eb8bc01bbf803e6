//! Floating-point instructions and conversions against Rust.
use half::{bf16, f16};

use crate::operands::{Kind::*, *};

type One = fn(f32) -> f32;
type Two = fn(f32, f32) -> f32;

fn flush(value: f32) -> f32 {
    if value.is_subnormal() { 0f32.copysign(value) } else { value }
}

fn saturate(value: f32) -> f32 {
    if value > 0.0 { value.min(1.0) } else { 0.0 }
}

fn lesser(a: f32, b: f32) -> f32 {
    if a.is_nan() {
        b
    } else if b.is_nan() || a.to_bits() == b.to_bits() {
        a
    } else if a == b {
        -0.0
    } else if a < b {
        a
    } else {
        b
    }
}

#[test]
fn one_single() {
    let table: Table<One> = &[
        ("neg.f32 %o, %a;", |a| -a),
        ("abs.f32 %o, %a;", f32::abs),
        ("abs.ftz.f32 %o, %a;", |a| flush(a).abs()),
        ("rcp.rn.f32 %o, %a;", |a| 1.0 / a),
        ("rcp.approx.ftz.f32 %o, %a;", |a| flush(1.0 / flush(a))),
        ("sqrt.rn.f32 %o, %a;", f32::sqrt),
        ("sqrt.approx.f32 %o, %a;", f32::sqrt),
        ("rsqrt.approx.f32 %o, %a;", |a| (1.0 / (a as f64).sqrt()) as f32),
        ("ex2.approx.f32 %o, %a;", f32::exp2),
        ("lg2.approx.f32 %o, %a;", f32::log2),
        ("sin.approx.f32 %o, %a;", f32::sin),
        ("cos.approx.f32 %o, %a;", f32::cos),
        ("tanh.approx.f32 %o, %a;", |a| (a as f64).tanh() as f32),
        ("cvt.rni.f32.f32 %o, %a;", f32::round_ties_even),
        ("cvt.rzi.f32.f32 %o, %a;", f32::trunc),
        ("cvt.rmi.f32.f32 %o, %a;", f32::floor),
        ("cvt.rpi.f32.f32 %o, %a;", f32::ceil),
        ("cvt.sat.f32.f32 %o, %a;", saturate),
        ("cvt.ftz.f32.f32 %o, %a;", flush),
        ("{ .reg .b16 %h; cvt.rn.f16.f32 %h, %a; cvt.f32.f16 %o, %h; }", |a| f16::from_f32(a).to_f32()),
        ("{ .reg .b16 %h; cvt.rn.bf16.f32 %h, %a; cvt.f32.bf16 %o, %h; }", |a| bf16::from_f32(a).to_f32()),
        ("{ .reg .b64 %d; cvt.f64.f32 %d, %a; cvt.rn.f32.f64 %o, %d; }", |a| a),
        ("cvt.rna.tf32.f32 %o, %a;", |a| if a.is_finite() { f32::from_bits((a.to_bits() + 0x1000) & !0x1fff) } else { a }),
    ];
    let cases = combinations(&[SINGLES]);
    for &(lines, wanted) in table {
        for (case, got) in cases.iter().zip(evaluate(lines, Word, &[Word], &cases)) {
            let wanted = wanted(single(case[0]));
            assert!(same_single(got, wanted), "{lines} of {:e}: got {:e}, wanted {wanted:e}", single(case[0]), single(got));
        }
    }
}

#[test]
fn two_singles() {
    let table: Table<Two> = &[
        ("add.f32 %o, %a, %b;", |a, b| a + b),
        ("add.rn.ftz.f32 %o, %a, %b;", |a, b| flush(flush(a) + flush(b))),
        ("add.sat.f32 %o, %a, %b;", |a, b| saturate(a + b)),
        ("sub.f32 %o, %a, %b;", |a, b| a - b),
        ("mul.rn.f32 %o, %a, %b;", |a, b| a * b),
        ("mul.ftz.f32 %o, %a, %b;", |a, b| flush(flush(a) * flush(b))),
        ("div.rn.f32 %o, %a, %b;", |a, b| a / b),
        ("div.full.f32 %o, %a, %b;", |a, b| a / b),
        ("div.approx.f32 %o, %a, %b;", |a, b| a / b),
        ("min.f32 %o, %a, %b;", lesser),
        ("max.f32 %o, %a, %b;", |a, b| -lesser(-a, -b)),
        ("min.NaN.f32 %o, %a, %b;", |a, b| if a.is_nan() || b.is_nan() { f32::NAN } else { lesser(a, b) }),
        ("max.NaN.f32 %o, %a, %b;", |a, b| if a.is_nan() || b.is_nan() { f32::NAN } else { -lesser(-a, -b) }),
        ("copysign.f32 %o, %a, %b;", |a, b| b.copysign(a)),
        ("slct.f32.f32 %o, %a, 0f40000000, %b;", |a, b| if b >= 0.0 { a } else { 2.0 }),
        ("fma.rn.f32 %o, %a, %b, 0fBF800000;", |a, b| a.mul_add(b, -1.0)),
        ("fma.rn.f32 %o, %a, %b, %a;", |a, b| a.mul_add(b, a)),
        ("fma.rn.relu.f16 %o, 0x0000, 0x0000, 0xbc00; mov.b32 %o, 0; fma.rn.sat.f32 %o, %a, %b, %b;", |a, b| saturate(a.mul_add(b, b))),
        ("set.eq.f32.f32 %o, %a, %b;", |a, b| (a == b) as u8 as f32),
    ];
    let cases = combinations(&[SINGLES, SINGLES]);
    for &(lines, wanted) in table {
        for (case, got) in cases.iter().zip(evaluate(lines, Word, &[Word, Word], &cases)) {
            let (a, b) = (single(case[0]), single(case[1]));
            assert!(same_single(got, wanted(a, b)), "{lines} of {a:e}, {b:e}: got {:e}, wanted {:e}", single(got), wanted(a, b));
        }
    }
}

fn unordered(a: f32, b: f32) -> bool {
    a.is_nan() || b.is_nan()
}

#[test]
fn comparisons() {
    let table: Table<fn(f32, f32) -> bool> = &[
        ("eq", |a, b| a == b),
        ("ne", |a, b| !unordered(a, b) && a != b),
        ("lt", |a, b| a < b),
        ("le", |a, b| a <= b),
        ("gt", |a, b| a > b),
        ("ge", |a, b| a >= b),
        ("equ", |a, b| unordered(a, b) || a == b),
        ("neu", |a, b| a != b),
        ("ltu", |a, b| unordered(a, b) || a < b),
        ("leu", |a, b| unordered(a, b) || a <= b),
        ("gtu", |a, b| unordered(a, b) || a > b),
        ("geu", |a, b| unordered(a, b) || a >= b),
        ("num", |a, b| !unordered(a, b)),
        ("nan", unordered),
    ];
    let cases = combinations(&[SINGLES, SINGLES]);
    for &(name, wanted) in table {
        for (lines, kind) in [(format!("setp.{name}.f32 %o, %a, %b;"), Word), (format!("setp.{name}.f64 %o, %a, %b;"), Double)] {
            let widened: Vec<Vec<u64>> = if kind == Word {
                cases.clone()
            } else {
                cases.iter().map(|case| case.iter().map(|&bits| (single(bits) as f64).to_bits()).collect()).collect()
            };
            for (case, got) in cases.iter().zip(evaluate(&lines, Predicate, &[kind, kind], &widened)) {
                assert_eq!(got != 0, wanted(single(case[0]), single(case[1])), "{lines} of {:e}, {:e}", single(case[0]), single(case[1]));
            }
        }
    }
    let tests: Table<fn(f32) -> bool> = &[
        ("finite", f32::is_finite),
        ("infinite", f32::is_infinite),
        ("number", |a| !a.is_nan()),
        ("notanumber", f32::is_nan),
        ("normal", |a| a.is_normal() || a == 0.0),
        ("subnormal", f32::is_subnormal),
    ];
    let cases = combinations(&[SINGLES]);
    for &(name, wanted) in tests {
        for (case, got) in cases.iter().zip(evaluate(&format!("testp.{name}.f32 %o, %a;"), Predicate, &[Word], &cases)) {
            assert_eq!(got != 0, wanted(single(case[0])), "{name} of {:e}", single(case[0]));
        }
    }
}

/// The f32 next to an exact value in a direction, found by stepping from the nearest.
fn directed(exact: f64, mode: &str) -> f32 {
    let near = exact as f32;
    let down = if near as f64 > exact { near.next_down() } else { near };
    let up = if (near as f64) < exact { near.next_up() } else { near };
    match mode {
        "rm" => down,
        "rp" => up,
        _ if exact > 0.0 => down,
        _ => up,
    }
}

#[test]
fn directed_rounding() {
    let values: Vec<u64> = SINGLES.iter().copied().filter(|&bits| single(bits).is_finite() && single(bits) != 0.0).collect();
    let cases = combinations(&[&values, &values]);
    for mode in ["rz", "rm", "rp"] {
        for (case, got) in cases.iter().zip(evaluate(&format!("mul.{mode}.f32 %o, %a, %b;"), Word, &[Word, Word], &cases)) {
            let wanted = directed(single(case[0]) as f64 * single(case[1]) as f64, mode);
            assert!(same_single(got, wanted), "mul.{mode} of {case:x?}: {:e} instead of {wanted:e}", single(got));
        }
        for (case, got) in cases.iter().zip(evaluate(&format!("add.{mode}.f32 %o, %a, %b;"), Word, &[Word, Word], &cases)) {
            let (a, b) = (single(case[0]) as f64, single(case[1]) as f64);
            // Only where f64 holds the sum exactly; opposite numbers have their own rule.
            if (a + b) - a == b && (a + b) - b == a && a != -b {
                let wanted = directed(a + b, mode);
                assert!(same_single(got, wanted), "add.{mode} of {case:x?}: {:e} instead of {wanted:e}", single(got));
            }
        }
        let got = evaluate(&format!("fma.{mode}.f32 %o, %a, %b, 0f80000000;"), Word, &[Word, Word], &cases);
        for (case, got) in cases.iter().zip(got) {
            let wanted = directed(single(case[0]) as f64 * single(case[1]) as f64, mode);
            assert!(same_single(got, wanted), "fma.{mode} of {case:x?}: {:e} instead of {wanted:e}", single(got));
        }
    }
    // A quotient rounded down times the divisor does not exceed the dividend, and the next one does.
    let positive: Vec<u64> = values.iter().copied().filter(|&bits| single(bits) > 1e-6 && single(bits) < 1e6).collect();
    let cases = combinations(&[&positive, &positive]);
    for (case, got) in cases.iter().zip(evaluate("div.rm.f32 %o, %a, %b;", Word, &[Word, Word], &cases)) {
        let (a, b, q) = (single(case[0]) as f64, single(case[1]) as f64, single(got));
        assert!(q as f64 * b <= a && q.next_up() as f64 * b > a, "div.rm of {a:e}, {b:e}: {q:e}");
    }
    let cases = combinations(&[&positive]);
    for (case, got) in cases.iter().zip(evaluate("sqrt.rp.f32 %o, %a;", Word, &[Word], &cases)) {
        let (a, root) = (single(case[0]) as f64, single(got) as f64);
        let below = single(got).next_down() as f64;
        assert!(root * root >= a && below * below < a, "sqrt.rp of {a:e}: {root:e}");
    }
    // Opposite numbers sum to zero, which is negative only when rounding down.
    let opposite = vec![vec![0x3f80_0000u64, 0xbf80_0000], vec![0, 0x8000_0000], vec![0, 0]];
    assert_eq!(evaluate("add.rm.f32 %o, %a, %b;", Word, &[Word, Word], &opposite), [0x8000_0000, 0x8000_0000, 0]);
    assert_eq!(evaluate("add.rp.f32 %o, %a, %b;", Word, &[Word, Word], &opposite), [0; 3]);
    assert_eq!(evaluate("fma.rm.f32 %o, %a, 0f3F800000, %b;", Word, &[Word, Word], &opposite), [0x8000_0000, 0x8000_0000, 0]);
    let opposite: Vec<Vec<u64>> = opposite.iter().map(|case| case.iter().map(|&bits| (single(bits) as f64).to_bits()).collect()).collect();
    assert_eq!(evaluate("add.rm.f64 %o, %a, %b;", Double, &[Double, Double], &opposite), [1 << 63, 1 << 63, 0]);
    assert_eq!(evaluate("fma.rm.f64 %o, %a, 0d3FF0000000000000, %b;", Double, &[Double, Double], &opposite), [1 << 63, 1 << 63, 0]);
    // One plus half an ulp, and a little more or less, in double precision.
    let half_ulp = f64::EPSILON / 2.0;
    let cases = vec![vec![1f64.to_bits(), half_ulp.to_bits()], vec![1f64.to_bits(), (-half_ulp / 4.0).to_bits()]];
    for (lines, wanted) in
        [("add.rp.f64 %o, %a, %b;", [1.0 + f64::EPSILON, 1.0]), ("add.rz.f64 %o, %a, %b;", [1.0, 1f64.next_down()]), ("add.rn.f64 %o, %a, %b;", [1.0, 1.0])]
    {
        let got: Vec<f64> = evaluate(lines, Double, &[Double, Double], &cases).into_iter().map(f64::from_bits).collect();
        assert_eq!(got, wanted, "{lines}");
    }
}

#[test]
fn doubles() {
    let bits: Vec<u64> = WIDE_FLOATS.iter().map(|value| value.to_bits()).collect();
    let cases = combinations(&[&bits, &bits]);
    let table: Table<fn(f64, f64) -> f64> = &[
        ("add.f64 %o, %a, %b;", |a, b| a + b),
        ("sub.rn.f64 %o, %a, %b;", |a, b| a - b),
        ("mul.f64 %o, %a, %b;", |a, b| a * b),
        ("div.rn.f64 %o, %a, %b;", |a, b| a / b),
        ("fma.rn.f64 %o, %a, %b, %b;", |a, b| a.mul_add(b, b)),
        ("sqrt.rn.f64 %o, %a;", |a, _| a.sqrt()),
        ("rcp.rn.f64 %o, %a;", |a, _| 1.0 / a),
        ("neg.f64 %o, %a;", |a, _| -a),
        ("abs.f64 %o, %a;", |a, _| a.abs()),
        ("cvt.rpi.f64.f64 %o, %a;", |a, _| a.ceil()),
        ("{ .reg .b32 %s; cvt.rn.f32.f64 %s, %a; cvt.f64.f32 %o, %s; }", |a, _| a as f32 as f64),
        ("{ .reg .b32 %s; cvt.rzi.s32.f64 %s, %a; cvt.rn.f64.s32 %o, %s; }", |a, _| a as i32 as f64),
        ("{ .reg .b64 %s; cvt.rzi.u64.f64 %s, %a; cvt.rn.f64.u64 %o, %s; }", |a, _| a as u64 as f64),
    ];
    for &(lines, wanted) in table {
        for (case, got) in cases.iter().zip(evaluate(lines, Double, &[Double, Double], &cases)) {
            let (a, b) = (f64::from_bits(case[0]), f64::from_bits(case[1]));
            assert!(same_double(got, wanted(a, b)), "{lines} of {a:e}, {b:e}: got {:e}, wanted {:e}", f64::from_bits(got), wanted(a, b));
        }
    }
}

#[test]
fn floats_to_integers_and_back() {
    let table: Table<fn(f32) -> u64> = &[
        ("cvt.rzi.s32.f32 %o, %a;", |a| a as i32 as u32 as u64),
        ("cvt.rni.s32.f32 %o, %a;", |a| a.round_ties_even() as i32 as u32 as u64),
        ("cvt.rmi.s32.f32 %o, %a;", |a| a.floor() as i32 as u32 as u64),
        ("cvt.rpi.u32.f32 %o, %a;", |a| a.ceil() as u32 as u64),
        ("cvt.rzi.u32.f32 %o, %a;", |a| a as u32 as u64),
        ("cvt.rzi.u8.f32 %o, %a;", |a| a as u8 as u64),
        ("cvt.rzi.s8.f32 %o, %a;", |a| a as i8 as u32 as u64),
        ("{ .reg .b64 %w; cvt.rzi.s64.f32 %w, %a; shr.u64 %w, %w, 13; cvt.u32.u64 %o, %w; }", |a| (a as i64 as u64) >> 13 & 0xffff_ffff),
    ];
    let cases = combinations(&[SINGLES]);
    for &(lines, wanted) in table {
        for (case, got) in cases.iter().zip(evaluate(lines, Word, &[Word], &cases)) {
            assert_eq!(got, wanted(single(case[0])), "{lines} of {:e}", single(case[0]));
        }
    }
    let cases = combinations(&[DOUBLES]);
    let table: Table<fn(u64) -> f32> = &[
        ("cvt.rn.f32.u64 %o, %a;", |a| a as f32),
        ("cvt.rn.f32.s64 %o, %a;", |a| a as i64 as f32),
        ("cvt.rn.f32.s32 %o, %a;", |a| a as i32 as f32),
        ("cvt.rn.f32.u16 %o, %a;", |a| a as u16 as f32),
        ("cvt.rz.f32.u64 %o, %a;", |a| if (a as f32) as u128 > a as u128 { (a as f32).next_down() } else { a as f32 }),
    ];
    for &(lines, wanted) in table {
        for (case, got) in cases.iter().zip(evaluate(lines, Word, &[Double], &cases)) {
            assert!(same_single(got, wanted(case[0])), "{lines} of {}: {:e}", case[0], single(got));
        }
    }
    for (case, got) in cases.iter().zip(evaluate("cvt.rn.f64.s64 %o, %a;", Double, &[Double], &cases)) {
        assert_eq!(got, (case[0] as i64 as f64).to_bits());
    }
}

#[test]
fn half_precision() {
    let halves: Vec<u64> = vec![0, 0x8000, 1, 0x3c00, 0xbc00, 0x3c01, 0x4248, 0x7bff, 0x7c00, 0xfc00, 0x7e00, 0x3555, 0x0400, 0x03ff, 0x3f80, 0xc2f7, 0x4000];
    let cases = combinations(&[&halves, &halves]);
    let exact16: Table<fn(f64, f64) -> f64> = &[("add", |a, b| a + b), ("sub", |a, b| a - b), ("mul", |a, b| a * b)];
    for &(name, wanted) in exact16 {
        for (case, got) in cases.iter().zip(evaluate(&format!("{name}.rn.f16 %o, %a, %b;"), Word, &[Word, Word], &cases)) {
            let [a, b] = [case[0], case[1]].map(|bits| f16::from_bits(bits as u16).to_f64());
            // Sums and products of f16 are exact in f64, and their f32 is at most one rounding from them.
            let wanted = f16::from_f32(wanted(a, b) as f32);
            assert!(
                got == wanted.to_bits() as u64 || f16::from_bits(got as u16).is_nan() && wanted.is_nan(),
                "{name}.f16 of {case:x?}: {got:x} instead of {wanted:?}"
            );
        }
        let lines = format!("{{ .reg .b32 %x, %y; prmt.b32 %x, %a, 0, 0x1010; prmt.b32 %y, %b, 0, 0x1010; {name}.rn.bf16x2 %o, %x, %y; }}");
        for (case, got) in cases.iter().zip(evaluate(&lines, Word, &[Word, Word], &cases)) {
            let [a, b] = [case[0], case[1]].map(|bits| bf16::from_bits(bits as u16).to_f64());
            let wanted = bf16::from_f32(wanted(a, b) as f32);
            let low = bf16::from_bits(got as u16);
            assert!(low.to_bits() == wanted.to_bits() || low.is_nan() && wanted.is_nan(), "{name}.bf16x2 of {case:x?}: {got:x} instead of {wanted:?}");
            assert_eq!(got >> 16, got & 0xffff, "both halves");
        }
    }
    // 1 + 2^-8 times itself is a tie of bf16 that the addend decides.
    let tie = vec![vec![0x3f81u64, 0x3f80, 0x0080], vec![0x3f81, 0x3f80, 0x8080]];
    let got = evaluate("fma.rn.bf16 %o, %a, %b, %c;", Word, &[Word, Word, Word], &tie);
    assert_eq!(got, [0x3f81, 0x3f81]);
    let pair = evaluate("cvt.rn.bf16x2.f32 %o, %a, %b;", Word, &[Word, Word], &[vec![0x3f80_8000, 0x3f81_8000], vec![0x3f80_8001, 0xbf80_7fff]]);
    assert_eq!(pair, [0x3f80_3f82, 0x3f81_bf80]);
    let pair = evaluate("cvt.rz.f16x2.f32 %o, %a, %b;", Word, &[Word, Word], &[vec![0x3f80_1fff, 0x7f00_0000]]);
    assert_eq!(pair, [0x3c00_7bff]);
}
