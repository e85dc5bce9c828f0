"""One budget over many questions: what strategies for pools share.

A pool is a problem with members; a strategy for pools names the member that each request is
charged to and returns a mapping from member to answer. The scale n is the *average* number of
draws a question: the pool may use n times its number of questions, and spends where the votes are
unsettled instead of everywhere alike. The driver has no special case for it.
"""

from __future__ import annotations

from collections.abc import Generator as PyGenerator
from collections.abc import Sequence
from typing import Any

from dwell.errors import UsageError
from dwell.records import Answer, Problem
from dwell.strategies.selection import majority

#: A strategy's generator function that returns a mapping of answers.
Pooling = PyGenerator[Any, Any, Any]


def members_of(problem: Problem) -> tuple[Problem, ...]:
    """The questions of a pool.

    Raises:
        UsageError: the problem is not a pool.
    """
    if not problem.members:
        raise UsageError(
            f"A pooled strategy solves a problem with members, but got problem {problem.id!r} "
            "without any. Put the problems into `Problem(members=...)`."
        )
    return problem.members


def voted(members: Sequence[Problem], answers: Sequence[Sequence[Answer]]) -> dict[str, Answer]:
    """The majority of each member's answers."""
    return {member.id: majority(given) for member, given in zip(members, answers, strict=True)}
