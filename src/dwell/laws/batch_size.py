"""Compute-optimal curves and the batch size: what the budget, the steps and the batch bring.

optimal_size      G C^a                                   optimum of each budget
optimal_loss      E + A C^-alpha                          loss of these optima
training_curve    (N_c/N)^alpha_N + (S_c/S)^alpha_S       steps at unlimited batch
batch_steps       S_min (1 + B_crit / batch)              steps to reach one loss
critical_batch    B_star loss^(-1/alpha_B)                along a run
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from dwell.errors import UsageError
from dwell.laws.declaration import Param, exponent, scale
from dwell.laws.law import Law
from dwell.laws.spaces import FloatArray

_MCCANDLISH = "McCandlish et al., An Empirical Model of Large-Batch Training (2018)"
_KAPLAN = "Kaplan et al., Scaling Laws for Neural Language Models (2020)"


def _place(meaning: str, source: str) -> Param:
    """A value of an input at which its term is 1."""
    grid = (1e-6, 1e-3, 1.0, 1e3, 1e6, 1e9)
    return Param(meaning=meaning, transform="exp", lower=0.0, grid=grid, units={source: 1.0},
                 tolerance=8.0)  # fmt: skip


OPTIMAL_SIZE = Law(
    name="optimal_size",
    text="G C^a",
    inputs=("C",),
    target="N",
    params={
        "G": scale("optimal parameters at one FLOP", tolerance=4.0),
        "a": Param(meaning="exponent of the optimum", lower=-5.0, upper=5.0, grid=(0.3, 0.5, 0.8)),
    },
    powers={"G": {"C": "a"}},
    delta=None,
    paper="Porian et al., Resolving Discrepancies in Compute-Optimal Scaling of Language Models "
    "(2024)",
    equation="log-log regression of IsoFLOP optima; weights are 1/variance of each log optimum "
    "(`weights`), least squares",
    use="Optimal size (or tokens, with `y`) of several budgets, found one by one.",
    assumes="one exponent over all budgets",
)

OPTIMAL_LOSS = Law(
    name="optimal_loss",
    text="E + A C^-alpha",
    inputs=("C",),
    target="loss",
    params={
        "E": scale("irreducible loss, in nats"),
        "A": scale("excess loss of one FLOP"),
        "alpha": exponent("how fast compute helps"),
    },
    powers={"E": {}, "A": {"C": "-alpha"}},
    paper=OPTIMAL_SIZE.paper,
    equation="L*(C) = E + A C^-alpha, Huber loss with delta 1e-3 on log residuals",
    use="The least loss of each compute budget.",
    assumes="every point is compute-optimal",
)

TRAINING_CURVE = Law(
    name="training_curve",
    text="(N_c/N)^alpha_N + (S_c/S)^alpha_S",
    inputs=("N", "S"),
    target="loss",
    params={
        "N_c": _place("parameters at which the loss of unlimited steps is 1", "N"),
        "S_c": _place("steps at which the loss of an unlimited model is 1", "S"),
        "alpha_N": exponent("how fast parameters help", grid=(0.05, 0.1, 0.3), lower=1e-4),
        "alpha_S": exponent("how fast steps help", grid=(0.3, 0.7, 1.0), lower=1e-4),
    },
    formula=lambda x, p: (
        np.exp(p.alpha_N * (np.log(p.N_c) - np.log(x.N)))
        + np.exp(p.alpha_S * (np.log(p.S_c) - np.log(x.S)))
    ),
    paper=_KAPLAN,
    equation="L(N, S_min) = (N_c/N)^alpha_N + (S_c/S_min)^alpha_S, equation 1.6, recalled and "
    "not re-read; `minimum_steps` gives S_min",
    use="Whole loss curves of several models, after warm-up, with steps at unlimited batch.",
    assumes="no irreducible loss; steps corrected for the batch",
)

BATCH_STEPS = Law(
    name="batch_steps",
    text="S_min (1 + B_crit / batch)",
    inputs=("batch",),
    target="S",
    params={
        "S_min": scale("least steps to reach the loss"),
        "E_min": scale("least examples to reach the loss; B_crit = E_min / S_min"),
    },
    powers={"S_min": {}, "E_min": {"batch": -1.0}},
    delta=None,
    paper=_MCCANDLISH,
    equation="(S/S_min - 1)(E/E_min - 1) = 1 with E = S batch, solved for S",
    use="Steps that several batch sizes take to one and the same loss.",
    assumes="the learning rate is tuned for each batch",
)

CRITICAL_BATCH = Law(
    name="critical_batch",
    text="B_star loss^(-1/alpha_B)",
    inputs=("loss",),
    target="batch",
    params={
        "B_star": scale("critical batch at loss 1, in the unit of batch", tolerance=4.0),
        "inverse": Param(meaning="1/alpha_B", lower=0.0, upper=50.0, grid=(1.0, 3.0, 5.0, 10.0)),
    },
    powers={"B_star": {"loss": "-inverse"}},
    delta=None,
    paper=_KAPLAN,
    equation="B_crit(L) = B_star / L^(1/alpha_B), equation 1.4, recalled and not re-read; its "
    "parameter here is 1/alpha_B",
    use="Critical batch sizes measured at several losses, to plan a batch schedule.",
    assumes="the critical batch depends on the loss alone",
)  # fmt: skip


def critical_batch(loss: npt.ArrayLike, b_star: float, alpha_b: float) -> FloatArray:
    """Critical batch at each loss, in the unit of `b_star`: a batch schedule along a run."""
    return np.asarray(b_star * np.asarray(loss, np.float64) ** (-1.0 / alpha_b), np.float64)


def minimum_steps(steps: npt.ArrayLike, batch: npt.ArrayLike, critical: npt.ArrayLike) -> Any:
    """Steps that an unlimited batch would have taken: S / (1 + B_crit / B)."""
    return np.asarray(steps) / (1.0 + np.asarray(critical) / np.asarray(batch))


def minimum_compute(compute: npt.ArrayLike, batch: npt.ArrayLike, critical: npt.ArrayLike) -> Any:
    """Compute that a tiny batch would have taken: C / (1 + B / B_crit)."""
    return np.asarray(compute) / (1.0 + np.asarray(batch) / np.asarray(critical))


@dataclass(frozen=True, slots=True, kw_only=True)
class TradeOff:
    """Ways to one loss: `batch [K]`, and the `steps [K]` and `examples [K]` they take."""

    batch: FloatArray
    steps: FloatArray
    examples: FloatArray


def trade_off(s_min: float, b_crit: float, batch: npt.ArrayLike) -> TradeOff:
    """Time (steps) against compute (examples) for batches `[K]`.

    At the critical batch both are twice their minimum.

    Raises:
        UsageError: something is not positive.
    """
    sizes = np.atleast_1d(np.asarray(batch, np.float64))
    if not (s_min > 0 and b_crit > 0 and np.all(sizes > 0)):
        raise UsageError(
            f"steps and batches must be more than 0, but got {s_min=}, {b_crit=}, batch={batch!r}."
        )
    steps = s_min * (1.0 + b_crit / sizes)
    return TradeOff(batch=sizes, steps=steps, examples=steps * sizes)


LAWS = (BATCH_STEPS, CRITICAL_BATCH, OPTIMAL_LOSS, OPTIMAL_SIZE, TRAINING_CURVE)
