// Products of f32 matrices of any strides, where cuBLASLt is absent: C = activation(alpha A·B + beta C + bias).
// A call does m·n·k multiply-adds a product of the batch. It reads A once for each tile along n and B once for each tile along m, from the GPU's cache mostly; at least 4 (m·k + k·n + m·n) bytes come and go.
// Cut along k in parts, it also writes and reads 4·parts·m·n bytes of partial sums.
#include "tile.cuh"

// `Call` of cuda/blas/own.rs.
struct Call {
    const float *a, *b;
    float *c;
    i64 a_batch, b_batch, c_batch, c_part;
    i32 a_row, a_column, b_row, b_column, c_row, c_column;
    u32 m, n, k, k_part;
    u32 a_along_k, a_vector, b_along_k, b_vector, c_vector, unused;
    Finish finish;
};

// Block x owns a tile, y a part of k, z a product of the batch.
template <typename T>
__device__ __forceinline__ void product(const Call &call) {
    __shared__ typename T::Memory memory;
    u32 across = (call.n + T::N - 1) / T::N;
    u32 row = blockIdx.x / across * T::M, column = blockIdx.x % across * T::N;
    const float *a = call.a + blockIdx.z * call.a_batch + (i64)row * call.a_row, *b = call.b + blockIdx.z * call.b_batch + (i64)column * call.b_column;
    Side<T::M, T::K, T::THREADS, Even> left(a, call.a_row, Even{call.a_column}, call.m - row, call.a_along_k, call.a_vector);
    Side<T::N, T::K, T::THREADS, Even> right(b, call.b_column, Even{call.b_row}, call.n - column, call.b_along_k, call.b_vector);
    u32 from = blockIdx.y * call.k_part, to = min(call.k, from + call.k_part);
    typename T::Sums sums;
    multiply<T>(memory, left, right, from, to, sums);
    float *c = call.c + blockIdx.z * call.c_batch + blockIdx.y * call.c_part;
    Matrix{c, call.c_row, call.c_column, row, column, call.m, call.n, call.c_vector != 0}.template write<T>(sums, call.finish);
}

extern "C" __global__ void __launch_bounds__(256, 2) gemm_wide(Call call) { product<Wide>(call); }
extern "C" __global__ void __launch_bounds__(256, 3) gemm_middle(Call call) { product<Middle>(call); }
extern "C" __global__ void __launch_bounds__(256, 4) gemm_small(Call call) { product<Small>(call); }
extern "C" __global__ void __launch_bounds__(128) gemm_flat(Call call) { product<Flat>(call); }

// `count` results from sums over parts of k, added in a fixed order: 8 threads a result, each every eighth part. The bias of result i is that of (i / inner) % channels.
KERNEL sum_parts(const float *parts, float *to, u32 count, u32 part_count, u32 inner, u32 channels, Finish finish) {
    __shared__ float sums[8][WARP + 1];
    u32 lane = threadIdx.x % WARP, share = threadIdx.x / WARP;
    u32 i = blockIdx.x * WARP + lane;
    float sum = 0.0f;
    if (i < count)
        for (u32 part = share; part < part_count; part += 8) sum += parts[(u64)part * count + i];
    sums[share][lane] = sum;
    __syncthreads();
    if (share == 0 && i < count) {
#pragma unroll
        for (u32 s = 1; s < 8; s++) sum += sums[s][lane];
        sum *= finish.alpha;
        if (finish.beta != 0.0f) sum += finish.beta * to[i];
        if (finish.bias_side != 0) sum += finish.bias[i / inner % channels];
        to[i] = finish.activated(sum);
    }
}

// x in place by leaky ReLU: 8 bytes a number.
KERNEL leaky_relu(float *x, u64 count, float slope) {
    for (u64 i = first(); i < count; i += step()) x[i] = x[i] > 0.0f ? x[i] : x[i] * slope;
}
