"""Strategies that decide while they draw: adaptive consistency stops when the vote is settled."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from dwell.protocols import Strategy
from dwell.records import Answer, Problem
from dwell.requests import Emit, Solution
from dwell.strategies.asking import whole_answers
from dwell.strategies.parameters import check_int, check_number, check_sampling
from dwell.strategies.selection import majority, top_two


def confidence(leader: int, runner_up: int) -> float:
    """Posterior probability that the leading answer beats the runner-up in the long run.

    `P(Beta(a+1, b+1) > 1/2)` for counts a and b. Both parameters are whole numbers, so it is the
    binomial sum `sum_{i <= a} C(a+b+1, i) / 2^(a+b+1)`, exactly.

    Args:
        leader: a, votes of the leading answer.
        runner_up: b, votes of the second.

    Returns:
        A probability; 1/2 where both have equal votes.

    Examples:
        >>> [confidence(a, 0) for a in (1, 2, 3, 4)]
        [0.75, 0.875, 0.9375, 0.96875]
    """
    draws = leader + runner_up + 1
    # Whole numbers until the one division: exact for any number of draws.
    favourable = sum(math.comb(draws, i) for i in range(leader + 1))
    return float(favourable / (1 << draws))


@dataclass(frozen=True, kw_only=True)
class AdaptiveConsistency(Strategy):
    """Majority voting that stops early: draw one by one until the leader is probably final.

    After each draw, with a and b votes for the first and second answer, stop when
    `P(Beta(a+1, b+1) > 1/2) >= threshold`, at the latest after n draws. With the default
    threshold four equal answers in a row are enough. What it saves depends on how many problems
    are easy, not on the rule; the draws are sequential, so it takes longer than one vote.

    Attributes:
        n: most draws, at least 1.
        threshold: confidence at which to stop, in (0.5, 1).
        temperature: sampling temperature, at least 0; None = the generator's default.
        max_tokens: cap on an answer, in tokens; None = the generator's default.

    References:
        Aggarwal et al., "Let's Sample Step by Step: Adaptive-Consistency for Efficient Reasoning
        and Coding with LLMs" (2023), the Beta stopping rule (threshold 0.95, cap 40).
    """

    name = "adaptive_consistency"
    paper = "Aggarwal et al. 2023, Adaptive-Consistency"

    n: int = 40
    threshold: float = 0.95
    temperature: float | None = None
    max_tokens: int | None = None

    def __post_init__(self) -> None:
        check_int("n", self.n, least=1)
        check_number("threshold", self.threshold, above=0.5, below=1.0)
        check_sampling(self.temperature, self.max_tokens)

    def solve(self, problem: Problem, rng: np.random.Generator) -> Solution:
        """Draw, vote, stop when sure."""
        answers: list[Answer] = []
        best: Answer = None
        for _ in range(self.n):
            drawn = yield whole_answers(problem, 1, self.temperature, self.max_tokens)
            answers.append(drawn[0].answer)
            leader, votes, runner_up = top_two(answers)
            if leader != best:
                best = leader
                yield Emit(best)
            if confidence(votes, runner_up) >= self.threshold:
                break
        return majority(answers)
