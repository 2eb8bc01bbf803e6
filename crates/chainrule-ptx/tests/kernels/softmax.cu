// Softmax of rows, one block a row, with shuffles within warps and shared memory between them.
__device__ float reduce(float value, float* shared, bool maximum) {
    const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5;
    for (int offset = 16; offset > 0; offset >>= 1) {
        float other = __shfl_xor_sync(0xffffffffu, value, offset);
        value = maximum ? fmaxf(value, other) : value + other;
    }
    __syncthreads();
    if (lane == 0) shared[warp] = value;
    __syncthreads();
    value = shared[0];
    for (int i = 1; i < blockDim.x / 32; i++) value = maximum ? fmaxf(value, shared[i]) : value + shared[i];
    return value;
}
extern "C" __global__ void softmax(const float* __restrict__ x, float* __restrict__ y, int columns) {
    __shared__ float shared[32];
    x += (size_t)blockIdx.x * columns;
    y += (size_t)blockIdx.x * columns;
    float greatest = __int_as_float(0xff800000);
    for (int i = threadIdx.x; i < columns; i += blockDim.x) greatest = fmaxf(greatest, x[i]);
    greatest = reduce(greatest, shared, true);
    float sum = 0.f;
    for (int i = threadIdx.x; i < columns; i += blockDim.x) sum += expf(x[i] - greatest);
    sum = reduce(sum, shared, false);
    for (int i = threadIdx.x; i < columns; i += blockDim.x) y[i] = expf(x[i] - greatest) / sum;
}
