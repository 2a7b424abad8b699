"""Writes statistical.json: series, and what statsforecast makes of them.

    pip install statsforecast==2.1.0
    python training/tests/golden/statistical.py

Each series has its rows per season, its values, and by model the parameters that statsforecast estimates, and its forecasts with
them.
"""

import json
import pathlib

import numpy as np
from statsforecast import ets, models, mstl, theta

STEPS = 15
ROUND = 12


def series():
    """Returns series of several kinds, from a seed."""
    random = np.random.RandomState(7)
    wave = lambda rows, season: np.sin(2 * np.pi * np.arange(rows) / season)
    growth = (100 + 2 * np.arange(96)) * (1 + 0.3 * wave(96, 12)) * np.exp(0.03 * random.randn(96))
    week = 5 * wave(105, 7) + np.cumsum(random.randn(105)) + random.randn(105)
    walk = 50 + np.cumsum(0.3 + random.randn(60))
    quarters = 20 + 4 * wave(30, 4) + random.randn(30)
    demand = np.where(random.rand(80) < 0.35, random.poisson(4, 80) + 1.0, 0.0)
    return {"growth": (12, growth), "week": (7, week), "walk": (1, walk), "quarters": (4, quarters), "demand": (1, demand)}


def rounded(values):
    return [float(f"{value:.{ROUND}g}") for value in np.atleast_1d(values)]


def of_ets(values, season):
    """Returns all forms: their names, AICc, smoothing parameters, first states and forecasts."""
    forms = {}
    positive = values.min() > 0
    for error in "AM" if positive else "A":
        for trend in ["N", "A", "Ad"]:
            for seasonal in "N" if season == 1 else "NAM" if positive and error == "M" else "NA":
                fit = ets.ets_f(values, m=season, model=error + trend[0] + seasonal, damped=len(trend) == 2)
                first = fit["states"][0]
                states = 1 + (trend != "N")
                forms[f"ETS({error},{trend},{seasonal})"] = {
                    "aicc": fit["aicc"],
                    # alpha, beta, gamma, phi; 0 for those that the form has not.
                    "smoothing": rounded(np.nan_to_num(fit["par"][:4])),
                    # The level, the trend, and the seasonal components from the first row on.
                    "states": rounded(np.concatenate([first[:states], first[states:][::-1]])),
                    # Later forecasts of a damped trend add phi twice, as those of R do, and not phi + phi ** 2 as in the book.
                    "forecasts": rounded(ets.forecast_ets(fit, h=1 if len(trend) == 2 else STEPS)["mean"]),
                }
    return forms


def of_theta(values, season):
    """Returns the optimized forms: their parameters, the squared errors that count and the forecasts, and the automatic choice."""
    forms = {}
    for name in ["OTM", "DOTM"]:
        fit = theta.auto_theta(values, season, model=name)
        forms[name] = {
            "alpha": float(fit["par"]["alpha"]),
            "theta": float(fit["par"]["theta"]),
            "level": float(fit["par"]["initial_smoothed"]),
            # statsforecast scales the squared errors by the mean size of the values, without the season.
            "mse": float(fit["mse"]),
            "forecasts": rounded(theta.forecast_theta(fit, h=STEPS)["mean"]),
        }
    fit = theta.auto_theta(values, season)
    forms["auto"] = {"forecasts": rounded(theta.forecast_theta(fit, h=STEPS)["mean"])}
    return forms


def of_mstl(values, season):
    """Returns the seasonal components of the last rows, and the forecasts."""
    components = mstl.mstl(values, season)["seasonal"].to_numpy()[-season:]
    forecasts = models.MSTL(season_length=season).fit(values).predict(STEPS)["mean"]
    return {"components": rounded(components), "forecasts": rounded(forecasts)}


def of_demand(values):
    croston = models.CrostonClassic().fit(values).predict(1)["mean"]
    tsb = models.TSB(alpha_d=0.2, alpha_p=0.1).fit(values).predict(1)["mean"]
    return {"croston": rounded(croston)[0], "tsb": rounded(tsb)[0]}


def main():
    all_of = {}
    for name, (season, values) in series().items():
        values = np.array(rounded(values))
        of = {"season": season, "values": values.tolist()}
        if name == "demand":
            of |= of_demand(values)
        else:
            of |= {"ets": of_ets(values, season), "theta": of_theta(values, season)}
            if season > 1:
                of["mstl"] = of_mstl(values, season)
        all_of[name] = of
    path = pathlib.Path(__file__).with_name("statistical.json")
    path.write_text(json.dumps(all_of, indent=None, separators=(",", ":")) + "\n")


main()
