// How a convolution's window walks over images `[N, C, H, W]`, forward and back.
#pragma once
#include "tile.cuh"

// One axis of a convolution. `Axis` of ops/convolution/cuda.rs.
struct Axis {
    i32 input, output, kernel, stride, padding, dilation;
};

// One axis as a walk: position p of what is written reads place `p scale + t reach + shift` of the source, of `source` places, through tap `tap + t tap_every` of the kernel, and stands at `first + p every`.
struct Walk {
    i32 positions, first, every, taps, tap, tap_every, scale, reach, shift, source, target;
};

__device__ __forceinline__ Walk forward(const Axis &axis) {
    return Walk{axis.output, 0, 1, axis.kernel, 0, 1, axis.stride, axis.dilation, -axis.padding, axis.input, axis.output};
}

// The gradient's walk. Places of the input with one remainder by the stride meet the same taps, and are a walk of their own.
__device__ __forceinline__ Walk backward(const Axis &axis, i32 remainder) {
    i32 stride = axis.stride, wanted = (remainder + axis.padding) % stride;
    // The first tap that meets them, and the distance to the next.
    i32 tap = 0, every = 1;
    while (tap < stride && tap * axis.dilation % stride != wanted) tap++;
    while (every * axis.dilation % stride != 0) every++;
    i32 taps = tap < axis.kernel && tap < stride ? (axis.kernel - 1 - tap) / every + 1 : 0;
    i32 positions = remainder < axis.input ? (axis.input - 1 - remainder) / stride + 1 : 0;
    i32 shift = (remainder + axis.padding - tap * axis.dilation) / stride;
    return Walk{positions, remainder, stride, taps, tap, every, 1, -(every * axis.dilation / stride), taps > 0 ? shift : 0, axis.output, axis.input};
}

// A convolution, or its gradient by the input. `Images` of ops/convolution/cuda.rs. Channels are those of a group.
struct Images {
    const float *from, *weight;
    float *to;
    u32 batch, groups, from_channels, to_channels;
    Axis rows, columns;
    // What a part of k is, where k is cut; parts are `part_step` results apart.
    u32 k_part, parts;
    i64 part_step;
    // The first block along z, whether weights and results may be moved in fours.
    u32 first_block, weight_vector, to_vector, unused;
    Finish finish;
};
