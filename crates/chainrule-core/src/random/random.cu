// Random numbers and dropout: the CPU's numbers, of random.rs.
#include "philox.cuh"

// out = 0 where the stream's word is below the threshold, else x · scale. A thread has four counters, and so four times four numbers side by side.
// Bytes: 8 a number; operations: 10 rounds of Philox for four numbers, about 20 each.
template <bool WIDE>
__device__ __forceinline__ void drop(const float *x, float *out, u64 count, const Stream &stream, u64 threshold, float scale) {
    u64 key = stream.word(), quads = (count + 63) / 64 * 4;
    for (u64 i = first(); i < quads; i += step()) {
        uint4 drawn[4];
#pragma unroll
        for (int k = 0; k < 4; k++) drawn[k] = words(key, 0, 4 * i + k);
        u64 group = i / 4 * 64 + i % 4 * 4;
#pragma unroll
        for (int w = 0; w < 4; w++) {
            u64 at = group + w * 16;
            if (WIDE && at + 4 <= count) {
                float4 four = *(const float4 *)(x + at);
                four.x = word(drawn[0], w) < threshold ? 0.0f : four.x * scale;
                four.y = word(drawn[1], w) < threshold ? 0.0f : four.y * scale;
                four.z = word(drawn[2], w) < threshold ? 0.0f : four.z * scale;
                four.w = word(drawn[3], w) < threshold ? 0.0f : four.w * scale;
                *(float4 *)(out + at) = four;
                continue;
            }
#pragma unroll
            for (int k = 0; k < 4; k++) {
                if (at + k < count) out[at + k] = word(drawn[k], w) < threshold ? 0.0f : x[at + k] * scale;
            }
        }
    }
}
KERNEL dropout(const float *x, float *out, u64 count, Stream stream, u64 threshold, float scale) { drop<false>(x, out, count, stream, threshold, scale); }
KERNEL dropout_wide(const float *x, float *out, u64 count, Stream stream, u64 threshold, float scale) { drop<true>(x, out, count, stream, threshold, scale); }

// The cosine of an angle from 0 to 2 pi to the last bit or so of a double: in eighths of a turn, by the series that ends below 2^-53 there.
__device__ __forceinline__ double cosine(double angle) {
    double quarters = rint(angle * 0.63661977236758134308);
    double rest = __fma_rn(-quarters, 6.123233995736766036e-17, __fma_rn(-quarters, 1.5707963267948965580, angle));
    double square = rest * rest, even = 4.779477332387385297e-14, odd = 2.811457254345520763e-15;
    // 1 / 16!, 1 / 17! above; below 1 / n! down to 2 and 3, of alternating signs.
    even = __fma_rn(even, square, -1.147074559772972471e-11);
    even = __fma_rn(even, square, 2.087675698786809898e-9);
    even = __fma_rn(even, square, -2.755731922398589065e-7);
    even = __fma_rn(even, square, 2.480158730158730159e-5);
    even = __fma_rn(even, square, -1.388888888888888889e-3);
    even = __fma_rn(even, square, 4.166666666666666667e-2);
    even = __fma_rn(even, square, -0.5);
    odd = __fma_rn(odd, square, -7.647163731819816476e-13);
    odd = __fma_rn(odd, square, 1.605904383682161460e-10);
    odd = __fma_rn(odd, square, -2.505210838544171878e-8);
    odd = __fma_rn(odd, square, 2.755731922398589065e-6);
    odd = __fma_rn(odd, square, -1.984126984126984127e-4);
    odd = __fma_rn(odd, square, 8.333333333333333333e-3);
    odd = __fma_rn(odd, square, -1.666666666666666667e-1);
    double cosine = __fma_rn(even, square, 1.0), sine = __fma_rn(odd * square, rest, rest);
    int quadrant = (int)quarters & 3;
    double value = quadrant & 1 ? sine : cosine;
    return quadrant == 1 || quadrant == 2 ? -value : value;
}

// Two numbers of [0, 1) make one of the distribution; in doubles and operation by operation, as on the CPU.
struct Uniform {
    static __device__ __forceinline__ double of(double u, double, double low, double width) { return __dadd_rn(low, __dmul_rn(width, u)); }
};
struct Normal {
    static __device__ __forceinline__ double of(double u, double v, double mean, double deviation) {
        double radius = sqrt(__dmul_rn(-2.0, log(__dadd_rn(1.0, -u))));
        return __dadd_rn(mean, __dmul_rn(__dmul_rn(deviation, radius), cosine(__dmul_rn(6.283185307179586477, v))));
    }
};

// out[i] follows from the words of number i. Bytes: 4 a number; operations: 40 of Philox, and some 10 (uniform) or 80 (normal) in double precision.
template <typename Distribution>
__device__ __forceinline__ void fill(float *out, u64 count, u64 key, double a, double b) {
    const double unit = 1.0 / 4294967296.0;
    u64 counters = (count + 63) / 64 * 16;
    for (u64 i = first(); i < counters; i += step()) {
        u64 group = i / 16 * 64 + i % 16;
        if (group >= count) continue;
        uint4 coarse = words(key, 0, i), fine = words(key, 1, i);
#pragma unroll
        for (int w = 0; w < 4; w++) {
            u64 at = group + 16 * w;
            if (at >= count) break;
            double v = __dmul_rn((double)word(fine, w), unit);
            double u = __dmul_rn(__dadd_rn((double)word(coarse, w), v), unit);
            out[at] = (float)Distribution::of(u, v, a, b);
        }
    }
}
KERNEL uniform(float *out, u64 count, u64 key, double low, double width) { fill<Uniform>(out, count, key, low, width); }
KERNEL normal(float *out, u64 count, u64 key, double mean, double deviation) { fill<Normal>(out, count, key, mean, deviation); }
