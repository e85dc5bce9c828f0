"""The runs on the lower envelope: what the best choice at each size of x reaches."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from dwell.errors import UsageError

IntArray = npt.NDArray[np.intp]


def envelope(x: npt.ArrayLike, y: npt.ArrayLike, *, ratio: float | None = None) -> IntArray:
    """Indices of the rows that no row with less x beats, by rising x.

    Args:
        x: `[n]` compute or data, more than 0.
        y: `[n]` error or loss.
        ratio: width of geometric bins, of each of which only the best row counts; None takes all
            rows.

    Returns:
        `[K]` indices; y falls strictly along them.

    Raises:
        UsageError: some x is not positive, or `ratio` is not more than 1.

    Examples:
        >>> envelope([1, 2, 3, 4], [0.9, 0.5, 0.6, 0.4]).tolist()
        [0, 1, 3]
    """
    cost, value = np.asarray(x, np.float64), np.asarray(y, np.float64)
    if not np.all(cost > 0):
        raise UsageError("an envelope needs x more than 0 in all rows.")
    order = np.lexsort((value, cost))
    if ratio is not None:
        if not ratio > 1:
            raise UsageError(f"`ratio` must be more than 1, but got {ratio}.")
        bins = np.floor(np.log(cost) / np.log(ratio))
        best = np.lexsort((cost, value, bins))
        first = np.concatenate([[True], np.diff(bins[best]) > 0])
        order = best[first]
    lowest = np.minimum.accumulate(value[order])
    kept = np.concatenate([[True], lowest[1:] < lowest[:-1]])
    return np.asarray(order[kept], np.intp)
