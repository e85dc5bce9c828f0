"""The mean over many runs of the same questions, as one more panel.

A run is one model in one configuration. Runs are averaged that have the same number of draws or
more, so that all points of a mean are of the same runs. A question's value is its mean over runs:
the interval of the mean then comes from resampling questions jointly for all runs. How runs differ
from each other is told beside it (standard deviation, least and most).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from dwell.curves import Curve, FloatArray, Panel
from dwell.metrics import Resamples
from dwell.recordings import Recording
from dwell.records import USAGE_KINDS, Problem
from dwell.replays.asking import num_turns
from dwell.results.points import curve_record

#: A run has a number of draws if this share of all questions has it.
LEAST_SHARE = 0.9
#: A mean over runs with fewer draws must have this share of runs more.
LEAST_MORE = 0.25


def depth(recording: Recording, num_questions: int) -> int:
    """The most draws that at least nine in ten of a dataset's questions have in a run."""
    if recording.turns is not None:
        return num_turns(recording)
    needed = math.ceil(LEAST_SHARE * num_questions)
    if len(recording.sizes) < needed:
        return 0
    return int(np.sort(recording.sizes)[::-1][needed - 1])


def depths(recordings: Sequence[Recording], num_questions: int) -> list[int]:
    """Numbers of draws for which a mean over runs is worth making, largest first.

    Rounded down to powers of two; a smaller number must add a quarter more runs, and a single
    draw stands only where there is nothing else.
    """
    found = [depth(recording, num_questions) for recording in recordings]
    if recordings[0].turns is None:
        found = [1 << (d.bit_length() - 1) for d in found if d]
    kept: list[int] = []
    for draws in sorted({d for d in found if d}, reverse=True):
        runs = sum(d >= draws for d in found)
        before = sum(d >= kept[-1] for d in found) if kept else 0
        if runs >= (1 + LEAST_MORE) * before and not (kept and draws == 1):
            kept.append(draws)
    return kept


class MeanOverRuns:
    """Sums over panels that share their questions, added one by one.

    Args:
        task: the questions' dataset.
        problems: all of them.
        resamples: of these.
        draws: what its runs have at least.
        name: what the mean is called, with `{runs}` in it.
    """

    def __init__(
        self, task: str, problems: list[Problem], resamples: Resamples, *, draws: int, name: str
    ) -> None:
        self.task, self.problems, self.draws = task, problems, draws
        self._resamples, self._name = resamples, name
        self._place = {problem.id: index for index, problem in enumerate(problems)}
        self._sums: dict[str, dict[int, _Sum]] = {}
        self._example: dict[str, Curve] = {}
        self.runs = 0

    def add(self, panel: Panel) -> None:
        """Add one run."""
        self.runs += 1
        rows = np.array([self._place[problem.id] for problem in panel.problems])
        for curve in panel.curves:
            sums = self._sums.setdefault(curve.label, {})
            self._example.setdefault(curve.label, curve)
            for column, n in enumerate(curve.budgets):
                values = curve.values[:, column]
                if np.isfinite(values).sum() >= LEAST_SHARE * len(self.problems):
                    total = sums.setdefault(n, _Sum(len(self.problems)))
                    total.add(rows, values, curve.charged[:, column])

    def panel(self) -> Panel | None:
        """The mean as a panel, of what all runs have; None for less than two runs."""
        curves = [
            self._curve(self._example[label], sums)
            for label, sums in self._sums.items()
            if self.runs > 1 and any(total.runs == self.runs for total in sums.values())
        ]
        if not curves:
            return None
        name = self._name.format(runs=self.runs)
        return Panel(name, self.task, self.problems, self._resamples, curves)

    def _curve(self, example: Curve, sums: Mapping[int, _Sum]) -> Curve:
        budgets = tuple(sorted(n for n, total in sums.items() if total.runs == self.runs))
        values = np.stack([sums[n].values() for n in budgets], axis=1)
        return Curve(
            name=example.name,
            label=example.label,
            strategy=example.strategy,
            model=self._name.format(runs=self.runs),
            task=self.task,
            kind=example.kind,
            estimator=example.estimator,
            budgets=budgets,
            values=values,
            answered=values,
            charged=np.stack([sums[n].charged() for n in budgets], axis=1),
            oracle=example.oracle,
            scale=example.scale,
        )

    def record(self, panel: Panel, curve: Curve, *, laws: bool) -> dict[str, Any]:
        """The curve's record with the spread over runs at each point."""
        record = curve_record(panel, curve, laws=laws)
        for point in record["points"]:
            each = np.array(self._sums[curve.label][point["n"]].each)
            # Where a run lacks a question, the mean of means is not the mean over questions.
            moved = float(each.mean()) - point["accuracy"]
            point |= {
                "accuracy": float(each.mean()),
                "low": max(0.0, point["low"] + moved),
                "high": min(1.0, point["high"] + moved),
                "runs": len(each),
                "runs_sd": float(each.std(ddof=1)),
                "runs_least": float(each.min()),
                "runs_most": float(each.max()),
            }
        return {**record, "mean_over_runs": True}


class _Sum:
    """One strategy at one budget, summed over runs.

    Attributes:
        each: accuracy of each run.
    """

    def __init__(self, num_problems: int) -> None:
        self._total = np.zeros(num_problems)
        self._count = np.zeros(num_problems)
        self._charged = np.zeros((num_problems, len(USAGE_KINDS)))
        self.each: list[float] = []

    @property
    def runs(self) -> int:
        return len(self.each)

    def add(self, rows: Any, values: FloatArray, charged: FloatArray) -> None:
        known = np.isfinite(values)
        rows = rows[known]
        self._total[rows] += values[known]
        self._count[rows] += 1
        # NaN stays: a cost that one run lacks is no mean over all.
        self._charged[rows] += charged[known]
        self.each.append(float(values[known].mean()))

    def values(self) -> FloatArray:
        with np.errstate(invalid="ignore"):
            return np.asarray(self._total / self._count)

    def charged(self) -> FloatArray:
        with np.errstate(invalid="ignore"):
            return np.asarray(self._charged / self._count[:, None])
