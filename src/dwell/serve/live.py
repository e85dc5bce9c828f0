"""One request's run: its strategy, its draws, its budget and its deadline.

The strategy is the driver's `Session`, unchanged; what differs from a study is the clock, which
is the wall's, and that work nobody waits for is cancelled. Hard limits hold before a draw is
asked for: its cap is reserved, and what does not fit is never sent.
"""

from __future__ import annotations

import asyncio
import time
from bisect import bisect, insort
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from dwell.driver.threads import Unit
from dwell.errors import DwellError
from dwell.keys import draw_seeds, rng_seed
from dwell.protocols import Attempt, VerifyWork
from dwell.records import Usage
from dwell.requests import Generate, Request, Verify
from dwell.serve.asking import Asked, Refused
from dwell.serve.draws import Call, LiveDraw, Source
from dwell.serve.judges import Judges
from dwell.serve.session import LiveKey, LiveSession, as_problem, keys_of
from dwell.serve.settings import Settings

#: What a deadline has put an end to is cancelled so much later: the replies come first.
CANCEL_SECONDS = 0.05


class Punctuality:
    """How long before a deadline a reply must be begun so that it is there in time.

    5 ms, twice as much as replies were late of late, and a millisecond for every other reply that
    is due in the quarter of a second before: a busy server stops earlier, by at most a fifth of
    the deadline. Lateness is forgotten by a fiftieth with each reply.
    """

    def __init__(self) -> None:
        self._late = 0.0
        self._due: list[float] = []

    def begin_by(self, begun: float, seconds: float) -> float:
        """When to begin the reply to a request of that time with that deadline."""
        due = begun + seconds
        others = bisect(self._due, due) - bisect(self._due, due - 0.25)
        insort(self._due, due)
        return due - min(0.005 + 2 * self._late + 0.001 * others, seconds / 5)

    def forget(self, begun: float, seconds: float) -> None:
        """A request with a deadline is not waited for any more."""
        place = bisect(self._due, begun + seconds) - 1
        del self._due[place]

    def replied(self, planned: float) -> None:
        """Note a reply that is ready now and should have been begun as planned."""
        late = max(0.0, time.monotonic() - planned)
        self._late = max(late, 0.98 * self._late)


@dataclass(slots=True, kw_only=True)
class Ended:
    """What became of a run.

    Attributes:
        status: "done", "out_of_budget", "deadline" or "failed: why".
        answer: the canonical answer chosen; None = the strategy declined, or had none.
        chosen: the draw that carries it.
        votes: canonical answers by number of draws.
        scores: (answer, score) of every candidate that a verifier scored.
        draws: everything that arrived, oldest first.
        attempts: failed and cancelled calls.
        charged: what the strategy used.
        spent: what was paid for: charged, and calls that failed or came too late.
        seconds: of the run.
        num_requests: how many requests the strategy made.
        digest: names them.
    """

    status: str
    answer: str | None
    chosen: LiveDraw | None
    votes: Counter[str]
    scores: list[tuple[str | None, float]]
    draws: list[LiveDraw]
    attempts: list[Attempt]
    charged: Usage
    spent: Usage
    seconds: float
    num_requests: int
    digest: bytes


@dataclass(slots=True, eq=False)
class _Flight:
    """A call on its way."""

    task: asyncio.Task[None]
    unit: Unit
    places: Sequence[int]
    begun: float
    reserved: dict[str, float] = field(default_factory=dict)


class Live:
    """One run.

    Args:
        asked: the client's request.
        source: makes draws.
        judges: score them.
        settings: the server's.
        begun: when the request arrived, on the monotonic clock.
        punctuality: the server's, for deadlines.
        task: name of the task whose checker extracts answers, "" = none.
    """

    def __init__(
        self,
        asked: Asked,
        source: Source,
        judges: Judges,
        settings: Settings,
        begun: float,
        punctuality: Punctuality,
        task: str = "",
    ) -> None:
        self.asked, self._source, self._judges, self._settings = asked, source, judges, settings
        self._begun, self._punctuality = begun, punctuality
        seconds = asked.deadline_seconds
        self._end_by = None if seconds is None else punctuality.begin_by(begun, seconds)
        self._problem = as_problem(asked.id, asked.text, task)
        strategy = asked.strategy
        seed = asked.id if asked.seed is None else f"seed:{asked.seed}"
        self._stream = f"{seed}/{asked.choice}" if asked.choice else seed
        name = "" if asked.seed is not None else asked.id
        wants = (judges.verifiers[name].wants for name in strategy.verifiers())
        self._wants: frozenset[str] = frozenset[str]().union(*wants)
        self._session = LiveSession(
            asked.id,
            strategy,
            self._problem,
            np.random.default_rng(rng_seed(name, strategy.spec(), self._stream)),
            lambda request, _: keys_of(self._checked(request), self._stream),
            limits=dict(asked.limits),
            order="finished",
        )
        self._queue: deque[tuple[Unit, list[int]]] = deque()
        self._flights: set[_Flight] = set()
        self._wake = asyncio.Event()
        self._draws: list[LiveDraw] = []
        self._scores: list[tuple[str | None, float]] = []
        self._by_text: dict[str, float] = {}
        self._attempts: list[Attempt] = []
        self._used = dict.fromkeys(("calls", "output_tokens", "usd"), 0.0)
        self._verifier_tokens = self._verifier_usd = 0.0
        self._fatal: BaseException | None = None

    # ---- the run ---------------------------------------------------------------------------

    async def run(self) -> Ended:
        """Run to an answer, a limit or the deadline; what is in flight is cancelled.

        Raises:
            Refused: the model cannot serve this request at all.
        """
        session = self._session
        status = ""
        try:
            session.start()
            while session.status == "running":
                self._send()
                if self._fatal is not None:
                    raise self._fatal
                session.pump()
                if session.status != "running" or session.outbox:
                    continue
                if not await self._wait():
                    status = "deadline"
                    self._end_by_deadline()
        finally:
            self._abandon("deadline" if status else "cancelled")
        return self.ended(status or session.status)

    def _checked(self, request: Request) -> Request:
        if not isinstance(request, Generate | Verify):
            raise DwellError(f"A server serves no {type(request).__name__} requests.")
        return request

    async def _wait(self) -> bool:
        """Wait until something arrives; False at the deadline."""
        self._wake.clear()
        if self._end_by is None:
            await self._wake.wait()
            return True
        left = self._end_by - time.monotonic()
        if left <= 0:
            return False
        try:
            async with asyncio.timeout(left):
                await self._wake.wait()
        except TimeoutError:
            return False
        return True

    def _end_by_deadline(self) -> None:
        limit = self.asked.deadline_seconds or 0.0
        self._session.end("seconds", time.monotonic() - self._begun, limit)

    # ---- sending ---------------------------------------------------------------------------

    def _send(self) -> None:
        """Start as many calls as the limits allow."""
        session = self._session
        while session.outbox or self._queue:
            units, session.outbox = session.outbox, []
            for unit in units:
                if isinstance(unit.request, Verify):
                    self._start(unit, range(len(unit.draws)), self._verify(unit), {})
                else:
                    self._queue.append((unit, list(range(len(unit.draws)))))
            if not self._queue:
                return
            unit, places = self._queue[0]
            if unit.owner.dropped:
                self._queue.popleft()
                continue
            over = self._send_some(unit, places)
            if not places:
                self._queue.popleft()
            elif over is not None and not any(flight.reserved for flight in self._flights):
                self._queue.popleft()  # nothing will come back that could make room
                self._session.cut(unit, over, self._used[over], self.asked.limits[over])
            elif over is not None:
                return

    def _send_some(self, unit: Unit, places: list[int]) -> str | None:
        """Send the first of the places in one call; or the kind of limit that forbids it."""
        together = 1 if self._one_by_one else min(len(places), self._source.most_together)
        cap = self._cap()
        reserved = self._reservation(together, cap)
        over = self._over(reserved)
        if over == "calls" and together > 1:
            room = int(self.asked.limits["calls"] - self._used["calls"] - self._held("calls"))
            if room >= 1:
                together, reserved, over = room, self._reservation(room, cap), None
        if over == "output_tokens" and not self._flights:
            left = int(self.asked.limits["output_tokens"] - self._used["output_tokens"])
            if left >= 1 and not self._draws:  # one shorter draw is better than none
                cap, over = left, None
                reserved = self._reservation(1, cap)
                over = self._over(reserved)
        if over is not None:
            return over
        chosen, places[:] = places[:together], places[together:]
        self._start(unit, chosen, self._generate(unit, chosen, cap), reserved)
        return None

    @property
    def _one_by_one(self) -> bool:
        """Whether draws are to arrive, or be paid for, each alone."""
        return self.asked.deadline_seconds is not None or len(self.asked.limits) > 1

    def _cap(self) -> int | None:
        """Cap of a draw: the client's; where tokens or dollars are limited there must be one."""
        if "output_tokens" in self.asked.limits or "usd" in self.asked.limits:
            return self.asked.max_tokens or 1024
        return self.asked.max_tokens

    def _reservation(self, count: int, cap: int | None) -> dict[str, float]:
        settings = self._settings
        usd = 0.0
        if "usd" in self.asked.limits:
            usd = count * ((cap or 0) * settings.output_price + self._prompt_usd())
        return {"calls": count, "output_tokens": count * (cap or 0), "usd": usd}

    def _prompt_usd(self) -> float:
        """Dollars of reading the prompt: known after a draw, before it at most a token a byte."""
        tokens = max((draw.prompt_tokens for draw in self._draws), default=0)
        if not tokens:
            said = self.asked.body.get("messages", self.asked.text)
            tokens = len(str(said).encode("utf-8", "replace")) + 16
        return tokens * self._settings.prompt_price

    def _over(self, reserved: dict[str, float]) -> str | None:
        for kind, limit in self.asked.limits.items():
            if self._used[kind] + self._held(kind) + reserved[kind] > limit:
                return kind
        return None

    def _held(self, kind: str) -> float:
        return sum(flight.reserved.get(kind, 0.0) for flight in self._flights)

    def _start(
        self, unit: Unit, places: Sequence[int], work: Any, reserved: dict[str, float]
    ) -> None:
        task = asyncio.ensure_future(work)
        flight = _Flight(task, unit, places, time.monotonic(), reserved)
        self._flights.add(flight)
        task.add_done_callback(lambda _: self._landed(flight))

    def _landed(self, flight: _Flight) -> None:
        self._flights.discard(flight)
        if not flight.task.cancelled() and (error := flight.task.exception()) is not None:
            self._fatal = error
        self._wake.set()

    # ---- draws and scores ------------------------------------------------------------------

    async def _generate(self, unit: Unit, places: Sequence[int], cap: int | None) -> None:
        key, request = unit.keys[0], unit.request
        assert isinstance(request, Generate)
        indices = [unit.first[0] + place for place in places]
        call = Call(
            asked=self.asked,
            request=replace(request, want=request.want | self._wants),
            problem=self._problem,
            key=key.hash,
            indices=indices,
            seeds=self._seeds(key.hash, indices),
            max_tokens=self._least(cap, request.max_tokens),
        )
        draws, attempts = await self._source.draw(call)
        self._attempts += attempts
        for place, draw in zip(places, draws, strict=False):
            self._keep(unit, place, draw)
        if rest := list(places[len(draws) :]):
            self._queue.append((unit, rest))

    def _seeds(self, key_hash: bytes, indices: Sequence[int]) -> list[int] | None:
        """The client's seed for the first draw of all; others follow from it."""
        if self.asked.seed is None:
            return None
        first = not self._draws and not indices[0] and not self.asked.choice
        seeds = [draw_seeds(key_hash, i, 1)[0] for i in indices]
        return [self.asked.seed, *seeds[1:]] if first else seeds

    def _least(self, cap: int | None, own: int | None) -> int | None:
        caps = [c for c in (cap, own) if c is not None]
        return min(caps, default=None)

    def _keep(self, unit: Unit, place: int, draw: LiveDraw) -> None:
        self._draws.append(draw)
        self._used["calls"] += 1
        self._used["output_tokens"] += draw.output_tokens
        self._used["usd"] += draw.usd
        self._fill(unit, place, draw)

    def _fill(self, unit: Unit, place: int, draw: Any) -> None:
        if place >= len(unit.draws):
            return  # it was cut meanwhile
        unit.draws[place] = draw
        unit.missing -= 1
        if not unit.missing:
            self._session.complete(unit)

    async def _verify(self, unit: Unit) -> None:
        request = unit.request
        assert isinstance(request, Verify)
        count = len(unit.draws) // max(1, len(unit.keys))
        work = [
            VerifyWork(
                candidates=key.candidates,
                problem=self._problem,
                mode=request.mode,
                seeds=draw_seeds(key.hash, 0, count),
            )
            for key in unit.keys
            if isinstance(key, LiveKey)
        ]
        outcomes = await self._judges.score(request.verifier, work)
        place = 0
        for item, outcome in zip(work, outcomes, strict=True):
            self._attempts += outcome.attempts
            self._note_scores(item, [draw.value for draw in outcome.draws])
            for draw in outcome.draws:
                self._verifier_tokens += draw.output_tokens
                self._verifier_usd += draw.usd
                self._fill(unit, place, draw)
                place += 1

    def _note_scores(self, item: VerifyWork, values: Sequence[float | None]) -> None:
        """Remember what a candidate scored: the text that goes back is the best of its answer."""
        for candidate, value in zip(item.candidates, values, strict=False):
            if value is not None and value == value:
                self._by_text[candidate.text] = value
                self._scores.append((candidate.answer, value))

    # ---- the end ---------------------------------------------------------------------------

    def _abandon(self, why: str) -> None:
        """Cancel what is on its way, and account for it."""
        if self.asked.deadline_seconds is not None:
            self._punctuality.forget(self._begun, self.asked.deadline_seconds)
        flights = list(self._flights)
        if why == "deadline":
            assert self._end_by is not None
            self._punctuality.replied(self._end_by)
            asyncio.get_running_loop().call_later(CANCEL_SECONDS, _cancel, flights)
        else:
            for flight in flights:
                flight.task.cancel()
        for flight in flights:
            if isinstance(flight.unit.request, Generate):
                usage = Usage(seconds=time.monotonic() - flight.begun)
                index = flight.unit.first[0] + flight.places[0]
                self._attempts.append(
                    Attempt(outcome=why, usage=usage, estimated=True, index=index)
                )

    def ended(self, status: str) -> Ended:
        """What became of the run so far."""
        votes = Counter(draw.answer for draw in self._draws if draw.answer is not None)
        session = self._session
        answer = session.answer if isinstance(session.answer, str) else None
        if answer is None and session.status != "done" and votes:
            answer = votes.most_common(1)[0][0]
        return Ended(
            status=status,
            answer=answer,
            chosen=self._carrier(answer),
            votes=votes,
            scores=list(self._scores),
            draws=list(self._draws),  # what comes later is accounted for as cancelled
            attempts=list(self._attempts),
            charged=session.meter.charged(),
            spent=self._spent(),
            seconds=time.monotonic() - self._begun,
            num_requests=session.num_requests,
            digest=session.digest(),
        )

    def _carrier(self, answer: str | None) -> LiveDraw | None:
        """The completion that carries the answer: the best scored of them, else the first."""
        able = [draw for draw in self._draws if draw.status not in ("failed", "step")]
        if not able:
            return None
        same = [draw for draw in able if draw.answer == answer and answer is not None]
        if not same:  # the strategy declined, or made an answer of its own: the usual one stands
            return able[0]
        return max(same, key=lambda draw: self._by_text.get(draw.text, float("-inf")))

    def _spent(self) -> Usage:
        total = Usage(verifier_tokens=self._verifier_tokens, usd=self._verifier_usd)
        for draw in self._draws:
            total += Usage(
                calls=1,
                prompt_tokens=draw.prompt_tokens,
                cached_tokens=draw.cached_tokens,
                output_tokens=draw.output_tokens,
                flops=draw.flops,
                usd=draw.usd,
            )
        return total


def _cancel(flights: Sequence[_Flight]) -> None:
    """Cancel one call a turn of the event loop: each closes a connection."""
    if flights:
        flights[0].task.cancel()
        asyncio.get_running_loop().call_soon(_cancel, flights[1:])


def failure_of(ended: Ended) -> Refused | None:
    """The error that a run without any completion ends in, None if it has one."""
    if ended.chosen is not None:
        return None
    if ended.status == "deadline":
        return Refused(504, "deadline_exceeded", "No completion arrived before the deadline.")
    failed = next((draw for draw in ended.draws if draw.status == "failed"), None)
    if failed is not None:
        own = failed.refusal in (400, 409, 413, 422, 429)
        return Refused(failed.refusal if own else 502, "upstream_error", failed.text)
    if ended.status == "out_of_budget":
        return Refused(400, "budget_too_small", "The budget does not allow a single draw.")
    return Refused(500, "strategy_failed", ended.status)
