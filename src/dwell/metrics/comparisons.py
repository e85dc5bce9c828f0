"""Is one strategy better than another, and how many problems would it take to know?

Strategies are compared on the same problems and, through the ledger, on the same draws. The
difference of each problem is the datum: report it with its interval, not two bars that overlap.

Letters: `P` problems, `K` budgets, `R` resamples.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from math import ceil, sqrt

import numpy as np
import numpy.typing as npt
import scipy

from dwell.errors import UsageError
from dwell.metrics.arrays import FloatArray
from dwell.metrics.intervals import Interval, Resamples, bootstrap_interval

# 2^16 sign patterns take a few milliseconds; beyond, 20 000 random ones resolve p to 0.003.
_MOST_ENUMERATED = 16
# Sums of the same numbers in another order differ in the last digits: still as extreme.
_TOLERANCE = 1e-12


@dataclass(frozen=True, slots=True, kw_only=True)
class TestResult:
    """A p-value and how it was obtained.

    Attributes:
        p_value: two-sided, in (0, 1].
        exact: True where all outcomes were enumerated, False for a seeded Monte-Carlo test.
    """

    __test__ = False  # the name is the field's own; pytest must not collect it

    p_value: float
    exact: bool


def paired_difference(
    a: npt.ArrayLike, b: npt.ArrayLike, resamples: Resamples, *, level: float = 0.95
) -> Interval:
    """Mean of `a - b` over problems with its paired bootstrap interval, for all budgets.

    Problems (clusters) are resampled jointly for both. If the two agree on every problem the
    interval is not zero but as wide as the disagreement that may have been missed: see
    `bootstrap_interval`, here with bounds -1 and 1.

    Args:
        a: `[P]` or `[P, K]` values of one strategy, in `[0, 1]`.
        b: those of the other, same problems in the same order.
        resamples: of these problems.
        level: nominal coverage.

    Returns:
        `Interval` of scalars or `[K]`, in `[-1, 1]`; no difference is shown where it covers 0.

    Raises:
        UsageError: shapes differ.

    References:
        Miller, "Adding Error Bars to Evals" (2024), paired differences.

    Examples:
        >>> from dwell.metrics import resample_problems
        >>> a, b = [1, 1, 0, 1, 1, 0, 1, 1, 0, 1], [1, 0, 0, 1, 0, 0, 1, 1, 1, 0]
        >>> difference = paired_difference(a, b, resample_problems(10))
        >>> round(float(difference.value), 6), bool(difference.low < 0 < difference.high)
        (0.2, True)
    """
    first, second = np.asarray(a, np.float64), np.asarray(b, np.float64)
    if first.shape != second.shape:
        raise UsageError(
            "a paired difference needs the same problems and budgets on both sides, but got "
            f"shapes {first.shape} and {second.shape}. Keep the problems that both have."
        )
    return bootstrap_interval(first - second, resamples, level=level, bounds=(-1.0, 1.0))


def mcnemar(only_a: int, only_b: int) -> TestResult:
    """Exact McNemar test: are the problems that only one side got right split evenly?

    Two-sided binomial tail at 1/2, `min(1, 2 P(X <= min))` with `X ~ Binomial(a + b, 1/2)`.

    Args:
        only_a: problems that only the first got right.
        only_b: problems that only the second got right.

    Returns:
        `TestResult`; p = 1 where no problem tells them apart.

    References:
        McNemar, "Note on the Sampling Error of the Difference Between Correlated Proportions"
        (1947), in the exact binomial form.

    Examples:
        >>> mcnemar(3, 1).p_value
        0.625
    """
    if only_a < 0 or only_b < 0:
        raise UsageError(f"counts must be at least 0, but got {only_a=}, {only_b=}.")
    tail = float(scipy.special.bdtr(min(only_a, only_b), only_a + only_b, 0.5))
    return TestResult(p_value=min(1.0, 2 * tail), exact=True)


def sign_flip(differences: npt.ArrayLike, *, num_flips: int = 20_000, seed: int = 0) -> TestResult:
    """Sign-flip test of a mean paired difference of 0, two-sided.

    Under the null each problem's difference is as likely to have the opposite sign; p is the
    share of sign patterns with a sum at least as far from 0. Exact by enumeration up to 16
    non-zero differences and, for differences of one size (right or wrong), always; otherwise
    random patterns, `p = (1 + hits) / (1 + flips)`, which is never 0.

    Args:
        differences: `[P]`.
        num_flips: random patterns where there are too many to enumerate.
        seed: of the random patterns.

    Returns:
        `TestResult`; p = 1 where all differences are 0.

    Raises:
        UsageError: not a vector, or NaN in it.

    Examples:
        >>> sign_flip([0, 0, 1, 0, 0, 1, -1, 1])
        TestResult(p_value=0.625, exact=True)
    """
    values = np.asarray(differences, np.float64)
    if values.ndim != 1 or np.any(np.isnan(values)):
        raise UsageError(
            f"`differences` must be `[P]` numbers, but got shape {values.shape} or a NaN. "
            "Compare on the problems that both sides have."
        )
    moved = values[values != 0]
    if len(moved) == 0:
        return TestResult(p_value=1.0, exact=True)
    if np.all(np.abs(moved) == np.abs(moved[0])):
        return mcnemar(int(np.sum(moved > 0)), int(np.sum(moved < 0)))
    extreme = abs(moved.sum()) - _TOLERANCE * np.abs(moved).sum()
    if len(moved) <= _MOST_ENUMERATED:
        signs = np.array(list(product((-1.0, 1.0), repeat=len(moved))))
        return TestResult(p_value=float(np.mean(np.abs(signs @ moved) >= extreme)), exact=True)
    rng = np.random.default_rng(seed)
    hits, left = 0, num_flips
    while left > 0:
        size = min(left, max(1, 2_000_000 // len(moved)))
        signs = rng.integers(0, 2, size=(size, len(moved)), dtype=np.int8) * 2.0 - 1.0
        hits += int(np.sum(np.abs(signs @ moved) >= extreme))
        left -= size
    return TestResult(p_value=(1 + hits) / (1 + num_flips), exact=False)


def how_many_questions(
    effect: float,
    *,
    power: float = 0.8,
    alpha: float = 0.05,
    between: float,
    within_a: float = 0.0,
    within_b: float = 0.0,
    num_samples_a: int = 1,
    num_samples_b: int = 1,
) -> int:
    """Number of problems needed to see a difference of `effect`, paired.

    `n = (z_{alpha/2} + z_power)^2 (w2 + sA2 / K_A + sB2 / K_B) / effect^2`, rounded up.

    Args:
        effect: the difference of accuracies to be seen, not 0.
        power: probability to see it.
        alpha: two-sided level of the test.
        between: w2, variance over problems of the true difference of each problem.
        within_a: sA2, mean variance of one draw within a problem, first side.
        within_b: sB2, second side.
        num_samples_a: K_A, draws of each problem that are averaged.
        num_samples_b: K_B.

    Returns:
        Number of problems.

    Raises:
        UsageError: no effect, probabilities outside (0, 1), negative variances, no draws.

    References:
        Miller, "Adding Error Bars to Evals" (2024), power analysis.

    Examples:
        >>> how_many_questions(0.03, between=1 / 9, within_a=1 / 6, within_b=1 / 6)
        3876
    """
    if effect == 0:
        raise UsageError("`effect` must not be 0: no number of problems shows no difference.")
    variance = _difference_variance(between, within_a, within_b, num_samples_a, num_samples_b)
    needed = _quantiles(power, alpha) ** 2 * variance / effect**2
    return max(1, ceil(needed))


def minimum_detectable_effect(
    num_problems: int,
    *,
    power: float = 0.8,
    alpha: float = 0.05,
    between: float,
    within_a: float = 0.0,
    within_b: float = 0.0,
    num_samples_a: int = 1,
    num_samples_b: int = 1,
) -> float:
    """Smallest difference that `num_problems` show with probability `power`.

    `how_many_questions` solved for the effect; arguments and errors are its own. Make no claim
    about a difference below this.

    Examples:
        >>> round(minimum_detectable_effect(198, between=1/9, within_a=1/6, within_b=1/6), 4)
        0.1327
    """
    if num_problems < 1:
        raise UsageError(f"`num_problems` must be at least 1, but got {num_problems}.")
    variance = _difference_variance(between, within_a, within_b, num_samples_a, num_samples_b)
    return _quantiles(power, alpha) * sqrt(variance / num_problems)


def holm(p_values: npt.ArrayLike) -> FloatArray:
    """Holm's adjusted p-values: for claims, none of which may be a false one.

    Args:
        p_values: `[M]`.

    Returns:
        `[M]` in the same order, at most 1.

    References:
        Holm, "A Simple Sequentially Rejective Multiple Test Procedure" (1979).

    Examples:
        >>> holm([0.01, 0.04, 0.03, 0.2]).round(6).tolist()
        [0.04, 0.09, 0.09, 0.2]
    """
    p = np.asarray(p_values, np.float64)
    order = np.argsort(p, kind="stable")
    stepped = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(stepped, 1.0)
    return adjusted


def benjamini_hochberg(p_values: npt.ArrayLike) -> FloatArray:
    """Benjamini and Hochberg's adjusted p-values: for screening, a share may be false.

    Args:
        p_values: `[M]`.

    Returns:
        `[M]` in the same order, at most 1.

    References:
        Benjamini and Hochberg, "Controlling the False Discovery Rate" (1995).

    Examples:
        >>> benjamini_hochberg([0.01, 0.04, 0.03, 0.2]).round(5).tolist()
        [0.04, 0.05333, 0.05333, 0.2]
    """
    p = np.asarray(p_values, np.float64)
    order = np.argsort(p, kind="stable")
    scaled = p[order] * len(p) / np.arange(1, len(p) + 1)
    stepped = np.minimum.accumulate(scaled[::-1])[::-1]
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(stepped, 1.0)
    return adjusted


def _difference_variance(
    between: float, within_a: float, within_b: float, num_samples_a: int, num_samples_b: int
) -> float:
    if min(between, within_a, within_b) < 0 or min(num_samples_a, num_samples_b) < 1:
        raise UsageError(
            "variances must be at least 0 and draws at least 1, but got "
            f"{between=}, {within_a=}, {within_b=}, {num_samples_a=}, {num_samples_b=}."
        )
    return between + within_a / num_samples_a + within_b / num_samples_b


def _quantiles(power: float, alpha: float) -> float:
    if not (0 < power < 1 and 0 < alpha < 1):
        raise UsageError(
            f"`power` and `alpha` must lie strictly between 0 and 1, but got {power=}, {alpha=}."
        )
    return float(scipy.special.ndtri(1 - alpha / 2) + scipy.special.ndtri(power))
