"""A cache that does not copy itself for every token.

The usual layer of transformers' cache puts a token's key and value behind the others by copying
all of them. With 16 rows of 500 tokens that is most of the work of writing a token with a small
model. This one keeps room behind them; it changes no number.
"""

from __future__ import annotations

from typing import Any

from transformers.cache_utils import DynamicLayer

#: Positions of room that are made at least, and as a share of what is there.
_ROOM, _SHARE = 32, 8


def is_plain(cache: Any) -> bool:
    """Whether all layers keep all positions, so that parts of them can be put together anew."""
    return all(type(layer) in (DynamicLayer, GrowingLayer) for layer in cache.layers)


def let_grow(cache: Any) -> None:
    """Puts growing layers in the place of usual ones, where a cache has only those."""
    if is_plain(cache):
        for layer in cache.layers:
            layer.__class__ = GrowingLayer


class GrowingLayer(DynamicLayer):  # type: ignore[misc]
    """A layer with room for further positions behind those in use.

    `keys` and `values`, `[B, heads, T, head size]`, are the part in use of larger arrays, until
    somebody puts other ones there, as a change of rows does.
    """

    _arrays: tuple[Any, Any] | None = None
    _parts: tuple[Any, Any] | None = None

    def update(
        self, key_states: Any, value_states: Any, *args: Any, **kwargs: Any
    ) -> tuple[Any, Any]:
        """Adds positions and returns all keys and values."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        used = self.get_seq_length()
        whole = used + key_states.shape[-2]
        if not self._has_room(whole):
            self._arrays = self._parts = None  # those of other rows need not outlive the copy
            self._make_room(used, whole, key_states, value_states)
        assert self._arrays is not None
        for array, states in zip(self._arrays, (key_states, value_states), strict=True):
            array[:, :, used:whole] = states
        self.keys, self.values = (array[:, :, :whole] for array in self._arrays)
        self._parts = (self.keys, self.values)
        return self._parts

    def _has_room(self, whole: int) -> bool:
        """Whether keys and values still are parts of the arrays, and these are long enough."""
        if self._arrays is None or self._parts is None or self.keys is not self._parts[0]:
            return False
        return bool(self._arrays[0].shape[2] >= whole)

    def _make_room(self, used: int, whole: int, key_states: Any, value_states: Any) -> None:
        length = whole + max(_ROOM, whole // _SHARE)
        made = []
        for states, old in ((key_states, self.keys), (value_states, self.values)):
            batch, heads, _, size = states.shape
            array = states.new_empty((batch, heads, length, size))
            if used:
                array[:, :, :used] = old
            made.append(array)
        self._arrays = (made[0], made[1])
