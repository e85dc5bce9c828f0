"""From a table of graded samples to padded arrays, one `Recording` a run.

All in whole columns: rows are sorted once by run, question, sample and turn, and each run is a
slice. Letters as in `dwell.recordings.arrays`; `M` rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from dwell.errors import UsageError
from dwell.recordings.arrays import (
    SECONDS_COLUMNS,
    USD_COLUMNS,
    FloatArray,
    IntArray,
    Recording,
    numbered_answers,
    padded_rows,
)
from dwell.recordings.checking import (
    TAG_NAMES,
    as_text,
    codes_of_answers,
    is_missing,
    recorded,
)
from dwell.recordings.inspect_log import SCORER
from dwell.recordings.keys import Keys, varies
from dwell.tables import Column, Table, factorised

#: Most numbers in one padded array: 400 MB.
MOST_CELLS = 50_000_000
#: Columns with a meaning of their own; every other number of a draw is a column.
_ROLES = frozenset(
    {"question_id", "correct", "answer", "reference", "sample_index", "run_id", "model",
     "dataset", "tokens", "turn", "n_samples", "n_correct"}
)  # fmt: skip
#: Always numbers of a draw, even where they happen to be equal within every question.
_OF_DRAWS = frozenset({"score", *SECONDS_COLUMNS, *USD_COLUMNS})


@dataclass(frozen=True, slots=True)
class _Sorted:
    """All rows in their order, with what is common to all runs.

    Attributes:
        keys: of the rows.
        rows: `[M]` numbers of the rows in their file.
        correct: `[M]`.
        answers: `[M]` codes of answers over the whole file, and their texts.
        answered: `[M]` whether there is an answer at all, usable or not.
        tokens: `[M]`, None if not recorded.
        numbers: further numbers of draws by name.
        labels: model and dataset of each row by name: codes and texts.
        tags: value of each question by name.
    """

    keys: Keys
    rows: IntArray
    correct: FloatArray
    answers: tuple[IntArray, list[str]] | None
    answered: npt.NDArray[np.bool_]
    tokens: FloatArray | None
    numbers: Mapping[str, FloatArray]
    labels: Mapping[str, tuple[IntArray, list[str]]]
    tags: Mapping[str, npt.NDArray[np.object_]]


def assemble(table: Table, keys: Keys, no_vote: Sequence[str]) -> tuple[list[Recording], int]:
    """The recordings, and how many answers of a question are graded both ways.

    Raises:
        UsageError: padded to the question with most draws, a run would not fit into memory.
    """
    order = np.lexsort((keys.turn, keys.sample, keys.question, keys.run))
    everything = _sorted(table, keys, order, no_vote)
    edges = np.flatnonzero(np.diff(keys.run[order])) + 1
    found, mixed = [], 0
    for start, stop in zip([0, *edges], [*edges, len(order)], strict=True):
        recording, both = _one_run(table.path, everything, slice(start, stop))
        found.append(recording)
        mixed += both
    return found, mixed


def _sorted(table: Table, keys: Keys, order: IntArray, no_vote: Sequence[str]) -> _Sorted:
    answer, tokens = recorded(table, "answer"), recorded(table, "tokens")
    numbers, tags = numbers_and_tags(table, keys)
    labels = {name: (codes[order], texts) for name, (codes, texts) in labels_of(table).items()}
    answers = None
    answered = np.zeros(len(order), dtype=bool)
    if answer is not None:
        codes, texts = codes_of_answers(as_text(answer), no_vote)
        answers, answered = (codes[order], texts), ~is_missing(answer)[order]
    return _Sorted(
        keys.take(order), table.rows[order], table["correct"][order], answers, answered,
        None if tokens is None else tokens[order],
        {name: column[order] for name, column in numbers.items()}, labels, tags,
    )  # fmt: skip


def labels_of(table: Table) -> dict[str, tuple[IntArray, list[str]]]:
    """Codes of each row's model and dataset, and their texts, as far as recorded."""
    return {
        name: factorised(as_text(table[name]))
        for name in ("model", "dataset")
        if recorded(table, name) is not None
    }


def numbers_and_tags(
    table: Table, keys: Keys
) -> tuple[dict[str, FloatArray], dict[str, npt.NDArray[np.object_]]]:
    """Numbers of draws, and values of questions, by the column's name.

    What is the same in all rows of every question is said of the question. That cannot be seen
    where each question has but one row: then numbers are the draw's, and texts are left out,
    but for the usual names.
    """
    numbers: dict[str, FloatArray] = {}
    tags: dict[str, npt.NDArray[np.object_]] = {}
    order = np.argsort(keys.question, kind="stable")
    starts = np.flatnonzero(np.diff(keys.question[order], prepend=-1))
    several = len(starts) < len(order)
    for name in table.columns:
        of_log = name in _ROLES or name.startswith(SCORER)  # a grader is not a verifier
        column = None if of_log else recorded(table, name)
        if column is None:
            continue
        constant = (several or name in TAG_NAMES) and name not in _OF_DRAWS
        if constant:
            values, constant = _per_group(column, order, starts)
        if not constant:
            if column.dtype != object:
                numbers[name] = column
        elif len(set(values)) > 1:
            of_question = np.empty(len(keys.questions), dtype=object)
            of_question[keys.question[order][starts]] = values
            tags[name] = of_question
    if _constant_in_runs(numbers.get("temperature"), keys):
        del numbers["temperature"]
    return numbers, tags


def _constant_in_runs(temperature: FloatArray | None, keys: Keys) -> bool:
    """Whether the sampling temperature is a setting of the runs, and not a number of draws."""
    if temperature is None:
        return False
    order = np.argsort(keys.run, kind="stable")
    starts = np.flatnonzero(np.diff(keys.run[order], prepend=-1))
    return _per_group(temperature, order, starts)[1]


def _per_group(column: Column, order: IntArray, starts: IntArray) -> tuple[Sequence[object], bool]:
    """A value for each group of rows, and whether all groups have but one."""
    labels: list[str] | None = None
    numbers = column
    if column.dtype == object:
        codes, labels = factorised(column)
        numbers = np.where(codes < 0, np.nan, codes)
    low = np.fmin.reduceat(numbers[order], starts)
    low_or_missing = np.minimum.reduceat(numbers[order], starts)  # NaN where any is missing
    high = np.fmax.reduceat(numbers[order], starts)
    same = bool(np.all((low_or_missing == high) | np.isnan(high)))
    if labels is None:
        return low.tolist(), same
    return ["" if np.isnan(code) else labels[int(code)] for code in low], same


def _one_run(path: str, rows: _Sorted, part: slice) -> tuple[Recording, int]:
    """One run's recording, and how many of its answers are graded both ways."""
    keys, correct = rows.keys, rows.correct[part]
    question, sample, turn = keys.question[part], keys.sample[part], keys.turn[part]
    starts = np.flatnonzero(np.diff(question, prepend=-1))
    sizes = np.diff(starts, append=len(question))
    name, present = keys.runs[int(keys.run[part][0])], question[starts]
    if len(sizes) * int(sizes.max()) > MOST_CELLS:
        raise UsageError(
            f"A run's questions times its most draws of a question must be at most {MOST_CELLS}, "
            f"but {name!r} of {path} has {len(sizes)} x {sizes.max()}. Filter the table (--where)."
        )
    codes = values = None
    texts: tuple[tuple[str, ...], ...] = ()
    mixed = 0
    if rows.answers is not None and rows.answered[part].any():
        answer, labels = rows.answers
        of_row, texts, values, mixed = numbered_answers(answer[part], labels, sizes, correct)
        codes = padded_rows(of_row, sizes)
    recording = Recording(
        run=name,
        model=label_in(rows.labels, "model", part) or name,
        dataset=label_in(rows.labels, "dataset", part) or Path(path).stem,
        questions=tuple(keys.questions[code] for code in present),
        sizes=sizes.astype(np.int64),
        correct=padded_rows(correct, sizes),
        codes=codes,
        values=values,
        texts=texts,
        tokens=_number(rows.tokens, part, sizes),
        columns={
            column: padded
            for column, numbers in rows.numbers.items()
            if (padded := _number(numbers, part, sizes)) is not None
        },
        tags={tag: tuple(of_question[present]) for tag, of_question in rows.tags.items()},
        rows=padded_rows(rows.rows[part], sizes),
        turns=padded_rows(turn.astype(np.int64), sizes)
        if varies(question, sample, turn)
        else None,
    )
    return recording, mixed


def _number(column: FloatArray | None, part: slice, sizes: IntArray) -> FloatArray | None:
    if column is None or np.isnan(column[part]).all():
        return None
    return padded_rows(column[part], sizes)


def label_in(
    labels: Mapping[str, tuple[IntArray, list[str]]], name: str, part: slice | IntArray
) -> str:
    """What some rows have under a name: one text, or several joined; "" for none."""
    if name not in labels:
        return ""
    codes, texts = labels[name]
    return ", ".join(texts[code] for code in np.unique(codes[part]) if code >= 0)
