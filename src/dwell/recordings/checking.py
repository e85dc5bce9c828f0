"""What a table of samples must hold, and the rows that break a rule.

The columns have fixed names (`question_id`, `correct`, `answer` and so on); a mapping renames
others. A row that breaks a rule is an error with its number, or is left out and counted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from dwell.errors import UsageError
from dwell.tables import Column, IntArray, Table, factorised, number_text, read_table

FloatArray = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

#: Columns read as text even if they look like numbers.
TEXT_COLUMNS = ("question_id", "answer", "reference", "run_id", "model", "dataset")
#: Columns that say something of a question, even where each question has but one row; and what
#: is kept of the metadata in logs.
TAG_NAMES = ("level", "difficulty", "hardness", "subject", "type")
_TRUTH = {"true": 1.0, "false": 0.0, "1": 1.0, "0": 0.0, "1.0": 1.0, "0.0": 0.0}


@dataclass(slots=True)
class Faults:
    """Rows that break a rule.

    Attributes:
        bad: `[rows]` whether a row breaks any.
        counts: how many rows by the first rule that they break.
        first: (row, message) of the first bad row.
    """

    table: Table
    bad: Mask
    counts: dict[str, int] = field(default_factory=dict)
    first: tuple[int, str] | None = None

    def add(self, broken: Mask, rule: str, offender: Column | str) -> None:
        """Note the rows that break a rule and none before it."""
        broken = broken & ~self.bad
        if not broken.any():
            return
        self.bad |= broken
        self.counts[rule] = int(broken.sum())
        place = int(np.flatnonzero(broken)[0])
        row = int(self.table.rows[place])
        if self.first is None or row < self.first[0]:
            got = offender if isinstance(offender, str) else _shown(offender[place])
            self.first = (row, f"{self.table.path} row {row}: {rule}, but {got}.")

    def good(self, *, skip: bool) -> Table:
        """The rows that break no rule.

        Raises:
            UsageError: there are bad rows and they shall not be skipped, or nothing is left.
        """
        if self.first is None:
            return self.table
        if not skip:
            raise UsageError(f"{self.first[1]} Mend the row (--skip-bad leaves such rows out).")
        if self.bad.all():
            raise UsageError(f"{self.first[1]} No row is left. Mend the table.")
        return self.table.take(~self.bad)


def _shown(value: object) -> str:
    missing = value is None or (isinstance(value, float) and np.isnan(value))
    return "it is missing" if missing else f"it is {number_text(value)!r}"


def renamed(table: Table, mapping: Sequence[str] | Mapping[str, str]) -> Table:
    """The table with columns under the names that recordings use.

    Args:
        table: what was read.
        mapping: `NAME=COLUMN` pairs, such as ``answer=pred``.

    Raises:
        UsageError: not of that form, or no such column.
    """
    pairs = dict(mapping) if isinstance(mapping, Mapping) else dict(map(_pair, mapping))
    columns = dict(table.columns)
    for name, source in pairs.items():
        found = table[source]
        columns[name] = as_text(found) if name in TEXT_COLUMNS else found
    for source in set(pairs.values()) - set(pairs):
        columns.pop(source, None)
    return replace(table, columns=columns)


def _pair(text: str) -> tuple[str, str]:
    name, equals, source = text.partition("=")
    if not equals or not name or not source:
        raise UsageError(
            f"A mapping is NAME=COLUMN, but got {text!r}. Write for example: --map answer=pred"
        )
    return name.strip(), source.strip()


def as_text(column: Column) -> Column:
    """A column as objects `str | None`."""
    if column.dtype == object:
        return column
    codes, labels = factorised(column)
    return np.array([*labels, None], dtype=object)[codes]


def is_missing(column: Column) -> Mask:
    """`[rows]` where a column has no value."""
    if column.dtype == object:
        found: Mask = column == None  # noqa: E711 - elementwise
        return found
    return np.isnan(column)


def recorded(table: Table, name: str) -> Column | None:
    """A column that has at least one value."""
    column = table.columns.get(name)
    return None if column is None or is_missing(column).all() else column


def grades(table: Table, reference: str | None, no_vote: Sequence[str]) -> tuple[Table, Faults]:
    """The table with `correct` as numbers, and the rows whose grade breaks a rule.

    A given reference decides; else `correct` does; else the column `reference`.

    Raises:
        UsageError: there is nothing to grade by.
    """
    faults = Faults(table, np.zeros(table.num_rows, dtype=bool))
    if reference is None and recorded(table, "correct") is not None:
        correct = _truth(table["correct"])
        outside = ~((correct >= 0) & (correct <= 1))
        rule = "`correct` must be true, false or a number from 0 to 1"
        faults.add(outside, rule, table["correct"])
    else:
        answer = table.columns.get("answer")
        if answer is None or (reference is None and recorded(table, "reference") is None):
            raise UsageError(
                f"A table of samples must say which are right, but {table.path} has neither "
                "`correct` nor `answer` with a reference. Rename a column (--map correct=NAME), "
                "or name a column or table of references (--reference)."
            )
        expected = _references(table, reference or "reference")
        faults.add(is_missing(expected), "a question must have a reference answer", "it has none")
        codes = codes_of_answers(as_text(answer), no_vote)
        truths = codes_of_answers(as_text(expected), ())
        labels = np.array([*codes[1], ""], dtype=object)[codes[0]]
        truth_labels = np.array([*truths[1], ""], dtype=object)[truths[0]]
        correct = ((labels == truth_labels) & (codes[0] >= 0)).astype(np.float64)
    columns = {**table.columns, "correct": correct}
    faults.table = replace(table, columns=columns)
    return faults.table, faults


def _truth(column: Column) -> FloatArray:
    """Grades as numbers; NaN for what is none."""
    if column.dtype != object:
        return column
    codes, labels = factorised(column)
    values = [_TRUTH.get(label.strip().lower(), _fraction(label)) for label in labels]
    return np.array([*values, np.nan])[codes]


def _fraction(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return float("nan")


def _references(table: Table, reference: str) -> Column:
    """The reference answer of each row, from a column or from a table of questions."""
    if reference in table.columns:
        return as_text(table[reference])
    if not Path(reference).exists():
        raise UsageError(
            f"A reference is a column of {table.path} or a table with `question_id` and "
            f"`reference`, but {reference!r} is neither. Name one of those."
        )
    answers = read_table(reference, text=TEXT_COLUMNS)
    known = dict(zip(as_text(answers["question_id"]), as_text(answers["reference"]), strict=True))
    codes, labels = factorised(as_text(table["question_id"]))
    found = [known.get(label) for label in labels]
    return np.array([*found, None], dtype=object)[codes]


def codes_of_answers(answer: Column, no_vote: Sequence[str]) -> tuple[IntArray, list[str]]:
    """Codes of stripped answers and their texts; -1 for those without a usable vote."""
    codes, labels = factorised(answer)
    stripped = [label.strip() for label in labels]
    texts = list(dict.fromkeys(text for text in stripped if text and text not in no_vote))
    place = {text: index for index, text in enumerate(texts)}
    translate = np.array([*(place.get(text, -1) for text in stripped), -1], dtype=np.int64)
    return translate[codes], texts
