//! Convolution and pooling.

use crate::{Cases, apart, numbers, others};
use chainrule_autograd::{Activation, Conv1d, Conv2d, Conv3d, Pool2d};

pub fn add(cases: &mut Cases) {
    let windows = [
        Conv2d::default(),
        Conv2d { stride: [2, 1], padding: [1, 2], ..Conv2d::default() },
        Conv2d { stride: [1, 2], padding: [0, 1], dilation: [2, 1], groups: 2 },
        Conv2d { stride: [3, 2], padding: [2, 1], dilation: [1, 2], groups: 1 },
    ];
    for window in windows {
        let inputs = || vec![numbers(&[2, 2, 5, 4]), others(&[4, 2 / window.groups, 2, 3]), numbers(&[4])];
        cases.add(format!("conv2d {window:?}"), inputs(), move |x| x[0].conv2d(&x[1], None, &window));
        cases.add(format!("conv2d with bias {window:?}"), inputs(), move |x| x[0].conv2d(&x[1], Some(&x[2]), &window));
    }
    for activation in [Activation::Relu, Activation::LeakyRelu(0.1), Activation::LeakyRelu(-0.5)] {
        let inputs = || vec![numbers(&[2, 2, 4, 3]), others(&[3, 2, 2, 2]), numbers(&[3])];
        let name = |which: &str| format!("{which} with {activation:?}");
        cases.add(name("conv2d"), inputs(), move |x| x[0].conv2d_activated(&x[1], None, activation, &Conv2d::default()));
        cases.add(name("conv2d with bias"), inputs(), move |x| x[0].conv2d_activated(&x[1], Some(&x[2]), activation, &Conv2d::default()));
        let sequences = vec![numbers(&[2, 2, 5]), others(&[3, 2, 2]), numbers(&[3])];
        cases.add(name("conv1d"), sequences, move |x| x[0].conv1d_activated(&x[1], Some(&x[2]), activation, &Conv1d::default()));
        let volumes = vec![numbers(&[1, 2, 3, 2, 3]), others(&[2, 2, 2, 1, 2]), numbers(&[2])];
        cases.add(name("conv3d"), volumes, move |x| x[0].conv3d_activated(&x[1], Some(&x[2]), activation, &Conv3d::default()));
    }
    cases.add("conv2d of one pixel", vec![numbers(&[1, 1, 1, 1]), others(&[1, 1, 1, 1])], |x| x[0].conv2d(&x[1], None, &Conv2d::default()));
    cases.add("conv2d of no image", vec![numbers(&[0, 2, 3, 3]), others(&[3, 2, 2, 2])], |x| x[0].conv2d(&x[1], None, &Conv2d::default()));
    let pools = [
        Pool2d::new([2, 2]),
        Pool2d { stride: [2, 1], padding: [1, 0], ..Pool2d::new([3, 2]) },
        Pool2d { stride: [2, 3], padding: [0, 1], ceil_mode: true, ..Pool2d::new([2, 3]) },
    ];
    for pool in pools {
        cases.add(format!("max_pool2d {pool:?}"), vec![apart(&[2, 2, 5, 6])], move |x| x[0].max_pool2d(&pool));
        cases.add(format!("max_pool2d with positions {pool:?}"), vec![apart(&[2, 5, 6])], move |x| Ok(x[0].max_pool2d_with_positions(&pool)?.0));
        for count in [false, true] {
            cases.add(format!("avg_pool2d {count} {pool:?}"), vec![numbers(&[2, 2, 5, 6])], move |x| x[0].avg_pool2d(&pool, count, None));
        }
        cases.add(format!("avg_pool2d with a divisor {pool:?}"), vec![numbers(&[2, 5, 6])], move |x| x[0].avg_pool2d(&pool, true, Some(5)));
    }
    let dilated = Pool2d { stride: [1, 2], dilation: [2, 3], ..Pool2d::new([2, 2]) };
    cases.add("max_pool2d dilated", vec![apart(&[1, 5, 6])], move |x| x[0].max_pool2d(&dilated));
    for output in [[1, 1], [3, 2], [7, 7]] {
        cases.add(format!("adaptive_avg_pool2d {output:?}"), vec![numbers(&[2, 2, 5, 4])], move |x| x[0].adaptive_avg_pool2d(output));
        cases.add(format!("adaptive_max_pool2d {output:?}"), vec![apart(&[2, 2, 5, 4])], move |x| x[0].adaptive_max_pool2d(output));
    }
}
