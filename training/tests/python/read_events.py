"""Reads the event files of a run with TensorBoard and its metrics.jsonl with pandas, and compares the values.

    python read_events.py RUN_FOLDER [STATUS]

STATUS is that of TensorBoard's HPARAMS tab: success (the default), failure or unknown.

The exit code is 77 if a package is missing.
"""

import contextlib
import json
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

try:
    import numpy as np
    import pandas as pd
    from tensorboard import program
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
except ImportError as error:
    print(str(error).lower())  # no module named ...
    sys.exit(77)

folder = Path(sys.argv[1])
metrics = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
table = pd.read_json(folder / "metrics.jsonl", lines=True)
config = json.loads((folder / "config.json").read_text())

events = EventAccumulator(str(folder), size_guidance={"scalars": 0})
events.Reload()

# Each value must occur once, even in a killed and resumed run.
expected = {}
for row in metrics:
    for name, value in row.items():
        if name not in ("epoch", "step"):
            # JSON has no NaN and no infinity.
            value = np.float32("nan" if value is None else value)
            expected.setdefault(name, []).append((row["step"], value))
# By default, the parser of pandas may have an error in the last digit.
if metrics:
    assert list(table.step) == [row["step"] for row in metrics]
for name, points in expected.items():
    rows = [row[name] for row in metrics if name in row]
    assert np.allclose(table[name].dropna(), [value for value in rows if value is not None], rtol=1e-6), name
assert set(events.Tags()["scalars"]) == set(expected), (events.Tags()["scalars"], sorted(expected))


def same(got, points):
    """Compares steps and values. Infinity is NaN in `points`."""
    return len(got) == len(points) and all(
        a[0] == b[0] and (a[1] == b[1] or np.isnan(b[1]) and not np.isfinite(a[1])) for a, b in zip(got, points)
    )


for name, points in expected.items():
    got = [(event.step, np.float32(event.value)) for event in events.Scalars(name)]
    assert same(got, points), f"{name}: {got} in the event file, {points} measured"


def launch(load_fast):
    """Starts the server of TensorBoard, whose reader is another program with load_fast, and returns its address."""
    board = program.TensorBoard()
    board.configure(argv=[None, "--logdir", str(folder), "--port", "0", "--load_fast", load_fast])
    return board.launch().rstrip("/")


def ask(path, question=None):
    """Returns the answer that the page of TensorBoard gets."""
    body = json.dumps(question).encode() if question else None
    request = urllib.request.Request(address + path, body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request) as answer:
        return json.load(answer)


def soon(read, accepted):
    """Reads until the server has read the run."""
    for _ in range(100):
        with contextlib.suppress(urllib.error.HTTPError):
            answer = read()
            if accepted(answer):
                return answer
        time.sleep(0.1)
    raise AssertionError(f"the answer after ten seconds is {answer}")


for load_fast in ["true", "false"]:
    address = launch(load_fast)
    for name, points in expected.items():
        path = f"/data/plugin/scalars/scalars?run=.&tag={name}"
        read = lambda: [(step, np.float32(value)) for _, step, value in ask(path)]
        soon(read, lambda got: same(got, points))

read = lambda: ask("/data/plugin/hparams/experiment", {"experimentName": ""})
experiment = soon(read, lambda answer: answer.get("hparamInfos"))
columns = {info["name"] for info in experiment["hparamInfos"]}
assert {"lr", "seed", "batch_size", "model"} <= columns, columns
metric_columns = {info["name"]["tag"] for info in experiment["metricInfos"]}
assert metric_columns == set(expected), (sorted(expected), sorted(metric_columns))

statuses = ["STATUS_UNKNOWN", "STATUS_SUCCESS", "STATUS_FAILURE", "STATUS_RUNNING"]
question = {"allowedStatuses": statuses, "colParams": [], "startIndex": 0, "sliceSize": 10}
read = lambda: ask("/data/plugin/hparams/session_groups", question)
(group,) = soon(read, lambda answer: answer.get("sessionGroups"))["sessionGroups"]
(session,) = group["sessions"]
status = "STATUS_" + (sys.argv[2] if len(sys.argv) > 2 else "success").upper()
assert session["status"] == status, (session["status"], status)
assert group["hparams"]["lr"] == config["lit"]["optimizer"]["lr"]
assert group["hparams"]["model"] == config["model"]

print(f"{sum(map(len, expected.values()))} scalars of {len(expected)} tags, {len(columns)} hyperparameters")
