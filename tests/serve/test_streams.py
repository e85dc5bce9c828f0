"""Streams that are passed on: cut short, left by their client, dripping, odd at the end."""

import asyncio
import json

import aiohttp
import openai
import pytest
from aiohttp import web
from serve_world import HELLO, ask, events, scripted_upstream


def chunk(text, reason=None):
    choice = {"index": 0, "delta": {"content": text}, "finish_reason": reason}
    return b"data: " + json.dumps({"id": "up", "choices": [choice]}).encode() + b"\n\n"


async def raw_events(server, **options):
    """The status and every `data:` line of a stream, as text."""
    body = {"model": "m", "messages": HELLO, "stream": True, **options}
    async with (
        aiohttp.ClientSession() as session,
        session.post(server.url + "/chat/completions", json=body) as response,
    ):
        text = (await response.read()).decode()
    lines = [line[6:] for line in text.splitlines() if line.startswith("data: ")]
    return response.status, lines


def runs_of(server):
    return [line for line in server._gauges.text(0).splitlines() if "dwell_runs_total{" in line]


def cut(how):
    """An upstream that writes two events and then breaks off."""

    async def reply(request, body):
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        if how == "without length":  # the end of such a reply looks like a good one
            response.force_close()
            request._version = aiohttp.HttpVersion10
        await response.prepare(request)
        await response.write(chunk("half a "))
        await response.write(chunk("word"))
        await asyncio.sleep(0.05)
        if how == "reset":
            request.transport.abort()
        elif how == "closed":
            request.transport.close()
        elif how == "error":
            await response.write(b'data: {"error": {"message": "out of memory"}}\n\n')
        elif how == "no json":
            await response.write(b"data: {half\n\n")
        return response

    return reply


@pytest.mark.parametrize(
    "how", ["reset", "closed", "without length", "no mark", "error", "no json"]
)
async def test_a_stream_that_is_cut_in_the_middle_ends_with_an_error_and_is_paid_for(how):
    async with scripted_upstream(cut(how)) as (server, _, _):
        status, lines = await raw_events(server)
        assert status == 200
        assert "half a " in lines[0]
        assert json.loads(lines[-1])["error"]["code"] == "upstream_error"
        assert "[DONE]" not in lines
        (run,) = runs_of(server)
        assert 'status="failed"' in run
        assert 'dwell_spent_total{kind="output_tokens"} 3' in server._gauges.text(0)


async def test_the_official_client_hears_of_a_cut_stream():
    async with scripted_upstream(cut("closed")) as (_, _, client):
        with pytest.raises(openai.APIError):
            [piece async for piece in await ask(client, stream=True)]


async def test_a_client_that_leaves_ends_the_call_upstream_and_pays_for_what_was_written():
    ended = asyncio.Event()

    async def reply(request, body):
        try:
            return await events(request, ["word "] * 500, pause=0.02)
        except (ConnectionError, asyncio.CancelledError):
            ended.set()
            raise

    async with scripted_upstream(reply) as (server, _, client):
        async with await ask(client, stream=True) as stream:
            async for _ in stream:
                break
        await asyncio.wait_for(ended.wait(), 5)
        for _ in range(100):
            if runs_of(server):
                break
            await asyncio.sleep(0.02)
        assert 'status="cancelled"' in runs_of(server)[0]
        assert 'kind="output_tokens"' in server._gauges.text(0)


async def test_a_dripping_upstream_is_cut_at_the_deadline():
    async def reply(request, body):
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        for byte in chunk("first") + chunk("never " * 200):
            await response.write(bytes([byte]))
            await asyncio.sleep(0.0005 if byte else 0)
        return response

    async with scripted_upstream(reply) as (server, _, _):
        status, lines = await raw_events(server, dwell={"ms": 400})
    assert status == 200
    last = json.loads(lines[-2])
    assert lines[-1] == "[DONE]"
    assert last["choices"][0]["finish_reason"] == "length"
    assert last["dwell"]["status"] == "deadline"


@pytest.mark.parametrize("mark", [True, False])
async def test_a_stream_is_whole_with_a_reason_or_with_the_mark_of_the_end(mark):
    async def reply(request, body):
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        await response.write(chunk("all", None if mark else "stop"))
        if mark:
            await response.write(b"data: [DONE]\n\n")
        return response

    async with scripted_upstream(reply) as (server, _, _):
        _, lines = await raw_events(server)
    last = json.loads(lines[-2])
    assert (lines[-1], last["choices"][0]["finish_reason"]) == ("[DONE]", "stop")
    assert last["dwell"]["status"] == "done"


async def test_an_empty_stream_is_an_empty_completion():
    async def reply(request, body):
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        await response.write(b"data: [DONE]\n\n")
        return response

    async with scripted_upstream(reply) as (server, _, _):
        status, lines = await raw_events(server)
    assert (status, lines[-1], len(lines)) == (200, "[DONE]", 2)
