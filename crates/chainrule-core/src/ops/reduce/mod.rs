//! Sums and extremes along dimensions.

#[cfg(feature = "cuda")]
mod cuda;
mod extreme;
mod sum;

pub use extreme::{max, min};
pub use sum::{sum, sum_to};
