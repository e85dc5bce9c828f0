"""A request for a completion, from its bytes to the reply.

A draw a choice without a deadline or a budget is passed on with as little in between as can be;
everything else is a run of a strategy. What a reply has cost is noted after it was sent.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any

from aiohttp import web

from dwell.serve.asking import Asked, Refused, read_asked
from dwell.serve.deadlines import Deadlines, Due
from dwell.serve.draws import Source
from dwell.serve.ended import Ended
from dwell.serve.gauges import Gauges
from dwell.serve.journal import Journal
from dwell.serve.judges import Judges
from dwell.serve.live import Live
from dwell.serve.pace import Pace
from dwell.serve.relay import relay
from dwell.serve.replies import as_bytes, completion, error_body, event, events, headers
from dwell.serve.runs import Runs
from dwell.serve.session import cannot_serve
from dwell.serve.settings import Settings
from dwell.serve.together import Together
from dwell.serve.upstream import Upstream

#: Seconds after which a stream without an event says that it is still there.
HEARTBEAT_SECONDS = 10.0
#: Requests begun in one turn of the event loop; each takes about a millisecond.
STARTS_PER_TURN = 2


class Completing:
    """Answers requests for completions.

    Args:
        settings: what the operator decided.
        source: makes draws.
        judges: the verifiers that strategies may ask for.
        gauges: count.
        journal: remembers; None = nothing is kept.
        task: name of the task whose checker extracts answers, "" = none.
    """

    def __init__(
        self,
        settings: Settings,
        source: Source,
        judges: Judges,
        gauges: Gauges,
        journal: Journal | None,
        task: str,
    ) -> None:
        self._settings, self._source, self._judges = settings, source, judges
        self._gauges, self._journal, self._task = gauges, journal, task
        self._deadlines, self._pace = Deadlines(), Pace(STARTS_PER_TURN)

    def finish(self) -> None:
        """Note everything that was put off."""
        self._deadlines.finish()

    async def complete(
        self, request: web.Request, raw: bytes, begun: float, *, chat: bool
    ) -> web.StreamResponse:
        """The reply to a request whose body is here.

        Args:
            request: for its headers, and to stream to.
            raw: its body.
            begun: when it arrived, on the monotonic clock.
            chat: whether it asks for a chat completion.

        Raises:
            Refused: it is malformed, asks for more than the server gives, or nothing came of it.
        """
        await self._pace.turn()  # of many that come at once, each first says when it came
        asked = read_asked(raw, request.headers, chat=chat, settings=self._settings)
        if asked.strategy is not self._settings.strategy:
            why = cannot_serve(asked.strategy, self._source.provides, self._judges.verifiers)
            if why is not None:
                raise Refused(400, "invalid_strategy", why)
        if asked.deadline_seconds is None:
            return await self._answer(request, asked, begun, None)
        due = self._deadlines.enter(begun, asked.deadline_seconds)
        try:
            return await self._answer(request, asked, begun, due)
        finally:
            self._deadlines.leave(due)

    async def _answer(
        self, request: web.Request, asked: Asked, begun: float, due: Due | None
    ) -> web.StreamResponse:
        source = self._source
        passed = asked.plain and asked.limits.keys() == {"calls"}
        together = Together(asked, source, begun, self._note, self._task) if passed else None
        if together is not None and asked.stream and isinstance(source, Upstream):
            at_once = due is None and asked.n <= source.most_together
            if asked.n == 1 or at_once:
                return await relay(request, together, source, self._settings, begun, due)
        runs: Runs | Together
        if together is not None and due is None:
            runs = together
        else:
            make = partial(self._live, begun=begun, due=due)
            runs = Runs(asked, make, self._deadlines, self._note)
        try:
            if asked.stream:
                return await self._stream(request, asked, runs)
            ended = await runs.ended()
            body = completion(asked, self._settings.model, ended)
            return await _send(request, body, headers(ended))
        finally:
            runs.settle()

    def _live(self, asked: Asked, begun: float, due: Due | None) -> Live:
        return Live(asked, self._source, self._judges, self._settings, begun, due, self._task)

    def _note(self, asked: Asked, ended: Ended) -> None:
        self._gauges.ended(ended)
        if self._journal is not None:
            self._journal.write(asked, ended, self._source)

    async def _stream(
        self, request: web.Request, asked: Asked, runs: Runs | Together
    ) -> web.StreamResponse:
        """Run to the end, then stream the completion; comments keep the connection alive."""
        running = asyncio.ensure_future(runs.ended())
        response: web.StreamResponse | None = None
        try:
            while not (await asyncio.wait({running}, timeout=HEARTBEAT_SECONDS))[0]:
                response = response or await _begin(request)
                await response.write(b": thinking\n\n")
            try:
                ended = await running
            except Refused as refused:
                if response is None:
                    raise
                await response.write(event(error_body(refused)))  # the stream's last event
                return response
            response = response or await _begin(request, headers(ended))
            for piece in events(asked, self._settings.model, ended):
                await response.write(piece)
            return response
        finally:
            running.cancel()


async def _send(
    request: web.Request, body: dict[str, Any], own: dict[str, str]
) -> web.StreamResponse:
    """Send a whole reply now, so that its account comes after it."""
    response = web.Response(body=as_bytes(body), headers=own, content_type="application/json")
    await response.prepare(request)
    await response.write_eof()
    return response


async def _begin(request: web.Request, own: dict[str, str] | None = None) -> web.StreamResponse:
    response = web.StreamResponse(
        headers={
            "Content-Type": "text/event-stream", "Cache-Control": "no-cache", **(own or {})
        }
    )  # fmt: skip
    await response.prepare(request)
    return response
