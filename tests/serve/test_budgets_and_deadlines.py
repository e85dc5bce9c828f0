"""Hard limits of a request: samples, tokens, dollars, milliseconds."""

import asyncio
import time

import openai
import pytest
from serve_world import ask, events, scripted_upstream, serving, slow

from dwell.generators.fake_server import Faults


async def test_a_request_names_its_strategy_by_body_or_header():
    async with serving() as (_, _, client):
        body = await ask(client, dwell={"strategy": "majority:n=3"})
        header = await ask(client, extra_headers={"X-Dwell-Strategy": "majority:n=2"})
    assert body.dwell["draws"] == 3
    assert header.dwell["draws"] == 2


async def test_no_more_samples_are_asked_for_than_allowed():
    async with serving("majority:n=16", most_samples=5) as (_, upstream, client):
        few = await ask(client, dwell={"samples": 3})
        many = await ask(client, dwell={"samples": 99})
    assert (few.dwell["draws"], many.dwell["draws"]) == (3, 5)
    assert few.dwell["status"] == "out_of_budget"
    assert upstream.counts.answers == 8


@pytest.mark.parametrize("tokens", [3, 10, 40, 100])
async def test_no_more_tokens_can_be_made_than_allowed(tokens):
    async with serving("majority:n=16") as (_, upstream, client):
        reply = await ask(client, dwell={"tokens": tokens}, max_tokens=10)
    caps = [body["max_tokens"] for body in upstream.counts.bodies]
    assert 0 < reply.usage.completion_tokens <= tokens
    assert max(caps) <= min(10, tokens)
    assert reply.dwell["draws"] >= min(16, tokens // 10)


async def test_no_more_dollars_can_be_spent_than_allowed():
    prices = {"usd_per_million_prompt_tokens": 1.0, "usd_per_million_output_tokens": 1e4}
    async with serving("majority:n=16", **prices) as (_, upstream, client):
        reply = await ask(client, dwell={"usd": 0.5}, max_tokens=10)
    assert 0.3 < reply.dwell["usage"]["spent"]["usd"] <= 0.5
    assert upstream.counts.answers == reply.dwell["draws"]


async def test_dollars_without_prices_are_refused():
    async with serving() as (_, _, client):
        with pytest.raises(openai.BadRequestError, match="prices"):
            await ask(client, dwell={"usd": 0.5})


async def test_a_budget_that_allows_nothing_says_so():
    prices = {"usd_per_million_prompt_tokens": 1.0, "usd_per_million_output_tokens": 1e6}
    async with serving("majority:n=4", **prices) as (_, upstream, client):
        with pytest.raises(openai.BadRequestError, match="single draw"):
            await ask(client, dwell={"usd": 0.01}, max_tokens=10)
    assert not upstream.counts.requests


async def test_a_deadline_returns_the_vote_so_far():
    async with serving("majority:n=8", slow(1.0, sigma=2.0)) as (_, _, client):
        begun = time.monotonic()
        reply = await ask(client, dwell={"ms": 1000})
        seconds = time.monotonic() - begun
    assert reply.dwell["status"] == "deadline"
    assert 0 < reply.dwell["draws"] < 8
    assert reply.choices[0].message.content.endswith(reply.dwell["answer"])
    assert seconds < 1.0 + 0.5  # the benchmark holds the server to 50 ms


@pytest.mark.parametrize("strategy", ["majority:n=4", "sample", "adaptive_consistency:n=8"])
async def test_a_deadline_before_any_completion_is_an_error_with_an_account(strategy):
    async with serving(strategy, slow(5.0)) as (_, _, client):
        with pytest.raises(openai.APIStatusError) as caught:
            await ask(client, dwell={"ms": 50})
    assert caught.value.status_code == 504
    body = caught.value.response.json()
    assert body["error"]["code"] == "deadline_exceeded"
    assert body["dwell"]["status"] == "deadline"


async def test_a_deadline_ends_a_verifier_that_thinks_too_long():
    strategy = "best_of_n:n=4,verifier=agreement"
    async with serving(strategy) as (server, _, client):
        verifier = server._judges.verifiers["agreement"]

        async def think(work):
            time.sleep(1.0)
            return []

        verifier.score = think
        begun = time.monotonic()
        reply = await ask(client, dwell={"ms": 200})
        assert time.monotonic() - begun < 0.7
    assert reply.dwell["status"] == "deadline"
    assert reply.dwell["answer"] == "7"


async def test_a_deadline_cuts_a_relayed_stream():
    async def reply(request, body):
        return await events(request, ["word "] * 100, pause=0.02)

    async with scripted_upstream(reply) as (_, _, client):
        stream = await ask(client, stream=True, dwell={"ms": 200})
        chunks = [chunk async for chunk in stream]
    assert 1 < len(chunks) < 60
    assert chunks[-1].choices[0].finish_reason == "length"
    assert chunks[-1].dwell["status"] == "deadline"


async def test_half_of_all_calls_failing_changes_no_reply():
    faults = Faults(rates={"500": 0.5, "reset": 0.05}, seed=3)
    async with serving("majority:n=8", slow(0.001), fake={"faults": faults}) as (_, up, client):
        replies = await asyncio.gather(*(ask(client, dwell={"ms": 60_000}) for _ in range(10)))
    drawn = sum(reply.dwell["draws"] - reply.dwell["failed_draws"] for reply in replies)
    assert all(reply.dwell["answer"] in ("7", "8") for reply in replies)
    assert drawn == up.counts.answers


async def test_every_call_failing_is_a_bad_gateway():
    async with serving("majority:n=2", fake={"faults": Faults(rates={"500": 1.0})}) as parts:
        with pytest.raises(openai.InternalServerError) as caught:
            await ask(parts[2])
    assert caught.value.status_code == 502


@pytest.mark.parametrize("strategy", ["majority:n=4", "sample"])
async def test_what_a_client_leaves_is_cancelled(strategy):
    async with serving(strategy, slow(30.0)) as (server, up, client):
        with pytest.raises(openai.APITimeoutError):
            await ask(client, timeout=0.2)
        for _ in range(100):
            if not server._guard.in_flight:
                break
            await asyncio.sleep(0.02)
        assert not server._guard.in_flight
        assert 'dwell_runs_total{status="cancelled"} 1' in server._gauges.text(0)
        assert 'dwell_spent_total{kind="attempts"} 0' not in server._gauges.text(0)
        assert up.counts.requests == 1


async def test_calls_that_a_deadline_ends_are_cancelled_and_counted_after_the_reply():
    async with serving("majority:n=8", slow(30.0)) as (server, _, client):
        calls = server._source._session.connector._acquired
        with pytest.raises(openai.APIStatusError):
            await ask(client, dwell={"ms": 200})
        for _ in range(100):
            if 'status="deadline"' in server._gauges.text(0):
                break
            await asyncio.sleep(0.02)
        assert 'dwell_spent_total{kind="attempts"} 8' in server._gauges.text(0)
        for _ in range(100):
            if not calls:
                break
            await asyncio.sleep(0.02)
        assert not calls


async def test_what_has_not_been_sent_by_the_deadline_is_not_sent():
    async with serving("majority:n=60", slow(30.0)) as (server, up, client):
        server._source._pace._most = 0  # nothing gets its turn
        server._source._pace._left = 3
        with pytest.raises(openai.APIStatusError) as caught:
            await ask(client, dwell={"ms": 200})
        server._source._pace._most = 4
        await asyncio.sleep(0.4)
    assert caught.value.status_code == 504
    assert up.counts.requests == 3
