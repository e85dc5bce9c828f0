"""Exchanges with the driver that several strategies share: whole answers, and scores.

Both are written to be used with `yield from`. They decide *what* is asked, never how it is served.
"""

from __future__ import annotations

from collections.abc import Generator as PyGenerator
from collections.abc import Sequence
from typing import Any

import numpy as np

from dwell.errors import UsageError
from dwell.records import Answer, Candidate, Problem
from dwell.requests import Generate, Mode, Verify
from dwell.strategies.parameters import check_name
from dwell.strategies.selection import FloatArray

Asking = PyGenerator[Any, Any, FloatArray]

#: Verifiers that compare candidates with each other: they see all of them in one request.
GROUP_VERIFIERS = frozenset({"agreement"})


def whole_answers(
    problem: Problem,
    n: int,
    temperature: float | None = None,
    max_tokens: int | None = None,
    *,
    member: bool = False,
) -> Generate:
    """The request for `n` fresh whole answers.

    Every strategy that draws whole answers asks exactly this, so all of them share the same
    recorded draws: the first 4 of best-of-64 are the 4 of majority@4.

    Args:
        problem: what to answer.
        n: how many.
        temperature: sampling temperature; None = the generator's default.
        max_tokens: cap on an answer; None = the generator's default.
        member: whether the problem is a member of the run's pool and is charged as such.
    """
    return Generate(
        problem.context(),
        n=n,
        problem=problem.id if member else None,
        temperature=temperature,
        max_tokens=max_tokens,
    )


def answers_of(candidates: Sequence[Candidate]) -> list[Answer]:
    """The extracted answers `[N]`, None where there is none."""
    return [candidate.answer for candidate in candidates]


def appraise(
    candidates: Sequence[Candidate],
    verifier: str,
    *,
    mode: Mode | None = None,
    member: str | None = None,
) -> Asking:
    """Scores `[B]` of candidates, NaN where not verified.

    A finished candidate is judged by its outcome, an unfinished one by its prefix. A finished
    candidate without an answer is not sent: it can never be chosen, so its score would be paid
    for nothing.

    Args:
        candidates: `[B]`.
        verifier: its name in the study.
        mode: None = as above; "group" = all in one request, which is the default for verifiers
            that compare candidates with each other.
        member: id of the pool's member that is charged; None = the run's problem.
    """
    scores = np.full(len(candidates), np.nan)
    places: dict[Mode, list[int]] = {}
    for place, candidate in enumerate(candidates):
        if candidate.finished and candidate.answer is None:
            continue
        own: Mode = "outcome" if candidate.finished else "prefix"
        if verifier in GROUP_VERIFIERS:
            own = "group"
        places.setdefault(mode or own, []).append(place)
    if not places:
        return scores
    replies = yield [
        Verify(tuple(candidates[i] for i in chosen), verifier, asked, problem=member)
        for asked, chosen in places.items()
    ]
    for chosen, reply in zip(places.values(), replies, strict=True):
        scores[chosen] = reply
    return scores


def check_lone(name: str, verifier: str) -> None:
    """Refuse verifiers that compare answers, where each answer is to be judged alone.

    Raises:
        UsageError: it is one of those, or no name.
    """
    check_name(name, verifier)
    if verifier in GROUP_VERIFIERS:
        raise UsageError(
            f"`{name}` must judge an answer alone, but got {name}={verifier!r}, which compares "
            "answers with each other. Choose another verifier, or best_of_n."
        )
