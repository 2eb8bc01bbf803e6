//! A step that divides by second moments kept as a row and a column instead of a matrix (Adafactor: Shazeer and Stern, 2018, arXiv:1804.04235).
//!
//! Over the last two dimensions `[.., m, n]` of a gradient G: `r += take (mean over n of G² - r)`, `c += take (mean over m of G² - c)`,
//! `V = r c / max(mean of r, eps)`, `U = G / √max(V, eps²)`, `p = shrink p - step U / max(1, rms(U) / clip)`.

use super::matching;
use super::measure::{Squares, Term};
use crate::array::Array;
use crate::error::{Error, Result};
use crate::float::Float;
use crate::float::with_float;
use crate::ops::on_cpu;
use crate::ops::{expect_shape, same_dtype};
use crate::parallel::{self, Target};
use crate::simd::{Kernel, Real, Simd};

/// The constants of a step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Factored {
    /// What the gradient is multiplied by.
    pub scale: f64,
    /// The share that the new squares have in the moments.
    pub take: f64,
    /// The least divisor.
    pub eps: f64,
    /// What the root mean square of U is clipped to.
    pub clip: f64,
    /// The length of the step.
    pub step: f64,
    /// What remains of the parameter.
    pub shrink: f64,
}

/// The step on a parameter `[.., m, n]` with the moments `rows` `[.., m, 1]` and `columns` `[.., 1, n]`.
///
/// # Errors
/// Fewer than two dimensions, moments of other shapes, different element types, or one other than f32 and f64; no memory, where something else holds what is to be written. Nothing is written then.
pub fn factored_update(value: &mut Array, gradient: &Array, rows: &mut Array, columns: &mut Array, step: &Factored) -> Result<()> {
    const OP: &str = "factored_update";
    on_cpu!(OP, [value, gradient, rows, columns]);
    let gradient = matching(OP, "the gradient", value, gradient)?;
    let &[.., m, n] = value.dims() else {
        return Err(Error::shape(OP, format!("the parameter has shape {:?}, expected at least two dimensions", value.shape())));
    };
    let (mut row_dims, mut column_dims) = (value.dims().to_vec(), value.dims().to_vec());
    (row_dims[value.rank() - 1], column_dims[value.rank() - 2]) = (1, 1);
    for (what, array, dims) in [("the rows", &mut *rows, row_dims), ("the columns", &mut *columns, column_dims)] {
        same_dtype(OP, value, array)?;
        expect_shape(OP, what, array, &dims)?;
        array.own()?;
    }
    if value.count() == 0 {
        return Ok(());
    }
    value.own()?;
    with_float!(OP, value.dtype(), T => {
        let step = Step { m, n, gradient: gradient.slice::<T>(), constants: *step };
        step.moments(rows.slice_mut::<T>(), columns.slice_mut::<T>());
        let factors = step.row_factors(rows.slice::<T>());
        let columns = columns.slice::<T>();
        let size = (step.squares(&factors, columns) / gradient.count() as f64).sqrt();
        step.write(value.slice_mut::<T>(), &factors, columns, step.constants.step / (size / step.constants.clip).max(1.0));
        Ok(())
    })
}

/// Columns that are summed side by side.
const COLUMNS: usize = 64;

struct Step<'a, T> {
    m: usize,
    n: usize,
    gradient: &'a [T],
    constants: Factored,
}

impl<T: Float> Step<'_, T> {
    /// Rows that one task takes.
    fn grain(&self) -> usize {
        parallel::GRAIN.div_ceil(self.n)
    }

    fn moments(&self, rows: &mut [T], columns: &mut [T]) {
        let &Step { m, n, gradient, constants: Factored { scale, take, .. } } = self;
        let renew = |old: &mut T, squares: f64, count: usize| {
            let mean = squares * scale * scale / count as f64;
            *old = T::from_f64(old.to_f64() + take * (mean - old.to_f64()));
        };
        let target = Target::new(rows);
        parallel::ranges(gradient.len() / n, self.grain(), |start, end| {
            // SAFETY: ranges do not overlap.
            let rows = unsafe { target.slice(start, end) };
            for (row, g) in rows.iter_mut().zip(gradient[start * n..end * n].chunks_exact(n)) {
                renew(row, T::run(Squares { term: Itself, x: [g] }), n);
            }
        });
        let (strips, target) = (n.div_ceil(COLUMNS), Target::new(columns));
        parallel::ranges(gradient.len() / (m * n) * strips, parallel::GRAIN.div_ceil(m * COLUMNS.min(n)), |start, end| {
            for strip in start..end {
                let (matrix, first) = (strip / strips, strip % strips * COLUMNS);
                let last = (first + COLUMNS).min(n);
                // SAFETY: strips do not overlap.
                let columns = unsafe { target.slice(matrix * n + first, matrix * n + last) };
                let sums = T::run(ColumnSquares { rows: gradient[matrix * m * n..(matrix + 1) * m * n].chunks_exact(n), first, last });
                columns.iter_mut().zip(sums).for_each(|(column, sum)| renew(column, sum, m));
            }
        });
    }

    /// r / max(mean of r, eps), for every row of every matrix.
    fn row_factors(&self, rows: &[T]) -> Vec<T> {
        let mut factors = Vec::with_capacity(rows.len());
        for rows in rows.chunks_exact(self.m) {
            let mean = rows.iter().map(|r| (*r).to_f64()).sum::<f64>() / self.m as f64;
            factors.extend(rows.iter().map(|r| T::from_f64((*r).to_f64() / mean.max(self.constants.eps))));
        }
        factors
    }

    fn term(&self, row: T) -> Scaled<T> {
        Scaled { row, scale: self.constants.scale, least: self.constants.eps * self.constants.eps }
    }

    /// sum U²
    fn squares(&self, factors: &[T], columns: &[T]) -> f64 {
        let &Step { m, n, gradient, .. } = self;
        let mut sums = vec![0f64; factors.len()];
        let target = Target::new(&mut sums);
        parallel::ranges(factors.len(), self.grain(), |start, end| {
            // SAFETY: ranges do not overlap.
            let sums = unsafe { target.slice(start, end) };
            for (row, sum) in (start..end).zip(sums) {
                let (g, c) = (&gradient[row * n..][..n], &columns[row / m * n..][..n]);
                *sum = T::run(RowSquares(self.term(factors[row]), g, c));
            }
        });
        sums.iter().sum()
    }

    fn write(&self, value: &mut [T], factors: &[T], columns: &[T], step: f64) {
        let &Step { m, n, gradient, constants: Factored { shrink, .. } } = self;
        let target = Target::new(value);
        parallel::ranges(factors.len(), self.grain(), |start, end| {
            // SAFETY: ranges do not overlap.
            let value = unsafe { target.slice(start * n, end * n) };
            for (row, value) in (start..end).zip(value.chunks_exact_mut(n)) {
                let (g, c) = (&gradient[row * n..][..n], &columns[row / m * n..][..n]);
                T::run(RowStep { term: self.term(factors[row]), value, g, c, step, shrink });
            }
        });
    }
}

#[derive(Clone, Copy)]
struct Itself;
impl Term<1> for Itself {
    #[inline(always)]
    fn of<R: Real>(self, [x]: [R; 1]) -> R {
        x
    }
}

/// U of a row, from g and the column's moment. Where g is 0, so is U, however small the moments.
#[derive(Clone, Copy)]
struct Scaled<T> {
    row: T,
    scale: f64,
    least: f64,
}

impl<T: Float> Scaled<T> {
    #[inline(always)]
    fn of<R: Real<Element = T>>(self, g: R, c: R) -> R {
        let u = g * R::of(self.scale) / Real::max(R::wrap(self.row) * c, R::of(self.least)).sqrt();
        R::choose(g.equals(R::zero()), R::zero(), u)
    }
}

struct RowSquares<'a, T>(Scaled<T>, &'a [T], &'a [T]);
impl<T: Float> Kernel for RowSquares<'_, T> {
    type Output = f64;
    #[inline(always)]
    fn run<S: Simd>(self) -> f64 {
        let RowSquares(term, g, c) = self;
        let wrap = T::Real::<S>::wrap;
        let mut sums = [0f64; 16];
        for (g, c) in g.chunks(16).zip(c.chunks(16)) {
            for (sum, (g, c)) in sums.iter_mut().zip(g.iter().zip(c)) {
                let u = term.of(wrap(*g), wrap(*c)).number().to_f64();
                *sum += u * u;
            }
        }
        sums.iter().sum()
    }
}

struct RowStep<'a, T> {
    term: Scaled<T>,
    value: &'a mut [T],
    g: &'a [T],
    c: &'a [T],
    step: f64,
    shrink: f64,
}
impl<T: Float> Kernel for RowStep<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self) {
        let (wrap, of) = (T::Real::<S>::wrap, T::Real::<S>::of);
        let (step, shrink) = (of(-self.step), of(self.shrink));
        for ((value, g), c) in self.value.iter_mut().zip(self.g).zip(self.c) {
            let u = self.term.of(wrap(*g), wrap(*c));
            *value = step.mul_add(u, wrap(*value) * shrink).number();
        }
    }
}

/// The sums of squares of the columns from `first` to `last`.
struct ColumnSquares<'a, T> {
    rows: std::slice::ChunksExact<'a, T>,
    first: usize,
    last: usize,
}
impl<T: Float> Kernel for ColumnSquares<'_, T> {
    type Output = [f64; COLUMNS];
    #[inline(always)]
    fn run<S: Simd>(self) -> [f64; COLUMNS] {
        let mut sums = [0f64; COLUMNS];
        for row in self.rows {
            for (sum, g) in sums.iter_mut().zip(&row[self.first..self.last]) {
                *sum += (*g).to_f64() * (*g).to_f64();
            }
        }
        sums
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dtype::DType;
    use crate::ops::testing::*;

    const STEP: Factored = Factored { scale: -0.5, take: 0.4, eps: 1e-3, clip: 0.9, step: 0.1, shrink: 0.99 };

    /// p, r and c after a step, by the formulas; U is formed whole.
    fn naive(p: &mut [f64], g: &[f64], r: &mut [f64], c: &mut [f64], [b, m, n]: [usize; 3]) {
        let g: Vec<f64> = g.iter().map(|g| g * STEP.scale).collect();
        let mut u = vec![0.0; g.len()];
        for k in 0..b {
            for i in 0..m {
                let mean = (0..n).map(|j| g[(k * m + i) * n + j].powi(2)).sum::<f64>() / n as f64;
                r[k * m + i] += STEP.take * (mean - r[k * m + i]);
            }
            for j in 0..n {
                let mean = (0..m).map(|i| g[(k * m + i) * n + j].powi(2)).sum::<f64>() / m as f64;
                c[k * n + j] += STEP.take * (mean - c[k * n + j]);
            }
            let mean = r[k * m..][..m].iter().sum::<f64>() / m as f64;
            for (i, j) in (0..m).flat_map(|i| (0..n).map(move |j| (i, j))) {
                let v = r[k * m + i] * c[k * n + j] / mean.max(STEP.eps);
                u[(k * m + i) * n + j] = g[(k * m + i) * n + j] / v.max(STEP.eps * STEP.eps).sqrt();
            }
        }
        let size = (u.iter().map(|u| u * u).sum::<f64>() / u.len() as f64).sqrt();
        p.iter_mut().zip(u).for_each(|(p, u)| *p = STEP.shrink * *p - STEP.step * u / (size / STEP.clip).max(1.0));
    }

    #[test]
    fn rows_and_columns_stand_for_the_matrix() {
        at_every_level(|dtype, tolerance| {
            for dims in [[1, 1, 1], [1, 5, 3], [1, 3, 5], [3, 4, 70], [2, 130, 65], [1, 0, 3], [2, 3, 0], [1, 300, 200]] {
                let [b, m, n] = dims;
                let mut p = noise(&dims, 1, dtype);
                let (mut r, mut c) = (Array::zeros(&[b, m, 1], dtype).unwrap(), Array::zeros(&[b, 1, n], dtype).unwrap());
                let (mut ep, mut er, mut ec) = (doubles(&p), vec![0.0; b * m], vec![0.0; b * n]);
                for round in 0..3 {
                    let g = noise(&dims, 2 + round, dtype);
                    factored_update(&mut p, &g, &mut r, &mut c, &STEP).unwrap();
                    if b * m * n > 0 {
                        naive(&mut ep, &doubles(&g), &mut er, &mut ec, dims);
                    }
                }
                let what = format!("{dtype} {dims:?}");
                assert_close(&what, &p, &ep, tolerance);
                assert_close(&what, &r, &er, tolerance);
                assert_close(&what, &c, &ec, tolerance);
            }
        });
    }

    #[test]
    fn no_gradient_at_all_moves_nothing() {
        let (mut p, g) = (Array::ones(&[3, 2], DType::F32).unwrap(), Array::zeros(&[3, 2], DType::F32).unwrap());
        let (mut r, mut c) = (Array::zeros(&[3, 1], DType::F32).unwrap(), Array::zeros(&[1, 2], DType::F32).unwrap());
        factored_update(&mut p, &g, &mut r, &mut c, &Factored { eps: 1e-30, shrink: 1.0, ..STEP }).unwrap();
        assert_eq!(doubles(&p), [1.0; 6]);
    }

    #[test]
    fn any_number_of_threads_gives_the_same_bits() {
        let (x, g) = (noise(&[700, 401], 4, DType::F32), noise(&[700, 401], 5, DType::F32));
        assert_same_bits("factored_update", || {
            let (mut p, mut r, mut c) = (x.clone(), Array::zeros(&[700, 1], DType::F32).unwrap(), Array::zeros(&[1, 401], DType::F32).unwrap());
            factored_update(&mut p, &g, &mut r, &mut c, &STEP).unwrap();
            vec![p, r, c]
        });
    }

    #[test]
    fn misuse_is_an_error() {
        let (mut p, mut r, mut c) = (noise(&[4, 3], 1, DType::F32), noise(&[4, 1], 1, DType::F32), noise(&[1, 3], 1, DType::F32));
        let g = p.clone();
        let mut refused = |p: &mut Array, r: &mut Array, g: &Array| factored_update(p, g, r, &mut c, &STEP).unwrap_err().to_string();
        assert!(refused(&mut p, &mut g.clone(), &g).contains("the rows has shape [4, 3], expected [4, 1]"));
        assert!(refused(&mut p, &mut r.cast(DType::F64).unwrap(), &g).contains("f64"));
        assert!(refused(&mut noise(&[4], 1, DType::F32), &mut r, &noise(&[4], 1, DType::F32)).contains("two dimensions"));
    }
}
