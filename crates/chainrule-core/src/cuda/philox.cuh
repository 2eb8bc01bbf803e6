// Random words from a key and a counter: Philox4x32-10, as random.rs.
#pragma once
#include "prelude.cuh"

// Ten rounds: 128 random bits.
__device__ __forceinline__ uint4 philox(u64 key, uint4 x) {
    u32 k0 = (u32)key, k1 = (u32)(key >> 32);
#pragma unroll
    for (int round = 0; round < 10; round++) {
        u32 high_a = __umulhi(0xD2511F53u, x.x), low_a = 0xD2511F53u * x.x;
        u32 high_b = __umulhi(0xCD9E8D57u, x.z), low_b = 0xCD9E8D57u * x.z;
        x = make_uint4(high_b ^ x.y ^ k0, low_b, high_a ^ x.w ^ k1, low_a);
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    return x;
}

// The words of counter `i` of group `g`: they belong to the numbers 64 g + i, + 16, + 32, + 48 of the stream. `counter` is 16 g + i; `lane` tells apart the words of one number that needs several.
__device__ __forceinline__ uint4 words(u64 key, u32 lane, u64 counter) { return philox(key, make_uint4((u32)counter, (u32)(counter >> 32), lane, 0)); }

// One of the four, known when compiled.
__device__ __forceinline__ u32 word(uint4 words, int w) { return w == 0 ? words.x : w == 1 ? words.y : w == 2 ? words.z : words.w; }

// A random stream; `Stream` of random.rs.
struct Stream {
    // Where a captured step's key stands, which takes the place of `key`; null outside of captured steps.
    const u64 *cell;
    u64 key, number;

    static __device__ __forceinline__ u64 round(u64 z) {
        z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
        z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
        return z ^ (z >> 31);
    }
    // The key that its words follow from.
    __device__ __forceinline__ u64 word() const {
        if (number == 0) return key;
        return round((cell ? *cell : key) ^ round(number * 0x9e3779b97f4a7c15ull));
    }
};
