"""Draws from a generator in this process: an embedded model, a script."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from dwell.keys import draw_seeds
from dwell.protocols import Attempt, GenerateWork, Generator, Task
from dwell.records import Answer, Context, Draw, Problem
from dwell.serve.asking import Asked
from dwell.serve.draws import Call, LiveDraw
from dwell.tasks.answers import vote_key

Extract = Callable[[Problem, str], Answer]


class Embedded:
    """A generator as a source of live draws.

    It reads text alone: the client's tools, images and JSON mode are refused. Of the sampling
    parameters it honours `temperature`, `max_tokens`, `stop` and `seed`.

    Args:
        generator: makes the draws.
        task: extracts answers; None = what a completion says, see `dwell.tasks.answers.vote_key`.
        pattern: the operator's, for answers without a task.
    """

    def __init__(
        self,
        generator: Generator,
        task: Task | None = None,
        pattern: re.Pattern[str] | None = None,
    ) -> None:
        self._generator, self._task, self._pattern = generator, task, pattern
        self.fingerprint, self.info = generator.fingerprint, generator.info
        self.provides = generator.provides
        self.most_together = max(1, generator.max_batch)
        self._slots = asyncio.Semaphore(generator.concurrency)

    async def open(self) -> None:
        """Nothing to do."""

    async def close(self) -> None:
        """Close the generator."""
        await self._generator.close()

    async def draw(self, call: Call) -> tuple[list[LiveDraw], list[Attempt]]:
        """All draws of a call."""
        asked, request = call.asked, call.request
        head = asked.messages()
        messages = (*head, *request.context.messages[1:])
        context = replace(request.context, messages=messages)  # type: ignore[arg-type]
        temperature = asked.body.get("temperature", request.temperature)
        wanted = replace(
            request,
            context=context,
            n=len(call.indices),
            temperature=None if temperature is None else float(temperature),
            max_tokens=call.max_tokens or request.max_tokens,
            stop=(*request.stop, *asked.stops),
        )
        count = len(call.indices)
        given = [seed % 2**64 for seed in call.seeds or ()]
        seeds = given or draw_seeds(call.key, call.indices[0], count)
        work = GenerateWork(
            request=wanted,
            seeds=seeds,
            indices=call.indices,
            problem=call.problem,
            stream=asked.id,
        )
        async with self._slots:
            (outcome,) = await self._generator.generate([work])
        made = [self._live(draw, call, context) for draw in self._sharing(outcome.draws)]
        return made, list(outcome.attempts)

    def _sharing(self, draws: Sequence[Draw]) -> list[Draw]:
        """The draws of one call, whose prompt was read once: by the first that read any."""
        found: list[Draw] = []
        was_read = False
        for draw in draws:
            if was_read:
                saved = self._generator.shared_prompt(draw.prompt_tokens)
                draw = replace(
                    draw,
                    prompt_tokens=0,
                    cached_tokens=draw.prompt_tokens,
                    flops=draw.flops - saved.flops,
                    seconds=draw.seconds - saved.seconds,
                    usd=draw.usd - saved.usd,
                )
            was_read = was_read or draw.prompt_tokens > 0
            found.append(draw)
        return found

    def _live(self, draw: Draw, call: Call, context: Context) -> LiveDraw:
        values = {name: getattr(draw, name) for name in Draw.__slots__}
        if draw.status == "failed":
            return LiveDraw(**values)
        text = context.partial + draw.text
        if draw.status == "step":
            answer = None
        elif self._task is None:
            answer = vote_key(text, pattern=self._pattern)
        else:
            answer = self._task.extract(call.problem, text)
        return LiveDraw(**values, choice=_choice(call.asked, text, draw.status), answer=answer)


def _choice(asked: Asked, text: str, status: str) -> Mapping[str, Any]:
    reason = "length" if status == "cap" else "stop"
    if asked.chat:
        return {"message": {"role": "assistant", "content": text}, "finish_reason": reason}
    return {"text": text, "finish_reason": reason}
