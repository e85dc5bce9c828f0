"""The scripted server's streams: what arrives, when, and what is counted."""

import asyncio
import json
import time

import aiohttp
import pytest

from dwell.generators import FakeServer, Faults, Latency, Scripted

ASKED = {"model": "m", "messages": [{"role": "user", "content": "why"}], "stream": True}
TEXT = "one two three four"


def script(text=TEXT, **options):
    return Scripted.from_list([text], **options)


async def events_of(server, body=ASKED, path="/chat/completions"):
    """(seconds since the request, event) of each event but the last, which must be [DONE]."""
    began, found = time.monotonic(), []
    async with (
        aiohttp.ClientSession() as session,
        session.post(server.base_url + path, json=body) as response,
    ):
        assert response.status == 200
        async for line in response.content:
            if line.startswith(b"data: "):
                found.append((time.monotonic() - began, line[6:].strip()))
    assert found.pop()[1] == b"[DONE]"
    return [(seconds, json.loads(data)) for seconds, data in found]


def content(found, index=0):
    choices = [choice for _, event in found for choice in event["choices"]]
    return "".join(c["delta"].get("content", "") for c in choices if c["index"] == index)


async def test_the_pieces_of_a_stream_are_the_whole_answer():
    async with FakeServer(script()) as server:
        found = await events_of(server)
        assert content(found) == TEXT
        assert {event["object"] for _, event in found} == {"chat.completion.chunk"}
        assert found[0][1]["choices"][0]["delta"]["role"] == "assistant"
        assert [e["choices"][0]["finish_reason"] for _, e in found] == [None] * 5 + ["stop"]
        assert (server.counts.completed, server.counts.output_tokens) == (1, 4)


async def test_pieces_come_by_the_latency_law():
    latency = Latency(base_seconds=0.1, seconds_per_token=0.05)
    async with FakeServer(script(latency=latency)) as server:
        times = [seconds for seconds, _ in await events_of(server)]
    due = [0.1, 0.15, 0.2, 0.25, 0.3, 0.3]
    assert all(seconds >= when - 0.01 for seconds, when in zip(times, due, strict=True))
    assert times[0] < times[1] < times[2] < times[3] < times[4]


@pytest.mark.parametrize("asked", [True, False])
async def test_usage_comes_last_where_it_is_asked_for(asked):
    body = {**ASKED, "stream_options": {"include_usage": asked}}
    async with FakeServer(script()) as server:
        last = (await events_of(server, body))[-1][1]
    assert (last["choices"] == []) == asked
    if asked:
        assert last["usage"]["completion_tokens"] == 4


async def test_several_answers_come_interleaved():
    latency = Latency(base_seconds=0.02, seconds_per_token=0.01)
    texts = Scripted.from_list(["a b c", "d e f"], latency=latency)
    async with FakeServer(texts) as server:
        found = await events_of(server, {**ASKED, "n": 2})
    assert (content(found, 0), content(found, 1)) == ("a b c", "d e f")
    order = [event["choices"][0]["index"] for _, event in found]
    assert order[:4] == [0, 1, 0, 1]


async def test_a_completion_is_streamed_as_text():
    async with FakeServer(script()) as server:
        found = await events_of(server, {"prompt": "why", "stream": True}, "/completions")
    assert "".join(event["choices"][0]["text"] for _, event in found) == TEXT


async def test_reasoning_and_tool_calls_have_pieces_of_their_own():
    call = '<tool_call>{"name": "f", "arguments": {"x": 1}}</tool_call>'
    text = f"<think>so it is</think>look: {call}"
    async with FakeServer(script(text), reasoning="reasoning_content", tools=True) as server:
        found = await events_of(server)
    deltas = [event["choices"][0]["delta"] for _, event in found]
    assert "".join(delta.get("reasoning_content", "") for delta in deltas) == "so it is"
    assert content(found) == "look:"
    (calls,) = [delta["tool_calls"] for delta in deltas if "tool_calls" in delta]
    assert calls[0]["function"] == {"name": "f", "arguments": '{"x": 1}'}
    assert found[-1][1]["choices"][0]["finish_reason"] == "tool_calls"


async def test_a_stream_may_be_cut_in_the_midst():
    async with FakeServer(script(), faults=Faults(first=("truncated",))) as server:
        with pytest.raises(aiohttp.ClientPayloadError):
            await events_of(server)
        assert server.counts.completed == 0


@pytest.mark.parametrize(
    ("fault", "caught"), [("malformed", json.JSONDecodeError), ("empty", IndexError)]
)
async def test_events_may_be_spoilt_or_lacking(fault, caught):
    async with FakeServer(script(), faults=Faults(first=(fault,))) as server:
        with pytest.raises(caught):
            (await events_of(server))[0]
        assert server.counts.completed == 0


async def test_usage_may_be_lacking_at_the_end():
    body = {**ASKED, "stream_options": {"include_usage": True}}
    async with FakeServer(script(), faults=Faults(first=("no_usage",))) as server:
        found = await events_of(server, body)
    assert all(event["choices"] for _, event in found)


async def test_a_reader_may_be_fed_byte_by_byte():
    faults = Faults(first=("drip",), drip_seconds=0.0)
    async with FakeServer(script("hi"), faults=faults) as server:
        assert content(await events_of(server)) == "hi"


async def test_a_reader_who_leaves_is_counted():
    latency = Latency(base_seconds=0.01, seconds_per_token=0.02)
    async with FakeServer(script("word " * 100, latency=latency)) as server:
        async with (
            aiohttp.ClientSession() as session,
            session.post(f"{server.base_url}/chat/completions", json=ASKED) as response,
        ):
            await response.content.readline()
            response.close()
        async with asyncio.timeout(5):
            while server.counts.in_flight:
                await asyncio.sleep(0.01)
        assert (server.counts.abandoned, server.counts.completed) == (1, 0)
