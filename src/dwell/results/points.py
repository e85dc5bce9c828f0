"""A curve as a record: accuracy with its interval at each budget, what it cost, its law."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from dwell import laws as testtime
from dwell.curves import Curve, FloatArray, Panel, complete, subset
from dwell.metrics import Interval, Resamples, bootstrap_interval
from dwell.records import USAGE_KINDS

#: Laws tried on each kind of curve; the one that predicts the held-out budgets best is kept.
CANDIDATE_LAWS: Mapping[str, tuple[str, ...]] = {
    "coverage": ("coverage", "ttspm"),
    "vote": ("vote", "ttspm"),
    "best": ("best_of", "power", "ttspm", "overoptimisation"),
    "measured": ("power", "best_of", "ttspm", "overoptimisation"),
}
#: A law needs this many budgets, so that some can be held out.
LEAST_BUDGETS = 5
#: A law is fitted to problems that have all its budgets: budgets that few problems have are left
#: out of it.
LEAST_SHARE = 0.9
#: Resamples that a law is refitted on.
LAW_RESAMPLES = 200


def curve_record(panel: Panel, curve: Curve, *, laws: bool = True) -> dict[str, Any]:
    """One curve with all its points, JSON-able."""
    return {
        "strategy": curve.name,
        "label": curve.label,
        "params": {**curve.strategy.params(), curve.scale: None},
        "scale": curve.scale,
        "model": curve.model,
        "task": curve.task,
        "estimator": curve.estimator,
        "oracle": curve.oracle,
        "points": _points(panel, curve),
        "law": _law(panel, curve) if laws else None,
    }


def _points(panel: Panel, curve: Curve) -> list[dict[str, Any]]:
    intervals = intervals_of(curve.values, panel.resamples)
    points = []
    for column, n in enumerate(curve.budgets):
        interval = intervals[column]
        if interval is None:
            continue
        points.append(
            {
                "n": n,
                "accuracy": float(interval.value),
                "low": float(interval.low),
                "high": float(interval.high),
                **mean_charge(curve.charged[:, column]),
                "abstained": _abstained(curve, column),
                "problems": int(np.isfinite(curve.values[:, column]).sum()),
            }
        )
    return points


def _abstained(curve: Curve, column: int) -> float | None:
    return None if curve.abstained is None else float(np.nanmean(curve.abstained[:, column]))


def intervals_of(
    values: FloatArray,
    resamples: Resamples,
    bounds: tuple[float, float] = (0.0, 1.0),
) -> list[Interval | None]:
    """`[K]` mean and interval of each column of `values [P, K]` over the problems that have it.

    Columns that the same problems have are done together. None where no problem has a value.
    """
    found: list[Interval | None] = [None] * values.shape[1]
    for rows, columns in same_problems(values):
        if not len(rows):
            continue
        several = bootstrap_interval(
            values[np.ix_(rows, columns)], subset(resamples, rows), bounds=bounds
        )
        for place, column in enumerate(columns):
            found[column] = Interval(
                value=several.value[place],
                low=several.low[place],
                high=several.high[place],
                level=several.level,
            )
    return found


def same_problems(
    values: FloatArray,
) -> list[tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]]:
    """(problems, columns) of `values [P, K]`: columns that exactly these problems have."""
    there = np.isfinite(values)
    patterns, inverse = np.unique(there, axis=1, return_inverse=True)
    return [
        (np.flatnonzero(patterns[:, i]), np.flatnonzero(inverse.ravel() == i))
        for i in range(patterns.shape[1])
    ]


def mean_charge(charged: FloatArray) -> dict[str, float | None]:
    """Means per problem of `charged [P, 10]`: draws, tokens, FLOPs, modelled seconds, dollars.

    None for what was not recorded. FLOPs and dollars of exactly 0 stand for models whose cost is
    not known as well as for free ones.
    """
    mean: dict[str, float | None] = {}
    for place, kind in enumerate(USAGE_KINDS):
        column = charged[:, place]
        known = np.isfinite(column)
        mean[kind] = float(column[known].mean()) if known.any() else None
    output, verifier = mean["output_tokens"], mean["verifier_tokens"]
    return {
        "draws": mean["calls"],
        "prompt_tokens": mean["prompt_tokens"],
        "tokens_charged": None if output is None else output + (verifier or 0.0),
        "flops": mean["flops"],
        "seconds": mean["seconds"],
        "usd": mean["usd"],
    }


def _law(panel: Panel, curve: Curve) -> dict[str, Any] | None:
    """The law that predicts the held-out budgets best, None for too few budgets."""
    if curve.kind not in CANDIDATE_LAWS or curve.scale != "n":
        return None
    count = np.isfinite(curve.values).sum(axis=0)
    columns = np.flatnonzero(count >= LEAST_SHARE * max(count, default=0))
    budgets = [curve.budgets[column] for column in columns]
    if len(budgets) < LEAST_BUDGETS:
        return None
    rows = complete(curve.values[:, columns])
    if len(rows) < 2:
        return None
    fit = testtime.choose(
        CANDIDATE_LAWS[curve.kind],
        budgets,
        curve.values[np.ix_(rows, columns)],
        resamples=subset(panel.resamples, rows).weights[:LAW_RESAMPLES],
    )[0]
    saturation, asymptote = fit.saturation(), fit.asymptote()
    grid = np.unique(np.geomspace(1, 4 * max(budgets), 40).round(2))
    band = fit.predict(grid)
    intervals = {name: fit.interval(name) for name in fit.params}
    return {
        "name": fit.law.name,
        "formula": fit.law.text,
        "params": fit.params,
        "param_intervals": {
            name: [_finite(one.low), _finite(one.high)] for name, one in intervals.items()
        },
        "saturation": _finite(saturation.value),
        "saturation_low": _finite(saturation.low),
        "saturation_high": _finite(saturation.high),
        "asymptote": _finite(asymptote.value),
        "low": _finite(asymptote.low),
        "high": _finite(asymptote.high),
        "verdict": fit.verdict,
        "reasons": list(fit.reasons),
        "holdout_error": None if fit.holdout is None else fit.holdout.rmse,
        "fitted_n": fit.k.tolist(),
        "holdout_n": [] if fit.holdout is None else fit.holdout.k.tolist(),
        "band": [
            {"n": float(n), "mean": float(m), "low": float(low), "high": float(high)}
            for n, m, low, high in zip(band.k, band.value, band.low, band.high, strict=True)
        ],
    }


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
