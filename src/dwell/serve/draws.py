"""A draw of live traffic, what asks for it, and who makes it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from dwell.protocols import Attempt
from dwell.records import Draw, Problem
from dwell.requests import Generate
from dwell.serve.asking import Asked
from dwell.serve.deadlines import Due


@dataclass(slots=True, kw_only=True)
class LiveDraw(Draw):
    """A draw with the completion that it came as.

    Attributes:
        choice: the completion in the protocol's form; empty for a failed draw.
        answer: its canonical answer.
        refusal: status with which the model refused the request itself; 0 = it did not.
    """

    choice: Mapping[str, Any] = field(default_factory=dict)
    answer: str | None = None
    refusal: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """Draws to be made in one call.

    Attributes:
        asked: the client's request.
        request: what the strategy asked for.
        problem: the request as a problem.
        key: names the sequence of draws that these are of; no other request has it.
        indices: which draws of their key.
        seeds: a seed each; None where the client gave none and the model draws as it likes.
        max_tokens: cap on each; None = the model's own.
        due: when the reply is; what has not been sent by then is not sent. None = whenever.
    """

    asked: Asked
    request: Generate
    problem: Problem
    key: bytes
    indices: Sequence[int]
    seeds: Sequence[int] | None
    max_tokens: int | None
    due: Due | None = None


class Source(Protocol):
    """Whoever makes draws: a server upstream, or a model in this process.

    Attributes:
        fingerprint: names the model.
        info: the same for a reader of the ledger.
        provides: capabilities, as of a generator.
        most_together: draws that one call may make, as far as is known.
    """

    fingerprint: str
    info: Mapping[str, Any]
    provides: frozenset[str]
    most_together: int

    async def draw(self, call: Call) -> tuple[list[LiveDraw], list[Attempt]]:
        """The draws of a call, as many as came, and its failed tries.

        There is at least one draw, unless the time was over before the call was sent.
        """
        ...

    async def open(self) -> None:
        """Make ready for the first call, in the running loop."""
        ...

    async def close(self) -> None:
        """Release what it holds."""
        ...
