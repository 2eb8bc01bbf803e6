//! What the tape costs: nanoseconds an operation on 16 numbers. `cargo run --release -p chainrule-autograd --example cost`

use chainrule_autograd::{Array, DType, Result, Rng, Tape, Tensor};
use chainrule_core::ops::elementwise::{Binary, Unary, binary, unary, unary_backward};
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

/// `forward` and `backward` are the kernels alone; `operation` runs both through a tape.
fn report(
    name: &str,
    array: &Array,
    forward: impl Fn(&Array) -> Result<Array>,
    backward: impl Fn(&Array) -> Result<Array>,
    operation: impl Fn(&Tensor) -> Result<Tensor> + Copy,
) -> Result<()> {
    let mut rng = Rng::seeded(0);
    let repeat = |f: &dyn Fn(&Array) -> Result<Array>| {
        let mut x = array.clone();
        for _ in 0..OPERATIONS {
            x = f(&x)?;
        }
        black_box(x);
        Ok(())
    };
    let bare = measure(|| repeat(&forward))?;
    let both_bare = bare + measure(|| repeat(&backward))?;
    let off = measure(|| black_box(chain(array.into(), operation)).map(drop))?;
    let constant = measure(|| black_box(chain(Tape::training(&mut rng).input(array), operation)).map(drop))?;
    let recorded = measure(|| {
        let tape = Tape::training(&mut rng);
        black_box(chain(tape.watch(array), operation)).map(drop)
    })?;
    let both = measure(|| {
        let tape = Tape::training(&mut rng);
        black_box(chain(tape.watch(array), operation)?.sum()?.backward()).map(drop)
    })?;
    println!("{name:<8} bare {bare:4.0}   off the tape {off:4.0}   constant on it {constant:4.0}   recorded {recorded:4.0}: recording {:.0}", recorded - bare);
    println!("{:8} bare forward + backward {both_bare:4.0}   on a tape {both:4.0}: the tape {:.0}", "", both - both_bare);
    Ok(())
}

fn main() -> Result<()> {
    let x = Array::full(&[16], 0.5, DType::F32)?;
    let (constant, relu) = (Tensor::from(&x), Unary::Relu {});
    println!("nanoseconds an operation on 16 numbers; Tensor is {} bytes, Array {}", size_of::<Tensor>(), size_of::<Array>());
    let affine = |x: &Array| Ok(unary(Unary::Affine { scale: 1.0001, shift: 0.0 }, x)?);
    report("affine", &x, affine, affine, |x| x.mul_scalar(1.0001))?;
    report("relu", &x, |x| Ok(unary(relu, x)?), |g| Ok(unary_backward(relu, g, &x)?), |x| x.relu())?;
    report("add", &x, |y| Ok(binary(Binary::Add, y, &x)?), |g| Ok(g.clone()), |y| y.add(&constant))?;
    Ok(())
}
