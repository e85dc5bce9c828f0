"""Minimises a robust loss for many fits at once: all starts, or all bootstrap resamples.

The objective of each fit is `sum_i w_i rho(z_i - g_i(u))`, with rho Huber's loss (r^2/2 up to
delta, linear beyond) or r^2/2, over coordinates u within bounds. Near the optimum of a Huber loss
with a small delta few rows lie in its quadratic part, so Gauss-Newton steps converge slowly, and
far from it the Hessian says nothing. The step therefore solves

    (H + damping (K + diag K / 10)) step = -gradient

where H is the exact Hessian and K that of the majorising weighted least squares (weights
min(1, delta/|r|)): with large damping a reweighted least-squares step, with damping going to 0
Newton's. Everything is scale-free: it stops when the predicted gain is below rounding.

Letters: `B` fits, `F` free coordinates, `n` rows.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from dwell.laws.models import Model
from dwell.laws.spaces import BoolArray, FloatArray

IntArray = npt.NDArray[np.int64]

_MAX_ITERATIONS, _ROUGH_ITERATIONS = 300, 30
# Iterations for which dear second derivatives are kept.
_KEPT = 6
# Gains that rounding hides, relative to the objective.
_ROUNDING = 1e-15
# Elements of `[B, F, n]` worked on at once: what a core's cache holds.
_CHUNK = 60_000


@dataclass(frozen=True, slots=True)
class Solution:
    """Solved fits.

    Attributes:
        free: `[B, F]` coordinates.
        objective: `[B]` values reached; infinite where no start was valid.
        converged: `[B]` whether the search ended at a stationary point.
    """

    free: FloatArray
    objective: FloatArray
    converged: BoolArray

    def __getitem__(self, index: int) -> tuple[FloatArray, float]:
        return self.free[index], float(self.objective[index])


@dataclass(slots=True)
class _State:
    """A quadratic model of each fit: `[B]`, `[B, F]`, `[B, F, F]` twice."""

    objective: FloatArray
    gradient: FloatArray
    hessian: FloatArray
    majorant: FloatArray

    def take(self, index: npt.NDArray[np.generic]) -> _State:
        return _State(
            self.objective[index], self.gradient[index], self.hessian[index], self.majorant[index]
        )

    def mixed(self, other: _State, chosen: BoolArray) -> _State:
        """The other's values where chosen."""
        wide, square = chosen[:, None], chosen[:, None, None]
        return _State(
            np.where(chosen, other.objective, self.objective),
            np.where(wide, other.gradient, self.gradient),
            np.where(square, other.hessian, self.hessian),
            np.where(square, other.majorant, self.majorant),
        )


def solve(
    model: Model,
    targets: FloatArray,
    weights: FloatArray,
    delta: float | FloatArray,
    starts: FloatArray,
    *,
    low: FloatArray | None = None,
    high: FloatArray | None = None,
    rough: bool = False,
) -> Solution:
    """Solve many fits.

    Args:
        model: the law on the rows.
        targets: `[n]` or `[B, n]` observations in the space of the residuals.
        weights: `[n]` or `[B, n]`, at least 0.
        delta: threshold of the Huber loss, a number or `[B]`; infinity is least squares.
        starts: `[B, F]` coordinates.
        low: `[F]` or `[B, F]` lower bounds; None takes the model's.
        high: upper bounds; where equal to the lower, the coordinate stays.
        rough: end where the gain to come is 1e-4 of the objective: to see which starts are good.

    Returns:
        `Solution`.
    """
    shape = starts.shape
    lower = np.broadcast_to(model.coordinates.low if low is None else low, shape)
    upper = np.broadcast_to(model.coordinates.high if high is None else high, shape)
    num_rows = targets.shape[-1]
    y = np.broadcast_to(targets, (shape[0], num_rows))
    w = np.broadcast_to(weights, (shape[0], num_rows))
    threshold = np.broadcast_to(np.asarray(delta, np.float64), shape[:1])
    size = max(1, _CHUNK // max(1, num_rows * shape[1], model.size))
    free, objective = np.array(starts, np.float64), np.full(shape[0], np.inf)
    converged = np.zeros(shape[0], np.bool_)
    for begin in range(0, shape[0], size):
        part = slice(begin, begin + size)
        task = _Task(model, y[part], w[part], threshold[part], lower[part], upper[part])
        free[part], objective[part], converged[part] = _search(task, free[part], rough)
    return Solution(free, objective, converged)


@dataclass(frozen=True, slots=True)
class _Task:
    model: Model
    targets: FloatArray
    weights: FloatArray
    delta: FloatArray
    low: FloatArray
    high: FloatArray

    def take(self, index: npt.NDArray[np.generic]) -> _Task:
        return _Task(
            self.model,
            self.targets[index],
            self.weights[index],
            self.delta[index],
            self.low[index],
            self.high[index],
        )

    def assess(self, free: FloatArray, *, second: bool) -> _State:
        """Objective, gradient and the two curvatures at `free [B, F]`."""
        with np.errstate(all="ignore"):
            near = self.model.expand(free)
            residual = self.targets - near.value
            size = np.abs(residual)
            delta = self.delta[:, None]
            # Huber's loss through its clipped residual c: c (r - c/2).
            share = np.minimum(size, delta)
            half = 0.5 * share
            objective = np.einsum("bn,bn->b", self.weights * share, size - half)
            inside = size <= delta
            weight = np.where(inside, 1.0, share / size)
            weight *= self.weights
            pull = weight * residual
            gradient = -(near.slopes @ pull[:, :, None])[:, :, 0]
            majorant = near.outer(weight)
            if second:
                hessian = near.curvature(self.weights * inside, pull)
            elif inside.all():
                hessian = majorant
            else:
                hessian = near.outer(self.weights * inside)
        good = np.isfinite(objective) & np.isfinite(gradient).all(axis=1)
        good &= np.isfinite(majorant).all(axis=(1, 2))
        if second:
            good &= np.isfinite(hessian).all(axis=(1, 2))
        return _State(np.where(good, objective, np.inf), gradient, hessian, majorant)


def _search(
    task: _Task, start: FloatArray, rough: bool
) -> tuple[FloatArray, FloatArray, BoolArray]:
    """The damped Newton iteration on one chunk of fits."""
    count = len(start)
    result = np.clip(start, task.low, task.high), np.full(count, np.inf), np.zeros(count, np.bool_)
    least = 1e-28 * np.einsum("bn,bn->b", task.weights, 1.0 + task.targets**2)
    second = task.model.cheap_bend
    ids: IntArray = np.arange(count)
    free, begun = result[0].copy(), 0
    state = task.assess(free, second=second)
    # Second derivatives that are dear are computed now and then only, and kept in between.
    bend = np.zeros_like(state.hessian)
    damping: FloatArray = np.full(count, 1e-2 if np.isinf(task.delta).all() else 0.3)
    newton: BoolArray = np.full(count, not rough)
    slow: IntArray = np.zeros(count, np.int64)
    # Far starts of a rough search gain from falling back to weighted least squares more often.
    fall = 3.0 if rough and second else 6.0
    done = ~np.isfinite(state.objective)
    for iteration in range(_ROUGH_ITERATIONS if rough else _MAX_ITERATIONS):
        if done.any():
            kept = np.flatnonzero(~done)
            ids, newton, slow = ids[kept], newton[kept], slow[kept]
            free, damping, least, bend = free[kept], damping[kept], least[kept], bend[kept]
            state, task = state.take(kept), task.take(kept)
        if not len(ids):
            break
        if not task.model.cheap_bend and not rough:
            if not second and (iteration > 60 or np.median(slow) >= 4):
                # First derivatives have done what they can.
                second, begun, damping = True, iteration, np.minimum(damping, 1e-3)
            if second and (iteration - begun) % _KEPT == 0:
                first = task.assess(free, second=False).hessian
                bend = first - task.assess(free, second=True).hessian
                state.hessian = first - bend
        step, gain = _step(state, free, task, damping, newton)
        trial = np.clip(free + step, task.low, task.high)
        there = task.assess(trial, second=task.model.cheap_bend)
        if second and not task.model.cheap_bend:
            there.hessian = there.hessian - bend
        better = there.objective <= state.objective * (1.0 + _ROUNDING)
        drop = np.where(better, state.objective - there.objective, 0.0)
        moved = np.max(np.abs(step) / (1.0 + np.abs(trial)), axis=1)
        tiny = gain <= (1e-4 if rough else 10 * _ROUNDING) * state.objective
        done = (tiny & (damping <= 1e-2)) | (moved < 1e-13) | (damping > 1e12)
        done |= there.objective <= least
        # Without second derivatives a search is not at its end before it has had them.
        done &= second | rough | (there.objective <= least)
        slow = np.where(drop > 1e-3 * state.objective, 0, slow + 1)
        newton |= better & (drop <= 0.05 * state.objective)
        damping = np.where(better, np.maximum(damping / fall, 1e-12), damping * 5.0)
        if better.all():
            free, state = trial, there
        else:
            free = np.where(better[:, None], trial, free)
            state = state.mixed(there, better)
        if rough:
            done |= slow > 10
        result[0][ids], result[1][ids] = free, state.objective
        result[2][ids[done]] = True
    return result


def _step(
    state: _State, free: FloatArray, task: _Task, damping: FloatArray, newton: BoolArray
) -> tuple[FloatArray, FloatArray]:
    """A step `[B, F]` within bounds and the gain it predicts `[B]`."""
    gradient = state.gradient
    held = ((free <= task.low) & (gradient > 0)) | ((free >= task.high) & (gradient < 0))
    held |= task.low == task.high
    diagonal = np.einsum("bff->bf", state.majorant)
    size = np.sqrt(np.maximum(diagonal, 1e-30 * diagonal.max(axis=1, keepdims=True) + 1e-200))
    outer = size[:, :, None] * size[:, None, :]
    curvature = np.where(newton[:, None, None], state.hessian, state.majorant)
    matrix = (curvature + damping[:, None, None] * state.majorant) / outer
    index = np.arange(free.shape[1])
    matrix[:, index, index] += 0.1 * damping[:, None] + 1e-14
    loose = ~held
    matrix *= loose[:, :, None] & loose[:, None, :]
    matrix[:, index, index] += held
    right = -gradient * loose / size
    solved = _solved(matrix, right) / size
    # No coordinate (a logarithm, an exponent) moves by more than 3 and a fifth of itself at once.
    reach = np.max(np.abs(solved) / (3.0 + 0.2 * np.abs(free)), axis=1)
    solved /= np.maximum(reach, 1.0)[:, None]
    solved = np.where(np.isfinite(solved), solved, 0.0)
    return solved, np.abs(np.einsum("bf,bf->b", gradient * loose, solved))


def _solved(matrix: FloatArray, right: FloatArray) -> FloatArray:
    try:
        return np.asarray(np.linalg.solve(matrix, right[..., None])[..., 0], np.float64)
    except np.linalg.LinAlgError:
        pseudo = np.linalg.pinv(np.nan_to_num(matrix))
        return np.asarray((pseudo @ right[..., None])[..., 0], np.float64)


def solve_scale(
    model: Model, targets: FloatArray, weights: FloatArray, delta: float, starts: FloatArray
) -> tuple[Solution, FloatArray]:
    """Solve with a scale of its own for each fit: `sum w [rho(r/sigma) + ln sigma]`.

    Since sigma shrinks to about delta times the mean residual, this comes down to least absolute
    deviations. It is approached by lowering the threshold step by step, each solved exactly.

    Returns:
        `Solution`, with the joint objective, and sigma `[B]`.
    """
    total = np.broadcast_to(weights, (len(starts), targets.shape[-1])).sum(axis=1)
    free, sigma = starts, np.full(len(starts), np.inf)
    threshold = np.full(len(starts), np.inf)
    for _ in range(60):
        solution = solve(model, targets, weights, threshold, free)
        free = solution.free
        with np.errstate(invalid="ignore"):
            size = np.abs(targets - model.value(free))
        sigma = _scale_of(size, weights, delta, total)
        wanted = np.maximum(delta * sigma, 1e-14)
        largest = np.maximum(size.max(axis=1), 1e-14)
        following = np.maximum(wanted, np.minimum(threshold, largest) / 4.0)
        if np.all(np.abs(following - threshold) <= 1e-6 * following):
            break
        threshold = following
    scaled = size / sigma[:, None]
    clipped = np.minimum(scaled, delta)
    loss = np.sum(weights * clipped * (scaled - 0.5 * clipped), axis=1)
    joint = loss + total * np.log(sigma)
    return Solution(free, joint, solution.converged), sigma


def _scale_of(
    size: FloatArray, weights: FloatArray, delta: float, total: FloatArray
) -> FloatArray:
    """Sigma with `sum w min(t, delta) t = sum w`, t = |r| / sigma, by fixed point."""
    rows = np.broadcast_to(weights, size.shape)
    with np.errstate(invalid="ignore"):
        sigma = np.maximum(delta * np.sum(rows * size, axis=1) / total, 1e-300)
        for _ in range(200):
            scaled = size / sigma[:, None]
            grown = np.sum(rows * np.minimum(scaled, delta) * scaled, axis=1) / total
            factor = np.clip(np.sqrt(grown), 0.5, 2.0)
            sigma = np.maximum(sigma * factor, 1e-300)
            if np.all(np.abs(factor - 1.0) < 1e-12):
                break
    return np.asarray(np.nan_to_num(sigma, nan=1.0), np.float64)
