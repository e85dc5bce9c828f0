"""The endpoint against a server that is slow, fails and lies."""

import asyncio
import logging
import socket

import numpy as np
import pytest

from dwell.errors import GeneratorError, UsageError
from dwell.generators.endpoint import Endpoint
from dwell.generators.fake_server import FakeServer, Faults
from dwell.generators.scripted import Latency, Scripted
from dwell.protocols import GenerateWork, Generator
from dwell.records import Context, Problem
from dwell.requests import Generate

PROBLEM = Problem(id="p", prompt="what is it")
COUNTING = Scripted.from_function(lambda context, index, rng: f"answer {index}", name="counting")


def work(count=1, *, partial="", first=0, **options):
    context = Context(messages=(("user", PROBLEM.prompt),), partial=partial)
    return GenerateWork(
        request=Generate(context, n=count, **options),
        seeds=[1000 + first + k for k in range(count)],
        indices=list(range(first, first + count)),
        problem=PROBLEM,
    )


def endpoint(server, **options):
    quick = {"backoff_seconds": 0.01, "max_backoff_seconds": 0.02, "timeout_seconds": 30.0}
    return Endpoint("m", server.base_url, **{**quick, **options})


async def ask(server, item, **options):
    generator = endpoint(server, **options)
    try:
        (outcome,) = await generator.generate([item])
    finally:
        await generator.close()
    return outcome


def test_endpoint_is_a_generator_of_single_calls():
    generator = Endpoint("m", "http://127.0.0.1:1/v1")
    assert isinstance(generator, Generator)
    assert generator.max_batch == 1


async def test_a_call_says_each_field_once():
    extra = {"n": 9, "seed": 9, "top_k": 20}
    async with FakeServer(COUNTING, record=True) as server:
        await ask(server, work(2), extra_body=extra)
        await ask(server, work(1), extra_body=extra, send_seed=False)
        asked, unseeded = server.counts.bodies
    assert (asked["n"], asked["seed"], asked["top_k"]) == (2, 1000, 20)
    assert (unseeded["n"], unseeded["seed"]) == (1, 9)


async def test_one_call_brings_all_answers_where_n_is_honoured():
    async with FakeServer(COUNTING) as server:
        outcome = await ask(server, work(5))
        assert server.counts.requests == 1
    assert [draw.text for draw in outcome.draws] == [f"answer {k}" for k in range(5)]
    assert [draw.cached_tokens for draw in outcome.draws] == [0, 3, 3, 3, 3]
    assert {draw.prompt_tokens for draw in outcome.draws} == {3}
    assert not outcome.attempts


@pytest.mark.parametrize(
    ("many", "requests", "later"),
    [("ignore", 8, 8), ("fewer", 4, 4), ("refuse", 9, 8), ("extra", 1, 1)],
)
async def test_every_answer_comes_whatever_the_server_makes_of_n(many, requests, later):
    async with FakeServer(COUNTING, many=many) as server:
        generator = endpoint(server)
        (outcome,) = await generator.generate([work(8)])
        assert server.counts.requests == requests
        (again,) = await generator.generate([work(8, first=8)])
        assert server.counts.requests == requests + later  # it is remembered
        await generator.close()
    texts = [draw.text for draw in [*outcome.draws, *again.draws]]
    assert len(texts) == len(set(texts)) == 16
    assert all(draw.status == "end" for draw in outcome.draws)


async def test_answers_beyond_those_asked_for_are_accounted():
    async with FakeServer(COUNTING, many="extra") as server:
        outcome = await ask(server, work(3))
        sent = server.counts.output_tokens
    extra = sum(attempt.usage.output_tokens for attempt in outcome.attempts)
    assert sum(draw.output_tokens for draw in outcome.draws) + extra == sent == 8


@pytest.mark.parametrize("fault", ["429", "500", "502", "503", "reset", "truncated", "malformed",
                                   "empty"])  # fmt: skip
async def test_a_call_survives_each_fault_and_records_it(fault):
    async with FakeServer(COUNTING, faults=Faults(first=(fault, fault))) as server:
        outcome = await ask(server, work())
        assert server.counts.requests == 3
    assert outcome.draws[0].status == "end"
    assert outcome.draws[0].text.startswith("answer")
    assert len(outcome.attempts) == 2
    if fault.isdigit():
        assert all(fault in attempt.outcome for attempt in outcome.attempts)
    else:  # tokens may have been made for these
        assert all(a.estimated and a.usage.prompt_tokens for a in outcome.attempts)


async def test_slow_drip_meets_the_time_limit_and_is_tried_again():
    faults = Faults(first=("drip",), drip_seconds=0.05)
    async with FakeServer(COUNTING, faults=faults) as server:
        outcome = await ask(server, work(), timeout_seconds=0.3)
    assert outcome.draws[0].text.startswith("answer")
    assert "no reply within" in outcome.attempts[0].outcome


async def test_missing_usage_is_estimated_and_said_to_be():
    async with FakeServer(COUNTING, faults=Faults(first=("no_usage",))) as server:
        outcome = await ask(server, work())
    (draw,) = outcome.draws
    assert (draw.text, draw.output_tokens, draw.prompt_tokens) == ("answer 0", 2, 3)
    assert [attempt.estimated for attempt in outcome.attempts] == [True]


async def test_calls_that_never_succeed_are_failed_draws():
    async with FakeServer(COUNTING, faults=Faults(rates={"500": 1.0})) as server:
        outcome = await ask(server, work(3), max_tries=2)
    assert [draw.status for draw in outcome.draws] == ["failed"] * 3
    assert "status 500" in outcome.draws[0].text
    assert len(outcome.attempts) == 2


async def test_a_refused_body_is_a_failed_draw_and_not_tried_again():
    async with FakeServer(COUNTING, faults=Faults(rates={"400": 1.0})) as server:
        outcome = await ask(server, work())
        assert server.counts.requests == 1
    assert (outcome.draws[0].status, len(outcome.attempts)) == ("failed", 1)


@pytest.mark.parametrize("rate", [0.3])
async def test_every_draw_arrives_through_a_storm_of_faults(rate):
    faults = Faults(rates={"500": rate, "reset": 0.05, "truncated": 0.05, "429": 0.1}, seed=3)
    async with FakeServer(COUNTING, faults=faults, many="ignore") as server:
        outcome = await ask(server, work(60), max_tries=30)
        sent = server.counts
        assert sent.completed == 60
        assert sum(draw.output_tokens for draw in outcome.draws) == sent.output_tokens
        assert len(outcome.attempts) == sum(sent.faults.values()) > 0
    assert {draw.status for draw in outcome.draws} == {"end"}


async def test_retry_after_is_honoured():
    faults = Faults(first=("429",), retry_after="0.4")
    loop = asyncio.get_running_loop()
    async with FakeServer(COUNTING, faults=faults) as server:
        started = loop.time()
        outcome = await ask(server, work())
        waited = loop.time() - started
    assert waited >= 0.4
    assert outcome.draws[0].seconds <= waited - 0.4  # the latency is that of the good try


async def test_waits_beyond_the_total_limit_are_not_begun():
    faults = Faults(rates={"429": 1.0}, retry_after="60")
    async with FakeServer(COUNTING, faults=faults) as server:
        outcome = await asyncio.wait_for(ask(server, work(), total_seconds=20.0), 30.0)
        assert server.counts.requests == 1
    assert outcome.draws[0].status == "failed"


async def test_a_waiting_call_holds_no_slot():
    faults = Faults(first=("429",), retry_after="1.5")
    async with FakeServer(COUNTING, faults=faults) as server:
        generator = endpoint(server, concurrency=1)
        slow = asyncio.create_task(generator.generate([work()]))
        while not server.counts.faults:
            await asyncio.sleep(0.01)
        await generator.generate([work(first=1)])
        assert not slow.done()
        await slow
        await generator.close()


async def test_concurrency_is_bounded_and_used():
    script = Scripted.from_list(["a"], latency=Latency(base_seconds=0.1))
    async with FakeServer(script, many="ignore") as server:
        await ask(server, work(29), concurrency=7)
        assert server.counts.most_in_flight == 7


async def test_cancelled_calls_give_their_slots_back():
    slow = Scripted.from_list(["a"], latency=Latency(base_seconds=0.2))
    async with FakeServer(slow, many="ignore") as server:
        generator = endpoint(server, concurrency=20)
        tasks = [asyncio.create_task(generator.generate([work(10)])) for _ in range(10)]
        await asyncio.sleep(0.05)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        (outcome,) = await asyncio.wait_for(generator.generate([work(20)]), 30.0)
        assert {draw.status for draw in outcome.draws} == {"end"}
        await generator.close()


@pytest.mark.parametrize(
    ("options", "model", "status"),
    [({"key": "sk-right"}, None, "401"), ({"model": "other"}, None, "404")],
)
async def test_a_refusal_of_every_call_is_one_clear_line(options, model, status):
    async with FakeServer(COUNTING, **options) as server:
        with pytest.raises(GeneratorError, match=status) as caught:
            await ask(server, work(2))
        assert server.base_url in str(caught.value)
        assert "\n" not in str(caught.value)
        assert server.counts.requests == 1


async def test_an_unreachable_server_is_an_error_and_no_failed_draw():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        base_url = f"http://127.0.0.1:{free.getsockname()[1]}/v1"
    generator = Endpoint("m", base_url, max_tries=2, backoff_seconds=0.01)
    with pytest.raises(GeneratorError, match="reachable") as caught:
        await generator.generate([work()])
    assert caught.value.retryable
    await generator.close()


async def test_the_key_is_sent_and_shown_nowhere(monkeypatch, caplog, capsys):
    caplog.set_level(logging.DEBUG)
    secret = "sk-very-secret-0123456789"
    monkeypatch.setenv("MY_KEY", secret)
    async with FakeServer(COUNTING, key=secret) as server:
        generator = endpoint(server, api_key_env="MY_KEY")
        (outcome,) = await generator.generate([work()])
        assert outcome.draws[0].status == "end"
        seen = [repr(generator), repr(vars(generator)), str(generator.info), repr(outcome)]
        seen += [generator.fingerprint, repr(vars(generator._transport))]
        await generator.close()
    async with FakeServer(COUNTING, key="sk-another-one") as server:  # repeats the key it got
        with pytest.raises(GeneratorError) as caught:
            await ask(server, work(), api_key_env="MY_KEY")
        seen += [str(caught.value), repr(caught.value), repr(caught.value.__cause__)]
        assert "[key]" in str(caught.value)
    seen += [caplog.text, *capsys.readouterr()]
    assert secret not in "\n".join(seen)


async def test_a_key_that_cannot_be_sent_is_refused_unseen(monkeypatch):
    monkeypatch.setenv("MY_KEY", "sk-se\ncret")
    generator = Endpoint("m", "http://127.0.0.1:1/v1", api_key_env="MY_KEY")
    with pytest.raises(UsageError, match="MY_KEY") as caught:
        await generator.generate([work()])
    assert "cret" not in str(caught.value)


@pytest.mark.parametrize(
    "base_url",
    ["localhost:80", "ftp://x/v1", "http://u:pass-word@h/v1", "http://h/v1?key=pass-word"],
)
def test_addresses_without_scheme_or_with_credentials_are_refused(base_url):
    with pytest.raises(UsageError, match="base_url") as caught:
        Endpoint("m", base_url)
    assert "pass-word" not in str(caught.value)


async def test_chat_refuses_to_continue_a_text():
    generator = Endpoint("m", "http://127.0.0.1:1/v1")
    assert "partial" not in generator.provides
    with pytest.raises(UsageError, match="completions"):
        await generator.generate([work(partial="so far\n")])
    with pytest.raises(UsageError, match="forbid_end"):
        await generator.generate([work(forbid_end=True)])


@pytest.mark.parametrize("names_stop", [True, False])
async def test_completions_continue_a_text_step_by_step(names_stop):
    whole = "one\ntwo\nthree"

    def script(context, index, rng):
        return whole[len(context.messages[0][1]) - len(PROBLEM.prompt) :]

    texts, partial = [], ""
    async with FakeServer(Scripted.from_function(script), names_stop=names_stop) as server:
        generator = endpoint(server, api="completions")
        assert "partial" in generator.provides
        while len(texts) < 9 and (not texts or texts[-1][1] == "step"):
            item = work(partial=partial, until="step")
            ((draw,),) = [outcome.draws for outcome in await generator.generate([item])]
            texts.append((draw.text, draw.status))
            partial += draw.text
        await generator.close()
    if names_stop:
        assert texts == [("one\n", "step"), ("two\n", "step"), ("three", "end")]
    else:  # such a server does not tell a stop from the end: one more call finds out
        assert texts == [("one\n", "step"), ("two\n", "step"), ("three\n", "step"), ("", "end")]


async def test_request_parameters_reach_the_server():
    async with FakeServer(COUNTING, record=True) as server:
        item = work(2, max_tokens=9, temperature=0.5, stop=("!",), until="step")
        await ask(server, item, extra_body={"top_k": 3})
        (body,) = server.counts.bodies
    assert body == {
        "model": "m", "max_tokens": 9, "n": 2, "temperature": 0.5, "seed": 1000, "top_k": 3,
        "stop": ["\n", "!"], "messages": [{"role": "user", "content": "what is it"}],
    }  # fmt: skip


async def test_length_cap_is_told_from_an_end():
    async with FakeServer(Scripted.from_list(["a b c"])) as server:
        capped = await ask(server, work(max_tokens=2))
        whole = await ask(server, work(max_tokens=3))
    assert (capped.draws[0].status, capped.draws[0].text) == ("cap", "a b ")
    assert whole.draws[0].status == "end"


@pytest.mark.parametrize("api", ["chat", "completions"])
async def test_surprisal_is_returned_where_wanted(api):
    async with FakeServer(Scripted.from_list(["a b c"])) as server:
        wanted = await ask(server, work(2, want=frozenset({"surprisal"})), api=api)
        plain = await ask(server, work(2), api=api)
    for draw in wanted.draws:
        surprisal = draw.stats["surprisal"]
        assert (surprisal.shape, surprisal.dtype) == ((3,), np.float32)
        assert (surprisal >= 0).all()
        assert draw.output_tokens == 3
    assert plain.draws[0].stats is None


async def test_dollars_follow_the_prices():
    prices = {"usd_per_million_prompt_tokens": 2e6, "usd_per_million_output_tokens": 1e6}
    async with FakeServer(Scripted.from_list(["a b"])) as server:
        outcome = await ask(server, work(2), **prices)
    assert [draw.usd for draw in outcome.draws] == [3 * 2.0 + 2.0] * 2
    shared = Endpoint("m", server.base_url, **prices).shared_prompt(3)
    assert (shared.usd, shared.cached_tokens) == (6.0, 3)


def test_one_endpoint_serves_several_event_loops():
    async def once():
        async with FakeServer(COUNTING) as server:
            generator = endpoint(server)
            await generator.generate([work()])
            await generator.close()
            return (await generator.generate([work(first=1)]))[0].draws[
                0
            ].text, await generator.close()

    assert asyncio.run(once())[0] == "answer 1"
    assert asyncio.run(once())[0] == "answer 1"


def test_fingerprint_names_the_distribution_alone():
    base = Endpoint("m", "http://h/v1")
    assert base.fingerprint == Endpoint("m", "http://h/v1/", concurrency=3).fingerprint
    others = [
        Endpoint("other", "http://h/v1"),
        Endpoint("m", "http://other/v1"),
        Endpoint("m", "http://h/v1", api="completions"),
        Endpoint("m", "http://h/v1", temperature=0.5),
        Endpoint("m", "http://h/v1", extra_body={"top_k": 1}),
    ]
    assert len({g.fingerprint for g in [base, *others]}) == 6


@pytest.mark.parametrize(
    "options",
    [{"concurrency": 0}, {"max_tries": 0}, {"api": "responses"}, {"step_delimiter": ""},
     {"template": {"user": "no place for the text"}}],
)  # fmt: skip
def test_bad_arguments_are_refused(options):
    with pytest.raises(UsageError):
        Endpoint("m", "http://127.0.0.1:1/v1", **options)


def test_unknown_faults_are_refused():
    with pytest.raises(UsageError, match="earthquake"):
        Faults(first=("earthquake",))
    with pytest.raises(UsageError, match="together"):
        Faults(rates={"500": 0.7, "429": 0.7})
