"""Which model, how many samples, how long: the best accuracy at each cost (Kinetics, 2025).

Three readings of the same measurements, from the most to the least optimistic:

* per query: for each question the best configuration within the budget, chosen by its own result.
  This is an oracle's allocation, and the luck of the choice counts as accuracy: *optimistic*;
* fixed: one configuration for all questions, within the budget on average;
* cross-fitted: per query, but chosen on half of the samples and scored on the other half, both
  ways and averaged, so that luck does not count.

The first and the third keep each question within the budget, the second only the mean over
questions: where a long question may borrow from a short one, "fixed" can lie above them.

Letters: `Q` questions, `S` recorded samples of each, `C` configurations of one model, `B` budgets.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from dwell.errors import UsageError
from dwell.metrics import Interval, bootstrap_interval, pass_at_k, resample_problems

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Configurations:
    """One model at every measured number and length of samples.

    Attributes:
        model: its name.
        labels: of the configurations, `C` of them.
        cost: `[Q, C]` cost of each question, in any one unit (FLOPs, eFLOPs, dollars, ...).
        accuracy: `[Q, C]` in [0, 1], from all samples.
        halves: `[2, Q, C]` the same from two disjoint halves of the samples; None if not split.
    """

    model: str
    labels: Sequence[str]
    cost: FloatArray
    accuracy: FloatArray
    halves: FloatArray | None = None

    def __post_init__(self) -> None:
        shape = self.accuracy.shape
        if len(shape) != 2 or self.cost.shape != shape or len(self.labels) != shape[1]:
            raise UsageError(
                "`cost` and `accuracy` must be [questions, configurations] with one label a "
                f"configuration, but got {self.cost.shape}, {shape} and {len(self.labels)} labels."
            )
        if self.halves is not None and self.halves.shape != (2, *shape):
            raise UsageError(f"`halves` must be {(2, *shape)}, but got {self.halves.shape}.")


def coverage_configurations(
    model: str,
    correct: npt.ArrayLike,
    tokens: npt.ArrayLike,
    cost_fn: Callable[[FloatArray, int], npt.ArrayLike],
    *,
    numbers: Sequence[int],
    caps: Sequence[int] | None = None,
    seed: int = 0,
) -> Configurations:
    """Every number of samples and cap on their length, from recorded samples.

    Accuracy is pass@N, exact, of all samples and of two random halves (where a half has N). A
    sample longer than the cap counts as wrong and costs the cap: where a cut answer can be graded
    again, do that first and pass it in. Costs are means over a question's recorded lengths, as in
    the paper.

    Args:
        model: its name.
        correct: `[Q, S]` grades, 0 or 1.
        tokens: `[Q, S]` output tokens.
        cost_fn: cost of N samples given their length: `(lengths [Q, S], N) -> [Q, S]`, such as
            ``lambda o, n: equivalent_flops(shape, 512, o, n).total``.
        numbers: N to consider, each at most S.
        caps: largest lengths to consider; None = as recorded.
        seed: of the halves.

    Raises:
        UsageError: a number exceeds the samples.
    """
    right, lengths = np.asarray(correct, np.float64), np.asarray(tokens, np.float64)
    size = right.shape[1]
    if max(numbers) > size or min(numbers) < 1:
        raise UsageError(
            f"`numbers` must be 1 to the {size} samples recorded, but got {list(numbers)}."
        )
    order = np.random.default_rng(seed).permuted(np.tile(np.arange(size), (len(right), 1)), axis=1)
    half = size // 2
    accuracy, halves, cost, labels = [], [], [], []
    for cap in [np.inf] if caps is None else caps:
        graded = np.where(lengths > cap, 0.0, right)
        mixed = np.take_along_axis(graded, order, axis=1)
        parts = [mixed[:, :half].sum(axis=1), mixed[:, half : 2 * half].sum(axis=1)]
        for n in numbers:
            accuracy.append(pass_at_k(size, graded.sum(axis=1), n))
            if max(numbers) <= half:
                halves.append([pass_at_k(half, part, n) for part in parts])
            each = np.asarray(cost_fn(np.minimum(lengths, cap), n), np.float64)
            cost.append(each.mean(axis=1))
            labels.append(f"N={n}" + ("" if caps is None else f", at most {cap} tokens"))
    return Configurations(
        model=model,
        labels=labels,
        cost=np.stack(cost, axis=1),
        accuracy=np.stack(accuracy, axis=1),
        halves=np.moveaxis(np.array(halves), 0, 2) if halves else None,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One reading of the frontier.

    Attributes:
        reading: "per query (optimistic)", "fixed" or "cross-fitted".
        accuracy: `[B]` with its interval over questions; NaN where no configuration is cheap
            enough. The interval takes the choice as given.
        models: `[B]` the best model's name, "" where there is none or the halves disagree.
        labels: `[B]` the chosen configuration; "" where it differs between questions.
        cost: `[B]` mean cost of what was chosen; NaN where there is none.
    """

    reading: str
    accuracy: Interval
    models: tuple[str, ...]
    labels: tuple[str, ...]
    cost: FloatArray


@dataclass(frozen=True, slots=True, kw_only=True)
class Frontier:
    """The three readings at the same budgets; `cross_fitted` is None without halves."""

    budgets: FloatArray
    per_query: Line
    fixed: Line
    cross_fitted: Line | None


def frontier(
    models: Sequence[Configurations],
    budgets: npt.ArrayLike | None = None,
    *,
    smooth: int = 1,
    seed: int = 0,
) -> Frontier:
    """The best accuracy at each budget over models and configurations.

    Args:
        models: on the same questions in the same order.
        budgets: `[B]` cost per question; None = 100 log-spaced from the cheapest to the dearest.
        smooth: window of the running mean over budgets of each model's per-query line before the
            best model is taken (the paper's is 3); 1 = none.
        seed: of the bootstrap over questions.

    Raises:
        UsageError: no model, other questions, or a window that is not odd.
    """
    if not models or len({len(m.accuracy) for m in models}) != 1:
        raise UsageError("`models` must be at least one, all on the same questions, in order.")
    if smooth < 1 or smooth % 2 == 0:
        raise UsageError(f"`smooth` must be an odd number of budgets, but got {smooth}.")
    limits = _budgets(models) if budgets is None else np.asarray(budgets, np.float64)
    split = all(m.halves is not None for m in models)
    return Frontier(
        budgets=limits,
        per_query=_per_query(models, limits, smooth, seed),
        fixed=_fixed(models, limits, seed),
        cross_fitted=_cross_fitted(models, limits, seed) if split else None,
    )


def _budgets(models: Sequence[Configurations]) -> FloatArray:
    costs = np.concatenate([m.cost.ravel() for m in models])
    return np.geomspace(costs[costs > 0].min(), costs.max(), 100)


def _per_query(
    models: Sequence[Configurations], budgets: FloatArray, smooth: int, seed: int
) -> Line:
    chosen = [_affordable_best(m, m.accuracy, budgets) for m in models]
    values = np.stack([
        _running_mean(_taken(m.accuracy, c, 0.0), smooth)
        for m, c in zip(models, chosen, strict=True)
    ])  # fmt: skip
    costs = np.stack([_taken(m.cost, c, 0.0) for m, c in zip(models, chosen, strict=True)])
    winner = values.mean(axis=1).argmax(axis=0)
    return _line("per query (optimistic)", models, budgets, winner, winner, values, costs, seed)


def _cross_fitted(models: Sequence[Configurations], budgets: FloatArray, seed: int) -> Line:
    halves = [m.halves for m in models if m.halves is not None]
    values, costs, winners = [], [], []
    for here, there in ((0, 1), (1, 0)):
        chosen = [
            _affordable_best(m, h[here], budgets) for m, h in zip(models, halves, strict=True)
        ]
        seen = np.stack([
            _taken(h[here], c, 0.0).mean(axis=0) for h, c in zip(halves, chosen, strict=True)
        ])  # fmt: skip
        winner = seen.argmax(axis=0)
        at = np.arange(len(budgets))
        scored = np.stack([_taken(h[there], c, 0.0) for h, c in zip(halves, chosen, strict=True)])
        spent = np.stack([_taken(m.cost, c, 0.0) for m, c in zip(models, chosen, strict=True)])
        values.append(scored[winner, :, at].T)
        costs.append(spent[winner, :, at].T)
        winners.append(winner)
    both, spent = np.mean(values, axis=0)[None], np.mean(costs, axis=0)[None]
    return _line("cross-fitted", models, budgets, winners[0], winners[1], both, spent, seed)


def _line(
    reading: str,
    models: Sequence[Configurations],
    budgets: FloatArray,
    first: IntArray,
    second: IntArray,
    values: FloatArray,
    costs: FloatArray,
    seed: int,
) -> Line:
    """The line of choices made for each question.

    Args:
        reading: its name.
        models: as given.
        budgets: `[B]`.
        first: `[B]` the winning model.
        second: `[B]` the winner on the other half; named only where both agree.
        values: `[M, Q, B]` accuracy of each model's choice, or `[1, Q, B]` of the winners'.
        costs: the same of costs.
        seed: of the bootstrap.
    """
    place = np.minimum(first, len(values) - 1)
    at = np.arange(len(budgets))
    some = budgets >= min(float(m.cost.min()) for m in models)
    agreed = some & (first == second)
    return Line(
        reading=reading,
        accuracy=_interval(np.where(some, values[place, :, at].T, np.nan), seed),
        models=tuple(models[i].model if ok else "" for i, ok in zip(first, agreed, strict=True)),
        labels=("",) * len(budgets),
        cost=np.where(some, costs[place, :, at].T.mean(axis=0), np.nan),
    )


def _affordable_best(m: Configurations, accuracy: FloatArray, budgets: FloatArray) -> IntArray:
    """`[Q, B]` each question's best configuration within the budget, -1 = none; ties: cheapest."""
    order = np.argsort(m.cost, axis=1, kind="stable")
    cost, value = (np.take_along_axis(a, order, axis=1)[..., None] for a in (m.cost, accuracy))
    reached = np.where(cost <= budgets, value, -1.0)  # [Q, C, B]
    chosen = np.take_along_axis(order, reached.argmax(axis=1), axis=1)
    return np.where(reached.max(axis=1) >= 0, chosen, -1).astype(np.int64)


def _taken(values: FloatArray, chosen: IntArray, otherwise: float) -> FloatArray:
    """`[Q, B]` values `[Q, C]` of what was chosen."""
    taken = np.take_along_axis(values, np.maximum(chosen, 0), axis=1)
    return np.where(chosen < 0, otherwise, taken)


def _running_mean(values: FloatArray, window: int) -> FloatArray:
    """Running mean along the last axis, the ends repeated."""
    if window == 1:
        return values
    half = window // 2
    wide = np.pad(values, ((0, 0), (half, half)), mode="edge")
    windows = np.lib.stride_tricks.sliding_window_view(wide, window, axis=1)
    return np.asarray(windows.mean(axis=-1), np.float64)


def _choices(
    models: Sequence[Configurations], accuracies: Sequence[FloatArray], budgets: FloatArray
) -> IntArray:
    """`[B]` column, over all models side by side, of the best on average; -1 = none."""
    mean = np.concatenate([a.mean(axis=0) for a in accuracies])
    cost = np.concatenate([m.cost.mean(axis=0) for m in models])
    # Of equals the cheaper: sort by cost, then take the first that reaches the maximum.
    order = np.argsort(cost, kind="stable")
    reached = np.where(cost[order, None] <= budgets, mean[order, None], -np.inf)
    best = order[reached.argmax(axis=0)]
    return np.where(np.isfinite(reached.max(axis=0)), best, -1).astype(np.int64)


def _fixed(models: Sequence[Configurations], budgets: FloatArray, seed: int) -> Line:
    accuracies = [m.accuracy for m in models]
    chosen = _choices(models, accuracies, budgets)
    values = np.concatenate(accuracies, axis=1)[:, chosen]
    names = [(m.model, label) for m in models for label in m.labels]
    return Line(
        reading="fixed",
        accuracy=_interval(np.where(chosen < 0, np.nan, values), seed),
        models=tuple(names[i][0] if i >= 0 else "" for i in chosen),
        labels=tuple(names[i][1] if i >= 0 else "" for i in chosen),
        cost=_mean_cost(models, chosen),
    )


def _mean_cost(models: Sequence[Configurations], chosen: IntArray) -> FloatArray:
    cost = np.concatenate([m.cost.mean(axis=0) for m in models])
    return np.where(chosen < 0, np.nan, cost[chosen])


def _interval(values: FloatArray, seed: int) -> Interval:
    """Mean over questions of `values [Q, B]` with its interval; NaN columns stay NaN."""
    known = np.isfinite(values).all(axis=0)
    ends = [np.full(values.shape[1], np.nan) for _ in range(3)]
    level = 0.95
    if known.any():
        found = bootstrap_interval(values[:, known], resample_problems(len(values), seed=seed))
        level = found.level
        for end, part in zip(ends, (found.value, found.low, found.high), strict=True):
            end[known] = part
    return Interval(value=ends[0], low=ends[1], high=ends[2], level=level)
