"""What a delivery costs, and the reply that it becomes.

The charged limit is applied here, in index order, to draws from the ledger and to new ones
alike. Seconds are modelled: each draw occupies one of the run's slots for as long as the draw
itself says it took.
"""

from __future__ import annotations

import heapq
import math
from typing import Any, NamedTuple

import numpy as np

from dwell.budget import CACHED, CALLS, FLOPS, OUTPUT, PROMPT, RUNS, STEPS, USD, VERIFIER, Meter
from dwell.driver.threads import Unit
from dwell.errors import OutOfBudget
from dwell.records import USAGE_KINDS, Candidate, Context, Draw, Usage
from dwell.requests import Generate, Request, Run, Verify


class Charge(NamedTuple):
    """A reply, what it is charged, when it is there, and whether the budget ended it.

    Attributes:
        reply: what the strategy is sent.
        amounts: usage by kind, in the order of `USAGE_KINDS`.
        clock: modelled seconds since the run began.
        error: thrown into the strategy instead of the reply.
    """

    reply: Any
    amounts: list[float]
    clock: float
    error: OutOfBudget | None = None


class Slots:
    """The run's modelled concurrency: at most `count` draws at once, in the order asked."""

    __slots__ = ("_free",)

    def __init__(self, count: int) -> None:
        self._free = [0.0] * count

    def occupy(self, start: float, seconds: float) -> float:
        """When a draw that may start at `start` is done, on the first free slot."""
        free = self._free
        if not free or not seconds:
            return start + seconds
        finish = max(start, free[0]) + seconds
        heapq.heapreplace(free, finish)
        return finish


def count_draws(request: Request) -> int:
    """How many draws of each of its keys a request needs."""
    match request:
        case Generate():
            return request.n
        case Verify(mode="group"):
            return request.samples * len(request.candidates)
        case Verify():
            return request.samples
        case _:
            return 1


class Written:
    """Texts that a run has seen written, which a continuation need not pay to read again.

    A tree of steps is so charged for its tokens once, as a cache of prefixes serves it.
    """

    __slots__ = ("_tokens",)

    def __init__(self) -> None:
        self._tokens: dict[Any, dict[str, int]] = {}

    def add(self, candidate: Candidate, draw: Draw) -> None:
        """Note a text that may be continued, and how many tokens it and its prompt have."""
        known = self._tokens.setdefault(candidate.context.messages, {})
        known[candidate.text] = draw.prompt_tokens + draw.output_tokens

    def tokens(self, context: Context) -> int:
        """How many tokens of an unfinished text this run has already seen."""
        known = self._tokens.get(context.messages)
        if not known or not context.partial:
            return 0
        exact = known.get(context.partial)
        if exact is not None:
            return exact
        return max((n for text, n in known.items() if context.partial.startswith(text)), default=0)


def serve(unit: Unit, meter: Meter, slots: Slots, written: Written) -> Charge:
    """The reply to a unit whose draws are all here."""
    match unit.request:
        case Generate():
            return _generate(unit, unit.request, meter, slots, written)
        case Verify():
            return _verify(unit, unit.request, meter, slots)
        case _:
            return _single(unit, meter, slots)


def _generate(
    unit: Unit, request: Generate, meter: Meter, slots: Slots, written: Written
) -> Charge:
    """Deliver draws in index order; withhold what does not fit."""
    key, first, clock = unit.keys[0], unit.first[0], unit.clock
    total = [0.0] * 10
    candidates: list[Candidate] = []
    limited, was_read, known = meter.limited, False, written.tokens(request.context)
    for offset, draw in enumerate(unit.draws):
        assert draw is not None
        shared = draw.prompt_tokens if was_read else min(known, draw.prompt_tokens)
        saved = key.prompt_cost(shared) if shared else None
        finish = slots.occupy(unit.clock, draw.seconds - (saved.seconds if saved else 0.0))
        if limited:
            extra = [0.0] * 10
            _add_draw(extra, draw, saved)
            together = [a + b for a, b in zip(total, extra, strict=True)]
            over = meter.overflow(together, finish)
            if over is not None:
                kind, used, limit = over
                used += total[USAGE_KINDS.index(kind)]
                error = OutOfBudget(kind, used, limit, partial=tuple(candidates))
                return Charge(None, total, clock, error)
        _add_draw(total, draw, saved)
        was_read = was_read or draw.prompt_tokens > 0  # a failed draw may have read nothing
        if finish > clock:
            clock = finish
        candidates.append(key.candidate(first + offset, draw))
        written.add(candidates[-1], draw)
    return Charge(tuple(candidates), total, clock)


def _add_draw(total: list[float], draw: Draw, saved: Usage | None) -> None:
    """Add what one draw is charged; `saved` is the prompt shared with an earlier draw."""
    total[CALLS] += 1
    total[OUTPUT] += draw.output_tokens
    total[PROMPT] += draw.prompt_tokens
    total[FLOPS] += draw.flops
    total[USD] += draw.usd
    if draw.status == "step":
        total[STEPS] += 1
    if saved is not None:
        total[PROMPT] -= saved.cached_tokens
        total[CACHED] += saved.cached_tokens
        total[FLOPS] -= saved.flops
        total[USD] -= saved.usd


def _verify(unit: Unit, request: Verify, meter: Meter, slots: Slots) -> Charge:
    """Charge a verification as a whole; scores are means over its samples."""
    amounts = [0.0] * 10
    clock = unit.clock
    values = np.full(len(unit.draws), math.nan)
    for place, draw in enumerate(unit.draws):
        assert draw is not None
        amounts[VERIFIER] += draw.output_tokens
        amounts[FLOPS] += draw.flops
        amounts[USD] += draw.usd
        clock = max(clock, slots.occupy(unit.clock, draw.seconds))
        if draw.value is not None:
            values[place] = draw.value
    if (over := meter.overflow(amounts, clock)) is not None:
        return Charge(None, [0.0] * 10, clock, OutOfBudget(*over))
    if request.mode == "group":
        scores = values.reshape(request.samples, len(request.candidates)).mean(axis=0)
    else:
        scores = values.reshape(len(request.candidates), request.samples).mean(axis=1)
    return Charge(tuple(scores.tolist()), amounts, clock)


def _single(unit: Unit, meter: Meter, slots: Slots) -> Charge:
    """Perturb and Run: one draw each."""
    draw = unit.draws[0]
    assert draw is not None
    is_run = isinstance(unit.request, Run)
    amounts = [0.0] * 10
    amounts[RUNS] = 1.0 if is_run else 0.0
    amounts[FLOPS], amounts[USD] = draw.flops, draw.usd
    clock = slots.occupy(unit.clock, draw.seconds)
    if (over := meter.overflow(amounts, clock)) is not None:
        return Charge(None, [0.0] * 10, clock, OutOfBudget(*over))
    reply = draw if is_run else unit.keys[0].candidate(unit.first[0], draw)
    return Charge(reply, amounts, clock)
