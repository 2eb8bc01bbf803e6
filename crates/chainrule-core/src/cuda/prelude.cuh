// What every kernel file begins with. NVRTC has no headers of the C library.
#pragma once

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;
typedef long long i64;

#define KERNEL extern "C" __global__ void
#define INFINITY __int_as_float(0x7f800000)
#define NAN __int_as_float(0x7fffffff)

enum : u32 { WARP = 32, MAX_RANK = 8, ALL = 0xffffffffu };

// The index of this thread among all, and how many there are: `for (u64 i = first(); i < count; i += step())`.
__device__ __forceinline__ u64 first() { return (u64)blockIdx.x * blockDim.x + threadIdx.x; }
__device__ __forceinline__ u64 step() { return (u64)gridDim.x * blockDim.x; }

// K arrays walked side by side, extents innermost first; `Strided` of array/strided.rs.
template <int K>
struct Strided {
    u32 rank;
    u32 extents[MAX_RANK];
    i64 strides[K][MAX_RANK];

    // Where element `index`, counted in row-major order, stands in each array.
    __device__ __forceinline__ void offsets(u32 index, i64 (&out)[K]) const {
#pragma unroll
        for (int k = 0; k < K; k++) out[k] = 0;
#pragma unroll
        for (u32 d = 0; d < MAX_RANK; d++) {
            if (d >= rank) break;
            // Below the outermost extent the index is whole.
            u32 rest = d + 1 < rank ? index / extents[d] : 0, at = index - rest * extents[d];
            index = rest;
#pragma unroll
            for (int k = 0; k < K; k++) out[k] += (i64)at * strides[k][d];
        }
    }
};

// Sums over a warp; every lane gets the result. All 32 lanes take part.
__device__ __forceinline__ float warp_sum(float x) {
#pragma unroll
    for (int lanes = 16; lanes > 0; lanes >>= 1) x += __shfl_xor_sync(ALL, x, lanes);
    return x;
}
__device__ __forceinline__ double warp_sum(double x) {
#pragma unroll
    for (int lanes = 16; lanes > 0; lanes >>= 1) x += __shfl_xor_sync(ALL, x, lanes);
    return x;
}
__device__ __forceinline__ i64 warp_sum(i64 x) {
#pragma unroll
    for (int lanes = 16; lanes > 0; lanes >>= 1) x += __shfl_xor_sync(ALL, x, lanes);
    return x;
}
// The larger one; NaN where either is NaN, as on the CPU.
__device__ __forceinline__ float larger(float a, float b) { return (a > b || a != a) ? a : b; }

// The sum over a block, for every thread; `scratch` holds a number a warp. The block has whole warps.
template <typename T>
__device__ __forceinline__ T block_sum(T x, T *scratch) {
    u32 lane = threadIdx.x % WARP, warp = threadIdx.x / WARP, warps = blockDim.x / WARP;
    x = warp_sum(x);
    __syncthreads(); // an earlier use of the scratch is over
    if (lane == 0) scratch[warp] = x;
    __syncthreads();
    x = lane < warps ? scratch[lane] : T(0);
    return warp_sum(x);
}
