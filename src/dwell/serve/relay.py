"""One completion, passed on to the client while it is written."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from aiohttp import web

from dwell.protocols import Attempt
from dwell.records import Usage
from dwell.serve.asking import Asked, Refused
from dwell.serve.deadlines import Due
from dwell.serve.draws import LiveDraw
from dwell.serve.ended import Ended, of_one_draw
from dwell.serve.replies import DONE, account, billed, chunk_head, error_body, event
from dwell.serve.settings import Settings
from dwell.serve.upstream import Upstream
from dwell.tasks.answers import vote_key

Note = Callable[[Asked, Ended], None]


class _Written:
    """What has been written so far of a streamed completion."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.calls: dict[int, dict[str, Any]] = {}
        self.reason: str | None = None
        self.usage: dict[str, Any] = {}

    def take(self, chunk: dict[str, Any], chat: bool) -> None:
        """Note an event."""
        if isinstance(chunk.get("usage"), dict):
            self.usage = chunk["usage"]
        for choice in chunk.get("choices") or ():
            self.reason = choice.get("finish_reason") or self.reason
            delta = (choice.get("delta") or {}) if chat else {"content": choice.get("text")}
            self.texts.append(delta.get("content") or "")
            for call in delta.get("tool_calls") or ():
                self._call(call)

    def _call(self, call: dict[str, Any]) -> None:
        known = self.calls.setdefault(call.get("index") or 0, {"name": "", "arguments": ""})
        function = call.get("function") or {}
        for part in known:
            known[part] += function.get(part) or ""

    def draw(self, asked: Asked, settings: Settings, seconds: float) -> LiveDraw:
        """The completion as a draw; tokens that the server does not tell are estimated."""
        text = "".join(self.texts)
        calls = [{"function": call} for _, call in sorted(self.calls.items())]
        prompt = self.usage.get("prompt_tokens", 0)
        output = self.usage.get("completion_tokens", -(-len(text) // 4))
        return LiveDraw(
            status="cap" if self.reason in ("length", None) else "end",
            text=text,
            prompt_tokens=prompt,
            output_tokens=output,
            seconds=seconds,
            usd=prompt * settings.prompt_price + output * settings.output_price,
            answer=vote_key(
                {"content": text, "tool_calls": calls},
                as_json=asked.as_json,
                pattern=settings.answer_pattern,
            ),
        )


async def relay(
    request: web.Request,
    asked: Asked,
    source: Upstream,
    settings: Settings,
    begun: float,
    due: Due | None,
    note: Note,
) -> web.StreamResponse:
    """Stream one completion through; the event with its end carries the account.

    At the deadline the completion is cut, with the finish reason "length". A stream that breaks
    ends with an event that says so, and without the mark of a good end.

    Raises:
        Refused: nothing has been sent, and nothing will come.
    """
    response = web.StreamResponse(
        headers={"Content-Type": "text/event-stream", "Cache-Control": "no-cache",
                 "X-Dwell-Id": asked.id}
    )  # fmt: skip
    written, last, status = _Written(), None, "cancelled"
    try:
        try:
            last = await _pass_on(request, response, asked, source, settings, due, written)
            status = "done"
        except TimeoutError:
            status = "deadline"
        except Refused as refused:
            status = f"failed: {refused}"
            if not response.prepared:
                raise
            await response.write(event(error_body(refused)))
            return response
        ended = _ended(asked, settings, written, status, time.monotonic() - begun)
        if status == "deadline" and not response.prepared:
            raise Refused(504, "deadline_exceeded", "No completion arrived before the deadline.",
                          dwell=account(asked, ended))  # fmt: skip
        await response.prepare(request)
        await response.write(_end(asked, settings, last, ended))
        return response
    finally:
        note(asked, _ended(asked, settings, written, status, time.monotonic() - begun))


async def _pass_on(
    request: web.Request,
    response: web.StreamResponse,
    asked: Asked,
    source: Upstream,
    settings: Settings,
    due: Due | None,
    written: _Written,
) -> dict[str, Any] | None:
    """Pass events on; the one that ends the completion is held back and returned."""
    head = chunk_head(asked, settings.model)
    last: dict[str, Any] | None = None
    async with asyncio.timeout(None) as clock:
        if due is not None:
            due.tell(lambda: _cut(clock))
        try:
            async for chunk in source.stream(asked):
                if "error" in chunk:
                    raise Refused(502, "upstream_error", "upstream: an error while it wrote")
                written.take(chunk, asked.chat)
                chunk.pop("usage", None)
                if not chunk.get("choices"):
                    continue
                if not response.prepared:
                    await response.prepare(request)
                if written.reason is not None:
                    last = chunk
                else:
                    await response.write(event({**chunk, **head}))
        except Refused:
            if last is None:
                raise
    return last or _stop(asked, "stop")


def _cut(clock: asyncio.Timeout) -> None:
    with suppress(RuntimeError):  # it has ended by itself
        clock.reschedule(0.0)


def _stop(asked: Asked, reason: str) -> dict[str, Any]:
    """The event that ends a completion."""
    empty: dict[str, Any] = {"delta": {}} if asked.chat else {"text": ""}
    return {"choices": [{"index": 0, **empty, "finish_reason": reason}]}


def _end(asked: Asked, settings: Settings, last: Mapping[str, Any] | None, ended: Ended) -> bytes:
    """The last events; without a last one of the model's, the completion was cut."""
    head = chunk_head(asked, settings.model)
    told = event(
        {**head, **(last or _stop(asked, "length")), **head, "dwell": account(asked, ended)}
    )
    if asked.include_usage:
        told += event({**head, "choices": [], "usage": billed([ended])})
    return told + DONE


def _ended(
    asked: Asked, settings: Settings, written: _Written, status: str, seconds: float
) -> Ended:
    """What became of it; what was written is paid for, whole or not."""
    came = bool(written.texts or written.usage)
    draw = written.draw(asked, settings, seconds) if came else None
    lost = Attempt(outcome=status, usage=Usage(), estimated=True)
    return of_one_draw(draw, [] if status == "done" else [lost], status, seconds)
