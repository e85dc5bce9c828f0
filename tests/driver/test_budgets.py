"""Limits at delivery, what is left, what an unhandled end makes of a run, and pools."""

import pytest
from world import PROBLEM, Lengths, Restless, about, ask, drive, drive_all, numbered, texts

from dwell.errors import OutOfBudget, SpendLimitReached, UsageError
from dwell.generators import Scripted
from dwell.generators.scripted import Latency
from dwell.ledger import Ledger
from dwell.records import Draw, Problem
from dwell.requests import Emit, Next, Remaining, Run, Start, Verify


def caught(work):
    """The `OutOfBudget` that a piece of work met, and the run."""
    found = []

    def solve(problem, rng):
        try:
            yield work() if callable(work) else work
        except OutOfBudget as stop:
            found.append(stop)
        left = yield Remaining()
        found.append(left)
        return "caught"

    return solve, found


def test_what_does_not_fit_is_withheld_and_thrown_at_the_yield():
    solve, found = caught(ask(5))
    session = drive(solve, limits={"calls": 3})
    stop, left = found
    assert texts(stop.partial) == ["Q#0", "Q#1", "Q#2"]
    assert (stop.kind, stop.used, stop.limit) == ("calls", 3, 3)
    assert left.calls == 0
    assert (session.status, session.answer) == ("done", "caught")
    assert session.meter.charged().calls == 3


def test_a_limit_on_tokens_is_met_in_index_order():
    generator = Scripted.from_list(["a b", "c d e", "f", "g h i j"])
    solve, found = caught(ask(4))
    session = drive(solve, generator=generator, limits={"output_tokens": 6})
    assert texts(found[0].partial) == ["a b", "c d e", "f"]
    assert session.meter.charged().output_tokens == 6
    solve, found = caught(ask(4))
    drive(solve, generator=generator, limits={"output_tokens": 5})
    assert texts(found[0].partial) == ["a b", "c d e"]


def test_a_limit_of_zero_gives_nothing():
    solve, found = caught(ask())
    session = drive(solve, limits={"output_tokens": 0})
    assert found[0].partial == ()
    assert session.meter.charged().calls == 0


@pytest.mark.parametrize("order", ["issued", "finished"])
def test_hits_and_misses_meet_the_same_limit(order):
    outcomes = []
    with Ledger(":memory:") as ledger:
        for name in ("miss", "hit"):
            solve, found = caught(lambda: [ask(4), ask(4)])
            session = drive(
                solve, name=name, ledger=ledger, limits={"calls": 6}, order=order,
                generator=Restless(numbered(), 1),
            )  # fmt: skip
            outcomes.append((texts(found[0].partial[0]), session.meter.charged()))
    assert outcomes[0] == outcomes[1]


def test_a_list_gives_what_was_delivered_of_each_request():
    solve, found = caught(lambda: [ask(2), [ask(3), ask(1)], ask(1)])
    drive(solve, limits={"calls": 4})
    first, (second, third), fourth = found[0].partial
    assert [len(first), len(second), third, fourth] == [2, 2, (), ()]


def test_a_sub_strategy_may_handle_its_own_end():
    def sub(n):
        try:
            drawn = yield ask(n)
        except OutOfBudget as stop:
            return f"{len(stop.partial)} of {n}"
        return f"all {len(drawn)}"

    def solve(problem, rng):
        return ", ".join((yield [sub(3), sub(4)]))

    assert drive(solve, limits={"calls": 5}).answer == "all 3, 2 of 4"


def test_started_work_throws_at_its_next():
    def solve(problem, rng):
        yield Start(ask(3), tag="a")
        yield Start(ask(3), tag="b")
        tag, _ = yield Next()
        try:
            yield Next()
        except OutOfBudget as stop:
            return f"{tag} {len(stop.partial)}"

    assert drive(solve, limits={"calls": 4}).answer == "a 1"


def test_an_unhandled_end_answers_with_the_last_emitted():
    def solve(problem, rng):
        for k in range(9):
            yield ask()
            yield Emit(f"best of {k + 1}")
        return "never"

    session = drive(solve, limits={"calls": 4})
    assert (session.status, session.answer) == ("out_of_budget", "best of 4")


def test_an_unhandled_end_without_emitted_answers_with_the_plurality():
    generator = Scripted.from_list(["b", "a", "a", "c"])

    def solve(problem, rng):
        yield ask(9)

    assert drive(solve, generator=generator, limits={"calls": 4}).answer == "a"


def test_an_unhandled_end_before_anything_answers_with_nothing():
    def solve(problem, rng):
        yield ask()

    session = drive(solve, limits={"calls": 0})
    assert (session.status, session.answer) == ("out_of_budget", None)


def test_an_unhandled_end_charges_what_was_delivered():
    def solve(problem, rng):
        yield ask(10)

    assert drive(solve, limits={"calls": 4}).meter.charged().calls == 4


def test_a_strategy_that_never_takes_no_for_an_answer_is_ended(monkeypatch):
    monkeypatch.setattr("dwell.driver.session.MOST_REFUSALS", 50)

    def solve(problem, rng):
        while True:
            try:
                yield ask()
            except OutOfBudget:
                continue

    generator = Restless(numbered())
    session = drive(solve, generator=generator, limits={"calls": 3})
    assert "must come to an end when its budget has" in session.status
    assert len(generator.made) <= 60


def test_verifier_tokens_count():
    def solve(problem, rng):
        drawn = yield ask(4)
        try:
            yield Verify(drawn)
        except OutOfBudget as stop:
            return f"{stop.kind} {stop.used:g}"

    verifiers = {"process": Lengths(tokens=3)}
    session = drive(solve, limits={"verifier_tokens": 11}, verifiers=verifiers)
    assert session.answer == "verifier_tokens 0"
    assert session.meter.charged().verifier_tokens == 0
    enough = drive(solve, limits={"verifier_tokens": 12}, verifiers=verifiers)
    assert enough.meter.charged().verifier_tokens == 12


def test_environment_runs_and_dollars_count():
    class Priced:
        fingerprint, concurrency = "priced", 1

        async def run(self, request, seed):
            return Draw(usd=0.5)

    def solve(problem, rng):
        count = 0
        try:
            while True:
                yield Run("x", environment="priced")
                count += 1
        except OutOfBudget as stop:
            return f"{count} {stop.kind}"

    environments = {"priced": Priced()}
    assert drive(solve, limits={"runs": 3}, environments=environments).answer == "3 runs"
    assert drive(solve, limits={"usd": 1.2}, environments=environments).answer == "2 usd"


def test_seconds_are_a_deadline_on_the_modelled_clock():
    generator = numbered(latency=Latency(base_seconds=2.0), slots=2)
    solve, found = caught(ask(8))
    session = drive(solve, generator=generator, limits={"seconds": 6.0})
    assert len(found[0].partial) == 6
    assert session.meter.charged().seconds == 6.0


def test_charges_never_pass_a_limit():
    generator = Scripted.from_list(["a", "a b c", "a b", "a b c d e"], failure_rate=0.2)

    def solve(problem, rng):
        while True:
            yield [ask(3), ask(2, context=about("R"))]

    for limit in range(0, 40, 3):
        session = drive(solve, generator=generator, limits={"output_tokens": limit, "calls": 30})
        assert session.meter.charged().output_tokens <= limit
        assert session.meter.charged().calls <= 30


@pytest.mark.parametrize("limits", [{"words": 3}, {"calls": -1}, {"calls": float("nan")}])
def test_limits_are_checked(limits):
    with pytest.raises(UsageError):
        drive(lambda problem, rng: iter(()), limits=limits)


# ---- pools -----------------------------------------------------------------------------------

MEMBERS = tuple(Problem(id=f"m{k}", prompt=f"M{k}", reference=str(k)) for k in range(3))
POOL = Problem(id="pool", prompt="", members=MEMBERS)


def spread(problem, rng):
    """Member k draws k + 1 answers; then everybody draws until the pool's budget ends."""
    answers = {}
    for k, member in enumerate(problem.members):
        assert member.reference is None
        drawn = yield ask(k + 1, context=member.context(), problem=member.id)
        answers[member.id] = drawn[-1].added
    return answers


def test_a_pool_is_charged_per_member_and_answers_for_each():
    session = drive(spread, problem=POOL)
    rows = {name: (answer, charge.calls) for name, answer, charge in session.results()}
    assert rows == {"m0": ("M0#0", 1), "m1": ("M1#1", 2), "m2": ("M2#2", 3)}
    assert session.meter.charged().calls == 6


def test_a_pool_shares_one_budget():
    session = drive(spread, problem=POOL, limits={"calls": 2})
    assert session.status == "out_of_budget"
    assert [charge.calls for _, _, charge in session.results()] == [1, 1, 0]


def test_every_member_of_a_pool_waits_as_long_as_the_pool():
    session = drive(spread, problem=POOL, generator=numbered(latency=Latency(base_seconds=1.0)))
    # Three requests, one after another; the draws of each are made at once.
    assert session.meter.charged().seconds == pytest.approx(3.0)
    assert [charge.seconds for _, _, charge in session.results()] == [pytest.approx(3.0)] * 3


def test_a_pool_that_ends_early_answers_with_what_it_emitted():
    def solve(problem, rng):
        yield Emit({"m0": "early"})
        yield from spread(problem, rng)

    session = drive(solve, problem=POOL, limits={"calls": 1})
    assert [answer for _, answer, _ in session.results()] == ["early", None, None]


def test_a_pool_s_answers_are_recorded_one_a_member():
    with Ledger(":memory:") as ledger:
        drive(spread, problem=POOL, ledger=ledger)
        rows = {row.problem: (row.value, row.charged.calls) for row in ledger.answers()}
    assert rows == {"m0": ("M0#0", 1), "m1": ("M1#1", 2), "m2": ("M2#2", 3)}


@pytest.mark.parametrize(
    ("problem", "answer"), [(POOL, "text"), (PROBLEM, {"p": "x"}), (PROBLEM, 7)]
)
def test_an_answer_of_the_wrong_form_ends_the_run(problem, answer):
    def solve(problem, rng):
        yield ask()
        return answer

    assert "returns a text or None" in drive(solve, problem=problem).status


# ---- the study's limit on spending -----------------------------------------------------------


def draws(n):
    def solve(problem, rng):
        drawn = yield ask(n)
        (more,) = yield ask(context=about("more"))
        return f"{len(drawn)} {more.added}"

    return solve


FNS = {f"n{n}": draws(n) for n in (4, 8, 12, 16)}


def answers_of(ledger):
    return {row.run: (row.value, row.charged) for row in ledger.answers()}


def test_a_limit_on_spending_pauses_and_a_higher_one_goes_on():
    with Ledger(":memory:") as ledger:
        drive_all(FNS, ledger=ledger)
        expected = answers_of(ledger)
    with Ledger(":memory:") as ledger:
        for limit in (5, 9, 14):
            with pytest.raises(SpendLimitReached, match=f"calls={limit}"):
                drive_all(FNS, ledger=ledger, spend_limits={"calls": limit})
            assert 0 < ledger.totals().spent.calls <= limit
        drive_all(FNS, ledger=ledger, spend_limits={"calls": 20})
        assert answers_of(ledger) == expected


def test_a_limit_on_spending_reserves_the_cap_of_a_call():
    generator = numbered(default_max_tokens=10)
    with Ledger(":memory:") as ledger:
        with pytest.raises(SpendLimitReached):
            drive(draws(4), ledger=ledger, generator=generator, spend_limits={"output_tokens": 39})
        assert ledger.totals().draws == 0
        drive(draws(4), ledger=ledger, generator=generator, spend_limits={"output_tokens": 40})
        assert ledger.totals().draws == 5


def test_replays_need_no_spending():
    with Ledger(":memory:") as ledger:
        drive_all(FNS, ledger=ledger)
        before = ledger.totals()
        others = {f"again {name}": fn for name, fn in FNS.items()}
        drive_all(others, ledger=ledger, spend_limits={"calls": 0, "output_tokens": 0})
        assert ledger.totals() == before


def test_only_what_is_paid_for_can_be_limited():
    with pytest.raises(UsageError, match="calls or output_tokens"):
        drive(draws(1), spend_limits={"flops": 1})


def test_what_another_study_spent_in_the_folder_counts():
    with Ledger(":memory:") as ledger:
        drive(draws(5), ledger=ledger)
        with pytest.raises(SpendLimitReached):
            drive(draws(8), ledger=ledger, name="next", spend_limits={"calls": 7})


def test_members_of_a_pool_hide_their_references():
    assert [member.reference for member in POOL.public().members] == [None] * 3
