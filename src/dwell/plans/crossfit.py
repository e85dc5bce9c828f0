"""Held-out accuracy and cost of planning itself: everything is chosen on other questions.

Questions (whole clusters of them) are dealt into folds. For each fold the plan is made on the
others from nothing, and its accuracy and cost are read off the fold. Each question so has values
that its own grades had no part in; repeated with other folds, and averaged.

Letters: `P` questions, `B` budgets.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from dwell.plans.evidence import FloatArray, IntArray
from dwell.plans.search import Found, Menu, best_policies, value
from dwell.streams import BoolArray


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldOut:
    """What planning for each budget brought on questions that were not used.

    Attributes:
        accuracy: `[P, B]`; NaN in a column whose budget no strategy fits.
        cost: `[P, B]` likewise.
        luck: `[B]` standard deviation of the mean cost between the plans of the splits, each on
            all questions: how far which questions a plan was made from decides what it costs.
        found: for each split, what was taken for each budget.
    """

    accuracy: FloatArray
    cost: FloatArray
    luck: FloatArray
    found: tuple[tuple[Found | None, ...], ...]

    def at(self, kept: BoolArray) -> HeldOut:
        """The same at some of the budgets."""
        found = tuple(
            tuple(one for one, keep in zip(row, kept, strict=True) if keep) for row in self.found
        )
        return HeldOut(
            accuracy=self.accuracy[:, kept],
            cost=self.cost[:, kept],
            luck=self.luck[kept],
            found=found,
        )


def folds_of(
    num_questions: int, clusters: IntArray | None, folds: int, repeats: int, seed: int
) -> Iterator[tuple[IntArray, IntArray]]:
    """(questions to plan on, questions to look at), `folds` times `repeats` pairs.

    Args:
        num_questions: P.
        clusters: `[P]`; a cluster is never split. None = each question for itself.
        folds: K, at least 2.
        repeats: how often to deal.
        seed: of the dealing.
    """
    label = np.arange(num_questions) if clusters is None else clusters
    num_clusters = int(label.max()) + 1
    rng = np.random.default_rng(seed)
    for _ in range(repeats):
        fold = rng.permutation(num_clusters) % min(folds, num_clusters)
        for number in range(int(fold.max()) + 1):
            inside = fold[label] == number
            yield np.flatnonzero(~inside), np.flatnonzero(inside)


def cross_fitted(
    menus: Sequence[Menu], budgets: FloatArray, splits: Sequence[tuple[IntArray, IntArray]]
) -> HeldOut:
    """Plan on one side of each split, look at the other.

    Args:
        menus: what may be chosen, simplest first.
        budgets: `[B]`.
        splits: (questions to plan on, questions to look at).
    """
    num_questions = menus[0].right.shape[2]
    right, cost = np.zeros((2, num_questions, len(budgets)))
    seen, every = np.zeros(num_questions), np.arange(num_questions)
    means = np.full((len(splits), len(budgets)), np.nan)
    taken = []
    for split, (own, held) in enumerate(splits):
        seen[held] += 1
        taken.append(tuple(best_policies(menus, own, budgets)))
        for number, found in enumerate(taken[-1]):
            if found is None:
                right[held, number] = cost[held, number] = np.nan
                continue
            accuracy, paid = value(menus[found.menu], found.taken, every)
            right[held, number] += accuracy[held]
            cost[held, number] += paid[held]
            means[split, number] = paid.mean()
    with np.errstate(invalid="ignore"):
        times = np.where(seen > 0, seen, np.nan)[:, None]
        return HeldOut(
            accuracy=right / times, cost=cost / times, luck=means.std(axis=0), found=tuple(taken)
        )
