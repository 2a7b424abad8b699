"""Reads a run's event file with TensorBoard and its metrics with pandas: both hold the same numbers.

    python read_events.py RUN_FOLDER
"""

import json
import math
import sys
from pathlib import Path

import pandas
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams import plugin_data_pb2

run = Path(sys.argv[1])
events = EventAccumulator(str(run), size_guidance={"scalars": 0}).Reload()
metrics = pandas.read_json(run / "metrics.jsonl", lines=True)
count = 0
for name in metrics.columns.drop(["epoch", "step"]):
    expected = metrics[["step", name]].dropna().itertuples(index=False)
    # The results of the whole run come last, under the names of the validation's.
    for (step, value), event in zip(expected, events.Scalars(name)):
        assert event.step == step, f"{name}: step {event.step}, expected {step}"
        assert math.isclose(event.value, value, rel_tol=1e-6), f"{name}: {event.value}, expected {value}"
        count += 1
assert count > 0, "nothing was logged"

content = events.summary_metadata["_hparams_/session_start_info"].plugin_data.content
hparams = plugin_data_pb2.HParamsPluginData.FromString(content).session_start_info.hparams
config = json.loads((run / "config.json").read_text())
assert hparams["lr"].number_value == config["lit"]["optimizer"]["lr"], hparams["lr"]
assert hparams["model"].string_value == config["model"], hparams["model"]
print(f"{count} scalars, {len(hparams)} hyper-parameters")
