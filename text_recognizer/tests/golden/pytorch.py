"""Makes pytorch.json: what PyTorch 2.13.0 computes, which ../library/pytorch.rs compares with.

    pip install torch==2.13.0 numpy && python pytorch.py > pytorch.json
"""

import json

import torch
from torch import nn

OPTIMIZERS = {
    "sgd": (torch.optim.SGD, {"lr": 0.1}, {}),
    "sgd_momentum": (torch.optim.SGD, {"lr": 0.1, "momentum": 0.9}, {}),
    "sgd_nesterov": (torch.optim.SGD, {"lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 0.01}, {}),
    "adam": (torch.optim.Adam, {"lr": 0.01}, {}),
    "adam_l2": (torch.optim.Adam, {"lr": 0.01, "weight_decay": 0.1}, {"betas": (0.8, 0.99), "eps": 1e-6}),
    "adamw": (torch.optim.AdamW, {"lr": 0.01}, {}),
    "rmsprop": (torch.optim.RMSprop, {"lr": 0.01}, {}),
    "rmsprop_momentum": (
        torch.optim.RMSprop,
        {"lr": 0.01, "momentum": 0.9, "weight_decay": 0.1, "alpha": 0.9, "eps": 1e-6},
        {},
    ),
}


def optimizers():
    torch.manual_seed(0)
    start = torch.randn(37)
    grads = torch.randn(5, 37)
    lrs = [1.0, 0.5, 2.0, 1.0, 0.1]  # factors of lr: a schedule
    cases = {}
    for name, (kind, options, more) in OPTIMIZERS.items():
        p = nn.Parameter(start.clone())
        optimizer = kind([p], **options, **more)
        steps = []
        for grad, factor in zip(grads, lrs):
            optimizer.param_groups[0]["lr"] = options["lr"] * factor
            p.grad = grad.clone()
            optimizer.step()
            steps.append(p.detach().tolist())
        flags = dict(options)
        if "betas" in more:
            flags["beta1"], flags["beta2"] = more["betas"]
            flags["eps"] = more["eps"]
        cases[name] = {"optimizer": kind.__name__.lower(), "flags": flags, "steps": steps}
    return {"start": start.tolist(), "grads": grads.tolist(), "lr_factors": lrs, "cases": cases}


def mlp():
    """A small MLP of the lab: initial weights, logits, loss and gradients, all from one seed."""
    torch.manual_seed(42)
    layers = [("fc1", nn.Linear(12, 7)), ("fc2", nn.Linear(7, 5)), ("fc3", nn.Linear(5, 3))]
    torch.manual_seed(1)
    x, y = torch.randn(4, 1, 3, 4), torch.tensor([0, 2, 1, 2])
    h = x.flatten(1)
    for i, (_, layer) in enumerate(layers):
        h = layer(h) if i == 2 else torch.relu(layer(h))
    loss = nn.functional.cross_entropy(h, y)
    loss.backward()
    parameters = {f"{name}.{p}": v for name, layer in layers for p, v in layer.named_parameters()}
    return {
        "weights": {name: p.detach().flatten().tolist() for name, p in parameters.items()},
        "grads": {name: p.grad.flatten().tolist() for name, p in parameters.items()},
        "x": x.flatten().tolist(),
        "y": y.tolist(),
        "logits": h.detach().flatten().tolist(),
        "loss": loss.item(),
    }


def layers():
    """Layers with weights from a seed: initial weights, outputs, and gradients of the sum of the outputs times factors."""
    conv = nn.utils.weight_norm  # Its parameters are weight_g and weight_v.
    cases = {
        "layer_norm": (lambda: nn.LayerNorm(6), [4, 3, 6], lambda layer, x: layer(x)),
        "self_attention": (
            lambda: nn.MultiheadAttention(6, 3, batch_first=True),
            [4, 5, 6],
            lambda layer, x: layer(x, x, x, need_weights=False)[0],
        ),
        "weight_norm_conv": (
            lambda: conv(nn.Conv1d(2, 4, 3)),
            [4, 2, 8],
            lambda layer, x: layer(nn.functional.pad(x, (2, 0))),
        ),
    }
    results = {}
    for name, (make, shape, run) in cases.items():
        torch.manual_seed(7)
        layer = make()
        first = {key: p.detach().flatten().tolist() for key, p in layer.named_parameters()}
        with torch.no_grad():
            for p in layer.parameters():
                p += 0.3 * torch.randn_like(p)
        x = torch.randn(shape, requires_grad=True)
        y = run(layer, x)
        factors = torch.randn(y.shape)
        (y * factors).sum().backward()
        parameters = dict(layer.named_parameters())
        results[name] = {
            "first": first,
            "weights": {key: p.detach().flatten().tolist() for key, p in parameters.items()},
            "grads": {key: p.grad.flatten().tolist() for key, p in parameters.items()},
            "x": x.detach().flatten().tolist(),
            "x_grad": x.grad.flatten().tolist(),
            "shape": shape,
            "y": y.detach().flatten().tolist(),
            "factors": factors.flatten().tolist(),
        }
    return results


print(json.dumps({"torch": torch.__version__, "optimizers": optimizers(), "mlp": mlp(), "layers": layers()}))
