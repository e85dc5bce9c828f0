"""Draws from an OpenAI-compatible server, with the client's request passed on as it came.

The address and the key are the operator's. The key is read from the environment when the
connections are opened, is kept in their headers alone, and is cut out of every text that leaves
this module. Redirects are refused.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

import aiohttp
import numpy as np
from yarl import URL

from dwell.errors import UsageError
from dwell.generators.endpoint_calls import longest_wait, may_pass, retry_after_seconds
from dwell.generators.endpoint_http import check_base_url
from dwell.protocols import Attempt
from dwell.records import Usage
from dwell.serve.asking import Asked, Refused, roles
from dwell.serve.draws import Call, LiveDraw
from dwell.serve.pace import Pace
from dwell.serve.settings import Settings
from dwell.tasks.answers import vote_key

#: The longest wait between two tries, and the most that a server may ask for.
_MOST_WAIT = 60.0
#: Servers read a seed as a signed 32-bit number at least.
_SEED_MASK = 0x7FFF_FFFF
#: Calls begun in one turn of the event loop; each takes about half a millisecond.
STARTS_PER_TURN = 4
#: Bytes of the longest event of a stream that is passed on.
LONGEST_EVENT = 2**18


class _Failed(Exception):
    """A try that brought nothing."""

    def __init__(self, status: int, reason: str, wait: float = 0.0) -> None:
        super().__init__(reason)
        self.status, self.wait = status, wait


class Upstream:
    """A server upstream.

    Args:
        settings: the model's name and prices.
        base_url: its address with the version, such as http://localhost:8000/v1.
        api_key_env: name of the environment variable that holds its key.
        concurrency: calls on the wire at once.
        timeout_seconds: limit of one try.
        max_tries: tries of a call.
        backoff_seconds: the wait before the second try; it doubles with each.

    Raises:
        UsageError: the address is none.
    """

    def __init__(
        self,
        settings: Settings,
        base_url: str,
        *,
        api_key_env: str = "OPENAI_API_KEY",
        concurrency: int = 1024,
        timeout_seconds: float = 600.0,
        max_tries: int = 4,
        backoff_seconds: float = 0.25,
    ) -> None:
        self._settings = settings
        address = check_base_url(base_url)
        self._chat_url = URL(f"{address}/chat/completions")
        self._text_url = URL(f"{address}/completions")
        self._api_key_env = api_key_env
        self._concurrency, self._max_tries = concurrency, max_tries
        self._timeout = aiohttp.ClientTimeout(total=timeout_seconds)
        self._backoff = backoff_seconds
        self._pace = Pace(STARTS_PER_TURN)
        self._session: aiohttp.ClientSession | None = None
        self._key = ""
        described = json.dumps([settings.model, address])
        self.fingerprint = f"upstream:{hashlib.sha256(described.encode()).hexdigest()[:32]}"
        self.info: Mapping[str, Any] = {
            "kind": "upstream", "name": settings.model, "base_url": address
        }  # fmt: skip
        self.provides = frozenset({"surprisal"})
        self.most_together = 128

    async def open(self) -> None:
        """Open the pool of connections.

        Raises:
            UsageError: the key cannot be sent in a header.
        """
        self._key = os.environ.get(self._api_key_env, "").strip()
        if not self._key.isprintable() or not self._key.isascii():
            raise UsageError(f"A key must be printable ASCII, but {self._api_key_env} is not.")
        headers = {"Content-Type": "application/json"}
        if self._key:
            headers["Authorization"] = f"Bearer {self._key}"
        # One address is the rule: racing several for each connection costs a third of a call.
        connector = aiohttp.TCPConnector(limit=self._concurrency, happy_eyeballs_delay=None)
        self._session = aiohttp.ClientSession(
            connector=connector,
            headers=headers,
            read_bufsize=LONGEST_EVENT,
            cookie_jar=aiohttp.DummyCookieJar(),  # no model's server has reason to set one
        )

    async def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()

    async def draw(self, call: Call) -> tuple[list[LiveDraw], list[Attempt]]:
        """The draws that came; all failed if every try did."""
        body = self._body(call)
        attempts: list[Attempt] = []
        for number in range(self._max_tries):
            await self._pace.turn()
            if call.due is not None and call.due.over:
                return [], attempts
            begun = time.monotonic()
            try:
                reply = await self._post(call.asked, body)
                return self._draws(reply, call, time.monotonic() - begun), attempts
            except _Failed as error:
                seconds = time.monotonic() - begun
                usage = Usage(seconds=seconds)
                attempts.append(Attempt(outcome=str(error), usage=usage, index=call.indices[0]))
                failed = error
            if body.get("n", 1) > 1 and failed.status == 400:
                # Several completions may be what it refuses; if not, it refuses one as well.
                body = self._body(call, count=1)
                continue
            if failed.status and not may_pass(failed.status):
                break
            if number + 1 < self._max_tries:
                await asyncio.sleep(
                    max(failed.wait, longest_wait(number, self._backoff, _MOST_WAIT))
                )
        refusal = failed.status if 400 <= failed.status < 500 else 0
        lost = LiveDraw(status="failed", text=str(failed), refusal=refusal)
        return [lost] * len(call.indices), attempts

    async def stream(self, call: Call) -> AsyncIterator[dict[str, Any]]:
        """The events of completions as they are written; of one, where the model ignores `n`.

        Raises:
            Refused: the model cannot be reached or refuses, or stops without the mark of the end.
        """
        streamed = {"stream": True, "stream_options": {"include_usage": True}}
        body = {**self._body(call), **streamed}
        assert self._session is not None
        try:
            async with self._session.post(
                self._url(call.asked), json=body, timeout=self._timeout, allow_redirects=False
            ) as response:
                if response.status != 200:
                    reason = self._reason(response.status, await response.content.read(65536))
                    status = response.status if 400 <= response.status < 500 else 502
                    raise Refused(_outward(status), "upstream_error", reason)
                if response.content_type == "application/json":
                    raise Refused(502, "upstream_error", "upstream: it does not stream")
                async for line in response.content:
                    if line.startswith(b"data:"):
                        if b"[DONE]" in line[:16]:
                            return
                        yield json.loads(line[5:])
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise Refused(502, "upstream_error", f"upstream: {type(error).__name__}") from error
        raise Refused(502, "upstream_error", "upstream: the stream ended in the middle")

    # ---- inside ----------------------------------------------------------------------------

    def _url(self, asked: Asked) -> URL:
        return self._chat_url if asked.chat else self._text_url

    def _body(self, call: Call, count: int | None = None) -> dict[str, Any]:
        """The client's body, with what the strategy adds to it."""
        asked, request = call.asked, call.request
        body: dict[str, Any] = {**asked.body, "model": self._settings.model}
        extra = request.context.messages[1:]
        if extra and asked.chat:
            body["messages"] = [*asked.body["messages"], *roles(extra)]
        elif extra:
            body["prompt"] = "\n\n".join([asked.text, *(text for _, text in extra)])
        count = len(call.indices) if count is None else count
        if count > 1:
            body["n"] = count
        if call.seeds is not None:
            body["seed"] = call.seeds[0] & _SEED_MASK
        if request.temperature is not None:
            body.setdefault("temperature", request.temperature)
        if call.max_tokens is not None:
            name = "max_completion_tokens" if "max_completion_tokens" in body else "max_tokens"
            body[name] = call.max_tokens
        if "surprisal" in request.want:
            body["logprobs"] = True if asked.chat else 1
        return body

    async def _post(self, asked: Asked, body: Mapping[str, Any]) -> dict[str, Any]:
        assert self._session is not None
        try:
            async with self._session.post(
                self._url(asked), json=body, timeout=self._timeout, allow_redirects=False
            ) as response:
                raw = await response.read()
                if response.status != 200:
                    wait = min(_MOST_WAIT, retry_after_seconds(response.headers) or 0.0)
                    raise _Failed(response.status, self._reason(response.status, raw), wait)
        except (aiohttp.ClientError, OSError) as error:  # OSError: time-outs as well
            raise _Failed(0, f"upstream: {type(error).__name__}") from error
        try:
            reply = json.loads(raw)
        except ValueError as error:
            raise _Failed(0, "upstream: the reply is not JSON") from error
        if not isinstance(reply, dict) or not _are_choices(reply.get("choices")):
            raise _Failed(0, "upstream: the reply has no completions")
        return reply

    def _reason(self, status: int, raw: bytes) -> str:
        """What the server said, in a line and without its key."""
        try:
            error = json.loads(raw).get("error")
        except (ValueError, AttributeError):
            error = None
        said = error.get("message") if isinstance(error, dict) else error
        text = f"upstream: status {status}" + (f": {said}" if isinstance(said, str) else "")
        if self._key:
            text = text.replace(self._key, "[key]")
        return " ".join(text.split())[:500]

    def _draws(self, reply: Mapping[str, Any], call: Call, seconds: float) -> list[LiveDraw]:
        """A reply's completions as draws; the prompt was read once for all of them."""
        choices = reply["choices"]
        texts = [_text(choice) for choice in choices]
        prompt, cached, output = _usage(reply, call, texts)
        counts = shares(output, [len(text) + 1 for text in texts])
        settings = self._settings
        draws = []
        for k, (choice, text, count) in enumerate(zip(choices, texts, counts, strict=True)):
            message = choice.get("message") or {"content": choice.get("text")}
            reason = choice.get("finish_reason")
            draws.append(
                LiveDraw(
                    status="cap" if reason == "length" else "end",
                    text=text,
                    prompt_tokens=0 if k else prompt,
                    cached_tokens=0 if k else cached,
                    output_tokens=count,
                    seconds=seconds,
                    usd=(0 if k else prompt) * settings.prompt_price
                    + count * settings.output_price,
                    stats=_surprisal(choice) if "surprisal" in call.request.want else None,
                    choice=choice,
                    answer=vote_key(
                        message, as_json=call.asked.as_json, pattern=settings.answer_pattern
                    ),
                )
            )
        if len(draws) < len(call.indices):
            self.most_together = min(self.most_together, len(draws))
        return draws


def _outward(status: int) -> int:
    """The status that a client may see: our key's troubles with the model are not its own."""
    return 502 if status in (401, 403, 404, 405, 407) or status < 400 else status


def _are_choices(found: Any) -> bool:
    return isinstance(found, list) and bool(found) and all(isinstance(c, dict) for c in found)


def _text(choice: Mapping[str, Any]) -> str:
    message = choice.get("message")
    text = message.get("content") if isinstance(message, dict) else choice.get("text")
    return text if isinstance(text, str) else ""


def _usage(reply: Mapping[str, Any], call: Call, texts: list[str]) -> tuple[int, int, int]:
    """(prompt, cached, output) tokens; a quarter of the characters where the server is silent."""
    usage = reply.get("usage")
    counts = usage if isinstance(usage, dict) else {}
    prompt, output = counts.get("prompt_tokens"), counts.get("completion_tokens")
    details = counts.get("prompt_tokens_details")
    cached = details.get("cached_tokens") if isinstance(details, dict) else 0
    if not isinstance(prompt, int):
        prompt = -(-len(json.dumps(call.asked.body.get("messages", call.asked.text))) // 4)
    if not isinstance(output, int):
        output = sum(-(-len(text) // 4) for text in texts)
    return prompt, cached if isinstance(cached, int) else 0, output


def shares(total: int, weights: Sequence[int]) -> list[int]:
    """A whole number in parts by weight; the parts sum to it."""
    ends = [total * sum(weights[: k + 1]) // sum(weights) for k in range(len(weights))]
    return [end - begin for begin, end in zip([0, *ends], ends, strict=False)]


def _surprisal(choice: Mapping[str, Any]) -> dict[str, Any] | None:
    found = choice.get("logprobs")
    if not isinstance(found, dict):
        return None
    tokens, values = found.get("content"), found.get("token_logprobs")
    if isinstance(tokens, list):
        values = [token.get("logprob") for token in tokens if isinstance(token, dict)]
    if not isinstance(values, list) or not all(isinstance(v, int | float) for v in values):
        return None
    return {"surprisal": -np.asarray(values, dtype=np.float32)}
