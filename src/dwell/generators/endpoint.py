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
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from dwell.errors import GeneratorError, UsageError
from dwell.generators.endpoint_calls import Call, Failure, Patience
from dwell.generators.endpoint_continuation import (
    FIELDS,
    PROBE,
    Continuation,
    Found,
    check_continuation,
    judge,
)
from dwell.generators.endpoint_draws import TokenPrices, draws_of, failed_attempt, oddities
from dwell.generators.endpoint_http import Transport, check_base_url
from dwell.generators.endpoint_wire import (
    NOTHING,
    PLAIN,
    SEED_MASK,
    Api,
    Reply,
    parse_reply,
    payload,
    render_prompt,
)
from dwell.protocols import Attempt, GenerateWork, Outcome
from dwell.records import Draw, Problem, Usage
from dwell.requests import Generate

_PATHS: Mapping[str, str] = {"chat": "/chat/completions", "completions": "/completions"}
#: Answers asked for in one call; hosted servers allow no more.
_MOST_CHOICES = 128
#: Tokens that a server's own template may add to a prompt, for an upper bound.
_TEMPLATE_TOKENS = 256


@dataclass(slots=True)
class _Served:
    """One work item: what is asked, and its draws as they come in, by position.

    Attributes:
        head: the fields that all its calls share, as the beginning of a JSON object.
        parse: turns the body of a reply into a reply.
        prompt_tokens: an estimate of the prompt's length.
        draws: those that are there.
        attempts: failed tries that nobody was told of yet.
        hopeless: a failure that further calls would meet as well.
    """

    head: str
    parse: Callable[[bytes], Reply]
    prompt_tokens: int
    draws: list[Draw | None]
    attempts: list[Attempt] = field(default_factory=list)
    hopeless: Failure | None = None


class Endpoint:
    """A model behind an OpenAI-compatible server.

    Args:
        model: the model's name at the server.
        base_url: address up to and including the version, such as http://localhost:8000/v1.
        api: "chat", or "completions", which can continue an unfinished text anywhere.
        continuation: how a chat continues one: "flags" (vLLM, SGLang) or "prefill" (llama.cpp,
            Ollama). None = `find_continuation` finds out, and until then it is refused.
        api_key_env: name of the environment variable that holds the key. The key itself is
            never an argument, and is never shown.
        concurrency: calls on the wire at once; modelled seconds assume the same.
        adaptive: fewer of them while the server answers 429 or 503, then more again.
        requests_per_minute: calls sent in any 60 seconds; None = no limit.
        tokens_per_minute: tokens of prompts and answers in any 60 seconds, where a call counts
            its `max_tokens` until its reply is there; None = no limit.
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
        hedge_seconds: send a call again that has no reply for so long, and take the first good
            one; the other is cancelled and accounted. None = never.
        usd_per_million_prompt_tokens: price, for the dollars of a draw.
        usd_per_million_output_tokens: price, for the dollars of a draw.
        usd_per_million_cached_tokens: price of what the server says it had cached; None = the
            prompt's.
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
        continuation: Continuation | None = None,
        api_key_env: str = "OPENAI_API_KEY",
        concurrency: int = 32,
        adaptive: bool = True,
        requests_per_minute: float | None = None,
        tokens_per_minute: float | None = None,
        use_n: bool = True,
        send_seed: bool = True,
        temperature: float | None = None,
        max_tokens: int = 1024,
        step_delimiter: str = "\n",
        template: Mapping[str, str] = PLAIN,
        shared_prefix: bool = False,
        timeout_seconds: float = 120.0,
        total_seconds: float = 600.0,
        max_tries: int = 10,
        backoff_seconds: float = 0.5,
        max_backoff_seconds: float = 30.0,
        hedge_seconds: float | None = None,
        usd_per_million_prompt_tokens: float = 0.0,
        usd_per_million_output_tokens: float = 0.0,
        usd_per_million_cached_tokens: float | None = None,
        extra_body: Mapping[str, Any] = NOTHING,
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
        self._continuation = check_continuation(continuation, api)
        self._shared_prefix = shared_prefix
        self._most_choices: int | None = None if use_n else 1
        self._send_seed = send_seed
        self._temperature = temperature
        self._step_delimiter = step_delimiter
        self._template = dict(template)
        self._extra_body = dict(extra_body)
        cached_price = usd_per_million_cached_tokens
        self._prices = TokenPrices(
            prompt=usd_per_million_prompt_tokens,
            cached=usd_per_million_prompt_tokens if cached_price is None else cached_price,
            output=usd_per_million_output_tokens,
        )
        self._probed: list[Attempt] = []
        self._transport = Transport(
            self.base_url,
            api_key_env=api_key_env,
            patience=Patience(
                concurrency=concurrency,
                adaptive=adaptive,
                requests_per_minute=requests_per_minute,
                tokens_per_minute=tokens_per_minute,
                timeout_seconds=timeout_seconds,
                total_seconds=total_seconds,
                max_tries=max_tries,
                backoff_seconds=backoff_seconds,
                max_backoff_seconds=max_backoff_seconds,
                hedge_seconds=hedge_seconds,
            ),
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

    @property
    def provides(self) -> frozenset[str]:
        """What may be asked of it; "partial" in a chat once it is known how."""
        found = {"step", "surprisal"}
        if self.api == "completions" or self._continuation is not None:
            found.add("partial")
        if self._shared_prefix:
            found.add("shared_prefix")
        return frozenset(found)

    async def generate(self, work: Sequence[GenerateWork]) -> Sequence[Outcome]:
        """One outcome per work item; draws that could not be had have status "failed".

        An item that takes several calls hands over what each of them brought at once.

        Raises:
            UsageError: a request needs what this interface of the server cannot do.
            GeneratorError: no draw can be served: the server refuses the key, the path or the
                model, or cannot be reached. It is hopeless: a study stops.
        """
        for item in work:
            self._refuse_impossible(item)
        self._transport.open()
        served = [self._begin(item) for item in work]
        if len(work) == 1:  # spares a task where there is nothing to share a loop with
            await self._serve(work[0], served[0])
        else:
            async with asyncio.TaskGroup() as group:
                for item, found in zip(work, served, strict=True):
                    group.create_task(self._serve(item, found))
        for item, found in zip(work, served, strict=True):
            self._raise_if_hopeless(item, found)
        return [self._outcome(item, found) for item, found in zip(work, served, strict=True)]

    async def find_continuation(self) -> bool:
        """Asks the server, once, how it continues an unfinished text; False if it does not.

        In a chat it costs one or two calls of a few tokens, which are accounted as attempts.

        Raises:
            GeneratorError: the server refuses the key, the path or the model, or is not there.
        """
        if self.api == "completions" or self._continuation is not None:
            return True
        ways: tuple[Continuation, ...] = ("flags", "prefill")
        for way in ways:
            self._continuation = await self._probe(way)
            if self._continuation is not None:
                return True
        return False

    async def _probe(self, way: Continuation) -> Found | None:
        item = GenerateWork(
            request=PROBE, seeds=[0], indices=[0], problem=Problem(id="", prompt="")
        )
        self._continuation = Found(way)  # for the call itself
        served = self._begin(item)
        try:
            await self._call(item, [0], served)
            self._raise_if_hopeless(item, served)
        finally:
            self._continuation = None
            self._probed += served.attempts
        (draw,) = served.draws
        if draw is None or draw.status == "failed":
            return None
        usage = Usage(
            prompt_tokens=draw.prompt_tokens, output_tokens=draw.output_tokens, usd=draw.usd
        )
        self._probed.append(Attempt(outcome=f"asked how to continue a text: {way}", usage=usage))
        return judge(way, draw.text)

    def shared_prompt(self, prompt_tokens: int) -> Usage:
        """Dollars of reading a prompt; its seconds cannot be told apart from the answer's."""
        return Usage(cached_tokens=prompt_tokens, usd=self._prices.usd(prompt_tokens))

    def most_usd(self, request: Generate) -> float:
        """The most that one draw of a request can cost in dollars, where its tries succeed.

        A token is a byte at least, so the prompt has no more tokens than bytes, and those of the
        server's template.
        """
        texts = [text for _, text in request.context.messages] + [request.context.partial]
        prompt = sum(len(text.encode("utf-8", "replace")) for text in texts) + _TEMPLATE_TOKENS
        return self._prices.usd(prompt, request.max_tokens or self.default_max_tokens)

    async def close(self) -> None:
        """Closes the connections."""
        await self._transport.close()

    def _refuse_impossible(self, item: GenerateWork) -> None:
        request = item.request
        if request.context.partial and "partial" not in self.provides:
            raise UsageError(
                f"continuing an unfinished text needs a server that can, but for {self!r} that is "
                'not known. Use api="completions", or `await endpoint.find_continuation()` to '
                "ask the server, or a strategy that draws whole answers."
            )
        if request.forbid_end:
            raise UsageError(
                f"`forbid_end` needs a generator that provides it, but {self!r} does not. "
                "Use another generator, or a strategy without it."
            )

    def _begin(self, item: GenerateWork) -> _Served:
        """A work item before its first call."""
        request, found = item.request, self._continuation
        body = payload(
            request,
            api=self.api,
            model=self.model,
            max_tokens=request.max_tokens or self.default_max_tokens,
            temperature=self._temperature,
            step_delimiter=self._step_delimiter,
            template=self._template,
            continuation=FIELDS[found.way] if found else NOTHING,
        )
        own = {"n", "seed"} if self._send_seed else {"n"}
        body = {k: v for k, v in (body | self._extra_body).items() if k not in own}
        chars = len(render_prompt(request.context, self._template))
        return _Served(
            head=json.dumps(body).removesuffix("}"),
            parse=partial(
                parse_reply,
                request=request,
                step_delimiter=self._step_delimiter,
                prompt_chars=chars,
                prefix=request.context.partial if found and found.repeats else "",
            ),
            prompt_tokens=-(-chars // 4),
            draws=[None] * len(item.seeds),
        )

    async def _serve(self, item: GenerateWork, served: _Served) -> None:
        """Asks until every draw is there or has failed; short replies are asked again."""
        waiting = list(range(len(item.seeds)))
        try:
            while waiting and served.hopeless is None:
                size = self._most_choices or _MOST_CHOICES
                groups = [waiting[k : k + size] for k in range(0, len(waiting), size)]
                if len(groups) == 1:
                    waiting = await self._call(item, groups[0], served)
                    continue
                waiting = await self._call_all(item, groups, served)
        finally:
            if item.early is not None and (served.hopeless is not None or None in served.draws):
                self._hand_over(item, (), served)

    async def _call_all(
        self, item: GenerateWork, groups: list[list[int]], served: _Served
    ) -> list[int]:
        """Several calls at once; returns the places that must be asked again."""
        slots = self._transport.slots
        tasks: list[asyncio.Task[list[int]]] = []
        async with asyncio.TaskGroup() as group, slots.entrance:
            while len(tasks) < len(groups) and served.hopeless is None:
                count = await slots.room()
                for part in groups[len(tasks) :][:count]:
                    tasks.append(group.create_task(self._call(item, part, served)))
        return [place for task in tasks for place in task.result()]

    async def _call(self, item: GenerateWork, places: Sequence[int], served: _Served) -> list[int]:
        """One call, and what became of it; returns the places that must be asked again."""
        if served.hopeless is not None:
            return []
        seed, index, prompt = item.seeds[places[0]], item.indices[places[0]], served.prompt_tokens
        data = f'{served.head}, "n": {len(places)}'
        if self._send_seed:
            data += f', "seed": {seed & SEED_MASK}'
        most = (item.request.max_tokens or self.default_max_tokens) * len(places)
        call: Call[Reply] = Call(tokens=prompt + most)
        path = _PATHS[self.api]
        try:
            await self._transport.post(call, path, f"{data}}}".encode(), served.parse, seed)
        finally:  # a cancelled call is accounted as well
            if call.failures:
                served.attempts += [
                    failed_attempt(failure, prompt, self._prices, index)
                    for failure in call.failures
                ]
        return self._take(item, places, call, served)

    def _take(
        self, item: GenerateWork, places: Sequence[int], call: Call[Reply], served: _Served
    ) -> list[int]:
        """Files a call's draws; returns the places that must be asked again."""
        reply = call.reply
        if reply is None:
            return self._give_up(places, call.failures[-1], served)
        used = reply.prompt_tokens + reply.output_tokens
        self._transport.settle(call.tokens, used)
        draws = draws_of(
            reply, call.seconds, item.request.want, self._prices, discount=not self._shared_prefix
        )
        index = item.indices[places[0]]
        served.attempts += oddities(reply, draws[len(places) :], self._prices, index)
        for place, draw in zip(places, draws, strict=False):
            served.draws[place] = draw
        if len(draws) < len(places):
            self._most_choices = min(len(draws), self._most_choices or len(draws))
        if item.early is not None and len(item.seeds) > min(len(places), len(draws)):
            self._hand_over(item, places[: len(draws)], served)
        return list(places[len(draws) :])

    def _give_up(self, places: Sequence[int], failure: Failure, served: _Served) -> list[int]:
        """Files a call that brought nothing."""
        if len(places) > 1 and not failure.retryable and not failure.refused:
            self._most_choices = 1  # the body was refused: several answers may be why
            return list(places)
        if failure.refused or not failure.reached:
            served.hopeless = failure
        else:
            for place in places:
                served.draws[place] = Draw(status="failed", text=failure.reason)
        return []

    def _hand_over(self, item: GenerateWork, places: Sequence[int], served: _Served) -> None:
        """Tells whoever asked what is there already, so that it is recorded at once."""
        assert item.early is not None
        draws = [draw for place in places if (draw := served.draws[place]) is not None]
        attempts, served.attempts = served.attempts, []
        item.early(places, Outcome(draws, attempts))

    def _outcome(self, item: GenerateWork, served: _Served) -> Outcome:
        failure = served.hopeless
        draws = [
            draw or Draw(status="failed", text=failure.reason if failure else "")
            for draw in served.draws
        ]
        attempts, self._probed = self._probed + served.attempts, []
        return Outcome(draws=draws, attempts=attempts)

    def _raise_if_hopeless(self, item: GenerateWork, served: _Served) -> None:
        """Ends a call of which nothing is left to record.

        Raises:
            GeneratorError: as `generate`.
        """
        failure = served.hopeless
        if failure is None:
            return
        if item.early is None and any(draw is not None for draw in served.draws):
            return  # nobody has these draws yet: the others are failed ones
        if failure.refused:
            raise GeneratorError(
                f"an endpoint must accept calls, but {self.base_url} refused with "
                f"{failure.reason}. Check the address, the model {self.model!r} and the key.",
                hopeless=True,
            )
        raise GeneratorError(
            f"an endpoint must be reachable, but {self.base_url} gave "
            f"{failure.reason}. Check that the server runs there.",
            retryable=True,
            hopeless=True,
        )


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
