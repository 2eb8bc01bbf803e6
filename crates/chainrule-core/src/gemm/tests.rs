//! Against the triple loop in f64, at every level, for awkward sizes and strides.

use super::*;
use crate::parallel;
use crate::simd::{Level, alone, level, set_level};

/// xorshift
struct Random(u64);
impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
    fn pick<X: Copy>(&mut self, choices: &[X]) -> X {
        choices[(self.next() % choices.len() as u64) as usize]
    }
    fn number<T: Number>(&mut self) -> T {
        T::from((self.next() >> 40) as f64 / (1u64 << 23) as f64 - 1.0).unwrap()
    }
}

/// Elements in memory of `rows` x `columns`, all of which a kernel may touch: the allocation ends where the matrix does.
struct Stored<T> {
    data: Vec<T>,
    first: usize,
    row: isize,
    column: isize,
}

#[derive(Clone, Copy, Debug)]
enum Layout {
    Rows,
    Columns,
    PaddedRows,
    PaddedColumns,
    Spread,
    Backward,
    Repeated,
}

const READ: [Layout; 7] = [Layout::Rows, Layout::Columns, Layout::PaddedRows, Layout::PaddedColumns, Layout::Spread, Layout::Backward, Layout::Repeated];
const WRITTEN: [Layout; 6] = [Layout::Rows, Layout::Columns, Layout::PaddedRows, Layout::PaddedColumns, Layout::Spread, Layout::Backward];

const ACTIVATIONS: [Activation; 4] = [Activation::None, Activation::Relu, Activation::LeakyRelu(0.2), Activation::LeakyRelu(-0.5)];

impl<T: Number> Stored<T> {
    fn new(rows: usize, columns: usize, layout: Layout, random: &mut Random) -> Self {
        let (r, c) = (rows as isize, columns as isize);
        let (row, column) = match layout {
            Layout::Rows => (c, 1),
            Layout::Columns => (1, r),
            Layout::PaddedRows => (c + 3, 1),
            Layout::PaddedColumns => (1, r + 5),
            Layout::Spread => (2 * c + 1, 2),
            Layout::Backward => (-c, -1),
            Layout::Repeated => (0, 1),
        };
        let reach = |size: usize, stride: isize| size.saturating_sub(1) * stride.unsigned_abs();
        let length = if rows * columns == 0 { 0 } else { reach(rows, row) + reach(columns, column) + 1 };
        let first = if row < 0 { length.saturating_sub(1) } else { 0 };
        Stored { data: (0..length).map(|_| random.number()).collect(), first, row, column }
    }
    fn index(&self, i: usize, j: usize) -> usize {
        (self.first as isize + i as isize * self.row + j as isize * self.column) as usize
    }
    fn get(&self, i: usize, j: usize) -> f64 {
        self.data[self.index(i, j)].to_f64()
    }
    fn read(&self) -> Matrix<T> {
        Matrix { start: self.data.as_ptr().wrapping_add(self.first), row: self.row, column: self.column }
    }
    fn write(&mut self) -> MatrixMut<T> {
        MatrixMut { start: self.data.as_mut_ptr().wrapping_add(self.first), row: self.row, column: self.column }
    }
}

/// One product against the triple loop. The error of a sum of k products in any order is at most about k · ε · Σ|a·b|; half the significant bits of that are expected.
fn check<T: Number>(sizes: [usize; 3], layouts: [Layout; 3], beta: f64, bias: usize, activation: Activation, random: &mut Random) {
    let [m, n, k] = sizes;
    let (a, b) = (Stored::<T>::new(m, k, layouts[0], random), Stored::<T>::new(k, n, layouts[1], random));
    let mut c = Stored::<T>::new(m, n, layouts[2], random);
    if beta == 0.0 {
        c.data.fill(T::nan());
    }
    let before = c.data.clone();
    let values: Vec<T> = (0..if bias == 1 { n } else { m }).map(|_| random.number()).collect();
    let bias = [Bias::None, Bias::PerColumn(&values[..]), Bias::PerRow(&values[..])][bias];
    let factor = T::from(beta).unwrap();
    // SAFETY: the three matrices are as large as the sizes say, and C is apart.
    unsafe { gemm(sizes, a.read(), b.read(), factor, c.write(), &Epilogue { bias, activation }) };

    let mut touched = vec![false; before.len()];
    for i in 0..m {
        for j in 0..n {
            let at = c.index(i, j);
            touched[at] = true;
            let (mut expected, mut size) = (0.0, 0.0f64);
            for p in 0..k {
                let term = a.get(i, p) * b.get(p, j);
                expected += term;
                size += term.abs();
            }
            if beta != 0.0 {
                let old = before[at].to_f64();
                expected += beta * old;
                size += old.abs();
            }
            let added = match bias {
                Bias::None => 0.0,
                Bias::PerColumn(values) => values[j].to_f64(),
                Bias::PerRow(values) => values[i].to_f64(),
            };
            expected += added;
            size += added.abs();
            expected = activation.of(expected);
            let bound = T::epsilon().to_f64() * size * (2.0 + (k as f64).sqrt());
            let got = c.data[at].to_f64();
            let context = format!("{:?} m, n, k = {sizes:?} {layouts:?} beta {beta} {activation:?} at {i}, {j}", level());
            assert!((got - expected).abs() <= bound, "got {got}, expected {expected} ± {bound}: {context}");
        }
    }
    // What lies between the elements stays.
    for (at, old) in before.iter().enumerate().filter(|&(at, _)| !touched[at]) {
        assert!(c.data[at] == *old || (c.data[at].is_nan() && old.is_nan()), "{sizes:?} {layouts:?}: written past C at {at}");
    }
}

fn random_products<T: Number>(rounds: usize) {
    let sides = [0, 1, 2, 3, 4, 5, 6, 7, 8, 10, 13, 14, 15, 16, 17, 19, 27, 29, 31, 32, 33, 43, 47, 48, 49, 64, 65, 97, 131];
    let depths = [0, 1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 33, 64, 84, 100, 131, 299, 383, 384, 385, 401, 800];
    let mut random = Random(0x9E37_79B9_7F4A_7C15);
    for _ in 0..rounds {
        let sizes = [random.pick(&sides), random.pick(&sides), random.pick(&depths)];
        let layouts = [random.pick(&READ), random.pick(&READ), random.pick(&WRITTEN)];
        let (beta, bias, activation) = (random.pick(&[0.0, 1.0, 0.5]), random.pick(&[0, 1, 2]), random.pick(&ACTIVATIONS));
        check::<T>(sizes, layouts, beta, bias, activation, &mut random);
    }
}

#[test]
fn equals_the_triple_loop_at_every_level() {
    let _alone = alone();
    let before = level();
    for level in Level::available() {
        set_level(level);
        random_products::<f32>(1500);
        random_products::<f64>(700);
    }
    set_level(before);
}

/// Every number of rows meets every kind of column edge, with both directions of A and B.
#[test]
fn every_edge() {
    let _alone = alone();
    let before = level();
    let mut random = Random(7);
    for level in Level::available() {
        set_level(level);
        for m in 1..=30 {
            for n in [1, 7, 16, 23, 32, 40, 64, 71, 130, 150] {
                for layouts in
                    [[Layout::Rows, Layout::Rows], [Layout::Rows, Layout::Columns], [Layout::Columns, Layout::Rows], [Layout::Columns, Layout::Columns]]
                {
                    let bias = random.pick(&[0, 1, 2]);
                    check::<f32>([m, n, 21], [layouts[0], layouts[1], Layout::PaddedRows], 0.0, bias, Activation::None, &mut random);
                }
            }
        }
    }
    set_level(before);
}

#[test]
fn large_products_and_blocks() {
    let _alone = alone();
    let mut random = Random(11);
    for sizes in [
        [600, 300, 70],
        [70, 600, 300],
        [40, 40, 5000],
        [5, 1000, 500],
        [1000, 5, 500],
        [1, 3000, 400],
        [3000, 1, 400],
        [8, 8, 60_000],
        [9, 40, 9000],
        [1, 1, 600_001],
    ] {
        for layouts in [[Layout::Rows; 3], [Layout::Columns, Layout::Rows, Layout::Rows], [Layout::Rows, Layout::Columns, Layout::Columns]] {
            check::<f32>(sizes, layouts, 1.0, 1, Activation::LeakyRelu(0.2), &mut random);
            check::<f64>(sizes, layouts, 0.0, 2, Activation::Relu, &mut random);
        }
    }
}

#[test]
fn same_bits_for_any_number_of_threads() {
    let _alone = alone();
    let before = parallel::threads();
    let mut random = Random(3);
    for [m, n, k] in [[128, 128, 128], [300, 500, 700], [64, 256, 784], [3, 2000, 500], [33, 31, 20000], [8, 8, 100_000], [1, 5, 300_000], [1, 900, 1000]] {
        for (left, right) in [(Layout::Rows, Layout::Rows), (Layout::Rows, Layout::Columns), (Layout::Columns, Layout::Rows)] {
            let (a, b) = (Stored::<f32>::new(m, k, left, &mut random), Stored::<f32>::new(k, n, right, &mut random));
            let mut results = Vec::new();
            for threads in [1, 2, 3, 4] {
                parallel::set_threads(threads);
                let mut c = vec![f32::NAN; m * n];
                let target = MatrixMut { start: c.as_mut_ptr(), row: n as isize, column: 1 };
                // SAFETY: the three matrices are as large as the sizes say, and C is apart.
                unsafe { gemm([m, n, k], a.read(), b.read(), 0.0, target, &Epilogue::NONE) };
                results.push(c.into_iter().map(f32::to_bits).collect::<Vec<_>>());
            }
            assert!(results.iter().all(|bits| *bits == results[0]), "{m} {n} {k} {left:?} {right:?}");
        }
    }
    parallel::set_threads(before);
}

#[test]
fn batches_equal_their_products_one_by_one() {
    let _alone = alone();
    let mut random = Random(5);
    for ([m, n, k], count) in [([5, 7, 9], 40), ([64, 64, 64], 7), ([200, 130, 90], 3), ([1, 50, 60], 9), ([50, 1, 60], 9), ([0, 3, 3], 2)] {
        for shared in [false, true] {
            let (a, b) = (Stored::<f32>::new(count * m, k, Layout::Rows, &mut random), Stored::<f32>::new(count * n, k, Layout::Rows, &mut random));
            let batch = Batch { count, a: (m * k) as isize, b: if shared { 0 } else { (n * k) as isize }, c: (m * n) as isize, pairs: false };
            let run = |batched: bool| {
                let mut c = vec![0.25f32; count * m * n];
                let (a, b) = (a.read(), b.read().transposed());
                let target = MatrixMut { start: c.as_mut_ptr(), row: n as isize, column: 1 };
                let epilogue = Epilogue { activation: Activation::Relu, ..Epilogue::NONE };
                if batched {
                    // SAFETY: A, B and C hold `count` matrices one after the other.
                    unsafe { gemm_batched(batch, [m, n, k], a, b, 1.0, target, &epilogue) };
                    return c;
                }
                for i in 0..count as isize {
                    let a = Matrix { start: a.start.wrapping_offset(i * batch.a), ..a };
                    let b = Matrix { start: b.start.wrapping_offset(i * batch.b), ..b };
                    let target = MatrixMut { start: target.start.wrapping_offset(i * batch.c), ..target };
                    // SAFETY: the matrices lie in A, B and C.
                    unsafe { gemm([m, n, k], a, b, 1.0, target, &epilogue) };
                }
                c
            };
            assert_eq!(run(true), run(false), "{m} {n} {k}");
        }
    }
}

/// NaN stays, infinities keep their sides, and zeros their signs, as in the formula for one number.
#[test]
fn activations_of_special_numbers() {
    let _alone = alone();
    let a = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 0.0, -0.0, -1e-40, 3.0, -3.0];
    for level in Level::available() {
        set_level(level);
        for activation in ACTIVATIONS {
            let (b, mut c) = ([1.0f32; 17], [7.0f32; 8 * 17]);
            let (x, y) = (Matrix { start: a.as_ptr(), row: 1, column: 1 }, Matrix { start: b.as_ptr(), row: 17, column: 1 });
            // SAFETY: A is 8 x 1, B 1 x 17 and C 8 x 17.
            unsafe { gemm([8, 17, 1], x, y, 0.0, MatrixMut { start: c.as_mut_ptr(), row: 17, column: 1 }, &Epilogue { activation, ..Epilogue::NONE }) };
            for (i, &x) in a.iter().enumerate() {
                let expected = activation.of(x);
                let same = |got: f32| got == expected || (got.is_nan() && expected.is_nan());
                assert!(c[i * 17..][..17].iter().all(|&got| same(got)), "{level:?} {activation:?} of {x}: {:?}", &c[i * 17..][..17]);
            }
        }
    }
}
