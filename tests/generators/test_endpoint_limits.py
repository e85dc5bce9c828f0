"""How many calls an endpoint sends, how fast, how often, and what becomes of cancelled ones."""

import asyncio

import pytest

from dwell.errors import UsageError
from dwell.generators import endpoint_limits
from dwell.generators.endpoint import Endpoint
from dwell.generators.endpoint_limits import Bucket, Slots
from dwell.generators.fake_server import FakeServer, Faults
from dwell.generators.scripted import Latency, Scripted
from dwell.protocols import GenerateWork
from dwell.records import Context, Problem
from dwell.requests import Generate

PROBLEM = Problem(id="p", prompt="what is it")


def slow(seconds):
    return Scripted.from_list(["a b"], latency=Latency(base_seconds=seconds))


def work(count=1, *, first=0, **options):
    return GenerateWork(
        request=Generate(Context(messages=(("user", PROBLEM.prompt),)), n=count, **options),
        seeds=[1000 + first + k for k in range(count)],
        indices=list(range(first, first + count)),
        problem=PROBLEM,
    )


def endpoint(server, **options):
    quick = {"backoff_seconds": 0.01, "max_backoff_seconds": 0.02, "use_n": False}
    return Endpoint("m", server.base_url, **{**quick, **options})


@pytest.fixture
def clock(monkeypatch):
    """A clock that sleeping moves."""
    now = [100.0]

    class Time:
        monotonic = staticmethod(lambda: now[0])

    async def sleep(seconds):
        now[0] += seconds

    monkeypatch.setattr(endpoint_limits, "time", Time)
    monkeypatch.setattr(endpoint_limits.asyncio, "sleep", sleep)
    return now


@pytest.mark.parametrize("per_minute", [1, 30, 600])
async def test_no_minute_sees_more_than_its_amount(clock, per_minute):
    bucket, taken = Bucket(per_minute, "requests_per_minute"), []
    for _ in range(3 * per_minute):
        await bucket.take(1)
        taken.append(clock[0])
    most = max(sum(1 for t in taken if at <= t < at + 60) for at in taken)
    assert per_minute * 0.9 <= most <= per_minute
    assert taken[-1] - taken[0] <= 60 * 3 / 0.9 + 1  # and it is no slower than that


async def test_what_a_call_did_not_use_is_given_back(clock):
    bucket = Bucket(6000, "tokens_per_minute")
    await bucket.take(600)
    bucket.give_back(500)
    before = clock[0]
    await bucket.take(500)
    assert clock[0] == before
    await bucket.take(90)
    assert clock[0] == pytest.approx(before + 1.0)


async def test_cancelled_waiters_of_a_bucket_take_nothing():
    bucket = Bucket(60, "requests_per_minute")
    await bucket.take(6)
    waiting = [asyncio.create_task(bucket.take(1)) for _ in range(50)]
    await asyncio.sleep(0)
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    await asyncio.wait_for(bucket.take(1), 5.0)


@pytest.mark.parametrize("option", ["requests_per_minute", "tokens_per_minute"])
def test_limits_of_nothing_are_refused(option):
    with pytest.raises(UsageError, match=option):
        Endpoint("m", "http://127.0.0.1:1/v1", **{option: 0})


async def test_slots_halve_once_a_round_and_grow_back():
    slots = Slots(16, adaptive=True)
    slots.overloaded(1e12)
    assert slots.window == 8
    slots.overloaded(0.0)  # sent before the cut: it tells of the old load
    assert slots.window == 8
    for _ in range(9):  # a little more than a round
        slots.succeeded()
    assert slots.window == 9
    for _ in range(500):
        slots.succeeded()
    assert slots.window == 16


async def test_slots_are_handed_over_in_order_and_never_lost():
    slots, order = Slots(1, adaptive=False), []

    async def user(name):
        await slots.acquire()
        order.append(name)
        await asyncio.sleep(0)
        slots.release()

    tasks = [asyncio.create_task(user(k)) for k in range(6)]
    await asyncio.sleep(0)
    tasks[2].cancel()
    tasks[1].cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert (order, slots.busy) == ([0, 3, 4, 5], 0)


async def test_concurrency_adapts_to_what_the_server_bears():
    async with FakeServer(slow(0.02), capacity=8) as server:
        generator = endpoint(server, concurrency=32, max_tries=100)
        (outcome,) = await generator.generate([work(200)])
        await generator.close()
        refused = server.counts.refused
    async with FakeServer(slow(0.02), capacity=8) as server:
        stubborn = endpoint(server, concurrency=32, max_tries=100, adaptive=False)
        (other,) = await stubborn.generate([work(200)])
        await stubborn.close()
        assert refused < server.counts.refused / 2
    for found in (outcome, other):
        assert {draw.status for draw in found.draws} == {"end"}
    assert len(outcome.attempts) == refused


async def test_requests_a_minute_are_kept():
    async with FakeServer(slow(0.0)) as server:
        generator = endpoint(server, requests_per_minute=100)
        asking = asyncio.create_task(generator.generate([work(40)]))
        await asyncio.sleep(0.5)
        assert server.counts.requests <= 11  # a tenth at once, then 1.5 a second
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
        await generator.close()


async def test_calls_are_prepared_as_they_are_needed():
    async with FakeServer(slow(0.002), many="ignore") as server:
        generator = endpoint(server, concurrency=4)
        asking = asyncio.ensure_future(generator.generate([work(200), work(100)]))
        most = 0
        while not asking.done():
            most = max(most, len(asyncio.all_tasks()))
            await asyncio.sleep(0.001)
        assert [len(outcome.draws) for outcome in await asking] == [200, 100]
        assert server.counts.most_in_flight == 4
        assert most < 40  # two for each slot, their connections, and those of the test
        await generator.close()


async def test_a_work_item_that_is_cancelled_lets_the_next_one_in():
    async with FakeServer(slow(0.01), many="ignore") as server:
        generator = endpoint(server, concurrency=2)
        first, second = (asyncio.ensure_future(generator.generate([work(50)])) for _ in range(2))
        while server.counts.completed < 6:
            await asyncio.sleep(0.001)
        first.cancel()
        (outcome,) = await asyncio.wait_for(second, 30.0)
        assert {draw.status for draw in outcome.draws} == {"end"}
        assert generator._transport.slots.busy == 0
        await generator.close()


async def test_a_thousand_cancelled_calls_leave_nothing_behind():
    async with FakeServer(slow(1.0)) as server:
        generator = endpoint(server, concurrency=1000)
        handed = []
        item = work(1000)
        item.early = lambda places, outcome: handed.extend(outcome.attempts)
        asking = asyncio.create_task(generator.generate([item]))
        async with asyncio.timeout(30):
            while server.counts.in_flight < 1000:
                await asyncio.sleep(0.01)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        assert generator._transport.slots.busy == 0
        assert not generator._transport.open().session.connector._acquired
        assert [attempt.outcome for attempt in handed] == ["cancelled on the wire"] * 1000
        assert all(attempt.estimated and attempt.usage.prompt_tokens for attempt in handed)
        again = await asyncio.wait_for(generator.generate([work(50)]), 30.0)
        assert {draw.status for draw in again[0].draws} == {"end"}
        await generator.close()


async def test_what_came_before_a_cancellation_was_handed_over():
    async with FakeServer(slow(0.05), faults=Faults(first=("ok",) * 3)) as server:
        generator = endpoint(server, concurrency=3)
        handed = {}
        item = work(9)
        item.early = lambda places, outcome: handed.update(zip(places, outcome.draws, strict=True))
        asking = asyncio.create_task(generator.generate([item]))
        while server.counts.completed < 3 or len(handed) < 3:
            await asyncio.sleep(0.005)
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
        assert set(range(3)) <= set(handed)
        assert len(handed) < 9
        await generator.close()


async def test_a_hedge_outruns_a_slow_reply_and_is_accounted():
    faults = Faults(first=("drip",), drip_seconds=0.2)
    async with FakeServer(slow(0.01), faults=faults) as server:
        generator = endpoint(server, hedge_seconds=0.1)
        (outcome,) = await asyncio.wait_for(generator.generate([work()]), 10.0)
        assert server.counts.requests == 2
        assert generator._transport.slots.busy == 0
        await generator.close()
    assert outcome.draws[0].text == "a b"
    assert [attempt.outcome for attempt in outcome.attempts] == ["cancelled on the wire"]


async def test_no_hedge_is_sent_where_replies_are_quick_or_fail():
    async with FakeServer(slow(0.01), faults=Faults(first=("500",))) as server:
        generator = endpoint(server, hedge_seconds=5.0)
        (outcome,) = await generator.generate([work(5)])
        assert server.counts.requests == 6
        await generator.close()
    assert len(outcome.attempts) == 1


async def test_a_host_name_and_any_number_of_calls_do_not_block():
    async with FakeServer(slow(0.001)) as server:
        base_url = server.base_url.replace("127.0.0.1", "localhost")
        generator = Endpoint("m", base_url, concurrency=256, use_n=False)
        (outcome,) = await asyncio.wait_for(generator.generate([work(600)]), 60.0)
        await generator.close()
    assert len(outcome.draws) == 600
