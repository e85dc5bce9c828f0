"""A table of samples with their texts as a source: one row a sample, as `dwell replay` reads it.

Besides the columns of recordings it must have the text of each sample, and of each question its
prompt, as `prompt` (plain) or `messages` (a chat). The table is held in memory.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet

from dwell.errors import UsageError
from dwell.exports.questions import Message, Question, Sample, Source, Tally, plain_prompt
from dwell.recordings.assembling import numbers_and_tags
from dwell.recordings.checking import (
    TEXT_COLUMNS,
    Faults,
    as_text,
    grades,
    recorded,
    renamed,
)
from dwell.recordings.keys import Keys, keys_of
from dwell.recordings.readers import NO_VOTE
from dwell.tables import Column, Table, json_lines, read_table

#: Under which names the text of a sample is looked for, the first that is there.
TEXT_NAMES = ("text", "completion", "response")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """How a table is read; as the options of `dwell replay`.

    Attributes:
        mapping: `NAME=COLUMN` pairs.
        where: filters `COLUMN=VALUE|VALUE`.
        reference: a column, or a table of references, to grade by.
        skip_bad: leave bad rows out.
    """

    mapping: Sequence[str] = ()
    where: Sequence[str] = ()
    reference: str | None = None
    skip_bad: bool = False


def table_source(path: Path, reading: Reading, *, by: str | None) -> Source:
    """The samples in a table.

    Args:
        path: parquet, CSV or JSON-lines.
        reading: how.
        by: a column of numbers that are wanted as scores; then grades may be missing.

    Raises:
        UsageError: the table cannot be read, has no texts or prompts, or no grades.
    """
    names = (*TEXT_COLUMNS, *TEXT_NAMES, "prompt")
    raw = read_table(path, where=reading.where, text=(*names, *_sources(reading.mapping)))
    table = renamed(raw, reading.mapping)
    texts = _texts(table)
    graded = recorded(table, "correct") is not None or reading.reference is not None
    faults = Faults(table, np.zeros(table.num_rows, dtype=bool))
    if graded or recorded(table, "reference") is not None or by is None:
        table, faults = grades(table, reading.reference, NO_VOTE)
    faults.add(texts == None, "a sample must have its text", "it has none")  # noqa: E711
    keys = keys_of(table, faults)
    good = faults.good(skip=reading.skip_bad)
    if good is not table:
        keys, texts = keys.take(~faults.bad), texts[~faults.bad]
    held = _Held(path, good, keys, texts, by)
    about = {"file": path.name, "rows": good.num_rows, "skipped": dict(faults.counts),
             "by": by, "map": list(reading.mapping), "where": list(reading.where),
             "reference": reading.reference}  # fmt: skip
    return Source(kind="table", about=about, num_questions=held.num_questions, read=held.questions)


def _sources(mapping: Sequence[str]) -> list[str]:
    """Columns that become texts under another name."""
    pairs = [pair.partition("=") for pair in mapping]
    return [column for name, _, column in pairs if name in (*TEXT_NAMES, "prompt")]


def _texts(table: Table) -> Column:
    for name in TEXT_NAMES:
        if (found := recorded(table, name)) is not None:
            return as_text(found)
    raise UsageError(
        f"Texts must have been recorded to be exported, but {table.path} has no column "
        f"{', '.join(f'`{name}`' for name in TEXT_NAMES)}. Name one: --map text=COLUMN"
    )


class _Held:
    """A table in memory, its rows sorted by question."""

    def __init__(
        self, path: Path, table: Table, keys: Keys, texts: Column, by: str | None
    ) -> None:
        self._table, self._texts = table, texts
        order = np.lexsort((keys.turn, keys.sample, keys.run, keys.question))
        self._starts = np.flatnonzero(np.diff(keys.question[order], prepend=-1))
        self._order, self._ids = order, keys.questions
        self._question = keys.question[order]
        own = {n: c for n, c in table.columns.items() if n not in (*TEXT_NAMES, "prompt")}
        self.numbers, self._tags = numbers_and_tags(replace(table, columns=own), keys)
        if by is not None and by not in self.numbers:
            known = ", ".join(sorted(self.numbers)) or "none"
            raise UsageError(
                f"Scores to choose by must be a column of numbers of {path} ({known}), but got "
                f"{by!r}. Name another column."
            )
        self._by = None if by is None else self.numbers[by]
        self._messages = _chats(path, table) if "messages" in table.nested else {}
        self._prompts = recorded(table, "prompt")
        if self._prompts is None and not self._messages:
            raise UsageError(
                f"Prompts must have been recorded to be exported, but {path} has no column "
                "`prompt` or `messages`. Name one: --map prompt=COLUMN"
            )

    @property
    def num_questions(self) -> int:
        """How many questions have rows."""
        return len(self._starts)

    def questions(self, tally: Tally) -> Iterator[Question]:
        """Every question with its samples, those of all runs together."""
        stops = [*self._starts[1:], len(self._order)]
        for start, stop in zip(self._starts, stops, strict=True):
            rows = self._order[start:stop]
            code = int(self._question[start])
            asked = {repr(one): one for row in rows if (one := self._asked(int(row))) is not None}
            if len(asked) != 1:
                why = "with more than one prompt" if asked else "with no prompt"
                tally.questions[why] += 1
                continue
            (messages,) = asked.values()
            yield Question(
                id=self._ids[code],
                prompt=plain_prompt(messages),
                messages=messages,
                chat=bool(self._messages),
                tags={name: values[code] for name, values in self._tags.items()},
                samples=[self._sample(int(row)) for row in rows],
            )

    def _asked(self, row: int) -> list[Message] | None:
        if self._messages:
            return self._messages.get(int(self._table.rows[row]))
        assert self._prompts is not None
        text = self._prompts[row]
        return None if text is None else [{"role": "user", "content": str(text)}]

    def _sample(self, row: int) -> Sample:
        columns = self._table.columns
        answer = columns["answer"][row] if "answer" in columns else None
        tokens = _at(columns.get("tokens"), row)
        return Sample(
            text=str(self._texts[row]),
            correct=_truth(_at(columns.get("correct"), row)),
            answer=None if answer is None or answer in NO_VOTE else str(answer),
            score=_at(self._by, row),
            tokens=0.0 if np.isnan(tokens) else tokens,
        )


def _at(column: Column | None, row: int) -> float:
    return float("nan") if column is None or column.dtype == object else float(column[row])


def _truth(grade: float) -> bool | None:
    """Right, wrong, or not known: a grade between is neither."""
    return {1.0: True, 0.0: False}.get(grade)


def _chats(path: Path, table: Table) -> dict[int, list[Message]]:
    """The messages of each row of the table, by the row's number in its file; equal ones once."""
    wanted = set(table.rows.tolist())
    seen: dict[str, list[Message]] = {}
    found: dict[int, list[Message]] = {}
    for number, messages in enumerate(_message_cells(path), start=1):
        if number in wanted and messages:
            _check_chat(path, number, messages)
            kept: list[Message] = [
                {k: v for k, v in message.items() if v is not None} for message in messages
            ]
            found[number] = seen.setdefault(repr(kept), kept)
    return found


def _check_chat(path: Path, number: int, messages: Any) -> None:
    fits = isinstance(messages, list) and all(
        isinstance(one, Mapping) and isinstance(one.get("role"), str) for one in messages
    )
    if not fits:
        raise UsageError(
            f"{path} row {number}: `messages` must be a list of objects with a `role` and a "
            "`content`, but this one is not. Mend or delete that row."
        )


def _message_cells(path: Path) -> Iterator[list[Mapping[str, Any]] | None]:
    if path.suffix.lower() == ".parquet":
        for batch in pyarrow.parquet.ParquetFile(path).iter_batches(columns=["messages"]):
            yield from batch.column(0).to_pylist()
        return
    for _, record in json_lines(path):
        yield record.get("messages")
