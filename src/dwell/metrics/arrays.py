"""Array types of the mathematics layer, and what its estimators check at their door."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from dwell.errors import UsageError

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]


def as_budgets(k: npt.ArrayLike, *, least: int = 1) -> IntArray:
    """Check simulated budgets and return them as `[K]`.

    Args:
        k: one budget or a one-dimensional list of them, in draws.
        least: the smallest budget that has a meaning here.

    Returns:
        `[K]` int; `K` is 1 for a single number.

    Raises:
        UsageError: `k` is not made of whole numbers of at least `least`.
    """
    budgets = np.asarray(k)
    if budgets.ndim > 1 or budgets.size == 0:
        raise UsageError(
            f"`k` must be one number or a list of them, but got shape {budgets.shape}. "
            "Pass a flat list of budgets."
        )
    whole = np.asarray(budgets, dtype=np.float64)
    if not np.all(np.isfinite(whole) & (whole == np.floor(whole)) & (whole >= least)):
        raise UsageError(
            f"`k` must hold whole numbers of at least {least}, but got {budgets.tolist()}. "
            "Leave out the others."
        )
    return np.atleast_1d(budgets).astype(np.int64)


def as_counts(name: str, counts: npt.ArrayLike) -> IntArray:
    """Check counts of draws and return them as int64 of the same shape.

    Raises:
        UsageError: a count is negative or not whole.
    """
    values = np.asarray(counts, dtype=np.float64)
    if not np.all(np.isfinite(values) & (values == np.floor(values)) & (values >= 0)):
        raise UsageError(
            f"`{name}` must hold whole numbers of at least 0, but got {values.tolist()}. "
            "Pass counts of recorded draws."
        )
    return values.astype(np.int64)


def drop_budget_axis(values: FloatArray, k: npt.ArrayLike) -> FloatArray:
    """Return `[..., 1]` as `[...]` where the caller asked for a single budget."""
    dropped: FloatArray = values[..., 0] if np.ndim(k) == 0 else values
    return dropped
