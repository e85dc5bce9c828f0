"""Start, Next and Cancel, in both orders of delivery."""

import pytest
from world import Restless, about, ask, drive, numbered, table

from dwell.ledger import Ledger
from dwell.requests import Cancel, Next, Start


def one(name):
    (drawn,) = yield ask(context=about(name))
    return drawn.added


def window(names, size):
    """Keep `size` pieces in flight; the tags in the order of delivery."""

    def solve(problem, rng):
        order = []
        for k in range(len(names) + size):
            if k >= size:
                tag, reply = yield Next()
                assert reply == f"{tag}#0"
                order.append(tag)
            if k < len(names):
                yield Start(one(names[k]), tag=names[k])
        return ",".join(order)

    return solve


NAMES = [f"n{k}" for k in range(12)]


@pytest.mark.parametrize("seed", range(5))
def test_next_delivers_the_oldest_piece_whatever_ends_first(seed):
    generator = Restless(numbered(), seed)
    assert drive(window(NAMES, 4), generator=generator).answer == ",".join(NAMES)


def test_next_delivers_what_ends_first_in_order_finished():
    answers = {
        drive(window(NAMES, 4), generator=Restless(numbered(), seed), order="finished").answer
        for seed in range(5)
    }
    assert len(answers) > 1
    assert all(sorted(answer.split(",")) == sorted(NAMES) for answer in answers)


def test_started_work_may_be_a_request_a_list_or_a_sub_strategy():
    def solve(problem, rng):
        yield Start(ask(2), tag="request")
        yield Start([ask(), one("L")], tag="list")
        yield Start(one("S"), tag=("sub", 1))
        replies = {}
        for _ in range(3):
            tag, reply = yield Next()
            replies[tag] = reply
        ((listed,), sub) = replies["list"]
        return repr((len(replies["request"]), listed.added, sub, replies["sub", 1]))

    assert drive(solve).answer == "(2, 'Q#2', 'L#0', 'S#0')"


def test_a_piece_that_asks_nothing_is_done_at_once():
    def silent():
        return "at once"
        yield

    def solve(problem, rng):
        yield Start(silent(), tag=1)
        yield Start([], tag=2)
        return repr([(yield Next()), (yield Next())])

    assert drive(solve).answer == "[(1, 'at once'), (2, [])]"


@pytest.mark.parametrize("wrap", [lambda sub: sub, lambda sub: [sub], lambda sub: [[sub], ask()]])
def test_cancelled_work_asks_nothing_more(wrap):
    asked = []

    def long():
        for k in range(5):
            asked.append(k)
            yield ask(context=about(f"step {k}"))

    def nested():
        yield long()

    def solve(problem, rng):
        yield Start(wrap(nested()), tag="long")
        yield Start(one("other"), tag="other")
        yield Cancel("long")
        tag, _ = yield Next()
        yield [one("a"), one("b")]
        yield one("c")
        return tag

    assert drive(solve).answer == "other"
    assert asked == [0]


def test_cancelled_work_on_its_way_is_charged_in_full():
    def solve(problem, rng):
        yield Start(ask(7), tag="dear")
        yield Cancel("dear")
        (drawn,) = yield ask()
        return drawn.added

    session = drive(solve)
    assert session.answer == "Q#7"
    assert session.meter.charged().calls == 8


def test_a_finished_piece_can_be_cancelled_before_it_is_taken():
    def solve(problem, rng):
        yield Start(one("A"), tag="A")
        yield Start(one("B"), tag="B")
        yield one("wait")
        yield Cancel("A")
        return repr((yield Next()))

    assert drive(solve).answer == "('B', 'B#0')"


def test_an_answer_gives_up_what_is_still_outstanding():
    asked = []

    def long(k):
        for step in range(4):
            asked.append((k, step))
            yield ask(context=about(f"{k} {step}"))

    def solve(problem, rng):
        yield Start([long(0), long(1)], tag=0)
        yield Start(one("quick"), tag=1)
        yield one("answer")
        return "done"

    session = drive(solve)
    assert session.answer == "done"
    assert len(asked) <= 4
    assert session.meter.charged().calls == 2 + len(asked)


def test_cancel_needs_an_outstanding_tag():
    def solve(problem, rng):
        yield Cancel("nobody")

    assert "'nobody'" in drive(solve).status


def test_pieces_belong_to_the_strategy_that_started_them():
    def sub():
        yield Start(one("inner"), tag="inner")
        return (yield Next())[0]

    def solve(problem, rng):
        yield Start(one("outer"), tag="outer")
        inner = yield sub()
        tag, _ = yield Next()
        return f"{inner} {tag}"

    assert drive(solve).answer == "inner outer"


@pytest.mark.parametrize("seed", range(3))
def test_recorded_deliveries_are_repeated_exactly(seed):
    with Ledger(":memory:") as ledger:
        first = drive(
            window(NAMES, 4), generator=Restless(numbered(), seed), ledger=ledger, order="finished"
        )
        events = table(ledger, "event", "seq, kind, unit")
        ledger._db.execute("UPDATE run SET status = 'running', num_requests = 2")
        ledger._db.execute("DELETE FROM answer")
        digest_at_two = _digest_after(2)
        ledger._db.execute("UPDATE run SET digest = ?", (digest_at_two,))
        again = drive(
            window(NAMES, 4),
            generator=Restless(numbered(), seed + 100),
            ledger=ledger,
            order="finished",
        )
        assert again.answer == first.answer
        assert again.digest() == first.digest()
        assert table(ledger, "event", "seq, kind, unit") == events


def _digest_after(count):
    """The digest of the first requests, which all orders share."""
    session = drive(window(NAMES[:count], count))
    assert session.num_requests == count
    found = []

    def solve(problem, rng):
        for name in NAMES[:count]:
            yield Start(one(name), tag=name)
        for _ in NAMES[:count]:
            yield Next()
        return None

    with Ledger(":memory:") as ledger:
        drive(solve, ledger=ledger, on_progress=lambda _: found.extend(table(ledger, "run")))
    return found[0][4]


def test_deliveries_are_on_disk_before_any_draw_that_follows_from_them():
    with Ledger(":memory:") as ledger:
        seen = []

        class Watched(Restless):
            async def generate(self, work):
                seen.append((work[0].request.context.messages[-1][1], len(table(ledger, "event"))))
                return await super().generate(work)

        generator = Watched(numbered(), 3)
        drive(window(NAMES, 3), generator=generator, ledger=ledger, order="finished")
        events = table(ledger, "event", "seq, unit")
        assert [seq for seq, _ in events] == list(range(12))
        draws = table(ledger, "draw d JOIN key k ON k.id = d.key", "k.context, d.id")
        assert len(draws) == 12
