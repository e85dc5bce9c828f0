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


def same_shape(**named: npt.ArrayLike) -> tuple[FloatArray, ...]:
    """Check that arrays are lists of one shape and return them as float64, in the order given.

    Args:
        named: the arrays by the names under which the caller knows them.

    Raises:
        UsageError: shapes differ, or they are single numbers.
    """
    arrays = tuple(np.asarray(value, np.float64) for value in named.values())
    shapes = {array.shape for array in arrays}
    if len(shapes) > 1 or arrays[0].ndim == 0:
        names = " and ".join(f"`{name}`" for name in named)
        raise UsageError(
            f"{names} must be lists of one shape, but got "
            f"{', '.join(str(array.shape) for array in arrays)}. Give one entry of each."
        )
    return arrays


def as_shares(name: str, values: npt.ArrayLike) -> FloatArray:
    """Check probabilities and return them as float64; NaN stays.

    Raises:
        UsageError: a number lies outside `[0, 1]`.
    """
    shares = np.asarray(values, np.float64)
    outside = (shares < 0) | (shares > 1)
    if np.any(outside):
        raise UsageError(
            f"`{name}` must lie in [0, 1], but got {float(shares[outside][0])}. "
            "Pass probabilities, not percent or scores."
        )
    return shares


def as_loss(name: str, value: float) -> float:
    """Check a penalty or cost, a number of at least 0.

    Raises:
        UsageError: it is negative or NaN.
    """
    if not value >= 0:
        raise UsageError(
            f"`{name}` must be at least 0, but got {value}. Pass a loss as a positive number."
        )
    return float(value)
