"""What more draws would bring, predicted from few: success rates of questions and coverage.

Questions differ in how often a draw is right. From the counts of a few draws of each question
follows a posterior over spreads of these rates (`dwell.laws.rate_shapes`), and from it the chance
that a question which is still unsolved will be solved by further draws:

    P(solved by k draws | none right in n) = 1 - E[(1-p)^k] / E[(1-p)^n]

The posterior over spreads is the uncertainty of parameters and of families; the coin flips of the
questions come on top. Bands hold all three.

Draws of a question must be exchangeable, but questions may have unequal numbers of draws, also
where sampling stopped at a number of successes (PassUntil, metrics.md 3.3): the likelihood is
that of the draws and does not depend on the rule that stopped them. The plug-in rate c/n does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from dwell.errors import UsageError
from dwell.laws.rate_shapes import FAMILIES, Grid, Spreads, grid_for, posterior_spreads
from dwell.metrics.estimators import pass_at_k

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

# Futures that are drawn for a band: its ends are quantiles with a standard error below 0.7 % of
# probability.
_NUM_FUTURES = 2000
# Spreads with less weight than this, all together a hundred-thousandth, cannot be seen.
_NEGLIGIBLE = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """A predicted number with its band.

    Attributes:
        value: the expected value.
        low: lower end of the equal-tailed band.
        high: upper end.
        level: probability that the band is to hold.
    """

    value: float
    low: float
    high: float
    level: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SuccessRates:
    """The posterior over spreads of success rates, and what it predicts.

    Attributes:
        num_samples: `[P]` seen draws of each question.
        num_correct: `[P]` right ones among them.
        families: probability of each family given the counts.
        grid: `G` rates.
        masses: `[M, G]` spreads: the probability of each rate.
        weights: `[M]` probability of each spread.
    """

    num_samples: IntArray
    num_correct: IntArray
    families: Mapping[str, float]
    grid: Grid
    masses: FloatArray
    weights: FloatArray

    @property
    def mean(self) -> float:
        """Expected success rate of one draw on a fresh question, in `[0, 1]`."""
        return float(self.weights @ (self.masses @ np.exp(self.grid.log_hit)))

    def predict(
        self,
        k: npt.ArrayLike,
        *,
        same_questions: bool = True,
        level: float = 0.9,
        num_questions: int | None = None,
    ) -> Forecast:
        """Coverage with `k` draws of each question (pass@k), with its band.

        Args:
            k: draws of each question, the seen ones included; with `same_questions` also `[P]`.
            same_questions: predict the very questions that were seen. A question with a right
                draw counts as solved; one with n >= k seen draws has the exact `pass_at_k` of
                these. Else predict questions that are drawn afresh from the same spread.
            level: probability that the band is to hold.
            num_questions: number of fresh questions; as many as were seen if None.

        Returns:
            Expected coverage and band, in `[0, 1]`. The band of the same questions is for the
            share that *is* solved once the draws are made.

        Raises:
            UsageError: `k` is negative or not whole, or has the wrong length, or `level` is not
                between 0 and 1, or `num_questions` is below 1.

        Examples:
            >>> rates = fit_success_rates([4] * 40, [0] * 20 + [1] * 8 + [2] * 7 + [4] * 5)
            >>> forecast = rates.predict(16)
            >>> 0.5 <= forecast.low < forecast.value < forecast.high <= 1
            True
        """
        budgets = checked_budgets(k, len(self.num_samples), level)
        if same_questions:
            return self._same(budgets, level)
        if np.ptp(budgets):
            raise UsageError(
                "Fresh questions have no order, so `k` must be one number, but got one for each "
                "question. Ask for one budget at a time, or set same_questions=True."
            )
        size = len(budgets) if num_questions is None else num_questions
        if size < 1:
            raise UsageError(
                f"`num_questions` must be at least 1, but got {num_questions=}. "
                "Leave it out for as many as were seen."
            )
        return self._fresh(budgets[0], level, size)

    def chances(self, k: npt.ArrayLike) -> FloatArray:
        """`[P]` expected chance that each seen question is solved by `k` draws, `k` as above."""
        budgets = checked_budgets(k, len(self.num_samples))
        known, groups, index = self._open(budgets)
        expected = np.append(self.weights @ self._gains(groups), 0.0)  # 0: no question is open
        return np.where(np.isnan(known), expected[index], known)

    def tail_exponent(self, first: int = 1, last: int = 10_000, *, level: float = 0.9) -> Forecast:
        """Exponent b of `coverage = exp(-a k^-b)` over budgets from `first` to `last`.

        The slope of `log(-log coverage)` on `log k` at 20 budgets evenly spread in `log k`, for
        the coverage of fresh questions under each spread (Schaeffer et al., How Do Large Language
        Monkeys Get Their Power (Laws)?, 2025). For a beta spread it tends to the shape `a` as
        both ends grow; where a share of questions is never solved, it tends to 0.

        Args:
            first: smallest budget.
            last: largest budget, more than `first`.
            level: probability that the band is to hold.

        Raises:
            UsageError: `last` is not larger than `first`.
        """
        if not 1 <= first < last:
            raise UsageError(
                f"An exponent needs 1 <= `first` < `last`, but got {first=}, {last=}. "
                "Name the range of budgets, for example first=1, last=10_000."
            )
        k = np.unique(np.logspace(np.log10(first), np.log10(last), 20).astype(np.int64))
        coverage = 1.0 - self._misses(k.astype(np.float64))
        every = _slopes(k, coverage)
        low, high = _quantiles(every, level, self.weights)
        return Forecast(value=float(self.weights @ every), low=low, high=high, level=level)

    def posteriors(self) -> FloatArray:
        """`[P, G]` probability of each rate of the grid for each seen question."""
        pairs, index = _distinct(self.num_samples, self.num_correct)
        log_likelihood = self.grid.log_likelihood(*pairs.T.astype(np.float64))
        likelihood = np.exp(log_likelihood - log_likelihood.max(axis=1, keepdims=True))
        joint = likelihood * (self.weights @ self.masses)
        return np.asarray((joint / joint.sum(axis=1, keepdims=True))[index], np.float64)

    def draw_rates(self, rng: np.random.Generator, num: int) -> FloatArray:
        """`[num, P]` success rates of the seen questions, drawn from their joint posterior."""
        pairs, index = _distinct(self.num_samples, self.num_correct)
        log_likelihood = self.grid.log_likelihood(*pairs.T.astype(np.float64))
        likelihood = np.exp(log_likelihood - log_likelihood.max(axis=1, keepdims=True))
        rates = np.exp(self.grid.log_hit)
        drawn = np.empty((num, len(index)))
        for row, spread in enumerate(self._resampled(rng, num)):
            reached = np.cumsum(likelihood * self.masses[spread], axis=1)
            point = rng.random(len(index)) * reached[index, -1]
            drawn[row] = rates[(reached[index] <= point[:, None]).sum(axis=1)]
        return drawn

    def _same(self, budgets: IntArray, level: float) -> Forecast:
        known, groups, index = self._open(budgets)
        total = len(budgets)
        if not len(groups):
            share = float(known.mean())
            return Forecast(value=share, low=share, high=share, level=level)
        gains = self._gains(groups)
        sizes = np.bincount(index[np.isnan(known)], minlength=len(groups))
        sure = float(np.nansum(known))
        rng = np.random.default_rng(0)
        solved = rng.binomial(sizes, gains[self._resampled(rng, _NUM_FUTURES)]).sum(axis=1)
        low, high = _quantiles((sure + solved) / total, level)
        value = float(self.weights @ (gains @ sizes))
        return Forecast(value=(sure + value) / total, low=low, high=high, level=level)

    def _open(self, budgets: IntArray) -> tuple[FloatArray, IntArray, IntArray]:
        """What is known of each question, and for the others what their chances depend on.

        Returns:
            `[P]` known coverage or NaN; `[U, 2]` distinct pairs (seen draws, budget) of questions
            that are open; `[P]` each question's pair (0 where it is known).
        """
        known = np.where(self.num_correct > 0, 1.0, np.nan)
        enough = self.num_samples >= np.maximum(budgets, 1)
        known[enough] = _pass_at_k_each(
            self.num_samples[enough], self.num_correct[enough], budgets[enough]
        )
        known[budgets == 0] = 0.0
        is_open = np.isnan(known)
        groups, of_open = _distinct(self.num_samples[is_open], budgets[is_open])
        index = np.zeros(len(budgets), np.int64)
        index[is_open] = of_open
        return known, groups, index

    def _gains(self, groups: IntArray) -> FloatArray:
        """`[M, U]` chance that a question with no right draw in n is solved by k draws."""
        seen, budgets = groups.T.astype(np.float64)
        return 1.0 - self._misses(budgets) / np.maximum(self._misses(seen), 1e-300)

    def _misses(self, k: FloatArray) -> FloatArray:
        """`[M, K]` chance that `k` draws of a fresh question are all wrong, by spread."""
        return np.asarray(self.masses @ np.exp(k * self.grid.log_miss[:, None]), np.float64)

    def _fresh(self, k: int, level: float, num_questions: int) -> Forecast:
        coverage = np.clip(1.0 - self._misses(np.array([float(k)]))[:, 0], 0.0, 1.0)
        rng = np.random.default_rng(0)
        solved = rng.binomial(num_questions, coverage[self._resampled(rng, _NUM_FUTURES)])
        low, high = _quantiles(solved / num_questions, level)
        return Forecast(value=float(self.weights @ coverage), low=low, high=high, level=level)

    def _resampled(self, rng: np.random.Generator, num: int) -> IntArray:
        """`[num]` spreads, each as often as its weight says, in random order."""
        points = (np.arange(num) + rng.random()) / num
        reached = np.cumsum(self.weights)
        return rng.permutation(np.searchsorted(reached / reached[-1], points))


def checked_budgets(k: npt.ArrayLike, num_questions: int, level: float = 0.9) -> IntArray:
    """`k` as `[P]` whole draws of each question.

    Raises:
        UsageError: they are negative or not whole, or have the wrong length, or `level` is not
            between 0 and 1.
    """
    budgets = np.asarray(k, np.float64)
    if budgets.shape not in ((), (num_questions,)) or not np.all(_whole(budgets)):
        raise UsageError(
            f"`k` must be a whole number of draws, or one for each of the {num_questions} "
            f"questions, but got {k!r}. Ask for one budget at a time."
        )
    if not 0 < level < 1:
        raise UsageError(
            f"`level` must lie between 0 and 1, but got {level=}. Write 0.9 for 90 %."
        )
    return np.broadcast_to(budgets.astype(np.int64), (num_questions,))


def fit_success_rates(
    num_samples: npt.ArrayLike,
    num_correct: npt.ArrayLike,
    family: str | Sequence[str] = "auto",
) -> SuccessRates:
    """Infer how the success rates of questions are spread, from counts of few draws.

    Args:
        num_samples: `[P]` draws of each question; they may differ, and a question may have none.
        num_correct: `[P]` right ones among them.
        family: "auto" averages all of `rate_shapes.FAMILIES` by their evidence; a name, or
            several, restricts it.

    Returns:
        The posterior; the same for the same counts, and in whatever order.

    Raises:
        UsageError: there are no questions or no draws, counts are not whole or more were right
            than drawn, or a family is unknown.

    References:
        Schaeffer et al., "How Do Large Language Monkeys Get Their Power (Laws)?" (2025): coverage
        from the distribution of success rates, there a scaled beta or Kumaraswamy by maximum
        likelihood. Ours averages shapes and parameters instead.

    Examples:
        >>> rates = fit_success_rates([10] * 30, [0] * 10 + [3] * 10 + [9] * 10)
        >>> round(rates.mean, 1)
        0.4
    """
    n, c = _checked(num_samples, num_correct)
    names = _checked_families(family)
    pairs, index = _distinct(n, c)
    grid = grid_for(int(n.max()))
    log_likelihood = grid.log_likelihood(*pairs.T.astype(np.float64))
    multiplicity = np.bincount(index).astype(np.float64)
    found = [posterior_spreads(name, grid, log_likelihood, multiplicity) for name in names]
    shares = _shares(found)
    weights = np.concatenate([s * part.weights for s, part in zip(shares, found, strict=True)])
    kept = weights > _NEGLIGIBLE
    return SuccessRates(
        num_samples=n,
        num_correct=c,
        families=dict(zip(names, shares.tolist(), strict=True)),
        grid=grid,
        masses=np.concatenate([part.masses for part in found])[kept],
        weights=weights[kept] / weights[kept].sum(),
    )


def _shares(found: Sequence[Spreads]) -> FloatArray:
    """Posterior probability of each family, all equally likely before."""
    log_evidence = np.array([part.log_evidence for part in found])
    shares = np.exp(log_evidence - log_evidence.max())
    return np.asarray(shares / shares.sum(), np.float64)


def _checked(num_samples: npt.ArrayLike, num_correct: npt.ArrayLike) -> tuple[IntArray, IntArray]:
    n, c = np.asarray(num_samples, np.float64), np.asarray(num_correct, np.float64)
    if n.ndim != 1 or n.shape != c.shape:
        raise UsageError(
            "`num_samples` and `num_correct` must be lists of one number a question, but got "
            f"shapes {n.shape} and {c.shape}. Count each question's draws and right draws."
        )
    if not n.sum() > 0:
        raise UsageError(
            f"A fit needs at least one draw, but got {len(n)} questions with none. "
            "Record some draws first."
        )
    bad = ~(_whole(n) & _whole(c) & (c <= n))
    if bad.any():
        first = int(np.argmax(bad))
        raise UsageError(
            "Counts must be whole, with 0 <= right <= drawn, but question "
            f"{first} has {c[first]:g} right of {n[first]:g}. Grade each draw 0 or 1."
        )
    return n.astype(np.int64), c.astype(np.int64)


def _checked_families(family: str | Sequence[str]) -> tuple[str, ...]:
    names = (family,) if isinstance(family, str) else tuple(family)
    names = FAMILIES if names == ("auto",) else names
    unknown = [name for name in names if name not in FAMILIES]
    if unknown or not names:
        raise UsageError(
            f"`family` must be of {', '.join(FAMILIES)}, but got {family!r}. "
            'Use "auto" to average them all.'
        )
    return names


def _whole(counts: FloatArray) -> npt.NDArray[np.bool_]:
    """Where counts are whole, not negative and finite."""
    return np.asarray((counts >= 0) & (counts == np.floor(counts)) & np.isfinite(counts), bool)


def _distinct(first: IntArray, second: IntArray) -> tuple[IntArray, IntArray]:
    """Distinct pairs `[U, 2]` and each entry's pair `[P]`."""
    pairs, index = np.unique(np.stack([first, second], axis=1), axis=0, return_inverse=True)
    return pairs, np.asarray(index, np.int64).reshape(-1)


def _pass_at_k_each(n: IntArray, c: IntArray, k: IntArray) -> FloatArray:
    """`[P]` exact pass@k where each question has its own `k <= n`."""
    values = np.empty(len(n))
    for budget in np.unique(k):
        mine = k == budget
        values[mine] = pass_at_k(n[mine], c[mine], int(budget))
    return values


def _slopes(k: IntArray, coverage: FloatArray) -> FloatArray:
    """`[M]` negative slope of `log(-log coverage [M, K])` on `log k`."""
    log_k = np.log(k) - np.log(k).mean()
    inside = np.clip(coverage, 1e-300, 1.0 - 1e-15)
    return np.asarray(-np.log(-np.log(inside)) @ log_k / (log_k @ log_k), np.float64)


def _quantiles(
    values: FloatArray, level: float, weights: FloatArray | None = None
) -> tuple[float, float]:
    """Ends of the equal-tailed band that holds at least `level` of weighted values."""
    order = np.argsort(values)
    each = np.full(len(values), 1.0) if weights is None else weights
    reached = np.cumsum(each[order]) / each.sum()
    tail = 0.5 * (1.0 - level)
    at = np.searchsorted(reached, [tail, 1.0 - tail - 1e-12])
    low, high = values[order][np.minimum(at, len(values) - 1)]
    return float(low), float(high)
