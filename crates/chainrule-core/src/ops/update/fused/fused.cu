// One optimizer step over all parameters of a model: measure, conclude, write.
//
// measure reads every gradient once (4 bytes an element), write reads gradient, value and states once and writes value and states once
// (SGD 12, with momentum 20, Adam 28 bytes an element); conclude is one small block. All numbers of a formula are rounded as on the CPU, so no multiplication is joined with an addition unless it says so.
#include "prelude.cuh"

enum : u32 { CHUNK = 4096, THREADS = 256, SETTINGS = 8, CONSTANTS = 10 };

// What a part is: SGD's or Adam's parameter, or a buffer that takes new numbers.
enum Kind : u32 { PLAIN, MOMENTUM, ADAM, AMSGRAD, FOLLOW, FOLLOW_WHOLE };

// A buffer becomes `decay · buffer + scale · add`; where there is no address to add from, `add` is one number.
struct Following {
    float decay, scale;
    double add;
    u64 none;
};

struct Part {
    float *value;
    const float *gradient;
    union {
        float *states[3];
        Following follows;
    };
    u64 count;
    u32 kind;
    u32 setting;
};

struct Chunk {
    u32 part;
    u32 index;
};

// What the program sets before each step.
struct Limits {
    double clip_norm;
    double clip_value;
    double sign;
    u64 skip_non_finite;
};

// What the GPU keeps from step to step.
struct State {
    double norm;
    double clipped;
    u64 steps;   // taken
    u64 passed;  // passed over since the program last looked, because a gradient was not finite
    u64 bad;     // 1 + the first part that was not finite in the latest step, 0 if none
    u64 stopped; // 1 once a step was not finite, unless such steps are passed over: nothing is written any more
};

struct Sums {
    double squares, clipped;
};

__device__ __forceinline__ float limited(float x, float most) { return fminf(fmaxf(x, -most), most); }

// A product that is rounded before something is added to it, as on the CPU; -0 becomes 0 there.
__device__ __forceinline__ float scaled(float x, float factor) { return factor == 1.0f ? x : __fmaf_rn(x, factor, 0.0f); }

// A buffer's new number.
__device__ __forceinline__ float followed(const Part &part, u64 i) {
    float add = part.gradient ? part.gradient[i] : (float)part.follows.add;
    return __fadd_rn(scaled(part.value[i], part.follows.decay), scaled(add, part.follows.scale));
}

// The squares of a chunk's gradients, in double; a sum that is not finite shows a gradient that is not.
KERNEL measure(const Part *parts, const Chunk *chunks, const Limits *limits, Sums *sums) {
    __shared__ double scratch[THREADS / WARP];
    Chunk chunk = chunks[blockIdx.x];
    const Part *part = parts + chunk.part;
    u64 start = (u64)chunk.index * CHUNK, end = min(start + CHUNK, part->count);
    float most = (float)limits->clip_value;
    bool follows = part->kind >= FOLLOW;
    double squares = 0.0, clipped = 0.0;
    if (part->kind == FOLLOW) {
        for (u64 i = start + threadIdx.x; i < end; i += THREADS) {
            double x = followed(*part, i);
            squares += x * x;
        }
    } else if (!follows) {
        for (u64 i = start + threadIdx.x; i < end; i += THREADS) {
            double x = part->gradient[i], y = limited((float)x, most);
            squares += x * x;
            clipped += y * y;
        }
    }
    squares = block_sum(squares, scratch);
    clipped = block_sum(clipped, scratch);
    if (threadIdx.x == 0) {
        // A buffer's numbers count for nothing but whether they are finite.
        if (follows) squares = clipped = squares - squares;
        sums[blockIdx.x] = Sums{squares, clipped};
    }
}

// From the sums of all chunks: the norm, how far it is clipped, whether the step is taken, and the constants of every setting's formula. One block.
KERNEL conclude(const Chunk *chunks, u32 count, const Sums *sums, const Limits *limits, const double *settings, u32 rows, State *state, float *constants) {
    __shared__ double scratch[THREADS / WARP];
    __shared__ u32 firsts[THREADS];
    __shared__ double shared_scale;
    double squares = 0.0, clipped = 0.0;
    u32 bad = 0xffffffffu;
    for (u32 i = threadIdx.x; i < count; i += THREADS) {
        double sum = sums[i].squares;
        if (!(sum - sum == 0.0)) bad = min(bad, chunks[i].part);
        squares += sum;
        clipped += sums[i].clipped;
    }
    squares = block_sum(squares, scratch);
    clipped = block_sum(clipped, scratch);
    firsts[threadIdx.x] = bad;
    __syncthreads();
    if (threadIdx.x == 0) {
        for (u32 i = 1; i < THREADS; i++) bad = min(bad, firsts[i]);
        bool finite = bad == 0xffffffffu;
        double norm = sqrt(squares), to_clip = sqrt(clipped);
        double scale = fmin(limits->clip_norm / (to_clip + 1e-6), 1.0);
        if (state->stopped == 0) {
            state->norm = norm;
            state->clipped = scale;
            state->bad = finite ? 0 : (u64)bad + 1;
            if (finite) {
                state->steps += 1;
            } else {
                state->passed += 1;
                if (limits->skip_non_finite == 0) state->stopped = 1;
            }
        } else {
            state->passed += 1;
        }
        shared_scale = scale * limits->sign;
    }
    __syncthreads();
    double scale = shared_scale;
    // Steps that were passed over do not count where the bias is corrected.
    double passed = (double)state->passed;
    for (u32 row = threadIdx.x; row < rows; row += THREADS) {
        const double *s = settings + row * SETTINGS;
        float *c = constants + row * CONSTANTS;
        double rate = s[1], decay = s[2], number = s[3] - passed;
        c[0] = (float)scale;
        if (s[0] == 0.0) {
            double momentum = s[4], dampening = s[5], nesterov = s[6];
            c[1] = (float)decay;
            c[2] = (float)momentum;
            c[3] = (float)(number == 1.0 ? 1.0 : 1.0 - dampening);
            c[4] = (float)(nesterov != 0.0 ? -rate : 0.0);
            c[5] = (float)(nesterov != 0.0 ? -rate * momentum : -rate);
        } else {
            double beta1 = s[4], beta2 = s[5], eps = s[6], decoupled = s[7];
            c[1] = (float)(decoupled != 0.0 ? 0.0 : decay);
            c[2] = (float)(1.0 - beta1);
            c[3] = (float)(1.0 - beta2);
            c[4] = (float)beta2;
            c[5] = (float)(decoupled != 0.0 ? 1.0 - rate * decay : 1.0);
            c[6] = (float)(-rate / (1.0 - pow(beta1, number)));
            c[7] = (float)(1.0 / sqrt(1.0 - pow(beta2, number)));
            c[8] = (float)eps;
        }
    }
}

__device__ __forceinline__ float times(float a, float b) { return __fmul_rn(a, b); }
__device__ __forceinline__ float plus(float a, float b) { return __fadd_rn(a, b); }

// Every parameter, state and buffer in place; nothing where the step is not taken.
KERNEL write(const Part *parts, const Chunk *chunks, const Limits *limits, const State *state, const float *constants) {
    if (state->bad != 0 || state->stopped != 0) return;
    Chunk chunk = chunks[blockIdx.x];
    const Part part = parts[chunk.part];
    u64 start = (u64)chunk.index * CHUNK, end = min(start + CHUNK, part.count);
    if (part.kind == FOLLOW) {
        for (u64 i = start + threadIdx.x; i < end; i += THREADS) part.value[i] = followed(part, i);
        return;
    }
    if (part.kind == FOLLOW_WHOLE) {
        // Whole numbers are added as they are.
        i64 *to = (i64 *)part.value;
        const i64 *from = (const i64 *)part.gradient;
        for (u64 i = start + threadIdx.x; i < end; i += THREADS) to[i] += from ? from[i] : (i64)part.follows.add;
        return;
    }
    // In registers, because the compiler must think that every store may change them.
    float c[CONSTANTS];
#pragma unroll
    for (u32 i = 0; i < CONSTANTS; i++) c[i] = constants[part.setting * CONSTANTS + i];
    float most = (float)limits->clip_value, scale = c[0], decay = c[1];
    for (u64 i = start + threadIdx.x; i < end; i += THREADS) {
        float p = part.value[i];
        float g = __fmaf_rn(decay, p, times(limited(part.gradient[i], most), scale));
        if (part.kind == PLAIN) {
            p = __fmaf_rn(g, c[5], p);
        } else if (part.kind == MOMENTUM) {
            float b = __fmaf_rn(c[3], g, times(part.states[0][i], c[2]));
            p = plus(__fmaf_rn(c[4], g, times(b, c[5])), p);
            part.states[0][i] = b;
        } else {
            float m = part.states[0][i], v = part.states[1][i];
            m = __fmaf_rn(c[2], __fsub_rn(g, m), m);
            v = __fmaf_rn(times(c[3], g), g, times(v, c[4]));
            part.states[0][i] = m;
            part.states[1][i] = v;
            if (part.kind == AMSGRAD) {
                v = larger(part.states[2][i], v);
                part.states[2][i] = v;
            }
            float divisor = __fmaf_rn(__fsqrt_rn(v), c[7], c[8]);
            p = plus(__fdiv_rn(times(c[6], m), divisor), times(p, c[5]));
        }
        part.value[i] = p;
    }
}

// Keeps a step's loss where the program finds it later: one of `count` places in turn. One thread.
KERNEL keep_loss(const float *loss, float *places, u32 count, u64 *turn) {
    places[*turn % count] = *loss;
    *turn += 1;
}

// The squares of each chunk of an array, in double.
KERNEL squares(const float *x, u64 count, double *sums) {
    __shared__ double scratch[THREADS / WARP];
    u64 start = (u64)blockIdx.x * CHUNK, end = min(start + CHUNK, count);
    double sum = 0.0;
    for (u64 i = start + threadIdx.x; i < end; i += THREADS) sum += (double)x[i] * x[i];
    sum = block_sum(sum, scratch);
    if (threadIdx.x == 0) sums[blockIdx.x] = sum;
}
