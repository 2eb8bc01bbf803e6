//! [`Extents`]: a setting for each dimension of a window.

/// A number for each of N dimensions: `3` for all, `[3, 5]` for each.
/// ```
/// use chainrule_nn::{Extents, Pair};
/// assert_eq!(Pair::from(3), Pair::from([3, 3]));
/// assert_eq!(Extents::<3>::from((1, 2, 3)).0, [1, 2, 3]);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extents<const N: usize>(pub [usize; N]);

/// A number for height and width.
pub type Pair = Extents<2>;

impl<const N: usize> From<usize> for Extents<N> {
    fn from(all: usize) -> Extents<N> {
        Extents([all; N])
    }
}
impl<const N: usize> From<[usize; N]> for Extents<N> {
    fn from(each: [usize; N]) -> Extents<N> {
        Extents(each)
    }
}
impl From<(usize, usize)> for Extents<2> {
    fn from((height, width): (usize, usize)) -> Extents<2> {
        Extents([height, width])
    }
}
impl From<(usize, usize, usize)> for Extents<3> {
    fn from((depth, height, width): (usize, usize, usize)) -> Extents<3> {
        Extents([depth, height, width])
    }
}
