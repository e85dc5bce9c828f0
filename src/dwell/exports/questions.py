"""What an export reads: questions one at a time, each with the texts that were drawn for it.

A source (a study, a server's folder, a table) hands over one question after the other, so that a
million draws are never in memory together. It knows nothing of training formats.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any

import numpy as np

from dwell.keys import rng_seed

#: A message of a chat, in the form that every trainer and server reads.
Message = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One finished text that was drawn for a question.

    Attributes:
        text: the whole assistant text.
        correct: whether its answer is right; None = not known.
        answer: the canonical answer; None where there is none.
        score: by the verifier that was asked for, NaN = not verified.
        tokens: output tokens.
        start: how many characters of the text were there before the last draw; 0 = drawn whole.
        free: whether the last draw ran to its end as the model likes: no forced continuation and
            no halt at a step. Only such draws estimate what a prefix is worth.
        cut: whether it was cut off at its token limit.
        reasoning: what the model reasoned apart from the text, "" for nothing.
    """

    text: str
    correct: bool | None
    answer: str | None = None
    score: float = float("nan")
    tokens: float = 0
    start: int = 0
    free: bool = True
    cut: bool = False
    reasoning: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A question and its samples.

    Attributes:
        id: as in reports.
        prompt: the whole prompt as plain text; None for a chat of several messages.
        messages: the same as a chat.
        chat: whether the model was asked by a chat, and not by plain text.
        task: the family, "" where there is none.
        tags: what reports group by.
        reference: the right answer; None where it is not known or there are many.
        samples: in the order in which they were drawn.
        separator: what divides the steps of a text.
        markers: lines that begin a new pass, in the task's format.
    """

    id: str
    prompt: str | None
    messages: Sequence[Message]
    chat: bool
    task: str = ""
    tags: Mapping[str, str | float] = field(default_factory=dict)
    reference: str | None = None
    samples: Sequence[Sample] = ()
    separator: str = "\n"
    markers: Sequence[str] = ()

    def rng(self, seed: int, what: str) -> np.random.Generator:
        """Random numbers of this question's own: its place among the others does not matter."""
        return np.random.default_rng(rng_seed(self.id, f"export {what}", str(seed)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Where questions come from.

    Attributes:
        kind: "study", "server" or "table".
        about: what a reader of the export wants to know of it, as plain values.
        num_questions: how many there are.
        read: goes through them, anew at each call; it counts in the tally what it leaves out.
    """

    kind: str
    about: Mapping[str, Any]
    num_questions: int
    read: Callable[[Tally], Iterator[Question]]


class Tally:
    """Counts of what was read, kept and left out, and why; and a digest of all that was read."""

    def __init__(self) -> None:
        self.questions: Counter[str] = Counter()
        self.samples: Counter[str] = Counter()
        self.rows: Counter[str] = Counter()
        self.notes: Counter[str] = Counter()
        self.labels: Counter[str] = Counter()
        self.splits: set[str] = set()
        self._digest = blake2b(digest_size=16)

    def note_read(self, question: Question) -> None:
        """Count a question and its samples as read."""
        self.questions["read"] += 1
        if "split" in question.tags:
            self.splits.add(str(question.tags["split"]))
        self.samples["read"] += len(question.samples)
        self._digest.update(repr((question.id, question.messages)).encode("utf-8", "replace"))
        for sample in question.samples:
            seen = (sample.text, sample.correct, sample.start)
            self._digest.update(repr(seen).encode("utf-8", "replace"))

    def note_written(self, row: Mapping[str, Any]) -> None:
        """Count a row, and its label or labels."""
        self.rows["written"] += 1
        if "label" in row:
            self.labels["right" if row["label"] else "wrong"] += 1
        for label in row.get("labels", ()):
            self.labels["right steps" if label else "wrong steps"] += 1

    @property
    def digest(self) -> str:
        """32 hexadecimal digits that name the prompts, texts and grades that were read."""
        return self._digest.hexdigest()

    def as_record(self) -> dict[str, Any]:
        """The counts as plain values."""
        return {
            "questions": dict(self.questions),
            "samples": dict(self.samples),
            "rows": dict(self.rows),
        }


def plain_prompt(messages: Sequence[Message]) -> str | None:
    """The prompt of a chat that is one user's text; None for any other."""
    if len(messages) == 1 and messages[0]["role"] == "user":
        content = messages[0].get("content")
        return content if isinstance(content, str) else None
    return None
