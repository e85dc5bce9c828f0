"""Calls over HTTP that may fail: bounded concurrency, time limits, retries.

One session and one pool of connections, opened inside the running loop by the first call. A slot
is held only while a call is on the wire, never while waiting to try again. The key is read from
the environment when the session is opened, is kept in its headers alone, and is cut out of every
text that leaves this module.
"""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Generic, TypeVar
from urllib.parse import urlsplit

import aiohttp

from dwell.errors import UsageError
from dwell.generators.endpoint_wire import MalformedBody
from dwell.generators.scripted import uniforms

T = TypeVar("T")

MAX_BODY_BYTES = 64 * 2**20
_RETRYABLE = frozenset({408, 409, 425, 429})
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
        retry_after_seconds: how long the server asks to wait.
        seconds: how long the try took.
    """

    reason: str
    retryable: bool = True
    refused: bool = False
    reached: bool = True
    billed: bool = False
    retry_after_seconds: float | None = None
    seconds: float = 0.0


@dataclass(slots=True)
class Call(Generic[T]):
    """What became of a call: its reply, if any, and the tries that failed before.

    Attributes:
        reply: the parsed reply, None if every try failed.
        seconds: measured seconds of the try that succeeded.
        failures: the failed tries, oldest first.
        started: when the first try got its slot, on the monotonic clock; waiting for that slot
            does not count against the time limits.
    """

    reply: T | None = None
    seconds: float = 0.0
    failures: list[Failure] = field(default_factory=list)
    started: float = 0.0


class _TryFailed(Exception):
    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.reason)
        self.failure = failure


def check_base_url(base_url: str) -> str:
    """The base address without a final slash.

    Raises:
        UsageError: it is not an http or https address, or carries credentials or a query.
    """
    parts = urlsplit(base_url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise UsageError(
            "`base_url` must be an http or https address such as http://localhost:8000/v1, "
            f"but its scheme is {parts.scheme!r} and its host {parts.hostname!r}."
        )
    if parts.username or parts.password or parts.query or parts.fragment:
        # The offending value is not shown: it may hold a secret.
        raise UsageError(
            "`base_url` must not carry credentials or a query, but it does. "
            "Put the key into an environment variable and name it in `api_key_env`."
        )
    return base_url.rstrip("/")


class Transport:
    """Posts JSON to one server.

    Args:
        base_url: checked base address.
        api_key_env: name of the environment variable with the key; unset = no key is sent.
        concurrency: calls on the wire at once.
        timeout_seconds: limit of one try.
        total_seconds: limit of a call with all its tries and waits.
        max_tries: tries of a call, at least 1.
        backoff_seconds: the k-th wait is uniform in ``[0, min(max_backoff, backoff * 2**k)]``
            ("full jitter"), after what the server asked for.
        max_backoff_seconds: upper end of that.

    References:
        Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog (2015).
    """

    def __init__(
        self,
        base_url: str,
        *,
        api_key_env: str,
        concurrency: int,
        timeout_seconds: float,
        total_seconds: float,
        max_tries: int,
        backoff_seconds: float,
        max_backoff_seconds: float,
    ) -> None:
        self._base_url = base_url
        self._api_key_env = api_key_env
        self._concurrency = concurrency
        self._timeout_seconds = timeout_seconds
        self._total_seconds = total_seconds
        self._max_tries = max_tries
        self._backoff_seconds = backoff_seconds
        self._max_backoff_seconds = max_backoff_seconds
        self._session: aiohttp.ClientSession | None = None
        self._slots = asyncio.Semaphore(concurrency)
        self._loop: asyncio.AbstractEventLoop | None = None

    async def post(
        self, path: str, body: Mapping[str, object], parse: Callable[[bytes], T], seed: int
    ) -> Call[T]:
        """Posts a body until a reply parses, the tries or the time are used up.

        Args:
            path: what follows the base address.
            body: JSON-able.
            parse: turns a body into a reply; `MalformedBody` makes it a failed try.
            seed: seeds the waits, so that calls do not come back together.
        """
        call: Call[T] = Call()
        data = json.dumps(body).encode()
        for number in range(self._max_tries):
            failure = await self._try(call, path, data, parse)
            if failure is None:
                break
            call.failures.append(failure)
            if not failure.retryable or number + 1 == self._max_tries:
                break
            wait = self._wait_seconds(failure, number, seed)
            if time.monotonic() + wait >= call.started + self._total_seconds:
                break
            await asyncio.sleep(wait)
        return call

    async def close(self) -> None:
        """Closes the connections; a later call opens new ones."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def _try(
        self, call: Call[T], path: str, data: bytes, parse: Callable[[bytes], T]
    ) -> Failure | None:
        session = self.open()
        async with self._slots:
            started = time.monotonic()
            call.started = call.started or started
            left = call.started + self._total_seconds - started
            if left <= 0:
                reason = f"no free slot within {self._total_seconds:g} s"
                return Failure(reason=reason, retryable=False)
            try:
                raw = await self._exchange(session, path, data, min(self._timeout_seconds, left))
                call.reply = parse(raw)
                call.seconds = time.monotonic() - started
                return None
            except _TryFailed as error:
                failure = error.failure
            except MalformedBody as error:
                failure = Failure(reason=f"malformed body: {error}", billed=True)
            except TimeoutError:
                seconds = time.monotonic() - started
                failure = Failure(reason=f"no reply within {seconds:.3g} s", billed=True)
            except aiohttp.ClientConnectorError as error:
                reason = f"no connection: {error.strerror or type(error).__name__}"
                failure = Failure(reason=reason, reached=False)
            except (aiohttp.ClientError, OSError) as error:
                failure = Failure(reason=f"connection lost: {type(error).__name__}", billed=True)
            failure.reason = self._redacted(failure.reason)
            failure.seconds = time.monotonic() - started
            return failure

    async def _exchange(
        self, session: aiohttp.ClientSession, path: str, data: bytes, seconds: float
    ) -> bytes:
        # Redirects are refused: the key and the prompt go to the named server alone.
        async with session.post(
            self._base_url + path,
            data=data,
            timeout=aiohttp.ClientTimeout(total=seconds),
            allow_redirects=False,
        ) as response:
            raw = await _read_bounded(response)
            if response.status == 200:
                return raw
            raise _TryFailed(_failure_of_status(response, raw))

    def open(self) -> aiohttp.ClientSession:
        """The session of the running loop, opened if there is none.

        Raises:
            UsageError: the key in the environment cannot be sent in a header.
        """
        loop = asyncio.get_running_loop()
        if self._session is None or self._session.closed or self._loop is not loop:
            headers = {"Content-Type": "application/json"}
            key = os.environ.get(self._api_key_env, "").strip()
            if not key.isprintable() or not key.isascii():
                raise UsageError(
                    f"a key must be printable ASCII, but the one in {self._api_key_env} is not."
                )
            if key:
                headers["Authorization"] = f"Bearer {key}"
            connector = aiohttp.TCPConnector(limit=self._concurrency)
            self._session = aiohttp.ClientSession(connector=connector, headers=headers)
            self._slots = asyncio.Semaphore(self._concurrency)
            self._loop = loop
        return self._session

    def _redacted(self, text: str) -> str:
        """The text in one line, short, and without the key."""
        if self._session is not None:
            key = self._session.headers.get("Authorization", "").removeprefix("Bearer ")
            if key:
                text = text.replace(key, "[key]")
        return " ".join(text.split())[:300]

    def _wait_seconds(self, failure: Failure, number: int, seed: int) -> float:
        ceiling = min(self._max_backoff_seconds, self._backoff_seconds * 2.0**number)
        jitter = float(uniforms([seed], number + 1)[0]) * ceiling
        return (failure.retry_after_seconds or 0.0) + jitter


async def _read_bounded(response: aiohttp.ClientResponse) -> bytes:
    chunks = bytearray()
    async for chunk in response.content.iter_any():
        chunks += chunk
        if len(chunks) > MAX_BODY_BYTES:
            raise MalformedBody(f"the body is longer than {MAX_BODY_BYTES} bytes")
    return bytes(chunks)


def _failure_of_status(response: aiohttp.ClientResponse, raw: bytes) -> Failure:
    status = response.status
    reason = f"status {status}"
    message = _message(raw)
    if message:
        reason += f" ({message})"
    return Failure(
        reason=reason,
        retryable=status in _RETRYABLE or status >= 500,
        refused=status in _REFUSALS or status < 400,
        retry_after_seconds=_retry_after(response.headers),
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


def _retry_after(headers: Mapping[str, str]) -> float | None:
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
