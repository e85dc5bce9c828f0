"""What a policy's own draws say of its answer: the probability that it is right.

A map is a logistic line in what can be seen when the policy ends: the log-odds of the votes for
its answer, and the best score of a draw that gave it, where a verifier chose. With many questions
a rising curve through points refines it. Plan files hold maps as tables; this module reads,
writes and applies them. It knows nothing of how a map was fitted.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from dwell.errors import UsageError
from dwell.protocols import Strategy
from dwell.streams import BoolArray, FloatArray, IntArray, Replayed, Streams

VOTES, SCORE = "votes", "score"


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfidenceMap:
    """From features of a policy's end to the probability that its answer is right.

    `s = intercept + sum_j weight_j clip(x_j, low_j, high_j)`; the probability is `1/(1 + e^-s)`,
    or the height of the curve at s. A score that is missing counts as the lowest.

    Attributes:
        verifier: which scores the route's strategy chooses by; None = it counts votes.
        features: which of "votes" and "score" are looked at.
        weights: `[F]`.
        ranges: `[F]` (low, high) that the questions had: the line is not drawn beyond.
        intercept: log-odds.
        curve: points (s, probability), both rising; empty = the line alone.
    """

    verifier: str | None
    features: tuple[str, ...]
    weights: tuple[float, ...]
    ranges: tuple[tuple[float, float], ...]
    intercept: float
    curve: tuple[tuple[float, float], ...] = ()

    def signal(self, seen: FloatArray) -> FloatArray:
        """`[...]` log-odds of the line at features `[..., F]`."""
        total = np.full(seen.shape[:-1], self.intercept)
        for place, (weight, (low, high)) in enumerate(zip(self.weights, self.ranges, strict=True)):
            value = seen[..., place]
            total += weight * np.clip(np.where(np.isnan(value), low, value), low, high)
        return total

    def apply(self, seen: FloatArray) -> FloatArray:
        """`[...]` probability at features `[..., F]`."""
        signal = self.signal(seen)
        if not self.curve:
            return np.asarray(1 / (1 + np.exp(-signal)), np.float64)
        points, heights = zip(*self.curve, strict=True)
        return np.asarray(np.interp(signal, points, heights), np.float64)

    def apply_one(self, seen: Sequence[float]) -> float:
        """The same at one point `[F]`, a hundred times faster than as an array."""
        signal = self.intercept
        for value, weight, (low, high) in zip(seen, self.weights, self.ranges, strict=True):
            signal += weight * (low if math.isnan(value) else min(max(value, low), high))
        if not self.curve:
            return 1 / (1 + math.exp(-signal))
        points, heights = zip(*self.curve, strict=True)
        return float(np.interp(signal, points, heights))


@dataclass(frozen=True, slots=True, kw_only=True)
class Confidence:
    """The maps of a policy, and from where on it answers.

    Attributes:
        maps: at most one for each verifier.
        at_least: the policy declines to answer below this probability; None = it never declines.
    """

    maps: tuple[ConfidenceMap, ...]
    at_least: float | None = None

    def of(
        self, routes: Sequence[Strategy], taken: IntArray, streams: Streams, found: Replayed
    ) -> FloatArray:
        """`[...]` probability that each answer is right; NaN without an answer or a map.

        Args:
            routes: the policy's strategies.
            taken: `[...]` which of them each stream took.
            streams: the draws.
            found: what the policy made of them.
        """
        sure = np.full(np.shape(taken), np.nan)
        kinds = np.array([self._place(verifier_of(strategy)) for strategy in routes])[taken]
        for number, one in enumerate(self.maps):
            here = (kinds == number) & (found.chosen >= 0)
            if here.any():
                sure = np.where(here, one.apply(features_at_end(one, streams, found)), sure)
        return sure

    def of_one(
        self, strategy: Strategy, votes: int, cast: int, score: float = math.nan
    ) -> float | None:
        """Probability that the answer of one run is right; None without an answer or a map.

        Args:
            strategy: of the route that was taken.
            votes: draws that gave the answer.
            cast: draws that gave any.
            score: best of those that gave it; NaN = not scored.
        """
        place = self._place(verifier_of(strategy))
        if place < 0 or not votes:
            return None
        one = self.maps[place]
        seen = {VOTES: math.log((votes + 0.5) / (cast - votes + 0.5)), SCORE: score}
        return one.apply_one([seen[name] for name in one.features])

    def _place(self, verifier: str | None) -> int:
        """Number of a verifier's map, -1 where there is none."""
        return next((i for i, one in enumerate(self.maps) if one.verifier == verifier), -1)

    def answers(self, sure: npt.ArrayLike) -> BoolArray:
        """`[...]` whether it answers with these probabilities; NaN is never enough."""
        if self.at_least is None:
            return np.ones(np.shape(sure), bool)
        return np.asarray(sure, np.float64) >= self.at_least


def verifier_of(strategy: Strategy) -> str | None:
    """The verifier by whose scores a strategy chooses; None = by votes."""
    return min(strategy.verifiers(), default=None)


def features_at_end(wanted: ConfidenceMap, streams: Streams, found: Replayed) -> FloatArray:
    """`[..., F]` what a map looks at, when a policy has ended on streams."""
    usable = (np.arange(streams.length) < found.drawn[..., None]) & (streams.votes >= 0)
    own = usable & (streams.votes == found.chosen[..., None])
    columns = []
    for name in wanted.features:
        if name == VOTES:
            columns.append(vote_odds(own.sum(axis=-1), usable.sum(axis=-1)))
        else:
            assert wanted.verifier is not None
            scores = np.where(own, streams.scores_of(wanted.verifier), np.nan)
            best = np.where(np.isnan(scores), -np.inf, scores).max(axis=-1, initial=-np.inf)
            columns.append(np.where(np.isfinite(best), best, np.nan))
    return np.stack(columns, axis=-1)


def vote_odds(votes: IntArray, cast: IntArray) -> FloatArray:
    """Log-odds of an answer's share of the votes, half a vote added to each side.

    Examples:
        >>> vote_odds(np.array([4, 2]), np.array([4, 4])).round(3).tolist()
        [2.197, 0.0]
    """
    return np.asarray(np.log((votes + 0.5) / (cast - votes + 0.5)), np.float64)


def confidence_record(found: Confidence) -> dict[str, Any]:
    """A confidence as a JSON-able table."""
    return {
        "at_least": found.at_least,
        "maps": [
            {
                "verifier": one.verifier,
                "intercept": one.intercept,
                "features": {
                    name: {"weight": weight, "low": low, "high": high}
                    for name, weight, (low, high) in zip(
                        one.features, one.weights, one.ranges, strict=True
                    )
                },
                "curve": [list(point) for point in one.curve],
            }
            for one in found.maps
        ],
    }


def read_confidence(record: Any, source: str) -> Confidence | None:
    """The confidence in a plan's table; None where the plan has none.

    Args:
        record: what `confidence_record` wrote, perhaps with more beside it; None = none.
        source: what to call it in messages, such as a file's name.

    Raises:
        UsageError: it is not such a table.
    """
    if record is None:
        return None
    try:
        at_least = record["at_least"]
        maps = tuple(_read_map(one) for one in record["maps"])
        return Confidence(maps=maps, at_least=None if at_least is None else _number(at_least))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UsageError(
            f"{source}: a plan's `confidence` needs `at_least` and `maps` as `dwell plan` writes "
            f"them, but it has not ({type(error).__name__}: {error}). Make it again."
        ) from error


def _read_map(record: Mapping[str, Any]) -> ConfidenceMap:
    features = dict(record["features"])
    verifier = record["verifier"]
    if not set(features) <= {VOTES, SCORE} or (SCORE in features and not verifier):
        raise ValueError(f"features {sorted(features)} of verifier {verifier!r}")
    curve = tuple((_number(s), _number(p)) for s, p in record["curve"])
    heights = [p for _, p in curve]
    if list(curve) != sorted(curve) or [0, *heights, 1] != sorted([0, *heights, 1]):
        raise ValueError("a curve that does not rise from 0 to 1")
    return ConfidenceMap(
        verifier=verifier,
        features=tuple(features),
        weights=tuple(_number(one["weight"]) for one in features.values()),
        ranges=tuple((_number(one["low"]), _number(one["high"])) for one in features.values()),
        intercept=_number(record["intercept"]),
        curve=curve,
    )


def _number(value: Any) -> float:
    if isinstance(value, bool) or not math.isfinite(value):
        raise ValueError(f"{value!r} is no number")
    return float(value)
