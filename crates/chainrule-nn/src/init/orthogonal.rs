//! Matrices with orthonormal rows or columns.

use super::from_numbers;
use chainrule_autograd::{Array, DType, Error, Result, Rng, Shape};

/// Rows of normal numbers, made orthonormal one after the other (Gram and Schmidt): uniformly distributed among all such matrices.
pub(super) fn orthogonal(dims: &[usize], gain: f64, dtype: DType, rng: &mut Rng) -> Result<Array> {
    let [rows, rest @ ..] = dims else {
        return Err(Error::shape("init", "orthogonal: got a scalar, expected [Out, In, ..]"));
    };
    if rest.is_empty() {
        return Err(Error::shape("init", format!("orthogonal: got shape {dims:?}, expected [Out, In, ..]")));
    }
    let (rows, columns) = (*rows, Shape::new(rest)?.count());
    let (short, long) = (rows.min(columns), rows.max(columns));
    let mut basis: Vec<Vec<f64>> = Vec::with_capacity(short);
    while basis.len() < short {
        let mut row: Vec<f64> = (0..long).map(|_| rng.normal()).collect();
        let drawn = dot(&row, &row).sqrt();
        // Once more for what rounding left of the other directions.
        for _ in 0..2 {
            for other in &basis {
                let along = dot(&row, other);
                row.iter_mut().zip(other).for_each(|(x, o)| *x -= along * o);
            }
        }
        let length = dot(&row, &row).sqrt();
        // A row that all but lies in the span of the others is mostly rounding: draw another.
        if length > 1e-8 * drawn {
            row.iter_mut().for_each(|x| *x /= length);
            basis.push(row);
        }
    }
    let mut numbers = vec![0.0; rows * columns];
    for (i, row) in basis.iter().enumerate() {
        for (j, x) in row.iter().enumerate() {
            numbers[if rows <= columns { i * columns + j } else { j * columns + i }] = gain * x;
        }
    }
    from_numbers(&numbers, dims, dtype)
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    // Eight sums at once, in a fixed order.
    let mut sums = [0.0; 8];
    for (a, b) in a.chunks(8).zip(b.chunks(8)) {
        for (sum, (a, b)) in sums.iter_mut().zip(a.iter().zip(b)) {
            *sum += a * b;
        }
    }
    sums.iter().sum()
}
