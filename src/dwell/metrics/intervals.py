"""How far an accuracy may be off: proportions, standard errors, bootstrap over problems.

The unit of uncertainty is the problem (or a cluster of problems that share a passage or a
template), never the draw: more draws of the same problems do not make other problems known.
A study therefore draws one set of `Resamples` and uses it for every strategy and every budget;
bands and differences are then paired.

Letters: `P` problems, `K` budgets or repeats, `R` resamples, `G` clusters.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy

from dwell.errors import UsageError
from dwell.metrics.arrays import FloatArray, IntArray, as_counts

# With fewer than this many problems off the common value a bootstrap hardly sees the rare case.
_FEW = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """An estimate with its interval, a number or an array of them.

    Attributes:
        value: the estimate, any shape (0-dimensional for one number).
        low: lower end, same shape.
        high: upper end, same shape.
        level: nominal coverage of `[low, high]`, in (0, 1).
    """

    value: FloatArray
    low: FloatArray
    high: FloatArray
    level: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Resamples:
    """Bootstrap resamples of problems, drawn once and shared by all curves.

    Attributes:
        weights: `[R, P]`, how often each problem is in each resample.
        clusters: `[P]`, number of each problem's cluster from 0; its own where none was given.
    """

    weights: FloatArray
    clusters: IntArray


def wilson(successes: npt.ArrayLike, trials: npt.ArrayLike, *, level: float = 0.95) -> Interval:
    """Wilson's score interval of a proportion: the default for one draw of each problem.

    `(p + z^2/2n +- z sqrt(p(1-p)/n + z^2/4n^2)) / (1 + z^2/n)`. Never of zero width.

    Args:
        successes: count, scalar or array.
        trials: independent trials, broadcast against it; 0 trials give NaN.
        level: nominal coverage.

    Returns:
        `Interval` of the broadcast shape, in `[0, 1]`.

    Raises:
        UsageError: bad counts or level.

    References:
        Wilson, "Probable Inference, the Law of Succession, and Statistical Inference" (1927).

    Examples:
        >>> interval = wilson(8, 10)
        >>> float(interval.low.round(6)), float(interval.high.round(6))
        (0.490162, 0.943318)
    """
    x, n = _trials(successes, trials)
    z = _z(level)
    with np.errstate(invalid="ignore", divide="ignore"):
        p = x / n
        centre = (p + z**2 / (2 * n)) / (1 + z**2 / n)
        half = z * np.sqrt(p * (1 - p) / n + z**2 / (4 * n**2)) / (1 + z**2 / n)
    low = np.where(x == 0, np.where(n > 0, 0.0, np.nan), centre - half)
    high = np.where((x == n) & (n > 0), 1.0, centre + half)
    return Interval(value=p, low=low, high=high, level=level)


def clopper_pearson(
    successes: npt.ArrayLike, trials: npt.ArrayLike, *, level: float = 0.95
) -> Interval:
    """Clopper and Pearson's interval of a proportion: coverage at least `level`, always.

    Arguments, result and errors are those of `wilson`.

    References:
        Clopper and Pearson, "The Use of Confidence or Fiducial Limits" (1934): the beta
        quantiles `B(a/2; x, n-x+1)` and `B(1-a/2; x+1, n-x)`.

    Examples:
        >>> float(clopper_pearson(8, 10).low.round(6))
        0.443905
    """
    x, n = _trials(successes, trials)
    _z(level)
    tail = (1 - level) / 2
    with np.errstate(invalid="ignore", divide="ignore"):
        low = np.where(x > 0, scipy.special.betaincinv(np.maximum(x, 1), n - x + 1, tail), 0.0)
        high = np.where(
            x < n, scipy.special.betaincinv(x + 1, np.maximum(n - x, 1), 1 - tail), 1.0
        )
        p = x / n
    low, high = (np.where(n > 0, end, np.nan) for end in (low, high))
    return Interval(value=p, low=low, high=high, level=level)


def beta_posterior(
    num_correct: npt.ArrayLike, num_samples: npt.ArrayLike, *, level: float = 0.95
) -> Interval:
    """Success rate of *one problem* from its draws: mean and central interval of the posterior.

    `Beta(c+1, n-c+1)`, the posterior under a uniform prior.

    Examples:
        >>> interval = beta_posterior(3, 10)
        >>> [float(x.round(4)) for x in (interval.value, interval.low, interval.high)]
        [0.3333, 0.1093, 0.6097]
    """
    c, n = _trials(num_correct, num_samples)
    _z(level)
    tail = (1 - level) / 2
    low, high = (
        np.asarray(scipy.special.betaincinv(c + 1, n - c + 1, q), float) for q in (tail, 1 - tail)
    )
    return Interval(value=(c + 1) / (n + 2), low=low, high=high, level=level)


def clustered_standard_error(
    values: npt.ArrayLike,
    clusters: npt.ArrayLike | None = None,
    *,
    correction: bool = True,
) -> FloatArray:
    """Standard error of the mean over problems, problems of one cluster moving together.

    `SE = (1/P) sqrt( sum_g ( sum_{i in g} (s_i - mean) )^2 )`, times `sqrt(G / (G-1))` with
    `correction`; without clusters this is the usual sd / sqrt(P). Several draws of a problem
    must be averaged first: P is the number of problems.

    Args:
        values: `[P]` or `[P, K]`.
        clusters: `[P]` labels; None makes each problem its own cluster.
        correction: the factor for few clusters. Below about 20 clusters use a bootstrap or
            Student's t with G-1 degrees of freedom besides.

    Returns:
        Scalar array or `[K]`; NaN with a single cluster.

    Raises:
        UsageError: lengths differ.

    References:
        Miller, "Adding Error Bars to Evals" (2024), clustered standard errors.

    Examples:
        >>> scores = [1, 1, 0, 1, 0, 0, 0, 0, 1, 1]
        >>> round(float(clustered_standard_error(scores)), 6)
        0.166667
        >>> groups = [0, 0, 0, 1, 1, 2, 2, 2, 3, 3]
        >>> round(float(clustered_standard_error(scores, groups)), 6)
        0.216025
    """
    table = np.asarray(values, np.float64)
    label = _labels(clusters, len(table))
    num_clusters = int(label.max(initial=-1)) + 1
    deviation = table - table.mean(axis=0)
    sums = np.zeros((num_clusters, *table.shape[1:]))
    np.add.at(sums, label, deviation)
    error = np.sqrt(np.sum(sums**2, axis=0)) / len(table)
    if num_clusters < 2:
        return np.full(np.shape(error), np.nan)
    factor = np.sqrt(num_clusters / (num_clusters - 1)) if correction else 1.0
    return np.asarray(error * factor, np.float64)


def variance_split(values: npt.ArrayLike) -> tuple[float, float]:
    """Variance of scores within and between problems.

    `within = mean_i var_i` and `between = var(means) - within / K`: drawing more samples of each
    problem lowers only the first part, `Var(mean) = (between + within / K) / P`.

    Args:
        values: `[P, K]`, K >= 2 repeats of each of P >= 2 problems.

    Returns:
        (within, between); `between` may come out slightly negative and is not clipped.

    Raises:
        UsageError: fewer than two problems or repeats.

    References:
        Miller, "Adding Error Bars to Evals" (2024), law of total variance.

    Examples:
        >>> variance_split([[1, 1, 0, 1], [0, 0, 0, 1], [1, 1, 1, 1], [0, 1, 0, 0]])
        (0.1875, 0.09375)
    """
    table = np.asarray(values, np.float64)
    if table.ndim != 2 or min(table.shape) < 2:
        raise UsageError(
            f"`values` must be `[P, K]` with P >= 2 and K >= 2, but got shape {table.shape}. "
            "Record at least two draws of two problems."
        )
    within = float(table.var(axis=1, ddof=1).mean())
    return within, float(table.mean(axis=1).var(ddof=1)) - within / table.shape[1]


def resample_problems(
    num_problems: int,
    *,
    clusters: npt.ArrayLike | None = None,
    num_resamples: int = 2000,
    seed: int = 0,
) -> Resamples:
    """Draw bootstrap resamples of problems, or of whole clusters of them, with replacement.

    Args:
        num_problems: P.
        clusters: `[P]` labels; None makes each problem its own cluster.
        num_resamples: R; 2000 fixes the ends of a 95 % interval to about 2 % of its width.
        seed: the resamples are a function of the arguments alone.

    Returns:
        `Resamples`, to be shared by all curves over the same problems in the same order.

    Raises:
        UsageError: no problems, or lengths differ.

    Examples:
        >>> resamples = resample_problems(4, clusters=["a", "a", "b", "b"], num_resamples=3)
        >>> together = resamples.weights[:, 0] == resamples.weights[:, 1]
        >>> resamples.weights.shape, bool(together.all())
        ((3, 4), True)
    """
    if num_problems < 1 or num_resamples < 1:
        raise UsageError(
            "a bootstrap needs at least one problem and one resample, but got "
            f"{num_problems=}, {num_resamples=}."
        )
    label = _labels(clusters, num_problems)
    num_clusters = int(label.max()) + 1
    rng = np.random.default_rng(seed)
    chosen = rng.integers(num_clusters, size=(num_resamples, num_clusters))
    cells = chosen + num_clusters * np.arange(num_resamples)[:, None]
    times = np.bincount(cells.ravel(), minlength=num_resamples * num_clusters)
    weights = times.reshape(num_resamples, num_clusters)[:, label].astype(np.float64)
    return Resamples(weights=weights, clusters=label)


def bootstrap_interval(
    values: npt.ArrayLike,
    resamples: Resamples,
    *,
    level: float = 0.95,
    bounds: tuple[float, float] | None = (0.0, 1.0),
) -> Interval:
    """Mean over problems with a percentile bootstrap interval, for all budgets at once.

    Where all problems have the same value (all right, all wrong) each resample repeats it and a
    bootstrap claims certainty. The interval is then Wilson's: a share u of problems, the upper
    end of Wilson's interval for none seen, may differ, and by as much as `bounds` allow. For
    values of 0 or 1 that *is* Wilson's interval of the mean. While fewer than five problems
    (clusters) differ from the most common value the same reasoning is joined to the bootstrap:
    the shares that lie above and below it have Wilson intervals, which add up as in Newcombe's
    interval for paired proportions.

    Args:
        values: `[P]` or `[P, K]`, one value of each problem; a column with a NaN gives NaN, for
            another set of problems would be another quantity.
        resamples: of the same problems.
        level: nominal coverage.
        bounds: least and greatest possible value; None for quantities without bounds (tokens),
            for which equal values do give zero width.

    Returns:
        `Interval` of scalars or `[K]`.

    Raises:
        UsageError: lengths differ, or a value lies outside `bounds`.

    References:
        Efron and Tibshirani, "An Introduction to the Bootstrap" (1993), section 13.3, for the
        percentile interval. Newcombe, "Improved Confidence Intervals for the Difference Between
        Binomial Proportions Based on Paired Data" (1998), for the sum of Wilson intervals, here
        without its term for correlation.

    Examples:
        >>> interval = bootstrap_interval([1.0] * 20, resample_problems(20))
        >>> float(interval.low.round(3)), float(interval.high)
        (0.839, 1.0)
    """
    table = np.asarray(values, np.float64)
    columns = table[:, None] if table.ndim == 1 else table
    _check_values(columns, resamples, bounds)
    _z(level)
    weights = resamples.weights
    means = weights @ columns / weights.sum(axis=1, keepdims=True)
    tail = (1 - level) / 2
    low, high = np.quantile(means, [tail, 1 - tail], axis=0)
    if bounds is not None:
        for column in range(columns.shape[1]):
            least, most = _rare_case_range(columns[:, column], resamples.clusters, level, bounds)
            # fmin and fmax let a NaN column keep its NaN from the quantiles below.
            low[column] = np.fmin(low[column], least)
            high[column] = np.fmax(high[column], most)
    value = columns.mean(axis=0)
    low, high = (np.where(np.isnan(value), np.nan, end) for end in (low, high))
    if table.ndim == 1:
        value, low, high = value[0], low[0], high[0]
    return Interval(
        value=np.asarray(value), low=np.asarray(low), high=np.asarray(high), level=level
    )


def _rare_case_range(
    values: FloatArray, clusters: IntArray, level: float, bounds: tuple[float, float]
) -> tuple[float, float]:
    """Range of the mean given how many rare cases may have been missed; NaN where not rare."""
    common, count = np.unique(values, return_counts=True)
    mode = float(common[np.argmax(count)])
    if np.isnan(mode) or len(np.unique(clusters[values != mode])) >= _FEW:
        return np.nan, np.nan
    less_up, more_up = _side(values - mode, clusters, level, bounds[1] - mode)
    less_down, more_down = _side(mode - values, clusters, level, mode - bounds[0])
    mean = float(values.mean())
    return mean - float(np.hypot(less_up, more_down)), mean + float(np.hypot(more_up, less_down))


def _side(
    excess: FloatArray, clusters: IntArray, level: float, room: float
) -> tuple[float, float]:
    """How much less and how much more the cases on one side may contribute to the mean."""
    num_clusters = int(clusters.max()) + 1
    share = wilson(len(np.unique(clusters[excess > 0])), num_clusters, level=level)
    seen = float(np.maximum(excess, 0.0).mean())
    less = seen * float(1.0 - share.low / share.value) if seen > 0 else 0.0
    return less, float(share.high - share.value) * room


def _check_values(
    columns: FloatArray, resamples: Resamples, bounds: tuple[float, float] | None
) -> None:
    if len(columns) != resamples.weights.shape[1]:
        raise UsageError(
            "`values` must hold one row for each resampled problem, but got "
            f"{len(columns)} rows and {resamples.weights.shape[1]} problems. "
            "Resample the problems that the values belong to."
        )
    if bounds is not None and (
        np.nanmin(columns, initial=bounds[0]) < bounds[0]
        or np.nanmax(columns, initial=bounds[1]) > bounds[1]
    ):
        raise UsageError(
            f"`values` must lie in {bounds}, but they reach from {np.nanmin(columns):g} to "
            f"{np.nanmax(columns):g}. Pass bounds=None for a quantity without bounds."
        )


def _labels(clusters: npt.ArrayLike | None, num: int) -> IntArray:
    """Clusters as numbers from 0."""
    if clusters is None:
        return np.arange(num, dtype=np.int64)
    label = np.asarray(clusters)
    if label.shape != (num,):
        raise UsageError(
            f"`clusters` must label each of {num} problems, but got shape {label.shape}."
        )
    return np.unique(label, return_inverse=True)[1].astype(np.int64)


def _trials(successes: npt.ArrayLike, trials: npt.ArrayLike) -> tuple[FloatArray, FloatArray]:
    x, n = np.broadcast_arrays(as_counts("successes", successes), as_counts("trials", trials))
    if np.any(x > n):
        raise UsageError(
            f"`successes` must be at most `trials`, but got {x[x > n][0]} of {n[x > n][0]}."
        )
    return x.astype(np.float64), n.astype(np.float64)


def _z(level: float) -> float:
    """Two-sided normal quantile of a level."""
    if not 0 < level < 1:
        raise UsageError(f"`level` must lie strictly between 0 and 1, but got {level}. Try 0.95.")
    return float(scipy.special.ndtri((1 + level) / 2))
