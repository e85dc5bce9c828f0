"""Keys and values of texts that were read before, for texts that begin with the same tokens.

Questions of a study often share a long instruction, and a search continues what it has written,
so most of a prompt need not be read again. Rows of a batch know unequal shares of their prompts:
every row is padded on the left, once before what it knows and once before what it must still
read, and the attention mask hides both. That holds for attention over everything that came
before and is told where tokens stand; models with windows or recurrent states, or that count
places themselves (MPT), read their prompts whole.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from inspect import signature
from typing import Any

import numpy as np
import torch
from transformers.cache_utils import DynamicCache

from dwell.generators.transformers_cache import is_plain, let_grow

#: Positions read in one forward pass, all rows together.
_MOST_POSITIONS = 16384
#: A shorter common beginning is not worth assembling a batch for.
_SHORTEST = 4

Tokens = tuple[int, ...]
#: `[heads, T, head size]` keys and values of each layer, for T tokens.
Layers = list[tuple[Any, Any]]


class Prefixes:
    """Reads the beginnings of prompts and remembers them, the latest first.

    Args:
        model: the network.
        pad: a token to fill places that nothing attends to.
        most_tokens: positions that are kept.
    """

    def __init__(self, model: Any, pad: int, most_tokens: int) -> None:
        self._model = model
        self._pad = pad
        # padding inside a row would move tokens apart for a model that counts places itself
        told = "position_ids" in signature(model.base_model.forward).parameters
        self._most = most_tokens if told else 0
        self._known: OrderedDict[Tokens, tuple[np.ndarray, Layers]] = OrderedDict()
        self._size = 0
        #: Tokens that were read, and tokens that did not have to be.
        self.read_tokens = 0
        self.saved_tokens = 0

    def clear(self) -> None:
        """Forgets everything."""
        self._known.clear()
        self._size = 0

    def read(self, heads: Sequence[Tokens]) -> tuple[Any, Any]:
        """Reads token sequences, the parts that are known left out.

        Args:
            heads: U sequences, some of them perhaps empty.

        Returns:
            The model's cache with U rows, and the `[U, W]` mask of its places in use.
        """
        found = [self._longest(head) for head in heads]
        cache = DynamicCache(config=self._model.config)
        mask = self._load(cache, [(length, layers) for length, layers in found])
        rests = [head[length:] for head, (length, _) in zip(heads, found, strict=True)]
        mask = self._read_rest(cache, mask, heads, rests)
        for row, (head, rest) in enumerate(zip(heads, rests, strict=True)):
            if rest:
                self.keep(head, cache, row, mask[row])
        let_grow(cache)
        return cache, mask

    def keep(self, tokens: Tokens, cache: Any, row: int, mask: Any) -> None:
        """Remembers what a row of a cache knows.

        Args:
            tokens: what was read in this row, as many as the mask has places in use.
            cache: the batch's cache.
            row: which row.
            mask: `[W]` the row's places in use.
        """
        if tokens in self._known or not is_plain(cache) or len(tokens) > self._most:
            return
        used = mask.bool()
        layers = [(layer.keys[row][:, used], layer.values[row][:, used]) for layer in cache.layers]
        self._known[tokens] = (np.array(tokens, np.int64), layers)
        self._size += len(tokens)
        while self._size > self._most:
            oldest, _ = self._known.popitem(last=False)
            self._size -= len(oldest)

    def _longest(self, head: Tokens) -> tuple[int, Layers | None]:
        """How many tokens of a sequence are known, and what is known of them."""
        wanted = np.array(head, np.int64)
        best: tuple[int, Tokens | None] = (_SHORTEST - 1, None)
        for tokens, (known, _) in self._known.items():
            size = min(len(known), len(wanted))
            differ = known[:size] != wanted[:size]
            length = int(differ.argmax()) if differ.any() else size
            if length > best[0]:
                best = (length, tokens)
        length, name = best
        if name is None:
            return 0, None
        self._known.move_to_end(name)
        return length, [(k[:, :length], v[:, :length]) for k, v in self._known[name][1]]

    def _load(self, cache: Any, found: Sequence[tuple[int, Layers | None]]) -> Any:
        """Fills an empty cache with what is known, and returns the mask of it."""
        width = max(length for length, _ in found)
        mask = torch.zeros((len(found), width), dtype=torch.long, device=self._model.device)
        for row, (length, _) in enumerate(found):
            mask[row, width - length :] = 1
        some = next((layers for _, layers in found if layers is not None), None)
        if some is not None:
            for index, likes in enumerate(some):
                # of unequal head sizes in models with latent attention
                both = [
                    like.new_zeros((len(found), like.shape[0], width, like.shape[-1]))
                    for like in likes
                ]
                for row, (length, layers) in enumerate(found):
                    if layers is not None:
                        for array, states in zip(both, layers[index], strict=True):
                            array[row, :, width - length :] = states
                cache.update(*both, index)
        return mask

    def _read_rest(
        self, cache: Any, mask: Any, heads: Sequence[Tokens], rests: Sequence[Tokens]
    ) -> Any:
        """Feeds what is not known yet, and returns the mask with it."""
        longest = max(len(rest) for rest in rests)
        ids = torch.full((len(rests), longest), self._pad, dtype=torch.long)
        fresh = torch.zeros_like(ids)
        places = torch.zeros_like(ids)
        for row, (head, rest) in enumerate(zip(heads, rests, strict=True)):
            begin = longest - len(rest)
            ids[row, begin:] = torch.tensor(rest, dtype=torch.long)
            fresh[row, begin:] = 1
            places[row, begin:] = torch.arange(len(head) - len(rest), len(head))
            self.read_tokens += len(rest)
            self.saved_tokens += len(head) - len(rest)
        ids, fresh, places = (each.to(mask.device) for each in (ids, fresh, places))
        step = max(1, _MOST_POSITIONS // len(rests))
        for begin in range(0, longest, step):
            part = slice(begin, begin + step)
            mask = torch.cat([mask, fresh[:, part]], dim=1)
            self._model.base_model(
                input_ids=ids[:, part],
                attention_mask=mask,
                position_ids=places[:, part],
                past_key_values=cache,
                use_cache=True,
            )
        return mask
