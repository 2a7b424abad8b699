"""Loads the best checkpoint of a run into the same network in PyTorch, and compares the test results.

    python load_checkpoint.py RUN_FOLDER MNIST_FOLDER

The exit code is 77 if a package is missing.
"""

import gzip
import json
import sys
from pathlib import Path

try:
    import numpy as np
    import torch
    from safetensors.torch import load_file
except ImportError as error:
    print(str(error).lower())  # no module named ...
    sys.exit(77)


class MLP(torch.nn.Module):
    def __init__(self, fc1, fc2):
        super().__init__()
        self.fc1 = torch.nn.Linear(784, fc1)
        self.fc2 = torch.nn.Linear(fc1, fc2)
        self.fc3 = torch.nn.Linear(fc2, 10)

    def forward(self, x):
        x = torch.relu(self.fc1(x.flatten(1)))
        return self.fc3(torch.relu(self.fc2(x)))


folder, mnist = map(Path, sys.argv[1:])
config = json.loads((folder / "config.json").read_text())["model_config"]
results = json.loads((folder / "results.json").read_text())["metrics"]


def read(name, skip):
    return torch.from_numpy(np.frombuffer(gzip.open(mnist / f"{name}.gz").read(), np.uint8, offset=skip).copy())


images = read("t10k-images-idx3-ubyte", 16).view(-1, 1, 28, 28)
labels = read("t10k-labels-idx1-ubyte", 8).long()
model = MLP(config["fc1"], config["fc2"])
model.load_state_dict(load_file(folder / "checkpoints" / "best.safetensors"), strict=True)
with torch.no_grad():
    logits = model((images / 255 - 0.1307) / 0.3081)
accuracy = (logits.argmax(1) == labels).double().mean().item()
loss = torch.nn.functional.cross_entropy(logits, labels).item()
assert accuracy == results["test_acc"], f"accuracy {accuracy} in PyTorch, {results['test_acc']} here"
assert abs(loss - results["test_loss"]) < 1e-5, f"loss {loss} in PyTorch, {results['test_loss']} here"
print(f"test accuracy {accuracy} in PyTorch {torch.__version__} and here")
