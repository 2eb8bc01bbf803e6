// What products and convolutions share: a block's tile of sums over a long k, in slabs through shared memory, and how what it needs is fetched.
#pragma once
#include "prelude.cuh"

typedef int i32;

// Division of numbers below 2^31 by one that is known only here: a multiplication and a shift (Granlund and Montgomery 1994).
struct Divide {
    u32 by, factor, shift;
    __device__ __forceinline__ explicit Divide(u32 divisor) {
        by = divisor > 0 ? divisor : 1;
        shift = by > 1 ? 32 - __clz(by - 1) : 0;
        factor = (u32)((((u64)1 << 32) * (((u64)1 << shift) - by)) / by + 1);
    }
    __device__ __forceinline__ u32 of(u32 number, u32 &rest) const {
        u32 quotient = (__umulhi(number, factor) + number) >> shift;
        rest = number - quotient * by;
        return quotient;
    }
};

// A block's tile: M rows and N columns of results, K of k at once; a thread owns TM x TN of them.
template <int M_, int N_, int K_, int TM_, int TN_>
struct Tile {
    static constexpr int M = M_, N = N_, K = K_, TM = TM_, TN = TN_;
    static constexpr int ACROSS = N / TN, THREADS = (M / TM) * ACROSS;
    // A thread's rows and columns stand together in fours, so that they are read as 16 bytes without bank conflicts.
    static constexpr int CM = TM < 4 ? TM : 4, CN = TN < 4 ? TN : 4;
    // Keeps rows on 16 bytes and slabs that are written across on different banks.
    static constexpr int PAD = 4;

    struct alignas(16) Memory {
        float a[2][K][M + PAD];
        float b[2][K][N + PAD];
    };
    typedef float Sums[TM][TN];

    __device__ static __forceinline__ int row(int i) { return i / CM * (M / (TM / CM)) + (int)threadIdx.x / ACROSS * CM + i % CM; }
    __device__ static __forceinline__ int column(int j) { return j / CN * (N / (TN / CN)) + (int)threadIdx.x % ACROSS * CN + j % CN; }
};
typedef Tile<128, 128, 8, 8, 8> Wide;
typedef Tile<64, 64, 16, 4, 4> Middle;
typedef Tile<32, 32, 32, 2, 2> Small;
typedef Tile<16, 128, 16, 4, 4> Flat;

// What makes a result of a sum: activation(alpha sum + beta result + bias). `Finish` of cuda/blas/mod.rs.
struct Finish {
    const float *bias;
    // 0 none, 1 a number for each column, 2 one for each row.
    u32 bias_side;
    // 0 none, 1 ReLU, 2 leaky ReLU.
    u32 activation;
    float alpha, beta, slope;
    u32 unused;

    __device__ __forceinline__ float activated(float x) const {
        float below = activation == 1 ? 0.0f : activation == 2 ? x * slope : x;
        return x < 0.0f ? below : x;
    }
};

// Up to four neighbours, by one access where they are four.
template <int COUNT>
__device__ __forceinline__ void read(const float *from, float *to) {
    if (COUNT == 4) {
        float4 four = *(const float4 *)from;
        to[0] = four.x, to[1] = four.y, to[2] = four.z, to[3] = four.w;
    } else {
#pragma unroll
        for (int e = 0; e < COUNT; e++) to[e] = from[e];
    }
}

// The tile's sums over k from `from` to `to`. While a slab is multiplied, the next one is on its way; the two halves of shared memory take turns, so that a slab needs one barrier.
template <typename T, typename A, typename B>
__device__ __forceinline__ void multiply(typename T::Memory &memory, A &a, B &b, u32 from, u32 to, typename T::Sums &sums) {
#pragma unroll
    for (int i = 0; i < T::TM; i++)
#pragma unroll
        for (int j = 0; j < T::TN; j++) sums[i][j] = 0.0f;
    if (from >= to) return;
    a.fetch(from, to);
    b.fetch(from, to);
    a.store(memory.a[0]);
    b.store(memory.b[0]);
    __syncthreads();
    int half = 0;
    for (u32 at = from; at < to; at += T::K) {
        bool more = at + T::K < to;
        if (more) {
            a.fetch(at + T::K, to);
            b.fetch(at + T::K, to);
        }
#pragma unroll 2
        for (int k = 0; k < T::K; k++) {
            float x[T::TM], y[T::TN];
#pragma unroll
            for (int i = 0; i < T::TM; i += T::CM) read<T::CM>(&memory.a[half][k][T::row(i)], x + i);
#pragma unroll
            for (int j = 0; j < T::TN; j += T::CN) read<T::CN>(&memory.b[half][k][T::column(j)], y + j);
#pragma unroll
            for (int i = 0; i < T::TM; i++)
#pragma unroll
                for (int j = 0; j < T::TN; j++) sums[i][j] += x[i] * y[j];
        }
        if (more) {
            half ^= 1;
            a.store(memory.a[half]);
            b.store(memory.b[half]);
            __syncthreads();
        }
    }
}

// Where k lies in a matrix: evenly.
struct Even {
    i32 step;
    __device__ __forceinline__ i64 of(u32 k) const { return (i64)(i32)k * step; }
};
// In runs of `inner`, each evenly, the runs `outer` apart.
struct Runs {
    Divide inner;
    i32 outer, step;
    __device__ __forceinline__ i64 of(u32 k) const {
        u32 rest, run = inner.of(k, rest);
        return (i64)(i32)run * outer + (i32)rest * step;
    }
};

// A slab of a matrix, element (i, k) at `start + i step + steps.of(k)`; i stands for a row of A or a column of B. A thread fetches fours along i or along k, whichever lies closer together.
template <int EXTENT, int K, int THREADS, typename Steps>
struct Side {
    static constexpr int FOURS = EXTENT * K / 4, PER = (FOURS + THREADS - 1) / THREADS;
    const float *start;
    i32 step;
    Steps steps;
    // What is left of i from the tile's beginning on.
    int extent;
    bool along_k, vector;
    float held[PER][4];

    __device__ __forceinline__ Side(const float *start, i32 step, Steps steps, int extent, bool along_k, bool vector)
        : start(start), step(step), steps(steps), extent(extent), along_k(along_k), vector(vector) {}

    // The place of a thread's four in the slab; false where there are more threads than fours.
    __device__ __forceinline__ bool place(int p, int &i, int &k) const {
        int four = (int)threadIdx.x + p * THREADS;
        i = along_k ? four / (K / 4) : four % (EXTENT / 4) * 4;
        k = along_k ? four % (K / 4) * 4 : four / (EXTENT / 4);
        return FOURS % THREADS == 0 || four < FOURS;
    }

    __device__ __forceinline__ void fetch(u32 at, u32 end) {
#pragma unroll
        for (int p = 0; p < PER; p++) {
            int i, k;
            if (!place(p, i, k)) continue;
            int ahead = (int)(end - at) - k, across = extent - i;
            int room = along_k ? (across > 0 ? ahead : 0) : (ahead > 0 ? across : 0);
            const float *row = start + (i64)i * step;
            if (vector && room >= 4) {
                read<4>(row + steps.of(at + k), held[p]);
            } else {
#pragma unroll
                for (int e = 0; e < 4; e++) {
                    held[p][e] = 0.0f;
                    if (e < room) held[p][e] = along_k ? row[steps.of(at + k + e)] : row[(i64)e * step + steps.of(at + k)];
                }
            }
        }
    }

    __device__ __forceinline__ void store(float (*slab)[EXTENT + 4]) const {
#pragma unroll
        for (int p = 0; p < PER; p++) {
            int i, k;
            if (!place(p, i, k)) continue;
            if (along_k) {
#pragma unroll
                for (int e = 0; e < 4; e++) slab[k + e][i] = held[p][e];
            } else {
                *(float4 *)&slab[k][i] = make_float4(held[p][0], held[p][1], held[p][2], held[p][3]);
            }
        }
    }
};

// alpha and bias for a thread's sums. The tile begins at (first_row, first_column).
template <typename T>
__device__ __forceinline__ void add_bias(typename T::Sums &sums, const Finish &finish, u32 first_row, u32 first_column, u32 rows, u32 columns) {
#pragma unroll
    for (int i = 0; i < T::TM; i++)
#pragma unroll
        for (int j = 0; j < T::TN; j++) sums[i][j] *= finish.alpha;
    if (finish.bias_side == 1) {
#pragma unroll
        for (int j = 0; j < T::TN; j++) {
            u32 c = first_column + T::column(j);
            float bias = c < columns ? finish.bias[c] : 0.0f;
#pragma unroll
            for (int i = 0; i < T::TM; i++) sums[i][j] += bias;
        }
    } else if (finish.bias_side == 2) {
#pragma unroll
        for (int i = 0; i < T::TM; i++) {
            u32 r = first_row + T::row(i);
            float bias = r < rows ? finish.bias[r] : 0.0f;
#pragma unroll
            for (int j = 0; j < T::TN; j++) sums[i][j] += bias;
        }
    }
}

// COUNT neighbours of a row, of which `room` are there, finished and written.
template <int COUNT>
__device__ __forceinline__ void put(float *to, float *from, i32 step, u32 room, bool vector, const Finish &finish) {
    if (finish.beta != 0.0f) {
#pragma unroll
        for (int e = 0; e < COUNT; e++)
            if (e < room) from[e] += finish.beta * to[(i64)e * step];
    }
#pragma unroll
    for (int e = 0; e < COUNT; e++) from[e] = finish.activated(from[e]);
    if (COUNT == 4 && vector && room >= 4) {
        *(float4 *)to = make_float4(from[0], from[1], from[2], from[3]);
    } else {
#pragma unroll
        for (int e = 0; e < COUNT; e++)
            if (e < room) to[(i64)e * step] = from[e];
    }
}

// Results as a matrix, element (i, j) at `start + i row + j column`. The tile begins at (first_row, first_column).
struct Matrix {
    float *start;
    i32 row, column;
    u32 first_row, first_column, rows, columns;
    bool vector;

    template <typename T>
    __device__ __forceinline__ void write(typename T::Sums &sums, const Finish &finish) const {
        add_bias<T>(sums, finish, first_row, first_column, rows, columns);
#pragma unroll
        for (int i = 0; i < T::TM; i++) {
            u32 r = first_row + T::row(i);
            if (r >= rows) continue;
            float *to = start + (i64)(i32)r * row;
#pragma unroll
            for (int j = 0; j < T::TN; j += T::CN) {
                u32 c = first_column + T::column(j);
                if (c < columns) put<T::CN>(to + (i64)(i32)c * column, &sums[i][j], column, columns - c, vector, finish);
            }
        }
    }
};
