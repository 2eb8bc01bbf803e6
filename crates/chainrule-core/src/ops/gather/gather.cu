// Elements picked and put by an index each.
#include "join.cuh"

// out[i] = x[place + indices[..] · stride]; all bits set (NaN, -1) where the index is outside. Bytes: the result, what is read of x (up to a sector a number), 8 an index.
template <typename T>
__device__ __forceinline__ void gather(const Strided<2> &layout, const T *x, const i64 *indices, T *out, i64 stride, u64 extent, u32 count) {
    for (u64 i = first(); i < count; i += step()) {
        i64 at[2];
        layout.offsets((u32)i, at);
        i64 index = indices[at[1]];
        out[i] = (u64)index < extent ? x[at[0] + index * stride] : (T)~0ull;
    }
}
#define GATHER(size, type) \
    KERNEL gather_##size(Strided<2> layout, const type *x, const i64 *indices, type *out, i64 stride, u64 extent, u32 count) { \
        gather<type>(layout, x, indices, out, stride, extent, count); \
    }
GATHER(1, u8)
GATHER(2, u16)
GATHER(4, u32)
GATHER(8, u64)

// The dimension that the indices are of: its length among the indices, and the strides of base, indices and source along it.
struct Along {
    u32 length;
    i64 strides[3];
};

// base[place + index · stride] joins the source, a line of indices each thread, in order: what meets in one place is in one line. Bytes: indices and source once, what is touched of the base twice.
template <typename T, typename Rule>
__device__ __forceinline__ void scatter_lines(const Strided<3> &layout, const Along &along, T *base, const i64 *indices, const T *source, u64 extent, u32 lines) {
    for (u64 i = first(); i < lines; i += step()) {
        i64 at[3];
        layout.offsets((u32)i, at);
#pragma unroll 1
        for (u32 k = 0; k < along.length; k++) {
            i64 index = indices[at[1] + k * along.strides[1]];
            if ((u64)index >= extent) continue;
            T *to = base + at[0] + index * along.strides[0];
            *to = Rule::join(*to, source[at[2] + k * along.strides[2]]);
        }
    }
}
#define SCATTER(name, type, rule) \
    KERNEL scatter_lines_##name(Strided<3> layout, Along along, type *base, const i64 *indices, const type *source, u64 extent, u32 lines) { \
        scatter_lines<type, rule>(layout, along, base, indices, source, extent, lines); \
    }
EVERY_JOIN(SCATTER)
