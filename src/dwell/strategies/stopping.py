"""When to stop drawing: rules that look at the votes so far.

One signature: ``stops = rule.settled(tally)``, a pure function of how the vote stands. A `Tally`
may describe one stream (what `Strategy.solve` knows) or any number of them, draw by draw (what
`Strategy.replay` has): the same code decides in both, on the same tables, so they cannot differ.
The rules know nothing of requests, answers or costs other than the number of draws.

Letters: `...` any axes, a and b the votes of the leading answer and of the second.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from dwell.records import Answer
from dwell.strategies.parameters import check_int, check_number
from dwell.strategies.posteriors import (
    ROUNDING,
    confidences,
    draws_worth_having,
    leader_confidence,
    log_densities,
    table_size,
)
from dwell.strategies.selection import top_two
from dwell.streams import BoolArray, FloatArray, IntArray, Streams


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """How one or many votes stand.

    Attributes:
        drawn: `[...]` draws so far, those without a usable vote included.
        votes: `[...]` a, votes of the leader.
        runner_up: `[...]` b, votes of the second.
        streak: `[...]` equal answers in a row at the end.
        profile: `[..., V]` how many answers have v votes each (v = 0 is 0); None where no rule
            asked for it.
        leader: the leading answer of one stream; None for many, and where there is none.
    """

    drawn: IntArray
    votes: IntArray
    runner_up: IntArray
    streak: IntArray
    profile: IntArray | None = None
    leader: Answer = None


def tally_of(answers: Sequence[Answer]) -> Tally:
    """The tally of one stream of answers `[N]`."""
    leader, votes, runner_up = top_two(answers)
    streak = 0
    for answer in reversed(answers):
        if answer is None or answer != answers[-1]:
            break
        streak += 1
    counts = list(Counter(answer for answer in answers if answer is not None).values())
    return Tally(
        drawn=np.asarray(len(answers)),
        votes=np.asarray(votes),
        runner_up=np.asarray(runner_up),
        streak=np.asarray(streak),
        profile=np.bincount(counts, minlength=votes + 1).astype(np.int64),
        leader=leader,
    )


def confidence_of(tally: Tally) -> FloatArray:
    """`[...]` `P(Beta(a+1, b+1) > 1/2)`: probability that the leader beats the second for ever."""
    return np.asarray(confidences(table_size(tally.votes))[tally.votes, tally.runner_up])


class StopRule(ABC):
    """When the vote is settled.

    Attributes:
        whole: whether the rule looks at all answers' votes (`Tally.profile`), not at the first
            two alone.
    """

    whole: ClassVar[bool] = False

    @abstractmethod
    def settled(self, tally: Tally) -> BoolArray:
        """`[...]` whether to stop."""

    def stops(self, streams: Streams, n: int) -> BoolArray:
        """`[..., K]` whether to stop after each of the first K = min(n, N) draws.

        What comes after a stream's first stop means nothing.
        """
        num = min(n, streams.length)
        if self.whole:
            known = streams.stops.get(self)
            if known is None or known.shape[-1] < num:
                parts = [self._one_by_one(part, num) for part in streams.chunks()]
                none = np.zeros((0, num), bool)
                known = np.concatenate([none, *parts]).reshape(*streams.codes.shape[:-1], num)
                streams.stops[self] = known
            return known[..., :num]
        standing = streams.standing
        return self.settled(
            Tally(
                drawn=np.broadcast_to(np.arange(1, num + 1), (*streams.codes.shape[:-1], num)),
                votes=standing.votes[..., :num],
                runner_up=standing.runner_up[..., :num],
                streak=standing.streak[..., :num],
            )
        )

    def _one_by_one(self, streams: Streams, num: int) -> BoolArray:
        """`[S, K]` by draws; streams that have stopped are not looked at again."""
        standing = streams.standing
        stops = np.zeros((len(streams.codes), num), bool)
        going = np.arange(len(stops))
        for t, profile in zip(range(num), streams.profiles(), strict=False):
            stops[going, t] = found = self.settled(
                Tally(
                    drawn=np.full(len(going), t + 1),
                    votes=standing.votes[going, t],
                    runner_up=standing.runner_up[going, t],
                    streak=standing.streak[going, t],
                    profile=profile[going],
                )
            )
            going = going[~found]
        return stops


@dataclass(frozen=True, slots=True)
class BetaRule(StopRule):
    """Stop when the leader would probably beat the second for ever.

    `P(Beta(a+1, b+1) > 1/2) >= threshold`.

    Attributes:
        threshold: in (0.5, 1).

    References:
        Aggarwal et al., "Let's Sample Step by Step: Adaptive-Consistency" (2023): the Beta
        stopping criterion, their default, at 0.95.
    """

    threshold: float = 0.95

    def __post_init__(self) -> None:
        check_number("threshold", self.threshold, above=0.5, below=1.0)

    def settled(self, tally: Tally) -> BoolArray:
        """By table."""
        return confidence_of(tally) >= self.threshold - ROUNDING


@dataclass(frozen=True, slots=True)
class DirichletRule(StopRule):
    """Stop when the leader is probably the most frequent of all answers seen.

    With v_j votes for answer j, `P(p_1 = max_j p_j) >= threshold` for p ~ Dirichlet(v + 1) over
    the answers observed. A Dirichlet vector is a vector of independent Gamma(v_j + 1) variables
    divided by their sum, so the probability is the integral over x of the leader's density times
    the product of the others' distribution functions at x. It is computed by Gauss-Legendre
    quadrature, to 1e-9. Where only one answer was seen, an unseen one with 0 votes stands
    beside it; with two it equals `BetaRule`.

    Attributes:
        threshold: in (0.5, 1).

    References:
        Aggarwal et al. (2023), section 3: the Dirichlet stopping criterion.
    """

    whole: ClassVar[bool] = True
    threshold: float = 0.95

    def __post_init__(self) -> None:
        check_number("threshold", self.threshold, above=0.5, below=1.0)

    def settled(self, tally: Tally) -> BoolArray:
        """By quadrature."""
        assert tally.profile is not None
        return leader_confidence(tally.votes, tally.profile) >= self.threshold - ROUNDING


@dataclass(frozen=True, slots=True)
class WindowRule(StopRule):
    """Stop when a whole window of answers agrees.

    Attributes:
        window: w, draws in a window, at least 1. Windows follow each other without overlap.

    References:
        Li et al., "Escape Sky-high Cost: Early-stopping Self-Consistency for Multi-step
        Reasoning" (2024), algorithm 1: the entropy of a window is 0.
    """

    window: int = 5

    def __post_init__(self) -> None:
        check_int("window", self.window, least=1)

    def settled(self, tally: Tally) -> BoolArray:
        """Whether a window has just ended and holds one answer."""
        full = np.asarray(tally.drawn % self.window == 0)
        return np.asarray(full & (tally.streak >= self.window))


@dataclass(frozen=True, slots=True)
class PprRule(StopRule):
    """Stop when the prior-posterior ratio rules the second out, at any time.

    The posterior density of the leader's share against the second's at 1/2 has fallen to
    `delta / (K - 1)`:

        (a+b) log(1/2) + log G(a+b+2) - log G(a+1) - log G(b+1) <= log(delta / (K-1))

    The ratio of prior to posterior density at the true value is a martingale, so the wrong answer
    is declared with probability at most delta however often one looks.

    Attributes:
        delta: in (0, 1).
        num_answers: K, answers that are possible, at least 2.
        least: draws before the first look, at least 1.

    References:
        Jain et al., "PAC Mode Estimation using PPR Martingale Confidence Sequences" (2022),
        PPR-1v1.
    """

    delta: float = 0.1
    num_answers: int = 2
    least: int = 4

    def __post_init__(self) -> None:
        check_number("delta", self.delta, above=0.0, below=1.0)
        check_int("num_answers", self.num_answers, least=2)
        check_int("least", self.least, least=1)

    def settled(self, tally: Tally) -> BoolArray:
        """By table."""
        table = log_densities(table_size(tally.votes)) <= self.bound + ROUNDING
        return np.asarray(table[tally.votes, tally.runner_up] & (tally.drawn >= self.least))

    @property
    def bound(self) -> float:
        """`log(delta / (K - 1))`."""
        return math.log(self.delta / (self.num_answers - 1))


@dataclass(frozen=True, slots=True)
class GainRule(StopRule):
    """Stop when going on is not worth its cost.

    The value of stopping is `c(a, b) = P(Beta(a+1, b+1) > 1/2)`, the probability that the leader
    is what the vote tends to. One more draw goes to the leader with probability (a+1)/(a+b+2).
    The rule is the optimal one in this model: backward induction over the draws that are left,

        U_0(a, b) = c;  U_l = max(c, (a+1)/(a+b+2) U_{l-1}(a+1, b)
                                       + (b+1)/(a+b+2) U_{l-1}(a, b+1) - cost)

    (where b overtakes a they change places), and it stops where U_l = c: the expected gain of
    the best way to go on is below what its draws cost. Looking one draw ahead is not enough: from
    (1, 0) no single draw changes the leader, so its gain is 0. Third answers are ignored.

    Attributes:
        n: most draws.
        cost: of a draw, in units of the probability that the answer is right; above 0.
    """

    n: int
    cost: float = 0.005

    def __post_init__(self) -> None:
        check_int("n", self.n, least=1)
        check_number("cost", self.cost, above=0.0)

    def settled(self, tally: Tally) -> BoolArray:
        """By table."""
        worth = draws_worth_having(self.n, self.cost)[tally.votes, tally.runner_up]
        return np.asarray(self.n - tally.drawn < worth)
