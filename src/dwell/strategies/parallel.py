"""Independent whole answers: one sample, majority, weighted majority, best-of-N.

All four ask the same first request, so at equal `n` they differ in the choice alone and share
every recorded draw. With n = 1 each of them *is* a single sample and costs the same: nothing is
verified where there is nothing to choose.
"""

from __future__ import annotations

from collections.abc import Generator as PyGenerator
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from dwell.errors import OutOfBudget
from dwell.protocols import Strategy
from dwell.records import Answer, Candidate, Problem
from dwell.requests import Emit, Mode, Solution
from dwell.strategies.asking import GROUP_VERIFIERS, answers_of, appraise, whole_answers
from dwell.strategies.parameters import check_choice, check_int, check_name, check_sampling
from dwell.strategies.selection import Choice, choose_answer, majority, weighted_leader
from dwell.streams import IntArray, Replayed, Streams

MODES = ("outcome", "prefix", "group")


@dataclass(frozen=True, kw_only=True)
class Sample(Strategy):
    """n independent answers; the answer given is the first.

    The baseline of every curve at n = 1, and at larger n the draws from which coverage
    (pass@k: does *any* of k answers hold?) is estimated.

    Attributes:
        n: number of draws, at least 1.
        temperature: sampling temperature, at least 0; None = the generator's default.
        max_tokens: cap on an answer, in tokens; None = the generator's default.

    References:
        Brown et al., "Large Language Monkeys: Scaling Inference Compute with Repeated Sampling"
        (2024): coverage `pass@k = 1 - C(n-c, k) / C(n, k)`.
    """

    name = "sample"
    exchangeable = "pass"
    paper = "Brown et al. 2024, Large Language Monkeys"

    n: int = 1
    temperature: float | None = None
    max_tokens: int | None = None

    def __post_init__(self) -> None:
        check_int("n", self.n, least=1)
        check_sampling(self.temperature, self.max_tokens)

    def solve(self, problem: Problem, rng: np.random.Generator) -> Solution:
        """Draw n answers; return the first."""
        try:
            candidates = yield whole_answers(problem, self.n, self.temperature, self.max_tokens)
        except OutOfBudget as stop:
            if stop.partial:
                yield Emit(stop.partial[0].answer)
            raise
        return candidates[0].answer  # type: ignore[no-any-return]

    def replay(self, streams: Streams) -> Replayed:
        """The first of n draws."""
        drawn = streams.fixed(self.n)
        place = np.where(drawn > 0, 0, -1)
        return Replayed(drawn=drawn, chosen=streams.codes_at(place), place=place)


@dataclass(frozen=True, kw_only=True)
class Majority(Strategy):
    """Self-consistency: draw n answers, return the most frequent.

    `answer = argmax_a sum_i 1[a_i = a]`. Needs answers that can be equal: where many different
    answers are right it measures how canonical they are, not how right.

    Attributes:
        n: number of draws, at least 1.
        temperature: sampling temperature, at least 0; None = the generator's default.
        max_tokens: cap on an answer, in tokens; None = the generator's default.

    References:
        Wang et al., "Self-Consistency Improves Chain of Thought Reasoning in Language Models"
        (2022).
    """

    name = "majority"
    exchangeable = "vote"
    paper = "Wang et al. 2022, Self-Consistency"

    n: int = 16
    temperature: float | None = None
    max_tokens: int | None = None

    def __post_init__(self) -> None:
        check_int("n", self.n, least=1)
        check_sampling(self.temperature, self.max_tokens)

    def solve(self, problem: Problem, rng: np.random.Generator) -> Solution:
        """Draw n answers; vote."""
        try:
            candidates = yield whole_answers(problem, self.n, self.temperature, self.max_tokens)
        except OutOfBudget as stop:
            yield Emit(majority(answers_of(stop.partial)))
            raise
        return majority(answers_of(candidates))

    def replay(self, streams: Streams) -> Replayed:
        """The leader after n draws."""
        drawn = streams.fixed(self.n)
        return Replayed(drawn=drawn, chosen=streams.after(streams.standing.leader, drawn))


@dataclass(frozen=True, kw_only=True)
class _Verified(Strategy):
    """Draw n answers, score them, choose by score: what the next two strategies share."""

    how: ClassVar[Choice]

    n: int = 16
    verifier: str = "process"
    mode: Mode | None = None
    temperature: float | None = None
    max_tokens: int | None = None

    def __post_init__(self) -> None:
        check_int("n", self.n, least=1)
        check_name("verifier", self.verifier)
        if self.mode is not None:
            check_choice("mode", self.mode, MODES)
        check_sampling(self.temperature, self.max_tokens)

    def solve(self, problem: Problem, rng: np.random.Generator) -> Solution:
        """Draw n answers; choose among them, or among those that the budget allowed."""
        try:
            candidates = yield whole_answers(problem, self.n, self.temperature, self.max_tokens)
        except OutOfBudget as stop:
            yield Emit((yield from self.chosen(stop.partial)))
            raise
        return (yield from self.chosen(candidates))

    def chosen(self, candidates: Sequence[Candidate]) -> PyGenerator[Any, Any, Answer]:
        """The answer chosen by the verifier's scores."""
        answers = answers_of(candidates)
        if sum(answer is not None for answer in answers) < 2:
            return majority(answers)
        yield Emit(majority(answers))
        scores = yield from appraise(candidates, self.verifier, mode=self.mode)
        return choose_answer(self.how, answers, scores)

    def replay(self, streams: Streams) -> Replayed | None:
        """The choice among n draws; None where scores depend on what they are compared with."""
        if self.mode is not None or self.verifier in GROUP_VERIFIERS:
            return None
        return self.replayed(streams, streams.fixed(self.n))

    def replayed(self, streams: Streams, drawn: IntArray) -> Replayed:
        """The choice among the first `drawn` `[...]` draws of each stream."""
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class WeightedMajority(_Verified):
    """Best-of-N weighted: draw n answers, sum the scores of equal ones, return the largest sum.

    `answer = argmax_a sum_i w_i 1[a_i = a]`, where w_i is the verifier's score of answer i (for a
    process verifier the score at its last step). Scores below 0 are read as log-weights, see
    `dwell.strategies.selection.vote_weights`.

    Attributes:
        n: number of draws, at least 1.
        verifier: name of the verifier.
        mode: how it is asked: None = "outcome" ("group" for verifiers that compare answers).
        temperature: sampling temperature, at least 0; None = the generator's default.
        max_tokens: cap on an answer, in tokens; None = the generator's default.

    References:
        Snell et al., "Scaling LLM Test-Time Compute Optimally can be More Effective than Scaling
        Model Parameters" (2024), section 5.1; Li et al., "Making Language Models Better Reasoners
        with Step-Aware Verifier" (2023).
    """

    name = "weighted_majority"
    paper = "Snell et al. 2024, best-of-N weighted"
    how = "weighted"

    def replayed(self, streams: Streams, drawn: IntArray) -> Replayed:
        """The answer with the largest sum of scores."""
        votes = np.where(drawn[..., None] > 0, streams.votes, -1)[..., : self.n]
        scores = streams.scores_of(self.verifier)[..., : self.n]
        return Replayed(drawn=drawn, chosen=weighted_leader(votes, scores))


@dataclass(frozen=True, kw_only=True)
class BestOfN(_Verified):
    """Best-of-N: draw n answers, return the one with the highest score.

    `answer = a_j, j = argmax_i score_i`. With the verifier "exact", which reads the reference
    answer, this is an oracle: an upper bound (coverage), not a method.

    Attributes:
        n: number of draws, at least 1.
        verifier: name of the verifier.
        mode: how it is asked: None = "outcome" ("group" for verifiers that compare answers).
        temperature: sampling temperature, at least 0; None = the generator's default.
        max_tokens: cap on an answer, in tokens; None = the generator's default.

    References:
        Cobbe et al., "Training Verifiers to Solve Math Word Problems" (2021); Snell et al. (2024).
    """

    name = "best_of_n"
    exchangeable = "best"
    paper = "Cobbe et al. 2021, Training Verifiers to Solve Math Word Problems"
    how = "best"

    def replayed(self, streams: Streams, drawn: IntArray) -> Replayed:
        """The draw with the highest score."""
        place = streams.after(streams.best(self.verifier), drawn)
        return Replayed(drawn=drawn, chosen=streams.codes_at(place), place=place)
