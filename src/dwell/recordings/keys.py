"""Which run, question, sample and turn each row of a table is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from dwell.errors import UsageError
from dwell.recordings.arrays import FloatArray, IntArray, Recording
from dwell.recordings.checking import Faults, as_text, is_missing, recorded
from dwell.tables import Table, factorised


@dataclass(frozen=True, slots=True)
class Keys:
    """Which run, question, sample and turn each row is.

    Attributes:
        run, question: `[M]` codes, -1 = missing.
        runs, questions: their names.
        sample: `[M]` the sample's number within run and question.
        turn: `[M]` its turn, 0 where there are none.
        numbered: whether `sample` was recorded, so that a repeated one is a fault.
    """

    run: IntArray
    question: IntArray
    runs: list[str]
    questions: list[str]
    sample: FloatArray
    turn: FloatArray
    numbered: bool

    def take(self, keep: npt.NDArray[Any]) -> Keys:
        """The same for some of the rows, by a mask or by places."""
        return Keys(
            self.run[keep], self.question[keep], self.runs, self.questions, self.sample[keep],
            self.turn[keep], self.numbered,
        )  # fmt: skip


def keys_of(table: Table, faults: Faults) -> Keys:
    """The keys of all rows; rows without them, and repeated ones, are noted as faults."""
    question, questions = factorised(as_text(table["question_id"]))
    faults.add(question < 0, "`question_id` must be there", "it is missing")
    name = next((n for n in ("run_id", "model") if recorded(table, n) is not None), None)
    if name is None:
        run, runs = np.zeros(table.num_rows, dtype=np.int64), [Path(table.path).stem]
    else:
        run, runs = factorised(as_text(table[name]))
        faults.add(run < 0, f"`{name}` must be in every row or in none", "it is missing")
    turn = _numbers(table, "turn", faults)
    sample = _numbers(table, "sample_index", faults)
    turns = np.zeros(table.num_rows) if turn is None else turn
    if sample is None:
        # Row order; but where there are turns, the rows of a question are one sample's.
        several = turn is not None and varies(run, question, turns)
        sample = np.zeros(table.num_rows) if several else np.arange(table.num_rows, dtype=float)
        keys = Keys(run, question, runs, questions, sample, turns, several)
    else:
        keys = Keys(run, question, runs, questions, sample, turns, True)
    if keys.numbered:
        what = "`sample_index`" if turn is None else "`sample_index` and `turn`"
        rule = f"a question must have each {what} once a run"
        faults.add(_repeated(keys, ~faults.bad), rule, "this one is there before")
    return keys


def _numbers(table: Table, name: str, faults: Faults) -> FloatArray | None:
    column = recorded(table, name)
    if column is None:
        return None
    if column.dtype == object:
        raise UsageError(
            f"`{name}` must be a column of numbers, but {table.path} has texts in it. "
            f"Rename another column to it (--map {name}=NAME), or this one to another name."
        )
    faults.add(is_missing(column), f"`{name}` must be in every row or in none", "it is missing")
    return np.nan_to_num(column)


def varies(run: IntArray, question: npt.NDArray[Any], turn: FloatArray) -> bool:
    """Whether any group of rows (by two codes) has more than one turn."""
    order = np.lexsort((turn, question, run))
    same = (np.diff(run[order]) == 0) & (np.diff(question[order]) == 0)
    return bool(np.any(same & (np.diff(turn[order]) != 0)))


def _repeated(keys: Keys, good: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """`[M]` rows whose key an earlier good row has."""
    places = np.flatnonzero(good)
    columns = [column[places] for column in (keys.turn, keys.sample, keys.question, keys.run)]
    order = np.lexsort(columns)  # stable: the first of equal rows stays first
    same = np.ones(max(len(order) - 1, 0), dtype=bool)
    for column in columns:
        same &= np.diff(column[order]) == 0
    repeated = np.zeros(len(good), dtype=bool)
    repeated[places[order[1:][same]]] = True
    return repeated


def several_turns(keys: Keys, recordings: Sequence[Recording]) -> bool:
    """Whether a run mixes samples that were taken at different turns."""
    plain = {r.run for r in recordings if r.turns is None}
    of_plain = np.isin(keys.run, [code for code, run in enumerate(keys.runs) if run in plain])
    run, turn = keys.run[of_plain], keys.turn[of_plain]
    return varies(run, np.zeros(len(run), dtype=np.int64), turn)


def one_sample_a_run(table: Table, keys: Keys) -> tuple[Table, Keys]:
    """The first sample of each run and question, all as the samples of one run."""
    order = np.lexsort((keys.turn, keys.sample, keys.question, keys.run))
    run, question = keys.run[order], keys.question[order]
    first = np.ones(len(order), dtype=bool)
    first[1:] = (np.diff(run) != 0) | (np.diff(question) != 0)
    keep = np.sort(order[first])
    kept = table.take(keep)
    zeros = np.zeros(len(keep))
    name = f"{len(keys.runs)} runs of {Path(table.path).stem}"
    together = Keys(
        zeros.astype(np.int64), keys.question[keep], [name], keys.questions,
        keys.run[keep].astype(float), zeros, True,
    )  # fmt: skip
    columns = {n: column for n, column in kept.columns.items() if n not in ("run_id", "model")}
    return Table(path=kept.path, columns=columns, rows=kept.rows), together
