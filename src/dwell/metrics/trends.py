"""Does accuracy rise, fall, or turn as more is spent?

Both tests treat the problem as the unit. With the same budgets for every problem a regression
slope is a fixed contrast of each problem's own curve, so slopes are averaged over problems,
bootstrapped over problems, and tested by flipping the sign of whole problems (clusters): no
assumption on the noise within a problem, and no draws counted as if they were problems.

Letters: `P` problems, `L` budgets.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from dwell.errors import UsageError
from dwell.metrics.arrays import FloatArray, IntArray
from dwell.metrics.comparisons import sign_flip
from dwell.metrics.intervals import Interval, Resamples, bootstrap_interval


@dataclass(frozen=True, slots=True, kw_only=True)
class Trend:
    """Straight and quadratic trend of accuracy over budgets.

    Attributes:
        slope: mean over problems of the least-squares slope, per unit of x, with its interval.
        slope_p: two-sided p of a slope of 0; a negative slope is inverse scaling.
        curvature: coefficient of the quadratic term, orthogonal to the straight line.
        curvature_p: two-sided p of no curvature. A bend is *not* a turn: a curve that saturates
            is bent too. Whether it turns is for `two_lines`.
    """

    slope: Interval
    slope_p: float
    curvature: Interval
    curvature_p: float


def trend(
    budgets: npt.ArrayLike,
    accuracy: npt.ArrayLike,
    resamples: Resamples,
    *,
    log_scale: bool = True,
    level: float = 0.95,
    seed: int = 0,
) -> Trend:
    """Does accuracy rise or fall with the budget? Inverse scaling is a slope below 0.

    Args:
        budgets: `[L]` different budgets, L >= 2, positive with `log_scale`.
        accuracy: `[P, L]` accuracy of each problem at each, in `[0, 1]`.
        resamples: of these problems; its clusters move together in the test.
        log_scale: x is log2 of the budget, so that slopes are per doubling.
        level: nominal coverage.
        seed: of the sign flips where they are too many to enumerate.

    Returns:
        `Trend`; curvature is NaN with two budgets.

    Raises:
        UsageError: shapes do not fit, equal budgets, or NaN.

    References:
        Gema et al., "Inverse Scaling in Test-Time Compute" (2025), for the question.

    Examples:
        >>> from dwell.metrics import resample_problems
        >>> rising = trend([1, 2, 4], [[0.0, 0.5, 1.0]] * 8, resample_problems(8))
        >>> float(rising.slope.value), rising.slope_p
        (0.5, 0.0078125)
    """
    x, curves = _curves(budgets, accuracy, resamples, log_scale, least=2)
    line = _slope_weights(x)
    slope = _contrast(curves @ line, resamples, level, seed)
    if len(x) < 3:
        nan = np.array(np.nan)
        none = Interval(value=nan, low=nan, high=nan, level=level)
        return Trend(slope=slope[0], slope_p=slope[1], curvature=none, curvature_p=np.nan)
    bend = np.linalg.pinv(np.vander(x - x.mean(), 3))[0]
    curvature = _contrast(curves @ bend, resamples, level, seed)
    return Trend(
        slope=slope[0], slope_p=slope[1], curvature=curvature[0], curvature_p=curvature[1]
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class TwoLines:
    """Slopes before and after a break, and whether both hold with opposite signs.

    Attributes:
        before: mean slope up to the break, with its interval.
        after: mean slope from the break on.
        p_value: of the shape asked for: the larger of the two one-sided p-values, so below
            alpha only if each slope alone is.
        breaks: the budgets of the break, one for each half of the problems.
    """

    before: Interval
    after: Interval
    p_value: float
    breaks: tuple[float, float]


def two_lines(
    budgets: npt.ArrayLike,
    accuracy: npt.ArrayLike,
    resamples: Resamples,
    *,
    shape: Literal["peak", "valley"] = "peak",
    log_scale: bool = True,
    level: float = 0.95,
    seed: int = 0,
) -> TwoLines:
    """Does accuracy turn: rise and then fall ("peak") or fall and then rise ("valley")?

    Simonsohn's two lines: a slope on each side of a break, and both must differ from 0 in
    opposite directions. Quadratic regression must not be used for this: it calls every curve
    that saturates U-shaped. The break is Robin Hood's: among the budgets whose mean is within
    one standard error of the extreme, the one at the share `|z2| / (|z1| + |z2|)`, which gives
    the weaker line the more budgets. Here it is cross-fitted: problems are halved at random, and
    each half is measured with the break that the *other* half chose, so the choice costs no
    validity. The break belongs to both lines.

    Args:
        budgets: `[L]` different budgets, L >= 3, positive with `log_scale`.
        accuracy: `[P, L]` accuracy of each problem at each, in `[0, 1]`.
        resamples: of these problems; its clusters are kept together, two at least.
        shape: "peak" (more compute does harm in the end) or "valley".
        log_scale: x is log2 of the budget.
        level: nominal coverage of the slopes' intervals.
        seed: of the halves and of the sign flips.

    Returns:
        `TwoLines`.

    Raises:
        UsageError: shapes do not fit, fewer than three budgets or two clusters, or NaN.

    References:
        Simonsohn, "Two Lines: A Valid Alternative to the Invalid Testing of U-Shaped
        Relationships With Quadratic Regressions" (2018). We differ: a mean curve in place of a
        smoother, slopes by problem, sign flips in place of robust standard errors, cross-fitting.

    Examples:
        >>> from dwell.metrics import resample_problems
        >>> peak = [[0.2, 0.6, 1.0, 0.6, 0.2]] * 10
        >>> turned = two_lines([1, 2, 4, 8, 16], peak, resample_problems(10))
        >>> turned.breaks, round(turned.p_value, 4)
        ((4.0, 4.0), 0.001)
    """
    x, curves = _curves(budgets, accuracy, resamples, log_scale, least=3)
    sign = 1.0 if shape == "peak" else -1.0
    half = _halves(resamples.clusters, seed)
    before, after = np.empty(len(curves)), np.empty(len(curves))
    breaks = []
    for own in (half, ~half):
        at = _robin_hood(x, sign * curves[~own], resamples.clusters[~own])
        before[own] = curves[own, : at + 1] @ _slope_weights(x[: at + 1])
        after[own] = curves[own, at:] @ _slope_weights(x[at:])
        breaks.append(float(np.sort(np.asarray(budgets, np.float64))[at]))
    first, first_p = _contrast(before, resamples, level, seed)
    second, second_p = _contrast(after, resamples, level, seed)
    p_value = max(
        _one_sided(first_p, sign * float(first.value)),
        _one_sided(second_p, -sign * float(second.value)),
    )
    return TwoLines(before=first, after=second, p_value=p_value, breaks=(breaks[0], breaks[1]))


def _robin_hood(x: FloatArray, curves: FloatArray, clusters: IntArray) -> int:
    """Index of the break for a peak, never the first or last budget."""
    mean = curves.mean(axis=0)
    top = 1 + int(np.argmax(mean[1:-1]))
    gap = _standard_error(curves - curves[:, [top]], clusters)
    flat = 1 + np.flatnonzero((mean[top] - mean <= gap)[1:-1])
    middle = int(flat[len(flat) // 2])
    rising = _z(curves[:, : middle + 1] @ _slope_weights(x[: middle + 1]), clusters)
    falling = _z(curves[:, middle:] @ _slope_weights(x[middle:]), clusters)
    total = rising + falling
    share = falling / total if np.isfinite(total) and total > 0 else 0.5
    return int(flat[round(share * (len(flat) - 1))])


def _z(slopes: FloatArray, clusters: IntArray) -> float:
    error = float(_standard_error(slopes[:, None], clusters)[0])
    return abs(float(slopes.mean())) / error if error > 0 else np.inf


def _standard_error(values: FloatArray, clusters: IntArray) -> FloatArray:
    """Clustered standard error of the mean, `[P, K]` to `[K]`."""
    sums = _by_cluster(values - values.mean(axis=0), clusters)
    return np.asarray(np.sqrt((sums**2).sum(axis=0)) / len(values), np.float64)


def _by_cluster(values: FloatArray, clusters: IntArray) -> FloatArray:
    sums = np.zeros((int(clusters.max()) + 1, *values.shape[1:]))
    np.add.at(sums, clusters, values)
    return sums


def _halves(clusters: IntArray, seed: int) -> npt.NDArray[np.bool_]:
    """`[P]`: a random half of the clusters."""
    num = int(clusters.max()) + 1
    if num < 2:
        raise UsageError("two lines need at least two clusters of problems, but got one.")
    order = np.random.default_rng(seed).permutation(num)
    return np.asarray((order < num // 2)[clusters], bool)


def _slope_weights(x: FloatArray) -> FloatArray:
    """`[L]` weights w with `w @ y` the least-squares slope of y on x."""
    centred = x - x.mean()
    return np.asarray(centred / (centred @ centred), np.float64)


def _contrast(
    values: FloatArray, resamples: Resamples, level: float, seed: int
) -> tuple[Interval, float]:
    interval = bootstrap_interval(values, resamples, level=level, bounds=None)
    # Slopes of equal curves differ in the last digit; what is 0 up to that is 0.
    sums = _by_cluster(values, resamples.clusters)
    sums[np.abs(sums) < 1e-12] = 0.0
    return interval, sign_flip(sums, seed=seed).p_value


def _one_sided(two_sided: float, effect: float) -> float:
    """One-sided p of an effect above 0, from the symmetric two-sided one."""
    return two_sided / 2 if effect > 0 else 1.0 - two_sided / 2


def _curves(
    budgets: npt.ArrayLike,
    accuracy: npt.ArrayLike,
    resamples: Resamples,
    log_scale: bool,
    least: int,
) -> tuple[FloatArray, FloatArray]:
    """Budgets as x in rising order, and the curves in that order."""
    x, curves = np.asarray(budgets, np.float64), np.asarray(accuracy, np.float64)
    problems = resamples.weights.shape[1]
    if (
        x.ndim != 1
        or len(np.unique(x)) < max(len(x), least)
        or curves.shape != (problems, len(x))
        or not np.all(np.isfinite(curves))
        or (log_scale and not np.all(x > 0))
    ):
        raise UsageError(
            f"`budgets` must be at least {least} different positive budgets and `accuracy` a "
            f"number for each of {problems} problems at each, but got {x.tolist()} and shape "
            f"{curves.shape} with {int(np.sum(~np.isfinite(curves)))} missing. "
            "Keep the problems and budgets that are complete."
        )
    order = np.argsort(x)
    x = np.log2(x[order]) if log_scale else x[order]
    return x, curves[:, order]
