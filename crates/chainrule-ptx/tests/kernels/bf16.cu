// Half precision with the intrinsics of the header: conversions, fused products of pairs, comparison.
#include <cuda_bf16.h>
extern "C" __global__ void bf16(const __nv_bfloat162* __restrict__ a, const __nv_bfloat162* __restrict__ b, __nv_bfloat162* __restrict__ c, float* __restrict__ d, int n) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    const __nv_bfloat162 product = __hfma2(a[i], b[i], a[i]);
    c[i] = __hgt(product.x, product.y) ? product : __lowhigh2highlow(product);
    d[i] = __low2float(c[i]) + __bfloat162float(__float2bfloat16(__high2float(a[i]) * 3.f));
}
