"""Votes that decide while they draw: each stops by one rule of `dwell.strategies.stopping`.

They share the loop and differ in the rule alone. `solve` and `replay` ask the same rule the same
question, so a recording says exactly what a live run would have done.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from dwell.errors import OutOfBudget
from dwell.protocols import Strategy
from dwell.records import Answer, Problem
from dwell.requests import Emit, Solution
from dwell.strategies.asking import answers_of, whole_answers
from dwell.strategies.parameters import check_choice, check_int, check_sampling
from dwell.strategies.selection import majority
from dwell.strategies.stopping import (
    BetaRule,
    DirichletRule,
    GainRule,
    PprRule,
    StopRule,
    WindowRule,
    tally_of,
)
from dwell.streams import Replayed, Streams


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
class _UntilSettled(Strategy):
    """Draw and vote until a rule is content, at most n times: what the next four share."""

    n: int = 40
    temperature: float | None = None
    max_tokens: int | None = None

    def __post_init__(self) -> None:
        check_int("n", self.n, least=1)
        check_sampling(self.temperature, self.max_tokens)
        self.stop_rule()

    def stop_rule(self) -> StopRule:
        """The rule; making it checks its parameters."""
        raise NotImplementedError

    def step(self) -> int:
        """Draws made at once, between two looks at the rule."""
        return 1

    def solve(self, problem: Problem, rng: np.random.Generator) -> Solution:
        """Draw, vote, stop when settled."""
        rule, answers = self.stop_rule(), list[Answer]()
        best: Answer = None
        while len(answers) < self.n:
            count = min(self.step(), self.n - len(answers))
            try:
                drawn = yield whole_answers(problem, count, self.temperature, self.max_tokens)
            except OutOfBudget as stop:
                yield Emit(majority(answers + answers_of(stop.partial)))
                raise
            answers += answers_of(drawn)
            tally = tally_of(answers)
            if tally.leader != best:
                best = tally.leader
                yield Emit(best)
            if rule.settled(tally):
                break
        return best

    def replay(self, streams: Streams) -> Replayed:
        """The leader after the first draw that contents the rule."""
        drawn = streams.drawn(self.stop_rule().stops(streams, self.n), self.n)
        return Replayed(drawn=drawn, chosen=streams.after(streams.standing.leader, drawn))


@dataclass(frozen=True, kw_only=True)
class AdaptiveConsistency(_UntilSettled):
    """Majority voting that stops early: draw one by one until the leader is probably final.

    After each draw, with a and b votes for the first and second answer, stop when
    `P(Beta(a+1, b+1) > 1/2) >= threshold`, at the latest after n draws. With the default
    threshold four equal answers in a row are enough. What it saves depends on how many problems
    are easy, not on the rule; the draws are sequential, so it takes longer than one vote.

    Attributes:
        n: most draws, at least 1.
        threshold: confidence at which to stop, in (0.5, 1).
        rule: "beta" compares the first two answers; "dirichlet" all answers seen, see
            `dwell.strategies.stopping`.
        temperature: sampling temperature, at least 0; None = the generator's default.
        max_tokens: cap on an answer, in tokens; None = the generator's default.

    References:
        Aggarwal et al., "Let's Sample Step by Step: Adaptive-Consistency for Efficient Reasoning
        and Coding with LLMs" (2023), the Beta stopping rule (threshold 0.95, cap 40).
    """

    name = "adaptive_consistency"
    paper = "Aggarwal et al. 2023, Adaptive-Consistency"

    threshold: float = 0.95
    rule: Literal["beta", "dirichlet"] = "beta"

    def stop_rule(self) -> StopRule:
        """The Beta or the Dirichlet rule."""
        check_choice("rule", self.rule, ("beta", "dirichlet"))
        return (BetaRule if self.rule == "beta" else DirichletRule)(self.threshold)


@dataclass(frozen=True, kw_only=True)
class EarlyStopping(_UntilSettled):
    """Majority voting in windows: stop at the first window of equal answers.

    Draw `window` answers at once; if all are equal stop, else draw the next window, at most n
    draws; vote over all of them. It needs no model of the vote and draws a window at a time, so
    it is faster than one-by-one rules, but never uses fewer than `window` draws.

    Attributes:
        n: most draws, at least 1.
        window: draws in a window, at least 1.
        temperature: sampling temperature, at least 0; None = the generator's default.
        max_tokens: cap on an answer, in tokens; None = the generator's default.

    References:
        Li et al., "Escape Sky-high Cost: Early-stopping Self-Consistency for Multi-step
        Reasoning" (2024), algorithm 1.
    """

    name = "early_stopping"
    paper = "Li et al. 2024, Early-stopping Self-Consistency"

    window: int = 5

    def stop_rule(self) -> StopRule:
        """A window of equal answers."""
        return WindowRule(self.window)

    def step(self) -> int:
        """A window at once."""
        return self.window


@dataclass(frozen=True, kw_only=True)
class Ppr(_UntilSettled):
    """Majority voting with a guarantee: stop when the prior-posterior ratio settles the vote.

    Draw one by one; stop when the posterior density of "first and second are equally likely" has
    fallen to `delta / (num_answers - 1)`. However often it looks, the answer it stops at is not
    the most likely one with probability at most `delta`. It pays for that with draws: seven equal
    answers where adaptive consistency needs four.

    Attributes:
        n: most draws, at least 1; the guarantee does not hold for votes that the cap ends.
        delta: probability of stopping at a wrong leader, in (0, 1).
        num_answers: K, answers that are possible, at least 2.
        temperature: sampling temperature, at least 0; None = the generator's default.
        max_tokens: cap on an answer, in tokens; None = the generator's default.

    References:
        Jain et al., "PAC Mode Estimation using PPR Martingale Confidence Sequences" (2022),
        PPR-1v1; as a stopping rule for votes: "Optimal Self-Consistency" (2025).
    """

    name = "ppr"
    paper = "Jain et al. 2022, PAC Mode Estimation using PPR Martingale Confidence Sequences"

    delta: float = 0.1
    num_answers: int = 2

    def stop_rule(self) -> StopRule:
        """PPR-1v1 after at least four draws."""
        return PprRule(self.delta, self.num_answers)


@dataclass(frozen=True, kw_only=True)
class MarginalGain(_UntilSettled):
    """Majority voting that stops when more draws are not worth their cost.

    `cost` is what a draw costs in units of accuracy: 0.005 says that 200 draws may be spent to
    answer one question more as the vote would with endless draws. Stop when the expected gain in
    the probability that the leader is that answer, of going on in the best way, is below the cost
    of its draws. Unlike a threshold on confidence it gives up on near-ties, and it knows how many
    draws are left.

    Attributes:
        n: most draws, at least 1.
        cost: of a draw, in units of the probability that the vote is right; above 0.
        temperature: sampling temperature, at least 0; None = the generator's default.
        max_tokens: cap on an answer, in tokens; None = the generator's default.

    References:
        Ours: optimal stopping by backward induction on the Beta posterior of Aggarwal et al.
        (2023); see `dwell.strategies.stopping.GainRule` for the equation.
    """

    name = "marginal_gain"
    paper = "ours: optimal stopping on the Beta posterior of Aggarwal et al. 2023"

    cost: float = 0.005

    def stop_rule(self) -> StopRule:
        """Backward induction over the draws that are left."""
        return GainRule(self.n, self.cost)
