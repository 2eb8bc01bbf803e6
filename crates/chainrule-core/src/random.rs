//! Random numbers from a counter: Philox4x32-10 (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3").
//!
//! The i-th number of a stream is a function of the stream's key and i alone. So numbers can be made in any order, by any number of threads, on any device, and a dropout mask need not be stored.

#[cfg(feature = "cuda")]
pub(crate) mod cuda;

use crate::array::Array;
use crate::device::Device;
use crate::dtype::{DType, Element};
use crate::error::{Error, Result};
use crate::float::Float;
use crate::parallel::{self, Target};
use crate::shape::Shape;
use crate::simd::{Kernel, Real, Simd};

const MULTIPLIERS: [u32; 2] = [0xD251_1F53, 0xCD9E_8D57];
const WEYL: [u32; 2] = [0x9E37_79B9, 0xBB67_AE85];

/// Ten rounds of Philox: 128 random bits for (key, counter).
#[inline(always)]
fn philox(key: u64, counter: [u32; 4]) -> [u32; 4] {
    let (mut x, mut k) = (counter, [key as u32, (key >> 32) as u32]);
    for _ in 0..10 {
        let (a, b) = (MULTIPLIERS[0] as u64 * x[0] as u64, MULTIPLIERS[1] as u64 * x[2] as u64);
        x = [(b >> 32) as u32 ^ x[1] ^ k[0], b as u32, (a >> 32) as u32 ^ x[3] ^ k[1], a as u32];
        k = [k[0].wrapping_add(WEYL[0]), k[1].wrapping_add(WEYL[1])];
    }
    x
}

/// Numbers are made in groups of 64: word w of 16 successive counters makes 16 successive numbers, which is how vector registers like it.
pub(crate) const GROUP: usize = 64;

/// The 64 random words from number `64 · group` on; `lane` tells apart the words of one number that needs several.
#[inline(always)]
pub(crate) fn words(key: u64, lane: u32, group: usize) -> [u32; GROUP] {
    let mut out = [0u32; GROUP];
    for i in 0..16 {
        let counter = (group as u64) * 16 + i as u64;
        let block = philox(key, [counter as u32, (counter >> 32) as u32, lane, 0]);
        for w in 0..4 {
            out[w * 16 + i] = block[w];
        }
    }
    out
}

/// A stream of random words, named by a key and a number: what a step draws for its n-th use of chance.
///
/// A captured step of a GPU draws new numbers at each replay: its key then stands in the GPU's memory and takes the place of this one, while numbers stay. A stream made of a word, with [`From`], has number 0 and is that word everywhere.
///
/// ```
/// use chainrule_core::random::Stream;
/// assert_ne!(Stream { key: 7, number: 1 }.word(), Stream { key: 7, number: 2 }.word());
/// assert_eq!(Stream::from(7).word(), 7);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Stream {
    /// The key that all streams of a step share.
    pub key: u64,
    /// Which of them, counted from 1.
    pub number: u64,
}

impl Stream {
    /// The word that all others of the stream follow from: two rounds of SplitMix64's finaliser (Steele, Lea and Flood 2014) on key and number.
    pub fn word(self) -> u64 {
        let round = |mut z: u64| {
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            z ^ (z >> 31)
        };
        if self.number == 0 { self.key } else { round(self.key ^ round(self.number.wrapping_mul(0x9e37_79b9_7f4a_7c15))) }
    }
}

impl From<u64> for Stream {
    fn from(word: u64) -> Stream {
        Stream { key: word, number: 0 }
    }
}

/// A source of random numbers for a program: a key and how many numbers were drawn.
///
/// ```
/// use chainrule_core::Rng;
/// let (mut a, mut b) = (Rng::seeded(7), Rng::seeded(7));
/// assert_eq!(a.next_u64(), b.next_u64());
/// assert_ne!(a.split().next_u64(), a.split().next_u64());
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rng {
    key: u64,
    drawn: u64,
}

impl Rng {
    /// The source that this seed names.
    pub fn seeded(seed: u64) -> Rng {
        Rng { key: seed, drawn: 0 }
    }
    /// What to save so that [`Rng::from_state`] goes on where this one stands.
    pub fn state(&self) -> [u64; 2] {
        [self.key, self.drawn]
    }
    /// Goes on from a saved state.
    pub fn from_state(state: [u64; 2]) -> Rng {
        Rng { key: state[0], drawn: state[1] }
    }
    /// 64 random bits.
    pub fn next_u64(&mut self) -> u64 {
        let block = philox(self.key, [self.drawn as u32, (self.drawn >> 32) as u32, 0, 1]);
        self.drawn += 1;
        block[0] as u64 | (block[1] as u64) << 32
    }
    /// An independent source; two splits differ from each other.
    pub fn split(&mut self) -> Rng {
        Rng::seeded(self.next_u64())
    }
    /// Uniform in [0, 1).
    pub fn uniform(&mut self) -> f64 {
        (self.next_u64() >> 11) as f64 * (1.0 / (1u64 << 53) as f64)
    }
    /// Normal with mean 0 and standard deviation 1.
    pub fn normal(&mut self) -> f64 {
        let radius = (-2.0 * (1.0 - self.uniform()).ln()).sqrt();
        radius * (std::f64::consts::TAU * self.uniform()).cos()
    }
    /// Uniform in `0..n`; 0 when n is 0.
    pub fn below(&mut self, n: usize) -> usize {
        // The product's high half; its bias is below n / 2^64.
        ((self.next_u64() as u128 * n as u128) >> 64) as usize
    }
    /// `0..n` in random order (Fisher and Yates).
    pub fn permutation(&mut self, n: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..n).collect();
        for i in (1..n).rev() {
            order.swap(i, self.below(i + 1));
        }
        order
    }
}

/// An array of numbers uniform in [low, high), f32 or f64.
///
/// # Errors
/// Another element type; bounds that are not finite; no memory.
pub fn uniform(dims: &[usize], low: f64, high: f64, dtype: DType, rng: &mut Rng) -> Result<Array> {
    uniform_on(dims, low, high, dtype, rng, &Device::Cpu)
}

/// The same numbers made on a device; on a GPU f32 alone.
///
/// # Errors
/// As for [`uniform`]; a device that is missing or failed.
pub fn uniform_on(dims: &[usize], low: f64, high: f64, dtype: DType, rng: &mut Rng, device: &Device) -> Result<Array> {
    if !(low.is_finite() && high.is_finite()) {
        return Err(Error::value("uniform", format!("bounds are {low} and {high}, expected finite numbers")));
    }
    let width = high - low;
    fill("uniform", dims, dtype, rng, device, [low, width], |[low, width], u, _| low + width * u)
}

/// An array of normal numbers (Box and Muller), f32 or f64.
///
/// # Errors
/// Another element type; no memory.
pub fn normal(dims: &[usize], mean: f64, deviation: f64, dtype: DType, rng: &mut Rng) -> Result<Array> {
    normal_on(dims, mean, deviation, dtype, rng, &Device::Cpu)
}

/// The same numbers made on a device, but for the last bit of few; on a GPU f32 alone.
///
/// # Errors
/// As for [`normal`]; a device that is missing or failed.
pub fn normal_on(dims: &[usize], mean: f64, deviation: f64, dtype: DType, rng: &mut Rng, device: &Device) -> Result<Array> {
    fill("normal", dims, dtype, rng, device, [mean, deviation], |[mean, deviation], u, v| {
        mean + deviation * (-2.0 * (1.0 - u).ln()).sqrt() * (std::f64::consts::TAU * v).cos()
    })
}

/// An array whose i-th element is made of two uniform numbers, functions of the stream and i. On a GPU the operation's kernel is `f` with these parameters.
fn fill(
    op: &'static str,
    dims: &[usize],
    dtype: DType,
    rng: &mut Rng,
    device: &Device,
    parameters: [f64; 2],
    f: impl Fn([f64; 2], f64, f64) -> f64 + Sync,
) -> Result<Array> {
    let (key, shape) = (rng.next_u64(), Shape::new(dims)?);
    match (*device, dtype) {
        (Device::Cpu, _) => {}
        #[cfg(feature = "cuda")]
        (Device::Cuda(ordinal), DType::F32) => return cuda::fill(crate::cuda::Gpu::get(ordinal)?, op, shape, key, parameters),
        (Device::Cuda(_), got) => return Err(Error::DType { op, got, expected: "f32 on a GPU" }),
    }
    let (mut out, f) = (Array::stale(shape, dtype)?, |u, v| f(parameters, u, v));
    match dtype {
        DType::F32 => fill_slice::<f32>(key, out.slice_mut(), f),
        DType::F64 => fill_slice::<f64>(key, out.slice_mut(), f),
        got => return Err(Error::DType { op, got, expected: "f32 or f64" }),
    }
    Ok(out)
}

fn fill_slice<T: Element>(key: u64, out: &mut [T], f: impl Fn(f64, f64) -> f64 + Sync) {
    let count = out.len();
    let target = Target::new(out);
    parallel::ranges(count.div_ceil(GROUP), parallel::GRAIN / GROUP / 4, |start, end| {
        for group in start..end {
            // SAFETY: groups do not overlap.
            let part = unsafe { target.slice(group * GROUP, ((group + 1) * GROUP).min(count)) };
            let (u, v) = (words(key, 0, group), words(key, 1, group));
            for ((x, u), v) in part.iter_mut().zip(u).zip(v) {
                const UNIT: f64 = 1.0 / (1u64 << 32) as f64;
                // Bits of v below the resolution of u fill a double.
                *x = T::from_f64(f((u as f64 + v as f64 * UNIT) * UNIT, v as f64 * UNIT));
            }
        }
    });
    // Rounding to f32 may reach the open end of a range, which is of no consequence to any use here.
}

/// `x` with every element dropped (set to 0) at probability `rate`, the others divided by 1 - rate (PyTorch's `dropout`).
/// Which are dropped follows from `stream`, a [`Stream`] or its word, alone; so the same call on a gradient is the backward pass.
///
/// # Errors
/// A rate outside [0, 1]; an element type other than f32 and f64.
pub fn dropout(x: &Array, rate: f64, stream: impl Into<Stream>) -> Result<Array> {
    const OP: &str = "dropout";
    if !(0.0..=1.0).contains(&rate) {
        return Err(Error::value(OP, format!("rate is {rate}, expected 0 to 1")));
    }
    let stream = stream.into();
    #[cfg(feature = "cuda")]
    if let Device::Cuda(ordinal) = x.device() {
        return cuda::dropout(crate::cuda::Gpu::get(ordinal)?, OP, x, rate, stream);
    }
    let stream = stream.word();
    let x = x.contiguous()?;
    let mut out = Array::stale(*x.shape(), x.dtype())?;
    crate::float::with_float!(OP, x.dtype(), T => {
        drop_slice::<T>(x.slice(), out.slice_mut(), rate, stream);
        Ok(out)
    })
}

/// The words below which a number is dropped, and the factor of the others.
pub(crate) fn threshold_and_scale(rate: f64) -> (u64, f64) {
    ((rate * (1u64 << 32) as f64).round() as u64, if rate < 1.0 { 1.0 / (1.0 - rate) } else { 0.0 })
}

fn drop_slice<T: Float>(x: &[T], out: &mut [T], rate: f64, stream: u64) {
    struct Drop<'a, T> {
        x: &'a [T],
        out: &'a mut [T],
        first: usize,
        stream: u64,
        threshold: u64,
        scale: f64,
    }
    impl<T: Float> Kernel for Drop<'_, T> {
        type Output = ();
        #[inline(always)]
        fn run<S: Simd>(self) {
            let (zero, scale) = (T::Real::<S>::zero(), T::Real::<S>::of(self.scale));
            for (group, (x, out)) in self.x.chunks(GROUP).zip(self.out.chunks_mut(GROUP)).enumerate() {
                let words = words(self.stream, 0, self.first + group);
                for ((y, x), w) in out.iter_mut().zip(x).zip(words) {
                    let kept = T::Real::<S>::wrap(*x) * scale;
                    *y = if (w as u64) < self.threshold { zero } else { kept }.number();
                }
            }
        }
    }
    let (threshold, scale) = threshold_and_scale(rate);
    let (count, target) = (x.len(), Target::new(out));
    parallel::ranges(count.div_ceil(GROUP), parallel::GRAIN / GROUP, |start, end| {
        let (from, to) = (start * GROUP, (end * GROUP).min(count));
        // SAFETY: ranges do not overlap.
        T::run(Drop { x: &x[from..to], out: unsafe { target.slice(from, to) }, first: start, stream, threshold, scale });
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn philox_meets_the_published_vectors() {
        // From the reference implementation's known-answer file (Random123).
        assert_eq!(philox(0, [0; 4]), [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]);
        assert_eq!(philox(u64::MAX, [u32::MAX; 4]), [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]);
        assert_eq!(philox(0x299f_31d0_a409_3822, [0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344]), [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1]);
    }

    #[test]
    fn moments() {
        let mut rng = Rng::seeded(3);
        let u = uniform(&[200_000], -1.0, 3.0, DType::F32, &mut rng).unwrap().to_vec::<f32>().unwrap();
        let mean = u.iter().map(|&x| x as f64).sum::<f64>() / u.len() as f64;
        assert!((mean - 1.0).abs() < 0.01 && u.iter().all(|x| (-1.0..3.0).contains(x)), "{mean}");
        let z = normal(&[200_000], 2.0, 0.5, DType::F64, &mut rng).unwrap().to_vec::<f64>().unwrap();
        let mean = z.iter().sum::<f64>() / z.len() as f64;
        let variance = z.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / z.len() as f64;
        assert!((mean - 2.0).abs() < 0.01 && (variance - 0.25).abs() < 0.005, "{mean} {variance}");
        // Neighbours are independent.
        let covariance = z.windows(2).map(|w| (w[0] - 2.0) * (w[1] - 2.0)).sum::<f64>() / z.len() as f64;
        assert!(covariance.abs() < 0.003, "{covariance}");
    }

    #[test]
    fn a_permutation_holds_each_once() {
        let mut order = Rng::seeded(1).permutation(1000);
        assert_ne!(order[..10], [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
        order.sort();
        assert_eq!(order, (0..1000).collect::<Vec<_>>());
    }

    #[test]
    fn dropout_drops_the_same_everywhere() {
        let x = Array::ones(&[100_003], DType::F32).unwrap();
        let whole = dropout(&x, 0.3, 99).unwrap().to_vec::<f32>().unwrap();
        let dropped = whole.iter().filter(|&&v| v == 0.0).count() as f64 / whole.len() as f64;
        assert!((dropped - 0.3).abs() < 0.01, "{dropped}");
        assert!(whole.iter().all(|&v| v == 0.0 || (v - 1.0 / 0.7).abs() < 1e-6));
        let begin = dropout(&x.narrow(0, 0, 77).unwrap(), 0.3, 99).unwrap().to_vec::<f32>().unwrap();
        assert_eq!(begin, whole[..77]);
        let double = dropout(&x.cast(DType::F64).unwrap(), 0.3, 99).unwrap().to_vec::<f64>().unwrap();
        assert!(double.iter().zip(&whole).all(|(a, b)| (*a == 0.0) == (*b == 0.0)));
        assert!(dropout(&x, 1.0, 5).unwrap().to_vec::<f32>().unwrap().iter().all(|&v| v == 0.0));
        assert!(dropout(&x, 1.5, 5).is_err());
    }
}
