"""The advice of a panel in a sentence, and the frontier of all models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from dwell.curves import Curve, FloatArray, Panel, complete, subset
from dwell.metrics import bootstrap_interval
from dwell.records import USAGE_KINDS

CALLS, OUTPUT, VERIFIER = (
    USAGE_KINDS.index(kind) for kind in ("calls", "output_tokens", "verifier_tokens")
)
#: Accuracies this close are not worth paying for.
CLOSE = 0.01


class _Point(NamedTuple):
    """A curve at a budget, with its mean cost and accuracy over all problems."""

    curve: Curve
    column: int
    cost: float
    accuracy: float


def advice_record(panel: Panel) -> dict[str, Any] | None:
    """The cheapest point within one point of accuracy of the best, and why.

    Only points that most problems have are considered: the others are of other problems.
    """
    unit, points = _points(panel)
    if not points:
        return None
    best = max(point.accuracy for point in points)
    chosen = min((p for p in points if p.accuracy >= best - CLOSE), key=lambda p: p.cost)
    curve, n = chosen.curve, chosen.curve.budgets[chosen.column]
    rows = complete(curve.values[:, chosen.column])
    interval = bootstrap_interval(curve.values[rows, chosen.column], subset(panel.resamples, rows))
    text = (
        f"On {panel.task}{_by(panel.model)}, use {curve.label} at {curve.scale}={n}: "
        f"{100 * chosen.accuracy:.0f} % right "
        f"[{100 * float(interval.low):.0f}, {100 * float(interval.high):.0f}] for "
        f"{_amount(chosen.cost, unit)} a problem{_versus_single(panel, chosen, unit)}."
    )
    return {
        "task": panel.task,
        "model": panel.model,
        "label": curve.label,
        "n": n,
        "accuracy": chosen.accuracy,
        "low": float(interval.low),
        "high": float(interval.high),
        unit: chosen.cost,
        "text": text,
    }


def _by(model: str) -> str:
    """Who answered: a model, or the mean over runs of several."""
    return f", {model}" if model.startswith("mean over ") else f" with {model}"


def _points(panel: Panel) -> tuple[str, list[_Point]]:
    """All usable points with their mean cost, in tokens where they are known, else in draws."""
    for unit in ("tokens", "draws"):
        found: list[tuple[int, _Point]] = []
        for curve in panel.curves:
            cost = _cost(curve.charged, unit)
            there = np.isfinite(curve.values) & np.isfinite(cost) & (not curve.oracle)
            for column in np.flatnonzero(there.any(axis=0)):
                rows = there[:, column]
                accuracy = float(curve.values[rows, column].mean())
                mean = float(cost[rows, column].mean())
                found.append((int(rows.sum()), _Point(curve, int(column), mean, accuracy)))
        if found:
            most = max(count for count, _ in found)
            return unit, [point for count, point in found if count == most]
    return "draws", []


def _cost(charged: FloatArray, unit: str) -> FloatArray:
    """`[P, K]` in tokens or draws."""
    if unit == "draws":
        return charged[..., CALLS]
    return np.asarray(charged[..., OUTPUT] + charged[..., VERIFIER], np.float64)


def _amount(cost: float, unit: str) -> str:
    digits = 0 if unit == "tokens" or cost == round(cost) else 1
    return f"{cost:.{digits}f} {unit[:-1] if cost == 1 else unit}"


def _versus_single(panel: Panel, chosen: _Point, unit: str) -> str:
    single = next((c for c in panel.curves if not c.oracle and 1 in c.budgets), None)
    if single is None or single.scale != "n" or chosen.curve.budgets[chosen.column] == 1:
        return ""
    column = single.budgets.index(1)
    rows = complete(single.values[:, column], _cost(single.charged, unit)[:, column])
    if not len(rows):
        return ""
    cost, values = _cost(single.charged, unit)[rows, column], single.values[rows, column]
    tokens = f"the {cost.mean():.0f} tokens of " if unit == "tokens" else ""
    return (
        f", against {100 * values.mean():.0f} % for {tokens}a single sample "
        f"({100 * (chosen.accuracy - values.mean()):+.0f} points)"
    )


def frontier(
    curves: Sequence[Mapping[str, Any]], sources: Mapping[str, Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """All points of all models in FLOPs, marked where nothing cheaper is as accurate."""
    sizes = {s.get("model"): s.get("num_parameters") for s in sources.values()}
    records = [
        {
            "model": curve["model"],
            "num_parameters": sizes.get(curve["model"]),
            "task": curve["task"],
            "strategy": curve["strategy"],
            "label": curve["label"],
            **{key: point[key] for key in ("n", "flops", "tokens_charged", "accuracy", "low",
                                           "high")},
            "on_frontier": False,
        }
        for curve in curves
        if not curve["oracle"]
        for point in curve["points"]
        if point["flops"]
    ]  # fmt: skip
    for task in sorted({record["task"] for record in records}):
        best = -1.0
        of_task = [record for record in records if record["task"] == task]
        for record in sorted(of_task, key=lambda r: (r["flops"], -r["accuracy"])):
            record["on_frontier"] = record["accuracy"] > best
            best = max(best, record["accuracy"])
    return records
