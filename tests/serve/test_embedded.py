"""Models in this process behind the server, and what answers are."""

import openai
import pytest
from serve_world import ask, judges

from dwell.errors import UsageError
from dwell.generators import Scripted
from dwell.protocols import Outcome
from dwell.records import Draw
from dwell.serve import Server, Settings
from dwell.serve.answers import answer_of, normalised
from dwell.serve.embedded import Embedded
from dwell.serve.judges import Judges
from dwell.serve.settings import answer_pattern
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


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        (r"so \boxed{\frac{1}{2}} it is", r"\frac{1}{2}"),
        (r"\boxed{1} then \boxed{2}", "2"),
        (r"\boxed{1", r"\boxed{1"),
        ("The answer is 1,234.50.", "1234.5"),
        ("**Answer:** B", "b"),
        ("#### -7", "-7"),
        ("Paris", "paris"),
        ("  PARIS. ", "paris"),
        ("   ", None),
        ("", None),
        ("007", "7"),
        ("-0.0", "0"),
    ],
)
def test_answers_are_found_in_texts(text, answer):
    assert answer_of({"content": text}) == answer


def test_an_operators_pattern_finds_answers():
    pattern = answer_pattern(r"^A(\d+)$")
    assert answer_of({"content": "1+1=2\nA2\nA3\n"}, pattern=pattern) == "3"
    assert answer_of({"content": "answer: 2"}, pattern=pattern) is None
    with pytest.raises(UsageError, match="group"):
        answer_pattern("A")
    with pytest.raises(UsageError, match="pattern"):
        answer_pattern("(")


async def test_choices_of_one_request_are_different_draws():
    coin = Scripted.from_function(lambda context, index, rng: str(rng.random()), name="random")
    async with Server(Settings(model="m", strategy=parse("sample")), Embedded(coin)) as server:
        client = openai.AsyncOpenAI(base_url=server.url, api_key="x")
        reply, other = await ask(client, n=8), await ask(client, n=8)
        await client.close()
    assert len({c.message.content for c in (*reply.choices, *other.choices)}) == 16


def test_equal_answers_are_equal_texts():
    assert normalised("42") == normalised(" 42.00 ") == normalised("+42.")
    assert normalised("4.2") != normalised("42")


@pytest.mark.parametrize(
    "message",
    [
        {"tool_calls": [{"function": {"name": "f", "arguments": "{"}}]},
        {"tool_calls": [{"function": "f"}]},
        {"tool_calls": [3]},
        {"content": None},
        {},
    ],
)
def test_what_is_no_answer_has_no_vote(message):
    assert answer_of(message) is None
