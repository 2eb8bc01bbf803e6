// The gradient of a convolution of f32 images by its weight, as a product whose second operand is gathered on the way to shared memory.
// Of a group: [OC] x [IC·KH·KW] results over k = (image, position): N·OC·OH·OW·IC/groups·KH·KW multiply-adds; at least 4 (input + gradient + weight) bytes, and 8 bytes a weight for each part that k is cut in.
#include "window.cuh"

// A slab of the input under the window: columns are (channel, tap), rows are (image, position). Neighbouring threads take neighbouring positions.
template <int N, int K, int THREADS>
struct Patches {
    static constexpr int STEP = THREADS / K, COLUMNS = N / STEP;
    const float *from;
    Divide image, line;
    i32 height, width, scale_y, scale_x, shift_y, shift_x, step;
    // Where each column's tap stands from the window's corner.
    i32 at[COLUMNS], down[COLUMNS], right[COLUMNS];
    float held[COLUMNS];

    __device__ __forceinline__ Patches(const Images &call, const float *from, const Walk &y, const Walk &x, u32 first)
        : from(from), image(y.positions * x.positions), line(x.positions), height(y.source), width(x.source), scale_y(y.scale), scale_x(x.scale),
          shift_y(y.shift), shift_x(x.shift), step((i32)(call.groups * call.from_channels) * y.source * x.source) {
        Divide taps(y.taps * x.taps), columns(x.taps);
        u32 count = call.from_channels * taps.by;
#pragma unroll
        for (int c = 0; c < COLUMNS; c++) {
            u32 column = first + threadIdx.x / K + c * STEP, rest, tap_x;
            u32 channel = taps.of(column, rest), tap_y = columns.of(rest, tap_x);
            // What is no column lies outside of every image.
            down[c] = column < count ? (i32)tap_y * y.reach : -(1 << 30);
            right[c] = (i32)tap_x * x.reach;
            at[c] = column < count ? ((i32)channel * height + down[c]) * width + right[c] : 0;
        }
    }

    __device__ __forceinline__ void fetch(u32 first, u32 end) {
        u32 k = first + threadIdx.x % K, rest, column;
        u32 n = image.of(k, rest), row = line.of(rest, column);
        i32 top = (i32)row * scale_y + shift_y, left = (i32)column * scale_x + shift_x;
        i32 corner = (i32)n * step + top * width + left;
#pragma unroll
        for (int c = 0; c < COLUMNS; c++) {
            bool inside = k < end && (u32)(top + down[c]) < (u32)height && (u32)(left + right[c]) < (u32)width;
            held[c] = 0.0f;
            if (inside) held[c] = from[corner + at[c]];
        }
    }

    __device__ __forceinline__ void store(float (*slab)[N + 4]) const {
#pragma unroll
        for (int c = 0; c < COLUMNS; c++) slab[threadIdx.x % K][threadIdx.x / K + c * STEP] = held[c];
    }
};

// Block x owns a tile of (channel, tap), y one of output channels; z is a group and a part of k. `weight` is the gradient of the results.
template <typename T>
__device__ __forceinline__ void weight_gradient(const Images &call) {
    __shared__ typename T::Memory memory;
    u32 z = blockIdx.z + call.first_block, part = z % call.parts, group = z / call.parts;
    Walk y = forward(call.rows), x = forward(call.columns);
    u32 first_row = blockIdx.y * T::M, first = blockIdx.x * T::N;
    i32 positions = y.positions * x.positions, columns = call.from_channels * y.taps * x.taps;

    const float *from = call.from + (i64)(i32)(group * call.from_channels) * y.source * x.source;
    Patches<T::N, T::K, T::THREADS> patches(call, from, y, x, first);
    const float *gradient = call.weight + (i64)(i32)(group * call.to_channels + first_row) * positions;
    Runs steps{Divide(positions), (i32)(call.groups * call.to_channels) * positions, 1};
    Side<T::M, T::K, T::THREADS, Runs> side(gradient, positions, steps, call.to_channels - first_row, true, call.weight_vector);
    u32 begin = part * call.k_part, end = min(call.batch * positions, begin + call.k_part);
    typename T::Sums sums;
    multiply<T>(memory, side, patches, begin, end, sums);
    float *to = call.to + part * call.part_step + (i64)(i32)(group * call.to_channels) * columns;
    Matrix{to, columns, 1, first_row, first, call.to_channels, (u32)columns, call.to_vector != 0}.template write<T>(sums, call.finish);
}

extern "C" __global__ void __launch_bounds__(256, 2) weight_gradient_wide(Images call) { weight_gradient<Wide>(call); }
extern "C" __global__ void __launch_bounds__(256, 3) weight_gradient_middle(Images call) { weight_gradient<Middle>(call); }
extern "C" __global__ void __launch_bounds__(256, 3) weight_gradient_small(Images call) { weight_gradient<Small>(call); }
