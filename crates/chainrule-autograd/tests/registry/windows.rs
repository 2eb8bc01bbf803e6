//! What looks at neighbours in one to three dimensions: convolution and its transpose, pooling, interpolation, patches, rims.

use crate::{Cases, apart, integers, numbers, others, positive};
use chainrule_autograd::*;

pub fn add(cases: &mut Cases) {
    convolutions(cases);
    transposed(cases);
    pools(cases);
    resampling(cases);
    rims_and_patches(cases);
}

fn convolutions(cases: &mut Cases) {
    for window in [Conv1d::default(), Conv1d { stride: [2], padding: [3], dilation: [2], groups: 2 }] {
        let inputs = || vec![numbers(&[2, 2, 7]), others(&[4, 2 / window.groups, 3]), numbers(&[4])];
        cases.add(format!("conv1d {window:?}"), inputs(), move |x| x[0].conv1d(&x[1], Some(&x[2]), &window));
    }
    cases.add("conv1d of one example", vec![numbers(&[2, 5]), others(&[3, 2, 2]), numbers(&[3])], |x| x[0].conv1d(&x[1], Some(&x[2]), &Conv1d::default()));
    cases.add("conv2d of one example", vec![numbers(&[2, 4, 3]), others(&[3, 2, 2, 1]), numbers(&[3])], |x| {
        x[0].conv2d(&x[1], Some(&x[2]), &Conv2d { padding: [1, 0], ..Conv2d::default() })
    });
    for window in [Conv3d { padding: [0, 1, 0], ..Conv3d::default() }, Conv3d { stride: [2, 1, 2], padding: [2, 1, 0], dilation: [1, 2, 1], groups: 2 }] {
        let inputs = || vec![numbers(&[2, 2, 3, 4, 2]), others(&[2, 2 / window.groups, 2, 2, 1]), numbers(&[2])];
        cases.add(format!("conv3d {window:?}"), inputs(), move |x| x[0].conv3d(&x[1], Some(&x[2]), &window));
    }
    cases.add("conv3d of one example", vec![numbers(&[1, 2, 2, 2]), others(&[2, 1, 2, 1, 2])], |x| x[0].conv3d(&x[1], None, &Conv3d::default()));
    cases.add("conv3d of nothing", vec![numbers(&[0, 1, 2, 2, 2]), others(&[2, 1, 2, 1, 2])], |x| x[0].conv3d(&x[1], None, &Conv3d::default()));
}

fn transposed(cases: &mut Cases) {
    for spreading in [
        ConvTranspose1d::default(),
        ConvTranspose1d { stride: [3], padding: [1], output_padding: [2], dilation: [2], groups: 2 },
        // The output padding holds a whole stride.
        ConvTranspose1d { stride: [1], padding: [1], output_padding: [2], dilation: [3], groups: 1 },
    ] {
        let inputs = || vec![numbers(&[2, 2, 4]), others(&[2, 4 / spreading.groups, 3]), numbers(&[4])];
        cases.add(format!("conv_transpose1d {spreading:?}"), inputs(), move |x| x[0].conv_transpose1d(&x[1], Some(&x[2]), &spreading));
    }
    for spreading in [
        ConvTranspose2d { stride: [2, 1], padding: [1, 2], ..ConvTranspose2d::default() },
        ConvTranspose2d { stride: [2, 3], padding: [0, 1], output_padding: [1, 2], dilation: [2, 1], groups: 2 },
    ] {
        let inputs = || vec![numbers(&[2, 2, 3, 4]), others(&[2, 4 / spreading.groups, 2, 3]), numbers(&[4])];
        cases.add(format!("conv_transpose2d {spreading:?}"), inputs(), move |x| x[0].conv_transpose2d(&x[1], Some(&x[2]), &spreading));
        cases.add(format!("conv_transpose2d without bias {spreading:?}"), inputs(), move |x| x[0].conv_transpose2d(&x[1], None, &spreading));
    }
    let spreading = ConvTranspose3d { stride: [2, 1, 1], padding: [1, 0, 1], output_padding: [1, 0, 0], dilation: [1, 2, 1], groups: 1 };
    cases.add("conv_transpose3d", vec![numbers(&[1, 2, 2, 2, 3]), others(&[2, 2, 2, 1, 2]), numbers(&[2])], move |x| {
        x[0].conv_transpose3d(&x[1], Some(&x[2]), &spreading)
    });
    cases.add("conv_transpose2d of one example", vec![numbers(&[1, 1, 1]), others(&[1, 2, 2, 2])], |x| {
        x[0].conv_transpose2d(&x[1], None, &ConvTranspose2d { stride: [3, 3], ..ConvTranspose2d::default() })
    });
    cases.add("conv_transpose1d of nothing", vec![numbers(&[0, 2, 3]), others(&[2, 2, 2]), numbers(&[2])], |x| {
        x[0].conv_transpose1d(&x[1], Some(&x[2]), &ConvTranspose1d::default())
    });
}

fn pools(cases: &mut Cases) {
    let sequences = [Pool1d::new([2]), Pool1d { stride: [2], padding: [1], ceil_mode: true, ..Pool1d::new([3]) }];
    let volumes = [Pool3d::new([2, 1, 2]), Pool3d { stride: [2, 1, 2], padding: [1, 0, 1], ceil_mode: true, ..Pool3d::new([2, 3, 2]) }];
    for pool in sequences {
        cases.add(format!("max_pool1d {pool:?}"), vec![apart(&[2, 2, 6])], move |x| x[0].max_pool1d(&pool));
        cases.add(format!("max_pool1d with positions {pool:?}"), vec![apart(&[2, 7])], move |x| Ok(x[0].max_pool1d_with_positions(&pool)?.0));
        for (count, divisor) in [(false, None), (true, None), (true, Some(5))] {
            cases.add(format!("avg_pool1d {count} {divisor:?} {pool:?}"), vec![numbers(&[2, 2, 6])], move |x| x[0].avg_pool1d(&pool, count, divisor));
        }
    }
    for pool in volumes {
        cases.add(format!("max_pool3d {pool:?}"), vec![apart(&[1, 2, 3, 4, 3])], move |x| x[0].max_pool3d(&pool));
        cases.add(format!("max_pool3d with positions {pool:?}"), vec![apart(&[2, 3, 3, 4])], move |x| Ok(x[0].max_pool3d_with_positions(&pool)?.0));
        for (count, divisor) in [(false, None), (true, None), (true, Some(5))] {
            cases.add(format!("avg_pool3d {count} {divisor:?} {pool:?}"), vec![numbers(&[1, 2, 3, 4, 3])], move |x| x[0].avg_pool3d(&pool, count, divisor));
        }
    }
    cases.add("max_pool3d dilated", vec![apart(&[1, 4, 3, 3])], |x| x[0].max_pool3d(&Pool3d { stride: [1; 3], dilation: [3, 1, 2], ..Pool3d::new([2; 3]) }));
    cases.add("lp_pool1d", vec![positive(&[2, 2, 5])], |x| x[0].lp_pool1d(3.0, &Pool1d { stride: [2], ceil_mode: true, ..Pool1d::new([3]) }));
    cases.add("lp_pool2d", vec![positive(&[2, 4, 3])], |x| x[0].lp_pool2d(2.0, &Pool2d::new([2, 3])));
    cases.add("lp_pool3d", vec![positive(&[2, 4, 3, 2])], |x| x[0].lp_pool3d(1.5, &Pool3d::new([2, 3, 1])));
    cases.add("adaptive_avg_pool1d", vec![numbers(&[2, 2, 5])], |x| x[0].adaptive_avg_pool1d([3]));
    cases.add("adaptive_max_pool1d", vec![apart(&[2, 5])], |x| x[0].adaptive_max_pool1d([2]));
    cases.add("adaptive_avg_pool3d", vec![numbers(&[1, 2, 3, 4, 5])], |x| x[0].adaptive_avg_pool3d([2, 4, 3]));
    cases.add("adaptive_max_pool3d", vec![apart(&[2, 3, 4, 5])], |x| x[0].adaptive_max_pool3d([2, 3, 1]));
    cases.add("max_unpool1d", vec![numbers(&[1, 2, 2]), integers(&[3, 0, 1, 4], &[1, 2, 2])], |x| x[0].max_unpool1d(&x[1], [5]));
    cases.add("max_unpool2d", vec![apart(&[2, 4, 6])], |x| {
        let (y, positions) = x[0].max_pool2d_with_positions(&Pool2d::new([2, 3]))?;
        y.max_unpool2d(&positions, [4, 6])
    });
    cases.add("max_unpool3d", vec![apart(&[1, 2, 2, 3, 4])], |x| {
        let (y, positions) = x[0].max_pool3d_with_positions(&Pool3d::new([2, 1, 2]))?;
        y.max_unpool3d(&positions, [2, 3, 5])
    });
}

fn resampling(cases: &mut Cases) {
    let settings = [
        (Filter::Nearest, false),
        (Filter::NearestExact, false),
        (Filter::Linear, false),
        (Filter::Linear, true),
        (Filter::Cubic, false),
        (Filter::Cubic, true),
    ];
    for (filter, align_corners) in settings {
        let what = format!("interpolate {filter:?} {align_corners}");
        let line = Interpolation { filter, align_corners, ..Interpolation::factor([1.7]) };
        cases.add(format!("{what} 1"), vec![numbers(&[2, 1, 4])], move |x| x[0].interpolate(&line));
        let image = Interpolation { filter, align_corners, ..Interpolation::size([5, 2]) };
        cases.add(format!("{what} 2"), vec![numbers(&[1, 2, 3, 4])], move |x| x[0].interpolate(&image));
        let volume = Interpolation { filter, align_corners, ..Interpolation::size([3, 1, 3]) };
        cases.add(format!("{what} 3"), vec![numbers(&[1, 1, 2, 2, 3])], move |x| x[0].interpolate(&volume));
    }
    let smaller = Interpolation { filter: Filter::Linear, antialias: true, ..Interpolation::size([2, 3]) };
    cases.add("interpolate antialiased", vec![numbers(&[1, 1, 5, 4])], move |x| x[0].interpolate(&smaller));
    cases.add("interpolate of nothing", vec![numbers(&[0, 1, 2])], |x| x[0].interpolate(&Interpolation::size([3])));
    cases.add("interpolate of one", vec![numbers(&[1, 1, 1, 1])], |x| {
        x[0].interpolate(&Interpolation { filter: Filter::Linear, ..Interpolation::size([3, 2]) })
    });
}

fn rims_and_patches(cases: &mut Cases) {
    for mode in [PadMode::Constant(0.5), PadMode::Reflect, PadMode::Replicate, PadMode::Circular] {
        cases.add(format!("pad_with {mode:?}"), vec![numbers(&[2, 3, 4])], move |x| x[0].pad_with(&[(1, 2), (3, 0)], mode));
        cases.add(format!("pad_with cuts {mode:?}"), vec![numbers(&[1, 5])], move |x| x[0].pad_with(&[(-2, 1)], mode));
    }
    for patches in [Patches::new([2, 2]), Patches { kernel: [3, 2], stride: [2, 1], padding: [1, 0], dilation: [1, 2] }] {
        cases.add(format!("unfold {patches:?}"), vec![numbers(&[2, 2, 4, 5])], move |x| x[0].unfold(&patches));
        let [rows, columns] = patches.output_size("fold", [4, 5]).unwrap();
        let columns = numbers(&[2, 2 * patches.kernel[0] * patches.kernel[1], rows * columns]);
        cases.add(format!("fold {patches:?}"), vec![columns], move |x| x[0].fold([4, 5], &patches));
    }
    cases.add("unfold of one example", vec![numbers(&[1, 2, 1])], |x| x[0].unfold(&Patches::new([1, 1])));
    cases.add("pixel_unshuffle", vec![numbers(&[2, 1, 4, 6])], |x| x[0].pixel_unshuffle(2));
    cases.add("channel_shuffle", vec![numbers(&[2, 6, 3])], |x| x[0].channel_shuffle(3));
    for size in [1, 2, 5] {
        cases.add(format!("local_response_norm {size}"), vec![numbers(&[2, 4, 3])], move |x| x[0].local_response_norm(size, 0.3, 0.75, 1.5));
    }
}
