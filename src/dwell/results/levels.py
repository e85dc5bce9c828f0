"""Accuracy by difficulty: every curve, split by what the problems are tagged with."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import numpy.typing as npt

from dwell.curves import FloatArray, Panel, subset
from dwell.results.points import intervals_of

#: Tags that name a difficulty; the first that a panel's problems have is used.
LEVEL_TAGS = ("level", "difficulty", "hardness")

Level = str | int | float


def level_records(panel: Panel) -> list[dict[str, Any]]:
    """Accuracy with its interval of every curve and budget at each level; [] without levels."""
    tag = level_tag(panel)
    if tag is None:
        return []
    of_problem = np.array([problem.tags.get(tag, "") for problem in panel.problems], object)
    ordered = _ordered(of_problem, panel)
    records = []
    for curve in panel.curves:
        for level in ordered:
            rows = np.flatnonzero(of_problem == level)
            intervals = intervals_of(curve.values[rows], subset(panel.resamples, rows))
            counts = np.isfinite(curve.values[rows]).sum(axis=0)
            records += [
                {
                    "model": panel.model,
                    "task": panel.task,
                    "strategy": curve.name,
                    "label": curve.label,
                    "n": n,
                    "level": int(level) if _whole(level) else level,
                    "level_of": tag,
                    "accuracy": float(interval.value),
                    "low": float(interval.low),
                    "high": float(interval.high),
                    "problems": int(count),
                }
                for n, interval, count in zip(curve.budgets, intervals, counts, strict=True)
                if interval is not None
            ]
    return records


def level_tag(panel: Panel) -> str | None:
    """The tag that splits a panel's problems by difficulty; None if there is none."""
    for tag in LEVEL_TAGS:
        if len({problem.tags.get(tag) for problem in panel.problems}) > 1:
            return tag
    return None


def _ordered(levels: npt.NDArray[Any], panel: Panel) -> list[Level]:
    """Levels in order: by their numbers; words from the easiest, by the first curve's accuracy."""
    distinct = list(dict.fromkeys(levels.tolist()))
    numbers = {level: _number(level) for level in distinct}
    if all(number is not None for number in numbers.values()):
        return sorted(distinct, key=lambda level: (numbers[level], str(level)))
    first: FloatArray = panel.curves[0].values if panel.curves else np.zeros((len(levels), 1))
    with np.errstate(invalid="ignore"):
        total, count = np.nansum(first, axis=1), np.isfinite(first).sum(axis=1)
    ease = {
        level: float(total[levels == level].sum() / max(count[levels == level].sum(), 1))
        for level in distinct
    }
    return sorted(distinct, key=lambda level: -ease[level])


def _whole(level: Level) -> bool:
    """Whether a level is a whole number, which tables of numbers hold as 3.0."""
    return isinstance(level, float) and level.is_integer()


def _number(level: Level) -> float | None:
    if isinstance(level, int | float):
        return float(level)
    found = re.search(r"\d+(\.\d+)?", level)
    return float(found[0]) if found else None
