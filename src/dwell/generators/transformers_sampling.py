"""Drawing tokens from a batch of logits with one counter-based uniform each, in torch.

The uniform of a token is the hash of its draw's key and its position that the embedded engine
uses, and it is turned into a token in the same way, by inverting the cumulative distribution in
the order of token ids. So equal logits give equal texts in both. Filters come in the order of
transformers: temperature, then top-k, then top-p.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from dwell.errors import UsageError
from dwell.generators.tiny_sampling import uniforms


@dataclass(frozen=True, slots=True, kw_only=True)
class Filters:
    """Which tokens may be drawn at all, beyond temperature.

    Attributes:
        top_p: share of the probability that is kept, most probable tokens first, in (0, 1].
        top_k: number of tokens that are kept; 0 = all.
    """

    top_p: float = 1.0
    top_k: int = 0

    def __post_init__(self) -> None:
        if not (0.0 < self.top_p <= 1.0 and self.top_k >= 0):
            raise UsageError(
                "`top_p` must be in (0, 1] and `top_k` at least 0, but got "
                f"top_p={self.top_p}, top_k={self.top_k}."
            )


class Law:
    """Next-token distributions at temperature 1, of a batch of rows.

    Args:
        logits: `[B, V]`, of any float type.
        drawable: `[V]` bool; the others have probability 0.
    """

    def __init__(self, logits: Any, drawable: Any) -> None:
        self._drawable = drawable
        self._logits = logits.float().masked_fill(~drawable, -torch.inf)
        self._log_probs: Any = None

    @property
    def log_probs(self) -> Any:
        """`[B, V]` float32 ``log p`` in nats."""
        if self._log_probs is None:
            self._log_probs = torch.log_softmax(self._logits, dim=-1)
        return self._log_probs

    def surprisals(self, tokens: Any) -> Any:
        """`[B]` ``-log p`` of one token a row, in nats."""
        return -self.log_probs.gather(1, tokens[:, None])[:, 0]

    def mean_log_probs(self) -> Any:
        """`[B]` mean of ``log p`` over all tokens that may be drawn, in nats."""
        return self.log_probs[:, self._drawable].mean(dim=-1)

    def draw(
        self,
        keys: Sequence[int],
        positions: Sequence[int],
        temperatures: Sequence[float],
        filters: Filters,
        banned: Any = None,
    ) -> Any:
        """`[B]` one token a row; a function of the row's logits, key and position alone.

        Args:
            keys: unsigned 64-bit seeds of the draws.
            positions: positions of the tokens to be drawn.
            temperatures: 0 takes the most probable token.
            filters: top-p and top-k.
            banned: `[B, V]` bool, tokens that have probability 0 here.
        """
        logits = self._logits
        if banned is not None:
            logits = logits.masked_fill(banned, -torch.inf)
        greedy = [temperature == 0.0 for temperature in temperatures]
        if all(greedy):
            return logits.argmax(dim=-1)
        # below, a float32 of logits would overflow; all that is left then is the most probable
        divisors = [1.0 if t == 0.0 else max(t, 1e-30) for t in temperatures]
        scaled = logits / torch.tensor(divisors, device=logits.device)[:, None]
        weights = torch.softmax(_filtered(scaled, filters), dim=-1)
        cumulative = weights.cumsum(dim=-1, dtype=torch.float64)
        points = uniforms(np.array(keys, np.uint64), np.array(positions, np.int64))
        total = cumulative[:, -1]
        below = torch.nextafter(total, torch.zeros_like(total))
        marks = torch.minimum(torch.from_numpy(points).to(logits.device) * total, below)
        # "right" leaves out tokens of weight 0: the first whose cumulative weight is above
        drawn = torch.searchsorted(cumulative, marks[:, None], right=True)[:, 0]
        if any(greedy):
            rows = torch.tensor(greedy, device=logits.device)
            drawn = torch.where(rows, logits.argmax(dim=-1), drawn)
        return drawn


def _filtered(logits: Any, filters: Filters) -> Any:
    """Logits with what top-k and top-p leave out at minus infinity."""
    if 0 < filters.top_k < logits.shape[-1]:
        least = logits.topk(filters.top_k, dim=-1).values[:, -1:]
        logits = logits.masked_fill(logits < least, -torch.inf)
    if filters.top_p < 1.0:
        ordered, order = torch.softmax(logits, dim=-1).sort(dim=-1, descending=True, stable=True)
        before = ordered.cumsum(dim=-1) - ordered
        out = torch.zeros_like(order, dtype=torch.bool)
        out.scatter_(1, order, before >= filters.top_p)
        logits = logits.masked_fill(out, -torch.inf)
    return logits
