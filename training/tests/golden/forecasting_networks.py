"""Writes forecasting_networks.safetensors: the results of PyTorch for the forecasting networks of papers.

The file was made with PyTorch 2.13.0 on the CPU:

    pip install torch==2.13.0 numpy safetensors && python forecasting_networks.py

The classes are written from the papers. For each case, the file has the initial weights `i.NAME` after `torch.manual_seed(3)`, the
weights `w.NAME` (the initial ones plus noise), an input batch `x`, the output `y` without dropout, factors `f`, and the gradients
`g.NAME` of the sum of `y * f`.
"""

import math

import torch
from torch import nn
from torch.nn import functional as F

BATCH, WINDOW = 5, 12


def split(x, targets):
    """Returns the targets, [batch, targets, window], and the covariates, [batch, window * covariates], or None."""
    covariates = x[:, :, targets:].flatten(1) if x.shape[2] > targets else None
    return x[:, :, :targets].transpose(1, 2), covariates


class ChannelLinear(nn.ModuleList):
    """A linear layer over time: the same weights for all targets, or weights of its own for each."""

    def __new__(cls, window, horizon, targets, individual):
        return super().__new__(cls) if individual else nn.Linear(window, horizon)

    def __init__(self, window, horizon, targets, individual):
        super().__init__(nn.Linear(window, horizon) for _ in range(targets))

    def forward(self, x):
        return torch.stack([layer(x[:, target]) for target, layer in enumerate(self)], 1)


class Linears(nn.Module):
    """What NLinear and DLinear have in common: a linear map of the covariates."""

    def __init__(self, names, window, features, horizon, targets, individual=False):
        super().__init__()
        self.targets = targets
        for name in names:
            setattr(self, name, ChannelLinear(window, horizon, targets, individual))
        if features > targets:
            self.covariates = nn.Linear(window * (features - targets), horizon * targets)

    def add(self, y, covariates):
        y = y.transpose(1, 2)
        return y if covariates is None else y + self.covariates(covariates).view_as(y)


class NLinear(Linears):
    def __init__(self, *sizes, **options):
        super().__init__(["linear"], *sizes, **options)

    def forward(self, x):
        x, covariates = split(x, self.targets)
        last = x[:, :, -1:]
        return self.add(self.linear(x - last) + last, covariates)


class DLinear(Linears):
    def __init__(self, *sizes, kernel_size=25, **options):
        super().__init__(["seasonal", "trend"], *sizes, **options)
        self.kernel_size = kernel_size

    def forward(self, x):
        x, covariates = split(x, self.targets)
        side = (self.kernel_size - 1) // 2
        trend = F.avg_pool1d(F.pad(x, (side, side), mode="replicate"), self.kernel_size, 1)
        return self.add(self.seasonal(x - trend) + self.trend(trend), covariates)


class Block(nn.Module):
    """A block of N-BEATS or N-HiTS: a dense network, and the parts of the window and of the forecast."""

    def __init__(self, inputs, layers, units, backcast, forecast):
        super().__init__()
        self.hidden = nn.ModuleList(nn.Linear(units if at else inputs, units) for at in range(layers))
        if backcast:
            self.backcast = nn.Linear(units, backcast)
        self.forecast = nn.Linear(units, forecast)

    def forward(self, x):
        for layer in self.hidden:
            x = torch.relu(layer(x))
        return (self.backcast(x) if hasattr(self, "backcast") else None), self.forecast(x)


class Residual(nn.Module):
    """Doubly residual stacking (Oreshkin et al. 2020, section 3.2), with the same blocks for all targets."""

    def forward(self, x):
        (batch, window, _), targets = x.shape, self.targets
        rest, covariates = split(x, targets)
        rest = rest.reshape(batch * targets, window)
        if covariates is not None:
            covariates = covariates.repeat_interleave(targets, 0)
        total = 0
        for at, block in enumerate(self.blocks):
            explained, forecast = self.apply_block(at, block, rest, covariates)
            total = total + forecast
            if explained is not None:
                rest = rest - explained
        return total.view(batch, targets, self.horizon).transpose(1, 2)


def join(x, covariates):
    return x if covariates is None else torch.cat([x, covariates], 1)


class NBeats(Residual):
    def __init__(self, window, features, horizon, targets, stack_types=("generic",), blocks=3, layers=4, units=128, degree=2):
        super().__init__()
        self.targets, self.horizon = targets, horizon
        inputs = window * (1 + features - targets)
        kinds = [kind for kind in stack_types for _ in range(blocks)]
        self.bases, self.blocks = [], nn.ModuleList()
        for at, kind in enumerate(kinds):
            pair = [self.basis(kind, steps, degree) for steps in (window, horizon)]
            sizes = [steps if basis is None else len(basis) for basis, steps in zip(pair, (window, horizon))]
            self.bases.append(pair)
            self.blocks.append(Block(inputs, layers, units, sizes[0] if at + 1 < len(kinds) else 0, sizes[1]))

    @staticmethod
    def basis(kind, steps, degree):
        t = [step / steps for step in range(steps)]
        harmonics = max(steps // 2 - 1, 0)
        if kind == "generic":
            return None
        if kind == "trend":
            return torch.tensor([[s**power for s in t] for power in range(degree + 1)])
        cos = [[math.cos(2 * math.pi * i * s) for s in t] for i in range(harmonics + 1)]
        sin = [[math.sin(2 * math.pi * i * s) for s in t] for i in range(1, harmonics + 1)]
        return torch.tensor(cos + sin)

    def apply_block(self, at, block, rest, covariates):
        parts = block(join(rest, covariates))
        return [y if y is None or basis is None else y @ basis for y, basis in zip(parts, self.bases[at])]


class NHits(Residual):
    def __init__(self, window, features, horizon, targets, pool_kernels=(2, 2, 1), downsampling=(4, 2, 1), blocks=1, layers=2, units=256):
        super().__init__()
        self.targets, self.horizon = targets, horizon
        self.pools = [pool for pool in pool_kernels for _ in range(blocks)]
        steps = [step for step in downsampling for _ in range(blocks)]
        self.blocks = nn.ModuleList(
            Block(
                math.ceil(window / pool) + window * (features - targets),
                layers,
                units,
                window if at + 1 < len(steps) else 0,
                max(horizon // step, 1),
            )
            for at, (pool, step) in enumerate(zip(self.pools, steps))
        )

    def apply_block(self, at, block, rest, covariates):
        pooled = F.max_pool1d(rest[:, None], self.pools[at], ceil_mode=True)[:, 0]
        explained, values = block(join(pooled, covariates))
        return explained, F.interpolate(values[:, None], size=self.horizon, mode="linear")[:, 0]


class ResidualBlock(nn.Module):
    """A block of TiDE."""

    def __init__(self, inputs, units, outputs, dropout, norm):
        super().__init__()
        self.hidden, self.output, self.skip = nn.Linear(inputs, units), nn.Linear(units, outputs), nn.Linear(inputs, outputs)
        self.dropout = nn.Dropout(dropout)
        self.norm = nn.LayerNorm(outputs) if norm else nn.Identity()

    def forward(self, x):
        return self.norm(self.dropout(self.output(torch.relu(self.hidden(x)))) + self.skip(x))


class TiDE(nn.Module):
    def __init__(
        self,
        window,
        features,
        horizon,
        targets,
        units=128,
        encoder_layers=1,
        decoder_layers=1,
        decoder_outputs=16,
        temporal_units=32,
        temporal_width=4,
        layer_norm=False,
        dropout=0.1,
    ):
        super().__init__()
        self.targets, self.horizon = targets, horizon
        more = (dropout, layer_norm)
        width = temporal_width if features > targets else 0
        if width:
            self.projection = ResidualBlock(features - targets, units, width, *more)
        sizes = [window * (targets + width)] + [units] * (encoder_layers + decoder_layers - 1) + [horizon * decoder_outputs]
        blocks = [ResidualBlock(a, units, b, *more) for a, b in zip(sizes, sizes[1:])]
        self.encoder, self.decoder = nn.ModuleList(blocks[:encoder_layers]), nn.ModuleList(blocks[encoder_layers:])
        self.temporal = ResidualBlock(decoder_outputs + width, temporal_units, targets, dropout, False)
        self.skip = nn.Linear(window, horizon)

    def forward(self, x):
        past, covariates = x[:, :, : self.targets], None
        y = past.flatten(1)
        if x.shape[2] > self.targets:
            covariates = self.projection(x[:, :, self.targets :])
            y = torch.cat([y, covariates.flatten(1)], 1)
        for block in [*self.encoder, *self.decoder]:
            y = block(y)
        y = y.view(len(x), self.horizon, -1)
        if covariates is not None:
            y = torch.cat([y, covariates[:, -self.horizon :]], 2)
        return self.temporal(y) + self.skip(past.transpose(1, 2)).transpose(1, 2)


class WeightNormConv(nn.Module):
    """nn.Conv1d with weight_norm, whose parameters have the names of torch.nn.utils.weight_norm; zeros before the first step."""

    def __init__(self, channels, filters, kernel_size, dilation):
        super().__init__()
        conv = nn.Conv1d(channels, filters, kernel_size)
        self.dilation, self.bias = dilation, conv.bias
        self.weight_g = nn.Parameter(conv.weight.detach().flatten(1).norm(dim=1).view(-1, 1, 1))
        self.weight_v = nn.Parameter(conv.weight.detach())

    def forward(self, x):
        weight = torch._weight_norm(self.weight_v, self.weight_g, 0)
        return F.conv1d(F.pad(x, ((weight.shape[2] - 1) * self.dilation, 0)), weight, self.bias, dilation=self.dilation)


class ConvBlock(nn.Module):
    def __init__(self, channels, filters, kernel_size, dilation, dropout):
        super().__init__()
        self.conv1 = WeightNormConv(channels, filters, kernel_size, dilation)
        self.conv2 = WeightNormConv(filters, filters, kernel_size, dilation)
        self.downsample = nn.Linear(channels, filters) if channels != filters else None
        self.dropout = nn.Dropout(dropout)

    def forward(self, x):
        y = self.dropout(torch.relu(self.conv1(x)))
        y = self.dropout(torch.relu(self.conv2(y)))
        skip = x if self.downsample is None else self.downsample(x.transpose(1, 2)).transpose(1, 2)
        return torch.relu(y + skip)


class TCN(nn.Module):
    def __init__(self, window, features, horizon, targets, filters=25, kernel_size=7, layers=2, dropout=0.05):
        super().__init__()
        self.shape = (horizon, targets)
        sizes = [features] + [filters] * layers
        self.blocks = nn.Sequential(
            *(ConvBlock(a, b, kernel_size, 2**at, dropout) for at, (a, b) in enumerate(zip(sizes, sizes[1:])))
        )
        self.linear = nn.Linear(filters, horizon * targets)

    def forward(self, x):
        return self.linear(self.blocks(x.transpose(1, 2))[:, :, -1]).view(-1, *self.shape)


class PatchTST(nn.Module):
    """With the encoder layers of PyTorch, which have layer normalization; without dropout of the attention."""

    def __init__(
        self, window, features, horizon, targets, patch_len, patch_stride, units=16, heads=4, feedforward_units=128, layers=3, dropout=0.3
    ):
        super().__init__()
        assert features == targets
        self.patch = (patch_len, patch_stride)
        patches = (window - patch_len) // patch_stride + 2
        self.embedding = nn.Linear(patch_len, units)
        self.position = nn.Parameter(torch.empty(patches, units).uniform_(-0.02, 0.02))
        self.dropout = nn.Dropout(dropout)
        layer = lambda: nn.TransformerEncoderLayer(units, heads, feedforward_units, dropout, F.gelu, batch_first=True)
        self.layers = nn.Sequential(*(layer() for _ in range(layers)))
        for layer in self.layers:
            layer.self_attn.dropout = 0.0
        self.head = nn.Linear(patches * units, horizon)

    def forward(self, x):
        batch, _, targets = x.shape
        length, stride = self.patch
        x = F.pad(x.transpose(1, 2), (0, stride), mode="replicate").flatten(0, 1).unfold(1, length, stride)
        y = self.layers(self.dropout(self.embedding(x) + self.position))
        return self.head(y.flatten(1)).view(batch, targets, -1).transpose(1, 2)


INTERPRETABLE = {"stack_types": ["trend", "seasonality"]}

# Each case: the class, [features, horizon, targets], and the options.
CASES = {
    "nlinear": (NLinear, (1, 3, 1), {}),
    "nlinear_columns": (NLinear, (2, 3, 2), {"individual": True}),
    "nlinear_covariates": (NLinear, (4, 3, 2), {}),
    "dlinear": (DLinear, (1, 3, 1), {"kernel_size": 5}),
    "dlinear_columns": (DLinear, (2, 3, 2), {"kernel_size": 11, "individual": True}),
    "dlinear_covariates": (DLinear, (4, 3, 2), {"kernel_size": 5}),
    "nbeats": (NBeats, (1, 3, 1), {"blocks": 2, "layers": 2, "units": 6}),
    "nbeats_columns": (NBeats, (2, 8, 2), {**INTERPRETABLE, "blocks": 2, "layers": 1, "units": 6, "degree": 3}),
    "nbeats_covariates": (NBeats, (4, 8, 2), {**INTERPRETABLE, "blocks": 1, "layers": 2, "units": 6}),
    "nhits": (NHits, (1, 8, 1), {"units": 6}),
    "nhits_columns": (NHits, (2, 9, 2), {"pool_kernels": [5, 3], "downsampling": [4, 20], "blocks": 2, "layers": 1, "units": 6}),
    "nhits_covariates": (NHits, (4, 8, 2), {"units": 6}),
    "tide": (TiDE, (1, 3, 1), {"units": 6, "decoder_outputs": 3, "temporal_units": 4}),
    "tide_columns": (
        TiDE,
        (2, 3, 2),
        {"units": 6, "encoder_layers": 2, "decoder_layers": 2, "decoder_outputs": 3, "temporal_units": 4, "layer_norm": True},
    ),
    "tide_covariates": (
        TiDE,
        (4, 3, 2),
        {"units": 6, "decoder_outputs": 3, "temporal_units": 4, "temporal_width": 3, "layer_norm": True},
    ),
    "tcn": (TCN, (1, 3, 1), {"filters": 4, "kernel_size": 3, "layers": 2}),
    "tcn_columns": (TCN, (2, 3, 2), {"filters": 2, "kernel_size": 5, "layers": 4}),
    "tcn_covariates": (TCN, (4, 3, 2), {"filters": 5, "kernel_size": 2, "layers": 3}),
    "patchtst": (PatchTST, (1, 3, 1), {"patch_len": 4, "patch_stride": 2, "units": 8, "heads": 2, "feedforward_units": 6}),
    "patchtst_columns": (
        PatchTST,
        (2, 3, 2),
        {"patch_len": 5, "patch_stride": 5, "units": 6, "heads": 3, "feedforward_units": 7, "layers": 1},
    ),
}


def main():
    from safetensors.torch import save_file

    tensors = {}
    for name, (network, (features, horizon, targets), options) in CASES.items():
        torch.manual_seed(3)
        model = network(WINDOW, features, horizon, targets, **options).eval()
        keep = lambda prefix, values: {f"{name}.{prefix}.{key}": v.detach().clone() for key, v in values}
        tensors |= keep("i", model.named_parameters())
        torch.manual_seed(sum(map(ord, name)))
        with torch.no_grad():
            for p in model.parameters():
                p += 0.2 * torch.randn_like(p)
        x = torch.randn(BATCH, WINDOW, features)
        y = model(x)
        assert y.shape == (BATCH, horizon, targets), name
        factors = torch.randn(y.shape)
        (y * factors).sum().backward()
        tensors |= keep("w", model.named_parameters()) | keep("g", [(k, p.grad) for k, p in model.named_parameters()])
        tensors |= {f"{name}.x": x, f"{name}.y": y.detach().contiguous(), f"{name}.f": factors}
    save_file(tensors, "forecasting_networks.safetensors")


if __name__ == "__main__":
    main()
