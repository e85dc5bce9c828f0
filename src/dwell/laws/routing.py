"""What routed models are worth in dense ones, and from which size on routing stops helping."""

from __future__ import annotations

import numpy as np

from dwell.errors import UsageError
from dwell.laws.fit import Estimate, Fit
from dwell.laws.spaces import FloatArray


def routing_cutoff(fit: Fit) -> Estimate:
    """Dense size beyond which more experts no longer lower the loss: 10^(-b/c).

    Infinite where routing helps large models as much as small ones (c <= 0).

    References:
        Clark et al., Unified Scaling Laws for Routed Language Models (2022).
    """
    values, samples = _columns(fit, fit.values[None]), _columns(fit, fit.samples)
    best, many = (
        np.where(
            p["c"] > 0, 10.0 ** np.minimum(-p["b"] / np.where(p["c"] > 0, p["c"], 1), 300), np.inf
        )
        for p in (values, samples)
    )
    return fit.estimate(float(best[0]), many)


def effective_size(fit: Fit, size: float, experts: float) -> Estimate:
    """Parameters of the dense model with the loss of a routed one.

    Solves a log N' + d' = the routed log-loss, with d' and the slope at one expert.

    Args:
        fit: of `routed`.
        size: dense parameters of the routed model.
        experts: its number of experts.

    References:
        Clark et al. (2022), effective parameter count: N (E'/E_start)^(...), here solved directly.
    """
    best, many = (
        _equal(_columns(fit, rows), size, experts) for rows in (fit.values[None], fit.samples)
    )
    return fit.estimate(float(best[0]), many)


def _columns(fit: Fit, rows: FloatArray) -> dict[str, FloatArray]:
    if fit.law.name != "routed":
        raise UsageError(f"routing needs a fit of `routed`, but got `{fit.law.name}`.")
    return {name: rows[:, i] for i, name in enumerate(fit.names)}


def _equal(p: dict[str, FloatArray], size: float, experts: float) -> FloatArray:
    start = 1.0 / (1.0 / p["E_start"] - 1.0 / p["E_max"])

    def saturated(count: float) -> FloatArray:
        return np.asarray(-np.log10(1.0 / (count - 1.0 + start) + 1.0 / p["E_max"]))

    many, one, logs = saturated(experts), saturated(1.0), np.log10(size)
    routed = p["a"] * logs + p["b"] * many + p["c"] * logs * many
    return np.asarray(10.0 ** ((routed - p["b"] * one) / (p["a"] + p["c"] * one)))
