"""A request that a draw a choice answers: its `n` choices, in as few calls as the model takes.

There is no strategy to run, no deadline and no budget but the number of draws, so the client's
`n` is the model's `n`, whose prompt is read once for all of them. What the model leaves out, where
it ignores `n` or halves it, is asked for again.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from dwell.keys import draw_seeds
from dwell.protocols import Attempt
from dwell.records import Context, Usage
from dwell.requests import Generate
from dwell.serve.asking import Asked
from dwell.serve.draws import Call, Source
from dwell.serve.ended import Ended, failure_of, of_one_draw
from dwell.serve.replies import account
from dwell.serve.session import as_problem, keys_of

Note = Callable[[Asked, Ended], None]
#: Where a strategy adds nothing, the conversation is the client's body alone.
_NOTHING_MORE = Context(messages=(("user", ""),))


def choices_of(asked: Asked) -> list[Asked]:
    """The request as each of its choices sees it."""
    return [asked] if asked.n == 1 else [replace(asked, choice=k) for k in range(asked.n)]


class Together:
    """The draws of a request, one a choice.

    Args:
        asked: the request, which is `plain`.
        source: makes the draws.
        begun: when it arrived, on the monotonic clock.
        note: counts and remembers what became of a choice.
        task: name of the task whose checker extracts answers, "" = none.
    """

    def __init__(
        self,
        asked: Asked,
        source: Source,
        begun: float,
        note: Note,
        task: str = "",
    ) -> None:
        self.asked, self.each = asked, choices_of(asked)
        self._source, self._begun, self._note = source, begun, note
        params = asked.strategy.params()
        self._request = Generate(
            _NOTHING_MORE, temperature=params["temperature"], max_tokens=params["max_tokens"]
        )
        name = asked.id if asked.seed is None else f"seed:{asked.seed}"
        self._key = keys_of(self._request, name)[0].hash
        self._problem = as_problem(asked.id, asked.text, task)
        self._ends: dict[int, Ended] = {}
        self._sent: dict[int, float] = {}  # when the call was sent that this choice is first of

    async def ended(self) -> list[tuple[Asked, Ended]]:
        """What became of each choice, once all are here.

        Raises:
            Refused: one of them ended without a completion.
        """
        waiting = [place for place in range(self.asked.n) if place not in self._ends]
        while waiting:
            size = self._source.most_together
            groups = [waiting[k : k + size] for k in range(0, len(waiting), size)]
            waiting = await self._calls(groups)
        found = [(one, self._ends[one.choice]) for one in self.each]
        for one, ended in found:
            if (refused := failure_of(ended)) is not None:
                refused.dwell = account(one, ended)
                raise refused
        return found

    async def _calls(self, groups: Sequence[Sequence[int]]) -> list[int]:
        """A call for each group of choices, at once; the choices that none of them brought."""
        if len(groups) == 1:
            return await self._call(groups[0])
        tasks = [asyncio.ensure_future(self._call(group)) for group in groups]
        try:
            return [place for rest in await asyncio.gather(*tasks) for place in rest]
        finally:
            for task in tasks:
                task.cancel()

    def call(self, places: Sequence[int]) -> Call:
        """What is to be sent for some of the choices."""
        caps = [cap for cap in (self.asked.max_tokens, self._request.max_tokens) if cap]
        return Call(
            asked=self.asked,
            request=self._request,
            problem=self._problem,
            key=self._key,
            indices=places,
            seeds=self._seeds(places),
            max_tokens=min(caps, default=None),
        )

    def keep(self, place: int, ended: Ended) -> None:
        """Note what became of a choice that came in another way."""
        self._ends[place] = ended

    async def _call(self, places: Sequence[int]) -> list[int]:
        self._sent[places[0]] = time.monotonic()
        draws, attempts = await self._source.draw(self.call(places))
        seconds = time.monotonic() - self._begun
        for k, (place, draw) in enumerate(zip(places, draws, strict=False)):
            self._ends[place] = of_one_draw(draw, [] if k else attempts, "done", seconds)
        return list(places[len(draws) :])

    def _seeds(self, places: Sequence[int]) -> list[int] | None:
        """The client's seed for the first choice; the others' follow from it."""
        seed = self.asked.seed
        if seed is None:
            return None
        return [draw_seeds(self._key, place, 1)[0] if place else seed for place in places]

    def settle(self) -> None:
        """Note what became of each choice; those that never came were given up."""
        for one in self.each:
            self._note(one, self._ends.get(one.choice) or self._given_up(one.choice))

    def _given_up(self, place: int) -> Ended:
        now = time.monotonic()
        lost = []
        if (sent := self._sent.get(place)) is not None:
            usage = Usage(seconds=now - sent)
            lost = [Attempt(outcome="cancelled", usage=usage, estimated=True, index=place)]
        return of_one_draw(None, lost, "cancelled", now - self._begun)
