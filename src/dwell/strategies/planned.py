"""Strategy `plan`: executes the policy of a plan file.

It asks what its routes' strategies ask: the probe's draws are the first draws of the strategy
that goes on, so nothing is drawn or charged twice.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from dwell.errors import OutOfBudget, UsageError
from dwell.protocols import Strategy
from dwell.records import Candidate, Problem
from dwell.requests import Emit, Generate, Solution
from dwell.strategies.asking import answers_of, appraise, whole_answers
from dwell.strategies.parameters import check_int, check_name
from dwell.strategies.policy import Parse, Policy, policy_record, read_policy
from dwell.strategies.selection import FloatArray, majority
from dwell.streams import Replayed, Streams

#: Version of the plan file that this code reads and `dwell plan` writes.
PLAN_VERSION = 1


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
        policy = read_policy(read_plan_file(self.file).get("policy"), type(self).parse, self.file)
        found = digest_of(policy)
        if self.digest not in (None, found):
            raise UsageError(
                f"A plan must be the one that the run was made with, but {self.file} now holds "
                f"{found} where {self.digest} was used. Give the new plan another file name."
            )
        policy = policy if self.n is None else policy.capped(self.n)
        for key, value in {"digest": found, "policy": policy, "needs": _needs(policy)}.items():
            object.__setattr__(self, key, value)

    @property
    def _policy(self) -> Policy:
        found: Policy = self.__dict__["policy"]
        return found

    def verifiers(self) -> frozenset[str]:
        """Names of the verifiers of the routes, and of the probe."""
        own = {self._policy.score} if self._policy.score else set()
        return frozenset(own).union(*(r.strategy.verifiers() for r in self._policy.routes))

    def solve(self, problem: Problem, rng: np.random.Generator) -> Solution:
        """Probe, look, go on."""
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
        number = int(policy.route(_one_stream(held, policy.score, scores)))
        route = policy.routes[number].strategy
        return (yield from reusing(held, problem, route.solve(problem, rng.spawn(1)[0])))

    def replay(self, streams: Streams) -> Replayed | None:
        """What the policy does on recorded streams, all at once."""
        return self._policy.replay(streams)


def reusing(held: Sequence[Candidate], problem: Problem, solution: Solution) -> Solution:
    """Run a strategy whose first whole answers are drawn already.

    Args:
        held: draws 0, 1, ... of the question; each is delivered once and not asked for again.
        problem: the question.
        solution: the strategy at work.
    """
    plain = whole_answers(problem, 1)
    reply: Any = None
    stop: OutOfBudget | None = None
    while True:
        try:
            request = solution.send(reply) if stop is None else solution.throw(stop)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]
        stop = None
        taken: tuple[Candidate, ...] = ()
        if isinstance(request, Generate) and replace(request, n=1) == plain:
            taken, held = tuple(held[: request.n]), held[request.n :]
            request = replace(request, n=request.n - len(taken))
        try:
            reply = (yield request) if not taken or request.n else ()
        except OutOfBudget as met:
            met.partial = (*taken, *met.partial) if taken else met.partial
            stop = met
        else:
            reply = (*taken, *reply) if taken else reply


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


def digest_of(policy: Policy) -> str:
    """Eight hexadecimal digits that name what a policy does."""
    text = json.dumps(policy_record(policy), sort_keys=True)
    return blake2b(text.encode(), digest_size=4).hexdigest()


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
    if version != PLAN_VERSION:
        raise UsageError(
            f"A plan must have `dwell_plan`: {PLAN_VERSION}, but {path} has {version!r}. "
            "Make it again with `dwell plan` of this version."
        )
    return dict(record)
