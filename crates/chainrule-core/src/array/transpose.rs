//! Copies of transposed views: squares are exchanged in registers, and the target is written a whole cache line at a time.

use super::copy::Source;
use crate::layout::Layout;
use crate::simd::{self, Kernel, Simd, Vector, transposed};

/// A number that copies move: only its size matters.
pub(super) trait Moved: Copy + Send + Sync {
    /// Whether words are f64, else f32: numbers of one or two bytes are moved in words of neighbours of the target.
    const WIDE: bool = false;
}
impl Moved for u8 {}
impl Moved for u16 {}
impl Moved for u32 {}
impl Moved for u64 {
    const WIDE: bool = true;
}

/// Bytes of a cache line.
const LINE: usize = 64;

/// Copies a layout whose dimension `axis` is dense in the source and whose innermost dimension is dense in the target.
pub(super) fn run<T: Moved>(layout: &Layout<2>, axis: usize, from: Source<T>, to: Source<T>) {
    // Dimensions in the order (others…, axis, inner): the rows and columns of the target.
    let last = layout.dims().len() - 1;
    let layout = layout.innermost(axis).innermost(last - 1);
    let (rows, columns) = (layout.dims()[last - 1], layout.dims()[last]);
    let (from_step, to_step) = (layout.strides(0)[last], layout.strides(1)[last - 1]);
    // So many rows are a line of the source.
    let height = LINE / size_of::<T>();
    layout.parts(2, rows.div_ceil(height), |[a, b], strip| {
        let top = strip * height;
        let strip = Strip {
            from: from.at(a + top as isize),
            from_step,
            to: to.at(b + top as isize * to_step).cast_mut(),
            to_step,
            rows: height.min(rows - top),
            columns,
        };
        simd::run(strip)
    });
}

/// Some rows of the target: `to[i * to_step + j] = from[i + j * from_step]`, all inside the arrays; no other task writes there.
struct Strip<T> {
    from: *const T,
    from_step: isize,
    to: *mut T,
    to_step: isize,
    rows: usize,
    columns: usize,
}

impl<T: Moved> Kernel for Strip<T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self) {
        // SAFETY: the kernel runs inside `simd::run`, and the strip lies inside the arrays; the constants are the registers' lanes.
        unsafe {
            if T::WIDE {
                match S::V64::LANES {
                    8 => self.squares::<S::V64, 8>(),
                    4 => self.squares::<S::V64, 4>(),
                    _ => self.squares::<S::V64, 2>(),
                }
            } else {
                match S::V32::LANES {
                    16 => self.squares::<S::V32, 16>(),
                    8 => self.squares::<S::V32, 8>(),
                    _ => self.squares::<S::V32, 4>(),
                }
            }
        }
    }
}

impl<T: Moved> Strip<T> {
    /// # Safety
    /// V is of the level at hand and has N lanes of the size of a word.
    #[inline(always)]
    unsafe fn squares<V: Vector, const N: usize>(self) {
        // Numbers of a word.
        let group = size_of::<V::Element>() / size_of::<T>();
        let (whole_rows, whole_columns) = (self.rows / N * N, self.columns / (N * group) * (N * group));
        // SAFETY: the caller's promise; squares lie inside the strip.
        unsafe {
            for left in (0..whole_columns).step_by(N * group) {
                for top in (0..whole_rows).step_by(N) {
                    let from = self.from.offset(top as isize + left as isize * self.from_step);
                    let to = self.to.offset(top as isize * self.to_step + left as isize);
                    let mut square = [V::load_first(from.cast(), 0); N];
                    for (j, line) in square.iter_mut().enumerate() {
                        *line = words::<T, V, N>(from.offset((j * group) as isize * self.from_step), self.from_step);
                    }
                    for (i, line) in transposed(square).into_iter().enumerate() {
                        line.store(to.offset(i as isize * self.to_step).cast());
                    }
                }
            }
        }
        self.rest(0, whole_rows, whole_columns);
        self.rest(whole_rows, self.rows, 0);
    }

    /// The rows `top..bottom`, from column `left` on, one by one.
    #[inline(always)]
    fn rest(&self, top: usize, bottom: usize, left: usize) {
        for i in top..bottom {
            for j in left..self.columns {
                let (i, j) = (i as isize, j as isize);
                // SAFETY: inside the strip.
                unsafe { *self.to.offset(i * self.to_step + j) = *self.from.offset(i + j * self.from_step) };
            }
        }
    }
}

/// N words, each of the numbers at one place of as many lines as make a word, `step` apart.
///
/// # Safety
/// V is of the level at hand and has N lanes; the lines have N numbers.
#[inline(always)]
unsafe fn words<T: Moved, V: Vector, const N: usize>(from: *const T, step: isize) -> V {
    // SAFETY: the caller's promise.
    unsafe {
        match size_of::<V::Element>() / size_of::<T>() {
            1 => V::load(from.cast()),
            2 => {
                let [a, b] = [0, 1].map(|k| from.offset(k * step).cast::<[u16; N]>().read_unaligned());
                let mut words = [0u32; N];
                for i in 0..N {
                    words[i] = u32::from_le((a[i].to_le() as u32) | (b[i].to_le() as u32) << 16);
                }
                V::load(words.as_ptr().cast())
            }
            _ => {
                let [a, b, c, d] = [0, 1, 2, 3].map(|k| from.offset(k * step).cast::<[u8; N]>().read_unaligned());
                let mut words = [0u32; N];
                for i in 0..N {
                    words[i] = u32::from_le(a[i] as u32 | (b[i] as u32) << 8 | (c[i] as u32) << 16 | (d[i] as u32) << 24);
                }
                V::load(words.as_ptr().cast())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::array::Array;
    use crate::dtype::DType;
    use crate::ops::testing::{assert_same_bits, doubles};
    use crate::simd;

    #[test]
    fn every_element_type_and_level_moves_every_number() {
        let _alone = simd::alone();
        for level in simd::Level::available() {
            simd::set_level(level);
            for dtype in [DType::F32, DType::F64, DType::BF16, DType::U8, DType::I64] {
                for [outer, m, n] in [[1usize, 1, 1], [1, 64, 64], [1, 130, 67], [3, 16, 200], [2, 3, 500], [2, 500, 3], [0, 4, 4], [4, 0, 3], [1, 65, 129]] {
                    let x = Array::from_index(&[outer, m, n], dtype, |i| (i % 251) as f64).unwrap();
                    let got = doubles(&x.transpose(1, 2).unwrap());
                    let expected = (0..outer * m * n).map(|i| ((i / (m * n) * m * n + i % m * n + i % (m * n) / m) % 251) as f64);
                    assert!(got.iter().copied().eq(expected), "{level:?} {dtype} {outer} {m} {n}");
                }
            }
        }
    }

    #[test]
    fn threads_change_nothing() {
        let x = Array::from_index(&[3, 300, 200], DType::F32, |i| i as f64).unwrap();
        assert_same_bits("transpose", || vec![x.transpose(0, 2).unwrap().contiguous().unwrap(), x.transpose(1, 2).unwrap().contiguous().unwrap()]);
    }
}
