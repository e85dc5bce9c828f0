"""Coverage that asks for more than one right answer: several distinct ones, or the top ones.

All are from B-STaR, where they track whether a model still explores, whether a reward still
tells good from bad, and whether what is selected is enough and good enough. They answer other
questions than `pass_at_k`: ten copies of one solution are one distinct solution.
"""

from __future__ import annotations

from math import comb

import numpy as np
import numpy.typing as npt

from dwell.errors import UsageError
from dwell.metrics.arrays import FloatArray, as_budgets, as_counts, drop_budget_axis
from dwell.metrics.estimators import log_binomial


def distinct_pass_at_k(
    class_counts: npt.ArrayLike, num_samples: int, k: npt.ArrayLike, least: int
) -> FloatArray:
    """Probability that k draws hold at least `least` *distinct* correct solutions (Pass@K-S).

    Dynamic programme over the classes of correct solutions: state = (draws used, classes hit).

    Args:
        class_counts: `[P, U]` draws in each class of equal correct solutions, 0-padded.
        num_samples: n, recorded draws of each problem.
        k: budgets in draws, scalar or `[K]`.
        least: S, distinct correct solutions wanted, at least 1; S = 1 is `pass_at_k`.

    Returns:
        `[P]` for a scalar `k`, else `[P, K]`; NaN where k > n.

    Raises:
        UsageError: bad counts, or more correct draws than draws.

    References:
        Zeng et al., "B-STaR: Monitoring and Balancing Exploration and Exploitation in
        Self-Taught Reasoners" (2024), exploration metric.

    Examples:
        >>> float(distinct_pass_at_k([[2, 1]], 10, 5, least=2)[0].round(6))
        0.361111
    """
    classes = np.atleast_2d(as_counts("class_counts", class_counts))
    budgets = as_budgets(k)
    wrong = num_samples - classes.sum(axis=1)
    if np.any(wrong < 0) or least < 1:
        raise UsageError(
            "`class_counts` must sum to at most `num_samples` and `least` be at least 1, but got "
            f"{classes.sum(axis=1).max()} of {num_samples} and least={least}."
        )
    most = min(int(budgets.max()), num_samples)
    # state[p, j, d]: log-free weight of j draws that hit d classes, d = least standing for more.
    state = np.zeros((len(classes), most + 1, least + 1))
    state[:, 0, 0] = 1.0
    for count in classes.T:
        grown = state.copy()
        for taken in range(1, min(int(count.max(initial=0)), most) + 1):
            ways = np.exp(log_binomial(count, taken))[:, None]
            for hit in range(least + 1):
                after = min(hit + 1, least)
                grown[:, taken:, after] += ways * state[:, : most + 1 - taken, hit]
        state = grown
    used = np.arange(most + 1)
    values = np.full((len(classes), len(budgets)), np.nan)
    for column in np.flatnonzero(budgets <= num_samples):
        log_rest = log_binomial(wrong[:, None], budgets[column] - used)
        share = np.exp(log_rest - log_binomial(num_samples, budgets[column]))
        # The shares sum to 1 up to rounding, which must not show.
        values[:, column] = np.minimum(np.sum(state[:, :, least] * share, axis=1), 1.0)
    return drop_budget_axis(values, k)


def top_correct_at_k(
    scores: npt.ArrayLike, correct: npt.ArrayLike, k: npt.ArrayLike, top: int
) -> FloatArray:
    """Probability that the `top` best-scored of k draws are all correct (Reward@K-S).

    Without ties `sum_{i: y_i = 1} C(c_{i-1}, S-1) C(n-i, k-S) / C(n, k)` over ranks i, where
    c_{i-1} counts the correct ones of better rank. With ties broken uniformly at random: if j of
    the k lie above a tie group of g draws (cg correct) and i of them in it, the S-j best of the
    group are a random subset of it, all correct with probability C(cg, S-j) / C(g, S-j).

    Args:
        scores: `[P, N]`, higher is better; NaN ranks below every score.
        correct: `[P, N]` bool.
        k: budgets in draws, scalar or `[K]`.
        top: S, at least 1; S = 1 is `best_of_k`.

    Returns:
        `[P]` for a scalar `k`, else `[P, K]`; NaN where k > N, 0 where k < S.

    Raises:
        UsageError: shapes differ or `top` is below 1.

    References:
        Zeng et al., "B-STaR" (2024), exploitation metric; the closed form is ours.

    Examples:
        >>> scores = [[0.9, 0.8, 0.7, 0.5, 0.4, 0.1]]
        >>> top_correct_at_k(scores, [[1, 1, 0, 1, 0, 1]], 4, top=2).round(6).tolist()
        [0.533333]
    """
    ranks, marks = np.asarray(scores, np.float64), np.asarray(correct, bool)
    if ranks.ndim != 2 or ranks.shape != marks.shape or top < 1:
        raise UsageError(
            "`scores` and `correct` must be of one shape `[P, N]` and `top` at least 1, but got "
            f"{ranks.shape}, {marks.shape} and top={top}."
        )
    budgets = as_budgets(k)
    values = np.array(
        [
            [_top_correct(row, right, int(budget), top) for budget in budgets]
            for row, right in zip(ranks, marks, strict=True)
        ]
    ).reshape(len(ranks), len(budgets))
    return drop_budget_axis(values, k)


def balance_score(
    num_selected: npt.ArrayLike, num_distinct_correct: npt.ArrayLike, target: float
) -> FloatArray:
    """Balance of quantity and quality of the responses selected for training (B-STaR).

    `bs = min(n' / n*, 1) n' / n` with n selected responses, n' distinct correct ones among them
    and n* wanted. A query with nothing selected scores 0; the released code skips it, which
    raises the mean: report how many there are.

    Args:
        num_selected: n, any shape.
        num_distinct_correct: n', broadcast against it, duplicates removed.
        target: n*, wanted correct responses a query, positive; the paper takes
            ceil(selected in an iteration / queries in it).

    Returns:
        Array of the broadcast shape, in `[0, 1]`.

    Raises:
        UsageError: bad counts, or a target that is not positive.

    References:
        Zeng et al., "B-STaR: Monitoring and Balancing Exploration and Exploitation in
        Self-Taught Reasoners" (2024).

    Examples:
        >>> balance_score([10, 2, 64, 16, 0], [6, 2, 16, 12, 0], 8).tolist()
        [0.45, 0.25, 0.25, 0.75, 0.0]
    """
    n, right = (
        as_counts("num_selected", num_selected),
        as_counts("num_distinct_correct", num_distinct_correct),
    )
    if np.any(right > n) or not target > 0:
        raise UsageError(
            "`num_distinct_correct` must be at most `num_selected` and `target` positive, but "
            f"got {right.tolist()} of {n.tolist()} and {target=}. Count over the selected ones."
        )
    return np.asarray(np.minimum(right / target, 1.0) * right / np.maximum(n, 1), np.float64)


def _top_correct(scores: FloatArray, correct: npt.NDArray[np.bool_], k: int, top: int) -> float:
    """`top_correct_at_k` for one problem, in whole numbers (groups differ by problem)."""
    n = len(scores)
    if k > n:
        return float("nan")
    keys = np.where(np.isnan(scores), -np.inf, scores)
    above, right_above, total = 0, 0, 0.0
    for level in np.unique(keys)[::-1]:
        group = int(np.sum(keys == level))
        right = int(np.sum(correct[keys == level]))
        below = n - above - group
        for higher in range(top):
            need = top - higher
            if right < need:
                continue
            ways = sum(
                comb(group, inside) * comb(below, k - higher - inside)
                for inside in range(need, min(group, k - higher) + 1)
            )
            total += comb(right_above, higher) * ways * comb(right, need) / comb(group, need)
        above, right_above = above + group, right_above + right
    return total / comb(n, k)
