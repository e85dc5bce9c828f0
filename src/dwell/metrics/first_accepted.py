"""Stopping at the first draw that a yes/no verifier accepts, read off recorded draws.

What `dwell.metrics.false_positives` says of a model, exactly and without one.

Letters: `P` problems, `K` budgets.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from dwell.errors import UsageError
from dwell.metrics.arrays import FloatArray, IntArray, as_budgets, as_counts, as_loss, same_shape
from dwell.metrics.estimators import pass_at_k


@dataclass(frozen=True, slots=True, kw_only=True)
class AcceptedCurve:
    """Stopping at the first accepted draw, at most k, read off recorded draws.

    Attributes:
        right: `[P, K]` probability that the accepted answer is right; NaN where k > n.
        abstained: `[P, K]` probability that nothing was accepted.
        false_positive_share: `[P]` wrong ones among the accepted; NaN where nothing is accepted.
        draws: `[P, K]` expected number of draws.
    """

    right: FloatArray
    abstained: FloatArray
    false_positive_share: FloatArray
    draws: FloatArray

    def payoff(self, penalty: float, cost: float = 0.0) -> FloatArray:
        """`[P, K]`: right answers less `penalty` for each wrong one and `cost` for each draw."""
        wrong = 1.0 - self.abstained - self.right
        return (
            self.right - as_loss("penalty", penalty) * wrong - as_loss("cost", cost) * self.draws
        )


def first_accepted_at_k(
    num_samples: npt.ArrayLike,
    num_accepted: npt.ArrayLike,
    num_accepted_right: npt.ArrayLike,
    k: npt.ArrayLike,
) -> AcceptedCurve:
    """What stopping at the first accepted draw gives at each budget, exactly.

    With B of n draws accepted, T of those right: `right = (T/B) (1 - C(n-B, k) / C(n, k))` and
    `abstained = C(n-B, k) / C(n, k)`. A random accepted one of k draws has the same probabilities.

    Args:
        num_samples: n, scalar or `[P]`.
        num_accepted: B, scalar or `[P]`.
        num_accepted_right: T, scalar or `[P]`.
        k: budgets in draws, scalar or `[K]`.

    Returns:
        `AcceptedCurve`, with `K = 1` for a scalar `k`.

    Raises:
        UsageError: bad counts, or T > B or B > n.

    References:
        The closed form of the permutations in Stroebl, Kapoor and Narayanan, "Inference Scaling
        fLaws" (2024).

    Examples:
        >>> curve = first_accepted_at_k(20, 8, 6, 3)
        >>> [round(float(x.squeeze()), 6) for x in (curve.right, curve.abstained)]
        [0.605263, 0.192982]
    """
    budgets = as_budgets(k)
    n = np.atleast_1d(as_counts("num_samples", num_samples))
    accepted = np.atleast_1d(as_counts("num_accepted", num_accepted))
    right = np.atleast_1d(as_counts("num_accepted_right", num_accepted_right))
    n, accepted, right = np.broadcast_arrays(n, accepted, right)
    if np.any(right > accepted):
        raise UsageError(
            "`num_accepted_right` must be at most `num_accepted`, but got "
            f"{right[right > accepted][0]} of {accepted[right > accepted][0]}."
        )
    some = pass_at_k(n, accepted, budgets)
    precision = np.divide(right, accepted, where=accepted > 0, out=np.full(len(n), np.nan))
    # Another draw is made where all before it were rejected: see `expected_draws`.
    reached = 1.0 - pass_at_k(n, accepted, np.arange(int(budgets.max())))
    draws = np.cumsum(reached, axis=1)[:, budgets - 1]
    return AcceptedCurve(
        right=np.where(some == 0, 0.0, precision[:, None] * some),
        abstained=1.0 - some,
        false_positive_share=1.0 - precision,
        draws=np.where(budgets > n[:, None], np.nan, draws),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class BestAttempts:
    """The budget of the greatest recorded payoff.

    Attributes:
        attempts: K*, 0 where answering nothing is better than any budget.
        payoff: `[K]` mean payoff over problems at each budget.
        budgets: `[K]`, 1 to n.
    """

    attempts: int
    payoff: FloatArray
    budgets: IntArray


def best_attempts(
    num_samples: int,
    num_accepted: npt.ArrayLike,
    num_accepted_right: npt.ArrayLike,
    *,
    penalty: float,
    cost: float = 0.0,
) -> BestAttempts:
    """K* off recorded draws: the budget up to n with the greatest mean payoff over problems.

    Chosen and measured on the same problems its payoff is optimistic: choose on one part of the
    problems and measure on the other.

    Args:
        num_samples: n, recorded draws of each problem, the same for all.
        num_accepted: `[P]` accepted ones.
        num_accepted_right: `[P]` right ones among the accepted.
        penalty: lost with an accepted wrong answer; a right one earns 1.
        cost: of each draw, in the same unit.

    Returns:
        `BestAttempts`; the smallest budget where several are best.

    Raises:
        UsageError: those of `first_accepted_at_k`, or a negative penalty or cost.

    Examples:
        >>> best_attempts(20, [18, 4], [18, 0], penalty=1).attempts
        1
    """
    budgets = np.arange(1, num_samples + 1)
    curve = first_accepted_at_k(num_samples, num_accepted, num_accepted_right, budgets)
    payoff = curve.payoff(penalty, cost).mean(axis=0)
    best = int(np.argmax(np.append(0.0, payoff)))
    return BestAttempts(attempts=best, payoff=payoff, budgets=budgets)


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifierErrors:
    """Error rates of a verifier that says yes or no.

    Attributes:
        false_positive_rate: share of wrong draws that it accepts, 1 - soundness.
        false_negative_rate: share of right draws that it rejects, 1 - completeness.
        precision: share of right draws among the accepted: the ceiling of resampling if all
            problems were equal.
    """

    false_positive_rate: float
    false_negative_rate: float
    precision: float


def verifier_errors(accepted: npt.ArrayLike, correct: npt.ArrayLike) -> VerifierErrors:
    """Error rates of a yes/no verifier over audited draws, pooled.

    Pooling is right for an error rate *of draws*. Draws of one problem err together: take the
    interval over problems (`bootstrap_interval` of each problem's rates), not over draws.

    Args:
        accepted: any shape, 1 or 0; NaN = not verified, left out.
        correct: same shape, 1 or 0; NaN = not audited, left out.

    Returns:
        `VerifierErrors`; NaN where there is no wrong, no right, or no accepted draw.

    Raises:
        UsageError: shapes differ or a value is not 0 or 1.

    Examples:
        >>> verifier_errors([1, 1, 0, 0, 1], [1, 0, 0, 1, 1]).false_positive_rate
        0.5
    """
    said, right = same_shape(accepted=accepted, correct=correct)
    known = ~np.isnan(said) & ~np.isnan(right)
    said, right = said[known], right[known]
    if not np.all(np.isin(said, (0, 1)) & np.isin(right, (0, 1))):
        raise UsageError(
            "`accepted` and `correct` must hold 0, 1 or NaN. Cut scores into yes and no first."
        )
    return VerifierErrors(
        false_positive_rate=_mean(said[right == 0]),
        false_negative_rate=1.0 - _mean(said[right == 1]),
        precision=_mean(right[said == 1]),
    )


def _mean(values: FloatArray) -> float:
    return float(values.mean()) if len(values) else float("nan")
