//! To and from `ndarray`.

use super::Array;
use crate::dtype::Element;
use crate::error::Result;
use ndarray::{ArrayD, ArrayViewD, IxDyn};

impl Array {
    /// A copy of an `ndarray`, of any layout.
    /// ```
    /// use chainrule_core::Array;
    /// let a = ndarray::arr2(&[[1f32, 2.0], [3.0, 4.0]]);
    /// assert_eq!(Array::from_ndarray(a.t().into_dyn())?.to_ndarray::<f32>()?, a.t().into_dyn());
    /// # Ok::<(), chainrule_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// More than 8 dimensions; no memory.
    pub fn from_ndarray<T: Element>(array: ArrayViewD<'_, T>) -> Result<Array> {
        match array.as_slice() {
            Some(data) => Array::from_slice(data, array.shape()),
            None => Array::from_slice(&array.iter().copied().collect::<Vec<T>>(), array.shape()),
        }
    }

    /// A copy as an `ndarray` in row-major order.
    ///
    /// # Errors
    /// Another element type.
    pub fn to_ndarray<T: Element>(&self) -> Result<ArrayD<T>> {
        let data = self.to_vec::<T>()?;
        ArrayD::from_shape_vec(IxDyn(self.dims()), data).map_err(|e| crate::Error::shape("to_ndarray", e.to_string()))
    }
}
