// Batch normalisation: a channel of [N, C, L] by its own mean and variance, or by given ones.
// A small channel is reduced and written by one block in one launch. A large one is reduced in pieces, whose sums the blocks of a second launch add up before they write.
#include "prelude.cuh"

// The numbers of one channel that a block walks; `Extents` of ops/norm/cuda.rs. `piece` is how many numbers of a channel a block takes, `pieces` how many blocks that makes.
struct Extents {
    u32 batch, channels, inner, piece, pieces;
};

template <int V> struct Pack;
template <> struct Pack<1> { typedef float type; };
template <> struct Pack<4> { typedef float4 type; };

// V numbers side by side.
template <int V>
__device__ __forceinline__ void load(const float *x, u64 at, float (&out)[V]) {
    typedef typename Pack<V>::type Type;
    *(Type *)out = *(const Type *)(x + at);
}
template <int V>
__device__ __forceinline__ void store(float *y, u64 at, const float (&in)[V]) {
    typedef typename Pack<V>::type Type;
    *(Type *)(y + at) = *(const Type *)in;
}

// The block walks planes of one channel, V numbers a thread and step.
template <int V>
struct Planes {
    enum : int { WIDTH = V };
    const Extents &extents;
    u32 channel, start, end;
    __device__ __forceinline__ Planes(const Extents &e) : extents(e), channel(blockIdx.y) {
        u32 all = e.batch * e.inner;
        start = blockIdx.x * e.piece;
        end = min(all, start + e.piece);
    }
    __device__ __forceinline__ bool active() const { return true; }
    __device__ __forceinline__ bool writes() const { return threadIdx.x == 0; }
    __device__ __forceinline__ u32 begin() const { return start + threadIdx.x * V; }
    __device__ __forceinline__ u32 stride() const { return blockDim.x * V; }
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
    __device__ __forceinline__ Columns(const Extents &e) : extents(e), channel(blockIdx.y * WARP + threadIdx.x % WARP) {
        start = blockIdx.x * e.piece;
        end = min(e.batch, start + e.piece);
    }
    __device__ __forceinline__ bool active() const { return channel < extents.channels; }
    __device__ __forceinline__ bool writes() const { return active() && threadIdx.x < WARP; }
    __device__ __forceinline__ u32 begin() const { return active() ? start + threadIdx.x / WARP : end; }
    __device__ __forceinline__ u32 stride() const { return blockDim.x / WARP; }
    __device__ __forceinline__ u64 at(u32 i) const { return (u64)i * extents.channels + channel; }
    __device__ __forceinline__ double sum(double x) const {
        __shared__ double scratch[WARP][WARP];
        u32 warps = blockDim.x / WARP;
        __syncthreads(); // an earlier use of the scratch is over
        scratch[threadIdx.x / WARP][threadIdx.x % WARP] = x;
        __syncthreads();
        double total = 0.0;
        for (u32 w = 0; w < warps; w++) total += scratch[w][threadIdx.x % WARP];
        return total;
    }
};

// Count, mean and the sum of squared distances from the mean.
struct Moments {
    double count, mean, squares;
};

// Of a block's numbers, in two passes, the second of which the caches answer: the distances are taken from the mean of the first, so that large means cost no digits.
template <typename Walk>
__device__ __forceinline__ Moments moments(const Walk &walk, const float *x) {
    float sum = 0.0f, distances = 0.0f, squares = 0.0f, values[Walk::WIDTH];
    for (u32 i = walk.begin(); i < walk.end; i += walk.stride()) {
        load(x, walk.at(i), values);
#pragma unroll
        for (int k = 0; k < Walk::WIDTH; k++) sum += values[k];
    }
    double count = walk.end - walk.start;
    float centre = (float)(walk.sum(sum) / count);
    for (u32 i = walk.begin(); i < walk.end; i += walk.stride()) {
        load(x, walk.at(i), values);
#pragma unroll
        for (int k = 0; k < Walk::WIDTH; k++) {
            float apart = values[k] - centre;
            distances += apart;
            squares += apart * apart;
        }
    }
    double off = walk.sum(distances), rest = walk.sum(squares) - off * off / count;
    // Not fmax, which would make 0 of NaN.
    return Moments{count, centre + off / count, rest < 0.0 ? 0.0 : rest};
}

// Of the pieces of a channel, [pieces, C, 3].
template <typename Walk>
__device__ __forceinline__ Moments merged(const Walk &walk, const double *pieces) {
    u32 first_piece = Walk::WIDTH && walk.stride() == blockDim.x / WARP ? threadIdx.x / WARP : threadIdx.x;
    u32 step = walk.stride() == blockDim.x / WARP ? walk.stride() : blockDim.x;
    double count = 0.0, sum = 0.0, squares = 0.0;
    if (walk.active()) {
        for (u32 p = first_piece; p < walk.extents.pieces; p += step) {
            const double *piece = pieces + ((u64)p * walk.extents.channels + walk.channel) * 3;
            count += piece[0];
            sum += piece[0] * piece[1];
        }
    }
    count = walk.sum(count);
    double mean = walk.sum(sum) / count;
    if (walk.active()) {
        for (u32 p = first_piece; p < walk.extents.pieces; p += step) {
            const double *piece = pieces + ((u64)p * walk.extents.channels + walk.channel) * 3;
            double apart = piece[1] - mean;
            squares += piece[2] + piece[0] * apart * apart;
        }
    }
    return Moments{count, mean, walk.sum(squares)};
}
