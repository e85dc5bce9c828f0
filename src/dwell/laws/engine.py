"""Fits a law to rows: starts, searches, evidence, held-out check, verdict.

All starts are searched at once, roughly; those that differ are polished to rounding. What the fit
then says of itself (how many starts came to the best objective, which other optima there are, the
condition of the Hessian, standard errors) is computed from those searches, not assumed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from dwell.errors import UsageError
from dwell.laws.declaration import Declared, namespace
from dwell.laws.fit import Fit, HeldOut, Optimum, errors_of
from dwell.laws.problem import Problem, problem_of
from dwell.laws.rows import Rows, check_enough
from dwell.laws.solver import Solution
from dwell.laws.spaces import BoolArray, FloatArray, space_of
from dwell.laws.starts import Start, starting_points
from dwell.laws.verdict import judge

#: Searches made from the grid: four fifths are its best points, the others spread over it.
NUM_STARTS = 50
_REACHED = 1e-4
_MOST_POLISHED = 8
_MOST_REPEATS = 8
_CURVATURE_SAMPLES = 400


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How to fit.

    Attributes:
        loss: "huber", "squares", or None for the law's own.
        delta: Huber's threshold in the space's units; None takes the law's own, or 1e-3.
        space: where residuals live; None takes the law's own.
        starts: "grid", a number of random points, or a list of parameters by name.
        fixed: parameters held at values.
        tied: pairs of parameters that are equal.
        scale: "fixed", or "joint" to fit the residuals' scale too.
        level: coverage of intervals.
        seed: of random starts and samples.
        spare: distinct rows that must be there beyond the free parameters.
    """

    loss: str | None = None
    delta: float | None = None
    space: str | None = None
    starts: str | int | Sequence[Start] = "grid"
    fixed: Mapping[str, float] = field(default_factory=dict)
    tied: Sequence[tuple[str, str]] = ()
    scale: str = "fixed"
    level: float = 0.9
    seed: int = 0
    spare: int = 0

    def threshold(self, law: Declared) -> float | None:
        """Huber's threshold; None for squares.

        Raises:
            UsageError: an unknown loss, or a delta that is not positive.
        """
        loss = self.loss or ("huber" if self.delta or law.delta else "squares")
        if loss not in ("huber", "squares"):
            raise UsageError(f'`loss` must be "huber" or "squares", but got {loss!r}.')
        if loss == "squares":
            return None
        delta = law.delta or 1e-3 if self.delta is None else self.delta
        if not delta > 0:
            raise UsageError(f"`delta` must be more than 0, but got {delta}.")
        return delta


def fit_rows(
    law: Declared,
    rows: Rows,
    options: Options,
    *,
    holdout: BoolArray | None = None,
    flat: bool = False,
) -> Fit:
    """Fit a law to checked rows.

    Args:
        law: the law.
        rows: its data.
        options: how.
        holdout: `[n]` rows to keep out of the fit and compare with its predictions.
        flat: whether constant columns are allowed; else they are refused.

    Raises:
        UsageError: too few rows, constant columns, unknown parameters or options, or no start
            at which the formula holds.
    """
    if options.scale not in ("fixed", "joint"):
        raise UsageError(f'`scale` must be "fixed" or "joint", but got {options.scale!r}.')
    space = space_of(options.space or law.space)
    kept = rows if holdout is None else rows.take(~holdout)
    joint = options.scale == "joint"
    delta = options.threshold(law)
    if joint and delta is None:
        raise UsageError("a joint scale needs the Huber loss: with squares it changes nothing.")
    problem, inputs, target = problem_of(
        law, kept, space, delta=delta, joint=joint, fixed=options.fixed, tied=options.tied
    )
    num_free = problem.coordinates.num_free
    check_enough(law, kept, num_free, spare=options.spare, flat=flat or bool(options.fixed))
    slope = np.abs(space.slope(target))
    points = starting_points(
        problem.coordinates,
        inputs,
        target,
        kept.weights * slope**2,
        starts=options.starts,
        seed=options.seed,
    )
    if isinstance(options.starts, str):
        points = _spread(problem, points, NUM_STARTS)
    best, optima, reached = _searched(problem, points)
    fit = _described(problem, best, optima, (len(points), reached), options)
    if holdout is not None and holdout.any():
        fit = replace(fit, holdout=held_out(fit, rows.take(holdout)))
    return fit


def _start_values(problem: Problem, points: FloatArray) -> FloatArray:
    """Objectives `[G]` at starts; infinite where the formula does not hold."""
    values = np.full(len(points), np.inf)
    size = max(1, 200_000 // max(1, problem.model.size))
    for begin in range(0, len(points), size):
        part = slice(begin, begin + size)
        with np.errstate(all="ignore"):
            residual = problem.targets - problem.model.value(points[part])
            clipped = np.clip(residual, -problem.delta, problem.delta)
            loss = (clipped * (residual - 0.5 * clipped)) @ problem.rows.weights
        values[part] = np.where(np.isfinite(loss), loss, np.inf)
    return values


def _spread(problem: Problem, points: FloatArray, most: int) -> FloatArray:
    """At most that many starts: four fifths the best, the others evenly down the ranking."""
    if len(points) <= most:
        return points
    order = np.argsort(_start_values(problem, points), kind="stable")
    best = order[: most * 4 // 5]
    rest = order[most * 4 // 5 :]
    chosen = rest[np.linspace(0, len(rest) - 1, most - len(best)).astype(int)]
    return np.asarray(points[np.concatenate([best, chosen])])


def _searched(
    problem: Problem, points: FloatArray
) -> tuple[tuple[FloatArray, float, bool], list[Optimum], int]:
    """The best coordinates, all distinct optima, and how many starts came to the best."""
    rough = _rough(problem, points)
    if not np.isfinite(rough.objective).any():
        raise UsageError(
            f"law `{problem.law.name}` holds at none of its {len(points)} starts for these data: "
            "give `starts`, or check the units of the columns."
        )
    groups = _alike(problem, rough.objective, rough.free)
    # What ends far above the best is no rival, and a search stuck in a flat corner takes long.
    near = 1.5 * float(np.min(rough.objective)) + 1e-6 * _null(problem)
    groups = [group for group in groups if rough.objective[group[0]] <= near]
    chosen = np.array([group[0] for group in groups[:_MOST_POLISHED]])
    solved = _polished(problem, rough.free[chosen])
    order = np.argsort(solved.objective, kind="stable")
    lowest = float(solved.objective[order[0]])
    scale = abs(lowest) + 1e-9 * _null(problem)
    # Polished ends with the same objective are one optimum, be it a point or a flat valley.
    levels: list[tuple[float, int, int]] = []
    for index in order[np.isfinite(solved.objective[order])]:
        value, count = float(solved.objective[index]), len(groups[index])
        if levels and value - levels[-1][0] <= _REACHED * scale:
            levels[-1] = (levels[-1][0], levels[-1][1], levels[-1][2] + count)
        else:
            levels.append((value, int(index), count))
    optima = [_optimum(problem, solved.free[index], count) for _, index, count in levels]
    best = levels[0][1]
    return (solved.free[best], lowest, bool(solved.converged[best])), optima, levels[0][2]


def _optimum(problem: Problem, free: FloatArray, starts: int) -> Optimum:
    params = problem.coordinates.to_caller(free[None])[0]
    named = dict(zip(problem.coordinates.names, params.tolist(), strict=True))
    return Optimum(objective=problem.objective(free).value, params=named, starts=starts)


def _polished(problem: Problem, free: FloatArray) -> Solution:
    """Solutions to rounding; those that creep along a flat valley again and again."""
    solved = problem.solve(free)
    for _ in range(_MOST_REPEATS):
        rows = np.flatnonzero(~solved.converged & np.isfinite(solved.objective))
        if not len(rows):
            break
        again = problem.solve(solved.free[rows])
        solved.free[rows], solved.objective[rows] = again.free, again.objective
        solved.converged[rows] = again.converged
    return solved


def _rough(problem: Problem, points: FloatArray) -> Solution:
    """Rough solutions from all starts; from wider Huber thresholds too where few agree."""
    direct = problem.solve(points, rough=True)
    lowest = float(np.min(direct.objective))
    agree = direct.objective <= lowest * (1.0 + 1e-3) + 1e-9 * _null(problem)
    if len(points) == 1 or np.mean(agree) >= 0.5 or not np.isfinite(problem.delta):
        return direct
    again = problem.solve(problem.approach(points), rough=True)
    better = again.objective < direct.objective
    return Solution(
        np.where(better[:, None], again.free, direct.free),
        np.minimum(again.objective, direct.objective),
        np.where(better, again.converged, direct.converged),
    )


def _null(problem: Problem) -> float:
    """The objective of a constant."""
    residual = problem.targets - np.median(problem.targets)
    clipped = np.clip(residual, -problem.delta, problem.delta)
    return float(np.sum(problem.rows.weights * clipped * (residual - 0.5 * clipped)))


def _alike(problem: Problem, objective: FloatArray, free: FloatArray) -> list[list[int]]:
    """Starts grouped by where they ended, best first.

    Ends are alike if their objectives are the same within 1e-3 and their coordinates within a
    fifth.
    """
    floor = 1e-9 * _null(problem)
    groups: list[list[int]] = []
    for index in np.argsort(objective, kind="stable"):
        value, here = float(objective[index]), free[index]
        if not np.isfinite(value):
            break
        for group in groups:
            first = objective[group[0]]
            apart = np.max(np.abs(here - free[group[0]]) / (1.0 + np.abs(here)))
            if value - first <= 1e-3 * abs(first) + floor and apart <= 0.2:
                group.append(int(index))
                break
        else:
            groups.append([int(index)])
    return groups


def _described(
    problem: Problem,
    best: tuple[FloatArray, float, bool],
    optima: list[Optimum],
    counts: tuple[int, int],
    options: Options,
) -> Fit:
    free, _, converged = best
    made, rows = problem.coordinates, problem.rows
    covariance, condition = _covariance(problem, free)
    residuals = problem.residuals(free)
    z = problem.targets - residuals / problem.unit
    scale = made.scales.get(problem.law.target, 1.0)
    predicted = np.asarray(problem.space.inverse(z) * scale, np.float64)
    rivals = sum(
        1 for o in optima[1:] if o.objective - optima[0].objective <= 0.02 * abs(o.objective)
    )
    verdict, reasons = judge(
        made,
        free,
        np.sqrt(np.maximum(np.diag(covariance), 0.0)),
        condition=condition,
        num_rows=int(np.sum(rows.weights > 0)),
        share_at_best=counts[1] / counts[0],
        converged=converged,
        rivals=rivals,
    )
    return Fit(
        law=problem.law,
        names=made.names,
        values=made.to_caller(free[None])[0],
        samples=_drawn(problem, free, covariance, options.seed),
        samples_from="curvature",
        level=options.level,
        objective=problem.objective(free),
        optima=tuple(optima),
        num_starts=counts[0],
        starts_at_best=counts[1],
        converged=converged,
        condition=condition,
        residuals=residuals,
        r2=_r2(rows.target, predicted, rows.weights),
        deviance=problem.deviance(free),
        num_free=made.num_free,
        errors=errors_of(rows.target, predicted),
        holdout=None,
        ranges={k: (float(v.min()), float(v.max())) for k, v in rows.inputs.items()},
        groups=rows.groups,
        verdict=verdict,
        reasons=reasons,
        problem=problem,
        free=free,
    )


def _r2(observed: FloatArray, predicted: FloatArray, weights: FloatArray) -> float:
    mean = np.average(observed, weights=weights)
    total = float(np.sum(weights * (observed - mean) ** 2))
    return 1.0 - float(np.sum(weights * (observed - predicted) ** 2)) / total if total else np.nan


def _covariance(problem: Problem, free: FloatArray) -> tuple[FloatArray, float]:
    """Sandwich covariance `[F, F]` of the coordinates, and the condition of the Hessian.

    Coordinates on a bound are held: their variance is 0. Directions in which the objective does
    not rise get the variance of one that hardly does.
    """
    with np.errstate(all="ignore"):
        hessian, spread = problem.curvature(free)
    margin = 1e-6 * (1.0 + np.abs(free))
    made = problem.coordinates
    loose = (free > made.low + margin) & (free < made.high - margin)
    usable = np.isfinite(hessian).all() and np.isfinite(spread).all()
    if not loose.any() or not usable:
        return np.zeros((len(free), len(free))), (1.0 if usable else np.inf)
    ids = np.flatnonzero(loose)
    inner, middle = hessian[np.ix_(ids, ids)], spread[np.ix_(ids, ids)]
    size = np.abs(np.diag(inner))
    size = np.sqrt(np.maximum(size, 1e-16 * size.max() + 1e-30))
    values, vectors = np.linalg.eigh(inner / np.outer(size, size))
    top = max(float(values.max()), 1e-12)
    condition = top / max(float(values.min()), 1e-18 * top)
    inverse = (vectors / np.maximum(values, 1e-14)) @ vectors.T / np.outer(size, size)
    covariance = np.zeros_like(hessian)
    covariance[np.ix_(ids, ids)] = inverse @ middle @ inverse
    return covariance, float(condition)


def _drawn(problem: Problem, free: FloatArray, covariance: FloatArray, seed: int) -> FloatArray:
    """`[R, S]` parameters drawn from the normal approximation, within bounds."""
    made = problem.coordinates
    rng = np.random.default_rng(seed)
    values, vectors = np.linalg.eigh(covariance)
    root = vectors * np.sqrt(np.maximum(values, 0.0))
    noise = rng.standard_normal((_CURVATURE_SAMPLES, len(free))) @ root.T
    widest = 60.0 + np.abs(free)
    moved = np.clip(free + np.clip(noise, -widest, widest), made.low, made.high)
    with np.errstate(all="ignore"):
        return np.nan_to_num(made.to_caller(moved), posinf=1e300, neginf=-1e300)


def held_out(fit: Fit, rows: Rows) -> HeldOut:
    """Predictions of a fit on other rows, and their errors.

    Raises:
        UsageError: a row belongs to a group that was not fitted.
    """
    columns = {}
    index = rows.group_index
    for name in fit.law.params:
        if name in fit.names:
            columns[name] = fit.values[[fit.names.index(name)], None]
        else:
            assert index is not None
            slots = [fit.names.index(f"{name}[{group}]") for group in rows.groups]
            columns[name] = fit.values[np.array(slots)[index]][None]
    with np.errstate(all="ignore"):
        raw = fit.law.predict(namespace(dict(rows.inputs)), namespace(columns))
    predicted = np.array(np.broadcast_to(raw, (1, len(rows))), np.float64)[0]
    return HeldOut(
        inputs=rows.inputs,
        observed=rows.target,
        predicted=predicted,
        errors=errors_of(rows.target, predicted),
    )


def mask_of(holdout: npt.ArrayLike | None, count: int) -> BoolArray | None:
    """A mask `[n]` of held-out rows, checked.

    Raises:
        UsageError: another length, or nothing left on one side.
    """
    if holdout is None:
        return None
    mask = np.asarray(holdout, np.bool_)
    if mask.shape != (count,):
        raise UsageError(f"`holdout` must be a mask of {count} rows, but got shape {mask.shape}.")
    if mask.all() or not mask.any():
        raise UsageError(
            f"`holdout` must hold some rows and leave some, but it holds {mask.sum()} of {count}."
        )
    return mask
