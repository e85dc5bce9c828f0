"""What goes over the wire to a server that speaks the OpenAI protocol, and what comes back.

Pure functions between records and JSON; no connection is known here. A body that does not have
the promised form raises `MalformedBody`, which counts as a failed attempt, never as an answer.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from dwell.records import Context, Status
from dwell.requests import Generate

Api = Literal["chat", "completions"]

#: Concatenates the texts, as base models and the embedded models expect.
PLAIN: Mapping[str, str] = {"system": "{text}", "user": "{text}", "assistant": "{text}"}

#: Servers read a seed as a signed 32-bit number at least (llama.cpp), so 31 bits are sent.
_SEED_MASK = 0x7FFF_FFFF


class MalformedBody(ValueError):
    """A reply that is not what the protocol promises."""


@dataclass(slots=True, kw_only=True)
class Choice:
    """One answer of a reply.

    Attributes:
        text: what was generated, without the stop text.
        status: how it halted.
        logprobs: log-probability of each generated token, None where not returned.
        stopped_by: the stop text that halted it, None where unknown or none.
        names_stop: whether the server says which stop text halted an answer.
    """

    text: str
    status: Status
    logprobs: list[float] | None = None
    stopped_by: str | None = None
    names_stop: bool = False


@dataclass(slots=True, kw_only=True)
class Reply:
    """A parsed reply: its answers in order, and its usage.

    Attributes:
        choices: the answers, at least one.
        prompt_tokens: tokens of the prompt, read once for all answers.
        cached_tokens: how many of them the server says it had cached.
        output_tokens: tokens of all answers together.
        estimated: whether the server gave no usage, so that the counts are estimates.
    """

    choices: list[Choice] = field(default_factory=list)
    prompt_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0
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
    n: int,
    seed: int | None,
    max_tokens: int,
    temperature: float | None,
    step_delimiter: str,
    template: Mapping[str, str],
    extra_body: Mapping[str, Any],
) -> dict[str, Any]:
    """The JSON body of one call for `n` answers."""
    context = request.context
    body: dict[str, Any] = {"model": model, "max_tokens": max_tokens, "n": n}
    if api == "chat":
        body["messages"] = [{"role": role, "content": text} for role, text in context.messages]
    else:
        body["prompt"] = render_prompt(context, template)
    chosen = request.temperature if request.temperature is not None else temperature
    if chosen is not None:
        body["temperature"] = chosen
    if seed is not None:
        body["seed"] = seed & _SEED_MASK
    stop = ([step_delimiter] if request.until == "step" else []) + list(request.stop)
    if stop:
        body["stop"] = stop
    if "surprisal" in request.want:
        body["logprobs"] = True if api == "chat" else 1
    return {**body, **extra_body}


def parse_reply(raw: bytes, request: Generate, step_delimiter: str, prompt_chars: int) -> Reply:
    """The answers and usage in a reply's body.

    Args:
        raw: the body.
        request: what was asked.
        step_delimiter: the text that ends a step.
        prompt_chars: length of the prompt, for an estimate where usage is missing.

    Raises:
        MalformedBody: the body is no JSON object, has no answers, or has values of another type
            than the protocol's.
    """
    try:
        body = json.loads(raw)
    except ValueError as error:
        raise MalformedBody(f"the body is not JSON ({len(raw)} bytes)") from error
    if not isinstance(body, dict) or not isinstance(body.get("choices"), list):
        raise MalformedBody("the body has no list of `choices`")
    if not body["choices"]:
        raise MalformedBody("the list of `choices` is empty")
    reply = Reply(choices=[_choice(item, request, step_delimiter) for item in _sorted(body)])
    _read_usage(reply, body.get("usage"), prompt_chars)
    return reply


def _sorted(body: Mapping[str, Any]) -> list[Any]:
    items = body["choices"]
    if all(isinstance(item, dict) and isinstance(item.get("index"), int) for item in items):
        return sorted(items, key=lambda item: item["index"])
    return list(items)


def _choice(item: Any, request: Generate, step_delimiter: str) -> Choice:
    if not isinstance(item, dict):
        raise MalformedBody("a choice is not an object")
    message = item.get("message")
    text = message.get("content") if isinstance(message, dict) else item.get("text")
    if text is None and isinstance(message, dict):
        text = ""  # a reply of tool calls or of reasoning alone has no content
    if not isinstance(text, str):
        raise MalformedBody("a choice has no text")
    stopped_by = item.get("stop_reason")
    choice = Choice(
        text=text,
        status="end",
        logprobs=_logprobs(item.get("logprobs")),
        stopped_by=stopped_by if isinstance(stopped_by, str) else None,
        names_stop="stop_reason" in item,
    )
    _set_status(choice, item.get("finish_reason"), request, step_delimiter)
    return choice


def _set_status(choice: Choice, reason: Any, request: Generate, step_delimiter: str) -> None:
    """Status by the finish reason; a text halted at a step gets its delimiter back.

    Most servers do not say whether a stop text or the end of the text was met. Then a text is
    a step, unless it is empty: an answer that ends there will be found to end by the next call.
    A server that ignores stop texts has its text cut here.
    """
    if reason == "content_filter":
        choice.status, choice.text = "failed", "the server's content filter withheld the text"
        return
    at = choice.text.find(step_delimiter) if request.until == "step" else -1
    ends = [found for found in map(choice.text.find, request.stop) if found >= 0]
    if at >= 0 and at <= min(ends, default=at):
        choice.status, choice.text = "step", choice.text[: at + len(step_delimiter)]
    elif ends:
        choice.text = choice.text[: min(ends)]
    elif reason == "length":
        choice.status = "cap"
    elif request.until == "step":
        known = choice.stopped_by == step_delimiter
        if known if choice.names_stop else choice.text:
            choice.status = "step"
            choice.text += step_delimiter


def _logprobs(found: Any) -> list[float] | None:
    """Log-probabilities of the generated tokens in the chat or the completions form."""
    if not isinstance(found, dict):
        return None
    tokens, values = found.get("content"), found.get("token_logprobs")
    if isinstance(tokens, list):
        values = [token.get("logprob") if isinstance(token, dict) else None for token in tokens]
    if not isinstance(values, list):
        return None
    numbers = [float(value) for value in values if isinstance(value, int | float)]
    return numbers if len(numbers) == len(values) else None


def _read_usage(reply: Reply, usage: Any, prompt_chars: int) -> None:
    counts = usage if isinstance(usage, dict) else {}
    prompt, output = counts.get("prompt_tokens"), counts.get("completion_tokens")
    reply.estimated = not (_is_count(prompt) and _is_count(output))
    if reply.estimated:
        # Four characters a token is the usual rule of thumb for English; log-probabilities,
        # where returned, give the exact number of generated tokens.
        reply.prompt_tokens = -(-prompt_chars // 4)
        reply.output_tokens = sum(map(estimated_tokens, reply.choices))
        return
    reply.prompt_tokens, reply.output_tokens = int(prompt), int(output)  # type: ignore[arg-type]
    details = counts.get("prompt_tokens_details")
    cached = details.get("cached_tokens") if isinstance(details, dict) else None
    reply.cached_tokens = min(int(cached), reply.prompt_tokens) if _is_count(cached) else 0  # type: ignore[arg-type]


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def estimated_tokens(choice: Choice) -> int:
    """The number of tokens of an answer: exact with log-probabilities, else by its length."""
    if choice.logprobs is not None:
        return len(choice.logprobs)
    return -(-len(choice.text) // 4)


def shares(total: int, choices: Sequence[Choice]) -> list[int]:
    """Splits a reply's output tokens among its answers; the shares sum to the total.

    Answers with log-probabilities have exact counts where these sum to the total; otherwise
    the total is divided in proportion to length, remainders to the largest fractions.
    """
    exact = [len(c.logprobs) if c.logprobs is not None else -1 for c in choices]
    if min(exact) >= 0 and sum(exact) == total:
        return exact
    weights = np.array([max(len(choice.text), 1) for choice in choices], dtype=np.float64)
    ideal = total * weights / weights.sum()
    floor = np.floor(ideal).astype(np.int64)
    order = np.argsort(floor - ideal, kind="stable")
    floor[order[: total - int(floor.sum())]] += 1
    counts: list[int] = floor.tolist()
    return counts
