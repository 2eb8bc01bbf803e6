//! Tensors and gradients in one page.
//!
//!     cargo run --release --example tensor_tour

use chainrule::{DType, Result, Rng, Tape, Tensor};

fn main() -> Result<()> {
    // Made from numbers, or by a rule.
    let a = Tensor::from_slice(&[1f32, 2.0, 3.0, 4.0, 5.0, 6.0], &[2, 3])?;
    let b = Tensor::ones(&[3], DType::F32)?;
    let mut rng = Rng::seeded(42);
    let noise = Tensor::normal(&[2, 3], 0.0, 1.0, DType::F32, &mut rng)?;
    println!("a = {a:?}\nnoise = {noise:?}");

    // Shapes broadcast as in NumPy; views share memory.
    println!("a + b = {:?}", a.add(&b)?);
    println!("transposed = {:?}", a.transpose(0, 1)?);
    println!("second column = {:?}", a.select(1, 1)?);

    // Operators are sugar for your own arithmetic: `(a + b) * 2`.
    println!("(a + b) * 2 = {:?}", (&a + &b) * 2.0);

    // Matrix products, reductions, softmax.
    println!("a · aᵀ = {:?}", a.matmul(&a.transpose(0, 1)?)?);
    println!("column means = {:?}", a.mean_over(&[0], false)?);
    println!("softmax = {:?}", a.softmax(-1)?);

    // Gradients: what is on a tape is recorded. d/dx sum(x³) = 3 x².
    let tape = Tape::training(&mut rng);
    let x = tape.watch(&a);
    let gradients = x.powf(3.0)?.sum()?.backward()?;
    println!("3 a² = {:?}", gradients.wrt(&x));

    // Gradients of gradients: d²/dx² sum(x³) = 6 x.
    let tape = Tape::training(&mut rng);
    let x = tape.watch(&a);
    let slope = &x.powf(3.0)?.sum()?.gradients_of(&[&x])?[0];
    println!("6 a = {:?}", slope.sum()?.backward()?.wrt(&x));

    // Errors say what was got and what was expected.
    println!("error: {}", a.matmul(&b.reshape(&[1, 3])?).unwrap_err());
    Ok(())
}
