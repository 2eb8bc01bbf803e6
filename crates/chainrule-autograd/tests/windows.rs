//! Misuse of convolutions, pools, interpolation and rims: errors that name the operation and what it got.

use chainrule_autograd::*;

fn zeros(dims: &[usize]) -> Tensor {
    Tensor::zeros(dims, DType::F32).unwrap()
}

#[test]
fn messages_name_the_operation_and_the_shapes() {
    let (line, volume) = (zeros(&[2, 3, 8]), zeros(&[2, 3, 4, 5, 6]));
    let positions = Tensor::from_slice(&[7i64], &[1, 1, 1]).unwrap();
    let whole = ConvTranspose1d { output_padding: [2], stride: [2], dilation: [2], ..ConvTranspose1d::default() };
    let table: Vec<(Result<Tensor>, &[&str])> = vec![
        (line.conv1d(&zeros(&[4, 1, 3]), None, &Conv1d::default()), &["conv1d", "[2, 3, 8]", "[4, 1, 3]", "groups"]),
        (line.conv2d(&zeros(&[4, 1, 3, 3]), None, &Conv2d::default()), &["conv2d", "[2, 3, 8]", "2 channels"]),
        (zeros(&[8]).conv1d(&zeros(&[4, 1, 3]), None, &Conv1d::default()), &["conv1d", "[8]", "[N, C, L]"]),
        (volume.conv3d(&zeros(&[4, 3, 5, 1, 1]), None, &Conv3d::default()), &["conv3d", "depth", "pad more"]),
        (volume.conv3d(&zeros(&[4, 3, 5, 1]), None, &Conv3d::default()), &["conv3d", "[4, 3, 5, 1]"]),
        (line.conv_transpose1d(&zeros(&[4, 1, 3]), None, &ConvTranspose1d::default()), &["conv_transpose1d", "3 channels", "expects 4"]),
        (line.conv_transpose1d(&zeros(&[3, 1, 3]), None, &whole), &["conv_transpose1d", "output padding [2]"]),
        (line.conv_transpose1d(&zeros(&[3, 1, 3]), Some(&zeros(&[2])), &ConvTranspose1d::default()), &["conv_transpose1d", "bias", "[2]"]),
        (line.conv_transpose2d(&zeros(&[3, 1, 3]), None, &ConvTranspose2d::default()), &["conv_transpose2d", "[3, 1, 3]"]),
        (line.max_pool1d(&Pool1d { padding: [2], ..Pool1d::new([3]) }), &["max_pool1d", "half the kernel"]),
        (line.max_pool3d(&Pool3d::new([2; 3])), &["max_pool3d", "[2, 3, 8]", "[N, C, D, H, W]"]),
        (volume.avg_pool3d(&Pool3d::new([5, 1, 1]), true, None), &["avg_pool3d", "no window", "[4, 5, 6]"]),
        (line.avg_pool1d(&Pool1d::new([2]), true, Some(0)), &["avg_pool1d", "divisor"]),
        (line.lp_pool1d(2.0, &Pool1d { padding: [1], ..Pool1d::new([2]) }), &["lp_pool1d", "padding"]),
        (zeros(&[1, 0, 0]).adaptive_avg_pool1d([2]), &["no positions"]),
        (zeros(&[1, 1, 1]).max_unpool1d(&positions, [7]), &["max_unpool", "position 7"]),
        (line.interpolate(&Interpolation::size([0])), &["interpolate", "[0]", "at least 1"]),
        (line.unfold(&Patches::new([4, 1])), &["unfold", "[3, 8]", "pad more"]),
        (line.fold([4, 5], &Patches::new([2, 2])), &["fold", "[2, 3, 8]", "12 windows"]),
        (line.pad_circular(&[(9, 0)]), &["pad_circular", "(9, 0)", "as large"]),
        (line.pad_replicate(&[(-4, -5)]), &["pad_replicate", "(-4, -5)", "8"]),
        (zeros(&[1, 0]).pad_replicate(&[(1, 0)]), &["pad_replicate", "something must be left"]),
        (line.pad_reflect(&[(isize::MIN, isize::MAX)]), &["pad_reflect"]),
        (line.pixel_unshuffle(3), &["pixel_unshuffle", "divisible by 3"]),
        (line.channel_shuffle(2), &["channel_shuffle", "divisible by 2"]),
        (line.local_response_norm(0, 1.0, 1.0, 1.0), &["local_response_norm", "at least 1"]),
    ];
    let mut wrong = Vec::new();
    for (i, (result, parts)) in table.into_iter().enumerate() {
        let message = result.map_or_else(|e| e.to_string(), |_| "no error".into());
        wrong.extend(parts.iter().filter(|part| !message.contains(**part)).map(|part| format!("row {i}: `{message}` does not say `{part}`")));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_first_of_equal_maxima_is_taken_in_all_dimensions() {
    let ones = Tensor::ones(&[1, 4, 4, 4], DType::F64).unwrap();
    let pool = Pool3d { stride: [2; 3], padding: [1; 3], ..Pool3d::new([2; 3]) };
    let (_, positions) = ones.max_pool3d_with_positions(&pool).unwrap();
    assert_eq!(positions.to_vec::<i64>().unwrap()[..9], [0, 1, 3, 4, 5, 7, 12, 13, 15]);
    assert_eq!(positions.to_vec::<i64>().unwrap()[9..12], [16, 17, 19]);
    let (_, positions) = ones.adaptive_max_pool3d_with_positions([2, 1, 2]).unwrap();
    assert_eq!(positions.to_vec::<i64>().unwrap(), [0, 2, 32, 34]);
    let (y, positions) = Tensor::from_slice(&[1.0, f64::NAN, 3.0, f64::NAN], &[1, 4]).unwrap().max_pool1d_with_positions(&Pool1d::new([4])).unwrap();
    assert!(y.item().unwrap().is_nan() && positions.to_vec::<i64>().unwrap() == [3]);
}
