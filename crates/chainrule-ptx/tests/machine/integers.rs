//! Integer instructions against Rust.
use crate::operands::{Kind::*, *};

type Relation<T> = fn(T, T) -> bool;
type One = fn(u64) -> u64;
type Two = fn(u64, u64) -> u64;
type Three = fn(u64, u64, u64) -> u64;

fn word(value: impl Into<i64>) -> u64 {
    value.into() as u32 as u64
}

fn check(lines: &str, cases: &[Vec<u64>], got: &[u64], wanted: impl Fn(&[u64]) -> u64) {
    for (case, &got) in cases.iter().zip(got) {
        assert_eq!(got, wanted(case), "{lines} of {case:x?}: got {got:#x}, wanted {:#x}", wanted(case));
    }
}

#[test]
fn one_word() {
    let table: Table<One> = &[
        ("not.b32 %o, %a;", |a| !(a as u32) as u64),
        ("neg.s32 %o, %a;", |a| (a as i32).wrapping_neg() as u32 as u64),
        ("abs.s32 %o, %a;", |a| (a as i32).wrapping_abs() as u32 as u64),
        ("popc.b32 %o, %a;", |a| (a as u32).count_ones() as u64),
        ("clz.b32 %o, %a;", |a| (a as u32).leading_zeros() as u64),
        ("brev.b32 %o, %a;", |a| (a as u32).reverse_bits() as u64),
        ("bfind.u32 %o, %a;", |a| (a as u32).checked_ilog2().unwrap_or(u32::MAX) as u64),
        ("bfind.shiftamt.u32 %o, %a;", |a| (a as u32).checked_ilog2().map_or(u32::MAX, |high| 31 - high) as u64),
        ("bfind.s32 %o, %a;", |a| (if (a as i32) < 0 { !(a as u32) } else { a as u32 }).checked_ilog2().unwrap_or(u32::MAX) as u64),
        ("neg.s16 %o, %a; cvt.u32.u16 %o, %o;", |a| (a as i16).wrapping_neg() as u16 as u64),
        ("cvt.s32.s8 %o, %a;", |a| word(a as i8)),
        ("cvt.u32.u8 %o, %a;", |a| a as u8 as u64),
        ("cvt.s32.s16 %o, %a;", |a| word(a as i16)),
        ("cvt.u32.u16 %o, %a;", |a| a as u16 as u64),
        ("cvt.sat.s8.s32 %o, %a;", |a| word((a as i32).clamp(-128, 127))),
        ("cvt.sat.u8.s32 %o, %a;", |a| word((a as i32).clamp(0, 255))),
        ("cvt.sat.u32.s32 %o, %a;", |a| word((a as i32).max(0))),
        ("cvt.sat.s32.u32 %o, %a;", |a| (a as u32).min(0x7fff_ffff) as u64),
        ("{ .reg .b16 %lo, %hi; mov.b32 {%lo, %hi}, %a; mov.b32 %o, {%hi, %lo}; }", |a| (a as u32).rotate_left(16) as u64),
        ("mov.b32 %o, %a;", |a| a),
    ];
    let cases = combinations(&[WORDS]);
    for &(lines, wanted) in table {
        check(lines, &cases, &evaluate(lines, Word, &[Word], &cases), |case| wanted(case[0]));
    }
}

#[test]
fn two_words() {
    let table: Table<Two> = &[
        ("add.s32 %o, %a, %b;", |a, b| (a as u32).wrapping_add(b as u32) as u64),
        ("add.sat.s32 %o, %a, %b;", |a, b| word((a as i32).saturating_add(b as i32))),
        ("sub.u32 %o, %a, %b;", |a, b| (a as u32).wrapping_sub(b as u32) as u64),
        ("sub.sat.s32 %o, %a, %b;", |a, b| word((a as i32).saturating_sub(b as i32))),
        ("mul.lo.u32 %o, %a, %b;", |a, b| (a as u32).wrapping_mul(b as u32) as u64),
        ("mul.hi.u32 %o, %a, %b;", |a, b| (a * b) >> 32),
        ("mul.hi.s32 %o, %a, %b;", |a, b| word((((a as i32 as i64) * (b as i32 as i64)) >> 32) as i32)),
        ("mul24.lo.u32 %o, %a, %b;", |a, b| ((a & 0xff_ffff) * (b & 0xff_ffff)) & 0xffff_ffff),
        ("mul24.hi.s32 %o, %a, %b;", |a, b| word((((((a as i32) << 8) >> 8) as i64 * ((((b as i32) << 8) >> 8) as i64)) >> 16) as i32)),
        ("div.u32 %o, %a, %b;", |a, b| (a as u32).checked_div(b as u32).unwrap_or(u32::MAX) as u64),
        ("div.s32 %o, %a, %b;", |a, b| if b as u32 == 0 { 0xffff_ffff } else { word((a as i32).wrapping_div(b as i32)) }),
        ("rem.u32 %o, %a, %b;", |a, b| (a as u32).checked_rem(b as u32).unwrap_or(a as u32) as u64),
        ("rem.s32 %o, %a, %b;", |a, b| if b as u32 == 0 { a } else { word((a as i32).wrapping_rem(b as i32)) }),
        ("min.s32 %o, %a, %b;", |a, b| word((a as i32).min(b as i32))),
        ("min.u32 %o, %a, %b;", |a, b| a.min(b)),
        ("max.s32 %o, %a, %b;", |a, b| word((a as i32).max(b as i32))),
        ("max.u32 %o, %a, %b;", |a, b| a.max(b)),
        ("and.b32 %o, %a, %b;", |a, b| a & b),
        ("or.b32 %o, %a, %b;", |a, b| a | b),
        ("xor.b32 %o, %a, %b;", |a, b| a ^ b),
        ("shl.b32 %o, %a, %b;", |a, b| (a as u32).checked_shl(b as u32).unwrap_or(0) as u64),
        ("shr.u32 %o, %a, %b;", |a, b| (a as u32).checked_shr(b as u32).unwrap_or(0) as u64),
        ("shr.s32 %o, %a, %b;", |a, b| word((a as i32) >> b.min(31))),
        ("shr.s16 %o, %a, %b; cvt.u32.u16 %o, %o;", |a, b| ((a as i16) >> b.min(15)) as u16 as u64),
        ("mul.wide.s16 %o, %a, %b;", |a, b| word(a as i16 as i32 * b as i16 as i32)),
        ("mul.wide.u16 %o, %a, %b;", |a, b| (a as u16 as u32 * b as u16 as u32) as u64),
        ("mul.lo.u16 %o, %a, %b; cvt.u32.u16 %o, %o;", |a, b| (a as u16).wrapping_mul(b as u16) as u64),
        ("add.s16 %o, %a, %b; cvt.s32.s16 %o, %o;", |a, b| word((a as i16).wrapping_add(b as i16))),
        ("slct.u32.s32 %o, %a, 7, %b;", |a, b| if (b as i32) >= 0 { a } else { 7 }),
        ("set.lt.u32.s32 %o, %a, %b;", |a, b| if (a as i32) < b as i32 { 0xffff_ffff } else { 0 }),
        ("set.gt.f32.u32 %o, %a, %b;", |a, b| if a > b { 0x3f80_0000 } else { 0 }),
        ("setp.hi.s32 %p0, %a, %b; selp.b32 %o, %a, %b, %p0;", |a, b| a.max(b)),
    ];
    let cases = combinations(&[WORDS, WORDS]);
    for &(lines, wanted) in table {
        check(lines, &cases, &evaluate(lines, Word, &[Word, Word], &cases), |case| wanted(case[0], case[1]));
    }
}

#[test]
fn comparisons() {
    let table: Table<(Relation<i32>, Relation<u32>)> = &[
        ("eq", (|a, b| a == b, |a, b| a == b)),
        ("ne", (|a, b| a != b, |a, b| a != b)),
        ("lt", (|a, b| a < b, |a, b| a < b)),
        ("le", (|a, b| a <= b, |a, b| a <= b)),
        ("gt", (|a, b| a > b, |a, b| a > b)),
        ("ge", (|a, b| a >= b, |a, b| a >= b)),
    ];
    let cases = combinations(&[WORDS, WORDS]);
    for &(name, (signed, unsigned)) in table {
        let lines = format!("setp.{name}.s32 %o, %a, %b;");
        check(&lines, &cases, &evaluate(&lines, Predicate, &[Word, Word], &cases), |case| signed(case[0] as i32, case[1] as i32) as u64);
        let lines = format!("setp.{name}.u32 %o, %a, %b;");
        check(&lines, &cases, &evaluate(&lines, Predicate, &[Word, Word], &cases), |case| unsigned(case[0] as u32, case[1] as u32) as u64);
    }
    let joined = combinations(&[&[0, 1, 5], &[0, 1, 5], &[0, 1]]);
    let table: Table<fn(bool, bool) -> bool> = &[("and", |a, b| a && b), ("or", |a, b| a || b), ("xor", |a, b| a != b)];
    for &(name, logic) in table {
        let lines = format!("setp.lt.{name}.s32 %o|%p1, %a, %b, %c;");
        check(&lines, &joined, &evaluate(&lines, Predicate, &[Word, Word, Predicate], &joined), |case| logic(case[0] < case[1], case[2] != 0) as u64);
        let lines = format!("setp.lt.{name}.s32 %p1|%o, %a, %b, !%c;");
        check(&lines, &joined, &evaluate(&lines, Predicate, &[Word, Word, Predicate], &joined), |case| logic(case[0] >= case[1], case[2] == 0) as u64);
        let lines = format!("setp.ne.s32 %p1, %a, %b; {name}.pred %o, %p1, %c;");
        check(&lines, &joined, &evaluate(&lines, Predicate, &[Word, Word, Predicate], &joined), |case| logic(case[0] != case[1], case[2] != 0) as u64);
    }
}

#[test]
fn three_words() {
    let few: &[u64] = &[0, 1, 5, 8, 16, 31, 32, 40, 255, 0x1234, 0x7654_3210, 0x8765_4321, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff];
    let table: Table<Three> = &[
        ("mad.lo.s32 %o, %a, %b, %c;", |a, b, c| (a as u32).wrapping_mul(b as u32).wrapping_add(c as u32) as u64),
        ("mad.hi.u32 %o, %a, %b, %c;", |a, b, c| (((a * b) >> 32) as u32).wrapping_add(c as u32) as u64),
        ("mad24.lo.u32 %o, %a, %b, %c;", |a, b, c| (((a & 0xff_ffff) * (b & 0xff_ffff)) as u32).wrapping_add(c as u32) as u64),
        ("sad.s32 %o, %a, %b, %c;", |a, b, c| (a as i32).abs_diff(b as i32).wrapping_add(c as u32) as u64),
        ("shf.l.wrap.b32 %o, %a, %b, %c;", |a, b, c| ((((b << 32) | a) << (c & 31)) >> 32) & 0xffff_ffff),
        ("shf.l.clamp.b32 %o, %a, %b, %c;", |a, b, c| if c >= 32 { a } else { ((((b << 32) | a) << c) >> 32) & 0xffff_ffff }),
        ("shf.r.wrap.b32 %o, %a, %b, %c;", |a, b, c| (((b << 32) | a) >> (c & 31)) & 0xffff_ffff),
        ("shf.r.clamp.b32 %o, %a, %b, %c;", |a, b, c| if c >= 32 { b } else { (((b << 32) | a) >> c) & 0xffff_ffff }),
        ("lop3.b32 %o, %a, %b, %c, 0xE8;", |a, b, c| a & b | a & c | b & c),
        ("lop3.b32 %o, %a, %b, %c, 0x96;", |a, b, c| a ^ b ^ c),
        ("lop3.b32 %o, %a, %b, %c, 0x1A;", |a, b, c| ((a & b) | c) ^ a),
        ("prmt.b32 %o, %a, %b, %c;", |a, b, c| {
            let bytes = b << 32 | a;
            (0..4).fold(0, |word, place| {
                let choice = c >> (4 * place) & 15;
                let byte = bytes >> (8 * (choice & 7)) & 255;
                word | (if choice & 8 == 0 { byte } else { if byte & 128 != 0 { 255 } else { 0 } }) << (8 * place)
            })
        }),
        ("prmt.b32.f4e %o, %a, %b, %c;", |a, b, c| ((b << 32 | a) >> (8 * (c & 3))) & 0xffff_ffff),
        ("prmt.b32.rc8 %o, %a, %b, %c;", |a, _, c| (a >> (8 * (c & 3)) & 255) * 0x0101_0101),
        ("prmt.b32.rc16 %o, %a, %b, %c;", |a, _, c| (a >> (16 * (c & 1)) & 0xffff) * 0x0001_0001),
        ("bfe.u32 %o, %a, %b, %c;", |a, start, length| {
            let (start, length) = (start & 255, length & 255);
            (0..length.min(32)).filter(|bit| start + bit < 32 && a >> (start + bit) & 1 != 0).fold(0, |word, bit| word | 1 << bit)
        }),
        ("bfe.s32 %o, %a, %b, %c;", |a, start, length| {
            let (start, length) = (start & 255, length & 255);
            let sign = if length == 0 { 0 } else { a >> (start + length - 1).min(31) & 1 };
            (0..32).filter(|&bit| if bit < length && start + bit < 32 { a >> (start + bit) & 1 != 0 } else { sign != 0 }).fold(0, |word, bit| word | 1 << bit)
        }),
        ("bfi.b32 %o, %a, 0x5A5A5A5A, %b, %c;", |a, start, length| {
            let (start, length) = (start & 255, length & 255);
            (0..32)
                .filter(|&bit| if bit >= start && bit < start + length { a >> (bit - start) & 1 != 0 } else { 0x5A5A_5A5Au64 >> bit & 1 != 0 })
                .fold(0, |word, bit| word | 1 << bit)
        }),
        ("dp4a.s32.u32 %o, %a, %b, %c;", |a, b, c| {
            let sum: i64 = (0..4).map(|place| (a >> (8 * place)) as i8 as i64 * (b >> (8 * place)) as u8 as i64).sum();
            (c as u32).wrapping_add(sum as u32) as u64
        }),
        // Carries: the high word of a 64-bit sum or difference.
        ("add.cc.u32 %r4, %a, %b; addc.u32 %o, %c, 0;", |a, b, c| (c + ((a + b) >> 32)) & 0xffff_ffff),
        ("sub.cc.u32 %r4, %a, %b; subc.u32 %o, %c, 0;", |a, b, c| (c as u32).wrapping_sub((a < b) as u32) as u64),
        ("mad.lo.cc.u32 %r4, %a, %b, %c; madc.hi.u32 %o, %a, %b, 3;", |a, b, c| (((a as u128 * b as u128 + c as u128) >> 32) as u32).wrapping_add(3) as u64),
    ];
    let cases = combinations(&[few, few, few]);
    for &(lines, wanted) in table {
        check(lines, &cases, &evaluate(lines, Word, &[Word, Word, Word], &cases), |case| wanted(case[0], case[1], case[2]));
    }
}

#[test]
fn double_words() {
    let table: Table<Two> = &[
        ("add.s64 %o, %a, %b;", u64::wrapping_add),
        ("sub.s64 %o, %a, %b;", u64::wrapping_sub),
        ("mul.lo.s64 %o, %a, %b;", u64::wrapping_mul),
        ("mul.hi.u64 %o, %a, %b;", |a, b| ((a as u128 * b as u128) >> 64) as u64),
        ("mul.hi.s64 %o, %a, %b;", |a, b| ((a as i64 as i128 * b as i64 as i128) >> 64) as u64),
        ("div.u64 %o, %a, %b;", |a, b| a.checked_div(b).unwrap_or(u64::MAX)),
        ("div.s64 %o, %a, %b;", |a, b| if b == 0 { u64::MAX } else { (a as i64).wrapping_div(b as i64) as u64 }),
        ("rem.u64 %o, %a, %b;", |a, b| a.checked_rem(b).unwrap_or(a)),
        ("rem.s64 %o, %a, %b;", |a, b| if b == 0 { a } else { (a as i64).wrapping_rem(b as i64) as u64 }),
        ("min.s64 %o, %a, %b;", |a, b| (a as i64).min(b as i64) as u64),
        ("max.u64 %o, %a, %b;", u64::max),
        ("and.b64 %o, %a, %b;", |a, b| a & b),
        ("or.b64 %o, %a, %b;", |a, b| a | b),
        ("xor.b64 %o, %a, %b;", |a, b| a ^ b),
        ("setp.lt.s64 %p0, %a, %b; selp.u64 %o, %a, %b, %p0;", |a, b| (a as i64).min(b as i64) as u64),
        ("{ .reg .b32 %lo, %hi; mov.b64 {%lo, %hi}, %a; mov.b64 %o, {%hi, %lo}; }", |a, _| a.rotate_left(32)),
        ("neg.s64 %o, %a;", |a, _| a.wrapping_neg()),
        ("not.b64 %o, %a;", |a, _| !a),
        ("abs.s64 %o, %a;", |a, _| (a as i64).wrapping_abs() as u64),
        ("brev.b64 %o, %a;", |a, _| a.reverse_bits()),
        ("{ .reg .b32 %w; popc.b64 %w, %a; cvt.u64.u32 %o, %w; }", |a, _| a.count_ones() as u64),
        ("{ .reg .b32 %w; clz.b64 %w, %a; cvt.u64.u32 %o, %w; }", |a, _| a.leading_zeros() as u64),
        ("{ .reg .b32 %w; cvt.u32.u64 %w, %b; shl.b64 %o, %a, %w; }", |a, b| a.checked_shl(b as u32).unwrap_or(0)),
        ("{ .reg .b32 %w; cvt.u32.u64 %w, %b; shr.u64 %o, %a, %w; }", |a, b| a.checked_shr(b as u32).unwrap_or(0)),
        ("{ .reg .b32 %w; cvt.u32.u64 %w, %b; shr.s64 %o, %a, %w; }", |a, b| ((a as i64) >> (b as u32).min(63)) as u64),
        ("{ .reg .b32 %v, %w; cvt.u32.u64 %v, %a; cvt.u32.u64 %w, %b; mul.wide.u32 %o, %v, %w; }", |a, b| (a as u32 as u64) * (b as u32 as u64)),
        ("{ .reg .b32 %v, %w; cvt.u32.u64 %v, %a; cvt.u32.u64 %w, %b; mad.wide.s32 %o, %v, %w, %b; }", |a, b| {
            ((a as i32 as i64) * (b as i32 as i64)).wrapping_add(b as i64) as u64
        }),
        ("cvt.s64.s32 %o, %a;", |a, _| a as i32 as i64 as u64),
        ("cvt.s64.s8 %o, %a;", |a, _| a as i8 as i64 as u64),
        ("add.cc.u64 %rd4, %a, %b; addc.u64 %o, 0, 0;", |a, b| a.checked_add(b).is_none() as u64),
        ("bfe.u64 %o, %a, 20, 17;", |a, _| a >> 20 & 0x1_ffff),
        ("bfi.b64 %o, %a, %b, 40, 10;", |a, b| (a & 1023) << 40 | b & !(1023 << 40)),
    ];
    let cases = combinations(&[DOUBLES, DOUBLES]);
    for &(lines, wanted) in table {
        check(lines, &cases, &evaluate(lines, Double, &[Double, Double], &cases), |case| wanted(case[0], case[1]));
    }
}
