//! Tensors whose elements do not stand in row-major order: transposed, cut out, expanded.

use chainrule_autograd::{Array, DType, Element, Shape};
use chainrule_core::{bf16, f16};
use chainrule_nn::source::{Stored, read_numbers};
use chainrule_nn::{Error, Result};
use std::io::{self, Read};

/// Reads the elements at `Σ index · stride` from here on. The caller has made sure that the source has them all.
pub(super) fn read_strided(
    from: &mut dyn Read,
    stored: Stored,
    dims: &[usize],
    strides: &[usize],
    dtype: DType,
    fail: &dyn Fn(io::Error) -> Error,
) -> Result<Array> {
    if dims.contains(&0) || is_dense(dims, strides) {
        return read_numbers(from, stored, dims, dtype, fail);
    }
    Shape::new(dims).map_err(|error| fail(io::Error::other(error)))?;
    let mut array = Array::zeros(dims, dtype)?;
    let span = dims.iter().zip(strides).map(|(&extent, &stride)| (extent - 1) * stride).sum::<usize>() + 1;
    let line = read_numbers(from, stored, &[span], dtype, fail)?;
    match dtype {
        DType::F32 => gather::<f32>(&line, &mut array, strides)?,
        DType::F64 => gather::<f64>(&line, &mut array, strides)?,
        DType::F16 => gather::<f16>(&line, &mut array, strides)?,
        DType::BF16 => gather::<bf16>(&line, &mut array, strides)?,
        DType::I64 => gather::<i64>(&line, &mut array, strides)?,
        _ => gather::<u8>(&line, &mut array, strides)?,
    }
    Ok(array)
}

fn is_dense(dims: &[usize], strides: &[usize]) -> bool {
    let mut step = 1;
    dims.iter().zip(strides).rev().all(|(&extent, &stride)| {
        let fits = extent == 1 || stride == step;
        step *= extent;
        fits
    })
}

fn gather<T: Element>(line: &Array, array: &mut Array, strides: &[usize]) -> Result<()> {
    let dims = array.dims().to_vec();
    let line = line.as_slice::<T>()?;
    let mut index = vec![0; dims.len()];
    let mut at = 0;
    for to in array.as_mut_slice::<T>()? {
        *to = line[at];
        // The next index, as an odometer counts.
        for axis in (0..dims.len()).rev() {
            index[axis] += 1;
            at += strides[axis];
            if index[axis] < dims[axis] {
                break;
            }
            at -= strides[axis] * dims[axis];
            index[axis] = 0;
        }
    }
    Ok(())
}
