"""From curves to results: points with intervals, laws, levels, pairs, frontier and advice.

A study and a replay give the same object, which `dwell show --json` and `dwell replay --json`
print and the report draws. Every accuracy carries an interval clustered by problem, on one set of
resamples, so that all comparisons are paired. What cannot be a method, because it reads the
reference answers, is marked "oracle".
"""

from __future__ import annotations

import datetime
import json
import platform
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

import dwell
from dwell.curves import Panel, label_of, panels_of
from dwell.ledger import Ledger
from dwell.plans.checking import checked
from dwell.records import Usage
from dwell.results.levels import level_records
from dwell.results.pairs import pair_records
from dwell.results.points import curve_record
from dwell.results.words import advice_record, frontier
from dwell.samples import AnswerTable
from dwell.strategies import Planned
from dwell.study import STUDY, Study
from dwell.study_recording import recordings_of


def analyse(folder: Path | str) -> dict[str, Any]:
    """The results of a study's folder, as JSON-able objects.

    Raises:
        UsageError: the folder holds no study, or its ledger cannot be read.
    """
    study = Study.load(folder)
    with Ledger(study.ledger_path, read_only=True) as ledger:
        answers = AnswerTable(ledger, {p.id: p for p in study.problems}, study.tasks)
        sources = ledger.sources()
        panels = panels_of(study, ledger, answers)
        totals = ledger.totals()
        failed = ledger.failed_runs()
    parts = assemble(panels)
    by_strategy = _by_strategy(study, answers)
    charged = sum(record["tokens_charged"] for record in by_strategy)
    spent: Usage = totals.spent
    return {
        "title": study.spec.title,
        **stamp(),
        "demo_note": None,
        **parts,
        "frontier": frontier(parts["curves"], sources),
        "cost": {
            "tokens_charged": charged,
            "tokens_spent": spent.tokens,
            "flops_spent": spent.flops,
            "draws": totals.draws,
            "by_strategy": by_strategy,
        },
        "failures": [_failure(name, message) for name, message in failed],
        "confidence": _confidence(folder, study),
        "study": _about(study, sources),
        "tokens_charged": charged,
        "tokens_spent": spent.tokens,
        "flops_spent": spent.flops,
    }


def _confidence(folder: Path | str, study: Study) -> list[dict[str, Any]]:
    """What plans among the strategies said of their answers, and what was so."""
    asked = {s.spec(): s for _, _, s in study.spec.strategies_at() if s.name == Planned.name}
    return checked(asked.values(), recordings_of(folder).recordings) if asked else []


def assemble(
    panels: Iterable[Panel],
    *,
    laws: bool = True,
    seen: Callable[[Panel], None] | None = None,
) -> dict[str, Any]:
    """What follows from curves alone: "curves", "levels", "paired" and the advice.

    Args:
        panels: gone through once, so that they need not be in memory together.
        laws: fit laws to the curves (the slow part).
        seen: called with each panel when its records are made.
    """
    curves: list[dict[str, Any]] = []
    levels: list[dict[str, Any]] = []
    paired: list[dict[str, Any]] = []
    advice: list[dict[str, Any]] = []
    for panel in panels:
        curves += [curve_record(panel, curve, laws=laws) for curve in panel.curves]
        levels += level_records(panel)
        paired += pair_records(panel)
        advice += filter(None, [advice_record(panel)])
        if seen is not None:
            seen(panel)
    text = " ".join(record["text"] for record in advice)
    return {
        "advice": text or "Nothing is finished yet.",
        "advices": advice,
        "curves": curves,
        "levels": levels,
        "paired": paired,
    }


def stamp() -> dict[str, Any]:
    """When results were made, and by which version."""
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    return {"created": now, "dwell_version": dwell.__version__}


def versions() -> dict[str, str]:
    """The versions that numbers may depend on."""
    return {
        "dwell": dwell.__version__,
        "python": platform.python_version(),
        "numpy": np.__version__,
    }


def to_json(results: Mapping[str, Any]) -> str:
    """Results as JSON text; NaN is refused."""
    return json.dumps(results, allow_nan=False, ensure_ascii=False, indent=1)


def _by_strategy(study: Study, answers: AnswerTable) -> list[dict[str, Any]]:
    names: dict[str, list[str]] = {}
    for model in study.spec.models:
        for plan in study.plans(model):
            names.setdefault(label_of(plan.strategy), []).append(plan.name)
    return [
        {"label": label, "tokens_charged": answers.total_tokens(runs)}
        for label, runs in names.items()
    ]


def _failure(name: str, message: str) -> dict[str, str]:
    model, strategy, problem, _ = name.split("|")
    task = problem.split("/")[0]
    return {"model": model, "task": task, "strategy": strategy, "problem": problem,
            "message": message}  # fmt: skip


def _about(study: Study, sources: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    return {
        "text": (study.folder / STUDY).read_text(encoding="utf-8"),
        "versions": versions(),
        "seed": study.spec.seed,
        "problems": len(study.problems),
        "models": [
            {
                "name": source.get("model", fingerprint),
                "num_parameters": source.get("num_parameters"),
                "fingerprint": fingerprint,
            }
            for fingerprint, source in sources.items()
            if "model" in source
        ],
    }
