//! The smallest training program: fit a line through noisy points.
//!
//!     cargo run --release --example linear_regression

use chainrule::nn::{Layer, Linear};
use chainrule::optim::Sgd;
use chainrule::{DType, Result, Rng, Tape, Tensor};

fn main() -> Result<()> {
    // 200 points of y = 3 x₁ - 2 x₂ + 0.5 with noise.
    let mut rng = Rng::seeded(7);
    let x = Tensor::normal(&[200, 2], 0.0, 1.0, DType::F32, &mut rng)?;
    let slope = Tensor::from_slice(&[3f32, -2.0], &[2, 1])?;
    let noise = Tensor::normal(&[200, 1], 0.0, 0.1, DType::F32, &mut rng)?;
    let y = x.matmul(&slope)?.add_scalar(0.5)?.add(&noise)?;

    let mut model = Linear::new(2, 1, &mut rng)?;
    let mut sgd = Sgd::new(0.1);
    for step in 0..100 {
        let tape = Tape::training(&mut rng);
        let loss = model.forward(&tape.input(&x))?.mse(&y)?;
        if step % 20 == 0 {
            println!("step {step}: loss {:.5}", loss.item()?);
        }
        sgd.step(&mut model, &loss.backward()?)?;
    }
    println!("weight {:?}, expected about [3, -2]", model.weight.value);
    println!("bias {:?}, expected about [0.5]", model.bias.as_ref().map(|b| &b.value));
    Ok(())
}
