//! Shuffles, votes, atomics, matrices and all widths of memory access, lane by lane.
use half::{bf16, f16};

use crate::device::{Argument::*, Device, noise};
use crate::operands::Table;

/// Runs the lines in a warp: %r1 is the lane, %r2 input x[lane]; %r3 goes to y[lane].
fn warp(lines: &str, x: &[u32]) -> Vec<u32> {
    let text = format!(
        ".version 8.1\n.target sm_80\n.address_size 64\n.visible .entry k(.param .u64 x, .param .u64 y) {{\n.reg .pred %p<8>; .reg .b32 %r<32>; .reg .b64 %rd<16>; .shared .align 16 .b8 s[1024];\n\
         ld.param.u64 %rd1, [x]; ld.param.u64 %rd2, [y]; mov.u32 %r1, %laneid; mul.wide.u32 %rd3, %r1, 4; add.u64 %rd4, %rd1, %rd3; ld.global.u32 %r2, [%rd4]; add.u64 %rd5, %rd2, %rd3;\n\
         {lines}\nst.global.u32 [%rd5], %r3; ret; }}\n"
    );
    let mut results = [0, 5, 6].map(|seed| {
        let mut device = Device { seed, ..Device::new(&text) };
        let (x, y) = (device.words(x), device.empty(32));
        device.launch("k", [1, 1, 1], [32, 1, 1], &[Address(x), Address(y)]).unwrap_or_else(|fault| panic!("{lines}: {fault}"));
        device.read_words(y, 32)
    });
    assert!(results[0] == results[1] && results[0] == results[2], "{lines}");
    std::mem::take(&mut results[0])
}

fn per_lane(f: impl Fn(u32) -> u32) -> Vec<u32> {
    (0..32).map(f).collect()
}

#[test]
fn shuffles() {
    let x = per_lane(|lane| 100 + lane);
    assert_eq!(warp("shfl.sync.bfly.b32 %r3, %r2, 5, 31, -1;", &x), per_lane(|lane| 100 + (lane ^ 5)));
    assert_eq!(warp("shfl.sync.up.b32 %r3, %r2, 3, 0, -1;", &x), per_lane(|lane| 100 + if lane >= 3 { lane - 3 } else { lane }));
    assert_eq!(warp("shfl.sync.down.b32 %r3, %r2, 3, 31, -1;", &x), per_lane(|lane| 100 + if lane < 29 { lane + 3 } else { lane }));
    assert_eq!(warp("shfl.sync.idx.b32 %r3, %r2, 7, 31, -1;", &x), per_lane(|_| 107));
    assert_eq!(warp("shfl.sync.down.b32 %r3|%p1, %r2, 3, 31, -1; selp.u32 %r3, %r3, 1, %p1;", &x), per_lane(|lane| if lane < 29 { 103 + lane } else { 1 }));
    // Segments of eight lanes, as width 8 makes them.
    assert_eq!(warp("shfl.sync.down.b32 %r3, %r2, 3, 0x181f, -1;", &x), per_lane(|lane| 100 + if lane % 8 < 5 { lane + 3 } else { lane }));
    assert_eq!(warp("shfl.sync.up.b32 %r3, %r2, 3, 0x1800, -1;", &x), per_lane(|lane| 100 + if lane % 8 >= 3 { lane - 3 } else { lane }));
    assert_eq!(warp("shfl.sync.idx.b32 %r3, %r2, 2, 0x181f, -1;", &x), per_lane(|lane| 100 + lane / 8 * 8 + 2));
}

#[test]
fn votes_and_reductions() {
    let x = per_lane(|lane| lane.wrapping_mul(0x9E37_79B9));
    let sum = x.iter().fold(0u32, |sum, &value| sum.wrapping_add(value));
    let ballot = (0..32).filter(|lane| x[*lane] >> 31 != 0).fold(0u32, |mask, lane| mask | 1 << lane);
    for (lines, wanted) in [
        ("setp.lt.s32 %p1, %r2, 0; vote.sync.ballot.b32 %r3, %p1, -1;", ballot),
        ("setp.lt.s32 %p1, %r2, 0; vote.sync.ballot.b32 %r3, !%p1, -1;", !ballot),
        ("setp.lt.s32 %p1, %r2, 0; vote.sync.any.pred %p2, %p1, -1; selp.u32 %r3, 1, 0, %p2;", 1),
        ("setp.lt.s32 %p1, %r2, 0; vote.sync.all.pred %p2, %p1, -1; selp.u32 %r3, 1, 0, %p2;", 0),
        ("setp.lt.u32 %p1, %r1, 32; vote.sync.all.pred %p2, %p1, -1; selp.u32 %r3, 1, 0, %p2;", 1),
        ("redux.sync.add.u32 %r3, %r2, -1;", sum),
        ("redux.sync.min.s32 %r3, %r2, -1;", *x.iter().min_by_key(|&&value| value as i32).unwrap()),
        ("redux.sync.max.u32 %r3, %r2, -1;", *x.iter().max().unwrap()),
        ("redux.sync.xor.b32 %r3, %r2, -1;", x.iter().fold(0, |all, value| all ^ value)),
        ("match.all.sync.b32 %r3|%p1, %r2, -1;", 0),
        ("mov.u32 %r4, 9; match.all.sync.b32 %r3|%p1, %r4, -1;", u32::MAX),
        ("elect.sync %r3|%p1, -1;", 0),
        ("activemask.b32 %r3;", u32::MAX),
    ] {
        assert_eq!(warp(lines, &x), vec![wanted; 32], "{lines}");
    }
    assert_eq!(warp("and.b32 %r4, %r1, 3; match.any.sync.b32 %r3, %r4, -1;", &x), per_lane(|lane| 0x1111_1111 << (lane & 3)));
    for (name, wanted) in [
        ("eq", (|lane| 1 << lane) as fn(u32) -> u32),
        ("lt", |lane| (1 << lane) - 1),
        ("le", |lane| u32::MAX >> (31 - lane)),
        ("gt", |lane| !(u32::MAX >> (31 - lane))),
        ("ge", |lane| u32::MAX << lane),
    ] {
        assert_eq!(warp(&format!("mov.u32 %r3, %lanemask_{name};"), &x), per_lane(wanted));
    }
}

#[test]
fn atomics() {
    type Step = fn(u32, u32) -> u32;
    let table: Table<Step> = &[
        ("add.u32", u32::wrapping_add),
        ("min.s32", |old, b| (old as i32).min(b as i32) as u32),
        ("max.u32", u32::max),
        ("and.b32", |old, b| old & b),
        ("or.b32", |old, b| old | b),
        ("xor.b32", |old, b| old ^ b),
        ("exch.b32", |_, b| b),
        ("inc.u32", |old, b| if old >= b { 0 } else { old + 1 }),
        ("dec.u32", |old, b| if old == 0 || old > b { b } else { old - 1 }),
        ("add.f32", |old, b| (f32::from_bits(old) + f32::from_bits(b)).to_bits()),
    ];
    let x = per_lane(|lane| (1.0 + lane as f32).to_bits() ^ lane << 13);
    for &(name, step) in table {
        for (space, address) in [("shared.", "[s]"), ("global.", "[%rd2]"), ("", "[%rd6]")] {
            // Lanes take their turns in order; each gets what the one before left.
            let wanted: Vec<u32> = x.iter().scan(0x4000_0000, |memory, &b| Some(std::mem::replace(memory, step(*memory, b)))).collect();
            let lines = format!(
                "mov.u64 %rd6, s; cvta.shared.u64 %rd6, %rd6; setp.ne.u32 %p1, %r1, 0; @%p1 bra L; st.shared.u32 [s], 0x40000000; st.global.u32 [%rd2], 0x40000000;\nL: bar.warp.sync -1;\natom.{space}{name} %r3, {address}, %r2; bar.warp.sync -1;"
            );
            assert_eq!(warp(&lines, &x), wanted, "{space}{name}");
        }
    }
    let lock = "setp.ne.u32 %p1, %r1, 0; @%p1 bra L; st.shared.u32 [s], 0;\nL: bar.warp.sync -1; atom.shared.cas.b32 %r3, [s], %r1, 100;";
    assert_eq!(warp(lock, &x), per_lane(|lane| if lane == 0 { 0 } else { 100 }));
}

#[test]
fn widths_of_access() {
    let x = per_lane(|lane| 0x8081_8283u32.wrapping_add(lane * 0x0101_0101));
    for (lines, wanted) in [
        ("ld.global.u8 %r3, [%rd4+1];", (|v| v >> 8 & 255) as fn(u32) -> u32),
        ("ld.global.s8 %r3, [%rd4+1];", |v| (v >> 8) as i8 as u32),
        ("ld.global.nc.u16 %r3, [%rd4+2];", |v| v >> 16),
        ("ld.s16 %r3, [%rd4+2];", |v| (v >> 16) as i16 as u32),
        ("ld.global.s32 %rd6, [%rd4]; shr.u64 %rd6, %rd6, 16; cvt.u32.u64 %r3, %rd6;", |v| (v as i32 >> 16) as u32),
        (
            "st.shared.u16 [s], 1; mul.wide.u32 %rd6, %r1, 8; mov.u64 %rd7, s; add.u64 %rd6, %rd6, %rd7; bar.warp.sync -1; mov.b64 %rd8, {%r2, %r1}; st.shared.b64 [%rd6], %rd8; ld.shared.v2.u32 {%r4, %r3}, [%rd6]; add.u32 %r3, %r3, %r4;",
            |v| v,
        ),
    ] {
        let got = warp(lines, &x);
        for lane in 0..32 {
            let index = if lines.contains("{%r4, %r3}") { lane as u32 } else { 0 };
            assert_eq!(got[lane], wanted(x[lane]).wrapping_add(index), "{lines} in lane {lane}");
        }
    }
    let lines = ".local .align 16 .b8 l[32]; mov.u64 %rd6, l; cvta.local.u64 %rd6, %rd6; st.local.v4.u32 [l+16], {%r1, %r2, %r1, %r2}; ld.v2.u32 {%r4, %r3}, [%rd6+16]; isspacep.local %p1, %rd6; @!%p1 mov.u32 %r3, 0;";
    assert_eq!(warp(lines, &x), x);
}

/// A word of two halves.
fn pack(low: u16, high: u16) -> u32 {
    low as u32 | (high as u32) << 16
}

#[test]
fn matrices() {
    // A is 16 by 16, B 16 by 8; rows of A and columns of B are pairs of halves in shared memory, from where ldmatrix takes them.
    let (a, b) = (noise(256, 1), noise(128, 2));
    for (ty, bits, value) in [
        ("bf16", (|v| bf16::from_f32(v).to_bits()) as fn(f32) -> u16, (|v| bf16::from_f32(v).to_f32()) as fn(f32) -> f32),
        ("f16", |v| f16::from_f32(v).to_bits(), |v| f16::from_f32(v).to_f32()),
    ] {
        let words: Vec<u32> = a.iter().chain(&b).copied().collect::<Vec<f32>>().chunks(2).map(|pair| pack(bits(pair[0]), bits(pair[1]))).collect();
        // Twelve rows of 32 bytes a lane-step: A's 128 words, then B's 64 (column after column).
        let mut lines = String::from("mov.u64 %rd6, s; add.u64 %rd7, %rd6, %rd3;\n");
        for step in 0..6 {
            lines += &format!("ld.global.u32 %r4, [%rd4+{0}]; st.shared.u32 [%rd7+{0}], %r4;\n", step * 128);
        }
        lines += "bar.warp.sync -1; mov.u32 %r5, s; and.b32 %r6, %r1, 15; mad.lo.u32 %r5, %r6, 32, %r5; shr.u32 %r6, %r1, 4; mad.lo.u32 %r5, %r6, 16, %r5;\n\
                  ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%r10, %r11, %r12, %r13}, [%r5];\n\
                  mov.u32 %r5, s; and.b32 %r6, %r1, 7; mad.lo.u32 %r5, %r6, 32, %r5; bfe.u32 %r6, %r1, 3, 1; mad.lo.u32 %r5, %r6, 16, %r5;\n\
                  ldmatrix.sync.aligned.m8n8.x2.shared.b16 {%r14, %r15}, [%r5+512]; mov.u32 %r16, 0; mov.u32 %r17, 0x3f800000;\n";
        lines += &format!(
            "mma.sync.aligned.m16n8k16.row.col.f32.{ty}.{ty}.f32 {{%r20, %r21, %r22, %r23}}, {{%r10, %r11, %r12, %r13}}, {{%r14, %r15}}, {{%r16, %r17, %r16, %r17}};\n"
        );
        for register in 0..4 {
            let got = warp(&format!("{lines} mov.b32 %r3, %r2{register};"), &words);
            for (lane, &got) in got.iter().enumerate() {
                let (row, column) = (lane / 4 + register / 2 * 8, lane % 4 * 2 + register % 2);
                let exact: f64 = (0..16).map(|k| value(a[row * 16 + k]) as f64 * value(b[column * 16 + k]) as f64).sum::<f64>() + (register % 2) as f64;
                assert!((f32::from_bits(got) as f64 - exact).abs() < 1e-6, "{ty} row {row}, column {column}: {} instead of {exact}", f32::from_bits(got));
            }
        }
    }
    // Transposed, row i of the first matrix comes as column i.
    let words: Vec<u32> = (0..32).map(|word| pack(word * 2, word * 2 + 1)).collect();
    let got = warp(
        "mov.u64 %rd6, s; add.u64 %rd7, %rd6, %rd3; st.shared.u32 [%rd7], %r2; bar.warp.sync -1; and.b32 %r5, %r1, 7; mov.u32 %r6, s; mad.lo.u32 %r6, %r5, 16, %r6; ldmatrix.sync.aligned.m8n8.x1.trans.shared.b16 {%r3}, [%r6];",
        &words,
    );
    assert_eq!(got, per_lane(|lane| pack((lane % 4 * 16 + lane / 4) as u16, (lane % 4 * 16 + 8 + lane / 4) as u16)));
}

#[test]
fn matrices_of_tf32() {
    // A[i][k] = i + k with k below 8, B[k][j] = k - j: exact in tf32.
    let lines = "shr.u32 %r4, %r1, 2; and.b32 %r5, %r1, 3;\n\
        add.u32 %r6, %r4, %r5; cvt.rn.f32.u32 %r10, %r6; add.u32 %r7, %r6, 8; cvt.rn.f32.u32 %r11, %r7; add.u32 %r7, %r6, 4; cvt.rn.f32.u32 %r12, %r7; add.u32 %r7, %r6, 12; cvt.rn.f32.u32 %r13, %r7;\n\
        sub.s32 %r6, %r5, %r4; cvt.rn.f32.s32 %r14, %r6; add.s32 %r6, %r6, 4; cvt.rn.f32.s32 %r15, %r6; mov.u32 %r16, 0;\n\
        mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%r20, %r21, %r22, %r23}, {%r10, %r11, %r12, %r13}, {%r14, %r15}, {%r16, %r16, %r16, %r16};\n";
    for register in 0..4 {
        let got = warp(&format!("{lines} mov.b32 %r3, %r2{register};"), &per_lane(|lane| lane));
        for (lane, &got) in got.iter().enumerate() {
            let (row, column) = ((lane / 4 + register / 2 * 8) as i32, (lane % 4 * 2 + register % 2) as i32);
            let wanted: i32 = (0..8).map(|k| (row + k) * (k - column)).sum();
            assert_eq!(f32::from_bits(got), wanted as f32, "row {row}, column {column}");
        }
    }
}
