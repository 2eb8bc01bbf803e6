// Cross-entropy of logits [N, C]: forward reads the logits once (twice with label smoothing) and writes 12 bytes a row; backward reads them once and writes as much. One or two exponentials a logit.
#include "rows.cuh"

struct Call {
    const float *logits;
    const i64 *labels;
    const float *weight; // of the classes, or null
    i64 ignored;
    double smoothing;
    u64 rows;
    u32 classes, has_ignored, aligned;
};

// The label of a row: its class; or that it is ignored, or no class.
enum : i64 { IGNORED = -1, WRONG = -2 };
__device__ __forceinline__ i64 class_of(const Call &call, u64 row) {
    if (row >= call.rows) return IGNORED;
    i64 label = call.labels[row];
    if (call.has_ignored && label == call.ignored) return IGNORED;
    return label >= 0 && label < (i64)call.classes ? label : WRONG;
}
__device__ __forceinline__ double weight_of(const Call &call, i64 label) { return label < 0 ? 0.0 : call.weight ? (double)call.weight[label] : 1.0; }

// The weights of all classes.
template <u32 LANES>
__device__ __forceinline__ double total_weight(const Call &call, u32 thread, u32 threads, Total *scratch) {
    if (!call.weight) return call.classes;
    Total total = Total::none();
    for (u32 at = thread; at < call.classes; at += threads) total.sum += (double)call.weight[at];
    return together<LANES>(total, scratch).sum;
}

template <u32 LANES>
__device__ __forceinline__ void forward(const Call &call, float *losses, float *log_normaliser, float *weights) {
    __shared__ Peak peaks[LANES == BLOCK ? WARP : 1];
    __shared__ Total totals[LANES == BLOCK ? WARP : 1];
    each_row<LANES>(call.rows, [=](u64 row, u32 thread, u32 threads) {
        const float *x = call.logits + row * call.classes;
        u32 count = row < call.rows ? call.classes : 0;
        Peak found = Peak::none();
        each_four(count, thread, threads, [&](u32 at, u32 left) {
            float four[4];
            load_four(x + at, call.aligned, left, four);
#pragma unroll
            for (u32 i = 0; i < 4; i++) {
                if (i < left) found.add(four[i]);
            }
        });
        found = together<LANES>(found, peaks);
        double most = found.most, ln = log(found.total()), smooth = 0.0;
        if (call.smoothing > 0.0) {
            // Distances are taken from the maximum, so that large logits lose nothing.
            Total distances = Total::none();
            for (u32 at = thread; at < count; at += threads) distances.sum += (call.weight ? (double)call.weight[at] : 1.0) * (most - (double)x[at]);
            smooth = together<LANES>(distances, totals).sum + total_weight<LANES>(call, thread, threads, totals) * ln;
        }
        if (thread != 0 || row >= call.rows) return;
        i64 label = class_of(call, row);
        double weight = weight_of(call, label), loss = 0.0;
        if (label >= 0) loss = (1.0 - call.smoothing) * weight * (most - (double)x[label] + ln) + call.smoothing / call.classes * smooth;
        losses[row] = label == WRONG ? NAN : (float)loss;
        log_normaliser[row] = (float)(most + ln);
        weights[row] = (float)weight;
    });
}

template <u32 LANES>
__device__ __forceinline__ void backward(const Call &call, const float *log_normaliser, const float *row_scale, i64 scale_step, float *to) {
    __shared__ Total totals[LANES == BLOCK ? WARP : 1];
    each_row<LANES>(call.rows, [=](u64 row, u32 thread, u32 threads) {
        double total = call.smoothing > 0.0 ? total_weight<LANES>(call, thread, threads, totals) : 0.0;
        if (row >= call.rows) return;
        const float *x = call.logits + row * call.classes;
        i64 label = class_of(call, row);
        double weight = weight_of(call, label), scale = row_scale[(i64)row * scale_step], spread = call.smoothing / call.classes;
        float factor = (float)(scale * ((1.0 - call.smoothing) * weight + spread * total)), even = (float)(-scale * spread);
        float taken = (float)(scale * (1.0 - call.smoothing) * weight), normaliser = log_normaliser[row];
        each_four(call.classes, thread, threads, [&](u32 at, u32 left) {
            float four[4], out[4];
            bool whole = call.aligned;
            load_four(x + at, whole, left, four);
#pragma unroll
            for (u32 i = 0; i < 4; i++) {
                float shift = call.smoothing > 0.0 ? call.weight && i < left ? call.weight[at + i] * even : even : 0.0f;
                out[i] = fmaf(expf(four[i] - normaliser), factor, shift) - (at + i == label ? taken : 0.0f);
                if (label < 0) out[i] = label == WRONG ? NAN : 0.0f;
            }
            store_four(to + row * call.classes + at, whole, left, out);
        });
    });
}

#define KERNELS(suffix, LANES)                                                                                                                                         \
    KERNEL cross_entropy_##suffix(Call call, float *losses, float *log_normaliser, float *weights) { forward<LANES>(call, losses, log_normaliser, weights); }           \
    KERNEL cross_entropy_backward_##suffix(Call call, const float *log_normaliser, const float *row_scale, i64 scale_step, float *to) { backward<LANES>(call, log_normaliser, row_scale, scale_step, to); }
KERNELS(octets, OCTET)
KERNELS(warps, WARP)
KERNELS(blocks, BLOCK)
