"""Which answer to give, from answers and scores: votes, weighted votes and the best score.

Pure functions. They know nothing of requests, candidates or ledgers. Three rules hold in all of
them: an answer None has no weight and never wins; a NaN score means "not verified" and ranks
below every number; ties go to the answer seen first, so that a choice is a function of its
arguments (estimates at k draws average over ties instead, see `dwell.metrics`).

Letters: `N` candidates.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt

from dwell.records import Answer

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
#: How a strategy picks from scored answers.
Choice = Literal["majority", "weighted", "best"]


def majority(answers: Sequence[Answer]) -> Answer:
    """The most frequent answer; the first seen wins ties; None if there is no answer.

    References:
        Wang et al., "Self-Consistency Improves Chain of Thought Reasoning in Language Models"
        (2022): `argmax_a sum_i 1[a_i = a]`.

    Examples:
        >>> majority(["7", None, "4", "4", None, None])
        '4'
    """
    return top_two(answers)[0]


def top_two(answers: Sequence[Answer]) -> tuple[Answer, int, int]:
    """The leading answer, its votes, and the votes of the runner-up.

    Examples:
        >>> top_two(["7", "4", "7", None])
        ('7', 2, 1)
    """
    ranked = Counter(answer for answer in answers if answer is not None).most_common(2)
    if not ranked:
        return None, 0, 0
    return ranked[0][0], ranked[0][1], ranked[1][1] if len(ranked) > 1 else 0


def weighted_majority(answers: Sequence[Answer], weights: npt.ArrayLike) -> Answer:
    """The answer with the largest sum of weights: `argmax_a sum_i w_i 1[a_i = a]`.

    Args:
        answers: `[N]`.
        weights: `[N]`, at least 0; NaN counts as 0. Where all weights are 0 there is nothing to
            weigh with, and the plain majority decides.

    References:
        Li et al., "Making Language Models Better Reasoners with Step-Aware Verifier" (2023);
        Snell et al., "Scaling LLM Test-Time Compute Optimally" (2024), best-of-N weighted.

    Examples:
        >>> weighted_majority(["7", "4", "4"], [0.9, 0.3, 0.4])
        '7'
    """
    known = np.nan_to_num(np.asarray(weights, np.float64), nan=0.0)
    shares: dict[str, list[float]] = {}
    for answer, weight in zip(answers, known.tolist(), strict=True):
        if answer is not None:
            shares.setdefault(answer, []).append(weight)
    # fsum: the sum of equal weights does not depend on their order, so ties stay ties.
    totals = {answer: math.fsum(parts) for answer, parts in shares.items()}
    if not any(totals.values()):
        return majority(answers)
    return max(totals, key=lambda answer: totals[answer])


def vote_weights(scores: npt.ArrayLike) -> FloatArray:
    """Weights for a vote, from scores of either kind; leading axes are separate votes.

    Scores that are all at least 0 (probabilities, self-certainty) are weights as they stand. If
    any is negative they are read as logarithms of weights (log-likelihood, minus a surprisal), so
    that the largest weighs 1: a sum of negative numbers would elect the rarest answer.

    Args:
        scores: `[..., N]`, NaN = not verified.

    Returns:
        `[..., N]`, at least 0; 0 for NaN.

    Examples:
        >>> vote_weights([0.9, float("nan"), 0.2]).tolist()
        [0.9, 0.0, 0.2]
        >>> vote_weights([-1.0, -2.0]).round(3).tolist()
        [1.0, 0.368]
    """
    values = np.asarray(scores, np.float64)
    known = ~np.isnan(values)
    top = np.max(values, axis=-1, keepdims=True, initial=-np.inf, where=known)
    logs = np.any(values < 0, axis=-1, keepdims=True)
    # Where the largest is infinite there is nothing to compare with: no weights.
    finite = np.isfinite(top)
    shifted = np.exp(np.where(logs & finite & known, values - np.where(finite, top, 0.0), -np.inf))
    return np.where(known, np.where(logs, shifted, values), 0.0)


def weighted_leader(codes: IntArray, scores: FloatArray) -> IntArray:
    """`weighted_majority` with `vote_weights`, on many votes at once.

    Args:
        codes: `[..., N]` number of each draw's answer, -1 = none.
        scores: `[..., N]`, NaN = not verified.

    Returns:
        `[...]` code of the winner, -1 where there is no answer.

    Examples:
        >>> weighted_leader(np.array([[7, 4, 4]]), np.array([[0.9, 0.3, 0.4]])).tolist()
        [7]
    """
    rows = np.arange(int(np.prod(codes.shape[:-1])))
    columns = codes.reshape(len(rows), codes.shape[-1]).T
    weights = vote_weights(np.where(codes >= 0, scores, np.nan)).reshape(columns.T.shape).T
    shape = (len(rows), int(columns.max(initial=-1)) + 2)
    high, low, count = np.zeros(shape), np.zeros(shape), np.zeros(shape)
    born = np.full(shape, codes.shape[-1])
    for t, (code, weight) in enumerate(zip(columns, weights, strict=True)):
        # Two-sum: with the rounding error kept, equal weights sum to equal totals in any order.
        old = high[rows, code]
        new = high[rows, code] = old + weight
        with np.errstate(invalid="ignore"):
            part = new - old
            low[rows, code] += (old - (new - part)) + (weight - part)
        count[rows, code] += code >= 0
        born[rows, code] = np.minimum(born[rows, code], t)
    totals = np.where(np.isinf(high), high, high + low)
    totals = np.where(totals.any(axis=1, keepdims=True), totals, count)
    seen = count > 0
    totals = np.where(seen, totals, -np.inf)
    ties = totals == totals.max(axis=1, keepdims=True)
    first = np.where(ties & seen, born, codes.shape[-1]).argmin(axis=1)
    return np.where(seen.any(axis=1), first, -1).reshape(codes.shape[:-1])


def argmax(scores: npt.ArrayLike) -> int | None:
    """Index of the highest score; the first of equal ones; None if nothing is scored.

    NaN ranks below every number, so it is chosen only where all are NaN (then the first).

    Examples:
        >>> argmax([float("nan"), 0.2, 0.7, 0.7])
        2
    """
    values = np.asarray(scores, np.float64)
    if not len(values):
        return None
    # -inf is a score too: it must still beat NaN, which argmax alone would not tell apart.
    return int(
        np.lexsort(
            (-np.arange(len(values)), np.nan_to_num(values, nan=-np.inf), ~np.isnan(values))
        )[-1]
    )


def best_answer(answers: Sequence[Answer], scores: npt.ArrayLike) -> Answer:
    """The answer with the highest score, among those that are answers (best-of-N).

    Args:
        answers: `[N]`.
        scores: `[N]`, higher is better, NaN = not verified.

    Examples:
        >>> best_answer(["7", None, "4"], [0.2, 0.9, 0.6])
        '4'
    """
    answered = [i for i, answer in enumerate(answers) if answer is not None]
    best = argmax(np.asarray(scores, np.float64)[answered])
    return None if best is None else answers[answered[best]]


def choose_answer(how: Choice, answers: Sequence[Answer], scores: npt.ArrayLike) -> Answer:
    """The answer by majority, weighted majority or best score.

    Args:
        how: "majority" ignores the scores; "weighted" sums `vote_weights(scores)` over equal
            answers; "best" takes the highest score.
        answers: `[N]`.
        scores: `[N]`.
    """
    if how == "majority":
        return majority(answers)
    if how == "weighted":
        return weighted_majority(answers, vote_weights(scores))
    return best_answer(answers, scores)
