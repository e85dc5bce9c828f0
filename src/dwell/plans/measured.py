"""Points of a study's curves that whole answers cannot tell: searches, revisions.

They enter as fixed choices, with the accuracy and cost that their own runs had.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dwell.curves import Curve, Panel, panels
from dwell.plans.evidence import FloatArray
from dwell.protocols import Strategy
from dwell.recordings.arrays import Recording
from dwell.records import USAGE_KINDS
from dwell.strategies import make
from dwell.study import Study

#: Kinds of usage that each unit counts. Draws are not there: a search's draws are not whole.
_COUNTED = {
    "tokens": ("output_tokens", "verifier_tokens"),
    "usd": ("usd",),
    "seconds": ("seconds",),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One strategy's measured accuracy and cost.

    Attributes:
        strategy: which.
        right: `[P]` share of its runs that were right.
        cost: `[P]` mean charge.
    """

    strategy: Strategy
    right: FloatArray
    cost: FloatArray


def measured_points(folder: Path | str, recording: Recording, unit: str) -> list[Point]:
    """The points of a study that were measured on all questions of a recording.

    Args:
        folder: of the study.
        recording: of its draws, perhaps pooled over tasks.
        unit: what cost is counted in; there is nothing to find for "draws".
    """
    asked = [strategy for _, _, strategy in Study.load(folder).spec.strategies_at()]
    if unit not in _COUNTED or all(type(s).replay is not Strategy.replay for s in asked):
        return []
    kinds = [USAGE_KINDS.index(kind) for kind in _COUNTED[unit]]
    rows: dict[str, dict[str, tuple[float, float]]] = {}
    strategies: dict[str, Strategy] = {}
    for panel in panels(folder):
        if panel.model not in recording.model.split(", "):
            continue
        for curve in panel.curves:
            if type(curve.strategy).replay is Strategy.replay and not curve.oracle:
                _collect(panel, curve, kinds, rows, strategies)
    names = [question.rpartition("|")[2] for question in recording.questions]
    found = []
    for spec, known in rows.items():
        table = np.array([known.get(name, (np.nan, np.nan)) for name in names])
        if np.isfinite(table).all():
            found.append(Point(strategy=strategies[spec], right=table[:, 0], cost=table[:, 1]))
    return found


def _collect(
    panel: Panel,
    curve: Curve,
    kinds: list[int],
    rows: dict[str, dict[str, tuple[float, float]]],
    strategies: dict[str, Strategy],
) -> None:
    """Put a curve's points into `rows`: strategy -> question -> (right, cost)."""
    for column, budget in enumerate(curve.budgets):
        strategy = make(curve.strategy.name, **curve.strategy.params() | {curve.scale: budget})
        strategies[strategy.spec()] = strategy
        cost = curve.charged[:, column][:, kinds].sum(axis=1)
        known = rows.setdefault(strategy.spec(), {})
        for problem, right, paid in zip(
            panel.problems, curve.answered[:, column], cost, strict=True
        ):
            known[problem.id] = (float(right), float(paid))
