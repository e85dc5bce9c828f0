"""From which confidence on a plan answers, so that few of its answers are wrong.

Half of the questions (whole clusters) make the policy and its confidence; the other half, which
nothing else saw, certify the threshold (`dwell.metrics.controlled_threshold`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy

from dwell.errors import UsageError
from dwell.metrics import controlled_threshold, least_answered
from dwell.plans.confidence import ends_of, sure_of
from dwell.plans.evidence import Evidence, FloatArray, IntArray
from dwell.strategies.confidence import Confidence
from dwell.strategies.policy import Policy

#: Thresholds tried: one for each twentieth of the questions more that is answered.
NUM_THRESHOLDS = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """What is asked of the answers given.

    Attributes:
        risk: share of them that may be wrong, in (0, 1).
        delta: chance that more are, by an unlucky draw of the certifying questions, in (0, 1).
    """

    risk: float
    delta: float = 0.1

    def __post_init__(self) -> None:
        if not 0 < self.risk < 1 or not 0 < self.delta < 1:
            raise UsageError(
                "`abstain_risk` and `abstain_delta` must lie strictly between 0 and 1, but got "
                f"abstain_risk={self.risk}, abstain_delta={self.delta}. Write 0.05 for 5 %."
            )


def halves(num_questions: int, clusters: IntArray | None, seed: int) -> tuple[IntArray, IntArray]:
    """(questions to plan on, questions to certify with): whole clusters, dealt at random."""
    label = np.arange(num_questions) if clusters is None else clusters
    num_clusters = int(label.max()) + 1
    first = np.random.default_rng([seed, 1]).permutation(num_clusters) < -(-num_clusters // 2)
    return np.flatnonzero(first[label]), np.flatnonzero(~first[label])


def thresholds_of(sure: FloatArray, right: FloatArray, count: int, limit: Limit) -> FloatArray:
    """Thresholds to test, the most promising first, by the questions that were planned on.

    A threshold is promising where its p-value would be small if `count` questions came out as
    these. Ordering hypotheses by other data is Laufer-Goldshtein et al., "Efficiently
    Controlling Multiple Risks with Pareto Testing" (2023).

    Args:
        sure: `[R, P]` confidence on the questions planned on; NaN without an answer.
        right: `[R, P]` grades.
        count: how many questions will certify.
        limit: what is asked for.
    """
    known = np.isfinite(sure)
    shares = np.arange(1, NUM_THRESHOLDS + 1) / NUM_THRESHOLDS
    edges = np.quantile(sure[known], 1 - shares) if known.any() else np.ones(1)
    edges = np.unique(np.floor(edges * 1e4) / 1e4)  # four digits: readable, and safe to compare
    given = [known & (sure >= edge) for edge in edges]
    answered = np.array([count * one.mean() for one in given])
    risks = np.array([np.mean(right[one] < 1) for one in given])
    # P(Binomial(m, risk) <= k) for k and m that are no whole numbers.
    expected = scipy.special.betainc(
        answered * (1 - risks) + 1e-9, answered * risks + 1, 1 - limit.risk
    )
    return np.asarray(edges[np.argsort(expected, kind="stable")], np.float64)


def certified(
    policy: Policy,
    confidence: Confidence,
    planned: Evidence,
    held: Evidence,
    clusters: IntArray | None,
    limit: Limit,
    seed: int,
) -> tuple[float, dict[str, Any]]:
    """The threshold, and the record of what it is based on.

    Args:
        policy: of the plan.
        confidence: its maps.
        planned: the questions that both were made on.
        held: the questions that nothing was made on, in one order of their draws.
        clusters: `[P]` of those; one question of each certifies, at random.
        limit: what is asked for.
        seed: of that choice.

    Raises:
        UsageError: no threshold can be certified.
    """
    own, kept = ends_of(policy, planned), ends_of(policy, held)
    assert own is not None  # a policy with a confidence is one that whole answers tell
    assert kept is not None
    rows = _one_of_each(held.shape[1], clusters, seed)
    sure = sure_of(confidence, kept, held)[0, rows]
    right = kept.right[0, rows]
    edges = thresholds_of(sure_of(confidence, own, planned), own.right, len(rows), limit)
    found = controlled_threshold(sure, right, edges, risk=limit.risk, delta=limit.delta)
    if not np.isfinite(found.threshold):
        raise _out_of_reach(sure, right, float(edges[0]), limit)
    return found.threshold, {
        "risk": limit.risk,
        "delta": limit.delta,
        "questions": len(rows),
        "answered": found.answered,
        "wrong": found.wrong,
        "p_value": found.p_value,
    }


def _one_of_each(count: int, clusters: IntArray | None, seed: int) -> IntArray:
    """One question of each cluster: only these are independent."""
    order = np.random.default_rng([seed, 2]).permutation(count)
    if clusters is None:
        return np.sort(order)
    return np.sort(order[np.unique(clusters[order], return_index=True)[1]])


def _out_of_reach(sure: FloatArray, right: FloatArray, edge: float, limit: Limit) -> UsageError:
    given = sure >= edge
    return UsageError(
        f"`--abstain-risk` must be within reach, but no threshold certifies {limit.risk:g} with "
        f"chance {1 - limit.delta:g}: of {len(sure)} certifying questions the most promising one "
        f"answers {int(given.sum())}, {int((right[given] < 1).sum())} wrong, and at least "
        f"{least_answered(limit.risk, limit.delta)} answers without a wrong one are needed. "
        "Record more questions, or allow more risk."
    )


def abstaining_sentence(found: Mapping[str, Any], at_least: float) -> str:
    """What is promised of the answers given, in a sentence."""
    return (
        f"It answers where its confidence is at least {at_least:g} ({found['answered']} of "
        f"{found['questions']} questions that nothing else used, {found['wrong']} wrong) and "
        f"else says that it is not sure. Of the answers given to questions like these, at most "
        f"{100 * found['risk']:g} % are wrong; the chance that those questions misled is at most "
        f"{100 * found['delta']:g} %."
    )
