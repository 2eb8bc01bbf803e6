// How numbers that are put meet those that are there: `Join` of ops/gather.rs.
#pragma once
#include "prelude.cuh"

struct Write {
    template <typename T>
    static __device__ __forceinline__ T join(T, T put) { return put; }
};
struct Sum {
    template <typename T>
    static __device__ __forceinline__ T join(T old, T put) { return old + put; }
};
struct Product {
    template <typename T>
    static __device__ __forceinline__ T join(T old, T put) { return old * put; }
};
// NaN where either is.
struct Max {
    template <typename T>
    static __device__ __forceinline__ T join(T old, T put) { return (old != old || !(put > old || put != put)) ? old : put; }
};
struct Min {
    template <typename T>
    static __device__ __forceinline__ T join(T old, T put) { return (old != old || !(put < old || put != put)) ? old : put; }
};

// KERNELS(name, type, rule) for each way of joining; what is only moved is moved by its size.
#define EVERY_JOIN(KERNELS) \
    KERNELS(write_1, u8, Write) \
    KERNELS(write_2, u16, Write) \
    KERNELS(write_4, u32, Write) \
    KERNELS(write_8, u64, Write) \
    KERNELS(sum_f32, float, Sum) \
    KERNELS(product_f32, float, Product) \
    KERNELS(max_f32, float, Max) \
    KERNELS(min_f32, float, Min) \
    KERNELS(sum_i64, i64, Sum) \
    KERNELS(product_i64, i64, Product) \
    KERNELS(max_i64, i64, Max) \
    KERNELS(min_i64, i64, Min)
