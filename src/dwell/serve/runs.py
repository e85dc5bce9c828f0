"""The runs of one request, one for each choice: begun together, and settled after the reply."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial

from dwell.serve.asking import Asked
from dwell.serve.deadlines import Deadlines
from dwell.serve.ended import Ended, failure_of
from dwell.serve.live import Live
from dwell.serve.replies import account
from dwell.serve.together import Note, choices_of


class Runs:
    """The runs of a request.

    Args:
        asked: the request.
        make: makes one run, of one choice.
        deadlines: where what may wait is put off to.
        note: counts and remembers what became of a run.
    """

    def __init__(
        self, asked: Asked, make: Callable[[Asked], Live], deadlines: Deadlines, note: Note
    ) -> None:
        self._lives = [make(one) for one in choices_of(asked)]
        self._ends: dict[Live, Ended] = {}
        self._deadlines, self._note = deadlines, note

    async def ended(self) -> list[tuple[Asked, Ended]]:
        """What became of each run.

        Raises:
            Refused: a run ended without any completion; the others are given up.
        """
        if len(self._lives) == 1:
            return [await self._one(self._lives[0])]
        tasks = [asyncio.ensure_future(self._one(live)) for live in self._lives]
        try:
            return await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()

    async def _one(self, live: Live) -> tuple[Asked, Ended]:
        ended = self._ends[live] = await live.run()
        if (refused := failure_of(ended)) is not None:
            refused.dwell = account(live.asked, ended)
            raise refused
        return live.asked, ended

    def settle(self) -> None:
        """Cancel what is still on its way and note what became of each run.

        Runs that met their deadline wait with that until no other reply is due.
        """
        for live in self._lives:
            ended = self._ends.get(live)
            if ended is not None and ended.status == "deadline":
                self._deadlines.afterwards(partial(self._late, live, ended))
            else:
                ended = live.ended("cancelled") if ended is None else ended
                for call in live.abandon(ended):
                    call.cancel()
                self._note(live.asked, ended)

    def _late(self, live: Live, ended: Ended) -> None:
        for call in live.abandon(ended):
            self._deadlines.afterwards(call.cancel)
        self._note(live.asked, ended)
