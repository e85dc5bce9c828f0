"""The accuracy curves of a study as arrays: one panel a model and task.

Every curve of a panel is on the same problems and the same bootstrap resamples, so that all
comparisons are paired. What reads the reference answers is marked as an oracle.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from dwell.ledger import Ledger
from dwell.metrics import Resamples
from dwell.metrics import resample_problems as resample
from dwell.protocols import Strategy
from dwell.records import Problem
from dwell.samples import AnswerTable, DrawTable, setting_of
from dwell.study import Study, run_name
from dwell.study_file import StrategySpec

FloatArray = npt.NDArray[np.float64]
NUM_RESAMPLES = 1000


@dataclass(frozen=True, slots=True)
class Curve:
    """One strategy on one model and task, at all its budgets.

    Attributes:
        name: the strategy's name, or that of a bound such as "coverage".
        label: name and those parameters that are not default.
        kind: "coverage", "pass", "vote", "best" (exact estimators) or "measured"; decides which
            laws are tried.
        estimator: how the values came about: "exact", "measured", or in a replay "orders" (mean
            over random orders of recorded draws) or "driver" (runs on the recording).
        budgets: `[K]` values of the scale parameter.
        values: `[P, K]` accuracy of each problem, NaN where not measured.
        answered: `[P, K]` share of its runs that were right: what the runs themselves answered,
            on the study's own draws, where `values` averages over all draws.
        charged: `[P, K, 10]` mean usage, NaN likewise.
        oracle: whether it reads the reference answers.
        scale: the parameter that the budgets are values of.
        abstained: `[P, K]` share of runs that gave no answer, which are wrong in `values`; None
            where that was not counted.
    """

    name: str
    label: str
    strategy: Strategy
    model: str
    task: str
    kind: str
    estimator: str
    budgets: tuple[int, ...]
    values: FloatArray
    answered: FloatArray
    charged: FloatArray
    oracle: bool
    scale: str
    abstained: FloatArray | None = None


@dataclass(frozen=True, slots=True)
class Panel:
    """All curves of one model and task, on the same problems and resamples."""

    model: str
    task: str
    problems: Sequence[Problem]
    resamples: Resamples
    curves: Sequence[Curve]


def panels(folder: Path | str) -> list[Panel]:
    """The curves of a study's folder as arrays, for analyses of one's own.

    Raises:
        UsageError: the folder holds no study, or its ledger cannot be read.
    """
    study = Study.load(folder)
    with Ledger(study.ledger_path, read_only=True) as ledger:
        answers = AnswerTable(ledger, {p.id: p for p in study.problems}, study.tasks)
        return panels_of(study, ledger, answers)


def panels_of(study: Study, ledger: Ledger, answers: AnswerTable) -> list[Panel]:
    """The panels of an open ledger."""
    sources = ledger.sources()
    return [
        _panel(study, ledger, answers, sources, model.name, task)
        for model in study.spec.models
        for task in study.tasks
    ]


def _panel(
    study: Study,
    ledger: Ledger,
    answers: AnswerTable,
    sources: Mapping[str, Mapping[str, Any]],
    model: str,
    task: str,
) -> Panel:
    problems = [problem for problem in study.problems if problem.task == task]
    source = next((s for s in sources.values() if s.get("model") == model), {})
    draws = DrawTable(
        ledger, source.get("fingerprint", ""), problems, study.tasks[task], study.verifiers,
        (study.spec.seed, study.spec.streams), _asked_of_all(study),
    )  # fmt: skip
    curves = [
        _curve(study, answers, draws, problems, spec, model, task)
        for spec in study.spec.strategies
    ]
    curves += _coverage_curve(draws, curves)
    shown = [curve for curve in curves if np.isfinite(curve.values).any()]
    resamples = resample(len(problems), num_resamples=NUM_RESAMPLES, seed=study.spec.seed)
    return Panel(model, task, problems, resamples, shown)


def _asked_of_all(study: Study) -> dict[tuple[Any, Any], int]:
    """How many draws strategies of a fixed size ask of every problem, by sampling setting."""
    found: dict[tuple[Any, Any], int] = {}
    for _, _, strategy in study.spec.strategies_at():
        if strategy.exchangeable is not None:
            key = setting_of(strategy)
            found[key] = max(found.get(key, 0), getattr(strategy, "n", 0))
    return found


def _curve(
    study: Study,
    answers: AnswerTable,
    draws: DrawTable,
    problems: Sequence[Problem],
    spec: StrategySpec,
    model: str,
    task: str,
) -> Curve:
    budgets = study.spec.budgets_of(spec)
    strategies = [spec.at(budget) for budget in budgets]
    measured = [
        answers.measured(
            [
                [run_name(model, s, study.subject(s, p).id, r) for r in range(study.spec.streams)]
                for p in problems
            ],
            [p.id for p in problems],
        )
        for s in strategies
    ]
    values = answered = np.stack([one.correct for one in measured], axis=1)
    charged = np.stack([one.charged for one in measured], axis=1)
    kind = "measured"
    exact = None if study.spec.limits else draws.curve(strategies[-1], budgets)
    if exact is not None:
        kind = strategies[-1].exchangeable or "measured"
        values = np.where(np.isnan(exact), values, exact)
    verifiers = study.verifiers
    return Curve(
        name=strategies[-1].name,
        label=label_of(strategies[-1]),
        strategy=strategies[-1],
        model=model,
        task=task,
        kind=kind,
        estimator="measured" if kind == "measured" else "exact",
        budgets=budgets,
        values=values,
        answered=answered,
        charged=charged,
        oracle=any(verifiers[name].oracle for name in strategies[-1].verifiers()),
        scale=strategies[-1].scale,
    )


def _coverage_curve(draws: DrawTable, curves: Sequence[Curve]) -> list[Curve]:
    """pass@k of the draws, an upper bound, at the cost of the draws."""
    base = [curve for curve in curves if curve.kind in ("pass", "vote", "best")]
    if not base:
        return []
    widest = max(base, key=lambda curve: len(curve.budgets))
    values = draws.coverage(widest.strategy, widest.budgets)
    return [
        Curve(
            name="coverage",
            label="coverage (pass@k)",
            strategy=widest.strategy,
            model=widest.model,
            task=widest.task,
            kind="coverage",
            estimator="exact",
            budgets=widest.budgets,
            values=values,
            answered=values,
            charged=widest.charged,
            oracle=True,
            scale="n",
        )
    ]


def label_of(strategy: Strategy) -> str:
    """The strategy's name with those parameters that are not default."""
    defaults = {f.name: f.default for f in fields(strategy)}  # type: ignore[arg-type]
    given = [
        f"{key}={value}"
        for key, value in strategy.params().items()
        if key != strategy.scale and value != defaults[key]
    ]
    return strategy.name + (f" ({', '.join(given)})" if given else "")


def complete(*tables: FloatArray) -> npt.NDArray[np.intp]:
    """Problems that all tables `[P, ...]` have."""
    finite = [np.isfinite(table).reshape(len(table), -1).all(axis=1) for table in tables]
    return np.flatnonzero(np.logical_and.reduce(finite))


def subset(resamples: Resamples, rows: npt.NDArray[np.intp]) -> Resamples:
    """The same resamples, of some problems only; a resample without any is left out."""
    weights = resamples.weights[:, rows]
    kept = weights.sum(axis=1) > 0
    clusters = np.unique(resamples.clusters[rows], return_inverse=True)[1]
    return Resamples(weights=weights[kept], clusters=clusters)
