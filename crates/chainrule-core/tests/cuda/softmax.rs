//! Softmax and its logarithm, forward and backward.

use crate::support::*;
use chainrule_core::ops::softmax::{log_softmax, log_softmax_backward, softmax, softmax_backward};
use chainrule_core::{Array, DType, Result};

fn all(x: &Array, dy: &Array, axis: isize) -> Result<Vec<Array>> {
    let (y, log_y) = (softmax(x, axis)?, log_softmax(x, axis)?);
    let (dx, log_dx) = (softmax_backward(dy, &y, axis)?, log_softmax_backward(dy, &log_y, axis)?);
    Ok(vec![y, log_y, dx, log_dx])
}

#[test]
fn along_any_axis() {
    for (dims, axis) in [
        (&[5, 1][..], -1),
        (&[7, 10], 1),
        (&[3, 32], 1),
        (&[2, 33], -1),
        (&[9, 77], -1),
        (&[3, 128], 1),
        (&[2, 1203], 1),
        (&[2, 4, 1100], -1),
        (&[7, 3], 0),
        (&[2, 9, 5], 1),
        (&[3, 11, 70], 1),
        (&[40, 16], 0),
        (&[2, 3, 4, 17], -3),
        (&[0, 4], 1),
        (&[4, 0], 1),
        (&[4, 0], 0),
        (&[9], 0),
    ] {
        let (x, dy) = (between(-12.0, 12.0, dims, 1), noise(dims, 2));
        agree(&format!("{dims:?} {axis}"), 2e-6, [&x, &dy], |[x, dy]| all(x, dy, axis));
    }
}

#[test]
fn of_views() {
    let (x, dy) = (between(-5.0, 5.0, &[6, 7, 40], 3), noise(&[6, 7, 40], 4));
    agree("views", 2e-6, [&x, &dy], |[x, dy]| {
        let mut out = all(&x.transpose(0, 2)?, &dy.transpose(0, 2)?, 1)?;
        out.extend(all(&x.narrow(2, 1, 36)?, &dy.narrow(2, 4, 36)?, -1)?);
        out.extend(all(&x.select(0, 1)?, &dy.select(0, 1)?.flip(&[1])?, -1)?);
        Ok(out)
    });
    // Rows that do not begin on 16 bytes.
    let x = between(-5.0, 5.0, &[41], 5);
    agree("one number on", 2e-6, [&x], |[x]| Ok(vec![softmax(&x.narrow(0, 1, 40)?, 0)?, log_softmax(&x.narrow(0, 1, 40)?, 0)?]));
}

#[test]
fn infinities_are_the_cpus() {
    let (low, nan) = (f32::NEG_INFINITY, f32::NAN);
    let rows = [[low, low, low], [low, 0.0, low], [1.0, nan, 2.0], [f32::INFINITY, 0.0, 0.0], [1e30, 1e30, -1e30], [low, low, 3.0]];
    let x = Array::from_slice(rows.as_flattened(), &[6, 3]).unwrap();
    agree("rows", 1e-6, [&x], |[x]| Ok(vec![softmax(x, 1)?, log_softmax(x, 1)?]));
    agree("columns", 1e-6, [&x], |[x]| Ok(vec![softmax(&x.transpose(0, 1)?, 0)?, log_softmax(&x.transpose(0, 1)?, 0)?]));
    let wide = |x: &Array, extent| x.unsqueeze(2)?.broadcast_to(&[6, 3, extent])?.reshape(&[6, 3 * extent]);
    for extent in [20, 400] {
        agree("long", 1e-6, [&x], |[x]| Ok(vec![softmax(&wide(x, extent)?, 1)?, log_softmax(&wide(x, extent)?, 1)?]));
    }
}

#[test]
fn other_element_types_are_refused() {
    let Some(gpu) = gpu() else { return };
    let x = Array::zeros(&[3], DType::F64).unwrap().to(&gpu).unwrap();
    assert!(softmax(&x, 0).unwrap_err().to_string().contains("f64"));
}
