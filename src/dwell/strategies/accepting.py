"""Strategies that accept or decline: stop at a good score, give up, or abstain.

The first two draw one by one and ask a verifier after each draw; the third draws a whole vote
and answers only where the vote is clear. What an abstention is worth is the caller's to say:
the answer is None, and the draws are charged.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from dwell.errors import OutOfBudget
from dwell.protocols import Strategy
from dwell.records import Answer, Candidate, Problem
from dwell.requests import Emit, Solution
from dwell.strategies.asking import answers_of, appraise, check_lone, whole_answers
from dwell.strategies.parameters import (
    check_choice,
    check_int,
    check_number,
    check_sampling,
)
from dwell.strategies.selection import best_answer
from dwell.strategies.stopping import Tally, confidence_of, tally_of
from dwell.streams import BoolArray, Replayed, Streams


@dataclass(frozen=True, kw_only=True)
class VerifierThreshold(Strategy):
    """Draw one by one; give the first answer whose score is good enough, else the best of all.

    Stop at the first `score >= threshold`; after n draws `argmax_i score_i`. Best-of-N that stops
    early: it saves where the verifier is sure, and it limits over-optimisation, because fewer
    candidates have a chance to fool the verifier.

    Attributes:
        n: most draws, at least 1.
        threshold: score at which to stop.
        verifier: name of the verifier; not one that compares answers with each other.
        temperature: sampling temperature, at least 0; None = the generator's default.
        max_tokens: cap on an answer, in tokens; None = the generator's default.

    References:
        The stopping form of best-of-N in Cobbe et al., "Training Verifiers to Solve Math Word
        Problems" (2021); with a perfect verifier, repeated sampling until success as in Brown et
        al., "Large Language Monkeys" (2024).
    """

    name = "verifier_threshold"
    paper = "Cobbe et al. 2021, Training Verifiers to Solve Math Word Problems"

    n: int = 16
    threshold: float = 0.9
    verifier: str = "process"
    temperature: float | None = None
    max_tokens: int | None = None

    def __post_init__(self) -> None:
        check_int("n", self.n, least=1)
        check_number("threshold", self.threshold)
        check_lone("verifier", self.verifier)
        check_sampling(self.temperature, self.max_tokens)

    def solve(self, problem: Problem, rng: np.random.Generator) -> Solution:
        """Draw, verify, stop at a good score."""
        answers: list[Answer] = []
        scores: list[float] = []
        for left in reversed(range(self.n)):
            drawn = yield whole_answers(problem, 1, self.temperature, self.max_tokens)
            if drawn[0].answer is None:
                continue
            if not left and not answers:
                return drawn[0].answer  # type: ignore[no-any-return]
            if not answers:
                yield Emit(drawn[0].answer)
            score = (yield from appraise(drawn, self.verifier))[0]
            answers.append(drawn[0].answer)
            scores.append(score)
            if score >= self.threshold:
                break
            yield Emit(best_answer(answers, scores))
        return best_answer(answers, scores)

    def replay(self, streams: Streams) -> Replayed:
        """The best draw up to the first good one: a good one is better than all before it."""
        drawn = streams.drawn(streams.scores_of(self.verifier) >= self.threshold, self.n)
        place = streams.after(streams.best(self.verifier), drawn)
        return Replayed(drawn=drawn, chosen=streams.codes_at(place), place=place)


@dataclass(frozen=True, kw_only=True)
class FirstAccepted(Strategy):
    """Draw until the verifier accepts an answer; give up after n attempts.

    Stop at the first `score >= accept`; without one the answer is None. Where accepting a wrong
    answer costs more than giving up, more attempts make it worse from some number on: survivors
    of many rejections are mostly problems that the model cannot solve, and what is accepted
    there is mostly wrong. `dwell.metrics.optimal_attempts` computes that number K* from an
    estimated model of the problems and the verifier; use it as n.

    Attributes:
        n: K, most attempts, at least 1.
        accept: score from which on an answer is accepted.
        verifier: name of the verifier; not one that compares answers with each other.
        temperature: sampling temperature, at least 0; None = the generator's default.
        max_tokens: cap on an answer, in tokens; None = the generator's default.

    References:
        Stroebl et al., "Inference Scaling fLaws: The Limits of LLM Resampling with Imperfect
        Verifiers" (2024).
    """

    name = "first_accepted"
    paper = "Stroebl et al. 2024, Inference Scaling fLaws"
    abstains = True

    n: int = 4
    accept: float = 0.5
    verifier: str = "process"
    temperature: float | None = None
    max_tokens: int | None = None

    def __post_init__(self) -> None:
        check_int("n", self.n, least=1)
        check_number("accept", self.accept)
        check_lone("verifier", self.verifier)
        check_sampling(self.temperature, self.max_tokens)

    def solve(self, problem: Problem, rng: np.random.Generator) -> Solution:
        """Draw and verify until one is accepted."""
        for _ in range(self.n):
            drawn: tuple[Candidate, ...] = yield whole_answers(
                problem, 1, self.temperature, self.max_tokens
            )
            score = (yield from appraise(drawn, self.verifier))[0]
            if score >= self.accept:
                return drawn[0].answer
        return None

    def replay(self, streams: Streams) -> Replayed:
        """The first accepted draw."""
        accepted = streams.scores_of(self.verifier) >= self.accept
        drawn = streams.drawn(accepted, self.n)
        stopped = streams.after(accepted.astype(np.int64), drawn) == 1
        place = np.where(stopped, drawn - 1, -1)
        return Replayed(drawn=drawn, chosen=streams.codes_at(place), place=place)


@dataclass(frozen=True, kw_only=True)
class AbstainingMajority(Strategy):
    """Majority voting that answers only where the vote is clear.

    Draw n answers; give the most frequent if its share of the draws, or the posterior confidence
    that it beats the second, is at least `threshold`; else None. Sweeping the threshold
    trades answered problems for right answers (a risk-coverage curve).

    Attributes:
        n: number of draws, at least 1.
        by: "share" = votes of the leader among all n draws, or "confidence" =
            `P(Beta(a+1, b+1) > 1/2)` for a and b votes of the first two answers.
        threshold: in (0, 1).
        temperature: sampling temperature, at least 0; None = the generator's default.
        max_tokens: cap on an answer, in tokens; None = the generator's default.

    References:
        Wang et al., "Self-Consistency Improves Chain of Thought Reasoning in Language Models"
        (2022), section 3.5: consistency as a measure of confidence; the confidence is that of
        Aggarwal et al. (2023).
    """

    name = "abstaining_majority"
    paper = "Wang et al. 2022, Self-Consistency, section 3.5"
    abstains = True

    n: int = 16
    by: Literal["share", "confidence"] = "share"
    threshold: float = 0.5
    temperature: float | None = None
    max_tokens: int | None = None

    def __post_init__(self) -> None:
        check_int("n", self.n, least=1)
        check_choice("by", self.by, ("share", "confidence"))
        check_number("threshold", self.threshold, above=0.0, below=1.0)
        check_sampling(self.temperature, self.max_tokens)

    def solve(self, problem: Problem, rng: np.random.Generator) -> Solution:
        """Draw n answers; vote, or abstain."""
        try:
            drawn = yield whole_answers(problem, self.n, self.temperature, self.max_tokens)
        except OutOfBudget as stop:
            yield Emit(self._choice(answers_of(stop.partial)))
            raise
        return self._choice(answers_of(drawn))

    def _choice(self, answers: list[Answer]) -> Answer:
        tally = tally_of(answers)
        return tally.leader if self.clear(tally) else None

    def clear(self, tally: Tally) -> BoolArray:
        """`[...]` whether there is a vote and it is clear."""
        if self.by == "share":
            sure = tally.votes / np.maximum(tally.drawn, 1)
        else:
            sure = confidence_of(tally)
        return np.asarray((tally.votes > 0) & (sure >= self.threshold - 1e-9))

    def replay(self, streams: Streams) -> Replayed:
        """The leader after n draws, if it is clear."""
        drawn = streams.fixed(self.n)
        standing, after = streams.standing, streams.after
        tally = Tally(
            drawn=drawn,
            votes=np.maximum(after(standing.votes, drawn), 0),
            runner_up=np.maximum(after(standing.runner_up, drawn), 0),
            streak=after(standing.streak, drawn),
        )
        chosen = np.where(self.clear(tally), after(standing.leader, drawn), -1)
        return Replayed(drawn=drawn, chosen=chosen)
