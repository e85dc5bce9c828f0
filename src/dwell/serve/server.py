"""The server: routes, the way of a request through it, and its end.

POST /v1/chat/completions, /v1/completions     GET /v1/models, /health, /metrics
POST /v1/dwell/feedback
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from typing import Any, Self

from aiohttp import web

from dwell.errors import DwellError, UsageError
from dwell.serve.asking import Refused
from dwell.serve.completing import Completing
from dwell.serve.connections import Connections
from dwell.serve.draws import Source
from dwell.serve.gauges import Gauges
from dwell.serve.guard import Guard
from dwell.serve.journal import Journal
from dwell.serve.judges import Judges
from dwell.serve.replies import error_body
from dwell.serve.session import cannot_serve
from dwell.serve.settings import Settings

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
_OPEN = frozenset({"/health"})


class Server:
    """An OpenAI-compatible server: ``async with Server(settings, source) as server``.

    Args:
        settings: what the operator decided.
        source: makes draws.
        judges: the verifiers that strategies may ask for.
        journal: remembers; None = nothing is kept.
        task: name of the task whose checker extracts answers, "" = none.
        host: where to listen.
        port: where to listen; 0 = any free port.
        arrived: tells when the request that is looked at now arrived, on the monotonic clock.

    Raises:
        UsageError: the strategy cannot be run on this source.
    """

    def __init__(
        self,
        settings: Settings,
        source: Source,
        *,
        judges: Judges | None = None,
        journal: Journal | None = None,
        task: str = "",
        host: str = "127.0.0.1",
        port: int = 0,
        arrived: Callable[[], float] = time.monotonic,
    ) -> None:
        self.settings, self._source = settings, source
        self._judges = judges or Judges({})
        self._journal = journal
        self._host, self._port, self._arrived = host, port, arrived
        self._gauges, self._guard = Gauges(), Guard(settings)
        why = cannot_serve(settings.strategy, source.provides, self._judges.verifiers)
        if why is not None:
            raise UsageError(f"A server's strategy must run on its model, but not so here: {why}")
        self._completing = Completing(settings, source, self._judges, self._gauges, journal, task)
        self._runner: web.AppRunner | None = None
        self._listening: asyncio.Server | None = None
        self._connections = Connections(settings.read_seconds)

    # ---- its life --------------------------------------------------------------------------

    @property
    def url(self) -> str:
        """Where clients find it: the base address for an OpenAI client."""
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"http://{host}:{self._port}/v1"

    async def start(self) -> None:
        """Listen.

        Raises:
            UsageError: the address is taken.
        """
        await self._source.open()
        app = web.Application(
            client_max_size=self.settings.most_body_bytes, middlewares=[self._middleware]
        )
        app.router.add_post("/v1/chat/completions", self._chat)
        app.router.add_post("/v1/completions", self._text)
        app.router.add_post("/v1/dwell/feedback", self._feedback)
        app.router.add_get("/v1/models", self._models)
        app.router.add_get("/v1/models/{name:.+}", self._model)
        app.router.add_get("/health", self._health)
        app.router.add_get("/metrics", self._metrics)
        self._runner = web.AppRunner(
            app,
            access_log=None,
            handler_cancellation=True,
            shutdown_timeout=self.settings.grace_seconds,
        )
        await self._runner.setup()
        assert self._runner.server is not None
        factory = self._connections.watched(self._runner.server)
        try:
            self._listening = await asyncio.get_running_loop().create_server(
                factory, self._host, self._port, backlog=2048
            )
        except OSError as error:
            await self._runner.cleanup()
            await self._source.close()
            raise UsageError(
                f"A server needs an address of its own, but {self._host}:{self._port} cannot be "
                f"had ({error.strerror}). Choose another --port."
            ) from error
        self._port = self._listening.sockets[0].getsockname()[1]
        self._connections.start()

    async def stop(self) -> None:
        """Take no more, wait for what is in flight, cancel and account for the rest."""
        self._guard.draining = True
        if self._listening is not None:
            self._listening.close()
        if self._runner is not None:
            await self._runner.cleanup()
        self._completing.finish()
        await self._connections.stop()
        await self._judges.close()
        await self._source.close()
        if self._journal is not None:
            self._journal.close()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    # ---- every request ---------------------------------------------------------------------

    @web.middleware
    async def _middleware(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Admit, count, and turn errors into the protocol's form."""
        self._connections.heard(request.transport)
        path = request.match_info.route.resource
        name = path.canonical if path is not None else "other"
        response: web.StreamResponse
        try:
            if request.path not in _OPEN:
                caller = self._guard.caller(request)
                if request.method == "POST":
                    self._guard.admit(caller)
            self._guard.in_flight += 1
            try:
                response = await handler(request)
            finally:
                self._guard.in_flight -= 1
        except Refused as refused:
            response = _refusal(refused)
        except web.HTTPException as error:
            code = "too_large" if error.status == 413 else "http_error"
            told = f"{error.reason}: {request.method} {request.path}"
            response = _refusal(Refused(error.status, code, told))
        except UsageError as error:  # such as a text that an embedded model cannot read
            response = _refusal(Refused(400, "invalid_request", str(error)))
        except DwellError as error:
            response = _refusal(Refused(500, "dwell_error", str(error)))
        finally:
            self._connections.rests(request.transport)
        self._gauges.replied(name, response.status)
        return response

    async def _read(self, request: web.Request) -> bytes:
        if request.content.is_eof():  # nothing to wait for
            return await request.read()
        try:
            async with asyncio.timeout(self.settings.read_seconds):
                return await request.read()
        except TimeoutError as error:
            raise Refused(408, "too_slow", "The request must be sent faster.") from error

    async def _health(self, request: web.Request) -> web.Response:
        status = 503 if self._guard.draining else 200
        return web.json_response({"status": "stopping" if status == 503 else "ok"}, status=status)

    async def _metrics(self, request: web.Request) -> web.Response:
        return web.Response(text=self._gauges.text(self._guard.in_flight - 1))

    async def _models(self, request: web.Request) -> web.Response:
        return web.json_response({"object": "list", "data": [self._described()]})

    async def _model(self, request: web.Request) -> web.Response:
        if request.match_info["name"] != self.settings.model:
            raise Refused(404, "model_not_found", f"This server serves {self.settings.model}.")
        return web.json_response(self._described())

    def _described(self) -> dict[str, Any]:
        return {"id": self.settings.model, "object": "model", "created": 0, "owned_by": "dwell"}

    async def _feedback(self, request: web.Request) -> web.Response:
        if self._journal is None:
            raise Refused(409, "no_ledger", "This server keeps no ledger: start it with --ledger.")
        try:
            body = json.loads(await self._read(request))
        except (ValueError, RecursionError) as error:
            raise Refused(400, "invalid_json", "The body must be a JSON object.") from error
        given = body if isinstance(body, dict) else {}
        name, correct, answer = given.get("id"), given.get("correct"), given.get("answer")
        if not isinstance(name, str) or not (isinstance(correct, bool) or isinstance(answer, str)):
            raise Refused(
                400, "invalid_feedback", "Feedback is {id, correct: true|false} or {id, answer}."
            )
        self._completing.finish()
        labelled = self._journal.label(
            name,
            correct=correct if isinstance(correct, bool) else None,
            answer=answer if isinstance(answer, str) else None,
        )
        return web.json_response({"id": name, "labelled_draws": labelled})

    # ---- completions -----------------------------------------------------------------------

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        return await self._complete(request, chat=True)

    async def _text(self, request: web.Request) -> web.StreamResponse:
        return await self._complete(request, chat=False)

    async def _complete(self, request: web.Request, *, chat: bool) -> web.StreamResponse:
        begun = self._arrived()
        raw = await self._read(request)
        return await self._completing.complete(request, raw, begun, chat=chat)


def _refusal(refused: Refused) -> web.Response:
    response = web.json_response(
        error_body(refused), status=refused.status, headers=dict(refused.headers)
    )
    if refused.status in (401, 408, 413):
        response.force_close()  # what is left of the request is not read
    return response
