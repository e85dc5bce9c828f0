"""Keys and values of texts that an engine has read, found again by their tokens.

A prompt drawn from 64 times is read once; a partial text that is continued is not read again. What
is kept is bounded, and what was used least recently goes first. Since the arithmetic is exact, a
text gives the same bits whether its keys and values come from here or are computed anew.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import NamedTuple

from dwell.generators.tiny_weights import Floats


class Prefix(NamedTuple):
    """Saved keys and values; the first `length` positions are those of the prefix.

    Attributes:
        codes: `[layers, 2 heads, >= length, head_dim]`; None for the empty prefix.
        length: positions.
    """

    codes: Floats | None
    length: int


EMPTY = Prefix(None, 0)


class PrefixCache:
    """A store of at most `max_tokens` positions, least recently used first out.

    Every text is found by its whole length and by each of its beginnings up to a newline, because
    that is where texts are cut and continued, and the last token of a prompt is read apart.
    """

    def __init__(self, max_tokens: int, newline: int) -> None:
        self.max_tokens = max_tokens
        self.num_tokens = 0
        self._newline = newline
        self._saved: OrderedDict[bytes, Floats] = OrderedDict()
        self._owner: dict[bytes, bytes] = {}  # a beginning -> the saved text that has it

    def put(self, tokens: bytes, codes: Floats) -> None:
        """Saves the keys and values of a text, one byte per token."""
        if len(tokens) > self.max_tokens or not tokens:
            return
        if tokens in self._saved:
            self._saved.move_to_end(tokens)
            return
        self._saved[tokens] = codes
        self.num_tokens += len(tokens)
        for beginning in self._beginnings(tokens):
            self._owner[beginning] = tokens
        while self.num_tokens > self.max_tokens:
            self._drop_oldest()

    def longest(self, tokens: bytes) -> Prefix:
        """Returns the longest saved beginning of a text, possibly the empty one."""
        for length in range(len(tokens), 0, -1):
            owner = self._owner.get(tokens[:length])
            if owner is not None:
                self._saved.move_to_end(owner)
                return Prefix(self._saved[owner], length)
        return EMPTY

    def _beginnings(self, tokens: bytes) -> list[bytes]:
        cuts = [k for k, token in enumerate(tokens) if token == self._newline and k > 0]
        return [tokens[:cut] for cut in cuts] + [tokens]

    def _drop_oldest(self) -> None:
        tokens, _ = self._saved.popitem(last=False)
        self.num_tokens -= len(tokens)
        for beginning in self._beginnings(tokens):
            if self._owner.get(beginning) == tokens:
                del self._owner[beginning]
