"""A model of Inspect as a generator: draws through `inspect_ai`, with its limits and its log.

Inspect keeps the connections, retries, limits and prices; what is known here is how a draw is
asked for, and what of a reply goes into a draw. A model's error is Inspect's to handle: it ends
the run, and what was drawn before stays in the ledger.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

from dwell.errors import MissingExtraError
from dwell.generators.endpoint_choices import parse_choice
from dwell.generators.endpoint_continuation import FIELDS, PROBE, Continuation, Found, judge
from dwell.generators.endpoint_draws import TokenPrices, draws_of
from dwell.generators.endpoint_wire import SEED_MASK, Reply, estimated_tokens
from dwell.protocols import GenerateWork, Outcome
from dwell.records import Candidate, Context, Draw, Role, Usage
from dwell.requests import Generate

try:
    from inspect_ai.model import (
        ChatCompletionChoice,
        ChatMessage,
        ChatMessageAssistant,
        ChatMessageSystem,
        ChatMessageUser,
        GenerateConfig,
        Model,
        ModelOutput,
    )
    from inspect_ai.tool import Tool, ToolCall, ToolChoice, ToolDef
except ImportError as error:
    raise MissingExtraError("`dwell.inspect`", "inspect_ai", "inspect") from error

#: What of a configuration does not decide what a model writes.
_OPERATION = frozenset({
    "max_retries", "timeout", "attempt_timeout", "stream_idle_timeout", "max_connections",
    "adaptive_connections", "cache", "cache_prompt", "batch", "seed", "num_choices", "logprobs",
    "top_logprobs", "prompt_logprobs", "max_tool_output", "extra_headers", "fail_on_refusal",
})  # fmt: skip
#: Providers whose servers make several answers of one call.
_SEVERAL = ("openai", "openai-api", "azureai", "vllm", "sglang", "grok", "google", "together")
#: Providers whose servers may be told to go on with an unfinished text.
_FLAGS = ("openai-api", "vllm", "sglang")
_FINISH = {"max_tokens": "length", "model_length": "length", "content_filter": "content_filter"}
_CALL = re.compile(r"\n?<tool_call>\n(.*?)\n</tool_call>", re.DOTALL)
_FREE = TokenPrices(prompt=0.0, cached=0.0, output=0.0)
_MOST_CHOICES = 128
#: Statuses by which a server refuses a body.
_REFUSED = (400, 422)


@dataclass(slots=True)
class Habits:
    """What was found out about a model's server.

    Attributes:
        most: answers that one call may ask for; None = nobody knows.
        found: how it goes on with an unfinished text, if it does.
        asked: whether it was asked that.
    """

    most: int | None = None
    found: Found | None = None
    asked: bool = False


class InspectModel:
    """A model of Inspect that makes draws.

    Args:
        model: the model.
        config: added to the model's own configuration and to that of the evaluation.
        prompt: messages of the evaluation that dwell's contexts begin with; they are sent as they
            are, with all that is no text.
        tools: what the model may call.
        tool_choice: which of them it shall call.
        step_delimiter: the text that ends a step.
        num_choices: ask for several answers in one call; None = where the provider is known to
            make them. A server that answers fewer, or refuses that, is asked for the rest.
        habits: what is known of the model's server; shared by all that ask it.
    """

    def __init__(
        self,
        model: Model,
        config: GenerateConfig | None = None,
        *,
        prompt: Sequence[ChatMessage] = (),
        tools: Sequence[Tool] = (),
        tool_choice: ToolChoice | None = None,
        step_delimiter: str = "\n",
        num_choices: bool | None = None,
        habits: Habits | None = None,
    ) -> None:
        self._habits = habits or Habits()
        self._model, self._config = model, config or GenerateConfig()
        self._prompt, self._tools, self._tool_choice = list(prompt), list(tools), tool_choice
        self._shown = as_pairs(prompt)
        self._step_delimiter = step_delimiter
        provider = str(model).partition("/")[0]
        if self._habits.most is None:
            several = provider in _SEVERAL if num_choices is None else num_choices
            self._habits.most = _MOST_CHOICES if several else 1
        self._ways: tuple[Continuation, ...] = (
            ("flags", "prefill") if provider in _FLAGS else ("prefill",)
        )
        self._written: dict[tuple[Context, str], ChatMessageAssistant] = {}
        #: "partial" is added once the model was found to go on with a text.
        self.provides = frozenset({"step", "surprisal"})
        self._note_continuation()
        self.max_batch = 1
        self.concurrency = 1 << 20  # Inspect bounds the connections
        self.slots = 64
        self.default_max_tokens = self._resolved().max_tokens or 2048
        self.name, digest = self._named()
        self.fingerprint = f"inspect:{digest}"
        self.info: Mapping[str, Any] = {"kind": "inspect", "name": self.name}
        if self._tools:  # whose calls stand in texts, but what they are does not
            self.info = {**self.info, "tools": [ToolDef(one).name for one in self._tools]}

    def __repr__(self) -> str:
        return f"InspectModel({self.name!r})"

    def _resolved(self) -> GenerateConfig:
        """The configuration that a call will have, the evaluation's included."""
        found: GenerateConfig = self._model._resolve_config(self._config)
        return found

    def _named(self) -> tuple[str, str]:
        """A readable name of the model and its sampling, and a digest of the same."""
        config = self._resolved().model_dump(mode="json", exclude_none=True)
        sampling = {key: v for key, v in sorted(config.items()) if key not in _OPERATION}
        if self._tools:
            known = map(ToolDef, self._tools)
            sampling["tools"] = [
                [one.name, one.description, one.parameters.model_dump(mode="json")]
                for one in known
            ]
            sampling["tool_choice"] = str(self._tool_choice)
        plain = {key: v for key, v in sampling.items() if isinstance(v, int | float)}
        rest = {key: v for key, v in sampling.items() if key not in plain}
        name = str(self._model) + "".join(f" {key}={value}" for key, value in plain.items())
        if rest:
            name += f" settings={_digest(rest, 4)}"
        return name, _digest([str(self._model), sampling], 16)

    # ---- draws -----------------------------------------------------------------------------

    async def generate(self, work: Sequence[GenerateWork]) -> Sequence[Outcome]:
        """One outcome per work item; each draw is handed over as it comes."""
        return [await self._serve(item) for item in work]

    async def _serve(self, item: GenerateWork) -> Outcome:
        """Asks until every draw is there; short replies are asked again for the rest."""
        draws: dict[int, Draw] = {}
        waiting = list(range(len(item.seeds)))
        while waiting:
            size = self._habits.most or 1
            groups = [waiting[k : k + size] for k in range(0, len(waiting), size)]
            calls = [asyncio.ensure_future(self._call(item, group, draws)) for group in groups]
            try:
                await asyncio.gather(*calls)
            finally:  # where one failed, the others are not paid for in vain
                for call in calls:
                    call.cancel()
                await asyncio.gather(*calls, return_exceptions=True)
            waiting = [place for place in waiting if place not in draws]
        return Outcome([draws[place] for place in range(len(item.seeds))])

    async def _call(
        self, item: GenerateWork, places: Sequence[int], draws: dict[int, Draw]
    ) -> None:
        request, habits = item.request, self._habits
        try:
            output = await self._ask(request, len(places), item.seeds[places[0]])
        except RuntimeError as error:
            if len(places) == 1 or getattr(error, "status_code", None) not in _REFUSED:
                raise
            habits.most = 1  # several answers may be why: the loop asks for one at a time
            return
        found = self._read(output, request)
        if output.choices and len(found) < len(places):
            habits.most = min(habits.most or 1, len(found))
        draws.update(zip(places, found, strict=False))
        if item.early is not None and len(item.seeds) > len(found):
            item.early(places[: len(found)], Outcome(found[: len(places)]))

    async def _ask(self, request: Generate, count: int, seed: int) -> ModelOutput:
        """One call."""
        stop = [self._step_delimiter] * (request.until == "step") + list(request.stop)
        resolved = self._resolved()
        config = GenerateConfig(
            max_tokens=request.max_tokens,
            temperature=request.temperature,
            stop_seqs=[*(resolved.stop_seqs or ()), *stop] if stop else None,
            seed=seed & SEED_MASK,
            num_choices=count if count > 1 else None,
            logprobs=True if "surprisal" in request.want else None,
        )
        if request.context.partial and self._habits.found is not None:
            fields = dict(FIELDS[self._habits.found.way])
            if fields:
                config.extra_body = {**(resolved.extra_body or {}), **fields}
        return await self._model.generate(
            self._messages(request.context),
            tools=self._tools,
            tool_choice=self._tool_choice,
            config=self._config.merge(config),
            cache=False,  # a second draw must be another; the ledger remembers the first
        )

    def _messages(self, context: Context) -> list[ChatMessage]:
        """A context as Inspect's messages, those of the evaluation as they came."""
        shown, rest = context.messages, context.messages
        found: list[ChatMessage] = []
        if self._shown and shown[: len(self._shown)] == self._shown:
            found, rest = list(self._prompt), shown[len(self._shown) :]
        found += [_MESSAGES[role](content=text) for role, text in rest]
        if context.partial:
            found.append(ChatMessageAssistant(content=context.partial))
        return found

    def _read(self, output: ModelOutput, request: Generate) -> list[Draw]:
        """The draws in a reply; the messages that they came as are kept for `message_of`."""
        if output.error is not None or not output.choices:
            return [Draw(status="failed", text=output.error or "the reply holds no answer")]
        prefix = (
            request.context.partial if self._habits.found and self._habits.found.repeats else ""
        )
        choices = [
            parse_choice(_as_wire(choice), request, self._step_delimiter, prefix)
            for choice in output.choices
        ]
        reply = Reply(choices=choices)
        usage = output.usage
        if usage is None:
            reply.output_tokens, reply.estimated = sum(map(estimated_tokens, choices)), True
        else:
            reply.cached_tokens = usage.input_tokens_cache_read or 0
            written = usage.input_tokens_cache_write or 0
            reply.prompt_tokens = usage.input_tokens + reply.cached_tokens + written
            reply.output_tokens = usage.output_tokens
            reply.reasoning_tokens = usage.reasoning_tokens or 0
        draws = draws_of(reply, output.time or 0.0, request.want, _FREE, discount=False)
        for draw, choice in zip(draws, output.choices, strict=True):
            if usage is not None and usage.total_cost:
                draw.usd = usage.total_cost / len(draws)
            self._written.setdefault((request.context, draw.text), choice.message)
        return draws

    def message_of(self, candidate: Candidate) -> ChatMessageAssistant:
        """The message that a candidate came as; from the ledger, what its text says."""
        if not candidate.context.partial:
            known = self._written.get((candidate.context, candidate.added))
            if known is not None:
                return known
        calls, text = _calls_in(candidate.text) if self._tools else ([], candidate.text)
        return ChatMessageAssistant(
            content=text,
            model=self._model.name,
            source="generate",
            tool_calls=[
                ToolCall(id=f"call_{k}", function=call["name"], arguments=call["arguments"])
                for k, call in enumerate(calls)
            ]
            or None,
        )

    # ---- the rest of a generator -----------------------------------------------------------

    async def find_continuation(self) -> bool:
        """Whether the model goes on with an unfinished text: asked once, in a few tokens."""
        habits = self._habits
        if not habits.asked:
            habits.asked = True
            for way in self._ways:
                habits.found = Found(way)  # for the call itself
                output = await self._ask(PROBE, 1, 0)
                text = "" if output.error or not output.choices else output.message.text
                habits.found = judge(way, text)
                if habits.found is not None:
                    break
        self._note_continuation()
        return habits.found is not None

    def _note_continuation(self) -> None:
        if self._habits.found is not None:
            self.provides |= {"partial"}

    def shared_prompt(self, prompt_tokens: int) -> Usage:
        """Nothing: each draw is charged its prompt."""
        return Usage(cached_tokens=prompt_tokens)

    async def close(self) -> None:
        """Nothing: Inspect closes its models."""


_MESSAGES: Mapping[Role, Any] = {
    "system": ChatMessageSystem, "user": ChatMessageUser, "assistant": ChatMessageAssistant
}  # fmt: skip


def as_pairs(messages: Sequence[ChatMessage]) -> tuple[tuple[Role, str], ...]:
    """(role, text) pairs that name messages; what is no text stands there as a digest."""
    return tuple(map(_as_pair, messages))


def _as_pair(message: ChatMessage) -> tuple[Role, str]:
    role: Role = "user" if message.role == "tool" else message.role
    plain = isinstance(message.content, str) and message.role != "tool"
    if plain and not getattr(message, "tool_calls", None):
        return role, message.text
    said = message.model_dump(
        mode="json", include={"role", "content", "tool_calls", "function", "error"}
    )
    return role, f"{message.text}\n<{message.role} {_digest(said, 8)}>"


def _calls_in(text: str) -> tuple[list[dict[str, Any]], str]:
    """The tool calls that a text holds, and the text without them; all of it where one is none."""
    try:
        calls = [json.loads(call) for call in _CALL.findall(text)]
    except ValueError:
        return [], text
    whole = all(
        isinstance(call, dict)
        and isinstance(call.get("name"), str)
        and isinstance(call.get("arguments"), dict)
        for call in calls
    )
    return (calls, _CALL.sub("", text)) if whole else ([], text)


def _as_wire(choice: ChatCompletionChoice) -> dict[str, Any]:
    """A choice in the form of OpenAI's protocol, which the rest of dwell reads."""
    message = choice.message
    parts = [] if isinstance(message.content, str) else message.content
    reasoning = "\n".join(part.reasoning for part in parts if part.type == "reasoning")
    calls = [
        {"function": {"name": call.function, "arguments": call.arguments}}
        for call in message.tool_calls or ()
    ]
    wire: dict[str, Any] = {
        "finish_reason": _FINISH.get(choice.stop_reason, "stop"),
        "message": {"content": message.text, "reasoning": reasoning, "tool_calls": calls},
    }
    if choice.logprobs is not None:
        wire["logprobs"] = {"content": [{"logprob": t.logprob} for t in choice.logprobs.content]}
    return wire


def _digest(value: Any, size: int) -> str:
    text = json.dumps(value, sort_keys=True, default=str)
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=size).hexdigest()
