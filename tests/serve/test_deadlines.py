"""When replies are begun: in the order of deadlines, and as early as the backlog asks."""

import asyncio
import time

import pytest

from dwell.serve.arrivals import Waking
from dwell.serve.deadlines import CROSSING, FIRST_SECONDS, Deadlines


def begun_at(deadlines, seconds, name, log, arrived=None):
    """Enter a request; its name and the time are logged when its reply is to be begun."""
    due = deadlines.enter(time.monotonic() if arrived is None else arrived, seconds)
    due.tell(lambda: log.append((name, time.monotonic() - due.at, due)))
    return due


async def test_replies_are_begun_in_the_order_of_their_deadlines_and_not_early():
    deadlines, log = Deadlines(), []
    for seconds in (0.3, 0.1, 0.2):
        begun_at(deadlines, seconds, seconds, log)
    await asyncio.sleep(0.4)
    assert [name for name, _, _ in log] == [0.1, 0.2, 0.3]
    assert all(late >= -CROSSING - 4 * FIRST_SECONDS - 0.02 for _, late, _ in log)


async def test_a_backlog_is_begun_as_much_earlier_as_it_takes():
    deadlines, log = Deadlines(), []
    arrived = time.monotonic()
    for k in range(50):
        begun_at(deadlines, 1.0, k, log, arrived)
    first = deadlines._latest_start() - (arrived + 1.0)
    assert first == pytest.approx(-50 * 1.1 * FIRST_SECONDS - CROSSING, abs=1e-6)
    for due in list(deadlines._waiting):
        deadlines.leave(due)
    assert not deadlines._waiting
    assert deadlines._timer is None


async def test_what_a_reply_takes_is_learned():
    deadlines = Deadlines()
    for _ in range(200):
        due = deadlines.enter(time.monotonic() - 1.0, 1.0)
        await asyncio.sleep(0)  # its time is over: it is begun at once
        while not due.over:
            await asyncio.sleep(0)
        time.sleep(0.003)
        deadlines.leave(due)
    assert 0.003 <= deadlines._reply_seconds < 0.03


async def test_no_reply_is_begun_earlier_than_a_tenth_of_its_deadline():
    deadlines, log = Deadlines(), []
    deadlines._reply_seconds = 1.0
    begun_at(deadlines, 0.5, "only", log)
    await asyncio.sleep(0.6)
    ((_, late, _),) = log
    assert late >= -0.05 - 1e-3


async def test_chores_wait_for_replies():
    deadlines, log = Deadlines(), []
    due = begun_at(deadlines, 0.08, "reply", log)
    due.tell(lambda: deadlines.leave(due))
    deadlines.afterwards(lambda: log.append(("chore", 0.0, None)))
    await asyncio.sleep(0.3)
    assert [name for name, _, _ in log] == ["reply", "chore"]


async def test_chores_do_not_wait_for_ever():
    deadlines, log = Deadlines(), []
    arrived = time.monotonic()
    for k in range(60):  # a reply is due at every moment of three seconds
        begun_at(deadlines, 0.05 * (k + 1), k, log, arrived)
    deadlines.afterwards(lambda: log.append(("chore", 0.0, None)))
    await asyncio.sleep(1.5)
    assert "chore" in [name for name, _, _ in log]
    for due in list(deadlines._waiting):
        deadlines.leave(due)


async def test_chores_that_are_left_are_done_at_the_end():
    deadlines, done = Deadlines(), []
    deadlines.afterwards(lambda: done.append(1))
    deadlines.afterwards(lambda: done.append(2))
    deadlines.finish()
    assert done == [1, 2]


async def test_a_listener_who_comes_late_is_told_at_once():
    deadlines, told = Deadlines(), []
    due = deadlines.enter(time.monotonic() - 2.0, 1.0)
    await asyncio.sleep(0.05)
    due.tell(lambda: told.append(True))
    assert told


def test_requests_read_in_one_turn_arrived_before_it():
    selector, seen = Waking(), []

    async def look():
        await asyncio.sleep(0.02)
        time.sleep(0.05)  # what comes meanwhile is seen after that
        before = time.monotonic()
        await asyncio.sleep(0)
        seen.append((selector.arrived(), before))

    with asyncio.Runner(loop_factory=lambda: asyncio.SelectorEventLoop(selector)) as runner:
        runner.run(look())
    ((arrived, before),) = seen
    assert before - arrived >= 0.05


async def test_lateness_is_made_up_for_and_forgotten():
    deadlines = Deadlines()
    late = deadlines.enter(time.monotonic() - 1.2, 1.0)  # 200 ms late before it is begun
    while not late.over:
        await asyncio.sleep(0)
    deadlines.leave(late)
    deadlines.enter(time.monotonic(), 9.0)
    margin = deadlines._waiting[0].at - deadlines._latest_start()
    assert 0.2 < margin < 0.3
    for _ in range(300):
        due = deadlines.enter(time.monotonic() - 1.0, 1.001)
        while not due.over:
            await asyncio.sleep(0)
        deadlines.leave(due)
    assert deadlines._late < 0.1
