//! What holds for every layer.

use crate::table::{Case, cases};
use chainrule_autograd::{DType, GradCheck, Rng, Tape, Tensor};
use chainrule_nn::*;

/// In f64; integer inputs stay.
fn doubled(Case { layer, input, .. }: &Case) -> (BoxedLayer, Tensor) {
    let mut layer = layer.clone();
    to_dtype(&mut layer, DType::F64).unwrap();
    // Weights of one and biases of zero would hide mistakes.
    params_mut(&mut layer, |path, param| {
        let rng = &mut Rng::seeded(path.len() as u64);
        param.initialise(Init::Uniform { low: 0.5, high: 1.5 }, rng).unwrap();
    });
    (layer, if input.dtype().is_float() { input.cast(DType::F64).unwrap() } else { input.clone() })
}

fn bits(tensor: &Tensor) -> Vec<u64> {
    tensor.cast(DType::F64).unwrap().to_vec::<f64>().unwrap().into_iter().map(f64::to_bits).collect()
}

#[test]
fn shapes_and_keys() {
    for Case { name, layer, input, output, keys, .. } in cases() {
        assert_eq!(layer.forward(&input).unwrap().dims(), output, "{name}");
        assert_eq!(state_dict(&layer).unwrap().into_keys().collect::<Vec<_>>(), keys, "{name}");
    }
}

#[test]
fn gradients_of_input_and_parameters() {
    for training in [false, true] {
        let settings = GradCheck { training, ..GradCheck::default() };
        for case in cases() {
            let (layer, x) = doubled(&case);
            settings.first(std::slice::from_ref(&x), |t| layer.forward(&t[0])).unwrap_or_else(|e| panic!("{}, training {training}: {e}", case.name));
            gradcheck_model(&settings, &layer, |layer, tape| layer.forward(&tape.input(&x)))
                .unwrap_or_else(|e| panic!("{}, training {training}: {e}", case.name));
        }
    }
}

#[test]
fn off_the_tape_a_layer_gives_what_it_gives_on_a_tape_in_inference() {
    for Case { name, layer, input, .. } in cases() {
        let tape = Tape::inference(&mut Rng::seeded(0));
        assert_eq!(bits(&layer.forward(&input).unwrap()), bits(&layer.forward(&tape.input(&input)).unwrap()), "{name}");
    }
}

#[test]
fn a_clone_shares_until_it_is_written_to() {
    for Case { name, layer, input, .. } in cases() {
        let before = bits(&layer.forward(&input).unwrap());
        let mut clone = layer.clone();
        let (a, b) = (state_dict(&layer).unwrap(), state_dict(&clone).unwrap());
        assert!(a.iter().all(|(path, array)| array.is_same(&b[path])), "{name}");
        drop((a, b));
        params_mut(&mut clone, |_, param| param.value.as_mut_slice::<f32>().unwrap().fill(7.0));
        assert_eq!(bits(&layer.forward(&input).unwrap()), before, "{name}");
        if count(&layer).all > 0 {
            assert_ne!(bits(&clone.forward(&input).unwrap()), before, "{name}");
        }
    }
}

#[test]
fn saved_and_loaded_bits_are_the_same() {
    let folder = std::env::temp_dir().join(format!("chainrule-laws-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    for (i, case) in cases().into_iter().enumerate() {
        for dtype in [DType::F32, DType::F64, DType::BF16, DType::F16] {
            let file = folder.join(format!("{i}-{dtype}.safetensors"));
            let mut saved = case.layer.clone();
            params_mut(&mut saved, |_, param| param.initialise(Init::Normal { mean: 0.0, deviation: 1.0 }, &mut Rng::seeded(3)).unwrap());
            to_dtype(&mut saved, dtype).unwrap();
            save(&saved, &file).unwrap();
            let mut loaded = case.layer.clone();
            to_dtype(&mut loaded, dtype).unwrap();
            let report = load(&mut loaded, &file).unwrap();
            assert!(report.is_complete() && report.loaded.len() == case.keys.len());
            for (path, array) in state_dict(&loaded).unwrap() {
                let expected = &state_dict(&saved).unwrap()[&path];
                assert_eq!(array.dtype(), expected.dtype());
                assert_eq!(bits(&array.into()), bits(&expected.into()), "{} {path}", case.name);
            }
        }
    }
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn a_frozen_layer_records_nothing() {
    for Case { name, layer, input, .. } in cases() {
        let layer = frozen(&layer);
        let tape = Tape::training(&mut Rng::seeded(0));
        layer.forward(&tape.input(&input)).unwrap();
        assert_eq!(tape.operations(), Vec::<&str>::new(), "{name}");
        let tape = Tape::training(&mut Rng::seeded(0));
        layer.forward(&tape.watch(&input)).unwrap();
        assert!(!tape.operations().contains(&"parameter"), "{name}");
    }
}

#[test]
fn every_trainable_parameter_gets_a_gradient() {
    for Case { name, layer, input, .. } in cases() {
        let tape = Tape::training(&mut Rng::seeded(0));
        let y = layer.forward(&tape.input(&input)).unwrap();
        if count(&layer).trainable == 0 {
            assert!(!y.needs_gradient(), "{name}");
            continue;
        }
        let gradients = y.sum().unwrap().backward().unwrap();
        params(&layer, |path, param| assert_eq!(gradients.get(param.id).map(|g| g.dims()), Some(param.value.dims()), "{name} {path}"));
    }
}

#[test]
fn conversion_moves_all_numbers_but_counters() {
    for Case { name, mut layer, .. } in cases() {
        for dtype in [DType::F64, DType::BF16, DType::F16, DType::F32] {
            to_dtype(&mut layer, dtype).unwrap();
            for (path, array) in state_dict(&layer).unwrap() {
                assert_eq!(array.dtype(), if path == "num_batches_tracked" { DType::I64 } else { dtype }, "{name} {path}");
            }
        }
        assert!(to_dtype(&mut layer, DType::I64).is_err());
    }
}

#[test]
fn an_input_that_does_not_fit_is_an_error_with_the_path() {
    let mut checked = 0;
    for Case { name, layer, wrong, keys, .. } in cases() {
        let Some(wrong) = wrong else { continue };
        let x = Tensor::ones(&wrong, DType::F32).unwrap();
        let error = layer.forward(&x).unwrap_err().to_string();
        assert!(error.contains(&format!("{wrong:?}")) || name == "Flatten", "{name}: {error}");
        if !keys.is_empty() {
            let model = vec![Sequential::new(), Sequential::new().add(Identity).add(layer)];
            let error = locate(&model, model[1].forward(&x).unwrap_err()).to_string();
            let start = if keys[0].starts_with("0.") { "1.1.0: " } else { "1.1: " };
            assert!(error.starts_with(start), "{name}: {error}");
            checked += 1;
        }
    }
    assert!(checked >= 9);
}

#[test]
fn all_are_send_and_sync_and_report_themselves() {
    fn both<T: Send + Sync>(_: &T) {}
    for Case { name, layer, input, output, .. } in cases() {
        both(&layer);
        let model = Sequential::new().add(Identity).add(layer);
        let (y, given) = activations(&model, || model.forward(&input));
        let own = given.iter().find(|(path, _)| path == "1").unwrap_or_else(|| panic!("{name} does not report"));
        assert_eq!(own.1.dims(), output, "{name}");
        assert_eq!(given.last().unwrap().0, "", "{name}");
        assert_eq!(bits(&own.1), bits(&y.unwrap()), "{name}");
    }
}

/// Two threads run one model at once, and two tapes.
#[test]
fn threads_share_a_model() {
    for Case { name, layer, input, .. } in cases() {
        let run = || {
            let tape = Tape::training(&mut Rng::seeded(9));
            bits(&layer.forward(&tape.input(&input)).unwrap())
        };
        let alone = run();
        std::thread::scope(|scope| {
            let threads = [scope.spawn(run), scope.spawn(run)];
            for thread in threads {
                assert_eq!(thread.join().unwrap(), alone, "{name}");
            }
        });
    }
}

#[test]
fn the_padding_row_is_zero_and_stays() {
    let embedding = Embedding::new(4, 3, &mut Rng::seeded(0)).unwrap().padding(2).unwrap();
    let tape = Tape::training(&mut Rng::seeded(0));
    let tokens = tape.input(Tensor::from_slice(&[2i64, 1, 2], &[3]).unwrap());
    let y = embedding.forward(&tokens).unwrap();
    let zero = |values: Vec<f32>, row: usize| values[3 * row..][..3].iter().all(|v| *v == 0.0);
    assert!(zero(y.to_vec().unwrap(), 0) && !zero(y.to_vec().unwrap(), 1));
    let gradients = y.sum().unwrap().backward().unwrap();
    let gradient = gradients.get(embedding.weight.id).unwrap().to_vec::<f32>().unwrap();
    assert!(zero(gradient.clone(), 2) && gradient[3..6] == [1.0; 3]);
    assert!(embedding.clone().padding(4).is_err());
    let error = embedding.run(&Tensor::from_slice(&[4i64], &[1]).unwrap()).unwrap_err().to_string();
    assert!(error.starts_with("weight: ") || error.contains('4'), "{error}");
}
