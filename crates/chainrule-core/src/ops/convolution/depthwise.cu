// Convolution of f32 images where every group has one input channel, and its gradients. Memory bound: a multiply-add a result and tap.
// Forward: reads input and weight, writes the results, 4 bytes each. Gradient by the input: the same, backward. By the weight: reads input and gradient once a tap, from the cache mostly.
#include "window.cuh"

// A thread a result.
KERNEL depthwise_forward(Images call) {
    Walk y = forward(call.rows), x = forward(call.columns);
    i32 positions = y.positions * x.positions, taps = y.taps * x.taps;
    u32 channels = call.groups * call.to_channels, count = call.batch * channels * positions;
    Divide image(positions), line(x.positions), all(channels), group(call.to_channels);
    for (u64 i = first(); i < count; i += step()) {
        u32 rest, column, channel, unused;
        u32 plane = image.of((u32)i, rest), row = line.of(rest, column), n = all.of(plane, channel);
        const float *from = call.from + (i64)(i32)(n * call.groups + group.of(channel, unused)) * y.source * x.source;
        const float *weight = call.weight + (i32)channel * taps;
        i32 top = (i32)row * y.scale + y.shift, left = (i32)column * x.scale + x.shift;
        float sum = 0.0f;
        for (i32 tap_y = 0; tap_y < y.taps; tap_y++) {
            i32 at_y = top + tap_y * y.reach;
            if ((u32)at_y >= (u32)y.source) continue;
            for (i32 tap_x = 0; tap_x < x.taps; tap_x++) {
                i32 at_x = left + tap_x * x.reach;
                if ((u32)at_x < (u32)x.source) sum += from[at_y * x.source + at_x] * weight[tap_y * x.taps + tap_x];
            }
        }
        if (call.finish.bias_side != 0) sum += call.finish.bias[channel];
        call.to[i] = call.finish.activated(sum);
    }
}

// A thread a place of the input. A place that tap t reaches is `place + padding - t dilation`, where that is a multiple of the stride.
KERNEL depthwise_backward(Images call) {
    const Axis y = call.rows, x = call.columns;
    i32 positions = y.output * x.output, taps = y.kernel * x.kernel;
    u32 count = call.batch * call.groups * y.input * x.input;
    Divide image(y.input * x.input), line(x.input), all(call.groups), stride_y(y.stride), stride_x(x.stride);
    for (u64 i = first(); i < count; i += step()) {
        u32 rest, column, channel, gap;
        u32 plane = image.of((u32)i, rest), row = line.of(rest, column);
        all.of(plane, channel);
        const float *from = call.from + (i64)(i32)(plane * call.from_channels) * positions;
        const float *weight = call.weight + (i32)(channel * call.from_channels) * taps;
        float sum = 0.0f;
        for (i32 tap_y = 0; tap_y < y.kernel; tap_y++) {
            i32 down = (i32)row + y.padding - tap_y * y.dilation;
            if (down < 0) break;
            i32 at_y = stride_y.of(down, gap);
            if (gap != 0 || at_y >= y.output) continue;
            for (i32 tap_x = 0; tap_x < x.kernel; tap_x++) {
                i32 right = (i32)column + x.padding - tap_x * x.dilation;
                if (right < 0) break;
                i32 at_x = stride_x.of(right, gap);
                if (gap != 0 || at_x >= x.output) continue;
                for (u32 c = 0; c < call.from_channels; c++)
                    sum += from[(i32)c * positions + at_y * x.output + at_x] * weight[(i32)c * taps + tap_y * x.kernel + tap_x];
            }
        }
        if (call.finish.bias_side != 0) sum += call.finish.bias[channel];
        call.to[i] = call.finish.activated(sum);
    }
}

// Block x owns a weight, y a part of all positions of all images. `weight` is the gradient of the results.
KERNEL depthwise_weight_gradient(Images call) {
    __shared__ float scratch[WARP];
    Walk y = forward(call.rows), x = forward(call.columns);
    i32 positions = y.positions * x.positions, taps = y.taps * x.taps;
    u32 channel = blockIdx.x / taps, tap = blockIdx.x % taps, channels = call.groups * call.to_channels;
    i32 down = (i32)(tap / x.taps) * y.reach + y.shift, right = (i32)(tap % x.taps) * x.reach + x.shift;
    u32 begin = blockIdx.y * call.k_part, end = min(call.batch * positions, begin + call.k_part);
    Divide image(positions), line(x.positions);
    float sum = 0.0f;
    for (u32 k = begin + threadIdx.x; k < end; k += blockDim.x) {
        u32 rest, column, n = image.of(k, rest), row = line.of(rest, column);
        i32 at_y = (i32)row * y.scale + down, at_x = (i32)column * x.scale + right;
        if ((u32)at_y >= (u32)y.source || (u32)at_x >= (u32)x.source) continue;
        i32 plane = (i32)(n * call.groups + channel / call.to_channels);
        sum += call.from[(plane * y.source + at_y) * x.source + at_x] * call.weight[(i32)(n * channels + channel) * positions + (i32)rest];
    }
    sum = block_sum(sum, scratch);
    if (threadIdx.x == 0) call.to[blockIdx.y * call.part_step + blockIdx.x] = sum;
}
