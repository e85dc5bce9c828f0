"""How a chat server goes on with an unfinished text of the assistant, found out by asking.

Two ways are in use. vLLM and SGLang go on where they are told to, by
`continue_final_message` (and vLLM's `add_generation_prompt` off). llama.cpp, Ollama and others go
on whenever the last message is the assistant's; some repeat it first. Servers of the third kind
open a new turn, which is another text: there a strategy that needs continuations is refused.

The question is cut inside a word. What goes on must begin with the rest of that word, and a new
turn does not: it would begin the word, or the sentence, again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal

from dwell.errors import UsageError
from dwell.records import Context
from dwell.requests import Generate

#: "flags" as vLLM and SGLang, "prefill" as llama.cpp and Ollama.
Continuation = Literal["flags", "prefill"]

FIELDS: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "flags": MappingProxyType(
            {"continue_final_message": True, "add_generation_prompt": False}
        ),
        "prefill": MappingProxyType({}),
    }
)

#: Tokens that an answer to the probe may have.
_MOST_TOKENS = 8
_UNFINISHED = "As every child at our school learns, the capital of France is the city of Par"
_REST = "is"

PROBE = Generate(
    Context(
        messages=(("user", "What is the capital of France? Answer in one sentence."),),
        partial=_UNFINISHED,
    ),
    max_tokens=_MOST_TOKENS,
    temperature=0.0,
)


@dataclass(frozen=True, slots=True)
class Found:
    """A way to continue that works.

    Attributes:
        way: its name.
        repeats: whether the server repeats the unfinished text before its continuation.
    """

    way: Continuation
    repeats: bool = False


def judge(way: Continuation, text: str) -> Found | None:
    """Whether a reply to the probe goes on with the text; None where it began anew."""
    if text.startswith(_REST):
        return Found(way)
    if text.startswith(_UNFINISHED + _REST):
        return Found(way, repeats=True)
    return None


def check_continuation(value: str | None, api: str) -> Found | None:
    """The way that a user declares.

    Raises:
        UsageError: it is none of those known, or not about a chat.
    """
    if value is None:
        return None
    if value not in FIELDS or api != "chat":
        raise UsageError(
            f'`continuation` must be one of {", ".join(FIELDS)} and is for api="chat", but got '
            f'continuation={value!r} with api="{api}". Leave it out.'
        )
    return Found(value)  # type: ignore[arg-type]
