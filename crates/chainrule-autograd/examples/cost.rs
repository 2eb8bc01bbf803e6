//! What the tape costs: nanoseconds an operation on 16 numbers. `cargo run --release -p chainrule-autograd --example cost`

use chainrule_autograd::{Array, DType, Result, Rng, Tape, Tensor};
use chainrule_core::ops::elementwise::{Binary, Unary, binary, unary};
use std::hint::black_box;
use std::time::Instant;

const OPERATIONS: usize = 1000;

/// The least of many runs, an operation.
fn measure(mut run: impl FnMut() -> Result<()>) -> Result<f64> {
    let mut least = f64::MAX;
    for _ in 0..200 {
        let start = Instant::now();
        run()?;
        least = least.min(start.elapsed().as_nanos() as f64 / OPERATIONS as f64);
    }
    Ok(least)
}

fn chain(mut x: Tensor, f: impl Fn(&Tensor) -> Result<Tensor>) -> Result<Tensor> {
    for _ in 0..OPERATIONS {
        x = f(&x)?;
    }
    Ok(x)
}

fn report(name: &str, array: &Array, bare: impl Fn(&Array) -> Result<Array>, f: impl Fn(&Tensor) -> Result<Tensor> + Copy) -> Result<()> {
    let mut rng = Rng::seeded(0);
    let alone = measure(|| {
        let mut x = array.clone();
        for _ in 0..OPERATIONS {
            x = bare(&x)?;
        }
        black_box(x);
        Ok(())
    })?;
    let off = measure(|| black_box(chain(array.into(), f)).map(drop))?;
    let constant = measure(|| black_box(chain(Tape::training(&mut rng).input(array), f)).map(drop))?;
    let recorded = measure(|| {
        let tape = Tape::training(&mut rng);
        black_box(chain(tape.watch(array), f)).map(drop)
    })?;
    let both = measure(|| {
        let tape = Tape::training(&mut rng);
        black_box(chain(tape.watch(array), f)?.sum()?.backward()).map(drop)
    })?;
    println!(
        "{name:<12} bare {alone:5.0}   off the tape {off:5.0}   constant on it {constant:5.0}   recorded {recorded:5.0} (recording {:.0})   with backward {both:5.0} (tape {:.0})",
        recorded - alone,
        both - 2.0 * alone
    );
    Ok(())
}

fn main() -> Result<()> {
    let x = Array::full(&[16], 0.5, DType::F32)?;
    println!("nanoseconds an operation on 16 numbers; Tensor is {} bytes, Array {}", size_of::<Tensor>(), size_of::<Array>());
    report("affine", &x, |x| Ok(unary(Unary::Affine { scale: 1.0001, shift: 0.0 }, x)?), |x| x.mul_scalar(1.0001))?;
    report("relu", &x, |x| Ok(unary(Unary::Relu {}, x)?), |x| x.relu())?;
    report("add", &x, |x| Ok(binary(Binary::Add, x, x)?), |x| x.add(x))?;
    Ok(())
}
