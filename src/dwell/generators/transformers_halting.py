"""Where a text that is being written halts: at a step's end or a stop text.

Texts are looked for in what the tokens spell, not in tokens: a delimiter may lie inside one
token or across several. So that not every token has to be spelled out, a text is looked at only
when a token comes that could complete one of the halts, because it has its last character.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from dwell.records import Status

#: Tokens of what came before that are spelled together with what is new: some tokenizers write
#: the first token of a text without its blank.
_BEFORE = 8
#: Stands for bytes that are no character yet; the character may be finished by the next token.
_UNFINISHED = "\ufffd"


@dataclass(frozen=True, slots=True)
class Halt:
    """A text halts here.

    Attributes:
        text: what was written, without the stop text, or with the delimiter of its step.
        status: "end" at a stop text, "step" at a delimiter.
    """

    text: str
    status: Status


class Speller:
    """Turns tokens into text, and finds where a text halts.

    Args:
        tokenizer: the model's.
        num_tokens: ids that the model can write.
    """

    def __init__(self, tokenizer: Any, num_tokens: int) -> None:
        self._tokenizer = tokenizer
        self._num_tokens = num_tokens
        self._completing: dict[str, frozenset[int]] = {}

    def text(self, before: Sequence[int], tokens: Sequence[int]) -> str:
        """What tokens spell after others."""
        start = list(before[-_BEFORE:])
        whole, known = self._spell([start + list(tokens), start])
        return whole[len(known) :]

    def completing(self, halts: Iterable[str]) -> frozenset[int]:
        """The tokens that can complete one of the texts."""
        return frozenset[int]().union(*(self._completing_one(text[-1]) for text in halts))

    def _completing_one(self, last: str) -> frozenset[int]:
        if last not in self._completing:
            self._completing[last] = frozenset(
                token
                for token, piece in enumerate(self._pieces)
                if last in piece or _UNFINISHED in piece
            )
        return self._completing[last]

    @cached_property
    def _pieces(self) -> list[str]:
        """What each token spells alone; spelled once for a model."""
        return self._spell([[token] for token in range(self._num_tokens)])

    def _spell(self, tokens: list[list[int]]) -> list[str]:
        found: list[str] = self._tokenizer.batch_decode(
            tokens, skip_special_tokens=True, clean_up_tokenization_spaces=False
        )
        return found


def find_halt(text: str, stops: Sequence[str], delimiter: str | None) -> Halt | None:
    r"""The first halt in a text, None if there is none.

    Args:
        text: what was written.
        stops: texts that end it, and are left out.
        delimiter: ends a step and is kept; None = steps are not looked for.

    Examples:
        >>> find_halt("1+2=3\n5", (), "\n")
        Halt(text='1+2=3\n', status='step')
    """
    found: list[tuple[int, Halt]] = []
    for stop in stops:
        if (place := text.find(stop)) >= 0:
            found.append((place, Halt(text[:place], "end")))
    if delimiter is not None and (place := text.find(delimiter)) >= 0:
        found.append((place, Halt(text[: place + len(delimiter)], "step")))
    return min(found, key=lambda pair: pair[0])[1] if found else None
