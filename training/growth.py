"""Doubles the width of a policy without changing what it computes, to go on training from there.

Every hidden state `h` becomes `[h, h]`, every matrix `W` becomes two by two blocks
`[[W/2 + E, W/2 - E], [W/2 + F, W/2 - F]]`. The noise cancels on doubled inputs and breaks the
symmetry as soon as training moves the two halves apart (after Samragh and others, HyperCloning:
Scaling Smart: Accelerating Large Language Model Pre-training with Small Model Initialization,
2024). Heads double in number and keep their size, so rotary positions and the scale of scores
stay as they are.
"""

from __future__ import annotations

import torch
from torch import Tensor

from model import Policy, Shape

#: Size of the cancelling noise, relative to the root mean square of a matrix.
NOISE = 0.3


def grow(small: Policy, generator: torch.Generator) -> Policy:
    """Returns a policy of twice the width and the same function."""
    shape = small.shape
    large = Policy(Shape(width=2 * shape.width, hidden=2 * shape.hidden, layers=shape.layers))
    with torch.no_grad():
        large.embed.copy_(torch.cat([small.embed, small.embed], dim=-1))
        large.head.copy_(_wider(small.head, generator))
        large.qkv.copy_(_blocks(small.qkv, 3, generator))
        large.gate_up.copy_(_blocks(small.gate_up, 2, generator))
        large.out.copy_(_blocks(small.out, 1, generator))
        large.down.copy_(_blocks(small.down, 1, generator))
    return large


def _wider(weight: Tensor, generator: torch.Generator) -> Tensor:
    """Returns `[W/2 + E, W/2 - E]`."""
    noise = torch.randn(weight.shape, generator=generator) * weight.pow(2).mean().sqrt() * NOISE
    return torch.cat([weight / 2 + noise, weight / 2 - noise], dim=-1)


def _blocks(weight: Tensor, parts: int, generator: torch.Generator) -> Tensor:
    """Doubles stacked matrices that consist of `parts` equal blocks of rows."""
    doubled = [_wider(part, generator) for part in weight.chunk(parts, dim=-2) for _ in range(2)]
    return torch.cat(doubled, dim=-2)
