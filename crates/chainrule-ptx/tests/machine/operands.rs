//! One instruction over lists of operands: the text around it, and values at the edges.
use crate::device::{Argument::*, Device};

/// Instructions with what Rust says they compute.
pub type Table<'a, F> = &'a [(&'a str, F)];

/// What a register holds.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Word,
    Double,
    Predicate,
}

use Kind::*;

impl Kind {
    fn register(self) -> &'static str {
        match self {
            Word => ".b32",
            Double => ".b64",
            Predicate => ".pred",
        }
    }
}

/// Executes the lines with the registers %a, %b, %c, %e set to each case; gives %o.
pub fn evaluate(lines: &str, result: Kind, kinds: &[Kind], cases: &[Vec<u64>]) -> Vec<u64> {
    let mut text = String::from(
        ".version 8.1\n.target sm_80\n.address_size 64\n.visible .entry test(.param .u64 inputs, .param .u64 outputs, .param .u32 count) {\n\
         .reg .b32 %r<8>; .reg .b64 %rd<8>; .reg .pred %done; .reg .pred %p<4>;\n",
    );
    text += &format!(".reg {} %o;\n", result.register());
    for (name, kind) in ["a", "b", "c", "e"].iter().zip(kinds) {
        text += &format!(".reg {} %{name};\n", kind.register());
    }
    text += "ld.param.u64 %rd0, [inputs]; ld.param.u64 %rd1, [outputs]; ld.param.u32 %r0, [count];\n\
             mov.u32 %r1, %ctaid.x; mov.u32 %r2, %tid.x; mad.lo.u32 %r1, %r1, 64, %r2;\n\
             setp.ge.u32 %done, %r1, %r0; @%done exit;\n";
    text += &format!("mul.wide.u32 %rd2, %r1, {}; add.u64 %rd0, %rd0, %rd2; mul.wide.u32 %rd2, %r1, 8; add.u64 %rd1, %rd1, %rd2;\n", kinds.len() * 8);
    for (number, (name, kind)) in ["a", "b", "c", "e"].iter().zip(kinds).enumerate() {
        text += &match kind {
            Word => format!("ld.global.u32 %{name}, [%rd0+{}];\n", number * 8),
            Double => format!("ld.global.u64 %{name}, [%rd0+{}];\n", number * 8),
            Predicate => format!("ld.global.u32 %r3, [%rd0+{}]; setp.ne.u32 %{name}, %r3, 0;\n", number * 8),
        };
    }
    text += lines;
    text += match result {
        Word => "\ncvt.u64.u32 %rd3, %o; st.global.u64 [%rd1], %rd3; ret; }\n",
        Double => "\nst.global.u64 [%rd1], %o; ret; }\n",
        Predicate => "\nselp.u64 %rd3, 1, 0, %o; st.global.u64 [%rd1], %rd3; ret; }\n",
    };
    let mut device = Device::new(&text);
    let inputs = device.doubles(&cases.concat());
    let outputs = device.empty(cases.len() * 2);
    let blocks = cases.len().div_ceil(64) as u32;
    device
        .launch("test", [blocks, 1, 1], [64, 1, 1], &[Address(inputs), Address(outputs), Word32(cases.len() as u32)])
        .unwrap_or_else(|fault| panic!("{lines}: {fault}"));
    device.read_doubles(outputs, cases.len())
}

/// All combinations of the values.
pub fn combinations(values: &[&[u64]]) -> Vec<Vec<u64>> {
    values
        .iter()
        .fold(vec![Vec::new()], |cases, values| cases.iter().flat_map(|case| values.iter().map(move |&value| [&case[..], &[value]].concat())).collect())
}

pub const WORDS: &[u64] = &[
    0,
    1,
    2,
    3,
    7,
    8,
    15,
    16,
    31,
    32,
    33,
    63,
    64,
    100,
    127,
    128,
    255,
    256,
    0x7fff,
    0x8000,
    0xffff,
    0x1_0000,
    0xff_ffff,
    0x100_0000,
    0x1234_5678,
    0x7fff_ffff,
    0x8000_0000,
    0x8000_0001,
    0xdead_beef,
    0xffff_fff0,
    0xffff_fffe,
    0xffff_ffff,
];

pub const DOUBLES: &[u64] = &[
    0,
    1,
    2,
    5,
    31,
    63,
    64,
    65,
    1000,
    0x7fff_ffff,
    0x8000_0000,
    0xffff_ffff,
    0x1_0000_0000,
    0x1234_5678_9abc_def0,
    0x7fff_ffff_ffff_ffff,
    0x8000_0000_0000_0000,
    0x8000_0000_0000_0001,
    0xffff_ffff_ffff_fff0,
    0xffff_ffff_ffff_ffff,
];

/// Bits of f32: zeros, subnormals, ties, limits, infinities, NaN.
pub const SINGLES: &[u64] = &[
    0,
    0x8000_0000,
    1,
    0x8000_0001,
    0x007f_ffff,
    0x0080_0000,
    0x3f80_0000,
    0xbf80_0000,
    0x3f80_0001,
    0x3fc0_0000,
    0xbfc0_0000,
    0x4020_0000,
    0x3f00_0000,
    0x3dcc_cccd,
    0x4049_0fdb,
    0xc2f6_e979,
    0x4b80_0000,
    0x4b00_0001,
    0x4f00_0000,
    0xcf00_0000,
    0x4f7f_ffff,
    0x5f00_0000,
    0x7149_f2ca,
    0xf149_f2ca,
    0x7f7f_ffff,
    0xff7f_ffff,
    0x7f80_0000,
    0xff80_0000,
    0x7fc0_0000,
    0x3380_0000,
    0x3eaa_aaab,
];

pub const WIDE_FLOATS: &[f64] = &[
    0.0,
    -0.0,
    1.0,
    -1.0,
    1.5,
    -2.5,
    0.1,
    1e-310,
    2.2250738585072014e-308,
    1e16,
    1e300,
    -1e300,
    std::f64::consts::PI,
    4294967296.5,
    1e-20,
    f64::MAX,
    f64::MIN,
    f64::INFINITY,
    f64::NEG_INFINITY,
    f64::NAN,
    f64::EPSILON,
    9007199254740993.0,
];

pub fn single(bits: u64) -> f32 {
    f32::from_bits(bits as u32)
}

pub fn same_single(got: u64, wanted: f32) -> bool {
    single(got).to_bits() == wanted.to_bits() || single(got).is_nan() && wanted.is_nan()
}

pub fn same_double(got: u64, wanted: f64) -> bool {
    got == wanted.to_bits() || f64::from_bits(got).is_nan() && wanted.is_nan()
}
