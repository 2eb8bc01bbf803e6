//! Optimizers step by step, clipping, and schedules.

use crate::case::{Case, error};
use crate::{Outcome, Tally};
use chainrule::nn::{Module, Param};
use chainrule::optim::{
    Adadelta, Adafactor, Adagrad, Adam, AdamW, Adamax, Asgd, Lbfgs, NAdam, OneCycle, Optimize, Optimizer, Plateau, RAdam, RmsProp, Rprop, Rule, Schedule, Sgd,
};
use chainrule::{Array, DType, Gradients, Result, Rng, Tape, Tensor};
use std::path::Path;

pub fn replay(folder: &Path, is_own: bool, tally: &mut Tally) {
    for (family, run) in [("optim", optim as fn(&Case, DType, f64) -> Outcome), ("optim_more", optim), ("schedule", schedule), ("schedule_more", schedule)] {
        let path = folder.join(format!("{family}.safetensors"));
        if !path.exists() {
            assert!(!is_own, "{} is missing", path.display());
            println!("absent: {family}");
            continue;
        }
        let before = (tally.passed, tally.failed.len(), tally.unsupported.len());
        for case in Case::read(&path) {
            // A schedule is plain double arithmetic: one replay. L-BFGS divides by differences of gradients, so that in float32
            // its rounding grows without end: ten calls of PyTorch's own stray by up to 0.2 from those in float64.
            let once = family.starts_with("schedule") || case.op == "lbfgs";
            let kinds: &[(DType, f64)] = if once { &[(DType::F64, 1e-9)] } else { &[(DType::F64, 1e-9), (DType::F32, 2e-5)] };
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
    let worst = match case.op.as_str() {
        "clip_grad_norm" => clip(case, dtype).map(Some),
        "lbfgs" => lbfgs(case, dtype).map(Some),
        _ => steps(case, dtype),
    };
    outcome(worst, tolerance)
}

/// The optimizer of a case, every argument that PyTorch's constructor takes read or at its default.
fn optimizer(case: &Case) -> Option<Box<dyn Optimize>> {
    let rate = |default: f64| case.float_or("lr", default);
    let beta = |i: usize, default: f64| case.arguments["betas"][i].as_f64().unwrap_or(default);
    let betas = || (beta(0, 0.9), beta(1, 0.999));
    let eps = |default: f64| case.float_or("eps", default);
    Some(match case.op.as_str() {
        "sgd" => {
            let sgd = Sgd::new(rate(1e-3)).momentum(case.float_or("momentum", 0.0)).dampening(case.float_or("dampening", 0.0));
            finished(case, sgd.nesterov(case.flag("nesterov")), 0.0)
        }
        "adam" if case.flag("decoupled_weight_decay") => {
            finished(case, AdamW::new(rate(1e-3)).betas(betas().0, betas().1).eps(eps(1e-8)).amsgrad(case.flag("amsgrad")), 0.0)
        }
        "adam" => finished(case, Adam::new(rate(1e-3)).betas(betas().0, betas().1).eps(eps(1e-8)).amsgrad(case.flag("amsgrad")), 0.0),
        "adamw" => finished(case, AdamW::new(rate(1e-3)).betas(betas().0, betas().1).eps(eps(1e-8)).amsgrad(case.flag("amsgrad")), 0.01),
        "rmsprop" => {
            let rms_prop = RmsProp::new(rate(1e-2)).alpha(case.float_or("alpha", 0.99)).eps(eps(1e-8));
            finished(case, rms_prop.momentum(case.float_or("momentum", 0.0)).centered(case.flag("centered")), 0.0)
        }
        "adagrad" => {
            let adagrad = Adagrad::new(rate(1e-2)).rate_decay(case.float_or("lr_decay", 0.0)).eps(eps(1e-10));
            finished(case, adagrad.initial_accumulator(case.float_or("initial_accumulator_value", 0.0)), 0.0)
        }
        "adadelta" => finished(case, Adadelta::new(rate(1.0)).rho(case.float_or("rho", 0.9)).eps(eps(1e-6)), 0.0),
        "adamax" => finished(case, Adamax::new(rate(2e-3)).betas(betas().0, betas().1).eps(eps(1e-8)), 0.0),
        "nadam" => {
            let n_adam = NAdam::new(rate(2e-3)).betas(betas().0, betas().1).eps(eps(1e-8)).momentum_decay(case.float_or("momentum_decay", 4e-3));
            finished(case, n_adam.decoupled(case.flag("decoupled_weight_decay")), 0.0)
        }
        "radam" => {
            let r_adam = RAdam::new(rate(1e-3)).betas(betas().0, betas().1).eps(eps(1e-8));
            finished(case, r_adam.decoupled(case.flag("decoupled_weight_decay")), 0.0)
        }
        "asgd" => {
            let asgd = Asgd::new(rate(1e-2)).lambda(case.float_or("lambd", 1e-4)).alpha(case.float_or("alpha", 0.75));
            finished(case, asgd.start(case.float_or("t0", 1e6)), 0.0)
        }
        "rprop" => {
            let pair = |key: &str, i: usize, default: f64| case.arguments[key][i].as_f64().unwrap_or(default);
            let rprop = Rprop::new(rate(1e-2)).etas(pair("etas", 0, 0.5), pair("etas", 1, 1.2));
            finished(case, rprop.step_sizes(pair("step_sizes", 0, 1e-6), pair("step_sizes", 1, 50.0)), 0.0)
        }
        "adafactor" => {
            let adafactor = Adafactor::new(rate(1e-2)).beta2_decay(case.float_or("beta2_decay", -0.8)).clip(case.float_or("d", 1.0));
            let eps = |i: usize| case.arguments["eps"][i].as_f64();
            finished(case, adafactor.eps1(eps(0)).eps2(eps(1).unwrap_or(1e-3)), 0.0)
        }
        _ => return None,
    })
}

/// With what all of PyTorch's constructors take.
fn finished<R: Rule>(case: &Case, optimizer: Optimizer<R>, weight_decay: f64) -> Box<dyn Optimize> {
    let optimizer = optimizer.weight_decay(case.float_or("weight_decay", weight_decay));
    Box::new(if case.flag("maximize") { optimizer.maximize() } else { optimizer })
}

/// The model before the first step, in an element type.
fn pair(case: &Case, dtype: DType) -> Result<Pair> {
    let param = |name: &str| -> Result<Param> { Ok(Param::new(case.tensors[name].cast(dtype)?)) };
    Ok(Pair { w: param("w.0")?, b: param("b.0")? })
}

/// How far the model is from the golden one after so many steps.
fn distance(case: &Case, model: &Pair, step: usize) -> f64 {
    [("w", &model.w), ("b", &model.b)].into_iter().fold(0.0, |worst, (name, param)| error(&param.value, &case.tensors[&format!("{name}.{step}")]).max(worst))
}

/// The largest error of a parameter after any call, under the loss mean((tanh(x w + b) - y)²).
fn lbfgs(case: &Case, dtype: DType) -> Result<f64> {
    let mut lbfgs = Lbfgs::new().learning_rate(case.float_or("lr", 1.0)).history(case.float_or("history_size", 100.0) as usize);
    lbfgs = lbfgs.tolerance_gradient(case.float_or("tolerance_grad", 1e-7)).tolerance_change(case.float_or("tolerance_change", 1e-9));
    lbfgs = lbfgs.iterations(case.float_or("max_iter", 20.0) as usize);
    if case.has("max_eval") {
        lbfgs = lbfgs.evaluations(case.size("max_eval"));
    }
    if case.text("line_search_fn") == "strong_wolfe" {
        lbfgs = lbfgs.strong_wolfe();
    }
    if case.flag("maximize") {
        lbfgs = lbfgs.maximize();
    }
    let (x, y) = (Tensor::from(case.tensors["x"].cast(dtype)?), Tensor::from(case.tensors["y"].cast(dtype)?));
    let (mut model, mut worst) = (pair(case, dtype)?, 0f64);
    for step in 0..case.size("steps") {
        lbfgs.minimise(&mut model, |model| {
            let tape = Tape::training(&mut Rng::seeded(0));
            let x = tape.input(&x);
            let loss = x.matmul(&model.w.on(&x)?)?.add(&model.b.on(&x)?)?.tanh()?.sub(&y)?.square()?.mean()?;
            Ok((loss.item()?, loss.backward()?))
        })?;
        worst = worst.max(distance(case, &model, step + 1));
    }
    Ok(worst)
}

/// The largest error of a parameter after any step.
fn steps(case: &Case, dtype: DType) -> Result<Option<f64>> {
    let Some(mut optimizer) = optimizer(case) else { return Ok(None) };
    let gradient = |name: &str, step: usize| -> Result<Array> { Ok(case.tensors[&format!("{name}.{step}")].cast(dtype)?) };
    let (mut model, mut worst) = (pair(case, dtype)?, 0f64);
    for step in 0..case.size("steps") {
        let mut gradients = Gradients::default();
        gradients.insert(model.w.id, gradient("gw", step)?);
        gradients.insert(model.b.id, gradient("gb", step)?);
        optimizer.step(&mut model, &gradients)?;
        worst = worst.max(distance(case, &model, step + 1));
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

/// The rates that an optimizer has before each of its steps, and its momenta where the case has them.
fn schedule(case: &Case, _: DType, tolerance: f64) -> Outcome {
    let base = case.float("base_lr");
    let steps = case.tensors["lr"].count() as u64;
    let rates: Vec<f64> = if case.op == "plateau" {
        let mut plateau = plateau(case, base);
        let metrics = case.tensors["metric"].to_vec::<f64>().expect("metrics");
        metrics.into_iter().map(|metric| base * plateau.observe(metric)).collect()
    } else {
        let Some(schedule) = schedule_of(case, base) else { return Outcome::Unsupported };
        (0..steps).map(|step| base * schedule.at(step)).collect()
    };
    let distance = |values: &[f64], name: &str| error(&Array::from_slice(values, &[values.len()]).expect("values"), &case.tensors[name]);
    let mut worst = distance(&rates, "lr");
    if let Some(momentum) = momentum_of(case).filter(|_| case.tensors.contains_key("momentum")) {
        worst = worst.max(distance(&(0..steps).map(|step| momentum.at(step)).collect::<Vec<f64>>(), "momentum"));
    }
    outcome(Ok(Some(worst)), tolerance)
}

fn plateau(case: &Case, base: f64) -> Plateau {
    let count = |key: &str, default: f64| case.float_or(key, default) as u64;
    let plateau = Plateau::new(case.float_or("factor", 0.1), count("patience", 10.0)).cooldown(count("cooldown", 0.0));
    let plateau = plateau.floor(case.float_or("min_lr", 0.0) / base).least_change(case.float_or("eps", 1e-8) / base);
    let threshold = case.float_or("threshold", 1e-4);
    let plateau = if case.text("threshold_mode") == "abs" { plateau.absolute_threshold(threshold) } else { plateau.threshold(threshold) };
    if case.text("mode") == "max" { plateau.larger_is_better() } else { plateau }
}

/// A count by any of its names, or by default.
fn count(case: &Case, names: &[&str], default: f64) -> u64 {
    names.iter().find(|name| case.has(name)).map_or(default, |name| case.float(name)) as u64
}

fn one_cycle(case: &Case) -> OneCycle {
    let steps = if case.has("total_steps") { case.size("total_steps") } else { case.size("epochs") * case.size("steps_per_epoch") };
    OneCycle {
        rise: case.float_or("pct_start", 0.3),
        start_divisor: case.float_or("div_factor", 25.0),
        end_divisor: case.float_or("final_div_factor", 1e4),
        linear: case.text("anneal_strategy") == "linear",
        three_phases: case.flag("three_phase"),
        ..OneCycle::new(steps as u64)
    }
}

/// A cycle between 0 and 1, in each of PyTorch's modes.
fn cycle(case: &Case) -> Schedule {
    let up = count(case, &["step_size_up"], 2000.0);
    let down = count(case, &["step_size_down"], up as f64);
    let wave = Schedule::triangular(up, down);
    match case.text("mode") {
        "triangular2" => wave.times(Schedule::step(up + down, 0.5)),
        "exp_range" => wave.times(Schedule::exponential(case.float_or("gamma", 1.0))),
        _ => wave,
    }
}

fn momentum_of(case: &Case) -> Option<Schedule> {
    let between = |low: f64, high: f64| (case.float_or("base_momentum", low), case.float_or("max_momentum", high));
    match case.op.as_str() {
        "one_cycle" => {
            let (low, high) = between(0.85, 0.95);
            Some(one_cycle(case).momentum(low, high))
        }
        "cyclic" => {
            let (low, high) = between(0.8, 0.9);
            Some(cycle(case).floor(high / low).times(Schedule::constant(low)))
        }
        _ => None,
    }
}

fn schedule_of(case: &Case, base: f64) -> Option<Schedule> {
    let gamma = || case.float_or("gamma", 0.1);
    let floor = || case.float_or("eta_min", 0.0) / base;
    let milestones = || case.sizes("milestones").iter().map(|&m| m as u64).collect::<Vec<_>>();
    let warm_up = || count(case, &["warmup"], 0.0);
    Some(match case.op.as_str() {
        "step" => Schedule::step(count(case, &["step_size"], 1.0), gamma()),
        "multistep" => Schedule::multi_step(&milestones(), gamma()),
        "exponential" => Schedule::exponential(gamma()),
        "cosine" => Schedule::cosine(count(case, &["t_max", "T_max"], 1.0)).floor(floor()),
        "cosine_warm_restarts" => Schedule::cosine_restarts(count(case, &["t_0", "T_0"], 1.0), count(case, &["t_mult", "T_mult"], 1.0)).floor(floor()),
        "constant" => Schedule::constant(case.float_or("factor", 1.0 / 3.0)).then(count(case, &["total_iters"], 5.0), Schedule::constant(1.0)),
        "linear" => {
            let (from, to) = (case.float_or("start_factor", 1.0 / 3.0), case.float_or("end_factor", 1.0));
            Schedule::linear(from, to, count(case, &["total_iters"], 5.0))
        }
        "polynomial" => Schedule::polynomial(count(case, &["total_iters"], 5.0), case.float_or("power", 1.0)),
        // PyTorch's cycles forget the learning rate, so their highest is put in its place.
        "one_cycle" => Schedule::one_cycle_with(one_cycle(case)).times(Schedule::constant(case.float("max_lr") / base)),
        "cyclic" => {
            let most = case.float("max_lr");
            cycle(case).floor(case.float("low_lr") / most).times(Schedule::constant(most / base))
        }
        "swa" => {
            let (to, steps) = (case.float("swa_lr") / base, count(case, &["anneal_epochs"], 10.0));
            if case.text("anneal_strategy") == "linear" { Schedule::linear(1.0, to, steps) } else { Schedule::anneal(1.0, to, steps) }
        }
        "lambda" => Schedule::from_fn(|t| 1.0 / (1.0 + t as f64)),
        "multiplicative" => Schedule::product(|t| 1.0 - 0.5 / (1.0 + t as f64)),
        "noam" => Schedule::inverse_square_root(warm_up()).times(Schedule::constant(1.0 / (case.float("width") * case.float("warmup")).sqrt())),
        "sequential" => {
            let rise = Schedule::linear(case.float("start_factor"), 1.0, warm_up());
            let until = count(case, &["until"], 0.0);
            rise.then(warm_up(), Schedule::exponential(gamma())).then(until, Schedule::cosine(count(case, &["t_max"], 1.0)))
        }
        "chained" => {
            let held = Schedule::constant(case.float("factor")).then(count(case, &["total_iters"], 5.0), Schedule::constant(1.0));
            held.times(Schedule::exponential(gamma()))
        }
        "warmup_linear" => Schedule::warm_up_linear(warm_up(), count(case, &["total"], 0.0)),
        "warmup_cosine" => Schedule::warm_up_cosine(warm_up(), count(case, &["total"], 0.0)),
        _ => return None,
    })
}
