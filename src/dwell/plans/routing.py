"""From the strategy taken in each cell to a short table of routes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dwell.plans.evidence import IntArray
from dwell.plans.options import Probe
from dwell.plans.search import Found, Menu
from dwell.protocols import Strategy
from dwell.strategies.policy import Condition, Policy, Route

#: Cells with a smaller share of streams do what their neighbours do: no row for the table.
RARE = 0.005
#: A box of cells: for each feature the first and last bin, and the strategy taken there.
Box = tuple[tuple[tuple[int, int], ...], int]


def policy_of(found: Found, menus: Sequence[Menu], strategies: Sequence[Strategy]) -> Policy:
    """The policy as routes: neighbouring cells with one strategy are one route."""
    menu = menus[found.menu]
    lengths = tuple(len(edges) + 1 for edges in menu.cuts)
    seen = np.array(menu.share) >= RARE
    taken = np.where(seen, found.taken, -1).reshape(lengths) if lengths else found.taken
    boxes = _boxes(taken) if lengths else [((), int(found.taken[0]))]
    if len({option for _, option in boxes}) == 1:
        # Looking changes nothing, so it is not paid for.
        strategy = strategies[boxes[0][1]]
        return Policy(routes=(Route(strategy=strategy),))
    routes = [
        Route(strategy=strategies[option], when=_conditions(menu.probe, menu.cuts, box))
        for box, option in boxes
    ]
    # What is left when all others do not hold needs no condition of its own, and takes in what
    # comes just before it if that does the same.
    while len(routes) > 1 and routes[-2].strategy == routes[-1].strategy:
        del routes[-2]
    last = Route(strategy=routes[-1].strategy)
    return Policy(routes=(*routes[:-1], last), probe=menu.probe.draws, score=menu.probe.score)


def _boxes(taken: IntArray) -> list[Box]:
    """Boxes of equal strategy in a grid of one or two features; -1 (rare) joins any."""
    if taken.ndim == 1:
        return [(((first, last),), option) for first, last, option in _runs(taken.tolist())]
    rows = [tuple(_runs(row.tolist())) for row in taken]
    patterns: list[tuple[int, int, tuple[tuple[int, int, int], ...]]] = []
    for number, row in enumerate(rows):
        empty = all(option < 0 for _, _, option in row)
        if patterns and (empty or patterns[-1][2] == row):
            patterns[-1] = (patterns[-1][0], number, patterns[-1][2])
        elif patterns and all(option < 0 for _, _, option in patterns[-1][2]):
            patterns[-1] = (patterns[-1][0], number, row)
        else:
            patterns.append((number, number, row))
    return [
        (((first, last), (low, high)), option)
        for first, last, row in patterns
        for low, high, option in row
    ]


def _runs(values: Sequence[int]) -> list[tuple[int, int, int]]:
    """(first, last, value) of runs of equal values; -1 joins the run before it, or the next."""
    runs: list[tuple[int, int, int]] = []
    for place, option in enumerate(values):
        if runs and (option in (-1, runs[-1][2]) or runs[-1][2] == -1):
            runs[-1] = (runs[-1][0], place, max(option, runs[-1][2]))
        else:
            runs.append((place, place, option))
    return runs


def _conditions(
    probe: Probe, cuts: Sequence[Sequence[float]], box: tuple[tuple[int, int], ...]
) -> tuple[Condition, ...]:
    found = []
    for name, edges, (first, last) in zip(probe.features, cuts, box, strict=True):
        bounds = (-np.inf, *edges, np.inf)
        if first > 0 or last < len(edges):
            found.append(Condition(feature=name, at_least=bounds[first], below=bounds[last + 1]))
    return tuple(found)
