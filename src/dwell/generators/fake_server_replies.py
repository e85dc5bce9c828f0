"""What the scripted server writes: whole bodies, and the events of a stream.

Pure functions between draws and the protocol's JSON; no connection is known here.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from dwell.generators.scripted import Latency, split_tokens, uniforms
from dwell.protocols import GenerateWork
from dwell.records import Draw

_TOOL_CALL = re.compile(r"<tool_call>\s*(.*?)\s*</tool_call>", re.DOTALL)
_SALT_LOGPROB = 12


def whole_body(
    body: Mapping[str, Any],
    work: GenerateWork,
    draws: Sequence[Draw],
    *,
    chat: bool,
    cached_tokens: int,
) -> dict[str, Any]:
    """A whole and truthful reply."""
    choices = []
    for k, draw in enumerate(draws):
        choice: dict[str, Any] = {
            "index": k,
            "finish_reason": "length" if draw.status == "cap" else "stop",
        }
        if chat:
            choice["message"] = {"role": "assistant", "content": draw.text}
        else:
            choice["text"] = draw.text
        if body.get("logprobs"):
            choice["logprobs"] = _logprobs(draw, work.seeds[k], chat)
        choices.append(choice)
    prompt, output = draws[0].prompt_tokens, sum(draw.output_tokens for draw in draws)
    usage: dict[str, Any] = {
        "prompt_tokens": prompt, "completion_tokens": output, "total_tokens": prompt + output
    }  # fmt: skip
    if cached_tokens:
        usage["prompt_tokens_details"] = {"cached_tokens": min(cached_tokens, prompt)}
    return {
        "id": "fake-1",
        "object": "chat.completion" if chat else "text_completion",
        "created": 0,
        "model": body.get("model", "scripted"),
        "choices": choices,
        "usage": usage,
    }


def _logprobs(draw: Draw, seed: int, chat: bool) -> dict[str, Any]:
    """Made-up log-probabilities, one a token, that are a function of the seed."""
    tokens = split_tokens(draw.text)
    values = (-uniforms([seed + k for k in range(len(tokens))], _SALT_LOGPROB)).tolist()
    if chat:
        pairs = zip(tokens, values, strict=True)
        return {"content": [{"token": token, "logprob": value} for token, value in pairs]}
    return {"tokens": tokens, "token_logprobs": values}


def move_reasoning(message: dict[str, Any], name: str) -> None:
    """Move what was thought first out of a message's text, into a field of that name."""
    opened, closed = "<think>", "</think>"
    text = message["content"]
    if text.startswith(opened):
        reasoning, _, rest = text[len(opened) :].partition(closed)
        message[name], message["content"] = reasoning, rest or None


def move_tool_calls(message: dict[str, Any]) -> bool:
    """Move the calls out of a message's text; whether there are any."""
    found = _TOOL_CALL.findall(message["content"] or "")
    calls = [json.loads(call) for call in found]
    if calls:
        message["content"] = _TOOL_CALL.sub("", message["content"]).strip() or None
        message["tool_calls"] = [
            {"id": f"call-{k}", "type": "function",
             "function": {"name": call["name"], "arguments": json.dumps(call["arguments"])}}
            for k, call in enumerate(calls)
        ]  # fmt: skip
    return bool(calls)


def events(
    reply: Mapping[str, Any], draws: Sequence[Draw], latency: Latency, *, with_usage: bool
) -> list[tuple[float, dict[str, Any]]]:
    """A reply as the events of a stream, each with its second, in the order of time.

    The first piece of an answer comes when the law's fixed part is over; the others follow
    evenly, so that the last comes when the whole answer would have.

    Args:
        reply: the whole body.
        draws: its answers.
        latency: the law that their seconds follow.
        with_usage: whether an event with the usage comes last.
    """
    found: list[tuple[float, dict[str, Any]]] = []
    chat = "message" in reply["choices"][0]
    kind = "chat.completion.chunk" if chat else reply["object"]
    head = {"id": reply["id"], "object": kind, "created": 0, "model": reply["model"]}
    for choice, draw in zip(reply["choices"], draws, strict=True):
        pieces = _pieces(choice) if chat else [{"text": t} for t in split_tokens(choice["text"])]
        law = latency.base_seconds + latency.seconds_per_token * draw.output_tokens
        first = draw.seconds * latency.base_seconds / law if law else 0.0
        step = (draw.seconds - first) / max(1, len(pieces) - 1)
        index = choice["index"]
        end: dict[str, Any] = {"delta": {}} if chat else {"text": ""}
        for k, piece in enumerate(pieces):
            written = {"index": index, **piece, "finish_reason": None}
            found.append((first + k * step, {**head, "choices": [written]}))
        last = {"index": index, **end, "finish_reason": choice["finish_reason"]}
        found.append((draw.seconds, {**head, "choices": [last]}))
    found.sort(key=lambda event: event[0])  # stable: an answer's own events stay in order
    if with_usage and "usage" in reply:
        found.append((found[-1][0], {**head, "choices": [], "usage": reply["usage"]}))
    return found


def _pieces(choice: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What each event of a chat's answer adds: its role, reasoning, tokens, tool calls."""
    message = choice["message"]
    pieces: list[dict[str, Any]] = [{"delta": {"role": message["role"], "content": ""}}]
    for name, value in message.items():
        if name not in ("role", "content", "tool_calls"):
            pieces += [{"delta": {name: token}} for token in split_tokens(value)]
    tokens = split_tokens(message["content"] or "")
    known = (choice.get("logprobs") or {}).get("content") or []
    for k, token in enumerate(tokens):
        piece: dict[str, Any] = {"delta": {"content": token}}
        if len(known) == len(tokens):
            piece["logprobs"] = {"content": [known[k]]}
        pieces.append(piece)
    for k, call in enumerate(message.get("tool_calls", ())):
        pieces.append({"delta": {"tool_calls": [{"index": k, **call}]}})
    return pieces
