"""An embedded model's matrices, scaled so that every sum of a forward pass is exact in float32.

Why: a draw must come out the same whatever it is batched with and however its prefix was
computed, but float products of different shapes add in different orders and so round differently.
Sums of integers below 2^24 do not round in float32 at all, in any order, blocking or threading. So
all that enters a product is an integer (times a power of two, which changes nothing):

* a matrix row is 8-bit codes `q` times a power of two (`tiny_weights.row_codes`);
* the input of a product is rounded to integers `a`. By Cauchy-Schwarz every partial sum of
  ``sum_k a_k q_k`` is at most ``|a| |q|``, so `a` may be as fine as ``|a| max_row |q| < 2^24``
  allows. After RMSNorm ``|x| <= sqrt(d)``, which makes the scale of `a` a constant: the largest
  power of two that fits. It is folded into the weights, so that the product comes out in true
  units;
* values are bounded by the norms of their matrix's rows, which gives them a constant scale too. So
  are queries and keys by the spectral norm of their head's matrix; that bound serves to find
  the norm of each exactly, and each is then rounded by a power of two of its own. Their product
  is a sum over one query and one key only, so that such powers leave it exact;
* attention weights are integers that sum to about 4096;
* only the input of the last matrix of a block has no useful bound. It is rounded twice: to a fixed
  fine grid, on which its norm is found exactly, and then by that norm to what the product allows.

This module computes the scales; `tiny_forward` runs them. Rounding to about 11 bits moves the
logits by a few thousandths; the network so rounded *is* the embedded model.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from dwell.errors import UsageError
from dwell.generators.tiny_weights import Doubles, Floats, TinyModel, row_codes

Rotation = npt.NDArray[np.complex64]

EXACT = float(2**24)  # float32 holds every integer up to here
SLACK = 1.0 + 1e-5  # more than what rounding in elementwise float32 steps can add
PROB_UNITS = 4096.0  # attention weights are integers that sum to about this
_RESIDUAL_BITS = 11  # the residual stream is kept in units of 2^-11 of an embedding's size
_FINE_NORM = 2.0**26  # squares up to its square add exactly in float64


@dataclass(frozen=True, slots=True, kw_only=True)
class ExactLayer:
    """One block, ready to multiply: all matrices `[in, out]` float32 with their scales folded in.

    Attributes:
        attn_units: integers per unit of the normalised input of `query_key_value`.
        query_key_value: `[d, 3 d]`; in the heads of queries and keys the halves are interleaved,
            so that RoPE is a complex product.
        rotation: `[max_positions, d]` complex64: RoPE for queries and for keys, into codes.
        score_steps: `[2 heads]` powers of two: for the query heads what a query's unit times a
            key's unit is worth, for the key heads 1.
        value_units: `[d]` codes per unit of a value, equal within a head.
        mixture_units: `[heads, 1]` units of `output`'s input per code of a value.
        output_steps: what an integer in the input of `output` is worth.
        output: `[d, d]`, into units of the residual stream.
        ff_units: integers per unit of the normalised input of `gate` and `up`.
        gate: `[d, f]`, negated.
        up: `[d, f]`, into units of the fine grid.
        down_norm: the largest norm of integers that may enter `down`.
        down: `[f, d]`, negated, from fine units into units of the residual stream.
    """

    attn_units: float
    query_key_value: Floats
    rotation: Rotation
    score_steps: Floats
    value_units: Floats
    mixture_units: Floats
    output_steps: float
    output: Floats
    ff_units: float
    gate: Floats
    up: Floats
    down_norm: float
    down: Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class ExactModel:
    """A whole model, ready to multiply.

    Attributes:
        residual_units: integers per unit of the residual stream, a power of two.
        embedding: `[V, d]` integers in those units.
        layers: the blocks.
        head_units: integers per unit of the last normalised state.
        head: `[d, V]`.
        exp_units: the largest integer that exp(score - max) becomes; 256 of them add exactly.
    """

    residual_units: float
    embedding: Floats
    layers: tuple[ExactLayer, ...]
    head_units: float
    head: Floats
    exp_units: float


class _Coded:
    """One matrix as integer codes and a power of two per row."""

    def __init__(self, model: TinyModel, name: str) -> None:
        self.name = name
        codes, steps = row_codes(model.tensors[name], name)
        self.codes: Doubles = codes.astype(np.float64)
        self.steps = steps

    @property
    def true(self) -> Doubles:
        """The matrix itself, `[out, in]`."""
        return self.codes * self.steps[:, None]

    def largest_norm(self) -> float:
        """The largest Euclidean norm of a row of codes."""
        return math.sqrt(float((self.codes**2).sum(axis=1).max()))

    def fold(self, factor: float) -> Floats:
        """Returns `[in, out]` float32 of the matrix times a power of two: exact."""
        return np.ascontiguousarray((self.true * factor).T.astype(np.float32))


def scale_model(model: TinyModel) -> ExactModel:
    """Returns the model's matrices with all scales chosen and folded in.

    Raises:
        UsageError: a matrix is not 8-bit codes times powers of two.
    """
    config = model.config
    embedding = model.tensors["model.embed_tokens.weight"].astype(np.float64)
    size = math.sqrt(float(np.mean(embedding[model.sampleable] ** 2)))
    residual_units = 2.0 ** (_RESIDUAL_BITS - math.floor(math.log2(max(size, 1e-6))))
    head = _Coded(model, "lm_head.weight")
    head_units = _input_units(config.width, head)
    return ExactModel(
        residual_units=residual_units,
        embedding=np.rint(embedding * residual_units).astype(np.float32),
        layers=tuple(_scale_layer(model, k, residual_units) for k in range(config.num_layers)),
        head_units=head_units,
        head=head.fold(1.0 / head_units),
        exp_units=_power_below(EXACT / 2 / config.max_positions),
    )


def _scale_layer(model: TinyModel, index: int, residual_units: float) -> ExactLayer:
    config, prefix = model.config, f"model.layers.{index}."
    width, dim = config.width, config.head_dim
    query, key, value, output = (
        _Coded(model, f"{prefix}self_attn.{part}_proj.weight") for part in "qkvo"
    )
    gate, up, down = (
        _Coded(model, f"{prefix}mlp.{part}_proj.weight") for part in ("gate", "up", "down")
    )
    attn_units = _input_units(width, query, key, value)
    ff_units = _input_units(width, gate, up)
    norm = _input_norm(width, attn_units) / attn_units
    norm_ff = _input_norm(width, ff_units) / ff_units
    rounding = math.sqrt(dim) / 2

    key_bound = _head_norms(key, dim) * norm
    query_bound = _head_norms(query, dim) * norm / math.sqrt(dim)
    # codes times codes in powers of two, shared so that both have the same largest norm
    code_norm = math.sqrt(EXACT) - rounding
    score_units = _powers_below(code_norm**2 / (key_bound * query_bound))
    key_units = np.sqrt(score_units * query_bound / key_bound)
    # sum of attention weights: PROB_UNITS, plus the rounding of every weight
    value_limit = EXACT / (PROB_UNITS + config.max_positions / 2) - 1.0
    value_rows = np.sqrt((value.true**2).sum(axis=1)).reshape(-1, dim).max(axis=1) * norm
    value_units = value_limit / np.maximum(value_rows, 1e-12) / SLACK
    # a mixture of values is no longer than the longest of them
    mixed = float(np.linalg.norm(_head_norms(value, dim) * norm + rounding / value_units))
    output_units = (EXACT / output.largest_norm() - math.sqrt(width) / 2) / mixed / SLACK
    gate_rows, up_rows = (np.sqrt((matrix.true**2).sum(axis=1)) for matrix in (gate, up))
    inner_bound = float(np.linalg.norm(gate_rows * up_rows)) * norm_ff**2
    fine_units = _power_below((_FINE_NORM - math.sqrt(config.inner)) / inner_bound)
    return ExactLayer(
        attn_units=attn_units,
        query_key_value=np.concatenate(
            [
                _interleaved(query.fold(1.0 / attn_units), dim),
                _interleaved(key.fold(1.0 / attn_units), dim),
                value.fold(1.0 / attn_units),
            ],
            axis=1,
        ),
        rotation=_rotation(model, score_units / key_units / math.sqrt(dim), key_units),
        score_steps=np.concatenate([1.0 / score_units, np.ones_like(score_units)]).astype(
            np.float32
        ),
        value_units=np.repeat(value_units, dim).astype(np.float32),
        mixture_units=(output_units / value_units).astype(np.float32)[:, None],
        output_steps=1.0 / output_units,
        output=output.fold(residual_units),
        ff_units=ff_units,
        gate=gate.fold(-1.0 / ff_units),
        up=up.fold(fine_units / ff_units),
        down_norm=EXACT / max(down.largest_norm(), 1.0) / SLACK - math.sqrt(config.inner) / 2,
        down=down.fold(-residual_units / fine_units),  # the block computes -silu(gate) * up
    )


def _input_norm(width: int, units: float) -> float:
    """Bound on the norm of a rounded, normalised input in its integer units."""
    return units * math.sqrt(width) * SLACK + math.sqrt(width) / 2


def _input_units(width: int, *matrices: _Coded) -> float:
    """The largest power of two for which products with the matrices stay exact."""
    largest = max(matrix.largest_norm() for matrix in matrices)
    room = EXACT / max(largest, 1.0) - math.sqrt(width) / 2
    return _power_below(room / (math.sqrt(width) * SLACK))


def _head_norms(matrix: _Coded, dim: int) -> Doubles:
    """Spectral norm of each head's rows: a vector in gives at most so much out. `[heads]`."""
    heads = matrix.true.reshape(-1, dim, matrix.codes.shape[1])
    norms: Doubles = np.linalg.norm(heads, ord=2, axis=(1, 2)) * SLACK
    return np.maximum(norms, 1e-12)


def _powers_below(limits: Doubles) -> Doubles:
    powers: Doubles = np.exp2(np.floor(np.log2(limits)))
    return powers


def _power_below(limit: float) -> float:
    if limit <= 0:
        raise UsageError("a matrix of the embedded model is too large for exact sums.")
    return 2.0 ** math.floor(math.log2(limit))


def _interleaved(matrix: Floats, dim: int) -> Floats:
    """Returns `[d, d]` with column i of a head beside column i + dim / 2.

    RoPE as Hugging Face computes it rotates exactly these pairs, so that the product's output read
    as complex numbers is rotated by one multiplication.
    """
    order = np.arange(dim).reshape(2, -1).T.ravel()
    return matrix.reshape(len(matrix), -1, dim)[:, :, order].reshape(matrix.shape)


def _rotation(model: TinyModel, query_units: Doubles, key_units: Doubles) -> Rotation:
    """Returns the turn of every position times the units of every head."""
    config, dim = model.config, model.config.head_dim
    frequencies = config.rope_theta ** (-np.arange(0, dim, 2) / dim)
    turn = np.exp(1j * np.arange(config.max_positions)[:, None] * frequencies)
    parts = [
        (units[:, None] * turn[:, None]).reshape(len(turn), -1)
        for units in (query_units, key_units)
    ]
    return np.concatenate(parts, axis=1).astype(np.complex64)
