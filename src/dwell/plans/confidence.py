"""How sure a policy may be of its answers: maps fitted on questions, measured on others.

The map is a ridge logistic regression on what is seen at the policy's end; from some number of
questions on (`CURVE_FROM`), isotonic regression through its output lets the data bend it. Which of
the two is decided by that number alone: nothing is tried on the questions that are reported on.

Letters: `R` random orders, `P` questions, `F` features, `M` answers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from dwell.plans.evidence import Evidence, FloatArray, IntArray
from dwell.strategies.confidence import (
    SCORE,
    VOTES,
    Confidence,
    ConfidenceMap,
    features_at_end,
    verifier_of,
)
from dwell.strategies.policy import Policy
from dwell.streams import Replayed

#: Questions from which isotonic regression is not mostly noise. With votes alone a thousand, where
#: Niculescu-Mizil and Caruana, "Predicting Good Probabilities with Supervised Learning" (2005),
#: section 5, have it overtake Platt's line: log-odds of votes are near a line. With a score a
#: hundred: its scale is anybody's, so a line in it is no more than a beginning.
CURVE_FROM = MappingProxyType({VOTES: 1000, SCORE: 100})
#: Weight, in questions, of "no feature matters" and of one right and one wrong answer more.
RIDGE, PRIOR = 1.0, 1.0
_STEPS, _ENOUGH = 100, 1e-10


@dataclass(frozen=True, slots=True, kw_only=True)
class Ends:
    """What a policy made of all streams.

    Attributes:
        policy: which.
        taken: `[R, P]` route of each.
        found: answers and draws.
        right: `[R, P]` grade of the answer; NaN where none was given.
    """

    policy: Policy
    taken: IntArray
    found: Replayed
    right: FloatArray


def ends_of(policy: Policy, evidence: Evidence) -> Ends | None:
    """How a policy ends on recorded draws; None if whole answers cannot tell."""
    found = policy.replay(evidence.streams)
    if found is None:
        return None
    given = (found.chosen >= 0) & (found.drawn >= 0)
    right = np.where(given, evidence.grades_of(found), np.nan)
    return Ends(policy=policy, taken=policy.route(evidence.streams), found=found, right=right)


def fitted(ends: Ends, evidence: Evidence, rows: IntArray) -> Confidence:
    """The maps of a policy, fitted on the answers to some questions.

    Args:
        ends: of the policy.
        evidence: the draws.
        rows: the questions to fit on.
    """
    routes = [route.strategy for route in ends.policy.routes]
    kinds = [verifier_of(strategy) for strategy in routes]
    maps = []
    for verifier in dict.fromkeys(kinds):
        here = np.isin(ends.taken, [i for i, kind in enumerate(kinds) if kind == verifier])
        inside = np.zeros(here.shape, bool)
        inside[:, rows] = here[:, rows] & np.isfinite(ends.right[:, rows])
        if inside.any():
            maps.append(_fitted_map(ends, evidence, inside, verifier))
    return Confidence(maps=tuple(maps))


def _fitted_map(
    ends: Ends, evidence: Evidence, inside: IntArray, verifier: str | None
) -> ConfidenceMap:
    """The map of one kind of route, fitted where `inside [R, P]` holds."""
    names = [VOTES] if evidence.recording.codes is not None else []
    names += [SCORE] if verifier in evidence.streams.scores else []
    blank = ConfidenceMap(
        verifier=verifier, features=tuple(names), weights=(), ranges=(), intercept=0.0
    )
    shape = (*inside.shape, 0)
    seen = features_at_end(blank, evidence.streams, ends.found) if names else np.zeros(shape)
    # Every question counts once, however many orders its draws are taken in.
    weight = np.broadcast_to(1 / inside.shape[0], inside.shape)[inside]
    right, seen = ends.right[inside], seen[inside]
    return fit_map(blank, seen, right, weight, int(inside.any(axis=0).sum()))


def fit_map(
    blank: ConfidenceMap, seen: FloatArray, right: FloatArray, weight: FloatArray, questions: int
) -> ConfidenceMap:
    """A map from features to the probability of being right.

    Minimises `-sum_i w_i [y_i ln p_i + (1 - y_i) ln(1 - p_i)] + RIDGE/2 |b|^2`, with b the slopes
    per standard deviation, and `PRIOR` times one right and one wrong answer at the mean added, so
    that nothing is ever certain: without features it is the smoothed rate (s + 1)/(m + 2).

    Args:
        blank: says which features these are.
        seen: `[M, F]`, NaN = missing, which counts as the lowest.
        right: `[M]` in [0, 1].
        weight: `[M]` in questions.
        questions: how many there are; decides whether a curve is fitted.

    References:
        Platt, "Probabilistic Outputs for Support Vector Machines" (1999), whose smoothed targets
        the two added answers are like; Zadrozny and Elkan (2002) for the isotonic curve.
    """
    missing = np.isnan(seen)
    low = np.where(missing, np.inf, seen).min(axis=0)
    low = np.where(np.isfinite(low), low, 0.0)
    known = np.where(missing, low, seen)
    high = known.max(axis=0)
    mean = np.average(known, axis=0, weights=weight)
    spread = np.sqrt(np.average((known - mean) ** 2, axis=0, weights=weight))
    # Equal values differ by rounding; that is no spread.
    spread = np.where(spread > 1e-9 * (1 + np.abs(mean)), spread, np.inf)
    slopes = _logistic((known - mean) / spread, right, weight)
    weights = slopes[:-1] / spread
    line = ConfidenceMap(
        verifier=blank.verifier,
        features=blank.features,
        weights=tuple(weights.tolist()),
        ranges=tuple(zip(low.tolist(), high.tolist(), strict=True)),
        intercept=float(slopes[-1] - weights @ mean),
    )
    if questions < CURVE_FROM[SCORE if SCORE in blank.features else VOTES]:
        return line
    return _with_curve(line, line.signal(seen), right, weight)


def _logistic(x: FloatArray, right: FloatArray, weight: FloatArray) -> FloatArray:
    """`[F + 1]` slopes and intercept of the ridge regression, by Newton's method."""
    num_features = x.shape[1]
    design = np.hstack([x, np.ones((len(x), 1))])
    at_mean = np.zeros((2, num_features + 1))
    at_mean[:, -1] = 1.0
    design = np.vstack([design, at_mean])
    target, mass = np.r_[right, 1.0, 0.0], np.r_[weight, PRIOR, PRIOR]
    penalty = np.diag(np.r_[np.full(num_features, RIDGE), 0.0])
    slopes = np.zeros(num_features + 1)
    for _ in range(_STEPS):
        prob = 1 / (1 + np.exp(-design @ slopes))
        gradient = design.T @ (mass * (target - prob)) - penalty @ slopes
        curvature = (design * (mass * prob * (1 - prob))[:, None]).T @ design + penalty
        step = np.linalg.solve(curvature, gradient)
        # A slope of more than 8 per standard deviation is no step but an overshoot.
        slopes += step * min(1.0, 8 / max(float(np.abs(step).max()), 1e-300))
        if np.abs(step).max() < _ENOUGH:
            break
    return slopes


def _with_curve(
    line: ConfidenceMap, signal: FloatArray, right: FloatArray, weight: FloatArray
) -> ConfidenceMap:
    """The map bent by isotonic regression, a point at the centre of each of its plateaus.

    A plateau's height is its share of right answers with one more answer at the line's own
    probability. Straight between the centres, as in Oron and Flournoy, "Centered Isotonic
    Regression" (2017): plateaus are where data are few, not where the truth is flat.
    """
    from sklearn.isotonic import isotonic_regression  # slow to load

    values, group = np.unique(signal, return_inverse=True)
    mass = np.bincount(group, weight)
    share = np.bincount(group, weight * right) / mass
    level = isotonic_regression(share, sample_weight=mass)
    block = np.unique(level, return_inverse=True)[1]
    total = np.bincount(block, mass)
    centre = np.bincount(block, mass * values) / total
    height = np.bincount(block, mass * share) / total
    own = 1 / (1 + np.exp(-centre))
    rising = np.maximum.accumulate((total * height + own) / (total + 1))
    curve = tuple(zip(centre.tolist(), rising.tolist(), strict=True))
    return ConfidenceMap(
        verifier=line.verifier,
        features=line.features,
        weights=line.weights,
        ranges=line.ranges,
        intercept=line.intercept,
        curve=curve,
    )


def sure_of(confidence: Confidence, ends: Ends, evidence: Evidence) -> FloatArray:
    """`[R, P]` probability that each answer is right; NaN without an answer."""
    routes = [route.strategy for route in ends.policy.routes]
    return confidence.of(routes, ends.taken, evidence.streams, ends.found)


def raw_share(ends: Ends, evidence: Evidence) -> FloatArray:
    """`[R, P]` share of the votes that the answer has, NaN without an answer."""
    streams, found = evidence.streams, ends.found
    usable = (np.arange(streams.length) < found.drawn[..., None]) & (streams.votes >= 0)
    own = (usable & (streams.votes == found.chosen[..., None])).sum(axis=-1)
    share = own / np.maximum(usable.sum(axis=-1), 1)
    return np.where(np.isfinite(ends.right), share, np.nan)


def held_out_confidence(
    policies: Sequence[Policy],
    evidence: Evidence,
    splits: Sequence[tuple[IntArray, IntArray]],
) -> tuple[FloatArray, FloatArray, FloatArray] | None:
    """Confidences, shares of votes and grades on questions that nothing was chosen or fitted on.

    Args:
        policies: one a split, made on its first part.
        evidence: the draws.
        splits: (questions to fit on, questions to look at).

    Returns:
        `[S R, P]` each, S = how often a question was looked at, NaN without an answer; None if
        whole answers cannot tell what a policy did.
    """
    known: dict[Policy, Ends | None] = {}
    num_orders, num_questions = evidence.shape
    times = np.zeros(num_questions, np.int64)
    most = max(np.bincount(np.concatenate([held for _, held in splits])))
    tables = np.full((3, most, num_orders, num_questions), np.nan)
    for policy, (own, held) in zip(policies, splits, strict=True):
        if policy not in known:
            known[policy] = ends_of(policy, evidence)
        ends = known[policy]
        if ends is None:
            return None
        sure = sure_of(fitted(ends, evidence, own), ends, evidence)
        for table, values in zip(
            tables, (sure, raw_share(ends, evidence), ends.right), strict=True
        ):
            table[times[held], :, held] = values[:, held].T
        times[held] += 1
    flat = tables.reshape(3, most * num_orders, num_questions)
    return flat[0], flat[1], flat[2]
