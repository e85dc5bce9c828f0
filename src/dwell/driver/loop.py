"""The turn of the engine: launch, deliver, ask, record.

Runs that want the same missing draw wait for one call; a draw is committed before it is
delivered. This is the only place that knows about concurrency.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, NoReturn

import numpy as np

from dwell.driver.dispatch import Arrival, Dispatcher, Job, SpendLimits
from dwell.driver.keyring import Key, Keyring, verified_groups
from dwell.driver.session import Session
from dwell.driver.threads import Order, Unit
from dwell.errors import (
    DwellError,
    GeneratorError,
    SpendLimitReached,
    StrategyError,
    UsageError,
)
from dwell.keys import rng_seed, stream_id
from dwell.ledger import Ledger, storable
from dwell.protocols import Attempt, Environment, Generator, Outcome, Strategy, Task, Verifier
from dwell.records import Problem, Usage
from dwell.requests import Request, Verify

#: Runs launched in one turn of the loop.
LAUNCHES_PER_TURN = 64
#: Rows buffered before answers alone make a commit.
ROWS_PER_COMMIT = 2000


@dataclass(frozen=True, slots=True, kw_only=True)
class RunPlan:
    """One run to make.

    Attributes:
        name: unique in the ledger; a finished run of that name is not made again.
        strategy: what to run.
        problem: what to solve, with its reference.
        repetition: which stream of draws it uses.
        limits: the run's budget by kind of usage.
        on_reply: called with each request and what was delivered of its reply.
    """

    name: str
    strategy: Strategy
    problem: Problem
    repetition: int = 0
    limits: Mapping[str, float] = field(default_factory=dict)
    on_reply: Callable[[Request, Any], None] | None = None


@dataclass(slots=True)
class Progress:
    """What a progress view shows.

    Attributes:
        runs_done, runs_failed: runs ended so far.
        draws_new: draws made anew.
        draws_hit: draws served without a call.
        charged, spent: output plus verifier tokens, as charged and as newly paid for.
        in_flight: draws being made.
    """

    runs_done: int = 0
    runs_failed: int = 0
    draws_new: int = 0
    draws_hit: int = 0
    charged: float = 0
    spent: float = 0
    in_flight: int = 0

    def __add__(self, other: Progress) -> Progress:
        names = (f.name for f in fields(Progress))
        return Progress(**{name: getattr(self, name) + getattr(other, name) for name in names})


@dataclass(slots=True)
class _Active:
    """A run in progress: its plan, its session, its row in the ledger."""

    plan: RunPlan
    session: Session
    spec: str
    row: int | None


class Driver:
    """Runs strategies against generators and verifiers, through a ledger.

    Args:
        ledger: where draws are found and recorded.
        generators: by role; "solver" is the default role.
        verifiers: by the name that strategies use.
        tasks: by name; they extract answers.
        environments: by name, for `Run` requests.
        seed: the study's seed: decides streams and all randomness.
        wants: statistics that every draw shall carry, beyond what requests ask for.
        order: "issued" (deterministic) or "finished" (delivers what is done first).
        window: runs in progress at once.
        spend_limits: hard limits on newly paid work ("calls", "output_tokens", "usd"), and on
            the "seconds" that `run` may take.
        keep_text: record contexts; without them the ledger cannot be read by eye.
        check: repeat finished runs and compare their digests.
        on_progress: called once a turn with the `Progress` so far.
        on_done: called with each session that ends.
    """

    def __init__(
        self,
        ledger: Ledger,
        *,
        generators: Mapping[str, Generator],
        verifiers: Mapping[str, Verifier] | None = None,
        tasks: Mapping[str, Task] | None = None,
        environments: Mapping[str, Environment] | None = None,
        seed: int = 0,
        wants: frozenset[str] = frozenset(),
        order: Order = "issued",
        window: int = 512,
        spend_limits: Mapping[str, float] | None = None,
        keep_text: bool = True,
        check: bool = False,
        on_progress: Callable[[Progress], None] | None = None,
        on_done: Callable[[Session], None] | None = None,
    ) -> None:
        self.progress = Progress()
        self._ledger, self._seed, self._order, self._window = ledger, seed, order, window
        self._keep_text, self._check = keep_text, check
        self._on_progress, self._on_done = on_progress, on_done
        self._keyring = Keyring(
            ledger, generators, verifiers or {}, tasks or {}, environments or {}, wants
        )
        self._limits = SpendLimits(spend_limits)
        self._dispatcher = Dispatcher(ledger, wants, self._limits)
        self._time_is_up = False
        self._active: dict[str, _Active] = {}
        self._ready: dict[str, Session] = {}

    # ---- the loop ------------------------------------------------------------------------

    async def run(self, plans: Iterable[RunPlan]) -> Progress:
        """Make all runs that the ledger does not hold yet.

        Raises:
            SpendLimitReached: the study's cap on newly paid work was met; run again with a
                higher one to go on.
            LedgerError: the ledger cannot be written.
            UsageError: a source cannot serve what is asked of it.
            GeneratorError: a source can serve nothing at all; what is recorded stays.
            StrategyError: with `check`, a repeated run differs from the recorded one.
        """
        if self._limits.limits:  # to add up all that was ever spent takes long
            spent = self._ledger.totals().spent
            self._limits.spent = {
                "calls": spent.calls, "output_tokens": spent.output_tokens, "usd": spent.usd
            }  # fmt: skip
        alarm = self._set_alarm()
        finished = self._ledger.finished_runs()
        waiting = iter(plan for plan in plans if (plan.name in finished) == self._check)
        try:
            while True:
                if self._time_is_up:
                    self._pause()
                exhausted, done = self._launch(waiting), self.progress.runs_done
                self._settle()
                self._dispatcher.send()
                if self._dispatcher.arrived:
                    self._absorb()
                elif not self._ready and (exhausted or len(self._active) >= self._window):
                    if not self._active:
                        break
                    if not self._dispatcher.busy:
                        self._explain_standstill()
                    if self.progress.runs_done == done:  # else show it before a long wait
                        await self._dispatcher.wake.wait()
                if self._ledger.num_buffered > ROWS_PER_COMMIT:
                    self._ledger.commit()
                await asyncio.sleep(0)
                self._dispatcher.wake.clear()
                self._show()
        finally:
            if alarm is not None:
                alarm.cancel()
            await self._dispatcher.stop()
            self._record_arrived()
            self._ledger.commit()
        return self.progress

    def _show(self) -> None:
        if self._on_progress is not None:
            self.progress.in_flight = self._dispatcher.in_flight
            self._on_progress(self.progress)

    def _explain_standstill(self) -> None:
        """Nothing is in flight and nothing can go on: a limit holds work back."""
        if self._dispatcher.held:
            self._pause()
        raise StrategyError(f"These runs wait for nothing: {', '.join(list(self._active)[:3])}.")

    def _pause(self) -> NoReturn:
        limits = ", ".join(f"{kind}={limit:g}" for kind, limit in self._limits.limits.items())
        raise SpendLimitReached(
            f"The study is paused at its limit on spending ({limits}). "
            "Everything so far is recorded; raise the limit and run again to go on."
        )

    def _set_alarm(self) -> asyncio.TimerHandle | None:
        """Wakes the loop when the seconds of this run are used up."""
        self._time_is_up = False
        if self._limits.seconds is None:
            return None

        def ring() -> None:
            self._time_is_up = True
            self._dispatcher.wake.set()

        return asyncio.get_running_loop().call_later(self._limits.seconds, ring)

    # ---- runs ----------------------------------------------------------------------------

    def _launch(self, plans: Iterator[RunPlan]) -> bool:
        """Start runs up to the window; True when there are no more."""
        for _ in range(LAUNCHES_PER_TURN):
            if len(self._active) >= self._window:
                return False
            plan = next(plans, None)
            if plan is None:
                return True
            self._start(plan)
        return False

    def _start(self, plan: RunPlan) -> None:
        stream, spec = stream_id(self._seed, plan.repetition), plan.strategy.spec()
        state = self._ledger.run_state(plan.name)
        interrupted = state is not None and state.status == "running"
        recorded = []
        if state is not None and self._order == "finished":
            recorded = [unit for _, unit in self._ledger.events(state.id)]
        session = Session(
            plan.name,
            plan.strategy,
            plan.problem,
            np.random.default_rng(rng_seed(plan.problem.id, spec, stream)),
            lambda request, problem: self._keyring.locate(request, problem, stream),
            limits=dict(plan.limits),
            order=self._order,
            slots=self._keyring.generator("solver").slots,
            recorded=recorded,
            expected=(state.num_requests, state.digest) if state and interrupted else None,
            on_reply=plan.on_reply,
        )
        self._active[plan.name] = _Active(plan, session, spec, state.id if state else None)
        self._ready[plan.name] = session
        session.start()

    def _settle(self) -> None:
        """Deliver everything that is here, until all runs wait or are done."""
        while self._ready:
            session = self._ready.pop(next(iter(self._ready)))
            active = self._active.get(session.name)
            if active is None:
                continue
            session.pump()
            units, session.outbox = session.outbox, []
            for unit in units:
                self._resolve(session, unit)
            self._write_progress(active)
            if session.done:
                self._finish(active)

    def _write_progress(self, active: _Active) -> None:
        """Buffer digests at powers of two, and deliveries in "finished" order."""
        session = active.session
        checkpoints, session.checkpoints = session.checkpoints, []
        deliveries, session.deliveries = session.deliveries, []
        if self._check:
            return
        if deliveries and not checkpoints and active.row is None:
            checkpoints = [(session.num_requests, session.digest())]
        for count, digest in checkpoints:
            active.row = self._ledger.put_run(
                active.row, session.name, active.spec, count, digest, "running"
            )
        first = session.num_delivered - len(deliveries)
        for seq, unit in enumerate(deliveries, start=first):
            assert active.row is not None
            self._ledger.put_event(active.row, seq, "deliver", unit)

    def _finish(self, active: _Active) -> None:
        session = active.session
        del self._active[session.name]
        failed = session.status.startswith("failed")
        self.progress.runs_done += 1
        self.progress.runs_failed += failed
        self.progress.charged += session.meter.charged().tokens
        if self._check:
            self._compare(session)
        else:
            row = self._ledger.put_run(
                active.row, session.name, active.spec, session.num_requests, session.digest(),
                session.status,
            )  # fmt: skip
            for problem, answer, charged in () if failed else session.results():
                self._ledger.put_answer(row, problem, answer, charged)
        if self._on_done is not None:
            self._on_done(session)

    def _compare(self, session: Session) -> None:
        """Compare a repeated run with the recorded one."""
        state = self._ledger.run_state(session.name)
        if state is None or state.status not in ("done", "out_of_budget"):
            return
        repeated = (session.num_requests, session.digest(), session.status)
        if repeated != (state.num_requests, state.digest, state.status):
            raise StrategyError(
                f"A repeated run must equal the recorded one, but {session.name} differs: "
                f"the strategy {session.strategy.name} is impure, or has changed since."
            )

    # ---- draws ---------------------------------------------------------------------------

    def _resolve(self, session: Session, unit: Unit) -> None:
        """Fill a unit from memory and the ledger; queue jobs for what is missing."""
        count = len(unit.draws) // max(1, len(unit.keys))
        for slot, key in enumerate(unit.keys):
            assert isinstance(key, Key)
            first, offset = unit.first[slot], slot * count
            self._keyring.load(key, first, first + count)
            missing = []
            for place, i in enumerate(range(first, first + count), start=offset):
                draw = key.draws.get(i)
                if draw is not None:
                    unit.draws[place] = draw
                    unit.missing -= 1
                elif i in key.waiting:
                    key.waiting[i].append((session, unit, place))
                else:
                    key.waiting[i] = [(session, unit, place)]
                    missing.append(i)
            if key.op == "generate":
                self.progress.draws_hit += count - len(missing)
            bare = [i for i in missing if i in key.bare] if key.bare else []
            new = [i for i in missing if i not in key.bare] if bare else missing
            if new:
                self._dispatcher.enqueue(_job(key, unit, slot, session, new))
            if bare:
                self._dispatcher.enqueue(_job(key, unit, slot, session, bare, bare=True))
        if not unit.missing:
            self._completed(session, unit)

    def _completed(self, session: Session, unit: Unit) -> None:
        session.complete(unit)
        self._ready[session.name] = session

    def _absorb(self) -> None:
        """Record what arrived, commit, and only then hand it over."""
        jobs = self._record_arrived()
        self._ledger.commit()
        for job in jobs:
            key = job.key
            for i in job.indices:
                draw = key.draws[i]
                for session, unit, place in key.waiting.pop(i):
                    unit.draws[place] = draw
                    unit.missing -= 1
                    if not unit.missing:
                        self._completed(session, unit)
        self._keyring.evict()

    def _record_arrived(self) -> list[Job]:
        """Buffer everything that came back; the jobs whose draws are here."""
        served: list[Job] = []
        arrived, self._dispatcher.arrived = self._dispatcher.arrived, []
        fatal: BaseException | None = None
        for arrival in arrived:
            for job in arrival.jobs:
                self._limits.release(job)
            error = arrival.error
            if error is None:
                for job, outcome in zip(arrival.jobs, arrival.outcomes, strict=True):
                    self._record(job, outcome)
                    served.append(job)
            elif isinstance(error, asyncio.CancelledError):
                continue
            elif _ends_runs_alone(error):
                self._fail(arrival)
            else:
                fatal = error
        if fatal is not None:
            self._ledger.commit()
            raise fatal
        return served

    def _record(self, job: Job, outcome: Outcome) -> None:
        """Put draws and attempts into the ledger's buffer and into memory."""
        key, ledger = job.key, self._ledger
        if not key.derived and key.row is None:
            subject, params, stream = key.info
            source = ledger.put_source(key.source.fingerprint, getattr(key.source, "info", {}))
            text = subject if self._keep_text and key.op != "perturb" else None
            key.row = ledger.put_key(key.hash, source, key.op, params, stream, text)
        for i, draw in zip(job.indices, outcome.draws, strict=True):
            draw.text = storable(draw.text)
            self._keyring.keep(key, i, draw)
            if key.row is None:
                continue
            if job.bare:
                ledger.put_stats(key.row, i, draw.stats or {})
                key.bare.discard(i)
                continue
            ledger.put_draw(key.row, i, draw)
            self.progress.spent += draw.output_tokens
            if key.op == "generate":
                self.progress.draws_new += 1
                self._limits.pay(draw)
            else:
                self._limits.pay_score(draw)
        for attempt in outcome.attempts:
            ledger.put_attempt(key.row, attempt)
            self._limits.pay_attempt(attempt)

    def _fail(self, arrival: Arrival) -> None:
        """End the runs that waited for a call that failed as a whole."""
        message = f"{type(arrival.error).__name__}: {arrival.error}"
        for job in arrival.jobs:
            lost = Attempt(outcome=message, usage=Usage(), estimated=True, index=job.indices[0])
            self._ledger.put_attempt(job.key.row, lost)
            for i in job.indices:
                for session, _, _ in job.key.waiting.pop(i, ()):
                    session.fail(message)
                    self._ready[session.name] = session


def _ends_runs_alone(error: BaseException) -> bool:
    """Whether an error ends the runs that waited for the call, and not the whole study."""
    if isinstance(error, GeneratorError):
        return not error.hopeless
    return isinstance(error, DwellError) and not isinstance(error, UsageError)


def _job(
    key: Key, unit: Unit, slot: int, session: Session, missing: list[int], *, bare: bool = False
) -> Job:
    request = unit.request
    candidates = verified_groups(request)[slot] if isinstance(request, Verify) else ()
    return Job(key, request, session.problem_of(request), missing, candidates, bare)
