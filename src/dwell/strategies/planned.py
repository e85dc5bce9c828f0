"""Strategy `plan`: executes the policy of a plan file.

It asks what its routes' strategies ask: the probe's draws are the first draws of the strategy
that goes on, so nothing is drawn or charged twice.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from dwell.errors import OutOfBudget, UsageError
from dwell.protocols import Strategy
from dwell.records import Candidate, Problem
from dwell.requests import Emit, Solution
from dwell.strategies.asking import answers_of, appraise, whole_answers
from dwell.strategies.confidence import (
    Confidence,
    confidence_record,
    read_confidence,
    verifier_of,
)
from dwell.strategies.parameters import check_int, check_name
from dwell.strategies.policy import Parse, Policy, policy_record, read_policy
from dwell.strategies.relaying import Seen, reusing, watched
from dwell.strategies.selection import FloatArray, majority
from dwell.streams import Replayed, Streams

#: Version of the plan file that this code reads and `dwell plan` writes.
PLAN_VERSION = 2
#: Version 1 had no confidence.
_READABLE = (1, PLAN_VERSION)


@dataclass(frozen=True, kw_only=True)
class Planned(Strategy):
    """Do with each question what a plan says: probe, look, take the route.

    Attributes:
        file: the plan, as `dwell plan --out` wrote it; read when the strategy is made.
        n: most draws a question, at least 1; None = what the plan says.
        digest: names the policy; None takes the file's. If given it must be the file's, so that a
            run that is resumed or repeated is not silently another one.

    References:
        Snell et al., "Scaling LLM Test-Time Compute Optimally can be More Effective than Scaling
        Model Parameters" (2024), section 3: the strategy is chosen by estimated difficulty. Here
        the draws that estimate it are charged, and used again.
    """

    name = "plan"
    paper = "Snell et al. 2024, compute-optimal test-time scaling"
    #: Makes a strategy from its text; set by the registry, which knows them all.
    parse: ClassVar[Parse]

    file: str
    n: int | None = None
    digest: str | None = None

    def __post_init__(self) -> None:
        check_name("file", self.file)
        if self.n is not None:
            check_int("n", self.n, least=1)
        record = read_plan_file(self.file)
        policy = read_policy(record.get("policy"), type(self).parse, self.file)
        sure = confidence_of(record, policy, self.file)
        found = digest_of(policy, sure)
        if self.digest not in (None, found):
            raise UsageError(
                f"A plan must be the one that the run was made with, but {self.file} now holds "
                f"{found} where {self.digest} was used. Give the new plan another file name."
            )
        capped = policy if self.n is None else policy.capped(self.n)
        if capped != policy:
            sure = None  # what was learnt of the whole policy does not hold for a shorter one
        kept = {
            "digest": found,
            "policy": capped,
            "sure": sure,
            "needs": _needs(capped),
            "abstains": sure is not None and sure.at_least is not None,
        }
        for key, value in kept.items():
            object.__setattr__(self, key, value)

    @property
    def _policy(self) -> Policy:
        found: Policy = self.__dict__["policy"]
        return found

    @property
    def _confidence(self) -> Confidence | None:
        found: Confidence | None = self.__dict__["sure"]
        return found

    def verifiers(self) -> frozenset[str]:
        """Names of the verifiers of the routes, and of the probe."""
        own = {self._policy.score} if self._policy.score else set()
        return frozenset(own).union(*(r.strategy.verifiers() for r in self._policy.routes))

    def solve(self, problem: Problem, rng: np.random.Generator) -> Solution:
        """Probe, look, go on; say how sure the answer is, and decline where that is too little.

        A plan that may decline does so, too, where its budget ends before it does: what is known
        of its answers holds for whole runs.
        """
        if self._confidence is None:
            return (yield from self._follow(problem, rng, []))
        seen, taken = Seen(), list[int]()
        try:
            answer = yield from watched(self._follow(problem, rng, taken), seen)
        except OutOfBudget:
            if self.abstains:
                return None
            raise
        if seen.cut:
            return None if self.abstains else answer
        route = self._policy.routes[taken[-1]].strategy
        sure = self._confidence.of_one(route, *seen.ending(answer, verifier_of(route)))
        yield Emit(answer, sure)
        return answer if self._confidence.answers(math.nan if sure is None else sure) else None

    def _follow(self, problem: Problem, rng: np.random.Generator, taken: list[int]) -> Solution:
        """Probe, look, go on; put the number of the route into `taken`."""
        policy = self._policy
        held: tuple[Candidate, ...] = ()
        scores: FloatArray | None = None
        if policy.probe:
            try:
                held = yield whole_answers(problem, policy.probe)
            except OutOfBudget as stop:
                yield Emit(majority(answers_of(stop.partial)))
                raise
            yield Emit(majority(answers_of(held)))
            if policy.score is not None:
                scores = yield from appraise(held, policy.score)
        taken.append(int(policy.route(_one_stream(held, policy.score, scores))))
        route = policy.routes[taken[-1]].strategy
        return (yield from reusing(held, problem, route.solve(problem, rng.spawn(1)[0])))

    def replay(self, streams: Streams) -> Replayed | None:
        """What the policy does on recorded streams, all at once."""
        found = self._policy.replay(streams)
        if found is None or not self.abstains:
            return found
        sure = self.confidence(streams, found)
        assert self._confidence is not None
        assert sure is not None
        given = self._confidence.answers(sure)
        place = None if found.place is None else np.where(given, found.place, -1)
        return Replayed(drawn=found.drawn, chosen=np.where(given, found.chosen, -1), place=place)

    def confidence(self, streams: Streams, found: Replayed) -> FloatArray | None:
        """`[...]` probability that each answer of the policy is right; None without a map.

        Args:
            streams: the draws.
            found: what the policy made of them, before anything is withheld.
        """
        if self._confidence is None:
            return None
        routes = [route.strategy for route in self._policy.routes]
        return self._confidence.of(routes, self._policy.route(streams), streams, found)


def _one_stream(
    held: Sequence[Candidate], score: str | None, scores: FloatArray | None
) -> Streams:
    """The draws of one question in the form that policies look at."""
    known: dict[str, int] = {}
    codes = [-1 if a is None else known.setdefault(a, len(known)) for a in answers_of(held)]
    return Streams(
        codes=np.array(codes, np.int64),
        sizes=np.array(len(codes)),
        scores={} if score is None or scores is None else {score: scores},
    )


def _needs(policy: Policy) -> frozenset[str]:
    return frozenset[str]().union(*(route.strategy.needs for route in policy.routes))


def digest_of(policy: Policy, sure: Confidence | None = None) -> str:
    """Eight hexadecimal digits that name what a policy answers.

    A confidence that never withholds an answer changes none, and is not part of it.
    """
    record = policy_record(policy)
    if sure is not None and sure.at_least is not None:
        record["confidence"] = confidence_record(sure)
    text = json.dumps(record, sort_keys=True)
    return blake2b(text.encode(), digest_size=4).hexdigest()


def confidence_of(record: Mapping[str, Any], policy: Policy, source: str) -> Confidence | None:
    """The confidence in a plan's table; None where it has none.

    Raises:
        UsageError: it is damaged, or of another policy: one that was edited by hand.
    """
    sure = read_confidence(record.get("confidence"), source)
    if sure is not None and record["confidence"].get("policy", digest_of(policy)) != digest_of(
        policy
    ):
        raise UsageError(
            f"A plan's confidence must be that of its policy, but the policy in {source} was "
            "changed. Set `confidence` to null, or make the plan again."
        )
    return sure


def read_plan_file(path: str | Path) -> dict[str, Any]:
    """The table in a plan file.

    Raises:
        UsageError: it cannot be read, is not JSON, or is no plan of this version.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = "not UTF-8 text" if isinstance(error, UnicodeDecodeError) else error.strerror
        raise UsageError(
            f"A plan must be a file, but {path} cannot be read ({reason}). "
            "Name what `dwell plan --out` wrote."
        ) from error
    try:
        record = json.loads(text)
    except ValueError as error:
        raise UsageError(
            f"A plan must be JSON, but {path} is not ({error}). Make it again with `dwell plan`."
        ) from error
    version = record.get("dwell_plan") if isinstance(record, dict) else None
    if version not in _READABLE:
        raise UsageError(
            f"A plan must have `dwell_plan`: {PLAN_VERSION}, but {path} has {version!r}. "
            "Make it again with `dwell plan` of this version."
        )
    return dict(record)
