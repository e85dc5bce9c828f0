"""What the official client sees: completions, streams, seeds, tools, JSON."""

import json

import openai
import pytest
from serve_world import ask, chat, events, scripted_upstream, serving


async def test_a_vote_returns_a_completion_that_carries_the_winning_answer():
    async with serving("majority:n=6") as (_, upstream, client):
        reply = await ask(client)
    assert reply.choices[0].message.content == "thought 0\nAnswer: 7"
    assert reply.dwell["votes"] == [{"answer": "7", "count": 4}, {"answer": "8", "count": 2}]
    assert reply.dwell["confidence"] == {"agreement": 0.6667, "votes": 6, "calibrated": False}
    assert reply.usage.completion_tokens == upstream.counts.output_tokens == 24


async def test_a_streamed_vote_is_the_same_completion_in_events():
    async with serving("majority:n=6") as (_, _, client):
        options = {"stream": True, "stream_options": {"include_usage": True}}
        chunks = [chunk async for chunk in await ask(client, **options)]
    texts = [c.choices[0].delta.content or "" for c in chunks if c.choices]
    assert "".join(texts) == "thought 0\nAnswer: 7"
    (last,) = [chunk for chunk in chunks if chunk.choices and chunk.choices[0].finish_reason]
    assert last.dwell["draws"] == 6
    assert chunks[-1].usage.completion_tokens == 24


async def test_a_plain_request_is_passed_through_as_it_came():
    async with serving() as (_, upstream, client):
        reply = await ask(client, temperature=0.5, top_p=0.9, seed=11, max_tokens=9, stop=["x"])
    assert reply.choices[0].message.content.startswith("thought")
    (body,) = upstream.counts.bodies
    assert body == {
        "model": "m", "messages": [{"role": "user", "content": "what is it"}], "temperature": 0.5,
        "top_p": 0.9, "seed": 11, "max_tokens": 9, "stop": ["x"],
    }  # fmt: skip


async def test_a_plain_stream_is_passed_through_while_it_is_written():
    async def reply(request, body):
        return await events(request, ["Ans", "wer: ", "7"])

    async with scripted_upstream(reply) as (_, bodies, client):
        chunks = [chunk async for chunk in await ask(client, stream=True)]
    assert [c.choices[0].delta.content for c in chunks] == ["Ans", "wer: ", "7", None]
    assert {chunk.model for chunk in chunks} == {"m"}
    assert chunks[-1].choices[0].finish_reason == "stop"
    assert chunks[-1].dwell["answer"] == "7"
    assert chunks[-1].dwell["usage"]["spent"]["output_tokens"] == 3
    assert bodies[0]["stream"] is True


async def test_the_same_seed_asks_for_the_same_draws():
    async with serving("majority:n=3") as (_, upstream, client):
        one = await ask(client, seed=5, dwell={"ms": 5000})
        again = await ask(client, seed=5, dwell={"ms": 5000})
        other = await ask(client, seed=6, dwell={"ms": 5000})
    seeds = [body["seed"] for body in upstream.counts.bodies]
    assert sorted(seeds[:3]) == sorted(seeds[3:6])
    assert not set(seeds[:3]) & set(seeds[6:])
    assert 5 in seeds[:3]
    assert one.dwell["votes"] == again.dwell["votes"]
    assert other.dwell["draws"] == 3


async def test_without_a_seed_the_model_is_sent_none():
    async with serving("majority:n=3") as (_, upstream, client):
        await ask(client)
    assert "seed" not in upstream.counts.bodies[0]


async def test_a_backend_that_ignores_n_is_asked_again_for_the_rest():
    async with serving("majority:n=6", fake={"many": "ignore"}) as (_, upstream, client):
        assert (await ask(client)).dwell["draws"] == 6
        assert (await ask(client)).dwell["draws"] == 6
    assert upstream.counts.requests == 12


async def test_a_backend_that_refuses_n_is_asked_singly():
    async with serving("majority:n=4", fake={"many": "refuse"}) as (_, upstream, client):
        assert (await ask(client)).dwell["draws"] == 4
    assert upstream.counts.answers == 4


async def test_the_clients_n_runs_the_strategy_n_times():
    async with serving("majority:n=3") as (_, upstream, client):
        reply = await ask(client, n=2)
    assert [choice.index for choice in reply.choices] == [0, 1]
    assert [run["draws"] for run in reply.dwell["choices"]] == [3, 3]
    assert reply.usage.completion_tokens == upstream.counts.output_tokens


async def test_tool_calls_are_voted_on_by_name_and_arguments():
    spellings = iter(['{"x": 1, "y": 2}', '{"y":2,"x":1}', '{"x": 9}'])

    async def reply(request, body):
        function = {"name": "add", "arguments": next(spellings)}
        call = {"id": "c", "type": "function", "function": function}
        return chat({"content": None, "tool_calls": [call]}, finish_reason="tool_calls")

    tools = [{"type": "function", "function": {"name": "add", "parameters": {}}}]
    async with scripted_upstream(reply, strategy="majority:n=3") as (_, bodies, client):
        found = await ask(client, tools=tools)
    assert found.dwell["votes"][0] == {"answer": 'tools:[["add",{"x":1,"y":2}]]', "count": 2}
    (call,) = found.choices[0].message.tool_calls
    assert json.loads(call.function.arguments) == {"x": 1, "y": 2}
    assert bodies[0]["tools"] == tools


async def test_json_is_voted_on_as_json_and_broken_json_has_no_vote():
    texts = iter(['{"a": 1, "b": 2}', "no json", '{"b":2,"a":1}'])

    async def reply(request, body):
        return chat({"content": next(texts)})

    options = {"response_format": {"type": "json_object"}}
    async with scripted_upstream(reply, strategy="majority:n=3") as (_, _, client):
        found = await ask(client, **options)
    assert found.dwell["votes"] == [{"answer": '{"a":1,"b":2}', "count": 2}]
    assert json.loads(found.choices[0].message.content) == {"a": 1, "b": 2}


async def test_completions_are_served_as_chat_is():
    async with serving("majority:n=3") as (_, upstream, client):
        reply = await client.completions.create(model="m", prompt="what is it")
        stream = await client.completions.create(model="m", prompt="what is it", stream=True)
        chunks = [chunk async for chunk in stream]
    assert reply.choices[0].text == "thought 0\nAnswer: 7"
    assert "".join(c.choices[0].text for c in chunks).endswith("Answer: 7")
    assert upstream.counts.bodies[0]["prompt"] == "what is it"


async def test_models_are_listed():
    async with serving() as (_, _, client):
        assert [model.id for model in (await client.models.list()).data] == ["m"]
        with pytest.raises(openai.NotFoundError):
            await client.models.retrieve("other")


async def test_a_model_that_refuses_is_heard():
    async with serving(fake={"key": "secret"}) as (_, upstream, client):
        with pytest.raises(openai.APIStatusError) as caught:
            await ask(client)
    assert caught.value.status_code == 502
    assert upstream.counts.requests == 1


async def test_best_of_n_returns_the_best_scored_of_equal_answers():
    strategy = "best_of_n:n=6,verifier=agreement"
    async with serving(strategy) as (_, _, client):
        reply = await ask(client)
    assert reply.dwell["answer"] == "7"
    assert {(s["answer"], s["score"]) for s in reply.dwell["scores"]} == {("7", 0.6), ("8", 0.2)}


async def test_log_probabilities_go_with_the_completion_that_is_returned():
    async with serving("majority:n=3") as (_, _, client):
        whole = await ask(client, logprobs=True)
        stream = await ask(client, logprobs=True, stream=True)
        chunks = [chunk async for chunk in stream]
        without = await ask(client)
    assert whole.choices[0].logprobs.content
    assert chunks[-1].choices[0].logprobs.content
    assert without.choices[0].logprobs is None


async def test_a_stream_with_a_long_event_is_passed_through():
    async def reply(request, body):
        return await events(request, ["x" * 200_000])

    async with scripted_upstream(reply) as (_, _, client):
        chunks = [chunk async for chunk in await ask(client, stream=True)]
    assert len(chunks[0].choices[0].delta.content) == 200_000


async def test_a_stream_that_breaks_ends_with_an_error():
    async def reply(request, body):
        request.transport.close()
        return await events(request, ["lost"])

    async with scripted_upstream(reply) as (_, _, client):
        with pytest.raises(openai.APIError):
            [chunk async for chunk in await ask(client, stream=True)]
