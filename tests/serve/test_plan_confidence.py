"""A plan's confidence in replies, and what users said of them as the next plan's questions."""

import json

import numpy as np
from click.testing import CliRunner
from serve_world import ask, post, serving

from dwell.cli import cli
from dwell.generators import Scripted
from dwell.plans import load_plan
from dwell.serve.journal import Journal
from dwell.strategies import parse
from dwell.strategies.confidence import Confidence, ConfidenceMap, confidence_record
from dwell.strategies.policy import Policy, Route, policy_record

MAP = ConfidenceMap(
    verifier=None, features=("votes",), weights=(1.0,), ranges=((-4.0, 4.0),), intercept=0.0
)


def plan_file(folder, at_least=None):
    path = folder / "plan.json"
    policy = Policy(routes=(Route(strategy=parse("majority:n=3")),))
    sure = confidence_record(Confidence(maps=(MAP,), at_least=at_least))
    record = {"dwell_plan": 2, "policy": policy_record(policy), "confidence": sure}
    path.write_text(json.dumps(record))
    return path


async def test_a_plan_says_how_sure_it_is(tmp_path):
    async with serving(f"plan:{plan_file(tmp_path)}") as (_, _, client):
        reply = await ask(client)
    # Two of three votes: odds 2.5 / 1.5.
    assert reply.dwell["confidence"] == {
        "probability": 0.625, "agreement": 0.6667, "votes": 3, "calibrated": True,
    }  # fmt: skip
    assert reply.dwell["abstained"] is False


async def test_a_plan_with_a_threshold_is_not_sure_below_it(tmp_path):
    texts = Scripted.from_function(lambda _, i, __: f"Answer: {(8, 7, 7)[i % 3]}", name="late 7")
    async with serving(f"plan:{plan_file(tmp_path, at_least=0.7)}", texts) as (_, _, client):
        raw = await client.chat.completions.with_raw_response.create(
            model="m", messages=[{"role": "user", "content": "what is it"}]
        )
        unsure = await ask(client, dwell={"abstain": True})
    assert raw.headers["X-Dwell-Abstained"] == "true"
    assert raw.parse().dwell["confidence"] == {"probability": 0.625, "calibrated": True}
    assert raw.parse().choices[0].message.content.endswith("Answer: 7")
    assert unsure.choices[0].message.refusal == "not sure"


async def test_what_users_said_makes_the_next_plan_with_its_confidence(tmp_path):
    rng = np.random.default_rng(0)
    answers = iter(rng.choice(["7", "7", "8", "9"], 1000))
    script = Scripted.from_function(lambda *_: f"Answer: {next(answers)}", name="loose")
    journal = Journal(tmp_path)
    async with serving("majority:n=4", script, journal=journal) as (server, _, client):
        for _ in range(30):
            reply = await ask(client)
            body = {"id": reply.dwell["id"], "answer": "7"}
            assert (await post(server, "/dwell/feedback", body=body))[0] == 200
    journal.close()
    words = ["plan", tmp_path / "labelled.jsonl", "--budget", 3, "--repeats", 1, "--out",
             tmp_path / "next.json"]  # fmt: skip
    done = CliRunner().invoke(cli, [str(word) for word in words], catch_exceptions=False)
    assert done.exit_code == 0
    assert "Confidence: off by" in done.output
    confidence = load_plan(tmp_path / "next.json").record["confidence"]
    assert confidence["maps"][0]["features"]["votes"]["weight"] >= 0
    async with serving(f"plan:{tmp_path / 'next.json'}") as (_, _, client):
        reply = await ask(client)
    assert reply.dwell["confidence"]["calibrated"] is True
