"""Failed draws, failed calls, broken sources and broken strategies."""

import asyncio

import pytest
from world import CONTEXT, Fails, Lengths, Restless, about, ask, drive, drive_all, numbered, table

from dwell.errors import GeneratorError, UsageError, VerifierError
from dwell.generators import Scripted
from dwell.ledger import Ledger
from dwell.protocols import Attempt, Outcome
from dwell.records import Draw, Usage
from dwell.requests import Perturb, Verify


def whole(name, n=2):
    def solve(problem, rng):
        drawn = yield ask(n, context=about(name))
        return ",".join(candidate.text for candidate in drawn)

    return solve


def test_a_failed_draw_is_stored_and_delivered_as_a_failed_candidate():
    failed = Draw(status="failed", text="timed out", prompt_tokens=3, output_tokens=2)
    generator = Scripted.from_list(["fine", failed])

    def solve(problem, rng):
        drawn = yield ask(3)
        return repr([(c.status, c.text, c.answer) for c in drawn])

    with Ledger(":memory:") as ledger:
        session = drive(solve, generator=generator, ledger=ledger)
        rows = table(ledger, "draw", "i, status, text")
    assert (
        session.answer
        == "[('end', 'fine', 'fine'), ('failed', '', None), ('end', 'fine', 'fine')]"
    )
    assert rows == [(0, "end", "fine"), (1, "failed", "timed out"), (2, "end", "fine")]
    assert session.meter.charged().output_tokens == 4


def test_attempts_are_stored():
    class Retries(Restless):
        async def generate(self, work):
            (outcome,) = await super().generate(work)
            tried = Attempt(
                outcome="timeout", usage=Usage(output_tokens=7), estimated=True, index=1
            )
            return [Outcome(outcome.draws, [tried])]

    with Ledger(":memory:") as ledger:
        drive(whole("a"), generator=Retries(numbered()), ledger=ledger)
        assert table(ledger, "attempt", "i, outcome, usage, estimated") == [
            (1, "timeout", '{"output_tokens": 7}', 1)
        ]
        assert ledger.totals().spent.output_tokens == 9


def test_a_failed_call_ends_only_the_runs_that_wait_for_it():
    generator = Fails(numbered(), GeneratorError("server down"))
    with Ledger(":memory:") as ledger:
        sessions = drive_all(
            {"good": whole("g"), "bad": whole("bad"), "too": whole("bad", 1)},
            generator=generator,
            ledger=ledger,
        )
        assert sessions["good"].answer == "g#0,g#1"
        assert sessions["bad"].status == "failed: GeneratorError: server down"
        assert sessions["too"].status.startswith("failed: ")
        assert {row.run for row in ledger.answers()} == {"good"}
        assert sorted(name for name, _ in ledger.failed_runs()) == ["bad", "too"]
        assert {row[0] for row in table(ledger, "attempt", "outcome")} == {
            "GeneratorError: server down"
        }


def test_a_failed_run_is_made_again_the_next_time():
    with Ledger(":memory:") as ledger:
        failing = Fails(numbered(), GeneratorError("server down"))
        drive(whole("bad"), generator=failing, ledger=ledger)
        session = drive(whole("bad"), generator=numbered(), ledger=ledger)
        assert session.answer == "bad#0,bad#1"
        assert ledger.failed_runs() == []
        assert ledger.finished_runs() == {"r"}


def test_a_verifier_that_fails_is_never_a_score_of_zero():
    class Broken(Lengths):
        async def score(self, work):
            raise VerifierError("no scores today")

    def solve(problem, rng):
        yield Verify((yield ask(2)))
        return "scored"

    with Ledger(":memory:") as ledger:
        session = drive(solve, verifiers={"process": Broken()}, ledger=ledger)
        assert session.status == "failed: VerifierError: no scores today"
        assert table(ledger, "key", "op") == [("generate",)]


def test_a_source_used_wrongly_stops_the_study_after_committing():
    class Later(Fails):
        async def generate(self, work):
            if self.bad in work[0].request.context.messages[-1][1]:
                for _ in range(20):
                    await asyncio.sleep(0)
            return await super().generate(work)

    with Ledger(":memory:") as ledger:
        with pytest.raises(UsageError, match="key is wrong"):
            drive_all(
                {"good": whole("g"), "bad": whole("bad")},
                generator=Later(numbered(), UsageError("key is wrong")),
                ledger=ledger,
            )
        assert ledger.finished_runs() == {"good"}
        assert len(table(ledger, "draw")) == 2


def test_a_defect_of_a_source_is_not_hidden():
    with Ledger(":memory:") as ledger, pytest.raises(ZeroDivisionError):
        drive(whole("bad"), generator=Fails(numbered(), ZeroDivisionError()), ledger=ledger)


@pytest.mark.parametrize("count", [0, 1, 3])
def test_a_source_that_returns_another_number_of_draws_is_named(count):
    class Miscounts(Restless):
        async def generate(self, work):
            return [Outcome([Draw(text="x")] * count)]

    with pytest.raises(
        UsageError, match=r"one draw for each seed, but scripted:.*\[2\].*returned"
    ):
        drive(whole("a"), generator=Miscounts(numbered()))


def test_a_strategy_s_own_defect_ends_only_its_run():
    def broken(problem, rng):
        yield ask()
        raise KeyError("lost")

    def at_once(problem, rng):
        raise RuntimeError("before anything")
        yield

    with Ledger(":memory:") as ledger:
        sessions = drive_all(
            {"broken": broken, "at once": at_once, "good": whole("g")}, ledger=ledger
        )
        assert sessions["broken"].status == "failed: KeyError: 'lost'"
        assert sessions["at once"].status == "failed: RuntimeError: before anything"
        assert sessions["good"].status == "done"
        assert len(table(ledger, "draw")) == 3


def test_a_defect_in_a_sub_strategy_ends_the_run():
    def sub():
        yield ask()
        raise ValueError("deep")

    def solve(problem, rng):
        yield [sub(), ask()]

    assert drive(solve).status == "failed: ValueError: deep"


def test_the_draws_of_a_failed_run_stay_and_are_shared():
    def broken(problem, rng):
        yield ask(4, context=CONTEXT)
        raise KeyError

    generator = Restless(numbered(), 1)
    drive_all({"broken": broken, "good": whole("Q", 4)}, generator=generator)
    assert len(generator.made) == 4


def test_a_generator_that_cannot_perturb_says_so():
    def solve(problem, rng):
        (drawn,) = yield ask()
        yield Perturb(drawn, "noise", 1.0)

    class Plain:
        fingerprint, info, provides = "plain", {}, frozenset()
        max_batch = concurrency = slots = 1
        default_max_tokens = 9

        async def generate(self, work):
            return [Outcome([Draw(text="x") for _ in item.seeds]) for item in work]

    with pytest.raises(UsageError, match="perturbs latent states"):
        drive(solve, generator=Plain())


def test_stopping_in_the_middle_keeps_what_came_back():
    class Stops(Restless):
        async def generate(self, work):
            if self.calls == 5:
                raise KeyboardInterrupt
            return await super().generate(work)

    with Ledger(":memory:") as ledger:
        fns = {f"r{k}": whole(f"c{k}") for k in range(9)}
        with pytest.raises(KeyboardInterrupt):
            drive_all(fns, generator=Stops(numbered(), 1, concurrency=1), ledger=ledger)
        kept = len(table(ledger, "draw"))
        assert 0 < kept < 18
        generator = Restless(numbered())
        sessions = drive_all(fns, generator=generator, ledger=ledger)
        assert len(generator.made) == 18 - kept
        assert all(session.status == "done" for session in sessions.values())
