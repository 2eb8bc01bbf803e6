//! Matrix products against the machine's measured FMA peak and against the crates `matrixmultiply` and `gemm` (x86-v4), in turn in one run.
//!
//!     RAYON_NUM_THREADS=2 cargo run --release --manifest-path benches/gemm/Cargo.toml [-- SECONDS]
//!
//! A row a product `[m, k] · [k, n]`, plain or with an operand that is stored transposed; `B'` is a linear layer's weight. GFLOP/s, best of many rounds; on one thread interleaved, so that a busy moment of the machine hits all alike.
//! `bf16` is ours of f32 rounded on the way, its sum in f32; its peak is twice that of f32.

use chainrule_core::ops::matmul::{matmul, matmul_bf16};
use chainrule_core::{Array, DType, Result, Rng, parallel, random, simd};
use std::hint::black_box;
use std::time::Instant;

macro_rules! peak {
    ($name:ident, $features:literal, $set:ident, $fma:ident, $registers:literal, $lanes:literal) => {
        /// GFLOP/s of multiply-adds on registers alone.
        #[cfg(target_arch = "x86_64")]
        #[target_feature(enable = $features)]
        fn $name() -> f64 {
            use std::arch::x86_64::*;
            const ROUNDS: u64 = 100_000;
            let mut sums = [$set(black_box(0.0)); $registers];
            let (x, y) = ($set(black_box(0.5)), $set(black_box(0.25)));
            let clock = Instant::now();
            for _ in 0..ROUNDS {
                for sum in &mut sums {
                    *sum = $fma(*sum, x, y);
                }
            }
            let seconds = clock.elapsed().as_secs_f64();
            black_box(sums);
            (ROUNDS * $registers * $lanes * 2) as f64 / seconds * 1e-9
        }
    };
}
peak!(peak_avx512, "avx512f", _mm512_set1_ps, _mm512_fmadd_ps, 24, 16);
peak!(peak_avx2, "avx2,fma", _mm256_set1_ps, _mm256_fmadd_ps, 12, 8);

fn peak() -> f64 {
    #[cfg(target_arch = "x86_64")]
    match simd::level() {
        // SAFETY: the level was detected.
        simd::Level::Avx512 => return unsafe { peak_avx512() },
        // SAFETY: the level was detected.
        simd::Level::Avx2 => return unsafe { peak_avx2() },
        _ => {}
    }
    f64::NAN
}

/// The seconds that one of `repeats` calls takes.
fn seconds(repeats: usize, mut f: impl FnMut() -> Result<()>) -> Result<f64> {
    let clock = Instant::now();
    for _ in 0..repeats {
        f()?;
    }
    Ok(clock.elapsed().as_secs_f64() / repeats as f64)
}

/// Which operand lies transposed in memory.
#[derive(Clone, Copy, PartialEq)]
enum Stored {
    Plain,
    LeftTurned,
    RightTurned,
}

/// `count` products `[m, k] · [k, n]`.
struct Shape {
    count: usize,
    m: usize,
    n: usize,
    k: usize,
    stored: Stored,
}

fn shapes() -> Vec<Shape> {
    let mut shapes = vec![];
    let mut add = |count: usize, [m, n, k]: [usize; 3], stored: &[Stored]| shapes.extend(stored.iter().map(|&stored| Shape { count, m, n, k, stored }));
    let all = [Stored::Plain, Stored::RightTurned, Stored::LeftTurned];
    for n in [16, 32, 48, 64, 96] {
        add(1, [n; 3], &all[..2]);
    }
    for n in [128, 192, 256, 512, 1024] {
        add(1, [n; 3], &all);
    }
    add(64, [128, 128, 64], &all[..2]);
    add(64, [128, 64, 128], &all[..1]);
    for m in [1, 4, 8, 16, 64] {
        add(1, [m, 256, 784], &all[..2]);
    }
    for m in [1, 8, 64] {
        add(1, [m, 1024, 1024], &all[..2]);
    }
    add(1, [512, 1024, 1024], &all[..2]);
    add(1, [1024, 1024, 512], &all[2..]);
    add(1, [8, 8, 100_000], &all[..2]);
    shapes
}

/// `C ← A·B` by one of the other crates: sizes, A and B with their row and column strides, and C, which is dense.
type Other<'a> = &'a dyn Fn([usize; 3], (*const f32, [isize; 2]), (*const f32, [isize; 2]), *mut f32);

fn turned(x: &Array) -> Result<Array> {
    x.transpose(-1, -2)?.contiguous()?.transpose(-1, -2)
}

fn main() -> Result<()> {
    let budget: f64 = std::env::args().nth(1).and_then(|s| s.parse().ok()).unwrap_or(1.0);
    println!("level {:?}, GFLOP/s; in brackets ours over the other", simd::level());
    println!(
        "{:>22} {:>8} {:>7} {:>7} {:>15} {:>15} | {:>11} {:>8} {:>15} | {:>8} {:>8}",
        "product", "FMA peak", "ours", "of peak", "gemm", "matrixmultiply", "two threads", "speed-up", "gemm, two", "bf16", "bf16 two"
    );
    for shape in shapes() {
        row(&shape, budget)?;
    }
    Ok(())
}

fn row(&Shape { count, m, n, k, stored }: &Shape, budget: f64) -> Result<()> {
    let mut rng = Rng::seeded(1);
    let mut draw = |rows: usize, columns: usize| random::normal(&[count, rows, columns], 0.0, 1.0, DType::F32, &mut rng);
    let (mut a, mut b) = (draw(m, k)?, draw(k, n)?);
    match stored {
        Stored::Plain => {}
        Stored::LeftTurned => a = turned(&a)?,
        Stored::RightTurned => b = turned(&b)?,
    }
    let (left, right) = ([a.strides()[1], a.strides()[2]], [b.strides()[1], b.strides()[2]]);
    let (a_start, b_start) =
        (a.transpose(1, if stored == Stored::LeftTurned { 2 } else { 1 })?, b.transpose(1, if stored == Stored::RightTurned { 2 } else { 1 })?);
    let (x, y) = (a_start.as_slice::<f32>()?, b_start.as_slice::<f32>()?);
    // One product without a batch in front, as callers have it.
    let plain = |x: &Array| if count == 1 { x.squeeze(0) } else { Ok(x.clone()) };
    let (a, b) = (plain(&a)?, plain(&b)?);
    let mut c = Array::zeros(&[count, m, n], DType::F32)?;
    let z = c.as_mut_slice::<f32>()?.as_mut_ptr();
    let flop = 2.0 * (count * m * n * k) as f64;
    let repeats = ((2e8 / flop) as usize).clamp(1, 20_000) / 4 + 1;

    let other = |multiply: Other| {
        seconds(repeats, || {
            for i in 0..count {
                multiply([m, n, k], (x[i * m * k..].as_ptr(), left), (y[i * k * n..].as_ptr(), right), z.wrapping_add(i * m * n));
            }
            Ok(())
        })
    };
    let by_matrixmultiply: Other = &|[m, n, k], (a, [ar, ac]), (b, [br, bc]), c| {
        // SAFETY: the strides describe the matrices, and C is dense.
        unsafe { matrixmultiply::sgemm(m, k, n, 1.0, a, ar, ac, b, br, bc, 0.0, c, n as isize, 1) }
    };
    let gemm_on = |threads: usize| {
        let parallelism = if threads == 1 { gemm::Parallelism::None } else { gemm::Parallelism::Rayon(threads) };
        move |[m, n, k]: [usize; 3], (a, [ar, ac]): (*const f32, [isize; 2]), (b, [br, bc]): (*const f32, [isize; 2]), c: *mut f32| {
            // SAFETY: the strides describe the matrices, and C is dense.
            unsafe { gemm::gemm(m, n, k, c, 1, n as isize, false, a, ac, ar, b, bc, br, 0.0, 1.0, false, false, false, parallelism) }
        }
    };
    let (gemm_one, gemm_two) = (gemm_on(1), gemm_on(2));
    let ours = |threads: usize, multiply: fn(&Array, &Array) -> Result<Array>| {
        parallel::set_threads(threads);
        seconds(repeats, || multiply(&a, &b).map(|c| drop(black_box(c))))
    };

    // On one thread all in turn; on two each for itself, because threads that wait for work of one would disturb the other.
    let (mut best_peak, mut best) = (0f64, [f64::MAX; 7]);
    let start = Instant::now();
    while start.elapsed().as_secs_f64() < budget {
        best_peak = best_peak.max(peak());
        let times = [ours(1, matmul)?, other(&gemm_one)?, other(by_matrixmultiply)?, ours(1, matmul_bf16)?];
        for (best, time) in best.iter_mut().zip(times) {
            *best = best.min(time);
        }
    }
    let two: [&dyn Fn() -> Result<f64>; 3] = [&|| ours(2, matmul), &|| other(&gemm_two), &|| ours(2, matmul_bf16)];
    for (best, run) in best[4..].iter_mut().zip(two) {
        let start = Instant::now();
        while start.elapsed().as_secs_f64() < budget / 2.0 {
            *best = best.min(run()?);
        }
    }
    let [one, gemm, multiply, half, two, gemm_two, half_two] = best.map(|s| flop / s * 1e-9);
    let batch = if count == 1 { String::new() } else { format!("{count} x ") };
    let name = format!("{batch}{}{m} {n} {k}", ["", "A' ", "B' "][stored as usize]);
    let against = |rate: f64, ours: f64| format!("{rate:.1} ({:.2})", ours / rate);
    println!(
        "{name:>22} {best_peak:>8.1} {one:>7.1} {:>6.1}% {:>15} {:>15} | {two:>11.1} {:>8.2} {:>15} | {half:>8.1} {half_two:>8.1}",
        100.0 * one / best_peak,
        against(gemm, one),
        against(multiply, one),
        two / one,
        against(gemm_two, two),
    );
    Ok(())
}
