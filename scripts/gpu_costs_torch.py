#!/usr/bin/env python3
"""Counts, on paper, what PyTorch's eager mode launches on a GPU in a training step of LeNet and of ResNet-18.

The step is run on PyTorch's meta device (no numbers, no GPU), and the operations that reach the backend are listed. Each is then given the launches
that its CUDA implementation makes at the least: KERNELS says how many and why. cuDNN may launch more than one kernel for a convolution.
"""
import collections
import sys

import torch
from torch import nn
from torch.nn.functional import cross_entropy
from torch.utils._python_dispatch import TorchDispatchMode

# Tensors and blocks that one launch of multi_tensor_apply takes, by the number of its lists; a block takes 65,536 numbers (ATen/native/cuda/MultiTensorApply.cuh).
MOST_TENSORS = {1: 110, 2: 64, 3: 48, 4: 36, 5: 30}
MOST_BLOCKS, CHUNK = 320, 65536

# Views and allocations launch nothing.
NOTHING = {"view", "t", "expand", "empty", "detach", "transpose", "_unsafe_view", "alias", "empty_like", "as_strided", "squeeze", "unsqueeze", "_reshape_alias", "reshape", "resolve_conj", "lift_fresh", "_local_scalar_dense", "_record_function_enter_new", "_record_function_exit"}

# name: launches, and what they are.
KERNELS = {
    "native_batch_norm": (1, "cuDNN's batch norm"),
    "cudnn_batch_norm": (1, "cuDNN's batch norm"),
    "_native_batch_norm_legit": (1, "cuDNN's batch norm"),
    "native_batch_norm_backward": (1, "cuDNN's batch norm, backward"),
    "relu": (1, "elementwise"),
    "relu_": (1, "elementwise"),
    "threshold_backward": (1, "elementwise"),
    "max_pool2d_with_indices": (1, "pooling"),
    "max_pool2d_with_indices_backward": (2, "zeros, and a scatter into them"),
    "mean": (1, "reduction"),
    "div": (1, "elementwise"),
    "add": (1, "elementwise"),
    "add_": (1, "elementwise"),
    "sum": (1, "reduction"),
    "mm": (1, "cuBLAS"),
    "addmm": (1, "cuBLASLt with the bias in its epilogue"),
    "_log_softmax": (1, "softmax"),
    "_log_softmax_backward_data": (1, "softmax, backward"),
    "nll_loss_forward": (1, "loss"),
    "nll_loss_backward": (2, "zeros, and a kernel that writes the labels' places"),
    "ones_like": (1, "fill: the gradient of the loss by itself"),
}


def launches(name, arguments, results):
    """How many kernels an operation launches, and what they are."""
    if name in NOTHING:
        return 0, "no launch"
    if name == "convolution":
        return (2, "cuDNN, and the bias added") if arguments[2] is not None else (1, "cuDNN")
    if name == "convolution_backward":
        wanted = sum(result is not None for result in results)
        return wanted, f"cuDNN, one for each of {wanted} gradients (a bias's is a reduction)"
    if name.startswith("_foreach"):
        return foreach(arguments, name)
    return KERNELS[name]


def foreach(arguments, name):
    """multi_tensor_apply, launch by launch."""
    lists = [a for a in arguments if isinstance(a, (list, tuple)) and a and isinstance(a[0], torch.Tensor)]
    tensors = lists[0]
    if tensors[0].device.type == "cpu":
        return 0, "step counts, on the CPU"
    depth = len(lists) + (0 if name.endswith("_") else 1)
    count, held, blocks = 0, 0, 0
    for index, tensor in enumerate(tensors):
        held += 1
        chunks = -(-tensor.numel() // CHUNK)
        for chunk in range(chunks):
            blocks += 1
            last_chunk = chunk == chunks - 1
            full = (held == MOST_TENSORS[depth] and last_chunk) or blocks == MOST_BLOCKS
            if full or (index == len(tensors) - 1 and last_chunk):
                count += 1
                blocks, held = 0, 0 if last_chunk else 1
    return count, f"multi_tensor_apply over {depth} lists"


class Counted(TorchDispatchMode):
    def __init__(self):
        super().__init__()
        self.operations = collections.OrderedDict()

    def __torch_dispatch__(self, function, types, arguments=(), options=None):
        result = function(*arguments, **(options or {}))
        name = function.overloadpacket.__name__
        results = result if isinstance(result, (list, tuple)) else [result]
        number, what = launches(name, arguments, results)
        calls, total, _ = self.operations.get((name, what), (0, 0, what))
        self.operations[(name, what)] = (calls + 1, total + number, what)
        return result


def lenet():
    return nn.Sequential(
        nn.Conv2d(1, 6, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
        nn.Linear(400, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, 10),
    )


class BasicBlock(nn.Module):
    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm2d(outputs)
        self.conv2, self.bn2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False), nn.BatchNorm2d(outputs)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = None if stride == 1 else nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x):
        y = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        y += x if self.downsample is None else self.downsample(x)
        return self.relu(y)


def resnet18():
    layers = [nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2, 1)]
    inputs = 64
    for outputs in [64, 128, 256, 512]:
        layers += [BasicBlock(inputs, outputs, 1 if outputs == 64 else 2), BasicBlock(outputs, outputs, 1)]
        inputs = outputs
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, 1000))


def counted(title, model, make_optimizer, images, classes):
    model = model.to("meta")
    optimizer = make_optimizer(model.parameters())
    x, y = torch.empty(images, device="meta"), torch.empty(images[0], dtype=torch.long, device="meta")

    def step():
        optimizer.zero_grad(set_to_none=True)
        cross_entropy(model(x), y).backward()
        optimizer.step()

    step()  # the optimizer's states are there from here on
    with Counted() as mode:
        step()
    total = sum(number for _, number, _ in mode.operations.values())
    print(f"{title}: {total} launches of PyTorch {torch.__version__}, eager (a count on paper)")
    print(f"  {'operation':<36} {'calls':>5} {'launches':>8}")
    for (name, _), (calls, number, what) in sorted(mode.operations.items(), key=lambda item: -item[1][1]):
        if number:
            print(f"  {name:<36} {calls:>5} {number:>8}  {what}")
    print(f"  without launch: {', '.join(sorted({name for (name, _), (_, number, _) in mode.operations.items() if not number}))}\n")


counted("LeNet, batch 64, Adam", lenet(), lambda p: torch.optim.Adam(p, 1e-3, foreach=True), (64, 1, 28, 28), 10)
counted("ResNet-18, batch 64 at 224x224, SGD with momentum", resnet18(), lambda p: torch.optim.SGD(p, 0.1, momentum=0.9, foreach=True), (64, 3, 224, 224), 1000)
sys.exit(0)
