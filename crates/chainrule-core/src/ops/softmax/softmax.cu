// Softmax, its logarithm, and what undoes them: forward reads a row twice (mostly from a cache the second time) and writes it once, with two exponentials a number; backward reads both inputs twice and writes one row.
#include "rows.cuh"

enum Form { SOFTMAX, LOG_SOFTMAX, SOFTMAX_BACKWARD, LOG_SOFTMAX_BACKWARD };
__device__ constexpr bool is_backward(int form) { return form == SOFTMAX_BACKWARD || form == LOG_SOFTMAX_BACKWARD; }

template <bool BACKWARD> struct Found { typedef Peak Type; };
template <> struct Found<true> { typedef Total Type; };

// What a number adds: x forward, y and dy backward.
template <int FORM>
__device__ __forceinline__ void gather(Peak &found, float x, float) { found.add(x); }
template <int FORM>
__device__ __forceinline__ void gather(Total &found, float y, float dy) { found.sum += FORM == SOFTMAX_BACKWARD ? (double)y * (double)dy : (double)dy; }

// What a row needs of it to be written: the largest number, and the factor, logarithm or sum.
struct Scale {
    float most, number;
};
template <int FORM>
__device__ __forceinline__ Scale scale(const Peak &found) { return {found.most, (float)(FORM == SOFTMAX ? 1.0 / found.total() : log(found.total()))}; }
template <int FORM>
__device__ __forceinline__ Scale scale(const Total &found) { return {0.0f, (float)found.sum}; }

template <int FORM>
__device__ __forceinline__ float result(float a, float b, Scale scale) {
    switch (FORM) {
    case SOFTMAX: return expf(a - scale.most) * scale.number;
    case LOG_SOFTMAX: return a - scale.most - scale.number;
    case SOFTMAX_BACKWARD: return a * (b - scale.number);
    default: return fmaf(-expf(a), scale.number, b);
    }
}

// Dense rows. With `aligned`, they are multiples of four and all begin on 16 bytes.
template <int FORM, u32 LANES>
__device__ __forceinline__ void dense_rows(const float *a, const float *b, float *to, u64 rows, u32 length, u32 aligned) {
    typedef typename Found<is_backward(FORM)>::Type Finding;
    __shared__ Finding scratch[LANES == BLOCK ? WARP : 1];
    each_row<LANES>(rows, [=](u64 row, u32 thread, u32 threads) {
        u64 start = row * length;
        u32 count = row < rows ? length : 0;
        Finding found = Finding::none();
        auto numbers = [=](u32 at, u32 left, float(&x)[4], float(&y)[4]) {
            load_four(a + start + at, aligned, left, x);
            if (is_backward(FORM)) load_four(b + start + at, aligned, left, y);
        };
        each_four(count, thread, threads, [&](u32 at, u32 left) {
            float x[4], y[4];
            numbers(at, left, x, y);
#pragma unroll
            for (u32 i = 0; i < 4; i++) {
                if (i < left) gather<FORM>(found, x[i], is_backward(FORM) ? y[i] : 0.0f);
            }
        });
        Scale by = scale<FORM>(together<LANES>(found, scratch));
        each_four(count, thread, threads, [&](u32 at, u32 left) {
            float x[4], y[4], out[4];
            numbers(at, left, x, y);
#pragma unroll
            for (u32 i = 0; i < 4; i++) out[i] = result<FORM>(x[i], is_backward(FORM) ? y[i] : 0.0f, by);
            store_four(to + start + at, aligned, left, out);
        });
    });
}

// Rows whose numbers are `inner` apart: 32 neighbouring ones by 8 warps, of which each takes every eighth number.
template <int FORM>
__device__ __forceinline__ void columns(const float *a, const float *b, float *to, u64 rows, u32 length, u32 inner) {
    typedef typename Found<is_backward(FORM)>::Type Finding;
    __shared__ Finding parts[8][WARP];
    u64 row = (u64)blockIdx.x * WARP + threadIdx.x, outer = row / inner, start = outer * length * inner + (row - outer * inner);
    u32 count = row < rows ? length : 0;
    Finding found = Finding::none();
#pragma unroll 4
    for (u32 at = threadIdx.y; at < count; at += 8) {
        u64 place = start + (u64)at * inner;
        gather<FORM>(found, a[place], is_backward(FORM) ? b[place] : 0.0f);
    }
    parts[threadIdx.y][threadIdx.x] = found;
    __syncthreads();
    found = parts[0][threadIdx.x];
#pragma unroll
    for (int part = 1; part < 8; part++) found.meet(parts[part][threadIdx.x]);
    Scale by = scale<FORM>(found);
#pragma unroll 4
    for (u32 at = threadIdx.y; at < count; at += 8) {
        u64 place = start + (u64)at * inner;
        to[place] = result<FORM>(a[place], is_backward(FORM) ? b[place] : 0.0f, by);
    }
}

#define KERNELS(name, FORM)                                                                                                                                                     \
    KERNEL name##_octets(const float *a, const float *b, float *to, u64 rows, u32 length, u32 aligned) { dense_rows<FORM, OCTET>(a, b, to, rows, length, aligned); }            \
    KERNEL name##_warps(const float *a, const float *b, float *to, u64 rows, u32 length, u32 aligned) { dense_rows<FORM, WARP>(a, b, to, rows, length, aligned); }              \
    KERNEL name##_blocks(const float *a, const float *b, float *to, u64 rows, u32 length, u32 aligned) { dense_rows<FORM, BLOCK>(a, b, to, rows, length, aligned); }            \
    KERNEL name##_columns(const float *a, const float *b, float *to, u64 rows, u32 length, u32 inner) { columns<FORM>(a, b, to, rows, length, inner); }
KERNELS(softmax, SOFTMAX)
KERNELS(log_softmax, LOG_SOFTMAX)
KERNELS(softmax_backward, SOFTMAX_BACKWARD)
KERNELS(log_softmax_backward, LOG_SOFTMAX_BACKWARD)
