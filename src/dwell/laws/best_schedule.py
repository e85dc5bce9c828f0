"""The learning-rate schedule with the least predicted loss, for a number of steps.

Schedules are a warm-up and then pieces of constant rate that never rise. What a schedule gives up
at each piece is a share of the peak, so schedules are points of a simplex, and the best one is
found by projected gradient there (Luo et al., 2025, optimise the same law by gradient).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dwell.errors import UsageError
from dwell.laws.fit import Fit
from dwell.laws.mixtures import best_mixture
from dwell.laws.schedules import MOMENTUM
from dwell.laws.spaces import FloatArray


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """A schedule and its predicted losses.

    Attributes:
        start: `[K]` first step of each piece.
        rate: `[K]` learning rate from there on.
        loss: predicted loss at the end.
        constant_loss: that of the peak rate throughout.
        linear_loss: that of a linear decay to the floor.
    """

    start: FloatArray
    rate: FloatArray
    loss: float
    constant_loss: float
    linear_loss: float


def best_schedule(
    fit: Fit, steps: int, peak: float, *, warmup: int = 0, floor: float = 0.0, pieces: int = 24
) -> Schedule:
    """The best schedule that never rises after its warm-up.

    The prediction is trusted only near the data: a fit to schedules that never fell low says
    little about those that do.

    Args:
        fit: of `annealing` or `multipower`.
        steps: number of steps in all.
        peak: largest learning rate, reached after `warmup` steps.
        warmup: steps of linear warm-up.
        floor: smallest learning rate, at least 1e-6 of the peak.
        pieces: pieces of equal length after the warm-up.

    Raises:
        UsageError: another law, or numbers that make no schedule.
    """
    if fit.law.name not in ("annealing", "multipower"):
        raise UsageError(
            f"a schedule needs a fit of `annealing` or `multipower`, but got `{fit.law.name}`."
        )
    if not (0 <= warmup < steps and 0 <= floor < peak and 2 <= pieces <= steps - warmup):
        raise UsageError(
            "a schedule needs 0 <= warmup < steps, 0 <= floor < peak and at least 2 pieces, each "
            f"of a step or more, but got {steps=}, {warmup=}, {peak=}, {floor=}, {pieces=}."
        )
    start = warmup + np.floor(np.arange(pieces) * (steps - warmup) / pieces)
    lowest = max(floor, 1e-6 * peak)

    def rates(shares: FloatArray) -> FloatArray:
        return np.asarray(peak - (peak - lowest) * np.cumsum(shares[:-1]))

    def loss(rate: FloatArray) -> float:
        return _final_loss(fit, start, rate, steps, peak, warmup)

    # The last share is what is not given up at all; the first piece begins at the peak.
    shares, best = best_mixture(lambda w: -loss(rates(np.append(0.0, w))), pieces)
    linear = np.linspace(peak, lowest, pieces)
    return Schedule(
        start=start,
        rate=rates(np.append(0.0, shares)),
        loss=-best,
        constant_loss=loss(np.full(pieces, peak)),
        linear_loss=loss(linear),
    )


def _final_loss(
    fit: Fit, start: FloatArray, rate: FloatArray, steps: int, peak: float, warmup: int
) -> float:
    """Predicted loss after the last step of a schedule in pieces."""
    lengths = np.diff(np.append(start, steps))
    area = peak * warmup / 2 + float(lengths @ rate)
    drops = np.concatenate([[peak], rate[:-1]]) - rate
    if fit.law.name == "annealing":
        lasting = (1.0 - MOMENTUM ** (steps - start)) / (1.0 - MOMENTUM)
        inputs = {"S1": np.array([area]), "S2": np.array([float(drops @ lasting)])}
    else:
        since = np.cumsum((lengths * rate)[::-1])[::-1]
        # The warm-up is one rise by the peak, at its middle: it counts as in the fit.
        columns = [np.append(v, w) for v, w in ((drops, -peak), (rate, peak / 2), (since, area))]
        names = ("drop", "rate", "since")
        inputs = {"S1": np.array([area])}
        inputs |= {name: v[:, None] for name, v in zip(names, columns, strict=True)}
    return float(fit.curves(inputs, fit.values[None])[0, 0])
