"""Models in this process behind the server, and what answers are."""

import openai
import pytest
from serve_world import ask, judges

from dwell.generators import Scripted
from dwell.generators.registry import make_generator
from dwell.protocols import Outcome
from dwell.records import Draw
from dwell.serve import Server, Settings
from dwell.serve.embedded import Embedded
from dwell.serve.judges import Judges
from dwell.strategies import parse
from dwell.verifiers import make_verifier


def embedded(texts, strategy):
    own = Settings(model="m", strategy=parse(strategy))
    return Server(own, Embedded(Scripted.from_list(texts)), judges=judges())


async def test_a_generator_in_this_process_is_served():
    texts = ["it is 1", "it is 2. answer: 3", "so: #### 3"]
    async with embedded(texts, "majority:n=3") as server:
        client = openai.AsyncOpenAI(base_url=server.url, api_key="x")
        reply = await ask(client)
        streamed = [chunk async for chunk in await ask(client, stream=True)]
        tools = [{"type": "function", "function": {"name": "f", "parameters": {}}}]
        with pytest.raises(openai.BadRequestError, match="no tools"):
            await ask(client, tools=tools)
        await client.close()
    assert reply.choices[0].message.content == "it is 2. answer: 3"
    assert streamed[-1].dwell["answer"] == "3"


async def test_a_search_over_steps_returns_a_finished_completion():
    coin = Scripted.coin(rate=0.5, steps=3)
    verifiers = Judges({"process": make_verifier("agreement")})

    async def lines(work):
        return [Outcome([Draw(value=item.candidates[0].text.count("1"))]) for item in work]

    verifiers.verifiers["process"].score = lines
    own = Settings(model="m", strategy=parse("beam:n=4,m=2"))
    async with Server(own, Embedded(coin), judges=verifiers) as server:
        client = openai.AsyncOpenAI(base_url=server.url, api_key="x")
        reply = await ask(client)
        await client.close()
    assert reply.dwell["status"] == "done"
    assert len(reply.choices[0].message.content.splitlines()) == 3


async def test_a_revision_continues_the_clients_conversation():
    seen = []

    def write(context, index, rng):
        seen.append(context.messages)
        return f"answer: {len(context.messages)}"

    own = Settings(model="m", strategy=parse("revision:n=2"))
    source = Embedded(Scripted.from_function(write, name="counts"))
    async with Server(own, source, judges=judges()) as server:
        client = openai.AsyncOpenAI(base_url=server.url, api_key="x")
        messages = [{"role": "system", "content": "be brief"}, {"role": "user", "content": "?"}]
        await ask(client, messages=messages)
        await client.close()
    assert seen[0] == (("system", "be brief"), ("user", "?"))
    assert seen[-1][:2] == seen[0]


async def test_a_strategy_may_say_that_it_is_not_sure():
    texts = [f"answer: {k}" for k in range(8)]
    async with embedded(texts, "abstaining_majority:n=8") as server:
        client = openai.AsyncOpenAI(base_url=server.url, api_key="x")
        raw = await client.chat.completions.with_raw_response.create(
            model="m", messages=[{"role": "user", "content": "?"}]
        )
        unsure = await ask(client, dwell={"abstain": True})
        await client.close()
    assert raw.headers["X-Dwell-Abstained"] == "true"
    assert raw.parse().choices[0].message.content == "answer: 0"
    assert unsure.dwell["abstained"] is True
    assert unsure.choices[0].message.refusal == "not sure"


async def test_choices_of_one_request_are_different_draws():
    coin = Scripted.from_function(lambda context, index, rng: str(rng.random()), name="random")
    async with Server(Settings(model="m", strategy=parse("sample")), Embedded(coin)) as server:
        client = openai.AsyncOpenAI(base_url=server.url, api_key="x")
        reply, other = await ask(client, n=8), await ask(client, n=8)
        await client.close()
    assert len({c.message.content for c in (*reply.choices, *other.choices)}) == 16


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"logprobs": True}, "log-probabilities"),
        ({"extra_body": {"functions": [{"name": "f"}]}}, "no tools"),
        ({"messages": [{"role": "user", "content": "letters"}]}, "reads only the characters"),
        ({"stop": ["x"]}, "reads only the characters"),
    ],
)
async def test_what_an_embedded_model_cannot_do_is_refused_by_name(change, message):
    own = Settings(model="m", strategy=parse("sample"))
    async with Server(own, Embedded(make_generator("tiny-0.2m")), judges=judges()) as server:
        client = openai.AsyncOpenAI(base_url=server.url, api_key="x", max_retries=0)
        problem = {"messages": [{"role": "user", "content": "1+2\n"}], **change}
        with pytest.raises(openai.BadRequestError, match=message):
            await ask(client, **problem)
        problem = [{"role": "user", "content": "1+2\n"}]
        reply = await ask(client, messages=problem, seed=-5, max_completion_tokens=2)
        await client.close()
    assert reply.usage.completion_tokens == 2
