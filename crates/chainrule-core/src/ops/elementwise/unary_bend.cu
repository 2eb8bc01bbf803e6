// Functions of one number: h g df'/dx; 16 bytes an element, and the operations of the formula.
// Written by ops/elementwise/source.rs from the rows of table.rs; edit those and run its test with CHAINRULE_BLESS=1.
#include "map.cuh"
#include "real.cuh"

KERNEL affine_bend(const float *h, const float *g, const float *x, float *to, u64 count, float scale, float shift) {
    auto f = [=](float h, float g, float x) {
        return h * g * (x * 0.0f);
    };
    map(h, g, x, to, count, f);
}
KERNEL relu_bend(const float *h, const float *g, const float *x, float *to, u64 count) { // x is the function's value
    auto f = [=](float h, float g, float x) {
        return h * g * 0.0f;
    };
    map(h, g, x, to, count, f);
}
KERNEL leaky_relu_bend(const float *h, const float *g, const float *x, float *to, u64 count, float negative_slope) {
    auto f = [=](float h, float g, float x) {
        return h * g * 0.0f;
    };
    map(h, g, x, to, count, f);
}
KERNEL elu_bend(const float *h, const float *g, const float *x, float *to, u64 count, float alpha) {
    auto f = [=](float h, float g, float x) {
        return h * g * (x > 0.0f ? 0.0f : alpha * expf(x));
    };
    map(h, g, x, to, count, f);
}
KERNEL selu_bend(const float *h, const float *g, const float *x, float *to, u64 count) {
    auto f = [=](float h, float g, float x) {
        return h * g * (x > 0.0f ? 0.0f : 1.7580993f * expf(x));
    };
    map(h, g, x, to, count, f);
}
KERNEL relu6_bend(const float *h, const float *g, const float *x, float *to, u64 count) {
    auto f = [=](float h, float g, float x) {
        return h * g * 0.0f;
    };
    map(h, g, x, to, count, f);
}
KERNEL gelu_bend(const float *h, const float *g, const float *x, float *to, u64 count) {
    auto f = [=](float h, float g, float x) {
        return h * g * (normal_density(x) * (2.0f - x * x));
    };
    map(h, g, x, to, count, f);
}
KERNEL gelu_tanh_bend(const float *h, const float *g, const float *x, float *to, u64 count) {
    auto f = [=](float h, float g, float x) {
        float t0 = 0.7978846f * x * (0.044715f * x * x + 1.0f);
        float t1 = sigmoid(t0 + t0);
        float t2 = 0.7978846f * (0.044715f * 3.0f * x * x + 1.0f);
        return h * g * (4.0f * (t1 * (1.0f - t1)) * (t2 + x * (0.5f * (0.7978846f * 0.044715f * 6.0f * x) - (t1 + t1 - 1.0f) * t2 * t2)));
    };
    map(h, g, x, to, count, f);
}
KERNEL silu_bend(const float *h, const float *g, const float *x, float *to, u64 count) {
    auto f = [=](float h, float g, float x) {
        float t0 = sigmoid(x);
        return h * g * (t0 * (1.0f - t0) * (2.0f + x * (1.0f - 2.0f * t0)));
    };
    map(h, g, x, to, count, f);
}
KERNEL sigmoid_bend(const float *h, const float *g, const float *x, float *to, u64 count) { // x is the function's value
    auto f = [=](float h, float g, float x) {
        return h * g * (1.0f - 2.0f * x);
    };
    map(h, g, x, to, count, f);
}
KERNEL log_sigmoid_bend(const float *h, const float *g, const float *x, float *to, u64 count) {
    auto f = [=](float h, float g, float x) {
        return h * g * (-(sigmoid(x) * sigmoid(-x)));
    };
    map(h, g, x, to, count, f);
}
KERNEL tanh_bend(const float *h, const float *g, const float *x, float *to, u64 count) { // x is the function's value
    auto f = [=](float h, float g, float x) {
        return h * g * (-2.0f * x);
    };
    map(h, g, x, to, count, f);
}
KERNEL softplus_bend(const float *h, const float *g, const float *x, float *to, u64 count, float beta, float threshold) {
    auto f = [=](float h, float g, float x) {
        float t0 = x * beta;
        float t1 = sigmoid(t0);
        return h * g * (t0 > threshold ? 0.0f : beta * t1 * (1.0f - t1));
    };
    map(h, g, x, to, count, f);
}
KERNEL mish_bend(const float *h, const float *g, const float *x, float *to, u64 count) {
    auto f = [=](float h, float g, float x) {
        float t0 = sigmoid(x);
        float t1 = expf(smaller(x, 20.0f));
        float t2 = t1 * (t1 + 2.0f);
        float t3 = t2 / (t2 + 2.0f);
        return h * g * (t0 * (1.0f - t3 * t3) * (2.0f + x * (1.0f - t0 - 2.0f * t3 * t0)));
    };
    map(h, g, x, to, count, f);
}
KERNEL hardswish_bend(const float *h, const float *g, const float *x, float *to, u64 count) {
    auto f = [=](float h, float g, float x) {
        return h * g * (x > 3.0f || x < (-3.0f) ? 0.0f : 0.33333334f);
    };
    map(h, g, x, to, count, f);
}
KERNEL hardsigmoid_bend(const float *h, const float *g, const float *x, float *to, u64 count) {
    auto f = [=](float h, float g, float x) {
        return h * g * 0.0f;
    };
    map(h, g, x, to, count, f);
}
KERNEL clamp_bend(const float *h, const float *g, const float *x, float *to, u64 count, float min, float max) {
    auto f = [=](float h, float g, float x) {
        return h * g * 0.0f;
    };
    map(h, g, x, to, count, f);
}
KERNEL abs_bend(const float *h, const float *g, const float *x, float *to, u64 count) {
    auto f = [=](float h, float g, float x) {
        return h * g * 0.0f;
    };
    map(h, g, x, to, count, f);
}
KERNEL sign_bend(const float *h, const float *g, const float *x, float *to, u64 count) {
    auto f = [=](float h, float g, float x) {
        return h * g * 0.0f;
    };
    map(h, g, x, to, count, f);
}
KERNEL floor_bend(const float *h, const float *g, const float *x, float *to, u64 count) {
    auto f = [=](float h, float g, float x) {
        return h * g * 0.0f;
    };
    map(h, g, x, to, count, f);
}
KERNEL round_bend(const float *h, const float *g, const float *x, float *to, u64 count) {
    auto f = [=](float h, float g, float x) {
        return h * g * 0.0f;
    };
    map(h, g, x, to, count, f);
}
KERNEL exp_bend(const float *h, const float *g, const float *x, float *to, u64 count) { // x is the function's value
    auto f = [=](float h, float g, float x) {
        return h * g * 1.0f;
    };
    map(h, g, x, to, count, f);
}
KERNEL exp_m1_bend(const float *h, const float *g, const float *x, float *to, u64 count) { // x is the function's value
    auto f = [=](float h, float g, float x) {
        return h * g * 1.0f;
    };
    map(h, g, x, to, count, f);
}
KERNEL ln_bend(const float *h, const float *g, const float *x, float *to, u64 count) {
    auto f = [=](float h, float g, float x) {
        return h * g * (-1.0f / (x * x));
    };
    map(h, g, x, to, count, f);
}
KERNEL ln_1p_bend(const float *h, const float *g, const float *x, float *to, u64 count) {
    auto f = [=](float h, float g, float x) {
        float t0 = 1.0f + x;
        return h * g * (-1.0f / (t0 * t0));
    };
    map(h, g, x, to, count, f);
}
KERNEL sqrt_bend(const float *h, const float *g, const float *x, float *to, u64 count) { // x is the function's value
    auto f = [=](float h, float g, float x) {
        return h * g * (-0.5f / (x * x));
    };
    map(h, g, x, to, count, f);
}
KERNEL rsqrt_bend(const float *h, const float *g, const float *x, float *to, u64 count) { // x is the function's value
    auto f = [=](float h, float g, float x) {
        return h * g * (-1.5f * x * x);
    };
    map(h, g, x, to, count, f);
}
KERNEL reciprocal_bend(const float *h, const float *g, const float *x, float *to, u64 count) { // x is the function's value
    auto f = [=](float h, float g, float x) {
        return h * g * (-2.0f * x);
    };
    map(h, g, x, to, count, f);
}
KERNEL square_bend(const float *h, const float *g, const float *x, float *to, u64 count) {
    auto f = [=](float h, float g, float x) {
        return h * g * 2.0f;
    };
    map(h, g, x, to, count, f);
}
KERNEL sin_bend(const float *h, const float *g, const float *x, float *to, u64 count) {
    auto f = [=](float h, float g, float x) {
        return h * g * (-sinf(x));
    };
    map_singly(to, count, f, h, g, x);
}
KERNEL cos_bend(const float *h, const float *g, const float *x, float *to, u64 count) {
    auto f = [=](float h, float g, float x) {
        return h * g * (-cosf(x));
    };
    map_singly(to, count, f, h, g, x);
}
KERNEL erf_bend(const float *h, const float *g, const float *x, float *to, u64 count) {
    auto f = [=](float h, float g, float x) {
        return h * g * (-2.2567585f * x * expf(-(x * x)));
    };
    map(h, g, x, to, count, f);
}
KERNEL powf_bend(const float *h, const float *g, const float *x, float *to, u64 count, float exponent) {
    auto f = [=](float h, float g, float x) {
        return h * g * (exponent == 0.0f || exponent == 1.0f ? 0.0f : exponent * (exponent - 1.0f) * powf(x, exponent - 2.0f));
    };
    map_singly(to, count, f, h, g, x);
}
KERNEL tan_bend(const float *h, const float *g, const float *x, float *to, u64 count) { // x is the function's value
    auto f = [=](float h, float g, float x) {
        return h * g * (2.0f * x);
    };
    map(h, g, x, to, count, f);
}
KERNEL asin_bend(const float *h, const float *g, const float *x, float *to, u64 count) {
    auto f = [=](float h, float g, float x) {
        float t0 = 1.0f - x * x;
        return h * g * (x / (t0 * sqrtf(t0)));
    };
    map(h, g, x, to, count, f);
}
KERNEL acos_bend(const float *h, const float *g, const float *x, float *to, u64 count) {
    auto f = [=](float h, float g, float x) {
        float t0 = 1.0f - x * x;
        return h * g * (-x / (t0 * sqrtf(t0)));
    };
    map(h, g, x, to, count, f);
}
KERNEL atan_bend(const float *h, const float *g, const float *x, float *to, u64 count) {
    auto f = [=](float h, float g, float x) {
        float t0 = 1.0f + x * x;
        return h * g * (-2.0f * x / (t0 * t0));
    };
    map(h, g, x, to, count, f);
}
KERNEL sinh_bend(const float *h, const float *g, const float *x, float *to, u64 count) {
    auto f = [=](float h, float g, float x) {
        return h * g * sinhf(x);
    };
    map_singly(to, count, f, h, g, x);
}
KERNEL cosh_bend(const float *h, const float *g, const float *x, float *to, u64 count) {
    auto f = [=](float h, float g, float x) {
        return h * g * coshf(x);
    };
    map_singly(to, count, f, h, g, x);
}
KERNEL asinh_bend(const float *h, const float *g, const float *x, float *to, u64 count) {
    auto f = [=](float h, float g, float x) {
        float t0 = 1.0f + x * x;
        return h * g * (-x / (t0 * sqrtf(t0)));
    };
    map(h, g, x, to, count, f);
}
KERNEL acosh_bend(const float *h, const float *g, const float *x, float *to, u64 count) {
    auto f = [=](float h, float g, float x) {
        float t0 = x * x - 1.0f;
        return h * g * (-x / (t0 * sqrtf(t0)));
    };
    map(h, g, x, to, count, f);
}
KERNEL atanh_bend(const float *h, const float *g, const float *x, float *to, u64 count) {
    auto f = [=](float h, float g, float x) {
        float t0 = 1.0f - x * x;
        return h * g * (2.0f * x / (t0 * t0));
    };
    map(h, g, x, to, count, f);
}
KERNEL exp2_bend(const float *h, const float *g, const float *x, float *to, u64 count) { // x is the function's value
    auto f = [=](float h, float g, float x) {
        return h * g * 0.6931472f;
    };
    map(h, g, x, to, count, f);
}
KERNEL log2_bend(const float *h, const float *g, const float *x, float *to, u64 count) {
    auto f = [=](float h, float g, float x) {
        return h * g * (-1.0f / (x * x * 0.6931472f));
    };
    map(h, g, x, to, count, f);
}
KERNEL log10_bend(const float *h, const float *g, const float *x, float *to, u64 count) {
    auto f = [=](float h, float g, float x) {
        return h * g * (-1.0f / (x * x * 2.3025851f));
    };
    map(h, g, x, to, count, f);
}
KERNEL ceil_bend(const float *h, const float *g, const float *x, float *to, u64 count) {
    auto f = [=](float h, float g, float x) {
        return h * g * 0.0f;
    };
    map(h, g, x, to, count, f);
}
KERNEL trunc_bend(const float *h, const float *g, const float *x, float *to, u64 count) {
    auto f = [=](float h, float g, float x) {
        return h * g * 0.0f;
    };
    map(h, g, x, to, count, f);
}
KERNEL frac_bend(const float *h, const float *g, const float *x, float *to, u64 count) {
    auto f = [=](float h, float g, float x) {
        return h * g * 0.0f;
    };
    map(h, g, x, to, count, f);
}
KERNEL erfc_bend(const float *h, const float *g, const float *x, float *to, u64 count) {
    auto f = [=](float h, float g, float x) {
        return h * g * (2.2567585f * x * expf(-(x * x)));
    };
    map(h, g, x, to, count, f);
}
KERNEL erfinv_bend(const float *h, const float *g, const float *x, float *to, u64 count) { // x is the function's value
    auto f = [=](float h, float g, float x) {
        return h * g * (2.0f * x * expf(x * x) / 1.1283792f);
    };
    map(h, g, x, to, count, f);
}
KERNEL lgamma_bend(const float *h, const float *g, const float *x, float *to, u64 count) {
    auto f = [=](float h, float g, float x) {
        return h * g * trigammaf(x);
    };
    map_singly(to, count, f, h, g, x);
}
KERNEL digamma_bend(const float *h, const float *g, const float *x, float *to, u64 count) {
    auto f = [=](float h, float g, float x) {
        return h * g * tetragammaf(x);
    };
    map_singly(to, count, f, h, g, x);
}
KERNEL logit_bend(const float *h, const float *g, const float *x, float *to, u64 count, float eps) {
    auto f = [=](float h, float g, float x) {
        float t0 = x * (1.0f - x);
        return h * g * (eps > 0.0f && (x < eps || x > 1.0f - eps) ? 0.0f : (2.0f * x - 1.0f) / (t0 * t0));
    };
    map(h, g, x, to, count, f);
}
KERNEL sinc_bend(const float *h, const float *g, const float *x, float *to, u64 count) {
    auto f = [=](float h, float g, float x) {
        float t0 = 3.1415927f * x;
        float t1 = t0 * t0;
        return h * g * (9.869604f * (fabsf(t0) < 0.2f ? -0.33333334f + t1 * (0.1f + t1 * (-0.005952381f + t1 * (0.000154321f - t1 * 2.2546897e-6f))) : ((2.0f / t1 - 1.0f) * sinf(t0) - 2.0f * cosf(t0) / t0) / t0));
    };
    map_singly(to, count, f, h, g, x);
}
KERNEL celu_bend(const float *h, const float *g, const float *x, float *to, u64 count, float alpha) {
    auto f = [=](float h, float g, float x) {
        return h * g * (x > 0.0f ? 0.0f : expf(x / alpha) / alpha);
    };
    map(h, g, x, to, count, f);
}
KERNEL hardshrink_bend(const float *h, const float *g, const float *x, float *to, u64 count, float lambda) {
    auto f = [=](float h, float g, float x) {
        return h * g * 0.0f;
    };
    map(h, g, x, to, count, f);
}
KERNEL softshrink_bend(const float *h, const float *g, const float *x, float *to, u64 count, float lambda) {
    auto f = [=](float h, float g, float x) {
        return h * g * 0.0f;
    };
    map(h, g, x, to, count, f);
}
KERNEL tanhshrink_bend(const float *h, const float *g, const float *x, float *to, u64 count) {
    auto f = [=](float h, float g, float x) {
        float t0 = tanhf(x);
        return h * g * (2.0f * t0 * (1.0f - t0 * t0));
    };
    map(h, g, x, to, count, f);
}
KERNEL softsign_bend(const float *h, const float *g, const float *x, float *to, u64 count) {
    auto f = [=](float h, float g, float x) {
        float t0 = 1.0f + fabsf(x);
        return h * g * ((x < 0.0f ? 2.0f : x > 0.0f ? -2.0f : 0.0f) / (t0 * t0 * t0));
    };
    map(h, g, x, to, count, f);
}
KERNEL threshold_bend(const float *h, const float *g, const float *x, float *to, u64 count, float threshold, float value) {
    auto f = [=](float h, float g, float x) {
        return h * g * 0.0f;
    };
    map(h, g, x, to, count, f);
}
KERNEL nan_to_num_bend(const float *h, const float *g, const float *x, float *to, u64 count, float nan, float highest, float lowest) {
    auto f = [=](float h, float g, float x) {
        return h * g * 0.0f;
    };
    map(h, g, x, to, count, f);
}
