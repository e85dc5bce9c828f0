"""Particle filtering: sample from the answers that the verifier accepts, do not maximise."""

from __future__ import annotations

from collections.abc import Generator as PyGenerator
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from dwell.protocols import Strategy
from dwell.records import Candidate, Context, Problem
from dwell.requests import Emit, Generate, Solution
from dwell.strategies.allocation import Resample
from dwell.strategies.asking import Asking, answers_of, appraise
from dwell.strategies.parameters import (
    check_choice,
    check_int,
    check_name,
    check_number,
    check_sampling,
)
from dwell.strategies.selection import Choice, FloatArray, choose_answer
from dwell.strategies.tree import CHOICES, MAX_STEPS

Population = PyGenerator[Any, Any, tuple[list[Candidate], FloatArray]]


@dataclass(frozen=True, kw_only=True)
class ParticleFilter(Strategy):
    """Particle filter over steps, resampled by the odds of the prefix score.

    The generator is the transition, the verifier's score r in (0, 1) the probability that a
    prefix is accepted; n particles approximate the posterior given acceptance:

    1. every unfinished particle takes one step;
    2. every whole prefix is scored; weights `w = softmax(logit(r) / balance)`, that is the odds
       `r / (1 - r)`: of this step alone, not multiplied up over steps;
    3. draw n particles with replacement by weight, *finished ones included*, and copy them;
    4. repeat until all have finished (at most 40 steps); answer with the highest weight.

    Because it samples, it keeps more different lineages alive than beam search.

    Attributes:
        n: number of particles, at least 1.
        verifier: name of the verifier that scores prefixes.
        balance: temperature of the weights, above 0.
        weight: "odds" for scores in `[0, 1]`, "exp" for scores that are logarithms of weights.
        resampling: "multinomial" (as in the paper) or "systematic" (less noise).
        choose: final choice: "best" (highest weight, as in the paper), "weighted" or "majority".
        temperature: sampling temperature, at least 0; None = the generator's default.

    References:
        Puri et al., "A Probabilistic Inference Approach to Inference-Time Scaling of LLMs using
        Particle-Based Monte Carlo Methods" (2025), algorithm 1.
    """

    name = "particle"
    needs = frozenset({"partial", "step"})
    paper = "Puri et al. 2025, particle-based Monte Carlo"

    n: int = 16
    verifier: str = "process"
    balance: float = 1.0
    weight: Literal["odds", "exp"] = "odds"
    resampling: Literal["multinomial", "systematic"] = "multinomial"
    choose: Choice = "best"
    temperature: float | None = None

    def __post_init__(self) -> None:
        check_int("n", self.n, least=1)
        check_name("verifier", self.verifier)
        check_number("balance", self.balance, above=0.0)
        check_choice("weight", self.weight, ("odds", "exp"))
        check_choice("resampling", self.resampling, ("multinomial", "systematic"))
        check_choice("choose", self.choose, CHOICES)
        check_sampling(self.temperature)

    def solve(self, problem: Problem, rng: np.random.Generator) -> Solution:
        """Step, score, resample, until all particles have finished."""
        particles, scores = yield from self.posterior(problem, rng)
        return choose_answer(self.choose, answers_of(particles), scores)

    def posterior(self, problem: Problem, rng: np.random.Generator) -> Population:
        """The final particles and their scores `[N]`: a weighted sample, not yet resampled."""
        resample = Resample(self.balance, self.weight, self.resampling)
        particles = list((yield self.step(problem.context(), self.n)))
        scores = yield from self.scores(particles)
        for _ in range(MAX_STEPS - 1):
            if all(particle.finished for particle in particles):
                break
            yield Emit(choose_answer(self.choose, answers_of(particles), scores))
            counts = resample(scores, self.n, rng).tolist()
            kept = [(p, s, k) for p, s, k in zip(particles, scores, counts, strict=True) if k]
            # All copies of a particle step in one request: its prompt is read once.
            replies = yield [self.step(p.continued(), k) for p, _, k in kept if not p.finished]
            moved = [candidate for reply in replies for candidate in reply]
            rested = [(p, s) for p, s, k in kept if p.finished for _ in range(k)]
            particles = moved + [p for p, _ in rested]
            scores = np.append((yield from self.scores(moved)), [s for _, s in rested])
        return particles, scores

    def scores(self, moved: Sequence[Candidate]) -> Asking:
        """Scores `[B]`; a single particle needs none: there is nothing to weigh it against."""
        if self.n == 1:
            return np.full(len(moved), np.nan)
        return (yield from appraise(moved, self.verifier))

    def step(self, context: Context, n: int) -> Generate:
        """The request for n next steps."""
        return Generate(context, n=n, until="step", temperature=self.temperature)
