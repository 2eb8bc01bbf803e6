//! MobileNetV2 against PyTorch.

mod formula;

use chainrule_autograd::Rng;
use chainrule_core::DType;
use chainrule_models::MobileNetV2;
use chainrule_nn::{Layer, params};

#[test]
fn it_computes_what_torchvision_computes() {
    let mut model = MobileNetV2::new(10, &mut Rng::seeded(0)).expect("a model");
    formula::replay("mobilenet_v2", &mut model, &formula::image(&[2, 3, 64, 64]), DType::F32, 1e-3, |model, x| model.forward(x));
}

#[test]
fn paths_are_those_of_published_files() -> chainrule_nn::Result<()> {
    let mut paths = vec![];
    params(&MobileNetV2::with_width(0.25, 10, &mut Rng::seeded(0))?, |path, _| paths.push(path.to_string()));
    for expected in [
        "features.0.0.weight",
        "features.1.conv.1.weight",
        "features.2.conv.1.0.weight",
        "features.17.conv.3.bias",
        "features.18.1.weight",
        "classifier.1.bias",
    ] {
        assert!(paths.iter().any(|path| path == expected), "{expected} is not among {paths:?}");
    }
    assert_eq!(paths.len(), 158);
    Ok(())
}

#[test]
fn features_and_head_make_the_whole() -> chainrule_nn::Result<()> {
    let rng = &mut Rng::seeded(0);
    let mut model = MobileNetV2::with_width(0.25, 10, rng)?;
    let images = formula::image(&[1, 3, 32, 32]);
    assert_eq!(model.head(&model.pooled(&images)?)?.to_vec::<f32>()?, model.forward(&images)?.to_vec::<f32>()?);
    assert_eq!(model.replace_head(4, rng)?.weight.value.dims(), [10, 1280]);
    assert_eq!(model.forward(&images)?.dims(), [1, 4]);
    assert!(MobileNetV2::with_width(f64::NAN, 10, rng).is_err());
    Ok(())
}
