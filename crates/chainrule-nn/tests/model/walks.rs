//! Walks by path: freezing, counting, identities, errors.

use chainrule_autograd::{DType, Rng, Tape, Tensor};
use chainrule_nn::*;

#[derive(Module, Clone)]
struct Block {
    query: Linear,
    value: Linear,
}
#[derive(Module, Clone)]
struct Encoder {
    layer: Vec<Block>,
    norm: BatchNorm1d,
    classifier: Linear,
}
impl Layer for Encoder {
    fn forward(&self, x: &Tensor) -> chainrule_autograd::Result<Tensor> {
        let mut x = x.clone();
        for block in &self.layer {
            x = block.query.forward(&x)?.tanh()?.add(&block.value.forward(&x)?)?;
        }
        self.classifier.forward(&self.norm.forward(&x)?)
    }
}

fn encoder() -> Encoder {
    let rng = &mut Rng::seeded(1);
    let mut linear = |o| Linear::new(3, o, rng).unwrap();
    let layer = (0..3).map(|_| Block { query: linear(3), value: linear(3) }).collect();
    Encoder { layer, norm: BatchNorm1d::new(3).unwrap(), classifier: linear(2) }
}

fn trainable(model: &dyn Module) -> Vec<String> {
    let mut paths = Vec::new();
    params(model, |path, param| {
        if param.trainable {
            paths.push(path.to_string())
        }
    });
    paths
}

#[test]
fn patterns_freeze_and_unfreeze() {
    let mut model = encoder();
    assert_eq!(count(&model), Count { all: 6 * 12 + 6 + 8, trainable: 86 });
    assert_eq!(freeze(&mut model, "*").unwrap(), 16);
    assert_eq!(unfreeze(&mut model, "layer.{0,2}.{query,value}.bias").unwrap(), 4);
    assert_eq!(unfreeze(&mut model, "classifier.*").unwrap(), 2);
    let expected = ["layer.0.query.bias", "layer.0.value.bias", "layer.2.query.bias", "layer.2.value.bias", "classifier.weight", "classifier.bias"];
    assert_eq!(trainable(&model), expected);
    assert_eq!(count(&model).trainable, 12 + 8);
    // Buffers are never trained.
    assert_eq!(
        unfreeze(&mut model, "norm.running*").unwrap_err().to_string().split(';').next(),
        Some("unfreeze: the pattern \"norm.running*\" matches no parameter")
    );
}

#[test]
fn a_pattern_without_a_match_names_what_is_near() {
    let mut model = encoder();
    for (pattern, near) in
        [("clasifier.*", "classifier"), ("*.qurey.weight", "layer.0.query.weight"), ("classifier", "classifier.*"), ("layer.0.{qery,valu}", "layer.0.value")]
    {
        let before = trainable(&model);
        let error = freeze(&mut model, pattern).unwrap_err();
        assert!(error.to_string().contains(&format!("\"{near}\"")), "{error}");
        assert_eq!(trainable(&model), before);
    }
    assert!(freeze(&mut model, "xyzzy").unwrap_err().to_string().ends_with("matches no parameter"));
    assert!(matches!(freeze(&mut model, "a{b"), Err(Error::Pattern { .. })));
}

#[test]
fn frozen_lower_layers_record_nothing() {
    let mut model = encoder();
    let x = Tensor::uniform(&[4, 3], -1.0, 1.0, DType::F32, &mut Rng::seeded(2)).unwrap();
    let operations = |model: &Encoder| {
        let tape = Tape::training(&mut Rng::seeded(0));
        model.run(&tape.input(&x)).unwrap();
        tape.operations().len()
    };
    let all = operations(&model);
    freeze(&mut model, "layer.*").unwrap();
    let some = operations(&model);
    // Weight, bias and product of the norm and of the classifier.
    assert_eq!(some, 6);
    assert!(all > some + 15);
}

#[test]
fn copies_of_one_identity_do_not_mix_and_independent_ones_do() {
    let model = encoder();
    let x = Tensor::uniform(&[4, 3], -1.0, 1.0, DType::F32, &mut Rng::seeded(2)).unwrap();
    let mut other = model.clone();
    params_mut(&mut other, |_, p| p.initialise(Init::Constant(0.1), &mut Rng::seeded(0)).unwrap());
    let tape = Tape::training(&mut Rng::seeded(0));
    model.run(&tape.input(&x)).unwrap();
    let error = other.run(&tape.input(&x)).unwrap_err().to_string();
    assert!(error.starts_with("layer.0.query: ") && error.contains("independent"), "{error}");
    let other = independent(&other);
    assert_eq!(trainable(&other), trainable(&model));
    other.run(&tape.input(&x)).unwrap();
    // Also the buffers are apart.
    assert_ne!(other.norm.running_mean.unwrap().id, model.norm.running_mean.unwrap().id);
}

#[test]
fn errors_name_the_layer() {
    let mut model = encoder();
    let x = Tensor::ones(&[4, 3], DType::F32).unwrap();
    model.layer[1].value = Linear::new(2, 3, &mut Rng::seeded(0)).unwrap();
    let error = model.run(&x).unwrap_err();
    assert!(matches!(&error, Error::Located { path, .. } if path == "layer.1.value"), "{error}");
    assert!(error.to_string().contains("[3, 2]"), "{error}");
    // An error of another model stays as it is.
    let other = encoder();
    assert!(matches!(locate(&other, model.forward(&x).unwrap_err()), Error::Autograd(_)));
}
