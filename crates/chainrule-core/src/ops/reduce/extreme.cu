// The largest or smallest number of each row and its place: every number is read once, and 4 or 8 + 8 bytes a row are written.
#include "prelude.cuh"

// Where rows begin, and how far apart their numbers are.
struct Rows {
    Strided<1> kept;
    i64 stride;
    u32 rows, extent, smallest;

    __device__ __forceinline__ i64 start(u64 row) const {
        i64 at[1];
        kept.offsets((u32)row, at);
        return at[0];
    }
};

template <typename T>
struct Best {
    T value;
    u32 place;

    // The better one of two; NaN is better than all, and of equals the first counts.
    __device__ __forceinline__ void meet(const Best &other, u32 smallest) {
        bool better = smallest ? other.value < value : other.value > value;
        bool nan = value != value, other_nan = other.value != other.value;
        bool equal = value == other.value || (nan && other_nan);
        if ((better && !nan) || (other_nan && !nan) || (equal && other.place < place)) *this = other;
    }
    __device__ __forceinline__ void meet_lanes(u32 smallest) {
#pragma unroll
        for (int lanes = 16; lanes > 0; lanes >>= 1) {
            T value_there = __shfl_xor_sync(ALL, value, lanes);
            u32 place_there = __shfl_xor_sync(ALL, place, lanes);
            meet({value_there, place_there}, smallest);
        }
    }
};

// The best of numbers start, start + stride, …; where there is none, the row's first, which does no harm.
template <typename T>
__device__ __forceinline__ Best<T> best_of(const T *from, const Rows &rows, u64 start, u32 stride) {
    Best<T> best = {from[0], 0};
    for (u64 at = start; at < rows.extent; at += stride) best.meet({from[at * rows.stride], (u32)at}, rows.smallest);
    return best;
}

// A warp a row.
template <typename T>
__device__ __forceinline__ void by_warps(const Rows &rows, const T *x, T *values, i64 *places) {
    for (u64 row = first() / WARP; row < rows.rows; row += step() / WARP) {
        Best<T> best = best_of(x + rows.start(row), rows, threadIdx.x % WARP, WARP);
        best.meet_lanes(rows.smallest);
        if (threadIdx.x % WARP == 0) values[row] = best.value, places[row] = best.place;
    }
}
// A block a row.
template <typename T>
__device__ __forceinline__ void by_blocks(const Rows &rows, const T *x, T *values, i64 *places) {
    __shared__ T found[WARP];
    __shared__ u32 found_at[WARP];
    u32 lane = threadIdx.x % WARP, warps = blockDim.x / WARP;
    u64 row = blockIdx.x;
    Best<T> best = best_of(x + rows.start(row), rows, threadIdx.x, blockDim.x);
    best.meet_lanes(rows.smallest);
    if (lane == 0) found[threadIdx.x / WARP] = best.value, found_at[threadIdx.x / WARP] = best.place;
    __syncthreads();
    u32 from = lane < warps ? lane : 0;
    best = {found[from], found_at[from]};
    best.meet_lanes(rows.smallest);
    if (threadIdx.x == 0) values[row] = best.value, places[row] = best.place;
}
// Rows that interleave: a thread a row, which leaves a GPU idle where they are few and long; classes and windows are many and short.
template <typename T>
__device__ __forceinline__ void by_columns(const Rows &rows, const T *x, T *values, i64 *places) {
    for (u64 row = first(); row < rows.rows; row += step()) {
        Best<T> best = best_of(x + rows.start(row), rows, 0, 1);
        values[row] = best.value, places[row] = best.place;
    }
}

#define EXTREME(suffix, T)                                                                                          \
    KERNEL extreme_warps_##suffix(Rows rows, const T *x, T *values, i64 *places) { by_warps(rows, x, values, places); }     \
    KERNEL extreme_blocks_##suffix(Rows rows, const T *x, T *values, i64 *places) { by_blocks(rows, x, values, places); }   \
    KERNEL extreme_columns_##suffix(Rows rows, const T *x, T *values, i64 *places) { by_columns(rows, x, values, places); }
EXTREME(f32, float)
EXTREME(i64, i64)
