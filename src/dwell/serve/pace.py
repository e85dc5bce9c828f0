"""Work that is begun a little at a time, so that replies that are due are not kept waiting."""

from __future__ import annotations

import asyncio
from collections import deque


class Pace:
    """Lets so many pieces of work begin in one turn of the event loop; the others queue.

    Args:
        most: pieces a turn.
    """

    def __init__(self, most: int) -> None:
        self._most = self._left = most
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._ticking = False

    async def turn(self) -> None:
        """Wait for this piece's turn, in the order of asking."""
        if not self._ticking:
            self._ticking = True
            asyncio.get_running_loop().call_soon(self._tick)
        if self._left and not self._waiting:
            self._left -= 1
            return
        mine = asyncio.get_running_loop().create_future()
        self._waiting.append(mine)
        await mine

    def _tick(self) -> None:
        self._left = self._most
        while self._waiting and self._left:
            mine = self._waiting.popleft()
            if not mine.done():  # it was cancelled meanwhile
                mine.set_result(None)
                self._left -= 1
        self._ticking = bool(self._waiting)
        if self._ticking:
            asyncio.get_running_loop().call_soon(self._tick)
