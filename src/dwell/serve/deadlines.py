"""Replies that are there in time: which is begun when, and what has to wait until they are sent.

One processor writes one reply after another. So the reply that is due first is begun so early
that it and all that are due after it can be written in turn, each by its own deadline: the latest
schedule in the order of deadlines (Jackson 1955, earliest due date first). How long a reply takes
is measured, with everything that the machine does meanwhile.
"""

from __future__ import annotations

import asyncio
import time
from bisect import insort
from collections import deque
from collections.abc import Callable
from operator import attrgetter

#: Seconds of a reply before any was measured.
FIRST_SECONDS = 0.001
#: Weight of the newest measurement, the most seconds of one, and by how much more than thought is
#: planned for. On a busy machine replies take mostly the pauses between them, which so count.
WEIGHT, MOST_SECONDS, SAFETY = 1 / 64, 0.1, 1.1
#: Seconds in which a reply crosses to its client; by what replies were late of late comes on top.
CROSSING = 0.003
#: How much of a lateness is remembered a reply later.
REMEMBERED = 0.98
#: A reply is begun at most this share of its deadline early.
MOST_EARLY = 0.1
#: Chores rest while a reply is due within so many seconds, and at most so long.
QUIET, LONGEST_REST = 0.05, 0.5


class Due:
    """A request whose reply is due.

    Attributes:
        at: when, on the monotonic clock.
        earliest: before which the reply is not begun.
        over: whether it is to be begun.
        begun: when it was.
    """

    __slots__ = ("_listeners", "at", "begun", "earliest", "over")

    def __init__(self, arrived: float, seconds: float) -> None:
        self.at = arrived + seconds
        self.earliest = self.at - MOST_EARLY * seconds
        self.over = False
        self.begun = 0.0
        self._listeners: list[Callable[[], object]] = []

    def tell(self, listener: Callable[[], object]) -> None:
        """Call a function when the reply is to be begun; at once if that is so already."""
        if self.over:
            listener()
        else:
            self._listeners.append(listener)

    def ring(self, now: float) -> None:
        """Have the reply begun."""
        self.over, self.begun = True, now
        for listener in self._listeners:
            listener()


class Deadlines:
    """The replies that are due, and chores that wait for them."""

    def __init__(self) -> None:
        self._waiting: list[Due] = []
        self._timer: asyncio.TimerHandle | None = None
        self._planned = 0.0
        self._reply_seconds = FIRST_SECONDS
        self._late = 0.0
        self._last_left = 0.0
        self._chores: deque[tuple[float, Callable[[], object]]] = deque()
        self._doing = False

    # ---- replies ---------------------------------------------------------------------------

    def enter(self, arrived: float, seconds: float) -> Due:
        """A request that arrived then, and whose reply is due so many seconds later."""
        due = Due(arrived, seconds)
        insort(self._waiting, due, key=attrgetter("at"))
        self._plan()
        return due

    def leave(self, due: Due) -> None:
        """A reply is on its way, or is not waited for any more."""
        if not due.over:
            self._waiting.remove(due)
            self._plan()
            return
        now = time.monotonic()
        # A reply that waited for another one took the time since that was on its way.
        took = min(now - max(due.begun, self._last_left), MOST_SECONDS)
        self._reply_seconds += WEIGHT * (took - self._reply_seconds)
        self._last_left = now
        self._late = max(now - due.at, REMEMBERED * self._late)

    def _plan(self) -> None:
        """Set the clock to when the first reply is to be begun."""
        if not self._waiting:
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
            return
        begin = max(self._latest_start(), self._waiting[0].earliest)
        if self._timer is not None:
            if begin == self._planned:
                return
            self._timer.cancel()
        self._planned = begin
        self._timer = asyncio.get_running_loop().call_at(begin, self._ring)

    def _latest_start(self) -> float:
        """When to begin the first reply so that it and all after it are in time."""
        each = SAFETY * self._reply_seconds
        first = self._waiting[0].at
        start = first - each
        ahead = each
        for due in self._waiting[1:]:
            ahead += each
            if due.at - ahead < start:
                start = due.at - ahead
            elif due.at - first > 1.0:  # so far off that no backlog reaches it
                break
        return start - CROSSING - self._late

    def _ring(self) -> None:
        """Begin every reply whose time has come."""
        self._timer = None
        now = time.monotonic()
        while self._waiting:
            head = self._waiting[0]
            if max(self._latest_start(), head.earliest) > now:
                break
            del self._waiting[0]
            head.ring(now)
        self._plan()

    # ---- chores ----------------------------------------------------------------------------

    def afterwards(self, chore: Callable[[], object]) -> None:
        """Do something when no reply is due soon: it must not raise, and should not take long."""
        self._chores.append((time.monotonic() + LONGEST_REST, chore))
        if not self._doing:
            self._doing = True
            asyncio.get_running_loop().call_later(QUIET, self._do_one)

    def _do_one(self) -> None:
        """Do a chore, one a turn of the event loop."""
        if not self._chores:
            self._doing = False
            return
        now = time.monotonic()
        by, chore = self._chores[0]
        busy = self._waiting and self._planned - now < QUIET
        if (busy or now - self._last_left < QUIET / 5) and now < by:
            asyncio.get_running_loop().call_later(QUIET / 5, self._do_one)
            return
        self._chores.popleft()
        chore()
        asyncio.get_running_loop().call_soon(self._do_one)

    def finish(self) -> None:
        """Do all chores now."""
        while self._chores:
            self._chores.popleft()[1]()
