"""A law, its coordinates and its rows, ready to be solved again and again.

The objective is written here and nowhere else: its value in the caller's units, its definition in
words, and the likelihood that information criteria compare.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from dwell.laws.coordinates import Coordinates, coordinates
from dwell.laws.declaration import Declared
from dwell.laws.models import FormulaModel, PowerModel, model_of
from dwell.laws.rows import Rows
from dwell.laws.solver import Solution, solve, solve_scale
from dwell.laws.spaces import FloatArray, Space

# Huber's threshold in standard deviations at which robust likelihoods are compared.
_STANDARD_DELTA = 1.345
# Threshold with which searches begin, as a share of the median residual.
_APPROACH = 0.3


@dataclass(frozen=True, slots=True, kw_only=True)
class Objective:
    """What was minimised, and how far.

    Attributes:
        text: its definition.
        value: the sum over rows at the fitted parameters, in the caller's units.
        mean: the same divided by the number of rows.
        loss: "huber" or "squares".
        delta: threshold of the Huber loss, in the space's units; None for squares.
        space: where residuals live.
        scale: "fixed", or "joint" where the residuals' scale was fitted too.
        sigma: that scale, None if fixed.
    """

    text: str
    value: float
    mean: float
    loss: str
    delta: float | None
    space: str
    scale: str
    sigma: float | None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Problem:
    """Everything that a fit is a function of, but its starts.

    Attributes:
        law: the law.
        rows: the data in the caller's units.
        space: where residuals live.
        model: the law on the rescaled rows.
        targets: `[n]` in that space, rescaled.
        delta: Huber's threshold for the rescaled targets; infinite for least squares.
        joint: whether the residuals' scale is fitted.
        unit: what a residual is multiplied with for the caller's units.
    """

    law: Declared
    rows: Rows
    space: Space
    model: PowerModel | FormulaModel
    targets: FloatArray
    delta: float
    joint: bool
    unit: float

    @property
    def coordinates(self) -> Coordinates:
        """The coordinates of the model."""
        return self.model.coordinates

    def solve(
        self,
        starts: FloatArray,
        *,
        targets: FloatArray | None = None,
        weights: FloatArray | None = None,
        low: FloatArray | None = None,
        high: FloatArray | None = None,
        rough: bool = False,
    ) -> Solution:
        """Solve from `starts [B, F]`, for other targets or weights `[B, n]` if given."""
        z = self.targets if targets is None else targets
        w = self.rows.weights if weights is None else weights
        if self.joint and not rough:
            return solve_scale(self.model, z, w, self.delta, starts)[0]
        return solve(self.model, z, w, self.delta, starts, low=low, high=high, rough=rough)

    def approach(self, starts: FloatArray) -> FloatArray:
        """Starts `[B, F]` moved downhill with a wider Huber threshold each.

        Far from the optimum a small threshold makes the objective a sum of kinks, on which many
        searches end in a corner.
        """
        if not np.isfinite(self.delta):
            return starts
        with np.errstate(all="ignore"):
            size = np.nan_to_num(np.abs(self.targets - self.model.value(starts)), posinf=1e6)
        delta = np.maximum(self.delta, _APPROACH * np.median(size, axis=1))
        moved = solve(self.model, self.targets, self.rows.weights, delta, starts, rough=True)
        return moved.free

    def residuals(self, free: FloatArray) -> FloatArray:
        """Residuals `[n]` at coordinates `[F]`, in the caller's units of the space."""
        return np.asarray((self.targets - self.model.value(free[None])[0]) * self.unit)

    def objective(self, free: FloatArray) -> Objective:
        """What was minimised, at coordinates `[F]`."""
        residual, weights = self.residuals(free), self.rows.weights
        huber = np.isfinite(self.delta)
        delta = self.delta if self.joint else self.delta * self.unit
        sigma = None
        if self.joint:
            _, scales = solve_scale(self.model, self.targets, weights, self.delta, free[None])
            sigma = float(scales[0]) * self.unit
            residual = residual / sigma
        clipped = np.clip(residual, -delta, delta)
        value = float(np.sum(weights * clipped * (residual - 0.5 * clipped)))
        if sigma is not None:
            value += float(np.sum(weights) * np.log(sigma))
        return Objective(
            text=_definition(self.law, self.space, delta if huber else None, self.joint),
            value=value,
            mean=value / len(self.rows),
            loss="huber" if huber else "squares",
            delta=float(delta) if huber else None,
            space=self.space.name,
            scale="joint" if self.joint else "fixed",
            sigma=sigma,
        )

    def deviance(self, free: FloatArray) -> float:
        """Minus twice the log likelihood of the targets, comparable between spaces.

        Least squares: normal residuals. Huber: Huber's density with its threshold at 1.345
        fitted standard deviations, the same for all laws and deltas.
        """
        residual, weights = self.residuals(free), self.rows.weights
        count = float(np.sum(weights))
        with np.errstate(divide="ignore"):
            jacobian = float(np.sum(weights * np.log(np.abs(self.space.slope(self.rows.target)))))
        spread = np.sqrt(np.sum(weights * residual**2) / count)
        floor = 1e-12 * (1.0 + float(np.abs(self.targets * self.unit).max()))
        if not np.isfinite(self.delta):
            sigma = max(float(spread), floor)
            return float(count * (np.log(2 * np.pi * sigma**2) + 1.0) - 2 * jacobian)
        sigma = max(float(spread), floor)
        size = np.abs(residual)
        for _ in range(100):
            t = size / sigma
            grown = np.sum(weights * np.minimum(t, _STANDARD_DELTA) * t) / count
            last, sigma = sigma, max(sigma * float(np.clip(np.sqrt(grown), 0.3, 3.0)), floor)
            if abs(sigma - last) <= 1e-14 * last:
                break
        t = size / sigma
        clipped = np.minimum(t, _STANDARD_DELTA)
        loss = float(np.sum(weights * clipped * (t - 0.5 * clipped)))
        # The density's normaliser at k = 1.345: sqrt(2 pi) erf(k / sqrt 2) + 2 exp(-k^2/2) / k.
        normaliser = np.log(2.5066282746 * 0.8213748 + 2.0 * 0.4047229 / _STANDARD_DELTA)
        return float(2 * loss + 2 * count * (np.log(sigma) + normaliser) - 2 * jacobian)

    def curvature(self, free: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Hessian and covariance of the gradient `[F, F]` at an optimum.

        Where Huber's threshold is far below the residuals, few rows lie in its quadratic part;
        their number is then estimated from a wider window, as for quantiles.
        """
        near = self.model.expand(free[None])
        residual = self.targets - near.value[0]
        slopes, weights = near.slopes[0], self.rows.weights
        delta = self._threshold(residual)
        clipped = np.clip(residual, -delta, delta)
        size = np.abs(residual)
        window = max(delta, 1.06 * float(np.median(size)) / 0.6745 * len(size) ** -0.2)
        if not np.isfinite(delta):
            inner = weights
        else:
            inner = weights * (size <= window) * (delta / window if delta < window else 1.0)
        hessian = near.curvature(inner[None], (weights * clipped)[None])[0]
        spread = (slopes * (weights * clipped) ** 2) @ slopes.T
        freedom = max(1.0, len(size) - len(free))
        return np.asarray(hessian), np.asarray(spread * len(size) / freedom)

    def _threshold(self, residual: FloatArray) -> float:
        if not self.joint:
            return self.delta
        return max(self.delta * self.delta * float(np.mean(np.abs(residual))), 1e-14)


def _definition(law: Declared, space: Space, delta: float | None, joint: bool) -> str:
    map_text = {"linear": "{}", "log": "ln {}", "logit": "logit {}", "loglog": "ln(-ln {})"}
    shown = map_text[space.name]
    residual = f"{shown.format(law.target)} - {shown.format('prediction')}"
    rho = "r^2/2" if delta is None else f"Huber_{delta:g}(r)"
    if joint:
        return f"sum over rows of Huber_{delta:g}(r/sigma) + ln sigma, r = {residual}"
    return f"sum over rows of {rho}, r = {residual}"


def problem_of(
    law: Declared,
    rows: Rows,
    space: Space,
    *,
    delta: float | None,
    joint: bool,
    fixed: Mapping[str, float],
    tied: Sequence[tuple[str, str]],
) -> tuple[Problem, Mapping[str, FloatArray], FloatArray]:
    """The problem of a law on rows, and its rescaled inputs and target, for starts.

    Raises:
        UsageError: as `coordinates`.
    """
    scales = _scales(law, rows, space)
    made = coordinates(
        law,
        scales,
        fixed=fixed,
        tied=tied,
        groups=rows.groups,
        group_index=rows.group_index,
    )
    inputs = {k: v / made.scales.get(k, 1.0) for k, v in rows.inputs.items()}
    scale = made.scales.get(law.target, 1.0)
    target = rows.target / scale
    unit = scale if space.name == "linear" else 1.0
    problem = Problem(
        law=law,
        rows=rows,
        space=space,
        model=model_of(made, inputs, space),
        targets=space.forward(target),
        delta=np.inf if delta is None else (delta if joint else delta / unit),
        joint=joint,
        unit=unit,
    )
    return problem, inputs, target


def _scales(law: Declared, rows: Rows, space: Space) -> dict[str, float]:
    """What inputs and target are divided by: those that some parameter's units name."""
    if not law.rescaled:
        return {}
    named = {unit for name in law.params for unit in law.units_of(name)}
    scales = {}
    for name, values in rows.inputs.items():
        if name in named and np.all(values > 0):
            scales[name] = float(np.exp(np.mean(np.log(values))))
    size = np.abs(rows.target[rows.target != 0])
    if law.target in named and space.homogeneous and len(size):
        scales[law.target] = float(np.exp(np.mean(np.log(size))))
    return scales
