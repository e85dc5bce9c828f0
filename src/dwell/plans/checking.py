"""Does a plan's confidence hold on draws that it was not made on? What runs and replays show."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from dwell.errors import UsageError
from dwell.metrics import resample_problems
from dwell.plans.evidence import gather
from dwell.plans.reliability import calibration_of
from dwell.protocols import Strategy
from dwell.recordings.arrays import Recording
from dwell.strategies import Planned

#: Orders of each question's draws, and resamples of questions.
ORDERS, RESAMPLES = 8, 1000


def checked(
    strategies: Iterable[Strategy], recordings: Sequence[Recording]
) -> list[dict[str, Any]]:
    """For each plan with a confidence and each run, what it said and what was so; JSON-able.

    Args:
        strategies: any; a plan is looked at whole, whatever its `n` here.
        recordings: the draws. A run that has too few of them for the plan is left out.
    """
    files = dict.fromkeys(s.file for s in strategies if isinstance(s, Planned))
    plans = [Planned(file=file) for file in files]
    found = [_checked(plan, recording) for recording in recordings for plan in plans]
    return [one for one in found if one is not None]


def _checked(plan: Planned, recording: Recording) -> dict[str, Any] | None:
    try:
        evidence = gather(recording, repetitions=ORDERS)
        replayed = plan.replay(evidence.streams)
    except UsageError:  # single draws, or no scores: the curves say so themselves
        return None
    sure = None if replayed is None else plan.confidence(evidence.streams, replayed)
    if replayed is None or sure is None or not np.isfinite(sure).any():
        return None
    right = np.where(np.isfinite(sure), evidence.grades_of(replayed), np.nan)
    resamples = resample_problems(evidence.shape[1], num_resamples=RESAMPLES)
    record = {
        "strategy": f"plan:{plan.file}",
        "model": recording.model,
        "task": recording.dataset,
        "questions": evidence.shape[1],
        "answered": float(np.isfinite(sure).mean()),
        "stated": float(np.nanmean(sure)),
        "right": float(np.nanmean(right)),
        "ece": calibration_of(sure, right, resamples),
    }
    return record | {"text": _sentence(record)}


def _sentence(found: dict[str, Any]) -> str:
    ece = found["ece"]
    silent = (
        "" if found["answered"] > 1 - 1e-9 else f"answers {100 * found['answered']:.1f} % and "
    )
    return (
        f"{found['strategy']} on {found['task']}, {found['model']}: {silent}says that "
        f"{100 * found['stated']:.1f} % of its answers are right; {100 * found['right']:.1f} % "
        f"are (off by {100 * ece['value']:.1f} points on average [{100 * ece['low']:.1f}, "
        f"{100 * ece['high']:.1f}])."
    )
