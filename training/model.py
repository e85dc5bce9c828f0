"""The policy network in torch: a Llama without norm gains, trainable with fake quantisation.

Linear weights are kept as `q * 2**e` with an int8 code `q` and one exponent `e` per output
row, because the runtime does exact integer arithmetic. `quantise_rows` is that rounding; with
`fake_quantisation` on, the forward pass uses rounded weights and the gradient passes straight
through (Bengio, Leonard and Courville, Estimating or propagating gradients through stochastic
neurons, 2013), so that nothing is lost on export.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vocabulary import VOCABULARY_SIZE

HEAD_DIM = 32
ROPE_THETA = 10_000.0
NORM_EPSILON = 1e-6
CONTEXT = 256
CODE_LIMIT = 127


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """Sizes of one network: width `d`, feed-forward width `f`, number of layers."""

    width: int
    hidden: int
    layers: int = 4

    @property
    def heads(self) -> int:
        """Number of attention heads."""
        return self.width // HEAD_DIM


SHAPES = {
    "0.2m": Shape(width=64, hidden=176),
    "0.8m": Shape(width=128, hidden=352),
    "3m": Shape(width=256, hidden=704),
}


def row_exponents(weight: Tensor) -> Tensor:
    """Returns the smallest exponent `e` per row such that `|w| / 2**e <= 127`, `[..., out, 1]`."""
    peak = weight.abs().amax(dim=-1, keepdim=True).clamp_min(2.0**-16)
    return torch.ceil(torch.log2(peak / (CODE_LIMIT + 0.49)))


def quantise_rows(weight: Tensor) -> Tensor:
    """Returns the nearest `q * 2**e` with int8 `q`, one `e` per output row."""
    scale = torch.exp2(row_exponents(weight))
    return (weight / scale).round().clamp(-CODE_LIMIT, CODE_LIMIT) * scale


class Policy(nn.Module):
    """A decoder of stacked parameters: `[layers, out, in]` for each kind of matrix."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        n, d, f = shape.layers, shape.width, shape.hidden
        self.embed = nn.Parameter(torch.randn(VOCABULARY_SIZE, d) * 0.5)
        self.qkv = nn.Parameter(torch.randn(n, 3 * d, d) * d**-0.5)
        self.out = nn.Parameter(torch.zeros(n, d, d))
        self.gate_up = nn.Parameter(torch.randn(n, 2 * f, d) * d**-0.5)
        self.down = nn.Parameter(torch.zeros(n, d, f))
        self.head = nn.Parameter(torch.randn(VOCABULARY_SIZE, d) * 0.02)
        self.fake_quantisation = False
        inverse = ROPE_THETA ** (-torch.arange(0, HEAD_DIM, 2).float() / HEAD_DIM)
        angles = torch.outer(torch.arange(CONTEXT + 64).float(), inverse)
        angles = torch.cat([angles, angles], dim=-1)
        self.register_buffer("cos", angles.cos(), persistent=False)
        self.register_buffer("sin", angles.sin(), persistent=False)

    def weights(self, name: str) -> Tensor:
        """Returns a parameter, rounded where fake quantisation is on."""
        weight: Tensor = getattr(self, name)
        if not self.fake_quantisation:
            return weight
        return weight + (quantise_rows(weight) - weight).detach()

    def hidden(self, ids: Tensor, last_layer: int | None = None) -> Tensor:
        """Returns final normed hidden states `[B, T, d]` of token ids `[B, T]`.

        Rows are padded on the right, so the causal mask alone keeps padding out.
        """
        qkv, out = self.weights("qkv"), self.weights("out")
        gate_up, down = self.weights("gate_up"), self.weights("down")
        length = ids.shape[1]
        cos, sin = self.cos[:length], self.sin[:length]
        x = F.embedding(ids, self.embed)
        for k in range(last_layer or self.shape.layers):
            x = x + self._attend(_norm(x), qkv[k], out[k], cos, sin)
            gate, up = F.linear(_norm(x), gate_up[k]).chunk(2, dim=-1)
            x = x + F.linear(F.silu(gate) * up, down[k])
        return _norm(x)

    def logits(self, hidden: Tensor) -> Tensor:
        """Returns logits over the vocabulary."""
        return F.linear(hidden, self.weights("head"))

    def _attend(self, x: Tensor, qkv: Tensor, out: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        rows, length, width = x.shape
        split = F.linear(x, qkv).view(rows, length, 3, self.shape.heads, HEAD_DIM)
        query, key, value = split.permute(2, 0, 3, 1, 4)
        query, key = _rotate(query, cos, sin), _rotate(key, cos, sin)
        mixed = F.scaled_dot_product_attention(query, key, value, is_causal=True)
        return F.linear(mixed.transpose(1, 2).reshape(rows, length, width), out)


def _norm(x: Tensor) -> Tensor:
    return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + NORM_EPSILON)


def _rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    low, high = x.chunk(2, dim=-1)
    return x * cos + torch.cat([-high, low], dim=-1) * sin
