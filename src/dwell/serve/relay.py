"""The completions of one call, passed on to the client while they are written."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from aiohttp import web

from dwell.protocols import Attempt
from dwell.records import Usage
from dwell.serve.asking import Asked, Refused
from dwell.serve.deadlines import Due
from dwell.serve.draws import LiveDraw
from dwell.serve.ended import Ended, of_one_draw
from dwell.serve.replies import (
    account,
    chunk_head,
    closing,
    error_body,
    event,
    events_of_choice,
)
from dwell.serve.settings import Settings
from dwell.serve.together import Together
from dwell.serve.upstream import Upstream, shares
from dwell.tasks.answers import vote_key


class _Written:
    """What has been written so far of one streamed completion.

    Attributes:
        last: the event that ends it, which is held back until its account is known.
    """

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.calls: dict[int, dict[str, Any]] = {}
        self.reason: str | None = None
        self.last: dict[str, Any] | None = None

    def take(self, choice: Mapping[str, Any], chat: bool) -> None:
        """Note a piece."""
        self.reason = choice.get("finish_reason") or self.reason
        delta = (choice.get("delta") or {}) if chat else {"content": choice.get("text")}
        self.texts.append(delta.get("content") or "")
        for call in delta.get("tool_calls") or ():
            self._call(call)

    def _call(self, call: Mapping[str, Any]) -> None:
        known = self.calls.setdefault(call.get("index") or 0, {"name": "", "arguments": ""})
        function = call.get("function") or {}
        for part in known:
            known[part] += function.get(part) or ""

    @property
    def text(self) -> str:
        """The text so far."""
        return "".join(self.texts)

    def draw(
        self, asked: Asked, settings: Settings, prompt: int, output: int, seconds: float
    ) -> LiveDraw:
        """The completion as a draw."""
        text = self.text
        calls = [{"function": call} for _, call in sorted(self.calls.items())]
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


class _Stream:
    """What has been written so far of all completions of one call."""

    def __init__(self, asked: Asked) -> None:
        self._asked = asked
        self.choices = [_Written() for _ in range(asked.n)]
        self._usage: dict[str, Any] = {}

    def take(self, chunk: dict[str, Any]) -> list[dict[str, Any]]:
        """Note an event; its pieces that may be passed on now."""
        usage = chunk.pop("usage", None)
        if isinstance(usage, dict):
            self._usage = usage
        now = []
        for choice in chunk.get("choices") or ():
            one = self._of(choice)
            if one is None:
                continue  # more completions than were asked for
            one.take(choice, self._asked.chat)
            if one.reason is None:
                now.append(choice)
            else:
                one.last = {**chunk, "choices": [choice]}
        return now

    def _of(self, choice: Mapping[str, Any]) -> _Written | None:
        """The completion that a piece belongs to."""
        place = 0 if self._asked.n == 1 else choice.get("index") or 0
        return self.choices[place] if 0 <= place < self._asked.n else None

    @property
    def came(self) -> list[int]:
        """The completions that were begun."""
        return [k for k, one in enumerate(self.choices) if one.texts or (self._usage and not k)]

    @property
    def whole(self) -> bool:
        """Whether every completion that was begun has its end."""
        return bool(self.came) and all(self.choices[k].last is not None for k in self.came)

    def draws(self, settings: Settings, seconds: float) -> dict[int, LiveDraw]:
        """What was begun; the prompt was read once. Tokens that nobody tells are estimated."""
        came = self.came
        texts = [self.choices[k].text for k in came]
        total, prompt = self._usage.get("completion_tokens"), self._usage.get("prompt_tokens") or 0
        if total is None:
            counts = [-(-len(text) // 4) for text in texts]
        else:
            counts = shares(total, [len(text) + 1 for text in texts])
        return {
            k: self.choices[k].draw(self._asked, settings, 0 if i else prompt, count, seconds)
            for i, (k, count) in enumerate(zip(came, counts, strict=True))
        }


async def relay(
    request: web.Request,
    together: Together,
    source: Upstream,
    settings: Settings,
    begun: float,
    due: Due | None,
) -> web.StreamResponse:
    """Stream the completions of one call through; the event with the end of each has its account.

    Completions that the model leaves out, where it ignores `n`, are drawn after those that it
    wrote. At the deadline a completion is cut, with the finish reason "length". A stream that
    breaks ends with an event that says so, and without the mark of a good end.

    Raises:
        Refused: nothing has been sent, and nothing will come.
    """
    asked = together.asked
    response = web.StreamResponse(
        headers={"Content-Type": "text/event-stream", "Cache-Control": "no-cache",
                 "X-Dwell-Id": asked.id}
    )  # fmt: skip
    stream, status = _Stream(asked), "cancelled"
    try:
        try:
            await _pass_on(request, response, together, source, settings, due, stream)
            status = "done"
        except TimeoutError:
            status = "deadline"
        except Refused as refused:
            if response.prepared or asked.n == 1 or refused.status != 400:
                status = f"failed: {refused}"
                raise
            status = "done"  # several completions may be what it refuses: each is asked for
        finally:
            kept = _keep(together, stream, settings, status, time.monotonic() - begun)
        if status == "deadline" and not response.prepared:
            raise Refused(504, "deadline_exceeded", "No completion arrived before the deadline.",
                          dwell=account(asked, kept[0]))  # fmt: skip
        head = chunk_head(asked, settings.model)
        await _end(request, response, together, stream, kept, head)
        rest = {} if len(kept) == asked.n else await _rest(together, source, kept)
        await response.prepare(request)
        for one in together.each:
            if one.choice in rest:
                await response.write(b"".join(events_of_choice(one, rest[one.choice], head)))
        await response.write(b"".join(closing(asked, [*kept.values(), *rest.values()], head)))
    except Refused as refused:
        if not response.prepared:
            raise
        await response.write(event(error_body(refused)))
    finally:
        together.settle()
    return response


async def _pass_on(
    request: web.Request,
    response: web.StreamResponse,
    together: Together,
    source: Upstream,
    settings: Settings,
    due: Due | None,
    stream: _Stream,
) -> None:
    """Pass events on; those that end a completion are held back."""
    head = chunk_head(together.asked, settings.model)
    async with asyncio.timeout(None) as clock:
        if due is not None:
            due.tell(lambda: _cut(clock))
        try:
            async for chunk in source.stream(together.call(range(together.asked.n))):
                if "error" in chunk:
                    raise Refused(502, "upstream_error", "upstream: an error while it wrote")
                now = stream.take(chunk)
                if stream.came and not response.prepared:
                    await response.prepare(request)
                if now:
                    await response.write(event({**chunk, "choices": now, **head}))
        except Refused:
            if not stream.whole:
                raise


def _cut(clock: asyncio.Timeout) -> None:
    with suppress(RuntimeError):  # it has ended by itself
        clock.reschedule(0.0)


def _keep(
    together: Together, stream: _Stream, settings: Settings, status: str, seconds: float
) -> dict[int, Ended]:
    """What became of each choice; what was written is paid for, whole or not.

    Of several choices, those that a good stream does not have are left out: they may still come.
    """
    asked = together.asked
    draws = stream.draws(settings, seconds)
    kept = {}
    for k in range(asked.n):
        if k in draws or asked.n == 1 or status != "done":
            lost = Attempt(outcome=status, usage=Usage(), estimated=True)
            attempts = [] if k or status == "done" else [lost]
            kept[k] = of_one_draw(draws.get(k), attempts, status, seconds)
            together.keep(k, kept[k])
    return kept


async def _end(
    request: web.Request,
    response: web.StreamResponse,
    together: Together,
    stream: _Stream,
    kept: Mapping[int, Ended],
    head: Mapping[str, Any],
) -> None:
    """The event that ends each completion that was passed on, with its account."""
    for k, ended in kept.items():
        await response.prepare(request)
        one = together.each[k]
        reason = "length" if ended.status == "deadline" else "stop"
        last = stream.choices[k].last or _stop(one, reason)
        await response.write(event({**head, **last, **head, "dwell": account(one, ended)}))


def _stop(asked: Asked, reason: str) -> dict[str, Any]:
    """The event that ends a completion."""
    empty: dict[str, Any] = {"delta": {}} if asked.chat else {"text": ""}
    return {"choices": [{"index": asked.choice, **empty, "finish_reason": reason}]}


async def _rest(
    together: Together, source: Upstream, kept: Mapping[int, Ended]
) -> dict[int, Ended]:
    """The choices that the model left out.

    Raises:
        Refused: one of them could not be had.
    """
    if kept:
        source.most_together = min(source.most_together, len(kept))
    return {one.choice: ended for one, ended in await together.ended() if one.choice not in kept}
