"""Strategies inside strategies: run one whose first draws are there already, note what it is sent.

Both pass on every request and reply; neither asks anything of its own.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from dwell.errors import OutOfBudget
from dwell.records import Answer, Candidate, Problem
from dwell.requests import Generate, Solution, Verify
from dwell.strategies.asking import whole_answers


def reusing(held: Sequence[Candidate], problem: Problem, solution: Solution) -> Solution:
    """Run a strategy whose first whole answers are drawn already.

    Args:
        held: draws 0, 1, ... of the question; each is delivered once and not asked for again.
        problem: the question.
        solution: the strategy at work.
    """
    plain = whole_answers(problem, 1)
    reply: Any = None
    stop: OutOfBudget | None = None
    while True:
        try:
            request = solution.send(reply) if stop is None else solution.throw(stop)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]
        stop = None
        taken: tuple[Candidate, ...] = ()
        if isinstance(request, Generate) and replace(request, n=1) == plain:
            taken, held = tuple(held[: request.n]), held[request.n :]
            request = replace(request, n=request.n - len(taken))
        try:
            reply = (yield request) if not taken or request.n else ()
        except OutOfBudget as met:
            met.partial = (*taken, *met.partial) if taken else met.partial
            stop = met
        else:
            reply = (*taken, *reply) if taken else reply


class Seen:
    """The whole answers and scores that a strategy was sent, in the order of their coming.

    Attributes:
        candidates: the whole answers.
        cut: whether its budget ended before it did.
    """

    def __init__(self) -> None:
        self.cut = False
        self.candidates: list[Candidate] = []
        self._scores: dict[str, dict[int, float]] = {}

    def note(self, request: Any, reply: Any) -> None:
        """Keep what a request brought."""
        if isinstance(request, list):
            for one, its in zip(request, reply, strict=False):
                self.note(one, its)
        elif isinstance(request, Generate):
            self.candidates += [candidate for candidate in reply or () if candidate.finished]
        elif isinstance(request, Verify) and reply is not None:
            own = self._scores.setdefault(request.verifier, {})
            own |= {id(c): s for c, s in zip(request.candidates, reply, strict=False)}

    def ending(self, answer: Answer, verifier: str | None) -> tuple[int, int, float]:
        """(draws that gave the answer, draws that gave any, best score of the former or NaN)."""
        own = [c for c in self.candidates if c.answer is not None and c.answer == answer]
        cast = sum(c.answer is not None for c in self.candidates)
        known = self._scores.get(verifier or "", {})
        scores = [score for c in own if not math.isnan(score := known.get(id(c), math.nan))]
        return len(own), cast, max(scores, default=math.nan)


def watched(solution: Solution, seen: Seen) -> Solution:
    """Run a strategy, and note what it is sent."""
    reply: Any = None
    stop: OutOfBudget | None = None
    while True:
        try:
            request = solution.send(reply) if stop is None else solution.throw(stop)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]
        stop = None
        try:
            reply = yield request
        except OutOfBudget as met:
            stop, seen.cut = met, True
        else:
            seen.note(request, reply)
