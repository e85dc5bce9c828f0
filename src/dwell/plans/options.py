"""The strategies and probes among which a plan may choose: few, and each easy to say.

A large family finds something in any noise. So there are few budgets, a handful of stopping
rules, and features that are counts or the best score of the first 2, 4 or 8 draws.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from dwell.errors import UsageError
from dwell.plans.evidence import Evidence, FloatArray, IntArray
from dwell.protocols import Strategy
from dwell.recordings.arrays import Recording
from dwell.strategies import make
from dwell.strategies.policy import features_of
from dwell.streams import Streams

#: Parameters of the stopping rules: from impatient to patient.
STOPPING: tuple[tuple[str, dict[str, Any]], ...] = (
    *(("adaptive_consistency", {"threshold": t}) for t in (0.8, 0.9, 0.95, 0.99)),
    *(("early_stopping", {"window": w}) for w in (2, 3, 5)),
    *(("marginal_gain", {"cost": c}) for c in (0.01, 0.001)),
)
#: Shares of scores above which a verifier's first acceptance ends the search.
ACCEPTANCE_QUANTILES = (0.5, 0.8, 0.95)
PROBES = (2, 4, 8)
#: Where a score is cut into bins, alone and together with votes.
SCORE_QUANTILES, SCORE_MEDIAN = (0.25, 0.5, 0.75), (0.5,)


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """What a policy looks at after its first draws.

    Attributes:
        draws: m of them; 0 = it does not look.
        features: which; each is cut into bins.
        score: the verifier of `top_score`.
    """

    draws: int = 0
    features: tuple[str, ...] = ()
    score: str | None = None

    def cuts(self, evidence: Evidence, rows: IntArray) -> tuple[tuple[float, ...], ...]:
        """Bin edges of each feature: whole numbers of votes, quantiles of scores.

        Args:
            evidence: the draws.
            rows: questions that may be looked at.
        """
        return tuple(self._cuts_of(name, evidence, rows) for name in self.features)

    def _cuts_of(self, name: str, evidence: Evidence, rows: IntArray) -> tuple[float, ...]:
        if name != "top_score":
            return tuple(float(votes) for votes in range(1, self.draws + 1))
        seen = features_of(evidence.streams, self.draws, self.score)[name][:, rows]
        finite = seen[np.isfinite(seen)]
        shares = SCORE_QUANTILES if len(self.features) == 1 else SCORE_MEDIAN
        edges = np.quantile(finite, shares) if len(finite) else np.zeros(0)
        return tuple(np.unique(_readable(edges)).tolist())

    def cells(self, streams: Streams, cuts: Sequence[Sequence[float]]) -> IntArray:
        """`[...]` number of the cell (combination of bins) of each stream."""
        number = np.zeros(np.shape(streams.sizes), np.int64)
        if not self.draws:
            return number
        seen = features_of(streams, self.draws, self.score)
        for name, edges in zip(self.features, cuts, strict=True):
            number = number * (len(edges) + 1) + np.searchsorted(edges, seen[name], side="right")
        return number

    @staticmethod
    def count(cuts: Sequence[Sequence[float]]) -> int:
        """How many cells there are."""
        return int(np.prod([len(edges) + 1 for edges in cuts], initial=1))


def _readable(values: FloatArray) -> FloatArray:
    """Three significant digits: a cut that a person can read is as good as any other."""
    return np.array([float(f"{value:.3g}") for value in values])


def ladder(cap: int) -> tuple[int, ...]:
    """1, 2, 3, 4, 6, 8, 12, 16, ... and the cap.

    Examples:
        >>> ladder(10)
        (1, 2, 3, 4, 6, 8, 10)
    """
    powers = [2**i for i in range(int(np.log2(cap)) + 1)]
    steps = {*powers, *(3 * power for power in powers), cap}
    return tuple(sorted(step for step in steps if step <= cap))


def fine_ladder(cap: int) -> tuple[int, ...]:
    """Every number up to 8, then four to each doubling, and the cap.

    Examples:
        >>> fine_ladder(20)
        (1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 16, 20)
    """
    steps = {*range(1, 9), cap}
    for power in range(3, int(np.log2(max(cap, 8))) + 1):
        steps |= {2**power * quarter // 4 for quarter in (5, 6, 7, 8)}
    return tuple(sorted(step for step in steps if step <= cap))


def score_columns(recording: Recording, wanted: Sequence[str] = ()) -> tuple[str, ...]:
    """The scores to plan with: those asked for, else the column `score` if there is one.

    Raises:
        UsageError: one asked for was not recorded.
    """
    unknown = [name for name in wanted if name not in recording.columns]
    if unknown:
        known = ", ".join(sorted(recording.columns)) or "none"
        raise UsageError(
            f"`--score` must name a recorded number of each draw, but got {unknown[0]!r} "
            f"(recorded: {known})."
        )
    return tuple(wanted) or (("score",) if "score" in recording.columns else ())


def fixed_choices(evidence: Evidence, scores: Sequence[str]) -> list[Strategy]:
    """One sample, and votes and best-of-n at every step of the fine ladder."""
    found = [make("sample", n=1)]
    votes = evidence.recording.codes is not None
    for n in fine_ladder(evidence.cap)[1:]:
        # Two draws make no other vote than one.
        found += [make("majority", n=n)] if votes and n > 2 else []
        for score in scores:
            found.append(make("best_of_n", n=n, verifier=score))
            found += [make("weighted_majority", n=n, verifier=score)] if votes and n > 2 else []
    return found


def stopping_choices(evidence: Evidence, scores: Sequence[str]) -> list[Strategy]:
    """Stopping rules with caps on the ladder, from 4 on."""
    caps = [n for n in ladder(evidence.cap) if n >= 4]
    found = []
    for n in caps:
        if evidence.recording.codes is not None:
            found += [make(name, n=n, **params) for name, params in STOPPING]
        for score in scores:
            found += [
                make("verifier_threshold", n=n, verifier=score, threshold=float(cut))
                for cut in _acceptance_cuts(evidence.recording.columns[score])
            ]
    return found


def _acceptance_cuts(scores: FloatArray) -> FloatArray:
    finite = scores[np.isfinite(scores)]
    return (
        np.unique(_readable(np.quantile(finite, ACCEPTANCE_QUANTILES))) if len(finite) else finite
    )


def probes(evidence: Evidence, scores: Sequence[str]) -> list[Probe]:
    """What routes may depend on, simplest first; the first does not look at all."""
    found = [Probe()]
    votes = evidence.recording.codes is not None
    for draws in (m for m in PROBES if 2 * m <= evidence.cap):
        if votes:
            found.append(Probe(draws=draws, features=("leader_votes",)))
        for score in scores:
            found.append(Probe(draws=draws, features=("top_score",), score=score))
        if votes and draws == 4:
            found.append(Probe(draws=draws, features=("leader_votes", "runner_up_votes")))
            found += [
                Probe(draws=draws, features=("leader_votes", "top_score"), score=score)
                for score in scores
            ]
    return found
