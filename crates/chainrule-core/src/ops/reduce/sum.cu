// Sums over any dimensions: every number is read once, and added once; results, and for long sums partial ones of 8 bytes, are written.
//
// A sum is a row: `kept` says where it begins, `reduced` where its numbers lie from there. It may be cut in parts, whose sums a second launch adds up. Threads add at most 128 numbers in the element type before they go on in double,
// so that the rounding error does not grow with the length; all trees are fixed by the shape.
#include "prelude.cuh"

// The type that a few numbers are added in, and the type of what follows.
template <typename T> struct Sum { typedef i64 Few, Many, Result; };
template <> struct Sum<float> { typedef float Few, Result; typedef double Many; };

// The same sums are made of `length` numbers, cut in `parts` of `part`.
struct Cut {
    u32 rows, length, parts, part;
};

__device__ __forceinline__ i64 place(const Strided<1> &layout, u32 index) {
    if (layout.rank <= 1) return index * layout.strides[0][0];
    i64 at[1];
    layout.offsets(index, at);
    return at[0];
}

// The sum of numbers start, start + stride, … below end, over `from`.
template <typename T>
__device__ __forceinline__ typename Sum<T>::Many few_by_few(const T *from, const Strided<1> &reduced, u64 start, u64 end, u32 stride) {
    typename Sum<T>::Many total = 0;
    for (u64 at = start; at < end;) {
        typename Sum<T>::Few few[4] = {0, 0, 0, 0};
        for (int round = 0; round < 16 && at < end; round++, at += 4 * stride) {
#pragma unroll
            for (u32 k = 0; k < 4; k++) {
                if (at + k * stride < end) few[k] += from[place(reduced, (u32)(at + k * stride))];
            }
        }
        total += (few[0] + few[1]) + (few[2] + few[3]);
    }
    return total;
}
// The same four at a time, from 16 bytes on.
__device__ __forceinline__ double fours(const float *from, const Strided<1> &reduced, u64 start, u64 end, u32 stride) {
    double total = 0;
    for (u64 at = 4 * start; at < end;) {
        float4 few = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
        for (int round = 0; round < 8 && at < end; round++, at += 16 * stride) {
            float4 x[4];
#pragma unroll
            for (u32 k = 0; k < 4; k++) {
                u64 next = at + 4 * k * stride;
                x[k] = next < end ? *(const float4 *)(from + place(reduced, (u32)next)) : make_float4(0.0f, 0.0f, 0.0f, 0.0f);
            }
#pragma unroll
            for (int k = 0; k < 4; k++) few.x += x[k].x, few.y += x[k].y, few.z += x[k].z, few.w += x[k].w;
        }
        total += (few.x + few.y) + (few.z + few.w);
    }
    return total;
}
template <typename T>
__device__ __forceinline__ typename Sum<T>::Many some(const T *from, const Strided<1> &reduced, u64 start, u64 end, u64 thread, u32 stride, u32) {
    return few_by_few(from, reduced, start + thread, end, stride);
}
template <>
__device__ __forceinline__ double some<float>(const float *from, const Strided<1> &reduced, u64 start, u64 end, u64 thread, u32 stride, u32 by_fours) {
    return by_fours ? fours(from, reduced, start / 4 + thread, end, stride) : few_by_few(from, reduced, start + thread, end, stride);
}

template <typename T>
__device__ __forceinline__ void finish(typename Sum<T>::Many sum, u64 task, const Cut &cut, typename Sum<T>::Many *partial, typename Sum<T>::Result *to) {
    if (cut.parts == 1) to[task] = (typename Sum<T>::Result)sum;
    else partial[task] = sum;
}

// A warp for each part of a row.
template <typename T>
__device__ __forceinline__ void by_warps(const Strided<1> &kept, const Strided<1> &reduced, const T *x, typename Sum<T>::Many *partial, typename Sum<T>::Result *to, const Cut &cut, u32 by_fours) {
    for (u64 task = first() / WARP; task < (u64)cut.rows * cut.parts; task += step() / WARP) {
        u64 row = task / cut.parts, start = (task - row * cut.parts) * cut.part, end = start + cut.part < cut.length ? start + cut.part : cut.length;
        auto sum = warp_sum(some<T>(x + place(kept, row), reduced, start, end, threadIdx.x % WARP, WARP, by_fours));
        if (threadIdx.x % WARP == 0) finish<T>(sum, task, cut, partial, to);
    }
}
// A block for each part of a row.
template <typename T>
__device__ __forceinline__ void by_blocks(const Strided<1> &kept, const Strided<1> &reduced, const T *x, typename Sum<T>::Many *partial, typename Sum<T>::Result *to, const Cut &cut, u32 by_fours) {
    __shared__ typename Sum<T>::Many scratch[WARP];
    u64 task = blockIdx.x, row = task / cut.parts, start = (task - row * cut.parts) * cut.part, end = start + cut.part < cut.length ? start + cut.part : cut.length;
    auto sum = block_sum(some<T>(x + place(kept, row), reduced, start, end, threadIdx.x, blockDim.x, by_fours), scratch);
    if (threadIdx.x == 0) finish<T>(sum, task, cut, partial, to);
}
// 32 neighbouring rows whose numbers interleave, by 32 warps: lanes are rows, warps take numbers in turn.
template <typename T>
__device__ __forceinline__ void by_columns(const Strided<1> &kept, const Strided<1> &reduced, const T *x, typename Sum<T>::Many *partial, typename Sum<T>::Result *to, const Cut &cut) {
    __shared__ typename Sum<T>::Many sums[WARP][WARP + 1];
    u64 bundles = (cut.rows + WARP - 1) / WARP, part = blockIdx.x / bundles, first_row = (blockIdx.x - part * bundles) * WARP, row = first_row + threadIdx.x;
    u64 start = part * cut.part, end = start + cut.part < cut.length ? start + cut.part : cut.length;
    typename Sum<T>::Many sum = 0;
    if (row < cut.rows) sum = few_by_few(x + place(kept, row), reduced, start + threadIdx.y, end, WARP);
    sums[threadIdx.y][threadIdx.x] = sum;
    __syncthreads();
    sum = warp_sum(sums[threadIdx.x][threadIdx.y]);
    row = first_row + threadIdx.y;
    if (threadIdx.x == 0 && row < cut.rows) finish<T>(sum, row * cut.parts + part, cut, partial, to);
}

#define SUM(suffix, T)                                                                                                                            \
    KERNEL sum_warps_##suffix(Strided<1> kept, Strided<1> reduced, const T *x, Sum<T>::Many *partial, Sum<T>::Result *to, Cut cut, u32 fours) {     \
        by_warps<T>(kept, reduced, x, partial, to, cut, fours);                                                                                  \
    }                                                                                                                                            \
    KERNEL sum_blocks_##suffix(Strided<1> kept, Strided<1> reduced, const T *x, Sum<T>::Many *partial, Sum<T>::Result *to, Cut cut, u32 fours) {    \
        by_blocks<T>(kept, reduced, x, partial, to, cut, fours);                                                                                 \
    }                                                                                                                                            \
    KERNEL sum_columns_##suffix(Strided<1> kept, Strided<1> reduced, const T *x, Sum<T>::Many *partial, Sum<T>::Result *to, Cut cut, u32) {         \
        by_columns<T>(kept, reduced, x, partial, to, cut);                                                                                       \
    }
SUM(f32, float)
SUM(i64, i64)
SUM(u8, u8)

// The sums of the parts of each row, a warp a row.
template <typename M, typename R>
__device__ __forceinline__ void sum_parts(const M *partial, R *to, u32 rows, u32 parts) {
    for (u64 row = first() / WARP; row < rows; row += step() / WARP) {
        M sum = 0;
        for (u64 part = threadIdx.x % WARP; part < parts; part += WARP) sum += partial[row * parts + part];
        sum = warp_sum(sum);
        if (threadIdx.x % WARP == 0) to[row] = (R)sum;
    }
}
KERNEL sum_parts_f32(const double *partial, float *to, u32 rows, u32 parts) { sum_parts(partial, to, rows, parts); }
KERNEL sum_parts_i64(const i64 *partial, i64 *to, u32 rows, u32 parts) { sum_parts(partial, to, rows, parts); }
