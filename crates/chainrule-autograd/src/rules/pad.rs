//! Rims around a tensor.

use crate::{Error, Keep, Result, Tensor};
use chainrule_core::ops::join;

impl Tensor {
    /// Elements of `value` before and after each of the last `pads.len()` dimensions, `(before, after)` for each in order; negative numbers cut (PyTorch's `pad`, which counts from the last dimension).
    /// ```
    /// # use chainrule_autograd::Tensor;
    /// let x = Tensor::from_slice(&[1f32, 2.0], &[1, 2])?;
    /// assert_eq!(x.pad(&[(0, 1), (2, -1)], 9.0)?.to_vec::<f32>()?, [9.0, 9.0, 1.0, 9.0, 9.0, 9.0]);
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// More pairs than dimensions; cuts of more than there is.
    pub fn pad(&self, pads: &[(isize, isize)], value: f64) -> Result<Tensor> {
        let first = padded_from("pad", self, pads)?;
        let mut x = self.clone();
        let (mut starts, mut dims) = (vec![0; self.rank()], self.dims().to_vec());
        for (axis, &(before, after)) in (first..).zip(pads) {
            let cut = [before.min(0).unsigned_abs(), after.min(0).unsigned_abs()];
            let extent = dims[axis];
            if cut[0].checked_add(cut[1]).is_none_or(|c| c > extent) {
                return Err(Error::shape(
                    "pad",
                    format!("pads ({before}, {after}) cut more than the extent {extent} of dimension {axis} of {:?}", self.shape()),
                ));
            }
            if cut != [0, 0] {
                x = x.narrow(axis as isize, cut[0], extent - cut[0] - cut[1])?;
            }
            starts[axis] = before.max(0) as usize;
            dims[axis] = x.dims()[axis].saturating_add(starts[axis]).saturating_add(after.max(0) as usize);
        }
        if dims == x.dims() {
            return Ok(x);
        }
        let y = join::place(self.array.new_full(&dims, value)?, &x.array, &starts)?;
        Tensor::record("pad", [&x], Keep::NONE, y, move |pass| {
            let mut grad = pass.grad().clone();
            for (axis, (&start, &extent)) in starts.iter().zip(pass.input_dims(0)).enumerate() {
                if grad.dims()[axis] != extent {
                    grad = grad.narrow(axis as isize, start, extent)?;
                }
            }
            Ok([Some(grad)])
        })
    }

    /// A rim that mirrors the elements at the edges, which are not repeated (PyTorch's `pad(mode='reflect')`); see [`pad_with`](Tensor::pad_with).
    /// ```
    /// # use chainrule_autograd::Tensor;
    /// let x = Tensor::from_slice(&[1f32, 2.0, 3.0], &[3])?;
    /// assert_eq!(x.pad_reflect(&[(2, 1)])?.to_vec::<f32>()?, [3.0, 2.0, 1.0, 2.0, 3.0, 2.0]);
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// As for [`pad_with`](Tensor::pad_with).
    pub fn pad_reflect(&self, pads: &[(isize, isize)]) -> Result<Tensor> {
        self.pad_with(pads, PadMode::Reflect)
    }

    /// A rim that repeats the elements at the edges (PyTorch's `pad(mode='replicate')`); see [`pad_with`](Tensor::pad_with).
    /// ```
    /// # use chainrule_autograd::Tensor;
    /// let x = Tensor::from_slice(&[1f32, 2.0, 3.0], &[3])?;
    /// assert_eq!(x.pad_replicate(&[(2, 1)])?.to_vec::<f32>()?, [1.0, 1.0, 1.0, 2.0, 3.0, 3.0]);
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// As for [`pad_with`](Tensor::pad_with).
    pub fn pad_replicate(&self, pads: &[(isize, isize)]) -> Result<Tensor> {
        self.pad_with(pads, PadMode::Replicate)
    }

    /// A rim of the elements at the other end, as if the tensor repeated itself (PyTorch's `pad(mode='circular')`); see [`pad_with`](Tensor::pad_with).
    /// ```
    /// # use chainrule_autograd::Tensor;
    /// let x = Tensor::from_slice(&[1f32, 2.0, 3.0], &[3])?;
    /// assert_eq!(x.pad_circular(&[(2, 1)])?.to_vec::<f32>()?, [2.0, 3.0, 1.0, 2.0, 3.0, 1.0]);
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// As for [`pad_with`](Tensor::pad_with).
    pub fn pad_circular(&self, pads: &[(isize, isize)]) -> Result<Tensor> {
        self.pad_with(pads, PadMode::Circular)
    }

    /// A rim of this kind around each of the last `pads.len()` dimensions, `(before, after)` for each in order; negative numbers cut (PyTorch's `pad`, which counts from the last dimension).
    /// ```
    /// # use chainrule_autograd::{PadMode, Tensor};
    /// let x = Tensor::from_slice(&[1f32, 2.0, 3.0], &[3])?;
    /// assert_eq!(x.pad_with(&[(2, 1)], PadMode::Reflect)?.to_vec::<f32>()?, [3.0, 2.0, 1.0, 2.0, 3.0, 2.0]);
    /// assert_eq!(x.pad_with(&[(2, 1)], PadMode::Replicate)?.to_vec::<f32>()?, [1.0, 1.0, 1.0, 2.0, 3.0, 3.0]);
    /// assert_eq!(x.pad_with(&[(2, 1)], PadMode::Circular)?.to_vec::<f32>()?, [2.0, 3.0, 1.0, 2.0, 3.0, 1.0]);
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// More pairs than dimensions; cuts of more than there is; a mirrored rim that is not smaller than the extent, a circular one that is larger; a rim around nothing.
    pub fn pad_with(&self, pads: &[(isize, isize)], mode: PadMode) -> Result<Tensor> {
        if let PadMode::Constant(value) = mode {
            return self.pad(pads, value);
        }
        let op = mode.name();
        let first = padded_from(op, self, pads)?;
        let mut x = self.clone();
        for (axis, &(before, after)) in (first..).zip(pads) {
            if (before, after) != (0, 0) {
                let sources = mode.sources(self.dims()[axis], before, after).ok_or_else(|| {
                    Error::shape(
                        op,
                        format!(
                            "pads ({before}, {after}) do not fit the extent {} of dimension {axis} of {:?}; {}",
                            self.dims()[axis],
                            self.shape(),
                            mode.limit()
                        ),
                    )
                })?;
                x = x.index_select(axis as isize, &Tensor::from_slice(&sources, &[sources.len()])?.to(&self.device())?)?;
            }
        }
        Ok(x)
    }
}

/// What a rim is made of (PyTorch's `mode` of `pad`, and `padding_mode` of convolutions).
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum PadMode {
    /// This number.
    Constant(f64),
    /// The elements at the edge, mirrored, the last one not repeated.
    Reflect,
    /// The last element at the edge.
    Replicate,
    /// The elements at the other end.
    Circular,
}

impl Default for PadMode {
    /// Zeros.
    fn default() -> PadMode {
        PadMode::Constant(0.0)
    }
}

impl PadMode {
    fn name(self) -> &'static str {
        match self {
            PadMode::Constant(_) => "pad",
            PadMode::Reflect => "pad_reflect",
            PadMode::Replicate => "pad_replicate",
            PadMode::Circular => "pad_circular",
        }
    }

    fn limit(self) -> &'static str {
        match self {
            PadMode::Reflect => "each must be smaller than it",
            PadMode::Circular => "each may be as large as it",
            _ => "something must be left",
        }
    }

    /// Which index each index of the result reads, along an axis of `extent`.
    fn sources(self, extent: usize, before: isize, after: isize) -> Option<Vec<i64>> {
        let most = match self {
            PadMode::Reflect => extent.checked_sub(1)?,
            PadMode::Circular => extent,
            _ if extent == 0 => 0,
            _ => isize::MAX as usize / 4,
        } as isize;
        let extent = extent as isize;
        let end = extent.checked_add(after)?;
        if before > most || after > most || end < 0 || before.checked_add(end)? < 0 {
            return None;
        }
        // What a circle consists of is what the cuts leave.
        let (start, kept) = (-before.min(0), extent + before.min(0) + after.min(0));
        if self == PadMode::Circular && (kept <= 0 && before + end > 0 || before > kept || after > kept) {
            return None;
        }
        let source = |i: isize| match self {
            PadMode::Reflect if i < 0 => -i,
            PadMode::Reflect if i >= extent => 2 * (extent - 1) - i,
            PadMode::Circular => start + (i - start).rem_euclid(kept),
            _ => i.clamp(0, extent - 1),
        };
        let mut sources = Vec::new();
        sources.try_reserve_exact((before + end) as usize).ok()?;
        sources.extend((-before..end).map(|i| source(i) as i64));
        Some(sources)
    }
}

/// The first dimension that `pads` speaks of.
fn padded_from<P: std::fmt::Debug>(op: &'static str, x: &Tensor, pads: &[P]) -> Result<usize> {
    let message = || format!("{} pairs {pads:?} for the {} dimensions of {:?}", pads.len(), x.rank(), x.shape());
    x.rank().checked_sub(pads.len()).ok_or_else(|| Error::shape(op, message()))
}
