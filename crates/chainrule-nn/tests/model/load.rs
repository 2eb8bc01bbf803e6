//! State dicts and files that fit, nearly fit, or do not.

use crate::Folder;
use chainrule_autograd::{Array, DType, Rng, Tensor};
use chainrule_nn::safetensors::Safetensors;
use chainrule_nn::*;
use std::collections::BTreeMap;

#[derive(Module, Clone)]
struct Net {
    conv1: Conv2d,
    norm: BatchNorm2d,
    fc: Linear,
}

fn net(seed: u64) -> Net {
    let rng = &mut Rng::seeded(seed);
    Net { conv1: Conv2d::new(1, 2, 3, rng).unwrap(), norm: BatchNorm2d::new(2).unwrap(), fc: Linear::new(4, 3, rng).unwrap() }
}

fn numbers(model: &dyn Module) -> BTreeMap<String, Vec<f64>> {
    state_dict(model).unwrap().into_iter().map(|(path, a)| (path, a.cast(DType::F64).unwrap().to_vec().unwrap())).collect()
}

#[test]
fn keys_are_those_of_pytorch() {
    let keys: Vec<String> = state_dict(&net(0)).unwrap().into_keys().collect();
    let expected =
        ["conv1.bias", "conv1.weight", "fc.bias", "fc.weight", "norm.bias", "norm.num_batches_tracked", "norm.running_mean", "norm.running_var", "norm.weight"];
    assert_eq!(keys, expected);
}

#[test]
fn a_strict_load_that_does_not_fit_reports_all_and_changes_nothing() {
    let mut model = net(0);
    let before = numbers(&model);
    let mut state = state_dict(&net(1)).unwrap();
    let weight = state.remove("conv1.weight").unwrap();
    state.insert("conv1.wieght".into(), weight);
    state.insert("extra".into(), Array::ones(&[1], DType::F32).unwrap());
    state.insert("fc.bias".into(), Array::ones(&[4], DType::F32).unwrap());
    state.insert("norm.running_mean".into(), Array::ones(&[2], DType::I64).unwrap());
    let error = load_state_dict(&mut model, &state).unwrap_err();
    let expected = "load: the names or shapes do not fit the model, and nothing was changed: 0 loaded, 1 missing, 2 unexpected, 2 of the wrong shape
  missing: conv1.weight (near it: conv1.wieght)
  unexpected: conv1.wieght (near it: conv1.weight)
  unexpected: extra
  wrong shape: fc.bias: got f32 [4], expected f32 [3]
  wrong shape: norm.running_mean: got i64 [2], expected f32 [2]";
    assert_eq!(error.to_string(), expected);
    assert_eq!(numbers(&model), before);

    let report = load_state_dict_partly(&mut model, &state).unwrap();
    assert_eq!((report.loaded.len(), report.missing.len(), report.unexpected.len(), report.mismatched.len()), (6, 1, 2, 2));
    let (after, other) = (numbers(&model), numbers(&net(1)));
    for (path, values) in &after {
        let expected = if report.loaded.contains(path) { &other[path] } else { &before[path] };
        assert_eq!(values, expected, "{path}");
    }
}

#[test]
fn identities_and_trainability_survive_loading() {
    let mut model = net(0);
    freeze(&mut model, "fc.*").unwrap();
    let id = model.fc.weight.id;
    assert!(load_state_dict(&mut model, &state_dict(&net(1)).unwrap()).unwrap().is_complete());
    assert!(model.fc.weight.id == id && !model.fc.weight.trainable && model.conv1.weight.trainable);
    assert_eq!(numbers(&model), numbers(&net(1)));
}

#[test]
fn files_convert_to_the_models_types() {
    let folder = Folder::new("convert");
    for dtype in [DType::F16, DType::BF16, DType::F64, DType::F32] {
        let file = folder.file(dtype.name());
        let mut saved = net(1);
        to_dtype(&mut saved, dtype).unwrap();
        save(&saved, &file).unwrap();
        let mut model = net(0);
        let report = load(&mut model, &file).unwrap();
        assert_eq!(report.to_string(), "9 loaded, 0 missing, 0 unexpected, 0 of the wrong shape");
        assert!(model.fc.weight.value.dtype() == DType::F32);
        let f32_of = |a: &Array| Tensor::from(a).cast(DType::F32).unwrap().to_vec::<f32>().unwrap();
        assert_eq!(f32_of(&model.fc.weight.value), f32_of(&saved.fc.weight.value));
        // Loading again by name, in the file's own type.
        let mut open = Safetensors::open(&file).unwrap();
        assert_eq!(open.read("fc.weight").unwrap().dtype(), dtype);
        assert_eq!(open.entries().find(|(name, _)| *name == "conv1.weight").unwrap().1.dims(), [2, 1, 3, 3]);
    }
}

#[test]
fn equal_contents_give_equal_bytes() {
    let folder = Folder::new("bytes");
    let state = state_dict(&net(1)).unwrap();
    let texts: BTreeMap<String, String> = (0..20).map(|i| (format!("key {i}"), format!("\"{i}\" \u{e9}"))).collect();
    let write = |name: &str| {
        safetensors::write(folder.file(name), &state, &texts).unwrap();
        std::fs::read(folder.file(name)).unwrap()
    };
    let bytes = write("a");
    assert_eq!(bytes, write("b"));
    assert_eq!(Safetensors::open(folder.file("a")).unwrap().metadata(), &texts);
    // The numbers begin at a multiple of eight.
    assert_eq!(u64::from_le_bytes(bytes[..8].try_into().unwrap()) % 8, 0);
    // The reference implementation reads it too.
    let reference = ::safetensors::SafeTensors::deserialize(&bytes).unwrap();
    assert_eq!(reference.len(), state.len());
    for (name, array) in &state {
        let view = reference.tensor(name).unwrap();
        assert_eq!(view.shape(), array.dims());
        if array.dtype() == DType::F32 {
            let expected: Vec<u8> = array.to_vec::<f32>().unwrap().iter().flat_map(|x| x.to_le_bytes()).collect();
            assert_eq!(view.data(), expected);
        }
    }
}

#[test]
fn views_and_empty_arrays_are_saved() {
    let folder = Folder::new("views");
    let whole = Array::arange(0.0, 6.0, 1.0, DType::F32).unwrap().reshape(&[2, 3]).unwrap();
    let state: StateDict = [
        ("turned".to_string(), whole.transpose(0, 1).unwrap()),
        ("part".to_string(), whole.narrow(1, 1, 2).unwrap()),
        ("empty".to_string(), Array::zeros(&[0, 3], DType::F64).unwrap()),
        ("scalar".to_string(), Array::scalar(7.0, DType::U8).unwrap()),
    ]
    .into();
    safetensors::write(folder.file("f"), &state, &BTreeMap::new()).unwrap();
    let read = safetensors::read(folder.file("f")).unwrap();
    assert_eq!(read["turned"].to_vec::<f32>().unwrap(), [0.0, 3.0, 1.0, 4.0, 2.0, 5.0]);
    assert_eq!(read["part"].to_vec::<f32>().unwrap(), [1.0, 2.0, 4.0, 5.0]);
    assert_eq!((read["empty"].dims(), read["scalar"].dtype()), (&[0, 3][..], DType::U8));
}

#[test]
fn a_failed_save_leaves_the_old_file_and_no_draft() {
    let folder = Folder::new("atomic");
    let file = folder.file("model");
    save(&net(0), &file).unwrap();
    let before = std::fs::read(&file).unwrap();
    let error = write_file(&file, |out| {
        out.write_all(b"half of a")?;
        Err(std::io::Error::other("the disk is full"))
    });
    assert!(error.unwrap_err().to_string().ends_with("cannot be written: the disk is full"));
    assert_eq!(std::fs::read(&file).unwrap(), before);
    assert_eq!(std::fs::read_dir(&folder.0).unwrap().count(), 1);
    assert!(save(&net(0), folder.file("no/such/folder")).is_err());
    assert!(save(&net(0), "/").is_err());
    // Over the old file, when all goes well.
    save(&net(1), &file).unwrap();
    assert_ne!(std::fs::read(&file).unwrap(), before);
}

#[test]
fn two_at_one_path_are_refused() {
    #[derive(Module, Clone)]
    struct Clash {
        #[module(name = "weight")]
        first: Param,
        weight: Param,
    }
    let param = || Param::new(Array::ones(&[1], DType::F32).unwrap());
    let mut clash = Clash { first: param(), weight: param() };
    for error in [state_dict(&clash).unwrap_err(), load_state_dict(&mut clash, &StateDict::new()).unwrap_err(), to_dtype(&mut clash, DType::F64).unwrap_err()] {
        assert!(matches!(&error, Error::TwoAtOnePath { path } if path == "weight"), "{error}");
    }
}
