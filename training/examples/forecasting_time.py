"""Measures seconds per epoch of the networks of forecasting_time.rs in PyTorch 2.13.0, with the classes of the tests.

    pip install torch==2.13.0 numpy && python forecasting_time.py
"""

import sys
import time
from pathlib import Path

import torch

sys.path.append(str(Path(__file__).parent.parent / "tests/golden"))

from forecasting_networks import TCN, DLinear, NBeats, NHits, NLinear, PatchTST, TiDE

MODELS = {
    "nlinear": (NLinear, {}),
    "dlinear": (DLinear, {}),
    "nbeats": (NBeats, {}),
    "nhits": (NHits, {}),
    "tide": (TiDE, {}),
    "tcn": (TCN, {"layers": 4}),
    "patchtst": (PatchTST, {"patch_len": 16, "patch_stride": 8}),
}
BATCHES, BATCH, EPOCHS = 100, 32, 10

torch.set_num_threads(1)
torch.manual_seed(0)
x = torch.randn(BATCHES * BATCH, 96, 1)
y = torch.randn(BATCHES * BATCH, 48, 1)
for name, (network, options) in MODELS.items():
    model = network(96, 1, 48, 1, **options)
    optimizer = torch.optim.Adam(model.parameters(), fused=True)
    for _ in range(EPOCHS):
        started = time.perf_counter()
        for rows in torch.randperm(len(x)).split(BATCH):
            optimizer.zero_grad(set_to_none=True)
            torch.nn.functional.l1_loss(model(x[rows]), y[rows]).backward()
            optimizer.step()
        seconds = time.perf_counter() - started
    print(f"{name:<10} {seconds:.3f}")
