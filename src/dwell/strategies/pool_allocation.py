"""A pool's budget shared out once, after a few draws of every question.

The allocation is a function of arrays (`dwell.strategies.gains`) that `solve` calls for one pool
and `replay` for many.

Letters: `P` questions of a pool, `J` further draws of a question.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from dwell.errors import OutOfBudget
from dwell.protocols import Strategy
from dwell.records import Candidate, Problem
from dwell.requests import Emit
from dwell.strategies.asking import answers_of, appraise, check_lone, whole_answers
from dwell.strategies.gains import coverage_gains, greedy, vote_gains
from dwell.strategies.parameters import check_choice, check_int, check_sampling
from dwell.strategies.pools import Pooling, members_of, voted
from dwell.strategies.selection import best_answer, top_two
from dwell.streams import FloatArray, IntArray, Replayed, Streams


@dataclass(frozen=True, kw_only=True)
class PoolAllocation(Strategy):
    """Probe every question with a few draws, then spend the rest where it brings most.

    Each question gets `probe` draws, which count and are used. They give an estimate of what its
    j-th further draw brings; these gains fall with j (concave values, or their concave hull), so
    that giving the draws that are left to the largest gains is optimal for the estimate. All
    draws are made in two waves. Objectives:

    - "vote": the posterior probability that the leader is what the vote tends to, in the model of
      `dwell.strategies.gains.vote_gains`; the answer is the majority.
    - "coverage": the posterior probability of a right draw, from the verifier's scores read as
      probabilities, see `dwell.strategies.gains.coverage_gains`; the answer is the best scored.

    Attributes:
        n: draws a question on average, at least 1.
        objective: "vote" or "coverage".
        probe: draws of each question in the first wave, at least 1; n if that is less.
        cap: most draws of one question, at least 1.
        verifier: for "coverage": name of the verifier, its scores in `[0, 1]`.
        temperature: sampling temperature, at least 0; None = the generator's default.
        max_tokens: cap on an answer, in tokens; None = the generator's default.

    References:
        Damani et al., "Learning How Hard to Think: Input-Adaptive Allocation of LM Computation"
        (2024): marginal-greedy allocation over questions. They predict the gains by a probe of
        the model's hidden states; here they come from the first draws, which are charged.
    """

    name = "pool_allocation"
    paper = "Damani et al. 2024, Learning How Hard to Think"
    pooled = True

    n: int = 8
    objective: Literal["vote", "coverage"] = "vote"
    probe: int = 4
    cap: int = 40
    verifier: str = "process"
    temperature: float | None = None
    max_tokens: int | None = None

    def __post_init__(self) -> None:
        check_int("n", self.n, least=1)
        check_choice("objective", self.objective, ("vote", "coverage"))
        check_int("probe", self.probe, least=1)
        check_int("cap", self.cap, least=1)
        check_lone("verifier", self.verifier)
        check_sampling(self.temperature, self.max_tokens)

    def verifiers(self) -> frozenset[str]:
        """The verifier, where coverage is the objective."""
        return frozenset({self.verifier} if self.objective == "coverage" else ())

    @property
    def first(self) -> int:
        """Draws of each question in the first wave."""
        return min(self.probe, self.n, self.cap)

    def further(self, gains: FloatArray) -> IntArray:
        """`[..., P]` draws of each question in the second wave, from gains `[..., P, J]`."""
        return greedy(gains, (self.n - self.first) * gains.shape[-2])

    def solve(self, problem: Problem, rng: np.random.Generator) -> Pooling:
        """Two waves of draws; between them the allocation."""
        members = members_of(problem)
        drawn: list[list[Candidate]] = [[] for _ in members]
        scores: list[list[float]] = [[] for _ in members]
        yield from self._draw(members, drawn, [self.first] * len(members))
        room = self.cap - self.first
        if self.n > self.first and room:
            if self.objective == "vote":
                tops = np.array([top_two(answers_of(each))[1:] for each in drawn])
                gains = vote_gains(self.first, room)[tops[:, 0], tops[:, 1]]
            else:
                yield from self._score(members, drawn, scores, least=1)
                gains = coverage_gains(np.array(scores), room)
            yield from self._draw(members, drawn, self.further(gains).tolist())
        if self.objective == "vote":
            return voted(members, [answers_of(each) for each in drawn])
        yield from self._score(members, drawn, scores, least=2)
        return {
            member.id: best_answer(answers_of(each), known)
            for member, each, known in zip(members, drawn, scores, strict=True)
        }

    def _draw(
        self, members: Sequence[Problem], drawn: list[list[Candidate]], counts: Sequence[int]
    ) -> Pooling:
        """Draw `counts` `[P]` answers, all at once, and add them to `drawn`."""
        places = [place for place, count in enumerate(counts) if count]
        asked = [
            whole_answers(
                members[place], counts[place], self.temperature, self.max_tokens, member=True
            )
            for place in places
        ]
        try:
            replies = yield asked
        except OutOfBudget as stop:
            for place, reply in zip(places, stop.partial or (), strict=False):
                drawn[place] += reply or ()
            yield Emit(voted(members, [answers_of(each) for each in drawn]))  # type: ignore[arg-type]
            raise
        for place, reply in zip(places, replies, strict=True):
            drawn[place] += reply

    def _score(
        self,
        members: Sequence[Problem],
        drawn: Sequence[Sequence[Candidate]],
        scores: list[list[float]],
        *,
        least: int,
    ) -> Pooling:
        """Score what is not scored yet; not where there are fewer than `least` answers."""
        news = [
            each[len(known) :] if sum(c.answer is not None for c in each) >= least else ()
            for each, known in zip(drawn, scores, strict=True)
        ]
        yield Emit(voted(members, [answers_of(each) for each in drawn]))  # type: ignore[arg-type]
        replies = yield [
            appraise(new, self.verifier, member=member.id)
            for member, new in zip(members, news, strict=True)
        ]
        for each, known, reply in zip(drawn, scores, replies, strict=True):
            known += reply.tolist()
            known += [float("nan")] * (len(each) - len(known))

    def replay(self, streams: Streams) -> Replayed:
        """The allocation from the first draws of each stream."""
        room = self.cap - self.first
        drawn = np.broadcast_to(streams.fixed(self.first), streams.codes.shape[:-1])
        whole = (drawn > 0).all(axis=-1, keepdims=True)
        if self.n > self.first and room and streams.length >= self.first:
            if self.objective == "vote":
                standing, at = streams.standing, self.first - 1
                table = vote_gains(self.first, room)
                gains = table[standing.votes[..., at], standing.runner_up[..., at]]
            else:
                scores = streams.scores_of(self.verifier)[..., : self.first]
                gains = coverage_gains(scores, room)
            drawn = drawn + self.further(gains)
        known = whole & (drawn <= np.asarray(streams.sizes)).all(axis=-1, keepdims=True)
        drawn = np.where(known, drawn, -1)
        if self.objective == "vote":
            return Replayed(drawn=drawn, chosen=streams.after(streams.standing.leader, drawn))
        place = streams.after(streams.best(self.verifier), drawn)
        return Replayed(drawn=drawn, chosen=streams.codes_at(place), place=place)
