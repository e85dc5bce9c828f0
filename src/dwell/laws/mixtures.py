"""Mixtures of data sources, judged from two small samples and extrapolated in ln n.

Stage 1 maps the distance between a mixture and the validation set to performance, linearly, at
each of two disclosed sizes. Stage 2 extrapolates through them without parameters:

    P(n) = P(n0) + (P(n1) - P(n0)) ln(n/n0) / ln(n1/n0)

Both are smooth in the mixture's weights, so the best mixture follows by projected gradient.

Source: Kang et al., Performance Scaling via Optimal Transport: Enabling Data Selection from
Partially Revealed Sources (2023).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from dwell.errors import UsageError
from dwell.laws.spaces import FloatArray


def extrapolate(
    first: npt.ArrayLike, second: npt.ArrayLike, sizes: tuple[float, float], size: npt.ArrayLike
) -> FloatArray:
    """Performance at `size` from that at two sizes n0 < n1; straight in ln n, broadcast.

    Raises:
        UsageError: sizes that do not rise from above 0.
    """
    n0, n1 = sizes
    if not 0 < n0 < n1:
        raise UsageError(f"`sizes` must rise from above 0, but got {sizes}.")
    p0, p1 = np.asarray(first, np.float64), np.asarray(second, np.float64)
    share = np.log(np.asarray(size, np.float64) / n0) / np.log(n1 / n0)
    return np.asarray(p0 + (p1 - p0) * share, np.float64)


@dataclass(frozen=True, slots=True, kw_only=True)
class DistanceMap:
    """Performance = intercept + slope x distance, with its residual root mean square."""

    intercept: float
    slope: float
    rmse: float

    def __call__(self, distance: npt.ArrayLike) -> FloatArray:
        """Performance at distances."""
        return np.asarray(self.intercept + self.slope * np.asarray(distance, np.float64))


def fit_distance_map(distance: npt.ArrayLike, performance: npt.ArrayLike) -> DistanceMap:
    """The least-squares line of performance on distance, `[n]` each.

    Raises:
        UsageError: fewer than two different distances.
    """
    x, y = np.asarray(distance, np.float64), np.asarray(performance, np.float64)
    if len(np.unique(x)) < 2:
        raise UsageError("a line needs at least two different distances.")
    slope, intercept = np.polyfit(x, y, 1)
    rest = y - intercept - slope * x
    return DistanceMap(intercept=float(intercept), slope=float(slope),
                       rmse=float(np.sqrt(np.mean(rest**2))))  # fmt: skip


def onto_simplex(weights: npt.ArrayLike) -> FloatArray:
    """The nearest weights that are at least 0 and sum to 1 (Duchi et al., 2008).

    Examples:
        >>> onto_simplex([0.9, 0.5]).round(3).tolist()
        [0.7, 0.3]
    """
    given = np.asarray(weights, np.float64)
    ordered = np.sort(given)[::-1]
    excess = (np.cumsum(ordered) - 1.0) / np.arange(1, len(given) + 1)
    last = int(np.flatnonzero(ordered > excess)[-1])
    return np.asarray(np.maximum(given - excess[last], 0.0), np.float64)


def best_mixture(
    performance: Callable[[FloatArray], float], num_sources: int, *, steps: int = 500
) -> tuple[FloatArray, float]:
    """Weights on the simplex with the largest performance, by projected gradient ascent.

    The gradient is taken by central differences and the step halves when it overshoots, so
    any smooth function of the weights will do. Concave ones end at the optimum.

    Args:
        performance: weights `[sources]` -> number, for example through `extrapolate`.
        num_sources: how many sources.
        steps: at most so many steps.

    Returns:
        Weights and their performance.
    """
    weights = np.full(num_sources, 1.0 / num_sources)
    value, reach = performance(weights), 1.0
    nudge = 1e-6 * np.eye(num_sources)
    for _ in range(steps):
        slope = np.array([performance(weights + d) - performance(weights - d) for d in nudge])
        slope = slope / 2e-6
        size = float(np.max(np.abs(slope - slope.mean())))
        if size == 0 or reach < 1e-9:
            break
        moved = onto_simplex(weights + reach * (slope - slope.mean()) / size)
        there = performance(moved)
        if there > value:
            weights, value, reach = moved, there, min(2.0 * reach, 1.0)
        else:
            reach *= 0.5
    return weights, float(value)
