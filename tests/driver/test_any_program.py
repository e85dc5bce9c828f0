"""Whatever a strategy asks, a run is a function of its draws.

Random small programs of requests (nested lists, sub-strategies, started and cancelled work, under
limits) give the same digest, answer, status and charge whatever order the generator's calls end
in, and whether the draws are made, partly recorded, or all recorded.
"""

from hashlib import blake2b

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from world import Lengths, Restless, about, ask, drive, numbered

from dwell.errors import OutOfBudget
from dwell.generators.scripted import Latency
from dwell.ledger import Ledger
from dwell.requests import Cancel, Emit, Next, Remaining, Start, Verify

ASK = st.tuples(st.just("ask"), st.sampled_from("ABC"), st.integers(1, 4))
ADAPT = st.tuples(st.just("adapt"), st.integers(0, 9))
SCORE = st.tuples(st.just("score"), st.integers(1, 3))


def nested(inner):
    programs = st.lists(inner, max_size=4)
    works = st.one_of(
        st.tuples(st.just("list"), programs),
        st.tuples(st.just("sub"), programs),
    )
    return st.one_of(works, st.tuples(st.just("start"), st.one_of(inner, works)))


CONTROL = st.one_of(
    st.just(("next",)),
    st.just(("left",)),
    st.tuples(st.just("cancel"), st.integers(0, 5)),
    st.tuples(st.just("emit"), st.integers(0, 5)),
)
ANY = st.recursive(st.one_of(ASK, ADAPT, SCORE, CONTROL), nested, max_leaves=10)
PROGRAMS = st.lists(ANY, min_size=1, max_size=8)


def play(program, rng, state):
    """Do what a program says; `state` collects what was seen."""
    outstanding = []
    for number, op in enumerate(program):
        match op:
            case ("start", work):
                yield Start(as_work(work, rng, state), tag=number)
                outstanding.append(number)
            case ("next",):
                if outstanding:
                    outstanding.pop(0)
                    note(state, (yield Next()))
            case ("cancel", place):
                if outstanding:
                    yield Cancel(outstanding.pop(place % len(outstanding)))
            case ("emit", value):
                yield Emit(str(value))
            case ("left",):
                note(state, (yield Remaining()))
            case _:
                note(state, (yield as_work(op, rng, state)))
    while outstanding:
        outstanding.pop(0)
        note(state, (yield Next()))


def as_work(op, rng, state):
    """A piece of work; control requests in a list become sub-strategies of their own."""
    match op:
        case ("ask", name, n):
            return ask(n, context=about(name))
        case ("list", program):
            return [as_work(item, rng, state) for item in program]
        case ("sub", program):
            return play(program, rng, state)
        case ("adapt", salt):
            return adapt(salt, rng, state)
        case ("score", n):
            return scored(n)
        case _:
            return play([op], rng, state)


def adapt(salt, rng, state):
    """Ask something that depends on all that was seen, and on chance."""
    n = 1 + (int.from_bytes(state.digest()[:2], "big") + salt) % 3
    drawn = yield ask(n, context=about("ABC"[int(rng.integers(3))]))
    note(state, drawn)
    (more,) = yield ask(context=drawn[-1].continued("+"))
    note(state, more)


def scored(n):
    drawn = yield ask(n)
    return (yield Verify(drawn, samples=1 + n % 2))


def note(state, reply):
    state.update(repr(reply).encode())


def strategy_of(program, handles):
    """A strategy that plays the program, and handles the end of its budget or does not."""

    def solve(problem, rng):
        state = blake2b(digest_size=8)
        try:
            yield from play(program, rng, state)
        except OutOfBudget as stop:
            note(state, (stop.kind, stop.used, stop.limit, stop.partial))
            if not handles:
                raise
        return state.hexdigest()

    return solve


class Broken(Exception):
    pass


def after(turns):
    """A callback that breaks a study off."""
    left = [turns]

    def count(progress):
        left[0] -= 1
        if left[0] < 0:
            raise Broken

    return count


LIMITS = st.sampled_from(
    [{}, {}, {"calls": 5}, {"output_tokens": 7}, {"seconds": 3.0}, {"verifier_tokens": 6}]
)


@settings(max_examples=60, deadline=None, derandomize=True, database=None)
@given(PROGRAMS, LIMITS, st.booleans(), st.integers(0, 2**32), st.integers(1, 12))
def test_a_run_is_a_function_of_its_draws(program, limits, handles, seed, turns):
    inner = numbered(
        latency=Latency(base_seconds=0.5, sigma=0.5),
        failure_rate=0.1,
        slots=3,
        flops_per_token=2.0,
    )
    verifiers = {"process": Lengths(seconds=0.25)}
    fn = strategy_of(program, handles)

    def result(ledger, k, **options):
        generator = Restless(inner, seed + k, max_batch=1 + 7 * (k % 2), concurrency=1 + 2 * k)
        session = drive(
            fn, generator=generator, verifiers=verifiers, limits=limits, ledger=ledger, **options
        )
        return session.status, session.answer, session.digest(), session.meter.charged()

    with Ledger(":memory:") as ledger:
        fresh = result(ledger, 0)
        replayed = result(ledger, 1, name="replayed")
    with Ledger(":memory:") as ledger:
        try:
            resumed = result(ledger, 2, on_progress=after(turns))
        except Broken:
            resumed = result(ledger, 3)
    assert not fresh[0].startswith("failed"), fresh[0]
    assert replayed == fresh
    assert resumed == fresh


@settings(max_examples=30, deadline=None, derandomize=True, database=None)
@given(PROGRAMS, LIMITS, st.integers(0, 2**32), st.integers(1, 12))
def test_in_order_finished_the_recorded_part_is_repeated(program, limits, seed, turns):
    inner = numbered(latency=Latency(base_seconds=0.5), slots=3)
    verifiers = {"process": Lengths(seconds=0.25)}
    options = dict(verifiers=verifiers, limits=limits, order="finished")

    def events(ledger):
        return ledger._db.execute("SELECT seq, unit FROM event ORDER BY seq").fetchall()

    with Ledger(":memory:") as ledger:
        fn = strategy_of(program, True)
        try:
            drive(
                fn,
                generator=Restless(inner, seed),
                ledger=ledger,
                on_progress=after(turns),
                **options,
            )
        except Broken:
            before = events(ledger)
            session = drive(fn, generator=Restless(inner, seed + 1), ledger=ledger, **options)
            assert session.status == "done"
            assert events(ledger)[: len(before)] == before
        drive(fn, generator=Restless(inner, seed + 2), ledger=ledger, check=True, **options)


@pytest.mark.parametrize("seed", range(3))
def test_the_programs_do_ask_for_something(seed):
    fn = strategy_of([("sub", [("ask", "A", 2), ("start", ("ask", "B", 1)), ("next",)])], True)
    session = drive(fn, generator=Restless(numbered(), seed))
    assert session.meter.charged().calls == 3
