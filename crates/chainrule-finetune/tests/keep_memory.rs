//! What freezing saves: no node, no saved activation, no gradient, no optimizer state. One test, because the figures are the whole process's.

use chainrule_autograd::{DType, Rng, Tape, Tensor};
use chainrule_core::memory::statistics;
use chainrule_finetune::{freeze, freeze_layers};
use chainrule_nn::{Layer, Linear, Module, TransformerEncoder, TransformerEncoderLayer};
use chainrule_optim::Adam;

#[derive(Module, Clone)]
struct Classifier {
    encoder: TransformerEncoder,
    head: Linear,
}

impl Layer for Classifier {
    fn forward(&self, x: &Tensor) -> chainrule_autograd::Result<Tensor> {
        self.head.forward(&self.encoder.forward(x)?.mean_over(&[1], false)?)
    }
}

/// What a step costs beside the weights.
#[derive(Debug)]
struct Cost {
    operations: usize,
    /// Bytes when the backward pass begins.
    activations: usize,
    gradients: usize,
    state: usize,
}

fn cost(model: &Classifier, x: &Tensor) -> Cost {
    let (mut model, rng, mut adam) = (model.clone(), &mut Rng::seeded(0), Adam::new(1e-3));
    let labels = Tensor::from_slice(&[0i64, 1, 1, 0], &[4]).unwrap();
    let before = statistics().live;
    let tape = Tape::training(rng);
    let loss = model.forward(&tape.input(x)).unwrap().cross_entropy(&labels).unwrap();
    let (operations, activations) = (tape.operations().len(), statistics().live - before);
    let gradients = loss.backward().unwrap();
    drop((loss, tape));
    let of_gradients = statistics().live - before;
    adam.step(&mut model, &gradients).unwrap();
    let state: usize = adam.state(&model).parameters.values().flat_map(|p| p.arrays.values()).map(|a| a.count() * a.dtype().size()).sum();
    assert_eq!(gradients.len(), adam.state(&model).parameters.len());
    Cost { operations, activations, gradients: of_gradients, state }
}

#[test]
fn freezing_saves_what_it_says() {
    let rng = &mut Rng::seeded(0);
    let layer = |rng: &mut Rng| TransformerEncoderLayer::new(32, 4, 64, rng);
    let mut model = Classifier { encoder: TransformerEncoder::new(4, || layer(rng)).unwrap(), head: Linear::new(32, 2, &mut Rng::seeded(1)).unwrap() };
    let x = Tensor::normal(&[4, 16, 32], 0.0, 1.0, DType::F32, &mut Rng::seeded(2)).unwrap();
    cost(&model, &x); // the first step also fills what later ones share
    let full = cost(&model, &x);

    freeze_layers(&mut model.encoder, "layers", ..2).unwrap();
    let half = cost(&model, &x);
    println!("{full:?}\n{half:?}");
    let share = |of: fn(&Cost) -> usize| of(&half) as f64 / of(&full) as f64;
    assert!((0.45..0.56).contains(&share(|c| c.operations)));
    assert!((0.45..0.56).contains(&share(|c| c.activations)));
    assert!((0.45..0.56).contains(&share(|c| c.gradients)));
    assert!((0.49..0.51).contains(&share(|c| c.state)));

    // A frozen backbone: what the head reads, and what the loss keeps.
    freeze(&mut model, "encoder.*").unwrap();
    let head = cost(&model, &x);
    println!("{head:?}");
    assert!(head.operations <= 6 && head.activations < 4096 && head.gradients < 1024, "{head:?}");
    assert_eq!(head.state, 2 * 4 * (32 * 2 + 2));

    // All frozen: nothing but the result.
    freeze(&mut model, "*").unwrap();
    let before = statistics().live;
    let tape = Tape::training(rng);
    let y = model.forward(&tape.input(&x)).unwrap();
    assert_eq!((tape.operations().len(), statistics().live - before), (0, 64));
    assert!(!y.needs_gradient() && y.sum().unwrap().backward().is_err());
}
