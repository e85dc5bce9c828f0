"""Contexts as tokens of a local model, by its own chat template where it has one."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from dwell.errors import UsageError
from dwell.records import Context

Template = Literal["chat", "plain"]


class Prompts:
    """Turns contexts into tokens.

    Args:
        tokenizer: the model's.
        folder: its checkpoint, for messages.
        num_tokens: tokens that the model can read.
        template: "chat" renders the messages by the tokenizer's chat template; "plain" puts
            their texts one after the other. None = "chat" where there is a template.
        options: further arguments of the chat template, such as ``{"enable_thinking": False}``.

    Attributes:
        template: the one in use.

    Raises:
        UsageError: "chat" without a chat template.
    """

    def __init__(
        self,
        tokenizer: Any,
        folder: Path,
        num_tokens: int,
        template: Template | None,
        options: Mapping[str, Any],
    ) -> None:
        has_one = bool(tokenizer.chat_template)
        if template not in (None, "chat", "plain") or (template == "chat" and not has_one):
            raise UsageError(
                '`template` must be "chat", for models with a chat template, or "plain", but got '
                f"{template!r} and {folder} has {'one' if has_one else 'none'}. Leave it out."
            )
        self._tokenizer = tokenizer
        self._folder = folder
        self._num_tokens = num_tokens
        self._options = dict(options)
        self.template: Template = template or ("chat" if has_one else "plain")

    def prompt(self, context: Context) -> str:
        """The text that comes before what the assistant has written."""
        if self.template == "plain":
            return "".join(text for _, text in context.messages)
        messages = [{"role": role, "content": text} for role, text in context.messages]
        rendered: str = self._tokenizer.apply_chat_template(
            messages, tokenize=False, add_generation_prompt=True, **self._options
        )
        return rendered

    def tokens(self, text: str) -> tuple[int, ...]:
        """The tokens of a prompt with what follows it.

        Raises:
            UsageError: a character that the model has no token for, or a token that it does not
                know.
        """
        # a chat template writes the special tokens of its beginning itself
        found = tuple(self._tokenizer.encode(text, add_special_tokens=self.template == "plain"))
        if self._tokenizer.unk_token_id in found or max(found, default=0) >= self._num_tokens:
            raise UsageError(
                f"a prompt must have only characters that the model in {self._folder} has tokens "
                f"for, but got {text[:60]!r}."
            )
        return found

    def tokens_of(self, text: str) -> tuple[int, ...]:
        """The tokens of a text that stands inside another; at least one.

        Raises:
            UsageError: the text is empty.
        """
        found = tuple(self._tokenizer.encode(text, add_special_tokens=False))
        if not found:
            raise UsageError(f"`closing` must be texts with a token, but got {text!r}.")
        return found

    def split(self, context: Context, text: str) -> tuple[tuple[int, ...], int]:
        """The tokens of a context's prompt and an assistant's text, and where the text begins.

        Where a token would straddle the border, it counts as the text's.

        Raises:
            UsageError: as `tokens`, or there is no token at all.
        """
        prompt = self.prompt(context)
        whole = self.tokens(prompt + text)
        if not whole:
            raise UsageError(
                f"a prompt must have a token for the model in {self._folder} to begin with, but "
                "it is empty. Ask something."
            )
        alone = self.tokens(prompt)
        pairs = zip(whole, alone, strict=False)
        same = next((k for k, (a, b) in enumerate(pairs) if a != b), min(len(whole), len(alone)))
        return whole, max(1, same)
