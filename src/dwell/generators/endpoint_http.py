"""Calls over HTTP that may fail: bounded concurrency, time limits, retries, hedges.

A slot is held only while a call is on the wire, never while waiting to try again. A call that is
cancelled on the wire is noted like one that failed.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import urlsplit

from dwell.errors import UsageError
from dwell.generators.endpoint_calls import Call, Failure, Patience, longest_wait
from dwell.generators.endpoint_choices import MalformedBody
from dwell.generators.endpoint_limits import Bucket, Slots
from dwell.generators.scripted import uniforms

if TYPE_CHECKING:
    from dwell.generators.endpoint_connections import Connections

T = TypeVar("T")

#: Tries where no connection could ever be made: the address is more likely wrong than busy.
_FIRST_TRIES = 3


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
        patience: limits, tries and waits.
    """

    def __init__(self, base_url: str, *, api_key_env: str, patience: Patience) -> None:
        self._base_url = base_url
        self._api_key_env = api_key_env
        self._patience = patience
        self._connections: Connections | None = None
        self._reached = False
        self._requests = Bucket(patience.requests_per_minute, "requests_per_minute")
        self._tokens = Bucket(patience.tokens_per_minute, "tokens_per_minute")
        self.slots = Slots(patience.concurrency, adaptive=patience.adaptive)

    async def post(
        self,
        call: Call[T],
        path: str,
        data: bytes,
        parse: Callable[[bytes], T],
        seed: int,
    ) -> None:
        """Posts a body until a reply parses, the tries or the time are used up.

        Args:
            call: what becomes of it; told of each try as it ends, and of those that a
                cancellation ended.
            path: what follows the base address.
            data: the body, in JSON.
            parse: turns a body into a reply; `MalformedBody` makes it a failed try.
            seed: seeds the waits, so that calls do not come back together.
        """
        patience = self._patience
        for number in range(patience.max_tries):
            if patience.hedge_seconds is None:
                failure = await self._try(call, path, data, parse)
            else:
                failure = await self._hedged(call, path, data, parse, patience.hedge_seconds)
            if failure is None:
                return
            call.failures.append(failure)
            tries = patience.max_tries
            if not failure.reached and not self._reached:
                tries = min(tries, _FIRST_TRIES)
            if not failure.retryable or number + 1 >= tries:
                return
            wait = self._wait_seconds(failure, number, seed)
            if time.monotonic() + wait >= call.started + patience.total_seconds:
                return
            await asyncio.sleep(wait)

    async def close(self) -> None:
        """Closes the connections; a later call opens new ones."""
        connections, self._connections = self._connections, None
        if connections is not None:
            await connections.close()

    async def _hedged(
        self, call: Call[T], path: str, data: bytes, parse: Callable[[bytes], T], wait: float
    ) -> Failure | None:
        """One try, and a second one beside it when the first takes long."""
        sent = asyncio.Event()
        tries = {asyncio.ensure_future(self._try(call, path, data, parse, sent.set))}
        for task in tries:
            task.add_done_callback(lambda _: sent.set())
        failures: list[Failure] = []
        try:
            await sent.wait()
            ended, pending = await asyncio.wait(tries, timeout=wait)
            if not ended:
                tries.add(asyncio.ensure_future(self._try(call, path, data, parse)))
            pending = tries
            while pending and call.reply is None:
                ended, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
                results = [task.result() for task in ended]
                failures += [failure for failure in results if failure is not None]
        finally:
            for task in tries:
                task.cancel()
            await asyncio.gather(*tries, return_exceptions=True)
        if call.reply is None:
            return failures.pop()
        call.failures += failures
        return None

    async def _try(
        self,
        call: Call[T],
        path: str,
        data: bytes,
        parse: Callable[[bytes], T],
        on_sent: Callable[[], None] | None = None,
    ) -> Failure | None:
        connections, slots = self.open(), self.slots
        await self._requests.take(1)
        await self._tokens.take(call.tokens)
        await slots.acquire()
        started = time.monotonic()
        if on_sent is not None:
            on_sent()
        try:
            found = await self._with_slot(connections, call, path, data, started)
            seconds = time.monotonic() - started
            if isinstance(found, Failure):
                failure: Failure | None = found
            else:
                if slots.wanted:  # whoever gets the slot sends before this reply is read
                    await asyncio.sleep(0)
                failure = self._read(call, found, parse, seconds)
        except asyncio.CancelledError:
            lost = Failure(reason="cancelled on the wire", billed=True)
            lost.seconds = time.monotonic() - started
            call.failures.append(lost)
            raise
        if failure is not None:
            failure.reason, failure.seconds = connections.redacted(failure.reason), seconds
        return failure

    async def _with_slot(
        self, connections: Connections, call: Call[T], path: str, data: bytes, started: float
    ) -> bytes | Failure:
        """One exchange, and the slot given back after it."""
        patience = self._patience
        try:
            call.started = call.started or started
            left = call.started + patience.total_seconds - started
            if left <= 0:
                reason = f"no free slot within {patience.total_seconds:g} s"
                return Failure(reason=reason, retryable=False)
            found = await connections.exchange(path, data, min(patience.timeout_seconds, left))
            if isinstance(found, bytes):
                self.slots.succeeded()
                self._reached = True
                return found
            self._reached |= found.reached
            if found.overloaded:
                self.slots.overloaded(started)
            return found
        finally:
            self.slots.release()

    def _read(
        self, call: Call[T], raw: bytes, parse: Callable[[bytes], T], seconds: float
    ) -> Failure | None:
        """Parse a body into the call's reply; what is wrong with it, or None."""
        if call.reply is not None:
            return Failure(reason="its hedge was quicker", billed=True)
        try:
            call.reply, call.seconds = parse(raw), seconds
        except MalformedBody as error:
            return Failure(reason=f"malformed body: {error}", billed=True)
        return None

    def settle(self, taken: int, used: int) -> None:
        """Correct the tokens that a call took from its minute by those that it used."""
        self._tokens.give_back(taken - used)

    def open(self) -> Connections:
        """The connections of the running loop, opened if there are none.

        Raises:
            UsageError: the key in the environment cannot be sent in a header.
        """
        found = self._connections
        if found is None or found.session.closed or found.loop is not asyncio.get_running_loop():
            module = import_module("dwell.generators.endpoint_connections")
            self._connections = found = module.Connections(
                self._base_url, api_key_env=self._api_key_env, most=self._patience.concurrency
            )
            self.slots = Slots(self._patience.concurrency, adaptive=self._patience.adaptive)
        return found

    def _wait_seconds(self, failure: Failure, number: int, seed: int) -> float:
        patience = self._patience
        most = longest_wait(number, patience.backoff_seconds, patience.max_backoff_seconds)
        jitter = float(uniforms([seed], number + 1)[0]) * most
        return (failure.retry_after_seconds or 0.0) + jitter
