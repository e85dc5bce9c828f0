"""Accuracy at a budget of k draws, exactly, from n recorded draws of each problem.

Every function gives the value *per problem*: `[P]` for one budget, `[P, K]` for a list of them.
The mean over problems, and its interval, are the caller's (`dwell.metrics.intervals`).

"At k" is the average over all C(n, k) subsets of the recorded draws. This makes each estimator a
U-statistic, so it is unbiased for what k fresh draws would give, provided that the draws of a
problem are exchangeable (same prefix, same parameters, none depends on another). The outcomes
of beams, trees and revisions are not: those are measured, not estimated. A budget above the
number of recorded draws has no estimate and is NaN, never clamped. Versions *with replacement*
(`with_replacement=True`) are biased for k > 1 and are here for comparison only.

Letters: `P` problems, `N` recorded draws of a problem, `K` budgets.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import scipy

from dwell.errors import UsageError
from dwell.metrics.arrays import FloatArray, IntArray, as_budgets, as_counts, drop_budget_axis


def pass_at_k(
    num_samples: npt.ArrayLike,
    num_correct: npt.ArrayLike,
    k: npt.ArrayLike,
    *,
    with_replacement: bool = False,
) -> FloatArray:
    """Coverage: probability that k draws hold at least one correct one.

    `pass@k = 1 - C(n-c, k) / C(n, k)`, in log-gamma form. With replacement
    `1 - (1 - c/n)^k`, which is biased low.

    Args:
        num_samples: n, recorded draws of each problem, scalar or `[P]`; failed draws count.
        num_correct: c, correct ones among them, scalar or `[P]`.
        k: budgets in draws, scalar or `[K]`; 0 draws give 0.
        with_replacement: the biased plug-in estimate, defined for k > n too.

    Returns:
        `[P]` for a scalar `k`, else `[P, K]`, in `[0, 1]`; NaN where k > n or n = 0.

    Raises:
        UsageError: counts are negative or not whole, or `num_correct` exceeds `num_samples`.

    References:
        Chen et al., "Evaluating Large Language Models Trained on Code" (2021), equation 1.
        Brown et al., "Large Language Monkeys: Scaling Inference Compute with Repeated
        Sampling" (2024) call the same estimator coverage.

    Examples:
        >>> pass_at_k(10, 3, [1, 2, 5, 8]).round(6).tolist()
        [0.3, 0.533333, 0.916667, 1.0]
    """
    n, c = _checked_counts(num_samples, num_correct)
    budgets = as_budgets(k, least=0)
    n, c = n[..., None], c[..., None]
    if with_replacement:
        with np.errstate(invalid="ignore", divide="ignore"):
            value = 1.0 - (1.0 - np.where(n > 0, c / n, np.nan)) ** budgets
        return drop_budget_axis(value, k)
    wrong = n - c
    log_all_wrong = (
        scipy.special.gammaln(wrong + 1.0)
        - scipy.special.gammaln(np.maximum(wrong - budgets, 0) + 1.0)
        - scipy.special.gammaln(n + 1.0)
        + scipy.special.gammaln(np.maximum(n - budgets, 0) + 1.0)
    )
    # expm1 keeps the digits of a small coverage; the maximum removes a rounding error below 0.
    value = np.maximum(-np.expm1(np.where(c > 0, log_all_wrong, 0.0)), 0.0)
    value = np.where(wrong < budgets, 1.0, value)
    return drop_budget_axis(_missing_beyond(value, n, budgets), k)


def all_at_k(
    num_samples: npt.ArrayLike, num_correct: npt.ArrayLike, k: npt.ArrayLike
) -> FloatArray:
    """Reliability, "pass^k": probability that all of k draws are correct.

    `pass^k = C(c, k) / C(n, k)`. Shapes, NaN rule and errors are those of `pass_at_k`.

    Examples:
        >>> float(all_at_k(10, 7, 3).round(6))
        0.291667
    """
    n, c = _checked_counts(num_samples, num_correct)
    return np.asarray(1.0 - pass_at_k(n, n - c, k), dtype=np.float64)


def at_least_at_k(
    num_samples: npt.ArrayLike, num_correct: npt.ArrayLike, k: npt.ArrayLike, least: int
) -> FloatArray:
    """Probability that at least `least` of k draws are correct.

    `sum_{j >= least} C(c, j) C(n-c, k-j) / C(n, k)`, the survival function of the
    hypergeometric law. Shapes, NaN rule and errors are those of `pass_at_k`.

    Examples:
        >>> float(at_least_at_k(10, 3, 5, least=2).round(6))
        0.5
    """
    n, c = _checked_counts(num_samples, num_correct)
    budgets = as_budgets(k, least=0)
    n, c = n[..., None], c[..., None]
    possible = budgets <= n
    log_total = np.where(possible, log_binomial(n, budgets), 0.0)
    # One term for each possible number of correct draws, at most max(k) + 1 of them.
    value = np.zeros(np.broadcast_shapes(n.shape, budgets.shape))
    for j in range(max(least, 0), int(budgets.max()) + 1):
        rest = budgets - j
        log_term = log_binomial(c, j) + log_binomial(n - c, rest) - log_total
        value += np.where((rest >= 0) & possible, np.exp(log_term), 0.0)
    return drop_budget_axis(_missing_beyond(np.minimum(value, 1.0), n, budgets), k)


def best_of_k(
    scores: npt.ArrayLike,
    correct: npt.ArrayLike,
    k: npt.ArrayLike,
    *,
    with_replacement: bool = False,
) -> FloatArray:
    """Expected payoff of the best-scored of k draws, exactly.

    Draws are put in order of score; a draw with G draws strictly above it and g of equal score
    (itself included) is chosen with probability `[C(n-G, k) - C(n-G-g, k)] / (g C(n, k))`:
    ties are broken uniformly at random, which is the average over all orders of the tied.
    With replacement the bracket is `((n-G)/n)^k - ((n-G-g)/n)^k`.

    The same routine with other inputs: true score as `scores` and `correct` gives the expected
    best true score; its negative as `scores` the worst; latency or tokens in both the slowest
    branch; a yes/no verifier is two tie groups.

    Args:
        scores: `[P, N]` or `[N]`, higher is better; NaN = not verified, which ranks below every
            score (one tie group at the bottom).
        correct: `[P, N]` or `[N]` bool, or any payoff.
        k: budgets in draws, scalar or `[K]`.
        with_replacement: the biased plug-in estimate, defined for k > N too.

    Returns:
        `[P]` (or a scalar array for `[N]` input) for a scalar `k`, else `[..., K]`; NaN where
        k > N.

    Raises:
        UsageError: shapes differ, no draws, or a budget below 1.

    References:
        The exact form of the estimator that Snell et al., "Scaling LLM Test-Time Compute
        Optimally" (2024) and others obtain by subsampling.

    Examples:
        >>> scores = [0.9, 0.8, 0.8, 0.5, 0.4, 0.1]
        >>> best_of_k(scores, [0, 1, 0, 1, 1, 0], [1, 2, 3, 6]).round(6).tolist()
        [0.5, 0.433333, 0.275, 0.0]
    """
    ranks, payoff = np.asarray(scores, np.float64), np.asarray(correct, np.float64)
    if ranks.shape != payoff.shape or ranks.ndim not in (1, 2) or ranks.shape[-1] == 0:
        raise UsageError(
            "`scores` and `correct` must be of one shape `[P, N]` or `[N]` with N >= 1, but got "
            f"{ranks.shape} and {payoff.shape}. Record the same number of draws for each problem."
        )
    budgets = as_budgets(k)
    ranks, payoff = np.atleast_2d(ranks), np.atleast_2d(payoff)
    order = np.argsort(-ranks, axis=1, kind="stable")  # NaN sorts last
    ranks = np.take_along_axis(ranks, order, axis=1)
    payoff = np.take_along_axis(payoff, order, axis=1)
    first, last = tie_groups(ranks)
    none_above = _none_of_the_top(ranks.shape[1], budgets, with_replacement)  # [K, N+1]
    weights = (none_above[:, first] - none_above[:, last]) / (last - first)  # [K, P, N]
    value = np.einsum("kpn,pn->pk", weights, payoff)
    # A mean of payoffs lies between them; rounding must not leave that.
    value = np.clip(value, payoff.min(axis=1)[:, None], payoff.max(axis=1)[:, None])
    value = value[0] if np.ndim(scores) == 1 else value
    return drop_budget_axis(value, k)


def expected_draws(
    num_samples: npt.ArrayLike, num_accepted: npt.ArrayLike, limit: int | None = None
) -> FloatArray:
    """Expected number of draws until the first accepted one, at most `limit`.

    Drawn without replacement from n recorded draws of which a are accepted:
    `E = sum_{j=0}^{limit-1} C(n-a, j) / C(n, j)`; without a limit `(n+1) / (a+1)`.
    By contrast the expected cost at a fixed k is always k times the mean cost.

    Args:
        num_samples: n, scalar or `[P]`.
        num_accepted: a, scalar or `[P]`.
        limit: largest number of draws; None draws until one is accepted.

    Returns:
        Array of the broadcast shape, in draws; NaN where `limit` exceeds n, and without a limit
        where nothing is accepted.

    Raises:
        UsageError: bad counts, or a limit below 1.

    Examples:
        >>> float(expected_draws(10, 3, limit=5)), float(expected_draws(10, 3))
        (2.625, 2.75)
    """
    n, a = _checked_counts(num_samples, num_accepted)
    if limit is None:
        return np.where(a > 0, (n + 1.0) / (a + 1.0), np.nan)
    (capped,) = as_budgets(limit)
    steps = np.arange(capped)
    rejected = 1.0 - pass_at_k(n, a, steps)
    return np.where(capped > n, np.nan, rejected.sum(axis=-1))


def selection_efficiency(
    selected: npt.ArrayLike, pass_at_1: npt.ArrayLike, coverage: npt.ArrayLike
) -> FloatArray:
    """Share of what an ideal chooser would gain over one draw that a chooser gains.

    `(selected - pass@1) / (pass@k - pass@1)`: 1 for a perfect verifier, 0 for a random one,
    negative for one that does harm.

    Args:
        selected: accuracy of the chooser at k, in `[0, 1]`, any shape (usually means over
            problems).
        pass_at_1: accuracy of one draw, broadcast against it.
        coverage: pass@k, broadcast against it.

    Returns:
        Array of the broadcast shape; NaN where there is nothing to gain.

    Examples:
        >>> float(selection_efficiency(0.56, 0.35, 0.75).round(6))
        0.525
    """
    chosen, base, top = (np.asarray(x, np.float64) for x in (selected, pass_at_1, coverage))
    room = top - base
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(room > 0, (chosen - base) / room, np.nan)


def log_binomial(n: npt.ArrayLike, k: npt.ArrayLike) -> FloatArray:
    """Natural logarithm of C(n, k), elementwise; minus infinity where k < 0 or k > n."""
    top, chosen = np.asarray(n, np.float64), np.asarray(k, np.float64)
    inside = (chosen >= 0) & (chosen <= top)
    chosen = np.where(inside, chosen, 0.0)
    value = (
        scipy.special.gammaln(top + 1.0)
        - scipy.special.gammaln(chosen + 1.0)
        - scipy.special.gammaln(top - chosen + 1.0)
    )
    return np.where(inside, value, -np.inf)


def _checked_counts(
    num_samples: npt.ArrayLike, num_correct: npt.ArrayLike
) -> tuple[IntArray, IntArray]:
    n = as_counts("num_samples", num_samples)
    c = as_counts("num_correct", num_correct)
    n, c = np.broadcast_arrays(n, c)
    if np.any(c > n):
        raise UsageError(
            "`num_correct` must be at most `num_samples`, but got "
            f"num_correct={c[c > n][0]}, num_samples={n[c > n][0]}. Count over the same draws."
        )
    return n, c


def _missing_beyond(value: FloatArray, n: IntArray, budgets: IntArray) -> FloatArray:
    return np.where((budgets > n) | (n == 0), np.nan, value)


def tie_groups(ranks: FloatArray) -> tuple[IntArray, IntArray]:
    """First position of each draw's tie group and the position after it; ranks sorted `[P, N]`."""
    num = ranks.shape[1]
    before, here = ranks[:, :-1], ranks[:, 1:]
    starts = np.ones(ranks.shape, bool)
    starts[:, 1:] = (before != here) & ~(np.isnan(before) & np.isnan(here))
    position = np.broadcast_to(np.arange(num), ranks.shape)
    first = np.maximum.accumulate(np.where(starts, position, 0), axis=1)
    ends = np.ones(ranks.shape, bool)
    ends[:, :-1] = starts[:, 1:]
    last = np.minimum.accumulate(np.where(ends, position + 1, num)[:, ::-1], axis=1)[:, ::-1]
    return first.astype(np.int64), last.astype(np.int64)


def _none_of_the_top(num: int, budgets: IntArray, with_replacement: bool) -> FloatArray:
    """`[K, N+1]`: probability that k draws hold none of the top G, for G = 0..N."""
    top = np.arange(num + 1)
    if with_replacement:
        return np.asarray(((num - top) / num) ** budgets[:, None], np.float64)
    # C(n-G-1, k) / C(n-G, k) = (n-G-k) / (n-G); the product underflows to 0, never overflows.
    ratio = np.maximum(num - top[:-1] - budgets[:, None], 0) / (num - top[:-1])
    table = np.concatenate([np.ones((len(budgets), 1)), np.cumprod(ratio, axis=1)], axis=1)
    return np.where(budgets[:, None] > num, np.nan, table)
