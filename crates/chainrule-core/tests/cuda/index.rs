//! Rows and elements picked, put, added, joined and counted by index.

use crate::support::*;
use chainrule_core::ops::gather::{Join, gather, scatter, scatter_add};
use chainrule_core::ops::{index, join};
use chainrule_core::{Array, DType, Device};

fn counted(dims: &[usize], dtype: DType) -> Array {
    Array::from_index(dims, dtype, |i| (i * 7 % 251) as f64).unwrap()
}

const TYPES: [DType; 5] = [DType::F32, DType::F64, DType::I64, DType::U8, DType::BF16];

#[test]
fn rows_are_picked() {
    for dtype in TYPES {
        for (dims, axis, picks) in
            [(&[7usize, 4][..], 0isize, &[5usize][..]), (&[3, 5, 3], 1, &[2, 33]), (&[2, 9], -1, &[31]), (&[40, 16], 0, &[2, 20]), (&[1], 0, &[0])]
        {
            let extent = dims[axis.rem_euclid(dims.len() as isize) as usize];
            let i = indices(extent, picks, 3);
            agree("index_select", 0.0, [&counted(dims, dtype), &i], |[x, i]| Ok(vec![index::index_select(x, axis, i)?]));
        }
        let x = counted(&[9, 10], dtype);
        agree("of views", 0.0, [&x, &indices(4, &[6, 2], 1)], |[x, i]| {
            Ok(vec![index::index_select(&x.narrow(0, 3, 5)?, 0, &i.transpose(0, 1)?)?, index::index_select(&x.narrow(1, 1, 9)?, 1, &i.select(1, 0)?)?])
        });
    }
}

#[test]
fn rows_are_added_in_order() {
    // 1024 indices are one segment; more are merged. Many meet in few rows, and the sums have the CPU's bits.
    for (rows, width, count) in [(5usize, 3usize, 7usize), (4, 33, 100), (1000, 2, 1024), (3, 1, 1025), (700, 1, 3000), (6, 5, 0), (2, 0, 4)] {
        let (base, source, i) = (noise(&[rows, width], 1), noise(&[count, width], 2), indices(rows, &[count], 3));
        agree(&format!("index_add of {count} to {rows}"), 0.0, [&base, &i, &source], |[base, i, source]| {
            Ok(vec![index::index_add(base.clone(), 0, i, source)?, index::index_copy(base.clone(), 0, i, source)?])
        });
    }
    let (base, source, i) = (noise(&[3, 4, 5], 4), noise(&[3, 2, 3, 5], 5), indices(4, &[2, 3], 6));
    agree("in the middle", 0.0, [&base, &i, &source], |[base, i, source]| Ok(vec![index::index_add(base.clone(), 1, i, source)?]));
    let whole = |x: &Array| x.cast(DType::I64).unwrap();
    agree("of integers", 0.0, [&whole(&base), &i, &whole(&source)], |[base, i, source]| Ok(vec![index::index_add(base.clone(), 1, i, source)?]));
    agree("of a view", 0.0, [&base, &i, &source], |[base, i, source]| {
        Ok(vec![
            index::index_add(base.transpose(0, 2)?, 1, i, &source.transpose(0, 3)?)?,
            index::index_copy(base.narrow(0, 1, 1)?, 1, i, &source.narrow(0, 0, 1)?)?,
        ])
    });
    for dtype in TYPES {
        let (base, source) = (counted(&[4, 6], dtype), counted(&[9, 6], dtype));
        agree("index_copy", 0.0, [&base, &indices(4, &[9], 7), &source], |[base, i, source]| Ok(vec![index::index_copy(base.clone(), 0, i, source)?]));
    }
}

#[test]
fn an_embedding_and_its_gradient_share_no_bits_with_chance() {
    let Some(gpu) = gpu() else { return };
    let (dy, tokens) = (noise(&[2100, 9], 1).to(&gpu).unwrap(), indices(13, &[2100], 2).to(&gpu).unwrap());
    let gradient = || {
        let zeros = Array::full_on(&[13, 9], 0.0, DType::F32, &gpu).unwrap();
        index::index_add(zeros, 0, &tokens, &dy).unwrap().to(&Device::Cpu).unwrap().to_vec::<f32>().unwrap()
    };
    assert_eq!(gradient(), gradient());
}

#[test]
fn elements_are_picked_and_put() {
    let joins = [Join::Write, Join::Sum, Join::Product, Join::Max, Join::Min];
    for (dims, axis, picks) in [
        (&[4usize, 5][..], 1isize, &[4usize, 3][..]),
        (&[4, 5], 0, &[33, 2]),
        (&[2, 3, 4], 1, &[2, 5, 3]),
        (&[7], 0, &[1500]),
        (&[2, 9], 1, &[2, 100]),
        (&[100, 3], 0, &[2, 3]),
        (&[3, 1], 0, &[0, 1]),
    ] {
        let i = indices(dims[axis as usize], picks, 5);
        for dtype in TYPES {
            let (x, source) = (counted(dims, dtype), counted(picks, dtype));
            agree("gather", 0.0, [&x, &i], |[x, i]| Ok(vec![gather(x, axis, i)?]));
            agree("put", 0.0, [&x, &i, &source], |[x, i, source]| Ok(vec![scatter(x.clone(), axis, i, source, Join::Write)?]));
        }
        let (x, source) = (noise(dims, 1), noise(picks, 2));
        for join in joins {
            agree(&format!("scatter {dims:?} {join:?}"), 0.0, [&x, &i, &source], |[x, i, source]| Ok(vec![scatter(x.clone(), axis, i, source, join)?]));
            let whole = |x: &Array| x.affine_integer();
            agree("of integers", 0.0, [&whole(&x), &i, &whole(&source)], |[x, i, source]| Ok(vec![scatter(x.clone(), axis, i, source, join)?]));
        }
    }
}

/// More lines, rows and numbers than one block takes at once, or twice.
#[test]
fn many_lines_are_walked() {
    let (x, i, source) = (noise(&[3, 700], 1), indices(3, &[4, 700], 2), noise(&[4, 700], 3));
    agree("lines", 0.0, [&x, &i, &source], |[x, i, source]| Ok(vec![gather(x, 0, i)?, scatter_add(x.clone(), 0, i, source)?]));
    let (rows, picks) = (noise(&[50, 16], 4), indices(50, &[90], 5));
    agree("rows", 0.0, [&rows, &picks], |[x, i]| {
        let picked = index::index_select(x, 0, i)?;
        Ok(vec![index::index_add(x.clone(), 0, i, &picked)?, index::one_hot(i, 50, DType::F32)?, picked])
    });
}

/// Whole numbers from normal ones.
trait Whole {
    fn affine_integer(&self) -> Array;
}
impl Whole for Array {
    fn affine_integer(&self) -> Array {
        let numbers: Vec<i64> = self.to_vec::<f32>().unwrap().iter().map(|x| (x * 5.0) as i64).collect();
        Array::from_slice(&numbers, self.dims()).unwrap()
    }
}

#[test]
fn views_and_nan_are_put_as_on_the_cpu() {
    let (x, i, source) = (noise(&[6, 8], 1), indices(8, &[6, 5], 2), noise(&[6, 9], 3));
    agree("views", 0.0, [&x, &i, &source], |[x, i, source]| {
        let (across, down) = (x.transpose(0, 1)?, i.transpose(0, 1)?);
        Ok(vec![
            gather(&across, 0, &down)?,
            scatter_add(across.clone(), 0, &down, &source.transpose(0, 1)?)?,
            scatter_add(x.narrow(0, 1, 4)?, 1, &i.narrow(0, 2, 3)?, source)?,
        ])
    });
    let nan = Array::from_slice(&[f32::NAN, 1.0, -f32::INFINITY, 3.0], &[4]).unwrap();
    let put = Array::from_slice(&[1.0, f32::NAN, 2.0, f32::NAN, 5.0], &[5]).unwrap();
    let at = Array::from_slice(&[0i64, 1, 2, 2, 3], &[5]).unwrap();
    for join in [Join::Max, Join::Min, Join::Sum] {
        agree("NaN", 0.0, [&nan, &at, &put], |[x, i, source]| Ok(vec![scatter(x.clone(), 0, i, source, join)?]));
    }
}

#[test]
fn indices_outside_show_and_spoil_nothing() {
    let Some(gpu) = gpu() else { return };
    let there = |x: &Array| x.to(&gpu).unwrap();
    let back = |x: Array| x.to(&Device::Cpu).unwrap().to_vec::<f32>().unwrap();
    let (x, bad) = (there(&Array::ones(&[3, 2], DType::F32).unwrap()), there(&Array::from_slice(&[1i64, -1, 3], &[3]).unwrap()));
    let picked = back(index::index_select(&x, 0, &bad).unwrap());
    assert!(picked[..2] == [1.0, 1.0] && picked[2..].iter().all(|x| x.is_nan()), "{picked:?}");
    let added = back(index::index_add(x.clone(), 0, &bad, &x).unwrap());
    assert_eq!(added, [1.0, 1.0, 2.0, 2.0, 1.0, 1.0]);
    let column = bad.reshape(&[3, 1]).unwrap();
    let gathered = back(gather(&x, 0, &column).unwrap());
    assert!(gathered[0] == 1.0 && gathered[1].is_nan() && gathered[2].is_nan());
    assert_eq!(back(scatter_add(x.clone(), 0, &column, &x).unwrap()), [1.0, 1.0, 2.0, 1.0, 1.0, 1.0]);
    let hot = back(index::one_hot(&bad, 3, DType::F32).unwrap());
    assert!(hot[..3] == [0.0, 1.0, 0.0] && hot[3..].iter().all(|x| x.is_nan()));
    assert_eq!(index::flat_positions("index", &[3], &[&bad]).unwrap().to(&Device::Cpu).unwrap().to_vec::<i64>().unwrap(), [1, 2, -1]);
    let message = index::index_select(&x, 0, &bad.to(&Device::Cpu).unwrap()).unwrap_err().to_string();
    assert!(message.contains("indices [3] on cpu") && message.contains("x [3, 2] on cuda:0"), "{message}");
    let double = there(&Array::ones(&[3, 2], DType::F64).unwrap());
    assert!(index::index_add(double.clone(), 0, &bad, &double).unwrap_err().to_string().contains("f32"));
}

#[test]
fn positions_and_classes_are_numbered() {
    let i = indices(6, &[31, 3], 1);
    for dtype in TYPES {
        agree("one_hot", 0.0, [&i], |[i]| Ok(vec![index::one_hot(i, 6, dtype)?, index::one_hot(&i.transpose(0, 1)?, 7, dtype)?]));
    }
    let signed = |end: i64, dims: &[usize], seed| {
        let numbers: Vec<i64> = indices(2 * end as usize, dims, seed).to_vec::<i64>().unwrap().iter().map(|i| i - end).collect();
        Array::from_slice(&numbers, dims).unwrap()
    };
    let (a, b, c) = (signed(3, &[5, 1], 1), signed(4, &[7], 2), signed(5, &[1, 5, 1], 3));
    agree("flat_positions", 0.0, [&a, &b, &c], |[a, b, c]| {
        let all = [a, b, c];
        Ok(vec![
            index::flat_positions("index", &[3, 4, 5, 2], &all)?,
            index::flat_positions("index", &[3, 9], &all[..2])?,
            index::flat_positions("index", &[3], &all[..1])?,
        ])
    });
}

#[test]
fn parts_are_joined_and_placed() {
    for dtype in TYPES {
        let (a, b) = (counted(&[3, 4, 5], dtype), counted(&[3, 2, 5], dtype));
        agree("concatenate", 0.0, [&a, &b], |[a, b]| {
            let many: Vec<&Array> = [a, b].into_iter().cycle().take(35).collect();
            let empty = a.narrow(1, 0, 0)?;
            Ok(vec![
                join::concatenate(&[a, b], 1)?,
                join::concatenate(&[a, &empty, a], 0).or_else(|_| join::concatenate(&[a, a], 0))?,
                join::concatenate(&[&b.flip(&[2])?, a, &empty], 1)?,
                join::concatenate(&many, -2)?,
            ])
        });
        agree("place", 0.0, [&a, &b], |[a, b]| {
            let halves = [a.narrow(1, 0, 1)?, a.narrow(1, 1, 3)?];
            Ok(vec![
                join::place(a.clone(), b, &[0, 1, 0])?,
                join::place(a.clone(), &b.narrow(2, 1, 2)?, &[0, 0, 3])?,
                join::rejoin(&[&halves[0], &halves[1]], 1)?,
                join::rejoin(&[&halves[1], &halves[0]], 1)?,
                join::place_diagonal(&[3, 4, 5], &a.diagonal(1, 1, 2)?, 1, 1, 2)?,
            ])
        });
    }
}
