// Functions that are called: by value, by structure, through local memory, from one another.
struct Pair { float first; int second[3]; };
__noinline__ __device__ int triangle(int n) { int sum = 0; for (int i = 0; i <= n; i++) sum += i; return sum; }
__noinline__ __device__ Pair twist(Pair pair, int by) {
    Pair result;
    result.first = pair.first * by;
    for (int i = 0; i < 3; i++) result.second[i] = pair.second[(i + by) % 3] + triangle(by & 7);
    return result;
}
extern "C" __global__ void calls(const float* __restrict__ x, float* __restrict__ y, Pair given, int n) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    Pair pair = twist(given, i);
    float value = pair.first + x[i];
    if (i & 1) value += triangle(i % 11);
    y[i] = value + pair.second[i % 3];
}
