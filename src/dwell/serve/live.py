"""One request's run: its strategy, its draws, its budget and its deadline.

The strategy is the driver's `Session`, unchanged; what differs from a study is the clock, which
is the wall's, and that work nobody waits for is cancelled. Hard limits hold before a draw is
asked for: its cap is reserved, and what does not fit is never sent.
"""

from __future__ import annotations

import asyncio
import math
import time
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
from dwell.serve.asking import Asked
from dwell.serve.deadlines import Due
from dwell.serve.draws import Call, LiveDraw, Source
from dwell.serve.ended import Ended
from dwell.serve.judges import Judges
from dwell.serve.session import LiveKey, LiveSession, as_problem, keys_of
from dwell.serve.settings import Settings


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
        due: when its reply is; None = whenever.
        task: name of the task whose checker extracts answers, "" = none.
    """

    def __init__(
        self,
        asked: Asked,
        source: Source,
        judges: Judges,
        settings: Settings,
        begun: float,
        due: Due | None = None,
        task: str = "",
    ) -> None:
        self.asked, self._source, self._judges, self._settings = asked, source, judges, settings
        self._begun, self._due = begun, due
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
        if due is not None:
            due.tell(self._wake.set)
        self._draws: list[LiveDraw] = []
        self._scores: list[tuple[str | None, float]] = []
        self._by_text: dict[str, float] = {}
        self._attempts: list[Attempt] = []
        self._used = dict.fromkeys(("calls", "output_tokens", "usd"), 0.0)
        self._verifier_tokens = self._verifier_usd = 0.0
        self._fatal: BaseException | None = None

    # ---- the run ---------------------------------------------------------------------------

    async def run(self) -> Ended:
        """Run to an answer, a limit or the deadline; what is in flight is for `abandon` to end.

        Raises:
            Refused: the model cannot serve this request at all.
        """
        session = self._session
        session.start()
        while session.status == "running":
            if self._is_due:
                seconds = time.monotonic() - self._begun
                session.end("seconds", seconds, self.asked.deadline_seconds or 0.0)
                return self.ended("deadline")
            self._send()
            if self._fatal is not None:
                raise self._fatal
            session.pump()
            if session.status == "running" and not session.outbox:
                await self._wake.wait()
                self._wake.clear()
                session.pump()  # what is here counts, though the time be over
        return self.ended(session.status)

    @property
    def _is_due(self) -> bool:
        """Whether the reply is to be begun, with what there is."""
        return self._due is not None and self._due.over

    def _checked(self, request: Request) -> Request:
        if not isinstance(request, Generate | Verify):
            raise DwellError(f"A server serves no {type(request).__name__} requests.")
        return request

    # ---- sending ---------------------------------------------------------------------------

    def _send(self) -> None:
        """Start as many calls as the limits allow."""
        session = self._session
        while session.outbox or self._queue:
            units, session.outbox = session.outbox, []
            for unit in units:
                if isinstance(unit.request, Verify):
                    self._send_verify(unit)
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

    def _send_verify(self, unit: Unit) -> None:
        """Ask a verifier; a judge, whose tokens are paid for, if the limits have room for it."""
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
        reserved = self._judges.most(request.verifier, work, self.asked.limits)
        over = self._over(reserved)
        if over is None:
            places = range(len(unit.draws))
            self._start(unit, places, self._verify(unit, work), reserved)
        else:
            self._session.cut(unit, over, self._used[over], self.asked.limits[over])

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
            if self._used[kind] + self._held(kind) + reserved.get(kind, 0.0) > limit:
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
            due=self._due,
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

    async def _verify(self, unit: Unit, work: Sequence[VerifyWork]) -> None:
        request = unit.request
        assert isinstance(request, Verify)
        outcomes = await self._judges.score(request.verifier, work)
        paid = self._judges.paid(request.verifier)
        place = 0
        for item, outcome in zip(work, outcomes, strict=True):
            self._attempts += outcome.attempts
            self._note_scores(item, [draw.value for draw in outcome.draws])
            for draw in outcome.draws:
                self._verifier_tokens += draw.output_tokens
                self._verifier_usd += draw.usd
                if paid:
                    self._used["output_tokens"] += draw.output_tokens
                    self._used["usd"] += draw.usd
                self._fill(unit, place, draw)
                place += 1

    def _note_scores(self, item: VerifyWork, values: Sequence[float | None]) -> None:
        """Remember what a candidate scored: the text that goes back is the best of its answer."""
        for candidate, value in zip(item.candidates, values, strict=False):
            score = math.nan if value is None else value
            self._scores.append((candidate.answer, score))
            if not math.isnan(score):
                self._by_text[candidate.text] = score

    # ---- the end ---------------------------------------------------------------------------

    def abandon(self, ended: Ended) -> list[asyncio.Task[None]]:
        """The calls that are still on their way, to be cancelled.

        They are accounted for as attempts, and so is what came after the run had ended.
        """
        why = "deadline" if ended.status == "deadline" else "cancelled"
        for draw in self._draws[len(ended.draws) :]:
            usage = Usage(
                prompt_tokens=draw.prompt_tokens, output_tokens=draw.output_tokens, usd=draw.usd
            )
            ended.attempts.append(Attempt(outcome=f"{why}: it came too late", usage=usage))
        flights = [flight for flight in self._flights if not flight.task.done()]
        for flight in flights:
            generates = isinstance(flight.unit.request, Generate)
            ended.attempts.append(
                Attempt(
                    outcome=why if generates else f"{why}: a verifier",
                    usage=Usage(seconds=time.monotonic() - flight.begun),
                    estimated=True,
                    index=flight.unit.first[0] + flight.places[0],
                )
            )
        return [flight.task for flight in flights]

    def ended(self, status: str) -> Ended:
        """What became of the run so far."""
        votes = Counter(draw.answer for draw in self._draws if draw.answer is not None)
        session = self._session
        answer = session.answer if isinstance(session.answer, str) else None
        if answer is None and session.status != "done" and votes:
            answer = votes.most_common(1)[0][0]
        # Where the strategy declines, what most draws say is what a client may still want.
        shown = answer if answer is not None else next(iter(votes.most_common(1)), (None,))[0]
        return Ended(
            status=status,
            answer=answer,
            chosen=self._carrier(shown),
            votes=votes,
            scores=list(self._scores),
            draws=list(self._draws),  # what comes later is accounted for as cancelled
            attempts=list(self._attempts),
            charged=session.meter.charged(),
            spent=self._spent(),
            seconds=time.monotonic() - self._begun,
            num_requests=session.num_requests,
            digest=session.digest(),
            confidence=session.confidence,
        )

    def _carrier(self, answer: str | None) -> LiveDraw | None:
        """The completion that carries the answer: the best scored of them, else the first."""
        able = [draw for draw in self._draws if draw.status not in ("failed", "step")]
        if not able:
            return None
        same = [draw for draw in able if draw.answer == answer and answer is not None]
        if not same:  # the strategy made an answer of its own: the usual one stands
            return able[0]
        return max(same, key=lambda draw: self._by_text.get(draw.text, float("-inf")))

    def _spent(self) -> Usage:
        draws = self._draws
        return Usage(
            calls=len(draws),
            prompt_tokens=sum(draw.prompt_tokens for draw in draws),
            cached_tokens=sum(draw.cached_tokens for draw in draws),
            output_tokens=sum(draw.output_tokens for draw in draws),
            verifier_tokens=self._verifier_tokens,
            flops=sum(draw.flops for draw in draws),
            usd=self._verifier_usd + sum(draw.usd for draw in draws),
        )
