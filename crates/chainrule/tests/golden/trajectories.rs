//! Optimizers step by step, clipping, and schedules.

use crate::case::{Case, error};
use crate::{Outcome, Tally};
use chainrule::nn::{Module, Param};
use chainrule::optim::{Adam, AdamW, OneCycle, Optimize, Plateau, Schedule, Sgd};
use chainrule::{Array, DType, Gradients, Result};
use std::path::Path;

pub fn replay(folder: &Path, tally: &mut Tally) {
    for (family, run) in [("optim", optim as fn(&Case, DType, f64) -> Outcome), ("schedule", schedule)] {
        let path = folder.join(format!("{family}.safetensors"));
        if !path.exists() {
            println!("absent: {family}");
            continue;
        }
        let before = (tally.passed, tally.failed.len(), tally.unsupported.len());
        for case in Case::read(&path) {
            // A schedule is plain double arithmetic: one replay.
            let kinds: &[(DType, f64)] = if family == "schedule" { &[(DType::F64, 1e-9)] } else { &[(DType::F64, 1e-9), (DType::F32, 2e-5)] };
            for &(dtype, tolerance) in kinds {
                tally.add(format!("{family}/{} {dtype}", case.name), &case.op, run(&case, dtype, tolerance));
            }
        }
        println!("{family}: {} passed, {} failed, {} unsupported", tally.passed - before.0, tally.failed.len() - before.1, tally.unsupported.len() - before.2);
    }
}

fn outcome(result: Result<Option<f64>>, tolerance: f64) -> Outcome {
    match result {
        Ok(None) => Outcome::Unsupported,
        Ok(Some(distance)) if distance <= tolerance => Outcome::Passed,
        Ok(Some(distance)) => Outcome::Failed(format!("off by {distance:.2e}")),
        Err(error) => Outcome::Failed(error.to_string()),
    }
}

#[derive(Module)]
struct Pair {
    w: Param,
    b: Param,
}

fn optim(case: &Case, dtype: DType, tolerance: f64) -> Outcome {
    outcome(if case.op == "clip_grad_norm" { clip(case, dtype).map(Some) } else { steps(case, dtype) }, tolerance)
}

fn optimizer(case: &Case) -> Option<Box<dyn Optimize>> {
    let (rate, decay) = (case.float("lr"), case.float_or("weight_decay", if case.op == "adamw" { 0.01 } else { 0.0 }));
    let beta = |i: usize, default: f64| case.arguments["betas"][i].as_f64().unwrap_or(default);
    Some(match case.op.as_str() {
        "sgd" => {
            let sgd = Sgd::new(rate).momentum(case.float_or("momentum", 0.0)).dampening(case.float_or("dampening", 0.0));
            Box::new(sgd.nesterov(case.flag("nesterov")).weight_decay(decay))
        }
        "adam" => {
            Box::new(Adam::new(rate).betas(beta(0, 0.9), beta(1, 0.999)).eps(case.float_or("eps", 1e-8)).amsgrad(case.flag("amsgrad")).weight_decay(decay))
        }
        "adamw" => {
            Box::new(AdamW::new(rate).betas(beta(0, 0.9), beta(1, 0.999)).eps(case.float_or("eps", 1e-8)).amsgrad(case.flag("amsgrad")).weight_decay(decay))
        }
        _ => return None,
    })
}

/// The largest error of a parameter after any step.
fn steps(case: &Case, dtype: DType) -> Result<Option<f64>> {
    let Some(mut optimizer) = optimizer(case) else { return Ok(None) };
    let array = |name: String| -> Result<Array> { Ok(case.tensors[&name].cast(dtype)?) };
    let mut model = Pair { w: Param::new(array("w.0".into())?), b: Param::new(array("b.0".into())?) };
    let mut worst = 0f64;
    for step in 0..case.size("steps") {
        let mut gradients = Gradients::default();
        gradients.insert(model.w.id, array(format!("gw.{step}"))?);
        gradients.insert(model.b.id, array(format!("gb.{step}"))?);
        optimizer.step(&mut model, &gradients)?;
        for (name, param) in [("w", &model.w), ("b", &model.b)] {
            worst = worst.max(error(&param.value, &case.tensors[&format!("{name}.{}", step + 1)]));
        }
    }
    Ok(Some(worst))
}

/// Climbing from 0 at a rate of 1, the parameters become the clipped gradients.
fn clip(case: &Case, dtype: DType) -> Result<f64> {
    let mut gradients = Gradients::default();
    let mut model: Vec<Param> = vec![];
    for gradient in case.numbered("in").into_values() {
        let param = Param::new(Array::zeros(gradient.dims(), dtype)?);
        gradients.insert(param.id, gradient.cast(dtype)?);
        model.push(param);
    }
    let report = Sgd::new(1.0).maximize().clip_norm(case.float("max_norm")).step(&mut model, &gradients)?;
    let mut worst = (report.norm - case.tensors["norm"].item()?).abs() / (1.0 + report.norm);
    for (i, golden) in case.numbered("out") {
        worst = worst.max(error(&model[i].value, golden));
    }
    Ok(worst)
}

/// The rates that an optimizer has before each of its steps.
fn schedule(case: &Case, _: DType, tolerance: f64) -> Outcome {
    let base = case.float("base_lr");
    let rates = if case.op == "plateau" {
        let mut plateau = Plateau::new(case.float("factor"), case.size("patience") as u64);
        let metrics = case.tensors["metric"].to_vec::<f64>().expect("metrics");
        metrics.into_iter().map(|metric| base * plateau.observe(metric)).collect()
    } else {
        let Some(schedule) = schedule_of(case, base) else { return Outcome::Unsupported };
        (0..case.tensors["lr"].count() as u64).map(|step| base * schedule.at(step)).collect::<Vec<f64>>()
    };
    let rates = Array::from_slice(&rates, &[rates.len()]).expect("rates");
    outcome(Ok(Some(error(&rates, &case.tensors["lr"]))), tolerance)
}

fn schedule_of(case: &Case, base: f64) -> Option<Schedule> {
    let count = |key: &str| case.size(key) as u64;
    Some(match case.op.as_str() {
        "step" => Schedule::step(count("step_size"), case.float("gamma")),
        "multistep" => Schedule::multi_step(&case.sizes("milestones").iter().map(|&m| m as u64).collect::<Vec<_>>(), case.float("gamma")),
        "exponential" => Schedule::exponential(case.float("gamma")),
        "cosine" => Schedule::cosine(count("t_max")).floor(case.float("eta_min") / base),
        "cosine_warm_restarts" => Schedule::cosine_restarts(count("t_0"), count("t_mult")).floor(case.float("eta_min") / base),
        "linear" => Schedule::linear(case.float("start_factor"), case.float("end_factor"), count("total_iters")),
        "polynomial" => Schedule::polynomial(count("total_iters"), case.float("power")),
        // PyTorch's cycle forgets the learning rate, so its highest is put in its place.
        "one_cycle" => Schedule::one_cycle_with(OneCycle::new(count("total_steps"))).times(Schedule::constant(case.float("max_lr") / base)),
        "warmup_linear" => Schedule::warm_up_linear(count("warmup"), count("total")),
        "warmup_cosine" => Schedule::warm_up_cosine(count("warmup"), count("total")),
        _ => return None,
    })
}
