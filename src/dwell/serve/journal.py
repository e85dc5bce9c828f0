"""What a server remembers: every draw in a ledger, and labels that users post.

    FOLDER/ledger.db        runs, draws, answers and what they cost
    FOLDER/labelled.jsonl   a row for each draw whose answer was labelled; `dwell plan` reads it

Texts are kept only where the operator says so. Without, an answer is kept as a hash: votes and
agreement can be computed again, but nothing can be read, resumed or judged anew.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from dataclasses import dataclass, replace
from hashlib import blake2b
from pathlib import Path
from typing import Any

from dwell.keys import canonical_json, key_hash
from dwell.ledger import Ledger, storable
from dwell.serve.asking import Asked, Refused
from dwell.serve.draws import Source
from dwell.serve.ended import Ended
from dwell.tasks.answers import vote_key

LEDGER, LABELLED = "ledger.db", "labelled.jsonl"
#: Requests whose draws are held for labels; the oldest is forgotten first.
MOST_HELD = 10_000


@dataclass(frozen=True, slots=True)
class _Row:
    """A draw as labels need it."""

    answer: str | None
    tokens: int
    seconds: float
    usd: float


class Journal:
    """The folder of a server. One process writes it.

    Args:
        folder: where.
        record: keep the texts of prompts and completions.

    Raises:
        LedgerError: it cannot be written, or another server writes it.
    """

    def __init__(self, folder: Path, *, record: bool = False) -> None:
        self._ledger = Ledger(folder / LEDGER)
        self._labelled = folder / LABELLED
        self._record = record
        self._held: OrderedDict[str, tuple[str | None, list[_Row]]] = OrderedDict()

    def write(self, asked: Asked, ended: Ended, source: Source) -> None:
        """Record a run: its draws, attempts, answer and charge, in one commit."""
        ledger = self._ledger
        subject = canonical_json(asked.body)
        stream = f"{asked.id}/{asked.choice}"
        hash_ = key_hash(source.fingerprint, "generate", subject, (), stream)
        key = ledger.put_key(
            hash_,
            ledger.put_source(source.fingerprint, source.info),
            "generate",
            [],
            stream,
            dict(asked.body) if self._record else None,
        )
        for i, draw in enumerate(ended.draws):
            text = storable(draw.text) if self._record or draw.status == "failed" else ""
            stats = {"answer": self._shown(draw.answer)} if draw.answer else None
            ledger.put_draw(key, i, replace(draw, text=text, state=None, stats=stats))
        for attempt in ended.attempts:
            ledger.put_attempt(key, attempt)
        name = asked.id if not asked.choice else stream
        run = ledger.put_run(
            None, name, asked.strategy.spec(), ended.num_requests, ended.digest, ended.status
        )
        ledger.put_answer(run, asked.id, self._shown(ended.answer), ended.charged)
        ledger.commit()
        self._hold(name, ended)

    def _shown(self, answer: str | None) -> str | None:
        if answer is None:
            return None
        return storable(answer) if self._record else hashed(answer)

    def _hold(self, name: str, ended: Ended) -> None:
        rows = [
            _Row(self._shown(d.answer), d.output_tokens, d.seconds, d.usd) for d in ended.draws
        ]
        # A label is about what was shown, which a strategy that declines did not give.
        shown = ended.answer if ended.chosen is None else ended.chosen.answer
        self._held[name] = (self._shown(shown), rows)
        if len(self._held) > MOST_HELD:
            self._held.popitem(last=False)

    def label(self, name: str, *, correct: bool | None, answer: str | None) -> int:
        """Note whether a reply was right, or what the right answer is.

        A right answer labels every draw. That the reply was right labels every draw as well:
        those that say the same are right, the others wrong. That it was wrong labels only those
        that say the same.

        Returns:
            How many draws were labelled.

        Raises:
            Refused: the request is not held any more, or never was.
        """
        if name not in self._held:
            raise Refused(404, "unknown_id", "No reply of that id is remembered.")
        given, rows = self._held[name]
        right = {given}
        if answer is not None:  # as a text or as JSON: whichever the votes were counted on
            keys = (vote_key(answer), vote_key(answer, as_json=True))
            right = {self._shown(key) for key in keys if key is not None}
        kept = [
            (i, row, row.answer in right and correct is not False)
            for i, row in enumerate(rows)
            if answer is not None or correct or row.answer in right
        ]
        lines = [
            json.dumps(
                {"question_id": name, "sample_index": i, "answer": row.answer or "<none>",
                 "correct": good, "tokens": row.tokens, "seconds": round(row.seconds, 4),
                 "usd": row.usd}
            )
            for i, row, good in kept
        ]  # fmt: skip
        if lines:
            with self._labelled.open("a", encoding="utf-8") as file:
                file.write("\n".join(lines) + "\n")
            del self._held[name]  # a second label would write the same draws again
        return len(lines)

    def close(self) -> None:
        """Close the ledger."""
        self._ledger.close()


def hashed(text: Any) -> str:
    """Sixteen hexadecimal digits that stand for a text."""
    return blake2b(str(text).encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()
