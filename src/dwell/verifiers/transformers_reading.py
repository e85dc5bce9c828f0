"""Reads many texts with a decoder and gives its final hidden states at chosen places.

The candidates of one problem begin alike, so what a group has in common is read once and its
keys and values are repeated for the rest of each. Equal texts are read once.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import torch
from transformers.cache_utils import DynamicCache

from dwell.torch_checkpoints import chunks
from dwell.verifiers.transformers_texts import Reading

#: Positions in one forward pass, padding included.
_MOST_POSITIONS = 16384


class Reader:
    """Gives hidden states.

    Args:
        decoder: the network without its head.

    Attributes:
        read_tokens: tokens that went through the network, padding left out.
    """

    def __init__(self, decoder: Any) -> None:
        self._decoder = decoder
        self.read_tokens = 0

    def states(self, readings: Mapping[Hashable, Sequence[Reading]]) -> dict[Reading, Any]:
        """Final hidden states `[K, d]` at the K places of each reading.

        Args:
            readings: by what they have in common, such as their problem; each has a place.
        """
        found: dict[Reading, Any] = {}
        rows: list[tuple[int, Reading]] = []
        for group in readings.values():
            unique = list(dict.fromkeys(group))
            # a first token at least, so that no row of the first pass is empty
            shared = max(1, common_length([reading.tokens for reading in unique]))
            rows += [(shared, reading) for reading in unique]
        # of similar length together, so that rows are padded little
        rows.sort(key=lambda row: (len(row[1].tokens), row[1].tokens))
        lengths = [len(reading.tokens) for _, reading in rows]
        for part in chunks(lengths, _MOST_POSITIONS):
            members = [rows[k] for k in part]
            found |= zip([reading for _, reading in members], self._pass(members), strict=True)
        return found

    def _pass(self, rows: Sequence[tuple[int, Reading]]) -> list[Any]:
        """Two forward passes: what rows share, then the rest of each."""
        heads = list(dict.fromkeys(reading.tokens[:shared] for shared, reading in rows))
        ids, mask, _ = self._padded(heads, left=True)
        cache = DynamicCache(config=self._decoder.config)
        first = self._run(ids, mask, cache)
        where = {head: place for place, head in enumerate(heads)}
        owner = [where[reading.tokens[:shared]] for shared, reading in rows]
        places = torch.tensor(owner, device=ids.device)
        cache.reorder_cache(places)
        rests = [reading.tokens[shared:] for shared, reading in rows]
        ids, after, counts = self._padded(rests, left=False)
        whole = torch.cat([mask[places], after], dim=1)
        second = self._run(ids, whole, cache) if ids.shape[1] else first
        self.read_tokens += sum(len(head) for head in heads) + sum(counts)
        width = first.shape[1]
        states = []
        for row, (shared, reading) in enumerate(rows):
            # the head's tokens stand at the right end of the first pass
            chosen = [
                first[owner[row], width - shared + place]
                if place < shared
                else second[row, place - shared]
                for place in reading.places
            ]
            states.append(torch.stack(chosen))
        return states

    def _run(self, ids: Any, mask: Any, cache: Any) -> Any:
        positions = (mask.cumsum(dim=1) - 1).clamp(min=0)[:, -ids.shape[1] :]
        return self._decoder(
            input_ids=ids,
            attention_mask=mask,
            position_ids=positions,
            past_key_values=cache,
            use_cache=True,
        ).last_hidden_state

    def _padded(
        self, rows: Sequence[tuple[int, ...]], *, left: bool
    ) -> tuple[Any, Any, list[int]]:
        """Token ids, mask and lengths of rows, padded on one side."""
        counts = [len(row) for row in rows]
        ids = torch.zeros((len(rows), max(counts)), dtype=torch.long)
        mask = torch.zeros_like(ids)
        for index, row in enumerate(rows):
            part = slice(max(counts) - len(row), None) if left else slice(len(row))
            ids[index, part] = torch.tensor(row)
            mask[index, part] = 1
        device = self._decoder.device
        return ids.to(device), mask.to(device), counts


def common_length(rows: Sequence[tuple[int, ...]]) -> int:
    """How many first tokens rows have in common, where at least one of each is left over.

    Of one row, its first token at most: the rest is not shared with any other.

    Examples:
        >>> common_length([(1, 2, 3, 4), (1, 2, 5)])
        2
    """
    least, most = min(rows), max(rows)
    shortest = min(len(row) for row in rows) - 1
    if len(rows) == 1:
        return min(1, shortest)
    same = next((k for k, (a, b) in enumerate(zip(least, most, strict=False)) if a != b), shortest)
    return min(same, shortest)
