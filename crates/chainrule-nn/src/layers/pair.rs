//! [`Pair`]: a setting for height and width.

/// A number for height and width: `3` for both, `[3, 5]` for each.
/// ```
/// use chainrule_nn::Pair;
/// assert_eq!(Pair::from(3), Pair::from([3, 3]));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pair(pub [usize; 2]);

impl From<usize> for Pair {
    fn from(both: usize) -> Pair {
        Pair([both, both])
    }
}
impl From<[usize; 2]> for Pair {
    fn from(each: [usize; 2]) -> Pair {
        Pair(each)
    }
}
impl From<(usize, usize)> for Pair {
    fn from((height, width): (usize, usize)) -> Pair {
        Pair([height, width])
    }
}
