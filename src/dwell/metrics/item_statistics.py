"""What single problems contribute: discrimination, information, and likely label errors.

A respondent is a system (model and configuration). Repeated draws of one model are one
respondent, not many: average them first. Below about thirty respondents these numbers are noise.

Letters: `M` respondents, `P` problems.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import scipy

from dwell.errors import UsageError
from dwell.metrics.arrays import FloatArray


def success_curve(
    ability: npt.ArrayLike, discrimination: npt.ArrayLike, difficulty: npt.ArrayLike
) -> FloatArray:
    """Two-parameter logistic model: `P = 1 / (1 + exp(-a (theta - b)))`.

    Args:
        ability: theta, any shape.
        discrimination: a, slope of a problem, broadcast against it.
        difficulty: b, the ability with even chances, likewise.

    Returns:
        In `[0, 1]`, of the broadcast shape.

    References:
        Birnbaum, "Some Latent Trait Models and Their Use in Inferring an Examinee's Ability"
        (1968).

    Examples:
        >>> round(float(success_curve(0.0, 1.2, 0.5)), 6)
        0.354344
    """
    theta, a, b = (np.asarray(x, np.float64) for x in (ability, discrimination, difficulty))
    return np.asarray(scipy.special.expit(a * (theta - b)), np.float64)


def item_information(
    ability: npt.ArrayLike, discrimination: npt.ArrayLike, difficulty: npt.ArrayLike
) -> FloatArray:
    """Fisher information of a problem about ability, `a^2 P (1 - P)`, largest at its difficulty.

    Arguments are those of `success_curve`.

    Examples:
        >>> round(float(item_information(0.5, 1.2, 0.5)), 6)
        0.36
    """
    prob = success_curve(ability, discrimination, difficulty)
    a = np.asarray(discrimination, np.float64)
    return np.asarray(a**2 * prob * (1.0 - prob), np.float64)


def item_rest_correlation(scores: npt.ArrayLike) -> FloatArray:
    """Correlation of each problem with the total over the *other* problems.

    The point-biserial correlation for scores of 0 or 1. A negative one says that better systems
    get the problem wrong more often: look at its label first.

    Args:
        scores: `[M, P]` of each respondent on each problem, without NaN.

    Returns:
        `[P]` in `[-1, 1]`; NaN where a problem or its rest is the same for all.

    Raises:
        UsageError: not `[M, P]`, or NaN.

    Examples:
        >>> scores = [[1, 1, 1, 0], [1, 1, 0, 0], [1, 0, 0, 1], [0, 0, 0, 1]]
        >>> item_rest_correlation(scores).round(2).tolist()
        [0.33, 0.0, 0.33, -0.89]
    """
    table = np.asarray(scores, np.float64)
    if table.ndim != 2 or np.any(np.isnan(table)):
        raise UsageError(
            f"`scores` must be `[M, P]` without NaN, but got shape {table.shape}. "
            "Keep the problems that all respondents have."
        )
    return point_biserial(table, table.sum(axis=1, keepdims=True) - table)


def point_biserial(correct: npt.ArrayLike, totals: npt.ArrayLike) -> FloatArray:
    """Pearson correlation of being right with a total, over respondents (the first axis).

    Args:
        correct: `[M]` or `[M, P]`.
        totals: same shape, over the *other* problems: with the problem itself in its total
            the correlation is too high.

    Returns:
        Scalar array or `[P]`; NaN where either is constant.

    Examples:
        >>> correct, totals = np.array([1, 0, 1, 1, 0, 0]), np.array([9, 4, 8, 7, 5, 3])
        >>> float(point_biserial(correct, totals - correct).round(6))
        0.87831
    """
    x, y = np.asarray(correct, np.float64), np.asarray(totals, np.float64)
    if x.shape != y.shape or x.ndim == 0:
        raise UsageError(
            f"`correct` and `totals` must be of one shape, but got {x.shape} and {y.shape}."
        )
    x, y = x - x.mean(axis=0), y - y.mean(axis=0)
    spread = np.sqrt(np.sum(x**2, axis=0) * np.sum(y**2, axis=0))
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(spread > 1e-12, np.sum(x * y, axis=0) / spread, np.nan)
