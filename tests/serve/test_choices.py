"""The client's `n` without a strategy: one call, a draw a choice, and accounts that add up."""

import asyncio
import sqlite3

import openai
import pytest
from aiohttp import web
from serve_world import ask, chat, judges, scripted_upstream, serving, settings

from dwell.generators.endpoint import Endpoint
from dwell.generators.registry import make_generator
from dwell.keys import draw_seeds
from dwell.protocols import GenerateWork
from dwell.records import Context, Problem
from dwell.requests import Generate
from dwell.serve import Server
from dwell.serve.embedded import Embedded
from dwell.serve.journal import Journal

#: A prompt of as many tokens as `Scripted` says that HELLO has.
PROMPT = 3
STREAM = {"stream": True, "stream_options": {"include_usage": True}}


def texts_of(chunks):
    """The text of each choice of a stream, by index."""
    found = {}
    for chunk in chunks:
        for choice in chunk.choices:
            found[choice.index] = found.get(choice.index, "") + (choice.delta.content or "")
    return found


def sums(accounts):
    """(prompt, output) tokens of several accounts together."""
    spent = [account["usage"]["spent"] for account in accounts]
    return tuple(
        sum(one.get(kind, 0) for one in spent) for kind in ("prompt_tokens", "output_tokens")
    )


async def test_the_clients_n_is_one_call_whose_prompt_counts_once():
    async with serving() as (_, upstream, client):
        reply = await ask(client, n=8, temperature=0.5, seed=11)
    (body,) = upstream.counts.bodies
    assert (body["n"], body["seed"], body["temperature"]) == (8, 11, 0.5)
    assert [choice.index for choice in reply.choices] == list(range(8))
    assert len({choice.message.content for choice in reply.choices}) == 8
    assert reply.usage.prompt_tokens == PROMPT
    assert reply.usage.completion_tokens == upstream.counts.output_tokens
    assert sums(reply.dwell["choices"]) == (PROMPT, reply.usage.completion_tokens)


@pytest.mark.parametrize(
    ("many", "requests", "calls"), [("ignore", 8, 8), ("fewer", 4, 4), ("refuse", 9, 8)]
)
async def test_choices_that_the_model_leaves_out_are_asked_for_again(many, requests, calls):
    async with serving(fake={"many": many}) as (_, upstream, client):
        reply = await ask(client, n=8, seed=11)
        assert upstream.counts.requests == requests
        await ask(client, n=8)
        assert upstream.counts.requests == requests + calls  # it is known by now
    seeds = [body["seed"] for body in upstream.counts.bodies if "seed" in body]
    assert len(set(seeds)) == calls
    assert 11 in seeds
    assert reply.usage.prompt_tokens == calls * PROMPT  # of every call that was made
    assert sums(reply.dwell["choices"]) == (calls * PROMPT, reply.usage.completion_tokens)


async def test_a_refusal_of_something_else_does_not_end_calls_of_several():
    async def reply(request, body):
        if body["temperature"] > 1:
            return web.json_response({"error": {"message": "too hot"}}, status=400)
        choices = [
            {"index": k, "finish_reason": "stop", "message": {"role": "assistant", "content": "a"}}
            for k in range(body["n"])
        ]
        return web.json_response({"choices": choices, "usage": {}})

    async with scripted_upstream(reply) as (_, bodies, client):
        with pytest.raises(openai.BadRequestError, match="too hot"):
            await ask(client, n=4, temperature=2.0)
        assert len((await ask(client, n=4, temperature=1.0)).choices) == 4
    assert [body.get("n", 1) for body in bodies] == [4, 1, 4]


async def test_a_stream_of_several_choices_is_passed_through():
    async with serving() as (_, upstream, client):
        chunks = [chunk async for chunk in await ask(client, n=8, **STREAM)]
        whole = [f"thought {k}\nAnswer: {(7, 7, 8)[k % 3]}" for k in range(8)]
    assert upstream.counts.requests == 1
    assert texts_of(chunks) == dict(enumerate(whole))
    assert chunks[-1].usage.prompt_tokens == PROMPT
    assert chunks[-1].usage.completion_tokens == upstream.counts.output_tokens
    ends = [chunk for chunk in chunks if chunk.choices and chunk.choices[0].finish_reason]
    assert [end.choices[0].index for end in ends] == list(range(8))
    assert sums([end.dwell for end in ends]) == (PROMPT, upstream.counts.output_tokens)


@pytest.mark.parametrize(("many", "prompts"), [("ignore", 4), ("fewer", 2), ("refuse", 4)])
async def test_a_stream_is_whole_though_the_model_leaves_choices_out(many, prompts):
    async with serving(fake={"many": many}) as (_, upstream, client):
        for _ in range(2):  # before and after it is known
            chunks = [chunk async for chunk in await ask(client, n=4, **STREAM)]
            texts = texts_of(chunks)
            assert sorted(texts) == [0, 1, 2, 3]
            assert len(set(texts.values())) == 4
            assert chunks[-1].usage.prompt_tokens == prompts * PROMPT
    assert upstream.counts.answers == 8


async def test_a_stream_whose_rest_cannot_be_had_ends_with_an_error():
    async def reply(request, body):
        if not body.get("stream"):
            return web.json_response({"error": {"message": "gone"}}, status=404)
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        end = b'{"choices": [{"index": 0, "delta": {"content": "a"}, "finish_reason": "stop"}]}'
        await response.write(b"data: " + end + b"\n\ndata: [DONE]\n\n")
        return response

    async with scripted_upstream(reply) as (server, _, client):
        with pytest.raises(openai.APIError, match="gone"):
            [chunk async for chunk in await ask(client, n=2, stream=True)]
        text = server._gauges.text(0)
    assert 'dwell_runs_total{status="done"} 2' in text  # the model was reached, the draw failed


async def test_every_choice_is_a_draw_in_the_ledger(tmp_path):
    async with serving(journal=Journal(tmp_path)) as (_, upstream, client):
        reply = await ask(client, n=8)
        [chunk async for chunk in await ask(client, n=8, stream=True)]
    database = sqlite3.connect(tmp_path / "ledger.db")
    ((count, prompt),) = database.execute("SELECT count(*), sum(prompt_tokens) FROM draw")
    database.close()
    assert (upstream.counts.requests, count, prompt) == (2, 16, 2 * PROMPT)
    assert len(reply.choices) == 8


async def test_an_endpoint_in_front_records_the_prompt_once():
    context = Context(messages=(("user", "what is it"),))
    work = GenerateWork(
        request=Generate(context, n=16),
        seeds=draw_seeds(b"key", 0, 16),
        indices=range(16),
        problem=Problem(id="p", prompt="what is it"),
    )
    async with serving() as (server, upstream, _):
        endpoint = Endpoint("m", server.url)
        (outcome,) = await endpoint.generate([work])
        await endpoint.close()
    assert upstream.counts.requests == 1
    assert [draw.prompt_tokens for draw in outcome.draws] == [PROMPT] * 16
    assert [draw.cached_tokens for draw in outcome.draws] == [0] + [PROMPT] * 15
    assert sum(draw.output_tokens for draw in outcome.draws) == upstream.counts.output_tokens


async def test_a_deadline_or_a_limit_makes_each_choice_a_call_of_its_own():
    async with serving() as (_, upstream, client):
        assert len((await ask(client, n=3, dwell={"ms": 5000})).choices) == 3
        assert len((await ask(client, n=3, dwell={"tokens": 5000})).choices) == 3
        stream = await ask(client, n=3, stream=True, dwell={"ms": 5000})
        assert sorted(texts_of([chunk async for chunk in stream])) == [0, 1, 2]
    assert upstream.counts.requests == 9


async def test_more_choices_than_samples_are_refused_where_each_is_a_draw():
    async with serving(most_samples=16) as (_, upstream, client):
        assert len((await ask(client, n=16)).choices) == 16
        with pytest.raises(openai.BadRequestError, match="from 1 to 16"):
            await ask(client, n=17)
    async with serving("majority:n=2") as (_, _, client):
        with pytest.raises(openai.BadRequestError, match="from 1 to 8"):
            await ask(client, n=9)
    assert upstream.counts.requests == 1


async def test_the_operators_sampling_goes_with_every_draw():
    async with serving("sample:temperature=0.25,max_tokens=2") as (_, upstream, client):
        await ask(client)
        await ask(client, n=2, max_tokens=9)
        [chunk async for chunk in await ask(client, stream=True, temperature=1.0)]
    sent = [(body["temperature"], body["max_tokens"]) for body in upstream.counts.bodies]
    assert sent == [(0.25, 2), (0.25, 2), (1.0, 2)]


async def test_a_client_that_leaves_is_one_cancelled_attempt(tmp_path):
    async def reply(request, body):
        await asyncio.sleep(5)
        return chat({"content": "late"})

    async with scripted_upstream(reply) as (server, bodies, client):
        with pytest.raises(openai.APITimeoutError):
            await ask(client.with_options(timeout=0.2), n=4)
        for _ in range(100):
            if "cancelled" in server._gauges.text(0):
                break
            await asyncio.sleep(0.02)
        assert 'status="cancelled"} 4' in server._gauges.text(0)
    assert len(bodies) == 1


@pytest.mark.parametrize("strategy", ["sample", "majority:n=8"])
async def test_an_embedded_models_draws_share_the_prompt(strategy):
    own = settings(strategy)
    source = Embedded(make_generator("tiny-0.2m"))
    async with Server(own, source, judges=judges()) as server:
        client = openai.AsyncOpenAI(base_url=server.url, api_key="x", max_retries=0)
        messages = [{"role": "user", "content": "1+2\n"}]
        one = await ask(client, messages=messages, seed=3, dwell={"strategy": "sample"})
        many = await ask(client, messages=messages, seed=3, n=8 if strategy == "sample" else 1)
        await client.close()
    accounts = many.dwell.get("choices", [many.dwell])
    assert many.usage.prompt_tokens == one.usage.prompt_tokens > 0
    assert sums(accounts) == (many.usage.prompt_tokens, many.usage.completion_tokens)
    if strategy == "sample":  # the client's seed is the first choice's
        assert many.choices[0].message.content == one.choices[0].message.content
        assert sum(a["draws"] for a in accounts) == 8
