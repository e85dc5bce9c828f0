"""A toy world that answers any request from a seed: what conformance runs are played in."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any

from dwell.records import Candidate, Context, Draw
from dwell.requests import Generate, Perturb, Verify


@dataclass(slots=True)
class ToyWorld:
    """Answers any request: short texts of random digits, and scores, all from a seed.

    A text is one to four lines; the last is ``A`` and a digit, which is the answer. Draws are a
    function of (seed, context, index), and the i-th request for a context gets the next draws.
    A world counts what it has given, so take a new one for every run.

    Attributes:
        seed: names the world.
        answers: how many different answers there are; 0 = texts without an answer.
        score: the score of every candidate; None = a random one in `[0, 1]` for each text.
        failing: share of draws that fail, in `[0, 1]`.
    """

    seed: int = 0
    answers: int = 3
    score: float | None = None
    failing: float = 0.0
    _given: Counter[Context] = field(default_factory=Counter)

    def __call__(self, request: Any) -> Any:
        """The reply to a request."""
        match request:
            case Generate():
                first = self._given[request.context]
                self._given[request.context] += request.n
                return [self._draw(request, first + i) for i in range(request.n)]
            case Verify():
                return [self._score(candidate) for candidate in request.candidates]
            case Perturb():
                return request.candidate
            case _:
                return Draw(text="", value=self._uniform("run", request.action, request.state))

    def _draw(self, request: Generate, index: int) -> Candidate:
        context = request.context
        uniform = [self._uniform(k, context.messages, context.partial, index) for k in range(5)]
        if uniform[4] < self.failing:
            return Candidate(context, "", "failed", None, index)
        lines = context.partial.count("\n")
        added = ""
        for k in range(min(3 - lines, 3)):
            if uniform[k] < 0.4:
                break
            added += f"{int(1e6 * uniform[k]) % 10}\n"
            if request.until == "step":
                return Candidate(context, added, "step", None, index, len(added))
        answer = str(int(uniform[3] * self.answers)) if self.answers else None
        added += f"A{answer}\n" if answer is not None else "?\n"
        return Candidate(context, added, "end", answer, index, len(added))

    def _score(self, candidate: Candidate) -> float:
        if self.score is not None:
            return self.score
        return self._uniform("score", candidate.context.messages, candidate.text)

    def _uniform(self, *what: Any) -> float:
        digest = blake2b(repr((self.seed, what)).encode(), digest_size=8).digest()
        return int.from_bytes(digest, "big") / 2**64
