"""LangChain's `ChatOpenAI` against the server, with nothing changed but its address."""

import json

import pytest
from aiohttp import web
from pydantic import BaseModel
from serve_world import chat, scripted_upstream, serving

langchain_openai = pytest.importorskip("langchain_openai")


def model(server, **options):
    return langchain_openai.ChatOpenAI(
        model="m", base_url=server.url, api_key="none", max_retries=0, **options
    )


class City(BaseModel):
    name: str
    country: str


async def test_invoke_returns_the_vote_and_its_account():
    async with serving("majority:n=6") as (server, upstream, _):
        reply = await model(server, temperature=0.7).ainvoke("what is it")
    assert reply.content == "thought 0\nAnswer: 7"
    assert reply.usage_metadata["output_tokens"] == upstream.counts.output_tokens == 24
    assert upstream.counts.bodies[0]["temperature"] == 0.7


async def test_a_budget_goes_with_the_request_as_extra_body():
    async with serving("majority:n=6") as (server, upstream, _):
        await model(server, extra_body={"dwell": {"samples": 3}}).ainvoke("what is it")
    assert upstream.counts.answers == 3


async def test_astream_yields_the_vote_in_pieces():
    async with serving("majority:n=6") as (server, _, _):
        pieces = [piece async for piece in model(server, stream_usage=True).astream("what")]
    assert "".join(piece.content for piece in pieces) == "thought 0\nAnswer: 7"
    assert sum((piece.usage_metadata or {}).get("output_tokens", 0) for piece in pieces) == 24


async def test_abatch_answers_every_prompt():
    async with serving("majority:n=3") as (server, upstream, _):
        replies = await model(server).abatch(["one", "two", "three"])
    assert [reply.content[-1] for reply in replies] == ["7", "7", "7"]
    assert upstream.counts.answers == 9


async def test_bound_tools_are_voted_on_and_come_back_as_calls():
    arguments = iter(['{"x": 1, "y": 2}', '{"x": 9, "y": 9}', '{"y":2,"x":1}'])

    async def reply(request, body):
        assert body["tools"][0]["function"]["name"] == "add"
        function = {"name": "add", "arguments": next(arguments)}
        call = {"id": "c1", "type": "function", "function": function}
        return chat({"content": None, "tool_calls": [call]}, finish_reason="tool_calls")

    def add(x: int, y: int) -> int:
        """Add two numbers."""
        return x + y

    async with scripted_upstream(reply, strategy="majority:n=3") as (server, _, _):
        found = await model(server).bind_tools([add]).ainvoke("one and two")
    (call,) = found.tool_calls
    assert (call["name"], call["args"]) == ("add", {"x": 1, "y": 2})


@pytest.mark.parametrize("method", ["json_schema", "json_mode", "function_calling"])
async def test_structured_output_is_the_object_most_draws_agree_on(method):
    objects = iter([("Oslo", "Norway"), ("Bergen", "Norway"), ("Oslo", "Norway")])

    async def reply(request, body):
        name, country = next(objects)
        text = json.dumps({"name": name, "country": country})
        if method == "function_calling":
            call = {"id": "c", "type": "function", "function": {"name": "City", "arguments": text}}
            return chat({"content": None, "tool_calls": [call]}, finish_reason="tool_calls")
        return chat({"content": text})

    async with scripted_upstream(reply, strategy="majority:n=3") as (server, bodies, _):
        structured = model(server).with_structured_output(City, method=method)
        assert await structured.ainvoke("a city, as JSON") == City(name="Oslo", country="Norway")
    assert ("response_format" in bodies[0]) == (method != "function_calling")


async def test_an_upstream_that_fails_is_an_api_error():
    async def reply(request, body):
        return web.json_response({"error": {"message": "too long"}}, status=400)

    openai = pytest.importorskip("openai")
    async with scripted_upstream(reply) as (server, _, _):
        with pytest.raises(openai.BadRequestError, match="too long"):
            await model(server).ainvoke("what")
