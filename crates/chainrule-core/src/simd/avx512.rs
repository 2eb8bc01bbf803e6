//! AVX-512 registers.

use super::Vector;
use std::arch::x86_64::*;

macro_rules! register {
    ($name:ident, $element:ty, $register:ty, $mask:ty, $lanes:literal, $rows:literal,
     $set1:ident, $loadu:ident, $maskz_loadu:ident, $storeu:ident, $mask_storeu:ident, $add:ident, $mul:ident, $fmadd:ident, $max:ident, $sum:ident,
     $zip:ident, $low:expr, $high:expr, $even:expr $(, $dot:ident)?) => {
        #[derive(Clone, Copy)]
        #[repr(transparent)]
        pub(crate) struct $name($register);

        impl Vector for $name {
            type Element = $element;
            const LANES: usize = $lanes;
            const TILE_ROWS: usize = $rows;
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
                Self(unsafe { $maskz_loadu(((1u32 << count) - 1) as $mask, at) })
            }
            #[inline(always)]
            unsafe fn store(self, at: *mut $element) {
                // SAFETY: the trait's contract.
                unsafe { $storeu(at, self.0) }
            }
            #[inline(always)]
            unsafe fn store_first(self, at: *mut $element, count: usize) {
                // SAFETY: the trait's contract; masked lanes are not accessed.
                unsafe { $mask_storeu(at, ((1u32 << count) - 1) as $mask, self.0) }
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
            $(#[inline(always)]
            unsafe fn dot(self, factor: Self, addend: Self) -> Self {
                // SAFETY: the trait's contract; both registers are 64 plain bytes.
                Self(unsafe { $dot(addend.0, std::mem::transmute::<__m512, __m512bh>(self.0), std::mem::transmute::<__m512, __m512bh>(factor.0)) })
            })?
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
                unsafe { (Self($zip(self.0, $low, other.0)), Self($zip(self.0, $high, other.0))) }
            }
            #[inline(always)]
            unsafe fn load_alternate(at: *const $element) -> Self {
                // SAFETY: the trait's contract; the place after the last lane is masked.
                unsafe { Self($zip(Self::load(at).0, $even, Self::load_first(at.add($lanes), $lanes - 1).0)) }
            }
            #[inline(always)]
            unsafe fn sum(self) -> $element {
                // SAFETY: the trait's contract.
                unsafe { $sum(self.0) }
            }
        }
    };
}

/// A register of f32.
macro_rules! single {
    ($name:ident $(, $dot:ident)?) => {
        register!(
            $name,
            f32,
            __m512,
            __mmask16,
            16,
            12,
            _mm512_set1_ps,
            _mm512_loadu_ps,
            _mm512_maskz_loadu_ps,
            _mm512_storeu_ps,
            _mm512_mask_storeu_ps,
            _mm512_add_ps,
            _mm512_mul_ps,
            _mm512_fmadd_ps,
            _mm512_max_ps,
            _mm512_reduce_add_ps,
            _mm512_permutex2var_ps,
            _mm512_setr_epi32(0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23),
            _mm512_setr_epi32(8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31),
            _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30) $(, $dot)?
        );
    };
}

single!(F32x16);
// Numbers of f32 that matrix products take for pairs of bf16.
single!(Pairs16, _mm512_dpbf16_ps);
register!(
    F64x8,
    f64,
    __m512d,
    __mmask8,
    8,
    12,
    _mm512_set1_pd,
    _mm512_loadu_pd,
    _mm512_maskz_loadu_pd,
    _mm512_storeu_pd,
    _mm512_mask_storeu_pd,
    _mm512_add_pd,
    _mm512_mul_pd,
    _mm512_fmadd_pd,
    _mm512_max_pd,
    _mm512_reduce_add_pd,
    _mm512_permutex2var_pd,
    _mm512_setr_epi64(0, 8, 1, 9, 2, 10, 3, 11),
    _mm512_setr_epi64(4, 12, 5, 13, 6, 14, 7, 15),
    _mm512_setr_epi64(0, 2, 4, 6, 8, 10, 12, 14)
);
