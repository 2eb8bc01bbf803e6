//! Strided arrays as kernels of the GPU see them.

use crate::array::Array;
use crate::cuda::Argument;
use crate::error::{Error, Result};
use crate::layout::Layout;
use crate::shape::MAX_RANK;

/// `K` arrays walked side by side: extents innermost first, adjacent dimensions joined where all arrays allow it. `Strided` of `prelude.cuh`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub(crate) struct Strided<const K: usize> {
    rank: u32,
    extents: [u32; MAX_RANK],
    strides: [[i64; MAX_RANK]; K],
}

// SAFETY: `repr(C)`, field by field the struct of `prelude.cuh`.
unsafe impl<const K: usize> Argument for Strided<K> {}

impl<const K: usize> Strided<K> {
    /// Of arrays of one shape (broadcast views included).
    ///
    /// # Errors
    /// More elements than a kernel can count.
    pub(crate) fn new(op: &'static str, arrays: [&Array; K]) -> Result<Strided<K>> {
        let shape = arrays[0].shape();
        if shape.count() > u32::MAX as usize {
            return Err(Error::shape(op, format!("{} elements are more than a strided kernel counts (2^32 - 1); cut the array in parts", shape.count())));
        }
        let layout = Layout::new(shape, arrays.map(|a| a.all_strides()));
        let (mut extents, mut strides) = ([1; MAX_RANK], [[0; MAX_RANK]; K]);
        let rank = layout.dims().len();
        for (place, &extent) in layout.dims().iter().rev().enumerate() {
            extents[place] = extent as u32;
            for (k, strides) in strides.iter_mut().enumerate() {
                strides[place] = layout.strides(k)[rank - 1 - place] as i64;
            }
        }
        Ok(Strided { rank: rank as u32, extents, strides })
    }
}
