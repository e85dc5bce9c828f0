"""A logistic line through counts of successes, by Newton's method.

Two parameters and a convex objective: exact to rounding in a few steps, no iteration limit to
tune, and no solver whose tolerance shows in the printed digits.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import scipy

from dwell.metrics.arrays import FloatArray

Status = Literal["fitted", "separable", "constant"]

# Pulls the slope towards 0, and only where the data would let it grow without bound.
_WEAK_RIDGE = 1e-3
_STEPS = 100
_TOLERANCE = 1e-12


@dataclass(frozen=True, slots=True, kw_only=True)
class LogisticLine:
    """`P(success) = 1 / (1 + exp(-(slope x + intercept)))`.

    Attributes:
        slope: change of the log-odds per unit of x.
        intercept: log-odds at x = 0.
        status: "fitted"; "separable" where successes and failures do not overlap in x, so that a
            weak ridge on the slope decided; "constant" where there were only successes or only
            failures, so that it is the smoothed rate (s+1)/(m+2) and knows nothing of x.
    """

    slope: float
    intercept: float
    status: Status

    def predict(self, x: FloatArray) -> FloatArray:
        """Probability of success at x, any shape."""
        return np.asarray(scipy.special.expit(self.slope * x + self.intercept), np.float64)


def fit_line(
    x: FloatArray, successes: FloatArray, trials: FloatArray, *, intercept: bool = True
) -> LogisticLine:
    """Maximum-likelihood logistic line.

    Args:
        x: `[M]`.
        successes: `[M]`, between 0 and `trials`; shares with `trials` of 1 are soft labels.
        trials: `[M]`.
        intercept: False forces the line through log-odds 0 at x = 0.

    Returns:
        `LogisticLine`; see its status for data that have no finite maximum.
    """
    failures = trials - successes
    total = float(trials.sum())
    if not (successes.sum() > 0 and failures.sum() > 0):
        rate = (float(successes.sum()) + 1.0) / (total + 2.0)
        return LogisticLine(
            slope=0.0, intercept=float(scipy.special.logit(rate)), status="constant"
        )
    separable = _separable(x, successes, failures, intercept)
    ridge = _WEAK_RIDGE if separable else 0.0
    design = np.stack([x, np.full(len(x), float(intercept))])
    line = np.zeros(2)
    for _ in range(_STEPS):
        prob = scipy.special.expit(line @ design)
        gradient = design @ (successes - trials * prob) - np.array([ridge * line[0], 0.0])
        curvature = (design * (trials * prob * (1.0 - prob))) @ design.T
        curvature[0, 0] += ridge
        # lstsq: without an intercept, or with all x equal, one direction does not matter.
        step = np.linalg.lstsq(curvature, gradient, rcond=None)[0]
        line = _halved(line, step, design, successes, failures, ridge)
        if np.max(np.abs(step)) < _TOLERANCE * (1.0 + np.max(np.abs(line))):
            break
    status: Status = "separable" if separable else "fitted"
    return LogisticLine(slope=float(line[0]), intercept=float(line[1]), status=status)


def _halved(
    line: FloatArray,
    step: FloatArray,
    design: FloatArray,
    successes: FloatArray,
    failures: FloatArray,
    ridge: float,
) -> FloatArray:
    """The longest of step, step/2, step/4 ... that does not lower the likelihood."""

    def value(at: FloatArray) -> float:
        odds = at @ design
        loss = successes @ np.logaddexp(0.0, -odds) + failures @ np.logaddexp(0.0, odds)
        return float(loss + ridge / 2.0 * at[0] ** 2)

    before = value(line)
    for _ in range(40):
        if value(line + step) <= before:
            return line + step
        step = step / 2.0
    return line


def _separable(
    x: FloatArray, successes: FloatArray, failures: FloatArray, intercept: bool
) -> bool:
    """Whether a cut in x has all successes on one side (both may lie on the cut itself)."""
    won, lost = x[successes > 0], x[failures > 0]
    if intercept:
        apart = won.min() >= lost.max() or lost.min() >= won.max()
        return bool(apart and np.ptp(x) > 0)
    return bool((won >= 0).all() and (lost <= 0).all() or (won <= 0).all() and (lost >= 0).all())
