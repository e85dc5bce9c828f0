"""Does a stated confidence mean what it says? Binned calibration errors.

Fix the unit first: each draw, each selected answer, or each problem. Draws of one problem err
together, so intervals resample problems. Never report a calibration error alone: a constant at
the base rate is perfectly calibrated and useless. Its companions are `brier_skill` and `auroc`.

Pairs with a NaN (not asked, not graded) are left out by every function here.

Letters: `M` pairs of a confidence and a correctness, `B` bins.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from dwell.errors import UsageError
from dwell.metrics.arrays import FloatArray, IntArray
from dwell.metrics.intervals import Interval, Resamples
from dwell.metrics.proper_scores import known_pairs

Scheme = Literal["mass", "width"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReliabilityBins:
    """The points of a reliability diagram, empty bins left out.

    Attributes:
        count: `[B]` pairs in each bin.
        confidence: `[B]` mean confidence.
        accuracy: `[B]` mean correctness; calibrated where the two agree.
    """

    count: IntArray
    confidence: FloatArray
    accuracy: FloatArray


def reliability_bins(
    confidence: npt.ArrayLike,
    correct: npt.ArrayLike,
    *,
    num_bins: int = 15,
    scheme: Scheme = "mass",
) -> ReliabilityBins:
    """Mean confidence and mean correctness by bins of confidence.

    Args:
        confidence: `[M]` in `[0, 1]`.
        correct: `[M]` in `[0, 1]`.
        num_bins: at most; equal confidences are never parted, so there may be fewer.
        scheme: "mass" puts equally many pairs in each bin, "width" makes equally wide ones.
            Bins are closed on the right.

    Returns:
        `ReliabilityBins`.

    Raises:
        UsageError: shapes differ, values outside `[0, 1]`, or no bins.

    Examples:
        >>> bins = reliability_bins([0.1, 0.2, 0.8, 0.9], [0, 0, 1, 0], num_bins=2)
        >>> bins.count.tolist(), bins.accuracy.tolist()
        ([2, 2], [0.0, 0.5])
    """
    p, y = known_pairs(confidence, correct)
    index = _bin_index(p, num_bins, scheme)
    count = np.bincount(index, minlength=num_bins)
    used = count > 0
    return ReliabilityBins(
        count=count[used].astype(np.int64),
        confidence=np.bincount(index, p, num_bins)[used] / count[used],
        accuracy=np.bincount(index, y, num_bins)[used] / count[used],
    )


def calibration_error(
    confidence: npt.ArrayLike,
    correct: npt.ArrayLike,
    *,
    norm: float = 1,
    num_bins: int = 15,
    scheme: Scheme = "mass",
) -> float:
    """Binned calibration error: ECE (norm 1), root mean square (2) or largest (infinity).

    `CE_q = (sum_b w_b |conf_b - acc_b|^q)^(1/q)`. Finer bins have a larger error by noise alone
    (`debiased_calibration_error`), and for continuous confidences any binned value is a lower
    bound of the true one.

    Args:
        confidence: `[M]` in `[0, 1]`.
        correct: `[M]` in `[0, 1]`.
        norm: q, at least 1; `inf` gives the maximum calibration error.
        num_bins: of `reliability_bins`.
        scheme: of `reliability_bins`.

    Returns:
        In `[0, 1]`; NaN without pairs.

    Raises:
        UsageError: those of `reliability_bins`, or a norm below 1.

    References:
        Naeini, Cooper and Hauskrecht, "Obtaining Well Calibrated Probabilities Using Bayesian
        Binning" (2015).

    Examples:
        >>> p = [0.1, 0.2, 0.3, 0.3, 0.6, 0.7, 0.8, 0.8, 0.9, 0.95]
        >>> y = [0, 0, 1, 0, 1, 0, 1, 1, 1, 1]
        >>> round(calibration_error(p, y, num_bins=5), 6)
        0.155
    """
    if not norm >= 1:
        raise UsageError(f"`norm` must be at least 1, but got {norm}. Take 1, 2 or infinity.")
    bins = reliability_bins(confidence, correct, num_bins=num_bins, scheme=scheme)
    if len(bins.count) == 0:
        return float("nan")
    gap = np.abs(bins.confidence - bins.accuracy)
    if np.isinf(norm):
        return float(gap.max())
    return float(np.average(gap**norm, weights=bins.count) ** (1.0 / norm))


def debiased_calibration_error(
    confidence: npt.ArrayLike,
    correct: npt.ArrayLike,
    *,
    norm: Literal[1, 2] = 2,
    num_bins: int = 15,
    scheme: Scheme = "mass",
    num_resamples: int = 1000,
    seed: int = 0,
) -> float:
    """Calibration error without the part that the noise of the bins adds.

    Norm 2: `CE^2 = sum_b w_b [(conf_b - acc_b)^2 - acc_b (1 - acc_b) / (n_b - 1)]`, bins of one
    pair left at 0, and the root of it where positive, else 0. Norm 1: twice the plug-in error
    less its mean when each bin's correctness is redrawn from a normal distribution around it.

    Args:
        confidence: `[M]` in `[0, 1]`.
        correct: `[M]`, 0 or 1.
        norm: 1 or 2.
        num_bins: of `reliability_bins`.
        scheme: of `reliability_bins`.
        num_resamples: redraws, for norm 1.
        seed: of the redraws.

    Returns:
        In `[0, 1]` for norm 2; may be slightly negative for norm 1. NaN without pairs.

    Raises:
        UsageError: those of `reliability_bins`; or, for norm 1, a bin with a single pair.

    References:
        Kumar, Liang and Ma, "Verified Uncertainty Calibration" (2019), definition 5.1 and
        appendix.

    Examples:
        >>> p = [0.1, 0.2, 0.3, 0.3, 0.6, 0.7, 0.8, 0.8, 0.9, 0.95]
        >>> debiased_calibration_error(p, [0, 0, 1, 0, 1, 0, 1, 1, 1, 1], num_bins=5)
        0.0
    """
    bins = reliability_bins(confidence, correct, num_bins=num_bins, scheme=scheme)
    if len(bins.count) == 0:
        return float("nan")
    share = bins.count / bins.count.sum()
    variance = bins.accuracy * (1.0 - bins.accuracy)
    if norm == 2:
        square = (bins.confidence - bins.accuracy) ** 2
        noise = variance / np.maximum(bins.count - 1, 1)
        return float(np.sqrt(max(0.0, share @ np.where(bins.count > 1, square - noise, 0.0))))
    if np.any(bins.count < 2):
        raise UsageError(
            "the debiased error of norm 1 needs at least two pairs in every bin, but a bin has "
            f"one with {num_bins=}. Use fewer bins or norm=2."
        )
    rng = np.random.default_rng(seed)
    spread = np.sqrt(variance / bins.count)
    redrawn = rng.normal(bins.accuracy, spread, size=(num_resamples, len(spread)))
    plug_in = share @ np.abs(bins.confidence - bins.accuracy)
    return float(2.0 * plug_in - np.mean(np.abs(redrawn - bins.confidence) @ share))


def calibration_interval(
    confidence: npt.ArrayLike,
    correct: npt.ArrayLike,
    resamples: Resamples,
    *,
    norm: float = 1,
    num_bins: int = 15,
    scheme: Scheme = "mass",
    level: float = 0.95,
) -> Interval:
    """Calibration error with a bootstrap interval, reflected around the estimate.

    A resample's error is too large by about as much as the estimate's own, so percentiles are
    reflected: `[2 CE - q_high, 2 CE - q_low]`, cut off at 0. Bins stay those of the data.

    Args:
        confidence: `[M]` in `[0, 1]`, without NaN.
        correct: `[M]` in `[0, 1]`, without NaN.
        resamples: of the M pairs; name the problems as its clusters where there are several
            pairs of a problem.
        norm: of `calibration_error`, finite.
        num_bins: of `reliability_bins`.
        scheme: of `reliability_bins`.
        level: nominal coverage.

    Returns:
        `Interval` of scalars.

    Raises:
        UsageError: those of `calibration_error`, or another number of pairs than `resamples`.

    References:
        Kumar, Liang and Ma, "Verified Uncertainty Calibration" (2019), its released library.

    Examples:
        >>> from dwell.metrics import resample_problems
        >>> confidence, correct = [0.9] * 40, [1] * 24 + [0] * 16
        >>> interval = calibration_interval(confidence, correct, resample_problems(40))
        >>> round(float(interval.value), 3), bool(interval.low > 0.1)
        (0.3, True)
    """
    p, y = known_pairs(confidence, correct)
    if resamples.weights.shape[1] != len(p) or len(p) == 0:
        raise UsageError(
            f"`resamples` must be of the {len(p)} pairs without NaN, but they are of "
            f"{resamples.weights.shape[1]}. Leave out NaN before resampling."
        )
    value = calibration_error(p, y, norm=norm, num_bins=num_bins, scheme=scheme)
    index = _bin_index(p, num_bins, scheme)
    excess = np.zeros((len(p), num_bins))
    excess[np.arange(len(p)), index] = p - y
    inside = np.zeros((len(p), num_bins))
    inside[np.arange(len(p)), index] = 1.0
    weights = resamples.weights
    mass, gap = weights @ inside, np.abs(weights @ excess)
    mean = np.divide(gap, mass, where=mass > 0, out=np.zeros(gap.shape))
    error = (np.sum(mass * mean**norm, axis=1) / weights.sum(axis=1)) ** (1.0 / norm)
    low, high = np.quantile(error, [(1 - level) / 2, (1 + level) / 2])
    ends = (np.array(max(0.0, 2 * value - high)), np.array(max(0.0, 2 * value - low)))
    return Interval(value=np.array(value), low=ends[0], high=ends[1], level=level)


def mass_edges(values: FloatArray, num_bins: int) -> FloatArray:
    """Upper edges, between neighbours, of bins of equal mass; the last bin has none.

    Equal values are not parted, so there may be fewer than `num_bins` bins; none is empty.
    """
    parts = np.array_split(np.sort(values), min(num_bins, max(len(values), 1)))
    edges = np.array([(a[-1] + b[0]) / 2 for a, b in zip(parts, parts[1:], strict=False)])
    used = np.unique(np.searchsorted(np.unique(edges), values, side="left"))
    return np.asarray(np.unique(edges)[used[:-1]], np.float64)


def _bin_index(p: FloatArray, num_bins: int, scheme: Scheme) -> IntArray:
    if num_bins < 1 or scheme not in ("mass", "width"):
        raise UsageError(
            "`num_bins` must be at least 1 and `scheme` 'mass' or 'width', but got "
            f"{num_bins=}, {scheme=}."
        )
    edges = mass_edges(p, num_bins) if scheme == "mass" else np.arange(1, num_bins) / num_bins
    return np.searchsorted(edges, p, side="left").astype(np.int64)
