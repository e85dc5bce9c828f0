"""A run of a strategy that the clock may end.

The driver's `Session` delivers a request when all of its draws are here. For live traffic a
deadline, or a budget that lets no more draws be asked for, ends a request early: the strategy is
sent `OutOfBudget` with what did arrive, as the contract has it, and answers with its best so far.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from dwell.driver.charging import serve
from dwell.driver.session import MOST_REFUSALS, Session
from dwell.driver.threads import Unit
from dwell.errors import OutOfBudget
from dwell.keys import candidate_subject, context_subject, key_hash, request_params
from dwell.protocols import Strategy
from dwell.records import Candidate, Draw, Problem, Usage
from dwell.requests import Generate, Request, Verify
from dwell.serve.draws import LiveDraw
from dwell.verifiers.judge import COMPARING, Judge

_NOTHING = Usage()


class LiveKey:
    """The draws of one request of a strategy, within one run.

    Attributes:
        hash: names them.
        request: what was asked.
        candidates: what a verifier is to score together.
    """

    __slots__ = ("candidates", "hash", "request")

    def __init__(self, hash_: bytes, request: Request, candidates: tuple[Candidate, ...]) -> None:
        self.hash, self.request, self.candidates = hash_, request, candidates

    def candidate(self, index: int, draw: Draw) -> Candidate:
        """A draw as the candidate that strategies see."""
        assert isinstance(self.request, Generate)
        context, text = self.request.context, draw.text
        if draw.status == "failed":
            return Candidate(context, "", "failed", None, index)
        if draw.state is not None:
            context = replace(context, state=draw.state)
        answer = draw.answer if isinstance(draw, LiveDraw) else None
        return Candidate(
            context, text, draw.status, answer, index, draw.output_tokens, draw.stats or {}
        )

    def prompt_cost(self, prompt_tokens: int) -> Usage:
        """Nothing is shared but what the source itself says."""
        return _NOTHING


class LiveSession(Session):
    """A session in which requests may be ended before all of their draws are here."""

    def cut(self, unit: Unit, kind: str, used: float, limit: float) -> None:
        """Deliver what arrived of a request, and say that its budget has ended.

        Args:
            unit: a request that waits for draws.
            kind: which limit was met, a field of `Usage`.
            used: how much was used.
            limit: of how much.
        """
        self._pending.remove(unit)
        self._refused += 1
        unit.draws = [draw for draw in unit.draws if draw is not None]
        unit.missing = 1 << 30  # whatever still comes is too late to complete it
        partial: Any = ()
        if isinstance(unit.request, Generate):
            charge = serve(unit, self.meter, self._slots, self._written)
            self._charge(unit.request, charge)
            partial = charge.reply or getattr(charge.error, "partial", ())
        error = OutOfBudget(kind, used, limit, partial=partial)
        self._guarded(lambda: unit.owner.accept(unit.slot, None, error, unit.clock))

    def end(self, kind: str, used: float, limit: float) -> None:
        """Cut everything that waits, until the strategy has answered."""
        while self.status == "running":
            if not self._pending:
                self.fail("the strategy waits for nothing")
            elif self._refused > MOST_REFUSALS:
                self.fail("the strategy went on asking after its budget had ended")
            else:
                self.cut(self._pending[0], kind, used, limit)
            self.outbox.clear()


def keys_of(request: Request, name: str) -> list[LiveKey]:
    """The keys of a request: their hashes tell requests of one run apart.

    Raises:
        UsageError: it is not served live.
    """
    params = request_params(request)
    if isinstance(request, Generate):
        subject = context_subject(request.context)
        return [LiveKey(key_hash(name, "generate", subject, params, name), request, ())]
    assert isinstance(request, Verify)
    groups = (
        [request.candidates] if request.mode == "group" else [(c,) for c in request.candidates]
    )
    params = (*params, request.verifier)
    return [
        LiveKey(key_hash(name, "verify", candidate_subject(group), params, name), request, group)
        for group in groups
    ]


def as_problem(name: str, prompt: str, task: str) -> Problem:
    """A request as a problem, whose prompt stands for the whole conversation."""
    return Problem(id=name, prompt=prompt, task=task)


def cannot_serve(
    strategy: Strategy, provides: frozenset[str], verifiers: Mapping[str, Any]
) -> str | None:
    """Why a strategy cannot be run on a source, None if it can."""
    missing = strategy.needs - provides
    if missing:
        return f"{strategy.name} needs {', '.join(sorted(missing))}, which this model lacks."
    for name in sorted(strategy.verifiers()):
        verifier = verifiers.get(name)
        if verifier is None:
            return f"{strategy.name} needs the verifier {name}, which this server lacks."
        if wants := verifier.wants - provides:
            return f"The verifier {name} needs {', '.join(sorted(wants))}: this model lacks it."
        compares = isinstance(verifier, Judge) and verifier.kind in COMPARING
        if compares and getattr(strategy, "mode", None) != "group":
            return (
                f"The judge {name} compares answers with each other: say mode=group, of best_of_n "
                "or weighted_majority."
            )
    return None
