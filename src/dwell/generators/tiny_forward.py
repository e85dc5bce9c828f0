"""The exact forward pass of an embedded model over new tokens and a key-value cache, in numpy.

Every product and every sum over more than one number is of integers that float32 (or, for the sum
of squares, float64) holds exactly; all else is elementwise. So the bits of a position depend on
its own tokens alone: not on the rows beside it, on padding, on how many tokens were fed at once or
on the number of threads. (Between kinds of processors numpy's `exp` may differ in its last bit.)
`tiny_exact` says how the scales are chosen. This module does not know jobs or sampling.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from dwell.errors import UsageError
from dwell.generators.tiny_exact import PROB_UNITS, ExactLayer, scale_model
from dwell.generators.tiny_weights import Doubles, Floats, TinyModel

Index = npt.NDArray[np.int64]

_HIDDEN_SCORE = np.float32(-1e9)  # exp of it is exactly 0
_HEAD_NORM = 4096.0  # a query's norm and a key's norm in integers are below it
_EXPONENT = np.int32(0x7F800000)  # the exponent's bits of a float32
_GROWTH = 32  # positions by which a cache grows
_EXACT_SQUARES = 2.0**53


class KeyValues:
    """Rounded keys and values of the rows of a batch.

    One array `[rows, 2 heads, capacity, head_dim]` a layer: the first `heads` of the second axis
    are keys, the rest values.
    """

    def __init__(self, model: TinyModel, rows: int) -> None:
        config = model.config
        self.rows = rows
        self.kinds = 2 * config.num_heads
        self.capacity = 0
        self.limit = config.max_positions
        self.layers: list[Floats] = [
            np.zeros((rows, self.kinds, 0, config.head_dim), np.float32)
            for _ in range(config.num_layers)
        ]
        self.flat: list[Floats] = []

    def reserve(self, length: int) -> None:
        """Makes room for `length` positions in every row."""
        if length <= self.capacity:
            return
        capacity = min(self.limit, -(-length // _GROWTH) * _GROWTH)
        for index, old in enumerate(self.layers):
            new = np.zeros((self.rows, self.kinds, capacity, old.shape[3]), np.float32)
            new[:, :, : self.capacity] = old
            self.layers[index] = new
        self.capacity = capacity
        self.flat = [layer.reshape(-1, layer.shape[3]) for layer in self.layers]

    def load(self, row: int, codes: Floats, length: int) -> None:
        """Puts the first `length` positions of saved codes into a row."""
        self.reserve(length)
        for layer, saved in zip(self.layers, codes, strict=True):
            layer[row, :, :length] = saved[:, :length]

    def save(self, row: int, length: int) -> Floats:
        """Returns the first `length` positions of a row: `[layers, 2 heads, length, head_dim]`."""
        codes = np.empty(
            (len(self.layers), self.kinds, length, self.layers[0].shape[3]), np.float32
        )
        for layer, saved in zip(self.layers, codes, strict=True):
            saved[...] = layer[row, :, :length]
        return codes

    def move(self, source: int, target: int, length: int) -> None:
        """Copies the first `length` positions of one row over another's."""
        for layer in self.layers:
            layer[target, :, :length] = layer[source, :, :length]


class _Buffers:
    """Work space for `rows` positions at once: views of larger work space if that is given."""

    def __init__(self, model: TinyModel, rows: int, larger: _Buffers | None = None) -> None:
        config = model.config
        width, inner, heads = config.width, config.inner, 2 * config.num_heads
        self.arrays: dict[str, Any] = {
            name: np.empty((rows, columns), kind) if larger is None else larger.arrays[name][:rows]
            for name, columns, kind in (
                ("residual", width, np.float32),
                ("double", width, np.float64),
                ("codes", width, np.float32),
                ("squares", 2 * config.num_layers + 1, np.float64),
                ("qkv", 3 * width, np.float32),
                ("rounded", 2 * width, np.float32),
                ("mixed", width, np.float32),
                ("update", width, np.float32),
                ("gate", inner, np.float32),
                ("up", inner, np.float32),
                ("exp", inner, np.float32),
                ("wide", inner, np.float64),
            )
        }
        self.residual: Floats = self.arrays["residual"]
        self.double: Doubles = self.arrays["double"]
        self.codes: Floats = self.arrays["codes"]
        self.squares: Doubles = self.arrays["squares"].reshape(-1, rows)  # one row a norm
        self.qkv: Floats = self.arrays["qkv"]
        self.query_key: Floats = self.qkv[:, : 2 * width]
        self.turned = self.query_key.view(np.complex64)
        self.value: Floats = self.qkv[:, 2 * width :]
        self.heads = self.query_key.reshape(rows, heads, config.head_dim)
        self.query = self.heads[:, : config.num_heads]
        self.key_value = self.qkv[:, width:].reshape(rows, heads, config.head_dim)
        self.rounded: Floats = self.arrays["rounded"]
        self.mixed: Floats = self.arrays["mixed"]
        self.update: Floats = self.arrays["update"]
        self.gate: Floats = self.arrays["gate"]
        self.up: Floats = self.arrays["up"]
        self.exp: Floats = self.arrays["exp"]
        self.wide: Doubles = self.arrays["wide"]


class Forward:
    """A model's forward pass, with its scaled matrices and work space.

    Attributes:
        model: the model.
        exact: its scaled matrices.
    """

    def __init__(self, model: TinyModel) -> None:
        self.model = model
        self.exact = scale_model(model)
        self._buffers: dict[int, _Buffers] = {}
        self._largest = 0
        self._scores: Floats = np.empty(0, np.float32)
        self._log_units = np.float32(math.log(self.exact.exp_units))

    def new_cache(self, rows: int) -> KeyValues:
        """Returns an empty cache for a batch of at most `rows` rows."""
        return KeyValues(self.model, rows)

    def run(self, tokens: Index, starts: Index, cache: KeyValues) -> Floats:
        """Feeds tokens to the first rows of a cache and returns the final states.

        Rows of unequal length are padded at their end with any token: what follows a row's end
        changes nothing before it, and is overwritten when the row goes on.

        Args:
            tokens: `[B, T]` ids; row b goes into row b of the cache.
            starts: `[B]` positions of the first token of each row; the cache holds all before it.
            cache: keys and values; those of the new tokens are added.

        Returns:
            `[B * T, d]` float32: normalised final states in integers (`head_units` per unit),
            valid until the next call.

        Raises:
            UsageError: the residual stream left the range in which sums are exact.
        """
        rows, length = tokens.shape
        config, exact = self.model.config, self.exact
        buffers = self._buffers_for(rows * length)
        positions = starts[:, None] + np.arange(length)
        span = int(starts.max()) + length
        cache.reserve(span)
        # the padding of a row that starts late may run past the context; it then falls on the
        # last position, which is no part of what is read before a prompt's last token
        np.minimum(positions, cache.limit - 1, out=positions)
        span = min(span, cache.limit)
        places = positions.ravel()
        heads = np.arange(rows * cache.kinds).reshape(rows, 1, cache.kinds)
        cells = (heads * cache.capacity + positions[:, :, None]).reshape(-1, cache.kinds)
        mask = _mask(positions, span)
        exact.embedding.take(tokens.ravel(), axis=0, out=buffers.residual)
        shape = (rows, length, config.num_heads, config.head_dim)
        layers = zip(exact.layers, cache.flat, cache.layers, strict=True)
        for index, (layer, flat, slab) in enumerate(layers):
            self._normalise(buffers, 2 * index, layer.attn_units)
            self._project(layer, buffers, places)
            flat[cells] = buffers.key_value
            self._attend(layer, buffers, slab[:rows, :, :span], mask, shape)
            self._normalise(buffers, 2 * index + 1, layer.ff_units)
            self._feed_forward(layer, buffers)
        self._normalise(buffers, 2 * config.num_layers, exact.head_units)
        if buffers.squares.max() >= _EXACT_SQUARES:
            raise UsageError("the embedded model's residual stream is too large for exact sums.")
        return buffers.codes

    def logits(self, states: Floats) -> Floats:
        """Returns `[B, V]` logits of final states as `run` returns them (or rows of them)."""
        return states @ self.exact.head

    def hidden(self, states: Floats) -> Floats:
        """Returns final states in true units: what the output head reads, `[B, d]`."""
        return states * np.float32(1.0 / self.exact.head_units)

    def _buffers_for(self, rows: int) -> _Buffers:
        if rows > self._largest:
            self._largest = rows
            self._buffers = {rows: _Buffers(self.model, rows)}
        if rows not in self._buffers:
            larger = self._buffers[self._largest]
            self._buffers[rows] = _Buffers(self.model, rows, larger)
        return self._buffers[rows]

    def _normalise(self, buffers: _Buffers, index: int, units: float) -> None:
        """RMSNorm, rounded to integers: rint(units * x / sqrt(mean x^2 + eps))."""
        width, residual_units = self.model.config.width, self.exact.residual_units
        squares = buffers.squares[index]
        _squared_norms(buffers.residual, buffers.double, squares)
        scale = squares + self.model.config.norm_eps * width * residual_units**2
        np.sqrt(scale, out=scale)
        np.divide(units * math.sqrt(width), scale, out=scale)
        np.multiply(buffers.residual, scale.astype(np.float32)[:, None], out=buffers.codes)
        np.rint(buffers.codes, out=buffers.codes)

    def _project(self, layer: ExactLayer, buffers: _Buffers, places: Index) -> None:
        """Queries, keys and values of the new tokens, rotated and rounded."""
        np.matmul(buffers.codes, layer.query_key_value, out=buffers.qkv)
        np.multiply(buffers.turned, layer.rotation.take(places, axis=0), out=buffers.turned)
        self._round_heads(layer, buffers)
        np.multiply(buffers.value, layer.value_units, out=buffers.value)
        np.rint(buffers.value, out=buffers.value)

    def _round_heads(self, layer: ExactLayer, buffers: _Buffers) -> None:
        """Rounds every query and key to the finest power of two for which scores are exact.

        Each is rounded once, coarsely, to find its norm exactly; 6 is twice what that rounding can
        hide of the norm and what the second one can add to it.
        """
        rounded, dim = buffers.rounded, self.model.config.head_dim
        np.rint(buffers.query_key, out=rounded)
        heads = rounded.reshape(buffers.heads.shape)
        norms = np.sqrt(np.einsum("ijk,ijk->ij", heads, heads))
        np.add(norms, np.float32(6.0), out=norms)
        below = (norms.view(np.int32) & _EXPONENT).view(np.float32)  # norms, down to a power of 2
        np.multiply(below, np.float32(2.0 / _HEAD_NORM), out=below)
        np.divide(buffers.query_key, below.repeat(dim, axis=1), out=rounded)
        np.rint(rounded, out=rounded)
        np.multiply(below, layer.score_steps, out=below)
        np.multiply(rounded, below.repeat(dim, axis=1), out=buffers.query_key)

    def _attend(
        self,
        layer: ExactLayer,
        buffers: _Buffers,
        slab: Floats,
        mask: Floats | None,
        shape: tuple[int, int, int, int],
    ) -> None:
        """Softmax attention with integer weights, added to the residual stream."""
        rows, length, heads, _ = shape
        span = slab.shape[2]
        size = rows * heads * length * span
        if self._scores.size < size:
            self._scores = np.empty(size + size // 4, np.float32)
        flat = self._scores[:size].reshape(-1, span)
        scores = flat.reshape(rows, heads, length, span)
        query = buffers.query.reshape(shape).transpose(0, 2, 1, 3)
        np.matmul(query, slab[:, :heads].transpose(0, 1, 3, 2), out=scores)
        if mask is not None:
            np.add(scores, mask, out=scores)
        top = np.maximum.reduce(flat, axis=1, keepdims=True)
        np.subtract(top, self._log_units, out=top)
        np.subtract(flat, top, out=flat)
        np.exp(flat, out=flat)
        np.rint(flat, out=flat)
        ones = np.ones(span, np.float32)
        np.multiply(flat, (np.float32(PROB_UNITS) / (flat @ ones))[:, None], out=flat)
        np.rint(flat, out=flat)
        share = layer.mixture_units / (flat @ ones).reshape(rows, heads, length)
        mixed = scores @ slab[:, heads:]
        np.multiply(mixed, share[..., None], out=mixed)
        np.rint(mixed, out=buffers.mixed.reshape(shape).transpose(0, 2, 1, 3))
        np.matmul(buffers.mixed, layer.output, out=buffers.update)
        np.multiply(buffers.update, np.float32(layer.output_steps), out=buffers.update)
        np.rint(buffers.update, out=buffers.update)
        np.add(buffers.residual, buffers.update, out=buffers.residual)

    def _feed_forward(self, layer: ExactLayer, buffers: _Buffers) -> None:
        """SwiGLU: x + W_down (silu(W_gate x) * (W_up x)); the gate's matrix is negated."""
        gate, up, exp = buffers.gate, buffers.up, buffers.exp
        np.matmul(buffers.codes, layer.gate, out=gate)
        np.matmul(buffers.codes, layer.up, out=up)
        np.exp(gate, out=exp)  # infinite for a very negative gate, where silu is 0 all the same
        np.add(exp, np.float32(1.0), out=exp)
        np.multiply(gate, up, out=up)
        np.divide(up, exp, out=up)
        np.rint(up, out=up)
        norms = np.empty(len(up), np.float64)
        _squared_norms(up, buffers.wide, norms)
        np.sqrt(np.maximum(norms, 1.0, out=norms), out=norms)
        scale = np.divide(layer.down_norm, norms, out=norms).astype(np.float32)[:, None]
        np.multiply(up, scale, out=up)
        np.rint(up, out=up)
        np.matmul(up, layer.down, out=buffers.update)
        np.divide(buffers.update, scale, out=buffers.update)
        np.rint(buffers.update, out=buffers.update)
        np.add(buffers.residual, buffers.update, out=buffers.residual)


def _squared_norms(integers: Floats, work: Doubles, out: Doubles) -> None:
    """Writes the sum of squares of each row, exact in float64: `[B]`."""
    work[...] = integers
    np.matmul(work[:, None, :], work[:, :, None], out=out[:, None, None])


def _mask(positions: Index, span: int) -> Floats | None:
    """Returns what hides later positions, `[B, 1, T, span]`; None if there are none."""
    if positions.shape[1] == 1 and positions.min() == span - 1:
        return None
    later = np.arange(span) > positions[:, :, None]
    return np.where(later, _HIDDEN_SCORE, np.float32(0.0))[:, None]
