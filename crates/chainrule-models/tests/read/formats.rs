//! What `scripts/fixtures/weights.py` wrote with PyTorch and NumPy, number for number.

use chainrule_autograd::{DType, Rng};
use chainrule_models::read::Checkpoint;
use chainrule_nn::{Error, Linear, load_state_dict, state_dict};
use std::path::PathBuf;

pub fn fixture(name: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "tests", "files", name].iter().collect()
}

pub fn open(name: &str) -> Checkpoint {
    Checkpoint::open(fixture(name)).unwrap()
}

/// Element type, extents and numbers.
fn contents(checkpoint: &mut Checkpoint, name: &str) -> (DType, Vec<usize>, Vec<f64>) {
    let array = checkpoint.read(name).unwrap_or_else(|e| panic!("{name}: {e}"));
    (array.dtype(), array.dims().to_vec(), array.cast(DType::F64).unwrap().to_vec().unwrap())
}

#[test]
fn both_formats_of_pytorch() {
    for file in ["old.pth", "new.pth"] {
        let mut checkpoint = open(file);
        let mut is = |name: &str, dtype: DType, dims: &[usize], numbers: &[f64]| {
            assert_eq!(contents(&mut checkpoint, name), (dtype, dims.to_vec(), numbers.to_vec()), "{file} {name}");
        };
        is("state_dict.weight", DType::F32, &[3, 2], &[0.0, 1.0, 2.0, 3.0, 4.0, 5.0]);
        is("state_dict.bias", DType::F32, &[3], &[-1.0, 0.0, 1.0]);
        is("state_dict.scale", DType::F32, &[1], &[2.5]);
        is("state_dict.tied", DType::F32, &[3, 2], &[0.0, 1.0, 2.0, 3.0, 4.0, 5.0]);
        is("views.turned", DType::F32, &[4, 3], &[0.0, 2.0, 4.0, 0.5, 2.5, 4.5, 1.0, 3.0, 5.0, 1.5, 3.5, 5.5]);
        is("views.part", DType::F32, &[2, 2], &[2.5, 3.0, 4.5, 5.0]);
        is("views.row", DType::F32, &[4], &[4.0, 4.5, 5.0, 5.5]);
        is("views.one", DType::F32, &[], &[3.5]);
        is("expanded", DType::F32, &[2, 3], &[1.5, 1.5, 1.5, 2.5, 2.5, 2.5]);
        is("empty", DType::F32, &[0, 3], &[]);
        is("state.0.momentum", DType::F32, &[2], &[1.0, 1.0]);
        is("list.0", DType::I64, &[], &[7.0]);
        is("list.2.0", DType::F32, &[], &[9.0]);
        let signed = [-2.0, -1.0, 0.0, 1.0, 2.0, 3.0];
        for (name, dtype) in [("float64", DType::F64), ("float32", DType::F32), ("float16", DType::F16), ("bfloat16", DType::BF16)] {
            is(&format!("types.{name}"), dtype, &[6], &signed);
        }
        for name in ["int64", "int32", "int16", "int8"] {
            is(&format!("types.{name}"), DType::I64, &[6], &signed);
        }
        is("types.uint8", DType::U8, &[4], &[0.0, 1.0, 2.0, 3.0]);
        is("types.bool", DType::U8, &[3], &[1.0, 0.0, 1.0]);
        let newer = ["types.uint16", "types.uint32"].into_iter().filter(|_| file == "new.pth");
        newer.clone().for_each(|name| is(name, DType::I64, &[3], &[1.0, 2.0, 60000.0]));
        assert_eq!(checkpoint.entries().count(), 23 + newer.count());
        // In another type than the file's.
        assert_eq!(checkpoint.read_as("types.bfloat16", DType::F32).unwrap().to_vec::<f32>().unwrap(), signed.map(|x| x as f32));
        assert_eq!(checkpoint.read_as("views.turned", DType::BF16).unwrap().dtype(), DType::BF16);
        assert_eq!(checkpoint.state_dict().unwrap().len(), checkpoint.entries().count());
    }
}

#[test]
fn a_model_loads_from_within_a_training() {
    for file in ["old.pth", "new.pth"] {
        let mut model = Linear::new(2, 3, &mut Rng::seeded(0)).unwrap();
        let before = state_dict(&model).unwrap();
        let error = open(file).within("state_dict").unwrap().load(&mut model).unwrap_err();
        assert!(matches!(&error, Error::Load(report) if report.unexpected.len() == 2), "{error}");
        assert!(model.weight.value.is_same(&before["weight"]));
        let mut checkpoint = open(file).within("state_dict").unwrap().ignore("{scale,tied}").unwrap();
        let report = checkpoint.load(&mut model).unwrap();
        assert_eq!((report.loaded.len(), report.ignored), (2, vec!["scale".to_string(), "tied".to_string()]));
        assert_eq!(model.weight.value.to_vec::<f32>().unwrap(), [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]);
        assert!(load_state_dict(&mut model, &checkpoint.state_dict().unwrap()).unwrap().is_complete());
        let near = open(file).within("state_dic").unwrap_err().to_string();
        assert!(near.contains("within") && near.contains("near it"), "{near}");
    }
}

#[test]
fn numpys_archives() {
    for file in ["stored.npz", "deflated.npz"] {
        let mut checkpoint = open(file);
        assert_eq!(contents(&mut checkpoint, "a"), (DType::F32, vec![2, 3], vec![0.0, 1.0, 2.0, 3.0, 4.0, 5.0]));
        assert_eq!(contents(&mut checkpoint, "b/c"), (DType::I64, vec![4], vec![0.0, 1.0, 2.0, 3.0]));
        assert_eq!(contents(&mut checkpoint, "flag"), (DType::U8, vec![2], vec![1.0, 0.0]));
        if file == "deflated.npz" {
            assert_eq!(contents(&mut checkpoint, "zeros"), (DType::F64, vec![4000], vec![0.0; 4000]));
        }
    }
    let numbers = |x: std::ops::Range<i32>| x.map(f64::from).collect::<Vec<_>>();
    assert_eq!(contents(&mut open("column_major.npy"), "array"), (DType::F64, vec![2, 3, 4], numbers(0..24)));
    assert_eq!(contents(&mut open("half.npy"), "array"), (DType::F16, vec![2], vec![0.5, -2.0]));
}

#[test]
fn safetensors() {
    let mut checkpoint = open("small.safetensors");
    assert_eq!(contents(&mut checkpoint, "a"), (DType::F32, vec![3, 4], (0..12).map(|i| f64::from(i) / 2.0).collect()));
    for (name, dtype) in [("b", DType::BF16), ("c", DType::F16), ("e", DType::I64)] {
        assert_eq!(contents(&mut checkpoint, name), (dtype, vec![6], vec![-2.0, -1.0, 0.0, 1.0, 2.0, 3.0]));
    }
    assert_eq!(contents(&mut checkpoint, "d"), (DType::U8, vec![3], vec![1.0, 0.0, 1.0]));
}
