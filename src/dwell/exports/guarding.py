"""Which questions may be trained on: chosen by a tag or a list, and some held out.

A model must not be measured on questions that it was trained on. What is held out depends on a
question's id alone, so that all exports of the same questions hold out the same ones.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

from dwell.errors import UsageError
from dwell.exports.questions import Question, Tally
from dwell.recordings.checking import as_text
from dwell.tables import number_text, read_table


@dataclass(frozen=True, slots=True, kw_only=True)
class Guard:
    """Which questions are exported.

    Attributes:
        only: says of a question whether it may be; None = all.
        hold_out: share of the questions that is left out, in [0, 1).
        text: how `only` was asked for, for the card.
    """

    only: Callable[[Question], bool] | None = None
    hold_out: float = 0.0
    text: str | None = None

    def passes(self, question: Question, tally: Tally) -> bool:
        """Whether a question is exported; else it is counted as left out."""
        if self.only is not None and not self.only(question):
            tally.questions["not asked for"] += 1
        elif position(question.id) < self.hold_out:
            tally.questions["held out"] += 1
        else:
            return True
        return False


def position(question: str) -> float:
    """A place in `[0, 1)` that depends on the question's id alone.

    Examples:
        >>> round(position("chain/test/0/5-3"), 3)
        0.0
    """
    digest = blake2b(f"held out:{question}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64


def chosen_questions(text: str) -> Callable[[Question], bool]:
    """What ``--questions`` means: TAG=VALUE|VALUE, or a file of ids.

    Args:
        text: a tag of questions (or `task`) with the values that pass; or the path of a text file
            with an id a line, or of a table with a column `question_id`.

    Raises:
        UsageError: it is neither.
    """
    path = Path(text)
    if path.is_file():
        ids = _ids(path)
        return lambda question: question.id in ids
    tag, equals, values = text.partition("=")
    if not equals:
        raise UsageError(
            f"Questions are chosen by TAG=VALUE or by a file of ids, but {text!r} is no file and "
            "has no `=`. Write for example: --questions level=3|4"
        )
    wanted = {value.strip() for value in values.split("|")}
    return lambda question: _has(question, tag.strip(), wanted)


def _has(question: Question, tag: str, wanted: set[str]) -> bool:
    tags: Mapping[str, str | float] = {"task": question.task, **question.tags}
    if tag not in tags:
        raise UsageError(
            f"A tag must be one of the questions' ({', '.join(sorted(tags))}), but {question.id} "
            f"has no {tag!r}. Name another one."
        )
    return number_text(tags[tag]) in wanted


def _ids(path: Path) -> frozenset[str]:
    if path.suffix.lower() in (".jsonl", ".ndjson", ".csv", ".tsv", ".parquet"):
        return frozenset(as_text(read_table(path, text=("question_id",))["question_id"]))
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except UnicodeDecodeError as error:
        raise UsageError(
            f"A file of ids must be UTF-8, but {path} is not ({error.reason}). Convert it."
        ) from error
    return frozenset(line.strip() for line in lines if line.strip())
