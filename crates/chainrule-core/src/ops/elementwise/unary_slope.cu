// Functions of one number: g f'; 12 bytes an element, and the operations of the formula.
// Written by ops/elementwise/source.rs from the rows of table.rs; edit those and run its test with CHAINRULE_BLESS=1.
#include "map.cuh"
#include "real.cuh"

KERNEL affine_slope(const float *g, const float *x, float *to, u64 count, float scale, float shift) {
    auto f = [=](float g, float x) {
        return g * scale;
    };
    map(g, x, to, count, f);
}
KERNEL relu_slope(const float *g, const float *x, float *to, u64 count) { // x is the function's value
    auto f = [=](float g, float x) {
        return g * (x > 0.0f ? 1.0f : 0.0f);
    };
    map(g, x, to, count, f);
}
KERNEL leaky_relu_slope(const float *g, const float *x, float *to, u64 count, float negative_slope) {
    auto f = [=](float g, float x) {
        return g * (x > 0.0f ? 1.0f : negative_slope);
    };
    map(g, x, to, count, f);
}
KERNEL elu_slope(const float *g, const float *x, float *to, u64 count, float alpha) {
    auto f = [=](float g, float x) {
        return g * (x > 0.0f ? 1.0f : alpha * expf(x));
    };
    map(g, x, to, count, f);
}
KERNEL selu_slope(const float *g, const float *x, float *to, u64 count) {
    auto f = [=](float g, float x) {
        return g * (1.050701f * (x > 0.0f ? 1.0f : 1.6732632f * expf(x)));
    };
    map(g, x, to, count, f);
}
KERNEL relu6_slope(const float *g, const float *x, float *to, u64 count) {
    auto f = [=](float g, float x) {
        return g * (x > 0.0f && x < 6.0f ? 1.0f : 0.0f);
    };
    map(g, x, to, count, f);
}
KERNEL gelu_slope(const float *g, const float *x, float *to, u64 count) {
    auto f = [=](float g, float x) {
        return g * fmaf(x, normal_density(x), normal_distribution(x));
    };
    map(g, x, to, count, f);
}
KERNEL gelu_tanh_slope(const float *g, const float *x, float *to, u64 count) {
    auto f = [=](float g, float x) {
        float t0 = 0.7978846f * x * (0.044715f * x * x + 1.0f);
        float t1 = sigmoid(t0 + t0);
        return g * (t1 + 2.0f * x * (t1 * (1.0f - t1)) * (0.7978846f * (0.044715f * 3.0f * x * x + 1.0f)));
    };
    map(g, x, to, count, f);
}
KERNEL silu_slope(const float *g, const float *x, float *to, u64 count) {
    auto f = [=](float g, float x) {
        float t0 = sigmoid(x);
        return g * (t0 * (1.0f + x * (1.0f - t0)));
    };
    map(g, x, to, count, f);
}
KERNEL sigmoid_slope(const float *g, const float *x, float *to, u64 count) { // x is the function's value
    auto f = [=](float g, float x) {
        return g * (x * (1.0f - x));
    };
    map(g, x, to, count, f);
}
KERNEL log_sigmoid_slope(const float *g, const float *x, float *to, u64 count) {
    auto f = [=](float g, float x) {
        return g * sigmoid(-x);
    };
    map(g, x, to, count, f);
}
KERNEL tanh_slope(const float *g, const float *x, float *to, u64 count) { // x is the function's value
    auto f = [=](float g, float x) {
        return g * (1.0f - x * x);
    };
    map(g, x, to, count, f);
}
KERNEL softplus_slope(const float *g, const float *x, float *to, u64 count, float beta, float threshold) {
    auto f = [=](float g, float x) {
        float t0 = x * beta;
        return g * (t0 > threshold ? 1.0f : sigmoid(t0));
    };
    map(g, x, to, count, f);
}
KERNEL mish_slope(const float *g, const float *x, float *to, u64 count) {
    auto f = [=](float g, float x) {
        float t0 = expf(smaller(x, 20.0f));
        float t1 = t0 * (t0 + 2.0f);
        float t2 = t1 / (t1 + 2.0f);
        return g * (t2 + x * sigmoid(x) * (1.0f - t2 * t2));
    };
    map(g, x, to, count, f);
}
KERNEL hardswish_slope(const float *g, const float *x, float *to, u64 count) {
    auto f = [=](float g, float x) {
        return g * (x > 3.0f ? 1.0f : x < (-3.0f) ? 0.0f : x * 0.33333334f + 0.5f);
    };
    map(g, x, to, count, f);
}
KERNEL hardsigmoid_slope(const float *g, const float *x, float *to, u64 count) {
    auto f = [=](float g, float x) {
        return g * (x > (-3.0f) && x < 3.0f ? 0.16666667f : 0.0f);
    };
    map(g, x, to, count, f);
}
KERNEL clamp_slope(const float *g, const float *x, float *to, u64 count, float min, float max) {
    auto f = [=](float g, float x) {
        return g * (x >= min && x <= max ? 1.0f : 0.0f);
    };
    map(g, x, to, count, f);
}
KERNEL abs_slope(const float *g, const float *x, float *to, u64 count) {
    auto f = [=](float g, float x) {
        return g * (x > 0.0f ? 1.0f : x < 0.0f ? -1.0f : 0.0f);
    };
    map(g, x, to, count, f);
}
KERNEL sign_slope(const float *g, const float *x, float *to, u64 count) {
    auto f = [=](float g, float x) {
        return g * 0.0f;
    };
    map(g, x, to, count, f);
}
KERNEL floor_slope(const float *g, const float *x, float *to, u64 count) {
    auto f = [=](float g, float x) {
        return g * 0.0f;
    };
    map(g, x, to, count, f);
}
KERNEL round_slope(const float *g, const float *x, float *to, u64 count) {
    auto f = [=](float g, float x) {
        return g * 0.0f;
    };
    map(g, x, to, count, f);
}
KERNEL exp_slope(const float *g, const float *x, float *to, u64 count) { // x is the function's value
    auto f = [=](float g, float x) {
        return g * x;
    };
    map(g, x, to, count, f);
}
KERNEL exp_m1_slope(const float *g, const float *x, float *to, u64 count) { // x is the function's value
    auto f = [=](float g, float x) {
        return g * (x + 1.0f);
    };
    map(g, x, to, count, f);
}
KERNEL ln_slope(const float *g, const float *x, float *to, u64 count) {
    auto f = [=](float g, float x) {
        return g * (1.0f / x);
    };
    map(g, x, to, count, f);
}
KERNEL ln_1p_slope(const float *g, const float *x, float *to, u64 count) {
    auto f = [=](float g, float x) {
        return g * (1.0f / (1.0f + x));
    };
    map(g, x, to, count, f);
}
KERNEL sqrt_slope(const float *g, const float *x, float *to, u64 count) { // x is the function's value
    auto f = [=](float g, float x) {
        return g * (0.5f / x);
    };
    map(g, x, to, count, f);
}
KERNEL rsqrt_slope(const float *g, const float *x, float *to, u64 count) { // x is the function's value
    auto f = [=](float g, float x) {
        return g * (-0.5f * x * x * x);
    };
    map(g, x, to, count, f);
}
KERNEL reciprocal_slope(const float *g, const float *x, float *to, u64 count) { // x is the function's value
    auto f = [=](float g, float x) {
        return g * (-(x * x));
    };
    map(g, x, to, count, f);
}
KERNEL square_slope(const float *g, const float *x, float *to, u64 count) {
    auto f = [=](float g, float x) {
        return g * (2.0f * x);
    };
    map(g, x, to, count, f);
}
KERNEL sin_slope(const float *g, const float *x, float *to, u64 count) {
    auto f = [=](float g, float x) {
        return g * cosf(x);
    };
    map_singly(to, count, f, g, x);
}
KERNEL cos_slope(const float *g, const float *x, float *to, u64 count) {
    auto f = [=](float g, float x) {
        return g * (-sinf(x));
    };
    map_singly(to, count, f, g, x);
}
KERNEL erf_slope(const float *g, const float *x, float *to, u64 count) {
    auto f = [=](float g, float x) {
        return g * (1.1283792f * expf(-(x * x)));
    };
    map(g, x, to, count, f);
}
KERNEL powf_slope(const float *g, const float *x, float *to, u64 count, float exponent) {
    auto f = [=](float g, float x) {
        return g * (exponent == 0.0f ? 0.0f : exponent * powf(x, exponent - 1.0f));
    };
    map_singly(to, count, f, g, x);
}
KERNEL tan_slope(const float *g, const float *x, float *to, u64 count) { // x is the function's value
    auto f = [=](float g, float x) {
        return g * fmaf(x, x, 1.0f);
    };
    map(g, x, to, count, f);
}
KERNEL asin_slope(const float *g, const float *x, float *to, u64 count) {
    auto f = [=](float g, float x) {
        return g * (1.0f / sqrtf(1.0f - x * x));
    };
    map(g, x, to, count, f);
}
KERNEL acos_slope(const float *g, const float *x, float *to, u64 count) {
    auto f = [=](float g, float x) {
        return g * (-1.0f / sqrtf(1.0f - x * x));
    };
    map(g, x, to, count, f);
}
KERNEL atan_slope(const float *g, const float *x, float *to, u64 count) {
    auto f = [=](float g, float x) {
        return g * (1.0f / (1.0f + x * x));
    };
    map(g, x, to, count, f);
}
KERNEL sinh_slope(const float *g, const float *x, float *to, u64 count) {
    auto f = [=](float g, float x) {
        return g * coshf(x);
    };
    map_singly(to, count, f, g, x);
}
KERNEL cosh_slope(const float *g, const float *x, float *to, u64 count) {
    auto f = [=](float g, float x) {
        return g * sinhf(x);
    };
    map_singly(to, count, f, g, x);
}
KERNEL asinh_slope(const float *g, const float *x, float *to, u64 count) {
    auto f = [=](float g, float x) {
        return g * (1.0f / sqrtf(1.0f + x * x));
    };
    map(g, x, to, count, f);
}
KERNEL acosh_slope(const float *g, const float *x, float *to, u64 count) {
    auto f = [=](float g, float x) {
        return g * (1.0f / sqrtf(x * x - 1.0f));
    };
    map(g, x, to, count, f);
}
KERNEL atanh_slope(const float *g, const float *x, float *to, u64 count) {
    auto f = [=](float g, float x) {
        return g * (1.0f / (1.0f - x * x));
    };
    map(g, x, to, count, f);
}
KERNEL exp2_slope(const float *g, const float *x, float *to, u64 count) { // x is the function's value
    auto f = [=](float g, float x) {
        return g * (x * 0.6931472f);
    };
    map(g, x, to, count, f);
}
KERNEL log2_slope(const float *g, const float *x, float *to, u64 count) {
    auto f = [=](float g, float x) {
        return g * (1.0f / (x * 0.6931472f));
    };
    map(g, x, to, count, f);
}
KERNEL log10_slope(const float *g, const float *x, float *to, u64 count) {
    auto f = [=](float g, float x) {
        return g * (1.0f / (x * 2.3025851f));
    };
    map(g, x, to, count, f);
}
KERNEL ceil_slope(const float *g, const float *x, float *to, u64 count) {
    auto f = [=](float g, float x) {
        return g * 0.0f;
    };
    map(g, x, to, count, f);
}
KERNEL trunc_slope(const float *g, const float *x, float *to, u64 count) {
    auto f = [=](float g, float x) {
        return g * 0.0f;
    };
    map(g, x, to, count, f);
}
KERNEL frac_slope(const float *g, const float *x, float *to, u64 count) {
    auto f = [=](float g, float x) {
        return g * 1.0f;
    };
    map(g, x, to, count, f);
}
KERNEL erfc_slope(const float *g, const float *x, float *to, u64 count) {
    auto f = [=](float g, float x) {
        return g * (-1.1283792f * expf(-(x * x)));
    };
    map(g, x, to, count, f);
}
KERNEL erfinv_slope(const float *g, const float *x, float *to, u64 count) { // x is the function's value
    auto f = [=](float g, float x) {
        return g * (expf(x * x) / 1.1283792f);
    };
    map(g, x, to, count, f);
}
KERNEL lgamma_slope(const float *g, const float *x, float *to, u64 count) {
    auto f = [=](float g, float x) {
        return g * digammaf(x);
    };
    map_singly(to, count, f, g, x);
}
KERNEL digamma_slope(const float *g, const float *x, float *to, u64 count) {
    auto f = [=](float g, float x) {
        return g * trigammaf(x);
    };
    map_singly(to, count, f, g, x);
}
KERNEL logit_slope(const float *g, const float *x, float *to, u64 count, float eps) {
    auto f = [=](float g, float x) {
        return g * (eps > 0.0f && (x < eps || x > 1.0f - eps) ? 0.0f : 1.0f / (x * (1.0f - x)));
    };
    map(g, x, to, count, f);
}
KERNEL sinc_slope(const float *g, const float *x, float *to, u64 count) {
    auto f = [=](float g, float x) {
        float t0 = 3.1415927f * x;
        float t1 = t0 * t0;
        return g * (3.1415927f * (fabsf(t0) < 0.2f ? t0 * (-0.33333334f + t1 * (0.033333335f + t1 * (-0.0011904762f + t1 * (2.2045855e-5f - t1 * 2.5052108e-7f)))) : (cosf(t0) - sinf(t0) / t0) / t0));
    };
    map_singly(to, count, f, g, x);
}
KERNEL celu_slope(const float *g, const float *x, float *to, u64 count, float alpha) {
    auto f = [=](float g, float x) {
        return g * (x > 0.0f ? 1.0f : expf(x / alpha));
    };
    map(g, x, to, count, f);
}
KERNEL hardshrink_slope(const float *g, const float *x, float *to, u64 count, float lambda) {
    auto f = [=](float g, float x) {
        return g * (fabsf(x) <= lambda ? 0.0f : 1.0f);
    };
    map(g, x, to, count, f);
}
KERNEL softshrink_slope(const float *g, const float *x, float *to, u64 count, float lambda) {
    auto f = [=](float g, float x) {
        return g * (fabsf(x) <= lambda ? 0.0f : 1.0f);
    };
    map(g, x, to, count, f);
}
KERNEL tanhshrink_slope(const float *g, const float *x, float *to, u64 count) {
    auto f = [=](float g, float x) {
        float t0 = tanhf(x);
        return g * (t0 * t0);
    };
    map(g, x, to, count, f);
}
KERNEL softsign_slope(const float *g, const float *x, float *to, u64 count) {
    auto f = [=](float g, float x) {
        float t0 = 1.0f + fabsf(x);
        return g * (1.0f / (t0 * t0));
    };
    map(g, x, to, count, f);
}
KERNEL threshold_slope(const float *g, const float *x, float *to, u64 count, float threshold, float value) {
    auto f = [=](float g, float x) {
        return g * (x <= threshold ? 0.0f : 1.0f);
    };
    map(g, x, to, count, f);
}
KERNEL nan_to_num_slope(const float *g, const float *x, float *to, u64 count, float nan, float highest, float lowest) {
    auto f = [=](float g, float x) {
        return g * (fabsf(x) < INFINITY ? 1.0f : 0.0f);
    };
    map(g, x, to, count, f);
}
