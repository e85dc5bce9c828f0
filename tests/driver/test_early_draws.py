"""Draws that a source hands over before the rest of their request."""

import asyncio

import pytest
from world import Restless, about, ask, drive_all, numbered, table

from dwell.errors import GeneratorError
from dwell.ledger import Ledger
from dwell.protocols import Attempt, Outcome
from dwell.records import Usage


class Piecewise(Restless):
    """Hands over every other draw, one by one; then does `last`, if there is something to do."""

    def __init__(self, inner, last=None, pause=0.003, **options):
        super().__init__(inner, **options)
        self.last, self.pause = last, pause

    async def generate(self, work):
        (outcome,) = await super().generate(work)
        places = range(0, len(outcome.draws), 2)
        tried = Attempt(outcome="timeout", usage=Usage(output_tokens=1))
        for place in places:
            work[0].early([place], Outcome([outcome.draws[place]], [tried]))
            await asyncio.sleep(self.pause)
        if self.last is not None:
            await self.last()
        return [outcome]


def whole(n, name="a"):
    def solve(problem, rng):
        drawn = yield ask(n, context=about(name))
        return ",".join(candidate.text for candidate in drawn)

    return solve


async def give_up():
    raise GeneratorError("the key was withdrawn", hopeless=True)


def recorded(ledger):
    return sorted(row[0] for row in table(ledger, "draw", "i"))


@pytest.mark.parametrize("n", [1, 2, 5, 8])
def test_draws_that_come_early_are_delivered_and_recorded_once(n):
    with Ledger(":memory:") as ledger:
        (session,) = drive_all(
            {"r": whole(n)}, generator=Piecewise(numbered()), ledger=ledger
        ).values()
        assert session.answer == ",".join(f"a#{i}" for i in range(n))
        assert recorded(ledger) == list(range(n))
        assert len(table(ledger, "attempt")) == (n + 1) // 2
        assert ledger.totals().draws == session.meter.charged().calls == n


@pytest.mark.parametrize("pause", [0.003, 0.0])  # in several turns of the loop, and in one
def test_who_needs_only_early_draws_goes_on_before_the_rest_is_there(pause):
    done = []

    async def wait():
        while "short" not in done:
            await asyncio.sleep(0.001)

    sessions = drive_all(
        {"long": whole(4), "short": whole(1)},
        generator=Piecewise(numbered(), wait, pause),
        on_progress=lambda progress: done.extend(["short"] * progress.runs_done),
    )
    assert {name: session.answer for name, session in sessions.items()} == {
        "long": "a#0,a#1,a#2,a#3", "short": "a#0",
    }  # fmt: skip


def test_a_hopeless_source_stops_the_study_and_early_draws_stay():
    with Ledger(":memory:") as ledger:
        with pytest.raises(GeneratorError, match="withdrawn"):
            drive_all({"r": whole(6)}, generator=Piecewise(numbered(), give_up), ledger=ledger)
        assert recorded(ledger) == [0, 2, 4]
        assert ledger.failed_runs() == []
        again = Restless(numbered())
        (session,) = drive_all({"r": whole(6)}, generator=again, ledger=ledger).values()
        assert sorted(i for _, i in again.made) == [1, 3, 5]
        assert session.answer == "a#0,a#1,a#2,a#3,a#4,a#5"


def test_what_was_reserved_for_early_draws_is_released_once():
    with Ledger(":memory:") as ledger:
        fns = {f"r{k}": whole(4, f"c{k}") for k in range(5)}
        generator = Piecewise(numbered(), concurrency=1)
        sessions = drive_all(fns, generator=generator, ledger=ledger, spend_limits={"calls": 20})
        assert {session.status for session in sessions.values()} == {"done"}
        assert ledger.totals().draws == 20
