"""How to spend draws: rounds until a plateau, votes by margin, imperfect checks, three axes.

Procedures that go with `dwell.laws.verifiers_and_votes`; closed forms and small searches.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from dwell.errors import UsageError
from dwell.laws.fit import Fit
from dwell.laws.spaces import FloatArray
from dwell.laws.verifiers_and_votes import VERIFIER_TRADEOFF


def plateau_rounds(f_max: float, p: float, eps: float) -> int:
    """Units (draws or rounds) worth taking: the next would add at most `eps`.

    n* = max(0, ceil(ln(eps / (F_max p)) / ln(1-p))); unit n adds F_max p (1-p)^(n-1).

    Raises:
        UsageError: `eps` or `p` out of range.

    Examples:
        >>> plateau_rounds(0.8, 0.3, 0.01)
        9
    """
    if not (eps > 0 and 0 < p < 1):
        raise UsageError(f"a plateau needs eps > 0 and 0 < p < 1, but got {eps=}, {p=}.")
    if eps >= f_max * p:
        return 0
    return max(0, int(np.ceil(np.log(eps / (f_max * p)) / np.log1p(-p))))


def margin_rate(top: npt.ArrayLike, second: npt.ArrayLike) -> FloatArray:
    """Rate at which the chance of a wrong vote falls with each draw.

    -ln(1 - (sqrt(p1) - sqrt(p2))^2), p1 the share of the most frequent answer, p2 of the next.
    """
    gap = np.sqrt(np.asarray(top, np.float64)) - np.sqrt(np.asarray(second, np.float64))
    return np.asarray(-np.log1p(-(np.clip(gap, 0.0, 1.0 - 1e-15) ** 2)), np.float64)


def vote_limit(right: npt.ArrayLike, best_wrong: npt.ArrayLike) -> float:
    """Accuracy of unlimited votes: the share of problems whose most frequent answer is right.

    Args:
        right: `[P]` share of right draws.
        best_wrong: `[P]` share of the most frequent wrong answer; ties count half.
    """
    gap = np.asarray(right, np.float64) - np.asarray(best_wrong, np.float64)
    return float(np.mean(np.where(gap > 0, 1.0, np.where(gap == 0, 0.5, 0.0))))


def votes_for(top: npt.ArrayLike, second: npt.ArrayLike, error: float) -> FloatArray:
    """Votes `[P]` after which the bound exp(-k rate) on missing the mode is at most `error`."""
    if not 0 < error < 1:
        raise UsageError(f"`error` must lie between 0 and 1, but got {error}.")
    with np.errstate(divide="ignore"):
        return np.asarray(np.ceil(-np.log(error) / margin_rate(top, second)), np.float64)


def allocate_votes(top: npt.ArrayLike, second: npt.ArrayLike, total: int) -> npt.NDArray[np.int64]:
    """Votes `[P]` for each problem that minimise the summed bounds exp(-k rate), `total` in all.

    The bound is convex in k, so giving each vote to where it gains most is optimal; the
    threshold of that greedy rule is found by bisection.

    Raises:
        UsageError: `total` is negative.
    """
    rate = np.atleast_1d(margin_rate(top, second))
    if total < 0:
        raise UsageError(f"`total` must be at least 0, but got {total}.")
    drop = -np.expm1(-rate)

    def votes(threshold: float) -> FloatArray:
        # Vote k+1 gains exp(-k rate) (1 - exp(-rate)): take all that gain more than this.
        with np.errstate(divide="ignore", invalid="ignore"):
            count = np.ceil(np.log(drop / threshold) / rate)
        return np.where(drop > threshold, count, 0.0)

    low, high = -700.0, 0.0
    for _ in range(200):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if votes(np.exp(middle)).sum() > total else (low, middle)
    given = votes(np.exp(high)).astype(np.int64)
    left = total - int(given.sum())
    if left > 0 and rate.max() > 0:
        gain = np.where(rate > 0, np.exp(-given * rate) * drop, -1.0)
        given[np.argsort(-gain, kind="stable")[:left]] += 1
    return given


def resampled_accuracy(p: npt.ArrayLike, q: npt.ArrayLike, k: npt.ArrayLike) -> FloatArray:
    """Accuracy of resampling until accepted, at most k times: p/(p+q) (1 - r^k), mean over `[P]`.

    Args:
        p: `[P]` chance that a draw is right and accepted.
        q: `[P]` chance that it is wrong and accepted; r = 1 - p - q is rejected.
        k: `[K]` attempts.

    Returns:
        `[K]`; problems of which nothing is ever accepted count as wrong.
    """
    right, wrong = _accepted(p, q)
    attempts = np.atleast_1d(np.asarray(k, np.float64))
    either = right + wrong
    share = np.divide(right, either, out=np.zeros_like(right), where=either > 0)
    done = 1.0 - (1.0 - either)[:, None] ** attempts
    return np.asarray(np.mean(share[:, None] * done, axis=0))


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempts:
    """How often to resample.

    Attributes:
        best: number of attempts of the largest mean utility; 0 if none is worth it.
        utility: `[K]` mean utility of 0, 1, ... attempts.
        ceiling: mean of p/(p+q), the accuracy among accepted answers whatever the attempts.
        limit: accuracy of unlimited attempts.
    """

    best: int
    utility: FloatArray
    ceiling: float
    limit: float


def best_attempts(
    p: npt.ArrayLike, q: npt.ArrayLike, *, penalty: float, cost: float = 0.0, most: int = 1000
) -> Attempts:
    """Attempts that maximise benefit 1 for right, -penalty for wrong, -cost for each sample.

    For one problem every attempt is worth the same, so the best number is 0 or unlimited. Over
    problems it is finite: those still unsolved after k attempts are the ones where wrong answers
    pass more often than right ones.

    Raises:
        UsageError: probabilities that are none.

    References:
        Stroebl, Kapoor and Narayanan, Inference Scaling fLaws (2024).
    """
    right, wrong = _accepted(p, q)
    either = right + wrong
    worth = right - penalty * wrong - cost
    reach = (1.0 - either)[:, None] ** np.arange(most)
    utility = np.concatenate([[0.0], np.cumsum(np.mean(worth[:, None] * reach, axis=0))])
    some = either > 0
    share = right[some] / either[some]
    return Attempts(
        best=int(np.argmax(utility)),
        utility=utility,
        ceiling=float(share.mean()) if len(share) else float("nan"),
        limit=float(share.sum() / len(right)),
    )


def can_match(p: npt.ArrayLike, q: npt.ArrayLike, accuracy: float) -> bool:
    """Whether unlimited resampling reaches the accuracy of a stronger model in one sample."""
    return best_attempts(p, q, penalty=0.0, most=1).limit >= accuracy


def _accepted(p: npt.ArrayLike, q: npt.ArrayLike) -> tuple[FloatArray, FloatArray]:
    right, wrong = (np.atleast_1d(np.asarray(v, np.float64)) for v in (p, q))
    if np.any(right < 0) or np.any(wrong < 0) or np.any(right + wrong > 1 + 1e-12):
        raise UsageError("`p` and `q` are probabilities of one draw: p, q >= 0 and p + q <= 1.")
    return right, wrong


@dataclass(frozen=True, slots=True, kw_only=True)
class Splits:
    """Best numbers of draws and checks at each budget.

    Attributes:
        compute: `[B]` budgets, in tokens of one solution.
        draws: `[B]` best S of each.
        checks: `[B]` best V.
        accuracy: `[B]` there.
        draws_fit: S = G C^a.
        checks_fit: V = G C^b.
    """

    compute: FloatArray
    draws: FloatArray
    checks: FloatArray
    accuracy: FloatArray
    draws_fit: Fit
    checks_fit: Fit

    @property
    def ratio(self) -> float:
        """How much faster draws should grow than checks: a over b."""
        return self.draws_fit.params["a"] / self.checks_fit.params["a"]


def best_splits(
    draws: npt.ArrayLike,
    checks: npt.ArrayLike,
    accuracy: npt.ArrayLike,
    *,
    check_ratio: float,
    num_budgets: int = 8,
) -> Splits:
    """How draws S and checks V of each draw should grow: C = S (1 + V lambda).

    Args:
        draws: `[n]` S of each configuration.
        checks: `[n]` V, at least 1.
        accuracy: `[n]`.
        check_ratio: lambda, tokens of a check over tokens of a solution.
        num_budgets: budgets between the least and the largest cost, even in the logarithm.

    Raises:
        UsageError: fewer than three different budgets are left.

    References:
        Singhi et al., When To Solve, When To Verify (2025).
    """
    s, v, y = (np.asarray(a, np.float64) for a in (draws, checks, accuracy))
    cost = s * (1.0 + v * check_ratio)
    budgets = np.geomspace(cost.min(), cost.max(), num_budgets)
    best = []
    for budget in budgets:
        allowed = np.flatnonzero(cost <= budget * (1 + 1e-9))
        top = allowed[y[allowed] == y[allowed].max()]
        best.append(int(top[np.argmin(cost[top])]))
    chosen = np.array(best)
    if len(np.unique(chosen)) < 3:
        raise UsageError("best splits need at least three budgets with different best choices.")
    fits: list[Any] = [
        VERIFIER_TRADEOFF.fit({"C": budgets, "draws": amount[chosen]}) for amount in (s, v)
    ]
    return Splits(compute=budgets, draws=s[chosen], checks=v[chosen], accuracy=y[chosen],
                  draws_fit=fits[0], checks_fit=fits[1])  # fmt: skip


def break_even(
    cost: npt.ArrayLike, accuracy: npt.ArrayLike, rival_cost: npt.ArrayLike,
    rival_accuracy: npt.ArrayLike,
) -> float:  # fmt: skip
    """Least cost from which the first curve is at least as accurate as the rival, for good.

    Curves are interpolated in the logarithm of cost where both are measured; infinite if the
    first still trails at the end.
    """
    x, y, rx, ry = (
        np.asarray(a, np.float64) for a in (cost, accuracy, rival_cost, rival_accuracy)
    )
    low, high = max(x.min(), rx.min()), min(x.max(), rx.max())
    if low >= high:
        raise UsageError("the two curves share no range of costs.")
    grid = np.geomspace(low, high, 2001)
    ahead = np.interp(np.log(grid), np.log(x), y) >= np.interp(np.log(grid), np.log(rx), ry)
    if not ahead[-1]:
        return float("inf")
    behind = np.flatnonzero(~ahead)
    return float(grid[behind[-1] + 1]) if len(behind) else float(low)


@dataclass(frozen=True, slots=True, kw_only=True)
class Axes:
    """A setting of context, batch and turns within a token budget."""

    context: float
    batch: int
    turn: int
    accuracy: float


def best_axes(fit: Fit, tokens: float, *, most: int = 64) -> Axes:
    """The best context, batch and turns with context x batch x turns <= tokens.

    Args:
        fit: of `context_batch_turn`.
        tokens: the budget.
        most: largest batch and number of turns tried.

    Raises:
        UsageError: another law, or a budget below one token.
    """
    if set(fit.law.inputs) != {"context", "batch", "turn"} or tokens < 1:
        raise UsageError("`best_axes` needs a fit of context_batch_turn and at least one token.")
    batch, turn = (a.ravel() for a in np.meshgrid(np.arange(1, most + 1), np.arange(1, most + 1)))
    context = tokens / (batch * turn)
    inside = context >= 1
    inputs = {"context": context[inside], "batch": batch[inside], "turn": turn[inside]}
    value = fit.curves({k: v.astype(np.float64) for k, v in inputs.items()}, fit.values[None])[0]
    at = int(np.argmax(value))
    return Axes(context=float(inputs["context"][at]), batch=int(inputs["batch"][at]),
                turn=int(inputs["turn"][at]), accuracy=float(value[at]))  # fmt: skip


def saturates(values: npt.ArrayLike) -> bool:
    """Whether the last doubling gains less than half of the first: `[K]` values at 1, 2, 4, ...

    Raises:
        UsageError: fewer than three values.
    """
    curve = np.asarray(values, np.float64)
    if len(curve) < 3:
        raise UsageError("saturation along an axis needs at least three doublings.")
    gains = np.diff(curve)
    return bool(gains[-1] < 0.5 * gains[0])
