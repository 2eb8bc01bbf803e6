//! The table of a model.

use chainrule_autograd::{DType, Result, Rng, Tensor};
use chainrule_nn::*;

#[derive(Module, Clone)]
struct LeNet {
    conv1: Conv2d,
    pool: MaxPool2d,
    head: Sequential,
    scale: Param,
}
impl Layer for LeNet {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let x = self.pool.forward(&self.conv1.forward(x)?.relu()?)?.flatten(1, -1)?;
        let y = self.head.forward(&x)?;
        y.mul(&self.scale.on(&y)?)
    }
}

#[test]
fn a_line_a_module() {
    let rng = &mut Rng::seeded(0);
    let mut model = LeNet {
        conv1: Conv2d::new(1, 6, 5, rng).unwrap().padding(2),
        pool: MaxPool2d::new(2),
        head: Sequential::new().add(Linear::new(1176, 84, rng).unwrap()).add(Relu).add(Relu).add(Linear::new(84, 10, rng).unwrap()),
        scale: Param::new(Init::Constant(1.0).array(&[1], DType::F32, rng).unwrap()),
    };
    freeze(&mut model, "conv1.weight").unwrap();
    let x = Tensor::zeros(&[1, 1, 28, 28], DType::F32).unwrap();
    let table = summary(&model, || model.run(&x)).unwrap();
    let expected = "
path    kind        output shape    parameters  trainable
---------------------------------------------------------
(model) LeNet                                1          1
conv1   Conv2d      [1, 6, 28, 28]         156          6
pool    MaxPool2d   [1, 6, 14, 14]
head    Sequential  [1, 10]
head.0  Linear      [1, 84]             98,868     98,868
head.1  Relu        [1, 84]
head.2  Relu        [1, 84]
head.3  Linear      [1, 10]                850        850
---------------------------------------------------------
99,875 parameters, 99,725 trainable, 0.4 MiB";
    let squeeze = |text: &str| text.lines().map(|l| l.split_whitespace().collect::<Vec<_>>().join(" ")).collect::<Vec<_>>();
    let strip = |lines: Vec<String>| lines.into_iter().filter(|l| !l.is_empty() && !l.starts_with("---")).collect::<Vec<_>>();
    assert_eq!(strip(squeeze(&table.to_string())), strip(squeeze(expected)));
    assert_eq!((table.parameters, table.trainable, table.bytes), (99_875, 99_725, 4 * 99_875));
    assert!(summary(&model, || model.run(&Tensor::zeros(&[1, 2, 28, 28], DType::F32)?)).unwrap_err().to_string().starts_with("conv1: conv2d: "));
}
