"""Success rates where the number of draws is not fixed: sample until solved, or revise in rounds.

Letters: `P` problems, `T` rounds.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy

from dwell.errors import UsageError
from dwell.metrics.arrays import BoolArray, FloatArray, as_counts
from dwell.metrics.intervals import clopper_pearson


@dataclass(frozen=True, slots=True, kw_only=True)
class PassRate:
    """Success rates of problems that were sampled until they had enough successes.

    Attributes:
        value: `[P]` successes over draws: maximum likelihood, biased upwards.
        unbiased: `[P]`; NaN where a single success was asked for.
        low: `[P]` lower end of the interval.
        high: `[P]` upper end; without any success a one-sided bound at the same level.
        censored: `[P]`, stopped by the limit on draws.
        level: nominal coverage.
    """

    value: FloatArray
    unbiased: FloatArray
    low: FloatArray
    high: FloatArray
    censored: BoolArray
    level: float


def pass_until(
    num_draws: npt.ArrayLike, num_successes: npt.ArrayLike, target: int, *, level: float = 0.95
) -> PassRate:
    """Success rate of each problem, sampled until `target` successes or a limit (PassUntil).

    With r successes at draw K the estimate is `r / K`, and `(r-1) / (K-1)` is unbiased. The exact
    interval has ends `BetaInv(a/2; r, K-r+1)` and `BetaInv(1-a/2; r, K-r)`. A run that the limit
    stopped at s < r successes is a binomial sample: `s / K` (which keeps the whole rule unbiased)
    with Clopper and Pearson's interval, and for s = 0 the upper bound `1 - a^(1/K)`, about 3/K.

    Args:
        num_draws: K, scalar or `[P]`, at least 1.
        num_successes: successes among them, scalar or `[P]`, at most `target`; fewer means
            that the limit stopped the run.
        target: r, successes after which sampling stops, at least 1.
        level: nominal coverage.

    Returns:
        `PassRate` over problems; a data set's value is the mean over them.

    Raises:
        UsageError: bad counts, more successes than draws or than `target`.

    References:
        Hu et al., "Predicting Emergent Abilities with Infinite Resolution Evaluation" (2023),
        for the protocol; Girshick, Mosteller and Savage (1946) for the unbiased estimates of
        bounded inverse sampling.

    Examples:
        >>> rate = pass_until([137], [2], 2)
        >>> [round(float(x[0]), 6) for x in (rate.value, rate.unbiased, rate.low, rate.high)]
        [0.014599, 0.007353, 0.001773, 0.040286]
    """
    k = np.atleast_1d(as_counts("num_draws", num_draws))
    s = np.atleast_1d(as_counts("num_successes", num_successes))
    k, s = np.broadcast_arrays(k, s)
    if target < 1 or np.any(k < 1) or np.any(s > np.minimum(k, target)):
        raise UsageError(
            "each problem needs at least one draw and at most `target` successes among them, "
            f"but got {s.tolist()} of {k.tolist()} with {target=}. Sampling stops at the target."
        )
    censored = s < target
    bounds = clopper_pearson(s, k, level=level)
    tail = (1 - level) / 2
    inverse_high = scipy.special.betaincinv(target, np.maximum(k - target, 1), 1 - tail)
    inverse_high = np.where(k == target, 1.0, inverse_high)
    none = 1.0 - (1.0 - level) ** (1.0 / k)
    unbiased = np.full(k.shape, np.nan)
    if target > 1:
        unbiased = np.where(censored, s / k, (s - 1) / np.maximum(k - 1, 1))
    return PassRate(
        value=s / k,
        unbiased=unbiased,
        low=bounds.low,  # BetaInv(a/2; s, k-s+1) under either rule
        high=np.where(s == 0, none, np.where(censored, bounds.high, inverse_high)),
        censored=censored,
        level=level,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Revisions:
    """A chain of rounds in which right answers may also be lost.

    Attributes:
        first: accuracy of the first round.
        gained: u, probability that a wrong answer becomes right in the next round.
        lost: v, probability that a right one becomes wrong.
    """

    first: float
    gained: float
    lost: float

    @property
    def limit(self) -> float:
        """Accuracy after many rounds, `u / (u + v)`; the first one if nothing ever changes."""
        total = self.gained + self.lost
        return self.gained / total if total > 0 else self.first

    def accuracy(self, rounds: npt.ArrayLike) -> FloatArray:
        """Accuracy after so many further rounds, `pi + (F_0 - pi) (1 - u - v)^t`.

        Examples:
            >>> Revisions(first=0.4, gained=0.3, lost=0.1).accuracy([1, 2, 3]).round(6).tolist()
            [0.54, 0.624, 0.6744]
        """
        t = np.asarray(rounds, np.float64)
        value = self.limit + (self.first - self.limit) * (1.0 - self.gained - self.lost) ** t
        return np.asarray(value, np.float64)


def fit_revisions(correct: npt.ArrayLike) -> Revisions:
    """Rates of gaining and losing right answers, from adjacent rounds of recorded revisions.

    `u` = share of wrong rounds followed by a right one, `v` = share of right rounds followed by
    a wrong one, over all pairs of adjacent rounds. One chain for all problems: where problems
    differ the measured curve flattens earlier than this one says.

    Args:
        correct: `[P, T]`, 1 or 0 in each round; NaN = not run (stopped).

    Returns:
        `Revisions`; a rate is NaN where there was nothing to gain or to lose.

    Raises:
        UsageError: not `[P, T]` of 0, 1 or NaN.

    References:
        The chain with a way back of "Scaling over Scaling: Exploring Test-Time Scaling
        Plateau in Large Reasoning Models" (2025), whose own chain is absorbing.

    Examples:
        >>> fit_revisions([[0, 1, 1], [0, 0, 1], [1, 0, 0]])
        Revisions(first=0.3333333333333333, gained=0.5, lost=0.5)
    """
    marks = np.asarray(correct, np.float64)
    if marks.ndim != 2 or not np.all(np.isnan(marks) | np.isin(marks, (0.0, 1.0))):
        raise UsageError(
            f"`correct` must be `[P, T]` of 0, 1 or NaN, but got shape {marks.shape}. "
            "Give one row for each problem, one column for each round."
        )
    before, after = marks[:, :-1], marks[:, 1:]
    known = ~np.isnan(before) & ~np.isnan(after)
    wrong, right = after[known & (before == 0)], after[known & (before == 1)]
    first = marks[:, 0][~np.isnan(marks[:, 0])] if marks.shape[1] else marks.ravel()
    return Revisions(first=_mean(first), gained=_mean(wrong), lost=1.0 - _mean(right))


def _mean(values: FloatArray) -> float:
    return float(values.mean()) if len(values) else float("nan")
