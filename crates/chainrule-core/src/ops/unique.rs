//! Equal numbers as one, by sorting.

use crate::array::Array;
use crate::dtype::{DType, with_element};
use crate::error::Result;
use crate::ops::on_cpu;
use crate::ops::sort::sort;

/// Equal numbers as one: see [`unique`].
#[derive(Clone, Debug)]
pub struct Unique {
    /// The different numbers.
    pub values: Array,
    /// For each element of the input its place among `values` (i64, the input's shape).
    pub inverse: Array,
    /// How often each value occurs (i64).
    pub counts: Array,
}

/// The different numbers of an array in ascending order (PyTorch's `unique`), every NaN being one of its own.
///
/// # Errors
/// No memory.
pub fn unique(x: &Array) -> Result<Unique> {
    on_cpu!("unique", [x]);
    let (sorted, order) = sort(&x.flattened()?, 0, false)?;
    let runs = unique_consecutive(&sorted)?;
    let mut inverse = Array::stale(*x.shape(), DType::I64)?;
    let to = inverse.slice_mut::<i64>();
    for (&from, &run) in order.slice::<i64>().iter().zip(runs.inverse.slice::<i64>()) {
        to[from as usize] = run;
    }
    Ok(Unique { inverse, ..runs })
}

/// Runs of equal numbers in row-major order as one number each (PyTorch's `unique_consecutive`).
///
/// # Errors
/// No memory.
pub fn unique_consecutive(x: &Array) -> Result<Unique> {
    on_cpu!("unique_consecutive", [x]);
    let x = x.contiguous()?;
    let mut inverse = Array::stale(*x.shape(), DType::I64)?;
    let mut counts: Vec<i64> = Vec::new();
    let values = with_element!(x.dtype(), T => {
        let mut values: Vec<T> = Vec::new();
        for (number, run) in x.slice::<T>().iter().zip(inverse.slice_mut::<i64>()) {
            match counts.last_mut() {
                Some(count) if values.last() == Some(number) => *count += 1,
                _ => {
                    values.push(*number);
                    counts.push(1);
                }
            }
            *run = counts.len() as i64 - 1;
        }
        Array::from_slice(&values, &[values.len()])?
    });
    Ok(Unique { values, inverse, counts: Array::from_slice(&counts, &[counts.len()])? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_numbers_are_one() {
        let x = Array::from_slice(&[3i64, 1, 1, 3, 2, 3], &[2, 3]).unwrap();
        let found = unique(&x).unwrap();
        assert_eq!(found.values.to_vec::<i64>().unwrap(), [1, 2, 3]);
        assert_eq!(found.counts.to_vec::<i64>().unwrap(), [2, 1, 3]);
        assert_eq!((found.inverse.dims(), found.inverse.to_vec::<i64>().unwrap()), (&[2, 3][..], vec![2, 0, 0, 2, 1, 2]));
        let runs = unique_consecutive(&x).unwrap();
        assert_eq!(runs.values.to_vec::<i64>().unwrap(), [3, 1, 3, 2, 3]);
        assert_eq!(runs.counts.to_vec::<i64>().unwrap(), [1, 2, 1, 1, 1]);
        assert_eq!(unique(&Array::zeros(&[0], DType::F32).unwrap()).unwrap().values.count(), 0);
    }
}
