//! Gradual unfreezing, and rates by depth.

use crate::*;
use chainrule_autograd::Gradients;
use chainrule_finetune::{GradualUnfreezing, discriminative, freeze, groups_by_depth};
use chainrule_optim::{Schedule, Sgd};

fn deep() -> Sequential {
    let rng = &mut Rng::seeded(0);
    Sequential::new().add(Linear::new(2, 2, rng).unwrap()).add(Linear::new(2, 2, rng).unwrap()).add(Relu).add(Linear::new(2, 2, rng).unwrap())
}

#[test]
fn groups_thaw_from_the_top() -> Result {
    let mut model = deep();
    let plan = GradualUnfreezing::new(&groups_by_depth(&model))?;
    let layers = |model: &Sequential| trainable(model).iter().filter_map(|path| path.strip_suffix(".weight").map(str::to_string)).collect::<Vec<_>>();
    let seen: Vec<_> = (0..4).map(|epoch| plan.apply(&mut model, epoch).map(|changed| (changed, layers(&model)))).collect::<Result<_, _>>()?;
    let expected: [(usize, &[&str]); 4] = [(4, &["3"]), (2, &["1", "3"]), (2, &["0", "1", "3"]), (0, &["0", "1", "3"])];
    assert!(seen.iter().zip(expected).all(|(got, expected)| got.0 == expected.0 && got.1 == expected.1), "{seen:?}");
    // A resumed run comes to the same at once; with other dates and patterns.
    let plan = GradualUnfreezing::new(&["3.*", "*"])?.every(10);
    plan.apply(&mut model, 9)?;
    assert_eq!(layers(&model), ["3"]);
    GradualUnfreezing::at(&[("3.*", 5), ("*", 0)])?.apply(&mut model, 3)?;
    assert_eq!(layers(&model), ["0", "1"], "what the top group matches is its own");
    freeze(&mut model, "0.*")?;
    let before = trainable(&model);
    let error = GradualUnfreezing::new(&["3.*", "7.*"])?.apply(&mut model, 5).unwrap_err().to_string();
    assert!(error.contains("\"7.*\" matches no parameter"), "{error}");
    assert_eq!(trainable(&model), before);
    assert!(GradualUnfreezing::new(&["{"]).is_err());
    Ok(())
}

#[test]
fn steps_shrink_with_depth() -> Result {
    let mut model = deep();
    let before = model.clone();
    let mut gradients = Gradients::default();
    params(&model, |_, param| gradients.insert(param.id, Array::ones(param.value.dims(), DType::F32).unwrap()));
    let mut sgd = discriminative(Sgd::new(0.5), &groups_by_depth(&model), 2.6);
    sgd.step(&mut model, &gradients)?;
    let (now, then) = (state_dict(&model)?, state_dict(&before)?);
    for (layer, depth) in [(3, 0), (1, 1), (0, 2)] {
        for name in ["weight", "bias"] {
            let at = |state: &chainrule_nn::StateDict| numbers(&Tensor::from(&state[&format!("{layer}.{name}")]))[0];
            assert_near(at(&then) - at(&now), 0.5 / 2.6f64.powi(depth), 1e-6);
        }
    }
    // Where patterns overlap the upper group holds.
    let mut model = before.clone();
    discriminative(Sgd::new(0.5), &[r"regex:3\.(weight|bias)", "*"], 10.0).step(&mut model, &gradients)?;
    let moved = |path: &str| numbers(&Tensor::from(&then[path]))[0] - numbers(&Tensor::from(&state_dict(&model).unwrap()[path]))[0];
    assert_near(moved("3.bias"), 0.5, 1e-6);
    assert_near(moved("0.bias"), 0.05, 1e-6);
    assert!(discriminative(Sgd::new(0.5), &["3.*", "nothing"], 2.6).step(&mut model, &gradients).is_err());
    assert!(discriminative(Sgd::new(0.5), &["3.*", "0.*"], 0.0).step(&mut model, &gradients).is_err());
    Ok(())
}

#[test]
fn the_slanted_triangle_is_the_papers() {
    // cut = ⌊T cut_frac⌋; p = t / cut below it, else 1 - (t - cut) / (cut (1 / cut_frac - 1)); η_t = η_max (1 + p (ratio - 1)) / ratio
    let (total, share, ratio) = (200u64, 0.1, 32.0);
    let cut = (total as f64 * share).floor();
    let schedule = Schedule::slanted_triangular(total, share, ratio);
    for t in 0..total {
        let t_ = t as f64;
        let p = if t_ < cut { t_ / cut } else { 1.0 - (t_ - cut) / (cut * (1.0 / share - 1.0)) };
        assert_near(schedule.at(t), (1.0 + p * (ratio - 1.0)) / ratio, 1e-12);
    }
}
