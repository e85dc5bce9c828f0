"""`plan`: from a table of samples or a study to a plan."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

import dwell
from dwell.errors import UsageError
from dwell.plans.abstaining import Limit, certified, halves
from dwell.plans.artefact import PLAN_VERSION, Plan
from dwell.plans.confidence import ends_of, fitted, held_out_confidence
from dwell.plans.evidence import Evidence, gather, rows_of
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
    policies_of_splits,
    policy_text,
)
from dwell.plans.pooling import chosen, clusters_of
from dwell.plans.reliability import quality_record
from dwell.plans.wording import verdict_of, worth_having
from dwell.recordings import Recording, fingerprint_of, read_recordings
from dwell.strategies.confidence import Confidence, confidence_record
from dwell.strategies.planned import digest_of
from dwell.strategies.policy import Policy, policy_record
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
    abstain_risk: float | None = None,
    abstain_delta: float = 0.1,
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
        abstain_risk: share of the given answers that may be wrong: below some confidence the plan
            does not answer. Half of the questions certify that, and only the others make the plan.
        abstain_delta: chance that they misled.
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
    limit = None if abstain_risk is None else Limit(risk=abstain_risk, delta=abstain_delta)
    whole, held = recording, None
    if limit is not None:
        labels = clusters_of(whole, clusters)
        own, other = halves(len(whole.questions), labels, seed)
        recording, held = rows_of(whole, own), rows_of(whole, other)
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
    record, policy, fixed = _record(goal, evidence, family, measured, facts, whole)
    sure = _confidence(policy, fixed, evidence, family, measured, record)
    if limit is not None and held is not None:
        if sure is None:
            raise UsageError(
                "A threshold needs a policy that whole answers can tell, but this plan searches. "
                "Leave --abstain-risk out."
            )
        rows = np.flatnonzero(held.sizes >= evidence.cap)
        others = gather(rows_of(held, rows), repetitions=1, seed=seed)
        labels = clusters_of(others.recording, clusters)
        at_least, found = certified(policy, sure, evidence, others, labels, limit, seed)
        record["confidence"] |= {"at_least": at_least, "certified": found}
    return Plan(record)


def _confidence(
    policy: Policy,
    fixed: bool,
    evidence: Evidence,
    family: Family,
    measured: Measured,
    record: dict[str, Any],
) -> Confidence | None:
    """Put into the record how sure the policy may be of its answers; None if it cannot be told."""
    ends = ends_of(policy, evidence)
    record["confidence"] = None
    if ends is None:
        return None
    sure = fitted(ends, evidence, np.arange(evidence.shape[1]))
    at = int(np.flatnonzero(measured.budgets == record["goal"]["budget"])[0])
    made = policies_of_splits(family, measured, at, fixed=fixed)
    looked = held_out_confidence(made, evidence, measured.splits)
    record["confidence"] = confidence_record(sure) | {
        "policy": digest_of(policy),
        "held_out": None if looked is None else quality_record(*looked, measured.resamples),
    }
    return sure


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
) -> tuple[dict[str, Any], Policy, bool]:
    """The plan file's table, its policy, and whether that is the best fixed choice."""
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
    simple = not (useful or misses)
    policy, promise = (fixed[at], other) if simple else (found[at], searched)
    record = {
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
    return record, policy, simple
