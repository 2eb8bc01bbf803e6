// The mathematical library as the compiler inlines it, products with high parts, double arithmetic.
extern "C" __global__ void functions(const float* __restrict__ x, float* __restrict__ y, int n) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    const float v = x[i];
    float* out = y + i * 12;
    out[0] = expf(v); out[1] = logf(fabsf(v)); out[2] = powf(fabsf(v), 1.7f); out[3] = sinf(v); out[4] = erff(v); out[5] = tanhf(v);
    out[6] = cosf(v); out[7] = log1pf(fabsf(v)); out[8] = expm1f(v); out[9] = rsqrtf(fabsf(v)); out[10] = fmodf(v, 0.7f); out[11] = roundf(v);
}
extern "C" __global__ void integers(const unsigned* __restrict__ x, unsigned* __restrict__ y, double* __restrict__ z, int n) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    const unsigned v = x[i];
    unsigned* out = y + i * 6;
    out[0] = __umulhi(v, 0xD2511F53u); out[1] = v / 7u + v % 1000u; out[2] = __popc(v) + __clz(v) + __ffs(v); out[3] = __brev(v);
    out[4] = (unsigned)((int)v / 13); out[5] = (unsigned)(((unsigned long long)v * v) / 12345ull);
    z[i] = exp(-(double)v * 1e-9) * sqrt((double)v) / 3.0 + log((double)v + 1.0);
}
