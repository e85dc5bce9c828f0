"""What a server's reply is worth: draws with their tokens and dollars, and accounts of the rest.

Pure functions; no connection is known here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dwell.errors import UsageError
from dwell.generators.endpoint_calls import Failure
from dwell.generators.endpoint_choices import Choice
from dwell.generators.endpoint_wire import Reply, estimated_tokens, shares
from dwell.protocols import Attempt
from dwell.records import Draw, Usage


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenPrices:
    """Dollars for a million tokens.

    Attributes:
        prompt: of the prompt.
        cached: of the prompt, where the server says that it had it cached.
        output: of the answer, reasoning included.

    Raises:
        UsageError: one of them is negative.
    """

    prompt: float
    cached: float
    output: float

    def __post_init__(self) -> None:
        if not min(self.prompt, self.cached, self.output) >= 0:
            raise UsageError(f"prices must be at least 0, but got {self!r}.")

    def usd(self, prompt_tokens: float, output_tokens: float = 0, cached_tokens: int = 0) -> float:
        """Dollars of one call: `[(prompt - cached) pi + cached pc + output po] / 1e6`."""
        fresh = (prompt_tokens - cached_tokens) * self.prompt
        return (fresh + cached_tokens * self.cached + output_tokens * self.output) / 1e6


def draws_of(
    reply: Reply, seconds: float, want: frozenset[str], prices: TokenPrices, *, discount: bool
) -> list[Draw]:
    """A reply's draws. The prompt was read once: later answers found it cached.

    Args:
        reply: what the server sent.
        seconds: how long it took.
        want: names of statistics to return.
        prices: for the dollars of each draw, as if it had been asked for alone.
        discount: whether what the server had cached is cheaper; not where a shared prompt is
            taken off later draws anyhow.
    """
    if reply.estimated:
        counts = [estimated_tokens(choice) for choice in reply.choices]
    else:
        counts = shares(reply.output_tokens, reply.choices)
    draws = []
    for k, (choice, count) in enumerate(zip(reply.choices, counts, strict=True)):
        cached = reply.cached_tokens if discount and not k else 0
        draw = Draw(
            status=choice.status,
            text=choice.text,
            prompt_tokens=reply.prompt_tokens,
            cached_tokens=reply.prompt_tokens if k else reply.cached_tokens,
            output_tokens=count,
            seconds=seconds,
            usd=prices.usd(reply.prompt_tokens, count, cached),
        )
        if choice.reasoning or choice.tool_calls or reply.reasoning_tokens or want:
            draw.stats = _statistics(choice, reply, want)
        draws.append(draw)
    return draws


def _statistics(
    choice: Choice, reply: Reply, want: frozenset[str]
) -> dict[str, str | float | np.ndarray] | None:
    found: dict[str, str | float | np.ndarray] = {}
    if "surprisal" in want and choice.logprobs is not None:
        found["surprisal"] = -np.asarray(choice.logprobs, dtype=np.float32)
    if choice.reasoning:
        found["reasoning"] = choice.reasoning
    if choice.tool_calls:
        found["tool_calls"] = f"[{','.join(choice.tool_calls)}]"
    if reply.reasoning_tokens and len(reply.choices) == 1:  # of several nobody says whose
        found["reasoning_tokens"] = float(reply.reasoning_tokens)
    return found or None


def oddities(
    reply: Reply, extra: Sequence[Draw], prices: TokenPrices, index: int
) -> list[Attempt]:
    """Attempts that record estimated usage, and answers beyond those asked for."""
    attempts = []
    if reply.estimated:
        attempts.append(
            Attempt(outcome="usage missing", usage=Usage(), estimated=True, index=index)
        )
    if extra:
        tokens = sum(draw.output_tokens for draw in extra)
        usage = Usage(output_tokens=tokens, usd=prices.usd(0, tokens))
        attempts.append(Attempt(outcome="more answers than asked", usage=usage, index=index))
    return attempts


def failed_attempt(
    failure: Failure, prompt_tokens: int, prices: TokenPrices, index: int
) -> Attempt:
    """A failed try; where tokens may have been made for it, the prompt is an estimate."""
    prompt = prompt_tokens if failure.billed else 0
    usage = Usage(prompt_tokens=prompt, seconds=failure.seconds, usd=prices.usd(prompt))
    return Attempt(outcome=failure.reason, usage=usage, estimated=failure.billed, index=index)
