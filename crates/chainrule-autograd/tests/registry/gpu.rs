//! Every case on the GPU against the same case on the CPU, in float32: equal numbers, or an error that says what has no kernel. Never a panic, and never a number computed from the wrong memory.

use super::{Case, cases};
use chainrule_autograd::{DType, Device, Result, Rng, Tape, Tensor};
use std::collections::BTreeMap;

/// What a case computes there: its output, and the gradients of all inputs.
fn computed(case: &Case, device: &Device) -> Result<Vec<Tensor>> {
    let mut rng = Rng::seeded(0);
    let tape = if case.training { Tape::training(&mut rng) } else { Tape::inference(&mut rng) };
    let mut inputs = vec![];
    for x in &case.inputs {
        inputs.push(if x.dtype().is_float() { tape.watch(x.cast(DType::F32)?) } else { tape.input(x) });
    }
    let moved = inputs.iter().map(|x| x.to(device)).collect::<Result<Vec<_>>>()?;
    let y = (case.function)(&moved)?;
    let mut all = vec![y.detach()];
    let loss = y.square()?.sum()?;
    let watched: Vec<&Tensor> = inputs.iter().filter(|x| x.needs_gradient()).collect();
    if loss.needs_gradient() && !watched.is_empty() {
        let gradients = loss.backward()?;
        all.extend(watched.iter().filter_map(|x| gradients.wrt(x)).map(Tensor::from));
    }
    all.iter().map(|x| x.to(&Device::Cpu)).collect()
}

/// `max |a - b| / (1 + max |b|)` over finite numbers; infinite where one is finite and the other not.
fn distance(a: &Tensor, b: &Tensor) -> f64 {
    if a.dims() != b.dims() || a.dtype() != b.dtype() {
        return f64::INFINITY;
    }
    let numbers = |x: &Tensor| x.cast(DType::F64).and_then(|x| x.to_vec::<f64>()).unwrap();
    let (a, b) = (numbers(a), numbers(b));
    let largest = b.iter().filter(|x| x.is_finite()).fold(0f64, |m, x| m.max(x.abs()));
    let difference = |(a, b): (&f64, &f64)| if a == b || a.is_nan() && b.is_nan() { 0.0 } else { (a - b).abs() / (1.0 + largest) };
    a.iter().zip(&b).map(difference).fold(0.0, |m, d| {
        if d <= m {
            m
        } else if d.is_nan() {
            f64::INFINITY
        } else {
            d
        }
    })
}

#[test]
fn every_case_on_a_gpu_is_right_or_refused_by_name() {
    let gpu = match Device::cuda(0) {
        Ok(gpu) => gpu,
        Err(error) => return println!("SKIPPED: the registry on a GPU: {error}"),
    };
    let (mut right, mut elsewhere, mut wrong) = (0, 0, vec![]);
    let mut refused = BTreeMap::<String, usize>::new();
    for case in cases() {
        // Cases that hold numbers of their own in float64 are none of float32.
        let Ok(expected) = computed(&case, &Device::Cpu) else {
            elsewhere += 1;
            continue;
        };
        match computed(&case, &gpu) {
            Ok(got) => {
                let worst = got.iter().zip(&expected).map(|(a, b)| distance(a, b)).fold(0.0, f64::max);
                if got.len() == expected.len() && worst <= 1e-4 { right += 1 } else { wrong.push(format!("{}: off by {worst:.2e}", case.name)) }
            }
            Err(error) => {
                let text = error.to_string();
                match text.split_once(": there is no kernel for cuda") {
                    Some((op, _)) => *refused.entry(op.rsplit(": ").next().unwrap_or(op).to_string()).or_default() += 1,
                    // A number of the case's own that stands on the CPU.
                    None if text.contains("different devices") => elsewhere += 1,
                    None => wrong.push(format!("{}: {text}", case.name)),
                }
            }
        }
    }
    println!(
        "registry on {gpu}: {right} right, {} wrong, {} without a kernel {refused:?}, {elsewhere} not of float32 or of two devices",
        wrong.len(),
        refused.values().sum::<usize>()
    );
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(right > 0);
}
