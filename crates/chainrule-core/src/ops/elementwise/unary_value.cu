// Functions of one number: f(x); 8 bytes an element, and the operations of the formula.
// Written by ops/elementwise/source.rs from the rows of table.rs; edit those and run its test with CHAINRULE_BLESS=1.
#include "map.cuh"
#include "real.cuh"

KERNEL affine_value(const float *x, float *to, u64 count, float scale, float shift) {
    auto f = [=](float x) {
        return fmaf(x, scale, shift);
    };
    map(x, to, count, f);
}
KERNEL relu_value(const float *x, float *to, u64 count) {
    auto f = [=](float x) {
        return larger(x, 0.0f);
    };
    map(x, to, count, f);
}
KERNEL leaky_relu_value(const float *x, float *to, u64 count, float negative_slope) {
    auto f = [=](float x) {
        return x > 0.0f ? x : x * negative_slope;
    };
    map(x, to, count, f);
}
KERNEL elu_value(const float *x, float *to, u64 count, float alpha) {
    auto f = [=](float x) {
        return x > 0.0f ? x : alpha * expm1f(x);
    };
    map(x, to, count, f);
}
KERNEL selu_value(const float *x, float *to, u64 count) {
    auto f = [=](float x) {
        return 1.050701f * (x > 0.0f ? x : 1.6732632f * expm1f(x));
    };
    map(x, to, count, f);
}
KERNEL relu6_value(const float *x, float *to, u64 count) {
    auto f = [=](float x) {
        return smaller(larger(x, 0.0f), 6.0f);
    };
    map(x, to, count, f);
}
KERNEL gelu_value(const float *x, float *to, u64 count) {
    auto f = [=](float x) {
        return x * normal_distribution(x);
    };
    map(x, to, count, f);
}
KERNEL gelu_tanh_value(const float *x, float *to, u64 count) {
    auto f = [=](float x) {
        float t0 = 0.7978846f * x * (0.044715f * x * x + 1.0f);
        return x * sigmoid(t0 + t0);
    };
    map(x, to, count, f);
}
KERNEL silu_value(const float *x, float *to, u64 count) {
    auto f = [=](float x) {
        return x * sigmoid(x);
    };
    map(x, to, count, f);
}
KERNEL sigmoid_value(const float *x, float *to, u64 count) {
    auto f = [=](float x) {
        return sigmoid(x);
    };
    map(x, to, count, f);
}
KERNEL log_sigmoid_value(const float *x, float *to, u64 count) {
    auto f = [=](float x) {
        return -softplus(-x);
    };
    map(x, to, count, f);
}
KERNEL tanh_value(const float *x, float *to, u64 count) {
    auto f = [=](float x) {
        return tanhf(x);
    };
    map(x, to, count, f);
}
KERNEL softplus_value(const float *x, float *to, u64 count, float beta, float threshold) {
    auto f = [=](float x) {
        float t0 = x * beta;
        return t0 > threshold ? x : softplus(t0) / beta;
    };
    map(x, to, count, f);
}
KERNEL mish_value(const float *x, float *to, u64 count) {
    auto f = [=](float x) {
        float t0 = expf(smaller(x, 20.0f));
        float t1 = t0 * (t0 + 2.0f);
        return x * (t1 / (t1 + 2.0f));
    };
    map(x, to, count, f);
}
KERNEL hardswish_value(const float *x, float *to, u64 count) {
    auto f = [=](float x) {
        return x * smaller(larger(x + 3.0f, 0.0f), 6.0f) * 0.16666667f;
    };
    map(x, to, count, f);
}
KERNEL hardsigmoid_value(const float *x, float *to, u64 count) {
    auto f = [=](float x) {
        return smaller(larger(x * 0.16666667f + 0.5f, 0.0f), 1.0f);
    };
    map(x, to, count, f);
}
KERNEL clamp_value(const float *x, float *to, u64 count, float min, float max) {
    auto f = [=](float x) {
        return smaller(larger(x, min), max);
    };
    map(x, to, count, f);
}
KERNEL abs_value(const float *x, float *to, u64 count) {
    auto f = [=](float x) {
        return fabsf(x);
    };
    map(x, to, count, f);
}
KERNEL sign_value(const float *x, float *to, u64 count) {
    auto f = [=](float x) {
        return x > 0.0f ? 1.0f : x < 0.0f ? -1.0f : 0.0f;
    };
    map(x, to, count, f);
}
KERNEL floor_value(const float *x, float *to, u64 count) {
    auto f = [=](float x) {
        return floorf(x);
    };
    map(x, to, count, f);
}
KERNEL round_value(const float *x, float *to, u64 count) {
    auto f = [=](float x) {
        return rintf(x);
    };
    map(x, to, count, f);
}
KERNEL exp_value(const float *x, float *to, u64 count) {
    auto f = [=](float x) {
        return expf(x);
    };
    map(x, to, count, f);
}
KERNEL exp_m1_value(const float *x, float *to, u64 count) {
    auto f = [=](float x) {
        return expm1f(x);
    };
    map(x, to, count, f);
}
KERNEL ln_value(const float *x, float *to, u64 count) {
    auto f = [=](float x) {
        return logf(x);
    };
    map(x, to, count, f);
}
KERNEL ln_1p_value(const float *x, float *to, u64 count) {
    auto f = [=](float x) {
        return log1pf(x);
    };
    map(x, to, count, f);
}
KERNEL sqrt_value(const float *x, float *to, u64 count) {
    auto f = [=](float x) {
        return sqrtf(x);
    };
    map(x, to, count, f);
}
KERNEL rsqrt_value(const float *x, float *to, u64 count) {
    auto f = [=](float x) {
        return 1.0f / sqrtf(x);
    };
    map(x, to, count, f);
}
KERNEL reciprocal_value(const float *x, float *to, u64 count) {
    auto f = [=](float x) {
        return 1.0f / x;
    };
    map(x, to, count, f);
}
KERNEL square_value(const float *x, float *to, u64 count) {
    auto f = [=](float x) {
        return x * x;
    };
    map(x, to, count, f);
}
KERNEL sin_value(const float *x, float *to, u64 count) {
    auto f = [=](float x) {
        return sinf(x);
    };
    map_singly(to, count, f, x);
}
KERNEL cos_value(const float *x, float *to, u64 count) {
    auto f = [=](float x) {
        return cosf(x);
    };
    map_singly(to, count, f, x);
}
KERNEL erf_value(const float *x, float *to, u64 count) {
    auto f = [=](float x) {
        return erff(x);
    };
    map(x, to, count, f);
}
KERNEL powf_value(const float *x, float *to, u64 count, float exponent) {
    auto f = [=](float x) {
        return powf(x, exponent);
    };
    map_singly(to, count, f, x);
}
KERNEL tan_value(const float *x, float *to, u64 count) {
    auto f = [=](float x) {
        return tanf(x);
    };
    map_singly(to, count, f, x);
}
KERNEL asin_value(const float *x, float *to, u64 count) {
    auto f = [=](float x) {
        return asinf(x);
    };
    map_singly(to, count, f, x);
}
KERNEL acos_value(const float *x, float *to, u64 count) {
    auto f = [=](float x) {
        return acosf(x);
    };
    map_singly(to, count, f, x);
}
KERNEL atan_value(const float *x, float *to, u64 count) {
    auto f = [=](float x) {
        return atanf(x);
    };
    map_singly(to, count, f, x);
}
KERNEL sinh_value(const float *x, float *to, u64 count) {
    auto f = [=](float x) {
        return sinhf(x);
    };
    map_singly(to, count, f, x);
}
KERNEL cosh_value(const float *x, float *to, u64 count) {
    auto f = [=](float x) {
        return coshf(x);
    };
    map_singly(to, count, f, x);
}
KERNEL asinh_value(const float *x, float *to, u64 count) {
    auto f = [=](float x) {
        return asinhf(x);
    };
    map_singly(to, count, f, x);
}
KERNEL acosh_value(const float *x, float *to, u64 count) {
    auto f = [=](float x) {
        return acoshf(x);
    };
    map_singly(to, count, f, x);
}
KERNEL atanh_value(const float *x, float *to, u64 count) {
    auto f = [=](float x) {
        return atanhf(x);
    };
    map_singly(to, count, f, x);
}
KERNEL exp2_value(const float *x, float *to, u64 count) {
    auto f = [=](float x) {
        return exp2f(x);
    };
    map(x, to, count, f);
}
KERNEL log2_value(const float *x, float *to, u64 count) {
    auto f = [=](float x) {
        return log2f(x);
    };
    map(x, to, count, f);
}
KERNEL log10_value(const float *x, float *to, u64 count) {
    auto f = [=](float x) {
        return log10f(x);
    };
    map(x, to, count, f);
}
KERNEL ceil_value(const float *x, float *to, u64 count) {
    auto f = [=](float x) {
        return -floorf(-x);
    };
    map(x, to, count, f);
}
KERNEL trunc_value(const float *x, float *to, u64 count) {
    auto f = [=](float x) {
        return x < 0.0f ? -floorf(-x) : floorf(x);
    };
    map(x, to, count, f);
}
KERNEL frac_value(const float *x, float *to, u64 count) {
    auto f = [=](float x) {
        return x - (x < 0.0f ? -floorf(-x) : floorf(x));
    };
    map(x, to, count, f);
}
KERNEL erfc_value(const float *x, float *to, u64 count) {
    auto f = [=](float x) {
        return erfcf(x);
    };
    map_singly(to, count, f, x);
}
KERNEL erfinv_value(const float *x, float *to, u64 count) {
    auto f = [=](float x) {
        return erfinvf(x);
    };
    map_singly(to, count, f, x);
}
KERNEL lgamma_value(const float *x, float *to, u64 count) {
    auto f = [=](float x) {
        return lgammaf(x);
    };
    map_singly(to, count, f, x);
}
KERNEL digamma_value(const float *x, float *to, u64 count) {
    auto f = [=](float x) {
        return digammaf(x);
    };
    map_singly(to, count, f, x);
}
KERNEL logit_value(const float *x, float *to, u64 count, float eps) {
    auto f = [=](float x) {
        float t0 = eps > 0.0f ? smaller(larger(x, eps), 1.0f - eps) : x;
        return logf(t0 / (1.0f - t0));
    };
    map(x, to, count, f);
}
KERNEL sinc_value(const float *x, float *to, u64 count) {
    auto f = [=](float x) {
        float t0 = 3.1415927f * x;
        return t0 == 0.0f ? 1.0f : sinf(t0) / t0;
    };
    map_singly(to, count, f, x);
}
KERNEL celu_value(const float *x, float *to, u64 count, float alpha) {
    auto f = [=](float x) {
        return x > 0.0f ? x : alpha * expm1f(x / alpha);
    };
    map(x, to, count, f);
}
KERNEL hardshrink_value(const float *x, float *to, u64 count, float lambda) {
    auto f = [=](float x) {
        return fabsf(x) <= lambda ? 0.0f : x;
    };
    map(x, to, count, f);
}
KERNEL softshrink_value(const float *x, float *to, u64 count, float lambda) {
    auto f = [=](float x) {
        return x > lambda ? x - lambda : x < (-lambda) ? x + lambda : x * 0.0f;
    };
    map(x, to, count, f);
}
KERNEL tanhshrink_value(const float *x, float *to, u64 count) {
    auto f = [=](float x) {
        return x - tanhf(x);
    };
    map(x, to, count, f);
}
KERNEL softsign_value(const float *x, float *to, u64 count) {
    auto f = [=](float x) {
        return x / (1.0f + fabsf(x));
    };
    map(x, to, count, f);
}
KERNEL threshold_value(const float *x, float *to, u64 count, float threshold, float value) {
    auto f = [=](float x) {
        return x <= threshold ? value : x;
    };
    map(x, to, count, f);
}
KERNEL nan_to_num_value(const float *x, float *to, u64 count, float nan, float highest, float lowest) {
    auto f = [=](float x) {
        return x != x ? nan : x == INFINITY ? highest : x == (-INFINITY) ? lowest : x;
    };
    map(x, to, count, f);
}
