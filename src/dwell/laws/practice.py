"""How a prediction depends on the runs it is made from, and what to borrow when they are few.

Choshen, Zhang and Andreas, A Hitchhiker's Guide to Scaling Law Estimation (2024), as recalled and
not re-read: use checkpoints after the first tenth of training, several small models rather than
one large, targets within an order of magnitude, and expect 4 % error at best.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from dwell.errors import UsageError
from dwell.laws.fit import Fit
from dwell.laws.law import Law
from dwell.laws.spaces import BoolArray


@dataclass(frozen=True, slots=True, kw_only=True)
class EstimatorPoint:
    """How well the rows up to a value of a column predict the targets.

    Attributes:
        largest: largest value of the column among the rows used.
        num_rows: rows used.
        error: mean absolute relative error on the targets; NaN if they cannot be fitted.
    """

    largest: float
    num_rows: int
    error: float


def estimator_curve(
    law: Law, data: Mapping[str, Any], by: str, targets: npt.ArrayLike, **options: Any
) -> tuple[EstimatorPoint, ...]:
    """The learning curve of a fit itself: error on the targets from ever larger runs.

    Args:
        law: the law.
        data: columns by name.
        by: column whose values are added one after the other, for example `params` or `C`.
        targets: mask `[n]` of rows that are never used to fit.
        options: as for `Law.fit`.

    Raises:
        UsageError: no such column, or no targets.
    """
    held = np.asarray(targets, np.bool_)
    if by not in data or not held.any():
        raise UsageError(f"an estimator's curve needs a column {by!r} and at least one target.")
    order = np.asarray(data[by], np.float64)
    points = []
    for largest in np.unique(order[~held]):
        used = ~held & (order <= largest)
        try:
            fit = law.fit(data, exclude=~(used | held), holdout=held, **options)
            assert fit.holdout is not None
            error = fit.holdout.errors.mape
        except UsageError:
            error = float("nan")
        points.append(
            EstimatorPoint(largest=float(largest), num_rows=int(used.sum()), error=error)
        )
    return tuple(points)


def after_warmup(tokens: npt.ArrayLike, run: npt.ArrayLike, share: float = 0.1) -> BoolArray:
    """Mask `[n]` of checkpoints beyond a share of their own run's tokens: those worth fitting.

    Raises:
        UsageError: `share` is not in [0, 1).
    """
    if not 0 <= share < 1:
        raise UsageError(f"`share` must lie in [0, 1), but got {share}.")
    seen = np.asarray(tokens, np.float64)
    _, index = np.unique(np.asarray(run), return_inverse=True)
    most = np.zeros(int(index.max()) + 1)
    np.maximum.at(most, index, seen)
    return np.asarray(seen > share * most[index])


def borrowed(fit: Fit, names: Sequence[str]) -> dict[str, float]:
    """Parameters of a related family's fit, to pass as `fixed` where data are few.

    Raises:
        UsageError: the fit has no such parameter.
    """
    unknown = [name for name in names if name not in fit.params]
    if unknown:
        raise UsageError(f"the fit has parameters {list(fit.params)}, but got {unknown}.")
    return {name: fit.params[name] for name in names}
