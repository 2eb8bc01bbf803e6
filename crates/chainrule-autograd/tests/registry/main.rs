//! Every operation against central differences, first and second order: with asymmetric parameters, sizes 0 and 1, broadcasting, ties, strided views, and each input used twice.
//!
//! The last test fails when an operation of the sources was recorded by none of the cases.

mod attention;
mod composed;
mod elementwise;
#[cfg(feature = "cuda")]
mod gpu;
mod image;
mod index;
mod lookups;
mod losses;
mod norms;
mod product;
mod quantise;
mod recurrent;
mod reduce;
mod shape;
mod sort;
mod windows;

use chainrule_autograd::{Array, DType, Error, GradCheck, Result, Rng, Tape, Tensor};
use std::collections::BTreeSet;

/// What is differentiated.
type Function = Box<dyn Fn(&[Tensor]) -> Result<Tensor>>;

/// An operation with inputs.
pub struct Case {
    name: String,
    inputs: Vec<Tensor>,
    function: Function,
    training: bool,
    /// Its rule is one fused kernel: a second derivative is an error.
    first_order: bool,
}

/// The table.
#[derive(Default)]
pub struct Cases(Vec<Case>);

impl Cases {
    fn add(&mut self, name: impl Into<String>, inputs: Vec<Tensor>, function: impl Fn(&[Tensor]) -> Result<Tensor> + 'static) {
        self.0.push(Case { name: name.into(), inputs, function: Box::new(function), training: false, first_order: false });
    }
    fn add_training(&mut self, name: impl Into<String>, inputs: Vec<Tensor>, function: impl Fn(&[Tensor]) -> Result<Tensor> + 'static) {
        self.0.push(Case { name: name.into(), inputs, function: Box::new(function), training: true, first_order: false });
    }
    fn add_first_order(&mut self, name: impl Into<String>, inputs: Vec<Tensor>, function: impl Fn(&[Tensor]) -> Result<Tensor> + 'static) {
        self.0.push(Case { name: name.into(), inputs, function: Box::new(function), training: false, first_order: true });
    }
}

/// Numbers in -1..1 without a pattern.
fn numbers(dims: &[usize]) -> Tensor {
    Tensor::uniform(dims, -1.0, 1.0, DType::F64, &mut Rng::seeded(dims.iter().fold(3, |s, d| s * 31 + *d as u64))).unwrap()
}
/// The same from another seed.
fn others(dims: &[usize]) -> Tensor {
    Tensor::uniform(dims, -1.0, 1.0, DType::F64, &mut Rng::seeded(dims.iter().fold(5, |s, d| s * 37 + *d as u64))).unwrap()
}
/// In 0.2..0.9.
fn positive(dims: &[usize]) -> Tensor {
    Tensor::uniform(dims, 0.2, 0.9, DType::F64, &mut Rng::seeded(9 + dims.len() as u64)).unwrap()
}
/// No two numbers close to each other, none close to an integer: for kinks and maxima.
fn apart(dims: &[usize]) -> Tensor {
    let count: usize = dims.iter().product();
    let order = Rng::seeded(11 + count as u64).permutation(count);
    let values: Vec<f64> = order.iter().map(|&i| (i as f64 - count as f64 / 2.0 + 0.27) * (4.3 / count.max(1) as f64)).collect();
    Tensor::from_slice(&values, dims).unwrap()
}
fn integers(values: &[i64], dims: &[usize]) -> Tensor {
    Tensor::from_slice(values, dims).unwrap()
}

fn cases() -> Vec<Case> {
    let mut cases = Cases::default();
    elementwise::add(&mut cases);
    reduce::add(&mut cases);
    shape::add(&mut cases);
    sort::add(&mut cases);
    index::add(&mut cases);
    product::add(&mut cases);
    quantise::add(&mut cases);
    image::add(&mut cases);
    attention::add(&mut cases);
    recurrent::add(&mut cases);
    windows::add(&mut cases);
    composed::add(&mut cases);
    norms::add(&mut cases);
    lookups::add(&mut cases);
    losses::add(&mut cases);
    cases.0
}

/// The same numbers as a view with negative strides.
fn as_view(x: &Tensor) -> Tensor {
    let axes: Vec<isize> = (0..x.rank() as isize).collect();
    x.flip(&axes).and_then(|y| Ok(Tensor::from(y.array().contiguous()?))).and_then(|y| y.flip(&axes)).unwrap()
}

impl Case {
    fn check(&self) -> Vec<String> {
        let check = GradCheck { training: self.training, ..GradCheck::default() };
        let views: Vec<Tensor> = self.inputs.iter().map(as_view).collect();
        let twice = |x: &[Tensor]| (self.function)(x)?.add(&(self.function)(x)?.mul_scalar(0.3)?);
        let runs = [
            ("first order", check.first(&self.inputs, &self.function)),
            ("views", check.first(&views, &self.function)),
            ("used twice", check.first(&self.inputs, twice)),
            ("second order", if self.first_order { self.refused(&check) } else { check.second(&self.inputs, &self.function) }),
        ];
        runs.into_iter().filter_map(|(what, run)| run.err().map(|error| format!("{}, {what}: {error}", self.name))).collect()
    }

    /// A second derivative that is not promised is refused by name.
    fn refused(&self, check: &GradCheck) -> Result<()> {
        match check.second(&self.inputs, &self.function) {
            Err(Error::NotDifferentiable { .. }) => Ok(()),
            Err(error) => Err(error),
            Ok(()) => Err(Error::Mismatch("there is a second derivative, promise it".into())),
        }
    }

    /// The names that this case records, backward and the gradient of the gradient included.
    fn recorded(&self, names: &mut BTreeSet<&'static str>) -> Result<()> {
        let mut rng = Rng::seeded(0);
        let tape = if self.training { Tape::training(&mut rng) } else { Tape::inference(&mut rng) };
        let inputs: Vec<Tensor> = self.inputs.iter().map(|x| tape.watch(x)).collect();
        let mut y = (self.function)(&inputs)?.square()?.sum()?;
        for _ in 0..2 {
            let mut sum = Tensor::scalar(0.0, DType::F64)?;
            for x in inputs.iter().filter(|x| x.needs_gradient()) {
                if let Some(gradient) = y.needs_gradient().then(|| y.gradients_of(&[x]).ok()).flatten() {
                    sum = sum.add(&gradient[0].square()?.sum()?)?;
                }
            }
            y = sum;
        }
        names.extend(tape.operations());
        Ok(())
    }
}

#[test]
fn every_operation_is_differentiated_rightly() {
    let cases = cases();
    let failures: Vec<String> = cases.iter().flat_map(Case::check).collect();
    assert!(failures.is_empty(), "{} of {} cases:\n{}", failures.len(), cases.len(), failures.join("\n"));
}

#[test]
fn no_operation_is_missing() {
    let mut seen = BTreeSet::new();
    for case in cases() {
        case.recorded(&mut seen).unwrap_or_else(|e| panic!("{}: {e}", case.name));
    }
    // Has a test of its own, elementwise::casts_pass_gradients_on.
    seen.insert("cast");
    // On one device there is nothing to record; gpu.rs moves every case's inputs.
    seen.insert("to");
    // Rounding is a staircase; tests/precision.rs has it.
    seen.insert("round_to");
    let missing: Vec<String> = names_in_sources().into_iter().filter(|name| !seen.contains(name.as_str())).collect();
    assert!(missing.is_empty(), "operations without a case in tests/registry: {missing:?}");
}

/// The names under which the sources record operations that have rules, and those of the core's table of functions.
fn names_in_sources() -> BTreeSet<String> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/rules");
    let mut names = BTreeSet::new();
    for file in std::fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        for call in ["record(", "record_fused(", "record_many(", "record_outputs(", "record_broadcast("] {
            for after in text.split(&format!("Tensor::{call}")).skip(1) {
                let argument = after.trim_start();
                if let Some(name) = argument.strip_prefix('"') {
                    names.insert(name.split('"').next().unwrap().to_string());
                } else {
                    // A name that comes as an argument: the callers' literals.
                    let known = ["op.name()", "name,"];
                    assert!(known.iter().any(|k| argument.starts_with(k)), "{}: a name that this test cannot read: {}", path.display(), &argument[..30]);
                }
            }
        }
        let callers: &[&str] = match path.file_stem().unwrap().to_str().unwrap() {
            "extreme" => &["max", "min", "max_over", "min_over", "sort", "topk", "kthvalue", "median", "cummax", "cummin"],
            "recurrent" => &["rnn", "lstm", "gru"],
            "binary" => &["maximum", "minimum"],
            "norm" => &["batch_norm", "batch_norm_inference", "layer_norm", "rms_norm", "group_norm", "instance_norm"],
            "slice" => &["narrow", "slice"],
            "split" => &["split", "chunk"],
            "convolution" => &["conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d", "convolution"],
            _ => &[],
        };
        names.extend(callers.iter().map(|c| c.to_string()));
    }
    names.extend(elementwise::TABLE.iter().map(|row| row.to_string()));
    assert!(names.len() > 60, "only {} operations found in {folder}", names.len());
    names
}

#[test]
fn a_wrong_rule_is_found() {
    use chainrule_autograd::Keep;
    let wrong = |x: &[Tensor]| {
        let y: Array = x[0].square()?.into();
        Tensor::record("wrong", [&x[0]], Keep::FIRST, y, |pass| Ok([Some(pass.grad().mul(&pass.input(0)?)?)]))
    };
    let error = chainrule_autograd::gradcheck(&[numbers(&[2, 3])], wrong).unwrap_err().to_string();
    assert!(error.contains("input 0, element [0, 0]: analytic"), "{error}");
    let single = Tensor::ones(&[2], DType::F32).unwrap();
    assert!(chainrule_autograd::gradcheck(&[single], |x| x[0].square()).unwrap_err().to_string().contains("f64"));
}
