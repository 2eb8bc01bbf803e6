//! Matrix products: C ← A·B + β·C, then bias and activation.
//!
//! A is `[m, k]`, B is `[k, n]`, C is `[m, n]`, each with any strides, so a transpose costs nothing.
//! The work is cut into blocks of C, and a long k into parts that are added in their order (`split`), by sizes and strides alone: so the bits do not depend on the number of threads.
//! Loops and packing follow Goto and van de Geijn, "Anatomy of High-Performance Matrix Multiplication" (2008), and BLIS.

mod block;
mod dot;
mod kernel;
mod pack;
mod pairs;
mod panels;
mod plan;
mod split;
#[cfg(test)]
mod tests;

pub(crate) use pack::{Buffer, Use};
pub(crate) use pairs::{narrowed, paired};
pub(crate) use panels::Panels;

use crate::error::{Error, Result};
use crate::float::Float;
use crate::simd::{Kernel, Vector};

/// A matrix that is read: element (i, j) lies at `start + i * row + j * column`. Strides count elements and may be zero or negative.
#[derive(Clone, Copy)]
pub(crate) struct Matrix<T> {
    pub start: *const T,
    pub row: isize,
    pub column: isize,
}

impl<T> Matrix<T> {
    /// The same elements with rows and columns exchanged.
    pub(crate) fn transposed(self) -> Self {
        Matrix { start: self.start, row: self.column, column: self.row }
    }
    #[inline(always)]
    fn at(&self, i: usize, j: usize) -> *const T {
        self.start.wrapping_offset(i as isize * self.row + j as isize * self.column)
    }
    /// The part from row `i` and column `j` on.
    #[inline(always)]
    pub(crate) fn from(&self, i: usize, j: usize) -> Self {
        Matrix { start: self.at(i, j), row: self.row, column: self.column }
    }
}

/// A matrix that is written: element (i, j) lies at `start + i * row + j * column`; no two elements share a place.
#[derive(Clone, Copy)]
pub(crate) struct MatrixMut<T> {
    pub start: *mut T,
    pub row: isize,
    pub column: isize,
}

impl<T> MatrixMut<T> {
    fn transposed(self) -> Self {
        MatrixMut { start: self.start, row: self.column, column: self.row }
    }
    #[inline(always)]
    fn at(&self, i: usize, j: usize) -> *mut T {
        self.start.wrapping_offset(i as isize * self.row + j as isize * self.column)
    }
    #[inline(always)]
    pub(crate) fn from(&self, i: usize, j: usize) -> Self {
        MatrixMut { start: self.at(i, j), row: self.row, column: self.column }
    }
}

/// What is added to every element of C: nothing, a number for its column (`[n]`) or a number for its row (`[m]`).
#[derive(Clone, Copy, Default)]
pub(crate) enum Bias<'a, T> {
    #[default]
    None,
    PerColumn(&'a [T]),
    PerRow(&'a [T]),
}

/// The function that every element of a product goes through last, while it is still in a register. NaN stays.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Activation {
    /// x
    #[default]
    None,
    /// max(x, 0)
    Relu,
    /// x above 0, this slope times x below; the slope must be finite.
    LeakyRelu(f64),
}

impl Activation {
    /// An error unless the slope is a finite f32.
    ///
    /// # Errors
    /// As said.
    pub(crate) fn expect_finite(self, op: &'static str) -> Result<()> {
        match self {
            Activation::LeakyRelu(slope) if !(slope as f32).is_finite() => {
                Err(Error::value(op, format!("leaky ReLU's slope is {slope}, expected a finite number")))
            }
            _ => Ok(()),
        }
    }

    /// At the end of what kernels of the GPU do to a result.
    #[cfg(feature = "cuda")]
    pub(crate) fn after(self, finish: crate::cuda::blas::Finish) -> crate::cuda::blas::Finish {
        match self {
            Activation::None => finish,
            Activation::Relu => finish.relu(),
            Activation::LeakyRelu(slope) => finish.leaky_relu(slope as f32),
        }
    }

    /// Of one number.
    #[inline(always)]
    pub(crate) fn of<T: Float>(self, x: T) -> T {
        match self {
            Activation::None => x,
            Activation::Relu => {
                if x < T::zero() {
                    T::zero()
                } else {
                    x
                }
            }
            Activation::LeakyRelu(slope) => {
                if x > T::zero() {
                    x
                } else {
                    x * T::from_f64(slope)
                }
            }
        }
    }

    /// Of registers full.
    ///
    /// # Safety
    /// The level of V must be checked.
    #[inline(always)]
    pub(crate) unsafe fn of_all<T: Float, V: Vector<Element = T>>(self, all: &mut [V]) {
        let slope = match self {
            Activation::None => return,
            Activation::Relu => None,
            Activation::LeakyRelu(slope) => Some(T::from_f64(-slope)),
        };
        // SAFETY: the caller's promise. `max` gives its second operand where one is NaN, which so comes through.
        unsafe {
            let (zero, minus) = (V::splat(T::zero()), V::splat(-T::one()));
            for x in all {
                let above = zero.max(*x);
                *x = slope.map_or(above, |slope| V::splat(slope).mul_add(zero.max(minus.mul(*x)), above));
            }
        }
    }
}

/// What happens to the elements of C while they are still in registers: `activation(A·B + β·C + bias)`.
#[derive(Clone, Copy)]
pub(crate) struct Epilogue<'a, T> {
    pub bias: Bias<'a, T>,
    pub activation: Activation,
}

impl<T> Epilogue<'_, T> {
    pub(crate) const NONE: Self = Epilogue { bias: Bias::None, activation: Activation::None };

    fn is_none(&self) -> bool {
        matches!(self.bias, Bias::None) && self.activation == Activation::None
    }
    fn transposed(self) -> Self {
        let bias = match self.bias {
            Bias::None => Bias::None,
            Bias::PerColumn(values) => Bias::PerRow(values),
            Bias::PerRow(values) => Bias::PerColumn(values),
        };
        Epilogue { bias, ..self }
    }
}

/// How many products of one shape there are, and the steps in elements from one A, B and C to the next (0 shares A or B).
#[derive(Clone, Copy)]
pub(crate) struct Batch {
    pub count: usize,
    pub a: isize,
    pub b: isize,
    pub c: isize,
    /// Elements of A and B are [`paired`] numbers, and k counts the pairs. Only where [`simd::has_pairs`](crate::simd::has_pairs) says so.
    pub pairs: bool,
}

impl Batch {
    pub(crate) const ONE: Self = Batch { count: 1, a: 0, b: 0, c: 0, pairs: false };
}

/// An element type of matrix products. f32 has kernels of ours at the vector levels; f64, and the portable level, go to the crate `matrixmultiply`.
pub(crate) trait Number: Float {
    /// C ← A·B + β·C by `matrixmultiply`.
    ///
    /// # Safety
    /// As for [`gemm`].
    unsafe fn portable(sizes: [usize; 3], a: Matrix<Self>, b: Matrix<Self>, beta: Self, c: MatrixMut<Self>);
    /// [`Float::run`] for products of pairs, which f64 has none of.
    fn run_pairs<K: Kernel>(kernel: K) -> K::Output {
        Self::run(kernel)
    }
}

macro_rules! number {
    ($element:ty, $portable:path $(, $pairs:path)?) => {
        impl Number for $element {
            unsafe fn portable([m, n, k]: [usize; 3], a: Matrix<Self>, b: Matrix<Self>, beta: Self, c: MatrixMut<Self>) {
                // SAFETY: the caller vouches for the elements of the three matrices; C is not read where beta is zero.
                unsafe { $portable(m, k, n, 1.0, a.start, a.row, a.column, b.start, b.row, b.column, beta, c.start, c.row, c.column) }
            }
            $(fn run_pairs<K: Kernel>(kernel: K) -> K::Output {
                $pairs(kernel)
            })?
        }
    };
}

number!(f32, matrixmultiply::sgemm, crate::simd::run_pairs);
number!(f64, matrixmultiply::dgemm);

/// One product, as blocks and kernels see it.
#[derive(Clone, Copy)]
struct Product<'a, T> {
    /// m, n, k
    sizes: [usize; 3],
    a: Matrix<T>,
    b: Matrix<T>,
    c: MatrixMut<T>,
    finish: Finish<'a, T>,
    /// Elements of A and B are pairs of bf16 along k.
    pairs: bool,
}

// SAFETY: tasks read A and B and write parts of C that do not overlap; `gemm`'s caller vouches that nobody else touches C meanwhile.
unsafe impl<T: Sync> Sync for Product<'_, T> {}

/// What makes an element of C of a sum over k.
#[derive(Clone, Copy)]
struct Finish<'a, T> {
    beta: T,
    epilogue: Epilogue<'a, T>,
}

impl<T: Number> Finish<'_, T> {
    /// The element (i, j) of C, which lies at `at`.
    ///
    /// # Safety
    /// `at` must be valid for a write, and for a read unless β = 0.
    #[inline(always)]
    unsafe fn element(&self, at: *mut T, i: usize, j: usize, mut sum: T) {
        if self.beta != T::zero() {
            // SAFETY: the caller's promise.
            sum = sum + self.beta * unsafe { at.read() };
        }
        match self.epilogue.bias {
            Bias::None => {}
            Bias::PerColumn(values) => sum = sum + values[j],
            Bias::PerRow(values) => sum = sum + values[i],
        }
        // SAFETY: the caller's promise.
        unsafe { at.write(self.epilogue.activation.of(sum)) }
    }
}

/// C ← activation(A·B + β·C + bias) for A `[m, k]`, B `[k, n]`, C `[m, n]`, with `sizes` = \[m, n, k\].
///
/// Where β = 0, C is not read and may hold anything. With k = 0 the product is zero. A bias must be as long as the side that it runs along.
///
/// # Safety
/// Every element of A and B must be readable and every element of C writable; C overlaps neither A nor B, and nothing else uses it meanwhile.
pub(crate) unsafe fn gemm<T: Number>(sizes: [usize; 3], a: Matrix<T>, b: Matrix<T>, beta: T, c: MatrixMut<T>, epilogue: &Epilogue<T>) {
    // SAFETY: the caller's promise.
    unsafe { gemm_batched(Batch::ONE, sizes, a, b, beta, c, epilogue) }
}

/// [`gemm`] for every product of a batch. The bias is shared.
///
/// # Safety
/// As for [`gemm`], for every product; no two of them write the same element.
pub(crate) unsafe fn gemm_batched<T: Number>(batch: Batch, sizes: [usize; 3], a: Matrix<T>, b: Matrix<T>, beta: T, c: MatrixMut<T>, epilogue: &Epilogue<T>) {
    let [m, n, _] = sizes;
    match epilogue.bias {
        Bias::None => {}
        Bias::PerColumn(values) => assert_eq!(values.len(), n, "bias per column"),
        Bias::PerRow(values) => assert_eq!(values.len(), m, "bias per row"),
    }
    if m == 0 || n == 0 || batch.count == 0 {
        return;
    }
    let product = Product { sizes, a, b, c, finish: Finish { beta, epilogue: *epilogue }, pairs: batch.pairs };
    // SAFETY: the caller's promise; the sizes are not zero and the bias fits.
    unsafe { plan::run(batch, product) }
}

/// C ← A·B + β·C on the calling thread, uncut: for kernels that multiply tiles in tasks of their own.
///
/// # Safety
/// As for [`gemm`].
pub(crate) unsafe fn gemm_tile<T: Number>(sizes: [usize; 3], a: Matrix<T>, b: Matrix<T>, beta: T, c: MatrixMut<T>) {
    if sizes[0] > 0 && sizes[1] > 0 {
        // SAFETY: the caller's promise; the sizes of C are not zero.
        unsafe { plan::run_whole(Product { sizes, a, b, c, finish: Finish { beta, epilogue: Epilogue::NONE }, pairs: false }) }
    }
}
