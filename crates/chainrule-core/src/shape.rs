//! Shapes and strides, held inline.

use crate::error::{Error, Result};
use std::ops::Deref;

/// The most dimensions an array can have.
pub const MAX_RANK: usize = 8;

/// The extents of an array, outermost first. Rank 0 is a scalar.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Shape {
    dims: [usize; MAX_RANK],
    rank: u8,
}

impl Shape {
    /// The shape with these extents; an error beyond [`MAX_RANK`] dimensions or when the element count overflows.
    pub fn new(dims: &[usize]) -> Result<Shape> {
        if dims.len() > MAX_RANK {
            return Err(Error::shape("shape", format!("{dims:?} has {} dimensions, at most {MAX_RANK} are possible", dims.len())));
        }
        // Counted over the nonzero extents, so that [0, huge, huge] cannot overflow in strides either.
        let count = dims.iter().filter(|&&d| d > 0).try_fold(1usize, |n, &d| n.checked_mul(d));
        if count.is_none_or(|n| n > isize::MAX as usize / 16) {
            return Err(Error::shape("shape", format!("{dims:?} has more elements than memory can address")));
        }
        Ok(Shape::trusted(dims))
    }

    /// The shape with the extents of three lists one after the other.
    /// ```
    /// # use chainrule_core::Shape;
    /// assert_eq!(Shape::joined([&[2, 3], &[], &[4]])?, [2, 3, 4]);
    /// # Ok::<(), chainrule_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// As for [`new`](Shape::new).
    pub fn joined(parts: [&[usize]; 3]) -> Result<Shape> {
        if parts.iter().map(|part| part.len()).sum::<usize>() > MAX_RANK {
            return Shape::new(&parts.concat());
        }
        let shape = parts.into_iter().flatten().fold(Shape::scalar(), |shape, &extent| shape.pushed(extent));
        Shape::new(&shape)
    }

    /// Extents that are known to be good.
    pub(crate) fn trusted(dims: &[usize]) -> Shape {
        let mut all = [1; MAX_RANK];
        all[..dims.len()].copy_from_slice(dims);
        Shape { dims: all, rank: dims.len() as u8 }
    }

    /// The shape of a single number.
    pub const fn scalar() -> Shape {
        Shape { dims: [1; MAX_RANK], rank: 0 }
    }

    /// The extents.
    #[inline]
    pub fn dims(&self) -> &[usize] {
        &self.dims[..self.rank as usize]
    }

    /// The number of dimensions.
    #[inline]
    pub fn rank(&self) -> usize {
        self.rank as usize
    }

    /// The number of elements.
    #[inline]
    pub fn count(&self) -> usize {
        self.dims().iter().product()
    }

    /// The dimension that `axis` names, counted from the end when negative.
    pub fn axis(&self, op: &'static str, axis: isize) -> Result<usize> {
        let rank = self.rank() as isize;
        let found = if axis < 0 { axis + rank } else { axis };
        if (0..rank).contains(&found) {
            return Ok(found as usize);
        }
        Err(Error::shape(op, format!("axis {axis} is out of range for shape {self:?} of {rank} dimensions")))
    }

    /// The shape with `dims[axis]` replaced.
    pub fn with(mut self, axis: usize, extent: usize) -> Shape {
        self.dims[axis] = extent;
        self
    }

    /// The shape without dimension `axis`.
    pub fn without(&self, axis: usize) -> Shape {
        let mut shape = Shape::scalar();
        for (i, &d) in self.dims().iter().enumerate() {
            if i != axis {
                shape = shape.pushed(d);
            }
        }
        shape
    }

    pub(crate) fn pushed(mut self, extent: usize) -> Shape {
        self.dims[self.rank as usize] = extent;
        self.rank += 1;
        self
    }

    /// The common shape of two that broadcast: aligned at the end, an extent of 1 stretches.
    pub fn broadcast(op: &'static str, a: &Shape, b: &Shape) -> Result<Shape> {
        if a == b {
            return Ok(*a);
        }
        let rank = a.rank().max(b.rank());
        let mut out = Shape { dims: [1; MAX_RANK], rank: rank as u8 };
        for i in 0..rank {
            let extent = |s: &Shape| if i + s.rank() < rank { 1 } else { s.dims[i + s.rank() - rank] };
            let (x, y) = (extent(a), extent(b));
            out.dims[i] = match (x, y) {
                (x, y) if x == y => x,
                (1, y) => y,
                (x, 1) => x,
                _ => return Err(Error::shape(op, format!("shapes {a:?} and {b:?} do not broadcast: dimension {i} is {x} against {y}"))),
            };
        }
        Shape::new(out.dims())
    }

    /// Strides of a dense row-major array of this shape, in elements.
    pub(crate) fn dense_strides(&self) -> Strides {
        let mut strides = [0isize; MAX_RANK];
        let mut step = 1isize;
        for i in (0..self.rank()).rev() {
            strides[i] = step;
            step *= self.dims[i].max(1) as isize;
        }
        strides
    }
}

/// Steps in elements from one index to the next, a dimension each; 0 repeats, negative walks backward.
pub(crate) type Strides = [isize; MAX_RANK];

impl Deref for Shape {
    type Target = [usize];
    fn deref(&self) -> &[usize] {
        self.dims()
    }
}

impl PartialEq<[usize]> for Shape {
    fn eq(&self, other: &[usize]) -> bool {
        self.dims() == other
    }
}

impl<const N: usize> PartialEq<[usize; N]> for Shape {
    fn eq(&self, other: &[usize; N]) -> bool {
        self.dims() == other
    }
}

impl std::fmt::Debug for Shape {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}", self.dims())
    }
}

impl std::fmt::Display for Shape {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}", self.dims())
    }
}
