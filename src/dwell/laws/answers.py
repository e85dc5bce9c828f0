"""What a fit answers: limits, saturation points, inverses, crossings, optimal allocations.

Every answer is computed for the best parameters and for each of the fit's samples, and comes with
the percentile interval of the latter.

Letters: `B` sets of parameters, `K` points, `R` samples.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from dwell.errors import UsageError
from dwell.laws.declaration import namespace
from dwell.laws.spaces import FloatArray

if TYPE_CHECKING:
    from dwell.laws.fit import Estimate, Fit

_GRID = 400
_WIDEST = 1e12


def asymptote(
    fit: Fit,
    over: str | None = None,
    *,
    at: Mapping[str, float] | None = None,
    level: float | None = None,
) -> Estimate:
    """The limit for an input to infinity, if the law holds that far.

    Some forms take their limit for granted (`law.assumes`); the interval then has no width and
    is an assumption, not a finding. NaN where the form has no limit.

    Args:
        fit: the fit.
        over: the input that grows; None for the only one, or for all of them together.
        at: values of the other inputs.
        level: coverage; None takes the fit's own.
    """
    law = fit.law
    if over in law.limits or (over is None and len(law.inputs) == 1 and law.limits):
        rule = law.limits[over or law.inputs[0]]
        both = [np.asarray(rule(_params(fit, rows)), np.float64) for rows in _both(fit)]
        return fit.estimate(float(both[0][0]), np.broadcast_to(both[1], len(fit.samples)), level)
    if law.powers is None:
        return fit.estimate(np.nan, fit.samples[:, 0], level)
    growing = set(law.inputs) if over is None else {over}
    others = dict(at or {})
    kept = {k: v for k, v in law.powers.items() if not growing & set(v)}
    values = []
    for rows in _both(fit):
        p = _params(fit, rows)
        total = np.zeros(len(rows))
        for name, term in kept.items():
            part = np.array(getattr(p, name), np.float64)
            for source, power in term.items():
                if source not in others:
                    raise UsageError(f"`at` must give {source!r}, on which the limit depends.")
                own = str(power).lstrip("-")
                sign = -1.0 if str(power).startswith("-") else 1.0
                part = part * others[source] ** (sign * getattr(p, own))
            total = total + part
        values.append(total)
    return fit.estimate(float(values[0][0]), values[1], level)


def saturation(
    fit: Fit,
    eps: float = 0.01,
    over: str = "k",
    *,
    at: Mapping[str, float] | None = None,
    level: float | None = None,
) -> Estimate:
    """The point from which more of an input adds no more than `eps` to the target.

    For the number of draws `k` it counts: N* is the smallest N such that
    `|f(M+1) - f(M)| <= eps` for all M >= N. For other inputs it is the value from which doubling
    changes the target by at most `eps`.

    Args:
        fit: the fit.
        eps: change of the target, more than 0.
        over: the input.
        at: values of the other inputs.
        level: coverage; None takes the fit's own.

    Raises:
        UsageError: `eps` is not positive, or there is no such input.
    """
    if not eps > 0:
        raise UsageError(f"`eps` must be more than 0, but got {eps}. Try 0.01.")
    _check_input(fit, over)
    law = fit.law
    if law.saturation is not None and over == "k":
        best, samples = (law.saturation(_params(fit, rows), eps) for rows in _both(fit))
    elif over == "k":
        best, samples = (
            last_gain_above(_curve(fit, over, at), rows, eps, int(law.first))
            for rows in _both(fit)
        )
    else:
        best, samples = (_last_doubling(fit, rows, over, at, eps) for rows in _both(fit))
    return fit.estimate(float(np.ravel(best)[0]), np.asarray(samples, np.float64), level)


def _last_doubling(
    fit: Fit, rows: FloatArray, over: str, at: Mapping[str, float] | None, eps: float
) -> FloatArray:
    low, _ = fit.ranges[over]
    grid = np.geomspace(low, low * _WIDEST, 4 * _GRID)
    curve = _curve(fit, over, at)
    gain = np.abs(curve(2.0 * grid, rows) - curve(grid, rows))
    above = gain > eps
    last = above.shape[1] - 1 - np.argmax(above[:, ::-1], axis=1)
    result = np.where(above.any(axis=1), grid[np.minimum(last + 1, len(grid) - 1)], low)
    return np.where(above[:, -1], np.inf, result)


def invert(
    fit: Fit,
    target: float,
    over: str,
    *,
    at: Mapping[str, float] | None = None,
    bounds: tuple[float, float] | None = None,
    level: float | None = None,
) -> Estimate:
    """The least value of an input at which the law reaches a target; infinite if it never does.

    Args:
        fit: the fit.
        target: value of the target to reach.
        over: the input to solve for.
        at: values of the other inputs.
        bounds: range searched; None searches from a millionth of the data's least value to a
            million million times its largest.
        level: coverage; None takes the fit's own.

    Raises:
        UsageError: no such input, or others missing from `at`.
    """
    _check_input(fit, over)
    low, high = bounds or (fit.ranges[over][0] * 1e-6, fit.ranges[over][1] * _WIDEST)
    curve = _curve(fit, over, at)
    found = []
    for rows in _both(fit):
        roots = roots_of(lambda x, p: curve(x, p) - target, rows, (low, high))
        found.append(np.array([r[0] if len(r) else np.inf for r in roots]))
    return fit.estimate(float(found[0][0]), found[1], level)


@dataclass(frozen=True, slots=True, kw_only=True)
class Crossing:
    """Where two fitted curves meet.

    Attributes:
        at: value of the input, with its interval.
        value: the target there.
        in_data: whether it lies within the data of both fits.
        share: share of the sample pairs that cross at all in the range searched.
        first_leads_above: whether the first fit has the smaller target beyond the crossing.
    """

    at: Estimate
    value: float
    in_data: bool
    share: float
    first_leads_above: bool


def crossover(
    first: Fit,
    second: Fit,
    over: str,
    *,
    at: Mapping[str, float] | None = None,
    bounds: tuple[float, float] | None = None,
    level: float | None = None,
) -> tuple[Crossing, ...]:
    """All crossings of two fitted curves in a range; empty if there is none.

    Args:
        first: a fit.
        second: another, with the same target.
        over: the input along which curves are compared.
        at: values of the other inputs.
        bounds: range searched; None takes from the least to a hundred times the largest value
            of both tables.
        level: coverage; None takes that of the first.

    Raises:
        UsageError: an input that one of them has not.
    """
    for fit in (first, second):
        _check_input(fit, over)
    ranges = [fit.ranges[over] for fit in (first, second)]
    low, high = bounds or (min(r[0] for r in ranges), 100.0 * max(r[1] for r in ranges))
    if not 0 < low < high:
        raise UsageError(f"`bounds` must be positive and rising, but got {(low, high)}.")
    curves = _curve(first, over, at), _curve(second, over, at)
    width = len(first.values)

    def gap(x: FloatArray, rows: FloatArray) -> FloatArray:
        return curves[0](x, rows[:, :width]) - curves[1](x, rows[:, width:])

    best = np.concatenate([first.values, second.values])[None]
    count = min(len(first.samples), len(second.samples))
    pairs = np.concatenate([first.samples[:count], second.samples[:count]], axis=1)
    roots = roots_of(gap, best, (low, high))[0]
    sampled = roots_of(gap, pairs, (low, high))
    inner = (max(r[0] for r in ranges), min(r[1] for r in ranges))
    crossings = []
    for root in roots:
        near = np.array([r[np.argmin(np.abs(np.log(r / root)))] for r in sampled if len(r)])
        beyond = gap(np.array([min(root * 1.01, high)]), best)[0, 0]
        crossings.append(
            Crossing(
                at=first.estimate(float(root), near, level),
                value=float(curves[0](np.array([root]), best[:, :width])[0, 0]),
                in_data=bool(inner[0] <= root <= inner[1]),
                share=len(near) / max(1, count),
                first_leads_above=bool(beyond < 0),
            )
        )
    return tuple(crossings)


Function = Callable[[FloatArray, FloatArray], FloatArray]


def roots_of(
    function: Function, rows: FloatArray, bounds: tuple[float, float]
) -> list[FloatArray]:
    """Roots of `function(x [K], rows [B, S]) -> [B, K]` within bounds, for each row.

    Brackets on a logarithmic grid of 400 points, then bisection to rounding; two roots within
    one cell of the grid are not seen.
    """
    grid = np.geomspace(bounds[0], bounds[1], _GRID)
    values = function(grid, rows)
    sign = np.sign(values)
    exact = [grid[row == 0] for row in sign]
    flips = (sign[:, :-1] * sign[:, 1:]) < 0
    which, cell = np.nonzero(flips)
    low, high = np.log(grid[cell]), np.log(grid[cell + 1])
    left = sign[which, cell]
    for _ in range(60):
        middle = 0.5 * (low + high)
        here = _each(function, np.exp(middle), rows[which])
        same = np.sign(here) == left
        low, high = np.where(same, middle, low), np.where(same, high, middle)
    ends = np.exp(0.5 * (low + high))
    return [np.sort(np.concatenate([exact[b], ends[which == b]])) for b in range(len(rows))]


def _each(function: Function, x: FloatArray, rows: FloatArray) -> FloatArray:
    """`function` at a point of its own for each row: `x [B]`, `rows [B, S] -> [B]`."""
    return function(x[:, None], rows)[:, 0]


def last_gain_above(function: Function, rows: FloatArray, eps: float, first: int) -> FloatArray:
    """Smallest N >= `first` with `f(M+1) - f(M) <= eps` for all M >= N, for each row `[R, S]`.

    Accuracies lie in [0, 1], so gains above eps cannot go on beyond 1/eps draws of a concave
    curve; the search ends at 8/eps. It brackets the last such gain on a grid that holds all
    small budgets and halves the bracket, in which gains are taken to fall.
    """
    most = int(np.ceil(8.0 / eps)) + 2
    grid = np.unique(
        np.concatenate([np.arange(first, 65), np.geomspace(65, most + 65, 256)]).astype(np.int64)
    ).astype(np.float64)
    gains = function(grid + 1.0, rows) - function(grid, rows)
    above = gains > eps
    last = above.shape[1] - 1 - np.argmax(above[:, ::-1], axis=1)
    result = np.full(len(rows), float(first))
    some = above.any(axis=1)
    low, high = grid[last], grid[np.minimum(last + 1, len(grid) - 1)]
    high = np.where(last == len(grid) - 1, np.inf, high)
    searched = np.flatnonzero(some & np.isfinite(high))
    lower, upper, chosen = low[searched], high[searched], rows[searched]
    while np.any(upper - lower > 1):
        middle = np.floor((lower + upper) / 2.0)
        gain = _each(function, middle + 1.0, chosen) - _each(function, middle, chosen)
        lower = np.where(gain > eps, middle, lower)
        upper = np.where(gain > eps, upper, middle)
    result[searched] = upper
    result[some & ~np.isfinite(high)] = np.inf
    return result


def _both(fit: Fit) -> tuple[FloatArray, FloatArray]:
    return fit.values[None], fit.samples


def _params(fit: Fit, rows: FloatArray) -> Any:
    """Parameters as attributes, `[B]` each; grouped ones have no single value."""
    columns = {name: rows[:, i] for i, name in enumerate(fit.names)}
    return namespace(columns)


def _curve(fit: Fit, over: str, at: Mapping[str, float] | None) -> Function:
    """The law along one input, the others held."""
    others = {name: value for name, value in (at or {}).items() if name != over}
    missing = [name for name in fit.law.inputs if name not in (over, *others)]
    if missing:
        raise UsageError(
            f"law `{fit.law.name}` also depends on {missing}: give them in `at`, for example "
            f"at={{{missing[0]!r}: 1e9}}."
        )

    def curve(x: FloatArray, rows: FloatArray) -> FloatArray:
        return fit.curves({over: x, **others}, rows)

    return curve


def _check_input(fit: Fit, name: str) -> None:
    if name not in fit.law.inputs:
        raise UsageError(
            f"law `{fit.law.name}` has inputs {list(fit.law.inputs)}, but got {name!r}."
        )
