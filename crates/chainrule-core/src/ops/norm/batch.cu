// Batch normalisation: a channel of [N, C, L] by its own mean and variance, or by given ones.
// A small channel is reduced and written by one block in one launch. A large one is reduced in pieces, whose sums the blocks of a second launch add up before they write.
#include "norm.cuh"

// The numbers of one channel that a block walks; `Pieces` of ops/norm/cuda/batch.rs. `piece` is how many numbers of a channel a block takes, `pieces` how many blocks that makes.
struct Extents {
    u32 batch, channels, inner, piece, pieces;
};

// The block walks planes of one channel, V numbers a thread and step.
template <int V>
struct Planes {
    enum : int { WIDTH = V };
    const Extents &extents;
    u32 channel, start, end;
    __device__ __forceinline__ Planes(const Extents &e) : extents(e), channel(blockIdx.x) {
        start = blockIdx.y * e.piece;
        end = min(e.batch * e.inner, start + e.piece);
    }
    __device__ __forceinline__ bool active() const { return true; }
    // The number of this thread among those of its channel, and how many they are.
    __device__ __forceinline__ u32 part() const { return threadIdx.x; }
    __device__ __forceinline__ u32 parts() const { return blockDim.x; }
    // Where number i of the channel stands.
    __device__ __forceinline__ u64 at(u32 i) const {
        u32 n = i / extents.inner;
        return ((u64)n * extents.channels + channel) * extents.inner + (i - n * extents.inner);
    }
    // The sum over the threads of the channel, for all of them.
    __device__ __forceinline__ double sum(double x) const {
        __shared__ double scratch[WARP];
        return block_sum(x, scratch);
    }
};

// The block walks 32 channels of [N, C], a lane each; its warps take rows by turns.
struct Columns {
    enum : int { WIDTH = 1 };
    const Extents &extents;
    u32 channel, start, end;
    bool inside;
    __device__ __forceinline__ Columns(const Extents &e) : extents(e) {
        u32 own = blockIdx.x * WARP + threadIdx.x % WARP;
        inside = own < e.channels;
        channel = inside ? own : 0;
        start = blockIdx.y * e.piece;
        end = min(e.batch, start + e.piece);
    }
    __device__ __forceinline__ bool active() const { return inside; }
    __device__ __forceinline__ u32 part() const { return threadIdx.x / WARP; }
    __device__ __forceinline__ u32 parts() const { return blockDim.x / WARP; }
    __device__ __forceinline__ u64 at(u32 i) const { return (u64)i * extents.channels + channel; }
    __device__ __forceinline__ double sum(double x) const {
        __shared__ double scratch[WARP][WARP];
        __syncthreads(); // an earlier use of the scratch is over
        scratch[part()][threadIdx.x % WARP] = x;
        __syncthreads();
        double total = 0.0;
        for (u32 w = 0; w < parts(); w++) total += scratch[w][threadIdx.x % WARP];
        return total;
    }
};

// body(i) for the numbers of this thread, WIDTH at a time.
template <typename Walk, typename Body>
__device__ __forceinline__ void each(const Walk &walk, Body body) {
    if (!walk.active()) return;
    for (u32 i = walk.start + walk.part() * Walk::WIDTH; i < walk.end; i += walk.parts() * Walk::WIDTH) body(walk.at(i));
}
// body(where the sums of a piece of the channel stand) for the pieces of this thread; they are [pieces, C, 3].
template <typename Walk, typename Body>
__device__ __forceinline__ void each_piece(const Walk &walk, const double *pieces, Body body) {
    if (!walk.active()) return;
    for (u32 p = walk.part(); p < walk.extents.pieces; p += walk.parts()) body(pieces + ((u64)p * walk.extents.channels + walk.channel) * 3);
}

// Count, mean and the sum of squared distances from the mean.
struct Moments {
    double count, mean, squares;
};

// Of a block's numbers, in two passes, the second of which the caches answer: distances are taken from the mean of the first, so that large means cost no digits.
template <typename Walk>
__device__ __forceinline__ Moments moments(const Walk &walk, const float *x) {
    float sum = 0.0f, distances = 0.0f, squares = 0.0f, values[Walk::WIDTH];
    each(walk, [&](u64 at) {
        load(x, at, values);
#pragma unroll
        for (int k = 0; k < Walk::WIDTH; k++) sum += values[k];
    });
    double count = walk.end - walk.start;
    float centre = (float)(walk.sum(sum) / count);
    each(walk, [&](u64 at) {
        load(x, at, values);
#pragma unroll
        for (int k = 0; k < Walk::WIDTH; k++) {
            float apart = values[k] - centre;
            distances += apart;
            squares += apart * apart;
        }
    });
    double off = walk.sum(distances), rest = walk.sum(squares) - off * off / count;
    // Not fmax, which would make 0 of NaN.
    return Moments{count, centre + off / count, rest < 0.0 ? 0.0 : rest};
}

// Of a whole channel, from those of its pieces.
template <typename Walk>
__device__ __forceinline__ Moments merged(const Walk &walk, const double *pieces) {
    double count = 0.0, sum = 0.0, squares = 0.0;
    each_piece(walk, pieces, [&](const double *piece) {
        count += piece[0];
        sum += piece[0] * piece[1];
    });
    count = walk.sum(count);
    double mean = walk.sum(sum) / count;
    each_piece(walk, pieces, [&](const double *piece) {
        double apart = piece[1] - mean;
        squares += piece[2] + piece[0] * apart * apart;
    });
    return Moments{count, mean, walk.sum(squares)};
}

template <typename Walk>
__device__ __forceinline__ void keep_piece(const Walk &walk, double *pieces, double a, double b, double c) {
    if (!walk.active() || walk.part() > 0) return;
    double *piece = pieces + ((u64)blockIdx.y * walk.extents.channels + walk.channel) * 3;
    piece[0] = a;
    piece[1] = b;
    piece[2] = c;
}

// y = (x - mean) scale + shift
template <typename Walk>
__device__ __forceinline__ void write(const Walk &walk, const float *x, float *y, float mean, float scale, float shift) {
    float values[Walk::WIDTH];
    each(walk, [&](u64 at) {
        load(x, at, values);
#pragma unroll
        for (int k = 0; k < Walk::WIDTH; k++) values[k] = fmaf(values[k] - mean, scale, shift);
        store(y, at, values);
    });
}

// What a channel keeps; weight and bias may be absent.
struct Forward {
    const float *x, *weight, *bias;
    float *y, *mean, *rstd, *variance;
    double eps;
};

template <typename Walk>
__device__ __forceinline__ void finish(const Walk &walk, const Forward &f, const Moments &m) {
    u32 c = walk.channel;
    double variance = m.squares / m.count, rstd = 1.0 / sqrt(variance + f.eps);
    if (walk.active() && walk.part() == 0 && blockIdx.y == 0) {
        f.mean[c] = (float)m.mean;
        f.rstd[c] = (float)rstd;
        f.variance[c] = (float)variance;
    }
    write(walk, f.x, f.y, (float)m.mean, (float)(rstd * (f.weight ? f.weight[c] : 1.0f)), f.bias ? f.bias[c] : 0.0f);
}

// y = weight rstd (x - given mean) + bias, with the rstd of a given variance; without them y = weight x + bias.
template <typename Walk>
__device__ __forceinline__ void given(const Walk &walk, const Forward &f) {
    u32 c = walk.channel;
    float rstd = f.variance ? (float)(1.0 / sqrt((double)f.variance[c] + f.eps)) : 1.0f;
    write(walk, f.x, f.y, f.mean ? f.mean[c] : 0.0f, rstd * (f.weight ? f.weight[c] : 1.0f), f.bias ? f.bias[c] : 0.0f);
}

// `rstd` holds the variance where the statistics are given; without mean and rstd, x is normalised as it is.
struct Backward {
    const float *dy, *x, *mean, *rstd, *weight;
    float *dx, *dweight, *dbias;
    double eps;
    u32 given;
};

// The sums of dy and of dy (x - mean).
struct Slopes {
    double even, along;
};
template <typename Walk>
__device__ __forceinline__ Slopes slopes(const Walk &walk, const Backward &b) {
    float mean = b.mean ? b.mean[walk.channel] : 0.0f, even = 0.0f, along = 0.0f, dy[Walk::WIDTH], x[Walk::WIDTH];
    each(walk, [&](u64 at) {
        load(b.dy, at, dy);
        load(b.x, at, x);
#pragma unroll
        for (int k = 0; k < Walk::WIDTH; k++) {
            even += dy[k];
            along += dy[k] * (x[k] - mean);
        }
    });
    double total = walk.sum(even);
    return Slopes{total, walk.sum(along)};
}
template <typename Walk>
__device__ __forceinline__ Slopes merged_slopes(const Walk &walk, const double *pieces) {
    double even = 0.0, along = 0.0;
    each_piece(walk, pieces, [&](const double *piece) {
        even += piece[0];
        along += piece[1];
    });
    double total = walk.sum(even);
    return Slopes{total, walk.sum(along)};
}

// dx = scale (dy - even - (x - mean) along), or scale dy where the statistics are given.
template <typename Walk>
__device__ __forceinline__ void finish(const Walk &walk, const Backward &b, const Slopes &s) {
    u32 c = walk.channel;
    double rstd = !b.rstd ? 1.0 : b.given ? (double)(float)(1.0 / sqrt((double)b.rstd[c] + b.eps)) : (double)b.rstd[c];
    if (walk.active() && walk.part() == 0 && blockIdx.y == 0) {
        b.dbias[c] = (float)s.even;
        b.dweight[c] = (float)(s.along * rstd);
    }
    double count = walk.extents.batch * walk.extents.inner;
    float mean = b.mean ? b.mean[c] : 0.0f, scale = (float)(rstd * (b.weight ? b.weight[c] : 1.0f));
    float even = (float)(s.even / count), along = (float)(s.along * rstd * rstd / count), dy[Walk::WIDTH], x[Walk::WIDTH];
    each(walk, [&](u64 at) {
        load(b.dy, at, dy);
        if (!b.given) load(b.x, at, x);
#pragma unroll
        for (int k = 0; k < Walk::WIDTH; k++) dy[k] = scale * (b.given ? dy[k] : fmaf(mean - x[k], along, dy[k] - even));
        store(b.dx, at, dy);
    });
}

// whole: bytes 8 a number forward, 12 backward, and what the cache does not keep once more. pieces and merge: 12 a number forward, 20 backward. given: 8.
#define WALKS(name, Walk) \
    KERNEL batch_norm_whole_##name(Forward f, Extents e) { Walk walk(e); finish(walk, f, moments(walk, f.x)); } \
    KERNEL batch_norm_pieces_##name(Forward f, double *pieces, Extents e) { \
        Walk walk(e); \
        Moments m = moments(walk, f.x); \
        keep_piece(walk, pieces, m.count, m.mean, m.squares); \
    } \
    KERNEL batch_norm_merge_##name(Forward f, const double *pieces, Extents e) { Walk walk(e); finish(walk, f, merged(walk, pieces)); } \
    KERNEL batch_norm_given_##name(Forward f, Extents e) { Walk walk(e); given(walk, f); } \
    KERNEL batch_norm_backward_whole_##name(Backward b, Extents e) { Walk walk(e); finish(walk, b, slopes(walk, b)); } \
    KERNEL batch_norm_backward_pieces_##name(Backward b, double *pieces, Extents e) { \
        Walk walk(e); \
        Slopes s = slopes(walk, b); \
        keep_piece(walk, pieces, s.even, s.along, 0.0); \
    } \
    KERNEL batch_norm_backward_merge_##name(Backward b, const double *pieces, Extents e) { Walk walk(e); finish(walk, b, merged_slopes(walk, pieces)); }
WALKS(planes, Planes<1>)
WALKS(planes_wide, Planes<4>)
WALKS(columns, Columns)
