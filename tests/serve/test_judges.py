"""Judges behind the server: they choose, are paid for, and think no longer than there is time."""

import asyncio
import time

import openai
import pytest
from serve_world import SCRIPT, ask, serving, settings

from dwell.commands.serve import make_server, serve
from dwell.errors import UsageError
from dwell.generators import Scripted
from dwell.generators.endpoint import Endpoint
from dwell.generators.fake_server import FakeServer, Faults
from dwell.serve import Server
from dwell.serve.judges import Judges
from dwell.serve.upstream import Upstream
from dwell.verifiers import Judge

BEST = "best_of_n:n=3,verifier=strict"


def verdict(context, index, rng):
    """Believes that the answer is 8, which votes do not."""
    return "Score: 9" if "Answer: 8" in context.messages[-1][1] else "Score: 2"


def judging(**options):
    return Judges({"strict": Judge(Scripted.from_function(verdict), name="strict", **options)})


def on_fake(upstream, judges, strategy=BEST, **options):
    """A server in front of a fake one, and a client of it."""
    own = settings(strategy, **options)
    source = Upstream(own, upstream.base_url, backoff_seconds=0.01)
    server = Server(own, source, judges=judges)
    return server, lambda: openai.AsyncOpenAI(base_url=server.url, api_key="x", max_retries=0)


async def test_a_judge_chooses_and_its_tokens_are_charged():
    async with FakeServer(SCRIPT) as upstream:
        server, client = on_fake(upstream, judging())
        async with server, client() as asking:
            reply = await ask(asking)
    assert reply.dwell["answer"] == "8"
    assert reply.choices[0].message.content.endswith("Answer: 8")
    assert {s["score"] for s in reply.dwell["scores"]} == {0.888889, 0.111111}
    assert reply.dwell["usage"]["charged"]["verifier_tokens"] > 100
    assert reply.usage.completion_tokens == 12  # of the draws alone


async def test_a_judge_is_not_asked_where_the_limit_has_no_room_for_it():
    async with FakeServer(SCRIPT) as upstream:
        server, client = on_fake(upstream, judging(max_tokens=64))
        async with server, client() as asking:
            little = await ask(asking, dwell={"tokens": 60}, max_tokens=10)
            enough = await ask(asking, dwell={"tokens": 60_000}, max_tokens=10)
    assert (little.dwell["answer"], little.dwell["scores"]) == ("7", [])
    assert little.dwell["status"] == "out_of_budget"
    assert (enough.dwell["answer"], enough.dwell["status"]) == ("8", "done")


async def test_a_deadline_ends_a_judge_that_thinks():
    class Sleepy(Scripted):
        async def generate(self, work):
            await asyncio.sleep(5.0)
            return await super().generate(work)

    judge = Judge(Sleepy.from_function(verdict, name="sleepy"), name="strict")
    async with FakeServer(SCRIPT) as upstream:
        server, client = on_fake(upstream, Judges({"strict": judge}))
        async with server, client() as asking:
            begun = time.monotonic()
            reply = await ask(asking, dwell={"ms": 400})
            seconds = time.monotonic() - begun
    assert (reply.dwell["status"], reply.dwell["answer"]) == ("deadline", "7")
    assert seconds < 2.0


async def test_a_judge_that_cannot_be_reached_verifies_nothing():
    async with (
        FakeServer(SCRIPT) as upstream,
        FakeServer(SCRIPT, faults=Faults(rates={"400": 1.0})) as broken,
    ):
        judges = Judges({"strict": Judge(Endpoint("j", broken.base_url), name="strict")})
        server, client = on_fake(upstream, judges)
        async with server, client() as asking:
            reply = await ask(asking)
    assert reply.choices[0].message.content.startswith("thought")
    assert [score["score"] for score in reply.dwell["scores"]] == [None] * 3


@pytest.mark.parametrize(("mode", "status"), [("", 400), (",mode=group", 200)])
async def test_a_judge_that_compares_is_asked_about_groups_alone(mode, status):
    async with FakeServer(SCRIPT) as upstream:
        server, client = on_fake(upstream, judging(kind="pairwise"), "sample")
        async with server, client() as asking:
            try:
                reply = await ask(asking, dwell={"strategy": BEST + mode})
                found, told = 200, reply.dwell["status"]
            except openai.BadRequestError as error:
                found, told = 400, str(error)
    assert found == status
    assert ("mode=group" in told) == (status == 400)


async def test_the_command_takes_the_judges_of_a_study_file(tmp_path):
    path = tmp_path / "judges.toml"
    path.write_text(
        '[[tasks]]\nname = "chain"\n\n[[judges]]\nname = "strict"\nmodel = "openai:other"\n'
        'scale = "ten"\nmax_tokens = 20\n'
    )
    script = Scripted.from_function(
        lambda c, i, rng: "Score: 9" if "<<<answer" in c.messages[-1][1] else f"Answer: {i}",
        name="both",
    )
    async with FakeServer(script, record=True) as upstream:
        words = ["--upstream", upstream.base_url, "--model", "m", "--port", "0"]
        words += ["--strategy", BEST, "--verifiers", str(path)]
        options = serve.make_context("serve", words).params
        server = make_server(options.pop("model"), options)
        async with server, openai.AsyncOpenAI(base_url=server.url, api_key="x") as asking:
            reply = await ask(asking)
    assert len(reply.dwell["scores"]) == 3
    assert {body["model"] for body in upstream.counts.bodies} == {"m", "other"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "none"),
        ('[[judges]]\nname = "exact"\nmodel = "coin:0.5"\n', "name of its own"),
        ('[[judges]]\nname = "a"\nmodel = "coin:0.5"\nkind = "loud"\n', "judges.0.kind"),
        ('[[verifiers]]\nname = "a"\nmodel = "openai:x"\n', "verifiers.0.model"),
    ],
)
def test_a_file_without_a_verifier_in_it_is_refused(tmp_path, text, message):
    path = tmp_path / "judges.toml"
    path.write_text(text)
    words = ["--upstream", "http://127.0.0.1:1/v1", "--model", "m", "--verifiers", str(path)]
    options = serve.make_context("serve", words).params
    with pytest.raises(UsageError, match=message):
        make_server(options.pop("model"), options)


async def test_a_strategy_may_not_ask_for_a_judge_that_is_not_there():
    async with serving() as (_, _, client):
        with pytest.raises(openai.BadRequestError, match="strict"):
            await ask(client, dwell={"strategy": BEST})
