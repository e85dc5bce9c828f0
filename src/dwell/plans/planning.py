"""Planning: which policy for a budget, what it promises, and whether it is worth having.

The policy is chosen on all questions; what it promises is measured by planning again on folds
(`dwell.plans.crossfit`). The same folds and budgets give the best fixed choice, so the two are
compared pair by pair.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from dwell.errors import UsageError
from dwell.metrics import Resamples, bootstrap_interval, paired_difference, resample_problems
from dwell.plans.crossfit import HeldOut, cross_fitted, folds_of
from dwell.plans.evidence import Evidence, FloatArray, IntArray
from dwell.plans.measured import Point
from dwell.plans.options import fixed_choices, ladder, probes, stopping_choices
from dwell.plans.routing import policy_of
from dwell.plans.search import Found, Menu, best_policies, menu_of
from dwell.plans.wording import POINT, policy_lines
from dwell.protocols import Strategy
from dwell.strategies import make
from dwell.strategies.policy import Policy, short_spec

NUM_RESAMPLES = 2000
NORMAL_95 = 1.96


@dataclass(frozen=True, slots=True, kw_only=True)
class Goal:
    """What is wanted: one of the two.

    Attributes:
        budget: the most accurate policy for this mean cost a question.
        target: the cheapest policy with this accuracy, in (0, 1].
    """

    budget: float | None = None
    target: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """All that may be chosen.

    Attributes:
        strategies: O of them, the fixed ones first.
        menus: simplest first: one strategy for all, then routes.
        fixed: the menu of fixed choices alone, to compare with.
    """

    strategies: tuple[Strategy, ...]
    menus: tuple[Menu, ...]
    fixed: Menu


def family_of(
    evidence: Evidence,
    scores: Sequence[str] = (),
    measured: Sequence[Point] = (),
) -> Family:
    """The strategies and probes that suit the evidence.

    Args:
        evidence: recorded draws.
        scores: columns that may choose answers.
        measured: fixed choices that whole answers cannot tell.

    Raises:
        UsageError: there is nothing to choose answers by.
    """
    fixed = fixed_choices(evidence, scores)
    if len(fixed) + len(measured) == 1:
        raise UsageError(
            "A plan needs something to choose answers by, but only grades were recorded. "
            "Record `answer` (for votes) or `score` (for best-of-n)."
        )
    strategies = (*fixed, *stopping_choices(evidence, scores))
    rows = np.arange(evidence.shape[1])
    # Cuts are whole numbers of votes, or quantiles of scores: no grade is used in making them.
    menus = [
        with_points(menu_of(evidence, strategies, probe, probe.cuts(evidence, rows)), measured)
        for probe in probes(evidence, scores)
    ]
    points = tuple(point.strategy for point in measured)
    return Family(
        strategies=(*points, *strategies),
        menus=tuple(menus),
        fixed=only(menus[0], len(points) + len(fixed)),
    )


def with_points(menu: Menu, points: Sequence[Point]) -> Menu:
    """The menu with measured points in front: only without a probe, whose draws they cannot use.

    A menu with a probe gets as many copies of its first strategy, so that all count alike.
    """
    if not points:
        return menu
    right, cost = (np.repeat(t[:, :1], len(points), axis=1) for t in (menu.right, menu.cost))
    if not menu.probe.draws:
        right[0] = [point.right for point in points]
        cost[0] = [point.cost for point in points]
    return replace(
        menu,
        right=np.concatenate([right, menu.right], axis=1),
        cost=np.concatenate([cost, menu.cost], axis=1),
    )


def only(menu: Menu, count: int) -> Menu:
    """The menu with its first strategies alone."""
    return replace(menu, right=menu.right[:, :count], cost=menu.cost[:, :count])


def budgets_of(evidence: Evidence, wanted: float | None) -> FloatArray:
    """The frontier's budgets: the ladder of draws at their mean cost, and what was asked for.

    Raises:
        UsageError: what was asked for does not pay for one sample a question.
    """
    least = float(evidence.outcome(make("sample", n=1)).cost.mean())
    if wanted is not None and wanted < least * (1 - 1e-9):
        raise _too_small(wanted, least)
    steps = {evidence.mean_cost * n for n in ladder(evidence.cap)}
    if wanted is not None:
        steps |= {wanted, *(w for w in (2 * wanted,) if w <= max(steps))}
    return np.array(sorted(steps))


def _too_small(budget: float, least: float) -> UsageError:
    return UsageError(
        f"A budget must pay for one sample a question, {least:.4g} on average, but got "
        f"{budget:g}. Raise it."
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """Planning for all budgets of a frontier, held out.

    Attributes:
        budgets: `[B]`.
        plan: of all that may be chosen.
        fixed: of the fixed choices.
        resamples: of questions (clusters), shared by all intervals.
        splits: the folds: (questions planned on, questions looked at).
    """

    budgets: FloatArray
    plan: HeldOut
    fixed: HeldOut
    resamples: Resamples
    splits: tuple[tuple[IntArray, IntArray], ...] = ()

    def accuracy(self, held: HeldOut, at: int) -> dict[str, float]:
        """Accuracy and cost with intervals at one budget.

        Plans that are as good may cost differently, and a plan is one of them: the interval of
        the cost has their luck in it. That of the accuracy is wide enough without.
        """
        right = bootstrap_interval(np.clip(held.accuracy[:, at], 0, 1), self.resamples)
        cost = bootstrap_interval(held.cost[:, at], self.resamples, bounds=None)
        luck, mean = NORMAL_95 * held.luck[at], cost.value
        return {
            "accuracy": float(right.value), "low": float(right.low), "high": float(right.high),
            "cost": float(mean),
            "cost_low": float(mean - np.hypot(mean - cost.low, luck)),
            "cost_high": float(mean + np.hypot(cost.high - mean, luck)),
        }  # fmt: skip

    def difference(self, a: FloatArray, b: FloatArray) -> dict[str, float]:
        """Paired difference of accuracies `[P]` with its interval."""
        found = paired_difference(np.clip(a, 0, 1), np.clip(b, 0, 1), self.resamples)
        return {
            "difference": float(found.value), "low": float(found.low), "high": float(found.high),
        }  # fmt: skip

    def doubling(self, at: int) -> dict[str, float] | None:
        """What twice a budget buys; None where the record is too short."""
        twice = np.flatnonzero(np.isclose(self.budgets, 2 * self.budgets[at]))
        if not len(twice):
            return None
        more, now = self.plan.accuracy[:, twice[0]], self.plan.accuracy[:, at]
        found = self.difference(more, now)
        return {
            "budget": float(self.budgets[twice[0]]), "gain": found["difference"],
            "low": found["low"], "high": found["high"],
        }  # fmt: skip

    def knee(self) -> float | None:
        """First budget from which no doubling buys a point; None if the last one still does."""
        gains = [(budget, self.doubling(at)) for at, budget in enumerate(self.budgets)]
        known = [(float(budget), found["gain"]) for budget, found in gains if found is not None]
        paying = [at for at, (_, gain) in enumerate(known) if gain >= POINT]
        first = paying[-1] + 1 if paying else 0
        return known[first][0] if first < len(known) else None


def measure(
    family: Family,
    budgets: FloatArray,
    *,
    clusters: IntArray | None = None,
    folds: int = 5,
    repeats: int = 3,
    seed: int = 0,
) -> Measured:
    """Cross-fitted accuracy and cost of planning for each budget."""
    num_questions = family.fixed.right.shape[2]
    splits = list(folds_of(num_questions, clusters, folds, repeats, seed))
    plan = cross_fitted(family.menus, budgets, splits)
    # A budget may pay for the cheapest strategy on some folds only; then it promises nothing.
    fits = np.isfinite(plan.accuracy).all(axis=0)
    return Measured(
        budgets=budgets[fits],
        plan=plan.at(np.asarray(fits, bool)),
        fixed=cross_fitted([family.fixed], budgets[fits], splits),
        resamples=resample_problems(
            num_questions, clusters=clusters, num_resamples=NUM_RESAMPLES, seed=seed
        ),
        splits=tuple(splits),
    )


def place_of(goal: Goal, measured: Measured) -> int:
    """Which budget of the frontier the goal asks for.

    Raises:
        UsageError: the budget is too small for some folds, or no plan is so accurate.
    """
    if goal.budget is not None:
        found = np.flatnonzero(np.isclose(measured.budgets, goal.budget))
        if not len(found):
            raise _too_small(goal.budget, float(measured.budgets.min()))
        return int(found[0])
    assert goal.target is not None
    means = measured.plan.accuracy.mean(axis=0)
    enough = np.flatnonzero(means >= goal.target)
    if not len(enough):
        best = int(np.argmax(means))
        point = measured.accuracy(measured.plan, best)
        raise UsageError(
            f"`--target-accuracy` must be within reach, but {goal.target:g} is not: the most "
            f"accurate plan on these draws gets {point['accuracy']:.3f} "
            f"[{point['low']:.3f}, {point['high']:.3f}]. Lower it, or record more draws."
        )
    return int(enough[np.argmin(measured.plan.cost.mean(axis=0)[enough])])


def policies(family: Family, measured: Measured) -> tuple[list[Policy], list[Policy]]:
    """The policy of each budget chosen on all questions, and the best fixed choice."""
    rows = np.arange(family.fixed.right.shape[2])
    every, fixed = (
        [
            policy_of(_sure(one), menus, family.strategies)
            for one in best_policies(menus, rows, measured.budgets)
        ]
        for menus in (family.menus, (family.fixed,))
    )
    return every, fixed


def policies_of_splits(
    family: Family, measured: Measured, at: int, *, fixed: bool
) -> list[Policy]:
    """The policy that each fold's other questions gave for one budget.

    Args:
        family: what was chosen from.
        measured: held out.
        at: which budget.
        fixed: of the fixed choices alone.
    """
    held, menus = (measured.fixed, (family.fixed,)) if fixed else (measured.plan, family.menus)
    return [policy_of(_sure(row[at]), menus, family.strategies) for row in held.found]


def _sure(found: Found | None) -> Found:
    assert found is not None  # budgets that nothing fits were dropped in `measure`
    return found


def frontier_records(
    measured: Measured, labels: Sequence[str], fixed: Sequence[str]
) -> list[dict[str, Any]]:
    """The frontier as records, cheapest first."""
    records = []
    for at, budget in enumerate(measured.budgets):
        other = measured.accuracy(measured.fixed, at)
        records.append(
            {"budget": float(budget)}
            | measured.accuracy(measured.plan, at)
            | {"label": labels[at]}
            | {"fixed": {"label": fixed[at], **other}}
        )
    return records


def label_of(policy: Policy) -> str:
    """A policy in one short line."""
    if not policy.probe:
        return short_spec(policy.routes[0].strategy)
    return f"{len(policy.routes)} routes after {policy.probe} draws"


def shares_of(policy: Policy, evidence: Evidence) -> list[float]:
    """Share of streams that takes each route."""
    taken = policy.route(evidence.streams)
    return [float(np.mean(taken == number)) for number in range(len(policy.routes))]


def policy_text(policy: Policy, evidence: Evidence) -> list[str]:
    """The policy in sentences, with how often each route is taken."""
    return policy_lines(policy, shares_of(policy, evidence))
