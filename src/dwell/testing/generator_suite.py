"""What every generator must do, as a class of tests to inherit."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, ClassVar

from dwell.protocols import GenerateWork, Generator, Outcome
from dwell.records import Draw, Problem, Usage
from dwell.requests import Generate
from dwell.testing.draws import check_charges, same_draws
from dwell.testing.player import PROBLEM


class GeneratorSuite:
    """What every generator must do. Subclasses give a fixture `generator`.

    Attributes:
        problem: what is asked; override it with a prompt that the generator understands.
        reproducible: False for generators whose draws are not a function of the seed (live
            endpoints): what depends on that is not checked.
        counts_tokens: False for generators whose draws do not obey `max_tokens`.
    """

    problem: ClassVar[Problem] = PROBLEM
    reproducible: ClassVar[bool] = True
    counts_tokens: ClassVar[bool] = True

    def work(self, num_draws: int, *, first: int = 0, **asked: Any) -> GenerateWork:
        """A work item; draw i has the seed 1000 + i."""
        context = asked.pop("context", None) or self.problem.context()
        indices = range(first, first + num_draws)
        return GenerateWork(
            request=Generate(context, n=num_draws, **asked),
            seeds=[1000 + i for i in indices],
            indices=list(indices),
            problem=self.problem,
        )

    def ask(
        self, generator: Generator, *batches: Sequence[GenerateWork]
    ) -> list[Sequence[Outcome]]:
        """One `generate` call per batch, in one event loop, then `close`."""

        async def main() -> list[Sequence[Outcome]]:
            try:
                return [await generator.generate(batch) for batch in batches]
            finally:
                await generator.close()

        return asyncio.run(main())

    def test_is_a_generator(self, generator: Generator) -> None:
        """It has the protocol's attributes, with values that a driver can use."""
        assert isinstance(generator, Generator)
        assert isinstance(generator.fingerprint, str)
        assert generator.fingerprint
        assert generator.max_batch >= 1
        assert generator.concurrency >= 1
        assert generator.slots >= 0
        assert generator.default_max_tokens >= 1
        assert isinstance(generator.provides, frozenset)
        json.dumps(dict(generator.info))

    def test_one_outcome_per_item_and_one_draw_per_seed(self, generator: Generator) -> None:
        """In order, failures included: a failure is a draw."""
        sizes = [1] if generator.max_batch == 1 else [1, 2]
        (outcomes,) = self.ask(generator, [self.work(size) for size in sizes])
        assert [len(outcome.draws) for outcome in outcomes] == sizes
        for outcome in outcomes:
            for draw in outcome.draws:
                assert isinstance(draw, Draw)
                assert draw.status in ("end", "step", "cap", "failed")

    def test_same_seed_gives_the_same_draw(self, generator: Generator) -> None:
        """A draw is a function of its key's seed and index."""
        if self.reproducible:
            once, again = self.ask(generator, [self.work(1)], [self.work(1)])
            assert same_draws(once[0].draws, again[0].draws)

    def test_draws_do_not_depend_on_their_batch(self, generator: Generator) -> None:
        """Alone, with others, or split: the same draws."""
        if not self.reproducible or generator.max_batch < 4:
            return
        together, alone, rest = self.ask(
            generator,
            [self.work(1, first=7), self.work(3)],
            [self.work(1)],
            [self.work(2, first=1)],
        )
        assert same_draws(together[1].draws, [*alone[0].draws, *rest[0].draws])

    def test_charges_are_finite_and_not_negative(self, generator: Generator) -> None:
        """Tokens, FLOPs, seconds and dollars of every draw, and of a shared prompt."""
        (outcomes,) = self.ask(generator, [self.work(1)])
        for draw in outcomes[0].draws:
            check_charges(draw)
        shared = generator.shared_prompt(10)
        assert isinstance(shared, Usage)
        assert all(math.isfinite(amount) and amount >= 0 for _, amount in shared.items())

    def test_cap_on_tokens_is_obeyed(self, generator: Generator) -> None:
        """No draw adds more than `max_tokens`."""
        if self.counts_tokens:
            (outcomes,) = self.ask(generator, [self.work(1, max_tokens=2)])
            assert all(draw.output_tokens <= 2 for draw in outcomes[0].draws)

    def test_steps_halt_and_go_on(self, generator: Generator) -> None:
        """Where steps and partial texts are provided, a step can be continued."""
        if not {"step", "partial"} <= generator.provides:
            return
        first = self.work(1, until="step")
        ((outcome,),) = self.ask(generator, [first])
        (draw,) = outcome.draws
        if draw.status == "step":
            assert draw.text
            context = replace(self.problem.context(), partial=draw.text)
            ((following,),) = self.ask(generator, [self.work(1, context=context)])
            assert following.draws[0].status in ("end", "cap", "failed")

    def test_wanted_statistics_come_back(self, generator: Generator) -> None:
        """Every statistic in `provides` is in the draw's `stats` when wanted."""
        capabilities = {"partial", "step", "forbid_end", "shared_prefix", "perturb"}
        wanted = frozenset(generator.provides - capabilities)
        if wanted:
            ((outcome,),) = self.ask(generator, [self.work(1, want=wanted)])
            for draw in outcome.draws:
                assert draw.status == "failed" or wanted <= set(draw.stats or {})
