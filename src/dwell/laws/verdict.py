"""Whether data determine a law's parameters, and if not, why: in words.

A parameter is judged in the coordinate that is solved for: an exponent as it is, a coefficient as
the size of its term in the middle of the data. (The coefficient A of A N^-alpha, which is the term
at N = 1, is always uncertain by the uncertainty of alpha times ln N.)
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dwell.laws.coordinates import Coordinates
from dwell.laws.declaration import Param
from dwell.laws.spaces import FloatArray

IDENTIFIED = "identified"
WEAKLY_IDENTIFIED = "weakly identified"
NOT_IDENTIFIED = "not identified"

_LARGEST_CONDITION = 1e8
_LEAST_STARTS = 0.05
_Z90 = 1.6449


def judge(
    coordinates: Coordinates,
    free: FloatArray,
    errors: FloatArray,
    *,
    condition: float,
    num_rows: int,
    share_at_best: float,
    converged: bool,
    rivals: int,
    ends: Sequence[tuple[float, float]] | None = None,
) -> tuple[str, tuple[str, ...]]:
    """The verdict and its reasons.

    Args:
        coordinates: of the fit.
        free: `[F]` best coordinates.
        errors: `[F]` their standard errors.
        condition: of the Hessian with unit diagonal.
        num_rows: rows fitted.
        share_at_best: of the starts.
        converged: whether the search came to an end.
        rivals: other optima within 2 % of the best objective.
        ends: of the intervals of the coordinates' parameters, to be told; None computes them.

    Returns:
        "identified" without reasons; "weakly identified" or "not identified" with them.
    """
    rank, reasons = 0, []
    if num_rows <= len(free):
        rank, reasons = 1, ["as many parameters as rows: nothing is left to contradict it"]
    for index, name in enumerate(coordinates.free_names):
        param = coordinates.law.params[name.split("[")[0]]
        level, reason = _parameter(param, name, free, float(errors[index]), index, coordinates)
        if reason is None and level:
            low, high = ends[index] if ends else _ends(coordinates, free, index, name, errors)
            reason = f"{name} may lie anywhere from {low:.3g} to {high:.3g}"
        rank = max(rank, level)
        if reason:
            reasons.append(reason)
    if condition > _LARGEST_CONDITION:
        rank = max(rank, 1)
        reasons.append(f"a valley: the condition number is {condition:.1e}")
    if share_at_best < _LEAST_STARTS:
        rank = max(rank, 1)
        reasons.append(f"only {share_at_best:.0%} of the starts reach the best objective")
    if not converged:
        rank = max(rank, 1)
        reasons.append("the search did not come to an end within its iterations")
    if rivals:
        rank = max(rank, 1)
        reasons.append(f"{rivals} other optimum within 2 % of the best objective")
    return (IDENTIFIED, WEAKLY_IDENTIFIED, NOT_IDENTIFIED)[rank], tuple(reasons)


def _parameter(
    param: Param,
    name: str,
    free: FloatArray,
    error: float,
    index: int,
    coordinates: Coordinates,
) -> tuple[int, str | None]:
    value, low, high = free[index], coordinates.low[index], coordinates.high[index]
    shown = float(coordinates.to_caller(free[None])[0, coordinates.names.index(name)])
    margin = 1e-6 * (1.0 + abs(value))
    at_low, at_high = value <= low + margin, value >= high - margin
    if ("lower" in param.empty_ends and at_low) or ("upper" in param.empty_ends and at_high):
        return 2, f"{name} runs to the end of its range ({shown:.3g})"
    if at_low or at_high:
        return 1, f"{name} is at its bound ({shown:.3g})"
    if not np.isfinite(error):
        return 2, f"{name} can be anything: the objective is flat in it"
    width = 2 * _Z90 * error / param.tolerance
    if param.transform == "identity" and not param.absolute:
        width /= max(abs(value), 1e-300)
    return (0 if width <= 1 else 2 if width > 4 else 1), None


def _ends(
    coordinates: Coordinates, free: FloatArray, index: int, name: str, errors: FloatArray
) -> tuple[float, float]:
    reach = _Z90 * float(errors[index])
    slot = coordinates.names.index(name)
    rows = np.tile(free, (2, 1))
    rows[0, index] = max(rows[0, index] - reach, coordinates.low[index])
    rows[1, index] = min(rows[1, index] + reach, coordinates.high[index])
    with np.errstate(all="ignore"):
        low, high = coordinates.to_caller(rows)[:, slot]
    return float(low), float(high)
