//! Copies of strided views into dense arrays, and between element types.

use super::transpose::{self, Moved};
use crate::array::Array;
use crate::dtype::{DType, Element, with_element};
use crate::error::Result;
use crate::layout::Layout;
use crate::parallel::{self, Target};
use crate::simd::{self, Kernel, Simd};
use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};

/// A dense copy.
pub(crate) fn dense(x: &Array) -> Result<Array> {
    let mut out = Array::stale(*x.shape(), x.dtype())?;
    write_into(x, &mut out);
    Ok(out)
}

/// Copies `x` over `out`, a writable view of the same shape and element type whose elements do not overlap.
pub(crate) fn write_into(x: &Array, out: &mut Array) {
    // Only the size of an element matters to a copy.
    match x.dtype().size() {
        1 => move_elements::<u8>(x, out),
        2 => move_elements::<u16>(x, out),
        4 => move_elements::<u32>(x, out),
        _ => move_elements::<u64>(x, out),
    }
}

fn move_elements<T: Moved>(x: &Array, out: &mut Array) {
    let layout = Layout::new(x.shape(), [x.all_strides(), out.all_strides()]);
    let (from, to) = (Source(x.pointer::<T>()), Source(out.pointer::<T>()));
    let dense = layout.inner_stride(1) == 1;
    // A transposed view: some outer dimension is dense in the source.
    if let Some(axis) = layout.strides(0).iter().position(|&s| s == 1).filter(|&a| dense && layout.inner_stride(0) != 1 && a + 1 < layout.dims().len()) {
        return transpose::run(&layout, axis, from, to);
    }
    let (inner, step_from, step_to) = (layout.inner(), layout.inner_stride(0), layout.inner_stride(1));
    if layout.dims().len() <= 1 && step_from == 1 && dense {
        return parallel::ranges(inner, 4 * parallel::GRAIN, |start, end| {
            // SAFETY: both sides are dense over `inner` elements, and ranges do not overlap.
            unsafe { std::ptr::copy_nonoverlapping(from.at(start as isize), to.at(start as isize).cast_mut(), end - start) }
        });
    }
    layout.runs(|[mut a, mut b], rows, steps| {
        if (step_from, step_to) == (1, 1) {
            return simd::run(DenseRows { from: from.at(a), to: to.at(b).cast_mut(), count: inner, rows, steps });
        }
        for _ in 0..rows {
            // SAFETY: offsets and steps of the layout stay inside the arrays; rows of the output do not overlap.
            unsafe {
                let (from, to) = (from.at(a), to.at(b).cast_mut());
                match (step_from, step_to) {
                    (0, 1) => std::slice::from_raw_parts_mut(to, inner).fill(*from),
                    _ => (0..inner as isize).for_each(|i| *to.offset(i * step_to) = *from.offset(i * step_from)),
                }
            }
            (a, b) = (a + steps[0], b + steps[1]);
        }
    });
}

/// Dense rows of `count` numbers, `steps` apart on both sides; the rows lie inside the arrays, and those of the target belong to this task.
struct DenseRows<T> {
    from: *const T,
    to: *mut T,
    count: usize,
    rows: usize,
    steps: [isize; 2],
}

impl<T: Moved> Kernel for DenseRows<T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self) {
        const LINE: usize = 64;
        let (bytes, steps) = (self.count * size_of::<T>(), self.steps.map(|step| step * size_of::<T>() as isize));
        let (mut from, mut to) = (self.from.cast::<u8>(), self.to.cast::<u8>());
        for _ in 0..self.rows {
            let whole = if bytes > 16 * LINE { 0 } else { bytes / LINE * LINE };
            // SAFETY: inside the rows. Short rows are copied here, because a call costs as much as the copy.
            unsafe {
                for at in (0..whole).step_by(LINE) {
                    to.add(at).cast::<[u8; LINE]>().write_unaligned(from.add(at).cast::<[u8; LINE]>().read_unaligned());
                }
                if whole < bytes {
                    std::ptr::copy_nonoverlapping(from.add(whole), to.add(whole), bytes - whole);
                }
            }
            (from, to) = (from.wrapping_offset(steps[0]), to.wrapping_offset(steps[1]));
        }
    }
}

/// An address that tasks share.
#[derive(Clone, Copy)]
pub(super) struct Source<T>(*const T);
// SAFETY: it only carries an address; what is read or written there is argued where it happens.
unsafe impl<T> Send for Source<T> {}
// SAFETY: as above.
unsafe impl<T> Sync for Source<T> {}
impl<T> Source<T> {
    pub(super) fn at(self, offset: isize) -> *const T {
        self.0.wrapping_offset(offset)
    }
}

/// Every element converted to `dtype`.
pub(super) fn cast(x: &Array, dtype: DType) -> Result<Array> {
    let x = x.contiguous()?;
    let mut out = Array::stale(*x.shape(), dtype)?;
    match (x.dtype(), dtype) {
        (DType::F32, DType::BF16) => ranges(x.slice(), out.slice_mut(), |from, to| simd::run(ToHalf(from, to))),
        (DType::BF16, DType::F32) => ranges(x.slice(), out.slice_mut(), |from, to| simd::run(FromHalf(from, to))),
        (DType::F32, DType::F16) => ranges(x.slice(), out.slice_mut(), |from: &[f32], to: &mut [f16]| to.convert_from_f32_slice(from)),
        (DType::F16, DType::F32) => ranges(x.slice(), out.slice_mut(), |from: &[f16], to: &mut [f32]| from.convert_to_f32_slice(to)),
        (from, to) => with_element!(from, A => with_element!(to, B => ranges(x.slice(), out.slice_mut(), |from: &[A], to: &mut [B]| {
            to.iter_mut().zip(from).for_each(|(b, a)| *b = B::from_f64(a.to_f64()))
        }))),
    }
    Ok(out)
}

fn ranges<A: Element, B: Element>(from: &[A], to: &mut [B], convert: impl Fn(&[A], &mut [B]) + Sync) {
    let target = Target::new(to);
    parallel::ranges(from.len(), parallel::GRAIN, |start, end| {
        // SAFETY: ranges do not overlap.
        convert(&from[start..end], unsafe { target.slice(start, end) })
    });
}

/// f32 to bf16, ties to even; a NaN stays one.
struct ToHalf<'a>(&'a [f32], &'a mut [bf16]);
impl Kernel for ToHalf<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self) {
        for (to, from) in self.1.iter_mut().zip(self.0) {
            let bits = from.to_bits();
            let rounded = bits.wrapping_add(0x7fff + (bits >> 16 & 1)) >> 16;
            let quiet = bits >> 16 | 0x40;
            *to = bf16::from_bits(if bits & 0x7fff_ffff > 0x7f80_0000 { quiet } else { rounded } as u16);
        }
    }
}

struct FromHalf<'a>(&'a [bf16], &'a mut [f32]);
impl Kernel for FromHalf<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self) {
        self.1.iter_mut().zip(self.0).for_each(|(to, from)| *to = f32::from_bits((from.to_bits() as u32) << 16));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(dims: &[usize]) -> Array {
        Array::from_index(dims, DType::F32, |i| i as f64).unwrap()
    }

    #[test]
    fn views_copy_as_they_read() {
        for dims in [&[5usize, 7][..], &[33, 48], &[2, 40, 37], &[3, 17, 2, 19], &[0, 4], &[1, 1]] {
            let x = counted(dims);
            let rank = dims.len();
            for a in 0..rank {
                for b in 0..rank {
                    let view = x.transpose(a as isize, b as isize).unwrap();
                    let mut expected = vec![0f32; view.count()];
                    for (i, e) in expected.iter_mut().enumerate() {
                        let (mut rest, mut at) = (i, 0isize);
                        for d in (0..rank).rev() {
                            at += (rest % view.dims()[d]) as isize * view.strides()[d];
                            rest /= view.dims()[d];
                        }
                        *e = at as f32;
                    }
                    assert_eq!(view.to_vec::<f32>().unwrap(), expected, "{dims:?} {a} {b}");
                }
            }
        }
    }

    #[test]
    fn flipped_stepped_and_stretched() {
        let x = counted(&[2, 3]);
        assert_eq!(x.flip(&[1]).unwrap().to_vec::<f32>().unwrap(), [2., 1., 0., 5., 4., 3.]);
        assert_eq!(x.stepped(1, 0, 3, 2).unwrap().to_vec::<f32>().unwrap(), [0., 2., 3., 5.]);
        let wide = x.select(0, 1).unwrap().unsqueeze(-1).unwrap().broadcast_to(&[2, 3, 2]).unwrap();
        assert_eq!(wide.to_vec::<f32>().unwrap(), [3., 3., 4., 4., 5., 5., 3., 3., 4., 4., 5., 5.]);
    }

    #[test]
    fn casts_round_and_saturate() {
        let x = Array::from_slice(&[-1.5f32, 0.5, 300.0, f32::NAN], &[4]).unwrap();
        assert_eq!(x.cast(DType::U8).unwrap().to_vec::<u8>().unwrap(), [0, 0, 255, 0]);
        assert_eq!(x.cast(DType::I64).unwrap().to_vec::<i64>().unwrap(), [-1, 0, 300, 0]);
        let half = x.cast(DType::BF16).unwrap().cast(DType::F32).unwrap().to_vec::<f32>().unwrap();
        assert_eq!(half[..3], [-1.5, 0.5, 300.0]);
        let numbers: Vec<f32> =
            (0..70_000u32).map(|i| f32::from_bits(i.wrapping_mul(61_357))).chain([f32::NAN, -f32::NAN, f32::MAX, f32::INFINITY, -0.0]).collect();
        let x = Array::from_slice(&numbers, &[numbers.len()]).unwrap();
        for dtype in [DType::BF16, DType::F16] {
            let expected = |x: f32| if dtype == DType::BF16 { bf16::from_f32(x).to_f32() } else { f16::from_f32(x).to_f32() };
            let got = x.cast(dtype).unwrap().cast(DType::F32).unwrap().to_vec::<f32>().unwrap();
            for (x, got) in numbers.iter().zip(got) {
                assert!(got.to_bits() == expected(*x).to_bits() || (x.is_nan() && got.is_nan()), "{dtype} {x:e}: {got:e}, expected {:e}", expected(*x));
            }
        }
        let big = Array::from_slice(&[(1i64 << 60) + 1], &[1]).unwrap();
        assert_eq!(big.cast(DType::I64).unwrap().to_vec::<i64>().unwrap(), [(1 << 60) + 1]);
    }
}
