//! Pooling of every kind, over all its settings, forward and backward.

use crate::support::*;
use chainrule_core::ops::pool::*;
use chainrule_core::{Array, DType, Device};

/// Windows side by side, overlapping, padded, dilated, in ceil mode, larger than a byte counts.
fn windows() -> Vec<Pool2d> {
    vec![
        Pool2d::new([2, 2]),
        Pool2d::new([3, 2]),
        Pool2d { stride: [2, 2], padding: [1, 1], ..Pool2d::new([3, 3]) },
        Pool2d { stride: [1, 3], padding: [0, 1], dilation: [2, 1], ..Pool2d::new([2, 3]) },
        Pool2d { stride: [2, 3], padding: [1, 0], dilation: [2, 3], ceil_mode: true, ..Pool2d::new([3, 2]) },
        Pool2d { stride: [3, 2], ceil_mode: true, ..Pool2d::new([2, 3]) },
        Pool2d { stride: [5, 5], padding: [8, 9], ..Pool2d::new([17, 18]) },
    ]
}

const SHAPES: [&[usize]; 6] = [&[2, 3, 8, 10], &[3, 9, 7], &[1, 1, 33, 31], &[1, 2, 2, 2], &[0, 3, 8, 8], &[2, 1, 5, 64]];

fn cases() -> impl Iterator<Item = (Pool2d, &'static [usize])> {
    let fits = |pool: &Pool2d, dims: &[usize]| pool.output_size("pool", *dims.last_chunk::<2>().unwrap()).is_ok();
    windows().into_iter().flat_map(|pool| SHAPES.map(|dims| (pool, dims))).filter(move |(pool, dims)| fits(pool, dims))
}

#[test]
fn maxima_and_their_gradients() {
    for (pool, dims) in cases() {
        let x = noise(dims, 1);
        let (y, _) = max_pool2d(&x, &pool).unwrap();
        let dy = noise(y.dims(), 2);
        agree(&format!("max_pool2d {dims:?} {pool:?}"), 0.0, [&x, &dy], |[x, dy]| {
            let (y, places) = max_pool2d(x, &pool)?;
            let dx = max_pool2d_backward(dy, &places, dims, &pool)?;
            Ok(vec![y, max_pool2d_gather(x, &places, &pool)?, max_pool2d_positions(&places, dims, &pool)?, places, dx])
        });
    }
}

#[test]
fn ties_nan_and_views() {
    let ties = indices(3, &[2, 2, 9, 8], 1).cast(DType::F32).unwrap();
    let mut odd = noise(&[1, 2, 8, 8], 2).to_vec::<f32>().unwrap();
    for i in (0..odd.len()).step_by(7) {
        odd[i] = [f32::NAN, f32::NEG_INFINITY, f32::INFINITY][i % 3];
    }
    odd[..32].fill(f32::NEG_INFINITY);
    let odd = Array::from_slice(&odd, &[1, 2, 8, 8]).unwrap();
    for pool in windows() {
        for x in [&ties, &odd].into_iter().filter(|x| pool.output_size("pool", *x.dims().last_chunk::<2>().unwrap()).is_ok()) {
            agree(&format!("ties {pool:?}"), 0.0, [x], |[x]| {
                let (y, places) = max_pool2d(x, &pool)?;
                Ok(vec![y, places, adaptive_max_pool2d(x, [3, 2])?.0])
            });
        }
    }
    agree("views", 0.0, [&ties], |[x]| {
        let (x, pool) = (x.transpose(2, 3)?.narrow(2, 1, 7)?, Pool2d::new([2, 2]));
        let (y, places) = max_pool2d(&x, &pool)?;
        let dx = max_pool2d_backward(&y.flip(&[0])?, &places, x.dims(), &pool)?;
        Ok(vec![y, dx, avg_pool2d(&x, &pool, true, None)?])
    });
    // A place that no window has passes nothing on.
    let places = Array::full(&[1, 1, 2, 2], 9.0, DType::U8).unwrap();
    agree("no place", 0.0, [&places, &noise(&[1, 1, 2, 2], 3), &noise(&[1, 1, 4, 4], 4)], |[places, dy, x]| {
        let pool = Pool2d::new([2, 2]);
        Ok(vec![
            max_pool2d_backward(dy, places, &[1, 1, 4, 4], &pool)?,
            max_pool2d_gather(x, places, &pool)?,
            max_pool2d_positions(places, &[1, 1, 4, 4], &pool)?,
        ])
    });
}

#[test]
fn means_and_their_gradients() {
    for (pool, dims) in cases() {
        let x = noise(dims, 1);
        for (with_padding, divisor) in [(true, None), (false, None), (true, Some(3))] {
            let dy = noise(avg_pool2d(&x, &pool, with_padding, divisor).unwrap().dims(), 2);
            agree(&format!("avg_pool2d {dims:?} {pool:?} {with_padding} {divisor:?}"), 2e-6, [&x, &dy], |[x, dy]| {
                Ok(vec![avg_pool2d(x, &pool, with_padding, divisor)?, avg_pool2d_backward(dy, dims, &pool, with_padding, divisor)?])
            });
        }
    }
}

#[test]
fn adaptive_windows() {
    for dims in SHAPES {
        for output in [[1, 1], [2, 3], [7, 5], [1, 12], [0, 2]] {
            let x = noise(dims, 1);
            let dy = noise(adaptive_avg_pool2d(&x, output).unwrap().dims(), 2);
            agree(&format!("adaptive {dims:?} {output:?}"), 2e-6, [&x, &dy], |[x, dy]| {
                let (y, positions) = adaptive_max_pool2d(x, output)?;
                Ok(vec![
                    adaptive_avg_pool2d(x, output)?,
                    adaptive_avg_pool2d_backward(dy, dims)?,
                    y,
                    adaptive_max_pool2d_backward(dy, &positions, dims)?,
                    adaptive_max_pool2d_gather(x, &positions)?,
                    positions,
                ])
            });
        }
    }
}

#[test]
fn numbers_return_to_their_positions() {
    let (x, positions) = (noise(&[3, 100], 1), indices(40, &[3, 100], 2));
    agree("max_unpool", 0.0, [&x, &positions], |[x, positions]| {
        Ok(vec![max_unpool(x, positions, &[5, 8])?, max_unpool(&x.narrow(0, 0, 0)?, &positions.narrow(0, 0, 0)?, &[5, 8])?])
    });
    let (within, across) = (indices(6, &[2, 4, 3], 3), indices(12, &[2, 5, 3], 4));
    agree("volume_positions", 0.0, [&within, &across], |[within, across]| Ok(vec![volume_positions(within, across, 6)?]));
    let missing = Array::from_slice(&[-1i64, 0, 5, -3], &[1, 2, 2]).unwrap();
    agree("without", 0.0, [&missing, &missing.narrow(1, 0, 1).unwrap()], |[within, across]| Ok(vec![volume_positions(within, across, 6)?]));
}

#[test]
fn other_numbers_are_refused() {
    let Some(gpu) = gpu() else { return };
    let x = Array::ones(&[1, 1, 4, 4], DType::F64).unwrap().to(&gpu).unwrap();
    for error in [max_pool2d(&x, &Pool2d::new([2, 2])).unwrap_err(), avg_pool2d(&x, &Pool2d::new([2, 2]), true, None).unwrap_err()] {
        assert!(error.to_string().contains("f32 on a GPU"), "{error}");
    }
    let (_, places) = max_pool2d(&noise(&[1, 1, 4, 4], 1), &Pool2d::new([2, 2])).unwrap();
    let dy = noise(&[1, 1, 2, 2], 2).to(&gpu).unwrap();
    assert!(max_pool2d_backward(&dy, &places, &[1, 1, 4, 4], &Pool2d::new([2, 2])).unwrap_err().to_string().contains("different devices"));
    assert_eq!(places.device(), Device::Cpu);
}
