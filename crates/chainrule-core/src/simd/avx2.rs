//! AVX2 + FMA registers. Lanes past a count are masked through a sliding window of all-ones words.

use super::Vector;
use std::arch::x86_64::*;

/// Eight words of ones, then eight of zeros: the load at word `8 - count` is a mask of `count` lanes.
static MASK_32: [i32; 16] = [-1, -1, -1, -1, -1, -1, -1, -1, 0, 0, 0, 0, 0, 0, 0, 0];
static MASK_64: [i64; 8] = [-1, -1, -1, -1, 0, 0, 0, 0];

#[inline(always)]
unsafe fn sum_ps(v: __m256) -> f32 {
    // SAFETY: AVX is there by the caller's contract; the operations touch registers only.
    unsafe {
        let v = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps::<1>(v));
        let v = _mm_add_ps(v, _mm_movehl_ps(v, v));
        _mm_cvtss_f32(_mm_add_ss(v, _mm_shuffle_ps::<1>(v, v)))
    }
}

#[inline(always)]
unsafe fn sum_pd(v: __m256d) -> f64 {
    // SAFETY: AVX is there by the caller's contract; the operations touch registers only.
    unsafe {
        let v = _mm_add_pd(_mm256_castpd256_pd128(v), _mm256_extractf128_pd::<1>(v));
        _mm_cvtsd_f64(_mm_add_sd(v, _mm_unpackhi_pd(v, v)))
    }
}

macro_rules! register {
    ($name:ident, $element:ty, $register:ty, $masks:ident, $lanes:literal,
     $set1:ident, $loadu:ident, $maskload:ident, $storeu:ident, $maskstore:ident, $add:ident, $mul:ident, $fmadd:ident, $max:ident, $sum:ident, $low:ident, $high:ident, $halves:ident) => {
        #[derive(Clone, Copy)]
        #[repr(transparent)]
        pub(crate) struct $name($register);

        impl $name {
            #[inline(always)]
            unsafe fn mask(count: usize) -> __m256i {
                // SAFETY: `count <= LANES`, so the window lies inside the table.
                unsafe { _mm256_loadu_si256($masks.as_ptr().add($lanes - count).cast()) }
            }
        }

        impl Vector for $name {
            type Element = $element;
            const LANES: usize = $lanes;
            const TILE_ROWS: usize = 6;
            const TILE_VECTORS: usize = 2;

            #[inline(always)]
            unsafe fn splat(value: $element) -> Self {
                // SAFETY: the trait's contract.
                Self(unsafe { $set1(value) })
            }
            #[inline(always)]
            unsafe fn load(at: *const $element) -> Self {
                // SAFETY: the trait's contract.
                Self(unsafe { $loadu(at) })
            }
            #[inline(always)]
            unsafe fn load_first(at: *const $element, count: usize) -> Self {
                // SAFETY: the trait's contract; masked lanes are not accessed.
                Self(unsafe { $maskload(at, Self::mask(count)) })
            }
            #[inline(always)]
            unsafe fn store(self, at: *mut $element) {
                // SAFETY: the trait's contract.
                unsafe { $storeu(at, self.0) }
            }
            #[inline(always)]
            unsafe fn store_first(self, at: *mut $element, count: usize) {
                // SAFETY: the trait's contract; masked lanes are not accessed.
                unsafe { $maskstore(at, Self::mask(count), self.0) }
            }
            #[inline(always)]
            unsafe fn add(self, other: Self) -> Self {
                // SAFETY: the trait's contract.
                Self(unsafe { $add(self.0, other.0) })
            }
            #[inline(always)]
            unsafe fn mul(self, other: Self) -> Self {
                // SAFETY: the trait's contract.
                Self(unsafe { $mul(self.0, other.0) })
            }
            #[inline(always)]
            unsafe fn mul_add(self, factor: Self, addend: Self) -> Self {
                // SAFETY: the trait's contract.
                Self(unsafe { $fmadd(self.0, factor.0, addend.0) })
            }
            #[inline(always)]
            unsafe fn max(self, other: Self) -> Self {
                // SAFETY: the trait's contract.
                Self(unsafe { $max(self.0, other.0) })
            }
            #[inline(always)]
            fn prefetch(at: *const $element) {
                // SAFETY: SSE is part of x86-64, and a prefetch touches nothing that a program can see.
                unsafe { _mm_prefetch::<_MM_HINT_T0>(at.cast()) }
            }
            #[inline(always)]
            unsafe fn zip(self, other: Self) -> (Self, Self) {
                // SAFETY: the trait's contract.
                unsafe {
                    let (low, high) = ($low(self.0, other.0), $high(self.0, other.0));
                    (Self($halves::<0x20>(low, high)), Self($halves::<0x31>(low, high)))
                }
            }
            #[inline(always)]
            unsafe fn sum(self) -> $element {
                // SAFETY: the trait's contract.
                unsafe { $sum(self.0) }
            }
        }
    };
}

register!(
    F32x8,
    f32,
    __m256,
    MASK_32,
    8,
    _mm256_set1_ps,
    _mm256_loadu_ps,
    _mm256_maskload_ps,
    _mm256_storeu_ps,
    _mm256_maskstore_ps,
    _mm256_add_ps,
    _mm256_mul_ps,
    _mm256_fmadd_ps,
    _mm256_max_ps,
    sum_ps,
    _mm256_unpacklo_ps,
    _mm256_unpackhi_ps,
    _mm256_permute2f128_ps
);
register!(
    F64x4,
    f64,
    __m256d,
    MASK_64,
    4,
    _mm256_set1_pd,
    _mm256_loadu_pd,
    _mm256_maskload_pd,
    _mm256_storeu_pd,
    _mm256_maskstore_pd,
    _mm256_add_pd,
    _mm256_mul_pd,
    _mm256_fmadd_pd,
    _mm256_max_pd,
    sum_pd,
    _mm256_unpacklo_pd,
    _mm256_unpackhi_pd,
    _mm256_permute2f128_pd
);
