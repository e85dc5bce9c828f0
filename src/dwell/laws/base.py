"""What a law is, and what a fitted one can say: predictions, ceiling, saturation, how sure.

A law is data: a formula with named, bounded parameters and what follows from it. A fit is a law
with parameters and their bootstrap sample; everything it says comes with an interval from that
sample. How parameters are found is `dwell.laws.fitting`; the laws themselves are in files named
after what they describe (`testtime`).

Letters: `K` budgets, `F` fitted ones, `H` held out, `R` resamples, `D` parameters.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from dwell.errors import UsageError

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]

IDENTIFIED = "identified"
WEAKLY_IDENTIFIED = "weakly identified"
NOT_IDENTIFIED = "not identified"


@dataclass(frozen=True, slots=True, kw_only=True)
class Param:
    """A parameter of a law.

    Attributes:
        name: as in the formula.
        low: lower bound.
        high: upper bound.
        meaning: what it stands for, with its unit.
        tolerance: width of its interval up to which it counts as identified; up to four times
            this it is weakly identified, beyond it is not.
        relative: whether `tolerance` is a share of the value instead of absolute.
        empty_ends: bounds ("low", "high") on which an estimate says that the data do not
            determine the law, and not that the parameter has this value.
    """

    name: str
    low: float
    high: float
    meaning: str
    tolerance: float
    relative: bool = False
    empty_ends: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Law:
    """A parametric family of curves accuracy = f(budget).

    Attributes:
        name: key in the registry.
        formula: as text, for people.
        params: its parameters in the order of the arrays.
        function: `(k [K], params [..., D]) -> [..., K]`, pure; k may also be `[..., K]`, budgets
            of their own for each set of parameters.
        jacobian: `(k [K], params [..., D]) -> [..., K, D]`, its derivatives by the parameters.
        starts: `(k [F], mean [F]) -> [S, D]`, where a fit begins.
        asymptote: `params [..., D] -> [...]`, the limit for k to infinity; NaN where the form
            has none that means anything.
        saturation: `(params [..., D], eps) -> [...]`, the budget after which one more draw adds
            at most `eps`; None computes it from `function`.
        first_budget: 0 if the form holds for no draw at all (accuracy 0), else 1.
        paper: where the law comes from.
        equation: which equation of it, and where ours differs.
        assumes: what must hold for the law to be right; the ceiling it takes for granted.
    """

    name: str
    formula: str
    params: tuple[Param, ...]
    function: Callable[[FloatArray, FloatArray], FloatArray]
    jacobian: Callable[[FloatArray, FloatArray], FloatArray]
    starts: Callable[[FloatArray, FloatArray], FloatArray]
    asymptote: Callable[[FloatArray], FloatArray]
    saturation: Callable[[FloatArray, float], FloatArray] | None = None
    first_budget: int = 1
    paper: str
    equation: str
    assumes: str

    @property
    def low(self) -> FloatArray:
        """Lower bounds `[D]`."""
        return np.array([param.low for param in self.params])

    @property
    def high(self) -> FloatArray:
        """Upper bounds `[D]`."""
        return np.array([param.high for param in self.params])


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """A curve with its band.

    Attributes:
        k: `[K]` budgets in draws.
        value: `[K]` the fitted curve.
        low: `[K]` lower end of the band.
        high: `[K]` upper end of the band.
        level: nominal coverage of the band, at each budget by itself.
    """

    k: FloatArray
    value: FloatArray
    low: FloatArray
    high: FloatArray
    level: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A number that follows from a fit, with its interval; infinite ends are possible."""

    value: float
    low: float
    high: float
    level: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Holdout:
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """A law fitted to the smaller budgets and checked on the larger ones.

    Attributes:
        law: the law.
        params: `[D]` best parameters.
        samples: `[R, D]` parameters refitted on resampled data.
        k: `[F]` fitted budgets.
        observed: `[F]` accuracies there.
        standard_errors: `[F]` their standard errors, as used for the weights.
        objective: weighted sum of squared residuals at `params`.
        aicc: `objective + 2 D + 2 D (D+1) / (F-D-1)`; infinite where F <= D+1.
        holdout: the check, or None if nothing was held out.
        num_problems: problems behind the means; 0 if only means were given.
        unseen_share: share of problems that may behave otherwise although none of those seen
            did; more than 0 only if no accuracy varies between resamples, and then part of
            every band.
        level: default nominal coverage of bands and intervals.
        verdict: "identified", "weakly identified" or "not identified".
        reasons: why not more, one sentence each.
    """

    law: Law
    params: FloatArray
    samples: FloatArray
    k: FloatArray
    observed: FloatArray
    standard_errors: FloatArray
    objective: float
    aicc: float
    holdout: Holdout | None
    num_problems: int
    unseen_share: float
    level: float
    verdict: str
    reasons: tuple[str, ...]

    @property
    def named(self) -> dict[str, float]:
        """Parameters by name."""
        names = (param.name for param in self.law.params)
        return dict(zip(names, self.params.tolist(), strict=True))

    @property
    def covariance(self) -> FloatArray:
        """`[D, D]` covariance of the parameters over the refits."""
        return np.atleast_2d(np.cov(self.samples, rowvar=False))

    @property
    def num_points(self) -> int:
        """Number of fitted budgets."""
        return len(self.k)

    def param_interval(self, name: str, level: float | None = None) -> Estimate:
        """A parameter with its percentile interval.

        Raises:
            UsageError: the law has no parameter of this name.
        """
        names = [param.name for param in self.law.params]
        if name not in names:
            raise UsageError(f"law `{self.law.name}` has parameters {names}, but got {name!r}.")
        column = names.index(name)
        return self._estimate(float(self.params[column]), self.samples[:, column], level)

    def predict(self, k: npt.ArrayLike, level: float | None = None) -> Prediction:
        """The curve at budgets `k` with its band.

        The band is the percentile range of the curves refitted on resampled problems: it says
        how far the *mean over such problems* may be off if the law holds, budget by budget.
        Accuracies are cut at 0 and 1, which some forms leave far from their data.

        Args:
            k: budgets in draws, scalar or `[K]`, at least 1; need not be fitted ones.
            level: nominal coverage; None takes the fit's own.
        """
        level = self.level if level is None else level
        budgets = np.atleast_1d(np.asarray(k, np.float64))
        value = self.law.function(budgets, self.params)
        curves = self.law.function(budgets, self.samples)
        tail = (1.0 - level) / 2.0
        low, high = np.quantile(curves, [tail, 1.0 - tail], axis=0)
        unseen = self.unseen_share
        if unseen > 0:
            low = np.minimum(low, (1.0 - unseen) * value)
            high = np.maximum(high, (1.0 - unseen) * value + unseen)
        value, low, high = (np.clip(curve, 0.0, 1.0) for curve in (value, low, high))
        return Prediction(k=budgets, value=value, low=low, high=high, level=level)

    def asymptote(self, level: float | None = None) -> Estimate:
        """Accuracy with unlimited draws, if the law holds that far.

        Some forms take their ceiling for granted (`law.assumes`); the interval then has no
        width and is an assumption, not a finding. NaN where the form has no limit.
        """
        value = self.law.asymptote(self.params)
        return self._estimate(float(value), self.law.asymptote(self.samples), level)

    def saturation(self, eps: float = 0.01, level: float | None = None) -> Estimate:
        """Budget from which no further draw adds more than `eps` to the accuracy.

        N* is the smallest N such that `f(M+1) - f(M) <= eps` for all M >= N.

        Args:
            eps: accuracy per draw, more than 0.
            level: nominal coverage; None takes the fit's own.

        Raises:
            UsageError: `eps` is not positive.
        """
        if not eps > 0:
            raise UsageError(f"`eps` must be more than 0, but got {eps}. Try 0.01.")
        rule = self.law.saturation or self._saturation_by_search
        value = float(rule(self.params[None], eps)[0])
        return self._estimate(value, rule(self.samples, eps), level)

    def _saturation_by_search(self, params: FloatArray, eps: float) -> FloatArray:
        return last_gain_above(self.law.function, params, eps, self.law.first_budget)

    def _estimate(self, value: float, samples: FloatArray, level: float | None) -> Estimate:
        level = self.level if level is None else level
        if np.isnan(value):
            return Estimate(value=value, low=value, high=value, level=level)
        tail = (1.0 - level) / 2.0
        low, high = _rank(samples, tail), _rank(samples, 1.0 - tail)
        return Estimate(value=value, low=min(low, value), high=max(high, value), level=level)


def _rank(samples: FloatArray, share: float) -> float:
    """A quantile that is one of the samples: budgets are whole and may be infinite."""
    ordered = np.sort(samples)
    return float(ordered[max(0, int(np.ceil(share * len(ordered))) - 1)])


def last_gain_above(
    function: Callable[[FloatArray, FloatArray], FloatArray],
    params: FloatArray,
    eps: float,
    first: int,
) -> FloatArray:
    """Smallest N >= `first` with `f(M+1) - f(M) <= eps` for all M >= N, for each `params [R, D]`.

    Accuracies lie in [0, 1], so gains above eps cannot go on beyond 1/eps draws of a concave
    curve; the search ends at 8/eps. It brackets the last such gain on a grid that holds all
    small budgets and halves the bracket, in which gains are taken to fall.
    """
    most = int(np.ceil(8.0 / eps)) + 2
    grid = np.unique(
        np.concatenate([np.arange(first, 65), np.geomspace(65, most + 65, 256)]).astype(np.int64)
    ).astype(np.float64)
    gains = function(grid + 1.0, params) - function(grid, params)
    above = gains > eps
    last = above.shape[1] - 1 - np.argmax(above[:, ::-1], axis=1)
    result = np.full(len(params), float(first))
    some = above.any(axis=1)
    low, high = grid[last], grid[np.minimum(last + 1, len(grid) - 1)]
    high = np.where(last == len(grid) - 1, np.inf, high)
    searched = np.flatnonzero(some & np.isfinite(high))
    lower, upper, chosen = low[searched], high[searched], params[searched]
    while np.any(upper - lower > 1):
        middle = np.floor((lower + upper) / 2.0)
        values = function(np.stack([middle, middle + 1.0], axis=-1), chosen)
        gain = values[:, 1] - values[:, 0]
        lower = np.where(gain > eps, middle, lower)
        upper = np.where(gain > eps, upper, middle)
    result[searched] = upper
    result[some & ~np.isfinite(high)] = np.inf
    return result
