//! What a method is not for is said by name, and nothing is attached.

use super::model::everything;
use chainrule_autograd::{DType, Rng, Tensor};
use chainrule_finetune::{Adapted, Bottleneck, Ia3, Lora, Method, Result, Vera};
use chainrule_nn::{AnyAdapter, Conv2d, ConvTranspose2d, Layer, Linear, Module, Path, Sequential, Site, Visitor};

fn refused<M: Module + Clone>(base: M, method: impl Method + 'static, expected: &str) {
    let mut model = Adapted::new(base);
    let error = model.add("a", method, &mut Rng::seeded(0)).expect_err(expected).to_string();
    assert!(error.contains(expected), "{error}");
    assert!(model.names().is_empty() && model.active().is_empty());
}

#[test]
fn layers_and_settings_that_do_not_fit() -> Result<()> {
    let rng = &mut Rng::seeded(0);
    let spreading = Sequential::new().add(ConvTranspose2d::new(2, 2, 3, rng)?);
    let grouped = Sequential::new().add(Conv2d::grouped(4, 4, 3, 2, rng)?);
    for (method, expected) in [
        (Lora::rank(2).targets(["gru.weight_ih_l0"]).dropout(0.1), "gru.weight_ih_l0: lora: got a dropout of 0.1"),
        (Lora::rank(2).targets(["output"]).dropout(1.0), "output: lora: got a dropout of 1"),
        (Lora::rank(2).targets(["output"]).alpha(f64::NAN), "output: lora: got alpha NaN"),
        (Lora::rank(2).targets(["output", "intermediate"]).rank_of("outptu", 4), "\"outptu\" matches no layer that is adapted; near it are \"output\""),
        (Lora::rank(0).targets(["output"]).dora(), "output: dora: got rank 0"),
    ] {
        refused(everything(), method, expected);
    }
    refused(spreading, Lora::rank(2).targets(["0"]), "expected a linear layer, an embedding, a convolution or a recurrent weight");
    refused(grouped.clone(), Lora::rank(3).targets(["0"]), "0: lora: got rank 3 for a convolution of 2 groups");
    refused(grouped, Lora::rank(2).targets(["0"]).dora(), "cannot be merged");
    refused(everything(), Ia3::outputs(["embedding"]), "embedding: ia3: got a layer of Embedding");
    refused(everything(), Vera::rank(2).targets(["conv"]), "conv: vera: got a layer of Conv2d");
    refused(everything(), Vera::rank(0).targets(["output"]), "vera: got rank 0");
    refused(everything(), Bottleneck::houlsby().targets(["output"]).reduction(0), "expected at least one feature");
    let small = Vera::rank(2).with_projections(Tensor::ones(&[2, 3], DType::F32)?.into_array(), Tensor::ones(&[9, 2], DType::F32)?.into_array())?;
    refused(everything(), small.targets(["output"]), "too small for a weight [4, 6]");
    Ok(())
}

struct Merge(Option<String>);

impl Visitor for Merge {
    fn adapter(&mut self, _: &str, site: Site<'_>, adapter: Option<&dyn AnyAdapter>) {
        self.0 = adapter.and_then(|adapter| adapter.merged(&(&site.weight.value).into()).err()).map(|error| error.to_string());
    }
}

#[test]
fn what_cannot_be_merged_says_so() -> Result<()> {
    let rng = &mut Rng::seeded(0);
    let mut grouped = Adapted::new(Sequential::new().add(Conv2d::grouped(4, 4, 3, 2, rng)?));
    grouped.add("a", Lora::rank(2).targets(["0"]), rng)?;
    assert_eq!(grouped.run(&Tensor::ones(&[1, 4, 3, 3], DType::F32)?)?.dims(), [1, 4, 1, 1]);
    let mut linear = Adapted::new(Sequential::new().add(Linear::new(4, 4, rng)?));
    linear.add("a", Bottleneck::houlsby().targets(["0"]), rng)?;
    for (model, expected) in [(grouped, "the low-rank path of a convolution in groups"), (linear, "a bottleneck adapter has a non-linearity")] {
        let mut merge = Merge(None);
        model.visit(&mut Path::default(), &mut merge);
        assert!(merge.0.is_some_and(|error| error.contains(expected)));
    }
    Ok(())
}
