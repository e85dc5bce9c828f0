"""Forecasts as quantiles: scoring them, mending crossed ones, and joining several forecasters.

For tokens, latency and cost, whose spread decides a budget.

Letters: `P` problems, `Q` quantile levels, `E` forecasters.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt
import scipy
from sklearn.isotonic import isotonic_regression

from dwell.errors import UsageError
from dwell.metrics.arrays import FloatArray


def pinball_loss(
    observed: npt.ArrayLike, quantiles: npt.ArrayLike, levels: npt.ArrayLike
) -> FloatArray:
    """Pinball loss of quantile forecasts, `max(tau (y - q), (tau - 1)(y - q))`.

    Args:
        observed: `[P]` y.
        quantiles: `[P, Q]` forecasts.
        levels: `[Q]` tau, rising, strictly between 0 and 1.

    Returns:
        `[P, Q]`, lower is better, in the unit of y; average over levels and problems.

    Raises:
        UsageError: shapes do not fit, or levels that do not rise within (0, 1).

    References:
        Koenker and Bassett, "Regression Quantiles" (1978).

    Examples:
        >>> loss = pinball_loss([10], [[5, 9, 8, 12]], [0.1, 0.4, 0.6, 0.9])
        >>> float(loss.mean().round(6))
        0.575
    """
    y, q, tau = _forecast(observed, quantiles, levels)
    error = y[:, None] - q
    return np.asarray(np.maximum(tau * error, (tau - 1.0) * error), np.float64)


def interval_score(
    observed: npt.ArrayLike, low: npt.ArrayLike, high: npt.ArrayLike, alpha: float
) -> FloatArray:
    """Score of intervals: width plus `2 / alpha` times how far the outcome lies outside.

    `(u - l) + (2/a) (l - y)+ + (2/a) (y - u)+`, which is `2/a` times the pinball losses of both
    ends at a/2 and 1 - a/2.

    Args:
        observed: `[P]`.
        low: `[P]` lower ends.
        high: `[P]` upper ends.
        alpha: nominal share outside, in (0, 1).

    Returns:
        `[P]`, lower is better.

    Raises:
        UsageError: alpha outside (0, 1).

    References:
        Gneiting and Raftery, "Strictly Proper Scoring Rules, Prediction, and Estimation" (2007).

    Examples:
        >>> interval_score([10, 14], [5, 5], [12, 12], 0.2).tolist()
        [7.0, 27.0]
    """
    if not 0 < alpha < 1:
        raise UsageError(f"`alpha` must lie strictly between 0 and 1, but got {alpha}.")
    y, l, u = (np.asarray(x, np.float64) for x in (observed, low, high))  # noqa: E741
    outside = np.maximum(l - y, 0.0) + np.maximum(y - u, 0.0)
    return np.asarray(u - l + 2.0 / alpha * outside, np.float64)


def weighted_interval_score(
    observed: npt.ArrayLike, quantiles: npt.ArrayLike, levels: npt.ArrayLike
) -> FloatArray:
    """Weighted interval score: twice the mean pinball loss over all levels, `[P]`.

    With central intervals of shares a_k outside and the median it is
    `(|y - median| / 2 + sum_k a_k / 2 * interval_score_k) / (K + 1/2)`: the same number.

    References:
        Bracher et al., "Evaluating Epidemic Forecasts in an Interval Format" (2021).

    Examples:
        >>> weighted_interval_score([10], [[5, 9, 8, 12]], [0.1, 0.4, 0.6, 0.9]).round(6).tolist()
        [1.15]
    """
    return np.asarray(2.0 * pinball_loss(observed, quantiles, levels).mean(axis=1), np.float64)


def uncross(
    quantiles: npt.ArrayLike, how: Literal["sort", "isotonic", "outward"] = "sort"
) -> FloatArray:
    """Quantile forecasts that do not fall with the level.

    Sorting and isotonic regression never raise the pinball loss summed over equally weighted
    levels. "outward" keeps the median and lets no quantile pass its inner neighbour, so that
    the middle of the forecast stays as it was; it may raise the loss.

    Args:
        quantiles: `[P, Q]`.
        how: the repair.

    Returns:
        `[P, Q]`, each row rising.

    Raises:
        UsageError: not `[P, Q]`, or an unknown repair.

    References:
        Chernozhukov, Fernández-Val and Galichon, "Quantile and Probability Curves Without
        Crossing" (2010), for sorting.

    Examples:
        >>> uncross([[5, 9, 8, 12]]).tolist(), uncross([[5, 9, 8, 12]], "isotonic").tolist()
        ([[5.0, 8.0, 9.0, 12.0]], [[5.0, 8.5, 8.5, 12.0]])
    """
    q = np.asarray(quantiles, np.float64)
    if q.ndim != 2 or how not in ("sort", "isotonic", "outward"):
        raise UsageError(
            "`quantiles` must be `[P, Q]` and `how` sort, isotonic or outward, but got shape "
            f"{q.shape} and {how!r}."
        )
    if how == "sort":
        return np.sort(q, axis=1)
    if how == "isotonic":
        rows = [np.asarray(isotonic_regression(row), np.float64) for row in q]
        return np.array(rows).reshape(q.shape)
    middle = q.shape[1] // 2
    upper = np.maximum.accumulate(q[:, middle:], axis=1)
    lower = np.minimum.accumulate(q[:, middle::-1], axis=1)[:, ::-1]
    return np.concatenate([lower[:, :-1], upper], axis=1)


def combine_quantiles(members: npt.ArrayLike, weights: npt.ArrayLike) -> FloatArray:
    """Weighted mean of the forecasters' quantiles, level by level, sorted.

    Averaging quantiles keeps the shape of the members and moves their location; averaging
    probabilities (a mixture) is wider.

    Args:
        members: `[E, P, Q]`.
        weights: `[E]`, `[E, Q]` (each level its own) or `[E, P]` given as `[E, P, 1]` (each
            problem its own), at least 0; they are normalised over forecasters.

    Returns:
        `[P, Q]`.

    Raises:
        UsageError: shapes do not fit, or weights that are negative or all 0.

    Examples:
        >>> combine_quantiles([[[0, 1]], [[2, 5]]], [1, 3]).tolist()
        [[1.5, 4.0]]
    """
    q, w = np.asarray(members, np.float64), np.asarray(weights, np.float64)
    w = w[:, None, None] if w.ndim == 1 else w[:, None, :] if w.ndim == 2 else w
    total = w.sum(axis=0)
    if q.ndim != 3 or w.ndim != 3 or np.any(w < 0) or not np.all(total > 0):
        raise UsageError(
            "`members` must be `[E, P, Q]` and `weights` at least 0 with a positive sum, but got "
            f"shapes {q.shape} and {w.shape}."
        )
    return np.sort(np.sum(q * w, axis=0) / total, axis=1)


def fit_weights(
    members: npt.ArrayLike,
    observed: npt.ArrayLike,
    levels: npt.ArrayLike,
    *,
    per_level: bool = False,
) -> FloatArray:
    """Weights of the forecasters with the least pinball loss, exactly, by linear programming.

    Fit them on forecasts made out of fold: a member that has seen these outcomes gets all the
    weight. Few problems and many members overfit; then equal weights are hard to beat.

    Args:
        members: `[E, P, Q]` forecasts.
        observed: `[P]` outcomes.
        levels: `[Q]`.
        per_level: weights for each level by itself.

    Returns:
        `[E]`, or `[E, Q]` with `per_level`, at least 0, summing to 1 over members.

    Raises:
        UsageError: shapes do not fit.

    References:
        Fakoor et al., "Flexible Model
        Aggregation for Quantile Regression" (2021); global and per-level weights only.

    Examples:
        >>> truth = np.array([1.0, 2.0, 3.0])
        >>> members = np.stack([truth[:, None], truth[:, None] + 5])
        >>> fit_weights(members, truth, [0.5]).round(6).tolist()
        [1.0, 0.0]
    """
    q = np.asarray(members, np.float64)
    if q.ndim != 3:
        raise UsageError(f"`members` must be `[E, P, Q]`, but got shape {q.shape}.")
    y, _, tau = _forecast(observed, q[0], levels)
    if not per_level:
        return _least_pinball(q.reshape(len(q), -1), np.repeat(y, len(tau)), np.tile(tau, len(y)))
    columns = [_least_pinball(q[:, :, i], y, np.full(len(y), t)) for i, t in enumerate(tau)]
    return np.stack(columns, axis=1)


def _least_pinball(forecasts: FloatArray, y: FloatArray, tau: FloatArray) -> FloatArray:
    """Weights `[E]` in the simplex with the least pinball loss of `weights @ forecasts`.

    Solved from the dual side, which has one row for each member and not one for each outcome:
    max over a, m of `y a + m` with `forecasts a + m <= 0` and `tau - 1 <= a <= tau`; the weights
    are the prices of the rows.
    """
    num_members, num = forecasts.shape
    bounds: list[tuple[float | None, float | None]] = [(t - 1.0, t) for t in tau.tolist()]
    solved = scipy.optimize.linprog(
        -np.append(y, 1.0),
        A_ub=np.concatenate([forecasts, np.ones((num_members, 1))], axis=1),
        b_ub=np.zeros(num_members),
        bounds=[*bounds, (None, None)],
        method="highs",
    )
    weights = np.maximum(-np.asarray(solved.ineqlin.marginals, np.float64), 0.0)
    return np.asarray(weights / weights.sum(), np.float64)


def _forecast(
    observed: npt.ArrayLike, quantiles: npt.ArrayLike, levels: npt.ArrayLike
) -> tuple[FloatArray, FloatArray, FloatArray]:
    y, q = np.asarray(observed, np.float64), np.asarray(quantiles, np.float64)
    tau = np.asarray(levels, np.float64)
    rising = tau.ndim == 1 and np.all(np.diff(tau, prepend=0.0, append=1.0) > 0)
    if not rising or q.shape != (len(y), len(tau)):
        raise UsageError(
            "`quantiles` must be `[P, Q]` for `[P]` outcomes and `[Q]` rising levels within "
            f"(0, 1), but got {q.shape} for {y.shape} and levels {tau.tolist()}."
        )
    return y, q, tau
