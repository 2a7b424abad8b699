"""Loads a run's best checkpoint into the same MLP in PyTorch, and compares its test accuracy with the run's own.

    python load_checkpoint.py RUN_FOLDER RAW_MNIST_FOLDER
"""

import gzip
import json
import sys
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import nn


class Mlp(nn.Module):
    def __init__(self, fc1, fc2):
        super().__init__()
        self.fc1 = nn.Linear(784, fc1)
        self.fc2 = nn.Linear(fc1, fc2)
        self.fc3 = nn.Linear(fc2, 10)

    def forward(self, x):
        x = torch.relu(self.fc1(x.flatten(1)))
        return self.fc3(torch.relu(self.fc2(x)))


def idx(path, header):
    return torch.frombuffer(bytearray(gzip.open(path).read())[header:], dtype=torch.uint8)


run, raw = Path(sys.argv[1]), Path(sys.argv[2])
config = json.loads((run / "config.json").read_text())["model_config"]
model = Mlp(config["fc1"], config["fc2"]).eval()
model.load_state_dict(load_file(run / "checkpoints" / "best.safetensors"), strict=True)
x = idx(raw / "t10k-images-idx3-ubyte.gz", 16).view(-1, 1, 28, 28)
y = idx(raw / "t10k-labels-idx1-ubyte.gz", 8).long()
with torch.no_grad():
    got = (model((x.float() / 255 - 0.1307) / 0.3081).argmax(1) == y).double().mean().item()
expected = json.loads((run / "results.json").read_text())["metrics"]["test_acc"]
assert got == expected, f"PyTorch measures {got}, the run {expected}"
print(f"test_acc {got}")
