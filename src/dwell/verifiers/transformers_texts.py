"""How a reward model is shown a problem and an answer, and where its head is read.

Every model was trained on one layout, and is good for no other:

| form | after each step stands | read at |
|---|---|---|
| "tag" | ` ки` and a newline (Math-Shepherd) | each tag |
| "steps" | `<extra_0>` (Qwen2.5-Math-PRM) or a newline (TRL, Skywork) | its last token |
| "outcome" | nothing | the conversation's last token |

References:
    Wang and others, "Math-Shepherd" (2023); Zhang and others, "The Lessons of Developing Process
    Reward Models in Mathematical Reasoning" (2025), for the separator `<extra_0>`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from dwell.records import Context

Form = Literal["tag", "steps", "outcome"]
FORMS: tuple[Form, ...] = ("tag", "steps", "outcome")


@dataclass(frozen=True, slots=True)
class Reading:
    """What is read for one candidate.

    Attributes:
        tokens: all of them.
        places: indices of the tokens at which the head is read, ascending; none where there is
            nothing to score.
    """

    tokens: tuple[int, ...]
    places: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """The layout of one model.

    Attributes:
        tokenizer: the model's.
        form: which of the forms.
        chat: whether its chat template renders the messages; else their texts are put together.
        separator: the text behind each step, which for the form "tag" has its tag as last token.
        delimiter: what ends a step in candidates.
        between: put between a prompt without blank at its end and the answer, without a template.
    """

    tokenizer: Any
    form: Form
    chat: bool
    separator: str
    delimiter: str
    between: str

    def read(self, context: Context, text: str) -> Reading:
        """What is read for an assistant's text in a context."""
        steps = [step for step in text.split(self.delimiter) if step.strip()]
        if not steps:
            return Reading((), ())
        if self.form == "outcome":
            return self._outcome(context, text)
        if self.form == "tag":
            return self._tagged(context, steps)
        return self._separated(context, steps)

    def _outcome(self, context: Context, text: str) -> Reading:
        if self.chat:
            messages = [*_messages(context), {"role": "assistant", "content": text}]
            whole = self.tokenizer.apply_chat_template(messages, tokenize=False)
            tokens = self._encode(whole)
        else:
            tokens = self._begin(self._prompt(context) + text)
        return Reading(tuple(tokens), (len(tokens) - 1,))

    def _tagged(self, context: Context, steps: Sequence[str]) -> Reading:
        """The text in one piece: a tag is the token that it was in training."""
        prompt = self._prompt(context)
        body = "\n".join(f"{step}{self.separator}" for step in steps)
        encode = self._encode if self.chat else self._begin
        tokens = encode(prompt + body)
        tag = self._encode(self.separator)[-1]
        first = min(len(encode(prompt)), len(tokens)) - 1
        places = [k for k in range(first, len(tokens)) if tokens[k] == tag]
        # a text that has the tag itself is not scored: its steps cannot be told apart
        return Reading(tuple(tokens), tuple(places) if len(places) == len(steps) else ())

    def _separated(self, context: Context, steps: Sequence[str]) -> Reading:
        """The steps one by one, so that no token straddles a separator."""
        prompt = self._prompt(context)
        tokens = self._encode(prompt) if self.chat else self._begin(prompt)
        separator = self._encode(self.separator)
        places = []
        for step in steps:
            tokens = [*tokens, *self._encode(step), *separator]
            places.append(len(tokens) - 1)
        return Reading(tuple(tokens), tuple(places))

    def _prompt(self, context: Context) -> str:
        if self.chat:
            rendered: str = self.tokenizer.apply_chat_template(
                _messages(context), tokenize=False, add_generation_prompt=True
            )
            return rendered
        text = "".join(text for _, text in context.messages)
        return text if not text or text[-1].isspace() else text + self.between

    def _encode(self, text: str) -> list[int]:
        found: list[int] = self.tokenizer.encode(text, add_special_tokens=False)
        return found

    def _begin(self, text: str) -> list[int]:
        """The tokens of a text with the token, if any, that the model wants first."""
        first = self.tokenizer.bos_token_id
        return [*([] if first is None else [first]), *self._encode(text)]


def _messages(context: Context) -> list[dict[str, str]]:
    return [{"role": role, "content": text} for role, text in context.messages]
