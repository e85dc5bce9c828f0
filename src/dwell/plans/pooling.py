"""Several recordings as one: a plan for all tasks of a model, or for several models."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dwell.errors import UsageError
from dwell.recordings.arrays import FloatArray, IntArray, Recording


def chosen(recordings: Sequence[Recording], run: str | None, *, pool: bool) -> Recording:
    """The one recording to plan for.

    Args:
        recordings: all there are.
        run: the run or the model wanted; None = all.
        pool: take several together. Tasks of one model always are.

    Raises:
        UsageError: no such run, or several models and nobody said which.
    """
    kept = wanted(recordings, run)
    one_model = len({r.model for r in kept}) == 1 and len({r.dataset for r in kept}) == len(kept)
    if len(kept) > 1 and not pool and not one_model:
        raise UsageError(
            f"A plan is for one run, but there are {len(kept)}: {_listed([r.run for r in kept])}. "
            "Choose one with --run, or make one plan for all with --pool."
        )
    return pooled(kept)


def wanted(recordings: Sequence[Recording], run: str | None) -> list[Recording]:
    """The recordings of a run or a model; all of them for None.

    Raises:
        UsageError: there is no such run.
    """
    kept = [r for r in recordings if run is None or run in (r.run, r.model)]
    if not kept:
        names = _listed([r.run for r in recordings])
        raise UsageError(f"`--run` must be one of {names}, but got {run!r}.")
    return kept


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(sorted(names)[:8])
    return shown if len(names) <= 8 else f"{shown} and {len(names) - 8} more"


def pooled(recordings: Sequence[Recording]) -> Recording:
    """All questions of several recordings, with the scores and costs that all of them have.

    A question that several runs answered is there once a run; its copies carry the same tag
    `question`, by which folds and intervals keep them together.
    """
    if len(recordings) == 1:
        return recordings[0]
    width = max(r.correct.shape[1] for r in recordings)
    shared = set.intersection(*(set(r.columns) for r in recordings))
    has_codes = all(r.codes is not None and r.values is not None for r in recordings)
    num_answers = max((r.values.shape[1] for r in recordings if r.values is not None), default=0)
    names = [r.run for r in recordings]
    models = sorted({r.model for r in recordings})
    return Recording(
        run=", ".join(names) if len(names) <= 3 else f"{len(names)} runs",
        model=", ".join(models) if len(models) <= 3 else f"{len(models)} models",
        dataset=", ".join(sorted({r.dataset for r in recordings})),
        questions=tuple(f"{r.run}|{q}" for r in recordings for q in r.questions),
        sizes=np.concatenate([r.sizes for r in recordings]),
        correct=_stacked([r.correct for r in recordings], width),
        codes=_codes([r.codes for r in recordings], width) if has_codes else None,
        values=_stacked([r.values for r in recordings], num_answers) if has_codes else None,
        tokens=_stacked([r.tokens for r in recordings], width)
        if all(r.tokens is not None for r in recordings)
        else None,
        columns={
            name: _stacked([r.columns[name] for r in recordings], width) for name in sorted(shared)
        },
        tags={"question": [f"{r.dataset}|{q}" for r in recordings for q in r.questions]},
    )


def _stacked(tables: Sequence[FloatArray | None], width: int) -> FloatArray:
    """Rows of all tables, padded with NaN."""
    known = [table for table in tables if table is not None]
    padded = [
        np.pad(t.astype(np.float64), ((0, 0), (0, width - t.shape[1])), constant_values=np.nan)
        for t in known
    ]
    return np.concatenate(padded)


def _codes(tables: Sequence[IntArray | None], width: int) -> IntArray:
    return np.nan_to_num(
        _stacked([None if t is None else t.astype(np.float64) for t in tables], width), nan=-1
    ).astype(np.int64)


def clusters_of(recording: Recording, tag: str | None) -> IntArray | None:
    """`[P]` number of each question's cluster; None where each stands for itself.

    Args:
        recording: the questions.
        tag: the tag that names clusters; None takes that of pooled questions, if there is one.

    Raises:
        UsageError: there is no such tag.
    """
    if tag is None and "question" not in recording.tags:
        return None
    name = tag or "question"
    if name not in recording.tags:
        known = ", ".join(sorted(recording.tags)) or "none"
        raise UsageError(
            f"`--clusters` must name a tag of the questions, but got {name!r} (tags: {known})."
        )
    return np.unique([str(v) for v in recording.tags[name]], return_inverse=True)[1]
