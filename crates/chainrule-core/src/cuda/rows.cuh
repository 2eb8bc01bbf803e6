// Rows that groups of threads reduce and write: 8 lanes, a warp, or a block a row.
#pragma once
#include "map.cuh"

// Threads of a group; BLOCK stands for as many as a block has.
enum : u32 { OCTET = 8, BLOCK = 0 };

// Calls body(row, thread of the group, threads of the group) for rows in turn; a block has one row. All threads of a warp call it together, so that the row may lie behind the last: it is empty then.
template <u32 LANES, typename F>
__device__ __forceinline__ void each_row(u64 rows, F body) {
    if (LANES == BLOCK) {
        body(blockIdx.x, threadIdx.x, blockDim.x);
    } else {
        u32 lane = threadIdx.x % WARP, together = WARP / (LANES ? LANES : 1);
        for (u64 row = first() / WARP * together; row < rows; row += step() / WARP * together) body(row + lane / (LANES ? LANES : 1), lane % (LANES ? LANES : 1), LANES);
    }
}

// What a group has found together, for each of its threads. M has `meet`, `shuffled` and `none`; `scratch` holds one for each warp of a block.
template <u32 LANES, typename M>
__device__ __forceinline__ M together(M mine, M *scratch) {
#pragma unroll
    for (u32 lanes = (LANES == BLOCK ? WARP : LANES) / 2; lanes > 0; lanes /= 2) mine.meet(mine.shuffled(lanes));
    if (LANES != BLOCK) return mine;
    u32 lane = threadIdx.x % WARP, warps = blockDim.x / WARP;
    __syncthreads(); // an earlier use of the scratch is over
    if (lane == 0) scratch[threadIdx.x / WARP] = mine;
    __syncthreads();
    mine = lane < warps ? scratch[lane] : M::none();
#pragma unroll
    for (u32 lanes = WARP / 2; lanes > 0; lanes /= 2) mine.meet(mine.shuffled(lanes));
    return mine;
}

// Calls body(place, numbers left from there on) for every fourth place of a row, shared among a group.
template <typename F>
__device__ __forceinline__ void each_four(u32 length, u32 thread, u32 threads, F body) {
    for (u32 at = 4 * thread; at < length; at += 4 * threads) body(at, length - at);
}

// A sum.
struct Total {
    double sum;
    static __device__ __forceinline__ Total none() { return {0.0}; }
    __device__ __forceinline__ void meet(const Total &other) { sum += other.sum; }
    __device__ __forceinline__ Total shuffled(u32 lanes) const { return {__shfl_xor_sync(ALL, sum, lanes)}; }
};

// The largest number, and the sum of exp(x - largest): found in one walk, in which the sum is scaled anew with each new largest number.
struct Peak {
    float most;
    double sum;
    static __device__ __forceinline__ Peak none() { return {-INFINITY, 0.0}; }
    __device__ __forceinline__ void add(float x) {
        if (x > most || x != x) {
            sum = sum * (double)expf(most - x) + 1.0;
            most = x;
        } else if (x != -INFINITY) {
            sum += (double)expf(x - most);
        }
    }
    __device__ __forceinline__ void meet(const Peak &other) {
        float larger_one = larger(most, other.most);
        double mine = most == -INFINITY ? 0.0 : sum * (double)expf(most - larger_one);
        sum = mine + (other.most == -INFINITY ? 0.0 : other.sum * (double)expf(other.most - larger_one));
        most = larger_one;
    }
    __device__ __forceinline__ Peak shuffled(u32 lanes) const { return {__shfl_xor_sync(ALL, most, lanes), __shfl_xor_sync(ALL, sum, lanes)}; }
    // NaN for a row with an infinity as its largest number, as on the CPU.
    __device__ __forceinline__ double total() const { return fabsf(most) == INFINITY ? (double)NAN : sum; }
};
