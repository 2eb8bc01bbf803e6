// Dense arrays walked element by element, four numbers a thread at a time; 16 bytes at once where all arrays begin on 16 bytes.
#pragma once
#include "prelude.cuh"

// `left` numbers are there from `from` on; with `whole`, four of them on 16 bytes.
__device__ __forceinline__ void load_four(const float *from, bool whole, u64 left, float (&x)[4]) {
    if (whole) {
        float4 four = *(const float4 *)from;
        x[0] = four.x, x[1] = four.y, x[2] = four.z, x[3] = four.w;
    } else {
#pragma unroll
        for (int i = 0; i < 4; i++) x[i] = i < left ? from[i] : 0.0f;
    }
}
__device__ __forceinline__ void store_four(float *to, bool whole, u64 left, const float (&x)[4]) {
    if (whole) {
        *(float4 *)to = make_float4(x[0], x[1], x[2], x[3]);
    } else {
#pragma unroll
        for (int i = 0; i < 4; i++) {
            if (i < left) to[i] = x[i];
        }
    }
}
__device__ __forceinline__ bool on_16_bytes(const void *address) { return (u64)address % 16 == 0; }

// to[i] = f(a[i]), f(a[i], b[i]) or f(a[i], b[i], c[i])
template <typename F>
__device__ __forceinline__ void map(const float *a, float *to, u64 count, F f) {
    bool aligned = on_16_bytes(a) && on_16_bytes(to);
    for (u64 at = 4 * first(); at < count; at += 4 * step()) {
        bool whole = aligned && count - at >= 4;
        float x[4], out[4];
        load_four(a + at, whole, count - at, x);
#pragma unroll
        for (int i = 0; i < 4; i++) out[i] = f(x[i]);
        store_four(to + at, whole, count - at, out);
    }
}
template <typename F>
__device__ __forceinline__ void map(const float *a, const float *b, float *to, u64 count, F f) {
    bool aligned = on_16_bytes(a) && on_16_bytes(b) && on_16_bytes(to);
    for (u64 at = 4 * first(); at < count; at += 4 * step()) {
        bool whole = aligned && count - at >= 4;
        float x[4], y[4], out[4];
        load_four(a + at, whole, count - at, x);
        load_four(b + at, whole, count - at, y);
#pragma unroll
        for (int i = 0; i < 4; i++) out[i] = f(x[i], y[i]);
        store_four(to + at, whole, count - at, out);
    }
}
template <typename F>
__device__ __forceinline__ void map(const float *a, const float *b, const float *c, float *to, u64 count, F f) {
    bool aligned = on_16_bytes(a) && on_16_bytes(b) && on_16_bytes(c) && on_16_bytes(to);
    for (u64 at = 4 * first(); at < count; at += 4 * step()) {
        bool whole = aligned && count - at >= 4;
        float x[4], y[4], z[4], out[4];
        load_four(a + at, whole, count - at, x);
        load_four(b + at, whole, count - at, y);
        load_four(c + at, whole, count - at, z);
#pragma unroll
        for (int i = 0; i < 4; i++) out[i] = f(x[i], y[i], z[i]);
        store_four(to + at, whole, count - at, out);
    }
}

// The same for functions of long code, which stands once and not four times: one number a thread.
template <typename F, typename... From>
__device__ __forceinline__ void map_singly(float *to, u64 count, F f, const From *... from) {
#pragma unroll 1
    for (u64 i = first(); i < count; i += step()) to[i] = f(from[i]...);
}
