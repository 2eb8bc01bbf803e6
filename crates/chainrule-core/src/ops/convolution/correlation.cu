// Convolution of f32 images and its gradient by the input, as products whose second operand is gathered on the way to shared memory (implicit GEMM).
// Forward, of a group: [OC] x [N·OH·OW] results, each over k = (channel, tap). N·OC·OH·OW·IC/groups·KH·KW multiply-adds; at least 4 (input + weight + output) bytes, and the input once more for each 16 to 128 output channels, from the cache.
// Gradient: [IC] x [N·IH·IW] over (output channel, tap); where the stride is not 1, remainders of the places are parts of their own, so that no product with a gap is made.
#include "window.cuh"

// Weights w[o][c][tap] for k = (channel of the source, tap). `outer` is the step from channel to channel.
struct Taps {
    Divide taps, columns;
    i32 outer, row, column, first;
    __device__ __forceinline__ i64 of(u32 k) const {
        u32 rest, x, channel = taps.of(k, rest), y = columns.of(rest, x);
        return (i64)(i32)channel * outer + (first + (i32)y * row + (i32)x * column);
    }
};

// A slab of the source under the window: columns are positions of results, rows are (channel, tap). A warp takes whole rows, so that its lanes read neighbours.
template <int N, int K, int THREADS>
struct Patches {
    static constexpr int WARPS = THREADS / WARP, ROWS = K / WARPS, PLACES = N / WARP;
    const float *from;
    Divide taps, columns;
    i32 height, width, reach_y, reach_x;
    // The window's corner of each position: where it stands, and its row and column in the image.
    i32 at[PLACES], top[PLACES], left[PLACES];
    float held[ROWS][PLACES];

    __device__ __forceinline__ Patches(const Images &call, const float *from, const Walk &y, const Walk &x, u32 first)
        : from(from), taps(y.taps * x.taps), columns(x.taps), height(y.source), width(x.source), reach_y(y.reach), reach_x(x.reach) {
        Divide image(y.positions * x.positions), line(x.positions);
        u32 count = call.batch * image.by;
#pragma unroll
        for (int p = 0; p < PLACES; p++) {
            u32 position = first + threadIdx.x % WARP + p * WARP, rest, column;
            u32 n = image.of(position, rest), row = line.of(rest, column);
            // What is no position lies outside of every image.
            top[p] = position < count ? (i32)row * y.scale + y.shift : -(1 << 30);
            left[p] = (i32)column * x.scale + x.shift;
            at[p] = position < count ? (i32)(n * call.groups * call.from_channels) * height * width + top[p] * width + left[p] : 0;
        }
    }

    __device__ __forceinline__ void fetch(u32 first, u32 end) {
#pragma unroll
        for (int r = 0; r < ROWS; r++) {
            u32 k = first + threadIdx.x / WARP + r * WARPS, rest, x;
            u32 channel = taps.of(k, rest), y = columns.of(rest, x);
            i32 down = (i32)y * reach_y, right = (i32)x * reach_x;
            i32 offset = ((i32)channel * height + down) * width + right;
#pragma unroll
            for (int p = 0; p < PLACES; p++) {
                bool inside = k < end && (u32)(top[p] + down) < (u32)height && (u32)(left[p] + right) < (u32)width;
                held[r][p] = 0.0f;
                if (inside) held[r][p] = from[at[p] + offset];
            }
        }
    }

    __device__ __forceinline__ void store(float (*slab)[N + 4]) const {
#pragma unroll
        for (int r = 0; r < ROWS; r++)
#pragma unroll
            for (int p = 0; p < PLACES; p++) slab[threadIdx.x / WARP + r * WARPS][threadIdx.x % WARP + p * WARP] = held[r][p];
    }
};

// Block x owns a tile of positions, y a tile of channels; z is a remainder, a group and a part of k.
template <typename T, bool BACKWARD>
__device__ __forceinline__ void correlate(const Images &call) {
    __shared__ typename T::Memory memory;
    u32 z = blockIdx.z + call.first_block, part = z % call.parts, group = z / call.parts % call.groups, remainder = z / call.parts / call.groups;
    u32 across = min(call.columns.stride, call.columns.input);
    Walk y = BACKWARD ? backward(call.rows, remainder / across) : forward(call.rows);
    Walk x = BACKWARD ? backward(call.columns, remainder % across) : forward(call.columns);
    u32 first_row = blockIdx.y * T::M, first = blockIdx.x * T::N, positions = y.positions * x.positions, count = call.batch * positions;
    if (first >= count) return;

    const float *from = call.from + (i64)(i32)(group * call.from_channels) * y.source * x.source;
    Patches<T::N, T::K, T::THREADS> patches(call, from, y, x, first);
    i32 k = call.from_channels * y.taps * x.taps, taps = call.rows.kernel * call.columns.kernel;
    u32 begin = part * call.k_part, end = min((u32)k, begin + call.k_part);
    typename T::Sums sums;
    if (BACKWARD) {
        const float *weight = call.weight + (i64)(i32)(group * call.from_channels) * call.to_channels * taps + (i64)(i32)first_row * taps;
        Taps steps{Divide(y.taps * x.taps), Divide(x.taps), (i32)call.to_channels * taps, y.tap_every * call.columns.kernel, x.tap_every, y.tap * call.columns.kernel + x.tap};
        Side<T::M, T::K, T::THREADS, Taps> side(weight, taps, steps, call.to_channels - first_row, true, false);
        multiply<T>(memory, side, patches, begin, end, sums);
    } else {
        const float *weight = call.weight + (i64)(i32)(group * call.to_channels + first_row) * k;
        Side<T::M, T::K, T::THREADS, Even> side(weight, k, Even{1}, call.to_channels - first_row, true, call.weight_vector);
        multiply<T>(memory, side, patches, begin, end, sums);
    }

    Finish finish = call.finish;
    if (finish.bias_side != 0) finish.bias += group * call.to_channels;
    add_bias<T>(sums, finish, first_row, 0, call.to_channels, 0);
    float *to = call.to + part * call.part_step;
    Divide image(positions), line(x.positions);
    i32 plane = y.target * x.target;
#pragma unroll
    for (int j = 0; j < T::TN; j += T::CN) {
        // Where a channel of four neighbours stands. Fours are moved at once only where an image is a whole number of them.
        i32 places[T::CN];
        u32 room = 0;
#pragma unroll
        for (int e = 0; e < T::CN; e++) {
            u32 position = first + T::column(j) + e, rest, column;
            u32 n = image.of(position, rest), row = line.of(rest, column);
            places[e] = (i32)((n * call.groups + group) * call.to_channels) * plane + (y.first + (i32)row * y.every) * x.target + x.first + (i32)column * x.every;
            if (position < count) room = e + 1;
        }
#pragma unroll
        for (int i = 0; i < T::TM; i++) {
            u32 channel = first_row + T::row(i);
            if (channel >= call.to_channels) continue;
            float *channel_to = to + (i32)channel * plane;
#pragma unroll
            for (int e = 0; e < T::CN; e++) sums[i][j + e] = finish.activated(sums[i][j + e]);
            if (T::CN == 4 && call.to_vector && room == 4) {
                *(float4 *)(channel_to + places[0]) = make_float4(sums[i][j], sums[i][j + 1], sums[i][j + 2], sums[i][j + 3]);
            } else {
#pragma unroll
                for (int e = 0; e < T::CN; e++)
                    if (e < room) channel_to[places[e]] = sums[i][j + e];
            }
        }
    }
}

#define CORRELATIONS(name, tile, forward_blocks, backward_blocks)                                                                              \
    extern "C" __global__ void __launch_bounds__(tile::THREADS, forward_blocks) forward_##name(Images call) { correlate<tile, false>(call); } \
    extern "C" __global__ void __launch_bounds__(tile::THREADS, backward_blocks) backward_##name(Images call) { correlate<tile, true>(call); }
CORRELATIONS(wide, Wide, 2, 2)
CORRELATIONS(middle, Middle, 3, 2)
CORRELATIONS(small, Small, 3, 2)
CORRELATIONS(flat, Flat, 4, 4)
