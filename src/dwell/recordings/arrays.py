"""Recorded draws as arrays: what replay, prediction and planning read.

One `Recording` is one run: a model in one configuration, whose draws of a question are
exchangeable. Letters: `P` questions, `N` most draws of a question, `A` most distinct answers of a
question, `R` repetitions (random orders).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from dwell.keys import rng_seed, stream_id

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

#: Code of a draw without a usable answer: it costs, and casts no vote.
NO_ANSWER = -1


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
        tags: `[P]` what reports group questions by, by name.
        rows: `[P, N]` number of each draw's row in its file, -1 beyond the size.
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
    tags: Mapping[str, Sequence[str | float]] = field(default_factory=dict)
    rows: IntArray | None = None

    @property
    def most_draws(self) -> int:
        """N, the most draws of any question."""
        return int(self.sizes.max(initial=0))


def orders(recording: Recording, repetitions: int, seed: int = 0) -> IntArray:
    """Random orders of each question's draws, without replacement.

    The generator that replays a recording deals draws in the same order, so that what is computed
    on these arrays equals what the driver does.

    Args:
        recording: what to order.
        repetitions: R.
        seed: decides all orders; repetition r is `stream_id(seed, r)`.

    Returns:
        `[R, P, N]` places of draws; beyond a question's size the place itself.
    """
    places = np.tile(
        np.arange(recording.correct.shape[1]), (repetitions, len(recording.questions), 1)
    )
    for r in range(repetitions):
        stream = stream_id(seed, r)
        for p, (question, size) in enumerate(
            zip(recording.questions, recording.sizes.tolist(), strict=True)
        ):
            places[r, p, :size] = order_of(question, stream, size)
    return places


def order_of(question: str, stream: str, size: int) -> IntArray:
    """The order `[size]` in which one stream deals the draws of one question."""
    return np.random.default_rng(rng_seed(question, "order", stream)).permutation(size)
