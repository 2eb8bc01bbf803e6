#!/usr/bin/env python3
"""PyTorch's times of the training steps that `chainrule-bench --device cuda` times, beside those.

    scripts/gpu_torch.py FILE

FILE holds what that program printed. The same layers, batches and optimizer; float32 throughout (no TF32), as there. A step is timed in rounds of 10 with one wait at the end of each, and the median of the rounds counts. `eager` is PyTorch as it comes, `graph` the whole step captured as a CUDA graph.
"""
import sys, time
import torch
from torch import nn

torch.backends.cuda.matmul.allow_tf32 = False
torch.backends.cudnn.allow_tf32 = False
torch.backends.cudnn.benchmark = True
DEVICE = torch.device(sys.argv[2] if len(sys.argv) > 2 else "cuda")
ROUND, LEAST, BUDGET = 10, 5, 3.0


def mlp():
    return nn.Sequential(nn.Linear(784, 256), nn.ReLU(), nn.Linear(256, 128), nn.ReLU(), nn.Linear(128, 10))


def lenet():
    return nn.Sequential(
        nn.Conv2d(1, 6, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
        nn.Linear(400, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, 10))


def mnist_cnn():
    return nn.Sequential(
        nn.Conv2d(1, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
        nn.Dropout(0.25), nn.Linear(64 * 49, 128), nn.ReLU(), nn.Dropout(0.5), nn.Linear(128, 10))


class Block(nn.Module):
    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm2d(outputs)
        self.conv2, self.bn2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False), nn.BatchNorm2d(outputs)
        self.shortcut = nn.Identity()
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x):
        return (self.bn2(self.conv2(self.bn1(self.conv1(x)).relu())) + self.shortcut(x)).relu()


def resnet18_cifar():
    blocks = [Block(i, o, s) for i, o, s in [(64, 64, 1), (64, 64, 1), (64, 128, 2), (128, 128, 1), (128, 256, 2), (256, 256, 1), (256, 512, 2), (512, 512, 1)]]
    head = [nn.Conv2d(3, 64, 3, 1, 1, bias=False), nn.BatchNorm2d(64), nn.ReLU()]
    return nn.Sequential(*head, *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, 10))


# By the name before the batch: the model and the dimensions of an input.
WORKLOADS = {
    "mlp_train": (mlp, (784,)),
    "lenet_train": (lenet, (1, 28, 28)),
    "mnist_cnn_train": (mnist_cnn, (1, 28, 28)),
    "resnet18_cifar_train": (resnet18_cifar, (3, 32, 32)),
}


def wait():
    if DEVICE.type == "cuda":
        torch.cuda.synchronize()


def median(step):
    def once():
        start = time.perf_counter()
        for _ in range(ROUND):
            step()
        wait()
        return (time.perf_counter() - start) / ROUND

    once()
    times, start = [], time.perf_counter()
    while len(times) < LEAST or time.perf_counter() - start < BUDGET:
        times.append(once())
    return sorted(times)[len(times) // 2] * 1e3


def steps(make, dims, batch):
    """The step as PyTorch runs it, and captured."""
    x, labels = torch.randn(batch, *dims, device=DEVICE), torch.randint(0, 10, (batch,), device=DEVICE)
    model, loss = make().to(DEVICE), nn.CrossEntropyLoss()
    adam = torch.optim.Adam(model.parameters(), lr=1e-3, capturable=DEVICE.type == "cuda")

    def step():
        adam.zero_grad(set_to_none=True)
        loss(model(x), labels).backward()
        adam.step()

    yield step
    if DEVICE.type != "cuda":
        return
    aside = torch.cuda.Stream()
    aside.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(aside):
        for _ in range(3):
            step()
    torch.cuda.current_stream().wait_stream(aside)
    graph = torch.cuda.CUDAGraph()
    adam.zero_grad(set_to_none=True)
    with torch.cuda.graph(graph):
        step()
    yield graph.replay


def main():
    name = torch.cuda.get_device_name() if DEVICE.type == "cuda" else "the CPU"
    print(f"PyTorch {torch.__version__} on {name}, ms a step")
    print(f"{'':42} {'chainrule':>13} {'captured':>13} {'eager':>13} {'graph':>13} {'eager/captured':>15} {'graph/captured':>15}")
    for line in open(sys.argv[1]):
        workload, _, rest = line.strip().partition(" ")
        kind, _, batch = workload.rpartition("_b")
        if kind not in WORKLOADS:
            continue
        written, captured = map(float, rest.split())
        theirs = [median(step) for step in steps(*WORKLOADS[kind], int(batch))]
        ratios = [time / captured for time in theirs]
        print(f"{workload:42} {written:13.3f} {captured:13.3f}" + "".join(f" {time:13.3f}" for time in theirs) + "".join(f" {ratio:15.2f}" for ratio in ratios))


main()
