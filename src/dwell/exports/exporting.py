"""An export from end to end: read, choose, write, and say where it all came from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

import dwell
from dwell.errors import UsageError
from dwell.exports.guarding import Guard
from dwell.exports.of_server import LABELLED, LEDGER, server_source
from dwell.exports.of_study import study_source
from dwell.exports.of_table import Reading, table_source
from dwell.exports.questions import Question, Source, Tally
from dwell.exports.rows import Format, Options, Row, rows_of
from dwell.exports.writing import check_free, schema_of, whole, write_card, writer_of
from dwell.keys import rng_seed
from dwell.study import STUDY

Form = Literal["asked", "chat", "text"]
Watch = Callable[[int, int], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported:
    """What an export made.

    Attributes:
        path: the file, or the folder of logs.
        card: what was written beside it; see `dwell.exports.writing.CARD`.
        notes: sentences that a person should read.
    """

    path: Path
    card: Mapping[str, Any]
    notes: Sequence[str] = field(default=())


def open_source(
    path: Path,
    *,
    model: str | None = None,
    by: str | None = None,
    continued: bool = False,
    reasoning: bool = False,
    reading: Reading | None = None,
) -> Source:
    """What a path holds: a study's folder, a server's folder, or a table of samples.

    Raises:
        UsageError: none of those, or it lacks what an export needs.
    """
    if (path / STUDY).exists():
        return study_source(
            path, model=model, by=by, continued=continued, reasoning=reasoning
        )  # fmt: skip
    study_only = {"--model": model, "--continued": continued}
    if given := [name for name, value in study_only.items() if value]:
        raise UsageError(f"`{given[0]}` is for studies, but {path} is none. Leave it out.")
    if (path / LABELLED).exists() or (path / LEDGER).exists():
        if by is not None:
            raise UsageError(
                f"`--by` needs recorded scores, but the server's folder {path} has none. Leave "
                "it out."
            )
        return server_source(path)
    if path.is_dir():
        raise UsageError(
            f"A folder to export must hold {STUDY} or {LEDGER}, but {path} has neither. Name the "
            "folder that was given to `dwell run --out` or `dwell serve --ledger`."
        )
    return table_source(path, reading or Reading(), by=by)


def export(
    source: Source,
    kind: Format,
    out: Path,
    options: Options,
    *,
    form: Form = "asked",
    guard: Guard | None = None,
    balance: str | None = None,
    force: bool = False,
    watch: Watch = lambda done, total: None,
) -> Exported:
    """Write a file of training rows and its card.

    Args:
        source: from `open_source`.
        kind: "sft", "dpo", "kto" or "prm".
        out: `.jsonl` or `.parquet`.
        options: what rows are made of; `options.chat` is set by `form`.
        form: chats, plain texts, or as the model was asked.
        guard: which questions; None = all.
        balance: a tag (or `label` of kto): equally many rows of each of its values.
        force: write over a file that is there.
        watch: called with how many questions are done, and of how many.

    Raises:
        UsageError: nothing to write, nowhere to write it, or a source that lacks what is needed.
    """
    make = writer_of(out.suffix)
    check_free(out, force=force)
    guard = guard or Guard()
    chat = _first(source).chat if form == "asked" else form == "chat"
    options = replace(options, chat=chat and kind != "prm")
    schema = schema_of(kind, chat=options.chat, reasoning=options.reasoning)
    job = _Job(source, kind, options, guard)
    keep = None if balance is None else _balanced(job, balance)
    tally, ids = Tally(), dict[str, None]()
    with whole(out) as part:
        with closing(make(part, schema)) as writer:
            for question, row in job.rows(tally, watch):
                if keep is None or keep(question, row):
                    writer.write(row)
                    tally.note_written(row)
                    ids[question.id] = None
                else:
                    tally.rows["left out to balance"] += 1
        if not ids:
            raise UsageError(_nothing(kind, tally))
    card = _card(job, tally, ids, form=form, balance=balance)
    write_card(out, card)
    return Exported(path=out, card=card, notes=_notes(job, tally, len(ids)))


def _first(source: Source) -> Question:
    found = next(source.read(Tally()), None)
    if found is None:
        raise UsageError("There must be questions to export, but the source has none.")
    return found


@dataclass(frozen=True, slots=True)
class _Job:
    source: Source
    kind: Format
    options: Options
    guard: Guard

    def rows(self, tally: Tally, watch: Watch) -> Iterator[tuple[Question, Row]]:
        """Every row with its question."""
        total = self.source.num_questions
        for done, question in enumerate(self.source.read(tally), start=1):
            watch(done, total)
            if self.guard.passes(question, tally):
                tally.note_read(question)
                for row in rows_of(self.kind, question, self.options, tally):
                    yield question, row


# ---- balance -------------------------------------------------------------------------------


def _balanced(job: _Job, balance: str) -> Callable[[Question, Row], bool]:
    """Says of each row, in order, whether it is among those kept: as many of each value."""
    counts = Counter(_value(q, row, balance) for q, row in job.rows(Tally(), lambda *_: None))
    least = min(counts.values(), default=0)
    kept = {}
    for value, count in counts.items():
        rng = np.random.default_rng(
            rng_seed(str(value), "export balance", str(job.options.choice.seed))
        )
        mask = np.zeros(count, dtype=bool)
        mask[rng.choice(count, least, replace=False)] = True
        kept[value] = iter(mask.tolist())
    none: Iterator[bool] = iter(())  # what a study at work has drawn since it was counted
    return lambda question, row: next(kept.get(_value(question, row, balance), none), False)


def _value(question: Question, row: Row, balance: str) -> Any:
    if balance == "label" and isinstance(row.get("label"), bool):
        return row["label"]
    tags = {"task": question.task, **question.tags}
    if balance not in tags:
        raise UsageError(
            f"Rows are balanced by a tag of questions ({', '.join(sorted(tags))}) or by the "
            f"`label` of kto, but got {balance!r}. Name one of those."
        )
    return tags[balance]


# ---- what is said of it --------------------------------------------------------------------


def _card(
    job: _Job, tally: Tally, ids: Mapping[str, None], *, form: Form, balance: str | None
) -> dict[str, Any]:
    options = asdict(job.options)
    choice = options.pop("choice")
    return {
        "dwell_export": 1,
        "made_by": f"dwell {dwell.__version__}",
        "format": job.kind,
        "source": {"kind": job.source.kind, **job.source.about, "digest": tally.digest},
        "options": {
            **choice, **options, "form": form, "balance": balance,
            "hold_out": job.guard.hold_out, "questions": job.guard.text,
        },
        "counts": tally.as_record(),
        "labels": dict(tally.labels),
        "question_ids": list(ids),
    }  # fmt: skip


def _notes(job: _Job, tally: Tally, num_questions: int) -> list[str]:
    notes = [
        f"Left out: {count:,} {name if count > 1 else name[:-1]} ({what})."
        for name, counts in (("questions", tally.questions), ("samples", tally.samples))
        for what, count in counts.items()
        if count and what not in ("read", "kept")
    ]
    notes += [f"Left out: {count:,} {what}." for what, count in tally.notes.items()]
    if unfit := tally.splits - {"train"}:
        notes.append(
            f"These are questions of the {' and '.join(sorted(unfit))} split. To train on, make a "
            'study with `split = "train"` in its [[tasks]].'
        )
    notes.append(
        f"A model that is trained on these {num_questions:,} questions must not be measured on "
        "them; the card names them."
    )
    return notes


def _nothing(kind: str, tally: Tally) -> str:
    counts = ", ".join(
        f"{count:,} {name}: {what}"
        for name, counted in (("questions", tally.questions), ("samples", tally.samples))
        for what, count in counted.items()
        if count and what not in ("read", "kept")
    )
    return (
        f"An export must have rows, but nothing was left for {kind} ({counts or 'it is empty'}). "
        "Choose other questions, record more draws, or choose another format."
    )
