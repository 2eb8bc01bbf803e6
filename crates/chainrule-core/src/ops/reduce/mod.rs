//! Sums and extremes along dimensions.

mod extreme;
mod sum;

pub use extreme::{max, min};
pub use sum::{sum, sum_to};
