"""One run of one strategy: a synchronous machine without input or output.

A session advances a strategy's generator function. What the strategy asks for becomes *units* in
the `outbox`; the driver fills their draws from the ledger or from a source; `pump` delivers
them. Deliveries happen in the order of issue ("issued"), so that a run is a deterministic
function of its draws, or in the order of completion ("finished"), which is recorded.

It knows nothing of ledgers, models or clocks; time is modelled from the draws' own seconds.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from hashlib import blake2b
from types import GeneratorType
from typing import Any

import numpy as np

from dwell.budget import Meter
from dwell.driver.charging import Charge, Slots, Written, count_draws, serve
from dwell.driver.threads import Join, KeyRef, Order, Owner, Thread, Unit
from dwell.errors import DwellError, LedgerError, StrategyError
from dwell.protocols import Strategy
from dwell.records import Answer, Problem, Usage
from dwell.requests import Generate, Perturb, Request, Run, Verify

_REQUESTS = (Generate, Verify, Perturb, Run)
#: Replies withheld from one run after which it is ended: each may have cost a call.
MOST_REFUSALS = 10_000


class Session:
    """A run: one strategy on one problem.

    Args:
        name: the run's name in the ledger.
        strategy: what to run.
        problem: what to solve (handed over without its reference).
        rng: the run's randomness.
        locate: gives the keys of a request; called once per request, when it is issued.
        limits: the run's budget by kind of usage.
        order: "issued" or "finished".
        slots: modelled concurrency: how many draws are made at once.
        recorded: unit numbers of recorded deliveries, for "finished" order.
        expected: (number of requests, digest) of an earlier, interrupted run: a run that asks
            something else is reported as impure.
        on_reply: called with each request and what was delivered of its reply.

    Attributes:
        outbox: units issued and not yet taken by the driver.
        deliveries: unit numbers in the order of delivery, for "finished" order.
        checkpoints: (number of requests, digest) at powers of two, not yet taken by the driver.
        done: whether the answer is final and everything on its way has been charged.
        status: "running", "done", "out_of_budget" or "failed: why".
        answer: the answer, or the best so far.
        confidence: probability that the last answer told is right, as the strategy has it; None
            where it does not say. An answer that it withholds has one, too.
    """

    def __init__(
        self,
        name: str,
        strategy: Strategy,
        problem: Problem,
        rng: np.random.Generator,
        locate: Callable[[Request, Problem], Sequence[KeyRef]],
        *,
        limits: dict[str, float] | None = None,
        order: Order = "issued",
        slots: int = 64,
        recorded: Sequence[int] = (),
        expected: tuple[int, bytes] | None = None,
        on_reply: Callable[[Request, Any], None] | None = None,
    ) -> None:
        self.name, self.strategy, self.problem, self.order = name, strategy, problem, order
        self.meter = Meter(limits)
        self.answer: Any = None
        self.confidence: float | None = None
        self._members = {member.id: member for member in problem.members}
        self._shares = {member.id: Meter() for member in problem.members}
        self.status = "running"
        self.outbox: list[Unit] = []
        self.deliveries: list[int] = []
        self.num_delivered = 0
        self.checkpoints: list[tuple[int, bytes]] = []
        self.num_requests = 0
        self._locate = locate
        self._expected = expected
        self._on_reply = on_reply
        self._recorded = deque(recorded)
        self._cursors: dict[bytes, int] = {}
        self._pending: deque[Unit] = deque()
        self._completed: dict[int, Unit] = {}
        self._digest = blake2b(digest_size=16)
        self._slots = Slots(slots)
        self._written = Written()
        self._votes: Counter[str] = Counter()
        self._completions = self._refused = 0
        self._root = Thread(self, strategy.solve(problem.public(), rng), self, 0, 0.0)

    # ---- what the driver calls -------------------------------------------------------------

    @property
    def done(self) -> bool:
        """Whether the answer is final and nothing is on its way."""
        return self.status != "running" and not self._pending

    @property
    def dropped(self) -> bool:
        """Whether the strategy's answer is here already."""
        return self.status != "running"

    def digest(self) -> bytes:
        """16 bytes that name all requests so far, and the answer once there is one."""
        return self._digest.digest()

    def start(self) -> None:
        """Run the strategy up to its first request."""
        self._guarded(lambda: self._root.advance(None, None))

    def complete(self, unit: Unit) -> None:
        """Say that all draws of a unit are here (for "finished" order)."""
        if self.order == "finished":
            self._completed[unit.seq] = unit

    def pump(self) -> None:
        """Deliver everything that may be delivered now; fills `outbox` and `deliveries`."""
        while self._pending:
            if self.order == "issued":
                if self._pending[0].missing:
                    return
                unit = self._pending.popleft()
            else:
                found = self._next_finished()
                if found is None:
                    return
                unit = found
                self._pending.remove(unit)
                self.deliveries.append(unit.seq)
                self.num_delivered += 1
            self._guarded(lambda unit=unit: self._deliver(unit))  # type: ignore[misc]

    def results(self) -> list[tuple[str, Answer, Usage]]:
        """(problem id, answer, charge) of the run's problem, or of each member of its pool.

        Seconds are those until the answer is there. The members of a pool get theirs together, so
        each has the seconds of the whole pool: they are not shares, and must not be added up.
        """
        charged = self.meter.charged()
        if not self._members:
            return [(self.problem.id, self.answer, charged)]
        answers = self.answer if isinstance(self.answer, Mapping) else {}
        return [
            (member, answers.get(member), replace(share.charged(), seconds=charged.seconds))
            for member, share in self._shares.items()
        ]

    def problem_of(self, request: Request) -> Problem:
        """The problem that a request is charged to."""
        name = getattr(request, "problem", None)
        if name is None:
            return self.problem
        if name not in self._members:
            raise StrategyError(
                f"A request is charged to a member of its pool, but got problem={name!r}."
            )
        return self._members[name]

    def _charge(self, request: Request, charge: Charge) -> None:
        self.meter.add(charge.amounts)
        if self._members and (name := getattr(request, "problem", None)) is not None:
            self._shares[name].add(charge.amounts)
        if self.meter.limited and isinstance(request, Generate):
            delivered = charge.reply if charge.error is None else charge.error.partial
            self._votes.update(c.answer for c in delivered if c.answer is not None)

    def fail(self, message: str) -> None:
        """End the run with an error; what was delivered stays charged."""
        self.status = f"failed: {message}"
        self._root.closed = True
        self._pending.clear()
        self.outbox.clear()

    # ---- what threads call -----------------------------------------------------------------

    def begin(self, work: Any, owner: Owner, slot: int, clock: float) -> Thread | None:
        """Issue a request, a list or a sub-strategy; its reply goes to `owner`."""
        if isinstance(work, _REQUESTS):
            self._issue(work, owner, slot, clock)
            return None
        if isinstance(work, list):
            if not work:
                owner.accept(slot, [], None, clock)
                return None
            join = Join(owner, slot, len(work))
            for index, item in enumerate(work):
                self.begin(item, join, index, clock)
            return None
        if isinstance(work, GeneratorType):
            thread = Thread(self, work, owner, slot, clock)
            thread.advance(None, None)
            return thread
        raise StrategyError(
            "A strategy may yield requests, lists of them and sub-strategies, "
            f"but {self.strategy.name} yielded {type(work).__name__}."
        )

    def passed(self, thread: Thread) -> None:
        """Note the modelled time at which the strategy itself goes on."""
        if thread is self._root:
            self.meter.at(thread.clock)

    def emitted(self, answer: Answer, confidence: float | None) -> None:
        """Note the best answer so far, and how sure the strategy is of it."""
        self.answer, self.confidence = answer, confidence

    def next_completion(self) -> int:
        """A number that orders the completions of started work."""
        self._completions += 1
        return self._completions

    def accept(self, slot: int, reply: Any, error: DwellError | None, clock: float) -> None:
        """Take the strategy's answer, or end at the budget."""
        if error is not None:
            self.status = "out_of_budget"
            if self.answer is None and self._votes:
                self.answer = self._votes.most_common(1)[0][0]
        else:
            if not (reply is None or isinstance(reply, Mapping if self._members else str)):
                raise StrategyError(
                    f"A strategy returns a text or None (a pool: a mapping), but "
                    f"{self.strategy.name} returned "
                    f"{type(reply).__name__}."
                )
            if reply is not None and reply != self.answer:
                self.confidence = None  # it was said of another answer
            self.status, self.answer = "done", reply
        self.meter.at(clock)
        self._digest.update(repr(self.answer).encode("utf-8", "surrogatepass"))
        for piece in self._root.pieces:
            piece.cancel()

    # ---- inside ----------------------------------------------------------------------------

    def _guarded(self, action: Callable[[], None]) -> None:
        """The one place where a strategy's own exception is caught, and recorded."""
        try:
            action()
        except LedgerError:  # not the strategy's: the whole study stops
            raise
        except Exception as error:
            self.fail(f"{type(error).__name__}: {error}")

    def _issue(self, request: Request, owner: Owner, slot: int, clock: float) -> None:
        if isinstance(request, Generate | Verify) and count_draws(request) < 1:
            raise StrategyError(f"A request must ask for at least 1, but got {request!r}.")
        unit = Unit(self.num_requests, request, owner, slot, clock)
        self.num_requests += 1
        unit.keys = self._locate(request, self.problem_of(request))
        count = count_draws(request)
        update = self._digest.update
        if isinstance(request, Verify):
            unit.first = [0] * len(unit.keys)
            for key in unit.keys:
                update(key.hash)
        else:
            key = unit.keys[0]
            first = self._cursors.get(key.hash, 0)
            self._cursors[key.hash] = first + count
            unit.first = [first]
            update(key.hash + first.to_bytes(8, "little") + count.to_bytes(8, "little"))
        self._check_purity()
        unit.missing = count * len(unit.keys)
        unit.draws = [None] * unit.missing
        self._pending.append(unit)
        self.outbox.append(unit)

    def _check_purity(self) -> None:
        """Compare the digest with a recorded one; keep one at each power of two."""
        asked = self.num_requests
        if self._expected is not None and asked == self._expected[0]:
            if self.digest() != self._expected[1]:
                raise StrategyError(
                    f"A strategy must ask the same when it is sent the same, but "
                    f"{self.strategy.name} asked something else than in its recorded run "
                    f"within the first {asked} requests. It is impure: it must use only the "
                    "`rng` it is given, and no clock or global state."
                )
            self._expected = None
        if asked > 1 and asked & (asked - 1) == 0:
            self.checkpoints.append((asked, self.digest()))

    def _next_finished(self) -> Unit | None:
        if self._recorded:
            unit = self._completed.pop(self._recorded[0], None)
            if unit is not None:
                self._recorded.popleft()
            return unit
        if not self._completed:
            return None
        return self._completed.pop(next(iter(self._completed)))

    def _deliver(self, unit: Unit) -> None:
        charge = serve(unit, self.meter, self._slots, self._written)
        self._charge(unit.request, charge)
        if self._on_reply is not None:
            here = charge.reply if charge.error is None else charge.error.partial
            self._on_reply(unit.request, here)
        if charge.error is not None:
            self._refused += 1
            if self._refused > MOST_REFUSALS:
                raise StrategyError(
                    f"A strategy must come to an end when its budget has, but "
                    f"{self.strategy.name} went on to ask {MOST_REFUSALS} times."
                )
        unit.owner.accept(unit.slot, charge.reply, charge.error, charge.clock)
