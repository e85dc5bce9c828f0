"""Does a score put the right above the wrong, and what does answering only the best-scored give?

Ranking says nothing of the numbers themselves (that is calibration), and is all that selection
needs. Missing scores (NaN) are left out, not ranked last.

Letters: `M` pairs of a confidence and a correctness, `P` problems, `N` draws of each.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from dwell.errors import UsageError
from dwell.metrics.arrays import FloatArray, as_shares, same_shape
from dwell.metrics.estimators import tie_groups
from dwell.metrics.intervals import Interval, Resamples, bootstrap_interval


def auroc(confidence: npt.ArrayLike, correct: npt.ArrayLike) -> float:
    """Probability that a right one has a higher score than a wrong one, ties counting half.

    Pooled over all pairs, so it mixes telling right from wrong with telling easy problems from
    hard ones; `within_question_auroc` does not. With correctness graded 0 or 1 and any metric of
    confidence this is type-2 AUROC.

    Args:
        confidence: `[M]`, any numbers; NaN pairs are left out.
        correct: `[M]` in `[0, 1]`; a share counts as that much right and the rest wrong.

    Returns:
        In `[0, 1]`, 0.5 for an uninformative score; NaN without a right or a wrong one.

    Raises:
        UsageError: shapes differ, or correctness outside `[0, 1]`.

    References:
        Hanley and McNeil, "The Meaning and Use of the Area under a Receiver Operating
        Characteristic (ROC) Curve" (1982).

    Examples:
        >>> p = [0.1, 0.2, 0.3, 0.3, 0.6, 0.7, 0.8, 0.8, 0.9, 0.95]
        >>> round(auroc(p, [0, 0, 1, 0, 1, 0, 1, 1, 1, 1]), 6)
        0.895833
    """
    score, y = same_shape(confidence=confidence, correct=correct)
    return float(within_question_auroc(score.reshape(1, -1), y.reshape(1, -1))[0])


def within_question_auroc(scores: npt.ArrayLike, correct: npt.ArrayLike) -> FloatArray:
    """AUROC among the draws of each problem: can the score choose, where there is a choice?

    This bounds best-of-n from the side of the verifier. Average it over the problems that have
    it, and say how many have.

    Args:
        scores: `[P, N]`; NaN = not scored, left out.
        correct: `[P, N]` in `[0, 1]`; NaN = no draw, left out.

    Returns:
        `[P]` in `[0, 1]`; NaN where all are right or all wrong.

    Raises:
        UsageError: shapes differ, or correctness outside `[0, 1]`.

    Examples:
        >>> within_question_auroc([[0.9, 0.2, 0.4], [0.1, 0.2, 0.3]], [[1, 0, 1], [1, 1, 1]])
        array([ 1., nan])
    """
    score, y = same_shape(scores=scores, correct=correct)
    if score.ndim != 2:
        raise UsageError(f"`scores` must be `[P, N]`, but got shape {score.shape}.")
    as_shares("correct", y)
    missing = np.isnan(score) | np.isnan(y)
    score = np.where(missing, np.nan, score)
    order = np.argsort(-score, axis=1, kind="stable")  # NaN sorts last
    score = np.take_along_axis(score, order, axis=1)
    missing = np.take_along_axis(missing, order, axis=1)
    y = np.where(missing, 0.0, np.take_along_axis(y, order, axis=1))
    wrong = np.where(missing, 0.0, 1.0 - y)
    first, last = tie_groups(score)
    zero = np.zeros((len(score), 1))
    total = np.concatenate([zero, np.cumsum(wrong, axis=1)], axis=1)
    # Each right draw beats the wrong ones below its tie group and half of those in it.
    below = total[:, -1:] - np.take_along_axis(total, last, axis=1)
    tied = np.take_along_axis(total, last, axis=1) - np.take_along_axis(total, first, axis=1)
    wins = np.sum(y * (below + tied / 2), axis=1)
    pairs = y.sum(axis=1) * wrong.sum(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(pairs > 0, wins / pairs, np.nan)


@dataclass(frozen=True, slots=True, kw_only=True)
class RiskCoverage:
    """Accuracy when only the most confident are answered.

    Attributes:
        coverage: `[M]` share answered, 1/M to 1.
        accuracy: `[M]` among those; within a tie the average over its orders.
        aurc: area under risk against coverage, `1 - mean accuracy`, lower is better.
    """

    coverage: FloatArray
    accuracy: FloatArray
    aurc: float


def risk_coverage(confidence: npt.ArrayLike, correct: npt.ArrayLike) -> RiskCoverage:
    """Risk-coverage curve: the running accuracy from the most to the least confident.

    Args:
        confidence: `[M]`; NaN pairs are left out.
        correct: `[M]` in `[0, 1]`.

    Returns:
        `RiskCoverage`; `aurc` is NaN without pairs. It falls with accuracy as well as with
        ranking: compare sources only on the same answers.

    Raises:
        UsageError: shapes differ, or correctness outside `[0, 1]`.

    References:
        El-Yaniv and Wiener, "On the Foundations of Noise-free Selective Classification" (2010);
        Geifman and El-Yaniv (2017).

    Examples:
        >>> p = [0.1, 0.2, 0.3, 0.3, 0.6, 0.7, 0.8, 0.8, 0.9, 0.95]
        >>> round(risk_coverage(p, [0, 0, 1, 0, 1, 0, 1, 1, 1, 1]).aurc, 6)
        0.156429
    """
    score, y = same_shape(confidence=confidence, correct=correct)
    known = ~np.isnan(score) & ~np.isnan(as_shares("correct", y))
    score, y = score[known], y[known]
    order = np.argsort(-score, kind="stable")
    _, group, count = np.unique(-score[order], return_inverse=True, return_counts=True)
    expected = (np.bincount(group, y[order], len(count)) / count)[group]
    rank = np.arange(1, len(y) + 1)
    accuracy = np.cumsum(expected) / rank
    return RiskCoverage(
        coverage=rank / max(len(y), 1),
        accuracy=accuracy,
        aurc=1.0 - float(accuracy.mean()) if len(y) else float("nan"),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Selective:
    """A rule that may decline to answer.

    Attributes:
        accuracy: among the answered; NaN where nothing is.
        coverage: share answered. Neither is worth stating without the other.
    """

    accuracy: Interval
    coverage: Interval


def selective_accuracy(
    correct: npt.ArrayLike,
    answered: npt.ArrayLike,
    resamples: Resamples,
    *,
    level: float = 0.95,
) -> Selective:
    """Accuracy among the answered problems, and the share answered, with intervals.

    Args:
        correct: `[P]` in `[0, 1]`; ignored where not answered.
        answered: `[P]`, True or 1 where an answer was given.
        resamples: of these problems.
        level: nominal coverage of both intervals.

    Returns:
        `Selective`.

    Raises:
        UsageError: shapes differ.

    Examples:
        >>> from dwell.metrics import resample_problems
        >>> selective = selective_accuracy([1, 1, 0, 0], [1, 1, 1, 0], resample_problems(4))
        >>> round(float(selective.accuracy.value), 3), float(selective.coverage.value)
        (0.667, 0.75)
    """
    y, given = same_shape(correct=correct, answered=answered)
    coverage = bootstrap_interval(given, resamples, level=level)
    said = given > 0
    if not np.any(said):
        nan = np.array(np.nan)
        accuracy = Interval(value=nan, low=nan, high=nan, level=level)
        return Selective(accuracy=accuracy, coverage=coverage)
    # Resampling all problems and keeping the answered is the bootstrap of the ratio.
    weights = resamples.weights[:, said]
    clusters = np.unique(resamples.clusters[said], return_inverse=True)[1]
    kept = Resamples(weights=weights[weights.sum(axis=1) > 0], clusters=clusters.astype(np.int64))
    accuracy = bootstrap_interval(y[said], kept, level=level)
    return Selective(accuracy=accuracy, coverage=coverage)


def kendall_tau(a: npt.ArrayLike, b: npt.ArrayLike) -> FloatArray:
    """Kendall's tau-b of two lists of scores, over the last axis, many at once.

    `tau_b = sum sign(a_i - a_j) sign(b_i - b_j) / sqrt(pairs untied in a * pairs untied in b)`.
    All pairs are formed: meant for many short lists. For one long list use
    `scipy.stats.kendalltau`, which is the same number.

    Args:
        a: `[..., N]`.
        b: `[..., N]`, broadcast against it.

    Returns:
        `[...]` in `[-1, 1]`; NaN where one list is constant or has a NaN.

    Raises:
        UsageError: lengths differ.

    References:
        Kendall, "The Treatment of Ties in Ranking Problems" (1945).

    Examples:
        >>> float(kendall_tau([1, 2, 3, 4], [0.1, 0.1, 0.2, 0.3]).round(6))
        0.912871
    """
    first, second = np.asarray(a, np.float64), np.asarray(b, np.float64)
    if first.ndim == 0 or second.ndim == 0 or first.shape[-1] != second.shape[-1]:
        raise UsageError(
            "`a` and `b` must be lists of one length, but got shapes "
            f"{first.shape} and {second.shape}."
        )
    i, j = np.triu_indices(first.shape[-1], 1)
    x, y = np.sign(first[..., i] - first[..., j]), np.sign(second[..., i] - second[..., j])
    untied = np.sum(x**2, axis=-1) * np.sum(y**2, axis=-1)
    agreement = np.sum(x * y, axis=-1)
    with np.errstate(divide="ignore", invalid="ignore"):
        # NaN > 0 is False, so a list with a missing score is NaN too.
        return np.where(untied > 0, agreement / np.sqrt(untied), np.nan)
