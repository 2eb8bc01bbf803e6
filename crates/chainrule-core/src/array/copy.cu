// Copies of strided views, and conversions between element types.
#include "prelude.cuh"

template <typename T>
__device__ void copy_strided(const Strided<2> &layout, const T *from, T *to, u32 count) {
    for (u64 i = first(); i < count; i += step()) {
        i64 at[2];
        layout.offsets((u32)i, at);
        to[at[1]] = from[at[0]];
    }
}

#define COPY(size, type) \
    KERNEL copy_strided_##size(Strided<2> layout, const type *from, type *to, u32 count) { copy_strided(layout, from, to, count); }
COPY(1, u8)
COPY(2, u16)
COPY(4, u32)
COPY(8, u64)

#define FILL(size, type, argument) \
    KERNEL fill_##size(type *to, argument value, u64 count) { for (u64 i = first(); i < count; i += step()) to[i] = (type)value; }
FILL(1, u8, u8)
FILL(2, u16, u32)
FILL(8, u64, u64)

// 16-bit floats are moved as their bits.
struct bf16 { u16 bits; };
struct f16 { u16 bits; };

// To an integer: cut toward zero, saturating, NaN to 0, as Rust's `as`.
__device__ __forceinline__ void convert(float x, i64 &y) { y = x != x ? 0 : __float2ll_rz(x); }
__device__ __forceinline__ void convert(double x, i64 &y) { y = x != x ? 0 : __double2ll_rz(x); }
__device__ __forceinline__ void convert(double x, u8 &y) { y = x != x ? 0 : (u8)__double2int_rz(x < 0.0 ? 0.0 : x > 255.0 ? 255.0 : x); }
__device__ __forceinline__ void convert(float x, u8 &y) { convert((double)x, y); }
__device__ __forceinline__ void convert(i64 x, u8 &y) { y = (u8)(x < 0 ? 0 : x > 255 ? 255 : x); }
// The other conversions are C's.
template <typename A, typename B>
__device__ __forceinline__ void convert(A x, B &y) { y = (B)x; }
__device__ __forceinline__ void convert(float x, bf16 &y) {
    u32 bits = __float_as_uint(x);
    y.bits = (u16)((bits & 0x7fffffffu) > 0x7f800000u ? (bits >> 16 | 0x40u) : (bits + 0x7fffu + (bits >> 16 & 1u)) >> 16);
}
__device__ __forceinline__ void convert(bf16 x, float &y) { y = __uint_as_float((u32)x.bits << 16); }
__device__ __forceinline__ void convert(float x, f16 &y) { asm("cvt.rn.f16.f32 %0, %1;" : "=h"(y.bits) : "f"(x)); }
__device__ __forceinline__ void convert(f16 x, float &y) { asm("cvt.f32.f16 %0, %1;" : "=f"(y) : "h"(x.bits)); }

#define CAST(from_name, from_type, to_name, to_type)                                                     \
    KERNEL cast_##from_name##_##to_name(const from_type *from, to_type *to, u64 count) {                 \
        for (u64 i = first(); i < count; i += step()) convert(from[i], to[i]);                           \
    }
CAST(f32, float, f64, double)
CAST(f32, float, i64, i64)
CAST(f32, float, u8, u8)
CAST(f64, double, f32, float)
CAST(f64, double, i64, i64)
CAST(f64, double, u8, u8)
CAST(i64, i64, f32, float)
CAST(i64, i64, f64, double)
CAST(i64, i64, u8, u8)
CAST(u8, u8, f32, float)
CAST(u8, u8, f64, double)
CAST(u8, u8, i64, i64)
CAST(f32, float, bf16, bf16)
CAST(bf16, bf16, f32, float)
CAST(f32, float, f16, f16)
CAST(f16, f16, f32, float)
