"""A study's folder as a source: every finished text in its ledger, graded by its tasks.

Nothing is drawn and nothing is scored anew by a model: texts, scores and verdicts are those that
the folder holds. A draw of a step continues the text that its key names, so the texts of searches
are here as a whole.
"""

from __future__ import annotations

import asyncio
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from dwell.errors import UsageError
from dwell.exports.questions import Question, Sample, Source, Tally, plain_prompt
from dwell.keys import candidate_subject, key_hash, request_params
from dwell.ledger import KeyRow, Ledger
from dwell.protocols import Task, Verifier, VerifyWork, is_right
from dwell.records import Answer, Candidate, Context, Draw, Problem
from dwell.requests import Verify
from dwell.strategies.asking import GROUP_VERIFIERS
from dwell.study import Study
from dwell.study_file import ModelSpec

#: What stands in a study hosted by Inspect for the parts of a message that are no text.
DIGEST = re.compile(r"\n<(system|user|assistant|tool) [0-9a-f]{16}>\Z")
#: Beyond every draw's index.
_ALL = sys.maxsize


def study_source(
    folder: Path, *, model: str | None, by: str | None, continued: bool, reasoning: bool
) -> Source:
    """The texts that one model of a study wrote.

    Args:
        folder: the study's.
        model: whose texts; None where the study has one model.
        by: a verifier whose recorded scores are wanted.
        continued: take texts that were continued piece by piece too (searches, revisions of a
            prefix), and not only those drawn whole.
        reasoning: read what models reasoned apart.

    Raises:
        UsageError: no study, no such model or verifier, or texts were not recorded.
    """
    study = Study.load(folder)
    spec = _chosen_model(study, model)
    names = [n for n, v in study.verifiers.items() if n not in GROUP_VERIFIERS and not v.oracle]
    if by is not None and by not in names:
        raise UsageError(
            f"Scores to choose by must be of a verifier of the study ({', '.join(names) or 'none'}"
            f"), but got {by!r}. Name another one, or run the study with it."
        )
    scorer = None if by is None else study.verifiers[by]

    def read(tally: Tally) -> Iterator[Question]:
        with Ledger(study.ledger_path, read_only=True) as ledger:
            yield from _Reader(study, ledger, spec, scorer, continued, reasoning).questions(tally)

    about = {
        "folder": folder.name, "title": study.spec.title, "seed": study.spec.seed,
        "streams": study.spec.streams, "model": spec.name, "tasks": list(study.tasks),
        "by": by, "continued": continued,
    }  # fmt: skip
    return Source(kind="study", about=about, num_questions=len(study.problems), read=read)


def _chosen_model(study: Study, model: str | None) -> ModelSpec:
    names = [spec.name for spec in study.spec.models]
    if model is None and len(names) > 1:
        raise UsageError(
            f"Texts are exported of one model, but this study has {', '.join(names)}. "
            "Name one of them: --model NAME"
        )
    found = [spec for spec in study.spec.models if model in (None, spec.name)]
    if not found:
        raise UsageError(
            f"A model must be of the study ({', '.join(names)}), but got {model!r}. Name one of "
            "those."
        )
    return found[0]


class _Reader:
    """Goes through a study's ledger question by question."""

    def __init__(
        self,
        study: Study,
        ledger: Ledger,
        model: ModelSpec,
        scorer: Verifier | None,
        continued: bool,
        reasoning: bool,
    ) -> None:
        self._study, self._ledger, self._scorer = study, ledger, scorer
        self._continued = continued
        source = next((s for s in ledger.sources().values() if s.get("model") == model.name), None)
        if source is None:
            raise UsageError(
                f"A study must have drawn something to be exported, but {study.folder} has "
                f"nothing of {model.name}. Run it first: dwell run"
            )
        self._splits = {t.name: {"split": t.split} for t in study.spec.tasks if t.file is None}
        self._fingerprint = source["fingerprint"]
        self._separator = str(source.get("step_delimiter") or "\n")
        self._chat = "chat" in (source.get("api"), source.get("template")) or (
            source.get("kind") == "inspect"
        )
        self._tools = bool(source.get("tools"))
        self._digests = source.get("kind") == "inspect"
        derived = scorer is not None and scorer.derived
        self._stats = reasoning or derived
        self._scores = (
            {} if scorer is None or derived else ledger.scores(scorer.fingerprint)
        )  # fmt: skip

    def questions(self, tally: Tally) -> Iterator[Question]:
        """Every problem of the study with its texts."""
        wanted = {problem.context().messages for problem in self._study.problems}
        keys = self._keys(wanted, tally)
        for problem in self._study.problems:
            messages = problem.context().messages
            if why := self._unfit(messages):
                tally.questions[why] += 1
                continue
            chat = self._chat or len(messages) > 1
            as_chat = [{"role": role, "content": text} for role, text in messages]
            yield Question(
                id=problem.id,
                prompt=plain_prompt(as_chat),
                messages=as_chat,
                chat=chat,
                task=problem.task,
                tags={**problem.tags, **self._splits.get(problem.task, {})},
                reference=problem.reference,
                samples=self._samples(problem, keys.get(messages, []), tally),
                separator=self._separator,
                markers=tuple(map(str, problem.markers.values())),
            )

    def _unfit(self, messages: Sequence[tuple[str, str]]) -> str | None:
        """Why a question's texts say less than the model was asked, None where they say all."""
        if self._tools:
            return "with tools, which rows of text do not hold"
        if self._digests and any(DIGEST.search(text) for _, text in messages):
            return "with parts that are no text"
        return None

    def _keys(self, wanted: set[Any], tally: Tally) -> dict[Any, list[_Place]]:
        """The keys of each prompt; only row numbers and prefixes are held."""
        found: dict[Any, list[_Place]] = {}
        some = False
        for row in self._ledger.keys("generate"):
            some = True
            if row.fingerprint != self._fingerprint:
                continue
            messages = tuple((role, text) for role, text in row.context[0])
            if messages not in wanted:
                tally.notes["prompts that are no problem's own, such as revisions"] += 1
                continue
            place = _Place(row)
            if self._continued or place.whole:
                found.setdefault(messages, []).append(place)
        if not some:
            raise UsageError(
                f"Texts must have been recorded to be exported, but {self._study.folder} has "
                "none. Run the study with dwell run, which keeps them."
            )
        return found

    def _samples(self, problem: Problem, keys: Sequence[_Place], tally: Tally) -> list[Sample]:
        task = self._study.tasks[problem.task]
        right: dict[Answer, bool | None] = {}
        samples: list[Sample] = []
        scored: list[tuple[Candidate, str]] = []
        for key in keys:
            context = Context(problem.context().messages, key.prefix)
            for i, draw in self._ledger.draws(key.row, 0, _ALL, stats=self._stats).items():
                if draw.status == "step":
                    continue
                if draw.status == "failed":
                    tally.samples["failed"] += 1
                    continue
                candidate = _candidate(task, problem, context, i, draw)
                if candidate.answer not in right:
                    right[candidate.answer] = _verdict(task, problem, candidate.answer)
                samples.append(_sample(candidate, draw, right[candidate.answer], key))
                scored.append((candidate, key.stream))
        if self._scorer is None:
            return samples
        scores = self._score(self._scorer, problem, scored)
        return [replace(s, score=score) for s, score in zip(samples, scores, strict=True)]

    def _score(
        self, scorer: Verifier, problem: Problem, scored: Sequence[tuple[Candidate, str]]
    ) -> list[float]:
        """Scores as recorded, or derived from what the draws carry; NaN = not verified."""
        if scorer.derived:
            work = [
                VerifyWork(candidates=(c,), problem=problem, mode="outcome", seeds=(0,))
                for c, _ in scored
            ]
            outcomes = asyncio.run(_all(scorer, work))
            return [_number(outcome.draws[0].value) for outcome in outcomes]
        hashes = (
            key_hash(
                scorer.fingerprint, "verify", (problem.id, candidate_subject([c])),
                request_params(Verify((c,), scorer.name)), stream,
            )
            for c, stream in scored
        )  # fmt: skip
        return [_number(self._scores.get(hash_, (None, 0))[0]) for hash_ in hashes]


class _Place:
    """A key of the ledger as far as texts need it."""

    __slots__ = ("free", "prefix", "row", "stream")

    def __init__(self, row: KeyRow) -> None:
        until, _, stop, forbid_end = row.params[:4]
        self.row, self.stream = row.id, row.stream
        self.prefix: str = row.context[1]
        self.free = until == "end" and not stop and not forbid_end

    @property
    def whole(self) -> bool:
        """Whether its draws are whole answers."""
        return self.free and not self.prefix


def _candidate(
    task: Task, problem: Problem, context: Context, index: int, draw: Draw
) -> Candidate:
    answer = task.extract(problem, context.partial + draw.text)
    return Candidate(
        context, draw.text, draw.status, answer, index, draw.output_tokens, draw.stats or {}
    )


def _sample(candidate: Candidate, draw: Draw, correct: bool | None, key: _Place) -> Sample:
    reasoning = (draw.stats or {}).get("reasoning", "")
    return Sample(
        text=candidate.text,
        correct=correct,
        answer=candidate.answer,
        tokens=draw.output_tokens,
        start=len(key.prefix),
        free=key.free,
        cut=draw.status == "cap",
        reasoning=reasoning if isinstance(reasoning, str) else "",
    )


def _verdict(task: Task, problem: Problem, answer: Answer) -> bool | None:
    """Whether an answer is right; None for a program that was never run."""
    known = getattr(task, "known", None)
    if known is not None and not known(problem, answer):
        return None
    return is_right(task, problem, answer)


async def _all(scorer: Verifier, work: Sequence[VerifyWork]) -> Sequence[Any]:
    return await scorer.score(work)


def _number(value: float | None) -> float:
    return float("nan") if value is None else value
