// Rows picked, joined and numbered by index.
#include "join.cuh"

// out[o, k, i] = x[o, indices[k], i], rows of `inner` units of 1 to 16 bytes; all bits set (NaN, -1) where the index is outside.
// Bytes: the result twice, and 8 an index for every unit, which the nearest cache answers.
template <typename T>
__device__ __forceinline__ void select_rows(const T *x, const i64 *indices, T *out, u64 extent, u32 count, u32 inner, u32 units, T absent) {
    for (u64 i = first(); i < units; i += step()) {
        u32 row = (u32)i / inner, column = (u32)i - row * inner, o = row / count;
        u64 index = (u64)indices[row - o * count];
        out[i] = index < extent ? x[(o * extent + index) * inner + column] : absent;
    }
}
#define SELECT(size, type, absent) \
    KERNEL index_select_##size(const type *x, const i64 *indices, type *out, u64 extent, u32 count, u32 inner, u32 units) { \
        select_rows<type>(x, indices, out, extent, count, inner, units, absent); \
    }
SELECT(1, u8, 0xff)
SELECT(2, u16, 0xffff)
SELECT(4, u32, ALL)
SELECT(8, u64, ~0ull)
SELECT(16, uint4, make_uint4(ALL, ALL, ALL, ALL))

// Where indices lead to the same place, the order decides: a key is the place in its high half, the number of the index in its low half, so keys differ and their order is the one that sums keep.
enum : u32 { SEGMENT = 1024, OUTSIDE = 0xffffffffu };

// The keys of every 1024 indices, in order (a bitonic net in shared memory; `size` is a power of two that holds a segment). An index that is outside comes last.
// The place is that of the layout's first array, to which the index adds `stride`; the second is the array of indices. Bytes: 16 an index.
KERNEL sort_segments(Strided<2> layout, const i64 *indices, u64 *keys, i64 stride, u64 extent, u32 count, u32 size) {
    __shared__ u64 segment[SEGMENT];
    u32 start = blockIdx.x * SEGMENT;
    for (u32 i = threadIdx.x; i < size; i += blockDim.x) {
        u64 key = ~0ull;
        if (start + i < count) {
            i64 at[2];
            layout.offsets(start + i, at);
            i64 index = indices[at[1]];
            key = (u64)((u64)index < extent ? (u32)(at[0] + index * stride) : OUTSIDE) << 32 | (start + i);
        }
        segment[i] = key;
    }
    for (u32 width = 2; width <= size; width *= 2) {
        for (u32 apart = width / 2; apart > 0; apart /= 2) {
            __syncthreads();
            for (u32 pair = threadIdx.x; pair < size / 2; pair += blockDim.x) {
                u32 low = 2 * pair - (pair & (apart - 1)), high = low + apart;
                u64 a = segment[low], b = segment[high];
                bool rising = (low & width) == 0;
                if ((a > b) == rising) {
                    segment[low] = b;
                    segment[high] = a;
                }
            }
        }
    }
    __syncthreads();
    for (u32 i = threadIdx.x; i < size && start + i < count; i += blockDim.x) keys[start + i] = segment[i];
}

// Sorted segments merged: a key's place is the number of smaller ones in all segments, found by halving. Operations: count²/1024 · 10 looks, most of them answered by the caches.
KERNEL merge_segments(const u64 *keys, u64 *merged, u32 count) {
    for (u64 i = first(); i < count; i += step()) {
        u64 key = keys[i];
        u32 own = (u32)i / SEGMENT, place = (u32)i % SEGMENT;
        for (u32 s = 0; s <= (count - 1) / SEGMENT; s++) {
            if (s == own) continue;
            u32 low = s * SEGMENT, left = min(SEGMENT, count - low), start = low;
            while (left > 0) {
                u32 half = left / 2;
                bool smaller = keys[low + half] < key;
                low = smaller ? low + half + 1 : low;
                left = smaller ? left - half - 1 : half;
            }
            place += low - start;
        }
        merged[place] = key;
    }
}

// out[o, place, i] joins source[o, k, i] for sorted keys (place, k): the first key of a place takes the others with it, in order. Columns are the pairs (o, i).
// Bytes: the source once, the touched places of the result twice, a key for every number of the source, which the nearest cache answers.
template <typename T, typename Rule>
__device__ __forceinline__ void join_rows(const u64 *keys, const T *source, T *out, u64 extent, u32 count, u32 inner, u32 columns) {
    u64 all = (u64)count * columns;
    for (u64 i = first(); i < all; i += step()) {
        u32 p = (u32)(i / columns), column = (u32)(i - (u64)p * columns), place = (u32)(keys[p] >> 32);
        if (place == OUTSIDE || (p > 0 && (u32)(keys[p - 1] >> 32) == place)) continue;
        u32 o = column / inner;
        u64 within = column - o * inner, from = (u64)o * count;
        T *to = out + (o * extent + place) * inner + within;
        T value = *to;
        bool more = true;
        while (more) {
            // Several numbers are on their way at once; they are joined one after the other.
            T put[4];
            bool there[4];
#pragma unroll
            for (u32 k = 0; k < 4; k++) {
                u64 key = p + k < count ? keys[p + k] : ~0ull;
                there[k] = (u32)(key >> 32) == place;
                put[k] = there[k] ? source[(from + (u32)key) * inner + within] : T(0);
            }
#pragma unroll
            for (u32 k = 0; k < 4; k++) value = there[k] ? Rule::join(value, put[k]) : value;
            more = there[3];
            p += 4;
        }
        *to = value;
    }
}
#define JOIN(name, type, rule) \
    KERNEL join_rows_##name(const u64 *keys, const type *source, type *out, u64 extent, u32 count, u32 inner, u32 columns) { \
        join_rows<type, rule>(keys, source, out, extent, count, inner, columns); \
    }
EVERY_JOIN(JOIN)

// out[k, c] = one where indices[k] = c, else 0; all bits set where the index is outside. Bytes: the result, 8 an index.
template <typename T>
__device__ __forceinline__ void one_hot(const i64 *indices, T *out, T one, u32 classes, u32 count) {
    for (u64 i = first(); i < count; i += step()) {
        u32 k = (u32)i / classes, c = (u32)i - k * classes;
        u64 index = (u64)indices[k];
        out[i] = index == c ? one : index < classes ? T(0) : (T)~0ull;
    }
}
#define ONE_HOT(size, type) \
    KERNEL one_hot_##size(const i64 *indices, type *out, u64 one, u32 classes, u32 count) { one_hot<type>(indices, out, (type)one, classes, count); }
ONE_HOT(1, u8)
ONE_HOT(2, u16)
ONE_HOT(4, u32)
ONE_HOT(8, u64)

// `Indices` of ops/index/cuda.rs.
struct Indices {
    const i64 *arrays[MAX_RANK];
    i64 extents[MAX_RANK];
};

// The row-major position that several indices name; negative ones count from the end; -1 where one is outside. Bytes: 8 an index and position.
KERNEL flat_positions(Strided<MAX_RANK> layout, Indices indices, i64 *out, u32 arrays, u32 count) {
    for (u64 i = first(); i < count; i += step()) {
        i64 at[MAX_RANK], flat = 0;
        bool good = true;
        layout.offsets((u32)i, at);
#pragma unroll
        for (u32 k = 0; k < MAX_RANK; k++) {
            if (k >= arrays) break;
            i64 index = indices.arrays[k][at[k]], extent = indices.extents[k];
            good &= index >= -extent && index < extent;
            flat = flat * extent + (index < 0 ? index + extent : index);
        }
        out[i] = good ? flat : -1;
    }
}
