"""Settings that no other setting beats on all counts, and how much they cover.

A front of noisy means is optimistic, for the lucky settings are on it: choose the settings on
one part of the problems and draw the front on the other.

Letters: `M` settings, `D` measures, all "higher is better" (negate costs).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from dwell.errors import UsageError
from dwell.metrics.arrays import BoolArray, FloatArray


def pareto_front(points: npt.ArrayLike) -> BoolArray:
    """Which settings no other setting dominates (at least as good in all, better in one).

    Args:
        points: `[M, D]`. Equal points do not dominate each other; a point with a NaN is not on
            the front and dominates nothing.

    Returns:
        `[M]` bool.

    Raises:
        UsageError: not `[M, D]`.

    Examples:
        >>> pareto_front([[0.9, 0.2], [0.8, 0.5], [0.6, 0.6], [0.7, 0.4], [0.3, 0.9]]).tolist()
        [True, True, True, False, True]
    """
    table = _points(points)
    on_front = ~np.any(np.isnan(table), axis=1)
    for index in np.flatnonzero(on_front):
        no_worse = np.all(table >= table[index], axis=1)
        better = np.any(table > table[index], axis=1)
        on_front[index] = not np.any(no_worse & better)
    return np.asarray(on_front, bool)


def hypervolume(points: npt.ArrayLike, reference: npt.ArrayLike) -> float:
    """Area that a two-dimensional front dominates above a reference point.

    Changes with the reference and the units of both axes: state them, and compare only with the
    same.

    Args:
        points: `[M, 2]`; those not above the reference in both add nothing.
        reference: `[2]`, a point that counts as worthless.

    Returns:
        Area, at least 0.

    Raises:
        UsageError: not two-dimensional.

    References:
        Zitzler and Thiele, "Multiobjective Optimization Using Evolutionary Algorithms" (1998).

    Examples:
        >>> points = [[0.9, 0.2], [0.8, 0.5], [0.6, 0.6], [0.7, 0.4], [0.3, 0.9]]
        >>> round(hypervolume(points, [0, 0]), 6)
        0.57
    """
    table, corner = _points(points), np.asarray(reference, np.float64)
    if table.shape[1] != 2 or corner.shape != (2,):
        raise UsageError(
            "`points` must be `[M, 2]` and `reference` `[2]`, but got "
            f"{table.shape} and {corner.shape}."
        )
    above = table[np.all(table > corner, axis=1)] - corner
    above = above[np.argsort(-above[:, 0], kind="stable")]
    height = np.maximum.accumulate(above[:, 1])
    width = above[:, 0] - np.append(above[1:, 0], 0.0)
    return float(width @ height) if len(above) else 0.0


def _points(points: npt.ArrayLike) -> FloatArray:
    table = np.asarray(points, np.float64)
    if table.ndim != 2:
        raise UsageError(f"`points` must be `[M, D]`, but got shape {table.shape}.")
    return table
