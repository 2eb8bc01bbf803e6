//! Pooling against loops over single positions.

use super::*;
use crate::dtype::DType;
use crate::ops::testing::*;

fn pools() -> Vec<Pool2d> {
    let mut pools = vec![];
    for (kernel, stride, padding, dilation) in [
        ([2, 2], [2, 2], [0, 0], [1, 1]),
        ([3, 3], [2, 2], [1, 1], [1, 1]),
        ([3, 2], [1, 3], [1, 0], [1, 1]),
        ([2, 3], [2, 1], [1, 1], [2, 3]),
        ([1, 5], [3, 2], [0, 2], [1, 2]),
        ([4, 1], [4, 1], [2, 0], [1, 1]),
        ([17, 16], [5, 4], [8, 8], [1, 1]),
    ] {
        for ceil_mode in [false, true] {
            pools.push(Pool2d { kernel, stride, padding, dilation, ceil_mode });
        }
    }
    pools
}

const INPUTS: [&[usize]; 9] =
    [&[2, 3, 7, 9], &[3, 8, 8], &[1, 2, 28, 28], &[5, 2, 10, 10], &[2, 2, 11, 34], &[4, 65, 33], &[1, 1, 2, 2], &[0, 3, 4, 4], &[3, 4, 23, 70]];

/// Of each window: the tap numbers and plane positions inside the plane, and how many positions lie in the plane or its padding.
fn windows(dims: &[usize], pool: &Pool2d, output: [usize; 2]) -> Vec<(Vec<(usize, usize)>, usize)> {
    let [h, w] = [dims[dims.len() - 2], dims[dims.len() - 1]].map(|n| n as isize);
    let mut all = vec![];
    for o in 0..output[0] * output[1] {
        let (mut taps, mut padded) = (vec![], 0);
        for k in 0..pool.kernel[0] * pool.kernel[1] {
            let at = |d: usize, o: usize, k: usize| (o * pool.stride[d] + k * pool.dilation[d]) as isize - pool.padding[d] as isize;
            let (i, j) = (at(0, o / output[1], k / pool.kernel[1]), at(1, o % output[1], k % pool.kernel[1]));
            if i >= 0 && i < h && j >= 0 && j < w {
                taps.push((k, (i * w + j) as usize));
            }
            padded += (i < h + pool.padding[0] as isize && j < w + pool.padding[1] as isize) as usize;
        }
        all.push((taps, padded));
    }
    all
}

#[test]
fn max_and_average_agree_with_single_positions() {
    at_every_level(|dtype, tolerance| {
        for pool in pools() {
            for dims in INPUTS {
                let size = [dims[dims.len() - 2], dims[dims.len() - 1]];
                let Ok(output) = pool.output_size("pool", size) else {
                    assert!(max_pool2d(&noise(dims, 1, dtype), &pool).is_err());
                    continue;
                };
                let (windows, area) = (windows(dims, &pool, output), size[0] * size[1]);
                // Few distinct values, so that windows have ties; and a NaN here and there.
                let x = Array::from_index(dims, dtype, |i| if i % 97 == 50 { f64::NAN } else { (i * i * 31 % 11) as f64 - 5.0 }).unwrap();
                let what = format!("{dtype} {dims:?} {pool:?}");
                let (y, places) = max_pool2d(&x, &pool).unwrap();
                let positions = max_pool2d_positions(&places, dims, &pool).unwrap();
                let dy = noise(y.dims(), 2, dtype);
                let (xs, dys) = (doubles(&x), doubles(&dy));
                let (mut maxima, mut found, mut dx) = (vec![], vec![], vec![0.0; xs.len()]);
                for (o, dy) in dys.iter().enumerate() {
                    let (plane, taps) = (o / windows.len() * area, &windows[o % windows.len()].0);
                    let (mut most, mut at) = (f64::NEG_INFINITY, taps.first().map(|tap| tap.1));
                    for &(_, position) in taps {
                        let x = xs[plane + position];
                        if x > most || x.is_nan() {
                            (most, at) = (x, Some(position));
                        }
                    }
                    maxima.push(most);
                    found.push(at.map_or(-1, |at| at as i64));
                    if let Some(at) = at {
                        dx[plane + at] += dy;
                    }
                }
                assert_close(&what, &y, &maxima, 0.0);
                assert_eq!(positions.to_vec::<i64>().unwrap(), found, "{what}");
                assert_close(&what, &max_pool2d_backward(&dy, &places, dims, &pool).unwrap(), &dx, tolerance);
                assert_close(
                    &what,
                    &max_pool2d_gather(&x, &places, &pool).unwrap(),
                    &maxima.iter().map(|y| if *y == f64::NEG_INFINITY { 0.0 } else { *y }).collect::<Vec<_>>(),
                    0.0,
                );

                let x = noise(dims, 3, dtype);
                let xs = doubles(&x);
                for (include, divisor) in [(true, None), (false, None), (true, Some(3))] {
                    let (mut means, mut dx) = (vec![], vec![0.0; xs.len()]);
                    for (o, dy) in dys.iter().enumerate() {
                        let (plane, (taps, padded)) = (o / windows.len() * area, &windows[o % windows.len()]);
                        let count = divisor.unwrap_or(if include { *padded } else { taps.len() }).max(1) as f64;
                        means.push(taps.iter().map(|&(_, at)| xs[plane + at]).sum::<f64>() / count);
                        taps.iter().for_each(|&(_, at)| dx[plane + at] += dy / count);
                    }
                    let y = avg_pool2d(&x, &pool, include, divisor).unwrap();
                    assert_close(&what, &y, &means, 4.0 * tolerance);
                    assert_close(&what, &avg_pool2d_backward(&dy, dims, &pool, include, divisor).unwrap(), &dx, 4.0 * tolerance);
                }
            }
        }
    });
}

#[test]
fn adaptive_agrees_with_single_positions() {
    at_every_level(|dtype, tolerance| {
        for (dims, output) in [
            (&[2usize, 3, 7, 9][..], [1, 1]),
            (&[2, 8, 8], [3, 5]),
            (&[1, 2, 5, 40], [7, 1]),
            (&[2, 1, 4, 6], [4, 6]),
            (&[0, 2, 3, 3], [2, 2]),
            (&[2, 3, 4], [0, 2]),
        ] {
            let (h, w) = (dims[dims.len() - 2], dims[dims.len() - 1]);
            let x = Array::from_index(dims, dtype, |i| if i % 89 == 40 { f64::NAN } else { (i * i * 29 % 13) as f64 - 6.0 }).unwrap();
            let (y, positions) = adaptive_max_pool2d(&x, output).unwrap();
            let smooth = noise(dims, 5, dtype);
            let dy = noise(y.dims(), 4, dtype);
            let (xs, smooths, dys) = (doubles(&x), doubles(&smooth), doubles(&dy));
            let (mut maxima, mut found, mut means, mut dx_max, mut dx_mean) = (vec![], vec![], vec![], vec![0.0; xs.len()], vec![0.0; xs.len()]);
            for (o, dy) in dys.iter().enumerate() {
                let (plane, i, j) = (o / (output[0] * output[1]) * h * w, o / output[1] % output[0], o % output[1]);
                let range = |o: usize, n: usize, size: usize| {
                    (o as f64 * size as f64 / n as f64).floor() as usize..((o + 1) as f64 * size as f64 / n as f64).ceil() as usize
                };
                let taps: Vec<usize> = range(i, output[0], h).flat_map(|i| range(j, output[1], w).map(move |j| i * w + j)).collect();
                let (mut most, mut at) = (f64::NEG_INFINITY, taps[0]);
                for &tap in &taps {
                    let x = xs[plane + tap];
                    if x > most || x.is_nan() {
                        (most, at) = (x, tap);
                    }
                    dx_mean[plane + tap] += dy / taps.len() as f64;
                }
                maxima.push(most);
                found.push(at as i64);
                dx_max[plane + at] += dy;
                means.push(taps.iter().map(|&tap| smooths[plane + tap]).sum::<f64>() / taps.len() as f64);
            }
            let what = format!("{dtype} {dims:?} {output:?}");
            assert_close(&what, &y, &maxima, 0.0);
            assert_eq!(positions.to_vec::<i64>().unwrap(), found, "{what}");
            assert_close(&what, &adaptive_max_pool2d_backward(&dy, &positions, dims).unwrap(), &dx_max, tolerance);
            assert_close(&what, &adaptive_max_pool2d_gather(&x, &positions).unwrap(), &maxima, 0.0);
            assert_close(&what, &adaptive_avg_pool2d(&smooth, output).unwrap(), &means, tolerance);
            assert_close(&what, &adaptive_avg_pool2d_backward(&dy, dims).unwrap(), &dx_mean, tolerance);
        }
    });
}

#[test]
fn gradients_are_slopes() {
    let x = noise(&[2, 2, 7, 6], 6, DType::F64);
    for pool in [Pool2d { ceil_mode: true, ..Pool2d::new([2, 2]) }, Pool2d { stride: [2, 1], padding: [1, 1], dilation: [1, 2], ..Pool2d::new([3, 2]) }] {
        let (y, places) = max_pool2d(&x, &pool).unwrap();
        let dy = noise(y.dims(), 7, DType::F64);
        assert_gradient("max", &x, &max_pool2d_backward(&dy, &places, x.dims(), &pool).unwrap(), |x| weighted(&max_pool2d(x, &pool).unwrap().0, &dy));
        assert_gradient("gather", &x, &max_pool2d_backward(&dy, &places, x.dims(), &pool).unwrap(), |x| {
            weighted(&max_pool2d_gather(x, &places, &pool).unwrap(), &dy)
        });
        for include in [true, false] {
            let dx = avg_pool2d_backward(&dy, x.dims(), &pool, include, None).unwrap();
            assert_gradient("average", &x, &dx, |x| weighted(&avg_pool2d(x, &pool, include, None).unwrap(), &dy));
        }
    }
    let dy = noise(&[2, 2, 3, 4], 8, DType::F64);
    assert_gradient("adaptive", &x, &adaptive_avg_pool2d_backward(&dy, x.dims()).unwrap(), |x| weighted(&adaptive_avg_pool2d(x, [3, 4]).unwrap(), &dy));
    let (_, positions) = adaptive_max_pool2d(&x, [3, 4]).unwrap();
    let dx = adaptive_max_pool2d_backward(&dy, &positions, x.dims()).unwrap();
    assert_gradient("adaptive max", &x, &dx, |x| weighted(&adaptive_max_pool2d(x, [3, 4]).unwrap().0, &dy));
}

#[test]
fn views_and_threads_give_the_same_bits() {
    let (x, half) = (noise(&[16, 28, 28, 12], 9, DType::F32), Pool2d::new([2, 2]));
    let x = x.permute(&[0, 3, 1, 2]).unwrap();
    let wide = Pool2d { stride: [2, 2], padding: [1, 1], ..Pool2d::new([3, 3]) };
    assert_same_bits("pool", || {
        let mut all = vec![];
        for pool in [half, wide] {
            let (y, places) = max_pool2d(&x, &pool).unwrap();
            all.push(max_pool2d_backward(&y, &places, x.dims(), &pool).unwrap());
            all.push(avg_pool2d_backward(&y, x.dims(), &pool, true, None).unwrap());
            all.push(avg_pool2d(&x, &pool, false, None).unwrap());
            all.extend([y, places]);
        }
        all
    });
    let dense = max_pool2d(&x.contiguous().unwrap(), &half).unwrap();
    assert_eq!(doubles(&max_pool2d(&x, &half).unwrap().0), doubles(&dense.0));
}

#[test]
fn misuse_is_an_error() {
    let (x, pool) = (noise(&[1, 1, 4, 4], 10, DType::F32), Pool2d::new([2, 2]));
    let (y, places) = max_pool2d(&x, &pool).unwrap();
    assert!(max_pool2d_backward(&x, &places, x.dims(), &pool).is_err());
    assert!(max_pool2d_backward(&y, &places, &[1, 1, 6, 4], &pool).is_err());
    assert!(max_pool2d_backward(&y, &places.cast(DType::I64).unwrap(), x.dims(), &pool).is_err());
    // A place that no window has passes nothing on.
    let wild = Array::from_slice(&[200u8, 4, 0, 3], &[1, 1, 2, 2]).unwrap();
    let dx = doubles(&max_pool2d_backward(&Array::ones(&[1, 1, 2, 2], DType::F32).unwrap(), &wild, x.dims(), &pool).unwrap());
    assert_eq!((dx.iter().sum::<f64>(), dx[8], dx[15]), (2.0, 1.0, 1.0));
    assert!(avg_pool2d(&x, &pool, true, Some(0)).unwrap_err().to_string().contains("divisor"));
    assert!(
        adaptive_max_pool2d_backward(&y, &Array::full(&[1, 1, 2, 2], 16.0, DType::I64).unwrap(), x.dims()).unwrap_err().to_string().contains("position 16")
    );
    assert!(adaptive_avg_pool2d(&noise(&[1, 0, 3], 1, DType::F32), [1, 1]).unwrap_err().to_string().contains("no positions"));
}

fn size(kernel: usize, stride: usize, padding: usize, dilation: usize, ceil_mode: bool, input: usize) -> Result<usize> {
    let pool = Pool2d { kernel: [kernel; 2], stride: [stride; 2], padding: [padding; 2], dilation: [dilation; 2], ceil_mode };
    pool.output_size("pool", [input; 2]).map(|[h, _]| h)
}

#[test]
fn sizes_follow_pytorch() {
    // Values of torch.nn.MaxPool2d.
    let table = [
        ((2, 2, 0, 1, false, 7), 3),
        ((2, 2, 0, 1, true, 7), 4),
        ((3, 2, 1, 1, true, 6), 4),
        ((2, 3, 1, 1, true, 4), 2),
        ((3, 1, 1, 2, false, 9), 7),
        ((3, 2, 0, 1, true, 2), 1),
    ];
    for ((kernel, stride, padding, dilation, ceil, input), expected) in table {
        assert_eq!(size(kernel, stride, padding, dilation, ceil, input).unwrap(), expected, "{kernel} {stride} {padding} {dilation} {ceil} {input}");
    }
}

#[test]
fn impossible_windows_are_errors() {
    assert!(size(3, 1, 0, 1, false, 2).unwrap_err().to_string().contains("no window"));
    assert!(size(3, 1, 2, 1, false, 9).unwrap_err().to_string().contains("half the kernel"));
    assert!(size(0, 1, 0, 1, false, 9).is_err() && size(2, 0, 0, 1, false, 9).is_err() && size(2, 1, 0, 0, false, 9).is_err());
    assert!(size(usize::MAX, 1, 0, 1, false, 9).is_err());
    assert!(Planes::new("pool", &[2, 2], Ok).is_err() && Planes::new("pool", &[1, 1, 1, 2, 2], Ok).is_err());
}

#[test]
fn windows_and_positions_agree() {
    for (kernel, stride, padding, dilation) in [(2, 2, 0, 1), (3, 2, 1, 1), (4, 3, 2, 2), (2, 1, 1, 5)] {
        let pool = Pool2d { kernel: [kernel; 2], stride: [stride; 2], padding: [padding; 2], dilation: [dilation; 2], ceil_mode: true };
        for input in 1..12 {
            let Ok([count, _]) = pool.output_size("pool", [input; 2]) else { continue };
            for k in 0..kernel {
                let inside: Vec<usize> = (0..count).filter(|&o| pool.position(0, o, k, input).is_some()).collect();
                assert_eq!(pool.windows(0, k, input, count).collect::<Vec<_>>(), inside);
            }
        }
    }
}
