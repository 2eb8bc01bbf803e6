#!/usr/bin/env python3
"""What the launches of two training steps need: bytes and operations from the shapes, and the time that an H100 would take at its limits.

Reads what `scripts/gpu-costs` has the software GPU print: the launches of LeNet's and ResNet-18's steps, in order. The network is walked beside that list,
so that each launch gets the shapes of its operation; a launch that the walk does not expect is an error. No time in here is measured.
"""
import collections
import re
import sys

# An H100 SXM by NVIDIA's data sheet: bytes a second, f32 operations a second without tensor cores, bytes of the second-level cache.
HBM, PEAK, L2 = 3.35e12, 67e12, 50e6
# Assumed: what of the memory's rate a kernel reaches, the cache's rate, the gap from launch to launch on the GPU, and the processor's time for a launch;
# and, for the time to expect, what of the arithmetic's rate a product reaches, and the least that a launch takes from its first to its last instruction.
REACHED, L2_RATE, GAP, LAUNCH, PRODUCT, LEAST = 0.8, 5.5e12, 1.25e-6, 3.25e-6, 0.6, 1e-6

LINE = re.compile(
    r"(?:runs|captured) (?:kernel (?P<kernel>\S+) grid \[(?P<grid>[^]]*)\] block \[(?P<block>[^]]*)\]"
    r"|cublasLtMatmul \w+ m (?P<m>\d+) n (?P<n>\d+) k (?P<k>\d+)|(?P<fill>fill) of (?P<count>\d+) times (?P<width>\d+)|copy of (?P<bytes>\d+) bytes from (?P<way>.*))"
)
Operation = collections.namedtuple("Operation", "name grid block numbers")
# `read`, `written`: each number once. `asked`, `put`: what all threads load and store, that which caches answer included.
Cost = collections.namedtuple("Cost", "operation what read written flops asked put")


def parse(path):
    """The sections of the trace, and what was counted by kernel in each."""
    traces, counts, trace, counted = {}, {}, None, None
    for line in open(path, errors="replace"):
        if mark := re.match(r"== (.*)", line):
            trace = None if mark[1] == "end" else traces.setdefault(mark[1], [])
        elif title := re.match(r"(.*): \d+ kernels and products", line):
            counted = counts.setdefault(title[1], {})
        elif counted is not None and (row := re.match(r"\s+(\d+)  (\w+) +(\d+) bytes read +(\d+) written", line)):
            counted[row[2]] = (int(row[1]), int(row[3]), int(row[4]))
        elif trace is not None and (found := LINE.search(line)):
            if found["kernel"]:
                trace.append(Operation(found["kernel"], [int(x) for x in found["grid"].split(",")], [int(x) for x in found["block"].split(",")], None))
            elif found["m"]:
                trace.append(Operation("cublasLtMatmul", None, None, [int(found[x]) for x in "mnk"]))
            elif found["fill"]:
                trace.append(Operation("fill", None, None, [int(found["count"]) * int(found["width"])]))
    return traces, counts


def out(size, kernel, stride, padding):
    return (size + 2 * padding - kernel) // stride + 1


def taps(size, kernel, stride, padding):
    """Pairs of a window and a place of it that lie inside, along one axis."""
    return sum(0 <= o * stride - padding + k < size for o in range(out(size, kernel, stride, padding)) for k in range(kernel))


class Walk:
    """The launches of a step, consumed in order."""

    def __init__(self, operations):
        self.operations, self.at, self.costs = operations, 0, []

    def next(self, *prefixes):
        return self.at < len(self.operations) and self.operations[self.at].name.startswith(prefixes)

    def take(self, prefix, what, read, written, flops=0, asked=None, put=None):
        if not self.next(prefix):
            found = self.operations[self.at].name if self.at < len(self.operations) else "the end"
            sys.exit(f"gpu-costs: expected {prefix} for {what}, found {found} at launch {self.at}; the walk in scripts/gpu_costs.py must follow the library")
        operation = self.operations[self.at]
        self.at += 1
        self.costs.append(Cost(operation, what, read, written, flops, read if asked is None else asked, written if put is None else put))
        return operation

    def product(self, prefix, what, shape, results, flops, depth, a, b, bias=0):
        """A product in tiles, `depth` of them in a row: its left side, `a` bytes, is read once for each tile along the columns, its right side, `b`, once for each along the rows; `shape` bytes if each number were read once. A long sum is cut in parts, which a second launch adds up. Each of the 32 threads along the columns of a flat tile reads the `bias` bytes."""
        across, down, deep = self.operations[self.at].grid or (1, 1, 1)
        parts = max(1, deep // depth)
        self.take(prefix, what, shape, 4 * parts * results, flops, asked=across * (a + 32 * bias) + down * b)
        if parts > 1:
            self.take("sum_parts", what, 4 * parts * results, 4 * results, parts * results)

    def threads(self):
        """Threads of the launch at hand, each of which reads its channel's parameters."""
        operation = self.operations[self.at]
        return operation.grid[0] * operation.block[0] if operation.grid else 0

    def pool(self, prefix, what, planes, size, kernel, stride, padding, backward=False):
        """Max pooling of planes of size x size: every place of a window is looked at; going back the windows over every place are, and dy where they mean it."""
        after = planes * out(size, kernel, stride, padding) ** 2
        pairs, before = planes * taps(size, kernel, stride, padding) ** 2, planes * size * size
        if backward:
            self.take(prefix, what, 5 * after, 4 * before, before, asked=4 * after + pairs)
        else:
            self.take(prefix, what, 4 * before, 5 * after, pairs, asked=4 * pairs)

    # A convolution of [n, c, h, w] to oc channels, and its gradients.
    def conv(self, s, what):
        n, c, h, w, oc, k, stride, p, bias = s
        oh, ow = out(h, k, stride, p), out(w, k, stride, p)
        window = n * taps(h, k, stride, p) * taps(w, k, stride, p)
        results, weights = n * oc * oh * ow, oc * c * k * k
        self.product("forward_", what, 4 * (n * c * h * w + weights + bias * oc), results, 2 * oc * c * window, 1, 4 * weights, 4 * c * window, 4 * oc if bias else 0)

    def conv_backward(self, s, what, input_gradient=True):
        n, c, h, w, oc, k, stride, p, bias = s
        oh, ow = out(h, k, stride, p), out(w, k, stride, p)
        window = n * taps(h, k, stride, p) * taps(w, k, stride, p)
        results, weights = n * oc * oh * ow, oc * c * k * k
        if input_gradient:
            places = min(stride, h) * min(stride, w)
            self.product("backward_", what, 4 * (results + weights), n * c * h * w, 2 * oc * c * window, places, 4 * weights, 4 * oc * window)
        self.product("weight_gradient_", what, 4 * (n * c * h * w + results), weights, 2 * oc * c * window, 1, 4 * results, 4 * c * window)
        if bias:
            self.sum(what, results, oc)

    def sum(self, what, count, results):
        self.take("sum_", what, 4 * count, 4 * results, count)
        if self.next("sum_parts_f32"):
            self.take("sum_parts_f32", what, 8 * results, 4 * results, results)

    def norm(self, n, c, area, what):
        size = n * c * area
        if self.next("batch_norm_whole"):
            self.take("batch_norm_whole", what, 4 * size + 8 * c, 4 * size + 12 * c, 8 * size, asked=12 * size + 8 * self.threads())
        else:
            pieces = self.operations[self.at].grid[1]
            self.take("batch_norm_pieces", what, 4 * size, 24 * pieces * c, 6 * size, asked=8 * size)
            self.take("batch_norm_merge", what, 4 * size + 24 * pieces * c, 4 * size + 12 * c, 2 * size)

    def norm_backward(self, n, c, area, what):
        size = n * c * area
        if self.next("batch_norm_backward_whole"):
            self.take("batch_norm_backward_whole", what, 8 * size + 12 * c, 4 * size + 8 * c, 9 * size, asked=16 * size + 16 * self.threads())
        else:
            pieces = self.operations[self.at].grid[1]
            self.take("batch_norm_backward_pieces", what, 8 * size, 24 * pieces * c, 4 * size)
            self.take("batch_norm_backward_merge", what, 8 * size + 24 * pieces * c, 4 * size + 8 * c, 5 * size)

    def relu(self, size, what):
        self.take("relu_value", what, 4 * size, 4 * size, size)

    def relu_backward(self, size, what):
        self.take("relu_slope", what, 8 * size, 4 * size, size)

    def add(self, size, what):
        self.take("add_rows", what, 8 * size, 4 * size, size)

    def matmul(self, what):
        m, n, k = self.operations[self.at].numbers if self.next("cublasLtMatmul") else (0, 0, 0)
        self.take("cublasLtMatmul", what, 4 * (m * k + k * n), 4 * m * n, 2 * m * n * k)

    def loss(self, n, classes):
        self.take("cross_entropy_", "loss", 4 * n * classes + 8 * n, 12 * n, 5 * n * classes, asked=4 * n * classes + 12 * n)
        while self.next("sum_warps", "div_rows", "fill"):
            name = self.operations[self.at].name
            self.take(name, "loss: the mean", {"sum_warps_f32": 4 * n, "div_rows": 8, "fill": 0}[name], 4, n)
        # Every thread of a row reads its label, normaliser and scale.
        lanes = next((lanes for name, lanes in [("octets", 8), ("warps", 32), ("blocks", 256)] if self.next(f"cross_entropy_backward_{name}")), 0)
        self.take("cross_entropy_backward_", "loss", 4 * n * classes + 12 * n + 4, 4 * n * classes, 3 * n * classes, asked=4 * n * classes + 16 * n * lanes)

    def linear_backward(self, n, inputs, outputs, what):
        self.matmul(what)
        self.matmul(what)
        self.sum(what, n * outputs, outputs)

    def optimizer(self, parameters, channels, states):
        """What follows the backward pass, where the trace has it."""
        if self.next("keep_loss"):
            self.take("keep_loss", "optimizer", 12, 12, asked=20)
        if self.at < len(self.operations):
            for cost in optimizer_costs(parameters, channels, states):
                self.take(cost.operation.name, *cost[1:])
        if self.at != len(self.operations):
            sys.exit(f"gpu-costs: {len(self.operations) - self.at} launches more than expected, from {self.operations[self.at].name} on")


def lenet(operations, n):
    walk = Walk(operations)
    conv1, conv2 = (n, 1, 28, 28, 6, 5, 1, 2, 1), (n, 6, 14, 14, 16, 5, 1, 0, 1)
    widths = [400, 120, 84, 10]
    walk.conv(conv1, "conv1, bias, ReLU")
    walk.pool("max_pool2d", "pool1", n * 6, 28, 2, 2, 0)
    walk.conv(conv2, "conv2, bias, ReLU")
    walk.pool("max_pool2d", "pool2", n * 16, 10, 2, 2, 0)
    for i in range(3):
        walk.matmul(f"linear{i + 1}, bias" + (", ReLU" if i < 2 else ""))
    walk.loss(n, 10)
    for i in (2, 1, 0):
        walk.linear_backward(n, widths[i], widths[i + 1], f"linear{i + 1}")
        if i:
            walk.relu_backward(n * widths[i], f"linear{i}")
    walk.pool("max_pool2d_backward", "pool2", n * 16, 10, 2, 2, 0, backward=True)
    walk.relu_backward(n * 1600, "conv2")
    walk.conv_backward(conv2, "conv2")
    walk.pool("max_pool2d_backward", "pool1", n * 6, 28, 2, 2, 0, backward=True)
    walk.relu_backward(n * 6 * 784, "conv1")
    walk.conv_backward(conv1, "conv1", input_gradient=False)
    parameters = [150, 6, 2400, 16, 48000, 120, 10080, 84, 840, 10]
    walk.optimizer(parameters, [], 2)
    return walk.costs, parameters, []


def resnet18(operations, n, size, widths, classes):
    walk = Walk(operations)
    parameters, channels, blocks = [], [], []

    def layer(c, s, oc, k, stride, what):
        shape = (n, c, s, s, oc, k, stride, k // 2, 0)
        parameters.extend([oc * c * k * k, oc, oc])
        channels.append(oc)
        walk.conv(shape, what)
        area = out(s, k, stride, k // 2) ** 2
        walk.norm(n, oc, area, what)
        return shape, area

    stem, area = layer(3, size, widths[0], 7, 2, "stem")
    wide = n * widths[0] * area
    walk.relu(wide, "stem")
    half = out(size, 7, 2, 3)
    s = out(half, 3, 2, 1)
    walk.pool("max_pool2d", "pool", n * widths[0], half, 3, 2, 1)
    inputs = widths[0]
    for stage, outputs in enumerate(widths):
        for block in range(2):
            stride = 2 if stage and not block else 1
            what = f"stage {stage + 1}"
            first, area = layer(inputs, s, outputs, 3, stride, what)
            count = n * outputs * area
            walk.relu(count, what)
            second, _ = layer(outputs, out(s, 3, stride, 1), outputs, 3, 1, what)
            past = layer(inputs, s, outputs, 1, stride, what)[0] if stride == 2 else None
            walk.add(count, what)
            walk.relu(count, what)
            blocks.append((what, first, second, past, area, count, n * inputs * s * s))
            s, inputs = out(s, 3, stride, 1), outputs
    walk.take("adaptive_avg_pool2d", "mean", 4 * n * inputs * s * s, 4 * n * inputs, n * inputs * s * s)
    walk.matmul("linear, bias")
    parameters.extend([classes * inputs, classes])
    walk.loss(n, classes)
    walk.linear_backward(n, inputs, classes, "linear")
    walk.take("adaptive_avg_pool2d_backward", "mean", 4 * n * inputs, 4 * n * inputs * s * s, n * inputs * s * s)
    for what, first, second, past, area, count, before in reversed(blocks):
        walk.relu_backward(count, what)
        backward_block(walk, what, first, second, past, area, count, before, n)
    walk.pool("max_pool2d_backward", "pool", n * widths[0], half, 3, 2, 1, backward=True)
    walk.relu_backward(wide, "stem")
    walk.norm_backward(n, widths[0], half * half, "stem")
    walk.conv_backward(stem, "stem", input_gradient=False)
    walk.optimizer(parameters, channels, 1)
    return walk.costs, parameters, channels


def backward_block(walk, what, first, second, past, area, count, before, n):
    if past:
        walk.norm_backward(n, past[4], area, what)
        walk.conv_backward(past, what + ", way past")
    walk.norm_backward(n, second[4], area, what)
    walk.conv_backward(second, what)
    walk.relu_backward(count, what)
    walk.norm_backward(n, first[4], area, what)
    walk.conv_backward(first, what)
    walk.add(before, what)


def optimizer_costs(parameters, channels, states):
    """The optimizer's three launches over all parameters and buffers, in chunks of 4096 numbers: SGD with momentum (one state) or Adam (two).

    Buffers are the running means and variances, and a count of batches for each norm. Beside their numbers threads load the chunk's row of the table, and in `write` the formula's constants.
    """
    adam, count, buffers, counts = states == 2, sum(parameters), 2 * sum(channels), len(channels)
    blocks = lambda sizes: sum(-(-size // 4096) for size in sizes)
    # Threads that have a number at all.
    busy = lambda sizes: sum(256 * (size // 4096) + min(256, size % 4096) for size in sizes)
    following = 2 * blocks(channels)
    chunks = blocks(parameters) + following + counts

    def cost(name, blocks, read, written, flops, beside):
        return Cost(Operation(name, [blocks, 1, 1], [256, 1, 1], None), "optimizer", read, written, flops, read + beside, written)

    numbers = count * (2 + states)
    flops = (12 if adam else 4) * count + 3 * buffers + counts
    beside = 256 * (104 * blocks(parameters) + 68 * (following + counts)) + (20 * busy(parameters) if adam else 0)
    return [
        cost("measure", chunks, 4 * count + 8 * buffers, 16 * chunks, 5 * count + 5 * buffers, 28 * 256 * chunks + 8 * busy(parameters) + 24 * 2 * busy(channels)),
        cost("conclude", 1, 16 * chunks + (104 if adam else 96), 68 if adam else 56, 2 * chunks, 0),
        cost("write", chunks, 4 * numbers + 8 * buffers + 8 * counts, 4 * count * (1 + states) + 4 * buffers + 8 * counts, flops, beside),
    ]


def seconds(cost, peak=PEAK):
    """The roofline: the longer of moving the bytes and of computing. What is at most half of the second-level cache is taken to stand there."""
    moved = cost.read + cost.written
    rate = L2_RATE if moved <= L2 / 2 else HBM * REACHED
    return max(moved / rate, cost.flops / peak)


def expected(cost):
    """What the launch should take on an H100."""
    return max(LEAST, seconds(cost, PEAK * PRODUCT))


def show_check(title, costs, counted, quiet):
    rows = collections.OrderedDict()
    for cost in costs:
        row = rows.setdefault(cost.operation.name, [0, 0, 0, 0, 0])
        for i, x in enumerate([1, cost.read, cost.asked, cost.written, cost.put]):
            row[i] += x
    rows = {name: row for name, row in sorted(rows.items()) if name in counted and name != "cublasLtMatmul"}
    for name, row in rows.items():
        if counted[name][0] != row[0]:
            sys.exit(f"gpu-costs: {name} ran {counted[name][0]} times in {title}, the walk has {row[0]}")
    if quiet:
        return
    print(f"\n{title}: bytes by the formulas against those that the software GPU counted (loads and stores of all threads, those that caches would answer too)")
    print(f"  {'kernel':<38} {'runs':>4} {'read once':>10} {'asked for':>10} {'counted':>10} {'ratio':>6}   {'written':>10} {'counted':>10} {'ratio':>6}")
    ratio = lambda got, expected: f"{got / expected:6.3f}" if expected else "     -"
    show = lambda name, runs, read, asked, got, put, out: print(f"  {name:<38} {runs:>4} {read:>10} {asked:>10} {got:>10} {ratio(got, asked)}   {put:>10} {out:>10} {ratio(out, put)}")
    for name, (runs, read, asked, _, put) in rows.items():
        show(name, runs, read, asked, counted[name][1], put, counted[name][2])
    total = [sum(row[i] for row in rows.values()) for i in range(5)]
    show("all", total[0], total[1], total[2], sum(counted[name][1] for name in rows), total[4], sum(counted[name][2] for name in rows))


def show_costs(title, costs, extra):
    """`extra` launches of the captured step are in the written one not."""
    rows = collections.OrderedDict()
    for cost in costs:
        row = rows.setdefault(cost.operation.name, [0] * 6)
        for i, x in enumerate([1, cost.read, cost.written, cost.flops, seconds(cost), expected(cost)]):
            row[i] += x
    totals = [sum(row[i] for row in rows.values()) for i in range(6)]
    number = lambda x: f"{x:.0f}" if x >= 99.5 else f"{x:.3g}" if x >= 0.001 else "0"
    print(f"\n{title}: bytes with each number once, operations, and time by kernel")
    print("| kernel | launches | MB read | MB written | GFLOP | limit, µs | expected, µs |\n|---|---|---|---|---|---|---|")
    for name, row in sorted(rows.items(), key=lambda item: -item[1][4]) + [("all", totals)]:
        runs, read, written, flops, limit, time = row
        print(f"| {name} | {runs} | {number(read / 1e6)} | {number(written / 1e6)} | {number(flops / 1e9)} | {number(limit * 1e6)} | {number(time * 1e6)} |")
    for what, launches, processor in [("captured", totals[0] + extra, 0), ("written", totals[0], totals[0] * LAUNCH)]:
        least, likely = (max(work + launches * GAP, processor) for work in totals[4:])
        print(f"{title}, {what}: {launches} launches, {least * 1e6:.0f} µs at the limits, {likely * 1e6:.0f} µs expected")


def show_launches(title, costs):
    print(f"\n{title}: the launches, each form where it comes first; bytes with each number once, operations and roofline of one")
    print(f"  {'times':>5} {'kernel':<38} {'grid':<11} {'block':<6} {'for':<22} {'read':>10} {'written':>10} {'operations':>12} {'µs':>7}")
    forms = collections.Counter()
    for cost in costs:
        size = lambda extents: "x".join(map(str, extents)).removesuffix("x1").removesuffix("x1") if extents else "-"
        form = f"{cost.operation.name:<38} {size(cost.operation.grid):<11} {size(cost.operation.block):<6} {cost.what:<22} "
        forms[form + f"{cost.read:>10.0f} {cost.written:>10.0f} {cost.flops:>12.0f} {seconds(cost) * 1e6:>7.2f}"] += 1
    for form, times in forms.items():
        print(f"  {times:>5} {form}")


def main():
    traces, counts = parse(sys.argv[1])
    # The step as it is written has no keep_loss; else the two are the same.
    for kind in ("written", "captured"):
        for title, costs in [(f"LeNet, batch 4, {kind}", lambda x: lenet(x, 4)), (f"ResNet-18, cut down, {kind}", lambda x: resnet18(x, 2, 32, [8, 16, 32, 64], 10))]:
            show_check(title, costs(traces[title])[0], counts[title], quiet=kind == "written")
    full = {"LeNet, batch 64": (lenet, (64,), 2), "ResNet-18, batch 64": (resnet18, (64, 224, [64, 128, 256, 512], 1000), 1)}
    for title, (walk, sizes, states) in full.items():
        costs, parameters, channels = walk(traces[title], *sizes)
        # The optimizer does not depend on the batch.
        costs += optimizer_costs(parameters, channels, states)
        show_costs(title, costs, extra=2)
        show_launches(title, costs)


main()
