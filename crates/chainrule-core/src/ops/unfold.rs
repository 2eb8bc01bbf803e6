//! Patches of images as columns (PyTorch's `unfold`, im2col) and their sum back into images (`fold`, col2im): each is the other's transpose.
//!
//! `[N, C, H, W] <-> [N, C · KH · KW, L]` with `L = OH · OW` windows: `columns[n][(c, a, b)][(i, j)] = x[n][c][i·stride + a·dilation - padding][j·…]`, 0 outside; or without N.

use crate::array::Array;
use crate::error::{Error, Result};
use crate::float::{Float, with_float};
use crate::ops::on_cpu;
use crate::parallel::{self, Target};
use std::ops::Range;

/// The windows that patches are taken from, height before width.
///
/// ```
/// use chainrule_core::ops::unfold::Patches;
/// let strided = Patches { stride: [2, 1], padding: [1, 0], ..Patches::new([3, 2]) };
/// assert_eq!(strided.output_size("unfold", [6, 7])?, [3, 6]);
/// # Ok::<(), chainrule_core::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Patches {
    /// The extent of a window.
    pub kernel: [usize; 2],
    /// Steps of the window (at least 1).
    pub stride: [usize; 2],
    /// Zeros added on each side.
    pub padding: [usize; 2],
    /// Distance between the window's taps (at least 1).
    pub dilation: [usize; 2],
}

impl Patches {
    /// Windows at every position, without padding.
    pub const fn new(kernel: [usize; 2]) -> Patches {
        Patches { kernel, stride: [1; 2], padding: [0; 2], dilation: [1; 2] }
    }

    /// The number of windows along height and width.
    ///
    /// # Errors
    /// A kernel, stride or dilation of zero; not a single window.
    pub fn output_size(&self, op: &'static str, input: [usize; 2]) -> Result<[usize; 2]> {
        let Patches { kernel, stride, padding, dilation } = *self;
        if [kernel, stride, dilation].iter().any(|setting| setting.contains(&0)) {
            return Err(Error::value(op, format!("kernel {kernel:?}, stride {stride:?} and dilation {dilation:?} must be at least 1")));
        }
        let mut output = [0; 2];
        for at in 0..2 {
            let reach = (kernel[at] - 1).checked_mul(dilation[at]).and_then(|reach| reach.checked_add(1));
            let padded = padding[at].checked_mul(2).and_then(|padding| padding.checked_add(input[at]));
            output[at] = match (reach, padded) {
                (Some(reach), Some(padded)) if reach <= padded => (padded - reach) / stride[at] + 1,
                _ => {
                    let message = format!("no window of {kernel:?} (dilation {dilation:?}) fits an image of {input:?} with padding {padding:?}; pad more");
                    return Err(Error::shape(op, message));
                }
            };
        }
        if output[0].checked_mul(output[1]).is_none() {
            return Err(Error::shape(op, format!("{} by {} windows are more than memory can address", output[0], output[1])));
        }
        Ok(output)
    }

    /// The windows, of `count`, whose tap `k` lies inside an axis of `size`.
    fn windows(&self, axis: usize, k: usize, size: usize, count: usize) -> Range<usize> {
        let (shift, stride, padding) = (k * self.dilation[axis], self.stride[axis], self.padding[axis]);
        let end = (size + padding).saturating_sub(shift).div_ceil(stride).min(count);
        padding.saturating_sub(shift).div_ceil(stride).min(end)..end
    }

    /// Calls `run(image offset, column offset, count)` for each run of windows that read a row of a plane through one tap; neighbours lie a stride apart in the image and side by side in the columns.
    fn runs(&self, [height, width]: [usize; 2], [rows, columns]: [usize; 2], mut run: impl FnMut(usize, usize, usize)) {
        for (tap, (a, b)) in (0..self.kernel[0]).flat_map(|a| (0..self.kernel[1]).map(move |b| (a, b))).enumerate() {
            let across = self.windows(1, b, width, columns);
            for i in self.windows(0, a, height, rows).filter(|_| !across.is_empty()) {
                let row = i * self.stride[0] + a * self.dilation[0] - self.padding[0];
                let column = across.start * self.stride[1] + b * self.dilation[1] - self.padding[1];
                run(row * width + column, (tap * rows + i) * columns + across.start, across.len());
            }
        }
    }
}

/// Leading dimension (or none), channels or rows, and the rest.
fn split<'a, const N: usize>(op: &'static str, dims: &'a [usize], expected: &str) -> Result<(&'a [usize], [usize; N])> {
    match dims.split_last_chunk::<N>() {
        Some((outer, &inner)) if outer.len() <= 1 => Ok((outer, inner)),
        _ => Err(Error::shape(op, format!("the input has shape {dims:?}, expected {expected}"))),
    }
}

/// The patches of each window as columns: `[N, C, H, W] -> [N, C · KH · KW, L]`, or without N.
///
/// # Errors
/// Another number of dimensions; windows that do not fit; an element type other than f32 and f64.
pub fn unfold(x: &Array, patches: &Patches) -> Result<Array> {
    const OP: &str = "unfold";
    let (batch, [channels, height, width]) = split(OP, x.dims(), "[N, C, H, W] or [C, H, W]")?;
    on_cpu!(OP, [x]);
    let (input, output) = ([height, width], patches.output_size(OP, [height, width])?);
    let taps = patches.kernel[0].saturating_mul(patches.kernel[1]);
    let mut columns = Array::zeros(&[batch, &[channels.saturating_mul(taps), output[0] * output[1]]].concat(), x.dtype())?;
    let x = x.contiguous()?;
    with_float!(OP, x.dtype(), T => {
        let (size, patch) = (height * width, taps.saturating_mul(output[0] * output[1]));
        let (x, target) = (x.slice::<T>(), Target::new(columns.slice_mut::<T>()));
        planes(batch, channels, patch, |plane| {
            // SAFETY: the columns of a plane do not overlap those of another.
            let (x, to) = (&x[plane * size..(plane + 1) * size], unsafe { target.slice(plane * patch, (plane + 1) * patch) });
            patches.runs(input, output, |image, column, count| match patches.stride[1] {
                1 => to[column..column + count].copy_from_slice(&x[image..image + count]),
                stride => to[column..column + count].iter_mut().zip(x[image..].iter().step_by(stride)).for_each(|(to, x)| *to = *x),
            });
        });
        Ok(columns)
    })
}

/// The sum of all patches where they lie in images of extents `size`: `[N, C · KH · KW, L] -> [N, C, H, W]`, or without N.
///
/// # Errors
/// Another number of dimensions; columns that are not those of such images; an element type other than f32 and f64.
pub fn fold(columns: &Array, size: [usize; 2], patches: &Patches) -> Result<Array> {
    const OP: &str = "fold";
    let (batch, [rows, windows]) = split(OP, columns.dims(), "[N, C · KH · KW, L] or [C · KH · KW, L]")?;
    on_cpu!(OP, [columns]);
    let output = patches.output_size(OP, size)?;
    let taps = patches.kernel[0].saturating_mul(patches.kernel[1]);
    if !rows.is_multiple_of(taps) || windows != output[0] * output[1] {
        let message = format!(
            "columns {:?} do not fit: images of {size:?} have {} windows of {:?}, each with {taps} rows a channel",
            columns.shape(),
            output[0] * output[1],
            patches.kernel
        );
        return Err(Error::shape(OP, message));
    }
    let channels = rows / taps;
    let mut x = Array::zeros(&[batch, &[channels], &size].concat(), columns.dtype())?;
    let columns = columns.contiguous()?;
    with_float!(OP, columns.dtype(), T => {
        let (area, patch) = (size[0] * size[1], taps.saturating_mul(windows));
        let (columns, target) = (columns.slice::<T>(), Target::new(x.slice_mut::<T>()));
        planes(batch, channels, patch, |plane| {
            // SAFETY: planes do not overlap.
            let (from, to) = (&columns[plane * patch..(plane + 1) * patch], unsafe { target.slice(plane * area, (plane + 1) * area) });
            patches.runs(size, output, |image, column, count| add(&from[column..column + count], &mut to[image..], patches.stride[1]));
        });
        Ok(x)
    })
}

fn add<T: Float>(from: &[T], to: &mut [T], stride: usize) {
    match stride {
        1 => to.iter_mut().zip(from).for_each(|(to, from)| *to = *to + *from),
        _ => to.iter_mut().step_by(stride).zip(from).for_each(|(to, from)| *to = *to + *from),
    }
}

fn planes(batch: &[usize], channels: usize, patch: usize, body: impl Fn(usize) + Sync) {
    let count = batch.iter().product::<usize>() * channels;
    parallel::ranges(count, (parallel::GRAIN / patch.max(1)).max(1), |start, end| (start..end).for_each(&body));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dtype::DType;
    use crate::ops::testing::*;

    fn all() -> [Patches; 4] {
        [
            Patches::new([2, 3]),
            Patches { kernel: [3, 2], stride: [2, 1], padding: [1, 0], dilation: [1, 2] },
            Patches { kernel: [1, 1], stride: [3, 2], padding: [2, 3], dilation: [4, 4] },
            Patches { kernel: [4, 3], stride: [1, 3], padding: [3, 2], dilation: [2, 1] },
        ]
    }

    #[test]
    fn columns_are_patches_and_sums_their_transpose() {
        for (patches, dims) in all().into_iter().flat_map(|p| [&[2usize, 3, 6, 7][..], &[1, 5, 9], &[3, 1, 1, 1], &[0, 2, 5, 5]].map(|d| (p, d))) {
            let [height, width] = *dims.last_chunk::<2>().unwrap();
            let Ok([rows, columns]) = patches.output_size("unfold", [height, width]) else {
                assert!(unfold(&noise(dims, 1, DType::F64), &patches).is_err());
                continue;
            };
            for dtype in [DType::F32, DType::F64] {
                let x = noise(dims, 1, dtype);
                let xs = doubles(&x);
                let (taps, windows) = (patches.kernel[0] * patches.kernel[1], rows * columns);
                let mut expected = vec![];
                for plane in 0..dims[..dims.len() - 2].iter().product() {
                    for (tap, window) in (0..taps).flat_map(|tap| (0..windows).map(move |window| (tap, window))) {
                        let place =
                            |axis: usize, o: usize, k: usize| (o * patches.stride[axis] + k * patches.dilation[axis]).checked_sub(patches.padding[axis]);
                        let row = place(0, window / columns, tap / patches.kernel[1]).filter(|&row| row < height);
                        let column = place(1, window % columns, tap % patches.kernel[1]).filter(|&column| column < width);
                        expected.push(row.zip(column).map_or(0.0, |(row, column)| xs[(plane * height + row) * width + column]));
                    }
                }
                let got = unfold(&x, &patches).unwrap();
                assert_close(&format!("{dims:?} {patches:?}"), &got, &expected, 0.0);
                let dy = noise(got.dims(), 2, dtype);
                let back = fold(&dy, [height, width], &patches).unwrap();
                assert_eq!(back.dims(), dims);
                let (forward, backward) = (weighted(&got, &dy), weighted(&x, &back));
                assert!((forward - backward).abs() <= 1e-5 * (1.0 + forward.abs()), "{dims:?} {patches:?}: {forward} {backward}");
            }
        }
    }

    #[test]
    fn the_same_bits_for_any_number_of_threads() {
        let (x, patches) = (noise(&[4, 6, 30, 31], 1, DType::F32), all()[1]);
        assert_same_bits("unfold", || {
            let columns = unfold(&x, &patches).unwrap();
            vec![fold(&columns, [30, 31], &patches).unwrap(), columns]
        });
    }

    #[test]
    fn misuse_is_an_error() {
        let x = noise(&[1, 2, 3, 3], 1, DType::F32);
        let message = |patches: Patches| unfold(&x, &patches).unwrap_err().to_string();
        assert!(message(Patches::new([4, 1])).contains("pad more"));
        assert!(message(Patches::new([0, 1])).contains("at least 1"));
        assert!(message(Patches { padding: [usize::MAX, 0], ..Patches::new([1, 1]) }).contains("no window"));
        let wide = Patches { padding: [(1 << 31) - 1; 2], ..Patches::new([1, 1]) };
        assert!(message(wide).contains("more than memory") && fold(&x.reshape(&[1, 2, 9]).unwrap(), [3, 3], &wide).is_err());
        assert!(unfold(&noise(&[3, 3], 1, DType::F32), &Patches::new([1, 1])).unwrap_err().to_string().contains("[N, C, H, W]"));
        let columns = noise(&[1, 8, 4], 1, DType::F32);
        assert_eq!(fold(&columns, [3, 3], &Patches::new([2, 2])).unwrap().dims(), [1, 2, 3, 3]);
        assert!(fold(&columns, [3, 4], &Patches::new([2, 2])).unwrap_err().to_string().contains("6 windows"));
        assert!(fold(&columns, [3, 3], &Patches::new([3, 3])).is_err());
    }
}
