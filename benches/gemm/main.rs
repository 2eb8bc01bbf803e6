//! Matrix products in f32 against the machine's measured FMA peak and against the crates `matrixmultiply` and `gemm` (x86-v4), in turn in one run.
//!
//!     cargo run --release --manifest-path benches/gemm/Cargo.toml [-- SIZES…]
//!
//! Best of many rounds, interleaved, so that a busy moment of the machine hits all alike. One thread; then ours on two.

use chainrule_core::{Array, DType, Result, Rng, ops, parallel, random, simd};
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

fn seconds(f: impl FnOnce()) -> f64 {
    let clock = Instant::now();
    f();
    clock.elapsed().as_secs_f64()
}

fn main() -> Result<()> {
    let sizes: Vec<usize> = std::env::args().skip(1).filter_map(|s| s.parse().ok()).collect();
    let sizes = if sizes.is_empty() { vec![64, 128, 256, 512, 1024] } else { sizes };
    println!("level {:?}", simd::level());
    println!(
        "{:>6} {:>10} {:>10} {:>8} {:>16} {:>12} {:>12} {:>10}",
        "n", "peak GF/s", "ours GF/s", "of peak", "matrixmultiply", "gemm", "two threads", "speed-up"
    );
    for n in sizes {
        let mut rng = Rng::seeded(1);
        let mut draw = || random::normal(&[n, n], 0.0, 1.0, DType::F32, &mut rng);
        let (a, b) = (draw()?, draw()?);
        let mut c = Array::zeros(&[n, n], DType::F32)?;
        let (x, y) = (a.as_slice::<f32>()?, b.as_slice::<f32>()?);
        let flop = 2.0 * (n as f64).powi(3);
        let repeats = ((2e8 / flop) as usize).max(1);
        let (mut best_peak, mut best) = (0f64, [f64::MAX; 4]);
        let start = Instant::now();
        while start.elapsed().as_secs_f64() < 6.0 {
            best_peak = best_peak.max(peak());
            let ours = |threads: usize| -> Result<f64> {
                parallel::set_threads(threads);
                let mut products = Ok(());
                let time = seconds(|| products = (0..repeats).try_for_each(|_| ops::matmul::matmul(&a, &b).map(|c| drop(black_box(c)))));
                products.map(|()| time)
            };
            best[0] = best[0].min(ours(1)?);
            best[3] = best[3].min(ours(2)?);
            let z = c.as_mut_slice::<f32>()?.as_mut_ptr();
            best[1] = best[1].min(seconds(|| {
                for _ in 0..repeats {
                    // SAFETY: three dense n x n matrices.
                    unsafe { matrixmultiply::sgemm(n, n, n, 1.0, x.as_ptr(), n as isize, 1, y.as_ptr(), n as isize, 1, 0.0, z, n as isize, 1) }
                }
            }));
            best[2] = best[2].min(seconds(|| {
                for _ in 0..repeats {
                    let step = n as isize;
                    // SAFETY: three dense n x n matrices.
                    unsafe {
                        gemm::gemm(n, n, n, z, 1, step, false, x.as_ptr(), 1, step, y.as_ptr(), 1, step, 0.0, 1.0, false, false, false, gemm::Parallelism::None)
                    }
                }
            }));
        }
        let rate = best.map(|s| flop * repeats as f64 / s * 1e-9);
        println!(
            "{n:>6} {best_peak:>10.1} {:>10.1} {:>7.1}% {:>9.1} ({:.2}) {:>6.1} ({:.2}) {:>12.1} {:>10.2}",
            rate[0],
            100.0 * rate[0] / best_peak,
            rate[1],
            rate[0] / rate[1],
            rate[2],
            rate[0] / rate[2],
            rate[3],
            rate[3] / rate[0]
        );
    }
    Ok(())
}
