"""How missing draws are made: queues of jobs, batches, limits on spending, and the calls.

What comes back waits in `arrived` for the loop, which records it before anybody sees it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from dwell.budget import check_limits
from dwell.driver.keyring import Key
from dwell.errors import LedgerError, UsageError
from dwell.keys import draw_seeds
from dwell.ledger import Ledger
from dwell.protocols import (
    Annotates,
    Attempt,
    GenerateWork,
    Generator,
    Outcome,
    Perturbs,
    Priced,
    PricedScores,
    VerifyWork,
)
from dwell.records import Candidate, Draw, Problem
from dwell.requests import Generate, Perturb, Request, Run, Verify

#: How long draws wait to be recorded that a source hands over before the rest of their request.
EARLY_SECONDS = 0.002


@dataclass(slots=True)
class Job:
    """Missing draws of one key, on their way to its source.

    Attributes:
        bare: the draws are recorded and lack only statistics.
        early: indices of draws that its source handed over before the rest.
    """

    key: Key
    request: Request
    problem: Problem
    indices: list[int]
    candidates: tuple[Candidate, ...] = ()
    bare: bool = False
    early: set[int] = field(default_factory=set)

    def seeds(self) -> list[int]:
        """The seed of each draw; indices may have gaps."""
        indices = self.indices
        if indices[-1] - indices[0] + 1 == len(indices):
            return draw_seeds(self.key.hash, indices[0], len(indices))
        return [draw_seeds(self.key.hash, i, 1)[0] for i in indices]


@dataclass(slots=True)
class Arrival:
    """What came back from one call: an outcome a job, or the error that ended the call."""

    jobs: list[Job]
    outcomes: Sequence[Outcome] = ()
    error: BaseException | None = None


class _Queue:
    """Jobs that wait for one source, and how many of its calls are in flight."""

    __slots__ = ("calls", "jobs", "source")

    def __init__(self, source: Any) -> None:
        self.source = source
        self.jobs: deque[Job] = deque()
        self.calls = 0


class SpendLimits:
    """Hard limits on newly paid work: a call's cap is reserved when it is sent.

    Args:
        limits: by kind; "calls" (draws), "output_tokens", "usd" and "seconds" can be limited.
            Seconds are those that the driver runs this time; the driver keeps them itself.

    Raises:
        UsageError: another kind.
    """

    KINDS = ("calls", "output_tokens", "usd", "seconds")
    _COUNTED = ("calls", "output_tokens", "usd")

    def __init__(self, limits: Mapping[str, float] | None) -> None:
        self.limits = check_limits(limits or {})
        if unknown := set(self.limits) - set(self.KINDS):
            raise UsageError(
                f"A limit on spending counts {' or '.join(self.KINDS)}, "
                f"but got {', '.join(sorted(unknown))}. Use one of those."
            )
        self.seconds = self.limits.get("seconds")
        self.spent = dict.fromkeys(self._COUNTED, 0.0)
        self._counted = {k: v for k, v in self.limits.items() if k != "seconds"}
        self._reserved = dict.fromkeys(self._COUNTED, 0.0)

    def reserve(self, job: Job) -> bool:
        """Reserve the cap of a job; False if it does not fit."""
        if not self._counts(job):
            return True
        cap = self._cap(job)
        for kind, limit in self._counted.items():
            if self.spent[kind] + self._reserved[kind] + cap[kind] > limit:
                return False
        for kind, amount in cap.items():
            self._reserved[kind] += amount
        return True

    def release(self, job: Job) -> None:
        """Give back what was reserved for a job that came back."""
        if self._counts(job):
            for kind, amount in self._cap(job).items():
                self._reserved[kind] -= amount

    def pay(self, draw: Draw) -> None:
        """Count a new draw."""
        self.spent["calls"] += 1
        self.spent["output_tokens"] += draw.output_tokens
        self.spent["usd"] += draw.usd

    def pay_score(self, draw: Draw) -> None:
        """Count the dollars of a new score; its tokens are a verifier's."""
        self.spent["usd"] += draw.usd

    def pay_attempt(self, attempt: Attempt) -> None:
        """Count what a failed or cancelled try cost."""
        self.spent["output_tokens"] += attempt.usage.output_tokens
        self.spent["usd"] += attempt.usage.usd

    def _counts(self, job: Job) -> bool:
        if not self._counted or job.bare:
            return False
        return job.key.op == "generate" or isinstance(job.key.source, PricedScores)

    def _cap(self, job: Job) -> dict[str, float]:
        count, source = len(job.indices), job.key.source
        if isinstance(source, PricedScores):
            return {"calls": 0, "output_tokens": 0, "usd": source.most_usd_of(_verify_work(job))}
        assert isinstance(job.request, Generate)
        tokens = job.request.max_tokens or source.default_max_tokens
        usd = source.most_usd(job.request) if isinstance(source, Priced) else 0.0
        return {"calls": count, "output_tokens": tokens * count, "usd": usd * count}


class Dispatcher:
    """Sends jobs to their sources in batches.

    Attributes:
        arrived: what came back and is not yet recorded.
        wake: set whenever something arrives.
        in_flight: draws being made.
    """

    def __init__(self, ledger: Ledger, wants: frozenset[str], limits: SpendLimits) -> None:
        self.arrived: list[Arrival] = []
        self.wake = asyncio.Event()
        self.in_flight = 0
        self._ledger, self._wants, self._limits = ledger, wants, limits
        self._queues: dict[int, _Queue] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._soon: asyncio.TimerHandle | None = None

    @property
    def busy(self) -> bool:
        """Whether a call is in flight."""
        return bool(self._tasks)

    @property
    def held(self) -> bool:
        """Whether jobs wait to be sent."""
        return any(queue.jobs for queue in self._queues.values())

    def enqueue(self, job: Job) -> None:
        """Add a job to its source's queue."""
        source = job.key.source
        self._queues.setdefault(id(source), _Queue(source)).jobs.append(job)

    def send(self) -> None:
        """Start as many calls as concurrency and limits allow."""
        for queue in self._queues.values():
            while queue.jobs and queue.calls < queue.source.concurrency:
                jobs = self._batch(queue)
                if not jobs:
                    break
                queue.calls += 1
                self.in_flight += sum(len(job.indices) for job in jobs)
                task = asyncio.ensure_future(self._call(queue, jobs))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)

    async def stop(self) -> None:
        """Cancel the calls in flight."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._soon is not None:
            self._soon.cancel()
            self._soon = None

    def _batch(self, queue: _Queue) -> list[Job]:
        """The next jobs: as many draws as the source takes in a call, and limits allow."""
        taken: list[Job] = []
        room = getattr(queue.source, "max_batch", 1)
        while queue.jobs and (not taken or room >= len(queue.jobs[0].indices)):
            if not self._limits.reserve(queue.jobs[0]):
                break
            taken.append(queue.jobs.popleft())
            room -= len(taken[-1].indices)
        return taken

    async def _call(self, queue: _Queue, jobs: list[Job]) -> None:
        """One call of a source; whatever comes back is queued for the loop."""
        arrival = Arrival(jobs)
        try:
            arrival.outcomes = _checked(await self._serve(queue.source, jobs), jobs)
        except (Exception, asyncio.CancelledError) as error:  # the loop decides what it means
            arrival.error = error
        for place, job in enumerate(jobs):
            if job.early:
                self._leave_the_rest(arrival, place, job)
        queue.calls -= 1
        self.in_flight -= sum(len(job.indices) for job in jobs)
        self.arrived.append(arrival)
        self.wake.set()

    def _take_early(self, job: Job, places: Sequence[int], outcome: Outcome) -> None:
        """Queue what a source has of a job before the rest is there."""
        indices = [job.indices[place] for place in places]
        job.early.update(indices)
        self.in_flight -= len(indices)
        part = Job(job.key, job.request, job.problem, indices, job.candidates)
        self.arrived.append(Arrival([part], [outcome]))
        if self._soon is None:  # others come with it; nobody can go on before the last of them
            self._soon = asyncio.get_running_loop().call_later(EARLY_SECONDS, self._wake_soon)

    def _wake_soon(self) -> None:
        self._soon = None
        self.wake.set()

    def _leave_the_rest(self, arrival: Arrival, place: int, job: Job) -> None:
        """Take out of a job what was handed over early."""
        rest = [k for k, i in enumerate(job.indices) if i not in job.early]
        job.indices = [job.indices[k] for k in rest]
        if arrival.error is None:
            outcome = arrival.outcomes[place]
            left = Outcome([outcome.draws[k] for k in rest], outcome.attempts)
            arrival.outcomes = [*arrival.outcomes[:place], left, *arrival.outcomes[place + 1 :]]

    async def _serve(self, source: Any, jobs: list[Job]) -> Sequence[Outcome]:
        request = jobs[0].request
        if isinstance(request, Generate):
            return await self._generate(source, jobs)
        if isinstance(request, Verify):
            return list(await source.score([_verify_work(job) for job in jobs]))
        return [Outcome([await _single(source, job)]) for job in jobs]

    async def _generate(self, source: Generator, jobs: list[Job]) -> Sequence[Outcome]:
        """Make draws, or only their missing statistics where the draws are recorded."""
        outcomes: list[Outcome] = [Outcome(())] * len(jobs)
        new = []
        for place, job in enumerate(jobs):
            if job.bare:
                outcomes[place] = await self._annotate(source, job)
            else:
                new.append(place)
        if new:
            work = [self._generate_work(jobs[place]) for place in new]
            for place, outcome in zip(new, await source.generate(work), strict=True):
                outcomes[place] = outcome
        return outcomes

    def _generate_work(self, job: Job) -> GenerateWork:
        request = job.request
        assert isinstance(request, Generate)
        if not self._wants <= request.want:
            request = replace(request, want=request.want | self._wants)
        return GenerateWork(
            request=request,
            seeds=job.seeds(),
            indices=job.indices,
            problem=job.problem,
            stream=job.key.info[2],
            early=partial(self._take_early, job),
        )

    async def _annotate(self, source: Generator, job: Job) -> Outcome:
        """Recorded draws with the statistics that they lack."""
        request, row = job.request, job.key.row
        assert isinstance(request, Generate)
        assert row is not None
        if not isinstance(source, Annotates):
            raise LedgerError(
                f"Recorded draws must carry {', '.join(sorted(self._wants))} for these "
                "strategies, but they were recorded without, and the generator cannot add "
                "them. Leave those strategies out, or choose another folder with --out."
            )
        found = self._ledger.draws(row, job.indices[0], job.indices[-1] + 1)
        draws = [found[i] for i in job.indices]
        stats = await source.annotate([(request.context, d.text) for d in draws], self._wants)
        for draw, added in zip(draws, stats, strict=True):
            draw.stats = {**(draw.stats or {}), **added}
        return Outcome(draws)


def _checked(outcomes: Sequence[Outcome], jobs: Sequence[Job]) -> Sequence[Outcome]:
    """The same outcomes, one a job with one draw a seed.

    Raises:
        UsageError: the source returned another number.
    """
    got = [len(outcome.draws) for outcome in outcomes]
    asked = [len(job.indices) for job in jobs]
    if got != asked:
        source = jobs[0].key.source
        raise UsageError(
            f"A source returns one draw for each seed, but {source.fingerprint} was asked for "
            f"{asked[:8]} and returned {got[:8]}. Mend that generator or verifier."
        )
    return outcomes


def _verify_work(job: Job) -> VerifyWork:
    request = job.request
    assert isinstance(request, Verify)
    return VerifyWork(
        candidates=job.candidates, problem=job.problem, mode=request.mode, seeds=job.seeds()
    )


async def _single(source: Any, job: Job) -> Draw:
    request, seed = job.request, job.seeds()[0]
    if isinstance(request, Run):
        draw: Draw = await source.run(request, seed)
        return draw
    if isinstance(source, Perturbs) and isinstance(request, Perturb):
        return await source.perturb(request, seed)
    raise UsageError(
        "A strategy that perturbs latent states needs a generator that can, but this one cannot."
        " Choose another strategy or generator."
    )
