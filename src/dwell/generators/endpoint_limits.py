"""How many calls may be on the wire, and how many a minute.

Three rules that a server makes, kept by the client: a number of calls at once, which may be found
by trial; requests a minute; tokens a minute. Waiting is first come, first served, and a waiter
that is cancelled leaves no trace.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque

from dwell.errors import UsageError

#: A bucket holds this share of a minute's amount; the rest flows in over the minute, so that no
#: 60 seconds see more than the amount.
_BURST_SHARE = 0.1
_MINUTE_SECONDS = 60.0


class Slots:
    """Calls on the wire at once, at most `most`; fewer where the server says that it is too many.

    With `adaptive`, each refusal for overload halves the number, once per round of calls, and
    each full round of successes adds one (additive increase, multiplicative decrease).

    Args:
        most: the upper end.
        adaptive: whether to find the number by trial; else it is `most`.

    Attributes:
        busy: calls that hold a slot.
        entrance: held by whoever prepares calls, so that one work item comes after the other.

    References:
        Chiu and Jain, "Analysis of the Increase and Decrease Algorithms for Congestion Avoidance
        in Computer Networks" (1989): ``w += 1 / w`` a success, ``w /= 2`` a loss.
    """

    def __init__(self, most: int, *, adaptive: bool) -> None:
        self._most = self._window = float(most)
        self._adaptive = adaptive
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._lowered = 0.0
        self._entering: asyncio.Future[None] | None = None
        self.busy = 0
        self.entrance = asyncio.Lock()

    @property
    def window(self) -> int:
        """Calls that may be on the wire now."""
        return int(self._window)

    @property
    def wanted(self) -> bool:
        """Whether somebody is about to use a slot that was just given back, or waits for one."""
        return self.busy >= self.window or bool(self._waiting)

    async def room(self) -> int:
        """How many more calls are worth preparing; waits until the queue is short.

        A call in the queue costs memory and brings nothing, beyond one to follow each that is on
        the wire. To be asked by whoever holds the `entrance`.
        """
        await asyncio.sleep(0)  # those prepared last stand in the queue after this
        while (free := 2 * self.window - self.busy - len(self._waiting)) <= 0:
            self._entering = asyncio.get_running_loop().create_future()
            await self._entering
        return free

    async def acquire(self) -> None:
        """Take a slot, after those who asked before."""
        if self.busy < self.window and not self._waiting:
            self.busy += 1
            return
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.release()  # the slot was handed over while the waiter was cancelled
            else:
                with contextlib.suppress(ValueError):  # a release may have passed over it
                    self._waiting.remove(turn)
                self._let_in()
            raise

    def release(self) -> None:
        """Give a slot back, and hand it to whoever waits first."""
        self.busy -= 1
        self._hand_over()

    def _hand_over(self) -> None:
        while self._waiting and self.busy < self.window:
            turn = self._waiting.popleft()
            if not turn.done():
                self.busy += 1
                turn.set_result(None)
        self._let_in()

    def _let_in(self) -> None:
        """Wake whoever waits for `room`, once it is worth it."""
        entering = self._entering
        if entering is not None and len(self._waiting) <= self.window // 2:
            self._entering = None
            if not entering.done():
                entering.set_result(None)

    def succeeded(self) -> None:
        """Note a call that was served."""
        if self._adaptive and self._window < self._most:
            self._window = min(self._most, self._window + 1.0 / self._window)
            self._hand_over()

    def overloaded(self, started: float) -> None:
        """Note a call, sent at `started` (monotonic), that was refused for overload."""
        # Calls sent before the last cut tell of the load before it, not after.
        if self._adaptive and started >= self._lowered:
            self._window = max(1.0, self._window / 2.0)
            self._lowered = time.monotonic()


class Bucket:
    """A token bucket: at most `per_minute` in any 60 seconds.

    An amount larger than the bucket is let through when its time has come, and pays in advance.

    Args:
        per_minute: the amount; None = no limit.
        name: for the message.

    Raises:
        UsageError: the amount is not above 0.
    """

    def __init__(self, per_minute: float | None, name: str) -> None:
        if per_minute is not None and not per_minute > 0:
            raise UsageError(f"`{name}` must be above 0, but got {name}={per_minute}.")
        amount = per_minute or 0.0
        self._unlimited = per_minute is None
        self._size = max(1.0, amount * _BURST_SHARE)
        self._rate = max(amount - self._size, amount * (1 - _BURST_SHARE)) / _MINUTE_SECONDS
        self._level, self._filled = self._size, time.monotonic()

    def _fill(self) -> None:
        now = time.monotonic()
        self._level = min(self._size, self._level + (now - self._filled) * self._rate)
        self._filled = now

    async def take(self, amount: float) -> None:
        """Wait until the amount is there; waiters are served in the order they came."""
        if self._unlimited:
            return
        self._fill()
        self._level -= amount  # taken at once: whoever comes next waits behind
        if self._level >= 0:
            return
        try:
            await asyncio.sleep(-self._level / self._rate)
        except asyncio.CancelledError:
            self.give_back(amount)
            raise

    def give_back(self, amount: float) -> None:
        """Return what was taken and not used; a negative amount takes more."""
        if not self._unlimited:
            self._fill()
            self._level = min(self._size, self._level + amount)
