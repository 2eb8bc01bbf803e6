//! Patches of images as columns, and back: each is the other's gradient.

use crate::{Keep, Result, Tensor};
use chainrule_core::ops::unfold::{self, Patches};

impl Tensor {
    /// The patch of each window as a column: `[N, C, H, W] -> [N, C · KH · KW, L]` for `L` windows, or without N (PyTorch's `unfold`, im2col).
    /// ```
    /// # use chainrule_autograd::{Patches, Tensor};
    /// let x = Tensor::from_slice(&[1f32, 2.0, 3.0, 4.0, 5.0, 6.0], &[1, 1, 2, 3])?;
    /// assert_eq!(x.unfold(&Patches::new([2, 2]))?.to_vec::<f32>()?, [1.0, 2.0, 2.0, 3.0, 4.0, 5.0, 5.0, 6.0]);
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// Another number of dimensions; windows that do not fit; an element type other than f32 and f64.
    pub fn unfold(&self, patches: &Patches) -> Result<Tensor> {
        let y = unfold::unfold(&self.array, patches)?;
        let patches = *patches;
        Tensor::record("unfold", [self], Keep::NONE, y, move |pass| {
            let &[.., height, width] = pass.input_dims(0) else { return Ok([None]) };
            Ok([Some(pass.grad().fold([height, width], &patches)?)])
        })
    }

    /// The sum of all patches where they lie in images of extents `size`: `[N, C · KH · KW, L] -> [N, C, H, W]`, or without N (PyTorch's `fold`, col2im).
    /// ```
    /// # use chainrule_autograd::{DType, Patches, Tensor};
    /// let columns = Tensor::ones(&[1, 4, 2], DType::F32)?;
    /// assert_eq!(columns.fold([2, 3], &Patches::new([2, 2]))?.to_vec::<f32>()?, [1.0, 2.0, 1.0, 1.0, 2.0, 1.0]);
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// Columns that are not those of such images; an element type other than f32 and f64.
    pub fn fold(&self, size: [usize; 2], patches: &Patches) -> Result<Tensor> {
        let y = unfold::fold(&self.array, size, patches)?;
        let patches = *patches;
        Tensor::record("fold", [self], Keep::NONE, y, move |pass| Ok([Some(pass.grad().unfold(&patches)?)]))
    }
}
