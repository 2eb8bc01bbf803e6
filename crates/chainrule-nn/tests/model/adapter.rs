//! Adapter slots, with a LoRA as another crate would write it.

use chainrule_autograd::{Array, Conv2d as Window, DType, Error, GradCheck, Result, Rng, Tape, Tensor};
use chainrule_core::ops::elementwise::{Binary, binary};
use chainrule_nn::*;

/// `W x + b + scale B A x` for linear layers and convolutions (Hu et al. 2021).
#[derive(Module, Clone)]
struct Lora {
    lora_a: Param,
    lora_b: Param,
    scale: f64,
}

impl Lora {
    fn new(operation: &Operation, weight: &Param, rank: usize, rng: &mut Rng) -> Result<Lora> {
        let dims = weight.value.dims();
        let (a, b) = match operation {
            Operation::Linear => (vec![rank, dims[1]], vec![dims[0], rank]),
            Operation::Conv2d(_) => (vec![rank, dims[1], dims[2], dims[3]], vec![dims[0], rank, 1, 1]),
            other => return Err(Error::value("lora", format!("{other:?} is not adapted"))),
        };
        let dtype = weight.value.dtype();
        Ok(Lora { lora_a: Param::new(Init::layer_default().array(&a, dtype, rng)?), lora_b: Param::new(Array::zeros(&b, dtype)?), scale: 2.0 })
    }
}

impl Adapter for Lora {
    fn adapt(&self, x: &Tensor, site: &Site) -> Result<Tensor> {
        let up = if let Operation::Conv2d(_) = site.operation { Operation::Conv2d(Window::default()) } else { site.operation };
        let low = site.operation.apply(x, &self.lora_a.on(x)?, None)?;
        site.forward(x)?.add(&up.apply(&low, &self.lora_b.on(x)?, None)?.mul_scalar(self.scale)?)
    }
    fn merged(&self, weight: &Tensor) -> Result<Tensor> {
        let rank = self.lora_a.value.dims()[0];
        let a = self.lora_a.on(weight)?.reshape(&[rank, weight.count() / weight.dims()[0]])?;
        let b = self.lora_b.on(weight)?.reshape(&[weight.dims()[0], rank])?;
        weight.add(&b.matmul(&a)?.mul_scalar(self.scale)?.reshape(weight.dims())?)
    }
}

/// Scales the input: needs the operation itself, not only its result.
#[derive(Module, Clone)]
struct Ia3 {
    l: Param,
}
impl Adapter for Ia3 {
    fn adapt(&self, x: &Tensor, site: &Site) -> Result<Tensor> {
        site.forward(&x.mul(&self.l.on(x)?)?)
    }
    fn merged(&self, weight: &Tensor) -> Result<Tensor> {
        weight.mul(&self.l.on(weight)?)
    }
}

fn attach(model: &mut dyn Module, pattern: &str) -> Vec<String> {
    struct Attach(Pattern, Rng, Vec<String>);
    impl VisitorMut for Attach {
        fn adapter(&mut self, path: &str, site: SiteMut) {
            if self.0.matches(path) {
                *site.adapter = Some(Box::new(Lora::new(&site.operation, site.weight, 2, &mut self.1).unwrap()));
                self.2.push(path.to_string());
            }
        }
    }
    let mut visitor = Attach(Pattern::new(pattern).unwrap(), Rng::seeded(4), vec![]);
    model.visit_mut(&mut Path::default(), &mut visitor);
    visitor.2
}

fn merge(model: &mut dyn Module) {
    struct Merge;
    impl VisitorMut for Merge {
        fn adapter(&mut self, _: &str, site: SiteMut) {
            if let Some(adapter) = site.adapter.take() {
                site.weight.value = adapter.merged(&Tensor::from(&site.weight.value)).unwrap().into_array();
            }
        }
    }
    model.visit_mut(&mut Path::default(), &mut Merge);
}

fn model() -> (Sequential, Tensor) {
    let rng = &mut Rng::seeded(3);
    let conv = Conv2d::new(2, 3, 3, rng).unwrap().stride([2, 1]).padding(1);
    let mut model = Sequential::new().add(conv).add(Tanh).add(Flatten::new()).add(Linear::new(36, 4, rng).unwrap());
    to_dtype(&mut model, DType::F64).unwrap();
    (model, Tensor::uniform(&[2, 2, 6, 4], -1.0, 1.0, DType::F64, rng).unwrap())
}

fn values(tensor: &Tensor) -> Vec<f64> {
    tensor.to_vec().unwrap()
}

#[test]
fn an_adapter_starts_as_the_identity_trains_alone_merges_and_comes_off() {
    let (mut model, x) = model();
    let base = values(&model.run(&x).unwrap());
    let original = model.clone();
    freeze(&mut model, "*").unwrap();
    assert_eq!(attach(&mut model, "{0,3}"), ["0", "3"]);
    assert_eq!(values(&model.run(&x).unwrap()), base);

    let tape = Tape::training(&mut Rng::seeded(0));
    let gradients = model.run(&tape.input(&x)).unwrap().square().unwrap().sum().unwrap().backward().unwrap();
    let mut trained = Vec::new();
    params_mut(&mut model, |path, param| {
        if let Some(gradient) = gradients.get(param.id) {
            trained.push(path.to_string());
            param.value = binary(Binary::Add, &param.value, gradient).unwrap();
        }
    });
    assert_eq!(trained, ["0.lora_a", "0.lora_b", "3.lora_a", "3.lora_b"]);
    let adapted = values(&model.run(&x).unwrap());
    assert!(adapted.iter().zip(&base).all(|(a, b)| a != b));

    let mut merged = model.clone();
    merge(&mut merged);
    assert_eq!(state_dict(&merged).unwrap().len(), 4);
    for (a, b) in values(&merged.run(&x).unwrap()).iter().zip(&adapted) {
        assert!((a - b).abs() < 1e-12 * (1.0 + b.abs()), "{a} {b}");
    }

    let mut bare = model;
    struct Detach;
    impl VisitorMut for Detach {
        fn adapter(&mut self, _: &str, site: SiteMut) {
            *site.adapter = None;
        }
    }
    bare.visit_mut(&mut Path::default(), &mut Detach);
    assert_eq!(values(&bare.run(&x).unwrap()), base);
    assert!(state_dict(&bare).unwrap().iter().all(|(path, array)| array.is_same(&state_dict(&original).unwrap()[path])));
}

#[test]
fn gradients_through_adapted_layers() {
    let (mut model, x) = model();
    attach(&mut model, "*");
    params_mut(&mut model, |path, param| {
        if path.contains("lora_b") {
            param.initialise(Init::Uniform { low: -0.5, high: 0.5 }, &mut Rng::seeded(8)).unwrap();
        }
    });
    gradcheck_model(&GradCheck::default(), &model, |model, tape| model.forward(&tape.input(&x))).unwrap();
}

#[test]
fn an_adapter_may_change_what_goes_in() {
    let rng = &mut Rng::seeded(3);
    let mut linear = Linear::new(3, 2, rng).unwrap();
    let x = Tensor::uniform(&[4, 3], -1.0, 1.0, DType::F32, rng).unwrap();
    linear.adapter = Some(Box::new(Ia3 { l: Param::new(Array::from_slice(&[2f32, -1.0, 0.5], &[3]).unwrap()) }));
    let adapted = linear.run(&x).unwrap().to_vec::<f32>().unwrap();
    merge(&mut linear);
    assert!(linear.adapter.is_none());
    for (a, b) in linear.run(&x).unwrap().to_vec::<f32>().unwrap().iter().zip(adapted) {
        assert!((a - b).abs() < 1e-6);
    }
}

#[test]
fn slots_show_themselves_and_adapters_keep_their_type() {
    struct Sites(Vec<String>);
    impl Visitor for Sites {
        fn adapter(&mut self, path: &str, site: Site, adapter: Option<&dyn AnyAdapter>) {
            let lora = adapter.and_then(|a| (a as &dyn std::any::Any).downcast_ref::<Lora>());
            self.0.push(format!("{path} {:?} bias {} lora {:?}", site.weight.value.dims(), site.bias.is_some(), lora.map(|l| l.scale)));
        }
    }
    let (mut model, _) = model();
    model.layers.push(Box::new(Embedding::new(5, 2, &mut Rng::seeded(0)).unwrap()));
    attach(&mut model, "3");
    let mut sites = Sites(vec![]);
    model.visit(&mut Path::default(), &mut sites);
    assert_eq!(sites.0, ["0 [3, 2, 3, 3] bias true lora None", "3 [4, 36] bias true lora Some(2.0)", "4 [5, 2] bias false lora None"]);
}
