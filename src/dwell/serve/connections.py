"""Connections that say nothing: closed, so that nobody holds them all by being slow."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

from aiohttp import web

#: Seconds that a connection may rest between two requests.
REST_SECONDS = 75.0


class Connections:
    """All connections of a server, and since when each has been silent.

    Args:
        read_seconds: within which the first request's headers must be there.
    """

    def __init__(self, read_seconds: float) -> None:
        self._read_seconds = read_seconds
        self._due: dict[Any, float] = {}
        self._sweeper: asyncio.Task[None] | None = None

    def watched(self, server: web.Server) -> Callable[[], asyncio.Protocol]:
        """A server's factory of protocols whose connections are watched."""

        def make() -> asyncio.Protocol:
            protocol = server()
            self._due[protocol] = time.monotonic() + self._read_seconds
            return protocol

        return make

    def heard(self, transport: asyncio.BaseTransport | None) -> None:
        """A request's headers are here: its connection is not silent."""
        if transport is not None:
            self._due.pop(_protocol(transport), None)

    def rests(self, transport: asyncio.BaseTransport | None) -> None:
        """A request is answered: the next one may take its time to come, but not for ever."""
        if transport is not None and not transport.is_closing():
            self._due[_protocol(transport)] = time.monotonic() + REST_SECONDS

    def start(self) -> None:
        """Begin to sweep."""
        self._sweeper = asyncio.ensure_future(self._sweep())

    async def stop(self) -> None:
        """End sweeping."""
        if self._sweeper is not None:
            self._sweeper.cancel()
            await asyncio.gather(self._sweeper, return_exceptions=True)

    async def _sweep(self) -> None:
        pause = min(1.0, self._read_seconds / 4)
        while True:
            await asyncio.sleep(pause)
            now = time.monotonic()
            for protocol, due in list(self._due.items()):
                if protocol.transport is None:  # gone by itself
                    del self._due[protocol]
                elif due < now:
                    protocol.transport.abort()
                    del self._due[protocol]


def _protocol(transport: asyncio.BaseTransport) -> Any:
    return transport.get_protocol()
