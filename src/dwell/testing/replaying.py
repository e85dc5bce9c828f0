"""Random streams of whole answers, and strategies played on them draw by draw.

`Strategy.replay` computes on arrays what `Strategy.solve` would do. Here `solve` is played on
the very streams, which says what replay must give.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np

from dwell.protocols import Strategy
from dwell.records import Answer, Candidate, Problem
from dwell.requests import Generate, Verify
from dwell.streams import Replayed, Streams
from dwell.testing.player import play

#: Questions in each pool of random streams.
POOL_SIZE = 17


class _TooShort(Exception):
    """A strategy asked for a draw that the stream does not hold."""


def random_streams(seed: int, verifiers: frozenset[str], *, num: int, length: int) -> Streams:
    """Streams `[num, POOL_SIZE, length]` with what is hard: ties, gaps, missing scores.

    Some questions have one likely answer, some many; a sixth of the draws has none; scores are
    coarse (so that they tie), a fifth is missing, and some streams have negative ones or none at
    all. In every other row half of the streams are shorter than `length`.
    """
    rng = np.random.default_rng(seed)
    shape = (num, POOL_SIZE, length)
    spread = rng.integers(1, 6, shape[:2])[..., None]
    codes = np.where(rng.random(shape) < 1 / 6, -1, (rng.random(shape) * spread).astype(int))
    short = (rng.random(shape[:2]) < 0.5) & (np.arange(num) % 2 == 1)[:, None]
    sizes = np.where(short, rng.integers(0, length + 1, shape[:2]), length)
    scores = {}
    for name in sorted(verifiers):
        values = np.round(rng.random(shape) * 10) / 10
        values = np.where(rng.random(shape[:2])[..., None] < 0.1, values - 0.7, values)
        missing = rng.random(shape) < np.where(rng.random(shape[:2]) < 0.1, 1.0, 0.2)[..., None]
        scores[name] = np.where(missing, np.nan, values)
    return Streams(codes=codes, sizes=sizes, scores=scores)


def play_streams(strategy: Strategy, streams: Streams) -> Replayed:
    """What `solve` does on streams `[R, P, N]`: draws used and the code of the answer given.

    Draws are -1 where a stream is too short, for a pooled strategy everywhere in that pool.
    """
    num_rows, num_questions, _ = streams.codes.shape
    drawn, chosen = np.full((2, num_rows, num_questions), -1)
    for row in range(num_rows):
        if strategy.pooled:
            places = list(range(num_questions))
            drawn[row, :], chosen[row, :] = _play(strategy, streams, row, places)
        else:
            for place in range(num_questions):
                used, answers = _play(strategy, streams, row, [place])
                drawn[row, place], chosen[row, place] = used[0], answers[0]
    return Replayed(drawn=drawn, chosen=chosen)


def _play(
    strategy: Strategy, streams: Streams, row: int, places: list[int]
) -> tuple[list[int], list[int]]:
    """Draws and codes of one run on the questions `places` of one row."""
    members = [Problem(id=str(place), prompt=str(place)) for place in places]
    problem = Problem(id="pool", prompt="", members=tuple(members))
    used: Counter[str] = Counter()

    def reply(request: Any) -> list[Any]:
        if isinstance(request, Verify):
            return [_score(streams, row, c, request.verifier) for c in request.candidates]
        assert isinstance(request, Generate)
        name = request.context.messages[0][1]
        first, size = used[name], int(streams.sizes[row, int(name)])
        used[name] += request.n
        if used[name] > size:
            raise _TooShort
        return [
            _candidate(request, int(streams.codes[row, int(name), i]), i)
            for i in range(first, first + request.n)
        ]

    try:
        played = play(strategy, problem if strategy.pooled else members[0], reply)
    except _TooShort:
        return [-1] * len(places), [-1] * len(places)
    given: Any = played.answer
    answers = given if isinstance(given, Mapping) else {members[0].id: given}
    return [used[m.id] for m in members], [_code(answers[m.id]) for m in members]


def _candidate(request: Generate, code: int, index: int) -> Candidate:
    answer = str(code) if code >= 0 else None
    return Candidate(request.context, f"{index}\n{answer}", "end", answer, index)


def _score(streams: Streams, row: int, candidate: Candidate, verifier: str) -> float:
    place = int(candidate.context.messages[0][1])
    score = float(streams.scores[verifier][row, place, candidate.index])
    return math.nan if candidate.answer is None else score


def _code(answer: Answer) -> int:
    return -1 if answer is None else int(answer)
