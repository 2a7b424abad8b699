"""Compares all forecasting models on a folder of series, and writes the table of docs/forecast.md.

    cargo build -p training
    python3 benchmarks/forecasting.py FOLDER [--models linear,dnn] [--horizons airline=12] [--output FILE.md]

FOLDER has files with the columns ds and y. The last horizon of each series is held out. The MASE of a model is its mean absolute
error there over that of the seasonal naive forecast of the rows before. A model is chosen by the mean MASE of the three origins before
the held-out one, which are a horizon apart; the held-out rows have no part in the choice. All runs have the default flags, and one
model per origin, trained on all rows before it after a run with a validation split (--refit --refit_on_all). CPU seconds are those of
all four origins together. Needs nothing but Python.
"""

import argparse
import json
import math
import pathlib
import resource
import statistics
import subprocess
import sys
import tempfile

NETWORKS = ["linear", "dnn", "gru", "nlinear", "dlinear", "nbeats", "nhits", "tcn", "tide", "patchtst"]
OTHERS = ["naive", "seasonal_naive", "auto_ets", "auto_theta", "mstl"]
ENSEMBLE = "nhits+dlinear+nbeats"
ORIGINS = 3
# Time steps of a forecast by the season of the series: a year of months, four weeks of days, a day of half hours.
HORIZONS = {12: 12, 4: 8, 52: 13, 7: 28, 5: 20, 24: 24, 48: 48}


def call(binary, args):
    """Returns the JSON that a command prints, and its CPU seconds; None if it fails, with the reason on standard error."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run([binary, *args], capture_output=True, text=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    if done.returncode:
        print(done.stderr.strip().splitlines()[-1], file=sys.stderr)
        return None, seconds
    return json.loads(done.stdout), seconds


def backtest(binary, file, model, horizon, logs):
    """Returns the MASE of each origin, the last one held out, and the CPU seconds; None if the model cannot forecast the series."""
    first, *others = model.split("+")
    args = ["backtest", "--model", first, "--data", "csv", "--csv", file, "--time_column", "ds", "--value_columns", "y"]
    args += ["--horizon", str(horizon), "--folds", str(ORIGINS + 1), "--log_dir", logs, "--json", "--quiet"]
    if others:
        args += ["--ensemble", *others]
    if any(name in NETWORKS for name in [first, *others]):
        args += ["--refit", "--refit_on_all", "--device", "cpu", "--threads", "1"]
    result, seconds = call(binary, args)
    if result is None:
        return None, seconds
    return [fold["metrics"]["mase"] for fold in result["folds"]], seconds


def geometric(values):
    """Returns the geometric mean; NaN if a value is missing."""
    if any(value is None for value in values):
        return math.nan
    return math.exp(statistics.fmean(math.log(value) for value in values))


def cell(value):
    return "-" if value is None or math.isnan(value) else f"{value:.2f}"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--binary", default="target/debug/run_experiment")
    parser.add_argument("--models", default=",".join([*NETWORKS, *OTHERS, ENSEMBLE]), help="the mean of several with +: nhits+dlinear")
    parser.add_argument("--horizons", default="", help="NAME=STEPS,... for series whose horizon is not that of their season")
    parser.add_argument("--output", type=pathlib.Path)
    args = parser.parse_args()
    files = sorted(args.folder.glob("*.csv"))
    if not files:
        parser.error(f"found no .csv file in {args.folder}, expected at least one")
    horizons = dict(pair.split("=") for pair in args.horizons.split(",") if pair)
    models = args.models.split(",")

    errors, seconds = {}, {}
    with tempfile.TemporaryDirectory() as logs:
        for file in files:
            about, _ = call(args.binary, ["data", "--csv", file, "--time_column", "ds", "--json", "--output", f"{logs}/plot"])
            horizon = int(horizons.get(file.stem) or HORIZONS.get((about or {}).get("season"), 12))
            for model in models:
                errors[model, file.stem], spent = backtest(args.binary, file, model, horizon, logs)
                seconds[model] = seconds.get(model, 0) + spent
                print(f"{file.stem} {model} {errors[model, file.stem]} {spent:.1f} s", file=sys.stderr)

    def held_out(model, name):
        folds = errors[model, name]
        return folds and folds[-1]

    def earlier(model, name):
        folds = errors[model, name]
        return folds and statistics.fmean(folds[:-1])

    names = [file.stem for file in files]
    lines = ["| MASE | " + " | ".join(names) + " | geometric mean | three earlier origins | CPU s |"]
    lines.append("|---" * (len(names) + 4) + "|")
    for model in models:
        cells = [cell(held_out(model, name)) for name in names]
        means = [geometric([of(model, name) for name in names]) for of in (held_out, earlier)]
        lines.append(f"| {model} | " + " | ".join(cells + [cell(mean) for mean in means]) + f" | {seconds[model]:.0f} |")
    usable = [model for model in models if all(errors[model, name] for name in names)]
    best = min(usable, key=lambda model: geometric([earlier(model, name) for name in names]))
    choice = {name: min((m for m in models if errors[m, name]), key=lambda m: earlier(m, name)) for name in names}
    chosen = [held_out(choice[name], name) for name in names]
    lines.append(
        "| chosen per series | " + " | ".join(f"{cell(v)} ({choice[n]})" for n, v in zip(names, chosen)) + f" | {cell(geometric(chosen))} | | |"
    )
    lines.append(f"\nThe best single model by the earlier origins is {best}.")
    text = "\n".join(lines) + "\n"
    print(text)
    if args.output:
        args.output.write_text(text)


if __name__ == "__main__":
    main()
