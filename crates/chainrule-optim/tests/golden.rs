//! The trajectories and schedules that PyTorch computed, where the files are at hand: in the folder `CHAINRULE_GOLDEN`.

use chainrule_autograd::{Array, DType, Gradients};
use chainrule_nn::{Module, Param};
use chainrule_optim::{Adam, AdamW, OneCycle, Optimize, Plateau, Schedule, Sgd};
use safetensors::SafeTensors;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// The file's bytes and, by name, its cases.
fn golden(file: &str) -> Option<(Vec<u8>, BTreeMap<String, Value>)> {
    let own = || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/fixtures/golden");
    let path = std::env::var_os("CHAINRULE_GOLDEN").map_or_else(own, PathBuf::from).join(file);
    let Ok(bytes) = std::fs::read(&path) else {
        eprintln!("SKIPPED: there is no {}; name the folder in CHAINRULE_GOLDEN", path.display());
        return None;
    };
    let (_, metadata) = SafeTensors::read_metadata(&bytes).unwrap();
    let cases = metadata.metadata().as_ref().unwrap().iter().map(|(name, text)| (name.clone(), serde_json::from_str(text).unwrap())).collect();
    Some((bytes, cases))
}

fn doubles(file: &SafeTensors, name: &str) -> (Vec<f64>, Vec<usize>) {
    let tensor = file.tensor(name).unwrap();
    assert_eq!(tensor.dtype(), safetensors::Dtype::F64);
    (tensor.data().chunks_exact(8).map(|b| f64::from_le_bytes(b.try_into().unwrap())).collect(), tensor.shape().to_vec())
}

fn array(file: &SafeTensors, name: &str, dtype: DType) -> Array {
    let (numbers, dims) = doubles(file, name);
    Array::from_slice(&numbers, &dims).unwrap().cast(dtype).unwrap()
}

fn distance(ours: &Array, golden: &[f64]) -> f64 {
    let ours = ours.cast(DType::F64).unwrap().to_vec::<f64>().unwrap();
    assert_eq!(ours.len(), golden.len());
    let most = golden.iter().fold(0f64, |m, x| m.max(x.abs()));
    ours.iter().zip(golden).fold(0f64, |m, (a, b)| m.max((a - b).abs())) / (1.0 + most)
}

fn optimizer(case: &Value) -> Option<Box<dyn Optimize>> {
    let number = |name: &str, default: f64| case[name].as_f64().unwrap_or(default);
    let is = |name: &str| case[name].as_bool().unwrap_or(false);
    let beta = |i: usize, default: f64| case["betas"][i].as_f64().unwrap_or(default);
    let rate = number("lr", 1e-3);
    Some(match case["op"].as_str().unwrap() {
        "sgd" => {
            let sgd = Sgd::new(rate).momentum(number("momentum", 0.0)).dampening(number("dampening", 0.0)).nesterov(is("nesterov"));
            Box::new(sgd.weight_decay(number("weight_decay", 0.0)))
        }
        "adam" => {
            let adam = Adam::new(rate).betas(beta(0, 0.9), beta(1, 0.999)).eps(number("eps", 1e-8)).amsgrad(is("amsgrad"));
            Box::new(adam.weight_decay(number("weight_decay", 0.0)))
        }
        "adamw" => {
            let adam = AdamW::new(rate).betas(beta(0, 0.9), beta(1, 0.999)).eps(number("eps", 1e-8)).amsgrad(is("amsgrad"));
            Box::new(adam.weight_decay(number("weight_decay", 0.01)))
        }
        _ => return None,
    })
}

#[derive(Module)]
struct Pair {
    w: Param,
    b: Param,
}

const PRECISIONS: [(DType, f64); 2] = [(DType::F64, 1e-9), (DType::F32, 2e-5)];

#[test]
fn trajectories() {
    let Some((bytes, cases)) = golden("optim.safetensors") else { return };
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let (mut passed, mut unsupported) = (0, Vec::new());
    for (name, case) in cases.iter().filter(|(_, case)| case["op"] != "clip_grad_norm") {
        for (dtype, tolerance) in PRECISIONS {
            let Some(mut optimizer) = optimizer(case) else {
                unsupported.push(name.as_str());
                continue;
            };
            let mut model = Pair { w: Param::new(array(&file, &format!("{name}/w.0"), dtype)), b: Param::new(array(&file, &format!("{name}/b.0"), dtype)) };
            for step in 0..case["steps"].as_u64().unwrap() {
                let mut gradients = Gradients::default();
                gradients.insert(model.w.id, array(&file, &format!("{name}/gw.{step}"), dtype));
                gradients.insert(model.b.id, array(&file, &format!("{name}/gb.{step}"), dtype));
                optimizer.step(&mut model, &gradients).unwrap();
                for (what, param) in [("w", &model.w), ("b", &model.b)] {
                    let off = distance(&param.value, &doubles(&file, &format!("{name}/{what}.{}", step + 1)).0);
                    assert!(off <= tolerance, "{name} {dtype}: {what} is off by {off:e} after step {}", step + 1);
                }
            }
            passed += 1;
        }
    }
    eprintln!("trajectories: {passed} passed, unsupported: {unsupported:?}");
    assert!(passed > 0);
}

#[test]
fn clipping() {
    let Some((bytes, cases)) = golden("optim.safetensors") else { return };
    let file = SafeTensors::deserialize(&bytes).unwrap();
    for (name, case) in cases.iter().filter(|(_, case)| case["op"] == "clip_grad_norm") {
        for (dtype, tolerance) in PRECISIONS {
            let count = (0..).take_while(|i| file.tensor(&format!("{name}/in.{i}")).is_ok()).count();
            let gradient = |i: usize| array(&file, &format!("{name}/in.{i}"), dtype);
            let mut model: Vec<Param> = (0..count).map(|i| Param::new(Array::zeros(gradient(i).dims(), dtype).unwrap())).collect();
            let mut gradients = Gradients::default();
            (0..count).for_each(|i| gradients.insert(model[i].id, gradient(i)));
            // Climbing from 0 with a rate of 1, the parameters become the clipped gradients.
            let report = Sgd::new(1.0).maximize().clip_norm(case["max_norm"].as_f64().unwrap()).step(&mut model, &gradients).unwrap();
            assert!((report.norm - doubles(&file, &format!("{name}/norm")).0[0]).abs() <= tolerance * (1.0 + report.norm));
            for (i, param) in model.iter().enumerate() {
                let off = distance(&param.value, &doubles(&file, &format!("{name}/out.{i}")).0);
                assert!(off <= tolerance, "{name} {dtype}: off by {off:e}");
            }
        }
    }
}

fn schedule(case: &Value) -> Option<Schedule> {
    let number = |name: &str| case[name].as_f64().unwrap();
    let count = |name: &str| case[name].as_u64().unwrap();
    let base = number("base_lr");
    Some(match case["op"].as_str().unwrap() {
        "step" => Schedule::step(count("step_size"), number("gamma")),
        "multistep" => {
            let milestones: Vec<u64> = case["milestones"].as_array().unwrap().iter().map(|m| m.as_u64().unwrap()).collect();
            Schedule::multi_step(&milestones, number("gamma"))
        }
        "exponential" => Schedule::exponential(number("gamma")),
        "cosine" => Schedule::cosine(count("t_max")).floor(number("eta_min") / base),
        "cosine_warm_restarts" => Schedule::cosine_restarts(count("t_0"), count("t_mult")).floor(number("eta_min") / base),
        "linear" => Schedule::linear(number("start_factor"), number("end_factor"), count("total_iters")),
        "polynomial" => Schedule::polynomial(count("total_iters"), number("power")),
        // PyTorch's cycle forgets the learning rate, so its highest is put in its place.
        "one_cycle" => Schedule::one_cycle_with(OneCycle::new(count("total_steps"))).times(Schedule::constant(number("max_lr") / base)),
        "warmup_linear" => Schedule::warm_up_linear(count("warmup"), count("total")),
        "warmup_cosine" => Schedule::warm_up_cosine(count("warmup"), count("total")),
        _ => return None,
    })
}

#[test]
fn schedules() {
    let Some((bytes, cases)) = golden("schedule.safetensors") else { return };
    let file = SafeTensors::deserialize(&bytes).unwrap();
    for (name, case) in &cases {
        let expected = doubles(&file, &format!("{name}/lr")).0;
        let base = case["base_lr"].as_f64().unwrap();
        let rates: Vec<f64> = if case["op"] == "plateau" {
            let mut plateau = Plateau::new(case["factor"].as_f64().unwrap(), case["patience"].as_u64().unwrap());
            doubles(&file, &format!("{name}/metric")).0.into_iter().map(|metric| base * plateau.observe(metric)).collect()
        } else {
            // The rates that an optimizer has before each of its steps.
            let mut model = Param::new(Array::zeros(&[1], DType::F64).unwrap());
            let mut gradients = Gradients::default();
            gradients.insert(model.id, Array::zeros(&[1], DType::F64).unwrap());
            let mut sgd = Sgd::new(base).schedule(schedule(case).unwrap_or_else(|| panic!("{name} is unknown")));
            expected.iter().map(|_| sgd.step(&mut model, &gradients).unwrap().learning_rate).collect()
        };
        for (step, (ours, theirs)) in rates.iter().zip(&expected).enumerate() {
            assert!((ours - theirs).abs() <= 1e-9, "{name}: {ours} at step {step}, expected {theirs}");
        }
        assert_eq!(rates.len(), expected.len());
    }
    eprintln!("schedules: {} passed", cases.len());
}
