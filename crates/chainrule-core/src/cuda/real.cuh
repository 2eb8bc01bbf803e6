// Functions of one number as formulas call them: the twin of simd/real.rs. Those that CUDA has stand in formulas under its own names (expf, tanhf, …).
#pragma once
#include "prelude.cuh"

#define FUNCTION __device__ __forceinline__

// The smaller one; NaN where either is NaN, as on the CPU.
FUNCTION float smaller(float a, float b) { return (a < b || a != a) ? a : b; }
FUNCTION float sigmoid(float x) { return 1.0f / (1.0f + expf(-x)); }
// ln(1 + exp(x)) without overflow.
FUNCTION float softplus(float x) { return larger(x, 0.0f) + log1pf(expf(-fabsf(x))); }

// exp(-x²/2), 0 where it is below the smallest normal number. The rounding of x² is made up for.
FUNCTION float bell(float x) {
    if (fabsf(x) > 13.1f) return 0.0f;
    float square = x * x, rest = fmaf(x, x, -square), y = expf(-0.5f * square);
    return fmaf(y, -0.5f * rest, y);
}
// The density of the normal distribution.
FUNCTION float normal_density(float x) { return bell(x) * 0.3989422804014327f; }
// The normal distribution function: bell(a) R(a) below -a, with R(a) (1 + 0.34 a) as a polynomial in a / (1 + 0.34 a), as in simd/math.rs.
FUNCTION float normal_distribution(float x) {
    float a = fminf(fabsf(x), 13.1f), t = 1.0f / fmaf(a, 0.34f, 1.0f), u = a * t;
    float p = -4.7365676245914035e-06f;
    p = fmaf(p, u, 3.718405436416161e-05f);
    p = fmaf(p, u, -4.604374261799049e-05f);
    p = fmaf(p, u, -0.000131113455918163f);
    p = fmaf(p, u, -0.0010323393425887336f);
    p = fmaf(p, u, 0.003329726611333315f);
    p = fmaf(p, u, 0.036518504014415275f);
    p = fmaf(p, u, -0.22894247678350985f);
    p = fmaf(p, u, 0.5000000121406956f);
    float tail = p * t * bell(x);
    return x != x ? x : x > 0.0f ? 1.0f - tail : tail;
}

// The first three derivatives of ln Γ, in double as in simd/special.rs: the asymptotic series from 15 on, the recurrence below. `ORDER` counts the derivatives.
template <int ORDER>
FUNCTION double gamma_above(double z) {
    const double bernoulli[8] = {1.0 / 6, -1.0 / 30, 1.0 / 42, -1.0 / 30, 5.0 / 66, -691.0 / 2730, 7.0 / 6, -3617.0 / 510};
    double lifted = 0.0;
    for (; z < 15.0; z += 1.0) lifted += ORDER == 1 ? 1.0 / z : ORDER == 2 ? 1.0 / (z * z) : 2.0 / (z * z * z);
    double inverse = 1.0 / (z * z), series = 0.0;
#pragma unroll
    for (int k = 8; k > 0; k--) series = (series + bernoulli[k - 1] * (ORDER == 1 ? 0.5 / k : ORDER == 2 ? 1.0 : 2.0 * k + 1.0)) * inverse;
    if (ORDER == 1) return log(z) - 0.5 / z - series - lifted;
    if (ORDER == 2) return (1.0 + 0.5 / z + series) / z + lifted;
    return -(1.0 + 1.0 / z + series) * inverse - lifted;
}
// Below 0 they are reflected. The distance to the nearest integer is exact.
FUNCTION float digammaf(float x) {
    if (x == 0.0f) return copysignf(INFINITY, -x);
    if (x > 0.0f || x != x) return (float)gamma_above<1>(x);
    float distance = x - rintf(x);
    return x == floorf(x) ? NAN : (float)(gamma_above<1>(1.0 - x) - 3.14159265358979 * (double)(cospif(distance) / sinpif(distance)));
}
FUNCTION float trigammaf(float x) {
    if (x > 0.0f || x != x) return (float)gamma_above<2>(x);
    double ratio = 3.14159265358979 / (double)sinpif(x - rintf(x));
    return (float)(ratio * ratio - gamma_above<2>(1.0 - x));
}
FUNCTION float tetragammaf(float x) {
    if (x > 0.0f || x != x) return (float)gamma_above<3>(x);
    float distance = x - rintf(x);
    double ratio = 3.14159265358979 / (double)sinpif(distance);
    return (float)(gamma_above<3>(1.0 - x) - 2.0 * ratio * ratio * ratio * (double)cospif(distance));
}
