"""Paired differences of curves at equal n: each against the vote, and the two best."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from dwell.curves import Curve, FloatArray, Panel
from dwell.metrics import mcnemar
from dwell.results.points import intervals_of, same_problems

#: With more budgets than this, pairs are shown at powers of two and at the largest.
MOST_BUDGETS = 12
#: Sign patterns of a test: they resolve p to 0.003.
NUM_FLIPS = 20_000
# Sums of the same numbers in another order differ in the last digits: still as extreme.
_TOLERANCE = 1e-12
_ROUNDING = 1e-9


def pair_records(panel: Panel) -> list[dict[str, Any]]:
    """Differences with intervals and p-values, all pairs of a panel at once."""
    pairs = _pairs(panel)
    if not pairs:
        return []
    sides = [_sides(a, b, n) for a, b, n in pairs]
    differences = np.stack([left - right for left, right in sides], axis=1)
    # Two estimators of the same thing differ in their last digits: that is no difference.
    differences[np.abs(differences) < _ROUNDING] = 0.0
    intervals = intervals_of(differences, panel.resamples, bounds=(-1.0, 1.0))
    p_values = sign_flips(differences)
    counts = np.isfinite(differences).sum(axis=0)
    return [
        {
            "model": panel.model,
            "task": panel.task,
            "n": n,
            "a": a.label,
            "b": b.label,
            "difference": float(interval.value),
            "low": float(interval.low),
            "high": float(interval.high),
            "p_value": float(p_value),
            "problems": int(count),
        }
        for (a, b, n), interval, p_value, count in zip(
            pairs, intervals, p_values, counts, strict=True
        )
        if interval is not None and count >= 2
    ]


def compared(budgets: Sequence[int]) -> list[int]:
    """The budgets at which pairs are shown."""
    ordered = sorted(set(budgets))
    if len(ordered) <= MOST_BUDGETS:
        return ordered
    return [n for n in ordered if n & (n - 1) == 0 or n == ordered[-1]]


def sign_flips(differences: FloatArray, seed: int = 0) -> FloatArray:
    """Two-sided p-values `[M]` of paired differences `[P, M]` under random signs.

    The test of `dwell.metrics.sign_flip`, with the same sign patterns for all columns: one
    matrix product instead of M tests. Exact (McNemar) where all differences are of one size.
    NaN leaves a problem out of its column.
    """
    p_values = np.ones(differences.shape[1])
    for rows, columns in same_problems(differences):
        table = differences[np.ix_(rows, columns)]
        sampled = []
        for place, column in enumerate(columns):
            moved = table[table[:, place] != 0, place]
            if len(moved) and np.all(np.abs(moved) == np.abs(moved[0])):
                p_values[column] = mcnemar(int(np.sum(moved > 0)), int(np.sum(moved < 0))).p_value
            elif len(moved):
                sampled.append(place)
        if sampled:
            p_values[columns[sampled]] = _flipped(table[:, sampled], seed)
    return p_values


def _flipped(table: FloatArray, seed: int) -> FloatArray:
    """`p = (1 + hits) / (1 + flips)` of each column of `[P, M]`."""
    extreme = np.abs(table.sum(axis=0)) - _TOLERANCE * np.abs(table).sum(axis=0)
    rng = np.random.default_rng(seed)
    hits, left = np.zeros(table.shape[1]), NUM_FLIPS
    while left > 0:
        size = min(left, max(1, 1_000_000 // len(table)))
        signs = rng.integers(0, 2, size=(size, len(table)), dtype=np.int8) * 2.0 - 1.0
        hits += np.sum(np.abs(signs @ table) >= extreme, axis=0)
        left -= size
    return np.asarray((1.0 + hits) / (1.0 + NUM_FLIPS), np.float64)


def _pairs(panel: Panel) -> list[tuple[Curve, Curve, int]]:
    usable = [curve for curve in panel.curves if not curve.oracle and curve.scale == "n"]
    pairs: list[tuple[Curve, Curve, int]] = []
    for n in compared([n for curve in usable for n in curve.budgets]):
        there = [curve for curve in usable if n in curve.budgets]
        base = next((c for c in there if c.kind == "vote"), there[0] if there else None)
        if base is None:
            continue
        rivals = [curve for curve in there if curve is not base]
        pairs += [(curve, base, n) for curve in rivals]
        ranked = sorted(rivals, key=lambda c: -_mean(c.values[:, c.budgets.index(n)]))
        if len(ranked) >= 2:
            pairs.append((ranked[0], ranked[1], n))
    return pairs


def _sides(a: Curve, b: Curve, n: int) -> tuple[FloatArray, FloatArray]:
    # Two exact estimates average over all draws; else both sides answer on the same draws.
    exact = "measured" not in (a.kind, b.kind)
    left, right = (
        (curve.values if exact else curve.answered)[:, curve.budgets.index(n)] for curve in (a, b)
    )
    return left, right


def _mean(values: FloatArray) -> float:
    return float(np.nanmean(values)) if np.isfinite(values).any() else -1.0
