"""Cursors, single flight, and draws that are on disk before anybody sees them."""

import sqlite3

import pytest
from world import CONTEXT, Lengths, Restless, about, ask, drive, drive_all, numbered, table, texts

from dwell.ledger import Ledger
from dwell.requests import Next, Start, Verify


def test_clones_of_one_prefix_get_different_draws():
    def solve(problem, rng):
        replies = yield [ask(2), ask(1), ask(3)]
        return ",".join(text for reply in replies for text in texts(reply))

    assert drive(solve).answer == "Q#0,Q#1,Q#2,Q#3,Q#4,Q#5"


def test_sub_strategies_share_their_run_s_cursors():
    def sub():
        (drawn,) = yield ask()
        return drawn.added

    def solve(problem, rng):
        both = yield [sub(), sub()]
        (own,) = yield ask()
        return ",".join([*both, own.added])

    assert drive(solve).answer == "Q#0,Q#1,Q#2"


def test_different_parameters_are_different_draws():
    def solve(problem, rng):
        yield [ask(), ask(temperature=0.5), ask(max_tokens=9), ask(stop=("x",))]
        return None

    generator = Restless(numbered())
    drive(solve, generator=generator)
    assert [i for _, i in generator.made] == [0, 0, 0, 0]


def test_runs_share_the_draws_of_a_key():
    def draws(n):
        def solve(problem, rng):
            drawn = yield ask(n)
            return ",".join(texts(drawn))

        return solve

    generator = Restless(numbered(), 1)
    sessions = drive_all({f"n{n}": draws(n) for n in (4, 16, 1, 9)}, generator=generator)
    assert len(generator.made) == len(set(generator.made)) == 16
    assert sessions["n4"].answer == "Q#0,Q#1,Q#2,Q#3"
    assert sessions["n16"].meter.charged().calls == 16


@pytest.mark.parametrize("count", [2, 30])
def test_runs_that_want_the_same_missing_draw_wait_for_one_call(count):
    def solve(problem, rng):
        (drawn,) = yield ask()
        return drawn.added

    generator = Restless(numbered(), 2, patience=30)
    sessions = drive_all({f"r{k}": solve for k in range(count)}, generator=generator)
    assert generator.calls == 1
    assert {session.answer for session in sessions.values()} == {"Q#0"}


def test_overlapping_requests_make_only_what_is_missing():
    def solve(first, then):
        def solve(problem, rng):
            yield ask(first)
            drawn = yield ask(then)
            return str(len(drawn))

        return solve

    generator = Restless(numbered(), 5)
    drive_all({"a": solve(3, 10), "b": solve(5, 2), "c": solve(1, 1)}, generator=generator)
    assert sorted(i for _, i in generator.made) == list(range(13))


def test_scores_are_made_once_for_equal_texts():
    verifier = Lengths()

    def solve(problem, rng):
        drawn = yield ask(2)
        yield Verify(drawn)
        yield Verify(drawn[:1])
        return None

    drive_all({"a": solve, "b": solve}, verifiers={"process": verifier})
    assert len(verifier.sent) == 2


def test_derived_scores_are_not_stored():
    verifier = Lengths(derived=True)

    def solve(problem, rng):
        yield Verify((yield ask(2)))
        return None

    with Ledger(":memory:") as ledger:
        session = drive(solve, ledger=ledger, verifiers={"process": verifier})
        assert session.status == "done"
        assert table(ledger, "key", "op") == [("generate",)]


def test_draws_are_on_disk_before_they_are_delivered(tmp_path):
    path = tmp_path / "ledger.db"

    def on_disk():
        with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as reader:
            rows = reader.execute("SELECT text FROM draw").fetchall()
        reader.close()
        return {text for (text,) in rows}

    def solve(problem, rng):
        for k in range(4):
            yield Start(ask(2, context=about(f"{k}")), tag=k)
        for k in range(4):
            _, drawn = yield Next()
            assert set(texts(drawn)) <= on_disk()
            drawn = yield ask(3, context=about(f"then {k}"))
            assert set(texts(drawn)) <= on_disk()
        return "seen"

    with Ledger(path) as ledger:
        generator = Restless(numbered(), 4)
        for order in ("issued", "finished"):
            session = drive(solve, name=order, ledger=ledger, generator=generator, order=order)
            assert session.answer == "seen", session.status


def test_a_replayed_run_makes_nothing(tmp_path):
    def solve(problem, rng):
        drawn = yield ask(5)
        (more,) = yield ask(context=drawn[2].continued("!"))
        return more.text

    path = tmp_path / "ledger.db"
    with Ledger(path) as ledger:
        first = drive(solve, ledger=ledger)
    generator = Restless(numbered())
    with Ledger(path) as ledger:
        again = drive(solve, ledger=ledger, generator=generator, name="another")
        assert (again.answer, again.meter.charged()) == (first.answer, first.meter.charged())
        assert again.digest() == first.digest()
        assert generator.made == []


def test_a_finished_run_is_not_made_again(tmp_path):
    started = []

    def solve(problem, rng):
        started.append(1)
        yield ask()
        return "x"

    with Ledger(tmp_path / "ledger.db") as ledger:
        drive(solve, ledger=ledger)
        with pytest.raises(KeyError):
            drive(solve, ledger=ledger)
    assert started == [1]


def test_a_gap_in_the_recorded_draws_is_filled():
    def solve(problem, rng):
        drawn = yield ask(6)
        return ",".join(texts(drawn))

    generator = Restless(numbered())
    with Ledger(":memory:") as ledger:
        drive(solve, ledger=ledger)
        ledger._db.execute("DELETE FROM draw WHERE i IN (0, 1, 3)")
        session = drive(solve, ledger=ledger, generator=generator, name="again")
        assert session.answer == "Q#0,Q#1,Q#2,Q#3,Q#4,Q#5"
        assert sorted(i for _, i in generator.made) == [0, 1, 3]
        assert len(table(ledger, "draw")) == 6


def test_streams_are_independent_and_seeds_matter():
    seeds = []

    class Notes(Restless):
        async def generate(self, work):
            seeds.extend(work[0].seeds)
            return await super().generate(work)

    def solve(problem, rng):
        yield ask(3, context=CONTEXT)
        return None

    for seed in (0, 1):
        drive(solve, generator=Notes(numbered()), seed=seed)
    assert len(set(seeds)) == 6


def test_forgotten_keys_are_read_again_from_the_ledger(monkeypatch):
    monkeypatch.setattr("dwell.driver.keyring.CACHED_DRAWS", 8)

    def solve(problem, rng):
        total = []
        for _ in range(2):
            for name in "abcdef":
                drawn = yield ask(4, context=about(name))
                total += texts(drawn)
        return ",".join(total)

    generator = Restless(numbered())
    session = drive_all({"r": solve, "s": solve}, generator=generator)["r"]
    expected = [f"{n}#{i}" for first in (0, 4) for n in "abcdef" for i in range(first, first + 4)]
    assert session.answer == ",".join(expected)
    assert len(generator.made) == len(set(generator.made)) == 48
