// Atomics on shared and on global memory, and a global sum of f32 and f64.
extern "C" __global__ void histogram(const unsigned* __restrict__ values, unsigned* counts, float* sum, double* wide_sum, int* greatest, int n) {
    __shared__ unsigned local[16];
    if (threadIdx.x < 16) local[threadIdx.x] = 0;
    __syncthreads();
    for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += gridDim.x * blockDim.x) {
        atomicAdd(&local[values[i] & 15], 1u);
        atomicAdd(sum, (float)values[i]);
        atomicAdd(wide_sum, (double)values[i]);
        atomicMax(greatest, (int)values[i]);
    }
    __syncthreads();
    if (threadIdx.x < 16) atomicAdd(&counts[threadIdx.x], local[threadIdx.x]);
}
