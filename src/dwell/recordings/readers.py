"""Recorded samples from files: tables, count tables, and logs of evaluation harnesses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from dwell.errors import UsageError
from dwell.recordings.arrays import Recording
from dwell.recordings.assembling import assemble
from dwell.recordings.checking import TEXT_COLUMNS, Faults, grades, recorded, renamed
from dwell.recordings.counts import count_recordings, is_count_table
from dwell.recordings.inspect_log import inspect_table
from dwell.recordings.keys import keys_of, one_sample_a_run, several_turns
from dwell.recordings.lm_eval_log import is_lm_eval, lm_eval_table
from dwell.tables import Table, check_file, filtered, read_table

#: Answers that cost a draw and cast no vote.
NO_VOTE = ("<none>", "<invalid>", "<conflict>")


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """What a file of samples holds.

    Attributes:
        path: the file, or the study's folder.
        recordings: one a run.
        skipped: how many bad rows were left out.
        skipped_by: the same by the rule that they break.
        mixed: how many answers of a question are graded both right and wrong; their value in
            `Recording.values` is the mean.
        notes: sentences on what a reader of any result should know of the file.
    """

    path: str
    recordings: tuple[Recording, ...]
    skipped: int = 0
    skipped_by: Mapping[str, int] = field(default_factory=dict)
    mixed: int = 0
    notes: tuple[str, ...] = ()


def read_recordings(
    path: str | Path,
    *,
    mapping: Sequence[str] | Mapping[str, str] = (),
    where: Sequence[str] = (),
    reference: str | None = None,
    no_vote: Sequence[str] = NO_VOTE,
    skip_bad: bool = False,
    runs_as_samples: bool = False,
) -> Recorded:
    """The recordings in a file, one a run.

    Args:
        path: a table with one row a sample, a table of counts, or a log of Inspect or lm-eval.
        mapping: `NAME=COLUMN` pairs for columns under other names.
        where: filters `COLUMN=VALUE|VALUE`, applied before renaming.
        reference: a column, or a table with `question_id` and `reference`; an answer is right if
            it equals its reference as text, after both are stripped.
        no_vote: answers that cast no vote; so do empty ones.
        skip_bad: leave bad rows out and count them.
        runs_as_samples: take the first sample of each run as the samples of one recording: a vote
            among models.

    Raises:
        UsageError: the file cannot be read, lacks a column, or has a bad row.
    """
    read, found = _read(path, where)
    table = renamed(read, mapping)
    if is_count_table(table):
        if runs_as_samples:
            raise UsageError(
                f"Runs can be samples where there are samples, but {path} is a table of counts. "
                "Leave out --runs-as-samples."
            )
        counted, faults = count_recordings(table, skip_bad=skip_bad)
        return _recorded(path, counted, faults)
    table, faults = grades(table, reference, no_vote)
    keys = keys_of(table, faults)
    good = faults.good(skip=skip_bad)
    if good is not table:
        keys = keys.take(~faults.bad)
    good, notes = _plain_tokens(good)
    notes += found
    if runs_as_samples:
        good, keys = one_sample_a_run(good, keys)
    recordings, mixed = assemble(good, keys, no_vote)
    if mixed:
        notes.append(f"{mixed} answers of a question are graded both right and wrong.")
    if several_turns(keys, recordings):
        notes.append("Samples of several turns are taken together; --where turn=N takes one.")
    return _recorded(path, recordings, faults, mixed, notes)


def _recorded(
    path: str | Path,
    recordings: Sequence[Recording],
    faults: Faults,
    mixed: int = 0,
    notes: Sequence[str] = (),
) -> Recorded:
    return Recorded(
        path=str(path),
        recordings=tuple(recordings),
        skipped=int(np.sum(faults.bad)),
        skipped_by=faults.counts,
        mixed=mixed,
        notes=tuple(notes),
    )


def _plain_tokens(table: Table) -> tuple[Table, list[str]]:
    """The table without negative token counts, and a note on how many there were."""
    tokens = recorded(table, "tokens")
    if tokens is None:
        return table, []
    if tokens.dtype == object:
        raise UsageError(
            f"`tokens` must be a column of numbers, but {table.path} has texts in it. "
            "Rename another column to it (--map tokens=NAME), or this one to another name."
        )
    negative = tokens < 0
    if not negative.any():
        return table, []
    columns = {**table.columns, "tokens": np.where(negative, np.nan, tokens)}
    note = f"{negative.sum()} samples have negative `tokens`, which count as not recorded."
    return replace(table, columns=columns), [note]


def _read(path: str | Path, where: Sequence[str]) -> tuple[Table, list[str]]:
    """What a file holds as a table of samples, whatever its form, and notes on it."""
    suffix = Path(path).suffix.lower()
    if suffix in (".eval", ".json"):
        check_file(path)
        return filtered(inspect_table(path), where), []
    if suffix in (".jsonl", ".ndjson") and is_lm_eval(path):
        table, notes = lm_eval_table(path)
        return filtered(table, where), notes
    return read_table(path, where=where, text=TEXT_COLUMNS), []
