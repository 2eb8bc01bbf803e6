//! Who may work together, and what is said where they may not.

use crate::support::*;
use chainrule::nn::{Layer, Linear, Module, load, save};
use chainrule::optim::{RmsProp, Sgd};
use chainrule::{DType, Device, Rng, Tape, Tensor};

#[test]
fn a_gpu_that_is_not_there_is_an_error() {
    let error = Device::cuda(9).unwrap_err().to_string();
    assert!(["driver", "does not exist"].iter().any(|word| error.contains(word)), "{error}");
    assert!("tpu".parse::<Device>().unwrap_err().to_string().contains("expected cpu, cuda"));
    assert_eq!("cpu".parse::<Device>().unwrap(), Device::Cpu);
}

#[test]
fn arrays_on_two_devices_are_named() {
    let Some(turn) = gpu() else { return };
    let (here, there) = (Tensor::ones(&[2, 3], DType::F32).unwrap(), Tensor::ones(&[2, 3], DType::F32).unwrap().to(&turn.device).unwrap());
    let error = here.add(&there).unwrap_err().to_string();
    assert!(error.contains("[2, 3] on cpu") && error.contains("[2, 3] on cuda:0") && error.contains("to(&device)"), "{error}");
    let linear = Linear::new(3, 2, &mut Rng::seeded(0)).unwrap();
    let error = linear.forward(&there).unwrap_err().to_string();
    assert!(error.contains("different devices") && error.contains("cuda:0"), "{error}");
    // One number of the CPU may meet a GPU's.
    assert_eq!(there.add(&Tensor::scalar(2.0, DType::F32).unwrap()).unwrap().to_vec::<f32>().unwrap(), [3.0; 6]);
}

#[test]
fn a_gradient_returns_to_where_its_tensor_stands() {
    let Some(turn) = gpu() else { return };
    let tape = Tape::training(&mut Rng::seeded(0));
    let x = tape.watch(Tensor::from_slice(&[1f32, 2.0, 3.0], &[3]).unwrap());
    let loss = x.to(&turn.device).unwrap().square().unwrap().sum().unwrap().to(&Device::Cpu).unwrap();
    let gradients = loss.backward().unwrap();
    let gradient = gradients.wrt(&x).unwrap();
    assert_eq!((gradient.device(), gradient.to_vec::<f32>().unwrap()), (Device::Cpu, vec![2.0, 4.0, 6.0]));
}

#[test]
fn files_and_moves_keep_the_numbers() {
    let Some(turn) = gpu() else { return };
    let folder = std::env::temp_dir().join(format!("chainrule-devices-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let file = folder.join("linear.safetensors");
    let mut model = Linear::new(3, 2, &mut Rng::seeded(0)).unwrap();
    let numbers = model.weight.value.to_vec::<f32>().unwrap();
    model.to(&turn.device).unwrap();
    save(&model, &file).unwrap();
    let mut other = Linear::new(3, 2, &mut Rng::seeded(1)).unwrap();
    other.to(&turn.device).unwrap();
    assert_eq!(load(&mut other, &file).unwrap().loaded.len(), 2);
    assert_eq!(other.weight.value.device(), turn.device);
    other.to(&Device::Cpu).unwrap();
    assert_eq!(other.weight.value.to_vec::<f32>().unwrap(), numbers);
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn a_rule_without_a_kernel_and_a_model_on_two_devices_are_refused() {
    let Some(turn) = gpu() else { return };
    let mut model = vec![Linear::new(3, 3, &mut Rng::seeded(0)).unwrap(), Linear::new(3, 1, &mut Rng::seeded(1)).unwrap()];
    let gradients = |model: &Vec<Linear>, device: &Device| {
        let tape = Tape::training(&mut Rng::seeded(0));
        let x = tape.input(Tensor::ones(&[2, 3], DType::F32).unwrap().to(device).unwrap());
        model[1].forward(&model[0].forward(&x).unwrap().to(&model[1].weight.value.device()).unwrap()).unwrap().sum().unwrap().backward().unwrap()
    };
    model[1].to(&turn.device).unwrap();
    let half = gradients(&model, &Device::Cpu);
    let error = Sgd::new(0.1).step(&mut model, &half).unwrap_err().to_string();
    assert!(error.contains("1.weight") && error.contains("cuda:0"), "{error}");
    model.to(&turn.device).unwrap();
    let whole = gradients(&model, &turn.device);
    let error = RmsProp::new(0.1).step(&mut model, &whole).unwrap_err().to_string();
    assert!(error.contains("rms_prop") && error.contains("no kernel"), "{error}");
}
