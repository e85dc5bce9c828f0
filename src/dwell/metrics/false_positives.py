"""Resampling until an imperfect verifier accepts: its ceiling, and when to give up.

A verifier that accepts some wrong answers caps what resampling can reach, however long it goes
on, and where a wrong answer costs something there is a best number of attempts. This is a model
of it with a few types of problems; `dwell.metrics.first_accepted` reads the same quantities off
recorded draws.

Letters: `M` types of problems, `K` budgets.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, inf, log

import numpy as np
import numpy.typing as npt

from dwell.errors import UsageError
from dwell.metrics.arrays import FloatArray, as_budgets, as_loss, as_shares, drop_budget_axis

# Attempts beyond which no optimum is looked for; a model that needs more is as good as unbounded.
_MOST_ATTEMPTS = 1_000_000


@dataclass(frozen=True, slots=True)
class _Types:
    """One attempt at each type of problem: `[M]` arrays."""

    prior: FloatArray
    rejected: FloatArray
    right: FloatArray
    fluke: FloatArray


def expected_value(
    k: npt.ArrayLike,
    *,
    prior: npt.ArrayLike,
    rate: npt.ArrayLike,
    completeness: float,
    soundness: float,
    penalty: float = 0.0,
    cost: float = 0.0,
) -> FloatArray:
    """Expected payoff of resampling until accepted, at most k times.

    A right answer earns 1, an accepted wrong one `-penalty`, giving up 0, each draw costs
    `cost`. With b_i the probability that a draw for type i is rejected,
    `EV(k) = sum_i p_i (c r_i - v (1-s)(1-r_i) - d) (1 - b_i^k) / (1 - b_i)`,
    `b_i = (1-c) r_i + s (1-r_i)`.

    Args:
        k: budgets in draws, scalar or `[K]`; 0 gives 0.
        prior: `[M]` shares of the types of problems, summing to 1.
        rate: `[M]` probability that a draw is right, for each type.
        completeness: c, probability that the verifier accepts a right answer.
        soundness: s, probability that it rejects a wrong one.
        penalty: v, at least 0, lost with an accepted wrong answer (a right one earns 1).
        cost: d, at least 0, of each draw, in the same unit.

    Returns:
        Scalar array or `[K]`.

    Raises:
        UsageError: a probability outside `[0, 1]`, priors that do not sum to 1, or a negative
            penalty or cost.

    References:
        Stroebl, Kapoor and Narayanan, "Inference Scaling fLaws: The Limits of LLM Resampling
        with Imperfect Verifiers" (2024). Types are weighted by their prior; the released
        notebook weights the k-th attempt by a posterior *and* by the probability to reach it,
        which counts the evidence twice.

    Examples:
        >>> model = dict(prior=[0.58, 0.42], rate=[0.87, 0.13], completeness=1, soundness=0.75)
        >>> expected_value([3, 60], **model, penalty=0.7).round(6).tolist()
        [0.524567, 0.517601]
    """
    types = _types(prior, rate, completeness, soundness)
    budgets = as_budgets(k, least=0)
    gain = types.right - as_loss("penalty", penalty) * types.fluke - as_loss("cost", cost)
    reached = _attempts(types.rejected, budgets)
    return drop_budget_axis(reached @ (types.prior * gain), k)


def accuracy_at(
    k: npt.ArrayLike,
    *,
    prior: npt.ArrayLike,
    rate: npt.ArrayLike,
    completeness: float,
    soundness: float,
) -> FloatArray:
    """Probability of ending with a right answer: `expected_value` without penalty and cost.

    Examples:
        >>> model = dict(prior=[0.58, 0.42], rate=[0.87, 0.13], completeness=1, soundness=0.75)
        >>> accuracy_at([1, 5], **model).round(6).tolist()
        [0.5592, 0.697647]
    """
    return expected_value(
        k, prior=prior, rate=rate, completeness=completeness, soundness=soundness
    )


def ceiling(
    *, prior: npt.ArrayLike, rate: npt.ArrayLike, completeness: float, soundness: float
) -> float:
    """Accuracy with any number of attempts: the verifier's precision, averaged over types.

    `sum_i p_i c r_i / (1 - b_i)`; a type of which nothing is ever accepted contributes 0.
    Arguments and errors are those of `expected_value`.

    Examples:
        >>> model = dict(prior=[0.58, 0.42], rate=[0.87, 0.13], completeness=1, soundness=0.75)
        >>> round(ceiling(**model), 6)
        0.716236
    """
    types = _types(prior, rate, completeness, soundness)
    accepted = types.right + types.fluke
    precision = np.divide(types.right, accepted, where=accepted > 0, out=np.zeros(len(accepted)))
    return float(types.prior @ precision)


def optimal_attempts(
    prior: npt.ArrayLike,
    rate: npt.ArrayLike,
    completeness: float,
    soundness: float,
    penalty: float,
    cost: float = 0.0,
) -> float:
    """The number of attempts with the greatest expected payoff; the smallest where several have.

    With one type and free draws this is 0 or infinity: an optimum between comes from mixing easy
    and hard problems, because those that are still unaccepted are ever more often hard ones. The
    payoff of the k-th attempt may change its sign more than once with more than two types, so
    the greatest *sum* is looked for and not the last attempt that pays.

    Arguments and errors are those of `expected_value`.

    Returns:
        K* in draws, a whole number from 0, or infinity where more is always better.

    References:
        Stroebl, Kapoor and Narayanan, "Inference Scaling fLaws" (2024).

    Examples:
        >>> [optimal_attempts([0.58, 0.42], [0.87, 0.13], 1, 0.75, v) for v in (0, 0.7, 1, 2)]
        [inf, 3.0, 2.0, 1.0]
    """
    types = _types(prior, rate, completeness, soundness)
    gain = types.prior * (
        types.right - as_loss("penalty", penalty) * types.fluke - as_loss("cost", cost)
    )
    rejected, gain = _merge(types.rejected, gain)
    if len(gain) == 0:
        return 0.0
    reach = _settled(rejected, gain)
    increments = np.power(rejected, np.arange(reach)[:, None]) @ gain
    totals = np.append(0.0, np.cumsum(increments))
    best = int(np.argmax(totals > totals.max() - 1e-15))
    # The tail has the sign of its slowest type: if that gains, what is beyond `reach` does too.
    if gain[-1] > 0 and float(np.sum(gain / (1.0 - rejected))) > totals[best]:
        return inf
    return float(best)


def _types(
    prior: npt.ArrayLike, rate: npt.ArrayLike, completeness: float, soundness: float
) -> _Types:
    p, r = np.atleast_1d(as_shares("prior", prior)), np.atleast_1d(as_shares("rate", rate))
    c = float(as_shares("completeness", completeness))
    s = float(as_shares("soundness", soundness))
    if p.shape != r.shape or p.ndim != 1 or not abs(p.sum() - 1) < 1e-6 or np.any(np.isnan(r)):
        raise UsageError(
            "`prior` and `rate` must be `[M]` with priors that sum to 1, but got "
            f"{p.tolist()} and {r.tolist()}. Give each type of problem its share and its rate."
        )
    return _Types(p, (1 - c) * r + s * (1 - r), c * r, (1 - s) * (1 - r))


def _attempts(rejected: FloatArray, budgets: npt.NDArray[np.int64]) -> FloatArray:
    """Expected attempts `(1 - b^k) / (1 - b)`, `[K, M]`; k where nothing is ever accepted."""
    accepted = 1.0 - rejected
    k = budgets[:, None].astype(np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(accepted > 0, (1.0 - rejected**k) / accepted, k)


def _merge(rejected: FloatArray, gain: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Types of equal rejection as one, in rising order of it; those without effect left out."""
    values, index = np.unique(rejected, return_inverse=True)
    total = np.bincount(index, gain, len(values))
    return values[total != 0], total[total != 0]


def _settled(rejected: FloatArray, gain: FloatArray) -> int:
    """Attempts after which the slowest type alone decides the sign of each further one."""
    others = float(np.abs(gain[:-1]).sum())
    if others == 0 or rejected[-2] == 0:
        return 2
    ratio = log(others / abs(float(gain[-1]))) / log(float(rejected[-1] / rejected[-2]))
    return max(2, min(ceil(ratio) + 2, _MOST_ATTEMPTS))
