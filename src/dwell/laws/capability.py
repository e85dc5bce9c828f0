"""What a score does with compute: rises, turns, breaks through; and predictions past it.

Procedures around the laws of `dwell.laws.emergence`. Each fits laws; none has fitting code.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy

from dwell.errors import UsageError
from dwell.laws.emergence import DIFFICULTY, QUADRATIC, SIGMOID, TWO_SIGMOIDS
from dwell.laws.fit import Estimate, Fit
from dwell.laws.spaces import FloatArray

_POINTS = 400
# A parameter is worth at least this much of AICc more than its penalty, else the simpler shape.
_CLEAR = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """How a score moves with compute.

    Attributes:
        kind: "flat", "rising", "falling", "U-shaped", "hump-shaped" or "emergent" (at a floor
            for at least a third of the decades covered, then rising).
        law: the shape chosen: "constant", "line", "sigmoid", "quadratic" or "two_sigmoids".
        aicc: of all shapes tried, less the best one's.
        turning_point: compute at which the chosen shape turns within the data, NaN if it does
            not.
        breakthrough: compute at which a rising sigmoid has left its floor by a tenth of its
            height, NaN if the shape is not one.
        fit: the chosen fit; None for a constant.
    """

    kind: str
    law: str
    aicc: Mapping[str, float]
    turning_point: Estimate
    breakthrough: Estimate
    fit: Fit | None


def scaling_shape(compute: npt.ArrayLike, score: npt.ArrayLike, *, level: float = 0.9) -> Shape:
    """Choose the shape of a score against compute by AICc.

    A simpler shape wins ties: a richer one must be better by 2.

    Args:
        compute: `[n]`, more than 0; at least five rows.
        score: `[n]`.
        level: coverage of intervals.

    Raises:
        UsageError: fewer than five rows, or whatever is wrong with them.
    """
    data = {"C": np.asarray(compute, np.float64), "accuracy": np.asarray(score, np.float64)}
    if len(data["C"]) < 5:
        raise UsageError(f"a shape needs at least 5 rows, but got {len(data['C'])}.")
    fits = {
        "line": QUADRATIC.fit(data, fixed={"c2": 0.0}, level=level),
        "sigmoid": SIGMOID.fit(data, level=level),
        "quadratic": QUADRATIC.fit(data, level=level),
    }
    if len(data["C"]) > 9:
        fits["two_sigmoids"] = TWO_SIGMOIDS.fit(data, level=level)
    scores = {"constant": _constant_aicc(data["accuracy"])}
    scores |= {name: fit.aicc for name, fit in fits.items()}
    chosen = "constant"
    for name, value in scores.items():
        if value < scores[chosen] - _CLEAR:
            chosen = name
    best = scores[chosen]
    fit = fits.get(chosen)
    grid = np.geomspace(data["C"].min(), data["C"].max(), _POINTS)
    kind, turn, breakthrough = _described(chosen, fit, grid, level)
    return Shape(
        kind=kind,
        law=chosen,
        aicc={name: value - best for name, value in scores.items()},
        turning_point=turn,
        breakthrough=breakthrough,
        fit=fit,
    )


def _constant_aicc(score: FloatArray) -> float:
    """AICc of a constant with Gaussian noise, as `Fit.aicc` counts it."""
    count = len(score)
    variance = max(float(np.var(score)), 1e-300)
    return float(count * (np.log(2 * np.pi * variance) + 1) + 2 + 4 / max(count - 2, 1))


def _described(
    chosen: str, fit: Fit | None, grid: FloatArray, level: float
) -> tuple[str, Estimate, Estimate]:
    nothing = Estimate(value=np.nan, low=np.nan, high=np.nan, level=level)
    if fit is None:
        return "flat", nothing, nothing
    curve = fit.curves({"C": grid}, fit.values[None])[0]
    turns = np.array([_turn(row, grid) for row in fit.curves({"C": grid}, fit.samples)])
    at = _turn(curve, grid)
    if np.isfinite(at):
        inner = float(np.interp(np.log(at), np.log(grid), curve))
        kind = "U-shaped" if inner < min(curve[0], curve[-1]) else "hump-shaped"
        return kind, fit.estimate(at, turns[np.isfinite(turns)], level), nothing
    kind = "rising" if curve[-1] > curve[0] else "falling"
    if chosen != "sigmoid" or kind == "falling":
        return kind, nothing, nothing
    where = [fit.names.index(name) for name in ("t", "w")]
    left = fit.samples[:, where[0]] * 9.0 ** -fit.samples[:, where[1]]
    value = fit.params["t"] * 9.0 ** -fit.params["w"]
    floor = np.log(value / grid[0]) / np.log(grid[-1] / grid[0])
    return "emergent" if floor > 1 / 3 else kind, nothing, fit.estimate(value, left, level)


def _turn(curve: FloatArray, grid: FloatArray) -> float:
    """Where a curve turns inside the grid by more than a tenth of its range; NaN if nowhere."""
    inner = [int(np.argmin(curve)), int(np.argmax(curve))]
    reach = 0.1 * float(np.ptp(curve))
    for index in inner:
        if 0 < index < len(grid) - 1:
            ends = np.abs(curve[[0, -1]] - curve[index])
            if np.all(ends > reach):
                return float(grid[index])
    return float("nan")


def accelerated(
    size: npt.ArrayLike, rate: npt.ArrayLike, *, level: float = 0.9
) -> tuple[Estimate, bool]:
    """Whether success rates grow faster than the task law: -ln PU bends down in log-log.

    Args:
        size: `[n]` parameters or compute; at least four rows.
        rate: `[n]` success rates in (0, 1), for example from `dwell.metrics.pass_until`.
        level: coverage of the t interval.

    Returns:
        Curvature of ln(-ln rate) in ln size with its interval, and whether it is negative for
        sure: accelerated emergence.

    Raises:
        UsageError: fewer than four rows, or rates not inside (0, 1).

    References:
        Hu et al., Predicting Emergent Abilities with Infinite Resolution Evaluation (2023).
    """
    x, y = np.log(np.asarray(size, np.float64)), np.asarray(rate, np.float64)
    if len(x) < 4 or not np.all((y > 0) & (y < 1)):
        raise UsageError("acceleration needs at least four rates, all inside (0, 1).")
    centred = x - x.mean()
    basis = np.stack([np.ones_like(x), centred, centred**2], axis=1)
    target = np.log(-np.log(y))
    solved, *_ = np.linalg.lstsq(basis, target, rcond=None)
    rest = target - basis @ solved
    variance = float(rest @ rest) / (len(x) - 3)
    error = np.sqrt(variance * np.linalg.inv(basis.T @ basis)[2, 2])
    reach = float(scipy.stats.t.ppf(0.5 + level / 2, len(x) - 3) * error)
    bend = float(solved[2])
    estimate = Estimate(value=bend, low=bend - reach, high=bend + reach, level=level)
    return estimate, bool(estimate.high < 0)


def rank_correlations(
    compute: npt.ArrayLike, scores: Mapping[str, npt.ArrayLike]
) -> dict[str, float]:
    """Mean correlation of each per-sample score with compute, by ranks.

    It falls along log p(correct), p(correct), p(correct | choices), accuracy: each step throws
    information away, and prediction from small models degrades with it.

    Args:
        compute: `[n]` of the models.
        scores: name -> `[n, samples]`; samples whose score never changes are left out.

    Raises:
        UsageError: shapes differ.

    References:
        Schaeffer et al., Why Has Predicting Downstream Capabilities of Frontier AI Models with
        Scale Remained Elusive? (2024).
    """
    order = scipy.stats.rankdata(np.asarray(compute, np.float64))
    order = order - order.mean()
    found = {}
    for name, values in scores.items():
        table = np.asarray(values, np.float64)
        if table.ndim != 2 or len(table) != len(order):
            raise UsageError(
                f"scores are [models, samples] with {len(order)} models, but {name!r} has shape "
                f"{table.shape}."
            )
        ranks = scipy.stats.rankdata(table, axis=0)
        ranks = ranks - ranks.mean(axis=0)
        size = np.sqrt(np.sum(ranks**2, axis=0) * np.sum(order**2))
        used = size > 0
        each = (order @ ranks)[used] / size[used]
        found[name] = float(each.mean()) if len(each) else float("nan")
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterPrediction:
    """Prediction from clusters of equally hard problems.

    Attributes:
        value: predicted full scores `[K]`.
        subset: predicted scores of the clusters kept `[K]`.
        kept: which clusters scale.
        fits: their fits, in order.
    """

    value: FloatArray
    subset: FloatArray
    kept: tuple[bool, ...]
    fits: tuple[Fit, ...]


def predict_from_clusters(
    compute: npt.ArrayLike,
    clusters: npt.ArrayLike,
    sizes: npt.ArrayLike,
    full: npt.ArrayLike,
    target: npt.ArrayLike,
    *,
    guess: float = 0.0,
    least_gain: float = 0.02,
) -> ClusterPrediction:
    """Scores of large models, from small ones: fit each cluster, drop those that do not scale.

    Args:
        compute: `[n]` of the small models; at least five.
        clusters: `[G, n]` accuracy on each cluster.
        sizes: `[G]` problems in each.
        full: `[n]` accuracy on the whole benchmark.
        target: `[K]` compute of the models to predict.
        guess: accuracy of guessing.
        least_gain: a cluster scales if its fitted curve gains this much over the small models.

    Raises:
        UsageError: no cluster scales.

    References:
        Xu et al., Unveiling Downstream Performance Scaling of LLMs: A Clustering-Based
        Perspective (2025). The map from subset to full score is monotone and cubic, and goes on
        as a straight line to (1, 1).
    """
    c, table = np.asarray(compute, np.float64), np.atleast_2d(np.asarray(clusters, np.float64))
    count, whole = np.asarray(sizes, np.float64), np.asarray(full, np.float64)
    wanted = np.atleast_1d(np.asarray(target, np.float64))
    kept, fits = [], []
    for row in table:
        flat = np.ptp(row) == 0
        fit = None if flat else DIFFICULTY.fit({"C": c, "accuracy": row}, fixed={"g": guess})
        gain = 0.0 if fit is None else float(np.diff(fit.predict([c.min(), c.max()]).value)[0])
        kept.append(gain >= least_gain)
        if fit is not None and kept[-1]:
            fits.append(fit)
    if not fits:
        raise UsageError(
            "no cluster scales: none gains enough from the least to the largest model."
        )
    weight = count[np.array(kept)] / count[np.array(kept)].sum()
    seen = weight @ np.stack([fit.predict(c).value for fit in fits])
    subset = weight @ np.stack([fit.predict(wanted).value for fit in fits])
    order = np.argsort(seen)
    x, index = np.unique(np.append(seen[order], 1.0), return_index=True)
    y = np.maximum.accumulate(np.append(whole[order], 1.0)[index])
    value = np.asarray(
        scipy.interpolate.PchipInterpolator(x, y, extrapolate=True)(subset), np.float64
    )
    return ClusterPrediction(
        value=np.clip(value, 0.0, 1.0), subset=subset, kept=tuple(kept), fits=tuple(fits)
    )


def benchmark_components(scores: npt.ArrayLike, num: int = 3) -> tuple[FloatArray, FloatArray]:
    """Principal components of a table of benchmarks: capabilities that models differ in.

    Args:
        scores: `[models, benchmarks]`; NaN is filled with the benchmark's mean.
        num: components.

    Returns:
        `[models, num]` places of the models, signed so that the mean loading is positive, and
        `[num]` shares of the variance. `observational` takes 10^component as its C.

    Raises:
        UsageError: more components than benchmarks or models.

    References:
        Ruan, Maddison and Hashimoto, Observational Scaling Laws (2024).
    """
    table = np.asarray(scores, np.float64)
    if not 1 <= num <= min(table.shape):
        raise UsageError(f"`num` must be from 1 to {min(table.shape)}, but got {num}.")
    filled = np.where(np.isnan(table), np.nanmean(table, axis=0), table)
    left, size, loading = np.linalg.svd(filled - filled.mean(axis=0), full_matrices=False)
    sign = np.where(loading.sum(axis=1) < 0, -1.0, 1.0)
    return (left * size * sign)[:, :num], (size**2 / np.sum(size**2))[:num]
