"""How to spend training compute: the model size and tokens with the least predicted loss.

For C = 6 N D and L = E + A N^-alpha + B D^-beta the optimum is known (Hoffmann et al., 2022,
equation 4): N* = G (C/6)^(beta/(alpha+beta)), G = (alpha A / beta B)^(1/(alpha+beta)). Here it is
found along the curve of equal cost for any law of N and D and any cost, so that inference,
embedding or data costs can be counted.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from dwell.errors import UsageError
from dwell.laws.spaces import FloatArray

if TYPE_CHECKING:
    from dwell.laws.fit import Estimate, Fit

Cost = Callable[[Any, Any], Any]

_POINTS = 61
_STEP = 0.05


def training_flops(params: Any, tokens: Any) -> Any:
    """FLOPs of training, 6 N D."""
    return 6.0 * params * tokens


@dataclass(frozen=True, slots=True, kw_only=True)
class Allocation:
    """The best use of a budget.

    Attributes:
        compute: the budget, in the cost's unit.
        params: N*.
        tokens: D*.
        tokens_per_param: D*/N*.
        loss: predicted there.
        params_exponent: d ln N* / d ln C at this budget.
        tokens_exponent: d ln D* / d ln C.
        at_bound: whether N* lies at the end of the range allowed.
        in_data: whether N* and D* lie within the range of the data.
    """

    compute: float
    params: Estimate
    tokens: Estimate
    tokens_per_param: Estimate
    loss: Estimate
    params_exponent: Estimate
    tokens_exponent: Estimate
    at_bound: bool
    in_data: bool


def allocate(
    fit: Fit,
    compute: float,
    *,
    cost: Cost = training_flops,
    bounds: tuple[float, float] | None = None,
    at: Mapping[str, float] | None = None,
    group: str | None = None,
    level: float | None = None,
) -> Allocation:
    """The N and D with the least predicted target that cost `compute`.

    Args:
        fit: a fit of a law of N and D (or of N and M = D/N).
        compute: the budget, more than 0.
        cost: `(N, D) -> cost`, rising in D, accepting arrays.
        bounds: least and largest N allowed; None allows 1 to the N that leaves one token.
        at: values of other inputs, for example `{"U": 1e9}`.
        group: which group's parameters.
        level: coverage; None takes the fit's own.

    Raises:
        UsageError: the law is not one of N and D, the budget is not positive, or nothing within
            the bounds costs as little.
    """
    law = fit.law
    if "N" not in law.inputs or not {"D", "M"} & set(law.inputs):
        raise UsageError(
            f"an allocation needs a law of N and D, but `{law.name}` has inputs "
            f"{list(law.inputs)}. Fit `chinchilla`, for example."
        )
    if not compute > 0:
        raise UsageError(f"`compute` must be more than 0, but got {compute}.")
    low, high = bounds or (1.0, _largest(compute, cost))
    if not 0 < low < high:
        raise UsageError(
            f"no model between {low:g} and {high:g} parameters can be trained for {compute:g}."
        )
    outer = _Search(fit, cost, dict(at or {}), group, (np.log(low), np.log(high)))
    rows = np.concatenate([fit.values[None], fit.samples])
    size, tokens, loss = outer.best(rows, compute)
    grown, fed, _ = outer.best(rows, compute * np.exp(_STEP))
    shrunk, starved, _ = outer.best(rows, compute * np.exp(-_STEP))
    by_params, by_tokens = (
        np.log(a / b) / (2 * _STEP) for a, b in ((grown, shrunk), (fed, starved))
    )

    def told(values: FloatArray) -> Estimate:
        return fit.estimate(float(values[0]), values[1:], level)

    edge = 1e-3 * (np.log(high) - np.log(low))
    best = float(np.log(size[0]))
    return Allocation(
        compute=compute,
        params=told(size),
        tokens=told(tokens),
        tokens_per_param=told(tokens / size),
        loss=told(loss),
        params_exponent=told(by_params),
        tokens_exponent=told(by_tokens),
        at_bound=bool(best < np.log(low) + edge or best > np.log(high) - edge),
        in_data=_covered(fit, "N", float(size[0])) and _covered(fit, "D", float(tokens[0])),
    )


def _covered(fit: Fit, name: str, value: float) -> bool:
    low, high = fit.ranges.get(name, (0.0, np.inf))
    return bool(low <= value <= high)


def _largest(compute: float, cost: Cost) -> float:
    """The largest N that can be given one token."""
    logs = np.linspace(0.0, 120.0, 4000)
    with np.errstate(all="ignore"):
        fits = np.asarray(cost(np.exp(logs), np.ones_like(logs))) <= compute
    return float(np.exp(logs[fits].max())) if fits.any() else 0.0


@dataclass(frozen=True, slots=True)
class _Search:
    """The curve of equal cost, searched in ln N for many sets of parameters at once."""

    fit: Fit
    cost: Cost
    at: Mapping[str, float]
    group: str | None
    logs: tuple[float, float]

    def best(self, rows: FloatArray, compute: float) -> tuple[FloatArray, FloatArray, FloatArray]:
        """N*, D* and the target there, `[B]` each."""
        low = np.full(len(rows), self.logs[0])
        high = np.full(len(rows), self.logs[1])
        share = np.linspace(0.0, 1.0, _POINTS)
        for _ in range(9):
            grid = low[:, None] + (high - low)[:, None] * share
            loss, _ = self._along(grid, rows, compute)
            index = np.argmin(np.where(np.isfinite(loss), loss, np.inf), axis=1)
            row = np.arange(len(rows))
            low = grid[row, np.maximum(index - 1, 0)]
            high = grid[row, np.minimum(index + 1, _POINTS - 1)]
            if np.max(high - low) < 1e-6:
                break
        center = _vertex(grid, loss, index)
        loss, tokens = self._along(center[:, None], rows, compute)
        return np.exp(center), tokens[:, 0], loss[:, 0]

    def _along(
        self, logs: FloatArray, rows: FloatArray, compute: float
    ) -> tuple[FloatArray, FloatArray]:
        params = np.exp(logs)
        tokens = self._tokens(params, compute)
        inputs = {"N": params, "D": tokens, "M": tokens / params, "C": compute, **self.at}
        known = {name: inputs[name] for name in self.fit.law.inputs if name in inputs}
        return self.fit.curves(known, rows, self.group), tokens

    def _tokens(self, params: FloatArray, compute: float) -> FloatArray:
        """D that uses up the budget, by bisection in its logarithm."""
        if self.cost is training_flops:
            return np.asarray(compute / (6.0 * params))
        low, high = np.zeros_like(params), np.full_like(params, 100.0)
        with np.errstate(all="ignore"):
            for _ in range(60):
                middle = 0.5 * (low + high)
                over = np.asarray(self.cost(params, np.exp(middle))) > compute
                low, high = np.where(over, low, middle), np.where(over, middle, high)
        return np.asarray(np.exp(0.5 * (low + high)))


def _vertex(grid: FloatArray, loss: FloatArray, index: FloatArray) -> FloatArray:
    """The minimum of a parabola through the best point of each row and its neighbours."""
    row = np.arange(len(grid))
    middle = np.clip(index, 1, grid.shape[1] - 2).astype(int)
    left, center, right = (loss[row, middle + i] for i in (-1, 0, 1))
    bend = left - 2.0 * center + right
    step = grid[:, 1] - grid[:, 0]
    with np.errstate(all="ignore"):
        shift = np.where(bend > 0, 0.5 * (left - right) / bend, 0.0)
    inner = grid[row, middle] + np.clip(np.nan_to_num(shift), -1, 1) * step
    at_edge = (index == 0) | (index == grid.shape[1] - 1)
    return np.asarray(np.where(at_edge, grid[row, index.astype(int)], inner))
