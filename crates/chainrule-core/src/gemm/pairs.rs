//! Numbers rounded to bf16, two neighbours along k in the place of one f32: what `vdpbf16ps` multiplies and adds up in f32.
//!
//! Rounding is to the nearest, ties to even; NaN stays NaN. The instruction takes denormal numbers for zero, and gives zero for a denormal result.

use crate::array::Array;
use crate::dtype::DType;
use crate::error::Result;
use crate::parallel::{self, Target};
use crate::shape::Shape;
use crate::simd::{self, Kernel, Simd};
use half::bf16;

/// A number as the upper half of an f32's bits.
trait Narrow: Copy + Send + Sync {
    fn bits(self) -> u32;
}
impl Narrow for f32 {
    #[inline(always)]
    fn bits(self) -> u32 {
        let bits = self.to_bits();
        let rounded = bits.wrapping_add(0x7fff + (bits >> 16 & 1)) >> 16;
        if self.is_nan() { bits >> 16 | 0x40 } else { rounded }
    }
}
impl Narrow for bf16 {
    #[inline(always)]
    fn bits(self) -> u32 {
        self.to_bits() as u32
    }
}

/// Each number rounded to bf16, in place.
pub(crate) fn narrowed(numbers: &mut [f32]) {
    let (count, target) = (numbers.len(), Target::new(numbers));
    parallel::ranges(count, parallel::GRAIN, |start, end| {
        // SAFETY: ranges do not overlap.
        simd::run(Round(unsafe { target.slice(start, end) }))
    });
}

struct Round<'a>(&'a mut [f32]);

impl Kernel for Round<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self) {
        for x in self.0 {
            *x = f32::from_bits(x.bits() << 16);
        }
    }
}

/// Matrices of f32 or bf16 as matrices of pairs, which have half as many columns (`along_rows`) or rows, rounded up. The result's strides follow the order in which the matrices lie.
///
/// # Errors
/// No memory.
pub(crate) fn paired(x: &Array, along_rows: bool) -> Result<Array> {
    match x.dtype() {
        DType::BF16 => pair::<bf16>(x, along_rows),
        _ => pair::<f32>(x, along_rows),
    }
}

fn pair<E: Narrow>(x: &Array, along_rows: bool) -> Result<Array> {
    let front = x.rank() - 2;
    let (inner, other) = if along_rows { (front + 1, front) } else { (front, front + 1) };
    let (k, side) = (x.dims()[inner], x.dims()[other]);
    let (step, line) = (x.strides()[inner], x.strides()[other]);
    let pairs = k.div_ceil(2);
    // Lines of the copy run along k or across it, as those of the source do.
    let along = step == 1 || line != 1;
    let (lines, length) = if along { (side, pairs) } else { (pairs, side) };
    let mut copy = Array::stale(Shape::new(&x.shape().with(front, lines).with(front + 1, length))?, DType::F32)?;
    let count: usize = x.dims()[..front].iter().product();
    let target = Target::new(copy.slice_mut::<f32>());
    struct Source<E>(*const E);
    // SAFETY: an address that tasks only read from.
    unsafe impl<E> Sync for Source<E> {}
    let source = &Source(x.pointer::<E>());
    parallel::ranges(count * lines, (parallel::GRAIN / length.max(1)).max(1), |start, end| {
        for index in start..end {
            let (mut rest, row) = (index / lines, index % lines);
            let mut from = source.0;
            for axis in (0..front).rev() {
                from = from.wrapping_offset((rest % x.dims()[axis]) as isize * x.strides()[axis]);
                rest /= x.dims()[axis];
            }
            // SAFETY: lines of the copy do not overlap, and are `length` long; the kernel reads inside the matrix that starts at `from`.
            let to = unsafe { target.slice(index * length, (index + 1) * length) };
            let from = from.wrapping_offset(if along { row as isize * line } else { 2 * row as isize * step });
            simd::run(Line { from, to, k: if along { k } else { k - 2 * row }, along, step, line });
        }
    });
    if along == along_rows { Ok(copy) } else { copy.transpose(-1, -2) }
}

/// One line of a copy: pairs along k of one row, or one pair along k of every row.
struct Line<'a, E> {
    from: *const E,
    to: &'a mut [f32],
    /// Elements along k that there are.
    k: usize,
    along: bool,
    step: isize,
    line: isize,
}

impl<E: Narrow> Kernel for Line<'_, E> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self) {
        let Line { from, to, k, along, step, line } = self;
        let pair = |low: u32, high: u32| f32::from_bits(low | high << 16);
        // SAFETY: `pair` vouches for `k` elements in steps of `step`, and across it for as many as `to` has.
        unsafe {
            match along {
                true if step == 1 => {
                    let source = std::slice::from_raw_parts(from, k);
                    for (to, two) in to.iter_mut().zip(source.chunks_exact(2)) {
                        *to = pair(two[0].bits(), two[1].bits());
                    }
                }
                true => {
                    for (p, to) in to.iter_mut().take(k / 2).enumerate() {
                        let at = from.wrapping_offset(2 * p as isize * step);
                        *to = pair((*at).bits(), (*at.wrapping_offset(step)).bits());
                    }
                }
                false if k >= 2 => {
                    let (first, second) = (std::slice::from_raw_parts(from, to.len()), std::slice::from_raw_parts(from.wrapping_offset(step), to.len()));
                    for ((to, a), b) in to.iter_mut().zip(first).zip(second) {
                        *to = pair(a.bits(), b.bits());
                    }
                }
                false => {
                    for (j, to) in to.iter_mut().enumerate() {
                        *to = pair((*from.wrapping_offset(j as isize * line)).bits(), 0);
                    }
                }
            }
            // The last of an odd number has no neighbour.
            if along && k % 2 == 1 {
                to[k / 2] = pair((*from.wrapping_offset((k - 1) as isize * step)).bits(), 0);
            }
        }
    }
}
