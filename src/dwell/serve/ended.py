"""What became of a run: what is replied, counted and remembered."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from dwell.protocols import Attempt
from dwell.records import Usage
from dwell.serve.asking import Refused
from dwell.serve.draws import LiveDraw


@dataclass(slots=True, kw_only=True)
class Ended:
    """What became of a run.

    Attributes:
        status: "done", "out_of_budget", "deadline", "cancelled" or "failed: why".
        answer: the canonical answer chosen; None = the strategy declined, or had none.
        chosen: the draw that carries it.
        votes: canonical answers by number of draws.
        scores: (answer, score) of every candidate that a verifier was shown; NaN = not verified.
        draws: everything that arrived, oldest first.
        attempts: failed and cancelled calls.
        charged: what the strategy used.
        spent: what was paid for: charged, and calls that failed or came too late.
        seconds: of the run.
        num_requests: how many requests the strategy made.
        digest: names them.
        confidence: probability that the answer, given or withheld, is right; None = not known.
    """

    status: str
    answer: str | None
    chosen: LiveDraw | None
    votes: Counter[str]
    scores: list[tuple[str | None, float]]
    draws: list[LiveDraw]
    attempts: list[Attempt]
    charged: Usage
    spent: Usage
    seconds: float
    num_requests: int
    digest: bytes
    confidence: float | None = None


def of_one_draw(
    draw: LiveDraw | None, attempts: Sequence[Attempt], status: str, seconds: float
) -> Ended:
    """What became of a run that asked for one draw; None = it never came."""
    usage = Usage()
    if draw is not None:
        usage = Usage(
            calls=1,
            prompt_tokens=draw.prompt_tokens,
            cached_tokens=draw.cached_tokens,
            output_tokens=draw.output_tokens,
            flops=draw.flops,
            seconds=draw.seconds,
            usd=draw.usd,
        )
    answer = None if draw is None else draw.answer
    return Ended(
        status=status,
        answer=answer,
        chosen=None if draw is None or draw.status == "failed" else draw,
        votes=Counter([answer] if answer is not None else []),
        scores=[],
        draws=[] if draw is None else [draw],
        attempts=list(attempts),
        charged=usage,
        spent=usage,
        seconds=seconds,
        num_requests=1,
        digest=b"",
    )


def failure_of(ended: Ended) -> Refused | None:
    """The error that a run without any completion ends in, None if it has one."""
    if ended.chosen is not None:
        return None
    if ended.status == "deadline":
        return Refused(504, "deadline_exceeded", "No completion arrived before the deadline.")
    failed = next((draw for draw in ended.draws if draw.status == "failed"), None)
    if failed is not None:
        own = failed.refusal in (400, 409, 413, 422, 429)
        return Refused(failed.refusal if own else 502, "upstream_error", failed.text)
    if ended.status == "out_of_budget":
        return Refused(400, "budget_too_small", "The budget does not allow a single draw.")
    return Refused(500, "strategy_failed", ended.status)
