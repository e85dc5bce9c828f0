"""Refits on resampled data: what a fit's intervals come from.

All resamples are solved at once, warm from the optima that the fit knows: a resample may prefer
another optimum than the data do, and the intervals are to show it.

Letters: `S` slots, `R` resamples, `n` rows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np

from dwell.errors import UsageError
from dwell.laws.problem import Problem
from dwell.laws.spaces import FloatArray

if TYPE_CHECKING:
    from dwell.laws.fit import Fit

BootstrapKind = Literal["pairs", "residual", "cluster"]

# Optima besides the best that every resample begins from too.
_RIVALS = 2


def resampled(fit: Fit, num: int, kind: BootstrapKind, seed: int) -> FloatArray:
    """Parameters `[R, S]` refitted on resampled data.

    Args:
        fit: the fit.
        num: resamples `R`.
        kind: "pairs" resamples rows; "residual" adds resampled residuals to the fitted curve;
            "cluster" resamples clusters of rows (checkpoints of one run, draws of one problem),
            for which the fit must know its clusters.
        seed: of the resampling.

    Raises:
        UsageError: no data (a fit read from a file), no clusters, or `num` below 2.
    """
    problem = fit.data("a bootstrap")
    if num < 2:
        raise UsageError(f"a bootstrap needs at least 2 resamples, but got {num}.")
    rng = np.random.default_rng(seed)
    if kind == "residual":
        scaled = fit.residuals / problem.unit
        drawn = scaled[rng.integers(0, len(scaled), (num, len(scaled)))]
        return refit(fit, targets=problem.model.value(fit.free[None]) + drawn)
    return refit(fit, weights=_weights(problem, kind, num, rng))


def refit(
    fit: Fit, *, weights: FloatArray | None = None, targets: FloatArray | None = None
) -> FloatArray:
    """Parameters `[R, S]` for other weights or targets `[R, n]`, from each known optimum.

    Raises:
        UsageError: no data (a fit read from a file).
    """
    problem = fit.data("a refit")
    given = weights if weights is not None else targets
    assert given is not None
    best = problem.solve(np.tile(fit.free, (len(given), 1)), weights=weights, targets=targets)
    free, objective = best.free, best.objective
    for other in fit.optima[1 : 1 + _RIVALS]:
        row = np.array([[other.params[name] for name in fit.names]])
        begin = np.tile(problem.coordinates.from_caller(row), (len(given), 1))
        tried = problem.solve(begin, weights=weights, targets=targets)
        wins = tried.objective < objective
        free = np.where(wins[:, None], tried.free, free)
        objective = np.where(wins, tried.objective, objective)
    return problem.coordinates.to_caller(free)


def _weights(problem: Problem, kind: str, num: int, rng: np.random.Generator) -> FloatArray:
    """Weights `[R, n]` of rows drawn with replacement, or of whole clusters."""
    weights, clusters = problem.rows.weights, problem.rows.clusters
    if kind == "pairs":
        count = len(weights)
        return weights * rng.multinomial(count, np.full(count, 1.0 / count), size=num)
    if kind != "cluster":
        raise UsageError(f"`kind` must be pairs, residual or cluster, but got {kind!r}.")
    if clusters is None:
        raise UsageError("a cluster bootstrap needs clusters: fit with `cluster=COLUMN`.")
    count = int(clusters.max()) + 1
    drawn = rng.multinomial(count, np.full(count, 1.0 / count), size=num)
    return np.asarray(weights * drawn[:, clusters], np.float64)
