"""From which confidence on to answer, so that the share of wrong answers stays below a limit.

Letters: `M` held-out questions, `T` thresholds.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, log, log1p

import numpy as np
import numpy.typing as npt
import scipy

from dwell.errors import UsageError
from dwell.metrics.arrays import same_shape


@dataclass(frozen=True, slots=True, kw_only=True)
class RiskControl:
    """A threshold, and what it is based on.

    Attributes:
        threshold: answer where the confidence is at least this; infinite where no threshold could
            be certified, so that nothing is answered.
        answered: held-out questions at or above it.
        wrong: how many of those were wrong.
        p_value: chance of so few wrong ones if the risk were above its limit; NaN where infinite.
    """

    threshold: float
    answered: int
    wrong: int
    p_value: float


def controlled_threshold(
    confidence: npt.ArrayLike,
    correct: npt.ArrayLike,
    thresholds: npt.ArrayLike,
    *,
    risk: float,
    delta: float = 0.1,
) -> RiskControl:
    """The lowest threshold whose risk is certainly below a limit (Learn then Test).

    The risk of a threshold is the share of wrong answers among those given:
    `R(t) = P(wrong | confidence >= t)`. Of the m held-out questions at or above t, the number of
    wrong ones is binomial, so `p_t = P(Binomial(m, risk) <= wrong)` is a p-value of `R(t) > risk`.
    Thresholds are tested in the order given, each at level `delta`, until one fails (fixed
    sequence testing); the lowest of those that held is returned.

    Then `P(R(threshold) > risk) <= delta` over the draw of the held-out questions, for any number
    of questions and whatever made the confidences, provided that the questions are independent
    draws of the traffic, one row each, and that neither the confidences nor `thresholds` were
    made with their grades. It says nothing of each kind of question, nor of other traffic.

    Args:
        confidence: `[M]`; NaN = no answer was given.
        correct: `[M]` in [0, 1]; what is below 1, or NaN, counts as wrong.
        thresholds: `[T]`, tested in this order: the most promising first, by other questions.
        risk: the limit, in (0, 1).
        delta: chance that the limit does not hold, in (0, 1).

    Raises:
        UsageError: shapes differ, or a number outside its range.

    References:
        Angelopoulos et al., "Learn then Test: Calibrating Predictive Algorithms to Achieve Risk
        Control" (2021), with fixed sequence testing; the exact binomial tail of
        Geifman and El-Yaniv, "Selective Classification for Deep Neural Networks" (2017), lemma
        3.1, without its union over a search.

    Examples:
        >>> confidence = np.repeat([0.9, 0.6, 0.3], 100)
        >>> correct = np.r_[np.ones(100), np.arange(100) % 10 > 0, np.arange(100) % 2]
        >>> found = controlled_threshold(confidence, correct, [0.9, 0.6, 0.3], risk=0.1)
        >>> found.threshold, found.answered, found.wrong
        (0.6, 200, 10)
    """
    sure, right = same_shape(confidence=confidence, correct=correct)
    if not 0 < risk < 1 or not 0 < delta < 1:
        raise UsageError(
            f"`risk` and `delta` must lie strictly between 0 and 1, but got {risk=}, {delta=}."
        )
    found = RiskControl(threshold=float("inf"), answered=0, wrong=0, p_value=float("nan"))
    for threshold in np.asarray(thresholds, np.float64).tolist():
        given = sure >= threshold
        answered, wrong = int(given.sum()), int((~(right[given] >= 1)).sum())
        p_value = float(scipy.stats.binom.cdf(wrong, answered, risk))
        if p_value > delta:
            break
        if threshold < found.threshold:
            found = RiskControl(
                threshold=threshold, answered=answered, wrong=wrong, p_value=p_value
            )
    return found


def least_answered(risk: float, delta: float = 0.1) -> int:
    """How many answers, all right, certify a risk: `(1 - risk)^m <= delta`.

    Examples:
        >>> least_answered(0.05), least_answered(0.01, 0.05)
        (45, 299)
    """
    return ceil(log(delta) / log1p(-risk) - 1e-12)
