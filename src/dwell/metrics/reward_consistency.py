"""Does a reward model agree with itself, with another, and with the instruction?

Acceptance tests of a verifier before it picks answers; no right answers are needed.

Letters: `P` prompts, `N` responses of each, `M` pairs.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy

from dwell.errors import UsageError
from dwell.metrics.arrays import FloatArray, as_shares, same_shape
from dwell.metrics.ranking import kendall_tau


def rank_consistency(previous: npt.ArrayLike, current: npt.ArrayLike) -> FloatArray:
    """Agreement of two reward models' rankings of a prompt's responses, `(tau_b + 1) / 2` (CREAM).

    Its mean over prompts is the weight of a preference label: see `smoothed_preference_loss`.

    Args:
        previous: `[P, N]` scores of one model.
        current: `[P, N]` scores of the other.

    Returns:
        `[P]` in `[0, 1]`; NaN for a prompt with a missing score or where one model scores all
        responses alike: leave it out and count it.

    Raises:
        UsageError: shapes differ.

    References:
        Wang et al., "CREAM: Consistency Regularized Self-Rewarding Language Models" (2024).
        Ties: tau-b; the released code breaks them by the order of listing.

    Examples:
        >>> rank_consistency([[0.9, 0.2, 0.5, 0.7]], [[0.8, 0.3, 0.6, 0.4]]).round(6).tolist()
        [0.833333]
    """
    a, b = same_shape(previous=previous, current=current)
    return np.asarray((kendall_tau(a, b) + 1.0) / 2.0, np.float64)


def extremes_agree(previous: npt.ArrayLike, current: npt.ArrayLike) -> FloatArray:
    """Whether both reward models name the same best and the same worst response, `[P]` of 1 or 0.

    The pair that preference training would use. A tie for best or worst goes to the response
    listed first. NaN for a prompt with a missing score. The released code of CREAM compares the
    ranks of the first and last *listed* response, which is something else.

    Examples:
        >>> extremes_agree([[0.9, 0.2, 0.5]], [[0.8, 0.3, 0.6]]).tolist()
        [1.0]
    """
    a, b = same_shape(previous=previous, current=current)
    missing = np.any(np.isnan(a) | np.isnan(b), axis=-1)
    a, b = np.nan_to_num(a), np.nan_to_num(b)
    same = (a.argmax(-1) == b.argmax(-1)) & (a.argmin(-1) == b.argmin(-1))
    return np.where(missing, np.nan, same)


def smoothed_preference_loss(margin: npt.ArrayLike, consistency: float) -> FloatArray:
    """Preference loss with a label that is right with probability `consistency`.

    `-C ln sigmoid(m) - (1 - C) ln sigmoid(-m)`, m being the margin of the chosen response.

    Args:
        margin: any shape, in log-odds.
        consistency: C in `[0, 1]`, the mean of `rank_consistency`.

    Returns:
        Loss in nats, of the shape of `margin`.

    References:
        Wang et al., "CREAM" (2024).

    Examples:
        >>> round(float(smoothed_preference_loss(0.0, 0.8)), 6)
        0.693147
    """
    c = float(as_shares("consistency", consistency))
    m = np.asarray(margin, np.float64)
    loss = c * np.logaddexp(0.0, -m) + (1.0 - c) * np.logaddexp(0.0, m)
    return np.asarray(loss, np.float64)


def implicit_reward(log_ratio_difference: npt.ArrayLike, beta: float) -> FloatArray:
    """Preference of a trained policy, `sigmoid(beta * difference of log-ratios)`, any shape.

    Examples:
        >>> round(float(implicit_reward(2.0, 0.1)), 6)
        0.549834
    """
    return np.asarray(
        scipy.special.expit(beta * np.asarray(log_ratio_difference, np.float64)), np.float64
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """How far two sources of preference agree on the same pairs.

    Attributes:
        same_side: share of pairs on which both prefer the same response; 0.5 sides with neither
            and counts half.
        symmetric_kl: `[M]` `KL(p, q) + KL(q, p)` in nats; infinite where one is certain and the
            other is not.
        jensen_shannon: `[M]` in nats, at most ln 2.
    """

    same_side: float
    symmetric_kl: FloatArray
    jensen_shannon: FloatArray


def preference_agreement(judge: npt.ArrayLike, implicit: npt.ArrayLike) -> Agreement:
    """Agreement of a judge's preferences with a model's implicit ones (SCIR).

    Train only on the pairs where they agree. A judge reads each pair in both orders; average
    the two first.

    Args:
        judge: `[M]` probability that the first response is better.
        implicit: `[M]` likewise, from `implicit_reward`.

    Returns:
        `Agreement`.

    Raises:
        UsageError: shapes differ, values outside `[0, 1]`, or NaN.

    References:
        "Self-Consistency of the Internal Reward Models Improves Self-Rewarding Language Models"
        (2025).

    Examples:
        >>> found = preference_agreement([0.8], [0.6])
        >>> round(float(found.symmetric_kl[0]), 6), round(float(found.jensen_shannon[0]), 6)
        (0.196166, 0.024157)
    """
    p, q = same_shape(judge=judge, implicit=implicit)
    p, q = as_shares("judge", p), as_shares("implicit", q)
    if np.any(np.isnan(p) | np.isnan(q)):
        raise UsageError("`judge` and `implicit` must not be NaN. Leave such pairs out.")
    half = np.sign(p - 0.5) * np.sign(q - 0.5)
    middle = (p + q) / 2
    return Agreement(
        same_side=float(np.mean((1.0 + half) / 2)) if len(p) else float("nan"),
        symmetric_kl=_bernoulli_kl(p, q) + _bernoulli_kl(q, p),
        jensen_shannon=_entropy(middle) - (_entropy(p) + _entropy(q)) / 2,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Contrast:
    """Consistency of a reward model on similar instructions; chance is 0.5.

    Attributes:
        response: `[M]` share of the two instructions whose own reference scores above the other.
        instruction: `[M]` share of the two references that score higher under their own
            instruction.
    """

    response: FloatArray
    instruction: FloatArray


def contrast_consistency(
    own_a: npt.ArrayLike, swapped_a: npt.ArrayLike, swapped_b: npt.ArrayLike, own_b: npt.ArrayLike
) -> Contrast:
    """Does a reward model see the difference between two similar instructions?

    Response consistency: `score(a, ra) > score(a, rb)` and `score(b, rb) > score(b, ra)`.
    Instruction consistency: `score(a, ra) > score(b, ra)` and `score(b, rb) > score(a, rb)`.
    A tie counts half.

    Args:
        own_a: `[M]` score of a's reference under instruction a.
        swapped_a: `[M]` score of b's reference under instruction a.
        swapped_b: `[M]` score of a's reference under instruction b.
        own_b: `[M]` score of b's reference under instruction b.

    Returns:
        `Contrast`; NaN where a score is missing.

    Raises:
        UsageError: shapes differ.

    References:
        Shen et al., "The Trickle-down Impact of Reward (In-)consistency on RLHF" (2023),
        Contrast Instructions.

    Examples:
        >>> found = contrast_consistency([2.0], [1.5], [2.3], [2.6])
        >>> found.response.tolist(), found.instruction.tolist()
        ([1.0], [0.5])
    """
    aa, ab, ba, bb = same_shape(own_a=own_a, swapped_a=swapped_a, swapped_b=swapped_b, own_b=own_b)
    return Contrast(
        response=(_above(aa, ab) + _above(bb, ba)) / 2,
        instruction=(_above(aa, ba) + _above(bb, ab)) / 2,
    )


def _above(a: FloatArray, b: FloatArray) -> FloatArray:
    """1 where a > b, 0.5 where equal, 0 where below, NaN where missing."""
    return np.asarray((1.0 + np.sign(a - b)) / 2, np.float64)


def _bernoulli_kl(p: FloatArray, q: FloatArray) -> FloatArray:
    return np.asarray(
        scipy.special.rel_entr(p, q) + scipy.special.rel_entr(1.0 - p, 1.0 - q), np.float64
    )


def _entropy(p: FloatArray) -> FloatArray:
    return np.asarray(
        -scipy.special.xlogy(p, p) - scipy.special.xlogy(1.0 - p, 1.0 - p), np.float64
    )
