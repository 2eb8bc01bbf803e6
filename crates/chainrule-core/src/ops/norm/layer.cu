// Layer and RMS normalisation: rows by their own mean and variance, or by their mean square.
#include "norm.cuh"

// The threads that take a row: a warp, or a block where rows are long.
struct Warp {
    static __device__ __forceinline__ u32 row() { return blockIdx.x * (blockDim.x / WARP) + threadIdx.x / WARP; }
    static __device__ __forceinline__ u32 part() { return threadIdx.x % WARP; }
    static __device__ __forceinline__ u32 parts() { return WARP; }
    static __device__ __forceinline__ double sum(double x) { return warp_sum(x); }
};
struct Block {
    static __device__ __forceinline__ u32 row() { return blockIdx.x; }
    static __device__ __forceinline__ u32 part() { return threadIdx.x; }
    static __device__ __forceinline__ u32 parts() { return blockDim.x; }
    static __device__ __forceinline__ double sum(double x) {
        __shared__ double scratch[WARP];
        return block_sum(x, scratch);
    }
};

// body(i) for the columns of this thread, V at a time.
template <typename Threads, int V, typename Body>
__device__ __forceinline__ void each(u32 size, Body body) {
    for (u32 i = Threads::part() * V; i < size; i += Threads::parts() * V) body(i);
}
// Of a weight or bias that may be absent.
template <int V>
__device__ __forceinline__ void load_or(const float *x, u32 at, float fill, float (&out)[V]) {
    if (x) {
        load(x, at, out);
    } else {
#pragma unroll
        for (int k = 0; k < V; k++) out[k] = fill;
    }
}

// Weight and bias may be absent; so may the mean, and then rows are taken about 0.
struct Forward {
    const float *x, *weight, *bias;
    // The variance is kept where a place for it is given.
    float *y, *mean, *rstd, *variance;
    double eps;
    u32 rows, size;
};

// y = (x - mean) rstd weight + bias. Bytes: 8 a number; two more passes are answered by the nearest cache.
template <typename Threads, int V>
__device__ __forceinline__ void forward(const Forward &f) {
    u32 row = Threads::row();
    if (row >= f.rows) return;
    const float *x = f.x + (u64)row * f.size;
    float *y = f.y + (u64)row * f.size, values[V], weight[V], bias[V], centre = 0.0f, distances = 0.0f, squares = 0.0f;
    double size = f.size;
    if (f.mean) {
        float sum = 0.0f;
        each<Threads, V>(f.size, [&](u32 i) {
            load(x, i, values);
#pragma unroll
            for (int k = 0; k < V; k++) sum += values[k];
        });
        centre = (float)(Threads::sum(sum) / size);
    }
    // Distances are taken from the mean, so that large means cost no digits.
    each<Threads, V>(f.size, [&](u32 i) {
        load(x, i, values);
#pragma unroll
        for (int k = 0; k < V; k++) {
            float apart = values[k] - centre;
            distances += apart;
            squares += apart * apart;
        }
    });
    double mean = 0.0, spread = Threads::sum(squares);
    if (f.mean) {
        double off = Threads::sum(distances);
        mean = centre + off / size;
        spread -= off * off / size;
    }
    // Not fmax, which would make 0 of NaN.
    double variance = (spread < 0.0 ? 0.0 : spread) / size;
    float rstd = (float)(1.0 / sqrt(variance + f.eps));
    if (Threads::part() == 0) {
        if (f.variance) f.variance[row] = (float)variance;
        f.rstd[row] = rstd;
        if (f.mean) f.mean[row] = (float)mean;
    }
    centre = (float)mean;
    each<Threads, V>(f.size, [&](u32 i) {
        load(x, i, values);
        load_or(f.weight, i, 1.0f, weight);
        load_or(f.bias, i, 0.0f, bias);
#pragma unroll
        for (int k = 0; k < V; k++) values[k] = fmaf((values[k] - centre) * rstd, weight[k], bias[k]);
        store(y, i, values);
    });
}

// About 0 the mean is absent. Shares of the gradients of weight and bias stand `step` numbers apart, one for each chunk of `height` rows; the blocks from `row_blocks` on sum them.
struct Backward {
    const float *dy, *x, *mean, *rstd, *weight;
    float *dx, *dweight, *dbias;
    u64 step;
    u32 rows, size, row_blocks, height;
};

// dx = rstd (g - mean(g) - z mean(g z)) for g = dy weight, z = (x - mean) rstd. Bytes: 12 a number; the second pass is answered by the nearest cache.
template <typename Threads, int V>
__device__ __forceinline__ void backward_row(const Backward &b) {
    u32 row = Threads::row();
    if (row >= b.rows) return;
    const float *x = b.x + (u64)row * b.size, *dy = b.dy + (u64)row * b.size;
    float *dx = b.dx + (u64)row * b.size, values[V], slope[V], weight[V], sum = 0.0f, along = 0.0f;
    float mean = b.mean ? b.mean[row] : 0.0f, rstd = b.rstd[row];
    each<Threads, V>(b.size, [&](u32 i) {
        load(x, i, values);
        load(dy, i, slope);
        load_or(b.weight, i, 1.0f, weight);
#pragma unroll
        for (int k = 0; k < V; k++) {
            float g = slope[k] * weight[k];
            sum += g;
            along += g * (values[k] - mean);
        }
    });
    double scale = rstd, size = b.size;
    float tilt = (float)(Threads::sum(along) * scale * scale / size), even = 0.0f;
    if (b.mean) even = (float)(Threads::sum(sum) / size);
    each<Threads, V>(b.size, [&](u32 i) {
        load(x, i, values);
        load(dy, i, slope);
        load_or(b.weight, i, 1.0f, weight);
#pragma unroll
        for (int k = 0; k < V; k++) values[k] = fmaf(mean - values[k], tilt, fmaf(slope[k], weight[k], -even)) * rstd;
        store(dx, i, values);
    });
}

// dweight = sum dy z, dbias = sum dy over a chunk of rows: 32 columns a block, a lane each, whose warps take rows by turns. Bytes: 8 a number, which the second cache mostly answers.
__device__ __forceinline__ void backward_columns(const Backward &b) {
    __shared__ float shares[2][8][WARP];
    u32 lane = threadIdx.x % WARP, warp = threadIdx.x / WARP, warps = blockDim.x / WARP;
    u32 strips = (b.size + WARP - 1) / WARP, block = blockIdx.x - b.row_blocks, chunk = block / strips, column = block % strips * WARP + lane;
    u32 end = min(b.rows, (chunk + 1) * b.height);
    float along = 0.0f, even = 0.0f;
    if (column < b.size) {
        for (u32 row = chunk * b.height + warp; row < end; row += warps) {
            u64 at = (u64)row * b.size + column;
            float dy = b.dy[at], apart = b.x[at] - (b.mean ? b.mean[row] : 0.0f);
            along += dy * (apart * b.rstd[row]);
            even += dy;
        }
    }
    shares[0][warp][lane] = along;
    shares[1][warp][lane] = even;
    __syncthreads();
    if (warp < 2 && column < b.size && (warp == 0 || b.mean)) {
        float total = 0.0f;
        for (u32 w = 0; w < warps; w++) total += shares[warp][w][lane];
        (warp == 0 ? b.dweight : b.dbias)[chunk * b.step + column] = total;
    }
}

#define ROWS(name, Threads, V) \
    KERNEL layer_norm_##name(Forward f) { forward<Threads, V>(f); } \
    KERNEL layer_norm_backward_##name(Backward b) { \
        if (blockIdx.x < b.row_blocks) { \
            backward_row<Threads, V>(b); \
        } else { \
            backward_columns(b); \
        } \
    }
ROWS(warp, Warp, 1)
ROWS(warp_wide, Warp, 4)
ROWS(block, Block, 1)
ROWS(block_wide, Block, 4)

// The shares of chunks of rows, [chunks, kinds, size], added up in their order. Bytes: 4 a share.
KERNEL layer_norm_total(const float *shares, float *dweight, float *dbias, u32 chunks, u32 size, u32 columns) {
    for (u64 i = first(); i < columns; i += step()) {
        double total = 0.0;
        for (u32 c = 0; c < chunks; c++) total += shares[(u64)c * columns + i];
        (i < size ? dweight : dbias)[i < size ? i : i - size] = (float)total;
    }
}
