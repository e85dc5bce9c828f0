"""Muon for stacks of matrices: momentum, orthogonalised by a Newton-Schulz iteration.

Keller Jordan and others, Muon: an optimizer for hidden layers in neural networks (2024). The
step is `U V^T` of the momentum's singular value decomposition `U S V^T`, approximated by five
iterations of `X <- a X + (b A + c A^2) X` with `A = X X^T`. Written anew from the formula.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

COEFFICIENTS = (3.4445, -4.7750, 2.0315)


def orthogonalise(matrices: Tensor, steps: int = 5) -> Tensor:
    """Returns `[K, m, n]` matrices with their singular values moved near 1."""
    a, b, c = COEFFICIENTS
    tall = matrices.shape[-2] > matrices.shape[-1]
    x = matrices.transpose(-1, -2) if tall else matrices
    x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    for _ in range(steps):
        gram = x @ x.transpose(-1, -2)
        x = a * x + (b * gram + c * (gram @ gram)) @ x
    return x.transpose(-1, -2) if tall else x


class Muon(torch.optim.Optimizer):
    """Muon over stacked parameters.

    Args:
        params: Groups with `params` and `split`, the number of equal blocks of rows that a
            matrix consists of (3 for query, key and value).
        lr: Learning rate.
        momentum: Nesterov momentum.
        weight_decay: Decoupled decay, multiplied by the learning rate.
    """

    def __init__(
        self,
        params: Iterable[dict[str, object]],
        lr: float,
        momentum: float = 0.95,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self) -> None:
        """Updates every parameter once."""
        for group in self.param_groups:
            for param in group["params"]:
                state = self.state[param]
                if not state:
                    state["momentum"] = torch.zeros_like(param)
                buffer = state["momentum"]
                buffer.lerp_(param.grad, 1 - group["momentum"])
                update = param.grad.lerp(buffer, group["momentum"])
                blocks = update.view(-1, param.shape[-2] // group["split"], param.shape[-1])
                gain = max(1.0, blocks.shape[-2] / blocks.shape[-1]) ** 0.5
                param.mul_(1 - group["lr"] * group["weight_decay"])
                param.add_(orthogonalise(blocks).view_as(param), alpha=-group["lr"] * gain)
