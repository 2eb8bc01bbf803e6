//! A layer and a differentiable operation of your own, outside the library.
//!
//!     cargo run --release --example custom_layer

use chainrule::nn::{Layer, Linear, Module, Sequential};
use chainrule::optim::Adam;
use chainrule::{DType, Keep, Result, Rng, Tape, Tensor, TensorError, gradcheck};

/// An operation: `x / (1 + |x|)`, called softsign. Its rule reads the input back from the pass and is written in tensor operations, so that gradients of gradients work too.
fn softsign(x: &Tensor) -> std::result::Result<Tensor, TensorError> {
    let input = x.detach();
    let output = input.div(&input.abs()?.add_scalar(1.0)?)?.into_array();
    Tensor::record("softsign", [x], Keep::FIRST, output, |pass| {
        let slope = pass.input(0)?.abs()?.add_scalar(1.0)?.square()?.reciprocal()?;
        Ok([Some(pass.grad().mul(&slope)?)])
    })
}

/// A layer: `value(x) · softsign(gate(x))`. The derive gives its parameters the paths `value.weight`, `value.bias`, `gate.weight`, `gate.bias`.
#[derive(Module, Clone)]
struct Gated {
    value: Linear,
    gate: Linear,
}

impl Gated {
    fn new(inputs: usize, outputs: usize, rng: &mut Rng) -> Result<Gated> {
        Ok(Gated { value: Linear::new(inputs, outputs, rng)?, gate: Linear::new(inputs, outputs, rng)? })
    }
}

impl Layer for Gated {
    fn forward(&self, x: &Tensor) -> std::result::Result<Tensor, TensorError> {
        self.value.forward(x)?.mul(&softsign(&self.gate.forward(x)?)?)
    }
}

fn main() -> Result<()> {
    let mut rng = Rng::seeded(3);
    // The rule against numerical differences, in double precision.
    gradcheck(&[Tensor::normal(&[3, 4], 0.0, 1.0, DType::F64, &mut rng)?], |x| softsign(&x[0]))?;
    println!("softsign: the rule agrees with numerical differences");

    // The product of two inputs, which no linear model can learn.
    let x = Tensor::uniform(&[256, 2], -1.0, 1.0, DType::F32, &mut rng)?;
    let y = x.select(1, 0)?.mul(&x.select(1, 1)?)?.reshape(&[256, 1])?;
    let mut model = Sequential::new().add(Gated::new(2, 16, &mut rng)?).add(Linear::new(16, 1, &mut rng)?);
    let mut adam = Adam::new(0.02);
    for step in 0..=400 {
        let tape = Tape::training(&mut rng);
        let loss = model.forward(&tape.input(&x))?.mse(&y)?;
        if step % 100 == 0 {
            println!("step {step}: loss {:.6}", loss.item()?);
        }
        adam.step(&mut model, &loss.backward()?)?;
    }
    Ok(())
}
