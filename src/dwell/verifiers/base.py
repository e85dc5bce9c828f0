"""What verifiers of single candidates share: the loop over work, and the statistics they need.

A verifier knows candidates and what they carry. It does not know which model wrote them, which
strategy asks, or what else is recorded.
"""

from __future__ import annotations

import hashlib
import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from dwell.errors import VerifierError
from dwell.protocols import Outcome, VerifyWork
from dwell.records import Candidate, Draw, Problem

T = TypeVar("T")

NOT_VERIFIED = math.nan


class CandidateVerifier(ABC):
    """A verifier whose score of a candidate depends on that candidate alone, and is free.

    Attributes:
        name: what strategies call it.
        version: raised when the same candidate would get another score.
        wants: statistics that candidates must carry.
    """

    name: str = ""
    version: int = 1
    wants: frozenset[str] = frozenset()
    derived: bool = True
    oracle: bool = False
    max_batch: int = 4096
    concurrency: int = 1

    def __init__(self) -> None:
        self.fingerprint = f"{self.name}:{self.version}"

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"

    @abstractmethod
    def value(self, candidate: Candidate, problem: Problem, *, prefix: bool) -> float:
        """The score of one candidate; NaN = not verified."""

    async def score(self, work: Sequence[VerifyWork]) -> Sequence[Outcome]:
        """One outcome per work item; a failed draw is not verified (NaN).

        Raises:
            VerifierError: a candidate lacks a statistic.
        """
        return [self._outcome(item) for item in work]

    def _outcome(self, item: VerifyWork) -> Outcome:
        prefix = item.mode == "prefix"
        values = [
            NOT_VERIFIED if c.status == "failed" else self.value(c, item.problem, prefix=prefix)
            for c in item.candidates
        ]
        return Outcome([Draw(value=value) for value in repeated(values, item)])


def repeated(values: Sequence[T], item: VerifyWork) -> list[T]:
    """The values of a work item's candidates, once for each time that it is asked.

    A group is asked ``len(seeds) / len(candidates)`` times, but once at least; another mode
    has one candidate, asked once per seed.
    """
    if item.mode == "group":
        return [*values] * max(1, len(item.seeds) // max(1, len(item.candidates)))
    return [values[0]] * len(item.seeds)


def outcomes_of(work: Sequence[VerifyWork], draws: Iterable[Draw]) -> list[Outcome]:
    """One outcome per work item, from one draw for each candidate that did not fail, in order."""
    found = iter(draws)
    outcomes = []
    for item in work:
        own = [
            Draw(value=NOT_VERIFIED) if c.status == "failed" else next(found)
            for c in item.candidates
        ]
        outcomes.append(Outcome([replace(draw) for draw in repeated(own, item)]))
    return outcomes


def statistic(candidate: Candidate, name: str, verifier: str) -> Any:
    """A statistic that a candidate carries.

    Raises:
        VerifierError: it carries none of that name.
    """
    found = candidate.stats.get(name)
    if found is None:
        raise VerifierError(
            f"the verifier {verifier} needs candidates with the statistic `{name}`, but the "
            f"generator gave none. Use a generator that provides it, or another verifier."
        )
    return found


def short_hash(*parts: object) -> str:
    """32 hexadecimal digits that name some parts."""
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:32]
