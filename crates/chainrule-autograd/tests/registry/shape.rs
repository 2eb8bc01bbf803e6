//! Shapes, parts and joins.

use crate::{Cases, integers, numbers, others};
use chainrule_autograd::{INFER, Tensor};

pub fn add(cases: &mut Cases) {
    cases.add("reshape", vec![numbers(&[2, 6, 4])], |x| x[0].reshape(&[3, INFER]));
    cases.add("reshape of nothing", vec![numbers(&[0, 4])], |x| x[0].reshape(&[2, 0, 7]));
    cases.add("flatten", vec![numbers(&[2, 3, 2, 2])], |x| x[0].flatten(1, -2));
    cases.add("flatten a scalar", vec![numbers(&[])], |x| x[0].flatten(0, -1));
    cases.add("permute", vec![numbers(&[2, 3, 4, 2])], |x| x[0].permute(&[2, 0, -1, 1]));
    cases.add("transpose", vec![numbers(&[2, 3, 4])], |x| x[0].transpose(0, -1));
    cases.add("unsqueeze", vec![numbers(&[2, 3])], |x| x[0].unsqueeze(-1)?.unsqueeze(1));
    cases.add("squeeze", vec![numbers(&[1, 2, 1])], |x| x[0].squeeze(-1)?.squeeze(0));
    cases.add("broadcast_to", vec![numbers(&[3, 1, 4])], |x| x[0].broadcast_to(&[2, 3, 5, 4]));
    cases.add("broadcast to nothing", vec![numbers(&[1, 4])], |x| x[0].broadcast_to(&[0, 4]));
    cases.add("repeat", vec![numbers(&[2, 3])], |x| x[0].repeat(&[2, 1, 3]));
    cases.add("pixel_shuffle", vec![numbers(&[1, 8, 3, 2])], |x| x[0].pixel_shuffle(2));
    cases.add("narrow", vec![numbers(&[5, 7])], |x| x[0].narrow(1, 2, 3));
    cases.add("narrow to nothing", vec![numbers(&[5, 2])], |x| x[0].narrow(0, 5, 0));
    for (start, end, step) in [(1, 10, 3), (0, 11, 4), (2, 3, 5), (10, 11, 1), (4, 4, 2), (0, 10, 10)] {
        cases.add(format!("slice {start}..{end} by {step}"), vec![numbers(&[3, 11])], move |x| x[0].slice(1, start, end, step));
        cases.add(format!("slice of rows {start}..{end} by {step}"), vec![numbers(&[11, 2])], move |x| x[0].slice(0, start, end, step));
    }
    cases.add("select", vec![numbers(&[3, 4])], |x| x[0].select(1, 2));
    cases.add("split", vec![numbers(&[3, 7])], |x| {
        let parts = x[0].split(&[2, 4, 1], 1)?;
        parts[0].sum()?.mul(&parts[1])?.sum_over(&[1], true)?.mul(&parts[2])
    });
    cases.add("chunk", vec![numbers(&[7, 3])], |x| {
        let parts = x[0].chunk(3, 0)?;
        parts[0].mul(&parts[1])?.mul(&parts[2])
    });
    cases.add("flip", vec![numbers(&[2, 3, 4])], |x| x[0].flip(&[0, 2]));
    for shift in [2, -1, 0, 7] {
        cases.add(format!("roll {shift}"), vec![numbers(&[3, 5])], move |x| x[0].roll(shift, 1));
    }
    cases.add("tril", vec![numbers(&[2, 4, 5])], |x| x[0].tril(1));
    cases.add("triu", vec![numbers(&[4, 5])], |x| x[0].triu(-1));
    cases.add("concatenate", vec![numbers(&[2, 3, 4]), others(&[2, 1, 4]), numbers(&[2, 0, 4])], |x| Tensor::concatenate(&[&x[0], &x[1], &x[2], &x[0]], 1));
    cases.add("stack", vec![numbers(&[3, 4]), others(&[3, 4])], |x| Tensor::stack(&[&x[0], &x[1], &x[0]], 1));
    cases.add("pad", vec![numbers(&[2, 3, 4])], |x| x[0].pad(&[(0, 3), (1, 2)], 0.5));
    cases.add("pad negative", vec![numbers(&[3, 4])], |x| x[0].pad(&[(-1, 2), (2, -3)], 0.5));
    cases.add("pad nothing", vec![numbers(&[0, 2])], |x| x[0].pad(&[(1, 1), (0, 1)], 0.5));
    cases.add("pad_reflect", vec![numbers(&[1, 2, 4, 5])], |x| x[0].pad_reflect(&[(1, 3), (2, 1)]));
    cases.add("movedim", vec![numbers(&[2, 3, 4, 2])], |x| x[0].movedim(&[0, -1], &[2, 0]));
    cases.add("squeeze_all", vec![numbers(&[1, 2, 1])], |x| x[0].squeeze_all());
    for times in [-1isize, 0, 1, 2] {
        cases.add(format!("rot90 {times}"), vec![numbers(&[2, 3, 4])], move |x| x[0].rot90(times, 2, 0));
    }
    cases.add("tile", vec![numbers(&[2, 1, 3])], |x| x[0].tile(&[2, 1]));
    cases.add("repeat_interleave", vec![numbers(&[2, 3, 2])], |x| x[0].repeat_interleave(3, 1));
    cases.add("repeat_interleave by counts", vec![numbers(&[2, 3]), integers(&[2, 0, 1], &[3])], |x| x[0].repeat_interleave_by(&x[1], -1));
    cases.add("split_every", vec![numbers(&[5, 2])], |x| {
        let parts = x[0].split_every(2, 0)?;
        parts[0].mul(&parts[1])?.mul(&parts[2])
    });
    cases.add("tensor_split", vec![numbers(&[3, 5])], |x| {
        let parts = x[0].tensor_split(3, 1)?;
        parts[0].mul(&parts[1])?.mul(&parts[2])
    });
    cases.add("unbind", vec![numbers(&[2, 3, 2])], |x| {
        let parts = x[0].unbind(1)?;
        parts[0].mul(&parts[2])
    });
    for offset in [-1isize, 0, 2, 9] {
        cases.add(format!("diagonal {offset}"), vec![numbers(&[3, 2, 4])], move |x| x[0].diagonal(offset, -1, 0));
        cases.add(format!("diag {offset}"), vec![numbers(&[3])], move |x| x[0].diag(offset));
    }
    cases.add("diag_embed", vec![numbers(&[2, 3])], |x| x[0].diag_embed(1, 0, -2));
    cases.add("diag_embed behind", vec![numbers(&[2, 3])], |x| x[0].diag_embed(-1, -1, 0));
    cases.add("trace", vec![numbers(&[3, 2])], |x| x[0].trace());
    cases.add("meshgrid", vec![numbers(&[2]), others(&[3])], |x| {
        let grid = Tensor::meshgrid(&[&x[0], &x[1]])?;
        grid[0].mul(&grid[1])
    });
    cases.add("meshgrid_xy", vec![numbers(&[2]), others(&[3])], |x| {
        let grid = Tensor::meshgrid_xy(&[&x[0], &x[1]])?;
        grid[0].mul(&grid[1])
    });
    cases.add("cartesian_product", vec![numbers(&[2]), others(&[3])], |x| Tensor::cartesian_product(&[&x[0], &x[1]]));
    cases.add("broadcast_tensors", vec![numbers(&[2, 1]), others(&[3])], |x| {
        let both = Tensor::broadcast_tensors(&[&x[0], &x[1]])?;
        both[0].mul(&both[1])
    });
}
