"""Recurrent and state-space mixers: a state of fixed size in place of keys and values.

FLOPs of a state are counted for each of its values: decay (1), the outer product that is added
(2), the sum that is read (2), and what the delta rule subtracts first (2). The convolution in
front of it keeps its last inputs, which count as state.
"""

from __future__ import annotations

from dwell.cost.layers import Mixer

_UPDATE, _READ, _DECAY, _DELTA = 2.0, 2.0, 1.0, 2.0


def mamba(
    *, width: int, inner: int, state: int, conv: int, rank: int, norms: int = 0, bias: int = 0
) -> Mixer:
    """Mamba's selective state space (Gu and Dao, 2023): `inner x state` values.

    Args:
        width: d.
        inner: channels, usually 2d.
        state: values kept for each channel.
        conv: length of the convolution.
        rank: rank of the step size's projection.
        norms: weights of norms on the projections (Jamba: `rank + 2 state`).
        bias: biases of the projections.
    """
    products = width * 2 * inner + inner * (rank + 2 * state) + rank * inner + inner * width
    return Mixer(
        kind="mamba",
        product_weights=products,
        # convolution with its bias, bias of the step size, A, D
        small_weights=inner * (conv + 1) + inner + inner * state + inner + norms + bias,
        state_values=inner * (state + conv),
        # the step size scales decay and input: one more each
        state_flops=inner * (state * (_DECAY + _UPDATE + _READ + 1) + 2.0 * conv),
    )


def mamba2(
    *,
    width: int,
    heads: int,
    head_size: int,
    state: int,
    groups: int,
    conv: int,
    norm: bool = True,
    bias: int = 0,
) -> Mixer:
    """Mamba-2 (Dao and Gu, 2024): one decay a head, `heads x head_size x state` values.

    Args:
        width: d.
        heads: heads.
        head_size: channels of a head.
        state: values kept for each channel.
        groups: groups of heads that share input and output projections of the state.
        conv: length of the convolution.
        norm: whether the output is normalised.
        bias: biases of the projections.
    """
    inner = heads * head_size
    mixed = inner + 2 * groups * state
    return Mixer(
        kind="mamba2",
        product_weights=width * (inner + mixed + heads) + inner * width,
        small_weights=mixed * (conv + 1) + 3 * heads + norm * inner + bias,
        state_values=inner * state + mixed * conv,
        state_flops=inner * state * (_DECAY + _UPDATE + _READ) + 2.0 * mixed * conv,
    )


def gated_delta(
    *, width: int, key_heads: int, value_heads: int, key_size: int, value_size: int, conv: int
) -> Mixer:
    """Gated delta rule (Yang et al., 2024; Qwen3-Next): `value_heads x key x value` values.

    Args:
        width: d.
        key_heads: heads of queries and keys.
        value_heads: heads of values, each with a state.
        key_size: a head's key.
        value_size: a head's value.
        conv: length of the convolution over queries, keys and values.
    """
    keys, values = key_heads * key_size, value_heads * value_size
    mixed = 2 * keys + values
    entries = value_heads * key_size * value_size
    return Mixer(
        kind="gated delta rule",
        product_weights=width * (mixed + values + 2 * value_heads) + values * width,
        small_weights=mixed * conv + 2 * value_heads + value_size,
        state_values=entries + mixed * conv,
        state_flops=entries * (_DECAY + _UPDATE + _READ + _DELTA) + 2.0 * mixed * conv,
    )


def lightning(*, width: int, heads: int, head_size: int) -> Mixer:
    """Linear attention with a fixed decay (MiniMax-01, 2025): `heads x h x h` values.

    Args:
        width: d.
        heads: H.
        head_size: h.
    """
    inner, entries = heads * head_size, heads * head_size**2
    return Mixer(
        kind="lightning attention",
        product_weights=width * inner * 4 + inner * width,
        small_weights=inner,
        state_values=entries,
        state_flops=entries * (_DECAY + _UPDATE + _READ),
    )


def gated_recurrence(*, width: int, inner: int, heads: int, conv: int) -> Mixer:
    """RG-LRU with its convolution and gate (Griffin, De et al., 2024): `inner` values.

    Args:
        width: d.
        inner: channels of the recurrence.
        heads: blocks of its two diagonal gates.
        conv: length of the convolution.
    """
    gates = 2 * inner * (inner // heads)
    return Mixer(
        kind="gated recurrence",
        product_weights=3 * width * inner + gates,
        # three biases of projections, the convolution with its own, the gates' biases, the rates
        small_weights=2 * inner + width + inner * (conv + 1) + 2 * inner + inner,
        state_values=inner * conv,  # the state, and the convolution's last conv - 1 inputs
        state_flops=inner * (_DECAY + _UPDATE + 2.0 * conv),
    )


def rwkv(*, width: int, inner: int) -> Mixer:
    """RWKV-4's time mixing (Peng et al., 2023): five values for each channel.

    Args:
        width: d.
        inner: channels of keys, values and receptance.
    """
    return Mixer(
        kind="rwkv",
        product_weights=4 * width * inner,
        small_weights=2 * inner + 3 * width,  # decay, first, and three mixing vectors
        state_values=2 * width + 3 * inner,  # last inputs of both mixings; numerator, sum, maximum
        state_flops=12.0 * inner,
    )
