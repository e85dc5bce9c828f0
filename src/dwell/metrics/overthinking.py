"""Overthinking: do answers grow longer without growing better?

The problem is the unit, and the two settings are compared on the same problems.

Letter: `P` problems.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from dwell.errors import UsageError
from dwell.metrics.arrays import FloatArray, same_shape
from dwell.metrics.comparisons import paired_difference
from dwell.metrics.intervals import Interval, Resamples

Verdict = Literal["loses", "stagnates", "gains", "undecided", "no longer"]


@dataclass(frozen=True, slots=True, kw_only=True)
class BlowUp:
    """Whether a setting that spends more tokens is worth them.

    Attributes:
        gain: mean paired difference of accuracy, more minus less.
        growth: total tokens of the one over those of the other.
        verdict: "no longer" if the interval of `growth` reaches below the growth asked for; else
            "loses" (gain below 0), "stagnates" (gain below the margin), "gains" (above 0), or
            "undecided", each by the whole interval.
    """

    gain: Interval
    growth: Interval
    verdict: Verdict


def length_blow_up(
    accuracy_less: npt.ArrayLike,
    accuracy_more: npt.ArrayLike,
    tokens_less: npt.ArrayLike,
    tokens_more: npt.ArrayLike,
    resamples: Resamples,
    *,
    margin: float = 0.01,
    least_growth: float = 1.0,
    level: float = 0.95,
) -> BlowUp:
    """Overthinking test: do tokens rise while accuracy falls or stands still?

    Paired over problems: `gain = mean(accuracy_more - accuracy_less)` and
    `growth = sum(tokens_more) / sum(tokens_less)`, both with bootstrap intervals from the same
    resamples of problems. "Stagnates" is a claim, not the absence of one: the *upper* end of the
    gain's interval lies below `margin`, so at this level a gain of `margin` is excluded.

    Args:
        accuracy_less: `[P]` mean accuracy of each problem at the smaller setting, in `[0, 1]`.
        accuracy_more: `[P]` at the larger one.
        tokens_less: `[P]` mean tokens at the smaller one, positive.
        tokens_more: `[P]` at the larger one.
        resamples: of these problems.
        margin: a gain below this is not worth having, at least 0.
        least_growth: tokens must grow by more than this factor.
        level: nominal coverage of both intervals.

    Returns:
        `BlowUp`.

    Raises:
        UsageError: shapes differ, a token count is not positive, or a negative margin.

    References:
        Chen et al., "Do NOT Think That Much for 2+3=? On the Overthinking of o1-Like LLMs"
        (2024), for the question; the test is ours, a paired non-superiority test.

    Examples:
        >>> from dwell.metrics import resample_problems
        >>> length_blow_up([1.0] * 200, [1.0] * 200, [100] * 200, [300] * 200,
        ...                resample_problems(200), margin=0.02).verdict
        'stagnates'
    """
    less, more, short, long = same_shape(
        accuracy_less=accuracy_less,
        accuracy_more=accuracy_more,
        tokens_less=tokens_less,
        tokens_more=tokens_more,
    )
    if not (np.all(short > 0) and np.all(long > 0) and margin >= 0):
        raise UsageError(
            "tokens must be positive and `margin` at least 0, but got a token count of "
            f"{min(short.min(), long.min()):g} and {margin=}. Leave out problems that did not run."
        )
    gain = paired_difference(more, less, resamples, level=level)
    growth = _ratio_interval(long, short, resamples, level)
    return BlowUp(gain=gain, growth=growth, verdict=_verdict(gain, growth, margin, least_growth))


def _ratio_interval(
    top: FloatArray, bottom: FloatArray, resamples: Resamples, level: float
) -> Interval:
    ratios = (resamples.weights @ top) / (resamples.weights @ bottom)
    low, high = np.quantile(ratios, [(1 - level) / 2, (1 + level) / 2])
    value = np.asarray(top.sum() / bottom.sum())
    return Interval(value=value, low=np.asarray(low), high=np.asarray(high), level=level)


def _verdict(gain: Interval, growth: Interval, margin: float, least_growth: float) -> Verdict:
    if not growth.low > least_growth:
        return "no longer"
    if gain.high < 0:
        return "loses"
    if gain.low > 0:
        return "gains"
    return "stagnates" if gain.high < margin else "undecided"
