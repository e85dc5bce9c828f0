"""A server in front of scripted ones: what its tests share."""

import asyncio
import json
from contextlib import asynccontextmanager

import aiohttp
import openai
from aiohttp import web

from dwell.generators.fake_server import FakeServer
from dwell.generators.scripted import Latency, Scripted
from dwell.serve import Server, Settings
from dwell.serve.judges import Judges
from dwell.serve.upstream import Upstream
from dwell.strategies import parse
from dwell.verifiers import make_verifier

HELLO = [{"role": "user", "content": "what is it"}]
#: Two of three answers are 7.
SCRIPT = Scripted.from_function(
    lambda context, index, rng: f"thought {index}\nAnswer: {(7, 7, 8)[index % 3]}", name="sevens"
)


def slow(seconds, sigma=0.0):
    return Scripted.from_function(
        lambda context, index, rng: f"thought {index}\nAnswer: {(7, 7, 8)[index % 3]}",
        name="slow sevens",
        latency=Latency(base_seconds=seconds, sigma=sigma),
    )


def settings(strategy="sample", **options):
    return Settings(model="m", strategy=parse(strategy), **options)


def judges():
    return Judges({"agreement": make_verifier("agreement")})


@asynccontextmanager
async def serving(strategy="sample", script=SCRIPT, *, journal=None, fake=None, **options):
    """(server, fake server upstream, official client)."""
    async with FakeServer(script, record=True, **(fake or {})) as upstream:
        own = settings(strategy, **options)
        source = Upstream(own, upstream.base_url, backoff_seconds=0.01)
        async with Server(own, source, judges=judges(), journal=journal) as server:
            client = openai.AsyncOpenAI(base_url=server.url, api_key="none", max_retries=0)
            try:
                yield server, upstream, client
            finally:
                await client.close()


async def ask(client, *, dwell=None, messages=HELLO, **options):
    extra = {} if dwell is None else {"extra_body": {"dwell": dwell}}
    return await client.chat.completions.create(model="m", messages=messages, **extra, **options)


async def post(server, path="/chat/completions", *, data=None, body=None, **options):
    """(status, parsed reply) of a bare request."""
    data = json.dumps(body).encode() if data is None else data
    async with (
        aiohttp.ClientSession() as session,
        session.post(server.url + path, data=data, **options) as response,
    ):
        return response.status, await response.json()


@asynccontextmanager
async def scripted_upstream(reply, **options):
    """A server in front of one that answers by a function: ``await reply(request, body)``."""
    bodies = []

    async def answer(request):
        bodies.append(await request.json())
        return await reply(request, bodies[-1])

    app = web.Application()
    app.router.add_post("/v1/{rest:.*}", answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    own = settings(**options)
    source = Upstream(own, f"http://127.0.0.1:{port}/v1", backoff_seconds=0.01)
    try:
        async with Server(own, source, judges=judges()) as server:
            client = openai.AsyncOpenAI(base_url=server.url, api_key="none", max_retries=0)
            yield server, bodies, client
            await client.close()
    finally:
        await runner.cleanup()


def chat(message, **more):
    """A whole reply with one completion."""
    usage = {"prompt_tokens": 3, "completion_tokens": 5}
    choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", **message}}
    return web.json_response({"choices": [{**choice, **more}], "usage": usage})


async def events(request, texts, *, pause=0.0, usage=True):
    """A stream of events that writes the texts."""
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    await response.prepare(request)

    async def send(chunk):
        await response.write(b"data: " + json.dumps(chunk).encode() + b"\n\n")

    head = {"id": "up-1", "object": "chat.completion.chunk", "created": 1, "model": "hidden"}
    for text in texts:
        choice = {"index": 0, "delta": {"content": text}, "finish_reason": None}
        await send({**head, "choices": [choice]})
        await asyncio.sleep(pause)
    await send({**head, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
    if usage:
        counts = {"prompt_tokens": 4, "completion_tokens": len(texts), "total_tokens": 9}
        await send({**head, "choices": [], "usage": counts})
    await response.write(b"data: [DONE]\n\n")
    return response
