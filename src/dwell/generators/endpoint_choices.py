r"""One answer of a server's reply: its text, how it halted, its reasoning and its tool calls.

Servers differ in where they put these. Reasoning is kept beside the text, never in it: whether a
server parses it out decides neither the answer nor the vote. Tool calls are written into the text
in one canonical form, the one that open models write themselves, so that equal calls are equal
texts:

    <tool_call>
    {"arguments":{"city":"Oslo"},"name":"weather"}
    </tool_call>
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dwell.keys import canonical_json
from dwell.records import Status
from dwell.requests import Generate


class MalformedBody(ValueError):
    """A reply that is not what the protocol promises."""


@dataclass(slots=True, kw_only=True)
class Choice:
    """One answer of a reply.

    Attributes:
        text: what was generated, without the stop text; tool calls in canonical form at its end.
        status: how it halted.
        reasoning: what the server returned apart from the answer, "" where nothing.
        tool_calls: the tool calls as canonical JSON objects, in order.
        logprobs: log-probability of each generated token, None where not returned.
        stopped_by: the stop text that halted it, None where unknown or none.
        names_stop: whether the server says which stop text halted an answer.
    """

    text: str
    status: Status = "end"
    reasoning: str = ""
    tool_calls: tuple[str, ...] = ()
    logprobs: list[float] | None = None
    stopped_by: str | None = None
    names_stop: bool = False

    @property
    def num_characters(self) -> int:
        """Characters that were generated, reasoning included."""
        return len(self.text) + len(self.reasoning)


def parse_choice(item: Any, request: Generate, step_delimiter: str, prefix: str) -> Choice:
    """The answer in one entry of `choices`.

    Args:
        item: the entry.
        request: what was asked.
        step_delimiter: the text that ends a step.
        prefix: what the server is known to repeat before its continuation.

    Raises:
        MalformedBody: it has not the promised form.
    """
    if not isinstance(item, dict):
        raise MalformedBody("a choice is not an object")
    message = item.get("message")
    if not isinstance(message, dict):
        message = None
    text = item.get("text") if message is None else message.get("content")
    if text is None and message is not None:
        text = ""  # a reply of tool calls or of reasoning alone has no content
    if isinstance(text, list):
        text = _joined(text)
    if not isinstance(text, str):
        raise MalformedBody("a choice has no text")
    if prefix and text.startswith(prefix):
        text = text[len(prefix) :]
    stopped_by = item.get("stop_reason")
    choice = Choice(
        text=text,
        logprobs=_logprobs(item.get("logprobs")),
        stopped_by=stopped_by if isinstance(stopped_by, str) else None,
        names_stop="stop_reason" in item,
    )
    _set_status(choice, item.get("finish_reason"), request, step_delimiter)
    if message is not None and choice.status != "failed":
        choice.reasoning = _reasoning(message)
        if calls := _calls(message):
            choice.tool_calls = tuple(map(_canonical_call, calls))
            written = [f"<tool_call>\n{call}\n</tool_call>" for call in choice.tool_calls]
            choice.text = "\n".join([choice.text] * bool(choice.text) + written)
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


def _joined(parts: Sequence[Any]) -> str:
    """The text of a content that is a list of parts, as the protocol allows."""
    texts = [part.get("text") for part in parts if isinstance(part, dict)]
    return "".join(text for text in texts if isinstance(text, str))


def _reasoning(message: Mapping[str, Any]) -> str:
    """What was reasoned: the servers' two names for it, of which some send both."""
    for name in ("reasoning_content", "reasoning"):
        found = message.get(name)
        if isinstance(found, str) and found:
            return found
    return ""


def _calls(message: Mapping[str, Any]) -> list[Any]:
    """The functions that a message calls, in the present form or the one before it."""
    calls = message.get("tool_calls")
    if isinstance(calls, list):
        return [call.get("function") for call in calls if isinstance(call, dict)]
    old = message.get("function_call")
    return [old] if isinstance(old, dict) else []


def _canonical_call(function: Any) -> str:
    """A call as JSON with sorted keys; arguments that are not JSON stay a text."""
    if not isinstance(function, dict) or not isinstance(function.get("name"), str):
        raise MalformedBody("a tool call names no function")
    arguments = function.get("arguments", {})
    if isinstance(arguments, str):
        # an unfinished or broken call is still what the model wrote
        with contextlib.suppress(ValueError, RecursionError):
            arguments = json.loads(arguments)
    return canonical_json({"name": function["name"], "arguments": arguments})


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
