"""From a study's ledger to its results: curves, laws, levels, pairs, frontier and advice.

`analyse` returns the object that `dwell show --json` prints and the report draws. Every accuracy
carries an interval clustered by problem, on one set of resamples, so that all comparisons are
paired. What cannot be a method, because it reads the reference answers, is marked "oracle".
"""

from __future__ import annotations

import datetime
import json
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import dwell
from dwell import laws
from dwell.curves import Curve, FloatArray, Panel, complete, label_of, panels_of, subset
from dwell.ledger import Ledger
from dwell.metrics import bootstrap_interval, paired_difference, sign_flip
from dwell.records import USAGE_KINDS
from dwell.samples import AnswerTable
from dwell.study import STUDY, Study

#: Laws tried on each kind of curve; the one that predicts the held-out budgets best is kept.
CANDIDATE_LAWS: Mapping[str, tuple[str, ...]] = {
    "coverage": ("coverage", "ttspm"),
    "vote": ("vote", "ttspm"),
    "best": ("best_of", "power", "ttspm", "overoptimisation"),
    "measured": ("power", "best_of", "ttspm", "overoptimisation"),
}
#: A law needs this many budgets, so that some can be held out.
LEAST_BUDGETS = 5


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
    curves = [_curve_record(panel, curve) for panel in panels for curve in panel.curves]
    by_strategy = _by_strategy(study, answers)
    charged = sum(record["tokens_charged"] for record in by_strategy)
    return {
        "title": study.spec.title,
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "dwell_version": dwell.__version__,
        "advice": " ".join(filter(None, map(_advice, panels))) or "Nothing is finished yet.",
        "demo_note": None,
        "curves": curves,
        "levels": [record for panel in panels for record in _levels(panel)],
        "paired": [record for panel in panels for record in _pairs(panel)],
        "frontier": _frontier(curves, sources),
        "cost": {
            "tokens_charged": charged,
            "tokens_spent": totals.spent.tokens,
            "draws": totals.draws,
            "by_strategy": by_strategy,
        },
        "failures": [_failure(name, message) for name, message in failed],
        "study": _about(study, sources),
        "tokens_charged": charged,
        "tokens_spent": totals.spent.tokens,
    }


# ---- points and laws -------------------------------------------------------------------------


def _curve_record(panel: Panel, curve: Curve) -> dict[str, Any]:
    points = []
    for column, n in enumerate(curve.budgets):
        rows = complete(curve.values[:, column])
        if not len(rows):
            continue
        interval = bootstrap_interval(curve.values[rows, column], subset(panel.resamples, rows))
        points.append(
            {
                "n": n,
                "accuracy": float(interval.value),
                "low": float(interval.low),
                "high": float(interval.high),
                **_mean_charge(curve.charged[:, column]),
                "problems": len(rows),
            }
        )
    return {
        "strategy": "coverage" if curve.kind == "coverage" else curve.strategy.name,
        "label": curve.label,
        "params": {**curve.strategy.params(), curve.scale: None},
        "scale": curve.scale,
        "model": curve.model,
        "task": curve.task,
        "estimator": "measured" if curve.kind == "measured" else "exact",
        "oracle": curve.oracle,
        "points": points,
        "law": _law(panel, curve),
    }


def _mean_charge(charged: FloatArray) -> dict[str, float | None]:
    """Tokens, FLOPs and modelled seconds per problem."""
    rows = complete(charged)
    if not len(rows):
        return {"tokens_charged": None, "flops": None, "seconds": None}
    mean = dict(zip(USAGE_KINDS, charged[rows].mean(axis=0).tolist(), strict=True))
    return {
        "tokens_charged": mean["output_tokens"] + mean["verifier_tokens"],
        "flops": mean["flops"],
        "seconds": mean["seconds"],
    }


def _law(panel: Panel, curve: Curve) -> dict[str, Any] | None:
    """The law that predicts the held-out budgets best, None for too few budgets."""
    kind = curve.kind
    if kind == "pass" or curve.scale != "n" or len(curve.budgets) < LEAST_BUDGETS:
        return None
    rows = complete(curve.values)
    if len(rows) < 2:
        return None
    resamples = subset(panel.resamples, rows)
    fit = laws.choose(
        CANDIDATE_LAWS[kind],
        curve.budgets,
        curve.values[rows],
        resamples=resamples.weights[:200],
    )[0]
    saturation, asymptote = fit.saturation(), fit.asymptote()
    grid = np.unique(np.geomspace(1, 4 * max(curve.budgets), 40).round(2))
    band = fit.predict(grid)
    return {
        "name": fit.law.name,
        "formula": fit.law.formula,
        "params": fit.named,
        "saturation": _finite(saturation.value),
        "saturation_low": _finite(saturation.low),
        "saturation_high": _finite(saturation.high),
        "asymptote": _finite(asymptote.value),
        "low": _finite(asymptote.low),
        "high": _finite(asymptote.high),
        "verdict": fit.verdict,
        "reasons": list(fit.reasons),
        "holdout_error": None if fit.holdout is None else fit.holdout.rmse,
        "fitted_n": fit.k.tolist(),
        "holdout_n": [] if fit.holdout is None else fit.holdout.k.tolist(),
        "band": [
            {"n": float(n), "mean": float(m), "low": float(low), "high": float(high)}
            for n, m, low, high in zip(band.k, band.value, band.low, band.high, strict=True)
        ],
    }


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


# ---- levels, pairs, frontier -----------------------------------------------------------------


def _levels(panel: Panel) -> list[dict[str, Any]]:
    """Accuracy by difficulty, for every curve and budget."""
    levels = np.array([problem.tags.get("level", 0) for problem in panel.problems])
    if len(set(levels.tolist())) < 2:
        return []
    records = []
    for curve in panel.curves:
        for column, n in enumerate(curve.budgets):
            for level in sorted(set(levels.tolist())):
                values = curve.values[:, column]
                rows = np.flatnonzero((levels == level) & np.isfinite(values))
                if not len(rows):
                    continue
                interval = bootstrap_interval(values[rows], subset(panel.resamples, rows))
                records.append(
                    {
                        "model": panel.model,
                        "task": panel.task,
                        "strategy": curve.strategy.name,
                        "label": curve.label,
                        "n": n,
                        "level": level,
                        "accuracy": float(interval.value),
                        "low": float(interval.low),
                        "high": float(interval.high),
                        "problems": len(rows),
                    }
                )
    return records


def _pairs(panel: Panel) -> list[dict[str, Any]]:
    """Paired differences at equal n: each against the vote, and the two best."""
    records = []
    usable = [c for c in panel.curves if not c.oracle and c.scale == "n"]
    for n in sorted({n for curve in usable for n in curve.budgets}):
        there = [curve for curve in usable if n in curve.budgets]
        base = next((c for c in there if c.kind == "vote"), there[0] if there else None)
        if base is None:
            continue
        rivals = [curve for curve in there if curve is not base]
        pairs = [(curve, base) for curve in rivals]
        ranked = sorted(rivals, key=lambda c: -_mean(c.values[:, c.budgets.index(n)]))
        if len(ranked) >= 2:
            pairs.append((ranked[0], ranked[1]))
        records += [record for a, b in pairs if (record := _pair(panel, a, b, n)) is not None]
    return records


def _mean(values: FloatArray) -> float:
    return float(np.nanmean(values)) if np.isfinite(values).any() else -1.0


def _pair(panel: Panel, a: Curve, b: Curve, n: int) -> dict[str, Any] | None:
    # Two exact estimates average over all draws; else both sides answer on the same draws.
    exact = "measured" not in (a.kind, b.kind)
    left, right = (
        (curve.values if exact else curve.answered)[:, curve.budgets.index(n)] for curve in (a, b)
    )
    rows = complete(left, right)
    if len(rows) < 2:
        return None
    interval = paired_difference(left[rows], right[rows], subset(panel.resamples, rows))
    return {
        "model": panel.model,
        "task": panel.task,
        "n": n,
        "a": a.label,
        "b": b.label,
        "difference": float(interval.value),
        "low": float(interval.low),
        "high": float(interval.high),
        "p_value": sign_flip(left[rows] - right[rows]).p_value,
        "problems": len(rows),
    }


def _frontier(
    curves: Sequence[Mapping[str, Any]], sources: Mapping[str, Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """All points of all models in FLOPs, marked where nothing cheaper is as accurate."""
    sizes = {s.get("model"): s.get("num_parameters") for s in sources.values()}
    records = [
        {
            "model": curve["model"],
            "num_parameters": sizes.get(curve["model"]),
            "task": curve["task"],
            "strategy": curve["strategy"],
            "label": curve["label"],
            **{key: point[key] for key in ("n", "flops", "tokens_charged", "accuracy", "low",
                                           "high")},
            "on_frontier": False,
        }
        for curve in curves
        if not curve["oracle"]
        for point in curve["points"]
        if point["flops"]
    ]  # fmt: skip
    for task in sorted({record["task"] for record in records}):
        best = -1.0
        of_task = [record for record in records if record["task"] == task]
        for record in sorted(of_task, key=lambda r: (r["flops"], -r["accuracy"])):
            record["on_frontier"] = record["accuracy"] > best
            best = max(best, record["accuracy"])
    return records


# ---- words and accounts ----------------------------------------------------------------------


def _advice(panel: Panel) -> str:
    """The cheapest point within one point of accuracy of the best, in a sentence."""
    points = [
        (float(curve.charged[rows, column, 3].mean() + curve.charged[rows, column, 4].mean()),
         curve, column, rows)
        for curve in panel.curves
        if not curve.oracle
        for column in range(len(curve.budgets))
        if len(rows := complete(curve.values[:, column], curve.charged[:, column]))
    ]  # fmt: skip
    if not points:
        return ""
    accuracy = [float(curve.values[rows, column].mean()) for _, curve, column, rows in points]
    close = [i for i, value in enumerate(accuracy) if value >= max(accuracy) - 0.01]
    chosen = min(close, key=lambda i: points[i][0])
    tokens, curve, column, rows = points[chosen]
    interval = bootstrap_interval(curve.values[rows, column], subset(panel.resamples, rows))
    return (
        f"On {panel.task} with {panel.model}, use {curve.label} at "
        f"{curve.scale}={curve.budgets[column]}: {100 * accuracy[chosen]:.0f} % right "
        f"[{100 * float(interval.low):.0f}, {100 * float(interval.high):.0f}] for "
        f"{tokens:.0f} tokens a problem{_versus_single(panel, accuracy[chosen])}."
    )


def _versus_single(panel: Panel, accuracy: float) -> str:
    single = next((c for c in panel.curves if not c.oracle and 1 in c.budgets), None)
    if single is None or single.scale != "n":
        return ""
    column = single.budgets.index(1)
    rows = complete(single.values[:, column], single.charged[:, column])
    if not len(rows):
        return ""
    tokens = single.charged[rows, column, 3].mean()
    return (
        f", against {100 * float(single.values[rows, column].mean()):.0f} % for the {tokens:.0f} "
        f"tokens of a single sample ({100 * (accuracy - single.values[rows, column].mean()):+.0f}"
        " points)"
    )


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
        "versions": {
            "dwell": dwell.__version__,
            "python": platform.python_version(),
            "numpy": np.__version__,
        },
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


def to_json(results: Mapping[str, Any]) -> str:
    """Results as JSON text; NaN is refused."""
    return json.dumps(results, allow_nan=False, ensure_ascii=False, indent=1)
