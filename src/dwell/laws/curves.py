"""Laws of test time on measured curves: accuracies of problems at rising budgets.

The accuracies of one study at different budgets come from the same problems and draws and are
highly correlated, so residuals say nothing of uncertainty. The band therefore comes from refits
on resampled *problems*, all solved at once. The objective is weighted least squares in accuracy,
with weight `1 / (se^2 + floor^2)`: `se` is the standard error over problems at that budget, the
floor a tenth of the largest, so that a budget at which nearly all problems agree does not decide
alone. The larger budgets are held out.

Letters: `P` problems, `K` budgets, `F` fitted ones, `H` held out, `R` resamples, `S` parameters.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypedDict, Unpack

import numpy as np
import numpy.typing as npt

from dwell.errors import UsageError
from dwell.laws.engine import Options, fit_rows
from dwell.laws.fit import Estimate, Fit
from dwell.laws.law import Law
from dwell.laws.registry import law_of
from dwell.laws.rows import Rows
from dwell.laws.spaces import BoolArray, FloatArray
from dwell.laws.verdict import IDENTIFIED, NOT_IDENTIFIED, WEAKLY_IDENTIFIED, judge

_LEAST_BUDGETS = 4
_LEAST_FITTED = 3
# Differences of held-out error below a tenth, or below 0.2 points of accuracy, do not rank laws.
_EVEN_SHARE, _EVEN_POINTS = 0.1, 0.002


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Band:
    """A curve with its band: budgets `k [K]`, `value`, `low` and `high` `[K]`."""

    k: FloatArray
    value: FloatArray
    low: FloatArray
    high: FloatArray
    level: float


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LargerBudgets:
    """The larger budgets, which the fit has not seen.

    Attributes:
        k: `[H]` budgets.
        observed: `[H]` measured accuracy.
        predicted: `[H]` the fitted curve there.
        low: `[H]` lower end of the band.
        high: `[H]` upper end of the band.
        error_low: `[H]` lower end of the interval of observed minus predicted, from refits on
            the same resamples of problems as the observation (paired).
        error_high: `[H]` upper end.
        rmse: root mean square of observed minus predicted, in accuracy.
        max_error: largest absolute error.
    """

    k: FloatArray
    observed: FloatArray
    predicted: FloatArray
    low: FloatArray
    high: FloatArray
    error_low: FloatArray
    error_high: FloatArray
    rmse: float
    max_error: float

    @property
    def in_band(self) -> BoolArray:
        """`[H]`: whether each observed accuracy lies within the band."""
        return (self.low <= self.observed) & (self.observed <= self.high)

    @property
    def explained(self) -> BoolArray:
        """`[H]`: whether the choice of problems can explain the error (its interval has 0)."""
        return (self.error_low <= 0.0) & (self.error_high >= 0.0)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CurveFit:
    """A law fitted to the smaller budgets of a curve and checked on the larger ones.

    Attributes:
        fit: the fit; its samples are refits on resampled problems.
        k: `[F]` fitted budgets.
        observed: `[F]` accuracies there.
        standard_errors: `[F]` their standard errors, as used for the weights.
        holdout: the check, or None if nothing was held out.
        num_problems: problems behind the means; 0 if only means were given.
        unseen_share: share of problems that may behave otherwise although none of those seen
            did; more than 0 only if no accuracy varies between resamples, and then part of
            every band.
        verdict: "identified", "weakly identified" or "not identified".
        reasons: why not more, a sentence each.
    """

    fit: Fit
    k: FloatArray
    observed: FloatArray
    standard_errors: FloatArray
    holdout: LargerBudgets | None
    num_problems: int
    unseen_share: float
    verdict: str
    reasons: tuple[str, ...]

    @property
    def law(self) -> Law:
        """The law."""
        assert isinstance(self.fit.law, Law)
        return self.fit.law

    @property
    def params(self) -> dict[str, float]:
        """Parameters by name."""
        return self.fit.params

    @property
    def samples(self) -> FloatArray:
        """`[R, S]` parameters refitted on resampled problems."""
        return self.fit.samples

    @property
    def covariance(self) -> FloatArray:
        """`[S, S]` covariance of the parameters over the refits."""
        return np.atleast_2d(np.cov(self.samples, rowvar=False))

    @property
    def num_points(self) -> int:
        """Number of fitted budgets."""
        return len(self.k)

    @property
    def aicc(self) -> float:
        """`2 objective + 2 S + 2 S (S+1) / (F-S-1)`, errors being known; infinite at F <= S+1."""
        num, left = len(self.fit.values), self.num_points - len(self.fit.values) - 1
        if left <= 0:
            return float("inf")
        return 2.0 * self.fit.objective.value + 2.0 * num + 2.0 * num * (num + 1) / left

    def interval(self, name: str, level: float | None = None) -> Estimate:
        """A parameter with its percentile interval."""
        return self.fit.interval(name, level)

    def predict(self, k: npt.ArrayLike, level: float | None = None) -> Band:
        """The curve at budgets `k` with its band.

        The band is the percentile range of the curves refitted on resampled problems: it says
        how far the *mean over such problems* may be off if the law holds, budget by budget.
        Accuracies are cut at 0 and 1, which some forms leave far from their data.

        Args:
            k: budgets in draws, scalar or `[K]`, at least 1; need not be fitted ones.
            level: nominal coverage; None takes the fit's own.
        """
        budgets = np.atleast_1d(np.asarray(k, np.float64))
        band = self.fit.predict(budgets, level)
        value, low, high, unseen = band.value, band.low, band.high, self.unseen_share
        if unseen > 0:
            low = np.minimum(low, (1.0 - unseen) * value)
            high = np.maximum(high, (1.0 - unseen) * value + unseen)
        value, low, high = (np.clip(curve, 0.0, 1.0) for curve in (value, low, high))
        return Band(k=budgets, value=value, low=low, high=high, level=band.level)

    def asymptote(self, level: float | None = None) -> Estimate:
        """Accuracy with unlimited draws, if the law holds that far; see `answers.asymptote`."""
        return self.fit.asymptote("k", level=level)

    def saturation(self, eps: float = 0.01, level: float | None = None) -> Estimate:
        """Budget from which no further draw adds more than `eps`; see `answers.saturation`."""
        return self.fit.saturation(eps, "k", level=level)


class CurveOptions(TypedDict, total=False):
    """The keyword arguments of `fit_curve`."""

    standard_errors: npt.ArrayLike | None
    holdout_from: float | None
    resamples: npt.ArrayLike | None
    num_resamples: int
    level: float
    seed: int


def fit_curve(
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
) -> CurveFit:
    """Fit a law of test time to accuracy against budget.

    Args:
        law: a law with the one input `k`, or its name.
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
        `CurveFit`.

    Raises:
        UsageError: unknown law; fewer than 4 budgets or fewer than 3 to fit; NaN; shapes that do
            not match; means without standard errors where the scatter cannot stand in.

    Examples:
        >>> k = [1, 2, 4, 8, 16, 32]
        >>> curve = [0.8 * (1 - 0.7**n) for n in k]
        >>> fitted = fit_curve("ttspm", k, curve, standard_errors=[0.01] * 6)
        >>> {name: round(value, 6) for name, value in fitted.params.items()}
        {'F_max': 0.8, 'p': 0.3}
        >>> fitted.saturation(0.01).value
        9.0
    """
    law = law_of(law) if isinstance(law, str) else law
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
    fit = _fitted(law, budgets[fitted], mean[fitted], _weights(error[fitted]), level)
    num_problems = len(table) if table.ndim == 2 else 0
    flat = table.ndim == 2 and not np.any(error > 0)
    result = CurveFit(
        fit=replace(
            fit, samples=fit.refit(targets=means[:, fitted]), samples_from="resampled problems"
        ),
        k=budgets[fitted],
        observed=mean[fitted],
        standard_errors=error[fitted],
        holdout=None,
        num_problems=num_problems,
        # Four is the square of the usual normal quantile: Wilson's upper end for 0 of P.
        unseen_share=4.0 / (num_problems + 4.0) if flat else 0.0,
        verdict=IDENTIFIED,
        reasons=(),
    )
    return _judged(_with_holdout(result, budgets[~fitted], mean[~fitted], means[:, ~fitted]))


def choose(
    laws: Sequence[Law | str],
    k: npt.ArrayLike,
    values: npt.ArrayLike,
    **options: Unpack[CurveOptions],
) -> tuple[CurveFit, ...]:
    """Fit several laws to a curve and rank them, best first.

    The law with the smallest held-out error leads; laws that predict as well within a tenth, or
    within 0.2 points of accuracy, are put in order of AICc on the fitted budgets. Laws with more
    parameters than there are budgets to fit are left out while any other is left.

    Args:
        laws: laws or names, at least one.
        k: as for `fit_curve`.
        values: as for `fit_curve`.
        options: the keyword arguments of `fit_curve`; the same resamples serve all laws.

    Returns:
        A `CurveFit` for each law, best first.

    Raises:
        UsageError: as `fit_curve`, or no laws.
    """
    if not laws:
        raise UsageError("`laws` must name at least one law, but got none.")
    known = [law_of(law) if isinstance(law, str) else law for law in laws]
    num_fitted = int(np.sum(_split(_checked(k, values)[0], options.get("holdout_from"))))
    simple = [law for law in known if len(law.params) <= num_fitted]
    fits = [fit_curve(law, k, values, **options) for law in simple or known]
    errors = [one.holdout.rmse if one.holdout is not None else 0.0 for one in fits]
    even = max(min(errors) * (1 + _EVEN_SHARE), min(errors) + _EVEN_POINTS)
    ranked = sorted(
        zip(errors, fits, strict=True),
        key=lambda pair: (0, pair[1].aicc, pair[0]) if pair[0] <= even else (1, pair[0], 0.0),
    )
    return tuple(one for _, one in ranked)


def _fitted(law: Law, k: FloatArray, mean: FloatArray, weights: FloatArray, level: float) -> Fit:
    rows = Rows(inputs={"k": k}, target=mean, weights=weights)
    options = Options(loss="squares", space="linear", level=level)
    return fit_rows(law, rows, options, flat=True)


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


def _split(budgets: FloatArray, holdout_from: float | None) -> BoolArray:
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
    if law.inputs != ("k",):
        raise UsageError(f"law `{law.name}` has inputs {list(law.inputs)}, not the budget `k`.")
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
    fitted: BoolArray,
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
    seen = budgets[fitted]
    rough = _fitted(law, seen, mean[fitted], np.ones(len(seen)), 0.95)
    return np.full(len(mean), np.sqrt(max(2.0 * rough.objective.value, 0.0) / freedom))


def _weights(error: FloatArray) -> FloatArray:
    largest = float(error.max())
    if largest == 0:
        return np.ones(len(error))
    return np.asarray(1.0 / (error**2 + (0.1 * largest) ** 2), np.float64)


def _with_holdout(
    result: CurveFit, k: FloatArray, observed: FloatArray, means: FloatArray
) -> CurveFit:
    if len(k) == 0:
        return result
    band = result.predict(k)
    tail = (1.0 - result.fit.level) / 2.0
    paired = means - result.fit.curves({"k": k}, result.samples)
    error_low, error_high = np.quantile(paired, [tail, 1.0 - tail], axis=0)
    error = observed - band.value
    holdout = LargerBudgets(
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


def _judged(result: CurveFit) -> CurveFit:
    """Say whether the data determine the parameters, by the refits on resampled problems."""
    fit = result.fit
    assert fit.problem is not None
    intervals = [fit.interval(name) for name in fit.names]
    widths = np.array([one.high - one.low for one in intervals])
    verdict, reasons = judge(
        fit.problem.coordinates,
        fit.free,
        # `judge` takes a parameter's interval to be 3.29 standard errors wide.
        widths / 3.2898,
        condition=1.0,
        num_rows=result.num_points,
        share_at_best=1.0,
        converged=True,
        rivals=0,
        ends=[(one.low, one.high) for one in intervals],
    )
    if not np.any(result.standard_errors > 0) and result.num_problems:
        return replace(
            result,
            verdict=NOT_IDENTIFIED,
            reasons=("all problems behave alike at every budget", *reasons),
        )
    if verdict == IDENTIFIED and reasons:
        verdict = WEAKLY_IDENTIFIED
    return replace(result, verdict=verdict, reasons=reasons)
