#!/usr/bin/env bash
# The main job here and in PyTorch, in turn on one machine; nothing else may run.
#
#   scripts/mnist_against_torch.sh "PYTHON torch_mnist.py DATA_DIR" [ROUNDS]
#
# The first argument is a program that takes --model, --epochs, --threads and prints the JSON line that mnist_cnn prints.
set -euo pipefail
cd "$(dirname "$0")/.."
peer=${1:?the command of the other side}
rounds=${2:-1}
cargo build --release --quiet --example mnist_cnn
ours=${CARGO_TARGET_DIR:-target}/release/examples/mnist_cnn
save=$(mktemp -d)
trap 'rm -rf "$save"' EXIT
uptime
for round in $(seq "$rounds"); do
  for job in "lenet 5" "mlp 5" "cnn 2"; do
    read -r model epochs <<<"$job"
    echo "round $round, $model, $epochs epochs"
    "$ours" --model "$model" --epochs "$epochs" --seed 0 --save "$save/model.safetensors" | tail -n 1
    for threads in 2 1; do
      echo "peer, $threads threads: $($peer --model "$model" --epochs "$epochs" --threads "$threads" | tail -n 1)"
    done
  done
done
