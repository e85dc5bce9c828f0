"""Profile of one parameter: how the objective rises when it is held and the others are refitted.

Letters: `K` values of the parameter held.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import scipy

from dwell.errors import UsageError
from dwell.laws.solver import solve
from dwell.laws.spaces import FloatArray

if TYPE_CHECKING:
    from dwell.laws.fit import Fit

_POINTS, _REACH = 41, 4.0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Profile:
    """How the objective rises when one parameter is held: `values [K]`, `objective [K]`.

    `low` and `high` bound the values that the likelihood ratio at `level` does not reject;
    infinite where the grid ends first.
    """

    name: str
    values: FloatArray
    objective: FloatArray
    low: float
    high: float
    level: float


def profile(
    fit: Fit, name: str, values: npt.ArrayLike | None = None, level: float | None = None
) -> Profile:
    """How the objective rises when one parameter is held and the others are refitted.

    Args:
        fit: the fit.
        name: a parameter, in the coordinates of the data: coefficients are held at the size of
            their term in the middle of the data times the stated ratio.
        values: `[K]` values in the caller's units; None takes 41 within about four standard
            errors.
        level: of the likelihood-ratio interval; None takes the fit's own.

    Raises:
        UsageError: no such free parameter, or no data.
    """
    problem = fit.data("a profile")
    made = problem.coordinates
    if name not in made.free_names:
        raise UsageError(f"`name` must be one of {list(made.free_names)}, but got {name!r}.")
    level = fit.level if level is None else level
    index = made.free_names.index(name)
    slot = made.names.index(name)
    grid = _points(fit, index) if values is None else np.asarray(values, np.float64)
    row = np.tile(fit.values, (len(grid), 1))
    row[:, slot] = grid
    held = made.from_caller(row)[:, index]
    low = np.tile(made.low, (len(grid), 1))
    high = np.tile(made.high, (len(grid), 1))
    low[:, index] = high[:, index] = held
    starts = np.tile(fit.free, (len(grid), 1))
    starts[:, index] = held
    w, z = problem.rows.weights, problem.targets
    solved = solve(problem.model, z, w, problem.delta, starts, low=low, high=high)
    objective = solved.objective * problem.unit**2
    inside = np.flatnonzero(objective <= _bound(fit, level))
    at = grid[inside] if len(inside) else np.array([fit.values[slot]])
    ends = (len(inside) and inside[0] == 0, len(inside) and inside[-1] == len(grid) - 1)
    return Profile(
        name=name,
        values=grid,
        objective=objective,
        low=-np.inf if ends[0] else float(at.min()),
        high=np.inf if ends[1] else float(at.max()),
        level=level,
    )


def _points(fit: Fit, index: int) -> FloatArray:
    """Values of a free coordinate within four standard errors, in the caller's units."""
    problem = fit.data("a profile")
    made = problem.coordinates
    slot = made.names.index(made.free_names[index])
    center = made.to_caller(fit.free[None])[0, slot]
    hessian, spread = problem.curvature(fit.free)
    inverse = np.linalg.pinv(hessian)
    error = np.sqrt(max(float((inverse @ spread @ inverse)[index, index]), 1e-16))
    steps = np.linspace(-_REACH, _REACH, _POINTS) * error
    moved = np.tile(fit.free, (len(steps), 1))
    moved[:, index] = np.clip(moved[:, index] + steps, made.low[index], made.high[index])
    natural = made.natural(made.slots(moved))[:, slot]
    best = made.natural(made.slots(fit.free[None]))[0, slot]
    return np.unique(natural * (center / best if best else 1.0))


def _bound(fit: Fit, level: float) -> float:
    """The objective up to which a value is not rejected: n q ln(ratio) <= chi^2.

    Residuals whose loss grows as a power p have a likelihood in which the deviance is
    (2/p) n ln(objective): p is 2 for squares and falls to 1 as Huber's threshold shrinks.
    """
    problem = fit.data("a profile")
    residual = fit.residuals / problem.unit
    clipped = np.clip(residual, -problem.delta, problem.delta)
    base = float(np.sum(problem.rows.weights * clipped * (residual - 0.5 * clipped)))
    moment = float(np.sum(problem.rows.weights * clipped * residual))
    power = moment / base if base > 0 else 2.0
    rise = float(scipy.stats.chi2.ppf(level, 1)) * power / (2.0 * fit.num_rows)
    return float(base * np.exp(rise) * problem.unit**2)
