"""A server that speaks the OpenAI protocol and follows a script, for tests and demos.

It listens on the loopback interface alone, answers by a `Scripted` generator, takes its time by
a latency law, and misbehaves on demand: every fault that a client must survive can be asked for
by name, for given requests or for a share of all. It counts what it did, so that a client's own
accounts can be checked against it.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Self, get_args

from aiohttp import web

from dwell.errors import UsageError
from dwell.generators.fake_server_replies import (
    events,
    move_reasoning,
    move_tool_calls,
    whole_body,
)
from dwell.generators.fake_server_sending import error, reset, spoilt, stream
from dwell.generators.scripted import Scripted, uniforms
from dwell.protocols import GenerateWork
from dwell.records import Context, Draw, Problem, Role
from dwell.requests import Generate

Fault = Literal[
    "ok", "429", "500", "502", "503", "400", "reset", "truncated", "malformed", "empty",
    "no_usage", "drip",
]  # fmt: skip
#: What a chat makes of a last message of the assistant: opens a new turn, goes on with it where
#: told to, always goes on with it, or repeats it and goes on.
Continues = Literal["never", "flags", "prefill", "repeat"]
#: What the server makes of ``n > 1``: answers all, one, at most two, one too many, or refuses.
ManyAnswers = Literal["honour", "ignore", "fewer", "extra", "refuse"]

_SALT_FAULT = 11
_STATUS_FAULTS = frozenset({"429", "500", "502", "503", "400"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Faults:
    """What goes wrong, and when.

    Attributes:
        first: faults of the first requests in order of arrival ("ok" = none).
        rates: share of all later requests that have each fault; together at most 1.
        retry_after: the Retry-After header of a 429, in seconds or as a date; None = no header.
        drip_seconds: pause between single bytes of a "drip" reply.
        seed: decides which requests the rates hit.
    """

    first: tuple[Fault, ...] = ()
    rates: Mapping[Fault, float] = field(default_factory=dict)
    retry_after: str | None = None
    drip_seconds: float = 0.05
    seed: int = 0

    def __post_init__(self) -> None:
        unknown = sorted({*self.first, *self.rates} - set(get_args(Fault)))
        if unknown:
            known = ", ".join(get_args(Fault))
            raise UsageError(f"a fault must be one of {known}, but got {unknown}.")
        if min(self.rates.values(), default=0.0) < 0 or sum(self.rates.values()) > 1:
            raise UsageError(
                f"fault rates must be at least 0 and together at most 1, but got {self.rates}."
            )

    def of(self, number: int) -> Fault:
        """The fault of the request that arrived as this number, counted from 0."""
        if number < len(self.first):
            return self.first[number]
        left = float(uniforms([self.seed * 1_000_003 + number], _SALT_FAULT)[0])
        for fault, rate in self.rates.items():
            if left < rate:
                return fault
            left -= rate
        return "ok"


NO_FAULTS = Faults()


@dataclass(slots=True)
class Counts:
    """What the server did.

    Attributes:
        requests: requests that arrived, faults and refusals included.
        completed: replies that were sent whole.
        abandoned: streams whose reader went away before the end.
        refused: requests that came while `capacity` were being answered.
        in_flight: requests that are being answered.
        answers: answers in those.
        output_tokens: tokens of those answers.
        most_in_flight: the most requests that were being answered at once.
        faults: how often each fault happened.
        bodies: the JSON bodies that arrived, oldest first, if recorded.
    """

    requests: int = 0
    completed: int = 0
    abandoned: int = 0
    refused: int = 0
    in_flight: int = 0
    answers: int = 0
    output_tokens: int = 0
    most_in_flight: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    bodies: list[dict[str, Any]] = field(default_factory=list)


class FakeServer:
    """An OpenAI-compatible server on loopback: ``async with FakeServer(script) as server``.

    The script's latency law decides how long a reply takes (its slowest answer). The i-th answer
    to a prompt has index i; its seed is the request's seed plus its place, or its index where
    the request has none.

    Args:
        script: writes the answers.
        faults: what goes wrong.
        many: what becomes of ``n > 1``.
        key: the bearer key that is asked for; None = everybody may call.
        model: the one model that is served; None = any name.
        names_stop: name the stop text that halted an answer (`stop_reason`), as vLLM does.
        continues: what a chat makes of an unfinished text.
        reasoning: the message's field into which ``<think>...</think>`` at the beginning of a
            scripted text goes, as servers with a reasoning parser do; None = it stays.
        tools: whether ``<tool_call>{...}</tool_call>`` at the end of a scripted text becomes
            tool calls, as servers with a tool parser do.
        capacity: requests answered at once; more are refused with 429. None = any number.
        cached_tokens: tokens of each prompt but the first that it claims to have cached.
        port: where it listens; 0 = any free port.
        record: keep the bodies of the requests.

    Attributes:
        counts: what the server did so far.
    """

    def __init__(
        self,
        script: Scripted,
        *,
        faults: Faults = NO_FAULTS,
        many: ManyAnswers = "honour",
        key: str | None = None,
        model: str | None = None,
        names_stop: bool = False,
        continues: Continues = "never",
        reasoning: str | None = None,
        tools: bool = False,
        capacity: int | None = None,
        cached_tokens: int = 0,
        port: int = 0,
        record: bool = False,
    ) -> None:
        self.counts = Counts()
        self._script = script
        self._faults = faults
        self._many = many
        self._key = key
        self._model = model
        self._names_stop = names_stop
        self._continues = continues
        self._reasoning = reasoning
        self._tools = tools
        self._capacity = capacity
        self._cached_tokens = cached_tokens
        self._record = record
        self._indices: Counter[Context] = Counter()
        self._runner: web.AppRunner | None = None
        self._port = port

    @property
    def port(self) -> int:
        """Where it listens; known once the server runs."""
        return self._port

    @property
    def base_url(self) -> str:
        """The address to hand to an `Endpoint`; known once the server runs."""
        return f"http://127.0.0.1:{self._port}/v1"

    async def __aenter__(self) -> Self:
        app = web.Application(client_max_size=8 * 2**20)
        app.router.add_get("/v1/models", self._models)
        app.router.add_post("/v1/chat/completions", self._answer)
        app.router.add_post("/v1/completions", self._answer)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self._port, backlog=4096)
        await site.start()
        self._port = self._runner.addresses[0][1]
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    async def _models(self, request: web.Request) -> web.Response:
        name = self._model or "scripted"
        return web.json_response({"object": "list", "data": [{"id": name, "object": "model"}]})

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        counts = self.counts
        number, counts.requests = counts.requests, counts.requests + 1
        if self._capacity is not None and counts.in_flight >= self._capacity:
            counts.refused += 1
            return self._failing(429)
        counts.in_flight += 1
        counts.most_in_flight = max(counts.most_in_flight, counts.in_flight)
        try:
            return await self._reply(request, self._faults.of(number))
        finally:
            counts.in_flight -= 1

    async def _reply(self, request: web.Request, fault: Fault) -> web.StreamResponse:
        try:
            body = json.loads(await request.read())
        except ValueError:
            return error(400, "the body is not JSON")
        refusal = self._refusal(request, body)
        if refusal is not None:
            return refusal
        if self._record:
            self.counts.bodies.append(body)
        if fault != "ok":
            self.counts.faults[fault] += 1
        if fault in _STATUS_FAULTS:
            return self._failing(int(fault))
        chat = request.path.endswith("/chat/completions")
        work = self._work(body, chat)
        draws = (await self._script.generate([work]))[0].draws
        if fault == "reset":
            await asyncio.sleep(max(draw.seconds for draw in draws))
            return reset(request)
        reply = await self._whole(body, work, draws, chat=chat)
        if fault == "no_usage":
            del reply["usage"]
        if body.get("stream"):
            return await self._stream(request, body, reply, draws, fault)
        await asyncio.sleep(max(draw.seconds for draw in draws))
        if fault in ("ok", "no_usage"):
            self._count(draws)
            return web.json_response(reply)
        return await spoilt(request, fault, reply, self._faults.drip_seconds)

    async def _whole(
        self, body: Mapping[str, Any], work: GenerateWork, draws: Sequence[Draw], *, chat: bool
    ) -> dict[str, Any]:
        """The reply that is right, as this kind of server words it."""
        cached = self._cached_tokens if min(work.indices) else 0
        reply = whole_body(body, work, draws, chat=chat, cached_tokens=cached)
        if chat:
            self._parse_messages(reply, work.request.context.partial)
        if self._names_stop:
            for choice, reason in zip(
                reply["choices"], await self._stop_reasons(work, draws), strict=True
            ):
                choice["stop_reason"] = reason
        return reply

    async def _stream(
        self,
        request: web.Request,
        body: Mapping[str, Any],
        reply: dict[str, Any],
        draws: Sequence[Draw],
        fault: Fault,
    ) -> web.StreamResponse:
        """The reply in pieces, as they are written; the usage last, where it is asked for."""
        options = body.get("stream_options") or {}
        asked = bool(options.get("include_usage"))
        timed = events(reply, draws, self._script.latency, with_usage=asked)
        pause = self._faults.drip_seconds
        try:
            response = await stream(request, timed, fault=fault, pause=pause)
        except ConnectionResetError:
            self.counts.abandoned += 1
            raise
        if fault in ("ok", "no_usage", "drip"):
            self._count(draws)
        return response

    def _count(self, draws: Sequence[Draw]) -> None:
        self.counts.completed += 1
        self.counts.answers += len(draws)
        self.counts.output_tokens += sum(draw.output_tokens for draw in draws)

    async def _stop_reasons(self, work: GenerateWork, draws: Sequence[Draw]) -> list[str | None]:
        """The stop text that halted each draw: what the script would have written next."""
        unstopped = replace(work, request=replace(work.request, stop=()))
        whole = (await self._script.generate([unstopped]))[0].draws
        rests = [full.text[len(draw.text) :] for full, draw in zip(whole, draws, strict=True)]
        return [
            next((stop for stop in work.request.stop if rest.startswith(stop)), None)
            for rest in rests
        ]

    def _parse_messages(self, reply: Mapping[str, Any], partial: str) -> None:
        """Make of the messages what the server's parsers would."""
        for choice in reply["choices"]:
            message = choice["message"]
            if partial and self._continues == "repeat":
                message["content"] = partial + message["content"]
            if self._reasoning is not None:
                move_reasoning(message, self._reasoning)
            if self._tools and move_tool_calls(message):
                choice["finish_reason"] = "tool_calls"

    def _refusal(self, request: web.Request, body: Any) -> web.Response | None:
        authorization = request.headers.get("Authorization", "")
        if self._key is not None and authorization != f"Bearer {self._key}":
            # Some servers repeat the key that they got; a client must not pass that on.
            shown = authorization.removeprefix("Bearer ") or "none"
            return error(401, f"Incorrect API key provided: {shown}")
        if not isinstance(body, dict) or not ("messages" in body or "prompt" in body):
            return error(400, "a body needs `messages` or `prompt`")
        if self._model is not None and body.get("model") != self._model:
            return error(404, f"The model {body.get('model')!r} does not exist")
        if self._many == "refuse" and int(body.get("n") or 1) > 1:
            return error(400, "only one answer a request is supported")
        return None

    def _failing(self, status: int) -> web.Response:
        response = error(status, "scripted fault")
        if status == 429 and self._faults.retry_after is not None:
            response.headers["Retry-After"] = self._faults.retry_after
        return response

    def _work(self, body: Mapping[str, Any], chat: bool) -> GenerateWork:
        """The scripted draws that a request asks for; n is what the server makes of it."""
        context = self._context(body, chat)
        asked = int(body.get("n") or 1)
        count = {"ignore": 1, "fewer": min(asked, 2), "extra": asked + 1}.get(self._many, asked)
        first = self._indices[context]
        self._indices[context] += count
        seed = body.get("seed")
        stop = body.get("stop") or []
        want = self._script.provides if body.get("logprobs") else frozenset[str]()
        wanted = Generate(
            context,
            n=count,
            max_tokens=body.get("max_tokens"),
            stop=(stop,) if isinstance(stop, str) else tuple(stop),
            temperature=body.get("temperature"),
            want=want,
        )
        return GenerateWork(
            request=wanted,
            seeds=[(first if seed is None else seed) + k for k in range(count)],
            indices=list(range(first, first + count)),
            problem=Problem(id="fake", prompt=""),
        )

    def _context(self, body: Mapping[str, Any], chat: bool) -> Context:
        if not chat:
            return Context(messages=(("user", str(body["prompt"])),))
        messages: list[tuple[Role, str]] = [(m["role"], m["content"]) for m in body["messages"]]
        told = self._continues == "flags" and body.get("continue_final_message") is True
        if messages[-1][0] == "assistant" and (told or self._continues in ("prefill", "repeat")):
            return Context(messages=tuple(messages[:-1]), partial=messages[-1][1])
        return Context(messages=tuple(messages))
