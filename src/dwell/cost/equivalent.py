"""Equivalent FLOPs: operations and memory access on one scale (Kinetics, Sadhukhan et al., 2025).

`eFLOPs = compute + I memory`, I being FLOPs in the time of one byte. Weights' traffic is spread
over a large batch and left out unless asked for, and so is reading the prompt. Contexts are summed
as areas (`o^2 / 2`, not `o (o + 1) / 2`), as in the paper. Two comparisons at equal compute:
how much inference a smaller model buys, and how many short samples one long chain costs.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from dwell.cost.shape import ModelShape
from dwell.errors import UsageError

FloatArray = npt.NDArray[np.float64]

#: The paper's I: the 8-bit peak of a B200 over its bandwidth, 4500e12 / 8e12.
KINETICS_INTENSITY = 562.5
#: Peak FLOP/s by which the paper turns eFLOPs into seconds.
KINETICS_PEAK = 4500e12
#: Cache values in one layer and head, from which the paper derives its blocks: 16384 / budget.
_BLOCK_TOTAL = 16384


@dataclass(frozen=True, slots=True, kw_only=True)
class Equivalent:
    """A cost in equivalent FLOPs.

    Attributes:
        compute: FLOPs.
        memory: bytes, times the intensity.
    """

    compute: FloatArray
    memory: FloatArray

    @property
    def total(self) -> FloatArray:
        """Their sum."""
        return self.compute + self.memory

    @property
    def kinetics_seconds(self) -> FloatArray:
        """The paper's "B200 seconds": the sum over 4500 TFLOP/s."""
        return self.total / KINETICS_PEAK


def context_area(
    prompt_tokens: npt.ArrayLike, output_tokens: npt.ArrayLike, limit: int | None = None
) -> FloatArray:
    """Sum of the contexts of `o` tokens after `p` others, as an area.

    `p o + o^2 / 2`; with a limit B `B o - max(0, B - p)^2 / 2`, or the dense value where that is
    less (`p + o < B`). The exact sum of `min(B, p + t)` shows that the ramp is subtracted; code
    that adds it is wrong.
    """
    p, o = np.asarray(prompt_tokens, np.float64), np.asarray(output_tokens, np.float64)
    dense = p * o + o**2 / 2.0
    if limit is None:
        return np.asarray(dense, np.float64)
    ramp = np.maximum(0.0, limit - p) ** 2 / 2.0
    return np.where(p + o < limit, dense, limit * o - ramp)


def equivalent_flops(
    shape: ModelShape,
    prompt_tokens: npt.ArrayLike,
    output_tokens: npt.ArrayLike,
    samples: npt.ArrayLike = 1,
    *,
    intensity: float = KINETICS_INTENSITY,
    parameters: float | None = None,
    shared_prompt: bool = True,
    parameter_reads: bool = False,
    bytes_per_value: float = 2.0,
    bytes_per_weight: float = 2.0,
    block_top_k: int | None = None,
) -> Equivalent:
    """Equivalent FLOPs of N samples of one prompt.

    `compute = N (2 P o + 4 L H h K)`, `memory = 2 L G h b (p o + N o^2 / 2) I` with a shared
    prompt and `2 L G h b N K I` without, `K = p o + o^2 / 2`. Attention with a budget (see
    `ModelShape.with_attention_budget`) and windows sum `min(B, context)` and share nothing.

    Args:
        shape: the model.
        prompt_tokens: p, scalar or array.
        output_tokens: o of each sample, broadcast.
        samples: N, broadcast.
        intensity: I in FLOP/byte.
        parameters: P; None = the shape's active parameters.
        shared_prompt: whether the prompt's cache is read once for all samples.
        parameter_reads: whether each step also streams the weights, once for the N samples.
        bytes_per_value: b of the cache.
        bytes_per_weight: w.
        block_top_k: tokens that block-sparse attention keeps; adds the search over blocks of
            `16384 / B` tokens: `N floor((2p + o) / s) o L H h` FLOPs and
            `floor((2p + N o) / s) o L G h` bytes.

    Returns:
        Arrays of the broadcast shape.

    Raises:
        UsageError: the intensity is not above 0.
    """
    if not intensity > 0:
        raise UsageError(f"`intensity` must be above 0 FLOP/byte, but got {intensity}.")
    if block_top_k is not None:
        shape = shape.with_attention_budget(block_top_k)
    p, o, n = np.broadcast_arrays(*(np.asarray(v, np.float64) for v in
                                    (prompt_tokens, output_tokens, samples)))  # fmt: skip
    active = float(shape.active_parameters) if parameters is None else parameters
    recurrent = sum(b.count * b.mixer.state_flops for b in shape.blocks)
    compute = n * o * (2.0 * active + recurrent)
    moved = n * o * 2.0 * shape.state_bytes(bytes_per_value)
    if parameter_reads:
        moved = moved + o * bytes_per_weight * active
    for count, reach in shape.reaches():
        area = context_area(p, o, reach.limit)
        own = context_area(0.0, o, reach.limit)
        alone = reach.limit is not None or not shared_prompt
        read = n * area if alone else (area - own) + n * own
        compute = compute + count * reach.pair_flops * n * area
        moved = moved + count * reach.values * bytes_per_value * read
    if block_top_k is not None:
        flops, found = _block_search(shape, p, o, n, block_top_k)
        compute, moved = compute + flops, moved + found * bytes_per_value / 2.0
    return Equivalent(compute=np.asarray(compute), memory=np.asarray(intensity * moved))


def _block_search(
    shape: ModelShape, p: FloatArray, o: FloatArray, n: FloatArray, budget: int
) -> tuple[FloatArray, FloatArray]:
    """FLOPs and bytes of scoring the blocks' representatives."""
    size = _BLOCK_TOTAL / budget
    # A reach has 4 H h FLOPs a pair and 2 G h values a token; the search has a quarter and a half.
    heads = sum(count * reach.pair_flops / 4.0 for count, reach in shape.reaches())
    kv_heads = sum(count * reach.values / 2.0 for count, reach in shape.reaches())
    flops = n * np.floor((2 * p + o) / size) * o * heads
    return flops, np.floor((2 * p + n * o) / size) * o * kv_heads


def inference_multiplier(
    size_ratio: float, inference_per_training_token: float, *, verified: bool = False
) -> float:
    """How many times more inference a model may spend than one `size_ratio` times as large.

    Snell et al. (2024): with `X = 6 N D_pre` and `Y = 2 N D_inf` the larger model costs
    `M (X + Y)`, so the small one may use `M + 3 (M - 1) / R` times its own inference. Attention
    and memory are left out: use `equivalent_flops` where contexts are long.

    Args:
        size_ratio: M, at least 1.
        inference_per_training_token: `R = D_inf / D_pre`, above 0.
        verified: whether a verifier's passes cost as much again (`Y = 4 N D_inf`).
    """
    if size_ratio < 1 or inference_per_training_token <= 0:
        raise UsageError(
            "`size_ratio` must be at least 1 and `inference_per_training_token` above 0, but got "
            f"{size_ratio} and {inference_per_training_token}."
        )
    factor = 1.5 if verified else 3.0
    return size_ratio + factor * (size_ratio - 1) / inference_per_training_token


def samples_of_equal_flops(
    shape: ModelShape, chain_tokens: int, sample_tokens: int, prompt_tokens: int = 0
) -> float:
    """Short samples that cost the FLOPs of one long chain, `F(T) / F(l)`.

    F grows with the square of the length through attention, so this is more than `T / l`.
    """
    chain = shape.decode_flops(prompt_tokens, chain_tokens)
    return float(chain / shape.decode_flops(prompt_tokens, sample_tokens))
