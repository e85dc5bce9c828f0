"""What tokens buy within one problem or along one stream of them.

Each function is a published summary of accuracy against tokens, and each hides something: read
it beside the accuracy itself.

Letters: `P` problems, `L` levels of effort, `T` episodes of a token stream, `C` budgets.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from dwell.errors import UsageError
from dwell.metrics.arrays import BoolArray, FloatArray, IntArray, same_shape

# Keeps the coefficient of variation finite where nothing is right; ARISE's released constant.
_TINY = 1e-8


def arise(accuracy: npt.ArrayLike, tokens: npt.ArrayLike) -> FloatArray:
    """Accuracy gained over levels of effort, discounted by how much longer it took (ARISE).

    `ARISE = sum_{j>=1} (a_j - a_{j-1}) (t_{j-1} / t_j)^{sign(a_j - a_{j-1})}`: a gain counts for
    less the more tokens grew, a loss for more. The value has no lower bound; a step that gains
    with *fewer* tokens counts above its gain; a problem that never moves scores 0 whether
    always right or always wrong.

    Args:
        accuracy: `[P, L]` or `[L]`, levels in order of commanded effort, in `[0, 1]`.
        tokens: same shape, tokens used at each level. A pair of levels with a token count that
            is not positive is skipped, and so is one with a NaN (a level not run).

    Returns:
        `[P]` (a scalar array for `[L]`); 0 with fewer than two levels.

    Raises:
        UsageError: shapes differ.

    References:
        Yin et al., "ARISE: An Adaptive Resolution-Aware Metric for Test-Time Scaling Evaluation
        in Large Reasoning Models" (2025), in the form of the released implementation.

    Examples:
        >>> float(arise([0, 1, 1, 0], [1000, 2000, 4000, 8000]))
        -1.5
    """
    a, t = same_shape(accuracy=accuracy, tokens=tokens)
    gain, before, after = np.diff(a, axis=-1), t[..., :-1], t[..., 1:]
    usable = (before > 0) & (after > 0) & (gain != 0) & ~np.isnan(gain)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.where(gain > 0, before / after, after / before)
    return np.asarray(np.sum(np.where(usable, gain * ratio, 0.0), axis=-1), np.float64)


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplingState:
    """Whether the draws of a problem at one level are enough for ARISE's criterion.

    Attributes:
        variation: `[P]` coefficient of variation of correctness plus that of tokens.
        draw_more: `[P]`, whether the criterion asks for one more draw.
        all_equal: `[P]`, all draws right or all wrong: the criterion may stop here although a
            rare success has merely not been seen. Treat it as not converged where the
            comparison hangs on rare successes.
    """

    variation: FloatArray
    draw_more: BoolArray
    all_equal: BoolArray


def sampling_state(
    correct: npt.ArrayLike,
    tokens: npt.ArrayLike,
    *,
    threshold: float = 0.5,
    least: int = 3,
    most: int = 10,
) -> SamplingState:
    """ARISE's adaptive sampling: draw on while correctness or tokens vary too much.

    `CV = sd / (mean + 1e-8)` with the population sd; draw while `CV(correct) + CV(tokens)`
    exceeds the threshold. For right or wrong outcomes `CV = sqrt((1-p)/p)`: any observed share
    in (0, 0.8) runs to `most`, and three wrong draws stop at once, which a problem of true
    success rate 0.2 does with probability 0.512.

    Args:
        correct: `[P, M]`, draws so far; NaN = not drawn.
        tokens: `[P, M]`, NaN likewise.
        threshold: largest sum that stops.
        least: draws that are always made.
        most: draws after which nothing more is drawn.

    Returns:
        `SamplingState` over problems.

    Raises:
        UsageError: shapes differ.

    Examples:
        >>> state = sampling_state([[1, 0, 1]], [[900, 1000, 1100]])
        >>> float(state.variation[0].round(6)), bool(state.draw_more[0])
        (0.788756, True)
    """
    y, t = same_shape(correct=correct, tokens=tokens)
    drawn = np.sum(~np.isnan(y), axis=-1)
    variation = np.where(drawn > 0, _variation(y) + _variation(t), np.nan)
    more = (drawn < least) | ((variation > threshold) & (drawn < most))
    first = np.nanmax(np.where(np.isnan(y), -np.inf, y), axis=-1, initial=-np.inf)
    last = np.nanmin(np.where(np.isnan(y), np.inf, y), axis=-1, initial=np.inf)
    return SamplingState(variation=variation, draw_more=more, all_equal=first == last)


def split_draws(
    variation: npt.ArrayLike, num_draws: int, *, least: int = 3, most: int = 10
) -> IntArray:
    """Share a fixed number of draws among problems by how much they varied at first.

    `least` each, and of the rest a share proportional to the first variation (see
    `sampling_state`), rounded down, `most` at most. What is lost by rounding is not drawn.

    Args:
        variation: `[P]` after the first `least` draws, at least 0; NaN counts as 0.
        num_draws: in all, at least `least` each.
        least: draws of every problem.
        most: largest number of a problem.

    Returns:
        `[P]` draws, summing to `num_draws` at most.

    Raises:
        UsageError: too few draws for `least` each, or a negative variation.

    References:
        Yin et al., "ARISE" (2025), adaptive sampling under a budget.

    Examples:
        >>> split_draws([0.8, 0.0, 0.4], 21).tolist()
        [10, 3, 7]
    """
    spread = np.nan_to_num(np.asarray(variation, np.float64))
    rest = num_draws - least * spread.size
    if rest < 0 or np.any(spread < 0) or most < least:
        raise UsageError(
            "`num_draws` must allow `least` draws each and `variation` be at least 0, but got "
            f"{num_draws} draws for {spread.size} problems, {least=}, {most=}."
        )
    total = float(spread.sum())
    more = np.floor(rest * spread / total) if total > 0 else np.zeros(spread.shape)
    return np.minimum(least + more, most).astype(np.int64)


@dataclass(frozen=True, slots=True, kw_only=True)
class Controllability:
    """How well a commanded budget is kept, and what following it buys.

    Attributes:
        control: share of runs whose tokens lie in the commanded range, in `[0, 1]`.
        scaling: mean slope of accuracy over all pairs of budgets, per token.
        performance: the best accuracy at any budget; chosen on these very problems, so it is
            optimistic.
    """

    control: float
    scaling: float
    performance: float


def controllability(
    budgets: npt.ArrayLike,
    accuracy: npt.ArrayLike,
    *,
    tokens: npt.ArrayLike | None = None,
    low: npt.ArrayLike = 0.0,
    high: npt.ArrayLike = np.inf,
) -> Controllability:
    """Control, scaling and performance of a method that is told how long to think (s1).

    `scaling = mean over a < b of (f(b) - f(a)) / (b - a)` and
    `control = share of runs with low <= tokens <= high`.

    Args:
        budgets: `[L]` commanded budgets in tokens, all different.
        accuracy: `[L]` at each.
        tokens: tokens of runs, any shape; None leaves `control` NaN.
        low: least tokens that were commanded, broadcast against `tokens`.
        high: most tokens that were commanded, likewise.

    Returns:
        `Controllability`; `scaling` is NaN with a single budget.

    Raises:
        UsageError: shapes differ, or two budgets are equal.

    References:
        Muennighoff et al., "s1: Simple test-time scaling" (2025), section 3.

    Examples:
        >>> controllability([1000, 2000, 4000], [0.4, 0.5, 0.55]).scaling  # doctest: +ELLIPSIS
        5.8333...e-05
    """
    x, y = same_shape(budgets=budgets, accuracy=accuracy)
    if x.ndim != 1 or len(np.unique(x)) < len(x):
        raise UsageError(
            f"`budgets` must be `[L]` different budgets, but got {x.tolist()}. Average the "
            "accuracies of equal budgets first."
        )
    i, j = np.triu_indices(len(x), 1)
    slopes = (y[j] - y[i]) / (x[j] - x[i])
    control = np.nan
    if tokens is not None:
        used = np.asarray(tokens, np.float64)
        control = float(np.mean((used >= np.asarray(low)) & (used <= np.asarray(high))))
    return Controllability(
        control=control,
        scaling=float(slopes.mean()) if len(slopes) else np.nan,
        performance=float(y.max()) if len(y) else np.nan,
    )


def normalised_regret(
    tokens: npt.ArrayLike, success: npt.ArrayLike, budgets: npt.ArrayLike
) -> FloatArray:
    """How far a token stream stays, on average up to a budget, below answering right at once.

    `1 - (1/C) integral_0^C J(x) dx`, where J(x) is the success rate when an answer is forced
    after x tokens: trapezoids from (0, 0), linear interpolation at C, and the last value held
    where the stream ended before C. Average over streams, then over problems.

    Args:
        tokens: `[T]`, tokens of the stream's prefixes *and* their forced answers, increasing.
        success: `[T]`, mean success over the forced answers, in `[0, 1]`.
        budgets: C in tokens, scalar or `[C]`, positive.

    Returns:
        Array of the shape of `budgets`, in `[0, 1]`, lower is better; 1 for an empty stream.

    Raises:
        UsageError: shapes differ, tokens do not increase, or a budget is not positive.

    References:
        Qu et al., "Optimizing Test-Time Compute via Meta Reinforcement Fine-Tuning" (2025),
        cumulative regret over the token budget, normalised as in the released analysis.

    Examples:
        >>> normalised_regret([500, 1500, 3000], [0.2, 0.5, 0.7], [4000, 2000]).round(6).tolist()
        [0.5, 0.666667]
    """
    x, rate = same_shape(tokens=tokens, success=success)
    limits = np.asarray(budgets, np.float64)
    if x.ndim != 1 or np.any(np.diff(x, prepend=0.0) <= 0) or np.any(limits <= 0):
        raise UsageError(
            "`tokens` must be `[T]`, positive and increasing, and `budgets` positive, but got "
            f"{x.tolist()} and {limits.tolist()}. Give one entry for each episode, in order."
        )
    if len(x) == 0:
        return np.ones(limits.shape)
    x, rate = np.append(0.0, x), np.append(0.0, rate)
    area = np.append(0.0, np.cumsum(np.diff(x) * (rate[1:] + rate[:-1]) / 2))
    inside = np.minimum(limits, x[-1])
    before = np.clip(np.searchsorted(x, inside, side="right") - 1, 0, len(x) - 2)
    height = np.interp(inside, x, rate)
    covered = area[before] + (inside - x[before]) * (rate[before] + height) / 2
    return np.asarray(1.0 - (covered + (limits - inside) * rate[-1]) / limits, np.float64)


def progress(success: npt.ArrayLike) -> FloatArray:
    """Progress of each episode, `J_j - J_{j-1}`, the first against 0: `[..., T]` to the same.

    The bonus of Qu et al. (2025): an episode that leaves the chance of a right answer where it
    was earned nothing, however long it was.

    Examples:
        >>> progress([0.2, 0.5, 0.4]).round(6).tolist()
        [0.2, 0.3, -0.1]
    """
    return np.diff(np.asarray(success, np.float64), axis=-1, prepend=0.0)


def _variation(values: FloatArray) -> FloatArray:
    """Coefficient of variation over the last axis, NaN left out; 0 for no values."""
    there = ~np.isnan(values)
    count = np.maximum(there.sum(axis=-1), 1)
    mean = np.where(there, values, 0.0).sum(axis=-1) / count
    square = np.where(there, values - mean[..., None], 0.0) ** 2
    return np.asarray(np.sqrt(square.sum(axis=-1) / count) / (mean + _TINY), np.float64)
