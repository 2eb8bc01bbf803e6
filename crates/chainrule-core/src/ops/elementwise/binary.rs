//! Functions of two numbers, comparisons, and the choice between two by a third; all with broadcasting.

#[cfg(feature = "cuda")]
mod cuda;

use crate::array::Array;
use crate::dtype::{DType, Element, with_element};
use crate::error::{Error, Result};
use crate::float::run_for;
use crate::layout::Layout;
use crate::ops::{Float, same_dtype};
use crate::parallel::{self, Target};
use crate::shape::Shape;
use crate::simd::{Kernel, Simd};

/// A function of two numbers whose result has their type.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Binary {
    /// a + b
    Add,
    /// a - b
    Sub,
    /// a · b
    Mul,
    /// a / b
    Div,
    /// The larger; NaN if either is NaN.
    Maximum,
    /// The smaller; NaN if either is NaN.
    Minimum,
    /// a^b
    Pow,
    /// The angle of the point (b, a), in -π..=π.
    Atan2,
    /// sqrt(a² + b²), without overflow.
    Hypot,
    /// a - b trunc(a / b), with a's sign.
    Fmod,
    /// a - b floor(a / b), with b's sign.
    Remainder,
    /// ln(e^a + e^b), without overflow.
    LogAddExp,
}

/// A comparison of two numbers; the result is u8, 1 for true.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Comparison {
    /// a = b
    Equal,
    /// a ≠ b
    NotEqual,
    /// a < b
    Less,
    /// a ≤ b
    LessEqual,
    /// a > b
    Greater,
    /// a ≥ b
    GreaterEqual,
}

impl Binary {
    /// The name in messages.
    pub const fn name(self) -> &'static str {
        match self {
            Binary::Add => "add",
            Binary::Sub => "sub",
            Binary::Mul => "mul",
            Binary::Div => "div",
            Binary::Maximum => "maximum",
            Binary::Minimum => "minimum",
            Binary::Pow => "pow",
            Binary::Atan2 => "atan2",
            Binary::Hypot => "hypot",
            Binary::Fmod => "fmod",
            Binary::Remainder => "remainder",
            Binary::LogAddExp => "logaddexp",
        }
    }
}

impl Comparison {
    /// The name in messages.
    pub const fn name(self) -> &'static str {
        match self {
            Comparison::Equal => "equal",
            Comparison::NotEqual => "not_equal",
            Comparison::Less => "less",
            Comparison::LessEqual => "less_equal",
            Comparison::Greater => "greater",
            Comparison::GreaterEqual => "greater_equal",
        }
    }
}

/// `op(a, b)` for f32, f64, and i64 (add, sub, mul, maximum and minimum), with broadcasting.
///
/// On the GPU, an array of one element may stand on the CPU; its value is then the one of the moment of the call, in a captured step too.
///
/// # Errors
/// Shapes that do not broadcast; different or other element types.
pub fn binary(op: Binary, a: &Array, b: &Array) -> Result<Array> {
    let dtype = same_dtype(op.name(), a, b)?;
    let shape = Shape::broadcast(op.name(), a.shape(), b.shape())?;
    #[cfg(feature = "cuda")]
    if let Some(gpu) = cuda::common(op.name(), [("a", a), ("b", b)])? {
        return cuda::binary(gpu, op, a, b, shape);
    }
    let mut out = Array::stale(shape, dtype)?;
    match dtype {
        DType::F32 => floats::<f32>(op, a, b, &mut out)?,
        DType::F64 => floats::<f64>(op, a, b, &mut out)?,
        DType::I64 => integers(op, a, b, &mut out)?,
        got => return Err(Error::DType { op: op.name(), got, expected: "f32, f64 or i64" }),
    }
    Ok(out)
}

fn floats<T: Float>(op: Binary, a: &Array, b: &Array, out: &mut Array) -> Result<()> {
    match op {
        Binary::Add => pairs(a, b, out, |x: T, y: T| x + y),
        Binary::Sub => pairs(a, b, out, |x: T, y: T| x - y),
        Binary::Mul => pairs(a, b, out, |x: T, y: T| x * y),
        Binary::Div => pairs(a, b, out, |x: T, y: T| x / y),
        Binary::Maximum => pairs(a, b, out, |x: T, y: T| if x > y || x.is_nan() { x } else { y }),
        Binary::Minimum => pairs(a, b, out, |x: T, y: T| if x < y || x.is_nan() { x } else { y }),
        Binary::Pow => pairs(a, b, out, |x: T, y: T| x.powf(y)),
        Binary::Atan2 => pairs(a, b, out, |x: T, y: T| x.atan2(y)),
        Binary::Hypot => pairs(a, b, out, |x: T, y: T| x.hypot(y)),
        Binary::Fmod => pairs(a, b, out, |x: T, y: T| x % y),
        Binary::Remainder => pairs(a, b, out, |x: T, y: T| {
            let rest = x % y;
            if rest != T::zero() && (rest < T::zero()) != (y < T::zero()) { rest + y } else { rest }
        }),
        // Equal infinities have no distance.
        Binary::LogAddExp => {
            pairs(a, b, out, |x: T, y: T| if x == y { x + T::from_f64(std::f64::consts::LN_2) } else { x.max(y) + (-(x - y).abs()).exp().ln_1p() })
        }
    }
}

fn integers(op: Binary, a: &Array, b: &Array, out: &mut Array) -> Result<()> {
    match op {
        Binary::Add => pairs(a, b, out, i64::wrapping_add),
        Binary::Sub => pairs(a, b, out, i64::wrapping_sub),
        Binary::Mul => pairs(a, b, out, i64::wrapping_mul),
        Binary::Maximum => pairs(a, b, out, |x: i64, y: i64| x.max(y)),
        Binary::Minimum => pairs(a, b, out, |x: i64, y: i64| x.min(y)),
        _ => Err(Error::DType { op: op.name(), got: DType::I64, expected: "f32 or f64" }),
    }
}

/// `op(a, b)` as u8, for f32, f64, i64 and u8, with broadcasting. Comparisons with NaN are false, but for `NotEqual`.
///
/// On the GPU, an array of one element may stand on the CPU; its value is then the one of the moment of the call, in a captured step too.
///
/// # Errors
/// Shapes that do not broadcast; different or other element types.
pub fn compare(op: Comparison, a: &Array, b: &Array) -> Result<Array> {
    let dtype = same_dtype(op.name(), a, b)?;
    let shape = Shape::broadcast(op.name(), a.shape(), b.shape())?;
    #[cfg(feature = "cuda")]
    if let Some(gpu) = cuda::common(op.name(), [("a", a), ("b", b)])? {
        return cuda::compare(gpu, op, a, b, shape);
    }
    let mut out = Array::stale(shape, DType::U8)?;
    match dtype {
        DType::F32 => comparisons::<f32>(op, a, b, &mut out)?,
        DType::F64 => comparisons::<f64>(op, a, b, &mut out)?,
        DType::I64 => comparisons::<i64>(op, a, b, &mut out)?,
        DType::U8 => comparisons::<u8>(op, a, b, &mut out)?,
        got => return Err(Error::DType { op: op.name(), got, expected: "f32, f64, i64 or u8" }),
    }
    Ok(out)
}

fn comparisons<T: Element>(op: Comparison, a: &Array, b: &Array, out: &mut Array) -> Result<()> {
    match op {
        Comparison::Equal => pairs(a, b, out, |x: T, y: T| (x == y) as u8),
        Comparison::NotEqual => pairs(a, b, out, |x: T, y: T| (x != y) as u8),
        Comparison::Less => pairs(a, b, out, |x: T, y: T| (x < y) as u8),
        Comparison::LessEqual => pairs(a, b, out, |x: T, y: T| (x <= y) as u8),
        // The same from the other side.
        Comparison::Greater => comparisons::<T>(Comparison::Less, b, a, out),
        Comparison::GreaterEqual => comparisons::<T>(Comparison::LessEqual, b, a, out),
    }
}

/// `condition ? a : b` (PyTorch's `where`), with broadcasting; the condition is u8, any value but 0 is true.
///
/// On the GPU, an array of one element may stand on the CPU; its value is then the one of the moment of the call, in a captured step too.
///
/// # Errors
/// Shapes that do not broadcast; a condition that is not u8; `a` and `b` of different element types.
pub fn select(condition: &Array, a: &Array, b: &Array) -> Result<Array> {
    const OP: &str = "where";
    let dtype = same_dtype(OP, a, b)?;
    if condition.dtype() != DType::U8 {
        return Err(Error::DType { op: OP, got: condition.dtype(), expected: "u8 (truth values) as the condition" });
    }
    let shape = Shape::broadcast(OP, &Shape::broadcast(OP, a.shape(), b.shape())?, condition.shape())?;
    #[cfg(feature = "cuda")]
    if let Some(gpu) = cuda::common(OP, [("condition", condition), ("a", a), ("b", b)])? {
        return cuda::select(gpu, OP, [condition, a, b], shape);
    }
    let mut out = Array::stale(shape, dtype)?;
    let (condition, a, b) = (condition.broadcast_to(&shape)?, a.broadcast_to(&shape)?, b.broadcast_to(&shape)?);
    let layout = Layout::new(&shape, [condition.all_strides(), a.all_strides(), b.all_strides(), out.all_strides()]);
    let steps = [0, 1, 2].map(|n| layout.inner_stride(n));
    with_element!(dtype, T => {
        let (c, a, b) = (Operand(condition.pointer::<u8>()), Operand(a.pointer::<T>()), Operand(b.pointer::<T>()));
        let target = Target::new(out.slice_mut::<T>());
        layout.rows(|[at_c, at_a, at_b, at]| {
            // SAFETY: the layout's offsets and steps stay inside the arrays; rows of the output do not overlap.
            let row = unsafe { target.slice(at as usize, at as usize + layout.inner()) };
            for (i, out) in row.iter_mut().enumerate() {
                let i = i as isize;
                // SAFETY: as above.
                *out = unsafe { if c.read(at_c + i * steps[0]) != 0 { a.read(at_a + i * steps[1]) } else { b.read(at_b + i * steps[2]) } };
            }
        });
    });
    Ok(out)
}

/// An operand's address, shared by tasks.
#[derive(Clone, Copy)]
struct Operand<T>(*const T);
// SAFETY: the arrays behind it are only read while tasks run.
unsafe impl<T: Sync> Send for Operand<T> {}
// SAFETY: as above.
unsafe impl<T: Sync> Sync for Operand<T> {}
impl<T: Copy> Operand<T> {
    /// # Safety
    /// The offset lies inside the array.
    #[inline(always)]
    unsafe fn read(self, offset: isize) -> T {
        // SAFETY: the caller's promise.
        unsafe { self.0.offset(offset).read() }
    }
    /// # Safety
    /// `count` elements from the offset on lie inside the array.
    #[inline(always)]
    unsafe fn slice<'a>(self, offset: isize, count: usize) -> &'a [T] {
        // SAFETY: the caller's promise.
        unsafe { std::slice::from_raw_parts(self.0.offset(offset), count) }
    }
}

/// `out = f(a, b)` over broadcast views. The inner loop is compiled for each level, and for operands that are dense or constant along it.
fn pairs<A: Element, B: Element, O: Element>(a: &Array, b: &Array, out: &mut Array, f: impl Fn(A, B) -> O + Copy + Send + Sync) -> Result<()> {
    let shape = *out.shape();
    let (a, b) = (a.broadcast_to(&shape)?, b.broadcast_to(&shape)?);
    let layout = Layout::new(&shape, [a.all_strides(), b.all_strides(), out.all_strides()]);
    let along = [layout.inner_stride(0), layout.inner_stride(1)];
    let (a, b, out) = (Operand(a.pointer::<A>()), Operand(b.pointer::<B>()), Target::new(out.slice_mut::<O>()));
    if layout.dims().len() <= 1 {
        parallel::ranges(shape.count(), parallel::GRAIN, |start, end| {
            let at = start as isize;
            run_for::<A, _>(Rows { f, a, b, out, at: [at * along[0], at * along[1], at], along, rows: 1, steps: [0; 3], count: end - start })
        });
    } else {
        layout.runs(|at, rows, steps| run_for::<A, _>(Rows { f, a, b, out, at, along, rows, steps, count: layout.inner() }));
    }
    Ok(())
}

/// Rows of `count` results, `steps` apart in a, b and the output, of which the first begin at `at`. Rows of the output are dense and belong to this task alone; within a row the operands go on by `along`.
struct Rows<F, A, B, O> {
    f: F,
    a: Operand<A>,
    b: Operand<B>,
    out: Target<O>,
    at: [isize; 3],
    along: [isize; 2],
    rows: usize,
    steps: [isize; 3],
    count: usize,
}

impl<A: Copy, B: Copy, O: Copy, F: Fn(A, B) -> O> Kernel for Rows<F, A, B, O> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self) {
        let Rows { f, a, b, out, at: [mut at_a, mut at_b, mut at], along, rows, steps, count } = self;
        for _ in 0..rows {
            // SAFETY: the rows lie inside the arrays, those of the output are this task's.
            unsafe {
                let out = out.slice(at as usize, at as usize + count);
                match along {
                    [1, 1] => out.iter_mut().zip(a.slice(at_a, count)).zip(b.slice(at_b, count)).for_each(|((o, a), b)| *o = f(*a, *b)),
                    [1, 0] => {
                        let b = b.read(at_b);
                        out.iter_mut().zip(a.slice(at_a, count)).for_each(|(o, a)| *o = f(*a, b));
                    }
                    [0, 1] => {
                        let a = a.read(at_a);
                        out.iter_mut().zip(b.slice(at_b, count)).for_each(|(o, b)| *o = f(a, *b));
                    }
                    [along_a, along_b] => {
                        for (i, out) in out.iter_mut().enumerate() {
                            *out = f(a.read(at_a + i as isize * along_a), b.read(at_b + i as isize * along_b));
                        }
                    }
                }
            }
            (at_a, at_b, at) = (at_a + steps[0], at_b + steps[1], at + steps[2]);
        }
    }
}
