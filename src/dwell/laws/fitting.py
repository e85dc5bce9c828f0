"""Fits a law to the smaller budgets, refits it on resampled problems, checks the larger ones.

The objective is weighted least squares in accuracy, within the bounds of the parameters, with
weight `1 / (se^2 + floor^2)`: `se` is the standard error over problems at that budget, the floor
a tenth of the largest, so that a budget at which nearly all problems agree does not decide alone.

The accuracies of one study at different budgets come from the same problems and draws and are
highly correlated, so residuals say nothing of uncertainty. The band therefore comes from refits
on resampled *problems*, all of which are solved at once: a Levenberg-Marquardt iteration whose
arrays carry a leading axis of problems to solve (starts, or resamples). A few hundred refits take
some ten milliseconds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TypedDict, Unpack

import numpy as np
import numpy.typing as npt

from dwell.errors import UsageError
from dwell.laws.base import (
    IDENTIFIED,
    NOT_IDENTIFIED,
    WEAKLY_IDENTIFIED,
    Estimate,
    Fit,
    FloatArray,
    Holdout,
    Law,
    Param,
)
from dwell.laws.testtime import LAWS

_LEAST_BUDGETS = 4
_LEAST_FITTED = 3
_MAX_ITERATIONS = 200
# Differences of held-out error below a tenth, or below 0.2 points of accuracy, do not rank laws.
_EVEN_SHARE, _EVEN_POINTS = 0.1, 0.002


class FitOptions(TypedDict, total=False):
    """The keyword arguments of `fit`."""

    standard_errors: npt.ArrayLike | None
    holdout_from: float | None
    resamples: npt.ArrayLike | None
    num_resamples: int
    level: float
    seed: int


def fit(
    law: Law | str,
    k: npt.ArrayLike,
    values: npt.ArrayLike,
    *,
    standard_errors: npt.ArrayLike | None = None,
    holdout_from: float | None = None,
    resamples: npt.ArrayLike | None = None,
    num_resamples: int = 200,
    level: float = 0.95,
    seed: int = 0,
) -> Fit:
    """Fit a law to accuracy against budget.

    Args:
        law: a law or its name in `LAWS`.
        k: `[K]` budgets in draws, at least 4 different ones, at least 1 each.
        values: `[P, K]` one value of each problem at each budget (as the estimators of
            `dwell.metrics` give), or `[K]` means if nothing else is known.
        standard_errors: `[K]`, for means: their standard errors, taken as independent. Without
            them the scatter about the curve stands in, which needs more budgets than parameters.
        holdout_from: budgets from here on are held out; infinity holds out none. None holds out
            the largest third, at least one, and fits at least three.
        resamples: `[R, P]` weights of problems in each resample, to share those of other curves
            (`Resamples.weights`); None draws `num_resamples` from `seed`.
        num_resamples: refits for the band.
        level: nominal coverage of bands and intervals.
        seed: of the resamples; a fit is a function of its arguments.

    Returns:
        `Fit`.

    Raises:
        UsageError: unknown law; fewer than 4 budgets or fewer than 3 to fit; NaN; shapes that do
            not match; means without standard errors where the scatter cannot stand in.

    Examples:
        >>> k = [1, 2, 4, 8, 16, 32]
        >>> curve = [0.8 * (1 - 0.7**n) for n in k]
        >>> fitted = fit("ttspm", k, curve, standard_errors=[0.01] * 6)
        >>> fitted.params.round(6).tolist(), fitted.saturation(0.01).value
        ([0.8, 0.3], 9.0)
    """
    law = _known(law)
    budgets, table = _checked(k, values)
    fitted = _split(budgets, holdout_from)
    _check_freedom(law, int(np.sum(fitted)))
    if table.ndim == 2:
        weights = _problem_weights(resamples, len(table), num_resamples, seed)
        mean = table.mean(axis=0)
        means = weights @ table / weights.sum(axis=1, keepdims=True)
        error = table.std(axis=0, ddof=1) / np.sqrt(len(table))
    else:
        mean, error = table, _given_errors(law, budgets, table, fitted, standard_errors)
        noise = np.random.default_rng(seed).standard_normal((num_resamples, len(budgets)))
        means = mean + error * noise
    root_weights = _root_weights(error[fitted])
    seen, target = budgets[fitted], mean[fitted]
    starts = np.clip(law.starts(seen, target), law.low, law.high)
    tries, objectives = solve(law, seen, np.tile(target, (len(starts), 1)), root_weights, starts)
    best = int(np.argmin(objectives))
    params = tries[best]
    begin = np.tile(params, (len(means), 1))
    samples, _ = solve(law, seen, means[:, fitted], root_weights, begin)
    num_problems = len(table) if table.ndim == 2 else 0
    flat = table.ndim == 2 and not np.any(error > 0)
    result = Fit(
        law=law,
        params=params,
        samples=samples,
        k=seen,
        observed=target,
        standard_errors=error[fitted],
        objective=float(objectives[best]),
        aicc=_aicc(float(objectives[best]), len(seen), len(law.params)),
        holdout=None,
        num_problems=num_problems,
        # Four is the square of the usual normal quantile: Wilson's upper end for 0 of P.
        unseen_share=4.0 / (num_problems + 4.0) if flat else 0.0,
        level=level,
        verdict=IDENTIFIED,
        reasons=(),
    )
    return _judged(_with_holdout(result, budgets[~fitted], mean[~fitted], means[:, ~fitted]))


def choose(
    laws: Sequence[Law | str],
    k: npt.ArrayLike,
    values: npt.ArrayLike,
    **options: Unpack[FitOptions],
) -> tuple[Fit, ...]:
    """Fit several laws and rank them, best first.

    The law with the smallest held-out error leads; laws that predict as well within a tenth, or
    within 0.2 points of accuracy, are put in order of AICc on the fitted budgets. Laws with more
    parameters than there are budgets to fit are left out while any other is left.

    Args:
        laws: laws or names, at least one.
        k: as for `fit`.
        values: as for `fit`.
        options: the keyword arguments of `fit`; the same resamples serve all laws.

    Returns:
        A `Fit` for each law, best first.

    Raises:
        UsageError: as `fit`, or no laws.
    """
    if not laws:
        raise UsageError(f"`laws` must name at least one of {sorted(LAWS)}, but got none.")
    known = [_known(law) for law in laws]
    num_fitted = int(np.sum(_split(_checked(k, values)[0], options.get("holdout_from"))))
    simple = [law for law in known if len(law.params) <= num_fitted]
    fits = [fit(law, k, values, **options) for law in simple or known]
    errors = [one.holdout.rmse if one.holdout is not None else 0.0 for one in fits]
    even = max(min(errors) * (1 + _EVEN_SHARE), min(errors) + _EVEN_POINTS)
    ranked = sorted(
        zip(errors, fits, strict=True),
        key=lambda pair: (0, pair[1].aicc, pair[0]) if pair[0] <= even else (1, pair[0], 0.0),
    )
    return tuple(one for _, one in ranked)


def solve(
    law: Law, k: FloatArray, targets: FloatArray, root_weights: FloatArray, starts: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Bounded weighted least squares for many targets at once.

    Levenberg-Marquardt with a projection: parameters on a bound that want to go beyond it are
    held for the step, and steps are cut at the bounds.

    Args:
        law: the law.
        k: `[F]` budgets.
        targets: `[B, F]` accuracies, one row for each fit.
        root_weights: `[F]` square roots of the weights.
        starts: `[B, D]` within the bounds.

    Returns:
        Parameters `[B, D]` and the weighted sums of squares `[B]`.
    """
    params = starts.copy()
    residual = root_weights * (targets - law.function(k, params))
    objective = np.sum(residual**2, axis=1)
    damping = np.full(len(params), 1e-3)
    live = np.arange(len(params))
    for _ in range(_MAX_ITERATIONS):
        here = params[live]
        proposal = _step(law, k, here, residual[live], root_weights, damping[live])
        after = root_weights * (targets[live] - law.function(k, proposal))
        value = np.sum(after**2, axis=1)
        better = value < objective[live]
        moved = np.max(np.abs(proposal - here) / (np.abs(here) + 1e-8), axis=1)
        gained = objective[live] - value
        # Done: no step worth taking, or an improvement far below what the data resolve.
        done = (moved < 1e-10) | (better & (gained <= 1e-14 * objective[live]))
        done |= damping[live] > 1e12
        took = live[better]
        params[took], residual[took], objective[took] = (
            proposal[better],
            after[better],
            value[better],
        )
        damping[live] = np.where(better, damping[live] / 5.0, damping[live] * 4.0)
        live = live[~done]
        if len(live) == 0:
            break
    return params, objective


def _step(
    law: Law,
    k: FloatArray,
    params: FloatArray,
    residual: FloatArray,
    root_weights: FloatArray,
    damping: FloatArray,
) -> FloatArray:
    """Proposed parameters `[B, D]` of one damped Gauss-Newton step within the bounds."""
    slopes = root_weights[:, None] * law.jacobian(k, params)
    gradient = np.einsum("bfd,bf->bd", slopes, residual)
    curvature = np.einsum("bfd,bfe->bde", slopes, slopes)
    held = ((params <= law.low) & (gradient < 0)) | ((params >= law.high) & (gradient > 0))
    free = ~held
    curvature *= free[:, :, None] & free[:, None, :]
    diagonal = np.einsum("bdd->bd", curvature)
    scale = np.maximum(diagonal, 1e-12 * diagonal.max(axis=1, keepdims=True) + 1e-30)
    index = np.arange(params.shape[1])
    curvature[:, index, index] += damping[:, None] * scale + held
    step = np.linalg.solve(curvature, (gradient * free)[..., None])[..., 0]
    return np.asarray(np.clip(params + step, law.low, law.high), np.float64)


def _known(law: Law | str) -> Law:
    if isinstance(law, Law):
        return law
    if law not in LAWS:
        raise UsageError(f"`law` must be one of {sorted(LAWS)}, but got {law!r}.")
    return LAWS[law]


def _checked(k: npt.ArrayLike, values: npt.ArrayLike) -> tuple[FloatArray, FloatArray]:
    """Budgets in rising order and values with their columns in the same order."""
    budgets, table = np.asarray(k, np.float64), np.asarray(values, np.float64)
    if budgets.ndim != 1 or table.ndim not in (1, 2) or table.shape[-1] != len(budgets):
        raise UsageError(
            "`values` must be `[P, K]` or `[K]` for `[K]` budgets, but got shapes "
            f"{table.shape} and {budgets.shape}."
        )
    if len(np.unique(budgets)) < max(_LEAST_BUDGETS, len(budgets)) or not np.all(budgets >= 1):
        raise UsageError(
            f"a law needs at least {_LEAST_BUDGETS} different budgets of at least 1 draw, but got "
            f"k={budgets.tolist()}. Measure more budgets, for example 1, 2, 4, 8."
        )
    if table.ndim == 2 and len(table) < 2:
        raise UsageError("a law needs at least 2 problems, but got 1. Record more problems.")
    if not np.all(np.isfinite(table)):
        missing = budgets[~np.isfinite(np.atleast_2d(table)).all(axis=0)]
        raise UsageError(
            f"`values` must be finite, but some are not at k={missing.tolist()}. "
            "Leave out budgets beyond the number of recorded draws."
        )
    order = np.argsort(budgets)
    return budgets[order], table[..., order]


def _split(budgets: FloatArray, holdout_from: float | None) -> npt.NDArray[np.bool_]:
    """`[K]`: which budgets are fitted."""
    if holdout_from is None:
        num_fitted = max(_LEAST_FITTED, len(budgets) - max(1, len(budgets) // 3))
        return np.arange(len(budgets)) < num_fitted
    fitted = budgets < holdout_from
    if np.sum(fitted) < _LEAST_FITTED:
        raise UsageError(
            f"a law is fitted to at least {_LEAST_FITTED} budgets, but only {np.sum(fitted)} lie "
            f"below holdout_from={holdout_from:g}. Raise it."
        )
    return np.asarray(fitted)


def _check_freedom(law: Law, num_fitted: int) -> None:
    if num_fitted < len(law.params):
        raise UsageError(
            f"law `{law.name}` needs at least {len(law.params)} budgets to fit, but got "
            f"{num_fitted} below those held out. Measure more budgets or choose a law with "
            "fewer parameters."
        )


def _problem_weights(
    resamples: npt.ArrayLike | None, num_problems: int, num_resamples: int, seed: int
) -> FloatArray:
    if resamples is None:
        rng = np.random.default_rng(seed)
        shares = np.full(num_problems, 1.0 / num_problems)
        return rng.multinomial(num_problems, shares, size=num_resamples).astype(np.float64)
    weights = np.asarray(resamples, np.float64)
    if weights.ndim != 2 or weights.shape[1] != num_problems:
        raise UsageError(
            f"`resamples` must be `[R, P]` weights of {num_problems} problems, but got shape "
            f"{weights.shape}. Resample the problems that the values belong to."
        )
    return weights


def _given_errors(
    law: Law,
    budgets: FloatArray,
    mean: FloatArray,
    fitted: npt.NDArray[np.bool_],
    standard_errors: npt.ArrayLike | None,
) -> FloatArray:
    """Standard errors of means: as given, or from the scatter about the curve."""
    if standard_errors is not None:
        error = np.asarray(standard_errors, np.float64)
        if error.shape != mean.shape or not np.all(error > 0):
            raise UsageError(
                "`standard_errors` must be a positive number for each budget, but got "
                f"{error.tolist()}."
            )
        return error
    freedom = int(np.sum(fitted)) - len(law.params)
    if freedom < 1:
        raise UsageError(
            f"law `{law.name}` has {len(law.params)} parameters and {np.sum(fitted)} budgets to "
            "fit, which leaves no scatter to judge by. Pass `standard_errors`, the values of "
            "each problem, or more budgets."
        )
    seen, target = budgets[fitted], mean[fitted]
    starts = np.clip(law.starts(seen, target), law.low, law.high)
    rows = np.tile(target, (len(starts), 1))
    _, objectives = solve(law, seen, rows, np.ones(len(seen)), starts)
    return np.full(len(mean), np.sqrt(max(float(objectives.min()), 0.0) / freedom))


def _root_weights(error: FloatArray) -> FloatArray:
    largest = float(error.max())
    if largest == 0:
        return np.ones(len(error))
    return np.asarray(1.0 / np.sqrt(error**2 + (0.1 * largest) ** 2), np.float64)


def _aicc(objective: float, num_points: int, num_params: int) -> float:
    left = num_points - num_params - 1
    if left <= 0:
        return float("inf")
    return objective + 2.0 * num_params + 2.0 * num_params * (num_params + 1) / left


def _with_holdout(result: Fit, k: FloatArray, observed: FloatArray, means: FloatArray) -> Fit:
    if len(k) == 0:
        return result
    band = result.predict(k)
    tail = (1.0 - result.level) / 2.0
    paired = means - result.law.function(k, result.samples)
    error_low, error_high = np.quantile(paired, [tail, 1.0 - tail], axis=0)
    error = observed - band.value
    holdout = Holdout(
        k=k,
        observed=observed,
        predicted=band.value,
        low=band.low,
        high=band.high,
        error_low=np.minimum(error_low, error),
        error_high=np.maximum(error_high, error),
        rmse=float(np.sqrt(np.mean(error**2))),
        max_error=float(np.max(np.abs(error))),
    )
    return replace(result, holdout=holdout)


def _judged(result: Fit) -> Fit:
    """Say whether the data determine the parameters, and if not, why."""
    rank, reasons = 0, []
    if not np.any(result.standard_errors > 0) and result.num_problems:
        rank, reasons = 2, ["all problems behave alike at every budget"]
    if result.num_points <= len(result.law.params):
        rank = max(rank, 1)
        reasons.append("as many parameters as fitted budgets: nothing is left to contradict it")
    for param, value in zip(result.law.params, result.params, strict=True):
        interval = result.param_interval(param.name)
        width = (interval.high - interval.low) / param.tolerance
        if param.relative:
            width /= max(abs(value), 1e-300)
        if _on_empty_end(param, float(value)):
            rank = 2
            reasons.append(f"{param.name} runs to the end of its range ({value:.3g})")
        elif width > 1:
            rank = max(rank, 2 if width > 4 else 1)
            reasons.append(_wide(param.name, interval))
    verdict = (IDENTIFIED, WEAKLY_IDENTIFIED, NOT_IDENTIFIED)[rank]
    return replace(result, verdict=verdict, reasons=tuple(reasons))


def _on_empty_end(param: Param, value: float) -> bool:
    near_low = value <= param.low + 1e-6 * abs(param.low)
    near_high = value >= param.high - 1e-6 * abs(param.high)
    return ("low" in param.empty_ends and near_low) or ("high" in param.empty_ends and near_high)


def _wide(name: str, interval: Estimate) -> str:
    return f"{name} may lie anywhere from {interval.low:.3g} to {interval.high:.3g}"
