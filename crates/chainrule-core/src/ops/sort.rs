//! Numbers of a line in order: sorting, the k largest, the k-th smallest.
//!
//! An element and its place become one unsigned number, `key · 2^32 + place` (or twice as wide), whose order is that of the elements with ties in their first order.
//! So every sort is stable, and any range of ranks is found by selection before it is sorted. NaN counts as larger than every number, as in PyTorch; -0 equals 0.

use crate::array::Array;
use crate::dtype::{Element, with_element};
use crate::error::{Error, Result};
use crate::ops::lines;
use crate::ops::on_cpu;
use half::{bf16, f16};
use std::ops::Range;

/// An element as an unsigned number of the same order.
trait Ordered: Element {
    /// Bits of the key.
    const BITS: u32;
    fn key(self) -> u64;
}

impl Ordered for u8 {
    const BITS: u32 = 32;
    fn key(self) -> u64 {
        self as u64
    }
}
impl Ordered for i64 {
    const BITS: u32 = 64;
    fn key(self) -> u64 {
        self as u64 ^ 1 << 63
    }
}
impl Ordered for f32 {
    const BITS: u32 = 32;
    fn key(self) -> u64 {
        if self.is_nan() {
            return u32::MAX as u64;
        }
        // Adding 0 makes -0 a 0. Negative numbers grow as their bits shrink.
        let bits = (self + 0.0).to_bits();
        (if bits >> 31 == 1 { !bits } else { bits | 1 << 31 }) as u64
    }
}
impl Ordered for f64 {
    const BITS: u32 = 64;
    fn key(self) -> u64 {
        if self.is_nan() {
            return u64::MAX;
        }
        let bits = (self + 0.0).to_bits();
        if bits >> 63 == 1 { !bits } else { bits | 1 << 63 }
    }
}
impl Ordered for bf16 {
    const BITS: u32 = 32;
    fn key(self) -> u64 {
        self.to_f32().key()
    }
}
impl Ordered for f16 {
    const BITS: u32 = 32;
    fn key(self) -> u64 {
        self.to_f32().key()
    }
}

/// A key and a place in one number.
trait Packed: Ord + Copy {
    fn pack(key: u64, place: usize) -> Self;
    fn place(self) -> usize;
}
impl Packed for u64 {
    fn pack(key: u64, place: usize) -> u64 {
        key << 32 | place as u64
    }
    fn place(self) -> usize {
        self as u32 as usize
    }
}
impl Packed for u128 {
    fn pack(key: u64, place: usize) -> u128 {
        (key as u128) << 64 | place as u128
    }
    fn place(self) -> usize {
        self as u64 as usize
    }
}

/// The numbers of each line whose ranks lie in `ranks`, in order, and their places.
fn ranked<T: Ordered>(x: &Array, axis: usize, descending: bool, ranks: Range<usize>) -> Result<(Array, Array)> {
    if T::BITS == 32 && x.dims()[axis] <= u32::MAX as usize {
        ranked_as::<T, u64>(x, axis, descending, ranks)
    } else {
        ranked_as::<T, u128>(x, axis, descending, ranks)
    }
}

fn ranked_as<T: Ordered, P: Packed>(x: &Array, axis: usize, descending: bool, ranks: Range<usize>) -> Result<(Array, Array)> {
    let flip = if descending { u64::MAX >> (64 - T::BITS) } else { 0 };
    lines::map_with_places::<T>(x, axis, ranks.len(), ranks.len(), |line, values, places| {
        let mut packed: Vec<P> = line.iter().enumerate().map(|(place, x)| P::pack(x.key() ^ flip, place)).collect();
        if 0 < ranks.end && ranks.end < packed.len() {
            packed.select_nth_unstable(ranks.end - 1);
        }
        let packed = &mut packed[..ranks.end];
        if 0 < ranks.start && ranks.start < ranks.end {
            packed.select_nth_unstable(ranks.start);
        }
        let packed = &mut packed[ranks.clone()];
        packed.sort_unstable();
        for ((packed, value), place) in packed.iter().zip(values).zip(places) {
            (*value, *place) = (line[packed.place()], packed.place() as i64);
        }
    })
}

/// The numbers along `axis` in order, ties in their first order, and where they stood (i64) (PyTorch's `sort(stable=True)`).
///
/// # Errors
/// A dimension out of range.
pub fn sort(x: &Array, axis: isize, descending: bool) -> Result<(Array, Array)> {
    on_cpu!("sort", [x]);
    let at = x.shape().axis("sort", axis)?;
    with_element!(x.dtype(), T => ranked::<T>(x, at, descending, 0..x.dims()[at]))
}

/// The `k` largest (or smallest) numbers along `axis` in order, the first of equals, and where they stood (i64) (PyTorch's `topk`).
///
/// # Errors
/// A dimension out of range, or of less than `k` numbers.
pub fn topk(x: &Array, k: usize, axis: isize, largest: bool) -> Result<(Array, Array)> {
    const OP: &str = "topk";
    on_cpu!(OP, [x]);
    let at = x.shape().axis(OP, axis)?;
    if k > x.dims()[at] {
        return Err(Error::value(OP, format!("k is {k}, expected at most {}, the extent of dimension {axis} of {:?}", x.dims()[at], x.shape())));
    }
    with_element!(x.dtype(), T => ranked::<T>(x, at, largest, 0..k))
}

/// The number of rank `rank` (0: the smallest) along `axis`, the first of equals coming first, and where it stood (i64); the dimension stays, of extent 1.
///
/// # Errors
/// A dimension out of range, or without that rank.
pub fn kth_smallest(x: &Array, rank: usize, axis: isize) -> Result<(Array, Array)> {
    const OP: &str = "kth_smallest";
    on_cpu!(OP, [x]);
    let at = x.shape().axis(OP, axis)?;
    if rank >= x.dims()[at] {
        return Err(Error::value(OP, format!("rank {rank} is outside dimension {axis} of {:?}", x.shape())));
    }
    with_element!(x.dtype(), T => ranked::<T>(x, at, false, rank..rank + 1))
}

/// The median along `axis`, the lower one of two, and where it stood (i64); the first NaN where there is one (PyTorch's `median`). The dimension stays, of extent 1.
///
/// # Errors
/// A dimension out of range, or of extent 0.
pub fn median(x: &Array, axis: isize) -> Result<(Array, Array)> {
    const OP: &str = "median";
    on_cpu!(OP, [x]);
    let at = x.shape().axis(OP, axis)?;
    let Some(last) = x.dims()[at].checked_sub(1) else {
        return Err(Error::shape(OP, format!("dimension {axis} of {:?} is empty, expected at least one number", x.shape())));
    };
    let (mut values, mut places) = kth_smallest(x, last / 2, axis)?;
    // NaN counts as largest: a line has one if its maximum is one.
    let (largest, first) = crate::ops::reduce::max(x, axis, true)?;
    with_element!(x.dtype(), T => {
        let found = values.slice_mut::<T>().iter_mut().zip(places.slice_mut::<i64>());
        for ((value, place), (largest, first)) in found.zip(largest.slice::<T>().iter().zip(first.slice::<i64>())) {
            #[allow(clippy::eq_op)]
            if largest != largest {
                (*value, *place) = (*largest, *first);
            }
        }
    });
    Ok((values, places))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dtype::DType;
    use crate::ops::testing::{assert_same_bits, doubles, noise};

    /// A sort by comparison, of a few different numbers so that there are ties.
    fn expected(line: &[f64], descending: bool) -> Vec<i64> {
        let mut order: Vec<i64> = (0..line.len() as i64).collect();
        let number = |i: i64| line[i as usize];
        order.sort_by(|&a, &b| if descending { number(b).total_cmp(&number(a)) } else { number(a).total_cmp(&number(b)) });
        order
    }

    #[test]
    fn every_type_sorts_as_comparison_does() {
        for dtype in [DType::F32, DType::F64, DType::I64, DType::U8, DType::BF16, DType::F16] {
            for dims in [[0usize, 3], [1, 1], [7, 1], [1, 7], [33, 5], [5, 300]] {
                let shift = if dtype == DType::U8 { 4.0 } else { 0.0 };
                let x = noise(&dims, 3, DType::F64);
                let x = Array::from_index(&dims, dtype, |i| (x.slice::<f64>()[i] * 4.0 + shift).round()).unwrap();
                let numbers = doubles(&x).iter().map(|x| x + 0.0).collect::<Vec<_>>();
                for descending in [false, true] {
                    let (values, places) = sort(&x, 0, descending).unwrap();
                    let (values, places) = (doubles(&values), places.to_vec::<i64>().unwrap());
                    for column in 0..dims[1] {
                        let line: Vec<f64> = numbers.iter().skip(column).step_by(dims[1]).copied().collect();
                        let order = expected(&line, descending);
                        for (row, &from) in order.iter().enumerate() {
                            let at = row * dims[1] + column;
                            assert_eq!((values[at], places[at]), (line[from as usize], from), "{dtype} {dims:?} {descending}");
                        }
                    }
                    for k in [0, dims[0] / 2, dims[0]] {
                        let (top, at) = topk(&x, k, 0, descending).unwrap();
                        assert_eq!(doubles(&top), values[..k * dims[1]]);
                        assert_eq!(at.to_vec::<i64>().unwrap(), places[..k * dims[1]]);
                    }
                    for rank in (0..dims[0]).filter(|_| !descending) {
                        let (kth, at) = kth_smallest(&x, rank, 0).unwrap();
                        assert_eq!(doubles(&kth), values[rank * dims[1]..(rank + 1) * dims[1]]);
                        assert_eq!(at.to_vec::<i64>().unwrap(), places[rank * dims[1]..(rank + 1) * dims[1]]);
                    }
                }
            }
        }
    }

    #[test]
    fn nan_is_largest_and_zeros_are_equal() {
        let x = Array::from_slice(&[f32::NAN, -0.0, f32::INFINITY, 0.0, -1.0, f32::NEG_INFINITY], &[6]).unwrap();
        assert_eq!(sort(&x, 0, false).unwrap().1.to_vec::<i64>().unwrap(), [5, 4, 1, 3, 2, 0]);
        assert_eq!(sort(&x.cast(DType::F64).unwrap(), 0, true).unwrap().1.to_vec::<i64>().unwrap(), [0, 2, 1, 3, 4, 5]);
        assert!(median(&x, 0).unwrap().0.item().unwrap().is_nan());
        assert_eq!(median(&x.narrow(0, 1, 4).unwrap(), 0).unwrap().0.item().unwrap(), 0.0);
        let big = Array::from_slice(&[i64::MIN, i64::MAX, -1, 0], &[4]).unwrap();
        assert_eq!(sort(&big, 0, false).unwrap().1.to_vec::<i64>().unwrap(), [0, 2, 3, 1]);
        assert!(topk(&x, 7, 0, true).is_err() && kth_smallest(&x, 6, 0).is_err() && sort(&x, 1, false).is_err());
        assert!(median(&Array::zeros(&[2, 0], DType::F32).unwrap(), 1).is_err());
    }

    #[test]
    fn threads_change_nothing() {
        let x = noise(&[300, 257], 5, DType::F32);
        assert_same_bits("sort", || sort(&x, 1, true).map(|(v, p)| vec![v, p]).unwrap());
    }
}
