"""A generator behind an OpenAI-compatible server: vLLM, SGLang, llama.cpp, Ollama, OpenAI.

It asks for several answers in one call where the server honours `n`, and finds out where it does
not. What fails after all tries is a draw with status "failed"; every failed try is an attempt of
the outcome, so nothing paid for is out of sight. Such a server is slow, fails, and need not
repeat itself for a seed: the ledger is what makes its draws repeatable.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import numpy as np

from dwell.errors import GeneratorError, UsageError
from dwell.generators.endpoint_http import Call, Failure, Transport, check_base_url
from dwell.generators.endpoint_wire import (
    PLAIN,
    Api,
    Reply,
    estimated_tokens,
    parse_reply,
    payload,
    render_prompt,
    shares,
)
from dwell.protocols import Attempt, GenerateWork, Outcome
from dwell.records import Draw, Usage

_PATHS: Mapping[str, str] = {"chat": "/chat/completions", "completions": "/completions"}
_NOTHING: Mapping[str, Any] = MappingProxyType({})


@dataclass(slots=True)
class _Served:
    """Draws of one work item as they come in, by position."""

    draws: list[Draw | None]
    attempts: list[Attempt] = field(default_factory=list)
    last_failures: list[Failure] = field(default_factory=list)


class Endpoint:
    """A model behind an OpenAI-compatible server.

    Args:
        model: the model's name at the server.
        base_url: address up to and including the version, such as http://localhost:8000/v1.
        api: "chat", or "completions", which alone can continue an unfinished text.
        api_key_env: name of the environment variable that holds the key. The key itself is
            never an argument, and is never shown.
        concurrency: calls on the wire at once; modelled seconds assume the same.
        use_n: ask for several answers in one call; found out and remembered if not honoured.
        send_seed: send each call the seed of its first draw.
        temperature: used where a request names none; None = the server's default.
        max_tokens: the cap where a request names none.
        step_delimiter: the text that ends a step.
        template: completions only: role -> text around "{text}", and "generate" -> what opens
            the assistant's turn. The default concatenates the texts.
        shared_prefix: claim that one prompt is read once for all draws of a request. True is
            right for servers that honour `n` or cache prefixes.
        timeout_seconds: limit of one try.
        total_seconds: limit of a call with its tries and waits.
        max_tries: tries of a call.
        backoff_seconds: scale of the waits between tries.
        max_backoff_seconds: upper end of a wait, beyond what the server asks for.
        usd_per_million_prompt_tokens: price, for the dollars of a draw.
        usd_per_million_output_tokens: price, for the dollars of a draw.
        extra_body: further fields of every call, such as ``{"top_k": 20}``.

    Raises:
        UsageError: an argument is out of range, or the address is none.
    """

    def __init__(
        self,
        model: str,
        base_url: str,
        *,
        api: Api = "chat",
        api_key_env: str = "OPENAI_API_KEY",
        concurrency: int = 32,
        use_n: bool = True,
        send_seed: bool = True,
        temperature: float | None = None,
        max_tokens: int = 1024,
        step_delimiter: str = "\n",
        template: Mapping[str, str] = PLAIN,
        shared_prefix: bool = False,
        timeout_seconds: float = 120.0,
        total_seconds: float = 600.0,
        max_tries: int = 6,
        backoff_seconds: float = 0.5,
        max_backoff_seconds: float = 30.0,
        usd_per_million_prompt_tokens: float = 0.0,
        usd_per_million_output_tokens: float = 0.0,
        extra_body: Mapping[str, Any] = _NOTHING,
    ) -> None:
        _check(api, step_delimiter, template)
        at_least_one = {
            "concurrency": concurrency,
            "max_tries": max_tries,
            "max_tokens": max_tokens,
        }
        for name, value in at_least_one.items():
            if value < 1:
                raise UsageError(f"`{name}` must be at least 1, but got {name}={value}.")
        self.base_url = check_base_url(base_url)
        self.model = model
        self.api: Api = api
        self.max_batch = 1
        self.concurrency = concurrency
        self.slots = concurrency
        self.default_max_tokens = max_tokens
        capabilities = {"step", "surprisal"}
        capabilities |= {"partial"} if api == "completions" else set()
        capabilities |= {"shared_prefix"} if shared_prefix else set()
        self.provides = frozenset(capabilities)
        self._most_choices: int | None = None if use_n else 1
        self._send_seed = send_seed
        self._temperature = temperature
        self._step_delimiter = step_delimiter
        self._template = dict(template)
        self._extra_body = dict(extra_body)
        self._prompt_price = usd_per_million_prompt_tokens / 1e6
        self._output_price = usd_per_million_output_tokens / 1e6
        self._transport = Transport(
            self.base_url,
            api_key_env=api_key_env,
            concurrency=concurrency,
            timeout_seconds=timeout_seconds,
            total_seconds=total_seconds,
            max_tries=max_tries,
            backoff_seconds=backoff_seconds,
            max_backoff_seconds=max_backoff_seconds,
        )
        described = {
            "model": model,
            "base_url": self.base_url,
            "api": api,
            "temperature": temperature,
            "max_tokens": max_tokens,
            "step_delimiter": step_delimiter,
            "template": self._template if api == "completions" else None,
            "extra_body": self._extra_body,
        }
        digest = hashlib.sha256(json.dumps(described, sort_keys=True).encode())
        self.fingerprint = f"endpoint:{digest.hexdigest()[:32]}"
        self.info: Mapping[str, Any] = {
            "kind": "endpoint", "name": model, "base_url": self.base_url, "api": api
        }  # fmt: skip

    def __repr__(self) -> str:
        return f"Endpoint({self.model!r}, {self.base_url!r}, api={self.api!r})"

    async def generate(self, work: Sequence[GenerateWork]) -> Sequence[Outcome]:
        """One outcome per work item; draws that could not be had have status "failed".

        Raises:
            UsageError: a request needs what this interface of the server cannot do.
            GeneratorError: no draw at all was served and none can be: the server refuses the
                key, the path or the model, or cannot be reached.
        """
        for item in work:
            self._refuse_impossible(item)
        self._transport.open()
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self._serve(item)) for item in work]
        served = [task.result() for task in tasks]
        self._raise_if_hopeless(served)
        return [self._outcome(item, found) for item, found in zip(work, served, strict=True)]

    def shared_prompt(self, prompt_tokens: int) -> Usage:
        """Dollars of reading a prompt; its seconds cannot be told apart from the answer's."""
        return Usage(cached_tokens=prompt_tokens, usd=self._prompt_price * prompt_tokens)

    async def close(self) -> None:
        """Closes the connections."""
        await self._transport.close()

    def _refuse_impossible(self, item: GenerateWork) -> None:
        request = item.request
        if request.context.partial and "partial" not in self.provides:
            raise UsageError(
                f'continuing an unfinished text needs api="completions", but {self!r} is asked '
                'to. Use api="completions", or a strategy that draws whole answers.'
            )
        if request.forbid_end:
            raise UsageError(
                f"`forbid_end` needs a generator that provides it, but {self!r} does not. "
                "Use another generator, or a strategy without it."
            )

    async def _serve(self, item: GenerateWork) -> _Served:
        """Asks until every draw is there or has failed; short replies are asked again."""
        served = _Served(draws=[None] * len(item.seeds))
        waiting = list(range(len(item.seeds)))
        while waiting:
            size = self._most_choices or len(waiting)
            groups = [waiting[k : k + size] for k in range(0, len(waiting), size)]
            waiting = []
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(self._ask(item, places)) for places in groups]
            for places, task in zip(groups, tasks, strict=True):
                waiting += self._take(item, places, task.result(), served)
        return served

    async def _ask(self, item: GenerateWork, places: Sequence[int]) -> Call[Reply]:
        request, seed = item.request, item.seeds[places[0]]
        body = payload(
            request,
            api=self.api,
            model=self.model,
            n=len(places),
            seed=seed if self._send_seed else None,
            max_tokens=request.max_tokens or self.default_max_tokens,
            temperature=self._temperature,
            step_delimiter=self._step_delimiter,
            template=self._template,
            extra_body=self._extra_body,
        )

        def parse(raw: bytes) -> Reply:
            return parse_reply(raw, request, self._step_delimiter, self._prompt_chars(item))

        return await self._transport.post(_PATHS[self.api], body, parse, seed)

    def _prompt_chars(self, item: GenerateWork) -> int:
        return len(render_prompt(item.request.context, self._template))

    def _take(
        self, item: GenerateWork, places: Sequence[int], call: Call[Reply], served: _Served
    ) -> Sequence[int]:
        """Files a call's draws and attempts; returns the places that must be asked again."""
        index = item.indices[places[0]]
        served.attempts += [self._attempt(f, item, index) for f in call.failures]
        if call.reply is None:
            failure = call.failures[-1]
            if len(places) > 1 and not failure.retryable and not failure.refused:
                self._most_choices = 1  # the body was refused: several answers may be why
                return places
            served.last_failures.append(failure)
            for place in places:
                served.draws[place] = Draw(status="failed", text=failure.reason)
            return ()
        draws = self._draws(call.reply, call.seconds, item)
        served.attempts += _oddities(call.reply, draws[len(places) :], index)
        for place, draw in zip(places, draws, strict=False):
            served.draws[place] = draw
        if len(draws) < len(places):
            self._most_choices = min(len(draws), self._most_choices or len(draws))
        return places[len(draws) :]

    def _draws(self, reply: Reply, seconds: float, item: GenerateWork) -> list[Draw]:
        """A reply's draws. The prompt was read once: later answers found it cached."""
        if reply.estimated:
            counts = [estimated_tokens(choice) for choice in reply.choices]
        else:
            counts = shares(reply.output_tokens, reply.choices)
        draws = []
        for k, (choice, count) in enumerate(zip(reply.choices, counts, strict=True)):
            draw = Draw(
                status=choice.status,
                text=choice.text,
                prompt_tokens=reply.prompt_tokens,
                cached_tokens=reply.prompt_tokens if k else reply.cached_tokens,
                output_tokens=count,
                seconds=seconds,
                usd=reply.prompt_tokens * self._prompt_price + count * self._output_price,
            )
            if "surprisal" in item.request.want and choice.logprobs is not None:
                draw.stats = {"surprisal": -np.asarray(choice.logprobs, dtype=np.float32)}
            draws.append(draw)
        return draws

    def _attempt(self, failure: Failure, item: GenerateWork, index: int) -> Attempt:
        """A failed try; where tokens may have been made for it, the prompt is an estimate."""
        prompt = -(-self._prompt_chars(item) // 4) if failure.billed else 0
        usage = Usage(
            prompt_tokens=prompt, seconds=failure.seconds, usd=prompt * self._prompt_price
        )
        return Attempt(outcome=failure.reason, usage=usage, estimated=failure.billed, index=index)

    def _outcome(self, item: GenerateWork, served: _Served) -> Outcome:
        draws = [draw for draw in served.draws if draw is not None]
        assert len(draws) == len(item.seeds), "every place has a draw"
        return Outcome(draws=draws, attempts=served.attempts)

    def _raise_if_hopeless(self, served: Sequence[_Served]) -> None:
        draws = [draw for found in served for draw in found.draws]
        failures = [failure for found in served for failure in found.last_failures]
        if not failures or any(draw is not None and draw.status != "failed" for draw in draws):
            return
        if any(failure.refused for failure in failures):
            refusal = next(failure for failure in failures if failure.refused)
            raise GeneratorError(
                f"an endpoint must accept calls, but {self.base_url} refused with "
                f"{refusal.reason}. Check the address, the model {self.model!r} and the key."
            )
        if not any(failure.reached for failure in failures):
            raise GeneratorError(
                f"an endpoint must be reachable, but {self.base_url} gave "
                f"{failures[0].reason}. Check that the server runs there.",
                retryable=True,
            )


def _oddities(reply: Reply, extra: Sequence[Draw], index: int) -> list[Attempt]:
    """Attempts that record estimated usage, and answers beyond those asked for."""
    attempts = []
    if reply.estimated:
        attempts.append(
            Attempt(outcome="usage missing", usage=Usage(), estimated=True, index=index)
        )
    if extra:
        usage = Usage(output_tokens=sum(draw.output_tokens for draw in extra))
        attempts.append(Attempt(outcome="more answers than asked", usage=usage, index=index))
    return attempts


def _check(api: str, step_delimiter: str, template: Mapping[str, str]) -> None:
    if api not in _PATHS:
        raise UsageError(f"`api` must be one of {', '.join(_PATHS)}, but got {api=}.")
    if not step_delimiter:
        raise UsageError("`step_delimiter` must be a text, but got an empty one.")
    missing = [role for role in PLAIN if "{text}" not in template.get(role, "")]
    if missing:
        raise UsageError(
            f"`template` must have {{text}} for every role, but lacks it for {missing}."
        )
