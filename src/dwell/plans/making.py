"""`plan`: from a table of samples or a study to a plan."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dwell
from dwell.errors import UsageError
from dwell.plans.artefact import PLAN_VERSION, Plan
from dwell.plans.evidence import Evidence, gather
from dwell.plans.measured import measured_points
from dwell.plans.options import score_columns
from dwell.plans.planning import (
    Family,
    Goal,
    Measured,
    budgets_of,
    family_of,
    frontier_records,
    label_of,
    measure,
    place_of,
    policies,
    policy_text,
)
from dwell.plans.pooling import chosen, clusters_of
from dwell.plans.wording import verdict_of, worth_having
from dwell.recordings import Recording, fingerprint_of, read_recordings
from dwell.strategies.policy import policy_record
from dwell.study import STUDY, Study
from dwell.study_recording import recordings_of


def plan(
    source: str | Path | Recording | Sequence[Recording],
    *,
    budget: float | None = None,
    target_accuracy: float | None = None,
    usd_per_question: float | None = None,
    unit: str = "draws",
    usd_per_mtok: float | None = None,
    scores: Sequence[str] = (),
    run: str | None = None,
    pool: bool = False,
    clusters: str | None = None,
    folds: int = 5,
    repeats: int = 3,
    seed: int = 0,
    **reading: Any,
) -> Plan:
    """The policy that spends a budget best on questions like the recorded ones.

    Exactly one of `budget`, `target_accuracy` and `usd_per_question` says what is wanted.

    Args:
        source: a study's folder, a table or log of recorded samples, or recordings.
        budget: mean cost a question, in `unit`; the most accurate plan is sought.
        target_accuracy: in (0, 1]; the cheapest plan is sought.
        usd_per_question: a budget in dollars.
        unit: "draws", "tokens", "usd" or "seconds" (one draw after another).
        usd_per_mtok: dollars a million output tokens, where dollars were not recorded.
        scores: recorded numbers that may choose answers; none takes `score`, or all verifiers of
            a study that do not read the reference.
        run: which run or model, where there are several.
        pool: make one plan for several runs; else only for the tasks of one model.
        clusters: tag of questions that move together (a passage, a template).
        folds: into which the questions are dealt, at least 2.
        repeats: how often they are dealt, at least 1.
        seed: decides orders, folds and resamples.
        reading: passed on to `dwell.recordings.read_recordings`.

    Raises:
        UsageError: the source cannot be read, or nothing fits what is wanted.
    """
    if folds < 2 or repeats < 1:
        raise UsageError(
            f"`folds` must be at least 2 and `repeats` at least 1, but got {folds=}, {repeats=}."
        )
    if usd_per_question is not None:
        unit = "usd"
    goal = _goal(budget, target_accuracy, usd_per_question)
    recordings, own_scores, notes = _read(source, reading)
    recording = chosen(recordings, run, pool=pool)
    evidence = gather(recording, unit=unit, price=usd_per_mtok, seed=seed)
    columns = score_columns(evidence.recording, tuple(scores) or own_scores)
    points = []
    if isinstance(source, str | Path) and (Path(source) / STUDY).exists():
        points = measured_points(source, evidence.recording, unit)
    family = family_of(evidence, columns, points)
    labels = clusters_of(evidence.recording, clusters)
    measured = measure(
        family, budgets_of(evidence, goal.budget), clusters=labels, folds=folds, repeats=repeats,
        seed=seed,
    )  # fmt: skip
    facts = notes | {
        "run": recording.run,
        "model": recording.model,
        "dataset": recording.dataset,
        "questions": len(evidence.recording.questions),
        "left_out": evidence.left_out,
        "draws": evidence.cap,
        "orders": evidence.shape[0],
        "folds": folds,
        "repeats": repeats,
        "seed": seed,
        "scores": list(columns),
    }
    return Plan(_record(goal, evidence, family, measured, facts, recording))


def _goal(budget: float | None, target: float | None, usd: float | None) -> Goal:
    given = [value for value in (budget, target, usd) if value is not None]
    if len(given) != 1 or not given[0] > 0:
        raise UsageError(
            "A plan needs exactly one of `budget`, `target_accuracy` and `usd_per_question`, "
            f"above 0, but got {budget=}, target_accuracy={target}, usd_per_question={usd}."
        )
    if target is not None and target > 1:
        raise UsageError(
            f"`target_accuracy` must be a share of at most 1, but got {target}. "
            f"Write {target / 100:g} for {target:g} %."
        )
    return Goal(budget=budget if usd is None else usd, target=target)


def _read(
    source: str | Path | Recording | Sequence[Recording], reading: dict[str, Any]
) -> tuple[Sequence[Recording], tuple[str, ...], dict[str, Any]]:
    """Recordings, the scores to plan with by default, and what to note of the source."""
    if isinstance(source, Recording):
        return [source], (), {}
    if not isinstance(source, str | Path):
        return source, (), {}
    if (Path(source) / STUDY).exists():
        study = Study.load(source)
        names = tuple(name for name, found in study.verifiers.items() if not found.oracle)
        recorded = recordings_of(source)
        held = set.intersection(*(set(r.columns) for r in recorded.recordings))
        return (
            recorded.recordings,
            tuple(name for name in names if name in held),
            {"path": str(source)},
        )
    read = read_recordings(source, **reading)
    return read.recordings, (), {"path": str(source), "skipped": read.skipped}


def _record(
    goal: Goal,
    evidence: Evidence,
    family: Family,
    measured: Measured,
    facts: dict[str, Any],
    recording: Recording,
) -> dict[str, Any]:
    """The plan file's table."""
    at = place_of(goal, measured)
    found, fixed = policies(family, measured)
    frontier = frontier_records(
        measured, [label_of(policy) for policy in found], [label_of(policy) for policy in fixed]
    )
    searched, other = (measured.accuracy(held, at) for held in (measured.plan, measured.fixed))
    paired = {
        "against": label_of(fixed[at]),
        **measured.difference(measured.plan.accuracy[:, at], measured.fixed.accuracy[:, at]),
        "plan_accuracy": searched["accuracy"],
        "plan_cost": searched["cost"],
        "fixed_accuracy": other["accuracy"],
        "fixed_cost": other["cost"],
    }
    useful = worth_having(searched, paired) != "no"
    misses = goal.target is not None and other["accuracy"] < goal.target
    policy, promise = (found[at], searched) if useful or misses else (fixed[at], other)
    return {
        "dwell_plan": PLAN_VERSION,
        "made_by": f"dwell {dwell.__version__}",
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "source": {
            "path": facts.pop("path", None),
            "fingerprint": fingerprint_of(recording),
            "run": facts["run"],
        },
        "goal": {
            "unit": evidence.unit,
            "budget": float(measured.budgets[at]),
            "target_accuracy": goal.target,
        },
        "policy": policy_record(policy),
        "in_words": policy_text(policy, evidence),
        "promise": promise,
        "paired": paired,
        "verdict": verdict_of(searched, paired, evidence.unit),
        "frontier": frontier,
        "knee": measured.knee(),
        "next_doubling": measured.doubling(at),
        "measured_on": facts,
        "prices": None if evidence.price is None else {"usd_per_mtok": evidence.price},
    }
