// Functions of two numbers, comparisons and choices, with broadcasting: the bytes of both operands and of the result, each number of a broadcast operand mostly once; one operation an element but for pow and the like.
#include "map.cuh"
#include "real.cuh"

// An array, or a value that stands for a whole one.
template <typename T>
struct Operand {
    const T *at;
    T value;
    __device__ __forceinline__ T operator[](i64 offset) const { return at ? at[offset] : value; }
};

// An operand as rows: `outer` from one row to the next; `inner` from one number to the next, 0 or 1.
struct Steps {
    i64 outer[2];
    u32 inner[2];
};

__device__ __forceinline__ void load_row(const Operand<float> &from, i64 row, bool moves, u64 column, bool whole, u64 left, float (&x)[4]) {
    if (moves) return load_four(from.at + row + column, whole, left, x);
    float value = from[row];
    x[0] = x[1] = x[2] = x[3] = value;
}

// A dense result of rows of `width`. With `whole`, rows are multiples of four and all begin on 16 bytes; otherwise four numbers that a thread takes may lie in two rows or more, and it takes them one by one.
template <typename F>
__device__ __forceinline__ void rows(const Operand<float> &a, const Operand<float> &b, const Steps &steps, float *to, u64 count, u64 width, u32 whole, F f) {
    for (u64 at = 4 * first(); at < count; at += 4 * step()) {
        u64 row = width == count ? 0 : (u32)at / (u32)width, column = at - row * width, left = count - at;
        float x[4], y[4], out[4];
        if (whole || column + 4 <= width) {
            bool four = whole && left >= 4;
            load_row(a, row * steps.outer[0], steps.inner[0], column, four, left, x);
            load_row(b, row * steps.outer[1], steps.inner[1], column, four, left, y);
        } else {
#pragma unroll
            for (int i = 0; i < 4; i++) {
                x[i] = y[i] = 0.0f;
                if (i >= left) continue;
                if (column == width) row++, column = 0;
                x[i] = a[row * steps.outer[0] + column * steps.inner[0]];
                y[i] = b[row * steps.outer[1] + column * steps.inner[1]];
                column++;
            }
        }
#pragma unroll
        for (int i = 0; i < 4; i++) out[i] = f(x[i], y[i]);
        store_four(to + at, whole && left >= 4, left, out);
    }
}

// Any strides, one number a thread at a time; long formulas stand here once.
template <typename T, typename O, typename F>
__device__ __forceinline__ void strided(const Strided<2> &layout, const Operand<T> &a, const Operand<T> &b, O *to, u32 count, F f) {
#pragma unroll 1
    for (u64 i = first(); i < count; i += step()) {
        i64 at[2];
        layout.offsets((u32)i, at);
        to[i] = f(a[at[0]], b[at[1]]);
    }
}

#define ROWS(name, value)                                                                                                              \
    KERNEL name##_rows(Operand<float> a, Operand<float> b, Steps steps, float *to, u64 count, u64 width, u32 whole) {                  \
        rows(a, b, steps, to, count, width, whole, [](float x, float y) { return value; });                                            \
    }
#define STRIDED(name, type, suffix, result, value)                                                                                     \
    KERNEL name##_##suffix(Strided<2> layout, Operand<type> a, Operand<type> b, result *to, u32 count) {                               \
        strided(layout, a, b, to, count, [](type x, type y) -> result { return value; });                                              \
    }
#define SHORT(name, value) ROWS(name, value) STRIDED(name, float, f32, float, value)
#define LONG(name, value) STRIDED(name, float, f32, float, value)
#define INTEGER(name, value) STRIDED(name, i64, i64, i64, value)
#define COMPARISON(name, operator)                                                                                                     \
    STRIDED(name, float, f32, u8, x operator y) STRIDED(name, i64, i64, u8, x operator y) STRIDED(name, u8, u8, u8, x operator y)

SHORT(add, x + y)
SHORT(sub, x - y)
SHORT(mul, x * y)
SHORT(div, x / y)
SHORT(maximum, larger(x, y))
SHORT(minimum, smaller(x, y))
LONG(pow, powf(x, y))
LONG(atan2, atan2f(x, y))
LONG(hypot, hypotf(x, y))
LONG(fmod, fmodf(x, y))
__device__ __forceinline__ float remainder_of(float x, float y) {
    float rest = fmodf(x, y);
    return rest != 0.0f && (rest < 0.0f) != (y < 0.0f) ? rest + y : rest;
}
LONG(remainder, remainder_of(x, y))
// Equal infinities have no distance.
LONG(logaddexp, x == y ? x + 0.6931471805599453f : fmaxf(x, y) + log1pf(expf(-fabsf(x - y))))

// Integers wrap around.
INTEGER(add, (i64)((u64)x + (u64)y))
INTEGER(sub, (i64)((u64)x - (u64)y))
INTEGER(mul, (i64)((u64)x * (u64)y))
INTEGER(maximum, x > y ? x : y)
INTEGER(minimum, x < y ? x : y)

COMPARISON(equal, ==)
COMPARISON(not_equal, !=)
COMPARISON(less, <)
COMPARISON(less_equal, <=)

// condition ? a : b, by the size of an element.
template <typename T>
__device__ __forceinline__ void choose(const Strided<3> &layout, const Operand<u8> &condition, const Operand<T> &a, const Operand<T> &b, T *to, u32 count) {
    for (u64 i = first(); i < count; i += step()) {
        i64 at[3];
        layout.offsets((u32)i, at);
        to[i] = condition[at[0]] ? a[at[1]] : b[at[2]];
    }
}
#define CHOICE(size, type)                                                                                                             \
    KERNEL where_##size(Strided<3> layout, Operand<u8> condition, Operand<type> a, Operand<type> b, type *to, u32 count) {             \
        choose(layout, condition, a, b, to, count);                                                                                    \
    }
CHOICE(1, u8)
CHOICE(2, u16)
CHOICE(4, u32)
CHOICE(8, u64)
