"""What goes over the wire to a server that speaks the OpenAI protocol, and what comes back.

Pure functions between records and JSON; no connection is known here. A body that does not have
the promised form raises `MalformedBody`, which counts as a failed attempt, never as an answer.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal, TypeGuard

import numpy as np

from dwell.generators.endpoint_choices import Choice, MalformedBody, parse_choice
from dwell.records import Context
from dwell.requests import Generate

Api = Literal["chat", "completions"]

#: Concatenates the texts, as base models and the embedded models expect.
PLAIN: Mapping[str, str] = {"system": "{text}", "user": "{text}", "assistant": "{text}"}

NOTHING: Mapping[str, Any] = MappingProxyType({})

#: Servers read a seed as a signed 32-bit number at least (llama.cpp), so 31 bits are sent.
SEED_MASK = 0x7FFF_FFFF


@dataclass(slots=True, kw_only=True)
class Reply:
    """A parsed reply: its answers in order, and its usage.

    Attributes:
        choices: the answers, at least one.
        prompt_tokens: tokens of the prompt, read once for all answers.
        cached_tokens: how many of them the server says it had cached.
        output_tokens: tokens of all answers together, reasoning included.
        reasoning_tokens: how many of them the server says were reasoning.
        estimated: whether the server gave no usage, so that the counts are estimates.
    """

    choices: list[Choice] = field(default_factory=list)
    prompt_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0
    reasoning_tokens: int = 0
    estimated: bool = False


def render_prompt(context: Context, template: Mapping[str, str]) -> str:
    """The prompt of a completions call: every message by its role's template, then the partial.

    The template's "generate" entry, if any, opens the assistant's turn.
    """
    parts = [template[role].replace("{text}", text) for role, text in context.messages]
    return "".join(parts) + template.get("generate", "") + context.partial


def payload(
    request: Generate,
    *,
    api: Api,
    model: str,
    max_tokens: int,
    temperature: float | None,
    step_delimiter: str,
    template: Mapping[str, str],
    continuation: Mapping[str, Any],
) -> dict[str, Any]:
    """The JSON body of a call, but for the number of answers and the seed.

    In a chat an unfinished text is sent as a final message of the assistant, with the fields
    `continuation` that make the server go on with it.
    """
    context = request.context
    body: dict[str, Any] = {"model": model, "max_tokens": max_tokens}
    if api == "chat":
        messages = [{"role": role, "content": text} for role, text in context.messages]
        if context.partial:
            messages.append({"role": "assistant", "content": context.partial})
            body |= continuation
        body["messages"] = messages
    else:
        body["prompt"] = render_prompt(context, template)
    chosen = request.temperature if request.temperature is not None else temperature
    if chosen is not None:
        body["temperature"] = chosen
    stop = ([step_delimiter] if request.until == "step" else []) + list(request.stop)
    if stop:
        body["stop"] = stop
    if "surprisal" in request.want:
        body["logprobs"] = True if api == "chat" else 1
    return body


def parse_reply(
    raw: bytes, request: Generate, step_delimiter: str, prompt_chars: int, prefix: str = ""
) -> Reply:
    """The answers and usage in a reply's body.

    Args:
        raw: the body.
        request: what was asked.
        step_delimiter: the text that ends a step.
        prompt_chars: length of the prompt, for an estimate where usage is missing.
        prefix: what the server is known to repeat before its continuation.

    Raises:
        MalformedBody: the body is no JSON object, has no answers, or has values of another type
            than the protocol's.
    """
    try:
        body = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise MalformedBody(f"the body is not JSON ({len(raw)} bytes)") from error
    if not isinstance(body, dict) or not isinstance(body.get("choices"), list):
        raise MalformedBody("the body has no list of `choices`")
    if not body["choices"]:
        raise MalformedBody("the list of `choices` is empty")
    items = _sorted(body)
    reply = Reply(choices=[parse_choice(item, request, step_delimiter, prefix) for item in items])
    _read_usage(reply, body.get("usage"), prompt_chars)
    return reply


def _sorted(body: Mapping[str, Any]) -> list[Any]:
    items = body["choices"]
    if len(items) > 1 and all(
        isinstance(item, dict) and isinstance(item.get("index"), int) for item in items
    ):
        return sorted(items, key=lambda item: item["index"])
    return list(items)


def _read_usage(reply: Reply, usage: Any, prompt_chars: int) -> None:
    counts = usage if isinstance(usage, dict) else {}
    prompt, output = counts.get("prompt_tokens"), counts.get("completion_tokens")
    if not (_is_count(prompt) and _is_count(output)):
        reply.estimated = True
        # Four characters a token is the usual rule of thumb for English; log-probabilities,
        # where returned, give the exact number of generated tokens.
        reply.prompt_tokens = -(-prompt_chars // 4)
        reply.output_tokens = sum(map(estimated_tokens, reply.choices))
        return
    reply.prompt_tokens, reply.output_tokens = prompt, output
    cached = _detail(counts, "prompt_tokens_details", "cached_tokens")
    cached = cached or _count(counts.get("prompt_cache_hit_tokens"))  # DeepSeek's name for it
    reply.cached_tokens = min(cached, prompt)
    reasoning = _detail(counts, "completion_tokens_details", "reasoning_tokens")
    if _count(counts.get("total_tokens")) == prompt + output + reasoning:
        reply.output_tokens += reasoning  # this server counts reasoning apart: it was paid for
    reply.reasoning_tokens = min(reasoning, reply.output_tokens)


def _detail(counts: Mapping[str, Any], group: str, name: str) -> int:
    details = counts.get(group)
    return _count(details.get(name)) if isinstance(details, dict) else 0


def _count(value: Any) -> int:
    """A number of tokens; 0 for what is none."""
    return value if _is_count(value) else 0


def _is_count(value: Any) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def estimated_tokens(choice: Choice) -> int:
    """The number of tokens of an answer: exact with log-probabilities, else by its length."""
    if choice.logprobs is not None:
        return len(choice.logprobs)
    return -(-choice.num_characters // 4)


def shares(total: int, choices: Sequence[Choice]) -> list[int]:
    """Splits a reply's output tokens among its answers; the shares sum to the total.

    Answers with log-probabilities have exact counts where these sum to the total; otherwise
    the total is divided in proportion to length, remainders to the largest fractions.
    """
    if len(choices) == 1:
        return [total]
    exact = [len(c.logprobs) if c.logprobs is not None else -1 for c in choices]
    if min(exact) >= 0 and sum(exact) == total:
        return exact
    weights = np.array([max(choice.num_characters, 1) for choice in choices], dtype=np.float64)
    ideal = total * weights / weights.sum()
    floor = np.floor(ideal).astype(np.int64)
    order = np.argsort(floor - ideal, kind="stable")
    floor[order[: total - int(floor.sum())]] += 1
    counts: list[int] = floor.tolist()
    return counts
