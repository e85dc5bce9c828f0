"""Recorded draws as arrays: what replay, prediction and planning read.

One `Recording` is one run: a model in one configuration, whose draws of a question are
exchangeable. Letters: `P` questions, `N` most draws of a question, `A` most distinct answers of a
question, `R` repetitions (random orders).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from dwell.keys import rng_seed, stream_id

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
Values = TypeVar("Values", npt.NDArray[np.float64], npt.NDArray[np.int64])

#: Code of a draw without a usable answer: it costs, and casts no vote.
NO_ANSWER = -1
#: Columns that say what a draw took and cost.
SECONDS_COLUMNS = ("time_s", "duration_s", "latency_s", "seconds")
USD_COLUMNS = ("usd", "cost_usd")


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """The recorded draws of one run.

    Attributes:
        run: its id.
        model: the model's name.
        dataset: what the questions are from.
        questions: `[P]` ids.
        sizes: `[P]` recorded draws of each question.
        correct: `[P, N]` grade of each draw in [0, 1]; NaN beyond a question's size.
        codes: `[P, N]` number of each draw's answer within its question, `NO_ANSWER` where it has
            no usable vote and beyond the size; None if no answers were recorded.
        values: `[P, A]` grade of each answer, the mean over its draws; NaN beyond a question's
            number of answers. Equals 0 or 1 where equal answers are graded equally.
        texts: `[P]` the answers by code; empty if not recorded.
        tokens: `[P, N]` output tokens; None if not recorded.
        columns: `[P, N]` further numbers of each draw by name (scores, seconds, dollars), NaN
            where missing. These are the verifiers that a strategy may name.
        score_tokens: `[P, N]` verifier tokens that a score of that name was charged, where
            known; scores of tables are free.
        tags: `[P]` what reports group questions by, by name.
        rows: `[P, N]` number of each draw's row in its file, from 1; -1 beyond the size.
        turns: `[P, N]` turn number of each row where the rows of a question are successive
            attempts, -1 beyond the size; a sample begins where the turn does not rise. Such rows
            are not exchangeable, and no strategy that draws whole answers may be replayed on
            them. None for ordinary recordings.
    """

    run: str
    model: str
    dataset: str
    questions: tuple[str, ...]
    sizes: IntArray
    correct: FloatArray
    codes: IntArray | None = None
    values: FloatArray | None = None
    texts: tuple[tuple[str, ...], ...] = ()
    tokens: FloatArray | None = None
    columns: Mapping[str, FloatArray] = field(default_factory=dict)
    score_tokens: Mapping[str, FloatArray] = field(default_factory=dict)
    tags: Mapping[str, Sequence[str | float]] = field(default_factory=dict)
    rows: IntArray | None = None
    turns: IntArray | None = None

    @property
    def seconds(self) -> FloatArray | None:
        """`[P, N]` seconds that each draw took; None if not recorded."""
        return self._first_of(SECONDS_COLUMNS)

    @property
    def usd(self) -> FloatArray | None:
        """`[P, N]` dollars that each draw cost; None if not recorded."""
        return self._first_of(USD_COLUMNS)

    def _first_of(self, names: tuple[str, ...]) -> FloatArray | None:
        return next((self.columns[name] for name in names if name in self.columns), None)

    @property
    def most_draws(self) -> int:
        """N, the most draws of any question."""
        return int(self.sizes.max(initial=0))


def padded_rows(values: Values, sizes: IntArray) -> Values:
    """`[P, N]` from the draws of all questions in a row; NaN (or -1) beyond a question's size.

    Args:
        values: `[sum of sizes]`, float64 or int64.
        sizes: `[P]` draws of each question.

    Examples:
        >>> padded_rows(np.array([4, 5, 6]), np.array([1, 2])).tolist()
        [[4, -1], [5, 6]]
    """
    inside = np.arange(sizes.max(initial=0)) < np.asarray(sizes)[:, None]
    fill = np.nan if values.dtype.kind == "f" else -1
    padded = np.full(inside.shape, fill, dtype=values.dtype)
    padded[inside] = values
    return padded


def numbered_answers(
    answer: IntArray, labels: Sequence[str], sizes: IntArray, correct: FloatArray
) -> tuple[IntArray, tuple[tuple[str, ...], ...], FloatArray, int]:
    """Answers numbered within their question, by first appearance.

    Args:
        answer: `[sum of sizes]` which label each draw's answer is, -1 = no usable vote.
        labels: the different answers of all questions.
        sizes: `[P]` draws of each question.
        correct: `[sum of sizes]` grades.

    Returns:
        `[sum of sizes]` codes; the answers of each question by code; the mean grade of each
        `[P, A]`; and how many answers are graded both ways.

    Examples:
        >>> numbered_answers(np.array([1, 0, 1, 0]), ["a", "b"], np.array([3, 1]), np.ones(4))[0]
        array([0, 1, 0, 0])
    """
    count = len(sizes)
    index = np.repeat(np.arange(count), sizes)
    usable = np.flatnonzero(answer >= 0)
    codes = np.full(len(answer), NO_ANSWER, dtype=np.int64)
    if not len(usable):
        return codes, ((),) * count, np.full((count, 0), np.nan), 0
    pair = index[usable] * len(labels) + answer[usable]
    pairs, first, inverse = np.unique(pair, return_index=True, return_inverse=True)
    by_appearance = np.argsort(first)  # draws are sorted by question, so this is by question too
    number = np.empty(len(pairs), dtype=np.int64)
    number[by_appearance] = np.arange(len(pairs))
    group, question = number[inverse], pairs[by_appearance] // len(labels)
    offsets = np.searchsorted(question, np.arange(count + 1))
    codes[usable] = group - offsets[index[usable]]

    low, high = np.full(len(pairs), np.inf), np.full(len(pairs), -np.inf)
    np.minimum.at(low, group, correct[usable])
    np.maximum.at(high, group, correct[usable])
    mean = np.bincount(group, weights=correct[usable]) / np.bincount(group)
    # Equal grades are their own mean, without rounding.
    values = padded_rows(np.where(low == high, low, mean), np.diff(offsets))
    texts = [labels[code] for code in pairs[by_appearance] % len(labels)]
    bounds = offsets.tolist()
    of_questions = tuple(tuple(texts[a:b]) for a, b in zip(bounds[:-1], bounds[1:], strict=True))
    return codes, of_questions, values, int(np.sum(low != high))


def orders(recording: Recording, repetitions: int, seed: int = 0, *, first: int = 0) -> IntArray:
    """Random orders of each question's draws, without replacement.

    The generator that replays a recording deals draws in the same order, so that what is computed
    on these arrays equals what the driver does.

    Args:
        recording: what to order.
        repetitions: R.
        seed: decides all orders; repetition r is `stream_id(seed, r)`.
        first: number of the first repetition, for orders made in parts.

    Returns:
        `[R, P, N]` places of draws; beyond a question's size the place itself.
    """
    places = np.tile(
        np.arange(recording.correct.shape[1]), (repetitions, len(recording.questions), 1)
    )
    for r in range(repetitions):
        stream = stream_id(seed, first + r)
        for p, (question, size) in enumerate(
            zip(recording.questions, recording.sizes.tolist(), strict=True)
        ):
            places[r, p, :size] = order_of(question, stream, size)
    return places


@lru_cache(maxsize=20_000)  # runs of the same questions share their orders
def order_of(question: str, stream: str, size: int) -> IntArray:
    """The order `[size]` in which one stream deals the draws of one question; read-only."""
    order = np.random.default_rng(rng_seed(question, "order", stream)).permutation(size)
    order.setflags(write=False)
    return order
