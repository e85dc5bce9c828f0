"""What the operator of a server decides; clients decide within it."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from hashlib import sha256

from dwell.errors import UsageError
from dwell.protocols import Strategy

#: Hosts that only this machine can reach.
LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """A server's settings.

    Attributes:
        model: the model's name for clients, and at the upstream server.
        strategy: what every request runs that names no other.
        client_strategies: whether a request may name another.
        answer_pattern: finds the answer in a completion, in its first group; None = see
            `dwell.tasks.answers.vote_key`.
        deadline_seconds: deadline of requests that name none; None = none.
        most_samples: hard limit of draws a request, whatever its strategy asks.
        most_choices: the largest `n` of a request that runs a strategy; `most_samples` is that of
            one whose choices are a draw each.
        usd_per_million_prompt_tokens: price, None = unknown: no budget in dollars then.
        usd_per_million_output_tokens: the same for output tokens.
        key_digests: SHA-256 of the bearer keys of clients; empty = everybody may call.
        requests_per_minute: of each key (or address, without keys); None = unlimited.
        most_in_flight: requests being answered; one more is refused with 503.
        most_body_bytes: size of a request; a larger one is refused with 413.
        read_seconds: within which a request must have been sent; else 408, or a closed
            connection while the headers are not there.
        grace_seconds: how long a stopping server waits for requests in flight.
    """

    model: str
    strategy: Strategy
    client_strategies: bool = True
    answer_pattern: re.Pattern[str] | None = None
    deadline_seconds: float | None = None
    most_samples: int = 64
    most_choices: int = 8
    usd_per_million_prompt_tokens: float | None = None
    usd_per_million_output_tokens: float | None = None
    key_digests: frozenset[bytes] = field(default_factory=frozenset, repr=False)
    requests_per_minute: float | None = None
    most_in_flight: int = 1024
    most_body_bytes: int = 4 * 2**20
    read_seconds: float = 10.0
    grace_seconds: float = 20.0

    @property
    def priced(self) -> bool:
        """Whether dollars can be counted."""
        return self.usd_per_million_output_tokens is not None

    @property
    def prompt_price(self) -> float:
        """Dollars a prompt token."""
        return (self.usd_per_million_prompt_tokens or 0.0) / 1e6

    @property
    def output_price(self) -> float:
        """Dollars an output token."""
        return (self.usd_per_million_output_tokens or 0.0) / 1e6


def answer_pattern(text: str | None) -> re.Pattern[str] | None:
    """A pattern with one group that is the answer.

    Raises:
        UsageError: it is none, or has no group.
    """
    if text is None:
        return None
    try:
        pattern = re.compile(text, re.MULTILINE)
    except re.error as error:
        raise UsageError(f"--answer-pattern must be a pattern, but {text!r}: {error}.") from error
    if pattern.groups < 1:
        raise UsageError(
            f"--answer-pattern must have a group that is the answer, but got {text!r}. "
            r"Write for example ^A(\d+)$."
        )
    return pattern


def key_digest(key: str) -> bytes:
    """What is kept of a key: enough to recognise it, too little to use it."""
    return sha256(key.encode()).digest()


def client_keys(variable: str | None, host: str, *, open_to_all: bool) -> frozenset[bytes]:
    """Digests of the bearer keys that an environment variable holds, with commas between them.

    Raises:
        UsageError: it holds none, or a server that others can reach would ask for no key.
    """
    if variable is None:
        if host not in LOOPBACK and not open_to_all:
            raise UsageError(
                "A server that other machines can reach asks for keys, but got "
                f"--host {host} without --client-keys-env. Name a variable that holds keys, or "
                "say --open if everybody may spend your tokens."
            )
        return frozenset()
    keys = [key.strip() for key in os.environ.get(variable, "").split(",") if key.strip()]
    if not keys:
        raise UsageError(
            f"--client-keys-env names a variable with keys, but {variable} holds none. "
            "Set it to one key or several with commas."
        )
    return frozenset(key_digest(key) for key in keys)
