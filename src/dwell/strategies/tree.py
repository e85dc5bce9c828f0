"""Search over steps with a width: beam search and REBASE.

Both are one loop: every candidate on the frontier grows by a step, a verifier scores the
prefixes, an allocation rule says how many children each gets. Finished candidates leave the
frontier and take one unit of width each with them. The step is the generator's (its delimiter
and its cap are part of its description).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dwell.protocols import Strategy
from dwell.records import Candidate, Context, Problem
from dwell.requests import Emit, Generate, Solution
from dwell.strategies.allocation import IntArray, Rebase, Rule, TopK
from dwell.strategies.asking import Asking, answers_of, appraise
from dwell.strategies.parameters import (
    check_choice,
    check_int,
    check_name,
    check_number,
    check_sampling,
)
from dwell.strategies.selection import Choice, choose_answer

#: Most steps of a candidate (Snell et al. 2024 stop after 40 rounds).
MAX_STEPS = 40
CHOICES: tuple[Choice, ...] = ("majority", "weighted", "best")


@dataclass(frozen=True, kw_only=True)
class _StepSearch(Strategy):
    """Grow a population step by step under an allocation rule: what both searches share."""

    needs = frozenset({"partial", "step"})

    n: int = 16
    verifier: str = "process"
    choose: Choice = "weighted"
    temperature: float | None = None

    def __post_init__(self) -> None:
        check_int("n", self.n, least=1)
        check_name("verifier", self.verifier)
        check_choice("choose", self.choose, CHOICES)
        check_sampling(self.temperature)

    def rule(self) -> Rule:
        """The allocation rule."""
        raise NotImplementedError

    def solve(self, problem: Problem, rng: np.random.Generator) -> Solution:
        """Grow, score, allocate, until all have finished; choose among the finished."""
        rule = self.rule()
        finished: list[Candidate] = []
        final_scores: list[float] = []
        requests = [self.step(problem.context(), self.n)]
        for _ in range(MAX_STEPS):
            replies = yield requests
            grown = [candidate for reply in replies for candidate in reply]
            scores = yield from self.scores(grown)
            ended = np.array([candidate.finished for candidate in grown])
            if ended.any():
                finished += [candidate for candidate in grown if candidate.finished]
                final_scores += scores[ended].tolist()
                yield Emit(choose_answer(self.choose, answers_of(finished), final_scores))
            frontier = [candidate for candidate in grown if not candidate.finished]
            if not frontier:
                break
            counts = rule(scores[~ended], self.n - len(finished), rng)
            requests = self.children(frontier, counts)
        return choose_answer(self.choose, answers_of(finished), final_scores)

    def scores(self, grown: Sequence[Candidate]) -> Asking:
        """Scores `[B]`; a single candidate needs none: there is nothing to prune or choose."""
        if self.n == 1:
            return np.full(len(grown), np.nan)
        return (yield from appraise(grown, self.verifier))

    def children(self, frontier: Sequence[Candidate], counts: IntArray) -> list[Generate]:
        """One request for each parent that gets children."""
        return [
            self.step(parent.continued(), int(count))
            for parent, count in zip(frontier, counts, strict=True)
            if count
        ]

    def step(self, context: Context, n: int) -> Generate:
        """The request for n next steps."""
        return Generate(context, n=n, until="step", temperature=self.temperature)


@dataclass(frozen=True, kw_only=True)
class Beam(_StepSearch):
    """Beam search against a process verifier: n beams, the best n/m of them get m children.

    Draw n first steps; keep the best `n/m` prefixes; draw m next steps from each; repeat until
    all have ended or after 40 steps; answer by the weighted vote of the n finished candidates.
    Strong at small n; at large n it finds what the verifier likes by mistake.

    Attributes:
        n: number of beams, at least 1.
        m: beam width: children of each parent that is kept, at least 1.
        verifier: name of the verifier that scores prefixes.
        choose: final choice: "weighted" (as in the paper), "best" or "majority".
        temperature: sampling temperature, at least 0; None = the generator's default.

    References:
        Snell et al., "Scaling LLM Test-Time Compute Optimally can be More Effective than Scaling
        Model Parameters" (2024), section 5.2.
    """

    name = "beam"
    paper = "Snell et al. 2024, beam search against a process verifier"

    m: int = 4

    def __post_init__(self) -> None:
        super().__post_init__()
        check_int("m", self.m, least=1)

    def rule(self) -> Rule:
        """Equal children for the best."""
        return TopK(self.m)


@dataclass(frozen=True, kw_only=True)
class RebaseSearch(_StepSearch):
    """REBASE: reward-balanced search; prefixes get children in proportion to exp(score / T).

    Each round the width that is left (n minus the finished candidates) is shared out by
    `W_i = ceil(W_left e^(r_i/T) / sum_left e^(r_j/T))`, best prefix first. Softer than beam
    search: a good prefix gets more children, a fair one still gets some.

    Attributes:
        n: width: number of candidates, at least 1.
        balance: T, temperature of the allocation, in units of the score, above 0.
        verifier: name of the verifier that scores prefixes.
        choose: final choice: "weighted" (as in the paper), "best" or "majority".
        temperature: sampling temperature, at least 0; None = the generator's default.

    References:
        Wu et al., "Inference Scaling Laws: An Empirical Analysis of Compute-Optimal Inference for
        Problem-Solving with Language Models" (2024), section 3.2 (T = 0.2 in its code).
    """

    name = "rebase"
    paper = "Wu et al. 2024, Inference Scaling Laws (REBASE)"

    balance: float = 0.2

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number("balance", self.balance, above=0.0)

    def rule(self) -> Rule:
        """Softmax shares, rounded up, best first."""
        return Rebase(self.balance)
