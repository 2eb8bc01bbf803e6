// 16-byte accesses, dynamic shared memory, constants and variables of the module.
__constant__ float weights[4] = {1.f, 2.f, 3.f, 4.f};
__device__ int launches = 7;
extern "C" __global__ void vectors(const float4* __restrict__ x, float4* __restrict__ y, int n) {
    extern __shared__ float4 staged[];
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) staged[threadIdx.x] = x[i];
    __syncthreads();
    const int other = threadIdx.x ^ 1;
    if (i < n) {
        float4 v = staged[other];
        v.x *= weights[0]; v.y *= weights[1]; v.z *= weights[2]; v.w = v.w * weights[(i & 3)] + launches;
        y[i] = v;
    }
}
