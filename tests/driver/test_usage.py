"""What runs are charged: prompts once, modelled seconds, and the same whatever the ledger held."""

from dataclasses import fields

import pytest
from world import Lengths, Restless, about, ask, drive, drive_all, numbered

from dwell.generators import Scripted
from dwell.generators.scripted import CAPABILITIES, Latency
from dwell.ledger import Ledger
from dwell.records import Draw, Usage
from dwell.requests import Next, Start, Verify

PROMPT = "one two three"
CONTEXT = about(PROMPT)


def draws(*counts):
    def solve(problem, rng):
        for n in counts:
            yield ask(n, context=CONTEXT)
        return None

    return solve


def test_a_shared_prompt_is_charged_once_per_generate():
    generator = Scripted.from_list(["a b"], flops_per_token=10.0)
    used = drive(draws(4, 2), generator=generator).meter.charged()
    assert (used.prompt_tokens, used.cached_tokens, used.output_tokens) == (6, 12, 12)
    assert used.flops == 10 * (6 + 12)


def test_an_unshared_prompt_is_charged_for_every_draw():
    provides = CAPABILITIES - {"shared_prefix"}
    generator = Scripted.from_list(["a b"], flops_per_token=10.0, provides=provides)
    used = drive(draws(4, 2), generator=generator).meter.charged()
    assert (used.prompt_tokens, used.cached_tokens) == (18, 0)
    assert used.flops == 10 * (18 + 12)


def test_a_prompt_is_charged_once_even_where_the_first_draw_failed():
    failed = Draw(status="failed", text="lost")
    good = Draw(text="a", prompt_tokens=3, output_tokens=1)
    generator = Scripted.from_list([failed, good, good])
    used = drive(draws(3), generator=generator).meter.charged()
    assert (used.prompt_tokens, used.cached_tokens, used.calls) == (3, 3, 3)


def test_steps_are_counted():
    generator = Scripted.coin(1.0, steps=3)

    def solve(problem, rng):
        context = CONTEXT
        for _ in range(3):
            (drawn,) = yield ask(context=context, until="step")
            context = drawn.continued()
        return drawn.answer

    assert drive(solve, generator=generator).meter.charged().steps == 2


@pytest.mark.parametrize(("slots", "seconds"), [(1, 10.0), (2, 6.0), (5, 2.0), (64, 2.0)])
def test_seconds_are_modelled_with_slots(slots, seconds):
    generator = numbered(latency=Latency(base_seconds=2.0), slots=slots)
    assert drive(draws(5), generator=generator).meter.charged().seconds == seconds


def test_seconds_follow_the_critical_path():
    generator = numbered(latency=Latency(base_seconds=1.0))

    def two():
        yield ask()
        yield ask()

    def solve(problem, rng):
        yield [ask(3), two(), two()]
        yield ask()
        return None

    assert drive(solve, generator=generator).meter.charged().seconds == 3.0


def test_started_work_overlaps_in_modelled_time():
    generator = numbered(latency=Latency(base_seconds=1.0), slots=4)

    def solve(problem, rng):
        for k in range(8):
            if k >= 4:
                yield Next()
            yield Start(ask(context=about(f"{k}")), tag=k)
        for _ in range(4):
            yield Next()
        return None

    assert drive(solve, generator=generator).meter.charged().seconds == 2.0


def test_verifiers_take_modelled_time():
    def solve(problem, rng):
        yield Verify((yield ask(3)))
        return None

    verifiers = {"process": Lengths(seconds=0.5)}
    assert drive(solve, verifiers=verifiers).meter.charged().seconds == 0.5


GENERATOR = dict(
    latency=Latency(base_seconds=0.1, seconds_per_token=0.01, sigma=0.5), flops_per_token=3.0,
    failure_rate=0.1,
)  # fmt: skip


def adaptive(problem, rng):
    """Draws until an answer repeats, with some searching on the way."""
    seen = set()
    while True:
        drawn, (more,) = yield [ask(3), ask(context=about("R"))]
        scores = yield Verify(tuple(c for c in drawn if c.answer))
        if more.answer in seen or len(seen) > 20:
            return f"{more.answer} {sum(scores):g}"
        seen.update(c.answer for c in drawn)
        yield ask(int(rng.integers(1, 5)), context=more.continued("?"))


def test_charges_do_not_depend_on_what_the_ledger_held():
    generator = Scripted.from_function(
        lambda context, index, rng: f"{context.partial[:0]}{rng.integers(0, 40)} " * 2,
        name="digits",
        **GENERATOR,
    )
    alone = drive(adaptive, generator=generator, verifiers={"process": Lengths()})
    with Ledger(":memory:") as ledger:
        options = dict(ledger=ledger, verifiers={"process": Lengths()})
        drive_all({"a": draws(9), "b": adaptive}, generator=Restless(generator, 3), **options)
        later = drive(adaptive, generator=generator, name="c", **options)
    assert later.meter.charged() == alone.meter.charged()
    assert later.answer == alone.answer
    assert later.digest() == alone.digest()


def test_what_is_spent_is_what_the_dearest_run_used():
    def majority(n):
        def solve(problem, rng):
            drawn = yield ask(n, context=CONTEXT)
            return drawn[0].answer

        return solve

    with Ledger(":memory:") as ledger:
        sessions = drive_all({str(n): majority(n) for n in (1, 4, 16, 64)}, ledger=ledger)
        spent = ledger.totals().spent
    assert spent.output_tokens == sessions["64"].meter.charged().output_tokens == 192
    charged = sum(session.meter.charged().output_tokens for session in sessions.values())
    assert charged == 3 * 85


def test_totals_count_draws_scores_and_attempts():
    generator = Scripted.from_list(["a b"], flops_per_token=1.0)

    def solve(problem, rng):
        yield Verify((yield ask(2, context=CONTEXT)))
        return None

    with Ledger(":memory:") as ledger:
        drive(solve, ledger=ledger, generator=generator, verifiers={"process": Lengths()})
        totals = ledger.totals()
    assert totals.draws == 2
    assert totals.spent.output_tokens == 4
    assert totals.spent.verifier_tokens == 3


def test_every_kind_of_usage_adds_and_subtracts():
    first = Usage(**{f.name: 2.0 * k for k, f in enumerate(fields(Usage))})
    assert first - first == Usage()
    assert (first + first).usd == 36.0
