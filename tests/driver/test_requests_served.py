"""Every kind of request, through the driver and a ledger."""

import math

import pytest
from world import CONTEXT, Lengths, about, ask, drive, numbered, texts

from dwell.generators import Scripted
from dwell.ledger import Ledger
from dwell.records import Draw
from dwell.requests import Emit, Next, Perturb, Remaining, Run, Start, Verify


def test_generate_replies_with_n_candidates_in_index_order():
    def solve(problem, rng):
        drawn = yield ask(3)
        return "|".join(texts(drawn))

    assert drive(solve).answer == "Q#0|Q#1|Q#2"


def test_a_candidate_knows_its_context_index_status_and_tokens():
    seen = []

    def solve(problem, rng):
        seen.extend((yield ask(2)))
        return None

    drive(solve)
    assert [(c.context, c.index, c.status, c.answer, c.output_tokens) for c in seen] == [
        (CONTEXT, 0, "end", "Q#0", 1),
        (CONTEXT, 1, "end", "Q#1", 1),
    ]


def test_a_list_is_answered_by_the_list_of_replies():
    def solve(problem, rng):
        first, second = yield [ask(2), ask(1, context=about("R"))]
        return "|".join(texts(first) + texts(second))

    assert drive(solve).answer == "Q#0|Q#1|R#0"


def test_lists_nest():
    def solve(problem, rng):
        replies = yield [[ask(), [ask(), ask()]], ask()]
        ((first,), ((second,), (third,))), (fourth,) = replies
        return "|".join(texts([first, second, third, fourth]))

    assert drive(solve).answer == "Q#0|Q#1|Q#2|Q#3"


def test_empty_lists_are_answered_by_empty_lists():
    def solve(problem, rng):
        replies = yield []
        nested = yield [[], [[]]]
        return repr((replies, nested))

    session = drive(solve)
    assert session.answer == "([], [[], [[]]])"
    assert session.num_requests == 0


def test_sub_strategies_are_answered_by_what_they_return():
    def sub(name):
        (drawn,) = yield ask(context=about(name))
        return drawn.added

    def solve(problem, rng):
        one = yield sub("A")
        two = yield from sub("B")
        many = yield [sub("A"), sub("C"), ask()]
        return repr((one, two, many[0], many[1], many[2][0].added))

    assert drive(solve).answer == "('A#0', 'B#0', 'A#1', 'C#0', 'Q#0')"


def test_hundreds_of_silent_sub_strategies_do_not_exhaust_the_stack():
    def silent():
        return 1
        yield

    def solve(problem, rng):
        total = 0
        for _ in range(2000):
            total += yield silent()
        return str(total)

    assert drive(solve).answer == "2000"


def test_verify_replies_with_one_float_per_candidate():
    verifier = Lengths()

    def solve(problem, rng):
        drawn = yield ask(12)
        scores = yield Verify(drawn)
        return repr(scores)

    session = drive(solve, verifiers={"process": verifier})
    assert session.answer == repr((3.0,) * 10 + (4.0, 4.0))
    assert session.meter.charged().verifier_tokens == 36


def test_a_group_is_sent_to_the_verifier_together():
    verifier = Lengths()

    def solve(problem, rng):
        drawn = yield ask(3)
        scores = yield Verify(drawn, mode="group", samples=2)
        return repr(scores)

    session = drive(solve, verifiers={"process": verifier})
    assert session.answer == "(3.0, 3.0, 3.0)"
    (work,) = verifier.sent
    assert len(work.candidates) == 3
    assert len(work.seeds) == 6


def test_samples_of_a_stochastic_verifier_are_averaged():
    class Alternates(Lengths):
        def _draws(self, item):
            return [Draw(value=float(k)) for k in range(len(item.seeds))]

    def solve(problem, rng):
        drawn = yield ask(1)
        (score,) = yield Verify(drawn, samples=4)
        return str(score)

    assert drive(solve, verifiers={"process": Alternates()}).answer == "1.5"


def test_what_a_verifier_leaves_open_is_not_a_number():
    class Silent(Lengths):
        def _draws(self, item):
            return [Draw(value=None) for _ in item.seeds]

    def solve(problem, rng):
        scores = yield Verify((yield ask(2)))
        return repr(scores)

    assert drive(solve, verifiers={"process": Silent()}).answer == "(nan, nan)"


def test_only_the_verifier_sees_the_reference():
    verifier = Lengths()
    seen = []

    def solve(problem, rng):
        seen.append(problem)
        yield Verify((yield ask()))
        return None

    drive(solve, verifiers={"process": verifier})
    assert seen[0].reference is None
    assert verifier.sent[0].problem.reference == "1"


def test_perturb_replies_with_a_candidate_of_a_new_state():
    generator = Scripted.from_list(
        ["latent"], perturb_fn=lambda request, rng: Draw(text="moved", state=b"\x01")
    )

    def solve(problem, rng):
        (drawn,) = yield ask()
        moved = yield Perturb(drawn, "noise", 0.5)
        again = yield Perturb(moved, "noise", 0.5)
        return f"{moved.text} {moved.context.state!r} {again.text}"

    assert drive(solve, generator=generator).answer == "moved b'\\x01' moved"


def test_generation_goes_on_from_a_new_state():
    generator = Scripted.from_function(
        lambda context, index, rng: f"from {context.state!r}",
        name="latent",
        perturb_fn=lambda request, rng: Draw(text="moved", state=b"\xff"),
    )

    def solve(problem, rng):
        (drawn,) = yield ask()
        moved = yield Perturb(drawn, "noise", 0.5)
        (again,) = yield ask(context=moved.context)
        return f"{drawn.added}, {again.added}"

    session = drive(solve, generator=generator)
    assert session.answer == "from None, from b'\\xff'", session.status


def test_text_that_cannot_be_stored_is_replaced_before_anybody_sees_it():
    generator = Scripted.from_list(["bad \ud800 text", "gute Größe \U0001f600"])

    def solve(problem, rng):
        return "|".join(texts((yield ask(2, context=about("\udfff")))))

    with Ledger(":memory:") as ledger:
        first = drive(solve, generator=generator, ledger=ledger)
        again = drive(solve, generator=generator, ledger=ledger, name="again")
    assert first.answer == again.answer == "bad ? text|gute Größe \U0001f600"


def test_run_replies_with_the_environment_s_draw_and_is_charged_as_a_run():
    class Echo:
        fingerprint = "echo"
        concurrency = 2

        async def run(self, request, seed):
            return Draw(text=request.action.upper(), value=1.0, usd=0.25)

    def solve(problem, rng):
        draw = yield Run("test", environment="echo")
        return f"{draw.text} {draw.value}"

    session = drive(solve, environments={"echo": Echo()})
    assert session.answer == "TEST 1.0"
    assert (session.meter.charged().runs, session.meter.charged().usd) == (1, 0.25)


def test_emit_is_free_and_keeps_the_best_so_far():
    def solve(problem, rng):
        assert (yield Emit("early")) is None
        yield ask(5)
        return "late"

    session = drive(solve, limits={"calls": 3})
    assert (session.status, session.answer) == ("out_of_budget", "early")


def test_remaining_is_infinite_where_unlimited_and_falls_with_use():
    seen = []

    def solve(problem, rng):
        seen.append((yield Remaining()))
        yield ask(3)
        seen.append((yield Remaining()))
        return None

    drive(solve, limits={"calls": 5})
    assert [left.calls for left in seen] == [5, 2]
    assert math.isinf(seen[0].usd)


def test_contexts_with_unfinished_text_are_continued():
    def solve(problem, rng):
        (drawn,) = yield ask(generator_until := 1)
        (more,) = yield ask(generator_until, context=drawn.continued(" then "))
        return more.text

    assert drive(solve).answer == "Q#0 then QQ#0 then #0"


def test_roles_choose_generators():
    def solve(problem, rng):
        (one,) = yield ask()
        (two,) = yield ask(role="judge")
        return one.added + two.added

    judge = Scripted.from_list(["verdict"])
    session = drive(solve, generators={"solver": numbered(), "judge": judge})
    assert session.answer == "Q#0verdict"


@pytest.mark.parametrize(
    ("asked", "rule"),
    [
        (ask(0), "at least 1"),
        (ask(role="judge"), "generator role"),
        (ask(forbid_end=True), "lacks forbid_end"),
        (ask(until="step"), "lacks step"),
        (Verify((), "process"), "verifier"),
        ("text", "yielded str"),
        ([Next()], "yielded Next"),
        (Next(), "none is outstanding"),
        (ask(problem="stranger"), "member of its pool"),
        (Start(17), "yielded int"),
    ],
)
def test_what_cannot_be_served_ends_the_run_and_says_why(asked, rule):
    def solve(problem, rng):
        yield asked
        return None

    session = drive(solve, generator=numbered(provides=frozenset({"partial"})))
    assert session.status.startswith("failed: ")
    assert rule in session.status


def test_a_generator_that_cannot_continue_is_never_silently_asked_again():
    generator = numbered(provides=frozenset())

    def solve(problem, rng):
        (drawn,) = yield ask()
        yield ask(context=drawn.continued("and"))
        return None

    assert "lacks partial" in drive(solve, generator=generator).status
