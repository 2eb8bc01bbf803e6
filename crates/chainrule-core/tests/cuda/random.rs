//! Random numbers and dropout: the CPU's numbers.

use crate::support::*;
use chainrule_core::random::{Stream, dropout, normal, normal_on, uniform, uniform_on};
use chainrule_core::{Array, DType, Device, Rng};

#[test]
fn masks_are_the_cpus() {
    for count in [0usize, 1, 3, 16, 17, 63, 64, 65, 100, 1000, 4099] {
        let x = noise(&[count], count as u64);
        for (rate, stream) in [(0.3, Stream::from(99)), (0.5, Stream { key: 7 << 40, number: 3 }), (0.0, Stream::from(1)), (1.0, Stream::from(1))] {
            agree(&format!("dropout of {count}"), 0.0, [&x], |[x]| Ok(vec![dropout(x, rate, stream)?]));
        }
    }
    let x = noise(&[9, 31], 1);
    agree("of views", 0.0, [&x], |[x]| {
        Ok(vec![dropout(&x.narrow(0, 1, 5)?, 0.4, 5)?, dropout(&x.narrow(0, 1, 1)?, 0.4, 5)?, dropout(&x.transpose(0, 1)?, 0.4, 5)?])
    });
    let special = Array::from_slice(&[f32::NAN, f32::INFINITY, f32::NEG_INFINITY, -0.0], &[4]).unwrap().broadcast_to(&[10, 4]).unwrap();
    agree("of NaN and infinity", 0.0, [&special], |[x]| Ok(vec![dropout(x, 0.5, 3)?]));
}

#[test]
fn numbers_are_the_cpus() {
    let Some(gpu) = gpu() else { return };
    let floats = |x: Array| x.to(&Device::Cpu).unwrap().to_vec::<f32>().unwrap();
    for count in [0usize, 1, 17, 64, 1000, 4099] {
        let two = || (Rng::seeded(count as u64), Rng::seeded(count as u64));
        let (mut a, mut b) = two();
        let got = floats(uniform_on(&[count], -1.5, 2.25, DType::F32, &mut a, &gpu).unwrap());
        let want = floats(uniform(&[count], -1.5, 2.25, DType::F32, &mut b).unwrap());
        assert_eq!(got, want);
        assert_eq!(a, b, "the source goes on alike");
        let (mut a, mut b) = two();
        let got = floats(normal_on(&[count], 0.5, 2.0, DType::F32, &mut a, &gpu).unwrap());
        let want = floats(normal(&[count], 0.5, 2.0, DType::F32, &mut b).unwrap());
        let apart = got.iter().zip(&want).filter(|(g, w)| g != w).count();
        assert!(got.iter().zip(&want).all(|(g, w)| (g.to_bits() as i64 - w.to_bits() as i64).abs() <= 1), "more than the last bit");
        assert!(apart <= 1, "{apart} of {count} differ in the last bit");
    }
    let error = uniform_on(&[3], 0.0, 1.0, DType::F64, &mut Rng::seeded(0), &gpu).unwrap_err().to_string();
    assert!(error.contains("f32 on a GPU"), "{error}");
    let double = Array::ones(&[3], DType::F64).unwrap().to(&gpu).unwrap();
    assert!(dropout(&double, 0.5, 1).unwrap_err().to_string().contains("f32 on a GPU"));
}
