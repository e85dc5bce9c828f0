"""A recording as a model: a generator that deals recorded draws, its task and its verifiers.

Strategies run on it unchanged, through the driver. The draws are read in place and never copied
into a ledger (`derived`); runs, answers and charges are recorded as ever. Stream `s` deals the
draws of question `q` in the order `order_of(q, s, size)`, without replacement.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import cached_property
from hashlib import blake2b
from typing import Any

import numpy as np

from dwell.errors import GeneratorError, UsageError, VerifierError
from dwell.protocols import GenerateWork, Outcome, VerifyWork
from dwell.recordings.arrays import FloatArray, IntArray, Recording, order_of
from dwell.records import Answer, Candidate, Draw, Problem, Usage
from dwell.requests import Generate

#: The statistic that says which recorded draw a candidate is.
PLACE = "row"


def problems_of(recording: Recording) -> list[Problem]:
    """The recorded questions as problems; the prompt is the question's id."""
    return [
        Problem(
            id=question,
            prompt=question,
            task=recording.dataset,
            tags={name: values[p] for name, values in recording.tags.items()},
        )
        for p, question in enumerate(recording.questions)
    ]


def fingerprint_of(recording: Recording) -> str:
    """A name for the content of a recording: run, questions, answers, grades and tokens."""
    digest = blake2b(digest_size=12)
    digest.update(repr((recording.run, recording.questions, recording.texts)).encode())
    for array in (recording.codes, recording.correct, recording.tokens):
        digest.update(b"-" if array is None else np.ascontiguousarray(array).tobytes())
    return f"recording:{digest.hexdigest()}"


class _Places:
    """Where a question is in a recording, and what each of its draws is as text."""

    def __init__(self, recording: Recording) -> None:
        self.recording = recording
        self.of_question = {question: p for p, question in enumerate(recording.questions)}

    def text(self, p: int, place: int) -> str:
        """The draw's place and its answer: equal answers of two draws stay two texts.

        Scores are kept by text, and two draws with equal answers may be scored differently.
        Where no answers were recorded each draw is an answer of its own.
        """
        codes = self.recording.codes
        if codes is None:
            return f"{place} #{place}"
        code = int(codes[p, place])
        return str(place) if code < 0 else f"{place} {self.recording.texts[p][code]}"

    def find(self, candidate: Candidate, problem: Problem) -> tuple[int, int]:
        """(question's number, draw's place) of a candidate.

        Raises:
            VerifierError: the candidate is not a draw of this recording.
        """
        p, place = self.of_question.get(problem.id), candidate.stats.get(PLACE)
        if p is None or place is None:
            raise VerifierError(
                f"a recorded score belongs to a recorded draw of {self.recording.run!r}, but "
                f"{problem.id!r} was answered otherwise. Replay on that recording alone."
            )
        return p, int(place)


class RecordingGenerator:
    """Deals the draws of a recording as if they were sampled.

    Args:
        recording: what was recorded.

    Raises:
        UsageError: its rows are successive attempts, which are not draws of one kind.
    """

    derived = True
    provides: frozenset[str] = frozenset()
    # One work item a call: a question with too few draws must not fail the others.
    max_batch = 1
    concurrency = 1024
    slots = 64

    def __init__(self, recording: Recording) -> None:
        if recording.turns is not None:
            raise UsageError(
                "A recording is dealt in any order, but the rows of "
                f"{recording.run!r} are successive attempts. Take one turn: --where turn=N"
            )
        self._places = _Places(recording)
        self._recording = recording
        self._orders: dict[tuple[int, str], IntArray] = {}
        self.fingerprint = fingerprint_of(recording)

    @property
    def info(self) -> Mapping[str, Any]:
        """What a reader of the ledger wants to know."""
        r = self._recording
        return {
            "name": r.model, "run": r.run, "dataset": r.dataset, "recorded": True,
            "questions": len(r.questions), "draws": int(r.sizes.sum()),
        }  # fmt: skip

    @cached_property
    def default_max_tokens(self) -> int:
        """The longest recorded draw, in tokens; at least 1."""
        tokens = self._recording.tokens
        return 1 if tokens is None else max(1, math.ceil(np.nanmax(tokens)))

    async def generate(self, work: Sequence[GenerateWork]) -> Sequence[Outcome]:
        """The recorded draws of each work item.

        Raises:
            UsageError: what is asked for was not recorded: another prompt, a continuation,
                another temperature.
            GeneratorError: a question has fewer draws than were asked for.
        """
        return [Outcome(self._deal(item)) for item in work]

    def _deal(self, work: GenerateWork) -> list[Draw]:
        missing = _not_recorded(work.request, work.problem)
        p = self._places.of_question.get(work.problem.id)
        if missing or p is None:
            raise UsageError(
                f"A recording has whole answers to its own questions, but a strategy needs "
                f"{missing or f'the question {work.problem.id!r}'}, which was not recorded in "
                f"{self._recording.run!r}. Leave that strategy out, or run it on a live model."
            )
        size, asked = int(self._recording.sizes[p]), max(work.indices) + 1
        if asked > size:
            raise GeneratorError(
                f"a recording deals each draw once, but {asked} draws of {work.problem.id!r} "
                f"were asked for and {size} are recorded. Lower the budget."
            )
        order = self._order(p, work.stream)
        return [self._draw(p, int(order[i])) for i in work.indices]

    def _order(self, p: int, stream: str) -> IntArray:
        key = (p, stream)
        if key not in self._orders:
            question, size = self._recording.questions[p], int(self._recording.sizes[p])
            self._orders[key] = order_of(question, stream, size)
        return self._orders[key]

    def _draw(self, p: int, place: int) -> Draw:
        recording = self._recording
        return Draw(
            text=self._places.text(p, place),
            # Where a total was shared out among draws, their tokens are fractions.
            output_tokens=_amount(recording.tokens, p, place),  # type: ignore[arg-type]
            seconds=_amount(recording.seconds, p, place),
            usd=_amount(recording.usd, p, place),
            stats={PLACE: place},
        )

    def shared_prompt(self, prompt_tokens: int) -> Usage:
        """Nothing: prompts were not recorded."""
        return Usage()

    async def close(self) -> None:
        """Nothing to release."""


def _amount(array: FloatArray | None, p: int, place: int) -> float:
    """A recorded amount; 0 where it was not recorded."""
    value = 0.0 if array is None else float(array[p, place])
    return 0.0 if math.isnan(value) else value


def _not_recorded(request: Generate, problem: Problem) -> str:
    """What a request needs beyond a whole answer to the question; "" for nothing."""
    if request.context.partial:
        return "to continue a prefix"
    if request.context.state is not None or request.context.messages != problem.context().messages:
        return "an answer to another prompt"
    settings = {
        'until="step"': request.until != "end",
        "stop": bool(request.stop),
        "forbid_end": request.forbid_end,
        f"temperature={request.temperature}": request.temperature is not None,
        f"max_tokens={request.max_tokens}": request.max_tokens is not None,
    }
    return ", ".join(name for name, asked in settings.items() if asked)


class RecordedTask:
    """Answers and grades as they were recorded.

    Args:
        recording: what was recorded.
    """

    def __init__(self, recording: Recording) -> None:
        self.name = recording.dataset
        self._recording = recording
        self._of_question = {question: p for p, question in enumerate(recording.questions)}
        self._values: dict[str, dict[str, float]] = {}

    def extract(self, problem: Problem, text: str) -> Answer:
        """The answer in a dealt text; None where the draw has no usable one."""
        return text.partition(" ")[2] or None

    def value(self, problem: Problem, answer: str) -> float:
        """The grade of an answer in [0, 1], the mean over its draws; 0 for an unknown one."""
        if problem.id not in self._values:
            self._values[problem.id] = self._values_of(problem.id)
        return self._values[problem.id].get(answer, 0.0)

    def check(self, problem: Problem, answer: str) -> bool:
        """Whether an answer's grade is at least 1/2."""
        return self.value(problem, answer) >= 0.5

    def _values_of(self, question: str) -> dict[str, float]:
        recording, p = self._recording, self._of_question.get(question)
        if p is None:
            return {}
        if recording.codes is None or recording.values is None:
            grades = recording.correct[p, : recording.sizes[p]].tolist()
            return {f"#{place}": grade for place, grade in enumerate(grades)}
        return dict(zip(recording.texts[p], recording.values[p].tolist(), strict=False))


class _OfDraws:
    """What verifiers that read a recorded number of each draw share."""

    wants: frozenset[str] = frozenset()
    derived = True
    oracle = False
    max_batch = 4096
    concurrency = 1

    def __init__(self, recording: Recording, name: str, numbers: FloatArray) -> None:
        self._places, self._numbers, self._name = _Places(recording), numbers, name
        content = blake2b(np.ascontiguousarray(numbers).tobytes(), digest_size=12).hexdigest()
        self.fingerprint = f"recorded:{name}:{content}"

    @property
    def name(self) -> str:
        """The name under which strategies ask for it."""
        return self._name

    async def score(self, work: Sequence[VerifyWork]) -> Sequence[Outcome]:
        """One outcome per work item; NaN where nothing was recorded.

        Raises:
            VerifierError: a mode other than "outcome", or a candidate that was not recorded.
        """
        return [self._outcome(item) for item in work]

    def _outcome(self, item: VerifyWork) -> Outcome:
        if item.mode != "outcome":
            raise VerifierError(
                f"`{self.name}` was recorded for whole answers, but a strategy asks in mode "
                f'{item.mode!r}. Use mode "outcome".'
            )
        (candidate,) = item.candidates
        p, place = self._places.find(candidate, item.problem)
        draw = Draw(value=float(self._numbers[p, place]), output_tokens=self._tokens(p, place))
        return Outcome([draw] * len(item.seeds))

    def _tokens(self, p: int, place: int) -> int:
        charged = self._places.recording.score_tokens.get(self.name)
        return int(_amount(charged, p, place))


class RecordedScores(_OfDraws):
    """A recorded column as a verifier.

    Args:
        recording: what was recorded.
        column: the column's name, which is also the verifier's.

    Raises:
        UsageError: no such column.
    """

    def __init__(self, recording: Recording, column: str) -> None:
        if column not in recording.columns:
            known = ", ".join(sorted(recording.columns)) or "none"
            raise UsageError(
                f"A verifier on a recording is one of its columns of numbers ({known}), but "
                f"{column!r} was not recorded in {recording.run!r}. Choose another verifier."
            )
        super().__init__(recording, column, recording.columns[column])


class RecordedExact(_OfDraws):
    """The draws' own grades as a verifier: an oracle, and therefore an upper bound.

    Args:
        recording: what was recorded.
    """

    oracle = True

    def __init__(self, recording: Recording) -> None:
        super().__init__(recording, "exact", recording.correct)
