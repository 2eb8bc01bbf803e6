//! What follows from the positions of maxima: unpooling, and the positions of a pooling in three dimensions.

use crate::array::Array;
use crate::dtype::{DType, with_element};
use crate::error::{Error, Result};
use crate::ops::on_device;
use crate::shape::Shape;

/// The numbers of `x` at their `positions` in planes of shape `plane`, 0 elsewhere (PyTorch's `max_unpool`); where a position is named twice the last number stays. `[.., o..] -> [.., plane..]`
///
/// # Errors
/// Positions that are not i64 of the shape of `x`, or lie outside the plane.
pub fn max_unpool(x: &Array, positions: &Array, plane: &[usize]) -> Result<Array> {
    const OP: &str = "max_unpool";
    let (outer, windows) = sides(OP, x.dims(), plane.len())?;
    let dims = [&x.dims()[..x.rank() - plane.len()], plane].concat();
    crate::ops::expect_shape(OP, "the array of positions", positions, x.dims())?;
    let size: usize = Shape::new(&dims)?.dims()[x.rank() - plane.len()..].iter().product();
    if positions.dtype() != DType::I64 {
        return Err(Error::DType { op: OP, got: positions.dtype(), expected: "i64 positions" });
    }
    on_device!(OP, [x, positions], |_gpu| super::cuda::put(x, positions, [outer, size], &dims, crate::ops::gather::Join::Write));
    let (x, positions) = (x.contiguous()?, inside(OP, positions, size)?);
    let mut y = Array::zeros(&dims, x.dtype())?;
    with_element!(x.dtype(), T => {
        let (x, positions, y) = (x.slice::<T>(), positions.slice::<i64>(), y.slice_mut::<T>());
        for i in 0..outer * windows {
            y[i / windows * size + positions[i] as usize] = x[i];
        }
    });
    Ok(y)
}

/// Joins the positions of two poolings, `within` the planes `[P, D, o]` of `area` positions and then `across` the planes `[P, OD, o]`, to positions in the volumes; -1 where there is none.
///
/// # Errors
/// Arrays that are not i64 `[P, D, o]` and `[P, OD, o]`; positions that lie outside.
pub fn volume_positions(within: &Array, across: &Array, area: usize) -> Result<Array> {
    const OP: &str = "max_pool3d_positions";
    let (&[planes, depth, windows], &[same_planes, _, same_windows]) = (within.dims(), across.dims()) else {
        return Err(Error::shape(OP, format!("positions {:?} and {:?} are not [P, D, o] and [P, OD, o]", within.shape(), across.shape())));
    };
    if (planes, windows) != (same_planes, same_windows) || within.dtype() != DType::I64 || across.dtype() != DType::I64 {
        return Err(Error::shape(OP, format!("positions {:?} and {:?} do not belong together", within.shape(), across.shape())));
    }
    on_device!(OP, [within, across], |gpu| super::cuda::volume_positions(gpu, OP, within, across, area, [depth, windows]));
    let (within, across) = (within.contiguous()?, across.contiguous()?);
    let mut out = Array::stale(*across.shape(), DType::I64)?;
    let (volume, windows_of_volume) = (depth * windows, across.count() / planes.max(1));
    // Negative ones are no positions.
    let below = |positions: &Array, size: usize| positions.slice::<i64>().iter().all(|&p| usize::try_from(p).is_ok_and(|p| p < size) || p < 0);
    if depth.checked_mul(area).is_none_or(|size| i64::try_from(size).is_err()) || !below(&within, area) || !below(&across, volume) {
        return Err(Error::value(OP, format!("positions lie outside {depth} planes of {area}")));
    }
    let within = within.slice::<i64>();
    for (i, (out, &at)) in out.slice_mut::<i64>().iter_mut().zip(across.slice::<i64>()).enumerate() {
        let found = usize::try_from(at).ok().filter(|&at| at < volume).map(|at| (at / windows * area, within[i / windows_of_volume * volume + at]));
        *out = found.filter(|(_, position)| *position >= 0).map_or(-1, |(start, position)| start as i64 + position);
    }
    Ok(out)
}

/// The product of the extents before the last `inner` ones, and of those.
fn sides(op: &'static str, dims: &[usize], inner: usize) -> Result<(usize, usize)> {
    let Some(outer) = dims.len().checked_sub(inner) else {
        return Err(Error::shape(op, format!("shape {dims:?} has fewer than {inner} dimensions")));
    };
    Ok((dims[..outer].iter().product(), dims[outer..].iter().product()))
}

fn inside(op: &'static str, positions: &Array, size: usize) -> Result<Array> {
    let positions = positions.contiguous()?;
    match positions.slice::<i64>().iter().find(|&&p| !(0..size as i64).contains(&p)) {
        None => Ok(positions),
        Some(p) => Err(Error::value(op, format!("position {p} is outside a plane of {size} positions"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::testing::{doubles, noise};

    #[test]
    fn numbers_return_to_their_positions() {
        let x = noise(&[2, 3], 1, DType::F64);
        let positions = Array::from_slice(&[3i64, 0, 3, 1, 2, 0], &[2, 3]).unwrap();
        let y = max_unpool(&x, &positions, &[4]).unwrap();
        let x = doubles(&x);
        assert_eq!(doubles(&y), [x[1], 0.0, 0.0, x[2], x[5], x[3], x[4], 0.0]);
        assert!(max_unpool(&y, &positions, &[4]).is_err());
        let error = max_unpool(&noise(&[2, 3], 1, DType::F32), &positions, &[3]).unwrap_err().to_string();
        assert!(error.contains("position 3"), "{error}");
        assert!(max_unpool(&y, &positions, &[4, 1, 1]).is_err());
        assert_eq!(max_unpool(&noise(&[0, 3], 1, DType::F32), &Array::zeros(&[0, 3], DType::I64).unwrap(), &[4]).unwrap().dims(), [0, 4]);
    }

    #[test]
    fn positions_of_planes_and_of_depth_join() {
        // Two planes of 6 positions with two windows each; depth windows choose plane 1 and plane 0.
        let within = Array::from_slice(&[5i64, 2, 0, 4], &[1, 2, 2]).unwrap();
        let across = Array::from_slice(&[2i64, 1], &[1, 1, 2]).unwrap();
        assert_eq!(volume_positions(&within, &across, 6).unwrap().to_vec::<i64>().unwrap(), [6, 2]);
        assert!(volume_positions(&within, &across.reshape(&[2, 1, 1]).unwrap(), 6).is_err());
    }
}
