"""Checks of draws that the suites share."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from dwell.records import Draw


def check_charges(draw: Draw) -> None:
    """Assert that what a draw costs is finite and at least 0."""
    for kind in ("prompt_tokens", "cached_tokens", "output_tokens", "flops", "seconds", "usd"):
        amount = getattr(draw, kind)
        assert math.isfinite(amount), kind
        assert amount >= 0, kind


def same_draws(first: Sequence[Draw], second: Sequence[Draw]) -> bool:
    """Whether draws agree in all that the seed decides (caching and time may differ)."""
    return len(first) == len(second) and all(
        (a.status, a.text, a.output_tokens) == (b.status, b.text, b.output_tokens)
        and np.array_equal(
            np.array([a.value], dtype=float), np.array([b.value], dtype=float), equal_nan=True
        )
        for a, b in zip(first, second, strict=True)
    )
