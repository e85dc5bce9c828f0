"""What an endpoint makes of reasoning, tool calls, usage and unfinished texts."""

import json

import pytest

from dwell.errors import GeneratorError, UsageError
from dwell.generators.endpoint import Endpoint
from dwell.generators.endpoint_choices import MalformedBody
from dwell.generators.endpoint_wire import parse_reply
from dwell.generators.fake_server import FakeServer, Faults
from dwell.generators.scripted import Scripted
from dwell.protocols import GenerateWork
from dwell.records import Context, Problem
from dwell.requests import Generate

PROBLEM = Problem(id="p", prompt="what is it")


def work(count=1, *, partial="", **options):
    context = Context(messages=(("user", PROBLEM.prompt),), partial=partial)
    return GenerateWork(
        request=Generate(context, n=count, **options),
        seeds=[1000 + k for k in range(count)],
        indices=list(range(count)),
        problem=PROBLEM,
    )


async def ask(server, item, **options):
    generator = Endpoint("m", server.base_url, backoff_seconds=0.01, **options)
    try:
        (outcome,) = await generator.generate([item])
    finally:
        await generator.close()
    return outcome


def parsed(choice, usage=None, prefix=""):
    body = json.dumps({"choices": [choice], "usage": usage}).encode()
    return parse_reply(body, Generate(Context(())), "\n", 8, prefix)


@pytest.mark.parametrize("field", ["reasoning", "reasoning_content"])
async def test_reasoning_is_kept_beside_the_answer_and_counted(field):
    script = Scripted.from_list(["<think>one two three</think>four five"])
    async with FakeServer(script, reasoning=field) as server:
        (draw,) = (await ask(server, work())).draws
        sent = server.counts.output_tokens
    assert (draw.text, draw.stats["reasoning"]) == ("four five", "one two three")
    assert draw.output_tokens == sent == 4  # words, as the script counts them


def test_an_answer_that_is_reasoning_alone_is_empty_and_capped():
    message = {"role": "assistant", "content": None, "reasoning": "well"}
    (choice,) = parsed({"message": message, "finish_reason": "length"}).choices
    assert (choice.text, choice.reasoning, choice.status) == ("", "well", "cap")


@pytest.mark.parametrize(
    ("usage", "output", "reasoning", "cached"),
    [
        ({"completion_tokens_details": {"reasoning_tokens": 4}}, 9, 4, 0),
        ({"completion_tokens_details": {"reasoning_tokens": 4}, "total_tokens": 24}, 13, 4, 0),
        ({"prompt_tokens_details": {"cached_tokens": 7}}, 9, 0, 7),
        ({"prompt_cache_hit_tokens": 6}, 9, 0, 6),
        ({"prompt_tokens_details": None, "total_tokens": "20"}, 9, 0, 0),
    ],
)
def test_usage_is_read_in_every_form(usage, output, reasoning, cached):
    whole = {"prompt_tokens": 11, "completion_tokens": 9, **usage}
    reply = parsed({"text": "a"}, whole)
    assert (reply.output_tokens, reply.reasoning_tokens) == (output, reasoning)
    assert (reply.prompt_tokens, reply.cached_tokens) == (11, cached)
    assert not reply.estimated


async def test_equal_tool_calls_are_equal_texts():
    texts = [
        'ok <tool_call>{"name": "add", "arguments": {"b": 2, "a": 1}}</tool_call>',
        'ok <tool_call>{"arguments": {"a": 1, "b": 2}, "name": "add"}</tool_call>',
    ]
    async with FakeServer(Scripted.from_list(texts), tools=True) as server:
        draws = (await ask(server, work(2))).draws
    call = '{"arguments":{"a":1,"b":2},"name":"add"}'
    assert {draw.text for draw in draws} == {f"ok\n<tool_call>\n{call}\n</tool_call>"}
    assert {draw.stats["tool_calls"] for draw in draws} == {f"[{call}]"}


@pytest.mark.parametrize("deep", ["[" * 100_000, '{"a": 1'])
def test_arguments_that_are_no_json_stay_a_text(deep):
    call = {"type": "function", "function": {"name": "f", "arguments": deep}}
    (choice,) = parsed({"message": {"content": None, "tool_calls": [call]}}).choices
    assert json.loads(choice.tool_calls[0]) == {"name": "f", "arguments": deep}


@pytest.mark.parametrize(
    "choice",
    [{"message": {"tool_calls": [{"function": {}}]}}, {"message": {"content": 5}}, {"text": None}],
)
def test_a_choice_of_another_form_is_malformed(choice):
    with pytest.raises(MalformedBody):
        parsed(choice)


def test_content_in_parts_is_joined():
    parts = [{"type": "text", "text": "a"}, {"type": "image"}, {"type": "text", "text": "b"}]
    assert parsed({"message": {"content": parts}}).choices[0].text == "ab"


async def test_what_the_server_had_cached_is_cheaper():
    prices = {
        "usd_per_million_prompt_tokens": 4e6,
        "usd_per_million_cached_tokens": 1e6,
        "usd_per_million_output_tokens": 2e6,
    }
    async with FakeServer(Scripted.from_list(["a b"]), many="ignore", cached_tokens=2) as server:
        draws = (await ask(server, work(2), concurrency=1, **prices)).draws
    assert sorted(draw.usd for draw in draws) == [2 * 1 + 1 * 4 + 2 * 2, 3 * 4 + 2 * 2]


# ---- continuation ----------------------------------------------------------------------------


def speaker(context, index, rng):
    """Goes on with what it is given; begins anew where it is given nothing."""
    if "France" in context.messages[0][1]:
        return "is." if context.partial else "Paris."
    return f"{len(context.partial)} more" if context.partial else "a new turn"


@pytest.mark.parametrize(
    ("continues", "calls"), [("flags", 1), ("prefill", 1), ("repeat", 1), ("never", 2)]
)
async def test_how_a_chat_continues_is_found_out_once(continues, calls):
    async with FakeServer(Scripted.from_function(speaker), continues=continues) as server:
        generator = Endpoint("m", server.base_url)
        assert "partial" not in generator.provides
        found = [await generator.find_continuation() for _ in range(2)]
        assert found == [continues != "never"] * 2
        assert ("partial" in generator.provides) == found[0]
        assert server.counts.requests == calls * (2 if continues == "never" else 1)
        if found[0]:
            (outcome,) = await generator.generate([work(partial="so far ")])
            assert outcome.draws[0].text == "7 more"
            assert [a.usage.output_tokens for a in outcome.attempts] == [1]  # the probe's
        await generator.close()


async def test_the_flags_are_sent_for_unfinished_texts_alone():
    script = Scripted.from_function(speaker)
    async with FakeServer(script, continues="flags", record=True) as server:
        await ask(server, work(partial="so "), continuation="flags")
        await ask(server, work(), continuation="flags")
        told, plain = server.counts.bodies
    assert told["messages"][-1] == {"role": "assistant", "content": "so "}
    assert (told["continue_final_message"], told["add_generation_prompt"]) == (True, False)
    assert "continue_final_message" not in plain


async def test_a_server_that_begins_anew_is_refused_by_name():
    async with FakeServer(Scripted.from_function(speaker)) as server:
        generator = Endpoint("m", server.base_url)
        await generator.find_continuation()
        with pytest.raises(UsageError, match="unfinished"):
            await generator.generate([work(partial="so far")])
        await generator.close()


async def test_a_server_that_refuses_the_flags_is_asked_without():
    faults = Faults(first=("400",))
    script = Scripted.from_function(speaker)
    async with FakeServer(script, continues="prefill", faults=faults) as server:
        generator = Endpoint("m", server.base_url)
        assert await generator.find_continuation()
        assert server.counts.requests == 2
        await generator.close()


async def test_asking_with_a_wrong_key_is_an_error():
    async with FakeServer(Scripted.from_function(speaker), key="sk-right") as server:
        generator = Endpoint("m", server.base_url)
        with pytest.raises(GeneratorError, match="401") as caught:
            await generator.find_continuation()
        assert caught.value.hopeless
        await generator.close()


@pytest.mark.parametrize(
    "options", [{"continuation": "magic"}, {"continuation": "flags", "api": "completions"}]
)
def test_other_ways_to_continue_are_refused(options):
    with pytest.raises(UsageError, match="continuation"):
        Endpoint("m", "http://127.0.0.1:1/v1", **options)
