//! What surrounds the input of convolution layers, and their adapter slots.

use chainrule_autograd::{DType, PadMode, Result, Rng, Tensor};
use chainrule_nn::*;

fn image() -> Tensor {
    Tensor::uniform(&[2, 3, 5, 6], -1.0, 1.0, DType::F64, &mut Rng::seeded(4)).unwrap()
}

fn conv() -> Conv2d {
    let mut conv = Conv2d::new(3, 2, [2, 3], &mut Rng::seeded(5)).unwrap().dilation([3, 1]);
    to_dtype(&mut conv, DType::F64).unwrap();
    conv
}

fn close(a: &Tensor, b: &Tensor) {
    assert_eq!(a.dims(), b.dims());
    assert!(a.sub(b).unwrap().abs().unwrap().to_vec::<f64>().unwrap().iter().all(|difference| *difference < 1e-12));
}

#[test]
fn same_keeps_the_extents_with_the_odd_position_at_the_end() {
    let (x, conv) = (image(), conv());
    let expected = conv.forward(&x.pad(&[(1, 2), (1, 1)], 0.0).unwrap()).unwrap();
    close(&conv.clone().same().forward(&x).unwrap(), &expected);
    for mode in [PadMode::Reflect, PadMode::Replicate, PadMode::Circular] {
        let expected = conv.forward(&x.pad_with(&[(1, 2), (1, 1)], mode).unwrap()).unwrap();
        close(&conv.clone().same().padding_mode(mode).forward(&x).unwrap(), &expected);
        let expected = conv.forward(&x.pad_with(&[(2, 2), (1, 1)], mode).unwrap()).unwrap();
        close(&conv.clone().padding([2, 1]).padding_mode(mode).forward(&x).unwrap(), &expected);
    }
    let error = conv.same().stride(2).forward(&x).unwrap_err().to_string();
    assert!(error.contains("stride [2, 2]"), "{error}");
}

/// Adds a delta to the weight.
#[derive(Module, Clone)]
struct Delta(Param);

impl Adapter for Delta {
    fn adapt(&self, x: &Tensor, site: &Site) -> Result<Tensor> {
        site.forward(x)?.add(&site.operation.apply(x, &self.0.on(x)?, None)?)
    }
    fn merged(&self, weight: &Tensor) -> Result<Tensor> {
        weight.add(&self.0.on(weight)?)
    }
}

/// An adapter sees the input with its rim, so it need not know of it; merged or not, the result is the same.
#[test]
fn adapters_of_all_convolutions_merge() {
    let rng = &mut Rng::seeded(6);
    macro_rules! check {
        ($($layer:expr, $x:expr;)*) => { $({
            let mut layer = $layer;
            to_dtype(&mut layer, DType::F64).unwrap();
            let x = Tensor::uniform(&$x, -1.0, 1.0, DType::F64, rng).unwrap();
            let delta = Tensor::uniform(layer.weight.value.dims(), -1.0, 1.0, DType::F64, rng).unwrap().into_array();
            let mut merged = layer.clone();
            let sum = Tensor::from(&merged.weight.value).add(&Tensor::from(&delta)).unwrap();
            merged.weight.value = sum.into_array();
            layer.adapter = Some(Box::new(Delta(Param::new(delta))));
            close(&layer.forward(&x).unwrap(), &merged.forward(&x).unwrap());
        })* };
    }
    check! {
        Conv1d::new(2, 3, 3, rng).unwrap().same().padding_mode(PadMode::Reflect), [2, 2, 7];
        conv().same(), [2, 3, 5, 6];
        Conv3d::new(2, 1, 2, rng).unwrap().padding(1).padding_mode(PadMode::Circular), [1, 2, 3, 2, 2];
        ConvTranspose1d::new(2, 3, 3, rng).unwrap().stride(2), [2, 2, 4];
        ConvTranspose2d::grouped(2, 4, 2, 2, rng).unwrap().stride(3).output_padding(1), [2, 2, 3, 3];
        ConvTranspose3d::new(1, 2, 2, rng).unwrap(), [1, 1, 2, 2, 2];
    }
}
