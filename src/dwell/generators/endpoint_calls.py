"""What becomes of a call: its tries, why they failed, and how patient a client is.

The rules of trying again stand here for every client of the project: which statuses may pass
(`may_pass`), what a Retry-After says (`retry_after_seconds`), how waits grow (`longest_wait`).
No connection is known here.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Generic, TypeVar

T = TypeVar("T")

#: Statuses below 500 that may pass: time-out, conflict, too early, too many.
_PASSING = frozenset({408, 409, 425, 429})
#: Statuses by which a server says that it has too many calls.
_OVERLOADED = frozenset({429, 503})
#: Statuses by which a server says that it serves no call of ours, whatever we ask.
_REFUSALS = frozenset({401, 403, 404, 405, 407, 410})


@dataclass(slots=True, kw_only=True)
class Failure:
    """One failed try.

    Attributes:
        reason: what happened, in one line and without secrets.
        retryable: whether the same call may succeed later.
        refused: whether the server would refuse every call (a wrong key, path or model).
        reached: whether a connection was made.
        billed: whether tokens may have been generated for it all the same.
        overloaded: whether the server says that it has too many calls.
        retry_after_seconds: how long the server asks to wait.
        seconds: how long the try took.
    """

    reason: str
    retryable: bool = True
    refused: bool = False
    reached: bool = True
    billed: bool = False
    overloaded: bool = False
    retry_after_seconds: float | None = None
    seconds: float = 0.0


@dataclass(slots=True)
class Call(Generic[T]):
    """What became of a call: its reply, if any, and the tries that failed before.

    Attributes:
        reply: the parsed reply, None if every try failed.
        seconds: measured seconds of the try that succeeded.
        failures: the failed and cancelled tries, oldest first.
        started: when the first try got its slot, on the monotonic clock; waiting for that slot
            does not count against the time limits.
        tokens: what each try takes of the tokens of a minute.
    """

    reply: T | None = None
    seconds: float = 0.0
    failures: list[Failure] = field(default_factory=list)
    started: float = 0.0
    tokens: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long to wait, how often to try, how much to ask for.

    Attributes:
        concurrency: calls on the wire at once.
        adaptive: fewer of them while the server answers 429 or 503.
        requests_per_minute, tokens_per_minute: what may be sent in any 60 seconds, tokens being
            those of the prompt (estimated) and of the answers; None = no limit.
        timeout_seconds: limit of one try.
        total_seconds: limit of a call with all its tries and waits.
        max_tries: tries of a call, at least 1.
        backoff_seconds: the k-th wait is uniform in ``[0, min(max_backoff, backoff * 2**k)]``
            ("full jitter"), after what the server asked for.
        max_backoff_seconds: upper end of that.
        hedge_seconds: a try without a reply for so long is sent a second time, and the first
            good reply is taken; None = never.

    References:
        Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog (2015).
        Dean and Barroso, "The Tail at Scale" (2013), for hedged requests.
    """

    concurrency: int
    adaptive: bool
    requests_per_minute: float | None
    tokens_per_minute: float | None
    timeout_seconds: float
    total_seconds: float
    max_tries: int
    backoff_seconds: float
    max_backoff_seconds: float
    hedge_seconds: float | None


def may_pass(status: int) -> bool:
    """Whether the same call may succeed later."""
    return status in _PASSING or status >= 500


def longest_wait(number: int, backoff_seconds: float, most_seconds: float) -> float:
    """Upper end of the wait after try `number`, counted from 0: it doubles with each."""
    return min(most_seconds, backoff_seconds * 2.0 ** min(number, 100))  # a float holds 2**1023


def failure_of_status(status: int, headers: Mapping[str, str], raw: bytes) -> Failure:
    """What a reply with a status other than 200 says."""
    reason = f"status {status}"
    message = _message(raw)
    if message:
        reason += f" ({message})"
    return Failure(
        reason=reason,
        retryable=may_pass(status),
        refused=status in _REFUSALS or status < 400,
        overloaded=status in _OVERLOADED,
        retry_after_seconds=retry_after_seconds(headers),
    )


def _message(raw: bytes) -> str:
    """What the server says went wrong, in the protocol's form, or nothing."""
    try:
        body = json.loads(raw)
    except ValueError:
        return ""
    error = body.get("error") if isinstance(body, dict) else None
    message = error.get("message") if isinstance(error, dict) else error
    return message if isinstance(message, str) else ""


def retry_after_seconds(headers: Mapping[str, str]) -> float | None:
    """Seconds of a Retry-After header, given as a number or as a date; None if unreadable."""
    text = headers.get("Retry-After", "").strip()
    if not text:
        return None
    try:
        seconds = float(text)
    except ValueError:
        try:
            until = parsedate_to_datetime(text)
        except ValueError:
            return None
        if until.tzinfo is None:
            until = until.replace(tzinfo=UTC)
        seconds = (until - datetime.now(UTC)).total_seconds()
    return max(0.0, seconds) if seconds < float("inf") else None
