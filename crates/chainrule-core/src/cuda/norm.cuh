// What kernels of normalisation share.
#pragma once
#include "prelude.cuh"

// V numbers side by side; four stand on a multiple of 16 bytes.
template <int V>
__device__ __forceinline__ void load(const float *x, u64 at, float (&out)[V]) {
    if constexpr (V == 4) {
        float4 four = *(const float4 *)(x + at);
        out[0] = four.x, out[1] = four.y, out[2] = four.z, out[3] = four.w;
    } else {
        out[0] = x[at];
    }
}
template <int V>
__device__ __forceinline__ void store(float *y, u64 at, const float (&in)[V]) {
    if constexpr (V == 4) {
        *(float4 *)(y + at) = make_float4(in[0], in[1], in[2], in[3]);
    } else {
        y[at] = in[0];
    }
}
