"""One answer after another: budget forcing, and revision by re-prompt."""

from __future__ import annotations

from collections.abc import Generator as PyGenerator
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from dwell.protocols import Strategy
from dwell.records import Answer, Candidate, Context, Problem, Role
from dwell.requests import Emit, Generate, Solution
from dwell.strategies.asking import answers_of, appraise, whole_answers
from dwell.strategies.parameters import check_choice, check_int, check_name, check_sampling
from dwell.strategies.selection import (
    Choice,
    FloatArray,
    argmax,
    choose_answer,
    majority,
    vote_weights,
    weighted_majority,
)
from dwell.strategies.tree import CHOICES

#: What asks for another attempt, where the problem's format has no marker of its own.
REVISE = "Check the answers above for mistakes, then solve the problem again from the start."


@dataclass(frozen=True, kw_only=True)
class BudgetForcing(Strategy):
    """Budget forcing: cap the answer, or suppress its end and make the model go on.

    1. Generate until the end, or until `max_tokens`.
    2. While suppressions and tokens are left: drop the end, append the marker ("Wait"), and
       generate on, at least one token.
    3. If the cap cut the text before an answer and the format has an "answer" marker, append it
       and let the model answer from what it has.

    The marker is `problem.markers["wait"]`, else "Wait". The answer is that of the longest text.
    waits = 0 with a cap is the "shorten" direction; waits = 0 without one is a single sample.
    Forcing helps only a model that was trained to use another pass; past the natural length
    expect a flat or falling curve, and right answers turned wrong.

    Attributes:
        waits: how often the end is suppressed, at least 0.
        max_tokens: cap on all tokens together; None = the generator's default for each pass.
        answer_tokens: cap on the forced answer of step 3.
        temperature: sampling temperature, at least 0; None = the generator's default.

    References:
        Muennighoff et al., "s1: Simple test-time scaling" (2025), section 3.1. As in Huang et al.,
        "m1" (2025), a text that already met the cap is left alone.
    """

    name = "budget_forcing"
    scale = "waits"
    needs = frozenset({"partial", "forbid_end"})
    paper = "Muennighoff et al. 2025, s1: Simple test-time scaling"

    waits: int = 1
    max_tokens: int | None = None
    answer_tokens: int = 32
    temperature: float | None = None

    def __post_init__(self) -> None:
        check_int("waits", self.waits, least=0)
        check_int("answer_tokens", self.answer_tokens, least=1)
        check_sampling(self.temperature, self.max_tokens)

    def solve(self, problem: Problem, rng: np.random.Generator) -> Solution:
        """Generate; suppress the end `waits` times; force an answer if there is none."""
        wait = problem.markers.get("wait", "Wait")
        (text,) = yield whole_answers(problem, 1, self.temperature, self.max_tokens)
        answer: Answer = text.answer
        used: int = text.output_tokens
        for _ in range(self.waits):
            left = None if self.max_tokens is None else self.max_tokens - used
            if text.status != "end" or (left is not None and left < 1):
                break
            yield Emit(answer)
            (text,) = yield Generate(
                text.continued(wait),
                max_tokens=left,
                forbid_end=True,
                temperature=self.temperature,
            )
            answer = answer if text.answer is None else text.answer
            used += text.output_tokens
        if answer is None and text.status == "cap" and "answer" in problem.markers:
            (text,) = yield Generate(
                text.continued(problem.markers["answer"]),
                max_tokens=self.answer_tokens,
                temperature=self.temperature,
            )
            answer = text.answer
        return answer


@dataclass(frozen=True, kw_only=True)
class Revision(Strategy):
    """Sequential revision: each attempt sees the last attempts; choose over the whole chain.

    Attempt 1 answers the problem; attempt t is asked for with the last `window` attempts in
    front of it, each followed by the text that asks for another pass
    (`problem.markers["revise"]`, else a plain sentence). An attempt that failed, or met
    the cap before its answer, is not shown to the next; after such a cap one attempt fewer is
    shown, because the context may have been full.

    The last attempt is not the answer: right answers are turned wrong again too often. Instead

    - "majority": the most frequent answer over all attempts of all chains;
    - "weighted" or "best": within each chain the weighted vote, whose best-scored member stands
      for the chain; then the weighted vote, or the best, over chains.

    Attributes:
        n: attempts in all, at least 1.
        chains: independent chains that share them, at least 1 (with fewer attempts than chains,
            each attempt is a chain).
        window: attempts shown to the next one, at least 1.
        choose: "majority", "weighted" or "best".
        verifier: name of the verifier, for "weighted" and "best".
        temperature: sampling temperature, at least 0; None = the generator's default.
        max_tokens: cap on an attempt, in tokens; None = the generator's default.

    References:
        Snell et al., "Scaling LLM Test-Time Compute Optimally can be More Effective than Scaling
        Model Parameters" (2024), section 6. They train the model to revise; a model that was not
        may get worse along the chain.
    """

    name = "revision"
    paper = "Snell et al. 2024, sequential revisions"

    n: int = 4
    chains: int = 1
    window: int = 4
    choose: Choice = "majority"
    verifier: str = "process"
    temperature: float | None = None
    max_tokens: int | None = None

    def __post_init__(self) -> None:
        check_int("n", self.n, least=1)
        check_int("chains", self.chains, least=1)
        check_int("window", self.window, least=1)
        check_choice("choose", self.choose, CHOICES)
        check_name("verifier", self.verifier)
        check_sampling(self.temperature, self.max_tokens)

    def verifiers(self) -> frozenset[str]:
        """The verifier, unless the vote needs none."""
        return frozenset() if self.choose == "majority" else frozenset({self.verifier})

    def solve(self, problem: Problem, rng: np.random.Generator) -> Solution:
        """Run the chains concurrently; choose over all attempts."""
        num_chains = min(self.chains, self.n)
        each, extra = divmod(self.n, num_chains)
        attempts: list[Candidate] = []
        chains = yield [
            self.chain(problem, each + (k < extra), attempts) for k in range(num_chains)
        ]
        if self.choose == "majority" or self.n == 1:
            return majority(answers_of([attempt for chain in chains for attempt in chain]))
        scores = yield [appraise(chain, self.verifier) for chain in chains]
        return choose_over_chains(self.choose, [answers_of(chain) for chain in chains], scores)

    def chain(
        self, problem: Problem, length: int, attempts: list[Candidate]
    ) -> PyGenerator[Any, Any, list[Candidate]]:
        """One chain; adds to `attempts` of all chains, so that the best so far can be shown."""
        chain: list[Candidate] = []
        window = self.window
        for _ in range(length):
            shown = [attempt.text for attempt in chain[-window:]]
            (attempt,) = yield Generate(
                revision_context(problem, shown),
                temperature=self.temperature,
                max_tokens=self.max_tokens,
            )
            if attempt.answer is None and attempt.status == "cap":
                if shown:  # perhaps there was no room left: show less
                    window = max(len(shown) - 1, 1)
            elif attempt.status != "failed":
                chain.append(attempt)
                attempts.append(attempt)
                yield Emit(majority(answers_of(attempts)))
        return chain


def revision_context(problem: Problem, texts: Sequence[str]) -> Context:
    """The context that asks for another attempt after the attempts `texts`, oldest first.

    Without attempts it is the problem's own context, so first attempts are the same draws as
    those of all strategies that draw whole answers.
    """
    again = problem.markers.get("revise", REVISE)
    messages: list[tuple[Role, str]] = list(problem.context().messages)
    for text in texts:
        messages += [("assistant", text), ("user", again)]
    return Context(messages=tuple(messages))


def choose_over_chains(
    how: Choice, answers: Sequence[Sequence[Answer]], scores: Sequence[FloatArray]
) -> Answer:
    """The answer chosen within each chain, then across chains (Snell et al. 2024, section 6.1).

    Args:
        how: "weighted" or "best", across chains.
        answers: attempts of each chain, in order.
        scores: their scores, NaN = not verified.
    """
    winners: list[Answer] = []
    standing: list[float] = []
    for chain, values in zip(answers, scores, strict=True):
        winner = weighted_majority(chain, vote_weights(values))
        own = [score for answer, score in zip(chain, values, strict=True) if answer == winner]
        best = argmax(own)
        winners.append(winner)
        standing.append(np.nan if best is None else float(own[best]))
    return choose_answer(how, winners, standing)
