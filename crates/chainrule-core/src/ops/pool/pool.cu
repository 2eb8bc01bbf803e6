// Pooling: a thread a number of the result. Backward, each number of dx gathers from the windows that hold it, in their order, so that nothing is added twice at once.
#include "prelude.cuh"

// The windows, and planes of `input` to planes of `output`; `Windows` of ops/pool/cuda.rs. Index 0 is height, 1 width.
struct Windows {
    u32 kernel[2], stride[2], padding[2], dilation[2], input[2], output[2];

    // The taps of window o, [start, end), that lie inside a dimension of `size` with `pad` positions before.
    __device__ __forceinline__ void taps(int d, u32 o, u32 size, u32 pad, u32 &start, u32 &end) const {
        u64 shift = (u64)o * stride[d];
        u32 step = dilation[d];
        end = size + pad > shift ? min((u32)((size + pad - shift + step - 1) / step), kernel[d]) : 0;
        start = pad > shift ? min((u32)((pad - shift + step - 1) / step), end) : 0;
    }
    // The windows [start, end) that may hold position i, and where i lies from the beginning of window 0.
    __device__ __forceinline__ void windows(int d, u32 i, u32 &start, u32 &end) const {
        u32 at = i + padding[d], reach = dilation[d] * (kernel[d] - 1) + 1;
        start = at < reach ? 0 : (at - reach) / stride[d] + 1;
        end = min(at / stride[d] + 1, output[d]);
    }
    // The tap of window o that lies on position i; `kernel` if none does.
    __device__ __forceinline__ u32 tap(int d, u32 o, u32 i) const {
        u32 from = i + padding[d] - o * stride[d];
        if (dilation[d] == 1) return from;
        u32 tap = from / dilation[d];
        return tap * dilation[d] == from ? tap : kernel[d];
    }
};

// The plane, row and column of number i of planes of this size.
struct At {
    u32 plane, row, column;
    __device__ __forceinline__ At(u32 i, const u32 (&size)[2]) {
        u32 line = i / size[1];
        column = i - line * size[1];
        plane = line / size[0];
        row = line - plane * size[0];
    }
};

// The maximum of each window, the first of several, NaN above all, and its place in the window. Bytes: x once, 5 a window (12 for large windows).
template <typename Place>
__device__ __forceinline__ void max_forward(const float *x, float *y, Place *places, const Windows &w, u32 count) {
    for (u64 i = first(); i < count; i += step()) {
        At o((u32)i, w.output);
        u32 top, bottom, left, right;
        w.taps(0, o.row, w.input[0], w.padding[0], top, bottom);
        w.taps(1, o.column, w.input[1], w.padding[1], left, right);
        const float *plane = x + (u64)o.plane * w.input[0] * w.input[1];
        float most = -INFINITY;
        u32 found = ALL;
        for (u32 a = top; a < bottom; a++) {
            const float *line = plane + (u64)(o.row * w.stride[0] + a * w.dilation[0] - w.padding[0]) * w.input[1];
            for (u32 b = left; b < right; b++) {
                float value = line[o.column * w.stride[1] + b * w.dilation[1] - w.padding[1]];
                if (found == ALL || value > most || value != value) {
                    most = value;
                    found = a * w.kernel[1] + b;
                }
            }
        }
        y[i] = most;
        places[i] = (Place)(found == ALL ? 0 : found);
    }
}
KERNEL max_pool2d_u8(const float *x, float *y, u8 *places, Windows w, u32 count) { max_forward(x, y, places, w, count); }
KERNEL max_pool2d_i64(const float *x, float *y, i64 *places, Windows w, u32 count) { max_forward(x, y, places, w, count); }

// Windows of 2 x 2 side by side, all inside: two columns at once where rows are aligned.
KERNEL max_pool2d_halves(const float *x, float *y, u8 *places, Windows w, u32 count, u32 aligned) {
    for (u64 i = first(); i < count; i += step()) {
        At o((u32)i, w.output);
        const float *above = x + ((u64)o.plane * w.input[0] + 2 * o.row) * w.input[1] + 2 * o.column, *below = above + w.input[1];
        float2 a, b;
        if (aligned) {
            a = *(const float2 *)above;
            b = *(const float2 *)below;
        } else {
            a = make_float2(above[0], above[1]);
            b = make_float2(below[0], below[1]);
        }
        float most = a.x;
        u32 place = 0;
        if (a.y > most || a.y != a.y) { most = a.y; place = 1; }
        if (b.x > most || b.x != b.x) { most = b.x; place = 2; }
        if (b.y > most || b.y != b.y) { most = b.y; place = 3; }
        y[i] = most;
        places[i] = (u8)place;
    }
}

// dx[i] = the dy of the windows whose maximum lies at i. Bytes: dx, and for each number the dy and places of the windows over it, which the nearest cache mostly answers.
template <typename Place>
__device__ __forceinline__ void max_backward(const float *dy, const Place *places, float *dx, const Windows &w, u32 count) {
    for (u64 i = first(); i < count; i += step()) {
        At at((u32)i, w.input);
        u32 top, bottom, left, right;
        w.windows(0, at.row, top, bottom);
        w.windows(1, at.column, left, right);
        float sum = 0.0f;
        for (u32 row = top; row < bottom; row++) {
            u32 a = w.tap(0, row, at.row);
            if (a >= w.kernel[0]) continue;
            u64 line = ((u64)at.plane * w.output[0] + row) * w.output[1];
            for (u32 column = left; column < right; column++) {
                u32 b = w.tap(1, column, at.column);
                if (b < w.kernel[1] && places[line + column] == (Place)(a * w.kernel[1] + b)) sum += dy[line + column];
            }
        }
        dx[i] = sum;
    }
}
KERNEL max_pool2d_backward_u8(const float *dy, const u8 *places, float *dx, Windows w, u32 count) { max_backward(dy, places, dx, w, count); }
KERNEL max_pool2d_backward_i64(const float *dy, const i64 *places, float *dx, Windows w, u32 count) { max_backward(dy, places, dx, w, count); }

// The position in the plane that a place of a window means; -1 outside.
template <typename Place>
__device__ __forceinline__ i64 position(const Place *places, u32 i, const At &o, const Windows &w) {
    i64 place = places[i];
    u32 a = (u32)(place / w.kernel[1]), b = (u32)(place % w.kernel[1]);
    if (place < 0 || place >= (i64)w.kernel[0] * w.kernel[1]) return -1;
    i64 row = (i64)o.row * w.stride[0] + (i64)a * w.dilation[0] - w.padding[0], column = (i64)o.column * w.stride[1] + (i64)b * w.dilation[1] - w.padding[1];
    if (row < 0 || row >= w.input[0] || column < 0 || column >= w.input[1]) return -1;
    return row * w.input[1] + column;
}
// y = x where the places say, 0 outside. Bytes: 9 a window and a sector of x.
template <typename Place>
__device__ __forceinline__ void max_gather(const float *x, const Place *places, float *y, const Windows &w, u32 count) {
    for (u64 i = first(); i < count; i += step()) {
        At o((u32)i, w.output);
        i64 at = position(places, (u32)i, o, w);
        y[i] = at < 0 ? 0.0f : x[(u64)o.plane * w.input[0] * w.input[1] + at];
    }
}
KERNEL max_pool2d_gather_u8(const float *x, const u8 *places, float *y, Windows w, u32 count) { max_gather(x, places, y, w, count); }
KERNEL max_pool2d_gather_i64(const float *x, const i64 *places, float *y, Windows w, u32 count) { max_gather(x, places, y, w, count); }
template <typename Place>
__device__ __forceinline__ void max_positions(const Place *places, i64 *out, const Windows &w, u32 count) {
    for (u64 i = first(); i < count; i += step()) out[i] = position(places, (u32)i, At((u32)i, w.output), w);
}
KERNEL max_pool2d_positions_u8(const u8 *places, i64 *out, Windows w, u32 count) { max_positions(places, out, w, count); }
KERNEL max_pool2d_positions_i64(const i64 *places, i64 *out, Windows w, u32 count) { max_positions(places, out, w, count); }

// What the sum of a window is multiplied with: one over its taps of both dimensions, with the padding or without, or over `divisor`.
__device__ __forceinline__ float share(const Windows &w, u32 row, u32 column, u32 with_padding, u32 divisor) {
    if (divisor) return __frcp_rn((float)divisor);
    float share = 1.0f;
#pragma unroll
    for (int d = 0; d < 2; d++) {
        u32 start, end, pad = w.padding[d];
        w.taps(d, d ? column : row, w.input[d] + (with_padding ? 2 * pad : 0), with_padding ? 0 : pad, start, end);
        share *= __frcp_rn((float)max(end - start, 1u));
    }
    return share;
}

// The mean of each window. Bytes: x once, 4 a window.
KERNEL avg_pool2d(const float *x, float *y, Windows w, u32 with_padding, u32 divisor, u32 count) {
    for (u64 i = first(); i < count; i += step()) {
        At o((u32)i, w.output);
        u32 top, bottom, left, right;
        w.taps(0, o.row, w.input[0], w.padding[0], top, bottom);
        w.taps(1, o.column, w.input[1], w.padding[1], left, right);
        const float *plane = x + (u64)o.plane * w.input[0] * w.input[1];
        float sum = 0.0f;
        for (u32 a = top; a < bottom; a++) {
            const float *line = plane + (u64)(o.row * w.stride[0] + a * w.dilation[0] - w.padding[0]) * w.input[1];
            for (u32 b = left; b < right; b++) sum += line[o.column * w.stride[1] + b * w.dilation[1] - w.padding[1]];
        }
        y[i] = sum * share(w, o.row, o.column, with_padding, divisor);
    }
}
// dx[i] = the sum of dy · share over the windows that hold i. Bytes: dx, and the dy of the windows over each number, which the nearest cache mostly answers.
KERNEL avg_pool2d_backward(const float *dy, float *dx, Windows w, u32 with_padding, u32 divisor, u32 count) {
    for (u64 i = first(); i < count; i += step()) {
        At at((u32)i, w.input);
        u32 top, bottom, left, right;
        w.windows(0, at.row, top, bottom);
        w.windows(1, at.column, left, right);
        float sum = 0.0f;
        for (u32 row = top; row < bottom; row++) {
            if (w.tap(0, row, at.row) >= w.kernel[0]) continue;
            const float *line = dy + ((u64)at.plane * w.output[0] + row) * w.output[1];
            for (u32 column = left; column < right; column++) {
                if (w.tap(1, column, at.column) < w.kernel[1]) sum += line[column] * share(w, row, column, with_padding, divisor);
            }
        }
        dx[i] = sum;
    }
}

// Adaptive windows: window o of n over a dimension of size s is floor(o s / n) .. ceil((o + 1) s / n). Products stay below 2^32.
struct Adaptive {
    u32 input[2], output[2];
    __device__ __forceinline__ void window(int d, u32 o, u32 &start, u32 &end) const {
        start = o * input[d] / output[d];
        end = ((o + 1) * input[d] + output[d] - 1) / output[d];
    }
    // The windows that hold position i.
    __device__ __forceinline__ void windows(int d, u32 i, u32 &start, u32 &end) const {
        start = i * output[d] / input[d];
        end = ((i + 1) * output[d] - 1) / input[d] + 1;
    }
};

// The mean of each window, by `lanes` (1 or 32) threads. Bytes: x once, 4 a window.
KERNEL adaptive_avg_pool2d(const float *x, float *y, Adaptive w, u32 lanes, u32 count) {
    u32 lane = lanes == 1 ? 0 : threadIdx.x % WARP;
    // Whole warps go on together.
    for (u64 i = first() / lanes; i < count; i += step() / lanes) {
        At o((u32)i, w.output);
        u32 top, bottom, left, right;
        w.window(0, o.row, top, bottom);
        w.window(1, o.column, left, right);
        const float *plane = x + (u64)o.plane * w.input[0] * w.input[1];
        u32 width = right - left, size = (bottom - top) * width;
        float sum = 0.0f;
        for (u32 k = lane; k < size; k += lanes) {
            u32 row = k / width;
            sum += plane[(u64)(top + row) * w.input[1] + left + k - row * width];
        }
        if (lanes != 1) sum = warp_sum(sum);
        if (lane == 0) y[i] = sum / (float)size;
    }
}
KERNEL adaptive_avg_pool2d_backward(const float *dy, float *dx, Adaptive w, u32 count) {
    for (u64 i = first(); i < count; i += step()) {
        At at((u32)i, w.input);
        u32 top, bottom, left, right;
        w.windows(0, at.row, top, bottom);
        w.windows(1, at.column, left, right);
        float sum = 0.0f;
        for (u32 row = top; row < bottom; row++) {
            u32 from, to;
            w.window(0, row, from, to);
            float height = (float)(to - from);
            for (u32 column = left; column < right; column++) {
                w.window(1, column, from, to);
                sum += dy[((u64)at.plane * w.output[0] + row) * w.output[1] + column] / (height * (float)(to - from));
            }
        }
        dx[i] = sum;
    }
}
// The maximum of each window, the first of several, and its position in the plane; of several NaN the last. Bytes: x once, 12 a window.
KERNEL adaptive_max_pool2d(const float *x, float *y, i64 *positions, Adaptive w, u32 count) {
    for (u64 i = first(); i < count; i += step()) {
        At o((u32)i, w.output);
        u32 top, bottom, left, right;
        w.window(0, o.row, top, bottom);
        w.window(1, o.column, left, right);
        const float *plane = x + (u64)o.plane * w.input[0] * w.input[1];
        float most = -INFINITY;
        u64 found = (u64)top * w.input[1] + left;
        for (u32 row = top; row < bottom; row++) {
            for (u32 column = left; column < right; column++) {
                u64 at = (u64)row * w.input[1] + column;
                float value = plane[at];
                if (value > most || value != value) {
                    most = value;
                    found = at;
                }
            }
        }
        y[i] = most;
        positions[i] = (i64)found;
    }
}

// Positions within planes and positions across them, joined to those in volumes; -1 where one is none or outside. Bytes: 16 a window and a sector of `within`.
KERNEL volume_positions(const i64 *within, const i64 *across, i64 *out, i64 area, i64 volume, u32 windows, u32 of_volume, u32 count) {
    for (u64 i = first(); i < count; i += step()) {
        i64 at = across[i], found = -1;
        if (at >= 0 && at < volume) {
            i64 position = within[(u32)i / of_volume * volume + at];
            if (position >= 0 && position < area) found = at / windows * area + position;
        }
        out[i] = found;
    }
}
