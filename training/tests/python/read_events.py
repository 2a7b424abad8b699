"""Reads the event files of a run with TensorBoard and its metrics.jsonl with pandas, and compares the values.

    python read_events.py RUN_FOLDER

The exit code is 77 if a package is missing.
"""

import json
import sys
from pathlib import Path

try:
    import numpy as np
    import pandas as pd
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.plugins.hparams import api_pb2, plugin_data_pb2
except ImportError as error:
    print(str(error).lower())  # no module named ...
    sys.exit(77)

folder = Path(sys.argv[1])
metrics = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
table = pd.read_json(folder / "metrics.jsonl", lines=True)
results = json.loads((folder / "results.json").read_text())
config = json.loads((folder / "config.json").read_text())

events = EventAccumulator(str(folder), size_guidance={"scalars": 0})
events.Reload()

# Each value must occur once, even in a killed and resumed run. The results follow the last value.
expected = {}
for row in metrics:
    for name, value in row.items():
        if name not in ("epoch", "step"):
            expected.setdefault(name, []).append((row["step"], np.float32(value)))
# By default, the parser of pandas may have an error in the last digit.
assert list(table.step) == [row["step"] for row in metrics]
for name, points in expected.items():
    assert np.allclose(table[name].dropna(), [value for _, value in points], rtol=1e-6), name
for name, value in results["metrics"].items():
    expected.setdefault(name, []).append((results["steps"], np.float32(value)))
assert set(events.Tags()["scalars"]) == set(expected), (events.Tags()["scalars"], sorted(expected))
for name, points in expected.items():
    got = [(event.step, np.float32(event.value)) for event in events.Scalars(name)]
    assert got == points, f"{name}: {got} in the event file, {points} measured"


def hparams(tag):
    content = events.SummaryMetadata(tag).plugin_data.content
    return plugin_data_pb2.HParamsPluginData.FromString(content)


start = hparams("_hparams_/session_start_info").session_start_info.hparams
assert start["lr"].number_value == config["lit"]["optimizer"]["lr"]
assert start["model"].string_value == config["model"]
assert start["fc1"].number_value == config["model_config"]["fc1"]
infos = hparams("_hparams_/experiment").experiment.metric_infos
assert "val_loss" in [info.name.tag for info in infos]
end = hparams("_hparams_/session_end_info").session_end_info
assert end.status == api_pb2.STATUS_SUCCESS

print(f"{sum(map(len, expected.values()))} scalars of {len(expected)} tags, {len(start)} hyperparameters")
