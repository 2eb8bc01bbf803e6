//! Every kind of mistake is found, and told where it is.
use chainrule_ptx::{Fault, FaultKind::*, Launch};

use crate::device::{Argument::*, Device};

const SEEDS: [u64; 5] = [0, 1, 2, 9, 1000];

/// A kernel with two pointers, %rd1 and %rd2; %r1 is tid.x and %rd3 four times that; %s is shared memory of 64 words.
fn text(body: &str) -> String {
    format!(
        ".version 8.1\n.target sm_80\n.address_size 64\n.visible .entry bad(.param .u64 x, .param .u64 y) {{\n\
         .reg .pred %p<8>; .reg .b32 %r<16>; .reg .b64 %rd<16>; .reg .f32 %f<8>; .shared .align 16 .b8 s[256];\n\
         ld.param.u64 %rd1, [x]; ld.param.u64 %rd2, [y]; mov.u32 %r1, %tid.x; mul.wide.u32 %rd3, %r1, 4; mov.u64 %rd4, s; add.u64 %rd4, %rd4, %rd3; mov.u32 %r2, %ctaid.x;\n\
         {body}\nret;\n}}\n"
    )
}

fn run(body: &str, grid: u32, threads: u32, seed: u64) -> Result<(), Fault> {
    let mut device = Device { seed, ..Device::new(&text(body)) };
    let (x, y) = (device.words(&[5; 64]), device.empty(64));
    device.launch("bad", [grid, 1, 1], [threads, 1, 1], &[Address(x), Address(y)]).map(|_| ())
}

/// The fault that the body makes, in every order.
fn fault(body: &str, grid: u32, threads: u32, kind: chainrule_ptx::FaultKind) -> Fault {
    let mut first = None;
    for seed in SEEDS {
        let fault = run(body, grid, threads, seed).expect_err(body);
        assert_eq!(fault.kind, kind, "{body}, seed {seed}: {fault}");
        assert_eq!(fault.kernel, "bad");
        assert!(fault.line > 4 || fault.line == 0, "{fault}");
        first.get_or_insert(fault);
    }
    first.unwrap()
}

fn fine(body: &str, grid: u32, threads: u32) {
    for seed in SEEDS {
        run(body, grid, threads, seed).unwrap_or_else(|fault| panic!("{body}, seed {seed}: {fault}"));
    }
}

#[test]
fn global_memory() {
    let found = fault("add.u64 %rd5, %rd1, %rd3;\nld.global.u32 %r3, [%rd5+8];", 1, 64, OutOfBounds);
    assert_eq!((found.thread, found.statement.as_str(), found.line), ([62, 0, 0], "ld.global.u32 %r3, [%rd5+8];", 8));
    assert!(found.to_string().contains("kernel bad, block (0, 0, 0), thread (62, 0, 0)\n  at line 8: ld.global.u32"), "{found}");
    fault("add.u64 %rd5, %rd2, %rd3; ld.global.u32 %r3, [%rd5];", 1, 32, Uninitialised);
    fault("mov.u64 %rd5, 16; st.global.u32 [%rd5], 1;", 1, 1, OutOfBounds);
    fault("ld.global.u32 %r3, [%rd1+2];", 1, 1, Misaligned);
    fault("ld.global.v4.u32 {%r3, %r4, %r5, %r6}, [%rd1+8];", 1, 1, Misaligned);
    fine("add.u64 %rd5, %rd1, %rd3; ld.global.u32 %r3, [%rd5]; add.u64 %rd5, %rd2, %rd3; st.u32 [%rd5], %r3; ld.u32 %r4, [%rd5];", 1, 64);
}

#[test]
fn freed_memory() {
    let mut device = Device::new(&text("ld.global.u32 %r3, [%rd1];"));
    let x = device.words(&[1]);
    device.memory.free(x).unwrap();
    assert_eq!(device.launch("bad", [1, 1, 1], [32, 1, 1], &[Address(x), Address(x)]).unwrap_err().kind, Freed);
}

#[test]
fn registers_and_other_memories() {
    fault("add.s32 %r3, %r9, 1;", 1, 32, Uninitialised);
    let found = fault("setp.lt.u32 %p0, %r1, 7; @%p0 mov.u32 %r3, 1; st.global.u32 [%rd2], %r3;", 1, 32, Uninitialised);
    assert_eq!(found.thread, [7, 0, 0]);
    fault("@%p3 mov.u32 %r3, 1;", 1, 32, Uninitialised);
    fine("mov.u32 %r3, %r9; selp.b32 %r4, %r9, 1, 0;", 1, 32);
    fault("ld.shared.u32 %r3, [%rd4];", 1, 32, Uninitialised);
    fault("st.shared.u32 [%rd4+256], 1;", 1, 32, OutOfBounds);
    fault(".local .align 4 .b8 l[8]; ld.local.u32 %r3, [l];", 1, 32, Uninitialised);
    fault(".local .align 4 .b8 l[8]; st.local.u32 [l+8], 3;", 1, 32, OutOfBounds);
    fine(".local .align 4 .b8 l[8]; mov.u64 %rd5, l; cvta.local.u64 %rd5, %rd5; st.u32 [%rd5+4], %r1; ld.local.u32 %r3, [l+4];", 1, 32);
    fault("mov.u64 %rd5, x; ld.param.u64 %rd6, [%rd5+16];", 1, 32, OutOfBounds);
}

/// Thread i reads what thread 63 - i wrote.
const EXCHANGE: &str = "mov.u32 %r3, 63; sub.u32 %r3, %r3, %r1; mul.wide.u32 %rd5, %r3, 4; mov.u64 %rd6, s; add.u64 %rd6, %rd6, %rd5;";

#[test]
fn races_in_shared_memory() {
    let exchange = |sync: &str| format!("{EXCHANGE} st.shared.u32 [%rd4], %r1; {sync} ld.shared.u32 %r4, [%rd6];");
    // Without a barrier the reader may even come first.
    for seed in SEEDS {
        let found = run(&exchange(""), 1, 64, seed).unwrap_err();
        assert!(matches!(found.kind, SharedRace | Uninitialised), "{found}");
    }
    fault(&format!("st.shared.u32 [%rd4], 0; bar.sync 0; st.shared.u32 [%rd4], %r1; {EXCHANGE} ld.shared.u32 %r4, [%rd6];"), 1, 64, SharedRace);
    fine(&exchange("bar.sync 0;"), 1, 64);
    fine(&exchange("barrier.sync.aligned 3, 64;"), 1, 64);
    // Writing over what other warps still read.
    fault(&format!("{} st.shared.u32 [%rd4], 1;", exchange("bar.sync 0;")), 1, 64, SharedRace);
    fine(&format!("{} bar.sync 0; st.shared.u32 [%rd4], 1;", exchange("bar.sync 0;")), 1, 64);
    // Both warps write one word, even if it is the same value.
    fault("st.shared.u32 [s], 1;", 1, 64, SharedRace);
    fine(
        "setp.ne.u32 %p0, %r1, 0; @%p0 bra L; st.shared.u32 [s], 0; L: bar.sync 0; atom.shared.add.u32 %r3, [s], 1; bar.sync 0; ld.shared.u32 %r4, [s];",
        1,
        64,
    );
    fault(
        "setp.ne.u32 %p0, %r1, 0; @%p0 bra L; st.shared.u32 [s], 0; L: bar.sync 0; atom.shared.add.u32 %r3, [s], 1; ld.shared.u32 %r4, [s];",
        1,
        64,
        SharedRace,
    );
}

#[test]
fn races_within_a_warp() {
    let neighbour = "xor.b32 %r3, %r1, 1; mul.wide.u32 %rd5, %r3, 4; mov.u64 %rd6, s; add.u64 %rd6, %rd6, %rd5;";
    let exchange = |sync: &str| format!("{neighbour} st.shared.u32 [%rd4], %r1; {sync} ld.shared.u32 %r4, [%rd6];");
    fault(&exchange(""), 1, 32, SharedRace);
    fine(&exchange("bar.warp.sync 0xffffffff;"), 1, 32);
    fine(&exchange("shfl.sync.idx.b32 %r5, %r1, 0, 31, 0xffffffff;"), 1, 32);
    fault(&format!("{} st.shared.u32 [%rd4], 2;", exchange("bar.warp.sync -1;")), 1, 32, SharedRace);
    // One instruction: the same value may be written by many lanes, different ones may not.
    fine("st.shared.u32 [s], 7;", 1, 32);
    fault("st.shared.u32 [s], %r1;", 1, 32, SharedRace);
    // Bytes of one word belong to different lanes.
    fine("cvt.u64.u32 %rd5, %r1; mov.u64 %rd6, s; add.u64 %rd6, %rd6, %rd5; st.shared.u8 [%rd6], %r1;", 1, 64);
}

#[test]
fn races_between_blocks() {
    fault("st.global.u32 [%rd2], %r2;", 4, 1, GlobalRace);
    fault("st.global.u32 [%rd2], 3;", 2, 32, GlobalRace);
    fault("ld.global.u32 %r3, [%rd1]; setp.ne.u32 %p0, %r2, 1; @%p0 bra L; st.global.u32 [%rd1], %r3; L:", 3, 1, GlobalRace);
    fault("red.global.add.u32 [%rd1], 1; ld.global.u32 %r3, [%rd1];", 2, 1, GlobalRace);
    fine("red.global.add.u32 [%rd1], 1; ld.volatile.global.u32 %r3, [%rd1];", 4, 32);
    fine("mul.wide.u32 %rd5, %r2, 4; add.u64 %rd5, %rd2, %rd5; st.global.u32 [%rd5], %r2; ld.global.u32 %r3, [%rd1];", 8, 32);
    fine("cvt.u64.u32 %rd5, %r2; add.u64 %rd5, %rd2, %rd5; st.global.u8 [%rd5], %r2;", 8, 32);
    // The same in two launches is no race.
    let mut device = Device::new(&text("setp.ne.u32 %p0, %r2, 0; @%p0 ret; st.global.u32 [%rd2], %r2;"));
    let (x, y) = (device.words(&[1]), device.empty(1));
    for _ in 0..2 {
        device.launch("bad", [2, 1, 1], [1, 1, 1], &[Address(x), Address(y)]).unwrap();
    }
}

#[test]
fn barriers() {
    fault("setp.lt.u32 %p0, %r1, 32; @%p0 bar.sync 0;", 1, 64, DivergentBarrier);
    fault("setp.lt.u32 %p0, %r1, 40; @%p0 bar.sync 0;", 1, 64, DivergentBarrier);
    fault("setp.lt.u32 %p0, %r1, 40; @!%p0 ret; bar.sync 0;", 1, 64, DivergentBarrier);
    fault("setp.lt.u32 %p0, %r1, 32; @%p0 bra L;\n bar.sync 0; bra M;\n L: bar.sync 0;\n M:", 1, 64, DivergentBarrier);
    fault("setp.lt.u32 %p0, %r1, 32; @%p0 bra L;\n bar.sync 0; bra M;\n L: bar.sync 1;\n M:", 1, 64, DivergentBarrier);
    fault("barrier.sync 0, 96;", 1, 64, DivergentBarrier);
    // One warp signals, the other waits.
    fine(
        "setp.lt.u32 %p0, %r1, 32; @%p0 bra L;\n st.shared.u32 [%rd4], %r1; bar.arrive 1, 64; bra M;\n L: bar.sync 1, 64; ld.shared.u32 %r3, [%rd4+128];\n M:",
        1,
        64,
    );
    fine(
        "setp.lt.u32 %p0, %r1, 20; bar.red.popc.u32 %r3, 0, %p0; sub.u32 %r3, %r3, 20; mul.wide.u32 %rd5, %r3, 4096; add.u64 %rd5, %rd5, %rd1; ld.global.u32 %r4, [%rd5];",
        1,
        64,
    );
}

#[test]
fn masks() {
    fault("setp.lt.u32 %p0, %r1, 16; @!%p0 bra L; shfl.sync.bfly.b32 %r3, %r1, 8, 31, 0xffffffff; bra.uni M;\nL: mov.u32 %r3, 1;\nM:", 1, 32, WrongMask);
    fault("setp.lt.u32 %p0, %r1, 16; @%p0 ret; vote.sync.ballot.b32 %r3, %p0, 0xffffffff;", 1, 32, WrongMask);
    fault("bar.warp.sync 0xffff;", 1, 32, WrongMask);
    fault("setp.lt.u32 %p0, %r1, 16; @!%p0 bra M; shfl.sync.down.b32 %r3, %r1, 16, 31, 0xffff; M:", 1, 32, WrongMask);
    fault("setp.lt.u32 %p0, %r1, 16; @!%p0 bra M; shfl.sync.down.b32 %r3, %r1, 8, 31, 0xffff; M:", 1, 32, WrongMask);
    fine("setp.lt.u32 %p0, %r1, 16; @!%p0 bra M; shfl.sync.down.b32 %r3, %r1, 8, 0x100f, 0xffff; M:", 1, 32);
    // Both sides of a branch come to a barrier of the warp.
    fine("setp.lt.u32 %p0, %r1, 16; @!%p0 bra M; bar.warp.sync -1; bra N; M: bar.warp.sync -1; N:", 1, 32);
    // The mask of lanes that are there.
    fine("setp.lt.u32 %p0, %r1, 5; @!%p0 bra M; activemask.b32 %r3; redux.sync.add.u32 %r4, %r1, 31; M:", 1, 32);
}

#[test]
fn ends_and_launches() {
    let mut device = Device::new(&text("L: bra L;"));
    let x = device.empty(1);
    let kernel = device.module.kernel("bad").unwrap();
    let parameters = [x.to_le_bytes(), x.to_le_bytes()].concat();
    let good = Launch::new(&kernel, [1, 1, 1], [32, 1, 1], &parameters);
    let mut run = |launch: Launch| chainrule_ptx::run(&launch, &mut device.memory).unwrap_err();
    assert_eq!(run(Launch { instruction_bound: 1000, ..good }).kind, Endless);
    for launch in [
        Launch { grid: [0, 1, 1], ..good },
        Launch { block: [1, 1, 0], ..good },
        Launch { block: [1025, 1, 1], ..good },
        Launch { block: [1, 1, 65], ..good },
        Launch { block: [u32::MAX; 3], ..good },
        Launch { grid: [u32::MAX; 3], ..good },
        Launch { grid: [1, 65536, 1], ..good },
        Launch { dynamic_shared: 48 << 10, ..good },
        Launch { dynamic_shared: 227 << 10, shared_limit: u32::MAX, ..good },
        Launch { parameters: &parameters[..12], ..good },
    ] {
        let found = run(launch);
        assert_eq!((found.kind, found.kernel.as_str()), (BadLaunch, "bad"), "{found}");
    }
    assert_eq!(run(Launch { dynamic_shared: 200 << 10, shared_limit: 227 << 10, instruction_bound: 1000, ..good }).kind, Endless);
    fault("trap;", 1, 1, Trap);
}

#[test]
fn copies_arrive_at_the_wait() {
    let copy = "mov.u64 %rd5, s; mul.wide.u32 %rd6, %r1, 4; add.u64 %rd5, %rd5, %rd6; add.u64 %rd6, %rd1, %rd6; cp.async.ca.shared.global [%rd5], [%rd6], 4; cp.async.commit_group;";
    fine(&format!("{copy} cp.async.wait_group 0; ld.shared.u32 %r3, [%rd5];"), 1, 64);
    fine(&format!("{copy} cp.async.wait_all; bar.sync 0; ld.shared.u32 %r3, [s];"), 1, 64);
    fault(&format!("{copy} ld.shared.u32 %r3, [%rd5];"), 1, 64, Uninitialised);
    fault(&format!("{copy} cp.async.wait_group 1; ld.shared.u32 %r3, [%rd5];"), 1, 64, Uninitialised);
    fault(&format!("{copy} cp.async.wait_group 0; ld.shared.u32 %r3, [s+4];"), 1, 32, SharedRace);
    // Copying over what another warp still reads.
    fault(&format!("st.shared.u32 [%rd4], 1; bar.sync 0; ld.shared.u32 %r3, [s+252]; {copy} cp.async.wait_all;"), 1, 64, SharedRace);
}

#[test]
fn lanes_meet_again() {
    // Loops of different length per lane, then a shuffle of the whole warp: lanes must have met.
    fine(
        "mov.u32 %r3, 0; mov.u32 %r4, 0;\nA: add.u32 %r4, %r4, %r3; add.u32 %r3, %r3, 1; and.b32 %r5, %r3, 3; setp.eq.u32 %p1, %r5, 2; @%p1 bra B; add.u32 %r4, %r4, 1; B: setp.le.u32 %p0, %r3, %r1; @%p0 bra A;\n\
         shfl.sync.idx.b32 %r6, %r4, 0, 31, -1; vote.sync.all.pred %p2, %p0, -1;",
        1,
        96,
    );
    // Some lanes leave for good inside a loop.
    fine(
        "mov.u32 %r3, 0;\nA: add.u32 %r3, %r3, 1; setp.eq.u32 %p1, %r3, %r1; @%p1 ret; setp.lt.u32 %p0, %r3, 10; @%p0 bra A;\nactivemask.b32 %r4; vote.sync.ballot.b32 %r5, %p0, %r4;",
        1,
        32,
    );
    // A table of targets.
    fine(
        "and.b32 %r3, %r1, 3;\nT: .branchtargets A, B, A, C;\nbrx.idx %r3, T;\nA: mov.u32 %r4, 1; bra.uni D;\nB: mov.u32 %r4, 2; bra.uni D;\nC: mov.u32 %r4, 3;\nD: bar.sync 0; add.u32 %r4, %r4, 1;",
        1,
        64,
    );
    // A lane spins until another lane of its warp lets it go.
    fine(
        "setp.ne.u32 %p0, %r1, 0; @%p0 bra W; st.shared.u32 [s], 0; W: bar.warp.sync -1; @%p0 bra S;\nL: ld.volatile.shared.u32 %r3, [s]; setp.eq.u32 %p1, %r3, 0; @%p1 bra L; bra.uni E;\nS: atom.shared.exch.b32 %r4, [s], 1;\nE:",
        1,
        2,
    );
}
