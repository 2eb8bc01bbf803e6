//! The CPU level, found once, and the one `match` that sends a kernel to it.
//!
//! A kernel is written once, generic over `Simd`; `run` compiles it for every level of the target and calls the one this machine has.
//! Elementwise kernels are plain loops over `Real` numbers, which the compiler turns into vector code of the level;
//! kernels that hold registers by hand (matrix products, convolution) use `Vector`.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod math;
mod real;
mod scalar;
pub(crate) mod special;
mod vector;

pub use real::Real;
pub(crate) use vector::{Vector, transposed};

use std::sync::atomic::{AtomicU8, Ordering};

/// A set of CPU instructions for which kernels are compiled.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash)]
#[repr(u8)]
#[non_exhaustive]
pub enum Level {
    /// What the target always has: SSE2 on x86-64, NEON on aarch64.
    Scalar = 1,
    /// AVX2 and FMA.
    Avx2 = 2,
    /// AVX-512 (F, BW, DQ, VL).
    Avx512 = 3,
}

impl Level {
    /// The names that `CHAINRULE_SIMD` understands.
    pub const ALL: [(&'static str, Level); 3] = [("scalar", Level::Scalar), ("avx2", Level::Avx2), ("avx512", Level::Avx512)];

    /// The best level of this machine.
    pub fn detect() -> Level {
        #[cfg(target_arch = "x86_64")]
        {
            if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
                let wide = is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512bw");
                if wide && is_x86_feature_detected!("avx512dq") && is_x86_feature_detected!("avx512vl") {
                    return Level::Avx512;
                }
                return Level::Avx2;
            }
        }
        Level::Scalar
    }

    /// All levels that this machine can run, the lowest first.
    pub fn available() -> impl Iterator<Item = Level> {
        let best = Level::detect();
        Level::ALL.into_iter().map(|(_, level)| level).filter(move |&level| level <= best)
    }
}

static LEVEL: AtomicU8 = AtomicU8::new(0);

/// The level in use: the best of this machine, or the lower one that the environment variable `CHAINRULE_SIMD` (`scalar`, `avx2`, `avx512`) names.
#[inline]
pub fn level() -> Level {
    match LEVEL.load(Ordering::Relaxed) {
        1 => Level::Scalar,
        2 => Level::Avx2,
        3 => Level::Avx512,
        _ => find_level(),
    }
}

#[cold]
fn find_level() -> Level {
    let asked = std::env::var("CHAINRULE_SIMD").ok();
    let asked = asked.and_then(|name| Level::ALL.iter().find(|(known, _)| *known == name).map(|(_, level)| *level));
    set_level(asked.unwrap_or(Level::Avx512))
}

/// Uses `level` from here on in the whole process, or the best that the machine has below it; returns which. Nothing may compute meanwhile: plans and kernels must agree on the level.
pub(crate) fn set_level(level: Level) -> Level {
    let level = level.min(Level::detect());
    LEVEL.store(level as u8, Ordering::Relaxed);
    level
}

/// What a level offers to kernels. Its methods may only run inside [`run`], which has checked that the CPU has the level.
pub(crate) trait Simd: Copy + Send + Sync + 'static {
    /// A register of f32.
    type V32: Vector<Element = f32>;
    /// A register of f64.
    type V64: Vector<Element = f64>;
    /// An f32 whose multiply-add is fused where the level has it.
    type R32: Real<Element = f32>;
    const LEVEL: Level;
    /// Runs a kernel of this level as a function of its own, which has all registers to itself.
    ///
    /// # Safety
    /// The CPU must have the level.
    unsafe fn apart<K: Kernel>(kernel: K) -> K::Output;
}

/// A computation that is compiled for every level. `run` must be `#[inline(always)]`, so that it takes on the level's instructions.
pub(crate) trait Kernel {
    type Output;
    fn run<S: Simd>(self) -> Self::Output;
}

#[derive(Clone, Copy)]
pub(crate) struct Scalar;
impl Simd for Scalar {
    type V32 = scalar::Lanes<f32, 4>;
    type V64 = scalar::Lanes<f64, 2>;
    #[cfg(target_arch = "aarch64")]
    type R32 = real::Fused;
    #[cfg(not(target_arch = "aarch64"))]
    type R32 = real::Plain;
    const LEVEL: Level = Level::Scalar;
    #[inline(always)]
    unsafe fn apart<K: Kernel>(kernel: K) -> K::Output {
        kernel.run::<Scalar>()
    }
}

#[cfg(target_arch = "x86_64")]
#[derive(Clone, Copy)]
pub(crate) struct Avx2;
#[cfg(target_arch = "x86_64")]
impl Simd for Avx2 {
    type V32 = avx2::F32x8;
    type V64 = avx2::F64x4;
    type R32 = real::Fused;
    const LEVEL: Level = Level::Avx2;
    #[inline(always)]
    unsafe fn apart<K: Kernel>(kernel: K) -> K::Output {
        // SAFETY: the caller's promise.
        unsafe { run_avx2(kernel) }
    }
}

#[cfg(target_arch = "x86_64")]
#[derive(Clone, Copy)]
pub(crate) struct Avx512;
#[cfg(target_arch = "x86_64")]
impl Simd for Avx512 {
    type V32 = avx512::F32x16;
    type V64 = avx512::F64x8;
    type R32 = real::Fused;
    const LEVEL: Level = Level::Avx512;
    #[inline(always)]
    unsafe fn apart<K: Kernel>(kernel: K) -> K::Output {
        // SAFETY: the caller's promise.
        unsafe { run_avx512(kernel) }
    }
}

/// AVX-512 with dot products of pairs of bf16, which only matrix products ask for.
#[cfg(target_arch = "x86_64")]
#[derive(Clone, Copy)]
pub(crate) struct Avx512Pairs;
#[cfg(target_arch = "x86_64")]
impl Simd for Avx512Pairs {
    type V32 = avx512::Pairs16;
    type V64 = avx512::F64x8;
    type R32 = real::Fused;
    const LEVEL: Level = Level::Avx512;
    #[inline(always)]
    unsafe fn apart<K: Kernel>(kernel: K) -> K::Output {
        // SAFETY: the caller's promise.
        unsafe { run_avx512_pairs(kernel) }
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
#[inline(never)]
fn run_avx2<K: Kernel>(kernel: K) -> K::Output {
    kernel.run::<Avx2>()
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
#[inline(never)]
fn run_avx512<K: Kernel>(kernel: K) -> K::Output {
    kernel.run::<Avx512>()
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16,avx2,fma")]
#[inline(never)]
fn run_avx512_pairs<K: Kernel>(kernel: K) -> K::Output {
    kernel.run::<Avx512Pairs>()
}

/// Whether this CPU multiplies pairs of bf16 at the level in use.
pub(crate) fn has_pairs() -> bool {
    #[cfg(target_arch = "x86_64")]
    return level() == Level::Avx512 && is_x86_feature_detected!("avx512bf16");
    #[cfg(not(target_arch = "x86_64"))]
    false
}

/// Runs the kernel with registers that take an f32 for a pair of bf16 in [`Vector::dot`]. Only where [`has_pairs`] says so; elsewhere the numbers would be taken for what they are not.
#[inline]
pub(crate) fn run_pairs<K: Kernel>(kernel: K) -> K::Output {
    assert!(has_pairs(), "no dot products of pairs at this level");
    #[cfg(target_arch = "x86_64")]
    // SAFETY: the CPU has all of it, as was just looked up.
    return unsafe { run_avx512_pairs(kernel) };
    #[cfg(not(target_arch = "x86_64"))]
    run(kernel)
}

/// Runs the kernel at the level in use.
#[inline]
pub(crate) fn run<K: Kernel>(kernel: K) -> K::Output {
    match level() {
        // SAFETY: `level` never exceeds what `Level::detect` found on this CPU.
        #[cfg(target_arch = "x86_64")]
        Level::Avx512 => unsafe { run_avx512(kernel) },
        // SAFETY: as above.
        #[cfg(target_arch = "x86_64")]
        Level::Avx2 => unsafe { run_avx2(kernel) },
        _ => kernel.run::<Scalar>(),
    }
}

/// Holds off all other tests that change the level or the number of threads, or compare bits; puts both back when dropped.
#[cfg(test)]
pub(crate) fn alone() -> impl Drop {
    static ONE: std::sync::Mutex<()> = std::sync::Mutex::new(());
    struct Alone(#[allow(dead_code)] std::sync::MutexGuard<'static, ()>, Level, usize);
    impl Drop for Alone {
        fn drop(&mut self) {
            set_level(self.1);
            crate::parallel::set_threads(self.2);
        }
    }
    let guard = ONE.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    Alone(guard, level(), crate::parallel::threads())
}
