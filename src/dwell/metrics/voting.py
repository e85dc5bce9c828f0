"""Accuracy of a plurality vote among k of n recorded draws, exactly.

One answer is one class; how answers become classes (canonical form) is decided elsewhere. A draw
without a usable answer abstains: it uses budget and casts no vote, and if all k abstain the vote
is wrong. Ties are broken uniformly at random, which for exchangeable draws has the same
expectation as "first seen among the tied". Votes with weights are in `weighted_voting`.

Method. Given that the answer a has t votes, every rival b has fewer than t, or exactly t and then
shares the win: with j rivals level, a wins with probability 1/(j+1). So, with `[x^i]` the
coefficient of x^i,

    C(n, k) P(a wins) = sum_t C(n_a, t) sum_j 1/(j+1) [x^(k-t) z^j]
                        prod_{b != a} ( sum_{m<t} C(n_b, m) x^m + z C(n_b, t) x^t ).

Three things make this fast. `1/(j+1)` is the integral of z^j over [0, 1], so the power of z is
replaced by a few Gauss-Legendre nodes, exactly. A rival with n_b < t contributes (1+x)^(n_b): all
such rivals and the abstentions together are one known row of binomials, and at most n/t rivals
are left to multiply. One product serves all budgets k. All terms are positive, so doubles lose
nothing; binomials are scaled to binomial probabilities, so they do not overflow.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np
import numpy.typing as npt
import scipy

from dwell.errors import UsageError
from dwell.metrics.arrays import (
    FloatArray,
    IntArray,
    as_budgets,
    as_counts,
    drop_budget_axis,
)

# Below this many draws 2^-n and exp(-n) are normal doubles, so one scaling of the terms serves
# all budgets; above it each budget is computed with its own scaling.
_SHARED_SCALE_LIMIT = 600
# Doubles in the working polynomials of one batch of problems: about 2 MB, inside the cache.
_BATCH_SIZE = 250_000
_LARGEST_TABLE = 50_000_000


def answer_counts(
    answers: Sequence[Sequence[Hashable | None]], correct: Sequence[Sequence[float]]
) -> tuple[IntArray, FloatArray, IntArray]:
    """Count each problem's distinct answers.

    Args:
        answers: for each problem its draws' answers in canonical form; None abstains.
        correct: for each problem its draws' correctness or payoff, in the same order.

    Returns:
        counts `[P, A]` (0 beyond a problem's own number of answers, most frequent first), the
        mean payoff of each answer `[P, A]`, and the number of draws `[P]`, abstentions included:
        the arguments of `vote_at_k`.

    Raises:
        UsageError: the two differ in length.

    Examples:
        >>> counts, payoff, num = answer_counts([["7", "7", None, "4"]], [[1, 1, 0, 0]])
        >>> counts.tolist(), payoff.tolist(), num.tolist()
        ([[2, 1]], [[1.0, 0.0]], [4])
    """
    if [len(row) for row in answers] != [len(row) for row in correct]:
        raise UsageError(
            "`answers` and `correct` must hold the same draws, but their lengths differ. "
            "Give each draw its correctness, 0 for one without an answer."
        )
    tallies: list[list[tuple[int, float]]] = []
    for row, marks in zip(answers, correct, strict=True):
        tally: dict[Hashable, tuple[int, float]] = {}
        for answer, mark in zip(row, marks, strict=True):
            if answer is not None:
                count, total = tally.get(answer, (0, 0.0))
                tally[answer] = (count + 1, total + float(mark))
        tallies.append(sorted(tally.values(), key=lambda entry: -entry[0]))
    width = max((len(tally) for tally in tallies), default=0)
    counts = np.zeros((len(tallies), width), np.int64)
    payoff = np.zeros((len(tallies), width))
    for index, tally_list in enumerate(tallies):
        for column, (count, total) in enumerate(tally_list):
            counts[index, column], payoff[index, column] = count, total / count
    return counts, payoff, np.array([len(row) for row in answers], np.int64)


def vote_at_k(
    counts: npt.ArrayLike,
    correct: npt.ArrayLike,
    num_samples: npt.ArrayLike,
    k: npt.ArrayLike,
    *,
    with_replacement: bool = False,
) -> FloatArray:
    """Expected payoff of the plurality answer among k draws, exactly (maj@k).

    The first and the second vote are worth the same (`vote@2 = vote@1` when nobody abstains), and
    `vote@N` is the observed vote. An answer "none" that may win is simply one more class with
    payoff 0.

    Args:
        counts: `[P, A]`, draws with each distinct answer, 0 where a problem has fewer answers.
        correct: `[P, A]`, correctness or payoff of each answer.
        num_samples: recorded draws, scalar or `[P]`; what exceeds the sum of counts abstains.
        k: budgets in draws, scalar or `[K]`.
        with_replacement: draws from the observed answer shares instead (multinomial): biased,
            defined for k > N too, and slower (no rival is ever exhausted).

    Returns:
        `[P]` for a scalar `k`, else `[P, K]`; NaN where k > N.

    Raises:
        UsageError: shapes differ, counts exceed `num_samples`, or tables would exceed memory.

    References:
        Wang et al., "Self-Consistency Improves Chain of Thought Reasoning" (2022) for the vote;
        the exact expectation over subsets is derived in the module's docstring.

    Examples:
        >>> vote_at_k([[4, 3, 2, 1]], [[1, 0, 0, 0]], 10, [1, 3, 5, 7, 10]).round(6).tolist()
        [[0.4, 0.455556, 0.559524, 0.666667, 1.0]]
    """
    tally, payoff, num = _checked_tally(counts, correct, num_samples)
    budgets = as_budgets(k)
    values = np.zeros((len(tally), len(budgets)))
    for size in np.unique(num):
        rows = np.flatnonzero(num == size)
        usable = np.arange(len(budgets)) if with_replacement else np.flatnonzero(budgets <= size)
        if size == 0:
            values[rows] = np.nan
            continue
        values[rows] = np.where(np.isin(np.arange(len(budgets)), usable), 0.0, np.nan)
        for columns in _scale_groups(int(size), budgets, usable):
            table = _Table(int(size), budgets[columns], with_replacement)
            values[np.ix_(rows, columns)] = _expected_payoff(tally[rows], payoff[rows], table)
    # A mean of payoffs lies between them (and 0, where all abstain); rounding must not leave that.
    least, most = payoff.min(axis=1, initial=0.0), payoff.max(axis=1, initial=0.0)
    return drop_budget_axis(np.clip(values, least[:, None], most[:, None]), k)


class _Table:
    """Scaled terms of the generating functions for problems of `num` draws.

    `terms[v, m]` is C(v, m) p^m (1-p)^(v-m): the factor of an answer with v draws, of which m are
    among the k. With replacement it is the Poisson probability of m at rate v * rate / n. In both
    cases the rows of several answers multiply to the row of their sum, and `terms[num, k]` is the
    total weight of all outcomes.
    """

    def __init__(self, num: int, budgets: IntArray, with_replacement: bool) -> None:
        self.num, self.budgets, self.with_replacement = num, budgets, with_replacement
        most = int(budgets.max())
        if (num + 1) * (most + 1) > _LARGEST_TABLE:
            raise UsageError(
                f"an exact vote needs a table of N * k <= {_LARGEST_TABLE:_} numbers, but got "
                f"N={num}, k={most}. Lower k, or vote over the first draws only."
            )
        value, votes = np.arange(num + 1)[:, None], np.arange(most + 1)[None, :]
        if with_replacement:
            rate = most * value / num
            self.terms = np.exp(
                scipy.special.xlogy(votes, rate) - rate - scipy.special.gammaln(votes + 1.0)
            )
            return
        prob = 0.5 if num <= _SHARED_SCALE_LIMIT else most / num
        rest = np.maximum(value - votes, 0)
        log_binomial = (
            scipy.special.gammaln(value + 1.0)
            - scipy.special.gammaln(votes + 1.0)
            - scipy.special.gammaln(rest + 1.0)
        )
        log_terms = (
            log_binomial + scipy.special.xlogy(votes, prob) + scipy.special.xlog1py(rest, -prob)
        )
        self.terms = np.where(votes <= value, np.exp(log_terms), 0.0)


def _scale_groups(num: int, budgets: IntArray, usable: IntArray) -> list[IntArray]:
    """Columns of budgets that can share one scaling of the table."""
    if len(usable) and max(num, int(budgets[usable].max())) <= _SHARED_SCALE_LIMIT:
        return [usable]
    return [usable[i : i + 1] for i in range(len(usable))]


def _expected_payoff(tally: IntArray, payoff: FloatArray, table: _Table) -> FloatArray:
    """Sum over answers of payoff times the probability to win, `[P, K]`, for equal N."""
    values = np.zeros((len(tally), len(table.budgets)))
    # Answers of one problem with equal counts win equally often: one computation for each
    # distinct (problem, count), in falling order of the count.
    problem, column = np.nonzero((tally > 0) & (payoff != 0))
    keys, inverse = np.unique(tally[problem, column] * len(tally) + problem, return_inverse=True)
    stake = np.bincount(inverse, payoff[problem, column], len(keys))[::-1]
    own, problem = np.divmod(keys[::-1], len(tally))
    ordered = -np.sort(-tally, axis=1)
    polynomial = (int(table.budgets.max()) + 1) * 8
    step = max(1, _BATCH_SIZE // polynomial)
    for begin in range(0, len(keys), step):
        part = slice(begin, begin + step)
        wins = _win_probability(own[part], ordered[problem[part]], table)
        np.add.at(values, problem[part], stake[part, None] * wins)
    return values


def _win_probability(own: IntArray, tally: IntArray, table: _Table) -> FloatArray:
    """`[B, K]`: probability that an answer with `own[b]` draws wins in problem `tally[b]`.

    Args:
        own: `[B]`, in falling order.
        tally: `[B, A]`, each row in falling order, the answer itself included.
        table: scaled binomials.
    """
    mine = np.argmax(tally == own[:, None], axis=1)
    keep = np.arange(tally.shape[1]) != mine[:, None]
    rivals = tally[keep].reshape(len(tally), tally.shape[1] - 1)
    most = int(table.budgets.max())
    wins = np.zeros((len(own), len(table.budgets)))
    for votes in range(1, most + 1 if table.with_replacement else min(int(own[0]), most) + 1):
        active = len(own) if table.with_replacement else int(np.sum(own >= votes))
        least = 1 if table.with_replacement else votes
        level = np.where(rivals[:active] >= least, rivals[:active], 0)
        product = _rivals_product(level, votes, most - votes, table.terms)
        rest = table.num - own[:active] - level.sum(axis=1)
        tail = table.terms[rest, : most - votes + 1]
        mass = table.terms[own[:active], votes]
        for column, budget in enumerate(table.budgets):
            left = int(budget) - votes
            if left >= 0:
                used = min(left + 1, product.shape[1])
                others = tail[:, left - used + 1 : left + 1][:, ::-1]
                wins[:active, column] += mass * np.einsum("bi,bi->b", product[:, :used], others)
    return np.asarray(wins / table.terms[table.num, table.budgets], np.float64)


def _rivals_product(level: IntArray, votes: int, degree: int, terms: FloatArray) -> FloatArray:
    """Coefficients `[B, D+1]` of the product over rivals, the tie factor integrated out.

    Args:
        level: `[B, R]` draws of each rival, rows in falling order, 0 = no rival.
        votes: t, the votes of the answer itself.
        degree: highest power of x that is needed.
        terms: the table's scaled binomials.
    """
    num_rivals = int(np.max(np.sum(level > 0, axis=1), initial=0))
    ties = min(num_rivals, degree // votes)
    nodes, node_weights = np.polynomial.legendre.leggauss(ties // 2 + 1)
    share, node_weights = (nodes + 1.0) / 2.0, node_weights / 2.0
    reach = min(votes, degree)
    product = np.ones((len(level), len(share), 1))
    for rival in level.T[:num_rivals]:
        grown = np.zeros((len(level), len(share), min(product.shape[2] + reach, degree + 1)))
        for power in range(reach + 1):
            factor = terms[rival, power][:, None, None]
            if power == votes:
                factor = factor * share[:, None]
            width = min(product.shape[2], grown.shape[2] - power)
            grown[:, :, power : power + width] += factor * product[:, :, :width]
        product = grown
    return np.asarray(np.einsum("bqi,q->bi", product, node_weights), np.float64)


def _checked_tally(
    counts: npt.ArrayLike, correct: npt.ArrayLike, num_samples: npt.ArrayLike
) -> tuple[IntArray, FloatArray, IntArray]:
    tally, payoff = as_counts("counts", counts), np.asarray(correct, np.float64)
    if tally.ndim != 2 or tally.shape != payoff.shape:
        raise UsageError(
            "`counts` and `correct` must be of one shape `[P, A]`, but got "
            f"{tally.shape} and {payoff.shape}. Give each distinct answer its correctness."
        )
    num = np.broadcast_to(as_counts("num_samples", num_samples), (len(tally),))
    if np.any(tally.sum(axis=1) > num):
        raise UsageError(
            "`counts` must sum to at most `num_samples`, but a problem has more votes than "
            "draws. Pass the number of all recorded draws, abstentions included."
        )
    return tally, payoff, num
