"""What every strategy would have got on recorded draws: panels, one a run, and their results."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from dwell.curves import Panel
from dwell.metrics import answer_entropy
from dwell.plans.checking import checked
from dwell.protocols import Strategy
from dwell.recordings import Recorded, Recording
from dwell.replays.asking import DEFAULT_SCORE, EACH, Asked, asked
from dwell.replays.dispatch import Settings
from dwell.replays.estimates import tally
from dwell.replays.job import Replay, Source, opened
from dwell.replays.parts import halves
from dwell.replays.runs import MeanOverRuns
from dwell.results import assemble, stamp, versions
from dwell.results.levels import level_records
from dwell.results.pairs import pair_records
from dwell.results.words import advice_record

#: What is said where all curves read the true grades.
NO_ADVICE = "Only bounds were asked for: they say what is possible, not what to do."
#: With at most this many curves laws are fitted, and levels made from halves of the draws, unless
#: the caller says otherwise: both take longer than all the rest.
FEW_CURVES = 24


def replay(
    source: Source,
    strategies: str | Sequence[str | Strategy] | None = None,
    budgets: str | Sequence[int] | None = None,
    *,
    repetitions: int = 25,
    seed: int = 0,
    laws: bool | None = None,
    num_resamples: int = 1000,
    driver: bool = False,
    out: Path | str | None = None,
    watch: Callable[[float, int], None] = lambda done, total: None,
) -> dict[str, Any]:
    """What strategies would have got on recorded draws, with intervals, at every budget.

    Each strategy is evaluated by the first of these that holds for it, and the result says which
    ("estimator"): an exact estimator ("exact": sample, majority, best-of-n, weighted majority
    where its subsets are few, and the bounds coverage, best, worst, average, turns); what the
    strategy says of whole streams, on R random orders of the draws without replacement
    ("orders"); the driver on a generator that deals the recorded draws ("driver").

    Args:
        source: a table of samples, a study's folder, or recordings that were read before.
        strategies: words such as ``majority`` or ``best_of_n:verifier=score``, or strategies; and
            the bounds coverage, best, worst, average, turns; None asks for the usual ones that
            the recordings have the columns for.
        budgets: numbers of draws, "all" for every one, "each" for all that a question has, None
            for powers of two and the most.
        repetitions: R.
        seed: decides orders and resamples.
        laws: fit laws to the curves; None fits them where there are at most 24 curves.
        num_resamples: bootstrap resamples of questions, shared by all curves of a dataset.
        driver: use the driver for every strategy (slower; the same numbers up to noise).
        out: folder for the driver's ledger; None keeps it in memory.
        watch: called with (runs done, a fraction on the way, runs in all).

    Returns:
        What `dwell.analyse` returns for a study, with "recording" (path, rows, skipped rows, runs)
        and "left_out"; where several runs share their questions, also the mean over runs.

    Raises:
        UsageError: the table cannot be read, or a strategy needs what was not recorded; the
            message names it.
    """
    recorded = opened(source)
    settings = Settings(
        budgets=budgets, repetitions=repetitions, seed=seed, num_resamples=num_resamples,
        driver=driver, out=None if out is None else Path(out),
    )  # fmt: skip
    job = Replay(recorded.recordings, wanted_of(recorded.recordings, strategies), settings)
    total = len(recorded.recordings)
    few = total * len(job.wanted) <= FEW_CURVES
    laws = few if laws is None else laws
    means = job.means()
    parts = assemble(
        job.panels(lambda done: watch(done, total)),
        laws=laws,
        seen=lambda panel: job.count(panel, means),
    )
    if few and not parts["levels"]:
        parts["levels"] = _levels(job)
    return {
        "title": f"replay of {Path(recorded.path).name}",
        **stamp(),
        "demo_note": None,
        **_with_means(parts, means, laws=laws),
        "frontier": [],
        "failures": [],
        "recording": about(recorded, job),
        "left_out": job.left_out,
        "confidence": checked((one.strategy for one in job.wanted), recorded.recordings),
        **_costs(parts["curves"], recorded),
        "study": {
            "text": None,
            "versions": versions(),
            "seed": seed,
            "problems": sum(len(m[0]) for m in job.universes.values()),
            "models": [],
        },
    }


def panels(
    source: Source,
    strategies: str | Sequence[str | Strategy] | None = None,
    budgets: str | Sequence[int] | None = None,
    **settings: Any,
) -> list[Panel]:
    """The curves of a replay as arrays, one panel a run, for analyses of one's own.

    Args:
        source: as for `replay`.
        strategies: as for `replay`.
        budgets: as for `replay`.
        settings: fields of `Settings`.

    Raises:
        UsageError: as `replay`.
    """
    chosen = Settings(budgets=budgets, **settings)
    recordings = opened(source).recordings
    return list(Replay(recordings, wanted_of(recordings, strategies), chosen).panels())


def wanted_of(
    recordings: Sequence[Recording], strategies: str | Sequence[str | Strategy] | None
) -> list[Asked]:
    """What is asked: as named, or the usual ones that some recording has the columns for."""
    if strategies is not None:
        return asked(strategies)
    if any(recording.turns is not None for recording in recordings):
        return asked("turns")
    words = ["sample"]
    if any(recording.codes is not None for recording in recordings):
        words += ["majority", "adaptive_consistency"]
    if any(DEFAULT_SCORE in recording.columns for recording in recordings):
        words += ["best_of_n"]
    return asked([*words, "coverage"])


def _levels(job: Replay) -> list[dict[str, Any]]:
    """Levels from the pass rate on half of the draws, evaluated on the other half."""
    records = []
    for place, recording in enumerate(job.recordings):
        split = halves(recording)
        if split is None:
            continue
        half, levels = split
        panel = job.panel(place, half)
        problems = [
            replace(problem, tags={**problem.tags, "level": level})
            for problem, level in zip(panel.problems, levels, strict=True)
        ]
        records += level_records(replace(panel, problems=problems))
    return records


def _with_means(
    parts: Mapping[str, Any], means: Sequence[MeanOverRuns], *, laws: bool
) -> dict[str, Any]:
    """The parts with the means over runs in front."""
    curves: list[dict[str, Any]] = []
    paired: list[dict[str, Any]] = []
    advice: list[dict[str, Any]] = []
    levels: list[dict[str, Any]] = []
    for mean in means:
        panel = mean.panel()
        if panel is None:
            continue
        curves += [mean.record(panel, curve, laws=laws) for curve in panel.curves]
        paired += pair_records(panel)
        levels += level_records(panel)
        advice += filter(None, [advice_record(panel)])
    said = advice or parts["advices"]
    text = " ".join(record["text"] for record in said) or NO_ADVICE
    return {
        "advice": text,
        "advices": [*advice, *parts["advices"]],
        "curves": [*curves, *parts["curves"]],
        "paired": [*paired, *parts["paired"]],
        "levels": [*levels, *parts["levels"]],
    }


def _costs(curves: Sequence[Mapping[str, Any]], recorded: Recorded) -> dict[str, Any]:
    """What the strategies would have been charged, against what was recorded; nothing is spent."""
    charged: dict[str, float] = {}
    for curve in curves:
        for point in curve["points"]:
            if point["tokens_charged"] is not None and not curve["oracle"]:
                amount = point["tokens_charged"] * point["problems"]
                charged[curve["label"]] = charged.get(curve["label"], 0.0) + amount
    total = sum(charged.values())
    tokens = [np.nansum(r.tokens) for r in recorded.recordings if r.tokens is not None]
    return {
        "cost": {
            "tokens_charged": total,
            "tokens_spent": 0.0,
            "tokens_recorded": float(sum(tokens)) if tokens else None,
            "flops_spent": 0.0,
            "draws": sum(int(r.sizes.sum()) for r in recorded.recordings),
            "by_strategy": [
                {"label": label, "tokens_charged": amount} for label, amount in charged.items()
            ],
        },
        "tokens_charged": total,
        "tokens_spent": 0.0,
        "flops_spent": 0.0,
    }


def about(recorded: Recorded, job: Replay) -> dict[str, Any]:
    """What was read: the path, rows used and skipped, mixed grades, and the runs."""
    return {
        "path": recorded.path,
        "rows": sum(int(r.sizes.sum()) for r in recorded.recordings),
        "skipped": recorded.skipped,
        "skipped_by": dict(recorded.skipped_by),
        "mixed": recorded.mixed,
        "notes": list(recorded.notes),
        "orders": job.settings.repetitions,
        "each": job.settings.budgets == EACH,
        "verifiers": "recorded numbers that stand in for a verifier cost nothing here",
        "runs": [
            {
                "run": r.run,
                "model": r.model,
                "name": name,
                "dataset": r.dataset,
                "questions": len(r.questions),
                "draws": int(r.sizes.sum()),
                "answer_entropy": entropy(r),
            }
            for name, r in zip(job.names, recorded.recordings, strict=True)
        ],
    }


def entropy(recording: Recording) -> float | None:
    """Mean entropy of a question's answers in nats; no answer is one answer more.

    None where answers were not recorded.
    """
    if recording.codes is None:
        return None
    counts = tally(recording)[0]
    silent = recording.sizes - counts.sum(axis=1)
    found = answer_entropy(np.concatenate([counts, silent[:, None]], axis=1))
    return float(np.nanmean(found))
