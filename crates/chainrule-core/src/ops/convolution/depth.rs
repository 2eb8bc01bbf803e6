//! Volumes as images: the neighbouring planes that a window reads become channels, so that a convolution of volumes is one of images over the same weight.
//!
//! `[N, C, D, H·W] -> [N · OD, C · KD, H·W]`: `images[n · OD + o][c · KD + k] = x[n][c][o · stride + k · dilation - padding]`, 0 outside.

use crate::array::Array;
use crate::error::Result;
use crate::float::with_float;
use crate::parallel::{self, Target};
use crate::shape::Shape;

const OP: &str = "conv3d";

/// The windows along the depth.
pub(super) struct Depth {
    pub batch: usize,
    pub channels: usize,
    /// Planes of a volume.
    pub planes: usize,
    /// Planes of the result.
    pub outputs: usize,
    pub taps: usize,
    pub stride: usize,
    pub padding: usize,
    pub dilation: usize,
    /// Numbers of a plane.
    pub plane: usize,
}

impl Depth {
    /// The plane that output `o` reads through tap `k`.
    fn source(&self, o: usize, k: usize) -> Option<usize> {
        (o * self.stride + k * self.dilation).checked_sub(self.padding).filter(|&plane| plane < self.planes)
    }

    fn grain(&self) -> usize {
        (parallel::GRAIN / self.plane.max(1)).max(1)
    }

    pub fn unfold(&self, x: &Array) -> Result<Array> {
        let channels = self.channels.saturating_mul(self.taps);
        let mut images = Array::stale(Shape::new(&[self.batch * self.outputs, channels, self.plane])?, x.dtype())?;
        with_float!(OP, x.dtype(), T => {
            let (x, to) = (x.slice::<T>(), Target::new(images.slice_mut::<T>()));
            parallel::ranges(self.batch * self.outputs * channels, self.grain(), |start, end| {
                for row in start..end {
                    let (image, c, k) = (row / channels, row % channels / self.taps, row % self.taps);
                    // SAFETY: rows of the images do not overlap.
                    let to = unsafe { to.slice(row * self.plane, (row + 1) * self.plane) };
                    match self.source(image % self.outputs, k) {
                        Some(plane) => to.copy_from_slice(&x[((image / self.outputs * self.channels + c) * self.planes + plane) * self.plane..][..self.plane]),
                        None => to.fill(0.0),
                    }
                }
            });
            Ok(images)
        })
    }

    /// The transpose of [`unfold`](Depth::unfold): numbers that were read several times are added up, in the order of outputs.
    pub fn fold(&self, images: &Array) -> Result<Array> {
        let mut x = Array::zeros(&[self.batch, self.channels, self.planes, self.plane], images.dtype())?;
        with_float!(OP, images.dtype(), T => {
            let (images, to) = (images.slice::<T>(), Target::new(x.slice_mut::<T>()));
            parallel::ranges(self.batch * self.channels, self.grain(), |start, end| {
                for volume in start..end {
                    let (n, c) = (volume / self.channels, volume % self.channels);
                    // SAFETY: volumes of channels do not overlap.
                    let to = unsafe { to.slice(volume * self.planes * self.plane, (volume + 1) * self.planes * self.plane) };
                    for (o, k) in (0..self.outputs).flat_map(|o| (0..self.taps).map(move |k| (o, k))) {
                        let Some(plane) = self.source(o, k) else { continue };
                        let row = ((n * self.outputs + o) * self.channels + c) * self.taps + k;
                        let from = &images[row * self.plane..(row + 1) * self.plane];
                        to[plane * self.plane..(plane + 1) * self.plane].iter_mut().zip(from).for_each(|(to, from)| *to += *from);
                    }
                }
            });
            Ok(x)
        })
    }
}
