"""Can a benchmark tell systems apart, and does their ranking hold?

Letters: `S` repeated runs, `M` systems (models, strategies), `P` problems, `K` budgets.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from dwell.errors import UsageError
from dwell.metrics.arrays import FloatArray
from dwell.metrics.intervals import Interval
from dwell.metrics.ranking import kendall_tau


@dataclass(frozen=True, slots=True, kw_only=True)
class SeedVariance:
    """Spread of a score over runs that differ in nothing but the seed.

    Attributes:
        mean: over runs.
        standard_deviation: over runs (sample), NaN with a single run.
        signal_to_noise: mean over standard deviation; NaN where all runs agree. It grows with
            the mean, so compare it only at like accuracy.
    """

    mean: FloatArray
    standard_deviation: FloatArray
    signal_to_noise: FloatArray


def seed_variance(scores: npt.ArrayLike) -> SeedVariance:
    """Mean, spread and signal-to-noise ratio over runs with different seeds.

    `SNR = mean / sd`. Seeds show the noise of sampling on *these* problems; the interval over
    problems (`bootstrap_interval`) is usually several times wider and is what a claim needs.

    Args:
        scores: `[S]` or `[S, K]` accuracy of each run.

    Returns:
        `SeedVariance` of scalars or `[K]`.

    Raises:
        UsageError: no runs.

    References:
        Madaan et al., "Quantifying Variance in Evaluation Benchmarks" (2024).

    Examples:
        >>> found = seed_variance([0.421, 0.433, 0.418, 0.440, 0.428])
        >>> round(float(found.standard_deviation), 6), round(float(found.signal_to_noise), 2)
        (0.008916, 48.0)
    """
    table = np.asarray(scores, np.float64)
    if table.ndim == 0 or len(table) == 0:
        raise UsageError("`scores` must hold at least one run, but it is empty.")
    mean = table.mean(axis=0)
    spread = np.full(mean.shape, np.nan)
    if len(table) > 1:
        spread = table.std(axis=0, ddof=1)
        # Equal numbers may differ from their mean in the last digit: no spread either.
        spread = np.where(np.ptp(table, axis=0) == 0, 0.0, spread)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.where(spread > 0, mean / spread, np.nan)
    return SeedVariance(
        mean=np.asarray(mean), standard_deviation=np.asarray(spread), signal_to_noise=ratio
    )


def monotonicity(scores: npt.ArrayLike) -> FloatArray:
    """How steadily a score rises along an order: Kendall's tau-b with the position.

    The order is that of training checkpoints, or of budgets; for budgets compute each score
    from other draws than the others (disjoint blocks), or neighbours agree because they share
    draws.

    Args:
        scores: `[..., K]` in order.

    Returns:
        `[...]` in `[-1, 1]`, 1 for never falling; NaN for a constant.

    References:
        Madaan et al., "Quantifying Variance in Evaluation Benchmarks" (2024), monotonicity.

    Examples:
        >>> float(monotonicity([0.21, 0.25, 0.24, 0.30, 0.33]))
        0.8
    """
    table = np.asarray(scores, np.float64)
    return kendall_tau(np.arange(table.shape[-1], dtype=np.float64), table)


def ranking_agreement(scores: npt.ArrayLike) -> FloatArray:
    """Kendall's tau-b of the systems' rankings between any two budgets.

    A low value says that "which strategy is better" has no answer without "at which budget".
    For two conditions (before and after fine-tuning, two benchmarks) pass two columns.

    Args:
        scores: `[M, K]` accuracy of each system at each budget; NaN = not measured, and then
            that system is left out of the comparisons with that budget.

    Returns:
        `[K, K]`, symmetric; NaN where fewer than two systems are comparable or all tie.

    Raises:
        UsageError: not `[M, K]`.

    References:
        Kendall's tau as consistency of benchmarks, as in Madaan et al. (2024).

    Examples:
        >>> base, tuned = [0.30, 0.42, 0.38, 0.55], [0.50, 0.61, 0.64, 0.70]
        >>> float(ranking_agreement(np.transpose([base, tuned]))[0, 1].round(6))
        0.666667
    """
    table = np.asarray(scores, np.float64)
    if table.ndim != 2:
        raise UsageError(f"`scores` must be `[M, K]`, but got shape {table.shape}.")
    found = np.full((table.shape[1], table.shape[1]), np.nan)
    for i in range(table.shape[1]):
        for j in range(table.shape[1]):
            both = ~np.isnan(table[:, i]) & ~np.isnan(table[:, j])
            found[i, j] = kendall_tau(table[both, i], table[both, j])
    return found


def split_half_agreement(
    accuracy: npt.ArrayLike, *, num_splits: int = 200, level: float = 0.95, seed: int = 0
) -> Interval:
    """Do the two halves of a benchmark rank the systems alike? Mean tau-b over random halves.

    Below about 0.8 the benchmark should not be used to rank these systems.

    Args:
        accuracy: `[M, P]` accuracy of each system on each problem, M >= 2, P >= 2.
        num_splits: random halves.
        level: share of splits between `low` and `high` (a range of splits, not a confidence
            interval: splits share problems).
        seed: of the halves.

    Returns:
        `Interval` of scalars: mean over splits and their range; NaN where a split ties all.

    Raises:
        UsageError: fewer than two systems or problems, or NaN.

    Examples:
        >>> skill = np.linspace(0.1, 0.9, 5)[:, None]
        >>> float(split_half_agreement(np.tile(skill, 20), num_splits=10).value)
        1.0
    """
    table = np.asarray(accuracy, np.float64)
    if table.ndim != 2 or min(table.shape) < 2 or np.any(np.isnan(table)):
        raise UsageError(
            "`accuracy` must be `[M, P]` with at least two systems and two problems and no NaN, "
            f"but got shape {table.shape}. Keep the problems that all systems have."
        )
    rng = np.random.default_rng(seed)
    order = rng.permuted(np.tile(np.arange(table.shape[1]), (num_splits, 1)), axis=1)
    half = table.shape[1] // 2
    first = table[:, order[:, :half]].mean(axis=2).T
    second = table[:, order[:, half:]].mean(axis=2).T
    # Sums of the same marks in another order differ in the last digits: a tie nonetheless.
    taus = kendall_tau(first.round(12), second.round(12))
    low, high = np.quantile(taus, [(1 - level) / 2, (1 + level) / 2])
    return Interval(
        value=np.asarray(taus.mean()), low=np.asarray(low), high=np.asarray(high), level=level
    )
