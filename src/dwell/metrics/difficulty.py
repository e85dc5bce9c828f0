"""How hard is a problem, and how able a model: abilities, and bins that do not flatter.

Letters: `P` problems, `N` draws, `D` demand levels, `B` bins.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from dwell.errors import UsageError
from dwell.metrics.arrays import BoolArray, FloatArray, IntArray, as_counts
from dwell.metrics.logistic import Status, fit_line


@dataclass(frozen=True, slots=True, kw_only=True)
class Ability:
    """Where a model's success crosses one half on a scale of demands.

    Attributes:
        level: the demand level with even chances; -inf or inf where the model never or always
            succeeds, for then the scale only bounds it.
        slope: change of the log-odds per level, negative where demand hurts.
        status: of the fit; "separable" where success ends at a level abruptly, so that only
            `level` and not `slope` means something; "constant" for all right or all wrong.
    """

    level: float
    slope: float
    status: Status


def ability(levels: npt.ArrayLike, successes: npt.ArrayLike, trials: npt.ArrayLike) -> Ability:
    """Ability of a model on a demand scale: the level at which half of the problems are solved.

    A logistic curve of success on level; ability = -intercept / slope. Use only the problems in
    which this scale is the dominating demand, or other demands are read as this one.

    Args:
        levels: `[D]` demand levels (the paper's scales run from 0 to 5).
        successes: `[D]` problems solved at each; shares of draws may be summed.
        trials: `[D]` problems at each.

    Returns:
        `Ability`. A slope that is not negative has no ability on this scale: NaN.

    Raises:
        UsageError: shapes differ, or more successes than trials.

    References:
        Zhou et al., "General Scales Unlock AI Evaluation with Explanatory and Predictive Power"
        (2025), ADeLe.

    Examples:
        >>> found = ability([0, 1, 2, 3, 4, 5], [20, 19, 16, 10, 4, 1], [20] * 6)
        >>> round(found.slope, 6), round(found.level, 6)
        (-1.483019, 3.011877)
    """
    x, s, n = (np.asarray(v, np.float64) for v in (levels, successes, trials))
    if x.ndim != 1 or x.shape != s.shape or s.shape != n.shape or not np.all((s >= 0) & (s <= n)):
        raise UsageError(
            "`levels`, `successes` and `trials` must be `[D]` with at most as many successes as "
            f"trials, but got shapes {x.shape}, {s.shape}, {n.shape}."
        )
    line = fit_line(x, s, n)
    if line.status == "constant":
        level = np.inf if s.sum() > 0 else -np.inf if n.sum() > 0 else np.nan
    else:
        level = -line.intercept / line.slope if line.slope < 0 else np.nan
    return Ability(level=float(level), slope=line.slope, status=line.status)


@dataclass(frozen=True, slots=True, kw_only=True)
class DifficultyBins:
    """Bins of difficulty made from one half of the draws, to be measured on the other.

    Attributes:
        bin: `[P]`, 0 (hardest) to B - 1 (easiest).
        seen: `[P, N]`, the draws that made the bins; measure on `~seen` only.
        accuracy: `[B]` mean success of each bin on the *other* half.
        flattered: `[B]` the same on the half that made the bins: what regression to the mean
            would add.
    """

    bin: IntArray
    seen: BoolArray
    accuracy: FloatArray
    flattered: FloatArray


def difficulty_bins(correct: npt.ArrayLike, *, num_bins: int = 5, seed: int = 0) -> DifficultyBins:
    """Equal bins of problems by success rate, with split halves of each problem's draws.

    Problems that happened to do badly are put among the hard ones; the same draws then show them
    too hard, and an adaptive policy tuned and measured on them looks better than it is.

    Args:
        correct: `[P, N]` in `[0, 1]`, N >= 2, P >= `num_bins`.
        num_bins: B; five in the paper.
        seed: of the halves, and of the order of problems with equal rates.

    Returns:
        `DifficultyBins`.

    Raises:
        UsageError: too few draws or problems, or NaN.

    References:
        Snell et al., "Scaling LLM Test-Time Compute Optimally Can Be More Effective than Scaling
        Model Parameters" (2024), section 3.2: five quantile bins of pass@1.

    Examples:
        >>> rates = np.random.default_rng(0).random((200, 1))
        >>> correct = np.random.default_rng(1).random((200, 8)) < rates
        >>> bins = difficulty_bins(correct)
        >>> bool(bins.flattered[0] < bins.accuracy[0]), bool(bins.flattered[4] > bins.accuracy[4])
        (True, True)
    """
    marks = np.asarray(correct, np.float64)
    if marks.ndim != 2 or marks.shape[1] < 2 or not 1 <= num_bins <= len(marks):
        raise UsageError(
            "`correct` must be `[P, N]` with N >= 2 and at least as many problems as bins, but "
            f"got shape {marks.shape} and {num_bins=}. Lower num_bins or record more draws."
        )
    if np.any(np.isnan(marks)):
        raise UsageError("`correct` must not be NaN: a failed draw is wrong, 0.")
    rng = np.random.default_rng(seed)
    order = rng.permuted(np.tile(np.arange(marks.shape[1]), (len(marks), 1)), axis=1)
    seen = order < marks.shape[1] // 2
    first = np.sum(marks * seen, axis=1) / seen.sum(axis=1)
    second = np.sum(marks * ~seen, axis=1) / (~seen).sum(axis=1)
    rank = np.empty(len(marks), np.int64)
    rank[np.lexsort((rng.random(len(marks)), first))] = np.arange(len(marks))
    index = rank * num_bins // len(marks)
    size = np.bincount(index, minlength=num_bins)
    return DifficultyBins(
        bin=index,
        seen=seen,
        accuracy=np.bincount(index, second, num_bins) / size,
        flattered=np.bincount(index, first, num_bins) / size,
    )


def success_profile(num_correct: npt.ArrayLike, num_samples: npt.ArrayLike) -> FloatArray:
    """Success rates of each problem under a ladder of models or budgets, `[P, F]`.

    The features of `difficulty_clusters`: `c / n`, NaN where nothing was drawn.

    Examples:
        >>> success_profile([[1, 5], [0, 2]], 10).tolist()
        [[0.1, 0.5], [0.0, 0.2]]
    """
    c = as_counts("num_correct", num_correct)
    n = np.broadcast_to(as_counts("num_samples", num_samples), c.shape)
    if np.any(c > n):
        raise UsageError(f"`num_correct` must be at most `num_samples`, but got {c[c > n][0]}.")
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(n > 0, c / n, np.nan)
