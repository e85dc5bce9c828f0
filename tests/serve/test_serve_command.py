"""The command: options, a real process, an embedded model, a plan."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import openai
import pytest
from serve_world import HELLO, ask, serving

from dwell.cli import main
from dwell.commands.serve import serve
from dwell.strategies import make
from dwell.strategies.policy import Condition, Policy, Route, policy_record


def plan_file(folder, policy):
    path = folder / "plan.json"
    path.write_text(json.dumps({"dwell_plan": 1, "policy": policy_record(policy)}))
    return path


SETTLED = Condition(feature="leader_votes", at_least=2)
POLICY = Policy(
    probe=2,
    routes=(
        Route(strategy=make("majority", n=2), when=(SETTLED,)),
        Route(strategy=make("majority", n=6)),
    ),
)


@pytest.mark.parametrize("page", ["serve.md", "tutorials/in_front_of_your_vllm.md"])
def test_the_pages_name_options_that_exist(page):
    text = (Path(__file__).parents[2] / "docs" / page).read_text()
    lines = [line for line in text.replace("\\\n", " ").splitlines() if "benchmarks/" not in line]
    lines = [line for line in lines if "dwell plan" not in line]
    named = set(re.findall(r"--[a-z][a-z-]+", "\n".join(lines)))
    known = {name for option in serve.params for name in option.opts}
    assert {"--upstream", "--strategy"} <= named <= known


async def test_a_plan_draws_more_where_the_first_draws_disagree(tmp_path):
    path = plan_file(tmp_path, POLICY)
    async with serving(f"plan:{path}") as (_, upstream, client):
        agreed = await ask(client)  # 7, 7
        split = await ask(client)  # 8, 7, ...
    assert (agreed.dwell["draws"], split.dwell["draws"]) == (2, 6)
    assert agreed.dwell["strategy"].startswith("plan(digest=")
    assert str(tmp_path) not in json.dumps(agreed.dwell)
    assert upstream.counts.answers == 8


@pytest.fixture
def served():
    """Starts `dwell serve` and hands over its address; stops it in the end."""
    running = []

    def start(*options, **environment):
        child = subprocess.Popen(
            [sys.executable, "-m", "dwell", "serve", "--port", "0", *options],
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, **environment},
        )
        running.append(child)
        line = child.stderr.readline()
        assert "Serving" in line, line + child.stderr.read()
        return child, line.split(" at ")[1].split()[0]

    yield start
    for child in running:
        child.kill()
        child.communicate()


def test_an_embedded_model_is_served_by_a_verifiers_choice(served, tmp_path):
    options = ("--task", "chain", "--strategy", "best_of_n:n=4,verifier=process")
    child, url = served("--model", "tiny-0.2m", *options, "--ledger", str(tmp_path))
    client = openai.OpenAI(base_url=url, api_key="x", max_retries=0)
    problem = [{"role": "user", "content": "1+2*3\n"}]
    reply = client.chat.completions.create(model="tiny-0.2m", messages=problem)
    client.close()
    child.send_signal(signal.SIGTERM)
    assert child.wait(20) == 0
    assert reply.dwell["draws"] == 4
    assert reply.choices[0].message.content
    assert (tmp_path / "ledger.db").exists()


def test_keys_come_from_the_environment(served):
    _, url = served("--model", "coin:0.5", "--client-keys-env", "KEYS", KEYS="one,two")
    for key, right in (("two", True), ("three", False)):
        client = openai.OpenAI(base_url=url, api_key=key, max_retries=0)
        try:
            client.chat.completions.create(model="coin:0.5", messages=HELLO)
            assert right
        except openai.AuthenticationError:
            assert not right
        client.close()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--strategy", "sample", "--plan", "plan.json"], "strategy or a plan"),
        (["--plan", "missing.json"], "missing.json"),
        (["--strategy", "majorty"], "Did you mean majority"),
        (["--strategy", "pool_vote"], "one by one"),
        (["--strategy", "best_of_n:verifier=exact"], "reference answers"),
        (["--strategy", "beam:n=4"], "needs"),
        (["--record"], "--ledger"),
        (["--host", "0.0.0.0"], "--client-keys-env"),
        (["--upstream", "ftp://x"], "base_url"),
        (["--task", "chain"], "--task"),
    ],
)
def test_contradictions_are_told_before_anything_is_served(options, message, capsys):
    upstream = [] if "--upstream" in options else ["--upstream", "http://127.0.0.1:1/v1"]
    with pytest.raises(SystemExit) as caught:
        main(["serve", "--model", "m", *upstream, *options])
    assert caught.value.code == 2
    assert message in capsys.readouterr().err
