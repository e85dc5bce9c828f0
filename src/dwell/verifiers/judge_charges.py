"""What a judgement costs, and its failed calls, as a verifier's account.

A judge's tokens are verifier tokens, read or written; a draw of a verifier has them all in
`output_tokens`, where the driver looks for them.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import replace

from dwell.protocols import Attempt, Generator, Outcome
from dwell.records import Draw, Usage


def as_verifier(attempt: Attempt, place: int) -> Attempt:
    """A failed call of the judge's generator, with its tokens as a verifier's."""
    used = attempt.usage
    usage = Usage(
        verifier_tokens=used.prompt_tokens + used.output_tokens,
        flops=used.flops,
        seconds=used.seconds,
        usd=used.usd,
    )
    return Attempt(outcome=attempt.outcome, usage=usage, estimated=attempt.estimated, index=place)


def add_costs(draw: Draw, outcomes: Sequence[Outcome], generator: Generator) -> None:
    """Charge what was read and written to one draw; a shared prompt is read once."""
    shares = "shared_prefix" in generator.provides
    seconds: list[float] = []
    for outcome in outcomes:
        was_read = False
        for one in outcome.draws:
            saved = Usage()
            if shares and was_read:
                saved = generator.shared_prompt(one.prompt_tokens)
                saved = replace(saved, cached_tokens=one.prompt_tokens)
            was_read = was_read or one.prompt_tokens > 0
            draw.output_tokens += one.prompt_tokens + one.output_tokens - int(saved.cached_tokens)
            draw.flops += one.flops - saved.flops
            draw.usd += one.usd - saved.usd
            seconds.append(one.seconds - saved.seconds)
    draw.seconds += makespan(seconds, generator.slots)


def makespan(seconds: Sequence[float], slots: int) -> float:
    """Modelled seconds until all replies are there, at most `slots` at once, in order.

    Examples:
        >>> makespan([1.0, 1.0, 1.0], 2)
        2.0
    """
    free = [0.0] * slots
    for one in seconds:
        heapq.heapreplace(free, free[0] + one)
    return max(free)
