//! Several arrays into one.

#[cfg(feature = "cuda")]
mod cuda;

use crate::array::{Array, write_into};
use crate::error::{Error, Result};
use crate::ops::{on_device, same_dtype};
use crate::shape::Shape;

/// The arrays side by side along `axis` (PyTorch's `cat`): `[.., n_i, ..] -> [.., sum n_i, ..]`.
///
/// # Errors
/// No array; extents that differ elsewhere; different element types.
pub fn concatenate(arrays: &[&Array], axis: isize) -> Result<Array> {
    const OP: &str = "concatenate";
    let Some(first) = arrays.first() else { return Err(Error::value(OP, "got no array, expected at least one")) };
    let at = first.shape().axis(OP, axis)?;
    let mut extent = 0usize;
    for a in arrays {
        same_dtype(OP, first, a)?;
        if a.rank() != first.rank() || a.shape().without(at) != first.shape().without(at) {
            return Err(Error::shape(OP, format!("shapes {:?} and {:?} differ outside dimension {axis}", first.shape(), a.shape())));
        }
        extent += a.dims()[at];
    }
    let shape = Shape::new(first.shape().with(at, extent).dims())?;
    #[cfg(feature = "cuda")]
    if let crate::Device::Cuda(ordinal) = crate::ops::common_device(OP, &arrays.iter().map(|a| Some(("input", *a))).collect::<Vec<_>>())? {
        return cuda::concatenate(crate::cuda::Gpu::get(ordinal)?, arrays, at, shape);
    }
    let out = Array::stale(shape, first.dtype())?;
    let mut start = 0;
    for a in arrays {
        let mut part = out.narrow(at as isize, start, a.dims()[at])?;
        write_into(a, &mut part);
        start += a.dims()[at];
    }
    Ok(out)
}

/// [`concatenate`], or a view where the arrays are consecutive parts of one: undoes a split.
///
/// # Errors
/// As for [`concatenate`].
pub fn rejoin(arrays: &[&Array], axis: isize) -> Result<Array> {
    let at = arrays.first().map_or(Ok(0), |first| first.shape().axis("rejoin", axis))?;
    Array::spanning(arrays, at).map_or_else(|| concatenate(arrays, axis), Ok)
}

/// `out[.., start.., ..] = x` in a copy of `base` (in place when nothing else holds it): `x` replaces the part that starts at `starts`.
///
/// # Errors
/// A part that does not lie inside `base`; different element types.
pub fn place(mut base: Array, x: &Array, starts: &[usize]) -> Result<Array> {
    const OP: &str = "place";
    same_dtype(OP, &base, x)?;
    let fits = base.rank() == x.rank()
        && starts.len() == x.rank()
        && (0..x.rank()).all(|i| starts[i].checked_add(x.dims()[i]).is_some_and(|end| end <= base.dims()[i]));
    if !fits {
        return Err(Error::shape(OP, format!("a part of shape {:?} at {starts:?} is not inside {:?}", x.shape(), base.shape())));
    }
    base.own()?;
    let mut part = base.clone();
    for (i, &start) in starts.iter().enumerate() {
        part = part.narrow(i as isize, start, x.dims()[i])?;
    }
    on_device!(OP, [base, x], |gpu| crate::array::write_into_on(gpu, x, &part).map(|()| base));
    write_into(x, &mut part);
    Ok(base)
}

/// `x` as the diagonal of dimensions `a` and `b` of zeros of shape `dims`, `offset` places to the right of the main one: undoes [`Array::diagonal`].
///
/// # Errors
/// An `x` that does not have the shape of that diagonal.
pub fn place_diagonal(dims: &[usize], x: &Array, offset: isize, a: isize, b: isize) -> Result<Array> {
    const OP: &str = "diagonal";
    let out = Array::full_on(dims, 0.0, x.dtype(), &x.device())?;
    let mut diagonal = out.diagonal(offset, a, b)?;
    crate::ops::expect_shape(OP, "the part", x, diagonal.dims())?;
    on_device!(OP, [x], |gpu| crate::array::write_into_on(gpu, x, &diagonal).map(|()| out));
    write_into(x, &mut diagonal);
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dtype::DType;

    fn counted(dims: &[usize]) -> Array {
        Array::from_index(dims, DType::F32, |i| i as f64).unwrap()
    }

    #[test]
    fn parts_are_put_together() {
        let (a, b) = (counted(&[2, 2]), counted(&[2, 3]));
        let out = concatenate(&[&a, &b.flip(&[1]).unwrap()], -1).unwrap();
        assert_eq!(out.to_vec::<f32>().unwrap(), [0., 1., 2., 1., 0., 2., 3., 5., 4., 3.]);
        let error = concatenate(&[&a, &counted(&[3, 3])], 1).unwrap_err().to_string();
        assert!(error.contains("[2, 2]") && error.contains("[3, 3]"), "{error}");
        let base = counted(&[3, 3]);
        let placed = place(base.clone(), &counted(&[2, 1]), &[1, 2]).unwrap();
        assert_eq!(placed.to_vec::<f32>().unwrap(), [0., 1., 2., 3., 4., 0., 6., 7., 1.]);
        assert_eq!(base.to_vec::<f32>().unwrap()[5], 5.0);
    }
    #[test]
    fn parts_of_one_array_are_rejoined_without_a_copy() {
        let whole = counted(&[3, 5, 2]).transpose(0, 1).unwrap();
        let parts = [(0, 1), (1, 3), (4, 1)].map(|(start, length)| whole.narrow(0, start, length).unwrap());
        let [a, b, c] = &parts;
        assert!(rejoin(&[a, b, c], 0).unwrap().is_same(&whole));
        assert!(rejoin(&[b, c], -3).unwrap().is_same(&whole.narrow(0, 1, 4).unwrap()));
        let other = counted(&[3, 1, 2]).transpose(0, 1).unwrap();
        let empty = whole.narrow(0, 0, 0).unwrap();
        for apart in [&[a, c][..], &[b, a], &[a, b, &other], &[a, &empty], &[&empty, a]] {
            let (got, want) = (rejoin(apart, 0).unwrap(), concatenate(apart, 0).unwrap());
            assert_eq!(got.dims(), want.dims());
            assert_eq!(got.to_vec::<f32>().unwrap(), want.to_vec::<f32>().unwrap());
        }
        assert!(rejoin(&[a, &a.flip(&[1]).unwrap()], 0).unwrap().is_contiguous() && rejoin(&[], 0).is_err() && rejoin(&[a], 3).is_err());
    }
    #[test]
    fn diagonals_are_views_and_go_back() {
        let x = counted(&[2, 3, 4]);
        for (offset, expected) in [(0, vec![0., 5., 10., 12., 17., 22.]), (2, vec![2., 7., 14., 19.]), (-1, vec![4., 9., 16., 21.]), (4, vec![]), (-9, vec![])]
        {
            let diagonal = x.diagonal(offset, 1, -1).unwrap();
            assert_eq!(diagonal.to_vec::<f32>().unwrap(), expected, "{offset}");
            let back = place_diagonal(&[2, 3, 4], &diagonal, offset, 1, 2).unwrap();
            assert_eq!(back.diagonal(offset, 1, 2).unwrap().to_vec::<f32>().unwrap(), expected);
            assert_eq!(back.to_vec::<f32>().unwrap().iter().filter(|x| **x != 0.0).count(), expected.iter().filter(|x| **x != 0.0).count());
        }
        assert!(x.diagonal(0, 1, 1).is_err() && x.diagonal(0, 0, 3).is_err());
        assert!(place_diagonal(&[2, 2], &counted(&[3]), 0, 0, 1).is_err());
    }
}
