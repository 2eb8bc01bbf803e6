//! Published files, where they are at hand. The sums are of Python's reading: `torch.load`, `numpy.load`, `safetensors.safe_open`.

use crate::sums;
use chainrule_autograd::DType;
use chainrule_models::read::Checkpoint;
use std::io::Write;
use std::path::PathBuf;

/// A file of the data folder: of that named by CHAINRULE_DATA, else of `shared/data` beside the workspace; its absence is said past the test's capture.
fn data(name: &str) -> Option<PathBuf> {
    let beside = || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/data"));
    let file = std::env::var_os("CHAINRULE_DATA").map_or_else(beside, PathBuf::from).join(name);
    if file.exists() {
        return Some(file);
    }
    let _ = writeln!(std::io::stderr(), "SKIPPED: {} is not there; name the folder that holds {name} by CHAINRULE_DATA", file.display());
    None
}

fn check(name: &str, arrays: usize, numbers: usize, expected: &[(&str, DType, &[usize], [f64; 2])]) {
    let Some(file) = data(name) else { return };
    let mut checkpoint = Checkpoint::open(&file).unwrap();
    assert_eq!(checkpoint.entries().count(), arrays);
    assert_eq!(checkpoint.entries().map(|(_, entry)| entry.dims().iter().product::<usize>()).sum::<usize>(), numbers);
    for (tensor, dtype, dims, expected) in expected {
        let array = checkpoint.read(tensor).unwrap();
        assert_eq!((array.dtype(), array.dims()), (*dtype, *dims), "{tensor}");
        for (got, expected) in sums(&array).into_iter().zip(expected) {
            assert!((got - expected).abs() <= 1e-9 * expected.abs().max(1.0), "{tensor}: {got} {expected}");
        }
    }
}

#[test]
fn mobilenet_of_the_old_format() {
    let expected: &[(&str, DType, &[usize], [f64; 2])] = &[
        ("features.0.0.weight", DType::F32, &[32, 3, 3, 3], [-7.730716341e-01, -2.344182013e+00]),
        ("features.18.0.weight", DType::F32, &[1280, 320, 1, 1], [-9.814512792e+01, 1.933688381e+01]),
        ("classifier.1.bias", DType::F32, &[1000], [-1.018483163e-04, -5.992900560e-01]),
        ("features.3.conv.1.1.running_var", DType::F32, &[144], [3.725571494e-01, 4.775061156e-03]),
        ("features.0.1.num_batches_tracked", DType::I64, &[], [1_431_430.0, 1_204_506.811_783_567_3]),
    ];
    check("mobilenet_v2/mobilenet_v2-b0353104.pth", 314, 3_539_036, expected);
}

#[test]
fn sentence_model_in_half_precision() {
    let expected: &[(&str, DType, &[usize], [f64; 2])] = &[
        ("embeddings.LayerNorm.bias", DType::F16, &[384], [4.187344790e+00, 2.024483338e+00]),
        ("pooler.dense.weight", DType::F16, &[384, 384], [-8.150986969e+00, 1.434770604e+00]),
    ];
    check("minilm/model_f16.safetensors", 104, 22_713_728, expected);
}

#[test]
fn voice_detector() {
    let expected: &[(&str, DType, &[usize], [f64; 2])] = &[
        ("conv1.weight", DType::F32, &[128, 129, 3], [-8.841920835e+02, 9.571489331e-01]),
        ("stft_conv.weight", DType::F32, &[258, 1, 256], [6.399999985e+01, 6.874291647e+01]),
    ];
    check("vad/silero_vad_16k.safetensors", 15, 309_633, expected);
}

#[test]
fn spelling_model_of_numpy() {
    let expected: &[(&str, DType, &[usize], [f64; 2])] = &[
        ("enc_emb", DType::F32, &[29, 256], [1.562016682e+02, 4.360673512e+01]),
        ("enc_w_hh", DType::F32, &[768, 256], [3.951163876e+02, -3.041484745e+01]),
        ("fc_b", DType::F32, &[74], [-9.764984988e-01, 2.625854999e-01]),
    ];
    check("g2p/g2p_gru.npz", 12, 834_890, expected);
}
