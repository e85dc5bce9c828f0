"""A few whole attempts at each problem: average, best, worst, majority, and one after another.

The best of N is a ceiling (what a perfect verifier would pick) and the worst of N a floor on
reliability; both are oracles, because they look at the right answer. All are measured on the
attempts at hand; for other N use `pass_at_k`, `all_at_k` and `vote_at_k`.

Letters: `P` problems, `N` attempts.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from dwell.errors import UsageError
from dwell.metrics.arrays import FloatArray, as_budgets, drop_budget_axis, same_shape
from dwell.metrics.voting import answer_counts, vote_at_k


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempts:
    """Per-problem summary of N attempts, `[P]` each; average them over problems.

    Attributes:
        average: mean correctness.
        best: any attempt right; needs the right answer to pick it.
        worst: all attempts right.
        majority: the most frequent answer is right, ties split evenly; NaN without answers.
    """

    average: FloatArray
    best: FloatArray
    worst: FloatArray
    majority: FloatArray


def summarise_attempts(
    correct: npt.ArrayLike, answers: Sequence[Sequence[Hashable | None]] | None = None
) -> Attempts:
    """Average, best, worst and majority of N independent attempts at each problem.

    Args:
        correct: `[P, N]`, 1 or 0 (or scores in `[0, 1]`, whose best and worst are the extremes).
        answers: `[P, N]` answers, None where there was none; None leaves `majority` NaN.

    Returns:
        `Attempts` over problems.

    Raises:
        UsageError: `correct` is not `[P, N]` with N >= 1, or `answers` differ in shape.

    References:
        Balachandran et al., "Inference-Time Scaling for Complex Tasks: Where We Stand and What
        Lies Ahead" (2025), parallel protocol.

    Examples:
        >>> summary = summarise_attempts([[1, 0, 1, 1, 0], [0, 0, 1, 0, 0]], ["abaac", "uutvw"])
        >>> summary.average.tolist(), summary.best.tolist(), summary.majority.round(6).tolist()
        ([0.6, 0.2], [1.0, 1.0], [1.0, 0.0])
    """
    marks = np.asarray(correct, np.float64)
    if marks.ndim != 2 or marks.shape[1] == 0:
        raise UsageError(
            f"`correct` must be `[P, N]` with N >= 1, but got shape {marks.shape}. "
            "Give one row for each problem."
        )
    majority = np.full(len(marks), np.nan)
    if answers is not None:
        tally = answer_counts(answers, marks.tolist())
        majority = vote_at_k(*tally, marks.shape[1])
    return Attempts(
        average=marks.mean(axis=1),
        best=marks.max(axis=1),
        worst=marks.min(axis=1),
        majority=majority,
    )


def solved_within(first_success: npt.ArrayLike, rounds: npt.ArrayLike) -> FloatArray:
    """Sequential attempts: whether a problem was solved within so many rounds.

    Args:
        first_success: `[P]` round of the first accepted attempt, from 1; NaN = never.
        rounds: N, scalar or `[K]`. Say who accepted: a critic that sees the right answer gives
            an upper bound, a model as critic what can be had.

    Returns:
        `[P]` for a scalar, else `[P, K]`, 1 or 0.

    Raises:
        UsageError: a round below 1.

    References:
        Balachandran et al. (2025), sequential protocol.

    Examples:
        >>> solved_within([1, float("nan"), 1, 3], [1, 2, 3]).mean(axis=0).tolist()
        [0.5, 0.5, 0.75]
    """
    first = np.asarray(first_success, np.float64)
    if np.any(first < 1):
        raise UsageError(f"`first_success` counts from 1, but got {np.nanmin(first):g}.")
    solved = (first[..., None] <= as_budgets(rounds)).astype(np.float64)
    return drop_budget_axis(solved, rounds)


def relative_spread(tokens: npt.ArrayLike) -> FloatArray:
    """How unequal the token use of repeated attempts is: sample sd over mean, `[P, N]` to `[P]`.

    Args:
        tokens: `[P, N]`, NaN = not run.

    Returns:
        `[P]`, without unit; NaN with fewer than two attempts or a mean of 0.

    References:
        Balachandran et al. (2025), cost nondeterminism.

    Examples:
        >>> relative_spread([[4000, 8000, 6000]]).round(4).tolist()
        [0.3333]
    """
    (used,) = same_shape(tokens=tokens)
    there = ~np.isnan(used)
    count = there.sum(axis=-1)
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = np.where(there, used, 0.0).sum(axis=-1) / count
        square = (np.where(there, used - mean[..., None], 0.0) ** 2).sum(axis=-1)
        spread = np.sqrt(square / (count - 1)) / mean
    return np.where((count > 1) & (mean != 0), spread, np.nan)
