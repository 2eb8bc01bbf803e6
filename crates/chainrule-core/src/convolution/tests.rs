use super::*;
use crate::parallel;
use crate::simd::{Level, alone, set_level};

/// A small generator of pseudo-random numbers (splitmix64).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e3779b97f4a7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58476d1ce4e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d049bb133111eb);
        z ^ (z >> 31)
    }
    fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }
    fn numbers(&mut self, count: usize) -> Vec<f64> {
        // Few bits, so that f32 and f64 hold the same numbers.
        (0..count).map(|_| (self.next() % 4096) as f64 / 2048.0 - 1.0).collect()
    }
}

fn geometry(batch: usize, [in_channels, height, width]: [usize; 3], out_channels: usize, axes: [[usize; 4]; 2], groups: usize) -> Option<Geometry> {
    let [[kh, sh, ph, dh], [kw, sw, pw, dw]] = axes;
    let size = |size: usize, [k, s, p, d]: [usize; 4]| (size + 2 * p).checked_sub(d * (k - 1) + 1).map(|room| room / s + 1);
    let (out_height, out_width) = (size(height, axes[0])?, size(width, axes[1])?);
    let [kernel, stride, padding, dilation] = [[kh, kw], [sh, sw], [ph, pw], [dh, dw]];
    Some(Geometry { batch, in_channels, height, width, out_channels, kernel, stride, padding, dilation, groups, out_height, out_width })
}

/// Awkward geometries: everything rectangular and odd, padding beyond the kernel, kernels beyond the image.
fn awkward(random: &mut Random) -> Geometry {
    loop {
        let groups = [1, 1, 1, 2, 3, 5][random.below(6)];
        let batch = [1, 1, 2, 3, 5, 8, 16, 17, 19][random.below(9)];
        let channels = [1, 1, 2, 3, 4, 7, 9, 17][random.below(8)];
        let outputs = [1, 1, 2, 3, 5, 6, 8, 9, 13, 19][random.below(10)];
        let axis = |random: &mut Random| {
            let kernel = [1, 1, 2, 3, 3, 5, 7][random.below(7)];
            [kernel, 1 + [0, 0, 0, 1, 2, 4][random.below(6)], random.below(kernel + 3), 1 + [0, 0, 1, 2][random.below(4)]]
        };
        let image = [channels * groups, 1 + random.below(21), 1 + random.below(37)];
        let g = geometry(batch, image, outputs * groups, [axis(random), axis(random)], groups);
        let products = |g: &Geometry| g.batch * g.out_pixels() * g.weights();
        if let Some(g) = g.filter(|g| products(g) < 3_000_000) {
            return g;
        }
    }
}

/// Calls `term(y index, x index, w index)` for every product of the convolution.
fn products(g: &Geometry, mut term: impl FnMut(usize, usize, usize)) {
    let (channels, outputs) = (g.in_channels / g.groups, g.out_channels / g.groups);
    for n in 0..g.batch {
        for o in 0..g.out_channels {
            for (i, j) in (0..g.out_height).flat_map(|i| (0..g.out_width).map(move |j| (i, j))) {
                let y = ((n * g.out_channels + o) * g.out_height + i) * g.out_width + j;
                for c in 0..channels {
                    for (a, b) in (0..g.kernel[0]).flat_map(|a| (0..g.kernel[1]).map(move |b| (a, b))) {
                        let row = (i * g.stride[0] + a * g.dilation[0]).wrapping_sub(g.padding[0]);
                        let column = (j * g.stride[1] + b * g.dilation[1]).wrapping_sub(g.padding[1]);
                        if row < g.height && column < g.width {
                            let x = ((n * g.in_channels + o / outputs * channels + c) * g.height + row) * g.width + column;
                            term(y, x, ((o * channels + c) * g.kernel[0] + a) * g.kernel[1] + b);
                        }
                    }
                }
            }
        }
    }
}

struct Case {
    g: Geometry,
    x: Vec<f64>,
    w: Vec<f64>,
    bias: Vec<f64>,
    /// Of the input's channels.
    shift: Vec<f64>,
    dy: Vec<f64>,
}

/// The results of all entry points: y, y with bias and ReLU, the same with leaky ReLU, dx, dx with bias, dw.
type Results<T> = [Vec<T>; 6];

impl Case {
    fn new(g: Geometry, random: &mut Random) -> Case {
        let x = random.numbers(g.batch * g.in_channels * g.height * g.width);
        let (w, bias) = (random.numbers(g.weights()), random.numbers(g.out_channels));
        let shift = random.numbers(g.in_channels);
        let dy = random.numbers(g.batch * g.out_channels * g.out_pixels());
        Case { g, x, w, bias, shift, dy }
    }

    fn naive(&self) -> Results<f64> {
        let mut y = vec![0.0; self.dy.len()];
        let (mut dx, mut dw) = (vec![0.0; self.x.len()], vec![0.0; self.w.len()]);
        products(&self.g, |i, j, k| {
            y[i] += self.x[j] * self.w[k];
            dx[j] += self.dy[i] * self.w[k];
            dw[k] += self.dy[i] * self.x[j];
        });
        let channel = |i: usize| i / self.g.out_pixels() % self.g.out_channels;
        let biased = || y.iter().enumerate().map(|(i, y)| y + self.bias[channel(i)]);
        let active = biased().map(|y| y.max(0.0)).collect();
        let leaky = biased().map(|y| if y > 0.0 { y } else { 0.25 * y }).collect();
        let shifted = dx.iter().enumerate().map(|(i, dx)| dx + self.shift[i / (self.g.height * self.g.width) % self.g.in_channels]).collect();
        [y, active, leaky, dx, shifted, dw]
    }

    fn kernels<T: Number + num_traits::Float>(&self) -> Results<T> {
        let cast = |numbers: &[f64]| -> Vec<T> { numbers.iter().map(|&number| T::from(number).unwrap()).collect() };
        let (x, w, bias, shift, dy) = (cast(&self.x), cast(&self.w), cast(&self.bias), cast(&self.shift), cast(&self.dy));
        // Results must not depend on what stood there.
        let fresh = |count: usize| vec![T::nan(); count];
        let [mut y, mut active, mut leaky, mut dx, mut shifted, mut dw] = [dy.len(), dy.len(), dy.len(), x.len(), x.len(), w.len()].map(fresh);
        forward(&self.g, &x, &w, None, Activation::None, &mut y);
        forward(&self.g, &x, &w, Some(&bias), Activation::Relu, &mut active);
        forward(&self.g, &x, &w, Some(&bias), Activation::LeakyRelu(0.25), &mut leaky);
        input_gradient(&self.g, &dy, &w, None, &mut dx);
        input_gradient(&self.g, &dy, &w, Some(&shift), &mut shifted);
        weight_gradient(&self.g, &x, &dy, &mut dw);
        [y, active, leaky, dx, shifted, dw]
    }

    fn check<T: Number + num_traits::Float>(&self, expected: &Results<f64>, tolerance: f64) {
        for (name, (got, expected)) in ["y", "active", "leaky", "dx", "shifted", "dw"].iter().zip(self.kernels::<T>().iter().zip(expected)) {
            let scale = expected.iter().fold(1e-30, |most: f64, number| most.max(number.abs()));
            for (i, (got, expected)) in got.iter().zip(expected).enumerate() {
                let error = (got.to_f64().unwrap() - expected).abs();
                assert!(error <= tolerance * scale, "{name}[{i}]: got {}, expected {expected}: {:?}", got.to_f64().unwrap(), self.g);
            }
        }
    }
}

#[test]
fn equals_seven_loops_at_every_level() {
    let _alone = alone();
    let mut random = Random(1);
    for _ in 0..400 {
        let case = Case::new(awkward(&mut random), &mut random);
        let expected = case.naive();
        for level in Level::available() {
            set_level(level);
            case.check::<f32>(&expected, 2e-5);
            case.check::<f64>(&expected, 1e-12);
        }
    }
    set_level(Level::detect());
}

#[test]
fn equals_seven_loops_at_shapes_of_networks() {
    let _alone = alone();
    let mut random = Random(2);
    let square = |k, s, p| [[k, s, p, 1]; 2];
    let shapes = [
        geometry(3, [1, 28, 28], 6, square(5, 1, 2), 1),
        geometry(17, [6, 14, 14], 16, square(5, 1, 0), 1),
        geometry(2, [3, 56, 40], 64, square(7, 2, 3), 1),
        geometry(2, [96, 16, 16], 40, square(3, 2, 1), 1),
        geometry(16, [80, 4, 4], 72, square(3, 1, 1), 1),
        geometry(1, [80, 4, 4], 72, square(3, 1, 1), 1),
        geometry(3, [130, 14, 14], 70, square(1, 1, 0), 1),
        geometry(2, [64, 8, 8], 128, square(1, 2, 0), 1),
        geometry(4, [32, 28, 28], 32, square(3, 1, 1), 32),
        geometry(4, [24, 13, 13], 48, square(3, 2, 1), 24),
        geometry(1, [4, 300, 300], 3, square(3, 1, 1), 1),
        geometry(3, [17, 14, 15], 33, square(3, 1, 1), 1),
        geometry(2, [40, 9, 50], 70, square(3, 1, 0), 1),
        geometry(9, [65, 9, 7], 48, square(3, 1, 2), 1),
        geometry(2, [16, 6, 6], 16, square(3, 1, 4), 1),
        geometry(1, [24, 5, 90], 40, square(3, 1, 3), 1),
        geometry(30, [32, 14, 14], 48, square(4, 2, 1), 1),
        geometry(3, [48, 15, 37], 80, square(4, 2, 0), 1),
        geometry(2, [16, 11, 8], 32, square(4, 2, 3), 1),
        geometry(5, [32, 6, 70], 16, square(4, 2, 2), 1),
        geometry(3, [48, 15, 14], 32, square(3, 2, 1), 1),
        geometry(2, [16, 9, 40], 64, square(3, 2, 0), 1),
        geometry(5, [33, 14, 13], 50, square(1, 1, 0), 1),
        geometry(3, [40, 9, 15], 97, square(1, 2, 0), 1),
        geometry(2, [100, 20, 18], 130, square(1, 2, 0), 1),
        geometry(2, [18, 7, 9], 20, [[1, 1, 0, 1], [1, 3, 0, 1]], 1),
        geometry(2, [18, 7, 30], 20, [[1, 2, 0, 1], [1, 1, 0, 1]], 1),
        geometry(2, [40, 1, 700], 9, [[1, 1, 0, 1], [9, 3, 4, 2]], 1),
    ];
    for g in shapes.into_iter().flatten() {
        let case = Case::new(g, &mut random);
        let expected = case.naive();
        for level in Level::available() {
            set_level(level);
            case.check::<f32>(&expected, 2e-5);
        }
        set_level(Level::detect());
        case.check::<f64>(&expected, 1e-12);
    }
}

#[test]
fn the_same_bits_for_any_number_of_threads() {
    let _alone = alone();
    let mut random = Random(3);
    let mut geometries: Vec<Geometry> = (0..40).map(|_| awkward(&mut random)).collect();
    let square = |k, s, p| [[k, s, p, 1]; 2];
    geometries.extend(geometry(4, [64, 32, 32], 64, square(3, 1, 1), 1));
    geometries.extend(geometry(64, [1, 28, 28], 6, square(5, 1, 2), 1));
    geometries.extend(geometry(16, [64, 8, 8], 64, square(3, 2, 1), 1));
    geometries.extend(geometry(1, [64, 8, 8], 96, square(3, 1, 1), 1));
    geometries.extend(geometry(4, [128, 28, 28], 128, square(3, 1, 1), 128));
    geometries.extend(geometry(30, [32, 14, 14], 48, square(4, 2, 1), 1));
    geometries.extend(geometry(9, [65, 9, 7], 48, square(3, 1, 2), 1));
    geometries.extend(geometry(3, [130, 14, 14], 70, square(1, 1, 0), 1));
    geometries.extend(geometry(4, [64, 20, 18], 130, square(1, 2, 0), 1));
    for g in geometries {
        let case = Case::new(g, &mut random);
        let bits = [1, 2, 3, 4].map(|threads| {
            parallel::set_threads(threads);
            case.kernels::<f32>().map(|numbers| numbers.into_iter().map(f32::to_bits).collect::<Vec<_>>())
        });
        assert!(bits.iter().all(|other| *other == bits[0]), "{g:?}");
    }
}

#[test]
fn gradients_are_adjoints() {
    let _alone = alone();
    let mut random = Random(4);
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    for _ in 0..100 {
        let case = Case::new(awkward(&mut random), &mut random);
        let [y, _, _, dx, _, dw] = case.kernels::<f64>();
        let [forward, input, weight] = [dot(&y, &case.dy), dot(&case.x, &dx), dot(&case.w, &dw)];
        let scale = 1e-12 * (dot(&y, &y) * dot(&case.dy, &case.dy)).sqrt().max(1e-3);
        assert!((forward - input).abs() <= scale && (forward - weight).abs() <= scale, "{forward} {input} {weight}: {:?}", case.g);
    }
}

#[test]
fn nothing_in_nothing_out() {
    let _alone = alone();
    for g in [geometry(0, [3, 5, 5], 4, [[3, 1, 1, 1]; 2], 1), geometry(2, [3, 0, 4], 4, [[3, 1, 2, 1]; 2], 1)].into_iter().flatten() {
        let case = Case::new(g, &mut Random(5));
        case.check::<f32>(&case.naive(), 0.0);
    }
}
