"""Measures seconds per epoch of the network of epoch_time.rs in PyTorch 2.13.0, with all data in memory.

    pip install torch==2.13.0 numpy && python epoch_time.py ../../data/raw/mnist
"""

import gzip
import statistics
import sys
import time
from pathlib import Path

import numpy as np
import torch
from torch import nn

ROUNDS = 5


def idx(name, skip):
    with gzip.open(Path(sys.argv[1]) / name) as file:
        return torch.from_numpy(np.frombuffer(file.read(), np.uint8, offset=skip).copy())


x = (idx("train-images-idx3-ubyte.gz", 16).view(-1, 784)[:55_000].float() / 255 - 0.1307) / 0.3081
y = idx("train-labels-idx1-ubyte.gz", 8)[:55_000].long()


def epoch(model, optimizer):
    for rows in torch.randperm(len(x)).split(128):
        optimizer.zero_grad(set_to_none=True)
        nn.functional.cross_entropy(model(x[rows]), y[rows]).backward()
        optimizer.step()


print(f"{torch.get_num_threads()} threads; seconds per epoch")
for name, options in [("Adam(fused=True)", {"fused": True}), ("Adam()", {})]:
    layers = [nn.Linear(784, 1024), nn.ReLU(), nn.Dropout(0.5), nn.Linear(1024, 128), nn.ReLU(), nn.Dropout(0.5)]
    model = nn.Sequential(*layers, nn.Linear(128, 10))
    optimizer = torch.optim.Adam(model.parameters(), **options)
    times = []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        epoch(model, optimizer)
        times.append(time.perf_counter() - started)
    print(f"{name}: median {statistics.median(times):.2f}, {min(times):.2f} to {max(times):.2f}")
