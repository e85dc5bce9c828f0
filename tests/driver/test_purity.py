"""Strategies that are not functions of their replies and their `rng` are found out."""

import pytest
from world import Plays, Restless, about, ask, drive, drive_all, numbered, table

from dwell.errors import LedgerError, StrategyError
from dwell.generators import Scripted
from dwell.generators.scripted import CAPABILITIES
from dwell.ledger import Ledger


class Moody:
    """A strategy that asks something else each time that it is run."""

    def __init__(self):
        self.mood = 0

    def __call__(self, problem, rng):
        self.mood += 1
        for k in range(8):
            yield ask(context=about(f"mood {self.mood} {k}"))
        return "done"


def pure(problem, rng):
    for _ in range(8):
        (drawn,) = yield ask(context=about(f"{rng.integers(1000)}"))
    return drawn.added


class Stop(Exception):
    pass


def interrupt(fn, ledger, after):
    """Make a run, and break it off after some turns of the engine."""
    left = [after]

    def count(progress):
        left[0] -= 1
        if not left[0]:
            raise Stop

    with pytest.raises(Stop):
        drive(fn, ledger=ledger, on_progress=count)
    assert table(ledger, "run", "status") == [("running",)]


def test_an_impure_strategy_is_reported_when_its_run_is_resumed():
    with Ledger(":memory:") as ledger:
        moody = Moody()
        interrupt(moody, ledger, 5)
        session = drive(moody, ledger=ledger)
        assert session.status.startswith("failed: StrategyError: A strategy must ask the same")


@pytest.mark.parametrize("after", [3, 5, 9])
def test_a_pure_strategy_is_resumed_and_gives_the_same(after):
    expected = drive(pure)
    with Ledger(":memory:") as ledger:
        interrupt(pure, ledger, after)
        session = drive(pure, ledger=ledger)
    assert (session.answer, session.digest()) == (expected.answer, expected.digest())


def test_a_check_repeats_finished_runs_and_makes_no_draws():
    generator = Restless(numbered())
    with Ledger(":memory:") as ledger:
        drive(pure, ledger=ledger)
        rows = [table(ledger, name) for name in ("run", "answer", "draw")]
        session = drive(pure, ledger=ledger, generator=generator, check=True)
        assert session.status == "done"
        assert generator.made == []
        assert [table(ledger, name) for name in ("run", "answer", "draw")] == rows


def test_a_check_reports_an_impure_strategy():
    with Ledger(":memory:") as ledger:
        moody = Moody()
        drive(moody, ledger=ledger)
        with pytest.raises(StrategyError, match="impure"):
            drive(moody, ledger=ledger, check=True)


def test_a_check_leaves_runs_that_were_never_made():
    with Ledger(":memory:") as ledger:
        drive(pure, ledger=ledger)
        sessions = drive_all({"r": pure, "new": pure}, ledger=ledger, check=True)
        assert set(sessions) == {"r"}


def test_an_impure_answer_is_found_too():
    answers = iter("ab")

    def solve(problem, rng):
        yield ask()
        return next(answers)

    with Ledger(":memory:") as ledger:
        drive(solve, ledger=ledger)
        with pytest.raises(StrategyError, match="impure"):
            drive(solve, ledger=ledger, check=True)


def test_randomness_comes_from_the_problem_the_strategy_and_the_stream():
    def solve(problem, rng):
        return str(rng.integers(10**9))
        yield

    with Ledger(":memory:") as ledger:
        together = drive_all({k: Plays(solve, k) for k in "abc"}, ledger=ledger)
    assert together["b"].answer == drive(Plays(solve, "b"), name="other").answer
    assert together["a"].answer != together["b"].answer
    assert drive(Plays(solve, "b"), seed=1).answer != together["b"].answer


# ---- statistics that the study wants ---------------------------------------------------------


def surprised(problem, rng):
    drawn = yield ask(3)
    return ",".join(str(candidate.stats.get("surprisal")) for candidate in drawn)


def plain(problem, rng):
    yield ask(2)
    return None


def known():
    return Scripted.from_list(["a", "b"], stats={"surprisal": lambda context, text: len(text) / 4})


def test_wanted_statistics_are_asked_for_recorded_and_read_again():
    wants = frozenset({"surprisal"})
    with Ledger(":memory:") as ledger:
        first = drive(surprised, generator=known(), ledger=ledger, wants=wants)
        again = drive(surprised, generator=known(), ledger=ledger, wants=wants, name="again")
        assert first.answer == again.answer == "0.25,0.25,0.25"
        assert len(table(ledger, "draw")) == len(table(ledger, "stat")) == 3


def test_recorded_draws_without_the_wanted_statistics_are_annotated():
    wants = frozenset({"surprisal"})
    with Ledger(":memory:") as ledger:
        drive(plain, generator=known(), ledger=ledger)
        assert table(ledger, "stat") == []
        generator = Restless(known())
        generator.annotate = generator.inner.annotate
        session = drive(surprised, generator=generator, ledger=ledger, wants=wants, name="later")
        assert session.answer == "0.25,0.25,0.25"
        assert [i for _, i in generator.made] == [2]
        assert len(table(ledger, "draw")) == len(table(ledger, "stat")) == 3


def test_annotation_is_not_newly_paid_work():
    wants = frozenset({"surprisal"})
    with Ledger(":memory:") as ledger:
        drive(plain, generator=known(), ledger=ledger)
        session = drive(
            plain, generator=known(), ledger=ledger, wants=wants, name="later",
            spend_limits={"calls": 2},
        )  # fmt: skip
        assert session.status == "done"
        assert ledger.totals().draws == 2


def test_a_generator_that_cannot_annotate_is_refused_in_one_line():
    class Plain:
        def __init__(self, inner):
            self.inner = inner
            for name in ("fingerprint", "info", "provides", "max_batch", "concurrency", "slots",
                         "default_max_tokens", "shared_prompt", "generate"):  # fmt: skip
                setattr(self, name, getattr(inner, name))

    wants = frozenset({"surprisal"})
    with Ledger(":memory:") as ledger:
        drive(plain, generator=known(), ledger=ledger)
        with pytest.raises(LedgerError, match="must carry surprisal"):
            drive(surprised, generator=Plain(known()), ledger=ledger, wants=wants, name="later")
        assert len(table(ledger, "draw")) == 2


def test_statistics_that_the_study_did_not_declare_are_refused():
    def solve(problem, rng):
        yield ask(want=frozenset({"surprisal"}))

    assert "declares all statistics" in drive(solve, generator=known()).status
    declared = drive(solve, generator=known(), wants=frozenset({"surprisal"}))
    assert declared.status == "done"


def test_what_a_generator_does_not_provide_is_refused():
    def solve(problem, rng):
        yield ask(want=frozenset({"surprisal"}))

    generator = Scripted.from_list(["a"], provides=CAPABILITIES)
    assert "lacks surprisal" in drive(solve, generator=generator).status
