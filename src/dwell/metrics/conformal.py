"""Intervals with a guarantee: widen forecast intervals by what held-out outcomes missed them.

Letters: `P` held-out problems.
"""

from __future__ import annotations

from math import ceil

import numpy as np
import numpy.typing as npt

from dwell.errors import UsageError
from dwell.metrics.arrays import FloatArray, same_shape


def conformal_margin(
    low: npt.ArrayLike, high: npt.ArrayLike, observed: npt.ArrayLike, alpha: float
) -> float:
    """How far to move both ends of forecast intervals so that they cover (CQR).

    Scores `E_i = max(l_i - y_i, y_i - u_i)` on held-out problems; the margin Q is the
    `ceil((m + 1)(1 - alpha))`-th smallest. `[l - Q, u + Q]` then holds a new outcome with
    probability at least `1 - alpha`, whatever made the forecast, provided that the problems are
    exchangeable: one row a problem, none of which the forecaster was fitted on. The promise is
    an average over problems, not for each kind of them.

    Args:
        low: `[P]` lower ends.
        high: `[P]` upper ends.
        observed: `[P]` outcomes.
        alpha: share that may lie outside, in (0, 1).

    Returns:
        Q in the unit of the outcome; negative where intervals were too wide; infinite where
        there are too few problems for this alpha (m < 1/alpha - 1).

    Raises:
        UsageError: shapes differ, NaN, or alpha outside (0, 1).

    References:
        Romano, Patterson and Candès, "Conformalized Quantile Regression" (2019), algorithm 1.

    Examples:
        >>> low, high = [1, 2, 3, 2, 4, 1, 2, 3, 5], [4, 6, 5, 7, 9, 3, 6, 8, 9]
        >>> conformal_margin(low, high, [2, 7, 4, 6, 3, 2, 8, 5, 7], 0.2)
        1.0
    """
    l, u, y = same_shape(low=low, high=high, observed=observed)  # noqa: E741
    if not 0 < alpha < 1 or np.any(np.isnan(l) | np.isnan(u) | np.isnan(y)):
        raise UsageError(
            f"`alpha` must lie strictly between 0 and 1 and nothing be NaN, but got {alpha=}. "
            "Leave out problems without an outcome."
        )
    scores = np.sort(np.maximum(l - y, y - u))
    # (m + 1)(1 - alpha) may come out a hair above a whole number: 10 * 0.8 must be rank 8.
    rank = ceil((len(scores) + 1) * (1.0 - alpha) - 1e-9)
    return float(scores[rank - 1]) if rank <= len(scores) else float("inf")


def widen(low: npt.ArrayLike, high: npt.ArrayLike, margin: float) -> tuple[FloatArray, FloatArray]:
    """Intervals with both ends moved outward by a margin; inward where it is negative.

    An interval that a negative margin would turn inside out becomes its midpoint.

    Examples:
        >>> ends = widen([1.0, 5.0], [4.0, 6.0], -1.0)
        >>> ends[0].tolist(), ends[1].tolist()
        ([2.0, 5.5], [3.0, 5.5])
    """
    l, u = same_shape(low=low, high=high)  # noqa: E741
    middle = (l + u) / 2
    return np.minimum(l - margin, middle), np.maximum(u + margin, middle)


def coverage_share(low: npt.ArrayLike, high: npt.ArrayLike, observed: npt.ArrayLike) -> float:
    """Share of outcomes inside their intervals, ends included; NaN without any.

    Examples:
        >>> coverage_share([0, 0], [1, 1], [0.5, 2])
        0.5
    """
    l, u, y = same_shape(low=low, high=high, observed=observed)  # noqa: E741
    return float(np.mean((l <= y) & (y <= u))) if len(y) else float("nan")
