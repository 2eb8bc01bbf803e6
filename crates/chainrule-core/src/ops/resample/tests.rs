use super::*;
use crate::dtype::DType;
use crate::ops::testing::*;

/// The result by its definition: a sum over all neighbours of all axes at once.
fn naive(x: &[f64], outer: usize, input: [usize; 2], output: [usize; 2], how: &Interpolation<2>) -> Vec<f64> {
    let [rows, columns] = [0, 1].map(|at| how.taps(at, input[at], output[at]));
    let mut y = vec![];
    for (n, i, j) in (0..outer).flat_map(|n| (0..output[0]).flat_map(move |i| (0..output[1]).map(move |j| (n, i, j)))) {
        let mut sum = 0.0;
        let across = columns.starts[j]..columns.starts[j + 1];
        for (a, b) in (rows.starts[i]..rows.starts[i + 1]).flat_map(|a| across.clone().map(move |b| (a, b))) {
            sum += rows.weights[a] * columns.weights[b] * x[(n * input[0] + rows.sources[a]) * input[1] + columns.sources[b]];
        }
        y.push(sum);
    }
    y
}

fn all(input: [usize; 2]) -> Vec<Interpolation<2>> {
    let mut all = vec![];
    for scaling in [
        Scaling::Size([7, 6]),
        Scaling::Size([1, 13]),
        Scaling::Size(input),
        Scaling::Factor([2.0, 2.0]),
        Scaling::Factor([1.7, 0.6]),
        Scaling::Factor([3.0, 1.0]),
    ] {
        for filter in [Filter::Nearest, Filter::NearestExact, Filter::Linear, Filter::Cubic] {
            all.push(Interpolation { scaling, filter, align_corners: false, antialias: false });
        }
        for (align_corners, antialias) in [(true, false), (false, true), (true, true)] {
            all.extend([Filter::Linear, Filter::Cubic].map(|filter| Interpolation { scaling, filter, align_corners, antialias }));
        }
    }
    all
}

#[test]
fn axes_one_by_one_equal_all_at_once() {
    at_every_level(|dtype, tolerance| {
        for (outer, input) in [(&[2usize, 3][..], [4usize, 5]), (&[], [3, 20]), (&[5], [2, 2]), (&[0, 2], [3, 4])] {
            for how in all(input) {
                let Ok(output) = how.output_size("interpolate", input) else { continue };
                let dims = [outer, &input].concat();
                let (x, dy) = (noise(&dims, 1, dtype), noise(&[outer, &output].concat(), 2, dtype));
                let y = interpolate(&x, &how).unwrap();
                let what = format!("{dtype} {dims:?} {how:?}");
                assert_close(&what, &y, &naive(&doubles(&x), outer.iter().product(), input, output, &how), 8.0 * tolerance);
                let dx = interpolate_backward(&dy, &dims, &how).unwrap();
                let (forward, backward) = (weighted(&y, &dy), weighted(&x, &dx));
                assert!((forward - backward).abs() <= 100.0 * tolerance * (1.0 + forward.abs()), "{what}: {forward} {backward}");
            }
        }
    });
}

#[test]
fn volumes_and_sequences() {
    let x = Array::from_index(&[1, 3], DType::F64, |i| i as f64).unwrap();
    let linear = Interpolation { filter: Filter::Linear, ..Interpolation::size([6]) };
    assert_eq!(doubles(&interpolate(&x, &linear).unwrap()), [0.0, 0.25, 0.75, 1.25, 1.75, 2.0]);
    let ends = Interpolation { align_corners: true, ..linear };
    assert_close("ends", &interpolate(&x, &ends).unwrap(), &[0.0, 0.4, 0.8, 1.2, 1.6, 2.0], 1e-15);
    let cube = noise(&[2, 2, 2, 2], 1, DType::F64);
    let doubled = interpolate(&cube, &Interpolation::factor([2.0; 3])).unwrap();
    let expected: Vec<f64> = (0..128).map(|i| doubles(&cube)[i / 64 * 8 + i / 16 % 4 / 2 * 4 + i / 4 % 4 / 2 * 2 + i % 4 / 2]).collect();
    assert_eq!(doubles(&doubled), expected);
}

#[test]
fn the_same_bits_for_any_number_of_threads() {
    let x = noise(&[9, 5, 31, 27], 1, DType::F32);
    let how = Interpolation { filter: Filter::Cubic, ..Interpolation::factor([1.9, 2.1]) };
    assert_same_bits("interpolate", || {
        let y = interpolate(&x, &how).unwrap();
        vec![interpolate_backward(&y, x.dims(), &how).unwrap(), y]
    });
}

#[test]
fn misuse_is_an_error() {
    let x = noise(&[1, 2, 3], 1, DType::F32);
    let message = |how: Interpolation<2>| interpolate(&x, &how).unwrap_err().to_string();
    assert!(message(Interpolation::size([0, 3])).contains("at least 1"));
    assert!(message(Interpolation::factor([0.2, 1.0])).contains("[0, 3]"));
    assert!(message(Interpolation::factor([f64::NAN, 1.0])).contains("positive"));
    assert!(message(Interpolation { align_corners: true, ..Interpolation::size([2, 2]) }).contains("align_corners"));
    assert!(interpolate(&x, &Interpolation::size([2; 4])).unwrap_err().to_string().contains("4 extents"));
    assert!(interpolate(&x.cast(DType::I64).unwrap(), &Interpolation::size([4, 4])).is_err());
    assert!(interpolate_backward(&x, &[1, 5, 3], &Interpolation::size([2, 4])).is_err());
}
