"""A server's folder as a source: requests that users labelled, with the texts that were drawn.

`dwell serve --ledger FOLDER --record` keeps texts; `/dwell/feedback` writes which draws were
right. A request is a question of its own.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from dwell.errors import UsageError
from dwell.exports.questions import Message, Question, Sample, Source, Tally, plain_prompt
from dwell.ledger import KeyRow, Ledger
from dwell.tables import json_lines

LEDGER, LABELLED = "ledger.db", "labelled.jsonl"


def server_source(folder: Path) -> Source:
    """The labelled requests of a server.

    Raises:
        UsageError: no ledger, nothing labelled, or texts were not recorded.
    """
    labels: dict[str, dict[int, bool]] = {}
    if (folder / LABELLED).exists():
        for _, row in json_lines(folder / LABELLED):
            labels.setdefault(row["question_id"], {})[row["sample_index"]] = bool(row["correct"])
    if not labels:
        raise UsageError(
            f"Samples must be known to be right or wrong, but {folder} has no labelled request. "
            "Post some to /dwell/feedback of dwell serve."
        )

    def read(tally: Tally) -> Iterator[Question]:
        some = False
        with Ledger(folder / LEDGER, read_only=True) as ledger:
            for row in ledger.keys("generate"):
                some = True
                name = _name(row, labels)
                if name is None:
                    tally.questions["not labelled"] += 1
                    continue
                if row.context.get("tools") or row.context.get("functions"):
                    tally.questions["with tools, which rows of text do not hold"] += 1
                    continue
                yield _question(ledger, row, name, labels[name], tally)
        if not some:
            raise UsageError(
                f"Texts must have been recorded to be exported, but {folder} has none. Start the "
                "server with: dwell serve --record"
            )

    about = {"folder": folder.name, "labelled_requests": len(labels)}
    return Source(kind="server", about=about, num_questions=len(labels), read=read)


def _name(row: KeyRow, labels: Mapping[str, Any]) -> str | None:
    """The labelled reply that a key's draws belong to: the request, or one of its choices."""
    request = row.stream.removesuffix("/0")
    return request if request in labels else None


def _question(
    ledger: Ledger, row: KeyRow, name: str, labels: Mapping[int, bool], tally: Tally
) -> Question:
    messages, chat = _messages(row.context)
    samples = []
    for i, draw in ledger.draws(row.id, 0, sys.maxsize).items():
        if draw.status == "step":  # a piece of a text
            continue
        if draw.status == "failed":
            tally.samples["failed"] += 1
            continue
        stats = draw.stats or {}
        samples.append(
            Sample(
                text=draw.text,
                correct=labels.get(i),
                answer=stats.get("answer"),
                tokens=draw.output_tokens,
                cut=draw.status == "cap",
            )
        )
    return Question(
        id=name, prompt=plain_prompt(messages), messages=messages, chat=chat, samples=samples
    )


def _messages(body: Mapping[str, Any]) -> tuple[list[Message], bool]:
    """The request's messages, and whether it was a chat."""
    if "messages" in body:
        return list(body["messages"]), True
    return [{"role": "user", "content": str(body.get("prompt", ""))}], False
