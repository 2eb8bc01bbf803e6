// Arrays side by side.
#include "prelude.cuh"

enum : u32 { MOST = 16 };

// Dense parts of a row of the result; `Parts` of ops/join/cuda.rs.
struct Parts {
    u64 from[MOST];
    // Where each part ends, counted from where the first begins.
    u32 ends[MOST];
    u32 count;
};

// out[o, start + c] = the part that has column c, at [o, c - its start], in units of 1 to 16 bytes; rows of the result are `stride` units apart. Bytes: all parts twice.
template <typename T>
__device__ __forceinline__ void concatenate(const Parts &parts, T *out, u32 start, u32 stride, u32 columns, u32 units) {
    for (u64 i = first(); i < units; i += step()) {
        u32 o = (u32)i / columns, c = (u32)i - o * columns, before = 0, end = 0;
        u64 from = 0;
#pragma unroll
        for (u32 k = 0; k < MOST; k++) {
            if (k < parts.count && c >= end) {
                before = end;
                end = parts.ends[k];
                from = parts.from[k];
            }
        }
        out[(u64)o * stride + start + c] = ((const T *)from)[(u64)o * (end - before) + c - before];
    }
}
#define CONCATENATE(size, type) \
    KERNEL concatenate_##size(Parts parts, type *out, u32 start, u32 stride, u32 columns, u32 units) { concatenate<type>(parts, out, start, stride, columns, units); }
CONCATENATE(1, u8)
CONCATENATE(2, u16)
CONCATENATE(4, u32)
CONCATENATE(8, u64)
CONCATENATE(16, uint4)
