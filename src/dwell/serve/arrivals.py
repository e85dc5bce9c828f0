"""When a request arrived, as nearly as an event loop can know.

A loop that finds many requests at once reads all of them before it looks at the first: with two
hundred that takes tens of milliseconds, which their deadlines would not see. What is looked at in
one turn was there when the turn before it began.
"""

from __future__ import annotations

import selectors
import time


class Waking(selectors.DefaultSelector):
    """A selector that remembers when it last woke its event loop."""

    def __init__(self) -> None:
        super().__init__()
        self._woke = self._woke_before = time.monotonic()

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """The files that are ready."""
        ready = super().select(timeout)
        self._woke_before, self._woke = self._woke, time.monotonic()
        return ready

    def arrived(self) -> float:
        """When the turn before this one began, on the monotonic clock."""
        return self._woke_before
