"""Verifiers at work in a thread of their own: the server answers while they think."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Mapping, Sequence

from dwell.protocols import Outcome, Verifier, VerifyWork


class Judges:
    """Verifiers by name, on an event loop in another thread.

    Args:
        verifiers: by the names that strategies use.
    """

    def __init__(self, verifiers: Mapping[str, Verifier]) -> None:
        self.verifiers = dict(verifiers)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    async def score(self, name: str, work: Sequence[VerifyWork]) -> Sequence[Outcome]:
        """One outcome per work item."""
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
            self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
            self._thread.start()
        scoring = self._score(name, work)
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(scoring, self._loop))

    async def _score(self, name: str, work: Sequence[VerifyWork]) -> Sequence[Outcome]:
        return list(await self.verifiers[name].score(work))

    async def close(self) -> None:
        """Stop the thread."""
        if self._loop is None or self._thread is None:
            return
        self._loop.call_soon_threadsafe(self._loop.stop)
        await asyncio.to_thread(self._thread.join, 5.0)
        if not self._thread.is_alive():
            self._loop.close()
        self._loop = self._thread = None
