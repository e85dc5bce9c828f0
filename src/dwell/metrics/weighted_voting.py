"""Accuracy of a weighted vote among k of n recorded draws: exact, or by seeded permutations.

Each draw votes for its answer with its own weight (a verifier's score, a confidence); the answer
with the largest sum wins, ties uniformly at random. There is no closed form, so all subsets are
enumerated where they are few, and otherwise the recorded draws are shuffled many times and every
budget is read off the same shuffles. What was done is said, with the error it leaves.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from itertools import chain, combinations
from math import comb

import numpy as np
import numpy.typing as npt

from dwell.errors import UsageError
from dwell.metrics.arrays import BoolArray, FloatArray, IntArray, as_budgets

# Sums of the same weights in another order differ in their last digits: still a tie.
_TIE_TOLERANCE = 1e-12
_BATCH_SIZE = 4_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightedVote:
    """A weighted vote at each budget, and how it was obtained.

    Attributes:
        values: `[P, K]` expected payoff; NaN where k > N.
        exact: `[K]`, whether all subsets were enumerated.
        standard_error: `[P, K]` Monte-Carlo error of `values`, 0 where exact, from the
            permutations alone (not from the choice of problems).
    """

    values: FloatArray
    exact: BoolArray
    standard_error: FloatArray


def answer_codes(answers: Sequence[Sequence[Hashable | None]]) -> IntArray:
    """Number each problem's distinct answers by first appearance, `[P, N]`; None becomes -1.

    Raises:
        UsageError: problems have different numbers of draws.

    Examples:
        >>> answer_codes([["7", None, "4", "7"]]).tolist()
        [[0, -1, 1, 0]]
    """
    if len({len(row) for row in answers}) > 1:
        raise UsageError(
            "`answers` must hold the same number of draws for each problem, but the lengths "
            "differ. Cut them to the shortest, or call once for each length."
        )
    codes = np.full((len(answers), len(answers[0]) if answers else 0), -1, np.int64)
    for index, row in enumerate(answers):
        known: dict[Hashable, int] = {}
        for column, answer in enumerate(row):
            if answer is not None:
                codes[index, column] = known.setdefault(answer, len(known))
    return codes


def weighted_vote_at_k(
    codes: npt.ArrayLike,
    weights: npt.ArrayLike,
    correct: npt.ArrayLike,
    k: npt.ArrayLike,
    *,
    max_subsets: int = 200_000,
    num_permutations: int = 256,
    seed: int = 0,
) -> WeightedVote:
    """Expected payoff of the answer with the largest sum of weights among k draws.

    Args:
        codes: `[P, N]`, number of each draw's answer from 0 (see `answer_codes`); -1 abstains.
        weights: `[P, N]`, at least 0; weight 0 abstains. If nobody votes the payoff is 0.
        correct: `[P, N]`, correctness or payoff of each draw.
        k: budgets in draws, scalar or `[K]`.
        max_subsets: budgets with at most this many subsets C(N, k) are enumerated.
        num_permutations: shuffles of each problem's draws for the other budgets; the error is at
            most 0.5 / sqrt(num_permutations) a problem.
        seed: of the shuffles; the result is a function of the arguments alone.

    Returns:
        `WeightedVote`, with `K = 1` for a scalar `k`.

    Raises:
        UsageError: shapes differ, or a weight is negative or NaN.

    References:
        Weighted best-of-N of Snell et al., "Scaling LLM Test-Time Compute Optimally" (2024), and
        weighted self-consistency of Wang et al. (2022).

    Examples:
        >>> vote = weighted_vote_at_k([[0, 0, 1, 1, 1, 2]], [[0.9, 0.6, 0.5, 0.4, 0.3, 0.8]],
        ...                           [[1, 1, 0, 0, 0, 0]], [3, 5])
        >>> vote.values.round(6).tolist(), vote.exact.tolist()
        ([[0.475, 0.666667]], [True, True])
    """
    labels, votes, payoff = _checked(codes, weights, correct)
    budgets = as_budgets(k)
    size = labels.shape[1]
    values = np.full((len(labels), len(budgets)), np.nan)
    error = np.full(values.shape, np.nan)
    possible = budgets <= size
    exact = np.array([b <= size and comb(size, int(b)) <= max_subsets for b in budgets])
    table = _Ballots(labels, votes, payoff)
    for column in np.flatnonzero(exact):
        values[:, column] = _enumerate(table, int(budgets[column]))
        error[:, column] = 0.0
    sampled = np.flatnonzero(possible & ~exact)
    if len(sampled):
        values[:, sampled], error[:, sampled] = _permute(
            table, budgets[sampled], num_permutations, np.random.default_rng(seed)
        )
    return WeightedVote(values=values, exact=exact, standard_error=error)


class _Ballots:
    """Draws as votes: class and weight of each draw, mean payoff of each class.

    Abstentions are weight 0 for class 0, so that every draw has a class.
    """

    def __init__(self, labels: IntArray, votes: FloatArray, payoff: FloatArray) -> None:
        self.weights = np.where(labels >= 0, votes, 0.0)
        self.labels = np.maximum(labels, 0)
        width = int(labels.max(initial=0)) + 1
        rows = np.broadcast_to(np.arange(len(labels))[:, None], labels.shape)
        cells = (rows * width + self.labels)[labels >= 0]
        total = np.bincount(cells, payoff[labels >= 0], len(labels) * width)
        count = np.bincount(cells, minlength=len(labels) * width)
        self.payoff = (total / np.maximum(count, 1)).reshape(len(labels), width)

    def outcome(self, problems: slice, sums: FloatArray) -> FloatArray:
        """Payoff of each vote: `sums [p, M, A]` of weights -> `[p, M]`."""
        top = sums.max(axis=2, keepdims=True)
        winners = (sums >= top * (1.0 - _TIE_TOLERANCE)) & (top > 0)
        won = np.einsum("pma,pa->pm", winners, self.payoff[problems], dtype=np.float64)
        return np.asarray(won / np.maximum(winners.sum(axis=2), 1), np.float64)


def _enumerate(table: _Ballots, budget: int) -> FloatArray:
    """Mean payoff over all subsets of `budget` draws, `[P]`."""
    num, size = table.labels.shape
    total = comb(size, budget)
    flat = chain.from_iterable(combinations(range(size), budget))
    subsets = np.fromiter(flat, np.int64, total * budget).reshape(total, budget)
    width = table.payoff.shape[1]
    step = max(1, _BATCH_SIZE // width)
    values = np.zeros(num)
    for problem in range(num):
        for begin in range(0, total, step):
            part = subsets[begin : begin + step]
            sums = np.zeros((len(part), width))
            rows = np.arange(len(part))
            for draw in part.T:
                sums[rows, table.labels[problem, draw]] += table.weights[problem, draw]
            values[problem] += table.outcome(slice(problem, problem + 1), sums[None]).sum()
    return values / total


def _permute(
    table: _Ballots, budgets: IntArray, num_permutations: int, rng: np.random.Generator
) -> tuple[FloatArray, FloatArray]:
    """Mean payoff over shuffles and its standard error, both `[P, K]`."""
    num, size = table.labels.shape
    width = table.payoff.shape[1]
    values = np.zeros((num, len(budgets)))
    error = np.zeros(values.shape)
    step = max(1, _BATCH_SIZE // (num_permutations * max(width, size)))
    for begin in range(0, num, step):
        part = slice(begin, min(begin + step, num))
        count = part.stop - part.start
        order = np.broadcast_to(np.arange(size), (count, num_permutations, size))
        order = rng.permuted(order, axis=2)
        rows = np.arange(count)[:, None]
        sums = np.zeros((count, num_permutations, width))
        cells = (rows, np.arange(num_permutations)[None, :])
        for drawn in range(int(budgets.max())):
            draw = order[:, :, drawn]
            sums[*cells, table.labels[part][rows, draw]] += table.weights[part][rows, draw]
            for column in np.flatnonzero(budgets == drawn + 1):
                payoff = table.outcome(part, sums)
                values[part, column] = payoff.mean(axis=1)
                error[part, column] = payoff.std(axis=1) / np.sqrt(num_permutations)
    return values, error


def _checked(
    codes: npt.ArrayLike, weights: npt.ArrayLike, correct: npt.ArrayLike
) -> tuple[IntArray, FloatArray, FloatArray]:
    labels = np.asarray(codes, np.int64)
    votes, payoff = np.asarray(weights, np.float64), np.asarray(correct, np.float64)
    if labels.ndim != 2 or labels.shape != votes.shape or labels.shape != payoff.shape:
        raise UsageError(
            "`codes`, `weights` and `correct` must be of one shape `[P, N]`, but got "
            f"{labels.shape}, {votes.shape} and {payoff.shape}. Pass one entry for each draw."
        )
    if not np.all(votes >= 0):
        raise UsageError(
            f"`weights` must be numbers of at least 0, but got {votes[~(votes >= 0)][0]}. "
            "Exponentiate or shift logits first; give unverified draws weight 0."
        )
    return labels, votes, payoff
