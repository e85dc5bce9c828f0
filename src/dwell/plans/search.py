"""The best policy for a mean cost, on some of the questions.

For each probe the questions' streams fall into cells. In a cell every strategy is a point (cost,
accuracy), and a policy takes one point in each cell. From the cheapest points upward, the step
with the best price (accuracy gained per cost) that the budget still pays for is taken until there
is none: marginal analysis (Fox, "Discrete Optimization Via Marginal Analysis", 1966), optimal up
to the last step. Snell et al. (2024) choose per difficulty bin with the same aim.

One rule keeps noise out: of the menus, simplest first, the first one is taken whose shortfall from
the best is within `SIMPLER` standard errors (paired). That is judged on inner folds, because a
menu with many cells always looks good where it was tuned.

Letters: `O` strategies, `P` questions, `G` cells, `B` budgets.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from dwell.plans.evidence import Evidence, FloatArray, IntArray
from dwell.plans.options import Probe
from dwell.protocols import Strategy

Table = npt.NDArray[np.float32]

#: Paired standard errors that a simpler menu may seem worse and still be taken.
SIMPLER = 1.0
#: Folds by which menus are compared on the questions that a plan may look at.
INNER_FOLDS = 4
_ROUNDING = 1 + 1e-6
_LEAST_GAIN = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class Menu:
    """What each strategy contributes in each cell of a probe.

    Attributes:
        right: `[G, O, P]` a question's share of streams in the cell times their mean grade; the
            sum over cells is the question's accuracy.
        cost: `[G, O, P]` likewise; the probe is in it.
        probe: what is looked at.
        cuts: where the features are cut.
        share: `[G]` of all streams that fall into each cell.
    """

    right: Table
    cost: Table
    probe: Probe = Probe()
    cuts: tuple[tuple[float, ...], ...] = ()
    share: tuple[float, ...] = (1.0,)


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A policy found on some questions.

    Attributes:
        menu: number of its menu.
        taken: `[G]` strategy taken in each cell.
    """

    menu: int
    taken: IntArray


def menu_of(
    evidence: Evidence,
    strategies: Sequence[Strategy],
    probe: Probe,
    cuts: Sequence[Sequence[float]],
) -> Menu:
    """The menu of a probe: one pass over all streams."""
    num_cells, (num_orders, num_questions) = probe.count(cuts), evidence.shape
    cells = probe.cells(evidence.streams, cuts)
    here = (cells == np.arange(num_cells)[:, None, None]).astype(np.float32) / num_orders
    least = evidence.spent[..., probe.draws]
    right = np.empty((num_cells, len(strategies), num_questions), np.float32)
    cost = np.empty_like(right)
    for number, strategy in enumerate(strategies):
        found = evidence.outcome(strategy)
        paid = np.maximum(found.cost, least).astype(np.float32)
        right[:, number] = np.einsum("grp,rp->gp", here, found.right.astype(np.float32))
        cost[:, number] = np.einsum("grp,rp->gp", here, paid)
    return Menu(
        right=right,
        cost=cost,
        probe=probe,
        cuts=tuple(tuple(edges) for edges in cuts),
        share=tuple((here.sum(axis=(1, 2)) / num_questions).tolist()),
    )


def value(menu: Menu, taken: IntArray, rows: IntArray) -> tuple[FloatArray, FloatArray]:
    """Accuracy and cost of a policy on questions, `[n]` each."""
    cells = np.arange(len(taken))
    right = menu.right[cells, taken][:, rows].sum(axis=0, dtype=np.float64)
    return right, menu.cost[cells, taken][:, rows].sum(axis=0, dtype=np.float64)


def best_policies(
    menus: Sequence[Menu], rows: IntArray, budgets: FloatArray
) -> list[Found | None]:
    """For each budget the simplest of the best policies; None where nothing is that cheap.

    Args:
        menus: simplest first.
        rows: the questions that may be looked at, in an order that says nothing of them.
        budgets: `[B]` mean cost allowed, ascending.
    """
    taken = [tune(menu, rows, budgets) for menu in menus]
    fits = np.array(
        [_fits(menu, one, rows, budgets) for menu, one in zip(menus, taken, strict=True)]
    )
    judged = [_inner(menu, rows, budgets) for menu in menus] if len(menus) > 1 else []
    found: list[Found | None] = []
    for number in range(len(budgets)):
        fitting = np.flatnonzero(fits[:, number])
        if not len(fitting):
            found.append(None)
            continue
        best = fitting[0]
        if len(fitting) > 1:
            best = fitting[_simplest([judged[menu][number] for menu in fitting])]
        found.append(Found(menu=int(best), taken=taken[best][number]))
    return found


def _fits(menu: Menu, taken: IntArray, rows: IntArray, budgets: FloatArray) -> list[bool]:
    """For each budget whether its policy costs no more on these questions."""
    costs = [value(menu, one, rows)[1].mean() for one in taken]
    return [bool(c <= b * _ROUNDING) for c, b in zip(costs, budgets, strict=True)]


def _inner(menu: Menu, rows: IntArray, budgets: FloatArray) -> FloatArray:
    """`[B, n]` accuracy on inner folds of what is tuned on the others."""
    right = np.zeros((len(budgets), len(rows)))
    for fold in range(INNER_FOLDS):
        held = np.arange(len(rows)) % INNER_FOLDS == fold
        for number, one in enumerate(tune(menu, rows[~held], budgets)):
            right[number, held] = value(menu, one, rows[held])[0]
    return right


def _simplest(scores: Sequence[FloatArray]) -> int:
    """The first whose shortfall from the best is within `SIMPLER` standard errors."""
    best = max(scores, key=lambda right: float(right.mean()))
    for number, right in enumerate(scores):
        shortfall = best - right
        if shortfall.mean() <= SIMPLER * shortfall.std() / np.sqrt(len(shortfall)):
            return number
    raise AssertionError("the best is within any error of itself")


def tune(menu: Menu, rows: IntArray, budgets: FloatArray) -> IntArray:
    """For each budget (ascending), the strategy to take in each cell: `[B, G]`.

    A cell that no stream of these questions falls into takes what the costliest cell takes.
    """
    weights = np.zeros(menu.right.shape[2], np.float32)
    weights[rows] = 1 / len(rows)
    gain, paid = ((table @ weights).astype(np.float64) for table in (menu.right, menu.cost))
    seen = paid.max(axis=1) > 0
    taken = np.empty((len(budgets), len(seen)), np.int64)
    taken[:, seen] = _climb(gain[seen], paid[seen], budgets)
    taken[:, ~seen] = taken[:, [int(np.argmax(paid.max(axis=1)))]]
    return taken


def _cheapest(paid: FloatArray, gain: FloatArray) -> int:
    """The cheapest; of equally cheap ones the best, and of those the first."""
    cheap = np.flatnonzero(paid <= paid.min() * _ROUNDING)
    return int(cheap[np.argmax(gain[cheap])])


def _climb(gain: FloatArray, paid: FloatArray, budgets: FloatArray) -> IntArray:
    """The strategy in each cell after all steps that each budget pays for: `[B, G]`.

    Args:
        gain: `[G, O]`.
        paid: `[G, O]`.
        budgets: `[B]`, ascending.
    """
    cells = np.arange(len(gain))
    trail = np.array([_cheapest(p, g) for p, g in zip(paid, gain, strict=True)])
    taken = np.empty((len(budgets), len(gain)), np.int64)
    for number, budget in enumerate(budgets * _ROUNDING):
        # All budgets go the same way until the best step is too dear for one of them.
        while (step := _step(gain, paid, trail, np.inf)) is not None:
            if paid[cells, step].sum() > budget:
                break
            trail = step
        here = trail
        while (step := _step(gain, paid, here, float(budget))) is not None:
            here = step
        taken[number] = here
    return taken


def _step(gain: FloatArray, paid: FloatArray, here: IntArray, budget: float) -> IntArray | None:
    """One step on: the best price that the budget pays for; None if there is none."""
    cells = np.arange(len(gain))
    more_gain = gain - gain[cells, here][:, None]
    more_paid = paid - paid[cells, here][:, None]
    possible = (more_gain > _LEAST_GAIN) & (more_paid <= budget - paid[cells, here].sum())
    if not possible.any():
        return None
    # A better strategy for no more cost is a step of infinite price.
    price = np.where(possible, more_gain / np.maximum(more_paid, 1e-12), -np.inf)
    cell, option = np.unravel_index(int(np.argmax(price)), price.shape)
    step = here.copy()
    step[cell] = option
    return step
