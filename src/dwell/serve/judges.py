"""Verifiers at work in a thread of their own: the server answers while they think."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Collection, Mapping, Sequence

from dwell.errors import GeneratorError, VerifierError
from dwell.protocols import Attempt, Outcome, Verifier, VerifyWork
from dwell.records import Draw, Usage
from dwell.verifiers import Judge


class Judges:
    """Verifiers by name, on an event loop in another thread.

    Args:
        verifiers: by the names that strategies use.
    """

    def __init__(self, verifiers: Mapping[str, Verifier]) -> None:
        self.verifiers = dict(verifiers)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    def paid(self, name: str) -> bool:
        """Whether a verifier asks a model, whose tokens count against a request's limits."""
        return isinstance(self.verifiers[name], Judge)

    def most(
        self, name: str, work: Sequence[VerifyWork], limits: Collection[str]
    ) -> dict[str, float]:
        """The most that scoring can use of what is limited, by kind."""
        judge = self.verifiers[name]
        if not isinstance(judge, Judge):
            return {}
        most = {"output_tokens": judge.most_tokens_of, "usd": judge.most_usd_of}
        return {kind: sum(map(most[kind], work)) for kind in most.keys() & set(limits)}

    async def score(self, name: str, work: Sequence[VerifyWork]) -> Sequence[Outcome]:
        """One outcome per work item; where a judge cannot be reached nothing is verified."""
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
            self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
            self._thread.start()
        scoring = self._score(name, work)
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(scoring, self._loop))

    async def _score(self, name: str, work: Sequence[VerifyWork]) -> Sequence[Outcome]:
        try:
            return list(await self.verifiers[name].score(work))
        except (GeneratorError, VerifierError) as error:
            why = f"verifier: {error}"
            return [_unverified(item, why if k == 0 else "") for k, item in enumerate(work)]

    async def close(self) -> None:
        """Close the judges' connections and stop the thread."""
        if self._loop is None or self._thread is None:
            return
        closing = asyncio.run_coroutine_threadsafe(self._close(), self._loop)
        await asyncio.wait({asyncio.wrap_future(closing)}, timeout=5.0)
        self._loop.call_soon_threadsafe(self._loop.stop)
        await asyncio.to_thread(self._thread.join, 5.0)
        if not self._thread.is_alive():
            self._loop.close()
        self._loop = self._thread = None

    async def _close(self) -> None:
        for verifier in self.verifiers.values():
            if isinstance(verifier, Judge):
                await verifier.close()


def _unverified(item: VerifyWork, why: str) -> Outcome:
    """An outcome without scores; one of a call's says why."""
    count = len(item.candidates) if item.mode == "group" else len(item.seeds)
    lost = [Attempt(outcome=why, usage=Usage())] if why else []
    return Outcome([Draw(status="failed", value=float("nan"), text=why)] * count, lost)
