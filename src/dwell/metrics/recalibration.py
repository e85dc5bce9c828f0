"""Maps from a stated confidence to one that means what it says, fitted on held-out problems.

Fit on other problems than those measured: draws of one problem in both parts leak its
difficulty. `cross_fitted` does so by folds of problems. A map can only help where confidence
ranks at all; look at `auroc` and `brier_skill` after, not at the calibration error alone.

Pairs with a NaN are left out of the fit and stay NaN when mapped.

Letters: `M` pairs of a confidence and a correctness, `B` bins.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt
import scipy
from sklearn.isotonic import IsotonicRegression

from dwell.errors import UsageError
from dwell.metrics.arrays import FloatArray, as_shares, same_shape
from dwell.metrics.calibration import mass_edges
from dwell.metrics.logistic import LogisticLine, Status, fit_line
from dwell.metrics.proper_scores import known_pairs

# Confidences of 0 and 1 have no finite log-odds; a millionth is far below what can be measured.
_CLIP = 1e-6


class Recalibrator(Protocol):
    """What every fitted map does."""

    def apply(self, confidence: npt.ArrayLike) -> FloatArray:
        """Recalibrated confidences, any shape, NaN where they were NaN."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class LogOddsMap:
    """`p' = sigmoid(slope logit(p) + intercept)`.

    Attributes:
        slope: below 1 for an overconfident source.
        intercept: shift of the log-odds.
        status: "fitted"; "separable" where right and wrong do not overlap in confidence (a weak
            ridge keeps the slope finite); "constant" where all were right or all wrong (the map
            is the smoothed base rate (s+1)/(m+2)).
    """

    slope: float
    intercept: float
    status: Status

    @property
    def temperature(self) -> float:
        """The divisor of the log-odds, 1 / slope; above 1 for an overconfident source."""
        return 1.0 / self.slope if self.slope != 0 else float("inf")

    def apply(self, confidence: npt.ArrayLike) -> FloatArray:
        """Recalibrated confidences, any shape."""
        line = LogisticLine(slope=self.slope, intercept=self.intercept, status=self.status)
        return line.predict(_log_odds(as_shares("confidence", confidence)))


@dataclass(frozen=True, slots=True, kw_only=True)
class StepMap:
    """`p' = values[bin of line(p)]`: few outputs, so their calibration error can be measured.

    Attributes:
        line: the map that the bins were made of.
        edges: `[B-1]` of its outputs, bins closed on the right.
        values: `[B]` output of each bin.
    """

    line: LogOddsMap
    edges: FloatArray
    values: FloatArray

    def apply(self, confidence: npt.ArrayLike) -> FloatArray:
        """Recalibrated confidences, any shape."""
        smooth = self.line.apply(confidence)
        stepped = self.values[np.searchsorted(self.edges, smooth, side="left")]
        return np.where(np.isnan(smooth), np.nan, stepped)


@dataclass(frozen=True, slots=True, kw_only=True)
class MonotoneMap:
    """A rising curve through given points, straight between them and flat beyond.

    Attributes:
        confidence: `[B]` rising.
        accuracy: `[B]`, not falling.
    """

    confidence: FloatArray
    accuracy: FloatArray

    def apply(self, confidence: npt.ArrayLike) -> FloatArray:
        """Recalibrated confidences, any shape."""
        shares = as_shares("confidence", confidence)
        return np.asarray(np.interp(shares, self.confidence, self.accuracy), np.float64)


def fit_platt(confidence: npt.ArrayLike, correct: npt.ArrayLike) -> LogOddsMap:
    """Platt scaling: unpenalised logistic regression of correctness on the log-odds.

    Args:
        confidence: `[M]` in `[0, 1]`.
        correct: `[M]` in `[0, 1]`.

    Returns:
        `LogOddsMap`; see its status.

    Raises:
        UsageError: shapes differ, values outside `[0, 1]`, or no pairs.

    References:
        Platt, "Probabilistic Outputs for Support Vector Machines" (1999), without its smoothed
        targets.

    Examples:
        >>> p = [0.1, 0.2, 0.3, 0.3, 0.6, 0.7, 0.8, 0.8, 0.9, 0.95]
        >>> fitted = fit_platt(p, [0, 0, 1, 0, 1, 0, 1, 1, 1, 1])
        >>> round(fitted.slope, 6), round(fitted.intercept, 6)
        (1.280611, 0.222744)
    """
    p, y = _some_pairs(confidence, correct)
    line = fit_line(_log_odds(p), y, np.ones(len(y)))
    return LogOddsMap(slope=line.slope, intercept=line.intercept, status=line.status)


def fit_temperature(confidence: npt.ArrayLike, correct: npt.ArrayLike) -> LogOddsMap:
    """Temperature scaling, `sigmoid(logit(p) / T)` with T of maximum likelihood.

    Where confidence ranks the wrong way round the best T is infinite and every output 0.5.
    Arguments and errors are those of `fit_platt`.

    References:
        Guo, Pleiss, Sun and Weinberger, "On Calibration of Modern Neural Networks" (2017).

    Examples:
        >>> p = [0.1, 0.2, 0.3, 0.3, 0.6, 0.7, 0.8, 0.8, 0.9, 0.95]
        >>> round(fit_temperature(p, [0, 0, 1, 0, 1, 0, 1, 1, 1, 1]).temperature, 6)
        0.775614
    """
    p, y = _some_pairs(confidence, correct)
    line = fit_line(_log_odds(p), y, np.ones(len(y)), intercept=False)
    slope = line.slope if line.status == "constant" else max(line.slope, 0.0)
    return LogOddsMap(slope=slope, intercept=line.intercept, status=line.status)


def fit_scaling_binning(
    confidence: npt.ArrayLike, correct: npt.ArrayLike, *, num_bins: int = 15
) -> StepMap:
    """Scaling-binning: Platt scaling, then the mean fitted value of each bin of equal mass.

    Its few outputs make the remaining error measurable, with fewer pairs than averaging
    correctness by bins. Bins are made of the pairs that the line was fitted on, as in the
    released library; in theory of another split.

    Args:
        confidence: `[M]` in `[0, 1]`.
        correct: `[M]` in `[0, 1]`.
        num_bins: at most.

    Returns:
        `StepMap`.

    Raises:
        UsageError: those of `fit_platt`, or no bins.

    References:
        Kumar, Liang and Ma, "Verified Uncertainty Calibration" (2019), algorithm 1.

    Examples:
        >>> p = [0.1, 0.2, 0.3, 0.3, 0.6, 0.7, 0.8, 0.8, 0.9, 0.95]
        >>> fitted = fit_scaling_binning(p, [0, 0, 1, 0, 1, 0, 1, 1, 1, 1], num_bins=2)
        >>> fitted.values.round(3).tolist()
        [0.303, 0.897]
    """
    if num_bins < 1:
        raise UsageError(f"`num_bins` must be at least 1, but got {num_bins}.")
    p, y = _some_pairs(confidence, correct)
    line = fit_platt(p, y)
    smooth = line.apply(p)
    edges = mass_edges(smooth, num_bins)
    index = np.searchsorted(edges, smooth, side="left")
    count = np.bincount(index, minlength=len(edges) + 1)
    values = np.bincount(index, smooth, len(edges) + 1) / count
    return StepMap(line=line, edges=edges, values=values)


def fit_isotonic(confidence: npt.ArrayLike, correct: npt.ArrayLike) -> MonotoneMap:
    """Isotonic regression of correctness on confidence (pool adjacent violators).

    Free of a shape, so it wants some hundreds of pairs; with few it repeats their noise.
    Arguments and errors are those of `fit_platt`.

    References:
        Zadrozny and Elkan, "Transforming Classifier Scores into Accurate Multiclass Probability
        Estimates" (2002); computed by scikit-learn's `IsotonicRegression`.

    Examples:
        >>> fit_isotonic([0.1, 0.4, 0.6, 0.9], [0, 1, 0, 1]).apply([0.1, 0.5, 0.9]).tolist()
        [0.0, 0.5, 1.0]
    """
    p, y = _some_pairs(confidence, correct)
    fitted = IsotonicRegression(out_of_bounds="clip").fit(p, y)
    return MonotoneMap(
        confidence=np.asarray(fitted.X_thresholds_, np.float64),
        accuracy=np.asarray(fitted.y_thresholds_, np.float64),
    )


def cross_fitted(
    fit: Callable[[FloatArray, FloatArray], Recalibrator],
    confidence: npt.ArrayLike,
    correct: npt.ArrayLike,
    problems: npt.ArrayLike,
    *,
    num_folds: int = 5,
    seed: int = 0,
) -> FloatArray:
    """Recalibrated confidences, each from a map that was fitted on other problems.

    Args:
        fit: one of the `fit_*` functions.
        confidence: `[M]` in `[0, 1]`.
        correct: `[M]` in `[0, 1]`.
        problems: `[M]` label of each pair's problem (or cluster), kept in one fold.
        num_folds: at least 2, at most the number of problems.
        seed: of the folds.

    Returns:
        `[M]`, NaN where the confidence is.

    Raises:
        UsageError: shapes differ, or fewer problems than folds.

    Examples:
        >>> confidence, correct = [0.9, 0.9, 0.6, 0.6] * 2, [1, 0, 1, 0] * 2
        >>> problems = [0, 0, 0, 0, 1, 1, 1, 1]
        >>> mapped = cross_fitted(fit_platt, confidence, correct, problems, num_folds=2)
        >>> mapped.round(6).tolist()
        [0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5]
    """
    p, y = same_shape(confidence=confidence, correct=correct)
    label = np.unique(np.asarray(problems), return_inverse=True)[1]
    num_problems = int(label.max(initial=-1)) + 1
    if label.shape != p.shape or not 2 <= num_folds <= num_problems:
        raise UsageError(
            "`problems` must label each pair, with at least `num_folds` >= 2 problems, but got "
            f"shape {label.shape} for {p.shape}, {num_problems} problems and {num_folds=}."
        )
    order = np.random.default_rng(seed).permutation(num_problems)
    fold = (order % num_folds)[label]
    mapped = np.full(p.shape, np.nan)
    for left_out in range(num_folds):
        inside = fold == left_out
        mapped[inside] = fit(p[~inside], y[~inside]).apply(p[inside])
    return mapped


def _some_pairs(
    confidence: npt.ArrayLike, correct: npt.ArrayLike
) -> tuple[FloatArray, FloatArray]:
    p, y = known_pairs(confidence, correct)
    if len(p) == 0:
        raise UsageError("a map needs at least one pair that has both a confidence and a grade.")
    return p, y


def _log_odds(p: FloatArray) -> FloatArray:
    return np.asarray(scipy.special.logit(np.clip(p, _CLIP, 1.0 - _CLIP)), np.float64)
